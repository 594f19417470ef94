//! Checks records of our own: what they commit to, who attested them, who reviewed them.
//!
//! Records are taken in the order of their arrival, so that those of one batch or run come together and its
//! signature is verified once. Keys are taken from cards whether they still count or not: the question is whether
//! what is stored is what was written, not whether it would be accepted today.

use super::{
    Report, each_item,
    found::{At, by_fields, facets, found},
};
use crate::{
    node::Node,
    records::{
        gate::{EventRow, GateRow, RELEASE_LOG},
        index,
        passing::{self, ImportRow},
        stored::{BatchRow, OwnRow, decode},
    },
    seal::keyring::Partition,
    share::files,
    store::{StoreError, check::Audit, layout::Table},
    users::{self, Held, UserRow},
};
use entente_protocol::{
    attachment::Content,
    batch::{self, Batch, Head},
    id::{KeyId, OrgId, RecordId},
    identity::Purpose,
    primitive::PublicKey,
    record::{Record, kind::Kind},
};
use std::collections::BTreeMap;

/// A key from a card of ours or a partner's, whether it counts now or not.
pub fn listed(node: &Node, org: OrgId, purpose: Purpose, kid: KeyId) -> Option<PublicKey> {
    let book = node.book();
    let card = if org == node.keys.org { &node.keys.card } else { book.card(org)? };
    card.listed(purpose, kid).map(|entry| entry.key.clone())
}

/// A batch as it was verified: where its records begin, and their positions in its tree; or why it does not hold.
type Positions = Result<(u64, BTreeMap<RecordId, u32>), String>;
/// The records that a signed event names, or why it does not hold.
type Named = Result<Vec<RecordId>, String>;

/// What was verified last: records that arrived together share it.
#[derive(Default)]
struct Last {
    batch: Option<(u64, Positions)>,
    event: Option<(u64, Named)>,
    /// Certificates of persons, which signed events name.
    persons: Vec<Held>,
}

/// Every record of ours in the order of arrival, every signed event of the gate, and the release log.
pub fn own(node: &Node, audit: &Audit, report: &mut Report<'_>) -> Result<(), StoreError> {
    let mut last = Last { persons: persons(node, audit, report)?, ..Last::default() };
    let records = (Partition::Own, Table::Record, b"".as_slice());
    each_item(audit, report, records, "own record", &mut |report, place, bytes| {
        report.step(1);
        one_own(node, audit, report, (place, &bytes), &mut last)
    })?;
    let events = (Partition::Own, Table::Review, b"".as_slice());
    each_item(audit, report, events, "review or release", &mut |report, n, bytes| {
        report.step(1);
        match event(node, &last.persons, &bytes) {
            Ok(records) => records.iter().try_for_each(|record| at_gate(audit, report, *record, n)),
            Err(why) => {
                report.damaged(format!("review or release {n}"), why);
                Ok(())
            }
        }
    })?;
    each_item(audit, report, (Partition::Own, Table::Batch, b""), "batch", &mut |report, n, bytes| {
        // One that does not read is a finding of its records.
        let Ok(row) = decode::<BatchRow>("batch", &bytes) else { return Ok(()) };
        let first = audit.item(Partition::Own, Table::Record, b"", row.first).ok().flatten();
        brought_in(audit, report, &last.persons, (n, &row))?;
        if first.and_then(|bytes| decode::<OwnRow>("record", &bytes).ok()).is_some_and(|first| first.batch != n) {
            report.extra(format!("batch {n}"), "the records that it names are attested by another one");
        }
        Ok(())
    })?;
    facets(audit, report, Partition::Own)?;
    each_item(audit, report, (Partition::Own, Table::RecordList, RELEASE_LOG), "release", &mut |report, n, id| {
        let known = RecordId::from_slice(&id).map(|id| audit.find(Partition::Own, index::ID, id.as_bytes(), 1));
        if known.transpose()?.is_none_or(|places| places.is_empty()) {
            report.missing(format!("release {n}"), "the record that it names is not found");
        }
        Ok(())
    })
}

fn one_own(
    node: &Node,
    audit: &Audit,
    report: &mut Report<'_>,
    (place, bytes): (u64, &[u8]),
    last: &mut Last,
) -> Result<(), StoreError> {
    let row = decode::<OwnRow>("record", bytes);
    let Some((row, record)) = row.ok().and_then(|row| row.record().ok().map(|record| (row, record))) else {
        report.damaged(format!("own record {place}"), "its fields are not those that it commits to");
        return Ok(());
    };
    let id = record.id();
    if last.batch.as_ref().is_none_or(|(known, _)| *known != row.batch) {
        last.batch = Some((row.batch, batch(node, audit, row.batch)?));
    }
    match last.batch.as_ref().map(|(_, positions)| positions) {
        Some(Ok((first, positions))) if positions.get(&id) == Some(&row.position) && *first <= place => {}
        Some(Err(why)) => report.damaged(id, format!("its batch {} does not hold: {why}", row.batch)),
        _ => report.damaged(id, "its batch does not name it at its place"),
    }
    report.imported.extend(row.import.map(|_| place));
    let header = record.header();
    let at = (Partition::Own, id, place);
    if is_second(audit, report, at)? {
        return Ok(());
    }
    found(audit, report, at, (index::LINE, &index::line(header.originator, header.line)))?;
    let slots = header.kind.slots();
    by_fields(
        audit,
        report,
        at,
        header.kind,
        slots.filter_map(|slot| Some((slot.number, record.value(slot.number)?))),
    )?;
    attached(audit, report, id, &record)?;
    reviews(node, audit, report, id, last)
}

/// A record stands in its list once, at the place to which its id leads.
pub fn is_second(audit: &Audit, report: &mut Report<'_>, at: At) -> Result<bool, StoreError> {
    let (partition, id, place) = at;
    let first = audit.nth(partition, index::ID, id.as_bytes(), 0);
    match report.readable(id, first)?.flatten() {
        Some(first) if first < place => {
            report.extra(id, format!("it stands at place {place} too, and its id leads to place {first}"));
            Ok(true)
        }
        _ => found(audit, report, at, (index::ID, id.as_bytes())).map(|()| false),
    }
}

/// Verifies a batch as a whole: one signature, all its records.
fn batch(node: &Node, audit: &Audit, number: u64) -> Result<Positions, StoreError> {
    let bytes = match audit.item(Partition::Own, Table::Batch, b"", number) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(Err("its row is gone".to_owned())),
        Err(error @ StoreError::Seal(_)) => return Ok(Err(error.to_string())),
        Err(error) => return Err(error),
    };
    let holds = || -> Positions {
        let row: BatchRow = decode("batch", &bytes).map_err(|e| e.to_string())?;
        let secret: [u8; 32] = row.secret.as_slice().try_into().map_err(|_| "its secret is cut short".to_owned())?;
        for later in row.signed().skip(1) {
            let again = Batch::from_parts(&row.records, &secret, later.clone()).map_err(|e| e.to_string())?;
            let kid = again.prove(&[]).key().map_err(|e| e.to_string())?;
            let key = listed(node, node.keys.org, Purpose::Records, kid);
            let key = key.ok_or("our card lists no key of its later head")?;
            Head::verify(later, node.keys.org, &key).map_err(|e| format!("a later head: {e}"))?;
        }
        let batch = Batch::from_parts(&row.records, &secret, row.head).map_err(|e| e.to_string())?;
        let positions = batch.positions();
        let mut placed: Vec<(u32, RecordId)> = positions.iter().map(|(id, position)| (*position, *id)).collect();
        placed.sort_unstable();
        let wanted: Vec<u32> = placed.iter().map(|(position, _)| *position).collect();
        let attestation = batch.prove(&wanted);
        let kid = attestation.key().map_err(|e| e.to_string())?;
        let key = listed(node, node.keys.org, Purpose::Records, kid).ok_or("our card lists no such key")?;
        attestation.verify(node.keys.org, &key, &placed).map_err(|e| e.to_string())?;
        Ok((row.first, positions))
    };
    Ok(holds())
}

/// A record knows the events that name it.
fn at_gate(audit: &Audit, report: &mut Report<'_>, id: RecordId, event: u64) -> Result<(), StoreError> {
    let read = audit.get(Partition::Own, Table::Gate, id.as_bytes());
    match report.readable(id, read)? {
        Some(Some(bytes)) => {
            let known = decode::<GateRow>("gate", &bytes).map_or(true, |row| row.events.contains(&event));
            if !known {
                report.damaged(id, format!("where it stands at the release gate leaves out event {event}"));
            }
        }
        Some(None) => report.missing(id, "the row that says where it stands at the release gate is gone"),
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

/// The events that a record's state is built on name the record.
fn reviews(
    node: &Node,
    audit: &Audit,
    report: &mut Report<'_>,
    id: RecordId,
    last: &mut Last,
) -> Result<(), StoreError> {
    let read = audit.get(Partition::Own, Table::Gate, id.as_bytes());
    let Some(Some(bytes)) = report.readable(id, read)? else { return Ok(()) };
    let Ok(row) = decode::<GateRow>("gate", &bytes) else {
        report.damaged(id, "where it stands at the release gate does not read as written");
        return Ok(());
    };
    for place in row.events {
        if last.event.as_ref().is_none_or(|(known, _)| *known != place) {
            let read = audit.item(Partition::Own, Table::Review, b"", place);
            let bytes = report.readable(format!("review or release {place}"), read)?.flatten();
            let named =
                bytes.map_or_else(|| Err("its row is gone".to_owned()), |bytes| event(node, &last.persons, &bytes));
            last.event = Some((place, named));
        }
        match last.event.as_ref().map(|(_, named)| named) {
            Some(Ok(records)) if records.contains(&id) => {}
            Some(Err(why)) => report.damaged(id, format!("its review or release {place} does not hold: {why}")),
            _ => report.damaged(id, format!("review or release {place} does not name it")),
        }
    }
    Ok(())
}

fn event(node: &Node, persons: &[Held], bytes: &[u8]) -> Named {
    let row: EventRow = decode("gate event", bytes).map_err(|e| e.to_string())?;
    passing::verified(node, &row, persons).map(|event| event.records)
}

/// Every certificate of a person: signed by the office, and one after the other.
fn persons(node: &Node, audit: &Audit, report: &mut Report<'_>) -> Result<Vec<Held>, StoreError> {
    let mut held = Vec::<Held>::new();
    let list = (Partition::Node, Table::UserList, b"".as_slice());
    each_item(audit, report, list, "person", &mut |report, n, bytes| {
        report.step(1);
        let read = decode::<UserRow>("person", &bytes).map_err(|e| e.to_string());
        match read.and_then(|row| users::verified(node, &row)) {
            Err(why) => report.damaged(format!("person {n}"), format!("the certificate does not hold: {why}")),
            Ok(found) => {
                let (id, number) = (found.certificate.id, found.certificate.number);
                let before = held.iter().rfind(|known| known.certificate.id == id);
                if number != before.map_or(1, |known| known.certificate.number + 1) {
                    report
                        .damaged(format!("person {n}"), "it does not follow the certificate of this person before it");
                }
                held.push(found);
            }
        }
        Ok(())
    })?;
    Ok(held)
}

/// Who brought a batch in, where that was a person.
fn brought_in(
    audit: &Audit,
    report: &mut Report<'_>,
    persons: &[Held],
    (n, row): (u64, &BatchRow),
) -> Result<(), StoreError> {
    // A head that does not read is a finding of its records.
    let Ok(id) = batch::danger_id_of_head(&row.head) else { return Ok(()) };
    let read = audit.get(Partition::Own, Table::Import, id.as_bytes());
    let Some(Some(bytes)) = report.readable(format!("batch {n}"), read)? else { return Ok(()) };
    let import = decode::<ImportRow>("import", &bytes).map_err(|e| e.to_string());
    if let Err(why) = import.and_then(|import| passing::import_verified(&import, id, persons)) {
        report.damaged(format!("batch {n}"), format!("who brought it in does not hold: {why}"));
    }
    Ok(())
}
