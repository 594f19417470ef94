//! Every key of the organisation: for what, from when, until when, and where its private half lies.

use super::suspect;
use crate::{
    error::Fault,
    identity::{NEXT_ROOT_FILE, PURPOSES, file, overlap},
    node::Node,
    seal::keyring::Partition,
    store::{StoreError, layout::Table},
};
use entente_protocol::{
    id::KeyId,
    identity::{CardKey, Purpose, UnconfirmedCard},
    limits,
    time::UnixMillis,
};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

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

/// When each key was listed first, as far as cards of ours that were kept tell.
fn first_listed(node: &Node) -> Result<BTreeMap<KeyId, UnixMillis>, Fault> {
    let (own, mut first, mut after) = (node.keys.org.as_bytes(), BTreeMap::new(), None);
    loop {
        let page = node.holdings.list(Partition::Node, Table::Card, own, after, 64)?;
        let Some((last, _)) = page.last() else { return Ok(first) };
        after = Some(*last);
        for (n, bytes) in &page {
            let card = UnconfirmedCard::from_bytes(bytes).map_err(|_| StoreError::Broken { at: *n })?;
            for entry in &card.payload().keys {
                first.entry(entry.key.id()).or_insert(card.payload().issued);
            }
        }
    }
}

/// Since when a key is there. Partners are told an earlier time, for their clocks may be behind (`super::from`).
fn since(entry: &CardKey, first: Option<UnixMillis>) -> UnixMillis {
    first.filter(|at| *at >= entry.from && at.minus(limits::CLOCK_SKEW_MS_MAX) <= entry.from).unwrap_or(entry.from)
}

/// When what waits for partners to learn of it takes its place: the node's key, and certificates under a root.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Turns {
    pub node: Option<UnixMillis>,
    pub root: Option<UnixMillis>,
}

impl Turns {
    /// Of what waits here now.
    pub fn of(node: &Node) -> Self {
        let card = &*node.keys.card;
        let ends = |purpose, used: &dyn Fn(&CardKey) -> bool| {
            let until = card.keys(purpose).filter(|entry| used(entry)).filter_map(|entry| entry.until);
            until.max().map(|end| end.minus(overlap::GRACE_MS))
        };
        let newest = card.keys(Purpose::Node).max_by_key(|entry| entry.from).map(|entry| entry.key.id());
        let waits = |name: &str| file(&node.home, name).exists();
        Self {
            node: ends(Purpose::Node, &|entry| Some(entry.key.id()) != newest).filter(|_| waits(overlap::NEXT_NODE)),
            root: ends(Purpose::Root, &|entry| entry.key != *card.root())
                .filter(|_| waits(&overlap::issuing_under(card.root()))),
        }
    }
    /// When the last of it does.
    pub fn last(self) -> Option<UnixMillis> {
        self.node.max(self.root)
    }
}

/// Every key that the card lists, and the root to come.
pub fn list(node: &Node) -> Result<Json, Fault> {
    let (now, card) = (node.clock.now(), &*node.keys.card);
    let (first, turns) = (first_listed(node)?, Turns::of(node));
    // Keys that were made after the backup from which the home was put back.
    let lacking = node.keys.lacking(now);
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
            let turns = match purpose {
                Purpose::Node if is_newest && waits => turns.node,
                Purpose::Root | Purpose::Issuing if in_use => turns.root,
                _ => None,
            };
            let state = match state(entry, in_use && entry.counts_at(now), now) {
                "listed" if is_newest && waits => "waits",
                state => state,
            };
            let lost = is_newest && lacking.contains(&purpose);
            let state = if lost && state != "compromised" && state != "revoked" { "lost" } else { state };
            let private = if (in_use || is_newest) && !lost { lies(node, purpose, is_newest) } else { None };
            rows.push(json!({
                "id": id.to_string(),
                "purpose": purpose.name(),
                "state": state,
                "from": since(entry, first.get(&id).copied()).to_string(),
                "turns": turns.map(|t| t.to_string()),
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
            "turns": Json::Null,
            "until": Json::Null,
            "revoked": Json::Null,
            "compromised_since": Json::Null,
            "private": here.then(|| format!("keys/{NEXT_ROOT_FILE}")),
            "suspect_records": 0,
        }));
    }
    Ok(Json::Array(rows))
}
