//! The reference model: what people decided, what each agreement permits, and what was seen on the wires.
//!
//! It holds no node and asks none what may go. Where a crash leaves open whether a last act took effect, the world
//! tells it what the store says; everything that was acknowledged to people must be there.

use super::terms::{Besides, VARIANTS};
use entente_node::records::gate::Review;
use entente_protocol::{
    agreement::Standing,
    id::{AgreementDigest, AgreementId, LineId, RecordId},
    recall::Act,
    record::{SlotSet, kind::Kind},
    time::UnixMillis,
};
use std::collections::{BTreeMap, BTreeSet};

/// A record that was committed somewhere.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Its id.
    pub id: RecordId,
    /// By whom.
    pub owner: usize,
    /// Item or event.
    pub kind: Kind,
    /// Its line.
    pub line: LineId,
    /// Slots that hold something.
    pub present: SlotSet,
    /// Whether an item is in working order.
    pub serviceable: bool,
    /// The line of the event that it names.
    pub event: Option<LineId>,
    /// The record that it amends.
    pub amends: Option<RecordId>,
}

/// Where a record stands at the gate.
pub type GateState = (Review, bool);

/// What the people of one organisation have decided, as far as its node acknowledged it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Records and their gate.
    pub gate: BTreeMap<RecordId, GateState>,
    /// Own standing in each agreement; absent: never stated.
    pub standing: BTreeMap<AgreementId, Standing>,
    /// Partners that are not active.
    pub partners: BTreeMap<usize, Estranged>,
    /// Own records that were asked back, and how.
    pub recalled: BTreeMap<RecordId, Act>,
    /// Received records under a legal hold.
    pub held: BTreeSet<RecordId>,
}

/// A partner that is not active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Estranged {
    /// Suspended.
    Suspended,
    /// Removed.
    Removed,
}

/// A version that somebody drafted.
#[derive(Debug, Clone)]
pub struct Version {
    /// Its digest.
    pub digest: AgreementDigest,
    /// Its number; two may be drafted with one number, of which one comes into force.
    pub number: u64,
    /// What each of its signers lets go, in their order: a variant of the terms.
    pub gives: Vec<usize>,
    /// Whose people have approved it.
    pub approved: BTreeSet<usize>,
    /// From when it is in force, and from when it is no more.
    pub time: (UnixMillis, UnixMillis),
}

impl Version {
    /// Whether it is in force at a time, as far as its days go.
    #[must_use]
    pub fn covers(&self, now: UnixMillis) -> bool {
        self.time.0 <= now && now < self.time.1
    }
}

/// What two share under an agreement. One of three parties is three of these, with one id and the same versions.
#[derive(Debug, Clone)]
pub struct Deal {
    /// The agreement's id.
    pub id: AgreementId,
    /// First-named of the two, and the other.
    pub parties: [usize; 2],
    /// All parties of the agreement, as it names them.
    pub signers: Vec<usize>,
    /// What it says besides.
    pub besides: Besides,
    /// Its versions, oldest first.
    pub versions: Vec<Version>,
}

impl Deal {
    /// The other party.
    #[must_use]
    pub fn other(&self, party: usize) -> usize {
        if self.parties[0] == party { self.parties[1] } else { self.parties[0] }
    }
    /// Whether people of every party approved a version.
    #[must_use]
    pub fn approved(&self, version: &Version) -> bool {
        self.signers.iter().all(|signer| version.approved.contains(signer))
    }
    /// The version of a digest.
    #[must_use]
    pub fn version(&self, digest: AgreementDigest) -> Option<&Version> {
        self.versions.iter().find(|v| v.digest == digest)
    }
    /// Fields of a kind that a version lets go from a party, and whether only items in working order.
    #[must_use]
    pub fn permits(&self, version: &Version, from: usize, kind: Kind) -> (SlotSet, bool) {
        let place = self.signers.iter().position(|signer| *signer == from).unwrap_or_default();
        let terms = &VARIANTS[version.gives[place]];
        (terms.slots(kind), terms.serviceable && kind == Kind::Item)
    }
}

/// A direction of a deal: place of the deal, and who gives.
pub type Direction = (usize, usize);

/// What an entry of a feed was when it was last taken by the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// A release, with these slots, under this version.
    Release(RecordId, SlotSet, AgreementDigest),
    /// A withdrawal.
    Withdrawal(RecordId),
    /// A refusal of an entry of the other direction.
    Refusal(u64),
    /// Its hash alone.
    Closed,
}

/// What was seen of one feed.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// Entries that the receiver took, by number.
    pub taken: BTreeMap<u64, Taken>,
    /// Entries that the sender has seen countersigned.
    pub acknowledged: u64,
    /// Lines of which something was sent open.
    pub lines: BTreeSet<LineId>,
    /// Records that were sent open at some time.
    pub shown: BTreeSet<RecordId>,
    /// When the receiver took each, by its own clock.
    pub since: BTreeMap<u64, UnixMillis>,
    /// Releases that the receiver refused, as it stood when they came.
    pub refused: BTreeSet<u64>,
}

/// Everything.
#[derive(Debug, Default)]
pub struct Model {
    /// Every record.
    pub records: BTreeMap<RecordId, Recorded>,
    /// By number of the node.
    pub facts: Vec<Facts>,
    /// Agreements.
    pub deals: Vec<Deal>,
    /// Feeds, by direction.
    pub feeds: BTreeMap<Direction, Seen>,
    /// Step at which a record was last fit to leave, as far as the gate goes.
    pub fit: BTreeMap<RecordId, u64>,
    /// What people let go on.
    pub onward: super::onward::Answers,
    /// When a receiver last met a giver, at the latest, by its own clock.
    pub met: BTreeMap<Direction, UnixMillis>,
    /// What a hold keeps: holder, deal, record.
    pub kept: BTreeSet<(usize, usize, RecordId)>,
}

impl Model {
    /// Whether the gate lets a record go now.
    #[must_use]
    pub fn passes(&self, record: &Recorded) -> bool {
        let facts = &self.facts[record.owner];
        let state = facts.gate.get(&record.id).copied().filter(|_| !facts.recalled.contains_key(&record.id));
        state.is_some_and(|(review, released)| released && matches!(review, Review::Reviewed | Review::Verified))
    }

    /// Whether people released it, whatever its review says now.
    #[must_use]
    pub fn released(&self, record: &Recorded) -> bool {
        self.facts[record.owner].gate.get(&record.id).is_some_and(|(_, released)| *released)
    }

    /// Whether a version lets a record go, fields aside.
    #[must_use]
    pub fn covered(&self, deal: &Deal, version: &Version, record: &Recorded) -> bool {
        let (slots, serviceable) = deal.permits(version, record.owner, record.kind);
        !slots.and(record.present).is_empty() && (!serviceable || record.serviceable)
    }

    /// What a receiver holds of a record once everything has settled: nothing, or these slots at least and at most.
    #[must_use]
    pub fn settled(
        &self,
        deal: &Deal,
        version: &Version,
        record: &Recorded,
        seen: &Seen,
    ) -> Option<(SlotSet, SlotSet)> {
        if !self.stands(deal, version, record) {
            return None;
        }
        let most = deal.permits(version, record.owner, record.kind).0.and(record.present);
        let (mut least, mut most) = (most, most);
        let slot = record.event.map(|_| EVENT);
        for (slot, named) in [
            (slot, self.records.values().filter(|r| Some(r.line) == record.event).collect::<Vec<_>>()),
            (
                record.amends.map(|_| SUPERSEDES),
                record.amends.and_then(|id| self.records.get(&id)).into_iter().collect(),
            ),
        ] {
            let Some(slot) = slot else { continue };
            // What the partner has seen may be named, and must be while it stands; what it has not, never.
            let one = SlotSet::EMPTY.with(slot);
            if !named.iter().any(|named| self.stands(deal, version, named)) {
                least = least.without(one);
            }
            if !named.iter().any(|named| seen.shown.contains(&named.id)) {
                most = most.without(one);
            }
        }
        Some((least, most))
    }

    /// Whether a record is released and not withdrawn: it may go, and so may every amendment of it that people
    /// released, in a way that shows what it amends.
    fn stands(&self, deal: &Deal, version: &Version, record: &Recorded) -> bool {
        let goes = |r: &Recorded| self.passes(r) && self.covered(deal, version, r);
        let shows = |r: &Recorded| goes(r) && deal.permits(version, r.owner, r.kind).0.contains(SUPERSEDES);
        let amendments = self.records.values().filter(|r| r.amends == Some(record.id) && self.released(r));
        goes(record) && amendments.into_iter().all(shows)
    }
}

/// The slot that names what a record amends.
pub const SUPERSEDES: u8 = 5;
/// The slot in which an item names its event.
pub const EVENT: u8 = 17;
