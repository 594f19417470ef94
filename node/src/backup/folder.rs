//! The folder that backups go to: outside the home, of one store, one backup at a time, and nothing unfinished in it.

use super::{
    BackupError, index,
    manifest::{self, Archive, Manifest},
};
use crate::{
    config::Home,
    node::Node,
    regular,
    secret::{
        durable::{self, Existing, TEMPORARY},
        keyfile::KEY_FILE_BYTES_MAX,
    },
    store::BlobName,
};
use rustix::fs::{FlockOperation, flock};
use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, OpenOptions},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

/// Files of a folder, in order; none of those below it, and none that is unfinished.
pub(super) fn files_below(folder: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let failed = |e| BackupError::read(folder, e);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_file = entry.file_type().map_err(failed)?.is_file();
        if is_file && entry.path().extension().is_none_or(|ending| ending != TEMPORARY) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Makes the folder where there is none, outside the home.
pub(super) fn prepare(folder: &Path, home: &Home) -> Result<(), BackupError> {
    let failed = |e| BackupError::at(folder, e);
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let within = |path: &Path| fs::canonicalize(path).map_err(|e| BackupError::read(path, e));
    if within(folder)?.starts_with(within(home.path())?) {
        return Err(BackupError::InHome(folder.to_owned()));
    }
    Ok(())
}

/// One backup at a time into a folder.
pub(super) fn lock(folder: &Path) -> Result<File, BackupError> {
    let path = folder.join("backup.lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(|e| BackupError::at(&path, e))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => Err(BackupError::Busy(folder.to_owned())),
        // Some network disks know no locks.
        _ => Ok(file),
    }
}

/// What lies in the folder, which must be of this store.
pub(super) fn known(node: &Node, folder: &Path) -> Result<Manifest, BackupError> {
    let (org, store) = (node.keys.org.to_string(), node.holdings.store_id().to_string());
    let manifest = Manifest::read(folder)?.unwrap_or_else(|| Manifest::new(node.keys.org, node.holdings.store_id()));
    let foreign = |of| Err(BackupError::Foreign { folder: folder.to_owned(), of });
    if manifest.organisation != org {
        return foreign(format!("another organisation, {}", manifest.organisation));
    }
    if manifest.store != store {
        return foreign(format!("another store of this organisation, {}", manifest.store));
    }
    Ok(manifest)
}

/// What the newest archive and those before it hold; nothing where that cannot be told, or one of them is not there.
pub(super) fn held(
    folder: &Path,
    last: &Archive,
    (identity, rotations): (&crate::seal::hybrid::Identity, &[u8]),
) -> Option<(index::Rows, BTreeSet<BlobName>)> {
    let [rows, files] = index::paths(folder, last.number);
    let manifest = Manifest::read(folder).ok()??;
    let whole = |one: &Archive| fs::metadata(manifest::path(folder, one)).is_ok_and(|file| file.len() == one.bytes);
    if !manifest.chain(None)?.iter().all(whole) {
        tracing::warn!("an archive is missing or cut short: the next one is full");
        return None;
    }
    match (index::Rows::open(&rows, identity), index::names(&files, identity)) {
        (Ok(rows), Ok((names, then))) if then == rotations => Some((rows, names)),
        (Ok(_), Ok(_)) => {
            tracing::info!("files are sealed anew since: this archive is full");
            None
        }
        _ => {
            tracing::warn!("what the archives hold cannot be told: the next one is full");
            None
        }
    }
}

/// Keeps the keyring that opens what counts so far, where a newer one takes its place: until the new archive counts.
pub(crate) fn keep_keyring(folder: &Path, last: Option<&Archive>, newer: &[u8]) -> Result<(), BackupError> {
    let Some(last) = last else { return Ok(()) };
    let (path, before) = (manifest::keyring_of(folder, last), folder.join(manifest::KEYRING_BEFORE));
    let Ok(bytes) = regular::bytes(&path, KEY_FILE_BYTES_MAX) else { return Ok(()) };
    if path == before || bytes == newer {
        return Ok(());
    }
    durable::write(&before, &bytes, Existing::Replace).map_err(|e| BackupError::at(&before, e))
}

/// Removes the keyring before, where the newest archive needs it no more.
pub(super) fn drop_keyring_before(folder: &Path, last: &Archive) -> Result<(), BackupError> {
    let before = folder.join(manifest::KEYRING_BEFORE);
    if manifest::keyring_of(folder, last) == before {
        return Ok(());
    }
    match fs::remove_file(&before) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(BackupError::at(&before, e)),
        _ => Ok(()),
    }
}

/// Removes what a killed backup left: unfinished files, and archives that never counted.
pub(super) fn sweep(folder: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let failed = |e| BackupError::at(folder, e);
    if let Some(last) = manifest.archives.last() {
        drop_keyring_before(folder, last)?;
    }
    let last = manifest.archives.last().map_or(0, |last| last.number);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let number = name.split_once('-').and_then(|(number, _)| number.parse::<u32>().ok());
        let ours = number.is_some() || name.starts_with(manifest::NAME) || name.starts_with(manifest::KEYRING);
        let unfinished = ours && name.ends_with(&format!(".{TEMPORARY}"));
        let index = name.ends_with(".index") && number.is_some_and(|number| number != last);
        let never = number.is_some_and(|number| {
            number > last && [true, false].iter().any(|full| name == Archive::file_of(number, *full))
        });
        if unfinished || index || never {
            fs::remove_file(&path).map_err(|e| BackupError::at(&path, e))?;
        }
    }
    Ok(())
}

/// Whether a folder lies on the disk of the home, with which it would be lost.
pub(super) fn same_disk(folder: &Path, home: &Home) -> bool {
    let disk = |path: &Path| fs::metadata(path).map(|found| found.dev());
    matches!((disk(folder), disk(home.path())), (Ok(one), Ok(other)) if one == other)
}
