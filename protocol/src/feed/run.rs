//! Runs: signed stretches of a feed, and the message in which one travels.
//!
//! The sender numbers and signs ([`Run::over`], [`Run::sign`]) and puts bodies and proofs beside
//! the signature ([`RunMessage`]); the receiver verifies in [`super::verify`]. A run says how many
//! entries it has, so its tree hides nothing: fillers are derived from what everybody sees.

use super::{Cursor, FeedKey, digest};
use crate::{
    batch::{Attestation, AttestationFault},
    codec::{self, Bounds, CodecError},
    cose::{self, SignatureBytes, SignatureFault},
    grant::{Beside, GrantFault},
    id::{AgreementDigest, EntryHash, FeedDigest, FeedId, Hash, KeyId},
    label, limits,
    primitive::{PublicKey, SigningKey, labelled, tagged},
    record::RecordFault,
    time::UnixMillis,
    tree::{Leaf, Tree},
};
use serde::{Deserialize, Serialize};

pub(super) const TREE: Tree = Tree { depth: limits::RUN_TREE_DEPTH, node_tag: label::TAG_RUN_NODE };
const PAYLOAD: Bounds = Bounds::bytes(512);

/// What a release costs in a run message beside its own bytes, at the very most: entry, place, a
/// batch head of its own and 16 proof nodes. A run whose releases, each with this on top, stay
/// within `RUN_BODY_BYTES_MAX` fits a frame whatever the batches look like.
pub const RUN_ENTRY_OVERHEAD_BYTES: usize = 1_100;

const _: () = assert!(
    limits::RUN_BODY_BYTES_MAX + limits::RUN_ENTRIES_MAX * 160 + (8 << 10) <= limits::FRAME_BYTES_MAX,
    "entries without bodies fit beside the largest bodies"
);

/// A stretch of a feed as its sender signs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Which feed.
    pub feed: FeedId,
    /// Number of the first entry, and the running digest before it.
    pub before: Cursor,
    /// Entries, at least one.
    pub count: u64,
    /// Running digest after the last entry.
    pub after: FeedDigest,
    /// Root of the tree over the entries' hashes.
    pub root: Hash,
    /// The agreement version that was in force when it was signed.
    pub version: AgreementDigest,
    /// When it was signed, by the sender's clock.
    pub time: UnixMillis,
    /// In the first run of an epoch above 0: what was last countersigned in the epoch before.
    pub prior: Option<Cursor>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRun {
    v: u64,
    feed: FeedId,
    root: Hash,
    time: UnixMillis,
    after: FeedDigest,
    count: u64,
    first: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prior: Option<Cursor>,
    before: FeedDigest,
    version: AgreementDigest,
}

/// A run that cannot be made: our own misuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// No entry, or more than a run takes.
    #[error("a run takes between 1 and {max} entries, not {given}", max = limits::RUN_ENTRIES_MAX)]
    Count {
        /// Entries given.
        given: usize,
    },
    /// The numbers of the feed are used up.
    #[error("the feed is too long for another run")]
    Length,
    /// It could not be encoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// A run that a receiver refuses: the sender's fault, and where in the run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunFault {
    /// The signature over the run.
    #[error("the run is refused: {0}")]
    Signature(#[from] SignatureFault),
    /// The payload, or the message around it.
    #[error("the run is malformed: {0}")]
    Codec(#[from] CodecError),
    /// It belongs to another feed: other agreement, direction, store or epoch.
    #[error("the run belongs to another feed")]
    Feed,
    /// It leaves a gap, or overlaps what is held.
    #[error("the run begins at {first} where {expected} was expected")]
    Place {
        /// Number of its first entry.
        first: u64,
        /// Number expected.
        expected: u64,
    },
    /// The statement about the epoch before is missing, or stands where none belongs.
    #[error("a run names what was countersigned before exactly where it opens a later epoch")]
    Prior,
    /// Number of entries, digest or root differ from what was signed.
    #[error("the entries are not those that were signed")]
    Entries,
    /// An entry is malformed.
    #[error("entry {index} is malformed: {fault}")]
    Entry {
        /// Place in the run.
        index: usize,
        /// What is wrong.
        fault: CodecError,
    },
    /// A release without body, or a body without release.
    #[error("entry {index} and the bodies do not fit together")]
    Carried {
        /// Place in the run.
        index: usize,
    },
    /// A body is not the one that the entry names.
    #[error("the body of entry {index} is not the one that was released")]
    Release {
        /// Place in the run.
        index: usize,
    },
    /// A record does not prove what it shows.
    #[error("the record of entry {index} is refused: {fault}")]
    Record {
        /// Place in the run.
        index: usize,
        /// What is wrong.
        fault: RecordFault,
    },
    /// A batch proof is refused.
    #[error("attestation {index} is refused: {fault}")]
    Attestation {
        /// Place among the attestations.
        index: usize,
        /// What is wrong.
        fault: AttestationFault,
    },
    /// An attestation that nothing in the run needs, or the same batch twice.
    #[error("attestation {index} is not needed")]
    Surplus {
        /// Place among the attestations.
        index: usize,
    },
    /// A grant is refused, stands in the message twice, or no release needs it.
    #[error("grant {index} is refused: {fault}")]
    Grant {
        /// Place among the grants.
        index: usize,
        /// What is wrong.
        fault: GrantFault,
    },
    /// More bodies than a run carries.
    #[error("the run carries more than {max} bytes of bodies", max = limits::RUN_BODY_BYTES_MAX)]
    TooLarge,
}

impl RunFault {
    /// Whether the run is signed, of its feed and in its place, and what it carries does not hold. Whoever serves it
    /// again is refused again.
    pub const fn is_of_content(&self) -> bool {
        match self {
            Self::Signature(_) | Self::Codec(_) | Self::Feed | Self::Place { .. } | Self::Prior => false,
            Self::Entries
            | Self::Entry { .. }
            | Self::Carried { .. }
            | Self::Release { .. }
            | Self::Record { .. }
            | Self::Attestation { .. }
            | Self::Surplus { .. }
            | Self::Grant { .. }
            | Self::TooLarge => true,
        }
    }
    /// The place in the run of the entry that does not hold, where it is one: of a batch proof, its first record's.
    pub fn entry(&self, message: &RunMessage) -> Option<usize> {
        match self {
            Self::Entry { index, .. }
            | Self::Carried { index }
            | Self::Release { index }
            | Self::Record { index, .. } => Some(*index),
            Self::Attestation { index, .. } => {
                let proved = |carried: &&Carried| usize::from(carried.1) == *index;
                message.carried.iter().find(proved).map(|carried| usize::from(carried.0))
            }
            _ => None,
        }
    }
}

fn leaves(hashes: &[EntryHash]) -> Vec<Leaf> {
    (0u32..).zip(hashes).map(|(at, hash)| leaf(at, *hash)).collect()
}

pub(super) fn leaf(at: u32, hash: EntryHash) -> Leaf {
    (at, tagged(label::TAG_RUN_LEAF, &[hash.as_bytes()]))
}

/// SHA-256(label, feed, first, level, index). Not secret, and need not be: the signed run states how
/// many entries it has, so which places are empty is no news; it only has to be the same for everybody.
fn filler(feed: FeedId, first: u64) -> impl FnMut(u8, u32) -> Hash {
    move |level, index| {
        let parts: [&[u8]; 4] = [feed.as_bytes(), &first.to_be_bytes(), &[level], &index.to_be_bytes()];
        Hash::from_bytes(labelled(label::RUN_FILL, &parts))
    }
}

/// Root of the tree over a run's entries.
pub(super) fn root(feed: FeedId, first: u64, hashes: &[EntryHash]) -> Hash {
    TREE.root(&leaves(hashes), filler(feed, first))
}

impl Run {
    /// The run over these entries. Numbers are given here: entry n of the run is `before.length + n` of the feed.
    pub fn over(
        feed: FeedId,
        before: Cursor,
        hashes: &[EntryHash],
        version: AgreementDigest,
        time: UnixMillis,
        prior: Option<Cursor>,
    ) -> Result<Self, RunError> {
        if hashes.is_empty() || hashes.len() > limits::RUN_ENTRIES_MAX {
            return Err(RunError::Count { given: hashes.len() });
        }
        let count = hashes.len() as u64;
        before.length.checked_add(count).ok_or(RunError::Length)?;
        let after = digest::steps(before.digest, hashes.iter().copied());
        let root = root(feed, before.length, hashes);
        Ok(Self { feed, before, count, after, root, version, time, prior })
    }

    /// Signs it with the sender's runs key.
    pub fn sign(&self, key: &SigningKey) -> Result<SignatureBytes, RunError> {
        let Self { feed, before, count, after, root, version, time, prior } = self.clone();
        let (first, before) = (before.length, before.digest);
        let wire = WireRun { v: 1, feed, root, time, after, count, first, prior, before, version };
        let payload = codec::to_vec(&wire, PAYLOAD)?;
        Ok(SignatureBytes(cose::sign(label::SIGN_RUN, key, &payload)))
    }

    /// Reads a signed run, as the reward for verifying. `key` finds a runs key of the sender.
    pub fn verify(
        signed: &SignatureBytes,
        feed: &FeedKey,
        key: impl Fn(KeyId) -> Option<PublicKey>,
    ) -> Result<Self, RunFault> {
        let parsed = signed.parse()?;
        let public = key(parsed.kid()).ok_or(SignatureFault::Key)?;
        let run = Self::read(parsed.verify(label::SIGN_RUN, &public)?)?;
        if run.feed != feed.id() {
            return Err(RunFault::Feed);
        }
        if run.prior.is_some() != (feed.epoch > 0 && run.before.length == 0) {
            return Err(RunFault::Prior);
        }
        Ok(run)
    }

    /// The payload before verification: only to find out which feed it claims, and how far it goes.
    pub fn danger_unverified(signed: &SignatureBytes) -> Result<Self, RunFault> {
        Self::read(signed.parse()?.danger_unverified_payload())
    }

    fn read(payload: &[u8]) -> Result<Self, RunFault> {
        let wire: WireRun = codec::from_slice(payload, PAYLOAD)?;
        let WireRun { v, feed, root, time, after, count, first, prior, before, version } = wire;
        let max = limits::RUN_ENTRIES_MAX as u64;
        if v != 1 || count == 0 || count > max || first.checked_add(count).is_none() {
            return Err(CodecError::Shape.into());
        }
        let before = Cursor { length: first, digest: before };
        Ok(Self { feed, before, count, after, root, version, time, prior })
    }

    /// The feed's length and digest after the run.
    pub fn end(&self) -> Cursor {
        // `over` and `read` have checked that this does not overflow.
        Cursor { length: self.before.length.saturating_add(self.count), digest: self.after }
    }

    /// The fewest nodes that prove entry `index` of the run. `hashes` are all its entries.
    pub fn prove(&self, hashes: &[EntryHash], index: u32) -> Vec<Hash> {
        TREE.prove(&leaves(hashes), &[index], filler(self.feed, self.before.length)).1
    }
}

/// An entry in a run message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunEntry {
    /// The entry's bytes; a release has its body among the carried ones.
    Open(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Its hash alone: it is no longer cleared, and its withdrawal follows.
    Hash(EntryHash),
}

impl RunEntry {
    /// The entry's hash, over the bytes as they came.
    pub fn hash(&self) -> EntryHash {
        match self {
            Self::Open(bytes) => super::Entry::hash_of(bytes),
            Self::Hash(hash) => *hash,
        }
    }
}

/// The body of a release, and where its record stands in a batch: (entry, attestation, position, release).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried(
    /// Place of the entry in the run.
    pub u16,
    /// Place of the attestation in the message.
    pub u16,
    /// Position of the record in the batch.
    pub u16,
    /// [`Release::to_bytes`](super::Release::to_bytes).
    #[serde(with = "serde_bytes")]
    pub Vec<u8>,
);

/// A run as it travels: the signature, every entry, and the bodies and batch proofs of the open releases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunMessage {
    /// COSE_Sign1 over the run.
    pub run: SignatureBytes,
    /// Grants and cards, where releases are of other originators than the sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onward: Option<Beside>,
    /// One for each open release, rising.
    pub carried: Vec<Carried>,
    /// Every entry in its order.
    pub entries: Vec<RunEntry>,
    /// One joint proof for each batch.
    pub attestations: Vec<Attestation>,
}
