//! Reading a whole store, to tell whether it is still what was written.
//!
//! [`Audit`] reads past what is damaged, where [`Holdings`] would refuse all further work; `entente check`
//! and the tests use it. It repairs nothing and changes nothing, but for blobs that it is told to sweep.
//! Rows come in pages, and nothing is remembered of those that were read but a digest of eight bytes each, for whoever
//! asks which rows nobody spoke of: of so many rows at a time, so that memory is bounded however much is held.

use super::{
    BlobName, Position, SCAN_ROWS_MAX, StoreError, chain,
    holdings::{BlobReader, Holdings, open_item},
    layout::{self, PLACE_BYTES, Table},
};
use crate::seal::{
    keyring::{Partition, PartitionKeys},
    value,
};
use entente_protocol::id::StoreId;
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
};

/// Rows watched at a time: 144 MiB.
const WATCHED_MAX: u64 = 1 << 24;
/// Rows of one page: some are large.
const PAGE: usize = 256;

/// What a check of rows and blobs alone found; what rows mean is `crate::check`'s to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The end of the sequence, every step of which follows from the one before.
    pub head: Position,
    /// Rows read.
    pub rows: u64,
    /// Rows that opened under the keys of some partition.
    pub opened: u64,
    /// Index rows: they lead to places and hold nothing to open.
    pub tokens: u64,
    /// Rows that no key opens: damaged, or of a partition whose keys were destroyed.
    pub unopened: u64,
    /// Blobs in the vault.
    pub blobs: u64,
}

/// One row as an audit sees it.
pub struct Seen<'a> {
    /// Its key.
    pub row: &'a [u8],
    /// The partition that opens it, and its content; none where no key does, and for index rows.
    pub opened: Option<(Partition, Vec<u8>)>,
    /// Whether it is an index row: it leads to a place, and whoever follows it sees whether it holds.
    pub token: bool,
    /// Its value as it lies in the ledger.
    pub value: &'a [u8],
}

/// An item of a list: its counter, and its content or why it does not open.
pub type Item = (u64, Result<Vec<u8>, StoreError>);

impl Holdings {
    /// Walks the sequence from its beginning, every row, and the names of the blobs.
    pub fn check(&self) -> Result<Report, StoreError> {
        let audit = self.audit();
        let mut report = Report { head: audit.sequence(&mut |_| {})?, ..Report::default() };
        audit.each_row(None, &mut |seen| {
            report.rows += 1;
            match seen.opened {
                Some(_) => report.opened += 1,
                None if seen.token => report.tokens += 1,
                None => report.unopened += 1,
            }
            Ok(())
        })?;
        let mut after = None;
        loop {
            let names = audit.blobs(after, SCAN_ROWS_MAX)?;
            report.blobs += names.len() as u64;
            match names.last() {
                Some(last) => after = Some(*last),
                None => return Ok(report),
            }
        }
    }
    /// A second way to read, which goes on where rows or blobs are damaged.
    pub fn audit(&self) -> Audit {
        Audit(self.reading_on(), Mutex::default())
    }
}

/// Rows that are watched, by digest, and which of them somebody asked for.
#[derive(Default)]
struct Watch {
    /// Rising.
    rows: Vec<u64>,
    spoken: Vec<bool>,
}

fn digest(row: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    row.hash(&mut hasher);
    hasher.finish()
}

impl Watch {
    fn place(&self, row: &[u8]) -> Option<usize> {
        self.rows.binary_search(&digest(row)).ok()
    }
}

/// Reads a store and goes on past damage. An engine that failed still refuses.
///
/// What is asked for by its place or its key is spoken of; what is found by walking is not.
pub struct Audit(Holdings, Mutex<Watch>);

impl Audit {
    /// Every partition that has keys: the node's and the own first.
    pub fn partitions(&self) -> Vec<Partition> {
        let mut all = vec![Partition::Node, Partition::Own];
        all.extend(
            self.0
                .keyring()
                .partitions()
                .into_iter()
                .filter(|p| matches!(p, Partition::Agreement(_)) && self.0.keyring().holds(*p)),
        );
        all
    }
    /// Whether no partition's keys were ever destroyed.
    pub fn nothing_erased(&self) -> bool {
        self.0.keyring().nothing_erased()
    }
    /// Of which store.
    pub fn store_id(&self) -> StoreId {
        self.0.store_id()
    }
    /// Walks the sequence from its beginning; `on` is told how many steps were taken, page by page.
    pub fn sequence(&self, on: &mut dyn FnMut(u64)) -> Result<Position, StoreError> {
        let head = self.0.head()?;
        let mut position = Position::default();
        while position.sequence < head.sequence {
            let rows = self.0.ask(|| self.0.ledger.sequence(position.sequence, SCAN_ROWS_MAX))?;
            if rows.is_empty() {
                return Err(StoreError::Broken { at: position.sequence + 1 });
            }
            for row in &rows {
                position = chain::follows(position, row)?;
            }
            on(rows.len() as u64);
        }
        Ok(position)
    }
    /// Every row, or every row of a table, in the order of their keys.
    pub fn each_row(
        &self,
        table: Option<Table>,
        visit: &mut dyn FnMut(Seen<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut keys = Vec::new();
        for partition in self.0.keyring().partitions() {
            keys.push((partition, self.0.keys(partition)?));
        }
        let prefix = table.map(|table| vec![table as u8]).unwrap_or_default();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = self.0.ask(|| self.0.ledger.scan(&prefix, after.as_deref(), PAGE))?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            after = Some(last.clone());
            for (row, sealed) in rows {
                let token = row.first() == Some(&(Table::Index as u8)) && sealed.len() == PLACE_BYTES;
                let opened = if token { None } else { open_under_any(&mut keys, &row, &sealed) };
                visit(Seen { row: &row, opened, token, value: &sealed })?;
            }
        }
    }
    /// How many parts the rows are watched in: one, but for stores that are very large.
    pub fn parts(&self) -> Result<u64, StoreError> {
        let (mut rows, mut after) = (0, None);
        loop {
            let page = self.0.ask(|| self.0.ledger.scan(b"", after.as_deref(), SCAN_ROWS_MAX))?;
            let Some((last, _)) = page.last() else { return Ok(1 + rows / WATCHED_MAX) };
            (rows, after) = (rows + page.len() as u64, Some(last.clone()));
        }
    }
    /// Watches one of so many parts of the rows that are there now: who is asked for from here on is spoken of.
    pub fn watch(&self, part: u64, of: u64) -> Result<(), StoreError> {
        let (mut rows, mut after) = (Vec::new(), None);
        loop {
            let page = self.0.ask(|| self.0.ledger.scan(b"", after.as_deref(), SCAN_ROWS_MAX))?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            rows.extend(page.iter().map(|(row, _)| digest(row)).filter(|digest| digest % of == part));
        }
        rows.sort_unstable();
        let spoken = vec![false; rows.len()];
        *self.watched() = Watch { rows, spoken };
        Ok(())
    }
    /// Every watched row of which nobody spoke and that is still there, in the order of their keys.
    pub fn each_unspoken(&self, visit: &mut dyn FnMut(Seen<'_>) -> Result<(), StoreError>) -> Result<(), StoreError> {
        // The walk needs the lock for each row only: who visits may ask for more.
        self.each_row(None, &mut |seen| {
            let unspoken = {
                let watch = self.watched();
                watch.place(seen.row).is_some_and(|place| watch.spoken.get(place) == Some(&false))
            };
            if unspoken { visit(seen) } else { Ok(()) }
        })
    }
    /// Speaks of a value without reading it.
    pub fn speak(&self, partition: Partition, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.speak_of(&layout::point(&*self.0.keys(partition)?, table, key));
        Ok(())
    }
    /// Speaks of the index row of the `n`-th occurrence of a value.
    pub fn speak_nth(&self, partition: Partition, field: &str, value: &[u8], n: u64) -> Result<(), StoreError> {
        self.speak_of(&self.nth_row(partition, field, value, n)?);
        Ok(())
    }
    /// Whether an index row leads to a place.
    pub fn leads_to(&self, partition: Partition, row: &[u8], value: &[u8], place: u64) -> Result<bool, StoreError> {
        Ok(layout::leads_to(&*self.0.keys(partition)?, row, value, place))
    }
    /// The row key of the `n`-th occurrence of a value.
    pub fn nth_row(&self, partition: Partition, field: &str, value: &[u8], n: u64) -> Result<Vec<u8>, StoreError> {
        Ok(layout::Token::new(&*self.0.keys(partition)?, field, value, n).row)
    }
    /// The row keys of a list: what its items begin with, and its counter.
    pub fn list_rows(&self, partition: Partition, table: Table, scope: &[u8]) -> Result<[Vec<u8>; 2], StoreError> {
        let keys = self.0.keys(partition)?;
        Ok([layout::list(&keys, table, scope), layout::counter(&keys, table, scope)])
    }
    /// The row key of a value.
    pub fn point_row(&self, partition: Partition, table: Table, key: &[u8]) -> Result<Vec<u8>, StoreError> {
        Ok(layout::point(&*self.0.keys(partition)?, table, key))
    }
    fn speak_of(&self, row: &[u8]) {
        let mut watch = self.watched();
        if let Some(place) = watch.place(row)
            && let Some(spoken) = watch.spoken.get_mut(place)
        {
            *spoken = true;
        }
    }
    fn watched(&self) -> std::sync::MutexGuard<'_, Watch> {
        self.1.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Items of a list after `after`, at most a page; an item that does not open is an error of its own.
    pub fn items(
        &self,
        partition: Partition,
        table: Table,
        scope: &[u8],
        after: Option<u64>,
    ) -> Result<Vec<Item>, StoreError> {
        let keys = self.0.keys(partition)?;
        let list = layout::list(&keys, table, scope);
        let after = after.map(|counter| layout::item(&list, counter));
        let rows = self.0.ask(|| self.0.ledger.scan(&list, after.as_deref(), PAGE))?;
        let items = rows.into_iter().filter_map(|(row, sealed)| {
            self.speak_of(&row);
            let counter = layout::counter_of(&row)?;
            Some((counter, open_item(&keys, row, sealed).map(|(_, content)| content)))
        });
        Ok(items.collect())
    }
    /// As [`Holdings::get`].
    pub fn get(&self, partition: Partition, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.speak(partition, table, key)?;
        self.0.get(partition, table, key)
    }
    /// As [`Holdings::item`].
    pub fn item(
        &self,
        partition: Partition,
        table: Table,
        scope: &[u8],
        n: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let keys = self.0.keys(partition)?;
        let row = layout::item(&layout::list(&keys, table, scope), n);
        self.speak_of(&row);
        self.0.read(&keys, &row)
    }
    /// The place that the `n`-th occurrence of a value in a field leads to, counted from 0.
    pub fn nth(&self, partition: Partition, field: &str, value: &[u8], n: u64) -> Result<Option<u64>, StoreError> {
        let keys = self.0.keys(partition)?;
        self.0.place_of(&keys, &layout::Token::new(&keys, field, value, n))
    }
    /// The row of a list's counter; none where there is no such row.
    pub fn counter(&self, partition: Partition, table: Table, scope: &[u8]) -> Result<Option<u64>, StoreError> {
        let keys = self.0.keys(partition)?;
        let row = layout::counter(&keys, table, scope);
        self.speak_of(&row);
        match self.0.read(&keys, &row)? {
            Some(_) => self.0.counter(&keys, &row).map(Some),
            None => Ok(None),
        }
    }
    /// As [`Holdings::find`].
    pub fn find(&self, partition: Partition, field: &str, value: &[u8], limit: usize) -> Result<Vec<u64>, StoreError> {
        self.0.find(partition, field, value, None, limit)
    }
    /// As [`Holdings::count`].
    pub fn count(&self, partition: Partition, table: Table, scope: &[u8]) -> Result<u64, StoreError> {
        Ok(self.counter(partition, table, scope)?.unwrap_or_default())
    }
    /// The last append.
    pub fn head(&self) -> Result<Position, StoreError> {
        self.0.head()
    }
    /// As [`Holdings::blob_open`].
    pub fn blob(&self, partition: Partition, name: &[u8]) -> Result<BlobReader, StoreError> {
        self.0.blob_open(partition, name)
    }
    /// The name under which a partition keeps a blob.
    pub fn blob_name(&self, partition: Partition, name: &[u8]) -> Result<BlobName, StoreError> {
        self.0.blob_name(partition, name)
    }
    /// Names of the blobs that are there, in order, strictly after `after`.
    pub fn blobs(&self, after: Option<BlobName>, limit: usize) -> Result<Vec<BlobName>, StoreError> {
        self.0.ask(|| self.0.vault().list(after, limit))
    }
    /// What an engine did not answer, the first of it, whatever became of the question.
    pub fn unanswered(&self) -> Option<&str> {
        self.0.failed()
    }
    /// What lies where blobs lie and is none, at most `limit`.
    pub fn strays(&self, limit: usize) -> Result<Vec<String>, StoreError> {
        self.0.ask(|| self.0.vault().strays(limit))
    }
    /// Removes a blob of which no row speaks. Only while nobody else writes.
    pub fn sweep(&self, blob: BlobName) -> Result<(), StoreError> {
        self.0.ask(|| self.0.vault().remove(blob))
    }
}

/// Neighbours are often of one partition: what opened the last row is tried first.
fn open_under_any(
    keys: &mut [(Partition, Arc<PartitionKeys>)],
    row: &[u8],
    sealed: &[u8],
) -> Option<(Partition, Vec<u8>)> {
    let found = keys.iter().enumerate().find_map(|(place, (partition, keys))| {
        Some((place, *partition, value::open(keys, row, sealed.to_vec()).ok()?))
    });
    let (place, partition, content) = found?;
    keys.swap(0, place);
    Some((partition, content))
}
