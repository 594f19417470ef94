//! Recalls of what went on: whoever passed a record on passes its recall on, and brings back what its receivers answer.
//!
//! A holder says the originator's own signed recall to each organisation to which it passed the record, and to no other, and
//! answers `waiting` until each of them has answered. Their signed answers go to the originator as they came, which so lists
//! every holder by its own word.

use super::{HolderAt, HolderRow, RecallError, holder_key, holders_scope};
use crate::{
    node::Node,
    onward::{OnwardError, RELAYED, holding, said},
    partners::introduced::Shown,
    records::stored::{decode, encode},
    room,
    seal::keyring::Partition,
    store::{StoreError, layout::Table, txn::Txn},
};
use entente_protocol::{
    cose::SignatureBytes,
    grant::Told,
    id::{AgreementId, OrgId, RecallId, RecordId},
    identity::{Purpose, UnconfirmedCard},
    recall::{Act, AnswerState, Answers, Recall},
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::{BTreeMap, BTreeSet};

/// Where rows of holders stand of recalls that are others' and were passed on: no recall of ours has this number.
pub const RELAYS: u64 = u64::MAX;

/// Receivers of one record: no organisation has as many partners.
const RECEIVERS: usize = 10_000;

/// An onward holder's answers, on their way to an originator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelayedRow {
    /// When they came.
    pub at: UnixMillis,
    /// The holder's card.
    pub card: ByteBuf,
    /// When the originator had heard them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<UnixMillis>,
    /// As they came.
    pub signed: SignatureBytes,
}

impl RelayedRow {
    /// What is said of it.
    pub fn told(&self) -> Told {
        Told { cards: vec![self.card.clone()], signed: self.signed.clone() }
    }
}

/// Scope of the receivers to which a recall was passed on.
pub fn receivers_scope(recall: RecallId) -> Vec<u8> {
    [b"passed".as_slice(), recall.as_bytes()].concat()
}

/// Scope of the recalls about a record that were passed on, each with what it asks.
pub fn about_scope(record: RecordId) -> Vec<u8> {
    [b"passed about".as_slice(), record.as_bytes()].concat()
}

/// What was passed on about a record. No more than there are acts, and few: each is stricter than those before.
fn passed_about(txn: &Txn<'_>, record: RecordId) -> Result<Vec<(Act, RecallId)>, RecallError> {
    let (mut all, scope) = (Vec::new(), about_scope(record));
    while let Some(row) = txn.item(Partition::Own, Table::Recall, &scope, all.len() as u64)? {
        all.push(decode("recall passed on", &row)?);
    }
    Ok(all)
}

/// Whether a partner may say a recall and hear what became of it: its originator, or who gave us the record.
pub(super) fn is_entitled(node: &Node, from: OrgId, recall: &Recall) -> Result<bool, RecallError> {
    if recall.originator == from {
        return Ok(true);
    }
    for agreement in node.partitions() {
        let held = super::erase::held(node, agreement, recall.record)?;
        if held.is_some_and(|(_, row)| row.giver() == Some(from)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Passes recalls on to whoever was passed their records, each once. Only what its originator's grant let go on is its to
/// take back.
pub(super) fn pass_on(
    node: &Node,
    from: OrgId,
    recalls: &[(RecallId, Recall, SignatureBytes)],
) -> Result<(), RecallError> {
    let rules = node.rules();
    if rules.grants.is_empty() {
        return Ok(());
    }
    let mut txn = node.holdings.begin();
    let mut passed = 0u64;
    for (id, recall, signed) in recalls {
        // Where as strict a word about the record was passed on already, one that its originator signs again and again is
        // not ours to say again and again. That it was taken from somebody else is no reason.
        let known = passed_about(&txn, recall.record)?;
        let is_known = |(act, other): &(Act, RecallId)| *act >= recall.act && other != id;
        if known.iter().any(is_known) || !is_entitled(node, from, recall)? {
            continue;
        }
        let mut to: BTreeMap<OrgId, Vec<AgreementId>> = BTreeMap::new();
        for (feed, row) in holding::passed_in(node, &txn, recall.record)? {
            if row.grant.and_then(|grant| rules.grants.originator(grant)) == Some(recall.originator) {
                to.entry(feed.receiver).or_default().push(feed.agreement);
            }
        }
        let before = passed;
        // Not back to whose it is.
        to.remove(&recall.originator);
        for (partner, agreements) in to {
            if txn.get(Partition::Own, Table::Recall, &holder_key(*id, partner))?.is_some() {
                continue;
            }
            let row = HolderRow::unanswered((*id, recall.record, signed.clone()), partner, agreements);
            let row = HolderRow { origin: Some(recall.originator), ..row };
            let bytes = row.add(&mut txn, RELAYS)?;
            room::fill(&mut txn, from, bytes as u64 + room::BESIDES_BYTES)?;
            txn.push(Partition::Own, Table::Recall, &receivers_scope(*id), partner.as_bytes())?;
            passed += 1;
        }
        if passed > before && !known.iter().any(|(_, other)| other == id) {
            let about = encode("recall passed on", &(recall.act, *id))?;
            txn.push(Partition::Own, Table::Recall, &about_scope(recall.record), &about)?;
        }
    }
    if passed == 0 {
        return Ok(());
    }
    node.journal(&mut txn, "recall-passed-on", &[("holders", passed.to_string())])?;
    txn.commit()?;
    node.note_recalls();
    node.wake();
    Ok(())
}

/// Our answer to a recall of a record, with those of whoever it was passed on to. Where another as strict was passed on instead
/// of it, with those to that one.
pub(super) fn overall(
    node: &Node,
    (recall, record): (RecallId, Option<RecordId>),
    own: AnswerState,
) -> Result<AnswerState, RecallError> {
    let asked = |recall| node.holdings.list(Partition::Own, Table::Recall, &receivers_scope(recall), None, RECEIVERS);
    let (mut recall, mut receivers) = (recall, asked(recall)?);
    if let Some(record) = record.filter(|_| receivers.is_empty()) {
        let rows = node.holdings.list(Partition::Own, Table::Recall, &about_scope(record), None, Act::ALL.len())?;
        // The strictest is the last.
        if let Some((_, row)) = rows.last() {
            let (_, other): (Act, RecallId) = decode("recall passed on", row)?;
            (recall, receivers) = (other, asked(other)?);
        }
    }
    let mut all = vec![own];
    for (n, partner) in receivers {
        let partner = OrgId::from_slice(&partner).ok_or(StoreError::Broken { at: n })?;
        let row = super::asking::holder_of(node, recall, partner)?;
        all.push(row.and_then(|(_, row)| row.state).unwrap_or(AnswerState::Waiting));
    }
    // What was passed on and is held nowhere any more is done.
    let is_held = |state: &AnswerState| *state != AnswerState::NotHeld;
    Ok(all.into_iter().filter(is_held).max().unwrap_or(AnswerState::NotHeld))
}

/// A receiver answered recalls that are others': its answers go to whose they are, within the append that takes them.
pub(super) fn bring(
    node: &Node,
    txn: &mut Txn<'_>,
    holder: OrgId,
    signed: &SignatureBytes,
    origins: &BTreeSet<OrgId>,
) -> Result<(), RecallError> {
    let book = node.book();
    let Some(card) = book.card(holder).filter(|_| !origins.is_empty()) else { return Ok(()) };
    let row = RelayedRow {
        at: node.clock.now(),
        card: ByteBuf::from(card.bytes().to_vec()),
        heard: None,
        signed: signed.clone(),
    };
    let place = txn.push(Partition::Own, Table::Grant, RELAYED, &encode("answers", &row)?)?;
    for origin in origins {
        said::push(txn, *origin, said::Say::Relayed(place), signed)?;
    }
    Ok(())
}

/// Takes the answers of an onward holder of our records, which whoever passed them on brings. Whether any was new.
pub fn take(node: &Node, from: OrgId, content: &[u8]) -> Result<(SignatureBytes, bool), OnwardError> {
    let told = Told::from_bytes(content).map_err(|fault| OnwardError::Partner(fault.to_string()))?;
    let (now, book) = (node.clock.now(), node.book());
    let unreadable = || OnwardError::Partner("it brings answers without a card of who gave them".to_owned());
    let card = told.cards.first().ok_or_else(unreadable)?;
    let holder = UnconfirmedCard::from_bytes(card).map_err(|_| unreadable())?.payload().org;
    let shown = Shown::read(&book, node.keys.org, &told.cards);
    let key = |kid, stated| shown.past_key(&book, holder, (Purpose::Runs, kid), now, stated);
    let answers =
        Answers::verify(&told.signed, holder, key).map_err(|fault| OnwardError::Partner(fault.to_string()))?;
    if let Some(why) = room::lacking(node, from, room::For::Word)? {
        return Err(OnwardError::Partner(why));
    }
    let done = record(node, (from, holder), &answers, &told.signed, &shown);
    let (taken, introduced) = done.map_err(|error| OnwardError::Named(error.into()))?;
    if introduced {
        node.reload()?;
    }
    Ok((told.signed, taken))
}

/// Whether any was new, and whether a card came with them that was not known.
fn record(
    node: &Node,
    (from, holder): (OrgId, OrgId),
    answers: &Answers,
    signed: &SignatureBytes,
    shown: &Shown,
) -> Result<(bool, bool), RecallError> {
    let (now, book) = (node.clock.now(), node.book());
    let mut txn = node.holdings.begin();
    let mut taken = 0u64;
    for answer in &answers.answers {
        // Only what the one who brings it was asked.
        let Some((HolderAt(number, _), asked)) = super::asking::holder_of(node, answer.recall, from)? else { continue };
        if number == RELAYS {
            continue;
        }
        let known = super::asking::holder_of(node, answer.recall, holder)?;
        match known {
            // Asked by ourselves, it answers ourselves.
            Some((_, row)) if row.through.is_none() => continue,
            // That nothing was held may have been said before it came.
            Some((_, row))
                if row.state != Some(AnswerState::NotHeld)
                    && super::holders::rank(Some(answer.state)) <= super::holders::rank(row.state) =>
            {
                continue;
            }
            Some((at, mut row)) => {
                (row.state, row.answered) = (Some(answer.state), Some(now));
                let scope = holders_scope(at.0);
                txn.replace_item(Partition::Own, Table::Recall, &scope, at.1, &encode("holder", &row)?)?;
            }
            // As many as it may introduce, and no more.
            None if !shown.takes(&book, from, holder) => continue,
            None => {
                let row = HolderRow {
                    state: Some(answer.state),
                    partner: holder,
                    through: Some(from),
                    answered: Some(now),
                    agreements: Vec::new(),
                    ..asked
                };
                let bytes = row.add(&mut txn, number)?;
                room::fill(&mut txn, from, bytes as u64 + room::BESIDES_BYTES)?;
            }
        }
        taken += 1;
    }
    if taken == 0 {
        return Ok((false, false));
    }
    let row = super::AnswerRow { at: now, holder, signed: signed.clone() };
    let row = encode("answers", &row)?;
    room::fill(&mut txn, from, row.len() as u64 + room::BESIDES_BYTES)?;
    txn.push(Partition::Own, Table::Recall, super::ANSWERS, &row)?;
    let new = shown.keep(node, &mut txn, from, |org| org == holder)?;
    let about = [("holder", holder.to_string()), ("by", from.to_string()), ("answers", taken.to_string())];
    node.journal(&mut txn, "recall-answered", &about)?;
    txn.commit()?;
    Ok((true, new))
}
