//! Retention: what was given for a time is deleted when that time is over, by itself.
//!
//! A clause says for how many days its receiver keeps what came under it, and for how many a field of personal data; the
//! version under which it came counts. Runs lie in the order in which they came, so each number of days has one place
//! for each feed up to which all is looked at: a day costs what becomes due on it, never the store. `run` calls
//! [`step`] again and again. While the time is not known nothing is due; a hold keeps a record, and lifting it deletes it.

use super::{PAGE, RecallError, erase, hold};
use crate::{
    node::Node,
    receive::{RunInRow, TakenBack, WithdrawnRow},
    records::stored::{decode, encode},
    seal::keyring::Partition,
    share::feeds,
    store::{StoreError, layout::Table},
};
use entente_protocol::{
    agreement::{Agreement, SignedAgreement},
    feed::{FeedKey, Run},
    id::{AgreementDigest, AgreementId, FeedId, RecordId},
    record::{Body, SlotSet, kind::Kind},
    time::UnixMillis,
};
use std::collections::{BTreeMap, BTreeSet};

const DAY_MS: u64 = 86_400_000;
/// Runs looked at in one step.
const RUNS: u64 = 16;

/// The key of the place up to which a feed's runs are looked at for what is kept so many days.
pub fn key(feed: FeedId, days: u32) -> Vec<u8> {
    [b"kept".as_slice(), feed.as_bytes(), &days.to_be_bytes()].concat()
}

/// Every version of an agreement by its digest.
pub fn versions(node: &Node, agreement: AgreementId) -> Result<BTreeMap<AgreementDigest, Agreement>, RecallError> {
    let (mut all, mut after) = (BTreeMap::new(), None);
    loop {
        let scope = agreement.as_bytes();
        let page = node.holdings.list(Partition::Node, Table::AgreementVersion, scope, after, PAGE)?;
        for (n, bytes) in &page {
            after = Some(*n);
            let signed = SignedAgreement::from_bytes(bytes).map_err(|_| StoreError::Broken { at: *n })?;
            all.insert(signed.digest(), signed.agreement().map_err(|_| StoreError::Broken { at: *n })?);
        }
        if page.len() < PAGE {
            return Ok(all);
        }
    }
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

/// Deletes some of what has become due, in bounded appends. Whether there may be more at once.
pub fn step(node: &Node) -> Result<bool, RecallError> {
    let now = node.interval();
    if now.fault().is_some() {
        return Ok(false);
    }
    let senders: Vec<_> = node.book().iter().map(|(partner, _)| *partner).collect();
    for agreement in node.partitions() {
        let versions = versions(node, agreement)?;
        for sender in &senders {
            let Some(store) = feeds::known_store(node, *sender, agreement)? else { continue };
            let feed = feeds::incoming(node, *sender, store, agreement);
            for days in every_term(&versions) {
                if step_of(node, &feed, &versions, days, now.early)? {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

fn step_of(
    node: &Node,
    feed: &FeedKey,
    versions: &BTreeMap<AgreementDigest, Agreement>,
    days: u32,
    now: UnixMillis,
) -> Result<bool, RecallError> {
    let partition = Partition::Agreement(feed.agreement);
    let over = |since: UnixMillis| since.plus(u64::from(days) * DAY_MS) <= now;
    let key = key(feed.id(), days);
    let mut txn = node.holdings.begin();
    let from = txn.get(partition, Table::Recall, &key)?.and_then(|row| <[u8; 8]>::try_from(row).ok());
    let from = from.map_or(0, u64::from_be_bytes);
    let (mut next, mut doomed, mut deleted) = (from, Vec::new(), 0u64);
    'runs: while next < from + RUNS {
        let Some(row) = txn.item(partition, Table::RunIn, feed.id().as_bytes(), next)? else { break };
        let held: RunInRow = decode("run", &row)?;
        let run = Run::danger_unverified(&held.run).map_err(|_| StoreError::Broken { at: next })?;
        if !over(run.time) {
            break;
        }
        let records: BTreeSet<RecordId> =
            held.proofs.iter().flat_map(|proof| proof.records.iter().map(|(_, record)| *record)).collect();
        let mut of_run = Vec::new();
        for record in records {
            let Some((place, row)) = erase::held(node, feed.agreement, record)? else { continue };
            // Released again since: the later run decides.
            if row.run != next || row.feed != feed.id() || row.openings.is_empty() {
                continue;
            }
            let kind = Body::from_bytes(&row.body).map_err(|_| StoreError::Broken { at: place })?.header().kind;
            let stays = versions.get(&run.version).and_then(|version| stays(version, row.clause, kind, days));
            let Some(keep) = stays else { continue };
            // The sender's clock may be behind ours.
            if !over(row.at) {
                break 'runs;
            }
            of_run.push(erase::Doomed { record, place, row, keep, from: feed.sender });
        }
        for gone in of_run {
            if gone.keep == SlotSet::EMPTY {
                let withdrawn = txn.get(partition, Table::Withdrawn, gone.record.as_bytes())?;
                let withdrawn = withdrawn.map(|row| decode::<WithdrawnRow>("withdrawal", &row)).transpose()?;
                if withdrawn.is_none_or(|row| row.by.is_none()) {
                    let by = Some(TakenBack::Expired);
                    let row = WithdrawnRow { at: node.clock.now(), by, feed: None, number: 0 };
                    txn.put(partition, Table::Withdrawn, gone.record.as_bytes(), &encode("withdrawal", &row)?)?;
                }
            }
            if hold::is_held(&txn, partition, gone.record)? {
                continue;
            }
            deleted += 1;
            doomed.push(gone);
        }
        next += 1;
    }
    if next == from {
        return Ok(false);
    }
    let leftovers = erase::erase(node, &mut txn, feed.agreement, &doomed)?;
    txn.put(partition, Table::Recall, &key, &next.to_be_bytes())?;
    if deleted > 0 {
        let about = [
            ("agreement", feed.agreement.to_string()),
            ("partner", feed.sender.to_string()),
            ("days", days.to_string()),
            ("records", deleted.to_string()),
        ];
        node.journal(&mut txn, "retention-over", &about)?;
    }
    txn.commit()?;
    leftovers.discard(node, feed.agreement)?;
    Ok(true)
}
