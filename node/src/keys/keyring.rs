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
    store::StoreError,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::sync::{Mutex, PoisonError};

/// Pages that a running node seals anew before it looks at anything else.
const PAGES: usize = 100;

/// How far a walk is.
#[derive(Default)]
pub struct Walk(Mutex<At>);

#[derive(Default)]
struct At {
    after: Option<Vec<u8>>,
    /// Rows that this walk looked at.
    seen: u64,
    /// Rows that it sealed anew.
    anew: u64,
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
        "files": "the keyring and its recovery copy are written anew: put a copy of the recovery copy beside your backups",
        "done": !dry_run,
    }))
}

/// One stretch of the walk. Whether there is more to do.
pub fn go_on(node: &Node) -> Result<bool, StoreError> {
    let mut at = node.resealing.0.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..PAGES {
        let rotating = node.holdings.keyring().rotating();
        if rotating.is_empty() {
            return Ok(false);
        }
        let done = node.holdings.reseal(at.after.as_deref())?;
        at.seen += done.seen;
        at.anew += done.anew;
        at.after = done.after;
        if at.after.is_some() {
            continue;
        }
        let clean = at.anew == 0;
        *at = At::default();
        if clean {
            for partition in rotating {
                let mut txn = node.holdings.begin();
                node.journal(&mut txn, "keyring-retire", &[("partition", partition.to_string())])?;
                txn.commit()?;
                node.holdings.keyring().retire(partition).map_err(StoreError::from)?;
            }
        }
    }
    Ok(true)
}

/// How far it is, if there is anything to do.
pub fn view(node: &Node) -> Option<Json> {
    let rotating = node.holdings.keyring().rotating();
    let at = node.resealing.0.lock().unwrap_or_else(PoisonError::into_inner);
    let names: Vec<String> = rotating.iter().map(ToString::to_string).collect();
    (!names.is_empty()).then(|| json!({ "partitions": names, "rows_looked_at": at.seen, "sealed_anew": at.anew }))
}
