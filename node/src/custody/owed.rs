//! What partners owe: for each run that they sent, proof that their own log holds it (OWE-1 on).
//!
//! A run is noted in the append in which it is taken. While a proof is overdue, refused, or shows something else at the
//! run's place, no further run of that store is taken; people are told.

use super::{
    CustodyError,
    rows::{self, UnloggedRow},
    witness,
};
use crate::{
    node::Node,
    records::stored::{decode, encode},
    seal::keyring::Partition,
    store::{holdings::Holdings, layout::Table, txn::Txn},
};
use entente_protocol::{
    cose::SignatureBytes,
    custody::{
        checkpoint::{Checkpoint, Origin},
        interval::Standing,
        message::{ProofsMessage, UnprovedMessage},
        owed::Owed,
        proof::{UnloggedRun, logged_run},
        witness::Watch,
    },
    feed::FeedKey,
    id::{LoggedDigest, OrgId, StoreId},
    limits,
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;

/// Where an owed proof stands, as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It has not come.
    Awaited,
    /// The partner says that it will not come.
    Refused,
    /// Something else stands at its place.
    Unlogged,
    /// The partner's log began anew: it cannot come any more, which withholds nothing.
    Lost,
}

/// A run whose place in its sender's log is not proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwedRow {
    /// The time that it states.
    pub at: UnixMillis,
    /// When it came.
    pub got: UnixMillis,
    /// Which.
    pub run: LoggedDigest,
    /// Its feed.
    pub feed: FeedKey,
    /// Whether it came in a bundle.
    pub hand: bool,
    /// Where its proof stands.
    pub state: State,
    /// As it was signed: without it nobody could be shown that it was kept out.
    pub signed: SignatureBytes,
}

/// What one partner's store owes, in memory.
pub struct Book {
    /// By run: the place of its row, and the row.
    rows: BTreeMap<LoggedDigest, (u64, OwedRow)>,
    /// What follows from them under the log that was seen; none while none was.
    owed: Option<Owed>,
}

/// The list of what a partner's store owes.
pub fn scope(org: OrgId, store: StoreId) -> Vec<u8> {
    [org.as_bytes().as_slice(), store.as_bytes()].concat()
}

/// How long a partner's store may send without any head of its log.
const UNSEEN_MS: u64 = 2 * super::INTERVAL_S * 1_000;

/// Stores that are remembered at once.
const BOOKS_MAX: usize = 1_024;

/// What became of a run that is to be taken.
#[derive(Debug)]
pub enum Noted {
    /// Its proof is owed.
    Owed(u64, Box<OwedRow>),
    /// It is taken, and no proof is waited for.
    Free,
    /// It is not taken.
    Waits,
}

impl Book {
    fn load(node: &Node, org: OrgId, store: StoreId) -> Result<Self, CustodyError> {
        let mut rows = BTreeMap::new();
        let (scope, mut after) = (scope(org, store), None);
        loop {
            let page = node.holdings.list(Partition::Node, Table::Owed, &scope, after, 1_024)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (n, row) in page {
                let row: OwedRow = decode("owed proof", &row)?;
                // What is lost withholds nothing and is waited for no more.
                if row.state != State::Lost {
                    rows.insert(row.run, (n, row));
                }
            }
        }
        let origin = match witness::watch(node, org, store)? {
            Watch::Seen(seen) => Some(*seen.origin()),
            _ => None,
        };
        let mut book = Self { rows, owed: origin.map(Owed::new) };
        let rows: Vec<OwedRow> = book.rows.values().map(|(_, row)| row.clone()).collect();
        for row in &rows {
            book.follow(row);
        }
        Ok(book)
    }

    /// Takes a row in. Whether the log that was seen can hold it.
    fn follow(&mut self, row: &OwedRow) -> bool {
        let Some(owed) = &mut self.owed else { return true };
        if row.state == State::Lost {
            return true;
        }
        let taken = owed.take(row.run, row.at, row.got, row.hand).is_ok();
        if taken && row.state == State::Refused {
            owed.handle_refusal(row.run);
        }
        taken
    }

    /// Why no further run of this store is taken, if so.
    fn withheld(&self, now: UnixMillis) -> Option<String> {
        let unlogged = self.rows.values().filter(|(_, row)| row.state == State::Unlogged).count();
        if unlogged > 0 {
            return Some(format!("{unlogged} runs that it sent are not in its log, which its own proof shows"));
        }
        if let Some(owed) = &self.owed {
            return owed.permit(now).err().map(|withheld| withheld.to_string());
        }
        let late = |row: &OwedRow| !row.hand && row.state < State::Lost && row.got.plus(UNSEEN_MS) <= now;
        let late = self.rows.values().filter(|(_, row)| late(row)).count();
        (late > 0).then(|| format!("it has shown no head of its log, and {late} runs that it sent are not proved"))
    }
}

fn with_book<T>(
    node: &Node,
    org: OrgId,
    store: StoreId,
    then: impl FnOnce(&mut Book) -> Result<T, CustodyError>,
) -> Result<T, CustodyError> {
    let mut books = super::locked(&node.log.owed);
    // A partner may name as many stores as it likes; all of this can be read again.
    if books.len() >= BOOKS_MAX && !books.contains_key(&(org, store)) {
        books.clear();
    }
    let book = match books.entry((org, store)) {
        std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
        std::collections::btree_map::Entry::Vacant(entry) => entry.insert(Book::load(node, org, store)?),
    };
    then(book)
}

/// Forgets what is in memory: it is read again.
pub fn reload(node: &Node, org: OrgId, store: StoreId) {
    super::locked(&node.log.owed).remove(&(org, store));
}

/// Why no further run of a partner's store is taken now, if so.
pub fn withheld(node: &Node, org: OrgId, store: StoreId) -> Result<Option<String>, CustodyError> {
    let now = node.clock.now();
    with_book(node, org, store, |book| Ok(book.withheld(now)))
}

/// Whether as many proofs are waited for as are kept: no further run that carries a record is taken (OWE-2).
pub fn is_full(node: &Node, org: OrgId, store: StoreId) -> Result<bool, CustodyError> {
    with_book(node, org, store, |book| Ok(book.rows.len() >= limits::OWED_RUNS_MAX))
}

/// Notes a run in the append in which it is taken. What withdraws alone (`carries` is false) is taken whatever is owed.
/// The caller calls [`took`] when the append is durable.
pub fn note(
    node: &Node,
    txn: &mut Txn<'_>,
    (feed, run, carries): (&FeedKey, &SignatureBytes, bool),
    (at, got, hand): (UnixMillis, UnixMillis, bool),
) -> Result<Noted, CustodyError> {
    let digest = logged_run(run).map_err(|_| CustodyError::Broken("a run that was taken does not read"))?;
    let (full, state) = with_book(node, feed.sender, feed.store, |book| {
        let origin = book.owed.as_ref().map(|owed| *owed.origin());
        let state = match origin {
            Some(_) if at > got.plus(limits::CLOCK_SKEW_MS_MAX) => None,
            // Signed under an epoch that ended since: nobody can prove it any more, nor sign it again.
            Some(origin) if origin.leaf_at(at).is_none() => (origin.epoch() > 0).then_some(State::Lost),
            _ => Some(State::Awaited),
        };
        Ok((book.rows.len() >= limits::OWED_RUNS_MAX, state))
    })?;
    let kept = rows::know(txn, feed.sender, feed.store)?;
    let state = match state {
        Some(state) if kept && (!full || state == State::Lost) => state,
        _ => return Ok(if carries { Noted::Waits } else { Noted::Free }),
    };
    if state == State::Lost {
        let why = "a run that it signed before its log began anew came: that it was logged cannot be proved any more";
        node.note_error(feed.sender, why.to_owned());
    }
    let row = OwedRow { at, got, run: digest, feed: *feed, hand, state, signed: run.clone() };
    let n = txn.push(Partition::Node, Table::Owed, &scope(feed.sender, feed.store), &encode("owed proof", &row)?)?;
    Ok(Noted::Owed(n, Box::new(row)))
}

/// A run that was noted is kept.
pub fn took(node: &Node, feed: &FeedKey, noted: Noted) -> Result<(), CustodyError> {
    let Noted::Owed(n, row) = noted else { return Ok(()) };
    if row.state == State::Lost {
        return Ok(());
    }
    with_book(node, feed.sender, feed.store, |book| {
        book.follow(&row);
        book.rows.insert(row.run, (n, *row));
        Ok(())
    })
}

/// Runs of a partner's store that wait for their proofs, rising, after one of them.
pub fn waiting(
    node: &Node,
    org: OrgId,
    store: StoreId,
    after: Option<LoggedDigest>,
    limit: usize,
) -> Result<Vec<LoggedDigest>, CustodyError> {
    with_book(node, org, store, |book| {
        let rest = book
            .rows
            .iter()
            .filter(|(run, (_, row))| after.is_none_or(|after| **run > after) && row.state < State::Unlogged);
        Ok(rest.map(|(run, _)| *run).take(limit).collect())
    })
}

/// Takes proofs of a partner under the head of its log that we accepted last.
pub fn hear_proofs(node: &Node, org: OrgId, store: StoreId, message: &ProofsMessage) -> Result<(), CustodyError> {
    let Watch::Seen(head) = witness::watch(node, org, store)? else { return Ok(()) };
    if head.digest() != message.checkpoint {
        // Of a head that is not the last one any more: they come again for that.
        return Ok(());
    }
    let (mut proved, mut unlogged) = (Vec::new(), Vec::new());
    with_book(node, org, store, |book| {
        let Some(owed) = &mut book.owed else { return Ok(()) };
        for one in &message.proofs {
            match owed.handle_proof(one.run, &one.proof, &head) {
                Ok(Some(Standing::Logged)) => proved.push(one.run),
                Ok(Some(Standing::Unlogged)) => unlogged.push((one.run, one.proof.clone())),
                Ok(None) => {}
                Err(fault) => {
                    tracing::warn!(partner = %org.short(), %fault, "a proof of its log does not hold");
                    node.note_error(org, format!("a proof that a run is in its log does not hold: {fault}"));
                }
            }
        }
        Ok(())
    })?;
    if proved.is_empty() && unlogged.is_empty() {
        return Ok(());
    }
    let mut txn = node.holdings.begin();
    let places: Vec<(u64, OwedRow)> = with_book(node, org, store, |book| {
        Ok(proved
            .iter()
            .chain(unlogged.iter().map(|(run, _)| run))
            .filter_map(|run| book.rows.get(run).cloned())
            .collect())
    })?;
    for (n, row) in &places {
        match unlogged.iter().find(|(run, _)| *run == row.run) {
            None => txn.remove_item(Partition::Node, Table::Owed, &scope(org, store), *n)?,
            Some((_, proof)) => {
                let row = OwedRow { state: State::Unlogged, ..row.clone() };
                txn.replace_item(Partition::Node, Table::Owed, &scope(org, store), *n, &encode("owed proof", &row)?)?;
                let evidence = UnloggedRun::new(row.signed.clone(), row.feed, proof.clone(), &head)?.to_bytes();
                let evidence = evidence.map_err(|_| CustodyError::Broken("evidence of an unlogged run is too long"))?;
                let kept = UnloggedRow { at: node.clock.now(), org, proof: ByteBuf::from(evidence) };
                txn.push(Partition::Node, Table::Log, rows::UNLOGGED, &kept.write()?)?;
                let about = [("partner", org.to_string()), ("run", row.run.to_string())];
                node.journal(&mut txn, "run-unlogged", &about)?;
            }
        }
    }
    txn.commit()?;
    with_book(node, org, store, |book| {
        for (_, row) in &places {
            if unlogged.iter().any(|(run, _)| *run == row.run) {
                if let Some((_, kept)) = book.rows.get_mut(&row.run) {
                    kept.state = State::Unlogged;
                }
            } else {
                book.rows.remove(&row.run);
            }
        }
        Ok(())
    })?;
    if !unlogged.is_empty() {
        tracing::error!(partner = %org, runs = unlogged.len(), "the partner sent runs that it kept out of its log");
        let why = "it sent runs that it kept out of its log, which its own proof shows: the evidence is kept (`entente log show`)";
        node.note_error(org, why.to_owned());
    }
    Ok(())
}

/// A partner says that it will not prove runs.
pub fn hear_unproved(node: &Node, org: OrgId, message: &UnprovedMessage) -> Result<(), CustodyError> {
    let store = message.store;
    let refused: Vec<(u64, OwedRow)> = with_book(node, org, store, |book| {
        let known = |run: &LoggedDigest| book.rows.get(run).filter(|(_, row)| row.state == State::Awaited).cloned();
        Ok(message.runs.iter().filter_map(known).collect())
    })?;
    if refused.is_empty() {
        return Ok(());
    }
    let mut txn = node.holdings.begin();
    for (n, row) in &refused {
        let row = OwedRow { state: State::Refused, ..row.clone() };
        txn.replace_item(Partition::Node, Table::Owed, &scope(org, store), *n, &encode("owed proof", &row)?)?;
    }
    let about = [("partner", org.to_string()), ("runs", refused.len().to_string())];
    node.journal(&mut txn, "proof-refused", &about)?;
    txn.commit()?;
    with_book(node, org, store, |book| {
        for (_, row) in &refused {
            if let Some((_, kept)) = book.rows.get_mut(&row.run) {
                kept.state = State::Refused;
            }
            if let Some(owed) = &mut book.owed {
                owed.handle_refusal(row.run);
            }
        }
        Ok(())
    })?;
    node.note_error(
        org,
        format!("it will not prove that {} runs are in its log: nothing more of it is taken", refused.len()),
    );
    Ok(())
}

/// A log was seen for the first time, or began anew: what it cannot hold is lost, and withholds nothing more.
pub fn begin_anew(node: &Node, org: OrgId, origin: Origin) -> Result<(), CustodyError> {
    lose(node, (org, origin.store()), |row| row.state == State::Awaited && origin.leaf_at(row.at).is_none())?;
    Ok(())
}

/// People have decided to go on: what was refused or kept out is lost. The evidence stays. How many there were.
pub fn forgive(node: &Node, org: OrgId, store: StoreId) -> Result<u64, CustodyError> {
    lose(node, (org, store), |row| matches!(row.state, State::Refused | State::Unlogged))
}

/// Waits for some proofs no more.
fn lose(node: &Node, (org, store): (OrgId, StoreId), is_lost: impl Fn(&OwedRow) -> bool) -> Result<u64, CustodyError> {
    let mut txn = node.holdings.begin();
    let mut lost = 0;
    for (n, row) in owed_rows(&node.holdings, org, store)?.into_iter().filter(|(_, row)| is_lost(row)) {
        let row = OwedRow { state: State::Lost, ..row };
        txn.replace_item(Partition::Node, Table::Owed, &scope(org, store), n, &encode("owed proof", &row)?)?;
        lost += 1;
    }
    if lost > 0 {
        node.journal(&mut txn, "proof-lost", &[("partner", org.to_string()), ("runs", lost.to_string())])?;
    }
    txn.commit()?;
    reload(node, org, store);
    Ok(lost)
}

/// Everything that a partner's store owes, as it is kept.
pub fn owed_rows(holdings: &Holdings, org: OrgId, store: StoreId) -> Result<Vec<(u64, OwedRow)>, CustodyError> {
    let (scope, mut after, mut all) = (scope(org, store), None, Vec::new());
    loop {
        let page = holdings.list(Partition::Node, Table::Owed, &scope, after, 1_024)?;
        let Some((last, _)) = page.last() else { return Ok(all) };
        after = Some(*last);
        for (n, row) in page {
            all.push((n, decode("owed proof", &row)?));
        }
    }
}

/// The head that proofs must be under now, if one was accepted.
pub fn head_of(node: &Node, org: OrgId, store: StoreId) -> Result<Option<Checkpoint>, CustodyError> {
    Ok(match witness::watch(node, org, store)? {
        Watch::Seen(head) => Some(head),
        _ => None,
    })
}
