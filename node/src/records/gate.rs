//! The release gate: drafts become releasable in two signed steps, a review and a release event.
//!
//! Both are events outside the immutable record, signed by a user. What was released is listed in
//! the release log, from which every feed is filled; one append carries event, state and log entry.

use super::{
    keep::{self, KeepError},
    stored::{ReleasedRow, decode, encode, record_in_feed},
};
use crate::{
    call::{OnProgress, Progress},
    node::Node,
    seal::keyring::Partition,
    share::feeds,
    store::{StoreError, layout::Table, txn::Txn},
};
use entente_protocol::{
    cose::{self, SignatureBytes},
    id::{KeyId, OrgId, RecordId},
    label,
    recall::Act,
    record::kind::Kind,
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Scope of the release log: records in the order in which people released them.
pub const RELEASE_LOG: &[u8] = b"released";
/// Records changed in one step of a long command.
pub const STEP: usize = 500;

/// A record's review state. Rising, but for refuted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Review {
    /// As imported.
    Draft,
    /// Somebody has looked at it.
    Reviewed,
    /// Somebody has verified it against the evidence.
    Verified,
    /// Shown to be wrong: never released, and withdrawn where it was.
    Refuted,
}

impl Review {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Reviewed => "reviewed",
            Self::Verified => "verified",
            Self::Refuted => "refuted",
        }
    }
}

/// Where a record stands at the gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateRow {
    /// The signed events about it, by their places in the list of all, oldest first.
    pub events: Vec<u64>,
    /// Review state.
    pub review: Review,
    /// What was asked of whoever holds it, if it was recalled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recalled: Option<Act>,
    /// Whether a person has released it.
    pub released: bool,
}

impl Default for GateRow {
    fn default() -> Self {
        Self { events: Vec::new(), review: Review::Draft, recalled: None, released: false }
    }
}

/// What a user signs when reviewing or releasing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateEvent {
    /// When.
    pub at: UnixMillis,
    /// The review state set, or absent for a release event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Review>,
    /// The records.
    pub records: Vec<RecordId>,
}

/// A signed event, kept once for all the records that it concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventRow {
    /// When.
    pub at: UnixMillis,
    /// The user's key.
    pub user: KeyId,
    /// The review state set, or absent for a release event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Review>,
    /// The signed event.
    pub signed: SignatureBytes,
}

/// What a step at the gate did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateOutcome {
    /// Records whose state changed.
    pub changed: u64,
    /// Records that were there already.
    pub unchanged: u64,
    /// Records that a query found and left: verified already, or refuted.
    pub stay: u64,
    /// Records that may not be released yet.
    pub refused: Vec<NotYet>,
    /// The recalls that were proposed for those of them that no withdrawal reaches now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recalls: Vec<u64>,
}

/// A record that may not be released yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotYet {
    /// Its id.
    pub id: String,
    /// Why.
    pub why: String,
}

/// The gate state of a record of ours.
pub fn state(node: &Node, record: RecordId) -> Result<GateRow, KeepError> {
    match node.holdings.get(Partition::Own, Table::Gate, record.as_bytes())? {
        Some(row) => Ok(decode("gate", &row)?),
        None => Ok(GateRow::default()),
    }
}

/// Writes the state of a record after one more event.
fn put_state(txn: &mut Txn<'_>, record: RecordId, mut row: GateRow, event: u64) -> Result<(), KeepError> {
    row.events.push(event);
    Ok(txn.put(Partition::Own, Table::Gate, record.as_bytes(), &encode("gate", &row)?)?)
}

fn sign(node: &Node, review: Option<Review>, records: &[RecordId], at: UnixMillis) -> Result<EventRow, KeepError> {
    let context = if review.is_some() { label::SIGN_REVIEW } else { label::SIGN_RELEASE_EVENT };
    let event = encode("gate event", &GateEvent { at, review, records: records.to_vec() })?;
    let signed = SignatureBytes(cose::sign(context, &node.keys.user, &event));
    Ok(EventRow { at, user: node.keys.user.public().id(), review, signed })
}

/// Sets the review state of records. Refuting what was released puts it in the release log again, to be withdrawn.
pub fn review(node: &Node, records: &[RecordId], to: Review) -> Result<GateOutcome, KeepError> {
    review_showing(node, records, to, &mut |_| {})
}

/// As [`review`], and tells how far it is.
pub fn review_showing(
    node: &Node,
    records: &[RecordId],
    to: Review,
    progress: OnProgress<'_>,
) -> Result<GateOutcome, KeepError> {
    let mut outcome = GateOutcome::default();
    for (begun, step) in (0..).step_by(STEP).zip(records.chunks(STEP)) {
        progress(Progress { done: begun, total: Some(records.len() as u64) });
        let mut txn = node.holdings.begin();
        let mut changed = Vec::new();
        for record in step {
            keep::own(node, *record)?;
            let before = state(node, *record)?;
            if before.review == to {
                outcome.unchanged += 1;
            } else {
                changed.push((*record, before));
            }
        }
        if changed.is_empty() {
            continue;
        }
        let ids: Vec<RecordId> = changed.iter().map(|(id, _)| *id).collect();
        let event = encode("gate event", &sign(node, Some(to), &ids, node.clock.now())?)?;
        let event = txn.push(Partition::Own, Table::Review, b"", &event)?;
        // What is raised goes on going.
        let stays = to != Review::Refuted && to >= node.required_review();
        let held_back: Vec<RecordId> =
            changed.iter().filter(|(_, before)| !stays && before.released).map(|(id, _)| *id).collect();
        for (record, before) in changed {
            let released = before.released;
            put_state(&mut txn, record, GateRow { review: to, ..before }, event)?;
            if released {
                txn.push(Partition::Own, Table::RecordList, RELEASE_LOG, record.as_bytes())?;
            }
            outcome.changed += 1;
        }
        node.journal(&mut txn, "review", &[("state", to.name().to_owned()), ("records", ids.len().to_string())])?;
        // Before the commit: while this transaction is open no run is signed. And at once after it, whatever else fails.
        let shown = if held_back.is_empty() { BTreeSet::new() } else { shown_to(node, &held_back)? };
        txn.commit()?;
        if !held_back.is_empty() {
            node.hold_back(shown);
        }
    }
    node.wake();
    Ok(outcome)
}

/// Partners who were shown any of these records.
fn shown_to(node: &Node, records: &[RecordId]) -> Result<BTreeSet<OrgId>, KeepError> {
    let mut partners = BTreeSet::new();
    for (partner, _) in node.book().iter() {
        for (agreement, _, _) in feeds::every_agreement_with(node, *partner) {
            let feed = feeds::outgoing(node, *partner, agreement).id();
            for record in records {
                let row = node.holdings.get(Partition::Own, Table::Release, &record_in_feed(*record, feed))?;
                if let Some(row) = row
                    && decode::<ReleasedRow>("release", &row)?.shows()
                {
                    partners.insert(*partner);
                    break;
                }
            }
        }
    }
    Ok(partners)
}

/// Kinds in the order in which a release lists them: what others refer to comes first.
const fn order(kind: Kind) -> u8 {
    match kind {
        Kind::Party => 0,
        Kind::Event => 1,
        Kind::Document | Kind::DiversionCase | Kind::Account => 2,
        Kind::Item | Kind::Ammunition | Kind::Transfer => 3,
        Kind::Attachment => 5,
        _ => 4,
    }
}

/// Releases records: the second step. Records below the organisation's review state are refused.
pub fn release(node: &Node, records: &[RecordId]) -> Result<GateOutcome, KeepError> {
    release_showing(node, records, &mut |_| {})
}

/// As [`release`], and tells how far it is.
pub fn release_showing(node: &Node, records: &[RecordId], progress: OnProgress<'_>) -> Result<GateOutcome, KeepError> {
    let mut outcome = GateOutcome::default();
    let mut due: Vec<(u8, RecordId)> = Vec::with_capacity(records.len());
    for record in records {
        due.push((order(keep::own(node, *record)?.kind()?), *record));
    }
    // Stable: within one rank, records stay in the order given.
    due.sort_by_key(|(rank, _)| *rank);
    let least = node.required_review();
    for (begun, step) in (0..).step_by(STEP).zip(due.chunks(STEP)) {
        progress(Progress { done: begun, total: Some(due.len() as u64) });
        let mut txn = node.holdings.begin();
        let mut changed = Vec::with_capacity(step.len());
        for (_, record) in step {
            let before = state(node, *record)?;
            if before.recalled.is_some() {
                let why = "it was recalled, which is for good: a new record takes its place".to_owned();
                outcome.refused.push(NotYet { id: record.to_string(), why });
            } else if before.review == Review::Refuted || before.review < least {
                let (is, needs) = (before.review.name(), least.name());
                let what = format!("its review state is `{is}`, and release needs `{needs}`");
                outcome.refused.push(NotYet { id: record.to_string(), why: what });
            } else if before.released {
                outcome.unchanged += 1;
            } else {
                changed.push((*record, before));
            }
        }
        if changed.is_empty() {
            continue;
        }
        let ids: Vec<RecordId> = changed.iter().map(|(id, _)| *id).collect();
        let event = encode("gate event", &sign(node, None, &ids, node.clock.now())?)?;
        let event = txn.push(Partition::Own, Table::Review, b"", &event)?;
        for (record, before) in changed {
            put_state(&mut txn, record, GateRow { released: true, ..before }, event)?;
            txn.push(Partition::Own, Table::RecordList, RELEASE_LOG, record.as_bytes())?;
            outcome.changed += 1;
        }
        node.journal(&mut txn, "release", &[("records", ids.len().to_string())])?;
        txn.commit()?;
        node.wake();
    }
    Ok(outcome)
}

/// The signed events of a record with their places in the list of all, oldest first.
pub fn events(node: &Node, record: RecordId) -> Result<Vec<(u64, EventRow)>, KeepError> {
    let places = state(node, record)?.events;
    let event = |place: u64| {
        let row = node.holdings.item(Partition::Own, Table::Review, b"", place)?;
        Ok((place, decode("gate event", &row.ok_or(StoreError::Broken { at: place })?)?))
    };
    places.into_iter().map(event).collect()
}

/// Whether a later record of its line, that nobody has refuted, stands for a record: the correction is to be looked at,
/// and not what it corrects.
pub fn is_superseded(node: &Node, record: RecordId) -> Result<bool, KeepError> {
    let line = keep::own(node, record)?.header()?.header().line;
    let later = keep::line(node, line)?.into_iter().skip_while(|id| *id != record).skip(1);
    for id in later {
        if state(node, id)?.review != Review::Refuted {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Records of ours in a state, in order of arrival.
pub fn in_state(node: &Node, wanted: impl Fn(&GateRow) -> bool) -> Result<Vec<RecordId>, KeepError> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = keep::after(node, after)?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        after = Some(*last);
        for (_, id) in page {
            if wanted(&state(node, id)?) {
                found.push(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        call::{self, Call, Selection},
        clock::ManualClock,
        ingest::import::ImportOptions,
        testkit,
    };
    use std::{fmt::Write as _, fs, sync::Arc};

    #[test]
    fn long_calls_tell_how_far_they_are_and_of_how_much() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let node = testkit::node(folder.path(), "a", &Arc::new(ManualClock::at(UnixMillis(1_795_305_600_000))))?;
        let (path, map) = (folder.path().join("rows.csv"), folder.path().join("map.toml"));
        let mut table = "number\n".to_owned();
        (0..1_200).try_for_each(|n| writeln!(table, "N-{n}"))?;
        fs::write(&path, table)?;
        fs::write(
            &map,
            "name = \"m\"\n[keys]\ncolumns = [\"number\"]\n[default]\neval = { src4 = \"B\", inf4 = 2 }\n[[record]]\n\
             name = \"item\"\nkind = \"item\"\n[record.fields]\nnumber = { column = \"number\" }\n\
             type = { value = \"pistol\" }\nserial = { value = \"UNK\" }\n",
        )?;
        let told = |call: Call| {
            let mut told = Vec::new();
            let answer = call::answer(&node, &call, &mut |at| told.push((at.done, at.total)));
            answer.map(|_| told)
        };
        // A short file is read to its end before its first row comes: how many rows it has is known then.
        let import = ImportOptions { path, map: Some(map), attachments: None, dry_run: false };
        assert_eq!(told(Call::Import(import))?, [(500, None), (1_000, None), (1_200, Some(1_200))]);
        let steps = [(0, Some(1_200)), (500, Some(1_200)), (1_000, Some(1_200))];
        assert_eq!(told(Call::Review { records: Selection::AllDrafts, state: Review::Reviewed })?, steps);
        assert_eq!(told(Call::Release(Selection::AllReviewed))?, steps);
        Ok(())
    }
}
