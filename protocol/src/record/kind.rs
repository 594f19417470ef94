//! Kinds as data: one table that lists for each kind every slot, its shape, rung and facts.
//!
//! Slot numbers are never reused: a slot that falls out of use keeps its number. The rows stand in
//! `tables.rs`; SPEC lists them, and a test compares the two.

use super::{shape::Shape, tables};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::LazyLock};

/// Numbers that a slot may have: a [`SlotSet`](super::SlotSet) holds as many.
const SLOTS: usize = 64;

/// A kind of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are the field's own; SPEC defines each")]
pub enum Kind {
    Item,
    Ammunition,
    Document,
    Attachment,
    Event,
    Party,
    Transfer,
    DiversionCase,
    Account,
    Link,
    TraceRequest,
    TraceResponse,
    PostDeliveryCheck,
    RedFlag,
    CustodyEvent,
}

/// A fact that a slot may carry beside what its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fact {
    /// Where.
    Place,
    /// When.
    Time,
    /// Which single item.
    Serial,
    /// A natural person: source, witness, collector, possessor.
    Person,
    /// Who made it.
    Maker,
    /// The camera or device that recorded it.
    Device,
}

impl Fact {
    /// All facts, in order.
    pub const ALL: [Self; 6] = [Self::Place, Self::Time, Self::Serial, Self::Person, Self::Maker, Self::Device];
    /// Its name in agreements.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Place => "place",
            Self::Time => "time",
            Self::Serial => "serial",
            Self::Person => "person",
            Self::Maker => "maker",
            Self::Device => "device",
        }
    }
    /// By its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fact| fact.name() == name)
    }
}

/// A set of facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts(u8);

impl Facts {
    /// No fact.
    pub const NONE: Self = Self(0);
    /// Every fact: free text.
    pub const ALL: Self = Self(0x3f);
    /// These facts.
    pub const fn of(facts: &[Fact]) -> Self {
        let mut bits = 0;
        let mut rest = facts;
        while let [first, tail @ ..] = rest {
            bits |= 1 << (*first as u8);
            rest = tail;
        }
        Self(bits)
    }
    /// Whether a fact is among them.
    pub const fn contains(self, fact: Fact) -> bool {
        self.0 & (1 << (fact as u8)) != 0
    }
    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Fact> {
        Fact::ALL.into_iter().filter(move |fact| self.contains(*fact))
    }
}

/// A slot's place on a ladder of precision. Level 0 is the finest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rung {
    /// Which fact the ladder coarsens.
    pub fact: Fact,
    /// Ladders of one fact within a kind are told apart by name (`recovered`, `documented`).
    pub ladder: &'static str,
    /// 0 is the finest.
    pub level: u8,
    /// How this rung follows from a finer slot; whoever sees both checks it.
    pub derived: Option<Derived>,
}

/// A rung that is computed at commit from a finer slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Derived {
    /// The finer slot.
    pub from: u8,
    /// The rule (SPEC, ladders).
    pub rule: Rule,
}

/// How a coarser rung follows from a finer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Point to the south-west corner of its cell of 0.1 degree.
    Cell,
    /// EDTF date to its month.
    Month,
    /// EDTF date to its year.
    Year,
    /// Serial to the prefix before its last digits.
    SerialPrefix,
    /// Serial to whether and how it is present.
    SerialState,
}

impl Rule {
    /// Its name in SPEC.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cell => "Cell",
            Self::Month => "Month",
            Self::Year => "Year",
            Self::SerialPrefix => "SerialPrefix",
            Self::SerialState => "SerialState",
        }
    }
}

/// One slot of a kind.
#[derive(Debug, Clone, Copy)]
pub struct Slot {
    /// 0 to 63, never reused.
    pub number: u8,
    /// Its name in agreements, mappings and on screen.
    pub name: &'static str,
    /// What it may hold.
    pub shape: Shape,
    /// Its rung, if it stands on a ladder.
    pub rung: Option<Rung>,
    /// Facts that it may carry beside what it states.
    pub carries: Facts,
    /// Personal data: only where a clause names it with purpose and retention.
    pub personal: bool,
    /// Personal data where the party is a natural person (slot `ptype` is `person`).
    pub personal_of_persons: bool,
    /// Must be present in every record of the kind.
    pub required: bool,
}

impl Slot {
    pub(super) const fn new(number: u8, name: &'static str, shape: Shape) -> Self {
        Self {
            number,
            name,
            shape,
            rung: None,
            carries: Facts::NONE,
            personal: false,
            personal_of_persons: false,
            required: false,
        }
    }
    pub(super) const fn required(mut self) -> Self {
        self.required = true;
        self
    }
    pub(super) const fn personal(mut self) -> Self {
        self.personal = true;
        self
    }
    pub(super) const fn personal_of_persons(mut self) -> Self {
        self.personal_of_persons = true;
        self
    }
    pub(super) const fn carries(mut self, facts: &[Fact]) -> Self {
        self.carries = Facts::of(facts);
        self
    }
    pub(super) const fn anything(mut self) -> Self {
        self.carries = Facts::ALL;
        self
    }
    pub(super) const fn rung(mut self, fact: Fact, ladder: &'static str, level: u8) -> Self {
        self.rung = Some(Rung { fact, ladder, level, derived: None });
        self
    }
    pub(super) const fn derived(mut self, fact: Fact, ladder: &'static str, level: u8, from: u8, rule: Rule) -> Self {
        self.rung = Some(Rung { fact, ladder, level, derived: Some(Derived { from, rule }) });
        self
    }
}

impl Kind {
    /// All kinds, in order.
    pub const ALL: [Self; 15] = [
        Self::Item,
        Self::Ammunition,
        Self::Document,
        Self::Attachment,
        Self::Event,
        Self::Party,
        Self::Transfer,
        Self::DiversionCase,
        Self::Account,
        Self::Link,
        Self::TraceRequest,
        Self::TraceResponse,
        Self::PostDeliveryCheck,
        Self::RedFlag,
        Self::CustodyEvent,
    ];

    /// Its name in agreements and on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Item => "item",
            Self::Ammunition => "ammunition",
            Self::Document => "document",
            Self::Attachment => "attachment",
            Self::Event => "event",
            Self::Party => "party",
            Self::Transfer => "transfer",
            Self::DiversionCase => "diversion-case",
            Self::Account => "account",
            Self::Link => "link",
            Self::TraceRequest => "trace-request",
            Self::TraceResponse => "trace-response",
            Self::PostDeliveryCheck => "post-delivery-check",
            Self::RedFlag => "red-flag",
            Self::CustodyEvent => "custody-event",
        }
    }

    /// By its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Its slots, by rising number.
    pub fn slots(self) -> impl Iterator<Item = &'static Slot> {
        tables::COMMON.iter().chain(tables::own(self))
    }

    /// A slot by name.
    pub fn slot(self, name: &str) -> Option<&'static Slot> {
        self.slots().find(|slot| slot.name == name)
    }

    /// The finer slots from which a derived rung follows, with the rule: the one that its row names,
    /// and for a year also the month on the same ladder.
    pub(super) fn finer(self, slot: &Slot) -> impl Iterator<Item = (&'static Slot, Rule)> {
        let rung = slot.rung;
        let derived = rung.and_then(|r| r.derived);
        self.slots().filter_map(move |other| {
            let rule = derived?.rule;
            let month = other.rung.filter(|r| Some(r.ladder) == rung.map(|own| own.ladder)).and_then(|r| r.derived);
            let is_month = rule == Rule::Year && month.is_some_and(|d| d.rule == Rule::Month);
            (derived?.from == other.number || is_month).then_some((other, rule))
        })
    }

    /// A slot by number.
    pub fn slot_number(self, number: u8) -> Option<&'static Slot> {
        // A decision asks this of every field of a record.
        static BY_NUMBER: LazyLock<Vec<[Option<&'static Slot>; SLOTS]>> = LazyLock::new(|| {
            let of = |kind: Kind| {
                let mut slots = [None; SLOTS];
                for slot in kind.slots() {
                    slots.get_mut(usize::from(slot.number)).into_iter().for_each(|place| *place = Some(slot));
                }
                slots
            };
            // In the order in which the kinds are numbered.
            Kind::ALL.into_iter().map(of).collect()
        });
        BY_NUMBER.get(self as usize)?.get(usize::from(number)).copied().flatten()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_found_by_its_number_in_every_kind() {
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
            for number in 0..=u8::MAX {
                let found = kind.slots().find(|slot| slot.number == number);
                assert_eq!(
                    kind.slot_number(number).map(|slot| slot.name),
                    found.map(|slot| slot.name),
                    "{kind} {number}"
                );
            }
        }
    }
    use std::collections::BTreeSet;

    #[test]
    fn the_table_is_consistent() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
            let numbers: Vec<u8> = kind.slots().map(|s| s.number).collect();
            assert!(numbers.windows(2).all(|w| w[0] < w[1]), "{kind}: numbers rise");
            assert!(numbers.iter().all(|n| usize::from(*n) < crate::limits::SLOTS), "{kind}");
            let names: BTreeSet<&str> = kind.slots().map(|s| s.name).collect();
            assert_eq!(names.len(), numbers.len(), "{kind}: names are apart");
            for slot in kind.slots() {
                let Some(Rung { fact, ladder, level, derived }) = slot.rung else { continue };
                if level > 0 {
                    let top = kind.slots().any(|s| s.rung.is_some_and(|r| r.ladder == ladder && r.level == 0));
                    assert!(top, "{kind}.{}: its ladder has a top", slot.name);
                }
                if let Some(derived) = derived {
                    let finer = kind.slot_number(derived.from).and_then(|s| s.rung);
                    assert!(finer.is_some_and(|r| r.level < level && r.fact == fact && r.ladder == ladder));
                }
            }
        }
    }
}
