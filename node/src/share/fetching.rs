//! Files that releases gave leave to fetch: which are wanted, how far each is, and when one is whole.
//!
//! `run` drives it: it asks what is wanted, lets `peer::fetch` bring the chunks into an [`Incoming`], and
//! hands the result back. A restart goes on at the last whole segment.

use super::{
    ShareError,
    files::{self, FileRow, SEGMENT_CHUNKS, SegmentWriter},
};
use crate::{
    node::Node,
    peer::fetch::Sink,
    receive::{WANTED, WantedFile},
    records::{
        stored::{decode, encode},
        view,
    },
    seal::keyring::Partition,
    secret,
    store::layout::Table,
};
use entente_protocol::{
    attachment::{ChunkList, Content},
    id::{AgreementId, Nonce},
    session::fetch::Request,
};
use serde::{Deserialize, Serialize};
use std::{io, sync::Arc};

/// Files looked at in one round.
const ROUND: usize = 256;

/// How far a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartRow {
    /// Names its segments.
    id: Nonce,
    /// Whole segments that are here.
    segments: u64,
}

/// How far a file is, from its row: what names its segments, and how many are whole. None for other rows.
pub fn part_of(row: &[u8]) -> Option<(Nonce, u64)> {
    decode::<PartRow>("part of a file", row).ok().map(|part| (part.id, part.segments))
}

/// One file to fetch.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its place in the list.
    pub place: u64,
    /// Under which agreement.
    pub agreement: AgreementId,
    /// What gave leave.
    pub file: WantedFile,
    /// What the record states of it.
    pub content: Content,
    part: PartRow,
}

impl Wanted {
    /// What to ask the partner.
    pub fn request(&self) -> Request {
        Request {
            feed: self.file.feed.id(),
            slot: files::content_slot(),
            entry: self.file.number,
            from_chunk: u32::try_from(self.part.segments * SEGMENT_CHUNKS).unwrap_or(u32::MAX),
        }
    }
}

fn part_key(file: &WantedFile) -> Vec<u8> {
    [b"part".as_slice(), file.record.as_bytes()].concat()
}

/// Files that wait, small ones first: thumbnails before pictures, pictures before films.
pub fn wanted(node: &Node) -> Result<Vec<Wanted>, ShareError> {
    let mut all = Vec::new();
    for agreement in node.partitions() {
        let partition = Partition::Agreement(agreement);
        for (place, row) in node.holdings.list(partition, Table::Wanted, WANTED, None, ROUND)? {
            let file: WantedFile = decode("wanted file", &row)?;
            let received = view::received(node, agreement, file.record)?;
            let stated = received.as_ref().and_then(|r| {
                let (_, _, bytes) = r.openings.iter().find(|(slot, _, _)| *slot == files::content_slot())?;
                Content::from_value(&crate::records::stored::value(bytes).ok()?)
            });
            let Some(content) = stated else {
                drop_wanted(node, agreement, place)?;
                continue;
            };
            if files::find(node, partition, content.sha256)?.is_some() {
                drop_wanted(node, agreement, place)?;
                continue;
            }
            let part = match node.holdings.get(partition, Table::Attachment, &part_key(&file))? {
                Some(row) => decode("part of a file", &row)?,
                None => PartRow { id: Nonce::from_bytes(secret::random()?), segments: 0 },
            };
            all.push(Wanted { place, agreement, file, content, part });
        }
    }
    all.sort_by_key(|wanted| wanted.content.size);
    Ok(all)
}

/// Gives a file up: the partner does not give it, or the record is gone.
pub fn drop_wanted(node: &Node, agreement: AgreementId, place: u64) -> Result<(), ShareError> {
    let mut txn = node.holdings.begin();
    txn.remove_item(Partition::Agreement(agreement), Table::Wanted, WANTED, place)?;
    txn.commit()?;
    Ok(())
}

/// Takes the chunks of one file as they come.
pub struct Incoming {
    node: Arc<Node>,
    wanted: Wanted,
    writer: SegmentWriter,
}

impl Incoming {
    /// Goes on where the file stands.
    pub fn new(node: Arc<Node>, wanted: Wanted) -> Self {
        let partition = Partition::Agreement(wanted.agreement);
        let writer = SegmentWriter::new(&node, partition, wanted.part.id, wanted.part.segments);
        Self { node, wanted, writer }
    }

    /// Makes what came a file: segments first, then the row, and the wish is fulfilled in the same append.
    pub fn finish(mut self, list: &ChunkList) -> Result<(), ShareError> {
        self.writer.close()?;
        let partition = Partition::Agreement(self.wanted.agreement);
        let content = list.content();
        let row = FileRow {
            id: self.wanted.part.id,
            root: content.chunk_root,
            size: content.size,
            chunks: list.chunks().to_vec(),
            sha256: content.sha256,
        };
        let mut txn = self.node.holdings.begin();
        files::keep(&mut txn, partition, &row)?;
        txn.delete(partition, Table::Attachment, &part_key(&self.wanted.file))?;
        txn.remove_item(partition, Table::Wanted, WANTED, self.wanted.place)?;
        self.node.journal(&mut txn, "file-received", &[("record", self.wanted.file.record.to_string())])?;
        txn.commit()?;
        Ok(())
    }
}

impl Sink for Incoming {
    fn chunk(&mut self, _index: u32, bytes: &[u8]) -> io::Result<()> {
        if let Some(segments) = self.writer.chunk(bytes).map_err(io::Error::other)? {
            let row = PartRow { id: self.wanted.part.id, segments };
            let bytes = encode("part of a file", &row).map_err(io::Error::other)?;
            let partition = Partition::Agreement(self.wanted.agreement);
            let mut txn = self.node.holdings.begin();
            txn.put(partition, Table::Attachment, &part_key(&self.wanted.file), &bytes).map_err(io::Error::other)?;
            txn.commit().map_err(io::Error::other)?;
        }
        Ok(())
    }
}
