//! Explaining one record and one partner: which fields would leave, under which clause, or why not.

use super::{
    decide::{self, Asked},
    feeds,
    preview::{SUPERSEDED, SUPERSEDED_WHY, Stays, stays_by},
};
use crate::{
    error::Fault,
    node::Node,
    records::{keep, show},
};
use entente_policy::Withheld;
use serde_json::{Value as Json, json};

/// Answers for every agreement in force with the partner.
pub fn explain(node: &Node, record: &str, partner: &str) -> Result<Json, Fault> {
    let id = show::resolve_own(node, record)?;
    let org = node.book().find(partner)?.0;
    let asked = Asked::load(node, id).map_err(Fault::store)?;
    let kind = asked.body.header().kind;
    let rules = node.rules();
    let mut answers = Vec::new();
    for (agreement, _, _) in feeds::every_agreement_with(node, org) {
        let feed = feeds::outgoing(node, org, agreement);
        let referable = asked.referable(node, feed.id(), u64::MAX).map_err(Fault::store)?;
        let explanation = asked.ask(node, &feed, referable, |question| rules.policy.explain(question));
        let sent = decide::released(node, id, feed.id()).map_err(Fault::store)?;
        let goes = explanation.disclosed.iter().map(|field| json!({ "id": field, "field": field, "leaves": true }));
        let stays = explanation.fields_withheld.iter().map(|f| {
            let (field, code, why) = (f.field, f.reason.code(), f.reason.sentence());
            json!({ "id": field, "field": field, "leaves": false, "code": code, "why": why })
        });
        let fields: Vec<Json> = goes.chain(stays).collect();
        let withheld = explanation.withheld.as_ref();
        // What corrects it was released, and this partner would not see that: then it does not see this either.
        let hidden = asked.hidden(node, &rules.policy, &feed).map_err(Fault::store)?;
        let superseded = withheld.is_none() && hidden;
        let held = rules.agreements.get(agreement);
        answers.push(json!({
            "id": agreement.to_string(),
            "agreement": agreement.to_string(),
            "title": held.and_then(|h| h.in_force.as_ref()).map(|f| f.agreement.title.clone()),
            "leaves": withheld.is_none() && !hidden,
            "clause": explanation.clause,
            "code": withheld.map(|w| w.reason.code()).or(superseded.then_some(SUPERSEDED)),
            "why": withheld.map(why).or(superseded.then(|| SUPERSEDED_WHY.to_owned())),
            "red_line": withheld.and_then(|w| w.red_line.clone()),
            "sent": sent.is_some_and(|s| !s.withdrawn),
            "file": explanation.file,
            "fields": fields,
        }));
    }
    if answers.is_empty() {
        let reason = entente_policy::Reason::NoAgreement;
        answers.push(json!({
            "id": reason.code(), "agreement": Json::Null, "leaves": false, "sent": false,
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
    let mut fields: BTreeMap<(&'static str, entente_policy::Reason), u64> = BTreeMap::new();
    let mut after = None;
    loop {
        let page = keep::after(node, after)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        for (_, id) in page {
            let asked = Asked::load(node, id).map_err(Fault::store)?;
            records += 1;
            let mut stays = Some(stays_by(entente_policy::Reason::NoAgreement.into()));
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
