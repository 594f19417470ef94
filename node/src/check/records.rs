//! Checks records: what they commit to, who attested them, who reviewed them, what brought them here.
//!
//! Records are taken in the order of their arrival, so that those of one batch or run come together and its
//! signature is verified once. Keys are taken from cards whether they still count or not: the question is whether
//! what is stored is what was written, not whether it would be accepted today.

use super::{Report, each_item};
use crate::{
    node::Node,
    receive::RunInRow,
    records::{
        gate::{EventRow, GateEvent},
        keep,
        stored::{self, BatchRow, LineRow, OwnRow, ReceivedRow, decode},
    },
    seal::keyring::Partition,
    share::files,
    store::{StoreError, check::Audit, layout::Table},
};
use entente_protocol::{
    attachment::Content,
    batch::Batch,
    id::{AgreementId, BatchId, FeedId, KeyId, OrgId, RecordId},
    identity::Purpose,
    label,
    primitive::PublicKey,
    record::{Record, kind::Kind},
};
use std::collections::BTreeMap;

/// A key from a card of ours or a partner's, whether it counts now or not.
pub fn listed(node: &Node, org: OrgId, purpose: Purpose, kid: KeyId) -> Option<PublicKey> {
    let book = node.book();
    let card = if org == node.keys.org { &node.keys.card } else { &book.get(org)?.card };
    card.listed(purpose, kid).map(|entry| entry.key.clone())
}

/// Positions of a batch's records, or why it does not hold.
type Positions = Result<BTreeMap<RecordId, u32>, String>;

/// What was verified last: records that arrived together share it.
#[derive(Default)]
struct Last {
    batch: Option<(BatchId, Positions)>,
    event: Option<(Vec<u8>, Result<Vec<RecordId>, String>)>,
}

/// Every record of ours, in the order of arrival. `rows` is how many rows of records there are.
pub fn own(node: &Node, audit: &Audit, report: &mut Report<'_>, rows: u64) -> Result<(), StoreError> {
    let mut last = Last::default();
    let list = (Partition::Own, Table::RecordList, keep::ALL);
    let mut seen = 0u64;
    each_item(audit, report, list, "own record", &mut |report, n, id| {
        report.step(1);
        seen += 1;
        match RecordId::from_slice(&id) {
            Some(id) => one_own(node, audit, report, id, &mut last),
            None => {
                report.damaged(format!("own record {n}"), "its place in the list holds no id");
                Ok(())
            }
        }
    })?;
    unlisted(report, rows, seen);
    Ok(())
}

/// A running node adds records meanwhile: more in the list than rows seen before is no finding here.
fn unlisted(report: &mut Report<'_>, rows: u64, listed: u64) {
    if rows > listed {
        report.missing("list", format!("{} records stand in no list of records", rows - listed));
    }
}

fn one_own(
    node: &Node,
    audit: &Audit,
    report: &mut Report<'_>,
    id: RecordId,
    last: &mut Last,
) -> Result<(), StoreError> {
    let read = audit.get(Partition::Own, Table::Record, id.as_bytes());
    let Some(found) = report.readable(id, read)? else { return Ok(()) };
    let Some(bytes) = found else {
        report.missing(id, "the record's row is gone");
        return Ok(());
    };
    let row = decode::<OwnRow>("record", &bytes);
    let Some((row, record)) = row.ok().and_then(|row| row.record().ok().map(|record| (row, record))) else {
        report.damaged(id, "its fields are not those that it commits to");
        return Ok(());
    };
    if record.id() != id {
        report.damaged(id, "it is another record than its row's name says");
    }
    if last.batch.as_ref().is_none_or(|(known, _)| *known != row.batch) {
        last.batch = Some((row.batch, batch(node, audit, row.batch)?));
    }
    match last.batch.as_ref().map(|(_, positions)| positions) {
        Some(Ok(positions)) if positions.get(&id) == Some(&row.position) => {}
        Some(Err(why)) => report.damaged(id, format!("its batch {} does not hold: {why}", row.batch)),
        _ => report.damaged(id, "its batch does not name it at its place"),
    }
    in_line(audit, report, Partition::Own, id, record.header().line.as_bytes())?;
    attached(audit, report, id, &record)?;
    reviews(node, audit, report, id, last)
}

/// Verifies a batch as a whole: one signature, all its records.
fn batch(node: &Node, audit: &Audit, id: BatchId) -> Result<Positions, StoreError> {
    let bytes = match audit.get(Partition::Own, Table::Batch, id.as_bytes()) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(Err("its row is gone".to_owned())),
        Err(error @ StoreError::Seal(_)) => return Ok(Err(error.to_string())),
        Err(error) => return Err(error),
    };
    let holds = || -> Positions {
        let row: BatchRow = decode("batch", &bytes).map_err(|e| e.to_string())?;
        let secret: [u8; 32] = row.secret.as_slice().try_into().map_err(|_| "its secret is cut short".to_owned())?;
        let batch = Batch::from_parts(&row.records, &secret, row.head).map_err(|e| e.to_string())?;
        if batch.id() != id {
            return Err("it is another batch than its row's name says".to_owned());
        }
        let positions = batch.positions();
        let mut placed: Vec<(u32, RecordId)> = positions.iter().map(|(id, position)| (*position, *id)).collect();
        placed.sort_unstable();
        let wanted: Vec<u32> = placed.iter().map(|(position, _)| *position).collect();
        let attestation = batch.prove(&wanted);
        let kid = attestation.key().map_err(|e| e.to_string())?;
        let key = listed(node, node.keys.org, Purpose::Records, kid).ok_or("our card lists no such key")?;
        attestation.verify(node.keys.org, &key, &placed).map_err(|e| e.to_string())?;
        Ok(positions)
    };
    Ok(holds())
}

fn in_line(
    audit: &Audit,
    report: &mut Report<'_>,
    partition: Partition,
    id: RecordId,
    line: &[u8],
) -> Result<(), StoreError> {
    let read = audit.get(partition, Table::Line, line);
    match report.readable(id, read)? {
        Some(Some(bytes)) if decode::<LineRow>("line", &bytes).is_ok_and(|row| row.records.contains(&id)) => {}
        Some(Some(_)) => report.damaged(id, "its line does not name it"),
        Some(None) => report.missing(id, "the row of its line is gone"),
        None => {}
    }
    Ok(())
}

/// An attachment of ours has its file; one that was received may still be on its way.
fn attached(audit: &Audit, report: &mut Report<'_>, id: RecordId, record: &Record) -> Result<(), StoreError> {
    if record.header().kind != Kind::Attachment {
        return Ok(());
    }
    let Some(content) = record.value(files::content_slot()).and_then(|value| Content::from_value(&value)) else {
        return Ok(());
    };
    let read = audit.get(Partition::Own, Table::Attachment, content.sha256.as_bytes());
    if report.readable(id, read)? == Some(None) {
        report.missing(id, "the row of its file is gone");
    }
    Ok(())
}

fn reviews(
    node: &Node,
    audit: &Audit,
    report: &mut Report<'_>,
    id: RecordId,
    last: &mut Last,
) -> Result<(), StoreError> {
    let what = format!("review of {id}");
    each_item(audit, report, (Partition::Own, Table::Review, id.as_bytes()), &what, &mut |report, n, bytes| {
        if last.event.as_ref().is_none_or(|(known, _)| *known != bytes) {
            last.event = Some((bytes.clone(), event(node, &bytes)));
        }
        match last.event.as_ref().map(|(_, records)| records) {
            Some(Ok(records)) if records.contains(&id) => {}
            Some(Err(why)) => report.damaged(format!("{what} {n}"), why),
            _ => report.damaged(format!("{what} {n}"), "what was signed does not name the record"),
        }
        Ok(())
    })
}

fn event(node: &Node, bytes: &[u8]) -> Result<Vec<RecordId>, String> {
    let row: EventRow = decode("gate event", bytes).map_err(|e| e.to_string())?;
    let context = if row.review.is_some() { label::SIGN_REVIEW } else { label::SIGN_RELEASE_EVENT };
    let key = listed(node, node.keys.org, Purpose::Users, row.user).ok_or("our card lists no such user")?;
    let signed = row.signed.parse().map_err(|e| e.to_string())?;
    let event = signed.verify(context, &key).map_err(|e| e.to_string())?;
    decode::<GateEvent>("gate event", event).map(|event| event.records).map_err(|e| e.to_string())
}

/// The run that was read last, with the verdict on each of its batch proofs.
struct LastRun {
    place: (FeedId, u64),
    run: Option<RunInRow>,
    proofs: BTreeMap<usize, Result<(), String>>,
}

/// Every received record, by agreement, in the order of arrival.
pub fn received(node: &Node, audit: &Audit, report: &mut Report<'_>, rows: u64) -> Result<(), StoreError> {
    let mut last = None;
    let mut seen = 0u64;
    for agreement in node.partitions() {
        let list = (Partition::Agreement(agreement), Table::RecordList, keep::ALL);
        each_item(audit, report, list, "received record", &mut |report, n, id| {
            report.step(1);
            seen += 1;
            match RecordId::from_slice(&id) {
                Some(id) => one_received(node, audit, report, (agreement, id), &mut last),
                None => {
                    report.damaged(format!("received record {n}"), "its place in the list holds no id");
                    Ok(())
                }
            }
        })?;
    }
    unlisted(report, rows, seen);
    Ok(())
}

fn one_received(
    node: &Node,
    audit: &Audit,
    report: &mut Report<'_>,
    (agreement, id): (AgreementId, RecordId),
    last: &mut Option<LastRun>,
) -> Result<(), StoreError> {
    let partition = Partition::Agreement(agreement);
    let read = audit.get(partition, Table::Received, id.as_bytes());
    let Some(found) = report.readable(id, read)? else { return Ok(()) };
    let Some(bytes) = found else {
        report.missing(id, "the record's row is gone; its sender can send it again under a new feed");
        return Ok(());
    };
    let row = decode::<ReceivedRow>("received record", &bytes);
    let Some((row, verified)) = row.ok().and_then(|row| row.verified().ok().map(|verified| (row, verified))) else {
        report.damaged(id, "its fields are not those that it commits to");
        return Ok(());
    };
    if verified.id() != id {
        report.damaged(id, "it is another record than its row's name says");
    }
    let place = (row.feed, row.run);
    let known = match last.take() {
        Some(known) if known.place == place => known,
        _ => {
            let read = audit.item(partition, Table::RunIn, row.feed.as_bytes(), row.run);
            let bytes = report.readable(format!("run {} of feed {}", row.run, row.feed), read)?.flatten();
            let run = bytes.and_then(|bytes| decode::<RunInRow>("run", &bytes).ok());
            LastRun { place, run, proofs: BTreeMap::new() }
        }
    };
    let known = last.insert(known);
    let originator = verified.header().originator;
    match attested(node, known, id, originator) {
        Ok(()) => {}
        Err(why) => report.damaged(id, why),
    }
    in_line(audit, report, partition, id, verified.header().line.as_bytes())
}

fn attested(node: &Node, last: &mut LastRun, id: RecordId, originator: OrgId) -> Result<(), String> {
    let run = last.run.as_ref().ok_or("the run that brought it is missing or damaged")?;
    let names = |proof: &stored::ProofRow| proof.records.iter().any(|(_, record)| *record == id);
    let (place, proof) =
        run.proofs.iter().enumerate().find(|(_, proof)| names(proof)).ok_or("no batch proof names it")?;
    let verdict = last.proofs.entry(place).or_insert_with(|| {
        let kid = proof.attestation.key().map_err(|e| e.to_string())?;
        let key = listed(node, originator, Purpose::Records, kid).ok_or("the originator's card lists no such key")?;
        proof.attestation.verify(originator, &key, &proof.records).map(|_| ()).map_err(|e| e.to_string())
    });
    verdict.clone()
}
