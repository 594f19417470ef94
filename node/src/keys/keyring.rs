//! Rotation of partition keys: a new sealing key, under which everything is sealed anew behind; the old one is destroyed
//! when nothing is sealed under it.
//!
//! The walk is in memory, and begins again after a start: what is sealed anew already is only looked at. Two whole walks
//! are made: one that seals anew, and one that finds nothing more to do. Only then is the old key destroyed.

use crate::{
    agreements::AgreementError,
    call::{OnProgress, Progress},
    error::Fault,
    node::Node,
    seal::keyring::Partition,
    store::{BlobName, StoreError},
};
use entente_protocol::time::{HOUR_MS, UnixMillis};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::sync::{Mutex, PoisonError};

/// Pages of rows that a running node seals anew before it looks at anything else.
const PAGES: usize = 100;
/// A step of files costs as much as so many pages: 64 MiB at most.
const FILES_COST: usize = 10;

/// How far a walk is.
#[derive(Default)]
pub struct Walk(Mutex<At>);

#[derive(Default)]
struct At {
    begun: bool,
    rows: Option<Vec<u8>>,
    /// Rows are done, files are not.
    in_files: bool,
    file: Option<BlobName>,
    /// Rows and files that this walk looked at.
    seen: u64,
    /// Those that it sealed anew.
    anew: u64,
    /// Files that do not read to their end: what they are sealed under is kept.
    damaged: u64,
    /// When it began a file was being written under an older key.
    behind: bool,
    /// After a walk that something stands in the way of.
    rests: Option<UnixMillis>,
}

impl At {
    /// Where a walk begins.
    fn begin(node: &Node) -> Self {
        Self { begun: true, behind: node.holdings.is_written_behind(), ..Self::default() }
    }
    /// One step. Whether the walk is at its end.
    fn step(&mut self, node: &Node) -> Result<bool, StoreError> {
        if !self.in_files {
            let done = node.holdings.reseal(self.rows.as_deref())?;
            self.seen += done.seen;
            self.anew += done.anew;
            self.in_files = done.after.is_none();
            self.rows = done.after;
            return Ok(false);
        }
        let done = node.holdings.reseal_files(self.file)?;
        self.seen += done.seen;
        self.anew += done.anew;
        self.damaged += done.damaged;
        let at_end = done.after.is_none();
        self.file = done.after;
        Ok(at_end)
    }
    /// Whether it met nothing that is sealed under an older key.
    fn is_clean(&self) -> bool {
        self.anew == 0 && self.damaged == 0 && !self.behind
    }
}

/// Which partitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// Every one.
    All,
    /// Our own holdings.
    Own,
    /// The node's bookkeeping and journal.
    Node,
    /// Of one agreement, by id or its beginning.
    Agreement(String),
}

fn chosen(node: &Node, which: &Which) -> Result<Vec<Partition>, Fault> {
    Ok(match which {
        Which::All => node.holdings.keyring().partitions(),
        Which::Own => vec![Partition::Own],
        Which::Node => vec![Partition::Node],
        Which::Agreement(given) => {
            let found = node.rules().agreements.find(given).map(|held| held.id);
            let partition = Partition::Agreement(found.map_err(|error: AgreementError| Fault::from(error))?);
            if !node.holdings.keyring().holds(partition) {
                return Err(Fault::input(
                    "no-partition",
                    "nothing was received under this agreement, or it was erased",
                ));
            }
            vec![partition]
        }
    })
}

/// Gives partitions new keys, and seals everything in them anew. Where it is stopped a running node goes on by itself.
pub fn rotate(node: &Node, which: &Which, dry_run: bool, progress: OnProgress<'_>) -> Result<Json, Fault> {
    let partitions = chosen(node, which)?;
    let names: Vec<String> = partitions.iter().map(ToString::to_string).collect();
    if !dry_run {
        {
            // The walk begins anew: rows that it has passed are under an older key again.
            let mut at = node.resealing.0.lock().unwrap_or_else(PoisonError::into_inner);
            *at = At::default();
            for partition in &partitions {
                let mut txn = node.holdings.begin();
                node.journal(&mut txn, "keyring-rotate", &[("partition", partition.to_string())])?;
                txn.commit()?;
                node.holdings.rotate_partition(*partition)?;
            }
        }
        while go_on(node)? {
            let seen = node.resealing.0.lock().unwrap_or_else(PoisonError::into_inner).seen;
            progress(Progress { done: seen, total: None });
        }
    }
    Ok(json!({
        "partitions": names,
        "files": "the keyring and its recovery copy are written anew: run `entente backup DIR` now, for what was backed up before does not \
                  open with the new keys; copy none of them over the keyring that lies beside the archives",
        "done": !dry_run,
        "left": view(node),
    }))
}

/// One stretch of the walk. Whether there is more to do at once.
pub fn go_on(node: &Node) -> Result<bool, StoreError> {
    let mut at = node.resealing.0.lock().unwrap_or_else(PoisonError::into_inner);
    if at.rests.is_some_and(|until| node.clock.now() < until) {
        return Ok(false);
    }
    let mut left = PAGES;
    while left > 0 {
        let rotating = node.holdings.keyring().rotating();
        if rotating.is_empty() {
            return Ok(false);
        }
        if !at.begun {
            *at = At::begin(node);
        }
        left = left.saturating_sub(if at.in_files { FILES_COST } else { 1 });
        if !at.step(node)? {
            continue;
        }
        let done = std::mem::take(&mut *at);
        if done.is_clean() {
            return retire(node, &rotating);
        }
        if done.anew == 0 {
            // What is left another has to end, or to put back.
            at.rests = (done.damaged > 0).then(|| node.clock.now().plus(HOUR_MS));
            at.damaged = done.damaged;
            return Ok(false);
        }
    }
    Ok(true)
}

/// Nothing is sealed under the older keys of these partitions: they are destroyed. Whether that waits for a backup.
fn retire(node: &Node, partitions: &[Partition]) -> Result<bool, StoreError> {
    for partition in partitions {
        if !node.holdings.retire_partition(*partition)? {
            return Ok(false);
        }
        let mut txn = node.holdings.begin();
        node.journal(&mut txn, "keyring-retire", &[("partition", partition.to_string())])?;
        txn.commit()?;
    }
    Ok(false)
}

/// How far it is, if there is anything to do.
pub fn view(node: &Node) -> Option<Json> {
    let rotating = node.holdings.keyring().rotating();
    let at = node.resealing.0.lock().unwrap_or_else(PoisonError::into_inner);
    let names: Vec<String> = rotating.iter().map(ToString::to_string).collect();
    let view = || json!({ "partitions": names, "looked_at": at.seen, "sealed_anew": at.anew, "damaged": at.damaged });
    (!names.is_empty()).then(view)
}
