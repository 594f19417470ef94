//! Making and opening a store's folder; the only file that chooses engines.
//!
//! ```text
//! <folder>/lock      held while the store is open
//! <folder>/engine    the name of the engine, and a line end
//! <folder>/ledger/   the engine's own files
//! <folder>/head      the last acknowledged position
//! <folder>/blobs/    the vault
//! ```
//!
//! The keyring stands elsewhere and is given. What should exist is never created silently.

use super::{
    Ledger, StoreError, Vault,
    files::Files,
    fjall::{FjallLedger, MEMTABLE_BYTES},
    holdings::Holdings,
    io_error, layout,
    layout::Table,
    memory::{MemoryLedger, MemoryVault},
};
use crate::{
    seal::keyring::{Keyring, Partition},
    secret::{
        self,
        durable::{self, Existing},
    },
};
use entente_protocol::id::StoreId;
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

/// Which engines a store uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Rows and blobs in memory: nothing is read from or written to the folder.
    Memory,
    /// Rows in fjall, blobs in local files.
    Fjall,
    /// Rows in sled, blobs in local files. Of all builds, only those with the feature `sled` have it.
    Sled,
}

/// Engines on disk that this project knows, whether this build has them or not.
pub const ENGINES: [&str; 2] = ["fjall", "sled"];

impl Backend {
    /// An engine on disk by its name in the settings.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "fjall" => Some(Self::Fjall),
            "sled" => Some(Self::Sled),
            _ => None,
        }
    }
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Fjall => "fjall",
            Self::Sled => "sled",
        }
    }
    /// Whether this build has it.
    pub const fn is_built(self) -> bool {
        !matches!(self, Self::Sled) || cfg!(feature = "sled")
    }
}

const LOCK: &str = "lock";
const LEDGER: &str = "ledger";
const HEAD: &str = "head";
const ENGINE: &str = "engine";
const BLOBS: &str = "blobs";
/// Key of the store's id in [`Table::Meta`].
pub const STORE_ID: &[u8] = b"store id";
/// Stands for the id until it was read.
const UNNAMED: StoreId = StoreId::from_bytes([0; 16]);

/// The folder is ours until this is dropped.
pub struct FolderLock(#[expect(dead_code, reason = "the lock lasts as long as the file is open")] File);

impl FolderLock {
    /// Takes the folder, or tells that another process has it.
    pub fn take(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(LOCK);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io_error("open the lock file"))?;
        patiently(|| match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::InUse(folder.to_owned())),
            Err(error) => Err(StoreError::engine("lock the folder", error)),
        })?;
        Ok(Self(file))
    }
}

/// How often, and after how long, a folder in use is asked for again.
const ASKED_AGAIN: u32 = 50;
const ASKED_AFTER: Duration = Duration::from_millis(20);

/// Opens what another process may be about to leave: one that begins a child holds its locks until that child has become
/// its program, whatever it closes meanwhile.
pub(super) fn patiently<T>(open: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
    for _ in 0..ASKED_AGAIN {
        match open() {
            Err(StoreError::InUse(_)) => thread::sleep(ASKED_AFTER),
            other => return other,
        }
    }
    open()
}

/// Makes a new store. `folder` must not exist or be empty, and the keyring must hold no partition:
/// a keyring that does belongs to a store that is missing.
pub fn create(folder: &Path, backend: Backend, keyring: Arc<Keyring>) -> Result<Holdings, StoreError> {
    create_with(folder, backend, keyring, MEMTABLE_BYTES)
}

/// As [`create`], with another bound of what the engine keeps in memory before it writes it to its tree, where the
/// engine knows such a bound: with a small one, tests see the tree being written.
pub fn create_with(
    folder: &Path,
    backend: Backend,
    keyring: Arc<Keyring>,
    memtable_bytes: u64,
) -> Result<Holdings, StoreError> {
    if !keyring.partitions().is_empty() {
        return Err(StoreError::Missing(folder.join(LEDGER)));
    }
    if backend == Backend::Memory {
        return in_memory(keyring);
    }
    fs::create_dir_all(folder).map_err(io_error("create the store"))?;
    if fs::read_dir(folder).map_err(io_error("create the store"))?.next().is_some() {
        return Err(StoreError::Exists(folder.to_owned()));
    }
    let lock = FolderLock::take(folder)?;
    create_ledger(folder, backend, memtable_bytes)?;
    Files::create(&folder.join(BLOBS))?;
    finish(folder, backend)?;
    keyring.ensure_partition(Partition::Node)?;
    keyring.ensure_partition(Partition::Own)?;
    let (ledger, vault) = engines(folder, backend)?;
    first_row(Holdings::over(ledger, vault, keyring, draw_id()?, Some(lock)))
}

/// Makes a store without keys and rows, for a backup that is put back. `folder` must not exist or be empty.
pub(super) fn create_empty(folder: &Path, backend: Backend) -> Result<(FolderLock, Engines), StoreError> {
    fs::create_dir_all(folder).map_err(io_error("create the store"))?;
    if fs::read_dir(folder).map_err(io_error("create the store"))?.next().is_some() {
        return Err(StoreError::Exists(folder.to_owned()));
    }
    let lock = FolderLock::take(folder)?;
    create_ledger(folder, backend, MEMTABLE_BYTES)?;
    Files::create(&folder.join(BLOBS))?;
    let engines = engines(folder, backend)?;
    Ok((lock, engines))
}

/// Says of a store which engine it has. Without this it was never whole.
pub(super) fn finish(folder: &Path, backend: Backend) -> Result<(), StoreError> {
    let engine = format!("{}\n", backend.name());
    // It syncs the folder.
    durable::write(&folder.join(ENGINE), engine.as_bytes(), Existing::Refuse).map_err(io_error("create the store"))?;
    durable::sync_folder_of(folder).map_err(io_error("create the store"))
}

/// Opens a store that exists. A part that is missing is an alarm, never made anew.
pub fn open(folder: &Path, backend: Backend, keyring: Arc<Keyring>) -> Result<Holdings, StoreError> {
    if backend == Backend::Memory {
        return in_memory(keyring);
    }
    open_locked(folder, lock(folder)?, backend, keyring)
}

/// Takes the folder of a store that exists. What lies elsewhere and belongs to it, the keyring before all, is read
/// after this: another process may have been writing it until now.
pub fn lock(folder: &Path) -> Result<FolderLock, StoreError> {
    if folder.exists() { FolderLock::take(folder) } else { Err(StoreError::Missing(folder.to_owned())) }
}

/// Opens the store in a folder that is ours.
pub fn open_locked(
    folder: &Path,
    lock: FolderLock,
    backend: Backend,
    keyring: Arc<Keyring>,
) -> Result<Holdings, StoreError> {
    for part in parts(folder) {
        if !part.exists() {
            return Err(StoreError::Missing(part));
        }
    }
    let made = fs::read_to_string(folder.join(ENGINE)).map_err(io_error("read the name of the engine"))?;
    let made = made.trim_end();
    match Backend::named(made) {
        Some(known) if !known.is_built() => return Err(StoreError::NoEngine(made.to_owned())),
        Some(known) if known == backend => {}
        _ => return Err(StoreError::OtherEngine { made: made.to_owned(), asked: backend.name() }),
    }
    let (ledger, vault) = engines(folder, backend)?;
    named(Holdings::over(ledger, vault, keyring, UNNAMED, Some(lock)), &folder.join(LEDGER))
}

/// A store in memory, for simulated nodes.
pub fn in_memory(keyring: Arc<Keyring>) -> Result<Holdings, StoreError> {
    let ledger = Arc::new(MemoryLedger::new(layout::immutable));
    create_over(ledger, Arc::new(MemoryVault::default()), keyring, draw_id()?)
}

/// A new store over engines of the caller's, which are empty and his alone: for simulated disks.
pub fn create_over(
    ledger: Arc<dyn Ledger>,
    vault: Arc<dyn Vault>,
    keyring: Arc<Keyring>,
    id: StoreId,
) -> Result<Holdings, StoreError> {
    keyring.ensure_partition(Partition::Node)?;
    keyring.ensure_partition(Partition::Own)?;
    first_row(Holdings::over(ledger, vault, keyring, id, None))
}

/// A store that was made with [`create_over`], over the same engines and keyring.
pub fn open_over(
    ledger: Arc<dyn Ledger>,
    vault: Arc<dyn Vault>,
    keyring: Arc<Keyring>,
) -> Result<Holdings, StoreError> {
    named(Holdings::over(ledger, vault, keyring, UNNAMED, None), Path::new(LEDGER))
}

/// Where the parts of a store stand, for backups.
pub fn parts(folder: &Path) -> [PathBuf; 4] {
    [LEDGER, HEAD, BLOBS, ENGINE].map(|part| folder.join(part))
}

fn create_ledger(folder: &Path, backend: Backend, memtable_bytes: u64) -> Result<(), StoreError> {
    let (ledger, head) = (folder.join(LEDGER), folder.join(HEAD));
    match backend {
        #[cfg(feature = "sled")]
        Backend::Sled => super::sled::SledLedger::create(&ledger, &head),
        Backend::Fjall => FjallLedger::create_with(&ledger, &head, memtable_bytes),
        other => Err(StoreError::NoEngine(other.name().to_owned())),
    }
}

pub(super) type Engines = (Arc<dyn Ledger>, Arc<dyn Vault>);

fn engines(folder: &Path, backend: Backend) -> Result<Engines, StoreError> {
    let (ledger, head) = (folder.join(LEDGER), folder.join(HEAD));
    let ledger: Arc<dyn Ledger> = match backend {
        #[cfg(feature = "sled")]
        Backend::Sled => Arc::new(super::sled::SledLedger::open(&ledger, &head)?),
        Backend::Fjall => Arc::new(FjallLedger::open(&ledger, &head)?),
        other => return Err(StoreError::NoEngine(other.name().to_owned())),
    };
    Ok((ledger, Arc::new(Files::open(&folder.join(BLOBS))?)))
}

fn draw_id() -> Result<StoreId, StoreError> {
    Ok(StoreId::from_bytes(secret::random()?))
}

/// The id is a row of the store, read with a handle that does not know it yet.
fn named(mut holdings: Holdings, ledger: &Path) -> Result<Holdings, StoreError> {
    let id = holdings.get(Partition::Node, Table::Meta, STORE_ID)?;
    let id = id.as_deref().and_then(StoreId::from_slice);
    holdings.name(id.ok_or_else(|| StoreError::Missing(ledger.to_owned()))?);
    Ok(holdings)
}

fn first_row(holdings: Holdings) -> Result<Holdings, StoreError> {
    let mut txn = holdings.begin();
    txn.put_new(Partition::Node, Table::Meta, STORE_ID, holdings.store_id().as_bytes())?;
    txn.commit()?;
    Ok(holdings)
}
