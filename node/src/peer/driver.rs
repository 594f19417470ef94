//! Pumps one session over one connection: frames in, frames out, timers, events to the core. It is dull.
//!
//! Called by [`super::accept`] and [`super::dial`]. The core ([`Exchange`]) is synchronous and may block: it runs on a
//! thread of its own for each connection, which owns the [`Session`]. The driver knows nothing of records.
//!
//! Memory for each connection: on each lane one frame being read, one waiting and one being written.

mod pump;

use super::{
    Clock,
    endpoint::Link,
    fetch::{self, FetchReply},
    lane::{self, Carries, Frames, LaneFault, PROGRESS},
    stop::Stop,
};
use entente_protocol::{
    error::PeerFault,
    id::OrgId,
    session::{
        CloseCode, Event, Lane, Role, Session,
        fetch::{RefusedCode, Request},
    },
};
use pump::{Core, Pipe};
use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicUsize},
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::{Notify, mpsc},
    task::JoinSet,
    time::timeout,
};

/// Both lanes must be open this long after the handshake.
const LANES: Duration = Duration::from_secs(10);
/// How long the last words of a session may take.
const DRAIN: Duration = Duration::from_secs(5);
/// The core broke within a session: ours to mend.
const BROKEN: Ended = Ended::Closed { code: CloseCode::INTERNAL, by_peer: false };
/// Frames that wait on each side of the core, for each lane.
const WAITING_MAX: usize = 1;

/// Why the core cannot go on with a session.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The peer broke the protocol in a way that only the core can see.
    #[error("{0}")]
    Peer(#[from] PeerFault),
    /// Not now: too much at once.
    #[error("too much at once")]
    Busy,
    /// The partner was removed meanwhile.
    #[error("the partner was removed")]
    Removed,
    /// Something of ours failed, for this session only.
    #[error("{0}")]
    Internal(String),
    /// The store failed: nothing more may be acknowledged, by any session. The node stops.
    #[error("the store failed: {0}")]
    Fatal(String),
}

impl ExchangeError {
    fn code(&self) -> CloseCode {
        match self {
            Self::Peer(fault) => fault.code(),
            Self::Busy => CloseCode::BUSY,
            Self::Removed => CloseCode::REMOVED,
            Self::Internal(_) | Self::Fatal(_) => CloseCode::INTERNAL,
        }
    }
}

/// The node's synchronous core, as the driver sees it. Every call may block on storage, and none is made on a
/// thread of the async runtime. Calls for one session come one after the other.
pub trait Exchange: Send + Sync + 'static {
    /// A session with a partner whom the connection has proved.
    ///
    /// # Errors
    /// [`ExchangeError`]: the connection is then closed.
    fn open(&self, peer: OrgId, role: Role) -> Result<Session, ExchangeError>;
    /// Something happened; answer with the session's commands. [`Event::Closed`] does not come here.
    ///
    /// # Errors
    /// [`ExchangeError`]: the session is then closed.
    fn event(&self, peer: OrgId, session: &mut Session, event: Event) -> Result<(), ExchangeError>;
    /// Fills the windows with what is due. `true`: there is more to do now, call again soon.
    ///
    /// # Errors
    /// [`ExchangeError`]: the session is then closed.
    fn pump(&self, peer: OrgId, session: &mut Session) -> Result<bool, ExchangeError>;
    /// A file that was released to the partner, positioned at the chunk asked for.
    ///
    /// # Errors
    /// The code that the partner is told; what was never released and what does not exist look alike.
    fn fetch(&self, peer: OrgId, request: Request) -> Result<FetchReply, RefusedCode>;
    /// The session is over; called once for each that was opened, and before the next one with this partner is.
    fn closed(&self, peer: OrgId, ended: &Ended);
    /// The partner was dialled, and there is no connection: why, for people. Only takes note, and never blocks.
    fn unreachable(&self, peer: OrgId, why: String);
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// One side closed it.
    Closed {
        /// Why.
        code: CloseCode,
        /// Whether the partner did.
        by_peer: bool,
    },
    /// The connection is gone, without a word within the session.
    Lost,
    /// The partner's TLS refused what we showed it: we are nobody whom it was introduced to, or not by this certificate.
    Refused,
    /// Our store failed: the node must stop.
    Fatal(String),
}

/// Wakes the session with a partner after a commit that concerns it. A wake is never lost: one that
/// comes while the core is busy is seen afterwards.
#[derive(Debug, Clone, Default)]
pub struct Wakes(Arc<Mutex<BTreeMap<OrgId, Arc<Notify>>>>);

impl Wakes {
    /// Wakes one partner's session, if there is one.
    pub fn wake(&self, peer: OrgId) {
        self.of(peer).notify_one();
    }
    /// Wakes all.
    pub fn wake_all(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().for_each(|wake| wake.notify_one());
    }
    /// Grows with the partners, of whom an operator has confirmed each.
    fn of(&self, peer: OrgId) -> Arc<Notify> {
        Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(peer).or_default())
    }
}

/// Whose turn it is: with each partner one session at a time, from before the core opens it until its thread has
/// ended. Two at once would sign two histories of one feed.
#[derive(Debug, Clone, Default)]
pub struct Turns(Arc<Mutex<BTreeMap<OrgId, Arc<tokio::sync::Mutex<()>>>>>);

impl Turns {
    /// Grows with the partners, of whom an operator has confirmed each.
    fn of(&self, peer: OrgId) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(peer).or_default())
    }
}

/// What every session needs.
#[derive(Clone)]
pub struct Driver {
    /// The core.
    pub exchange: Arc<dyn Exchange>,
    /// Wakes.
    pub wakes: Wakes,
    /// Turns.
    pub turns: Turns,
    /// Time.
    pub clock: Clock,
    /// The signal to stop.
    pub stop: Stop,
}

impl Driver {
    /// Runs one session until it ends, then closes the connection. Says how it ended, and for how long it had been
    /// open, if it ever was. Dropping the future closes the connection's streams; the core's thread then ends by
    /// itself, and the partner's next session begins after that.
    pub async fn drive(&self, link: &Link) -> (Ended, Option<Duration>) {
        let (ended, open) = self.session(link).await;
        let code = match &ended {
            Ended::Closed { code, .. } => *code,
            Ended::Lost | Ended::Refused => CloseCode::DONE,
            Ended::Fatal(_) => CloseCode::INTERNAL,
        };
        // What the partner said stands in the log; it is not said back to it.
        let by_peer = matches!(ended, Ended::Closed { by_peer: true, .. });
        let answer = if by_peer { CloseCode::DONE } else { code };
        link.connection.close(VarInt::from_u32(answer.0), &[]);
        tracing::info!(peer = %link.peer.short(), %code, by_peer, "a session ended");
        (ended, open)
    }

    async fn session(&self, link: &Link) -> (Ended, Option<Duration>) {
        let refused = |code| (Ended::Closed { code, by_peer: false }, None);
        let mut stop = self.stop.clone();
        // The session before this one was closed when this link was kept; it may still be at work.
        let turn = tokio::select! {
            biased;
            () = stop.requested() => return refused(CloseCode::SHUTDOWN),
            _ = link.connection.closed() => return (lost(&link.connection), None),
            turn = self.turns.of(link.peer).lock_owned() => turn,
        };
        let lanes = match timeout(LANES, Lanes::open(link)).await {
            Ok(Ok(lanes)) => lanes,
            Ok(Err(LaneFault::Read(_) | LaneFault::Write(_))) => return (lost(&link.connection), None),
            Ok(Err(fault)) => {
                tracing::warn!(peer = %link.peer.short(), %fault, "a partner's lanes did not open");
                return refused(fault.code());
            }
            Err(_) => {
                tracing::warn!(peer = %link.peer.short(), "a partner's lanes did not open in time");
                return refused(CloseCode::TIMEOUT);
            }
        };
        let (control_to_core, control_in) = mpsc::channel(WAITING_MAX);
        let (records_to_core, records_in) = mpsc::channel(WAITING_MAX);
        let (control_out, control_from_core) = mpsc::channel(WAITING_MAX);
        let (records_out, records_from_core) = mpsc::channel(WAITING_MAX);
        let (control, records) = (Lane::Control.frame_bytes_max(), Lane::Records.frame_bytes_max());
        let mut inward = JoinSet::new();
        inward.spawn(lane::inward(Frames::new(lanes.control.1, control, PROGRESS), control_to_core));
        inward.spawn(lane::inward(Frames::new(lanes.records.1, records, PROGRESS), records_to_core));
        let mut outward = JoinSet::new();
        outward.spawn(lane::outward(lanes.control.0, control, control_from_core));
        outward.spawn(lane::outward(lanes.records.0, records, records_from_core));
        let giving = Arc::new(AtomicUsize::new(0));
        let core = Core {
            peer: link.peer,
            exchange: Arc::clone(&self.exchange),
            clock: self.clock.clone(),
            stop: self.stop.clone(),
            wake: self.wakes.of(link.peer),
            link: link.clone(),
            giving: Arc::clone(&giving),
            control: Pipe { inward: control_in, outward: control_out, full: false, ended: false },
            records: Pipe { inward: records_in, outward: records_out, full: false, ended: false },
            opened: None,
        };
        let role = if link.dialed { Role::Dialer } else { Role::Acceptor };
        let handle = Handle::current();
        let mut core = tokio::task::spawn_blocking(move || {
            let ended = core.run(role, &handle);
            drop(turn);
            ended
        });
        // A panic of the core ends this session only.
        let broken = (BROKEN, None);
        let ended = tokio::select! {
            ended = &mut core => ended.unwrap_or(broken.clone()),
            fault = fetch::serve_all(link, &self.exchange, &giving) => {
                // Without its readers the core ends.
                inward.abort_all();
                if let Some(fault) = &fault {
                    tracing::warn!(peer = %link.peer.short(), %fault, "a partner misused a stream");
                }
                let (ended, open) = core.await.unwrap_or(broken.clone());
                (fault.map_or(ended, |fault| Ended::Closed { code: fault.code(), by_peer: false }), open)
            }
        };
        // The core has let go of its queues: the writers say what is left and end.
        let drained = async { while outward.join_next().await.is_some() {} };
        drop(timeout(DRAIN, drained).await);
        ended
    }
}

type Stream = (SendStream, RecvStream);

struct Lanes {
    control: Stream,
    records: Stream,
}

impl Lanes {
    /// The dialler opens both; the first byte tells them apart, whichever comes first.
    async fn open(link: &Link) -> Result<Self, LaneFault> {
        if link.dialed {
            let control = open(&link.connection, Carries::Control).await?;
            return Ok(Self { control, records: open(&link.connection, Carries::Records).await? });
        }
        let (mut control, mut records) = (None, None);
        loop {
            let (stream, carries) = accept(&link.connection).await?;
            let place = match carries {
                Carries::Control => &mut control,
                Carries::Records => &mut records,
                Carries::File => return Err(LaneFault::Stream),
            };
            if place.replace(stream).is_some() {
                return Err(LaneFault::Stream);
            }
            (control, records) = match (control, records) {
                (Some(control), Some(records)) => return Ok(Self { control, records }),
                waiting => waiting,
            };
        }
    }
}

/// Opens a stream and says what it carries, so that the peer sees it at once.
pub(super) async fn open(connection: &Connection, carries: Carries) -> Result<Stream, LaneFault> {
    let (mut send, receive) = connection.open_bi().await.map_err(quinn::WriteError::ConnectionLost)?;
    // An error says that the stream is closed, which the write finds as well.
    drop(send.set_priority(carries.priority()));
    send.write_all(&[carries as u8]).await?;
    Ok((send, receive))
}

/// The next stream of the peer, and what it says that it carries.
async fn accept(connection: &Connection) -> Result<(Stream, Carries), LaneFault> {
    let (send, mut receive) = connection.accept_bi().await.map_err(quinn::ReadError::ConnectionLost)?;
    let carries = carries(&mut receive).await?;
    drop(send.set_priority(carries.priority()));
    Ok(((send, receive), carries))
}

/// Reads the first byte of a stream.
pub(super) async fn carries(receive: &mut RecvStream) -> Result<Carries, LaneFault> {
    let mut first = [0u8; 1];
    receive.read_exact(&mut first).await.map_err(|error| match error {
        quinn::ReadExactError::FinishedEarly(_) => LaneFault::Truncated,
        quinn::ReadExactError::ReadError(error) => error.into(),
    })?;
    first.first().copied().and_then(Carries::from_byte).ok_or(LaneFault::Stream)
}

/// The connection ended without a word in the session; the peer may have said why beside it.
fn lost(connection: &Connection) -> Ended {
    match connection.close_reason() {
        Some(ConnectionError::ApplicationClosed(close)) => {
            let code = u32::try_from(close.error_code.into_inner()).map_or(CloseCode::INTERNAL, CloseCode);
            Ended::Closed { code, by_peer: true }
        }
        // RFC 9001, 4.8: a TLS alert is a connection error from 0x100 on.
        Some(ConnectionError::ConnectionClosed(close)) if (0x100..0x200).contains(&u64::from(close.error_code)) => {
            Ended::Refused
        }
        _ => Ended::Lost,
    }
}
