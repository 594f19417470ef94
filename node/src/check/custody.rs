//! The log: each leaf is made again from the journal and held against the tiles, each head against the keys of its card.

use super::{Report, each_item};
use crate::{
    custody::{self, CosignedRow, UnloggedRow, audit as log},
    journal,
    node::Node,
    seal::keyring::Partition,
    store::{StoreError, check::Audit, layout::Table},
};
use entente_protocol::custody::event::Event;

/// What an event says, under each partition that it may touch, and where what was signed in it is found.
pub fn event(
    audit: &Audit,
    report: &mut Report<'_>,
    (partitions, all): (&[Partition], bool),
    n: u64,
    event: &Event,
) -> Result<(), StoreError> {
    let mut found = 0;
    for partition in partitions {
        if found >= event.parts() {
            break;
        }
        let part = audit.get(*partition, Table::JournalPart, &n.to_be_bytes());
        match report.readable(format!("event {n}: part"), part)?.flatten() {
            Some(part) if event.open(&part).is_none() => {
                report.damaged(format!("event {n}: part"), "it is not what the event says");
            }
            Some(_) => found += 1,
            None => {}
        }
    }
    // Of what was erased nobody can say whether it is there.
    if all && found < event.parts() {
        report.missing(format!("event {n}: part"), "what it says is gone");
    }
    if event.is_signed() {
        let digest = event.logged();
        audit.speak_nth(Partition::Node, journal::LOGGED, digest.as_bytes(), 0)?;
        if audit.nth(Partition::Node, journal::LOGGED, digest.as_bytes(), 0)? != Some(n) {
            report.missing(format!("event {n}: index"), "what was signed in it is not found by its digest");
        }
    }
    Ok(())
}

/// Every epoch of the own log, and what is known of partners' logs.
pub fn every(node: &Node, audit: &Audit, report: &mut Report<'_>) -> Result<(), StoreError> {
    for (key, scopes) in log::rows(node).map_err(store_error)? {
        audit.speak(Partition::Node, Table::Log, &key)?;
        for scope in scopes {
            each_item(audit, report, (Partition::Node, Table::Log, &scope), "log", &mut |report, _, _| {
                report.step(1);
                Ok(())
            })?;
        }
    }
    for tile in log::tiles(node).map_err(store_error)? {
        audit.speak(Partition::Node, Table::Tile, &tile)?;
    }
    for (org, store) in log::known(node).map_err(store_error)? {
        if !log::speak(audit, org, store)? {
            report.missing(format!("log of {org}"), "a row of what is known of it is gone");
        }
    }
    if log::begun(node).map_err(store_error)? > 1 {
        report.missing("log", "it was begun more than once: the row that says how far it was is gone");
    }
    let mut step = |more| report.step(more);
    if let Some(why) = log::remade(node, &mut step).map_err(store_error)? {
        report.damaged("log", why);
    }
    each_item(
        audit,
        report,
        (Partition::Node, Table::Log, custody::UNLOGGED),
        "unlogged run",
        &mut |report, n, row| {
            report.step(1);
            if UnloggedRow::read(&row).is_err() {
                report.damaged(format!("unlogged run {n}"), "it does not read as written");
            }
            Ok(())
        },
    )?;
    heads(node, audit, report)
}

/// Heads that others have witnessed are ours.
fn heads(node: &Node, audit: &Audit, report: &mut Report<'_>) -> Result<(), StoreError> {
    for scope in log::cosigned(node).map_err(store_error)? {
        each_item(audit, report, (Partition::Node, Table::Log, &scope), "witnessed head", &mut |report, n, row| {
            report.step(1);
            let holds = CosignedRow::read(&row).is_ok_and(|row| custody::is_own(node, &row.note));
            if !holds {
                report.damaged(format!("witnessed head {n}"), "no log key of our card signed it");
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn store_error(error: custody::CustodyError) -> StoreError {
    match error {
        custody::CustodyError::Store(error) => error,
        _ => StoreError::Broken { at: 0 },
    }
}
