//! A file that people asked for (a bundle, a package, an audit export): under another name until it is whole and on disk.

use crate::{error::Fault, secret::durable};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::{
    fmt::Display,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// One that is being written, and gone if it does not get its name.
pub struct Unfinished {
    path: PathBuf,
    temporary: PathBuf,
}

impl Unfinished {
    /// Begins the file that will be at `path`.
    ///
    /// # Errors
    /// If nothing can be written beside it.
    pub fn create(path: &Path) -> Result<(Self, File), Fault> {
        let fails = |e: io::Error| cannot(path, &e);
        let temporary = durable::temporary_beside(path).map_err(fails)?;
        let file = durable::create(&temporary).map_err(fails)?;
        Ok((Self { path: path.to_owned(), temporary }, file))
    }

    /// What people are told when it cannot be written.
    #[must_use]
    pub fn cannot(&self, error: &dyn Display) -> Fault {
        cannot(&self.path, error)
    }

    /// Gives it its name, once all of it is on disk. With `force` in the place of another.
    ///
    /// # Errors
    /// If it cannot be made durable, or another has the name.
    pub fn publish(self, file: &File, force: bool) -> Result<(), Fault> {
        let fails = |e: io::Error| self.cannot(&e);
        file.sync_all().map_err(fails)?;
        // A stick's file system may know no hard links: this is as safe, and asks for none.
        let flags = if force { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        renameat_with(CWD, &self.temporary, CWD, &self.path, flags).map_err(|e| match e {
            rustix::io::Errno::EXIST => exists(&self.path),
            e => fails(e.into()),
        })?;
        durable::sync_folder_of(&self.path).map_err(fails)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After it got its name there is nothing of this one.
        let _ = fs::remove_file(&self.temporary);
    }
}

fn cannot(path: &Path, error: &dyn Display) -> Fault {
    let message = format!("`{}` cannot be written: {error}; nothing of it was kept", path.display());
    Fault::input("write", message)
}

/// A file that is there is not written over.
#[must_use]
pub fn exists(path: &Path) -> Fault {
    let message =
        format!("`{}` exists already, and is not overwritten: name another file, or add --force", path.display());
    Fault::input("exists", message)
}
