//! What would leave under an agreement that is not in force: asked of every record of ours, and of what grants let go on
//! (`others`), before anybody signs.
//!
//! The questions are the outbox's own, put to a policy set of the agreement that is looked at. Nothing is cleared here, for
//! an explanation is no proof. One record may name another only where the partner sees that one too: what depends on
//! others is therefore asked again until nothing changes.

mod others;
mod view;

pub use view::{Shown, diff, simulate};

use super::{
    ShareError,
    decide::{self, Asked, Assumed},
    feeds,
};
use crate::{
    call::{OnProgress, Progress},
    keys::suspect,
    node::Node,
    records::keep,
};
use entente_policy::{Explanation, Interval, Preview, Reason, Withheld};
use entente_protocol::{
    agreement::{Agreement, InForce},
    feed::FeedKey,
    id::{AgreementId, LineId, OrgId, RecordId},
    record::{SlotSet, kind::Kind},
};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashSet},
};

/// Code of a record that gives way to a correction. It follows from releases, not from an agreement, so it is no reason of
/// the policy's.
pub const SUPERSEDED: &str = "superseded";
/// The same in a sentence.
pub const SUPERSEDED_WHY: &str = "It was corrected, and the correction was released: this version is withdrawn.";
/// Code of a record of ours that was signed by a key in other hands (CARD-11).
pub const SUSPECT: &str = "suspect";
/// The same in a sentence.
pub const SUSPECT_WHY: &str = "A key that is in other hands signed it: it goes to nobody before it is attested anew.";
/// Records between two words on how far it is.
const TOLD_EVERY: u64 = 256;
/// Where the places of others' records begin: no store has as many of its own.
const OTHERS: u64 = 1 << 62;

/// A version as it would be in force here, with nobody suspended, and the time at which it is looked at.
pub struct Supposed {
    /// The version.
    pub agreement: Agreement,
    policy: Preview,
    now: Interval,
    assumed: Assumed,
}

/// A record that would leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaving {
    /// Its place among ours, or behind them: rising from one to the next.
    pub place: u64,
    /// The record.
    pub record: RecordId,
    /// Its kind.
    pub kind: Kind,
    /// The clause, by its place in the agreement.
    pub clause: u16,
    /// What of it.
    pub slots: SlotSet,
    /// Whether its file may be fetched.
    pub file: bool,
    /// Whose it is, where it is not ours.
    pub of: Option<OrgId>,
}

/// Why a record stays: a code, a sentence, and the red line that forbids it.
pub type Stays = (&'static str, &'static str, Option<String>);

/// The same, of what the policy withholds.
pub fn stays_by(withheld: Withheld) -> Stays {
    (withheld.reason.code(), withheld.reason.sentence(), withheld.red_line)
}

/// What would leave to one party.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Records that would leave, in order of arrival.
    pub leaves: Vec<Leaving>,
    /// Records that would stay, by reason.
    pub stays: BTreeMap<Stays, u64>,
    /// Fields that stay of records that leave.
    pub fields_stay: BTreeMap<(Kind, &'static str, Reason), u64>,
    /// Records that the partner sees now by our hand, under any agreement.
    pub held_now: u64,
    /// Records that it would see then.
    pub held_then: u64,
}

impl Supposed {
    /// Supposes that a version is in force: on its first day, where that has not come.
    pub fn new(node: &Node, version: InForce, assumed: Assumed) -> Result<Self, crate::agreements::AgreementError> {
        let agreement = version.agreement.clone();
        let mut now = node.interval();
        if now.early < agreement.from {
            (now.early, now.late) = (agreement.from, agreement.from);
        }
        let policy = node.rules().suppose(node.keys.org, version)?;
        Ok(Self { agreement, policy, now, assumed })
    }

    /// The other parties, who would receive.
    pub fn partners(&self, node: &Node) -> Vec<OrgId> {
        self.agreement.parties.iter().map(|party| party.id).filter(|id| *id != node.keys.org).collect()
    }

    /// Why nothing passes under the agreement now, where a version of it is in force: what would leave then waits.
    pub fn waits(&self, node: &Node, partner: OrgId) -> Option<Reason> {
        let rules = node.rules();
        rules.agreements.get(self.agreement.id)?.in_force.as_ref()?;
        rules.policy.passes(partner, self.agreement.id, node.interval()).err()
    }

    /// Asks about every record of ours, and about those of others that may go on, for one party.
    pub fn ask(&self, node: &Node, partner: OrgId, progress: OnProgress<'_>) -> Result<Outcome, ShareError> {
        let mut asking = Asking {
            node,
            supposed: self,
            feed: feeds::outgoing(node, partner, self.agreement.id),
            elsewhere: elsewhere(node, partner, self.agreement.id),
            seen: HashSet::new(),
            outcome: Outcome::default(),
        };
        let others = asking.granted()?;
        let total = keep::count(node)? + others.len() as u64;
        // Records whose references are not seen yet.
        let mut waits: Vec<(u64, RecordId)> = Vec::new();
        let (mut after, mut done) = (None, 0);
        loop {
            let page = keep::after(node, after)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (place, id) in page {
                let asked = Asked::load_as(node, id, self.assumed)?;
                let answer = asking.answer(&asked)?;
                let line = asked.body.header().line;
                let leaves = matches!(answer, Answer::Leaves(_));
                asking.seen.extend(leaves.then_some(line));
                match asking.refers_unseen(&asked)? {
                    true => waits.push((place, id)),
                    false => asking.count(Counted::own(place, &asked), answer)?,
                }
                done += 1;
                if done % TOLD_EVERY == 0 {
                    progress(Progress { done, total: Some(total) });
                }
            }
        }
        // A record that leaves may let another name it; each turn sees more lines, or is the last.
        loop {
            let before = asking.seen.len();
            for (_, id) in &waits {
                let asked = Asked::load_as(node, *id, self.assumed)?;
                if matches!(asking.answer(&asked)?, Answer::Leaves(_)) {
                    asking.seen.insert(asked.body.header().line);
                }
            }
            if asking.seen.len() == before {
                break;
            }
        }
        for (place, id) in waits {
            let asked = Asked::load_as(node, id, self.assumed)?;
            let answer = asking.answer(&asked)?;
            asking.count(Counted::own(place, &asked), answer)?;
        }
        asking.others(others, done, progress)?;
        let mut outcome = asking.outcome;
        outcome.leaves.sort_unstable_by_key(|leaving| leaving.place);
        progress(Progress { done: total, total: Some(total) });
        Ok(outcome)
    }
}

/// What becomes of a record.
enum Answer {
    Leaves(Explanation),
    Stays(Stays),
}

/// A record of which is counted what becomes of it.
struct Counted {
    place: u64,
    record: RecordId,
    kind: Kind,
    /// Whose it is, where it is not ours.
    of: Option<OrgId>,
}

impl Counted {
    fn own(place: u64, asked: &Asked) -> Self {
        Self { place, record: asked.record, kind: asked.body.header().kind, of: None }
    }
}

/// The questions for one party.
struct Asking<'a> {
    node: &'a Node,
    supposed: &'a Supposed,
    feed: FeedKey,
    /// Its feeds under other agreements in force.
    elsewhere: Vec<FeedKey>,
    /// Lines of which a record would leave.
    seen: HashSet<LineId>,
    outcome: Outcome,
}

impl Asking<'_> {
    fn referable(&self, asked: &Asked) -> Result<SlotSet, ShareError> {
        let before = |record| {
            let asked = Asked::load_as(self.node, record, self.supposed.assumed)?;
            Ok(matches!(self.answer_with(&asked, SlotSet::EMPTY)?, Answer::Leaves(_)))
        };
        let line = |line| {
            let known = self.seen.contains(&line);
            Ok(known || decide::line_released(self.node, line, self.feed.id(), u64::MAX)?)
        };
        asked.referable_where(self.node, before, line)
    }

    /// Whether it names lines, in a slot that refers, that the partner would not see as far as is known.
    fn refers_unseen(&self, asked: &Asked) -> Result<bool, ShareError> {
        let kind = asked.body.header().kind;
        let refers = |slot: &u8| kind.slot_number(*slot).is_some_and(|slot| slot.shape.refers());
        let present: SlotSet = asked.present().iter().filter(refers).collect();
        Ok(!present.is_empty() && !present.without(self.referable(asked)?).is_empty())
    }

    fn answer(&self, asked: &Asked) -> Result<Answer, ShareError> {
        self.answer_with(asked, self.referable(asked)?)
    }

    fn answer_with(&self, asked: &Asked, referable: SlotSet) -> Result<Answer, ShareError> {
        let Supposed { policy, now, .. } = self.supposed;
        let explanation = asked.ask_at(&self.feed, referable, *now, |question| policy.explain(question));
        if let Some(withheld) = explanation.withheld {
            return Ok(Answer::Stays(stays_by(withheld)));
        }
        if suspect::own(self.node, asked.row.batch)?.is_some() {
            return Ok(Answer::Stays((SUSPECT, SUSPECT_WHY, None)));
        }
        let shows = |amendment: &Asked| {
            amendment.shows_by(&self.feed, *now, |question| {
                let explanation = policy.explain(question);
                explanation.withheld.is_none().then_some(explanation.slots)
            })
        };
        match asked.amendments(self.node)?.iter().all(shows) {
            true => Ok(Answer::Leaves(explanation)),
            false => Ok(Answer::Stays((SUPERSEDED, SUPERSEDED_WHY, None))),
        }
    }

    fn count(&mut self, what: Counted, answer: Answer) -> Result<(), ShareError> {
        self.tally(what.record, matches!(answer, Answer::Leaves(_)))?;
        match answer {
            Answer::Stays(why) => *self.outcome.stays.entry(why).or_default() += 1,
            Answer::Leaves(explanation) => {
                for field in &explanation.fields_withheld {
                    *self.outcome.fields_stay.entry((what.kind, field.field, field.reason)).or_default() += 1;
                }
                let named = explanation.clause.as_deref().unwrap_or_default();
                let clause = self.supposed.agreement.clauses.iter().position(|clause| clause.name == named);
                let Counted { place, record, kind, of } = what;
                self.outcome.leaves.push(Leaving {
                    place,
                    record,
                    kind,
                    clause: clause.and_then(|place| u16::try_from(place).ok()).unwrap_or_default(),
                    slots: explanation.slots,
                    file: explanation.file,
                    of,
                });
            }
        }
        Ok(())
    }

    /// Counts what the partner sees now, and would see.
    fn tally(&mut self, record: RecordId, leaves: bool) -> Result<(), ShareError> {
        let shown = |feed: &FeedKey| {
            Ok::<_, ShareError>(decide::released(self.node, record, feed.id())?.is_some_and(|row| row.shows()))
        };
        let mut elsewhere = false;
        for other in &self.elsewhere {
            elsewhere = elsewhere || shown(other)?;
        }
        let here = shown(&self.feed)?;
        self.outcome.held_now += u64::from(here || elsewhere);
        self.outcome.held_then += u64::from(leaves || elsewhere);
        Ok(())
    }
}

/// The partner's feeds under other agreements.
fn elsewhere(node: &Node, partner: OrgId, agreement: AgreementId) -> Vec<FeedKey> {
    let all = feeds::every_agreement_with(node, partner).into_iter();
    all.filter(|(id, ..)| *id != agreement).map(|(id, ..)| feeds::outgoing(node, partner, id)).collect()
}

/// What differs between two versions for one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The record, as it leaves under one of them.
    pub record: RecordId,
    /// Its kind.
    pub kind: Kind,
    /// What it would show under the old version; none where it stays.
    pub old: Option<SlotSet>,
    /// The same under the new one.
    pub new: Option<SlotSet>,
    /// Whether its file may be fetched under the old version, and under the new one.
    pub file: [bool; 2],
    /// Whose it is, where it is not ours.
    pub of: Option<OrgId>,
}

impl Change {
    /// Slots that the new version exposes.
    pub fn gained(&self) -> SlotSet {
        self.new.unwrap_or(SlotSet::EMPTY).without(self.old.unwrap_or(SlotSet::EMPTY))
    }
    /// Slots that it takes back.
    pub fn lost(&self) -> SlotSet {
        self.old.unwrap_or(SlotSet::EMPTY).without(self.new.unwrap_or(SlotSet::EMPTY))
    }
}

/// What differs, in order of arrival.
pub fn changes(old: &Outcome, new: &Outcome) -> Vec<Change> {
    let (mut old, mut new) = (old.leaves.iter().peekable(), new.leaves.iter().peekable());
    let mut changes = Vec::new();
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return changes,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.place.cmp(&new.place),
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        let Some(either) = before.or(after) else { return changes };
        let change = Change {
            record: either.record,
            kind: either.kind,
            old: before.map(|leaving| leaving.slots),
            new: after.map(|leaving| leaving.slots),
            file: [before, after].map(|leaving| leaving.is_some_and(|leaving| leaving.file)),
            of: either.of,
        };
        if change.old != change.new || change.file[0] != change.file[1] {
            changes.push(change);
        }
    }
}
