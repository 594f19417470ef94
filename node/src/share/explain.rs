//! Explaining one record and one partner: which fields would leave, under which clause, or why not.

use super::{
    decide::{self, Asked},
    feeds,
};
use crate::{error::Fault, node::Node, records::show};
use serde_json::{Value as Json, json};

/// Answers for every agreement in force with the partner.
pub fn explain(node: &Node, record: &str, partner: &str) -> Result<Json, Fault> {
    let id = show::resolve_own(node, record)?;
    let org = node.book().find(partner)?.0;
    let asked = Asked::load(node, id).map_err(Fault::store)?;
    let kind = asked.body.header().kind;
    let rules = node.rules();
    let mut answers = Vec::new();
    for (agreement, _, _) in feeds::agreements_with(node, org) {
        let feed = feeds::outgoing(node, org, agreement);
        let referable = asked.referable(node, feed.id()).map_err(Fault::store)?;
        let explanation = asked.ask(node, &feed, referable, |question| rules.policy.explain(question));
        let sent = decide::released(node, id, feed.id()).map_err(Fault::store)?;
        let goes = explanation.disclosed.iter().map(|field| json!({ "field": field, "leaves": true }));
        let stays = explanation.fields_withheld.iter().map(|f| {
            json!({ "field": f.field, "leaves": false, "code": f.reason.code(), "why": f.reason.sentence() })
        });
        let fields: Vec<Json> = goes.chain(stays).collect();
        let withheld = explanation.withheld.as_ref().map(|w| w.reason);
        let held = rules.agreements.get(agreement);
        answers.push(json!({
            "id": agreement.to_string(),
            "agreement": agreement.to_string(),
            "title": held.and_then(|h| h.in_force.as_ref()).map(|f| f.agreement.title.clone()),
            "leaves": withheld.is_none(),
            "clause": explanation.clause,
            "code": withheld.map(|r| r.code()),
            "why": withheld.map(|r| r.sentence()),
            "sent": sent.is_some_and(|s| !s.withdrawn),
            "file": explanation.file,
            "fields": fields,
        }));
    }
    if answers.is_empty() {
        let reason = entente_policy::Reason::NoAgreement;
        answers.push(json!({
            "id": Json::Null, "agreement": Json::Null, "leaves": false, "sent": false,
            "code": reason.code(), "why": reason.sentence(), "fields": [],
        }));
    }
    Ok(json!({
        "record": id.to_string(),
        "number": asked.value(0).and_then(|v| v.as_text().map(str::to_owned)),
        "kind": kind.name(),
        "partner": node.handle_of(org),
        "leaves": answers.iter().any(|a| a.get("leaves") == Some(&Json::Bool(true))),
        "agreements": answers,
    }))
}
