//! Retention: what was given for a time is deleted when that time is over, by itself.
//!
//! A clause says for how many days its receiver keeps what came under it, and for how many a field of personal data; the
//! version under which it came counts. Runs lie in the order in which they came, so each number of days has one place
//! for each feed up to which all is looked at: a day costs what becomes due on it, never the store. `run` calls
//! [`step`] again and again. While the time is not known nothing is due; a hold keeps a record, and lifting it deletes it.

use super::{PAGE, RecallError, erase, granted, hold};
use crate::{
    agreements,
    node::Node,
    onward::holding,
    receive::{RunInRow, TakenBack, WithdrawnRow},
    records::stored::{ReceivedRow, decode, encode},
    seal::keyring::Partition,
    share::feeds,
    store::{StoreError, layout::Table, txn::Txn},
};
use entente_protocol::{
    agreement::{Agreement, Clause},
    feed::{FeedKey, Run},
    id::{AgreementDigest, AgreementId, FeedId, OrgId, RecordId, StoreId},
    record::{Body, SlotSet, kind::Kind},
    time::{DAY_MS, UnixMillis},
};
use std::collections::{BTreeMap, BTreeSet};

/// Runs looked at in one step, and records deleted by it before it stops.
const RUNS: u64 = 16;
const STEP: usize = 1_000;

/// The key of the place up to which a feed's runs are looked at for what is kept so many days.
pub fn key(feed: FeedId, days: u32) -> Vec<u8> {
    [b"kept".as_slice(), feed.as_bytes(), &days.to_be_bytes()].concat()
}

/// The numbers of days that the clauses of these versions name.
pub fn every_term(versions: &BTreeMap<AgreementDigest, Agreement>) -> BTreeSet<u32> {
    let clauses = || versions.values().flat_map(|version| &version.clauses);
    let personal = clauses().flat_map(|clause| clause.personal.iter().map(|p| p.retention_days));
    clauses().map(|clause| clause.retention_days).chain(personal).collect()
}

/// What stays of a record after so many days under a clause; none where these days end nothing of it.
fn stays(version: &Agreement, clause: u16, kind: Kind, days: u32) -> Option<SlotSet> {
    let clause = version.clauses.get(usize::from(clause))?;
    if clause.retention_days == days {
        return Some(SlotSet::EMPTY);
    }
    let over: Vec<u8> =
        clause.personal.iter().filter(|p| p.kind == kind && p.retention_days == days).map(|p| p.slot).collect();
    (!over.is_empty()).then(|| kind.slots().map(|slot| slot.number).filter(|n| !over.contains(n)).collect())
}

/// The version under which a received record came.
pub fn version_of(
    node: &Node,
    agreement: AgreementId,
    row: &ReceivedRow,
) -> Result<Option<AgreementDigest>, RecallError> {
    let run = node.holdings.item(Partition::Agreement(agreement), Table::RunIn, row.feed.as_bytes(), row.run)?;
    let Some(run) = run.map(|run| decode::<RunInRow>("run", &run)).transpose()? else { return Ok(None) };
    let run = Run::danger_unverified(&run.run).map_err(|_| StoreError::Broken { at: row.run })?;
    Ok(Some(run.version))
}

fn over(node: &Node, since: UnixMillis, days: u32) -> bool {
    since.plus(u64::from(days) * DAY_MS) <= node.interval().early
}

/// For how many days a received record is kept, and until when: its clause's days, and what its originator's grant says
/// where another passed it on; the shorter counts. A hold may keep it longer, and fields of personal data go before.
pub fn kept(row: &ReceivedRow, clause: Option<&Clause>) -> Option<(u32, UnixMillis)> {
    let by_clause = clause.map(|clause| clause.retention_days);
    let by_grant = row.onward.as_ref();
    let days = by_clause.into_iter().chain(by_grant.map(|onward| onward.days)).min()?;
    let over = by_clause.map(|days| row.at.plus(u64::from(days) * DAY_MS));
    Some((days, over.into_iter().chain(by_grant.map(granted::over_at)).min()?))
}

/// What of a received record is not over by now.
pub(super) fn stays_of(node: &Node, agreement: AgreementId, row: &ReceivedRow) -> Result<SlotSet, RecallError> {
    let mut keep: SlotSet = row.openings.iter().map(|(slot, ..)| *slot).collect();
    if !node.may_delete() {
        return Ok(keep);
    }
    if granted::is_over(node, row) {
        return Ok(SlotSet::EMPTY);
    }
    let versions = agreements::versions(&node.holdings, agreement)?;
    let Some(version) = version_of(node, agreement, row)?.and_then(|digest| versions.get(&digest)) else {
        return Ok(keep);
    };
    let kind = Body::from_bytes(&row.body).map_err(|_| StoreError::Broken { at: row.number })?.header().kind;
    for days in every_term(&versions).into_iter().filter(|days| over(node, row.at, *days)) {
        keep = stays(version, row.clause, kind, days).map_or(keep, |stays| keep.and(stays));
    }
    Ok(keep)
}

/// Scope of the stores from which a sender has shared, in the partition of an agreement.
pub fn stores_scope(sender: OrgId) -> Vec<u8> {
    [b"stores".as_slice(), sender.as_bytes()].concat()
}

/// Remembers from which store a run comes, where it is another than the last: what came from the former one is kept no
/// longer than the rest.
pub fn note_store(txn: &mut Txn<'_>, feed: &FeedKey) -> Result<(), StoreError> {
    let partition = Partition::Agreement(feed.agreement);
    let known = txn.get(partition, Table::Cursor, &feeds::store_key(feed.sender))?;
    if known.is_none_or(|known| known != feed.store.as_bytes()) {
        txn.push(partition, Table::Recall, &stores_scope(feed.sender), feed.store.as_bytes())?;
    }
    Ok(())
}

/// The feeds of a sender under an agreement, of each store that it has shared from.
pub fn feeds_of(node: &Node, sender: OrgId, agreement: AgreementId) -> Result<BTreeSet<FeedKey>, StoreError> {
    let (mut all, mut after) = (BTreeSet::new(), None);
    loop {
        let scope = stores_scope(sender);
        let page = node.holdings.list(Partition::Agreement(agreement), Table::Recall, &scope, after, PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(all) };
        after = Some(*last);
        for (n, store) in page {
            let store = StoreId::from_slice(&store).ok_or(StoreError::Broken { at: n })?;
            all.insert(feeds::incoming(node, sender, store, agreement));
        }
    }
}

/// Deletes some of what has become due, in bounded appends. Whether there may be more at once.
pub fn step(node: &Node) -> Result<bool, RecallError> {
    if !node.may_delete() {
        return Ok(false);
    }
    let senders: Vec<_> = node.book().iter().map(|(partner, _)| *partner).collect();
    for agreement in node.partitions() {
        if granted::step(node, agreement)? {
            return Ok(true);
        }
        let versions = agreements::versions(&node.holdings, agreement)?;
        for sender in &senders {
            for feed in feeds_of(node, *sender, agreement)? {
                for days in every_term(&versions) {
                    if step_of(node, &feed, &versions, days)? {
                        return Ok(true);
                    }
                }
            }
        }
    }
    Ok(false)
}

/// What of one run is over: rows of records, and of what was disclosed of them before.
#[derive(Default)]
struct Over {
    doomed: Vec<erase::Doomed>,
    /// Whether something of it will be over, and is not yet.
    waits: bool,
}

fn over_of(
    node: &Node,
    feed: &FeedKey,
    versions: &BTreeMap<AgreementDigest, Agreement>,
    (days, place): (u32, u64),
    held: &RunInRow,
) -> Result<Over, RecallError> {
    let run = Run::danger_unverified(&held.run).map_err(|_| StoreError::Broken { at: place })?;
    let mut found = Over::default();
    let Some(version) = versions.get(&run.version) else { return Ok(found) };
    let records: BTreeSet<RecordId> =
        held.proofs.iter().flat_map(|proof| proof.records.iter().map(|(_, record)| *record)).collect();
    for record in records {
        let Some((at, row)) = erase::held(node, feed.agreement, record)? else { continue };
        // Released again since, and shown as much: that later run decides.
        if row.run != place || row.feed != feed.id() || row.openings.is_empty() {
            continue;
        }
        let kind = Body::from_bytes(&row.body).map_err(|_| StoreError::Broken { at })?.header().kind;
        let Some(keep) = stays(version, row.clause, kind, days) else { continue };
        // By our own clock: what the sender says of the time decides nothing.
        match over(node, row.at, days) {
            true => found.doomed.push(erase::Doomed { record, place: at, row, keep, from: feed.sender }),
            false => found.waits = true,
        }
    }
    Ok(found)
}

fn step_of(
    node: &Node,
    feed: &FeedKey,
    versions: &BTreeMap<AgreementDigest, Agreement>,
    days: u32,
) -> Result<bool, RecallError> {
    let partition = Partition::Agreement(feed.agreement);
    let key = key(feed.id(), days);
    let mut txn = node.holdings.begin();
    let from = txn.get(partition, Table::Recall, &key)?.and_then(|row| <[u8; 8]>::try_from(row).ok());
    let from = from.map_or(0, u64::from_be_bytes);
    let (mut next, mut doomed, mut receivers) = (from, Vec::new(), None);
    while next < from + RUNS && doomed.len() < STEP {
        let Some(row) = txn.item(partition, Table::RunIn, feed.id().as_bytes(), next)? else { break };
        let found = over_of(node, feed, versions, (days, next), &decode("run", &row)?)?;
        for gone in found.doomed {
            if gone.keep == SlotSet::EMPTY {
                expired(node, &mut txn, partition, gone.record, &mut receivers)?;
            }
            // Lifting the hold deletes it.
            if !hold::is_held(&txn, partition, gone.record)? {
                doomed.push(gone);
            }
        }
        if found.waits {
            break;
        }
        next += 1;
    }
    if next == from && doomed.is_empty() {
        return Ok(false);
    }
    let leftovers = erase::erase(node, &mut txn, feed.agreement, &doomed)?;
    txn.put(partition, Table::Recall, &key, &next.to_be_bytes())?;
    if !doomed.is_empty() {
        let about = [
            ("agreement", feed.agreement.to_string()),
            ("partner", feed.sender.to_string()),
            ("days", days.to_string()),
            ("records", doomed.len().to_string()),
        ];
        node.journal(&mut txn, "retention-over", &about)?;
    }
    // Before the append: where it fails, all of it is done again.
    leftovers.discard(node, feed.agreement)?;
    txn.commit()?;
    receivers.into_iter().for_each(|receivers| node.hold_back(receivers));
    Ok(true)
}

/// Notes that the time of a record is over, unless its originator took it back before.
pub(super) fn expired(
    node: &Node,
    txn: &mut Txn<'_>,
    partition: Partition,
    record: RecordId,
    receivers: &mut Option<BTreeSet<OrgId>>,
) -> Result<(), RecallError> {
    let withdrawn = txn.get(partition, Table::Withdrawn, record.as_bytes())?;
    let withdrawn = withdrawn.map(|row| decode::<WithdrawnRow>("withdrawal", &row)).transpose()?;
    if withdrawn.is_none_or(|row| row.by.is_none()) {
        let row = WithdrawnRow { at: node.clock.now(), by: Some(TakenBack::Expired), feed: None, number: 0 };
        txn.put(partition, Table::Withdrawn, record.as_bytes(), &encode("withdrawal", &row)?)?;
        holding::reconsider(node, txn, record, receivers)?;
    }
    Ok(())
}
