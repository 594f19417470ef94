//! Writing: one transaction prepares at a time, several wait for the disk together.
//!
//! A transaction collects rows in clear, seals them when it is committed, and becomes one append. Two
//! rules make sharing a sync right. The order of appends is fixed under the write lock, by `submit`,
//! and whatever a later transaction reads of an earlier one stands before it in that order. A crash
//! keeps a prefix of the order, so no append lasts without those it was built on; and nobody is told
//! of an append before everything up to it is durable. The lock may therefore go before the wait.

use super::{
    Append, Expect, Position, StoreError,
    holdings::{Holdings, JournalEvent},
    layout::{self, Table},
};
use crate::{
    seal::{
        keyring::{Partition, PartitionKeys},
        label, value,
    },
    secret,
};
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, MutexGuard},
};

/// Values whose number of occurrences is remembered between transactions; beyond it, it is looked up anew.
const OCCURRENCES_MAX: usize = 1 << 18;

/// What is remembered between transactions: all of it can be read again from the ledger.
#[derive(Default)]
pub struct Writer {
    /// Occurrences of an indexed value, by its keyed name.
    occurrences: HashMap<[u8; 32], u64>,
    /// Running digest over the journal.
    journal: Option<[u8; 32]>,
}

/// A row that is not written yet; no content means that the row goes.
struct Pending {
    row: Vec<u8>,
    keys: Arc<PartitionKeys>,
    content: Option<Vec<u8>>,
}

/// One transaction. Dropped without a commit, it did nothing.
pub struct Txn<'a> {
    holdings: &'a Holdings,
    writer: MutexGuard<'a, Writer>,
    pending: Vec<Pending>,
    /// Where a row stands in `pending`.
    places: HashMap<Vec<u8>, usize>,
    expect: Vec<(Vec<u8>, Expect)>,
    /// Next counters of the lists that this transaction pushed to.
    counters: HashMap<Vec<u8>, u64>,
    /// As in the writer, with this transaction's own.
    occurrences: HashMap<[u8; 32], u64>,
    journal: Option<[u8; 32]>,
}

impl<'a> Txn<'a> {
    pub(super) fn new(holdings: &'a Holdings, writer: MutexGuard<'a, Writer>) -> Self {
        Self {
            holdings,
            writer,
            pending: Vec::new(),
            places: HashMap::new(),
            expect: Vec::new(),
            counters: HashMap::new(),
            occurrences: HashMap::new(),
            journal: None,
        }
    }

    /// Writes a value, whether there was one or not.
    pub fn put(&mut self, partition: Partition, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let keys = self.holdings.keys(partition)?;
        let row = layout::point(&keys, table, key);
        self.set(row, keys, Some(value.to_vec()));
        Ok(())
    }
    /// Writes a value where there is none; otherwise the commit fails with a conflict and does nothing.
    pub fn put_new(&mut self, partition: Partition, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let keys = self.holdings.keys(partition)?;
        let row = layout::point(&keys, table, key);
        match self.place(&row) {
            Some(Pending { content: Some(_), .. }) => return Err(StoreError::Conflict { row: hex::encode(&row) }),
            Some(_) => {}
            None => self.expect.push((row.clone(), Expect::Absent)),
        }
        self.set(row, keys, Some(value.to_vec()));
        Ok(())
    }
    /// Removes a value; absent is no error.
    pub fn delete(&mut self, partition: Partition, table: Table, key: &[u8]) -> Result<(), StoreError> {
        let keys = self.holdings.keys(partition)?;
        let row = layout::point(&keys, table, key);
        self.set(row, keys, None);
        Ok(())
    }
    /// Adds an item at the end of a list and returns its counter. Counters have no gap and are never used again.
    pub fn push(&mut self, partition: Partition, table: Table, scope: &[u8], value: &[u8]) -> Result<u64, StoreError> {
        let keys = self.holdings.keys(partition)?;
        let counter_row = layout::counter(&keys, table, scope);
        let n = match self.counters.get(&counter_row) {
            Some(next) => *next,
            None => self.holdings.counter(&keys, &counter_row)?,
        };
        let next = n.checked_add(1).ok_or(StoreError::TooLarge { what: "items of a list", max: u64::MAX })?;
        let row = layout::item(&layout::list(&keys, table, scope), n);
        self.set(row, Arc::clone(&keys), Some(value.to_vec()));
        self.set(counter_row.clone(), keys, Some(next.to_be_bytes().to_vec()));
        self.counters.insert(counter_row, next);
        Ok(n)
    }
    /// Removes an item of a list; absent is no error.
    pub fn remove_item(&mut self, partition: Partition, table: Table, scope: &[u8], n: u64) -> Result<(), StoreError> {
        let keys = self.holdings.keys(partition)?;
        let row = layout::item(&layout::list(&keys, table, scope), n);
        self.set(row, keys, None);
        Ok(())
    }
    /// Replaces an item of a list; where there is none, the commit fails with a conflict.
    pub fn replace_item(
        &mut self,
        partition: Partition,
        table: Table,
        scope: &[u8],
        n: u64,
        value: &[u8],
    ) -> Result<(), StoreError> {
        let keys = self.holdings.keys(partition)?;
        let row = layout::item(&layout::list(&keys, table, scope), n);
        match self.place(&row) {
            Some(Pending { content: None, .. }) => return Err(StoreError::Conflict { row: hex::encode(&row) }),
            Some(_) => {}
            None => self.expect.push((row.clone(), Expect::Present)),
        }
        self.set(row, keys, Some(value.to_vec()));
        Ok(())
    }
    /// Remembers `payload` as the next occurrence of `value` in `field`.
    pub fn index(&mut self, partition: Partition, field: &str, value: &[u8], payload: &[u8]) -> Result<(), StoreError> {
        let keys = self.holdings.keys(partition)?;
        let name = keys.token(label::ROW_INDEX, &[field.as_bytes(), value]);
        let n = match self.occurrences.get(&name).or_else(|| self.writer.occurrences.get(&name)) {
            Some(n) => *n,
            None => self.first_absent(&keys, field, value)?,
        };
        let row = layout::token(&keys, field, value, n);
        self.set(row, keys, Some(payload.to_vec()));
        self.occurrences.insert(name, n + 1);
        Ok(())
    }
    /// Adds an event to the journal, chained to the one before it.
    pub fn journal(&mut self, event: &[u8]) -> Result<u64, StoreError> {
        let before = match self.journal.or(self.writer.journal) {
            Some(digest) => digest,
            None => match self.holdings.last(Partition::Node, Table::Journal, b"")? {
                Some((n, _)) => {
                    let last = self.holdings.journal(n.checked_sub(1), 1)?;
                    last.first().map(|(_, event)| event.after()).ok_or(StoreError::Broken { at: n })?
                }
                None => [0; 32],
            },
        };
        let event = JournalEvent { before, event: event.to_vec() };
        self.journal = Some(event.after());
        self.push(Partition::Node, Table::Journal, b"", &[event.before.as_slice(), &event.event].concat())
    }

    /// The value under `key`, with what this transaction did to it.
    pub fn get(&self, partition: Partition, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let keys = self.holdings.keys(partition)?;
        self.read(&keys, &layout::point(&keys, table, key))
    }
    /// One item of a list, with what this transaction did to it.
    pub fn item(
        &self,
        partition: Partition,
        table: Table,
        scope: &[u8],
        n: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let keys = self.holdings.keys(partition)?;
        self.read(&keys, &layout::item(&layout::list(&keys, table, scope), n))
    }
    /// The counter of the next push.
    pub fn count(&self, partition: Partition, table: Table, scope: &[u8]) -> Result<u64, StoreError> {
        let keys = self.holdings.keys(partition)?;
        let row = layout::counter(&keys, table, scope);
        match self.counters.get(&row) {
            Some(next) => Ok(*next),
            None => self.holdings.counter(&keys, &row),
        }
    }
    /// Rows that are waiting for the commit, so that long work can be cut into bounded steps.
    pub fn rows(&self) -> usize {
        self.pending.len()
    }

    /// The commit point: everything or nothing, durable when it returns.
    pub fn commit(self) -> Result<Position, StoreError> {
        let holdings = self.holdings;
        let position = self.submit()?;
        holdings.wait(position)?;
        Ok(position)
    }
    /// Fixes the order and lets the next transaction begin, without waiting for the disk. Tell nobody
    /// outside before [`Holdings::wait`] returned for this position or a later one.
    pub fn submit(self) -> Result<Position, StoreError> {
        let Self { holdings, mut writer, pending, expect, occurrences, journal, .. } = self;
        if pending.is_empty() {
            return holdings.head();
        }
        let append = seal(pending, expect)?;
        let position = holdings.ask(|| holdings.ledger.submit(append))?;
        // Remembered only now: a transaction that failed changed nothing.
        if writer.occurrences.len() + occurrences.len() > OCCURRENCES_MAX {
            writer.occurrences.clear();
        }
        if occurrences.len() <= OCCURRENCES_MAX {
            writer.occurrences.extend(occurrences);
        }
        writer.journal = journal.or(writer.journal);
        Ok(position)
    }

    fn place(&self, row: &[u8]) -> Option<&Pending> {
        self.places.get(row).and_then(|place| self.pending.get(*place))
    }
    fn read(&self, keys: &PartitionKeys, row: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.place(row) {
            Some(pending) => Ok(pending.content.clone()),
            None => self.holdings.read(keys, row),
        }
    }
    fn set(&mut self, row: Vec<u8>, keys: Arc<PartitionKeys>, content: Option<Vec<u8>>) {
        match self.places.entry(row) {
            Entry::Occupied(place) => {
                if let Some(pending) = self.pending.get_mut(*place.get()) {
                    pending.content = content;
                }
            }
            Entry::Vacant(place) => {
                let row = place.key().clone();
                place.insert(self.pending.len());
                self.pending.push(Pending { row, keys, content });
            }
        }
    }
    /// The first occurrence that is not taken: doubling, then halving, so that a value of a million
    /// occurrences costs forty looks. Occurrences are never removed, so there is no gap to fall into.
    fn first_absent(&self, keys: &PartitionKeys, field: &str, value: &[u8]) -> Result<u64, StoreError> {
        let taken = |n: u64| {
            self.holdings.ask(|| Ok(self.holdings.ledger.get(&layout::token(keys, field, value, n))?.is_some()))
        };
        if !taken(0)? {
            return Ok(0);
        }
        let (mut low, mut high) = (0u64, 1u64);
        while taken(high)? {
            low = high;
            high = high.saturating_mul(2);
        }
        // INVARIANT: `low` is taken, `high` is not; their distance shrinks each time.
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match taken(middle)? {
                true => low = middle,
                false => high = middle,
            }
        }
        Ok(high)
    }
}

fn seal(pending: Vec<Pending>, expect: Vec<(Vec<u8>, Expect)>) -> Result<Append, StoreError> {
    // One call for the randomness of all rows.
    let mut random = vec![0; pending.len() * value::RANDOM_BYTES];
    secret::fill(&mut random)?;
    let (random, _) = random.as_chunks::<{ value::RANDOM_BYTES }>();
    let mut append = Append { puts: Vec::with_capacity(pending.len()), deletes: Vec::new(), expect };
    for (pending, r) in pending.into_iter().zip(random) {
        match pending.content {
            Some(content) => {
                let sealed = value::seal(&pending.keys, &pending.row, &content, r)?;
                append.puts.push((pending.row, sealed));
            }
            None => append.deletes.push(pending.row),
        }
    }
    Ok(append)
}
