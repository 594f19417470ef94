//! Serial numbers as they are written into the `serial` slot: raw text, state, and keys S1 to S3 (norm 1).
//!
//! The mapping calls [`serial`]. The raw text is kept for ever and never overwritten; keys are derived from it, and
//! only where the whole serial was read: a partial, unknown, absent or obliterated one has none. Confusions that
//! would join different weapons (B and 8, S and 5) are not folded here; a local query expands them.

use entente_protocol::value::Value;
use unicode_normalization::UnicodeNormalization as _;

/// Version of the rule below; it stands beside every key.
pub const NORM: i64 = 1;

/// What is known of a serial. Unknown, never marked and obliterated are three different facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Read whole.
    Ok,
    /// `?` for one and `*` for several characters that could not be read.
    Partial,
    /// Not known.
    Unknown,
    /// Never marked.
    None,
    /// Obliterated.
    Obliterated,
}

impl State {
    /// As the slot holds it.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Partial => "partial",
            Self::Unknown => "UNK",
            Self::None => "NONE",
            Self::Obliterated => "OBL",
        }
    }
}

/// The keys of a serial that was read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// Strict: one script's letters stay what they are.
    pub s1: String,
    /// By look: letters of three scripts that look alike are one.
    pub s2: String,
    /// By sound: Cyrillic and Greek letters as they are transliterated.
    pub s3: String,
}

/// The value of a `serial` slot. Empty text is an unknown serial.
pub fn serial(raw: &str) -> Value {
    let display = display(raw);
    let (state, keys) = read(&display);
    let mut members = vec![("norm", Value::Int(NORM)), ("state", Value::text(state.code()))];
    if !display.is_empty() {
        members.push(("raw", Value::Text(display)));
    }
    if let Some(Keys { s1, s2, s3 }) = keys {
        members.extend([("s1", Value::Text(s1)), ("s2", Value::Text(s2)), ("s3", Value::Text(s3))]);
    }
    Value::map(members)
}

/// Every key under which a serial may stand in an index, for a search in any spelling.
pub fn keys(raw: &str) -> Vec<String> {
    let (_, keys) = read(&display(raw));
    let mut all: Vec<String> = keys.into_iter().flat_map(|k| [k.s1, k.s2, k.s3]).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// S0: composed, trimmed, single spaces.
pub fn display(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    for word in raw.split_whitespace() {
        if !text.is_empty() {
            text.push(' ');
        }
        text.extend(word.nfc());
    }
    text
}

/// The state of a serial, and its keys if it was read whole.
pub fn read(display: &str) -> (State, Option<Keys>) {
    match display.to_uppercase().as_str() {
        "" | "UNK" | "UNKNOWN" | "N/A" | "NA" | "-" => return (State::Unknown, None),
        "NONE" | "NO SERIAL" | "NO SERIAL NUMBER" | "UNMARKED" | "NOT MARKED" => return (State::None, None),
        "OBL" | "OBLITERATED" | "ERASED" | "REMOVED" | "GROUND OFF" | "FILED OFF" | "DEFACED" => {
            return (State::Obliterated, None);
        }
        text if text.contains(['?', '*']) => return (State::Partial, None),
        _ => {}
    }
    let s1 = strict(display);
    if !s1.chars().any(char::is_alphanumeric) {
        return (State::Unknown, None);
    }
    let s2 = s1.chars().map(look).map(fold_latin).collect();
    let mut s3 = String::with_capacity(s1.len());
    for c in s1.chars() {
        match sound(c) {
            Some(letters) => s3.extend(letters.chars().map(fold_latin)),
            None => s3.push(fold_latin(c)),
        }
    }
    (State::Ok, Some(Keys { s1, s2, s3 }))
}

/// S1. The part after a semicolon is a licence number (27 CFR 478.122) and no part of the serial.
fn strict(display: &str) -> String {
    let decoded = decode_escapes(display);
    let own = decoded.split(';').next().unwrap_or_default();
    // The mark of a Chinese model stands before its sign and is a marking of its own.
    let own = own.rsplit('\u{5f0f}').next().unwrap_or_default();
    let own = own.trim().trim_start_matches(['\u{2116}', '#']).trim_start();
    let own = without_label(own);
    let upper = own.nfkc().flat_map(char::to_uppercase).map(digit);
    let kept: String = upper
        .filter(|c| !c.is_whitespace() && !matches!(c, '-' | '.' | '/' | '_' | '\\' | '#' | '\u{2010}'..='\u{2015}'))
        .collect();
    if !kept.is_empty() && kept.chars().all(|c| chinese(c).is_some()) {
        return kept.chars().filter_map(chinese).collect();
    }
    kept
}

/// Drops "No", "Nr" and "S/N" where they are words of their own.
fn without_label(text: &str) -> &str {
    for label in ["s/n", "no", "nr"] {
        let Some(start) = text.get(..label.len()) else { continue };
        let rest = text.get(label.len()..).unwrap_or_default();
        if start.eq_ignore_ascii_case(label) && rest.starts_with([' ', '.', ':', '#', '\u{b0}']) {
            return rest.trim_start_matches([' ', '.', ':', '#', '\u{b0}']);
        }
    }
    text
}

/// Undoes `<U+0421>`, which some tools leave in place of a letter.
fn decode_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<U+") {
        out.push_str(before);
        let decoded = after.split_once('>').and_then(|(hex, tail)| {
            let c = u32::from_str_radix(hex, 16).ok().filter(|_| (4..=6).contains(&hex.len()))?;
            Some((char::from_u32(c)?, tail))
        });
        match decoded {
            Some((c, tail)) => {
                out.push(c);
                rest = tail;
            }
            None => {
                out.push_str("<U+");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// Zeros of the decimal digits that NFKC leaves as they are.
const ZEROS: [u32; 17] = [
    0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66, 0x0ce6, 0x0d66, 0x0e50, 0x0ed0,
    0x0f20, 0x1040, 0x17e0,
];

fn digit(c: char) -> char {
    let value = ZEROS.iter().find_map(|zero| u32::from(c).checked_sub(*zero).filter(|value| *value < 10));
    value.and_then(|value| char::from_digit(value, 10)).unwrap_or(c)
}

fn chinese(c: char) -> Option<char> {
    let value = match c {
        '\u{3007}' | '\u{96f6}' => 0,
        '\u{4e00}' => 1,
        '\u{4e8c}' => 2,
        '\u{4e09}' => 3,
        '\u{56db}' => 4,
        '\u{4e94}' => 5,
        '\u{516d}' => 6,
        '\u{4e03}' => 7,
        '\u{516b}' => 8,
        '\u{4e5d}' => 9,
        _ => return None,
    };
    char::from_digit(value, 10)
}

/// S2: the Latin letter or digit that a Cyrillic or Greek capital looks like (after UTS #39).
fn look(c: char) -> char {
    match c {
        'А' | 'Α' => 'A',
        'В' | 'Β' => 'B',
        'Е' | 'Ε' => 'E',
        'З' => '3',
        'К' | 'Κ' => 'K',
        'М' | 'Μ' => 'M',
        'Н' | 'Η' => 'H',
        'О' | 'Ο' => 'O',
        'Р' | 'Ρ' => 'P',
        'С' => 'C',
        'Т' | 'Τ' => 'T',
        'У' | 'Υ' => 'Y',
        'Х' | 'Χ' => 'X',
        'І' | 'Ι' => 'I',
        'Ј' => 'J',
        'Ѕ' => 'S',
        'Ζ' => 'Z',
        'Ν' => 'N',
        other => other,
    }
}

/// Letters that are stamped like digits.
fn fold_latin(c: char) -> char {
    match c {
        'O' | 'Q' => '0',
        'I' | 'L' | '|' => '1',
        other => other,
    }
}

/// S3: how a Cyrillic or Greek capital is transliterated.
fn sound(c: char) -> Option<&'static str> {
    Some(match c {
        'А' | 'Α' => "A",
        'Б' => "B",
        'В' | 'Β' => "V",
        'Г' | 'Γ' => "G",
        'Д' | 'Δ' => "D",
        'Е' | 'Ё' | 'Э' | 'Ε' => "E",
        'Ж' => "ZH",
        'З' | 'Ζ' => "Z",
        'И' | 'Й' | 'І' | 'Η' | 'Ι' => "I",
        'Ј' => "J",
        'К' | 'Κ' => "K",
        'Л' | 'Λ' => "L",
        'М' | 'Μ' => "M",
        'Н' | 'Ν' => "N",
        'О' | 'Ο' | 'Ω' => "O",
        'П' | 'Π' => "P",
        'Р' | 'Ρ' => "R",
        'С' | 'Ѕ' | 'Σ' => "S",
        'Т' | 'Τ' => "T",
        'У' => "U",
        'Ф' | 'Φ' => "F",
        'Х' => "KH",
        'Ц' => "TS",
        'Ч' => "CH",
        'Ш' => "SH",
        'Щ' => "SHCH",
        'Ъ' | 'Ь' => "",
        'Ы' | 'Υ' => "Y",
        'Ю' => "YU",
        'Я' => "YA",
        'Θ' => "TH",
        'Ξ' => "X",
        'Χ' => "CH",
        'Ψ' => "PS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(raw: &str) -> [String; 3] {
        let (state, keys) = read(&display(raw));
        assert_eq!(state, State::Ok, "{raw}");
        let keys = keys.unwrap();
        [keys.s1, keys.s2, keys.s3]
    }

    #[test]
    fn worked_examples() {
        for (raw, s1, s2, s3) in [
            ("ХР 4521", "ХР4521", "XP4521", "KHR4521"),
            ("XP-4521", "XP4521", "XP4521", "XP4521"),
            ("9С932-1", "9С9321", "9C9321", "9S9321"),
            ("9S932-1", "9S9321", "9S9321", "9S9321"),
            ("ZALA 421-16Е", "ZALA42116Е", "ZA1A42116E", "ZA1A42116E"),
            ("ZALA 421-16E", "ZALA42116E", "ZA1A42116E", "ZA1A42116E"),
            ("М1064А3", "М1064А3", "M1064A3", "M1064A3"),
            ("M1064A3", "M1064A3", "M1064A3", "M1064A3"),
            ("9<U+0421>932", "9С932", "9C932", "9S932"),
            ("TIT26892", "TIT26892", "T1T26892", "T1T26892"),
            ("TKO34908", "TKO34908", "TK034908", "TK034908"),
            ("٤٥٢١٧٨", "452178", "452178", "452178"),
            ("五六式 1234567", "1234567", "1234567", "1234567"),
            ("382", "382", "382", "382"),
        ] {
            assert_eq!(keys(raw), [s1, s2, s3], "{raw}");
        }
        assert_eq!(read("19?3 ХР*21"), (State::Partial, None));
    }

    #[test]
    fn states_and_labels() {
        for (raw, state) in [
            ("", State::Unknown),
            ("unk", State::Unknown),
            ("---", State::Unknown),
            ("None", State::None),
            ("Obliterated", State::Obliterated),
            ("AB*", State::Partial),
        ] {
            assert_eq!(read(&display(raw)), (state, None), "{raw}");
        }
        assert_eq!(keys("№ 12 34").first().unwrap(), "1234");
        assert_eq!(keys("No. 1234").first().unwrap(), "1234");
        assert_eq!(keys("S/N: a1234").first().unwrap(), "A1234");
        assert_eq!(keys("NO1234").first().unwrap(), "NO1234", "a prefix of the serial itself");
        assert_eq!(keys("123456; 3-48-12345").first().unwrap(), "123456");
        assert_eq!(keys("一二三四").first().unwrap(), "1234");
        assert_eq!(keys("\u{ff21}\u{ff11}2").first().unwrap(), "A12");
        assert_eq!(keys("<U+ZZ>1<U+0421").first().unwrap(), "<U+ZZ>1<U+0421");
    }

    #[test]
    fn the_slot_takes_every_value() {
        let slot = entente_protocol::record::kind::Kind::Item.slot("serial").unwrap();
        for raw in ["", "OBL", "ХР 4521", "19?3 ХР*21"] {
            assert!(slot.shape.fits(&serial(raw)), "{raw}");
        }
    }
}
