//! Who was passed what: our word of it to originators, and what holders say of our records.
//!
//! What goes on, or is taken back, is said in the append that signs the run. An originator keeps each word as it came, and
//! lists from them who holds which of its records, by whose hand, under which agreement and grant.

use super::{HELD, OnwardError, PASSED, answering, said};
use crate::{
    node::Node,
    partners::introduced::Shown,
    records::{
        keep,
        stored::{self, decode, encode},
    },
    room,
    seal::keyring::Partition,
    share::ShareError,
    store::{StoreError, layout::Table, txn::Txn},
};
use entente_protocol::{
    codec::CodecError,
    cose::SignatureBytes,
    grant::{Passed, PassedOn, Told},
    id::{GrantId, OrgId, RecordId},
    identity::Purpose,
    limits,
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

/// A word of ours about what we passed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassedRow {
    /// When.
    pub at: UnixMillis,
    /// When its originator had heard it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<UnixMillis>,
    /// As it is said.
    pub signed: SignatureBytes,
    /// Whose records it is about.
    pub originator: OrgId,
}

/// Who holds a record of ours by another's hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldRow {
    /// When it was heard.
    pub at: UnixMillis,
    /// Who passed it on.
    pub by: OrgId,
    /// What was said last.
    pub on: PassedOn,
    /// When that was said.
    pub time: UnixMillis,
    /// The word in which it was said, by its place in their list.
    pub word: u64,
    /// Whether the grant that it names is one that we gave.
    pub granted: bool,
}

/// A holder's word, kept once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WordRow {
    /// Whose.
    pub by: OrgId,
    /// As it came.
    pub signed: SignatureBytes,
}

/// Scope of the list of holders' words.
pub const WORDS: &[u8] = b"words";
/// Onward holders of one record by one hand: nobody has as many partners.
const HOLDERS_MAX: u64 = 1_024;

/// The key under which an onward holder is found.
pub fn held_key(by: OrgId, on: &PassedOn) -> Vec<u8> {
    [b"held".as_slice(), on.record.as_bytes(), on.to.as_bytes(), by.as_bytes(), on.agreement.as_bytes()].concat()
}

/// The key of how many hold a record by one hand.
pub fn hand_key(by: OrgId, record: RecordId) -> Vec<u8> {
    [b"hand".as_slice(), record.as_bytes(), by.as_bytes()].concat()
}

/// Scope of the places of who holds a record.
pub fn of_record(record: RecordId) -> Vec<u8> {
    [b"of".as_slice(), record.as_bytes()].concat()
}

/// The key under which a grant of ours is found.
pub fn given_key(grant: GrantId) -> Vec<u8> {
    [b"given".as_slice(), grant.as_bytes()].concat()
}

/// Says to originators what was passed on and taken back, within the append that does it.
pub fn note(node: &Node, txn: &mut Txn<'_>, passed: Vec<(OrgId, PassedOn)>) -> Result<(), ShareError> {
    let mut by: BTreeMap<OrgId, Vec<PassedOn>> = BTreeMap::new();
    for (originator, on) in passed {
        by.entry(originator).or_default().push(on);
    }
    let now = node.clock.now();
    for (originator, all) in by {
        for some in all.chunks(limits::PASSED_PER_NOTICE_MAX) {
            let passed = Passed { v: 1, time: now, holder: node.keys.org, passed: some.to_vec() };
            let signed = passed.sign(&node.keys.runs).map_err(|_| ShareError::Codec(CodecError::Shape))?;
            let row = PassedRow { at: now, heard: None, signed: signed.clone(), originator };
            let place = txn.push(Partition::Own, Table::Grant, PASSED, &encode("passed on", &row)?)?;
            said::push(txn, originator, said::Say::Passed(place), &signed)?;
        }
    }
    Ok(())
}

/// What is said to an originator of what we passed on, with the cards of whom it names.
pub(super) fn told(node: &Node, signed: &SignatureBytes) -> Result<Told, OnwardError> {
    let book = node.book();
    let passed = Passed::kept(signed).map_err(|_| StoreError::Broken { at: 0 })?;
    let named: BTreeSet<OrgId> = passed.passed.iter().map(|on| on.to).collect();
    let cards = named.into_iter().filter_map(|org| book.card(org)).take(limits::CARDS_PER_MESSAGE_MAX);
    let cards = cards.map(|card| ByteBuf::from(card.bytes().to_vec())).collect();
    Ok(Told { cards, signed: signed.clone() })
}

/// Takes a holder's word. What it says of records that are none of ours changes nothing.
pub fn take(node: &Node, from: OrgId, content: &[u8]) -> Result<SignatureBytes, OnwardError> {
    let told = Told::from_bytes(content).map_err(|fault| OnwardError::Partner(fault.to_string()))?;
    let (now, book) = (node.clock.now(), node.book());
    let key = |kid, stated| book.past_key(from, Purpose::Runs, kid, now, stated);
    let passed = Passed::verify(&told.signed, from, key).map_err(|fault| OnwardError::of_partner(&fault))?;
    if let Some(why) = room::lacking(node, from, room::For::Word)? {
        return Err(OnwardError::Partner(why));
    }
    let shown = Shown::read(&book, node.keys.org, &told.cards);
    let mut txn = node.holdings.begin();
    // Whether it says of a record for the first time that it went on: once for each record of ours.
    let (mut changed, mut without, mut newly) = (0u64, 0u64, false);
    let word = txn.count(Partition::Own, Table::Grant, WORDS)?;
    for on in passed.passed {
        let Some(own) = keep::find_own(node, on.record)? else { continue };
        let grant = answering::given(node, on.grant)?;
        let header = own.header()?;
        let granted = grant.is_some_and(|grant| {
            (grant.from, grant.to) == (from, on.to) && grant.scope.covers(header.header()) && !grant.is_refusal()
        });
        without += u64::from(!granted);
        let row = HeldRow { at: now, by: from, on, word, time: passed.time, granted };
        let (key, bytes) = (held_key(from, &on), encode("onward holder", &row)?);
        match txn.get(Partition::Own, Table::Grant, &key)?.and_then(|at| <[u8; 8]>::try_from(at).ok()) {
            Some(at) => {
                let at = u64::from_be_bytes(at);
                let before = txn.item(Partition::Own, Table::Grant, HELD, at)?.ok_or(StoreError::Broken { at })?;
                let before: HeldRow = decode("onward holder", &before)?;
                // Said again, or before what is known.
                if before.on == on || before.time > row.time {
                    continue;
                }
                txn.replace_item(Partition::Own, Table::Grant, HELD, at, &bytes)?;
            }
            None => {
                let hand = hand_key(from, on.record);
                let before = txn.get(Partition::Own, Table::Grant, &hand)?;
                let count = before.and_then(|n| <[u8; 8]>::try_from(n).ok()).map_or(0, u64::from_be_bytes);
                newly |= count == 0;
                if count >= HOLDERS_MAX {
                    let why = format!("it says of more than {HOLDERS_MAX} organisations that they hold one record");
                    return Err(OnwardError::Partner(why));
                }
                txn.put(Partition::Own, Table::Grant, &hand, &(count + 1).to_be_bytes())?;
                let at = txn.push(Partition::Own, Table::Grant, HELD, &bytes)?;
                txn.put(Partition::Own, Table::Grant, &key, &at.to_be_bytes())?;
                txn.push(Partition::Own, Table::Grant, &of_record(on.record), &at.to_be_bytes())?;
            }
        }
        room::fill(&mut txn, from, bytes.len() as u64 + room::BESIDES_BYTES)?;
        changed += 1;
    }
    if changed == 0 {
        return Ok(told.signed);
    }
    let bytes = encode("word", &WordRow { by: from, signed: told.signed.clone() })?;
    room::fill(&mut txn, from, bytes.len() as u64 + room::BESIDES_BYTES)?;
    txn.push(Partition::Own, Table::Grant, WORDS, &bytes)?;
    let new = shown.keep(node, &mut txn, from, |_| true)?;
    let about =
        [("partner", from.to_string()), ("records", changed.to_string()), ("without-grant", without.to_string())];
    node.journal(&mut txn, "passed-on", &about)?;
    txn.commit()?;
    if newly {
        // Under a key that is in other hands, it makes suspect what went on.
        node.batches.forget_suspect();
    }
    if without > 0 {
        let why = format!("it passed {without} record(s) of ours on without a grant of ours: `entente onward holders`");
        node.note_error(from, why);
    }
    if new {
        node.reload()?;
    }
    Ok(told.signed)
}

/// Who holds a record of ours by another's hand now.
pub fn holders_of(node: &Node, record: RecordId) -> Result<Vec<HeldRow>, OnwardError> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = node.holdings.list(Partition::Own, Table::Grant, &of_record(record), after, 256)?;
        let Some((last, _)) = page.last() else { return Ok(all) };
        after = Some(*last);
        for (n, at) in &page {
            let at = <[u8; 8]>::try_from(at.as_slice()).map_err(|_| StoreError::Broken { at: *n })?;
            let at = u64::from_be_bytes(at);
            let row = node.holdings.item(Partition::Own, Table::Grant, HELD, at)?;
            all.push(decode("onward holder", &row.ok_or(StoreError::Broken { at })?)?);
        }
    }
}

/// Onward holders that one listing names.
const LISTED_MAX: usize = 10_000;

/// Who holds our records by others' hands: of one record, or of all.
pub fn list(node: &Node, record: Option<RecordId>) -> Result<Json, OnwardError> {
    let mut all = Vec::new();
    let mut show = |row: HeldRow| -> Result<(), OnwardError> {
        let own = keep::own(node, row.on.record)?;
        let number =
            own.values.iter().find(|(slot, _)| *slot == 0).map(|(_, value)| stored::value(value)).transpose()?;
        all.push(json!({
            "id": format!("{}@{}", row.on.record, row.on.to),
            "record": row.on.record.to_string(),
            "number": number.as_ref().and_then(|value| value.as_text()),
            "holder": node.handle_of(row.on.to),
            "by": node.handle_of(row.by),
            "agreement": row.on.agreement.to_string(),
            "grant": row.on.grant.to_string(),
            "granted": row.granted,
            "state": if row.on.gone { "taken-back" } else { "holds" },
            "at": row.at.to_string(),
        }));
        Ok(())
    };
    match record {
        Some(record) => holders_of(node, record)?.into_iter().try_for_each(&mut show)?,
        None => {
            let page = node.holdings.list(Partition::Own, Table::Grant, HELD, None, LISTED_MAX)?;
            for (_, row) in page {
                show(decode("onward holder", &row)?)?;
            }
        }
    }
    Ok(json!(all))
}
