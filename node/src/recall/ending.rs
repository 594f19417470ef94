//! The end of an agreement: what was received under it is made unreadable, and its givers get a receipt.
//!
//! It is asked for by a person, or done by itself where the agreement obliges its receivers to it. Files and rows go
//! first, then the partition's keys, from memory and from both files of the keyring; the keyring remembers that they were
//! destroyed, so that an older copy of the store stays unreadable and is taken for what it is. Each step can be done
//! again: a node that was stopped in between goes on ([`go_on`]).

use super::{ASKED, AskedRow, Named, PAGE, RecallError, each, hold, named};
use crate::{
    call::{OnProgress, Progress},
    node::{self, Node},
    records::{
        index,
        stored::{ReceivedRow, decode, encode},
    },
    room,
    seal::keyring::Partition,
    share::{
        ShareError, fetching,
        files::{self, FileRow},
    },
    store::{StoreError, holdings::Holdings, layout::Table},
};
use entente_protocol::{
    agreement::{
        Agreement, Obligation,
        lifecycle::{State, Step},
    },
    cose::SignatureBytes,
    id::{AgreementId, OrgId, RecordId},
    identity::Purpose,
    recall::Erasure,
    text,
    time::{DAY_MS, UnixMillis},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::sync::PoisonError;

/// Rows deleted in one append.
const STEP: usize = 2_000;
/// Rows that are found in one walk over all.
const WALKED: usize = 500_000;
/// Who did it, where the agreement itself asks for it.
const BY_ITSELF: &str = "the agreement";

/// That a partition is erased, here or at a partner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErasureRow {
    /// Whether it is done.
    pub done: bool,
    /// Who began it.
    pub begun: Named,
    /// Copies of the keyring that could still open it.
    pub copies: Vec<String>,
    /// Whose partition.
    pub holder: OrgId,
    /// The receipt, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<SignatureBytes>,
    /// Of which agreement.
    pub agreement: AgreementId,
}

/// Scope of the list of erasures, in the node's own partition.
pub const ERASURES: &[u8] = b"erasures";

/// The key under which the erasure of a holder's partition is found.
pub fn key(agreement: AgreementId, holder: Option<OrgId>) -> Vec<u8> {
    let holder = holder.as_ref().map_or(&[][..], |holder| holder.as_bytes());
    [b"erased".as_slice(), agreement.as_bytes(), holder].concat()
}

/// Whether our own partition of an agreement is erased, or on its way.
pub fn is_begun(holdings: &Holdings, agreement: AgreementId) -> Result<bool, StoreError> {
    Ok(holdings.get(Partition::Node, Table::Recall, &key(agreement, None))?.is_some())
}

/// Whether a partner's receipt says that it has erased what came under an agreement that is over here too. Of any other
/// it may say so, and take what is on its way.
pub fn is_erased_by(node: &Node, agreement: AgreementId, partner: OrgId) -> Result<bool, StoreError> {
    let over = stands(node, agreement).is_some_and(|state| state.step(Step::Erase).is_ok());
    Ok(over && node.holdings.get(Partition::Node, Table::Recall, &key(agreement, Some(partner)))?.is_some())
}

fn at(node: &Node, agreement: AgreementId) -> Result<Option<(u64, ErasureRow)>, RecallError> {
    let Some(place) = node.holdings.get(Partition::Node, Table::Recall, &key(agreement, None))? else {
        return Ok(None);
    };
    let place: u64 = decode("erasure", &place)?;
    let row = node.holdings.item(Partition::Node, Table::Recall, ERASURES, place)?;
    Ok(Some((place, decode("erasure", &row.ok_or(StoreError::Broken { at: place })?)?)))
}

/// Where an agreement stands, by the earliest time that it may be now: what is erased does not come back.
fn stands(node: &Node, agreement: AgreementId) -> Option<State> {
    let early = node.interval().early;
    Some(node.rules().agreements.get(agreement)?.state((early, early)))
}

/// Since when an agreement is over here, if it is: since a party's word that it has ended came, or past its last day, where
/// nobody has agreed on what follows. What a party says of the time decides nothing.
pub(super) fn over_since(node: &Node, agreement: AgreementId) -> Option<UnixMillis> {
    stands(node, agreement)?.step(Step::Erase).ok()?;
    let rules = node.rules();
    let held = rules.agreements.get(agreement)?;
    let body = &held.in_force.as_ref()?.agreement;
    let follows = !held.next.is_empty() || held.backed(node.keys.org).is_some();
    let expired = Some(body.until).filter(|until| !follows && node.interval().early >= *until);
    [held.ended, expired].into_iter().flatten().min()
}

/// Erases what was received under an agreement that is over, because a person asks for it.
pub fn erase(
    node: &Node,
    given: &str,
    (by, copies): (&str, &[String]),
    progress: OnProgress<'_>,
) -> Result<Json, RecallError> {
    let (id, begun) = may_erase(node, given, (by, copies))?;
    begin(node, id, begun, copies.to_vec())?;
    carry_out(node, id, progress)?;
    let (_, row) = at(node, id)?.ok_or(StoreError::Broken { at: 0 })?;
    Ok(view(node, &row))
}

/// Whether what was received under an agreement can be erased, before a person is asked.
pub fn would_erase(node: &Node, given: &str, asked: (&str, &[String])) -> Result<(), RecallError> {
    let (id, _) = may_erase(node, given, asked)?;
    match if is_begun(&node.holdings, id)? { 0 } else { holds(node, id)? } {
        0 => Ok(()),
        held => Err(RecallError::Held(held)),
    }
}

/// Which agreement, and who asks for its erasure.
fn may_erase(node: &Node, given: &str, (by, copies): (&str, &[String])) -> Result<(AgreementId, Named), RecallError> {
    let begun = named(by, node.clock.now())?;
    let fault = |message: String| RecallError::Asked(message);
    let id = node.rules().agreements.find(given).map_err(|e| fault(e.to_string()))?.id;
    if let Some(state) = stands(node, id) {
        state.step(Step::Erase)?;
    }
    if over_since(node, id).is_none() {
        return Err(RecallError::Followed);
    }
    if let Some(copy) = copies.iter().find(|copy| !text::is_line(copy)) {
        return Err(fault(format!("`{}` is not one line that people can read", copy.escape_debug())));
    }
    if copies.len() >= entente_protocol::limits::KEYRING_COPIES_MAX {
        return Err(fault(format!("name at most {} copies", entente_protocol::limits::KEYRING_COPIES_MAX - 1)));
    }
    Ok((id, begun))
}

/// Records that a hold keeps. Holds are placed and lifted in transactions: within one, nothing changes them.
fn holds(node: &Node, agreement: AgreementId) -> Result<u64, RecallError> {
    let (mut held, partition) = (0, Partition::Agreement(agreement));
    if node.holdings.keyring().holds(partition) {
        each(&node.holdings, (partition, hold::HOLDS), 0, &mut |_, row: hold::HoldRow| {
            held += u64::from(row.lifted.is_none());
            Ok(true)
        })?;
    }
    Ok(held)
}

/// Scope of the records that were recalled under an agreement which was erased since, in our own partition: they are taken
/// by no other hand either.
pub const RECALLED: &[u8] = b"recalled-and-erased";

/// The key under which one of [`RECALLED`] is found.
pub fn recalled_key(record: RecordId) -> Vec<u8> {
    [RECALLED, record.as_bytes()].concat()
}

/// Whether a record was recalled under an agreement that was erased since.
pub fn was_recalled(holdings: &Holdings, record: RecordId) -> Result<bool, StoreError> {
    Ok(holdings.get(Partition::Own, Table::Recall, &recalled_key(record))?.is_some())
}

/// Notes which records were recalled under an agreement: their ids outlive it, and nothing else does.
fn remember(node: &Node, agreement: AgreementId) -> Result<(), RecallError> {
    let partition = Partition::Agreement(agreement);
    if !node.holdings.keyring().holds(partition) {
        return Ok(());
    }
    let mut after = None;
    loop {
        let page = node.holdings.list(partition, Table::Recall, ASKED, after, PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(*last);
        let mut txn = node.holdings.begin();
        for (_, bytes) in &page {
            let record = decode::<AskedRow>("recall", bytes)?.record;
            if txn.get(Partition::Own, Table::Recall, &recalled_key(record))?.is_none() {
                let place = txn.push(Partition::Own, Table::Recall, RECALLED, record.as_bytes())?;
                txn.put(Partition::Own, Table::Recall, &recalled_key(record), &encode("recall", &place)?)?;
            }
        }
        txn.commit()?;
    }
}

/// From here on nothing of the partition is read any more, and nothing in it is held any more.
fn begin(node: &Node, agreement: AgreementId, begun: Named, copies: Vec<String>) -> Result<(), RecallError> {
    // Ahead of it, so that at no time what was recalled is unknown.
    remember(node, agreement)?;
    let mut txn = node.holdings.begin();
    if txn.get(Partition::Node, Table::Recall, &key(agreement, None))?.is_some() {
        return Ok(());
    }
    match holds(node, agreement)? {
        0 => {}
        held => return Err(RecallError::Held(held)),
    }
    let about = [("agreement", agreement.to_string()), ("by", begun.by.clone())];
    let row = ErasureRow { done: false, begun, copies, holder: node.keys.org, signed: None, agreement };
    let place = txn.push(Partition::Node, Table::Recall, ERASURES, &encode("erasure", &row)?)?;
    txn.put(Partition::Node, Table::Recall, &key(agreement, None), &encode("erasure", &place)?)?;
    node.journal(&mut txn, "partition-erasing", &about)?;
    node::changed(&mut txn)?;
    txn.commit()?;
    node.reload().map_err(|fault| ShareError::Rules(fault.message))?;
    Ok(())
}

/// Everything that is to be done, from wherever it stopped.
fn carry_out(node: &Node, agreement: AgreementId, progress: OnProgress<'_>) -> Result<(), RecallError> {
    // One at a time: a person's command, and what goes on by itself.
    let _one = node.erasing.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((place, mut row)) = at(node, agreement)? else { return Ok(()) };
    let partition = Partition::Agreement(agreement);
    // Also where it is done, and an older copy of the keyring was put back.
    if node.holdings.keyring().holds(partition) {
        // What was asked while it began.
        remember(node, agreement)?;
        files_of(node, agreement)?;
        tokens_of(node, agreement, progress)?;
        rows_of(node, partition)?;
        node.holdings.keyring().destroy_partition(partition).map_err(StoreError::from)?;
    }
    if row.done {
        return Ok(());
    }
    let now = node.clock.now();
    let elsewhere = format!("any copy of keys/keyring.age or keys/keyring.recovery.age that was made before {now}");
    let copies: Vec<String> = row.copies.iter().cloned().chain([elsewhere]).collect();
    let receipt = Erasure { v: 1, time: now, copies: copies.clone(), holder: node.keys.org, agreement };
    (row.done, row.copies, row.signed) = (true, copies, Some(receipt.sign(&node.keys.runs)?));
    let mut txn = node.holdings.begin();
    txn.replace_item(Partition::Node, Table::Recall, ERASURES, place, &encode("erasure", &row)?)?;
    node.journal(&mut txn, "partition-erased", &[("agreement", agreement.to_string())])?;
    txn.commit()?;
    node.note_recalls();
    node.wake();
    Ok(())
}

/// Files, and parts of them, with what they fill.
fn files_of(node: &Node, agreement: AgreementId) -> Result<(), RecallError> {
    let partition = Partition::Agreement(agreement);
    let (mut whole, mut parts) = (Vec::new(), Vec::new());
    node.holdings.audit().each_row(Some(Table::Attachment), &mut |seen| {
        if let Some((_, content)) = seen.opened.filter(|(of, _)| *of == partition) {
            match (decode::<FileRow>("file", &content), fetching::part_of(&content)) {
                (Ok(file), _) => whole.push(file),
                (_, Some(part)) => parts.push(part),
                _ => {}
            }
        }
        Ok(())
    })?;
    for file in whole {
        files::discard(node, partition, &file)?;
    }
    for (id, segments) in parts {
        for segment in 0..segments {
            node.holdings.blob_remove(partition, &files::segment_name(id, segment))?;
        }
    }
    Ok(())
}

/// What records are found by: index rows do not say whose they are, so each is named by its record while that can be read.
fn tokens_of(node: &Node, agreement: AgreementId, progress: OnProgress<'_>) -> Result<(), RecallError> {
    let partition = Partition::Agreement(agreement);
    let total = node.holdings.count(partition, Table::Received, b"")?;
    let mut after = None;
    loop {
        let page = node.holdings.list(partition, Table::Received, b"", after, PAGE)?;
        let mut txn = node.holdings.begin();
        for (n, bytes) in &page {
            after = Some(*n);
            let row: ReceivedRow = decode("received record", bytes)?;
            let verified = row.verified().map_err(|_| StoreError::Broken { at: *n })?;
            let header = verified.header();
            txn.unindex_all(partition, index::ID, verified.id().as_bytes())?;
            txn.unindex_all(partition, index::LINE, &index::line(header.originator, header.line))?;
            let mut earlier = vec![row];
            let shown_before = node.holdings.list(partition, Table::Earlier, verified.id().as_bytes(), None, PAGE)?;
            for (_, bytes) in shown_before {
                earlier.push(decode("received record", &bytes)?);
            }
            for row in earlier {
                let shown = row.verified().map_err(|_| StoreError::Broken { at: *n })?;
                for slot in shown.slots() {
                    let Some(known) = header.kind.slot_number(slot.opening.slot) else { continue };
                    for term in index::terms(header.kind, known, &slot.value).into_iter().filter(|t| !t.shared) {
                        txn.unindex_all(partition, term.field, &term.key)?;
                    }
                }
            }
        }
        txn.commit()?;
        progress(Progress { done: after.map_or(0, |n| n + 1), total: Some(total) });
        if page.len() < PAGE {
            return Ok(());
        }
    }
}

/// Every row that the partition's keys open.
fn rows_of(node: &Node, partition: Partition) -> Result<(), RecallError> {
    // So many at a time, whatever there is: what was deleted is not met again.
    loop {
        let mut rows = Vec::new();
        node.holdings.audit().each_row(None, &mut |seen| {
            if rows.len() < WALKED && seen.opened.is_some_and(|(of, _)| of == partition) {
                rows.push(seen.row.to_vec());
            }
            Ok(())
        })?;
        for step in rows.chunks(STEP) {
            let mut txn = node.holdings.begin();
            for row in step {
                txn.remove_row(partition, row)?;
            }
            txn.commit()?;
        }
        if rows.len() < WALKED {
            return Ok(());
        }
    }
}

/// Finishes what was begun, and takes note of what an older copy of the store does not know: the keyring does.
pub fn settle(node: &Node) -> Result<(), RecallError> {
    let rules = node.rules();
    for held in rules.agreements.iter() {
        if !held.erased && node.holdings.keyring().is_erased(Partition::Agreement(held.id)) {
            let by = "a keyring that is newer than this store".to_owned();
            begin(node, held.id, Named { at: node.clock.now(), by }, Vec::new())?;
        } else if !held.erased {
            continue;
        }
        carry_out(node, held.id, &mut |_| {})?;
    }
    Ok(())
}

/// Begins what an agreement obliges us to.
pub fn go_on(node: &Node) -> Result<(), RecallError> {
    settle(node)?;
    let rules = node.rules();
    for held in rules.agreements.iter().filter(|held| !held.erased) {
        let Some(in_force) = &held.in_force else { continue };
        if is_due(node, held.id, &in_force.agreement)? {
            begin(node, held.id, Named { at: node.clock.now(), by: BY_ITSELF.to_owned() }, Vec::new())?;
            carry_out(node, held.id, &mut |_| {})?;
        }
    }
    Ok(())
}

/// Whether an agreement that is over obliges us to erase what came under it, and nothing keeps us from it.
fn is_due(node: &Node, id: AgreementId, agreement: &Agreement) -> Result<bool, RecallError> {
    if !agreement.obligations.contains(&Obligation::EraseAtEnd)
        || agreement.party(node.keys.org).is_none()
        || agreement.declines(node.keys.org, Obligation::EraseAtEnd)
        || !node.may_delete()
    {
        return Ok(false);
    }
    let survives = u64::from(agreement.survival_days.unwrap_or_default()) * DAY_MS;
    let due = over_since(node, id).is_some_and(|over| over.plus(survives) <= node.interval().early);
    Ok(due && node.holdings.count(Partition::Agreement(id), Table::Received, b"")? > 0 && holds(node, id)? == 0)
}

/// Receipts of ours that a partner is to get.
pub fn to_say(node: &Node, partner: OrgId) -> Result<Vec<(AgreementId, SignatureBytes)>, RecallError> {
    let rules = node.rules();
    let mut say = Vec::new();
    for held in rules.agreements.with(partner).filter(|held| held.erased) {
        if let Some((_, ErasureRow { signed: Some(signed), .. })) = at(node, held.id)? {
            say.push((held.id, signed));
        }
    }
    Ok(say)
}

/// Takes a partner's receipt. The same again changes nothing.
pub fn received(node: &Node, partner: OrgId, content: &[u8]) -> Result<bool, RecallError> {
    let fault = |what: String| RecallError::Partner(what);
    let now = node.clock.now();
    let signed = SignatureBytes::from_bytes(content, 32 << 10).map_err(|e| fault(e.to_string()))?;
    let key_of = |kid, stated| node.book().past_key(partner, Purpose::Runs, kid, now, stated);
    let receipt = Erasure::verify(&signed, partner, key_of).map_err(|e| fault(e.to_string()))?;
    let rules = node.rules();
    if !rules.agreements.with(partner).any(|held| held.id == receipt.agreement) {
        return Err(fault("it is about an agreement that is none of ours".to_owned()));
    }
    let mut txn = node.holdings.begin();
    let key = key(receipt.agreement, Some(partner));
    if txn.get(Partition::Node, Table::Recall, &key)?.is_some() {
        return Ok(false);
    }
    let row = ErasureRow {
        done: true,
        begun: Named { at: receipt.time, by: node.handle_of(partner) },
        copies: receipt.copies,
        holder: partner,
        signed: Some(signed),
        agreement: receipt.agreement,
    };
    let bytes = encode("erasure", &row)?;
    room::fill(&mut txn, partner, bytes.len() as u64 + room::BESIDES_BYTES)?;
    let place = txn.push(Partition::Node, Table::Recall, ERASURES, &bytes)?;
    txn.put(Partition::Node, Table::Recall, &key, &encode("erasure", &place)?)?;
    let about = [("agreement", receipt.agreement.to_string()), ("partner", partner.to_string())];
    node.journal(&mut txn, "erasure-received", &about)?;
    txn.commit()?;
    Ok(true)
}

fn view(node: &Node, row: &ErasureRow) -> Json {
    json!({
        "id": format!("{}/{}", row.agreement, row.holder),
        "agreement": row.agreement.to_string(),
        "holder": node.handle_of(row.holder),
        "done": row.done,
        "by": row.begun.by,
        "at": row.begun.at.to_string(),
        "copies": row.copies,
    })
}

/// Erasures, in the order in which they were known here: our own, and those of partners whose receipts came.
pub fn erasures(node: &Node, wanted: impl Fn(&ErasureRow) -> bool) -> Result<Vec<Json>, RecallError> {
    let mut all = Vec::new();
    each(&node.holdings, (Partition::Node, ERASURES), 0, &mut |_, row: ErasureRow| {
        if wanted(&row) {
            all.push(view(node, &row));
        }
        Ok(true)
    })?;
    Ok(all)
}

/// An erasure is begun, and the node is stopped before anything is deleted.
#[cfg(test)]
pub fn begun_only(node: &Node, agreement: AgreementId) -> Result<(), RecallError> {
    begin(node, agreement, Named { at: node.clock.now(), by: BY_ITSELF.to_owned() }, Vec::new())
}
