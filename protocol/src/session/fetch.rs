//! Fetching a file: request and answers on a stream of its own, resumable at any chunk.
//!
//! The fetcher names an entry of a feed and a slot, never a digest: what it was not given cannot be
//! asked for. The answer is a header or a refusal, then one frame for each chunk (raw bytes, no
//! CBOR) from the chunk that was asked for. Chunks are checked against the list by whoever keeps them.

use crate::{
    attachment,
    codec::{self, Bounds, CodecError},
    id::{FeedId, Hash},
    limits,
};
use serde::{Deserialize, Serialize};

/// Bytes of one frame's content on a fetching stream: a whole chunk.
pub const FETCH_FRAME_BYTES_MAX: usize = limits::CHUNK_BYTES as usize;

const REQUEST: Bounds = Bounds::bytes(256);
const REPLY: Bounds = Bounds::bytes(FETCH_FRAME_BYTES_MAX);

const _: () = assert!(limits::CHUNKS_MAX * 40 < FETCH_FRAME_BYTES_MAX, "the list of chunks fits one frame");
const _: () = assert!(limits::CHUNKS_MAX + 16 < limits::CBOR_ITEMS_MAX, "the list of chunks is within the item bound");

/// Asks for the file behind one slot of one release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The feed, which the asked side sends.
    pub feed: FeedId,
    /// The slot that holds digest and size.
    pub slot: u8,
    /// Number of the release in the feed.
    pub entry: u64,
    /// The first chunk wanted; those before are held.
    pub from_chunk: u32,
}

/// The first frame of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Reply {
    /// The file follows.
    Header {
        /// Its size in bytes.
        size: u64,
        /// Leaf hash of every chunk; they give the root in the slot.
        chunks: Vec<Hash>,
    },
    /// It does not.
    Refused {
        /// [`RefusedCode`] as a number.
        code: u16,
    },
}

/// Why a file is not given. What was never released and what does not exist look alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedCode {
    /// No such release, slot or file for this partner, or no longer.
    NotGiven = 1,
    /// Too much at once; ask again later.
    Busy = 2,
}

impl Request {
    /// The content of its frame.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        codec::to_vec(&Wire { feed: self.feed, slot: self.slot, entry: self.entry, chunk: self.from_chunk }, REQUEST)
    }

    /// Reads a request.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let Wire { feed, slot, entry, chunk: from_chunk } = codec::from_slice(bytes, REQUEST)?;
        let known =
            usize::from(slot) < limits::SLOTS && usize::try_from(from_chunk).is_ok_and(|c| c <= limits::CHUNKS_MAX);
        if known { Ok(Self { feed, slot, entry, from_chunk }) } else { Err(CodecError::Shape) }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    feed: FeedId,
    slot: u8,
    chunk: u32,
    entry: u64,
}

impl Reply {
    /// The content of its frame.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        codec::to_vec(self, REPLY)
    }

    /// Reads an answer: as many chunks as the size gives, and no more than a file may have.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let reply: Self = codec::from_slice(bytes, REPLY)?;
        if let Self::Header { size, chunks } = &reply
            && (*size > limits::ATTACHMENT_BYTES_MAX || chunks.len() != attachment::chunk_count(*size))
        {
            return Err(CodecError::Shape);
        }
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_are_bounded() {
        let request = Request { feed: FeedId::from_bytes([1; 32]), slot: 11, entry: 70_000, from_chunk: 4_095 };
        assert_eq!(Request::from_bytes(&request.to_bytes().unwrap()), Ok(request));
        for wrong in [Request { slot: 64, ..request }, Request { from_chunk: 4_097, ..request }] {
            assert_eq!(Request::from_bytes(&wrong.to_bytes().unwrap()), Err(CodecError::Shape));
        }
        let header = |size, count| Reply::Header { size, chunks: vec![Hash::from_bytes([2; 32]); count] };
        let read = |reply: Reply| Reply::from_bytes(&reply.to_bytes().unwrap());
        assert!(read(header(limits::ATTACHMENT_BYTES_MAX, limits::CHUNKS_MAX)).is_ok());
        assert!(read(header(0, 1)).is_ok() && read(header(0, 0)).is_err() && read(header(1 << 20, 1)).is_ok());
        assert!(read(header(limits::ATTACHMENT_BYTES_MAX + 1, limits::CHUNKS_MAX + 1)).is_err());
        assert!(read(header(1 << 20, 2)).is_err() && read(header((1 << 20) + 1, 1)).is_err());
        assert!(read(Reply::Refused { code: RefusedCode::NotGiven as u16 }).is_ok());
    }
}
