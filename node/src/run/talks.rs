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
    seal::keyring::Partition,
    share::{
        feeds,
        files::{self, Given},
    },
};
use entente_protocol::{
    error::PeerFault,
    id::{FeedId, OrgId},
    limits,
    session::{
        CloseCode, Event, Role, Session,
        fetch::{RefusedCode, Request},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

/// The synchronous core behind the driver: one conversation for each session, of which a partner has one at a time.
pub(super) struct Core {
    node: Arc<Node>,
    talks: Mutex<BTreeMap<OrgId, Arc<Mutex<Conversation>>>>,
    /// Files that the journal says were given in the session under way: feed and entry.
    noted: Mutex<BTreeMap<OrgId, BTreeSet<(FeedId, u64)>>>,
    budgets: Budgets,
}

/// Files of one session that are remembered as noted. One that is asked for after so many others is noted again.
const NOTED_MAX: usize = 1 << 16;

impl Core {
    /// No session with anybody yet.
    pub(super) fn new(node: Arc<Node>) -> Self {
        Self { node, talks: Mutex::default(), noted: Mutex::default(), budgets: Budgets::default() }
    }

    fn talk(&self, peer: OrgId) -> Result<Arc<Mutex<Conversation>>, ExchangeError> {
        let talks = self.talks.lock().unwrap_or_else(PoisonError::into_inner);
        let talk = talks.get(&peer).cloned();
        talk.ok_or_else(|| ExchangeError::Internal("no such session".to_owned()))
    }
}

impl From<ExchangeFault> for ExchangeError {
    fn from(fault: ExchangeFault) -> Self {
        match fault {
            ExchangeFault::Peer(fault) => Self::Peer(fault),
            ExchangeFault::Unknown => Self::Removed,
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
        self.node.note_session(peer, true);
        Ok(session)
    }

    fn event(&self, peer: OrgId, session: &mut Session, event: Event) -> Result<(), ExchangeError> {
        // Runs and receipts have their windows; everything else is counted.
        let counted = !matches!(event, Event::Run { .. } | Event::Receipt { .. } | Event::Fork { .. });
        if counted && !self.budgets.spend(peer, budget::REQUEST, self.node.clock.now()) {
            return Err(PeerFault::TooMany { what: "requests", max: limits::PARTNER_REQUESTS_BURST as usize }.into());
        }
        let talk = self.talk(peer)?;
        let mut talk = talk.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(talk.event(&self.node, session, event)?)
    }

    fn pump(&self, peer: OrgId, session: &mut Session) -> Result<bool, ExchangeError> {
        let talk = self.talk(peer)?;
        let mut talk = talk.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(talk.pump(&self.node, session)?)
    }

    fn fetch(&self, peer: OrgId, request: Request) -> Result<FetchReply, RefusedCode> {
        // Before anything is looked up: what is given costs reading, and a line of the journal.
        if !self.budgets.spend(peer, budget::REQUEST, self.node.clock.now()) {
            return Err(RefusedCode::Busy);
        }
        self.give(peer, request)
    }

    fn closed(&self, peer: OrgId, ended: &Ended) {
        self.talks.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer);
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer);
        self.node.note_session(peer, false);
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
        let mut keys = feeds::agreements_with(&node, peer)
            .into_iter()
            .map(|(agreement, _, _)| feeds::outgoing(&node, peer, agreement));
        let feed = keys.find(|key| key.id() == request.feed).ok_or(RefusedCode::NotGiven)?;
        let (record, row) = match files::given(&node, &feed, request.entry, request.slot).map_err(|e| refuse(&e))? {
            Given::File(record, row) => (record, row),
            Given::NotNow => return Err(RefusedCode::Busy),
            Given::Nothing => return Err(RefusedCode::NotGiven),
        };
        let content =
            files::open_at(&node, Partition::Own, &row, u64::from(request.from_chunk)).map_err(|e| refuse(&e))?;
        if self.is_new(peer, request) {
            files::note_given(&node, &feed, record, request.from_chunk).map_err(|e| refuse(&e))?;
        }
        let (size, chunks) = (row.size, row.chunks);
        let still = move || matches!(files::given(&node, &feed, request.entry, request.slot), Ok(Given::File(..)));
        Ok(FetchReply { size, chunks, content: Box::new(content), still: Box::new(still) })
    }
}
