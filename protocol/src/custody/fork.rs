//! Two signed heads of one store's log that cannot both be true: what everybody can check, and nobody can unsay.
//!
//! A witness finds one, keeps it, and shows it to people and to other organisations. Heads of different sizes are no
//! proof by themselves, whatever is missing between them; why a fork comes to light nevertheless is said at
//! [`Offer`](super::witness::Offer).

use super::checkpoint::{Checkpoint, CheckpointFault, Origin, UnverifiedCheckpoint};
use crate::{
    codec::{self, Bounds, CodecError},
    id::OrgId,
    limits,
    primitive::PublicKey,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::cmp::Ordering;

const BOUNDS: Bounds = Bounds::bytes(2 * limits::NOTE_BYTES_MAX + 64);

/// Why two heads cannot both be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// One size, two roots.
    Roots,
    /// Two logs of one store and epoch: another creation or interval.
    Origins,
    /// A later epoch that begins before an earlier one has ended.
    Epochs,
}

/// A proof of a fork that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForkFault {
    /// Not of the form.
    #[error("the proof of a fork is malformed: {0}")]
    Codec(#[from] CodecError),
    /// One of the heads.
    #[error("a head of the fork is refused: {0}")]
    Checkpoint(#[from] CheckpointFault),
    /// Both heads can be true.
    #[error("the two heads do not contradict each other")]
    NoFork,
}

/// Two heads under one organisation's log keys that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForkProof {
    first: Checkpoint,
    second: Checkpoint,
    fork: Fork,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireFork {
    v: u64,
    first: ByteBuf,
    second: ByteBuf,
}

impl ForkProof {
    /// The proof that two verified heads are, if they are one. The first is the one seen first.
    pub fn of(first: &Checkpoint, second: &Checkpoint) -> Option<Self> {
        let store = |origin: &Origin| (origin.org(), origin.store());
        if store(first.origin()) != store(second.origin()) {
            return None;
        }
        let (a, b) = (first.head(), second.head());
        let overlap = |earlier: &Checkpoint, later: &Checkpoint| later.origin().begins(0) < earlier.time();
        let contradict = match first.origin().epoch().cmp(&second.origin().epoch()) {
            Ordering::Less => overlap(first, second).then_some(Fork::Epochs),
            Ordering::Greater => overlap(second, first).then_some(Fork::Epochs),
            Ordering::Equal if first.origin() != second.origin() => Some(Fork::Origins),
            Ordering::Equal => (a.size == b.size && a.root != b.root).then_some(Fork::Roots),
        };
        let fork = contradict?;
        Some(Self { first: first.clone(), second: second.clone(), fork })
    }

    /// As it is kept and shown.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ForkFault> {
        let note = |head: &Checkpoint| head.to_bytes().map(ByteBuf::from).map_err(CheckpointFault::Note);
        let wire = WireFork { v: 1, first: note(&self.first)?, second: note(&self.second)? };
        Ok(codec::to_vec(&wire, BOUNDS)?)
    }

    /// Reads a proof, as the reward for verifying both heads under log keys of `org`.
    pub fn from_bytes(bytes: &[u8], org: OrgId, keys: &[PublicKey]) -> Result<Self, ForkFault> {
        let WireFork { v, first, second } = codec::from_slice(bytes, BOUNDS)?;
        if v != 1 {
            return Err(CodecError::Shape.into());
        }
        let head = |note: &[u8]| UnverifiedCheckpoint::from_bytes(note).and_then(|head| head.verify(org, keys));
        Self::of(&head(&first)?, &head(&second)?).ok_or(ForkFault::NoFork)
    }

    /// Why both cannot be true.
    pub fn fork(&self) -> Fork {
        self.fork
    }
    /// The two heads, the one seen first before the other.
    pub fn heads(&self) -> (&Checkpoint, &Checkpoint) {
        (&self.first, &self.second)
    }
}
