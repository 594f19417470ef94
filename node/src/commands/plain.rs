//! Text from data made harmless for a terminal. Everything that a command prints goes through here.
//!
//! A record, a card or an agreement can hold escape sequences, which drive a terminal, and direction marks, which
//! make it show something else than it says. They are shown as what they are, `\u{1b}`, never sent.

use serde_json::Value as Json;
use std::fmt::Write;

/// Whether a character drives a terminal, or changes how its neighbours are shown, rather than showing something.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

fn write_out(out: &mut String, text: &str, passes: impl Fn(char) -> bool) {
    for c in text.chars() {
        if passes(c) || !steers(c) {
            out.push(c);
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
    }
}

/// Text for one line: white space of every kind becomes a space.
pub fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let spaced: String = text.chars().map(|c| if matches!(c, '\n' | '\r' | '\t') { ' ' } else { c }).collect();
    write_out(&mut out, &spaced, |_| false);
    out
}

/// Text of several lines: line ends and tabs stay.
pub fn lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    write_out(&mut out, text, |c| matches!(c, '\n' | '\t'));
    out
}

/// JSON in which no character steers: those are written as escapes, which read back to the same value.
pub fn json(value: &Json) -> String {
    escaped(&format!("{value:#}"))
}

/// The same on one line.
pub fn json_line(value: &Json) -> String {
    escaped(&value.to_string())
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut units = [0u16; 2];
    for c in text.chars() {
        // The only line ends of this text are between tokens; inside strings they are escaped already.
        if c == '\n' || !steers(c) {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{1b}[2Jb\u{9b}31mc\u{7}d\u{202e}e\u{200b}f\u{e0041}g\u{7f}\r\nh\ti";

    #[test]
    fn nothing_that_steers_is_sent() {
        let one = line(HOSTILE);
        assert!(!one.chars().any(steers), "{one:?}");
        assert!(one.contains("\\u{1b}[2J") && one.contains("\\u{9b}31m") && one.contains("\\u{202e}"));
        let many = lines(HOSTILE);
        assert!(many.contains('\n') && many.contains('\t') && !many.contains('\r'));
        assert!(!many.chars().any(|c| steers(c) && c != '\n' && c != '\t'), "{many:?}");
    }

    #[test]
    fn json_is_harmless_and_reads_back() -> Result<(), serde_json::Error> {
        let value = serde_json::json!({ HOSTILE: [HOSTILE, 1, null] });
        let text = json(&value);
        assert!(!text.chars().any(|c| steers(c) && c != '\n'), "{text:?}");
        assert_eq!(serde_json::from_str::<Json>(&text)?, value);
        Ok(())
    }

    #[test]
    fn scripts_of_the_world_stay_as_they_are() {
        for text in ["ХР 4521", "٤٥٢١٧٨", "五六式 1234567", "Bangui – Centre", "0.1° cell"] {
            assert_eq!(line(text), text);
        }
    }
}
