//! A round with a partner: what a person asked for who waits for it, from the first dial until nothing moves any more.
//!
//! `run` calls it for the control socket and for `sync`. It moves nothing by itself: it wakes the session and watches.

use super::Running;
use crate::{
    clock::say,
    error::Fault,
    node::Node,
    partners::PartnerState,
    recall::holders,
    records::gate::RELEASE_LOG,
    seal::keyring::Partition,
    share::{
        feeds,
        fetching::{self, Resting},
    },
    store::layout::Table,
};
use entente_protocol::id::OrgId;
use serde_json::{Value as Json, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How long one round with partners may take.
const ROUND: Duration = Duration::from_secs(120);
/// How long a partner has to answer before a round gives it up.
const CONNECT: Duration = Duration::from_secs(15);
/// A round is over when nothing moved for so long.
const QUIET: Duration = Duration::from_millis(400);

impl Running {
    /// What moves while a round is under way; equal twice means that nothing did.
    async fn picture(&self, partner: OrgId) -> Result<Picture, Fault> {
        let (node, resting) = (Arc::clone(&self.node), Arc::clone(&self.resting));
        let seen = tokio::task::spawn_blocking(move || picture(&node, &resting, partner)).await;
        seen.map_err(|e| Fault::setup("sync", e))?
    }

    /// Nobody waits for a round of a node that stops.
    fn goes_on(&self) -> Result<(), Fault> {
        if self.peers.driver.stop.is_requested() {
            Err(Fault::setup("stopped", "the node is stopping"))
        } else {
            Ok(())
        }
    }

    pub(super) async fn round(&self, partner: OrgId) -> Result<Json, Fault> {
        let handle = self.node.handle_of(partner);
        if self.node.book().get(partner).is_none_or(|p| p.state == PartnerState::Removed) {
            return Err(Fault::partner("removed", format!("`{handle}` was removed: no connection is made to it")));
        }
        if let Some(trouble) = say::trouble(&self.node) {
            return Err(Fault::setup("clock", trouble));
        }
        let started = Instant::now();
        if !self.node.health(partner).connected() {
            self.peers.ask_for(partner);
        }
        while !self.node.health(partner).connected() {
            self.goes_on()?;
            if started.elapsed() > CONNECT {
                let health = self.node.health(partner);
                let why = health.trouble().map_or("no answer", |(_, why)| why);
                return Err(Fault::partner("unreachable", format!("`{handle}` cannot be reached: {why}")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.wakes.wake(partner);
        let (mut last, mut since) = (self.picture(partner).await?, Instant::now());
        loop {
            tokio::time::sleep(Duration::from_millis(25)).await;
            self.goes_on()?;
            let now = self.picture(partner).await?;
            if now != last {
                (last, since) = (now, Instant::now());
            }
            match turn(last.settled, since.elapsed(), started.elapsed()) {
                Turn::Goes => {}
                Turn::Ends => break,
                Turn::Slow => {
                    return Err(Fault::partner(
                        "slow",
                        format!("`{handle}`: the round did not end in time; it goes on while the node runs"),
                    ));
                }
            }
        }
        if let Some(why) = last.stopped {
            return Err(Fault::partner("stopped", format!("`{handle}`: {why}")));
        }
        // Nothing to exchange is an exchange too.
        if self.node.health(partner).connected() {
            self.node.note_success(partner);
        }
        Ok(json!({
            "id": partner.to_string(),
            "handle": handle,
            "sent": last.sent,
            "acknowledged": last.acknowledged,
            "received": last.received,
            "recalls_open": last.recalls,
        }))
    }
}

/// What a round does after a look.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Goes,
    Ends,
    Slow,
}

/// Ends when nothing has moved for a while, and in any case in time: a partner that keeps something moving would else
/// keep whoever waits for the round.
fn turn(settled: bool, still: Duration, spent: Duration) -> Turn {
    match settled && still > QUIET {
        true => Turn::Ends,
        false if spent > ROUND => Turn::Slow,
        false => Turn::Goes,
    }
}

/// What moves while a round with a partner is under way.
fn picture(node: &Node, resting: &Resting, partner: OrgId) -> Result<Picture, Fault> {
    let log = node.holdings.count(Partition::Own, Table::RecordList, RELEASE_LOG)?;
    let now = node.interval();
    let (rules, own_rules) = (node.rules(), node.own_rules());
    let mut picture = Picture::default();
    for (agreement, digest, _) in feeds::agreements_with(node, partner) {
        let out = feeds::outgoing(node, partner, agreement);
        let row = feeds::out_row(node, &out, digest).map_err(Fault::store)?;
        let acknowledged = row.countersigned.map_or(0, |c| c.length);
        let stopped = feeds::stopped(node, &out).map_err(Fault::store)?;
        picture.stopped = picture.stopped.or(stopped.as_ref().map(|row| row.why(&out, node.keys.org)));
        // Where nothing may pass, nothing is waited for.
        let paused = stopped.is_some() || rules.policy.passes(partner, agreement, now).is_err();
        let given = acknowledged == row.length && row.filled == log && row.is_under(digest, &own_rules);
        picture.settled &= paused || given;
        picture.sent += row.length;
        picture.acknowledged += acknowledged;
        if let Some(store) = feeds::known_store(node, partner, agreement).map_err(Fault::store)? {
            let incoming = feeds::incoming(node, partner, store, agreement);
            let stopped = feeds::stopped(node, &incoming).map_err(Fault::store)?;
            picture.stopped = picture.stopped.or(stopped.map(|row| row.why(&incoming, node.keys.org)));
            picture.received += feeds::in_row(node, &incoming).map_err(Fault::store)?.length;
        }
    }
    picture.files = fetching::waiting(node, partner, resting).map_err(Fault::store)?;
    let (unanswered, open) = holders::open_with(node, partner)?;
    picture.recalls = open;
    picture.settled &= picture.files == 0 && unanswered == 0;
    Ok(picture)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Picture {
    settled: bool,
    stopped: Option<&'static str>,
    sent: u64,
    acknowledged: u64,
    received: u64,
    files: usize,
    recalls: u64,
}

impl Default for Picture {
    fn default() -> Self {
        Self { settled: true, stopped: None, sent: 0, acknowledged: 0, received: 0, files: 0, recalls: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partner_that_keeps_something_moving_keeps_nobody() {
        let (moving, late) = (Duration::ZERO, ROUND + Duration::from_millis(1));
        assert_eq!(turn(true, QUIET * 2, QUIET * 2), Turn::Ends);
        assert_eq!(turn(false, QUIET * 2, QUIET * 2), Turn::Goes);
        for settled in [true, false] {
            assert_eq!(turn(settled, moving, QUIET), Turn::Goes);
            assert_eq!(turn(settled, moving, late), Turn::Slow);
        }
    }
}
