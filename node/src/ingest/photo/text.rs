//! Text out of a file's metadata, made safe to store and show.
//!
//! Called for every text field of EXIF. It never passes on a control or direction character, which
//! could rewrite a terminal or reorder a line on a reviewer's screen, nor more than the bound.

use std::fmt::{self, Write};

/// Longest text kept from one field, in bytes of UTF-8.
pub(super) const TEXT_BYTES_MAX: usize = 1_024;

/// Text that takes what fits and drops what misleads.
#[derive(Default)]
pub(super) struct Clean(String);

impl Clean {
    /// What was kept, trimmed; nothing if nothing remains.
    pub fn finish(self) -> Option<String> {
        let text = self.0.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Whether the character still fitted.
    fn push(&mut self, c: char) -> bool {
        let c = if c.is_whitespace() { ' ' } else { c };
        if is_hidden(c) || (c == ' ' && self.0.ends_with(' ')) {
            return true;
        }
        let fits = self.0.len() + c.len_utf8() <= TEXT_BYTES_MAX;
        if fits {
            self.0.push(c);
        }
        fits
    }
}

impl Write for Clean {
    /// Fails when full, so that a formatter with much to say stops early.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.chars().all(|c| self.push(c)) { Ok(()) } else { Err(fmt::Error) }
    }
}

/// Reads bytes as UTF-8, or as Latin-1 where they are not: cameras write both under the name ASCII.
pub(super) fn from_bytes(bytes: &[u8]) -> Option<String> {
    // A character takes at most four bytes; what follows the bound four times over cannot matter
    // unless nearly all of it is dropped.
    let (bytes, is_cut) = bytes.get(..TEXT_BYTES_MAX * 4).map_or((bytes, false), |start| (start, true));
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut clean = Clean::default();
    match std::str::from_utf8(bytes) {
        Ok(text) => fill(&mut clean, text.chars()),
        // The cut above may split the last character: that alone does not make it Latin-1.
        Err(error) if is_cut && error.error_len().is_none() => fill(&mut clean, String::from_utf8_lossy(bytes).chars()),
        Err(_) => fill(&mut clean, bytes.iter().copied().map(char::from)),
    }
    clean.finish()
}

/// Reads UTF-16 in the byte order given, as Windows writes it.
pub(super) fn from_utf16(bytes: &[u8], big_endian: bool) -> Option<String> {
    let units = bytes.chunks_exact(2).take(TEXT_BYTES_MAX).map(|pair| match *pair {
        [first, second] if big_endian => u16::from_be_bytes([first, second]),
        [first, second] => u16::from_le_bytes([first, second]),
        _ => 0,
    });
    let mut clean = Clean::default();
    let characters = char::decode_utf16(units.take_while(|unit| *unit != 0));
    fill(&mut clean, characters.map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
    clean.finish()
}

/// The longest start of a text within a number of bytes that ends on a character.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default().trim_end()
}

fn fill(clean: &mut Clean, mut characters: impl Iterator<Item = char>) {
    characters.all(|c| clean.push(c));
}

/// Control characters, and those that change direction or have no width (UAX #9, UTS #55).
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{00ad}' | '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_and_direction_marks_are_dropped() {
        let text = from_bytes("A\u{1b}[2J\u{202e}gpj.exe\r\n  b\0hidden".as_bytes());
        assert_eq!(text.as_deref(), Some("A[2Jgpj.exe b"));
        assert_eq!(from_bytes(b" \0\0"), None);
    }

    #[test]
    fn latin_1_is_read_where_utf_8_fails() {
        assert_eq!(from_bytes(b"Jos\xe9").as_deref(), Some("José"));
        assert_eq!(from_bytes("Иванов".as_bytes()).as_deref(), Some("Иванов"));
    }

    #[test]
    fn text_stops_at_the_bound_on_a_character() {
        let text = from_bytes("Ж".repeat(4_000).as_bytes()).unwrap();
        assert_eq!(text.len(), TEXT_BYTES_MAX);
        let odd = from_bytes(format!("x{}", "Ж".repeat(4_000)).as_bytes()).unwrap();
        assert_eq!(odd.len(), TEXT_BYTES_MAX - 1);
        assert!(odd.ends_with('Ж'));
    }

    #[test]
    fn cut_ends_on_a_character() {
        assert_eq!(cut("aЖЖ", 4), "aЖ");
        assert_eq!(cut("aЖЖ", 5), "aЖЖ");
        assert_eq!(cut("ab cd", 3), "ab");
        assert_eq!(cut("Ж", 1), "");
    }

    #[test]
    fn utf_16_with_a_lone_surrogate_is_kept_readable() {
        assert_eq!(from_utf16(b"A\0\x00\xd8B\0\0\0C\0", false).as_deref(), Some("A\u{fffd}B"));
        assert_eq!(from_utf16(b"\0A\0B", true).as_deref(), Some("AB"));
    }
}
