//! The vault of local files: one file for each blob, named by its keyed name.
//!
//! ```text
//! blobs/unfinished/<random>.tmp       being written; swept when the vault is opened
//! blobs/<first two digits>/<64 digits>
//! ```
//!
//! It sees sealed bytes only, and no name from outside ever becomes a path.

use super::{BlobName, ReadSeek, SCAN_ROWS_MAX, StoreError, Vault, VaultWriter, io_error};
use crate::secret::{
    self,
    durable::{self, Existing, TEMPORARY},
};
use rustix::fs::Advice;
use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufWriter, Write},
    num::NonZeroU64,
    path::{Path, PathBuf},
};

const UNFINISHED: &str = "unfinished";
const WRITE_BUFFER_BYTES: usize = 128 << 10;
/// So much is on its way to the disk before it has to be: the sync at the end then waits for the last of it alone.
const WRITE_BEHIND_BYTES: u64 = 2 << 20;

/// Blobs in a folder.
pub struct Files {
    folder: PathBuf,
}

impl Files {
    /// Makes the folder of a new vault.
    pub fn create(folder: &Path) -> Result<(), StoreError> {
        fs::create_dir(folder).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => StoreError::Exists(folder.to_owned()),
            _ => StoreError::engine("create the vault", error),
        })?;
        let made = fs::create_dir(folder.join(UNFINISHED)).and_then(|()| {
            durable::sync_folder_of(&folder.join(UNFINISHED))?;
            durable::sync_folder_of(folder)
        });
        made.map_err(io_error("create the vault"))
    }
    /// Opens a vault and sweeps what was not finished. The caller owns the folder.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let unfinished = folder.join(UNFINISHED);
        let entries = fs::read_dir(&unfinished).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::Missing(folder.to_owned()),
            _ => StoreError::engine("open the vault", error),
        })?;
        for entry in entries {
            let path = entry.map_err(io_error("sweep the vault"))?.path();
            if path.extension().is_some_and(|ending| ending == TEMPORARY) {
                fs::remove_file(path).map_err(io_error("sweep the vault"))?;
            }
        }
        Ok(Self { folder: folder.to_owned() })
    }
    fn path(&self, name: BlobName) -> PathBuf {
        let digits = name.to_string();
        let fan: String = digits.chars().take(2).collect();
        self.folder.join(fan).join(digits)
    }
}

struct FileWriter {
    vault: PathBuf,
    temporary: PathBuf,
    /// Taken at commit.
    file: Option<BufWriter<File>>,
    /// Bytes that were written, and those of them that the system was asked to begin with.
    written: u64,
    begun: u64,
}

impl FileWriter {
    /// Has the system begin to write what it took. A hint, which the sync at the end does not rely on.
    fn begin(&mut self) {
        let (Some(file), Some(len)) = (&self.file, NonZeroU64::new(self.written.saturating_sub(self.begun))) else {
            return;
        };
        if len.get() >= WRITE_BEHIND_BYTES {
            let _ = rustix::fs::fadvise(file.get_ref(), self.begun, Some(len), Advice::DontNeed);
            self.begun = self.written;
        }
    }
}

impl FileWriter {
    fn publish(mut self: Box<Self>, name: BlobName, existing: Existing) -> Result<(), StoreError> {
        self.flush().map_err(io_error("write a blob"))?;
        let path = Files { folder: self.vault.clone() }.path(name);
        let publish = |file: &File| -> io::Result<()> {
            if let Some(fan) = path.parent()
                && !fan.exists()
            {
                // Two writers may make it at once; either is right.
                match fs::create_dir(fan) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                    _ => durable::sync_folder_of(fan)?,
                }
            }
            match durable::publish(file, &self.temporary, &path, existing) {
                // The same content under the same name is there: it stays, and its name is made sure of.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    fs::remove_file(&self.temporary)?;
                    durable::sync_folder_of(&path)
                }
                other => other,
            }
        };
        match &self.file {
            Some(file) => publish(file.get_ref()).map_err(io_error("finish a blob"))?,
            None => return Err(StoreError::engine("finish a blob", io::Error::from(io::ErrorKind::BrokenPipe))),
        }
        self.file = None;
        Ok(())
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        if self.file.is_some() {
            // What stays behind is swept at the next start.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

impl Write for FileWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = self.file.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        let taken = file.write(bytes)?;
        self.written = self.written.saturating_add(taken as u64);
        self.begin();
        Ok(taken)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), BufWriter::flush)
    }
}

impl VaultWriter for FileWriter {
    fn commit(self: Box<Self>, name: BlobName) -> Result<(), StoreError> {
        self.publish(name, Existing::Refuse)
    }
    fn replace(self: Box<Self>, name: BlobName) -> Result<(), StoreError> {
        self.publish(name, Existing::Replace)
    }
}

impl Vault for Files {
    fn create(&self) -> Result<Box<dyn VaultWriter>, StoreError> {
        let name = hex::encode(secret::random::<16>()?);
        let temporary = self.folder.join(UNFINISHED).join(format!("{name}.{TEMPORARY}"));
        let file = durable::create(&temporary).map_err(io_error("start a blob"))?;
        let file = Some(BufWriter::with_capacity(WRITE_BUFFER_BYTES, file));
        Ok(Box::new(FileWriter { vault: self.folder.clone(), temporary, file, written: 0, begun: 0 }))
    }
    fn open(&self, name: BlobName) -> Result<Option<Box<dyn ReadSeek>>, StoreError> {
        match File::open(self.path(name)) {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::engine("open a blob", error)),
        }
    }
    fn exists(&self, name: BlobName) -> Result<bool, StoreError> {
        self.path(name).try_exists().map_err(io_error("look for a blob"))
    }
    fn remove(&self, name: BlobName) -> Result<(), StoreError> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Ok(()) => durable::sync_folder_of(&path).map_err(io_error("remove a blob")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(StoreError::engine("remove a blob", error)),
        }
    }
    fn list(&self, after: Option<BlobName>, limit: usize) -> Result<Vec<BlobName>, StoreError> {
        let limit = limit.min(SCAN_ROWS_MAX);
        let mut found = Vec::new();
        for fan in 0..=u8::MAX {
            if found.len() >= limit || after.is_some_and(|after| after.0.first() > Some(&fan)) {
                continue;
            }
            let entries = match fs::read_dir(self.folder.join(hex::encode([fan]))) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(StoreError::engine("list blobs", error)),
            };
            let mut names = Vec::new();
            for entry in entries {
                let name = entry.map_err(io_error("list blobs"))?.file_name();
                names.extend(blob_of(fan, &name));
            }
            names.sort_unstable();
            found.extend(names.into_iter().filter(|name| Some(*name) > after));
        }
        found.truncate(limit);
        Ok(found)
    }
    fn strays(&self, limit: usize) -> Result<Vec<String>, StoreError> {
        let mut strays = Vec::new();
        let mut found = |path: &Path| {
            let path = path.strip_prefix(&self.folder).unwrap_or(path);
            strays.push(path.display().to_string());
            strays.len() >= limit
        };
        for entry in fs::read_dir(&self.folder).map_err(io_error("list blobs"))? {
            let entry = entry.map_err(io_error("list blobs"))?;
            let (name, is_folder) = (entry.file_name(), entry.file_type().map_err(io_error("list blobs"))?.is_dir());
            let fan =
                name.to_str().and_then(|name| hex::decode(name).ok()).filter(|fan| name == hex::encode(fan).as_str());
            let fan = fan.and_then(|fan| <[u8; 1]>::try_from(fan).ok());
            if !is_folder || fan.is_none() && name != UNFINISHED {
                if found(&entry.path()) {
                    return Ok(strays);
                }
                continue;
            }
            for entry in fs::read_dir(entry.path()).map_err(io_error("list blobs"))? {
                let entry = entry.map_err(io_error("list blobs"))?;
                let is_file = entry.file_type().map_err(io_error("list blobs"))?.is_file();
                let is_ours = match fan {
                    Some([fan]) => blob_of(fan, &entry.file_name()).is_some(),
                    // Of what is being written.
                    None => entry.path().extension().is_some_and(|ending| ending == TEMPORARY),
                };
                if !(is_file && is_ours) && found(&entry.path()) {
                    return Ok(strays);
                }
            }
        }
        Ok(strays)
    }
}

/// The blob of a file in a fan: what has another form of the name, or lies in another fan, is none.
fn blob_of(fan: u8, name: &OsStr) -> Option<BlobName> {
    let bytes = name.to_str().and_then(|digits| hex::decode(digits).ok())?;
    let blob = BlobName(<[u8; 32]>::try_from(bytes).ok()?);
    (blob.0.first() == Some(&fan) && name == blob.to_string().as_str()).then_some(blob)
}
