//! What a session must be like, as far as it can be said in few words: beside it, step by step.

use super::{Feed, Verdict, holds};
use entente_protocol::{
    feed::{Cursor, Receipt, Run},
    id::{AgreementId, FeedId},
    limits,
    session::{CloseCode, Event, Lane, Message},
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What the session must be like, as far as it can be said in few words.
#[derive(Default)]
pub(super) struct Model {
    /// Messages of the partner's opening that were taken: 0 to 3.
    pub(super) heard: usize,
    /// Our own opening that was offered, the greeting included: 1 to 3.
    pub(super) said: usize,
    /// Frames of our own opening that left.
    pub(super) left: usize,
    pub(super) closed: bool,
    /// What the partner was told last, if we ended it.
    pub(super) goodbye: Option<CloseCode>,
    /// Feeds that we are ready to receive: runs owed, and whether stopped.
    pub(super) incoming: BTreeMap<FeedId, (usize, bool)>,
    /// Feeds of which the partner showed a head: where the next run begins, ends in flight, whether stopped.
    pub(super) outgoing: BTreeMap<FeedId, (Cursor, VecDeque<Cursor>, bool)>,
    /// Ends of runs that wait to leave, by feed.
    pub(super) waiting: BTreeMap<FeedId, VecDeque<Cursor>>,
    pub(super) forked: BTreeSet<FeedId>,
}

impl Model {
    pub(super) fn is_open(&self) -> bool {
        self.heard == 3 && self.said == 3 && !self.closed
    }

    pub(super) fn stop(&mut self, feed: FeedId) {
        self.incoming.entry(feed).and_modify(|feed| feed.1 = true);
        self.waiting.remove(&feed);
        self.outgoing.entry(feed).and_modify(|feed| feed.2 = true);
    }

    /// What waits of an agreement is dropped, and may be sent again.
    pub(super) fn withdraw(&mut self, feeds: &[Feed], agreement: AgreementId) {
        for feed in feeds.iter().filter(|feed| feed.key.agreement == agreement) {
            let id = feed.key.id();
            let dropped = self.waiting.remove(&id).unwrap_or_default().len();
            let Some((next, in_flight, _)) = self.outgoing.get_mut(&id) else { continue };
            in_flight.truncate(in_flight.len() - dropped);
            if dropped > 0 {
                let length = next.length - dropped as u64;
                let before = (0..2).map(|history| feed.end(history, usize::try_from(length).unwrap_or_default()));
                *next = in_flight.back().copied().or_else(|| before.into_iter().next()).unwrap_or(*next);
            }
        }
    }

    /// What must come of a run that is offered for sending.
    pub(super) fn send(&self, feed: FeedId, before: Cursor) -> Result<(), &'static str> {
        if !self.is_open() {
            return Err("not ready");
        }
        match self.outgoing.get(&feed) {
            None => Err("not shown"),
            Some((.., true)) => Err("stopped"),
            Some((_, in_flight, _)) if in_flight.len() >= limits::RUNS_IN_FLIGHT_MAX => Err("full"),
            Some((next, ..)) if *next != before => Err("place"),
            Some(_) => Ok(()),
        }
    }

    pub(super) fn event(&mut self, event: &Event) -> Verdict {
        holds("an event after the end", !self.closed)?;
        match event {
            Event::Ready(_) => {
                holds("greeted twice", self.heard == 0)?;
                self.heard = 1;
            }
            Event::Agreements(_) => {
                holds("agreements out of order", self.heard == 1 || self.heard == 3)?;
                self.heard = self.heard.max(2);
            }
            Event::Heads(heads) => {
                holds("heads out of order", self.heard >= 2)?;
                self.heard = 3;
                for line in &heads.received {
                    let shown = (line.head, VecDeque::new(), false);
                    self.outgoing.entry(line.feed.id()).or_insert(shown);
                }
            }
            Event::Run { feed, .. } => {
                let Some((owed, stopped)) = self.incoming.get_mut(&feed.id()) else {
                    return Err("a run of a feed that was not offered".to_owned());
                };
                *owed += 1;
                holds("a run of a stopped feed", !*stopped)?;
                holds("more runs than the window", *owed <= limits::RUNS_IN_FLIGHT_MAX)?;
            }
            Event::Receipt { feed, receipt } => {
                let Some((_, in_flight, _)) = self.outgoing.get_mut(&feed.id()) else {
                    return Err("a receipt for a feed that was not shown".to_owned());
                };
                let held = Receipt::danger_unverified(receipt).map_err(|fault| fault.to_string())?.held;
                let waiting = self.waiting.get(&feed.id()).map_or(0, VecDeque::len);
                holds("a receipt for a run that has not left", in_flight.len() > waiting)?;
                holds("a receipt that is not for the oldest run", in_flight.pop_front() == Some(held))?;
            }
            Event::Fork { feed, ours, theirs, .. } => {
                holds("a fork that is none", ours.length == theirs.length && ours.digest != theirs.digest)?;
                self.forked.insert(feed.id());
                self.stop(feed.id());
            }
            Event::Closed { code, by_peer } => {
                self.closed = true;
                self.goodbye = (!by_peer).then_some(*code);
                self.waiting.clear();
            }
            Event::Proposal(_) | Event::Standing(_) | Event::Card(_) | Event::Notice(_) => {
                holds("a message before the opening is done", self.heard == 3)?;
            }
        }
        Ok(())
    }

    pub(super) fn frame(&mut self, lane: Lane, bytes: &[u8]) -> Verdict {
        let message = Message::from_bytes(lane, bytes).map_err(|fault| format!("we would refuse our own: {fault}"))?;
        if self.closed {
            let told = matches!(message, Message::Close(code) if self.goodbye.take() == Some(code));
            return holds("something leaves after the end", told);
        }
        let place = match &message {
            Message::Hello(_) => 1,
            Message::Agreements(_) => 2,
            Message::Heads(_) => 3,
            _ => 4,
        };
        holds("our opening is out of order", if self.left < 3 { place == self.left + 1 } else { place > 1 })?;
        self.left = (self.left + 1).min(3);
        if let Message::Run(message) = &message {
            let run = Run::danger_unverified(&message.run).map_err(|fault| fault.to_string())?;
            let waits = self.waiting.get_mut(&run.feed).and_then(VecDeque::pop_front);
            holds("a run leaves that does not wait, or out of order", waits == Some(run.end()))?;
        }
        Ok(())
    }
}
