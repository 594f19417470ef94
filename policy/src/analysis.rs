//! What an agreement's text cannot mean: clauses that never decide, and why.
//!
//! A drafter calls it before anybody signs ([`findings`]); [`crate::never`] tries conditions in the same way. Each
//! attribute that a condition or a red line reads takes the values that their texts name, their neighbours, another one,
//! and none ([`crate::trial`]). What was found is so; what was not found is so where all was tried that the conditions can
//! tell apart, and is else said of what was tried alone.

use crate::{
    attribute::Attribute,
    compile::{Action, Verdict},
    redline::RedLine,
    set::{Governed, PartnerState, PolicySet, Slice},
    trial::{self, Budget, Trial},
};
use entente_protocol::{
    agreement::{Agreement, Clause, Duty, InForce, Obligation, Onward, Standing},
    id::{AgreementDigest, OrgId},
    record::{Tlp, kind::Kind},
    time::DAY_MS,
};
use std::collections::{BTreeMap, BTreeSet};

/// Something to look at before an agreement is signed. None of it refuses the agreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The clause, where it is about one.
    pub clause: Option<String>,
    /// A stable name of what was found.
    pub code: &'static str,
    /// In words.
    pub says: String,
}

pub(crate) fn set_of(agreement: &Agreement, own: OrgId, red_lines: &[RedLine]) -> Option<PolicySet> {
    let in_force = InForce { agreement: agreement.clone(), digest: AgreementDigest::from_bytes([0; 32]) };
    let partners =
        agreement.parties.iter().map(|p| (p.id, PartnerState::Active)).filter(|(id, _)| *id != own).collect();
    PolicySet::new(own, vec![Governed { in_force, standing: Standing::Active }], red_lines, partners, &[]).ok()
}

/// What was seen of the clauses that release.
#[derive(Default)]
struct Seen {
    /// Clauses that apply to some combination, by place.
    applies: BTreeSet<u16>,
    /// Clauses that decide about some: no clause before them applies, or none that may carry it.
    decides: BTreeSet<u16>,
    /// Clauses that decide about some where no red line holds.
    passes: BTreeSet<u16>,
    /// Red lines that held where a clause would have decided.
    barred_by: BTreeMap<u16, BTreeSet<usize>>,
    /// Records that were tried.
    tried: usize,
    /// Whether these stand for all.
    all: bool,
}

impl Seen {
    fn nothing() -> Self {
        Self { all: true, ..Self::default() }
    }
}

/// Tries up to `most` records; each takes two decisions.
fn look(own: OrgId, trial: &Trial, [free, barred]: [&Slice; 2], most: usize, budget: &mut Budget) -> Seen {
    let mut seen = Seen::nothing();
    let (records, all) = trial.records(most);
    seen.all = all;
    for given in records {
        if !(budget.spend() && budget.spend()) {
            seen.all = false;
            break;
        }
        seen.tried += 1;
        let given = trial::fill(barred, own, given);
        let of = |attribute: &&'static Attribute| {
            let at = barred.engine.reads().iter().position(|known| known == attribute);
            at.and_then(|at| given.get(at)).cloned().flatten()
        };
        let Verdict::Clauses(places) = free.engine.judge(&free.engine.reads().iter().map(of).collect::<Vec<_>>())
        else {
            continue;
        };
        seen.applies.extend(places.iter());
        let verdict = barred.engine.judge(&given);
        // TLP:RED passes over clauses that do not carry it: each combination stands for a red record and for another.
        for red in [false, true] {
            let carries = |covered: &&crate::set::Covered| places.contains(&covered.place) && (covered.red || !red);
            let Some(first) = free.clauses.iter().find(carries) else { continue };
            seen.decides.insert(first.place);
            match verdict {
                Verdict::Clauses(_) => drop(seen.passes.insert(first.place)),
                Verdict::RedLine(line) => drop(seen.barred_by.entry(first.place).or_default().insert(line)),
                _ => {}
            }
        }
    }
    seen
}

/// What is to be looked at in an agreement before it is signed. `red_lines` are those of `own`; `country` says whether a
/// code is one.
pub fn findings(
    agreement: &Agreement,
    own: OrgId,
    red_lines: &[RedLine],
    country: &dyn Fn(&str) -> bool,
) -> Vec<Finding> {
    within(agreement, own, red_lines, country, &mut Budget::default())
}

/// The same with so many decisions.
fn within(
    agreement: &Agreement,
    own: OrgId,
    red_lines: &[RedLine],
    country: &dyn Fn(&str) -> bool,
    budget: &mut Budget,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let (seen, whole) = tried(agreement, own, red_lines, budget);
    for (place, seen) in seen {
        let Some(clause) = agreement.clauses.get(usize::from(place)) else { continue };
        found.extend(useless(clause, place, &seen, red_lines));
    }
    if !whole {
        let says = "it has so many clauses, kinds and receivers that not all of them were tried with as many records as \
                    their conditions ask for; what is not found here may still be there";
        found.push(Finding { clause: None, code: "not-all-tried", says: says.to_owned() });
    }
    agreement.clauses.iter().for_each(|clause| found.extend(unknown_countries(clause, country)));
    found.extend(terms(agreement));
    found
}

/// How many kinds each party releases to each other one.
fn slices(agreement: &Agreement) -> usize {
    let ids = || agreement.parties.iter().map(|party| party.id);
    let kinds = |from: OrgId, to: OrgId| {
        let kinds = agreement.releasing(from, to).flat_map(|(_, clause)| clause.disclose.iter().map(|d| d.kind));
        kinds.collect::<BTreeSet<Kind>>().len()
    };
    ids().map(|from| ids().filter(|to| *to != from).map(|to| kinds(from, to)).sum::<usize>()).sum()
}

/// What was seen of each clause by its place, and whether the budget was enough.
fn tried(agreement: &Agreement, own: OrgId, red_lines: &[RedLine], budget: &mut Budget) -> (BTreeMap<u16, Seen>, bool) {
    let mut seen: BTreeMap<u16, Seen> = BTreeMap::new();
    let (mut parts, mut whole) = (slices(agreement), true);
    for giver in agreement.parties.iter().map(|party| party.id) {
        let lines = if giver == own { red_lines } else { &[] };
        let Some(free) = set_of(agreement, giver, &[]) else { continue };
        let barred = if lines.is_empty() { None } else { set_of(agreement, giver, lines) };
        let barred = barred.as_ref().unwrap_or(&free);
        for (key @ (_, partner, _, kind), slice) in
            free.slices.iter().filter(|((action, ..), _)| *action == Action::Release)
        {
            let Some(with_lines) = barred.slices.get(key) else { continue };
            let concerning = lines.iter().filter(|line| line.concerns(Action::Release, *kind, *partner));
            let clauses =
                slice.clauses.iter().filter_map(|c| agreement.clauses.get(usize::from(c.place))?.when.as_deref());
            let texts: Vec<&str> = clauses.chain(concerning.filter_map(RedLine::when)).collect();
            let share = budget.share(parts, 2);
            parts = parts.saturating_sub(1);
            let trial = Trial::new(*kind, with_lines, &texts);
            let of_slice = look(giver, &trial, [slice, with_lines], share, budget);
            whole &= of_slice.tried < share || of_slice.all || share == trial::TRIED_MAX;
            // A clause that decides for one kind or receiver has its use.
            for covered in &slice.clauses {
                let all = seen.entry(covered.place).or_insert_with(Seen::nothing);
                let has = |set: &BTreeSet<u16>| set.contains(&covered.place);
                all.all &= of_slice.all;
                all.tried += of_slice.tried;
                all.applies.extend(has(&of_slice.applies).then_some(covered.place));
                all.decides.extend(has(&of_slice.decides).then_some(covered.place));
                all.passes.extend(has(&of_slice.passes).then_some(covered.place));
                let barred = of_slice.barred_by.get(&covered.place).into_iter().flatten();
                all.barred_by.entry(covered.place).or_default().extend(barred);
            }
        }
    }
    (seen, whole)
}

/// Why a clause that releases never decides, if it does not. Where not all was tried that is said of what was.
fn useless(clause: &Clause, place: u16, seen: &Seen, red_lines: &[RedLine]) -> Option<Finding> {
    let finding = |code, says| Some(Finding { clause: Some(clause.name.clone()), code, says });
    // Of nothing that was tried nothing can be said.
    if seen.tried == 0 {
        return None;
    }
    let (all, tried) = (seen.all, seen.tried);
    if !seen.applies.contains(&place) {
        let says = match all {
            true => "its condition holds for no record: it gives nothing".to_owned(),
            false => format!("it was not found to give anything: its condition held for none of {tried} records tried"),
        };
        return finding("never-applies", says);
    }
    if !seen.decides.contains(&place) {
        let says = match all {
            true => "whatever it covers, a clause before it covers too, and the first one decides".to_owned(),
            false => format!(
                "it was not found to decide: of {tried} records tried, a clause before it covered all that it covers"
            ),
        };
        return finding("hidden-by-a-clause", says);
    }
    if !seen.passes.contains(&place) {
        let names: Vec<&str> = seen
            .barred_by
            .get(&place)
            .into_iter()
            .flatten()
            .filter_map(|line| Some(red_lines.get(*line)?.name()))
            .collect();
        let names = names.join(", ");
        let says = match all {
            true => format!("red lines of this organisation forbid all of it: {names}"),
            false => format!(
                "it was not found to give anything: of {tried} records tried, red lines of this organisation forbade all \
                 that it covers: {names}"
            ),
        };
        return finding("hidden-by-a-red-line", says);
    }
    None
}

/// Two capital letters that a condition compares with a country, and that are none.
fn unknown_countries(clause: &Clause, country: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let Some(when) = clause.when.as_deref().filter(|when| when.contains("country")) else { return Vec::new() };
    let (strings, _) = trial::literals(&[when]);
    let is_code = |text: &&String| text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase());
    let unknown = strings.iter().filter(is_code).filter(|code| !country(code));
    unknown
        .map(|code| Finding {
            clause: Some(clause.name.clone()),
            code: "unknown-country",
            says: format!("`{code}` is no country's code (ISO 3166-1): a record with it would not be imported"),
        })
        .collect()
}

/// Terms of the whole that contradict each other.
fn terms(agreement: &Agreement) -> Vec<Finding> {
    let mut found = Vec::new();
    let lasts = agreement.until.0.saturating_sub(agreement.from.0) / DAY_MS;
    let mut note = |clause: Option<&Clause>, code, says: String| {
        found.push(Finding { clause: clause.map(|c| c.name.clone()), code, says });
    };
    if u64::from(agreement.notice_days) > lasts {
        let says =
            format!("its notice of {} days is longer than the {lasts} days that it lasts", agreement.notice_days);
        note(None, "notice-too-long", says);
    }
    let erases = agreement.obligations.contains(&Obligation::EraseAtEnd);
    if agreement.survival_days.is_some() && agreement.obligations.is_empty() {
        note(None, "nothing-survives", "`survival-days` is set, and no obligation that could go on".to_owned());
    }
    for clause in &agreement.clauses {
        let kept = u64::from(clause.retention_days);
        let end = lasts + u64::from(agreement.survival_days.unwrap_or_default());
        if erases && kept > end {
            let says =
                format!("it lets records be kept for {kept} days, and everything is erased after {end} at the latest");
            note(Some(clause), "kept-beyond-erasure", says);
        }
        if agreement.lease_hours.is_some_and(|hours| u64::from(hours) > kept * 24) {
            let says = format!(
                "the lease is longer than the {kept} days for which its records are kept, and never locks them"
            );
            note(Some(clause), "lease-too-long", says);
        }
        let red = clause.handling.as_ref().is_some_and(|handling| handling.tlp == Some(Tlp::Red));
        if red && clause.onward != Onward::Never {
            let says =
                "it has what it gives handled as TLP:RED, which never goes on: its `onward` lets nothing go; write \
                        `onward = \"never\"`, or another label in `handling`"
                    .to_owned();
            note(Some(clause), "red-onward", says);
        }
        let gives = |to: &OrgId| agreement.releasing(*to, clause.from).next().is_some();
        if matches!(clause.duty, Duty::AnswerTraces(_)) && !clause.to.iter().any(gives) {
            let says =
                "whoever has to answer gives nothing under this agreement, so that an answer could not go".to_owned();
            note(Some(clause), "answers-cannot-go", says);
        }
    }
    found
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        check::Checked,
        source::{self, Drafting},
    };
    use entente_protocol::id::AgreementId;

    pub(crate) fn org(n: u8) -> OrgId {
        OrgId::from_bytes([n; 32])
    }

    pub(crate) fn agreement(head: &str, clauses: &str) -> Agreement {
        let text = format!(
            "language = 1\ntitle = \"t\"\nbasis = {{ text = \"b\" }}\npurposes = [\"p\"]\nfrom = \"2026-01-01\"\n\
             until = \"2026-12-31\"\nnotice-days = 0\n{head}\n[[party]]\nhandle = \"a\"\nname = \"A\"\n[[party]]\n\
             handle = \"b\"\nname = \"B\"\n{clauses}"
        );
        let party = |handle: &str| match handle {
            "a" => Some(org(1)),
            "b" => Some(org(2)),
            _ => None,
        };
        let drafting = Drafting { id: AgreementId::from_bytes([1; 16]), party: &party };
        let Checked { agreement, .. } = source::parse(&text, &drafting).unwrap();
        agreement
    }

    pub(crate) fn clause(name: &str, when: &str, more: &str) -> String {
        let when = if when.is_empty() { String::new() } else { format!("when = '{when}'\n") };
        format!(
            "[[clause]]\nname = \"{name}\"\nfrom = \"a\"\nto = [\"b\"]\nonward = \"never\"\nretention-days = 30\n{when}{more}\n\
             disclose.item = [\"number\", \"eval\", \"type\", \"make-country\"]\n"
        )
    }

    fn codes(agreement: &Agreement, lines: &[RedLine]) -> Vec<(String, &'static str)> {
        let known = |code: &str| ["BE", "FR"].contains(&code);
        let found = findings(agreement, org(1), lines, &known);
        found.into_iter().map(|f| (f.clause.unwrap_or_default(), f.code)).collect()
    }

    pub(crate) fn line(name: &str, when: Option<&str>) -> RedLine {
        RedLine::new(name, Action::Release, &[Kind::Item], &[], when).unwrap()
    }

    #[test]
    fn clauses_that_never_decide_are_named_with_the_reason() {
        let belgian = r#"resource.make_country == "BE""#;
        let sound = agreement("", &[clause("one", belgian, ""), clause("two", "", "")].concat());
        assert_eq!(codes(&sound, &[]), vec![]);
        // Turned round, the first takes everything.
        let hidden = agreement("", &[clause("two", "", ""), clause("one", belgian, "")].concat());
        assert_eq!(codes(&hidden, &[]), vec![("one".to_owned(), "hidden-by-a-clause")]);
        // A clause that carries TLP:RED has its use behind one that does not.
        let red = agreement("", &[clause("two", "", ""), clause("one", belgian, "red = true")].concat());
        assert_eq!(codes(&red, &[]), vec![]);
        let both = r#"resource.make_country == "BE" && resource.make_country == "FR""#;
        let never = agreement("", &[clause("one", both, ""), clause("two", "", "")].concat());
        assert_eq!(codes(&never, &[]), vec![("one".to_owned(), "never-applies")]);
        for bars in [line("l", None), line("l", Some(belgian)), line("l", Some(r#"resource.make_country != "FR""#))] {
            let barred = agreement("", &clause("one", belgian, ""));
            assert_eq!(codes(&barred, &[bars]), vec![("one".to_owned(), "hidden-by-a-red-line")]);
        }
        let partly = line("l", Some(r#"resource.make_country == "FR""#));
        assert_eq!(codes(&agreement("", &clause("one", belgian, "")), &[partly]), vec![]);
    }

    fn says(agreement: &Agreement) -> Vec<(&'static str, String)> {
        findings(agreement, org(1), &[], &|_| true).into_iter().map(|f| (f.code, f.says)).collect()
    }

    /// Story: only so many values were tried, and a clause was said to hold for no record whose value was not among them.
    #[test]
    fn what_was_not_tried_is_not_said_to_hold_for_no_record() {
        let codes = |from: char| -> String {
            let all: Vec<String> = ('A'..='Z').map(|second| format!("\"{from}{second}\"")).collect();
            all.join(", ")
        };
        let listed = |codes: &str| format!("[{codes}].contains(resource.make_country)");
        let us = clause("two", r#"resource.make_country == "ZZ""#, "");
        // A list of as many countries as the Union has, and one that comes last.
        let union = format!("{}, \"BE\"", codes('A'));
        assert_eq!(says(&agreement("", &[clause("one", &listed(&union), ""), us.clone()].concat())), vec![]);
        // More than are tried.
        let world = ['A', 'B', 'C'].map(codes).join(", ");
        let found = says(&agreement("", &[clause("one", &listed(&world), ""), us].concat()));
        let [("never-applies", said)] = found.as_slice() else { panic!("{found:?}") };
        assert!(said.starts_with("it was not found to give anything"), "{said}");
        for odd in ["resource.bore_um * 7 == 126", r#"resource.model like "A*" && resource.model like "*Q*Z""#] {
            let found = says(&agreement("", &clause("one", odd, "")));
            assert!(found.iter().all(|(_, said)| said.starts_with("it was not found")), "{found:?}");
        }
        // Two members of a set, of which one alone is asked for.
        let two = r#"resource.methods.contains("a") && resource.methods.contains("b")"#;
        let three = format!("{two} && !resource.methods.contains(\"c\")");
        let cases = clause("one", &three, "").replace("disclose.item", "disclose.diversion-case");
        let cases = cases.replace("\"type\", \"make-country\"", "\"methods\"");
        assert_eq!(says(&agreement("", &cases)), vec![]);
    }

    /// Story: each kind and receiver of each clause was tried with thousands of records, and nothing ended that.
    #[test]
    fn an_agreement_of_very_many_clauses_is_tried_within_one_budget() {
        let parties: String =
            (3..=16).map(|n| format!("[[party]]\nhandle = \"p{n}\"\nname = \"P{n}\"\nid = \"{}\"\n", org(n))).collect();
        let to: Vec<String> = ["\"b\"".to_owned()].into_iter().chain((3..=16).map(|n| format!("\"p{n}\""))).collect();
        let many: String = (0..24)
            .map(|n| {
                let when =
                    format!(r#"resource.make_country == "BE" && resource.bore_um != {n} && resource.year_first > {n}"#);
                clause(&format!("clause {n}"), &when, "").replace("to = [\"b\"]", &format!("to = [{}]", to.join(", ")))
            })
            .collect();
        let whole = agreement("", &[parties.as_str(), many.as_str()].concat());
        let mut budget = Budget::of(900);
        let found = within(&whole, org(1), &[], &|_| true, &mut budget);
        assert!(!budget.spend(), "all of it was used");
        assert!(found.iter().any(|f| f.code == "not-all-tried" && f.clause.is_none()), "{found:?}");
        let hedged = |f: &Finding| f.clause.is_none() || f.says.starts_with("it was not found");
        assert!(found.iter().all(hedged), "{found:?}");
        // Of clauses that were not tried at all nothing is said.
        let none = within(&whole, org(1), &[], &|_| true, &mut Budget::of(0));
        assert_eq!(none.iter().map(|f| f.code).collect::<Vec<_>>(), ["not-all-tried"]);
    }

    #[test]
    fn what_contradicts_itself_is_named() {
        let say = |head: &str, clauses: &str| -> Vec<&'static str> {
            codes(&agreement(head, clauses), &[]).into_iter().map(|(_, code)| code).collect()
        };
        let kept = clause("one", "", "").replace("retention-days = 30", "retention-days = 900");
        let erases = "obligations = [\"erase-at-end\"]";
        assert_eq!(say(erases, &kept), ["kept-beyond-erasure"]);
        assert_eq!(say(&format!("{erases}\nsurvival-days = 900"), &kept), Vec::<&str>::new());
        assert_eq!(say("survival-days = 30", &clause("one", "", "")), ["nothing-survives"]);
        assert_eq!(say("lease-hours = 900", &clause("one", "", "")), ["lease-too-long"]);
        assert_eq!(say("", &clause("one", r#"resource.make_country == "QX""#, "")), ["unknown-country"]);
        for (label, onward, expected) in
            [("RED", "with-grant", vec!["red-onward"]), ("RED", "never", vec![]), ("AMBER", "with-grant", vec![])]
        {
            let handled = clause("one", "", &format!("handling = {{ tlp = \"{label}\" }}"));
            assert_eq!(say("", &handled.replace("\"never\"", &format!("\"{onward}\""))), expected);
        }
        let traces = "[[clause]]\nname = \"t\"\nfrom = \"a\"\nto = [\"b\"]\nduty = { answer-traces = 30 }\nonward = \"never\"\n\
                      retention-days = 30\n";
        assert_eq!(say("", &[clause("one", "", "").as_str(), traces].concat()), ["answers-cannot-go"]);
        let long = agreement("", &clause("one", "", ""));
        let long = Agreement { notice_days: 400, ..long };
        assert_eq!(codes(&long, &[]), vec![(String::new(), "notice-too-long")]);
    }
}
