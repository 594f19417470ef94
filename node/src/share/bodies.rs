//! Bodies and batch proofs of one run: what travels beside the signature.

use super::{ShareError, decide::Asked, feeds::SentRun};
use crate::{
    node::{Node, Rules},
    onward::{grants::Got, holding::Holding},
    records::{
        keep,
        stored::{OwnRow, ProofRow},
    },
};
use entente_protocol::{
    batch::Attestation,
    clearance::Clearance,
    cose::SignatureBytes,
    feed::{Carried, Entry, Release, RunEntry, RunMessage},
    grant::Beside,
    id::{BatchId, GrantId, Hash, OrgId, RecordId},
    limits,
    record::Redacted,
};
use serde_bytes::ByteBuf;
use std::collections::{BTreeMap, BTreeSet};

/// What attests a release: a batch of ours by its place, or one of another, of which we have proofs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    Own(u64),
    Other(BatchId),
}

/// A release that is ready to travel.
struct Ready {
    entry: usize,
    batch: Of,
    position: u32,
    bytes: Vec<u8>,
}

/// The bodies of a run, gathered one by one.
pub struct Bodies<'a> {
    node: &'a Node,
    ready: Vec<Ready>,
    bytes: usize,
    proofs: BTreeMap<BatchId, Vec<ProofRow>>,
    grants: BTreeMap<GrantId, SignatureBytes>,
    cards: BTreeMap<OrgId, ByteBuf>,
}

impl<'a> Bodies<'a> {
    /// None yet.
    pub fn new(node: &'a Node) -> Self {
        let (proofs, grants, cards) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { node, ready: Vec::new(), bytes: 0, proofs, grants, cards }
    }

    /// Bytes of all bodies so far, and of what stands beside them.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether no further originator's card fits beside the run.
    pub fn is_full(&self) -> bool {
        self.cards.len() >= limits::CARDS_PER_MESSAGE_MAX
    }

    /// Redacts a record as cleared, for the entry at this place, and returns the release's hash.
    pub fn add(&mut self, entry: usize, asked: &Asked, clearance: &Clearance) -> Result<Hash, ShareError> {
        let (row, seed) = (&asked.row, asked.row.seed()?);
        let redacted = Redacted::of_stored(&asked.body, &row.values, &seed, clearance);
        let redacted = redacted.map_err(|_| ShareError::Clearance)?.ok_or_else(OwnRow::damage)?;
        self.put(entry, redacted, clearance, (Of::Own(row.batch), row.position))
    }

    /// The same of another's record that goes on: it shows of what we were shown what was cleared, and its originator's
    /// grant and card stand beside it.
    pub fn add_onward(
        &mut self,
        entry: usize,
        held: &Holding,
        clearance: &Clearance,
        (rules, got): (&Rules, &Got),
    ) -> Result<Hash, ShareError> {
        let originator = held.verified.header().originator;
        let card = rules.book.card(originator).ok_or(ShareError::Clearance)?;
        let batch = held.proof.attestation.danger_unverified_batch().map_err(|_| ShareError::Clearance)?;
        let position = held.position().ok_or(ShareError::Clearance)?;
        if clearance.terms().record != held.verified.id() {
            return Err(ShareError::Clearance);
        }
        let redacted = held.verified.showing(clearance.terms().slots);
        let hash = self.put(entry, redacted, clearance, (Of::Other(batch), position))?;
        let proofs = self.proofs.entry(batch).or_default();
        if !proofs.contains(&held.proof) {
            proofs.push(held.proof.clone());
        }
        if self.grants.insert(got.id, got.signed.clone()).is_none() {
            self.bytes += got.signed.0.len();
        }
        if !self.cards.contains_key(&originator) {
            self.bytes += card.bytes().len();
            self.cards.insert(originator, ByteBuf::from(card.bytes().to_vec()));
        }
        Ok(hash)
    }

    fn put(
        &mut self,
        entry: usize,
        redacted: Redacted,
        clearance: &Clearance,
        (batch, position): (Of, u32),
    ) -> Result<Hash, ShareError> {
        let bytes = Release::new(redacted, clearance).map_err(|_| ShareError::Clearance)?.to_bytes()?;
        let hash = Release::hash(&bytes);
        self.bytes += bytes.len();
        self.ready.push(Ready { entry, batch, position, bytes });
        Ok(hash)
    }

    /// One proof for these positions of a batch.
    fn attestation(&self, batch: Of, wanted: &[u32]) -> Result<Attestation, ShareError> {
        match batch {
            Of::Own(place) => Ok(keep::batch_to_send(self.node, place)?.prove(wanted)),
            Of::Other(id) => {
                let proofs = self.proofs.get(&id).into_iter().flatten();
                let parts: Vec<(&[(u32, RecordId)], &Attestation)> =
                    proofs.map(|proof| (proof.records.as_slice(), &proof.attestation)).collect();
                Attestation::joined(&parts, wanted).ok_or(ShareError::Clearance)
            }
        }
    }

    /// The message: entries with a body are open, and so are withdrawals and refusals; the rest are hashes.
    pub fn into_message(mut self, run: SignatureBytes, sent: &SentRun) -> Result<RunMessage, ShareError> {
        let mut positions: BTreeMap<Of, Vec<u32>> = BTreeMap::new();
        for ready in &self.ready {
            positions.entry(ready.batch).or_default().push(ready.position);
        }
        let places: BTreeMap<Of, u16> = positions.keys().copied().zip(0u16..).collect();
        let mut attestations = Vec::with_capacity(positions.len());
        for (batch, mut wanted) in positions {
            wanted.sort_unstable();
            wanted.dedup();
            attestations.push(self.attestation(batch, &wanted)?);
        }
        let ready = std::mem::take(&mut self.ready);
        let mut carried = Vec::with_capacity(ready.len());
        let mut with_body = BTreeSet::new();
        for ready in ready {
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
        let (cards, grants) = (self.cards.into_values().collect(), self.grants.into_values().collect());
        let beside = Beside { cards, grants };
        let onward = Some(beside).filter(|beside| !beside.grants.is_empty());
        Ok(RunMessage { run, onward, carried, entries, attestations })
    }
}
