//! Standing: what a party says of an agreement in force, counted, so that the newest word of each party stands.

use super::{AgreementError, AgreementRow, StandingRow, party_key, read, reload};
use crate::{node::Node, records::stored::encode, seal::keyring::Partition, store::layout::Table};
use entente_protocol::{
    agreement::{AgreementFault, Standing, StandingNotice},
    cose::SignatureBytes,
    id::OrgId,
};
use serde_json::{Value as Json, json};

/// States our standing: a notice, signed and counted, that overtakes everything queued.
pub fn state(node: &Node, given: &str, standing: Standing) -> Result<Json, AgreementError> {
    let rules = node.rules();
    let held = rules.agreements.find(given)?;
    let mut row = read(&node.holdings, held.id)?.ok_or_else(|| AgreementError::Unknown(given.to_owned()))?;
    let ours = row.standings.iter().find(|s| s.party == node.keys.org);
    if ours.is_some_and(|s| s.standing == Standing::Ended) {
        return Err(AgreementError::Ended);
    }
    let notice = StandingNotice {
        time: node.clock.now(),
        party: node.keys.org,
        counter: ours.map_or(1, |s| s.counter + 1),
        standing,
        agreement: held.id,
    };
    let signed = notice.sign(&node.keys.agreements).map_err(AgreementFault::from)?;
    keep_notice(node, &mut row, &notice, signed)?;
    Ok(json!({ "id": held.id.to_string(), "standing": standing }))
}

/// Takes a party's standing notice; an older one changes nothing.
pub fn receive_standing(node: &Node, from: OrgId, signed: &SignatureBytes) -> Result<(), AgreementError> {
    let notice = StandingNotice::verify(signed, from, |kid| party_key(node, from, kid))?;
    let Some(mut row) = read(&node.holdings, notice.agreement)? else { return Ok(()) };
    let before = row.standings.iter().find(|s| s.party == from);
    if before.is_some_and(|s| s.counter >= notice.counter || s.standing == Standing::Ended) {
        return Ok(());
    }
    keep_notice(node, &mut row, &notice, signed.clone())
}

fn keep_notice(
    node: &Node,
    row: &mut AgreementRow,
    notice: &StandingNotice,
    signed: SignatureBytes,
) -> Result<(), AgreementError> {
    row.standings.retain(|s| s.party != notice.party);
    row.standings.push(StandingRow {
        party: notice.party,
        notice: signed,
        counter: notice.counter,
        standing: notice.standing,
    });
    let mut txn = node.holdings.begin();
    txn.put(Partition::Node, Table::Agreement, notice.agreement.as_bytes(), &encode("agreement", row)?)?;
    node.journal(&mut txn, "agreement-standing", &[("agreement", notice.agreement.to_string())])?;
    txn.commit()?;
    reload(node)
}
