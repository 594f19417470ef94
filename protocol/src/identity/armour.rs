//! PEM armour of a card, so that it survives e-mail: strict, bounded, and for this one purpose.
//!
//! White space around the whole and CRLF line ends are taken, because mail programs make them;
//! headers, other labels, short or long lines and text around the block are refused.

use crate::limits;
use base64::{Engine, engine::general_purpose::STANDARD};

const BEGIN: &str = "-----BEGIN ENTENTE CARD-----";
const END: &str = "-----END ENTENTE CARD-----";
const LINE: usize = 64;
/// Four characters for three bytes, line ends of two bytes, and the frame.
const ARMOUR_BYTES_MAX: usize = limits::CARD_BYTES_MAX / 3 * 4 + limits::CARD_BYTES_MAX / 24 + 256;

/// Text that is not an armoured card: the fault of whoever copied it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArmourFault {
    /// Longer than any card.
    #[error("the text is longer than any card: `{len}` bytes where at most `{max}` are taken")]
    TooLong {
        /// Bytes given.
        len: usize,
        /// Bytes taken.
        max: usize,
    },
    /// The first or last line is not the expected one.
    #[error("not an armoured card: expected one block from `{BEGIN}` to `{END}` and nothing else")]
    Frame,
    /// A line that is too short, too long or not base64. Lines count from 1.
    #[error("line {line} of the card is damaged: copy the whole file again")]
    Line {
        /// The line.
        line: usize,
    },
}

/// Armours a card's bytes.
pub fn armoured(card: &[u8]) -> String {
    let mut text = String::with_capacity(card.len() * 3 / 2 + 64);
    text.push_str(BEGIN);
    text.push('\n');
    // 48 bytes give one full line.
    for line in card.chunks(LINE / 4 * 3) {
        STANDARD.encode_string(line, &mut text);
        text.push('\n');
    }
    text.push_str(END);
    text.push('\n');
    text
}

/// Takes the armour off. The bytes are bounded and not yet looked at.
pub fn unarmoured(text: &str) -> Result<Vec<u8>, ArmourFault> {
    if text.len() > ARMOUR_BYTES_MAX {
        return Err(ArmourFault::TooLong { len: text.len(), max: ARMOUR_BYTES_MAX });
    }
    let mut lines = text.trim_matches([' ', '\t', '\r', '\n']).split('\n').map(|l| l.strip_suffix('\r').unwrap_or(l));
    if lines.next() != Some(BEGIN) || lines.next_back() != Some(END) {
        return Err(ArmourFault::Frame);
    }
    let lines: Vec<&str> = lines.collect();
    let mut bytes = Vec::with_capacity(lines.len() * LINE / 4 * 3);
    for (at, line) in lines.iter().enumerate() {
        let damaged = ArmourFault::Line { line: at + 2 };
        let last = at + 1 == lines.len();
        if line.is_empty() || line.len() > LINE || (!last && (line.len() < LINE || line.ends_with('='))) {
            return Err(damaged);
        }
        STANDARD.decode_vec(line, &mut bytes).map_err(|_| damaged)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_at_every_length_and_with_mail_line_ends() {
        for len in [1usize, 2, 47, 48, 49, 96, 1_000, limits::CARD_BYTES_MAX] {
            let bytes: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            let text = armoured(&bytes);
            assert_eq!(unarmoured(&text).as_deref(), Ok(bytes.as_slice()), "{len}");
            let mailed = format!("\r\n {}\r\n\r\n", text.replace('\n', "\r\n"));
            assert_eq!(unarmoured(&mailed).as_deref(), Ok(bytes.as_slice()), "{len}");
        }
    }

    #[test]
    fn damage_is_named_by_line() {
        let text = armoured(&[7; 200]);
        let lines: Vec<&str> = text.lines().collect();
        let with = |at: usize, line: &str| {
            let mut changed = lines.clone();
            changed[at] = line;
            unarmoured(&changed.join("\n"))
        };
        assert_eq!(with(0, "-----BEGIN CERTIFICATE-----"), Err(ArmourFault::Frame));
        assert_eq!(with(lines.len() - 1, "-----END CARD-----"), Err(ArmourFault::Frame));
        assert_eq!(with(2, "short"), Err(ArmourFault::Line { line: 3 }));
        assert_eq!(with(2, &"A".repeat(65)), Err(ArmourFault::Line { line: 3 }));
        assert_eq!(with(2, &format!("{}==", "A".repeat(62))), Err(ArmourFault::Line { line: 3 }));
        assert_eq!(with(1, ""), Err(ArmourFault::Line { line: 2 }));
        assert_eq!(with(1, &"é".repeat(32)), Err(ArmourFault::Line { line: 2 }));
        // Bits after the last byte, and padding that is missing.
        assert_eq!(with(5, "BwcHBwcHBwf="), Err(ArmourFault::Line { line: 6 }));
        assert_eq!(with(5, "BwcHBwcHBwc"), Err(ArmourFault::Line { line: 6 }));
        assert_eq!(unarmoured(&format!("Dear colleague\n{text}")), Err(ArmourFault::Frame));
        assert_eq!(unarmoured(&format!("{text}{text}")), Err(ArmourFault::Line { line: 6 }));
        assert_eq!(unarmoured(""), Err(ArmourFault::Frame));
        let long = armoured(&vec![0; limits::CARD_BYTES_MAX * 2]);
        assert!(matches!(unarmoured(&long), Err(ArmourFault::TooLong { .. })));
    }
}
