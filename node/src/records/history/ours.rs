//! The history of a record of ours: brought in, attested, passed, sent, countersigned, amended, asked back.

use super::{Holds, Step, at_gate, listed, signer};
use crate::{
    error::Fault,
    node::Node,
    onward::passed,
    recall::{AnswerRow, HolderRow, RecallRow, asking, holders_scope},
    records::{
        keep, passing,
        stored::{OwnRow, decode},
        view::{self, Found},
    },
    seal::keyring::Partition,
    share::feeds::{self, SentRun},
    store::{StoreError, layout::Table},
    users,
};
use entente_protocol::{
    batch::{Attestation, danger_id_of_head},
    cose::SignatureBytes,
    feed::{Entry, FeedKey, Receipt, Run},
    id::{KeyId, OrgId, RecallId, RecordId},
    identity::Purpose,
    recall::{Answers, Recall},
    time::UnixMillis,
};

/// Runs of one feed that are read for one record: a million entries.
const RUNS_MAX: u64 = 1_024;
/// Recalls, holders and answers that are read for one record.
const ROWS_MAX: u64 = 1 << 16;

/// Every step of a record of ours.
pub fn steps(node: &Node, id: RecordId, row: &OwnRow, steps: &mut Vec<Step>) -> Result<(), Fault> {
    let persons = users::all(node)?;
    let (at, key, holds) = attested(node, id, row)?;
    let batch = keep::batch_id(node, row.batch)?;
    let importer = passing::importer(node, batch)?;
    match &importer {
        Some(import) => {
            let held = persons.iter().find(|held| held.digest == import.user);
            let holds = passing::import_verified(import, batch, &persons);
            let says = match &import.signed {
                Some(_) => format!("signed over batch {}", batch.short()),
                None => {
                    "asked for under the person's signature; the batch itself was not signed by that one".to_owned()
                }
            };
            let key = signer(import.signed.as_ref().unwrap_or(&import.act));
            steps.push(Step::new(at, "brought in", "own", says).signed(key, holds).by(held));
        }
        None => steps.push(Step::new(at, "brought in", "own", "in the office's name: no person signed")),
    }
    steps.push(Step::new(at, "attested", "own", format!("in batch {}", batch.short())).signed(key, holds));
    attested_anew(node, id, row, steps)?;
    at_gate(node, id, &persons, steps)?;
    sent(node, id, steps)?;
    amended(node, id, row, steps)?;
    recalled(node, id, steps)?;
    for held in passed::holders_of(node, id)? {
        let (by, to) = (node.handle_of(held.by), node.handle_of(held.on.to));
        let what = if held.on.gone { "taken back onward" } else { "passed on" };
        steps.push(Step::new(held.at, what, by, format!("to `{to}`, as it told under its signature")));
    }
    Ok(())
}

/// When it was attested first, by which key, and whether that holds: what was signed over it later made it no younger.
pub fn attested(node: &Node, id: RecordId, row: &OwnRow) -> Result<(UnixMillis, Option<KeyId>, Holds), Fault> {
    under(node, id, row, keep::batch_row(node, row.batch)?.head)
}

/// Every head that was signed over its batch later, by a person's wish or to send it.
fn attested_anew(node: &Node, id: RecordId, row: &OwnRow, steps: &mut Vec<Step>) -> Result<(), Fault> {
    for head in keep::batch_row(node, row.batch)?.signed().skip(1) {
        let batch = danger_id_of_head(head).map_err(|_| StoreError::Broken { at: row.batch })?;
        let (at, key, holds) = under(node, id, row, head.clone())?;
        let says = format!("the same records, in batch {}", batch.short());
        steps.push(Step::new(at, "attested anew", "own", says).signed(key, holds));
    }
    Ok(())
}

/// When a head over its batch was signed, by which key, and whether that holds.
fn under(
    node: &Node,
    id: RecordId,
    row: &OwnRow,
    head: SignatureBytes,
) -> Result<(UnixMillis, Option<KeyId>, Holds), Fault> {
    // Heads of one batch are over one tree (BAT-5), so any of them has the nodes.
    let attestation = Attestation { head, ..keep::batch(node, row.batch)?.prove(&[row.position]) };
    let kid = attestation.key().ok();
    let key = kid.and_then(|kid| listed(node, node.keys.org, Purpose::Records, kid));
    let Some(key) = key else {
        return Ok((node.clock.now(), kid, Holds::No("our card lists no such key".to_owned())));
    };
    Ok(match attestation.verify(node.keys.org, &key, &[(row.position, id)]) {
        Ok(head) => (head.time, kid, Holds::from(row.record().map(drop))),
        Err(why) => (node.clock.now(), kid, Holds::No(why.to_string())),
    })
}

/// Which runs carried it to whom, and who countersigned them.
fn sent(node: &Node, id: RecordId, steps: &mut Vec<Step>) -> Result<(), Fault> {
    let partners: Vec<OrgId> = node.book().iter().map(|(org, _)| *org).collect();
    for partner in partners {
        for (agreement, version, _) in feeds::every_agreement_with(node, partner) {
            let feed = feeds::outgoing(node, partner, agreement);
            let key = crate::records::stored::record_in_feed(id, feed.id());
            if node.holdings.get(Partition::Own, Table::Release, &key)?.is_none() {
                continue;
            }
            let runs = feeds::out_row(node, &feed, version)?.runs;
            let from = runs.saturating_sub(RUNS_MAX);
            if from > 0 {
                let says = format!(
                    "to `{}`: what went in the first {from} runs is not looked through",
                    node.handle_of(partner)
                );
                steps.push(Step::of_world(String::new(), "sent", "own".to_owned(), says));
            }
            for place in from..runs {
                let bytes = node.holdings.item(Partition::Own, Table::RunOut, feed.id().as_bytes(), place)?;
                let run: SentRun =
                    decode("run", &bytes.ok_or(StoreError::Broken { at: place })?).map_err(Fault::store)?;
                in_run(node, id, &feed, &run, steps)?;
            }
        }
    }
    Ok(())
}

fn in_run(node: &Node, id: RecordId, feed: &FeedKey, sent: &SentRun, steps: &mut Vec<Step>) -> Result<(), Fault> {
    let about = |bytes: &[u8]| match Entry::from_bytes(bytes).ok()? {
        Entry::Release { record, .. } if record == id => Some(true),
        Entry::Withdrawal { record, .. } if record == id => Some(false),
        _ => None,
    };
    let found = (sent.first..).zip(&sent.entries).find_map(|(n, entry)| about(&entry.bytes).map(|out| (n, out)));
    let Some((number, released)) = found else { return Ok(()) };
    let run = Run::verify(&sent.run, feed, |kid| listed(node, node.keys.org, Purpose::Runs, kid));
    let at = Run::danger_unverified(&sent.run).map_or(node.clock.now(), |run| run.time);
    let what = if released { "released" } else { "withdrawn" };
    let to = node.handle_of(feed.receiver);
    let says = format!("to `{to}` under agreement {}, entry {number}", feed.agreement.short());
    steps.push(Step::new(at, what, "own", says).signed(signer(&sent.run), run.map(drop)));
    let says = format!("of entry {number} under agreement {}", feed.agreement.short());
    match countersigned(node, feed, number)? {
        Some(receipt) => {
            let verified = Receipt::verify(&receipt, feed, |kid| listed(node, feed.receiver, Purpose::Runs, kid));
            let at = Receipt::danger_unverified(&receipt).map_or(at, |receipt| receipt.time);
            let what = if released { "received" } else { "withdrawal received" };
            steps.push(Step::new(at, what, to, says).signed(signer(&receipt), verified.map(drop)));
        }
        None => {
            let says = format!("{says}: not countersigned yet");
            steps.push(Step::new(at, "on its way", to, says));
        }
    }
    Ok(())
}

/// The first countersignature that covers an entry. Receipts rise, so the distance halves each time.
fn countersigned(node: &Node, feed: &FeedKey, number: u64) -> Result<Option<SignatureBytes>, Fault> {
    let id = feed.id();
    let receipt = |place| -> Result<SignatureBytes, Fault> {
        let bytes = node.holdings.item(Partition::Own, Table::Receipt, id.as_bytes(), place)?;
        Ok(SignatureBytes(bytes.ok_or(StoreError::Broken { at: place })?))
    };
    let covers =
        |signed: &SignatureBytes| Receipt::danger_unverified(signed).is_ok_and(|receipt| receipt.held.length > number);
    let count = node.holdings.count(Partition::Own, Table::Receipt, id.as_bytes())?;
    let (mut low, mut high) = (0u64, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if covers(&receipt(middle)?) { high = middle } else { low = middle + 1 }
    }
    if low < count { Ok(Some(receipt(low)?)) } else { Ok(None) }
}

/// Other records of its line.
fn amended(node: &Node, id: RecordId, row: &OwnRow, steps: &mut Vec<Step>) -> Result<(), Fault> {
    let line = keep::line(node, row.header()?.header().line)?;
    let own = line.iter().position(|known| *known == id).unwrap_or_default();
    for (place, other) in line.iter().enumerate().filter(|(place, _)| *place != own) {
        let Some(row) = keep::find_own(node, *other)? else { continue };
        let (at, key, holds) = attested(node, *other, &row)?;
        let what = if place > own { "amended" } else { "amends" };
        let view = view::view(node, *other, &Found::Own(Box::new(row)))?;
        let says = format!("record {}, {}", other.short(), view.state);
        steps.push(Step::new(at, what, "own", says).signed(key, holds));
    }
    Ok(())
}

/// Recalls of it, and what each holder answered.
fn recalled(node: &Node, id: RecordId, steps: &mut Vec<Step>) -> Result<(), Fault> {
    let count = node.holdings.count(Partition::Own, Table::Recall, crate::recall::OURS)?;
    for place in 0..count.min(ROWS_MAX) {
        if !asking::concerns(node, place, id)? {
            continue;
        }
        let row: RecallRow = asking::row(node, place)?;
        let number = asking::number_of(place);
        let says = |by: &str| format!("recall {number}, to {}: {by}", row.act.name());
        steps.push(Step::new(row.proposed.at, "recall proposed", "own", says(&row.proposed.by)));
        for (named, what) in [(&row.confirmed, "recall confirmed"), (&row.dropped, "recall dropped")] {
            if let Some(named) = named {
                steps.push(Step::new(named.at, what, "own", says(&named.by)));
            }
        }
        holders(node, id, place, steps)?;
    }
    Ok(())
}

fn holders(node: &Node, id: RecordId, place: u64, steps: &mut Vec<Step>) -> Result<(), Fault> {
    let mut after = None;
    loop {
        let page = node.holdings.list(Partition::Own, Table::Recall, &holders_scope(place), after, 256)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(*last);
        for (_, bytes) in &page {
            let row: HolderRow = decode("holder", bytes).map_err(Fault::store)?;
            if row.record != id {
                continue;
            }
            let verified = Recall::verify(&row.signed, |org, kid, _| listed(node, org, Purpose::Records, kid));
            let at = verified.as_ref().map_or(node.clock.now(), |(_, recall)| recall.time);
            let to = node.handle_of(row.partner);
            let through = row.through.map(|by| format!(", through `{}`", node.handle_of(by))).unwrap_or_default();
            let step = Step::new(at, "recalled", "own", format!("asked of `{to}`{through}"));
            steps.push(step.signed(signer(&row.signed), verified.map(drop)));
            if let (Some(state), Some(answered)) = (row.state, row.answered) {
                let (key, holds) = answer(node, row.recall, row.partner)?;
                let step = Step::new(answered, "recall answered", to, state.name());
                steps.push(step.signed(key, holds));
            }
        }
    }
}

/// The newest answer of a holder to a recall, as it was signed.
fn answer(node: &Node, recall: RecallId, partner: OrgId) -> Result<(Option<KeyId>, Holds), Fault> {
    let mut found = (None, Holds::No("its signed answer is not here".to_owned()));
    let mut after = None;
    loop {
        let page = node.holdings.list(Partition::Own, Table::Recall, crate::recall::ANSWERS, after, 256)?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        after = Some(*last);
        for (_, bytes) in &page {
            let row: AnswerRow = decode("answer", bytes).map_err(Fault::store)?;
            if row.holder != partner {
                continue;
            }
            let key = |kid, _| listed(node, partner, Purpose::Runs, kid);
            match Answers::verify(&row.signed, partner, key) {
                Ok(answers) if answers.answers.iter().any(|a| a.recall == recall) => {
                    found = (signer(&row.signed), Holds::Yes);
                }
                Ok(_) => {}
                Err(why) => found = (signer(&row.signed), Holds::No(why.to_string())),
            }
        }
    }
}
