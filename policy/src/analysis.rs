//! What an agreement's text cannot mean: clauses that never decide, and why.
//!
//! A drafter calls it before anybody signs ([`findings`]); [`crate::never`] tries conditions in the same way. Each
//! attribute that a condition or a red line reads takes the values that their texts name, their neighbours, another one,
//! and none; every combination where there are few, so many drawn from a fixed seed where there are not. What was found
//! is so; what was not found in a part of the combinations is no proof, and is not called one.

use crate::{
    attribute::{Attribute, Given, Origin, Reading},
    compile::{Action, Verdict},
    redline::RedLine,
    set::{Governed, PartnerState, PolicySet, Slice},
};
use entente_protocol::{
    agreement::{Agreement, Clause, Duty, InForce, Obligation, Standing},
    id::{AgreementDigest, OrgId},
    record::{Shape, Tlp, kind::Kind},
};
use std::collections::{BTreeMap, BTreeSet};

/// Combinations that are tried of one slice.
pub const TRIED_MAX: usize = 20_000;
/// Values of one attribute.
const VALUES_MAX: usize = 24;
/// Dates that are tried in the place of one that cannot be.
const DATES_MAX: usize = 200;

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

/// Values that literals in conditions give to an attribute, and none.
pub(crate) fn candidates(kind: Kind, attribute: &Attribute, texts: &[&str]) -> Vec<Option<Given>> {
    let (strings, numbers) = literals(texts);
    let mut all: Vec<Option<Given>> = vec![None];
    let words = || strings.iter().cloned().chain(["another".to_owned()]).take(VALUES_MAX);
    let around = || numbers.iter().flat_map(|n| [n.saturating_sub(1), *n, n.saturating_add(1)]).chain([0]);
    match attribute.origin {
        // Only our own records are decided about.
        Origin::Originator => all.clear(),
        Origin::Orcon | Origin::Slot(_, Reading::Bool) => all.extend([false, true].map(|b| Some(Given::Bool(b)))),
        Origin::Tlp => {
            let labels = [Tlp::Red, Tlp::AmberStrict, Tlp::Amber, Tlp::Green, Tlp::Clear];
            all.extend(labels.map(|tlp| Some(Given::Text(tlp.name().to_owned()))));
        }
        Origin::Class | Origin::Slot(_, Reading::Text | Reading::Finding) => {
            all.extend(words().chain(usual(kind, attribute)).map(|text| Some(Given::Text(text))));
        }
        Origin::Slot(_, Reading::Long | Reading::FirstDay | Reading::LastDay) => {
            let unique: BTreeSet<i64> = around().collect();
            all.extend(unique.into_iter().take(VALUES_MAX).map(|n| Some(Given::Long(n))));
        }
        Origin::Slot(_, Reading::Texts) => {
            all.extend(words().map(|text| Some(Given::Texts(vec![text]))));
            all.extend([Vec::new(), words().collect()].map(|texts| Some(Given::Texts(texts))));
        }
        Origin::Slot(_, Reading::Longs) => {
            let unique: BTreeSet<i64> = around().collect();
            all.extend(unique.iter().take(VALUES_MAX).map(|n| Some(Given::Longs(vec![*n]))));
            all.extend([Vec::new(), unique.into_iter().collect()].map(|numbers| Some(Given::Longs(numbers))));
        }
    }
    all
}

/// Texts that the kind allows, where it does not allow any: "another" is no country.
fn usual(kind: Kind, attribute: &Attribute) -> Vec<String> {
    let few = |codes: &[&str]| codes.iter().take(3).map(|code| (*code).to_owned()).collect();
    match attribute.shape(kind) {
        Some(Shape::Code(codes) | Shape::Finding(codes)) => few(codes),
        Some(Shape::Country) => few(&["XX"]),
        Some(Shape::Edtf | Shape::Month) => few(&["2020-02"]),
        Some(Shape::Year) => few(&["2020"]),
        _ => Vec::new(),
    }
}

/// Texts in quotes, patterns among them with something for each `*`, and whole numbers.
pub(crate) fn literals(texts: &[&str]) -> (Vec<String>, Vec<i64>) {
    let (mut strings, mut numbers): (BTreeSet<String>, BTreeSet<i64>) = Default::default();
    for text in texts {
        for (n, part) in text.split('"').enumerate() {
            if n % 2 == 1 {
                strings.insert(part.replace('*', "x"));
                strings.insert(part.replace('*', ""));
            } else {
                let digits = part.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
                numbers.extend(digits.filter_map(|digits| digits.parse::<i64>().ok()));
            }
        }
    }
    (strings.into_iter().collect(), numbers.into_iter().collect())
}

/// Dates that are named, as text or as a number of a day, and those around them.
pub(crate) fn dates(texts: &[&str]) -> Vec<String> {
    let (strings, numbers) = literals(texts);
    let mut dates: BTreeSet<String> = strings.into_iter().collect();
    for day in numbers.into_iter().filter(|day| (10_000..=99_991_231).contains(day)) {
        for year in [day / 10_000 - 1, day / 10_000, day / 10_000 + 1] {
            dates.extend([format!("{year:04}"), format!("{year:04}-{:02}", day / 100 % 100)]);
            dates.extend([-1, 0, 1].map(|by| format!("{year:04}-{:02}-{:02}", day / 100 % 100, day % 100 + by)));
        }
    }
    dates.extend(["2020", "2020-02", "2020-02-03"].map(str::to_owned));
    dates.into_iter().take(DATES_MAX).collect()
}

/// Combinations of values, each once where there are few; whether these are all.
pub(crate) fn combinations(lists: &[Vec<Option<Given>>]) -> (Vec<Vec<Option<Given>>>, bool) {
    let total = lists.iter().try_fold(1usize, |total, list| total.checked_mul(list.len().max(1)));
    let pick = |mut number: u64| -> Vec<Option<Given>> {
        let mut picked = Vec::with_capacity(lists.len());
        for list in lists {
            let len = (list.len() as u64).max(1);
            picked.push(usize::try_from(number % len).ok().and_then(|at| list.get(at)).cloned().flatten());
            number /= len;
        }
        picked
    };
    match total {
        Some(total) if total <= TRIED_MAX => ((0..total as u64).map(pick).collect(), true),
        _ => {
            // Splitmix64 (Steele, Lea, Flood, 2014), from a fixed seed: the same agreement is found to say the same.
            let mut state = 0u64;
            let mut next = || {
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = state;
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                z ^ (z >> 31)
            };
            let draw = |_| lists.iter().map(|list| pick_one(list, next())).collect();
            ((0..TRIED_MAX).map(draw).collect(), false)
        }
    }
}

fn pick_one(list: &[Option<Given>], number: u64) -> Option<Given> {
    let at = usize::try_from(number % (list.len() as u64).max(1)).unwrap_or_default();
    list.get(at).cloned().flatten()
}

/// Whose record is asked about stands first where a condition reads it.
pub(crate) fn fill(slice: &Slice, own: OrgId, mut given: Vec<Option<Given>>) -> Vec<Option<Given>> {
    for (attribute, value) in slice.engine.reads().iter().zip(&mut given) {
        if attribute.origin == Origin::Originator {
            *value = Some(Given::Organisation(own));
        }
    }
    given
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
    /// Whether everything was tried.
    all: bool,
}

fn look(own: OrgId, kind: Kind, [free, barred]: [&Slice; 2], texts: &[&str], seen: &mut Seen) {
    let lists: Vec<Vec<Option<Given>>> =
        barred.engine.reads().iter().map(|attribute| candidates(kind, attribute, texts)).collect();
    let (tried, all) = combinations(&lists);
    seen.all &= all;
    for given in tried {
        let given = fill(barred, own, given);
        let of = |attribute: &&'static Attribute| {
            let at = barred.engine.reads().iter().position(|known| known == attribute);
            at.and_then(|at| given.get(at)).cloned().flatten()
        };
        let Verdict::Clauses(places) = free.engine.judge(&free.engine.reads().iter().map(of).collect::<Vec<_>>())
        else {
            continue;
        };
        seen.applies.extend(&places);
        // TLP:RED passes over clauses that do not carry it: each combination stands for a red record and for another.
        for red in [false, true] {
            let carries = |covered: &&crate::set::Covered| places.contains(&covered.place) && (covered.red || !red);
            let Some(first) = free.clauses.iter().find(carries) else { continue };
            seen.decides.insert(first.place);
            match barred.engine.judge(&given) {
                Verdict::Clauses(_) => drop(seen.passes.insert(first.place)),
                Verdict::RedLine(line) => drop(seen.barred_by.entry(first.place).or_default().insert(line)),
                _ => {}
            }
        }
    }
}

/// What is to be looked at in an agreement before it is signed. `red_lines` are those of `own`; `country` says whether a
/// code is one.
pub fn findings(
    agreement: &Agreement,
    own: OrgId,
    red_lines: &[RedLine],
    country: &dyn Fn(&str) -> bool,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut seen: BTreeMap<u16, Seen> = BTreeMap::new();
    for giver in agreement.parties.iter().map(|party| party.id) {
        let lines = if giver == own { red_lines } else { &[] };
        let (Some(free), Some(barred)) = (set_of(agreement, giver, &[]), set_of(agreement, giver, lines)) else {
            continue;
        };
        for ((action, partner, id, kind), slice) in
            free.slices.iter().filter(|((action, ..), _)| *action == Action::Release)
        {
            let Some(with_lines) = barred.slices.get(&(*action, *partner, *id, *kind)) else { continue };
            let concerning = lines.iter().filter(|line| line.concerns(Action::Release, *kind, *partner));
            let clauses =
                slice.clauses.iter().filter_map(|c| agreement.clauses.get(usize::from(c.place))?.when.as_deref());
            let texts: Vec<&str> = clauses.chain(concerning.filter_map(RedLine::when)).collect();
            let mut of_slice = Seen { all: true, ..Seen::default() };
            look(giver, *kind, [slice, with_lines], &texts, &mut of_slice);
            // A clause that decides for one kind or receiver has its use.
            for covered in &slice.clauses {
                let all = seen.entry(covered.place).or_insert_with(|| Seen { all: true, ..Seen::default() });
                let has = |set: &BTreeSet<u16>| set.contains(&covered.place);
                all.all &= of_slice.all;
                all.applies.extend(has(&of_slice.applies).then_some(covered.place));
                all.decides.extend(has(&of_slice.decides).then_some(covered.place));
                all.passes.extend(has(&of_slice.passes).then_some(covered.place));
                let barred = of_slice.barred_by.get(&covered.place).into_iter().flatten();
                all.barred_by.entry(covered.place).or_default().extend(barred);
            }
        }
    }
    for (place, seen) in seen {
        let Some(clause) = agreement.clauses.get(usize::from(place)) else { continue };
        found.extend(useless(clause, place, &seen, red_lines));
    }
    agreement.clauses.iter().for_each(|clause| found.extend(unknown_countries(clause, country)));
    found.extend(terms(agreement));
    found
}

/// Why a clause that releases never decides, if it does not.
fn useless(clause: &Clause, place: u16, seen: &Seen, red_lines: &[RedLine]) -> Option<Finding> {
    let tried = if seen.all { "" } else { ", as far as it was tried" };
    let finding = |code, says| Some(Finding { clause: Some(clause.name.clone()), code, says });
    if !seen.applies.contains(&place) {
        return finding("never-applies", format!("its condition holds for no record{tried}: it gives nothing"));
    }
    if !seen.decides.contains(&place) {
        let says = format!("whatever it covers, a clause before it covers too{tried}, and the first one decides");
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
        let says = format!("red lines of this organisation forbid all of it{tried}: {}", names.join(", "));
        return finding("hidden-by-a-red-line", says);
    }
    None
}

/// Two capital letters that a condition compares with a country, and that are none.
fn unknown_countries(clause: &Clause, country: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let Some(when) = clause.when.as_deref().filter(|when| when.contains("country")) else { return Vec::new() };
    let (strings, _) = literals(&[when]);
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
    let day = 86_400_000u64;
    let lasts = agreement.until.0.saturating_sub(agreement.from.0) / day;
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
        let traces = "[[clause]]\nname = \"t\"\nfrom = \"a\"\nto = [\"b\"]\nduty = { answer-traces = 30 }\nonward = \"never\"\n\
                      retention-days = 30\n";
        assert_eq!(say("", &[clause("one", "", "").as_str(), traces].concat()), ["answers-cannot-go"]);
        let long = agreement("", &clause("one", "", ""));
        let long = Agreement { notice_days: 400, ..long };
        assert_eq!(codes(&long, &[]), vec![(String::new(), "notice-too-long")]);
    }
}
