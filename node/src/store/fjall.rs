//! The default ledger engine: fjall, a log-structured tree with a journal.
//!
//! Rows stand in one keyspace, the sequence in another; a batch spans both. Three things are done here
//! because fjall does not do them: a lost tail is noticed (`head`), several appends share a sync, and
//! after a failure reading is refused too. Nothing else in the node names fjall.
//!
//! **Sharing a sync.** `submit` hands a batch to fjall, which gives it to the operating system and shows
//! it to readers. `wait` makes it durable: the first to wait leads, syncs the journal once for all that was
//! submitted until then, and the others follow. fjall's own `persist` would hold its journal lock
//! during the sync, so that nobody could submit meanwhile and no group would form; the leader
//! therefore syncs the journal's files through descriptors of its own. That is right because
//! fjall syncs a journal wholly before it starts the next one (`journal/writer.rs`, `rotate`), and
//! because the descriptors stay open from one sync to the next, so that no write-back error is missed.
//! The version is pinned exactly for this; a test watches that the files are where this expects them.

mod journal;
mod version;

use super::{
    Append, Ledger, Position, Row, SCAN_ROWS_MAX, SequenceRow, Snapshot, StoreError, SyncFile, bound,
    chain::{self, digest_of},
    head::Head,
    io_error,
    open::patiently,
    scan_start,
};
use ::fjall::{
    AbstractTree, CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable,
    config::CompressionPolicy,
};
use std::{
    collections::BTreeMap,
    error::Error as _,
    fs::{self, File},
    io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

const ROWS: &str = "rows";
const SEQUENCE: &str = "sequence";
/// Ending of fjall's journal files.
const JOURNAL: &str = "jnl";
const CACHE_BYTES: u64 = 64 << 20;
/// Sealed journals beyond this are emptied into the tree. The least that fjall takes: journals are disk, and are read at
/// every opening.
const JOURNAL_BYTES_MAX: u64 = 64 << 20;
/// Kept in memory before it is written to the tree. Up to two wait for that during an import.
pub const MEMTABLE_BYTES: u64 = 32 << 20;
/// With more than this in memory a ledger is written to the tree when it is closed, so that the next opening finds it
/// there.
const FLUSH_BYTES: u64 = 16 << 20;
/// How long closing waits for that. What is not written by then is read from the journals.
const FLUSH: Duration = Duration::from_secs(60);
/// How long closing waits for journals that are not needed any more to go; they go at the next opening otherwise.
const CLEAR: Duration = Duration::from_millis(500);
/// Rows in memory that wait to be written to the tree, in memtables. fjall itself waits at four.
const SEALED_MAX: usize = 2;
/// The same for what the tree has not merged yet: fjall slows down at 20 and waits at 30.
const RUNS_MAX: usize = 25;
/// Threads that write the tree.
const WORKERS: usize = 2;

/// A ledger in fjall.
pub struct FjallLedger {
    database: Database,
    rows: Keyspace,
    sequence: Keyspace,
    /// The last append. Its lock fixes the order: it is held while a batch is checked and handed over.
    head: Mutex<Position>,
    sync: Mutex<Durability>,
    synced: Condvar,
    files: Mutex<Files>,
    poisoned: AtomicBool,
}

struct Durability {
    /// Everything up to here is durable.
    durable: u64,
    /// Somebody is syncing.
    led: bool,
}

/// What the leader uses; only it takes the lock.
struct Files {
    folder: PathBuf,
    journals: BTreeMap<u64, File>,
    head: Head,
    sync: SyncFile,
}

impl FjallLedger {
    /// Makes an empty ledger in `folder`, which must not exist, and its head file beside it.
    pub fn create(folder: &Path, head: &Path) -> Result<(), StoreError> {
        Self::create_with(folder, head, MEMTABLE_BYTES)
    }
    /// As [`create`](Self::create), with another bound of what is kept in memory before it is written to the
    /// tree: a small one lets tests see the tree being written. It stays with the ledger.
    pub fn create_with(folder: &Path, head: &Path, memtable_bytes: u64) -> Result<(), StoreError> {
        if folder.exists() {
            return Err(StoreError::Exists(folder.to_owned()));
        }
        let (database, ..) = open_database(folder, memtable_bytes)?;
        database.persist(PersistMode::SyncAll).map_err(engine("create the ledger"))?;
        drop(database);
        crate::secret::durable::sync_folder_of(folder).map_err(io_error("create the ledger"))?;
        Head::create(head)
    }
    /// Opens a ledger that exists, and checks that it still holds what its head file knows.
    pub fn open(folder: &Path, head: &Path) -> Result<Self, StoreError> {
        Self::open_with(folder, head, Arc::new(File::sync_data))
    }
    /// As [`open`](Self::open), with another way to sync, so that tests can let it fail.
    pub fn open_with(folder: &Path, head: &Path, sync: SyncFile) -> Result<Self, StoreError> {
        // fjall would make an empty database here, and everything would seem well.
        if !folder.join("version").exists() || journals(folder).map_err(io_error("open the ledger"))?.is_empty() {
            return Err(StoreError::Missing(folder.to_owned()));
        }
        let (head, known) = Head::open(head)?;
        let journals = journals(folder).map_err(io_error("open the ledger"))?;
        journal::mend(&journals.iter().map(PathBuf::as_path).collect::<Vec<_>>(), known.sequence)?;
        version::check(folder)?;
        let (database, rows, sequence) = open_database(folder, MEMTABLE_BYTES)?;
        let ledger = Self {
            database,
            rows,
            sequence,
            head: Mutex::new(known),
            sync: Mutex::new(Durability { durable: 0, led: false }),
            synced: Condvar::new(),
            files: Mutex::new(Files { folder: folder.to_owned(), journals: BTreeMap::new(), head, sync }),
            poisoned: AtomicBool::new(false),
        };
        let found = ledger.verify_tail(known)?;
        *lock(&ledger.head) = found;
        // What was submitted and not waited for before a crash counts now: it must last.
        ledger.sync_to(found)?;
        lock(&ledger.sync).durable = found.sequence;
        lock(&ledger.files).head.sync()?;
        Ok(ledger)
    }
    /// Walks from the position that the head file knows to the end.
    fn verify_tail(&self, known: Position) -> Result<Position, StoreError> {
        let found = match self.sequence.last_key_value() {
            Some(guard) => {
                let (key, value) = guard.into_inner().map_err(engine("read the sequence"))?;
                chain::decode(&key, &value).ok_or(StoreError::Broken { at: 0 })?.position
            }
            None => Position::default(),
        };
        chain::verify_tail(self, known, found)
    }
    fn healthy(&self) -> Result<(), StoreError> {
        match self.poisoned.load(Ordering::SeqCst) {
            true => Err(StoreError::Poisoned),
            false => Ok(()),
        }
    }
    /// Any failure of the engine leaves it unknown what is on disk.
    fn poison(&self) {
        self.poisoned.store(true, Ordering::SeqCst);
        tracing::error!("the ledger failed and refuses all work until it is opened anew");
    }
    fn guarded<T>(&self, doing: &'static str, result: ::fjall::Result<T>) -> Result<T, StoreError> {
        result.map_err(|error| {
            self.poison();
            engine(doing)(error)
        })
    }
    /// The same, of something that people can look for.
    fn guarded_at<T>(
        &self,
        doing: &'static str,
        what: impl FnOnce() -> String,
        result: ::fjall::Result<T>,
    ) -> Result<T, StoreError> {
        self.guarded(doing, result).map_err(|error| match error {
            StoreError::Engine { doing, cause } => StoreError::engine(doing, format!("{}: {cause}", what())),
            other => other,
        })
    }
    /// Waits until fjall takes a batch without waiting itself: its own wait does not end when the threads that write the
    /// tree have failed, as they do on a full disk.
    fn has_room(&self) -> ::fjall::Result<()> {
        while self.rows.tree.sealed_memtable_count() >= SEALED_MAX || self.rows.tree.l0_run_count() >= RUNS_MAX {
            // An error once they have failed; otherwise nothing new.
            self.database.persist(PersistMode::Buffer)?;
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
    /// Rows of a snapshot whose key begins with `prefix`.
    fn scan_in(
        &self,
        snapshot: &::fjall::Snapshot,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let from = scan_start(prefix, after);
        let mut rows: Vec<Row> = Vec::new();
        for guard in snapshot.range::<&[u8], _>(&self.rows, (from, Bound::Unbounded)).take(limit.min(SCAN_ROWS_MAX)) {
            let behind = || match rows.last().map(|(last, _)| last.as_slice()).or(after).unwrap_or(prefix) {
                [] => "the first row".to_owned(),
                last => format!("what comes after {}", of_row(last)),
            };
            let (key, value) = self.guarded_at("read", behind, guard.into_inner())?;
            if !key.starts_with(prefix) {
                break;
            }
            rows.push((key.to_vec(), value.to_vec()));
        }
        Ok(rows)
    }
    /// Hands a batch over. The caller holds the lock on `head`.
    fn write(&self, batch: Append, row: &SequenceRow) -> Result<(), StoreError> {
        self.guarded("append", self.has_room())?;
        let rows = batch.puts.len() + batch.deletes.len() + 1;
        let mut writes = ::fjall::OwnedWriteBatch::with_capacity(self.database.clone(), rows);
        // Given to the operating system at once: a killed process loses nothing that was submitted.
        writes = writes.durability(Some(PersistMode::Buffer));
        for (key, value) in batch.puts {
            writes.insert(&self.rows, key, value);
        }
        for key in batch.deletes {
            writes.remove(&self.rows, key);
        }
        writes.insert(&self.sequence, row.position.sequence.to_be_bytes(), chain::encode(row));
        self.guarded("append", writes.commit())
    }
    /// Has what is in memory written to the tree. fjall's own call for it, which its interface hides, waits without end.
    fn flush(&self) -> ::fjall::Result<()> {
        if self.rows.tree.active_memtable().size() < FLUSH_BYTES {
            return Ok(());
        }
        for keyspace in [&self.rows, &self.sequence] {
            keyspace.rotate_memtable()?;
        }
        let begun = Instant::now();
        let is_written = || [&self.rows, &self.sequence].iter().all(|k| k.sealed_memtable_count() == 0);
        while !is_written() && begun.elapsed() < FLUSH {
            std::thread::sleep(Duration::from_millis(5));
        }
        // Then the journals behind it go, all but the newest.
        let begun = Instant::now();
        while self.database.journal_count() > 1 && begun.elapsed() < CLEAR {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
    /// Syncs the journal, then notes the position. Only the leader calls it.
    fn sync_to(&self, position: Position) -> Result<(), StoreError> {
        let mut files = lock(&self.files);
        files.sync_journals().map_err(io_error("sync the ledger"))?;
        files.head.write(position)
    }
}

impl Files {
    /// Syncs every journal that may hold something new: the newest at the last sync, and those after it.
    fn sync_journals(&mut self) -> io::Result<()> {
        let newest = self.journals.last_key_value().map_or(0, |(id, _)| *id);
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let Some(id) = journal_id(&path).filter(|id| *id >= newest && !self.journals.contains_key(id)) else {
                continue;
            };
            match File::open(&path) {
                Ok(file) => {
                    self.journals.insert(id, file);
                }
                // Gone since it was listed: what it held is in the tree, synced.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        for file in self.journals.values() {
            (self.sync)(file)?;
        }
        if let Some(last) = self.journals.pop_last() {
            self.journals = BTreeMap::from([last]);
        }
        Ok(())
    }
}

impl Ledger for FjallLedger {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.healthy()?;
        // A snapshot: fjall puts the rows of a batch into memory one by one, and shows them to whoever reads the keyspace.
        let value = self.guarded_at("read", || of_row(key), self.database.snapshot().get(&self.rows, key))?;
        Ok(value.map(|value| value.to_vec()))
    }
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.healthy()?;
        // A snapshot: a scan must not see half of an append.
        self.scan_in(&self.database.snapshot(), prefix, after, limit)
    }
    fn last(&self, prefix: &[u8]) -> Result<Option<Row>, StoreError> {
        self.healthy()?;
        let last = self.database.snapshot().prefix(&self.rows, prefix).next_back();
        let before = || format!("the last row like {}", of_row(prefix));
        let row = last.map(|guard| self.guarded_at("read", before, guard.into_inner())).transpose()?;
        Ok(row.map(|(key, value)| (key.to_vec(), value.to_vec())))
    }
    fn submit(&self, batch: Append) -> Result<Position, StoreError> {
        bound(&batch)?;
        let append = digest_of(&batch);
        let mut head = lock(&self.head);
        self.healthy()?;
        for (key, expect) in &batch.expect {
            let found = self.guarded_at("read", || of_row(key), self.rows.get(key))?;
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
        let mut sync = lock(&self.sync);
        loop {
            self.healthy()?;
            if sync.durable >= position.sequence {
                return Ok(());
            }
            if sync.led {
                sync = self.synced.wait(sync).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            sync.led = true;
            drop(sync);
            // All that is submitted by now is in the journal and shares this sync.
            let target = *lock(&self.head);
            let result = self.sync_to(target);
            if result.is_err() {
                self.poison();
            }
            sync = lock(&self.sync);
            sync.led = false;
            if result.is_ok() {
                sync.durable = sync.durable.max(target.sequence);
            }
            self.synced.notify_all();
            result?;
        }
    }
    fn head(&self) -> Result<Position, StoreError> {
        self.healthy()?;
        Ok(*lock(&self.head))
    }
    fn sequence(&self, after: u64, limit: usize) -> Result<Vec<SequenceRow>, StoreError> {
        self.healthy()?;
        let from = after.saturating_add(1).to_be_bytes();
        let mut rows = Vec::new();
        for (guard, expected) in self.sequence.range(from..).take(limit.min(SCAN_ROWS_MAX)).zip(after + 1..) {
            let append = || format!("append {expected}");
            let (key, value) = self.guarded_at("read the sequence", append, guard.into_inner())?;
            let row = chain::decode(&key, &value).filter(|row| row.position.sequence == expected);
            rows.push(row.ok_or(StoreError::Broken { at: expected })?);
        }
        Ok(rows)
    }
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        // Nothing is handed over meanwhile, so that it ends where `head` says.
        let head = lock(&self.head);
        self.healthy()?;
        Ok(Box::new(Frozen { ledger: self, rows: self.database.snapshot(), position: *head }))
    }
}

/// fjall keeps what a snapshot shows for as long as it is held; appends go on.
struct Frozen<'a> {
    ledger: &'a FjallLedger,
    rows: ::fjall::Snapshot,
    position: Position,
}

impl Snapshot for Frozen<'_> {
    fn position(&self) -> Position {
        self.position
    }
    fn rows(&self, after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.ledger.healthy()?;
        self.ledger.scan_in(&self.rows, b"", after, limit)
    }
}

impl Drop for FjallLedger {
    fn drop(&mut self) {
        if self.healthy().is_err() {
            return;
        }
        // Best effort: whoever needed it durable has waited for it.
        let head = *lock(&self.head);
        let closed = self.sync_to(head).and_then(|()| lock(&self.files).head.sync());
        if closed.is_err() {
            tracing::warn!("the ledger could not be synced while it was closed");
            return;
        }
        if let Err(error) = self.flush() {
            tracing::warn!(%error, "the ledger could not be written to the tree while it was closed");
        }
    }
}

fn open_database(folder: &Path, memtable_bytes: u64) -> Result<(Database, Keyspace, Keyspace), StoreError> {
    let open = || {
        Database::builder(folder)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .journal_compression(CompressionType::None)
            .worker_threads(WORKERS)
            .open()
            .map_err(|error| match error {
                ::fjall::Error::Locked => StoreError::InUse(folder.to_owned()),
                other => engine("open the ledger")(other),
            })
    };
    let database = patiently(open)?;
    // Taken when a keyspace is made; afterwards it remembers its own. Sealed values do not compress, and row keys are not
    // worth a codec.
    let options = || {
        KeyspaceCreateOptions::default()
            .data_block_compression_policy(CompressionPolicy::disabled())
            .max_memtable_size(memtable_bytes)
    };
    let rows = database.keyspace(ROWS, options).map_err(engine("open the ledger"))?;
    let sequence = database.keyspace(SEQUENCE, options).map_err(engine("open the ledger"))?;
    Ok((database, rows, sequence))
}

/// The journals of a ledger, oldest first.
fn journals(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        found.extend(journal_id(&path).map(|id| (id, path)));
    }
    Ok(found.into_values().collect())
}

fn journal_id(path: &Path) -> Option<u64> {
    let journal = path.extension().is_some_and(|ending| ending == JOURNAL);
    journal.then(|| path.file_stem()?.to_str()?.parse().ok()).flatten()
}

/// A row, as checks name it.
fn of_row(key: &[u8]) -> String {
    format!("row `{}`", hex::encode(key))
}

/// fjall prints the names of its types. Where the system failed, that is what is told; the rest stands here in words.
pub(super) fn engine(doing: &'static str) -> impl FnOnce(::fjall::Error) -> StoreError {
    use ::fjall::Error as E;
    move |error| {
        let words = match &error {
            E::Io(_) => return StoreError::engine(doing, error),
            E::Storage(inner) if inner.source().is_some_and(|cause| cause.is::<io::Error>()) => {
                return StoreError::engine(doing, error);
            }
            E::Poisoned => "an earlier write failed: start again, and look at the disk if it happens once more",
            E::Locked => {
                "another process has it open: a node that is just starting or ending, or another command; wait, and run this again"
            }
            E::InvalidVersion(_) => {
                "its files were written by another version of the engine: use the program that wrote them"
            }
            _ => "its files are damaged: do not go on with them; copy the whole home, then restore a backup",
        };
        StoreError::engine(doing, words)
    }
}

/// A thread that panicked while it held one of these locks left nothing half done that a reader trusts.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{AbstractTree, FjallLedger, Keyspace, PersistMode, SEALED_MAX};
    use std::{
        fs,
        sync::{Arc, mpsc},
        thread,
        time::{Duration, Instant},
    };

    /// Puts a row into memory and sets that aside to be written, as fjall does with a full one.
    fn sealed(rows: &Keyspace, n: u64) -> Result<(), Box<dyn std::error::Error>> {
        rows.tree.insert(format!("row {n}"), "value", n);
        rows.rotate_memtable()?;
        Ok(())
    }

    #[test]
    fn nobody_waits_for_room_that_threads_which_have_failed_would_make() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let (engine, head) = (folder.path().join("engine"), folder.path().join("head"));
        FjallLedger::create(&engine, &head)?;
        let ledger = Arc::new(FjallLedger::open(&engine, &head)?);
        ledger.has_room()?;
        // The tree cannot be written any more, as on a disk that is full: the folder of its files is gone.
        fs::remove_dir_all(engine.join("keyspaces"))?;
        for n in 1..=SEALED_MAX as u64 + 1 {
            sealed(&ledger.rows, n)?;
        }
        let begun = Instant::now();
        while ledger.database.persist(PersistMode::Buffer).is_ok() && begun.elapsed() < Duration::from_secs(30) {
            thread::sleep(Duration::from_millis(5));
        }
        assert!(ledger.rows.tree.sealed_memtable_count() >= SEALED_MAX, "nothing was written");
        let (told, answer) = mpsc::channel();
        let waiting = Arc::clone(&ledger);
        thread::spawn(move || told.send(waiting.has_room().is_err()));
        assert_eq!(answer.recv_timeout(Duration::from_secs(30)), Ok(true), "it waits without end");
        Ok(())
    }
}
