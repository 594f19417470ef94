//! A ledger and a vault in which one call fails: it fails and did nothing, it fails and did its work all the same, or
//! it works and is the last that does, as when the process dies.
//!
//! They stand between a node and engines in memory, which outlive the node as a disk does. After a call has failed,
//! calls that still come are counted: a node whose store failed must make none.

use entente_node::store::{
    Append, BlobName, Ledger, Position, ReadSeek, Row, SequenceRow, Snapshot, StoreError, Vault, VaultWriter,
};
use std::{
    io::{self, Read, Seek, SeekFrom, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// How the call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and nothing was written.
    Undone,
    /// It fails, but what it was to do is done.
    Done,
    /// It works, and nothing after it does.
    Last,
}

/// Decides which call goes wrong, counting those of one ledger and one vault together from 0.
#[derive(Debug)]
pub struct Plan {
    at: u64,
    fault: Fault,
    calls: AtomicU64,
    /// Numbers of the calls that write, for whoever plans the next fault.
    writes: std::sync::Mutex<Vec<u64>>,
    late: AtomicU64,
}

/// What becomes of a call.
enum Fate {
    Works,
    FailsUndone,
    FailsDone,
}

impl Plan {
    /// Lets call number `at` go wrong.
    #[must_use]
    pub fn new(at: u64, fault: Fault) -> Arc<Self> {
        let (calls, late) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { at, fault, calls, writes: std::sync::Mutex::default(), late })
    }
    /// Lets everything work, and counts.
    #[must_use]
    pub fn none() -> Arc<Self> {
        Self::new(u64::MAX, Fault::Undone)
    }
    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }
    /// Numbers of the calls so far that wrote or synced.
    pub fn writes(&self) -> Vec<u64> {
        self.writes.lock().map(|writes| writes.clone()).unwrap_or_default()
    }
    /// Whether the call that goes wrong has come.
    pub fn has_fired(&self) -> bool {
        self.calls() > self.at
    }
    /// Calls that came after one had failed.
    pub fn late(&self) -> u64 {
        self.late.load(Ordering::SeqCst)
    }
    fn fate(&self, writes: bool) -> Fate {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        if writes && let Ok(mut known) = self.writes.lock() {
            known.push(number);
        }
        let failed = if self.fault == Fault::Last { self.at.saturating_add(1) } else { self.at };
        if number > failed {
            self.late.fetch_add(1, Ordering::SeqCst);
        }
        match self.fault {
            Fault::Undone if number == self.at => Fate::FailsUndone,
            Fault::Done if number == self.at => Fate::FailsDone,
            // The process is gone: whatever still runs of it reaches no disk.
            Fault::Last if number > self.at => Fate::FailsUndone,
            _ => Fate::Works,
        }
    }
    fn call<T>(&self, writes: bool, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let broken = || StoreError::engine("fail for a test", "this call was chosen");
        match self.fate(writes) {
            Fate::Works => work(),
            Fate::FailsUndone => Err(broken()),
            Fate::FailsDone => work().and_then(|_| Err(broken())),
        }
    }
    fn io<T>(&self, writes: bool, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let broken = || io::Error::other("this call was chosen to fail");
        match self.fate(writes) {
            Fate::Works => work(),
            Fate::FailsUndone => Err(broken()),
            Fate::FailsDone => work().and_then(|_| Err(broken())),
        }
    }
}

/// A ledger with a plan.
pub struct FaultyLedger {
    /// What stands behind it.
    pub inner: Arc<dyn Ledger>,
    /// The plan.
    pub plan: Arc<Plan>,
}

impl Ledger for FaultyLedger {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.plan.call(false, || self.inner.get(key))
    }
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.plan.call(false, || self.inner.scan(prefix, after, limit))
    }
    fn last(&self, prefix: &[u8]) -> Result<Option<Row>, StoreError> {
        self.plan.call(false, || self.inner.last(prefix))
    }
    fn submit(&self, batch: Append) -> Result<Position, StoreError> {
        self.plan.call(true, || self.inner.submit(batch))
    }
    fn wait(&self, position: Position) -> Result<(), StoreError> {
        self.plan.call(true, || self.inner.wait(position))
    }
    fn head(&self) -> Result<Position, StoreError> {
        self.plan.call(false, || self.inner.head())
    }
    fn sequence(&self, after: u64, limit: usize) -> Result<Vec<SequenceRow>, StoreError> {
        self.plan.call(false, || self.inner.sequence(after, limit))
    }
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        self.plan.call(false, || self.inner.snapshot())
    }
}

/// A vault with a plan.
pub struct FaultyVault {
    /// What stands behind it.
    pub inner: Arc<dyn Vault>,
    /// The plan.
    pub plan: Arc<Plan>,
}

struct FaultyWriter {
    inner: Box<dyn VaultWriter>,
    plan: Arc<Plan>,
}

impl Write for FaultyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.plan.io(true, || self.inner.write(bytes))
    }
    fn flush(&mut self) -> io::Result<()> {
        self.plan.io(true, || self.inner.flush())
    }
}

/// A blob that is read, with a plan.
struct FaultyReader {
    inner: Box<dyn ReadSeek>,
    plan: Arc<Plan>,
}

impl Read for FaultyReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.plan.io(false, || self.inner.read(bytes))
    }
}

impl Seek for FaultyReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.plan.io(false, || self.inner.seek(to))
    }
}

impl VaultWriter for FaultyWriter {
    fn commit(self: Box<Self>, name: BlobName) -> Result<(), StoreError> {
        let Self { inner, plan } = *self;
        plan.call(true, || inner.commit(name))
    }
    fn replace(self: Box<Self>, name: BlobName) -> Result<(), StoreError> {
        let Self { inner, plan } = *self;
        plan.call(true, || inner.replace(name))
    }
}

impl Vault for FaultyVault {
    fn create(&self) -> Result<Box<dyn VaultWriter>, StoreError> {
        let plan = Arc::clone(&self.plan);
        self.plan
            .call(true, || Ok(Box::new(FaultyWriter { inner: self.inner.create()?, plan }) as Box<dyn VaultWriter>))
    }
    fn open(&self, name: BlobName) -> Result<Option<Box<dyn ReadSeek>>, StoreError> {
        self.plan.call(false, || {
            let reader = |inner| Box::new(FaultyReader { inner, plan: Arc::clone(&self.plan) }) as Box<dyn ReadSeek>;
            Ok(self.inner.open(name)?.map(reader))
        })
    }
    fn exists(&self, name: BlobName) -> Result<bool, StoreError> {
        self.plan.call(false, || self.inner.exists(name))
    }
    fn remove(&self, name: BlobName) -> Result<(), StoreError> {
        self.plan.call(true, || self.inner.remove(name))
    }
    fn list(&self, after: Option<BlobName>, limit: usize) -> Result<Vec<BlobName>, StoreError> {
        self.plan.call(false, || self.inner.list(after, limit))
    }
    fn strays(&self, limit: usize) -> Result<Vec<String>, StoreError> {
        self.plan.call(false, || self.inner.strays(limit))
    }
}
