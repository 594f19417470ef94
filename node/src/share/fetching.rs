//! Files that releases gave leave to fetch: which are wanted, how far each is, and when one is whole.
//!
//! `run` drives it: it asks what is wanted, lets `peer::fetch` bring the chunks into an [`Incoming`], and
//! hands the result back. What did not come whole goes on at the chunk where it broke; after a restart, at the last
//! whole segment. Each segment that is kept is counted as filled by its sender in the append that says so: a file that
//! never comes whole counts as well. A file is kept when all of it has the SHA-256 that its record states; the list of
//! chunks is its sender's, and proves nothing about that.

use super::{
    ShareError,
    files::{self, FileRow, Kept, SEGMENT_CHUNKS, SegmentWriter},
    wishes::{self, WantedFile},
};
use crate::{
    node::Node,
    peer::fetch::Sink,
    receive,
    records::{
        stored::{decode, encode},
        view,
    },
    room::{self, For},
    seal::keyring::Partition,
    secret,
    store::layout::Table,
};
use entente_protocol::{
    attachment::{ChunkList, Content, chunk_count},
    id::{AgreementId, Hash, Nonce, OrgId, RecordId},
    primitive::Sha256Stream,
    session::fetch::Request,
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};

/// Files fetched, or wishes dropped, in one round.
const ROUND: usize = 256;
/// Wishes looked at where there is no room for their files.
const LOOKED_AT: usize = 4_096;
/// Wishes read at a time.
const PAGE: usize = 256;

/// How far a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartRow {
    /// Names its segments.
    id: Nonce,
    /// Whole segments that are here.
    segments: u64,
}

impl PartRow {
    /// What of the file is kept, and counted.
    const fn bytes(&self) -> u64 {
        self.segments.saturating_mul(files::SEGMENT_BYTES)
    }
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

/// The key of the row that says how far a file is.
pub fn part_key(file: &WantedFile) -> Vec<u8> {
    [b"part".as_slice(), file.record.as_bytes()].concat()
}

/// Forgets what came of a file that is not whole, within a transaction. What names its segments and how many there are,
/// for whoever deletes them after it.
pub fn forget_part(
    txn: &mut crate::store::txn::Txn<'_>,
    partition: Partition,
    file: &WantedFile,
) -> Result<Option<(Nonce, u64)>, ShareError> {
    let Some(row) = txn.get(partition, Table::Attachment, &part_key(file))? else { return Ok(None) };
    let part: PartRow = decode("part of a file", &row)?;
    txn.delete(partition, Table::Attachment, &part_key(file))?;
    room::give_back(txn, file.feed.sender, part.bytes())?;
    Ok(Some((part.id, part.segments)))
}

/// Where a wish stands: which agreement, whose list, and its place there.
pub type Place = (AgreementId, OrgId, u64);

/// Wishes that are left alone for a while, because the partner did not give the file. In memory only: a start tries all.
#[derive(Debug, Default)]
pub struct Resting(Mutex<BTreeMap<Place, UnixMillis>>);

impl Resting {
    /// Leaves a wish alone until then.
    pub fn rest(&self, place: Place, until: UnixMillis) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(place, until);
    }
    /// What is to be left alone at `now`.
    fn at(&self, now: UnixMillis) -> BTreeSet<Place> {
        let mut resting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        resting.retain(|_, until| *until > now);
        resting.keys().copied().collect()
    }
}

impl Wanted {
    /// Where its wish stands.
    pub const fn stands_at(&self) -> Place {
        (self.agreement, self.file.feed.sender, self.place)
    }
}

/// Goes through the wishes for files of one partner, a page at a time, until `look` says that it is enough.
fn wishes(
    node: &Node,
    sender: OrgId,
    resting: &Resting,
    look: &mut dyn FnMut((AgreementId, u64), WantedFile) -> Result<bool, ShareError>,
) -> Result<(), ShareError> {
    let (skip, scope) = (resting.at(node.clock.now()), wishes::scope(sender));
    for agreement in node.partitions() {
        let mut after = None;
        loop {
            let page = node.holdings.list(Partition::Agreement(agreement), Table::Wanted, &scope, after, PAGE)?;
            for (place, row) in &page {
                after = Some(*place);
                let skipped = skip.contains(&(agreement, sender, *place));
                if !skipped && !look((agreement, *place), decode("wanted file", row)?)? {
                    return Ok(());
                }
            }
            if page.len() < PAGE {
                break;
            }
        }
    }
    Ok(())
}

/// How many files wait for a partner to give them. Writes nothing.
pub fn waiting(node: &Node, sender: OrgId, resting: &Resting) -> Result<usize, ShareError> {
    let mut count = 0;
    if room::lacking(node, sender, For::Evidence)?.is_some() {
        return Ok(0);
    }
    wishes(node, sender, resting, &mut |(agreement, _), file| {
        count += usize::from(wish(node, agreement, &file)?.is_some());
        Ok(true)
    })?;
    Ok(count)
}

/// What the record states of a wished file; none where it is here, the record was withdrawn, or it is gone.
fn wish(node: &Node, agreement: AgreementId, file: &WantedFile) -> Result<Option<Content>, ShareError> {
    if receive::withdrawn(node, agreement, file.record)?.is_some() {
        return Ok(None);
    }
    let received = view::received(node, agreement, file.record)?;
    let stated = received.as_ref().and_then(|r| {
        let (_, _, bytes) = r.openings.iter().find(|(slot, _, _)| *slot == files::content_slot())?;
        Content::from_value(&crate::records::stored::value(bytes).ok()?)
    });
    let Some(content) = stated else { return Ok(None) };
    let held = files::find(node, Partition::Agreement(agreement), content)?.is_some();
    Ok((!held).then_some(content))
}

/// Files that wait for one partner, small ones first: thumbnails before pictures, pictures before films. Wishes that
/// nothing is behind any more are dropped.
pub fn wanted(node: &Node, sender: OrgId, resting: &Resting) -> Result<Vec<Wanted>, ShareError> {
    let (mut all, mut dropped) = (Vec::new(), Vec::new());
    let lacking = room::lacking(node, sender, For::Evidence)?;
    if let Some(why) = &lacking {
        node.note_error(sender, why.clone());
    }
    let mut passed = 0;
    let mut left = node.config.partner_bytes_max.saturating_sub(room::filled(node, sender)?);
    wishes(node, sender, resting, &mut |(agreement, place), file| {
        let Some(content) = wish(node, agreement, &file)? else {
            dropped.push(Dropped { agreement, place, part: part(node, agreement, &file)?, file });
            return Ok(dropped.len() < ROUND);
        };
        let part = match part(node, agreement, &file)? {
            Some(part) => part,
            None => PartRow { id: Nonce::from_bytes(secret::random()?), segments: 0 },
        };
        let rest = content.size.saturating_sub(part.bytes());
        if lacking.is_some() || (left < rest && !all.is_empty()) {
            // What can be dropped makes room; the rest waits, and is not looked through for that every time.
            passed += 1;
            return Ok(passed < LOOKED_AT);
        }
        left = left.saturating_sub(rest);
        all.push(Wanted { place, agreement, file, content, part });
        Ok(all.len() < ROUND)
    })?;
    drop_wishes(node, dropped)?;
    all.sort_by_key(|wanted| wanted.content.size);
    Ok(all)
}

/// Drops every wish for a file of one partner that nothing is behind any more, however many wait before it.
pub fn drop_fulfilled(node: &Node, sender: OrgId) -> Result<(), ShareError> {
    // Ends because each turn drops some, or is the last.
    loop {
        let mut dropped = Vec::new();
        wishes(node, sender, &Resting::default(), &mut |(agreement, place), file| {
            if wish(node, agreement, &file)?.is_none() {
                dropped.push(Dropped { agreement, place, part: part(node, agreement, &file)?, file });
            }
            Ok(dropped.len() < ROUND)
        })?;
        if drop_wishes(node, dropped)? == 0 {
            return Ok(());
        }
    }
}

/// The file of one record, where it is still wished for and there is room: what a bundle brings without being asked.
pub fn wanted_of(
    node: &Node,
    sender: OrgId,
    agreement: AgreementId,
    record: RecordId,
) -> Result<Option<Wanted>, ShareError> {
    let Some((place, file)) = wishes::of(node, agreement, sender, record)? else { return Ok(None) };
    let Some(content) = wish(node, agreement, &file)? else { return Ok(None) };
    if let Some(why) = room::lacking(node, sender, For::Evidence)? {
        node.note_error(sender, why);
        return Ok(None);
    }
    let begun = PartRow { id: Nonce::from_bytes(secret::random()?), segments: 0 };
    // What is here of it already is passed over as it comes.
    let part = part(node, agreement, &file)?.unwrap_or(begun);
    Ok(Some(Wanted { place, agreement, file, content, part }))
}

/// A wish that nothing is behind any more, and what came of its file.
struct Dropped {
    agreement: AgreementId,
    place: u64,
    part: Option<PartRow>,
    file: WantedFile,
}

fn part(node: &Node, agreement: AgreementId, file: &WantedFile) -> Result<Option<PartRow>, ShareError> {
    let row = node.holdings.get(Partition::Agreement(agreement), Table::Attachment, &part_key(file))?;
    row.map(|row| Ok(decode("part of a file", &row)?)).transpose()
}

/// Forgets wishes and the parts of their files: the rows first, then what no row speaks of any more. How many there were.
fn drop_wishes(node: &Node, mut dropped: Vec<Dropped>) -> Result<usize, ShareError> {
    if dropped.is_empty() {
        return Ok(0);
    }
    let mut txn = node.holdings.begin();
    let mut result = Ok(());
    // What was released again meanwhile is wished for again, in the same place.
    dropped.retain(|wish| {
        let stands = wishes::stands(&txn, Partition::Agreement(wish.agreement), &wish.file, wish.place);
        stands.unwrap_or_else(|error| {
            result = Err(error);
            false
        })
    });
    result?;
    for wish in &dropped {
        let partition = Partition::Agreement(wish.agreement);
        wishes::remove(&mut txn, partition, &wish.file, wish.place)?;
        if let Some(part) = &wish.part {
            txn.delete(partition, Table::Attachment, &part_key(&wish.file))?;
            room::give_back(&mut txn, wish.file.feed.sender, part.bytes())?;
        }
    }
    node.journal(&mut txn, "file-wishes-dropped", &[("wishes", dropped.len().to_string())])?;
    txn.commit()?;
    let count = dropped.len();
    for wish in dropped {
        let segments = wish.part.map_or(0, |part| part.segments);
        for segment in 0..segments {
            let name = wish.part.map(|part| files::segment_name(part.id, segment)).unwrap_or_default();
            node.holdings.blob_remove(Partition::Agreement(wish.agreement), &name)?;
        }
    }
    Ok(count)
}

/// Takes the chunks of one file as they come. A fetch has a clone of [`Shared`], so what came stays when it ends.
pub struct Incoming<N = Arc<Node>> {
    node: N,
    wanted: Wanted,
    writer: SegmentWriter,
    /// Digest of what came so far. None for a file that goes on: what is here of it is read back at its end.
    whole: Option<Sha256Stream>,
    /// The first chunk that is not here. None once one could not be kept: what stands before it is then not certain.
    next: Option<u32>,
}

/// A file of which more may come.
pub type Shared = Arc<Mutex<Incoming>>;

impl<N: Deref<Target = Node>> Incoming<N> {
    /// Goes on where the file stands.
    pub fn new(node: N, wanted: Wanted) -> Self {
        let partition = Partition::Agreement(wanted.agreement);
        let writer = SegmentWriter::new(&node, partition, wanted.part.id, wanted.part.segments);
        let next = u32::try_from(wanted.part.segments * SEGMENT_CHUNKS).ok();
        let whole = (wanted.part.segments == 0).then(Sha256Stream::default);
        Self { node, wanted, writer, whole, next }
    }

    /// What to ask the partner: everything from the first chunk that is not here. None if it must be begun anew.
    pub fn request(&self) -> Option<Request> {
        let WantedFile { feed, number, .. } = &self.wanted.file;
        // Where all are here, the last one comes again, and is passed over.
        let last = u32::try_from(chunk_count(self.wanted.content.size)).unwrap_or(u32::MAX).saturating_sub(1);
        let from_chunk = self.next?.min(last);
        Some(Request { feed: feed.id(), slot: files::content_slot(), entry: *number, from_chunk })
    }

    /// Makes what came a file: segments first, then the row, and the wish is fulfilled in the same append. False where it
    /// is not what the record states: then nothing of it is kept, it is not wished for again, and people are told.
    pub fn finish(&mut self, list: &ChunkList) -> Result<bool, ShareError> {
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
        let digest = match self.whole.take() {
            Some(whole) => Hash::from_bytes(whole.finish()),
            None => match files::digest(&self.node, partition, &row) {
                Ok(digest) => digest,
                Err(error) => {
                    self.begin_anew(partition, &row)?;
                    return Err(error);
                }
            },
        };
        if digest != row.sha256 {
            self.refuse(partition, &row)?;
            return Ok(false);
        }
        let (file, counted) = (&self.wanted.file, self.wanted.part.bytes());
        let mut txn = self.node.holdings.begin();
        // What was withdrawn or recalled while it came is not kept.
        if !wishes::stands(&txn, partition, file, self.wanted.place)? {
            drop(txn);
            self.next = None;
            files::discard(&self.node, partition, &row)?;
            return Ok(false);
        }
        let kept = files::keep(&mut txn, partition, &row)?;
        match kept {
            Kept::Already => room::give_back(&mut txn, file.feed.sender, counted)?,
            Kept::New | Kept::Instead(_) => {
                room::fill(&mut txn, file.feed.sender, row.size.saturating_sub(counted))?;
            }
        }
        txn.delete(partition, Table::Attachment, &part_key(file))?;
        wishes::remove(&mut txn, partition, file, self.wanted.place)?;
        let about = [("agreement", file.feed.agreement.to_string()), ("record", file.record.to_string())];
        self.node.journal(&mut txn, "file-received", &about)?;
        txn.commit()?;
        match kept {
            Kept::New => {}
            Kept::Already => files::discard(&self.node, partition, &row)?,
            Kept::Instead(before) => files::discard(&self.node, partition, &before)?,
        }
        Ok(true)
    }

    /// Forgets a file that is not what its record states, and the wish for it.
    fn refuse(&mut self, partition: Partition, row: &FileRow) -> Result<(), ShareError> {
        let (file, now) = (&self.wanted.file, self.node.clock.now());
        let mut txn = self.node.holdings.begin();
        txn.delete(partition, Table::Attachment, &part_key(file))?;
        room::give_back(&mut txn, file.feed.sender, self.wanted.part.bytes())?;
        wishes::refuse(&mut txn, partition, file, (self.wanted.place, now))?;
        let about = [
            ("agreement", file.feed.agreement.to_string()),
            ("record", file.record.to_string()),
            ("partner", file.feed.sender.to_string()),
        ];
        self.node.journal(&mut txn, "file-refused", &about)?;
        txn.commit()?;
        self.next = None;
        files::discard(&self.node, partition, row)?;
        tracing::warn!(partner = %file.feed.sender.short(), record = %file.record.short(), "a file is not what its record states");
        let why = "what it gave as the file of a record is not what the record states: it is not kept, see the journal";
        self.node.note_error(file.feed.sender, why.to_owned());
        Ok(())
    }

    /// What is here of a file does not read as it was written: the wish stays, and the file comes from its beginning.
    fn begin_anew(&mut self, partition: Partition, row: &FileRow) -> Result<(), ShareError> {
        // Where the store itself failed, the file is not to blame.
        if self.node.holdings.failed().is_some() {
            return Ok(());
        }
        let mut txn = self.node.holdings.begin();
        txn.delete(partition, Table::Attachment, &part_key(&self.wanted.file))?;
        room::give_back(&mut txn, self.wanted.file.feed.sender, self.wanted.part.bytes())?;
        txn.commit()?;
        self.next = None;
        files::discard(&self.node, partition, row)
    }

    pub(crate) fn chunk(&mut self, index: u32, bytes: &[u8]) -> io::Result<()> {
        let next = self.next.ok_or_else(|| io::Error::other("a chunk before it could not be kept"))?;
        // A fetch that was given up may still have been at its last chunk when the next one asked.
        if index < next {
            return Ok(());
        }
        if index > next {
            return Err(io::Error::other("a chunk before it is missing"));
        }
        self.next = None;
        if let Some(whole) = &mut self.whole {
            whole.update(bytes);
        }
        if let Some(segments) = self.writer.chunk(bytes).map_err(io::Error::other)? {
            let row = PartRow { id: self.wanted.part.id, segments };
            let bytes = encode("part of a file", &row).map_err(io::Error::other)?;
            let partition = Partition::Agreement(self.wanted.agreement);
            let mut txn = self.node.holdings.begin();
            let stands = wishes::stands(&txn, partition, &self.wanted.file, self.wanted.place);
            if !stands.map_err(io::Error::other)? {
                return Err(io::Error::other("its record was taken back"));
            }
            txn.put(partition, Table::Attachment, &part_key(&self.wanted.file), &bytes).map_err(io::Error::other)?;
            room::fill(&mut txn, self.wanted.file.feed.sender, files::SEGMENT_BYTES).map_err(io::Error::other)?;
            txn.commit().map_err(io::Error::other)?;
            self.wanted.part = row;
            if let Some(why) = room::disk(&self.node, For::Evidence) {
                return Err(io::Error::new(io::ErrorKind::StorageFull, why));
            }
        }
        self.next = index.checked_add(1);
        Ok(())
    }
}

impl Sink for Shared {
    fn chunk(&mut self, index: u32, bytes: &[u8]) -> io::Result<()> {
        self.lock().unwrap_or_else(PoisonError::into_inner).chunk(index, bytes)
    }
}
