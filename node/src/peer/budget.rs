//! How much of a node one partner may take: a bucket of requests for each, which fills again as time passes.
//!
//! Called by the core behind the driver, for sessions, for messages that have no window of their own, and for runs that
//! bring nothing: those without bodies, and those that are held already. Other runs and receipts have windows, bytes have
//! QUIC's flow control. A partner that has spent all is refused, and no other.

use entente_protocol::{id::OrgId, limits, time::UnixMillis};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// What a message or a file that is asked for costs.
pub const REQUEST: u64 = 1;
/// What a session costs: keys, certificates, a thread.
pub const SESSION: u64 = 16;
/// What a run costs that is held already: it is looked for among all that are. In good order none comes.
pub const HELD: u64 = 64;
/// Entries without a body that cost as much as a message.
const ENTRIES: u64 = 64;

/// What a run without bodies costs.
pub const fn bodiless(entries: usize) -> u64 {
    REQUEST + beside(entries)
}

/// What the entries without a body cost that come in a run with some.
pub const fn beside(entries: usize) -> u64 {
    entries as u64 / ENTRIES
}

/// Bytes of a notice that cost as much as a message: some thirty recalls, each of which is verified and looked for.
const NOTICE_BYTES: u64 = 8 << 10;

/// What a notice costs.
pub const fn notice(bytes: usize) -> u64 {
    REQUEST + bytes as u64 / NOTICE_BYTES
}

const _: () = assert!(
    100_000_u64.div_ceil(limits::RECALLS_PER_NOTICE_MAX as u64) * notice(limits::RECALLS_PER_NOTICE_MAX * 280)
        < limits::PARTNER_REQUESTS_BURST,
    "who recalls 100,000 records at once is not closed"
);
const _: () = assert!(
    100_000_u64.div_ceil(limits::RUN_ENTRIES_MAX as u64) * bodiless(limits::RUN_ENTRIES_MAX)
        < limits::PARTNER_REQUESTS_BURST / 2,
    "who takes back 100,000 records at once is not closed"
);
const _: () = assert!(
    HELD * 4 * limits::RUNS_IN_FLIGHT_MAX as u64 <= limits::PARTNER_REQUESTS_BURST / 2,
    "whatever a cut left in flight may come again, several times over"
);

const _: () = assert!(SESSION < limits::PARTNER_REQUESTS_BURST, "a session can be paid");

const _: () = assert!(
    limits::PARTNER_REQUESTS_BURST.div_ceil(limits::PARTNER_REQUESTS_PER_S) <= 90,
    "OPERATING.md says that a budget is full again in about a minute"
);

/// What one partner has left.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: u64,
    /// When it was last filled.
    at: UnixMillis,
}

/// Every partner's bucket. Grows with the partners, of whom an operator has confirmed each.
#[derive(Debug, Default)]
pub struct Budgets(Mutex<BTreeMap<OrgId, Bucket>>);

impl Budgets {
    /// Takes `cost` from a partner's bucket; false, and nothing is taken, where it does not hold as much.
    pub fn spend(&self, peer: OrgId, cost: u64, now: UnixMillis) -> bool {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry(peer).or_insert(Bucket { left: limits::PARTNER_REQUESTS_BURST, at: now });
        let earned = now.0.saturating_sub(bucket.at.0).saturating_mul(limits::PARTNER_REQUESTS_PER_S) / 1_000;
        // A clock that goes back earns nothing; parts of a request are kept for the next time.
        if earned > 0 || now < bucket.at {
            bucket.left = bucket.left.saturating_add(earned).min(limits::PARTNER_REQUESTS_BURST);
            bucket.at = now;
        }
        match bucket.left.checked_sub(cost) {
            Some(left) => {
                bucket.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_spends_all_waits_and_nobody_else_does() {
        let budgets = Budgets::default();
        let [greedy, other] = [[1; 32], [2; 32]].map(OrgId::from_bytes);
        let begin = UnixMillis(1_000_000);
        let spent = (0..).take_while(|_| budgets.spend(greedy, REQUEST, begin)).count();
        assert_eq!(spent as u64, limits::PARTNER_REQUESTS_BURST);
        assert!(budgets.spend(other, SESSION, begin));
        // It fills as time passes, to the brim and not beyond, and a clock that goes back gives nothing.
        assert!(!budgets.spend(greedy, REQUEST, begin.minus(60_000)));
        let later = begin.minus(60_000).plus(1_000);
        let spent = (0..).take_while(|_| budgets.spend(greedy, REQUEST, later)).count();
        assert_eq!(spent as u64, limits::PARTNER_REQUESTS_PER_S);
        let spent = (0..).take_while(|_| budgets.spend(greedy, REQUEST, later.plus(86_400_000))).count();
        assert_eq!(spent as u64, limits::PARTNER_REQUESTS_BURST);
    }
}
