//! Serving a signed run again, to a partner that has not countersigned it: what may still be said of it, and no more.
//!
//! `exchange` comes here through `outbox`. Nothing is signed here; what is not cleared any more is decided again by `step`.

use super::Prepared;
use crate::{
    node::Node,
    records::stored::{ReleasedRow, decode, encode, record_in_feed},
    seal::keyring::Partition,
    share::{
        ShareError,
        bodies::Bodies,
        decide::{self, Asked},
        feeds::{self, Pending},
    },
    store::layout::Table,
};
use entente_protocol::{
    feed::{Entry, FeedKey},
    id::{AgreementDigest, Hash, RecordId},
    record::SlotSet,
};
use std::collections::{BTreeMap, BTreeSet};

/// Makes a signed run's message again, for a partner that has not countersigned it.
///
/// An entry that is no longer cleared goes as its hash alone, and the record is decided again.
pub fn again(node: &Node, feed: &FeedKey, number: u64) -> Result<Option<Prepared>, ShareError> {
    let rules = node.rules();
    let now = node.interval();
    // It waits, whole: an entry that went as its hash for a reason that passes would be sent twice.
    if rules.policy.passes(feed.receiver, feed.agreement, now).is_err() || feeds::stopped(node, feed)?.is_some() {
        return Ok(None);
    }
    let row = feeds::out_row(node, feed, AgreementDigest::from_bytes([0; 32]))?;
    let Some((_, sent)) = feeds::run_at(node, feed, &row, number)? else { return Ok(None) };
    let mut closed: BTreeSet<usize> = BTreeSet::new();
    let end = sent.first + sent.entries.len() as u64;
    // Each turn closes entries, or is the last: one that is closed may have been named by another.
    let bodies = loop {
        let mut bodies = Bodies::new(node);
        let mut closing = BTreeMap::new();
        for (at, entry) in sent.entries.iter().enumerate().filter(|(at, _)| !closed.contains(at)) {
            let Some(record) = entry.record else { continue };
            let asked = Asked::load(node, record)?;
            let slots = SlotSet::from_bits(entry.slots);
            // What went in the same run is in the store as released. What came later may be closed when its turn comes.
            let referable = asked.referable(node, feed.id(), end)?;
            let decided = asked.ask(node, feed, referable, |question| rules.policy.decide(question));
            let cleared = decided
                .ok()
                .and_then(|c| c.narrowed(slots))
                .filter(|c| c.terms().clause == entry.clause && c.terms().version == sent.version);
            let withdrawn = decide::released(node, record, feed.id())?.is_none_or(|released| released.withdrawn);
            let goes = match cleared.filter(|_| !withdrawn) {
                // A body that gives another hash than the one that was signed would break the run at its receiver.
                Some(clearance) if !asked.hidden(node, &rules.policy, feed)? => {
                    released_as(&entry.bytes) == Some(bodies.add(at, &asked, &clearance)?)
                }
                _ => false,
            };
            if !goes {
                closing.insert(at, record);
            }
        }
        if closing.is_empty() {
            break bodies;
        }
        close(node, feed, closing.iter().map(|(at, record)| (sent.first + *at as u64, *record)))?;
        closed.extend(closing.keys());
    };
    Ok(Some(Prepared { message: bodies.into_message(sent.run.clone(), &sent)?, end }))
}

/// The hash of the release that an entry names.
fn released_as(entry: &[u8]) -> Option<Hash> {
    match Entry::from_bytes(entry) {
        Ok(Entry::Release { hash, .. }) => Some(hash),
        _ => None,
    }
}

/// Notes that entries go as their hashes alone: their records are decided again, and are not named until then.
///
/// Only an entry that is the last word about its record changes anything: a partner that shows an old head again and
/// again costs no append, and nothing of what went later is forgotten.
fn close(node: &Node, feed: &FeedKey, entries: impl Iterator<Item = (u64, RecordId)>) -> Result<(), ShareError> {
    let mut txn = node.holdings.begin();
    let mut closed = Vec::new();
    for (number, record) in entries {
        let key = record_in_feed(record, feed.id());
        let row = txn.get(Partition::Own, Table::Release, &key)?;
        let Some(row) = row.map(|row| decode::<ReleasedRow>("release", &row)).transpose()? else { continue };
        if row.number != number || !row.was_shown() {
            continue;
        }
        // What was withdrawn meanwhile is not decided again, but its line is not named by others either.
        if !row.withdrawn {
            let pending = encode("pending", &Pending::Record(record))?;
            txn.push(Partition::Own, Table::Pending, feed.id().as_bytes(), &pending)?;
        }
        // The partner may hold it from an earlier entry, or from a connection that was cut: unless it goes
        // again, its withdrawal follows.
        txn.put(Partition::Own, Table::Release, &key, &encode("release", &ReleasedRow { slots: 0, ..row })?)?;
        closed.push(record);
    }
    if closed.is_empty() {
        return Ok(());
    }
    let about = [
        ("agreement", feed.agreement.to_string()),
        ("partner", feed.receiver.to_string()),
        ("entries", closed.len().to_string()),
    ];
    node.journal(&mut txn, "releases-closed", &about)?;
    txn.commit()?;
    Ok(())
}
