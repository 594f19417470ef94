//! The file of an export: items one after another under another name, and given its own when all are on disk.

use crate::{bundle, error::Fault, node::Node, secret::durable};
use entente_protocol::{
    audit::{Item, Sealer},
    limits,
};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

/// An export that is being written, and gone if it does not get its name.
pub struct Writer {
    path: PathBuf,
    temporary: PathBuf,
    out: BufWriter<File>,
    sealer: Sealer,
    written: u64,
}

impl Writer {
    /// Begins an export that will be at `path`.
    pub fn create(path: &Path) -> Result<Self, Fault> {
        let fails = |e: io::Error| cannot(path, &e);
        let temporary = durable::temporary_beside(path).map_err(fails)?;
        let out = BufWriter::new(durable::create(&temporary).map_err(fails)?);
        Ok(Self { path: path.to_owned(), temporary, out, sealer: Sealer::default(), written: 0 })
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.written += bytes.len() as u64;
        if self.written > limits::AUDIT_BYTES_MAX {
            return Err(Fault::input("too-large", "there is more to audit than one export holds"));
        }
        self.out.write_all(bytes).map_err(|e| cannot(&self.path, &e))
    }

    /// Writes the next item.
    pub fn item(&mut self, item: &Item) -> Result<(), Fault> {
        let bytes = self.sealer.item(item)?;
        self.raw(&bytes)
    }

    /// Signs it: all of it is on disk before it gets its name. Gives its bytes.
    pub fn publish(mut self, node: &Node, force: bool) -> Result<u64, Fault> {
        let end = std::mem::take(&mut self.sealer).end(&node.keys.runs)?;
        self.raw(&end)?;
        let fails = |e: io::Error| cannot(&self.path, &e);
        self.out.flush().map_err(fails)?;
        self.out.get_ref().sync_all().map_err(fails)?;
        // As a package gets its name: asks for no hard links, which a stick's file system may not know.
        let flags = if force { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        renameat_with(CWD, &self.temporary, CWD, &self.path, flags).map_err(|e| match e {
            rustix::io::Errno::EXIST => bundle::file::exists(&self.path),
            e => fails(e.into()),
        })?;
        durable::sync_folder_of(&self.path).map_err(fails)?;
        Ok(self.written)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // After it got its name there is nothing of this one.
        let _ = fs::remove_file(&self.temporary);
    }
}

fn cannot(path: &Path, error: &dyn std::fmt::Display) -> Fault {
    let message = format!("`{}` cannot be written: {error}; nothing of it was kept", path.display());
    Fault::input("write", message)
}
