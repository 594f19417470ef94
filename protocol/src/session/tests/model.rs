//! A small model of a node: what it sent, holds and knows to be acknowledged survives a session.

use crate::{
    cose::SignatureBytes,
    feed::{
        Comparison, Cursor, FeedKey, Receipt, ReceivedRun, Run, RunMessage,
        testing::{Sender, VERSION, feed_key, key, org, records_key, runs_key},
    },
    id::{AgreementId, EntryHash, FeedId, Nonce, StoreId},
    session::{
        AgreementLine, Event, Heads, ReceivedHead, Role, SentHead, Session, SessionConfig,
        pair::{Outcome, Pair, Shell, Weather},
    },
    time::UnixMillis,
};
use std::collections::BTreeMap;

pub const NOW: UnixMillis = UnixMillis(1_000_000_000);

/// What a node holds of a feed that it receives.
pub struct Held {
    pub key: FeedKey,
    pub cursor: Cursor,
    pub applied: Vec<EntryHash>,
    pub receipts: Vec<SignatureBytes>,
}

impl Held {
    pub fn none(key: FeedKey) -> Self {
        Self { key, cursor: Cursor::start(key.id()), applied: vec![], receipts: vec![] }
    }
}

pub struct Node {
    pub n: u8,
    pub peer: u8,
    pub sender: Sender,
    pub runs: Vec<RunMessage>,
    pub acknowledged: u64,
    pub held: BTreeMap<FeedId, Held>,
    pub accepts: Vec<FeedKey>,
    pub forks: usize,
    pub seen: Vec<&'static str>,
    pub closed: Option<Event>,
}

impl Node {
    /// A node that has `entries` releases in its feed, in runs of two.
    pub fn new(n: u8, peer: u8, entries: usize) -> Self {
        let mut sender = Sender::new(feed_key(n, peer, 9), u8::try_from(entries.max(1)).unwrap());
        (0..entries).for_each(|at| sender.release(at, &[8]));
        let runs = (0..entries).step_by(2).map(|at| sender.run(at..entries.min(at + 2))).collect();
        Self {
            n,
            peer,
            sender,
            runs,
            acknowledged: 0,
            held: BTreeMap::new(),
            accepts: vec![feed_key(peer, n, 9)],
            forks: 0,
            seen: vec![],
            closed: None,
        }
    }

    /// Releases a record again, in a run of its own.
    pub fn release_more(&mut self) {
        let at = self.sender.entries.len();
        self.sender.release(0, &[8]);
        self.runs.push(self.sender.run(at..at + 1));
    }

    pub fn session(&self, role: Role) -> Session {
        let (org, peer) = (org(self.n), org(self.peer));
        let store = StoreId::from_bytes([self.n; 16]);
        let config = SessionConfig { role, org, store, peer, nonce: Nonce::from_bytes([self.n; 16]) };
        Session::new(config, NOW).unwrap()
    }

    /// A session that has said what it says at once.
    pub fn opening(&self, role: Role) -> Session {
        let mut session = self.session(role);
        session.offer_agreements(Self::agreements()).unwrap();
        session
    }

    pub fn feed(&self) -> FeedId {
        self.sender.key.id()
    }

    pub fn end(&self) -> Cursor {
        self.runs.last().map_or(Cursor::start(self.feed()), |m| Run::danger_unverified(&m.run).unwrap().end())
    }

    pub fn agreements() -> Vec<AgreementLine> {
        vec![AgreementLine { id: AgreementId::from_bytes([9; 16]), version: VERSION, standings: vec![] }]
    }

    pub fn heads(&self) -> Heads {
        let sent = SentHead {
            run: self.runs.last().map(|m| m.run.clone()),
            feed: self.sender.key,
            head: self.end(),
            acknowledged: self.acknowledged,
        };
        let received = self.held.values().map(received).collect();
        Heads { sent: vec![sent], received }
    }

    fn take_heads(&mut self, session: &mut Session, heads: Heads) {
        for line in heads.sent {
            let feed = line.feed;
            if self.accepts.contains(&feed) && !self.held.contains_key(&feed.id()) {
                let held = Held::none(feed);
                session.offer_heads(Heads { sent: vec![], received: vec![received(&held)] }).unwrap();
                self.held.insert(feed.id(), held);
            }
        }
        for line in heads.received {
            let at = |length: u64| Some(self.sender.cursor(usize::try_from(length).unwrap()).digest);
            let known = line.feed == self.sender.key;
            match self.end().compare(line.head, at) {
                Comparison::Equal | Comparison::Behind(_) if known => {
                    if let Some(receipt) = line.receipt {
                        self.take_receipt(&receipt);
                    }
                }
                _ => session.stop(line.feed.id()),
            }
        }
    }

    /// A lower cursor un-acknowledges nothing.
    fn take_receipt(&mut self, signed: &SignatureBytes) {
        let receipt = Receipt::verify(signed, &self.sender.key, runs_key(org(self.peer))).unwrap();
        self.acknowledged = self.acknowledged.max(receipt.held.length);
    }

    fn take_run(&mut self, session: &mut Session, feed: FeedKey, message: &RunMessage, now: UnixMillis) {
        let held = self.held.get_mut(&feed.id()).unwrap();
        match message.verify(
            &feed,
            crate::feed::Held { feed: held.cursor, prior: None },
            runs_key(feed.sender),
            records_key,
        ) {
            Ok(ReceivedRun::Next(run)) => {
                held.cursor = run.run().end();
                held.applied.extend(run.entries().iter().map(|e| e.0));
                let receipt = Receipt::of(run.run(), now).sign(&key(self.n)).unwrap();
                held.receipts.push(receipt.clone());
                session.send_receipt(receipt).unwrap();
            }
            Ok(ReceivedRun::Held(_)) => self.seen.push("held"),
            Ok(ReceivedRun::Fork(_)) => {
                self.forks += 1;
                session.stop(feed.id());
            }
            Err(fault) => session.fail(&fault.into()),
        }
    }
}

fn received(held: &Held) -> ReceivedHead {
    ReceivedHead { feed: held.key, head: held.cursor, receipt: held.receipts.last().cloned() }
}

impl Shell for Node {
    fn event(&mut self, session: &mut Session, event: Event, now: UnixMillis) {
        match event {
            Event::Ready(_) => {}
            Event::Agreements(_) => session.offer_heads(self.heads()).unwrap(),
            Event::Heads(heads) => self.take_heads(session, heads),
            Event::Run { feed, message } => self.take_run(session, feed, &message, now),
            Event::Receipt { receipt, .. } => self.take_receipt(&receipt),
            Event::Fork { .. } => self.forks += 1,
            Event::Standing(_) => self.seen.push("standing"),
            Event::Proposal(_) => self.seen.push("proposal"),
            Event::Card(_) => self.seen.push("card"),
            Event::Notice(_) => self.seen.push("notice"),
            Event::Closed { .. } => self.closed = Some(event),
        }
    }

    fn pump(&mut self, session: &mut Session, _now: UnixMillis) {
        while session.window(self.feed()) > 0 {
            let next = session.next(self.feed()).unwrap();
            let run = self.runs.iter().find(|m| Run::danger_unverified(&m.run).unwrap().before == next);
            let Some(run) = run else { return };
            session.send_run(run.clone()).unwrap();
        }
    }
}

pub fn weather(seed: u64) -> Weather {
    Weather { seed, delay_ms: 3, cut_after: None, repeat: None, lose: None }
}

/// One connection between two nodes.
pub fn connect(left: &mut Node, right: &mut Node, weather: Weather) -> (Pair, Outcome) {
    let mut pair = Pair::new(left.opening(Role::Dialer), right.opening(Role::Acceptor), NOW, weather);
    let outcome = pair.run(left, right);
    (pair, outcome)
}

/// Every entry that `from` sent is held by `to` once and in order, and `from` knows it.
pub fn converged(from: &Node, to: &Node) -> bool {
    let held = to.held.get(&from.feed());
    let applied = held.map_or(&[][..], |h| &h.applied);
    applied == from.sender.hashes(0..from.sender.entries.len()) && from.acknowledged == from.end().length
}
