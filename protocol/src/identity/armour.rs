//! PEM armour of cards and signed agreements, so that they survive e-mail: strict and bounded.
//!
//! White space around the whole and CRLF line ends are taken, because mail programs make them;
//! headers, other labels, short or long lines and text around the block are refused.

use crate::limits;
use base64::{Engine, engine::general_purpose::STANDARD};

const LINE: usize = 64;

/// One kind of armour: its frame, and the most that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Armour {
    begin: &'static str,
    end: &'static str,
    bytes_max: usize,
}

/// Text that is not armoured as expected: the fault of whoever copied it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArmourFault {
    /// Longer than anything of this kind.
    #[error("the text is too long: `{len}` bytes where at most `{max}` are taken")]
    TooLong {
        /// Bytes given.
        len: usize,
        /// Bytes taken.
        max: usize,
    },
    /// The first or last line is not the expected one.
    #[error("not in armour: expected one block from `{begin}` to its end line, and nothing else")]
    Frame {
        /// The first line expected.
        begin: &'static str,
    },
    /// A line that is too short, too long or not base64. Lines count from 1.
    #[error("line {line} of the armour is damaged: copy the whole file again")]
    Line {
        /// The line.
        line: usize,
    },
}

impl Armour {
    /// Around a card.
    pub const CARD: Self = Self {
        begin: "-----BEGIN ENTENTE CARD-----",
        end: "-----END ENTENTE CARD-----",
        bytes_max: limits::CARD_BYTES_MAX,
    };
    /// Around an agreement with the signatures that it has so far.
    pub const AGREEMENT: Self = Self {
        begin: "-----BEGIN ENTENTE AGREEMENT-----",
        end: "-----END ENTENTE AGREEMENT-----",
        bytes_max: limits::AGREEMENT_BYTES_MAX,
    };

    /// Four characters for three bytes, line ends of two bytes, and the frame.
    const fn text_max(self) -> usize {
        self.bytes_max / 3 * 4 + self.bytes_max / 24 + 256
    }

    /// Puts the armour on.
    pub fn close(self, bytes: &[u8]) -> String {
        let mut text = String::with_capacity(bytes.len() * 3 / 2 + 80);
        text.push_str(self.begin);
        text.push('\n');
        // 48 bytes give one full line.
        for line in bytes.chunks(LINE / 4 * 3) {
            STANDARD.encode_string(line, &mut text);
            text.push('\n');
        }
        text.push_str(self.end);
        text.push('\n');
        text
    }

    /// Takes the armour off. The bytes are bounded and not yet looked at.
    pub fn open(self, text: &str) -> Result<Vec<u8>, ArmourFault> {
        if text.len() > self.text_max() {
            return Err(ArmourFault::TooLong { len: text.len(), max: self.text_max() });
        }
        let mut lines =
            text.trim_matches([' ', '\t', '\r', '\n']).split('\n').map(|l| l.strip_suffix('\r').unwrap_or(l));
        if lines.next() != Some(self.begin) || lines.next_back() != Some(self.end) {
            return Err(ArmourFault::Frame { begin: self.begin });
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_at_every_length_and_with_mail_line_ends() {
        for len in [1usize, 2, 47, 48, 49, 96, 1_000, limits::CARD_BYTES_MAX] {
            let bytes: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            for (armour, other) in [(Armour::CARD, Armour::AGREEMENT), (Armour::AGREEMENT, Armour::CARD)] {
                let text = armour.close(&bytes);
                assert_eq!(armour.open(&text).as_deref(), Ok(bytes.as_slice()), "{len}");
                let mailed = format!("\r\n {}\r\n\r\n", text.replace('\n', "\r\n"));
                assert_eq!(armour.open(&mailed).as_deref(), Ok(bytes.as_slice()), "{len}");
                assert_eq!(other.open(&text), Err(ArmourFault::Frame { begin: other.begin }), "{len}");
            }
        }
    }

    #[test]
    fn damage_is_named_by_line() {
        let text = Armour::CARD.close(&[7; 200]);
        let lines: Vec<&str> = text.lines().collect();
        let with = |at: usize, line: &str| {
            let mut changed = lines.clone();
            changed[at] = line;
            Armour::CARD.open(&changed.join("\n"))
        };
        assert_eq!(with(0, "-----BEGIN CERTIFICATE-----"), Err(ArmourFault::Frame { begin: Armour::CARD.begin }));
        assert_eq!(with(lines.len() - 1, "-----END KEY-----"), Err(ArmourFault::Frame { begin: Armour::CARD.begin }));
        assert_eq!(with(2, "short"), Err(ArmourFault::Line { line: 3 }));
        assert_eq!(with(2, &"A".repeat(65)), Err(ArmourFault::Line { line: 3 }));
        assert_eq!(with(2, &format!("{}==", "A".repeat(62))), Err(ArmourFault::Line { line: 3 }));
        assert_eq!(with(1, ""), Err(ArmourFault::Line { line: 2 }));
        assert_eq!(with(1, &"é".repeat(32)), Err(ArmourFault::Line { line: 2 }));
        // Bits after the last byte, and padding that is missing.
        assert_eq!(with(5, "BwcHBwcHBwf="), Err(ArmourFault::Line { line: 6 }));
        assert_eq!(with(5, "BwcHBwcHBwc"), Err(ArmourFault::Line { line: 6 }));
        assert_eq!(
            Armour::CARD.open(&format!("Dear colleague\n{text}")),
            Err(ArmourFault::Frame { begin: Armour::CARD.begin })
        );
        assert_eq!(Armour::CARD.open(&format!("{text}{text}")), Err(ArmourFault::Line { line: 6 }));
        assert_eq!(Armour::CARD.open(""), Err(ArmourFault::Frame { begin: Armour::CARD.begin }));
        let long = Armour::CARD.close(&vec![0; limits::CARD_BYTES_MAX * 2]);
        assert!(matches!(Armour::CARD.open(&long), Err(ArmourFault::TooLong { .. })));
    }
}
