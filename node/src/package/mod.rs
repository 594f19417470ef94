//! Evidence packages: records with what proves them, in one file for whoever has no node; and verifying such a file.
//!
//! [`make()`] is answered by a node, for `entente package`: it gathers (`gather`), writes in place (`write`) and adds a page
//! for people (`page`). [`read`] verifies, for `entente verify`, and needs no home. Nothing of a package is kept here but
//! the journal's word that one was made.

mod gather;
mod logs;
pub(crate) mod page;
pub mod read;
mod write;

use crate::{
    call::{OnProgress, Progress},
    error::Fault,
    node::Node,
};
use entente_protocol::{
    id::{Hash, OrgId},
    limits,
    package::{Name, name::LogPart, parts::Manifest},
    primitive::sha256,
};
use gather::Gathered;
use page::Page;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::{collections::BTreeSet, path::PathBuf};
use write::Writer;

/// How much of each record is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Show {
    /// Everything that is held.
    All,
    /// These fields, where a record has them.
    Fields(Vec<String>),
    /// What a partner would be given under the rules in force.
    As(String),
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Options {
    /// Ids or evidence numbers.
    pub records: Vec<String>,
    /// Where it is written.
    pub output: PathBuf,
    /// How much of each.
    pub show: Show,
    /// Without photographs and other files.
    pub without_files: bool,
    /// Whether a file that is there is replaced.
    pub force: bool,
}

/// Makes a package.
pub fn make(node: &Node, options: &Options, progress: OnProgress<'_>) -> Result<Json, Fault> {
    if !options.force && options.output.symlink_metadata().is_ok() {
        return Err(crate::unfinished::exists(&options.output));
    }
    let gathered = gather::gather(node, options, progress)?;
    let now = node.clock.now();
    let logs = logs::log_proofs(node, &gathered.batches)?;
    let orgs: BTreeSet<OrgId> =
        gathered.orgs.iter().copied().chain(logs.iter().flat_map(|log| log.witnesses.iter().copied())).collect();
    if orgs.len() > limits::PACKAGE_CARDS_MAX {
        return Err(too_much("organisations", limits::PACKAGE_CARDS_MAX));
    }
    // Noted first: what left is in the journal, also where the writing was broken off.
    note(node, options, &gathered)?;
    let mut writer = Writer::create(&options.output)?;
    for (n, org) in (1..).zip(&orgs) {
        writer.part(Name::Card(n), &card(node, *org)?)?;
    }
    for (n, head) in (1..).zip(&gathered.batches) {
        writer.part(Name::Batch(n), &head.to_bytes().map_err(Fault::store)?)?;
    }
    for (n, run) in (1..).zip(&gathered.runs) {
        writer.part(Name::Run(n), &run.to_bytes().map_err(Fault::store)?)?;
    }
    for (n, log) in (1..).zip(&logs) {
        writer.part(Name::Log(n, LogPart::Note), &log.note)?;
        writer.part(Name::Log(n, LogPart::Proofs), &log.proofs.to_bytes().map_err(Fault::store)?)?;
    }
    for (n, record) in (1..).zip(&gathered.records) {
        writer.part(Name::Record(n), &record.part.to_bytes().map_err(Fault::store)?)?;
    }
    let (files, file_bytes) = files(node, &gathered, &mut writer, progress)?;
    let page = Page { node, gathered: &gathered, orgs: &orgs, made: now }.html()?;
    writer.part(Name::Summary, page.as_bytes())?;
    let manifest = Manifest::new(node.keys.org, now, writer.listed()).sign(&node.keys.runs).map_err(Fault::store)?;
    let bytes = writer.publish(&manifest, options.force)?;
    Ok(json!({
        "id": Hash::from_bytes(sha256(&[&manifest])).to_string(),
        "file": options.output.display().to_string(),
        "bytes": bytes,
        "made": now.to_string(),
        "records": gathered.records.len(),
        "files": files,
        "file_bytes": file_bytes,
        "left_out": gathered.left_out,
        "not_ours": gathered.cautions(node),
        "words": node.keys.card.words().to_string(),
    }))
}

fn too_much(what: &str, max: usize) -> Fault {
    Fault::input("too-many", format!("a package has at most {max} {what}: make several"))
}

/// The newest card of an organisation.
fn card(node: &Node, org: OrgId) -> Result<Vec<u8>, Fault> {
    if org == node.keys.org {
        return Ok(node.keys.card.bytes().to_vec());
    }
    let book = node.book();
    let card = book.card(org).ok_or_else(|| {
        let what = format!("no card of organisation {} is here, and what it signed cannot be proved", org.short());
        Fault::input("no-card", what)
    })?;
    Ok(card.bytes().to_vec())
}

/// Records that one event of the journal names.
const NAMED_MAX: usize = 200;

const _: () = assert!(NAMED_MAX + 2 <= limits::EVENT_STATEMENTS_MAX, "one part of an event takes them");

fn note(node: &Node, options: &Options, gathered: &Gathered) -> Result<(), Fault> {
    let shown = match &options.show {
        Show::All => "all".to_owned(),
        Show::Fields(fields) => format!("fields: {}", fields.join(", ")),
        Show::As(partner) => format!("as {partner}"),
    };
    let mut about = vec![("records", gathered.records.len().to_string()), ("shown", shown)];
    about.extend(gathered.records.iter().take(NAMED_MAX).map(|record| ("record", record.id.to_string())));
    let mut txn = node.holdings.begin();
    node.journal(&mut txn, "package-made", &about)?;
    txn.commit()?;
    Ok(())
}

/// Writes the files of all records that have one to give.
fn files(node: &Node, gathered: &Gathered, writer: &mut Writer, progress: OnProgress<'_>) -> Result<(u64, u64), Fault> {
    let of = |record: &gather::Chosen| record.file.as_ref().map_or(0, |file| file.row.size);
    let total = gathered.records.iter().map(of).sum();
    let (mut files, mut done) = (0u64, 0u64);
    for record in &gathered.records {
        let Some(file) = &record.file else { continue };
        let mut reader = crate::share::files::open(node, file.partition, &file.row)?;
        writer.file(file.name, (file.row.size, file.row.sha256), &mut reader, &mut |step| {
            done += step;
            progress(Progress { done, total: Some(total) });
        })?;
        files += 1;
    }
    Ok((files, total))
}

/// A name for an organisation that a reader elsewhere knows too: of its card.
fn name_of(node: &Node, org: OrgId) -> String {
    if org == node.keys.org {
        return node.keys.card.payload().name.clone();
    }
    let book = node.book();
    book.card(org).map_or_else(|| org.short(), |card| card.payload().name.clone())
}
