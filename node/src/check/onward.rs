//! Checks what is kept about onward release: grants, requests, who was passed what, and who was introduced.

use super::{Report, each_item, records::listed};
use crate::{
    node::Node,
    onward::{
        ASKED, ASKS, GIVEN, GOT, HELD, PASSED, RELAYED,
        answering::{self, AsksRow, GivenRow},
        asking::AskedRow,
        grants::{self, GotRow},
        holding, passed, said, to_scope,
    },
    recall::{HolderRow, granted, holders_scope, relay},
    records::stored::decode,
    seal::keyring::Partition,
    store::{StoreError, check::Audit, layout::Table},
};
use entente_protocol::{
    cose::SignatureBytes,
    grant::{Grant, Passed, Request, notice_id},
    id::{OrgId, RecordId},
    identity::Purpose,
};
use std::collections::BTreeSet;

const OWN: Partition = Partition::Own;

/// Every row about onward release.
pub fn every(node: &Node, audit: &Audit, report: &mut Report<'_>) -> Result<(), StoreError> {
    introduced(audit, report)?;
    let mut signed = Vec::new();
    let receivers = grants(node, audit, report, &mut signed)?;
    requests(node, audit, report, &mut signed)?;
    held(node, audit, report, &mut signed)?;
    relayed(audit, report, &mut signed)?;
    let book = node.book();
    for partner in book.iter().map(|(partner, _)| *partner) {
        audit.speak(OWN, Table::Grant, &answering::count_key(partner))?;
        for to in &receivers {
            audit.speak(OWN, Table::Grant, &answering::last_key(partner, *to))?;
        }
        for signed in &signed {
            audit.speak(OWN, Table::Grant, &said::heard_key(partner, notice_id(signed)))?;
        }
        let (scope, what) = (to_scope(partner), format!("what is to be said to {}", partner.short()));
        each_left(audit, report, (OWN, &Table::Grant, &scope), &what, &mut |report, n, bytes| {
            if decode::<said::Say>("to be said", &bytes).is_err() {
                report.damaged(format!("{what}, {n}"), "it does not read as written");
            }
        })?;
        let (log, what) = (holding::log(partner), format!("what goes on to {}", partner.short()));
        each_item(audit, report, (OWN, Table::RecordList, &log), &what, &mut |report, n, bytes| {
            if RecordId::from_slice(&bytes).is_none() {
                report.damaged(format!("{what}, {n}"), "it names no record");
            }
            Ok(())
        })?;
    }
    for agreement in node.partitions() {
        days(audit, report, Partition::Agreement(agreement))?;
    }
    Ok(())
}

fn introduced(audit: &Audit, report: &mut Report<'_>) -> Result<(), StoreError> {
    let list = (Partition::Node, Table::Introduced, b"".as_slice());
    each_item(audit, report, list, "introduced organisation", &mut |report, n, bytes| {
        match OrgId::from_slice(&bytes) {
            // The rules are not read where its card does not verify.
            Some(org) => audit.speak(Partition::Node, Table::Introduced, org.as_bytes())?,
            None => report.damaged(format!("introduced organisation {n}"), "it names no organisation"),
        }
        Ok(())
    })
}

/// To whom anything was ever granted.
fn grants(
    node: &Node,
    audit: &Audit,
    report: &mut Report<'_>,
    signed: &mut Vec<SignatureBytes>,
) -> Result<BTreeSet<OrgId>, StoreError> {
    each_item(audit, report, (OWN, Table::Grant, GOT), "grant", &mut |report, n, bytes| {
        let key = |org, kid, _| listed(node, org, Purpose::Records, kid);
        let grant = decode::<GotRow>("grant", &bytes).ok().and_then(|row| Grant::verify(&row.signed, key).ok());
        match grant {
            Some((id, _)) => audit.speak(OWN, Table::Grant, &grants::got_key(id))?,
            None => report.damaged(format!("grant {n}"), "it is not signed by its originator"),
        }
        Ok(())
    })?;
    let mut receivers = BTreeSet::new();
    each_item(audit, report, (OWN, Table::Grant, GIVEN), "grant of ours", &mut |report, n, bytes| {
        let key = |_, kid, _| node.keys.card.listed(Purpose::Records, kid).map(|listed| listed.key.clone());
        let row = decode::<GivenRow>("grant", &bytes).ok();
        match row.and_then(|row| Some((Grant::verify(&row.signed, key).ok()?, row.signed))) {
            Some(((id, grant), row)) => {
                receivers.insert(grant.to);
                audit.speak(OWN, Table::Grant, &passed::given_key(id))?;
                signed.push(row);
            }
            None => report.damaged(format!("grant of ours {n}"), "it is not signed by us"),
        }
        Ok(())
    })?;
    Ok(receivers)
}

fn requests(
    node: &Node,
    audit: &Audit,
    report: &mut Report<'_>,
    signed: &mut Vec<SignatureBytes>,
) -> Result<(), StoreError> {
    each_item(audit, report, (OWN, Table::Grant, ASKED), "request of ours", &mut |report, n, bytes| {
        match decode::<AskedRow>("request", &bytes).ok().filter(|row| Request::kept(&row.signed).is_ok()) {
            Some(row) => signed.push(row.signed),
            None => report.damaged(format!("request of ours {n}"), "it does not read as written"),
        }
        Ok(())
    })?;
    each_item(audit, report, (OWN, Table::Grant, ASKS), "request", &mut |report, n, bytes| {
        let row = decode::<AsksRow>("request", &bytes).ok();
        let holds = row.filter(|row| {
            let key = |kid| listed(node, row.from, Purpose::Runs, kid);
            Request::verify(&row.signed, row.from, key).is_ok()
        });
        match holds {
            Some(row) => {
                audit.speak(OWN, Table::Grant, &answering::asks_key(notice_id(&row.signed)))?;
            }
            None => report.damaged(format!("request {n}"), "it is not signed by who asked"),
        }
        Ok(())
    })
}

fn held(
    node: &Node,
    audit: &Audit,
    report: &mut Report<'_>,
    signed: &mut Vec<SignatureBytes>,
) -> Result<(), StoreError> {
    each_item(audit, report, (OWN, Table::Grant, PASSED), "what was passed on", &mut |report, n, bytes| {
        match decode::<passed::PassedRow>("passed on", &bytes) {
            Ok(row) => signed.push(row.signed),
            Err(_) => report.damaged(format!("what was passed on, {n}"), "it does not read as written"),
        }
        Ok(())
    })?;
    let (mut records, mut words) = (BTreeSet::new(), Vec::new());
    each_item(audit, report, (OWN, Table::Grant, passed::WORDS), "a holder's word", &mut |report, n, bytes| {
        let row = decode::<passed::WordRow>("word", &bytes).ok();
        let passed = row.and_then(|row| {
            let key = |kid, _| listed(node, row.by, Purpose::Runs, kid);
            Passed::verify(&row.signed, row.by, key).ok()
        });
        if passed.is_none() {
            report.damaged(format!("a holder's word {n}"), "it is not signed by who said it");
        }
        words.push(passed);
        Ok(())
    })?;
    each_item(audit, report, (OWN, Table::Grant, HELD), "onward holder", &mut |report, n, bytes| {
        let row = decode::<passed::HeldRow>("onward holder", &bytes).ok();
        let holds = row.filter(|row| {
            let word = words.get(usize::try_from(row.word).unwrap_or(usize::MAX));
            word.is_some_and(|word| word.as_ref().is_some_and(|passed| passed.passed.contains(&row.on)))
        });
        match holds {
            Some(row) => {
                audit.speak(OWN, Table::Grant, &passed::held_key(row.by, &row.on))?;
                audit.speak(OWN, Table::Grant, &passed::hand_key(row.by, row.on.record))?;
                records.insert(row.on.record);
            }
            None => report.damaged(format!("onward holder {n}"), "it is not what was signed"),
        }
        Ok(())
    })?;
    for record in records {
        let (scope, what) = (passed::of_record(record), format!("onward holders of {}", record.short()));
        each_item(audit, report, (OWN, Table::Grant, &scope), &what, &mut |_, _, _| Ok(()))?;
    }
    Ok(())
}

fn relayed(audit: &Audit, report: &mut Report<'_>, signed: &mut Vec<SignatureBytes>) -> Result<(), StoreError> {
    each_item(audit, report, (OWN, Table::Grant, RELAYED), "answers of others", &mut |report, n, bytes| {
        match decode::<relay::RelayedRow>("answers", &bytes) {
            Ok(row) => signed.push(row.signed),
            Err(_) => report.damaged(format!("answers of others {n}"), "they do not read as written"),
        }
        Ok(())
    })?;
    let (scope, mut recalls, mut records) = (holders_scope(relay::RELAYS), BTreeSet::new(), BTreeSet::new());
    each_item(audit, report, (OWN, Table::Recall, &scope), "recall passed on", &mut |report, n, bytes| {
        match decode::<HolderRow>("holder", &bytes) {
            Ok(row) => {
                audit.speak(OWN, Table::Recall, &crate::recall::holder_key(row.recall, row.partner))?;
                recalls.insert(row.recall);
                records.insert(row.record);
            }
            Err(_) => report.damaged(format!("recall passed on, {n}"), "it does not read as written"),
        }
        Ok(())
    })?;
    for recall in recalls {
        let scope = relay::receivers_scope(recall);
        each_item(audit, report, (OWN, Table::Recall, &scope), "receivers of a recall", &mut |_, _, _| Ok(()))?;
    }
    for record in records {
        let scope = relay::about_scope(record);
        each_item(audit, report, (OWN, Table::Recall, &scope), "recalls of a record", &mut |_, _, _| Ok(()))?;
    }
    Ok(())
}

/// The days on which grants are over, of what is held under an agreement.
fn days(audit: &Audit, report: &mut Report<'_>, partition: Partition) -> Result<(), StoreError> {
    let mut days = BTreeSet::new();
    each_left(audit, report, (partition, &Table::Recall, granted::DAYS), "days of grants", &mut |_, _, bytes| {
        days.extend(granted::day(&bytes));
    })?;
    for day in days {
        let list = (partition, &Table::Recall, granted::scope(day));
        each_left(audit, report, (list.0, list.1, &list.2), "what is over on a day", &mut |report, n, bytes| {
            if RecordId::from_slice(&bytes).is_none() {
                report.damaged(format!("what is over on day {day}, {n}"), "it names no record");
            }
        })?;
    }
    Ok(())
}

/// Every item of a list from which items are taken.
fn each_left(
    audit: &Audit,
    report: &mut Report<'_>,
    (partition, table, scope): (Partition, &Table, &[u8]),
    what: &str,
    take: &mut dyn FnMut(&mut Report<'_>, u64, Vec<u8>),
) -> Result<(), StoreError> {
    let mut after = None;
    // One that does not open is a finding of another part.
    drop(audit.counter(partition, *table, scope));
    loop {
        let page = audit.items(partition, *table, scope, after)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(*last);
        for (n, row) in page {
            if let Some(bytes) = report.readable(format!("{what} {n}"), row)? {
                take(report, n, bytes);
            }
        }
    }
}
