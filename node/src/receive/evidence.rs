//! The runs that are held, as evidence: whether one that comes again is the one we hold, and what proves that it is not.

use super::{ReceiveError, RunInRow};
use crate::{
    node::Node,
    records::stored::decode,
    seal::keyring::Partition,
    share::feeds,
    store::{StoreError, layout::Table},
};
use entente_protocol::{
    cose::SignatureBytes,
    feed::{FeedKey, Run},
};

/// Whether a run that its sender signed, and that ends no later than what is held, is one of those that are held.
pub(super) fn is_kept(node: &Node, feed: &FeedKey, state: &feeds::InRow, run: &Run) -> Result<bool, ReceiveError> {
    let kept = at(node, feed, state, run.before.length)?;
    Ok(kept.is_some_and(|(kept, _)| (kept.before, kept.end(), kept.root) == (run.before, run.end(), run.root)))
}

/// Keeps what proves a fork: the signature of the run that we hold at that place, and the one that came.
pub(super) fn fork(
    node: &Node,
    feed: &FeedKey,
    state: &feeds::InRow,
    theirs: &Run,
    signed: &SignatureBytes,
) -> Result<(), ReceiveError> {
    let row = feeds::StoppedRow {
        at: node.clock.now(),
        ours: state.cursor(),
        theirs: theirs.end(),
        our_proof: at(node, feed, state, theirs.before.length)?.map(|(_, signed)| signed),
        their_proof: Some(signed.clone()),
    };
    Ok(feeds::stop(node, feed, &row)?)
}

/// The run that is held at a number: the last that begins at or before it, with its signature.
fn at(
    node: &Node,
    feed: &FeedKey,
    state: &feeds::InRow,
    number: u64,
) -> Result<Option<(Run, SignatureBytes)>, ReceiveError> {
    let partition = Partition::Agreement(feed.agreement);
    let (mut low, mut high, mut found) = (0u64, state.runs, None);
    // Runs rise; the distance halves each time.
    while low < high {
        let middle = low + (high - low) / 2;
        let row = node.holdings.item(partition, Table::RunIn, feed.id().as_bytes(), middle)?;
        let row: RunInRow = decode("run", &row.ok_or(StoreError::Broken { at: middle })?)?;
        let run = Run::danger_unverified(&row.run)?;
        if run.before.length <= number {
            (low, found) = (middle + 1, Some((run, row.run)));
        } else {
            high = middle;
        }
    }
    Ok(found)
}
