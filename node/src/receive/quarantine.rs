//! Runs that are signed and in their place, and do not hold: kept out without keeping out anything else.
//!
//! Their sender serves such a run again in each session. The first time it is told so by a close code; from then on the
//! run's feed waits, and every other feed goes on. The mark outlives a restart. It goes when a run that holds comes in
//! that place, or when people say so. There is one for each partner and agreement, and it is written once an hour at
//! most, whatever a partner sends.

use super::ReceiveError;
use crate::{
    call,
    error::Fault,
    node::Node,
    records::stored::{ROW, decode, encode},
    room,
    seal::keyring::Partition,
    share::{ShareError, feeds},
    store::{StoreError, layout::Table, txn::Txn},
};
use entente_protocol::{
    codec,
    feed::{Entry, FeedKey, Run, RunEntry, RunFault, RunMessage},
    id::{AgreementId, FeedId, Hash, OrgId, RecordId},
    primitive::sha256,
    time::{HOUR_MS, UnixMillis},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

/// How long a mark stays as it is, whatever else does not hold.
const MARK_AGAIN_MS: u64 = HOUR_MS;
/// Characters of a reason: it may quote what a partner wrote.
const WHY_CHARS_MAX: usize = 300;

/// A run that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quarantined {
    /// When it was found.
    pub at: UnixMillis,
    /// What does not hold.
    pub why: String,
    /// The feed that waits.
    pub feed: FeedId,
    /// The run's root, which names it on both sides.
    pub root: Hash,
    /// Entries of the run.
    pub count: u64,
    /// Number in the feed of the entry that does not hold, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<u64>,
    /// Number in the feed of the run's first entry.
    pub first: u64,
    /// The record that the entry names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordId>,
    /// SHA-256 of all that came: the same again changes nothing.
    pub message: Hash,
}

impl Quarantined {
    fn new(node: &Node, feed: &FeedKey, message: &RunMessage, fault: &RunFault) -> Result<Self, ReceiveError> {
        let run = Run::danger_unverified(&message.run)?;
        let place = fault.entry(message);
        let record = place.and_then(|place| match message.entries.get(place)? {
            RunEntry::Open(bytes) => match Entry::from_bytes(bytes).ok()? {
                Entry::Release { record, .. } | Entry::Withdrawal { record, .. } => Some(record),
                Entry::Refusal { .. } => None,
            },
            RunEntry::Hash(_) => None,
        });
        let bytes = codec::to_vec(message, ROW).map_err(ShareError::from)?;
        Ok(Self {
            at: node.clock.now(),
            why: fault.to_string().chars().take(WHY_CHARS_MAX).collect(),
            feed: feed.id(),
            root: run.root,
            count: run.count,
            entry: place.and_then(|place| run.before.length.checked_add(place as u64)),
            first: run.before.length,
            record,
            message: Hash::from_bytes(sha256(&[&bytes])),
        })
    }

    /// In words, for the people who must look.
    pub fn says(&self, handle: &str) -> String {
        let what = match (self.entry, self.record) {
            (Some(entry), Some(record)) => format!("entry {entry}, record {record}, "),
            (Some(entry), None) => format!("entry {entry} "),
            (None, _) => String::new(),
        };
        format!(
            "{what}in the run of {} entries from {} on (root {}) does not hold: {}. Nothing more is taken under this \
             agreement until it does; other agreements go on. Tell the partner which record it is; once it is mended \
             there, it is taken in the next session, or at once after `entente partner retry {handle}`",
            self.count,
            self.first,
            self.root.to_string().get(..16).unwrap_or_default(),
            self.why
        )
    }
}

/// The key of the mark.
pub fn key(sender: OrgId) -> Vec<u8> {
    [b"quarantine".as_slice(), sender.as_bytes()].concat()
}

fn read(row: Option<Vec<u8>>) -> Result<Option<Quarantined>, ShareError> {
    Ok(row.map(|row| decode("quarantine", &row)).transpose()?)
}

/// What waits of a partner under an agreement, if something does.
pub fn of(node: &Node, agreement: AgreementId, sender: OrgId) -> Result<Option<Quarantined>, ShareError> {
    read(node.holdings.get(Partition::Agreement(agreement), Table::Cursor, &key(sender))?)
}

/// Marks a run that does not hold, and says what becomes of the session.
pub(super) fn mark(
    node: &Node,
    feed: &FeedKey,
    message: &RunMessage,
    fault: RunFault,
) -> Result<ReceiveError, ReceiveError> {
    let (partition, key) = (Partition::Agreement(feed.agreement), key(feed.sender));
    let row = Quarantined::new(node, feed, message, &fault)?;
    let mut txn = node.holdings.begin();
    match read(txn.get(partition, Table::Cursor, &key)?)? {
        Some(known) if (known.feed, known.message) == (row.feed, row.message) => return Ok(ReceiveError::Quarantined),
        Some(known) if row.at.0.saturating_sub(known.at.0) < MARK_AGAIN_MS => return Ok(fault.into()),
        _ => {}
    }
    txn.put(partition, Table::Cursor, &key, &encode("quarantine", &row)?)?;
    // Each mark leaves an event: its sender pays for it.
    room::fill(&mut txn, feed.sender, room::BESIDES_BYTES)?;
    let mut about = vec![
        ("agreement", feed.agreement.to_string()),
        ("partner", feed.sender.to_string()),
        ("run", row.root.to_string()),
        ("first", row.first.to_string()),
        ("why", row.why.clone()),
    ];
    about.extend(row.entry.map(|entry| ("entry", entry.to_string())));
    about.extend(row.record.map(|record| ("record", record.to_string())));
    node.journal(&mut txn, "quarantined", &about)?;
    txn.commit()?;
    tracing::error!(partner = %feed.sender.short(), agreement = %feed.agreement, why = row.why, "a run does not hold: its feed waits");
    Ok(fault.into())
}

/// Takes a mark away, if there is one.
pub(super) fn end(
    node: &Node,
    txn: &mut Txn<'_>,
    agreement: AgreementId,
    sender: OrgId,
    why: &str,
) -> Result<bool, StoreError> {
    let (partition, key) = (Partition::Agreement(agreement), key(sender));
    if txn.get(partition, Table::Cursor, &key)?.is_none() {
        return Ok(false);
    }
    txn.delete(partition, Table::Cursor, &key)?;
    let about = [("agreement", agreement.to_string()), ("partner", sender.to_string()), ("why", why.to_owned())];
    node.journal(txn, "quarantine-ended", &about)?;
    Ok(true)
}

/// People say that what waits of a partner is to be judged again.
pub fn retry(node: &Node, given: &str) -> Result<Json, Fault> {
    let partner = node.book().find(given)?.0;
    let mut ended = Vec::new();
    for (agreement, _, _) in feeds::every_agreement_with(node, partner) {
        let mut txn = node.holdings.begin();
        if end(node, &mut txn, agreement, partner, "people asked for it to be judged again")? {
            txn.commit()?;
            ended.push(agreement.to_string());
        }
    }
    if ended.is_empty() {
        return Err(Fault::input("nothing-waits", format!("nothing of `{}` waits here", node.handle_of(partner))));
    }
    node.wake();
    let mut view = call::partner_view(node, given)?;
    if let Some(map) = view.as_object_mut() {
        map.insert("retried".to_owned(), json!(ended));
    }
    Ok(view)
}
