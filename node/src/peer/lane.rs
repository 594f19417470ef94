//! Frames over one QUIC stream, with deadlines: a peer may be silent between frames, never slow within one.
//!
//! Called by the driver and by fetching. It knows frames, not what is in them.

use bytes::{Buf, Bytes};
use entente_protocol::{
    codec::frame::{self, FrameFault, FrameReader, FrameTooLong},
    session::CloseCode,
};
use quinn::{ReadError, RecvStream, SendStream, WriteError};
use std::time::Duration;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};

/// A frame may take this long, and longer only while it moves at least [`RATE_BYTES_MIN`] a second.
pub const PROGRESS: Duration = Duration::from_secs(30);
/// As [`PROGRESS`], for files: on a thin line they stand still for as long as anything else has to pass.
pub const FILE_PROGRESS: Duration = Duration::from_secs(600);
const RATE_BYTES_MIN: u64 = 2_048;
/// Bytes moved at a time.
const PIECE_BYTES: usize = 64 << 10;
/// How long a stream's end may wait to be acknowledged.
const LINGER: Duration = Duration::from_secs(2);

/// What the first byte of a stream says that it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// Everything but runs.
    Control = 1,
    /// Runs.
    Records = 2,
    /// One file.
    File = 3,
}

impl Carries {
    /// Reads the first byte.
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Control, Self::Records, Self::File].into_iter().find(|kind| *kind as u8 == byte)
    }
    /// Greater goes first.
    pub fn priority(self) -> i32 {
        match self {
            Self::Control => 2,
            Self::Records => 1,
            Self::File => 0,
        }
    }
}

/// Why a stream is of no further use.
#[derive(Debug, thiserror::Error)]
pub enum LaneFault {
    /// The peer's frame is refused.
    #[error("the peer's frame is refused: {0}")]
    Frame(#[from] FrameFault),
    /// The peer did not read or write fast enough.
    #[error("the peer made no progress in time")]
    Slow,
    /// The stream ended within a frame, or where there had to be one.
    #[error("the peer's stream ended too early")]
    Truncated,
    /// A stream of another kind than this one, or one too many.
    #[error("the peer opened a stream that has no place here")]
    Stream,
    /// We tried to send more than a frame takes: our mistake.
    #[error("a frame of ours is too long: {0}")]
    TooLong(#[from] FrameTooLong),
    /// Reading failed: the connection is gone, or the peer gave the stream up.
    #[error("the stream cannot be read: {0}")]
    Read(#[from] ReadError),
    /// Writing failed: the connection is gone, or the peer gave the stream up.
    #[error("the stream cannot be written: {0}")]
    Write(#[from] WriteError),
}

impl LaneFault {
    /// What the peer is told; nothing where it is gone.
    pub fn code(&self) -> CloseCode {
        match self {
            Self::Frame(_) | Self::Truncated => CloseCode::FRAME,
            Self::Stream => CloseCode::UNEXPECTED,
            Self::Slow => CloseCode::TIMEOUT,
            Self::TooLong(_) => CloseCode::INTERNAL,
            Self::Read(_) | Self::Write(_) => CloseCode::DONE,
        }
    }
}

/// Takes frames off a stream. It holds one frame and one piece at most.
pub struct Frames {
    stream: RecvStream,
    reader: FrameReader,
    rest: Bytes,
    patience: Duration,
    started: Option<Instant>,
    received: u64,
}

impl Frames {
    /// For frames of at most `max` bytes, each of which may take so long.
    pub fn new(stream: RecvStream, max: usize, patience: Duration) -> Self {
        Self { stream, reader: FrameReader::new(max), rest: Bytes::new(), patience, started: None, received: 0 }
    }

    /// The next frame's content; `None` where the stream ends between frames. Cancel-safe.
    ///
    /// # Errors
    /// [`LaneFault`]; the stream is then of no further use.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, LaneFault> {
        loop {
            // Each turn takes bytes off `rest`, or reads more, or ends.
            if self.rest.has_remaining() {
                let mut input = self.rest.as_ref();
                let content = self.reader.take(&mut input)?;
                let used = self.rest.len() - input.len();
                self.rest.advance(used);
                if content.is_some() {
                    self.started = None;
                    return Ok(content);
                }
            }
            let read = self.stream.read_chunk(PIECE_BYTES, true);
            let chunk = match self.started {
                None => read.await?,
                Some(started) => {
                    let earned = Duration::from_millis(self.received.saturating_mul(1_000) / RATE_BYTES_MIN);
                    timeout_at(started + self.patience + earned, read).await.map_err(|_| LaneFault::Slow)??
                }
            };
            let Some(chunk) = chunk else {
                return if self.reader.is_between_frames() { Ok(None) } else { Err(LaneFault::Truncated) };
            };
            if self.started.is_none() {
                (self.started, self.received) = (Some(Instant::now()), 0);
            }
            self.received = self.received.saturating_add(chunk.bytes.len() as u64);
            self.rest = chunk.bytes;
        }
    }

    /// As [`Self::next`], where a frame is due now.
    ///
    /// # Errors
    /// [`LaneFault`].
    pub async fn due(&mut self) -> Result<Vec<u8>, LaneFault> {
        match timeout(self.patience, self.next()).await {
            Err(_) if self.started.is_none() => Err(LaneFault::Slow),
            // It has begun, and now keeps its own time.
            Err(_) => self.next().await?.ok_or(LaneFault::Truncated),
            Ok(frame) => frame?.ok_or(LaneFault::Truncated),
        }
    }
}

/// Writes one frame; every piece of it must be taken within `patience`.
///
/// # Errors
/// [`LaneFault`].
pub async fn write(stream: &mut SendStream, content: &[u8], max: usize, patience: Duration) -> Result<(), LaneFault> {
    let mut rest = Bytes::from(frame::encode(content, max)?);
    while rest.has_remaining() {
        let piece = rest.split_to(rest.len().min(PIECE_BYTES));
        timeout(patience, stream.write_chunk(piece)).await.map_err(|_| LaneFault::Slow)??;
    }
    Ok(())
}

/// Ends a stream and waits a little until the peer has all of it.
pub async fn finish(stream: &mut SendStream) {
    if stream.finish().is_ok() {
        drop(timeout(LINGER, stream.stopped()).await);
    }
}

/// Pumps frames from a stream into a queue until either ends; a fault is the last that is put in.
pub async fn inward(mut frames: Frames, queue: mpsc::Sender<Result<Vec<u8>, LaneFault>>) {
    loop {
        let (item, last) = match frames.next().await {
            Ok(Some(content)) => (Ok(content), false),
            Ok(None) => return,
            Err(fault) => (Err(fault), true),
        };
        if queue.send(item).await.is_err() || last {
            return;
        }
    }
}

/// Pumps frames from a queue into a stream until either ends.
pub async fn outward(mut stream: SendStream, max: usize, mut queue: mpsc::Receiver<Vec<u8>>) {
    while let Some(content) = queue.recv().await {
        if let Err(fault) = write(&mut stream, &content, max, PROGRESS).await {
            tracing::debug!(%fault, "a lane cannot be written");
            return;
        }
    }
    finish(&mut stream).await;
}
