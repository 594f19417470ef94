//! Batches: many records attested by one signature, without telling how many.
//!
//! A tree of fixed depth 16 holds the record ids at pseudorandom positions; where nothing stands,
//! fillers from a batch secret stand. The signed head (COSE_Sign1) holds originator, time and root,
//! and neither size nor counter. A release carries a joint proof for what it shows.

use crate::{
    codec::{self, Bounds, CodecError},
    cose::{self, Sign1, SignatureBytes, SignatureFault},
    id::{BatchId, Hash, KeyId, OrgId, RecordId},
    label, limits,
    primitive::{Prf, PublicKey, SigningKey, labelled, tagged},
    time::UnixMillis,
    tree::{Grown, Leaf, Tree},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const TREE: Tree = Tree { depth: limits::BATCH_TREE_DEPTH, node_tag: label::TAG_BATCH_NODE };
const HEAD_BYTES_MAX: usize = 1 << 10;
/// Proof nodes of any set of positions: at most one for each level and position.
const PROOF_NODES_MAX: usize = 1 << 16;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireHead {
    v: u64,
    root: Hash,
    time: UnixMillis,
    /// Digest of the last witnessed checkpoint; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checkpoint: Option<Hash>,
    originator: OrgId,
}

/// A batch head whose signature has been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Digest of the signed payload.
    pub id: BatchId,
    /// Who attested.
    pub originator: OrgId,
    /// With which records key.
    pub key: KeyId,
    /// When, by the originator's clock.
    pub time: UnixMillis,
    /// Root of the batch tree.
    pub root: Hash,
    /// The last witnessed checkpoint that the originator knew.
    pub checkpoint: Option<Hash>,
}

/// A batch that cannot be made: our own misuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// More records than positions.
    #[error("a batch takes at most {max} records, not {given}", max = limits::BATCH_RECORDS_MAX)]
    TooMany {
        /// Records given.
        given: usize,
    },
    /// The same record twice.
    #[error("a record stands twice in the batch")]
    Repeated,
    /// What was kept of a batch does not belong together.
    #[error("the records, secret and head that were kept are not of one batch")]
    Parts,
    /// The head could not be encoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// An attestation that a recipient refuses: the sender's or originator's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttestationFault {
    /// The head's signature.
    #[error("the batch head is refused: {0}")]
    Signature(#[from] SignatureFault),
    /// The head's payload.
    #[error("the batch head is malformed: {0}")]
    Codec(#[from] CodecError),
    /// The head names another originator than the key belongs to.
    #[error("the batch head names another originator")]
    Originator,
    /// The proof does not give the root.
    #[error("the records are not in the batch that was signed")]
    Root,
    /// More nodes than any proof needs.
    #[error("the batch proof is too long")]
    TooLong,
}

/// A batch in its originator's hands.
pub struct Batch {
    leaves: Vec<(u32, RecordId)>,
    tree: Grown,
    prf: Prf,
    head: SignatureBytes,
    id: BatchId,
}

/// What proves that records are in one signed batch: the head and the fewest nodes for all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    /// COSE_Sign1 over the head.
    pub head: SignatureBytes,
    /// Nodes of the joint proof.
    pub nodes: Vec<Hash>,
}

fn leaf(position: u32, record: RecordId) -> Leaf {
    (position, tagged(label::TAG_BATCH_LEAF, &[record.as_bytes()]))
}

/// Pseudorandom distinct positions, the n-th record's at place n.
fn positions(prf: &Prf, count: usize) -> Vec<u32> {
    let mut taken = vec![false; limits::BATCH_RECORDS_MAX];
    let mut out = Vec::with_capacity(count);
    let mut counter = 0u64;
    // Ends: each output is uniform over all positions, so every free one is met in time.
    while out.len() < count {
        let block = prf.output(label::BATCH_POSITION, &[&counter.to_be_bytes()]);
        counter += 1;
        for pair in block.chunks_exact(2) {
            let position = pair.iter().fold(0usize, |sum, byte| (sum << 8) | usize::from(*byte));
            if out.len() == count {
                break;
            }
            if let Some(slot) = taken.get_mut(position).filter(|slot| !**slot) {
                *slot = true;
                out.push(u32::try_from(position).unwrap_or(0));
            }
        }
    }
    out
}

fn filler(prf: &Prf) -> impl FnMut(u8, u32) -> Hash {
    |level, index| Hash::from_bytes(prf.output(label::BATCH_FILL, &[&[level], &index.to_be_bytes()]))
}

impl Batch {
    /// Attests records: one tree, one signature. `secret` is fresh for each batch and stays with the originator.
    pub fn attest(
        records: &[RecordId],
        secret: &[u8; 32],
        originator: OrgId,
        time: UnixMillis,
        checkpoint: Option<Hash>,
        key: &SigningKey,
    ) -> Result<Self, BatchError> {
        let prf = Prf::new(secret);
        let leaves = Self::place(records, &prf)?;
        let tree = TREE.grow(hashed(&leaves), filler(&prf));
        let root = tree.root(filler(&prf));
        let wire = WireHead { v: 1, root, time, checkpoint, originator };
        let payload = codec::to_vec(&wire, Bounds::bytes(HEAD_BYTES_MAX))?;
        let head = SignatureBytes(cose::sign(label::SIGN_BATCH, key, &payload));
        Ok(Self { leaves, tree, prf, head, id: id_of(&payload) })
    }

    /// A batch from what its originator keeps: the records in their order, the secret and the signed head.
    /// Refuses parts that do not give the root in the head.
    pub fn from_parts(records: &[RecordId], secret: &[u8; 32], head: SignatureBytes) -> Result<Self, BatchError> {
        let prf = Prf::new(secret);
        let leaves = Self::place(records, &prf)?;
        let (id, wire) = {
            let parsed = head.parse().map_err(|_| CodecError::Shape)?;
            let payload = parsed.danger_unverified_payload();
            (id_of(payload), codec::from_slice::<WireHead>(payload, Bounds::bytes(HEAD_BYTES_MAX))?)
        };
        let tree = TREE.grow(hashed(&leaves), filler(&prf));
        if tree.root(filler(&prf)) != wire.root {
            return Err(BatchError::Parts);
        }
        Ok(Self { leaves, tree, prf, head, id })
    }

    /// The same records attested anew: the same tree under another head (BAT-5).
    pub fn again(
        self,
        originator: OrgId,
        time: UnixMillis,
        checkpoint: Option<Hash>,
        key: &SigningKey,
    ) -> Result<Self, BatchError> {
        let root = self.tree.root(filler(&self.prf));
        let wire = WireHead { v: 1, root, time, checkpoint, originator };
        let payload = codec::to_vec(&wire, Bounds::bytes(HEAD_BYTES_MAX))?;
        let head = SignatureBytes(cose::sign(label::SIGN_BATCH, key, &payload));
        Ok(Self { head, id: id_of(&payload), ..self })
    }

    fn place(records: &[RecordId], prf: &Prf) -> Result<Vec<(u32, RecordId)>, BatchError> {
        if records.len() > limits::BATCH_RECORDS_MAX {
            return Err(BatchError::TooMany { given: records.len() });
        }
        let mut unique: Vec<&RecordId> = records.iter().collect();
        unique.sort_unstable();
        if unique.windows(2).any(|w| w.first() == w.last()) {
            return Err(BatchError::Repeated);
        }
        let mut leaves: Vec<_> = positions(prf, records.len()).into_iter().zip(records.iter().copied()).collect();
        leaves.sort_unstable_by_key(|(position, _)| *position);
        Ok(leaves)
    }

    /// Digest of the signed payload.
    pub fn id(&self) -> BatchId {
        self.id
    }

    /// The signed head.
    pub fn head(&self) -> &SignatureBytes {
        &self.head
    }

    /// Position of each record, by record.
    pub fn positions(&self) -> BTreeMap<RecordId, u32> {
        self.leaves.iter().map(|(position, record)| (*record, *position)).collect()
    }

    /// One proof for all of `wanted` (positions, rising).
    pub fn prove(&self, wanted: &[u32]) -> Attestation {
        let nodes = self.tree.prove(wanted, filler(&self.prf));
        Attestation { head: self.head.clone(), nodes }
    }
}

fn hashed(leaves: &[(u32, RecordId)]) -> Vec<Leaf> {
    leaves.iter().map(|(position, record)| leaf(*position, *record)).collect()
}

/// The id of the batch whose signed head this is, unverified.
pub fn danger_id_of_head(head: &SignatureBytes) -> Result<BatchId, SignatureFault> {
    Ok(id_of(head.parse()?.danger_unverified_payload()))
}

fn id_of(payload: &[u8]) -> BatchId {
    BatchId::from_bytes(labelled(label::BATCH_ID, &[payload]))
}

/// Key and time that a signed head states, for its originator, who keeps it.
pub fn danger_unverified_head(head: &SignatureBytes) -> Result<(KeyId, UnixMillis), CodecError> {
    let parsed = head.parse().map_err(|_| CodecError::Shape)?;
    let payload = parsed.danger_unverified_payload();
    Ok((parsed.kid(), codec::from_slice::<WireHead>(payload, Bounds::bytes(HEAD_BYTES_MAX))?.time))
}

impl Attestation {
    /// The key that the head claims, to look it up.
    pub fn key(&self) -> Result<KeyId, SignatureFault> {
        Ok(self.head.parse()?.kid())
    }

    /// The batch that the head claims to be of, to find out which proofs are of one batch.
    pub fn danger_unverified_batch(&self) -> Result<BatchId, SignatureFault> {
        Ok(id_of(self.head.parse()?.danger_unverified_payload()))
    }
    /// One proof for `wanted` (positions, rising), from proofs of one batch with the records that each shows (position and
    /// id, rising): whoever received records in several runs shows some of them to another. `None` where they do not prove
    /// it.
    pub fn joined(parts: &[(&[(u32, RecordId)], &Self)], wanted: &[u32]) -> Option<Self> {
        let head = parts.first()?.1.head.clone();
        let payload: WireHead =
            codec::from_slice(head.parse().ok()?.danger_unverified_payload(), Bounds::bytes(HEAD_BYTES_MAX)).ok()?;
        let (mut leaves, mut nodes) = (BTreeMap::new(), BTreeMap::new());
        for (records, proof) in parts {
            let shown = hashed(records);
            let mut hidden = Vec::new();
            let note = |level, index| {
                hidden.push((level, index));
                payload.root
            };
            let all: Vec<u32> = shown.iter().map(|(position, _)| *position).collect();
            TREE.prove(&shown, &all, note);
            nodes.extend(hidden.into_iter().zip(&proof.nodes));
            leaves.extend(shown);
        }
        let leaves: Vec<Leaf> = leaves.into_iter().collect();
        let mut whole = true;
        let hidden = |level, index| {
            let known = nodes.get(&(level, index)).copied().copied();
            whole &= known.is_some();
            known.unwrap_or(payload.root)
        };
        let (root, nodes) = TREE.prove(&leaves, wanted, hidden);
        (whole && root == payload.root).then_some(Self { head, nodes })
    }
    /// Proves that `records` (position and id, rising) are in the batch that `originator` signed with `key`.
    pub fn verify(
        &self,
        originator: OrgId,
        key: &PublicKey,
        records: &[(u32, RecordId)],
    ) -> Result<Head, AttestationFault> {
        let head = Head::verify(&self.head, originator, key)?;
        head.proves(records, &self.nodes)?;
        Ok(head)
    }
}

impl Head {
    /// Reads a signed head, as the reward for verifying that `originator` signed it with `key`.
    pub fn verify(head: &SignatureBytes, originator: OrgId, key: &PublicKey) -> Result<Self, AttestationFault> {
        let signed: Sign1<'_> = head.parse()?;
        let head = Self::read(signed.verify(label::SIGN_BATCH, key)?, key.id())?;
        if head.originator == originator { Ok(head) } else { Err(AttestationFault::Originator) }
    }

    /// What it says before verification: only to find out whose key to ask for.
    pub fn danger_unverified(head: &SignatureBytes) -> Result<Self, AttestationFault> {
        let signed: Sign1<'_> = head.parse()?;
        Self::read(signed.danger_unverified_payload(), signed.kid())
    }

    fn read(payload: &[u8], key: KeyId) -> Result<Self, AttestationFault> {
        let wire: WireHead = codec::from_slice(payload, Bounds::bytes(HEAD_BYTES_MAX))?;
        if wire.v != 1 {
            return Err(AttestationFault::Originator);
        }
        let WireHead { root, time, checkpoint, originator, .. } = wire;
        Ok(Self { id: id_of(payload), originator, key, time, root, checkpoint })
    }

    /// Proves that `records` (position and id, rising) are in the batch: once for each batch is its signature verified,
    /// whatever the number of proofs under it.
    pub fn proves(&self, records: &[(u32, RecordId)], nodes: &[Hash]) -> Result<(), AttestationFault> {
        if nodes.len() > PROOF_NODES_MAX {
            return Err(AttestationFault::TooLong);
        }
        if TREE.rebuild(&hashed(records), nodes) == Some(self.root) { Ok(()) } else { Err(AttestationFault::Root) }
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
