//! The dial loop: every partner with an address and without a connection is tried, less and less often.
//!
//! Called by `run`, which owns the task and joins it after giving the signal to stop. Jitter comes in as an
//! argument, so that a simulation can choose it.

use super::{
    accept::Peers,
    book::{Book, PartnerState},
    endpoint::{ConnectError, Link},
};
use entente_protocol::id::OrgId;
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

/// The first pause after a failure.
const PAUSE_MS_MIN: u64 = 1_000;
/// The longest pause.
const PAUSE_MS_MAX: u64 = 5 * 60 * 1_000;
/// How often the book is looked at, and certificates of live links for their end.
const TICK: Duration = Duration::from_secs(1);
/// Looking up a host name.
const LOOKUP: Duration = Duration::from_secs(5);
/// Addresses tried of one name.
const RESOLVED_MAX: usize = 4;

/// Answers with a number below its argument; uniform, where partners must not fall into step.
pub type Jitter = Arc<dyn Fn(u64) -> u64 + Send + Sync>;

/// The pause after `failures` in a row: doubling to five minutes, the upper half of it by chance.
pub fn pause_ms(failures: u32, jitter: &Jitter) -> u64 {
    let doubled = PAUSE_MS_MIN.checked_shl(failures.min(32)).unwrap_or(PAUSE_MS_MAX).min(PAUSE_MS_MAX);
    let half = doubled / 2;
    half + jitter(half.max(1)).min(half)
}

struct Attempt {
    failures: u32,
    /// Nothing is under way, and this is when to try again.
    due: Option<Instant>,
}

/// Dials until the signal to stop, then waits for the sessions that it began. One attempt or session for
/// each partner at a time.
pub async fn dial(peers: Arc<Peers>, jitter: Jitter) {
    let mut stop = peers.driver.stop.clone();
    let mut attempts: BTreeMap<OrgId, Attempt> = BTreeMap::new();
    let mut tasks: JoinSet<(OrgId, bool)> = JoinSet::new();
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            () = stop.requested() => break,
            Some(done) = tasks.join_next(), if !tasks.is_empty() => {
                // A task that panicked is told by its partner's attempt, which never becomes due: look at all.
                let Ok((peer, connected)) = done else {
                    attempts.clear();
                    continue;
                };
                let attempt = attempts.entry(peer).or_insert(Attempt { failures: 0, due: None });
                attempt.failures = if connected { 0 } else { attempt.failures.saturating_add(1) };
                attempt.due = Some(Instant::now() + Duration::from_millis(pause_ms(attempt.failures, &jitter)));
            }
            _ = tick.tick() => {
                peers.review();
                let book = peers.endpoint.book().snapshot();
                attempts.retain(|peer, _| book.partners.contains_key(peer));
                for peer in peers.asked_for() {
                    // One that is under way is left alone.
                    if attempts.get(&peer).is_some_and(|attempt| attempt.due.is_some()) {
                        attempts.remove(&peer);
                    }
                }
                for (peer, addresses) in due(&book, &attempts) {
                    if peers.links.connected(peer) {
                        continue;
                    }
                    attempts.entry(peer).or_insert(Attempt { failures: 0, due: None }).due = None;
                    let peers = Arc::clone(&peers);
                    tasks.spawn(async move { (peer, attempt(&peers, peer, &addresses).await) });
                }
            }
        }
    }
    while tasks.join_next().await.is_some() {}
}

fn due(book: &Book, attempts: &BTreeMap<OrgId, Attempt>) -> Vec<(OrgId, Vec<String>)> {
    let now = Instant::now();
    let wanted = book.partners.iter().filter(|(peer, partner)| {
        partner.state != PartnerState::Removed
            && !partner.addresses.is_empty()
            && attempts.get(peer).is_none_or(|attempt| attempt.due.is_some_and(|due| due <= now))
    });
    wanted.map(|(peer, partner)| (*peer, partner.addresses.clone())).collect()
}

/// Tries every address once and runs the session; whether it went well. One that dies at once is tried again ever
/// less often, as an address that does not answer is.
async fn attempt(peers: &Peers, peer: OrgId, addresses: &[String]) -> bool {
    let mut stop = peers.driver.stop.clone();
    let link = tokio::select! {
        () = stop.requested() => None,
        link = connect(peers, peer, addresses) => link,
    };
    match link {
        Some(link) => peers.run(link).await,
        None => false,
    }
}

async fn connect(peers: &Peers, peer: OrgId, addresses: &[String]) -> Option<Link> {
    let mut why = None;
    for name in addresses {
        let found = resolve(name).await;
        if found.is_empty() {
            why = Some(format!("`{name}` is no address that is known here"));
        }
        for address in found {
            match peers.endpoint.dial(peer, address).await {
                Ok(link) => return Some(link),
                Err(error @ ConnectError::Refused(_)) => {
                    tracing::warn!(peer = %peer.short(), %error, "a partner's address answered wrongly");
                    why = Some(format!("what answers at {address} is not this partner: {error}"));
                }
                Err(error) => {
                    tracing::debug!(peer = %peer.short(), %error, "a partner was not reached");
                    why = Some(format!("{address}: {error}"));
                }
            }
        }
    }
    if let Some(why) = why {
        peers.driver.exchange.unreachable(peer, why);
    }
    None
}

async fn resolve(address: &str) -> Vec<SocketAddr> {
    match timeout(LOOKUP, tokio::net::lookup_host(address)).await {
        Ok(Ok(found)) => found.take(RESOLVED_MAX).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_minutes_and_are_spread() {
        let (least, most): (Jitter, Jitter) = (Arc::new(|_| 0), Arc::new(|below| below - 1));
        assert_eq!((pause_ms(0, &least), pause_ms(0, &most)), (500, 999));
        assert_eq!((pause_ms(3, &least), pause_ms(3, &most)), (4_000, 7_999));
        assert_eq!(pause_ms(u32::MAX, &least), PAUSE_MS_MAX / 2);
        assert!(pause_ms(u32::MAX, &most) < PAUSE_MS_MAX);
    }
}
