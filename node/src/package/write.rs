//! The file of a package: parts written one after another under another name, and given theirs when all are on disk.
//!
//! A part's checksum stands before its content: the header is written twice, the second time with it.

use crate::{error::Fault, unfinished::Unfinished};
use entente_protocol::{
    id::Hash,
    package::{
        Name,
        container::{self, Crc, Entry},
        parts::Listed,
    },
    primitive::Sha256Stream,
};
use std::{
    fs::File,
    io::{BufWriter, Read, Seek, SeekFrom, Write},
    path::Path,
};

/// Bytes that are copied at once.
const STEP: usize = 256 << 10;

/// A package that is being written, and gone if it does not get its name.
pub struct Writer {
    file: Unfinished,
    out: BufWriter<File>,
    written: u64,
    directory: Vec<u8>,
    listed: Vec<Listed>,
    count: u16,
}

impl Writer {
    /// Begins a package that will be at `path`.
    pub fn create(path: &Path) -> Result<Self, Fault> {
        let (file, out) = Unfinished::create(path)?;
        let out = BufWriter::with_capacity(STEP, out);
        Ok(Self { file, out, written: 0, directory: Vec::new(), listed: Vec::new(), count: 0 })
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.out.write_all(bytes).map_err(|e| self.file.cannot(&e))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Writes a part that is in memory.
    pub fn part(&mut self, name: Name, content: &[u8]) -> Result<(), Fault> {
        let (mut crc, mut digest) = (Crc::default(), Sha256Stream::default());
        crc.update(content);
        digest.update(content);
        let entry = Entry { name, size: content.len() as u64, crc: crc.finish() };
        let offset = self.written;
        self.raw(&entry.local_header())?;
        self.raw(content)?;
        self.note(entry, offset, Hash::from_bytes(digest.finish()));
        Ok(())
    }

    /// Writes a file of which size and digest are known. One that is not what they say is damage in the store.
    pub fn file(
        &mut self,
        name: Name,
        (size, sha256): (u64, Hash),
        reader: &mut dyn Read,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), Fault> {
        let offset = self.written;
        let blank = Entry { name, size, crc: 0 }.local_header();
        self.raw(&blank)?;
        let (mut crc, mut digest) = (Crc::default(), Sha256Stream::default());
        let mut buffer = vec![0u8; STEP];
        let begun = self.written;
        // Ends with the file, which is bounded, or past its size.
        loop {
            let read = reader.read(&mut buffer).map_err(Fault::store)?;
            let part = buffer.get(..read).unwrap_or_default();
            if part.is_empty() || self.written - begun > size {
                break;
            }
            crc.update(part);
            digest.update(part);
            self.raw(part)?;
            progress(read as u64);
        }
        if (self.written - begun, Hash::from_bytes(digest.finish())) != (size, sha256) {
            let what = "a stored file does not match its record: restore it from a backup or fetch it again";
            return Err(Fault::store(what));
        }
        let entry = Entry { name, size, crc: crc.finish() };
        let mended = self.out.seek(SeekFrom::Start(offset)).and_then(|_| self.out.write_all(&entry.local_header()));
        let mended = mended.and_then(|()| self.out.seek(SeekFrom::Start(self.written)));
        mended.map_err(|e| self.file.cannot(&e))?;
        self.note(entry, offset, sha256);
        Ok(())
    }

    fn note(&mut self, entry: Entry, offset: u64, digest: Hash) {
        self.directory.extend(entry.central_header(offset));
        self.listed.push(Listed(entry.name.to_string(), entry.size, digest));
        self.count = self.count.saturating_add(1);
    }

    /// What the list that is signed says.
    pub fn listed(&self) -> Vec<Listed> {
        self.listed.clone()
    }

    /// Ends it with the signed list: all of it is on disk before it gets its name. Gives its bytes.
    pub fn publish(mut self, manifest: &[u8], force: bool) -> Result<u64, Fault> {
        self.part(Name::Manifest, manifest)?;
        let (directory, offset) = (std::mem::take(&mut self.directory), self.written);
        self.raw(&directory)?;
        self.raw(&container::end(self.count, directory.len() as u64, offset))?;
        self.out.flush().map_err(|e| self.file.cannot(&e))?;
        self.file.publish(self.out.get_ref(), force)?;
        Ok(self.written)
    }
}
