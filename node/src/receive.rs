//! Receiving: verified runs are accepted record by record, sealed, appended, then countersigned.
//!
//! A run is taken whole: one append carries its records, index rows, proofs, cursor and journal event.
//! The receipt exists only after that append returned. A record that policy refuses is left out, and
//! the refusal goes back as an entry of our own feed; the rest of the run is unharmed. While nothing may
//! pass nothing is taken, and nothing refused.

pub mod evidence;
pub mod lease;
pub mod quarantine;
mod receipt;

pub use receipt::{Countersigned, receipt};

use crate::{
    clock::mark::{MarkError, Stated},
    custody::owed,
    node::{Node, Rules},
    onward::{grants, holding},
    partners::introduced::Shown,
    recall::{ending, granted, retention},
    records::{
        index::{self, Facets},
        keep,
        stored::{OnwardRow, ProofRow, ReceivedRow, decode, encode},
    },
    room::{self, For},
    seal::keyring::Partition,
    share::{
        ShareError,
        feeds::{self, Pending},
        wishes::{self, WantedFile},
    },
    store::{StoreError, layout::Table, txn::Txn},
};
use entente_policy::Interval;
use entente_protocol::{
    clearance::Acceptance,
    cose::SignatureBytes,
    feed::{
        FeedKey, Held, REFUSED, Receipt, ReceivedRun, Run, RunFault, RunMessage, VerifiedEntry, VerifiedRelease,
        VerifiedRun,
    },
    id::{AgreementId, FeedId, OrgId, RecallId, RecordId},
    identity::Purpose,
    record::{Body, Shape, Verified},
    time::UnixMillis,
    value::Value,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A received run could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The partner's fault.
    #[error(transparent)]
    Run(#[from] RunFault),
    /// The partner signed two histories of one feed: both heads are kept, and people must look.
    #[error("the partner signed another history of a feed: both heads are kept in the journal")]
    Fork,
    /// What did not hold before came again, the same: its feed waits, and nothing else does.
    #[error("a run that does not hold came again: its feed waits")]
    Quarantined,
    /// Our own store.
    #[error(transparent)]
    Share(#[from] ShareError),
}

impl From<StoreError> for ReceiveError {
    fn from(error: StoreError) -> Self {
        Self::Share(error.into())
    }
}

impl From<crate::records::stored::RowDamage> for ReceiveError {
    fn from(error: crate::records::stored::RowDamage) -> Self {
        Self::Share(error.into())
    }
}

/// A run that brought records, with what proves them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunInRow {
    /// The signed run.
    pub run: SignatureBytes,
    /// One for each batch.
    pub proofs: Vec<ProofRow>,
    /// What proves to others that an entry stood in it; absent in rows of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "serde_bytes")]
    pub entries: Vec<u8>,
    /// Our countersignature; absent in rows of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<SignatureBytes>,
    /// What it withdrew, with the entries' numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withdrew: Vec<(u64, RecordId)>,
}

/// Why a received record is not used any more, where no entry of its feed says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TakenBack {
    /// Its originator recalled it.
    Recalled(RecallId),
    /// The time for which it was given is over.
    Expired,
}

/// A withdrawal, as kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithdrawnRow {
    /// When it became durable here.
    pub at: UnixMillis,
    /// What took it back where no entry did; absent for an entry of its feed, which a later release undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<TakenBack>,
    /// The originator's feed that brought it; absent in rows of the first releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feed: Option<FeedId>,
    /// Number of the entry.
    pub number: u64,
}

/// What taking a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// The receipt to send.
    pub receipt: Option<SignatureBytes>,
    /// Entries of the feed now.
    pub length: u64,
    /// Records stored.
    pub records: u64,
    /// Records refused.
    pub refused: u64,
    /// The run was held already.
    pub held: bool,
    /// Nothing was taken, because nothing may pass now: the run stays with its sender, which serves it again.
    pub waits: bool,
}

/// How a run came.
#[derive(Debug, Clone, Copy)]
pub struct Came {
    /// When it was said: no lease counts from later than that.
    pub said: UnixMillis,
    /// In a bundle: its sender may never hear of us.
    pub by_hand: bool,
}

/// Takes a run of a partner's feed over a connection.
pub fn run(node: &Node, feed: &FeedKey, message: &RunMessage) -> Result<Taken, ReceiveError> {
    run_of(node, feed, message, Came { said: node.clock.now(), by_hand: false })
}

/// Takes a run of a partner's feed.
///
/// A reason of this hour (a suspension, an agreement that has not begun or has expired here, another version of it) is
/// none to refuse a record: a countersigned refusal is for good. The run then waits at its sender.
pub fn run_of(node: &Node, feed: &FeedKey, message: &RunMessage, came: Came) -> Result<Taken, ReceiveError> {
    let now = node.clock.now();
    // The second turn is for a feed or rules that changed under the first one.
    for _ in 0..2 {
        let rules = node.rules();
        // Withdrawals alone are taken at any time.
        let passes =
            message.carried.is_empty() || rules.policy.passes(feed.sender, feed.agreement, node.interval()).is_ok();
        if !passes || feeds::stopped(node, feed)?.is_some() {
            break;
        }
        // What people took back is heard for as long as it can be written.
        let what = if message.carried.is_empty() { For::Word } else { For::Evidence };
        if let Some(why) = room::lacking(node, feed.sender, what)? {
            tracing::warn!(partner = %feed.sender.short(), why, "a run waits");
            node.note_error(feed.sender, why);
            break;
        }
        let state = feeds::in_row(node, feed)?;
        // It may be served again long after it was signed.
        let stated = Run::danger_unverified(&message.run)?.time;
        let sender = |kid| rules.book.past_key(feed.sender, Purpose::Runs, kid, now, stated);
        let cards = message.onward.as_ref().map_or(&[][..], |beside| &beside.cards);
        let shown = Shown::read(&rules.book, node.keys.org, cards);
        let originator = |org: OrgId, kid| match org == node.keys.org {
            true => node.keys.card.key(Purpose::Records, kid, now),
            false => shown.key(&rules.book, org, Purpose::Records, kid, now),
        };
        let prior = feed.previous().map(|before| feeds::in_row(node, &before).map(|row| row.cursor())).transpose()?;
        let held = Held { feed: state.cursor(), prior };
        let received = match message.verify(feed, held, sender, originator) {
            Err(fault) if fault.is_of_content() => return Err(quarantine::mark(node, feed, message, fault)?),
            received => received?,
        };
        let taken = match received {
            // Known already: the receipt that we gave then is given again. Only the last is kept, and a run before it is
            // answered with one of its own: its sender may not know yet that we hold more.
            ReceivedRun::Held(run) if evidence::is_kept(node, feed, &state, &run)? => {
                let receipt = match state.receipt {
                    Some(last) if run.end() == state.cursor() => last,
                    _ => Receipt::of(&run, now).sign(&node.keys.runs).map_err(ShareError::from)?,
                };
                Some(Taken { receipt: Some(receipt), length: state.length, held: true, ..Taken::default() })
            }
            // Another history, at the end of what is held or below it.
            ReceivedRun::Held(run) | ReceivedRun::Fork(run) => {
                evidence::fork(node, feed, &state, &run, &message.run)?;
                return Err(ReceiveError::Fork);
            }
            ReceivedRun::Next(verified) if differs(&rules, feed, &verified) => break,
            ReceivedRun::Next(verified) => {
                // What takes something back is heard all the same.
                let owes = match came.by_hand || message.carried.is_empty() {
                    true => None,
                    false => owed::withheld(node, feed.sender, feed.store).map_err(ShareError::from)?,
                };
                if let Some(why) = owes {
                    tracing::warn!(partner = %feed.sender.short(), why, "a run waits");
                    node.note_error(feed.sender, why);
                    break;
                }
                take(node, feed, (message, came), (&rules, &shown), &verified, state)?
            }
        };
        if let Some(taken) = taken {
            return Ok(taken);
        }
        node.catch_up(&rules).map_err(|fault| ShareError::Rules(fault.message))?;
    }
    Ok(Taken { waits: true, ..Taken::default() })
}

/// Whether a release in the run was cleared under another version than the one that we hold: which of the two
/// permits it, neither side can say before both hold the same.
fn differs(rules: &Rules, feed: &FeedKey, verified: &VerifiedRun) -> bool {
    let version = rules.policy.agreement(feed.agreement).map(|governed| governed.in_force.digest);
    verified.entries().iter().any(|(_, entry)| match entry {
        VerifiedEntry::Release(release) => Some(release.version) != version,
        VerifiedEntry::Unproved { version: cleared, .. } => Some(*cleared) != version,
        _ => false,
    })
}

/// Why what was taken back for good is refused.
const RECALLED: &str = "recalled";

/// What becomes of one entry, decided before the transaction begins.
enum Decided<'a> {
    Keep(&'a VerifiedRelease, Acceptance, Box<ReceivedRow>),
    /// With the reason's code, for our own people.
    Refuse(&'static str),
    /// An entry of ours was refused.
    Refused,
    Withdraw(RecordId),
    Nothing,
}

fn decide<'a>(
    (node, rules, shown): (&Node, &Rules, &Shown),
    arrival: &Arrival<'_>,
    now: Interval,
    number: u64,
    entry: &'a VerifiedEntry,
) -> Decided<'a> {
    let feed = arrival.feed;
    match entry {
        VerifiedEntry::Release(release) => {
            let grant = release.grant.as_ref().map(|(_, grant)| &**grant);
            let originator = release.record.header().originator;
            if originator != feed.sender && !shown.takes(&rules.book, feed.sender, originator) {
                return Decided::Refuse("introduces-too-many");
            }
            if grant.is_some() && is_recalled(node, release.record.id()) {
                return Decided::Refuse(RECALLED);
            }
            match rules.policy.accept(feed.sender, feed.agreement, &release.record, grant, now) {
                Ok(acceptance) => Decided::Keep(release, acceptance, Box::new(received_row(arrival, release, number))),
                Err(withheld) => Decided::Refuse(withheld.reason.code()),
            }
        }
        VerifiedEntry::Unproved { .. } => Decided::Refuse("key-does-not-count"),
        VerifiedEntry::Withdrawal { record } => Decided::Withdraw(*record),
        VerifiedEntry::Refusal { .. } => Decided::Refused,
        VerifiedEntry::Closed => Decided::Nothing,
    }
}

/// Whether a record was recalled under whatever agreement it came, erased since or not. One that cannot be read is as good
/// as recalled.
fn is_recalled(node: &Node, record: RecordId) -> bool {
    if !matches!(ending::was_recalled(&node.holdings, record), Ok(false)) {
        return true;
    }
    node.partitions().into_iter().any(|agreement| match withdrawn(node, agreement, record) {
        Ok(row) => row.is_some_and(|row| matches!(row.by, Some(TakenBack::Recalled(_)))),
        Err(_) => true,
    })
}

/// Decides, then writes. `None` where feed or rules are others by the time of writing.
fn take(
    node: &Node,
    feed: &FeedKey,
    (message, came): (&RunMessage, Came),
    (rules, shown): (&Arc<Rules>, &Shown),
    verified: &VerifiedRun,
    mut state: feeds::InRow,
) -> Result<Option<Taken>, ReceiveError> {
    let partition = Partition::Agreement(feed.agreement);
    let (now, interval) = (node.clock.now(), node.interval());
    let run = verified.run();
    let arrival = Arrival { feed, at: now, run: state.runs };
    let numbered = (run.before.length..).zip(verified.entries());
    let decided: Vec<(u64, Decided<'_>)> = numbered
        .map(|(number, (_, entry))| (number, decide((node, rules, shown), &arrival, interval, number, entry)))
        .collect();
    let receipt = Receipt::of(run, now).sign(&node.keys.runs).map_err(ShareError::from)?;
    let mut row = RunInRow {
        run: message.run.clone(),
        proofs: proofs(message, verified),
        // What only takes back brings nothing that anybody would be shown, and may come as often as a partner likes.
        entries: if message.carried.is_empty() { Vec::new() } else { evidence::entries(message) },
        receipt: Some(receipt.clone()),
        withdrew: Vec::new(),
    };

    let mut txn = node.holdings.begin();
    let stands = rules.stand_in(&txn)? && Arc::ptr_eq(rules, &node.rules());
    if !stands || feeds::in_row_in(&txn, feed)? != state {
        return Ok(None);
    }
    let mut taken = Taken { length: run.end().length, ..Taken::default() };
    let reverse = feeds::outgoing(node, feed.sender, feed.agreement).id();
    let refuse = |txn: &mut Txn<'_>, number: u64| -> Result<(), ReceiveError> {
        let row = encode("pending", &Pending::Refusal { code: REFUSED, number })?;
        txn.push(Partition::Own, Table::Pending, reverse.as_bytes(), &row)?;
        Ok(())
    };
    let mut facets = Facets::default();
    let (mut others, mut receivers) = (BTreeSet::new(), None);
    // By reason: a line of the log for each entry would be the partner's to fill.
    let mut refused: BTreeMap<&str, u64> = BTreeMap::new();
    for (number, decided) in decided {
        match decided {
            Decided::Keep(release, ..) if !amends_its_own(&txn, partition, &release.record)? => {
                refuse(&mut txn, number)?;
                *refused.entry("amends-another-line").or_default() += 1;
            }
            Decided::Keep(release, acceptance, row) => {
                match keep_one(&mut txn, &mut facets, feed, release, &acceptance, &row)? {
                    None => {
                        taken.records += 1;
                        let header = release.record.header();
                        grants::arrived(&mut txn, &rules.grants, header, release.record.id())?;
                        others.extend(row.onward.map(|_| header.originator));
                    }
                    Some(reason) => {
                        refuse(&mut txn, number)?;
                        *refused.entry(reason).or_default() += 1;
                    }
                }
            }
            Decided::Refuse(reason) => {
                refuse(&mut txn, number)?;
                *refused.entry(reason).or_default() += 1;
            }
            Decided::Refused => *refused.entry("of ours").or_default() += 1,
            // Said again, which a partner may do as often as it likes: nothing is written.
            Decided::Withdraw(record) if txn.get(partition, Table::Withdrawn, record.as_bytes())?.is_some() => {}
            Decided::Withdraw(record) if released_by(&txn, partition, feed.sender, record)? => {
                let withdrawal =
                    encode("withdrawal", &WithdrawnRow { at: now, by: None, feed: Some(feed.id()), number })?;
                txn.put(partition, Table::Withdrawn, record.as_bytes(), &withdrawal)?;
                holding::reconsider(node, &mut txn, record, &mut receivers)?;
                row.withdrew.push((number, record));
            }
            // Of another party's record, or of one that is not held: there is nothing to undo.
            Decided::Withdraw(record) => {
                tracing::debug!(partner = %feed.sender, entry = number, record = %record.short(), "a withdrawal of nothing");
            }
            Decided::Nothing => {}
        }
    }
    let ours = refused.remove("of ours").unwrap_or_default();
    taken.refused = refused.values().sum();
    if ours > 0 {
        tracing::warn!(partner = %feed.sender, entries = ours, "entries of ours were refused");
    }
    if taken.refused > 0 {
        tracing::warn!(partner = %feed.sender, entries = taken.refused, reasons = ?refused, "entries were refused");
    }
    let withdrawn = row.withdrew.len() as u64 * room::WITHDRAWAL_BYTES;
    let row = encode("run", &row)?;
    let carried: usize = message.carried.iter().map(|carried| carried.3.len()).sum();
    room::fill(&mut txn, feed.sender, (row.len() + carried) as u64 + withdrawn + room::BESIDES_BYTES)?;
    facets.write(&mut txn, partition).map_err(ShareError::from)?;
    txn.push(partition, Table::RunIn, feed.id().as_bytes(), &row)?;
    let end = run.end();
    (state.runs, state.length, state.digest) = (state.runs + 1, end.length, end.digest);
    state.at = state.at.max(Some(came.said.min(now)));
    state.receipt = Some(receipt.clone());
    retention::note_store(&mut txn, feed)?;
    feeds::put_in(&mut txn, feed, &state)?;
    let about = [
        ("agreement", feed.agreement.to_string()),
        ("partner", feed.sender.to_string()),
        ("entries", run.count.to_string()),
        ("run", hex::encode(run.root.as_bytes())),
    ];
    stated(node, &mut txn, feed.sender, run.time)?;
    node.journal(&mut txn, "run-received", &about)?;
    let which = (feed, &message.run, !message.carried.is_empty());
    let noted = owed::note(node, &mut txn, which, (run.time, now, came.by_hand)).map_err(ShareError::from)?;
    if matches!(noted, owed::Noted::Waits) {
        let why = "it sends runs that its log cannot hold, or more than are waited for: they wait at the partner";
        node.note_error(feed.sender, why.to_owned());
        return Ok(Some(Taken { waits: true, ..Taken::default() }));
    }
    quarantine::end(node, &mut txn, feed.agreement, feed.sender, "a run that holds came in its place")?;
    let new = shown.keep(node, &mut txn, feed.sender, |org| others.contains(&org))?;
    // The commit point: only now is the run held, and only now does the receipt leave this function.
    txn.commit()?;
    owed::took(node, feed, noted).map_err(ShareError::from)?;
    receivers.into_iter().for_each(|receivers| node.hold_back(receivers));
    if new {
        node.reload().map_err(|fault| ShareError::Rules(fault.message))?;
    }
    taken.receipt = Some(receipt);
    Ok(Some(taken))
}

/// The batch proofs, each with the records that it covers. A refused record stays in the proof: it is over all of them.
fn proofs(message: &RunMessage, verified: &VerifiedRun) -> Vec<ProofRow> {
    let mut proofs: Vec<ProofRow> = message
        .attestations
        .iter()
        .map(|attestation| ProofRow { records: Vec::new(), attestation: attestation.clone() })
        .collect();
    for (_, entry) in verified.entries() {
        let (place, position, record) = match entry {
            VerifiedEntry::Release(release) => (release.attestation, release.position, release.record.id()),
            // A proof that does not count stands for nothing, also where the record came with another one.
            VerifiedEntry::Unproved { record, attestation, position, .. }
                if verified.heads().get(*attestation).is_some_and(Option::is_some) =>
            {
                (*attestation, *position, *record)
            }
            _ => continue,
        };
        if let Some(proof) = proofs.get_mut(place) {
            proof.records.push((u32::from(position), record));
        }
    }
    for proof in &mut proofs {
        proof.records.sort_unstable();
        proof.records.dedup();
    }
    proofs
}

/// Whether a record is held that this organisation gave us: nobody else withdraws it.
fn released_by(txn: &Txn<'_>, partition: Partition, org: OrgId, record: RecordId) -> Result<bool, ReceiveError> {
    let Some(place) = txn.first(partition, index::ID, record.as_bytes())? else { return Ok(false) };
    let row = txn.item(partition, Table::Received, b"", place)?.ok_or(StoreError::Broken { at: place })?;
    let row: ReceivedRow = decode("received record", &row)?;
    Ok(row.giver() == Some(org))
}

/// Whether what a record says that it amends, where we hold that, is of its own line, kind and originator (REC-9).
fn amends_its_own(txn: &Txn<'_>, partition: Partition, record: &Verified) -> Result<bool, ReceiveError> {
    let supersedes = record.header().kind.slot("supersedes").and_then(|slot| record.value(slot.number));
    let Some(earlier) = supersedes.and_then(Value::as_bytes) else { return Ok(true) };
    let Some(place) = txn.first(partition, index::ID, earlier)? else { return Ok(true) };
    let row = txn.item(partition, Table::Received, b"", place)?.ok_or(StoreError::Broken { at: place })?;
    let row: ReceivedRow = decode("received record", &row)?;
    Ok(Body::from_bytes(&row.body).is_ok_and(|earlier| record.header().may_amend(earlier.header())))
}

/// Notes the time that a partner signed. One too far ahead of our clock counts for nothing, and people are told.
fn stated(node: &Node, txn: &mut Txn<'_>, partner: OrgId, at: UnixMillis) -> Result<(), ReceiveError> {
    match node.marks.confirm(txn, partner, at, node.clock.now()) {
        Ok(Stated::Taken) => {}
        Ok(Stated::TooFarAhead) => {
            node.note_error(partner, format!("the partner signed the time {at}, which is too far ahead to count"));
        }
        Err(MarkError::Damage(error)) => return Err(error.into()),
        Err(MarkError::Store(error)) => return Err(error.into()),
        // Only lowering refuses.
        Err(MarkError::Confirmed { .. } | MarkError::NotLower { .. }) => {}
    }
    Ok(())
}

/// What is the same for every record of a run.
struct Arrival<'a> {
    feed: &'a FeedKey,
    at: UnixMillis,
    /// The run's place in the list of runs.
    run: u64,
}

fn received_row(arrival: &Arrival<'_>, release: &VerifiedRelease, number: u64) -> ReceivedRow {
    let record = &release.record;
    ReceivedRow {
        first: None,
        at: arrival.at,
        body: record.body().bytes().to_vec(),
        feed: arrival.feed.id(),
        nodes: record.nodes().to_vec(),
        clause: release.clause,
        number,
        onward: release.grant.as_ref().filter(|_| record.header().originator != arrival.feed.sender).map(
            |(id, grant)| OnwardRow {
                by: arrival.feed.sender,
                days: grant.scope.retention_days,
                given: grant.time,
                grant: *id,
                since: arrival.at,
                until: grant.scope.until,
            },
        ),
        openings: record
            .slots()
            .iter()
            .map(|s| {
                let opening = &s.opening;
                (opening.slot, ByteBuf::from(opening.salt.to_vec()), ByteBuf::from(opening.value.clone()))
            })
            .collect(),
        run: arrival.run,
    }
}

/// Keeps one record, or says why not: what was taken back for good does not come again, nor does what a newer grant of its
/// giver let go. Only what policy accepted gets here.
fn keep_one(
    txn: &mut Txn<'_>,
    facets: &mut Facets,
    feed: &FeedKey,
    release: &VerifiedRelease,
    acceptance: &Acceptance,
    row: &ReceivedRow,
) -> Result<Option<&'static str>, ReceiveError> {
    let partition = Partition::Agreement(acceptance.agreement());
    let record = &release.record;
    let (id, kind) = (acceptance.record(), record.header().kind);
    let before: Option<(u64, ReceivedRow)> = match txn.first(partition, index::ID, id.as_bytes())? {
        Some(place) => {
            let row = txn.item(partition, Table::Received, b"", place)?;
            Some((place, decode("received record", &row.ok_or(StoreError::Broken { at: place })?)?))
        }
        None => None,
    };
    // What its originator gives itself is not put in the shade by what another passes on.
    if row.onward.is_some() && before.as_ref().is_some_and(|(_, known)| known.onward.is_none()) {
        // Nor is what its originator took back given again by another's hand.
        return Ok(txn.get(partition, Table::Withdrawn, id.as_bytes())?.map(|_| RECALLED));
    }
    // Only what is held was ever withdrawn.
    let withdrawn = if before.is_some() { txn.get(partition, Table::Withdrawn, id.as_bytes())? } else { None };
    let back = withdrawn.is_some();
    let mut kept = row.clone();
    // Whoever gives it again does not make it younger: what a stolen key may have signed is told by this.
    kept.first = before.as_ref().map(|(_, before)| before.brought_first());
    let known = before.as_ref().and_then(|(_, before)| before.onward);
    if let (Some(onward), Some(known)) = (&mut kept.onward, known) {
        if onward.by == known.by && onward.given < known.given {
            return Ok(Some("older-grant"));
        }
        // Given again by no newer grant, it is kept no longer for it: several in turn do not outlast each.
        if onward.given <= known.given {
            (onward.since, onward.given) = (known.since, known.given);
        }
    }
    let row = &kept;
    if let Some(withdrawal) = withdrawn {
        let by = decode::<WithdrawnRow>("withdrawal", &withdrawal)?.by;
        let same = row.onward.is_some_and(|onward| known.is_some_and(|known| known.grant == onward.grant));
        let over = by == Some(TakenBack::Expired)
            && (same || row.onward.is_some_and(|onward| granted::over_at(&onward) <= row.at));
        if over || matches!(by, Some(TakenBack::Recalled(_))) {
            return Ok(Some(RECALLED));
        }
        txn.delete(partition, Table::Withdrawn, id.as_bytes())?;
    }
    let bytes = encode("received record", row)?;
    if let Some((_, earlier)) = before.as_ref().filter(|(_, earlier)| !earlier.is_within(row)) {
        // What was countersigned stays proved, whatever its sender shows later.
        let earlier = encode("received record", earlier)?;
        txn.push(partition, Table::Earlier, id.as_bytes(), &earlier)?;
    }
    let place = match &before {
        Some((place, _)) => {
            txn.replace_item(partition, Table::Received, b"", *place, &bytes)?;
            *place
        }
        None => {
            let place = txn.push(partition, Table::Received, b"", &bytes)?;
            txn.index_once(partition, index::ID, id.as_bytes(), place)?;
            let line = index::line(record.header().originator, record.header().line);
            txn.index(partition, index::LINE, &line, place)?;
            facets.kind(kind, place);
            place
        }
    };
    granted::note(txn, partition, id, row)?;
    let known = |slot: u8| before.as_ref().is_some_and(|(_, b)| b.openings.iter().any(|(s, _, _)| *s == slot));
    for slot in record.slots() {
        let (is_known, Some(known_slot)) = (known(slot.opening.slot), kind.slot_number(slot.opening.slot)) else {
            continue;
        };
        if !is_known {
            for term in index::terms(kind, known_slot, &slot.value) {
                facets.term(txn, partition, term, place)?;
            }
        }
        // The wish may have gone with the withdrawal, and comes back with the record.
        if matches!(known_slot.shape, Shape::Content) && (back || !is_known) {
            let wanted = WantedFile { feed: *feed, number: row.number, record: id };
            wishes::add(txn, partition, &wanted).map_err(ShareError::from)?;
        }
    }
    Ok(None)
}

/// Whether a received record was withdrawn.
pub fn withdrawn(
    node: &Node,
    agreement: AgreementId,
    record: RecordId,
) -> Result<Option<WithdrawnRow>, keep::KeepError> {
    let row = node.holdings.get(Partition::Agreement(agreement), Table::Withdrawn, record.as_bytes())?;
    row.map(|row| Ok(decode("withdrawal", &row)?)).transpose()
}
