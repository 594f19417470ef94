//! The file of a bundle: frames in a sealed stream, written under another name until it is whole, read frame by frame.
//!
//! Nothing here knows what a part means. A bundle is never held in memory: one frame is, and 64 KiB beside it.

use crate::{
    error::Fault,
    seal::{
        hybrid::{Identity, Recipient},
        stream::{self, StreamError, StreamReader, StreamWriter},
    },
    unfinished::Unfinished,
};
use entente_protocol::{
    bundle::{self, BundleFault, Header, Opened, Opening, Part, Sealer},
    codec::frame::{self, FRAME_HEADER_BYTES, FrameReader, padme},
    id::{Hash, KeyId, OrgId},
    limits,
    primitive::{PublicKey, SigningKey},
};
use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, Write},
    path::Path,
};

/// Chunk of an age stream, and what authenticates it.
const CHUNK: u64 = 64 << 10;
const TAG: u64 = 16;
/// An age header with one hybrid recipient, and the nonce: less than this.
const AGE_HEADER: u64 = 2_048;
/// What a part has besides its content: the seal and the frame's header, less than this.
const BESIDES: u64 = 400;

/// Bytes of the file of a bundle in which so many are written, its end and padding included, or a little more.
pub fn sealed_len(written: u64) -> u64 {
    let end = written + FRAME_HEADER_BYTES as u64 + BESIDES;
    let plain = end + bundle::padding(end);
    AGE_HEADER + plain + (plain / CHUNK + 1) * TAG
}

/// Bytes that a part with this much content takes in the stream, or a little more.
pub fn part_len(content: u64) -> u64 {
    let len = content + BESIDES;
    FRAME_HEADER_BYTES as u64 + usize::try_from(len).map_or(len, |len| padme(len) as u64)
}

/// A bundle that is being written: under a name of its own beside the one it will have, and gone if it does not get there.
pub struct Writer<'a> {
    file: Unfinished,
    out: Option<StreamWriter<BufWriter<File>>>,
    sealer: Sealer<'a>,
    written: u64,
}

impl<'a> Writer<'a> {
    /// Begins a bundle at `path`.
    pub fn create(
        path: &Path,
        recipient: &Recipient,
        header: &Header,
        (card, key): (&[u8], &'a SigningKey),
    ) -> Result<Self, Fault> {
        let (sealer, opening) = Sealer::begin(header, card, key).map_err(Fault::store)?;
        let (file, out) = Unfinished::create(path)?;
        let out = stream::seal(&[recipient], BufWriter::new(out)).map_err(|e| file.cannot(&e))?;
        let mut writer = Self { file, out: Some(out), sealer, written: 0 };
        writer.frame(&opening, limits::BUNDLE_OPENING_BYTES_MAX)?;
        Ok(writer)
    }

    fn frame(&mut self, content: &[u8], max: usize) -> Result<(), Fault> {
        let frame = frame::encode(content, max).map_err(Fault::store)?;
        self.raw(&frame)
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let out = self.out.as_mut().ok_or_else(|| Fault::store("a bundle that ended is written to"))?;
        out.write_all(bytes).map_err(|e| self.file.cannot(&e))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Writes a part.
    pub fn part(&mut self, part: &Part) -> Result<(), Fault> {
        let content = self.sealer.part(part).map_err(Fault::store)?;
        self.frame(&content, limits::BUNDLE_FRAME_BYTES_MAX)
    }

    /// Bytes of the file if so many more are written.
    pub fn len_with(&self, more: u64) -> u64 {
        sealed_len(self.written + more)
    }

    /// The id of the bundle.
    pub const fn id(&self) -> Hash {
        self.sealer.id()
    }

    /// Ends it: all of it is on disk before it gets its name. Gives its bytes.
    pub fn publish(mut self, force: bool) -> Result<u64, Fault> {
        self.part(&Part::End)?;
        let mut left = bundle::padding(self.written);
        let zeros = [0u8; 8 << 10];
        while left > 0 {
            let some = zeros.get(..usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len())).unwrap_or_default();
            self.raw(some)?;
            left -= some.len() as u64;
        }
        let Some(out) = self.out.take() else { return Err(Fault::store("a bundle that ended is ended")) };
        let fails = |e: io::Error| self.file.cannot(&e);
        let out = out.finish().and_then(|out| out.into_inner().map_err(io::IntoInnerError::into_error));
        let out = out.map_err(fails)?;
        let bytes = out.metadata().map_err(fails)?.len();
        self.file.publish(&out, force)?;
        Ok(bytes)
    }
}

/// Why the parts of a bundle cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadFault {
    /// Sealed to somebody else.
    #[error("it is sealed for another organisation, or its beginning is damaged")]
    WrongKey,
    /// Not a sealed file, or changed, or cut short.
    #[error("it is no bundle, or it was altered or cut short")]
    Damaged,
    /// What it holds is not signed as it must be.
    #[error("it does not hold: {0}")]
    Bundle(#[from] BundleFault),
    /// Reading failed.
    #[error("it cannot be read: {0}")]
    Io(io::Error),
}

impl From<StreamError> for ReadFault {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::WrongKey => Self::WrongKey,
            StreamError::Io(error) => error.into(),
            StreamError::Damaged | StreamError::NoRecipient => Self::Damaged,
        }
    }
}

impl From<io::Error> for ReadFault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // What age says of a chunk that does not verify, and of a stream without its end.
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::Damaged,
            _ => Self::Io(error),
        }
    }
}

/// A bundle that is being read.
pub struct Reader<'f> {
    stream: StreamReader<BufReader<&'f File>>,
    buffer: Vec<u8>,
    at: usize,
    filled: usize,
    /// Bytes of the stream that frames took.
    taken: u64,
}

impl<'f> Reader<'f> {
    /// Opens the file at its beginning, and reads what it says of itself: nothing of that is proved yet.
    pub fn open(mut file: &'f File, identity: &Identity) -> Result<(Self, Opening), ReadFault> {
        file.rewind()?;
        let stream = stream::open(identity, file)?;
        let mut reader = Self { stream, buffer: vec![0; 64 << 10], at: 0, filled: 0, taken: 0 };
        let opening = reader.frame(limits::BUNDLE_OPENING_BYTES_MAX)?;
        Ok((reader, Opening::from_bytes(&opening)?))
    }

    /// Fills the buffer again. False at the end.
    fn fill(&mut self) -> Result<bool, ReadFault> {
        (self.at, self.filled) = (0, 0);
        self.filled = self.stream.read(&mut self.buffer)?;
        Ok(self.filled > 0)
    }

    fn frame(&mut self, max: usize) -> Result<Vec<u8>, ReadFault> {
        let mut frames = FrameReader::new(max);
        // Each turn takes bytes, or ends.
        loop {
            let mut input = self.buffer.get(self.at..self.filled).unwrap_or_default();
            let before = input.len();
            let frame = frames.take(&mut input).map_err(|_| ReadFault::Damaged)?;
            let took = before - input.len();
            self.at += took;
            self.taken += took as u64;
            match frame {
                Some(frame) => return Ok(frame),
                None if self.fill()? => {}
                None => return Err(ReadFault::Damaged),
            }
        }
    }

    /// The next part, proved to be the next one of this bundle. After the end there is padding and nothing else.
    pub fn part(&mut self, opened: &mut Opened) -> Result<Part, ReadFault> {
        let part = opened.part(&self.frame(limits::BUNDLE_FRAME_BYTES_MAX)?)?;
        if part == Part::End {
            let (expected, mut found) = (bundle::padding(self.taken), 0u64);
            loop {
                let rest = self.buffer.get(self.at..self.filled).unwrap_or_default();
                found += rest.len() as u64;
                if found > expected || rest.iter().any(|byte| *byte != 0) {
                    return Err(BundleFault::Surplus.into());
                }
                if !self.fill()? {
                    break;
                }
            }
            if found != expected {
                return Err(ReadFault::Damaged);
            }
        }
        Ok(part)
    }

    /// Bytes of the stream so far.
    pub const fn taken(&self) -> u64 {
        self.taken
    }
}

/// Verifies an opening with the sender's keys.
pub fn verified(
    opening: &Opening,
    parties: (OrgId, OrgId),
    key: impl Fn(KeyId) -> Option<PublicKey>,
) -> Result<(Header, Opened), ReadFault> {
    Ok(opening.verify(parties, key)?)
}
