//! Which text people can trust to say what it shows: one rule for cards, agreements and evidence (SPEC, ENC-7).
//!
//! Whoever reads text from outside or from a person calls this. It never changes text: what misleads is refused.

use crate::limits::NAME_BYTES_MAX;

/// Characters that show nothing, or change how others read: controls (line feed and tab among them), direction
/// signs, zero width, tags. The joiners U+200C and U+200D stay: Persian and Hindi cannot be written without them.
pub fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The first character of a text that misleads; line feeds and tabs do not here.
pub fn misleading(text: &str) -> Option<char> {
    // Most text is printable ASCII, of which nothing misleads: a look at its bytes is enough.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\t')) {
        return None;
    }
    text.chars().find(|c| misleads(*c) && !matches!(c, '\n' | '\t'))
}

/// Text of one line: 1 to 512 bytes, nothing that misleads.
pub fn is_line(text: &str) -> bool {
    is_prose(text) && text.len() <= NAME_BYTES_MAX && !text.contains(['\n', '\t'])
}

/// Text of any length but none, with line feeds and tabs, and nothing else that misleads.
pub fn is_prose(text: &str) -> bool {
    !text.is_empty() && misleading(text).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_refused_everywhere() {
        for c in ['\0', '\u{1b}', '\u{7f}', '\u{85}', '\u{61c}', '\u{200b}', '\u{200e}', '\u{2028}', '\u{202e}'] {
            assert!(!is_line(&format!("a{c}b")) && !is_prose(&format!("a{c}b")), "{c:?}");
        }
        for c in ['\u{2060}', '\u{2066}', '\u{feff}', '\u{fff9}', '\u{e0041}'] {
            assert!(!is_line(&format!("a{c}b")) && !is_prose(&format!("a{c}b")), "{c:?}");
        }
        for text in ["нож", "می\u{200c}خواهم", "a b", "№ 1"] {
            assert!(is_line(text) && is_prose(text), "{text}");
        }
        assert!(!is_line("a\nb") && !is_line("a\tb") && is_prose("a\n\tb"));
        assert!(is_line(&"x".repeat(NAME_BYTES_MAX)) && !is_line(&"x".repeat(NAME_BYTES_MAX + 1)));
        assert!(!is_line("") && !is_prose(""));
    }
}
