//! The slot tree of one record: commitment, openings, and the set of slots that a clause names.

use super::header::{Body, Header};
use crate::{
    id::{Hash, RecordId},
    label, limits,
    primitive::{Prf, tagged},
    tree::{Leaf, Tree},
    value::Value,
};
use std::fmt;
use zeroize::Zeroizing;

/// The tree over a record's slots.
pub(super) const TREE: Tree = Tree { depth: limits::SLOT_TREE_DEPTH, node_tag: label::TAG_SLOT_NODE };

/// A set of slots, one bit for each number.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub struct SlotSet(u64);

impl SlotSet {
    /// No slot.
    pub const EMPTY: Self = Self(0);
    /// From one bit for each number.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
    /// One bit for each number.
    pub const fn bits(self) -> u64 {
        self.0
    }
    /// With this slot.
    pub const fn with(self, slot: u8) -> Self {
        Self(self.0 | (1 << (slot & 63)))
    }
    /// Whether a slot is in it.
    pub const fn contains(self, slot: u8) -> bool {
        slot < 64 && self.0 >> slot & 1 == 1
    }
    /// What is in both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
    /// What is in this and not in the other.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
    /// What is in either.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    /// Whether it is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// Its numbers, rising.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..64).filter(move |slot| self.contains(*slot))
    }
}

impl FromIterator<u8> for SlotSet {
    fn from_iter<I: IntoIterator<Item = u8>>(slots: I) -> Self {
        slots.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Canonical bytes of values, by rising slot.
pub type Values = Vec<(u8, Vec<u8>)>;

/// What opens one slot: its number, salt and canonical value. Whoever holds it can check it against the root.
#[derive(Clone, PartialEq, Eq)]
pub struct Opening {
    /// The slot's number.
    pub slot: u8,
    /// Pseudorandom, so that an unopened slot cannot be guessed.
    pub salt: [u8; 16],
    /// The canonical bytes of the value.
    pub value: Vec<u8>,
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opening(slot {}, {} bytes)", self.slot, self.value.len())
    }
}

impl Opening {
    pub(super) fn leaf(&self) -> Leaf {
        leaf(self.slot, &self.salt, &self.value)
    }
}

/// Salts and fillers of one record, all from its seed.
pub(super) struct Blinds(Prf);

impl Blinds {
    pub(super) fn new(seed: &[u8; 32]) -> Self {
        Self(Prf::new(seed))
    }
    pub(super) fn salt(&self, slot: u8) -> [u8; 16] {
        let output = self.0.output(label::SLOT_SALT, &[&[slot]]);
        let mut salt = [0u8; 16];
        for (to, from) in salt.iter_mut().zip(output) {
            *to = from;
        }
        salt
    }
    pub(super) fn filler(&self) -> impl FnMut(u8, u32) -> Hash {
        |level, index| Hash::from_bytes(self.0.output(label::SLOT_FILL, &[&[level], &index.to_be_bytes()]))
    }
}

/// A committed record in its originator's hands: body, every value, and the seed that blinds it.
///
/// The seed never leaves the organisation: whoever has it can tell fillers from fields.
pub struct Record {
    pub(super) body: Body,
    pub(super) values: Values,
    /// Of `values`, so that a decision need not walk over them.
    present: SlotSet,
    pub(super) seed: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({}, {}, {} slots)", self.header().kind, self.id().short(), self.values.len())
    }
}

impl Record {
    /// Commits to encoded values, which `Draft` has checked.
    pub(super) fn commit(
        header: Header,
        values: Values,
        seed: Zeroizing<[u8; 32]>,
    ) -> Result<Self, crate::codec::CodecError> {
        let blinds = Blinds::new(&seed);
        let leaves = leaves(&values, &blinds);
        let root = TREE.root(&leaves, blinds.filler());
        let present = values.iter().map(|(slot, _)| *slot).collect();
        Ok(Self { body: Body::new(header, root)?, values, present, seed })
    }

    /// From its stored parts; refuses parts that do not give the root in the body.
    pub fn from_parts(body: Body, values: Values, seed: Zeroizing<[u8; 32]>) -> Option<Self> {
        let blinds = Blinds::new(&seed);
        let leaves = leaves(&values, &blinds);
        let rising = leaves.windows(2).all(|w| matches!(w, [a, b] if a.0 < b.0));
        let within = leaves.last().is_none_or(|(at, _)| *at < TREE.width());
        (rising && within && TREE.root(&leaves, blinds.filler()) == body.root()).then_some(())?;
        let present = values.iter().map(|(slot, _)| *slot).collect();
        Some(Self { body, values, present, seed })
    }

    /// Body, values and seed, for sealing and for nothing else.
    pub fn into_parts(self) -> (Body, Values, Zeroizing<[u8; 32]>) {
        (self.body, self.values, self.seed)
    }

    /// The record's id.
    pub fn id(&self) -> RecordId {
        self.body.id()
    }
    /// The header.
    pub fn header(&self) -> &Header {
        self.body.header()
    }
    /// Header and root as bytes.
    pub fn body(&self) -> &Body {
        &self.body
    }
    /// Slots that hold something.
    pub fn present(&self) -> SlotSet {
        self.present
    }
    /// Canonical bytes of every value, by rising slot.
    pub fn values(&self) -> &[(u8, Vec<u8>)] {
        &self.values
    }
    /// The value of a slot.
    pub fn value(&self, slot: u8) -> Option<Value> {
        if !self.present.contains(slot) {
            return None;
        }
        // They rise by slot.
        let place = self.values.binary_search_by_key(&slot, |(number, _)| *number).ok()?;
        let (_, bytes) = self.values.get(place)?;
        crate::codec::from_slice(bytes, crate::codec::Bounds::bytes(limits::SLOT_VALUE_BYTES_MAX)).ok()
    }
    /// The seed, for sealing beside the record and for nothing else.
    pub fn seed_to_seal(&self) -> &[u8; 32] {
        &self.seed
    }

    /// Openings of the slots in `shown`, and the fewest nodes that give the root back.
    pub(super) fn open(&self, shown: SlotSet) -> (Vec<Opening>, Vec<Hash>) {
        let (_, openings, nodes) = open(&self.values, &self.seed, shown);
        (openings, nodes)
    }
}

/// As [`Record::open`], of a record as it is stored. None if its parts do not give the root in the body.
pub(super) fn open_stored<V: AsRef<[u8]>>(
    body: &Body,
    values: &[(u8, V)],
    seed: &[u8; 32],
    shown: SlotSet,
) -> Option<(Vec<Opening>, Vec<Hash>)> {
    let rising = values.windows(2).all(|w| matches!(w, [a, b] if a.0 < b.0));
    let within = values.last().is_none_or(|(slot, _)| u32::from(*slot) < TREE.width());
    (rising && within).then_some(())?;
    let (root, openings, nodes) = open(values, seed, shown);
    (root == body.root()).then_some((openings, nodes))
}

/// The root, the openings, and the nodes that prove them. Each slot is blinded and hashed once.
fn open<V: AsRef<[u8]>>(values: &[(u8, V)], seed: &[u8; 32], shown: SlotSet) -> (Hash, Vec<Opening>, Vec<Hash>) {
    let blinds = Blinds::new(seed);
    let mut leaves = Vec::with_capacity(values.len());
    let mut openings = Vec::with_capacity(values.len());
    for (slot, value) in values {
        let (slot, salt, value) = (*slot, blinds.salt(*slot), value.as_ref());
        leaves.push(leaf(slot, &salt, value));
        if shown.contains(slot) {
            openings.push(Opening { slot, salt, value: value.to_vec() });
        }
    }
    let wanted: Vec<u32> = openings.iter().map(|o| u32::from(o.slot)).collect();
    let (root, nodes) = TREE.prove(&leaves, &wanted, blinds.filler());
    (root, openings, nodes)
}

/// leaf = SHA-256(0x10, slot, salt, value).
fn leaf(slot: u8, salt: &[u8; 16], value: &[u8]) -> Leaf {
    (u32::from(slot), tagged(label::TAG_SLOT_LEAF, &[&[slot], salt, value]))
}

fn leaves(values: &[(u8, Vec<u8>)], blinds: &Blinds) -> Vec<Leaf> {
    values.iter().map(|(slot, value)| leaf(*slot, &blinds.salt(*slot), value)).collect()
}
