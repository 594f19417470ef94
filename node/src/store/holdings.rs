//! The sealed layer: what the node reads and writes, and the only caller of the engines.
//!
//! Values are sealed and row keys are keyed here, for each partition with its own keys; nothing that
//! reaches an engine is in clear. Reading takes no lock. Writing goes through one [`Txn`] at a time.
//! After a failure of an engine everything is refused (`failure`), whatever the caller made of the error.
//! It knows tables and scopes, never what a value means.

use super::{
    BlobName, Ledger, Position, ReadSeek, StoreError, Vault, VaultWriter,
    failure::{Failure, Tell},
    io_error,
    layout::{self, Table, Token},
    open::FolderLock,
    txn::{Txn, Writer},
};
use crate::seal::{
    keyring::{Keyring, Partition, PartitionKeys},
    stream::{self, StreamError},
    value,
};
use entente_protocol::{
    custody::{
        event::{Event, EventPart},
        journal::Journal,
    },
    id::StoreId,
};
use std::{
    fmt,
    io::{self, Read, Seek, SeekFrom, Write},
    iter,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

/// Everything a node holds.
pub struct Holdings {
    pub(super) ledger: Arc<dyn Ledger>,
    vault: Arc<dyn Vault>,
    keyring: Arc<Keyring>,
    store: StoreId,
    failure: Arc<Failure>,
    /// Held while a blob is removed, or one sealed anew takes its place: what was removed does not come back.
    pub(super) placing: Mutex<()>,
    /// Blobs that are being written.
    pub(super) writing: Writing,
    /// Only in a benchmark.
    unjournaled: AtomicBool,
    /// Held by the one open transaction; covers what the writer remembers between two of them.
    pub(super) writer: Mutex<Writer>,
    /// Kept for as long as the engines are open. Declared last, so that it is released last.
    _lock: Option<FolderLock>,
}

impl fmt::Debug for Holdings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Holdings({})", self.store.short())
    }
}

impl Holdings {
    /// Over engines that are open; `open` is the usual caller.
    pub(super) fn over(
        ledger: Arc<dyn Ledger>,
        vault: Arc<dyn Vault>,
        keyring: Arc<Keyring>,
        store: StoreId,
        lock: Option<FolderLock>,
    ) -> Self {
        let failure = Arc::default();
        Self {
            ledger,
            vault,
            keyring,
            store,
            failure,
            placing: Mutex::default(),
            writing: Writing::default(),
            unjournaled: AtomicBool::new(false),
            writer: Mutex::default(),
            _lock: lock,
        }
    }

    /// Gives the store its id, once it was read.
    pub(super) fn name(&mut self, store: StoreId) {
        self.store = store;
    }

    /// Starts a transaction; waits while another is being prepared.
    pub fn begin(&self) -> Txn<'_> {
        Txn::new(self, self.writer.lock().unwrap_or_else(PoisonError::into_inner))
    }
    /// Returns when everything up to `position` is durable; see [`Txn::submit`].
    pub fn wait(&self, position: Position) -> Result<(), StoreError> {
        self.ask(|| self.ledger.wait(position))
    }
    /// Makes keys for a partition that has none. When it returns, they are durable.
    pub fn ensure_partition(&self, partition: Partition) -> Result<(), StoreError> {
        self.ask(|| Ok(self.keyring.ensure_partition(partition)?))
    }
    /// Writes no journal from now on: what a benchmark compares with. Nothing that is kept so has a chain of custody.
    pub fn danger_without_journal(&self) {
        self.unjournaled.store(true, Ordering::SeqCst);
    }
    /// Whether no journal is written.
    pub fn is_unjournaled(&self) -> bool {
        self.unjournaled.load(Ordering::SeqCst)
    }
    /// Names who is told when the store fails.
    pub fn on_failure(&self, tell: Tell) {
        self.failure.on_failure(tell);
    }
    /// Why the store failed, if it has: nothing that was done with it since may be reported as done.
    pub fn failed(&self) -> Option<&str> {
        self.failure.cause()
    }
    /// Writes a blob in one go, sealed to the partition, and returns its length in clear.
    ///
    /// `name` identifies the content within the partition: a digest of it. Where the partition has
    /// that blob already, nothing is read from `content`, and 0 is returned.
    pub fn blob_put(&self, partition: Partition, name: &[u8], content: &mut dyn Read) -> Result<u64, StoreError> {
        if self.blob_exists(partition, name)? {
            return Ok(0);
        }
        let mut writer = self.blob_writer(partition)?;
        let length = io::copy(content, &mut writer).map_err(io_error("copy into a blob"))?;
        writer.commit(name)?;
        Ok(length)
    }
    /// Starts a blob whose name is known only when it is complete. Dropped without a commit, it was never there.
    pub fn blob_writer(&self, partition: Partition) -> Result<BlobWriter, StoreError> {
        let keys = self.keys(partition)?;
        // Before the key is looked up: a rotation that comes after that knows of this writer.
        let writing = self.writing.begin();
        let output = self.vault_writer()?;
        let stream = stream::seal(&[&keys.identity().recipient()], output)?;
        Ok(BlobWriter { keys, stream, _writing: writing })
    }
    /// Removes a blob; absent is no error. Only when no row speaks of it.
    pub fn blob_remove(&self, partition: Partition, name: &[u8]) -> Result<(), StoreError> {
        let name = self.blob_name(partition, name)?;
        let _placing = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
        self.ask(|| self.vault.remove(name))
    }
    pub(super) fn vault_writer(&self) -> Result<Watched, StoreError> {
        Ok(Watched { inner: self.ask(|| self.vault.create())?, failure: Arc::clone(&self.failure) })
    }

    /// The value under `key`.
    pub fn get(&self, partition: Partition, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let keys = self.keys(partition)?;
        self.read(&keys, &layout::point(&keys, table, key))
    }
    /// Items of a list with their counters, in order, strictly after `after`, at most `limit`
    /// and [`super::SCAN_ROWS_MAX`].
    pub fn list(
        &self,
        partition: Partition,
        table: Table,
        scope: &[u8],
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let keys = self.keys(partition)?;
        let list = layout::list(&keys, table, scope);
        let after = after.map(|counter| layout::item(&list, counter));
        self.ask(|| {
            once_more(|| {
                let rows = self.ledger.scan(&list, after.as_deref(), limit)?;
                rows.into_iter().map(|(row, sealed)| open_item(&keys, row, sealed)).collect()
            })
        })
    }
    /// The last item of a list that was not removed.
    pub fn last(&self, partition: Partition, table: Table, scope: &[u8]) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        let keys = self.keys(partition)?;
        self.ask(|| {
            once_more(|| {
                let last = self.ledger.last(&layout::list(&keys, table, scope))?;
                last.map(|(row, sealed)| open_item(&keys, row, sealed)).transpose()
            })
        })
    }
    /// One item of a list.
    pub fn item(
        &self,
        partition: Partition,
        table: Table,
        scope: &[u8],
        n: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let keys = self.keys(partition)?;
        self.read(&keys, &layout::item(&layout::list(&keys, table, scope), n))
    }
    /// The counter that the next item of a list will get: items ever pushed, removed ones included.
    pub fn count(&self, partition: Partition, table: Table, scope: &[u8]) -> Result<u64, StoreError> {
        let keys = self.keys(partition)?;
        self.counter(&keys, &layout::counter(&keys, table, scope))
    }
    /// Places that `index` remembered for a value of a field: occurrences after the `after`-th (counted from
    /// 0), at most `limit`.
    pub fn find(
        &self,
        partition: Partition,
        field: &str,
        value: &[u8],
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<u64>, StoreError> {
        let keys = self.keys(partition)?;
        let first = after.map_or(0, |n| n.saturating_add(1));
        let mut found = Vec::new();
        for n in (first..).take(limit.min(super::SCAN_ROWS_MAX)) {
            match self.place_of(&keys, &Token::new(&keys, field, value, n))? {
                Some(place) => found.push(place),
                None => break,
            }
        }
        Ok(found)
    }
    /// The place that was remembered first for a value of a field.
    pub fn first(&self, partition: Partition, field: &str, value: &[u8]) -> Result<Option<u64>, StoreError> {
        let keys = self.keys(partition)?;
        self.place_of(&keys, &Token::new(&keys, field, value, 0))
    }
    /// The place that was remembered last for a value of a field.
    pub fn newest(&self, partition: Partition, field: &str, value: &[u8]) -> Result<Option<u64>, StoreError> {
        let keys = self.keys(partition)?;
        match self.occurrences(&keys, field, value, &Token::new(&keys, field, value, 0))?.checked_sub(1) {
            Some(last) => self.place_of(&keys, &Token::new(&keys, field, value, last)),
            None => Ok(None),
        }
    }
    /// Events of the journal with their numbers, strictly after `after`. Whether they follow each other is for `check`.
    pub fn journal(&self, after: Option<u64>, limit: usize) -> Result<Vec<(u64, Event)>, StoreError> {
        let rows = self.list(Partition::Node, Table::Journal, b"", after, limit)?;
        let read = |(n, content): (u64, Vec<u8>)| {
            let event = Event::danger_unchained(&content).map_err(|_| StoreError::Broken { at: n })?;
            Ok((n, event))
        };
        rows.into_iter().map(read).collect()
    }
    /// What event `n` of the journal says of a partition; nothing where it does not touch it, or its keys are gone.
    pub fn journal_part(&self, n: u64, event: &Event, partition: Partition) -> Result<Option<EventPart>, StoreError> {
        if !self.keyring.holds(partition) {
            return Ok(None);
        }
        let part = self.get(partition, Table::JournalPart, &n.to_be_bytes())?;
        let opened = |part: Vec<u8>| event.open(&part).map(|(_, part)| part).ok_or(StoreError::Broken { at: n });
        part.map(opened).transpose()
    }
    /// The journal as it ends now.
    pub fn journal_end(&self) -> Result<Journal, StoreError> {
        let Some((n, last)) = self.last(Partition::Node, Table::Journal, b"")? else {
            return Ok(Journal::start(self.store));
        };
        let last = Event::danger_unchained(&last).map_err(|_| StoreError::Broken { at: n })?;
        Ok(Journal::after(n.saturating_add(1), &last))
    }
    /// Opens a blob for reading from any place.
    pub fn blob_open(&self, partition: Partition, name: &[u8]) -> Result<BlobReader, StoreError> {
        let keys = self.keys(partition)?;
        let blob = BlobName(keys.blob_name(name));
        let open = || {
            self.ask(|| {
                let sealed = self.vault.open(blob)?.ok_or(StoreError::NoBlob(blob))?;
                let identities = iter::once(keys.identity()).chain(keys.former_identities());
                Ok(stream::open_any(identities, sealed)?)
            })
        };
        let stream = match open() {
            // Sealed anew since its keys were looked at: they are others now.
            Err(StoreError::Stream(error)) if matches!(*error, StreamError::WrongKey) => open()?,
            opened => opened?,
        };
        Ok(BlobReader { stream, failure: Arc::clone(&self.failure) })
    }
    /// Whether the partition has a blob of that name.
    pub fn blob_exists(&self, partition: Partition, name: &[u8]) -> Result<bool, StoreError> {
        let name = self.blob_name(partition, name)?;
        self.ask(|| self.vault.exists(name))
    }
    /// The last append, durable or not.
    pub fn head(&self) -> Result<Position, StoreError> {
        self.ask(|| self.ledger.head())
    }
    /// The store's id: drawn when it was made.
    pub fn store_id(&self) -> StoreId {
        self.store
    }
    /// The keyring, to make, rotate and destroy partitions.
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }
    /// The same engines behind a handle that reads on after damage. It must not write: the writer's memory is not shared.
    pub(super) fn reading_on(&self) -> Self {
        Self {
            ledger: Arc::clone(&self.ledger),
            vault: Arc::clone(&self.vault),
            keyring: Arc::clone(&self.keyring),
            store: self.store,
            failure: Arc::new(Failure::ignored()),
            placing: Mutex::default(),
            writing: Writing::default(),
            unjournaled: AtomicBool::new(false),
            writer: Mutex::default(),
            _lock: None,
        }
    }
    /// The engine, for checks.
    pub(super) fn vault(&self) -> &Arc<dyn Vault> {
        &self.vault
    }

    pub(super) fn keys(&self, partition: Partition) -> Result<Arc<PartitionKeys>, StoreError> {
        Ok(self.keyring.keys(partition)?)
    }
    pub(super) fn read(&self, keys: &PartitionKeys, row: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.ask(|| {
            once_more(|| match self.ledger.get(row)? {
                Some(sealed) => Ok(Some(value::open(keys, row, sealed)?)),
                None => Ok(None),
            })
        })
    }
    /// Every question to an engine: refused after a failure, and a failure is kept.
    pub(super) fn ask<T>(&self, question: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.failure.healthy()?;
        self.failure.watch(question())
    }
    /// The place that an index token leads to.
    pub(super) fn place_of(&self, keys: &PartitionKeys, token: &Token) -> Result<Option<u64>, StoreError> {
        self.ask(|| {
            let Some(hidden) = self.ledger.get(&token.row)? else { return Ok(None) };
            let damaged = || value::SealError::Damaged { row: hex::encode(&token.row) };
            Ok(Some(token.show(keys, &hidden).ok_or_else(damaged)?))
        })
    }
    /// How often a value of a field has occurred: doubling, then halving, so that a value of a million
    /// occurrences costs forty looks. Occurrences are never removed, so there is no gap to fall into.
    pub(super) fn occurrences(
        &self,
        keys: &PartitionKeys,
        field: &str,
        value: &[u8],
        first: &Token,
    ) -> Result<u64, StoreError> {
        let is_there = |row: &[u8]| self.ask(|| Ok(self.ledger.get(row)?.is_some()));
        let taken = |n: u64| is_there(&Token::new(keys, field, value, n).row);
        if !is_there(&first.row)? {
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
    pub(super) fn counter(&self, keys: &PartitionKeys, row: &[u8]) -> Result<u64, StoreError> {
        match self.read(keys, row)? {
            None => Ok(0),
            Some(content) => match <[u8; 8]>::try_from(content.as_slice()) {
                Ok(bytes) => Ok(u64::from_be_bytes(bytes)),
                Err(_) => Err(value::SealError::Format { row: hex::encode(row) }.into()),
            },
        }
    }
    pub(super) fn blob_name(&self, partition: Partition, name: &[u8]) -> Result<BlobName, StoreError> {
        Ok(BlobName(self.keys(partition)?.blob_name(name)))
    }
}

/// Reads again what was fetched just before its key was destroyed: it is sealed anew then. The second answer stands.
fn once_more<T>(read: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
    match read() {
        Err(StoreError::Seal(value::SealError::NoKey { .. })) => read(),
        answer => answer,
    }
}

pub(super) fn open_item(keys: &PartitionKeys, row: Vec<u8>, sealed: Vec<u8>) -> Result<(u64, Vec<u8>), StoreError> {
    let content = value::open(keys, &row, sealed)?;
    let counter = layout::counter_of(&row).ok_or_else(|| value::SealError::Format { row: hex::encode(&row) })?;
    Ok((counter, content))
}

/// What goes to the vault; a write that fails is kept as the store's failure.
pub(super) struct Watched {
    pub(super) inner: Box<dyn VaultWriter>,
    pub(super) failure: Arc<Failure>,
}

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.failure.healthy().map_err(io::Error::other)?;
        self.inner.write(bytes).map_err(|error| noted(&self.failure, "write a blob", error))
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush().map_err(|error| noted(&self.failure, "write a blob", error))
    }
}

/// Keeps a failed read or write of a blob. A call that was interrupted is made again and is none.
fn noted(failure: &Failure, doing: &'static str, error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::Interrupted {
        return error;
    }
    let kind = error.kind();
    let error = StoreError::engine(doing, error);
    failure.note(&error);
    io::Error::new(kind, error)
}

/// A failed read of a blob. One that is not what was written, or ends too early, is damaged alone: the store goes on.
fn unread(failure: &Failure, error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => error,
        _ => noted(failure, "read a blob", error),
    }
}

/// A blob that is being written in clear and kept sealed.
pub struct BlobWriter {
    keys: Arc<PartitionKeys>,
    stream: stream::StreamWriter<Watched>,
    _writing: Arc<()>,
}

/// Blobs that are being written: those that began before a rotation are sealed to who was the newest then.
#[derive(Default)]
pub(super) struct Writing(Mutex<(Arc<()>, Vec<Weak<()>>)>);

impl Writing {
    fn begin(&self) -> Arc<()> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner).0)
    }
    /// Keys are rotated: who began before is told apart from now on.
    pub(super) fn rotated(&self) {
        let mut writing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut writing.0);
        writing.1.push(Arc::downgrade(&before));
    }
    /// Whether somebody still writes who began before a rotation.
    pub(super) fn is_behind(&self) -> bool {
        let mut writing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writing.1.retain(|before| before.strong_count() > 0);
        !writing.1.is_empty()
    }
}

impl BlobWriter {
    /// Gives the blob its name within the partition. When this returns it is durable.
    pub fn commit(self, name: &[u8]) -> Result<(), StoreError> {
        let blob = BlobName(self.keys.blob_name(name));
        let Watched { inner, failure } = self.stream.finish().map_err(io_error("finish a blob"))?;
        failure.healthy()?;
        failure.watch(inner.commit(blob))
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// A blob in clear, from any place. Bytes are released only when they are authentic.
pub struct BlobReader {
    stream: stream::StreamReader<io::BufReader<Box<dyn ReadSeek>>>,
    failure: Arc<Failure>,
}

impl Read for BlobReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.read(bytes).map_err(|error| unread(&self.failure, error))
    }
}

impl Seek for BlobReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.stream.seek(to).map_err(|error| unread(&self.failure, error))
    }
}
