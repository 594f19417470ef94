//! Every key of the organisation: for what, from when, until when, and where its private half lies.

use super::suspect;
use crate::{
    error::Fault,
    identity::{NEXT_ROOT_FILE, PURPOSES, file, overlap},
    node::Node,
};
use entente_protocol::{
    identity::{CardKey, Purpose},
    time::UnixMillis,
};
use serde_json::{Value as Json, json};

/// How a key stands at a time.
fn state(entry: &CardKey, in_use: bool, now: UnixMillis) -> &'static str {
    match entry {
        CardKey { compromised: Some(_), .. } => "compromised",
        CardKey { revoked: Some(_), .. } => "revoked",
        entry if !entry.counts_at(now) && entry.from > now => "to come",
        entry if !entry.counts_at(now) => "ended",
        _ if in_use => "in use",
        CardKey { until: Some(_), .. } => "ending",
        _ => "listed",
    }
}

/// Where the private half of a key lies; nothing where it is gone or elsewhere.
fn lies(node: &Node, purpose: Purpose, newest: bool) -> Option<String> {
    let name = match purpose {
        Purpose::Root => "root.age".to_owned(),
        Purpose::Issuing => "issuing.age".to_owned(),
        Purpose::Node if newest && file(&node.home, overlap::NEXT_NODE).exists() => overlap::NEXT_NODE.to_owned(),
        Purpose::Node => "tls.age".to_owned(),
        signing => {
            let (name, _) = PURPOSES.iter().find(|(_, of)| *of == signing)?;
            format!("{name}.age")
        }
    };
    file(&node.home, &name).exists().then(|| format!("keys/{name}"))
}

/// Every key that the card lists, and the root to come.
pub fn list(node: &Node) -> Result<Json, Fault> {
    let (now, card) = (node.clock.now(), &*node.keys.card);
    let mut rows = Vec::new();
    for purpose in Purpose::ALL {
        let mut entries: Vec<&CardKey> = card.keys(purpose).collect();
        entries.sort_by_key(|entry| entry.from);
        let newest = entries.last().map(|entry| entry.key.id());
        for entry in entries {
            let id = entry.key.id();
            let is_newest = newest == Some(id);
            let waits = purpose == Purpose::Node && file(&node.home, overlap::NEXT_NODE).exists();
            let in_use = match purpose {
                Purpose::Root => entry.key == *card.root(),
                _ => is_newest != waits,
            };
            let private = if in_use || is_newest { lies(node, purpose, is_newest) } else { None };
            rows.push(json!({
                "id": id.to_string(),
                "purpose": purpose.name(),
                "state": state(entry, in_use && entry.counts_at(now), now),
                "from": entry.from.to_string(),
                "until": entry.until.map(|t| t.to_string()),
                "revoked": entry.revoked.map(|t| t.to_string()),
                "compromised_since": entry.compromised.map(|t| t.to_string()),
                "private": private,
                "suspect_records": suspect::by_own(node, id)?,
            }));
        }
    }
    if let Some(next) = card.payload().next_root {
        let here = file(&node.home, NEXT_ROOT_FILE).exists();
        rows.push(json!({
            "id": next.to_string(),
            "purpose": "next root",
            "state": "committed to",
            "from": Json::Null,
            "until": Json::Null,
            "revoked": Json::Null,
            "compromised_since": Json::Null,
            "private": here.then(|| format!("keys/{NEXT_ROOT_FILE}")),
            "suspect_records": 0,
        }));
    }
    Ok(Json::Array(rows))
}
