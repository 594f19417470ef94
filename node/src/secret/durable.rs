//! Files that are either the old or the new ones, never half: temporary file, sync, rename, sync folder.
//!
//! Key files, the keyring, blobs and exported bundles are written here. No content is looked at.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// What to do where a file of that name exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Fail with `AlreadyExists`, however the race goes.
    Refuse,
    /// Put the new file in its place at one instant.
    Replace,
}

/// Ending of files that are not finished. Whatever carries it after a crash is garbage.
pub const TEMPORARY: &str = "tmp";

/// Writes `bytes` to `path` with mode 0600; when it returns, the file and its name are on disk.
pub fn write(path: &Path, bytes: &[u8], existing: Existing) -> io::Result<()> {
    let temporary = temporary_beside(path)?;
    let result = create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        publish(&file, &temporary, path, existing)
    });
    if result.is_err() {
        // The error counts, not this: what is left behind is swept by its ending.
        let _ = fs::remove_file(&temporary);
    }
    result
}

/// A name beside `path` for its unfinished form; random, so that two writers do not meet.
pub fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    let random = super::random::<8>().map_err(io::Error::other)?;
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a path without a name"))?;
    let mut name = name.to_os_string();
    name.push(format!(".{}.{TEMPORARY}", hex::encode(random)));
    Ok(path.with_file_name(name))
}

/// Creates a new file that only its owner may read.
pub fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Syncs a written file, gives it its final name, and syncs the folder.
pub fn publish(file: &File, temporary: &Path, path: &Path, existing: Existing) -> io::Result<()> {
    file.sync_all()?;
    match existing {
        Existing::Replace => fs::rename(temporary, path)?,
        Existing::Refuse => {
            // A hard link fails where the name is taken; a rename would replace it silently.
            fs::hard_link(temporary, path)?;
            fs::remove_file(temporary)?;
        }
    }
    sync_folder_of(path)
}

/// Syncs the folder that holds `path`, so that names made or removed in it last.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn refuses_to_replace_unless_asked_and_leaves_nothing_behind() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("file");
        write(&path, b"one", Existing::Refuse)?;
        let refused = write(&path, b"two", Existing::Refuse);
        assert_eq!(refused.map_err(|e| e.kind()), Err(io::ErrorKind::AlreadyExists));
        assert_eq!(fs::read(&path)?, b"one");
        write(&path, b"three", Existing::Replace)?;
        assert_eq!(fs::read(&path)?, b"three");
        assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path())?.count(), 1);
        Ok(())
    }
}
