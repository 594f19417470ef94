//! Making leaves: one for each interval that is over, from the events that the journal has since the last one.
//!
//! While leaves are made the store's writer is held, so nothing is signed of an interval whose leaf is being made, and
//! nothing after that states such a time ([`Log::may_state`](super::Log::may_state)).

use super::{
    CustodyError, locked,
    rows::{self, Ahead, BusyRow, LogRow},
};
use crate::{
    node::Node,
    seal::keyring::Partition,
    store::{StoreError, holdings::Holdings, layout::Table},
};
use entente_protocol::{
    custody::{
        checkpoint::Origin,
        interval::{Interval, IntervalError, seed},
        journal::{JournalHead, intervals},
        tiles::{self, Tile},
    },
    id::{Hash, JournalDigest, LoggedDigest},
    limits,
    time::UnixMillis,
};
use std::{collections::BTreeMap, sync::atomic::Ordering};

/// Makes every leaf up to a size. The caller has it from a time that its own clock and a witness's agree is over.
pub fn grow(node: &Node, size: u64) -> Result<u64, CustodyError> {
    let _one = locked(&node.log.growing);
    loop {
        let (_, made) = node.log.at()?;
        if made >= size {
            return Ok(made);
        }
        step(node, size)?;
    }
}

/// An event that no leaf covers yet.
struct Uncovered {
    at: UnixMillis,
    /// Under what it stands in an interval.
    stands: LoggedDigest,
    /// Whether it is something signed, which stands in the interval of its own time.
    signed: bool,
    /// The journal after it.
    after: JournalDigest,
}

/// Events from a place of the journal to its end.
fn uncovered(holdings: &Holdings, from: u64) -> Result<Vec<Uncovered>, StoreError> {
    let mut events = Vec::new();
    let mut after = from.checked_sub(1);
    loop {
        let page = holdings.journal(after, 1_024)?;
        let Some((last, _)) = page.last() else { return Ok(events) };
        after = Some(*last);
        events.extend(page.iter().map(|(_, event)| Uncovered {
            at: event.at(),
            stands: event.logged(),
            signed: event.is_signed(),
            after: event.digest(),
        }));
    }
}

/// What stands in one interval that is being made.
struct Making {
    row: BusyRow,
    stands: Vec<LoggedDigest>,
}

fn step(node: &Node, size: u64) -> Result<(), CustodyError> {
    let holdings = &node.holdings;
    let mut txn = holdings.begin();
    let mut log = node.log.row();
    let origin = log.origin()?;
    let end = size.min(log.size.saturating_add(limits::LOG_APPEND_MAX as u64));
    // From now on nothing states a time before this; where the append fails, the store does too.
    node.log.made.fetch_max(origin.begins(end).0, Ordering::SeqCst);
    let events = uncovered(holdings, log.count)?;
    let making = assign(&mut log, &origin, &events, end);
    let secret = log.secret()?;
    let mut head = JournalHead { count: log.count, digest: log.digest };
    let mut leaves = Vec::new();
    for leaf in log.size..end {
        let busy = making.get(&leaf);
        if let Some(busy) = busy {
            head = JournalHead { count: busy.row.to, digest: busy.row.digest };
            txn.push(Partition::Node, Table::Log, &rows::busy(origin.epoch()), &busy.row.write()?)?;
        }
        let stands = busy.map_or(&[][..], |busy| &busy.stands);
        leaves.push(interval(stands, head, &secret, leaf)?.leaf().hash());
    }
    let read = |tile: Tile| read_tile(holdings, origin.epoch(), tile);
    for (tile, hashes) in tiles::append(log.size, &leaves, read)? {
        let hashes: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
        txn.put(Partition::Node, Table::Tile, &rows::tile(origin.epoch(), tile.level(), tile.index()), &hashes)?;
    }
    (log.size, log.count, log.digest) = (end, head.count, head.digest);
    txn.put(Partition::Node, Table::Log, rows::OWN, &log.write()?)?;
    txn.commit()?;
    *locked(&node.log.row) = log;
    Ok(())
}

/// The interval of these events. Where there are more than a tree takes, the first of them stand in it; all of them stand
/// in the journal that the leaf commits to.
pub(super) fn interval(
    stands: &[LoggedDigest],
    journal: JournalHead,
    secret: &[u8; 32],
    leaf: u64,
) -> Result<Interval, CustodyError> {
    let stands = stands.get(..limits::INTERVAL_EVENTS_MAX).unwrap_or(stands);
    Interval::new(stands, journal, &seed(secret, leaf)).map_err(|error| match error {
        IntervalError::Crowded => CustodyError::Broken("too many events of an interval share a place"),
        _ => CustodyError::Broken("an interval cannot be made"),
    })
}

/// Which of these events stand in which of the leaves up to `end`. What is signed stands first.
fn assign(log: &mut LogRow, origin: &Origin, events: &[Uncovered], end: u64) -> BTreeMap<u64, Making> {
    let leaf_at = |at: UnixMillis| origin.leaf_at(at).unwrap_or(0);
    let times: Vec<UnixMillis> = events.iter().map(|event| event.at).collect();
    let places = intervals(&times, log.size, leaf_at);
    let mut making: BTreeMap<u64, Making> = BTreeMap::new();
    let (start, mut before) = (log.count, log.digest);
    let mut ahead = std::mem::take(&mut log.ahead);
    let mut others: Vec<(u64, LoggedDigest)> = Vec::new();
    let covered = events.iter().zip(places).take_while(|(_, leaf)| *leaf < end);
    for ((event, leaf), n) in covered.zip(start..) {
        let busy = making.entry(leaf).or_insert_with(|| Making::new(leaf, n, before));
        (busy.row.to, busy.row.digest, before) = (n + 1, event.after, event.after);
        let own = leaf_at(event.at).max(log.size);
        match event.signed {
            true if own == leaf => busy.stands.push(event.stands),
            true => {
                busy.row.gone.push(n);
                ahead.push(Ahead { leaf: own, digest: event.stands });
            }
            false => others.push((leaf, event.stands)),
        }
    }
    let (due, later) = ahead.into_iter().partition(|ahead: &Ahead| ahead.leaf < end);
    log.ahead = later;
    for Ahead { leaf, digest } in due {
        let at_end = making.range(..=leaf).next_back().map(|(_, busy)| (busy.row.to, busy.row.digest));
        let (to, at) = at_end.unwrap_or((start, log.digest));
        let busy = making.entry(leaf.max(log.size)).or_insert_with(|| Making::new(leaf.max(log.size), to, at));
        busy.row.late.push(digest);
        busy.stands.push(digest);
    }
    for (leaf, stands) in others {
        if let Some(busy) = making.get_mut(&leaf) {
            busy.stands.push(stands);
        }
    }
    making
}

impl Making {
    fn new(leaf: u64, from: u64, digest: JournalDigest) -> Self {
        let row = BusyRow { at: leaf, to: from, from, gone: Vec::new(), late: Vec::new(), digest };
        Self { row, stands: Vec::new() }
    }
}

/// What stood in an interval when its leaf was made, in the same order.
pub(super) fn remake(holdings: &Holdings, log: &LogRow, row: &BusyRow) -> Result<Interval, CustodyError> {
    let (mut signed, mut others) = (Vec::new(), Vec::new());
    let mut n = row.from;
    while n < row.to {
        let page = holdings.journal(n.checked_sub(1), 1_024)?;
        if page.is_empty() {
            return Err(CustodyError::Broken("the journal ends before an interval that the log has"));
        }
        for (place, event) in page.iter().filter(|(place, _)| *place < row.to) {
            match event.is_signed() {
                true if row.gone.contains(place) => {}
                true => signed.push(event.logged()),
                false => others.push(event.logged()),
            }
        }
        n = page.last().map_or(row.to, |(last, _)| last.saturating_add(1));
    }
    signed.extend(&row.late);
    signed.extend(others);
    let secret = log.secret()?;
    interval(&signed, JournalHead { count: row.to, digest: row.digest }, &secret, row.at)
}

/// A tile as it is kept, or a longer form of it.
pub(super) fn read_tile(holdings: &Holdings, epoch: u32, tile: Tile) -> Result<Vec<Hash>, StoreError> {
    let row = holdings.get(Partition::Node, Table::Tile, &rows::tile(epoch, tile.level(), tile.index()))?;
    let row = row.unwrap_or_default();
    Ok(row.chunks_exact(32).filter_map(Hash::from_slice).collect())
}
