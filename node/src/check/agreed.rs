//! Checks what everything else rests on: partners with their cards, agreements with their versions, and the marks of time.

use super::{Report, each_item};
use crate::{
    bundle,
    clock::mark,
    node::Node,
    room,
    seal::keyring::Partition,
    store::{StoreError, check::Audit, layout::Table, open},
};
use entente_protocol::{
    agreement::SignedAgreement,
    id::{AgreementId, OrgId},
    identity::UnconfirmedCard,
};

const NODE: Partition = Partition::Node;

/// Every partner with its cards, every agreement with its versions, and what the node noted of time and room.
pub fn every(node: &Node, audit: &Audit, report: &mut Report<'_>) -> Result<(), StoreError> {
    each_item(audit, report, (NODE, Table::PartnerList, b""), "partner", &mut |report, n, id| {
        report.step(1);
        match OrgId::from_slice(&id) {
            Some(partner) => cards(audit, report, partner),
            None => {
                report.damaged(format!("partner {n}"), "it names no organisation");
                Ok(())
            }
        }
    })?;
    each_item(audit, report, (NODE, Table::AgreementList, b""), "agreement", &mut |report, n, id| {
        report.step(1);
        match AgreementId::from_slice(&id) {
            Some(agreement) => versions(node, audit, report, agreement),
            None => {
                report.damaged(format!("agreement {n}"), "it names no agreement");
                Ok(())
            }
        }
    })?;
    for (key, what) in [(mark::KEY, "the marks of time"), (crate::node::CHANGES, "the count of changes")] {
        let read = audit.get(NODE, Table::Meta, key);
        if report.readable(what, read)? == Some(None) && audit.count(NODE, Table::PartnerList, b"")? > 0 {
            report.missing(what, "its row is gone");
        }
    }
    for key in [
        crate::node::OWN_RULES,
        open::STORE_ID,
        crate::backup::made::KEY,
        crate::restore::mark::KEY,
        crate::doctor::checked::KEY,
    ] {
        audit.speak(NODE, Table::Meta, key)?;
    }
    for (partner, _) in node.book().iter() {
        audit.speak(NODE, Table::Meta, &room::key(*partner))?;
    }
    every_card(audit, report, node.keys.org, "card of ours")?;
    bundles(node, audit, report)
}

/// How far bundles are: rows that are there from the first one on.
fn bundles(node: &Node, audit: &Audit, report: &mut Report<'_>) -> Result<(), StoreError> {
    let mut made = false;
    for (partner, _) in node.book().iter() {
        let [out, taken] = bundle::keys(*partner);
        let read = audit.get(NODE, Table::Meta, &out);
        made |= report.readable(format!("bundles for {partner}"), read)?.flatten().is_some();
        let read = audit.get(NODE, Table::Meta, &taken);
        report.readable(format!("bundles of {partner}"), read)?;
    }
    let read = audit.get(NODE, Table::Meta, bundle::COUNT);
    if report.readable("the count of bundles", read)? == Some(None) && made {
        report.missing("the count of bundles", "its row is gone");
    }
    Ok(())
}

fn cards(audit: &Audit, report: &mut Report<'_>, partner: OrgId) -> Result<(), StoreError> {
    let read = audit.get(NODE, Table::Partner, partner.as_bytes());
    if report.readable(partner, read)? == Some(None) {
        report.missing(partner, "the row of this partner is gone");
    }
    let what = format!("card of partner {partner}");
    if every_card(audit, report, partner, &what)? == 0 {
        report.missing(&what, "none is there");
    }
    Ok(())
}

/// Cards of an organisation, each newer than the one before; how many.
fn every_card(audit: &Audit, report: &mut Report<'_>, partner: OrgId, what: &str) -> Result<u64, StoreError> {
    let (mut last, mut number) = (0, 0);
    let list = (NODE, Table::Card, partner.as_bytes().as_slice());
    each_item(audit, report, list, what, &mut |report, n, bytes| {
        last = n + 1;
        match UnconfirmedCard::from_bytes(&bytes) {
            Ok(card) if card.payload().org != partner => report.extra(format!("{what}, {n}"), "it is another's card"),
            Ok(card) if card.payload().number < number => {
                report.damaged(format!("{what}, {n}"), "it is older than the card before it");
            }
            Ok(card) => number = card.payload().number,
            Err(fault) => report.damaged(format!("{what}, {n}"), fault),
        }
        Ok(())
    })?;
    Ok(last)
}

fn versions(node: &Node, audit: &Audit, report: &mut Report<'_>, id: AgreementId) -> Result<(), StoreError> {
    let read = audit.get(NODE, Table::Agreement, id.as_bytes());
    if report.readable(id, read)? == Some(None) {
        report.missing(id, "the row that says what is in force is gone");
    }
    let list = (NODE, Table::AgreementVersion, id.as_bytes().as_slice());
    let what = format!("version of agreement {id}");
    let mut last = 0;
    each_item(audit, report, list, &what, &mut |report, n, bytes| {
        last = n + 1;
        match SignedAgreement::from_bytes(&bytes).and_then(|signed| signed.agreement()) {
            Ok(agreement) if agreement.id != id => report.extra(format!("{what}, {n}"), "it is of another agreement"),
            Ok(_) => {}
            Err(fault) => report.damaged(format!("{what}, {n}"), fault),
        }
        Ok(())
    })?;
    if last == 0 && node.rules().agreements.iter().any(|held| held.id == id && held.in_force.is_some()) {
        report.missing(&what, "the one in force is not there as it was signed");
    }
    Ok(())
}

/// What was taken from a partner of whom something is held is counted.
pub fn counted(audit: &Audit, report: &mut Report<'_>, partner: OrgId) -> Result<(), StoreError> {
    let read = audit.get(NODE, Table::Meta, &room::key(partner));
    if report.readable(partner, read)? == Some(None) {
        report.missing(partner, "the count of what was taken from it is gone");
    }
    Ok(())
}
