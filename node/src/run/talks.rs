//! The synchronous core as the driver sees it: conversations by partner, and what each of them may use up.
//!
//! The driver calls it on threads that may block. What is said stands in `exchange`, what is given in `share`.

use crate::{
    exchange::{Conversation, ExchangeFault},
    node::Node,
    peer::{
        budget::{self, Budgets},
        driver::{Ended, Exchange, ExchangeError},
        fetch::FetchReply,
    },
    share::{
        feeds,
        files::{self, FileReader, Given},
    },
};
use entente_protocol::{
    error::PeerFault,
    id::{FeedId, Hash, OrgId},
    limits,
    session::{
        CloseCode, Event, Role, Session,
        fetch::{RefusedCode, Request},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The synchronous core behind the driver: one conversation for each session, of which a partner has one at a time.
pub(super) struct Core {
    node: Arc<Node>,
    talks: Mutex<BTreeMap<OrgId, Arc<Mutex<Conversation>>>>,
    /// Files that the journal says were given in the session under way: feed and entry.
    noted: Mutex<BTreeMap<OrgId, BTreeSet<(FeedId, u64)>>>,
    /// Partners who have answered in the session under way: before that, nobody knows whether they take us.
    answered: Mutex<BTreeSet<OrgId>>,
    /// Partners who have asked for more files than they may in the session under way: that is said once.
    eager: Mutex<BTreeSet<OrgId>>,
    budgets: Budgets,
}

/// Files of one session that are remembered as noted. One that is asked for after so many others is noted again.
const NOTED_MAX: usize = 1 << 16;
/// Whether a file that is going out is still given is decided again after so long, at its next chunk.
const DECIDED_AGAIN: Duration = Duration::from_millis(100);

impl Core {
    /// No session with anybody yet.
    pub(super) fn new(node: Arc<Node>) -> Self {
        Self {
            node,
            talks: Mutex::default(),
            noted: Mutex::default(),
            answered: Mutex::default(),
            eager: Mutex::default(),
            budgets: Budgets::default(),
        }
    }

    fn talk(&self, peer: OrgId) -> Result<Arc<Mutex<Conversation>>, ExchangeError> {
        let talks = self.talks.lock().unwrap_or_else(PoisonError::into_inner);
        let talk = talks.get(&peer).cloned();
        talk.ok_or_else(|| ExchangeError::Internal("no such session".to_owned()))
    }

    /// Takes what something costs from a partner's budget; who has not got it has said too much.
    fn pay(&self, peer: OrgId, cost: u64) -> Result<(), ExchangeError> {
        if self.budgets.spend(peer, cost, self.node.clock.now()) {
            return Ok(());
        }
        Err(PeerFault::TooMany { what: "requests", max: limits::PARTNER_REQUESTS_BURST as usize }.into())
    }
}

impl From<ExchangeFault> for ExchangeError {
    fn from(fault: ExchangeFault) -> Self {
        match fault {
            ExchangeFault::Peer(fault) => Self::Peer(fault),
            ExchangeFault::Unknown => Self::Removed,
            ExchangeFault::Erased => Self::Busy,
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
        Ok(session)
    }

    fn event(&self, peer: OrgId, session: &mut Session, event: Event) -> Result<(), ExchangeError> {
        let cost = match &event {
            // What takes back and refuses costs us an append, and its sender next to nothing.
            Event::Run { message, .. } if message.carried.is_empty() => budget::bodiless(message.entries.len()),
            Event::Run { message, .. } => budget::beside(message.entries.len().saturating_sub(message.carried.len())),
            // Receipts have their windows.
            Event::Receipt { .. } | Event::Fork { .. } => 0,
            Event::Notice(notice) => budget::notice(notice.content.len()),
            _ => budget::REQUEST,
        };
        self.pay(peer, cost)?;
        // The first of all is that the partner has answered.
        if self.answered.lock().unwrap_or_else(PoisonError::into_inner).insert(peer) {
            self.node.note_session(peer, true);
        }
        let talk = self.talk(peer)?;
        let mut talk = talk.lock().unwrap_or_else(PoisonError::into_inner);
        talk.event(&self.node, session, event)?;
        self.pay(peer, talk.take_replayed() * budget::HELD)
    }

    fn pump(&self, peer: OrgId, session: &mut Session) -> Result<bool, ExchangeError> {
        let talk = self.talk(peer)?;
        let mut talk = talk.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(talk.pump(&self.node, session)?)
    }

    fn fetch(&self, peer: OrgId, request: Request) -> Result<FetchReply, RefusedCode> {
        // Before anything is looked up: what is given costs reading, and a line of the journal.
        if !self.budgets.spend(peer, budget::REQUEST, self.node.clock.now()) {
            if self.eager.lock().unwrap_or_else(PoisonError::into_inner).insert(peer) {
                tracing::warn!(partner = %peer.short(), "asks for more files than it may: it is told to come back");
            }
            return Err(RefusedCode::Busy);
        }
        self.give(peer, request)
    }

    fn closed(&self, peer: OrgId, ended: &Ended) {
        self.talks.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer);
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer);
        self.eager.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer);
        if self.answered.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer) {
            self.node.note_session(peer, false);
        }
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

/// A file that is being given; where it cannot be read, it is noted as damaged.
struct Watched {
    file: (Arc<Node>, Hash),
    content: FileReader,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer);
        let (node, sha256) = &self.file;
        // Where the store itself failed, the file is not to blame.
        let is_damaged = read.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        if is_damaged && node.holdings.failed().is_none() {
            node.note_damaged(*sha256);
        }
        read
    }
}

impl Core {
    /// Whether a file is given for the first time in this session: later chunks of it, and the same again, are no news.
    fn is_new(&self, peer: OrgId, request: Request) -> bool {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = noted.entry(peer).or_default();
        if noted.len() >= NOTED_MAX {
            noted.clear();
        }
        noted.insert((request.feed, request.entry))
    }

    fn give(&self, peer: OrgId, request: Request) -> Result<FetchReply, RefusedCode> {
        let node = Arc::clone(&self.node);
        // A fault of ours, or a clock that is not known, is no reason for the partner to give the file up.
        let refuse = |error: &dyn std::fmt::Display| {
            tracing::warn!(partner = %peer.short(), %error, "a file could not be given");
            RefusedCode::Busy
        };
        let feed = feeds::outgoing_of(&node, peer, request.feed).ok_or(RefusedCode::NotGiven)?;
        let (record, partition, row) =
            match files::given(&node, &feed, request.entry, request.slot).map_err(|e| refuse(&e))? {
                Given::File(record, partition, row) => (record, partition, row),
                Given::NotNow => return Err(RefusedCode::Busy),
                Given::Nothing => return Err(RefusedCode::NotGiven),
            };
        // Not now rather than not at all: people may restore it.
        if node.is_damaged(row.sha256) {
            return Err(RefusedCode::Busy);
        }
        let opened = files::open_at(&node, partition, &row, u64::from(request.from_chunk));
        if opened.is_err() && node.holdings.failed().is_none() {
            node.note_damaged(row.sha256);
        }
        let file = (Arc::clone(&node), row.sha256);
        let content = Watched { file, content: opened.map_err(|e| refuse(&e))? };
        if self.is_new(peer, request) {
            files::note_given(&node, &feed, record, request.from_chunk).map_err(|e| refuse(&e))?;
        }
        let (size, chunks) = (row.size, row.chunks);
        let decided = Mutex::new(Instant::now());
        let still = move || {
            let mut decided = decided.lock().unwrap_or_else(PoisonError::into_inner);
            if decided.elapsed() >= DECIDED_AGAIN {
                *decided = Instant::now();
                return matches!(files::given(&node, &feed, request.entry, request.slot), Ok(Given::File(..)));
            }
            true
        };
        Ok(FetchReply { size, chunks, content: Box::new(content), still: Arc::new(still) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        call::Call,
        clock::ManualClock,
        share::{feeds::OutRow, files::FileRow, outbox},
        status,
        testkit::{self, ask},
    };
    use entente_protocol::{
        feed::{Cursor, Entry, FeedKey, Run, RunEntry, RunMessage, WITHDRAWN},
        id::{AgreementDigest, Nonce, RecordId},
        session::{Lane, Message},
        time::UnixMillis,
    };
    use std::{fs, path::Path, path::PathBuf};

    type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

    struct World {
        folder: tempfile::TempDir,
        b: OrgId,
        core: Core,
        feed: FeedKey,
        item: RecordId,
    }

    impl World {
        fn new() -> Outcome<Self> {
            let folder = tempfile::tempdir()?;
            let clock = Arc::new(ManualClock::at(UnixMillis(1_795_305_600_000)));
            let (a, b) = (testkit::node(folder.path(), "a", &clock)?, testkit::node(folder.path(), "b", &clock)?);
            testkit::pair(&a, &b)?;
            testkit::agree(folder.path(), &a, &b, &testkit::agreement_with_files("2036-12-31"))?;
            testkit::release(folder.path(), &a, "A-1")?;
            let item = crate::records::show::resolve_own(&a, "A-1")?;
            let (agreement, _, _) = *feeds::agreements_with(&a, b.keys.org).first().ok_or("agreed")?;
            let (b, feed) = (b.keys.org, feeds::outgoing(&a, b.keys.org, agreement));
            Ok(Self { core: Core::new(Arc::new(a)), folder, b, feed, item })
        }
        /// Releases a file, and says how it is asked for.
        fn file(&self, number: &str, content: &[u8]) -> Outcome<(Request, FileRow)> {
            let node = &self.core.node;
            let (record, row) = testkit::file(node, self.item, number, content)?;
            while outbox::step(node, &self.feed)?.more {}
            let out: OutRow = feeds::out_row(node, &self.feed, AgreementDigest::from_bytes([0; 32]))?;
            let (_, sent) = feeds::run_at(node, &self.feed, &out, out.length - 1)?.ok_or("sent")?;
            let place = sent.entries.iter().position(|e| e.record == Some(record)).ok_or("the file's entry")?;
            let entry = sent.first + place as u64;
            Ok((Request { feed: self.feed.id(), slot: files::content_slot(), entry, from_chunk: 0 }, row))
        }
        fn read(&self, request: Request) -> Result<io::Result<Vec<u8>>, RefusedCode> {
            let mut content = Vec::new();
            let read = self.core.fetch(self.b, request)?.content.read_to_end(&mut content);
            Ok(read.map(|_| content))
        }
        fn given(&self) -> Outcome<usize> {
            let said = crate::journal::texts(&self.core.node.holdings)?;
            Ok(said.iter().filter(|event| event.contains("file-given")).count())
        }
        fn blobs(&self) -> Vec<PathBuf> {
            fn below(folder: &Path, found: &mut Vec<PathBuf>) {
                for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                    if entry.path().is_dir() { below(&entry.path(), found) } else { found.push(entry.path()) }
                }
            }
            let mut found = Vec::new();
            below(&self.folder.path().join("a/store/blobs"), &mut found);
            found.sort();
            found
        }
    }

    /// Story: a partner asks for one file again and again. The journal names it once for each session, and each time is
    /// paid for.
    #[test]
    fn a_file_is_paid_for_each_time_and_noted_once() -> Outcome {
        let world = World::new()?;
        let (request, _) = world.file("A-1/01", b"a photograph")?;
        for _ in 0..5 {
            assert_eq!(world.read(request).map_err(|_| "refused")??, b"a photograph");
        }
        assert_eq!(world.given()?, 1);
        world.core.node.note_session(world.b, true);
        world.core.closed(world.b, &Ended::Lost);
        world.read(request).map_err(|_| "refused")??;
        assert_eq!(world.given()?, 2);
        while world.core.budgets.spend(world.b, budget::REQUEST, world.core.node.clock.now()) {}
        assert_eq!(world.read(request).err(), Some(RefusedCode::Busy), "files are given to who has spent all");
        Ok(())
    }

    /// The core in a session with B, which says whatever it likes after an opening in good faith.
    struct Hostile {
        world: World,
        b: Node,
        session: Session,
        feed: FeedKey,
        cursor: Cursor,
    }

    impl Hostile {
        fn new() -> Outcome<Self> {
            let world = World::new()?;
            let clock = Arc::new(ManualClock::at(world.core.node.clock.now()));
            let b = testkit::open(world.folder.path(), "b", clock)?;
            let mut session = world.core.open(world.b, Role::Acceptor).map_err(|e| e.to_string())?;
            let (mut talk, mut theirs) = Conversation::open(&b, world.core.node.keys.org, Role::Dialer)?;
            loop {
                while let Some(event) = session.poll_event() {
                    world.core.event(world.b, &mut session, event)?;
                }
                while let Some(event) = theirs.poll_event() {
                    talk.event(&b, &mut theirs, event)?;
                }
                world.core.pump(world.b, &mut session)?;
                talk.pump(&b, &mut theirs)?;
                let (there, here) = (session.poll_lane(Lane::Control), theirs.poll_lane(Lane::Control));
                if there.is_none() && here.is_none() {
                    break;
                }
                let now = b.clock.now();
                there.map(|content| theirs.handle_frame(Lane::Control, &content, now)).transpose()?;
                here.map(|content| session.handle_frame(Lane::Control, &content, now)).transpose()?;
            }
            let feed = feeds::outgoing(&b, world.core.node.keys.org, world.feed.agreement);
            Ok(Self { world, b, session, feed, cursor: Cursor::start(feed.id()) })
        }
        /// A run of so many withdrawals of nothing.
        fn run(&mut self, entries: usize) -> Outcome<RunMessage> {
            let entry = Entry::Withdrawal {
                code: WITHDRAWN,
                salt: Nonce::from_bytes([3; 16]),
                record: RecordId::from_bytes([9; 32]),
            };
            let entries = vec![RunEntry::Open(entry.to_bytes()?); entries];
            let hashes: Vec<_> = entries.iter().map(RunEntry::hash).collect();
            let (version, now) = (AgreementDigest::from_bytes([0; 32]), self.b.clock.now());
            let run = Run::over(self.feed.id(), self.cursor, &hashes, version, now, None)?;
            self.cursor = run.end();
            let run = run.sign(&self.b.keys.runs)?;
            Ok(RunMessage { run, onward: None, carried: Vec::new(), entries, attestations: Vec::new() })
        }
        /// It says a run. Whether it is taken, and not too much.
        fn says(&mut self, message: &RunMessage) -> Outcome<bool> {
            self.session.handle_frame(
                Lane::Records,
                &Message::Run(Box::new(message.clone())).to_bytes()?,
                self.b.clock.now(),
            )?;
            let event = self.session.poll_event().ok_or("no event")?;
            let taken = match self.world.core.event(self.world.b, &mut self.session, event) {
                Ok(()) => true,
                Err(ExchangeError::Peer(PeerFault::TooMany { .. })) => false,
                Err(error) => return Err(error.into()),
            };
            while self.session.poll_lane(Lane::Control).is_some() {}
            Ok(taken)
        }
    }

    /// Story: a partner says runs that bring nothing. Who takes back 100,000 records at once is heard, and who goes on for
    /// ever is closed; nobody else pays for it.
    #[test]
    fn runs_without_bodies_are_paid_for() -> Outcome {
        let mut hostile = Hostile::new()?;
        let full = limits::RUN_ENTRIES_MAX;
        for _ in 0..100_000_usize.div_ceil(full) {
            let message = hostile.run(full)?;
            assert!(hostile.says(&message)?, "an honest mass withdrawal is closed");
        }
        let mut more = 0;
        while more < 63 {
            let message = hostile.run(full)?;
            if !hostile.says(&message)? {
                break;
            }
            more += 1;
        }
        // A run of 4,096 entries costs 65 of 4,096, so 63 fill the bucket; 25 are the mass withdrawal.
        assert!((1..=63 - 25).contains(&more), "{more} more");
        let nobody = OrgId::from_bytes([1; 32]);
        assert!(hostile.world.core.budgets.spend(nobody, budget::SESSION, hostile.b.clock.now()));
        Ok(())
    }

    /// Story: a partner says a run again that is held. After a cut that may be, and it gets the receipt again; who goes on
    /// for ever, to make us look for it each time, is closed.
    #[test]
    fn runs_that_are_held_are_paid_for() -> Outcome {
        let mut hostile = Hostile::new()?;
        let message = hostile.run(1)?;
        assert!(hostile.says(&message)?);
        for again in 0..4 * limits::RUNS_IN_FLIGHT_MAX {
            assert!(hostile.says(&message)?, "a resend is closed: {again}");
        }
        let again = (0..limits::PARTNER_REQUESTS_BURST).take_while(|_| hostile.says(&message).is_ok_and(|taken| taken));
        assert!(again.count() < 64, "a held run costs nothing");
        Ok(())
    }

    /// Story: two photographs rot on the disk, one is changed and one is gone, and a partner asks for them. It is told to
    /// come later, the node goes on and gives the others, and people are told.
    #[test]
    fn a_damaged_file_is_not_given_and_stops_nothing() -> Outcome {
        let world = World::new()?;
        let mut requests = Vec::new();
        let mut known = world.blobs();
        for (n, content) in [b"one photograph", b"two photograph", b"the good photo"].into_iter().enumerate() {
            requests.push(world.file(&format!("A-1/0{n}"), content)?.0);
            let new: Vec<PathBuf> = world.blobs().into_iter().filter(|path| !known.contains(path)).collect();
            known = world.blobs();
            let [blob] = new.as_slice() else { return Err("one blob for each file".into()) };
            match n {
                0 => {
                    let mut bytes = fs::read(blob)?;
                    *bytes.last_mut().ok_or("empty")? ^= 1;
                    fs::write(blob, bytes)?;
                }
                1 => fs::remove_file(blob)?,
                _ => {}
            }
        }
        let [changed, gone, good] = requests.as_slice() else { return Err("three".into()) };
        assert!(!matches!(world.read(*changed), Ok(Ok(_))));
        assert!(!matches!(world.read(*gone), Ok(Ok(_))));
        for request in [changed, gone] {
            assert_eq!(world.read(*request).err(), Some(RefusedCode::Busy), "it is read again and again");
        }
        assert_eq!(world.core.node.holdings.failed(), None, "one file stops the node");
        assert_eq!(world.read(*good).map_err(|_| "refused")??, b"the good photo");
        let told = status::status(&world.core.node)?["warnings"].to_string();
        assert!(told.contains("2 files of ours could not be read"), "{told}");
        assert!(ask(&world.core.node, &Call::Status).is_ok());
        Ok(())
    }
}
