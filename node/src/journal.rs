//! The journal: every event of a store, in the append that it speaks of.
//!
//! Whoever changes something says what it is and what it is about, by name; here stands what kind of event that is, and
//! which partition seals it. What is held under an agreement is spoken of under its keys, so that when they are destroyed
//! nobody can read it here either. Format: SPEC, JRN-1 on.

use crate::{
    node::Node,
    seal::keyring::Partition,
    secret,
    store::{
        StoreError,
        holdings::Holdings,
        txn::{Entry, Txn},
    },
};
use entente_protocol::{
    custody::event::{Event, EventKind, EventPart, PartOf},
    id::{AgreementId, LoggedDigest, Nonce},
    time::UnixMillis,
};

/// Where an event is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Under {
    Node,
    Own,
    /// The agreement that it names; the organisation's own where that has no keys.
    Agreement,
}

/// Index field under which a run or batch head of ours is found: its place in the journal.
pub const LOGGED: &str = "logged";

use EventKind as Kind;
use Under::{Agreement, Node as Bookkeeping, Own};

/// Every event that this node writes.
const EVENTS: &[(&str, EventKind, Under)] = &[
    ("agreement-approved", Kind::Agreement, Bookkeeping),
    ("agreement-dropped", Kind::Agreement, Bookkeeping),
    ("agreement-kept", Kind::Agreement, Bookkeeping),
    ("agreement-standing", Kind::Agreement, Bookkeeping),
    ("agreement-version", Kind::Agreement, Bookkeeping),
    ("audit-exported", Kind::Export, Bookkeeping),
    ("batch", Kind::Batch, Own),
    ("batch-again", Kind::Batch, Own),
    ("bundle-exported", Kind::Export, Bookkeeping),
    ("bundle-imported", Kind::Import, Bookkeeping),
    ("card-shown", Kind::Key, Bookkeeping),
    ("card-take-up", Kind::Key, Bookkeeping),
    ("certificate-renewed", Kind::Key, Bookkeeping),
    ("clock-lower", Kind::Clock, Bookkeeping),
    ("erasure-received", Kind::Erasure, Bookkeeping),
    ("feed-behind", Kind::Custody, Bookkeeping),
    ("feed-caught-up", Kind::Custody, Bookkeeping),
    ("file-exported", Kind::Export, Own),
    ("file-given", Kind::RunSent, Own),
    ("file-received", Kind::RunReceived, Agreement),
    ("file-refused", Kind::RunReceived, Agreement),
    ("file-wishes-dropped", Kind::Partner, Bookkeeping),
    ("fork", Kind::Custody, Bookkeeping),
    ("hold-lifted", Kind::Hold, Own),
    ("hold-placed", Kind::Hold, Own),
    ("import-signed", Kind::Batch, Own),
    ("introduced", Kind::Partner, Bookkeeping),
    ("key-reattest", Kind::Batch, Bookkeeping),
    ("log-anew", Kind::Custody, Bookkeeping),
    ("log-begun", Kind::Custody, Bookkeeping),
    ("log-forgotten", Kind::Custody, Bookkeeping),
    ("log-forked", Kind::Custody, Bookkeeping),
    ("own-rules", Kind::Settings, Bookkeeping),
    ("partition-erased", Kind::Erasure, Bookkeeping),
    ("partition-erasing", Kind::Erasure, Bookkeeping),
    ("proof-lost", Kind::Custody, Bookkeeping),
    ("proof-refused", Kind::Custody, Bookkeeping),
    ("quarantine-ended", Kind::RunReceived, Agreement),
    ("quarantined", Kind::RunReceived, Agreement),
    ("receipt", Kind::Receipt, Own),
    ("recover", Kind::Key, Bookkeeping),
    ("release", Kind::Release, Own),
    ("releases-closed", Kind::Release, Own),
    ("retention-over", Kind::Erasure, Agreement),
    ("review", Kind::Review, Own),
    ("run-received", Kind::RunReceived, Agreement),
    ("run-signed", Kind::RunSent, Own),
    ("run-taken-back", Kind::Custody, Bookkeeping),
    ("run-unlogged", Kind::Custody, Bookkeeping),
];

/// Beginnings of names that stand for one kind.
const FAMILIES: &[(&str, EventKind, Under)] = &[
    ("recall", Kind::Recall, Own),
    ("grant", Kind::Grant, Own),
    ("passed-on", Kind::Grant, Own),
    ("partner", Kind::Partner, Bookkeeping),
    ("user", Kind::User, Bookkeeping),
    ("key", Kind::Key, Bookkeeping),
    ("contact", Kind::Key, Bookkeeping),
    ("backup", Kind::Export, Bookkeeping),
    ("restore", Kind::Key, Bookkeeping),
    ("package", Kind::Export, Own),
    ("agreement", Kind::Agreement, Bookkeeping),
];

fn kind_of(what: &str) -> Option<(EventKind, Under)> {
    let exact = EVENTS.iter().find(|(name, ..)| *name == what);
    let family = || FAMILIES.iter().find(|(name, ..)| what.starts_with(name));
    exact.or_else(family).map(|(_, kind, under)| (*kind, *under))
}

/// Adds an event to the journal of a store, within a transaction. `logged` is of the run or batch head that is signed in
/// it, which then stands in the log under the interval of `at`; its kind is that of a run sent or a batch, no other
/// (JRN-2).
pub fn add(
    holdings: &Holdings,
    txn: &mut Txn<'_>,
    at: UnixMillis,
    (what, about): (&str, &[(&str, String)]),
    logged: Option<LoggedDigest>,
) -> Result<u64, StoreError> {
    if holdings.is_unjournaled() {
        return Ok(0);
    }
    debug_assert!(kind_of(what).is_some(), "`{what}` is not in the table of events");
    let (kind, under) = kind_of(what).unwrap_or((EventKind::Custody, Bookkeeping));
    debug_assert!(logged.is_none() || matches!(kind, EventKind::Batch | EventKind::RunSent), "`{what}` signs nothing");
    let named = || about.iter().find(|(name, _)| *name == "agreement")?.1.parse::<AgreementId>().ok();
    let (partition, part_of) = match under {
        Bookkeeping => (Partition::Node, PartOf::Node),
        Own => (Partition::Own, PartOf::Own),
        Agreement => match named().filter(|id| holdings.keyring().holds(Partition::Agreement(*id))) {
            Some(id) => (Partition::Agreement(id), PartOf::Agreement(id)),
            None => (Partition::Own, PartOf::Own),
        },
    };
    let salt = Nonce::from_bytes(secret::random()?);
    let about = about.iter().map(|(name, value)| ((*name).to_owned(), told(value))).collect();
    let part = EventPart { part_of, salt, what: what.to_owned(), about };
    let n = txn.journal(&Entry { kind, at, parts: &[(partition, part)], logged })?;
    if let Some(logged) = logged {
        txn.index_once(Partition::Node, LOGGED, logged.as_bytes(), n)?;
    }
    Ok(n)
}

/// What an event may say: what others wrote is cut, and what misleads the eye is replaced.
fn told(value: &str) -> String {
    let end = value.floor_char_boundary(entente_protocol::limits::EVENT_TEXT_BYTES_MAX);
    let value = value.get(..end).unwrap_or_default();
    if entente_protocol::text::misleading(value).is_none() {
        return value.to_owned();
    }
    value.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}

/// What an event says, as far as it can still be read, with the name of the partition that it stands under.
pub fn said(holdings: &Holdings, n: u64, event: &Event) -> Result<Vec<EventPart>, StoreError> {
    let mut parts = Vec::new();
    // Node and own first: nearly every event has one part there.
    let partitions = [Partition::Node, Partition::Own].into_iter().chain(holdings.keyring().partitions());
    for partition in partitions {
        if parts.len() >= event.parts() {
            break;
        }
        match holdings.journal_part(n, event, partition)? {
            Some(part) if !parts.contains(&part) => parts.push(part),
            _ => {}
        }
    }
    Ok(parts)
}

impl Node {
    /// Adds an event to the journal, within a transaction.
    pub fn journal(&self, txn: &mut Txn<'_>, what: &str, about: &[(&str, String)]) -> Result<(), StoreError> {
        add(&self.holdings, txn, self.clock.now(), (what, about), None).map(|_| ())
    }

    /// The same of what is signed in the append, at the time that it states.
    pub fn journal_signed(
        &self,
        txn: &mut Txn<'_>,
        at: UnixMillis,
        said: (&str, &[(&str, String)]),
        logged: LoggedDigest,
    ) -> Result<u64, StoreError> {
        add(&self.holdings, txn, at, said, Some(logged))
    }
}

/// What the journal says, as far as it can be read: one text for each event.
pub fn texts(holdings: &Holdings) -> Result<Vec<String>, StoreError> {
    let events = holdings.journal(None, 10_000)?;
    let text = |(n, event): &(u64, Event)| {
        let parts = said(holdings, *n, event)?;
        Ok(parts.iter().map(|part| format!("{} {:?}", part.what, part.about)).collect::<Vec<_>>().join("; "))
    };
    events.iter().map(text).collect()
}
