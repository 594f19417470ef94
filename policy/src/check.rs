//! What an agreement must keep before anybody signs it, and before it is compiled.
//!
//! [`check`] works on the canonical body, so it binds what partners propose as well as what is
//! written here; `source` turns its findings into lines of the text. It refuses what cannot be
//! enforced or would mislead: unknown slots, personal data that is not named, facts that leave by
//! another field than the one that was coarsened, conditions that do not fit the schema.

use crate::{
    compile::{Action, permit},
    condition::validate,
    frame,
};
use cedar_policy::Policy;
use entente_protocol::{
    agreement::{Agreement, Clause, Duty, Onward},
    limits,
    record::{
        Shape, SlotSet,
        kind::{Fact, Kind, Slot},
        schema_digest,
    },
    text,
    time::DAY_MS,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Most days, hours, queries or answers that a key may state: a hundred years in days.
pub const COUNT_MAX: u32 = 36_500;
const PURPOSES_MAX: usize = 32;

/// An agreement that is refused: the drafter's fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckFault {
    /// The clause, by its place, or none for the agreement as a whole.
    pub clause: Option<usize>,
    /// The key, as the text names it.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub fix: String,
}

impl fmt::Display for CheckFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.clause {
            write!(f, "clause {}, ", place + 1)?;
        }
        write!(f, "key `{}`: {}; {}", self.key, self.what, self.fix)
    }
}

impl std::error::Error for CheckFault {}

/// A withheld field that a release reveals: the record meets the clause's condition, and none of a clause before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reveal {
    /// The clause's name.
    pub clause: String,
    /// The kind.
    pub kind: Kind,
    /// The field that a condition reads and the clause does not disclose.
    pub field: &'static str,
}

/// An agreement that keeps every rule, and what people should know before they sign it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The agreement.
    pub agreement: Agreement,
    /// Withheld fields that conditions reveal.
    pub reveals: Vec<Reveal>,
}

/// A fault without its place.
pub(crate) type Fault = (String, String, String);

pub(crate) fn fault(key: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Fault {
    (key.into(), what.into(), fix.into())
}

/// Checks an agreement against every rule; the first fault refuses it.
pub fn check(agreement: Agreement) -> Result<Checked, CheckFault> {
    let (faults, reveals) = every(&agreement);
    match faults.into_iter().next() {
        None => Ok(Checked { agreement, reveals }),
        Some(fault) => Err(fault),
    }
}

/// Every fault of an agreement, for whoever drafts it, and what its conditions reveal. A fault that follows from another
/// is left out: rules that build on a clause's fields are asked only where those hold.
pub(crate) fn every(agreement: &Agreement) -> (Vec<CheckFault>, Vec<Reveal>) {
    let (mut faults, mut reveals, mut reads) = (Vec::new(), Vec::new(), Reads::new());
    let mut note = |clause: Option<usize>, rule: Result<(), Fault>| {
        let holds = rule.is_ok();
        faults.extend(rule.err().map(|(key, what, fix)| CheckFault { clause, key, what, fix }));
        holds
    };
    let mut sound = note(None, frame::whole(agreement)) & note(None, whole(agreement));
    for (place, clause) in agreement.clauses.iter().enumerate() {
        let at = Some(place);
        sound &= note(at, frame::clause(agreement, place, clause)) & note(at, terms(agreement, clause));
        let fields = note(at, disclosures(clause));
        let carried = fields && note(at, personal(clause)) & note(at, carried_facts(clause)) & note(at, files(clause));
        sound &= carried & note(at, condition(place, clause, &mut reads));
        // What a condition reveals is asked of conditions that hold, this one and those before it.
        if sound {
            match revealed(agreement, place, clause, &reads) {
                Ok(revealed) => reveals.extend(revealed),
                Err(fault) => sound = note(at, Err(fault)),
            }
        }
    }
    if sound {
        note(None, agreement.to_bytes().map(drop).map_err(|e| fault("", e.to_string(), "correct it")));
    }
    (faults, reveals)
}

/// Text that people sign shows what it says: nothing invisible, nothing that changes direction.
fn readable(text: &str, max: usize) -> bool {
    !text.trim().is_empty() && text.len() <= max && text::is_prose(text)
}

fn name(key: &str, text: &str) -> Result<(), Fault> {
    if !text.trim().is_empty() && text::is_line(text) {
        return Ok(());
    }
    let fix = format!(
        "write one line of 1 to {} bytes without control, direction or invisible signs",
        limits::NAME_BYTES_MAX
    );
    Err(fault(key, "the text is empty, too long or not readable", fix))
}

fn whole(agreement: &Agreement) -> Result<(), Fault> {
    name("title", &agreement.title)?;
    name("basis.text", &agreement.basis.text)?;
    for party in &agreement.parties {
        name("party.name", &party.name)?;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if party.handle.is_empty() || party.handle.len() > 64 || !party.handle.chars().all(plain) {
            let what = format!("`{}` is not a handle", party.handle.escape_debug());
            return Err(fault("party.handle", what, "use small letters, digits and hyphens"));
        }
    }
    if agreement.purposes.is_empty() || agreement.purposes.len() > PURPOSES_MAX {
        return Err(fault("purposes", "no purpose, or too many", format!("state 1 to {PURPOSES_MAX}")));
    }
    agreement.purposes.iter().try_for_each(|purpose| name("purposes", purpose))?;
    if agreement.schema != schema_digest() {
        let what =
            format!("it was checked against the schema `{}`, and this is `{}`", agreement.schema, schema_digest());
        return Err(fault("schema", what, "let every party run the same version, then draft the next version anew"));
    }
    for (key, time) in [("from", agreement.from), ("until", agreement.until)] {
        if !time.0.is_multiple_of(DAY_MS) || time.date().len() != 10 {
            return Err(fault(key, "it begins and ends with a day", "write the day as 2026-01-31"));
        }
    }
    if agreement.version > u64::from(u32::MAX) {
        return Err(fault("version", "out of range", "count versions from 1"));
    }
    if agreement.notice_days > COUNT_MAX {
        return Err(fault("notice-days", "too long", format!("write at most {COUNT_MAX}")));
    }
    if agreement.survival_days.is_some_and(|days| days == 0 || days > COUNT_MAX) {
        return Err(fault("survival-days", "out of range", format!("write 1 to {COUNT_MAX}, or leave it out")));
    }
    for party in &agreement.parties {
        if let Some(declined) = party.declines.iter().find(|d| !agreement.obligations.contains(d)) {
            let what = format!("`{}` declines `{}`, which nobody asks for", party.handle, declined.name());
            return Err(fault("party.declines", what, "add it to `obligations`, or leave it out here"));
        }
        party.signatories.iter().try_for_each(|person| name("party.signatories", person))?;
        let same = |a: &String, b: &String| a.trim().to_lowercase() == b.trim().to_lowercase();
        let fits = match party.signatories.as_slice() {
            [] => true,
            [one, other] => !same(one, other),
            _ => false,
        };
        if !fits {
            let what = format!("`{}` does not name two different persons", party.handle);
            return Err(fault("party.signatories", what, "name the two persons who sign together, or leave it out"));
        }
    }
    if agreement.lease_hours.is_some_and(|hours| hours == 0 || hours > COUNT_MAX) {
        return Err(fault("lease-hours", "out of range", format!("write 1 to {COUNT_MAX}, or leave it out")));
    }
    Ok(())
}

fn terms(agreement: &Agreement, clause: &Clause) -> Result<(), Fault> {
    name("name", &clause.name)?;
    if clause.retention_days == 0 || clause.retention_days > COUNT_MAX {
        let fix = format!("say for how many days the receiver keeps what it got, 1 to {COUNT_MAX}");
        return Err(fault("retention-days", "out of range", fix));
    }
    if let Duty::AnswerTraces(count) | Duty::Match(count) = clause.duty
        && (count == 0 || count > COUNT_MAX)
    {
        return Err(fault("duty", "out of range", format!("write 1 to {COUNT_MAX}")));
    }
    if clause.handling.as_ref().is_some_and(|h| h.tlp.is_none() && h.codes.is_empty()) {
        return Err(fault("handling", "it says nothing", "write `tlp`, `codes`, or both, or leave it out"));
    }
    if clause.to.is_empty() {
        return Err(fault("to", "nobody", "name a receiver"));
    }
    let mut to: Vec<_> = clause.to.clone();
    to.sort_unstable();
    to.dedup();
    if to.len() != clause.to.len() {
        return Err(fault("to", "a party stands twice", "name each receiver once"));
    }
    if let Onward::To(orgs) = &clause.onward {
        let unique: BTreeSet<_> = orgs.iter().collect();
        let known = orgs.iter().all(|org| agreement.party(*org).is_some() && *org != clause.from);
        if orgs.is_empty() || unique.len() != orgs.len() || !known {
            let fix = "name other parties than the giver, each once, or write \"never\" or \"with-grant\"";
            return Err(fault("onward", "received records may go on to parties of the agreement only", fix));
        }
    }
    Ok(())
}

fn disclosures(clause: &Clause) -> Result<(), Fault> {
    let discloses = matches!(clause.duty, Duty::Release | Duty::Alert);
    if !discloses {
        let idle = clause.disclose.is_empty()
            && clause.personal.is_empty()
            && clause.files.is_empty()
            && clause.carries.is_empty()
            && clause.when.is_none()
            && !clause.red;
        let fix = "leave out disclose, personal, files, carries, when and red, or make it a clause of duty \"release\"";
        return if idle { Ok(()) } else { Err(fault("duty", "a clause of this duty discloses nothing", fix)) };
    }
    if clause.disclose.is_empty() {
        return Err(fault("disclose", "missing", "list for each kind the fields that are disclosed"));
    }
    if !clause.disclose.windows(2).all(|w| matches!(w, [a, b] if a.kind < b.kind)) {
        return Err(fault(
            "disclose",
            "kinds stand twice or out of order",
            "give each kind once, in the order of the table",
        ));
    }
    for disclosure in &clause.disclose {
        let key = format!("disclose.{}", disclosure.kind);
        if disclosure.slots.is_empty() {
            return Err(fault(key, "no field", "list the fields that are disclosed, or leave the kind out"));
        }
        if !disclosure.slots.windows(2).all(|w| w.first() < w.last()) {
            return Err(fault(key, "a field stands twice", "name each field once"));
        }
        if let Some(slot) = disclosure.slots.iter().find(|s| disclosure.kind.slot_number(**s).is_none()) {
            return Err(fault(key, format!("there is no slot {slot}"), "name fields of the kind"));
        }
    }
    Ok(())
}

/// Disclosed slots with their kinds.
fn disclosed(clause: &Clause) -> impl Iterator<Item = (Kind, &'static Slot)> {
    clause.disclose.iter().flat_map(|d| d.slots.iter().filter_map(|n| Some((d.kind, d.kind.slot_number(*n)?))))
}

fn may_be_personal(slot: &Slot) -> bool {
    slot.personal || slot.personal_of_persons
}

fn personal(clause: &Clause) -> Result<(), Fault> {
    let mut named = BTreeSet::new();
    for entry in &clause.personal {
        name("personal", &entry.purpose)?;
        if entry.retention_days == 0 || entry.retention_days > clause.retention_days {
            let fix = format!("write 1 to {}, the clause's own", clause.retention_days);
            return Err(fault("personal", "retention-days out of range", fix));
        }
        let slot = entry.kind.slot_number(entry.slot).filter(|slot| may_be_personal(slot));
        let Some(slot) = slot else {
            let what = format!("slot {} of `{}` is not personal data", entry.slot, entry.kind);
            return Err(fault("personal", what, "leave it out"));
        };
        if !disclosed(clause).any(|(kind, s)| kind == entry.kind && s.number == slot.number) {
            let what = format!("`{}` of `{}` is named but not disclosed", slot.name, entry.kind);
            return Err(fault("personal", what, "disclose it or leave it out"));
        }
        if !named.insert((entry.kind, entry.slot)) {
            return Err(fault("personal", format!("`{}` stands twice", slot.name), "name it once"));
        }
    }
    match disclosed(clause).find(|(kind, slot)| slot.personal && !named.contains(&(*kind, slot.number))) {
        None => Ok(()),
        Some((kind, slot)) => Err(fault(
            format!("disclose.{kind}"),
            format!("`{}` is personal data", slot.name),
            "name it in `personal` with purpose and retention-days, or leave it out",
        )),
    }
}

/// The finest rungs of a kind's ladders of a fact.
fn tops(kind: Kind, fact: Fact) -> impl Iterator<Item = &'static Slot> {
    kind.slots().filter(move |slot| slot.rung.is_some_and(|rung| rung.fact == fact && rung.level == 0))
}

/// The first finest rung of a fact, in any kind of the clause, that the clause does not disclose.
fn coarsened(clause: &Clause, fact: Fact) -> Option<(Kind, &'static Slot)> {
    clause.disclose.iter().find_map(|d| {
        let shown = d.set();
        tops(d.kind, fact).find(|slot| !shown.contains(slot.number)).map(|slot| (d.kind, slot))
    })
}

/// A fact that is coarsened or withheld may not leave by another field that carries it.
fn carried_facts(clause: &Clause) -> Result<(), Fault> {
    let mut listed = BTreeSet::new();
    for fact in &clause.carries {
        if Fact::from_name(fact).is_none() || !listed.insert(fact.as_str()) {
            let fix = format!("use each of {} at most once", Fact::ALL.map(Fact::name).join(", "));
            return Err(fault("carries", format!("`{}` is unknown or stands twice", fact.escape_debug()), fix));
        }
    }
    for (kind, slot) in disclosed(clause) {
        for fact in slot.carries.iter() {
            let key = format!("disclose.{kind}");
            let carries = format!("`{}` may carry the {}", slot.name, fact.name());
            if let Some((other, top)) = coarsened(clause, fact) {
                let what = format!("{carries}, which the clause coarsens or withholds");
                let fix = format!("disclose `{}` of `{other}` too, or leave `{}` out", top.name, slot.name);
                return Err(fault(key, what, fix));
            }
            let stated = clause.disclose.iter().any(|d| tops(d.kind, fact).next().is_some());
            if !stated && !listed.contains(fact.name()) {
                let fix = format!("add \"{}\" to `carries`, or leave `{}` out", fact.name(), slot.name);
                return Err(fault(key, format!("{carries}, and no field of the clause states it"), fix));
            }
        }
    }
    Ok(())
}

fn files(clause: &Clause) -> Result<(), Fault> {
    let attachment = Kind::Attachment;
    let roles: &[&str] = match attachment.slot("role").map(|slot| slot.shape) {
        Some(Shape::Code(roles)) => roles,
        _ => &[],
    };
    let mut listed = BTreeSet::new();
    if let Some(role) = clause.files.iter().find(|r| !roles.contains(&r.as_str()) || !listed.insert(r.as_str())) {
        let what = format!("`{}` is no role of a file, or stands twice", role.escape_debug());
        return Err(fault("files", what, format!("use each of {} at most once", roles.join(", "))));
    }
    let shown: SlotSet = clause.disclose.iter().find(|d| d.kind == attachment).map(|d| d.set()).unwrap_or_default();
    let shows = |field: &str| attachment.slot(field).is_some_and(|slot| shown.contains(slot.number));
    if shows("content") == clause.files.is_empty() || (shows("content") && !shows("role")) {
        let fix =
            "give all or none: `files` says which files may be fetched, `content` proves them, `role` says which it is";
        return Err(fault("files", "`files` and the fields `content` and `role` of `attachment` go together", fix));
    }
    if listed.contains("original") {
        let own = ["taken", "place-point", "author", "camera"].into_iter().find(|field| !shows(field));
        let other = [Fact::Place, Fact::Time].into_iter().find_map(|fact| coarsened(clause, fact));
        let hidden = own.map(|field| (attachment, field)).or(other.map(|(kind, slot)| (kind, slot.name)));
        if let Some((kind, field)) = hidden {
            let what =
                format!("an original file tells place, time, author and device, and `{field}` of `{kind}` is withheld");
            return Err(fault("files", what, "release \"stripped\" or \"thumbnail\" instead, or disclose that field"));
        }
    }
    Ok(())
}

fn bad_condition(what: String) -> Fault {
    fault("when", what, "correct the condition; AGREEMENTS.md lists what it may read")
}

/// The slots that the condition of each clause reads of each kind, each compiled once by [`condition`]: there are as many
/// pairs of clauses as their number squared. A clause without a condition is not in it, for it reads nothing.
type Reads = BTreeMap<(usize, Kind), Vec<&'static Slot>>;

/// A clause's policy for one kind, and the slots that its condition reads.
fn compiled(place: usize, clause: &Clause, kind: Kind) -> Result<(Policy, Vec<&'static Slot>), Fault> {
    let to = clause.to.first().copied().ok_or_else(|| fault("to", "nobody", "name a receiver"))?;
    let place = u16::try_from(place).map_err(|_| bad_condition("too many clauses".to_owned()))?;
    let permitted = permit(place, clause, Action::Release, to, kind);
    let (policy, reads, _) = permitted.map_err(|e| bad_condition(e.to_string()))?;
    Ok((policy, reads.into_iter().filter_map(|a| kind.slot_number(a.slot()?)).collect()))
}

/// Validates the condition for every kind of the clause.
fn condition(place: usize, clause: &Clause, known: &mut Reads) -> Result<(), Fault> {
    let Some(when) = &clause.when else { return Ok(()) };
    if !readable(when, limits::CONDITION_BYTES_MAX) {
        return Err(bad_condition("the condition is empty, too long or holds signs that mislead readers".to_owned()));
    }
    for disclosure in &clause.disclose {
        let (policy, reads) = compiled(place, clause, disclosure.kind)?;
        validate(disclosure.kind, &policy).map_err(|e| bad_condition(e.to_string()))?;
        known.insert((place, disclosure.kind), reads);
    }
    Ok(())
}

/// What a release under the clause tells of fields that it withholds. The first clause that applies decides, so a
/// release tells what this condition reads, and what those before it read that could have applied to the same record.
///
/// This compiles nothing: a clause that holds was compiled by [`condition`], and so were those before it.
fn revealed(agreement: &Agreement, place: usize, clause: &Clause, known: &Reads) -> Result<Vec<Reveal>, Fault> {
    let mut reveals = Vec::new();
    let before = |other: &Clause, kind: Kind| {
        other.duty == clause.duty
            && other.from == clause.from
            && other.to.iter().any(|org| clause.to.contains(org))
            && other.disclose.iter().any(|d| d.kind == kind)
    };
    for disclosure in &clause.disclose {
        let kind = disclosure.kind;
        for (at, other) in agreement.clauses.iter().enumerate().take(place + 1) {
            if at != place && !before(other, kind) {
                continue;
            }
            let reads = match known.get(&(at, kind)) {
                Some(reads) => reads.as_slice(),
                None if other.when.is_none() => &[],
                None => return Err(bad_condition("it was not compiled".to_owned())),
            };
            for slot in reads.iter().filter(|slot| !disclosure.set().contains(slot.number)) {
                if may_be_personal(slot) {
                    let name = other.name.escape_debug();
                    let what =
                        format!("the condition of `{name}` would reveal `{}`, which is personal data", slot.name);
                    return Err(bad_condition(what));
                }
                let reveal = Reveal { clause: clause.name.clone(), kind, field: slot.name };
                if !reveals.contains(&reveal) {
                    reveals.push(reveal);
                }
            }
        }
    }
    Ok(reveals)
}

#[cfg(test)]
mod tests {
    use super::*;
    use entente_protocol::agreement::Disclosure;

    /// As many clauses as there may be, each with a condition and every kind: what a partner may send. Were each pair of
    /// clauses compiled, this would take minutes.
    #[test]
    fn the_largest_agreement_is_compiled_once_for_each_clause_and_kind() {
        let dice = &mut crate::generate::Dice(5);
        let mut agreement = crate::generate::agreement(dice, 1);
        let clause = agreement.clauses[0].clone();
        let disclose: Vec<_> = Kind::ALL.into_iter().map(|kind| Disclosure { kind, slots: vec![0] }).collect();
        agreement.clauses = (0..limits::AGREEMENT_CLAUSES_MAX)
            .map(|n| Clause {
                name: format!("clause {n}"),
                when: Some("resource.orcon == false".to_owned()),
                disclose: disclose.clone(),
                personal: Vec::new(),
                files: Vec::new(),
                ..clause.clone()
            })
            .collect();
        // One without a condition reads nothing, whatever its kinds are.
        agreement.clauses[3].when = None;
        for kind in Kind::ALL {
            assert!(compiled(3, &agreement.clauses[3], kind).unwrap().1.is_empty());
        }
        let mut reads = Reads::new();
        for (place, clause) in agreement.clauses.iter().enumerate() {
            condition(place, clause, &mut reads).unwrap();
            // It sees what was compiled until now, and can compile nothing itself.
            revealed(&agreement, place, clause, &reads).unwrap();
        }
        let pair = |place| Kind::ALL.map(|kind| (place, kind));
        let expected = (0..limits::AGREEMENT_CLAUSES_MAX).filter(|place| *place != 3).flat_map(pair);
        assert!(reads.keys().copied().eq(expected), "{} pairs", reads.len());
        // Where one is missing this is a fault, not a field that is revealed in silence.
        let last = limits::AGREEMENT_CLAUSES_MAX - 1;
        reads.remove(&(5, Kind::ALL[0]));
        assert!(revealed(&agreement, last, &agreement.clauses[last], &reads).is_err());
    }
}
