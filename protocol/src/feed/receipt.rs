//! Receipts: the receiver's countersignature of a run, and proof of one entry alone.
//!
//! The receiver signs one for each run when all of it is durable; that is the acknowledgement. The
//! sender keeps it, and can show it to third parties with one entry and a path, and nothing else.

use super::{
    Cursor, FeedKey, Run, RunFault,
    run::{TREE, leaf},
};
use crate::{
    codec::{self, Bounds, CodecError},
    cose::{self, SignatureBytes, SignatureFault},
    id::{EntryHash, FeedDigest, FeedId, Hash, KeyId},
    label, limits,
    primitive::{PublicKey, SigningKey},
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};

const PAYLOAD: Bounds = Bounds::bytes(256);
const PROOF: Bounds = Bounds::bytes(4 << 10);

/// What the receiver states: it holds the feed up to the end of this run, durably.
///
/// It names the run's root beside the digest. With the digest alone, a sender could sign a second
/// run with the same digests over another tree, and pass off an entry that was never received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Which feed.
    pub feed: FeedId,
    /// Length and digest after the run.
    pub held: Cursor,
    /// Root of the run's entries.
    pub root: Hash,
    /// When it was durable, by the receiver's clock.
    pub time: UnixMillis,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireReceipt {
    v: u64,
    feed: FeedId,
    root: Hash,
    time: UnixMillis,
    digest: FeedDigest,
    length: u64,
}

impl Receipt {
    /// The receipt of a run.
    pub fn of(run: &Run, time: UnixMillis) -> Self {
        Self { feed: run.feed, held: run.end(), root: run.root, time }
    }

    /// Signs it with the receiver's runs key.
    pub fn sign(&self, key: &SigningKey) -> Result<SignatureBytes, CodecError> {
        let Self { feed, held, root, time } = *self;
        let wire = WireReceipt { v: 1, feed, root, time, digest: held.digest, length: held.length };
        Ok(SignatureBytes(cose::sign(label::SIGN_RECEIPT, key, &codec::to_vec(&wire, PAYLOAD)?)))
    }

    /// Reads a receipt, as the reward for verifying. `key` finds a runs key of the feed's receiver.
    pub fn verify(
        signed: &SignatureBytes,
        feed: &FeedKey,
        key: impl Fn(KeyId) -> Option<PublicKey>,
    ) -> Result<Self, RunFault> {
        let parsed = signed.parse()?;
        let public = key(parsed.kid()).ok_or(SignatureFault::Key)?;
        let receipt = Self::read(parsed.verify(label::SIGN_RECEIPT, &public)?)?;
        if receipt.feed == feed.id() { Ok(receipt) } else { Err(RunFault::Feed) }
    }

    /// The payload before verification: only to find out which run it claims.
    pub fn danger_unverified(signed: &SignatureBytes) -> Result<Self, RunFault> {
        Self::read(signed.parse()?.danger_unverified_payload())
    }

    fn read(payload: &[u8]) -> Result<Self, RunFault> {
        let WireReceipt { v, feed, root, time, digest, length } = codec::from_slice(payload, PAYLOAD)?;
        if v != 1 || length == 0 {
            return Err(CodecError::Shape.into());
        }
        Ok(Self { feed, held: Cursor { length, digest }, root, time })
    }
}

impl Receipt {
    /// Whether it is for this very run.
    pub fn is_of(&self, run: &Run) -> bool {
        self.root == run.root && self.held == run.end()
    }
}

impl Run {
    /// Proves that an entry stands in the run, whose signature is verified once for however many entries.
    pub fn proves(&self, entry: EntryHash, index: u32, nodes: &[Hash]) -> Result<(), RunFault> {
        let long = nodes.len() > usize::from(limits::RUN_TREE_DEPTH) || u64::from(index) >= self.count;
        if long || TREE.rebuild(&[leaf(index, entry)], nodes) != Some(self.root) {
            return Err(RunFault::Entries);
        }
        Ok(())
    }
}

/// Proof for third parties that one entry was sent, and received: nothing of its neighbours but hashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryProof {
    /// The run as its sender signed it.
    pub run: SignatureBytes,
    /// The entry's hash.
    pub entry: EntryHash,
    /// Its place in the run.
    pub index: u32,
    /// The path to the run's root.
    pub nodes: Vec<Hash>,
    /// The receiver's countersignature, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<SignatureBytes>,
}

impl EntryProof {
    /// As bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        codec::to_vec(self, PROOF)
    }

    /// Reads a proof.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::from_slice(bytes, PROOF)
    }

    /// Proves that the entry is in the run, that the sender signed it and, if it is there, that the
    /// receiver countersigned this very run.
    pub fn verify(
        &self,
        feed: &FeedKey,
        sender: impl Fn(KeyId) -> Option<PublicKey>,
        receiver: impl Fn(KeyId) -> Option<PublicKey>,
    ) -> Result<(Run, Option<Receipt>), RunFault> {
        let run = Run::verify(&self.run, feed, sender)?;
        run.proves(self.entry, self.index, &self.nodes)?;
        let receipt = self.receipt.as_ref().map(|signed| Receipt::verify(signed, feed, receiver)).transpose()?;
        if receipt.is_some_and(|receipt| !receipt.is_of(&run)) {
            return Err(RunFault::Entries);
        }
        Ok((run, receipt))
    }
}
