//! The QUIC endpoint: every limit set by hand, connections in and out.
//!
//! Called by [`super::accept`] and [`super::dial`]. A connection leaves here as a [`Link`] only when both sides
//! are certified, the protocol is ours, and the partner is known; what flows over it is the driver's business.

use super::{
    Clock,
    book::SharedBook,
    tls::{self, Identity, Refusal, Refusals, Trust},
};
use entente_protocol::{id::OrgId, identity::chain::ClaimedIdentity, session::CloseCode, time::UnixMillis};
use quinn::{
    ClientConfig, Connecting, Connection, ConnectionError, EndpointConfig, Incoming, NoneTokenStore, ServerConfig,
    TokioRuntime, TransportConfig, ValidationTokenConfig, VarInt,
    crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig},
};
use rustls_pki_types::CertificateDer;
use std::{
    collections::{BTreeMap, btree_map::Entry},
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, atomic::AtomicBool},
    time::Duration,
};

/// Silence after which a connection is given up.
pub const IDLE_MS_MAX: u32 = 15_000;
/// Silence after which we say that we are still here.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// A handshake, from the first packet.
pub const HANDSHAKE_MS_MAX: u64 = 10_000;
/// Streams that a peer may hold open. Ours: two lanes, and files.
const BIDI_STREAMS_MAX: u32 = 100;
const UNI_STREAMS_MAX: u32 = 16;
/// What is not read yet of one connection. With all that comes with them, a hundred connections that each fill theirs and
/// hold as many streams as they may stay below 512 MB; with 2 MiB each they took 530 (`load-streams-memory`).
pub const WINDOW_BYTES: u32 = 3 << 19;
const CRYPTO_BUFFER_BYTES: usize = 16 << 10;
/// Connection attempts that wait for us to look at them.
const INCOMING_MAX: usize = 1_024;
const INCOMING_BUFFER_BYTES: u64 = 64 << 10;
const INCOMING_BUFFER_TOTAL_BYTES: u64 = 8 << 20;
/// Unfinished handshakes above which an address must first prove that it receives what is sent to it.
pub const HALF_OPEN_MAX: usize = 64;
/// Unfinished handshakes of one address that has proved itself: nobody alone can hold all that there may be.
pub const HALF_OPEN_PER_ADDRESS_MAX: usize = 64;
/// QUIC wants a server name; with SNI off it is never sent.
const SERVER_NAME: &str = "entente";

const _: () = assert!(
    HALF_OPEN_MAX + HALF_OPEN_PER_ADDRESS_MAX < INCOMING_MAX / 4,
    "whoever has one address leaves room for partners"
);

/// The endpoint could not be set up: our operator's to repair.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The address is taken or not ours.
    #[error("cannot listen on `{address}`: {cause}{}", remedy(cause))]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        cause: io::Error,
    },
    /// TLS could not be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The provider lacks the suite that QUIC's first packets need.
    #[error("TLS lacks the cipher suite of QUIC's first packets")]
    Suite(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
}

fn remedy(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program, or another node, uses this UDP port: stop it, or change `listen` in `entente.toml`"
        }
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address: change `listen` in `entente.toml`",
        _ => "",
    }
}

/// A connection that did not come about, or not with whom it should.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// We refused the peer's certificates.
    #[error("{0}")]
    Refused(Refusal),
    /// No answer in time, or the handshake stalled.
    #[error("no connection within {HANDSHAKE_MS_MAX} ms")]
    Timeout,
    /// Not our protocol.
    #[error("the peer does not speak `entente/1`")]
    Protocol,
    /// QUIC or TLS failed, or the peer refused us.
    #[error("the connection failed: {0}")]
    Connection(#[from] ConnectionError),
    /// The attempt could not be started.
    #[error("the address cannot be dialled: {0}")]
    Start(#[from] quinn::ConnectError),
    /// TLS could not be set up.
    #[error("TLS cannot be set up")]
    Setup(#[from] EndpointError),
}

/// One connection to one partner, certified on both sides.
#[derive(Debug, Clone)]
pub struct Link {
    /// Who is at the other end.
    pub peer: OrgId,
    /// The connection.
    pub connection: Connection,
    /// Whether we dialled it.
    pub dialed: bool,
    /// Whether its session is open: a stream for a file before that would be one too early.
    pub open: Arc<AtomicBool>,
    /// What its certificates said; keys and expiry are looked at again when the book changes.
    pub(super) identity: ClaimedIdentity,
}

impl Link {
    /// When the certificates behind it expire, and it must end.
    pub fn not_after(&self) -> UnixMillis {
        self.identity.not_after
    }
}

/// What an operator may set for a long fat line, within the memory there is.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// What a partner may send ahead of what is read here, for each connection, in bytes; half of it on one stream. Twice
    /// as much of ours may be on its way.
    pub window_bytes: u32,
    /// Streams that one peer may hold open.
    pub bidi_streams_max: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { window_bytes: WINDOW_BYTES, bidi_streams_max: BIDI_STREAMS_MAX }
    }
}

/// One UDP socket, on which we answer and from which we dial.
pub struct Endpoint {
    quinn: quinn::Endpoint,
    trust: Trust,
    transport: Arc<TransportConfig>,
    identity: RwLock<Arc<Identity>>,
    half_open: Arc<HalfOpens>,
}

impl Endpoint {
    /// Binds a socket. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn bind(
        address: SocketAddr,
        identity: Identity,
        book: SharedBook,
        clock: Clock,
        settings: Settings,
    ) -> Result<Self, EndpointError> {
        let failed = |cause| EndpointError::Bind { address, cause };
        let trust = Trust { book, clock, refusals: Refusals::default() };
        let transport = Arc::new(transport(settings));
        let config = server(&identity, trust.clone(), Arc::clone(&transport))?;
        let socket = UdpSocket::bind(address).map_err(failed)?;
        let quinn = quinn::Endpoint::new(EndpointConfig::default(), Some(config), socket, Arc::new(TokioRuntime))
            .map_err(failed)?;
        let half_open = Arc::default();
        Ok(Self { quinn, trust, transport, identity: RwLock::new(Arc::new(identity)), half_open })
    }

    /// The address bound, with the port that the system chose.
    ///
    /// # Errors
    /// If the socket is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.quinn.local_addr()
    }
    /// Whom we act for.
    pub fn own(&self) -> OrgId {
        self.identity().org()
    }
    /// Whom we know.
    pub fn book(&self) -> &SharedBook {
        &self.trust.book
    }
    /// The time.
    pub fn clock(&self) -> &Clock {
        &self.trust.clock
    }
    /// Handshakes refused when we answered. Those we dialled come back as [`ConnectError::Refused`].
    pub fn refusals(&self) -> &Refusals {
        &self.trust.refusals
    }
    /// Handshakes under way on connections that came in.
    pub fn half_open(&self) -> usize {
        self.half_open.lock().all
    }

    /// Shows another certificate from now on; live connections keep the old one until they end.
    ///
    /// # Errors
    /// [`EndpointError::Tls`]; the old certificate then stays.
    pub fn renew(&self, identity: Identity) -> Result<(), EndpointError> {
        let config = server(&identity, self.trust.clone(), Arc::clone(&self.transport))?;
        *self.identity.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(identity);
        self.quinn.set_server_config(Some(config));
        Ok(())
    }

    /// The next attempt to connect to us; `None` once the endpoint is closed. Cancel-safe.
    ///
    /// Above [`HALF_OPEN_MAX`] unfinished handshakes, an address that has not proved itself is told to try again. One that
    /// has is refused above [`HALF_OPEN_PER_ADDRESS_MAX`] of its own: then somebody else's find room.
    pub async fn arrival(&self) -> Option<Arrival> {
        loop {
            let incoming = self.quinn.accept().await?;
            let proved = incoming.remote_address_validated();
            if !proved && self.half_open() >= HALF_OPEN_MAX {
                // An error only says that it may not be retried: it is then refused by being dropped.
                drop(incoming.retry());
                continue;
            }
            // Who has not proved an address may name anybody's: it is not held against that one.
            let network = proved.then(|| network(incoming.remote_address().ip()));
            let Some(guard) = HalfOpen::begin(&self.half_open, network) else {
                tracing::debug!(from = %incoming.remote_address(), "too many unfinished handshakes: one more is refused");
                incoming.refuse();
                continue;
            };
            return Some(Arrival { incoming, trust: self.trust.clone(), _guard: guard });
        }
    }

    /// Connects to `expected` at `address`. Dropping the future gives the attempt up.
    ///
    /// TLS 1.3 lets the dialler finish first: if the peer refuses *us*, the link is returned and then closed.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn dial(&self, expected: OrgId, address: SocketAddr) -> Result<Link, ConnectError> {
        // Its own place for refusals, so that this attempt's reason is not taken for another's.
        let trust = Trust { refusals: Refusals::default(), ..self.trust.clone() };
        let tls = tls::client_config(&self.identity(), trust.clone(), expected).map_err(EndpointError::from)?;
        let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).map_err(EndpointError::from)?));
        config.transport_config(Arc::clone(&self.transport)).token_store(Arc::new(NoneTokenStore));
        let connecting = self.quinn.connect_with(config, address, SERVER_NAME)?;
        let connection = finish(connecting, &trust.refusals).await?;
        link(connection, &trust, Some(expected))
    }

    /// Closes everything at once and answers nothing more.
    pub fn close(&self, code: CloseCode) {
        self.quinn.close(VarInt::from_u32(code.0), &[]);
    }
    /// Waits until every connection has said that it is closed.
    pub async fn drained(&self) {
        self.quinn.wait_idle().await;
    }

    fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An attempt to connect to us that is not yet answered. Dropping it refuses it.
pub struct Arrival {
    incoming: Incoming,
    trust: Trust,
    _guard: HalfOpen,
}

impl Arrival {
    /// Where it comes from; proved only once it is admitted.
    pub fn remote_address(&self) -> SocketAddr {
        self.incoming.remote_address()
    }

    /// Completes the handshake. Dropping the future gives it up.
    ///
    /// # Errors
    /// [`ConnectError`]; the fault is the peer's or the network's.
    pub async fn admit(self) -> Result<Link, ConnectError> {
        let connection = finish(self.incoming.accept()?, &self.trust.refusals).await?;
        link(connection, &self.trust, None)
    }
}

/// Unfinished handshakes. The lock covers both counts.
#[derive(Debug, Default)]
struct HalfOpens(Mutex<HalfOpenCounts>);

#[derive(Debug, Default)]
struct HalfOpenCounts {
    all: usize,
    /// Of networks that have proved their address; nothing where there are none.
    by_network: BTreeMap<IpAddr, usize>,
}

impl HalfOpens {
    fn lock(&self) -> MutexGuard<'_, HalfOpenCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one unfinished handshake for as long as it lives.
struct HalfOpen {
    counts: Arc<HalfOpens>,
    network: Option<IpAddr>,
}

impl HalfOpen {
    /// One more, where there is room for it.
    fn begin(counts: &Arc<HalfOpens>, network: Option<IpAddr>) -> Option<Self> {
        let mut now = counts.lock();
        if now.all >= INCOMING_MAX {
            return None;
        }
        if let Some(network) = network {
            let of_network = now.by_network.entry(network).or_default();
            if *of_network >= HALF_OPEN_PER_ADDRESS_MAX {
                return None;
            }
            *of_network += 1;
        }
        now.all += 1;
        drop(now);
        Some(Self { counts: Arc::clone(counts), network })
    }
}

impl Drop for HalfOpen {
    fn drop(&mut self) {
        let mut now = self.counts.lock();
        now.all = now.all.saturating_sub(1);
        let Some(network) = self.network else { return };
        if let Entry::Occupied(mut of_network) = now.by_network.entry(network) {
            match of_network.get().checked_sub(1) {
                Some(left @ 1..) => drop(of_network.insert(left)),
                _ => drop(of_network.remove()),
            }
        }
    }
}

/// Whom an address is counted with: of IPv6 the network of 64 bits, of which one line has all.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        address @ IpAddr::V4(_) => address,
    }
}

async fn finish(connecting: Connecting, refusals: &Refusals) -> Result<Connection, ConnectError> {
    let before = refusals.count();
    match tokio::time::timeout(Duration::from_millis(HANDSHAKE_MS_MAX), connecting).await {
        Err(_) => Err(ConnectError::Timeout),
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => match refusals.last().filter(|_| refusals.count() > before) {
            Some(refusal) => Err(ConnectError::Refused(refusal)),
            None => Err(error.into()),
        },
    }
}

/// Reads the partner out of a finished handshake, by the same rules as the verifiers, and against the book of
/// this moment: a partner removed during the handshake does not get in.
fn link(connection: Connection, trust: &Trust, expected: Option<OrgId>) -> Result<Link, ConnectError> {
    let protocol = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    if protocol.and_then(|data| data.protocol).as_deref() != Some(tls::ALPN) {
        connection.close(VarInt::from_u32(CloseCode::VERSION.0), &[]);
        return Err(ConnectError::Protocol);
    }
    let chain = connection.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    let usage = if expected.is_some() { tls::server_usage() } else { tls::client_usage() };
    match tls::partner(trust, chain.as_deref().map_or(&[], Vec::as_slice), expected, usage) {
        Ok(identity) => {
            Ok(Link { peer: identity.org, connection, dialed: expected.is_some(), open: Arc::default(), identity })
        }
        Err(refusal) => {
            connection.close(VarInt::from_u32(CloseCode::REMOVED.0), &[]);
            Err(ConnectError::Refused(refusal))
        }
    }
}

/// Every window and timeout of a connection, set by hand. Also for whoever measures what QUIC alone gives under them.
pub fn transport(settings: Settings) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(settings.bidi_streams_max))
        .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS_MAX))
        .stream_receive_window(VarInt::from_u32(settings.window_bytes / 2))
        .receive_window(VarInt::from_u32(settings.window_bytes))
        .send_window(2 * u64::from(settings.window_bytes))
        .max_idle_timeout(Some(VarInt::from_u32(IDLE_MS_MAX).into()))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .crypto_buffer_size(CRYPTO_BUFFER_BYTES)
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0)
        .allow_spin(false);
    config
}

fn server(identity: &Identity, trust: Trust, transport: Arc<TransportConfig>) -> Result<ServerConfig, EndpointError> {
    let tls = tls::server_config(identity, trust)?;
    let mut tokens = ValidationTokenConfig::default();
    // A token that outlives its connection would link one visit to the next.
    tokens.sent(0);
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config
        .transport_config(transport)
        .validation_token_config(tokens)
        // A change of address means reconnect and resume.
        .migration(false)
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BUFFER_BYTES)
        .incoming_buffer_size_total(INCOMING_BUFFER_TOTAL_BYTES);
    Ok(config)
}
