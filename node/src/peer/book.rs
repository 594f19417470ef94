//! Whom we have been introduced to: one immutable snapshot, replaced as a whole.
//!
//! Written by whoever adds, suspends or removes a partner; read by every handshake and by the dial loop.
//! A change here does not reach live connections by itself: call [`super::links::Links::review`] after it.

use entente_protocol::{
    id::{KeyId, OrgId},
    identity::{Card, CardKey, Purpose},
    limits,
    time::UnixMillis,
};
use rustls_pki_types::CertificateDer;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
};

/// How we stand to a partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartnerState {
    /// Connected whenever it can be reached.
    Active,
    /// Sharing stops; recalls, receipts and notices still pass, so connections are kept.
    Suspended,
    /// No connection at all. The entry stays, so that the refusal can be told from that of a stranger.
    Removed,
}

/// What a handshake and the dial loop need to know of one partner.
#[derive(Debug, Clone)]
pub struct Partner {
    /// Its root certificate: the only anchor that its chains may end in.
    pub root: CertificateDer<'static>,
    /// How we stand to it.
    pub state: PartnerState,
    /// Keys that its newest card revokes; no chain may contain one.
    pub revoked: BTreeSet<KeyId>,
    /// Node keys that its newest card lists: a certificate for any other key is none of its nodes.
    pub nodes: BTreeMap<KeyId, CardKey>,
    /// Issuing keys that its newest card lists and that were not withdrawn: what they issued counts under whatever root their
    /// own certificate stands.
    pub issuing: BTreeMap<KeyId, CardKey>,
    /// `host:port`, as its card lists them; empty where only the partner can dial.
    pub addresses: Vec<String>,
}

impl Partner {
    /// An organisation by its card, which people confirmed.
    pub fn by_card(card: &Card, state: PartnerState) -> Self {
        Self {
            root: CertificateDer::from(card.payload().root.clone()),
            state,
            revoked: card.withdrawn().collect(),
            nodes: card.keys(Purpose::Node).map(|entry| (entry.key.id(), entry.clone())).collect(),
            issuing: card.keys(Purpose::Issuing).map(|entry| (entry.key.id(), entry.clone())).collect(),
            addresses: card.payload().addresses.iter().map(|a| a.as_str().to_owned()).collect(),
        }
    }
    /// Whether it lists an issuing key that counts, and was not withdrawn.
    pub fn issues(&self, key: KeyId, now: UnixMillis) -> bool {
        self.issuing.get(&key).is_some_and(|entry| entry.counts_at(now)) && !self.revoked.contains(&key)
    }
    /// Whether a chain of these keys, the node's first, may speak for the partner.
    pub fn lists(&self, keys: &[KeyId], now: UnixMillis) -> bool {
        // A key that was made a minute ago, by a clock that is a minute ahead of ours, counts.
        let counts = |key: &CardKey| key.counts_at(now) || key.counts_at(now.plus(limits::CLOCK_SKEW_MS_MAX));
        keys.first().and_then(|key| self.nodes.get(key)).is_some_and(counts)
    }
}

/// All partners at one moment.
#[derive(Debug, Clone, Default)]
pub struct Book {
    /// By organisation.
    pub partners: BTreeMap<OrgId, Partner>,
}

/// The current [`Book`], shared by everything that makes or checks connections.
#[derive(Debug, Clone, Default)]
pub struct SharedBook(Arc<RwLock<Arc<Book>>>);

impl SharedBook {
    /// Starts with `book`.
    pub fn new(book: Book) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(book))))
    }
    /// Puts another snapshot in place; handshakes that follow see it.
    pub fn replace(&self, book: Book) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(book);
    }
    /// The snapshot in place.
    pub fn snapshot(&self) -> Arc<Book> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}
