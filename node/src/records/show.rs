//! Showing, proving and writing out one record, ours or received.

use super::{
    gate, history, keep, links,
    stored::{ReceivedRow, decode},
    view::{self, Found},
};
use crate::{
    agreements,
    call::{OnProgress, Progress},
    error::Fault,
    keys::suspect,
    node::Node,
    recall::retention,
    receive::{RunInRow, TakenBack, lease},
    seal::keyring::Partition,
    share::files,
    store::{StoreError, layout::Table},
    users,
};
use entente_protocol::{
    feed::Run,
    id::{AgreementId, OrgId, RecordId},
    identity::Purpose,
    recall::Act,
    record::{Body, Tlp, Verified, kind::Kind},
    time::UnixMillis,
};
use serde_json::{Map, Value as Json, json};
use std::{collections::BTreeSet, io::Read, path::Path};

/// Records whose ids or evidence numbers are looked through for a short form.
const LOOKED_AT: usize = 200_000;

/// Earlier disclosures read in one step.
const EARLIER_PAGE: usize = 100;

fn unknown(given: &str) -> Fault {
    Fault::input(
        "no-record",
        format!(
            "there is no record `{given}`: give its id, at least eight digits of it, or its evidence number; see `entente search`"
        ),
    )
}

fn ambiguous(given: &str, ids: &BTreeSet<RecordId>) -> Fault {
    let some: Vec<String> = ids.iter().take(5).map(|id| id.short()).collect();
    Fault::input("ambiguous", format!("`{given}` names {} records ({} ...): give the id", ids.len(), some.join(", ")))
}

/// The id of the record at a place of a partition's list; none beyond the last.
fn id_at(node: &Node, partition: Partition, place: u64) -> Result<Option<RecordId>, Fault> {
    Ok(match partition {
        Partition::Agreement(agreement) => view::received_at(node, agreement, place)?.and_then(|row| row.id()),
        _ => keep::at(node, place)?.map(|(id, _)| id),
    })
}

fn by_number(node: &Node, partition: Partition, given: &str) -> Result<BTreeSet<RecordId>, Fault> {
    let places = node.holdings.find(partition, "number", given.as_bytes(), None, 100)?;
    places.into_iter().filter_map(|place| id_at(node, partition, place).transpose()).collect()
}

fn by_prefix(node: &Node, partition: Partition, given: &str) -> Result<BTreeSet<RecordId>, Fault> {
    let mut found = BTreeSet::new();
    let short = given.len() >= 8 && given.bytes().all(|b| b.is_ascii_hexdigit());
    if !short {
        return Ok(found);
    }
    let wanted = given.to_ascii_lowercase();
    let (mut after, mut seen) = (None, 0usize);
    while seen < LOOKED_AT {
        let page: Vec<(u64, RecordId)> = match partition {
            Partition::Agreement(_) => {
                let next = after.map_or(0, |place: u64| place + 1);
                id_at(node, partition, next)?.map(|id| (next, id)).into_iter().collect()
            }
            _ => keep::after(node, after)?,
        };
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        seen += page.len();
        found.extend(page.into_iter().map(|(_, id)| id).filter(|id| id.to_string().starts_with(&wanted)));
    }
    Ok(found)
}

/// Of several records with one evidence number, the newest of the line, if they are one line.
fn newest(node: &Node, ids: &BTreeSet<RecordId>) -> Result<Option<RecordId>, Fault> {
    let mut lines = BTreeSet::new();
    for id in ids {
        let Some(row) = keep::find_own(node, *id)? else { return Ok(None) };
        lines.insert(row.header()?.header().line);
    }
    match (lines.len(), lines.first()) {
        (1, Some(line)) => Ok(keep::newest(node, *line)?),
        _ => Ok(None),
    }
}

fn resolve(node: &Node, partitions: &[Partition], given: &str) -> Result<RecordId, Fault> {
    if let Ok(id) = given.parse::<RecordId>() {
        return Ok(id);
    }
    for look in [by_number, by_prefix] {
        let mut found = BTreeSet::new();
        for partition in partitions {
            found.extend(look(node, *partition, given)?);
        }
        match (found.len(), found.first()) {
            (0, _) => {}
            (1, Some(id)) => return Ok(*id),
            _ => return newest(node, &found)?.ok_or_else(|| ambiguous(given, &found)),
        }
    }
    Err(unknown(given))
}

/// A record of ours, by id, beginning of the id, or evidence number.
pub fn resolve_own(node: &Node, given: &str) -> Result<RecordId, Fault> {
    let id = resolve(node, &[Partition::Own], given).map_err(|fault| match resolve_any(node, given) {
        Ok((_, found @ Found::Received(..))) => not_ours(node, given, &found),
        _ => fault,
    })?;
    keep::own(node, id)?;
    Ok(id)
}

/// A record that somebody else recorded is theirs to review, to release and to take back.
fn not_ours(node: &Node, given: &str, found: &Found) -> Fault {
    let whose = recorded_by(node, found).unwrap_or_else(|| "a partner".to_owned());
    let what = format!("`{given}` was recorded by `{whose}`: only they review, release or take it back; tell them");
    Fault::input("not-ours", what)
}

fn recorded_by(node: &Node, found: &Found) -> Option<String> {
    let Found::Received(_, row) = found else { return None };
    Body::from_bytes(&row.body).ok().map(|body| node.handle_of(body.header().originator))
}

/// Who recorded a record that is not ours.
pub fn originator(node: &Node, given: &str) -> Option<String> {
    recorded_by(node, &resolve_any(node, given).ok()?.1)
}

/// Any record that is held. What came under two agreements is named apart as `ID@AGREEMENT`, as a search lists it.
pub fn resolve_any(node: &Node, given: &str) -> Result<(RecordId, Found), Fault> {
    let (id, found) = resolve_held(node, given)?;
    unlocked(node, id, found)
}

/// The same, whether it is locked or not: for what is decided about it without showing it.
pub fn resolve_held(node: &Node, given: &str) -> Result<(RecordId, Found), Fault> {
    if let Some((id, agreement)) = given.split_once('@')
        && let (Ok(id), Ok(agreement)) = (id.parse::<RecordId>(), agreement.parse::<AgreementId>())
    {
        let row = view::received(node, agreement, id)?.ok_or_else(|| unknown(given))?;
        return Ok((id, Found::Received(agreement, Box::new(row))));
    }
    let mut partitions = vec![Partition::Own];
    partitions.extend(node.partitions().into_iter().map(Partition::Agreement));
    let id = resolve(node, &partitions, given)?;
    let found = view::find(node, id)?.ok_or_else(|| unknown(given))?;
    Ok((id, found))
}

/// What is found, unless its lease has passed.
fn unlocked(node: &Node, id: RecordId, found: Found) -> Result<(RecordId, Found), Fault> {
    if let Found::Received(agreement, row) = &found {
        let giver = row.giver().ok_or_else(|| Fault::store(StoreError::Broken { at: row.number }))?;
        lease::shown(node, *agreement, giver)?;
    }
    Ok((id, found))
}

/// One record with its events.
pub fn show(node: &Node, given: &str) -> Result<Json, Fault> {
    let (id, found) = resolve_any(node, given)?;
    let mut out = json!(view::view(node, id, &found)?);
    let (links, more) = links::links(node, id, &found)?;
    if let Some(map) = out.as_object_mut() {
        map.insert("links".to_owned(), json!(links));
        map.insert("links_more".to_owned(), json!(more));
    }
    if let Found::Own(_) = found {
        let persons = users::all(node)?;
        let events: Vec<Json> = gate::events(node, id)?
            .iter()
            .map(|(place, event)| {
                json!({
                    "id": place.to_string(),
                    "at": event.at.to_string(),
                    "what": event.review.map_or("released", gate::Review::name),
                    "user": event.user.short(),
                    "stage": event.stage,
                    "person": event.signer.and_then(|signer| {
                        let person = persons.iter().find(|held| held.digest == signer)?;
                        Some(person.name().to_owned())
                    }),
                })
            })
            .collect();
        if let Some(map) = out.as_object_mut() {
            map.insert("events".to_owned(), json!(events));
            map.insert("eyes".to_owned(), json!(history::eyes(node, id)?));
        }
    }
    if let (Found::Received(agreement, row), Some(map)) = (&found, out.as_object_mut()) {
        map.extend(terms(node, *agreement, row)?);
        let shown = |(n, row): (u64, ReceivedRow)| -> Result<Json, Fault> {
            let at = row.at.to_string();
            let earlier = view::view(node, id, &Found::Received(*agreement, Box::new(row)))?;
            Ok(json!({ "id": n.to_string(), "at": at, "fields": earlier.fields }))
        };
        let earlier = earlier(node, *agreement, id)?.into_iter().map(shown).collect::<Result<Vec<_>, _>>()?;
        if !earlier.is_empty() {
            map.insert("earlier".to_owned(), json!(earlier));
        }
    }
    Ok(out)
}

/// How a received record is handled, the stricter of its own floor and of the clause under which it came; and how long it is
/// kept.
fn terms(node: &Node, agreement: AgreementId, row: &ReceivedRow) -> Result<Map<String, Json>, Fault> {
    let body = Body::from_bytes(&row.body).map_err(Fault::store)?;
    let floor = &body.header().floor;
    let versions = agreements::versions(&node.holdings, agreement)?;
    let version = retention::version_of(node, agreement, row)?.and_then(|digest| versions.get(&digest));
    let clause = version.and_then(|version| version.clauses.get(usize::from(row.clause)));
    let asked = clause.and_then(|clause| clause.handling.clone()).unwrap_or_default();
    // The strictest label stands first.
    let tlp = [floor.tlp, asked.tlp].into_iter().flatten().min();
    let codes: BTreeSet<u8> = floor.eu_hc.iter().copied().chain(asked.codes).collect();
    let handling = json!({
        "tlp": tlp.map(Tlp::name),
        "codes": codes.iter().map(|code| format!("H{code}")).collect::<Vec<_>>(),
        "purposes": version.map(|version| version.purposes.clone()).unwrap_or_default(),
    });
    let (days, until) = retention::kept(row, clause).filter(|_| !row.openings.is_empty()).unzip();
    Ok(Map::from_iter([
        ("handling".to_owned(), handling),
        ("given_by".to_owned(), json!(row.giver().map(|giver| node.handle_of(giver)))),
        ("retention_days".to_owned(), json!(days)),
        ("kept_until".to_owned(), json!(until.map(|until| until.to_string()))),
    ]))
}

/// What was disclosed of a received record before less of it was, oldest first.
fn earlier(node: &Node, agreement: AgreementId, id: RecordId) -> Result<Vec<(u64, ReceivedRow)>, Fault> {
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let partition = Partition::Agreement(agreement);
        let page = node.holdings.list(partition, Table::Earlier, id.as_bytes(), after, EARLIER_PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(rows) };
        after = Some(*last);
        for (n, row) in page {
            rows.push((n, decode("received record", &row).map_err(Fault::store)?));
        }
    }
}

fn check(name: &str, ok: bool, says: String) -> Json {
    json!({ "id": name, "check": name, "ok": ok, "says": says })
}

/// Proves one record as far as this node can: commitment, attestation, and the run that brought it.
pub fn verify(node: &Node, given: &str) -> Result<Json, Fault> {
    let (id, found) = resolve_any(node, given)?;
    let checks = match &found {
        Found::Own(row) => {
            let commitment = row.record();
            let batch = keep::batch(node, row.batch)?;
            let proof = batch.prove(&[row.position]);
            let key = proof.key().ok().and_then(|kid| node.keys.card.listed(Purpose::Records, kid));
            let key = key.map_or(node.keys.records.public(), |listed| &listed.key);
            let attested = proof.verify(node.keys.org, key, &[(row.position, id)]).map(|head| head.time);
            let suspect = suspect::own(node, row.batch)?;
            vec![
                check(
                    "commitment",
                    commitment.is_ok(),
                    "every field is in the commitment that the record's id covers".to_owned(),
                ),
                check(
                    "attestation",
                    attested.is_ok() && suspect.is_none(),
                    match (attested, suspect) {
                        (Ok(_), Some(since)) => format!(
                            "the key that signed it may be in other hands since {since}: look at the record, and attest it anew \
                             with `entente key reattest`"
                        ),
                        (Ok(time), None) => format!("this organisation signed it at {time}"),
                        (Err(fault), _) => fault.to_string(),
                    },
                ),
            ]
        }
        Found::Received(agreement, row) => verify_received(node, *agreement, id, row)?,
    };
    let ok = checks.iter().all(|c| c.get("ok") == Some(&Json::Bool(true)));
    Ok(json!({ "id": id.to_string(), "ok": ok, "checks": checks }))
}

fn verify_received(node: &Node, agreement: AgreementId, id: RecordId, row: &ReceivedRow) -> Result<Vec<Json>, Fault> {
    let mut checks = proof(node, agreement, id, row)?;
    for (n, row) in earlier(node, agreement, id)? {
        let mut proof = proof(node, agreement, id, &row)?;
        for check in proof.iter_mut().filter_map(Json::as_object_mut) {
            for key in ["id", "check"] {
                let name = check.get(key).and_then(Json::as_str).unwrap_or_default();
                let name = format!("{name} of earlier disclosure {}", n + 1);
                check.insert(key.to_owned(), json!(name));
            }
        }
        checks.append(&mut proof);
    }
    let gone = crate::receive::withdrawn(node, agreement, id)?;
    checks.push(match gone {
        Some(gone) => {
            let what = match gone.by {
                None => "withdrawn by its originator",
                Some(TakenBack::Expired) => "the time for which it was given is over",
                Some(TakenBack::Recalled(_)) => match crate::recall::asked::act_on(node, agreement, id)? {
                    Some(Act::Correct) => "recalled by its originator: another record takes its place",
                    Some(Act::Withdraw) | None => "recalled by its originator, not to be used any more",
                    Some(Act::Expire) => "recalled by its originator: the time for which it was given is over",
                    Some(Act::Erase) => "recalled by its originator, to be deleted",
                },
            };
            check("standing", false, format!("{what}; known here since {}", gone.at))
        }
        None => check("standing", true, format!("no withdrawal known as of {}", node.clock.now())),
    });
    Ok(checks)
}

/// What proves one disclosure of a received record.
pub(super) fn proof(node: &Node, agreement: AgreementId, id: RecordId, row: &ReceivedRow) -> Result<Vec<Json>, Fault> {
    let mut checks = Vec::new();
    let verified = match row.verified() {
        Ok(verified) => verified,
        Err(fault) => return Ok(vec![check("commitment", false, fault.to_string())]),
    };
    let fields = verified.slots().len();
    checks.push(check(
        "commitment",
        true,
        format!("{fields} disclosed fields are in the commitment that the record's id covers"),
    ));
    let Some(run) = run_of(node, agreement, row)? else {
        checks.push(check("attestation", false, "the run that brought it is missing".to_owned()));
        return Ok(checks);
    };
    // It existed when we countersigned it: a key that ended later takes nothing back (CARD-5).
    let newest = attested(node, id, row.at, &verified, &run);
    let is_ok = |check: &Json| check.get("ok") == Some(&Json::Bool(true));
    // What the run that brought it first proved, it proves still (CARD-11).
    let first = match row.as_first().filter(|_| !is_ok(&newest)) {
        Some(first) => run_of(node, agreement, &first)?.map(|run| attested(node, id, first.at, &verified, &run)),
        None => None,
    };
    checks.push(first.filter(is_ok).unwrap_or(newest));
    let book = node.book();
    let now = node.clock.now();
    let signer = run.run.parse().ok().map(|s| s.kid());
    let stated = Run::danger_unverified(&run.run).map_or(now, |run| run.time);
    let sender = book.iter().find_map(|(org, _)| {
        let key = book.past_key(*org, Purpose::Runs, signer?, row.at, stated)?;
        let signed = run.run.parse().ok()?;
        signed.verify(entente_protocol::label::SIGN_RUN, &key).ok()?;
        Some(*org)
    });
    let time = stated;
    checks.push(match sender {
        Some(org) => {
            check("run", true, format!("`{}` signed the run that released it, at {time}", node.handle_of(org)))
        }
        None => check("run", false, "the run that released it does not verify under any partner's key".to_owned()),
    });
    Ok(checks)
}

/// The run that brought a record.
pub fn run_of(node: &Node, agreement: AgreementId, row: &ReceivedRow) -> Result<Option<RunInRow>, Fault> {
    let run = node.holdings.item(Partition::Agreement(agreement), Table::RunIn, row.feed.as_bytes(), row.run)?;
    run.map(|run| decode("run", &run).map_err(Fault::store)).transpose()
}

fn attested(node: &Node, id: RecordId, at: UnixMillis, verified: &Verified, run: &RunInRow) -> Json {
    let originator: OrgId = verified.header().originator;
    let Some(proof) = run.proofs.iter().find(|p| p.records.iter().any(|(_, record)| *record == id)) else {
        return check("attestation", false, "no batch proof names it".to_owned());
    };
    let key =
        proof.attestation.key().ok().and_then(|kid| node.book().others_key(originator, Purpose::Records, kid, at));
    let Some(key) = key else {
        let what = format!("the originator's card lists no such key that counted at {at}, when it came");
        return check("attestation", false, what);
    };
    match proof.attestation.verify(originator, &key, &proof.records) {
        Ok(head) => check(
            "attestation",
            true,
            format!("`{}` recorded it and signed it at {}", node.handle_of(originator), head.time),
        ),
        Err(fault) => check("attestation", false, fault.to_string()),
    }
}

/// Writes an attachment record's file out, verified chunk by chunk.
pub fn attachment(node: &Node, given: &str, output: &Path, progress: OnProgress<'_>) -> Result<Json, Fault> {
    let (id, found) = resolve_any(node, given)?;
    let view = view::view(node, id, &found)?;
    if view.kind != Kind::Attachment.name() {
        return Err(Fault::input(
            "not-attachment",
            format!("record `{given}` is of kind `{}`: files belong to records of kind `attachment`", view.kind),
        ));
    }
    let (partition, manifest) = files::manifest(node, &found)?;
    // Noted first: a file that left is in the journal, also where the writing was broken off.
    let mut txn = node.holdings.begin();
    node.journal(&mut txn, "file-exported", &[("record", id.to_string())])?;
    txn.commit()?;
    let mut reader = files::open(node, partition, &manifest)?;
    let total = manifest.size;
    let mut done = 0u64;
    let written = files::write_out(output, &manifest, &mut |buffer| {
        let read = reader.read(buffer)?;
        done += read as u64;
        progress(Progress { done, total: Some(total) });
        Ok(read)
    })?;
    Ok(json!({
        "id": id.to_string(),
        "file": output.display().to_string(),
        "bytes": written,
        "sha256": manifest.sha256.to_string(),
        "role": view.fields.get("role"),
        "verified": true,
    }))
}
