//! A line between two nodes that can be as bad as lines are: a UDP relay that loses, delays, doubles, overtakes, is thin,
//! is cut in one direction, and changes the address that the node behind it sees.
//!
//! Called by stories over real processes. What happens to the nth datagram of a direction comes from the seed alone;
//! when datagrams come is the machine's. It reads nothing of what it carries.

use crate::Chance;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};
use tokio::{net::UdpSocket, runtime::Runtime, sync::Notify, time::Instant};

/// One direction of a line. The default carries everything at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Line {
    /// Of a thousand datagrams, so many are lost.
    pub lost: u64,
    /// So many come twice.
    pub twice: u64,
    /// So many wait for ten times the delay and the jitter, and are overtaken.
    pub late: u64,
    /// How long the line is.
    pub delay: Duration,
    /// At most so much longer, by chance.
    pub jitter: Duration,
    /// Bytes a second; no bound where 0.
    pub rate: u64,
    /// Bytes that wait where there is a bound; what does not fit is lost.
    pub queue: u64,
    /// Nothing passes.
    pub cut: bool,
}

/// What a relay let through in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    /// Datagrams given on, each copy of a doubled one too.
    pub datagrams: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Datagrams that were not given on.
    pub lost: u64,
}

/// Towards the node behind the relay.
pub const TOWARDS: usize = 0;
/// Away from it.
pub const AWAY: usize = 1;

#[derive(Default)]
struct State {
    node: Option<SocketAddr>,
    lines: [Line; 2],
    passed: [Passed; 2],
    /// How often the address towards the node was changed.
    moves: u64,
    end: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Tells the carrier that the state changed.
    changed: Notify,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One relay in front of one node. It ends when it is dropped.
pub struct Relay {
    /// What partners dial.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    carrier: Option<JoinHandle<()>>,
}

impl Relay {
    /// A relay on this address of the machine; where it leads to is told later.
    ///
    /// # Errors
    /// If there is no socket or thread to be had.
    pub fn open(seed: u64) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let outer = runtime.block_on(socket())?;
        let address = outer.local_addr()?;
        let shared = Arc::new(Shared::default());
        let carrier = Carrier {
            shared: Arc::clone(&shared),
            chance: [Chance::new(seed, "towards"), Chance::new(seed, "away")],
            client: None,
            waiting: BinaryHeap::new(),
            content: BTreeMap::new(),
            free: [Instant::now(); 2],
            order: 0,
        };
        let carrier = std::thread::Builder::new().spawn(move || carrier.run(&runtime, &outer))?;
        Ok(Self { address, shared, carrier: Some(carrier) })
    }

    /// Tells it where the node listens.
    pub fn leads_to(&self, node: SocketAddr) {
        self.shared.state().node = Some(node);
    }

    /// What both directions are like from now on.
    pub fn becomes(&self, lines: [Line; 2]) {
        self.shared.state().lines = lines;
    }

    /// Cuts a direction, or heals it.
    pub fn cut(&self, direction: usize, cut: bool) {
        if let Some(line) = self.shared.state().lines.get_mut(direction) {
            line.cut = cut;
        }
    }

    /// From now on the node sees another address, and what it sends to the old one goes nowhere.
    pub fn moves(&self) {
        self.shared.state().moves += 1;
        self.shared.changed.notify_one();
    }

    /// What passed towards the node, and away from it.
    #[must_use]
    pub fn passed(&self) -> [Passed; 2] {
        self.shared.state().passed
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.state().end = true;
        self.shared.changed.notify_one();
        if let Some(carrier) = self.carrier.take() {
            drop(carrier.join());
        }
    }
}

async fn socket() -> io::Result<UdpSocket> {
    UdpSocket::bind("127.0.0.1:0").await
}

/// What becomes of one datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fate {
    copies: u32,
    wait: Duration,
}

/// Draws as often whatever comes of it, so that a datagram's fate does not hang on those before it.
fn fate(line: &Line, chance: &mut Chance) -> Fate {
    let [lost, twice, late] = [line.lost, line.twice, line.late].map(|often| chance.below(1_000) < often);
    let jitter = u64::try_from(line.jitter.as_micros()).unwrap_or(u64::MAX);
    let wait = line.delay + Duration::from_micros(chance.below(jitter + 1));
    let copies = if lost || line.cut { 0 } else { 1 + u32::from(twice) };
    Fate { copies, wait: if late { 10 * (wait + line.jitter) } else { wait } }
}

/// Owns the sockets, and everything that is under way.
struct Carrier {
    shared: Arc<Shared>,
    chance: [Chance; 2],
    /// The newest address that spoke to us.
    client: Option<SocketAddr>,
    /// When each is due; the order decides between equals.
    waiting: BinaryHeap<Reverse<(Instant, u64)>>,
    content: BTreeMap<u64, (usize, Vec<u8>)>,
    /// When each direction has given on all that waits.
    free: [Instant; 2],
    order: u64,
}

impl Carrier {
    fn run(mut self, runtime: &Runtime, outer: &UdpSocket) {
        // A socket that fails ends the line; the story then says what did not come.
        drop(runtime.block_on(self.carry(outer)));
    }

    async fn carry(&mut self, outer: &UdpSocket) -> io::Result<()> {
        let (mut inner, mut moved) = (socket().await?, 0);
        let (mut towards, mut away) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        let shared = Arc::clone(&self.shared);
        loop {
            let due = self.waiting.peek().map(|Reverse((due, _))| *due);
            let far = Instant::now() + Duration::from_secs(3_600);
            tokio::select! {
                biased;
                () = shared.changed.notified() => {
                    let (end, moves) = { let state = shared.state(); (state.end, state.moves) };
                    if end {
                        return Ok(());
                    }
                    if moves > moved {
                        (inner, moved) = (socket().await?, moves);
                    }
                }
                () = tokio::time::sleep_until(due.unwrap_or(far)), if due.is_some() => self.give(outer, &inner).await,
                // An error is the answer of a port where nobody listens (any more).
                got = outer.recv_from(&mut towards) => if let Ok((length, from)) = got {
                    self.client = Some(from);
                    self.take(TOWARDS, towards.get(..length).unwrap_or_default());
                },
                got = inner.recv_from(&mut away) => if let Ok((length, _)) = got {
                    self.take(AWAY, away.get(..length).unwrap_or_default());
                },
            }
        }
    }

    /// Decides about one datagram.
    fn take(&mut self, direction: usize, datagram: &[u8]) {
        let mut state = self.shared.state();
        let line = state.lines[direction];
        let Fate { copies, wait } = fate(&line, &mut self.chance[direction]);
        let mut left = Instant::now();
        if line.rate > 0 && copies > 0 {
            let bytes = datagram.len() as u64;
            let begins = self.free[direction].max(left);
            let waits = (begins - left).as_micros() * u128::from(line.rate) / 1_000_000;
            if waits + u128::from(bytes) > u128::from(line.queue) {
                state.passed[direction].lost += 1;
                return;
            }
            left = begins + Duration::from_micros(bytes * 1_000_000 / line.rate);
            self.free[direction] = left;
        }
        state.passed[direction].lost += u64::from(copies == 0);
        for _ in 0..copies {
            self.order += 1;
            self.waiting.push(Reverse((left + wait, self.order)));
            self.content.insert(self.order, (direction, datagram.to_vec()));
        }
    }

    /// Gives on what is due.
    async fn give(&mut self, outer: &UdpSocket, inner: &UdpSocket) {
        while let Some(Reverse((due, order))) = self.waiting.peek().copied() {
            if due > Instant::now() {
                return;
            }
            self.waiting.pop();
            let Some((direction, datagram)) = self.content.remove(&order) else { continue };
            let (socket, target) = match direction {
                TOWARDS => (inner, self.shared.state().node),
                _ => (outer, self.client),
            };
            let Some(target) = target else { continue };
            if socket.send_to(&datagram, target).await.is_ok() {
                let passed = &mut self.shared.state().passed[direction];
                passed.datagrams += 1;
                passed.bytes += datagram.len() as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, error::Error, net};

    const COUNT: u32 = 400;

    /// Sends numbered datagrams through a line of this kind, one way, and gives what comes out in its order.
    fn through(seed: u64, line: Line) -> Result<(Vec<u32>, Passed), Box<dyn Error>> {
        let (node, client) = (net::UdpSocket::bind("127.0.0.1:0")?, net::UdpSocket::bind("127.0.0.1:0")?);
        node.set_read_timeout(Some(Duration::from_millis(500)))?;
        let relay = Relay::open(seed)?;
        relay.leads_to(node.local_addr()?);
        relay.becomes([line, Line::default()]);
        let address = relay.address;
        let sends = std::thread::spawn(move || {
            for number in 0..COUNT {
                drop(client.send_to(&number.to_be_bytes(), address));
                // Slower than the sockets, so that nothing is lost but by the line.
                std::thread::sleep(Duration::from_micros(500));
            }
        });
        let mut out = Vec::new();
        let mut buffer = [0; 4];
        while node.recv_from(&mut buffer).is_ok() {
            out.push(u32::from_be_bytes(buffer));
        }
        sends.join().map_err(|_| "the sender")?;
        Ok((out, relay.passed()[TOWARDS]))
    }

    #[test]
    fn a_good_line_carries_all_in_order() -> Result<(), Box<dyn Error>> {
        let (out, passed) = through(1, Line::default())?;
        assert_eq!(out, (0..COUNT).collect::<Vec<_>>());
        assert_eq!(passed, Passed { datagrams: 400, bytes: 1_600, lost: 0 });
        Ok(())
    }

    #[test]
    fn a_bad_line_loses_doubles_and_reorders_by_its_seed() -> Result<(), Box<dyn Error>> {
        let bad = Line { lost: 100, twice: 100, late: 100, jitter: Duration::from_millis(1), ..Line::default() };
        let of = |out: &[u32]| out.iter().copied().collect::<BTreeSet<u32>>();
        let twice = |out: &[u32]| {
            let mut sorted = out.to_vec();
            sorted.sort_unstable();
            sorted.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect::<Vec<_>>()
        };
        let (first, passed) = through(7, bad)?;
        assert!((10..100).contains(&passed.lost) && of(&first).len() as u64 == u64::from(COUNT) - passed.lost);
        assert!(twice(&first).len() > 10 && !first.is_sorted(), "{first:?}");
        let (again, _) = through(7, bad)?;
        assert_eq!((of(&again), twice(&again)), (of(&first), twice(&first)), "the same seed, the same fates");
        assert_ne!(of(&through(8, bad)?.0), of(&first), "another seed, others");
        Ok(())
    }

    #[test]
    fn a_thin_line_drops_what_does_not_wait() -> Result<(), Box<dyn Error>> {
        let (out, passed) = through(2, Line { rate: 1_000, queue: 200, ..Line::default() })?;
        assert!(out.len() >= 50 && passed.lost > 100, "{} came, {} were lost", out.len(), passed.lost);
        assert!(out.is_sorted() && passed.datagrams == out.len() as u64);
        Ok(())
    }

    #[test]
    fn one_direction_is_cut_and_the_address_changes() -> Result<(), Box<dyn Error>> {
        let (node, client) = (net::UdpSocket::bind("127.0.0.1:0")?, net::UdpSocket::bind("127.0.0.1:0")?);
        for socket in [&node, &client] {
            socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        }
        let relay = Relay::open(3)?;
        relay.leads_to(node.local_addr()?);
        let mut buffer = [0; 16];
        client.send_to(b"there", relay.address)?;
        let (_, seen) = node.recv_from(&mut buffer)?;
        node.send_to(b"back", seen)?;
        assert_eq!(client.recv_from(&mut buffer)?, (4, relay.address));
        relay.cut(TOWARDS, true);
        client.send_to(b"there", relay.address)?;
        node.send_to(b"back", seen)?;
        assert_eq!(client.recv_from(&mut buffer)?.0, 4, "the other direction goes on");
        assert!(node.recv_from(&mut buffer).is_err());
        relay.cut(TOWARDS, false);
        relay.moves();
        client.send_to(b"there", relay.address)?;
        let (_, moved) = node.recv_from(&mut buffer)?;
        assert_ne!(moved, seen);
        node.send_to(b"back", seen)?;
        assert!(client.recv_from(&mut buffer).is_err(), "the old address leads nowhere");
        node.send_to(b"back", moved)?;
        assert_eq!(client.recv_from(&mut buffer)?.0, 4);
        Ok(())
    }
}
