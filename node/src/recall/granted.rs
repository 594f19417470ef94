//! What others passed on to us is kept no longer than its originator's grant says: for so many days, and until a day.
//!
//! Beside the clauses' own terms, which `retention` looks after: the shorter of the two counts. Each record stands in the
//! list of the day on which its grant's time is over.

use super::{PAGE, RecallError, erase, hold, retention};
use crate::{
    node::Node,
    records::stored::{OnwardRow, ReceivedRow},
    seal::keyring::Partition,
    store::{StoreError, layout::Table, txn::Txn},
};
use entente_protocol::{
    id::{AgreementId, RecordId},
    record::SlotSet,
    time::{DAY_MS, UnixMillis},
};

/// Scope of the list of days on which something is over.
pub const DAYS: &[u8] = b"granted-days";

/// Scope of what is over on a day, in the partition of an agreement.
pub fn scope(day: u64) -> Vec<u8> {
    [b"granted".as_slice(), &day.to_be_bytes()].concat()
}

/// When the grant's time is over for a record that came at a time.
pub fn over_at(onward: &OnwardRow) -> UnixMillis {
    onward.since.plus(u64::from(onward.days).saturating_mul(DAY_MS)).min(onward.until)
}

/// Notes a record that came by a grant, within the transaction that keeps it.
pub fn note(txn: &mut Txn<'_>, partition: Partition, record: RecordId, row: &ReceivedRow) -> Result<(), StoreError> {
    let Some(onward) = &row.onward else { return Ok(()) };
    let day = over_at(onward).days();
    if txn.count(partition, Table::Recall, &scope(day))? == 0 {
        txn.push(partition, Table::Recall, DAYS, &day.to_be_bytes())?;
    }
    txn.push(partition, Table::Recall, &scope(day), record.as_bytes()).map(drop)
}

/// A day of [`DAYS`].
pub fn day(row: &[u8]) -> Option<u64> {
    <[u8; 8]>::try_from(row).ok().map(u64::from_be_bytes)
}

/// Deletes some of what is over under an agreement, in one append. Whether there may be more at once.
pub(super) fn step(node: &Node, agreement: AgreementId) -> Result<bool, RecallError> {
    let partition = Partition::Agreement(agreement);
    let now = node.interval().early;
    let mut after = None;
    loop {
        let page = node.holdings.list(partition, Table::Recall, DAYS, after, PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(false) };
        after = Some(*last);
        for (at, row) in page {
            let day = day(&row).ok_or(StoreError::Broken { at })?;
            if day <= now.days() && step_of(node, agreement, (at, day), now)? {
                return Ok(true);
            }
        }
    }
}

fn step_of(node: &Node, agreement: AgreementId, (at, day): (u64, u64), now: UnixMillis) -> Result<bool, RecallError> {
    let partition = Partition::Agreement(agreement);
    let mut txn = node.holdings.begin();
    let (mut doomed, mut over, mut waits) = (Vec::new(), Vec::new(), false);
    let page = node.holdings.list(partition, Table::Recall, &scope(day), None, PAGE)?;
    for (place, record) in &page {
        let record = RecordId::from_slice(record).ok_or(StoreError::Broken { at: *place })?;
        let held = erase::held(node, agreement, record)?;
        let Some((stands, row)) = held.filter(|(_, row)| !row.openings.is_empty()) else {
            over.push(*place);
            continue;
        };
        // Given again since, by its originator or by another grant: that one's day counts.
        let Some(onward) = row.onward.filter(|onward| over_at(onward).days() == day) else {
            over.push(*place);
            continue;
        };
        if over_at(&onward) > now {
            waits = true;
            continue;
        }
        over.push(*place);
        // What came by another's hand went no further: nobody is told.
        retention::expired(node, &mut txn, partition, record, &mut None)?;
        // Lifting the hold deletes it.
        if !hold::is_held(&txn, partition, record)? {
            doomed.push(erase::Doomed { record, place: stands, row, keep: SlotSet::EMPTY, from: onward.by });
        }
    }
    for place in &over {
        txn.remove_item(partition, Table::Recall, &scope(day), *place)?;
    }
    let is_done = page.len() < PAGE && !waits && day < now.days();
    if is_done {
        txn.remove_item(partition, Table::Recall, DAYS, at)?;
    }
    if over.is_empty() && !is_done {
        return Ok(false);
    }
    let leftovers = erase::erase(node, &mut txn, agreement, &doomed)?;
    if !doomed.is_empty() {
        let about = [("agreement", agreement.to_string()), ("records", doomed.len().to_string())];
        node.journal(&mut txn, "grant-over", &about)?;
    }
    leftovers.discard(node, agreement)?;
    txn.commit()?;
    Ok(true)
}

/// Whether the grant's time is over for a received record.
pub(super) fn is_over(node: &Node, row: &ReceivedRow) -> bool {
    row.onward.is_some_and(|onward| over_at(&onward) <= node.interval().early)
}
