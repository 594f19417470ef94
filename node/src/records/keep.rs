//! Keeping the organisation's own records: drafts are committed, attested in one batch, sealed, appended.

use super::{
    index::{self, Facets},
    stored::{BatchRow, OwnRow, RowDamage, decode, encode},
};
use crate::{
    keys::{suspect, went::Went},
    node::Node,
    seal::keyring::Partition,
    secret::{self, RandomError},
    store::{StoreError, layout::Table, txn::Txn},
};
use entente_protocol::{
    batch::{self, Batch, BatchError, danger_unverified_head},
    cose::SignatureBytes,
    custody::proof::logged_batch,
    id::{BatchId, Hash, LineId, Nonce, RecordId},
    record::{Body, Draft, DraftError, Record, kind::Kind},
    time::UnixMillis,
    value::Value,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use zeroize::Zeroizing;

/// Records could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// A draft that cannot become a record.
    #[error("{which}: {fault}")]
    Draft {
        /// Which draft: its evidence number.
        which: String,
        /// Why.
        fault: DraftError,
    },
    /// Nothing of ours has this id.
    #[error("there is no record `{0}` among the organisation's own: see `entente search`")]
    NoRecord(RecordId),
    /// The store failed or is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row does not read as written.
    #[error(transparent)]
    Damage(#[from] RowDamage),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The batch could not be made.
    #[error(transparent)]
    Batch(#[from] BatchError),
}

impl OwnRow {
    /// The kind, from the body.
    pub fn kind(&self) -> Result<Kind, KeepError> {
        Ok(self.header()?.header().kind)
    }
    /// The body, read.
    pub fn header(&self) -> Result<Body, KeepError> {
        Body::from_bytes(&self.body).map_err(|_| KeepError::Store(StoreError::Broken { at: 0 }))
    }
}

fn row_at(node: &Node, place: u64) -> Result<OwnRow, KeepError> {
    let row = node.holdings.item(Partition::Own, Table::Record, b"", place)?;
    // INVARIANT: an index token, a batch and its records are written in one append.
    Ok(decode("record", &row.ok_or(StoreError::Broken { at: place })?)?)
}

/// The record of ours at a place, with its id; none beyond the last.
pub fn at(node: &Node, place: u64) -> Result<Option<(RecordId, OwnRow)>, KeepError> {
    let Some(row) = node.holdings.item(Partition::Own, Table::Record, b"", place)? else { return Ok(None) };
    let row: OwnRow = decode("record", &row)?;
    Ok(Some((row.header()?.id(), row)))
}

/// Loads a record of ours.
pub fn own(node: &Node, record: RecordId) -> Result<OwnRow, KeepError> {
    find_own(node, record)?.ok_or(KeepError::NoRecord(record))
}

/// Loads a record of ours if it is one.
pub fn find_own(node: &Node, record: RecordId) -> Result<Option<OwnRow>, KeepError> {
    let place = node.holdings.first(Partition::Own, index::ID, record.as_bytes())?;
    place.map(|place| row_at(node, place)).transpose()
}

/// The other records of a record's line, oldest first.
pub fn siblings(node: &Node, record: RecordId, line: LineId) -> Result<Vec<RecordId>, KeepError> {
    let key = index::line(node.keys.org, line);
    let later = node.holdings.find(Partition::Own, index::LINE, &key, Some(0), usize::MAX)?;
    // Most lines have one record, which is this one.
    if later.is_empty() {
        return Ok(Vec::new());
    }
    let first = node.holdings.first(Partition::Own, index::LINE, &key)?;
    let mut ids = Vec::with_capacity(later.len() + 1);
    for place in first.into_iter().chain(later) {
        // A place that cannot be read is damage, and `row_at` says so.
        ids.push(row_at(node, place)?.header()?.id());
    }
    ids.retain(|id| *id != record);
    Ok(ids)
}

/// The newest record of a line of ours.
pub fn newest(node: &Node, line: LineId) -> Result<Option<RecordId>, KeepError> {
    let place = node.holdings.newest(Partition::Own, index::LINE, &index::line(node.keys.org, line))?;
    place.map(|place| Ok(row_at(node, place)?.header()?.id())).transpose()
}

/// The records of a line of ours, oldest first.
pub fn line(node: &Node, line: LineId) -> Result<Vec<RecordId>, KeepError> {
    let key = index::line(node.keys.org, line);
    let places = node.holdings.find(Partition::Own, index::LINE, &key, None, usize::MAX)?;
    places.into_iter().map(|place| Ok(row_at(node, place)?.header()?.id())).collect()
}

/// What an import made of one thing before: its newest record.
pub fn imported(node: &Node, key: &[u8; 32]) -> Result<Option<(Body, OwnRow)>, KeepError> {
    let Some(place) = node.holdings.newest(Partition::Own, index::IMPORT, key)? else { return Ok(None) };
    let row = row_at(node, place)?;
    Ok(Some((row.header()?, row)))
}

/// Records of ours with their places in order of arrival, after a place: the rest of the batch that comes next.
/// Nothing after the last.
pub fn after(node: &Node, place: Option<u64>) -> Result<Vec<(u64, RecordId)>, KeepError> {
    let next = place.map_or(0, |place| place.saturating_add(1));
    let Some((_, row)) = at(node, next)? else { return Ok(Vec::new()) };
    let batch = batch_row(node, row.batch)?;
    Ok((batch.first..).zip(batch.records).filter(|(place, _)| *place >= next).collect())
}

/// Records of ours.
pub fn count(node: &Node) -> Result<u64, KeepError> {
    Ok(node.holdings.count(Partition::Own, Table::Record, b"")?)
}

/// A fresh random line.
pub fn new_line() -> Result<LineId, RandomError> {
    Ok(LineId::from_bytes(secret::random()?))
}

/// A record on its way into the store.
pub struct New {
    /// The record.
    pub record: Record,
    /// Whether it amends a record of its line that is kept already.
    pub amends: bool,
    /// Where an import took it from: the thing's identity in its collection, and the digest of what was said.
    pub import: Option<([u8; 32], Hash)>,
}

/// Attests records as one batch and adds them to a transaction. Nothing is written before its commit.
///
/// At most [`BATCH_RECORDS_MAX`](entente_protocol::limits::BATCH_RECORDS_MAX) records; bad drafts are the caller's to leave out first ([`commit`]).
/// The batch that they make.
pub fn add(node: &Node, txn: &mut Txn<'_>, records: Vec<New>) -> Result<Option<BatchId>, KeepError> {
    if records.is_empty() {
        return Ok(None);
    }
    let ids: Vec<RecordId> = records.iter().map(|new| new.record.id()).collect();
    let batch_secret = Zeroizing::new(secret::random::<32>()?);
    let now = node.clock.now();
    let batch = Batch::attest(&ids, &batch_secret, node.keys.org, now, node.log.witnessed(), &node.keys.records)?;
    let positions = batch.positions();
    let first = txn.count(Partition::Own, Table::Record, b"")?;
    let head = batch.head().clone();
    // INVARIANT: a head of our own making reads.
    let logged = logged_batch(&head).map_err(|_| StoreError::Broken { at: first })?;
    let about = [("records", ids.len().to_string())];
    let row = BatchRow {
        due: false,
        head,
        sent: Vec::new(),
        again: None,
        between: Vec::new(),
        first,
        secret: batch_secret.to_vec(),
        records: ids,
    };
    let number = txn.push(Partition::Own, Table::Batch, b"", &encode("batch", &row)?)?;
    node.journal_signed(txn, now, ("batch", &about), logged)?;
    let mut facets = Facets::default();
    for new in records {
        let position = positions.get(&new.record.id()).copied().unwrap_or_default();
        add_one(txn, &mut facets, new, number, position)?;
    }
    facets.write(txn, Partition::Own)?;
    Ok(Some(batch.id()))
}

fn add_one(txn: &mut Txn<'_>, facets: &mut Facets, new: New, batch: u64, position: u32) -> Result<(), KeepError> {
    let New { record, amends, import } = new;
    let (id, kind) = (record.id(), record.header().kind);
    let line = index::line(record.header().originator, record.header().line);
    let row = OwnRow::new(record, batch, position, import.as_ref().map(|(_, digest)| *digest));
    let place = txn.push(Partition::Own, Table::Record, b"", &row.encode()?)?;
    txn.index_once(Partition::Own, index::ID, id.as_bytes(), place)?;
    let known = [Some((index::LINE, line.as_slice())), import.as_ref().map(|(key, _)| (index::IMPORT, key.as_slice()))];
    for (field, key) in known.into_iter().flatten() {
        match amends {
            true => txn.index(Partition::Own, field, key, place)?,
            false => txn.index_once(Partition::Own, field, key, place)?,
        }
    }
    facets.kind(kind, place);
    for (slot, bytes) in &row.values {
        let Some(slot) = kind.slot_number(*slot).filter(|slot| index::indexed(slot)) else { continue };
        for term in index::terms(kind, slot, &super::stored::value(bytes)?) {
            facets.term(txn, Partition::Own, term, place)?;
        }
    }
    Ok(())
}

/// Checks a draft and commits to its fields with fresh randomness.
pub fn commit(draft: Draft) -> Result<Record, KeepError> {
    let which = draft.value(0).and_then(Value::as_text).unwrap_or("a draft").to_owned();
    let nonce = Nonce::from_bytes(secret::random()?);
    let seed = Zeroizing::new(secret::random::<32>()?);
    draft.commit(nonce, seed).map_err(|fault| KeepError::Draft { which, fault })
}

/// The row of a batch of ours.
pub fn batch_row(node: &Node, number: u64) -> Result<BatchRow, KeepError> {
    let row = node.holdings.item(Partition::Own, Table::Batch, b"", number)?;
    Ok(decode("batch", &row.ok_or(StoreError::Broken { at: number })?)?)
}

/// The id of a batch of ours.
pub fn batch_id(node: &Node, number: u64) -> Result<BatchId, KeepError> {
    let row = batch_row(node, number)?;
    Ok(batch::danger_id_of_head(&row.head).map_err(|_| StoreError::Broken { at: number })?)
}

/// The records of a batch of ours, in their order.
pub fn in_batch(node: &Node, number: u64) -> Result<Vec<RecordId>, KeepError> {
    Ok(batch_row(node, number)?.records)
}

/// A head over the records of a batch under the key of today.
pub fn attested_anew(node: &Node, row: &BatchRow) -> Result<(UnixMillis, SignatureBytes), KeepError> {
    let secret: [u8; 32] = row.secret.as_slice().try_into().map_err(|_| StoreError::Broken { at: row.first })?;
    let batch = Batch::from_parts(&row.records, &secret, row.newest().clone())?;
    let at = time_of_its_own(row, node.clock.now())?;
    Ok((at, batch.again(node.keys.org, at, node.log.witnessed(), &node.keys.records)?.head().clone()))
}

/// A time from now on that no head of a batch states yet. A head stands in the log under what it says, whoever signed it: two
/// of one batch and one time would stand there as one.
fn time_of_its_own(row: &BatchRow, now: UnixMillis) -> Result<UnixMillis, KeepError> {
    let stated = row.signed().map(|head| Ok(danger_unverified_head(head).map_err(|_| OwnRow::damage())?.1));
    let stated = stated.collect::<Result<BTreeSet<_>, RowDamage>>()?;
    let mut at = now;
    // Ends: a batch has finitely many heads.
    while stated.contains(&at) {
        at = at.plus(1);
    }
    Ok(at)
}

/// A batch by its number, and whether it is one to be sent.
type Known = ((u64, bool), Arc<Batch>);

/// Heads by the number of their batch.
type Made = BTreeMap<u64, SignatureBytes>;

/// Batches that were lately asked for, by number, the last one behind. A batch never changes once it is in the store.
#[derive(Default)]
pub struct Batches {
    /// By number, and whether it is one to be sent.
    trees: Mutex<VecDeque<Known>>,
    /// Since when each is suspect, if it is: looked up once, where any is.
    suspect: Mutex<BTreeMap<u64, Option<UnixMillis>>>,
    /// What went under keys that are in other hands: looked up once, where any is.
    went: Mutex<Option<Arc<Went>>>,
    /// Rises when one of these is forgotten: what was being found out then is not kept.
    forgotten: AtomicU64,
    /// Heads that were made to send batches, until they are in the store.
    made: Mutex<Made>,
}

impl Batches {
    /// One tree has some megabytes; a run rarely spans more batches.
    const MAX: usize = 4;

    /// Forgets them: another key signs, or a head is another.
    pub fn forget(&self) {
        self.trees.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.forget_suspect();
    }

    /// Forgets what is suspect: more may have gone under a key that is in other hands. To find it out again every run may have
    /// to be read, so nothing that a partner may say as often as it likes leads here.
    pub fn forget_suspect(&self) {
        // First, for the others are found by it.
        *self.went.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.suspect.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Forgets one batch: it has another head.
    pub fn forget_one(&self, number: u64) {
        self.trees.lock().unwrap_or_else(PoisonError::into_inner).retain(|((known, _), _)| *known != number);
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.suspect.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What went under keys that are in other hands, as it is known or found out. It is not forgotten while it is looked for:
    /// what is kept is never of keys of yesterday.
    pub fn went<E>(&self, find: impl FnOnce() -> Result<Went, E>) -> Result<Arc<Went>, E> {
        let mut known = self.went.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(went) = &*known {
            return Ok(Arc::clone(went));
        }
        let found = Arc::new(find()?);
        *known = Some(Arc::clone(&found));
        Ok(found)
    }

    /// Since when a batch is suspect, as it is known or found out.
    pub fn suspect<E>(
        &self,
        number: u64,
        find: impl FnOnce() -> Result<Option<UnixMillis>, E>,
    ) -> Result<Option<UnixMillis>, E> {
        if let Some(known) = self.suspect.lock().unwrap_or_else(PoisonError::into_inner).get(&number) {
            return Ok(*known);
        }
        let before = self.forgotten.load(Ordering::SeqCst);
        let found = find()?;
        let mut known = self.suspect.lock().unwrap_or_else(PoisonError::into_inner);
        if self.forgotten.load(Ordering::SeqCst) == before {
            known.insert(number, found);
        }
        Ok(found)
    }
}

/// A record's whole batch again, to prove any of its records, as it is kept.
pub fn batch(node: &Node, number: u64) -> Result<Arc<Batch>, KeepError> {
    cached(node, (number, false), |_, batch| Ok(batch))
}

/// The same to be sent. Where another key has taken the place of its key in good order, or its head is older than the day
/// since which the key is in other hands, the same records are attested anew under the key of today (BAT-5). Whoever sends
/// it keeps the head first ([`keep_heads`]).
pub fn batch_to_send(node: &Node, number: u64) -> Result<Arc<Batch>, KeepError> {
    cached(node, (number, true), |row, batch| {
        if is_of_today(node, &batch) || suspect::of_batch(node, (number, row))?.is_some() {
            return Ok(batch);
        }
        let at = time_of_its_own(row, node.clock.now())?;
        let anew = batch.again(node.keys.org, at, node.log.witnessed(), &node.keys.records)?;
        node.batches.made().insert(number, anew.head().clone());
        Ok(anew)
    })
}

/// Whether the key of today signed a batch. Another may have taken its place since it was remembered.
fn is_of_today(node: &Node, batch: &Batch) -> bool {
    danger_unverified_head(batch.head()).is_ok_and(|(key, _)| key == node.keys.records.public().id())
}

/// Writes down the heads that were made to send batches: what is known later of their key is then known of them.
pub fn keep_heads(node: &Node, txn: &mut Txn<'_>) -> Result<KeptHeads, KeepError> {
    let made = node.batches.made().clone();
    for (number, head) in &made {
        let row = txn.item(Partition::Own, Table::Batch, b"", *number)?.ok_or(StoreError::Broken { at: *number })?;
        let mut row: BatchRow = decode("batch", &row)?;
        if row.sent.last() == Some(head) {
            // Another that sends it was sooner.
            continue;
        }
        row.sent.push(head.clone());
        txn.replace_item(Partition::Own, Table::Batch, b"", *number, &encode("batch", &row)?)?;
        // INVARIANT: a head of our own making reads.
        let logged = logged_batch(head).map_err(|_| StoreError::Broken { at: *number })?;
        let (_, stated) = danger_unverified_head(head).map_err(|_| StoreError::Broken { at: *number })?;
        let about = [("batch", number.to_string())];
        match node.log.may_state(stated) {
            true => node.journal_signed(txn, stated, ("batch-again", &about), logged).map(|_| ())?,
            // The leaf of that time was made meanwhile.
            false => node.journal(txn, "batch-again", &about)?,
        }
    }
    Ok(KeptHeads(made))
}

/// Heads that a transaction keeps.
#[must_use]
pub struct KeptHeads(Made);

impl KeptHeads {
    /// After the commit: others that send the same batches need not keep them.
    pub fn done(self, node: &Node) {
        let mut made = node.batches.made();
        self.0.into_iter().for_each(|(number, head)| {
            if made.get(&number) == Some(&head) {
                made.remove(&number);
            }
        });
    }
}

/// The same where nothing else is written.
pub fn keep_heads_alone(node: &Node) -> Result<(), KeepError> {
    if node.batches.made().is_empty() {
        return Ok(());
    }
    let mut txn = node.holdings.begin();
    let kept = keep_heads(node, &mut txn)?;
    txn.commit()?;
    kept.done(node);
    Ok(())
}

fn cached(
    node: &Node,
    (number, to_send): (u64, bool),
    finish: impl FnOnce(&BatchRow, Batch) -> Result<Batch, KeepError>,
) -> Result<Arc<Batch>, KeepError> {
    let known = || node.batches.trees.lock().unwrap_or_else(PoisonError::into_inner);
    let at = (number, to_send);
    if let Some((_, batch)) = known().iter().find(|(n, batch)| *n == at && (!to_send || is_of_today(node, batch))) {
        return Ok(Arc::clone(batch));
    }
    let row = batch_row(node, number)?;
    let secret: [u8; 32] = row.secret.as_slice().try_into().map_err(|_| StoreError::Broken { at: number })?;
    let head = if to_send { row.to_send() } else { row.newest() };
    let batch = Batch::from_parts(&row.records, &secret, head.clone())?;
    let batch = Arc::new(finish(&row, batch)?);
    let mut batches = known();
    batches.retain(|(n, _)| *n != at);
    if batches.len() >= Batches::MAX {
        batches.pop_front();
    }
    batches.push_back((at, Arc::clone(&batch)));
    Ok(batch)
}
