//! What the archives of a folder hold already: by it the next one leaves out what they have.
//!
//! Two files for the newest archive, sealed to the node's own partition: rows in order with a digest of each, and names of
//! blobs. They help `backup` alone. Where they are missing or not of the newest archive, the next one is full.

use super::{
    BackupError,
    archive::{Kind, Reader, Writer},
};
use crate::{seal::hybrid::Identity, store::BlobName};
use entente_protocol::primitive::sha256;
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

/// Bytes of a row's digest: enough to tell two sealed values apart that nobody chose.
type Digest = [u8; 16];

/// The digest of a row's value.
pub fn digest_of(value: &[u8]) -> Digest {
    let mut digest = [0; 16];
    digest.iter_mut().zip(sha256(&[value])).for_each(|(to, from)| *to = from);
    digest
}

/// Where the two stand, for the archive of a number.
pub fn paths(folder: &Path, number: u32) -> [PathBuf; 2] {
    ["rows", "files"].map(|what| folder.join(format!("{number:04}-{what}.index")))
}

/// Removes those of an earlier archive.
pub fn remove(folder: &Path, number: u32) -> io::Result<()> {
    for path in paths(folder, number) {
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

/// Rows that the archives hold, in order.
pub struct Rows {
    reader: Option<Reader>,
    next: Option<(Vec<u8>, Digest)>,
}

impl Rows {
    /// None: for a full archive.
    pub const fn none() -> Self {
        Self { reader: None, next: None }
    }
    /// Those of an archive.
    pub fn open(path: &Path, identity: &Identity) -> Result<Self, BackupError> {
        let mut rows = Self { reader: Some(Reader::open(path, identity)?), next: None };
        rows.advance()?;
        Ok(rows)
    }
    /// The next one, left where it is.
    pub fn peek(&self) -> Option<&(Vec<u8>, Digest)> {
        self.next.as_ref()
    }
    /// Takes it.
    pub fn advance(&mut self) -> Result<Option<(Vec<u8>, Digest)>, BackupError> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        let piece = reader.piece()?;
        let next = match piece.kind {
            Kind::End => {
                self.reader = None;
                None
            }
            Kind::Row => {
                let digest = reader.value()?.try_into().map_err(|_| reader.damaged())?;
                Some((piece.key, digest))
            }
            _ => return Err(reader.damaged()),
        };
        Ok(std::mem::replace(&mut self.next, next))
    }
}

/// Names of the blobs that the archives hold, and which rotations of keys there had been when they were copied.
pub fn names(path: &Path, identity: &Identity) -> Result<(BTreeSet<BlobName>, Vec<u8>), BackupError> {
    let (mut reader, mut names) = (Reader::open(path, identity)?, BTreeSet::new());
    loop {
        let piece = reader.piece()?;
        match piece.kind {
            Kind::End => return Ok((names, reader.value()?)),
            Kind::Name => {
                let name = piece.key.as_slice().try_into().map_err(|_| reader.damaged())?;
                names.insert(BlobName(name));
            }
            _ => return Err(reader.damaged()),
        }
    }
}

/// Writes names.
pub fn write_names(writer: &mut Writer, names: &BTreeSet<BlobName>, rotations: &[u8]) -> Result<(), BackupError> {
    for name in names {
        writer.piece(Kind::Name, &name.0, &[])?;
    }
    writer.piece(Kind::End, &[], rotations)
}
