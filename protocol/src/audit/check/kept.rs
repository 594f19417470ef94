//! Heads that a reader kept from an earlier audit, or got from a witness: whether the log that is shown goes on from them.
//!
//! An export holds everything of which a root is made, so no proof is needed: the root at an older size is made again.

use super::{super::file::AuditFault, Known, Notes, Test};
use crate::{
    custody::checkpoint::{Checkpoint, CheckpointFault, Origin, UnverifiedCheckpoint},
    id::Hash,
    identity::Purpose,
    limits,
    package::Name,
};
use std::collections::VecDeque;

/// Heads as the maker's log signed them. One that it did not sign says nothing, and neither does one of another store.
pub fn verified(known: &Known, kept: &[UnverifiedCheckpoint]) -> Result<Vec<Checkpoint>, AuditFault> {
    let keys = known.parties.keys(known.maker(), Purpose::Log, Name::Manifest).unwrap_or_default();
    let verify = |head: &UnverifiedCheckpoint| -> Result<Checkpoint, AuditFault> {
        let given = head.danger_unverified_origin();
        if given.org() != known.maker() {
            return Err(AuditFault::Head(CheckpointFault::Organisation));
        }
        let verified = head.verify(known.maker(), keys.iter().map(|key| &key.key)).map_err(AuditFault::Head)?;
        if given.store() != known.head.store {
            return Err(AuditFault::OtherLog { given: given.store(), shown: known.head.store });
        }
        Ok(verified)
    };
    kept.iter().map(verify).collect()
}

/// Those that are still to be reached, rising.
#[derive(Debug, Default)]
pub struct Kept(VecDeque<Checkpoint>);

impl Kept {
    /// All of them.
    pub fn new(kept: &[Checkpoint]) -> Self {
        let mut kept = kept.to_vec();
        kept.sort_by_key(|head| (head.origin().epoch(), head.head().size));
        Self(kept.into())
    }

    /// Takes out those of one epoch.
    pub fn of(&mut self, epoch: u32) -> Self {
        let (of, rest) = std::mem::take(&mut self.0).into_iter().partition(|head| head.origin().epoch() == epoch);
        self.0 = rest;
        Self(of)
    }

    /// Holds those of this size against what the intervals give.
    pub fn reach(&mut self, known: &Known, notes: &mut Notes, log: (&Origin, u64), root: impl Fn() -> Hash) {
        let (origin, made) = log;
        while let Some(head) = self.0.pop_front_if(|head| head.head().size <= made) {
            notes.looked(Test::Kept);
            if head.origin() != origin {
                let says =
                    "it was signed for a log that began at another time: the log was made anew under the same number";
                notes.wrong(Test::Kept, known.maker(), place(&head), says);
            } else if head.head().size != made || head.head().root != root() {
                let says = "what is shown does not give this head, which the same organisation signed before: history was made \
                            anew, and something in it was changed, left out or put in";
                notes.wrong(Test::Kept, known.maker(), place(&head), says);
            }
        }
    }

    /// Says of those that were not reached why: with the epoch that they are of, as far as it is shown.
    pub fn finish(self, known: &Known, notes: &mut Notes, log: Option<(&Origin, u64)>) {
        for head in self.0 {
            notes.looked(Test::Kept);
            // A head that was signed after the export was made may be ahead of it by as much as clocks may differ.
            let origin = head.origin();
            let late = head.time().plus(origin.interval_ms()).plus(limits::CLOCK_SKEW_MS_MAX);
            if late > known.head.time {
                let says = "it is not older than this audit: whether the log went on to it cannot be told from here";
                notes.open(Test::Kept, known.maker(), place(&head), says);
                continue;
            }
            let says = match log {
                Some((_, made)) => format!(
                    "the log is shown with {made} intervals alone: what was signed behind them was cut off, or the store was put \
                     back from an older copy"
                ),
                None => "nothing is shown of the log that was signed then: its history is left out".to_owned(),
            };
            notes.wrong(Test::Kept, known.maker(), place(&head), says);
        }
    }
}

fn place(head: &Checkpoint) -> String {
    format!("log, epoch {}, your head of {} intervals, until {}", head.origin().epoch(), head.head().size, head.time())
}
