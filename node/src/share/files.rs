//! Files that records carry: stored in sealed segments, served and fetched by chunk, written out verified.
//!
//! A file lies in segments of [`SEGMENT_CHUNKS`] chunks, each a blob of its own, so that a fetch that
//! was interrupted goes on where the last whole segment ended, and a chunk is reached without reading
//! what stands before it. The row with the manifest is what makes the segments a file.

use super::{
    ShareError,
    decide::{self, Asked},
    feeds, wishes,
};
use crate::{
    error::Fault,
    node::{Node, Rules},
    onward::holding,
    records::{
        keep as records,
        stored::{decode, encode},
        view::Found,
    },
    seal::keyring::Partition,
    secret::{
        self,
        durable::{self, Existing},
    },
    store::{
        StoreError,
        holdings::{BlobWriter, Holdings},
        layout::Table,
        txn::Txn,
    },
};
use entente_protocol::{
    attachment::{ChunkList, Content, Manifest, ManifestBuilder},
    clearance::Clearance,
    feed::FeedKey,
    id::{AgreementDigest, Hash, Nonce, RecordId},
    limits,
    primitive::Sha256Stream,
    record::{SlotSet, kind::Kind},
};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    sync::Arc,
};

/// Chunks of one segment: 16 MiB.
pub const SEGMENT_CHUNKS: u64 = 16;
/// Bytes of one segment.
pub const SEGMENT_BYTES: u64 = SEGMENT_CHUNKS * limits::CHUNK_BYTES as u64;
const CHUNK: usize = limits::CHUNK_BYTES as usize;

/// A file as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRow {
    /// Names its segments.
    pub id: Nonce,
    /// Root of the chunk tree.
    pub root: Hash,
    /// Bytes.
    pub size: u64,
    /// Hash of each chunk.
    pub chunks: Vec<Hash>,
    /// SHA-256 of the whole.
    pub sha256: Hash,
}

impl FileRow {
    /// From a manifest.
    pub fn new(id: Nonce, manifest: &Manifest) -> Self {
        Self {
            id,
            root: manifest.chunk_root,
            size: manifest.size,
            chunks: manifest.chunks.clone(),
            sha256: manifest.sha256,
        }
    }
    /// What the record states of the file.
    pub fn content(&self) -> Content {
        Content { size: self.size, sha256: self.sha256, chunk_root: self.root }
    }
    /// Blobs that hold it.
    pub fn segments(&self) -> u64 {
        (self.chunks.len() as u64).div_ceil(SEGMENT_CHUNKS)
    }
}

/// The name of one segment within its partition.
pub fn segment_name(id: Nonce, segment: u64) -> Vec<u8> {
    [id.as_bytes().as_slice(), &segment.to_be_bytes()].concat()
}

/// The slot that holds a file's digest, size and chunk root.
pub fn content_slot() -> u8 {
    Kind::Attachment.slot("content").map_or(63, |s| s.number)
}

/// Writes segments one after another; the row comes last, from the caller's transaction.
pub struct SegmentWriter {
    holdings: Arc<Holdings>,
    partition: Partition,
    id: Nonce,
    next: u64,
    open: Option<(BlobWriter, u64)>,
}

impl SegmentWriter {
    /// Starts with this segment; the ones before are there.
    pub fn new(node: &Node, partition: Partition, id: Nonce, segment: u64) -> Self {
        Self { holdings: Arc::clone(&node.holdings), partition, id, next: segment, open: None }
    }

    /// Adds one chunk. Returns the number of whole segments when one was completed.
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<Option<u64>, StoreError> {
        let (mut writer, chunks) = match self.open.take() {
            Some(open) => open,
            None => (self.holdings.blob_writer(self.partition)?, 0),
        };
        writer.write_all(bytes).map_err(crate::store::io_error("write a blob"))?;
        self.open = Some((writer, chunks + 1));
        if chunks + 1 < SEGMENT_CHUNKS {
            return Ok(None);
        }
        self.close()?;
        Ok(Some(self.next))
    }

    /// Completes the last segment.
    pub fn close(&mut self) -> Result<(), StoreError> {
        if let Some((writer, _)) = self.open.take() {
            writer.commit(&segment_name(self.id, self.next))?;
            self.next += 1;
        }
        Ok(())
    }
}

/// Reads exactly one chunk, or what is left.
fn read_chunk(reader: &mut dyn Read, buffer: &mut Vec<u8>) -> io::Result<usize> {
    buffer.clear();
    reader.take(CHUNK as u64).read_to_end(buffer)
}

/// Stores a file in segments and says what it is. Never holds more than a chunk of it. Of a file that is too large, or
/// cannot be read to its end, nothing stays.
pub fn put(node: &Node, partition: Partition, reader: &mut dyn Read) -> Result<FileRow, ShareError> {
    let id = Nonce::from_bytes(secret::random()?);
    let mut writer = SegmentWriter::new(node, partition, id, 0);
    match fill(&mut writer, reader) {
        Ok(manifest) => Ok(FileRow::new(id, &manifest)),
        Err(error) => {
            // Why it broke off matters more than a segment that cannot be removed either.
            for segment in 0..writer.next {
                let _ = node.holdings.blob_remove(partition, &segment_name(id, segment));
            }
            Err(error)
        }
    }
}

fn fill(writer: &mut SegmentWriter, reader: &mut dyn Read) -> Result<Manifest, ShareError> {
    let mut manifest = ManifestBuilder::new();
    let mut buffer = Vec::with_capacity(CHUNK);
    let mut size = 0u64;
    loop {
        let read = read_chunk(reader, &mut buffer).map_err(crate::store::io_error("read a file"))?;
        size += read as u64;
        if size > limits::ATTACHMENT_BYTES_MAX {
            return Err(StoreError::TooLarge { what: "bytes of a file", max: limits::ATTACHMENT_BYTES_MAX }.into());
        }
        if read > 0 {
            manifest.update(&buffer)?;
            writer.chunk(&buffer)?;
        }
        if read < CHUNK {
            break;
        }
    }
    writer.close()?;
    Ok(manifest.finish())
}

/// The file of which a record states this, if the partition has it: the same digest with another root or size is not it.
pub fn find(node: &Node, partition: Partition, content: Content) -> Result<Option<FileRow>, ShareError> {
    let row = node.holdings.get(partition, Table::Attachment, content.sha256.as_bytes())?;
    let row: Option<FileRow> = row.map(|row| decode("file", &row)).transpose()?;
    Ok(row.filter(|row| row.content() == content))
}

/// What became of stored segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// They are a file.
    New,
    /// The partition has the file already: no row speaks of them, and the caller discards them.
    Already,
    /// They are a file in place of one whose row said another thing of the same digest: the caller discards that.
    Instead(FileRow),
}

/// Makes stored segments, whose SHA-256 was computed, a file. One that is kept already stays.
pub fn keep(txn: &mut Txn<'_>, partition: Partition, row: &FileRow) -> Result<Kept, ShareError> {
    let before = txn.get(partition, Table::Attachment, row.sha256.as_bytes())?;
    let before: Option<FileRow> = before.map(|before| decode("file", &before)).transpose()?;
    if before.as_ref().is_some_and(|before| before.content() == row.content()) {
        return Ok(Kept::Already);
    }
    txn.put(partition, Table::Attachment, row.sha256.as_bytes(), &encode("file", row)?)?;
    Ok(before.map_or(Kept::New, Kept::Instead))
}

/// SHA-256 of what lies in a file's segments.
pub fn digest(node: &Node, partition: Partition, row: &FileRow) -> Result<Hash, ShareError> {
    let (mut reader, mut whole) = (open_at(node, partition, row, 0)?, Sha256Stream::default());
    let mut buffer = Vec::with_capacity(CHUNK);
    // Ends with the file, whose segments are bounded.
    while read_chunk(&mut reader, &mut buffer).map_err(crate::store::io_error("read a file"))? > 0 {
        whole.update(&buffer);
    }
    Ok(Hash::from_bytes(whole.finish()))
}

/// Removes segments that no row speaks of.
pub fn discard(node: &Node, partition: Partition, row: &FileRow) -> Result<(), ShareError> {
    for segment in 0..row.segments() {
        node.holdings.blob_remove(partition, &segment_name(row.id, segment))?;
    }
    Ok(())
}

/// A file from a chunk on, in clear.
pub struct FileReader {
    holdings: Arc<Holdings>,
    partition: Partition,
    id: Nonce,
    next: u64,
    segments: u64,
    open: Option<Box<dyn Read + Send>>,
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Ends: each turn reads bytes or moves to the next segment.
        loop {
            if let Some(open) = &mut self.open {
                let read = open.read(buffer)?;
                if read > 0 || buffer.is_empty() {
                    return Ok(read);
                }
                self.open = None;
            }
            if self.next >= self.segments {
                return Ok(0);
            }
            let name = segment_name(self.id, self.next);
            let blob = self.holdings.blob_open(self.partition, &name).map_err(io::Error::other)?;
            self.open = Some(Box::new(blob));
            self.next += 1;
        }
    }
}

/// Opens a file from a chunk on.
pub fn open_at(node: &Node, partition: Partition, row: &FileRow, chunk: u64) -> Result<FileReader, ShareError> {
    let segment = chunk / SEGMENT_CHUNKS;
    let mut reader = FileReader {
        holdings: Arc::clone(&node.holdings),
        partition,
        id: row.id,
        next: segment,
        segments: row.segments(),
        open: None,
    };
    let skip = (chunk % SEGMENT_CHUNKS) * CHUNK as u64;
    if skip > 0 && segment < row.segments() {
        let mut blob = node.holdings.blob_open(partition, &segment_name(row.id, segment))?;
        blob.seek(SeekFrom::Start(skip)).map_err(crate::store::io_error("read a blob"))?;
        reader.open = Some(Box::new(blob));
        reader.next = segment + 1;
    }
    Ok(reader)
}

/// Opens a file from its beginning.
pub fn open(node: &Node, partition: Partition, row: &FileRow) -> Result<FileReader, Fault> {
    open_at(node, partition, row, 0).map_err(Fault::store)
}

/// The file of an attachment record that is held.
pub fn manifest(node: &Node, found: &Found) -> Result<(Partition, FileRow), Fault> {
    let slot = content_slot();
    let (partition, bytes) = match found {
        Found::Own(row) => (Partition::Own, row.values.iter().find(|(s, _)| *s == slot).map(|(_, v)| v.to_vec())),
        Found::Received(agreement, row) => (
            Partition::Agreement(*agreement),
            row.openings.iter().find(|(s, _, _)| *s == slot).map(|(_, _, v)| v.to_vec()),
        ),
    };
    let none = || Fault::input("no-file", "this record was released without its file");
    let value = crate::records::stored::value(&bytes.ok_or_else(none)?).map_err(Fault::store)?;
    let content = Content::from_value(&value).ok_or_else(none)?;
    let row = find(node, partition, content).map_err(Fault::store)?;
    if let (None, Found::Received(agreement, received)) = (&row, found)
        && let Some(record) = received.id()
        && wishes::is_refused(node, *agreement, record).map_err(Fault::store)?
    {
        let why = "what the partner gave is not the file that this record states, and was not kept: ask the partner";
        return Err(Fault::input("file-refused", why));
    }
    let row = row.ok_or_else(|| {
        Fault::input(
            "not-fetched",
            "the file has not arrived yet: it is fetched when both nodes run; see `entente status`",
        )
    })?;
    Ok((partition, row))
}

/// What a partner may fetch under one entry of a feed of ours, decided at one moment.
pub enum Given {
    /// This file, which this record carries, and where it lies.
    File(RecordId, Partition, Box<FileRow>),
    /// Not now: the release stands, and what keeps the file back may pass.
    NotNow,
    /// Nothing: there is no such release that the partner has, or it was withdrawn.
    Nothing,
}

/// How often it is asked again, where partners or agreements change while it is decided.
const ASKED_AGAIN: usize = 5;

/// Decides what a partner may fetch. A change with others is not to be noticed by it: then it is decided again.
pub fn given(node: &Node, feed: &FeedKey, number: u64, slot: u8) -> Result<Given, ShareError> {
    for _ in 0..ASKED_AGAIN {
        // The basis first: rules that are read after it are at least as new.
        let (basis, rules) = (node.basis(), node.rules());
        let given = decided(node, &rules, feed, number, slot)?;
        if basis.stands(node)? {
            return Ok(match given {
                // It may yet go as its hash alone.
                Given::NotNow if !is_countersigned(node, feed, number)? => Given::Nothing,
                given => given,
            });
        }
        node.catch_up(&rules).map_err(|fault| ShareError::Rules(fault.message))?;
    }
    Ok(Given::NotNow)
}

/// Whether the partner has taken an entry.
fn is_countersigned(node: &Node, feed: &FeedKey, number: u64) -> Result<bool, ShareError> {
    let row = feeds::out_row(node, feed, AgreementDigest::from_bytes([0; 32]))?;
    Ok(row.countersigned.is_some_and(|known| number < known.length))
}

fn decided(node: &Node, rules: &Rules, feed: &FeedKey, number: u64, slot: u8) -> Result<Given, ShareError> {
    if slot != content_slot() || feed.sender != node.keys.org {
        return Ok(Given::Nothing);
    }
    let row = feeds::out_row(node, feed, AgreementDigest::from_bytes([0; 32]))?;
    let Some((_, run)) = feeds::run_at(node, feed, &row, number)? else { return Ok(Given::Nothing) };
    let entry = usize::try_from(number - run.first).ok().and_then(|at| run.entries.get(at));
    let slots = SlotSet::from_bits(entry.map_or(0, |e| e.slots));
    let Some(record) = entry.and_then(|e| e.record).filter(|_| slots.contains(slot)) else {
        return Ok(Given::Nothing);
    };
    // Of an entry that went as its hash alone, or of a release that a later one took the place of, nothing is said: that it
    // carries a file would tell what it was.
    let released = decide::released(node, record, feed.id())?;
    if !released.is_some_and(|released| released.shows() && released.number == number) {
        return Ok(Given::Nothing);
    }
    let gives = |clearance: &Clearance| clearance.terms().file && clearance.terms().slots.contains(slot);
    let (cleared, value, partition) = if records::find_own(node, record)?.is_some() {
        let asked = Asked::load(node, record)?;
        let decided = asked.ask(node, feed, slots, |question| rules.policy.decide(question));
        (decided.is_ok_and(|c| gives(&c)), asked.value(slot), Partition::Own)
    } else {
        let Some(held) = holding::held(node, rules, record, feed.receiver)? else { return Ok(Given::NotNow) };
        let now = node.interval();
        let decided = held.ask(rules, feed, (slots, now), |question| rules.policy.decide(question));
        (decided.is_ok_and(|c| gives(&c)), held.verified.value(slot).cloned(), held.partition())
    };
    let content = value.filter(|_| cleared).and_then(|value| Content::from_value(&value));
    let Some(content) = content else { return Ok(Given::NotNow) };
    let row = find(node, partition, content)?;
    Ok(row.map_or(Given::NotNow, |row| Given::File(record, partition, Box::new(row))))
}

/// Notes in the journal that a partner is given a file.
pub fn note_given(node: &Node, feed: &FeedKey, record: RecordId, from_chunk: u32) -> Result<(), ShareError> {
    let mut txn = node.holdings.begin();
    let about = [
        ("agreement", feed.agreement.to_string()),
        ("partner", feed.receiver.to_string()),
        ("record", record.to_string()),
        ("from-chunk", from_chunk.to_string()),
    ];
    node.journal(&mut txn, "file-given", &about)?;
    txn.commit()?;
    Ok(())
}

/// Writes a file out: each chunk and the whole are verified, and the name appears only when all is well.
pub fn write_out(
    output: &Path,
    row: &FileRow,
    read: &mut dyn FnMut(&mut [u8]) -> io::Result<usize>,
) -> Result<u64, Fault> {
    let failed = |e: io::Error| Fault::input("write", format!("`{}` cannot be written: {e}", output.display()));
    let damaged =
        || Fault::store("the stored file does not match its record: restore it from a backup or fetch it again");
    let exists = || Fault::input("exists", format!("`{}` exists already: name another file", output.display()));
    if output.exists() {
        return Err(exists());
    }
    // For its owner alone, and under a name that nobody can have put there before.
    let temporary = durable::temporary_beside(output).map_err(failed)?;
    let mut file = durable::create(&temporary).map_err(failed)?;
    let chunks = ChunkList::verify(row.content(), row.chunks.clone()).map_err(|_| damaged())?;
    let mut whole = Sha256Stream::default();
    let mut written = 0u64;
    let result = (|| {
        for (index, _) in (0u32..).zip(&row.chunks) {
            let mut chunk = vec![0u8; CHUNK.min(usize::try_from(row.size - written).unwrap_or(CHUNK))];
            let mut filled = 0;
            while let Some(rest) = chunk.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                match read(rest).map_err(Fault::store)? {
                    0 => return Err(damaged()),
                    read => filled += read,
                }
            }
            chunks.verify_chunk(index, &chunk).map_err(|_| damaged())?;
            whole.update(&chunk);
            file.write_all(&chunk).map_err(failed)?;
            written += chunk.len() as u64;
        }
        Ok(())
    })();
    let same = Hash::from_bytes(whole.finish()) == row.sha256;
    let result = result.and_then(|()| if same && written == row.size { Ok(()) } else { Err(damaged()) });
    let result = result.and_then(|()| {
        durable::publish(&file, &temporary, output, Existing::Refuse).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => exists(),
            _ => failed(e),
        })
    });
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result.map(|()| written)
}
