//! Serving a signed run again, to a partner that has not countersigned it: what may still be said of it, and no more.
//!
//! `exchange` comes here through `outbox`. Nothing is signed here; what is not cleared any more is decided again by `step`.

use super::Prepared;
use crate::{
    keys::suspect,
    node::{Node, Rules},
    onward::holding,
    records::{
        keep,
        stored::{ReleasedRow, decode, encode, record_in_feed},
    },
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

/// What people are told where nobody has a run any more.
const BOTH_LOST: &str = "what was sent is lost on both sides, so nothing more can be sent under this agreement: end it, and \
    make a new one";

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
    if sent.entries.iter().any(|entry| entry.bytes.is_empty()) {
        tracing::error!(partner = %feed.receiver, "the partner lost a run whose entries this store does not have either");
        node.note_error(feed.receiver, BOTH_LOST.to_owned());
        return Ok(None);
    }
    let mut closed: BTreeSet<usize> = BTreeSet::new();
    let end = sent.first + sent.entries.len() as u64;
    // Each turn closes entries, or is the last: one that is closed may have been named by another.
    let bodies = loop {
        let mut bodies = Bodies::new(node);
        let mut closing = BTreeMap::new();
        for (at, entry) in sent.entries.iter().enumerate().filter(|(at, _)| !closed.contains(at)) {
            let Some(record) = entry.record else { continue };
            let slots = SlotSet::from_bits(entry.slots);
            let withdrawn = decide::released(node, record, feed.id())?.is_none_or(|released| released.withdrawn);
            if keep::find_own(node, record)?.is_none() {
                let as_signed = (slots, entry.clause, sent.version);
                let hash = match withdrawn {
                    true => None,
                    false => onward(node, &rules, feed, (record, as_signed, end), (at, &mut bodies))?,
                };
                if hash.is_none() || released_as(&entry.bytes) != hash {
                    closing.insert(at, record);
                }
                continue;
            }
            let asked = Asked::load(node, record)?;
            // What went in the same run is in the store as released. What came later may be closed when its turn comes.
            let referable = asked.referable(node, feed.id(), end)?;
            let decided = asked.ask(node, feed, referable, |question| rules.policy.decide(question));
            let cleared = decided
                .ok()
                .and_then(|c| c.narrowed(slots))
                .filter(|c| c.terms().clause == entry.clause && c.terms().version == sent.version);
            let suspect = suspect::own(node, asked.row.batch)?.is_some();
            let goes = match cleared.filter(|_| !withdrawn && !suspect) {
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
    let message = bodies.into_message(sent.run.clone(), &sent)?;
    keep::keep_heads_alone(node)?;
    Ok(Some(Prepared { message, end }))
}

/// Another's record that is served again, where it still goes as it was signed. The hash of its body.
fn onward(
    node: &Node,
    rules: &Rules,
    feed: &FeedKey,
    (record, (slots, clause, version), end): (RecordId, (SlotSet, u16, AgreementDigest), u64),
    (at, bodies): (usize, &mut Bodies<'_>),
) -> Result<Option<Hash>, ShareError> {
    let Some(held) = holding::held(node, rules, record, feed.receiver)? else { return Ok(None) };
    let referable = held.referable_in(node, feed.id(), end)?;
    let decided = held.ask(rules, feed, (referable, node.interval()), |question| rules.policy.decide(question));
    let cleared = decided
        .ok()
        .and_then(|clearance| clearance.narrowed(slots))
        .filter(|clearance| clearance.terms().clause == clause && clearance.terms().version == version);
    let grant = held.grant(rules, feed);
    match (cleared, grant) {
        (Some(clearance), Some(got)) => Ok(Some(bodies.add_onward(at, &held, &clearance, (rules, got))?)),
        _ => Ok(None),
    }
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
            // Only what is another's went by a grant.
            let pending = if row.grant.is_some() { Pending::Onward(record) } else { Pending::Record(record) };
            let pending = encode("pending", &pending)?;
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
