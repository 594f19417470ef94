//! What a sender owes: for each run that it sent, proof that its own log holds it.
//!
//! The receiver keeps one [`Owed`] for each partner's store, takes each run's digest in ([`Owed::take`]) and each proof
//! and refusal ([`Owed::handle_proof`], [`Owed::handle_refusal`]), and asks before it takes a further run
//! ([`Owed::permit`]). It never decides what people are told, and forgets nothing that is not proved.

use super::{
    checkpoint::{Checkpoint, Origin},
    interval::Standing,
    proof::{LeafProof, LogProofFault},
};
use crate::{id::LoggedDigest, limits, time::UnixMillis};
use std::collections::BTreeMap;

/// How many intervals a sender has to prove a run.
const INTERVALS: u64 = 2;

/// Where an owed proof stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwedState {
    /// It has not come.
    Awaited,
    /// The sender said that it will not prove it.
    Refused,
    /// The sender's log holds something else at its place: the run was kept out.
    Unlogged,
}

/// A run whose place in its sender's log is not proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwedRun {
    /// The leaf that must hold it.
    pub leaf: u64,
    /// From when its proof is overdue; never where it came by hand, in a bundle: whoever sends so may never hear of us.
    pub due: Option<UnixMillis>,
    /// Where it stands.
    pub state: OwedState,
}

/// A run that is not taken in: the sender's fault, or too much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OwedFault {
    /// No leaf of its log can hold it.
    #[error("the run states a time before its sender's log was created")]
    BeforeLog,
    /// It would never be due.
    #[error("the run states a time that is still to come")]
    Future,
    /// As many as are kept wait for their proofs.
    #[error("{max} runs of this partner's store wait for their proofs", max = limits::OWED_RUNS_MAX)]
    TooMany,
}

/// Why no further run is taken from a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the partner owes proofs that {runs} runs are in its log: overdue, refused, or opened as something else")]
pub struct Withheld {
    /// How many runs.
    pub runs: usize,
    /// The worst that stands of any of them.
    pub worst: OwedState,
}

/// What one partner's store owes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    origin: Origin,
    runs: BTreeMap<LoggedDigest, OwedRun>,
}

impl Owed {
    /// Nothing is owed yet by the store of this log.
    pub fn new(origin: Origin) -> Self {
        Self { origin, runs: BTreeMap::new() }
    }

    /// Takes a run in, when it is received or read again from what is kept. One that waits already is the same.
    ///
    /// Its proof is due two intervals after the time that it states, or after it came where that is later: a sender whose
    /// clock is behind, or that was away, has the same time for it. `by_hand` says that it came in a bundle.
    pub fn take(
        &mut self,
        run: LoggedDigest,
        stated: UnixMillis,
        received: UnixMillis,
        by_hand: bool,
    ) -> Result<OwedRun, OwedFault> {
        if let Some(known) = self.runs.get(&run) {
            return Ok(*known);
        }
        if stated > received.plus(limits::CLOCK_SKEW_MS_MAX) {
            return Err(OwedFault::Future);
        }
        let leaf = self.origin.leaf_at(stated).ok_or(OwedFault::BeforeLog)?;
        if self.runs.len() >= limits::OWED_RUNS_MAX {
            return Err(OwedFault::TooMany);
        }
        let due = (!by_hand).then(|| stated.max(received).plus(INTERVALS * self.origin.interval_ms()));
        let owed = OwedRun { leaf, due, state: OwedState::Awaited };
        self.runs.insert(run, owed);
        Ok(owed)
    }

    /// Takes in what was kept of a run that waits.
    pub fn restore(&mut self, run: LoggedDigest, owed: OwedRun) {
        self.runs.insert(run, owed);
    }

    /// Takes a proof for a run under a checkpoint that was accepted ([`Accepted`](super::witness::Accepted)): what is
    /// proved is forgotten, what was kept out is marked. `None` for a run that is not owed.
    pub fn handle_proof(
        &mut self,
        run: LoggedDigest,
        proof: &LeafProof,
        checkpoint: &Checkpoint,
    ) -> Result<Option<Standing>, LogProofFault> {
        if *checkpoint.origin() != self.origin {
            return Err(LogProofFault::OtherLog);
        }
        let Some(owed) = self.runs.get_mut(&run) else { return Ok(None) };
        let standing = proof.verify(checkpoint, owed.leaf, run)?;
        match standing {
            // Once its place was opened as something else, a run is not in the log: no later proof can hold beside it.
            Standing::Unlogged => owed.state = OwedState::Unlogged,
            Standing::Logged => {
                self.runs.remove(&run);
            }
        }
        Ok(Some(standing))
    }

    /// Takes a sender's word that it will not prove a run. Whether that run is owed.
    pub fn handle_refusal(&mut self, run: LoggedDigest) -> bool {
        let owed = self.runs.get_mut(&run);
        if let Some(owed) = owed {
            owed.state = owed.state.max(OwedState::Refused);
            return true;
        }
        false
    }

    /// Whether a further run is taken at `now`.
    pub fn permit(&self, now: UnixMillis) -> Result<(), Withheld> {
        let late = || {
            self.runs.values().filter(|owed| owed.state > OwedState::Awaited || owed.due.is_some_and(|due| due <= now))
        };
        match late().map(|owed| owed.state).max() {
            Some(worst) => Err(Withheld { runs: late().count(), worst }),
            None => Ok(()),
        }
    }

    /// Everything that is owed, for people.
    pub fn runs(&self) -> impl Iterator<Item = (&LoggedDigest, &OwedRun)> {
        self.runs.iter()
    }
    /// Whose log.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}
