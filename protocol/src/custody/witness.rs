//! Witnessing: what a partner saw of a log, and whether what it is shown next goes on from there (C2SP tlog-witness).
//!
//! A witness keeps one [`Watch`] for each store's log. An [`Offer`] that goes on from what was seen becomes
//! [`Accepted`], and only that is cosigned; whatever else comes is [`Declined`], and two heads that cannot both be true
//! are a [`ForkProof`]. Whoever calls this checks and stores in one step: see [`Accepted`].

use super::{checkpoint::Checkpoint, cosignature::Cosignature, fork::ForkProof, note::NoteFault};
use crate::{
    id::{Hash, OrgId},
    limits,
    merkle::{self, ProofFault},
    primitive::SigningKey,
    time::UnixMillis,
};

/// A head that a log offers to its witness, and what shows that it goes on from an older one.
///
/// `held` is the older head as the log signs it today. Two heads of different sizes never contradict each other by
/// themselves; because a log shows its own head at the very size that its witness saw, a log that was rewritten must
/// contradict what it signed before, or say nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The log's own head at the size that the witness saw last; none where it is thought to have seen none.
    pub held: Option<Checkpoint>,
    /// The head that is offered.
    pub new: Checkpoint,
    /// Consistency from `held` to `new`.
    pub proof: Vec<Hash>,
}

/// What a witness knows of one store's log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Watch {
    /// Nothing yet: the first head is taken as it is.
    #[default]
    Unseen,
    /// The last head that was accepted.
    Seen(Checkpoint),
    /// Two heads that cannot both be true. Nothing of this log is witnessed any more until people have decided.
    Forked(Box<ForkProof>),
}

/// How an accepted head stands to what was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing was seen before.
    First,
    /// The head that was seen, again.
    Same,
    /// It goes on from there.
    Grown,
    /// The store's log began anew after that, and says so: what it held before cannot be proved by it any more. People
    /// are told.
    Anew,
}

/// An offer that goes on from what was seen: the permit to cosign.
///
/// Its head becomes the [`Watch`] by compare-and-swap with the one that judged it, and that is durable, before
/// [`Accepted::cosign`] is called. Otherwise two offers judged at once could take a witness back to the smaller one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    new: Checkpoint,
    step: Step,
}

/// An offer that is not witnessed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Declined {
    /// It is for another log than the one that is watched.
    #[error("the offer mixes logs")]
    OtherLog,
    /// It speaks of a time that is still to come by the witness's clock.
    #[error("the checkpoint speaks up to {time}, which is still to come: check both clocks")]
    Future {
        /// Up to when.
        time: UnixMillis,
    },
    /// It does not begin at what was seen last.
    #[error("the log was seen at size {seen}, and the offer goes on from {held}")]
    Stale {
        /// Size seen last; 0 where nothing was seen.
        seen: u64,
        /// Size that the offer goes on from.
        held: u64,
    },
    /// The offered head is below the one that it is said to go on from.
    #[error("the offer shrinks the log from size {held} to {new}")]
    Shrinks {
        /// Size that the offer goes on from.
        held: u64,
        /// Size offered.
        new: u64,
    },
    /// The consistency proof does not hold.
    #[error("the offered head is not shown to go on from the one that was seen: {0}")]
    Proof(ProofFault),
    /// Two heads that cannot both be true: kept, and told to people.
    #[error("the log has two heads that cannot both be true")]
    Fork(Box<ForkProof>),
    /// The log was found forked before.
    #[error("the log has forked, and is not witnessed")]
    Suspended,
}

impl Watch {
    /// Judges an offer. `now` is the witness's clock, the early end where it is an interval: a witness confirms that a
    /// time is over.
    ///
    /// After [`Declined::Fork`] the watch becomes [`Watch::Forked`]; after any other refusal it stays.
    pub fn handle_offer(&self, offer: &Offer, now: UnixMillis) -> Result<Accepted, Declined> {
        let Offer { held, new, proof } = offer;
        let seen = match self {
            Self::Forked(_) => return Err(Declined::Suspended),
            Self::Unseen => None,
            Self::Seen(seen) => Some(seen),
        };
        let same_store = |other: &Checkpoint| {
            other.origin().org() == new.origin().org() && other.origin().store() == new.origin().store()
        };
        if !seen.into_iter().chain(held).all(same_store) {
            return Err(Declined::OtherLog);
        }
        for (a, b) in [(seen, held.as_ref()), (seen, Some(new)), (held.as_ref(), Some(new))] {
            if let Some(fork) = a.zip(b).and_then(|(a, b)| ForkProof::of(a, b)) {
                return Err(Declined::Fork(Box::new(fork)));
            }
        }
        if new.time() > now {
            return Err(Declined::Future { time: new.time() });
        }
        let size = |checkpoint: Option<&Checkpoint>| checkpoint.map_or(0, |checkpoint| checkpoint.head().size);
        let sizes = (size(seen), size(held.as_ref()), new.head().size);
        let stale = Err(Declined::Stale { seen: sizes.0, held: sizes.1 });
        let place = |checkpoint: &Checkpoint| (*checkpoint.origin(), checkpoint.head());
        if let Some(seen) = seen.filter(|seen| seen.origin() != new.origin()) {
            // A later epoch names the very head that was seen: whoever begins anew owns up to what there was.
            let later = new.origin().epoch() > seen.origin().epoch();
            let owned = held.as_ref().is_some_and(|held| place(held) == place(seen));
            let step = Step::Anew;
            return if later && owned && proof.is_empty() { Ok(Accepted { new: new.clone(), step }) } else { stale };
        }
        if held.as_ref().is_some_and(|held| held.origin() != new.origin()) {
            return stale;
        }
        if sizes.1 > sizes.2 {
            return Err(Declined::Shrinks { held: sizes.1, new: sizes.2 });
        }
        if sizes.0 != sizes.1 {
            return stale;
        }
        let step = step(seen, new, proof).map_err(Declined::Proof)?;
        Ok(Accepted { new: new.clone(), step })
    }
}

/// Size equal to what was seen, or none seen, or consistent with it.
fn step(seen: Option<&Checkpoint>, new: &Checkpoint, proof: &[Hash]) -> Result<Step, ProofFault> {
    let Some(seen) = seen else {
        return if proof.is_empty() { Ok(Step::First) } else { Err(ProofFault::Length) };
    };
    if proof.len() > limits::LOG_PROOF_HASHES_MAX {
        return Err(ProofFault::Length);
    }
    let (old, head) = (seen.head(), new.head());
    merkle::verify_consistency(old.size, old.root, head.size, head.root, proof)?;
    Ok(if old == head { Step::Same } else { Step::Grown })
}

impl Accepted {
    /// The head that is witnessed from now on.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.new
    }
    /// How it stands to what was seen.
    pub fn step(&self) -> Step {
        self.step
    }
    /// The cosignature of `witness` by its witness key, once the head is durable. `now` is the one that judged, or later.
    pub fn cosign(&self, witness: OrgId, now: UnixMillis, key: &SigningKey) -> Result<Cosignature, NoteFault> {
        Cosignature::sign(&self.new, witness, now, key)
    }
}
