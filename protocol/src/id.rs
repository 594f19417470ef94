//! Identifiers: one type for each role, never one for each representation.
//!
//! There is no conversion between two roles. On the wire an id is a byte string; for people it is
//! lower-case hexadecimal. None of them is secret, none is a local row number.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, str::FromStr};

/// An identifier typed by a person was not of the expected form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not {role}: expected {digits} hexadecimal digits")]
pub struct IdError {
    /// What was typed, shortened.
    pub given: String,
    /// The role that was expected.
    pub role: &'static str,
    /// Digits expected.
    pub digits: usize,
}

/// Decodes lower- or upper-case hexadecimal into exactly `N` bytes.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut out = [0u8; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let mut value = 0u8;
        for digit in pair {
            let nibble = (*digit as char).to_digit(16)?;
            value = (value << 4) | u8::try_from(nibble).ok()?;
        }
        *byte = value;
    }
    Some(out)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    text
}

struct ExactBytes<const N: usize>;

impl<const N: usize> de::Visitor<'_> for ExactBytes<N> {
    type Value = [u8; N];
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a byte string of {N} bytes")
    }
    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<[u8; N], E> {
        <[u8; N]>::try_from(bytes).map_err(|_| E::invalid_length(bytes.len(), &self))
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $role:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $bytes;
            /// From its bytes.
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self { Self(bytes) }
            /// From a slice of exactly the right length.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> { <[u8; $bytes]>::try_from(bytes).ok().map(Self) }
            /// Its bytes.
            pub const fn as_bytes(&self) -> &[u8; $bytes] { &self.0 }
            /// The first eight hexadecimal digits, for logs and tables.
            pub fn short(&self) -> String { self.to_string().chars().take(8).collect() }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(&hex(&self.0)) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                unhex(text.trim()).map(Self).ok_or_else(|| IdError {
                    given: text.chars().take(80).collect(),
                    role: $role,
                    digits: 2 * $bytes,
                })
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.serialize_bytes(&self.0) }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                d.deserialize_bytes(ExactBytes).map(Self)
            }
        }
    };
}

id!(
    /// An organisation: SHA-256 of the SubjectPublicKeyInfo of its first root key, for ever.
    OrgId, 32, "an organisation's id");
id!(
    /// One ledger of an organisation; drawn at random when the store is created.
    StoreId, 16, "a store's id");
id!(
    /// A line: a record and its amendments. Drawn at random.
    LineId, 16, "a line's id");
id!(
    /// A record: SHA-256 over label and body.
    RecordId, 32, "a record's id");
id!(
    /// A batch: SHA-256 over label and signed head payload.
    BatchId, 32, "a batch's id");
id!(
    /// An agreement over all its versions. Drawn at random by whoever drafts it.
    AgreementId, 16, "an agreement's id");
id!(
    /// One version of an agreement: SHA-256 over label and canonical body.
    AgreementDigest, 32, "an agreement version's digest");
id!(
    /// A public key: SHA-256 of its SubjectPublicKeyInfo.
    KeyId, 32, "a key's id");
id!(
    /// A feed: digest of organisation, store, agreement, recipient and epoch.
    FeedId, 32, "a feed's id");
id!(
    /// A recall: SHA-256 over label and signed payload.
    RecallId, 32, "a recall's id");
id!(
    /// A grant: SHA-256 over label and signed payload.
    GrantId, 32, "a grant's id");
id!(
    /// A signed notice: SHA-256 over label and signature as it travels.
    NoticeId, 32, "a notice's id");
id!(
    /// A feed entry's hash, which the running digest and the run's tree cover.
    EntryHash, 32, "an entry's hash");
id!(
    /// A running digest over a feed's entries.
    FeedDigest, 32, "a feed's digest");
id!(
    /// A card: SHA-256 over label and payload; twelve words spell its first 132 bits.
    CardDigest, 32, "a card's digest");
id!(
    /// What stands in the log of its organisation: SHA-256 over label, context and what was signed; or an event's digest.
    LoggedDigest, 32, "a logged digest");
id!(
    /// A journal up to and with one event: SHA-256 over label and event, which names the digest before it.
    JournalDigest, 32, "a journal's digest");
id!(
    /// A person of an organisation. Drawn at random by the organisation.
    UserId, 16, "a person's id");
id!(
    /// One certificate of a person: SHA-256 over label and signed payload.
    UserDigest, 32, "a certificate's digest");
id!(
    /// A tree node, leaf or root.
    Hash, 32, "a hash");
id!(
    /// Sixteen bytes that make something unguessable or unique; its owner says which.
    Nonce, 16, "a nonce");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_round_trip_and_refusals() {
        let id = LineId::from_bytes([0xab; 16]);
        assert_eq!(id.to_string().parse::<LineId>(), Ok(id));
        assert_eq!(format!("{id:?}"), "LineId(abababab)");
        for wrong in ["", "ab", &"zz".repeat(16), &"ab".repeat(17)] {
            assert!(wrong.parse::<LineId>().is_err(), "{wrong}");
        }
    }
}
