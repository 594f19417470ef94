//! The live connections: one for each partner, and the means to cut it at once.
//!
//! Called by the accept and dial loops, and by whoever changes the book. It moves no data.

use super::{
    book::{Book, PartnerState},
    endpoint::Link,
};
use entente_protocol::{id::OrgId, session::CloseCode, time::UnixMillis};
use quinn::VarInt;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

/// Two links made within this time were dialled by both sides at once.
const AT_ONCE: Duration = Duration::from_secs(3);

/// What became of a new link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is the one now; whatever was there before is closed.
    This,
    /// The other one stays, and this one was closed.
    Other,
}

/// Live links by partner.
#[derive(Debug)]
pub struct Links {
    own: OrgId,
    live: Mutex<BTreeMap<OrgId, Link>>,
    /// When each was made.
    since: Mutex<BTreeMap<OrgId, Instant>>,
}

impl Links {
    /// None yet.
    pub fn new(own: OrgId) -> Self {
        Self { own, live: Mutex::default(), since: Mutex::default() }
    }

    /// Keeps one link for each partner: the one dialled by the smaller organisation id, and of two that the same
    /// side dialled the newer. Both sides reach the same answer without a word. That is for two that dial at once: who
    /// dials later has no link any more, whatever is left of the older one here, and the newer is kept.
    pub fn keep(&self, link: &Link) -> Kept {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let older = live.get(&link.peer).filter(|older| older.connection.close_reason().is_none());
        if let Some(older) = older {
            let at_once = self.made(link.peer).is_some_and(|since| since.elapsed() < AT_ONCE);
            if older.dialed != link.dialed && !self.preferred(link) && at_once {
                link.connection.close(VarInt::from_u32(CloseCode::REPLACED.0), &[]);
                return Kept::Other;
            }
            older.connection.close(VarInt::from_u32(CloseCode::REPLACED.0), &[]);
        }
        live.insert(link.peer, link.clone());
        self.since.lock().unwrap_or_else(PoisonError::into_inner).insert(link.peer, Instant::now());
        Kept::This
    }

    /// Forgets a link that has ended; another one to the same partner stays.
    pub fn ended(&self, link: &Link) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if live.get(&link.peer).is_some_and(|kept| kept.connection.stable_id() == link.connection.stable_id()) {
            live.remove(&link.peer);
        }
    }

    /// Closes the link to `peer` at once: what was queued and not sent is dropped. Whether there was one.
    pub fn cut(&self, peer: OrgId, code: CloseCode) -> bool {
        let link = self.live.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer);
        if let Some(link) = &link {
            link.connection.close(VarInt::from_u32(code.0), &[]);
        }
        link.is_some()
    }

    /// Holds every live link against the book and the time, and cuts those that would not be made again.
    pub fn review(&self, book: &Book, now: UnixMillis) -> Vec<OrgId> {
        let unwelcome: Vec<OrgId> = {
            let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
            live.values().filter(|link| !welcome(link, book, now)).map(|link| link.peer).collect()
        };
        for peer in &unwelcome {
            self.cut(*peer, CloseCode::REMOVED);
        }
        unwelcome
    }

    /// Whether a partner is connected.
    pub fn connected(&self, peer: OrgId) -> bool {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.get(&peer).is_some_and(|link| link.connection.close_reason().is_none())
    }

    /// Who is connected.
    pub fn peers(&self) -> Vec<OrgId> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.values().filter(|link| link.connection.close_reason().is_none()).map(|link| link.peer).collect()
    }

    /// The live connection to a partner, for fetching files over it: once its session is open, and not before.
    pub fn connection(&self, peer: OrgId) -> Option<quinn::Connection> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let link = live.get(&peer).filter(|link| link.open.load(Ordering::SeqCst));
        link.map(|link| link.connection.clone()).filter(|connection| connection.close_reason().is_none())
    }

    fn made(&self, peer: OrgId) -> Option<Instant> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner).get(&peer).copied()
    }
    fn preferred(&self, link: &Link) -> bool {
        link.dialed == (self.own < link.peer)
    }
}

fn welcome(link: &Link, book: &Book, now: UnixMillis) -> bool {
    book.partners.get(&link.peer).is_some_and(|partner| {
        partner.state != PartnerState::Removed
            && now <= link.identity.not_after
            && partner.lists(&link.identity.keys, now)
            && !link.identity.keys.iter().any(|key| partner.revoked.contains(key))
    })
}
