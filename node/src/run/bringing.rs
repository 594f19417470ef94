//! Bringing the files that releases gave leave to fetch: two of each sender at a time, of several side by side.
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
    share::fetching::{self, Incoming, Place, Resting, Shared, Wanted},
};
use entente_protocol::{
    id::OrgId,
    session::fetch::{RefusedCode, Request},
};
use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, task::JoinSet};

/// A file is brought within this time, or goes on in a later turn: smaller ones may have come meanwhile.
const FILE: Duration = Duration::from_secs(600);
/// How long a file that was not given is left alone, in milliseconds.
const REST_MS: u64 = 60_000;
/// A partner that has not given so many in a row has had enough of us for now: the others are not asked for in vain.
const VAIN_MAX: usize = 8;

/// Files of one partner that broke off, and what of them is here: until its next turn ends, and never more than come
/// side by side.
type Halfway = Vec<(Place, Shared)>;

/// What became of one file.
enum Came {
    /// It is kept.
    Whole,
    /// Not now: it is not asked for again at once.
    Rests,
    /// It broke off, and may go on at once.
    Broke,
}

/// Brings files until the signal to stop.
pub(super) async fn bring(node: Arc<Node>, peers: Arc<Peers>, resting: Arc<Resting>, due: Arc<Notify>) {
    let mut stop = peers.driver.stop.clone();
    let mut fetching: JoinSet<(OrgId, Halfway, bool)> = JoinSet::new();
    let mut halfway: BTreeMap<OrgId, Halfway> = BTreeMap::new();
    let mut busy: BTreeMap<tokio::task::Id, OrgId> = BTreeMap::new();
    loop {
        tokio::select! {
            () = stop.requested() => break,
            Some(done) = fetching.join_next_with_id(), if !fetching.is_empty() => {
                // One that panicked frees its partner's place as well.
                let (id, kept) = match done {
                    Ok((id, (peer, broke, kept))) => {
                        halfway.insert(peer, broke);
                        (id, kept)
                    }
                    Err(error) => (error.id(), false),
                };
                busy.remove(&id);
                // A turn that kept something may have left more; one that did not is not repeated at once.
                if !kept {
                    continue;
                }
            }
            () = due.notified() => {}
            () = tokio::time::sleep(Duration::from_secs(5)) => {}
        }
        for peer in peers.links.peers() {
            let Some(connection) = peers.links.connection(peer).filter(|_| !busy.values().any(|p| *p == peer)) else {
                continue;
            };
            let (node, resting, stop) = (Arc::clone(&node), Arc::clone(&resting), stop.clone());
            let mut broke = halfway.remove(&peer).unwrap_or_default();
            let task = fetching.spawn(async move {
                let kept = bring_from(&node, &connection, peer, &resting, &stop, &mut broke).await;
                (peer, broke, kept)
            });
            busy.insert(task.id(), peer);
        }
    }
    // What is under way ends with its connection; chunks that came stay good.
    fetching.shutdown().await;
}

/// Brings what one partner's list holds now. Whether anything of it was kept.
async fn bring_from(
    node: &Arc<Node>,
    connection: &Connection,
    sender: OrgId,
    resting: &Arc<Resting>,
    stop: &Stop,
    halfway: &mut Halfway,
) -> bool {
    let (asked, rests) = (Arc::clone(node), Arc::clone(resting));
    let listed = tokio::task::spawn_blocking(move || fetching::wanted(&asked, sender, &rests)).await;
    let wanted = match listed.map_err(|error| error.to_string()).and_then(|l| l.map_err(|error| error.to_string())) {
        Ok(wanted) => wanted,
        Err(error) => {
            tracing::error!(%error, "the files to fetch cannot be listed");
            return false;
        }
    };
    let turn =
        Turn { wanted: wanted.into_iter(), begun: mem::take(halfway), halfway: Vec::new(), vain: 0, kept: false };
    let turn = Mutex::new(turn);
    let bring = || bring_next(node, connection, resting, stop, &turn);
    tokio::join!(bring(), bring());
    let turn = turn.into_inner().unwrap_or_else(PoisonError::into_inner);
    *halfway = turn.halfway;
    turn.kept
}

/// One turn with one partner. Two files come side by side: while one is asked for or made durable, the other fills the
/// line. More would each be slower than a thin line allows.
struct Turn {
    wanted: std::vec::IntoIter<Wanted>,
    /// What broke off in the turn before this, and in this.
    begun: Halfway,
    halfway: Halfway,
    /// Files in a row that did not come.
    vain: usize,
    /// Whether any was kept.
    kept: bool,
}

async fn bring_next(node: &Arc<Node>, connection: &Connection, resting: &Resting, stop: &Stop, turn: &Mutex<Turn>) {
    let turn = || turn.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if stop.is_requested() || connection.close_reason().is_some() {
            return;
        }
        let (file, begun) = {
            let mut turn = turn();
            if turn.vain >= VAIN_MAX || !turn.halfway.is_empty() {
                return;
            }
            let Some(file) = turn.wanted.next() else { return };
            let begun = turn.begun.iter().position(|(at, _)| *at == file.stands_at());
            (file, begun.map(|at| turn.begun.swap_remove(at).1))
        };
        let place = file.stands_at();
        let sink = begun.unwrap_or_else(|| Arc::new(Mutex::new(Incoming::new(Arc::clone(node), file.clone()))));
        let Some(request) = next_of(&sink) else { continue };
        let brought = tokio::time::timeout(FILE, bring_one(node, connection, file, request, &sink)).await;
        // One of which nothing came makes room for the others.
        let late = || if next_of(&sink) == Some(request) { Came::Rests } else { Came::Broke };
        let brought = brought.unwrap_or_else(|_| late());
        let mut turn = turn();
        match brought {
            Came::Whole => (turn.vain, turn.kept) = (0, true),
            Came::Rests => {
                resting.rest(place, node.clock.now().plus(REST_MS));
                turn.vain += 1;
            }
            Came::Broke => turn.halfway.push((place, sink)),
        }
    }
}

fn next_of(sink: &Shared) -> Option<Request> {
    sink.lock().unwrap_or_else(PoisonError::into_inner).request()
}

/// Brings one file, or what of it is not in the sink.
async fn bring_one(
    node: &Arc<Node>,
    connection: &Connection,
    wanted: fetching::Wanted,
    request: Request,
    sink: &Shared,
) -> Came {
    let sender = wanted.file.feed.sender;
    match fetch::fetch(connection, request, wanted.content, Arc::clone(sink)).await {
        Ok((sink, list)) => {
            let bytes = list.content().size;
            let finish = move || sink.lock().unwrap_or_else(PoisonError::into_inner).finish(&list);
            let finished = tokio::task::spawn_blocking(finish).await;
            match &finished {
                Ok(Ok(true)) => {
                    tracing::debug!(partner = %sender.short(), bytes, "a file is kept");
                    // What of it did not come before has come now.
                    node.note_success(sender);
                }
                // People were told.
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::error!(%error, "a fetched file could not be kept"),
                Err(error) => tracing::error!(%error, "a fetched file could not be kept"),
            }
            if matches!(finished, Ok(Ok(true))) { Came::Whole } else { Came::Rests }
        }
        // The release stands here, so the wish does too: it goes when the withdrawal comes.
        Err(FetchError::Refused(code)) => {
            tracing::info!(partner = %sender.short(), code, "a file is not given now");
            if code == RefusedCode::NotGiven as u16 {
                node.note_error(sender, "a file that it released is not given".to_owned());
            }
            Came::Rests
        }
        Err(FetchError::Lane(fault)) if connection.close_reason().is_some() => {
            tracing::debug!(partner = %sender.short(), %fault, "a file broke off with its connection");
            Came::Broke
        }
        Err(error) => {
            tracing::warn!(partner = %sender.short(), %error, "a file did not come");
            node.note_error(sender, format!("a file did not come: {error}"));
            Came::Rests
        }
    }
}
