//! The second ledger engine: sled 0.34, behind the cargo feature `sled`. Nothing else in the node names sled.
//!
//! OPERATING.md says what the harnesses found of it; it is not the default for those reasons. Four things
//! are done here because sled does not do them: its files are synced after each flush (its own flush asks
//! for `sync_file_range`, which promises nothing after a power cut); a lost tail is noticed (`head`); a
//! panic inside it becomes an error; and after a failure reading is refused too.
//!
//! Rows stand in one tree, the sequence in another, and one transaction spans both.

use super::{
    Append, Ledger, Position, Row, SCAN_ROWS_MAX, SequenceRow, Snapshot, StoreError, SyncFile, bound,
    chain::{self, digest_of},
    head::Head,
    io_error,
    open::patiently,
    scan_start,
};
use ::sled::{Batch, Db, IVec, Transactional, Tree, transaction::TransactionError};
use std::{
    fs::{self, File},
    io,
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

const ROWS: &[u8] = b"rows";
const SEQUENCE: &[u8] = b"sequence";
/// sled's own file; where it is missing, sled would make an empty store.
const FILE: &str = "db";
/// How sled begins to say that its file is locked: it has no error of its own for that.
const LOCKED: &str = "could not acquire lock";
const CACHE_BYTES: u64 = 64 << 20;

/// A ledger in sled.
pub struct SledLedger {
    rows: Tree,
    sequence: Tree,
    database: Db,
    /// The last append. Its lock fixes the order: it is held while a batch is checked and handed over.
    head: Mutex<Position>,
    /// Held by each append, and by a snapshot for as long as it is read: sled has none of its own. Taken before `head`.
    appending: Mutex<()>,
    /// Held during a sync, so that those who wait meanwhile find themselves done.
    disk: Mutex<Disk>,
    poisoned: AtomicBool,
}

struct Disk {
    folder: PathBuf,
    head: Head,
    /// Everything up to here is durable.
    durable: u64,
    sync: SyncFile,
}

impl SledLedger {
    /// Makes an empty ledger in `folder`, which must not exist, and its head file beside it.
    pub fn create(folder: &Path, head: &Path) -> Result<(), StoreError> {
        if folder.exists() {
            return Err(StoreError::Exists(folder.to_owned()));
        }
        fs::create_dir(folder).map_err(io_error("create the ledger"))?;
        let (database, ..) = open_database(folder)?;
        caught("create the ledger", || database.flush())?;
        drop(database);
        sync_files(folder, &File::sync_all).map_err(io_error("create the ledger"))?;
        crate::secret::durable::sync_folder_of(folder).map_err(io_error("create the ledger"))?;
        Head::create(head)
    }
    /// Opens a ledger that exists, and checks that it still holds what its head file knows.
    pub fn open(folder: &Path, head: &Path) -> Result<Self, StoreError> {
        Self::open_with(folder, head, Arc::new(File::sync_all))
    }
    /// As [`open`](Self::open), with another way to sync, so that tests can let it fail.
    pub fn open_with(folder: &Path, head: &Path, sync: SyncFile) -> Result<Self, StoreError> {
        if !folder.join(FILE).exists() {
            return Err(StoreError::Missing(folder.to_owned()));
        }
        let (head, known) = Head::open(head)?;
        let (database, rows, sequence) = open_database(folder)?;
        let disk = Disk { folder: folder.to_owned(), head, durable: 0, sync };
        let ledger = Self {
            rows,
            sequence,
            database,
            head: Mutex::new(known),
            appending: Mutex::new(()),
            disk: Mutex::new(disk),
            poisoned: AtomicBool::new(false),
        };
        let found = match ledger.guarded("read the sequence", || ledger.sequence.last())? {
            Some((key, value)) => chain::decode(&key, &value).ok_or(StoreError::Broken { at: 0 })?.position,
            None => Position::default(),
        };
        let found = chain::verify_tail(&ledger, known, found)?;
        *lock(&ledger.head) = found;
        // What was submitted and not waited for before a crash counts now: it must last.
        ledger.sync_to(&mut lock(&ledger.disk), found)?;
        lock(&ledger.disk).head.sync()?;
        Ok(ledger)
    }
    fn healthy(&self) -> Result<(), StoreError> {
        match self.poisoned.load(Ordering::SeqCst) {
            true => Err(StoreError::Poisoned),
            false => Ok(()),
        }
    }
    fn poison(&self) {
        self.poisoned.store(true, Ordering::SeqCst);
        tracing::error!("the ledger failed and refuses all work until it is opened anew");
    }
    fn guarded<T>(&self, doing: &'static str, call: impl FnOnce() -> ::sled::Result<T>) -> Result<T, StoreError> {
        caught(doing, call).inspect_err(|_| self.poison())
    }
    /// Hands a batch over. The caller holds the lock on `head`.
    fn write(&self, batch: Append, row: &SequenceRow) -> Result<(), StoreError> {
        let mut rows = Batch::default();
        for (key, value) in batch.puts {
            rows.insert(key, value);
        }
        for key in batch.deletes {
            rows.remove(key);
        }
        let (key, value) = (row.position.sequence.to_be_bytes(), chain::encode(row));
        self.guarded("append", || {
            let both = (&self.rows, &self.sequence).transaction(|(to_rows, to_sequence)| {
                to_rows.apply_batch(&rows)?;
                to_sequence.insert(key.as_slice(), value.as_slice())?;
                Ok(())
            });
            both.map_err(|error: TransactionError<()>| match error {
                TransactionError::Storage(error) => error,
                TransactionError::Abort(()) => ::sled::Error::Unsupported("an abort that nobody asked for".to_owned()),
            })
        })
    }
    fn sync_to(&self, disk: &mut Disk, position: Position) -> Result<(), StoreError> {
        let synced = caught("sync the ledger", || self.database.flush())
            .and_then(|_| sync_files(&disk.folder, &*disk.sync).map_err(io_error("sync the ledger")))
            .and_then(|()| disk.head.write(position));
        synced.inspect_err(|_| self.poison())?;
        disk.durable = disk.durable.max(position.sequence);
        Ok(())
    }
}

impl Ledger for SledLedger {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.healthy()?;
        Ok(self.guarded("read a row", || self.rows.get(key))?.map(|value| value.to_vec()))
    }
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.healthy()?;
        let from = scan_start(prefix, after);
        self.guarded("scan rows", || {
            let found = self.rows.range::<&[u8], _>((from, Bound::Unbounded)).take(limit.min(SCAN_ROWS_MAX));
            let mut rows = Vec::new();
            for row in found {
                let (key, value) = row?;
                if !key.starts_with(prefix) {
                    break;
                }
                rows.push((key.to_vec(), value.to_vec()));
            }
            Ok(rows)
        })
    }
    fn last(&self, prefix: &[u8]) -> Result<Option<Row>, StoreError> {
        self.healthy()?;
        let last: Option<(IVec, IVec)> =
            self.guarded("scan rows", || self.rows.scan_prefix(prefix).next_back().transpose())?;
        Ok(last.map(|(key, value)| (key.to_vec(), value.to_vec())))
    }
    fn submit(&self, batch: Append) -> Result<Position, StoreError> {
        bound(&batch)?;
        let append = digest_of(&batch);
        let _appending = lock(&self.appending);
        let mut head = lock(&self.head);
        self.healthy()?;
        for (key, expect) in &batch.expect {
            let found = self.guarded("read a row", || self.rows.get(key))?;
            if !expect.holds(found.as_deref()) {
                return Err(StoreError::Conflict { row: hex::encode(key) });
            }
        }
        let position = head.next(append);
        self.write(batch, &SequenceRow { position, append })?;
        *head = position;
        Ok(position)
    }
    fn wait(&self, position: Position) -> Result<(), StoreError> {
        let mut disk = lock(&self.disk);
        self.healthy()?;
        if disk.durable >= position.sequence {
            return Ok(());
        }
        // All that is submitted by now shares this sync.
        let target = *lock(&self.head);
        self.sync_to(&mut disk, target)
    }
    fn head(&self) -> Result<Position, StoreError> {
        self.healthy()?;
        Ok(*lock(&self.head))
    }
    fn sequence(&self, after: u64, limit: usize) -> Result<Vec<SequenceRow>, StoreError> {
        self.healthy()?;
        let from = after.saturating_add(1).to_be_bytes();
        let found = self.guarded("read the sequence", || {
            self.sequence.range(from..).take(limit.min(SCAN_ROWS_MAX)).collect::<Result<Vec<_>, _>>()
        })?;
        let rows = found.into_iter().zip(after + 1..).map(|((key, value), expected)| {
            let row = chain::decode(&key, &value).filter(|row| row.position.sequence == expected);
            row.ok_or(StoreError::Broken { at: expected })
        });
        rows.collect()
    }
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        let appending = lock(&self.appending);
        self.healthy()?;
        let position = *lock(&self.head);
        Ok(Box::new(Frozen { ledger: self, position, _appending: appending }))
    }
}

/// Appends wait while it is read.
struct Frozen<'a> {
    ledger: &'a SledLedger,
    position: Position,
    _appending: MutexGuard<'a, ()>,
}

impl Snapshot for Frozen<'_> {
    fn position(&self) -> Position {
        self.position
    }
    fn rows(&self, after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.ledger.scan(b"", after, limit)
    }
}

impl Drop for SledLedger {
    fn drop(&mut self) {
        if self.healthy().is_err() {
            return;
        }
        // Best effort: whoever needed it durable has waited for it.
        let head = *lock(&self.head);
        let mut disk = lock(&self.disk);
        let closed = self.sync_to(&mut disk, head).and_then(|()| disk.head.sync());
        if closed.is_err() {
            tracing::warn!("the ledger could not be synced while it was closed");
        }
    }
}

fn open_database(folder: &Path) -> Result<(Db, Tree, Tree), StoreError> {
    let config = ::sled::Config::new().path(folder).cache_capacity(CACHE_BYTES).flush_every_ms(None);
    let database = patiently(|| match caught("open the ledger", || Ok(config.open()))? {
        Ok(database) => Ok(database),
        Err(::sled::Error::Io(error)) if error.to_string().starts_with(LOCKED) => {
            Err(StoreError::InUse(folder.to_owned()))
        }
        Err(error) => Err(StoreError::engine("open the ledger", error)),
    })?;
    let rows = caught("open the ledger", || database.open_tree(ROWS))?;
    let sequence = caught("open the ledger", || database.open_tree(SEQUENCE))?;
    Ok((database, rows, sequence))
}

/// Syncs every file below a folder, then the folders, so that names last too.
fn sync_files(folder: &Path, sync: &dyn Fn(&File) -> io::Result<()>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_files(&entry.path(), sync)?;
            continue;
        }
        match File::open(entry.path()) {
            Ok(file) => sync(&file)?,
            // sled removes old snapshots when it likes.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    File::open(folder)?.sync_all()
}

/// Calls sled. It panics where it finds its files damaged; that is an error of the store and not the end of
/// the process. What it leaves behind is not used again: the caller poisons the ledger.
fn caught<T>(doing: &'static str, call: impl FnOnce() -> ::sled::Result<T>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(StoreError::engine(doing, error)),
        Err(_) => Err(StoreError::engine(doing, "sled panicked: its files are damaged")),
    }
}

/// A thread that panicked while it held one of these locks left nothing half done that a reader trusts.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
