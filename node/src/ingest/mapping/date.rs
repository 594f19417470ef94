//! Dates as people write them, to EDTF (ISO 8601-2).
//!
//! Without a pattern a cell must hold EDTF, or an ISO date with a time behind it. A pattern is literal text with
//! `%Y` (four digits), `%m` and `%d` (one or two), `%b` (an English month name), and `%*` at its end for anything.
//! Two-digit years are not read: the century would be a guess.

use entente_protocol::record::ladder::Edtf;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// Whether a pattern uses only what is known here, and names a year.
pub(super) fn is_pattern(pattern: &str) -> bool {
    let mut rest = pattern;
    while let Some((_, after)) = rest.split_once('%') {
        if !after.starts_with(['Y', 'm', 'd', 'b', '*']) {
            return false;
        }
        rest = after;
    }
    pattern.contains("%Y")
}

/// The date that the first fitting pattern reads.
pub(super) fn edtf(text: &str, patterns: &[String]) -> Option<String> {
    if patterns.is_empty() {
        let day = text.get(..10).filter(|_| text.get(10..11).is_some_and(|next| next == "T" || next == " "));
        let date = day.unwrap_or(text);
        return Edtf::parse(date).map(|_| date.to_owned());
    }
    let found = patterns.iter().find_map(|pattern| by_pattern(text, pattern));
    found.filter(|date| Edtf::parse(date).is_some())
}

fn by_pattern(text: &str, pattern: &str) -> Option<String> {
    let (mut year, mut month, mut day) = (None, None, None);
    let mut rest = text;
    let mut steps = pattern.chars();
    while let Some(step) = steps.next() {
        if step != '%' {
            rest = rest.strip_prefix(step)?;
            continue;
        }
        match steps.next()? {
            'Y' => year = Some(number(&mut rest, 4, 4)?),
            'm' => month = Some(number(&mut rest, 1, 2)?),
            'd' => day = Some(number(&mut rest, 1, 2)?),
            'b' => {
                let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
                let (name, tail) = rest.split_at_checked(end)?;
                let short = name.get(..3)?.to_ascii_lowercase();
                month = Some(u32::try_from(MONTHS.iter().position(|known| *known == short)?).ok()? + 1);
                rest = tail;
            }
            '*' => rest = "",
            _ => return None,
        }
    }
    if !rest.is_empty() {
        return None;
    }
    Some(match (year?, month, day) {
        (year, Some(month), Some(day)) => format!("{year:04}-{month:02}-{day:02}"),
        (year, Some(month), None) => format!("{year:04}-{month:02}"),
        (year, None, _) => format!("{year:04}"),
    })
}

fn number(rest: &mut &str, least: usize, most: usize) -> Option<u32> {
    let digits = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let (text, tail) = rest.split_at_checked(digits)?;
    *rest = tail;
    if digits < least { None } else { text.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_read_dates_and_nothing_else() {
        for (text, pattern, date) in [
            ("2024-03-05", "", Some("2024-03-05")),
            ("2024-03-05T10:00:00", "", Some("2024-03-05")),
            ("2024~", "", Some("2024~")),
            ("05/03/2024", "", None),
            ("5/3/2024", "%d/%m/%Y", Some("2024-03-05")),
            ("31/02/2024", "%d/%m/%Y", None),
            ("5/3/24", "%d/%m/%Y", None),
            ("5 March 2024", "%d %b %Y", Some("2024-03-05")),
            ("Sept 2024", "%b %Y", Some("2024-09")),
            ("2024", "%Y", Some("2024")),
            ("20245", "%Y", None),
            ("2024-03-05 10:11", "%Y-%m-%d %*", Some("2024-03-05")),
        ] {
            let patterns: Vec<String> = if pattern.is_empty() { vec![] } else { vec![pattern.to_owned()] };
            assert_eq!(edtf(text, &patterns).as_deref(), date, "{text} as {pattern}");
        }
        assert!(is_pattern("%d.%m.%Y") && !is_pattern("%d.%m.%y") && !is_pattern("%d"));
    }
}
