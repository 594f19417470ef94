//! Checks feeds: every run is signed, follows from the one before, and leads to where the feed is said to stand.

use super::{Report, agreed, each_item, records::listed};
use crate::{
    node::Node,
    receive::{RunInRow, quarantine},
    records::{
        index,
        stored::{ReceivedRow, ReleasedRow, decode, record_in_feed},
    },
    seal::keyring::Partition,
    share::{
        feeds::{self, InRow, OutRow, SentRun},
        lost,
    },
    store::{StoreError, check::Audit, layout::Table},
};
use entente_protocol::{
    cose::SignatureBytes,
    feed::{Cursor, Entry, FeedKey, Receipt, Run, digest},
    id::{AgreementId, OrgId, StoreId},
    identity::Purpose,
};
use std::collections::BTreeSet;

/// Runs too many that are named, of one feed.
const EXTRA_MAX: u64 = 100;

/// Every feed with every partner under every agreement that is or was in force.
pub fn every(node: &Node, audit: &Audit, report: &mut Report<'_>) -> Result<(), StoreError> {
    let rules = node.rules();
    for held in rules.agreements.iter() {
        let Some(in_force) = &held.in_force else { continue };
        let partition = Partition::Agreement(held.id);
        let mut known = false;
        // A party that has left the agreement may have been sent to, and have sent.
        let book = node.book();
        let parties = in_force.agreement.parties.iter().map(|party| party.id).filter(|party| *party != node.keys.org);
        let parties: BTreeSet<OrgId> = parties.chain(book.iter().map(|(partner, _)| *partner)).collect();
        for party in parties {
            outgoing(node, audit, report, &feeds::outgoing(node, party, held.id))?;
            if held.erased {
                continue;
            }
            waiting(audit, report, held.id, party)?;
            let read = audit.get(partition, Table::Cursor, &feeds::store_key(party));
            let store = report.readable(format!("store of {party}"), read)?.flatten();
            if let Some(store) = store.and_then(|bytes| StoreId::from_slice(&bytes)) {
                known = true;
                agreed::counted(audit, report, party)?;
                incoming(node, audit, report, &feeds::incoming(node, party, store, held.id))?;
            }
        }
        if !held.erased && !known && audit.count(partition, Table::Received, b"")? > 0 {
            report.missing(held.id, "records came under it, and the row that says from which store is gone");
        }
    }
    Ok(())
}

/// What a partner sent and what did not hold is told in words that read.
fn waiting(audit: &Audit, report: &mut Report<'_>, agreement: AgreementId, party: OrgId) -> Result<(), StoreError> {
    let what = format!("what waits of {party} under {agreement}");
    let read = audit.get(Partition::Agreement(agreement), Table::Cursor, &quarantine::key(party));
    if let Some(Some(row)) = report.readable(&what, read)?
        && decode::<quarantine::Quarantined>("quarantine", &row).is_err()
    {
        report.damaged(what, "it does not read as written");
    }
    Ok(())
}

/// Runs behind the last one of their feed. Each comes with the row that says where the feed stands: `count` was read before it.
fn beyond(report: &mut Report<'_>, what: &str, count: u64, runs: u64) {
    for n in runs..count.min(runs.saturating_add(EXTRA_MAX)) {
        report.extra(format!("{what} {n}"), "the feed ends before it");
    }
}

/// Where a feed is by its runs, and whether it can still be told.
struct Walk {
    at: Cursor,
    runs: u64,
}

impl Walk {
    fn new(feed: &FeedKey) -> Self {
        Self { at: Cursor::start(feed.id()), runs: 0 }
    }
    /// One more run. `hashes` are checked beside the run's own digest, where they are kept.
    fn follow(&mut self, node: &Node, feed: &FeedKey, signed: &SignatureBytes) -> Result<Run, String> {
        self.runs += 1;
        let run = Run::verify(signed, feed, |kid| listed(node, feed.sender, Purpose::Runs, kid));
        let run = run.map_err(|e| e.to_string())?;
        let before = std::mem::replace(&mut self.at, run.end());
        if run.before == before { Ok(run) } else { Err("it does not follow from the run before it".to_owned()) }
    }
    fn end(&self, report: &mut Report<'_>, feed: &FeedKey, says: Cursor, runs: u64) {
        if runs == self.runs && self.at != says {
            report.damaged(feed.id(), "its runs lead elsewhere than where it is said to stand");
        }
    }
}

fn outgoing(node: &Node, audit: &Audit, report: &mut Report<'_>, feed: &FeedKey) -> Result<(), StoreError> {
    let id = feed.id();
    audit.speak(Partition::Own, Table::Cursor, &feeds::stop_key(feed))?;
    audit.speak(Partition::Own, Table::Cursor, &lost::key(feed))?;
    pending(audit, report, feed)?;
    // Before the row: what a running node adds meanwhile moves the row as well. One that cannot be read is found with its list.
    let receipts = audit.count(Partition::Own, Table::Receipt, id.as_bytes()).unwrap_or_default();
    let sent = audit.count(Partition::Own, Table::RunOut, id.as_bytes()).unwrap_or_default();
    let read = audit.get(Partition::Own, Table::Cursor, &feeds::out_key(feed));
    let Some(found) = report.readable(id, read)? else { return Ok(()) };
    let row = found.map(|bytes| decode::<OutRow>("feed", &bytes)).transpose();
    let Ok(row) = row else {
        report.damaged(id, "the row that says where it stands does not read as written");
        return Ok(());
    };
    let mut walk = Walk::new(feed);
    let list = (Partition::Own, Table::RunOut, id.as_bytes().as_slice());
    each_item(audit, report, list, &format!("sent run of feed {id}"), &mut |report, n, bytes| {
        report.expect(1);
        report.step(1);
        // Those of a running node came after the row was read.
        if row.as_ref().is_none_or(|row| n >= row.runs) {
            return Ok(());
        }
        let holds = decode::<SentRun>("run", &bytes).map_err(|e| e.to_string()).and_then(|sent| {
            let run = walk.follow(node, feed, &sent.run)?;
            let hashes = sent.entries.iter().map(|entry| Entry::hash_of(&entry.bytes));
            // Of a run that its receiver gave back the entries are not here, and the signature is ours.
            let given_back = sent.entries.iter().all(|entry| entry.bytes.is_empty());
            let same = given_back || digest::steps(run.before.digest, hashes) == run.after;
            let same = same && sent.entries.len() as u64 == run.count;
            if same { Ok(sent) } else { Err("its entries are not those that were signed".to_owned()) }
        });
        match holds {
            Ok(sent) => releases(audit, report, feed, &sent),
            Err(why) => {
                report.damaged(format!("sent run {n} of feed {id}"), why);
                Ok(())
            }
        }
    })?;
    match &row {
        Some(row) => {
            walk.end(report, feed, row.cursor(), row.runs);
            beyond(report, &format!("sent run of feed {id}:"), sent, row.runs);
            if row.countersigned.is_some_and(|held| held.length > row.length) {
                report.damaged(
                    id,
                    "the partner countersigned more than it holds: this store is older than what was sent",
                );
            }
        }
        None if audit.count(Partition::Own, Table::RunOut, id.as_bytes())? > 0 => {
            report.missing(id, "the row that says where it stands is gone");
        }
        None => {}
    }
    let countersigned = row.and_then(|row| row.countersigned).map_or(0, |held| held.length);
    countersignatures(node, audit, report, feed, (receipts, countersigned))
}

/// What waits in a feed stands in its list, before the end of it.
fn pending(audit: &Audit, report: &mut Report<'_>, feed: &FeedKey) -> Result<(), StoreError> {
    let (id, mut after) = (feed.id(), None);
    loop {
        let page = audit.items(Partition::Own, Table::Pending, id.as_bytes(), after)?;
        let what = format!("what waits in feed {id}");
        let count = audit.count(Partition::Own, Table::Pending, id.as_bytes());
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(*last);
        let Some(count) = report.readable(format!("{what}: counter"), count)? else { return Ok(()) };
        for (n, row) in page {
            let Some(row) = report.readable(format!("{what}, {n}"), row)? else { continue };
            if n >= count {
                report.extra(format!("{what}, {n}"), "it stands behind the end of its list");
            }
            match decode::<feeds::Pending>("pending", &row).map(|pending| pending.record()) {
                Ok(None) => {}
                Ok(Some(record)) => {
                    if audit.nth(Partition::Own, index::ID, record.as_bytes(), 0).is_ok_and(|place| place.is_none()) {
                        report.extra(format!("{what}, {n}"), format!("there is no record {record}"));
                    }
                }
                Err(_) => report.damaged(format!("{what}, {n}"), "it does not read as written"),
            }
        }
    }
}

/// What was released is known as released, so that it can be withdrawn.
fn releases(audit: &Audit, report: &mut Report<'_>, feed: &FeedKey, sent: &SentRun) -> Result<(), StoreError> {
    for (number, entry) in (sent.first..).zip(&sent.entries) {
        let Some(record) = entry.record else { continue };
        let read = audit.get(Partition::Own, Table::Release, &record_in_feed(record, feed.id()));
        let Some(found) = report.readable(record, read)? else { continue };
        match found.map(|bytes| decode::<ReleasedRow>("release", &bytes)) {
            Some(Ok(row)) if row.number < number => {
                report
                    .damaged(record, format!("it is said to be released by entry {}, and was by {number}", row.number));
            }
            Some(Ok(_)) => {}
            Some(Err(_)) => report.damaged(record, "the row of its release does not read as written"),
            None => report.missing(record, format!("the row of its release in feed {} is gone", feed.id())),
        }
    }
    Ok(())
}

/// What a partner withdrew is withdrawn, unless it came again later.
fn withdrawn(audit: &Audit, report: &mut Report<'_>, feed: &FeedKey, held: &RunInRow) -> Result<(), StoreError> {
    let partition = Partition::Agreement(feed.agreement);
    for (number, record) in &held.withdrew {
        let read = audit.get(partition, Table::Withdrawn, record.as_bytes());
        if report.readable(record, read)? != Some(None) {
            continue;
        }
        let place = audit.nth(partition, index::ID, record.as_bytes(), 0).ok().flatten();
        let row = place.and_then(|place| audit.item(partition, Table::Received, b"", place).ok().flatten());
        let row = row.and_then(|bytes| decode::<ReceivedRow>("received record", &bytes).ok());
        if row.is_none_or(|row| row.number < *number) {
            report.missing(record, format!("entry {number} of feed {} withdrew it, and that is not known", feed.id()));
        }
    }
    Ok(())
}

/// The receipts of a feed: how many there were when its row was read, and how far the row says that they cover it.
fn countersignatures(
    node: &Node,
    audit: &Audit,
    report: &mut Report<'_>,
    feed: &FeedKey,
    (known, says): (u64, u64),
) -> Result<(), StoreError> {
    let (id, mut covered) = (feed.id(), 0);
    let list = (Partition::Own, Table::Receipt, id.as_bytes().as_slice());
    each_item(audit, report, list, &format!("receipt of feed {id}"), &mut |report, n, bytes| {
        let key = |kid| listed(node, feed.receiver, Purpose::Runs, kid);
        match Receipt::verify(&SignatureBytes(bytes), feed, key) {
            // Each was kept because it covers more than the one before.
            Ok(receipt) if receipt.held.length <= covered => {
                report.extra(format!("receipt {n} of feed {id}"), "it covers no more than the one before it");
            }
            Ok(receipt) if receipt.held.length > says && n < known => {
                report
                    .extra(format!("receipt {n} of feed {id}"), format!("the feed is countersigned up to {says} only"));
            }
            Ok(receipt) => covered = receipt.held.length,
            Err(fault) => report.damaged(format!("receipt {n} of feed {id}"), fault),
        }
        Ok(())
    })?;
    if covered < says {
        report.damaged(id, format!("it is said to be countersigned up to {says}, and its receipts cover {covered}"));
    }
    Ok(())
}

fn incoming(node: &Node, audit: &Audit, report: &mut Report<'_>, feed: &FeedKey) -> Result<(), StoreError> {
    let id = feed.id();
    let partition = Partition::Agreement(feed.agreement);
    audit.speak(Partition::Own, Table::Cursor, &feeds::stop_key(feed))?;
    let came = audit.count(partition, Table::RunIn, id.as_bytes()).unwrap_or_default();
    let read = audit.get(partition, Table::Cursor, &feeds::in_key(feed));
    let Some(found) = report.readable(id, read)? else { return Ok(()) };
    let Some(row) = found.and_then(|bytes| decode::<InRow>("feed", &bytes).ok()) else {
        report.damaged(id, "the row that says where it stands is missing or does not read as written");
        return Ok(());
    };
    let mut walk = Walk::new(feed);
    let list = (partition, Table::RunIn, id.as_bytes().as_slice());
    each_item(audit, report, list, &format!("received run of feed {id}"), &mut |report, n, bytes| {
        report.expect(1);
        report.step(1);
        if n >= row.runs {
            return Ok(());
        }
        let read = decode::<RunInRow>("run", &bytes).map_err(|e| e.to_string());
        match read.and_then(|held| walk.follow(node, feed, &held.run).map(|_| held)) {
            Ok(held) => withdrawn(audit, report, feed, &held),
            Err(why) => {
                report.damaged(format!("received run {n} of feed {id}"), why);
                Ok(())
            }
        }
    })?;
    walk.end(report, feed, row.cursor(), row.runs);
    beyond(report, &format!("received run of feed {id}:"), came, row.runs);
    Ok(())
}
