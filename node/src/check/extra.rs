//! Finds rows too many: those of which nothing that was read speaks, though they open under a key of ours.
//!
//! The other parts ask for rows by what they mean, and the audit notes which were asked for. What is left is explained by
//! what it says of itself (a feed of a partner's former store, a record that waits for its day), or is named here.

use super::{Report, what_it_means};
use crate::{
    node::Node,
    recall::granted,
    receive::RunInRow,
    records::{
        index,
        stored::{OwnRow, ReceivedRow, decode},
    },
    seal::keyring::Partition,
    share::feeds::{self, DueRow, InRow},
    store::{
        StoreError,
        check::{Audit, Seen},
        layout::Table,
    },
};
use entente_protocol::{
    feed::{FeedKey, Run},
    id::RecordId,
    identity::Purpose,
};
use std::collections::{BTreeMap, BTreeSet};

/// Days after 1970 on which a record may become due: from the year 2022 to 2517.
const DAYS: std::ops::Range<u64> = 19_000..200_000;
/// Places tried for index rows that are too many.
const TRIED_MAX: usize = 1 << 22;
/// Rows that are named where other things are wrong, which may be why nothing speaks of them.
const NAMED: usize = 3;

/// Names each row of which nothing speaks. The first of the parts in which rows are watched has been walked.
pub fn every(node: &Node, audit: &Audit, report: &mut Report<'_>, parts: u64) -> Result<(), StoreError> {
    let clean = report.is_clean();
    let (mut found, mut tokens, mut counters) = (Vec::new(), Vec::new(), Vec::new());
    let out = outgoing(node);
    for part in 0..parts {
        if part > 0 {
            audit.watch(part, parts)?;
            let mut unheard = |_| {};
            what_it_means(node, audit, &mut Report::new(&mut unheard));
        }
        audit.each_unspoken(&mut |seen| {
            report.expect(1);
            report.step(1);
            if seen.token {
                tokens.push((seen.row.to_vec(), seen.value.to_vec()));
                return Ok(());
            }
            // What no key opens is a finding of another part.
            let Some((partition, content)) = &seen.opened else { return Ok(()) };
            if seen.row.first() == Some(&(Table::Counter as u8)) {
                counters.push((seen.row.to_vec(), *partition));
            } else if !explained(node, audit, (*partition, seen.row, content), &out)? {
                found.push((hex::encode(seen.row), says(&seen, *partition, content)));
            }
            Ok(())
        })?;
    }
    if !counters.is_empty() {
        of_days(audit, &out, &mut counters)?;
        of_grants(audit, &mut counters)?;
    }
    let what = |partition| format!("it counts a list of {partition} that nothing speaks of");
    found.extend(counters.into_iter().map(|(row, partition)| (hex::encode(row), what(partition))));
    if !report.untold {
        leading_nowhere(audit, report, &tokens, &mut found)?;
    }
    if clean {
        found.into_iter().for_each(|(row, says)| report.extra(row, says));
    } else if !found.is_empty() {
        let named: Vec<&str> = found.iter().take(NAMED).map(|(row, _)| row.as_str()).collect();
        let count = found.len();
        report.extra("other rows", format!("nothing that still reads speaks of {count}, such as {}", named.join(", ")));
    }
    Ok(())
}

/// Index rows that nothing speaks of, beyond one for each record that an import took from something. Which those are is
/// told by the place to which a row leads, where so many can be tried.
fn leading_nowhere(
    audit: &Audit,
    report: &mut Report<'_>,
    tokens: &[(Vec<u8>, Vec<u8>)],
    found: &mut Vec<(String, String)>,
) -> Result<(), StoreError> {
    let imported = std::mem::take(&mut report.imported);
    if tokens.len() <= imported.len() {
        return Ok(());
    }
    if tokens.len().saturating_mul(imported.len()) > TRIED_MAX {
        let more = tokens.len() - imported.len();
        let says = format!("{more} rows lead nowhere; there are too many to tell which");
        found.push(("index".to_owned(), says));
        return Ok(());
    }
    let mut led = BTreeMap::<u64, Vec<&[u8]>>::new();
    for (row, value) in tokens {
        let mut place = None;
        for known in &imported {
            if audit.leads_to(Partition::Own, row, value, *known)? {
                place = Some(*known);
                break;
            }
        }
        match place {
            Some(place) => led.entry(place).or_default().push(row),
            None => found.push((hex::encode(row), "it is in the index, and leads nowhere".to_owned())),
        }
    }
    for (place, rows) in led.into_iter().filter(|(_, rows)| rows.len() > 1) {
        let says = format!("of {} rows of the index that lead to own record {place}, one is of its import", rows.len());
        found.extend(rows.into_iter().map(|row| (hex::encode(row), says.clone())));
    }
    Ok(())
}

/// What a row is, as far as it says so itself.
fn says(seen: &Seen<'_>, partition: Partition, content: &[u8]) -> String {
    let record = || -> Option<RecordId> {
        if let Ok(row) = decode::<OwnRow>("record", content) {
            return row.record().ok().map(|record| record.id());
        }
        decode::<ReceivedRow>("received record", content).ok()?.id()
    };
    let about = record().map(|record| format!(" with record {record}")).unwrap_or_default();
    format!("a row{about} among the {}, of {partition}, of which nothing speaks", Table::name_of(seen.row))
}

/// Every feed of ours that there may be.
fn outgoing(node: &Node) -> Vec<FeedKey> {
    let (book, rules) = (node.book(), node.rules());
    let agreements: Vec<_> = rules.agreements.iter().map(|held| held.id).collect();
    let feeds = book.iter().flat_map(|(partner, _)| agreements.iter().map(|id| feeds::outgoing(node, *partner, *id)));
    feeds.collect()
}

/// Whether a row says itself why it is there, and where it stands bears it out.
fn explained(
    node: &Node,
    audit: &Audit,
    (partition, row, content): (Partition, &[u8], &[u8]),
    out: &[FeedKey],
) -> Result<bool, StoreError> {
    let is = |table: Table| row.first() == Some(&(table as u8));
    let book = node.book();
    if is(Table::Pending)
        && let Ok(due) = decode::<DueRow>("due record", content)
    {
        // One of another's record outlives it: what came under an agreement may be erased before the day.
        let known = due.onward || audit.nth(Partition::Own, index::ID, due.record.as_bytes(), 0)?.is_some();
        let (day, today) = (due.at.days(), node.clock.now().days());
        // One that was due already when it was noted stands on the day to which its feed had come.
        for day in (day..=day.max(today)).filter(|_| known) {
            for feed in out {
                let [list, _] = audit.list_rows(Partition::Own, Table::Pending, &feeds::due_scope(feed.id(), day))?;
                if row.starts_with(&list) {
                    return Ok(true);
                }
            }
        }
        return Ok(false);
    }
    let Partition::Agreement(agreement) = partition else { return Ok(false) };
    // Of a store from which a partner shared before.
    if is(Table::RunIn)
        && let Ok(held) = decode::<RunInRow>("run", content)
        && let Ok(run) = Run::danger_unverified(&held.run)
        && let Ok(parsed) = held.run.parse()
    {
        let [list, _] = audit.list_rows(partition, Table::RunIn, run.feed.as_bytes())?;
        let signed = book.iter().any(|(_, partner)| {
            let key = partner.card.listed(Purpose::Runs, parsed.kid());
            key.is_some_and(|entry| parsed.verify(entente_protocol::label::SIGN_RUN, &entry.key).is_ok())
        });
        return Ok(signed && row.starts_with(&list));
    }
    if is(Table::Cursor)
        && let Ok(state) = decode::<InRow>("feed", content)
    {
        for (partner, _) in book.iter() {
            let key = feeds::in_key(&feeds::incoming(node, *partner, state.store, agreement));
            if audit.point_row(partition, Table::Cursor, &key)? == row {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Takes out the counters of what became due on some day: they outlive what they counted.
fn of_days(audit: &Audit, out: &[FeedKey], counters: &mut Vec<(Vec<u8>, Partition)>) -> Result<(), StoreError> {
    for day in DAYS {
        for feed in out {
            if counters.is_empty() {
                return Ok(());
            }
            let [_, counter] = audit.list_rows(Partition::Own, Table::Pending, &feeds::due_scope(feed.id(), day))?;
            counters.retain(|(row, _)| *row != counter);
        }
    }
    Ok(())
}

/// The same of the days on which grants were over.
fn of_grants(audit: &Audit, counters: &mut Vec<(Vec<u8>, Partition)>) -> Result<(), StoreError> {
    let partitions: BTreeSet<Partition> = counters.iter().map(|(_, partition)| *partition).collect();
    for partition in partitions.into_iter().filter(|partition| matches!(partition, Partition::Agreement(_))) {
        for day in DAYS {
            if counters.is_empty() {
                return Ok(());
            }
            let [_, counter] = audit.list_rows(partition, Table::Recall, &granted::scope(day))?;
            counters.retain(|(row, _)| *row != counter);
        }
    }
    Ok(())
}
