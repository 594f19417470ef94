//! What an open node says of what it holds: store, files, keys, clock, backups, and a restore that is not long ago.

use super::{Findings, checked};
use crate::{
    backup::{agreements, made},
    check,
    clock::say,
    error::Blame,
    keys::suspect,
    node::Node,
    restore::mark,
};
use entente_protocol::time::DAY_MS;

/// A backup, or a check, is old after so many days.
const BACKUP_DAYS: u64 = 7;
const CHECK_DAYS: u64 = 90;
/// How long a restore is told.
const RESTORE_DAYS: u64 = 31;

/// Looks at everything but partners.
pub fn every(node: &Node, findings: &mut Findings) {
    store(node, findings);
    files(node, findings);
    for trouble in node.keys.trouble(node.clock.now()) {
        findings.warn("identity", Blame::Setup, trouble, "Run the command that it names.");
    }
    match suspect::batches(node, None) {
        Ok((_, 0)) => {}
        Ok((_, records)) => {
            let says = format!("{records} records of ours are suspect since their key was stolen, and go to nobody");
            let what =
                "Look at them (`entente search --own`), refute what is not yours, then run `entente key reattest`.";
            findings.warn("suspect", Blame::Setup, says, what);
        }
        Err(error) => findings.trouble("suspect", Blame::Store, error, "Run `entente check`."),
    }
    if !findings.has_fault("identity") {
        let until = node.keys.certificate_until(node.clock.now()).map(|until| until.to_string()).unwrap_or_default();
        findings.ok("identity", format!("its certificate counts until {until}"));
    }
    match say::trouble(node) {
        Some(says) => {
            findings.trouble("clock", Blame::Setup, says, "Compare this machine's clock with another, and mend it.")
        }
        None => findings.ok("clock", "it agrees with what partners have signed"),
    }
    backup(node, findings);
    restored(node, findings);
}

fn store(node: &Node, findings: &mut Findings) {
    if let Some(cause) = node.holdings.failed() {
        findings.trouble("store", Blame::Store, cause, "Stop the node, look at the disk, and start it again.");
        return;
    }
    match node.holdings.head() {
        Ok(head) => findings.ok("store", format!("{} appends, and it answers", head.sequence)),
        Err(error) => {
            findings.trouble(
                "store",
                Blame::Store,
                error,
                "Stop the node, copy the home aside, and run `entente check`.",
            );
        }
    }
    let now = node.clock.now();
    match checked::last(&node.holdings) {
        Ok(Some(last)) if !last.ok => {
            let says = format!("the check of {} found something wrong", last.at);
            findings.trouble("last check", Blame::Store, says, "Run `entente check`: it names what, and what to do.");
        }
        Ok(Some(last)) if now.0.saturating_sub(last.at.0) <= CHECK_DAYS * DAY_MS => {
            findings.ok("last check", format!("{}: everything was as it was written", last.at));
        }
        Ok(last) => {
            let says = last.map_or_else(|| "never".to_owned(), |last| format!("{}, long ago", last.at));
            findings.warn("last check", Blame::Setup, says, "Run `entente check` when the node has little to do.");
        }
        Err(error) => findings.trouble("last check", Blame::Store, error, "Run `entente check`."),
    }
}

/// Files of which a row speaks and that are not there. None is read through.
fn files(node: &Node, findings: &mut Findings) {
    match check::absent(node) {
        Ok((of, missing)) if missing.is_empty() => findings.ok("files", format!("all of {of} are there")),
        Ok((of, missing)) => {
            let named = missing.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
            let says = format!("{} of {of} are gone from the disk: {named}", missing.len());
            findings.trouble(
                "files",
                Blame::Store,
                says,
                "Run `entente check`, and restore what it names from a backup.",
            );
        }
        Err(error) => findings.trouble("files", Blame::Store, error, "Run `entente check`."),
    }
    let damaged = node.damaged();
    if damaged > 0 {
        let says = format!("{damaged} could not be read as they were written, and are not given");
        findings.trouble("files", Blame::Store, says, "Run `entente check`, and restore what it names from a backup.");
    }
}

/// The age of the last copy, and what it does not open.
fn backup(node: &Node, findings: &mut Findings) {
    let make = "Run `entente backup DIR` with a folder on another disk.";
    let last = match made::last(&node.holdings) {
        Ok(Some(last)) => last,
        Ok(None) => {
            findings.warn("backup", Blame::Setup, "none was ever made by `entente backup`", make);
            return;
        }
        Err(error) => {
            findings.trouble("backup", Blame::Store, error, "Run `entente check`.");
            return;
        }
    };
    let without = agreements(node).into_iter().filter(|agreement| !last.agreements.contains(agreement)).count();
    if without > 0 {
        let says = format!("the keys of {without} agreements are in no copy off this machine since {}", last.at);
        findings.warn("backup", Blame::Setup, says, make);
    }
    if node.keys.card.payload().issued > last.at {
        let says = format!("keys or contacts were changed since the last one, of {}", last.at);
        findings.warn("backup", Blame::Setup, says, make);
    }
    if last.same_disk {
        let says = format!("the last one lies on the disk of the home: `{}`", last.folder);
        findings.warn("backup", Blame::Setup, says, "Name a folder on another disk, or copy that one to another.");
    }
    let days = node.clock.now().0.saturating_sub(last.at.0) / DAY_MS;
    if days > BACKUP_DAYS {
        findings.warn("backup", Blame::Setup, format!("the last one is {days} days old, of {}", last.at), make);
    }
    if !findings.has_fault("backup") {
        findings.ok("backup", format!("the last one is of {}, in `{}`", last.at, last.folder));
    }
}

fn restored(node: &Node, findings: &mut Findings) {
    let mark = match mark::read(&node.holdings) {
        Ok(Some(mark)) => mark,
        Ok(None) => return,
        Err(error) => {
            findings.trouble("restore", Blame::Store, error, "Run `entente check`.");
            return;
        }
    };
    if node.clock.now().0.saturating_sub(mark.at.0) > RESTORE_DAYS * DAY_MS {
        return;
    }
    let says = format!(
        "this store was put back on {} from a backup of {}: what was done between is not in it",
        mark.at, mark.taken
    );
    findings.warn(
        "restore",
        Blame::Setup,
        says,
        "Run `entente sync` with each partner, and do again what nobody else knows of.",
    );
    let opens = mark.agreements.iter().filter(|agreement| node.partitions().contains(agreement)).count();
    if opens > 0 {
        let says = format!(
            "the restored keyring opens {opens} agreements: if you erased one after {}, it is among them again",
            mark.taken
        );
        findings.warn("restore", Blame::Setup, says, "If you erased none since, nothing is to be done; else end it and erase it again: `entente agreement erase ID --by NAME`.");
    }
}
