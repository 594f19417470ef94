//! Time as the formats carry it: milliseconds since 1970-01-01 UTC. This crate never reads a clock.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An hour in milliseconds.
pub const HOUR_MS: u64 = 3_600_000;
/// A day in milliseconds, as UTC counts them.
pub const DAY_MS: u64 = 24 * HOUR_MS;

/// Milliseconds since 1970-01-01T00:00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// This many milliseconds later; stops at the end of time instead of wrapping.
    pub const fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
    /// This many milliseconds earlier; stops at 1970.
    pub const fn minus(self, ms: u64) -> Self {
        Self(self.0.saturating_sub(ms))
    }
    /// Days since 1970-01-01.
    pub const fn days(self) -> u64 {
        self.0 / DAY_MS
    }
    /// The start of a calendar day given as `YYYY-MM-DD`.
    pub fn from_date(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '-');
        let (y, m, d) = (parts.next()?, parts.next()?, parts.next()?);
        if y.len() != 4 || m.len() != 2 || d.len() != 2 {
            return None;
        }
        let (y, m, d) = (y.parse::<i64>().ok()?, m.parse::<i64>().ok()?, d.parse::<i64>().ok()?);
        let days = days_from_civil(y, m, d);
        (civil_from_days(days) == (y, m, d)).then_some(())?;
        u64::try_from(days).ok()?.checked_mul(DAY_MS).map(Self)
    }
    /// `YYYY-MM-DD` in UTC.
    pub fn date(self) -> String {
        let (y, m, d) = civil_from_days(i64::try_from(self.days()).unwrap_or(0));
        format!("{y:04}-{m:02}-{d:02}")
    }
}

impl fmt::Display for UnixMillis {
    /// RFC 3339 with seconds, in UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = (self.0 / 1_000) % 86_400;
        write!(f, "{}T{:02}:{:02}:{:02}Z", self.date(), seconds / 3_600, seconds / 60 % 60, seconds % 60)
    }
}

/// Days since 1970-01-01 of a proleptic Gregorian date (H. Hinnant, "chrono-compatible low-level date algorithms").
pub(crate) fn days_from_civil(y: i64, m: i64, d: i64) -> i64 {
    let y = if m <= 2 { y - 1 } else { y };
    let era = y.div_euclid(400);
    let yoe = y - era * 400;
    let doy = (153 * (if m > 2 { m - 3 } else { m + 9 }) + 2) / 5 + d - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z - era * 146_097;
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let m = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(m <= 2), m, doy - (153 * mp + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_round_trip() {
        for date in ["1970-01-01", "2000-02-29", "2026-11-22", "2100-03-01"] {
            assert_eq!(UnixMillis::from_date(date).map(UnixMillis::date).as_deref(), Some(date));
        }
        for wrong in ["2023-02-29", "2023-13-01", "23-01-01", "2023-1-1", "", "1969-12-31"] {
            assert_eq!(UnixMillis::from_date(wrong), None, "{wrong}");
        }
        assert_eq!(UnixMillis(1_700_000_000_000).to_string(), "2023-11-14T22:13:20Z");
    }
}
