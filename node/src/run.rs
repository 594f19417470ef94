//! Serving: wires node, partners and control socket together once, and stops them in order. Read this second.
//!
//! Everything that decides or stores is synchronous and lives elsewhere; this owns the tasks. Order of
//! the end: the signal, then the loops, then the sessions, then the socket is removed.

use crate::{
    clock::SystemClock,
    config::Home,
    control::server::{self, Live},
    error::Fault,
    exchange::{Conversation, ExchangeFault},
    node::Node,
    partners::PartnerState,
    peer::{
        Clock, Connection,
        accept::{self, Peers},
        book::{self, SharedBook},
        dial::{self, Jitter},
        driver::{Driver, Ended, Exchange, ExchangeError, Wakes},
        endpoint::{Endpoint, Settings},
        fetch::{self, FetchError, FetchReply},
        stop::{self, Stopper},
        tls,
    },
    records::gate::RELEASE_LOG,
    seal::keyring::Partition,
    secret::{self, unlock::Unlock},
    share::{
        feeds, fetching,
        files::{self},
    },
    store::layout::Table,
};
use entente_protocol::{
    agreement::Standing,
    id::OrgId,
    session::{
        CloseCode, Event, Role, Session,
        fetch::{RefusedCode, Request},
    },
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde_json::{Value as Json, json};
use std::{
    collections::BTreeMap,
    fs,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{sync::Notify, task::JoinSet};

/// How long one round with partners may take.
const ROUND: Duration = Duration::from_secs(120);
/// How long a partner has to answer before a round gives it up.
const CONNECT: Duration = Duration::from_secs(15);
/// A round is over when nothing moved for so long.
const QUIET: Duration = Duration::from_millis(400);

/// The synchronous core behind the driver: one conversation for each session.
struct Core {
    node: Arc<Node>,
    talks: Mutex<BTreeMap<OrgId, Arc<Mutex<Conversation>>>>,
}

impl Core {
    fn talk(&self, peer: OrgId) -> Result<Arc<Mutex<Conversation>>, ExchangeError> {
        let talks = self.talks.lock().unwrap_or_else(PoisonError::into_inner);
        talks.get(&peer).cloned().ok_or_else(|| ExchangeError::Internal("no session with this partner".to_owned()))
    }
}

impl From<ExchangeFault> for ExchangeError {
    fn from(fault: ExchangeFault) -> Self {
        match fault {
            ExchangeFault::Peer(fault) => Self::Peer(fault),
            ExchangeFault::Unknown => Self::Removed,
            ExchangeFault::Fatal(error) => Self::Fatal(error.to_string()),
            ExchangeFault::Send(error) => Self::Internal(error.to_string()),
        }
    }
}

impl Exchange for Core {
    fn open(&self, peer: OrgId, role: Role) -> Result<Session, ExchangeError> {
        let (conversation, session) = Conversation::open(&self.node, peer, role)?;
        let mut talks = self.talks.lock().unwrap_or_else(PoisonError::into_inner);
        talks.insert(peer, Arc::new(Mutex::new(conversation)));
        self.node.note_connected(peer, true);
        Ok(session)
    }

    fn event(&self, peer: OrgId, session: &mut Session, event: Event) -> Result<(), ExchangeError> {
        let talk = self.talk(peer)?;
        let mut talk = talk.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(talk.event(&self.node, session, event)?)
    }

    fn pump(&self, peer: OrgId, session: &mut Session) -> Result<bool, ExchangeError> {
        let talk = self.talk(peer)?;
        let mut talk = talk.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(talk.pump(&self.node, session)?)
    }

    fn fetch(&self, peer: OrgId, request: Request) -> Result<FetchReply, RefusedCode> {
        let node = &self.node;
        let refuse = |error: &dyn std::fmt::Display| {
            tracing::warn!(partner = %peer.short(), %error, "a file could not be given");
            RefusedCode::NotGiven
        };
        let mut keys = feeds::agreements_with(node, peer)
            .into_iter()
            .filter(|(_, _, standing)| *standing == Standing::Active)
            .map(|(agreement, _, _)| feeds::outgoing(node, peer, agreement));
        let feed = keys.find(|key| key.id() == request.feed).ok_or(RefusedCode::NotGiven)?;
        let row = files::cleared(node, &feed, request.entry, request.slot).map_err(|e| refuse(&e))?;
        let row = row.ok_or(RefusedCode::NotGiven)?;
        let content =
            files::open_at(node, Partition::Own, &row, u64::from(request.from_chunk)).map_err(|e| refuse(&e))?;
        Ok(FetchReply { size: row.size, chunks: row.chunks, content: Box::new(content) })
    }

    fn closed(&self, peer: OrgId, ended: &Ended) {
        self.node.note_connected(peer, false);
        if let Ended::Closed { code, by_peer } = ended
            && !matches!(*code, CloseCode::DONE | CloseCode::SHUTDOWN | CloseCode::REPLACED)
        {
            let side = if *by_peer { "the partner ended the session" } else { "the session was ended here" };
            self.node.note_error(peer, format!("{side}: {}", code.name()));
        }
    }
}

/// The partners as handshakes see them.
fn book_of(node: &Node) -> book::Book {
    let partners = node.book();
    let entry = |partner: &crate::partners::Partner| book::Partner {
        root: CertificateDer::from(partner.card.payload().root.clone()),
        state: match partner.state {
            PartnerState::Active => book::PartnerState::Active,
            PartnerState::Suspended => book::PartnerState::Suspended,
            PartnerState::Removed => book::PartnerState::Removed,
        },
        revoked: partner.card.withdrawn().collect(),
        addresses: partner.card.payload().addresses.iter().map(|a| a.as_str().to_owned()).collect(),
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
}

impl Running {
    /// Partners and agreements changed: handshakes see it, links are held against it, sessions are woken.
    fn refresh(&self) {
        self.book.replace(book_of(&self.node));
        self.peers.review();
        self.wakes.wake_all();
    }

    /// What moves while a round is under way; equal twice means that nothing did.
    fn picture(&self, partner: OrgId) -> Result<Picture, Fault> {
        let node = &self.node;
        let log = node.holdings.count(Partition::Own, Table::RecordList, RELEASE_LOG)?;
        let mut picture = Picture::default();
        for (agreement, digest, standing) in feeds::agreements_with(node, partner) {
            let out = feeds::outgoing(node, partner, agreement);
            let row = feeds::out_row(node, &out, digest).map_err(Fault::store)?;
            let acknowledged = row.countersigned.map_or(0, |c| c.length);
            let given = standing != Standing::Active || (row.filled == log && row.version == digest);
            picture.settled &= acknowledged == row.length && given;
            picture.sent += row.length;
            picture.acknowledged += acknowledged;
            if let Some(store) = feeds::known_store(node, partner, agreement).map_err(Fault::store)? {
                let incoming = feeds::incoming(node, partner, store, agreement);
                picture.received += feeds::in_row(node, &incoming).map_err(Fault::store)?.length;
            }
        }
        let waiting = fetching::wanted(node).map_err(Fault::store)?;
        picture.files = waiting.iter().filter(|w| w.file.feed.sender == partner).count();
        picture.settled &= picture.files == 0;
        Ok(picture)
    }

    async fn round(&self, partner: OrgId) -> Result<Json, Fault> {
        let handle = self.node.handle_of(partner);
        if self.node.book().get(partner).is_none_or(|p| p.state == PartnerState::Removed) {
            return Err(Fault::partner("removed", format!("`{handle}` was removed: no connection is made to it")));
        }
        let started = Instant::now();
        while !self.node.health(partner).connected {
            if started.elapsed() > CONNECT {
                let why = self.node.health(partner).error.unwrap_or_else(|| "no answer".to_owned());
                return Err(Fault::partner("unreachable", format!("`{handle}` cannot be reached: {why}")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.wakes.wake(partner);
        let (mut last, mut since) = (self.picture(partner)?, Instant::now());
        loop {
            tokio::time::sleep(Duration::from_millis(25)).await;
            let now = self.picture(partner)?;
            if now != last {
                (last, since) = (now, Instant::now());
            } else if last.settled && since.elapsed() > QUIET {
                break;
            } else if started.elapsed() > ROUND {
                return Err(Fault::partner(
                    "slow",
                    format!("`{handle}`: the round did not end in time; it goes on while the node runs"),
                ));
            }
        }
        Ok(json!({
            "id": partner.to_string(),
            "handle": handle,
            "sent": last.sent,
            "acknowledged": last.acknowledged,
            "received": last.received,
        }))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Picture {
    settled: bool,
    sent: u64,
    acknowledged: u64,
    received: u64,
    files: usize,
}

impl Default for Picture {
    fn default() -> Self {
        Self { settled: true, sent: 0, acknowledged: 0, received: 0, files: 0 }
    }
}

impl Live for Running {
    async fn sync(&self, partner: Option<String>) -> Result<Json, Fault> {
        let book = self.node.book();
        let partners: Vec<OrgId> = match partner {
            Some(given) => vec![book.find(&given)?.0],
            None => book.iter().filter(|(_, p)| p.state == PartnerState::Active).map(|(org, _)| *org).collect(),
        };
        let mut rounds = Vec::new();
        for partner in partners {
            rounds.push(self.round(partner).await?);
        }
        Ok(json!(rounds))
    }

    fn stop(&self) {
        self.stopper.stop();
    }

    fn changed(&self) {
        self.refresh();
    }
}

/// Brings the files that releases gave leave to fetch, one after another, as long as their senders are connected.
async fn bring_files(node: Arc<Node>, peers: Arc<Peers>, due: Arc<Notify>) {
    let mut stop = peers.driver.stop.clone();
    loop {
        tokio::select! {
            () = stop.requested() => return,
            () = due.notified() => {}
            () = tokio::time::sleep(Duration::from_secs(5)) => {}
        }
        let asked = Arc::clone(&node);
        let listed = tokio::task::spawn_blocking(move || fetching::wanted(&asked)).await;
        let wanted = match listed {
            Ok(Ok(wanted)) => wanted,
            Ok(Err(error)) => {
                tracing::error!(%error, "the files to fetch cannot be listed");
                continue;
            }
            Err(_) => return,
        };
        for file in wanted {
            let Some(connection) = peers.links.connection(file.file.feed.sender) else { continue };
            if peers.driver.stop.is_requested() {
                return;
            }
            bring_one(&node, &connection, file).await;
        }
    }
}

async fn bring_one(node: &Arc<Node>, connection: &Connection, wanted: fetching::Wanted) {
    let sink = fetching::Incoming::new(Arc::clone(node), wanted.clone());
    let sender = wanted.file.feed.sender;
    match fetch::fetch(connection, wanted.request(), wanted.content, sink).await {
        Ok((sink, list)) => {
            let finished = tokio::task::spawn_blocking(move || sink.finish(&list)).await;
            if let Ok(Err(error)) = finished {
                tracing::error!(%error, "a fetched file could not be kept");
            }
        }
        Err(FetchError::Refused(code)) if code == RefusedCode::NotGiven as u16 => {
            node.note_error(sender, "a file was not given any more".to_owned());
            let node = Arc::clone(node);
            let dropped = move || fetching::drop_wanted(&node, wanted.agreement, wanted.place);
            let _ = tokio::task::spawn_blocking(dropped).await;
        }
        Err(error) => {
            tracing::warn!(partner = %sender.short(), %error, "a file did not come");
            node.note_error(sender, format!("a file did not come: {error}"));
        }
    }
}

fn jitter() -> Jitter {
    Arc::new(|below| secret::random::<8>().map_or(0, |bytes| u64::from_be_bytes(bytes) % below.max(1)))
}

fn endpoint(node: &Arc<Node>, book: SharedBook) -> Result<Endpoint, Fault> {
    let setup = |e: &dyn std::fmt::Display| Fault::setup("network", e);
    let chain = node.keys.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let key = PrivatePkcs8KeyDer::from(node.keys.tls.expose().clone());
    let identity = tls::Identity::new(node.keys.org, chain, key, node.clock.now()).map_err(|e| setup(&e))?;
    let clock = Arc::clone(&node.clock);
    let clock = Clock::new(move || clock.now());
    Endpoint::bind(node.config.listen, identity, book, clock, Settings::default()).map_err(|e| setup(&e))
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
    let core = Arc::new(Core { node: Arc::clone(&node), talks: Mutex::default() });
    let clock = Arc::clone(&node.clock);
    let driver =
        Driver { exchange: core, wakes: wakes.clone(), clock: Clock::new(move || clock.now()), stop: stop.clone() };
    let peers = Peers::new(endpoint, driver, stopper.clone());
    let files = Arc::new(Notify::new());
    let running = Arc::new(Running { node: Arc::clone(&node), peers: Arc::clone(&peers), book, wakes, stopper });
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
    tasks.spawn(bring_files(Arc::clone(&node), Arc::clone(&peers), files));
    let control = tokio::spawn(server::serve(listener, Arc::clone(&node), Arc::clone(&running), stop.clone()));
    let mut stopped = stop.clone();
    let result = {
        let ended = until(Arc::new(RunningNode(Arc::clone(&running))));
        tokio::pin!(ended);
        tokio::select! {
            result = &mut ended => Some(result),
            () = stopped.requested() => None,
        }
    };
    running.stopper.stop();
    while tasks.join_next().await.is_some() {}
    // It ends by itself, within a bounded time.
    drop(control.await);
    peers.endpoint.close(CloseCode::SHUTDOWN);
    let _ = fs::remove_file(node.home.path().join(Home::SOCKET));
    if let Some(cause) = peers.fatal() {
        return Err(Fault::store(format!("the store failed, and the node has stopped: {cause}")));
    }
    result.ok_or_else(|| Fault::setup("stopped", "the node was stopped"))
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
