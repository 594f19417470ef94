//! Whether the parts of a body fit together (AGR-1, AGR-4). Every reader and writer of a body comes here first.
//!
//! What the language allows beyond that is `policy`'s.

use super::{Agreement, AgreementFault, Clause, LANGUAGE, Obligation};
use crate::{id::OrgId, limits};

impl Agreement {
    pub(super) fn check(&self) -> Result<(), AgreementFault> {
        if self.v != 1 || self.lang != LANGUAGE {
            return refuse(format!(
                "it is of format {} and language {}, and this program reads format 1 and language {LANGUAGE}: run the \
                 version of the program that it was written for",
                self.v, self.lang
            ));
        }
        self.check_parties()?;
        if self.from >= self.until {
            return refuse("it ends before it begins: its last day is not before its first");
        }
        if (self.version == 1) != self.predecessor.is_none() || self.version == 0 {
            return refuse(format!(
                "it is version {} and has {} predecessor: version 1 has no predecessor, and every later one the digest of \
                 the version that it replaces",
                self.version,
                if self.predecessor.is_some() { "a" } else { "no" }
            ));
        }
        if self.clauses.is_empty() || self.clauses.len() > limits::AGREEMENT_CLAUSES_MAX {
            let (given, max) = (self.clauses.len(), limits::AGREEMENT_CLAUSES_MAX);
            return refuse(format!("it has {given} clauses: write 1 to {max}"));
        }
        if !unique(self.clauses.iter().map(|c| c.name.as_bytes()).collect()) {
            return refuse("two clauses have one name: give each its own");
        }
        (1..).zip(&self.clauses).try_for_each(|(place, clause)| self.check_clause(place, clause))
    }

    fn check_parties(&self) -> Result<(), AgreementFault> {
        if self.parties.len() < 2 || self.parties.len() > limits::AGREEMENT_PARTIES_MAX {
            let (given, max) = (self.parties.len(), limits::AGREEMENT_PARTIES_MAX);
            return refuse(format!("it has {given} parties: name 2 to {max}"));
        }
        if !unique(self.parties.iter().map(|p| p.id.as_bytes().as_slice()).collect())
            || !unique(self.parties.iter().map(|p| p.handle.as_bytes()).collect())
        {
            return refuse("two parties have one id or one handle: name each once");
        }
        let rising = |all: &[Obligation]| all.is_sorted_by(|a, b| a < b);
        let order = Obligation::ALL.map(Obligation::name).join(", ");
        if !rising(&self.obligations) {
            return refuse(format!("its obligations do not rise: each once, in the order {order}"));
        }
        for (place, party) in (1..).zip(&self.parties) {
            let refuse = |what: String| refuse(format!("party {place} {what}"));
            if !is_name(&party.handle) || !is_name(&party.name) {
                return refuse(format!("has no name or handle, or a longer one than {} bytes", limits::NAME_BYTES_MAX));
            }
            if !rising(&party.declines) || !party.declines.iter().all(|d| self.obligations.contains(d)) {
                return refuse(format!(
                    "declines what is no obligation of the agreement, or twice: each once, in the order {order}"
                ));
            }
            let fits = match party.signatories.as_slice() {
                [] => true,
                [one, other] => one != other && is_name(one) && is_name(other),
                _ => false,
            };
            if !fits {
                return refuse("has signatories that are not two different persons: name two, or none".to_owned());
            }
        }
        Ok(())
    }

    fn check_clause(&self, place: u64, clause: &Clause) -> Result<(), AgreementFault> {
        let refuse = |what: String| refuse(format!("clause {place} {what}"));
        let known = |org: &OrgId| self.party(*org).is_some();
        if !known(&clause.from)
            || clause.to.is_empty()
            || !clause.to.iter().all(known)
            || clause.to.contains(&clause.from)
        {
            return refuse(
                "names its giver as receiver, nobody, or no party: it goes from one party to others".to_owned(),
            );
        }
        let codes = clause.handling.as_ref().map_or(&[][..], |handling| &handling.codes);
        if codes.iter().any(|code| *code > 3) || !codes.is_sorted_by(|a, b| a < b) {
            return refuse("has handling codes that are not 0 to 3, each once, rising".to_owned());
        }
        if !is_name(&clause.name) {
            return refuse(format!("has no name, or a longer one than {} bytes", limits::NAME_BYTES_MAX));
        }
        if clause.when.as_ref().is_some_and(|w| w.len() > limits::CONDITION_BYTES_MAX) {
            return refuse(format!("has a longer condition than {} bytes", limits::CONDITION_BYTES_MAX));
        }
        for disclosure in &clause.disclose {
            let rising = disclosure.slots.windows(2).all(|w| w.first() < w.last());
            let exist = disclosure.slots.iter().all(|s| disclosure.kind.slot_number(*s).is_some());
            if !rising || !exist {
                return refuse(format!(
                    "discloses slots of `{}` that do not exist or do not rise: each that exists once, rising",
                    disclosure.kind.name()
                ));
            }
        }
        Ok(())
    }
}

pub(super) fn refuse<T>(what: impl Into<String>) -> Result<T, AgreementFault> {
    Err(AgreementFault::Inconsistent(what.into()))
}

fn unique(mut ids: Vec<&[u8]>) -> bool {
    ids.sort_unstable();
    ids.windows(2).all(|w| w.first() != w.last())
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= limits::NAME_BYTES_MAX
}
