//! One sealed value: what stands in a row.
//!
//! ```text
//! +--------+------------+-----------+------------------+---------+
//! | format | key number | r         | ciphertext       | tag     |
//! | 1 byte | 4, BE      | 24 random | as the plaintext | 16      |
//! +--------+------------+-----------+------------------+---------+
//! ```
//!
//! AES-256-GCM (NIST SP 800-38D) under K = HMAC-SHA256(partition key, label, 0x00, r), with the row key
//! as associated data, so that a value moved to another row does not open. K seals one value, which
//! is why its nonce may be zero; r is random, so K repeats with probability 2^-96 after 2^48 values.

use super::{keyring::PartitionKeys, label};
use entente_protocol::primitive::Prf;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

/// The only format so far.
pub const FORMAT: u8 = 1;
/// Random bytes for each value.
pub const RANDOM_BYTES: usize = 24;
const HEADER_BYTES: usize = 1 + 4 + RANDOM_BYTES;
const TAG_BYTES: usize = 16;
/// How much longer a sealed value is than its content.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + TAG_BYTES;

/// A value could not be sealed or opened. The row is named, its content never.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Too short, or of a format that this version does not know.
    #[error("row `{row}` is not a sealed value of a known format: damaged, or written by a newer version")]
    Format {
        /// Row key in hexadecimal.
        row: String,
    },
    /// The partition has no key of that number.
    #[error("row `{row}` is sealed under key {number}, which the keyring does not hold: restore the keyring")]
    NoKey {
        /// Row key in hexadecimal.
        row: String,
        /// The key's number.
        number: u32,
    },
    /// It does not open: changed, moved to another row, or of another partition.
    #[error("row `{row}` does not open: damaged or moved; run `entente check`")]
    Damaged {
        /// Row key in hexadecimal.
        row: String,
    },
    /// The cipher refused, which only a value beyond its limits can cause.
    #[error("row `{row}` could not be sealed: too long")]
    TooLong {
        /// Row key in hexadecimal.
        row: String,
    },
}

/// Seals `content` for the row `row`, with `r` fresh from the random source.
pub fn seal(keys: &PartitionKeys, row: &[u8], content: &[u8], r: &[u8; RANDOM_BYTES]) -> Result<Vec<u8>, SealError> {
    let too_long = || SealError::TooLong { row: hex::encode(row) };
    let (number, key) = keys.newest();
    let mut sealed = Vec::with_capacity(content.len() + OVERHEAD_BYTES);
    sealed.push(FORMAT);
    sealed.extend_from_slice(&number.to_be_bytes());
    sealed.extend_from_slice(r);
    sealed.extend_from_slice(content);
    let cipher = cipher(key, r).ok_or_else(too_long)?;
    let body = sealed.get_mut(HEADER_BYTES..).ok_or_else(too_long)?;
    let tag = cipher.seal_in_place_separate_tag(zero_nonce(), Aad::from(row), body).map_err(|_| too_long())?;
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

/// Opens what [`seal`] made for the same row.
pub fn open(keys: &PartitionKeys, row: &[u8], mut sealed: Vec<u8>) -> Result<Vec<u8>, SealError> {
    let format = || SealError::Format { row: hex::encode(row) };
    let damaged = || SealError::Damaged { row: hex::encode(row) };
    let (number, r) = parse_header(&sealed).ok_or_else(format)?;
    let key = keys.numbered(number).ok_or_else(|| SealError::NoKey { row: hex::encode(row), number })?;
    let cipher = cipher(key, &r).ok_or_else(damaged)?;
    // The plaintext is moved to the front of the same buffer: one allocation for each value.
    let length =
        cipher.open_within(zero_nonce(), Aad::from(row), &mut sealed, HEADER_BYTES..).map_err(|_| damaged())?.len();
    sealed.truncate(length);
    Ok(sealed)
}

/// The number of the key under which a value is sealed.
pub fn key_number(sealed: &[u8]) -> Option<u32> {
    parse_header(sealed).map(|(number, _)| number)
}

fn parse_header(sealed: &[u8]) -> Option<(u32, [u8; RANDOM_BYTES])> {
    if sealed.len() < OVERHEAD_BYTES {
        return None;
    }
    let (format, rest) = sealed.split_first()?;
    let (number, rest) = rest.split_first_chunk::<4>()?;
    let (r, _) = rest.split_first_chunk::<RANDOM_BYTES>()?;
    (*format == FORMAT).then(|| (u32::from_be_bytes(*number), *r))
}

fn cipher(partition_key: &Prf, r: &[u8; RANDOM_BYTES]) -> Option<LessSafeKey> {
    let key = Zeroizing::new(partition_key.begin(label::VALUE_KEY).with(r).finish());
    UnboundKey::new(&AES_256_GCM, key.as_slice()).ok().map(LessSafeKey::new)
}

/// Right only because each key seals one value.
fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_in_its_row_and_partition_only() -> Result<(), Box<dyn std::error::Error>> {
        let keys = PartitionKeys::generate()?;
        let r = [3; RANDOM_BYTES];
        let sealed = seal(&keys, b"row", b"content", &r)?;
        assert_eq!(sealed.len(), 7 + OVERHEAD_BYTES);
        assert_eq!(open(&keys, b"row", sealed.clone())?, b"content");
        let damaged = Err(SealError::Damaged { row: hex::encode(b"raw") });
        assert_eq!(open(&keys, b"raw", sealed.clone()), damaged);
        let other = PartitionKeys::generate()?;
        assert!(matches!(open(&other, b"row", sealed.clone()), Err(SealError::Damaged { .. })));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(open(&keys, b"row", changed).is_err(), "byte {at}");
        }
        for length in 0..sealed.len() {
            assert!(open(&keys, b"row", sealed[..length].to_vec()).is_err(), "length {length}");
        }
        Ok(())
    }

    #[test]
    fn rotation_seals_under_the_new_key_and_opens_both() -> Result<(), Box<dyn std::error::Error>> {
        let keys = PartitionKeys::generate()?;
        let before = seal(&keys, b"row", b"content", &[1; RANDOM_BYTES])?;
        let rotated = keys.rotated()?;
        let after = seal(&rotated, b"row", b"content", &[2; RANDOM_BYTES])?;
        assert_eq!((key_number(&before), key_number(&after)), (Some(1), Some(2)));
        assert_eq!(open(&rotated, b"row", before)?, b"content");
        assert_eq!(open(&keys, b"row", after), Err(SealError::NoKey { row: hex::encode(b"row"), number: 2 }));
        Ok(())
    }
}
