//! Taking a feed up again after an older copy of the store was put back: its receiver gives back the runs that were signed
//! since, and they are kept as what they are, signed by us; nothing is ever signed over them.
//!
//! `exchange` asks and answers. What comes back is the run and what its receiver holds, not the entries: served again to a
//! receiver that lost them too, it cannot be, and the feed stays stopped. Records that this store does not have are told
//! to people, who recorded them after the copy was made.

use super::{
    ShareError,
    feeds::{self, SentEntry, SentRun},
};
use crate::{
    node::Node,
    receive::{self, Countersigned, RunInRow, withdrawn},
    records::{
        index, keep,
        stored::{ReceivedRow, ReleasedRow, decode, encode, record_in_feed},
    },
    seal::keyring::Partition,
    store::{StoreError, layout::Table},
};
use entente_protocol::{
    feed::{
        FeedKey, Run,
        lost::{HeldRecord, HeldRun, Lost},
    },
    id::{OrgId, RecordId, StoreId},
    identity::Purpose,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;

/// Records that are named; more are counted.
const NAMED_MAX: usize = 1_000;

/// Records of ours that a partner holds and this store does not have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LostRow {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub records: Vec<RecordId>,
}

/// The key of the row that says what of a feed's records is lost here.
pub fn key(feed: &FeedKey) -> Vec<u8> {
    [b"lost".as_slice(), feed.id().as_bytes()].concat()
}

/// What a partner holds under a feed and this store does not have.
pub fn of(node: &Node, feed: &FeedKey) -> Result<LostRow, ShareError> {
    let row = node.holdings.get(Partition::Own, Table::Cursor, &key(feed))?;
    Ok(row.map(|row| decode("lost records", &row)).transpose()?.unwrap_or_default())
}

/// The feeds to a partner that are behind what it countersigned, with what is to be asked.
pub fn to_ask(node: &Node, partner: OrgId) -> Result<Vec<Lost>, ShareError> {
    let mut asked = Vec::new();
    for (agreement, version, _) in feeds::agreements_with(node, partner) {
        let feed = feeds::outgoing(node, partner, agreement);
        if feeds::stopped(node, &feed)?.is_some_and(|row| row.is_behind(&feed, node.keys.org)) {
            asked.push(Lost { v: 1, feed: feed.id(), length: feeds::out_row(node, &feed, version)?.length });
        }
    }
    Ok(asked)
}

/// What is held of a partner's feed from an entry on: its run, and the records in it. None where no run begins there.
pub fn answer(node: &Node, peer: OrgId, store: StoreId, lost: &Lost) -> Result<Option<HeldRun>, ShareError> {
    let mut feeds = feeds::agreements_with(node, peer).into_iter();
    let Some(feed) = feeds.find_map(|(agreement, ..)| {
        Some(feeds::incoming(node, peer, store, agreement)).filter(|feed| feed.id() == lost.feed)
    }) else {
        return Ok(None);
    };
    let Some((place, row, run)) = run_from(node, &feed, lost.length)? else { return Ok(None) };
    let partition = Partition::Agreement(feed.agreement);
    let mut records: BTreeMap<u64, HeldRecord> = BTreeMap::new();
    let brought = row.proofs.iter().flat_map(|proof| proof.records.iter().map(|(_, record)| (None, *record)));
    for (number, record) in brought.chain(row.withdrew.iter().map(|(number, record)| (Some(*number), *record))) {
        let Some(at) = node.holdings.first(partition, index::ID, record.as_bytes())? else { continue };
        let bytes = node.holdings.item(partition, Table::Received, b"", at)?.ok_or(StoreError::Broken { at })?;
        let held: ReceivedRow = decode("received record", &bytes)?;
        // What came again later is told with that run.
        if held.feed != feed.id() || number.is_none() && held.run != place {
            continue;
        }
        let slots = held
            .openings
            .iter()
            .fold(0u64, |slots, (slot, ..)| slots | 1u64.checked_shl(u32::from(*slot)).unwrap_or(0));
        let gone = match number {
            Some(number) => {
                withdrawn(node, feed.agreement, record).ok().flatten().is_some_and(|row| row.number == number)
            }
            None => false,
        };
        if number.is_some() && !gone {
            continue;
        }
        let number = number.unwrap_or(held.number);
        records.insert(number, HeldRecord { slots, clause: held.clause, number, record, withdrawn: gone });
    }
    let within = run.before.length..run.end().length;
    records.retain(|number, _| within.contains(number));
    Ok(Some(HeldRun { v: 1, run: row.run, feed: feed.id(), records: records.into_values().collect() }))
}

/// The received run of a feed that begins at an entry, and its place.
fn run_from(node: &Node, feed: &FeedKey, length: u64) -> Result<Option<(u64, RunInRow, Run)>, ShareError> {
    let partition = Partition::Agreement(feed.agreement);
    let (mut low, mut high) = (0u64, feeds::in_row(node, feed)?.runs);
    // Runs rise; the distance shrinks each time.
    while low < high {
        let middle = low + (high - low) / 2;
        let bytes = node.holdings.item(partition, Table::RunIn, feed.id().as_bytes(), middle)?;
        let row: RunInRow = decode("run", &bytes.ok_or(StoreError::Broken { at: middle })?)?;
        let run = Run::danger_unverified(&row.run).map_err(|_| StoreError::Broken { at: middle })?;
        match run.before.length {
            first if first == length => return Ok(Some((middle, row, run))),
            first if first < length => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(None)
}

/// What taking a run back did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// There are more.
    More,
    /// The feed stands where its receiver does, and goes on.
    Done,
    /// Nothing: it does not follow from what is here, or is none of ours. Then two histories were signed, and people decide.
    Nothing,
}

/// Takes a run of ours back, from the partner that countersigned it.
pub fn take(node: &Node, peer: OrgId, held: &HeldRun) -> Result<Taken, ShareError> {
    let Some(feed) = feeds::outgoing_of(node, peer, held.feed) else { return Ok(Taken::Nothing) };
    let Some(stopped) = feeds::stopped(node, &feed)?.filter(|row| row.is_behind(&feed, node.keys.org)) else {
        return Ok(Taken::Nothing);
    };
    let own = |stated| move |kid| node.keys.card.key(Purpose::Runs, kid, stated);
    let Ok(stated) = Run::danger_unverified(&held.run).map(|run| run.time) else { return Ok(Taken::Nothing) };
    let Ok(run) = Run::verify(&held.run, &feed, own(stated)) else { return Ok(Taken::Nothing) };
    let mut txn = node.holdings.begin();
    let mut row = feeds::out_row_in(&txn, &feed, run.version)?;
    if run.before != row.cursor() || run.end().length > stopped.theirs.length {
        return Ok(Taken::Nothing);
    }
    let mut entries: Vec<SentEntry> =
        (0..run.count).map(|_| SentEntry { bytes: ByteBuf::new(), slots: 0, clause: 0, record: None }).collect();
    let mut lost = of(node, &feed)?;
    for one in &held.records {
        let place = usize::try_from(one.number.saturating_sub(run.before.length)).unwrap_or(usize::MAX);
        if let Some(entry) = entries.get_mut(place).filter(|_| !one.withdrawn) {
            (entry.slots, entry.clause, entry.record) = (one.slots, one.clause, Some(one.record));
        }
        // What is not ours went by a grant, of which only its originator and the receiver know now.
        let known = keep::find_own(node, one.record).map_err(|_| StoreError::Broken { at: one.number })?.is_some();
        let release = ReleasedRow {
            grant: None,
            slots: one.slots,
            clause: one.clause,
            number: one.number,
            version: run.version,
            withdrawn: one.withdrawn,
        };
        let key = record_in_feed(one.record, feed.id());
        txn.put(Partition::Own, Table::Release, &key, &encode("release", &release)?)?;
        if !known && !one.withdrawn {
            lost.count += 1;
            if lost.records.len() < NAMED_MAX {
                lost.records.push(one.record);
            }
        }
    }
    let sent = SentRun { run: held.run.clone(), first: row.length, entries, version: run.version };
    txn.push(Partition::Own, Table::RunOut, feed.id().as_bytes(), &encode("run", &sent)?)?;
    txn.put(Partition::Own, Table::Cursor, &key(&feed), &encode("lost records", &lost)?)?;
    let end = run.end();
    (row.runs, row.length, row.digest) = (row.runs + 1, end.length, end.digest);
    let done = end.length == stopped.theirs.length;
    if done && end != stopped.theirs {
        return Ok(Taken::Nothing);
    }
    feeds::put_out(&mut txn, &feed, &row)?;
    let about = [
        ("agreement", feed.agreement.to_string()),
        ("partner", feed.receiver.to_string()),
        ("entries", end.length.to_string()),
        ("lost", lost.count.to_string()),
    ];
    node.journal(&mut txn, if done { "feed-caught-up" } else { "run-taken-back" }, &about)?;
    if done {
        txn.delete(Partition::Own, Table::Cursor, &feeds::stop_key(&feed))?;
    }
    txn.commit()?;
    // What went by this run may be suspect.
    node.batches.forget_suspect();
    if !done {
        return Ok(Taken::More);
    }
    tracing::warn!(partner = %peer, lost = lost.count, "a feed was taken up again from what the partner holds");
    if let Some(receipt) = &stopped.their_proof {
        // It was verified when the feed was stopped; where it cannot be now, the partner shows it again.
        let _ = receive::receipt(node, &feed, receipt, Countersigned::Before);
    }
    Ok(Taken::Done)
}
