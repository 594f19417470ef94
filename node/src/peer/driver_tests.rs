//! Sessions and files over real QUIC on loopback, with a small model in place of the node's core.

mod files;

use super::{
    Clock,
    accept::{Peers, accept},
    book::{Partner, PartnerState},
    dial::dial,
    driver::{self, Driver, Ended, Exchange, ExchangeError, Turns, Wakes},
    endpoint::Endpoint,
    fetch::{FetchError, FetchReply, Sink, fetch},
    lane::{self, Carries},
    stop::{self, Stopper},
    tests::{NOW, Org, book, end, org},
};
use entente_protocol::{
    attachment::{AttachmentFault, Content, ManifestBuilder},
    id::{AgreementId, FeedId, Hash, Nonce, OrgId, StoreId},
    limits,
    session::{
        CloseCode, Event, Heads, Notice, Role, Session, SessionConfig,
        fetch::{RefusedCode, Request},
    },
};
use quinn::ConnectionError;
use std::{
    collections::VecDeque,
    io::{self, Cursor},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

type Fallible = Result<(), Box<dyn std::error::Error>>;

const PATIENCE: Duration = Duration::from_secs(20);

/// What a node's core would do, for notices and one file.
struct Model {
    own: OrgId,
    /// Sent by `pump`, each once.
    outbox: Mutex<VecDeque<Vec<u8>>>,
    happened: mpsc::UnboundedSender<Happened>,
    file: Vec<u8>,
    chunks: Vec<Hash>,
    store_fails: bool,
    /// Whether the file is given on.
    given: Arc<AtomicBool>,
    /// Whether `pump` is to recall what is on its way, once.
    recalls: AtomicBool,
    unreached: mpsc::UnboundedSender<String>,
    /// Told that a session opens, and waited for before it does.
    gate: Option<Gate>,
}

type Gate = (mpsc::UnboundedSender<()>, Mutex<std::sync::mpsc::Receiver<()>>);

#[derive(Debug, PartialEq, Eq)]
enum Happened {
    Notice(OrgId, Vec<u8>),
    Ended(Ended),
}

impl Exchange for Model {
    fn open(&self, peer: OrgId, role: Role) -> Result<Session, ExchangeError> {
        if let Some((opens, go)) = &self.gate {
            let _ = opens.send(());
            let _ = go.lock().unwrap().recv();
        }
        let (store, nonce) = (StoreId::from_bytes([7; 16]), Nonce::from_bytes([8; 16]));
        let config = SessionConfig { role, org: self.own, store, peer, nonce };
        Session::new(config, NOW).map_err(|error| ExchangeError::Internal(error.to_string()))
    }
    fn event(&self, peer: OrgId, session: &mut Session, event: Event) -> Result<(), ExchangeError> {
        let internal = |error: entente_protocol::session::SendError| ExchangeError::Internal(error.to_string());
        match event {
            Event::Ready(_) => session.offer_agreements(Vec::new()).map_err(internal),
            Event::Agreements(_) => session.offer_heads(Heads::default()).map_err(internal),
            Event::Notice(_) if self.store_fails => Err(ExchangeError::Fatal("the disk is full".into())),
            Event::Notice(notice) => {
                let _ = self.happened.send(Happened::Notice(peer, notice.content));
                Ok(())
            }
            _ => Ok(()),
        }
    }
    fn pump(&self, _peer: OrgId, session: &mut Session) -> Result<bool, ExchangeError> {
        if !session.is_open() {
            return Ok(false);
        }
        if self.recalls.swap(false, Ordering::SeqCst) {
            session.recall(AgreementId::from_bytes([9; 16]));
        }
        let Some(content) = self.outbox.lock().unwrap().pop_front() else { return Ok(false) };
        session.send_notice(Notice { kind: 1, content }).map_err(|error| ExchangeError::Internal(error.to_string()))?;
        Ok(true)
    }
    fn fetch(&self, _peer: OrgId, request: Request) -> Result<FetchReply, RefusedCode> {
        if request.entry != 3 {
            return Err(RefusedCode::NotGiven);
        }
        let start = u64::from(request.from_chunk) * u64::from(limits::CHUNK_BYTES);
        let mut content = Cursor::new(self.file.clone());
        content.set_position(start);
        let content = Box::new(content);
        let given = Arc::clone(&self.given);
        let still = Arc::new(move || given.load(Ordering::SeqCst));
        Ok(FetchReply { size: self.file.len() as u64, chunks: self.chunks.clone(), content, still })
    }
    fn closed(&self, _peer: OrgId, ended: &Ended) {
        let _ = self.happened.send(Happened::Ended(ended.clone()));
    }
    fn unreachable(&self, _peer: OrgId, why: String) {
        let _ = self.unreached.send(why);
    }
}

/// A running node.
struct Node {
    org: OrgId,
    peers: Arc<Peers>,
    model: Arc<Model>,
    wakes: Wakes,
    happened: mpsc::UnboundedReceiver<Happened>,
    stopper: Stopper,
    accepting: JoinHandle<()>,
    dialing: JoinHandle<()>,
    content: Content,
}

fn node(org: &Org, partners: &[(OrgId, Partner)], change: impl FnOnce(&mut Model)) -> Node {
    let endpoint = org.endpoint(partners, NOW);
    let (sender, happened) = mpsc::unbounded_channel();
    let file: Vec<u8> = (0..(limits::CHUNK_BYTES * 2 + 5)).map(|at| (at % 251) as u8).collect();
    let mut manifest = ManifestBuilder::new();
    manifest.update(&file).unwrap();
    let manifest = manifest.finish();
    let content = manifest.content();
    let mut model = Model {
        own: org.id,
        outbox: Mutex::default(),
        happened: sender,
        file,
        chunks: manifest.chunks,
        store_fails: false,
        given: Arc::new(AtomicBool::new(true)),
        recalls: AtomicBool::new(false),
        unreached: mpsc::unbounded_channel().0,
        gate: None,
    };
    change(&mut model);
    let model = Arc::new(model);
    let (stopper, stop) = stop::signal();
    let wakes = Wakes::default();
    let exchange: Arc<dyn Exchange> = model.clone();
    let driver = Driver { exchange, wakes: wakes.clone(), turns: Turns::default(), clock: Clock::new(|| NOW), stop };
    let peers = Peers::new(endpoint, driver, stopper.clone());
    let accepting = tokio::spawn(accept(Arc::clone(&peers)));
    let dialing = tokio::spawn(dial(Arc::clone(&peers), Arc::new(|_| 0)));
    Node { org: org.id, peers, model, wakes, happened, stopper, accepting, dialing, content }
}

impl Node {
    async fn next(&mut self) -> Happened {
        timeout(PATIENCE, self.happened.recv()).await.expect("in time").expect("alive")
    }
    async fn stopped(self) -> (OrgId, Arc<Peers>) {
        self.stopper.stop();
        timeout(PATIENCE, self.accepting).await.expect("accept ends").unwrap();
        timeout(PATIENCE, self.dialing).await.expect("dial ends").unwrap();
        (self.org, self.peers)
    }
    fn say(&self, to: OrgId, what: &[u8]) {
        self.model.outbox.lock().unwrap().push_back(what.to_vec());
        self.wakes.wake(to);
    }
}

fn at(endpoint: &Endpoint, org: &Org) -> (OrgId, Partner) {
    let addresses = vec![endpoint.local_addr().unwrap().to_string()];
    (org.id, Partner { addresses, ..org.partner() })
}

#[tokio::test]
async fn a_session_runs_from_dialing_to_shutdown() {
    let (a, b) = (org("a"), org("b"));
    let mut far = node(&b, &[(a.id, a.partner())], |_| {});
    let mut near = node(&a, &[at(&far.peers.endpoint, &b)], |_| {});
    // Said before there is a session: it is due when there is one.
    near.say(b.id, b"from a");
    assert_eq!(far.next().await, Happened::Notice(a.id, b"from a".to_vec()));
    // Said while nothing else goes on: the wake carries it.
    far.say(a.id, b"from b");
    assert_eq!(near.next().await, Happened::Notice(b.id, b"from b".to_vec()));
    assert!(near.peers.links.connected(b.id) && far.peers.links.connected(a.id));
    near.stopper.stop();
    assert_eq!(near.next().await, Happened::Ended(Ended::Closed { code: CloseCode::SHUTDOWN, by_peer: false }));
    assert_eq!(far.next().await, Happened::Ended(Ended::Closed { code: CloseCode::SHUTDOWN, by_peer: true }));
    near.stopped().await;
    far.stopped().await;
}

#[tokio::test]
async fn a_removed_partner_loses_its_session() {
    let (a, b) = (org("a"), org("b"));
    let mut far = node(&b, &[(a.id, a.partner())], |_| {});
    let near = node(&a, &[at(&far.peers.endpoint, &b)], |_| {});
    near.say(b.id, b"here");
    assert_eq!(far.next().await, Happened::Notice(a.id, b"here".to_vec()));
    let removed = Partner { state: PartnerState::Removed, ..a.partner() };
    far.peers.endpoint.book().replace(book(&[(a.id, removed)]));
    far.peers.review();
    assert!(!far.peers.links.connected(a.id));
    assert_eq!(far.next().await, Happened::Ended(Ended::Lost));
    near.stopped().await;
    far.stopped().await;
}

#[tokio::test]
async fn a_failed_store_stops_the_node() {
    let (a, b) = (org("a"), org("b"));
    let far = node(&b, &[(a.id, a.partner())], |model| model.store_fails = true);
    let near = node(&a, &[at(&far.peers.endpoint, &b)], |_| {});
    near.say(b.id, b"keep this");
    // Nobody stops it: it stops by itself.
    timeout(PATIENCE, far.accepting).await.expect("accept ends").unwrap();
    timeout(PATIENCE, far.dialing).await.expect("dial ends").unwrap();
    assert_eq!(far.peers.fatal().as_deref(), Some("the disk is full"));
    near.stopped().await;
}

/// A connection takes the place of another whose core is still at work: the next session waits until it has ended.
#[tokio::test]
async fn one_session_at_a_time_with_each_partner() -> Fallible {
    let (a, b) = (org("a"), org("b"));
    let (opens, mut opened) = mpsc::unbounded_channel();
    let (go, wait) = std::sync::mpsc::channel();
    let mut far = node(&b, &[(a.id, a.partner())], |model| model.gate = Some((opens, Mutex::new(wait))));
    let near = a.endpoint(&[(b.id, b.partner())], NOW);
    let address = far.peers.endpoint.local_addr()?;
    let mut links = Vec::new();
    for _ in 0..2 {
        let link = near.dial(b.id, address).await?;
        let control = driver::open(&link.connection, Carries::Control).await?;
        links.push((driver::open(&link.connection, Carries::Records).await?, control, link));
        if links.len() == 1 {
            timeout(PATIENCE, opened.recv()).await?.ok_or("the first session opens")?;
        }
    }
    let (_, _, first) = links.first().ok_or("two")?;
    assert!(matches!(end(&first.connection).await, ConnectionError::ApplicationClosed(_)), "it was replaced");
    let early = timeout(Duration::from_millis(300), opened.recv()).await;
    assert!(early.is_err(), "a session opens while the one before is at work");
    go.send(())?;
    assert!(matches!(far.next().await, Happened::Ended(_)));
    timeout(PATIENCE, opened.recv()).await?.ok_or("the second session opens")?;
    go.send(())?;
    drop(links);
    far.next().await;
    far.stopped().await;
    Ok(())
}

/// What answers at a partner's address is somebody else: people are told, and it is no partner.
#[tokio::test]
async fn a_wrong_node_at_an_address_is_told() -> Fallible {
    let (a, b, c) = (org("a"), org("b"), org("c"));
    let far = node(&c, &[(a.id, a.partner())], |_| {});
    let (unreached, mut told) = mpsc::unbounded_channel();
    let wrong = Partner { addresses: vec![far.peers.endpoint.local_addr()?.to_string()], ..b.partner() };
    let near = node(&a, &[(b.id, wrong)], |model| model.unreached = unreached);
    let why = timeout(PATIENCE, told.recv()).await?.ok_or("told")?;
    assert!(why.contains("is not this partner"), "{why}");
    near.stopped().await;
    far.stopped().await;
    Ok(())
}

/// What a partner's node answers to a dialler that does `moves` on the connection.
async fn closed_with<F: Future<Output = Fallible>>(moves: impl FnOnce(quinn::Connection) -> F) -> CloseCode {
    let (a, b) = (org("a"), org("b"));
    let far = node(&b, &[(a.id, a.partner())], |_| {});
    let near = a.endpoint(&[(b.id, b.partner())], NOW);
    let link = near.dial(b.id, far.peers.endpoint.local_addr().unwrap()).await.unwrap();
    // What it writes after it was closed may fail; the code is what counts.
    let _ = moves(link.connection.clone()).await;
    let ConnectionError::ApplicationClosed(close) = end(&link.connection).await else { panic!("not by its session") };
    assert!(close.reason.is_empty());
    far.stopped().await;
    CloseCode(u32::try_from(close.error_code.into_inner()).unwrap())
}

#[tokio::test]
async fn moves_against_the_protocol_are_closed_with_their_code() {
    let frames = closed_with(|connection| async move {
        let (mut control, _in) = driver::open(&connection, Carries::Control).await?;
        let (_records, _rin) = driver::open(&connection, Carries::Records).await?;
        control.write_all(&[0xff; 64]).await?;
        connection.closed().await;
        Ok(())
    });
    assert_eq!(frames.await, CloseCode::FRAME);

    let message = closed_with(|connection| async move {
        let (mut control, _in) = driver::open(&connection, Carries::Control).await?;
        let (_records, _rin) = driver::open(&connection, Carries::Records).await?;
        lane::write(&mut control, b"\x01", 64, lane::PROGRESS).await?;
        connection.closed().await;
        Ok(())
    });
    assert_eq!(message.await, CloseCode::MESSAGE);

    let twice = closed_with(|connection| async move {
        let _one = driver::open(&connection, Carries::Control).await?;
        let _two = driver::open(&connection, Carries::Control).await?;
        connection.closed().await;
        Ok(())
    });
    assert_eq!(twice.await, CloseCode::UNEXPECTED);

    let unknown = closed_with(|connection| async move {
        let (mut stream, _in) = connection.open_bi().await?;
        stream.write_all(&[77]).await?;
        connection.closed().await;
        Ok(())
    });
    assert_eq!(unknown.await, CloseCode::UNEXPECTED);

    // A third lane once the session runs.
    let late = closed_with(|connection| async move {
        let _control = driver::open(&connection, Carries::Control).await?;
        let _records = driver::open(&connection, Carries::Records).await?;
        let _again = driver::open(&connection, Carries::Records).await?;
        connection.closed().await;
        Ok(())
    });
    assert_eq!(late.await, CloseCode::UNEXPECTED);
}
