//! Operations of a session in a row, each two bytes: what the partner sends, the time, what the shell asks for.
//!
//! Beside the session runs a model of forty lines that knows what must come out: which operation is refused, which
//! event may follow, which frame may leave. Frames are of two histories of the same feeds, so that forks are met too.

mod model;

use super::{Subject, Verdict, holds};
use crate::run::Notes;
use entente_protocol::{
    agreement::{Standing, StandingNotice},
    cose::SignatureBytes,
    feed::{Cursor, Entry, FeedKey, Receipt, Run, RunEntry, RunMessage, WITHDRAWN},
    id::{AgreementDigest, AgreementId, Nonce, OrgId, RecordId, StoreId},
    limits,
    primitive::SigningKey,
    session::{
        AgreementLine, CloseCode, Heads, Hello, Lane, Message, Notice, ReceivedHead, Role, SendError, SentHead,
        Session, SessionConfig,
    },
    time::UnixMillis,
};
use model::Model;
use std::collections::VecDeque;

const NOW: UnixMillis = UnixMillis(1_000_000_000);
const RUNS: usize = 6;

/// One feed, in two histories that part at the third run: the runs, and the receiver's receipts.
struct Feed {
    key: FeedKey,
    runs: [Vec<RunMessage>; 2],
    receipts: [Vec<SignatureBytes>; 2],
    ends: [Vec<Cursor>; 2],
}

impl Feed {
    fn new(sender: u8, receiver: u8, agreement: u8) -> Option<Self> {
        let key = FeedKey {
            epoch: 0,
            store: StoreId::from_bytes([sender; 16]),
            sender: org(sender),
            receiver: org(receiver),
            agreement: AgreementId::from_bytes([agreement; 16]),
        };
        let signer = |seed: u8| SigningKey::from_seed(&[seed; 32]).ok();
        let (theirs, ours) = (signer(sender)?, signer(receiver)?);
        let mut feed = Self { key, runs: Default::default(), receipts: Default::default(), ends: Default::default() };
        for history in 0..2 {
            let mut at = Cursor::start(key.id());
            for n in 0..RUNS {
                let salt = if n < 2 { 0 } else { history };
                let (code, record) = (WITHDRAWN, RecordId::from_bytes([u8::try_from(n).ok()?; 32]));
                let entry = Entry::Withdrawal { code, salt: Nonce::from_bytes([u8::try_from(salt).ok()?; 16]), record };
                let bytes = entry.to_bytes().ok()?;
                let version = AgreementDigest::from_bytes([7; 32]);
                let run = Run::over(key.id(), at, &[Entry::hash_of(&bytes)], version, NOW, None).ok()?;
                at = run.end();
                feed.receipts[history].push(Receipt::of(&run, NOW).sign(&ours).ok()?);
                feed.ends[history].push(at);
                let (run, entries) = (run.sign(&theirs).ok()?, vec![RunEntry::Open(bytes)]);
                feed.runs[history].push(RunMessage {
                    run,
                    onward: None,
                    carried: vec![],
                    entries,
                    attestations: vec![],
                });
            }
        }
        Some(feed)
    }

    /// Its end after so many runs.
    fn end(&self, history: usize, runs: usize) -> Cursor {
        runs.checked_sub(1).map_or(Cursor::start(self.key.id()), |last| self.ends[history][last])
    }

    fn sent(&self, history: usize, runs: usize) -> SentHead {
        let run = runs.checked_sub(1).map(|last| self.runs[history][last].run.clone());
        let head = self.end(history, runs);
        SentHead { run, feed: self.key, head, acknowledged: head.length }
    }

    fn received(&self, history: usize, runs: usize) -> ReceivedHead {
        let receipt = runs.checked_sub(1).map(|last| self.receipts[history][last].clone());
        ReceivedHead { feed: self.key, head: self.end(history, runs), receipt }
    }
}

const fn org(n: u8) -> OrgId {
    OrgId::from_bytes([n; 32])
}

/// The session, its model, and what both are fed from.
struct Trial<'a> {
    feeds: &'a [Feed],
    session: Session,
    model: Model,
    now: UnixMillis,
}

const fn kind(error: &SendError) -> &'static str {
    match error {
        SendError::NotReady => "not ready",
        SendError::NotShown => "not shown",
        SendError::Stopped => "stopped",
        SendError::WindowFull => "full",
        SendError::OutOfPlace { .. } => "place",
        SendError::NotOwed => "not owed",
        SendError::QueueFull => "queue",
        SendError::Message(_) => "message",
    }
}

fn lines(arg: usize) -> Vec<AgreementLine> {
    let line = |n: u8| AgreementLine {
        id: AgreementId::from_bytes([n; 16]),
        version: AgreementDigest::from_bytes([7; 32]),
        standings: vec![],
    };
    [8, 9].into_iter().filter(|n| arg >> (n - 8) & 1 == 0).map(line).collect()
}

impl Trial<'_> {
    /// Which feed, history and number of runs an argument stands for.
    fn choice(&self, arg: usize) -> (&Feed, usize, usize) {
        (&self.feeds[arg & 3], arg >> 2 & 1, (arg >> 3) % (RUNS + 1))
    }

    /// Heads that one side may say: the feeds that it sends, and those that it receives.
    fn heads(&self, arg: usize, ours: bool) -> Heads {
        let sends = |feed: &Feed| (feed.key.sender == org(1)) == ours;
        let (first, history, runs) = self.choice(arg);
        let mut heads = Heads::default();
        let more = if arg & 0x40 == 0 { &self.feeds[(arg + 2) & 3] } else { first };
        let mut feeds = vec![first, more];
        feeds.sort_by_key(|feed| feed.key);
        feeds.dedup_by_key(|feed| feed.key);
        for feed in feeds {
            if sends(feed) {
                heads.sent.push(feed.sent(history, runs));
            } else {
                heads.received.push(feed.received(history, runs));
            }
        }
        heads
    }

    fn partner(&mut self, message: &Message, notes: &mut Notes) -> Verdict {
        let Ok(bytes) = message.to_bytes() else { return Ok(()) };
        self.handle(message.lane(), &bytes, notes)
    }

    fn handle(&mut self, lane: Lane, bytes: &[u8], notes: &mut Notes) -> Verdict {
        let was_closed = self.model.closed;
        let handled = self.session.handle_frame(lane, bytes, self.now);
        notes.result("handled", &handled);
        holds("a fault after the end", !was_closed || handled.is_ok())?;
        self.drain(notes)?;
        if let Err(fault) = handled {
            holds("a fault that does not end it", self.model.closed && self.session.is_closed())?;
            holds("the partner is told another code", self.model.goodbye == Some(fault.code()))?;
        }
        Ok(())
    }

    fn drain(&mut self, notes: &mut Notes) -> Verdict {
        while let Some(event) = self.session.poll_event() {
            notes.note(format_args!("event {}", format!("{event:?}").split(['(', ' ']).next().unwrap_or_default()));
            self.model.event(&event)?;
        }
        holds("open or not", self.session.is_open() == self.model.is_open())?;
        holds("closed or not", self.session.is_closed() == self.model.closed)?;
        for feed in self.feeds {
            let window = self.session.window(feed.key.id());
            let expected = match self.model.outgoing.get(&feed.key.id()) {
                Some((_, in_flight, false)) if self.model.heard == 3 && !self.model.closed => {
                    limits::RUNS_IN_FLIGHT_MAX - in_flight.len()
                }
                _ => 0,
            };
            holds("another window", window == expected)?;
        }
        Ok(())
    }

    fn leave(&mut self, frames: usize) -> Verdict {
        for _ in 0..frames {
            let Some((lane, bytes)) = self.session.poll_frame() else { return Ok(()) };
            self.model.frame(lane, &bytes)?;
        }
        Ok(())
    }

    /// One operation: what, and on what.
    fn step(&mut self, what: u8, arg: usize, notes: &mut Notes) -> Verdict {
        match what % 20 {
            0..=6 => self.hears(what % 20, arg, notes),
            7 => {
                self.now = self.now.plus([1, 5_000, 10_000, 400_000][arg & 3]);
                let due = self.session.poll_timeout().is_some_and(|due| due <= self.now);
                let late = self.session.handle_timeout(self.now);
                holds("late or not", late.is_err() == due)?;
                self.drain(notes)
            }
            16 => self.leave(arg % 8),
            17 => self.leave(usize::MAX),
            _ => self.asks(what % 20, arg, notes),
        }
    }

    fn hears(&mut self, what: u8, arg: usize, notes: &mut Notes) -> Verdict {
        let (feed, history, runs) = self.choice(arg);
        let at = runs.min(RUNS - 1);
        let message = match what {
            0 => {
                let org = if arg & 0xc0 == 0xc0 { org(1) } else { org(2) };
                let time = if arg & 0x30 == 0x30 { NOW.plus(limits::CLOCK_SKEW_MS_MAX * 2) } else { self.now };
                let versions = if arg & 0xf == 0xf { vec![9] } else { vec![1, 2] };
                Message::Hello(Hello { org, time, nonce: Nonce::from_bytes([2; 16]), store: feed.key.store, versions })
            }
            1 => Message::Agreements(lines(arg & 3)),
            2 => Message::Heads(self.heads(arg, false)),
            3 => Message::Run(Box::new(feed.runs[history][at].clone())),
            4 => Message::Receipt(feed.receipts[history][at].clone()),
            5 => match arg % 5 {
                0 => Message::Proposal(vec![0xa0]),
                1 => Message::Card(vec![0x80]),
                2 => Message::Notice(Notice { kind: 1, content: vec![0; arg] }),
                3 => Message::Standing(feed.receipts[0][0].clone()),
                _ => Message::Close(CloseCode(u32::try_from(arg / 5).unwrap_or_default())),
            },
            _ => {
                let Ok(mut bytes) = Message::Heads(self.heads(arg, false)).to_bytes() else { return Ok(()) };
                let place = arg * 7 % bytes.len();
                bytes[place] ^= 1 << (arg & 7);
                let lane = if arg & 8 == 0 { Lane::Control } else { Lane::Records };
                return self.handle(lane, &bytes, notes);
            }
        };
        self.partner(&message, notes)
    }

    fn asks(&mut self, what: u8, arg: usize, notes: &mut Notes) -> Verdict {
        let (feed, history, runs) = self.choice(arg);
        let (id, at) = (feed.key.id(), runs.min(RUNS - 1));
        let agreement = feed.key.agreement;
        let ready = self.model.said == 3 && !self.model.closed;
        let done = match what {
            8 => {
                let done = self.session.offer_agreements(lines(arg & 3));
                let ready = self.model.said != 2 && !self.model.closed;
                holds("agreements offered or not", done.is_ok() == ready)?;
                self.model.said = self.model.said.max(if done.is_ok() { 2 } else { 1 });
                done
            }
            9 => {
                let heads = self.heads(arg, true);
                let done = self.session.offer_heads(heads.clone());
                let ready = self.model.said >= 2 && self.model.heard >= 2 && !self.model.closed;
                holds("heads offered or not", done.is_ok() == ready)?;
                if done.is_ok() {
                    self.model.said = 3;
                    for line in &heads.received {
                        self.model.incoming.entry(line.feed.id()).or_default();
                    }
                }
                done
            }
            10 | 18 | 19 => {
                let message = feed.runs[history][at].clone();
                let (before, end) = (feed.end(history, at), feed.end(history, at + 1));
                let (done, expected) = (self.session.send_run(message), self.model.send(id, before));
                holds("a run is taken or not", done.as_ref().map(|_| ()).map_err(kind) == expected)?;
                if done.is_ok() {
                    self.model.waiting.entry(id).or_default().push_back(end);
                    if let Some((next, in_flight, _)) = self.model.outgoing.get_mut(&id) {
                        *next = end;
                        in_flight.push_back(end);
                    }
                }
                done
            }
            11 => {
                let done = self.session.send_receipt(feed.receipts[history][at].clone());
                let owed = self.model.incoming.get_mut(&id).filter(|feed| feed.0 > 0);
                holds("a receipt is taken or not", done.is_ok() == (owed.is_some() && !self.model.closed))?;
                if let (Ok(()), Some((owed, _))) = (&done, owed) {
                    *owed -= 1;
                }
                done
            }
            12 => {
                let standing = if arg & 0x80 == 0 { Standing::Suspended } else { Standing::Active };
                let notice = StandingNotice { time: NOW, party: org(1), counter: 1, standing, agreement };
                let signed = SigningKey::from_seed(&[1; 32]).ok().and_then(|key| notice.sign(&key).ok());
                let Some(signed) = signed else { return Err("no notice".to_owned()) };
                let waited: usize = self.of(agreement);
                let done = self.session.send_standing(signed);
                if let Ok(dropped) = done {
                    let expected = if standing == Standing::Active { 0 } else { waited };
                    holds("another number of runs is dropped", dropped == expected)?;
                    if expected > 0 {
                        self.model.withdraw(self.feeds, agreement);
                    }
                }
                holds("a standing is taken or not", done.is_ok() == ready)?;
                done.map(|_| ())
            }
            13 => {
                let content = vec![0; if arg & 3 == 0 { 600 << 10 } else { arg }];
                let done = self.session.send_notice(Notice { kind: 1, content });
                holds("a notice is taken or not", done == Err(SendError::QueueFull) || done.is_ok() == ready)?;
                done
            }
            14 => {
                self.session.stop(id);
                self.model.stop(id);
                Ok(())
            }
            _ if arg < 8 => {
                self.session.close(CloseCode::DONE);
                Ok(())
            }
            _ => {
                let waited = self.of(agreement);
                holds("another number of runs is dropped", self.session.withdraw_queued(agreement) == waited)?;
                self.model.withdraw(self.feeds, agreement);
                Ok(())
            }
        };
        notes.note(what);
        notes.result(["a", "b", "c", "d", "e", "f", "g", "h"][usize::from(what) % 8], &done);
        self.drain(notes)
    }

    /// How many runs of an agreement wait to leave.
    fn of(&self, agreement: AgreementId) -> usize {
        let feeds = self.feeds.iter().filter(|feed| feed.key.agreement == agreement);
        feeds.filter_map(|feed| self.model.waiting.get(&feed.key.id())).map(VecDeque::len).sum()
    }
}

pub fn session() -> Subject {
    let feeds: Vec<Feed> =
        [(1, 2, 8), (1, 2, 9), (2, 1, 8), (2, 1, 9)].into_iter().filter_map(|(s, r, a)| Feed::new(s, r, a)).collect();
    let judge = move |input: &[u8], notes: &mut Notes| -> Verdict {
        let (org, store, peer) = (org(1), StoreId::from_bytes([1; 16]), org(2));
        let config = SessionConfig { role: Role::Dialer, org, store, peer, nonce: Nonce::from_bytes([1; 16]) };
        let session = Session::new(config, NOW).map_err(|error| error.to_string())?;
        let model = Model { said: 1, ..Model::default() };
        let mut trial = Trial { feeds: &feeds, session, model, now: NOW };
        for step in input.chunks_exact(2) {
            trial.step(step[0], usize::from(step[1]), notes)?;
        }
        trial.leave(usize::MAX)?;
        notes.size("in flight", trial.model.outgoing.values().map(|feed| feed.1.len()).sum());
        notes.size("owed", trial.model.incoming.values().map(|feed| feed.0).sum());
        notes.size("forks", trial.model.forked.len());
        Ok(())
    };
    // Openings that succeed, then runs both ways, receipts, a standing, a fork.
    let opening = [0, 0, 8, 0, 1, 0, 9, 2, 2, 0];
    let runs = [10, 0, 10, 8, 10, 16, 17, 0, 4, 0, 4, 8, 3, 2, 11, 2];
    let seeds = vec![
        opening.to_vec(),
        [opening.as_slice(), &runs].concat(),
        [opening.as_slice(), &runs, &[10, 24, 12, 0, 10, 24, 7, 1, 15, 9, 15, 1]].concat(),
        [opening.as_slice(), &[10, 0, 10, 8, 10, 20, 17, 0, 4, 0, 4, 8, 4, 16]].concat(),
        vec![7, 2, 17, 0],
    ];
    Subject { seeds, words: vec![opening.to_vec(), runs.to_vec()], judge: Box::new(judge) }
}
