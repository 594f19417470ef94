//! Cosignatures (C2SP tlog-cosignature, Ed25519), and how many organisations witnessed a checkpoint.
//!
//! A cosignature says: as of its time, this was the largest consistent head that the witness saw of the log. Quorums
//! count organisations, never lines, names or keys: a key that counted twice once met a threshold alone
//! (RUSTSEC-2020-0024).

use super::{
    checkpoint::{Checkpoint, UnverifiedCheckpoint},
    note::{KeyName, NoteFault, SignatureLine, SignatureType, Verifier},
};
use crate::{
    id::OrgId,
    limits,
    primitive::{PublicKey, SigningKey},
    time::UnixMillis,
};
use std::collections::{BTreeMap, BTreeSet};

const WITNESS: &str = "entente/1/witness/";

/// A witness's cosignature of one checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    witness: OrgId,
    time: UnixMillis,
    line: SignatureLine,
}

/// The name of an organisation's witness keys in notes.
fn key_name(witness: OrgId) -> Result<KeyName, NoteFault> {
    KeyName::new(&format!("{WITNESS}{witness}"))
}

/// Who claims to have cosigned a note, by the names of its lines. They prove nothing.
pub fn danger_unverified_witnesses(cosigned: &UnverifiedCheckpoint) -> BTreeSet<OrgId> {
    let names = cosigned.note().lines().iter().map(|line| line.name().as_str());
    names.filter_map(|name| name.strip_prefix(WITNESS)?.parse().ok()).collect()
}

fn verifier(witness: OrgId, key: &PublicKey) -> Option<Verifier> {
    Verifier::new(key_name(witness).ok()?, SignatureType::Cosignature, key)
}

impl Cosignature {
    /// Only [`Accepted`](super::witness::Accepted) calls this.
    pub(super) fn sign(
        checkpoint: &Checkpoint,
        witness: OrgId,
        now: UnixMillis,
        key: &SigningKey,
    ) -> Result<Self, NoteFault> {
        let time_s = now.0 / 1_000;
        let line = SignatureLine::cosign(&checkpoint.text(), time_s, key_name(witness)?, key);
        Ok(Self { witness, time: UnixMillis(time_s * 1_000), line: line.ok_or(NoteFault::Unsigned)? })
    }

    /// Reads a line that a witness answered with, as the reward for verifying. `keys` are witness keys of `witness`.
    pub fn verify<'a>(
        line: &SignatureLine,
        checkpoint: &Checkpoint,
        witness: OrgId,
        keys: impl IntoIterator<Item = &'a PublicKey>,
        now: UnixMillis,
    ) -> Result<Self, WitnessFault> {
        let note = checkpoint.to_bytes_with(std::slice::from_ref(line))?;
        let known: Vec<Verifier> = keys.into_iter().filter_map(|key| verifier(witness, key)).collect();
        let found = UnverifiedCheckpoint::from_bytes(&note).map_err(|_| NoteFault::Form)?.note().verify(&known)?;
        let time_s = found.first().and_then(|(_, signed)| signed.time_s).ok_or(NoteFault::Unsigned)?;
        let time = within(checkpoint, witness, time_s, now)?;
        Ok(Self { witness, time, line: line.clone() })
    }

    /// Who witnessed.
    pub fn witness(&self) -> OrgId {
        self.witness
    }
    /// When, by its clock, in whole seconds.
    pub fn time(&self) -> UnixMillis {
        self.time
    }
    /// The line for the note.
    pub fn line(&self) -> &SignatureLine {
        &self.line
    }
}

/// The time of a cosignature, unless it says what cannot be: a head that was not due yet, or a time to come.
fn within(checkpoint: &Checkpoint, witness: OrgId, time_s: u64, now: UnixMillis) -> Result<UnixMillis, WitnessFault> {
    let time = UnixMillis(time_s.saturating_mul(1_000));
    if time < checkpoint.time() || time > now.plus(limits::CLOCK_SKEW_MS_MAX) {
        return Err(WitnessFault::Time { witness });
    }
    Ok(time)
}

/// Cosignatures that do not hold, or are not enough.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WitnessFault {
    /// The note or a line of a known witness.
    #[error("the cosigned checkpoint is refused: {0}")]
    Note(#[from] NoteFault),
    /// A witness states a time before the checkpoint's own, or one that is still to come.
    #[error("witness `{}` states a time at which it cannot have seen the checkpoint", witness.short())]
    Time {
        /// Which.
        witness: OrgId,
    },
    /// Fewer organisations than are asked for.
    #[error("the checkpoint was witnessed by {given} organisations where {needed} are asked for")]
    TooFew {
        /// Organisations that did.
        given: usize,
        /// Organisations asked for.
        needed: usize,
    },
}

/// Witnesses that cannot be counted: our own configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuorumError {
    /// The organisation whose log it is.
    #[error("an organisation does not witness its own log")]
    Own,
    /// One organisation twice, or one key under two organisations.
    #[error("organisation `{}` or one of its keys is listed twice: each witness counts once", witness.short())]
    Twice {
        /// The second.
        witness: OrgId,
    },
    /// A quorum that cannot be met, or asks for nobody.
    #[error("a quorum asks for 1 to all of its witnesses, and has at most {max}", max = limits::WITNESSES_MAX)]
    Needed,
}

/// The witnesses of one organisation's log, and how many of them are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quorum {
    // INVARIANT: no key stands twice.
    known: Vec<Verifier>,
    of: Vec<OrgId>,
    needed: usize,
}

impl Quorum {
    /// `needed` of these witnesses, each with its witness keys. The log's own organisation is none.
    pub fn new(log: OrgId, witnesses: &[(OrgId, Vec<PublicKey>)], needed: usize) -> Result<Self, QuorumError> {
        if !(1..=witnesses.len()).contains(&needed) || witnesses.len() > limits::WITNESSES_MAX {
            return Err(QuorumError::Needed);
        }
        let (mut known, mut of): (Vec<Verifier>, Vec<OrgId>) = (Vec::new(), Vec::new());
        for (at, (witness, keys)) in witnesses.iter().enumerate() {
            let witness = *witness;
            if witness == log {
                return Err(QuorumError::Own);
            }
            if witnesses.iter().take(at).any(|(before, _)| *before == witness) {
                return Err(QuorumError::Twice { witness });
            }
            for key in keys.iter().filter_map(|key| verifier(witness, key)) {
                if known.iter().any(|before| before.key() == key.key()) {
                    return Err(QuorumError::Twice { witness });
                }
                known.push(key);
                of.push(witness);
            }
        }
        Ok(Self { known, of, needed })
    }

    /// The checkpoint as witnessed, where enough organisations cosigned it. Lines of unknown keys are passed over; a line
    /// of a known one that does not hold refuses the whole. `checkpoint` was verified from `cosigned`.
    pub fn verify(
        &self,
        checkpoint: &Checkpoint,
        cosigned: &UnverifiedCheckpoint,
        now: UnixMillis,
    ) -> Result<Witnessed, WitnessFault> {
        if cosigned.note().danger_unverified_text() != checkpoint.text() {
            return Err(NoteFault::Form.into());
        }
        let mut by: BTreeMap<OrgId, UnixMillis> = BTreeMap::new();
        let found = match cosigned.note().verify(&self.known) {
            Err(NoteFault::Unsigned) => Vec::new(),
            found => found?,
        };
        for (place, signed) in found {
            let (Some(witness), Some(time_s)) = (self.of.get(place).copied(), signed.time_s) else { continue };
            let time = within(checkpoint, witness, time_s, now)?;
            by.entry(witness).and_modify(|before| *before = time.min(*before)).or_insert(time);
        }
        if by.len() < self.needed {
            return Err(WitnessFault::TooFew { given: by.len(), needed: self.needed });
        }
        let mut times: Vec<UnixMillis> = by.values().copied().collect();
        times.sort_unstable();
        let since = times.get(self.needed - 1).copied().unwrap_or(now);
        Ok(Witnessed { checkpoint: checkpoint.clone(), by, since })
    }
}

/// A checkpoint that enough organisations witnessed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witnessed {
    checkpoint: Checkpoint,
    by: BTreeMap<OrgId, UnixMillis>,
    since: UnixMillis,
}

impl Witnessed {
    /// The checkpoint.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }
    /// Who witnessed it, and when by each one's clock.
    pub fn by(&self) -> &BTreeMap<OrgId, UnixMillis> {
        &self.by
    }
    /// When as many as are asked for had seen it: everything under it existed then.
    pub fn since(&self) -> UnixMillis {
        self.since
    }
}
