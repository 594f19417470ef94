//! Twelve words that two people read to each other over the telephone to confirm a card.
//!
//! The first 132 bits of the card's digest, 11 bits to a word of the English list of BIP-39, most
//! significant bit first. Not a mnemonic: there is no checksum, and nothing is derived from them.

use crate::id::CardDigest;
use bip39::Language;
use std::fmt;

const COUNT: usize = 12;
const BITS: usize = 11;

/// Words that were typed wrongly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordsFault {
    /// Not twelve of them.
    #[error("`{given}` words where twelve are needed")]
    Count {
        /// How many were given.
        given: usize,
    },
    /// Not a word of the list. Places count from 1.
    #[error("word {place} is not in the list: ask for it to be spelled")]
    Unknown {
        /// The word's place.
        place: usize,
    },
}

/// The twelve words of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words([u16; COUNT]);

impl Words {
    /// The words of a digest.
    pub fn of(digest: CardDigest) -> Self {
        let mut bits =
            digest.as_bytes().iter().flat_map(|byte| (0..8).rev().map(move |bit| u16::from(byte >> bit & 1)));
        Self(std::array::from_fn(|_| bits.by_ref().take(BITS).fold(0, |sum, bit| (sum << 1) | bit)))
    }

    /// Reads typed words; case, order of white space and hyphens or commas between them do not matter.
    pub fn parse(typed: &str) -> Result<Self, WordsFault> {
        let separates = |c: char| c.is_whitespace() || matches!(c, ',' | '-' | '.' | ';');
        let given = typed.split(separates).filter(|word| !word.is_empty()).count();
        if given != COUNT {
            return Err(WordsFault::Count { given });
        }
        let mut words = [0u16; COUNT];
        let typed = typed.split(separates).filter(|word| !word.is_empty());
        for (place, (to, word)) in (1..).zip(words.iter_mut().zip(typed)) {
            *to = Language::English.find_word(&word.to_lowercase()).ok_or(WordsFault::Unknown { place })?;
        }
        Ok(Self(words))
    }

    /// Each word in order.
    pub fn iter(&self) -> impl Iterator<Item = &'static str> {
        let list = Language::English.word_list();
        self.0.into_iter().filter_map(|word| list.get(usize::from(word)).copied())
    }

    /// Places (from 1) at which two sets of words differ, to be read out again.
    pub fn differences(&self, other: &Self) -> Vec<usize> {
        (1..).zip(self.0.iter().zip(&other.0)).filter(|(_, (a, b))| a != b).map(|(place, _)| place).collect()
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, word) in self.iter().enumerate() {
            if at > 0 {
                f.write_str(" ")?;
            }
            f.write_str(word)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_taken_from_the_front() {
        let mut bytes = [0u8; 32];
        assert_eq!(Words::of(CardDigest::from_bytes(bytes)).to_string(), ["abandon"; 12].join(" "));
        bytes[..2].copy_from_slice(&[0xff, 0xe0]);
        assert_eq!(Words::of(CardDigest::from_bytes(bytes)).0[..2], [2_047, 0]);
        // 132 bits are 16 bytes and four bits: the rest of the digest does not show.
        bytes[16] = 0x10;
        assert_eq!(Words::of(CardDigest::from_bytes(bytes)).0[11], 1);
        bytes[16] = 0x1f;
        assert_eq!(Words::of(CardDigest::from_bytes(bytes)).0[11], 1);
        let all: Vec<&str> = Words::of(CardDigest::from_bytes([0xff; 32])).iter().collect();
        assert_eq!(all, ["zoo"; 12]);
    }

    #[test]
    fn typed_words_are_read_kindly_and_compared_strictly() {
        let words = Words::of(CardDigest::from_bytes([0x5a; 32]));
        let typed = words.to_string();
        assert_eq!(Words::parse(&typed), Ok(words));
        assert_eq!(Words::parse(&format!("  {}\n", typed.to_uppercase().replace(' ', ",  "))), Ok(words));
        assert_eq!(Words::parse("abandon ability"), Err(WordsFault::Count { given: 2 }));
        assert_eq!(Words::parse(&format!("{typed} zoo")), Err(WordsFault::Count { given: 13 }));
        let wrong = typed.replacen(words.iter().next().unwrap_or_default(), "zzz", 1);
        assert_eq!(Words::parse(&wrong), Err(WordsFault::Unknown { place: 1 }));
        let mut other = words;
        other.0[4] ^= 1;
        assert_eq!(words.differences(&other), vec![5]);
        assert_ne!(words, other);
    }
}
