//! COSE_Sign1 (RFC 9052), the one form of every signature, written and read by hand.
//!
//! A second CBOR parser on signed bytes is how differential bugs start, so this reads only what it
//! would have written: tag 18, a protected header with algorithm and key id, an empty unprotected
//! header, an attached payload. The external_aad is the signature's [`Context`].

use crate::{
    codec::{self, Bounds, CodecError},
    id::KeyId,
    label::Context,
    limits,
    primitive::{Algorithm, PublicKey, SigningKey},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A signature that was refused: the signer's or the sender's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// Not a COSE_Sign1 of our form.
    #[error("not a signature of the expected form: {0}")]
    Form(CodecError),
    /// Made by another key than the one expected.
    #[error("signed by another key than expected")]
    Key,
    /// The algorithm does not fit the key.
    #[error("the algorithm named does not fit the key")]
    Algorithm,
    /// It does not verify.
    #[error("the signature does not verify")]
    Invalid,
}

/// The `Signature1` structure of RFC 9052, section 4.4: the bytes that are signed.
pub fn sig_structure(protected: &[u8], external_aad: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(protected.len() + external_aad.len() + payload.len() + 32);
    out.push(0x84);
    put_head(&mut out, 3, 10);
    out.extend_from_slice(b"Signature1");
    for part in [protected, external_aad, payload] {
        put_bytes(&mut out, part);
    }
    out
}

/// The head of an item in its shortest form.
fn put_head(out: &mut Vec<u8>, major: u8, argument: usize) {
    let major = major << 5;
    let argument = argument as u64;
    match argument {
        0..=23 => out.push(major | argument as u8),
        24..=0xff => out.extend_from_slice(&[major | 24, argument as u8]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend_from_slice(&(argument as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend_from_slice(&(argument as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&argument.to_be_bytes());
        }
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_head(out, 2, bytes.len());
    out.extend_from_slice(bytes);
}

/// {1: alg, 4: kid}, with alg -8 (EdDSA) or -7 (ES256).
fn protected(algorithm: Algorithm, kid: KeyId) -> Vec<u8> {
    let alg = match algorithm {
        Algorithm::Ed25519 => 0x27,
        Algorithm::Es256 => 0x26,
    };
    let mut out = vec![0xa2, 0x01, alg, 0x04];
    put_bytes(&mut out, kid.as_bytes());
    out
}

/// Signs a payload for one purpose.
pub fn sign(context: Context, key: &SigningKey, payload: &[u8]) -> Vec<u8> {
    let protected = protected(Algorithm::Ed25519, key.public().id());
    let signature = key.sign(&sig_structure(&protected, context.text().as_bytes(), payload));
    let mut out = Vec::with_capacity(protected.len() + payload.len() + signature.len() + 16);
    out.extend_from_slice(&[0xd2, 0x84]);
    put_bytes(&mut out, &protected);
    out.push(0xa0);
    put_bytes(&mut out, payload);
    put_bytes(&mut out, &signature);
    out
}

/// Assembles a COSE_Sign1 from a signature made elsewhere (a root key that lives in a certificate tool).
pub fn assemble(algorithm: Algorithm, kid: KeyId, payload: &[u8], signature: &[u8]) -> Vec<u8> {
    let mut out = vec![0xd2, 0x84];
    put_bytes(&mut out, &protected(algorithm, kid));
    out.push(0xa0);
    put_bytes(&mut out, payload);
    put_bytes(&mut out, signature);
    out
}

/// The bytes that a signature by `kid` over `payload` covers, for [`assemble`].
pub fn to_be_signed(context: Context, algorithm: Algorithm, kid: KeyId, payload: &[u8]) -> Vec<u8> {
    sig_structure(&protected(algorithm, kid), context.text().as_bytes(), payload)
}

/// A signature as it was read, not yet verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sign1<'a> {
    protected: &'a [u8],
    payload: &'a [u8],
    signature: &'a [u8],
    algorithm: Algorithm,
    kid: KeyId,
}

/// Takes a byte string off the front; the scanner has checked form and length.
fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (first, tail) = rest.split_first()?;
    if first >> 5 != 2 {
        return None;
    }
    let (len, tail) = match first & 31 {
        short @ 0..=23 => (usize::from(short), tail),
        wide @ 24..=27 => {
            let width = 1usize << (wide - 24);
            let (head, tail) = tail.split_at_checked(width)?;
            let len = head.iter().fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
            (usize::try_from(len).ok()?, tail)
        }
        _ => return None,
    };
    let (bytes, tail) = tail.split_at_checked(len)?;
    *rest = tail;
    Some(bytes)
}

impl<'a> Sign1<'a> {
    /// Reads a signature whose whole length is at most `bytes_max`.
    pub fn parse(bytes: &'a [u8], bytes_max: usize) -> Result<Self, SignatureFault> {
        codec::scan(bytes, Bounds::bytes(bytes_max)).map_err(SignatureFault::Form)?;
        Self::read(bytes).ok_or(SignatureFault::Form(CodecError::Shape))
    }

    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(&[0xd2, 0x84])?;
        let protected = take_bytes(&mut rest)?;
        rest = rest.strip_prefix(&[0xa0])?;
        let payload = take_bytes(&mut rest)?;
        let signature = take_bytes(&mut rest)?;
        let (head, kid) = protected.split_at_checked(6)?;
        let algorithm = match head {
            [0xa2, 0x01, 0x27, 0x04, 0x58, 0x20] => Algorithm::Ed25519,
            [0xa2, 0x01, 0x26, 0x04, 0x58, 0x20] => Algorithm::Es256,
            _ => return None,
        };
        let kid = KeyId::from_slice(kid)?;
        (rest.is_empty() && signature.len() == 64).then_some(Self { protected, payload, signature, algorithm, kid })
    }

    /// The key that it claims.
    pub fn kid(&self) -> KeyId {
        self.kid
    }

    /// The payload before verification: only for finding out which key to ask for.
    pub fn danger_unverified_payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The payload, as the reward for verifying.
    pub fn verify(&self, context: Context, key: &PublicKey) -> Result<&'a [u8], SignatureFault> {
        if key.id() != self.kid {
            return Err(SignatureFault::Key);
        }
        if key.algorithm() != self.algorithm {
            return Err(SignatureFault::Algorithm);
        }
        let signed = sig_structure(self.protected, context.text().as_bytes(), self.payload);
        if key.verifies(&signed, self.signature) { Ok(self.payload) } else { Err(SignatureFault::Invalid) }
    }
}

/// The signatures of one signer over one payload, wherever they stand in a structure: an array of COSE_Sign1, each as
/// the bytes that were signed.
///
/// INVARIANT: this version writes and reads arrays of exactly one. A second algorithm stands beside the first in a
/// later version, without a new place for it in any structure.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignatureBytes(pub Vec<u8>);

impl Serialize for SignatureBytes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        (serde_bytes::Bytes::new(&self.0),).serialize(s)
    }
}

impl<'de> Deserialize<'de> for SignatureBytes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let (only,) = <(serde_bytes::ByteBuf,)>::deserialize(d)?;
        Ok(Self(only.into_vec()))
    }
}

impl SignatureBytes {
    /// The array alone, as a file or message holds it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        codec::to_vec(self, Bounds::bytes(limits::CONTROL_FRAME_BYTES_MAX))
    }

    /// Reads the array alone, of at most `bytes_max` bytes.
    pub fn from_bytes(bytes: &[u8], bytes_max: usize) -> Result<Self, CodecError> {
        codec::from_slice(bytes, Bounds::bytes(bytes_max))
    }

    /// Reads it.
    pub fn parse(&self) -> Result<Sign1<'_>, SignatureFault> {
        Sign1::parse(&self.0, limits::CONTROL_FRAME_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label;

    #[test]
    fn every_changed_byte_and_every_other_context_is_refused() {
        let key = SigningKey::from_seed(&[3; 32]).unwrap();
        let signed = sign(label::SIGN_BATCH, &key, b"payload");
        let parsed = Sign1::parse(&signed, 4_096).unwrap();
        assert_eq!(parsed.verify(label::SIGN_BATCH, key.public()), Ok(b"payload".as_slice()));
        for context in label::CONTEXTS.iter().filter(|c| **c != label::SIGN_BATCH) {
            assert_eq!(parsed.verify(*context, key.public()), Err(SignatureFault::Invalid));
        }
        for at in 0..signed.len() {
            for bit in 0..8 {
                let mut changed = signed.clone();
                changed[at] ^= 1 << bit;
                let accepted = Sign1::parse(&changed, 4_096)
                    .and_then(|s| s.verify(label::SIGN_BATCH, key.public()).map(<[u8]>::to_vec));
                assert!(accepted.is_err(), "byte {at} bit {bit}");
            }
        }
        for len in 0..signed.len() {
            assert!(Sign1::parse(&signed[..len], 4_096).is_err());
        }
    }

    #[test]
    fn a_signature_stands_in_an_array_of_exactly_one() {
        let key = SigningKey::from_seed(&[3; 32]).unwrap();
        let one = SignatureBytes(sign(label::SIGN_BATCH, &key, b"payload"));
        let bytes = one.to_bytes().unwrap();
        assert_eq!((bytes[0], &bytes[3..]), (0x81, one.0.as_slice()));
        assert_eq!(SignatureBytes::from_bytes(&bytes, 4_096), Ok(one));
        let item = &bytes[1..];
        let refused = |bytes: &[u8]| assert_eq!(SignatureBytes::from_bytes(bytes, 4_096), Err(CodecError::Shape));
        refused(&[0x80]);
        refused(&[&[0x82], item, item].concat());
        refused(item);
    }
}
