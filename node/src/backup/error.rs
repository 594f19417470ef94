//! Why a backup could not be made or read, and whose fault that is.

use crate::{
    error::Fault, records::stored::RowDamage, seal::stream::StreamError, secret::RandomError, store::StoreError,
};
use std::{
    io,
    path::{Path, PathBuf},
};

/// A backup could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The disk that the backup goes to.
    #[error("`{path}` cannot be written: {cause}; what was in the folder before is whole")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// A file of the backup, or one that goes into it.
    #[error("`{path}` cannot be read: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// A blob of ours.
    #[error("a file that the store holds cannot be read: {0}; `entente check` names it")]
    Blob(io::Error),
    /// A blob ended before its length.
    #[error("a file that the store holds ended too early; `entente check` names it")]
    Short,
    /// There is none.
    #[error("`{0}` holds no backup: there is no `backup.json` in it that names one")]
    None(PathBuf),
    /// Not what we wrote.
    #[error("`{0}` is damaged, or not a file of a backup: take another copy of it")]
    Damaged(PathBuf),
    /// Another number of bytes.
    #[error("`{path}` is cut short: {bytes} of {of} bytes are there; take another copy of it")]
    CutShort {
        /// The file.
        path: PathBuf,
        /// Bytes that are there.
        bytes: u64,
        /// Bytes that were written.
        of: u64,
    },
    /// Other bytes.
    #[error("`{0}` is not the file that `backup.json` names: it was changed, or is another backup's")]
    Changed(PathBuf),
    /// What is inside is not what is said of it.
    #[error("`{path}` does not belong here: {why}")]
    Swapped {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// Sealed to others.
    #[error("`{0}` is sealed to others: it is another organisation's, or this is not its recovery file")]
    Other(PathBuf),
    /// The folder has backups of something else.
    #[error("`{folder}` holds backups of {of}: name another folder")]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// Of what.
        of: String,
    },
    /// Another backup is being made into it.
    #[error("another backup into `{0}` is under way: wait for it")]
    Busy(PathBuf),
    /// Where nobody would look for it when the home is gone.
    #[error(
        "`{0}` lies in the home: what is lost with the home is no backup; name a folder elsewhere, on another disk"
    )]
    InHome(PathBuf),
    /// A node over a store in memory.
    #[error("this node keeps its keys in memory: there is nothing to back up")]
    InMemory,
    /// Our own store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row of ours.
    #[error(transparent)]
    Row(#[from] RowDamage),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl BackupError {
    pub(super) fn at(path: &Path, cause: impl Into<io::Error>) -> Self {
        Self::Write { path: path.to_owned(), cause: cause.into() }
    }
    pub(super) fn read(path: &Path, cause: io::Error) -> Self {
        Self::Read { path: path.to_owned(), cause }
    }
    /// What a sealed stream says of itself.
    pub(super) fn broken(path: &Path, cause: io::Error) -> Self {
        match cause.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::Damaged(path.to_owned()),
            _ => Self::read(path, cause),
        }
    }
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Io(error) => error,
            other => Self::other(other.to_string()),
        }
    }
}

impl From<BackupError> for Fault {
    fn from(error: BackupError) -> Self {
        match &error {
            BackupError::Store(_) | BackupError::Row(_) | BackupError::Blob(_) | BackupError::Short => {
                Self::store(error)
            }
            BackupError::Write { .. } | BackupError::Busy(_) | BackupError::Random(_) => Self::setup("backup", error),
            _ => Self::input("backup", error),
        }
    }
}
