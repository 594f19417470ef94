//! Links between two nodes: two real sessions and conversations, and the frames on their way.
//!
//! Lanes are ordered and reliable as QUIC's streams are, and between lanes anything may overtake. A link may be cut,
//! stall, or be replaced while its last frames are still read; and it may be tampered with, which only a broken
//! transport could do: then a session may end with blame, but nothing may be lost or leak.

use super::{
    Broken, Checked,
    model::{Direction, Taken},
    times::is_erased,
    world::{Doing, World},
};
use entente_node::{
    exchange::{Conversation, ExchangeFault},
    share::feeds,
};
use entente_protocol::{
    error::PeerFault,
    feed::{Entry, Release, Run, RunEntry, RunMessage},
    session::{CloseCode, Event, Lane, Message, Role, Session},
    time::UnixMillis,
};
use std::collections::VecDeque;

/// What a driver reads at most of a connection that was replaced, on each lane.
const LAST_FRAMES: usize = 2;
/// Pumps in a row before a node counts as spinning.
const PUMPS_MAX: usize = 200;

/// One side of a link.
pub struct Half {
    session: Session,
    talk: Conversation,
}

/// A link.
pub struct Link {
    /// Dialler and acceptor.
    pub ends: [usize; 2],
    halves: [Option<Half>; 2],
    /// Frames on their way: control and records of the first end, then of the second.
    pub wires: [VecDeque<Vec<u8>>; 4],
    /// Ends whose records lane is full: nothing more is taken off the session.
    pub stalled: [bool; 2],
    /// Frames were lost, repeated or put out of order.
    pub tampered: bool,
    /// Another link took its place: what is still read leads to nothing that is sent.
    pub replaced: bool,
    /// Step at which each end's records lane was last empty, and the time there.
    polled: [(u64, UnixMillis); 2],
}

/// What may happen to the next frame of a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrives.
    Arrives,
    /// It is lost.
    Lost,
    /// It arrives twice.
    Twice,
    /// The one behind it arrives first.
    Overtaken,
}

/// A run on its way in: whose it is, its entries, and the length of the feed after it.
pub(super) type Taking = (Direction, Vec<(u64, Taken)>, u64);

impl Link {
    /// Whether both sides are there and nothing took its place.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.replaced && self.halves.iter().all(Option::is_some)
    }
}

fn lane(wire: usize) -> Lane {
    if wire.is_multiple_of(2) { Lane::Control } else { Lane::Records }
}

/// The entries of a run message, as a receiver would take them.
fn entries(message: &RunMessage) -> Checked<(Run, Vec<(u64, Taken)>)> {
    let run = Run::danger_unverified(&message.run).map_err(|e| Broken(format!("a run that cannot be read: {e}")))?;
    let mut entries = Vec::new();
    for ((number, at), entry) in (run.before.length..).zip(0u16..).zip(&message.entries) {
        let taken = match entry {
            RunEntry::Hash(_) => Taken::Closed,
            RunEntry::Open(bytes) => match Entry::from_bytes(bytes).map_err(|e| Broken(e.to_string()))? {
                Entry::Withdrawal { record, .. } => Taken::Withdrawal(record),
                Entry::Refusal { number, .. } => Taken::Refusal(number),
                Entry::Release { record, .. } => {
                    let body = message.carried.iter().find(|c| c.0 == at);
                    let body = body.ok_or_else(|| Broken("an open release without body".to_owned()))?;
                    let release = Release::from_bytes(&body.3).map_err(|e| Broken(e.to_string()))?;
                    let slots = release.redacted().openings.iter().map(|o| o.slot).collect();
                    Taken::Release(record, slots, release.version())
                }
            },
        };
        entries.push((number, taken));
    }
    Ok((run, entries))
}

impl World<'_> {
    /// A new connection; one that was there is replaced.
    pub(super) fn connect(&mut self, a: usize, b: usize) -> Checked {
        let pair = (a.min(b), a.max(b));
        if self.apart.contains(&pair) {
            return Ok(());
        }
        let opened = |n: usize, peer: usize, role| match self.node(n) {
            None => Ok(None),
            Some(node) => match Conversation::open(node, self.org(peer), role) {
                Ok((talk, session)) => Ok(Some(Half { session, talk })),
                Err(ExchangeFault::Unknown) => Ok(None),
                Err(error) => self.broken(format!("a session between {n} and {peer} cannot begin: {error}")),
            },
        };
        let (Some(near), Some(far)) = (opened(a, b, Role::Dialer)?, opened(b, a, Role::Acceptor)?) else {
            return Ok(());
        };
        self.say(|| format!("{a} dials {b}"));
        self.stats.sessions += 1;
        let read_on = self.chance.one_in(3);
        self.links.retain(|_, link| link.ends != [a, b] && link.ends != [b, a] || (read_on && !link.replaced));
        for link in self.links.values_mut().filter(|link| link.ends == [a, b] || link.ends == [b, a]) {
            link.replaced = true;
            link.wires.iter_mut().for_each(|wire| wire.truncate(LAST_FRAMES));
        }
        let link = Link {
            ends: [a, b],
            halves: [Some(near), Some(far)],
            wires: Default::default(),
            stalled: [false; 2],
            tampered: false,
            replaced: false,
            polled: [a, b].map(|n| (self.step, self.now(n))),
        };
        let id = self.stats.sessions;
        self.links.insert(id, link);
        self.settle(id, 0)?;
        self.settle(id, 1)
    }

    /// Lets the sessions of a node look at what its people did, as the waker does after a commit.
    pub(super) fn wake(&mut self, n: usize) -> Checked {
        let ends: Vec<(u64, usize)> = self
            .links
            .iter()
            .filter(|(_, link)| !link.replaced)
            .flat_map(|(id, link)| link.ends.iter().enumerate().filter(|(_, end)| **end == n).map(|(e, _)| (*id, e)))
            .collect();
        ends.into_iter().try_for_each(|(id, end)| self.settle(id, end))
    }

    /// Events to the core, due work into the windows, frames to the wires: what the driver does.
    pub(super) fn settle(&mut self, id: u64, end: usize) -> Checked {
        let Some(mut link) = self.links.remove(&id) else { return Ok(()) };
        let n = link.ends[end];
        let Some(mut half) = link.halves[end].take() else {
            self.links.insert(id, link);
            return Ok(());
        };
        let worked = self.work(n, link.tampered, &mut half);
        if self.machines[n].disk.ledger.is_poisoned() {
            let doing = self.machines[n].doing.take().unwrap_or(Doing::Other);
            self.crash(n, doing);
            return Ok(());
        }
        let closed = worked?;
        let mut sent = Vec::new();
        while let Some(content) = half.session.poll_lane(Lane::Control) {
            sent.push((end * 2, content));
        }
        if !link.stalled[end] {
            while let Some(content) = half.session.poll_lane(Lane::Records) {
                sent.push((end * 2 + 1, content));
            }
        }
        if !link.replaced {
            for (wire, content) in sent {
                if lane(wire) == Lane::Records {
                    self.check_sent(n, &content, link.polled[end])?;
                }
                link.wires[wire].push_back(content);
            }
        }
        if !link.stalled[end] {
            link.polled[end] = (self.step, self.now(n));
        }
        if !closed {
            link.halves[end] = Some(half);
        }
        if link.halves.iter().any(Option::is_some) {
            self.links.insert(id, link);
        }
        Ok(())
    }

    /// Whether the session is over.
    fn work(&mut self, n: usize, tampered: bool, half: &mut Half) -> Checked<bool> {
        let Half { session, talk } = half;
        let mut closed = None;
        for _ in 0..PUMPS_MAX {
            let Some(node) = self.machines[n].node.as_ref() else { return Ok(true) };
            let worked = match session.poll_event() {
                Some(Event::Closed { code, by_peer }) => {
                    closed = Some((code, by_peer));
                    break;
                }
                Some(Event::Fork { .. }) => return self.broken(format!("I3: node {n} sees two histories of one feed")),
                Some(event) => talk.event(node, session, event).map(|()| true),
                None if session.is_closed() => break,
                None => talk.pump(node, session),
            };
            match worked {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(ExchangeFault::Peer(fault)) if tampered => session.fail(&fault),
                Err(ExchangeFault::Peer(fault)) => {
                    return self.broken(format!("node {n} blames an honest partner: {fault}"));
                }
                Err(ExchangeFault::Unknown) => session.close(CloseCode::REMOVED),
                Err(_) if self.machines[n].disk.ledger.is_poisoned() => return Ok(true),
                Err(error) => return self.broken(format!("a session of node {n} cannot go on: {error}")),
            }
        }
        let Some((code, by_peer)) = closed else {
            return if session.is_closed() { Ok(true) } else { self.broken(format!("node {n} pumps without end")) };
        };
        let innocent = [CloseCode::CLOCK, CloseCode::TIMEOUT].contains(&code);
        if code.blames_peer() && !innocent && !tampered {
            return self
                .broken(format!("node {n} ends an honest session with `{}` (by the other: {by_peer})", code.name()));
        }
        self.say(|| format!("{n}: a session ends: {}", code.name()));
        Ok(true)
    }

    /// A frame that waits on a control lane.
    pub(super) fn control_frame(&self) -> Option<(u64, usize)> {
        self.frame_of(Lane::Control)
    }
    /// A frame that waits on a records lane.
    pub(super) fn records_frame(&self) -> Option<(u64, usize)> {
        self.frame_of(Lane::Records)
    }
    fn frame_of(&self, wanted: Lane) -> Option<(u64, usize)> {
        let waits = |link: &Link| (0..4).find(|wire| lane(*wire) == wanted && !link.wires[*wire].is_empty());
        self.links.iter().find_map(|(id, link)| waits(link).map(|wire| (*id, wire)))
    }
    /// Fills the records lanes of a node, or empties them again.
    pub(super) fn stall(&mut self, n: usize) -> Checked {
        let mut ends = Vec::new();
        for (id, link) in &mut self.links {
            for end in (0..2).filter(|end| link.ends[*end] == n) {
                link.stalled[end] = !link.stalled[end];
                ends.push((*id, end));
            }
        }
        ends.into_iter().try_for_each(|(id, end)| self.settle(id, end))
    }

    /// Moves one frame of a wire.
    pub(super) fn deliver(&mut self, id: u64, wire: usize, fate: Fate) -> Checked {
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        let at = usize::from(fate == Fate::Overtaken && link.wires[wire].len() > 1);
        let Some(content) = link.wires[wire].remove(at) else { return Ok(()) };
        link.tampered |= fate != Fate::Arrives && (fate != Fate::Overtaken || at > 0);
        let end = 1 - wire / 2;
        let n = link.ends[end];
        self.stats.frames += 1;
        match fate {
            Fate::Lost => return Ok(()),
            Fate::Twice => {
                self.hand(id, end, lane(wire), &content)?;
                self.hand(id, end, lane(wire), &content)?;
            }
            Fate::Arrives | Fate::Overtaken => self.hand(id, end, lane(wire), &content)?,
        }
        self.check_acknowledged(n)
    }

    fn hand(&mut self, id: u64, end: usize, lane: Lane, content: &[u8]) -> Checked {
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        let (n, from, tampered) = (link.ends[end], link.ends[1 - end], link.tampered);
        let now = self.now(n);
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        let Some(half) = link.halves[end].as_mut() else { return Ok(()) };
        let handled = half.session.handle_frame(lane, content, now);
        match handled {
            Ok(()) | Err(PeerFault::ClockSkew { .. }) => {}
            Err(_) if tampered => {}
            Err(fault) => {
                let name = Message::from_bytes(lane, content).map_or("nothing", |message| message.name());
                return self.broken(format!("node {n} refuses an honest `{name}`: {fault}"));
            }
        }
        let taking = match Message::from_bytes(lane, content) {
            Ok(Message::Run(message)) => self.taking(&message)?,
            _ => None,
        };
        let doing =
            taking.clone().map_or(Doing::Other, |(direction, entries, end)| Doing::Taking(direction, entries, end));
        self.machines[n].doing = Some(doing);
        self.machines[n].since = now;
        self.note_met(n, from, lane, content);
        self.settle(id, end)?;
        if self.machines[n].node.is_some() {
            self.machines[n].doing = None;
            if let Some((direction, entries, length)) = taking {
                self.note_taken(n, direction, &entries, length)?;
            }
            self.wake(n)?;
        }
        Ok(())
    }

    pub(super) fn taking(&self, message: &RunMessage) -> Checked<Option<Taking>> {
        let (run, entries) = entries(message)?;
        Ok(self.feeds.get(&run.feed).map(|direction| (*direction, entries, run.end().length)))
    }

    /// I2, at the moment at which a run is put on the wire.
    pub(super) fn check_sent(&mut self, n: usize, content: &[u8], polled: (u64, UnixMillis)) -> Checked {
        let Ok(Message::Run(message)) = Message::from_bytes(Lane::Records, content) else {
            return self.broken("something else than a run is on the records lane");
        };
        let (run, entries) = entries(&message)?;
        let Some(direction) = self.feeds.get(&run.feed).copied() else {
            return self.broken("I2: a run of a feed that nobody agreed on");
        };
        if direction.1 != n {
            return self.broken(format!("I2: node {n} sends a run of somebody else's feed"));
        }
        self.stats.runs += 1;
        // A run is given whole: what one of its entries names, a later one may bring.
        for (_, entry) in &entries {
            if let Taken::Release(id, ..) = entry
                && let Some(record) = self.model.records.get(id)
            {
                let line = record.line;
                let seen = self.model.feeds.entry(direction).or_default();
                seen.lines.insert(line);
                seen.shown.insert(*id);
            }
        }
        for (_, entry) in entries {
            self.check_entry(direction, entry, polled)?;
        }
        Ok(())
    }

    /// Notes that a receiver took a run, if it did.
    pub(super) fn note_taken(&mut self, n: usize, direction: Direction, entries: &[(u64, Taken)], end: u64) -> Checked {
        let (Some(node), deal) = (self.node(n), &self.model.deals[direction.0]) else { return Ok(()) };
        let store = self.store_of(direction.1);
        let feed = feeds::incoming(node, self.org(direction.1), store, deal.id);
        if deal.other(direction.1) != n || is_erased(node, deal) || feeds::in_row(node, &feed)?.length < end {
            return Ok(());
        }
        let (mut refused, since) = (Vec::new(), self.machines[n].since);
        let known = self.model.feeds.get(&direction).map(|seen| seen.taken.len() as u64).unwrap_or_default();
        for (number, entry) in entries.iter().filter(|(number, _)| *number >= known) {
            if let Taken::Release(record, _, version) = entry
                && !self.holds(node, direction, *record, *number)?
            {
                let owner = self.model.records.get(record).map_or(direction.1, |record| record.owner);
                let recalled = self.model.facts[owner].recalled.contains_key(record);
                let over = self.is_over(n, deal) || self.is_kept_long_enough(n, since);
                if !recalled && !over && self.may_share(n, deal) && self.in_force(n, deal)? == Some(*version) {
                    return self.broken(format!("node {n} refuses a release that its agreement in force permits"));
                }
                refused.push(*number);
            }
        }
        self.stats.refused += refused.len() as u64;
        let seen = self.model.feeds.entry(direction).or_default();
        for (number, entry) in entries.iter().filter(|(number, _)| *number >= known) {
            seen.taken.insert(*number, *entry);
            seen.since.insert(*number, since);
        }
        seen.refused.extend(refused);
        Ok(())
    }

    /// Lets time pass for the sessions of all.
    pub(super) fn tick(&mut self) -> Checked {
        let ids: Vec<u64> = self.links.keys().copied().collect();
        for id in ids {
            for end in 0..2 {
                let Some(link) = self.links.get(&id) else { continue };
                let now = self.now(link.ends[end]);
                if let Some(half) = self.links.get_mut(&id).and_then(|link| link.halves[end].as_mut()) {
                    drop(half.session.handle_timeout(now));
                }
                self.settle(id, end)?;
            }
        }
        Ok(())
    }
}
