//! Text of a file, or a constant of the mapping, to the value of a slot.
//!
//! Every value made here fits its slot's shape; what does not is a [`RowCause`]. Characters that mislead readers
//! and terminals are refused wherever they stand.

use entente_protocol::record::Shape;
use entente_protocol::text::misleading;
use entente_protocol::value::Value;

use std::borrow::Cow;

use super::{Fill, Lookup, TextRule, date};
use crate::country;
use crate::ingest::table::{RowCause, excerpt};
use crate::ingest::{calibre, serial};

/// Whether a slot of this shape can be filled in this way.
pub(super) fn can_fill(shape: Shape, from: &Fill) -> bool {
    match from {
        Fill::Constant(_) => true,
        Fill::Point { .. } => shape == Shape::Point,
        Fill::Pairs { .. } => shape == Shape::Pairs,
        Fill::Map(_) => shape == Shape::TextMap,
        Fill::Listing { .. } => shape == Shape::Listings,
        Fill::Text(rule) => match shape {
            Shape::Name | Shape::LongText | Shape::Code(_) | Shape::Country | Shape::Edtf => true,
            Shape::Month | Shape::Year | Shape::Prefix => true,
            Shape::Uint | Shape::Bool | Shape::Texts | Shape::Serial => true,
            Shape::Pairs => rule.tag.is_some(),
            Shape::Quantity => rule.unit.is_some(),
            Shape::Money => rule.currency.is_some(),
            Shape::Marks => rule.mark.is_some(),
            _ => false,
        },
    }
}

/// A constant of a mapping, if it fits.
pub(super) fn constant(shape: Shape, value: &toml::Value) -> Option<Value> {
    let value = match (shape, value) {
        (Shape::Serial, toml::Value::String(text)) => serial::serial(text),
        (_, value) => plain(value)?,
    };
    shape.fits(&value).then_some(value)
}

fn plain(value: &toml::Value) -> Option<Value> {
    Some(match value {
        toml::Value::String(text) => Value::text(text.as_str()),
        toml::Value::Integer(number) => Value::Int(*number),
        toml::Value::Boolean(value) => Value::Bool(*value),
        toml::Value::Datetime(moment) => Value::Text(moment.to_string()),
        toml::Value::Float(_) => return None,
        toml::Value::Array(items) => Value::Array(items.iter().map(plain).collect::<Option<_>>()?),
        toml::Value::Table(table) => {
            let members = table.iter().map(|(key, value)| Some((key.clone(), plain(value)?)));
            text_keyed(members.collect::<Option<Vec<_>>>()?)
        }
    })
}

/// A map in canonical key order (RFC 8949, 4.2.1: shorter keys first).
pub(super) fn text_keyed(mut members: Vec<(String, Value)>) -> Value {
    members.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    Value::Map(members)
}

/// Refuses control characters, invisible ones and those that turn the reading order round.
pub(super) fn readable(text: &str) -> Result<(), RowCause> {
    misleading(text).map_or(Ok(()), |c| Err(RowCause::Control(u32::from(c))))
}

/// A text of several lines as the one line that a name is: lists wrap long names, and the breaks say nothing. Between
/// lines of a mark stands `|`, as people write marks down.
pub(super) fn one_line(shape: Shape, text: &str) -> Cow<'_, str> {
    if shape == Shape::LongText || !text.contains(['\n', '\t']) {
        return text.into();
    }
    let lines: Vec<&str> = text.split(['\n', '\t']).map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(if shape == Shape::Marks { "|" } else { " " }).into()
}

fn unreadable(text: &str, expected: impl Into<String>) -> RowCause {
    RowCause::Unreadable { text: excerpt(text), expected: expected.into() }
}

/// The value that the texts of a row make, or none where there is nothing. Texts are trimmed and not empty.
pub(super) fn from_texts(shape: Shape, rule: &TextRule, texts: &[&str]) -> Result<Option<Value>, RowCause> {
    let mut parts: Vec<&str> = Vec::with_capacity(texts.len());
    for text in texts {
        readable(text)?;
        match &rule.separator {
            None => parts.push(text),
            Some(separator) => {
                parts.extend(text.split(separator.as_str()).map(str::trim).filter(|part| !part.is_empty()))
            }
        }
    }
    let mut found: Vec<Cow<'_, str>> = Vec::with_capacity(parts.len());
    for part in parts {
        let part = one_line(shape, part);
        match look_up(&rule.lookup, &part)? {
            Some(text) => found.push(text),
            None if rule.lookup.is_empty() => found.push(part),
            None => {}
        }
    }
    if found.is_empty() {
        return Ok(None);
    }
    if matches!(shape, Shape::Texts | Shape::Pairs | Shape::Marks) {
        return list(shape, rule, &found).map(Some);
    }
    // The same thing said twice is one thing.
    found.dedup();
    let text = match (found.as_slice(), &rule.join) {
        ([one], _) => one.clone(),
        (many, Some(join)) => many.join(join).into(),
        _ if rule.skip_several => return Ok(None),
        (many, None) => return Err(RowCause::Several(many.len())),
    };
    single(shape, rule, &text).map(Some)
}

/// The first table that holds the text decides. Calibres are many and misspelt: an unknown one is no fault.
fn look_up<'t>(tables: &'t [Lookup], text: &str) -> Result<Option<Cow<'t, str>>, RowCause> {
    for table in tables {
        let found = match table {
            Lookup::Country => country::country(text),
            Lookup::Calibre => calibre::calibre(text),
            Lookup::Own { table, .. } => table.get(&text.to_lowercase()).or_else(|| table.get("*")).map(String::as_str),
        };
        if let Some(found) = found {
            return Ok(Some(found).filter(|found| !found.is_empty()).map(Into::into));
        }
    }
    let table = match tables.last() {
        None | Some(Lookup::Calibre) => return Ok(None),
        Some(Lookup::Country) => "country",
        Some(Lookup::Own { name, .. }) => name,
    };
    Err(RowCause::NotInTable { text: excerpt(text), table: table.to_owned() })
}

fn list(shape: Shape, rule: &TextRule, found: &[Cow<'_, str>]) -> Result<Value, RowCause> {
    let items = found.iter().map(|text| match (shape, &rule.tag, &rule.mark) {
        (Shape::Pairs, Some(tag), _) => Value::Array(vec![Value::text(tag.as_str()), Value::text(text.as_ref())]),
        (Shape::Marks, _, Some(mark)) => Value::map([
            ("mkind", Value::text(mark.as_str())),
            ("raw", Value::text(text.as_ref())),
            ("state", Value::text("legible")),
        ]),
        _ => Value::text(text.as_ref()),
    });
    fitting(shape, Value::Array(items.collect()), || found.first().map(|text| text.to_string()).unwrap_or_default())
}

fn single(shape: Shape, rule: &TextRule, text: &str) -> Result<Value, RowCause> {
    let value = match shape {
        Shape::Edtf | Shape::Month | Shape::Year => Value::Text(date::edtf(text, &rule.parse).ok_or_else(|| {
            let as_what = if rule.parse.is_empty() { "EDTF or ISO 8601".to_owned() } else { rule.parse.join(" or ") };
            unreadable(text, format!("a date as {as_what}"))
        })?),
        Shape::Uint => {
            Value::Int(whole(&pointed(text, rule.decimal)?).ok_or_else(|| unreadable(text, "a whole number"))?)
        }
        Shape::Bool => Value::Bool(match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "y" | "1" => true,
            "false" | "no" | "n" | "0" => false,
            _ => return Err(unreadable(text, "yes or no")),
        }),
        Shape::Serial => serial::serial(text),
        Shape::Quantity => {
            let n = whole(&pointed(text, rule.decimal)?).ok_or_else(|| unreadable(text, "a whole number"))?;
            let unit = rule.unit.as_deref().unwrap_or_default();
            let mut members = vec![("n", Value::Int(n)), ("unit", Value::text(unit))];
            if rule.estimate {
                members.push(("est", Value::Bool(true)));
            }
            Value::map(members)
        }
        Shape::Money => {
            let minor =
                hundredths(&pointed(text, rule.decimal)?).ok_or_else(|| unreadable(text, "a sum such as 1200.50"))?;
            let currency = rule.currency.as_deref().unwrap_or_default();
            Value::Array(vec![Value::Int(minor), Value::text(currency)])
        }
        _ => Value::text(text),
    };
    fitting(shape, value, || text.to_owned())
}

/// The value, if it fits its slot.
pub(super) fn fitting(shape: Shape, value: Value, text: impl FnOnce() -> String) -> Result<Value, RowCause> {
    if shape.fits(&value) { Ok(value) } else { Err(unreadable(&text(), shape.expected())) }
}

/// A coordinate in decimal degrees as 1e-7 degree; further digits are dropped.
pub(super) fn degrees(text: &str, most: i64) -> Result<i64, RowCause> {
    // No coordinate has thousands: a comma in one is a decimal comma.
    let value = decimal(&text.replacen(',', ".", 1), 7, false).filter(|value| (-most..=most).contains(value));
    value.ok_or_else(|| unreadable(text, "a coordinate in decimal degrees, such as -12.3456"))
}

/// A number as it is read here, with a decimal point and no marks between thousands.
///
/// Half the world writes `1.200,50` for what the other half writes as `1,200.50`. Where only one of the two can be meant,
/// it is taken; `1,200` and `1.200` could be either, and nobody here guesses at a number in evidence: a mapping says which
/// mark a file keeps to.
fn pointed(text: &str, decimal: Option<char>) -> Result<Cow<'_, str>, RowCause> {
    let sign = text.len() - text.trim_start_matches(['-', '+']).len();
    let (sign, digits) = text.split_at_checked(sign).unwrap_or(("", text));
    let grouped = |whole: &str, mark: char| {
        let mut groups = whole.split(mark);
        groups.next().is_some_and(|first| (1..=3).contains(&first.len())) && groups.all(|group| group.len() == 3)
    };
    if let Some(mark) = decimal {
        let thousands = if mark == '.' { ',' } else { '.' };
        let (before, after) = digits.split_once(mark).unwrap_or((digits, ""));
        if (before.contains(thousands) && !grouped(before, thousands)) || after.contains([',', '.']) {
            return Err(unreadable(text, format!("a number with `{mark}` before its decimals")));
        }
        let point = if after.is_empty() { "" } else { "." };
        return Ok(format!("{sign}{}{point}{after}", before.replace(thousands, "")).into());
    }
    let (commas, points) = (digits.matches(',').count(), digits.matches('.').count());
    let plain = match (commas, points) {
        (1, 0) | (0, 1) => {
            let (before, after) = digits.split_once([',', '.']).unwrap_or((digits, ""));
            if after.len() == 3 && (1..=3).contains(&before.len()) && !before.starts_with('0') {
                let (mark, other) = if commas == 1 { (',', '.') } else { ('.', ',') };
                let both = format!(
                    "a number that means one thing: write {before}{after} or {before}.{after}0; or say in the mapping \
                     `decimal = \"{other}\"` for {before}{after}, `decimal = \"{mark}\"` for {before}.{after}"
                );
                return Err(unreadable(text, both));
            }
            format!("{before}.{after}")
        }
        (0, _) => return Ok(text.into()),
        (_, 0) if grouped(digits, ',') => digits.replace(',', ""),
        _ => match (digits.rsplit_once('.'), digits.rsplit_once(',')) {
            (Some((whole, part)), _) if points == 1 && !part.contains(',') && grouped(whole, ',') => {
                format!("{}.{part}", whole.replace(',', ""))
            }
            (_, Some((whole, part))) if commas == 1 && !part.contains('.') && grouped(whole, '.') => {
                format!("{}.{part}", whole.replace('.', ""))
            }
            _ => return Err(unreadable(text, "a number such as 1200.50")),
        },
    };
    Ok(format!("{sign}{plain}").into())
}

/// A sum in hundredths, rounded half away from zero: lists carry sums converted from other currencies.
fn hundredths(text: &str) -> Option<i64> {
    let thousandths = decimal(text, 3, false)?;
    thousandths.checked_add(if thousandths < 0 { -5 } else { 5 }).map(|sum| sum / 10)
}

/// A whole number, also where a tool wrote it as `7.0`.
fn whole(text: &str) -> Option<i64> {
    decimal(text, 0, true)
}

/// A decimal number in units of 10^-`places`. Digits beyond are dropped, or if `exact` must be zeros.
fn decimal(text: &str, places: usize, exact: bool) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (before, after) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = before.bytes().chain(after.bytes()).all(|byte| byte.is_ascii_digit());
    if before.is_empty() || !all_digits || after.len() > 32 {
        return None;
    }
    let (kept, dropped) = after.split_at_checked(places).unwrap_or((after, ""));
    if exact && dropped.bytes().any(|byte| byte != b'0') {
        return None;
    }
    let units = format!("{before}{kept:0<places$}").parse::<i64>().ok()?;
    Some(if negative { -units } else { units })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        for (text, places, exact, value) in [
            ("12.3456", 7, false, Some(123_456_000)),
            ("-0.00000019", 7, false, Some(-1)),
            ("26.486881", 7, false, Some(264_868_810)),
            ("30000.0", 0, true, Some(30_000)),
            ("7.5", 0, true, None),
            ("1200000.5", 2, true, Some(120_000_050)),
            ("1,5", 2, true, None),
            ("", 0, true, None),
            (".5", 2, true, None),
            ("99999999999999999999", 0, true, None),
        ] {
            assert_eq!(decimal(text, places, exact), value, "{text}");
        }
        assert_eq!(
            (hundredths("45641.496"), hundredths("-0.005"), hundredths("7")),
            (Some(4_564_150), Some(-1), Some(700))
        );
        assert!(degrees("90.0000001", 900_000_000).is_err());
    }

    #[test]
    fn a_mark_is_taken_where_it_means_one_thing() {
        for (text, means) in [
            ("7", Some("7")),
            ("-7,5", Some("-7.5")),
            ("1200,50", Some("1200.50")),
            ("1200,500", Some("1200.500")),
            ("0,125", Some("0.125")),
            ("7,0", Some("7.0")),
            ("1,234,567", Some("1234567")),
            ("1.200,50", Some("1200.50")),
            ("1,200.50", Some("1200.50")),
            ("-1.234.567,5", Some("-1234567.5")),
            ("7.5", Some("7.5")),
            ("-1200.500", Some("-1200.500")),
            ("0.125", Some("0.125")),
            ("1.2000", Some("1.2000")),
            ("1.20", Some("1.20")),
            ("1,200", None),
            ("1.200", None),
            ("-13.450", None),
            ("+100.000", None),
            ("12,34,56", None),
            ("1,2.3,4", None),
            ("1.20,5", None),
        ] {
            assert_eq!(pointed(text, None).ok().as_deref(), means, "{text}");
        }
        for both in ["1,200", "1.200"] {
            let says = pointed(both, None).err().map(|cause| cause.to_string()).unwrap_or_default();
            assert!(says.contains("write 1200 or 1.2000"), "{says}");
        }
        for (text, point, comma) in [
            ("641.496", Some("641.496"), Some("641496")),
            ("641,496", Some("641496"), Some("641.496")),
            ("1.200,5", None, Some("1200.5")),
            ("-1,200.5", Some("-1200.5"), None),
            ("7", Some("7"), Some("7")),
            ("12,34", None, Some("12.34")),
        ] {
            let read = |mark| pointed(text, Some(mark)).ok().map(Cow::into_owned);
            assert_eq!((read('.').as_deref(), read(',').as_deref()), (point, comma), "{text}");
        }
        // As they come out of a file: a count and a sum.
        let rule = TextRule {
            take: super::super::Take::Columns(Vec::new()),
            join: None,
            separator: None,
            lookup: Vec::new(),
            skip_several: false,
            parse: Vec::new(),
            tag: None,
            unit: Some("piece".to_owned()),
            estimate: false,
            currency: Some("EUR".to_owned()),
            decimal: None,
            mark: None,
        };
        for (text, count, sum) in [
            ("1.200", false, false),
            ("1,200", false, false),
            ("1.200,50", false, true),
            ("1.2000", false, true),
            ("1200", true, true),
            ("1200.000", true, true),
            ("0.125", false, true),
        ] {
            let reads = |shape| single(shape, &rule, text).is_ok();
            assert_eq!(
                (reads(Shape::Uint), reads(Shape::Quantity), reads(Shape::Money)),
                (count, count, sum),
                "{text}"
            );
        }
        // A point in a coordinate is a decimal point.
        assert_eq!(degrees("13.450", 900_000_000), Ok(134_500_000));
        assert_eq!(degrees("-100.125", 1_800_000_000), Ok(-1_001_250_000));
        assert_eq!(degrees("13,4512", 900_000_000), Ok(134_512_000));
        assert_eq!(degrees("-0,451", 900_000_000), Ok(-4_510_000));
        for not in ["13,45,12", "1.3,4", ","] {
            assert!(degrees(not, 900_000_000).is_err(), "{not}");
        }
    }

    #[test]
    fn misleading_characters_are_refused() {
        assert_eq!(readable("a\u{202e}b"), Err(RowCause::Control(0x202e)));
        assert_eq!(readable("a\u{1b}[2J"), Err(RowCause::Control(0x1b)));
        assert_eq!(readable("two\nlines\tof \u{627}"), Ok(()));
    }
}
