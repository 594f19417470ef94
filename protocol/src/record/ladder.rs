//! Ladders of precision: how a coarser rung follows from a finer one (SPEC, ladders).
//!
//! Called at commit, to compute rungs, and at verification, to check any two that are seen.

use super::kind::Rule;
use crate::value::Value;

/// Side of a cell in 1e-7 degree: 0.1 degree.
pub const CELL: i64 = 1_000_000;

/// A date of the world: the part of EDTF level 1 (ISO 8601-2) that evidence needs.
///
/// `YYYY`, `YYYY-MM`, `YYYY-MM-DD` with `X` for unknown digits, a season (21 to 24) in the month's
/// place, `?`, `~` or `%` at the end, or two of them (or `..`) with `/` between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edtf {
    start: Option<Moment>,
    end: Option<Moment>,
    interval: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    year: Option<u16>,
    month: Option<u8>,
    day: Option<u8>,
}

fn digits(text: &str, len: usize) -> Option<Option<u16>> {
    if text.len() != len || !text.bytes().all(|b| b.is_ascii_digit() || b == b'X') {
        return None;
    }
    // An X may be followed only by X: 201X and 20XX, not 2X14.
    let known = text.trim_end_matches('X');
    if known.contains('X') {
        return None;
    }
    Some(if known.len() == len { known.parse().ok() } else { None })
}

fn month_length(year: u16, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

impl Moment {
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix(['?', '~', '%']).unwrap_or(text);
        let mut parts = text.split('-');
        let year = digits(parts.next()?, 4)?;
        let mut moment = Self { year, month: None, day: None };
        let Some(month) = parts.next() else { return Some(moment) };
        match digits(month, 2)? {
            Some(m @ 1..=12) if year.is_some() => moment.month = u8::try_from(m).ok(),
            Some(21..=24) | None => {}
            Some(_) => return None,
        }
        let Some(day) = parts.next() else { return Some(moment) };
        if parts.next().is_some() || month.starts_with('2') {
            return None;
        }
        if let Some(d) = digits(day, 2)? {
            let d = u8::try_from(d).ok()?;
            let most = match (moment.year, moment.month) {
                (Some(y), Some(m)) => month_length(y, m),
                _ => 31,
            };
            if d == 0 || d > most {
                return None;
            }
            moment.day = moment.month.map(|_| d);
        }
        Some(moment)
    }
}

impl Edtf {
    /// Reads a date.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > 64 {
            return None;
        }
        let end = |part: &str| if part == ".." { Some(None) } else { Moment::parse(part).map(Some) };
        match text.split_once('/') {
            None => Moment::parse(text).map(|m| Self { start: Some(m), end: Some(m), interval: false }),
            Some((a, b)) => {
                let (start, end) = (end(a)?, end(b)?);
                (start.is_some() || end.is_some()).then_some(Self { start, end, interval: true })
            }
        }
    }
    /// `YYYY` if it lies within one known year.
    pub fn year(&self) -> Option<String> {
        let (start, end) = (self.start?, self.end?);
        (start.year == end.year).then_some(())?;
        Some(format!("{:04}", start.year?))
    }
    /// `YYYY-MM` if it lies within one known month.
    pub fn month(&self) -> Option<String> {
        let (start, end) = (self.start?, self.end?);
        (start.year == end.year && start.month == end.month).then_some(())?;
        Some(format!("{:04}-{:02}", start.year?, start.month?))
    }
    /// First and last possible day as `(year, month, day)` numbers `YYYYMMDD`, open ends as 0 and 99991231.
    pub fn span(&self) -> (u32, u32) {
        let at = |m: Moment, low: bool| {
            let year = u32::from(m.year.unwrap_or(if low { 0 } else { 9999 }));
            let month = u32::from(m.month.unwrap_or(if low { 1 } else { 12 }));
            let day = u32::from(m.day.unwrap_or(if low { 1 } else { 31 }));
            year * 10_000 + month * 100 + day
        };
        (self.start.map_or(0, |m| at(m, true)), self.end.map_or(99_991_231, |m| at(m, false)))
    }
    /// Whether it is an interval.
    pub fn is_interval(&self) -> bool {
        self.interval
    }
}

impl Rule {
    /// The coarser value that follows from a finer one; `None` where the finer says too little.
    pub fn apply(self, finer: &Value) -> Option<Value> {
        match self {
            Self::Cell => {
                let [lon, lat] = finer.member("geo")?.as_array()? else { return None };
                let corner = |v: &Value| Some(Value::Int(v.as_int()?.div_euclid(CELL).checked_mul(CELL)?));
                Some(Value::Array(vec![corner(lon)?, corner(lat)?]))
            }
            Self::Month => Edtf::parse(finer.as_text()?)?.month().map(Value::Text),
            Self::Year => Edtf::parse(finer.as_text()?)?.year().map(Value::Text),
            Self::SerialPrefix => {
                let serial = finer.member("s1")?.as_text()?;
                let prefix = serial.trim_end_matches(|c: char| c.is_ascii_digit());
                (!prefix.is_empty() && prefix.len() < serial.len()).then(|| Value::text(prefix))
            }
            Self::SerialState => finer.member("state").cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_the_world() {
        for (text, month, year) in [
            ("2024-03-15", Some("2024-03"), Some("2024")),
            ("2024-03", Some("2024-03"), Some("2024")),
            ("2024~", None, Some("2024")),
            ("201X", None, None),
            ("2004-XX", None, Some("2004")),
            ("2004-07-XX", Some("2004-07"), Some("2004")),
            ("2014-06/2014-09", None, Some("2014")),
            ("1985-04/..", None, None),
            ("2004-22", None, Some("2004")),
            ("2024-02-29?", Some("2024-02"), Some("2024")),
        ] {
            let edtf = Edtf::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((edtf.month().as_deref(), edtf.year().as_deref()), (month, year), "{text}");
        }
        for wrong in [
            "",
            "24",
            "2023-02-29",
            "2023-13",
            "2024-3-1",
            "2X14",
            "2024-03-15T10:00",
            "../..",
            "2024-22-01",
            "1.5.2024",
        ] {
            assert_eq!(Edtf::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Edtf::parse("2024-02").map(|e| e.span()), Some((20_240_201, 20_240_231)));
    }

    #[test]
    fn cells_have_south_west_corners() {
        let point = |lon, lat| {
            Value::map([("geo", Value::Array(vec![Value::Int(lon), Value::Int(lat)])), ("prec", Value::Int(1))])
        };
        let cell = |lon, lat| Some(Value::Array(vec![Value::Int(lon), Value::Int(lat)]));
        assert_eq!(Rule::Cell.apply(&point(185_581_234, 43_712_345)), cell(185_000_000, 43_000_000));
        assert_eq!(Rule::Cell.apply(&point(-1, -1)), cell(-1_000_000, -1_000_000));
    }

    #[test]
    fn prefixes_of_serials() {
        let serial =
            |s1: &str| Value::map([("s1", Value::text(s1)), ("state", Value::text("ok")), ("norm", Value::Int(1))]);
        assert_eq!(Rule::SerialPrefix.apply(&serial("TKO34908")), Some(Value::text("TKO")));
        assert_eq!(Rule::SerialPrefix.apply(&serial("382")), None);
        assert_eq!(Rule::SerialPrefix.apply(&serial("ABC")), None);
        assert_eq!(Rule::SerialState.apply(&serial("X1")), Some(Value::text("ok")));
    }
}
