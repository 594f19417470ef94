//! Copies of a whole store: what a backup reads, and what a restore writes. Sealed bytes only, no key is used.

use super::{
    Append, BlobName, Ledger, Position, ReadSeek, Row, Snapshot, StoreError, Vault,
    holdings::Holdings,
    io_error,
    open::{self, Backend, FolderLock},
};
use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Rows, and bytes, of one append of a restore.
const APPEND_ROWS: usize = 20_000;
const APPEND_BYTES: usize = 16 << 20;

/// All rows of a store as they stood after one append, while the node goes on.
pub struct Frozen<'a> {
    holdings: &'a Holdings,
    rows: Box<dyn Snapshot + 'a>,
}

impl Frozen<'_> {
    /// After which append. It is durable.
    pub fn position(&self) -> Position {
        self.rows.position()
    }
    /// Rows in order, strictly after `after`, at most `limit`.
    pub fn rows(&self, after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.holdings.ask(|| self.rows.rows(after, limit))
    }
}

impl Holdings {
    /// The rows as they stand now. Nothing may be written by this thread while they are held.
    pub fn freeze(&self) -> Result<Frozen<'_>, StoreError> {
        let rows = self.ask(|| self.ledger.snapshot())?;
        self.wait(rows.position())?;
        Ok(Frozen { holdings: self, rows })
    }
    /// Names of blobs in order, strictly after `after`.
    pub fn blob_names(&self, after: Option<BlobName>, limit: usize) -> Result<Vec<BlobName>, StoreError> {
        self.ask(|| self.vault().list(after, limit))
    }
    /// A blob as it lies in the vault, sealed.
    pub fn blob_sealed(&self, name: BlobName) -> Result<Option<Box<dyn ReadSeek>>, StoreError> {
        self.ask(|| self.vault().open(name))
    }
}

/// A store that is being put back, row by row. Dropped before `finish`, it is none.
pub struct Incoming {
    folder: PathBuf,
    backend: Backend,
    ledger: Arc<dyn Ledger>,
    vault: Arc<dyn Vault>,
    batch: Append,
    bytes: usize,
    lock: FolderLock,
}

impl Incoming {
    /// Begins a store in a folder that does not exist or is empty.
    pub fn create(folder: &Path, backend: Backend) -> Result<Self, StoreError> {
        let (lock, (ledger, vault)) = open::create_empty(folder, backend)?;
        let batch = Append::default();
        Ok(Self { folder: folder.to_owned(), backend, ledger, vault, batch, bytes: 0, lock })
    }
    /// Writes a row, or takes one away.
    pub fn row(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Result<(), StoreError> {
        self.bytes = self.bytes.saturating_add(key.len() + value.as_ref().map_or(0, Vec::len));
        match value {
            Some(value) => self.batch.puts.push((key, value)),
            None => self.batch.deletes.push(key),
        }
        let rows = self.batch.puts.len() + self.batch.deletes.len();
        if rows >= APPEND_ROWS || self.bytes >= APPEND_BYTES { self.flush() } else { Ok(()) }
    }
    /// Hands over what was gathered. A key stands once between two calls.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        if batch != Append::default() {
            self.ledger.submit(batch)?;
        }
        Ok(())
    }
    /// Writes a blob, unless it is there.
    pub fn blob(&self, name: BlobName, content: &mut dyn Read) -> Result<(), StoreError> {
        if self.vault.exists(name)? {
            return Ok(());
        }
        let mut writer = self.vault.create()?;
        io::copy(content, &mut writer).map_err(io_error("copy into a blob"))?;
        writer.commit(name)
    }
    /// Makes it a store: durable, closed, and to be opened with its keys.
    pub fn finish(mut self) -> Result<(), StoreError> {
        self.flush()?;
        self.ledger.wait(self.ledger.head()?)?;
        let Self { folder, backend, ledger, vault, lock, .. } = self;
        drop((ledger, vault));
        open::finish(&folder, backend)?;
        drop(lock);
        Ok(())
    }
}
