//! The history of a received record: what its originator signed, who gave it, when we countersigned, what was asked of us.

use super::{Holds, Step, listed, signer};
use crate::{
    error::Fault,
    node::Node,
    recall::{AskedRow, asked, hold},
    receive::{self, RunInRow, TakenBack},
    records::{
        show,
        stored::{ReceivedRow, decode},
    },
    seal::keyring::Partition,
    store::layout::Table,
};
use entente_protocol::{
    feed::Run,
    id::{AgreementId, KeyId, RecordId},
    identity::Purpose,
    label,
    recall::Recall,
    time::UnixMillis,
};
use serde_json::Value as Json;

/// Every step of a received record.
pub fn steps(
    node: &Node,
    id: RecordId,
    (agreement, row): (AgreementId, &ReceivedRow),
    steps: &mut Vec<Step>,
) -> Result<(), Fault> {
    let giver = row.giver().map_or_else(|| "a partner".to_owned(), |giver| node.handle_of(giver));
    let originator = row.verified().map_or_else(|_| giver.clone(), |v| node.handle_of(v.header().originator));
    let (at, key, holds) = attested(node, id, (agreement, row))?;
    steps.push(Step::new(at, "attested", originator, "its originator's word").signed(key, holds));
    if let Some(run) = run(node, agreement, row)? {
        let stated = Run::danger_unverified(&run.run).map_or(row.at, |run| run.time);
        let holds = by_its_giver(node, row, &run);
        let says = format!("to us under agreement {}, entry {}", agreement.short(), row.number);
        steps.push(Step::new(stated, "released", giver.clone(), says).signed(signer(&run.run), holds));
    }
    if let Some(onward) = row.onward {
        let says = format!("by grant {} of its originator", onward.grant.short());
        steps.push(Step::new(onward.since, "passed on", giver.clone(), says));
    }
    let says = format!("countersigned, as entry {} of the feed", row.number);
    steps.push(Step::new(row.at, "received", "own", says));
    if let Some(gone) = receive::withdrawn(node, agreement, id)? {
        let says = match gone.by {
            None => "by an entry of its feed",
            Some(TakenBack::Recalled(_)) => "by a recall",
            Some(TakenBack::Expired) => "the time for which it was given is over",
        };
        steps.push(Step::new(gone.at, "withdrawn", giver, says));
    }
    recalled(node, id, agreement, steps)?;
    held(node, id, agreement, steps)
}

/// The run that brought it.
fn run(node: &Node, agreement: AgreementId, row: &ReceivedRow) -> Result<Option<RunInRow>, Fault> {
    let partition = Partition::Agreement(agreement);
    let run = node.holdings.item(partition, Table::RunIn, row.feed.as_bytes(), row.run)?;
    run.map(|run| decode("run", &run).map_err(Fault::store)).transpose()
}

fn by_its_giver(node: &Node, row: &ReceivedRow, run: &RunInRow) -> Holds {
    let verified = || -> Result<(), String> {
        let signed = run.run.parse().map_err(|e| e.to_string())?;
        let giver = row.giver().ok_or("it names no giver")?;
        let key = listed(node, giver, Purpose::Runs, signed.kid()).ok_or("its giver's card lists no such key")?;
        signed.verify(label::SIGN_RUN, &key).map_err(|e| e.to_string())?;
        let claimed = Run::danger_unverified(&run.run).map_err(|e| e.to_string())?;
        let within = (claimed.before.length..claimed.end().length).contains(&row.number);
        if claimed.feed == row.feed && within { Ok(()) } else { Err("the run does not hold this entry".to_owned()) }
    };
    Holds::from(verified())
}

/// When it was attested, by which key, and whether that holds.
pub fn attested(
    node: &Node,
    id: RecordId,
    (agreement, row): (AgreementId, &ReceivedRow),
) -> Result<(UnixMillis, Option<KeyId>, Holds), Fault> {
    let run = run(node, agreement, row)?;
    let proof = run.as_ref().and_then(|run| run.proofs.iter().find(|p| p.records.iter().any(|(_, r)| *r == id)));
    let key = proof.and_then(|proof| proof.attestation.key().ok());
    let time = || {
        let (proof, verified) = (proof?, row.verified().ok()?);
        let originator = verified.header().originator;
        let key = listed(node, originator, Purpose::Records, proof.attestation.key().ok()?)?;
        Some(proof.attestation.verify(originator, &key, &proof.records).ok()?.time)
    };
    let time = time().unwrap_or(row.at);
    for check in show::proof(node, agreement, id, row)? {
        if check.get("ok") != Some(&Json::Bool(true)) && check.get("check").and_then(Json::as_str) != Some("run") {
            let why = check.get("says").and_then(Json::as_str).unwrap_or_default();
            return Ok((time, key, Holds::No(why.to_owned())));
        }
    }
    Ok((time, key, Holds::Yes))
}

/// What was asked of us about it, and what we answered.
fn recalled(node: &Node, id: RecordId, agreement: AgreementId, steps: &mut Vec<Step>) -> Result<(), Fault> {
    let partition = Partition::Agreement(agreement);
    let Some(at) = node.holdings.get(partition, Table::Recall, &asked::about_key(id))? else { return Ok(()) };
    let at: u64 = decode("recall", &at).map_err(Fault::store)?;
    let Some(row) = node.holdings.item(partition, Table::Recall, crate::recall::ASKED, at)? else { return Ok(()) };
    let row: AskedRow = decode("recall", &row).map_err(Fault::store)?;
    let verified = Recall::verify(&row.signed, |org, kid, _| listed(node, org, Purpose::Records, kid));
    let step = Step::new(row.at, "recalled", node.handle_of(row.from), format!("to {}", row.act.name()));
    steps.push(step.signed(signer(&row.signed), verified.map(drop)));
    steps.push(Step::new(row.at, "recall answered", "own", row.state.name()));
    Ok(())
}

/// Holds on it.
fn held(node: &Node, id: RecordId, agreement: AgreementId, steps: &mut Vec<Step>) -> Result<(), Fault> {
    for row in hold::of_record(node, agreement, id)? {
        let says = format!("{}: {}", row.placed.by, row.reason);
        steps.push(Step::new(row.placed.at, "hold placed", "own", says));
        if let Some(lifted) = row.lifted {
            steps.push(Step::new(lifted.at, "hold lifted", "own", lifted.by));
        }
    }
    Ok(())
}
