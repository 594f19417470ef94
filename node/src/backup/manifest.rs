//! `backup.json`: which archives lie in a folder, in which order, and the digest of each. In clear, and without a word of
//! what is in them: ids, times, counts.
//!
//! It is written last, so an archive that it does not name was never finished. Every archive repeats inside, sealed, what
//! is said of it here, and the digest of the one before: a manifest that was changed convinces nobody who can open them.

use super::{BackupError, archive::Written};
use crate::{
    regular,
    secret::{durable, keyfile::KEY_FILE_BYTES_MAX},
};
use entente_protocol::{
    id::{OrgId, StoreId},
    primitive::sha256,
    time::UnixMillis,
};
use ring::digest;
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Its name.
pub const NAME: &str = "backup.json";
/// Name of the recovery form of the keyring, which stands beside the archives.
pub const KEYRING: &str = "keyring.recovery.age";
/// The one before, while a backup is made that needs the newer: until it counts, the archives need this one.
pub const KEYRING_BEFORE: &str = "keyring.recovery.before.age";
/// The only form so far.
pub const FORMAT: u32 = 1;
/// Longest manifest that is read: tens of thousands of archives.
const BYTES_MAX: u64 = 16 << 20;

/// What lies in a folder of backups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// Of which organisation.
    pub organisation: String,
    /// Of which store.
    pub store: String,
    /// Oldest first.
    pub archives: Vec<Archive>,
}

/// One archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// 1, 2, ...
    pub number: u32,
    /// Its file.
    pub file: String,
    /// Whether it needs none before it.
    pub full: bool,
    /// When it was made.
    pub at: UnixMillis,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Length of the file.
    pub bytes: u64,
    /// Appends of the store up to the rows in it.
    pub appends: u64,
    /// Rows written, and rows taken away.
    pub rows: u64,
    /// Rows that were there and are not any more.
    pub gone: u64,
    /// Files of records.
    pub blobs: u64,
    /// SHA-256 of the keyring that was put beside it: keys that opened it may be destroyed in a later one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyring: Option<String>,
    /// How often keys had been destroyed at the end of a rotation. Of two archives with different counts the older one may
    /// not open with the keyring of the newer.
    #[serde(default, skip_serializing_if = "is_none")]
    pub retired: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Archive {
    /// The file of an archive.
    pub fn file_of(number: u32, full: bool) -> String {
        format!("{number:04}-{}.age", if full { "full" } else { "more" })
    }
}

/// SHA-256 of a keyring's bytes, as an archive states it.
pub fn keyring_digest(bytes: &[u8]) -> String {
    hex::encode(sha256(&[bytes]))
}

/// The keyring that opens an archive: the one beside it, but where a backup was cut off that had put a newer one there.
pub fn keyring_of(folder: &Path, archive: &Archive) -> PathBuf {
    let is_its = |path: &Path| {
        let bytes = regular::bytes(path, KEY_FILE_BYTES_MAX).ok();
        bytes.is_some_and(|bytes| archive.keyring == Some(keyring_digest(&bytes)))
    };
    let (now, before) = (folder.join(KEYRING), folder.join(KEYRING_BEFORE));
    if !is_its(&now) && is_its(&before) { before } else { now }
}

impl Manifest {
    /// One without archives.
    pub fn new(organisation: OrgId, store: StoreId) -> Self {
        Self { format: FORMAT, organisation: organisation.to_string(), store: store.to_string(), archives: Vec::new() }
    }
    /// Reads that of a folder.
    pub fn read(folder: &Path) -> Result<Option<Self>, BackupError> {
        let path = folder.join(NAME);
        let text = match regular::text(&path, BYTES_MAX) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(BackupError::read(&path, e)),
        };
        let manifest: Self = serde_json::from_str(&text).map_err(|_| BackupError::Damaged(path.clone()))?;
        let rise = manifest.archives.iter().zip(manifest.archives.iter().skip(1));
        // A name of a file is one that we would have given: no other becomes a path.
        let named = manifest.archives.iter().all(|one| one.file == Archive::file_of(one.number, one.full));
        if manifest.format != FORMAT || !named || !rise.clone().all(|(one, next)| one.number < next.number) {
            return Err(BackupError::Damaged(path));
        }
        Ok(Some(manifest))
    }
    /// Reads that of a folder where there must be one.
    pub fn expect(folder: &Path) -> Result<Self, BackupError> {
        Self::read(folder)?
            .filter(|known| !known.archives.is_empty())
            .ok_or_else(|| BackupError::None(folder.to_owned()))
    }
    /// Writes it, at one instant.
    pub fn write(&self, folder: &Path) -> Result<(), BackupError> {
        let path = folder.join(NAME);
        let text = serde_json::to_string_pretty(self).map_err(|_| BackupError::Damaged(path.clone()))?;
        durable::write(&path, format!("{text}\n").as_bytes(), durable::Existing::Replace)
            .map_err(|e| BackupError::at(&path, e))
    }
    /// Whether keys that opened an archive were destroyed since it was made.
    pub fn is_shut(&self, archive: &Archive) -> bool {
        self.archives.last().is_some_and(|last| last.retired > archive.retired)
    }
    /// The archives that a restore of one of them needs: the last full one up to it, and those between. Without a number,
    /// of the newest.
    pub fn chain(&self, number: Option<u32>) -> Option<&[Archive]> {
        let last = match number {
            Some(number) => self.archives.iter().position(|one| one.number == number)?,
            None => self.archives.len().checked_sub(1)?,
        };
        let first = self.archives.get(..=last)?.iter().rposition(|one| one.full)?;
        self.archives.get(first..=last)
    }
}

impl Written {
    /// The digest, as a manifest says it.
    pub fn sha256_hex(&self) -> String {
        hex::encode(self.sha256)
    }
}

/// Where an archive lies.
pub fn path(folder: &Path, archive: &Archive) -> PathBuf {
    folder.join(&archive.file)
}

/// Whether a file of the folder is as the manifest says: there, whole and unchanged. No key is needed.
pub fn intact(folder: &Path, archive: &Archive, step: &mut dyn FnMut(u64)) -> Result<(), BackupError> {
    let path = path(folder, archive);
    let mut file: File = regular::open(&path).map_err(|e| BackupError::read(&path, e))?;
    let (mut digest, mut bytes) = (digest::Context::new(&digest::SHA256), 0u64);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).map_err(|e| BackupError::read(&path, e))?;
        if read == 0 {
            break;
        }
        digest.update(buffer.get(..read).unwrap_or_default());
        bytes = bytes.saturating_add(read as u64);
        step(read as u64);
    }
    if bytes < archive.bytes {
        return Err(BackupError::CutShort { path, bytes, of: archive.bytes });
    }
    if bytes != archive.bytes || hex::encode(digest.finish().as_ref()) != archive.sha256 {
        return Err(BackupError::Changed(path));
    }
    Ok(())
}
