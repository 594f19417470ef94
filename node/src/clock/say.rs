//! The clock for people: what it shows, what is known about it, and lowering what it once showed.
//!
//! `call` calls it for `entente clock`, `status` for its warning. Whether a time decides is said by `mark` alone.

use super::mark::MarkError;
use crate::{error::Fault, node::Node};
use entente_protocol::time::UnixMillis;
use serde_json::{Value as Json, json};

impl From<MarkError> for Fault {
    fn from(error: MarkError) -> Self {
        match &error {
            MarkError::Store(_) | MarkError::Damage(_) => Self::store(error),
            MarkError::Confirmed { .. } | MarkError::NotLower { .. } => Self::input("clock", error),
        }
    }
}

/// A time as people type it: `now` is no time yet, a day is its start in UTC, and RFC 3339 with `Z` is exact to the second.
pub fn parse(text: &str) -> Option<UnixMillis> {
    let Some((day, clock)) = text.split_once('T') else { return UnixMillis::from_date(text) };
    let clock = clock.strip_suffix('Z')?;
    let mut parts = clock.splitn(3, ':');
    let mut part = |below: u64| {
        let text = parts.next()?;
        let number = text.parse::<u64>().ok()?;
        (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit()) && number < below).then_some(number)
    };
    let (hours, minutes, seconds) = (part(24)?, part(60)?, part(60)?);
    Some(UnixMillis::from_date(day)?.plus(((hours * 60 + minutes) * 60 + seconds) * 1_000))
}

/// What is known about the time, and what to do where nothing can be decided.
pub fn view(node: &Node) -> Json {
    let interval = node.interval();
    let confirmed = node.marks.confirmed(|org| node.counts(org));
    let fault = interval.fault();
    json!({
        "now": interval.early.to_string(),
        "not_later_than": interval.late.to_string(),
        "latest_shown_here": node.marks.seen().to_string(),
        "latest_confirmed": confirmed.map(|c| c.at.to_string()),
        "confirmed_by": confirmed.map(|c| node.handle_of(c.partner)),
        "decides": fault.is_none(),
        "code": fault.map(|reason| reason.code()),
        "to_do": trouble(node),
    })
}

/// What is wrong with the clock and what to do about it, if something is.
pub fn trouble(node: &Node) -> Option<String> {
    let interval = node.interval();
    interval.fault()?;
    let now = interval.early;
    if interval.confirmed {
        let confirmed = node.marks.confirmed(|org| node.counts(org))?;
        let (at, by) = (confirmed.at, node.handle_of(confirmed.partner));
        return Some(format!(
            "this machine's clock shows {now}, and `{by}` has signed {at}: nothing is released or taken until the clock is mended"
        ));
    }
    let seen = node.marks.seen();
    Some(format!(
        "this machine's clock shows {now}, and it once showed {seen}: one of the two is wrong, and nothing is released or \
         taken until it is known which. If {now} is right, say so: `entente clock lower --to now`; else mend the clock"
    ))
}

/// Lowers the latest time that our own clock has shown; `to` is now where it is absent.
pub fn lower(node: &Node, to: Option<UnixMillis>) -> Result<Json, Fault> {
    let to = to.unwrap_or_else(|| node.clock.now());
    let mut txn = node.holdings.begin();
    let before = node.marks.lower(&mut txn, to, |org| node.counts(org))?;
    let user = node.keys.user.public().id();
    let about = [("from", before.to_string()), ("to", to.to_string()), ("user", user.to_string())];
    node.journal(&mut txn, "clock-lower", &about)?;
    txn.commit()?;
    node.wake();
    Ok(view(node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_printed() {
        let day = UnixMillis::from_date("2026-11-28").unwrap();
        assert_eq!(parse("2026-11-28"), Some(day));
        assert_eq!(parse("2026-11-28T15:04:05Z"), Some(day.plus(((15 * 60 + 4) * 60 + 5) * 1_000)));
        let printed = day.plus(86_399_000).to_string();
        assert_eq!(parse(&printed).map(|t| t.to_string()), Some(printed));
        for wrong in ["", "now", "2026-11-31", "2026-11-28T15:04:05", "2026-11-28T24:00:00Z", "2026-11-28T1:02:03Z"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
