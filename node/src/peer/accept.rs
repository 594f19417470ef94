//! The accept loop, and what both loops do with a link once they have it.
//!
//! Called by `run`, which owns the task and joins it after giving the signal to stop. It decides nothing about
//! partners: the verifiers and the book did.

use super::{
    driver::{Driver, Ended},
    endpoint::{Arrival, Endpoint, Link},
    links::{Kept, Links},
    stop::Stopper,
};
use entente_protocol::id::OrgId;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::task::JoinSet;

/// A session that was open for so long went well, however it ended.
const LASTED: Duration = Duration::from_secs(10);

/// What people are told where the partner's TLS ends what we dialled: it finishes after ours, so that we hear of it on a
/// connection that stood already.
const REFUSED_US: &str = "it answers, and refuses this node's certificate: have its people added your newest card \
    (`entente partner add`)? Ask them; a partner that was removed there is refused in the same way";

/// What both loops share.
pub struct Peers {
    /// Where connections come from.
    pub endpoint: Endpoint,
    /// The live ones.
    pub links: Links,
    /// Runs their sessions.
    pub driver: Driver,
    /// Stops the node, should its store fail.
    pub stopper: Stopper,
    /// Why the store failed; the first reason stays.
    fatal: Mutex<Option<String>>,
    /// Partners that a person asked for: they are dialled at once, however often it failed before. Bounded by the book.
    asked: Mutex<BTreeSet<OrgId>>,
}

impl Peers {
    /// Over an endpoint that is bound.
    pub fn new(endpoint: Endpoint, driver: Driver, stopper: Stopper) -> Arc<Self> {
        let links = Links::new(endpoint.own());
        Arc::new(Self { endpoint, links, driver, stopper, fatal: Mutex::new(None), asked: Mutex::default() })
    }

    /// Has a partner dialled at the next tick.
    pub fn ask_for(&self, peer: OrgId) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(peer);
    }

    /// Who was asked for since.
    pub(super) fn asked_for(&self) -> BTreeSet<OrgId> {
        std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why the node had to stop by itself; `None` if it had not.
    pub fn fatal(&self) -> Option<String> {
        self.fatal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops the node because its store failed; the first reason stays.
    pub fn fail(&self, cause: &str) {
        self.fatal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| cause.to_owned());
        self.stopper.stop();
    }

    /// Holds the live links against the book: call it after every change of it. What would not be
    /// connected again is cut at once.
    pub fn review(&self) {
        for peer in self.links.review(&self.endpoint.book().snapshot(), self.endpoint.clock().now()) {
            tracing::warn!(peer = %peer.short(), "a partner was cut off");
        }
    }

    /// Keeps a link if it is the one to keep, and runs its session to the end. Whether the two are connected well: the
    /// session was open and lasted, or another one took its place.
    pub(super) async fn run(&self, link: Link) -> bool {
        if self.links.keep(&link) == Kept::Other {
            return true;
        }
        // The book may have changed between the handshake and now.
        self.review();
        tracing::info!(peer = %link.peer.short(), dialed = link.dialed, "a partner is connected");
        let (ended, open) = self.driver.drive(&link).await;
        self.links.ended(&link);
        if ended == Ended::Refused && link.dialed {
            self.driver.exchange.unreachable(link.peer, REFUSED_US.to_owned());
        }
        if let Ended::Fatal(cause) = ended {
            tracing::error!(%cause, "the store failed: the node stops");
            self.fail(&cause);
        }
        open.is_some_and(|open| open >= LASTED) || self.links.connected(link.peer)
    }

    async fn admit(&self, arrival: Arrival) {
        let mut stop = self.driver.stop.clone();
        let from = arrival.remote_address();
        let admitted = tokio::select! {
            () = stop.requested() => return,
            admitted = arrival.admit() => admitted,
        };
        match admitted {
            Ok(link) => drop(self.run(link).await),
            // At the usual level: whoever tries the door is seen, also where TLS refused before any certificate came.
            Err(error) => tracing::info!(%from, %error, "an attempt to connect failed"),
        }
    }
}

/// Answers until the signal to stop, then waits for the sessions that it began. Handshakes are bounded in
/// number by the endpoint and in time; sessions by the partners there are.
pub async fn accept(peers: Arc<Peers>) {
    let mut stop = peers.driver.stop.clone();
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.requested() => break,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            arrival = peers.endpoint.arrival() => {
                let Some(arrival) = arrival else { break };
                let peers = Arc::clone(&peers);
                tasks.spawn(async move { peers.admit(arrival).await });
            }
        }
    }
    while tasks.join_next().await.is_some() {}
}
