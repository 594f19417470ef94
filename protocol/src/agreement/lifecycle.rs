//! The life of an agreement: which states there are, and what leads from one to another.
//!
//! The node works a state out from what it holds ([`State::of`]) wherever one is shown or asked for. A draft is a text
//! that nobody has signed; what is proposed waits for signatures; a version that every party has signed waits for its
//! first day or is in force; a later version replaces it. Each party may suspend and resume for itself, and end for all.
//! What has ended does not come back.

use super::Standing;
use crate::time::UnixMillis;

/// Where an agreement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// A text; nobody has signed it.
    Draft,
    /// On its way to being signed by all.
    Proposed,
    /// Signed by all; its first day has not come.
    NotYet,
    /// In force.
    InForce,
    /// A party has suspended it.
    Suspended,
    /// A party has ended it.
    Ended,
    /// Its last day is over.
    Expired,
    /// It is over, and what was received under it is made unreadable.
    Erased,
}

/// What happens to an agreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A person proposes it.
    Propose,
    /// A person drops it: nobody of ours has signed it.
    Drop,
    /// The last signature comes.
    Complete,
    /// Its first day comes.
    Begin,
    /// A later version, signed by all, takes its place.
    Amend,
    /// A party suspends it.
    Suspend,
    /// Whoever suspended it takes it up again.
    Resume,
    /// A party ends it.
    End,
    /// Its last day is over.
    Expire,
    /// What was received under it is made unreadable.
    Erase,
}

/// What is known of an agreement, of which its state follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Whether anybody proposed it.
    pub proposed: bool,
    /// First and last moment of the version that every party has signed, if there is one.
    pub signed: Option<(UnixMillis, UnixMillis)>,
    /// The strictest standing of its parties.
    pub standing: Standing,
    /// Whether what was received under it is erased here.
    pub erased: bool,
    /// The earliest and the latest time that it may be now: start and end are measured by the stricter of them.
    pub now: (UnixMillis, UnixMillis),
}

impl State {
    /// All of them, in the order of a life.
    pub const ALL: [Self; 8] = [
        Self::Draft,
        Self::Proposed,
        Self::NotYet,
        Self::InForce,
        Self::Suspended,
        Self::Ended,
        Self::Expired,
        Self::Erased,
    ];
    /// Its name, for people and programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Proposed => "proposed",
            Self::NotYet => "not-yet",
            Self::InForce => "in-force",
            Self::Suspended => "suspended",
            Self::Ended => "ended",
            Self::Expired => "expired",
            Self::Erased => "erased",
        }
    }
    /// The state that these facts make.
    pub fn of(facts: &Facts) -> Self {
        let Some((from, until)) = facts.signed else {
            return if facts.proposed { Self::Proposed } else { Self::Draft };
        };
        match facts.standing {
            _ if facts.erased => Self::Erased,
            Standing::Ended => Self::Ended,
            Standing::Suspended => Self::Suspended,
            Standing::Active if facts.now.0 < from => Self::NotYet,
            Standing::Active if facts.now.1 >= until => Self::Expired,
            Standing::Active => Self::InForce,
        }
    }
    /// Whether anything may pass under it.
    pub const fn passes(self) -> bool {
        matches!(self, Self::InForce)
    }
    /// The states that a step leads to from here; none where it cannot happen.
    pub const fn after(self, step: Step) -> &'static [Self] {
        use State::{Draft, Ended, Erased, Expired, InForce, NotYet, Proposed, Suspended};
        match (self, step) {
            (Draft, Step::Propose) => &[Proposed],
            (Proposed, Step::Drop) => &[Draft],
            (Proposed, Step::Complete) => &[NotYet, InForce, Expired, Suspended, Ended],
            (NotYet, Step::Begin) => &[InForce],
            (NotYet | InForce | Expired, Step::Amend) => &[NotYet, InForce],
            (Suspended, Step::Amend) => &[Suspended],
            (NotYet | InForce | Expired, Step::Suspend) => &[Suspended],
            (Suspended, Step::Suspend) => &[Suspended],
            // Another party may have suspended it too, and time has gone on.
            (Suspended, Step::Resume) => &[NotYet, InForce, Expired, Suspended],
            (NotYet | InForce | Suspended | Expired, Step::End) => &[Ended],
            (InForce, Step::Expire) => &[Expired],
            (Ended | Expired, Step::Erase) => &[Erased],
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STEPS: [Step; 10] = [
        Step::Propose,
        Step::Drop,
        Step::Complete,
        Step::Begin,
        Step::Amend,
        Step::Suspend,
        Step::Resume,
        Step::End,
        Step::Expire,
        Step::Erase,
    ];

    #[test]
    fn names_are_apart_and_what_is_over_passes_nothing() {
        for (n, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(State::ALL.iter().position(|other| other.name() == state.name()), Some(n));
            assert_eq!(state.passes(), state == State::InForce);
        }
        // Ended and erased are for good: no step leads back.
        for step in STEPS {
            assert!(State::Erased.after(step).is_empty());
            assert!(State::Ended.after(step).iter().all(|next| *next == State::Erased), "{step:?}");
        }
    }

    /// What an agreement's holder knows, and how steps change it.
    #[derive(Clone)]
    struct Life {
        facts: Facts,
        /// Each of two parties.
        standings: [Standing; 2],
    }

    impl Life {
        /// Carries a step out where the facts allow it.
        fn step(&mut self, step: Step, party: usize) -> bool {
            let facts = &mut self.facts;
            let state = State::of(facts);
            let own = &mut self.standings[party];
            match (step, state) {
                (Step::Propose, State::Draft) => facts.proposed = true,
                (Step::Drop, State::Proposed) => facts.proposed = false,
                (Step::Complete, State::Proposed) => facts.signed = Some((UnixMillis(10), UnixMillis(20))),
                (Step::Begin, State::NotYet) => facts.now = (UnixMillis(10), UnixMillis(11)),
                (Step::Amend, State::NotYet | State::InForce | State::Expired | State::Suspended) => {
                    let (_, until) = facts.signed.unwrap_or_default();
                    facts.signed = Some((facts.now.0, facts.now.1.max(until).plus(10)));
                }
                (Step::Suspend, State::NotYet | State::InForce | State::Expired | State::Suspended) => {
                    *own = Standing::Suspended;
                }
                (Step::Resume, State::Suspended) if *own == Standing::Suspended => *own = Standing::Active,
                (Step::End, State::NotYet | State::InForce | State::Expired | State::Suspended) => {
                    *own = Standing::Ended
                }
                (Step::Expire, State::InForce) => {
                    let (_, until) = facts.signed.unwrap_or_default();
                    facts.now = (until, until.plus(1));
                }
                (Step::Erase, State::Ended | State::Expired) => facts.erased = true,
                _ => return false,
            }
            facts.standing = self.standings[0].max(self.standings[1]);
            true
        }
    }

    proptest! {
        #[test]
        fn every_life_follows_the_table(steps in prop::collection::vec((0..STEPS.len(), 0..2usize), 1..40)) {
            let facts = Facts {
                proposed: false, signed: None, standing: Standing::Active, erased: false,
                now: (UnixMillis(0), UnixMillis(1)),
            };
            let mut life = Life { facts, standings: [Standing::Active; 2] };
            for (step, party) in steps {
                let before = State::of(&life.facts);
                if life.step(STEPS[step], party) {
                    let after = State::of(&life.facts);
                    prop_assert!(before.after(STEPS[step]).contains(&after), "{before:?} {:?} {after:?}", STEPS[step]);
                } else if STEPS[step] != Step::Resume {
                    prop_assert!(before.after(STEPS[step]).is_empty(), "{before:?} {:?}", STEPS[step]);
                }
            }
        }
    }
}
