//! Verification: what a recipient has proved about the slots it was shown.

use super::{
    header::{Body, Header},
    redact::Redacted,
    slots::{Opening, SlotSet, TREE},
};
use crate::{
    codec::{self, Bounds, CodecError},
    id::{Hash, RecordId},
    limits,
    tree::Leaf,
    value::Value,
};

/// A release that does not prove what it shows: the sender's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// The body is not one of ours.
    #[error("the record's body is malformed: {0}")]
    Body(CodecError),
    /// A value is not canonical or too long.
    #[error("slot {slot} is malformed: {fault}")]
    Value {
        /// The slot.
        slot: u8,
        /// What is wrong.
        fault: CodecError,
    },
    /// The kind has no such slot, or the value does not fit it.
    #[error("slot {slot} does not exist in this kind or does not fit it")]
    Slot {
        /// The slot.
        slot: u8,
    },
    /// The openings and nodes do not give the root.
    #[error("the disclosed fields do not match the record's commitment")]
    Root,
    /// Two rungs of a ladder contradict each other.
    #[error("slot {coarse} does not follow from slot {fine}")]
    Ladder {
        /// The coarser slot.
        coarse: u8,
        /// The finer slot.
        fine: u8,
    },
    /// More bytes than a record may have.
    #[error("the record is too large")]
    TooLarge,
}

/// One slot that was shown and proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisclosedSlot {
    /// The opening as it came.
    pub opening: Opening,
    /// Its value.
    pub value: Value,
}

/// A record as a recipient has proved it: every shown slot is in the commitment, in its place.
///
/// That the originator attested the commitment is proved by its batch ([`crate::batch`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    body: Body,
    slots: Vec<DisclosedSlot>,
    nodes: Vec<Hash>,
}

impl Verified {
    /// Checks a redacted record against its own root.
    pub fn new(redacted: Redacted) -> Result<Self, RecordFault> {
        let Redacted { body, openings, nodes } = redacted;
        let body = Body::from_bytes(&body).map_err(RecordFault::Body)?;
        let total: usize = openings.iter().map(|o| o.value.len()).sum();
        if total > limits::RECORD_BYTES_MAX || openings.len() > limits::SLOTS || nodes.len() > limits::SLOTS {
            return Err(RecordFault::TooLarge);
        }
        let leaves: Vec<Leaf> = openings.iter().map(Opening::leaf).collect();
        if TREE.rebuild(&leaves, &nodes) != Some(body.root()) {
            return Err(RecordFault::Root);
        }
        let kind = body.header().kind;
        let mut slots = Vec::with_capacity(openings.len());
        for opening in openings {
            let slot = opening.slot;
            let value: Value = codec::from_slice(&opening.value, Bounds::bytes(limits::SLOT_VALUE_BYTES_MAX))
                .map_err(|fault| RecordFault::Value { slot, fault })?;
            let row = kind.slot_number(slot).ok_or(RecordFault::Slot { slot })?;
            if !row.shape.fits(&value) {
                return Err(RecordFault::Slot { slot });
            }
            slots.push(DisclosedSlot { opening, value });
        }
        let verified = Self { body, slots, nodes };
        verified.check_ladders()?;
        Ok(verified)
    }

    fn check_ladders(&self) -> Result<(), RecordFault> {
        let kind = self.header().kind;
        for row in kind.slots() {
            let Some(coarse) = self.value(row.number) else { continue };
            for (finer, rule) in kind.finer(row) {
                let contradicts =
                    self.value(finer.number).is_some_and(|fine| rule.apply(fine).as_ref() != Some(coarse));
                if contradicts {
                    return Err(RecordFault::Ladder { coarse: row.number, fine: finer.number });
                }
            }
        }
        Ok(())
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
    /// The shown slots.
    pub fn slots(&self) -> &[DisclosedSlot] {
        &self.slots
    }
    /// Which slots were shown.
    pub fn shown(&self) -> SlotSet {
        self.slots.iter().map(|s| s.opening.slot).collect()
    }
    /// The same record with fewer slots shown, for whoever may not keep the others: still proved, against the same root.
    pub fn showing(&self, keep: SlotSet) -> Redacted {
        let leaves: Vec<Leaf> = self.slots.iter().map(|slot| slot.opening.leaf()).collect();
        let kept = || self.slots.iter().map(|slot| &slot.opening).filter(|opening| keep.contains(opening.slot));
        let wanted: Vec<u32> = kept().map(|opening| u32::from(opening.slot)).collect();
        // What stands where nothing was shown came as nodes, in the order in which they are asked for.
        let mut nodes = self.nodes.iter();
        // INVARIANT: as many are asked for as proved the root when this was made.
        let hidden = |_, _| nodes.next().copied().unwrap_or(self.body.root());
        let (_, nodes) = TREE.prove(&leaves, &wanted, hidden);
        Redacted { body: self.body.bytes().to_vec(), openings: kept().cloned().collect(), nodes }
    }
    /// The value of a slot, if it was shown.
    pub fn value(&self, slot: u8) -> Option<&Value> {
        self.slots.iter().find(|s| s.opening.slot == slot).map(|s| &s.value)
    }
    /// The nodes that came with it, to keep the proof.
    pub fn nodes(&self) -> &[Hash] {
        &self.nodes
    }
}
