//! The store of a node: two seams, their contracts, and the sealed layer over both.
//!
//! [`Ledger`] keeps small rows in order and makes one append at a time count; [`Vault`] keeps sealed
//! blobs by name. Engines implement them and see sealed bytes only. Everything else in the node
//! uses [`holdings::Holdings`], which seals. No engine is named outside its own file and `open`.
//!
//! Reading order: this file, `layout` (what rows there are), `holdings`, `txn`, `open`.

pub mod chain;
pub mod check;
#[cfg(test)]
mod conformance;
pub mod copy;
pub mod failure;
pub mod files;
pub mod fjall;
pub mod head;
pub mod holdings;
pub mod layout;
pub mod memory;
pub mod open;
mod reseal;
#[cfg(feature = "sled")]
pub mod sled;
#[cfg(test)]
mod tests;
pub mod txn;
#[cfg(test)]
mod vault_tests;
mod words;

use crate::{
    seal::{
        keyring::{KeyringError, Partition},
        stream::StreamError,
        value::SealError,
    },
    secret::RandomError,
};
use std::{
    fmt,
    fs::File,
    io::{self, Read, Seek, Write},
    ops::Bound,
    path::PathBuf,
    sync::Arc,
};

pub use chain::Position;

/// Rows of one append, deletions and expectations counted.
pub const APPEND_ROWS_MAX: usize = 1 << 20;
/// Bytes of one append, keys and values.
pub const APPEND_BYTES_MAX: usize = 256 << 20;
/// Bytes of a row key.
pub const ROW_KEY_BYTES_MAX: usize = 256;
/// Rows that one scan returns, whatever it was asked for.
pub const SCAN_ROWS_MAX: usize = 10_000;

/// A store could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// An expectation did not hold; nothing was written. The caller reads again and decides anew.
    #[error("row `{row}` is not as expected: something else changed it first")]
    Conflict {
        /// Row key in hexadecimal.
        row: String,
    },
    /// A caller tried to change what never changes. A bug of ours.
    #[error("row `{row}` never changes, yet a change was asked for")]
    Immutable {
        /// Row key in hexadecimal.
        row: String,
    },
    /// A caller asked for more than a bound allows.
    #[error("too large: {what} beyond {max}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// The bound.
        max: u64,
    },
    /// An earlier failure left it unknown what is on disk. Only opening the store anew tells.
    #[error("the store refused after an earlier failure: stop the node, check the disk, start again")]
    Poisoned,
    /// The disk or the engine failed.
    #[error("the store could not {doing}: {cause}")]
    Engine {
        /// What was being done.
        doing: &'static str,
        /// What failed.
        cause: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The ledger ends before the position it had acknowledged.
    #[error("the ledger ends at {found}, but {known} was acknowledged: rows are lost; restore a backup")]
    LostTail {
        /// The last sequence number found.
        found: u64,
        /// The last one known.
        known: u64,
    },
    /// The sequence rows do not follow from each other.
    #[error("the ledger's sequence breaks at {at}: rows are missing or changed; restore a backup")]
    Broken {
        /// The first sequence number that does not follow.
        at: u64,
    },
    /// Something that must exist does not. Not a first run.
    #[error("`{0}` is missing, though the store was used before: do not go on without it; restore a backup")]
    Missing(PathBuf),
    /// A file of the engine's own is not as it was written.
    #[error("`{0}` is damaged: do not go on with it; copy the whole home, then restore a backup")]
    Damaged(PathBuf),
    /// There is a store already.
    #[error("`{0}` exists already: a new store needs an empty folder")]
    Exists(PathBuf),
    /// Another process owns the folder.
    #[error(
        "`{0}` is in use by another process: a node that is just starting or ending, or another command. Wait a few seconds and \
         run this again: once a node runs, commands reach it by themselves"
    )]
    InUse(PathBuf),
    /// The store was made with another engine than the settings name.
    #[error(
        "the store was made with the engine `{made}`, and `{asked}` was asked for: set `engine = \"{made}\"` in entente.toml"
    )]
    OtherEngine {
        /// What the store remembers.
        made: String,
        /// What was asked for.
        asked: &'static str,
    },
    /// The store was made with an engine that this build lacks.
    #[error("the store was made with the engine `{0}`, which this build lacks: use a build with the feature `{0}`")]
    NoEngine(String),
    /// A sealed value does not open.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A partition has no keys, or the keyring could not be written.
    #[error(transparent)]
    Keyring(#[from] Arc<KeyringError>),
    /// A sealed blob could not be read or written.
    #[error(transparent)]
    Stream(#[from] Arc<StreamError>),
    /// A blob that the ledger speaks of is not there.
    #[error("blob `{0}` is missing: restore it from a backup")]
    NoBlob(BlobName),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl StoreError {
    /// Whether it leaves unknown what is on disk, or shows that what was written is not there any more.
    /// Nothing goes on after such an error. The others say that nothing was done, and why.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Conflict { .. } | Self::Immutable { .. } | Self::TooLarge { .. } => false,
            Self::Seal(error) => !matches!(error, SealError::TooLong { .. }),
            Self::Keyring(error) => matches!(**error, KeyringError::File(_) | KeyringError::Form(_)),
            // One blob that is gone or damaged says nothing of the others: whoever wanted it goes without, and people
            // are told. Else a partner that asks for it would stop the node as often as it likes.
            Self::NoBlob(_) => false,
            Self::Stream(error) => matches!(**error, StreamError::Io(_)),
            _ => true,
        }
    }
    /// A failure of the disk or the engine while `doing` something.
    pub fn engine(doing: &'static str, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Engine { doing, cause: Arc::from(words::of(cause.into())) }
    }
}

impl StoreError {
    /// Whether it comes of an agreement whose keys were destroyed: nothing is held there, and nothing failed.
    pub fn is_erased(&self) -> bool {
        matches!(self, Self::Keyring(error) if matches!(**error, KeyringError::NoPartition(Partition::Agreement(_))))
    }
}

impl From<KeyringError> for StoreError {
    fn from(error: KeyringError) -> Self {
        Self::Keyring(Arc::new(error))
    }
}

impl From<StreamError> for StoreError {
    fn from(error: StreamError) -> Self {
        Self::Stream(Arc::new(error))
    }
}

/// What an append relies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// There is no such row.
    Absent,
    /// There is one.
    Present,
    /// There is one of exactly this value.
    Equals(Vec<u8>),
}

impl Expect {
    /// Whether what was found is what was expected.
    pub fn holds(&self, found: Option<&[u8]>) -> bool {
        match self {
            Self::Absent => found.is_none(),
            Self::Present => found.is_some(),
            Self::Equals(value) => found == Some(value.as_slice()),
        }
    }
}

/// How an engine puts a file on disk: with a sync of the system, except where a test lets it fail.
pub type SyncFile = Arc<dyn Fn(&File) -> io::Result<()> + Send + Sync>;

/// A row: key and value.
pub type Row = (Vec<u8>, Vec<u8>);

/// All that one append does. Expectations are about the rows before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Append {
    /// Rows to write. A key stands once in `puts` and `deletes` together.
    pub puts: Vec<Row>,
    /// Rows to remove; one that is absent is no error.
    pub deletes: Vec<Vec<u8>>,
    /// What must hold, or nothing is written.
    pub expect: Vec<(Vec<u8>, Expect)>,
}

/// One row of the sequence: what an append left behind about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequenceRow {
    /// Number and running digest.
    pub position: Position,
    /// Digest over the append's rows.
    pub append: [u8; 32],
}

/// The ordered rows of a store.
///
/// Contract, kept by every engine and tested by one suite:
/// - Keys are compared as bytes. All methods may be called from any thread.
/// - An append is all or nothing, and appends have one order: that of their sequence numbers, which
///   have no gap. Each carries a digest over all before it.
/// - After [`submit`](Self::submit) readers see the append and later appends build on it; after
///   [`wait`](Self::wait) it survives a power cut. A crash between the two keeps a prefix of the order:
///   never a later append without an earlier one. [`append`](Self::append) is both, and the commit point.
/// - Appends of several threads share a sync.
/// - After any failure of disk or engine everything is refused until the store is opened anew.
pub trait Ledger: Send + Sync {
    /// The row of this key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// Rows whose key begins with `prefix`, in order, strictly after `after`, at most `limit` and [`SCAN_ROWS_MAX`].
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError>;
    /// The last row whose key begins with `prefix`.
    fn last(&self, prefix: &[u8]) -> Result<Option<Row>, StoreError>;
    /// Checks expectations, fixes the order, and makes the append visible. Not durable yet.
    fn submit(&self, batch: Append) -> Result<Position, StoreError>;
    /// Returns when everything up to `position` is durable.
    fn wait(&self, position: Position) -> Result<(), StoreError>;
    /// The commit point: all or nothing, durable when it returns.
    fn append(&self, batch: Append) -> Result<Position, StoreError> {
        let position = self.submit(batch)?;
        self.wait(position)?;
        Ok(position)
    }
    /// The last append, durable or not.
    fn head(&self) -> Result<Position, StoreError>;
    /// Sequence rows after `after`, in order, at most `limit` and [`SCAN_ROWS_MAX`].
    fn sequence(&self, after: u64, limit: usize) -> Result<Vec<SequenceRow>, StoreError>;
    /// The rows as they stand now, for however long they are read: appends go on, or wait where an engine knows no better,
    /// and none of them shows. Whoever holds one appends nothing and asks for no other in the same thread.
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError>;
}

/// All rows as they stood after one append.
pub trait Snapshot {
    /// After which append.
    fn position(&self) -> Position;
    /// Rows in order, strictly after `after`, at most `limit` and [`SCAN_ROWS_MAX`].
    fn rows(&self, after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError>;
}

/// The name of a blob: keyed by its partition, so it says nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobName(pub [u8; 32]);

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobName({self})")
    }
}

/// A reader of a blob.
pub trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

/// A blob that is being written. Dropped without a commit, it was never there.
pub trait VaultWriter: Write + Send {
    /// Gives the blob its name. When this returns it is durable; where one of that name exists, that one stays.
    fn commit(self: Box<Self>, name: BlobName) -> Result<(), StoreError>;
    /// The same in the place of the one that has the name: the same content, sealed anew.
    fn replace(self: Box<Self>, name: BlobName) -> Result<(), StoreError>;
}

/// Sealed blobs by name.
///
/// Contract: a blob is whole or absent; a name never changes its content (names are keyed by what is
/// sealed), though it may be sealed anew; putting it twice is no error; removing what is absent is none. A blob without a ledger row
/// is garbage, to be swept; a ledger row without its blob is corruption.
pub trait Vault: Send + Sync {
    /// Starts a blob.
    fn create(&self) -> Result<Box<dyn VaultWriter>, StoreError>;
    /// Opens a blob.
    fn open(&self, name: BlobName) -> Result<Option<Box<dyn ReadSeek>>, StoreError>;
    /// Whether there is one.
    fn exists(&self, name: BlobName) -> Result<bool, StoreError>;
    /// Removes a blob.
    fn remove(&self, name: BlobName) -> Result<(), StoreError>;
    /// Names in order, strictly after `after`, at most `limit`.
    fn list(&self, after: Option<BlobName>, limit: usize) -> Result<Vec<BlobName>, StoreError>;
    /// What lies where blobs lie and is none, by the name under which people find it; at most `limit`.
    fn strays(&self, _limit: usize) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
}

/// Where a scan of a prefix begins: after a row of it, or at its first.
pub fn scan_start<'a>(prefix: &'a [u8], after: Option<&'a [u8]>) -> Bound<&'a [u8]> {
    match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    }
}

/// Refuses what is beyond the bounds before an engine sees it.
pub(crate) fn bound(batch: &Append) -> Result<(), StoreError> {
    let rows = batch.puts.len() + batch.deletes.len() + batch.expect.len();
    if rows > APPEND_ROWS_MAX {
        return Err(StoreError::TooLarge { what: "rows of one append", max: APPEND_ROWS_MAX as u64 });
    }
    let keys = batch.puts.iter().map(|(key, _)| key).chain(&batch.deletes);
    if keys.clone().any(|key| key.len() > ROW_KEY_BYTES_MAX || key.is_empty()) {
        return Err(StoreError::TooLarge { what: "a row key", max: ROW_KEY_BYTES_MAX as u64 });
    }
    let bytes: usize =
        keys.map(Vec::len).sum::<usize>() + batch.puts.iter().map(|(_, value)| value.len()).sum::<usize>();
    if bytes > APPEND_BYTES_MAX {
        return Err(StoreError::TooLarge { what: "bytes of one append", max: APPEND_BYTES_MAX as u64 });
    }
    Ok(())
}

pub(crate) fn io_error(doing: &'static str) -> impl FnOnce(io::Error) -> StoreError {
    move |cause| match cause.get_ref().and_then(|inner| inner.downcast_ref::<StoreError>()) {
        // What was told on the way is not told twice.
        Some(inner) => inner.clone(),
        None => StoreError::engine(doing, cause),
    }
}
