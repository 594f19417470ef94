//! Which of our records a recall is about: by id, by a query, by event, place, collector or batch.

use super::{RECALLED_TOGETHER_MAX, RecallError};
use crate::{
    node::Node,
    records::{index, keep, show, stored},
    seal::keyring::Partition,
    store::StoreError,
};
use entente_protocol::{
    id::RecordId,
    record::{Shape, kind::Kind},
    value::Value,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What records of ours have in common, where neither ids nor a query say it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Common {
    /// An event, and everything that refers to it, its files among that.
    Event(String),
    /// The name or region of the place; of an event there, everything that refers to it.
    Place(String),
    /// Who documented, made or took it; of an event that they documented, everything that refers to it.
    Collector(String),
    /// They were attested together with this record, as those of one import mostly are.
    Batch(String),
}

fn too_many() -> RecallError {
    RecallError::Asked(format!("more than {RECALLED_TOGETHER_MAX} records fit: narrow the choice"))
}

/// The records of ours that have this in common.
pub fn with(node: &Node, common: &Common) -> Result<Vec<RecordId>, RecallError> {
    let own = |given: &str| show::resolve_own(node, given);
    match common {
        Common::Event(given) => {
            let event = own(given)?;
            if keep::own(node, event)?.kind()? != Kind::Event {
                return Err(RecallError::Asked(format!("`{given}` is no event: name one, or the records themselves")));
            }
            referring(node, event)
        }
        Common::Batch(given) => {
            let row = keep::own(node, own(given)?)?;
            Ok(keep::in_batch(node, row.batch)?)
        }
        Common::Place(text) => with_events(node, saying(node, &["place-name", "place-region"], text)?),
        Common::Collector(text) => with_events(node, saying(node, &["documented-by", "made-by", "author"], text)?),
    }
}

/// Records, and of each event among them what refers to it: what was found there seldom names the place itself.
fn with_events(node: &Node, found: Vec<RecordId>) -> Result<Vec<RecordId>, RecallError> {
    let mut all = Vec::with_capacity(found.len());
    let mut seen = BTreeSet::new();
    for record in found {
        let records = match keep::own(node, record)?.kind()? {
            Kind::Event => referring(node, record)?,
            _ => vec![record],
        };
        all.extend(records.into_iter().filter(|record| seen.insert(*record)));
        if all.len() > RECALLED_TOGETHER_MAX {
            return Err(too_many());
        }
    }
    Ok(all)
}

/// A record, the rest of its line, and whatever refers to them: over as many steps as there are references.
fn referring(node: &Node, first: RecordId) -> Result<Vec<RecordId>, RecallError> {
    let (mut found, mut seen, mut next) = (Vec::new(), BTreeSet::new(), vec![first]);
    // Ends because each record is taken once.
    while let Some(record) = next.pop() {
        if !seen.insert(record) {
            continue;
        }
        if seen.len() > RECALLED_TOGETHER_MAX {
            return Err(too_many());
        }
        found.push(record);
        let line = keep::own(node, record)?.header()?.header().line;
        next.extend(keep::siblings(node, record, line)?);
        let mut after: Option<u64> = None;
        loop {
            let page = node.holdings.find(Partition::Own, index::REF, line.as_bytes(), after, super::PAGE)?;
            for place in &page {
                let (id, row) = keep::at(node, *place)?.ok_or(StoreError::Broken { at: *place })?;
                if belongs(&row, line)? {
                    next.push(id);
                }
            }
            if page.len() < super::PAGE {
                break;
            }
            after = Some(after.map_or(0, |n| n + 1) + page.len() as u64 - 1);
        }
    }
    Ok(found)
}

/// Whether a record is a part of a line, and does not name it for another reason: things of an event, files of things.
fn belongs(row: &stored::OwnRow, line: entente_protocol::id::LineId) -> Result<bool, RecallError> {
    let kind = row.kind()?;
    for (number, bytes) in &row.values {
        let Some(slot) = kind.slot_number(*number).filter(|slot| matches!(slot.name, "event" | "of")) else { continue };
        let value = stored::value(bytes)?;
        if Shape::targets(slot.shape, &value).iter().any(|target| target.line == line) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Records one of whose fields says this, whatever its case.
fn saying(node: &Node, fields: &[&str], text: &str) -> Result<Vec<RecordId>, RecallError> {
    let wanted = text.trim().to_lowercase();
    if wanted.is_empty() {
        return Err(RecallError::Asked("the name is empty".to_owned()));
    }
    let is_it = |value: &Value| match value {
        Value::Text(text) => text.trim().to_lowercase() == wanted,
        Value::Map(members) => {
            members.iter().any(|(_, v)| v.as_text().is_some_and(|t| t.trim().to_lowercase() == wanted))
        }
        _ => false,
    };
    let (mut found, mut place) = (Vec::new(), 0);
    while let Some((id, row)) = keep::at(node, place)? {
        place += 1;
        let kind = row.kind()?;
        for (number, bytes) in &row.values {
            let named = kind.slot_number(*number).is_some_and(|slot| fields.contains(&slot.name));
            if named && is_it(&stored::value(bytes)?) {
                found.push(id);
                break;
            }
        }
        if found.len() > RECALLED_TOGETHER_MAX {
            return Err(too_many());
        }
    }
    Ok(found)
}
