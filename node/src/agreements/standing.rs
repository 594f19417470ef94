//! Standing: what a party says of an agreement in force, counted, so that the newest word of each party stands.

use super::{AgreementError, AgreementRow, StandingRow, held, party_key, read, reload};
use crate::{
    node::{self, Node},
    records::stored::encode,
    seal::keyring::Partition,
    store::{layout::Table, txn::Txn},
};
use entente_protocol::{
    agreement::{
        AgreementFault, Standing, StandingNotice,
        lifecycle::{State, Step, StepFault},
    },
    cose::SignatureBytes,
    id::OrgId,
};
use serde_json::{Value as Json, json};

/// States our standing: a notice, signed and counted, that overtakes everything queued.
pub fn state(node: &Node, given: &str, standing: Standing) -> Result<Json, AgreementError> {
    let id = node.rules().agreements.find(given)?.id;
    let txn = node.holdings.begin();
    let row = read(&txn, id)?.ok_or_else(|| AgreementError::Unknown(given.to_owned()))?;
    let step = Step::stating(standing);
    held(node, id, &row)?.may(node, step)?;
    let ours = known(&row, node.keys.org);
    let notice = StandingNotice {
        time: node.clock.now(),
        party: node.keys.org,
        counter: ours.map_or(1, |(counter, _)| counter + 1),
        standing,
        agreement: id,
    };
    if !notice.replaces(ours) {
        return Err(StepFault { state: State::Ended, step }.into());
    }
    let signed = notice.sign(&node.keys.agreements).map_err(AgreementFault::from)?;
    keep_notice(node, txn, row, &notice, signed)?;
    Ok(json!({ "id": id.to_string(), "standing": standing }))
}

/// What is known of a party's standing.
fn known(row: &AgreementRow, party: OrgId) -> Option<(u64, Standing)> {
    row.standings.iter().find(|s| s.party == party).map(|s| (s.counter, s.standing))
}

/// Takes a party's standing notice, and says whether it was news ([`StandingNotice::replaces`]). One of somebody who is no
/// party counts for nothing. Our own is taken like any other: where an older copy of the store was put back, partners know
/// what we stated since.
pub fn receive_standing(node: &Node, from: OrgId, signed: &SignatureBytes) -> Result<bool, AgreementError> {
    let notice = StandingNotice::verify(signed, from, |kid| party_key(node, from, kid))?;
    let txn = node.holdings.begin();
    let Some(row) = read(&txn, notice.agreement)? else { return Ok(false) };
    let held = held(node, notice.agreement, &row)?;
    let proposed = held.proposal.iter().chain(&held.next).any(|p| p.agreement().is_ok_and(|a| a.party(from).is_some()));
    if !held.binds(from) && !proposed {
        return Err(AgreementError::NoParty(from));
    }
    if !notice.replaces(known(&row, from)) {
        return Ok(false);
    }
    let now = node.interval();
    if !held.state((now.early, now.late)).is_final() {
        held.may(node, Step::stating(notice.standing))?;
    }
    keep_notice(node, txn, row, &notice, signed.clone())?;
    Ok(true)
}

fn keep_notice(
    node: &Node,
    mut txn: Txn<'_>,
    mut row: AgreementRow,
    notice: &StandingNotice,
    signed: SignatureBytes,
) -> Result<(), AgreementError> {
    row.standings.retain(|s| s.party != notice.party);
    row.standings.push(StandingRow {
        at: node.clock.now(),
        party: notice.party,
        notice: signed,
        counter: notice.counter,
        standing: notice.standing,
    });
    txn.put(Partition::Node, Table::Agreement, notice.agreement.as_bytes(), &encode("agreement", &row)?)?;
    let about = [("agreement", notice.agreement.to_string()), ("party", notice.party.to_string())];
    node.journal(&mut txn, "agreement-standing", &about)?;
    node::changed(&mut txn)?;
    txn.commit()?;
    reload(node)
}
