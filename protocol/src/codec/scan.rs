//! The scanner in front of cbor4ii: canonical form and bounds, without building anything.

use crate::limits;

/// What a reader of outside bytes is prepared to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Length of the whole item.
    pub bytes_max: usize,
    /// Items in it, keys and values counted one each.
    pub items_max: usize,
}

impl Bounds {
    /// Bounds of a small structure of at most `bytes_max` bytes.
    pub const fn bytes(bytes_max: usize) -> Self {
        Self { bytes_max, items_max: limits::CBOR_ITEMS_MAX }
    }
}

/// Bytes that are not one canonical CBOR item within bounds. `at` is the offset of the offending item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// More bytes than the reader takes.
    #[error("too long: {len} bytes where at most {max} are taken")]
    TooLong {
        /// Bytes given.
        len: usize,
        /// Bytes taken.
        max: usize,
    },
    /// More items than the reader takes.
    #[error("too many items, at byte {at}")]
    TooManyItems {
        /// Offset.
        at: usize,
    },
    /// Nested deeper than any of our formats.
    #[error("nested too deeply, at byte {at}")]
    TooDeep {
        /// Offset.
        at: usize,
    },
    /// The bytes end inside an item.
    #[error("the bytes end inside an item, at byte {at}")]
    Truncated {
        /// Offset.
        at: usize,
    },
    /// Bytes follow the item.
    #[error("bytes follow the item, at byte {at}")]
    Trailing {
        /// Offset.
        at: usize,
    },
    /// An integer or length that a shorter form could express.
    #[error("an integer or length in a longer form than needed, at byte {at}")]
    NotMinimal {
        /// Offset.
        at: usize,
    },
    /// Indefinite length.
    #[error("an item of indefinite length, at byte {at}")]
    Indefinite {
        /// Offset.
        at: usize,
    },
    /// A float, null, undefined, other simple value, or a tag that no format lists.
    #[error("a float, null, tag or simple value that no format lists, at byte {at}")]
    NotListed {
        /// Offset.
        at: usize,
    },
    /// Text that is not UTF-8.
    #[error("text that is not UTF-8, at byte {at}")]
    NotUtf8 {
        /// Offset.
        at: usize,
    },
    /// Map keys out of order or repeated.
    #[error("map keys out of order or repeated, at byte {at}")]
    KeyOrder {
        /// Offset.
        at: usize,
    },
    /// A map key that is not text.
    #[error("a map key that is not text, at byte {at}")]
    KeyType {
        /// Offset.
        at: usize,
    },
    /// Canonical, but not of the expected form: a missing, unknown or ill-typed member.
    #[error("canonical, but a member is missing, unknown or of another type")]
    Shape,
    /// A value of ours that could not be encoded: a programming error.
    #[error("a value that could not be encoded")]
    Encode,
}

/// Tag of COSE_Sign1 (RFC 9052), the only tag that a format lists.
const TAG_COSE_SIGN1: u64 = 18;

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    items_left: usize,
}

/// Checks that `bytes` is exactly one canonical item within `bounds`.
pub fn scan(bytes: &[u8], bounds: Bounds) -> Result<(), CodecError> {
    let end = scan_first(bytes, bounds)?;
    if end == bytes.len() { Ok(()) } else { Err(CodecError::Trailing { at: end }) }
}

/// Checks the first item and returns where it ends.
pub fn scan_first(bytes: &[u8], bounds: Bounds) -> Result<usize, CodecError> {
    if bytes.len() > bounds.bytes_max {
        return Err(CodecError::TooLong { len: bytes.len(), max: bounds.bytes_max });
    }
    let mut scanner = Scanner { bytes, at: 0, items_left: bounds.items_max };
    scanner.item(limits::CBOR_DEPTH_MAX)?;
    Ok(scanner.at)
}

impl Scanner<'_> {
    fn take(&mut self, len: usize) -> Result<&[u8], CodecError> {
        let at = self.at;
        let end = at.checked_add(len).ok_or(CodecError::Truncated { at })?;
        let taken = self.bytes.get(at..end).ok_or(CodecError::Truncated { at })?;
        self.at = end;
        Ok(taken)
    }

    /// The head of an item: major type and argument, in the shortest form.
    fn head(&mut self) -> Result<(u8, u64), CodecError> {
        let at = self.at;
        let first = *self.take(1)?.first().ok_or(CodecError::Truncated { at })?;
        let (major, info) = (first >> 5, first & 31);
        let (width, least) = match info {
            0..=23 => return Ok((major, u64::from(info))),
            24 => (1, 24u64),
            25 => (2, 1 << 8),
            26 => (4, 1 << 16),
            27 => (8, 1 << 32),
            31 => return Err(CodecError::Indefinite { at }),
            _ => return Err(CodecError::NotListed { at }),
        };
        if major == 7 {
            return Err(CodecError::NotListed { at });
        }
        let argument = self.take(width)?.iter().fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
        if argument < least { Err(CodecError::NotMinimal { at }) } else { Ok((major, argument)) }
    }

    /// One item. Ends because each call takes at least one byte and `depth` falls at each nesting.
    fn item(&mut self, depth: usize) -> Result<(), CodecError> {
        let at = self.at;
        self.items_left = self.items_left.checked_sub(1).ok_or(CodecError::TooManyItems { at })?;
        let (major, argument) = self.head()?;
        match major {
            0 | 1 => Ok(()),
            2 | 3 => {
                let len = usize::try_from(argument).map_err(|_| CodecError::Truncated { at })?;
                let content = self.take(len)?;
                if major == 3 && std::str::from_utf8(content).is_err() {
                    return Err(CodecError::NotUtf8 { at });
                }
                Ok(())
            }
            4..=6 => {
                let inner = depth.checked_sub(1).ok_or(CodecError::TooDeep { at })?;
                match major {
                    4 => self.array(argument, at, inner),
                    5 => self.map(argument, at, inner),
                    _ if argument == TAG_COSE_SIGN1 => self.item(inner),
                    _ => Err(CodecError::NotListed { at }),
                }
            }
            _ if argument == 20 || argument == 21 => Ok(()),
            _ => Err(CodecError::NotListed { at }),
        }
    }

    fn count(&self, argument: u64, at: usize) -> Result<usize, CodecError> {
        // A declared count beyond the budget is refused before anything is walked.
        let count = usize::try_from(argument).map_err(|_| CodecError::TooManyItems { at })?;
        if count > self.items_left { Err(CodecError::TooManyItems { at }) } else { Ok(count) }
    }

    fn array(&mut self, argument: u64, at: usize, depth: usize) -> Result<(), CodecError> {
        for _ in 0..self.count(argument, at)? {
            self.item(depth)?;
        }
        Ok(())
    }

    fn map(&mut self, argument: u64, at: usize, depth: usize) -> Result<(), CodecError> {
        let mut previous: Option<(usize, usize)> = None;
        for _ in 0..self.count(argument, at)? {
            let start = self.at;
            // Every map of ours has text keys; the one of COSE with numbers stands in a byte string and is read by hand.
            if self.bytes.get(start).is_some_and(|first| first >> 5 != 3) {
                return Err(CodecError::KeyType { at: start });
            }
            self.item(depth)?;
            let key = (start, self.at);
            if let Some(before) = previous {
                // Bytewise lexicographic order of the encoded keys (RFC 8949, 4.2.1), strictly rising.
                if self.bytes.get(before.0..before.1) >= self.bytes.get(key.0..key.1) {
                    return Err(CodecError::KeyOrder { at: start });
                }
            }
            previous = Some(key);
            self.item(depth)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hex: &str, expected: Result<(), CodecError>) {
        let bytes = hex::decode(hex).unwrap_or_default();
        assert_eq!(scan(&bytes, Bounds { bytes_max: 64, items_max: 8 }), expected, "{hex}");
    }

    #[test]
    fn one_encoding_for_each_value() {
        check("00", Ok(()));
        check("1818", Ok(()));
        check("a2616101616202", Ok(()));
        check("d28443a10127a04043010203", Ok(()));
        check("1817", Err(CodecError::NotMinimal { at: 0 }));
        check("190017", Err(CodecError::NotMinimal { at: 0 }));
        check("5801ff", Err(CodecError::NotMinimal { at: 0 }));
        check("9f01ff", Err(CodecError::Indefinite { at: 0 }));
        check("f6", Err(CodecError::NotListed { at: 0 }));
        check("f93c00", Err(CodecError::NotListed { at: 0 }));
        check("c074323031332d30332d32315432303a30343a30305a", Err(CodecError::NotListed { at: 0 }));
        check("a2616201616102", Err(CodecError::KeyOrder { at: 4 }));
        check("a2616101616102", Err(CodecError::KeyOrder { at: 4 }));
        check("a10101", Err(CodecError::KeyType { at: 1 }));
        check("a1414101", Err(CodecError::KeyType { at: 1 }));
        check("a18001", Err(CodecError::KeyType { at: 1 }));
        check("a1", Err(CodecError::Truncated { at: 1 }));
        check("0000", Err(CodecError::Trailing { at: 1 }));
        check("61ff", Err(CodecError::NotUtf8 { at: 0 }));
        check("5bffffffffffffffff", Err(CodecError::Truncated { at: 9 }));
        check("9bffffffffffffffff", Err(CodecError::TooManyItems { at: 0 }));
        check("89000000000000000000", Err(CodecError::TooManyItems { at: 0 }));
        check("", Err(CodecError::Truncated { at: 0 }));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |n: usize| [vec![0x81; n], vec![0x00]].concat();
        let bounds = Bounds { bytes_max: 1 << 20, items_max: 1 << 20 };
        assert_eq!(scan(&nested(limits::CBOR_DEPTH_MAX), bounds), Ok(()));
        let deeper = scan(&nested(limits::CBOR_DEPTH_MAX + 1), bounds);
        assert_eq!(deeper, Err(CodecError::TooDeep { at: limits::CBOR_DEPTH_MAX }));
        assert!(scan(&nested(200_000), bounds).is_err());
    }

    #[test]
    fn items_of_a_small_structure_are_bounded() {
        let array = |items: usize| {
            let count = u16::try_from(items - 1).unwrap().to_be_bytes();
            [&[0x99], count.as_slice(), &vec![0; items - 1]].concat()
        };
        let bounds = Bounds::bytes(1 << 20);
        assert_eq!(scan(&array(limits::CBOR_ITEMS_MAX), bounds), Ok(()));
        assert_eq!(scan(&array(limits::CBOR_ITEMS_MAX + 1), bounds), Err(CodecError::TooManyItems { at: 0 }));
    }

    #[test]
    fn length_is_bounded_before_anything_is_read() {
        let bytes = vec![0u8; 65];
        let refused = scan(&bytes, Bounds { bytes_max: 64, items_max: 8 });
        assert_eq!(refused, Err(CodecError::TooLong { len: 65, max: 64 }));
    }
}
