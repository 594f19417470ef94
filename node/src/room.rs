//! Room for what partners send: what each has filled, and how much of the disk stays free.
//!
//! Asked before a run, a file or a card is taken. Where there is no room nothing is refused for good: a run waits at its
//! sender, a file is fetched later. What a partner takes back is heard longer than it brings anything, but not until the
//! disk is full. What our own people bring is not held to this; it never deletes anything.

use crate::{
    node::Node,
    seal::keyring::Partition,
    store::{StoreError, layout::Table, txn::Txn},
};
use entente_protocol::id::OrgId;

/// What a run or a card leaves besides its own rows: an event of the journal, where the feed stands, a receipt.
pub const BESIDES_BYTES: u64 = 1 << 10;
/// What a withdrawal leaves besides its number in the row of its run.
pub const WITHDRAWAL_BYTES: u64 = 128;
/// Runs without bodies fill so much beyond a partner's share at least, and a twentieth of it.
const WORD_BYTES: u64 = 64 << 20;

/// What room is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// Records and files.
    Evidence,
    /// What takes something back or refuses it: a run without bodies, a card. Heard in the last quarter of the reserve too.
    Word,
}

impl For {
    fn free_bytes_min(self, node: &Node) -> u64 {
        match self {
            Self::Evidence => node.config.free_bytes_min,
            Self::Word => node.config.free_bytes_min / 4,
        }
    }
    fn partner_bytes_max(self, node: &Node) -> u64 {
        let max = node.config.partner_bytes_max;
        match self {
            Self::Evidence => max,
            Self::Word => max.saturating_add((max / 20).max(WORD_BYTES)),
        }
    }
}

/// Key of the count of a partner in [`Table::Meta`].
pub fn key(partner: OrgId) -> Vec<u8> {
    [b"filled".as_slice(), partner.as_bytes()].concat()
}

fn bytes(row: Option<Vec<u8>>) -> u64 {
    row.and_then(|row| <[u8; 8]>::try_from(row).ok()).map_or(0, u64::from_be_bytes)
}

/// Bytes of records and files, unfinished ones too, that were taken from a partner.
pub fn filled(node: &Node, partner: OrgId) -> Result<u64, StoreError> {
    Ok(bytes(node.holdings.get(Partition::Node, Table::Meta, &key(partner))?))
}

/// Counts what is taken from a partner, within the transaction that takes it.
pub fn fill(txn: &mut Txn<'_>, partner: OrgId, more: u64) -> Result<(), StoreError> {
    let filled = bytes(txn.get(Partition::Node, Table::Meta, &key(partner))?).saturating_add(more);
    txn.put(Partition::Node, Table::Meta, &key(partner), &filled.to_be_bytes())
}

/// Gives back what was counted and is kept no more.
pub fn give_back(txn: &mut Txn<'_>, partner: OrgId, less: u64) -> Result<(), StoreError> {
    let filled = bytes(txn.get(Partition::Node, Table::Meta, &key(partner))?).saturating_sub(less);
    txn.put(Partition::Node, Table::Meta, &key(partner), &filled.to_be_bytes())
}

/// Why nothing more can be taken from anybody, if the disk is the reason.
pub fn disk(node: &Node, what: For) -> Option<String> {
    // A disk that does not say how full it is says so when it is written.
    let seen = rustix::fs::statvfs(node.home.path()).ok()?;
    let free = seen.f_bavail.saturating_mul(seen.f_frsize);
    let min = what.free_bytes_min(node);
    (free < min).then(|| {
        let nothing = match what {
            For::Evidence => "nothing is taken from partners",
            For::Word => "not even what partners take back is heard",
        };
        format!(
            "only {} MiB of the disk are free, and {nothing} below {} MiB: make room; what they have for us waits, and \
             comes by itself then",
            free >> 20,
            min >> 20
        )
    })
}

/// Why nothing more can be taken from a partner, if something stands against it.
pub fn lacking(node: &Node, partner: OrgId, what: For) -> Result<Option<String>, StoreError> {
    let (filled, max) = (filled(node, partner)?, what.partner_bytes_max(node));
    if filled >= max {
        return Ok(Some(format!(
            "it has filled {} GiB here, which is all that `partner-gib-max` in the settings gives one partner: raise it, \
             and start the node again; what it has for us waits",
            node.config.partner_bytes_max >> 30
        )));
    }
    Ok(disk(node, what))
}
