//! The sending side of a session: which feeds the partner showed a head for, what may be sent, what waits.
//!
//! INVARIANT: no run is queued for a feed before the partner has shown its head of that feed in this session, and each
//! run begins where the one before ended. Nothing here is acknowledged: that is the ledger's, once
//! the shell has verified the receipt.

use super::SendError;
use crate::{
    error::PeerFault,
    feed::{Cursor, FeedKey, Receipt, Run},
    id::{AgreementId, FeedId, Hash},
    limits,
};
use std::collections::{BTreeMap, VecDeque};

/// A run that was taken for sending.
struct InFlight {
    before: Cursor,
    end: Cursor,
    root: Hash,
}

struct Outgoing {
    key: FeedKey,
    /// Where the next run begins.
    next: Cursor,
    in_flight: VecDeque<InFlight>,
    /// How many of those in flight, the newest, still wait in the queue.
    waiting: usize,
    stopped: bool,
}

struct Queued {
    feed: FeedId,
    bytes: Vec<u8>,
}

/// What a receipt means for what is in flight.
pub(super) enum Acknowledged {
    /// It countersigns the oldest run in flight.
    Run(FeedKey),
    /// It countersigns another history.
    Fork(FeedKey, Cursor),
    /// The feed is stopped: nobody needs it.
    Stopped,
}

#[derive(Default)]
pub(super) struct Sending {
    feeds: BTreeMap<FeedId, Outgoing>,
    queue: VecDeque<Queued>,
    queued_bytes: usize,
}

impl Sending {
    /// The partner shows what it countersigned last. The first showing in a session counts.
    pub(super) fn show(&mut self, key: FeedKey, head: Cursor) {
        self.feeds.entry(key.id()).or_insert_with(|| Outgoing {
            key,
            next: head,
            in_flight: VecDeque::new(),
            waiting: 0,
            stopped: false,
        });
    }

    pub(super) fn stop(&mut self, feed: FeedId) {
        self.drop_queued(|f| f == feed);
        if let Some(outgoing) = self.feeds.get_mut(&feed) {
            outgoing.stopped = true;
        }
    }

    /// Where the next run of a feed begins; `None` before the partner has shown its head.
    pub(super) fn next(&self, feed: FeedId) -> Option<Cursor> {
        self.feeds.get(&feed).filter(|f| !f.stopped).map(|f| f.next)
    }

    /// How many runs may be sent now.
    pub(super) fn window(&self, feed: FeedId) -> usize {
        if self.queued_bytes >= limits::RUN_QUEUE_BYTES_MAX {
            return 0;
        }
        let open = self.feeds.get(&feed).filter(|f| !f.stopped);
        open.map_or(0, |f| limits::RUNS_IN_FLIGHT_MAX.saturating_sub(f.in_flight.len()))
    }

    /// Takes an encoded run for sending.
    pub(super) fn push(&mut self, run: &Run, bytes: Vec<u8>) -> Result<(), SendError> {
        let outgoing = self.feeds.get_mut(&run.feed).ok_or(SendError::NotShown)?;
        if outgoing.stopped {
            return Err(SendError::Stopped);
        }
        if run.before != outgoing.next {
            return Err(SendError::OutOfPlace { next: outgoing.next.length });
        }
        let waiting = self.queued_bytes.saturating_add(bytes.len());
        if outgoing.in_flight.len() >= limits::RUNS_IN_FLIGHT_MAX || waiting > limits::RUN_QUEUE_BYTES_MAX {
            return Err(SendError::WindowFull);
        }
        outgoing.in_flight.push_back(InFlight { before: run.before, end: run.end(), root: run.root });
        outgoing.next = run.end();
        outgoing.waiting += 1;
        self.queued_bytes = waiting;
        self.queue.push_back(Queued { feed: run.feed, bytes });
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Option<Vec<u8>> {
        let queued = self.queue.pop_front()?;
        self.queued_bytes = self.queued_bytes.saturating_sub(queued.bytes.len());
        if let Some(outgoing) = self.feeds.get_mut(&queued.feed) {
            outgoing.waiting = outgoing.waiting.saturating_sub(1);
        }
        Some(queued.bytes)
    }

    /// Whether runs of an agreement were handed on that are not countersigned: they may still be on their way.
    pub(super) fn on_the_way(&self, agreement: AgreementId) -> bool {
        self.feeds.values().any(|feed| feed.key.agreement == agreement && !feed.stopped && !feed.in_flight.is_empty())
    }

    /// Drops the runs of an agreement that wait; returns how many.
    pub(super) fn withdraw(&mut self, agreement: AgreementId) -> usize {
        let feeds: Vec<FeedId> =
            self.feeds.iter().filter(|(_, f)| f.key.agreement == agreement).map(|(id, _)| *id).collect();
        self.drop_queued(|feed| feeds.contains(&feed))
    }

    fn drop_queued(&mut self, of: impl Fn(FeedId) -> bool) -> usize {
        let waiting = std::mem::take(&mut self.queue);
        let (dropped, kept): (VecDeque<Queued>, VecDeque<Queued>) = waiting.into_iter().partition(|q| of(q.feed));
        self.queue = kept;
        for queued in &dropped {
            self.queued_bytes = self.queued_bytes.saturating_sub(queued.bytes.len());
            // What waits is the newest of its feed, so the newest in flight goes with it.
            if let Some(outgoing) = self.feeds.get_mut(&queued.feed)
                && let Some(run) = outgoing.in_flight.pop_back()
            {
                outgoing.next = run.before;
                outgoing.waiting = outgoing.waiting.saturating_sub(1);
            }
        }
        dropped.len()
    }

    /// Compares a receipt with the oldest run in flight. The shell verifies its signature.
    pub(super) fn acknowledge(&mut self, receipt: &Receipt) -> Result<Acknowledged, PeerFault> {
        let outgoing = self.feeds.get_mut(&receipt.feed).ok_or(PeerFault::Feed)?;
        if outgoing.stopped {
            return Ok(Acknowledged::Stopped);
        }
        let oldest = outgoing.in_flight.front().ok_or(PeerFault::Receipt)?;
        if receipt.held.length != oldest.end.length {
            return Err(PeerFault::Receipt);
        }
        if receipt.held != oldest.end {
            return Ok(Acknowledged::Fork(outgoing.key, oldest.end));
        }
        // Nobody can hold what has not left: a receipt from an earlier session says nothing of this one.
        if receipt.root != oldest.root || outgoing.in_flight.len() <= outgoing.waiting {
            return Err(PeerFault::Receipt);
        }
        outgoing.in_flight.pop_front();
        Ok(Acknowledged::Run(outgoing.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        feed::testing::{VERSION, feed_key},
        id::EntryHash,
        time::UnixMillis,
    };

    #[test]
    fn bytes_that_wait_are_bounded_over_all_feeds() {
        let mut sending = Sending::default();
        let run = |key: FeedKey, before: Cursor| {
            Run::over(key.id(), before, &[EntryHash::from_bytes([1; 32])], VERSION, UnixMillis(1), None).unwrap()
        };
        let keys = [feed_key(1, 2, 8), feed_key(1, 2, 9)];
        keys.iter().for_each(|key| sending.show(*key, Cursor::start(key.id())));
        let [full, other] = keys.map(|key| key.id());
        for _ in 0..limits::RUN_QUEUE_BYTES_MAX / limits::FRAME_BYTES_MAX {
            let next = run(keys[0], sending.next(full).unwrap());
            sending.push(&next, vec![0; limits::FRAME_BYTES_MAX]).unwrap();
        }
        let first = run(keys[1], sending.next(other).unwrap());
        assert_eq!(sending.push(&first, vec![0]), Err(SendError::WindowFull));
        assert_eq!(sending.window(other), 0);
        assert!(sending.pop().is_some());
        assert_eq!(sending.push(&first, vec![0]), Ok(()));
        assert_eq!(sending.window(other), limits::RUNS_IN_FLIGHT_MAX - 1);
        // Stopping a feed drops what waits of it, and leaves the others.
        sending.stop(full);
        assert_eq!((sending.queue.len(), sending.queued_bytes), (1, 1));
    }
}
