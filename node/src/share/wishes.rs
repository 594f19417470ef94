//! Wishes: the files that releases gave leave to fetch, a list for each sender, and one wish for each record.
//!
//! Written where a release is kept, taken away where its file is whole or nothing is behind it any more. A sender that
//! withdraws and releases a record again and again has one wish there, of its last release, and no list grows by it; and
//! what one sender has in its list costs nobody who asks for another's.

use crate::{
    node::Node,
    records::stored::{RowDamage, decode, encode},
    seal::keyring::Partition,
    store::{StoreError, layout::Table, txn::Txn},
};
use entente_protocol::{
    feed::FeedKey,
    id::{AgreementId, OrgId, RecordId},
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};

/// A file that a release gave leave to fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedFile {
    /// The feed that gave leave.
    pub feed: FeedKey,
    /// The entry's number.
    pub number: u64,
    /// The attachment record.
    pub record: RecordId,
}

/// What became of the wish for a record's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WishRow {
    /// It stands, at this place of its sender's list.
    At(u64),
    /// What the sender gave was not what the record states, which no release changes: the file is not wished for again.
    Refused(UnixMillis),
}

/// A wish could not be written: our own store.
#[derive(Debug, thiserror::Error)]
pub enum WishError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row does not read as written.
    #[error(transparent)]
    Damage(#[from] RowDamage),
}

/// Scope of the list of files to fetch from a sender.
pub fn scope(sender: OrgId) -> Vec<u8> {
    [b"wanted".as_slice(), sender.as_bytes()].concat()
}

fn row(txn: &Txn<'_>, partition: Partition, record: RecordId) -> Result<Option<WishRow>, WishError> {
    let row = txn.get(partition, Table::Wanted, record.as_bytes())?;
    row.map(|row| Ok(decode("wish", &row)?)).transpose()
}

/// Wishes for the file of a record that was released: where the wish stands already, its leave is now this release.
pub fn add(txn: &mut Txn<'_>, partition: Partition, file: &WantedFile) -> Result<(), WishError> {
    let (scope, bytes) = (scope(file.feed.sender), encode("wanted file", file)?);
    match row(txn, partition, file.record)? {
        Some(WishRow::Refused(_)) => return Ok(()),
        Some(WishRow::At(place)) if txn.item(partition, Table::Wanted, &scope, place)?.is_some() => {
            return Ok(txn.replace_item(partition, Table::Wanted, &scope, place, &bytes)?);
        }
        Some(WishRow::At(_)) | None => {}
    }
    let place = txn.push(partition, Table::Wanted, &scope, &bytes)?;
    txn.put(partition, Table::Wanted, file.record.as_bytes(), &encode("wish", &WishRow::At(place))?)?;
    Ok(())
}

/// Takes a wish away.
pub fn remove(txn: &mut Txn<'_>, partition: Partition, file: &WantedFile, place: u64) -> Result<(), WishError> {
    txn.remove_item(partition, Table::Wanted, &scope(file.feed.sender), place)?;
    txn.delete(partition, Table::Wanted, file.record.as_bytes())?;
    Ok(())
}

/// Forgets whatever was wished for of a record, and says what wish it was: its content is deleted.
pub fn forget(
    txn: &mut Txn<'_>,
    partition: Partition,
    sender: OrgId,
    record: RecordId,
) -> Result<Option<WantedFile>, WishError> {
    let mut file = None;
    if let Some(WishRow::At(place)) = row(txn, partition, record)? {
        let item = txn.item(partition, Table::Wanted, &scope(sender), place)?;
        file = item.map(|item| decode("wanted file", &item)).transpose()?;
        txn.remove_item(partition, Table::Wanted, &scope(sender), place)?;
    }
    txn.delete(partition, Table::Wanted, record.as_bytes())?;
    Ok(file)
}

/// Takes a wish away for good: its file is not what the record states.
pub fn refuse(
    txn: &mut Txn<'_>,
    partition: Partition,
    file: &WantedFile,
    (place, now): (u64, UnixMillis),
) -> Result<(), WishError> {
    remove(txn, partition, file, place)?;
    txn.put(partition, Table::Wanted, file.record.as_bytes(), &encode("wish", &WishRow::Refused(now))?)?;
    Ok(())
}

/// Whether the file of a record came and was not what the record states.
pub fn is_refused(node: &Node, agreement: AgreementId, record: RecordId) -> Result<bool, WishError> {
    let row = node.holdings.get(Partition::Agreement(agreement), Table::Wanted, record.as_bytes())?;
    let row: Option<WishRow> = row.map(|row| decode("wish", &row)).transpose()?;
    Ok(matches!(row, Some(WishRow::Refused(_))))
}

/// The wish for the file of a record of a sender, if it stands, and its place.
pub fn of(
    node: &Node,
    agreement: AgreementId,
    sender: OrgId,
    record: RecordId,
) -> Result<Option<(u64, WantedFile)>, WishError> {
    let partition = Partition::Agreement(agreement);
    let row = node.holdings.get(partition, Table::Wanted, record.as_bytes())?;
    let row: Option<WishRow> = row.map(|row| decode("wish", &row)).transpose()?;
    let Some(WishRow::At(place)) = row else { return Ok(None) };
    let item = node.holdings.item(partition, Table::Wanted, &scope(sender), place)?;
    Ok(item.map(|item| decode("wanted file", &item)).transpose()?.map(|file| (place, file)))
}

/// Whether a wish is still what it was when it was read: a release that came since has put its own in its place.
pub fn stands(txn: &Txn<'_>, partition: Partition, file: &WantedFile, place: u64) -> Result<bool, WishError> {
    let found = txn.item(partition, Table::Wanted, &scope(file.feed.sender), place)?;
    Ok(found == Some(encode("wanted file", file)?))
}
