//! Two sessions and a simulated connection between them, with a virtual clock: for tests and the simulation.
//!
//! Lanes are ordered and reliable, as QUIC's streams are; between lanes anything may overtake. What
//! QUIC cannot hide is a cut connection: so loss is a cut after any frame. Nothing here sleeps.

use super::{Event, Lane, Session};
use crate::{error::PeerFault, time::UnixMillis};
use std::collections::VecDeque;

/// The application on one side: the node's synchronous core, or a model of it.
pub trait Shell {
    /// Answers an event with commands.
    fn event(&mut self, session: &mut Session, event: Event, now: UnixMillis);
    /// Sends what is due and fits the windows. Called after every frame.
    fn pump(&mut self, session: &mut Session, now: UnixMillis);
}

/// One of the two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The first session.
    Left,
    /// The second session.
    Right,
}

/// A frame that a side sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// By whom.
    pub by: Side,
    /// On which lane.
    pub lane: Lane,
    /// Its content.
    pub content: Vec<u8>,
}

/// How the connection behaves.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// Orders lanes and sides against each other; the same seed gives the same run.
    pub seed: u64,
    /// Milliseconds that pass with each delivery.
    pub delay_ms: u64,
    /// The connection is cut after this many deliveries.
    pub cut_after: Option<usize>,
    /// This delivery is made twice.
    pub repeat: Option<usize>,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is left to say.
    Quiet,
    /// It was cut.
    Cut,
    /// A side found a fault of the other.
    Fault(Side, PeerFault),
}

/// Two sessions over one connection.
pub struct Pair {
    left: Session,
    right: Session,
    now: UnixMillis,
    wires: [VecDeque<Sent>; 4],
    weather: Weather,
    log: Vec<Sent>,
    delivered: usize,
}

impl Pair {
    /// A connection that has just been made.
    pub fn new(left: Session, right: Session, now: UnixMillis, mut weather: Weather) -> Self {
        // The generator below never leaves 0.
        weather.seed = weather.seed.max(1);
        Self { left, right, now, wires: Default::default(), weather, log: Vec::new(), delivered: 0 }
    }

    /// Runs until nothing is left to say, the connection is cut, or a side closes for a fault.
    ///
    /// Ends for shells that send only what changed: each delivery takes a frame off a wire.
    pub fn run(&mut self, left: &mut dyn Shell, right: &mut dyn Shell) -> Outcome {
        loop {
            for side in [Side::Left, Side::Right] {
                let shell: &mut dyn Shell = if side == Side::Left { &mut *left } else { &mut *right };
                self.settle(side, shell);
            }
            if self.weather.cut_after == Some(self.delivered) {
                return Outcome::Cut;
            }
            let Some(sent) = self.next_frame() else { return Outcome::Quiet };
            let times = if self.weather.repeat == Some(self.delivered) { 2 } else { 1 };
            self.delivered += 1;
            self.now = self.now.plus(self.weather.delay_ms);
            for _ in 0..times {
                let (to, session) = match sent.by {
                    Side::Left => (Side::Right, &mut self.right),
                    Side::Right => (Side::Left, &mut self.left),
                };
                if let Err(fault) = session.handle_frame(sent.lane, &sent.content, self.now) {
                    return Outcome::Fault(to, fault);
                }
            }
        }
    }

    /// Lets a side answer its events and puts what it sends on the wires.
    fn settle(&mut self, side: Side, shell: &mut dyn Shell) {
        let session = if side == Side::Left { &mut self.left } else { &mut self.right };
        while let Some(event) = session.poll_event() {
            shell.event(session, event, self.now);
        }
        shell.pump(session, self.now);
        while let Some((lane, content)) = session.poll_frame() {
            let sent = Sent { by: side, lane, content };
            self.log.push(sent.clone());
            let wire = usize::from(side == Side::Right) * 2 + usize::from(lane == Lane::Records);
            if let Some(wire) = self.wires.get_mut(wire) {
                wire.push_back(sent);
            }
        }
    }

    /// Takes the oldest frame of some wire: order holds within a lane and a direction only.
    fn next_frame(&mut self) -> Option<Sent> {
        // xorshift64 (Marsaglia, "Xorshift RNGs", 2003): repeatable, and not for anything secret.
        let mut seed = self.weather.seed;
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        self.weather.seed = seed;
        let busy = self.wires.iter().filter(|w| !w.is_empty()).count() as u64;
        let pick = usize::try_from(seed.checked_rem(busy)?).ok()?;
        self.wires.iter_mut().filter(|w| !w.is_empty()).nth(pick)?.pop_front()
    }

    /// Every frame that was sent, in its order.
    pub fn log(&self) -> &[Sent] {
        &self.log
    }

    /// Deliveries so far.
    pub fn delivered(&self) -> usize {
        self.delivered
    }

    /// The virtual time.
    pub fn now(&self) -> UnixMillis {
        self.now
    }

    /// The session of a side.
    pub fn session(&mut self, side: Side) -> &mut Session {
        if side == Side::Left { &mut self.left } else { &mut self.right }
    }
}
