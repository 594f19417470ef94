//! Beginning the log again: after a restore, or where a witness has seen more of it than this store has (WIT-8).
//!
//! What an older copy of the store lost cannot be made again, and a log that went on as if nothing had been would
//! contradict what it signed. So a new epoch begins, which says so, and names to each witness the very head that it saw.

use super::{
    CustodyError, locked,
    rows::{self, Ahead, LogRow},
};
use crate::{node::Node, restore::mark, seal::keyring::Partition, store::layout::Table};
use entente_protocol::{
    custody::checkpoint::{Checkpoint, Origin},
    time::UnixMillis,
};
use std::sync::atomic::Ordering;

/// Begins the next epoch where this store was put back from a backup since the last one began: what it lost cannot be known
/// before others say so, and may never be said.
pub fn after_restore(node: &Node) -> Result<(), CustodyError> {
    let Some(restored) = mark::read(&node.holdings).map_err(|_| CustodyError::Broken("the mark of a restore"))? else {
        return Ok(());
    };
    let (origin, _) = node.log.at()?;
    if origin.begins(0) > restored.at { Ok(()) } else { begin_after(node, None, restored.at) }
}

/// Begins the next epoch: after `seen`, the head that a witness saw, and after every time that this store knows of.
pub fn begin(node: &Node, seen: Option<&Checkpoint>) -> Result<(), CustodyError> {
    begin_after(node, seen, UnixMillis(0))
}

fn begin_after(node: &Node, seen: Option<&Checkpoint>, after: UnixMillis) -> Result<(), CustodyError> {
    let _one = locked(&node.log.growing);
    let mut txn = node.holdings.begin();
    let old = node.log.row();
    let before = old.origin()?;
    let epoch = seen.map_or(before.epoch(), |seen| seen.origin().epoch().max(before.epoch()));
    let ends = |origin: &Origin, size| origin.begins(size);
    let seen_until = seen.map_or(UnixMillis(0), Checkpoint::time);
    let known = [node.clock.now(), node.marks.seen(), ends(&before, old.size), seen_until, after];
    let created = known.into_iter().max().unwrap_or_default().0 / 1_000 + 1;
    let next = epoch
        .checked_add(1)
        .and_then(|epoch| Origin::new(before.org(), before.store(), epoch, created, before.interval_ms() / 1_000));
    let next = next.ok_or(CustodyError::Broken("no further epoch can begin"))?;
    // What the old epoch had not covered stands in the first leaves of the new one.
    let journal = entente_protocol::custody::journal::JournalHead { count: old.count, digest: old.digest };
    let mut row = LogRow::from(next, journal)?;
    row.ahead = old.ahead.iter().map(|ahead| Ahead { leaf: 0, digest: ahead.digest }).collect();
    txn.put(Partition::Node, Table::Log, &rows::past(before.epoch()), &old.write()?)?;
    txn.put(Partition::Node, Table::Log, rows::OWN, &row.write()?)?;
    node.journal(&mut txn, "log-anew", &[("origin", next.to_string())])?;
    node.log.made.store(next.begins(0).0, Ordering::SeqCst);
    txn.commit()?;
    *locked(&node.log.row) = row;
    *locked(&node.log.opened) = None;
    *locked(&node.log.witnessed) = None;
    tracing::warn!(origin = %next, "the log begins anew: this store was restored from an older copy");
    Ok(())
}
