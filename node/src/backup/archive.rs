//! The file of an archive: pieces one behind the other in a sealed stream, written under another name until it is whole.
//!
//! ```text
//! piece   kind u8 | key length u16 BE | value length u64 BE | key | value
//! ```
//!
//! The first piece is the header, the last the end; between them stand files, blobs, rows and names, in whatever order
//! they were read. age authenticates every chunk and the last one as such: what is cut short or changed does not open.
//! The index of what the archives hold is written in the same form. One piece is held in memory, and of a blob 64 KiB.

use super::BackupError;
use crate::{
    regular,
    seal::{
        hybrid::{Identity, Recipient},
        stream::{self, StreamError, StreamReader, StreamWriter},
    },
    secret::durable,
    store::{APPEND_BYTES_MAX, ROW_KEY_BYTES_MAX},
};
use ring::digest;
use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What the archive is of. Value: JSON.
    Header = 1,
    /// A file of the home. Key: its path from there.
    File = 2,
    /// A blob. Key: its name.
    Blob = 3,
    /// A row. In an index its value is a digest of it.
    Row = 4,
    /// A row that is not there any more.
    Gone = 5,
    /// A blob that is there. Key: its name.
    Name = 6,
    /// How many of each. Value: JSON.
    End = 7,
}

impl Kind {
    const fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Header,
            2 => Self::File,
            3 => Self::Blob,
            4 => Self::Row,
            5 => Self::Gone,
            6 => Self::Name,
            7 => Self::End,
            _ => return None,
        })
    }
    /// Longest value that is held in memory.
    const fn bytes_max(self) -> u64 {
        match self {
            Self::Header | Self::File | Self::End => FILE_BYTES_MAX,
            Self::Row => APPEND_BYTES_MAX as u64,
            Self::Gone | Self::Name => 0,
            Self::Blob => u64::MAX,
        }
    }
}

/// Longest file of the home that is taken: settings, cards, key files.
pub const FILE_BYTES_MAX: u64 = 64 << 20;
const HEAD_BYTES: usize = 11;
/// Longest key: a path of a file, or a row's.
const KEY_BYTES_MAX: usize = if ROW_KEY_BYTES_MAX > 4_096 { ROW_KEY_BYTES_MAX } else { 4_096 };

/// What is written, counted and hashed on its way to the disk.
struct Counted {
    file: BufWriter<File>,
    digest: digest::Context,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.file.write(bytes)?;
        self.digest.update(bytes.get(..taken).unwrap_or_default());
        self.bytes = self.bytes.saturating_add(taken as u64);
        Ok(taken)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A file that is being written: gone unless it is published.
pub struct Writer {
    path: PathBuf,
    temporary: PathBuf,
    stream: Option<StreamWriter<Counted>>,
}

/// A whole file on the disk, under a name of its own still.
pub struct Written {
    path: PathBuf,
    temporary: PathBuf,
    file: Option<File>,
    /// SHA-256 of all of it.
    pub sha256: [u8; 32],
    /// Its length.
    pub bytes: u64,
}

impl Writer {
    /// Begins the file that will have this path.
    pub fn create(path: &Path, recipients: &[&Recipient]) -> Result<Self, BackupError> {
        let failed = |e: io::Error| BackupError::at(path, e);
        let temporary = durable::temporary_beside(path).map_err(failed)?;
        let file = durable::create(&temporary).map_err(failed)?;
        let output = Counted {
            file: BufWriter::with_capacity(256 << 10, file),
            digest: digest::Context::new(&digest::SHA256),
            bytes: 0,
        };
        let mut writer = Self { path: path.to_owned(), temporary, stream: None };
        writer.stream = Some(stream::seal(recipients, output).map_err(|e| BackupError::at(path, e))?);
        Ok(writer)
    }
    /// Writes one piece.
    pub fn piece(&mut self, kind: Kind, key: &[u8], value: &[u8]) -> Result<(), BackupError> {
        self.begin(kind, key, value.len() as u64)?;
        self.write(value)
    }
    /// Writes one piece whose value comes from elsewhere and has this length.
    pub fn stream(&mut self, kind: Kind, key: &[u8], len: u64, value: &mut dyn Read) -> Result<(), BackupError> {
        self.begin(kind, key, len)?;
        let Self { path, stream, .. } = self;
        let stream = stream.as_mut().ok_or_else(|| BackupError::at(path, io::ErrorKind::BrokenPipe))?;
        let mut from = Watched { inner: value.take(len), failed: false };
        match io::copy(&mut from, stream) {
            Ok(copied) if copied == len => Ok(()),
            Ok(_) => Err(BackupError::Short),
            Err(error) if from.failed => Err(BackupError::Blob(error)),
            Err(error) => Err(BackupError::at(path, error)),
        }
    }
    /// Ends the file: all of it is on the disk, under another name still.
    pub fn finish(mut self) -> Result<Written, BackupError> {
        let failed = |path: &Path, e: io::Error| BackupError::at(path, e);
        let stream = self.stream.take().ok_or_else(|| failed(&self.path, io::ErrorKind::BrokenPipe.into()))?;
        let mut counted = stream.finish().map_err(|e| failed(&self.path, e))?;
        counted.flush().map_err(|e| failed(&self.path, e))?;
        let file = counted.file.into_inner().map_err(|e| failed(&self.path, e.into_error()))?;
        file.sync_all().map_err(|e| failed(&self.path, e))?;
        let mut sha256 = [0; 32];
        sha256.iter_mut().zip(counted.digest.finish().as_ref()).for_each(|(to, from)| *to = *from);
        let (path, temporary) = (self.path.clone(), self.temporary.clone());
        // From here on the other type removes it.
        self.temporary = PathBuf::new();
        Ok(Written { path, temporary, file: Some(file), sha256, bytes: counted.bytes })
    }
    fn begin(&mut self, kind: Kind, key: &[u8], len: u64) -> Result<(), BackupError> {
        let key_len = u16::try_from(key.len()).map_err(|_| BackupError::Short)?;
        let head = [&[kind as u8][..], &key_len.to_be_bytes(), &len.to_be_bytes(), key].concat();
        self.write(&head)
    }
    fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        let stream = self.stream.as_mut().ok_or_else(|| BackupError::at(&self.path, io::ErrorKind::BrokenPipe))?;
        stream.write_all(bytes).map_err(|e| BackupError::at(&self.path, e))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.temporary.as_os_str().is_empty() {
            // The error counts, not this: what is left behind is swept by its ending.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

impl Written {
    /// Gives it its name, in the place of a file that has it.
    pub fn publish(mut self) -> Result<(), BackupError> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let published = durable::publish(&file, &self.temporary, &self.path, durable::Existing::Replace);
        published.map_err(|e| {
            let _ = fs::remove_file(&self.temporary);
            BackupError::at(&self.path, e)
        })
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Tells a blob that cannot be read from a disk that cannot be written.
struct Watched<R> {
    inner: R,
    failed: bool,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes);
        self.failed |= read.is_err();
        read
    }
}

/// A piece whose value was not read yet.
pub struct Piece {
    /// What.
    pub kind: Kind,
    /// Of what.
    pub key: Vec<u8>,
    /// Length of its value.
    pub len: u64,
}

/// A file that is read piece by piece.
pub struct Reader {
    path: PathBuf,
    stream: StreamReader<BufReader<File>>,
    left: u64,
}

impl Reader {
    /// Opens a file with one of the identities that it is sealed to.
    pub fn open(path: &Path, identity: &Identity) -> Result<Self, BackupError> {
        let file = regular::open(path).map_err(|e| BackupError::read(path, e))?;
        match stream::open(identity, file) {
            Ok(stream) => Ok(Self { path: path.to_owned(), stream, left: 0 }),
            Err(StreamError::WrongKey) => Err(BackupError::Other(path.to_owned())),
            Err(StreamError::Io(cause)) => Err(BackupError::read(path, cause)),
            Err(_) => Err(BackupError::Damaged(path.to_owned())),
        }
    }
    /// The next piece; what was not read of the one before is passed over.
    pub fn piece(&mut self) -> Result<Piece, BackupError> {
        let mut rest = (&mut self.stream).take(self.left);
        io::copy(&mut rest, &mut io::sink()).map_err(|e| BackupError::broken(&self.path, e))?;
        let mut head = [0; HEAD_BYTES];
        self.fill(&mut head)?;
        let (kind, rest) = (head.first().copied().unwrap_or_default(), head.get(1..).unwrap_or_default());
        let (key_len, len) = rest.split_first_chunk::<2>().ok_or_else(|| self.damaged())?;
        let key_len = usize::from(u16::from_be_bytes(*key_len));
        let len = u64::from_be_bytes(len.try_into().map_err(|_| self.damaged())?);
        let kind = Kind::of(kind).filter(|kind| len <= kind.bytes_max() && key_len <= KEY_BYTES_MAX);
        let kind = kind.ok_or_else(|| self.damaged())?;
        let mut key = vec![0; key_len];
        self.fill(&mut key)?;
        self.left = len;
        Ok(Piece { kind, key, len })
    }
    /// The value of the piece that was read last.
    pub fn value(&mut self) -> Result<Vec<u8>, BackupError> {
        let mut value = Vec::new();
        let read = (&mut self.stream).take(self.left).read_to_end(&mut value);
        read.map_err(|e| BackupError::broken(&self.path, e))?;
        if value.len() as u64 != self.left {
            return Err(self.damaged());
        }
        self.left = 0;
        Ok(value)
    }
    /// Whether nothing stands behind the last piece.
    pub fn is_over(&mut self) -> Result<bool, BackupError> {
        let mut byte = [0];
        Ok(self.left == 0 && self.stream.read(&mut byte).map_err(|e| BackupError::broken(&self.path, e))? == 0)
    }
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        self.stream.read_exact(bytes).map_err(|e| BackupError::broken(&self.path, e))
    }
    /// This file is not as it was written.
    pub fn damaged(&self) -> BackupError {
        BackupError::Damaged(self.path.clone())
    }
}

/// The value of the piece that was read last, bit by bit.
impl Read for Reader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = (&mut self.stream).take(self.left).read(bytes)?;
        if read == 0 && self.left > 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}
