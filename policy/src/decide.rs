//! The decider: a question to a [`Clearance`], or what was received to an [`Acceptance`], or a reason.
//!
//! The only caller of both proof values' constructors. There is no error arm: what cannot be decided
//! withholds. Checks run in the order of [`Reason::ALL`]; of several clauses that apply, the first in
//! the agreement decides, so an agreement reads from the top.

use crate::{
    compile::{Action, Verdict},
    disclose::{self, Disclosed},
    handling, memo, onward,
    question::{Gate, Ground, Interval, Question, ReviewState},
    reason::{Reason, Withheld},
    set::{Covered, Governed, PartnerState, PolicySet, Slice},
};
use entente_protocol::{
    agreement::Standing,
    clearance::{Acceptance, Clearance, Terms},
    grant::Grant,
    id::{AgreementId, OrgId},
    record::{Header, SlotSet, Verified, kind::Kind},
    value::Value,
};

/// A field that stays although the record goes, or would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldWithheld {
    /// The field's name.
    pub field: &'static str,
    /// Why it stays.
    pub reason: Reason,
}

/// An answer for people: what would go and what stays, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Why the record is withheld, if it is.
    pub withheld: Option<Withheld>,
    /// The name of the clause that decides, where one does.
    pub clause: Option<String>,
    /// Slots that go.
    pub slots: SlotSet,
    /// The same by name.
    pub disclosed: Vec<&'static str>,
    /// Fields that hold something and stay, where a clause applies.
    pub fields_withheld: Vec<FieldWithheld>,
    /// Whether the file may be fetched.
    pub file: bool,
}

/// What a release comes to, before it is proved.
struct Ruling<'a> {
    grant: Option<Ground<'a>>,
    governed: &'a Governed,
    covered: &'a Covered,
    disclosed: Disclosed,
}

impl PolicySet {
    /// Decides about one release.
    pub fn decide(&self, question: &Question<'_>) -> Result<Clearance, Withheld> {
        let Ruling { grant, governed, covered, disclosed } = self.rule(question)?;
        if disclosed.slots.is_empty() {
            return Err(Withheld { clause: Some(covered.place), ..Reason::NothingToDisclose.into() });
        }
        let agreement = &governed.in_force.agreement;
        let granted = grant.iter().map(|ground| ground.grant.scope.until);
        let until = handling::destroyed_from(&question.header.floor).into_iter().chain(granted);
        let until = until.chain([agreement.until]).min();
        Ok(Clearance::assertion(Terms {
            record: question.record,
            partner: question.partner,
            agreement: agreement.id,
            version: governed.in_force.digest,
            clause: covered.place,
            slots: disclosed.slots,
            file: disclosed.file,
            grant: grant.map(|ground| ground.id),
            until,
        }))
    }

    /// Says for one record and one partner what would go, what stays, and why.
    pub fn explain(&self, question: &Question<'_>) -> Explanation {
        let none = |withheld| Explanation {
            withheld: Some(withheld),
            clause: None,
            slots: SlotSet::EMPTY,
            disclosed: Vec::new(),
            fields_withheld: Vec::new(),
            file: false,
        };
        let Ruling { governed, covered, disclosed, .. } = match self.rule(question) {
            Ok(ruling) => ruling,
            Err(withheld) => {
                let clauses = self.agreement(question.agreement).map(|g| g.in_force.agreement.clauses.as_slice());
                let clause = withheld.clause.and_then(|place| clauses?.get(usize::from(place)));
                return Explanation { clause: clause.map(|c| c.name.clone()), ..none(withheld) };
            }
        };
        let name = |slot| question.header.kind.slot_number(slot).map_or("", |s| s.name);
        let withheld = disclosed.slots.is_empty();
        let clause = governed.in_force.agreement.clauses.get(usize::from(covered.place));
        Explanation {
            withheld: withheld.then(|| Withheld { clause: Some(covered.place), ..Reason::NothingToDisclose.into() }),
            clause: clause.map(|c| c.name.clone()),
            slots: disclosed.slots,
            disclosed: disclosed.slots.iter().map(name).collect(),
            fields_withheld: disclosed
                .withheld
                .iter()
                .map(|(slot, reason)| FieldWithheld { field: name(*slot), reason: *reason })
                .collect(),
            file: disclosed.file,
        }
    }

    /// Whether anything may pass between us and a partner under an agreement now, and why not. While nothing may,
    /// nothing need be asked: such a withholding is of this hour and not of a record, and what waits is not decided.
    pub fn passes(&self, partner: OrgId, agreement: AgreementId, now: Interval) -> Result<(), Reason> {
        self.governing(partner, agreement, now).map(drop)
    }

    /// Decides about one record that a partner sent. More than any one clause permits is refused: it
    /// protects the sender as well as us. Conditions are the sender's: we do not see all that they read.
    pub fn accept(
        &self,
        from: OrgId,
        agreement: AgreementId,
        verified: &Verified,
        grant: Option<&Grant>,
        now: Interval,
    ) -> Result<Acceptance, Withheld> {
        let header = verified.header();
        let governed = self.governing(from, agreement, now)?;
        if header.originator != from {
            let grant = grant.ok_or(Reason::OnwardWithoutGrant)?;
            let granted = onward::holds(grant, header, (from, self.own), &governed.in_force.agreement, now)?;
            if !verified.shown().without(granted).is_empty() {
                return Err(Reason::OverDisclosed.into());
            }
        }
        handling::binds_holders(&header.floor, now, &self.accredited)?;
        let slice = self.slices.get(&(Action::Accept, from, agreement, header.kind)).ok_or(Reason::KindNotCovered)?;
        let mut carrying = self.applying(slice, header, &|slot| verified.value(slot).cloned())?;
        if verified.shown().is_empty() {
            return Err(Reason::NothingToDisclose.into());
        }
        if !carrying.any(|covered| permits_shown(covered, verified)) {
            return Err(Reason::OverDisclosed.into());
        }
        Ok(Acceptance::assertion(verified.id(), from, agreement))
    }

    fn rule<'a>(&'a self, question: &Question<'a>) -> Result<Ruling<'a>, Withheld> {
        let header = question.header;
        let governed = self.governing(question.partner, question.agreement, question.now)?;
        let own = header.originator == self.own;
        let granted = match own {
            true => None,
            false => Some(onward::granted(question, &governed.in_force.agreement, self.own)?),
        };
        passes_gate(question.gate)?;
        handling::binds_release(&header.floor, question.now, &self.accredited)?;
        let key = (Action::Release, question.partner, question.agreement, header.kind);
        let slice = self.slices.get(&key).ok_or(Reason::KindNotCovered)?;
        let covered = self.applying(slice, header, question.values)?.next().ok_or(Reason::TlpRed)?;
        let disclosed = disclose::disclose(covered, question, granted);
        Ok(Ruling { grant: question.onward.filter(|_| !own), governed, covered, disclosed })
    }

    /// The agreement, if it governs sharing between us and this partner now.
    fn governing(&self, partner: OrgId, agreement: AgreementId, now: Interval) -> Result<&Governed, Reason> {
        if self.aside.contains_key(&agreement) {
            return Err(Reason::SetAside);
        }
        let governed = self.agreements.get(&agreement).ok_or(Reason::NoAgreement)?;
        let body = &governed.in_force.agreement;
        if partner == self.own || body.party(partner).is_none() || body.party(self.own).is_none() {
            return Err(Reason::NotAParty);
        }
        match self.partners.get(&partner) {
            None => return Err(Reason::PartnerUnknown),
            Some(PartnerState::Suspended) => return Err(Reason::PartnerSuspended),
            Some(PartnerState::Active) => {}
        }
        match governed.standing {
            Standing::Ended => return Err(Reason::Ended),
            Standing::Suspended => return Err(Reason::Suspended),
            Standing::Active => {}
        }
        if let Some(fault) = now.fault() {
            return Err(fault);
        }
        // The stricter end of now on either side.
        if now.early < body.from {
            return Err(Reason::NotInForceYet);
        }
        if now.late >= body.until {
            return Err(Reason::Expired);
        }
        Ok(governed)
    }

    /// The clauses that apply to a record and may carry it, in order; never empty.
    fn applying<'a>(
        &self,
        slice: &'a Slice,
        header: &Header,
        values: &dyn Fn(u8) -> Option<Value>,
    ) -> Result<impl Iterator<Item = &'a Covered> + use<'a>, Withheld> {
        let given = slice.engine.load(header, values);
        let verdict = match &self.memo {
            Some(memo) => memo.verdict(memo::key(slice.number, &given), || slice.engine.judge(&given)),
            None => slice.engine.judge(&given),
        };
        let red_line = |reason: Reason, place: usize| Withheld {
            red_line: self.red_lines.get(place).map(|line| line.name().to_owned()),
            ..reason.into()
        };
        let places = match verdict {
            Verdict::Clauses(places) => places,
            Verdict::NoClause { absent: true } => return Err(Reason::FieldAbsent.into()),
            Verdict::NoClause { absent: false } => return Err(Reason::ConditionNotMet.into()),
            Verdict::RedLine(place) => return Err(red_line(Reason::RedLine, place)),
            Verdict::RedLineError(place) => return Err(red_line(Reason::RedLineError, place)),
            Verdict::ClauseError(place) => {
                return Err(Withheld { clause: Some(place), ..Reason::ConditionError.into() });
            }
        };
        let red = handling::is_red(&header.floor);
        let mut carrying =
            slice.clauses.iter().filter(move |c| places.contains(&c.place) && (c.red || !red)).peekable();
        if carrying.peek().is_none() { Err(Reason::TlpRed.into()) } else { Ok(carrying) }
    }
}

/// Review first, then the release by a person. Both are needed.
fn passes_gate(gate: Gate) -> Result<(), Reason> {
    match gate.review {
        ReviewState::Recalled => Err(Reason::Recalled),
        ReviewState::Refuted => Err(Reason::GateRefuted),
        ReviewState::Draft if gate.required > ReviewState::Draft => Err(Reason::GateDraft),
        review if review < gate.required => Err(Reason::GateReview),
        _ if !gate.released => Err(Reason::GateNotReleased),
        _ => Ok(()),
    }
}

/// Whether one clause permits every field that was shown.
fn permits_shown(covered: &Covered, verified: &Verified) -> bool {
    let kind = verified.header().kind;
    let person = disclose::ptype(kind).and_then(|slot| verified.value(slot)).is_some_and(disclose::is_person);
    let role = disclose::role_slot().filter(|_| kind == Kind::Attachment).and_then(|slot| verified.value(slot));
    verified.shown().iter().all(|number| {
        kind.slot_number(number).is_some_and(|slot| disclose::named(covered, slot, person).is_ok())
            && (!disclose::is_content(kind, number) || disclose::file_released(covered, role))
    })
}
