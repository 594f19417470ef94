//! What stands in the parts of a package: each is one item of canonical CBOR.

use super::name::{Ending, Name};
use crate::{
    codec::{self, Bounds, CodecError},
    cose::{self, Sign1, SignatureBytes, SignatureFault},
    custody::proof::LeafProof,
    feed::FeedKey,
    id::{Hash, OrgId},
    label, limits,
    primitive::{PublicKey, SigningKey},
    record::{Opening, Redacted},
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

const MANIFEST: Bounds =
    Bounds { bytes_max: limits::PACKAGE_MANIFEST_BYTES_MAX, items_max: limits::PACKAGE_MANIFEST_ITEMS_MAX };
const PART: Bounds =
    Bounds { bytes_max: limits::PACKAGE_PART_BYTES_MAX, items_max: limits::PACKAGE_MANIFEST_ITEMS_MAX };

/// One part, as the list has it: name, bytes, SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed(pub String, pub u64, pub Hash);

/// The list of all other parts in their order: what makes them one package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    v: u64,
    /// When the package was made, by its maker's clock.
    pub time: UnixMillis,
    /// Who made it, and says what it says of the standing of each record.
    pub maker: OrgId,
    /// Every other part.
    pub parts: Vec<Listed>,
}

impl Manifest {
    /// A list by a maker.
    pub const fn new(maker: OrgId, time: UnixMillis, parts: Vec<Listed>) -> Self {
        Self { v: 1, time, maker, parts }
    }
    /// Signs it with the maker's runs key: the last part.
    pub fn sign(&self, key: &SigningKey) -> Result<Vec<u8>, CodecError> {
        let payload = codec::to_vec(self, MANIFEST)?;
        codec::to_vec(&SignatureBytes(cose::sign(label::SIGN_PACKAGE, key, &payload)), MANIFEST)
    }
}

/// A signed list, of which nothing is proved yet.
pub(super) struct SignedManifest(SignatureBytes);

impl SignedManifest {
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        Ok(Self(codec::from_slice(bytes, MANIFEST)?))
    }
    pub fn parse(&self) -> Result<Sign1<'_>, SignatureFault> {
        Sign1::parse(&self.0.0, limits::PACKAGE_MANIFEST_BYTES_MAX)
    }
    /// What it says: before it is verified only to find out whose key to ask for.
    pub fn danger_unverified(&self) -> Result<Manifest, SignatureFault> {
        Self::read(self.parse()?.danger_unverified_payload())
    }
    pub fn verify(&self, key: &PublicKey) -> Result<Manifest, SignatureFault> {
        Self::read(self.parse()?.verify(label::SIGN_PACKAGE, key)?)
    }
    fn read(payload: &[u8]) -> Result<Manifest, SignatureFault> {
        let manifest: Manifest = codec::from_slice(payload, MANIFEST).map_err(SignatureFault::Form)?;
        if manifest.v == 1 { Ok(manifest) } else { Err(SignatureFault::Form(CodecError::Shape)) }
    }
}

/// A signed run that carried records of the package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentRun {
    v: u64,
    /// As its sender signed it.
    pub run: SignatureBytes,
    /// Which feed.
    pub feed: FeedKey,
    /// As its receiver countersigned it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<SignatureBytes>,
}

impl SentRun {
    /// A run with its receipt.
    pub const fn new(feed: FeedKey, run: SignatureBytes, receipt: Option<SignatureBytes>) -> Self {
        Self { v: 1, run, feed, receipt }
    }
}

/// The place of a record's entry in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    /// Number of the run's part.
    pub run: u32,
    /// The entry's bytes, which name the record.
    pub entry: ByteBuf,
    /// Its place in the run.
    pub index: u32,
    /// The path to the run's root.
    pub nodes: Vec<Hash>,
}

/// Where a record stands, by the word of the package's maker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The maker knows of nothing that takes it back.
    Stands,
    /// A newer record of its line takes its place.
    Amended,
    /// It was withdrawn from whoever made the package.
    Withdrawn,
    /// Its originator recalled it.
    Recalled,
    /// The time for which it was given is over.
    Expired,
    /// Its originator found it to be wrong.
    Refuted,
}

impl State {
    /// Whether it may still be relied on, as far as its maker knew.
    pub const fn stands(self) -> bool {
        matches!(self, Self::Stands | Self::Amended)
    }
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stands => "stands",
            Self::Amended => "amended",
            Self::Withdrawn => "withdrawn",
            Self::Recalled => "recalled",
            Self::Expired => "expired",
            Self::Refuted => "refuted",
        }
    }
}

/// The standing of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// As of when: for what takes it back, since when that is known.
    pub at: UnixMillis,
    /// Where it stands.
    pub state: State,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct WireOpening(u8, crate::id::Nonce, #[serde(with = "serde_bytes")] Vec<u8>);

/// A record: what is shown of it, and what proves that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    v: u64,
    #[serde(with = "serde_bytes")]
    body: Vec<u8>,
    /// Runs that carried it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<Carried>,
    /// The path from its position to the batch's root.
    pub above: Vec<Hash>,
    /// Number of the part with the head of its batch.
    pub batch: u32,
    nodes: Vec<Hash>,
    openings: Vec<WireOpening>,
    /// Its position in the batch.
    pub position: u16,
    /// Where it stands.
    pub standing: Standing,
}

impl Part {
    /// A record as it is shown.
    pub fn new(
        redacted: Redacted,
        (batch, position, above): (u32, u16, Vec<Hash>),
        standing: Standing,
        runs: Vec<Carried>,
    ) -> Self {
        let Redacted { body, openings, nodes } = redacted;
        let opening = |o: Opening| WireOpening(o.slot, crate::id::Nonce::from_bytes(o.salt), o.value);
        let openings = openings.into_iter().map(opening).collect();
        Self { v: 1, body, runs, above, batch, nodes, openings, position, standing }
    }
    /// What is shown, to verify it.
    pub fn redacted(&self) -> Redacted {
        let opening = |o: &WireOpening| Opening { slot: o.0, salt: *o.1.as_bytes(), value: o.2.clone() };
        Redacted {
            body: self.body.clone(),
            openings: self.openings.iter().map(opening).collect(),
            nodes: self.nodes.clone(),
        }
    }
}

/// What stands in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Logged {
    /// The run of this number.
    Run(u32),
    /// The batch of this number.
    Batch(u32),
}

/// One place of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogPlace {
    /// What stands there.
    pub of: Logged,
    /// What proves it, under the checkpoint.
    pub proof: LeafProof,
}

/// What the checkpoint beside it proves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogProofs {
    v: u64,
    /// Each.
    pub places: Vec<LogPlace>,
}

impl LogProofs {
    /// These places.
    pub const fn new(places: Vec<LogPlace>) -> Self {
        Self { v: 1, places }
    }
}

macro_rules! bytes {
    ($($part:ty),*) => {
        $(impl $part {
            /// As it stands in a package.
            pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
                codec::to_vec(self, PART)
            }
            /// Reads it.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
                let read: Self = codec::from_slice(bytes, PART)?;
                if read.v == 1 { Ok(read) } else { Err(CodecError::Shape) }
            }
        })*
    };
}

bytes!(SentRun, Part, LogProofs);

/// The name of the file that goes with record `n`.
pub fn file_name(n: u32, media: Option<&str>) -> Name {
    Name::File(n, Ending::of_media(media))
}
