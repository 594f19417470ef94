//! Audits: an export of commitments by which an auditor judges every release, and what such an export proves.
//!
//! [`export()`] is answered by a node, for `entente audit export`: it takes the lists as they stand at one moment and
//! writes them out, no value of any record among them. [`read`] verifies an export and needs no home; [`page`] prints what
//! it found. Nothing of an export is kept here but the journal's word that one was made.

mod feeds;
pub mod page;
pub mod read;
#[cfg(test)]
mod tests;
mod write;

use crate::{
    agreements,
    call::{OnProgress, Progress},
    custody::shown,
    error::Fault,
    node::Node,
    recall::{self, AnswerRow, HolderRow},
    records::{
        gate::EventRow,
        stored::{self, BatchRow},
    },
    seal::keyring::Partition,
    store::layout::Table,
    users,
};
use entente_protocol::{
    agreement::SignedAgreement,
    audit::{
        Item,
        item::{Answered, Head, Person, Stands},
    },
    id::{AgreementId, OrgId},
    limits,
};
use feeds::Sent;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use serde_json::{Value as Json, json};
use std::{collections::BTreeSet, path::PathBuf};
use write::Writer;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Options {
    /// Where it is written.
    pub output: PathBuf,
    /// Whether a file that is there is replaced.
    pub force: bool,
}

/// Events of the journal in one item.
const EVENTS: usize = 1_024;

/// How far the lists go at the moment of the export. They only grow.
struct Moment {
    head: Head,
    events: u64,
    batches: u64,
    gate: u64,
    recalls: u64,
    answers: u64,
    logs: Vec<shown::Epoch>,
    agreements: Vec<AgreementId>,
    feeds: Vec<Sent>,
}

/// Makes an export.
pub fn export(node: &Node, options: &Options, progress: OnProgress<'_>) -> Result<Json, Fault> {
    if !options.force && options.output.symlink_metadata().is_ok() {
        return Err(crate::unfinished::exists(&options.output));
    }
    // Noted first: what left is in the journal, also where the writing was broken off.
    let mut txn = node.holdings.begin();
    node.journal(&mut txn, "audit-exported", &[])?;
    txn.commit()?;
    let moment = moment(node)?;
    let mut writer = Writer::create(&options.output)?;
    writer.item(&Item::Head(moment.head.clone()))?;
    parties(node, &moment, &mut writer)?;
    journal(node, &moment, &mut writer, progress)?;
    batches(node, &moment, &mut writer)?;
    for log in &moment.logs {
        writer.item(&Item::Log(log.start.clone()))?;
        log.heads(node, &mut |note| writer.item(&Item::LogHead(ByteBuf::from(note))))?;
        log.leaves(node, &mut |leaves| writer.item(&Item::Leaves(leaves)))?;
    }
    gate(node, &moment, &mut writer)?;
    recalls(node, &moment, &mut writer)?;
    let mut runs = 0;
    for sent in &moment.feeds {
        feeds::write(node, sent, &mut writer)?;
        runs += sent.runs;
    }
    let bytes = writer.publish(node, options.force)?;
    Ok(json!({
        "file": options.output.display().to_string(),
        "bytes": bytes,
        "made": moment.head.time.to_string(),
        "events": moment.events,
        "feeds": moment.feeds.len(),
        "runs": runs,
        "words": node.keys.card.words().to_string(),
    }))
}

/// Everything that grows, at one moment: while this transaction is open nothing is appended.
fn moment(node: &Node) -> Result<Moment, Fault> {
    let txn = node.holdings.begin();
    let (holdings, maker, store) = (&node.holdings, node.keys.org, node.holdings.store_id());
    let head = Head { v: 1, gate: node.required_review(), time: node.clock.now(), maker, store };
    let agreements: Vec<AgreementId> = node.rules().agreements.iter().map(|held| held.id).collect();
    let moment = Moment {
        head,
        events: holdings.journal_end()?.head().count,
        batches: holdings.count(Partition::Own, Table::Batch, b"")?,
        gate: holdings.count(Partition::Own, Table::Review, b"")?,
        recalls: holdings.count(Partition::Own, Table::Recall, recall::OURS)?,
        answers: holdings.count(Partition::Own, Table::Recall, recall::ANSWERS)?,
        logs: shown::epochs(node)?,
        feeds: feeds::all(node, &agreements)?,
        agreements,
    };
    drop(txn);
    Ok(moment)
}

/// Cards, persons without names, agreements, and how parties stand to them.
fn parties(node: &Node, moment: &Moment, writer: &mut Writer) -> Result<(), Fault> {
    let mut orgs: BTreeSet<OrgId> = shown::witnesses(node)?;
    orgs.insert(node.keys.org);
    let mut versions = Vec::new();
    for agreement in &moment.agreements {
        for bytes in agreements::signed::versions(&node.holdings, *agreement)? {
            let signed = SignedAgreement::from_bytes(&bytes).map_err(Fault::store)?;
            orgs.extend(signed.agreement().map_err(Fault::store)?.parties.iter().map(|party| party.id));
            versions.push(bytes);
        }
    }
    for sent in &moment.feeds {
        orgs.insert(sent.key.receiver);
        orgs.extend(feeds::originators(node, sent)?);
    }
    let book = node.book();
    for org in orgs {
        let bytes =
            if org == node.keys.org { Some(node.keys.card.bytes()) } else { book.card(org).map(|card| card.bytes()) };
        if let Some(bytes) = bytes {
            writer.item(&Item::Card(ByteBuf::from(bytes.to_vec())))?;
        }
    }
    for held in users::all(node)? {
        let users::Held { digest, certificate } = held;
        writer.item(&Item::Person(Person {
            id: certificate.id,
            key: certificate.key,
            from: certificate.from,
            user: digest,
            roles: certificate.roles,
            until: certificate.until,
            disabled: certificate.disabled,
        }))?;
    }
    for bytes in versions {
        writer.item(&Item::Agreement(ByteBuf::from(bytes)))?;
    }
    for agreement in &moment.agreements {
        for (at, party, notice) in agreements::signed::standings(&node.holdings, *agreement)? {
            writer.item(&Item::Standing(Stands { at, party, notice }))?;
        }
    }
    Ok(())
}

/// The whole journal: events, and nothing of what their parts say.
fn journal(node: &Node, moment: &Moment, writer: &mut Writer, progress: OnProgress<'_>) -> Result<(), Fault> {
    let mut after = None;
    loop {
        let page = node.holdings.journal(after, EVENTS)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(*last);
        let events = page.iter().filter(|(n, _)| *n < moment.events);
        let events: Vec<ByteBuf> = events.map(|(_, event)| ByteBuf::from(event.bytes().to_vec())).collect();
        if events.is_empty() {
            return Ok(());
        }
        writer.item(&Item::Events(events))?;
        progress(Progress { done: after.unwrap_or_default(), total: Some(moment.events) });
    }
}

/// The heads of our batches: digests and times, nothing of what was attested. They show that no run hides as a batch.
fn batches(node: &Node, moment: &Moment, writer: &mut Writer) -> Result<(), Fault> {
    let list = (Partition::Own, Table::Batch, b"".as_slice());
    stored::each(&node.holdings, list, 0, &mut |n, row: BatchRow| -> Result<bool, Fault> {
        let shown = n < moment.batches;
        for head in row.signed().filter(|_| shown) {
            writer.item(&Item::Batch(head.clone()))?;
        }
        Ok(shown)
    })
}

fn gate(node: &Node, moment: &Moment, writer: &mut Writer) -> Result<(), Fault> {
    let list = (Partition::Own, Table::Review, b"".as_slice());
    stored::each(&node.holdings, list, 0, &mut |n, row: EventRow| -> Result<bool, Fault> {
        let shown = n < moment.gate;
        if shown {
            writer.item(&Item::Gate(row.signed))?;
        }
        Ok(shown)
    })
}

/// Recalls of ours, each once, and the answers that came. Why something was recalled, and by whom, stays here.
fn recalls(node: &Node, moment: &Moment, writer: &mut Writer) -> Result<(), Fault> {
    for place in 0..moment.recalls {
        let (scope, mut said) = (recall::holders_scope(place), BTreeSet::new());
        let list = (Partition::Own, Table::Recall, scope.as_slice());
        stored::each(&node.holdings, list, 0, &mut |_, row: HolderRow| -> Result<bool, Fault> {
            if row.origin.is_none() && said.insert(row.recall) {
                writer.item(&Item::Recall(row.signed))?;
            }
            Ok(true)
        })?;
    }
    let list = (Partition::Own, Table::Recall, recall::ANSWERS);
    stored::each(&node.holdings, list, 0, &mut |n, row: AnswerRow| -> Result<bool, Fault> {
        let shown = n < moment.answers;
        if shown {
            writer.item(&Item::Answer(Answered { holder: row.holder, signed: row.signed }))?;
        }
        Ok(shown)
    })
}

impl From<entente_protocol::codec::CodecError> for Fault {
    fn from(error: entente_protocol::codec::CodecError) -> Self {
        Self::store(error)
    }
}

const _: () = assert!(
    EVENTS * (limits::EVENT_PARTS_MAX * 34 + 300) <= 3 * limits::AUDIT_ITEM_BYTES_MAX,
    "events of the usual few parts fit one item many times over"
);
