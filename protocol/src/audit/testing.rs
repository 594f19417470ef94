//! A sample export for tests: a real card, journal, log, agreement, feed and receipt, and whatever a test changes in them.

use super::{
    AuditFault, Item, Report, Sealer,
    item::{Busy, Head, Leaves, LogStart, Of, Person, Released, SentEntry, SentRun},
};
use crate::{
    agreement::{Agreement, Clause, Disclosure, Duty, LANGUAGE, LegalBasis, Onward, Party, SignedAgreement},
    batch::Batch,
    cose::{self, SignatureBytes},
    custody::{
        checkpoint::{Checkpoint, Origin, TreeHead, UnverifiedCheckpoint},
        event::{Event, EventKind},
        interval::{Interval, seed},
        journal::{Journal, JournalHead},
        proof::{logged_batch, logged_run},
        witness::{Offer, Watch},
    },
    feed::{Cursor, Entry, Receipt, Release, Run},
    gate::{GateEvent, Review},
    id::{Hash, LoggedDigest, Nonce, RecordId, UserDigest, UserId},
    identity::{CardKey, CardPayload, Purpose, UnconfirmedCard},
    label,
    label::Context,
    merkle,
    package::{
        Pins,
        testing::{
            self, ATTESTED, CREATED_S, MADE, ORIGINATOR, RECEIVED, RECEIVER, SENT, WITNESS, WITNESSED, feed, key, org,
        },
    },
    primitive::SigningKey,
    record::{Record, kind::Kind},
    time::UnixMillis,
    user::Role,
};
use serde_bytes::ByteBuf;

pub const NOW: UnixMillis = testing::NOW;
/// Slots that the sample's clause discloses of an item, and those that its release shows.
pub const DISCLOSED: &[u8] = &[0, 1, 8, 10];
pub const SHOWN: &[u8] = &[0, 8];
pub const SIZE: u64 = 10;
const SECRET: [u8; 32] = [6; 32];

pub fn digest_of_person() -> UserDigest {
    UserDigest::from_bytes([3; 32])
}

/// The maker's card also lists its office's key for people.
pub fn payload(seed: u8) -> CardPayload {
    let mut payload = testing::payload(seed);
    payload.keys.push(CardKey::new(Purpose::Users, key(seed, 6).public().clone(), UnixMillis(1_000)));
    payload
}

pub fn agreement() -> Agreement {
    let party = |seed: u8, handle: &str| Party {
        id: org(seed),
        name: handle.to_uppercase(),
        handle: handle.to_owned(),
        declines: vec![],
        signatories: vec![],
    };
    Agreement {
        v: 1,
        id: feed().agreement,
        from: UnixMillis(CREATED_S * 1_000),
        lang: LANGUAGE,
        basis: LegalBasis { text: "exchange of letters".to_owned(), digest: None, prevails: None },
        lease_hours: None,
        title: "Sharing of field evidence".to_owned(),
        until: NOW,
        notice_days: 30,
        schema: Hash::from_bytes([7; 32]),
        clauses: vec![Clause {
            to: vec![org(RECEIVER)],
            red: false,
            duty: Duty::Release,
            from: org(ORIGINATOR),
            name: "items".to_owned(),
            when: None,
            files: vec![],
            onward: Onward::Never,
            carries: vec![],
            disclose: vec![Disclosure { kind: Kind::Item, slots: DISCLOSED.to_vec() }],
            handling: None,
            personal: vec![],
            retention_days: 365,
        }],
        parties: vec![party(ORIGINATOR, "office"), party(RECEIVER, "panel")],
        version: 1,
        purposes: vec!["tracing".to_owned()],
        survival_days: None,
        obligations: vec![],
        predecessor: None,
    }
}

/// Signed by both, the first last.
pub fn signed(agreement: &Agreement) -> SignedAgreement {
    let mut signed = SignedAgreement::unsigned(agreement).unwrap();
    for seed in [RECEIVER, ORIGINATOR] {
        signed.sign(org(seed), &key(seed, 2), ATTESTED).unwrap();
    }
    signed
}

/// What a person says at the gate of a record.
pub fn gate(review: Option<Review>, record: RecordId, at: UnixMillis, by: &SigningKey) -> SignatureBytes {
    let event = GateEvent { at, user: Some(digest_of_person()), stage: None, review, records: vec![record] };
    let context: Context = if review.is_some() { label::SIGN_REVIEW } else { label::SIGN_RELEASE_EVENT };
    let payload = crate::codec::to_vec(&event, crate::codec::Bounds::bytes(4 << 10)).unwrap();
    SignatureBytes(cose::sign(context, by, &payload))
}

/// What an export is made of. Tests change it before it is put together, so that all of it is signed by its maker.
pub struct Sample {
    pub head: Head,
    /// By the first seed of each.
    pub cards: Vec<(u8, CardPayload)>,
    pub person: Person,
    pub agreements: Vec<Vec<u8>>,
    pub events: Vec<ByteBuf>,
    pub batches: Vec<SignatureBytes>,
    pub log: LogStart,
    pub notes: Vec<Vec<u8>>,
    pub leaves: Leaves,
    pub gate: Vec<SignatureBytes>,
    pub run: SentRun,
    pub receipt: Option<SignatureBytes>,
    /// Whatever else a test adds, in its place.
    pub more: Vec<Item>,
}

impl Sample {
    /// One record, attested, reviewed, released to the receiver, who countersigned it; a log that the witness has seen.
    pub fn new() -> Self {
        Self::of(&testing::item(1))
    }

    /// The same of another record.
    pub fn of(record: &Record) -> Self {
        let ids = [record.id()];
        let batch = Batch::attest(&ids, &[9; 32], org(ORIGINATOR), ATTESTED, None, &key(ORIGINATOR, 1)).unwrap();
        let position = batch.positions()[&record.id()];
        let agreement = signed(&agreement());
        let (hash, salt) = (Release::hash(b"a release"), Nonce::from_bytes([1; 16]));
        let entry = Entry::Release { hash, salt, record: record.id() }.to_bytes().unwrap();
        let hashes = [Entry::hash_of(&entry)];
        let run = Run::over(feed().id(), Cursor::start(feed().id()), &hashes, agreement.digest(), SENT, None).unwrap();
        let signed_run = run.sign(&key(ORIGINATOR, 3)).unwrap();
        let mut journal = Journal::start(feed().store);
        let after = |ms| UnixMillis(ATTESTED.0 + ms);
        let events = [
            (EventKind::Partner, UnixMillis(CREATED_S * 1_000 + 10), None),
            (EventKind::Batch, ATTESTED, Some(logged_batch(batch.head()).unwrap())),
            (EventKind::Review, after(1), None),
            (EventKind::Release, after(2), None),
            (EventKind::RunSent, SENT, Some(logged_run(&signed_run).unwrap())),
            (EventKind::Receipt, RECEIVED, None),
        ];
        let mut made = Vec::new();
        for (kind, at, logged) in events {
            made.push(journal.append(kind, at, &[], logged).unwrap());
        }
        let person_key = key(ORIGINATOR, 7);
        let rows = [(0, 0, 1), (3, 1, 4), (4, 4, 6)];
        let busy = rows.map(|(at, from, to)| Busy { at, to, from, gone: vec![], late: vec![] }).to_vec();
        let origin = Origin::new(org(ORIGINATOR), feed().store, 0, CREATED_S, 600).unwrap();
        let mut sample = Self {
            head: Head { v: 1, gate: Review::Reviewed, time: MADE, maker: org(ORIGINATOR), store: feed().store },
            cards: [ORIGINATOR, RECEIVER, WITNESS].map(|seed| (seed, payload(seed))).to_vec(),
            person: Person {
                id: UserId::from_bytes([2; 16]),
                key: person_key.public().clone(),
                from: UnixMillis(1_000),
                user: digest_of_person(),
                roles: vec![Role::Reviewer],
                until: None,
                disabled: None,
            },
            agreements: vec![agreement.to_bytes().unwrap()],
            events: made.iter().map(|event| ByteBuf::from(event.bytes().to_vec())).collect(),
            batches: vec![batch.head().clone()],
            log: LogStart { size: SIZE, count: 0, origin: origin.to_string() },
            notes: vec![],
            leaves: Leaves {
                busy,
                first: 0,
                seeds: (0..SIZE).map(|index| Hash::from_bytes(*seed(&SECRET, index))).collect(),
            },
            gate: vec![
                gate(Some(Review::Reviewed), record.id(), after(1), &person_key),
                gate(None, record.id(), after(2), &person_key),
            ],
            run: SentRun {
                run: signed_run,
                entries: vec![SentEntry {
                    entry: ByteBuf::from(entry),
                    release: Some(Released {
                        of: Of::Body(ByteBuf::from(record.body().bytes().to_vec())),
                        place: Some((0, position)),
                        slots: SHOWN.to_vec(),
                        clause: 0,
                    }),
                }],
                attested: vec![batch.prove(&[position])],
            },
            receipt: Some(Receipt::of(&run, RECEIVED).sign(&key(RECEIVER, 3)).unwrap()),
            more: vec![],
        };
        sample.notes = vec![sample.witnessed(sample.root())];
        sample
    }

    /// The run as it would be under another agreement, journaled, logged and countersigned.
    pub fn under(&mut self, agreement: &SignedAgreement) {
        let hashes: Vec<_> = self.run.entries.iter().map(|entry| Entry::hash_of(&entry.entry)).collect();
        let start = Cursor::start(feed().id());
        let run = Run::over(feed().id(), start, &hashes, agreement.digest(), SENT, None).unwrap();
        self.run.run = run.sign(&key(ORIGINATOR, 3)).unwrap();
        self.receipt = Some(Receipt::of(&run, RECEIVED).sign(&key(RECEIVER, 3)).unwrap());
        self.agreements = vec![agreement.to_bytes().unwrap()];
        let stands = logged_run(&self.run.run).unwrap();
        self.journaled(|_, kind, logged| (kind, if kind == EventKind::RunSent { Some(stands) } else { logged }));
    }

    /// The log's run, by what stands in its event.
    pub fn run_stands(&self) -> LoggedDigest {
        logged_run(&self.run.run).unwrap()
    }

    /// The journal as its maker wrote it otherwise from the beginning, and logged it: of each event its kind, and what was
    /// signed in it.
    pub fn journaled(
        &mut self,
        change: impl Fn(usize, EventKind, Option<LoggedDigest>) -> (EventKind, Option<LoggedDigest>),
    ) {
        let mut journal = Journal::start(feed().store);
        for n in 0..self.events.len() {
            let event = Event::danger_unchained(&self.events[n]).unwrap();
            let (kind, logged) = change(n, event.kind(), event.is_signed().then(|| event.logged()));
            let again = journal.append(kind, event.at(), &[], logged).unwrap();
            self.events[n] = ByteBuf::from(again.bytes().to_vec());
        }
        self.notes = vec![self.witnessed(self.root())];
    }

    /// What the journal and the intervals give.
    pub fn root(&self) -> Hash {
        let mut journal = Journal::start(feed().store);
        let stands: Vec<(LoggedDigest, JournalHead)> =
            self.events.iter().map(|bytes| (journal.handle_event(bytes).unwrap().logged(), journal.head())).collect();
        let mut head = Journal::start(feed().store).head();
        let mut leaves = Vec::new();
        for (n, seed) in (0u64..).zip(&self.leaves.seeds) {
            let row = self.leaves.busy.iter().find(|row| row.at == n);
            let range = row.map_or(0..0, |row| row.from as usize..row.to as usize);
            let mut within: Vec<LoggedDigest> = stands[range.clone()].iter().map(|(digest, _)| *digest).collect();
            within.sort_by_key(|digest| !self.is_signed(*digest));
            if let Some(last) = range.last() {
                head = stands[last].1;
            }
            leaves.push(Interval::new(&within, head, seed.as_bytes()).unwrap().leaf().hash());
        }
        merkle::root(&leaves)
    }

    fn is_signed(&self, digest: LoggedDigest) -> bool {
        let mut journal = Journal::start(feed().store);
        self.events.iter().any(|bytes| {
            let event = journal.handle_event(bytes).unwrap();
            event.is_signed() && event.logged() == digest
        })
    }

    /// A head over all intervals, which the witness cosigned.
    pub fn witnessed(&self, root: Hash) -> Vec<u8> {
        let origin: Origin = self.log.origin.parse().unwrap();
        let checkpoint = Checkpoint::sign(origin, TreeHead { size: SIZE, root }, &key(ORIGINATOR, 4)).unwrap();
        let offer = Offer { held: None, new: checkpoint.clone(), proof: vec![] };
        let accepted = Watch::Unseen.handle_offer(&offer, WITNESSED).unwrap();
        let line = accepted.cosign(org(WITNESS), WITNESSED, &key(WITNESS, 5)).unwrap().line().clone();
        checkpoint.to_bytes_with(&[line]).unwrap()
    }

    /// What is said of the release.
    pub fn released(&mut self) -> &mut Released {
        self.run.entries[0].release.as_mut().unwrap()
    }

    pub fn items(&self) -> Vec<Item> {
        let card = |(seed, payload): &(u8, CardPayload)| (payload.org, testing::card(payload, *seed));
        let mut cards: Vec<(crate::id::OrgId, Vec<u8>)> = self.cards.iter().map(card).collect();
        cards.sort();
        let mut items = vec![Item::Head(self.head.clone())];
        items.extend(cards.into_iter().map(|(_, card)| Item::Card(ByteBuf::from(card))));
        items.push(Item::Person(self.person.clone()));
        items.extend(self.agreements.iter().cloned().map(|bytes| Item::Agreement(ByteBuf::from(bytes))));
        items.push(Item::Events(self.events.clone()));
        items.extend(self.batches.iter().cloned().map(Item::Batch));
        items.push(Item::Log(self.log.clone()));
        items.extend(self.notes.iter().cloned().map(|note| Item::LogHead(ByteBuf::from(note))));
        items.push(Item::Leaves(self.leaves.clone()));
        items.extend(self.gate.iter().cloned().map(Item::Gate));
        items.push(Item::Feed(feed()));
        items.push(Item::Run(self.run.clone()));
        items.extend(self.receipt.iter().cloned().map(Item::Receipt));
        for item in &self.more {
            let place = items.iter().position(|other| other.rank() > item.rank()).unwrap_or(items.len());
            items.insert(place, item.clone());
        }
        items
    }

    pub fn bytes(&self) -> Vec<u8> {
        sealed(&self.items())
    }
}

/// Items as their maker signs them.
pub fn sealed(items: &[Item]) -> Vec<u8> {
    let (mut sealer, mut bytes) = (Sealer::default(), Vec::new());
    for item in items {
        bytes.extend(sealer.item(item).unwrap());
    }
    bytes.extend(sealer.end(&key(ORIGINATOR, 3)).unwrap());
    bytes
}

/// The same for a reader who has these cards.
pub fn pinned(seeds: &[u8], bytes: &[u8]) -> Result<Report, AuditFault> {
    let mut pins = Pins::default();
    for seed in seeds {
        pins.push(UnconfirmedCard::from_bytes(&testing::card(&payload(*seed), *seed)).unwrap());
    }
    super::verify(bytes, &pins, &[], NOW, &mut |_, _| ())
}

pub fn verified(bytes: &[u8]) -> Result<Report, AuditFault> {
    super::verify(bytes, &Pins::default(), &[], NOW, &mut |_, _| ())
}

/// The same for a reader who kept these heads, as notes.
pub fn with_heads(notes: &[Vec<u8>], bytes: &[u8]) -> Result<Report, AuditFault> {
    let kept: Vec<UnverifiedCheckpoint> =
        notes.iter().map(|note| UnverifiedCheckpoint::from_bytes(note).unwrap()).collect();
    super::verify(bytes, &Pins::default(), &kept, NOW, &mut |_, _| ())
}
