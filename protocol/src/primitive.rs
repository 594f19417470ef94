//! The cryptographic primitives of the formats, each as formula, standard and caveat.
//!
//! Nothing is invented here and nothing else in this crate calls `ring`, `sha2` or `hmac`. Signing takes a
//! [`Context`](crate::label::Context), so that a signature made for one purpose verifies for no other.
//! A record is a hundred hashes of a block or two: those are `sha2`'s, whose calls cost less than `ring`'s. What is long
//! is `ring`'s.

use crate::{
    id::{Hash, KeyId},
    label::Label,
};
use hmac::{Hmac, KeyInit, Mac};
use ring::{digest, signature, signature::KeyPair};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::Zeroize;

/// SHA-256 (FIPS 180-4) over the concatenation of `parts`.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Sha256::new();
    for part in parts {
        context.update(part);
    }
    context.finalize().into()
}

fn finish(context: digest::Context) -> [u8; 32] {
    let mut out = [0u8; 32];
    for (to, from) in out.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    out
}

/// SHA-256(label, 0x00, parts...): a hash that means one thing only.
pub fn labelled(label: Label, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Sha256::new();
    context.update(label.text().as_bytes());
    context.update([0]);
    for part in parts {
        context.update(part);
    }
    context.finalize().into()
}

/// A digest that grows with a stream (FIPS 180-4), for files that are never held in memory.
#[derive(Clone)]
pub struct Sha256Stream(digest::Context);

impl Default for Sha256Stream {
    fn default() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }
}

impl Sha256Stream {
    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
    /// The digest of everything taken in.
    pub fn finish(self) -> [u8; 32] {
        finish(self.0)
    }
}

/// A pseudorandom function keyed once: HMAC-SHA256 (FIPS 198-1).
///
/// The key is expanded when it is built, so that many outputs under one seed cost two compressions each.
#[derive(Clone)]
pub struct Prf(Hmac<Sha256>);

impl Prf {
    /// Keys the function.
    pub fn new(key: &[u8; 32]) -> Self {
        // FIPS 198-1, section 4: a key shorter than a block is filled up with zeros.
        let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
        for (to, from) in block.iter_mut().zip(key) {
            *to = *from;
        }
        let keyed = Self(Hmac::new(&block));
        block.zeroize();
        keyed
    }
    /// HMAC(key, label, 0x00, parts...).
    pub fn output(&self, label: Label, parts: &[&[u8]]) -> [u8; 32] {
        parts.iter().fold(self.begin(label.text()), |output, part| output.with(part)).finish()
    }
    /// An output part by part, under a label that may be none of the formats': for what never leaves a machine.
    pub fn begin(&self, label: &str) -> Output {
        Output(self.0.clone()).with(label.as_bytes()).with(&[0])
    }
}

/// HMAC(key, label, 0x00, ...), to which parts are still added.
pub struct Output(Hmac<Sha256>);

impl Output {
    /// With one more part. Nothing says where it ends.
    #[must_use]
    pub fn with(mut self, part: &[u8]) -> Self {
        self.0.update(part);
        self
    }
    /// The output over all parts.
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into_bytes().into()
    }
}

/// A signature algorithm, by its COSE number (IANA COSE registry).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// EdDSA over Ed25519 (RFC 8032), COSE -8.
    #[serde(rename = "ed25519")]
    Ed25519,
    /// ECDSA over P-256 with SHA-256 (FIPS 186-5), COSE -7, fixed 64-byte signatures.
    #[serde(rename = "es256")]
    Es256,
}

/// A public key that was refused when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither a 32-byte Ed25519 key nor a 65-byte uncompressed P-256 point.
    #[error("a public key of unknown form: expected 32 bytes of Ed25519 or 65 bytes of P-256")]
    Form,
    /// The Ed25519 point is not canonically encoded (y is not below 2^255 - 19).
    #[error("an Ed25519 key that is not canonically encoded")]
    NotCanonical,
    /// The Ed25519 point has small order: signatures under it prove nothing.
    #[error("an Ed25519 key of small order, under which signatures prove nothing")]
    SmallOrder,
}

/// A public signing key, checked when it was read.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey {
    algorithm: Algorithm,
    bytes: Vec<u8>,
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?}, {})", self.algorithm, self.id().short())
    }
}

/// DER SubjectPublicKeyInfo up to the key bits (RFC 8410; RFC 5480), so that key ids equal SHA-256 of the SPKI.
const SPKI_ED25519: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const SPKI_P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// y coordinates (little endian, sign bit cleared) of the eight points of small order of Curve25519's Edwards form.
const SMALL_ORDER_Y: [[u8; 32]; 5] = {
    let zero = [0u8; 32];
    let mut one = [0u8; 32];
    one[0] = 1;
    let mut minus_one = [0xffu8; 32];
    minus_one[0] = 0xec;
    minus_one[31] = 0x7f;
    [
        zero,
        one,
        minus_one,
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
            0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
            0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ]
};

impl PublicKey {
    /// Reads a key: 32 bytes of Ed25519, or a 65-byte uncompressed P-256 point.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let algorithm = match (bytes.len(), bytes.first()) {
            (32, _) => Algorithm::Ed25519,
            (65, Some(4)) => Algorithm::Es256,
            _ => return Err(KeyError::Form),
        };
        if algorithm == Algorithm::Ed25519 {
            let mut y = <[u8; 32]>::try_from(bytes).map_err(|_| KeyError::Form)?;
            if let Some(last) = y.last_mut() {
                *last &= 0x7f;
            }
            // p = 2^255 - 19: canonical y is below it.
            let high = y.iter().skip(1).take(30).all(|b| *b == 0xff) && y.last() == Some(&0x7f);
            if high && y.first().is_some_and(|b| *b >= 0xed) {
                return Err(KeyError::NotCanonical);
            }
            if SMALL_ORDER_Y.contains(&y) {
                return Err(KeyError::SmallOrder);
            }
        }
        Ok(Self { algorithm, bytes: bytes.to_vec() })
    }
    /// Reads a key from DER SubjectPublicKeyInfo.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        match (der.strip_prefix(SPKI_ED25519), der.strip_prefix(SPKI_P256)) {
            (Some(key), _) if key.len() == 32 => Self::from_bytes(key),
            (_, Some(key)) if key.len() == 65 => Self::from_bytes(key),
            _ => Err(KeyError::Form),
        }
    }
    /// Its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
    /// The raw key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
    /// DER SubjectPublicKeyInfo.
    pub fn spki(&self) -> Vec<u8> {
        let prefix = match self.algorithm {
            Algorithm::Ed25519 => SPKI_ED25519,
            Algorithm::Es256 => SPKI_P256,
        };
        [prefix, &self.bytes].concat()
    }
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub fn id(&self) -> KeyId {
        KeyId::from_bytes(sha256(&[&self.spki()]))
    }
    /// Whether `signature` over `message` verifies. Ed25519 as ring does it: cofactorless, strict on `s`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &dyn signature::VerificationAlgorithm = match self.algorithm {
            Algorithm::Ed25519 => &signature::ED25519,
            Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
        };
        signature::UnparsedPublicKey::new(algorithm, &self.bytes).verify(message, signature).is_ok()
    }
}

impl Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(&self.bytes)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let bytes = serde_bytes::ByteBuf::deserialize(d)?;
        Self::from_bytes(&bytes).map_err(serde::de::Error::custom)
    }
}

/// A key was misused by the caller: not a fault of anybody outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signing key that could not be read")]
pub struct SigningKeyError;

/// An Ed25519 signing key. It cannot be printed, copied or serialised.
pub struct SigningKey {
    pair: signature::Ed25519KeyPair,
    public: PublicKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public.id().short())
    }
}

impl SigningKey {
    /// From a 32-byte seed (RFC 8032, section 5.1.5). The caller draws it and wipes its copy.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, SigningKeyError> {
        let pair = signature::Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| SigningKeyError)?;
        Self::new(pair)
    }
    /// From PKCS #8 (RFC 5958), as certificate tools write it.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, SigningKeyError> {
        let pair = signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| SigningKeyError)?;
        Self::new(pair)
    }
    fn new(pair: signature::Ed25519KeyPair) -> Result<Self, SigningKeyError> {
        let public = PublicKey::from_bytes(pair.public_key().as_ref()).map_err(|_| SigningKeyError)?;
        Ok(Self { pair, public })
    }
    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }
    /// Ed25519 over `message`. Only [`crate::cose`] and [`crate::custody::note`] call this: everything signed carries a
    /// context, or the origin of a log.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

/// The bytes of a hash, tagged.
pub(crate) fn tagged(tag: u8, parts: &[&[u8]]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[tag]);
    for part in parts {
        context.update(part);
    }
    Hash::from_bytes(finish(context))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both computed by another program: Python's `hashlib` and `hmac`.
    #[test]
    fn a_label_ends_with_a_zero_byte_before_what_it_labels() {
        let hash = "818ba154770243542250d03815047431e5eca2771027ac02e39fe924fac6927a";
        assert_eq!(hex::encode(labelled(crate::label::RECORD_ID, &[b"abc"])), hash);
        assert_eq!(hex::encode(labelled(crate::label::RECORD_ID, &[b"a", b"bc"])), hash);
        let output = "566c74a5c1f5459f85d4c2187d964f7c77f63fbaa9803e4496f84193cf1a6826";
        assert_eq!(hex::encode(Prf::new(&[7; 32]).output(crate::label::SLOT_SALT, &[b"abc"])), output);
    }

    #[test]
    fn keys_of_small_order_and_of_other_encodings_are_refused() {
        for y in SMALL_ORDER_Y {
            assert_eq!(PublicKey::from_bytes(&y), Err(KeyError::SmallOrder));
            let mut signed = y;
            signed[31] |= 0x80;
            assert_eq!(PublicKey::from_bytes(&signed), Err(KeyError::SmallOrder));
        }
        for low in 0xed..=0xffu8 {
            let mut y = [0xff; 32];
            y[0] = low;
            assert_eq!(PublicKey::from_bytes(&y), Err(KeyError::NotCanonical));
            y[31] = 0x7f;
            assert_eq!(PublicKey::from_bytes(&y), Err(KeyError::NotCanonical));
        }
        assert_eq!(PublicKey::from_bytes(&[1; 33]), Err(KeyError::Form));
    }

    #[test]
    fn spki_round_trip_and_signature() -> Result<(), Box<dyn std::error::Error>> {
        let key = SigningKey::from_seed(&[7; 32])?;
        assert_eq!(&PublicKey::from_spki(&key.public().spki())?, key.public());
        let signature = key.sign(b"message");
        assert!(key.public().verifies(b"message", &signature));
        assert!(!key.public().verifies(b"massage", &signature));
        Ok(())
    }
}
