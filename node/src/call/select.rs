//! Which records a call at the gate is about. Called by `call`; what then changes is the gate's.

use super::OnProgress;
use crate::{
    error::Fault,
    node::Node,
    recall::asking,
    records::{
        gate::{self, Review},
        passing,
        search::{self, Query},
        show,
    },
    users::Who,
};
use entente_protocol::id::RecordId;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;

/// Records that one call selects by a query.
const SELECTED_MAX: usize = 100_000;

/// Which records a step at the gate is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selection {
    /// These ids, or their first eight digits or more, or evidence numbers.
    Ids(Vec<String>),
    /// Every record that a review has passed and that was not released yet.
    AllReviewed,
    /// Every draft.
    AllDrafts,
    /// What a search finds.
    Found(Query),
}

/// What was corrected since is left out: whoever wants it names it.
fn current(node: &Node, records: Vec<RecordId>) -> Result<Vec<RecordId>, Fault> {
    let mut current = Vec::with_capacity(records.len());
    for record in records {
        if !gate::is_superseded(node, record)? {
            current.push(record);
        }
    }
    Ok(current)
}

/// Reviews a selection. What is refuted so is asked back from whoever has it.
pub(super) fn review(
    node: &Node,
    (records, state): (&Selection, Review),
    who: &Who,
    progress: OnProgress<'_>,
) -> Result<Json, Fault> {
    let pass = passing::by_state(node, state)?;
    let (ids, stay) = to_review(node, select(node, records)?, records, state)?;
    let outcome = gate::pass_showing(node, &ids, &pass, who.held(), progress)?;
    let recalls = match state {
        // What a person refutes is refuted once it is signed.
        Review::Refuted if who.held().is_none() => asking::propose_refuted(node, &ids, progress)?,
        _ => Vec::new(),
    };
    Ok(json!(gate::GateOutcome { stay, recalls, ..outcome }))
}

/// What a review of a selection changes, and how many records it leaves as they are: a query raises what is below, and
/// neither lowers a state nor lifts a refutation, which would send records out again. Naming a record does.
fn to_review(
    node: &Node,
    found: Vec<RecordId>,
    selection: &Selection,
    to: Review,
) -> Result<(Vec<RecordId>, u64), Fault> {
    if !matches!(selection, Selection::Found(_)) {
        return Ok((found, 0));
    }
    if found.is_empty() {
        return Err(Fault::input("no-records", "no record fits the query: nothing was reviewed"));
    }
    if to == Review::Refuted {
        return Ok((found, 0));
    }
    let (mut ids, mut stay) = (Vec::with_capacity(found.len()), 0);
    for id in found {
        if gate::state(node, id)?.review > to {
            stay += 1;
        } else {
            ids.push(id);
        }
    }
    Ok((ids, stay))
}

/// The records that a selection names.
pub(super) fn select(node: &Node, selection: &Selection) -> Result<Vec<RecordId>, Fault> {
    match selection {
        Selection::Ids(given) => {
            // Named twice is named once.
            let mut seen = BTreeSet::new();
            let found = given.iter().map(|id| show::resolve_own(node, id));
            found.filter(|id| id.as_ref().map_or(true, |id| seen.insert(*id))).collect()
        }
        Selection::AllReviewed => {
            let least = node.required_review();
            let due = |row: &gate::GateRow| !row.released && row.review >= least && row.review != Review::Refuted;
            current(node, gate::in_state(node, due)?)
        }
        Selection::AllDrafts => current(node, gate::in_state(node, |row| row.review == Review::Draft)?),
        Selection::Found(query) => {
            let query = Query { own: Some(true), limit: Some(SELECTED_MAX), ..query.clone() };
            let found = search::search(node, &query)?;
            if found.more {
                let what = format!("more than {SELECTED_MAX} records fit: nothing was changed; narrow the query");
                return Err(Fault::input("too-many", what));
            }
            found.records.iter().map(|r| show::resolve_own(node, &r.id)).collect()
        }
    }
}
