//! Sample packages for tests: real cards, batch, run, receipt and log, and whatever a test changes in them.

use super::{
    Name, PackageFault, Pins, Report, container,
    name::LogPart,
    parts::{Carried, Listed, LogPlace, LogProofs, Logged, Manifest, Part, SentRun, Standing, State},
};
use crate::{
    attachment::ManifestBuilder,
    batch::Batch,
    cose::SignatureBytes,
    custody::{
        checkpoint::{Checkpoint, Origin, TreeHead},
        interval::{self, Interval},
        journal::JournalHead,
        note::SignatureLine,
        proof::LeafProof,
        witness::{Offer, Watch},
    },
    feed::{Cursor, Entry, FeedKey, Receipt, Release, Run},
    id::{AgreementDigest, AgreementId, Hash, JournalDigest, LineId, LoggedDigest, Nonce, OrgId, RecordId, StoreId},
    identity::{CardKey, CardPayload, Purpose, samples},
    label, merkle,
    primitive::{SigningKey, sha256},
    record::{Draft, HandlingFloor, Record, Redacted, SlotSet, kind::Kind},
    time::UnixMillis,
    value::Value,
};
use serde_bytes::ByteBuf;
use zeroize::Zeroizing;

pub const CREATED_S: u64 = 1_780_000_000;
/// When the sample records were attested.
pub const ATTESTED: UnixMillis = UnixMillis((CREATED_S + 1_800) * 1_000 + 5);
pub const SENT: UnixMillis = UnixMillis(ATTESTED.0 + 600_000);
pub const RECEIVED: UnixMillis = UnixMillis(SENT.0 + 1_000);
pub const WITNESSED: UnixMillis = UnixMillis((CREATED_S + 6_000) * 1_000);
pub const MADE: UnixMillis = UnixMillis(WITNESSED.0 + 3_600_000);
pub const NOW: UnixMillis = UnixMillis(MADE.0 + 86_400_000);
/// What the sample file holds.
pub const FILE: &[u8] = b"what a photograph would hold";

/// An organisation by the first of its seeds: root, records, agreements, runs, log, witness.
pub fn payload(seed: u8) -> CardPayload {
    let mut payload = samples::payload(seed);
    let listed = |purpose, n: u8| CardKey::new(purpose, key(seed, n).public().clone(), UnixMillis(1_000));
    payload.keys.extend([listed(Purpose::Log, 4), listed(Purpose::Witness, 5)]);
    payload.name = format!("Office {seed}");
    payload.handle = format!("office{seed}");
    payload
}

pub fn key(seed: u8, n: u8) -> SigningKey {
    samples::key(seed + n)
}

pub fn card(payload: &CardPayload, seed: u8) -> Vec<u8> {
    payload.sign_with(&key(seed, 0)).unwrap()
}

pub fn org(seed: u8) -> OrgId {
    samples::payload(seed).org
}

/// The originator, the receiver, and who witnesses the originator's log.
pub const ORIGINATOR: u8 = 10;
pub const RECEIVER: u8 = 30;
pub const WITNESS: u8 = 50;

/// What a sample is made of. Tests change it before it is put together, so that all of it is signed by its maker.
pub struct Sample {
    pub maker: u8,
    pub made: UnixMillis,
    pub cards: Vec<(OrgId, Vec<u8>)>,
    pub batches: Vec<Vec<u8>>,
    pub runs: Vec<SentRun>,
    pub log: Option<(Vec<u8>, LogProofs)>,
    pub records: Vec<Part>,
    pub files: Vec<(Name, Vec<u8>)>,
    pub summary: Vec<u8>,
}

pub fn item(n: u8) -> Record {
    let mut draft = Draft::new(Kind::Item, org(ORIGINATOR), LineId::from_bytes([n; 16]), HandlingFloor::default());
    draft.set("number", Value::text(format!("T-{n}"))).unwrap();
    draft.set("eval", Value::map([("admiralty", Value::text("B2"))])).unwrap();
    draft.set("type", Value::text("rifle")).unwrap();
    draft.set("make", Value::text("Zastava")).unwrap();
    draft.commit(Nonce::from_bytes([n; 16]), Zeroizing::new([n; 32])).unwrap()
}

pub fn attachment(n: u8) -> Record {
    let mut manifest = ManifestBuilder::new();
    manifest.update(FILE).unwrap();
    let of = Value::Array(vec![Value::Bytes(org(ORIGINATOR).as_bytes().to_vec()), Value::Bytes(vec![1; 16])]);
    let mut draft =
        Draft::new(Kind::Attachment, org(ORIGINATOR), LineId::from_bytes([n; 16]), HandlingFloor::default());
    draft.set("number", Value::text(format!("T-{n}"))).unwrap();
    draft.set("eval", Value::map([("admiralty", Value::text("B2"))])).unwrap();
    draft.set("of", of).unwrap();
    draft.set("role", Value::text("stripped")).unwrap();
    draft.set("media", Value::text("image/jpeg")).unwrap();
    draft.set("content", manifest.finish().to_value()).unwrap();
    draft.commit(Nonce::from_bytes([n; 16]), Zeroizing::new([n; 32])).unwrap()
}

pub fn feed() -> FeedKey {
    FeedKey {
        epoch: 0,
        store: StoreId::from_bytes([4; 16]),
        sender: org(ORIGINATOR),
        receiver: org(RECEIVER),
        agreement: AgreementId::from_bytes([5; 16]),
    }
}

pub fn shown(record: &Record, slots: &[u8]) -> Redacted {
    let slots: SlotSet = slots.iter().copied().collect();
    Redacted::danger_by_people(record, slots)
}

/// A log with one interval that holds `event`, and the proof of it under a cosigned head of ten leaves.
pub fn logged(event: LoggedDigest, at: UnixMillis, of: Logged) -> (Vec<u8>, LogProofs) {
    let origin = Origin::new(org(ORIGINATOR), feed().store, 0, CREATED_S, 600).unwrap();
    let index = origin.leaf_at(at).unwrap();
    let journal = JournalHead { count: 3, digest: JournalDigest::from_bytes([8; 32]) };
    let interval = Interval::new(&[event], journal, &interval::seed(&[6; 32], index)).unwrap();
    let mut leaves: Vec<Hash> = (0u64..10).map(|n| merkle::leaf_hash(&n.to_be_bytes())).collect();
    leaves[index as usize] = interval.leaf().hash();
    let path = merkle::prove_inclusion(&leaves, index as usize).unwrap();
    let head = TreeHead { size: 10, root: merkle::root(&leaves) };
    let checkpoint = Checkpoint::sign(origin, head, &key(ORIGINATOR, 4)).unwrap();
    let offer = Offer { held: None, new: checkpoint.clone(), proof: vec![] };
    let accepted = Watch::Unseen.handle_offer(&offer, WITNESSED).unwrap();
    let line: SignatureLine = accepted.cosign(org(WITNESS), WITNESSED, &key(WITNESS, 5)).unwrap().line().clone();
    let note = checkpoint.to_bytes_with(&[line]).unwrap();
    let proof = LeafProof::new(index, &interval, event, path).unwrap();
    (note, LogProofs::new(vec![LogPlace { of, proof }]))
}

impl Sample {
    /// An item and a file's record, sent to the receiver, who makes the package. `slots` of the item are shown.
    pub fn new(slots: &[u8]) -> Self {
        let (first, second) = (item(1), attachment(2));
        let ids: Vec<RecordId> = vec![first.id(), second.id()];
        let batch = Batch::attest(&ids, &[9; 32], org(ORIGINATOR), ATTESTED, None, &key(ORIGINATOR, 1)).unwrap();
        let positions = batch.positions();
        let entries: Vec<Vec<u8>> = (1u8..)
            .zip(&ids)
            .map(|(n, id)| {
                let (hash, salt) = (Release::hash(&[n]), Nonce::from_bytes([n; 16]));
                Entry::Release { hash, salt, record: *id }.to_bytes().unwrap()
            })
            .collect();
        let hashes: Vec<_> = entries.iter().map(|entry| Entry::hash_of(entry)).collect();
        let version = AgreementDigest::from_bytes([7; 32]);
        let run = Run::over(feed().id(), Cursor::start(feed().id()), &hashes, version, SENT, None).unwrap();
        let signed = run.sign(&key(ORIGINATOR, 3)).unwrap();
        let receipt = Receipt::of(&run, RECEIVED).sign(&key(RECEIVER, 3)).unwrap();
        let standing = Standing { at: MADE, state: State::Stands };
        let part = |at: u32, redacted: Redacted| {
            let record = ids[at as usize];
            let position = u16::try_from(positions[&record]).unwrap();
            let above = batch.prove(&[u32::from(position)]).nodes;
            let entry = ByteBuf::from(entries[at as usize].clone());
            let carried = Carried { run: 1, entry, index: at, nodes: run.prove(&hashes, at) };
            Part::new(redacted, (1, position, above), standing, vec![carried])
        };
        let head = batch.head().clone();
        let event = LoggedDigest::of(label::SIGN_BATCH, head.parse().unwrap().danger_unverified_payload());
        let all: Vec<u8> = (0..64).collect();
        let mut cards: Vec<(OrgId, Vec<u8>)> =
            [ORIGINATOR, RECEIVER, WITNESS].map(|seed| (org(seed), card(&payload(seed), seed))).to_vec();
        cards.sort();
        Self {
            maker: RECEIVER,
            made: MADE,
            cards,
            batches: vec![head.to_bytes().unwrap()],
            runs: vec![SentRun::new(feed(), signed, Some(receipt))],
            log: Some(logged(event, ATTESTED, Logged::Batch(1))),
            records: vec![part(0, shown(&first, slots)), part(1, shown(&second, &all))],
            files: vec![("files/00002.jpg".parse().unwrap(), FILE.to_vec())],
            summary: b"<!doctype html>".to_vec(),
        }
    }

    /// The parts but the list.
    pub fn parts(&self) -> Vec<(Name, Vec<u8>)> {
        let mut parts: Vec<(Name, Vec<u8>)> = Vec::new();
        parts.extend((1..).map(Name::Card).zip(self.cards.iter().map(|(_, card)| card.clone())));
        parts.extend((1..).map(Name::Batch).zip(self.batches.iter().cloned()));
        parts.extend((1..).map(Name::Run).zip(self.runs.iter().map(|run| run.to_bytes().unwrap())));
        if let Some((note, proofs)) = &self.log {
            parts.push((Name::Log(1, LogPart::Note), note.clone()));
            parts.push((Name::Log(1, LogPart::Proofs), proofs.to_bytes().unwrap()));
        }
        parts.extend((1..).map(Name::Record).zip(self.records.iter().map(|part| part.to_bytes().unwrap())));
        parts.extend(self.files.iter().cloned());
        parts.push((Name::Summary, self.summary.clone()));
        parts
    }

    pub fn bytes(&self) -> Vec<u8> {
        sealed(&self.parts(), self.maker, self.made)
    }
}

/// The parts with their list, in one file.
pub fn sealed(parts: &[(Name, Vec<u8>)], maker: u8, made: UnixMillis) -> Vec<u8> {
    let digest = |bytes: &[u8]| Hash::from_bytes(sha256(&[bytes]));
    let listed = parts.iter().map(|(name, bytes)| Listed(name.to_string(), bytes.len() as u64, digest(bytes)));
    let manifest = Manifest::new(org(maker), made, listed.collect()).sign(&key(maker, 3)).unwrap();
    let mut all: Vec<(Name, &[u8])> = parts.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    all.push((Name::Manifest, &manifest));
    container::pack(&all)
}

pub fn verified(bytes: &[u8]) -> Result<Report, PackageFault> {
    super::verify(bytes, &Pins::default(), NOW, &mut |_, _| ())
}

/// A head signed by the originator over no tree that anybody knows.
pub fn other_head() -> SignatureBytes {
    let ids = [RecordId::from_bytes([1; 32])];
    let batch = Batch::attest(&ids, &[8; 32], org(ORIGINATOR), ATTESTED, None, &key(ORIGINATOR, 1));
    batch.unwrap().head().clone()
}
