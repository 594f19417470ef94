//! Bringing the files that releases gave leave to fetch: of each sender one after another, of several side by side.
//!
//! `run` owns the task. What is wanted, and how far each file is, `share::fetching` says; this moves nothing by itself.

use crate::{
    node::Node,
    peer::{
        Connection,
        accept::Peers,
        fetch::{self, FetchError},
        stop::Stop,
    },
    share::fetching::{self, Resting},
};
use entente_protocol::{id::OrgId, session::fetch::RefusedCode};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::Notify, task::JoinSet};

/// A file is brought within this time, or goes on in a later turn at the last whole segment.
const FILE: Duration = Duration::from_secs(600);
/// How long a file that was not given is left alone, in milliseconds.
const REST_MS: u64 = 60_000;
/// A partner that has not given so many in a row has had enough of us for now: the others are not asked for in vain.
const VAIN_MAX: usize = 8;

/// Brings files until the signal to stop.
pub(super) async fn bring(node: Arc<Node>, peers: Arc<Peers>, resting: Arc<Resting>, due: Arc<Notify>) {
    let mut stop = peers.driver.stop.clone();
    let mut fetching: JoinSet<OrgId> = JoinSet::new();
    let mut busy: BTreeMap<tokio::task::Id, OrgId> = BTreeMap::new();
    loop {
        tokio::select! {
            () = stop.requested() => break,
            Some(done) = fetching.join_next_with_id(), if !fetching.is_empty() => {
                // One that panicked frees its partner's place as well.
                let id = done.map_or_else(|error| error.id(), |(id, _)| id);
                busy.remove(&id);
                continue;
            }
            () = due.notified() => {}
            () = tokio::time::sleep(Duration::from_secs(5)) => {}
        }
        for peer in peers.links.peers() {
            let Some(connection) = peers.links.connection(peer).filter(|_| !busy.values().any(|p| *p == peer)) else {
                continue;
            };
            let (node, resting, stop) = (Arc::clone(&node), Arc::clone(&resting), stop.clone());
            let task = fetching.spawn(async move {
                bring_from(&node, &connection, peer, &resting, &stop).await;
                peer
            });
            busy.insert(task.id(), peer);
        }
    }
    // What is under way ends with its connection; chunks that came stay good.
    fetching.shutdown().await;
}

async fn bring_from(node: &Arc<Node>, connection: &Connection, sender: OrgId, resting: &Arc<Resting>, stop: &Stop) {
    let (asked, rests) = (Arc::clone(node), Arc::clone(resting));
    let listed = tokio::task::spawn_blocking(move || fetching::wanted(&asked, sender, &rests)).await;
    let wanted = match listed {
        Ok(Ok(wanted)) => wanted,
        Ok(Err(error)) => return tracing::error!(%error, "the files to fetch cannot be listed"),
        Err(error) => return tracing::error!(%error, "the files to fetch cannot be listed"),
    };
    let mut vain = 0;
    for file in wanted {
        if vain >= VAIN_MAX || stop.is_requested() || connection.close_reason().is_some() {
            return;
        }
        let place = (file.agreement, file.place);
        let brought = tokio::time::timeout(FILE, bring_one(node, connection, file)).await;
        if brought.unwrap_or(true) {
            vain = 0;
        } else {
            resting.rest(place, node.clock.now().plus(REST_MS));
            vain += 1;
        }
    }
}

/// Brings one file. False if it is not to be asked for again at once.
async fn bring_one(node: &Arc<Node>, connection: &Connection, wanted: fetching::Wanted) -> bool {
    let sink = fetching::Incoming::new(Arc::clone(node), wanted.clone());
    let sender = wanted.file.feed.sender;
    match fetch::fetch(connection, wanted.request(), wanted.content, sink).await {
        Ok((sink, list)) => {
            let bytes = list.content().size;
            let finished = tokio::task::spawn_blocking(move || sink.finish(&list)).await;
            match &finished {
                Ok(Ok(())) => tracing::debug!(partner = %sender.short(), bytes, "a file is kept"),
                Ok(Err(error)) => tracing::error!(%error, "a fetched file could not be kept"),
                Err(error) => tracing::error!(%error, "a fetched file could not be kept"),
            }
            matches!(finished, Ok(Ok(())))
        }
        // The release stands here, so the wish does too: it goes when the withdrawal comes.
        Err(FetchError::Refused(code)) => {
            tracing::info!(partner = %sender.short(), code, "a file is not given now");
            if code == RefusedCode::NotGiven as u16 {
                node.note_error(sender, "a file that it released is not given".to_owned());
            }
            false
        }
        Err(error) => {
            tracing::warn!(partner = %sender.short(), %error, "a file did not come");
            node.note_error(sender, format!("a file did not come: {error}"));
            false
        }
    }
}
