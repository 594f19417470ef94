//! Serving: wires node, partners and control socket together once, and stops them in order. Read this second.
//!
//! Everything that decides or stores is synchronous and lives elsewhere; this owns the tasks. Order of
//! the end: the signal, then the loops, the sessions, the answers of calls under way; then the socket is removed.

mod bringing;
mod round;
mod talks;

use crate::{
    clock::SystemClock,
    config::Home,
    control::server::{self, Live},
    custody,
    error::{Blame, Fault},
    node::Node,
    partners::PartnerState,
    peer::{
        Clock,
        accept::{self, Peers},
        book::{self, SharedBook},
        dial::{self, Jitter},
        driver::{Driver, Turns, Wakes},
        endpoint::{Endpoint, Settings},
        stop::{self, Stop, Stopper},
        tls,
    },
    recall,
    secret::{self, unlock::Unlock},
    share::fetching::Resting,
};
use entente_protocol::{id::OrgId, session::CloseCode};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde_json::{Value as Json, json};
use std::{
    fs,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use talks::Core;
use tokio::{sync::Notify, task::JoinSet};

/// How often it is looked at what the time of day changes: agreements that begin and end, records that become due.
const TICK: Duration = Duration::from_secs(30);
/// How often a running node looks after its clock and its certificate.
const UPKEEP: Duration = Duration::from_secs(10 * 60);

/// The partners as handshakes see them.
fn book_of(node: &Node) -> book::Book {
    let partners = node.book();
    let entry = |partner: &crate::partners::Partner| {
        let state = match partner.state {
            PartnerState::Active => book::PartnerState::Active,
            PartnerState::Suspended => book::PartnerState::Suspended,
            PartnerState::Removed => book::PartnerState::Removed,
        };
        book::Partner::by_card(&partner.card, state)
    };
    book::Book { partners: partners.iter().map(|(org, partner)| (*org, entry(partner))).collect() }
}

/// What the control socket may ask of a running node.
struct Running {
    node: Arc<Node>,
    peers: Arc<Peers>,
    book: SharedBook,
    wakes: Wakes,
    stopper: Stopper,
    resting: Arc<Resting>,
    /// Held from reading the partners until handshakes see them: an older book never replaces a newer one.
    refreshing: Mutex<()>,
    /// The chain that the endpoint shows.
    shown: Mutex<Vec<Vec<u8>>>,
}

impl Running {
    /// New connections show the certificate that the node has now.
    fn show_certificate(&self) -> Result<(), Fault> {
        let chain = self.node.keys.chain();
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if *shown != chain {
            let identity = tls_identity(&self.node)?;
            self.peers.endpoint.renew(identity).map_err(|e| Fault::setup("network", e))?;
            *shown = chain;
        }
        Ok(())
    }

    /// Partners and agreements changed: handshakes see it, links are held against it, sessions are woken.
    fn refresh(&self) {
        {
            let _one = self.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
            self.book.replace(book_of(&self.node));
        }
        self.peers.review();
        self.wakes.wake_all();
    }
}

impl Live for Running {
    async fn sync(&self, partner: Option<String>) -> Result<Json, Fault> {
        let book = self.node.book();
        let partners: Vec<OrgId> = match partner {
            Some(given) => vec![book.find(&given)?.0],
            None => book.iter().filter(|(_, p)| p.state == PartnerState::Active).map(|(org, _)| *org).collect(),
        };
        let (mut rounds, mut faults) = (Vec::new(), Vec::new());
        for partner in partners {
            match self.round(partner).await {
                Ok(round) => rounds.push(round),
                Err(fault) if fault.blame == Blame::Partner => faults.push(fault),
                Err(fault) => return Err(fault),
            }
        }
        // One that is off keeps nobody from the others; it is told when all have had their turn.
        match faults.pop() {
            None => Ok(json!(rounds)),
            Some(fault) if faults.is_empty() && rounds.is_empty() => Err(fault),
            Some(fault) => {
                let done: Vec<&str> = rounds.iter().filter_map(|round| round["handle"].as_str()).collect();
                let why: Vec<String> = faults.iter().chain([&fault]).map(|fault| fault.message.clone()).collect();
                let code = if faults.is_empty() { fault.code } else { "partners".to_owned() };
                let done = if done.is_empty() { "nobody".to_owned() } else { done.join(", ") };
                Err(Fault::partner(&code, format!("{} (exchanged with: {done})", why.join("; "))))
            }
        }
    }

    fn stop(&self) {
        self.stopper.stop();
    }

    fn changed(&self) {
        if let Err(fault) = self.show_certificate() {
            tracing::error!(%fault, "the certificate cannot be shown");
        }
        self.refresh();
    }
}

/// What a node does by itself while it runs, now and then: writes down how far its clock has come, and renews its
/// certificate in time. New connections show the new one; live ones end when theirs does, and are made again.
async fn upkeep(running: Arc<Running>) {
    let mut stop = running.peers.driver.stop.clone();
    loop {
        tokio::select! {
            () = stop.requested() => return,
            () = tokio::time::sleep(UPKEEP) => {}
        }
        let asked = Arc::clone(&running);
        let done = tokio::task::spawn_blocking(move || {
            let node = &asked.node;
            node.marks.observe(&node.holdings, node.clock.now())?;
            crate::keys::renew(node, false)?;
            asked.show_certificate()
        });
        if let Ok(Err(fault)) = done.await {
            tracing::error!(%fault, "the node's upkeep failed: see `entente status`");
        }
    }
}

/// What the time of day changes: versions and agreements that begin or end, records that become due or are kept no longer.
async fn tick(node: Arc<Node>, wakes: Wakes, mut stop: Stop) {
    loop {
        let ticked = Arc::clone(&node);
        let done = tokio::task::spawn_blocking(move || {
            ticked.tick()?;
            crate::keys::keyring::go_on(&ticked)?;
            Ok::<_, Fault>(recall::keep_up(&ticked)?)
        });
        match done.await {
            Ok(Ok(())) => wakes.wake_all(),
            Ok(Err(error)) => tracing::error!(%error, "what the time of day changes could not be looked after"),
            Err(error) => tracing::error!(%error, "what the time of day changes could not be looked after"),
        }
        tokio::select! {
            () = stop.requested() => return,
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// Each interval of the log that is over is told at once: a partner learns that time has passed, and not what woke us.
async fn intervals(node: Arc<Node>, wakes: Wakes, mut stop: Stop) {
    loop {
        let wait = custody::until_next(&node);
        tokio::select! {
            () = stop.requested() => return,
            () = tokio::time::sleep(wait) => {}
        }
        node.look();
        wakes.wake_all();
    }
}

fn jitter() -> Jitter {
    Arc::new(|below| secret::random::<8>().map_or(0, |bytes| u64::from_be_bytes(bytes) % below.max(1)))
}

/// What this node shows of itself now. Refused here what every partner would refuse.
fn tls_identity(node: &Arc<Node>) -> Result<tls::Identity, Fault> {
    let chain = node.keys.chain().into_iter().map(CertificateDer::from).collect();
    let key = PrivatePkcs8KeyDer::from(node.keys.tls.expose().clone());
    let folder = node.home.keys();
    let told = |why: &dyn std::fmt::Display| {
        let what = format!(
            "partners would refuse this node's certificate ({why}): restore `{}` from a backup, or make a new certificate with \
             `entente identity renew`",
            folder.display()
        );
        Fault::setup("identity", what)
    };
    let identity = tls::Identity::new(node.keys.org, chain, key, node.clock.now()).map_err(|why| told(&why))?;
    let own = book::Partner::by_card(&node.keys.card, book::PartnerState::Active);
    identity.is_taken(own, clock_of(node)).map_err(|why| told(&why))?;
    Ok(identity)
}

fn clock_of(node: &Arc<Node>) -> Clock {
    let clock = Arc::clone(&node.clock);
    Clock::new(move || clock.now())
}

fn endpoint(node: &Arc<Node>, book: SharedBook) -> Result<Endpoint, Fault> {
    let setup = |e: &dyn std::fmt::Display| Fault::setup("network", e);
    let identity = tls_identity(node)?;
    let clock = clock_of(node);
    let settings = Settings { window_bytes: node.config.window_bytes, ..Settings::default() };
    Endpoint::bind(node.config.listen, identity, book, clock, settings).map_err(|e| setup(&e))
}

/// Serves until `until` is over or a stop was asked for; gives it what runs.
async fn serve<F: Future<Output = R> + Send, R>(
    node: Arc<Node>,
    until: impl FnOnce(Arc<RunningNode>) -> F,
) -> Result<R, Fault> {
    let listener = server::bind(&node.home)?;
    let book = SharedBook::new(book_of(&node));
    let endpoint = endpoint(&node, book.clone())?;
    let address = endpoint.local_addr().map_err(|e| Fault::setup("network", e))?;
    let (stopper, stop) = stop::signal();
    let wakes = Wakes::default();
    let core = Arc::new(Core::new(Arc::clone(&node)));
    let clock = Arc::clone(&node.clock);
    let driver = Driver {
        exchange: core,
        wakes: wakes.clone(),
        turns: Turns::default(),
        clock: Clock::new(move || clock.now()),
        stop: stop.clone(),
    };
    let peers = Peers::new(endpoint, driver, stopper.clone());
    let files = Arc::new(Notify::new());
    let resting = Arc::new(Resting::default());
    let running = Arc::new(Running {
        node: Arc::clone(&node),
        peers: Arc::clone(&peers),
        book,
        wakes: wakes.clone(),
        stopper,
        resting: Arc::clone(&resting),
        refreshing: Mutex::new(()),
        shown: Mutex::new(node.keys.chain()),
    });
    let (woken, files_due) = (Arc::downgrade(&running), Arc::clone(&files));
    let seen = Mutex::new(node.generation());
    node.on_commit(Box::new(move || {
        let Some(running) = woken.upgrade() else { return };
        let generation = running.node.generation();
        let before = std::mem::replace(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner), generation);
        if before == generation {
            running.wakes.wake_all();
        } else {
            running.refresh();
        }
        files_due.notify_one();
    }));
    // Whatever a caller makes of the error: a node whose store failed says nothing more to anyone.
    let failing = Arc::downgrade(&peers);
    node.holdings.on_failure(Box::new(move |cause| {
        if let Some(peers) = failing.upgrade() {
            peers.fail(cause);
        }
    }));
    tracing::info!(address = %address, organisation = %node.keys.org, "serving");
    let mut tasks = JoinSet::new();
    tasks.spawn(accept::accept(Arc::clone(&peers)));
    tasks.spawn(dial::dial(Arc::clone(&peers), jitter()));
    tasks.spawn(upkeep(Arc::clone(&running)));
    tasks.spawn(bringing::bring(Arc::clone(&node), Arc::clone(&peers), resting, files));
    tasks.spawn(tick(Arc::clone(&node), wakes, stop.clone()));
    tasks.spawn(intervals(Arc::clone(&node), running.wakes.clone(), stop.clone()));
    tasks.spawn(server::serve(listener, Arc::clone(&node), Arc::clone(&running), stop.clone()));
    let ending = ending(&mut tasks, until(Arc::new(RunningNode(Arc::clone(&running)))), stop.clone()).await;
    running.stopper.stop();
    // Whoever asked is answered, also the one who asked to stop.
    while tasks.join_next().await.is_some() {}
    peers.endpoint.close(CloseCode::SHUTDOWN);
    let _ = fs::remove_file(node.home.path().join(Home::SOCKET));
    if let Some(cause) = peers.fatal() {
        let store = node.home.store();
        return Err(Fault::store(format!("the store `{}` failed, and the node has stopped: {cause}", store.display())));
    }
    match ending {
        Ending::Done(result) => Ok(result),
        Ending::Stopped => Err(Fault::setup("stopped", "the node was stopped")),
        Ending::Broken => {
            Err(Fault::setup("broken", "a part of the node ended by itself, and the node has stopped: see its log"))
        }
    }
}

/// Why a node ends.
#[derive(Debug, PartialEq, Eq)]
enum Ending<R> {
    /// What it was to run for is done.
    Done(R),
    Stopped,
    /// A part of it ended by itself, which none does: without it the node would go on deaf.
    Broken,
}

async fn ending<R>(tasks: &mut JoinSet<()>, until: impl Future<Output = R>, mut stop: Stop) -> Ending<R> {
    let asked = stop.clone();
    tokio::select! {
        biased;
        result = until => Ending::Done(result),
        () = stop.requested() => Ending::Stopped,
        // Parts end when they are asked to, and may be seen before the signal is.
        Some(_) = tasks.join_next() => if asked.is_requested() { Ending::Stopped } else { Ending::Broken },
    }
}

/// A node that is being served, for who runs something beside it.
pub struct RunningNode(Arc<Running>);

impl RunningNode {
    /// One round with a partner, or with all.
    pub async fn sync(&self, partner: Option<String>) -> Result<Json, Fault> {
        self.0.sync(partner).await
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Fault> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Fault::setup("runtime", e))
}

/// Returns at Ctrl-C or when the system asks the process to end.
async fn signalled() {
    let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    match terminate {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}

/// Has a thread of its own call `told` when this process is asked to end; it then goes on until it ends by itself.
pub fn when_signalled(told: impl FnOnce() + Send + 'static) -> Result<(), Fault> {
    let runtime = runtime()?;
    std::thread::spawn(move || {
        runtime.block_on(signalled());
        told();
    });
    Ok(())
}

/// Serves a home until stopped.
pub fn run(home: Home, unlock: Unlock) -> Result<(), Fault> {
    let node = Arc::new(Node::open(home, &unlock, Arc::new(SystemClock))?);
    match runtime()?.block_on(serve(node, |_| signalled())) {
        Err(fault) if fault.code == "stopped" => Ok(()),
        other => other,
    }
}

/// One round with a partner, or with all, in this process; then it ends.
pub fn sync_once(home: Home, unlock: Unlock, partner: Option<String>) -> Result<Json, Fault> {
    let node = Arc::new(Node::open(home, &unlock, Arc::new(SystemClock))?);
    runtime()?.block_on(serve(node, |running| async move { running.sync(partner).await }))?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loop of the node panics. The node does not go on without it.
    #[tokio::test]
    async fn a_part_that_ends_by_itself_ends_the_node() {
        let (stopper, stop) = stop::signal();
        let mut tasks = JoinSet::new();
        tasks.spawn(std::future::pending());
        let panicking = async { assert!(tasks_never_end(), "a part of the node panics") };
        tasks.spawn(panicking);
        let ended = ending(&mut tasks, std::future::pending::<()>(), stop.clone()).await;
        assert_eq!(ended, Ending::Broken);
        assert_eq!(ending(&mut tasks, async { 7 }, stop.clone()).await, Ending::Done(7));
        stopper.stop();
        assert_eq!(ending(&mut tasks, std::future::pending::<()>(), stop).await, Ending::Stopped);
    }

    fn tasks_never_end() -> bool {
        false
    }
}
