//! Checks received records: what they commit to, who attested them, what brought them here, and their files.

use super::{
    Report, each_item,
    found::{by_fields, facets, found, found_before},
    records::{is_second, listed},
};
use crate::{
    node::Node,
    receive::{RunInRow, lease},
    records::{
        index,
        stored::{self, ReceivedRow, decode},
    },
    seal::keyring::Partition,
    share::{
        fetching,
        files::{self, FileRow},
        wishes::{self, WantedFile, WishRow},
    },
    store::{StoreError, check::Audit, layout::Table},
};
use entente_protocol::{
    attachment::Content,
    id::{AgreementId, FeedId, OrgId, RecordId},
    identity::Purpose,
    record::{Verified, kind::Kind},
};
use std::collections::{BTreeMap, btree_map::Entry};

/// The run that was read last, with the verdict on each of its batch proofs.
struct LastRun {
    place: (FeedId, u64),
    run: Option<RunInRow>,
    proofs: BTreeMap<usize, Result<(), String>>,
}

/// Every received record, by agreement, in the order of arrival.
pub fn every(node: &Node, audit: &Audit, report: &mut Report<'_>) -> Result<(), StoreError> {
    let mut last = None;
    for agreement in node.partitions() {
        let mut wishes = Wishes::new();
        let list = (Partition::Agreement(agreement), Table::Received, b"".as_slice());
        each_item(audit, report, list, "received record", &mut |report, place, bytes| {
            report.step(1);
            one_received(node, audit, report, agreement, (place, &bytes), (&mut last, &mut wishes))
        })?;
        facets(audit, report, Partition::Agreement(agreement))?;
        for (giver, _) in node.book().iter() {
            audit.speak(Partition::Agreement(agreement), Table::Cursor, &lease::key(*giver))?;
        }
        // Of whoever sent no file that is still to come, too.
        let book = node.book();
        for sender in book.iter().map(|(sender, _)| *sender) {
            if let Entry::Vacant(new) = wishes.entry(sender) {
                new.insert(wanted(audit, Partition::Agreement(agreement), sender)?);
            }
        }
        for (record, place) in wishes.into_values().flatten() {
            let row = audit.get(Partition::Agreement(agreement), Table::Wanted, record.as_bytes());
            let row = report.readable(record, row)?.flatten();
            let known = audit.nth(Partition::Agreement(agreement), index::ID, record.as_bytes(), 0).ok().flatten();
            let stands = row.and_then(|row| decode::<WishRow>("wish", &row).ok()) == Some(WishRow::At(place));
            // What came or was dropped meanwhile is no wish any more.
            let still = || still_wished(audit, agreement, book.iter().map(|(sender, _)| *sender), record, place);
            if (!stands || known.is_none()) && still()? {
                report.extra(record, format!("a wish for its file, {place}, is none of a record's"));
            }
        }
    }
    Ok(())
}

fn still_wished(
    audit: &Audit,
    agreement: AgreementId,
    senders: impl Iterator<Item = OrgId>,
    record: RecordId,
    place: u64,
) -> Result<bool, StoreError> {
    for sender in senders {
        if wanted(audit, Partition::Agreement(agreement), sender)?.get(&record) == Some(&place) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn one_received(
    node: &Node,
    audit: &Audit,
    report: &mut Report<'_>,
    agreement: AgreementId,
    (at, bytes): (u64, &[u8]),
    (last, wishes): (&mut Option<LastRun>, &mut Wishes),
) -> Result<(), StoreError> {
    let partition = Partition::Agreement(agreement);
    let row = decode::<ReceivedRow>("received record", bytes);
    let Some((row, verified)) = row.ok().and_then(|row| row.verified().ok().map(|verified| (row, verified))) else {
        report.damaged(format!("received record {at}"), "its fields are not those that it commits to");
        return Ok(());
    };
    let id = verified.id();
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
    if let Err(why) = attested(node, known, id, originator) {
        report.damaged(id, why);
    }
    let what = format!("earlier disclosure of {id}");
    let (at, header) = ((partition, id, at), verified.header());
    if is_second(audit, report, at)? {
        return Ok(());
    }
    let slots =
        |of: &Verified| -> Vec<_> { of.slots().iter().map(|slot| (slot.opening.slot, slot.value.clone())).collect() };
    let mut before = false;
    each_item(audit, report, (partition, Table::Earlier, id.as_bytes()), &what, &mut |report, n, bytes| {
        before = true;
        let row = decode::<ReceivedRow>("received record", &bytes).ok();
        match row.and_then(|row| row.verified().ok()).filter(|earlier| earlier.id() == id) {
            Some(earlier) => found_before(audit, report, at, header.kind, slots(&earlier).into_iter()),
            None => {
                report.damaged(format!("{what}, {n}"), "its fields are not those that it commits to");
                Ok(())
            }
        }
    })?;
    if before {
        found_before(audit, report, at, header.kind, slots(&verified).into_iter())?;
    }
    audit.speak(partition, Table::Withdrawn, id.as_bytes())?;
    found(audit, report, at, (index::LINE, &index::line(originator, header.line)))?;
    by_fields(audit, report, at, header.kind, slots(&verified).into_iter())?;
    let giver = row.giver().unwrap_or(originator);
    wished(audit, report, agreement, (id, giver), &verified, wishes)
}

/// Records whose files are still to come, of one agreement: by sender, with the place of each.
type Wishes = BTreeMap<OrgId, BTreeMap<RecordId, u64>>;

/// A received record's file is here or still wished for, unless the record was withdrawn.
fn wished(
    audit: &Audit,
    report: &mut Report<'_>,
    agreement: AgreementId,
    (id, sender): (RecordId, OrgId),
    verified: &Verified,
    wishes: &mut Wishes,
) -> Result<(), StoreError> {
    let partition = Partition::Agreement(agreement);
    if verified.header().kind != Kind::Attachment {
        return Ok(());
    }
    let Some(content) = verified.value(files::content_slot()).and_then(Content::from_value) else { return Ok(()) };
    let wishes = match wishes.entry(sender) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(new) => new.insert(wanted(audit, partition, sender)?),
    };
    // In this order: what comes meanwhile is here before its wish is gone.
    let wished = wishes.get(&id).copied();
    let row = audit.get(partition, Table::Wanted, id.as_bytes());
    let Some(row) = report.readable(id, row)? else { return Ok(()) };
    let here = audit.get(partition, Table::Attachment, content.sha256.as_bytes());
    let gone = audit.get(partition, Table::Withdrawn, id.as_bytes());
    let (here, gone) = (report.readable(id, here)?, report.readable(id, gone)?);
    // Of the same digest, and not the file of this record. One whose row does not read is a finding of another part.
    let other = |row: &[u8]| decode::<FileRow>("file", row).is_ok_and(|file| file.content() != content);
    if here.is_none_or(|here| here.is_some_and(|row| !other(&row))) || gone != Some(None) {
        return Ok(());
    }
    match (wished, row.map(|row| decode::<WishRow>("wish", &row))) {
        (Some(place), Some(Ok(WishRow::At(at)))) if place == at => {}
        // What came was not what the record states.
        (None, Some(Ok(WishRow::Refused(_)))) => {}
        (Some(_), None) => report.missing(id, "the row that says where the wish for its file stands is gone"),
        (Some(_), Some(_)) => report.damaged(id, "the wish for its file stands elsewhere than its row says"),
        (None, _) => report.missing(id, "its file is not here, and nothing says that it is to be fetched"),
    }
    Ok(())
}

fn wanted(audit: &Audit, partition: Partition, sender: OrgId) -> Result<BTreeMap<RecordId, u64>, StoreError> {
    let (mut wishes, mut after, scope) = (BTreeMap::new(), None, wishes::scope(sender));
    // One that does not open is a finding of another part.
    drop(audit.counter(partition, Table::Wanted, &scope));
    loop {
        let page = audit.items(partition, Table::Wanted, &scope, after)?;
        let Some((last, _)) = page.last() else { return Ok(wishes) };
        after = Some(*last);
        // One that does not open is a finding of another part.
        for (place, row) in page {
            let row = row.ok().and_then(|row| decode::<WantedFile>("wanted file", &row).ok());
            let Some(file) = row else { continue };
            audit.speak(partition, Table::Attachment, &fetching::part_key(&file))?;
            wishes.insert(file.record, place);
        }
    }
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
