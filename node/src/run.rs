//! Serving: wires node, partners and control socket together once, and stops them in order. Read this second.
//!
//! Everything that decides or stores is synchronous and lives elsewhere; this owns the tasks. Order of
//! the end: the signal, then the loops, the sessions, the answers of calls under way; then the socket is removed.

mod bringing;

use crate::{
    clock::{SystemClock, say},
    config::Home,
    control::server::{self, Live},
    error::{Blame, Fault},
    exchange::{Conversation, ExchangeFault},
    node::Node,
    partners::PartnerState,
    peer::{
        Clock,
        accept::{self, Peers},
        book::{self, SharedBook},
        budget::{self, Budgets},
        dial::{self, Jitter},
        driver::{Driver, Ended, Exchange, ExchangeError, Turns, Wakes},
        endpoint::{Endpoint, Settings},
        fetch::FetchReply,
        stop::{self, Stop, Stopper},
        tls,
    },
    records::gate::RELEASE_LOG,
    seal::keyring::Partition,
    secret::{self, unlock::Unlock},
    share::{
        feeds,
        fetching::{self, Resting},
        files::{self, Given},
    },
    store::layout::Table,
};
use entente_protocol::{
    error::PeerFault,
    id::OrgId,
    identity::Purpose,
    limits,
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
/// How often it is looked at what the time of day changes: agreements that begin and end, records that become due.
const TICK: Duration = Duration::from_secs(30);
/// How often a running node looks after its clock and its certificate.
const UPKEEP: Duration = Duration::from_secs(10 * 60);
/// A round is over when nothing moved for so long.
const QUIET: Duration = Duration::from_millis(400);

/// The synchronous core behind the driver: one conversation for each session, of which a partner has one at a time.
struct Core {
    node: Arc<Node>,
    talks: Mutex<BTreeMap<OrgId, Arc<Mutex<Conversation>>>>,
    budgets: Budgets,
}

impl Core {
    fn talk(&self, peer: OrgId) -> Result<Arc<Mutex<Conversation>>, ExchangeError> {
        let talks = self.talks.lock().unwrap_or_else(PoisonError::into_inner);
        let talk = talks.get(&peer).cloned();
        talk.ok_or_else(|| ExchangeError::Internal("no such session".to_owned()))
    }
}

impl From<ExchangeFault> for ExchangeError {
    fn from(fault: ExchangeFault) -> Self {
        match fault {
            ExchangeFault::Peer(fault) => Self::Peer(fault),
            ExchangeFault::Unknown => Self::Removed,
            ExchangeFault::Fatal(error) => Self::Fatal(error.to_string()),
            ExchangeFault::Send(error) => Self::Internal(error.to_string()),
            ExchangeFault::Clock(trouble) => Self::Internal(trouble),
        }
    }
}

impl Exchange for Core {
    fn open(&self, peer: OrgId, role: Role) -> Result<Session, ExchangeError> {
        if !self.budgets.spend(peer, budget::SESSION, self.node.clock.now()) {
            self.node.note_error(peer, "too many sessions and requests: it is let in again as time passes".to_owned());
            return Err(ExchangeError::Busy);
        }
        let (conversation, session) = Conversation::open(&self.node, peer, role)?;
        let mut talks = self.talks.lock().unwrap_or_else(PoisonError::into_inner);
        talks.insert(peer, Arc::new(Mutex::new(conversation)));
        self.node.note_session(peer, true);
        Ok(session)
    }

    fn event(&self, peer: OrgId, session: &mut Session, event: Event) -> Result<(), ExchangeError> {
        // Runs and receipts have their windows; everything else is counted.
        let counted = !matches!(event, Event::Run { .. } | Event::Receipt { .. } | Event::Fork { .. });
        if counted && !self.budgets.spend(peer, budget::REQUEST, self.node.clock.now()) {
            return Err(PeerFault::TooMany { what: "requests", max: limits::PARTNER_REQUESTS_BURST as usize }.into());
        }
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
        let given = self.give(peer, request);
        // What is given is bounded by what the partner reads. What is not given costs it something too.
        let refused = given.is_err();
        if refused && !self.budgets.spend(peer, budget::REQUEST, self.node.clock.now()) {
            return Err(RefusedCode::Busy);
        }
        given
    }

    fn closed(&self, peer: OrgId, ended: &Ended) {
        self.talks.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer);
        self.node.note_session(peer, false);
        if let Ended::Closed { code, by_peer } = ended
            && !matches!(*code, CloseCode::DONE | CloseCode::SHUTDOWN | CloseCode::REPLACED)
            // To begin again is our own wish, and no error.
            && (*by_peer || *code != CloseCode::BUSY)
        {
            let side = if *by_peer { "the partner ended the session" } else { "the session was ended here" };
            let meaning = CloseCode::ALL.iter().find(|row| row.0 == *code).map_or("", |row| row.2);
            self.node.note_error(peer, format!("{side}: {} ({meaning})", code.name()));
        }
    }

    fn unreachable(&self, peer: OrgId, why: String) {
        self.node.note_unreachable(peer, why);
    }
}

impl Core {
    fn give(&self, peer: OrgId, request: Request) -> Result<FetchReply, RefusedCode> {
        let node = Arc::clone(&self.node);
        // A fault of ours, or a clock that is not known, is no reason for the partner to give the file up.
        let refuse = |error: &dyn std::fmt::Display| {
            tracing::warn!(partner = %peer.short(), %error, "a file could not be given");
            RefusedCode::Busy
        };
        let mut keys = feeds::agreements_with(&node, peer)
            .into_iter()
            .map(|(agreement, _, _)| feeds::outgoing(&node, peer, agreement));
        let feed = keys.find(|key| key.id() == request.feed).ok_or(RefusedCode::NotGiven)?;
        let (record, row) = match files::given(&node, &feed, request.entry, request.slot).map_err(|e| refuse(&e))? {
            Given::File(record, row) => (record, row),
            Given::NotNow => return Err(RefusedCode::Busy),
            Given::Nothing => return Err(RefusedCode::NotGiven),
        };
        let content =
            files::open_at(&node, Partition::Own, &row, u64::from(request.from_chunk)).map_err(|e| refuse(&e))?;
        files::note_given(&node, &feed, record, request.from_chunk).map_err(|e| refuse(&e))?;
        let (size, chunks) = (row.size, row.chunks);
        let still = move || matches!(files::given(&node, &feed, request.entry, request.slot), Ok(Given::File(..)));
        Ok(FetchReply { size, chunks, content: Box::new(content), still: Box::new(still) })
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
        nodes: partner.card.keys(Purpose::Node).map(|entry| (entry.key.id(), entry.clone())).collect(),
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
            let identity = tls_identity(&self.node).map_err(|e| Fault::setup("identity", e))?;
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

    /// What moves while a round is under way; equal twice means that nothing did.
    async fn picture(&self, partner: OrgId) -> Result<Picture, Fault> {
        let (node, resting) = (Arc::clone(&self.node), Arc::clone(&self.resting));
        let seen = tokio::task::spawn_blocking(move || picture(&node, &resting, partner)).await;
        seen.map_err(|e| Fault::setup("sync", e))?
    }

    /// Nobody waits for a round of a node that stops.
    fn goes_on(&self) -> Result<(), Fault> {
        if self.peers.driver.stop.is_requested() {
            Err(Fault::setup("stopped", "the node is stopping"))
        } else {
            Ok(())
        }
    }

    async fn round(&self, partner: OrgId) -> Result<Json, Fault> {
        let handle = self.node.handle_of(partner);
        if self.node.book().get(partner).is_none_or(|p| p.state == PartnerState::Removed) {
            return Err(Fault::partner("removed", format!("`{handle}` was removed: no connection is made to it")));
        }
        if let Some(trouble) = say::trouble(&self.node) {
            return Err(Fault::setup("clock", trouble));
        }
        let started = Instant::now();
        if !self.node.health(partner).connected() {
            self.peers.ask_for(partner);
        }
        while !self.node.health(partner).connected() {
            self.goes_on()?;
            if started.elapsed() > CONNECT {
                let health = self.node.health(partner);
                let why = health.trouble().map_or("no answer", |(_, why)| why);
                return Err(Fault::partner("unreachable", format!("`{handle}` cannot be reached: {why}")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.wakes.wake(partner);
        let (mut last, mut since) = (self.picture(partner).await?, Instant::now());
        loop {
            tokio::time::sleep(Duration::from_millis(25)).await;
            self.goes_on()?;
            let now = self.picture(partner).await?;
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
        if let Some(why) = last.stopped {
            return Err(Fault::partner("stopped", format!("`{handle}`: {why}")));
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

/// What moves while a round with a partner is under way.
fn picture(node: &Node, resting: &Resting, partner: OrgId) -> Result<Picture, Fault> {
    let log = node.holdings.count(Partition::Own, Table::RecordList, RELEASE_LOG)?;
    let now = node.interval();
    let (rules, own_rules) = (node.rules(), node.own_rules());
    let mut picture = Picture::default();
    for (agreement, digest, _) in feeds::agreements_with(node, partner) {
        let out = feeds::outgoing(node, partner, agreement);
        let row = feeds::out_row(node, &out, digest).map_err(Fault::store)?;
        let acknowledged = row.countersigned.map_or(0, |c| c.length);
        let stopped = feeds::stopped(node, &out).map_err(Fault::store)?;
        picture.stopped = picture.stopped.or(stopped.as_ref().map(|row| row.why(&out, node.keys.org)));
        // Where nothing may pass, nothing is waited for.
        let paused = stopped.is_some() || rules.policy.passes(partner, agreement, now).is_err();
        let given = acknowledged == row.length && row.filled == log && row.is_under(digest, &own_rules);
        picture.settled &= paused || given;
        picture.sent += row.length;
        picture.acknowledged += acknowledged;
        if let Some(store) = feeds::known_store(node, partner, agreement).map_err(Fault::store)? {
            let incoming = feeds::incoming(node, partner, store, agreement);
            let stopped = feeds::stopped(node, &incoming).map_err(Fault::store)?;
            picture.stopped = picture.stopped.or(stopped.map(|row| row.why(&incoming, node.keys.org)));
            picture.received += feeds::in_row(node, &incoming).map_err(Fault::store)?.length;
        }
    }
    picture.files = fetching::waiting(node, partner, resting).map_err(Fault::store)?;
    picture.settled &= picture.files == 0;
    Ok(picture)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Picture {
    settled: bool,
    stopped: Option<&'static str>,
    sent: u64,
    acknowledged: u64,
    received: u64,
    files: usize,
}

impl Default for Picture {
    fn default() -> Self {
        Self { settled: true, stopped: None, sent: 0, acknowledged: 0, received: 0, files: 0 }
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
            node.renew(false)?;
            asked.show_certificate()
        });
        if let Ok(Err(fault)) = done.await {
            tracing::error!(%fault, "the node's upkeep failed: see `entente status`");
        }
    }
}

/// What the time of day changes: versions and agreements that begin or end, records that become due.
async fn tick(node: Arc<Node>, wakes: Wakes, mut stop: Stop) {
    loop {
        tokio::select! {
            () = stop.requested() => return,
            () = tokio::time::sleep(TICK) => {}
        }
        let ticked = Arc::clone(&node);
        match tokio::task::spawn_blocking(move || ticked.tick()).await {
            Ok(Ok(())) => wakes.wake_all(),
            Ok(Err(error)) => tracing::error!(%error, "the agreements could not be read again"),
            Err(error) => tracing::error!(%error, "the agreements could not be read again"),
        }
    }
}

fn jitter() -> Jitter {
    Arc::new(|below| secret::random::<8>().map_or(0, |bytes| u64::from_be_bytes(bytes) % below.max(1)))
}

/// What this node shows of itself now.
fn tls_identity(node: &Node) -> Result<tls::Identity, tls::IdentityError> {
    let chain = node.keys.chain().into_iter().map(CertificateDer::from).collect();
    let key = PrivatePkcs8KeyDer::from(node.keys.tls.expose().clone());
    tls::Identity::new(node.keys.org, chain, key, node.clock.now())
}

fn endpoint(node: &Arc<Node>, book: SharedBook) -> Result<Endpoint, Fault> {
    let setup = |e: &dyn std::fmt::Display| Fault::setup("network", e);
    let identity = tls_identity(node).map_err(|e| setup(&e))?;
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
    let core = Arc::new(Core { node: Arc::clone(&node), talks: Mutex::default(), budgets: Budgets::default() });
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
    // Whoever asked is answered, also the one who asked to stop.
    let _ = control.await;
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
