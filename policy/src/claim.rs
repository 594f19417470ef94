//! That something never leaves, as one Cedar policy which no record may meet: what a solver is asked to prove.
//!
//! [`claims`] writes the policy and its schema as text; `node` compiles them to a formula and runs the solver, and asks
//! [`Claim::confirm`] about the record that it finds. Nothing here runs, and nothing is believed of a record before the
//! decider's engine has judged it.
//!
//! The policy is true of exactly the records that leave with what is asked about, and of no other:
//!
//! - the record is one that there may be (`facts`): ours, with values that its kind allows;
//! - **no policy of the slice errs.** Cedar skips a policy that errs, and the decider withholds. `if X then true else true`
//!   is true where X can be evaluated and errs where it cannot, and an erring policy is not met;
//! - no red line holds;
//! - a clause that gives what is asked about decides: its condition holds and that of no clause before it, with clauses
//!   that do not carry TLP:RED passed over for a red record; the record has the field, is about no natural person where
//!   the clause does not name the field in `personal`, and its file has a role whose files the clause gives.
//!
//! Assumed is that records which a field names were given before: without that the field stays.

#[cfg(test)]
mod tests;

use crate::{
    attribute::{self, Attribute, Given, Origin, Reading},
    compile::Action,
    condition::{Condition, ConditionFault},
    disclose::{self, Hangs},
    never::{self, Leaving, Place, Property, asked_of, places},
    set::{Covered, PolicySet},
    trial::{self, Budget},
};
use cedar_policy::{Entities, EvalResult, Request};
use entente_protocol::{
    id::OrgId,
    record::{Shape, Tlp, kind::Kind, ladder::Edtf},
    value::Value,
};
use std::{collections::BTreeSet, fmt::Write};

/// One claim: that this policy, over this schema, is met by no request.
pub struct Claim<'a> {
    /// The schema: the kind with what is read of it, and nothing else.
    pub schema: String,
    /// The policy.
    pub policy: String,
    /// Types of the principal and of the record, and the name of the action.
    pub request: [String; 3],
    place: Place<'a>,
    own: OrgId,
    /// The conditions that are read, for values that they name.
    texts: Vec<String>,
}

/// What the decider's engine says of a record that a solver found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmed {
    /// It leaves.
    Leaves(Leaving),
    /// It leaves, but no record of the kind has such a value there.
    Unlikely(String),
    /// It stays: the solver's formula and the engine do not agree.
    Stays,
}

/// What remains to be proved of a property. Nothing where clauses and red lines without a condition decide it.
///
/// # Errors
/// A condition that does not parse any more, which a checked set does not hold.
pub fn claims(set: &PolicySet, property: Property) -> Result<Vec<Claim<'_>>, ConditionFault> {
    let claims = places(set, property).into_iter().map(|place| claim(set, place));
    claims.filter_map(Result::transpose).collect()
}

fn claim<'a>(set: &PolicySet, place: Place<'a>) -> Result<Option<Claim<'a>>, ConditionFault> {
    let kind = place.property.kind;
    let mut read: BTreeSet<&str> = BTreeSet::from(["tlp"]);
    let mut parse = |when: &str| {
        let parsed = Condition::parse(when)?;
        let reads = parsed.reads(kind)?;
        read.extend(reads.all.iter().map(|attribute| attribute.name.as_str()));
        Ok::<_, ConditionFault>((parsed, reads))
    };
    let (mut evaluated, mut lines) = (Vec::new(), Vec::new());
    for line in place.red_lines(set) {
        // Whatever it concerns stays.
        let Some(when) = line.when() else { return Ok(None) };
        let (parsed, reads) = parse(when)?;
        let text = parsed.forbidding(&reads);
        lines.push(not(&text));
        evaluated.push(text);
    }
    let mut clauses = Vec::new();
    for covered in &place.slice.clauses {
        let condition = place.when(covered.place).map(&mut parse).transpose()?;
        let condition = condition.map(|(parsed, reads)| parsed.permitting(&reads));
        evaluated.extend(condition.clone());
        clauses.push((covered, condition));
    }
    let slot = place
        .property
        .slot
        .and_then(|slot| attribute::attributes(kind).iter().find(|a| a.slot() == Some(slot) && a.tells_presence()));
    read.extend(slot.map(|attribute| attribute.name.as_str()));
    let deciding = deciding(&place, &clauses, &mut read);
    if deciding.is_empty() {
        return Ok(None);
    }
    let read: Vec<&Attribute> = attribute::attributes(kind).iter().filter(|a| read.contains(a.name.as_str())).collect();
    let mut parts: Vec<String> = read.iter().flat_map(|attribute| facts(kind, attribute, &read, set.own())).collect();
    let texts: Vec<String> = place.texts(set).into_iter().map(str::to_owned).collect();
    parts.extend(read.iter().flat_map(|attribute| spans(kind, attribute, &read, &texts)));
    parts.extend(evaluated.iter().map(|text| format!("if ({}) then true else true", lined(text))));
    parts.extend(lines);
    parts.push(joined("||", &deciding));
    let name = attribute::type_name(kind);
    let policy = format!(
        "permit(principal == Organisation::\"{}\", action == Action::\"{}\", resource is {name}) when {{\n{}\n}};",
        place.partner,
        Action::Release.name(),
        joined("&&", &parts)
    );
    let request = ["Organisation".to_owned(), name, Action::Release.name().to_owned()];
    Ok(Some(Claim { schema: schema(kind, &read), policy, request, own: set.own(), texts, place }))
}

type Clauses<'a> = [(&'a Covered, Option<String>)];

/// For each clause that gives what is asked about: that it is the first that applies and may carry the record, and that it
/// gives it of this one. What that reads comes to `read`.
fn deciding(place: &Place<'_>, clauses: &Clauses<'_>, read: &mut BTreeSet<&str>) -> Vec<String> {
    let red = format!("(if resource has tlp then resource.tlp == {} else false)", quoted(Tlp::Red.name()));
    let mut deciding = Vec::new();
    for (covered, _) in clauses.iter().filter(|(covered, _)| place.names.contains(&covered.place)) {
        read.extend(asked_of(place.property, covered).filter_map(|(_, hangs)| Some(on(place, hangs)?.0)));
    }
    for (at, (covered, condition)) in clauses.iter().enumerate() {
        if !place.names.contains(&covered.place) {
            continue;
        }
        let mut parts: Vec<String> = condition.iter().map(|text| lined(text)).collect();
        parts.extend((!covered.red).then(|| not(&red)));
        parts.extend(given(place, covered, read));
        let mut hidden = false;
        for (before, condition) in clauses.iter().take(at) {
            match (before.red, condition) {
                (true, Some(text)) => parts.push(not(text)),
                (true, None) => hidden = true,
                // Passed over for a red record only.
                (false, Some(text)) => parts.push(format!("{red} || {}", not(text))),
                (false, None) => parts.push(red.clone()),
            }
        }
        if !hidden {
            deciding.push(if parts.is_empty() { "true".to_owned() } else { joined("&&", &parts) });
        }
    }
    deciding
}

/// What a field hangs on: an attribute, and the values with which it goes.
fn on<'c>(place: &Place<'_>, hangs: Hangs<'c>) -> Option<(&'static str, Vec<&'c str>)> {
    let kind = place.property.kind;
    let (slot, allowed) = match hangs {
        Hangs::Nothing => return None,
        Hangs::NoPerson => (disclose::ptype(kind)?, never::no_persons(kind)),
        Hangs::Role(files) => (disclose::role_slot()?, files.iter().map(String::as_str).collect()),
    };
    let attribute = attribute::attributes(kind).iter().find(|a| a.slot() == Some(slot))?;
    Some((attribute.name.as_str(), allowed))
}

/// That a clause which decides gives what is asked about; nothing where it does of every record. A field that nothing
/// reads may be there.
fn given(place: &Place<'_>, covered: &Covered, read: &BTreeSet<&str>) -> Option<String> {
    let mut ways = Vec::new();
    for (slot, hangs) in asked_of(place.property, covered) {
        // Of a date all that is read of it is there, or none of it (`facts`).
        let readings = attribute::attributes(place.property.kind).iter().filter(|a| a.slot() == Some(slot));
        let there = readings
            .filter(|a| a.tells_presence() && read.contains(a.name.as_str()))
            .map(|a| format!("resource has {}", a.name));
        let mut parts: Vec<String> = there.collect();
        if let Some((name, allowed)) = on(place, hangs) {
            let allowed: Vec<String> = allowed.into_iter().map(quoted).collect();
            parts.push(format!("(resource has {name} && [{}].contains(resource.{name}))", allowed.join(", ")));
        }
        if parts.is_empty() {
            return None;
        }
        ways.push(joined("&&", &parts));
    }
    Some(joined("||", &ways))
}

/// What is true of every record of ours of a kind, about one attribute. A claim is proved under these and no others.
fn facts(kind: Kind, attribute: &Attribute, read: &[&Attribute], own: OrgId) -> Vec<String> {
    let name = &attribute.name;
    let where_there = |fact: String| vec![format!("if resource has {name} then {fact} else true")];
    let among = |texts: &[&str]| {
        let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
        where_there(format!("[{}].contains(resource.{name})", texts.join(", ")))
    };
    let shape = attribute.shape(kind);
    match attribute.origin {
        Origin::Originator => vec![format!("resource has {name} && resource.{name} == Organisation::\"{own}\"")],
        Origin::Orcon => vec![format!("resource has {name}")],
        Origin::Tlp => among(&[Tlp::Red, Tlp::AmberStrict, Tlp::Amber, Tlp::Green, Tlp::Clear].map(Tlp::name)),
        Origin::Class => where_there(format!("resource.{name} != \"\"")),
        Origin::EuHc => vec![format!("resource has {name} && [0, 1, 2, 3].containsAll(resource.{name})")],
        Origin::Slot(_, Reading::LongOf(_)) => where_there(format!("(resource.{name} >= 1 && resource.{name} <= 4)")),
        Origin::Slot(_, Reading::TextOf("src4")) => among(&["A", "B", "C", "X"]),
        Origin::Slot(_, Reading::TextOf(_)) => {
            let grades: Vec<String> = trial::grades().collect();
            among(&grades.iter().map(String::as_str).collect::<Vec<_>>())
        }
        Origin::Slot(_, Reading::Text | Reading::Finding) => {
            let text = match shape {
                Some(Shape::Code(codes) | Shape::Finding(codes)) => among(codes),
                Some(shape) if !shape.fits(&Value::text("")) => where_there(format!("resource.{name} != \"\"")),
                _ => Vec::new(),
            };
            text.into_iter().chain(dates(attribute, read)).collect()
        }
        Origin::Slot(_, Reading::FirstDay | Reading::LastDay) => {
            let mut facts = where_there(format!("(resource.{name} >= 0 && resource.{name} <= 99991231)"));
            facts.extend(dates(attribute, read));
            facts
        }
        Origin::Slot(_, Reading::Long) if shape.is_some_and(|shape| !shape.fits(&Value::Int(-1))) => {
            where_there(format!("resource.{name} >= 0"))
        }
        Origin::Slot(_, Reading::Texts | Reading::Longs)
            if shape.is_some_and(|s| !s.fits(&Value::Array(Vec::new()))) =>
        {
            where_there(format!("!resource.{name}.isEmpty()"))
        }
        Origin::Slot(..) => Vec::new(),
    }
}

/// A date's text, its first day and its last are all there or none is, and the first is not after the last.
fn dates(attribute: &Attribute, read: &[&Attribute]) -> Vec<String> {
    let mut facts = Vec::new();
    let name = &attribute.name;
    for other in read.iter().filter(|other| other.slot() == attribute.slot() && other.name > *name) {
        let other_name = &other.name;
        facts.push(format!("(resource has {name}) == (resource has {other_name})"));
        let is = |attribute: &Attribute, day: Reading| matches!(attribute.origin, Origin::Slot(_, r) if r == day);
        if is(attribute, Reading::FirstDay) && is(other, Reading::LastDay) {
            facts.push(format!(
                "if resource has {name} && resource has {other_name} then resource.{name} <= resource.{other_name} else true"
            ));
        }
    }
    facts
}

/// What a date that a condition names says of its first and last day.
fn spans(kind: Kind, attribute: &Attribute, read: &[&Attribute], texts: &[String]) -> Vec<String> {
    let (Origin::Slot(slot, Reading::Text), Some(shape)) = (attribute.origin, attribute.shape(kind)) else {
        return Vec::new();
    };
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut facts = Vec::new();
    for text in trial::literals(&texts).0.into_iter().filter(|text| shape.fits(&Value::text(text))) {
        let Some((first, last)) = Edtf::parse(&text).map(|date| date.span()) else { continue };
        for day in read {
            let number = match day.origin {
                Origin::Slot(of, Reading::FirstDay) if of == slot => first,
                Origin::Slot(of, Reading::LastDay) if of == slot => last,
                _ => continue,
            };
            let (name, day) = (&attribute.name, &day.name);
            let is = format!("resource has {name} && resource has {day} && resource.{name} == {}", quoted(&text));
            facts.push(format!("if {is} then resource.{day} == {number} else true"));
        }
    }
    facts
}

fn schema(kind: Kind, read: &[&Attribute]) -> String {
    let name = attribute::type_name(kind);
    let mut out = format!("entity Organisation;\nentity {name} = {{\n");
    for attribute in read {
        let _ = writeln!(out, "  {}?: {},", attribute.name, attribute.cedar_type());
    }
    let _ = writeln!(out, "}};\naction {} appliesTo {{", Action::Release.name());
    let _ = writeln!(out, "  principal: Organisation,\n  resource: {name},\n}};");
    out
}

/// On lines of its own, so that a comment in it ends.
fn lined(text: &str) -> String {
    format!("(\n{text}\n)")
}

fn not(text: &str) -> String {
    format!("!{}", lined(text))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_debug())
}

/// Joined in a balanced way: Cedar walks expressions recursively.
fn joined(operator: &str, parts: &[String]) -> String {
    match parts {
        [] => "true".to_owned(),
        [one] => format!("({one})"),
        more => {
            let (left, right) = more.split_at(more.len() / 2);
            format!("({} {operator} {})", joined(operator, left), joined(operator, right))
        }
    }
}

impl Claim<'_> {
    /// Asks the decider's engine about a record that a solver found.
    pub fn confirm(&self, request: &Request, entities: &Entities) -> Confirmed {
        let record = request.resource().and_then(|uid| entities.get(uid));
        let given: Vec<Option<Given>> = self
            .place
            .slice
            .engine
            .reads()
            .iter()
            .map(|attribute| match attribute.origin {
                Origin::Originator => Some(Given::Organisation(self.own)),
                _ => value(record?.attr(&attribute.name)?.ok()?),
            })
            .collect();
        let texts: Vec<&str> = self.texts.iter().map(String::as_str).collect();
        match self.place.judged(given, &texts, &mut Budget::default()) {
            Some(Leaving { unlikely: Some(field), .. }) => Confirmed::Unlikely(field),
            Some(leaving) => Confirmed::Leaves(leaving),
            None => Confirmed::Stays,
        }
    }

    /// To whom the record would go.
    pub fn partner(&self) -> OrgId {
        self.place.partner
    }
}

fn value(result: EvalResult) -> Option<Given> {
    let text = |value: &EvalResult| if let EvalResult::String(text) = value { Some(text.clone()) } else { None };
    let long = |value: &EvalResult| if let EvalResult::Long(number) = value { Some(*number) } else { None };
    match result {
        EvalResult::Bool(value) => Some(Given::Bool(value)),
        EvalResult::Long(number) => Some(Given::Long(number)),
        EvalResult::String(text) => Some(Given::Text(text)),
        EvalResult::Set(set) if set.iter().all(|item| matches!(item, EvalResult::Long(_))) && !set.is_empty() => {
            set.iter().map(long).collect::<Option<_>>().map(Given::Longs)
        }
        EvalResult::Set(set) => set.iter().map(text).collect::<Option<_>>().map(Given::Texts),
        _ => None,
    }
}
