//! Which rows there are: tables, their keys and values, and how row keys are made.
//!
//! ```text
//! point    table u8 | HMAC(index key, ROW_POINT, table, logical key)[..16]             17 bytes
//! list     table u8 | HMAC(index key, ROW_LIST, table, scope)[..16] | counter u64 BE   25 bytes
//! counter  Counter  | HMAC(index key, ROW_COUNTER, table, scope)[..16]                 17 bytes
//! index    Index    | T[..12], T = HMAC(index key, ROW_INDEX, field, value, n as u64 BE)  13 bytes
//! ```
//!
//! The value of an index row is the place of a record in its list, masked and checked, in 12 bytes:
//!
//! ```text
//! T[12..18] XOR place as u48 BE | HMAC(index key, ROW_PLACE, row key, place)[..6]
//! ```
//!
//! A record has several index rows, so that each byte of them counts, and a sealed value costs 45 bytes and a key of
//! its own for what is a number: a mask from the same output that names the row hides it as well. Two of ten million
//! names meet with a chance of 2^-50; what a row leads to is read and compared all the same. Each row is written once;
//! should one be written again after a lost tail, who holds both disks learns how two places differ, and no value.
//!
//! The index key is the partition's own, so no row key shows a partner, record, agreement or value,
//! and the same logical key in two partitions makes two unrelated rows. What still shows: the table,
//! how many rows it has, and which rows of a list belong together. Every other value is sealed (`seal::value`).

use super::StoreError;
use crate::seal::{keyring::PartitionKeys, label};

/// A table. The number is on disk: it never changes its meaning and is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Facts about the store itself. Point; key: a name; partition: node.
    Meta = 1,
    /// Next counter of each list, as 8 bytes BE. Written by `push` only.
    Counter = 2,
    /// Index tokens; value: the masked place of a record in its partition's list.
    Index = 3,
    /// Events of the store. List of scope ""; value: the event, which names the one before it; partition: node. Never
    /// changes.
    Journal = 4,
    /// What an event says of one partition. Point; key: the event's place in the journal as 8 bytes BE.
    JournalPart = 5,
    /// Our own records in order of arrival, each at its place. List of scope "".
    Record = 10,
    /// The release log. List; value: record id.
    RecordList = 11,
    /// What the records of one append are found by, where many share a value. List of scope "".
    Facet = 12,
    /// Attested batches. List of scope "".
    Batch = 13,
    /// Signed events of the release gate. List of scope "".
    Review = 14,
    /// Attachments by digest. Point; key: digest.
    Attachment = 15,
    /// Where a record of ours stands at the release gate. Point; key: record id.
    Gate = 18,
    /// Partners. Point; key: organisation id; partition: node.
    Partner = 20,
    /// Partners in order of introduction. List of scope ""; value: organisation id; partition: node.
    PartnerList = 21,
    /// Cards of a partner, oldest first. List; scope: organisation id; partition: node.
    Card = 22,
    /// Organisations that a partner introduced. Point; key: organisation id; and in order, list of scope ""; partition: node.
    Introduced = 23,
    /// Agreements. Point; key: agreement id.
    Agreement = 30,
    /// Agreements in order. List of scope "".
    AgreementList = 31,
    /// Versions of an agreement. List; scope: agreement id.
    AgreementVersion = 32,
    /// Decisions to withhold. List; scope: feed id.
    Withholding = 33,
    /// Entries of an outgoing feed. List; scope: feed id.
    FeedOut = 40,
    /// Signed runs of an outgoing feed. List; scope: feed id.
    RunOut = 41,
    /// Entries of an incoming feed. List; scope: feed id.
    FeedIn = 42,
    /// Countersigned runs of an incoming feed. List; scope: feed id.
    RunIn = 43,
    /// Where a feed or a driver of work stands. Point; key: feed id or a name.
    Cursor = 44,
    /// Releases. Point; key: record id and recipient.
    Release = 45,
    /// Bodies and disclosed slots as they were received, each at its place. List of scope "".
    Received = 46,
    /// What was disclosed of a received record before less of it was. List; scope: record id.
    Earlier = 36,
    /// Withdrawn received records. Point; key: record id.
    Withdrawn = 49,
    /// What waits in an outgoing feed. List; scope: feed id.
    Pending = 39,
    /// Files to fetch. List; scope: "wanted" and the sender. Where a record's wish stands. Point; key: record id.
    Wanted = 38,
    /// Countersignatures of an outgoing feed. List; scope: feed id.
    Receipt = 37,
    /// Recalls, their answers, holds, and how far retention is: scopes and keys stand in `recall`.
    Recall = 47,
    /// Grants to release onward, requests for them, and who was passed what: scopes and keys stand in `onward`.
    Grant = 48,
    /// Alerts. List of scope "".
    Alert = 50,
    /// Trace requests and responses. List; scope: request id.
    Trace = 51,
    /// The own log, its heads, and what is known of others': scopes and keys stand in `custody`; partition: node.
    Log = 52,
    /// Tiles of the own log. Point; key: epoch, level and index; partition: node.
    Tile = 53,
    /// Runs whose proofs partners owe. List; scope: organisation and store; partition: node.
    Owed = 54,
    /// Users of this node. Point; not in use yet.
    User = 60,
    /// Certificates of persons in the order in which they were made. List of scope ""; partition: node.
    UserList = 61,
    /// Who brought a batch in, where that was a person. Point; key: batch id.
    Import = 62,
}

impl Table {
    /// The name of a row's table, for people.
    pub fn name_of(row: &[u8]) -> &'static str {
        let all = [
            (Self::Meta, "facts"),
            (Self::Counter, "counters"),
            (Self::Index, "index"),
            (Self::Journal, "journal"),
            (Self::JournalPart, "what events say"),
            (Self::Record, "own records"),
            (Self::RecordList, "release log"),
            (Self::Facet, "what records share"),
            (Self::Batch, "batches"),
            (Self::Review, "reviews and releases"),
            (Self::Attachment, "files"),
            (Self::Gate, "release gate"),
            (Self::Partner, "partners"),
            (Self::PartnerList, "list of partners"),
            (Self::Card, "cards"),
            (Self::Agreement, "agreements"),
            (Self::AgreementList, "list of agreements"),
            (Self::AgreementVersion, "versions of agreements"),
            (Self::FeedOut, "sent entries"),
            (Self::RunOut, "sent runs"),
            (Self::FeedIn, "received entries"),
            (Self::RunIn, "received runs"),
            (Self::Cursor, "feeds"),
            (Self::Release, "releases"),
            (Self::Received, "received records"),
            (Self::Earlier, "earlier disclosures"),
            (Self::Withdrawn, "withdrawals"),
            (Self::Pending, "what waits in feeds"),
            (Self::Wanted, "files to fetch"),
            (Self::Receipt, "receipts"),
            (Self::Recall, "recalls"),
            (Self::Introduced, "introduced organisations"),
            (Self::Grant, "onward release"),
            (Self::Log, "log"),
            (Self::Tile, "tiles of the log"),
            (Self::Owed, "proofs owed"),
            (Self::UserList, "persons"),
            (Self::Import, "who brought in"),
        ];
        let known = all.iter().find(|(table, _)| row.first() == Some(&(*table as u8)));
        known.map_or("a table that this version does not use", |(_, name)| name)
    }
}

/// Bytes of a keyed row name.
const NAME_BYTES: usize = 16;
/// The same of an index row.
const INDEX_NAME_BYTES: usize = 12;

/// Row key of a single value.
pub fn point(keys: &PartitionKeys, table: Table, key: &[u8]) -> Vec<u8> {
    row(table, keys.token(label::ROW_POINT, &[&[table as u8], key]))
}

/// Common part of the row keys of a list.
pub fn list(keys: &PartitionKeys, table: Table, scope: &[u8]) -> Vec<u8> {
    row(table, keys.token(label::ROW_LIST, &[&[table as u8], scope]))
}

/// Row key of a list's item.
pub fn item(list: &[u8], counter: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(list.len() + 8);
    key.extend_from_slice(list);
    key.extend_from_slice(&counter.to_be_bytes());
    key
}

/// The counter at the end of an item's row key.
pub fn counter_of(row: &[u8]) -> Option<u64> {
    row.last_chunk::<8>().map(|counter| u64::from_be_bytes(*counter))
}

/// Row key of a list's next counter.
pub fn counter(keys: &PartitionKeys, table: Table, scope: &[u8]) -> Vec<u8> {
    row(Table::Counter, keys.token(label::ROW_COUNTER, &[&[table as u8], scope]))
}

/// The index row of the `n`-th occurrence of a value in a field, counted from 0.
pub struct Token {
    /// Row key.
    pub row: Vec<u8>,
    mask: Half,
}

/// A half of an index row's value: a place as u48 BE, or its check.
type Half = [u8; 6];

/// Bytes of an index row's value.
pub const PLACE_BYTES: usize = 2 * size_of::<Half>();
/// No list has a place beyond it: more rows than any disk holds.
const PLACE_MAX: u64 = (1 << 48) - 1;

impl Token {
    /// The token of an occurrence.
    pub fn new(keys: &PartitionKeys, field: &str, value: &[u8], n: u64) -> Self {
        let output = keys.token(label::ROW_INDEX, &[field.as_bytes(), value, &n.to_be_bytes()]);
        let mask = output.get(INDEX_NAME_BYTES..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
        Self { row: named(Table::Index, &output, INDEX_NAME_BYTES), mask }
    }
    /// The row's value.
    pub fn hide(&self, keys: &PartitionKeys, place: u64) -> Result<Vec<u8>, StoreError> {
        if place > PLACE_MAX {
            return Err(StoreError::TooLarge { what: "items of a list", max: PLACE_MAX });
        }
        let mut value = Vec::with_capacity(PLACE_BYTES);
        value.extend(half(place).iter().zip(self.mask).map(|(place, mask)| place ^ mask));
        value.extend_from_slice(&checked(keys, &self.row, place));
        Ok(value)
    }
    /// The place in a row's value; none if it is not what was written there.
    pub fn show(&self, keys: &PartitionKeys, value: &[u8]) -> Option<u64> {
        let (masked, check) = value.split_first_chunk::<6>()?;
        let place = masked.iter().zip(self.mask).fold(0, |sum, (byte, mask)| (sum << 8) | u64::from(byte ^ mask));
        (check == checked(keys, &self.row, place)).then_some(place)
    }
}

fn half(place: u64) -> Half {
    place.to_be_bytes().last_chunk().copied().unwrap_or_default()
}

fn checked(keys: &PartitionKeys, row: &[u8], place: u64) -> Half {
    let output = keys.token(label::ROW_PLACE, &[row, &half(place)]);
    output.first_chunk().copied().unwrap_or_default()
}

/// Whether an index row leads to a place, for whoever does not know from which value.
pub fn leads_to(keys: &PartitionKeys, row: &[u8], value: &[u8], place: u64) -> bool {
    value.split_first_chunk::<6>().is_some_and(|(_, check)| check == checked(keys, row, place))
}

fn row(table: Table, name: [u8; 32]) -> Vec<u8> {
    named(table, &name, NAME_BYTES)
}

fn named(table: Table, name: &[u8; 32], bytes: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + bytes);
    key.push(table as u8);
    key.extend(name.iter().take(bytes));
    key
}

/// Whether a row, once written, never changes. The memory engine complains when one does. What an event says of a partition
/// goes with the partition.
pub fn immutable(row: &[u8]) -> bool {
    row.first() == Some(&(Table::Journal as u8))
}

#[cfg(test)]
mod tests {
    use super::{PLACE_MAX, Token, leads_to};
    use crate::seal::keyring::PartitionKeys;

    #[test]
    fn an_index_row_leads_to_its_place_and_no_changed_bit_to_another() -> Result<(), Box<dyn std::error::Error>> {
        let keys = PartitionKeys::generate()?;
        let token = Token::new(&keys, "serial", b"A 1", 0);
        assert_eq!(token.row.len(), 13);
        for place in [0, 1, 0xffff_ffff, PLACE_MAX] {
            let value = token.hide(&keys, place)?;
            assert_eq!((value.len(), token.show(&keys, &value)), (12, Some(place)));
            assert!(leads_to(&keys, &token.row, &value, place) && !leads_to(&keys, &token.row, &value, place ^ 1));
            for bit in 0..8 * value.len() {
                let mut changed = value.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(token.show(&keys, &changed), None, "bit {bit}");
            }
            let other = Token::new(&keys, "serial", b"A 1", 1);
            assert_eq!(other.show(&keys, &value), None, "the value of another row");
        }
        assert!(token.hide(&keys, PLACE_MAX + 1).is_err());
        assert_eq!(token.show(&keys, &[]), None);
        Ok(())
    }
}
