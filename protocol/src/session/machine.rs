//! The session itself: messages in, messages and events out, and what the shell may ask for.
//!
//! The driver calls `handle_*` with what the world did and `poll_*` until they are empty; the shell answers events with
//! the commands. It holds no key, no storage and no clock, and it decides nothing about records.

use super::{
    CloseCode, Event, SendError, SessionConfig,
    message::{AgreementLine, Heads, Hello, Lane, Message, Notice, ReceivedHead, SentHead, VERSIONS},
    opening::{ExpectAgreements, ExpectHeads, ExpectHello, Open},
    receiving::Receiving,
    sharing::{Acknowledged, Sending},
};
use crate::{
    agreement::{Standing, StandingNotice},
    codec::{self, Bounds, CodecError},
    cose::SignatureBytes,
    error::PeerFault,
    feed::{Cursor, FeedKey, Receipt, Run, RunMessage},
    id::{AgreementId, FeedId},
    limits,
    time::UnixMillis,
};
use std::collections::{BTreeMap, VecDeque};

enum State {
    Hello(ExpectHello),
    Agreements(ExpectAgreements),
    Heads(ExpectHeads),
    Open(Open),
    Closed,
}

impl State {
    fn expected(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Agreements(_) => "agreements",
            Self::Heads(_) => "heads",
            Self::Open(_) => "any message but hello",
            Self::Closed => "nothing",
        }
    }
}

/// Our own part of the opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Hello,
    Agreements,
    Heads,
}

/// A head by feed, with the signature that was shown with it.
type Shown = BTreeMap<FeedId, (FeedKey, Cursor, Option<SignatureBytes>)>;

/// One session between two nodes over one connection.
///
/// Calling order: [`new`](Self::new); then, whenever the world moved, one of `handle_frame` and `handle_timeout`,
/// then `poll_event` until it is empty (answering with commands), then `poll_frame` until it is empty. Each
/// frame that is handled yields a bounded number of events, so drain them before handing in the next.
pub struct Session {
    config: SessionConfig,
    state: State,
    said: Said,
    deadline: Option<UnixMillis>,
    ours: Shown,
    theirs: Shown,
    sending: Sending,
    receiving: Receiving,
    opening: VecDeque<Vec<u8>>,
    urgent: VecDeque<Vec<u8>>,
    control: VecDeque<Vec<u8>>,
    control_bytes: usize,
    events: VecDeque<Event>,
    recalled: Option<bool>,
}

impl Session {
    /// A session whose connection has just been made. The greeting waits in `poll_frame`.
    pub fn new(config: SessionConfig, now: UnixMillis) -> Result<Self, SendError> {
        let mut session = Self {
            config,
            state: State::Hello(ExpectHello),
            said: Said::Hello,
            deadline: Some(now.plus(limits::OPENING_TIMEOUT_MS)),
            ours: Shown::new(),
            theirs: Shown::new(),
            sending: Sending::default(),
            receiving: Receiving::default(),
            opening: VecDeque::new(),
            urgent: VecDeque::new(),
            control: VecDeque::new(),
            control_bytes: 0,
            events: VecDeque::new(),
            recalled: None,
        };
        let SessionConfig { org, store, nonce, .. } = config;
        let hello = Message::Hello(Hello { org, time: now, nonce, store, versions: VERSIONS.to_vec() });
        session.queue(&hello, Place::Opening)?;
        Ok(session)
    }

    // --- what the world did ---

    /// Takes the content of one frame. On a fault the session is closing: poll what is left and end the connection.
    pub fn handle_frame(&mut self, lane: Lane, content: &[u8], now: UnixMillis) -> Result<(), PeerFault> {
        if matches!(self.state, State::Closed) {
            return Ok(());
        }
        let handled = Message::from_bytes(lane, content).and_then(|message| self.handle(message, now));
        handled.inspect_err(|fault| self.finish(fault.code()))
    }

    /// Takes note of the time: what is due by `poll_timeout` and did not come closes the session.
    pub fn handle_timeout(&mut self, now: UnixMillis) -> Result<(), PeerFault> {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        let fault = PeerFault::Timeout { state: self.state.expected() };
        self.fail(&fault);
        Err(fault)
    }

    fn handle(&mut self, message: Message, now: UnixMillis) -> Result<(), PeerFault> {
        let unexpected = PeerFault::Unexpected { message: message.name(), state: self.state.expected() };
        // The lanes are separate streams: a run may overtake the partner's heads, never ours.
        if let Message::Run(message) = message {
            return self.handle_run(message);
        }
        if let Message::Close(code) = message {
            self.end(code, true);
            return Ok(());
        }
        let due = Some(now.plus(limits::OPENING_TIMEOUT_MS));
        match (std::mem::replace(&mut self.state, State::Closed), message) {
            (State::Hello(state), Message::Hello(hello)) => {
                self.state = State::Agreements(state.hello(&hello, &self.config, now)?);
                self.deadline = due;
                self.events.push_back(Event::Ready(hello));
            }
            (State::Agreements(state), Message::Agreements(lines)) => {
                self.state = State::Heads(state.agreements(&lines));
                self.deadline = due;
                self.events.push_back(Event::Agreements(lines));
            }
            (State::Heads(state), Message::Heads(heads)) => {
                let open = state.heads(&heads, &self.config)?;
                self.take_heads(heads)?;
                self.state = State::Open(open);
                self.deadline = None;
            }
            (State::Open(mut open), message) => {
                let handled = self.handle_open(&mut open, message, unexpected);
                self.state = State::Open(open);
                return handled;
            }
            _ => return Err(unexpected),
        }
        Ok(())
    }

    fn handle_open(&mut self, open: &mut Open, message: Message, unexpected: PeerFault) -> Result<(), PeerFault> {
        let event = match message {
            Message::Agreements(lines) => {
                open.agreements(&lines);
                Event::Agreements(lines)
            }
            Message::Heads(heads) => {
                open.heads(&heads, &self.config)?;
                return self.take_heads(heads);
            }
            Message::Receipt(receipt) => return self.handle_receipt(receipt),
            Message::Proposal(bytes) => Event::Proposal(bytes),
            Message::Standing(signed) => Event::Standing(signed),
            Message::Card(bytes) => Event::Card(bytes),
            Message::Notice(notice) => Event::Notice(notice),
            Message::Hello(_) | Message::Run(_) | Message::Close(_) => return Err(unexpected),
        };
        self.events.push_back(event);
        Ok(())
    }

    fn handle_run(&mut self, message: Box<RunMessage>) -> Result<(), PeerFault> {
        if let Some(feed) = self.receiving.take(&message)? {
            self.events.push_back(Event::Run { feed, message });
        }
        Ok(())
    }

    fn handle_receipt(&mut self, signed: SignatureBytes) -> Result<(), PeerFault> {
        let receipt = Receipt::danger_unverified(&signed)?;
        match self.sending.acknowledge(&receipt)? {
            Acknowledged::Run(feed) => self.events.push_back(Event::Receipt { feed, receipt: signed }),
            Acknowledged::Fork(feed, ours) => self.fork(feed, ours, receipt.held, Some(signed)),
            Acknowledged::Stopped => {}
        }
        Ok(())
    }

    fn take_heads(&mut self, heads: Heads) -> Result<(), PeerFault> {
        let Heads { sent, received } = heads.clone();
        self.events.push_back(Event::Heads(heads));
        for SentHead { feed, head, run, .. } in sent {
            self.theirs.insert(feed.id(), (feed, head, run));
        }
        for ReceivedHead { feed, head, receipt } in received {
            self.theirs.insert(feed.id(), (feed, head, receipt));
            self.sending.show(feed, head);
        }
        // The bound of one message would not hold for many that each name other feeds.
        let max = 2 * limits::FEEDS_PER_PARTNER_MAX;
        if self.theirs.len() > max {
            return Err(PeerFault::TooMany { what: "feeds", max });
        }
        self.find_forks();
        Ok(())
    }

    /// One length and two digests, of what both sides have shown.
    fn find_forks(&mut self) {
        let mut forks = Vec::new();
        for (id, (feed, theirs, signed)) in &self.theirs {
            let ours = self.ours.get(id).map(|shown| shown.1);
            if let Some(ours) = ours.filter(|o| o.length == theirs.length && o.digest != theirs.digest) {
                forks.push((*feed, ours, *theirs, signed.clone()));
            }
        }
        for (feed, ours, theirs, signed) in forks {
            // Told once: what is stopped need not be compared again.
            self.ours.remove(&feed.id());
            self.fork(feed, ours, theirs, signed);
        }
    }

    fn fork(&mut self, feed: FeedKey, ours: Cursor, theirs: Cursor, signed: Option<SignatureBytes>) {
        self.stop(feed.id());
        self.events.push_back(Event::Fork { feed, ours, theirs, signed });
    }

    fn end(&mut self, code: CloseCode, by_peer: bool) {
        self.state = State::Closed;
        self.deadline = None;
        for queue in [&mut self.opening, &mut self.urgent, &mut self.control] {
            queue.clear();
        }
        self.control_bytes = 0;
        self.sending = Sending::default();
        self.events.push_back(Event::Closed { code, by_peer });
    }

    fn finish(&mut self, code: CloseCode) {
        self.end(code, false);
        if let Ok(bytes) = Message::Close(code).to_bytes() {
            self.opening.push_back(bytes);
        }
    }

    // --- what we want done ---

    /// The next frame's content and its lane, the most urgent first.
    pub fn poll_frame(&mut self) -> Option<(Lane, Vec<u8>)> {
        [Lane::Control, Lane::Records].into_iter().find_map(|lane| self.poll_lane(lane).map(|bytes| (lane, bytes)))
    }

    /// The next frame's content of one lane, for a driver whose other lane is full: what is not polled
    /// can still be withdrawn.
    pub fn poll_lane(&mut self, lane: Lane) -> Option<Vec<u8>> {
        if lane == Lane::Records {
            // Our runs may not overtake our own opening: until it is said, they wait.
            return if self.said < Said::Heads { None } else { self.sending.pop() };
        }
        let queues = [&mut self.opening, &mut self.urgent, &mut self.control];
        let bytes = queues.into_iter().find_map(VecDeque::pop_front)?;
        self.control_bytes = self.control_bytes.saturating_sub(bytes.len());
        Some(bytes)
    }

    /// What happened, in its order.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether something was recalled since the last poll, and with `true` that runs of it may be on their way: what the
    /// transport still holds of them is to be thrown away, and of files too.
    pub fn poll_recall(&mut self) -> Option<bool> {
        self.recalled.take()
    }

    /// When to call `handle_timeout` at the latest.
    pub fn poll_timeout(&self) -> Option<UnixMillis> {
        self.deadline
    }

    // --- commands of the shell ---

    /// Names the agreements that both are party to, rising by id, and nothing of others.
    ///
    /// The first time at once, for it follows the hello; later when one changed. Between that and our heads it is not
    /// taken: the partner expects heads then, and would close.
    pub fn offer_agreements(&mut self, lines: Vec<AgreementLine>) -> Result<(), SendError> {
        if self.said == Said::Agreements || self.is_closed() {
            return Err(SendError::NotReady);
        }
        let place = if self.said < Said::Agreements { Place::Opening } else { Place::Control };
        self.queue(&Message::Agreements(lines), place)?;
        self.said = self.said.max(Said::Agreements);
        Ok(())
    }

    /// Shows how far we are in the feeds between the two, each list rising by feed.
    ///
    /// The first time in answer to [`Event::Agreements`], later for feeds not named before. A feed in `received` may
    /// be sent to us from then on.
    pub fn offer_heads(&mut self, heads: Heads) -> Result<(), SendError> {
        let early = matches!(self.state, State::Hello(_) | State::Agreements(_) | State::Closed);
        if early || self.said < Said::Agreements {
            return Err(SendError::NotReady);
        }
        let (us, peer) = (self.config.org, self.config.peer);
        let consistent = heads.sent.iter().all(|l| l.is_consistent(us, peer))
            && heads.received.iter().all(|l| l.is_consistent(peer, us));
        if !consistent {
            return Err(SendError::Message(PeerFault::Feed));
        }
        let message = Message::Heads(heads);
        self.queue(&message, if self.said < Said::Heads { Place::Opening } else { Place::Control })?;
        self.said = Said::Heads;
        if let Message::Heads(Heads { sent, received }) = message {
            for SentHead { feed, head, .. } in sent {
                self.ours.insert(feed.id(), (feed, head, None));
            }
            for ReceivedHead { feed, head, .. } in received {
                self.ours.insert(feed.id(), (feed, head, None));
                self.receiving.show(feed);
            }
        }
        self.find_forks();
        Ok(())
    }

    /// Queues a signed run of one of our feeds. It must begin at [`next`](Self::next).
    pub fn send_run(&mut self, message: RunMessage) -> Result<(), SendError> {
        self.opened()?;
        let run = Run::danger_unverified(&message.run).map_err(|fault| SendError::Message(fault.into()))?;
        // Checked first, so that a full window costs no encoding.
        if self.sending.next(run.feed).is_some() && self.sending.window(run.feed) == 0 {
            return Err(SendError::WindowFull);
        }
        let bytes = Message::Run(Box::new(message)).to_bytes()?;
        self.sending.push(&run, bytes)
    }

    /// Queues our countersignature of the oldest run of a feed that we have not countersigned in this session.
    pub fn send_receipt(&mut self, receipt: SignatureBytes) -> Result<(), SendError> {
        let read = Receipt::danger_unverified(&receipt).map_err(|fault| SendError::Message(fault.into()))?;
        if matches!(self.state, State::Closed) {
            return Err(SendError::NotReady);
        }
        if !self.receiving.owes(&read) {
            return Err(SendError::NotOwed);
        }
        self.queue(&Message::Receipt(receipt), Place::Control)?;
        self.receiving.paid(&read);
        Ok(())
    }

    /// Queues a signed standing ahead of everything that waits. One that is not active drops the
    /// waiting runs of its agreement; returns how many.
    pub fn send_standing(&mut self, signed: SignatureBytes) -> Result<usize, SendError> {
        self.offered()?;
        let notice: StandingNotice = {
            let parsed = signed.parse().map_err(|_| CodecError::Shape)?;
            codec::from_slice(parsed.danger_unverified_payload(), Bounds::bytes(1 << 10))?
        };
        self.queue(&Message::Standing(signed), Place::Urgent)?;
        Ok(if notice.standing == Standing::Active { 0 } else { self.withdraw_queued(notice.agreement) })
    }

    /// Queues an agreement with the signatures that it has so far. They fill half of the queue at most: the other half
    /// is for what may not wait.
    pub fn send_proposal(&mut self, agreement: Vec<u8>) -> Result<(), SendError> {
        self.offered()?;
        if self.control_bytes.saturating_add(agreement.len()) > limits::CONTROL_QUEUE_BYTES_MAX / 2 {
            return Err(SendError::QueueFull);
        }
        self.queue(&Message::Proposal(agreement), Place::Control)
    }

    /// Queues our newest card, ahead of what may be signed by a key that only it lists.
    pub fn send_card(&mut self, card: Vec<u8>) -> Result<(), SendError> {
        self.offered()?;
        self.queue(&Message::Card(card), Place::Urgent)
    }

    /// Queues something for another part of the partner's node, ahead of all that waits but standings said before it.
    pub fn send_notice(&mut self, notice: Notice) -> Result<(), SendError> {
        self.offered()?;
        self.queue(&Message::Notice(notice), Place::Urgent)
    }

    /// Drops the runs of an agreement that wait to be sent; returns how many. What was sent was sent.
    pub fn withdraw_queued(&mut self, agreement: AgreementId) -> usize {
        self.sending.withdraw(agreement)
    }

    /// As [`withdraw_queued`](Self::withdraw_queued), for what may not reach the partner any more: a suspension, a
    /// record that is held back. What was handed on is beyond the session; [`poll_recall`](Self::poll_recall) tells
    /// the driver.
    pub fn recall(&mut self, agreement: AgreementId) -> usize {
        let dropped = self.withdraw_queued(agreement);
        let on_the_way = self.sending.on_the_way(agreement);
        self.recalled = Some(self.recalled.unwrap_or(false) | on_the_way);
        dropped
    }

    /// Stops a feed in this session, in either direction: the shell found a fork.
    pub fn stop(&mut self, feed: FeedId) {
        self.sending.stop(feed);
        self.receiving.stop(feed);
    }

    /// Ends the session in good order.
    pub fn close(&mut self, code: CloseCode) {
        if !self.is_closed() {
            self.finish(code);
        }
    }

    /// Ends the session for a fault that the shell found (a run or receipt that does not verify).
    pub fn fail(&mut self, fault: &PeerFault) {
        self.close(fault.code());
    }

    // --- what is known ---

    /// How many runs of a feed may be sent now; 0 before the partner has shown its head of it.
    pub fn window(&self, feed: FeedId) -> usize {
        if matches!(self.state, State::Open(_)) { self.sending.window(feed) } else { 0 }
    }

    /// Where the next run of a feed begins: what the partner showed, and what was sent since.
    pub fn next(&self, feed: FeedId) -> Option<Cursor> {
        self.sending.next(feed)
    }

    /// Whether both sides have said their opening.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_)) && self.said == Said::Heads
    }

    /// Whether it is over. Frames may still wait in `poll_frame`.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// What it was made with.
    pub fn config(&self) -> &SessionConfig {
        &self.config
    }

    /// Our own opening is said (or waits in its place), so nothing can come before it.
    fn offered(&self) -> Result<(), SendError> {
        let ready = self.said == Said::Heads && !matches!(self.state, State::Closed);
        if ready { Ok(()) } else { Err(SendError::NotReady) }
    }

    fn opened(&self) -> Result<(), SendError> {
        if self.is_open() { Ok(()) } else { Err(SendError::NotReady) }
    }

    fn queue(&mut self, message: &Message, place: Place) -> Result<(), SendError> {
        let bytes = message.to_bytes()?;
        // What we would refuse from others, we do not send.
        Message::from_bytes(message.lane(), &bytes).map_err(SendError::Message)?;
        let waiting = self.control_bytes.saturating_add(bytes.len());
        if waiting > limits::CONTROL_QUEUE_BYTES_MAX {
            return Err(SendError::QueueFull);
        }
        self.control_bytes = waiting;
        match place {
            Place::Opening => self.opening.push_back(bytes),
            Place::Urgent => self.urgent.push_back(bytes),
            Place::Control => self.control.push_back(bytes),
        }
        Ok(())
    }
}

/// Where a message waits.
#[derive(Clone, Copy)]
enum Place {
    Opening,
    Urgent,
    Control,
}
