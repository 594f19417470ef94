//! The journal of a store: its events in order, each naming the digest of the one before.
//!
//! The writer makes events with [`Journal::append`]; whoever checks a journal follows it with [`Journal::handle_event`].
//! An event states the time of its writer's clock, which may have been set: the order is that of the chain, and to which
//! interval an event belongs follows from both ([`intervals`]).

use super::event::{Event, EventKind, EventPart};
use crate::{
    codec::CodecError,
    id::{JournalDigest, LoggedDigest, StoreId},
    label,
    primitive::labelled,
    time::UnixMillis,
};

/// How far a journal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JournalHead {
    /// Events so far.
    pub count: u64,
    /// Digest of the last one, or of a journal without events.
    pub digest: JournalDigest,
}

/// A journal that does not hold: which event, from 0, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {at} of the journal is refused: {cause}")]
pub struct JournalFault {
    /// Which event.
    pub at: u64,
    /// What is wrong.
    pub cause: EventFault,
}

/// What is wrong with an event at its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventFault {
    /// Not of the form.
    #[error("it is malformed: {0}")]
    Codec(CodecError),
    /// It names another event before it: one was changed, left out, put in or moved.
    #[error("it does not follow the event before it")]
    Chain,
}

/// A journal followed to some event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Journal {
    head: JournalHead,
}

impl Journal {
    /// The journal of a store, without events.
    pub fn start(store: StoreId) -> Self {
        let digest = JournalDigest::from_bytes(labelled(label::JOURNAL_START, &[store.as_bytes()]));
        Self { head: JournalHead { count: 0, digest } }
    }

    /// The journal after its event number `count` - 1, which was followed to before.
    pub fn after(count: u64, last: &Event) -> Self {
        Self { head: JournalHead { count, digest: last.digest() } }
    }

    /// Makes the next event. The journal is one event further, whether or not the caller then keeps it: start again from
    /// what is kept where it was not.
    pub fn append(
        &mut self,
        kind: EventKind,
        at: UnixMillis,
        parts: &[EventPart],
        logged: Option<LoggedDigest>,
    ) -> Result<Event, CodecError> {
        let event = Event::new(kind, at, self.head.digest, parts, logged)?;
        self.step(&event);
        Ok(event)
    }

    /// Takes the next event of a journal that is checked, as the reward for its place in the chain.
    pub fn handle_event(&mut self, bytes: &[u8]) -> Result<Event, JournalFault> {
        let fault = |cause| JournalFault { at: self.head.count, cause };
        let event = Event::from_bytes(bytes).map_err(EventFault::Codec).map_err(fault)?;
        if event.before() != self.head.digest {
            return Err(fault(EventFault::Chain));
        }
        self.step(&event);
        Ok(event)
    }

    fn step(&mut self, event: &Event) {
        self.head = JournalHead { count: self.head.count.saturating_add(1), digest: event.digest() };
    }

    /// How far it is.
    pub fn head(&self) -> JournalHead {
        self.head
    }
}

/// To which interval each of these events belongs, that follow each other in a journal and end at its end: the index of
/// its leaf, never falling, never before `first`, the first leaf that is not made.
///
/// An event is of the interval of its time, or of an earlier one where a later event states an earlier time: a clock that
/// jumped ahead and was set back takes nothing with it. `leaf_at` tells the leaf of a time.
pub fn intervals(times: &[UnixMillis], first: u64, leaf_at: impl Fn(UnixMillis) -> u64) -> Vec<u64> {
    let mut earliest = u64::MAX;
    let mut leaves: Vec<u64> = times
        .iter()
        .rev()
        .map(|at| {
            earliest = earliest.min(leaf_at(*at));
            earliest.max(first)
        })
        .collect();
    leaves.reverse();
    leaves
}
