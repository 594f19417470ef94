//! `agreement prove`: whether something can leave, over all that is in force.
//!
//! Three ways, and the answer says which. That no clause gives it proves it. Where one does, records are tried, and one of
//! which it leaves refutes it. Where none is found a solver is asked, if one is installed: it proves that there is none, or
//! finds one. Whatever keeps it from an answer is said, and the answer is then that nothing is proved.

mod solver;
mod symbolic;
#[cfg(test)]
mod tests;

use super::AgreementError;
use crate::node::Node;
use entente_policy::{
    Action, Governed, PolicySet,
    claim::{self, Claim, Confirmed},
    never::{self, Leaving, Never, Property},
    trial::Budget,
};
use entente_protocol::{
    agreement::{Agreement, Standing},
    id::OrgId,
    record::kind::Kind,
};
use serde_json::{Value as Json, json};
use solver::{Solver, SolverFault};
use std::{path::PathBuf, time::Duration};

/// What can be asked.
const FORM: &str = "write `never KIND.FIELD`, `never KIND`, either with `to PARTNER` and `when CONDITION`, or `red-line NAME`: \
                    `never event.documented-by to panel`";
/// How long the solver may take, where nobody says.
pub const PATIENCE_S: u64 = 60;
/// How long it may be given.
pub const PATIENCE_S_MAX: u64 = 3_600;

/// Answers a property that a person states.
pub fn prove(node: &Node, property: &str, patience_s: u64) -> Result<Json, AgreementError> {
    // What is over gives nothing any more. What is suspended may be resumed, and what begins later will give.
    let now = node.interval();
    let goes_on =
        |governed: &Governed| governed.standing != Standing::Ended && now.early < governed.in_force.agreement.until;
    let set = never::of(&node.rules().policy, goes_on).map_err(|error| AgreementError::Property(error.to_string()))?;
    let stated = stated(node, &set, property)?;
    let patience = Duration::from_secs(patience_s.clamp(1, PATIENCE_S_MAX));
    let mut solver = Asked::Not { path: node.config.solver.clone(), patience };
    let answer = match stated.questions.iter().any(|question| binds(&set, question.property.to)) {
        true => answer(&set, &stated.questions, &mut solver),
        false => Answered::Emptily,
    };
    let mut out = json!({ "id": property.trim() });
    let Some(map) = out.as_object_mut() else { return Ok(out) };
    let mut put = |key: &str, value: Json| drop(map.insert(key.to_owned(), value));
    stated.shown.into_iter().for_each(|(key, value)| put(key, value));
    let by = solver.name();
    let (holds, says) = match answer {
        Answered::Emptily => (
            "nothing-in-force",
            "no agreement is in force with those whom it names, so nothing leaves to them at all: this says nothing of what an \
             agreement would let go. Ask again when one is in force"
                .to_owned(),
        ),
        Answered::ByClauses => (
            "proved",
            "no clause in force gives it, or red lines without a condition keep it: it leaves with no record there may be"
                .to_owned(),
        ),
        Answered::BySolver => (
            "proved",
            format!(
                "a clause gives it, and the conditions and red lines let it go with no record of ours that there may be: {by} has proved \
                 it"
            ),
        ),
        Answered::Leaves(leaving) => {
            let says = says_leaves(node, &leaving);
            put("agreement", json!(leaving.agreement.to_string()));
            put("clause", json!(leaving.clause));
            put("to", json!(node.handle_of(leaving.to)));
            put("example", json!(leaving.example));
            ("no", says)
        }
        Answered::NotFound { tried, all, why } => (
            "not-found",
            format!(
                "a clause gives it, and of {tried} records that were tried{} it leaves with none; this is no proof. Not \
                 proved: {why}",
                if all { ", all that the conditions can tell apart," } else { ", and not all could be," }
            ),
        ),
    };
    put("answer", json!(holds));
    put("says", json!(says));
    if !by.is_empty() {
        put("solver", json!(by));
    }
    Ok(out)
}

fn says_leaves(node: &Node, leaving: &Leaving) -> String {
    let to = node.handle_of(leaving.to);
    let clause = &leaving.clause;
    let given = if leaving.refers { format!(", once `{to}` was given what it names") } else { String::new() };
    match &leaving.unlikely {
        None => format!("it leaves to `{to}` under clause `{clause}`, of a record like this{given}"),
        Some(field) => format!(
            "it leaves to `{to}` under clause `{clause}`, of a record like this{given}, if there were one: its `{field}` is a \
             value that was tried and that no record holds"
        ),
    }
}

/// What is to hold of one set of policies.
struct Question {
    /// The set; none means what is in force, as it is.
    set: Option<PolicySet>,
    property: Property,
}

/// A property, read.
struct Stated {
    /// All of it is to hold.
    questions: Vec<Question>,
    /// What is shown of it.
    shown: Vec<(&'static str, Json)>,
}

fn stated(node: &Node, set: &PolicySet, property: &str) -> Result<Stated, AgreementError> {
    let fault = |what: String| AgreementError::Property(format!("{what}; {FORM}"));
    let (head, when) = match property.split_once(" when ") {
        Some((head, when)) => (head, Some(when.trim())),
        None => (property, None),
    };
    let words: Vec<&str> = head.split_whitespace().collect();
    let (what, to) = match words.as_slice() {
        ["red-line", ..] => return red_line(set, property.trim()).map_err(fault),
        ["never", what] | ["never", what, "to", "anyone" | "anybody"] => (*what, None),
        ["never", what, "to", partner] => (*what, Some(*partner)),
        _ => return Err(fault(format!("`{}` is no property that can be proved", property.escape_debug()))),
    };
    let to = to.map(|partner| node.book().find(partner).map(|(org, _)| org));
    let to = to.transpose().map_err(|error| fault(error.to_string()))?;
    let (kind, field) = what.split_once('.').map_or((what, None), |(kind, field)| (kind, Some(field)));
    let kind = Kind::from_name(kind).ok_or_else(|| fault(format!("there is no kind `{kind}`")))?;
    let no_field = |name| fault(format!("`{kind}` has no field `{name}`"));
    let slot = field.map(|name| kind.slot(name).ok_or_else(|| no_field(name))).transpose()?;
    let mut shown = vec![("kind", json!(kind.name()))];
    shown.extend(slot.map(|slot| ("field", json!(slot.name))));
    shown.extend(when.map(|when| ("when", json!(when))));
    let set = when.map(|when| never::meeting(set, kind, when)).transpose();
    let set = set.map_err(|error| fault(format!("`when`: {error}")))?;
    let property = Property { kind, slot: slot.map(|slot| slot.number), to };
    Ok(Stated { questions: vec![Question { set, property }], shown })
}

/// That nothing which meets a red line goes to those whom it names.
fn red_line(set: &PolicySet, property: &str) -> Result<Stated, String> {
    let name = property.split_once(char::is_whitespace).map_or("", |(_, name)| name.trim());
    let line = set.red_lines().iter().find(|line| line.name() == name);
    let line = line.ok_or_else(|| format!("no red line is called `{}`", name.escape_debug()))?;
    if line.action() != Action::Release {
        return Err(format!("red line `{name}` is about what is accepted, and not about what leaves"));
    }
    let to: Vec<Option<OrgId>> =
        if line.to().is_empty() { vec![None] } else { line.to().iter().copied().map(Some).collect() };
    let mut questions = Vec::new();
    for kind in line.kinds().iter().copied() {
        for to in to.iter().copied() {
            let set = line.when().map(|when| never::meeting(set, kind, when)).transpose();
            let set = set.map_err(|error| format!("red line `{name}`: {error}"))?;
            questions.push(Question { set, property: Property { kind, slot: None, to } });
        }
    }
    Ok(Stated { questions, shown: vec![("red_line", json!(name))] })
}

/// The answer to all questions of a property.
enum Answered {
    /// Nothing is in force that could give it.
    Emptily,
    ByClauses,
    BySolver,
    Leaves(Leaving),
    NotFound {
        tried: usize,
        all: bool,
        why: String,
    },
}

/// The solver, looked for when it is first needed.
enum Asked {
    Not { path: Option<PathBuf>, patience: Duration },
    Found(Result<Solver, SolverFault>),
}

impl Asked {
    fn solver(&mut self) -> Result<&Solver, String> {
        if let Self::Not { path, patience } = self {
            *self = Self::Found(Solver::at(path.as_deref(), *patience));
        }
        match self {
            Self::Found(Ok(solver)) => Ok(solver),
            Self::Found(Err(fault)) => Err(fault.to_string()),
            Self::Not { .. } => Err(SolverFault::Absent.to_string()),
        }
    }

    /// Which solver answered, or nothing where none was asked.
    fn name(&self) -> String {
        if let Self::Found(Ok(solver)) = self { format!("cvc5 {}", solver.version()) } else { String::new() }
    }
}

/// Whether an agreement is in force with a partner, or with anybody.
fn binds(set: &PolicySet, to: Option<OrgId>) -> bool {
    let with = |agreement: &Agreement| to.is_none_or(|partner| agreement.party(partner).is_some());
    set.in_force().any(with)
}

/// Every question is to be answered by a proof; the first that is refuted refutes the whole.
fn answer(in_force: &PolicySet, questions: &[Question], solver: &mut Asked) -> Answered {
    let (mut by_solver, mut open) = (false, None::<(usize, bool, String)>);
    let mut budget = Budget::default();
    for question in questions {
        match one(question.set.as_ref().unwrap_or(in_force), question.property, solver, &mut budget) {
            Answered::ByClauses | Answered::Emptily => {}
            Answered::BySolver => by_solver = true,
            Answered::Leaves(leaving) => return Answered::Leaves(leaving),
            Answered::NotFound { tried, all, why } => {
                let (before, all_before, first) = open.unwrap_or((0, true, why));
                open = Some((before + tried, all_before && all, first));
            }
        }
    }
    match open {
        Some((tried, all, why)) => Answered::NotFound { tried, all, why },
        None if by_solver => Answered::BySolver,
        None => Answered::ByClauses,
    }
}

fn one(set: &PolicySet, property: Property, solver: &mut Asked, budget: &mut Budget) -> Answered {
    let claims = claim::claims(set, property);
    if matches!(&claims, Ok(claims) if claims.is_empty()) {
        return Answered::ByClauses;
    }
    let tried = never::within(set, property, budget);
    if let Never::Leaves(leaving @ Leaving { unlikely: None, .. }) = tried {
        return Answered::Leaves(leaving);
    }
    let solved = match claims {
        Ok(claims) => all_asked(&claims, solver),
        Err(fault) => Solved::Open(fault.to_string()),
    };
    match (solved, tried) {
        (Solved::Proved, _) => Answered::BySolver,
        // Without a better answer: of values that no record holds, but the conditions let them go.
        (Solved::Refuted(leaving), _) | (Solved::Open(_), Never::Leaves(leaving)) => Answered::Leaves(leaving),
        (Solved::Open(why), Never::NotFound { tried, all }) => Answered::NotFound { tried, all, why },
        (Solved::Open(why), Never::Proved) => Answered::NotFound { tried: 0, all: false, why },
    }
}

/// What a solver makes of claims.
enum Solved {
    Proved,
    Refuted(Leaving),
    /// Neither, and why.
    Open(String),
}

/// All claims of one question. A refutation of one outweighs that another is open.
fn all_asked(claims: &[Claim<'_>], solver: &mut Asked) -> Solved {
    let mut all = Solved::Proved;
    for claim in claims {
        match (asked(claim, solver), &all) {
            (refuted @ Solved::Refuted(_), _) => return refuted,
            (open @ Solved::Open(_), Solved::Proved) => all = open,
            _ => {}
        }
    }
    all
}

fn asked(claim: &Claim<'_>, solver: &mut Asked) -> Solved {
    let solver = match solver.solver() {
        Ok(solver) => solver,
        Err(why) => return Solved::Open(why),
    };
    match symbolic::solve(claim, &mut |script| solver.ask(script)) {
        Ok(None) => Solved::Proved,
        Ok(Some(Confirmed::Leaves(leaving))) => Solved::Refuted(leaving),
        Ok(Some(Confirmed::Unlikely(field))) => Solved::Open(format!(
            "the solver found only a record whose `{field}` is what none holds, and did not say whether there is another"
        )),
        Ok(Some(Confirmed::Stays)) => Solved::Open(
            "the solver found a record that the decider withholds: the two do not agree, tell who writes this program"
                .to_owned(),
        ),
        Err(why) => Solved::Open(why.to_string()),
    }
}
