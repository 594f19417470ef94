//! The leaf of one interval: what happened in it, so that a partner can be shown its own runs and nothing else.
//!
//! A leaf has the root of a tree over the interval's events, and a commitment to the journal. Where an event stands in
//! the tree follows from its digest, so its place can be opened as this event or as something else, and never as both:
//! a second node opened at a run's place proves that the run was kept out of the log. What is empty looks like what is
//! not, and the leaf of an idle interval like that of a busy one; all salts come from one seed for each interval.

use super::journal::JournalHead;
use crate::{
    codec::{self, Bounds, CodecError},
    id::{Hash, LoggedDigest},
    label::{self, Context},
    limits, merkle,
    primitive::{Prf, labelled, tagged},
    tree::{Grown, Leaf, Tree},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

const TREE: Tree = Tree { depth: limits::INTERVAL_TREE_DEPTH, node_tag: label::TAG_INTERVAL_NODE };
const LEAF: Bounds = Bounds::bytes(128);

impl LoggedDigest {
    /// Of a run or a batch head: SHA-256(label, context, 0x00, payload). Whoever was given it can compute this.
    ///
    /// Of nothing that a partner has a say in: it could then crowd a place until no leaf can be made (INT-2).
    pub fn of(context: Context, payload: &[u8]) -> Self {
        Self::from_bytes(labelled(label::LOGGED, &[context.text().as_bytes(), &[0], payload]))
    }
    /// Its place in an interval's tree: the first 31 bits.
    fn place(self) -> u32 {
        let [a, b, c, d, ..] = *self.as_bytes();
        u32::from_be_bytes([a, b, c, d]) >> 1
    }
}

/// The seed of an interval, from the log's secret: P(secret, label, index as 8 bytes).
///
/// The secret is drawn once for each log and stays with its organisation: with it all leaves can be made again.
pub fn seed(secret: &[u8; 32], index: u64) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(Prf::new(secret).output(label::INTERVAL_SEED, &[&index.to_be_bytes()]))
}

/// An interval that cannot be made: our own misuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntervalError {
    /// More events than an interval takes: they wait for the next one.
    #[error("an interval takes at most {max} events, not {given}", max = limits::INTERVAL_EVENTS_MAX)]
    TooMany {
        /// Events given.
        given: usize,
    },
    /// More events at one place than it takes. Chance does not do that, and nobody else chooses a digest (INT-2).
    #[error("more than {max} events of an interval share a place", max = limits::INTERVAL_PLACE_EVENTS_MAX)]
    Crowded,
    /// It could not be encoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// An opening that is refused: the fault of whoever keeps the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntervalFault {
    /// Not of the form.
    #[error("the leaf of the interval is malformed: {0}")]
    Codec(#[from] CodecError),
    /// It opens another place than the one asked for, or is not of the form.
    #[error("the opening is not of this place")]
    Place,
    /// It does not give the leaf.
    #[error("the opening does not give the interval's leaf")]
    Root,
}

/// An entry of the log, as it was read or made: always of one length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntervalLeaf {
    bytes: Vec<u8>,
    events: Hash,
    journal: Hash,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireLeaf {
    v: u64,
    events: Hash,
    journal: Hash,
}

impl IntervalLeaf {
    fn new(events: Hash, journal: Hash) -> Result<Self, CodecError> {
        let bytes = codec::to_vec(&WireLeaf { v: 1, events, journal }, LEAF)?;
        Ok(Self { bytes, events, journal })
    }
    /// Reads an entry of the log.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let WireLeaf { v, events, journal } = codec::from_slice(bytes, LEAF)?;
        if v == 1 { Ok(Self { bytes: bytes.to_vec(), events, journal }) } else { Err(CodecError::Shape) }
    }
    /// The entry.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
    /// Its hash in the log (RFC 9162, section 2.1.1).
    pub fn hash(&self) -> Hash {
        merkle::leaf_hash(&self.bytes)
    }
    /// Whether the leaf commits to this head of the journal.
    pub fn commits_to(&self, journal: &JournalOpening) -> bool {
        journal.commitment() == self.journal
    }
}

/// What stands at a place, opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Shown {
    /// These events, rising; more than one only where chance put them to one place.
    Events {
        /// Random to everybody else.
        salt: Hash,
        /// All that stand there.
        digests: Vec<LoggedDigest>,
    },
    /// Nothing, nor in the whole subtree of this height around it.
    Empty {
        /// Random to everybody else.
        salt: Hash,
        /// 0 is the place alone.
        level: u8,
    },
}

/// One place of an interval's tree, opened, with the path to the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// What stands beside, lowest first.
    pub nodes: Vec<Hash>,
    /// What stands there.
    pub shown: Shown,
}

/// What an opening says of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is in the interval.
    Logged,
    /// Its place holds something else, or nothing: it is not.
    Unlogged,
}

/// An interval's journal head and salt, which its leaf commits to. For auditors, and for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalOpening {
    /// Random to everybody else.
    pub salt: Hash,
    /// The journal at the end of the interval.
    pub head: JournalHead,
}

impl JournalOpening {
    fn commitment(&self) -> Hash {
        let parts = [self.salt.as_bytes().as_slice(), &self.head.count.to_be_bytes(), self.head.digest.as_bytes()];
        Hash::from_bytes(labelled(label::INTERVAL_JOURNAL, &parts))
    }
}

/// Salts of one interval.
struct Salts(Prf);

impl Salts {
    fn at(&self, level: u8, index: u32) -> Hash {
        Hash::from_bytes(self.0.output(label::INTERVAL_SALT, &[&[level], &index.to_be_bytes()]))
    }
    fn filler(&self) -> impl FnMut(u8, u32) -> Hash + '_ {
        |level, index| empty(level, index, self.at(level, index))
    }
}

fn empty(level: u8, index: u32, salt: Hash) -> Hash {
    Hash::from_bytes(labelled(label::INTERVAL_EMPTY, &[&[level], &index.to_be_bytes(), salt.as_bytes()]))
}

fn place_hash(salt: Hash, digests: &[LoggedDigest]) -> Hash {
    let parts: Vec<&[u8]> =
        std::iter::once(salt.as_bytes().as_slice()).chain(digests.iter().map(|d| d.as_bytes().as_slice())).collect();
    tagged(label::TAG_INTERVAL_LEAF, &parts)
}

/// An interval in the hands of the organisation whose log it is.
pub struct Interval {
    leaf: IntervalLeaf,
    journal: JournalOpening,
    places: BTreeMap<u32, Vec<LoggedDigest>>,
    tree: Grown,
    salts: Salts,
}

impl Interval {
    /// The interval of these events, in any order, with the journal as it was at its end. What is given twice stands once.
    pub fn new(events: &[LoggedDigest], journal: JournalHead, seed: &[u8; 32]) -> Result<Self, IntervalError> {
        let mut events = events.to_vec();
        events.sort_unstable();
        events.dedup();
        if events.len() > limits::INTERVAL_EVENTS_MAX {
            return Err(IntervalError::TooMany { given: events.len() });
        }
        let mut places: BTreeMap<u32, Vec<LoggedDigest>> = BTreeMap::new();
        for event in events {
            places.entry(event.place()).or_default().push(event);
        }
        if places.values().any(|digests| digests.len() > limits::INTERVAL_PLACE_EVENTS_MAX) {
            return Err(IntervalError::Crowded);
        }
        let prf = Prf::new(seed);
        let salt = Hash::from_bytes(prf.output(label::INTERVAL_JOURNAL_SALT, &[]));
        let salts = Salts(prf);
        let hashed = |(place, digests): (&u32, &Vec<LoggedDigest>)| (*place, place_hash(salts.at(0, *place), digests));
        let leaves: Vec<Leaf> = places.iter().map(hashed).collect();
        let tree = TREE.grow(leaves, salts.filler());
        let journal = JournalOpening { salt, head: journal };
        let leaf = IntervalLeaf::new(tree.root(salts.filler()), journal.commitment())?;
        Ok(Self { leaf, journal, places, tree, salts })
    }

    /// The entry of the log.
    pub fn leaf(&self) -> &IntervalLeaf {
        &self.leaf
    }
    /// What the leaf says of the journal, opened.
    pub fn journal(&self) -> JournalOpening {
        self.journal
    }
    /// Whether an event stands in it.
    pub fn holds(&self, event: LoggedDigest) -> bool {
        self.places.get(&event.place()).is_some_and(|digests| digests.contains(&event))
    }
    /// The place of an event, opened: as the event, or as what it is instead.
    ///
    /// What is opened as empty shows how empty its neighbourhood is: that is for auditors, and not for partners.
    pub fn open(&self, event: LoggedDigest) -> Opening {
        let place = event.place();
        let (level, shown) = match self.places.get(&place) {
            Some(digests) => (0, Shown::Events { salt: self.salts.at(0, place), digests: digests.clone() }),
            None => {
                let level = self.tree.empty_above(place);
                (level, Shown::Empty { salt: self.salts.at(level, place >> level), level })
            }
        };
        Opening { nodes: self.tree.beside(place, level, self.salts.filler()), shown }
    }
}

impl Opening {
    /// Whether the leaf holds the event, as the reward for an opening of its place that gives the leaf.
    pub fn verify(&self, leaf: &IntervalLeaf, event: LoggedDigest) -> Result<Standing, IntervalFault> {
        let place = event.place();
        let (level, hash, standing) = match &self.shown {
            Shown::Events { salt, digests } => {
                let fits = (1..=limits::INTERVAL_PLACE_EVENTS_MAX).contains(&digests.len())
                    && digests.is_sorted_by(|a, b| a < b)
                    && digests.iter().all(|digest| digest.place() == place);
                if !fits {
                    return Err(IntervalFault::Place);
                }
                let standing = if digests.contains(&event) { Standing::Logged } else { Standing::Unlogged };
                (0, place_hash(*salt, digests), standing)
            }
            Shown::Empty { salt, level } => {
                let index = place.checked_shr(u32::from(*level)).ok_or(IntervalFault::Place)?;
                (*level, empty(*level, index, *salt), Standing::Unlogged)
            }
        };
        if TREE.climb(level, place, hash, &self.nodes) == Some(leaf.events) {
            Ok(standing)
        } else {
            Err(IntervalFault::Root)
        }
    }
}
