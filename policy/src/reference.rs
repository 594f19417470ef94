//! The slow, obvious second opinion: walks the checked agreement, rule by rule, as AGREEMENTS.md tells them.
//!
//! Test only. It shares no code with the decider: no slices, no memory, no compiled policies; Cedar is
//! used for nothing but the value of a condition's expression.

use crate::{
    Action, Gate, Governed, Interval, PartnerState, Question, Reason, RedLine, ReviewState, attribute::type_name,
};
use cedar_policy::{
    Context, Entities, Entity, EntityUid, EvalResult, Expression, Request, RestrictedExpression, eval_expression,
};
use entente_protocol::{
    agreement::{Agreement, Clause, Duty, Onward, Standing},
    grant::Grant,
    id::{AgreementId, OrgId},
    record::{Header, Shape, Tlp, Verified, kind::Kind, ladder::Edtf, schema_digest},
    time::UnixMillis,
    value::Value,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// What decisions depend on, as it was given.
pub(crate) struct World {
    pub(crate) own: OrgId,
    pub(crate) agreements: Vec<Governed>,
    pub(crate) red_lines: Vec<RedLine>,
    pub(crate) partners: BTreeMap<OrgId, PartnerState>,
    pub(crate) accredited: Vec<String>,
}

/// A release in plain terms.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Release {
    pub(crate) clause: u16,
    pub(crate) goes: BTreeSet<u8>,
    pub(crate) stays: BTreeMap<u8, Reason>,
    pub(crate) until: UnixMillis,
    pub(crate) file: bool,
}

type Values<'a> = &'a dyn Fn(u8) -> Option<Value>;

impl World {
    pub(crate) fn release(&self, q: &Question<'_>) -> Result<Release, Reason> {
        let governed = self.in_force(q.partner, q.agreement, q.now)?;
        let granted = if q.header.originator == self.own { None } else { Some(self.onward(q, governed)?) };
        gate(q.gate)?;
        if q.header.floor.not_before.is_some_and(|t| t > q.now.early) {
            return Err(Reason::NotBefore);
        }
        let destroyed = self.holding(q.header, q.now)?;
        let agreement = &governed.in_force.agreement;
        let mut found = Vec::new();
        for (place, clause) in agreement.clauses.iter().enumerate() {
            let goes = clause.duty == Duty::Release && clause.from == self.own && clause.to.contains(&q.partner);
            if goes && clause.disclose.iter().any(|d| d.kind == q.header.kind) {
                found.push((u16::try_from(place).unwrap(), clause));
            }
        }
        let found = self.applying(&found, Action::Release, q.partner, q.header, q.values)?;
        let (place, clause) = *found.first().unwrap();
        let (mut goes, mut stays) = fields(clause, q);
        if let Some(grant) = granted {
            let kept: Vec<u8> = q.present.iter().filter(|slot| !grant.scope.slots.contains(*slot)).collect();
            for slot in kept {
                goes.remove(&slot);
                stays.insert(slot, Reason::SlotNotGranted);
            }
        }
        if goes.is_empty() {
            return Err(Reason::NothingToDisclose);
        }
        let file = q.header.kind == Kind::Attachment && goes.contains(&11);
        let until = destroyed.map_or(agreement.until, |day| day.min(agreement.until));
        let until = granted.map_or(until, |grant| grant.scope.until.min(until));
        Ok(Release { clause: place, goes, stays, until, file })
    }

    pub(crate) fn accept(
        &self,
        from: OrgId,
        agreement: AgreementId,
        verified: &Verified,
        grant: Option<&Grant>,
        now: Interval,
    ) -> Result<(), Reason> {
        let governed = self.in_force(from, agreement, now)?;
        let header = verified.header();
        if header.originator != from {
            let Some(grant) = grant else { return Err(Reason::OnwardWithoutGrant) };
            if header.floor.tlp == Some(Tlp::Red) {
                return Err(Reason::OnwardRed);
            }
            consents(grant, header, from, self.own, &governed.in_force.agreement, now)?;
            if verified.slots().iter().any(|shown| !grant.scope.slots.contains(shown.opening.slot)) {
                return Err(Reason::OverDisclosed);
            }
        }
        self.holding(header, now)?;
        let mut found = Vec::new();
        for (place, clause) in governed.in_force.agreement.clauses.iter().enumerate() {
            let comes = clause.duty == Duty::Release && clause.from == from && clause.to.contains(&self.own);
            if comes && clause.disclose.iter().any(|d| d.kind == header.kind) {
                found.push((u16::try_from(place).unwrap(), clause));
            }
        }
        let found = self.applying(&found, Action::Accept, from, header, &|slot| verified.value(slot).cloned())?;
        if verified.slots().is_empty() {
            return Err(Reason::NothingToDisclose);
        }
        let role = verified.value(9).and_then(Value::as_text);
        let permitted = |clause: &Clause| {
            let named = &clause.disclose.iter().find(|d| d.kind == header.kind).unwrap().slots;
            let person = header.kind == Kind::Party && verified.value(8).and_then(Value::as_text) == Some("person");
            verified.slots().iter().all(|shown| {
                let slot = shown.opening.slot;
                let name = header.kind.slot_number(slot).unwrap().name;
                if person
                    && ["name", "names", "aliases", "addresses", "website"].contains(&name)
                    && !clause.personal.iter().any(|p| p.kind == header.kind && p.slot == slot)
                {
                    return false;
                }
                let file = header.kind == Kind::Attachment && slot == 11;
                named.contains(&slot) && (!file || clause.files.iter().any(|f| Some(f.as_str()) == role))
            })
        };
        if found.iter().any(|(_, clause)| permitted(clause)) { Ok(()) } else { Err(Reason::OverDisclosed) }
    }

    fn onward<'a>(&self, q: &Question<'a>, governed: &Governed) -> Result<&'a Grant, Reason> {
        if q.header.floor.tlp == Some(Tlp::Red) {
            return Err(Reason::OnwardRed);
        }
        let Some(ground) = q.onward else { return Err(Reason::OnwardWithoutGrant) };
        let agreement = &governed.in_force.agreement;
        let may = match ground.rule {
            Onward::WithGrant => true,
            Onward::Never => false,
            Onward::To(orgs) => orgs.contains(&q.partner),
        };
        if !may {
            return Err(Reason::OnwardForbidden);
        }
        if ground.red {
            return Err(Reason::OnwardRed);
        }
        consents(ground.grant, q.header, self.own, q.partner, agreement, q.now)?;
        match (ground.lease_hours, agreement.lease_hours) {
            (Some(_), None) => return Err(Reason::OnwardLease),
            (Some(upstream), Some(ours)) if ours > upstream => return Err(Reason::OnwardLease),
            _ => {}
        }
        if !ground.attested {
            return Err(Reason::OnwardAttestation);
        }
        Ok(ground.grant)
    }

    fn in_force(&self, partner: OrgId, id: AgreementId, now: Interval) -> Result<&Governed, Reason> {
        let Some(governed) = self.agreements.iter().find(|g| g.in_force.agreement.id == id) else {
            return Err(Reason::NoAgreement);
        };
        let agreement = &governed.in_force.agreement;
        if agreement.schema != schema_digest() {
            return Err(Reason::SetAside);
        }
        let parties: Vec<OrgId> = agreement.parties.iter().map(|p| p.id).collect();
        if partner == self.own || !parties.contains(&partner) || !parties.contains(&self.own) {
            return Err(Reason::NotAParty);
        }
        match self.partners.get(&partner) {
            None => Err(Reason::PartnerUnknown),
            Some(PartnerState::Suspended) => Err(Reason::PartnerSuspended),
            Some(PartnerState::Active) if governed.standing == Standing::Ended => Err(Reason::Ended),
            Some(PartnerState::Active) if governed.standing == Standing::Suspended => Err(Reason::Suspended),
            Some(PartnerState::Active) if !now.confirmed => Err(Reason::ClockUncertain),
            Some(PartnerState::Active) if now.early > now.late || now.late.0 - now.early.0 > 60 * 60 * 1_000 => {
                Err(Reason::ClockTooWide)
            }
            Some(PartnerState::Active) if now.early < agreement.from => Err(Reason::NotInForceYet),
            Some(PartnerState::Active) if now.late >= agreement.until => Err(Reason::Expired),
            Some(PartnerState::Active) => Ok(governed),
        }
    }

    /// Destruction and class; gives the day of destruction.
    fn holding(&self, header: &Header, now: Interval) -> Result<Option<UnixMillis>, Reason> {
        // The generator writes whole days only.
        let day = header.floor.destroy_on.as_deref().map(|text| UnixMillis::from_date(text).unwrap());
        if day.is_some_and(|day| day <= now.late) {
            return Err(Reason::Destroyed);
        }
        if let Some(class) = &header.floor.class
            && !class.starts_with("UN:")
            && !self.accredited.contains(class)
        {
            return Err(Reason::ClassNotAccredited);
        }
        Ok(day)
    }

    fn applying<'a>(
        &self,
        found: &[(u16, &'a Clause)],
        action: Action,
        partner: OrgId,
        header: &Header,
        values: Values<'_>,
    ) -> Result<Vec<(u16, &'a Clause)>, Reason> {
        if found.is_empty() {
            return Err(Reason::KindNotCovered);
        }
        let concerned = |line: &&RedLine| {
            line.action == action
                && line.kinds.contains(&header.kind)
                && (line.to.is_empty() || line.to.contains(&partner))
        };
        let lines: Vec<Outcome> =
            self.red_lines.iter().filter(concerned).map(|l| evaluate(l.when.as_deref(), header, values)).collect();
        let when = |clause: &'a Clause| if action == Action::Release { clause.when.as_deref() } else { None };
        let clauses: Vec<Outcome> = found.iter().map(|(_, clause)| evaluate(when(clause), header, values)).collect();
        if lines.contains(&Outcome::Error) {
            return Err(Reason::RedLineError);
        }
        if clauses.contains(&Outcome::Error) {
            return Err(Reason::ConditionError);
        }
        if lines.contains(&Outcome::True) || lines.contains(&Outcome::Absent) {
            return Err(Reason::RedLine);
        }
        if !clauses.contains(&Outcome::True) {
            let absent = clauses.contains(&Outcome::Absent);
            return Err(if absent { Reason::FieldAbsent } else { Reason::ConditionNotMet });
        }
        let apply: Vec<(u16, &Clause)> = found
            .iter()
            .zip(clauses)
            .filter(|((_, clause), outcome)| {
                *outcome == Outcome::True && (clause.red || header.floor.tlp != Some(Tlp::Red))
            })
            .map(|(found, _)| *found)
            .collect();
        if apply.is_empty() { Err(Reason::TlpRed) } else { Ok(apply) }
    }
}

fn consents(
    grant: &Grant,
    header: &Header,
    from: OrgId,
    to: OrgId,
    agreement: &Agreement,
    now: Interval,
) -> Result<(), Reason> {
    let lines = &grant.scope.lines;
    if grant.originator != header.originator
        || grant.from != from
        || grant.to != to
        || grant.scope.kind != header.kind
        || !(lines.is_empty() || lines.contains(&header.line))
        || grant.scope.slots.iter().next().is_none()
    {
        return Err(Reason::OnwardWithoutGrant);
    }
    if now.late >= grant.scope.until {
        return Err(Reason::GrantOver);
    }
    let allowed = &grant.scope.purposes;
    if !allowed.is_empty() && agreement.purposes.iter().any(|purpose| !allowed.contains(purpose)) {
        return Err(Reason::GrantPurpose);
    }
    Ok(())
}

fn gate(gate: Gate) -> Result<(), Reason> {
    use ReviewState::{Draft, Recalled, Refuted, Reviewed, Verified};
    match (gate.review, gate.required) {
        (Recalled, _) => Err(Reason::Recalled),
        (Refuted, _) => Err(Reason::GateRefuted),
        (Draft, Reviewed | Verified | Refuted | Recalled) => Err(Reason::GateDraft),
        (Reviewed, Verified | Refuted | Recalled) | (Verified, Refuted | Recalled) => Err(Reason::GateReview),
        _ if gate.released => Ok(()),
        _ => Err(Reason::GateNotReleased),
    }
}

fn fields(clause: &Clause, q: &Question<'_>) -> (BTreeSet<u8>, BTreeMap<u8, Reason>) {
    let kind = q.header.kind;
    let named = &clause.disclose.iter().find(|d| d.kind == kind).unwrap().slots;
    let (mut goes, mut stays) = (BTreeSet::new(), BTreeMap::new());
    for slot in q.present.iter() {
        let row = kind.slot_number(slot).unwrap();
        let refers = row.name == "supersedes"
            || matches!(row.shape, Shape::Ref | Shape::Refs | Shape::RoleRefs | Shape::Replies)
            || (row.shape == Shape::Contest && (q.values)(slot).unwrap().member("reply").is_some());
        let role = (q.values)(9);
        let file = kind == Kind::Attachment && row.name == "content";
        let ptype = (q.values)(8).and_then(|v| v.as_text().map(str::to_owned));
        let of_a_person = kind == Kind::Party
            && ["name", "names", "aliases", "addresses", "website"].contains(&row.name)
            && ptype.is_none_or(|ptype| ptype == "person");
        if (row.personal || of_a_person) && !clause.personal.iter().any(|p| p.kind == kind && p.slot == slot) {
            stays.insert(slot, Reason::SlotPersonal);
        } else if !named.contains(&slot) {
            stays.insert(slot, Reason::SlotNotNamed);
        } else if file && !clause.files.iter().any(|f| role.as_ref().and_then(Value::as_text) == Some(f.as_str())) {
            stays.insert(slot, Reason::SlotFile);
        } else if refers && !q.referable.contains(slot) {
            stays.insert(slot, Reason::SlotReference);
        } else {
            goes.insert(slot);
        }
    }
    (goes, stays)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    True,
    False,
    Absent,
    Error,
}

/// The value of a condition; absent fields that the text does not ask for make it absent.
fn evaluate(when: Option<&str>, header: &Header, values: Values<'_>) -> Outcome {
    let Some(when) = when else { return Outcome::True };
    let given = given(header, values);
    let word = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let asked: BTreeSet<String> = when.split("resource has ").skip(1).map(word).collect();
    let read: BTreeSet<String> = when.split("resource.").skip(1).map(word).collect();
    if read.difference(&asked).any(|name| !given.contains_key(name)) {
        return Outcome::Absent;
    }
    let uid = |text: String| text.parse::<EntityUid>().unwrap();
    let record = uid(format!("{}::\"r\"", type_name(header.kind)));
    let entity = Entity::new(record.clone(), given, HashSet::new()).unwrap();
    let entities = Entities::from_entities([entity], None).unwrap();
    let (who, what) = (uid("Organisation::\"o\"".to_owned()), uid("Action::\"release\"".to_owned()));
    let request = Request::new(who, what, record, Context::empty(), None).unwrap();
    match eval_expression(&request, &entities, &when.parse::<Expression>().unwrap()) {
        Ok(EvalResult::Bool(true)) => Outcome::True,
        Ok(EvalResult::Bool(false)) => Outcome::False,
        _ => Outcome::Error,
    }
}

/// Every attribute that the record has.
fn given(header: &Header, values: Values<'_>) -> HashMap<String, RestrictedExpression> {
    let text = |t: &str| RestrictedExpression::new_string(t.to_owned());
    let long = RestrictedExpression::new_long;
    let mut all = HashMap::new();
    all.insert("orcon".to_owned(), RestrictedExpression::new_bool(header.floor.orcon));
    let originator = format!("Organisation::\"{}\"", header.originator).parse::<EntityUid>().unwrap();
    all.insert("originator".to_owned(), RestrictedExpression::new_entity_uid(originator));
    let codes = header.floor.eu_hc.iter().map(|code| long(i64::from(*code)));
    all.insert("eu_hc".to_owned(), RestrictedExpression::new_set(codes));
    if let Some(tlp) = header.floor.tlp {
        all.insert("tlp".to_owned(), text(tlp.name()));
    }
    if let Some(class) = &header.floor.class {
        all.insert("class".to_owned(), text(class));
    }
    for slot in header.kind.slots() {
        let Some(value) = values(slot.number) else { continue };
        let name = slot.name.replace('-', "_");
        let items = || value.as_array().unwrap().to_vec();
        let expression = match slot.shape {
            Shape::Name | Shape::Prefix | Shape::Code(_) | Shape::Country => text(value.as_text().unwrap()),
            Shape::Time | Shape::Uint => long(value.as_int().unwrap()),
            Shape::Bool => RestrictedExpression::new_bool(value == Value::Bool(true)),
            Shape::Texts => RestrictedExpression::new_set(items().iter().map(|v| text(v.as_text().unwrap()))),
            Shape::Uints => RestrictedExpression::new_set(items().iter().map(|v| long(v.as_int().unwrap()))),
            Shape::Finding(_) => text(value.member("finding").unwrap().as_text().unwrap()),
            Shape::Edtf | Shape::Month | Shape::Year => {
                let (first, last) = Edtf::parse(value.as_text().unwrap()).unwrap().span();
                all.insert(format!("{name}_first"), long(first.into()));
                all.insert(format!("{name}_last"), long(last.into()));
                text(value.as_text().unwrap())
            }
            Shape::Eval => {
                for (scale, grade) in [("src4", "text"), ("admiralty", "text"), ("inf4", "number")] {
                    let Some(value) = value.member(scale) else { continue };
                    let number = grade == "number";
                    let grade = if number { long(value.as_int().unwrap()) } else { text(value.as_text().unwrap()) };
                    all.insert(scale.to_owned(), grade);
                }
                continue;
            }
            _ => continue,
        };
        all.insert(name, expression);
    }
    all
}
