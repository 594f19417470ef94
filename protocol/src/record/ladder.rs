//! Dates of the world and ladders of precision: how a coarser rung follows from a finer one (SPEC, ladders).
//!
//! Called at commit, to compute rungs, and at verification, to check any two that are seen.

use super::kind::Rule;
use crate::value::Value;

/// Side of a cell in 1e-7 degree: 0.1 degree.
pub const CELL: i64 = 1_000_000;
/// The largest radius that a point may state and still have a cell: about half a cell's side.
pub const CELL_RADIUS_M_MAX: i64 = 5_000;

/// A date of the world: level 1 of EDTF (ISO 8601-2), without negative and long years. SPEC has the grammar.
///
/// `YYYY`, `YYYY-MM`, `YYYY-MM-DD`; `XX` for a month or day that is not known, one or two `X` at the end of a year
/// that stands alone; a season (21 to 24) in the month's place; `?`, `~` or `%` at the end; or two of them (or `..`)
/// with `/` between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edtf {
    start: Option<Moment>,
    end: Option<Moment>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    /// First and last possible year.
    years: (u16, u16),
    month: Option<u8>,
    day: Option<u8>,
    uncertain: bool,
    approximate: bool,
}

fn number(text: &str, len: usize) -> Option<u16> {
    (text.len() == len && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// A year that may end in one or two `X`.
fn years(text: &str) -> Option<(u16, u16)> {
    let known = text.trim_end_matches('X');
    let unknown = text.len().checked_sub(known.len()).filter(|n| *n <= 2 && text.len() == 4)?;
    let first = number(known, known.len())? * [1, 10, 100].get(unknown)?;
    Some((first, first + [0, 9, 99].get(unknown)?))
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
        let (text, uncertain, approximate) = match text.strip_suffix(['?', '~', '%']) {
            None => (text, false, false),
            Some(rest) => (rest, !text.ends_with('~'), !text.ends_with('?')),
        };
        let mut parts = text.split('-');
        let mut moment = Self { years: years(parts.next()?)?, month: None, day: None, uncertain, approximate };
        let Some(month) = parts.next() else { return Some(moment) };
        // A month needs a year that is known.
        let year = moment.year()?;
        let day = parts.next();
        if parts.next().is_some() {
            return None;
        }
        match (month, day) {
            ("XX", None | Some("XX")) => {}
            ("XX", Some(_)) => return None,
            _ => {
                let m = u8::try_from(number(month, 2)?).ok()?;
                match (m, day) {
                    (1..=12, None | Some("XX")) => moment.month = Some(m),
                    (1..=12, Some(day)) => {
                        let d = u8::try_from(number(day, 2)?).ok()?;
                        (1..=month_length(year, m)).contains(&d).then_some(())?;
                        (moment.month, moment.day) = (Some(m), Some(d));
                    }
                    (21..=24, None) => {}
                    _ => return None,
                }
            }
        }
        Some(moment)
    }

    fn year(self) -> Option<u16> {
        (self.years.0 == self.years.1).then_some(self.years.0)
    }

    /// First or last possible day. A season may be any day of its year: it differs between the hemispheres.
    fn bound(self, last: bool) -> u32 {
        let (year, month) =
            if last { (self.years.1, self.month.unwrap_or(12)) } else { (self.years.0, self.month.unwrap_or(1)) };
        let day = self.day.unwrap_or(if last { month_length(year, month) } else { 1 });
        u32::from(year) * 10_000 + u32::from(month) * 100 + u32::from(day)
    }
}

impl Edtf {
    /// Reads a date.
    pub fn parse(text: &str) -> Option<Self> {
        let Some((start, end)) = text.split_once('/') else {
            return Moment::parse(text).map(|m| Self { start: Some(m), end: Some(m) });
        };
        let end_of = |part: &str| if part == ".." { Some(None) } else { Moment::parse(part).map(Some) };
        let edtf = Self { start: end_of(start)?, end: end_of(end)? };
        let (first, last) = edtf.span();
        ((edtf.start.is_some() || edtf.end.is_some()) && first <= last).then_some(edtf)
    }

    /// `YYYY` if it lies within one known year, with what it says of its own certainty.
    pub fn year(&self) -> Option<String> {
        let (start, end) = (self.start?, self.end?);
        (start.year()? == end.year()?).then(|| format!("{:04}{}", start.years.0, self.qualifier()))
    }

    /// `YYYY-MM` if it lies within one known month, with what it says of its own certainty.
    pub fn month(&self) -> Option<String> {
        let (start, end) = (self.start?, self.end?);
        let year = start.year().filter(|year| end.year() == Some(*year))?;
        (start.month? == end.month?).then_some(())?;
        Some(format!("{year:04}-{:02}{}", start.month?, self.qualifier()))
    }

    /// Of an interval, what either end says: a coarser date is no surer than what it follows from.
    fn qualifier(&self) -> &'static str {
        let any = |of: fn(&Moment) -> bool| self.start.iter().chain(&self.end).any(of);
        match (any(|m| m.uncertain), any(|m| m.approximate)) {
            (false, false) => "",
            (true, false) => "?",
            (false, true) => "~",
            (true, true) => "%",
        }
    }

    /// First and last possible day as numbers `YYYYMMDD`, open ends as 0 and 99991231.
    pub fn span(&self) -> (u32, u32) {
        (self.start.map_or(0, |m| m.bound(false)), self.end.map_or(99_991_231, |m| m.bound(true)))
    }
}

impl Rule {
    /// The coarser value that follows from a finer one; `None` where the finer says too little.
    pub fn apply(self, finer: &Value) -> Option<Value> {
        match self {
            Self::Cell => {
                let [lon, lat] = finer.member("geo")?.as_array()? else { return None };
                let exact = finer.member("prec")?.as_int()? == 1;
                let radius = finer.member("radius-m").map_or(Some(0), Value::as_int)?;
                (exact && radius <= CELL_RADIUS_M_MAX).then_some(())?;
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

/// Whether a text is a month as [`Rule::Month`] gives it, so that a month's slot holds no day.
pub(super) fn is_month(text: &str) -> bool {
    Edtf::parse(text).and_then(|edtf| edtf.month()).is_some_and(|month| month == text)
}

/// Whether a text is a year as [`Rule::Year`] gives it, so that a year's slot holds no month.
pub(super) fn is_year(text: &str) -> bool {
    Edtf::parse(text).and_then(|edtf| edtf.year()).is_some_and(|year| year == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_the_world() {
        for (text, month, year) in [
            ("2024-03-15", Some("2024-03"), Some("2024")),
            ("2024-03", Some("2024-03"), Some("2024")),
            ("2024~", None, Some("2024~")),
            ("201X", None, None),
            ("20XX?", None, None),
            ("2004-XX", None, Some("2004")),
            ("2004-XX-XX", None, Some("2004")),
            ("2004-07-XX", Some("2004-07"), Some("2004")),
            ("2014-06/2014-09", None, Some("2014")),
            ("2014-06-01/2014-06-09", Some("2014-06"), Some("2014")),
            ("2014-06-01?/2014-06-09~", Some("2014-06%"), Some("2014%")),
            ("1985-04/..", None, None),
            ("../1985-04", None, None),
            ("2004/2004-03", None, Some("2004")),
            ("201X/2014", None, None),
            ("2004-22", None, Some("2004")),
            ("2024-02-29?", Some("2024-02?"), Some("2024?")),
            ("2024-02-29~", Some("2024-02~"), Some("2024~")),
            ("2024-02-29%", Some("2024-02%"), Some("2024%")),
        ] {
            let edtf = Edtf::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((edtf.month().as_deref(), edtf.year().as_deref()), (month, year), "{text}");
        }
        for wrong in [
            "",
            "24",
            "2023-02-29",
            "2023-13",
            "2023-00",
            "2023-01-00",
            "2024-3-1",
            "2X14",
            "2XXX",
            "XXXX",
            "2024-03-15T10:00",
            "../..",
            "/2024",
            "2024/",
            "2024-22-01",
            "2024-22-XX",
            "2024-25",
            "1.5.2024",
            "2004-1X",
            "2004-9X",
            "2004-X1",
            "2004-07-9X",
            "2004-07-1X",
            "2004-XX-15",
            "201X-22",
            "201X-05",
            "201X-XX",
            "2014-09/2014-06",
            "2015/2014",
            "2024??",
            "+2024",
            "-2024",
            "2024-03-15/2024-03-20/2024-03-21",
            "２０２４",
        ] {
            assert_eq!(Edtf::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn spans_are_days() {
        for (text, span) in [
            ("2024-02", (20_240_201, 20_240_229)),
            ("2023-XX", (20_230_101, 20_231_231)),
            ("2023-21", (20_230_101, 20_231_231)),
            ("201X", (20_100_101, 20_191_231)),
            ("20XX", (20_000_101, 20_991_231)),
            ("2004-05/2004-06", (20_040_501, 20_040_630)),
            ("../2004-06-07", (0, 20_040_607)),
            ("2004-06-07/..", (20_040_607, 99_991_231)),
        ] {
            assert_eq!(Edtf::parse(text).map(|e| e.span()), Some(span), "{text}");
        }
    }

    #[test]
    fn coarse_slots_hold_nothing_finer() {
        for text in ["2024-03", "2024-03?", "2024-03%"] {
            assert!(is_month(text) && !is_year(text), "{text}");
        }
        for text in ["2024", "2024~"] {
            assert!(is_year(text) && !is_month(text), "{text}");
        }
        for text in ["2024-03-15", "2024-03-XX", "2024-XX", "2024-21", "201X", "2024/2024", "2024-03/2024-03", ""] {
            assert!(!is_year(text) && !is_month(text), "{text}");
        }
    }

    fn point(lon: i64, lat: i64, prec: i64, radius: Option<i64>) -> Value {
        let geo = ("geo", Value::Array(vec![Value::Int(lon), Value::Int(lat)]));
        let radius = radius.map(|m| ("radius-m", Value::Int(m)));
        Value::map([geo, ("prec", Value::Int(prec))].into_iter().chain(radius))
    }

    #[test]
    fn cells_have_south_west_corners() {
        let cell = |lon, lat| Some(Value::Array(vec![Value::Int(lon), Value::Int(lat)]));
        assert_eq!(Rule::Cell.apply(&point(185_581_234, 43_712_345, 1, None)), cell(185_000_000, 43_000_000));
        assert_eq!(Rule::Cell.apply(&point(-1, -1, 1, Some(CELL_RADIUS_M_MAX))), cell(-1_000_000, -1_000_000));
    }

    #[test]
    fn a_point_coarser_than_a_cell_has_none() {
        assert_eq!(Rule::Cell.apply(&point(1, 1, 2, None)), None);
        assert_eq!(Rule::Cell.apply(&point(1, 1, 6, Some(10))), None);
        assert_eq!(Rule::Cell.apply(&point(1, 1, 1, Some(CELL_RADIUS_M_MAX + 1))), None);
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
