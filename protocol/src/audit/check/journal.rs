//! The journal's chain, and which of its events signed something.

use super::{Known, Notes, Test};
use crate::{
    custody::{
        event::{Event, EventKind},
        journal::Journal,
    },
    id::{JournalDigest, LoggedDigest, StoreId},
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
}

impl Events {
    /// None yet.
    pub fn new(store: StoreId) -> Self {
        let chain = Journal::start(store);
        Self { start: chain.head().digest, chain, all: Vec::new(), signed: BTreeMap::new() }
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
            let signed = Signed { n, at: event.at(), kind: event.kind(), shown: false };
            self.signed.insert(event.logged(), signed);
        }
        self.all.push(Seen { stands: event.logged(), signed: event.is_signed(), after: event.digest() });
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
    /// Whether something was signed in the journal: its place, and the event's time.
    pub fn signed(&self, stands: LoggedDigest) -> Option<(u64, UnixMillis)> {
        self.signed.get(&stands).map(|signed| (signed.n, signed.at))
    }
    /// A run that is shown: where the journal has it.
    pub fn show(&mut self, stands: LoggedDigest) -> Option<(u64, UnixMillis)> {
        let signed = self.signed.get_mut(&stands)?;
        signed.shown = true;
        Some((signed.n, signed.at))
    }

    /// Runs that the journal has, and nobody was shown.
    pub fn finish(&self, known: &Known, notes: &mut Notes) {
        for signed in self.signed.values().filter(|signed| signed.kind == EventKind::RunSent) {
            if !signed.shown {
                let says = "a run was signed here, and is not shown";
                notes.wrong(Test::Runs, known.maker(), format!("event {}", signed.n), says);
            }
        }
    }
}
