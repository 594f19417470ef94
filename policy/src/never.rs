//! Whether records, or a field of them, can leave under what is in force; asked of clauses and tried over conditions.
//!
//! A policy administrator asks. That no clause gives a field proves that it stays, for every record there may be. Where
//! one does, records are tried ([`never()`]); what is found so is so, and what is not found is no proof. [`crate::claim`]
//! states the same question for a solver, which can prove it.

use crate::{
    attribute::{Attribute, Given, Origin, Reading},
    compile::{Action, Verdict},
    condition::ConditionFault,
    disclose::{self, Hangs},
    likely::unlikely,
    redline::RedLine,
    set::{CompileError, Covered, Governed, PolicySet, Slice},
    trial::{self, Budget, Trial},
};
use entente_protocol::{
    agreement::Agreement,
    id::{AgreementId, OrgId},
    record::{
        Shape, Tlp,
        kind::{Kind, Slot},
        ladder::Edtf,
    },
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

impl Property {
    fn field(self) -> Option<&'static Slot> {
        self.kind.slot_number(self.slot?)
    }
}

/// What attributes a record has, in the words of conditions, for people.
pub type Example = BTreeMap<String, String>;

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Never {
    /// No clause gives it: it stays, of every record there may be.
    Proved,
    /// It leaves, of a record like this, under this clause of this agreement.
    Leaves(Leaving),
    /// A clause gives it, and of no combination that was tried it leaves.
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
    /// Whether what is asked about names other records: it goes where those were given before, which is assumed.
    pub refers: bool,
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
    with(set, &lines, |_| true)
}

/// The same set, of these agreements alone.
///
/// # Errors
/// None that the set itself did not have.
pub fn of(set: &PolicySet, wanted: impl Fn(&Governed) -> bool) -> Result<PolicySet, ConditionFault> {
    with(set, set.red_lines(), wanted)
}

fn with(set: &PolicySet, lines: &[RedLine], wanted: impl Fn(&Governed) -> bool) -> Result<PolicySet, ConditionFault> {
    let accredited: Vec<String> = set.accredited.iter().cloned().collect();
    let agreements = set.agreements.values().filter(|governed| wanted(governed)).cloned().collect();
    PolicySet::new(set.own(), agreements, lines, set.partners.clone(), &accredited)
        .map_err(|CompileError::TwoVersions { .. }| ConditionFault::Engine)
}

/// How many records that leave, and that cannot be, are looked at for one like them that can.
const MENDED_MAX: usize = 100;

/// Asks the clauses, then tries records.
pub fn never(set: &PolicySet, property: Property) -> Never {
    within(set, property, &mut Budget::default())
}

/// The same with what is left of a budget, for whoever asks several questions at once.
pub fn within(set: &PolicySet, property: Property, budget: &mut Budget) -> Never {
    let (mut tried, mut all, mut unlikely, mut mended) = (0, true, None, 0);
    let places = places(set, property);
    if places.is_empty() {
        return Never::Proved;
    }
    let mut parts = places.len();
    for place in places {
        let texts = place.texts(set);
        let trial = Trial::new(property.kind, place.slice, &texts);
        let (records, whole) = trial.records(budget.share(parts, 1));
        parts = parts.saturating_sub(1);
        all &= whole;
        for given in records {
            if !budget.spend() {
                all = false;
                break;
            }
            tried += 1;
            let given = trial::fill(place.slice, set.own(), given);
            match place.leaves(&given) {
                Some(leaving) if leaving.unlikely.is_none() => return Never::Leaves(leaving),
                Some(_) if mended < MENDED_MAX => {
                    mended += 1;
                    match place.judged(given, &texts, budget) {
                        Some(leaving) if leaving.unlikely.is_none() => return Never::Leaves(leaving),
                        other => unlikely = unlikely.or(other),
                    }
                }
                _ => {}
            }
        }
    }
    unlikely.map_or(Never::NotFound { tried, all }, Never::Leaves)
}

/// Where a property is in question: one agreement, partner and kind, of which some clause gives what is asked about.
pub(crate) struct Place<'a> {
    pub(crate) agreement: &'a Agreement,
    pub(crate) slice: &'a Slice,
    pub(crate) partner: OrgId,
    pub(crate) property: Property,
    /// The clauses that give it, of some record.
    pub(crate) names: BTreeSet<u16>,
}

/// Every place where a property is in question. None proves it.
pub(crate) fn places(set: &PolicySet, property: Property) -> Vec<Place<'_>> {
    let mut places = Vec::new();
    for ((action, partner, agreement, kind), slice) in set.slices.iter() {
        let asked = property.to.is_none_or(|to| to == *partner);
        if *action != Action::Release || *kind != property.kind || !asked {
            continue;
        }
        let giving = slice.clauses.iter().filter(|c| asked_of(property, c).next().is_some());
        let names: BTreeSet<u16> = giving.map(|c| c.place).collect();
        let Some(governed) = set.agreement(*agreement).filter(|_| !names.is_empty()) else { continue };
        places.push(Place { agreement: &governed.in_force.agreement, slice, partner: *partner, property, names });
    }
    places
}

/// The fields that are asked about and that a clause gives of some record, and on what of the record that hangs. Where
/// it is asked whether the record leaves at all, any field of the clause is one.
pub(crate) fn asked_of<'c>(property: Property, covered: &'c Covered) -> impl Iterator<Item = (u8, Hangs<'c>)> {
    let asked = covered.slots.iter().filter(move |slot| property.slot.is_none_or(|asked| asked == *slot));
    asked.filter_map(move |slot| Some((slot, disclose::gives(covered, property.kind, slot)?)))
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
        let label =
            read().find(|(attribute, _)| attribute.origin == Origin::Tlp).map(|(_, value)| is_red(value.as_ref()));
        // Where no condition reads the label, each record stands for a red one and for another.
        for red in [false, true].into_iter().filter(|red| label.is_none_or(|label| label == *red)) {
            let decides = self.slice.clauses.iter().find(|c| places.contains(&c.place) && (c.red || !red));
            let given_by = |c: &Covered| asked_of(self.property, c).find_map(|asked| self.goes(asked, given));
            let Some((covered, besides)) = decides.and_then(|c| Some((c, given_by(c)?))) else { continue };
            let clause = self.agreement.clauses.get(usize::from(covered.place)).map(|c| c.name.clone());
            let mut example: Example = read().map(|(a, value)| (a.name.clone(), shown(value.as_ref()))).collect();
            example.extend(besides);
            return Some(Leaving {
                agreement: self.agreement.id,
                clause: clause.unwrap_or_default(),
                to: self.partner,
                example,
                unlikely: unlikely(self.property.kind, self.slice.engine.reads(), given),
                refers: self.property.field().is_some_and(disclose::always_refers),
            });
        }
        None
    }

    /// Whether a field goes of a record like this, as far as conditions read it: that it is there, and that the record is
    /// what it hangs on. Gives what the record has to be besides, where nothing reads that.
    fn goes(&self, (slot, hangs): (u8, Hangs<'_>), given: &[Option<Given>]) -> Option<Option<(String, String)>> {
        let read = |slot: u8| {
            let all = self.slice.engine.reads().iter().zip(given);
            let of_slot = move |a: &Attribute| a.slot() == Some(slot) && a.tells_presence();
            all.filter(move |(attribute, _)| of_slot(attribute)).map(|(_, value)| value.as_ref())
        };
        // A field that the record does not have does not leave.
        if read(slot).any(|value| value.is_none()) {
            return None;
        }
        let kind = self.property.kind;
        let (on, allowed): (Option<u8>, Vec<&str>) = match hangs {
            Hangs::Nothing => return Some(None),
            Hangs::NoPerson => (disclose::ptype(kind), no_persons(kind)),
            Hangs::Role(files) => (disclose::role_slot(), files.iter().map(String::as_str).collect()),
        };
        let on = kind.slot_number(on?)?;
        match read(on.number).next() {
            Some(value) => matches!(value, Some(Given::Text(text)) if allowed.contains(&text.as_str())).then_some(None),
            None => Some(Some((on.name.to_owned(), (*allowed.first()?).to_owned()))),
        }
    }
}

impl Place<'_> {
    /// What the engine says of a record, as [`Place::leaves`]. Who made it up knows little of what fields hold (a country is
    /// any text to a solver): where a value is none, others are tried in its place, and the engine judges each.
    pub(crate) fn judged(&self, mut given: Vec<Option<Given>>, texts: &[&str], budget: &mut Budget) -> Option<Leaving> {
        let mut leaving = self.leaves(&given)?;
        // Each round mends one attribute, so this ends.
        for _ in self.slice.engine.reads() {
            let Some(field) = leaving.unlikely.clone() else { break };
            let mut others = self.others(&field, &given, texts).into_iter().take_while(|_| budget.spend());
            let better = |other: &Vec<Option<Given>>| {
                self.leaves(other)?.unlikely.is_none_or(|still| still != field).then_some(())
            };
            let Some(other) = others.find(|other| better(other).is_some()) else { break };
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
            trial::candidates(kind, attribute, texts).into_iter().map(|value| put(&[(at, value)])).collect();
        let Some(shape @ (Shape::Edtf | Shape::Month | Shape::Year)) = attribute.shape(kind) else { return others };
        for text in trial::dates(texts).into_iter().filter(|text| shape.fits(&Value::text(text))) {
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

/// What a party may be that is no natural person.
pub(crate) fn no_persons(kind: Kind) -> Vec<&'static str> {
    let shape = disclose::ptype(kind).and_then(|slot| kind.slot_number(slot)).map(|slot| slot.shape);
    let Some(Shape::Code(codes)) = shape else { return Vec::new() };
    codes.iter().copied().filter(|code| !disclose::is_person(&Value::text(*code))).collect()
}

fn is_red(label: Option<&Given>) -> bool {
    matches!(label, Some(Given::Text(text)) if text == Tlp::Red.name())
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
    use crate::{
        analysis,
        analysis::tests::{agreement, clause, line, org},
    };

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
        // A red line keeps it back, and that was tried out whole; of a pattern no few values are all.
        for (bars, whole) in [(r#"resource.make_country == "BE""#, true), (r#"resource.make_country like "B*""#, false)]
        {
            let barred = never(&set(&[line("l", Some(bars))], &clause("one", belgian, "")), item("type", None));
            assert!(matches!(barred, Never::NotFound { tried: 1.., all } if all == whole), "{bars}: {barred:?}");
        }
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

    /// Story: a clause names a field, and the decider withholds it all the same: of a person where the clause does not name
    /// it in `personal`, of a file whose role the clause does not give. It was said to leave.
    #[test]
    fn a_field_that_is_named_and_withheld_is_not_said_to_leave() {
        let of = |kind: &str, fields: &str, more: &str| {
            format!(
                "[[clause]]\nname = \"one\"\nfrom = \"a\"\nto = [\"b\"]\nonward = \"never\"\nretention-days = 30\n{more}\n\
                 disclose.{kind} = [{fields}]\n"
            )
        };
        let asked = |kind: Kind, field: &str| Property { kind, slot: kind.slot(field).map(|s| s.number), to: None };
        let when = |set: &PolicySet, property: Property, when: &str| {
            never(&meeting(set, property.kind, when).unwrap(), property)
        };
        let stays = |answer: Never| assert!(matches!(answer, Never::NotFound { all: true, .. }), "{answer:?}");
        let leaves = |answer: Never, key: &str, value: &str| {
            let Never::Leaves(Leaving { example, .. }) = answer else { panic!("{answer:?}") };
            assert_eq!(example[key], value, "{example:?}");
        };
        let person = r#"resource.ptype == "person""#;
        let name = asked(Kind::Party, "name");
        let companies = set(&[], &of("party", r#""number", "ptype", "name""#, ""));
        stays(when(&companies, name, person));
        leaves(when(&companies, name, r#"resource.ptype == "company""#), "ptype", "company");
        leaves(never(&companies, name), "ptype", "state-body");
        let personal = r#"personal = [{ kind = "party", slot = "name", purpose = "p", retention-days = 9 }]"#;
        let persons = set(&[], &of("party", r#""number", "ptype", "name""#, personal));
        leaves(when(&persons, name, person), "ptype", "person");
        // Of persons nothing is left where the name is all that there is.
        let only = set(&[], &of("party", r#""name""#, ""));
        stays(when(&only, Property { slot: None, ..name }, person));

        let content = asked(Kind::Attachment, "content");
        let fields = r#""number", "role", "content""#;
        let stripped = set(&[], &of("attachment", fields, r#"files = ["stripped"]"#));
        stays(when(&stripped, content, r#"resource.role == "original""#));
        leaves(when(&stripped, content, r#"resource.role != "original""#), "role", "stripped");
        leaves(never(&stripped, content), "role", "stripped");
        let thumbs = set(&[], &of("attachment", fields, r#"files = ["thumbnail"]"#));
        leaves(when(&thumbs, content, r#"resource.role != "original""#), "role", "thumbnail");
        let Never::Leaves(leaving) = never(&stripped, asked(Kind::Attachment, "role")) else { panic!("it leaves") };
        assert!(!leaving.refers);
    }

    /// What a field names must have been given before; that is assumed, and said.
    #[test]
    fn a_field_that_names_records_leaves_by_an_assumption() {
        let refers = clause("one", "", "").replacen("\"type\"", "\"supersedes\"", 1);
        let Never::Leaves(leaving) = never(&set(&[], &refers), item("supersedes", None)) else { panic!("it leaves") };
        assert!(leaving.refers);
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

    /// Story: so many records were tried of each clause, kind and partner, however many of these there were.
    #[test]
    fn what_is_tried_ends_with_the_budget_and_is_then_not_all() {
        let barred = set(&[line("l", Some("resource.bore_um >= 0"))], &clause("one", "resource.bore_um > 9", ""));
        assert!(matches!(never(&barred, item("type", None)), Never::NotFound { all: true, .. }));
        let mut budget = Budget::of(3);
        assert_eq!(within(&barred, item("type", None), &mut budget), Never::NotFound { tried: 3, all: false });
        assert_eq!(within(&barred, item("type", None), &mut budget), Never::NotFound { tried: 0, all: false });
    }
}
