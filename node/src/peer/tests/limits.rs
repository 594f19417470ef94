//! Every QUIC setting, seen from a certified partner that keeps to none of them.

use super::{hostile::Hostile, *};
use crate::peer::endpoint::{HALF_OPEN_MAX, HALF_OPEN_PER_ADDRESS_MAX};
use quinn::{
    Connection, SendDatagramError, SendStream, ServerConfig, TokenStore, TransportConfig, congestion::NewRenoConfig,
    crypto::rustls::QuicServerConfig,
};
use std::{
    pin::pin,
    sync::Mutex,
    task::{Context, Waker},
};
use tokio::{net::UdpSocket, task::JoinSet, time::timeout};

const MIB: usize = 1 << 20;
/// Long enough to see that something waits: what need not wait takes no time at all.
const A_WHILE: Duration = Duration::from_millis(300);
/// What is expected has so long to come about: a machine that stalls must not look like a bound.
const PATIENCE: Duration = Duration::from_secs(5);

/// So wide that every bound that is met is the other side's.
fn wide() -> Arc<TransportConfig> {
    let mut wide = TransportConfig::default();
    let most = VarInt::from_u32(64 << 20);
    let mut congestion = NewRenoConfig::default();
    congestion.initial_window(1 << 20);
    wide.send_window(64 << 20)
        .stream_receive_window(most)
        .receive_window(most)
        .congestion_controller_factory(Arc::new(congestion));
    Arc::new(wide)
}

/// A partner's endpoint that is not ours, with its connection to `far`; the other end too, so that it stays.
async fn connected(a: &Org, far: &Endpoint) -> (quinn::Endpoint, Connection, Link) {
    let mut config = Hostile::certified(a.chain()).config(a);
    config.transport_config(wide());
    let client = quinn::Endpoint::client(ANY).unwrap();
    let connecting = client.connect_with(config, far.local_addr().unwrap(), "node.example").unwrap();
    let (connection, link) = tokio::join!(connecting, answer(far));
    (client, connection.unwrap(), link.unwrap())
}

/// Bytes that a stream takes before it waits: as many as expected, and more where it takes more.
async fn fill(stream: &mut SendStream, expected: usize) -> usize {
    let zeros = vec![0; 256 << 10];
    let mut written = 0;
    let reached = async {
        while written < expected {
            written += stream.write(&zeros).await.unwrap();
        }
    };
    let _ = timeout(PATIENCE, reached).await;
    if let Ok(more) = timeout(A_WHILE, stream.write(&zeros)).await {
        written += more.unwrap();
    }
    written
}

/// Streams that are opened before one waits: as many as expected, and one more where it may be.
async fn opened<T, F>(expected: usize, mut open: impl FnMut() -> F) -> Vec<T>
where
    F: Future<Output = Result<T, ConnectionError>>,
{
    let mut all = Vec::new();
    let reached = async {
        while all.len() < expected {
            all.push(open().await.unwrap());
        }
    };
    let _ = timeout(PATIENCE, reached).await;
    if let Ok(more) = timeout(A_WHILE, open()).await {
        all.push(more.unwrap());
    }
    all
}

#[tokio::test]
async fn a_partner_opens_so_many_streams_and_writes_so_much() {
    let (a, b) = (org("a"), org("b"));
    let far = b.endpoint(&[(a.id, a.partner())], NOW);
    let (_client, connection, _link) = connected(&a, &far).await;
    let mut streams = opened(100, || connection.open_bi()).await;
    assert_eq!(streams.len(), 100);
    let uni = opened(16, || connection.open_uni()).await;
    assert_eq!(uni.len(), 16);

    // Half of the window is one stream's, and all of it the connection's.
    let (one, window) = (3 * MIB / 4, 3 * MIB / 2);
    assert_eq!(fill(&mut streams[0].0, one).await, one, "one stream");
    let mut all = one;
    for (stream, _) in &mut streams[1..4] {
        all += fill(stream, one.min(window.saturating_sub(all))).await;
    }
    assert_eq!(all, window, "one connection");
    assert_eq!(connection.send_datagram(vec![0; 8].into()), Err(SendDatagramError::UnsupportedByPeer));
}

#[tokio::test]
async fn a_partner_writes_as_much_ahead_as_the_settings_say() {
    let (a, b) = (org("a"), org("b"));
    let settings = Settings { window_bytes: 6 << 20, ..Settings::default() };
    let far = b.endpoint_with(&[(a.id, a.partner())], NOW, settings);
    let (_client, connection, _link) = connected(&a, &far).await;
    let mut streams = opened(3, || connection.open_bi()).await;
    assert_eq!(fill(&mut streams[0].0, 3 * MIB).await, 3 * MIB, "one stream");
    assert_eq!(fill(&mut streams[1].0, 3 * MIB).await, 3 * MIB, "the other half");
    assert_eq!(fill(&mut streams[2].0, 0).await, 0, "one connection");
}

#[tokio::test]
async fn so_much_of_ours_is_in_flight_as_the_settings_say() -> Fallible {
    for mib in [1, 2, 6] {
        let (a, b) = (org("a"), org("b"));
        let tls = tls::server_config(&b.identity(), trust(&[(a.id, a.partner())]))?;
        let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
        config.transport_config(wide());
        let far = quinn::Endpoint::server(config, ANY)?;
        let line = Line::to(far.local_addr()?, |_, _| true).await;
        let settings = Settings { window_bytes: mib << 20, ..Settings::default() };
        let near = a.endpoint_with(&[(b.id, b.partner())], NOW, settings);
        let answering = async { far.accept().await.unwrap().await };
        let (link, _answered) = tokio::join!(near.dial(b.id, line.address), answering);
        let link = link?;
        // From here on nothing is acknowledged.
        line.cut.store(true, Ordering::Relaxed);
        let (mut stream, _) = link.connection.open_bi().await?;
        let expected = usize::try_from((2 * mib) << 20)?;
        assert_eq!(fill(&mut stream, expected).await, expected);
    }
    Ok(())
}

#[tokio::test]
async fn handshakes_out_of_order_are_kept_up_to_a_bound() {
    let (a, b) = (org("a"), org("b"));
    let many = |n: u32| (0..n).map(|i| SanType::DnsName(format!("node-{i}.example").try_into().unwrap()));
    let chain = a.odd(|p| p.subject_alt_names.extend(many(2_000)));
    assert!(chain[0].len() > 2 * (16 << 10));
    for lost in [false, true] {
        let far = b.endpoint(&[(a.id, a.partner())], NOW);
        // Whether the first of what the client says after the server's hello is lost.
        let (mut answered, mut left) = (false, if lost { 3 } else { 0 });
        let line = Line::to(far.local_addr().unwrap(), move |towards, packet| {
            answered |= !towards;
            let loses = towards && answered && left > 0 && packet.len() > 1_000;
            left -= u32::from(loses);
            !loses
        });
        let line = line.await;
        let mut config = Hostile::certified(chain.clone()).config(&a);
        config.transport_config(wide());
        let client = quinn::Endpoint::client(ANY).unwrap();
        let connecting = client.connect_with(config, line.address, "node.example").unwrap();
        let dial = async {
            match connecting.await {
                Ok(connection) => end(&connection).await,
                Err(error) => error,
            }
        };
        let (told, link) = tokio::join!(dial, answer(&far));
        let exceeded = matches!(&told, ConnectionError::ConnectionClosed(close)
            if close.error_code == quinn::TransportErrorCode::CRYPTO_BUFFER_EXCEEDED);
        assert_eq!(exceeded, lost, "{told:?}: {link:?}");
        // In order it is read, and then refused for its size.
        let refused = matches!(link, Err(ConnectError::Refused(Refusal::Chain(_))));
        assert_eq!(refused, !lost, "{link:?}");
    }
}

/// How many attempts wait after more than may wait have come, and the node was given so long to read them.
async fn waiting(patience: Duration) -> Result<usize, Box<dyn std::error::Error>> {
    let (a, b) = (org("a"), org("b"));
    let far = b.endpoint(&[(a.id, a.partner())], NOW);
    let config = Hostile::certified(a.chain()).config(&a);
    let client = quinn::Endpoint::client(ANY)?;
    let mut dials = JoinSet::new();
    for _ in 0..1_024 + 100 {
        let connecting = client.connect_with(config.clone(), far.local_addr()?, "node.example")?;
        dials.spawn(connecting.into_future());
        // A burst of all of them would not fit into the socket.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(patience).await;
    // Whoever is looked at is refused, and nothing more is read meanwhile.
    let mut waited = 0;
    let mut context = Context::from_waker(Waker::noop());
    while pin!(tokio::task::unconstrained(far.arrival())).poll(&mut context).is_ready() {
        waited += 1;
    }
    Ok(waited)
}

#[tokio::test]
async fn so_many_attempts_wait_and_no_more() -> Fallible {
    let mut waited = 0;
    // What a busy machine lost of the first packets comes again after a second, and once more after two.
    for patience in [A_WHILE, Duration::from_secs(2), PATIENCE] {
        waited = waiting(patience).await?;
        if waited >= 1_024 {
            break;
        }
    }
    assert_eq!(waited, 1_024);
    Ok(())
}

/// Long-header packet of QUIC version 1 with type Retry (RFC 9000, section 17.2.5).
fn is_retry(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first & 0xf0 == 0xf0) && packet.get(1..5) == Some(&[0, 0, 0, 1])
}

#[tokio::test]
async fn with_so_many_half_open_an_address_proves_itself_first() -> Fallible {
    let (a, b) = (org("a"), org("b"));
    let far = b.endpoint(&[(a.id, a.partner())], NOW);
    let near = a.endpoint(&[(b.id, b.partner())], NOW);
    let config = Hostile::certified(a.chain()).config(&a);
    let client = quinn::Endpoint::client(ANY)?;
    let (mut dials, mut held) = (JoinSet::new(), Vec::new());
    for held_before in [HALF_OPEN_MAX - 1, HALF_OPEN_MAX] {
        while held.len() < held_before {
            let connecting = client.connect_with(config.clone(), far.local_addr()?, "node.example")?;
            dials.spawn(connecting.into_future());
            held.push(far.arrival().await.ok_or("closed")?);
        }
        let retries = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&retries);
        let counting = move |towards: bool, packet: &[u8]| {
            count.fetch_add(u64::from(!towards && is_retry(packet)), Ordering::Relaxed);
            true
        };
        let line = Line::to(far.local_addr()?, counting).await;
        let (dialed, answered) = tokio::join!(near.dial(b.id, line.address), answer(&far));
        assert_eq!((dialed?.peer, answered?.peer), (b.id, a.id));
        let expected = u64::from(held_before == HALF_OPEN_MAX);
        assert_eq!(retries.load(Ordering::Relaxed), expected, "{held_before} half open");
    }
    Ok(())
}

/// Story: somebody with one address and no certificate begins more handshakes than the node keeps unfinished, says nothing
/// more, and a partner finds no room. One address never gets more than its share, and a partner comes in.
#[tokio::test]
async fn one_address_does_not_hold_every_unfinished_handshake() -> Fallible {
    let (a, b) = (org("a"), org("b"));
    let far = b.endpoint(&[(a.id, a.partner())], NOW);
    let near = a.endpoint(&[(b.id, b.partner())], NOW);
    let config = Hostile::certified(a.chain()).config(&a);
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], 0));
    let client = quinn::Endpoint::client(elsewhere)?;
    let (mut dials, mut held) = (JoinSet::new(), Vec::new());
    for _ in 0..HALF_OPEN_MAX + HALF_OPEN_PER_ADDRESS_MAX + 10 {
        let connecting = client.connect_with(config.clone(), far.local_addr()?, "node.example")?;
        dials.spawn(connecting.into_future());
        // Told one by one, so that none is lost in a burst; who is refused never arrives.
        match timeout(A_WHILE, far.arrival()).await {
            Ok(arrival) => held.push(arrival.ok_or("closed")?),
            Err(_) if held.len() >= HALF_OPEN_MAX + HALF_OPEN_PER_ADDRESS_MAX => break,
            Err(_) => {}
        }
    }
    assert_eq!(held.len(), HALF_OPEN_MAX + HALF_OPEN_PER_ADDRESS_MAX);
    let (dialed, answered) = tokio::join!(near.dial(b.id, far.local_addr()?), answer(&far));
    assert_eq!((dialed?.peer, answered?.peer), (b.id, a.id));
    // What ends makes room again, for that address too.
    drop(held);
    assert_eq!(far.half_open(), 0);
    let connecting = client.connect_with(config, far.local_addr()?, "node.example")?;
    let (connection, link) = tokio::join!(connecting, answer(&far));
    assert_eq!((connection.is_ok(), link?.peer), (true, a.id));
    Ok(())
}

/// Remembers what it was given.
#[derive(Default)]
struct Tokens(Mutex<usize>);

impl TokenStore for Tokens {
    fn insert(&self, _: &str, _: bytes::Bytes) {
        *self.0.lock().unwrap() += 1;
    }
    fn take(&self, _: &str) -> Option<bytes::Bytes> {
        None
    }
}

#[tokio::test]
async fn nobody_is_given_a_token_to_come_back_with() -> Fallible {
    let (a, b) = (org("a"), org("b"));
    let far = b.endpoint(&[(a.id, a.partner())], NOW);
    let tokens = Arc::new(Tokens::default());
    let mut config = Hostile::certified(a.chain()).config(&a);
    config.token_store(Arc::<Tokens>::clone(&tokens));
    let client = quinn::Endpoint::client(ANY)?;
    let connecting = client.connect_with(config, far.local_addr()?, "node.example")?;
    let (connection, link) = tokio::join!(connecting, answer(&far));
    let (connection, link) = (connection?, link?);
    // Tokens come with the first packets after the handshake: before what is said after them.
    for _ in 0..3 {
        let (mut send, mut receive) = connection.open_bi().await?;
        send.write_all(b"?").await?;
        send.finish()?;
        let (mut back, _) = link.connection.accept_bi().await?;
        back.write_all(b"!").await?;
        back.finish()?;
        assert_eq!(receive.read_to_end(8).await?, b"!");
    }
    assert_eq!(*tokens.0.lock().unwrap(), 0);
    Ok(())
}

/// A line for one connection, of which a test decides what passes.
struct Line {
    address: SocketAddr,
    cut: Arc<AtomicBool>,
    carrier: tokio::task::JoinHandle<()>,
}

impl Line {
    /// `passes` is told whether a packet goes towards `node`, and the packet.
    async fn to(node: SocketAddr, mut passes: impl FnMut(bool, &[u8]) -> bool + Send + 'static) -> Self {
        let (outer, inner) = (UdpSocket::bind(ANY).await.unwrap(), UdpSocket::bind(ANY).await.unwrap());
        inner.connect(node).await.unwrap();
        let address = outer.local_addr().unwrap();
        let cut = Arc::new(AtomicBool::new(false));
        let is_cut = Arc::clone(&cut);
        let carrier = tokio::spawn(async move {
            let (mut there, mut back, mut client) = (vec![0; 1 << 16], vec![0; 1 << 16], None);
            loop {
                let (towards, packet) = tokio::select! {
                    Ok((length, from)) = outer.recv_from(&mut there) => {
                        client = Some(from);
                        (true, &there[..length])
                    }
                    Ok(length) = inner.recv(&mut back) => (false, &back[..length]),
                };
                if is_cut.load(Ordering::Relaxed) || !passes(towards, packet) {
                    continue;
                }
                match client {
                    _ if towards => drop(inner.send(packet).await),
                    Some(client) => drop(outer.send_to(packet, client).await),
                    None => (),
                }
            }
        });
        Self { address, cut, carrier }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}
