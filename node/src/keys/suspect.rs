//! Suspect: what a records key signed that is in other hands since a time, and that nothing shows to be older.
//!
//! The newest card of the originator says since when. A record is cleared by a proof from before that time, or by its
//! originator attesting it anew under another key; nothing else clears it, whatever time its batch states. Of our own
//! records the store tells when they were kept: whoever has only the key can put nothing into it. Partners have no such
//! store, so what went to one that did not countersign it before that time is suspect here too, as it is there.

use super::went::{Stolen, Went, went};
use crate::{
    node::Node,
    receive::RunInRow,
    records::{
        keep::{self, KeepError},
        stored::{BatchRow, ReceivedRow, decode},
    },
    seal::keyring::Partition,
    store::layout::Table,
};
use entente_protocol::{
    batch::danger_unverified_head,
    id::{AgreementId, KeyId, RecordId},
    identity::{Card, Purpose},
    record::Body,
    time::UnixMillis,
};
use std::sync::Arc;

/// Since when a records key of a card is in other hands.
fn since(card: &Card, key: KeyId) -> Option<UnixMillis> {
    card.listed(Purpose::Records, key)?.compromised
}

/// Whether there is anything to look for: mostly there is not.
fn is_clean(card: &Card) -> bool {
    card.keys(Purpose::Records).all(|entry| entry.compromised.is_none())
}

/// What went under keys of ours that are in other hands.
fn of_stolen(node: &Node) -> Result<Arc<Went>, KeepError> {
    node.batches.went(|| {
        let keys = node.keys.card.keys(Purpose::Records);
        went(node, &keys.filter_map(|entry| Some((entry.key.id(), entry.compromised?))).collect())
    })
}

/// Finds out what went under keys that are in other hands, where that is not known: every run may have to be read, and no
/// writer is to wait for it.
pub fn prepare(node: &Node) -> Result<(), KeepError> {
    if is_clean(&node.keys.card) { Ok(()) } else { of_stolen(node).map(drop) }
}

/// Whether something shows that a received record existed before a time: the run that brought it first was countersigned
/// here when it became durable, by our clock.
pub fn covered_before(
    node: &Node,
    agreement: AgreementId,
    (id, row): (RecordId, &ReceivedRow),
    time: UnixMillis,
) -> Result<bool, KeepError> {
    if row.here_since() < time {
        return Ok(true);
    }
    // What was shown of it first, before a later run showed more.
    let first = node.holdings.list(Partition::Agreement(agreement), Table::Earlier, id.as_bytes(), None, 1)?;
    match first.first() {
        Some((_, bytes)) => Ok(decode::<ReceivedRow>("received record", bytes)?.here_since() < time),
        None => Ok(false),
    }
}

/// Since when the key is in other hands that attested a received record, where it is suspect.
pub fn received(node: &Node, agreement: AgreementId, row: &ReceivedRow) -> Result<Option<UnixMillis>, KeepError> {
    let Ok(body) = Body::from_bytes(&row.body) else { return Ok(None) };
    let (book, id, originator) = (node.book(), body.id(), body.header().originator);
    let card = if originator == node.keys.org { Some(&*node.keys.card) } else { book.card(originator) };
    let Some(card) = card.filter(|card| !is_clean(card)) else { return Ok(None) };
    let run = node.holdings.item(Partition::Agreement(agreement), Table::RunIn, row.feed.as_bytes(), row.run)?;
    let Some(run) = run else { return Ok(None) };
    let run: RunInRow = decode("run", &run)?;
    let proof = run.proofs.iter().find(|proof| proof.records.iter().any(|(_, record)| *record == id));
    let Some(time) = proof.and_then(|proof| since(card, proof.attestation.key().ok()?)) else { return Ok(None) };
    Ok(if covered_before(node, agreement, (id, row), time)? { None } else { Some(time) })
}

/// The same of a batch of ours.
pub fn own(node: &Node, batch: u64) -> Result<Option<UnixMillis>, KeepError> {
    if is_clean(&node.keys.card) {
        return Ok(None);
    }
    node.batches.suspect(batch, || of_batch(node, (batch, &keep::batch_row(node, batch)?)))
}

/// The same of a batch's row: by any head of it that partners may have.
pub fn of_batch(node: &Node, (place, row): (u64, &BatchRow)) -> Result<Option<UnixMillis>, KeepError> {
    let mut earliest: Option<UnixMillis> = None;
    if is_clean(&node.keys.card) {
        return Ok(earliest);
    }
    let went = of_stolen(node)?;
    for head in row.heads() {
        let read = danger_unverified_head(head).map_err(|_| crate::store::StoreError::Broken { at: row.first });
        let (key, stated) = read?;
        let found = since(&node.keys.card, key).filter(|since| stated >= *since || went.contains(&(place, key)));
        earliest = earliest.into_iter().chain(found).min();
    }
    Ok(earliest)
}

/// Whether a batch has a head by a key from a time on.
fn signed_since(row: &BatchRow, (key, since): (KeyId, UnixMillis)) -> bool {
    row.heads().any(|head| danger_unverified_head(head).is_ok_and(|(by, stated)| by == key && stated >= since))
}

/// Batches of ours that a person had attested anew, and of which partners are still to get the proof.
pub fn unfinished(node: &Node) -> Result<Vec<u64>, KeepError> {
    let mut places = Vec::new();
    if is_clean(&node.keys.card) {
        return Ok(places);
    }
    for place in 0..node.holdings.count(Partition::Own, Table::Batch, b"")? {
        if keep::batch_row(node, place)?.due {
            places.push(place);
        }
    }
    Ok(places)
}

/// Batches of ours that are suspect, or would be if a key were in other hands since a time: their places, and how many
/// records stand in them.
pub fn batches(node: &Node, supposed: Option<(KeyId, UnixMillis)>) -> Result<(Vec<u64>, u64), KeepError> {
    let (mut places, mut records) = (Vec::new(), 0);
    if supposed.is_none() && is_clean(&node.keys.card) {
        return Ok((places, records));
    }
    let by = went(node, &Stolen::from_iter(supposed))?;
    for place in 0..node.holdings.count(Partition::Own, Table::Batch, b"")? {
        let row = keep::batch_row(node, place)?;
        let would = supposed.is_some_and(|of| signed_since(&row, of) || by.contains(&(place, of.0)));
        if would || of_batch(node, (place, &row))?.is_some() {
            places.push(place);
            records += row.records.len() as u64;
        }
    }
    Ok((places, records))
}

/// How many of our records are suspect because of one key.
pub fn by_own(node: &Node, key: KeyId) -> Result<u64, KeepError> {
    let Some(since) = since(&node.keys.card, key) else { return Ok(0) };
    let (mut records, places) = (0, node.holdings.count(Partition::Own, Table::Batch, b"")?);
    let went = of_stolen(node)?;
    for place in 0..places {
        let row = keep::batch_row(node, place)?;
        if signed_since(&row, (key, since)) || went.contains(&(place, key)) {
            records += row.records.len() as u64;
        }
    }
    Ok(records)
}
