//! Revocation: a key that is not to be trusted any more, from now on or since a time; and attesting anew what it made suspect.
//!
//! Where the key is in use another takes its place in the same card; of one that has given way only the entry changes.
//! *Compromised since T* makes suspect what it signed and nothing shows to be older: here at once, at partners when they
//! have the card. A person who has looked at such records attests them anew: the same batch under the key of today, so that
//! ids and places stay, and partners get them again.

use super::{BY_ITSELF, Opened, current, following, publish, rotate::How, signed, suspect, told};
use crate::{
    call::{OnProgress, Progress},
    error::Fault,
    node::Node,
    records::{
        keep,
        stored::{BatchRow, ReleasedRow, decode, encode, record_in_feed},
    },
    seal::keyring::Partition,
    share::feeds::{self, Pending},
    store::{StoreError, layout::Table, txn::Txn},
};
use entente_protocol::{
    custody::proof::logged_batch,
    feed::FeedKey,
    identity::{CardKey, Purpose},
    text,
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

/// Characters of a key's id that name it.
const PREFIX_MIN: usize = 8;
/// Records that go to partners again in one append.
const STEP: usize = 1_000;

/// What is revoked, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// Id of the key, or its first eight digits or more.
    pub key: String,
    /// Why, for the journal.
    pub reason: String,
    /// Since when it may be in other hands; absent where it is only taken out of use.
    pub since: Option<UnixMillis>,
    /// Say what would change, and change nothing.
    pub dry_run: bool,
    /// Of the root: the next one is lost for good, so another is drawn, and partners compare words.
    pub next_root_lost: bool,
}

fn find(node: &Node, given: &str) -> Result<CardKey, Fault> {
    let given = given.trim().to_ascii_lowercase();
    let keys = &node.keys.card.payload().keys;
    let mut found =
        keys.iter().filter(|entry| given.len() >= PREFIX_MIN && entry.key.id().to_string().starts_with(&given));
    match (found.next(), found.next()) {
        (Some(entry), None) => Ok(entry.clone()),
        (Some(_), Some(_)) => {
            Err(Fault::input("no-key", format!("`{given}` names more than one key: give more of its id")))
        }
        (None, _) => {
            let what = format!(
                "the card lists no key `{given}`: `entente key list` shows their ids, of which eight digits do"
            );
            Err(Fault::input("no-key", what))
        }
    }
}

/// Revokes a key.
pub fn revoke(node: &Node, asked: &Revoked) -> Result<Json, Fault> {
    let old = find(node, &asked.key)?;
    let now = node.clock.now();
    if !text::is_line(asked.reason.trim()) {
        return Err(Fault::input("reason", "say why, in one line: `--reason TEXT`"));
    }
    if let Some(since) = asked.since.filter(|since| *since > now) {
        return Err(Fault::input(
            "time",
            format!("`{since}` is still to come: say since when it may be in other hands"),
        ));
    }
    if old.revoked.is_some()
        && (asked.since.is_none() || old.compromised.is_some_and(|known| Some(known) <= asked.since))
    {
        return Err(Fault::input("revoked", "this key is revoked already, since that time or an earlier one"));
    }
    let (purpose, id) = (old.purpose, old.key.id());
    super::root::only_of_root(purpose, asked.next_root_lost)?;
    // Not those that count still beside it, nor a root that another has followed: they have their successors already.
    let in_use = old.revoked.is_none() && current(node, purpose).is_ok_and(|used| used.key == old.key);
    let how = How { dry_run: asked.dry_run, now: true, next_root_lost: asked.next_root_lost };
    let supposed = asked.since.filter(|_| purpose == Purpose::Records).map(|since| (id, since));
    let (_, suspect) = suspect::batches(node, supposed)?;
    let mut answer = json!({
        "key": id.to_string(),
        "purpose": purpose.name(),
        "compromised_since": asked.since.map(|t| t.to_string()),
        "replaced": in_use,
        "new": Json::Null,
        "suspect_records": suspect,
        "card": following(node).number,
        "partners": told(node, BY_ITSELF),
        "done": false,
    });
    if asked.dry_run {
        if purpose == Purpose::Root && in_use {
            let would = super::root::replace(node, how, (&|_: &mut CardKey| (), "key-revoke", &[]))?;
            if let (Some(members), Some(partners)) = (answer.as_object_mut(), would.get("partners")) {
                members.insert("partners".to_owned(), partners.clone());
            }
        }
        return Ok(answer);
    }
    let issued = node.keys.card.payload().issued;
    let end = |entry: &mut CardKey| {
        entry.revoked = Some(entry.revoked.map_or(now.max(issued), |known| known));
        entry.compromised = match (entry.compromised, asked.since) {
            (Some(known), Some(since)) => Some(known.min(since)),
            (known, since) => known.or(since),
        };
    };
    let about = [
        ("purpose", purpose.name().to_owned()),
        ("old", id.to_string()),
        ("reason", asked.reason.trim().to_owned()),
        ("since", asked.since.map(|t| t.to_string()).unwrap_or_default()),
    ];
    let mut new = None;
    if purpose == Purpose::Root && in_use {
        let replaced = super::root::replace(node, how, (&end, "key-revoke", &about[2..]))?;
        if let (Some(members), Json::Object(replaced)) = (answer.as_object_mut(), replaced) {
            members.extend(replaced);
        }
    } else if in_use {
        new = Some(super::rotate::replace(node, purpose, &old, true, (&end, "key-revoke", &about))?);
    } else {
        let root = Opened::of(node)?.root(node)?;
        let mut payload = following(node);
        payload.keys.iter_mut().filter(|entry| entry.key == old.key).for_each(end);
        publish(node, signed(node, &payload, &root, false)?, ("key-revoke", &about))?;
        // One that is shown until its overlap ends gives way now.
        node.renew(false)?;
    }
    if let Some(members) = answer.as_object_mut() {
        if let Some(new) = new {
            members.insert("new".to_owned(), json!(new.id().to_string()));
        }
        members.insert("suspect_records".to_owned(), json!(suspect));
        members.insert("done".to_owned(), json!(true));
    }
    Ok(answer)
}

/// Attests anew every batch of ours that is suspect, because a person has looked at its records.
pub fn reattest(node: &Node, by: &str, dry_run: bool, progress: OnProgress<'_>) -> Result<Json, Fault> {
    let by = by.trim();
    if by.is_empty() || !text::is_line(by) {
        return Err(Fault::input("by", "say who you are: `--by NAME`, one line"));
    }
    if !dry_run {
        finish(node)?;
    }
    let (places, records) = suspect::batches(node, None)?;
    let answer = json!({ "batches": places.len(), "records": records, "partners": told(node, "in their feeds"), "done": !dry_run });
    if dry_run {
        return Ok(answer);
    }
    let mut done = 0;
    for place in places {
        let row = keep::batch_row(node, place)?;
        done += row.records.len() as u64;
        let (at, head) = keep::attested_anew(node, &row)?;
        let logged = logged_batch(&head).map_err(Fault::store)?;
        let mut txn = node.holdings.begin();
        // Partners get it again after this, not before: what is decided while it is suspect goes to nobody.
        set_batch(&mut txn, place, |row| row.attest(head))?;
        let about = [("batch", place.to_string()), ("by", by.to_owned())];
        node.journal_signed(&mut txn, at, ("key-reattest", &about), logged)?;
        txn.commit()?;
        node.batches.forget_one(place);
        go_again(node, place)?;
        progress(Progress { done, total: Some(records) });
    }
    node.reload()?;
    Ok(answer)
}

/// Finishes what an end of the program left of attesting anew: partners get what they hold with its new proof.
pub fn finish(node: &Node) -> Result<(), Fault> {
    for place in suspect::unfinished(node)? {
        go_again(node, place)?;
    }
    Ok(())
}

/// Partners get again what they see of a batch, and what was held back of it.
fn go_again(node: &Node, place: u64) -> Result<(), Fault> {
    for step in keep::batch_row(node, place)?.records.chunks(STEP) {
        again(node, step)?;
    }
    let mut txn = node.holdings.begin();
    set_batch(&mut txn, place, |row| row.due = false)?;
    txn.commit()?;
    Ok(())
}

fn set_batch(txn: &mut Txn<'_>, place: u64, set: impl FnOnce(&mut BatchRow)) -> Result<(), Fault> {
    let row = txn.item(Partition::Own, Table::Batch, b"", place)?.ok_or(StoreError::Broken { at: place })?;
    let mut row: BatchRow = decode("batch", &row).map_err(Fault::store)?;
    set(&mut row);
    let row = encode("batch", &row).map_err(Fault::store)?;
    Ok(txn.replace_item(Partition::Own, Table::Batch, b"", place, &row)?)
}

/// Has records decided again in every feed: what was held back, and what a partner sees, which goes with its new proof.
pub(super) fn again(node: &Node, records: &[entente_protocol::id::RecordId]) -> Result<(), Fault> {
    let mut outgoing: Vec<FeedKey> = Vec::new();
    for (org, _) in node.book().iter() {
        let with = feeds::every_agreement_with(node, *org);
        outgoing.extend(with.into_iter().map(|(agreement, _, _)| feeds::outgoing(node, *org, agreement)));
    }
    let mut txn = node.holdings.begin();
    for feed in outgoing.iter().map(FeedKey::id) {
        for record in records {
            let key = record_in_feed(*record, feed);
            if let Some(row) = txn.get(Partition::Own, Table::Release, &key)? {
                let row: ReleasedRow = decode("release", &row).map_err(Fault::store)?;
                let anew = encode("release", &ReleasedRow { slots: 0, ..row }).map_err(Fault::store)?;
                txn.put(Partition::Own, Table::Release, &key, &anew)?;
            }
            let pending = encode("pending", &Pending::Record(*record)).map_err(Fault::store)?;
            txn.push(Partition::Own, Table::Pending, feed.as_bytes(), &pending)?;
        }
    }
    txn.commit()?;
    Ok(())
}
