//! The thread that owns a session: frames, wakes and timers in, events to the core, frames out.
//!
//! [`super::Driver`] begins one for each connection and awaits its end. Blocking is allowed here, and only here.

use super::{BROKEN, Ended, Exchange, ExchangeError, lost};
use crate::peer::{Clock, endpoint::Link, lane::LaneFault, stop::Stop};
use entente_protocol::{
    id::OrgId,
    session::{CloseCode, Event, Lane, Role, Session},
    time::UnixMillis,
};
use quinn::VarInt;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    runtime::Handle,
    sync::{Notify, mpsc},
};

/// One lane, as the core sees it.
pub(super) struct Pipe {
    pub(super) inward: mpsc::Receiver<Result<Vec<u8>, LaneFault>>,
    pub(super) outward: mpsc::Sender<Vec<u8>>,
    /// The last frame could not be handed on: ask again once there is room.
    pub(super) full: bool,
    /// The peer has nothing more to say on it.
    pub(super) ended: bool,
}

/// Owns the session, on a thread where blocking is allowed.
pub(super) struct Core {
    pub(super) peer: OrgId,
    pub(super) exchange: Arc<dyn Exchange>,
    pub(super) clock: Clock,
    pub(super) stop: Stop,
    pub(super) wake: Arc<Notify>,
    pub(super) link: Link,
    /// Files that are being given.
    pub(super) giving: Arc<AtomicUsize>,
    pub(super) control: Pipe,
    pub(super) records: Pipe,
    /// When both sides had said their opening.
    pub(super) opened: Option<Instant>,
}

/// Tells the core, whatever happens, that a session which it opened is over.
struct Opened {
    peer: OrgId,
    exchange: Arc<dyn Exchange>,
    ended: Ended,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.exchange.closed(self.peer, &self.ended);
    }
}

enum Input {
    Frame(Lane, Vec<u8>),
    Fault(LaneFault),
    /// The peer ended a lane.
    Ended(Lane),
    /// A lane cannot be written any more.
    Gone,
    Stop,
    /// Time, room or a wake: look again at what is due.
    Look,
}

impl Core {
    pub(super) fn run(mut self, role: Role, handle: &Handle) -> (Ended, Option<Duration>) {
        let mut session = match self.exchange.open(self.peer, role) {
            Ok(session) => session,
            Err(error) => return (self.failed(&error), None),
        };
        let mut opened = Opened { peer: self.peer, exchange: Arc::clone(&self.exchange), ended: BROKEN };
        opened.ended = loop {
            let again = match self.settle(&mut session) {
                Ok(again) => again,
                Err(ended) => break ended,
            };
            let until = session.poll_timeout();
            // What a fault means is in the session's events, which `settle` reads next.
            match handle.block_on(self.next(until, again)) {
                Input::Frame(lane, content) => {
                    if let Err(fault) = session.handle_frame(lane, &content, self.clock.now()) {
                        tracing::warn!(peer = %self.peer.short(), %fault, "a partner broke the protocol");
                    }
                }
                Input::Ended(Lane::Records) => self.records.ended = true,
                Input::Fault(LaneFault::Read(_) | LaneFault::Write(_)) | Input::Ended(Lane::Control) | Input::Gone => {
                    break self.lost();
                }
                Input::Fault(fault) => {
                    tracing::warn!(peer = %self.peer.short(), %fault, "a partner's lane failed");
                    session.close(fault.code());
                }
                Input::Stop => session.close(CloseCode::SHUTDOWN),
                Input::Look => {
                    if let Err(fault) = session.handle_timeout(self.clock.now()) {
                        tracing::warn!(peer = %self.peer.short(), %fault, "a partner broke the protocol");
                    }
                }
            }
        };
        (opened.ended.clone(), self.opened.map(|opened| opened.elapsed()))
    }

    /// Events to the core, due work into the windows, frames to the lanes.
    fn settle(&mut self, session: &mut Session) -> Result<bool, Ended> {
        let worked = self.work(session);
        if session.is_open() {
            self.opened.get_or_insert_with(Instant::now);
            self.link.open.store(true, Ordering::SeqCst);
        }
        self.recall(session);
        // Told here, whatever becomes of the session: the log is the only place that names the fault.
        let failed = worked.as_ref().err().map(|error| {
            session.close(error.code());
            self.failed(error)
        });
        let mut ended = None;
        while let Some(event) = session.poll_event() {
            // Only what `work` left because it failed, and the end itself.
            if let Event::Closed { code, by_peer } = event {
                ended = Some(Ended::Closed { code, by_peer });
            }
        }
        if session.is_closed() {
            // The last word: if there is no room for it, QUIC's close carries the code as well.
            while let Some(content) = session.poll_lane(Lane::Control) {
                drop(self.control.outward.try_send(content));
            }
        }
        match failed {
            Some(fatal @ Ended::Fatal(_)) => return Err(fatal),
            Some(failed) => return Err(ended.unwrap_or(failed)),
            None if session.is_closed() => {
                return Err(ended.unwrap_or(Ended::Closed { code: CloseCode::DONE, by_peer: false }));
            }
            None => {}
        }
        let open = flush(session, Lane::Control, &mut self.control) && flush(session, Lane::Records, &mut self.records);
        if !open {
            return Err(self.lost());
        }
        Ok(worked.unwrap_or(false))
    }

    /// Something was recalled, and QUIC may hold some of it: that goes with the connection. The next one begins with
    /// what the partner holds.
    fn recall(&self, session: &mut Session) {
        let recalled = session.poll_recall();
        if recalled.is_some_and(|on_the_way| on_the_way || self.giving.load(Ordering::SeqCst) > 0) {
            tracing::info!(peer = %self.peer.short(), "what is on its way is recalled: the connection is cut");
            session.close(CloseCode::BUSY);
            self.link.connection.close(VarInt::from_u32(CloseCode::BUSY.0), &[]);
        }
    }

    fn work(&self, session: &mut Session) -> Result<bool, ExchangeError> {
        // `Closed` is the last event that a session has, so it stays for `settle`.
        while !session.is_closed() {
            match session.poll_event() {
                Some(event) => self.exchange.event(self.peer, session, event)?,
                None => return self.exchange.pump(self.peer, session),
            }
        }
        Ok(false)
    }

    /// Waits for something to do. Control goes first, on both sides.
    async fn next(&mut self, until: Option<UnixMillis>, again: bool) -> Input {
        let wait = until.map(|at| Duration::from_millis(at.0.saturating_sub(self.clock.now().0)));
        let timer = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.stop.requested() => Input::Stop,
            frame = self.control.inward.recv() => received(Lane::Control, frame),
            room = self.control.outward.reserve(), if self.control.full => looked(room.is_ok()),
            room = self.records.outward.reserve(), if self.records.full => looked(room.is_ok()),
            frame = self.records.inward.recv(), if !self.records.ended => received(Lane::Records, frame),
            () = self.wake.notified() => Input::Look,
            () = timer => Input::Look,
            () = std::future::ready(()), if again => Input::Look,
        }
    }

    fn lost(&self) -> Ended {
        lost(&self.link.connection)
    }

    fn failed(&self, error: &ExchangeError) -> Ended {
        match error {
            ExchangeError::Peer(fault) => {
                tracing::warn!(peer = %self.peer.short(), %fault, "a partner broke the protocol");
            }
            error => tracing::error!(peer = %self.peer.short(), %error, "a session cannot go on"),
        }
        match error {
            ExchangeError::Fatal(cause) => Ended::Fatal(cause.clone()),
            other => Ended::Closed { code: other.code(), by_peer: false },
        }
    }
}

/// Hands on what a lane has room for. What is not polled stays with the session, which can still withdraw it.
/// Whether the lane can still be written.
fn flush(session: &mut Session, lane: Lane, pipe: &mut Pipe) -> bool {
    pipe.full = false;
    loop {
        match pipe.outward.try_reserve() {
            Ok(room) => match session.poll_lane(lane) {
                Some(content) => room.send(content),
                None => return true,
            },
            Err(mpsc::error::TrySendError::Full(())) => {
                pipe.full = true;
                return true;
            }
            Err(mpsc::error::TrySendError::Closed(())) => return false,
        }
    }
}

fn received(lane: Lane, frame: Option<Result<Vec<u8>, LaneFault>>) -> Input {
    match frame {
        Some(Ok(content)) => Input::Frame(lane, content),
        Some(Err(fault)) => Input::Fault(fault),
        None => Input::Ended(lane),
    }
}

fn looked(is_open: bool) -> Input {
    if is_open { Input::Look } else { Input::Gone }
}
