//! The journal of a store: its events in order, each naming the digest of the one before.
//!
//! The writer makes events with [`Journal::append`]; whoever checks a journal follows it with [`Journal::handle_event`].
//! Times never fall, so that the events of an interval stand together: where a clock was set back, events take the time
//! of the last one, and an event of kind `clock` says so.

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
    /// It states an earlier time than the event before it.
    #[error("it states an earlier time than the event before it")]
    Time,
}

/// A journal followed to some event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Journal {
    head: JournalHead,
    last: UnixMillis,
}

impl Journal {
    /// The journal of a store, without events.
    pub fn start(store: StoreId) -> Self {
        let digest = JournalDigest::from_bytes(labelled(label::JOURNAL_START, &[store.as_bytes()]));
        Self { head: JournalHead { count: 0, digest }, last: UnixMillis(0) }
    }

    /// The journal after its event number `count` - 1, which was followed to before.
    pub fn after(count: u64, last: &Event) -> Self {
        Self { head: JournalHead { count, digest: last.digest() }, last: last.at() }
    }

    /// Makes the next event: at `now`, or at the last event's time if that is later.
    pub fn append(
        &mut self,
        kind: EventKind,
        now: UnixMillis,
        parts: &[EventPart],
        logged: Option<LoggedDigest>,
    ) -> Result<Event, CodecError> {
        let event = Event::new(kind, now.max(self.last), self.head.digest, parts, logged)?;
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
        if event.at() < self.last {
            return Err(fault(EventFault::Time));
        }
        self.step(&event);
        Ok(event)
    }

    fn step(&mut self, event: &Event) {
        self.head = JournalHead { count: self.head.count.saturating_add(1), digest: event.digest() };
        self.last = event.at();
    }

    /// How far it is.
    pub fn head(&self) -> JournalHead {
        self.head
    }
    /// The time of the last event.
    pub fn last(&self) -> UnixMillis {
        self.last
    }
}
