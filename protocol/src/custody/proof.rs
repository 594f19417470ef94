//! Proof that something signed is in the log of its organisation, or is not where it must be.
//!
//! The organisation makes a [`LeafProof`] from an interval and the log's tiles; whoever holds a checkpoint checks it. A
//! run whose place was opened as something else is [`UnloggedRun`]: everybody can check that its sender kept it out.

use super::{
    checkpoint::{Checkpoint, CheckpointFault, UnverifiedCheckpoint},
    interval::{Interval, IntervalFault, IntervalLeaf, Opening, Standing},
};
use crate::{
    codec::{self, Bounds, CodecError},
    cose::{SignatureBytes, SignatureFault},
    feed::{FeedKey, Run, RunFault},
    id::{Hash, KeyId, LoggedDigest},
    label, limits,
    merkle::{self, ProofFault},
    primitive::PublicKey,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

const UNLOGGED: Bounds = Bounds::bytes(limits::NOTE_BYTES_MAX + (16 << 10));

/// A proof from the log that is refused: the fault of whoever keeps it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogProofFault {
    /// Of another leaf than the one that must hold it.
    #[error("the proof is of leaf {given} where {due} must hold what was signed")]
    Leaf {
        /// Leaf of the proof.
        given: u64,
        /// Leaf of the interval in which it was signed.
        due: u64,
    },
    /// Of another log.
    #[error("the proof is of another log")]
    OtherLog,
    /// The path from the leaf to the checkpoint.
    #[error("the leaf is not in the log: {0}")]
    Path(#[from] ProofFault),
    /// What stands in the leaf.
    #[error(transparent)]
    Interval(#[from] IntervalFault),
}

/// One place of one leaf, opened, with the path from the leaf to a checkpoint's root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeafProof {
    leaf: ByteBuf,
    path: Vec<Hash>,
    index: u64,
    opening: Opening,
}

impl LeafProof {
    /// The proof that an event stands in interval `index`; `path` leads from its leaf to the checkpoint that is meant. None
    /// where it does not stand there: what would then be opened is evidence against whoever opens it, and a mistake of ours
    /// must not become that.
    pub fn new(index: u64, interval: &Interval, event: LoggedDigest, path: Vec<Hash>) -> Option<Self> {
        interval.holds(event).then(|| Self::of_place(index, interval, event, path))
    }

    /// The place of an event, opened as whatever stands there.
    pub(crate) fn of_place(index: u64, interval: &Interval, event: LoggedDigest, path: Vec<Hash>) -> Self {
        let leaf = ByteBuf::from(interval.leaf().bytes());
        Self { leaf, path, index, opening: interval.open(event) }
    }

    /// The same leaf, opened at the place of another event, as whatever stands there: evidence against whoever keeps the log
    /// where that event should stand there. A node never calls this; whoever tries what a dishonest one does, does.
    pub fn danger_opened_at(&self, interval: &Interval, event: LoggedDigest) -> Self {
        Self { opening: interval.open(event), ..self.clone() }
    }

    /// The leaf that it opens.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Whether leaf `due` under this checkpoint holds the event, as the reward for a proof that holds.
    pub fn verify(&self, checkpoint: &Checkpoint, due: u64, event: LoggedDigest) -> Result<Standing, LogProofFault> {
        if self.index != due {
            return Err(LogProofFault::Leaf { given: self.index, due });
        }
        if self.path.len() > limits::LOG_PROOF_HASHES_MAX {
            return Err(ProofFault::Length.into());
        }
        let leaf = IntervalLeaf::from_bytes(&self.leaf).map_err(IntervalFault::Codec)?;
        let head = checkpoint.head();
        merkle::verify_inclusion(leaf.hash(), self.index, head.size, head.root, &self.path)?;
        Ok(self.opening.verify(&leaf, event)?)
    }
}

/// Evidence of an unlogged run that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnloggedFault {
    /// Not of the form.
    #[error("the evidence is malformed: {0}")]
    Codec(#[from] CodecError),
    /// The run.
    #[error("the run is refused: {0}")]
    Run(#[from] RunFault),
    /// The checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointFault),
    /// The proof.
    #[error(transparent)]
    Proof(#[from] LogProofFault),
    /// The run states a time before its log.
    #[error("the run states a time before its log was created")]
    BeforeLog,
    /// The run is in the log.
    #[error("the run is in the log of its sender")]
    Logged,
}

/// A signed run, and its sender's own log in which its place holds something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnloggedRun {
    v: u64,
    run: SignatureBytes,
    feed: FeedKey,
    proof: LeafProof,
    checkpoint: ByteBuf,
}

impl UnloggedRun {
    /// The evidence of these parts. Nothing is known of it before it is verified.
    pub fn new(
        run: SignatureBytes,
        feed: FeedKey,
        proof: LeafProof,
        checkpoint: &Checkpoint,
    ) -> Result<Self, CheckpointFault> {
        Ok(Self { v: 1, run, feed, proof, checkpoint: ByteBuf::from(checkpoint.to_bytes()?) })
    }
    /// As it is kept and shown.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        codec::to_vec(self, UNLOGGED)
    }
    /// Reads evidence.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let read: Self = codec::from_slice(bytes, UNLOGGED)?;
        if read.v == 1 { Ok(read) } else { Err(CodecError::Shape) }
    }

    /// The run that it is about, as it was signed. Nothing is known of it before the evidence is verified.
    pub fn run(&self) -> &SignatureBytes {
        &self.run
    }

    /// The run that its sender signed and kept out of its log, and the checkpoint under which that is so. `runs` finds a
    /// runs key of the sender, `log` are its log keys.
    pub fn verify(
        &self,
        runs: impl Fn(KeyId) -> Option<PublicKey>,
        log: &[PublicKey],
    ) -> Result<(Run, Checkpoint), UnloggedFault> {
        let run = Run::verify(&self.run, &self.feed, runs)?;
        let event = logged_run(&self.run)?;
        let checkpoint = UnverifiedCheckpoint::from_bytes(&self.checkpoint)?.verify(self.feed.sender, log)?;
        if checkpoint.origin().store() != self.feed.store {
            return Err(LogProofFault::OtherLog.into());
        }
        let due = checkpoint.origin().leaf_at(run.time).ok_or(UnloggedFault::BeforeLog)?;
        match self.proof.verify(&checkpoint, due, event)? {
            Standing::Logged => Err(UnloggedFault::Logged),
            Standing::Unlogged => Ok((run, checkpoint)),
        }
    }
}

/// The digest under which a run stands in its sender's log.
pub fn logged_run(run: &SignatureBytes) -> Result<LoggedDigest, RunFault> {
    Ok(LoggedDigest::of(label::SIGN_RUN, run.parse()?.danger_unverified_payload()))
}

/// The digest under which a batch head stands in its originator's log.
pub fn logged_batch(head: &SignatureBytes) -> Result<LoggedDigest, SignatureFault> {
    Ok(LoggedDigest::of(label::SIGN_BATCH, head.parse()?.danger_unverified_payload()))
}
