//! A wire between two nodes: forwards UDP datagrams on the loopback, notes when they pass, and may delay them.
//!
//! `suspend` reads from it when the last byte left, `sync-nothing` counts round trips by its delay. It changes
//! and drops nothing.

use anyhow::{Context, Result};
use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Datagrams below this carry acknowledgements and small messages.
const LOAD_BYTES: usize = 600;
/// Large datagrams of one connection, up to so many bytes, are greetings and probes of the path: a partner that is
/// suspended comes back for the control lane.
const GREETING_BYTES: u64 = 32 << 10;
/// Set in the first byte of a handshake's packets (RFC 9000, 17.2), which are padded and carry no load.
const LONG_HEADER: u8 = 0x80;
/// How often the signal to end is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// When something last passed towards the node behind the relay.
#[derive(Debug, Clone, Copy, Default)]
pub struct Passed {
    /// Any datagram.
    pub any: Option<Instant>,
    /// One that was large, and of an established connection.
    large: Option<Instant>,
    /// Bytes of such since the last handshake.
    since: u64,
    /// The last of them on the connections before that one, of those that carried load.
    before: Option<Instant>,
    /// Bytes so far.
    pub bytes: u64,
}

impl Passed {
    fn take(&mut self, first: u8, length: usize, now: Instant) {
        self.any = Some(now);
        self.bytes += length as u64;
        if first & LONG_HEADER != 0 {
            self.before = self.load();
            self.since = 0;
        } else if length >= LOAD_BYTES {
            self.large = Some(now);
            self.since += length as u64;
        }
    }

    /// When the last datagram passed that carried load: more than a connection begins with.
    pub fn load(&self) -> Option<Instant> {
        if self.since > GREETING_BYTES { self.large } else { self.before }
    }
}

/// Where a relay leads, and what passed.
#[derive(Default)]
struct Shared {
    node: OnceLock<SocketAddr>,
    /// The lock covers both directions: towards the node, and away from it.
    passed: Mutex<[Passed; 2]>,
    delay_ms: AtomicU64,
    end: AtomicBool,
}

/// One relay in front of one node. It ends when it is dropped.
pub struct Relay {
    /// What partners dial.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    /// A relay to a node whose address is told later.
    pub fn open() -> Result<Self> {
        let outer = UdpSocket::bind("127.0.0.1:0")?;
        let inner = UdpSocket::bind("127.0.0.1:0")?;
        let address = outer.local_addr()?;
        let shared = Arc::new(Shared::default());
        let client = Arc::new(Mutex::new(None));
        let mut threads = Vec::new();
        // Towards the node: the newest address that spoke to us is the client.
        let to = {
            let (shared, client) = (Arc::clone(&shared), Arc::clone(&client));
            move |from| {
                *client.lock().unwrap_or_else(PoisonError::into_inner) = Some(from);
                shared.node.get().copied()
            }
        };
        let back = move |_| *client.lock().unwrap_or_else(PoisonError::into_inner);
        threads.extend(forward(&outer, &inner, Arc::clone(&shared), 0, to)?);
        threads.extend(forward(&inner, &outer, Arc::clone(&shared), 1, back)?);
        Ok(Self { address, shared, threads })
    }

    /// Tells it where the node listens.
    pub fn leads_to(&self, node: &str) -> Result<()> {
        self.shared.node.set(node.parse()?).ok().context("the relay leads somewhere already")
    }

    /// From now on each datagram leaves so long after it came.
    pub fn delay(&self, delay: Duration) {
        let ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.shared.delay_ms.store(ms, Ordering::Relaxed);
    }

    /// What passed towards the node, and away from it.
    pub fn passed(&self) -> [Passed; 2] {
        *self.shared.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One direction: a thread that takes datagrams, and one that gives them on when they are due.
fn forward(
    from: &UdpSocket,
    to: &UdpSocket,
    shared: Arc<Shared>,
    direction: usize,
    target: impl Fn(SocketAddr) -> Option<SocketAddr> + Send + 'static,
) -> Result<[JoinHandle<()>; 2]> {
    let (from, to) = (from.try_clone()?, to.try_clone()?);
    from.set_read_timeout(Some(LOOK))?;
    let (sender, due) = mpsc::sync_channel::<(Instant, SocketAddr, Vec<u8>)>(16_384);
    let taking = thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while !shared.end.load(Ordering::Relaxed) {
            let Ok((length, peer)) = from.recv_from(&mut buffer) else { continue };
            let now = Instant::now();
            {
                let mut passed = shared.passed.lock().unwrap_or_else(PoisonError::into_inner);
                passed[direction].take(buffer[0], length, now);
            }
            let Some(target) = target(peer) else { continue };
            let delay = Duration::from_millis(shared.delay_ms.load(Ordering::Relaxed));
            if sender.send((now + delay, target, buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    });
    let giving = thread::spawn(move || {
        // Ends when the taking thread does.
        while let Ok((at, target, datagram)) = due.recv() {
            let left = at.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                thread::sleep(left);
            }
            drop(to.send_to(&datagram, target));
        }
    });
    Ok([taking, giving])
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{GREETING_BYTES, LONG_HEADER, Passed};
    use std::time::{Duration, Instant};

    #[test]
    fn what_a_connection_begins_with_is_no_load() {
        let (begun, mut passed) = (Instant::now(), Passed::default());
        let at = |ms| begun + Duration::from_millis(ms);
        for ms in 0..100 {
            passed.take(0x40, 1_200, at(ms));
        }
        assert_eq!(passed.load(), Some(at(99)));
        passed.take(LONG_HEADER, 1_200, at(500));
        passed.take(0x40, 1_200, at(501));
        assert_eq!(passed.load(), Some(at(99)), "a greeting");
        passed.take(LONG_HEADER, 1_200, at(600));
        assert_eq!(passed.load(), Some(at(99)), "another connection that carried none");
        for ms in 700..700 + GREETING_BYTES / 1_000 {
            passed.take(0x40, 1_200, at(ms));
        }
        assert_eq!(passed.load(), Some(at(699 + GREETING_BYTES / 1_000)), "releases again");
    }
}
