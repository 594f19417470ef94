//! Agreements for people and programs: what is held, where it stands, and the text that people sign.

use super::{AgreementError, Held};
use crate::{
    node::{Node, Rules},
    recall::ending,
};
use entente_policy::{Interval, check};
use entente_protocol::{
    agreement::{Agreement, SignedAgreement, lifecycle::State},
    id::OrgId,
    time::DAY_MS,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

/// A view of an agreement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreementView {
    /// Id over all versions; in a listing, with `/VERSION` for a version after the one in force.
    pub id: String,
    /// Id over all versions.
    pub agreement: String,
    /// Title.
    pub title: String,
    /// Version.
    pub version: u64,
    /// proposed, in-force, suspended, ended, expired, erased, not-yet or set-aside.
    pub state: String,
    /// Why it is set aside, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<String>,
    /// Handles of the parties, first-named first.
    pub parties: Vec<String>,
    /// Handles of those who have signed.
    pub signed_by: Vec<String>,
    /// First day.
    pub from: String,
    /// Last day.
    pub until: String,
    /// Digest of the version.
    pub digest: String,
    /// Handles of those whose people must act before every party has signed it.
    #[serde(default)]
    pub waits_for: Vec<String>,
    /// Whether we are among them.
    pub waits_for_us: bool,
}

/// The state of the version that every party signed, if there is one, and of the agreement else.
fn state_of(rules: &Rules, held: &Held, now: Interval) -> &'static str {
    match held.state((now.early, now.late)) {
        // It is what its parties made it, and this program cannot apply it.
        state if state <= State::InForce && rules.policy.aside(held.id).is_some() => "set-aside",
        state => state.name(),
    }
}

fn view(node: &Node, signed: &SignedAgreement, state: &str) -> Result<AgreementView, AgreementError> {
    let rules = node.rules();
    let agreement = signed.agreement()?;
    let signers: Vec<OrgId> = signed.signed_by().collect();
    let handle = |id: &OrgId| agreement.party(*id).map(|p| p.handle.clone()).unwrap_or_default();
    let waits_for = waits_for(node, signed, &agreement);
    Ok(AgreementView {
        id: agreement.id.to_string(),
        agreement: agreement.id.to_string(),
        title: agreement.title.clone(),
        version: agreement.version,
        state: state.to_owned(),
        set_aside: rules.policy.aside(agreement.id).filter(|_| state == "set-aside").map(ToString::to_string),
        parties: agreement.parties.iter().map(|p| p.handle.clone()).collect(),
        signed_by: signers.iter().map(handle).collect(),
        from: agreement.from.date(),
        until: agreement.until.minus(DAY_MS).date(),
        digest: signed.digest().to_string(),
        waits_for: waits_for.iter().map(handle).collect(),
        waits_for_us: waits_for.contains(&node.keys.org),
    })
}

/// Whose people must act before every party has signed a proposal. Those of ours who approved it have done their part,
/// though our signature comes last; of the first party's we do not know whether they approved, until it alone is missing.
fn waits_for(node: &Node, signed: &SignedAgreement, agreement: &Agreement) -> Vec<OrgId> {
    let rules = node.rules();
    let Some(held) = proposal_of(&rules, signed, agreement) else { return Vec::new() };
    let approved = held.approved && signatories_missing(node, signed, agreement).is_empty();
    let parties = agreement.parties.iter().map(|party| party.id);
    let missing: Vec<OrgId> = parties.filter(|id| !signed.signed_by().any(|party| party == *id)).collect();
    let first = agreement.parties.first().map(|party| party.id);
    let waits = |id: &OrgId| match *id == node.keys.org {
        true => !approved,
        false => Some(*id) != first || missing.len() == 1,
    };
    missing.iter().copied().filter(waits).collect()
}

/// The agreement of which this version is the proposal here.
fn proposal_of<'a>(rules: &'a Rules, signed: &SignedAgreement, agreement: &Agreement) -> Option<&'a Held> {
    let is_it = |held: &&Held| held.proposal.as_ref().is_some_and(|proposal| proposal.digest() == signed.digest());
    rules.agreements.get(agreement.id).filter(is_it)
}

/// Every agreement; one with a later version or a proposal over a version in force stands more than once.
pub fn list(node: &Node) -> Result<Vec<AgreementView>, AgreementError> {
    let now = node.interval();
    let mut out = Vec::new();
    let rules = node.rules();
    for held in rules.agreements.iter() {
        if let Some(signed) = &held.signed {
            out.push(view(node, signed, state_of(&rules, held, now))?);
        }
        let mut later = Vec::new();
        for next in &held.next {
            later.push((next, held.state_of(Some(&next.agreement()?), (now.early, now.late))));
        }
        later.extend(held.proposal.iter().map(|proposal| (proposal, State::Proposed)));
        for (signed, state) in later {
            let mut row = view(node, signed, state.name())?;
            if held.signed.is_some() {
                row.id = format!("{}/{}", row.id, row.version);
            }
            out.push(row);
        }
    }
    Ok(out)
}

/// One agreement with the text that people sign; a proposal over a version in force stands below it as `proposal`.
pub fn show(node: &Node, given: &str) -> Result<Json, AgreementError> {
    let rules = node.rules();
    let held = rules.agreements.find(given)?;
    let now = node.interval();
    let shown = held.proposal.as_ref().map(|p| (p, State::Proposed.name()));
    let current = held.signed.as_ref().map(|s| (s, state_of(&rules, held, now)));
    let both = current.is_some().then_some(shown).flatten();
    let (signed, state) = current.or(shown).ok_or_else(|| AgreementError::Unknown(given.to_owned()))?;
    let mut out = describe(node, signed, state)?;
    let erased = ending::erasures(node, |row| row.agreement == held.id);
    let erased = erased.map_err(|e| AgreementError::Reload(e.to_string()))?;
    if let Some(map) = out.as_object_mut() {
        map.insert("erased".to_owned(), json!(erased));
    }
    if let (Some((proposal, state)), Some(map)) = (both, out.as_object_mut()) {
        map.insert("proposal".to_owned(), describe(node, proposal, state)?);
    }
    Ok(out)
}

/// What receiving a record tells of fields that its clause withholds: conditions read them. Nothing where the agreement
/// cannot be applied here, for then no record is sent under it.
fn reveals(agreement: Agreement) -> Json {
    let found = check::check(agreement).map(|checked| checked.reveals).unwrap_or_default();
    let rows = found.iter().map(|reveal| {
        json!({
            "id": format!("{}/{}/{}", reveal.clause, reveal.kind, reveal.field),
            "clause": reveal.clause,
            "kind": reveal.kind.name(),
            "field": reveal.field,
        })
    });
    rows.collect()
}

/// The persons without whom we do not sign, and who have not approved this version.
fn signatories_missing(node: &Node, signed: &SignedAgreement, agreement: &Agreement) -> Vec<String> {
    if signed.signed_by().any(|party| party == node.keys.org) {
        return Vec::new();
    }
    let rules = node.rules();
    let approved: &[String] = proposal_of(&rules, signed, agreement).map_or(&[], |held| &held.approvers);
    let named = agreement.party(node.keys.org).map_or(&[][..], |party| &party.signatories);
    named.iter().filter(|person| !approved.contains(person)).cloned().collect()
}

pub(super) fn describe(node: &Node, signed: &SignedAgreement, state: &str) -> Result<Json, AgreementError> {
    let agreement = signed.agreement()?;
    let complete = signed.signed_by().count() == agreement.parties.len();
    let mut out = serde_json::to_value(view(node, signed, state)?).unwrap_or_default();
    if let Some(map) = out.as_object_mut() {
        map.insert("complete".to_owned(), json!(complete));
        let missing = signatories_missing(node, signed, &agreement);
        map.insert("signatories_missing".to_owned(), json!(missing));
        map.insert("text".to_owned(), json!(entente_policy::render(&agreement)));
        map.insert("reveals".to_owned(), reveals(agreement));
    }
    Ok(out)
}
