//! One of the two worlds: nodes that are the product, links between them, a clock that the tale moves.
//!
//! What wakes a session is what wakes it in a running node: a commit, a frame, and the tick every half minute. Everything
//! that would be random in a record is made from the seed and what it is for, so that both worlds have the same; what the
//! node draws itself is masked by [`view`](super::view). People's acts stand in `acts`.

use super::{
    Plan, Planted,
    tale::{Act, Deal, LATE, NODE, OBSERVER, SEEN, Tale},
    view::{By, Observed},
};
use crate::sim::{
    Broken, Checked,
    cast::{BEGIN, Cast, Disk},
    chance::Chance,
};
use entente_node::{
    exchange::{Conversation, ExchangeFault},
    node::Node,
    recall,
    share::{
        feeds,
        files::{self, Given},
    },
};
use entente_protocol::{
    feed::FeedKey,
    id::{AgreementId, OrgId, StoreId},
    limits,
    session::{
        CloseCode, Event, Lane, Notice, Role, Session,
        fetch::{RefusedCode, Reply},
    },
    time::UnixMillis,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// How often a running node looks at what the time of day changes.
const TICK_MS: u64 = 30_000;
/// Frames that one step may need.
const FRAMES_MAX: u64 = 20_000;
/// What the node's people let nobody have.
const RED_LINE: &str = "[[red-line]]\nname = \"secret\"\nkinds = [\"item\"]\n\
                        when = 'resource has family && resource.family == \"secret\"'\n";
/// A slot that holds no file.
const NO_FILE: u8 = 10;

struct Half {
    session: Session,
    talk: Conversation,
}

/// A connection, and the frames on their way: by who sent them, then by lane.
pub(super) struct Link {
    halves: [Option<Half>; 2],
    wires: [[VecDeque<Vec<u8>>; 2]; 2],
}

struct Machine {
    disk: Disk,
    node: Option<Node>,
    woken: Arc<AtomicBool>,
}

/// What was counted in one world.
#[derive(Debug, Default, Clone)]
pub struct Counts {
    /// Hidden acts, by what they were: done, and not possible.
    pub hidden: BTreeMap<&'static str, (u64, u64)>,
    /// Acts that both saw: done, and not possible.
    pub seen: (u64, u64),
    /// Frames between others.
    pub beside: u64,
}

/// A world.
pub struct World<'c> {
    pub(super) cast: &'c Cast,
    pub(super) plan: &'c Plan,
    pub(super) seed: u64,
    pub(super) tale: &'c Tale,
    /// Whether what the observer may not see is there.
    pub(super) with: bool,
    machines: Vec<Machine>,
    pub(super) links: BTreeMap<(usize, usize), Link>,
    pub(super) pairs: BTreeSet<(usize, usize)>,
    pub(super) now: UnixMillis,
    ticked: UnixMillis,
    pub(super) stalled: bool,
    pub(super) slow: bool,
    /// Versions signed of each agreement.
    pub(super) versions: BTreeMap<usize, u64>,
    /// Records that were kept, in the order in which they were.
    pub(super) kept: Vec<usize>,
    /// What the observer observed.
    pub observed: Observed,
    /// What was counted.
    pub counts: Counts,
    frames: u64,
}

impl<'c> World<'c> {
    /// Nodes with empty stores, strangers to each other.
    pub(super) fn new(cast: &'c Cast, plan: &'c Plan, (seed, tale): (u64, &'c Tale), with: bool) -> Checked<Self> {
        let mut world = Self {
            cast,
            plan,
            seed,
            tale,
            with,
            machines: Vec::new(),
            links: BTreeMap::new(),
            pairs: BTreeSet::new(),
            now: BEGIN,
            ticked: BEGIN,
            stalled: false,
            slow: false,
            versions: BTreeMap::new(),
            kept: Vec::new(),
            observed: Observed::new(plan.exempt),
            counts: Counts::default(),
            frames: 0,
        };
        for n in 0..=LATE {
            let store = StoreId::from_bytes(world.keyed("store", n));
            let mut disk = Disk::new(cast, store, None).map_err(|e| Broken(format!("no folder: {e}")))?;
            if n == NODE {
                let path = cast.path(&format!("{seed}-{with}-red-lines.toml"));
                std::fs::write(&path, RED_LINE)?;
                disk.red_lines = Some(path);
            }
            world.machines.push(Machine { disk, node: None, woken: Arc::default() });
            world.start(n)?;
        }
        Ok(world)
    }

    /// Bytes for one purpose of one object: the same in both worlds.
    pub(super) fn keyed<const N: usize>(&self, purpose: &str, object: usize) -> [u8; N] {
        let mixed = purpose.bytes().fold(self.seed, |sum, byte| sum.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte));
        Chance::new(mixed.wrapping_mul(0x9e37_79b9).wrapping_add(object as u64)).bytes()
    }

    pub(super) fn start(&mut self, n: usize) -> Checked {
        let failed = |e: &dyn std::fmt::Display| Broken(format!("node {n} does not start: {e}"));
        let node = self.machines[n].disk.start(&self.cast.organisations[n]).map_err(|e| failed(&e))?;
        let woken = Arc::clone(&self.machines[n].woken);
        node.on_commit(Box::new(move || woken.store(true, Ordering::SeqCst)));
        recall::keep_up(&node).map_err(|e| failed(&e))?;
        self.machines[n].node = Some(node);
        Ok(())
    }

    /// The node stops; its connections end.
    pub(super) fn stop(&mut self, n: usize) {
        self.machines[n].node = None;
        let gone: Vec<(usize, usize)> = self.links.keys().filter(|(a, b)| *a == n || *b == n).copied().collect();
        gone.into_iter().for_each(|pair| self.cut(pair));
    }

    pub(super) fn node(&self, n: usize) -> Checked<&Node> {
        self.machines[n].node.as_ref().ok_or_else(|| Broken("a node that is down".to_owned()))
    }
    pub(super) fn org(&self, n: usize) -> OrgId {
        self.cast.organisations[n].org
    }
    pub(super) fn agreement(&self, deal: Deal) -> AgreementId {
        AgreementId::from_bytes(self.keyed("agreement", deal.number))
    }
    /// A feed, whether it is there or not.
    pub(super) fn feed(&self, deal: Deal, from: usize, to: usize) -> FeedKey {
        let store = self.machines[from].disk.store();
        FeedKey { epoch: 0, store, sender: self.org(from), receiver: self.org(to), agreement: self.agreement(deal) }
    }

    /// The whole tale.
    pub(super) fn run(&mut self) -> Checked {
        let tale = self.tale;
        for step in &tale.steps {
            self.pass(step.wait_ms)?;
            let act = if self.with { &step.with } else { &step.without };
            if let Some(act) = act {
                let done = self.act(act)?;
                // Whatever stands in place of what is hidden counts as seen.
                let counted = match step.what {
                    "" => &mut self.counts.seen,
                    what => self.counts.hidden.entry(what).or_default(),
                };
                if done {
                    counted.0 += 1
                } else {
                    counted.1 += 1
                }
                if step.without.is_none() {
                    self.plant(act)?;
                }
            }
            self.settle()?;
        }
        Ok(())
    }

    /// Something is wrong with the node, so that the test can be seen to find it.
    fn plant(&mut self, hidden: &Act) -> Checked {
        let Some(half) = self.links.get_mut(&(NODE, OBSERVER)).and_then(|link| link.halves[0].as_mut()) else {
            return Ok(());
        };
        match (self.plan.planted, hidden) {
            (Some(Planted::Message), _) if half.session.is_open() => {
                half.session.send_notice(Notice { kind: 99, content: Vec::new() })?;
            }
            (Some(Planted::Close), Act::Stand(..) | Act::Suspend(..)) => half.session.close(CloseCode::BUSY),
            _ => {}
        }
        self.machines[NODE].woken.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Time passes: every half minute each node looks at the clock, and connections that ended are made again.
    fn pass(&mut self, ms: u64) -> Checked {
        let until = self.now.plus(ms);
        while self.ticked.plus(TICK_MS) <= until {
            // Of hours only the last half minute: nothing happens in between that a look would not find then.
            let last = UnixMillis(until.0 - (until.0 - BEGIN.0) % TICK_MS);
            self.ticked = if last.0 - self.ticked.0 > 8 * TICK_MS {
                UnixMillis(last.0 - 2 * TICK_MS)
            } else {
                self.ticked.plus(TICK_MS)
            };
            self.set_clock(self.ticked);
            for machine in &self.machines {
                let Some(node) = &machine.node else { continue };
                node.tick()?;
                recall::keep_up(node)?;
                machine.woken.store(true, Ordering::SeqCst);
            }
            self.timeouts();
            self.settle()?;
        }
        self.set_clock(until);
        self.connect_all()
    }

    fn set_clock(&mut self, now: UnixMillis) {
        self.now = now;
        self.machines.iter().for_each(|machine| machine.disk.clock.set(now));
    }

    fn timeouts(&mut self) {
        let now = self.now;
        for half in self.links.values_mut().flat_map(|link| link.halves.iter_mut().flatten()) {
            drop(half.session.handle_timeout(now));
        }
    }

    /// Everybody who is paired has a connection.
    fn connect_all(&mut self) -> Checked {
        for (a, b) in self.pairs.clone() {
            if self.links.contains_key(&(a, b)) {
                continue;
            }
            let opened = |n: usize, peer: usize, role| -> Checked<Option<Half>> {
                match Conversation::open(self.node(n)?, self.org(peer), role) {
                    Ok((talk, session)) => Ok(Some(Half { session, talk })),
                    Err(ExchangeFault::Unknown) => Ok(None),
                    Err(error) => Err(Broken(format!("a session of {n} with {peer} cannot begin: {error}"))),
                }
            };
            let (Some(near), Some(far)) = (opened(a, b, Role::Dialer)?, opened(b, a, Role::Acceptor)?) else {
                continue;
            };
            self.links.insert((a, b), Link { halves: [Some(near), Some(far)], wires: Default::default() });
            if (a, b) == (NODE, OBSERVER) {
                self.observed.begins(self.now);
            }
        }
        self.settle()
    }

    /// A connection is cut, and with it what is on its way.
    pub(super) fn cut(&mut self, pair: (usize, usize)) {
        if self.links.remove(&pair).is_some() && pair == (NODE, OBSERVER) {
            self.observed.ends(self.now, By::Node, None);
        }
    }

    /// Until nothing moves: first the observer's connection, then the others.
    pub(super) fn settle(&mut self) -> Checked {
        loop {
            let mut moved = false;
            // Each session looks once at what was committed.
            let woken: Vec<bool> = self.machines.iter().map(|m| m.woken.swap(false, Ordering::SeqCst)).collect();
            for pair in self.links.keys().copied().collect::<Vec<_>>() {
                for (end, n) in [pair.0, pair.1].into_iter().enumerate() {
                    if woken[n] {
                        moved = true;
                        self.work(pair, end)?;
                    }
                }
                moved |= self.flow(pair)?;
            }
            if !moved && self.machines.iter().all(|m| !m.woken.load(Ordering::SeqCst)) {
                return Ok(());
            }
        }
    }

    /// Delivers what is on a connection until nothing is.
    fn flow(&mut self, pair: (usize, usize)) -> Checked<bool> {
        let mut moved = false;
        // New links say hello by themselves.
        for end in 0..2 {
            self.send(pair, end)?;
        }
        while let Some((end, lane, content)) = self.next_frame(pair) {
            moved = true;
            self.frames += 1;
            if self.frames > FRAMES_MAX {
                return Err(Broken("frames are sent without end".to_owned()));
            }
            let now = self.now;
            let half = self.links.get_mut(&pair).and_then(|link| link.halves[end].as_mut());
            if let Some(half) = half {
                // A fault ends the session, which says so itself.
                drop(half.session.handle_frame(lane, &content, now));
                self.work(pair, end)?;
            }
        }
        Ok(moved)
    }

    /// The next frame of a connection, and to which end it goes: control first.
    fn next_frame(&mut self, pair: (usize, usize)) -> Option<(usize, Lane, Vec<u8>)> {
        let slow = self.slow && pair == (NODE, OBSERVER);
        let link = self.links.get_mut(&pair)?;
        for (at, lane) in [Lane::Control, Lane::Records].into_iter().enumerate() {
            for from in 0..2 {
                let waits = slow && lane == Lane::Records && from == 0;
                if !waits && let Some(content) = link.wires[from][at].pop_front() {
                    return Some((1 - from, lane, content));
                }
            }
        }
        None
    }

    /// Events to the core, due work into the windows, frames to the wires: what the driver does.
    fn work(&mut self, pair: (usize, usize), end: usize) -> Checked {
        let n = if end == 0 { pair.0 } else { pair.1 };
        let Some(mut half) = self.links.get_mut(&pair).and_then(|link| link.halves[end].take()) else { return Ok(()) };
        let mut closed = None;
        loop {
            let node = self.node(n)?;
            let worked = match half.session.poll_event() {
                Some(Event::Closed { code, .. }) => {
                    closed = Some(code);
                    break;
                }
                Some(event) => half.talk.event(node, &mut half.session, event).map(|()| true),
                None if half.session.is_closed() => break,
                None => half.talk.pump(node, &mut half.session),
            };
            match worked {
                Ok(true) => {}
                Ok(false) => break,
                Err(ExchangeFault::Peer(fault)) => half.session.fail(&fault),
                Err(ExchangeFault::Unknown) => half.session.close(CloseCode::REMOVED),
                Err(error) => return Err(Broken(format!("a session of node {n} cannot go on: {error}"))),
            }
        }
        let recalled = half.session.poll_recall() == Some(true);
        let over = half.session.is_closed();
        if let Some(link) = self.links.get_mut(&pair) {
            link.halves[end] = Some(half);
        }
        self.send(pair, end)?;
        if let (true, Some(code)) = (pair == (NODE, OBSERVER), closed) {
            let by = if end == 0 { By::Node } else { By::Observer };
            self.observed.ends(self.now, by, Some(code));
        }
        if recalled {
            // What is on its way goes with the connection.
            if pair == (NODE, OBSERVER) {
                self.observed.ends(self.now, By::Node, Some(CloseCode::BUSY));
            }
            self.links.remove(&pair);
        } else if over && let Some(link) = self.links.get_mut(&pair) {
            link.halves[end] = None;
            if link.halves.iter().all(Option::is_none) {
                self.links.remove(&pair);
            }
        }
        Ok(())
    }

    /// Frames to the wires, and before the eyes of the observer.
    fn send(&mut self, pair: (usize, usize), end: usize) -> Checked {
        let seen = pair == (NODE, OBSERVER);
        let Some(link) = self.links.get_mut(&pair) else { return Ok(()) };
        let Some(half) = link.halves[end].as_mut() else { return Ok(()) };
        let by = if end == 0 { By::Node } else { By::Observer };
        for (at, lane) in [Lane::Control, Lane::Records].into_iter().enumerate() {
            if self.stalled && seen && end == 0 && lane == Lane::Records {
                continue;
            }
            while let Some(content) = half.session.poll_lane(lane) {
                if content.len() > lane.frame_bytes_max() {
                    return Err(Broken("a frame that is too long".to_owned()));
                }
                match seen {
                    true => self.observed.frame(self.now, by, lane, &content),
                    false => self.counts.beside += 1,
                }
                link.wires[end][at].push_back(content);
            }
        }
        Ok(())
    }

    /// Says something on the observer's side of its connection.
    pub(super) fn observer_says(&mut self, say: impl FnOnce(&mut Session) -> Checked) -> Checked<bool> {
        let half = self.links.get_mut(&(NODE, OBSERVER)).and_then(|link| link.halves[1].as_mut());
        let Some(half) = half.filter(|half| half.session.is_open()) else { return Ok(false) };
        say(&mut half.session)?;
        self.send((NODE, OBSERVER), 1)?;
        Ok(true)
    }

    /// The observer asks for every entry of its feed, for some that are not there, for a slot without files, and for feeds
    /// that are not its own.
    pub(super) fn fetch_all(&mut self) -> Checked<bool> {
        if !self.links.contains_key(&(NODE, OBSERVER)) {
            return Ok(false);
        }
        let feed = self.feed(SEEN, NODE, OBSERVER);
        // What it holds, and some that it does not: more may be on its way.
        let length = feeds::in_row(self.node(OBSERVER)?, &feed)?.length;
        for entry in 0..length + 4 {
            self.fetch(&feed, "its own", entry, files::content_slot())?;
        }
        self.fetch(&feed, "its own", 0, NO_FILE)?;
        for (deal, to) in [(super::tale::WITH_OTHER, super::tale::OTHER), (super::tale::WITH_LATE, LATE)] {
            let feed = self.feed(deal, NODE, to);
            for entry in 0..3 {
                self.fetch(&feed, "of others", entry, files::content_slot())?;
            }
        }
        Ok(true)
    }

    /// One request, as the node answers it.
    fn fetch(&mut self, feed: &FeedKey, whose: &str, entry: u64, slot: u8) -> Checked {
        let node = self.node(NODE)?;
        let refused = |code: RefusedCode| (Reply::Refused { code: code as u16 }, Vec::new());
        let given = feeds::outgoing_of(node, self.org(OBSERVER), feed.id())
            .map(|feed| files::given(node, &feed, entry, slot))
            .transpose()?;
        let (reply, chunks) = match given {
            None | Some(Given::Nothing) => {
                // Planted: an entry that is there, and is no file's, is refused in another way.
                match self.plan.planted == Some(Planted::RefusalCode) && self.with && self.kept.len() > 3 {
                    true => refused(RefusedCode::Busy),
                    false => refused(RefusedCode::NotGiven),
                }
            }
            Some(Given::NotNow) => refused(RefusedCode::Busy),
            Some(Given::File(_, partition, row)) => {
                let (mut content, mut sizes) = (files::open_at(node, partition, &row, 0)?, Vec::new());
                let mut left = row.size;
                while left > 0 {
                    let mut chunk = vec![0; usize::try_from(left.min(limits::CHUNK_BYTES as u64))?];
                    content.read_exact(&mut chunk)?;
                    left -= chunk.len() as u64;
                    sizes.push(chunk.len());
                }
                (Reply::Header { size: row.size, chunks: row.chunks.clone() }, sizes)
            }
        };
        let asked = format!("{whose}, entry {entry}, slot {slot}");
        self.observed.file(self.now, asked, &reply.to_bytes()?, chunks);
        Ok(())
    }
}
