//! Is everything that is stored still what was written? `entente check` asks, on a stopped node or a running one.
//!
//! It reads all of it once: the order of appends, every row, the journal, every record's commitment and
//! attestation, every feed's runs and digests, every file; and last the files of which no row speaks. What is
//! missing, damaged or too many is named. It repairs nothing; memory is bounded however much is held. A row too many is one
//! of which nothing that was read speaks. Not seen: the index row by which an import knows what it took before, to which
//! nothing leads back, so that those are only counted; whether one of thousands that share a value is found by it, where
//! less of it was disclosed at first; and a single row that was put back to what it once was, where nothing else says
//! how it is now. The tests list each such row with its reason.

mod agreed;
mod custody;
mod extra;
mod feeds;
mod files;
mod found;
mod onward;
mod recalls;
mod received;
mod records;
#[cfg(test)]
mod tests;

use crate::{
    call::{OnProgress, Progress},
    error::Fault,
    node::Node,
    seal::keyring::Partition,
    store::{StoreError, check::Audit, layout::Table},
};
use entente_protocol::custody::{event::Event, journal::Journal};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// Findings that are listed; more are counted.
const LISTED_MAX: usize = 1_000;
/// What to do about most of it.
const RESTORE: &str = "stop the node, copy the home aside, restore the store from a backup, then sync with partners";

/// What is being found out.
pub(crate) struct Report<'a> {
    progress: OnProgress<'a>,
    done: u64,
    total: u64,
    part: &'static str,
    checked: u64,
    wrong: u64,
    parts: Vec<Json>,
    found: Vec<Json>,
    /// Ids given so far, and how often each.
    given: BTreeMap<String, u32>,
    /// Places of records that an import took from something: an index row leads to each, and nothing leads back.
    imported: Vec<u64>,
    /// Whether a value is shared by too many to tell which index rows are theirs.
    untold: bool,
}

impl<'a> Report<'a> {
    fn new(progress: OnProgress<'a>) -> Self {
        let (parts, found) = (Vec::new(), Vec::new());
        let given = BTreeMap::new();
        Self {
            progress,
            done: 0,
            total: 0,
            part: "",
            checked: 0,
            wrong: 0,
            parts,
            found,
            given,
            imported: Vec::new(),
            untold: false,
        }
    }
    /// So many things more are going to be looked at.
    fn expect(&mut self, more: u64) {
        self.total = self.total.saturating_add(more);
    }
    /// So many things were looked at.
    fn step(&mut self, more: u64) {
        let before = self.done;
        (self.done, self.checked) = (self.done.saturating_add(more), self.checked.saturating_add(more));
        if before / 256 != self.done / 256 {
            (self.progress)(Progress { done: self.done, total: Some(self.total.max(self.done)) });
        }
    }
    fn note(&mut self, ok: bool, id: impl ToString, state: &str, says: impl ToString, what: &str) {
        if self.found.len() < LISTED_MAX {
            let id = self.own_id(id.to_string());
            self.found.push(json!({
                "id": id,
                "part": self.part,
                "ok": ok,
                "state": state,
                "says": says.to_string(),
                "do": what,
            }));
        }
    }
    /// The id of a row of the answer: where two findings are about one thing, the second is told apart.
    fn own_id(&mut self, id: String) -> String {
        let times = self.given.entry(id.clone()).or_default();
        *times += 1;
        if *times == 1 { id } else { format!("{id} ({times})") }
    }
    fn wrong(&mut self, id: impl ToString, state: &str, says: impl ToString) {
        self.wrong = self.wrong.saturating_add(1);
        self.note(false, id, state, says, RESTORE);
    }
    fn missing(&mut self, id: impl ToString, says: impl ToString) {
        self.wrong(id, "missing", says);
    }
    fn damaged(&mut self, id: impl ToString, says: impl ToString) {
        self.wrong(id, "damaged", says);
    }
    fn extra(&mut self, id: impl ToString, says: impl ToString) {
        self.wrong(id, "extra", says);
    }
    /// Whether anything is wrong so far.
    fn is_clean(&self) -> bool {
        self.wrong == 0 && self.parts.iter().all(|part| part["ok"] == true)
    }
    /// Takes the answer of a read: `None` was noted as damaged, an error ends the part.
    fn readable<T>(&mut self, id: impl ToString, read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match read {
            Ok(value) => Ok(Some(value)),
            Err(error @ (StoreError::Seal(_) | StoreError::Stream(_))) => {
                self.damaged(id, error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
    /// One part, from its beginning to its end; an engine that refuses ends the part and is a finding.
    fn part(&mut self, name: &'static str, says: &str, look: impl FnOnce(&mut Self) -> Result<(), StoreError>) {
        (self.part, self.checked, self.wrong) = (name, 0, 0);
        self.given.insert(name.to_owned(), 1);
        if let Err(error) = look(self) {
            self.wrong(name, "unreadable", error);
        }
        let (checked, wrong) = (self.checked, self.wrong);
        let ok = wrong == 0;
        self.parts
            .push(json!({ "id": name, "part": name, "ok": ok, "checked": checked, "wrong": wrong, "says": says }));
    }
}

/// Reads everything; with `sweep`, removes files of which no row speaks.
pub fn check(node: &Node, sweep: bool, progress: OnProgress<'_>) -> Result<Json, Fault> {
    let audit = node.holdings.audit();
    let mut report = Report::new(progress);
    expected(node, &audit, &mut report)?;
    report.part("appends", "each follows from the one before", |report| {
        audit.sequence(&mut |more| report.step(more)).map(|_| ())
    });
    report.part("rows", "each opens under a key of ours", |report| every_row(&audit, report));
    let parts = audit.parts()?;
    audit.watch(0, parts)?;
    what_it_means(node, &audit, &mut report);
    report.part("rows too many", "something speaks of each", |report| extra::every(node, &audit, report, parts));
    report.part("files", "every chunk is the record's", |report| files::every(&audit, report));
    report.part("unnamed files", "of files that no row speaks of; what an interrupted import leaves", |report| {
        files::unnamed(&audit, report, sweep)
    });
    report.part("answers", "the disk answered every question", |report| {
        report.step(1);
        // What was not answered may have been taken for what is not there.
        if let Some(why) = audit.unanswered() {
            report.wrong("the disk", "unreadable", why);
        }
        Ok(())
    });
    let Report { mut parts, found, .. } = report;
    parts.extend(found);
    Ok(Json::Array(parts))
}

/// How many files and parts of files there are, and those of which something is not on the disk. None is read.
pub fn absent(node: &Node) -> Result<(u64, Vec<String>), StoreError> {
    files::absent(node)
}

/// The parts that know what rows are for.
fn what_it_means(node: &Node, audit: &Audit, report: &mut Report<'_>) {
    report.part("journal", "each event follows from the one before", |report| journal(audit, report));
    report.part("log", "every leaf is what happened, and every head is signed", |report| {
        custody::every(node, audit, report)
    });
    report.part("partners and agreements", "every card and version that was signed", |report| {
        agreed::every(node, audit, report)
    });
    report.part("own records", "commitment, attestation and reviews", |report| records::own(node, audit, report));
    report.part("received records", "commitment, attestation and run", |report| received::every(node, audit, report));
    report.part("recalls", "signatures, and who was asked", |report| recalls::every(node, audit, report));
    report.part("onward", "grants, and who was passed what", |report| onward::every(node, audit, report));
    report.part("feeds", "signatures and running digests", |report| feeds::every(node, audit, report));
}

/// What counters say, so that whoever watches sees how far it is. Rows are added when they are seen.
fn expected(node: &Node, audit: &Audit, report: &mut Report<'_>) -> Result<(), Fault> {
    // A counter that cannot be read is found by the part that needs it.
    let mut count = |partition, table, scope| report.expect(audit.count(partition, table, scope).unwrap_or_default());
    count(Partition::Own, Table::Record, b"");
    count(Partition::Own, Table::Review, b"");
    count(Partition::Node, Table::Journal, b"");
    for agreement in node.partitions() {
        count(Partition::Agreement(agreement), Table::Received, b"");
    }
    report.expect(audit.head()?.sequence);
    Ok(())
}

fn every_row(audit: &Audit, report: &mut Report<'_>) -> Result<(), StoreError> {
    audit.each_row(None, &mut |seen| {
        report.expect(1);
        report.step(1);
        if seen.opened.is_none() && !seen.token {
            report.damaged(hex::encode(seen.row), "no key of this node opens it: it was changed, or its keys are gone");
        }
        Ok(())
    })
}

/// Looks at one item: its place and content.
type VisitItem<'a> = &'a mut dyn FnMut(&mut Report<'_>, u64, Vec<u8>) -> Result<(), StoreError>;

/// Every item of a list from which nothing is ever removed. Gaps, and items after the counter, are findings.
fn each_item(
    audit: &Audit,
    report: &mut Report<'_>,
    (partition, table, scope): (Partition, Table, &[u8]),
    what: &str,
    visit: VisitItem<'_>,
) -> Result<(), StoreError> {
    // Read first: what a running node adds meanwhile is not looked at.
    let read =
        |report: &mut Report<'_>| report.readable(format!("{what}: counter"), audit.counter(partition, table, scope));
    let mut count = read(report)?.map_or(u64::MAX, Option::unwrap_or_default);
    let (mut next, mut after) = (0u64, None);
    'pages: loop {
        let page = audit.items(partition, table, scope, after)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        for (n, content) in page {
            if n >= count {
                match read(report)? {
                    Some(Some(now)) if n < now => break 'pages,
                    Some(Some(_)) => {
                        let end = format!("it stands behind the end of its list, as `{what}: counter` says it");
                        report.extra(format!("{what} {n}"), end);
                        continue;
                    }
                    Some(None) => {
                        report.missing(format!("{what}: counter"), "the row that says where the list ends is gone");
                        count = u64::MAX;
                    }
                    None => count = u64::MAX,
                }
            }
            // Row keys say the place in clear: a gap is one finding, however wide a changed key makes it.
            match n.saturating_sub(next) {
                0 => {}
                1 => report.missing(format!("{what} {next}"), "its row is gone"),
                wide => report.missing(format!("{what} {next}"), format!("its row is gone, and {} after it", wide - 1)),
            }
            next = n.saturating_add(1);
            if let Some(content) = report.readable(format!("{what} {n}"), content)? {
                visit(report, n, content)?;
            }
        }
    }
    if count != u64::MAX && next < count {
        report.missing(format!("{what} {next}"), format!("{} rows at the end are gone", count - next));
    }
    Ok(())
}

fn journal(audit: &Audit, report: &mut Report<'_>) -> Result<(), StoreError> {
    // None where an event was not read: what follows is held against the next that is.
    let (partitions, all) = (audit.partitions(), audit.nothing_erased());
    let mut journal = Some(Journal::start(audit.store_id()));
    each_item(audit, report, (Partition::Node, Table::Journal, b""), "event", &mut |report, n, content| {
        report.step(1);
        if let Ok(event) = Event::danger_unchained(&content) {
            custody::event(audit, report, (&partitions, all), n, &event)?;
        }
        match (Event::danger_unchained(&content), &mut journal) {
            (Ok(event), Some(followed)) => {
                if followed.handle_event(&content).is_err() {
                    report.damaged(format!("event {n}"), "it does not follow from the event before it");
                    *followed = Journal::after(n.saturating_add(1), &event);
                }
            }
            (Ok(event), None) => journal = Some(Journal::after(n.saturating_add(1), &event)),
            (Err(_), _) => {
                report.damaged(format!("event {n}"), "it does not read as written");
                journal = None;
            }
        }
        Ok(())
    })
}
