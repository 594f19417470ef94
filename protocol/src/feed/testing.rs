//! A model of a sender for tests: real records, a real batch, a feed in memory, runs with real signatures.

use super::*;
use crate::{
    batch::Batch,
    clearance::{Clearance, Terms},
    id::{AgreementDigest, EntryHash, KeyId, LineId, Nonce, RecordId},
    primitive::{PublicKey, SigningKey},
    record::{Draft, HandlingFloor, Record, Redacted, SlotSet, kind::Kind},
    time::UnixMillis,
    value::Value,
};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

pub const VERSION: AgreementDigest = AgreementDigest::from_bytes([0x77; 32]);

pub fn org(n: u8) -> OrgId {
    OrgId::from_bytes([n; 32])
}

/// The runs key of an organisation; its records key is that of `n + 100`.
pub fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32]).unwrap()
}

pub fn runs_key(of: OrgId) -> impl Fn(KeyId) -> Option<PublicKey> {
    move |kid| Some(key(of.as_bytes()[0]).public().clone()).filter(|k| k.id() == kid)
}

pub fn records_key(of: OrgId, kid: KeyId) -> Option<PublicKey> {
    Some(key(of.as_bytes()[0] + 100).public().clone()).filter(|k| k.id() == kid)
}

pub fn feed_key(sender: u8, receiver: u8, agreement: u8) -> FeedKey {
    FeedKey {
        epoch: 0,
        store: StoreId::from_bytes([sender; 16]),
        sender: org(sender),
        receiver: org(receiver),
        agreement: AgreementId::from_bytes([agreement; 16]),
    }
}

pub fn record(originator: OrgId, n: u8) -> Record {
    let mut draft = Draft::new(Kind::Item, originator, LineId::from_bytes([n; 16]), HandlingFloor::default());
    draft.set("number", Value::text(format!("T-{n}"))).unwrap();
    draft.set("eval", Value::map([("admiralty", Value::text("B2"))])).unwrap();
    draft.set("type", Value::text("rifle")).unwrap();
    draft.set("make", Value::text("Zastava")).unwrap();
    draft.set("model", Value::text(format!("M{n}"))).unwrap();
    draft.commit(Nonce::from_bytes([n; 16]), Zeroizing::new([n; 32])).unwrap()
}

pub fn release(record: &Record, key: &FeedKey, slots: &[u8]) -> Release {
    let clearance = Clearance::assertion(Terms {
        record: record.id(),
        partner: key.receiver,
        agreement: key.agreement,
        version: VERSION,
        clause: 0,
        slots: slots.iter().copied().collect::<SlotSet>(),
        file: false,
        grant: None,
        until: None,
    });
    Release::new(Redacted::new(record, &clearance).unwrap(), &clearance).unwrap()
}

/// One entry of the model's feed: its bytes, and for a release the body and the record.
pub struct Kept {
    pub bytes: Vec<u8>,
    pub body: Option<(RecordId, Vec<u8>)>,
    pub closed: bool,
}

/// A sender's feed in memory.
pub struct Sender {
    pub key: FeedKey,
    pub batch: Batch,
    pub records: Vec<Record>,
    pub entries: Vec<Kept>,
}

impl Sender {
    /// A feed whose sender has attested `count` records and released none.
    pub fn new(key: FeedKey, count: u8) -> Self {
        let records: Vec<Record> = (1..=count).map(|n| record(key.sender, n)).collect();
        let ids: Vec<RecordId> = records.iter().map(Record::id).collect();
        let signer = self::key(key.sender.as_bytes()[0] + 100);
        let batch = Batch::attest(&ids, &[9; 32], key.sender, UnixMillis(5), None, &signer).unwrap();
        Self { key, batch, records, entries: Vec::new() }
    }

    fn salt(&self) -> Nonce {
        Nonce::from_bytes([u8::try_from(self.entries.len()).unwrap(); 16])
    }

    pub fn release(&mut self, index: usize, slots: &[u8]) {
        let record = &self.records[index];
        let body = release(record, &self.key, slots).to_bytes().unwrap();
        let entry = Entry::Release { hash: Release::hash(&body), salt: self.salt(), record: record.id() };
        let kept = Kept { bytes: entry.to_bytes().unwrap(), body: Some((record.id(), body)), closed: false };
        self.entries.push(kept);
    }

    pub fn withdraw(&mut self, index: usize) {
        let entry = Entry::Withdrawal { code: WITHDRAWN, salt: self.salt(), record: self.records[index].id() };
        self.entries.push(Kept { bytes: entry.to_bytes().unwrap(), body: None, closed: false });
    }

    pub fn hashes(&self, range: std::ops::Range<usize>) -> Vec<EntryHash> {
        self.entries[range].iter().map(|e| Entry::hash_of(&e.bytes)).collect()
    }

    /// The cursor after `length` entries.
    pub fn cursor(&self, length: usize) -> Cursor {
        let start = Cursor::start(self.key.id());
        Cursor { length: length as u64, digest: digest::steps(start.digest, self.hashes(0..length)) }
    }

    /// The signed run over a range of entries, with bodies and proofs.
    pub fn run(&self, range: std::ops::Range<usize>) -> RunMessage {
        let hashes = self.hashes(range.clone());
        let before = self.cursor(range.start);
        let run = Run::over(self.key.id(), before, &hashes, VERSION, UnixMillis(7), None).unwrap();
        let positions: BTreeMap<RecordId, u32> = self.batch.positions();
        let mut carried = Vec::new();
        let mut entries = Vec::new();
        for (at, kept) in self.entries[range].iter().enumerate() {
            if kept.closed {
                entries.push(RunEntry::Hash(Entry::hash_of(&kept.bytes)));
                continue;
            }
            entries.push(RunEntry::Open(kept.bytes.clone()));
            if let Some((record, body)) = &kept.body {
                let position = u16::try_from(positions[record]).unwrap();
                carried.push(Carried(u16::try_from(at).unwrap(), 0, position, body.clone()));
            }
        }
        let mut wanted: Vec<u32> = carried.iter().map(|c| u32::from(c.2)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let attestations = if wanted.is_empty() { vec![] } else { vec![self.batch.prove(&wanted)] };
        let signer = key(self.key.sender.as_bytes()[0]);
        RunMessage { run: run.sign(&signer).unwrap(), onward: None, carried, entries, attestations }
    }
}

/// Verifies a run as the feed's receiver would, holding `held`.
pub fn verify(message: &RunMessage, feed: &FeedKey, held: Cursor) -> Result<ReceivedRun, RunFault> {
    let prior = feed.previous().map(|before| Cursor::start(before.id()));
    message.verify(feed, Held { feed: held, prior }, runs_key(feed.sender), records_key)
}
