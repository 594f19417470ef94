//! Reading a whole store, to tell whether it is still what was written.
//!
//! [`Audit`] reads past what is damaged, where [`Holdings`] would refuse all further work; `entente check`
//! and the tests use it. It repairs nothing and changes nothing, but for blobs that it is told to sweep.
//! Memory is flat: rows come in pages, and nothing is remembered of those that were read.

use super::{
    BlobName, Position, SCAN_ROWS_MAX, StoreError, chain,
    holdings::{BlobReader, Holdings, open_item},
    layout::{self, PLACE_BYTES, Table},
};
use crate::seal::{
    keyring::{Partition, PartitionKeys},
    value,
};
use std::sync::Arc;

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
        Audit(self.reading_on())
    }
}

/// Reads a store and goes on past damage. An engine that failed still refuses.
pub struct Audit(Holdings);

impl Audit {
    /// Walks the sequence from its beginning; `on` is told how many steps were taken, page by page.
    pub fn sequence(&self, on: &mut dyn FnMut(u64)) -> Result<Position, StoreError> {
        let head = self.0.ledger.head()?;
        let mut position = Position::default();
        while position.sequence < head.sequence {
            let rows = self.0.ledger.sequence(position.sequence, SCAN_ROWS_MAX)?;
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
            let rows = self.0.ledger.scan(&prefix, after.as_deref(), PAGE)?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            after = Some(last.clone());
            for (row, sealed) in rows {
                let token = row.first() == Some(&(Table::Index as u8)) && sealed.len() == PLACE_BYTES;
                let opened = if token { None } else { open_under_any(&mut keys, &row, &sealed) };
                visit(Seen { row: &row, opened, token })?;
            }
        }
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
        let rows = self.0.ledger.scan(&list, after.as_deref(), PAGE)?;
        let items = rows.into_iter().filter_map(|(row, sealed)| {
            let counter = layout::counter_of(&row)?;
            Some((counter, open_item(&keys, row, sealed).map(|(_, content)| content)))
        });
        Ok(items.collect())
    }
    /// As [`Holdings::get`].
    pub fn get(&self, partition: Partition, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
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
        self.0.item(partition, table, scope, n)
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
        self.0.count(partition, table, scope)
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
        self.0.vault().list(after, limit)
    }
    /// Removes a blob of which no row speaks. Only while nobody else writes.
    pub fn sweep(&self, blob: BlobName) -> Result<(), StoreError> {
        self.0.vault().remove(blob)
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
