//! Writing: one transaction prepares at a time, several wait for the disk together.
//!
//! A transaction collects rows in clear, seals them when it is committed, and becomes one append. Two
//! rules make sharing a sync right. The order of appends is fixed under the write lock, by `submit`,
//! and whatever a later transaction reads of an earlier one stands before it in that order. A crash
//! keeps a prefix of the order, so no append lasts without those it was built on; and nobody is told
//! of an append before everything up to it is durable. The lock may therefore go before the wait.

use super::{
    Append, Expect, Position, StoreError,
    holdings::Holdings,
    layout::{self, Table, Token},
};
use crate::{
    seal::{
        keyring::{Partition, PartitionKeys},
        value,
    },
    secret,
};
use entente_protocol::{
    custody::{
        event::{EventKind, EventPart},
        journal::Journal,
    },
    id::LoggedDigest,
    limits,
    time::UnixMillis,
};
use std::{
    collections::{HashMap, hash_map::Entry as Slot},
    sync::{Arc, MutexGuard},
};

/// Values whose number of occurrences is remembered between transactions; beyond it, it is looked up anew.
const OCCURRENCES_MAX: usize = 1 << 16;

/// What is remembered between transactions: all of it can be read again from the ledger.
#[derive(Default)]
pub struct Writer {
    /// Occurrences of an indexed value, by the row of its first.
    occurrences: HashMap<Vec<u8>, u64>,
    /// How far the journal is.
    journal: Option<Journal>,
}

/// An event on its way into the journal.
pub struct Entry<'a> {
    /// What kind of thing it is.
    pub kind: EventKind,
    /// When, by our clock.
    pub at: UnixMillis,
    /// What it says, each part under the partition that it is sealed under.
    pub parts: &'a [(Partition, EventPart)],
    /// The run or batch head that is signed in the same append.
    pub logged: Option<LoggedDigest>,
}

/// What a row will hold.
enum Content {
    /// In clear: sealed when the transaction is committed.
    Clear(Vec<u8>),
    /// An index token's place, hidden already.
    Hidden(Vec<u8>),
    /// Nothing: the row goes.
    Gone,
}

/// A row that is not written yet.
struct Pending {
    row: Vec<u8>,
    keys: Arc<PartitionKeys>,
    content: Content,
}

/// A list that a transaction pushed to. Its counter is written once, at the commit.
struct List {
    scope: Vec<u8>,
    keys: Arc<PartitionKeys>,
    /// Common part of its items' rows.
    items: Vec<u8>,
    /// The row of its counter.
    counter: Vec<u8>,
    next: u64,
}

/// One transaction. Dropped without a commit, it did nothing.
pub struct Txn<'a> {
    holdings: &'a Holdings,
    writer: MutexGuard<'a, Writer>,
    pending: Vec<Pending>,
    /// Where a row stands in `pending`.
    places: HashMap<Vec<u8>, usize>,
    expect: Vec<(Vec<u8>, Expect)>,
    /// The lists that this transaction pushed to.
    lists: HashMap<(Partition, Table), Vec<List>>,
    /// As in the writer, with this transaction's own.
    occurrences: HashMap<Vec<u8>, u64>,
    journal: Option<Journal>,
}

impl<'a> Txn<'a> {
    pub(super) fn new(holdings: &'a Holdings, writer: MutexGuard<'a, Writer>) -> Self {
        Self {
            holdings,
            writer,
            pending: Vec::new(),
            places: HashMap::new(),
            expect: Vec::new(),
            lists: HashMap::new(),
            occurrences: HashMap::new(),
            journal: None,
        }
    }

    /// Writes a value, whether there was one or not.
    pub fn put(&mut self, partition: Partition, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let keys = self.holdings.keys(partition)?;
        let row = layout::point(&keys, table, key);
        self.set(row, keys, Content::Clear(value.to_vec()));
        Ok(())
    }
    /// Writes a value where there is none; otherwise the commit fails with a conflict and does nothing.
    pub fn put_new(&mut self, partition: Partition, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let keys = self.holdings.keys(partition)?;
        let row = layout::point(&keys, table, key);
        match self.place(&row) {
            Some(Pending { content: Content::Gone, .. }) => {}
            Some(_) => return Err(StoreError::Conflict { row: hex::encode(&row) }),
            None => self.expect.push((row.clone(), Expect::Absent)),
        }
        self.set(row, keys, Content::Clear(value.to_vec()));
        Ok(())
    }
    /// Removes a value; absent is no error.
    pub fn delete(&mut self, partition: Partition, table: Table, key: &[u8]) -> Result<(), StoreError> {
        let keys = self.holdings.keys(partition)?;
        let row = layout::point(&keys, table, key);
        self.set(row, keys, Content::Gone);
        Ok(())
    }
    /// Adds an item at the end of a list and returns its counter. Counters have no gap and are never used again.
    pub fn push(&mut self, partition: Partition, table: Table, scope: &[u8], value: &[u8]) -> Result<u64, StoreError> {
        let lists = self.lists.entry((partition, table)).or_default();
        let place = match lists.iter().position(|list| list.scope == scope) {
            Some(place) => place,
            None => {
                let keys = self.holdings.keys(partition)?;
                let (items, counter) = (layout::list(&keys, table, scope), layout::counter(&keys, table, scope));
                let next = self.holdings.counter(&keys, &counter)?;
                lists.push(List { scope: scope.to_vec(), keys, items, counter, next });
                lists.len() - 1
            }
        };
        // INVARIANT: a place of this very list of lists.
        let list = lists.get_mut(place).ok_or(StoreError::Broken { at: 0 })?;
        let n = list.next;
        list.next = n.checked_add(1).ok_or(StoreError::TooLarge { what: "items of a list", max: u64::MAX })?;
        let (row, keys) = (layout::item(&list.items, n), Arc::clone(&list.keys));
        self.set(row, keys, Content::Clear(value.to_vec()));
        Ok(n)
    }
    /// Removes an item of a list; absent is no error.
    pub fn remove_item(&mut self, partition: Partition, table: Table, scope: &[u8], n: u64) -> Result<(), StoreError> {
        let keys = self.holdings.keys(partition)?;
        let row = layout::item(&layout::list(&keys, table, scope), n);
        self.set(row, keys, Content::Gone);
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
            Some(Pending { content: Content::Gone, .. }) => {
                return Err(StoreError::Conflict { row: hex::encode(&row) });
            }
            Some(_) => {}
            None => self.expect.push((row.clone(), Expect::Present)),
        }
        self.set(row, keys, Content::Clear(value.to_vec()));
        Ok(())
    }
    /// Remembers `place` as the next occurrence of `value` in `field`.
    pub fn index(&mut self, partition: Partition, field: &str, value: &[u8], place: u64) -> Result<(), StoreError> {
        let keys = self.holdings.keys(partition)?;
        let first = Token::new(&keys, field, value, 0);
        let n = self.occurrences_of(&keys, field, value, &first)?;
        self.occurrences.insert(first.row.clone(), n + 1);
        let token = if n == 0 { first } else { Token::new(&keys, field, value, n) };
        self.set_token(token, keys, place)
    }
    /// Remembers `place` for a value that occurs once, as a random or computed id does; nothing is looked up.
    pub fn index_once(
        &mut self,
        partition: Partition,
        field: &str,
        value: &[u8],
        place: u64,
    ) -> Result<(), StoreError> {
        let keys = self.holdings.keys(partition)?;
        self.set_token(Token::new(&keys, field, value, 0), keys, place)
    }
    /// Forgets that `place` was remembered for `value` in `field`: the last occurrence takes the place of this one.
    /// Whether there was one.
    pub fn unindex(&mut self, partition: Partition, field: &str, value: &[u8], place: u64) -> Result<bool, StoreError> {
        let keys = self.holdings.keys(partition)?;
        let first = Token::new(&keys, field, value, 0);
        let count = self.occurrences_of(&keys, field, value, &first)?;
        // The last first: who takes away many goes from the end.
        for n in count.checked_sub(1).into_iter().chain(0..count.saturating_sub(1)) {
            let token = Token::new(&keys, field, value, n);
            if self.place_of(&keys, &token)? != Some(place) {
                continue;
            }
            let last = Token::new(&keys, field, value, count - 1);
            if last.row != token.row
                && let Some(moved) = self.place_of(&keys, &last)?
            {
                self.set_token(token, Arc::clone(&keys), moved)?;
            }
            self.set(last.row, keys, Content::Gone);
            self.occurrences.insert(first.row, count - 1);
            return Ok(true);
        }
        Ok(false)
    }
    /// Forgets every place that was remembered for `value` in `field`.
    pub fn unindex_all(&mut self, partition: Partition, field: &str, value: &[u8]) -> Result<(), StoreError> {
        let keys = self.holdings.keys(partition)?;
        let first = Token::new(&keys, field, value, 0);
        for n in 0..self.occurrences_of(&keys, field, value, &first)? {
            self.set(Token::new(&keys, field, value, n).row, Arc::clone(&keys), Content::Gone);
        }
        self.occurrences.insert(first.row, 0);
        Ok(())
    }
    /// Removes a row of a partition by its key in the ledger, for whoever has found it by walking.
    pub fn remove_row(&mut self, partition: Partition, row: &[u8]) -> Result<(), StoreError> {
        let keys = self.holdings.keys(partition)?;
        self.set(row.to_vec(), keys, Content::Gone);
        Ok(())
    }
    /// Adds an event to the journal, after the one before it. Its place.
    pub fn journal(&mut self, entry: &Entry<'_>) -> Result<u64, StoreError> {
        let mut journal = match self.journal.or(self.writer.journal) {
            Some(journal) => journal,
            None => self.holdings.journal_end()?,
        };
        let n = journal.head().count;
        let parts: Vec<EventPart> = entry.parts.iter().map(|(_, part)| part.clone()).collect();
        let unfit =
            |_| StoreError::TooLarge { what: "bytes of what an event says", max: limits::EVENT_PART_BYTES_MAX as u64 };
        let event = journal.append(entry.kind, entry.at, &parts, entry.logged).map_err(unfit)?;
        for (partition, part) in entry.parts {
            self.put(*partition, Table::JournalPart, &n.to_be_bytes(), &part.to_bytes().map_err(unfit)?)?;
        }
        let place = self.push(Partition::Node, Table::Journal, b"", event.bytes())?;
        if place != n {
            return Err(StoreError::Broken { at: place });
        }
        self.journal = Some(journal);
        Ok(n)
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
        let pushed = self.lists.get(&(partition, table)).and_then(|all| all.iter().find(|list| list.scope == scope));
        match pushed {
            Some(list) => Ok(list.next),
            None => self.holdings.count(partition, table, scope),
        }
    }
    /// The place that was remembered first for `value` in `field`, with what this transaction added.
    pub fn first(&self, partition: Partition, field: &str, value: &[u8]) -> Result<Option<u64>, StoreError> {
        let keys = self.holdings.keys(partition)?;
        self.place_of(&keys, &Token::new(&keys, field, value, 0))
    }
    /// The place that was remembered last for `value` in `field`, with what this transaction added.
    pub fn newest(&self, partition: Partition, field: &str, value: &[u8]) -> Result<Option<u64>, StoreError> {
        let keys = self.holdings.keys(partition)?;
        let next = self.occurrences_of(&keys, field, value, &Token::new(&keys, field, value, 0))?;
        let Some(n) = next.checked_sub(1) else { return Ok(None) };
        self.place_of(&keys, &Token::new(&keys, field, value, n))
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
        let Self { holdings, mut writer, mut pending, expect, occurrences, journal, lists, .. } = self;
        let counters = lists.into_values().flatten();
        pending.extend(counters.map(|List { keys, counter, next, .. }| Pending {
            row: counter,
            keys,
            content: Content::Clear(next.to_be_bytes().to_vec()),
        }));
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
            Some(Pending { content: Content::Clear(content), .. }) => Ok(Some(content.clone())),
            Some(_) => Ok(None),
            None => self.holdings.read(keys, row),
        }
    }
    /// How often a value has occurred; `first` is the token of its first occurrence.
    fn occurrences_of(
        &self,
        keys: &PartitionKeys,
        field: &str,
        value: &[u8],
        first: &Token,
    ) -> Result<u64, StoreError> {
        match self.occurrences.get(&first.row).or_else(|| self.writer.occurrences.get(&first.row)) {
            Some(n) => Ok(*n),
            None => self.holdings.occurrences(keys, field, value, first),
        }
    }
    fn place_of(&self, keys: &PartitionKeys, token: &Token) -> Result<Option<u64>, StoreError> {
        match self.place(&token.row) {
            Some(Pending { content: Content::Hidden(hidden), .. }) => Ok(token.show(keys, hidden)),
            Some(Pending { content: Content::Gone, .. }) => Ok(None),
            _ => self.holdings.place_of(keys, token),
        }
    }
    fn set_token(&mut self, token: Token, keys: Arc<PartitionKeys>, place: u64) -> Result<(), StoreError> {
        let hidden = token.hide(&keys, place)?;
        self.set(token.row, keys, Content::Hidden(hidden));
        Ok(())
    }
    fn set(&mut self, row: Vec<u8>, keys: Arc<PartitionKeys>, content: Content) {
        match self.places.entry(row) {
            Slot::Occupied(place) => {
                if let Some(pending) = self.pending.get_mut(*place.get()) {
                    pending.content = content;
                }
            }
            Slot::Vacant(place) => {
                let row = place.key().clone();
                place.insert(self.pending.len());
                self.pending.push(Pending { row, keys, content });
            }
        }
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
            Content::Clear(content) => {
                let sealed = value::seal(&pending.keys, &pending.row, &content, r)?;
                append.puts.push((pending.row, sealed));
            }
            Content::Hidden(hidden) => append.puts.push((pending.row, hidden)),
            Content::Gone => append.deletes.push(pending.row),
        }
    }
    // Engines put rows in order: neighbours in order are found without searching, and lie in the processor's cache.
    append.puts.sort_unstable();
    Ok(append)
}
