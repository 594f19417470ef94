//! What this node knows of the backups that it made: the last one, kept in the store, so that people can be told its age.

use super::{BackupError, manifest::Archive};
use crate::{
    node::Node,
    records::stored::{RowDamage, decode, encode},
    seal::keyring::Partition,
    store::{StoreError, holdings::Holdings, layout::Table},
};
use entente_protocol::{id::AgreementId, time::UnixMillis};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Key of the row in [`Table::Meta`].
pub const KEY: &[u8] = b"backup";

/// The last backup that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// When.
    pub at: UnixMillis,
    /// Into which folder.
    pub folder: String,
    /// Number of the archive.
    pub number: u32,
    /// Appends of the store up to what is in it.
    pub appends: u64,
    /// Whether the folder lay on the disk of the home.
    pub same_disk: bool,
    /// Agreements whose keys are in the copy of the keyring beside it.
    pub agreements: Vec<AgreementId>,
}

impl Made {
    /// Of an archive.
    pub fn of(archive: &Archive, folder: &Path, same_disk: bool, agreements: Vec<AgreementId>) -> Self {
        let folder = folder.display().to_string();
        Self { at: archive.at, folder, number: archive.number, appends: archive.appends, same_disk, agreements }
    }
}

/// Notes that one was made.
pub fn note(node: &Node, made: &Made) -> Result<(), BackupError> {
    let mut txn = node.holdings.begin();
    txn.put(Partition::Node, Table::Meta, KEY, &encode("backup", made)?)?;
    node.journal(&mut txn, "backup", &[("number", made.number.to_string()), ("appends", made.appends.to_string())])?;
    txn.commit()?;
    Ok(())
}

/// The last one, if any.
pub fn last(holdings: &Holdings) -> Result<Option<Made>, MadeError> {
    let row = holdings.get(Partition::Node, Table::Meta, KEY)?;
    Ok(row.map(|row| decode("backup", &row)).transpose()?)
}

/// The row could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MadeError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The row.
    #[error(transparent)]
    Row(#[from] RowDamage),
}
