//! The release gate: drafts become releasable in two signed steps, a review and a release event.
//!
//! Both are events outside the immutable record, signed by a person (`passing`), or by the office where there are none. What was released is listed in
//! the release log, from which every feed is filled; one append carries event, state and log entry.

use super::{
    keep::{self, KeepError},
    passing::{Barred, Hands},
    stored::{ReleasedRow, decode, encode, record_in_feed},
};
use crate::{
    call::{OnProgress, Progress},
    config::Stage,
    node::Node,
    seal::keyring::Partition,
    share::feeds,
    store::{StoreError, layout::Table, txn::Txn},
    users::Held,
};
pub use entente_protocol::gate::{GateEvent, Review};
use entente_protocol::{
    cose::{self, SignatureBytes},
    id::{KeyId, OrgId, RecordId, UserDigest},
    label::{self, Context},
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

/// Where a record stands at the gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateRow {
    /// The last stage of the review that it has passed, where there are stages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
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
        Self { stage: None, events: Vec::new(), review: Review::Draft, recalled: None, released: false }
    }
}

/// A signed event, kept once for all the records that it concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventRow {
    /// When.
    pub at: UnixMillis,
    /// The key that signed: a person's, or the office's.
    pub user: KeyId,
    /// The stage that was taken, where there are stages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// The review state set, or absent for a release event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Review>,
    /// The signed event.
    pub signed: SignatureBytes,
    /// The certificate of the person who signed; absent where the office did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<UserDigest>,
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
    /// Records that may not pass yet, or not by whoever asks.
    pub refused: Vec<NotYet>,
    /// The recalls that were proposed for those of them that no withdrawal reaches now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recalls: Vec<u64>,
    /// Events that a person is to sign before anything changes, in hexadecimal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sign: Vec<String>,
}

/// A step at the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pass {
    /// Sets a review state.
    Review(Review),
    /// Takes a stage of the review.
    Stage(Stage),
    /// Lets it go.
    Release,
}

impl Pass {
    /// The review state that an event of it states.
    pub const fn review(&self) -> Option<Review> {
        match self {
            Self::Review(to) => Some(*to),
            Self::Stage(stage) => Some(stage.state),
            Self::Release => None,
        }
    }
    /// The stage that an event of it states.
    pub fn stage(&self) -> Option<&str> {
        match self {
            Self::Stage(stage) => Some(&stage.name),
            Self::Review(_) | Self::Release => None,
        }
    }
    /// Where a record stands after it.
    fn after(&self, before: GateRow) -> GateRow {
        match self {
            // What was refuted begins anew.
            Self::Review(Review::Refuted) => GateRow { review: Review::Refuted, stage: None, ..before },
            Self::Review(to) => GateRow { review: *to, ..before },
            Self::Stage(stage) => {
                GateRow { review: before.review.staged(stage.state), stage: Some(stage.name.clone()), ..before }
            }
            Self::Release => GateRow { released: true, ..before },
        }
    }
}

/// Whether a step is due for a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// It is.
    Yes,
    /// It was taken already.
    Already,
    /// Something else comes first.
    NotYet(String),
}

/// Whether a step is due for a record that stands here.
pub fn due(node: &Node, before: &GateRow, pass: &Pass) -> Due {
    match pass {
        Pass::Review(to) if before.review == *to => Due::Already,
        Pass::Review(_) => Due::Yes,
        Pass::Stage(stage) => {
            let stages = &node.config.stages;
            let at = |name: &str| stages.iter().position(|known| known.name == name);
            let next = before.stage.as_deref().and_then(at).map_or(0, |at| at + 1);
            match at(&stage.name) {
                Some(wanted) if wanted < next => Due::Already,
                Some(wanted) if wanted == next => Due::Yes,
                _ => {
                    let first = stages.get(next).map_or("another stage", |known| known.name.as_str());
                    Due::NotYet(format!("the stage `{first}` comes first"))
                }
            }
        }
        Pass::Release => {
            let least = node.required_review();
            if before.recalled.is_some() {
                Due::NotYet("it was recalled, which is for good: a new record takes its place".to_owned())
            } else if before.review == Review::Refuted {
                Due::NotYet(format!(
                    "it was refuted, and what was shown to be wrong is not released: a correction is imported as a record of its \
                     own; only if the refutation was the mistake, lift it first, `entente review ID {}`",
                    lifts(node)
                ))
            } else if before.review < least {
                let (is, needs) = (before.review.name(), least.name());
                Due::NotYet(format!(
                    "its review state is `{is}`, and release needs `{needs}`: review it first, `entente review ID {}`",
                    lifts(node)
                ))
            } else if before.released {
                Due::Already
            } else {
                Due::Yes
            }
        }
    }
}

/// What a review is given so that its record may be released.
fn lifts(node: &Node) -> String {
    match node.config.stages.as_slice() {
        [] => format!("--state {}", node.required_review().name()),
        _ => "--stage STAGE".to_owned(),
    }
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

/// The event of a step, as the office signs it.
fn sign(node: &Node, pass: &Pass, records: &[RecordId], at: UnixMillis) -> Result<EventRow, KeepError> {
    let (review, stage) = (pass.review(), pass.stage().map(str::to_owned));
    let event = GateEvent { at, user: None, stage: stage.clone(), review, records: records.to_vec() };
    let signed = cose::sign(context(review), &node.keys.user, &encode("gate event", &event)?);
    let user = node.keys.user.public().id();
    Ok(EventRow { at, user, stage, review, signed: SignatureBytes(signed), signer: None })
}

/// The context in which an event is signed.
pub const fn context(review: Option<Review>) -> Context {
    if review.is_some() { label::SIGN_REVIEW } else { label::SIGN_RELEASE_EVENT }
}

/// Sets the review state of records, as the office. Refuting what was released puts it in the release log again, to be
/// withdrawn.
pub fn review(node: &Node, records: &[RecordId], to: Review) -> Result<GateOutcome, KeepError> {
    pass_showing(node, records, &Pass::Review(to), None, &mut |_| {})
}

/// Releases records, as the office: the second step. Records below the organisation's review state are refused.
pub fn release(node: &Node, records: &[RecordId]) -> Result<GateOutcome, KeepError> {
    pass_showing(node, records, &Pass::Release, None, &mut |_| {})
}

/// Takes a step for records, and tells how far it is. As the office the events are signed here; what a person does is laid
/// before that one to be signed, and nothing changes yet ([`super::passing::take`]).
pub fn pass_showing(
    node: &Node,
    records: &[RecordId],
    pass: &Pass,
    person: Option<&Held>,
    progress: OnProgress<'_>,
) -> Result<GateOutcome, KeepError> {
    let mut outcome = GateOutcome::default();
    let mut ordered: Vec<(u8, RecordId)> = Vec::with_capacity(records.len());
    for record in records {
        let rank = if *pass == Pass::Release { order(keep::own(node, *record)?.kind()?) } else { 0 };
        ordered.push((rank, *record));
    }
    // Stable: within one rank, records stay in the order given.
    ordered.sort_by_key(|(rank, _)| *rank);
    let hands = Hands::default();
    for (begun, step) in (0..).step_by(STEP).zip(ordered.chunks(STEP)) {
        progress(Progress { done: begun, total: Some(ordered.len() as u64) });
        let txn = node.holdings.begin();
        let mut changed = Vec::with_capacity(step.len());
        for (_, record) in step {
            keep::own(node, *record)?;
            let before = state(node, *record)?;
            let permitted = || person.map_or(Ok(()), |held| hands.permits(node, held, *record, pass));
            match due(node, &before, pass) {
                Due::Already => outcome.unchanged += 1,
                Due::NotYet(why) => outcome.refused.push(NotYet { id: record.to_string(), why }),
                Due::Yes => match permitted() {
                    Err(Barred::Keep(error)) => return Err(error),
                    Err(Barred::Denied(why)) => {
                        outcome.refused.push(NotYet { id: record.to_string(), why: why.to_string() });
                    }
                    Ok(()) => changed.push((*record, before)),
                },
            }
        }
        if changed.is_empty() {
            continue;
        }
        let ids: Vec<RecordId> = changed.iter().map(|(id, _)| *id).collect();
        let at = node.clock.now();
        match person {
            None => {
                outcome.changed += changed.len() as u64;
                write(node, txn, changed, pass, &sign(node, pass, &ids, at)?)?;
            }
            Some(held) => outcome.sign.push(hex::encode(super::passing::lay(held, pass, ids, at)?)),
        }
    }
    node.wake();
    Ok(outcome)
}

/// Writes a signed step: event, states and release log in one append.
pub(super) fn write(
    node: &Node,
    mut txn: Txn<'_>,
    changed: Vec<(RecordId, GateRow)>,
    pass: &Pass,
    row: &EventRow,
) -> Result<(), KeepError> {
    let event = txn.push(Partition::Own, Table::Review, b"", &encode("gate event", row)?)?;
    // What is raised goes on going.
    let stays = |row: &GateRow| row.review != Review::Refuted && row.review >= node.required_review();
    let (mut held_back, count) = (Vec::new(), changed.len());
    for (record, before) in changed {
        let was_released = before.released;
        let after = pass.after(before);
        if was_released && !stays(&after) {
            held_back.push(record);
        }
        if after.released {
            txn.push(Partition::Own, Table::RecordList, RELEASE_LOG, record.as_bytes())?;
        }
        put_state(&mut txn, record, after, event)?;
    }
    let records = ("records", count.to_string());
    let signer = row.signer.map(|signer| ("certificate", signer.to_string()));
    let state = row.review.map(|to| ("state", to.name().to_owned()));
    let what = if row.review.is_some() { "review" } else { "release" };
    let about: Vec<_> = state.into_iter().chain([records]).chain(signer).collect();
    node.journal(&mut txn, what, &about)?;
    // Before the commit: while this transaction is open no run is signed. And at once after it, whatever else fails.
    let shown = if held_back.is_empty() { BTreeSet::new() } else { shown_to(node, &held_back)? };
    txn.commit()?;
    if !held_back.is_empty() {
        node.hold_back(shown);
    }
    Ok(())
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
