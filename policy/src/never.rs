//! Whether records, or a field of them, can leave under what is in force; asked of clauses and tried over conditions.
//!
//! A policy administrator asks. That no clause names a field proves that it stays, for every record there may be. Where
//! one does, records are tried ([`never()`]); what is found so is so, and what is not found is no proof. [`crate::claim`]
//! states the same question for a solver, which can prove it.

use crate::{
    analysis,
    attribute::{Attribute, Given, Origin, Reading},
    compile::{Action, Verdict},
    condition::ConditionFault,
    redline::RedLine,
    set::{CompileError, PolicySet, Slice},
};
use entente_protocol::{
    agreement::Agreement,
    id::{AgreementId, OrgId},
    record::{Shape, Tlp, kind::Kind, ladder::Edtf},
    value::Value,
};
use std::collections::{BTreeMap, BTreeSet};

/// What is asked: that records of a kind, or one field of them, never go to a partner, or to anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Property {
    /// The kind.
    pub kind: Kind,
    /// The field's number; none where the record is not to go at all.
    pub slot: Option<u8>,
    /// To whom; none means to anybody.
    pub to: Option<OrgId>,
}

/// What attributes a record has, in the words of conditions, for people.
pub type Example = BTreeMap<String, String>;

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Never {
    /// No clause names it: it stays, of every record there may be.
    Proved,
    /// It leaves, of a record like this, under this clause of this agreement.
    Leaves(Leaving),
    /// A clause names it, and of no combination that was tried it leaves.
    NotFound {
        /// How many were tried.
        tried: usize,
        /// Whether these were all that the conditions can tell apart.
        all: bool,
    },
}

/// A record that leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaving {
    /// The agreement.
    pub agreement: AgreementId,
    /// The clause.
    pub clause: String,
    /// To whom.
    pub to: OrgId,
    /// What conditions and red lines read of it.
    pub example: Example,
    /// A field for which the example gives what no record of the kind holds, if there is one: the values were only tried.
    pub unlikely: Option<String>,
}

/// Records of a kind that meet a condition, and no others: the same set with a red line more, which keeps all that do
/// not meet it. One that lacks a field which the condition reads does not meet it, unless it asks with `has`.
///
/// # Errors
/// The condition, as for a red line.
pub fn meeting(set: &PolicySet, kind: Kind, when: &str) -> Result<PolicySet, ConditionFault> {
    let outside = format!("!(\n{when}\n)");
    let line = RedLine::new("what is not asked about", Action::Release, &[kind], &[], Some(&outside))?;
    let lines: Vec<RedLine> = set.red_lines().iter().cloned().chain([line]).collect();
    let accredited: Vec<String> = set.accredited.iter().cloned().collect();
    let agreements = set.agreements.values().cloned().collect();
    PolicySet::new(set.own(), agreements, &lines, set.partners.clone(), &accredited)
        .map_err(|CompileError::TwoVersions { .. }| ConditionFault::Engine)
}

/// How many records that leave, and that cannot be, are looked at for one like them that can.
const MENDED_MAX: usize = 100;

/// Asks the clauses, then tries records.
pub fn never(set: &PolicySet, property: Property) -> Never {
    let (mut tried, mut all, mut named, mut unlikely, mut mended) = (0, true, false, None, 0);
    for place in places(set, property) {
        named = true;
        let texts = place.texts(set);
        let lists: Vec<Vec<Option<Given>>> = place
            .slice
            .engine
            .reads()
            .iter()
            .map(|attribute| analysis::candidates(property.kind, attribute, &texts))
            .collect();
        let (combinations, whole) = analysis::combinations(&lists);
        all &= whole;
        for given in combinations {
            tried += 1;
            let given = analysis::fill(place.slice, set.own(), given);
            match place.leaves(&given) {
                Some(leaving) if leaving.unlikely.is_none() => return Never::Leaves(leaving),
                Some(_) if mended < MENDED_MAX => {
                    mended += 1;
                    match place.judged(given, &texts) {
                        Some(leaving) if leaving.unlikely.is_none() => return Never::Leaves(leaving),
                        other => unlikely = unlikely.or(other),
                    }
                }
                _ => {}
            }
        }
    }
    match unlikely {
        Some(leaving) => Never::Leaves(leaving),
        None if named => Never::NotFound { tried, all },
        None => Never::Proved,
    }
}

/// Where a property is in question: one agreement, partner and kind, of which some clause names what is asked about.
pub(crate) struct Place<'a> {
    pub(crate) agreement: &'a Agreement,
    pub(crate) slice: &'a Slice,
    pub(crate) partner: OrgId,
    pub(crate) property: Property,
    /// The clauses that name it.
    pub(crate) names: BTreeSet<u16>,
}

/// Every place where a property is in question. None proves it.
pub(crate) fn places(set: &PolicySet, property: Property) -> Vec<Place<'_>> {
    let mut places = Vec::new();
    for ((action, partner, agreement, kind), slice) in &set.slices {
        let asked = property.to.is_none_or(|to| to == *partner);
        if *action != Action::Release || *kind != property.kind || !asked {
            continue;
        }
        let naming = slice.clauses.iter().filter(|c| property.slot.is_none_or(|slot| c.slots.contains(slot)));
        let names: BTreeSet<u16> = naming.map(|c| c.place).collect();
        let Some(governed) = set.agreement(*agreement).filter(|_| !names.is_empty()) else { continue };
        places.push(Place { agreement: &governed.in_force.agreement, slice, partner: *partner, property, names });
    }
    places
}

impl Place<'_> {
    /// The condition of a clause of its slice.
    pub(crate) fn when(&self, place: u16) -> Option<&str> {
        self.agreement.clauses.get(usize::from(place))?.when.as_deref()
    }

    /// The red lines that concern it.
    pub(crate) fn red_lines<'s>(&self, set: &'s PolicySet) -> impl Iterator<Item = &'s RedLine> + use<'s> {
        let (kind, partner) = (self.property.kind, self.partner);
        set.red_lines().iter().filter(move |line| line.concerns(Action::Release, kind, partner))
    }

    /// The conditions of its clauses and red lines.
    pub(crate) fn texts<'s>(&'s self, set: &'s PolicySet) -> Vec<&'s str> {
        let whens = self.slice.clauses.iter().filter_map(|c| self.when(c.place));
        whens.chain(self.red_lines(set).filter_map(RedLine::when)).collect()
    }

    /// What the decider's engine says of one record: that it leaves with what is asked about, and by which clause.
    pub(crate) fn leaves(&self, given: &[Option<Given>]) -> Option<Leaving> {
        let Verdict::Clauses(places) = self.slice.engine.judge(given) else { return None };
        let read = || self.slice.engine.reads().iter().zip(given);
        // A field that the record does not have does not leave.
        let lacks = |(attribute, value): (&&Attribute, &Option<Given>)| {
            self.property.slot.is_some_and(|slot| attribute.slot() == Some(slot)) && value.is_none()
        };
        if read().any(lacks) {
            return None;
        }
        let label =
            read().find(|(attribute, _)| attribute.origin == Origin::Tlp).map(|(_, value)| is_red(value.as_ref()));
        // Where no condition reads the label, each record stands for a red one and for another.
        for red in [false, true].into_iter().filter(|red| label.is_none_or(|label| label == *red)) {
            let decides = self.slice.clauses.iter().find(|c| places.contains(&c.place) && (c.red || !red));
            let Some(covered) = decides.filter(|c| self.names.contains(&c.place)) else { continue };
            let clause = self.agreement.clauses.get(usize::from(covered.place)).map(|c| c.name.clone());
            return Some(Leaving {
                agreement: self.agreement.id,
                clause: clause.unwrap_or_default(),
                to: self.partner,
                example: read().map(|(a, value)| (a.name.clone(), shown(value.as_ref()))).collect(),
                unlikely: unlikely(self.property.kind, self.slice.engine.reads(), given),
            });
        }
        None
    }
}

impl Place<'_> {
    /// What the engine says of a record, as [`Place::leaves`]. Who made it up knows little of what fields hold (a country is
    /// any text to a solver): where a value is none, others are tried in its place, and the engine judges each.
    pub(crate) fn judged(&self, mut given: Vec<Option<Given>>, texts: &[&str]) -> Option<Leaving> {
        let mut leaving = self.leaves(&given)?;
        // Each round mends one attribute, so this ends.
        for _ in self.slice.engine.reads() {
            let Some(field) = leaving.unlikely.clone() else { break };
            let better = |other: &Vec<Option<Given>>| {
                self.leaves(other)?.unlikely.is_none_or(|still| still != field).then_some(())
            };
            let Some(other) = self.others(&field, &given, texts).into_iter().find(|other| better(other).is_some())
            else {
                break;
            };
            leaving = self.leaves(&other)?;
            given = other;
        }
        Some(leaving)
    }

    /// The record with other values of one attribute; of a date with all that is read of it.
    fn others(&self, field: &str, given: &[Option<Given>], texts: &[&str]) -> Vec<Vec<Option<Given>>> {
        let (kind, reads) = (self.property.kind, self.slice.engine.reads());
        let Some((at, attribute)) = reads.iter().enumerate().find(|(_, a)| a.name == field) else { return Vec::new() };
        let put = |values: &[(usize, Option<Given>)]| {
            let mut other = given.to_vec();
            for (at, value) in values {
                other.get_mut(*at).into_iter().for_each(|place| place.clone_from(value));
            }
            other
        };
        let mut others: Vec<_> =
            analysis::candidates(kind, attribute, texts).into_iter().map(|value| put(&[(at, value)])).collect();
        let Some(shape @ (Shape::Edtf | Shape::Month | Shape::Year)) = attribute.shape(kind) else { return others };
        for text in analysis::dates(texts).into_iter().filter(|text| shape.fits(&Value::text(text))) {
            let Some((first, last)) = Edtf::parse(&text).map(|date| date.span()) else { continue };
            let of = |reading: Reading| match reading {
                Reading::FirstDay => Given::Long(first.into()),
                Reading::LastDay => Given::Long(last.into()),
                _ => Given::Text(text.clone()),
            };
            let parts = reads.iter().enumerate().filter_map(|(at, part)| match part.origin {
                Origin::Slot(slot, reading) if Some(slot) == attribute.slot() => Some((at, Some(of(reading)))),
                _ => None,
            });
            others.push(put(&parts.collect::<Vec<_>>()));
        }
        others
    }
}

fn is_red(label: Option<&Given>) -> bool {
    matches!(label, Some(Given::Text(text)) if text == Tlp::Red.name())
}

/// The first attribute whose value no record of the kind has, if there is one.
pub(crate) fn unlikely(kind: Kind, reads: &[&'static Attribute], given: &[Option<Given>]) -> Option<String> {
    let of = |slot: u8, reading: Reading| {
        let at = reads.iter().position(|a| a.origin == Origin::Slot(slot, reading))?;
        Some(given.get(at)?.as_ref())
    };
    let wrong = |(attribute, value): &(&&'static Attribute, &Option<Given>)| {
        let alone = value.as_ref().is_none_or(|value| holds(kind, attribute, value));
        let Some(slot) = attribute.slot() else { return !alone };
        let dates = [Reading::Text, Reading::FirstDay, Reading::LastDay].map(|reading| of(slot, reading));
        !alone || !together(attribute.shape(kind), dates)
    };
    reads.iter().zip(given).find(wrong).map(|(attribute, _)| attribute.name.clone())
}

/// Whether a field of this shape may hold a value, seen alone.
fn holds(kind: Kind, attribute: &Attribute, value: &Given) -> bool {
    let fits = |value: Value| attribute.shape(kind).is_none_or(|shape| shape.fits(&value));
    match (attribute.origin, value) {
        (Origin::Tlp, Given::Text(text)) => Tlp::from_name(text).is_some_and(|tlp| tlp.name() == text),
        (Origin::Class, Given::Text(text)) => !text.is_empty(),
        (Origin::Slot(_, Reading::FirstDay | Reading::LastDay), Given::Long(day)) => (0..=99_991_231).contains(day),
        (Origin::Slot(_, Reading::Finding), Given::Text(text)) => match attribute.shape(kind) {
            Some(Shape::Finding(codes)) => codes.contains(&text.as_str()),
            _ => false,
        },
        (_, Given::Text(text)) => fits(Value::text(text)),
        (_, Given::Long(number)) => fits(Value::Int(*number)),
        (_, Given::Texts(texts)) => fits(Value::Array(texts.iter().map(Value::text).collect())),
        (_, Given::Longs(numbers)) => fits(Value::Array(numbers.iter().copied().map(Value::Int).collect())),
        (_, Given::Bool(_) | Given::Organisation(_)) => true,
    }
}

/// Whether what is read of one date agrees: its text, its first day, its last. The outer `None` is what is not read.
fn together(shape: Option<Shape>, [text, first, last]: [Option<Option<&Given>>; 3]) -> bool {
    if !matches!(shape, Some(Shape::Edtf | Shape::Month | Shape::Year)) {
        return true;
    }
    let read: Vec<bool> = [text, first, last].into_iter().flatten().map(|value| value.is_some()).collect();
    let alike = read.iter().all(|present| read.first() == Some(present));
    let day = |of: Option<Option<&Given>>| if let Some(Some(Given::Long(day))) = of { Some(*day) } else { None };
    let span = match text {
        Some(Some(Given::Text(text))) => Edtf::parse(text).map(|date| date.span()),
        _ => None,
    };
    let ordered = day(first).is_none_or(|first| day(last).is_none_or(|last| first <= last));
    let spans = span.is_none_or(|(begin, end)| {
        day(first).is_none_or(|first| first == i64::from(begin)) && day(last).is_none_or(|last| last == i64::from(end))
    });
    alike && ordered && spans
}

fn shown(given: Option<&Given>) -> String {
    match given {
        None => "(none)".to_owned(),
        Some(Given::Organisation(_)) => "our own".to_owned(),
        Some(Given::Bool(value)) => value.to_string(),
        Some(Given::Long(value)) => value.to_string(),
        Some(Given::Text(text)) => text.clone(),
        Some(Given::Texts(texts)) => texts.join(", "),
        Some(Given::Longs(numbers)) => numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::tests::{agreement, clause, line, org};

    fn set(lines: &[RedLine], clauses: &str) -> PolicySet {
        analysis::set_of(&agreement("", clauses), org(1), lines).unwrap()
    }

    fn item(field: &str, to: Option<OrgId>) -> Property {
        Property { kind: Kind::Item, slot: Some(Kind::Item.slot(field).unwrap().number), to }
    }

    #[test]
    fn a_field_that_no_clause_names_is_proved_to_stay_and_one_that_is_named_leaves_by_example() {
        let belgian = r#"resource.make_country == "BE" && resource.type != "pistol""#;
        let free = set(&[], &clause("one", belgian, ""));
        assert_eq!(never(&free, item("serial", None)), Never::Proved);
        assert_eq!(never(&free, item("type", Some(org(9)))), Never::Proved);
        let Never::Leaves(Leaving { clause: by, to, example, unlikely, .. }) = never(&free, item("type", None)) else {
            panic!("it leaves");
        };
        assert_eq!((by.as_str(), to, example["make_country"].as_str(), unlikely), ("one", org(2), "BE", None));
        assert!(Kind::Item.slot("type").unwrap().shape.fits(&Value::text(&example["type"])), "{example:?}");
        // A red line keeps it back, and that was tried out whole.
        let bars = line("l", Some(r#"resource.make_country like "B*""#));
        let barred = never(&set(&[bars], &clause("one", belgian, "")), item("type", None));
        assert!(matches!(barred, Never::NotFound { tried: 1.., all: true }), "{barred:?}");
    }

    #[test]
    fn a_field_that_the_record_lacks_does_not_leave_and_the_label_decides_whether_it_is_red() {
        let lacks = set(&[], &clause("one", "!(resource has type)", ""));
        assert!(matches!(never(&lacks, item("type", None)), Never::NotFound { all: true, .. }));
        // The second decides about red records only, of which its condition is never true.
        let red = [clause("one", "", ""), clause("two", r#"resource.tlp != "RED""#, "red = true")].concat();
        let red = set(&[], &red.replacen("\"make-country\"", "\"condition\"", 1));
        assert!(matches!(never(&red, item("make-country", None)), Never::NotFound { all: true, .. }));
    }

    #[test]
    fn records_that_meet_a_condition_are_asked_about_alone() {
        let all = set(&[], &clause("one", r#"resource.make_country == "BE""#, ""));
        let whole = Property { kind: Kind::Item, slot: None, to: None };
        assert!(matches!(never(&all, whole), Never::Leaves(_)));
        let french = meeting(&all, Kind::Item, r#"resource.make_country == "FR""#).unwrap();
        assert!(matches!(never(&french, whole), Never::NotFound { all: true, .. }));
        let pistols = meeting(&all, Kind::Item, r#"resource.type == "pistol""#).unwrap();
        let Never::Leaves(Leaving { example, .. }) = never(&pistols, whole) else { panic!("it leaves") };
        assert_eq!((example["make_country"].as_str(), example["type"].as_str()), ("BE", "pistol"));
        assert!(meeting(&all, Kind::Item, "resource.colour == 1").is_err());
    }

    #[test]
    fn what_no_record_holds_is_called_so() {
        let attribute = |name: &str| crate::attribute::attribute(Kind::Item, name).unwrap();
        let text = |text: &str| Some(Given::Text(text.to_owned()));
        let check = |names: &[&str], given: &[Option<Given>], wrong: Option<&str>| {
            let reads: Vec<_> = names.iter().map(|name| attribute(name)).collect();
            assert_eq!(unlikely(Kind::Item, &reads, given).as_deref(), wrong, "{names:?}");
        };
        check(&["make_country"], &[text("BE")], None);
        check(&["make_country"], &[text("another")], Some("make_country"));
        check(&["tlp", "type"], &[text("WHITE"), None], Some("tlp"));
        check(&["type"], &[text("pistol of a kind")], Some("type"));
        let date = ["year", "year_first", "year_last"];
        let day = |n| Some(Given::Long(n));
        check(&date, &[text("2021"), day(20_210_101), day(20_211_231)], None);
        check(&date, &[text("2021"), day(20_210_101), day(20_211_230)], Some("year"));
        check(&date[1..], &[day(20_210_102), day(20_210_101)], Some("year_first"));
        check(&date[..2], &[text("2021"), None], Some("year"));
    }
}
