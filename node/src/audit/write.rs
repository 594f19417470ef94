//! The file of an export: items one after another under another name, and given its own when all are on disk.

use crate::{error::Fault, node::Node, unfinished::Unfinished};
use entente_protocol::{
    audit::{Item, Sealer},
    limits,
};
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

/// An export that is being written, and gone if it does not get its name.
pub struct Writer {
    file: Unfinished,
    out: BufWriter<File>,
    sealer: Sealer,
    written: u64,
}

impl Writer {
    /// Begins an export that will be at `path`.
    pub fn create(path: &Path) -> Result<Self, Fault> {
        let (file, out) = Unfinished::create(path)?;
        Ok(Self { file, out: BufWriter::new(out), sealer: Sealer::default(), written: 0 })
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.written += bytes.len() as u64;
        if self.written > limits::AUDIT_BYTES_MAX {
            return Err(Fault::input("too-large", "there is more to audit than one export holds"));
        }
        self.out.write_all(bytes).map_err(|e| self.file.cannot(&e))
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
        self.out.flush().map_err(|e| self.file.cannot(&e))?;
        self.file.publish(self.out.get_ref(), force)?;
        Ok(self.written)
    }
}
