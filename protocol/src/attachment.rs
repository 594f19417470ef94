//! Attachments: size, digest and chunk tree of a file, made and checked while it streams by.
//!
//! A file is never held in memory. Who makes one feeds a [`ManifestBuilder`]; who fetches one first
//! proves the list of chunk digests ([`ChunkList::verify`]) against the record's content slot, and
//! then takes each chunk only after it matched its digest.

use crate::{
    id::Hash,
    label::{TAG_CHUNK_LEAF, TAG_CHUNK_NODE},
    limits, merkle,
    primitive::{Sha256Stream, tagged},
    value::Value,
};

/// A file, or a chunk of one, that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttachmentFault {
    /// Beyond the size that any attachment may have.
    #[error("the file is larger than {} bytes: split it", limits::ATTACHMENT_BYTES_MAX)]
    TooLarge,
    /// Not as many chunk digests as the file's size needs.
    #[error("`{given}` chunk digests where the file's size needs {needed}")]
    ChunkCount {
        /// Digests given.
        given: usize,
        /// Digests needed.
        needed: usize,
    },
    /// The list is not the one that the record commits to.
    #[error("the chunk digests do not match the record")]
    ChunkRoot,
    /// No such chunk.
    #[error("the file has no chunk `{index}`")]
    NoChunk {
        /// Its number, from 0.
        index: u32,
    },
    /// A chunk of another length or with other bytes.
    #[error("chunk `{index}` does not match its digest: fetch it again")]
    Chunk {
        /// Its number, from 0.
        index: u32,
    },
}

/// What the content slot of an attachment record states of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the whole file, which tools elsewhere can compute.
    pub sha256: Hash,
    /// Root of the chunk tree.
    pub chunk_root: Hash,
}

impl Content {
    /// As the slot's value: `[size, sha256, chunk-bytes, chunk-root]`.
    pub fn to_value(self) -> Value {
        Value::Array(vec![
            // Sizes are bounded far below 63 bits.
            Value::Int(i64::try_from(self.size).unwrap_or(i64::MAX)),
            Value::Bytes(self.sha256.as_bytes().to_vec()),
            Value::Int(i64::from(limits::CHUNK_BYTES)),
            Value::Bytes(self.chunk_root.as_bytes().to_vec()),
        ])
    }

    /// From the slot's value; `None` unless it has the shape `Content`.
    pub fn from_value(value: &Value) -> Option<Self> {
        let [size, sha256, chunk_bytes, chunk_root] = value.as_array()? else { return None };
        let size = u64::try_from(size.as_int()?).ok().filter(|size| *size <= limits::ATTACHMENT_BYTES_MAX)?;
        (chunk_bytes.as_int()? == i64::from(limits::CHUNK_BYTES)).then_some(())?;
        let hash = |value: &Value| Hash::from_slice(value.as_bytes()?);
        Some(Self { size, sha256: hash(sha256)?, chunk_root: hash(chunk_root)? })
    }

    /// Chunks of the file.
    pub fn chunk_count(&self) -> usize {
        chunk_count(self.size)
    }

    /// Bytes of a chunk; `None` past the end of the file.
    pub fn chunk_len(&self, index: u32) -> Option<u32> {
        chunk_len(self.size, index)
    }
}

/// Chunks of a file of `size` bytes. An empty file has one, of no bytes.
pub fn chunk_count(size: u64) -> usize {
    let chunks = size.div_ceil(u64::from(limits::CHUNK_BYTES)).max(1);
    usize::try_from(chunks).unwrap_or(usize::MAX)
}

/// Bytes of chunk `index` of a file of `size` bytes: all are full but the last. `None` past its end.
pub fn chunk_len(size: u64, index: u32) -> Option<u32> {
    let full = u64::from(limits::CHUNK_BYTES);
    if usize::try_from(index).ok()? >= chunk_count(size) {
        return None;
    }
    u32::try_from(size.saturating_sub(u64::from(index) * full).min(full)).ok()
}

/// Everything about a file that was streamed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the whole.
    pub sha256: Hash,
    /// Root of the chunk tree.
    pub chunk_root: Hash,
    /// Digest of each chunk.
    pub chunks: Vec<Hash>,
}

impl Manifest {
    /// What a record states of it.
    pub fn content(&self) -> Content {
        Content { size: self.size, sha256: self.sha256, chunk_root: self.chunk_root }
    }
    /// The value of the content slot.
    pub fn to_value(&self) -> Value {
        self.content().to_value()
    }
}

/// leaf = SHA-256(0x40, index as 4 bytes big-endian, chunk).
fn begin_chunk(index: u32) -> Sha256Stream {
    let mut stream = Sha256Stream::default();
    stream.update(&[TAG_CHUNK_LEAF]);
    stream.update(&index.to_be_bytes());
    stream
}

/// The RFC 9162 shape under tags of its own: node = SHA-256(0x41, left, right).
fn chunk_root(chunks: &[Hash]) -> Hash {
    merkle::root_tagged(TAG_CHUNK_NODE, chunks)
}

/// Computes a manifest from bytes in pieces of any length.
pub struct ManifestBuilder {
    whole: Sha256Stream,
    chunk: Sha256Stream,
    /// Bytes in the current chunk; below or at `CHUNK_BYTES`.
    filled: usize,
    size: u64,
    chunks: Vec<Hash>,
}

impl Default for ManifestBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl ManifestBuilder {
    /// Before the first byte.
    pub fn new() -> Self {
        Self { whole: Sha256Stream::default(), chunk: begin_chunk(0), filled: 0, size: 0, chunks: Vec::new() }
    }

    /// Takes in the next bytes of the file.
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), AttachmentFault> {
        self.size = self
            .size
            .checked_add(bytes.len() as u64)
            .filter(|size| *size <= limits::ATTACHMENT_BYTES_MAX)
            .ok_or(AttachmentFault::TooLarge)?;
        self.whole.update(bytes);
        let mut rest = bytes;
        // Ends because a chunk that is not full takes at least one byte.
        while !rest.is_empty() {
            if self.filled == limits::CHUNK_BYTES as usize {
                self.close_chunk();
            }
            let room = limits::CHUNK_BYTES as usize - self.filled;
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.chunk.update(now);
            self.filled += now.len();
            rest = later;
        }
        Ok(())
    }

    fn close_chunk(&mut self) {
        let next = u32::try_from(self.chunks.len() + 1).unwrap_or(u32::MAX);
        let full = std::mem::replace(&mut self.chunk, begin_chunk(next));
        self.chunks.push(Hash::from_bytes(full.finish()));
        self.filled = 0;
    }

    /// After the last byte. An empty file has one empty chunk.
    pub fn finish(mut self) -> Manifest {
        self.close_chunk();
        Manifest {
            size: self.size,
            sha256: Hash::from_bytes(self.whole.finish()),
            chunk_root: chunk_root(&self.chunks),
            chunks: self.chunks,
        }
    }
}

/// Chunk digests that were proved against a record's content slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkList {
    content: Content,
    chunks: Vec<Hash>,
}

impl ChunkList {
    /// Proves a list that came with a file.
    pub fn verify(content: Content, chunks: Vec<Hash>) -> Result<Self, AttachmentFault> {
        if content.size > limits::ATTACHMENT_BYTES_MAX {
            return Err(AttachmentFault::TooLarge);
        }
        let needed = content.chunk_count();
        if chunks.len() != needed {
            return Err(AttachmentFault::ChunkCount { given: chunks.len(), needed });
        }
        if chunk_root(&chunks) != content.chunk_root {
            return Err(AttachmentFault::ChunkRoot);
        }
        Ok(Self { content, chunks })
    }

    /// Checks one chunk before anything is done with it.
    pub fn verify_chunk(&self, index: u32, chunk: &[u8]) -> Result<(), AttachmentFault> {
        let no_chunk = AttachmentFault::NoChunk { index };
        let expected = usize::try_from(index).ok().and_then(|at| self.chunks.get(at)).ok_or(no_chunk)?;
        let len = self.content.chunk_len(index).ok_or(no_chunk)?;
        let matches =
            chunk.len() == len as usize && tagged(TAG_CHUNK_LEAF, &[&index.to_be_bytes(), chunk]) == *expected;
        if matches { Ok(()) } else { Err(AttachmentFault::Chunk { index }) }
    }

    /// What the record states.
    pub fn content(&self) -> Content {
        self.content
    }
    /// The digests, in order.
    pub fn chunks(&self) -> &[Hash] {
        &self.chunks
    }
}

const _: () = assert!(
    limits::ATTACHMENT_BYTES_MAX.div_ceil(limits::CHUNK_BYTES as u64) <= limits::CHUNKS_MAX as u64,
    "a list of chunk digests is bounded by CHUNKS_MAX because sizes are bounded"
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitive::sha256;
    use crate::record::Shape;

    const CHUNK: usize = limits::CHUNK_BYTES as usize;

    fn file(len: usize) -> Vec<u8> {
        (0..len).map(|n| (n * 31 % 253) as u8).collect()
    }

    fn manifest(bytes: &[u8], piece: usize) -> Manifest {
        let mut builder = ManifestBuilder::new();
        for part in bytes.chunks(piece) {
            builder.update(part).unwrap();
        }
        builder.finish()
    }

    #[test]
    fn the_manifest_does_not_depend_on_how_the_file_streams() {
        for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 17] {
            let bytes = file(len);
            let whole = manifest(&bytes, usize::MAX);
            assert_eq!(whole.size, len as u64);
            assert_eq!(whole.sha256.as_bytes(), &sha256(&[&bytes]));
            assert_eq!(whole.chunks.len(), whole.content().chunk_count());
            for piece in [1_009, CHUNK, CHUNK + 1] {
                assert_eq!(manifest(&bytes, piece), whole, "{len} in pieces of {piece}");
            }
            assert!(Shape::Content.fits(&whole.to_value()));
            assert_eq!(Content::from_value(&whole.to_value()), Some(whole.content()));
        }
    }

    #[test]
    fn the_root_has_the_stated_shape() {
        let bytes = file(2 * CHUNK + 5);
        let leaf = |index: u32, chunk: &[u8]| sha256(&[&[0x40], &index.to_be_bytes(), chunk]);
        let node = |left: &[u8], right: &[u8]| sha256(&[&[0x41], left, right]);
        let [a, b, c] = [leaf(0, &bytes[..CHUNK]), leaf(1, &bytes[CHUNK..2 * CHUNK]), leaf(2, &bytes[2 * CHUNK..])];
        assert_eq!(manifest(&bytes, CHUNK).chunk_root.as_bytes(), &node(&node(&a, &b), &c));
        assert_eq!(manifest(&[], 1).chunk_root.as_bytes(), &leaf(0, &[]));
    }

    #[test]
    fn only_the_proved_list_and_the_right_chunks_are_taken() {
        let bytes = file(2 * CHUNK + 5);
        let made = manifest(&bytes, CHUNK);
        let list = ChunkList::verify(made.content(), made.chunks.clone()).unwrap();
        for (index, chunk) in (0u32..).zip(bytes.chunks(CHUNK)) {
            assert_eq!(list.verify_chunk(index, chunk), Ok(()));
            let mut changed = chunk.to_vec();
            changed[0] ^= 1;
            let refused = Err(AttachmentFault::Chunk { index });
            assert_eq!(list.verify_chunk(index, &changed), refused);
            assert_eq!(list.verify_chunk(index, &chunk[1..]), refused);
        }
        // Chunks in another order, and one past the end.
        assert_eq!(list.verify_chunk(0, &bytes[CHUNK..2 * CHUNK]), Err(AttachmentFault::Chunk { index: 0 }));
        assert_eq!(list.verify_chunk(3, &[]), Err(AttachmentFault::NoChunk { index: 3 }));
        let refused = |content, chunks| ChunkList::verify(content, chunks).unwrap_err();
        let mut swapped = made.chunks.clone();
        swapped.swap(0, 1);
        assert_eq!(refused(made.content(), swapped), AttachmentFault::ChunkRoot);
        let fewer = made.chunks[..2].to_vec();
        assert_eq!(refused(made.content(), fewer), AttachmentFault::ChunkCount { given: 2, needed: 3 });
        let resized = Content { size: CHUNK as u64, ..made.content() };
        assert_eq!(refused(resized, made.chunks.clone()), AttachmentFault::ChunkCount { given: 3, needed: 1 });
        let inner = Content { chunk_root: made.chunks[0], ..made.content() };
        assert_eq!(refused(inner, made.chunks), AttachmentFault::ChunkRoot);
    }

    #[test]
    fn sizes_are_bounded() {
        let mut builder = ManifestBuilder::new();
        builder.size = limits::ATTACHMENT_BYTES_MAX;
        assert_eq!(builder.update(&[0]), Err(AttachmentFault::TooLarge));
        let largest = Content {
            size: limits::ATTACHMENT_BYTES_MAX,
            sha256: Hash::from_bytes([0; 32]),
            chunk_root: Hash::from_bytes([0; 32]),
        };
        assert_eq!(largest.chunk_count(), limits::CHUNKS_MAX);
        assert_eq!(largest.chunk_len(4_095), Some(limits::CHUNK_BYTES));
        assert_eq!(largest.chunk_len(4_096), None);
        assert_eq!(Content::from_value(&largest.to_value()), Some(largest));
        let over = Content { size: limits::ATTACHMENT_BYTES_MAX + 1, ..largest };
        assert_eq!(Content::from_value(&over.to_value()), None);
        assert_eq!(ChunkList::verify(over, Vec::new()), Err(AttachmentFault::TooLarge));
    }
}
