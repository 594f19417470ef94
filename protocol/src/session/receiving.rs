//! The receiving side of a session: which feeds we showed a head for, and how many runs we owe receipts for.
//!
//! A run is taken only of a feed that we showed in this session, so a run of another direction,
//! agreement or session has nowhere to go. Signatures, place and content are verified by the shell.

use crate::{
    error::PeerFault,
    feed::{FeedKey, Receipt, Run, RunMessage},
    id::FeedId,
    limits,
};
use std::collections::BTreeMap;

struct Incoming {
    key: FeedKey,
    /// Runs taken and not yet countersigned.
    owed: usize,
    stopped: bool,
}

#[derive(Default)]
pub(super) struct Receiving {
    feeds: BTreeMap<FeedId, Incoming>,
}

impl Receiving {
    /// We show our head of a feed, and are ready for its runs.
    pub(super) fn show(&mut self, key: FeedKey) {
        self.feeds.entry(key.id()).or_insert(Incoming { key, owed: 0, stopped: false });
    }

    pub(super) fn stop(&mut self, feed: FeedId) {
        if let Some(incoming) = self.feeds.get_mut(&feed) {
            incoming.stopped = true;
        }
    }

    /// Takes a run; `None` if its feed is stopped, which the partner may not know yet.
    pub(super) fn take(&mut self, message: &RunMessage) -> Result<Option<FeedKey>, PeerFault> {
        let run = Run::danger_unverified(&message.run)?;
        let incoming = self.feeds.get_mut(&run.feed).ok_or(PeerFault::Feed)?;
        if incoming.stopped {
            return Ok(None);
        }
        if incoming.owed >= limits::RUNS_IN_FLIGHT_MAX {
            return Err(PeerFault::Window);
        }
        incoming.owed += 1;
        Ok(Some(incoming.key))
    }

    /// Whether a run of the receipt's feed waits to be countersigned.
    pub(super) fn owes(&self, receipt: &Receipt) -> bool {
        self.feeds.get(&receipt.feed).is_some_and(|incoming| incoming.owed > 0)
    }

    /// A run was countersigned.
    pub(super) fn paid(&mut self, receipt: &Receipt) {
        if let Some(incoming) = self.feeds.get_mut(&receipt.feed) {
            incoming.owed = incoming.owed.saturating_sub(1);
        }
    }
}
