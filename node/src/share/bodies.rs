//! Bodies and batch proofs of one run: what travels beside the signature.

use super::{ShareError, decide::Asked, feeds::SentRun};
use crate::{
    node::Node,
    records::{keep, stored::OwnRow},
};
use entente_protocol::{
    clearance::Clearance,
    cose::SignatureBytes,
    feed::{Carried, Entry, Release, RunEntry, RunMessage},
    id::Hash,
    record::Redacted,
};
use std::collections::BTreeMap;

/// A release that is ready to travel.
struct Ready {
    entry: usize,
    batch: u64,
    position: u32,
    bytes: Vec<u8>,
}

/// The bodies of a run, gathered one by one.
pub struct Bodies<'a> {
    node: &'a Node,
    ready: Vec<Ready>,
    bytes: usize,
}

impl<'a> Bodies<'a> {
    /// None yet.
    pub fn new(node: &'a Node) -> Self {
        Self { node, ready: Vec::new(), bytes: 0 }
    }

    /// Bytes of all bodies so far.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Redacts a record as cleared, for the entry at this place, and returns the release's hash.
    pub fn add(&mut self, entry: usize, asked: &Asked, clearance: &Clearance) -> Result<Hash, ShareError> {
        let (row, seed) = (&asked.row, asked.row.seed()?);
        let redacted = Redacted::of_stored(&asked.body, &row.values, &seed, clearance);
        let redacted = redacted.map_err(|_| ShareError::Clearance)?.ok_or_else(OwnRow::damage)?;
        let bytes = Release::new(redacted, clearance).map_err(|_| ShareError::Clearance)?.to_bytes()?;
        let hash = Release::hash(&bytes);
        self.bytes += bytes.len();
        self.ready.push(Ready { entry, batch: asked.row.batch, position: asked.row.position, bytes });
        Ok(hash)
    }

    /// The message: entries with a body are open, and so are withdrawals and refusals; the rest are hashes.
    pub fn into_message(self, run: SignatureBytes, sent: &SentRun) -> Result<RunMessage, ShareError> {
        let mut positions: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for ready in &self.ready {
            positions.entry(ready.batch).or_default().push(ready.position);
        }
        let places: BTreeMap<u64, u16> = positions.keys().copied().zip(0u16..).collect();
        let mut attestations = Vec::with_capacity(positions.len());
        for (batch, mut wanted) in positions {
            wanted.sort_unstable();
            wanted.dedup();
            attestations.push(keep::batch(self.node, batch)?.prove(&wanted));
        }
        let mut carried = Vec::with_capacity(self.ready.len());
        let mut with_body = std::collections::BTreeSet::new();
        for ready in self.ready {
            let entry = u16::try_from(ready.entry).map_err(|_| ShareError::Clearance)?;
            let position = u16::try_from(ready.position).map_err(|_| ShareError::Clearance)?;
            let place = places.get(&ready.batch).copied().unwrap_or_default();
            with_body.insert(ready.entry);
            carried.push(Carried(entry, place, position, ready.bytes));
        }
        let entries = sent
            .entries
            .iter()
            .enumerate()
            .map(|(at, entry)| match entry.record {
                Some(_) if !with_body.contains(&at) => RunEntry::Hash(Entry::hash_of(&entry.bytes)),
                _ => RunEntry::Open(entry.bytes.to_vec()),
            })
            .collect();
        Ok(RunMessage { run, carried, entries, attestations })
    }
}
