//! The runs that are held, as evidence: whether one that comes again is the one we hold, and what proves that it is not.

use super::{ReceiveError, RunInRow};
use crate::{
    node::Node,
    records::stored::{ReceivedRow, decode},
    seal::keyring::Partition,
    share::feeds,
    store::{StoreError, layout::Table},
};
use entente_protocol::{
    cose::SignatureBytes,
    feed::{Entry, FeedKey, Release, Run, RunEntry, RunMessage},
    id::{EntryHash, Hash, Nonce},
    record::Redacted,
};

/// Bytes that are kept of each entry of a run.
const ENTRY_BYTES: usize = EntryHash::LEN + Nonce::LEN;

/// What is kept of a run's entries, so that others can be shown that one stood in it: of each its hash, and of a release its
/// salt. What it released is in the record's own row, and is not kept twice.
pub(super) fn entries(message: &RunMessage) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.entries.len() * ENTRY_BYTES);
    for entry in &message.entries {
        let salt = match entry {
            RunEntry::Open(bytes) => match Entry::from_bytes(bytes) {
                Ok(Entry::Release { salt, .. }) => Some(salt),
                _ => None,
            },
            RunEntry::Hash(_) => None,
        };
        out.extend_from_slice(entry.hash().as_bytes());
        out.extend_from_slice(salt.unwrap_or(Nonce::from_bytes([0; Nonce::LEN])).as_bytes());
    }
    out
}

/// The entry that brought a record, with its path in its run. None where not enough was kept: by an earlier version, or
/// because some of what it released was deleted since.
pub fn entry_in_run(row: &ReceivedRow, kept: &RunInRow) -> Option<(Run, Vec<u8>, u32, Vec<Hash>)> {
    let run = Run::danger_unverified(&kept.run).ok()?;
    let (pairs, rest) = kept.entries.as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() || pairs.len() as u64 != run.count {
        return None;
    }
    let hash = |pair: &[u8; ENTRY_BYTES]| EntryHash::from_slice(pair.get(..EntryHash::LEN)?);
    let hashes: Vec<EntryHash> = pairs.iter().map(hash).collect::<Option<_>>()?;
    let index = u32::try_from(row.number.checked_sub(run.before.length)?).ok()?;
    let place = usize::try_from(index).ok()?;
    let salt = Nonce::from_slice(pairs.get(place)?.get(EntryHash::LEN..)?)?;
    let redacted = Redacted { body: row.body.clone(), openings: row.openings(), nodes: row.nodes.clone() };
    let released =
        Release::hash_again(redacted, row.onward.map(|onward| onward.grant), row.clause, run.version).ok()?;
    let entry = Entry::Release { hash: released, salt, record: row.id()? }.to_bytes().ok()?;
    (hashes.get(place) == Some(&Entry::hash_of(&entry))).then(|| {
        let nodes = run.prove(&hashes, index);
        (run, entry, index, nodes)
    })
}

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
