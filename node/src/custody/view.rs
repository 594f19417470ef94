//! What people and programs are shown of logs, and what they decide about them.

use super::{
    CosignedRow, CustodyError, UnloggedRow, audit, owed, prove,
    rows::{self, UNLOGGED},
    shown, witness,
};
use crate::{
    call::{OnProgress, Progress},
    error::Fault,
    journal,
    node::Node,
    records::{keep, show},
    regular,
    seal::keyring::Partition,
    store::layout::Table,
    users::Who,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use entente_policy::roles::Act;
use entente_protocol::{
    custody::{
        checkpoint::{Checkpoint, UnverifiedCheckpoint},
        event::EventKind,
        note::{SignatureType, Verifier},
        proof::{LeafProof, logged_batch},
        witness::Watch,
    },
    id::{LoggedDigest, OrgId, StoreId},
    limits,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::path::PathBuf;

/// What can be asked about logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogCall {
    /// The own log, and what is known of partners'.
    Show,
    /// Makes every leaf again from the journal, and checks every head.
    Verify,
    /// The newest head of the own log that was witnessed, or the one that was seen of a partner's.
    Head(Option<String>),
    /// Compares a head that came from elsewhere.
    Witness(PathBuf),
    /// Where the batch of a record stands, and since when that is witnessed.
    Prove(String),
    /// Begins anew with the log of a partner.
    Forget {
        /// Handle or id.
        partner: String,
    },
    /// Events of the journal.
    Journal {
        /// After this one.
        after: Option<u64>,
        /// At most so many.
        limit: u64,
    },
}

impl LogCall {
    /// As the journal and the log of calls name it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Show => "log-show",
            Self::Verify => "log-verify",
            Self::Head(_) => "log-head",
            Self::Witness(_) => "log-witness",
            Self::Prove(_) => "log-prove",
            Self::Forget { .. } => "log-forget",
            Self::Journal { .. } => "log-journal",
        }
    }
    /// Whether it changes nothing.
    pub const fn only_reads(&self) -> bool {
        matches!(self, Self::Show | Self::Verify | Self::Head(_) | Self::Prove(_) | Self::Journal { .. })
    }
}

/// Answers a call about logs.
pub fn answer(node: &Node, call: &LogCall, progress: OnProgress<'_>) -> Result<Json, Fault> {
    Ok(match call {
        LogCall::Show => show(node)?,
        LogCall::Verify => verify(node, progress)?,
        LogCall::Head(of) => head(node, of.as_deref())?,
        LogCall::Witness(path) => compare(node, path)?,
        LogCall::Prove(record) => prove_record(node, record)?,
        LogCall::Forget { partner } => forget(node, partner)?,
        LogCall::Journal { after, limit } => events(node, *after, *limit)?,
    })
}

/// The same for a person: whoever may not read is shown what happened and the own log, and no word that people wrote, no
/// partner, and not which records there are.
pub fn answer_to(node: &Node, call: &LogCall, who: &Who, progress: OnProgress<'_>) -> Result<Json, Fault> {
    let reads = who.held().is_none_or(|held| node.roles.may(held.person(), Act::Read).is_ok());
    if !reads && matches!(call, LogCall::Prove(_)) {
        return Err(Fault::input(
            "not-shown",
            "this names a record, which is not shown to auditors: see `entente audit export`",
        ));
    }
    if !reads && matches!(call, LogCall::Head(Some(_))) {
        let message =
            "this names a partner, which is not shown to auditors: ask the partner itself for the head that it saw";
        return Err(Fault::input("not-shown", message));
    }
    let mut answer = answer(node, call, progress)?;
    match call {
        LogCall::Journal { .. } if !reads => answer = for_auditors(answer),
        LogCall::Show if !reads => {
            if let Some(shown) = answer.as_object_mut() {
                shown.extend(["partners", "unlogged"].map(|key| (key.to_owned(), json!([]))));
            }
            if let Some(by) = answer.pointer_mut("/witnessed/by") {
                *by = json!(by.as_array().map_or(0, Vec::len));
            }
        }
        _ => {}
    }
    Ok(answer)
}

/// The key of the own log as C2SP signed-note writes it: `name+id+key`.
fn verifier_key(node: &Node, origin: &str) -> Result<String, CustodyError> {
    let name = entente_protocol::custody::note::KeyName::new(origin).map_err(|_| CustodyError::Broken("its name"))?;
    let verifier = Verifier::new(name, SignatureType::Ed25519, node.keys.log.public());
    let verifier = verifier.ok_or(CustodyError::Broken("its key is not Ed25519"))?;
    Ok(verifier.vkey())
}

fn cosigners(node: &Node, row: &CosignedRow) -> Vec<Json> {
    let one = |by: &rows::Cosigner| json!({ "id": by.org.to_string(), "partner": node.handle_of(by.org), "at": by.at.to_string(), "named": by.named });
    row.by.iter().map(one).collect()
}

fn show(node: &Node) -> Result<Json, CustodyError> {
    let (origin, size) = node.log.at()?;
    let last = prove::last_cosigned(node)?;
    let witnessed = last.as_ref().map(
        |row| json!({ "size": row.size, "until": origin.begins(row.size).to_string(), "by": cosigners(node, row) }),
    );
    let partners = rows::stores(&node.holdings)?.into_iter().map(|row| partner(node, row.org, row.store));
    let partners = partners.collect::<Result<Vec<_>, CustodyError>>()?;
    let mut unlogged = Vec::new();
    for (n, row) in node.holdings.list(Partition::Node, Table::Log, UNLOGGED, None, 1_000)? {
        let row = UnloggedRow::read(&row)?;
        let proof = hex::encode(&row.proof);
        unlogged.push(json!({ "id": n.to_string(), "partner": node.handle_of(row.org), "at": row.at.to_string(), "evidence": proof }));
    }
    Ok(json!({
        "origin": origin.to_string(),
        "key": verifier_key(node, &origin.to_string())?,
        "epoch": origin.epoch(),
        "interval_s": origin.interval_ms() / 1_000,
        "size": size,
        "until": origin.begins(size).to_string(),
        "witnessed": witnessed,
        "partners": partners,
        "unlogged": unlogged,
    }))
}

/// What is known of the log of one store.
fn partner(node: &Node, org: OrgId, store: StoreId) -> Result<Json, CustodyError> {
    let rows = owed::owed_rows(&node.holdings, org, store)?;
    let count = |state| rows.iter().filter(|(_, row)| row.state == state).count();
    let (state, head) = match witness::watch(node, org, store)? {
        Watch::Unseen => ("unseen", None),
        Watch::Seen(head) => ("witnessed", Some(head)),
        Watch::Forked(fork) => ("forked", Some(fork.heads().1.clone())),
    };
    let at = |head: &Checkpoint| json!({ "size": head.head().size, "until": head.time().to_string(), "epoch": head.origin().epoch() });
    Ok(json!({
        "partner": node.handle_of(org),
        "id": format!("{org}/{store}"),
        "store": store.to_string(),
        "state": state,
        "head": head.as_ref().map(at),
        "awaited": count(owed::State::Awaited),
        "refused": count(owed::State::Refused),
        "unlogged": count(owed::State::Unlogged),
        "lost": count(owed::State::Lost),
        "withheld": owed::withheld(node, org, store)?,
    }))
}

fn verify(node: &Node, progress: OnProgress<'_>) -> Result<Json, Fault> {
    let (origin, size) = node.log.at()?;
    let mut done = 0;
    let mut step = |more: u64| {
        done += more;
        progress(Progress { done, total: Some(size) });
    };
    if let Some(why) = audit::remade(node, &mut step)? {
        return Err(Fault::store(format!("{why}: restore the store from a backup")));
    }
    let (mut heads, mut after) = (0u64, None);
    loop {
        let page = node.holdings.list(Partition::Node, Table::Log, &rows::cosigned(origin.epoch()), after, 256)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        for (n, row) in page {
            let row = CosignedRow::read(&row)?;
            let head = witness::verified(node, &row.note)?.ok_or(CustodyError::Broken("a head of ours is not ours"))?;
            if prove::root(node, row.size)? != head.head().root {
                return Err(Fault::store(format!("witnessed head {n} is not what the log has at its size")));
            }
            heads += 1;
        }
    }
    Ok(json!({ "origin": origin.to_string(), "size": size, "witnessed_heads": heads, "holds": true }))
}

/// A head to keep: whoever has it can tell later whether the log went on from it. A partner's is shown as it signed it.
fn head(node: &Node, of: Option<&str>) -> Result<Json, Fault> {
    let (note, head, org) = match of {
        None => {
            let row = prove::last_cosigned(node)?.ok_or_else(|| {
                let message =
                    "nobody has witnessed the log yet: that happens once a partner is connected, after an interval";
                Fault::input("no-head", message)
            })?;
            let head = witness::verified(node, &row.note)?.ok_or(CustodyError::Broken("a head of ours is not ours"))?;
            (shown::note(&row), head, node.keys.org)
        }
        Some(given) => {
            let org = node.book().find(given)?.0;
            let stores = rows::stores(&node.holdings)?.into_iter().filter(|row| row.org == org);
            let mut heads = Vec::new();
            for row in stores {
                match witness::watch(node, org, row.store)? {
                    Watch::Seen(head) => heads.push(head),
                    Watch::Forked(_) => return Err(Fault::partner("forked", witness::FORKED)),
                    Watch::Unseen => {}
                }
            }
            // Of several stores the one whose log speaks of the latest time.
            let head = heads.into_iter().max_by_key(Checkpoint::time).ok_or_else(|| {
                Fault::input(
                    "no-head",
                    format!("nothing was seen of the log of `{given}` yet: that happens once it is connected"),
                )
            })?;
            (head.to_bytes().map_err(|_| CustodyError::Broken("a head has no note"))?, head, org)
        }
    };
    Ok(json!({
        "of": if org == node.keys.org { "own".to_owned() } else { node.handle_of(org) },
        "origin": head.origin().to_string(),
        "size": head.head().size,
        "until": head.time().to_string(),
        "head": String::from_utf8_lossy(&note),
    }))
}

fn compare(node: &Node, path: &std::path::Path) -> Result<Json, Fault> {
    let bytes = regular::bytes(path, limits::NOTE_BYTES_MAX as u64);
    let bytes = bytes.map_err(|e| Fault::input("head", format!("`{}`: {e}", path.display())))?;
    let claimed = UnverifiedCheckpoint::from_bytes(&bytes).map_err(|e| Fault::input("head", e))?;
    let head = witness::verified(node, &bytes).map_err(|e| Fault::input("head", e))?;
    let org = claimed.danger_unverified_origin().org();
    let Some(head) = head else {
        let why = format!("it is of the log of {org}, which is no partner: `entente partner add` its card first");
        return Err(Fault::input("unknown-log", why));
    };
    let contradicts = if org == node.keys.org {
        let (origin, size) = node.log.at()?;
        *head.origin() == origin
            && (head.head().size > size || prove::root(node, head.head().size)? != head.head().root)
    } else {
        let contradicts = witness::compare(node, &head)?;
        if !contradicts {
            // Heads of two sizes never contradict each other: the partner is asked for its own at this one.
            node.log.compare(head.clone());
        }
        contradicts
    };
    Ok(json!({
        "partner": node.handle_of(org),
        "origin": head.origin().to_string(),
        "size": head.head().size,
        "until": head.time().to_string(),
        "contradicts": contradicts,
    }))
}

/// The proof that a batch head of ours stands in the log, under the first head over it that somebody witnessed.
pub fn of_batch(node: &Node, stands: LoggedDigest) -> Result<Option<(LeafProof, CosignedRow)>, CustodyError> {
    let Some(signed) = prove::signed_in(node, stands)? else { return Ok(None) };
    let Some(place) = prove::place(node, &signed)? else { return Ok(None) };
    let Some(row) = prove::first_cosigned(node, place.leaf)? else { return Ok(None) };
    Ok(prove::proof(node, &place, stands, row.size)?.map(|proof| (proof, row)))
}

fn prove_record(node: &Node, given: &str) -> Result<Json, Fault> {
    let id = show::resolve_own(node, given).map_err(|fault| theirs(node, given, fault))?;
    let row = keep::own(node, id)?;
    let head = keep::batch_row(node, row.batch)?.head;
    let stands = logged_batch(&head).map_err(|e| Fault::store(e.to_string()))?;
    let Some((proof, row)) = of_batch(node, stands)? else {
        return Ok(json!({
            "record": id.to_string(),
            "proved": false,
            "why": "no head of the log over its batch was witnessed yet: it is, within two intervals, once a partner is connected",
        }));
    };
    let encoded = entente_protocol::codec::to_vec(&proof, entente_protocol::codec::Bounds::bytes(16 << 10));
    let encoded = encoded.map_err(|e| Fault::store(e.to_string()))?;
    Ok(json!({
        "record": id.to_string(),
        "proved": true,
        "leaf": proof.index(),
        "size": row.size,
        "since": row.by.iter().map(|by| by.at).min().map(|at| at.to_string()),
        "by": cosigners(node, &row),
        "proof": BASE64_STANDARD.encode(encoded),
        "head": String::from_utf8_lossy(&row.note),
    }))
}

/// A record that somebody else recorded stands in the log of whoever did, and there alone.
fn theirs(node: &Node, given: &str, fault: Fault) -> Fault {
    let Some(whose) = show::originator(node, given).filter(|_| fault.code == "not-ours") else { return fault };
    let message = format!(
        "`{given}` was recorded by `{whose}`, and stands in the log of `{whose}`: only they can prove it by that, \
         `entente log prove` on their node. What proves it here: `entente record verify {given}`; for others: \
         `entente package {given} -o FILE`. How far their log was seen: `entente log show`"
    );
    Fault::input("not-ours", message)
}

fn forget(node: &Node, given: &str) -> Result<Json, Fault> {
    let org = node.book().find(given)?.0;
    let mut forgotten = 0;
    for row in rows::stores(&node.holdings)?.into_iter().filter(|row| row.org == org) {
        forgotten += u64::from(witness::forget(node, org, row.store)?);
    }
    Ok(json!({ "partner": node.handle_of(org), "forgotten": forgotten }))
}

/// What an auditor is shown of what an event says: ids, counts and states. What people wrote is for others.
const FOR_AUDITORS: [&str; 14] = [
    "agreement",
    "answers",
    "certificate",
    "counter",
    "entries",
    "holders",
    "partner",
    "records",
    "roles",
    "run",
    "standing",
    "state",
    "user",
    "version",
];

/// Events of the journal as an auditor is shown them.
fn for_auditors(mut events: Json) -> Json {
    let events_of = events.as_array_mut().into_iter().flatten();
    let parts = events_of.filter_map(|event| event.get_mut("said")?.as_array_mut()).flatten();
    for about in parts.filter_map(|part| part.get_mut("about")?.as_object_mut()) {
        about.retain(|name, _| FOR_AUDITORS.contains(&name.as_str()));
    }
    events
}

fn events(node: &Node, after: Option<u64>, limit: u64) -> Result<Json, Fault> {
    let limit = usize::try_from(limit.min(10_000)).unwrap_or(10_000);
    let mut rows = Vec::new();
    for (n, event) in node.holdings.journal(after, limit)? {
        let parts = journal::said(&node.holdings, n, &event)?;
        let hidden = event.parts().saturating_sub(parts.len());
        let said: Vec<Json> = parts
            .iter()
            .enumerate()
            .map(|(place, part)| {
                let about: serde_json::Map<String, Json> =
                    part.about.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
                json!({ "id": place.to_string(), "what": part.what, "about": about })
            })
            .collect();
        rows.push(json!({
            "id": n.to_string(),
            "at": event.at().to_string(),
            "kind": EventKind::name(event.kind()),
            "said": said,
            "unreadable": hidden,
            "digest": event.digest().to_string(),
        }));
    }
    Ok(Json::Array(rows))
}
