//! What is known of each partner: when things last went well, what is wrong, which keys end, which feeds stand still.

use super::Findings;
use crate::{error::Blame, node::Node, partners::PartnerState, status};
use entente_protocol::{id::OrgId, identity::CardKey, time::DAY_MS};
use serde_json::Value as Json;

/// A partner that was not met for so many days is named.
const MET_DAYS: u64 = 14;
/// A key on a card that ends within so many days is named.
const KEY_DAYS: u64 = 30;

/// Looks at every partner.
pub fn every(node: &Node, findings: &mut Findings) {
    let book = node.book();
    for (org, partner) in book.iter().filter(|(_, partner)| partner.state != PartnerState::Removed) {
        let part = format!("partner {}", partner.handle);
        match status::partner(node, *org) {
            Ok(row) => one(node, *org, &part, &row, findings),
            Err(error) => findings.trouble(&part, Blame::Store, error, "Run `entente check`."),
        }
        let now = node.clock.now();
        let keys = &partner.card.payload().keys;
        // One that gives way to another of its purpose ends in good order.
        let followed = |key: &CardKey, until| {
            keys.iter().any(|next| next.purpose == key.purpose && next.key != key.key && next.counts_at(until))
        };
        let ends = keys.iter().filter_map(|key| key.until.filter(|until| until.0 > now.0 && !followed(key, *until)));
        if let Some(until) = ends.min().filter(|until| until.0 - now.0 < KEY_DAYS * DAY_MS) {
            let says = format!("a key on its card ends on {until}");
            findings.warn(&part, Blame::Partner, says, "Ask the partner for a newer card.");
        }
        if !findings.has_fault(&part) {
            findings.ok(&part, "nothing is in the way");
        }
    }
}

fn one(node: &Node, org: OrgId, part: &str, row: &Json, findings: &mut Findings) {
    for feed in row["feeds"].as_array().into_iter().flatten() {
        for (key, what) in [
            ("stopped", "Talk to the partner; see OPERATING.md, `After a restore`."),
            ("quarantine", "Call the partner: its run does not hold."),
            ("set_aside", "Agree on a version that this program can apply."),
            ("locked_since", "Run `entente sync` with the partner: its lease has passed."),
        ] {
            if let Some(says) = feed[key].as_str() {
                let says = format!(
                    "agreement {}: {says}",
                    feed["agreement"].as_str().unwrap_or_default().get(..8).unwrap_or_default()
                );
                findings.trouble(part, Blame::Partner, says, what);
            }
        }
        let lost = feed["lost"].as_u64().unwrap_or_default();
        if lost > 0 {
            let agreement = feed["agreement"].as_str().unwrap_or_default().get(..8).unwrap_or_default();
            let says = format!(
                "it holds {lost} records of ours under agreement {agreement} that this store does not have: they were recorded \
                 after the backup that was put back"
            );
            let what =
                "Ask its people for them, import them again, and tell it which of its own they take the place of.";
            findings.warn(part, Blame::Setup, says, what);
        }
        if let Some(says) = feed["differs"].as_str() {
            findings.warn(part, Blame::Partner, says, "Compare `entente agreement list` by voice.");
        }
    }
    if let Some(trouble) = row["trouble"].as_str() {
        let what = "Is its node running, its address right, its port open? Then run `entente sync` with it.";
        findings.warn(part, Blame::Partner, trouble, what);
    }
    let health = node.health(org);
    let met = health.began.into_iter().chain(health.success).chain(met(row)).max();
    let now = node.clock.now();
    match met {
        Some(at) if now.0.saturating_sub(at.0) > MET_DAYS * DAY_MS => {
            let says = format!("it was last met on {at}");
            findings.warn(part, Blame::Partner, says, "Run `entente sync` with it, or call its people.");
        }
        None if !row["feeds"].as_array().is_none_or(Vec::is_empty) => {
            findings.warn(part, Blame::Partner, "it was not met yet", "Run `entente sync` with it.");
        }
        _ => {}
    }
}

/// When something was last signed by it, as the status says.
fn met(row: &Json) -> Option<entente_protocol::time::UnixMillis> {
    row["last_success"].as_str().and_then(crate::clock::say::parse)
}
