//! Checks recalls: what we ask, what holders answered, what is asked of us, what is held, and how far retention is.

use super::{Report, each_item, records::listed};
use crate::{
    agreements,
    node::Node,
    recall::{self, AnswerRow, AskedRow, HolderAt, HolderRow, RecallRow, ending, hold, retention},
    records::{gate::GateRow, stored::decode},
    seal::keyring::Partition,
    store::{StoreError, check::Audit, layout::Table},
};
use entente_protocol::{
    id::{AgreementId, RecordId, StoreId},
    identity::Purpose,
    recall::{Answers, Erasure, Recall},
};

/// Every row about recalls.
pub fn every(node: &Node, audit: &Audit, report: &mut Report<'_>) -> Result<(), StoreError> {
    ours(node, audit, report)?;
    for partner in node.book().iter().map(|(partner, _)| *partner) {
        audit.speak(Partition::Own, Table::Recall, &recall::first_key(partner))?;
        audit.speak(Partition::Own, Table::Recall, &recall::holders::again_key(partner))?;
        let what = format!("what is to be said to {}", partner.short());
        let list = (Partition::Own, Table::Recall, recall::to_scope(partner));
        each_item(audit, report, (list.0, list.1, &list.2), &what, &mut |report, n, bytes| {
            let row = match decode::<HolderAt>("holder", &bytes) {
                Ok(HolderAt(number, place)) => {
                    let scope = recall::holders_scope(number);
                    let row = audit.item(Partition::Own, Table::Recall, &scope, place);
                    report.readable(format!("{what}, {n}"), row)?.flatten()
                }
                Err(_) => None,
            };
            let row = row.and_then(|bytes| decode::<HolderRow>("holder", &bytes).ok());
            if row.is_none_or(|row| row.partner != partner) {
                report.damaged(format!("{what}, {n}"), "it leads to nothing that this partner is asked");
            }
            Ok(())
        })?;
    }
    let list = (Partition::Own, Table::Recall, recall::ANSWERS);
    each_item(audit, report, list, "answers to recalls", &mut |report, n, bytes| {
        report.expect(1);
        report.step(1);
        let holds = decode::<AnswerRow>("answers", &bytes).is_ok_and(|row| {
            let key = |kid, _| listed(node, row.holder, Purpose::Runs, kid);
            Answers::verify(&row.signed, row.holder, key).is_ok()
        });
        if !holds {
            report.damaged(format!("answers to recalls {n}"), "they are not signed by their holder");
        }
        Ok(())
    })?;
    erasures(node, audit, report)?;
    recalled(audit, report)?;
    for agreement in node.partitions() {
        asked(node, audit, report, agreement)?;
        kept(node, audit, report, agreement)?;
    }
    Ok(())
}

/// What was erased, here and at partners.
fn erasures(node: &Node, audit: &Audit, report: &mut Report<'_>) -> Result<(), StoreError> {
    let list = (Partition::Node, Table::Recall, ending::ERASURES);
    each_item(audit, report, list, "erasure", &mut |report, n, bytes| {
        let Ok(row) = decode::<ending::ErasureRow>("erasure", &bytes) else {
            report.damaged(format!("erasure {n}"), "it does not read as written");
            return Ok(());
        };
        let key = |kid, _| listed(node, row.holder, Purpose::Runs, kid);
        if row.signed.is_some_and(|signed| Erasure::verify(&signed, row.holder, key).is_err()) {
            report.damaged(format!("erasure {n}"), "its receipt is not signed by its holder");
        }
        let holder = Some(row.holder).filter(|holder| *holder != node.keys.org);
        audit.speak(Partition::Node, Table::Recall, &ending::key(row.agreement, holder))
    })
}

/// What was recalled under an agreement that was erased since.
fn recalled(audit: &Audit, report: &mut Report<'_>) -> Result<(), StoreError> {
    let list = (Partition::Own, Table::Recall, ending::RECALLED);
    each_item(audit, report, list, "recalled and erased", &mut |report, n, bytes| {
        let Some(record) = RecordId::from_slice(&bytes) else {
            report.damaged(format!("recalled and erased {n}"), "it does not read as written");
            return Ok(());
        };
        let found = report.readable(record, audit.get(Partition::Own, Table::Recall, &ending::recalled_key(record)))?;
        if found.flatten().and_then(|at| decode::<u64>("recall", &at).ok()) != Some(n) {
            report.missing(record, "it was recalled, and could be taken again");
        }
        Ok(())
    })
}

fn ours(node: &Node, audit: &Audit, report: &mut Report<'_>) -> Result<(), StoreError> {
    let mut recalls = Vec::new();
    each_item(
        audit,
        report,
        (Partition::Own, Table::Recall, recall::OURS),
        "row of recalls",
        &mut |report, n, bytes| {
            match decode::<RecallRow>("recall", &bytes) {
                Ok(row) => recalls.push((n, row)),
                Err(_) => report.damaged(format!("row of recalls {n}"), "it does not read as written"),
            }
            Ok(())
        },
    )?;
    for (place, row) in recalls {
        let number = recall::asking::number_of(place);
        let (scope, mut named) = (recall::records_scope(place), 0u64);
        let what = format!("records of recall {number}");
        each_item(audit, report, (Partition::Own, Table::Recall, &scope), &what, &mut |report, n, bytes| {
            match decode::<Vec<RecordId>>("records", &bytes) {
                Ok(records) => {
                    named = named.saturating_add(records.len() as u64);
                    // Once holders were asked, the record goes to nobody.
                    for record in records.iter().filter(|_| n < row.done) {
                        let gate = audit.get(Partition::Own, Table::Gate, record.as_bytes());
                        let gate = report.readable(record, gate)?.flatten();
                        let gate = gate.and_then(|bytes| decode::<GateRow>("gate", &bytes).ok());
                        if gate.is_none_or(|gate| gate.recalled.is_none_or(|act| act < row.act)) {
                            report.missing(
                                record,
                                format!("recall {number} asks for it, and it could be released again"),
                            );
                        }
                    }
                }
                Err(_) => report.damaged(format!("{what}, {n}"), "they do not read as written"),
            }
            Ok(())
        })?;
        if named != row.records {
            report.damaged(
                format!("recall {number}"),
                format!("it is of {} records, and {named} are named", row.records),
            );
        }
        let (scope, what) = (recall::holders_scope(place), format!("holder of recall {number}"));
        each_item(audit, report, (Partition::Own, Table::Recall, &scope), &what, &mut |report, n, bytes| {
            report.expect(1);
            report.step(1);
            let Ok(holder) = decode::<HolderRow>("holder", &bytes) else {
                report.damaged(format!("{what}, {n}"), "it does not read as written");
                return Ok(());
            };
            let is_ours = says(node, &holder.signed).is_some_and(|(id, said)| {
                id == holder.recall && said.record == holder.record && said.originator == node.keys.org
            });
            if !is_ours {
                report.damaged(format!("{what}, {n}"), "what is said to it is not what we signed");
            }
            let key = recall::holder_key(holder.recall, holder.partner);
            let at = report.readable(format!("{what}, {n}"), audit.get(Partition::Own, Table::Recall, &key))?.flatten();
            let at = at.and_then(|bytes| decode::<HolderAt>("holder", &bytes).ok());
            if at.is_none_or(|HolderAt(of, at)| (of, at) != (place, n)) {
                report.missing(format!("{what}, {n}"), "its answer would not be found");
            }
            audit.speak(Partition::Own, Table::Recall, &key)
        })?;
    }
    Ok(())
}

fn says(
    node: &Node,
    signed: &entente_protocol::cose::SignatureBytes,
) -> Option<(entente_protocol::id::RecallId, Recall)> {
    Recall::verify(signed, |org, kid, _| listed(node, org, Purpose::Records, kid)).ok()
}

/// What is asked of us under an agreement, and what is held.
fn asked(node: &Node, audit: &Audit, report: &mut Report<'_>, agreement: AgreementId) -> Result<(), StoreError> {
    let partition = Partition::Agreement(agreement);
    let what = format!("recall under {}", agreement.short());
    each_item(audit, report, (partition, Table::Recall, recall::ASKED), &what, &mut |report, n, bytes| {
        report.expect(1);
        report.step(1);
        let Ok(row) = decode::<AskedRow>("recall", &bytes) else {
            report.damaged(format!("{what}, {n}"), "it does not read as written");
            return Ok(());
        };
        if says(node, &row.signed)
            .is_none_or(|(id, said)| (id, said.record, said.act) != (row.recall, row.record, row.act))
        {
            report.damaged(format!("{what}, {n}"), "it is not what its originator signed");
        }
        if report.readable(row.record, audit.get(partition, Table::Withdrawn, row.record.as_bytes()))? == Some(None) {
            report.missing(row.record, "it was recalled, and that is not known");
        }
        for (key, says) in [
            (recall::asked_key(row.recall), "its recall would not be found, and be done again"),
            (recall::asked::about_key(row.record), "what was asked about it would not be found"),
        ] {
            let found = report.readable(row.record, audit.get(partition, Table::Recall, &key))?.flatten();
            if found.is_none_or(|at| decode::<u64>("recall", &at).is_err()) {
                report.missing(row.record, says);
            }
        }
        Ok(())
    })?;
    let what = format!("hold under {}", agreement.short());
    each_item(audit, report, (partition, Table::Recall, hold::HOLDS), &what, &mut |report, n, bytes| {
        let Ok(row) = decode::<hold::HoldRow>("hold", &bytes) else {
            report.damaged(format!("{what}, {n}"), "it does not read as written");
            return Ok(());
        };
        let found = report.readable(row.record, audit.get(partition, Table::Recall, &hold::key(row.record)))?.flatten();
        if found.is_none_or(|at| decode::<u64>("hold", &at).is_err()) {
            report.missing(row.record, "the hold on it would not be found, and it could be deleted");
        }
        Ok(())
    })
}

/// How far retention is, of each feed and each number of days that a version names.
fn kept(node: &Node, audit: &Audit, report: &mut Report<'_>, agreement: AgreementId) -> Result<(), StoreError> {
    // Where the versions or the store of a sender cannot be read, another part says so.
    let Ok(versions) = agreements::versions(&node.holdings, agreement) else { return Ok(()) };
    for sender in node.book().iter().map(|(sender, _)| *sender) {
        let partition = Partition::Agreement(agreement);
        let what = format!("store of {} under {}", sender.short(), agreement.short());
        let list = retention::stores_scope(sender);
        each_item(audit, report, (partition, Table::Recall, &list), &what, &mut |report, n, bytes| {
            if StoreId::from_slice(&bytes).is_none() {
                report.damaged(format!("{what}, {n}"), "it does not read as written");
            }
            Ok(())
        })?;
        for feed in retention::feeds_of(node, sender, agreement).unwrap_or_default() {
            for days in retention::every_term(&versions) {
                audit.speak(partition, Table::Recall, &retention::key(feed.id(), days))?;
            }
        }
    }
    Ok(())
}
