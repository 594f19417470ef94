//! Making and opening a store's folder; the only file that chooses engines.
//!
//! ```text
//! <folder>/lock      held while the store is open
//! <folder>/ledger/   the engine's own files
//! <folder>/head      the last acknowledged position
//! <folder>/blobs/    the vault
//! ```
//!
//! The keyring stands elsewhere and is given. What should exist is never created silently.

use super::{
    Ledger, StoreError, Vault,
    files::Files,
    fjall::FjallLedger,
    holdings::Holdings,
    io_error, layout,
    layout::Table,
    memory::{MemoryLedger, MemoryVault},
};
use crate::{
    seal::keyring::{Keyring, Partition},
    secret::{self, durable},
};
use entente_protocol::id::StoreId;
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Which engines a store uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Rows and blobs in memory: nothing is read from or written to the folder.
    Memory,
    /// Rows in fjall, blobs in local files.
    Fjall,
}

const LOCK: &str = "lock";
const LEDGER: &str = "ledger";
const HEAD: &str = "head";
const BLOBS: &str = "blobs";
/// Key of the store's id in [`Table::Meta`].
const STORE_ID: &[u8] = b"store id";
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
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::InUse(folder.to_owned())),
            Err(error) => Err(StoreError::engine("lock the folder", error)),
        }
    }
}

/// Makes a new store. `folder` must not exist or be empty, and the keyring must hold no partition:
/// a keyring that does belongs to a store that is missing.
pub fn create(folder: &Path, backend: Backend, keyring: Arc<Keyring>) -> Result<Holdings, StoreError> {
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
    FjallLedger::create(&folder.join(LEDGER), &folder.join(HEAD))?;
    Files::create(&folder.join(BLOBS))?;
    durable::sync_folder_of(&folder.join(LOCK)).map_err(io_error("create the store"))?;
    keyring.ensure_partition(Partition::Node)?;
    keyring.ensure_partition(Partition::Own)?;
    let (ledger, vault) = engines(folder)?;
    first_row(Holdings::over(Arc::new(ledger), Arc::new(vault), keyring, draw_id()?, Some(lock)))
}

/// Opens a store that exists. A part that is missing is an alarm, never made anew.
pub fn open(folder: &Path, backend: Backend, keyring: Arc<Keyring>) -> Result<Holdings, StoreError> {
    if backend == Backend::Memory {
        return in_memory(keyring);
    }
    open_locked(folder, lock(folder)?, keyring)
}

/// Takes the folder of a store that exists. What lies elsewhere and belongs to it, the keyring before all, is read
/// after this: another process may have been writing it until now.
pub fn lock(folder: &Path) -> Result<FolderLock, StoreError> {
    if folder.exists() { FolderLock::take(folder) } else { Err(StoreError::Missing(folder.to_owned())) }
}

/// Opens the store in a folder that is ours.
pub fn open_locked(folder: &Path, lock: FolderLock, keyring: Arc<Keyring>) -> Result<Holdings, StoreError> {
    for part in [LEDGER, HEAD, BLOBS].map(|part| folder.join(part)) {
        if !part.exists() {
            return Err(StoreError::Missing(part));
        }
    }
    let (ledger, vault) = engines(folder)?;
    named(Holdings::over(Arc::new(ledger), Arc::new(vault), keyring, UNNAMED, Some(lock)), &folder.join(LEDGER))
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
pub fn parts(folder: &Path) -> [PathBuf; 3] {
    [LEDGER, HEAD, BLOBS].map(|part| folder.join(part))
}

fn engines(folder: &Path) -> Result<(FjallLedger, Files), StoreError> {
    let ledger = FjallLedger::open(&folder.join(LEDGER), &folder.join(HEAD))?;
    Ok((ledger, Files::open(&folder.join(BLOBS))?))
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
