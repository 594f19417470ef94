//! How far time has certainly come: what stands behind "now is an interval".
//!
//! Two things are remembered in the store. *Confirmed*: the latest time that each partner signed, in a run or a receipt
//! that we took. *Seen*: the latest time that our own clock ever showed. Expiry is measured by the latest of them and
//! of the clock, start of validity by the clock alone, so a clock that was set back extends nothing.
//!
//! - The clock is more than an hour behind a confirmed time: nothing is decided until the clock is mended. No command
//!   lowers a confirmed time.
//! - The clock is more than an hour behind what it showed itself, and no partner has signed such a time: it was wrong
//!   then, or is wrong now. Nothing is decided until a named user says which ([`Marks::lower`], journaled).
//!
//! What one partner can do to it is bounded: a stated time counts only up to the skew that sessions allow before our own
//! clock, and the statements of a partner that was removed count no more. This never reads a clock.

use crate::{
    records::stored::{RowDamage, decode, encode},
    seal::keyring::Partition,
    store::{StoreError, holdings::Holdings, layout::Table, txn::Txn},
};
use entente_policy::{Interval, NOW_WIDTH_MS_MAX};
use entente_protocol::{id::OrgId, limits, time::UnixMillis};
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Key of the row in [`Table::Meta`].
pub const KEY: &[u8] = b"time";
/// The own clock is written down when it has gone on by so much. Less than the width of now that still decides, so
/// that what a crash forgets decides nothing.
const SEEN_STEP_MS: u64 = 10 * 60 * 1_000;
const _: () = assert!(SEEN_STEP_MS < NOW_WIDTH_MS_MAX, "what a crash forgets is within the width that decides");

/// The latest time that a partner signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmed {
    /// The time.
    pub at: UnixMillis,
    /// Who.
    pub partner: OrgId,
}

/// The row, as it lies in the store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TimeRow {
    /// The latest that our own clock showed.
    seen: UnixMillis,
    /// One for each partner.
    confirmed: Vec<Confirmed>,
}

#[derive(Debug, Default)]
struct State {
    row: TimeRow,
    /// What of `row.seen` is in the store.
    seen_stored: UnixMillis,
}

/// The marks of one node.
#[derive(Debug, Default)]
pub struct Marks(Mutex<State>);

/// The marks could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row.
    #[error(transparent)]
    Damage(#[from] RowDamage),
    /// Below what a partner confirmed.
    #[error(
        "{to} is before {at}, which a partner has signed: a confirmed time is never lowered; mend this machine's clock"
    )]
    Confirmed {
        /// Asked for.
        to: UnixMillis,
        /// Confirmed.
        at: UnixMillis,
    },
    /// It does not lower.
    #[error(
        "{to} is not before {seen}, the latest time that this machine's clock has shown: there is nothing to lower"
    )]
    NotLower {
        /// Asked for.
        to: UnixMillis,
        /// Seen.
        seen: UnixMillis,
    },
}

/// What became of a time that a partner signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stated {
    /// It counts.
    Taken,
    /// It is too far ahead of our own clock to count.
    TooFarAhead,
}

impl Marks {
    /// Reads them.
    pub fn load(holdings: &Holdings) -> Result<Self, MarkError> {
        let row: TimeRow = match holdings.get(Partition::Node, Table::Meta, KEY)? {
            Some(row) => decode("time", &row)?,
            None => TimeRow::default(),
        };
        Ok(Self(Mutex::new(State { seen_stored: row.seen, row })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Now. `now` is what the clock shows; `counts` tells of which partners the statements count.
    pub fn interval(&self, now: UnixMillis, counts: impl Fn(OrgId) -> bool) -> Interval {
        let mut state = self.state();
        state.row.seen = state.row.seen.max(now);
        let confirmed = state.confirmed(counts).map_or(UnixMillis(0), |c| c.at);
        let seen = state.row.seen;
        let reach = now.max(confirmed).plus(NOW_WIDTH_MS_MAX);
        Interval { early: now, late: now.max(confirmed).max(seen), confirmed: seen <= reach }
    }

    /// Notes a time that a partner signed, in the transaction that keeps what it signed.
    pub fn confirm(
        &self,
        txn: &mut Txn<'_>,
        partner: OrgId,
        at: UnixMillis,
        now: UnixMillis,
    ) -> Result<Stated, MarkError> {
        if at > now.plus(limits::CLOCK_SKEW_MS_MAX) {
            return Ok(Stated::TooFarAhead);
        }
        let mut state = self.state();
        match state.row.confirmed.iter_mut().find(|known| known.partner == partner) {
            Some(known) if known.at >= at => return Ok(Stated::Taken),
            Some(known) => known.at = at,
            None => state.row.confirmed.push(Confirmed { at, partner }),
        }
        state.write(txn)?;
        Ok(Stated::Taken)
    }

    /// Writes down how far the own clock has gone, where that is worth an append.
    pub fn observe(&self, holdings: &Holdings, now: UnixMillis) -> Result<(), MarkError> {
        let due = {
            let mut state = self.state();
            state.row.seen = state.row.seen.max(now);
            state.row.seen > state.seen_stored.plus(SEEN_STEP_MS)
        };
        if due {
            // The transaction first, then the marks: the order in which `confirm` takes the two locks.
            let mut txn = holdings.begin();
            self.state().write(&mut txn)?;
            txn.commit()?;
        }
        Ok(())
    }

    /// Lowers what the own clock has shown, on the word of a named user; the caller journals it and commits.
    pub fn lower(
        &self,
        txn: &mut Txn<'_>,
        to: UnixMillis,
        counts: impl Fn(OrgId) -> bool,
    ) -> Result<UnixMillis, MarkError> {
        let mut state = self.state();
        let seen = state.row.seen;
        if let Some(Confirmed { at, .. }) = state.confirmed(counts).filter(|c| c.at > to) {
            return Err(MarkError::Confirmed { to, at });
        }
        if to >= seen {
            return Err(MarkError::NotLower { to, seen });
        }
        state.row.seen = to;
        state.write(txn)?;
        Ok(seen)
    }

    /// The latest that our own clock showed.
    pub fn seen(&self) -> UnixMillis {
        self.state().row.seen
    }

    /// The latest confirmed time, and whose it is.
    pub fn confirmed(&self, counts: impl Fn(OrgId) -> bool) -> Option<Confirmed> {
        self.state().confirmed(counts)
    }
}

impl State {
    fn confirmed(&self, counts: impl Fn(OrgId) -> bool) -> Option<Confirmed> {
        self.row.confirmed.iter().filter(|c| counts(c.partner)).max_by_key(|c| c.at).copied()
    }
    fn write(&mut self, txn: &mut Txn<'_>) -> Result<(), MarkError> {
        txn.put(Partition::Node, Table::Meta, KEY, &encode("time", &self.row)?)?;
        self.seen_stored = self.row.seen;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{seal::keyring::Keyring, store::open};
    use entente_policy::Reason;
    use std::sync::Arc;

    const HOUR: u64 = 3_600_000;
    const YEAR: u64 = 365 * 24 * HOUR;
    const NOW: UnixMillis = UnixMillis(1_795_305_600_000);

    fn org(n: u8) -> OrgId {
        OrgId::from_bytes([n; 32])
    }

    fn all(_: OrgId) -> bool {
        true
    }

    fn confirm(marks: &Marks, holdings: &Holdings, partner: u8, at: UnixMillis, now: UnixMillis) -> Stated {
        let mut txn = holdings.begin();
        let stated = marks.confirm(&mut txn, org(partner), at, now).unwrap();
        txn.commit().unwrap();
        stated
    }

    #[test]
    fn a_clock_behind_a_confirmed_time_decides_nothing_until_it_is_mended() -> Result<(), Box<dyn std::error::Error>> {
        let holdings = open::in_memory(Arc::new(Keyring::in_memory()))?;
        let marks = Marks::load(&holdings)?;
        assert_eq!(marks.interval(NOW, all).fault(), None);
        assert_eq!(confirm(&marks, &holdings, 1, NOW, NOW), Stated::Taken);
        // Within an hour the interval is only wider; the late end stays where time certainly was.
        let now = marks.interval(NOW.minus(HOUR / 2), all);
        assert_eq!((now.early, now.late, now.fault()), (NOW.minus(HOUR / 2), NOW, None));
        for marks in [&marks, &Marks::load(&holdings)?] {
            let now = marks.interval(NOW.minus(YEAR), all);
            assert_eq!((now.late, now.fault()), (NOW, Some(Reason::ClockTooWide)));
            assert_eq!(marks.interval(NOW.plus(1), all).fault(), None);
        }
        // An older receipt lowers nothing, and no command does.
        assert_eq!(confirm(&marks, &holdings, 1, NOW.minus(YEAR), NOW), Stated::Taken);
        assert_eq!(marks.confirmed(all).map(|c| c.at), Some(NOW));
        let refused = marks.lower(&mut holdings.begin(), NOW.minus(HOUR), all);
        assert!(matches!(refused, Err(MarkError::Confirmed { .. })), "{refused:?}");
        Ok(())
    }

    #[test]
    fn a_clock_that_jumped_ahead_and_came_back_waits_for_a_named_user() -> Result<(), Box<dyn std::error::Error>> {
        let holdings = open::in_memory(Arc::new(Keyring::in_memory()))?;
        let marks = Marks::load(&holdings)?;
        confirm(&marks, &holdings, 1, NOW, NOW);
        marks.observe(&holdings, NOW.plus(YEAR))?;
        // A restart keeps it.
        let marks = Marks::load(&holdings)?;
        assert_eq!(marks.interval(NOW, all).fault(), Some(Reason::ClockUncertain));
        // A partner's word for the present does not say what the other time was.
        confirm(&marks, &holdings, 1, NOW.plus(1), NOW.plus(1));
        assert_eq!(marks.interval(NOW.plus(2), all).fault(), Some(Reason::ClockUncertain));
        let refused = marks.lower(&mut holdings.begin(), NOW.plus(2 * YEAR), all);
        assert!(matches!(refused, Err(MarkError::NotLower { .. })), "{refused:?}");
        let mut txn = holdings.begin();
        assert_eq!(marks.lower(&mut txn, NOW.plus(2), all)?, NOW.plus(YEAR));
        txn.commit()?;
        for marks in [&marks, &Marks::load(&holdings)?] {
            assert_eq!(marks.interval(NOW.plus(3), all).fault(), None);
        }
        Ok(())
    }

    #[test]
    fn one_partner_moves_the_mark_by_minutes_and_not_for_ever() -> Result<(), Box<dyn std::error::Error>> {
        let holdings = open::in_memory(Arc::new(Keyring::in_memory()))?;
        let marks = Marks::load(&holdings)?;
        let skew = limits::CLOCK_SKEW_MS_MAX;
        for far in [skew + 1, YEAR, u64::MAX - NOW.0] {
            assert_eq!(confirm(&marks, &holdings, 1, NOW.plus(far), NOW), Stated::TooFarAhead);
        }
        assert_eq!(marks.confirmed(all), None);
        assert_eq!(confirm(&marks, &holdings, 1, NOW.plus(skew), NOW), Stated::Taken);
        assert_eq!(marks.interval(NOW, all).fault(), None, "minutes do not stop us");
        // Our clock was a year ahead while a partner confirmed it. Once that partner is removed its word is none.
        let ahead = NOW.plus(YEAR);
        assert_eq!(confirm(&marks, &holdings, 1, ahead, ahead), Stated::Taken);
        assert_eq!(marks.interval(NOW, all).fault(), Some(Reason::ClockTooWide));
        let without = |partner| partner != org(1);
        marks.observe(&holdings, ahead)?;
        assert_eq!(marks.interval(NOW, without).fault(), Some(Reason::ClockUncertain));
        marks.lower(&mut holdings.begin(), NOW, without)?;
        assert_eq!(marks.interval(NOW, without).fault(), None);
        Ok(())
    }
}
