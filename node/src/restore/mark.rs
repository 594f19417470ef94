//! The mark of a restore: a row of the store that says from which backup it was put back. Set once, by `restore`; a later
//! restore sets it anew. Whoever must not go on as if nothing had happened reads it: logs, feeds, `doctor`.

use crate::{
    records::stored::{RowDamage, decode, encode},
    seal::keyring::Partition,
    store::{Position, StoreError, holdings::Holdings, layout::Table, txn::Txn},
};
use entente_protocol::{
    id::{AgreementId, Hash},
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};

/// Key of the row in [`Table::Meta`].
pub const KEY: &[u8] = b"restored";

/// From which backup, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restored {
    /// When it was put back.
    pub at: UnixMillis,
    /// When the backup was made: what came later was not in it.
    pub taken: UnixMillis,
    /// The digest over the appends of the store that it was made of.
    pub digest: Hash,
    /// Number of the archive.
    pub number: u32,
    /// Appends of that store.
    pub appends: u64,
    /// Agreements that the restored keyring opens. One that was erased later than its copy of the keyring is among them.
    pub agreements: Vec<AgreementId>,
}

impl Restored {
    /// Where the store stood of which the backup was made. The restored store counts its own appends from 1.
    pub fn position(&self) -> Position {
        Position { sequence: self.appends, digest: *self.digest.as_bytes() }
    }
}

/// The mark could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The row.
    #[error(transparent)]
    Row(#[from] RowDamage),
}

/// The mark, where this store was ever put back.
pub fn read(holdings: &Holdings) -> Result<Option<Restored>, MarkError> {
    let row = holdings.get(Partition::Node, Table::Meta, KEY)?;
    Ok(row.map(|row| decode("mark of a restore", &row)).transpose()?)
}

/// Sets it, within the transaction that puts the store under its keys again.
pub fn write(txn: &mut Txn<'_>, restored: &Restored) -> Result<(), MarkError> {
    Ok(txn.put(Partition::Node, Table::Meta, KEY, &encode("mark of a restore", restored)?)?)
}
