//! Two sessions and a simulated connection between them, with a virtual clock: for tests and the simulation.
//!
//! Lanes are ordered and reliable, as QUIC's streams are; between lanes anything may overtake. What
//! QUIC cannot hide is a cut connection: so loss is a cut after any frame. A single frame can be dropped all the same, to
//! show what becomes of a partner whose frames are not all there. Nothing here sleeps.

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
    /// This delivery is not made, and those after it are.
    pub lose: Option<usize>,
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
    lost: Option<Sent>,
}

impl Pair {
    /// A connection that has just been made.
    pub fn new(left: Session, right: Session, now: UnixMillis, mut weather: Weather) -> Self {
        // The generator below never leaves 0.
        weather.seed = weather.seed.max(1);
        Self { left, right, now, wires: Default::default(), weather, log: Vec::new(), delivered: 0, lost: None }
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
            let times = match Some(self.delivered) {
                at if at == self.weather.lose => 0,
                at if at == self.weather.repeat => 2,
                _ => 1,
            };
            self.delivered += 1;
            if times == 0 {
                self.lost = Some(sent.clone());
            }
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

    /// Jumps to the next timer of a side, as a clock does while nothing comes: the fault that it finds, if one does.
    pub fn wait(&mut self) -> Option<(Side, PeerFault)> {
        let timers = [(Side::Left, self.left.poll_timeout()), (Side::Right, self.right.poll_timeout())];
        let (side, at) = timers.into_iter().filter_map(|(side, at)| Some((side, at?))).min_by_key(|(_, at)| *at)?;
        self.now = self.now.max(at);
        let now = self.now;
        self.session(side).handle_timeout(now).err().map(|fault| (side, fault))
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

    /// The frame that was lost, if it came to that.
    pub fn lost(&self) -> Option<&Sent> {
        self.lost.as_ref()
    }

    /// Deliveries so far, the lost one counted.
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
