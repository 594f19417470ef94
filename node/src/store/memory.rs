//! A ledger and a vault in memory: for simulated nodes, and to police.
//!
//! It keeps nothing beyond its own life. It complains where a row changes that never may, or where
//! a key stands twice in one append: an engine on disk would take both silently.

use super::{
    Append, BlobName, Expect, Ledger, Position, ReadSeek, Row, SCAN_ROWS_MAX, SequenceRow, Snapshot, StoreError, Vault,
    VaultWriter, bound, chain, scan_start,
};
use std::{
    collections::{BTreeMap, HashSet},
    io::{Cursor, Write},
    ops::Bound,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

#[derive(Default)]
struct Rows {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    sequence: Vec<SequenceRow>,
    head: Position,
}

/// A ledger in memory.
pub struct MemoryLedger {
    state: RwLock<Rows>,
    immutable: fn(&[u8]) -> bool,
    poisoned: AtomicBool,
    break_next: AtomicBool,
}

impl MemoryLedger {
    /// An empty one; `immutable` tells which rows never change.
    pub fn new(immutable: fn(&[u8]) -> bool) -> Self {
        Self {
            state: RwLock::default(),
            immutable,
            poisoned: AtomicBool::new(false),
            break_next: AtomicBool::new(false),
        }
    }
    /// Makes the next wait fail as a disk would, for tests.
    pub fn break_next_sync(&self) {
        self.break_next.store(true, Ordering::SeqCst);
    }
    fn healthy(&self) -> Result<(), StoreError> {
        match self.poisoned.load(Ordering::SeqCst) {
            true => Err(StoreError::Poisoned),
            false => Ok(()),
        }
    }
    fn police(&self, rows: &Rows, batch: &Append) -> Result<(), StoreError> {
        let mut seen = HashSet::new();
        for key in batch.puts.iter().map(|(key, _)| key).chain(&batch.deletes) {
            // Whoever shows what it held seals it anew, and says the same.
            let resealed = || batch.expect.iter().any(|(row, held)| row == key && matches!(held, Expect::Equals(_)));
            let changes = (self.immutable)(key) && rows.rows.contains_key(key) && !resealed();
            if changes || !seen.insert(key) {
                return Err(StoreError::Immutable { row: hex::encode(key) });
            }
        }
        Ok(())
    }
}

impl Ledger for MemoryLedger {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.healthy()?;
        Ok(self.state.read().unwrap_or_else(PoisonError::into_inner).rows.get(key).cloned())
    }
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.healthy()?;
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let from = scan_start(prefix, after);
        let rows = state.rows.range::<[u8], _>((from, Bound::Unbounded));
        let rows = rows.take_while(|(key, _)| key.starts_with(prefix)).take(limit.min(SCAN_ROWS_MAX));
        Ok(rows.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
    fn last(&self, prefix: &[u8]) -> Result<Option<Row>, StoreError> {
        self.healthy()?;
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let rows = state.rows.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
        Ok(rows.take_while(|(key, _)| key.starts_with(prefix)).last().map(|(key, value)| (key.clone(), value.clone())))
    }
    fn submit(&self, batch: Append) -> Result<Position, StoreError> {
        self.healthy()?;
        bound(&batch)?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for (key, expect) in &batch.expect {
            if !expect.holds(state.rows.get(key).map(Vec::as_slice)) {
                return Err(StoreError::Conflict { row: hex::encode(key) });
            }
        }
        self.police(&state, &batch)?;
        let append = chain::digest_of(&batch);
        let position = state.head.next(append);
        state.rows.extend(batch.puts);
        for key in &batch.deletes {
            state.rows.remove(key);
        }
        state.sequence.push(SequenceRow { position, append });
        state.head = position;
        Ok(position)
    }
    fn wait(&self, _position: Position) -> Result<(), StoreError> {
        self.healthy()?;
        if self.break_next.swap(false, Ordering::SeqCst) {
            self.poisoned.store(true, Ordering::SeqCst);
            return Err(StoreError::engine("sync", "broken for a test"));
        }
        Ok(())
    }
    fn head(&self) -> Result<Position, StoreError> {
        self.healthy()?;
        Ok(self.state.read().unwrap_or_else(PoisonError::into_inner).head)
    }
    fn sequence(&self, after: u64, limit: usize) -> Result<Vec<SequenceRow>, StoreError> {
        self.healthy()?;
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let skip = usize::try_from(after).unwrap_or(usize::MAX);
        Ok(state.sequence.iter().skip(skip).take(limit.min(SCAN_ROWS_MAX)).copied().collect())
    }
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        self.healthy()?;
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        Ok(Box::new(Frozen { rows: state.rows.clone(), position: state.head }))
    }
}

/// A copy of all rows: for what lives in memory that is cheap enough.
pub struct Frozen {
    /// The rows.
    pub rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// After which append.
    pub position: Position,
}

impl Snapshot for Frozen {
    fn position(&self) -> Position {
        self.position
    }
    fn rows(&self, after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        let rows = self.rows.range::<[u8], _>((scan_start(b"", after), Bound::Unbounded));
        Ok(rows.take(limit.min(SCAN_ROWS_MAX)).map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

type Blobs = Arc<Mutex<BTreeMap<BlobName, Arc<[u8]>>>>;

/// A vault in memory.
#[derive(Default)]
pub struct MemoryVault(Blobs);

struct MemoryWriter {
    blobs: Blobs,
    bytes: Vec<u8>,
}

impl Write for MemoryWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes.write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl VaultWriter for MemoryWriter {
    fn commit(self: Box<Self>, name: BlobName) -> Result<(), StoreError> {
        let Self { blobs, bytes } = *self;
        blobs.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_insert_with(|| bytes.into());
        Ok(())
    }
}

impl Vault for MemoryVault {
    fn create(&self) -> Result<Box<dyn VaultWriter>, StoreError> {
        Ok(Box::new(MemoryWriter { blobs: Arc::clone(&self.0), bytes: Vec::new() }))
    }
    fn open(&self, name: BlobName) -> Result<Option<Box<dyn ReadSeek>>, StoreError> {
        let blobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(blobs.get(&name).map(|bytes| Box::new(Cursor::new(Arc::clone(bytes))) as Box<dyn ReadSeek>))
    }
    fn exists(&self, name: BlobName) -> Result<bool, StoreError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&name))
    }
    fn remove(&self, name: BlobName) -> Result<(), StoreError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        Ok(())
    }
    fn list(&self, after: Option<BlobName>, limit: usize) -> Result<Vec<BlobName>, StoreError> {
        let blobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(blobs.range((from, Bound::Unbounded)).map(|(name, _)| *name).take(limit.min(SCAN_ROWS_MAX)).collect())
    }
}
