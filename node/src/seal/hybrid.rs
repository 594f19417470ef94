//! The `mlkem768x25519` recipient of age files: post-quantum and classical at once.
//!
//! C2SP age, "MLKEM768-X25519 hybrid post-quantum recipient type": HPKE (RFC 9180) in base mode with
//! the X-Wing KEM, HKDF-SHA256 and ChaCha20-Poly1305. Evidence is confidential for decades, so a
//! file is sealed to hybrid recipients only: the label that [`Recipient`] returns makes age refuse
//! a file that mixes them with others. Passphrases stand alone in a file of their own.

use crate::secret::{RandomError, Secret, random_secret};
use age_core::{
    format::{FILE_KEY_BYTES, FileKey, Stanza},
    secrecy::ExposeSecret,
};
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use bech32::{FromBase32, ToBase32, Variant};
use hpke::{
    Deserializable, Kem, OpModeR, OpModeS, Serializable, aead::ChaCha20Poly1305, kdf::HkdfSha256, kem::XWing,
    single_shot_open, single_shot_seal,
};
use std::{collections::HashSet, fmt, str::FromStr};
use zeroize::Zeroize;

/// First argument of the stanza.
const TAG: &str = "mlkem768x25519";
const INFO: &[u8] = b"age-encryption.org/mlkem768x25519";
/// The label that keeps recipients that resist quantum computers apart from those that do not.
const POSTQUANTUM: &str = "postquantum";
/// Lower case, because bech32 wants one case; a secret key is shown in upper case.
const IDENTITY_PREFIX: &str = "age-secret-key-pq-";
const RECIPIENT_PREFIX: &str = "age1pq";
const RECIPIENT_BYTES: usize = 1216;
const ENCAPSULATED_BYTES: usize = 1120;
/// An ML-KEM-768 ciphertext; the X25519 share follows it.
const MLKEM_CIPHERTEXT_BYTES: usize = 1088;
const BODY_BYTES: usize = FILE_KEY_BYTES + 16;
/// A recipient has about 1,960 characters; nothing longer is looked at.
const TEXT_BYTES_MAX: usize = 2_500;

/// The u-coordinates of the points of small order on Curve25519 and its twist, with their
/// non-canonical encodings, top bit cleared: an agreement with one of them is zero whoever makes it.
const SMALL_ORDER: [[u8; 32]; 7] = {
    let mut one = [0; 32];
    one[0] = 1;
    [
        [0; 32],
        one,
        [
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09,
            0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
        ],
        [
            0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44,
            0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
        ],
        near_p(0xec),
        near_p(0xed),
        near_p(0xee),
    ]
};

/// p - 1, p and p + 1 for p = 2^255 - 19, little endian.
const fn near_p(low: u8) -> [u8; 32] {
    let mut point = [0xff; 32];
    point[0] = low;
    point[31] = 0x7f;
    point
}

/// A recipient or an identity, as somebody typed or stored it, could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not bech32, or of another kind.
    #[error("not a hybrid age recipient: expected `age1pq1...` of {RECIPIENT_BYTES} bytes")]
    Recipient,
    /// Not bech32, or of another kind. The text is not repeated: it may be a secret.
    #[error("not a hybrid age identity: expected `AGE-SECRET-KEY-PQ-1...` of 32 bytes")]
    Identity,
}

/// A hybrid secret key: the 32-byte seed from which X-Wing derives its parts.
pub struct Identity(Secret<[u8; 32]>);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

impl Identity {
    /// Draws a new one.
    pub fn generate() -> Result<Self, RandomError> {
        random_secret().map(Self)
    }
    /// From its seed.
    pub fn from_seed(seed: Secret<[u8; 32]>) -> Self {
        Self(seed)
    }
    /// One more of the same, for what is written anew.
    pub fn copy(&self) -> Self {
        Self(Secret::new(*self.0.expose()))
    }
    /// Its seed, for the keyring.
    pub fn seed(&self) -> &Secret<[u8; 32]> {
        &self.0
    }
    /// Reads `AGE-SECRET-KEY-PQ-1...`.
    pub fn from_text(text: &str) -> Result<Self, ParseError> {
        let mut bytes = from_bech32(text, IDENTITY_PREFIX).ok_or(ParseError::Identity)?;
        let seed = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| ParseError::Identity);
        bytes.zeroize();
        seed.map(|seed| Self(Secret::new(seed)))
    }
    /// Writes `AGE-SECRET-KEY-PQ-1...`.
    pub fn to_text(&self) -> Secret<String> {
        let mut text = to_bech32(IDENTITY_PREFIX, self.0.expose());
        text.make_ascii_uppercase();
        Secret::new(text)
    }
    /// The public half.
    pub fn recipient(&self) -> Recipient {
        // Any 32 bytes are a seed, so the second arm is never taken; an empty recipient seals nothing.
        let public = self.private().map(|private| XWing::sk_to_pk(&private).to_bytes().to_vec());
        Recipient(public.unwrap_or_default())
    }
    fn private(&self) -> Option<<XWing as Kem>::PrivateKey> {
        <XWing as Kem>::PrivateKey::from_bytes(self.0.expose()).ok()
    }
    fn unwrap(&self, stanza: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        if stanza.tag != TAG {
            return None;
        }
        let Some(encapsulated) = encapsulated_of(stanza) else {
            return Some(Err(age::DecryptError::InvalidHeader));
        };
        let encapsulated = <XWing as Kem>::EncappedKey::from_bytes(&encapsulated).ok()?;
        // A stanza that does not open is another recipient's: nothing tells the two apart.
        let mut key = single_shot_open::<ChaCha20Poly1305, HkdfSha256, XWing>(
            &OpModeR::Base,
            &self.private()?,
            &encapsulated,
            INFO,
            &stanza.body,
            b"",
        )
        .ok()?;
        let file_key = FileKey::try_init_with_mut(|out| {
            let bytes =
                <&[u8; FILE_KEY_BYTES]>::try_from(key.as_slice()).map_err(|_| age::DecryptError::InvalidHeader)?;
            out.copy_from_slice(bytes);
            Ok(())
        });
        key.zeroize();
        Some(file_key)
    }
}

/// The encapsulated key of a well-formed stanza. Lengths are checked before anything is decrypted.
fn encapsulated_of(stanza: &Stanza) -> Option<Vec<u8>> {
    let [argument] = stanza.args.as_slice() else { return None };
    // This engine refuses padding and trailing bits, so one encoding is taken.
    let encapsulated = BASE64_STANDARD_NO_PAD.decode(argument).ok()?;
    if encapsulated.len() != ENCAPSULATED_BYTES || stanza.body.len() != BODY_BYTES {
        return None;
    }
    let mut share = <[u8; 32]>::try_from(encapsulated.get(MLKEM_CIPHERTEXT_BYTES..)?).ok()?;
    if let Some(last) = share.last_mut() {
        *last &= 0x7f;
    }
    (!SMALL_ORDER.contains(&share)).then_some(encapsulated)
}

impl age::Identity for Identity {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        self.unwrap(stanza)
    }
}

/// A hybrid public key: an ML-KEM-768 encapsulation key and an X25519 point.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient(Vec<u8>);

impl Recipient {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
    /// From its bytes; the ML-KEM key is checked.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParseError> {
        <XWing as Kem>::PublicKey::from_bytes(bytes).map_err(|_| ParseError::Recipient)?;
        Ok(Self(bytes.to_vec()))
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_bech32(RECIPIENT_PREFIX, &self.0))
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({}...)", to_bech32(RECIPIENT_PREFIX, &self.0).chars().take(16).collect::<String>())
    }
}

impl FromStr for Recipient {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::from_bytes(&from_bech32(text, RECIPIENT_PREFIX).ok_or(ParseError::Recipient)?)
    }
}

impl age::Recipient for Recipient {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), age::EncryptError> {
        let wrong = |what: &str| age::EncryptError::Io(std::io::Error::other(what.to_owned()));
        let public = <XWing as Kem>::PublicKey::from_bytes(&self.0).map_err(|_| wrong("a damaged recipient"))?;
        let (encapsulated, body) = single_shot_seal::<ChaCha20Poly1305, HkdfSha256, XWing>(
            &OpModeS::Base,
            &public,
            INFO,
            file_key.expose_secret(),
            b"",
        )
        .map_err(|_| wrong("the file key could not be sealed"))?;
        let stanza =
            Stanza { tag: TAG.to_owned(), args: vec![BASE64_STANDARD_NO_PAD.encode(encapsulated.to_bytes())], body };
        Ok((vec![stanza], HashSet::from([POSTQUANTUM.to_owned()])))
    }
}

fn from_bech32(text: &str, prefix: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let (found, mut digits, variant) = bech32::decode(text).ok()?;
    let bytes = (variant == Variant::Bech32 && found == prefix).then(|| Vec::from_base32(&digits).ok()).flatten();
    digits.fill(bech32::u5::default());
    bytes
}

fn to_bech32(prefix: &str, bytes: &[u8]) -> String {
    // The prefixes are valid, so encoding cannot fail.
    bech32::encode(prefix, bytes.to_base32(), Variant::Bech32).unwrap_or_default()
}
