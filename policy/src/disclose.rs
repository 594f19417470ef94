//! Which fields of a record a clause lets go, and why each other one stays.
//!
//! The decider calls it once a clause applies. Default deny, field by field.

use crate::{question::Question, reason::Reason, set::Covered};
use entente_protocol::{
    record::{
        Shape, SlotSet,
        kind::{Kind, Slot},
    },
    value::Value,
};
use std::{collections::BTreeMap, sync::LazyLock};

/// What a clause lets go of one record.
#[derive(Debug)]
pub(crate) struct Disclosed {
    pub(crate) slots: SlotSet,
    /// Whether the file of an attachment may be fetched.
    pub(crate) file: bool,
    /// Slots that hold something and stay, by rising number.
    pub(crate) withheld: Vec<(u8, Reason)>,
}

/// Decides for every slot that holds something. `granted`: what the originator lets go on of a record that is not ours.
pub(crate) fn disclose(covered: &Covered, question: &Question<'_>, granted: Option<SlotSet>) -> Disclosed {
    let kind = question.header.kind;
    let mut disclosed = Disclosed { slots: SlotSet::EMPTY, file: false, withheld: Vec::new() };
    // A party that does not say what it is counts as a person.
    let person = ptype(kind).is_some_and(|slot| (question.values)(slot).as_ref().is_none_or(is_person));
    disclosed.slots = question.present.and(covered.plain).and(granted.unwrap_or(covered.plain));
    for number in question.present.without(disclosed.slots).iter() {
        let fate = match kind.slot_number(number) {
            None => Err(Reason::SlotNotNamed),
            Some(_) if granted.is_some_and(|granted| !granted.contains(number)) => Err(Reason::SlotNotGranted),
            Some(slot) => named(covered, slot, person).and_then(|()| released(covered, question, slot)),
        };
        match fate {
            Ok(()) => disclosed.slots = disclosed.slots.with(number),
            Err(reason) => disclosed.withheld.push((number, reason)),
        }
    }
    disclosed.file = kind == Kind::Attachment && disclosed.slots.iter().any(|n| is_content(kind, n));
    disclosed
}

/// Fields that a clause lets go with every record that has them, whatever they say.
pub(crate) fn plain(covered: &Covered, kind: Kind) -> SlotSet {
    let is_plain = |slot: &&Slot| slot.shape != Shape::Content && slot.name != "supersedes" && !slot.shape.refers();
    let given = kind.slots().filter(is_plain).filter(|slot| named(covered, slot, true).is_ok());
    given.map(|slot| slot.number).collect()
}

/// Whether the clause names a slot, and personal data in the way that personal data asks for. `person` says that the
/// record is about a natural person.
pub(crate) fn named(covered: &Covered, slot: &Slot, person: bool) -> Result<(), Reason> {
    let personal = slot.personal || (slot.personal_of_persons && person);
    if personal && !covered.personal.contains(slot.number) {
        return Err(Reason::SlotPersonal);
    }
    if covered.slots.contains(slot.number) { Ok(()) } else { Err(Reason::SlotNotNamed) }
}

/// On what of a record it hangs that a clause gives a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hangs<'a> {
    /// On nothing: it goes with every record that has it.
    Nothing,
    /// The record says that it is about no natural person.
    NoPerson,
    /// Its file has one of these roles.
    Role(&'a [String]),
}

/// Whether a clause gives a field at all, and of which records. [`disclose`] says the same of one record.
pub(crate) fn gives<'a>(covered: &'a Covered, kind: Kind, number: u8) -> Option<Hangs<'a>> {
    let slot = kind.slot_number(number)?;
    if slot.shape == Shape::Content {
        let given = named(covered, slot, true).is_ok() && !covered.files.is_empty();
        return given.then_some(Hangs::Role(&covered.files));
    }
    if named(covered, slot, true).is_ok() {
        return Some(Hangs::Nothing);
    }
    named(covered, slot, false).is_ok().then_some(Hangs::NoPerson)
}

/// Whether a field names other records, so that it goes only where those were given before. A contested flag need not.
pub(crate) fn always_refers(slot: &Slot) -> bool {
    slot.name == "supersedes" || (slot.shape.refers() && slot.shape != Shape::Contest)
}

/// The slot that says what a party is, in the kind that has it.
pub(crate) fn ptype(kind: Kind) -> Option<u8> {
    static SLOTS: LazyLock<BTreeMap<Kind, u8>> =
        LazyLock::new(|| Kind::ALL.into_iter().filter_map(|kind| Some((kind, kind.slot("ptype")?.number))).collect());
    SLOTS.get(&kind).copied()
}

/// Whether a value of [`ptype`] is a natural person.
pub(crate) fn is_person(ptype: &Value) -> bool {
    ptype.as_text() == Some("person")
}

/// Whether the clause releases files of a role.
pub(crate) fn file_released(covered: &Covered, role: Option<&Value>) -> bool {
    role.and_then(Value::as_text).is_some_and(|role| covered.files.iter().any(|listed| listed == role))
}

/// The slot that says which role an attachment's file has.
pub(crate) fn role_slot() -> Option<u8> {
    Kind::Attachment.slot("role").map(|slot| slot.number)
}

/// Whether a slot holds what proves a file, given only with leave to fetch it.
pub(crate) fn is_content(kind: Kind, number: u8) -> bool {
    kind.slot_number(number).is_some_and(|slot| slot.shape == Shape::Content)
}

fn released(covered: &Covered, question: &Question<'_>, slot: &Slot) -> Result<(), Reason> {
    let value = |number| (question.values)(number);
    if slot.shape == Shape::Content && !file_released(covered, role_slot().and_then(value).as_ref()) {
        return Err(Reason::SlotFile);
    }
    // A contested flag may name the record that answers it, or none; a value that cannot be read counts as a reference.
    let refers = slot.name == "supersedes"
        || (slot.shape.refers() && value(slot.number).is_none_or(|v| !slot.shape.targets(&v).is_empty()));
    if refers && !question.referable.contains(slot.number) {
        return Err(Reason::SlotReference);
    }
    Ok(())
}
