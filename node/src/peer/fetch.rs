//! Files between partners, each on a stream of its own, below records in priority, resumable at any chunk.
//!
//! Serving is called by the driver for the streams that a partner opens; [`fetch`] by whoever wants a file.
//! What may be given is decided by the core; a chunk is checked before anything is done with it.

use super::{
    driver::{self, Exchange},
    endpoint::Link,
    lane::{self, Carries, FILE_PROGRESS, Frames, LaneFault},
};
use entente_protocol::{
    attachment::{AttachmentFault, ChunkList, Content, chunk_len},
    codec::CodecError,
    id::{Hash, OrgId},
    session::fetch::{FETCH_FRAME_BYTES_MAX, RefusedCode, Reply, Request},
};
use quinn::{Connection, RecvStream, SendStream, VarInt};
use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::task::{JoinError, JoinSet, spawn_blocking};

/// Files given to one partner at a time; more are told to ask again.
pub const FILES_MAX: usize = 8;
/// Streams that may wait for their first word.
const STREAMS_MAX: usize = 2 * FILES_MAX;
/// One request, padded.
const REQUEST_BYTES_MAX: usize = 512;

/// A file that is given.
pub struct FetchReply {
    /// Bytes of the whole file.
    pub size: u64,
    /// Leaf hash of every chunk.
    pub chunks: Vec<Hash>,
    /// Its content, from the chunk that was asked for. Read on a thread where blocking is allowed.
    pub content: Box<dyn Read + Send>,
    /// Whether it is still given: asked there too, before each chunk goes out.
    pub still: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// Keeps what is fetched. Called where blocking is allowed, with verified chunks in their order.
pub trait Sink: Send + 'static {
    /// Takes one chunk.
    ///
    /// # Errors
    /// Ends the fetch; it can be resumed at this chunk.
    fn chunk(&mut self, index: u32, bytes: &[u8]) -> io::Result<()>;
}

/// A file that did not come, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The partner does not give it (code of [`RefusedCode`]).
    #[error("the partner does not give this file (code {0})")]
    Refused(u16),
    /// The connection or the stream failed; resume later.
    #[error("the file did not come: {0}")]
    Lane(#[from] LaneFault),
    /// The partner's answer is malformed.
    #[error("the partner's answer is malformed: {0}")]
    Answer(#[from] CodecError),
    /// What came is not the file that the record states.
    #[error("what came is not the file that the record states: {0}")]
    Content(#[from] AttachmentFault),
    /// It could not be kept here.
    #[error("the file could not be kept: {0}")]
    Keep(#[from] io::Error),
    /// A thread of ours died.
    #[error("the file could not be kept: {0}")]
    Task(#[from] JoinError),
}

/// Fetches the file behind one slot of one release, from `request.from_chunk` on, and gives the sink back with
/// the proved list of chunks.
///
/// `content` is what the verified record states. Dropping the future gives the fetch up; the chunks that the sink
/// took stay good.
///
/// # Errors
/// [`FetchError`].
pub async fn fetch<S: Sink>(
    connection: &Connection,
    request: Request,
    content: Content,
    mut sink: S,
) -> Result<(S, ChunkList), FetchError> {
    let (mut send, receive) = driver::open(connection, Carries::File).await?;
    lane::write(&mut send, &request.to_bytes()?, REQUEST_BYTES_MAX, FILE_PROGRESS).await?;
    send.finish().map_err(|_| LaneFault::Truncated)?;
    let mut frames = Frames::new(receive, FETCH_FRAME_BYTES_MAX, FILE_PROGRESS);
    let chunks = match Reply::from_bytes(&frames.due().await?)? {
        Reply::Refused { code } => return Err(FetchError::Refused(code)),
        Reply::Header { chunks, .. } => chunks,
    };
    let mut list = ChunkList::verify(content, chunks)?;
    let count = u32::try_from(list.chunks().len()).unwrap_or(u32::MAX);
    let mut due = if request.from_chunk < count { Some(frames.due().await?) } else { None };
    for index in request.from_chunk..count {
        let Some(bytes) = due.take() else { break };
        let kept = move || {
            list.verify_chunk(index, &bytes)?;
            sink.chunk(index, &bytes)?;
            Ok::<_, FetchError>((list, sink))
        };
        // The next chunk comes in while this one is verified, sealed and written.
        let next = async { if index + 1 < count { frames.due().await.map(Some) } else { Ok(None) } };
        let (kept, next) = tokio::join!(spawn_blocking(kept), next);
        (list, sink) = kept??;
        due = next?;
    }
    Ok((sink, list))
}

/// Serves the files that a partner asks for, until the connection ends (`None`) or the partner misuses a stream.
/// `giving` counts those that are being given.
pub(super) async fn serve_all(
    link: &Link,
    exchange: &Arc<dyn Exchange>,
    giving: &Arc<AtomicUsize>,
) -> Option<LaneFault> {
    // Dropped with the session: what is being served then stops.
    let mut serving: JoinSet<Result<(), LaneFault>> = JoinSet::new();
    loop {
        tokio::select! {
            stream = link.connection.accept_bi(), if serving.len() < STREAMS_MAX => {
                let Ok((send, receive)) = stream else { return None };
                let busy = serving.len() >= FILES_MAX;
                serving.spawn(serve(link.peer, send, receive, Arc::clone(exchange), Arc::clone(giving), busy));
            }
            Some(served) = serving.join_next(), if !serving.is_empty() => match served {
                Ok(Err(fault @ (LaneFault::Stream | LaneFault::Frame(_)))) => return Some(fault),
                Ok(Err(fault)) => tracing::debug!(peer = %link.peer.short(), %fault, "a file was not taken"),
                Ok(Ok(())) | Err(_) => {}
            }
        }
    }
}

/// Counts a file that is being given for as long as it lives.
struct Giving(Arc<AtomicUsize>);

impl Giving {
    fn begin(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Giving {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn serve(
    peer: OrgId,
    mut send: SendStream,
    mut receive: RecvStream,
    exchange: Arc<dyn Exchange>,
    giving: Arc<AtomicUsize>,
    busy: bool,
) -> Result<(), LaneFault> {
    let first = tokio::time::timeout(lane::PROGRESS, driver::carries(&mut receive)).await;
    if first.map_err(|_| LaneFault::Slow)?? != Carries::File {
        return Err(LaneFault::Stream);
    }
    // An error says that the stream is closed, which the write finds as well.
    drop(send.set_priority(Carries::File.priority()));
    let content = Frames::new(receive, REQUEST_BYTES_MAX, lane::PROGRESS).due().await?;
    let Ok(request) = Request::from_bytes(&content) else { return Err(LaneFault::Stream) };
    // From before it is decided: what is recalled meanwhile is seen here or there.
    let _given = Giving::begin(giving);
    let given = if busy {
        Err(RefusedCode::Busy)
    } else {
        spawn_blocking(move || exchange.fetch(peer, request)).await.unwrap_or(Err(RefusedCode::Busy))
    };
    let reply = match given {
        Ok(reply) => reply,
        Err(code) => {
            // Who is told to come back may ask as often as the line carries: that fills no log.
            match code {
                RefusedCode::Busy => tracing::debug!(peer = %peer.short(), "a file is not given now"),
                _ => tracing::info!(peer = %peer.short(), ?code, "a file was asked for that is not given"),
            }
            refuse(&mut send, code).await?;
            return Ok(());
        }
    };
    let FetchReply { size, chunks, content, still } = reply;
    let count = u32::try_from(chunks.len()).unwrap_or(0);
    let Ok(header) = (Reply::Header { size, chunks }).to_bytes() else {
        return refuse(&mut send, RefusedCode::NotGiven).await;
    };
    lane::write(&mut send, &header, FETCH_FRAME_BYTES_MAX, FILE_PROGRESS).await?;
    let mut content = Some(content);
    let mut due: Option<Vec<u8>> = None;
    // One turn more than there are chunks: each reads one, while the one before it goes out.
    for index in request.from_chunk..=count {
        let (read, out) = tokio::join!(read(content.take(), chunk_len(size, index)), give(&mut send, due, &still));
        let next = match out {
            Err(Ungiven::Lane(fault)) => return Err(fault),
            Err(Ungiven::Here(error)) => Err(error),
            Ok(()) => read,
        };
        match next {
            Ok(read) => (content, due) = read.unzip(),
            Err(error) => {
                // The reason is ours; the partner sees that the stream was given up and may ask again.
                tracing::warn!(peer = %peer.short(), chunk = index, %error, "the rest of a file is not given");
                drop(send.reset(VarInt::from_u32(0)));
                return Ok(());
            }
        }
    }
    lane::finish(&mut send).await;
    Ok(())
}

type Reading = Box<dyn Read + Send>;

/// Reads the next chunk of so many bytes, if there is one.
async fn read(content: Option<Reading>, len: Option<u32>) -> io::Result<Option<(Reading, Vec<u8>)>> {
    let (Some(mut content), Some(len)) = (content, len) else { return Ok(None) };
    let read = move || {
        let mut bytes = vec![0u8; len as usize];
        content.read_exact(&mut bytes).map(|()| Some((content, bytes)))
    };
    spawn_blocking(read).await.map_err(io::Error::other)?
}

/// Why a chunk did not go out.
enum Ungiven {
    /// It is not given any more.
    Here(io::Error),
    /// It was not taken.
    Lane(LaneFault),
}

/// Sends a chunk, if there is one, after asking once more.
async fn give(
    send: &mut SendStream,
    chunk: Option<Vec<u8>>,
    still: &Arc<dyn Fn() -> bool + Send + Sync>,
) -> Result<(), Ungiven> {
    let Some(chunk) = chunk else { return Ok(()) };
    let still = Arc::clone(still);
    match spawn_blocking(move || still()).await {
        Ok(true) => {}
        Ok(false) => return Err(Ungiven::Here(io::Error::other("it is not given any more"))),
        Err(error) => return Err(Ungiven::Here(io::Error::other(error))),
    }
    lane::write(send, &chunk, FETCH_FRAME_BYTES_MAX, FILE_PROGRESS).await.map_err(Ungiven::Lane)
}

async fn refuse(send: &mut SendStream, code: RefusedCode) -> Result<(), LaneFault> {
    if let Ok(reply) = (Reply::Refused { code: code as u16 }).to_bytes() {
        lane::write(send, &reply, REQUEST_BYTES_MAX, FILE_PROGRESS).await?;
    }
    lane::finish(send).await;
    Ok(())
}
