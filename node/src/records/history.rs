//! What happened to one record, step by step: each with who took it, and whether what that one signed still verifies.
//!
//! Nothing is taken on trust that can be checked: a step whose signature does not verify is shown as such, one that nobody
//! signed says so. What partners signed is shown as theirs. Keys count here whether they still do or not: the question is
//! what was signed then.

mod ours;
mod theirs;

use super::{
    gate::{self, Review},
    keep::KeepError,
    links,
    passing::{self, Hands},
    show,
    view::Found,
};
use crate::{error::Fault, node::Node, users::Held};
use entente_protocol::{
    id::{KeyId, LineId, OrgId, RecordId},
    identity::Purpose,
    primitive::PublicKey,
    record::kind::Kind,
    time::UnixMillis,
};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;

/// Whether a step holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Holds {
    /// Its signature verifies.
    Yes,
    /// It does not, and why.
    No(String),
    /// Nobody signed it: it is said in a record, or kept by this node alone.
    Unsigned,
}

impl<E: ToString> From<Result<(), E>> for Holds {
    fn from(result: Result<(), E>) -> Self {
        result.map_or_else(|why| Self::No(why.to_string()), |()| Self::Yes)
    }
}

/// One step.
#[derive(Debug, Clone)]
struct Step {
    /// When, for the order; what a record says of the world comes first.
    at: Option<UnixMillis>,
    /// When, as it is shown.
    when: String,
    what: String,
    /// `own`, or whose word it is.
    who: String,
    /// The person, where it is one of ours.
    person: Option<Json>,
    key: Option<KeyId>,
    holds: Holds,
    says: String,
}

impl Step {
    fn new(at: UnixMillis, what: impl Into<String>, who: impl Into<String>, says: impl Into<String>) -> Self {
        Self {
            at: Some(at),
            when: at.to_string(),
            what: what.into(),
            who: who.into(),
            person: None,
            key: None,
            holds: Holds::Unsigned,
            says: says.into(),
        }
    }
    /// What a record says of the world, before anybody here had it.
    fn of_world(when: String, what: &str, who: String, says: String) -> Self {
        Self { at: None, when, ..Self::new(UnixMillis(0), what, who, says) }
    }
    fn signed(self, key: Option<KeyId>, holds: impl Into<Holds>) -> Self {
        Self { key, holds: holds.into(), ..self }
    }
    fn by(self, held: Option<&Held>) -> Self {
        let person = held.map(|held| {
            json!({
                "id": held.certificate.id.to_string(),
                "name": held.name(),
                "roles": held.certificate.roles.iter().map(|role| role.name()).collect::<Vec<_>>(),
            })
        });
        Self { person: person.or(self.person), ..self }
    }
    fn json(&self, n: usize) -> Json {
        let (holds, why) = match &self.holds {
            Holds::Yes => (json!(true), Json::Null),
            Holds::No(why) => (json!(false), json!(why)),
            Holds::Unsigned => (Json::Null, Json::Null),
        };
        json!({
            "id": n.to_string(),
            "at": self.when,
            "what": self.what,
            "who": self.who,
            "person": self.person,
            "key": self.key.map(|key| key.to_string()),
            "verified": holds,
            "why_not": why,
            "says": self.says,
        })
    }
}

/// A key that an organisation's card lists, whether it still counts or not.
fn listed(node: &Node, org: OrgId, purpose: Purpose, kid: KeyId) -> Option<PublicKey> {
    let book = node.book();
    let card = if org == node.keys.org { &node.keys.card } else { book.card(org)? };
    card.listed(purpose, kid).map(|entry| entry.key.clone())
}

/// The steps of a record, ours or received, in order.
pub fn history(node: &Node, given: &str) -> Result<Json, Fault> {
    let (id, found) = show::resolve_any(node, given)?;
    let mut steps = collected(node, id, &found)?;
    match &found {
        Found::Own(row) => ours::steps(node, id, row, &mut steps)?,
        Found::Received(agreement, row) => theirs::steps(node, id, (*agreement, row), &mut steps)?,
    }
    told_of(node, id, &found, &mut steps)?;
    // Stable: what happened at one time stays in the order in which it is told.
    steps.sort_by_key(|step| step.at);
    let own = matches!(found, Found::Own(_));
    let not_verified = steps.iter().filter(|step| matches!(step.holds, Holds::No(_))).count();
    let steps: Vec<Json> = steps.iter().enumerate().map(|(n, step)| step.json(n + 1)).collect();
    let view = super::view::view(node, id, &found)?;
    Ok(json!({
        "id": id.to_string(),
        "number": view.number,
        "kind": view.kind,
        "originator": view.originator,
        "state": view.state,
        "eyes": if own { eyes(node, id)? } else { None },
        "not_verified": not_verified,
        "steps": steps,
    }))
}

/// How many persons had a record in hand until it passed its review: `two` or more, `one`, or `office` where it passed in
/// the office's name. None where no review has passed it.
pub fn eyes(node: &Node, id: RecordId) -> Result<Option<&'static str>, KeepError> {
    let events = gate::events(node, id)?;
    let passed = |review: Option<Review>| matches!(review, Some(Review::Reviewed | Review::Verified));
    let passed: Vec<_> = events.iter().filter(|(_, event)| passed(event.review)).collect();
    if passed.is_empty() {
        return Ok(None);
    }
    if passed.iter().any(|(_, event)| event.signer.is_none()) {
        return Ok(Some("office"));
    }
    let matter = Hands::default().matter(node, id)?;
    let hands: BTreeSet<_> = matter.collectors.union(&matter.reviewers).collect();
    Ok(Some(if hands.len() > 1 { "two" } else { "one" }))
}

/// Fields that say who collected it, when, where and with what, by kind.
const COLLECTED: [&[&str]; 4] = [
    &["documented-by", "author", "made-by"],
    &["documented", "documented-month", "documented-year", "taken", "taken-month", "taken-year", "made-at"],
    &["place-point", "place-cell", "place-region", "place-country"],
    &["camera"],
];

/// What the record itself says of its collection; and of the event that it belongs to.
fn collected(node: &Node, id: RecordId, found: &Found) -> Result<Vec<Step>, Fault> {
    let mut steps = Vec::new();
    let view = super::view::view(node, id, found)?;
    steps.extend(collection(node, "collected", &view));
    let (links, _) = links::links(node, id, found)?;
    for link in links.iter().filter(|link| text(link, "kind") == Kind::Event.name()) {
        let refers = link.get("refers_by").and_then(Json::as_array).is_some_and(|by| by.contains(&json!("event")));
        if refers && let Ok((event, found)) = show::resolve_any(node, text(link, "id")) {
            steps.extend(collection(node, "collected", &super::view::view(node, event, &found)?));
        }
    }
    Ok(steps)
}

fn collection(node: &Node, what: &str, view: &super::view::RecordView) -> Option<Step> {
    let first = |names: &[&str]| names.iter().find_map(|name| view.fields.get(*name)).map(|said| brief(node, said));
    let [who, when, place, device] = COLLECTED.map(first);
    if [&who, &when, &place, &device].iter().all(|said| said.is_none()) {
        return None;
    }
    let said = [("by", &who), ("at", &place), ("with", &device)];
    let said = said.iter().filter_map(|(word, said)| said.as_ref().map(|said| format!("{word} {said}")));
    let of = view.number.as_ref().map(|number| format!(" (record {number})")).unwrap_or_default();
    let says = format!("{}{of}", said.collect::<Vec<_>>().join(", "));
    Some(Step::of_world(when.unwrap_or_default(), what, view.originator.clone(), says))
}

/// A field in few words: a place in degrees, a record that is referred to by its number.
fn brief(node: &Node, value: &Json) -> String {
    let degrees = |v: &Json| v.as_i64().unwrap_or_default() as f64 / 1e7;
    match value {
        Json::Null => String::new(),
        Json::Bool(is) => if *is { "yes" } else { "no" }.to_owned(),
        Json::String(text) => text.clone(),
        Json::Number(ms) => ms.as_u64().map_or_else(|| ms.to_string(), |ms| UnixMillis(ms).to_string()),
        Json::Array(items) => match items.as_slice() {
            [lon @ Json::Number(_), lat @ Json::Number(_)] => {
                format!("{:.4}, {:.4} (0.1° cell)", degrees(lat), degrees(lon))
            }
            [Json::String(org), Json::String(line)] => {
                referred(node, org, line).unwrap_or_else(|| format!("{org}, {line}"))
            }
            items => items.iter().map(|item| brief(node, item)).collect::<Vec<_>>().join(", "),
        },
        Json::Object(members) => {
            if let Some([lon, lat]) = members.get("geo").and_then(Json::as_array).map(Vec::as_slice) {
                return format!("{:.4}, {:.4}", degrees(lat), degrees(lon));
            }
            members.values().map(|said| brief(node, said)).collect::<Vec<_>>().join(" ")
        }
    }
}

/// The record that a reference names, as people know it.
fn referred(node: &Node, org: &str, line: &str) -> Option<String> {
    let (org, line) = (org.parse::<OrgId>().ok()?, line.parse::<LineId>().ok()?);
    let named = links::named(node, org, line).ok().flatten();
    Some(named.unwrap_or_else(|| format!("a record that is not here (line {})", line.short())))
}

fn text<'a>(json: &'a Json, key: &str) -> &'a str {
    json.get(key).and_then(Json::as_str).unwrap_or_default()
}

/// Records that speak of this one: where it was handed on, and what is disputed.
fn told_of(node: &Node, id: RecordId, found: &Found, steps: &mut Vec<Step>) -> Result<(), Fault> {
    let (links, _) = links::links(node, id, found)?;
    for link in &links {
        let refers = link.get("referred_by").and_then(Json::as_array).is_some_and(|by| !by.is_empty());
        let Ok((other, found)) = show::resolve_any(node, text(link, "id")) else { continue };
        if !refers {
            continue;
        }
        let view = super::view::view(node, other, &found)?;
        let field = |name: &str| view.fields.get(name).map(|said| brief(node, said)).unwrap_or_default();
        let (what, says) = match text(link, "kind") {
            kind if kind == Kind::CustodyEvent.name() => {
                let each = ["by", "from", "to", "place-region", "place-country", "reason", "seal"];
                let said = each.iter().map(|name| (name, field(name))).filter(|(_, said)| !said.is_empty());
                let said: Vec<String> = said.map(|(name, said)| format!("{name} {said}")).collect();
                (format!("custody: {}", field("code")), said.join(", "))
            }
            kind if kind == Kind::RedFlag.name() => {
                let contested = field("contested");
                let what = if contested.is_empty() { "flagged" } else { "disputed" };
                (what.to_owned(), format!("{} {contested}", field("code")).trim().to_owned())
            }
            kind if kind == Kind::Link.name() => {
                (format!("linked: {}", field("rel")), format!("from {} to {}", field("from"), field("to")))
            }
            _ => continue,
        };
        let (at, key, holds) = attested(node, other, &found)?;
        let says = format!("{says} (record {})", view.number.unwrap_or_else(|| other.short()));
        steps.push(Step::new(at, what, view.originator, says).signed(key, holds));
    }
    Ok(())
}

/// When a record was attested, by which key, and whether that holds.
fn attested(node: &Node, id: RecordId, found: &Found) -> Result<(UnixMillis, Option<KeyId>, Holds), Fault> {
    match found {
        Found::Own(row) => ours::attested(node, id, row),
        Found::Received(agreement, row) => theirs::attested(node, id, (*agreement, row)),
    }
}

/// What persons of ours signed about a record at the gate.
fn at_gate(node: &Node, id: RecordId, persons: &[Held], steps: &mut Vec<Step>) -> Result<(), KeepError> {
    for (place, event) in gate::events(node, id)? {
        let held = event.signer.and_then(|signer| persons.iter().find(|held| held.digest == signer));
        let names = match passing::verified(node, &event, persons) {
            Ok(signed) if signed.records.contains(&id) => Ok(()),
            Ok(_) => Err("it does not name this record".to_owned()),
            Err(why) => Err(why),
        };
        let what = match (&event.stage, event.review) {
            (Some(stage), _) => format!("stage: {stage}"),
            (None, Some(review)) => review.name().to_owned(),
            (None, None) => "released for sharing".to_owned(),
        };
        let says = match event.signer {
            Some(_) => format!("event {place}"),
            None => format!("event {place}, in the office's name: no person signed"),
        };
        steps.push(Step::new(event.at, what, "own", says).signed(Some(event.user), names).by(held));
    }
    Ok(())
}

/// The signer of something, as it names itself.
fn signer(signed: &entente_protocol::cose::SignatureBytes) -> Option<KeyId> {
    signed.parse().ok().map(|signed| signed.kid())
}

/// Whether the eyes on a record are to be told, and how.
pub fn eyes_told(eyes: &str) -> Option<&'static str> {
    match eyes {
        "one" => Some("SINGLE REVIEWER: one person alone collected and passed this record"),
        "office" => Some("SINGLE OFFICE: this record was passed in the office's name, and no person signed"),
        _ => None,
    }
}
