//! Bundles: what one side of a session says, as a file for one recipient. For a stick, or a line that goes one way.
//!
//! The node seals what [`Sealer`] gives with age, frame after frame, and hands what it opens to [`Opening`] and then to
//! [`Opened`]. Anybody can seal a file to a public key, so age says nothing of who did: the opening is signed, and each
//! part by itself, over its place in this bundle. So a part is taken or refused as it comes, and none can be left out,
//! moved or brought from another bundle unnoticed. What a part carries is proved beyond that as on the wire. Format: SPEC,
//! BDL-1 on.

use crate::{
    codec::{self, Bounds, CodecError, frame},
    cose::{self, SignatureBytes, SignatureFault},
    id::{FeedId, Hash, KeyId, Nonce, OrgId, RecordId, StoreId},
    label, limits,
    primitive::{PublicKey, SigningKey, labelled},
    session::Lane,
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};

const HEADER: Bounds = Bounds::bytes(512);
const SEAL: Bounds = Bounds::bytes(256);
const OPENING: Bounds = Bounds::bytes(limits::BUNDLE_OPENING_BYTES_MAX);
const PART: Bounds = Bounds::bytes(limits::BUNDLE_FRAME_BYTES_MAX);
const FILE: Bounds = Bounds::bytes(limits::CONTROL_FRAME_BYTES_MAX);

const _: () = assert!(limits::CARD_BYTES_MAX + 2_048 < limits::BUNDLE_OPENING_BYTES_MAX, "any card fits an opening");
const _: () = assert!(limits::CHUNKS_MAX + 16 < limits::CBOR_ITEMS_MAX, "the list of chunks is within the item bound");

/// What a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Format.
    pub v: u64,
    /// For whom.
    pub to: OrgId,
    /// By whom.
    pub from: OrgId,
    /// When it was made, by the sender's clock.
    pub time: UnixMillis,
    /// Fresh: two bundles that say the same are two.
    pub nonce: Nonce,
    /// The store that it was made of.
    pub store: StoreId,
    /// Bundles of this sender for this receiver rise by it, from 1.
    pub number: u64,
    /// Nothing comes back: what it brings is never acknowledged.
    #[serde(rename = "one-way")]
    pub one_way: bool,
}

/// A file that follows, in chunks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileHead {
    /// The feed that gave leave.
    pub feed: FeedId,
    /// Size in bytes.
    pub size: u64,
    /// Leaf hash of every chunk; they give the root that the record states.
    pub chunks: Vec<Hash>,
    /// The record that states the file.
    pub record: RecordId,
}

/// What one part carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Nothing more follows.
    End,
    /// A message of a session, with its lane.
    Message(Lane, Vec<u8>),
    /// A file follows.
    File(FileHead),
    /// The next chunk of it.
    Chunk(Vec<u8>),
}

/// A bundle that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleFault {
    /// It is not of this form.
    #[error("it is malformed: {0}")]
    Codec(#[from] CodecError),
    /// A signature over it.
    #[error("its signature is refused: {0}")]
    Signature(#[from] SignatureFault),
    /// It is for, or by, somebody else than it must be.
    #[error("it is not from this sender for this receiver")]
    Parties,
    /// A part that is not the next one of this bundle.
    #[error("a part stands out of its place: some were left out, added or moved")]
    Place,
    /// Something follows after its end.
    #[error("something follows after its end")]
    Surplus,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireOpening {
    #[serde(with = "serde_bytes")]
    card: Vec<u8>,
    header: SignatureBytes,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WirePart {
    kind: u8,
    seal: SignatureBytes,
    #[serde(with = "serde_bytes")]
    content: Vec<u8>,
}

/// What is signed of a part.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seal {
    v: u64,
    kind: u8,
    index: u64,
    bundle: Hash,
    digest: Hash,
}

impl Seal {
    fn new(bundle: Hash, index: u64, kind: u8, content: &[u8]) -> Self {
        Self { v: 1, kind, index, bundle, digest: Hash::from_bytes(labelled(label::BUNDLE_PART, &[content])) }
    }
}

const END: u8 = 0;
const CONTROL: u8 = 1;
const RECORDS: u8 = 2;
const FILE_HEAD: u8 = 3;
const CHUNK: u8 = 4;

impl Part {
    fn to_wire(&self) -> Result<(u8, Vec<u8>), CodecError> {
        Ok(match self {
            Self::End => (END, Vec::new()),
            Self::Message(Lane::Control, bytes) => (CONTROL, bytes.clone()),
            Self::Message(Lane::Records, bytes) => (RECORDS, bytes.clone()),
            Self::File(head) => (FILE_HEAD, codec::to_vec(head, FILE)?),
            Self::Chunk(bytes) => (CHUNK, bytes.clone()),
        })
    }
    fn from_wire(kind: u8, content: Vec<u8>) -> Result<Self, CodecError> {
        let lane = |lane: Lane, content: Vec<u8>| match content.len() <= lane.frame_bytes_max() {
            true => Ok(Self::Message(lane, content)),
            false => Err(CodecError::TooLong { len: content.len(), max: lane.frame_bytes_max() }),
        };
        match kind {
            END if content.is_empty() => Ok(Self::End),
            CONTROL => lane(Lane::Control, content),
            RECORDS => lane(Lane::Records, content),
            FILE_HEAD => Ok(Self::File(codec::from_slice(&content, FILE)?)),
            CHUNK if content.len() <= limits::CHUNK_BYTES as usize => Ok(Self::Chunk(content)),
            _ => Err(CodecError::Shape),
        }
    }
}

/// The id of a bundle: L("entente/1 bundle id", header).
fn id_of(header: &[u8]) -> Hash {
    Hash::from_bytes(labelled(label::BUNDLE_ID, &[header]))
}

/// Makes the frames of a bundle, one after another.
pub struct Sealer<'a> {
    key: &'a SigningKey,
    bundle: Hash,
    next: u64,
}

impl<'a> Sealer<'a> {
    /// Begins a bundle: signs the header with the sender's runs key, and gives the content of the first frame. `card` is
    /// the sender's newest one: it may be what makes the key known.
    pub fn begin(header: &Header, card: &[u8], key: &'a SigningKey) -> Result<(Self, Vec<u8>), CodecError> {
        let payload = codec::to_vec(header, HEADER)?;
        let signed = SignatureBytes(cose::sign(label::SIGN_BUNDLE, key, &payload));
        let opening = codec::to_vec(&WireOpening { card: card.to_vec(), header: signed }, OPENING)?;
        Ok((Self { key, bundle: id_of(&payload), next: 0 }, opening))
    }

    /// The content of the next frame. After [`Part::End`] there is none.
    pub fn part(&mut self, part: &Part) -> Result<Vec<u8>, CodecError> {
        let (kind, content) = part.to_wire()?;
        let seal = codec::to_vec(&Seal::new(self.bundle, self.next, kind, &content), SEAL)?;
        let seal = SignatureBytes(cose::sign(label::SIGN_BUNDLE_PART, self.key, &seal));
        self.next = self.next.saturating_add(1);
        codec::to_vec_of(content.len() + 512, &WirePart { kind, seal, content }, PART)
    }

    /// The id of the bundle.
    pub const fn id(&self) -> Hash {
        self.bundle
    }
}

/// The first frame of a bundle, of which nothing is proved yet.
pub struct Opening {
    /// The sender's card when it was made.
    pub card: Vec<u8>,
    header: SignatureBytes,
}

impl Opening {
    /// Reads the content of the first frame.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BundleFault> {
        let WireOpening { card, header } = codec::from_slice(bytes, OPENING)?;
        Ok(Self { card, header })
    }

    /// What it says before anything is verified: only to find out whose keys to look for.
    pub fn danger_unverified(&self) -> Result<Header, BundleFault> {
        read(self.header.parse()?.danger_unverified_payload())
    }

    /// Reads the header, as the reward for verifying that `from` made it for `to`. `key` finds a runs key of the sender.
    pub fn verify(
        &self,
        (from, to): (OrgId, OrgId),
        key: impl Fn(KeyId) -> Option<PublicKey>,
    ) -> Result<(Header, Opened), BundleFault> {
        let parsed = self.header.parse()?;
        let key = key(parsed.kid()).ok_or(SignatureFault::Key)?;
        let payload = parsed.verify(label::SIGN_BUNDLE, &key)?;
        let header = read(payload)?;
        if (header.from, header.to) != (from, to) || from == to {
            return Err(BundleFault::Parties);
        }
        Ok((header, Opened { key, bundle: id_of(payload), next: 0, ended: false }))
    }
}

fn read(payload: &[u8]) -> Result<Header, BundleFault> {
    let header: Header = codec::from_slice(payload, HEADER)?;
    if header.v == 1 && header.number > 0 { Ok(header) } else { Err(CodecError::Shape.into()) }
}

/// A bundle whose opening is proved: takes its parts in their order.
pub struct Opened {
    key: PublicKey,
    bundle: Hash,
    next: u64,
    ended: bool,
}

impl Opened {
    /// The next part, as the reward for verifying it. Order and content are checked before anything of it is read.
    pub fn part(&mut self, bytes: &[u8]) -> Result<Part, BundleFault> {
        if self.ended {
            return Err(BundleFault::Surplus);
        }
        let WirePart { kind, seal, content } = codec::from_slice(bytes, PART)?;
        let parsed = seal.parse()?;
        if parsed.kid() != self.key.id() {
            return Err(SignatureFault::Key.into());
        }
        let signed: Seal = codec::from_slice(parsed.verify(label::SIGN_BUNDLE_PART, &self.key)?, SEAL)?;
        if signed != Seal::new(self.bundle, self.next, kind, &content) {
            return Err(BundleFault::Place);
        }
        let part = Part::from_wire(kind, content)?;
        self.ended = part == Part::End;
        self.next = self.next.saturating_add(1);
        Ok(part)
    }

    /// Whether its last part was taken.
    pub const fn has_ended(&self) -> bool {
        self.ended
    }
}

/// Zeros that follow the last frame, where `written` bytes stand before them: a bundle's length tells little.
pub fn padding(written: u64) -> u64 {
    usize::try_from(written).map_or(0, |len| frame::padme(len) as u64).saturating_sub(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    const SENDER: OrgId = OrgId::from_bytes([1; 32]);
    const RECEIVER: OrgId = OrgId::from_bytes([2; 32]);

    fn header(number: u64) -> Header {
        Header {
            v: 1,
            to: RECEIVER,
            from: SENDER,
            time: UnixMillis(7),
            nonce: Nonce::from_bytes([3; 16]),
            store: StoreId::from_bytes([4; 16]),
            number,
            one_way: true,
        }
    }

    fn parts() -> Vec<Part> {
        let head = FileHead {
            feed: FeedId::from_bytes([5; 32]),
            size: 3,
            chunks: vec![Hash::from_bytes([6; 32])],
            record: RecordId::from_bytes([8; 32]),
        };
        let message = |lane, byte| Part::Message(lane, vec![byte; 9]);
        vec![message(Lane::Control, 1), message(Lane::Records, 2), Part::File(head), Part::Chunk(vec![3; 3]), Part::End]
    }

    /// Contents of the frames of a bundle.
    fn sealed(number: u64, key: &SigningKey) -> Result<Vec<Vec<u8>>, CodecError> {
        let (mut sealer, opening) = Sealer::begin(&header(number), b"a card", key)?;
        let mut frames = vec![opening];
        for part in parts() {
            frames.push(sealer.part(&part)?);
        }
        Ok(frames)
    }

    fn opened(frame: &[u8], key: &SigningKey) -> Result<(Header, Opened), BundleFault> {
        let find = |kid| (key.public().id() == kid).then(|| key.public().clone());
        Opening::from_bytes(frame)?.verify((SENDER, RECEIVER), find)
    }

    /// Takes all frames; the first fault, or what was taken.
    fn taken(frames: &[Vec<u8>], key: &SigningKey) -> Result<Vec<Part>, BundleFault> {
        let (first, rest) = frames.split_first().ok_or(BundleFault::Place)?;
        let (_, mut opened) = opened(first, key)?;
        rest.iter().map(|frame| opened.part(frame)).collect()
    }

    #[test]
    fn a_bundle_is_taken_as_it_was_made() -> Outcome {
        let key = SigningKey::from_seed(&[1; 32])?;
        let frames = sealed(1, &key)?;
        assert_eq!(taken(&frames, &key)?, parts());
        assert_eq!(Opening::from_bytes(&frames[0])?.danger_unverified()?, header(1));
        assert_eq!(opened(&frames[0], &key)?.0, header(1));
        assert_eq!(Opening::from_bytes(&frames[0])?.card, b"a card");
        Ok(())
    }

    #[test]
    fn parts_that_are_moved_left_out_added_or_of_another_bundle_are_refused() -> Outcome {
        let key = SigningKey::from_seed(&[1; 32])?;
        let (frames, other) = (sealed(1, &key)?, sealed(2, &key)?);
        let place = Err(BundleFault::Place);
        let check = |change: &dyn Fn(&mut Vec<Vec<u8>>), expected: Result<Vec<Part>, BundleFault>, what: &str| {
            let mut changed = frames.clone();
            change(&mut changed);
            assert_eq!(taken(&changed, &key), expected, "{what}");
        };
        check(&|frames| frames.swap(1, 2), place.clone(), "swapped");
        check(&|frames| drop(frames.remove(2)), place.clone(), "left out");
        check(&|frames| frames.insert(2, frames[1].clone()), place.clone(), "twice");
        check(&|frames| frames[2] = other[2].clone(), place.clone(), "of another bundle");
        check(&|frames| frames[0] = other[0].clone(), place, "under another header");
        check(&|frames| frames.push(frames[1].clone()), Err(BundleFault::Surplus), "after the end");
        Ok(())
    }

    /// Whoever knows the receiver's public key can seal a file to it, and signs nothing for the sender.
    #[test]
    fn only_the_sender_makes_a_bundle_and_only_for_this_receiver() -> Outcome {
        let (key, stranger) = (SigningKey::from_seed(&[1; 32])?, SigningKey::from_seed(&[2; 32])?);
        let refused = |result: Result<(Header, Opened), BundleFault>| result.err().ok_or("it was taken");
        let forged = sealed(1, &stranger)?;
        assert_eq!(refused(opened(&forged[0], &key))?, SignatureFault::Key.into());
        let frames = sealed(1, &key)?;
        let find = |kid| (key.public().id() == kid).then(|| key.public().clone());
        for parties in [(SENDER, SENDER), (RECEIVER, SENDER), (RECEIVER, RECEIVER)] {
            let opening = Opening::from_bytes(&frames[0])?;
            assert_eq!(refused(opening.verify(parties, find))?, BundleFault::Parties, "{parties:?}");
        }
        // A part of the stranger's under the sender's opening.
        let mixed = [frames[0].clone(), forged[1].clone()];
        assert_eq!(taken(&mixed, &key), Err(SignatureFault::Key.into()));
        Ok(())
    }

    #[test]
    fn every_byte_of_every_frame_counts() -> Outcome {
        let key = SigningKey::from_seed(&[1; 32])?;
        let frames = sealed(1, &key)?;
        // The card proves itself, by its root's signature: its bytes stand beside what is signed here.
        let card = frames[0].windows(6).position(|bytes| bytes == b"a card").ok_or("the card")?;
        for (at, frame) in frames.iter().enumerate() {
            for byte in (0..frame.len()).filter(|byte| at > 0 || !(card..card + 6).contains(byte)) {
                let mut changed = frames.clone();
                changed[at][byte] ^= 1;
                assert!(taken(&changed, &key).is_err(), "byte {byte} of frame {at}");
            }
        }
        Ok(())
    }

    #[test]
    fn bounds_of_a_bundle_are_kept() -> Outcome {
        let key = SigningKey::from_seed(&[1; 32])?;
        let long = vec![0; limits::BUNDLE_OPENING_BYTES_MAX + 1];
        assert!(matches!(Opening::from_bytes(&long), Err(BundleFault::Codec(CodecError::TooLong { .. }))));
        assert!(Sealer::begin(&header(1), &long, &key).is_err());
        let frames = sealed(1, &key)?;
        let (_, mut opened) = opened(&frames[0], &key)?;
        let long = vec![0; limits::BUNDLE_FRAME_BYTES_MAX + 1];
        assert!(matches!(opened.part(&long), Err(BundleFault::Codec(CodecError::TooLong { .. }))));
        // What is too long for its lane is refused though it is signed.
        let (mut sealer, _) = Sealer::begin(&header(1), b"a card", &key)?;
        let content = vec![0; limits::CONTROL_FRAME_BYTES_MAX + 1];
        let frame = sealer.part(&Part::Message(Lane::Control, content))?;
        assert!(matches!(opened.part(&frame), Err(BundleFault::Codec(CodecError::TooLong { .. }))));
        assert!(Sealer::begin(&header(0), b"a card", &key)?.1.len() > 100);
        Ok(())
    }

    #[test]
    fn a_whole_bundle_is_padded() {
        for written in [0u64, 1, 1_000, 1 << 20, (1 << 20) + 1, 3_333_333] {
            let whole = written + padding(written);
            assert_eq!(padding(whole), 0, "{written}");
            assert!(whole <= written + written / 8, "{written} becomes {whole}");
        }
    }
}
