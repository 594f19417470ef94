//! Many at once at a running node: partners with valid certificates, and strangers with none, who take what they get.
//!
//! Called by the bench and by stories. Clients of their own on the loopback, real packets; none of them is an `entente`
//! process, because a hostile one would not be. What was asked for and what the node kept is counted.

mod member;
mod packet;
mod slow;
mod stranger;
mod streams;

pub use member::Member;
pub use slow::Slow;
pub use stranger::{Stranger, Visit};
pub use streams::Streams;

use std::{
    error::Error,
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::runtime::Runtime;

/// How a client fails.
pub type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What was asked of the node, and what it kept: connections, streams or handshakes.
#[derive(Debug, Default)]
pub struct Count {
    asked: AtomicU64,
    held: AtomicU64,
    most: AtomicU64,
    refused: AtomicU64,
    ended: AtomicU64,
}

impl Count {
    /// One more is tried.
    pub fn ask(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }
    /// The node would not have it.
    pub fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
    /// The node has it, for as long as the value lives.
    pub fn hold(self: &Arc<Self>) -> Held {
        let held = self.held.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(held, Ordering::Relaxed);
        Held(Arc::clone(self))
    }
    /// How many the node has now.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
    /// How many it had at once at most.
    #[must_use]
    pub fn most(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }
    /// How many it would not have.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let (asked, most, held) = (of(&self.asked), self.most(), self.held());
        write!(
            f,
            "{asked} asked for, {most} kept at once at most and {held} at the end, {} refused, {} kept for a while and closed",
            of(&self.refused),
            of(&self.ended)
        )
    }
}

/// Something that the node keeps for us.
#[derive(Debug)]
pub struct Held(Arc<Count>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// What all clients of a load count.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections of partners.
    pub connections: Arc<Count>,
    /// Their streams, lanes included.
    pub streams: Arc<Count>,
    /// Handshakes of strangers.
    pub handshakes: Arc<Count>,
}

/// Clients at work, on a thread of their own. Dropping it takes all of them away at once.
pub struct Load {
    runtime: Option<Runtime>,
    /// What came of it so far.
    pub counts: Arc<Counts>,
}

impl Load {
    /// Nobody yet.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn new() -> Fallible<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self { runtime: Some(runtime), counts: Arc::default() })
    }

    /// One more client, which works until it is taken away.
    pub fn add(&self, client: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            drop(runtime.spawn(client));
        }
    }

    /// Waits until so many of something are kept, or `patience` is over: what is refused never is.
    pub fn settle(&self, patience: Duration, enough: impl Fn(&Counts) -> bool) {
        let begun = std::time::Instant::now();
        while begun.elapsed() < patience && !enough(&self.counts) {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
