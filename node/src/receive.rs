//! Receiving: verified runs are accepted record by record, sealed, appended, then countersigned.
//!
//! A run is taken whole: one append carries its records, index rows, proofs, cursor and journal event.
//! The receipt exists only after that append returned. A record that policy refuses is left out, and
//! the refusal goes back as an entry of our own feed; the rest of the run is unharmed.

use crate::{
    clock::mark::{MarkError, Stated},
    node::Node,
    records::{
        index::{self, Facets},
        keep,
        stored::{ProofRow, ReceivedRow, decode, encode},
    },
    seal::keyring::Partition,
    share::{
        ShareError,
        feeds::{self, Pending},
    },
    store::{StoreError, layout::Table, txn::Txn},
};
use entente_protocol::{
    cose::SignatureBytes,
    feed::{
        FeedKey, Held, REFUSED, Receipt, ReceivedRun, Run, RunFault, RunMessage, VerifiedEntry, VerifiedRelease,
        VerifiedRun,
    },
    id::{AgreementId, OrgId, RecordId},
    identity::Purpose,
    record::{Body, Shape, Verified},
    time::UnixMillis,
    value::Value,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// A received run could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The partner's fault.
    #[error(transparent)]
    Run(#[from] RunFault),
    /// The partner signed two histories of one feed: both heads are kept, and people must look.
    #[error("the partner signed another history of a feed: both heads are kept in the journal")]
    Fork,
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
}

/// A withdrawal, as kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithdrawnRow {
    /// When it became durable here.
    pub at: UnixMillis,
    /// Number of the entry.
    pub number: u64,
}

/// A file that a release gave leave to fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedFile {
    /// The feed that gave leave.
    pub feed: FeedKey,
    /// The entry's number.
    pub number: u64,
    /// The attachment record.
    pub record: RecordId,
}

/// Scope of the list of files to fetch.
pub const WANTED: &[u8] = b"wanted";

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
}

/// Takes a run of a partner's feed.
pub fn run(node: &Node, feed: &FeedKey, message: &RunMessage) -> Result<Taken, ReceiveError> {
    let now = node.clock.now();
    let state = feeds::in_row(node, feed)?;
    let book = node.book();
    let sender = |kid| book.key(feed.sender, Purpose::Runs, kid, now);
    let originator = |org: OrgId, kid| match org == node.keys.org {
        true => node.keys.card.key(Purpose::Records, kid, now),
        false => book.key(org, Purpose::Records, kid, now),
    };
    let prior = feed.previous().map(|before| feeds::in_row(node, &before).map(|row| row.cursor())).transpose()?;
    let held = Held { feed: state.cursor(), prior };
    match message.verify(feed, held, sender, originator)? {
        // Known already: the receipt that we gave then is given again.
        ReceivedRun::Held(_) => Ok(Taken { receipt: state.receipt, length: state.length, ..Taken::default() }),
        ReceivedRun::Fork(run) => {
            let mut txn = node.holdings.begin();
            let about = [("partner", feed.sender.to_string()), ("theirs", hex::encode(run.root.as_bytes()))];
            node.journal(&mut txn, "fork", &about)?;
            txn.commit()?;
            Err(ReceiveError::Fork)
        }
        ReceivedRun::Next(verified) => take(node, feed, message, *verified, state),
    }
}

fn take(
    node: &Node,
    feed: &FeedKey,
    message: &RunMessage,
    verified: VerifiedRun,
    mut state: feeds::InRow,
) -> Result<Taken, ReceiveError> {
    let partition = Partition::Agreement(feed.agreement);
    let rules = node.rules();
    let (now, interval) = (node.clock.now(), node.interval());
    let run: Run = verified.run().clone();
    let mut taken = Taken { length: run.end().length, ..Taken::default() };
    let mut proofs: Vec<ProofRow> = message
        .attestations
        .iter()
        .map(|attestation| ProofRow { records: Vec::new(), attestation: attestation.clone() })
        .collect();
    let mut txn = node.holdings.begin();
    let reverse = feeds::outgoing(node, feed.sender, feed.agreement).id();
    let (mut facets, arrival) = (Facets::default(), Arrival { feed, at: now, run: state.runs });
    let refuse = |txn: &mut Txn<'_>, number: u64| -> Result<(), ReceiveError> {
        let row = encode("pending", &Pending::Refusal { code: REFUSED, number })?;
        txn.push(Partition::Own, Table::Pending, reverse.as_bytes(), &row)?;
        Ok(())
    };
    for (number, (_, entry)) in (run.before.length..).zip(verified.entries()) {
        match entry {
            VerifiedEntry::Release(release) => {
                if let Some(proof) = proofs.get_mut(release.attestation) {
                    // A refused record stays in the proof: the joint proof is over all of them.
                    proof.records.push((u32::from(release.position), release.record.id()));
                }
                if !amends_its_own(&txn, partition, &release.record)? {
                    taken.refused += 1;
                    tracing::warn!(partner = %feed.sender, entry = number, "refused: it amends another line");
                    refuse(&mut txn, number)?;
                    continue;
                }
                match rules.policy.accept(feed.sender, feed.agreement, &release.record, interval) {
                    Ok(acceptance) => {
                        debug_assert_eq!(acceptance.record(), release.record.id());
                        keep_one(&mut txn, &mut facets, &arrival, release, number)?;
                        taken.records += 1;
                    }
                    Err(reason) => {
                        taken.refused += 1;
                        tracing::warn!(partner = %feed.sender, entry = number, reason = reason.reason.code(), "refused");
                        refuse(&mut txn, number)?;
                    }
                }
            }
            VerifiedEntry::Withdrawal { record } => {
                let row = encode("withdrawal", &WithdrawnRow { at: now, number })?;
                txn.put(partition, Table::Withdrawn, record.as_bytes(), &row)?;
            }
            VerifiedEntry::Refusal { number } => {
                tracing::warn!(partner = %feed.sender, entry = number, "an entry of ours was refused");
            }
            VerifiedEntry::Closed => {}
        }
    }
    facets.write(&mut txn, partition).map_err(ShareError::from)?;
    for proof in &mut proofs {
        proof.records.sort_unstable();
        proof.records.dedup();
    }
    let row = RunInRow { run: message.run.clone(), proofs };
    txn.push(partition, Table::RunIn, feed.id().as_bytes(), &encode("run", &row)?)?;
    let receipt = Receipt::of(&run, now).sign(&node.keys.runs).map_err(ShareError::from)?;
    let end = run.end();
    (state.at, state.runs, state.length, state.digest) = (Some(now), state.runs + 1, end.length, end.digest);
    state.receipt = Some(receipt.clone());
    feeds::put_in(&mut txn, feed, &state)?;
    let about = [
        ("agreement", feed.agreement.to_string()),
        ("partner", feed.sender.to_string()),
        ("entries", run.count.to_string()),
        ("run", hex::encode(run.root.as_bytes())),
    ];
    node.journal(&mut txn, "run-received", &about)?;
    stated(node, &mut txn, feed.sender, run.time)?;
    // The commit point: only now is the run held, and only now does the receipt leave this function.
    txn.commit()?;
    taken.receipt = Some(receipt);
    Ok(taken)
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

/// What is the same for every record of a run.
struct Arrival<'a> {
    feed: &'a FeedKey,
    at: UnixMillis,
    /// The run's place in the list of runs.
    run: u64,
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

fn keep_one(
    txn: &mut Txn<'_>,
    facets: &mut Facets,
    arrival: &Arrival<'_>,
    release: &VerifiedRelease,
    number: u64,
) -> Result<(), ReceiveError> {
    let Arrival { feed, at, run } = *arrival;
    let partition = Partition::Agreement(feed.agreement);
    let record = &release.record;
    let (id, kind) = (record.id(), record.header().kind);
    let before: Option<(u64, ReceivedRow)> = match txn.first(partition, index::ID, id.as_bytes())? {
        Some(place) => {
            let row = txn.item(partition, Table::Received, b"", place)?;
            Some((place, decode("received record", &row.ok_or(StoreError::Broken { at: place })?)?))
        }
        None => None,
    };
    let row = ReceivedRow {
        at,
        body: record.body().bytes().to_vec(),
        feed: feed.id(),
        nodes: record.nodes().to_vec(),
        clause: release.clause,
        number,
        openings: record
            .slots()
            .iter()
            .map(|s| {
                let opening = &s.opening;
                (opening.slot, ByteBuf::from(opening.salt.to_vec()), ByteBuf::from(opening.value.clone()))
            })
            .collect(),
        run,
    };
    if txn.get(partition, Table::Withdrawn, id.as_bytes())?.is_some() {
        txn.delete(partition, Table::Withdrawn, id.as_bytes())?;
    }
    let bytes = encode("received record", &row)?;
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
    let known = |slot: u8| before.as_ref().is_some_and(|(_, b)| b.openings.iter().any(|(s, _, _)| *s == slot));
    for slot in record.slots().iter().filter(|s| !known(s.opening.slot)) {
        let Some(row) = kind.slot_number(slot.opening.slot) else { continue };
        for term in index::terms(kind, row, &slot.value) {
            facets.term(txn, partition, term, place)?;
        }
        if matches!(row.shape, Shape::Content) {
            let wanted = WantedFile { feed: *feed, number, record: id };
            txn.push(partition, Table::Wanted, WANTED, &encode("wanted file", &wanted)?)?;
        }
    }
    Ok(())
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

/// Takes a partner's countersignature of a run of ours.
pub fn receipt(node: &Node, feed: &FeedKey, signed: &SignatureBytes) -> Result<u64, ReceiveError> {
    let book = node.book();
    let now = node.clock.now();
    let receipt = Receipt::verify(signed, feed, |kid| book.key(feed.receiver, Purpose::Runs, kid, now))?;
    let zero = entente_protocol::id::AgreementDigest::from_bytes([0; 32]);
    let mut row = feeds::out_row(node, feed, zero)?;
    if feeds::digest_at(node, feed, &row, receipt.held.length)? != Some(receipt.held.digest) {
        return Err(ReceiveError::Fork);
    }
    if row.countersigned.is_none_or(|c| c.length < receipt.held.length) {
        row.countersigned = Some(receipt.held);
        row.at = Some(now);
        let mut txn = node.holdings.begin();
        txn.push(Partition::Own, Table::Receipt, feed.id().as_bytes(), &signed.0)?;
        stated(node, &mut txn, feed.receiver, receipt.time)?;
        feeds::put_out(&mut txn, feed, &row)?;
        txn.commit()?;
    }
    Ok(receipt.held.length)
}
