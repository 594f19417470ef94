//! The journal's chain, and which of its events signed something.

use super::{Known, Notes, Test};
use crate::{
    batch::Head,
    cose::SignatureBytes,
    custody::{
        event::{Event, EventKind},
        journal::Journal,
        proof::logged_batch,
    },
    id::{JournalDigest, LoggedDigest, StoreId},
    identity::Purpose,
    time::UnixMillis,
};
use std::collections::BTreeMap;

/// An event, as far as others need it.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Under what it stands in its interval.
    pub stands: LoggedDigest,
    /// Whether something was signed in it.
    pub signed: bool,
    /// The journal after it.
    pub after: JournalDigest,
}

/// What was signed in an event.
#[derive(Debug, Clone, Copy)]
struct Signed {
    n: u64,
    at: UnixMillis,
    kind: EventKind,
    shown: bool,
}

/// Every event so far.
pub struct Events {
    start: JournalDigest,
    chain: Journal,
    all: Vec<Seen>,
    signed: BTreeMap<LoggedDigest, Signed>,
    /// Heads of batches so far.
    batches: u64,
}

impl Events {
    /// None yet.
    pub fn new(store: StoreId) -> Self {
        let chain = Journal::start(store);
        Self { start: chain.head().digest, chain, all: Vec::new(), signed: BTreeMap::new(), batches: 0 }
    }

    /// The next event.
    pub fn event(&mut self, known: &Known, notes: &mut Notes, bytes: &[u8]) {
        let n = self.len();
        let place = || format!("event {n}");
        notes.looked(Test::Journal);
        let Ok(event) = Event::danger_unchained(bytes) else {
            return notes.wrong(Test::Journal, known.maker(), place(), "it does not read as an event");
        };
        if self.chain.handle_event(bytes).is_err() {
            let says = "it does not follow the event before it: one was changed, left out, put in or moved";
            notes.wrong(Test::Journal, known.maker(), place(), says);
            self.chain = Journal::after(n + 1, &event);
        }
        notes.looked(Test::Times);
        if event.at() > known.head.time {
            notes.wrong(Test::Times, known.maker(), place(), "it states a time after the export was made");
        }
        if event.is_signed() {
            self.signed_in(
                known,
                notes,
                Signed { n, at: event.at(), kind: event.kind(), shown: false },
                event.logged(),
            );
        }
        self.all.push(Seen { stands: event.logged(), signed: event.is_signed(), after: event.digest() });
    }

    /// Something was signed in an event: a run or a batch, once, and said to be what it is. Under another kind, or beside
    /// what stands there already, a run would be hidden.
    fn signed_in(&mut self, known: &Known, notes: &mut Notes, signed: Signed, stands: LoggedDigest) {
        let place = || format!("event {}", signed.n);
        if !matches!(signed.kind, EventKind::Batch | EventKind::RunSent) {
            let says = format!("something was signed in it, and its kind, `{}`, signs nothing", signed.kind.name());
            notes.wrong(Test::Journal, known.maker(), place(), says);
        }
        if let Some(first) = self.signed.get(&stands) {
            let says = format!("what was signed in it was signed in event {} already", first.n);
            return notes.wrong(Test::Journal, known.maker(), place(), says);
        }
        self.signed.insert(stands, signed);
    }

    /// The head of a batch of the maker's: what stands in the journal as a batch is one.
    pub fn batch(&mut self, known: &Known, notes: &mut Notes, head: &SignatureBytes) {
        notes.looked(Test::Runs);
        let place = format!("batch {}", self.batches);
        self.batches += 1;
        let read = Head::danger_unverified(head).map(|claimed| claimed.key);
        let stands = logged_batch(head);
        let (Ok(kid), Ok(stands)) = (read, stands) else {
            return notes.wrong(Test::Runs, known.maker(), place, "it does not read as the head of a batch");
        };
        match known.listed(known.maker(), Purpose::Records, kid) {
            // By its digest it is a batch all the same: nothing else has one under this label.
            None => notes.open(
                Test::Runs,
                known.maker(),
                &place,
                "it is signed by a key that the maker's card does not list",
            ),
            Some(key) => {
                if let Err(fault) = Head::verify(head, known.maker(), &key.key) {
                    return notes.wrong(Test::Runs, known.maker(), place, fault);
                }
            }
        }
        match self.signed.get_mut(&stands).filter(|signed| signed.kind == EventKind::Batch) {
            Some(signed) => signed.shown = true,
            None => notes.wrong(Test::Runs, known.maker(), place, "the journal does not have it as a batch"),
        }
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.all.len() as u64
    }
    /// The journal before its event `n`.
    pub fn digest_before(&self, n: u64) -> Option<JournalDigest> {
        match n.checked_sub(1) {
            None => Some(self.start),
            Some(last) => self.at(last).map(|seen| seen.after),
        }
    }
    /// An event.
    pub fn at(&self, n: u64) -> Option<&Seen> {
        self.all.get(usize::try_from(n).ok()?)
    }
    /// Whether the journal has a batch.
    pub fn has_batch(&self, stands: LoggedDigest) -> bool {
        self.signed.get(&stands).is_some_and(|signed| signed.kind == EventKind::Batch)
    }
    /// A run that is shown: where the journal has it, when, and as what.
    pub fn show(&mut self, stands: LoggedDigest) -> Option<(u64, UnixMillis, EventKind)> {
        let signed = self.signed.get_mut(&stands)?;
        signed.shown = true;
        Some((signed.n, signed.at, signed.kind))
    }

    /// What was signed in the journal, and nobody was shown.
    pub fn finish(&self, known: &Known, notes: &mut Notes) {
        for signed in self.signed.values().filter(|signed| !signed.shown) {
            let says = match signed.kind {
                EventKind::RunSent => "a run was signed here, and is not shown",
                EventKind::Batch => "a batch was signed here, and is not shown: it could be a run as well",
                _ => "something was signed here, and is not shown",
            };
            notes.wrong(Test::Runs, known.maker(), format!("event {}", signed.n), says);
        }
    }
}
