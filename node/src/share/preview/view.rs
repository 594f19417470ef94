//! What would leave, and what differs between two versions, for people and programs: counted whole, listed in part.

use super::{Change, Leaving, Outcome, Supposed, changes};
use crate::{
    agreements::{self, Version},
    call::{OnProgress, Progress},
    error::Fault,
    node::Node,
    onward::holding,
    records::keep,
    share::decide::{Asked, Assumed},
};
use entente_policy::check;
use entente_protocol::{
    agreement::Agreement,
    id::{OrgId, RecordId},
    record::{SlotSet, kind::Kind},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// How people want to see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// As if every record were reviewed and released, but for those that people refuted.
    pub as_released: bool,
    /// Records to list for each party.
    pub list: usize,
}

impl Shown {
    const fn assumed(self) -> Assumed {
        Assumed { released: self.as_released }
    }
}

/// What of our holdings would leave under a version, for each other party.
pub fn simulate(node: &Node, version: &Version, shown: Shown, progress: OnProgress<'_>) -> Result<Json, Fault> {
    let named = agreements::version(node, version)?;
    let supposed = Supposed::new(node, named.version, shown.assumed())?;
    let partners = supposed.partners(node);
    let turns = partners.len() as u64;
    let mut parties = Vec::new();
    for (turn, partner) in (0..).zip(partners) {
        let outcome = supposed.ask(node, partner, &mut |at| progress(of_turns(at, turn, turns)));
        parties.push(party(node, &supposed, partner, &outcome.map_err(Fault::store)?, shown)?);
    }
    let Agreement { id, version, title, .. } = &supposed.agreement;
    Ok(json!({
        "agreement": (!named.drawn).then(|| id.to_string()), "title": title, "version": version, "on": supposed.now.early.date(),
        "as_released": shown.as_released, "records": keep::count(node)?, "parties": parties,
    }))
}

/// Which records and fields a new version exposes that the old one does not, and which it takes back.
pub fn diff(node: &Node, versions: [&Version; 2], shown: Shown, progress: OnProgress<'_>) -> Result<Json, Fault> {
    let [old, new] = versions.map(|version| agreements::version(node, version));
    let (old, mut new) = (old?, new?);
    let must_say = agreements::must_say(node, &old, &new)?;
    let drawn = [old.drawn, new.drawn];
    let ids = [&old, &new].map(|named| named.version.agreement.id);
    if node.rules().agreements.get(new.version.agreement.id).is_none() {
        // Of a text that is to take the place of the old one.
        new.version.agreement.id = old.version.agreement.id;
    }
    let [old, new] = [old, new].map(|named| Supposed::new(node, named.version, shown.assumed()));
    let (old, new) = (old?, new?);
    let mut partners = old.partners(node);
    partners.extend(new.partners(node));
    partners.sort_unstable();
    partners.dedup();
    let turns = 2 * partners.len() as u64;
    let mut parties = Vec::new();
    for (turn, partner) in (0..).zip(partners) {
        let mut ask = |supposed: &Supposed, turn| {
            supposed.ask(node, partner, &mut |at| progress(of_turns(at, turn, turns))).map_err(Fault::store)
        };
        let (before, after) = (ask(&old, 2 * turn)?, ask(&new, 2 * turn + 1)?);
        parties.push(difference(node, partner, &before, &after, shown)?);
    }
    let name = |supposed: &Supposed, place: usize| {
        let Agreement { version, title, .. } = &supposed.agreement;
        let id = ids.get(place).filter(|_| drawn.get(place) == Some(&false));
        json!({ "agreement": id.map(ToString::to_string), "title": title, "version": version })
    };
    Ok(json!({
        "old": name(&old, 0), "new": name(&new, 1), "must_say": must_say, "on": new.now.early.date(),
        "as_released": shown.as_released, "records": keep::count(node)?, "parties": parties,
    }))
}

/// One bar over all turns.
const fn of_turns(at: Progress, turn: u64, turns: u64) -> Progress {
    match at.total {
        Some(total) => Progress { done: total * turn + at.done, total: Some(total * turns) },
        None => at,
    }
}

fn names(kind: Kind, slots: SlotSet) -> Vec<&'static str> {
    slots.iter().filter_map(|slot| Some(kind.slot_number(slot)?.name)).collect()
}

/// The number that people gave it.
fn number(node: &Node, partner: OrgId, record: RecordId, of: Option<OrgId>) -> Result<Option<String>, Fault> {
    let value = match of {
        None => Asked::load(node, record)?.value(0),
        Some(_) => {
            holding::held(node, &node.rules(), record, partner)?.and_then(|held| held.verified.value(0).cloned())
        }
    };
    Ok(value.and_then(|value| value.as_text().map(str::to_owned)))
}

fn party(node: &Node, supposed: &Supposed, partner: OrgId, outcome: &Outcome, shown: Shown) -> Result<Json, Fault> {
    let agreement = &supposed.agreement;
    let clause = |place: u16| agreement.clauses.get(usize::from(place)).map_or("", |clause| clause.name.as_str());
    let mut by_clause: BTreeMap<(u16, Kind), (u64, BTreeMap<u8, u64>)> = BTreeMap::new();
    for leaving in &outcome.leaves {
        let (records, fields) = by_clause.entry((leaving.clause, leaving.kind)).or_default();
        *records += 1;
        for slot in leaving.slots.iter() {
            *fields.entry(slot).or_default() += 1;
        }
    }
    let clauses = by_clause.into_iter().map(|((place, kind), (records, fields))| {
        let named = |(slot, records): (u8, u64)| {
            let field = kind.slot_number(slot).map_or("", |slot| slot.name);
            json!({ "id": field, "field": field, "records": records })
        };
        json!({
            "id": format!("{}/{}", clause(place), kind.name()), "clause": clause(place), "kind": kind.name(),
            "records": records, "fields": fields.into_iter().map(named).collect::<Vec<_>>(),
        })
    });
    let stays = outcome.stays.iter().map(|((code, why, red_line), records)| {
        let id = red_line.as_ref().map_or_else(|| (*code).to_owned(), |line| format!("{code}: {line}"));
        json!({ "id": id, "code": code, "why": why, "red_line": red_line, "records": records })
    });
    let fields_stay = outcome.fields_stay.iter().map(|((kind, field, reason), records)| {
        let (kind, code) = (kind.name(), reason.code());
        json!({
            "id": format!("{kind}/{field}: {code}"), "kind": kind, "field": field, "code": code,
            "why": reason.sentence(), "records": records,
        })
    });
    let mut listed = Vec::new();
    for Leaving { record, kind, clause: place, slots, file, of, .. } in outcome.leaves.iter().take(shown.list) {
        listed.push(json!({
            "id": record.to_string(), "number": number(node, partner, *record, *of)?, "kind": kind.name(),
            "of": of.map(|org| node.handle_of(org)), "clause": clause(*place), "fields": names(*kind, *slots), "file": file,
        }));
    }
    Ok(json!({
        "id": node.handle_of(partner), "partner": node.handle_of(partner), "leave": outcome.leaves.len(),
        "leave_others": outcome.leaves.iter().filter(|leaving| leaving.of.is_some()).count(),
        "waits": supposed.waits(node, partner).map(|reason| json!({ "code": reason.code(), "why": reason.sentence() })),
        "held_now": outcome.held_now, "held_then": outcome.held_then,
        "clauses": clauses.collect::<Vec<_>>(), "withheld": stays.collect::<Vec<_>>(),
        "fields_withheld": fields_stay.collect::<Vec<_>>(), "reveals": reveals(node, agreement, partner),
        "listed": listed,
    }))
}

/// Fields of which the partner learns something by receiving a record, although its clause withholds them.
fn reveals(node: &Node, agreement: &Agreement, partner: OrgId) -> Vec<Json> {
    let to_it: Vec<&str> =
        agreement.releasing(node.keys.org, partner).map(|(_, clause)| clause.name.as_str()).collect();
    let found = check::check(agreement.clone()).map(|checked| checked.reveals).unwrap_or_default();
    let found = found.into_iter().filter(|reveal| to_it.contains(&reveal.clause.as_str()));
    found
        .map(|reveal| {
            let kind = reveal.kind.name();
            json!({
                "id": format!("{}/{kind}/{}", reveal.clause, reveal.field),
                "clause": reveal.clause, "kind": kind, "field": reveal.field,
            })
        })
        .collect()
}

fn difference(node: &Node, partner: OrgId, old: &Outcome, new: &Outcome, shown: Shown) -> Result<Json, Fault> {
    let changes = changes(old, new);
    let count = |test: fn(&Change) -> bool| changes.iter().filter(|change| test(change)).count();
    let mut fields: BTreeMap<(Kind, u8), [u64; 2]> = BTreeMap::new();
    for change in &changes {
        for (place, slots) in [change.gained(), change.lost()].into_iter().enumerate() {
            for slot in slots.iter() {
                if let Some(counted) = fields.entry((change.kind, slot)).or_default().get_mut(place) {
                    *counted += 1;
                }
            }
        }
    }
    let fields = fields.into_iter().map(|((kind, slot), [gained, lost])| {
        let (kind, field) = (kind.name(), kind.slot_number(slot).map_or("", |slot| slot.name));
        json!({ "id": format!("{kind}/{field}"), "kind": kind, "field": field, "gained": gained, "lost": lost })
    });
    let mut listed = Vec::new();
    for change in changes.iter().take(shown.list) {
        let what = match (change.old, change.new) {
            (None, _) => "exposed",
            (_, None) => "withdrawn",
            _ => "changed",
        };
        listed.push(json!({
            "id": change.record.to_string(), "number": number(node, partner, change.record, change.of)?,
            "of": change.of.map(|org| node.handle_of(org)), "kind": change.kind.name(),
            "change": what, "gains": names(change.kind, change.gained()), "loses": names(change.kind, change.lost()),
            "file": { "old": change.file[0], "new": change.file[1] },
        }));
    }
    Ok(json!({
        "id": node.handle_of(partner), "partner": node.handle_of(partner),
        "leave_old": old.leaves.len(), "leave_new": new.leaves.len(),
        "exposed": count(|change| change.old.is_none()), "withdrawn": count(|change| change.new.is_none()),
        "changed": count(|change| change.old.is_some() && change.new.is_some()),
        "fields": fields.collect::<Vec<_>>(), "listed": listed,
    }))
}
