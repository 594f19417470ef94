//! What the keeper of a log and its partners say to each other about it.
//!
//! One message stands in one notice of a session. A reader gets a message whose form and bounds hold; what stands in it
//! is believed only after the signatures in it are verified. Nothing here has an answer to a fault but the code.

use super::{
    checkpoint::{Checkpoint, CheckpointFault, UnverifiedCheckpoint},
    cosignature::Cosignature,
    note::{NoteFault, SignatureLine},
    proof::LeafProof,
    witness::{Declined, Offer},
};
use crate::{
    codec::{self, Bounds, CodecError},
    id::{Hash, LoggedDigest, OrgId, StoreId},
    limits,
    primitive::PublicKey,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

const BOUNDS: Bounds =
    Bounds { bytes_max: limits::CONTROL_FRAME_BYTES_MAX - 64, items_max: limits::PROOFS_PER_MESSAGE_MAX * 128 };

/// The kind of the notice in which one message stands.
pub const NOTICE_LOG: u16 = 10;

/// A message about a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogMessage {
    /// From the log: which head its witness saw last. It signs nothing new before it knows.
    Ask(AskMessage),
    /// From the witness: the head that it saw last.
    Seen(SeenMessage),
    /// From the log: a head to be witnessed.
    Offer(OfferMessage),
    /// From the witness: its cosignature.
    Cosigned(CosignedMessage),
    /// From the witness: it does not cosign.
    Declined(DeclinedMessage),
    /// From the log: proofs that runs are in it.
    Proofs(ProofsMessage),
    /// From the log: it will not prove that runs are in it.
    Unproved(UnprovedMessage),
    /// From whoever was sent runs: which of them wait for their proofs.
    Owed(OwedMessage),
    /// From whoever holds a head of the log: how the log's own goes on from that size.
    Compare(CompareMessage),
}

/// A log asks its witness what it saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskMessage {
    /// Of which store.
    pub store: StoreId,
}

/// What a witness saw of a store's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenMessage {
    /// The last head that it accepted, a note with its own cosignature; absent where it saw none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<ByteBuf>,
    /// Of which store.
    pub store: StoreId,
}

/// Runs of a store that wait for their proofs, at their receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwedMessage {
    /// Rising.
    pub runs: Vec<LoggedDigest>,
    /// Of which store.
    pub store: StoreId,
}

/// A head of the log that its sender holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompareMessage {
    /// The head, a note.
    pub head: ByteBuf,
}

/// Notes and proof of an [`Offer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfferMessage {
    /// The head that is offered, a note.
    pub new: ByteBuf,
    /// The log's own head at the size that the witness saw, a note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<ByteBuf>,
    /// Consistency from one to the other.
    pub proof: Vec<Hash>,
}

/// A witness's answer to an offer that it accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CosignedMessage {
    /// Its line in the note, without line feed.
    pub line: String,
    /// Whether the witness agrees that others are shown this cosignature.
    pub named: bool,
    /// Digest of the checkpoint.
    pub checkpoint: Hash,
}

/// Why a witness does not cosign: no more than the log must know to do better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeclinedCode {
    /// The offer does not go on from what the witness saw, which stands beside.
    Stale,
    /// The time up to which it speaks is still to come.
    Early,
    /// It does not hold, or nothing of this log is witnessed.
    Refused,
}

/// A witness's answer to an offer that it did not accept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclinedMessage {
    /// Why.
    pub code: DeclinedCode,
    /// The last head that the witness accepted, a note with its own cosignature: a log that is behind it was restored from
    /// an older copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<ByteBuf>,
    /// Digest of the checkpoint that was offered.
    pub checkpoint: Hash,
}

/// One run and the proof of its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunProof {
    /// Which run.
    pub run: LoggedDigest,
    /// Its place, opened.
    pub proof: LeafProof,
}

/// Proofs for runs of the message's receiver, under one head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofsMessage {
    /// Rising by run.
    pub proofs: Vec<RunProof>,
    /// Digest of the checkpoint, the last that the receiver cosigned.
    pub checkpoint: Hash,
}

/// Runs that a log will not prove. It is shown to people as what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnprovedMessage {
    /// Rising.
    pub runs: Vec<LoggedDigest>,
    /// Of which store.
    pub store: StoreId,
}

impl LogMessage {
    /// The message as the content of a notice.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        self.check()?;
        codec::to_vec(self, BOUNDS)
    }

    /// Reads a message.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let message: Self = codec::from_slice(bytes, BOUNDS)?;
        message.check()?;
        Ok(message)
    }

    fn check(&self) -> Result<(), CodecError> {
        let few = |count: usize| (1..=limits::PROOFS_PER_MESSAGE_MAX).contains(&count);
        let is_note = |note: &ByteBuf| note.len() <= limits::NOTE_BYTES_MAX;
        let fits = match self {
            Self::Offer(offer) => {
                is_note(&offer.new)
                    && offer.held.as_ref().is_none_or(is_note)
                    && offer.proof.len() <= limits::LOG_PROOF_HASHES_MAX
            }
            Self::Cosigned(cosigned) => {
                SignatureLine::parse(&cosigned.line).is_some_and(|line| line.to_string() == cosigned.line)
            }
            Self::Declined(declined) => {
                let due = declined.code == DeclinedCode::Stale || declined.seen.is_none();
                due && declined.seen.as_ref().is_none_or(is_note)
            }
            Self::Proofs(proofs) => few(proofs.proofs.len()) && proofs.proofs.is_sorted_by(|a, b| a.run < b.run),
            Self::Unproved(UnprovedMessage { runs, .. }) | Self::Owed(OwedMessage { runs, .. }) => {
                few(runs.len()) && runs.is_sorted_by(|a, b| a < b)
            }
            Self::Ask(_) => true,
            Self::Seen(seen) => seen.note.as_ref().is_none_or(is_note),
            Self::Compare(compare) => is_note(&compare.head),
        };
        if fits { Ok(()) } else { Err(CodecError::Shape) }
    }
}

impl OfferMessage {
    /// The message of an offer.
    pub fn new(offer: &Offer) -> Result<Self, NoteFault> {
        let note = |head: &Checkpoint| head.to_bytes().map(ByteBuf::from);
        let held = offer.held.as_ref().map(note).transpose()?;
        Ok(Self { new: note(&offer.new)?, held, proof: offer.proof.clone() })
    }

    /// The offer, as the reward for verifying both heads under log keys of `org`.
    pub fn verify(&self, org: OrgId, keys: &[PublicKey]) -> Result<Offer, CheckpointFault> {
        let head = |note: &ByteBuf| UnverifiedCheckpoint::from_bytes(note)?.verify(org, keys);
        let held = self.held.as_ref().map(head).transpose()?;
        Ok(Offer { held, new: head(&self.new)?, proof: self.proof.clone() })
    }
}

impl CosignedMessage {
    /// The answer with a cosignature.
    pub fn new(checkpoint: &Checkpoint, cosignature: &Cosignature, named: bool) -> Self {
        Self { line: cosignature.line().to_string(), named, checkpoint: checkpoint.digest() }
    }
}

impl DeclinedMessage {
    /// The answer to `offered`; `seen` is the last accepted head with the witness's own cosignature, where there is one.
    pub fn new(offered: &Checkpoint, declined: &Declined, seen: Option<Vec<u8>>) -> Self {
        let code = match declined {
            Declined::Stale { .. } => DeclinedCode::Stale,
            Declined::Future { .. } => DeclinedCode::Early,
            _ => DeclinedCode::Refused,
        };
        let seen = seen.filter(|_| code == DeclinedCode::Stale).map(ByteBuf::from);
        Self { code, seen, checkpoint: offered.digest() }
    }
}
