//! Where the node stands: partners, feeds, lag, last success and last error, sizes.

use crate::{
    agreements,
    clock::say,
    error::Fault,
    node::{Node, health::Rival},
    partners::PartnerState,
    recall::{RecallError, ending, holders},
    receive::{lease, quarantine},
    records::keep,
    room::{self, For},
    seal::keyring::Partition,
    share::{feeds, lost, wishes},
    store::layout::Table,
    users,
};
use entente_protocol::{
    agreement::Standing,
    id::{AgreementId, OrgId},
};
use serde_json::{Value as Json, json};
use std::{fs, path::Path};

/// Bytes of a folder's files. Stops counting at a million files.
pub fn folder_bytes(folder: &Path) -> u64 {
    let mut open = vec![folder.to_owned()];
    let (mut bytes, mut seen) = (0u64, 0u32);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            seen += 1;
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                open.push(entry.path());
            } else if let Ok(meta) = entry.metadata() {
                bytes += meta.len();
            }
            if seen > 1_000_000 {
                return bytes;
            }
        }
    }
    bytes
}

fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Active => "active",
        Standing::Suspended => "suspended",
        Standing::Ended => "ended",
    }
}

/// How it stands with one partner.
pub fn partner(node: &Node, org: OrgId) -> Result<Json, RecallError> {
    let rules = node.rules();
    let mut feeds_out = Vec::new();
    let health = node.health(org);
    // What partners signed tells of exchanges before the node was opened, too.
    let mut success = health.success;
    for (agreement, digest, state) in feeds::every_agreement_with(node, org) {
        let key = feeds::outgoing(node, org, agreement);
        let out = feeds::out_row(node, &key, digest)?;
        let acknowledged = out.countersigned.map_or(0, |c| c.length);
        let log = node.holdings.count(Partition::Own, Table::RecordList, crate::records::gate::RELEASE_LOG)?;
        let mut stopped = feeds::stopped(node, &key)?.map(|row| row.why(&key, node.keys.org));
        let incoming = match feeds::known_store(node, org, agreement)? {
            Some(store) => {
                let key = feeds::incoming(node, org, store, agreement);
                let why = feeds::stopped(node, &key)?.map(|row| row.why(&key, node.keys.org));
                stopped = stopped.or(why);
                Some(feeds::in_row(node, &key)?)
            }
            None => None,
        };
        success = success.max(out.at).max(incoming.as_ref().and_then(|i| i.at));
        feeds_out.push(json!({
            "id": agreement.to_string(),
            "agreement": agreement.to_string(),
            "standing": standing(state),
            "set_aside": rules.policy.aside(agreement).map(ToString::to_string),
            "sent": out.length,
            "acknowledged": acknowledged,
            "undecided": log.saturating_sub(out.filled),
            "last_acknowledged": out.at.map(|t| t.to_string()),
            "received": incoming.as_ref().map_or(0, |i| i.length),
            "last_received": incoming.and_then(|i| i.at).map(|t| t.to_string()),
            "differs": health.differs.get(&agreement).map(|differs| differs.says()),
            "locked_since": lease::locked(node, agreement, org)?.map(|since| since.to_string()),
            "stopped": stopped,
            "lost": lost::of(node, &key)?.count,
            "quarantine": quarantine::of(node, agreement, org)?.map(|row| row.says(&node.handle_of(org))),
        }));
    }
    let book = node.book();
    let last_error = health.last_error();
    let (_, recalls_open) = holders::open_with(node, org)?;
    Ok(json!({
        "id": org.to_string(),
        "handle": node.handle_of(org),
        "state": book.get(org).map_or(PartnerState::Removed.name(), |p| p.state.name()),
        "connected": health.connected(),
        "filled_bytes": room::filled(node, org)?,
        "last_success": success.map(|t| t.to_string()),
        "last_error": last_error.map(|(_, what)| what),
        "last_error_at": last_error.map(|(at, _)| at.to_string()),
        "trouble": health.trouble().map(|(_, what)| what),
        "recalls_open": recalls_open,
        "feeds": feeds_out,
    }))
}

/// Versions that a partner approved in the place of ours, for as long as ours waits. Nodes do not choose between people.
fn rivals(node: &Node, partner: OrgId) -> Vec<String> {
    let rules = node.rules();
    let waits = |(id, rival): (AgreementId, Rival)| {
        rules.agreements.get(id)?.backed(node.keys.org).filter(|ours| ours.digest() == rival.ours)?;
        let (id, handle) = (id.to_string(), node.handle_of(partner));
        Some(format!(
            "agreement {}: people here approved version `{}`, and `{handle}` approved `{}` in its place; each side keeps \
             its own. Agree on one by voice, and sign its file (`entente agreement sign FILE`) on the side that has the other",
            id.get(..8).unwrap_or_default(),
            rival.ours,
            rival.theirs
        ))
    };
    node.health(partner).rivals.into_iter().filter_map(waits).collect()
}

/// What people should look at, in sentences.
fn warnings(node: &Node) -> Vec<String> {
    let rules = node.rules();
    let aside = rules.agreements.iter().filter_map(|held| {
        let (fault, title) = (rules.policy.aside(held.id)?, &held.in_force.as_ref()?.agreement.title);
        let id = held.id.to_string();
        Some(format!(
            "agreement `{title}` ({}) is set aside, and nothing passes under it: {fault}; agree on a version that this \
             program can apply, or run the version of the program that it was signed for",
            id.get(..8).unwrap_or_default()
        ))
    });
    let rivals = rules.book.iter().flat_map(|(org, _)| rivals(node, *org));
    let trouble = say::trouble(node).into_iter().chain(node.keys.trouble(node.clock.now()));
    let damaged = Some(node.damaged()).filter(|count| *count > 0).map(|count| {
        format!(
            "{count} files of ours could not be read and are not given: `entente check` names them; restore a backup"
        )
    });
    trouble
        .chain(room::disk(node, For::Evidence))
        .chain(damaged)
        .chain(users::warning(node))
        .chain(aside)
        .chain(rivals)
        .collect()
}

/// The whole status.
pub fn status(node: &Node) -> Result<Json, Fault> {
    let book = node.book();
    let partners = book.iter().map(|(org, _)| partner(node, *org)).collect::<Result<Vec<_>, _>>();
    let own = keep::count(node).map_err(Fault::store)?;
    let mut received = 0;
    for agreement in node.partitions() {
        received += node.holdings.count(Partition::Agreement(agreement), Table::Received, b"")?;
    }
    let head = node.holdings.head()?;
    let mut waiting = 0;
    for agreement in node.partitions() {
        let partition = Partition::Agreement(agreement);
        for (sender, _) in book.iter() {
            waiting += node.holdings.list(partition, Table::Wanted, &wishes::scope(*sender), None, 10_000)?.len();
        }
    }
    let proposals = agreements::list(node)?.into_iter().filter(|agreement| !agreement.waits_for.is_empty());
    Ok(json!({
        "id": node.keys.org.to_string(),
        "handle": node.config.handle,
        "proposals": proposals.collect::<Vec<_>>(),
        "erasures": ending::erasures(node, |_| true)?,
        "eyes": users::eyes(node)?,
        "warnings": warnings(node),
        "resealing": crate::keys::keyring::view(node),
        "certificate_until": node.keys.certificate_until(node.clock.now()).map(|t| t.to_string()),
        "records_own": own,
        "records_received": received,
        "files_waiting": waiting,
        "appends": head.sequence,
        "store_bytes": folder_bytes(&node.home.store()),
        "partners": partners?,
    }))
}
