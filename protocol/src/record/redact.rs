//! Redaction: from a record and a clearance to what one partner gets.

use super::{
    header::Body,
    slots::{Opening, Record, SlotSet, open_stored},
};
use crate::{clearance::Clearance, id::Hash};

/// What one partner gets of one record: the body, the cleared openings, and the nodes that prove them.
///
/// Cannot be made without a [`Clearance`] for that very record, but by people's own hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redacted {
    /// Header and root, as bytes.
    pub body: Vec<u8>,
    /// The disclosed slots, rising.
    pub openings: Vec<Opening>,
    /// The fewest nodes that give the root back.
    pub nodes: Vec<Hash>,
}

/// A clearance for another record: a programming error on our side, never a partner's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the clearance is for another record")]
pub struct WrongClearance;

impl Redacted {
    /// Opens what the clearance names and nothing else.
    pub fn new(record: &Record, clearance: &Clearance) -> Result<Self, WrongClearance> {
        let terms = clearance.terms();
        if terms.record != record.id() {
            return Err(WrongClearance);
        }
        let (openings, nodes) = record.open(terms.slots);
        Ok(Self { body: record.body().bytes().to_vec(), openings, nodes })
    }

    /// What people of the originator give away by hand, on their own authority: slots of their own choice, cleared by no
    /// agreement. It never goes into a feed, where only a [`Clearance`] opens anything.
    pub fn danger_by_people(record: &Record, slots: SlotSet) -> Self {
        let (openings, nodes) = record.open(slots);
        Self { body: record.body().bytes().to_vec(), openings, nodes }
    }

    /// What is cleared of a record as it is stored: its body, canonical values by rising slot, and seed. `None` if these do not
    /// give the root in the body.
    pub fn of_stored<V: AsRef<[u8]>>(
        body: &Body,
        values: &[(u8, V)],
        seed: &[u8; 32],
        clearance: &Clearance,
    ) -> Result<Option<Self>, WrongClearance> {
        let terms = clearance.terms();
        if terms.record != body.id() {
            return Err(WrongClearance);
        }
        let opened = open_stored(body, values, seed, terms.slots);
        Ok(opened.map(|(openings, nodes)| Self { body: body.bytes().to_vec(), openings, nodes }))
    }
}
