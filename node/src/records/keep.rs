//! Keeping the organisation's own records: drafts are committed, attested in one batch, sealed, appended.

use super::stored::{BatchRow, LineRow, OwnRow, RowDamage, decode, encode};
use crate::{
    node::Node,
    seal::keyring::Partition,
    secret::{self, RandomError},
    store::{StoreError, layout::Table, txn::Txn},
};
use entente_protocol::{
    batch::{Batch, BatchError},
    id::{BatchId, LineId, Nonce, RecordId},
    limits,
    record::{Body, Draft, DraftError, Record, kind::Kind},
    value::Value,
};
use zeroize::Zeroizing;

/// Scope of the list of every record of ours, in order of arrival.
pub const ALL: &[u8] = b"all";

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

/// Loads a record of ours.
pub fn own(node: &Node, record: RecordId) -> Result<OwnRow, KeepError> {
    let row = node.holdings.get(Partition::Own, Table::Record, record.as_bytes())?;
    Ok(decode("record", &row.ok_or(KeepError::NoRecord(record))?)?)
}

/// Loads a record of ours if it is one.
pub fn find_own(node: &Node, record: RecordId) -> Result<Option<OwnRow>, KeepError> {
    let row = node.holdings.get(Partition::Own, Table::Record, record.as_bytes())?;
    row.map(|row| Ok(decode("record", &row)?)).transpose()
}

/// The records of a line of ours, oldest first.
pub fn line(node: &Node, line: LineId) -> Result<LineRow, KeepError> {
    match node.holdings.get(Partition::Own, Table::Line, line.as_bytes())? {
        Some(row) => Ok(decode("line", &row)?),
        None => Ok(LineRow::default()),
    }
}

/// A fresh random line.
pub fn new_line() -> Result<LineId, RandomError> {
    Ok(LineId::from_bytes(secret::random()?))
}

/// What a value is found by: field of the index, and its key.
pub fn index_terms(kind: Kind, slot: u8, value: &Value) -> Vec<(&'static str, Vec<u8>)> {
    let Some(row) = kind.slot_number(slot) else { return Vec::new() };
    let text = |field: &'static str, value: &Value| {
        value.as_text().map(|t| (field, t.to_owned().into_bytes())).into_iter().collect::<Vec<_>>()
    };
    match (kind, row.name) {
        (_, "number") => text("number", value),
        (_, "serial") => {
            let mut terms: Vec<Vec<u8>> = ["s1", "s2", "s3"]
                .into_iter()
                .filter_map(|form| value.member(form)?.as_text().map(|t| t.to_owned().into_bytes()))
                .collect();
            terms.sort_unstable();
            terms.dedup();
            terms.into_iter().map(|t| ("serial", t)).collect()
        }
        (
            _,
            "make-country" | "place-country" | "country" | "maker-country" | "import-country" | "from-country"
            | "to-country",
        ) => text("country", value),
        (_, "recovered-month" | "taken-month" | "issued-month" | "when-month" | "on-month") => text("month", value),
        (Kind::Party, "name") => {
            value.as_text().map(|t| vec![("name", t.to_lowercase().into_bytes())]).unwrap_or_default()
        }
        _ if row.shape.refers() => {
            row.shape.targets(value).into_iter().map(|r| ("ref", r.line.as_bytes().to_vec())).collect()
        }
        _ => Vec::new(),
    }
}

/// A draft that is a record already, with its line's earlier records.
pub struct Kept {
    /// The record.
    pub id: RecordId,
    /// Its line.
    pub line: LineId,
}

/// Commits and attests drafts as one batch and adds them to a transaction. Nothing is written before its commit.
///
/// At most [`limits::BATCH_RECORDS_MAX`] drafts; bad ones are the caller's to leave out first ([`commit`]).
pub fn add(node: &Node, txn: &mut Txn<'_>, records: &[Record]) -> Result<Vec<Kept>, KeepError> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<RecordId> = records.iter().map(Record::id).collect();
    let batch_secret = Zeroizing::new(secret::random::<32>()?);
    let now = node.clock.now();
    let batch = Batch::attest(&ids, &batch_secret, node.keys.org, now, None, &node.keys.records)?;
    let positions = batch.positions();
    let row = BatchRow { head: batch.head().clone(), secret: batch_secret.to_vec(), records: ids };
    txn.put_new(Partition::Own, Table::Batch, batch.id().as_bytes(), &encode("batch", &row)?)?;
    let mut kept = Vec::with_capacity(records.len());
    for record in records {
        let position = positions.get(&record.id()).copied().unwrap_or_default();
        kept.push(add_one(txn, record, batch.id(), position)?);
    }
    Ok(kept)
}

fn add_one(txn: &mut Txn<'_>, record: &Record, batch: BatchId, position: u32) -> Result<Kept, KeepError> {
    let (id, line) = (record.id(), record.header().line);
    let row = encode("record", &OwnRow::new(record, batch, position))?;
    txn.put(Partition::Own, Table::Record, id.as_bytes(), &row)?;
    let mut lines: LineRow = match txn.get(Partition::Own, Table::Line, line.as_bytes())? {
        Some(row) => decode("line", &row)?,
        None => LineRow::default(),
    };
    lines.records.push(id);
    txn.put(Partition::Own, Table::Line, line.as_bytes(), &encode("line", &lines)?)?;
    txn.push(Partition::Own, Table::RecordList, ALL, id.as_bytes())?;
    let kind = record.header().kind;
    for (slot, bytes) in record.values() {
        let Some(row) = kind.slot_number(*slot) else { continue };
        if !indexed(row.name, row.shape.refers()) {
            continue;
        }
        for (field, key) in index_terms(kind, *slot, &super::stored::value(bytes)?) {
            txn.index(Partition::Own, field, &key, id.as_bytes())?;
        }
    }
    txn.index(Partition::Own, "kind", kind.name().as_bytes(), id.as_bytes())?;
    Ok(Kept { id, line })
}

/// Whether a slot is found by its value; asked before its bytes are read.
pub fn indexed(name: &str, refers: bool) -> bool {
    refers
        || matches!(
            name,
            "number"
                | "serial"
                | "name"
                | "make-country"
                | "place-country"
                | "country"
                | "maker-country"
                | "import-country"
                | "from-country"
                | "to-country"
                | "recovered-month"
                | "taken-month"
                | "issued-month"
                | "when-month"
                | "on-month"
        )
}

/// Checks a draft and commits to its fields with fresh randomness.
pub fn commit(draft: Draft) -> Result<Record, KeepError> {
    let which = draft.value(0).and_then(Value::as_text).unwrap_or("a draft").to_owned();
    let nonce = Nonce::from_bytes(secret::random()?);
    let seed = Zeroizing::new(secret::random::<32>()?);
    draft.commit(nonce, seed).map_err(|fault| KeepError::Draft { which, fault })
}

const _: () = assert!(limits::BATCH_RECORDS_MAX >= 5_000, "one import step is one batch");

/// A record's whole batch again, to prove any of its records.
pub fn batch(node: &Node, id: BatchId) -> Result<Batch, KeepError> {
    let row = node.holdings.get(Partition::Own, Table::Batch, id.as_bytes())?;
    let row: BatchRow = decode("batch", &row.ok_or(StoreError::Broken { at: 0 })?)?;
    let secret: [u8; 32] = row.secret.as_slice().try_into().map_err(|_| StoreError::Broken { at: 0 })?;
    Ok(Batch::from_parts(&row.records, &secret, row.head)?)
}
