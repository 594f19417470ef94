//! Explaining one record and one partner: which fields would leave, under which clause, or why not; and of a received
//! record what is here, and why the rest is not.

use super::{
    ShareError,
    decide::{self, Asked},
    feeds,
    preview::{SUPERSEDED, SUPERSEDED_WHY, SUSPECT, SUSPECT_WHY, Stays, stays_by},
};
use crate::{
    agreements,
    error::Fault,
    keys::suspect,
    node::Node,
    onward::holding::{self, Holding},
    recall::retention,
    receive::lease,
    records::{
        keep, show,
        stored::ReceivedRow,
        view::{self, Found},
    },
};
use entente_policy::{Explanation, Reason, Withheld};
use entente_protocol::{
    feed::FeedKey,
    id::{AgreementId, OrgId, RecordId},
    record::{Body, SlotSet},
};
use serde_json::{Value as Json, json};

/// What is explained: a record of ours, or one of another that we hold.
enum Spoken {
    Own(Box<Asked>),
    Other(Box<Holding>),
}

impl Spoken {
    fn of(node: &Node, id: RecordId, found: &Found, org: OrgId) -> Result<Self, Fault> {
        if matches!(found, Found::Own(_)) {
            return Ok(Self::Own(Box::new(Asked::load(node, id).map_err(Fault::store)?)));
        }
        let held = holding::held(node, &node.rules(), id, org).map_err(Fault::store)?;
        let gone = "it is another's, and nothing of it goes on: it was taken back, is locked, or its agreement is over";
        Ok(Self::Other(Box::new(held.ok_or_else(|| Fault::input("not-held", gone))?)))
    }
    fn number(&self) -> Option<String> {
        let value = match self {
            Self::Own(asked) => asked.value(0),
            Self::Other(held) => held.verified.value(0).cloned(),
        };
        value.and_then(|value| value.as_text().map(str::to_owned))
    }
    /// What its originator's grant says of how long it may be held where it goes on.
    fn granted(&self, node: &Node, feed: &FeedKey) -> Option<Json> {
        let Self::Other(held) = self else { return None };
        let rules = node.rules();
        let scope = &held.grant(&rules, feed)?.grant.scope;
        Some(json!({ "retention_days": scope.retention_days, "until": scope.until.to_string() }))
    }
    /// What would go in a feed, and whether an amendment that is not shown hides it.
    fn explain(&self, node: &Node, feed: &FeedKey) -> Result<(Explanation, bool), ShareError> {
        let rules = node.rules();
        match self {
            Self::Own(asked) => {
                let referable = asked.referable(node, feed.id(), u64::MAX)?;
                let explanation = asked.ask(node, feed, referable, |question| rules.policy.explain(question));
                Ok((explanation, asked.hidden(node, &rules.policy, feed)?))
            }
            Self::Other(held) => {
                let referable = held.referable_in(node, feed.id(), u64::MAX)?;
                let at = (referable, node.interval());
                Ok((held.ask(&rules, feed, at, |question| rules.policy.explain(question)), false))
            }
        }
    }
}

/// Answers for every agreement in force with the partner: for a record of ours, or for another's that may go on.
pub fn explain(node: &Node, record: &str, partner: &str) -> Result<Json, Fault> {
    let (id, found) = show::resolve_any(node, record)?;
    let org = node.book().find(partner)?.0;
    let kind = match &found {
        Found::Own(row) => row.kind()?,
        Found::Received(_, row) => Body::from_bytes(&row.body).map_err(Fault::store)?.header().kind,
    };
    let asked = Spoken::of(node, id, &found, org)?;
    let suspect = match &found {
        Found::Own(row) => suspect::own(node, row.batch).map_err(Fault::store)?.is_some(),
        Found::Received(..) => false,
    };
    let rules = node.rules();
    let mut answers = Vec::new();
    for (agreement, _, _) in feeds::every_agreement_with(node, org) {
        let feed = feeds::outgoing(node, org, agreement);
        let (explanation, hidden) = asked.explain(node, &feed).map_err(Fault::store)?;
        let sent = decide::released(node, id, feed.id()).map_err(Fault::store)?;
        let goes = explanation.disclosed.iter().map(|field| json!({ "id": field, "field": field, "leaves": true }));
        let stays = explanation.fields_withheld.iter().map(|f| {
            let (field, code, why) = (f.field, f.reason.code(), f.reason.sentence());
            json!({ "id": field, "field": field, "leaves": false, "code": code, "why": why })
        });
        let fields: Vec<Json> = goes.chain(stays).collect();
        let withheld = explanation.withheld.as_ref();
        let held_back = match (withheld, hidden) {
            (Some(_), _) => None,
            _ if suspect => Some((SUSPECT, SUSPECT_WHY)),
            // What corrects it was released, and this partner would not see that: then it does not see this either.
            (None, true) => Some((SUPERSEDED, SUPERSEDED_WHY)),
            (None, false) => None,
        };
        let held = rules.agreements.get(agreement);
        answers.push(json!({
            "id": agreement.to_string(),
            "agreement": agreement.to_string(),
            "title": held.and_then(|h| h.in_force.as_ref()).map(|f| f.agreement.title.clone()),
            "leaves": withheld.is_none() && held_back.is_none(),
            "clause": explanation.clause,
            "code": withheld.map(|w| w.reason.code()).or(held_back.map(|(code, _)| code)),
            "why": withheld.map(why).or(held_back.map(|(_, why)| why.to_owned())),
            "red_line": withheld.and_then(|w| w.red_line.clone()),
            "sent": sent.is_some_and(|s| !s.withdrawn),
            "grant": asked.granted(node, &feed),
            "file": explanation.file,
            "fields": fields,
        }));
    }
    if answers.is_empty() {
        let reason = Reason::NoAgreement;
        answers.push(json!({
            "id": reason.code(), "agreement": Json::Null, "leaves": false, "sent": false,
            "code": reason.code(), "why": reason.sentence(), "fields": [],
        }));
    }
    Ok(json!({
        "record": id.to_string(),
        "number": asked.number(),
        "kind": kind.name(),
        "partner": node.handle_of(org),
        "leaves": answers.iter().any(|a| a.get("leaves") == Some(&Json::Bool(true))),
        "agreements": answers,
    }))
}

/// Says of a record that a partner recorded what is here under each agreement, by which clause it came, and of every other
/// field why it is not. What the partner keeps back looks like what it does not have: that is its agreement's promise too.
pub fn received(node: &Node, record: &str, partner: &str) -> Result<Json, Fault> {
    let (id, found) = show::resolve_any(node, record)?;
    let org = node.book().find(partner)?.0;
    let (whose, giver) = match &found {
        Found::Received(_, row) => {
            let originator = Body::from_bytes(&row.body).map_err(Fault::store)?.header().originator;
            (originator, row.giver().unwrap_or(originator))
        }
        Found::Own(_) => (node.keys.org, node.keys.org),
    };
    if whose == node.keys.org {
        let what = format!("`{record}` is this organisation's own: `--to` says what of it goes to a partner");
        return Err(Fault::input("not-theirs", what));
    }
    if whose != org && giver != org {
        let [theirs, by, asked] = [whose, giver, org].map(|org| node.handle_of(org));
        let given = if giver == whose { String::new() } else { format!(" and given by `{by}`") };
        let what =
            format!("`{record}` was recorded by `{theirs}`{given}, and nothing of it came from `{asked}`: --from {by}");
        return Err(Fault::input("not-theirs", what));
    }
    let mut answers = Vec::new();
    for agreement in node.partitions() {
        let Some(row) = view::received(node, agreement, id)? else { continue };
        let giver = row.giver().unwrap_or(org);
        if lease::shown(node, agreement, giver).is_ok() {
            answers.push(received_under(node, (giver, id), agreement, row)?);
        }
    }
    let view = view::view(node, id, &found)?;
    Ok(json!({
        "record": id.to_string(),
        "number": view.number,
        "kind": view.kind,
        "partner": node.handle_of(org),
        "originator": view.originator,
        "agreements": answers,
    }))
}

fn received_under(
    node: &Node,
    (giver, id): (OrgId, RecordId),
    agreement: AgreementId,
    row: ReceivedRow,
) -> Result<Json, Fault> {
    let kind = Body::from_bytes(&row.body).map_err(Fault::store)?.header().kind;
    let versions = agreements::versions(&node.holdings, agreement)?;
    let version = retention::version_of(node, agreement, &row)?.and_then(|digest| versions.get(&digest));
    let came_by = version.and_then(|version| version.clauses.get(usize::from(row.clause)));
    // What may come now: the terms may be others than those under which it came.
    let rules = node.rules();
    let held = rules.agreements.get(agreement);
    let in_force = held.and_then(|held| held.in_force.as_ref()).map(|in_force| &in_force.agreement);
    let clauses = in_force.into_iter().flat_map(|terms| &terms.clauses);
    let to_us = clauses.filter(|clause| clause.from == giver && clause.to.contains(&node.keys.org));
    let named: SlotSet =
        to_us.flat_map(|clause| &clause.disclose).filter(|d| d.kind == kind).flat_map(|d| d.set().iter()).collect();
    let state = view::view(node, id, &Found::Received(agreement, Box::new(row.clone())))?.state;
    let (days, until) = retention::kept(&row, came_by).filter(|_| !row.openings.is_empty()).unzip();
    let fields: Vec<Json> = kind
        .slots()
        .map(|slot| {
            let here = row.openings.iter().any(|(number, ..)| *number == slot.number);
            let why = match (here, state.as_str(), named.contains(slot.number)) {
                (true, ..) => None,
                (_, "erased", _) => Some(("erased", "What the record said was deleted here.")),
                (_, _, true) => {
                    Some(("not-given", "A clause names it: the record has none, or its giver keeps it back."))
                }
                _ => Some((Reason::SlotNotNamed.code(), "No clause in this direction names this field.")),
            };
            let (code, why) = why.unzip();
            json!({ "id": slot.name, "field": slot.name, "here": here, "code": code, "why": why })
        })
        .collect();
    Ok(json!({
        "id": agreement.to_string(),
        "agreement": agreement.to_string(),
        "title": version.map(|version| version.title.clone()),
        "version": version.map(|version| version.version),
        "clause": came_by.map(|clause| clause.name.clone()),
        "given_by": node.handle_of(giver),
        "retention_days": days,
        "kept_until": until.map(|until| until.to_string()),
        "at": row.at.to_string(),
        "state": state,
        "fields": fields,
    }))
}

/// The reason in a sentence; a red line is named, for the people who wrote it look for it by its name.
fn why(withheld: &Withheld) -> String {
    match &withheld.red_line {
        Some(name) => format!("{} It is `{name}`.", withheld.reason.sentence()),
        None => withheld.reason.sentence().to_owned(),
    }
}

/// Counts over every record of ours: what leaves to a partner, and what stays and why.
pub fn summary(node: &Node, partner: &str) -> Result<Json, Fault> {
    use std::collections::BTreeMap;
    let org = node.book().find(partner)?.0;
    let rules = node.rules();
    let (mut records, mut leave) = (0u64, 0u64);
    let mut withheld: BTreeMap<Stays, u64> = BTreeMap::new();
    let mut fields: BTreeMap<(&'static str, Reason), u64> = BTreeMap::new();
    let mut after = None;
    loop {
        let page = keep::after(node, after)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        for (_, id) in page {
            let asked = Asked::load(node, id).map_err(Fault::store)?;
            records += 1;
            let mut stays = Some(stays_by(Reason::NoAgreement.into()));
            for (agreement, _, _) in feeds::every_agreement_with(node, org) {
                let feed = feeds::outgoing(node, org, agreement);
                let referable = asked.referable(node, feed.id(), u64::MAX).map_err(Fault::store)?;
                let explanation = asked.ask(node, &feed, referable, |question| rules.policy.explain(question));
                for field in &explanation.fields_withheld {
                    *fields.entry((field.field, field.reason)).or_default() += 1;
                }
                stays = explanation.withheld.map(stays_by);
                if stays.is_none() && asked.hidden(node, &rules.policy, &feed).map_err(Fault::store)? {
                    stays = Some((SUPERSEDED, SUPERSEDED_WHY, None));
                }
                if stays.is_none() && suspect::own(node, asked.row.batch).map_err(Fault::store)?.is_some() {
                    stays = Some((SUSPECT, SUSPECT_WHY, None));
                }
                if stays.is_none() {
                    break;
                }
            }
            match stays {
                None => leave += 1,
                Some(why) => *withheld.entry(why).or_default() += 1,
            }
        }
    }
    let withheld: Vec<Json> = withheld
        .iter()
        .map(|((code, why, line), n)| {
            let id = line.as_ref().map_or_else(|| (*code).to_owned(), |line| format!("{code}: {line}"));
            json!({ "id": id, "code": code, "why": why, "red_line": line, "records": n })
        })
        .collect();
    let fields: Vec<Json> = fields
        .iter()
        .map(|((f, r), n)| {
            let id = format!("{f}: {}", r.code());
            json!({ "id": id, "field": f, "code": r.code(), "why": r.sentence(), "records": n })
        })
        .collect();
    Ok(json!({
        "partner": node.handle_of(org), "records": records, "leave": leave,
        "withheld": withheld, "fields": fields,
    }))
}
