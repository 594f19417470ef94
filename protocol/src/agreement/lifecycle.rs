//! The life of an agreement: which states there are, and what leads from one to another.
//!
//! The node works a state out from what it holds ([`State::of`]) wherever one is shown or asked for, and asks
//! [`State::step`] before it changes anything, whether people, a file or a partner bring the change. A draft is a text
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
    /// A version is proposed, or approved or signed by one more party.
    Propose,
    /// A person drops the version on its way: nobody of ours has signed it.
    Drop,
    /// The last signature of the first version comes.
    Complete,
    /// Its first day comes.
    Begin,
    /// A later version, signed by all, takes its place.
    Amend,
    /// A party suspends it.
    Suspend,
    /// A party states that it is active: it takes up what it has suspended.
    Resume,
    /// A party ends it.
    End,
    /// Its last day is over.
    Expire,
    /// What was received under it is made unreadable.
    Erase,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Propose,
        Self::Drop,
        Self::Complete,
        Self::Begin,
        Self::Amend,
        Self::Suspend,
        Self::Resume,
        Self::End,
        Self::Expire,
        Self::Erase,
    ];
    /// The step that a party's statement is.
    pub const fn stating(standing: Standing) -> Self {
        match standing {
            Standing::Active => Self::Resume,
            Standing::Suspended => Self::Suspend,
            Standing::Ended => Self::End,
        }
    }
    /// What is done to the agreement, for people: "it cannot be ...".
    pub const fn name(self) -> &'static str {
        match self {
            Self::Propose => "proposed or signed",
            Self::Drop => "dropped",
            Self::Complete => "completed",
            Self::Begin => "begun",
            Self::Amend => "amended",
            Self::Suspend => "suspended",
            Self::Resume => "resumed",
            Self::End => "ended",
            Self::Expire => "expired",
            Self::Erase => "erased",
        }
    }
    /// Whether people bring it about; the others come with time or by themselves.
    const fn is_act(self) -> bool {
        !matches!(self, Self::Complete | Self::Begin | Self::Amend | Self::Expire)
    }
}

/// A step that there is not from where an agreement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the agreement is {} and cannot be {}; what it can be: {}", .state.name(), .step.name(), .state.acts())]
pub struct StepFault {
    /// Where it stands.
    pub state: State,
    /// What was to happen.
    pub step: Step,
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
            // Its last day is over for whoever suspended it, too.
            _ if facts.now.1 >= until => Self::Expired,
            Standing::Suspended => Self::Suspended,
            Standing::Active if facts.now.0 < from => Self::NotYet,
            Standing::Active => Self::InForce,
        }
    }
    /// Whether anything may pass under it.
    pub const fn passes(self) -> bool {
        matches!(self, Self::InForce)
    }
    /// Whether it is over for good. What parties stated before they heard of that comes later, and changes nothing.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Ended | Self::Erased)
    }
    /// The states that a step leads to from here; none where it cannot happen.
    pub const fn after(self, step: Step) -> &'static [Self] {
        use State::{Draft, Ended, Erased, Expired, InForce, NotYet, Proposed, Suspended};
        match (self, step) {
            (Draft | Proposed, Step::Propose) => &[Proposed],
            (Proposed, Step::Drop) => &[Draft],
            // A file may bring what nobody here has seen with every signature.
            (Draft | Proposed, Step::Complete) => &[NotYet, InForce, Expired, Suspended, Ended],
            // What a party states of it meanwhile counts once every party has signed it.
            (Proposed, Step::Suspend | Step::Resume | Step::End) => &[Proposed],
            (NotYet, Step::Begin) => &[InForce],
            (NotYet | InForce | Expired, Step::Amend) => &[NotYet, InForce, Expired, Suspended],
            (Suspended, Step::Amend) => &[Expired, Suspended],
            (NotYet | InForce | Suspended, Step::Suspend) => &[Suspended],
            // Another party may have suspended it too, and time has gone on.
            (Suspended, Step::Resume) => &[NotYet, InForce, Suspended],
            (NotYet | InForce | Suspended | Expired, Step::End) => &[Ended],
            (InForce | Suspended, Step::Expire) => &[Expired],
            (Ended | Expired, Step::Erase) => &[Erased],
            // A next version that is proposed or dropped leaves the one before it where it is; so does a party's word that
            // says nothing new, the last day over or not.
            (NotYet, Step::Propose | Step::Drop | Step::Resume) => &[NotYet],
            (InForce, Step::Propose | Step::Drop | Step::Resume) => &[InForce],
            (Suspended, Step::Propose | Step::Drop) => &[Suspended],
            (Expired, Step::Propose | Step::Drop | Step::Suspend | Step::Resume) => &[Expired],
            // What was proposed before the end still waits, and may be put away.
            (Ended, Step::Drop) => &[Ended],
            // The same again.
            (Erased, Step::Drop | Step::Erase) => &[Erased],
            _ => &[],
        }
    }
    /// The same, or why it cannot happen.
    pub const fn step(self, step: Step) -> Result<&'static [Self], StepFault> {
        match self.after(step) {
            [] => Err(StepFault { state: self, step }),
            next => Ok(next),
        }
    }
    /// What people can do from here, in words.
    fn acts(self) -> String {
        let acts = Step::ALL.into_iter().filter(|step| step.is_act() && !self.after(*step).is_empty());
        let acts: Vec<&str> = acts.map(Step::name).collect();
        if acts.is_empty() { "nothing more".to_owned() } else { acts.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_apart_and_what_is_over_passes_nothing() {
        for (n, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(State::ALL.iter().position(|other| other.name() == state.name()), Some(n));
            assert_eq!(state.passes(), state == State::InForce);
        }
        // Ended and erased are for good: no step leads back.
        for step in Step::ALL {
            assert!(State::Erased.after(step).iter().all(|next| *next == State::Erased), "{step:?}");
            assert!(State::Ended.after(step).iter().all(|next| next.is_final()), "{step:?}");
        }
    }

    #[test]
    fn what_cannot_be_says_what_can() {
        let fault = State::Ended.step(Step::Suspend).unwrap_err().to_string();
        assert_eq!(fault, "the agreement is ended and cannot be suspended; what it can be: dropped, erased");
        assert_eq!(State::InForce.step(Step::Suspend), Ok(&[State::Suspended][..]));
    }

    /// Story: sharing was suspended and never taken up again. After its last day it is over like any other.
    #[test]
    fn a_suspension_does_not_outlive_the_last_day() {
        let facts = |now| Facts {
            proposed: false,
            signed: Some((UnixMillis(10), UnixMillis(20))),
            standing: Standing::Suspended,
            erased: false,
            now: (now, now),
        };
        let (before, after) = (State::of(&facts(UnixMillis(19))), State::of(&facts(UnixMillis(20))));
        assert_eq!((before, after), (State::Suspended, State::Expired));
        assert!(before.after(Step::Erase).is_empty() && !after.after(Step::Erase).is_empty());
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
            let signed = facts.signed.is_some() && !state.is_final();
            match (step, state) {
                (Step::Propose, _) if !state.is_final() => facts.proposed = true,
                (Step::Drop, _) if facts.proposed => facts.proposed = false,
                (Step::Complete, State::Proposed) => {
                    facts.proposed = false;
                    facts.signed = Some((UnixMillis(10), UnixMillis(20)));
                }
                (Step::Begin, State::NotYet) => facts.now = (UnixMillis(10), UnixMillis(11)),
                (Step::Amend, _) if signed => {
                    let (_, until) = facts.signed.unwrap_or_default();
                    facts.signed = Some((facts.now.0, facts.now.1.max(until).plus(10)));
                }
                (Step::Suspend | Step::Resume | Step::End, _)
                    if (signed || state == State::Proposed) && *own != Standing::Ended =>
                {
                    *own = match step {
                        Step::Suspend => Standing::Suspended,
                        Step::Resume => Standing::Active,
                        _ => Standing::Ended,
                    };
                }
                (Step::Expire, State::InForce | State::Suspended) => {
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
        fn every_life_follows_the_table(steps in prop::collection::vec((0..Step::ALL.len(), 0..2usize), 1..40)) {
            let facts = Facts {
                proposed: false, signed: None, standing: Standing::Active, erased: false,
                now: (UnixMillis(0), UnixMillis(1)),
            };
            let mut life = Life { facts, standings: [Standing::Active; 2] };
            for (step, party) in steps {
                let (step, before) = (Step::ALL[step], State::of(&life.facts));
                if life.step(step, party) {
                    let after = State::of(&life.facts);
                    prop_assert!(before.after(step).contains(&after), "{before:?} {:?} {after:?}", step);
                } else if matches!(step, Step::Propose | Step::Begin | Step::Amend | Step::Expire) {
                    prop_assert!(before.after(step).is_empty(), "{before:?} {:?}", step);
                }
            }
        }
    }
}
