//! Bundles: what one side of a session says, as a sealed file for one partner; for a stick, or a line that goes one way.
//!
//! `call` comes here. [`export`] says what a session would say and takes its runs from the outbox, [`import`] hands what is
//! opened to the functions that take it from the wire: here is no second way out, and no second way in. How far bundles for
//! a partner are is kept in the store; a mark outside it tells when an older copy of the store was put back.

mod export;
pub mod file;
mod import;
pub mod mark;

pub use export::{export, show};
pub use import::import;

use crate::{
    error::Fault,
    exchange::ExchangeFault,
    node::Node,
    records::stored::{RowDamage, decode, encode},
    seal::keyring::Partition,
    share::ShareError,
    store::{layout::Table, txn::Txn},
};
use entente_protocol::{
    id::{FeedId, NoticeId, OrgId, StoreId},
    recall::Answer,
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What to export, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExportOptions {
    /// Handle or id of the partner.
    pub to: String,
    /// Where to write it.
    pub output: PathBuf,
    /// Whether a file that is there may be replaced.
    pub force: bool,
    /// Whether nothing comes back.
    pub one_way: bool,
    /// Bytes of the file at most.
    pub max_bytes: Option<u64>,
    /// Whether what earlier bundles brought, and was not acknowledged, goes once more.
    pub again: bool,
    /// Whether files are left out.
    pub without_files: bool,
    /// What the partner's people say that they hold, after an older copy of the store was put back.
    pub held: Vec<String>,
}

/// How far bundles for a partner are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutRow {
    /// When the last one was made.
    at: UnixMillis,
    /// How far each feed is in them.
    feeds: Vec<FeedOut>,
    /// Of the last one.
    number: u64,
}

/// How far a feed is in bundles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeedOut {
    /// Which.
    feed: FeedId,
    /// Entries before those whose files were too large for a bundle: they go with the next one that has room.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left: Vec<u64>,
    /// Entries whose files have gone.
    files: u64,
    /// Entries that have gone.
    entries: u64,
}

/// What of a partner's bundles was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InRow {
    /// When the last one was taken.
    at: UnixMillis,
    /// What was heard of it about onward release: it is said in the next one back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    heard: Vec<NoticeId>,
    /// The store that it was made of.
    store: StoreId,
    /// The highest number that was taken whole.
    number: u64,
    /// Answers to what it asked: they go with the next one back.
    answers: Vec<Answer>,
}

/// Key of the count of bundles that this store knows of, in [`Table::Meta`].
pub const COUNT: &[u8] = b"bundles made";

/// Keys of the rows about a partner there: bundles for it, and bundles of it.
pub fn keys(partner: OrgId) -> [Vec<u8>; 2] {
    [key(b"bundles out", partner), key(b"bundles in", partner)]
}

fn key(direction: &[u8], partner: OrgId) -> Vec<u8> {
    [direction, partner.as_bytes()].concat()
}

fn read<T: serde::de::DeserializeOwned>(node: &Node, key: &[u8]) -> Result<Option<T>, Fault> {
    let row = node.holdings.get(Partition::Node, Table::Meta, key)?;
    row.map(|row| decode("bundles", &row)).transpose().map_err(|e: RowDamage| Fault::store(e))
}

fn write<T: Serialize>(txn: &mut Txn<'_>, key: &[u8], row: &T) -> Result<(), Fault> {
    let row = encode("bundles", row).map_err(Fault::store)?;
    Ok(txn.put(Partition::Node, Table::Meta, key, &row)?)
}

fn out_row(node: &Node, partner: OrgId) -> Result<OutRow, Fault> {
    Ok(read(node, &key(b"bundles out", partner))?.unwrap_or_default())
}

fn in_row(node: &Node, partner: OrgId) -> Result<Option<InRow>, Fault> {
    read(node, &key(b"bundles in", partner))
}

impl OutRow {
    fn feed(&self, feed: FeedId) -> Option<&FeedOut> {
        self.feeds.iter().find(|known| known.feed == feed)
    }
    fn put(&mut self, feed: FeedOut) {
        self.feeds.retain(|known| known.feed != feed.feed);
        self.feeds.push(feed);
    }
}

/// A fault of the exchange, as the person at the command sees it.
fn of_exchange(fault: ExchangeFault) -> Fault {
    match fault {
        ExchangeFault::Peer(fault) => Fault::partner("bundle", format!("the bundle breaks the rules: {fault}")),
        ExchangeFault::Unknown => Fault::partner("removed", "the partner is not, or no longer, known here"),
        ExchangeFault::Clock(trouble) => Fault::setup("clock", trouble),
        ExchangeFault::Fatal(error) => Fault::store(error),
        fault @ (ExchangeFault::Erased | ExchangeFault::Send(_)) => Fault::setup("bundle", fault),
    }
}

impl From<ShareError> for Fault {
    fn from(error: ShareError) -> Self {
        Self::store(error)
    }
}

#[cfg(test)]
mod tests;
