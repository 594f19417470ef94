//! Clauses and red lines to Cedar: one validated policy for each clause, direction, partner and kind.
//!
//! `set` builds an [`Engine`] for each slice; the decider asks it. Cedar skips a policy that errors,
//! so an erroring forbid would vanish: here any diagnostic is a verdict of its own, and withholds.

use crate::{
    attribute::{self, Attribute, Given},
    condition::{self, Condition, ConditionFault},
    redline::RedLine,
};
use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, Policy,
    PolicySet, Request,
};
use entente_protocol::{
    agreement::Clause,
    id::OrgId,
    record::{Header, kind::Kind},
    value::Value,
};
use std::{
    collections::{HashMap, HashSet},
    str::FromStr,
    sync::Arc,
};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// To release one of our records to a partner.
    Release,
    /// To accept a record that a partner sent.
    Accept,
}

impl Action {
    /// Its name in red lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Accept => "accept",
        }
    }
    /// By its name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Release, Self::Accept].into_iter().find(|action| action.name() == name)
    }
    fn uid(self) -> Option<EntityUid> {
        let name = EntityTypeName::from_str("Action").ok()?;
        Some(EntityUid::from_type_name_and_id(name, EntityId::new(self.name())))
    }
}

/// What the engine found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// These clauses apply, by their places, rising.
    Clauses(Arc<[u16]>),
    /// None applies; whether a field that a condition reads is missing.
    NoClause { absent: bool },
    /// A red line holds, by its place.
    RedLine(usize),
    /// A red line could not be evaluated.
    RedLineError(usize),
    /// A clause's condition could not be evaluated.
    ClauseError(u16),
}

/// The policies of one slice and what they read.
#[derive(Debug)]
pub(crate) struct Engine {
    principal: EntityUid,
    action: EntityUid,
    resource: EntityUid,
    policies: PolicySet,
    reads: Vec<&'static Attribute>,
    /// For each clause, the places in `reads` whose absence makes it not apply.
    guards: Vec<Vec<usize>>,
}

/// A clause's policy for one receiver and kind. Its condition counts only where we are the sender:
/// a receiver does not see all that a condition reads.
pub(crate) fn permit(
    place: u16,
    clause: &Clause,
    action: Action,
    partner: OrgId,
    kind: Kind,
) -> Result<(Policy, Vec<&'static Attribute>, Vec<&'static Attribute>), ConditionFault> {
    let head = format!(
        "permit(principal == Organisation::\"{partner}\", action == Action::\"{}\", resource is {})",
        action.name(),
        attribute::type_name(kind)
    );
    let id = format!("c{place}");
    let Some(when) = clause.when.as_deref().filter(|_| action == Action::Release) else {
        return Ok((condition::parse_policy(&id, &format!("{head};"))?, Vec::new(), Vec::new()));
    };
    let parsed = Condition::parse(when)?;
    let reads = parsed.reads(kind)?;
    let policy = condition::parse_policy(&id, &format!("{head} when {{ {} }};", parsed.permitting(&reads)))?;
    Ok((policy, reads.all, reads.guarded))
}

/// A red line's policy for one kind.
pub(crate) fn forbid(
    place: usize,
    line: &RedLine,
    kind: Kind,
) -> Result<(Policy, Vec<&'static Attribute>), ConditionFault> {
    let head = format!(
        "forbid(principal, action == Action::\"{}\", resource is {})",
        line.action.name(),
        attribute::type_name(kind)
    );
    let id = format!("r{place}");
    let Some(when) = &line.when else {
        return Ok((condition::parse_policy(&id, &format!("{head};"))?, Vec::new()));
    };
    let parsed = Condition::parse(when)?;
    let reads = parsed.reads(kind)?;
    let policy = condition::parse_policy(&id, &format!("{head} when {{ {}\n}};", parsed.forbidding(&reads)))?;
    Ok((policy, reads.all))
}

impl Engine {
    /// The engine for one slice: these clauses and these red lines, each with its place.
    pub(crate) fn new(
        action: Action,
        partner: OrgId,
        kind: Kind,
        clauses: &[(u16, &Clause)],
        red_lines: &[(usize, &RedLine)],
    ) -> Result<Self, ConditionFault> {
        let mut reads: Vec<&'static Attribute> = Vec::new();
        let mut place_of = |attribute: &'static Attribute| {
            reads.iter().position(|known| *known == attribute).unwrap_or_else(|| {
                reads.push(attribute);
                reads.len() - 1
            })
        };
        let mut policies = Vec::new();
        let mut guards = Vec::new();
        for (place, clause) in clauses {
            let (policy, all, guarded) = permit(*place, clause, action, partner, kind)?;
            all.into_iter().for_each(|a| _ = place_of(a));
            guards.push(guarded.into_iter().map(&mut place_of).collect());
            policies.push(policy);
        }
        for (place, line) in red_lines {
            let (policy, all) = forbid(*place, line, kind)?;
            all.into_iter().for_each(|a| _ = place_of(a));
            policies.push(policy);
        }
        Ok(Self {
            principal: attribute::organisation(partner).ok_or(ConditionFault::Engine)?,
            action: action.uid().ok_or(ConditionFault::Engine)?,
            resource: attribute::record(kind).ok_or(ConditionFault::Engine)?,
            policies: PolicySet::from_policies(policies).map_err(|_| ConditionFault::Engine)?,
            reads,
            guards,
        })
    }

    /// The attributes that its policies read, in a fixed order.
    pub(crate) fn reads(&self) -> &[&'static Attribute] {
        &self.reads
    }

    /// What its policies read of one record, in a fixed order.
    pub(crate) fn load(&self, header: &Header, values: &dyn Fn(u8) -> Option<Value>) -> Vec<Option<Given>> {
        self.reads.iter().map(|attribute| attribute.load(header, values)).collect()
    }

    /// Evaluates every policy over what [`Engine::load`] gave.
    pub(crate) fn judge(&self, given: &[Option<Given>]) -> Verdict {
        // Whatever keeps the engine from answering withholds, as an erroring clause would.
        let broken = Verdict::ClauseError(0);
        let mut attributes = HashMap::with_capacity(given.len());
        for (attribute, value) in self.reads.iter().zip(given) {
            let Some(value) = value.clone() else { continue };
            let Some(expression) = value.expression() else { return broken };
            attributes.insert(attribute.name.clone(), expression);
        }
        let Ok(entity) = Entity::new(self.resource.clone(), attributes, HashSet::new()) else { return broken };
        let Ok(entities) = Entities::from_entities([entity], None) else { return broken };
        let request =
            Request::new(self.principal.clone(), self.action.clone(), self.resource.clone(), Context::empty(), None);
        let Ok(request) = request else { return broken };
        let response = Authorizer::new().is_authorized(&request, &self.policies, &entities);
        let erroring =
            response.diagnostics().errors().map(|AuthorizationError::PolicyEvaluationError(e)| e.policy_id());
        if let Some(verdict) = first_error(erroring.map(AsRef::as_ref)) {
            return verdict;
        }
        let mut deciding: Vec<&str> = response.diagnostics().reason().map(AsRef::as_ref).collect();
        deciding.sort_unstable();
        match response.decision() {
            Decision::Allow => {
                let mut places: Vec<u16> = deciding.into_iter().filter_map(clause_place).collect();
                places.sort_unstable();
                Verdict::Clauses(places.into())
            }
            Decision::Deny => match deciding.into_iter().filter_map(red_line_place).min() {
                Some(place) => Verdict::RedLine(place),
                None => {
                    let lacks = |guard: &usize| given.get(*guard).is_none_or(Option::is_none);
                    Verdict::NoClause { absent: self.guards.iter().flatten().any(lacks) }
                }
            },
        }
    }
}

fn clause_place(id: &str) -> Option<u16> {
    id.strip_prefix('c')?.parse().ok()
}

fn red_line_place(id: &str) -> Option<usize> {
    id.strip_prefix('r')?.parse().ok()
}

/// Of several errors a red line's comes first, then the first clause's, so that the answer is always the same.
fn first_error<'a>(ids: impl Iterator<Item = &'a str>) -> Option<Verdict> {
    let ids: Vec<&str> = ids.collect();
    let red_line = ids.iter().filter_map(|id| red_line_place(id)).min();
    let clause = ids.iter().filter_map(|id| clause_place(id)).min();
    red_line
        .map(Verdict::RedLineError)
        .or(clause.map(Verdict::ClauseError))
        .or((!ids.is_empty()).then_some(Verdict::ClauseError(0)))
}
