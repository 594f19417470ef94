//! What a card says: its fields in canonical order, and the checks that every card passes.
//!
//! [`CardPayload::to_bytes`] and [`CardPayload::from_bytes`] apply the same checks, so that nothing
//! leaves that a partner would refuse. Whether to believe a card is the business of `card.rs`.

use crate::{
    codec::{self, Bounds, CodecError},
    cose::SignatureBytes,
    id::{Hash, KeyId, OrgId},
    label, limits,
    primitive::{PublicKey, labelled},
    text,
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, net::Ipv4Addr, net::Ipv6Addr, str::FromStr};

/// Version of the card format.
pub const CARD_FORMAT: u64 = 1;
const BOUNDS: Bounds = Bounds::bytes(limits::CARD_BYTES_MAX);
/// `age1pq1`, then 1,216 bytes of ML-KEM-768 and X25519 keys and a checksum in Bech32 (C2SP age).
const AGE_RECIPIENT_LEN: usize = 1_959;
const HANDLE_LEN_MAX: usize = 32;

/// What a key may be used for. One key has one purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Signs cards, and issues or renews the issuing key's certificate. May be kept offline.
    Root,
    /// Issues node certificates.
    Issuing,
    /// A node's TLS key.
    Node,
    /// Attests records: batch heads.
    Records,
    /// Signs agreements and standing notices.
    Agreements,
    /// Signs runs and receipts.
    Runs,
    /// Signs checkpoints of our witnessed log.
    Log,
    /// Cosigns the checkpoints of others.
    Witness,
    /// Certifies users' keys.
    Users,
}

impl Purpose {
    /// All purposes, in order.
    pub const ALL: [Self; 9] = [
        Self::Root,
        Self::Issuing,
        Self::Node,
        Self::Records,
        Self::Agreements,
        Self::Runs,
        Self::Log,
        Self::Witness,
        Self::Users,
    ];
    /// Its name, as the card has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Issuing => "issuing",
            Self::Node => "node",
            Self::Records => "records",
            Self::Agreements => "agreements",
            Self::Runs => "runs",
            Self::Log => "log",
            Self::Witness => "witness",
            Self::Users => "users",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One key of an organisation: for what, from when, until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardKey {
    /// The key.
    pub key: PublicKey,
    /// Counts from here.
    pub from: UnixMillis,
    /// Counts until here, exclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UnixMillis>,
    /// For what.
    pub purpose: Purpose,
    /// Taken out of use at this time: nothing from then on counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<UnixMillis>,
    /// In other hands since this time: only what others witnessed before it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compromised: Option<UnixMillis>,
}

impl CardKey {
    /// A key that counts from a time on.
    pub fn new(purpose: Purpose, key: PublicKey, from: UnixMillis) -> Self {
        Self { key, from, until: None, purpose, revoked: None, compromised: None }
    }

    /// Whether what is proved to have existed at `at` counts under this key.
    pub fn counts_at(&self, at: UnixMillis) -> bool {
        let ends = [self.until, self.revoked, self.compromised];
        self.from <= at && ends.into_iter().flatten().all(|end| at < end)
    }
}

/// A person to call, in the order of succession.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// Name.
    pub name: String,
    /// Function.
    pub role: String,
    /// E-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Telephone number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
}

/// Where a node can be reached: `host:port`, the host a DNS name, an IPv4 or a bracketed IPv6 address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    text: String,
    host_len: usize,
    port: u16,
}

impl Address {
    /// The host, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        let host = self.text.get(..self.host_len).unwrap_or_default();
        host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host)
    }
    /// The UDP port.
    pub fn port(&self) -> u16 {
        self.port
    }
    /// The whole, as the card has it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl FromStr for Address {
    type Err = PayloadFault;
    fn from_str(text: &str) -> Result<Self, PayloadFault> {
        let refused = || PayloadFault::Address { given: text.chars().filter(|c| !c.is_control()).take(80).collect() };
        let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
        let number = port.parse::<u16>().ok().filter(|n| *n > 0 && n.to_string() == port).ok_or_else(refused)?;
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let well_formed = match bracketed {
            Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
            None => host.parse::<Ipv4Addr>().is_ok() || is_dns_name(host),
        };
        if !well_formed {
            return Err(refused());
        }
        Ok(Self { host_len: host.len(), port: number, text: text.to_owned() })
    }
}

impl TryFrom<String> for Address {
    type Error = PayloadFault;
    fn try_from(text: String) -> Result<Self, PayloadFault> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.text
    }
}

/// Letters, digits and inner hyphens in labels of 1 to 63 (RFC 1123); the last label is not a number.
fn is_dns_name(host: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    let last_is_number = host.rsplit('.').next().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
    host.len() <= 253 && host.split('.').all(label) && !last_is_number
}

/// What an organisation says of itself. Fields stand in the order of their encoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardPayload {
    /// [`CARD_FORMAT`].
    pub v: u64,
    /// The age recipient of bundles for this organisation: `age1pq1...`.
    pub age: String,
    /// Its id: SHA-256 of the first root key's SPKI.
    pub org: OrgId,
    /// Its keys, former ones included.
    pub keys: Vec<CardKey>,
    /// Its name, for people.
    pub name: String,
    /// The root certificate, DER.
    #[serde(with = "serde_bytes")]
    pub root: Vec<u8>,
    /// Its short name: lower-case letters, digits and hyphens.
    pub handle: String,
    /// When the card was made, by its maker's clock.
    pub issued: UnixMillis,
    /// Rises with every card; the newest decides.
    pub number: u64,
    /// People to call, in the order of succession.
    pub contacts: Vec<Contact>,
    /// Where its nodes can be reached, in the order of preference.
    pub addresses: Vec<Address>,
    /// Commitment to the next root key: [`next_root`].
    #[serde(default, rename = "next-root", skip_serializing_if = "Option::is_none")]
    pub next_root: Option<Hash>,
    /// Signatures that lead from the first root to this one, oldest first; none under the first root.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "some")]
    pub succession: Vec<SignatureBytes>,
}

/// A list that is there has something in it: an empty one is left out, so that a card has one encoding.
fn some<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<SignatureBytes>, D::Error> {
    let steps = Vec::<SignatureBytes>::deserialize(deserializer)?;
    if steps.is_empty() { Err(serde::de::Error::custom("an empty list")) } else { Ok(steps) }
}

/// A card that is not well-formed: the fault of whoever made it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadFault {
    /// Not canonical, or not of the form.
    #[error("the card is malformed: {0}")]
    Codec(#[from] CodecError),
    /// Another format.
    #[error("the card has format `{given}`: this program reads format {CARD_FORMAT}, a newer one may be needed")]
    Version {
        /// What it has.
        given: u64,
    },
    /// A text that is empty, too long or misleading.
    #[error("the card's `{field}` is empty, too long, or has control or direction characters")]
    Text {
        /// The field.
        field: &'static str,
    },
    /// A handle of another form.
    #[error("the card's handle is not of 1 to {HANDLE_LEN_MAX} lower-case letters, digits and hyphens, a letter first")]
    Handle,
    /// An address of another form.
    #[error("`{given}` is not an address: expected host:port")]
    Address {
        /// What was given, shortened.
        given: String,
    },
    /// Another kind of recipient, or a damaged one.
    #[error("the card's age recipient is not a post-quantum one (`age1pq1...`)")]
    AgeRecipient,
    /// More entries than a card may have.
    #[error("the card lists too many {field}: `{given}` where at most {max} are taken")]
    TooMany {
        /// The list.
        field: &'static str,
        /// Entries given.
        given: usize,
        /// Entries taken.
        max: usize,
    },
    /// The root certificate cannot be read, is too large, or has a key of another algorithm.
    #[error("the card's root certificate cannot be read or its key is neither Ed25519 nor P-256")]
    Root,
    /// The root key is not among the keys with purpose root, or did not count when the card was made.
    #[error("the card does not list the key of its root certificate as its root")]
    RootUnlisted,
    /// One key stands twice.
    #[error("the card lists key `{}` twice: one key has one purpose", key.short())]
    KeyTwice {
        /// The key.
        key: KeyId,
    },
    /// A key that never counts.
    #[error("the card's key `{}` ends before it begins", key.short())]
    Interval {
        /// The key.
        key: KeyId,
    },
}

/// Commitment to a root key that is not yet in use: SHA-256 over label and its SubjectPublicKeyInfo.
pub fn next_root(key: &PublicKey) -> Hash {
    Hash::from_bytes(labelled(label::NEXT_ROOT, &[&key.spki()]))
}

/// Text that people read to decide whom to trust: nothing invisible, nothing that changes direction.
fn is_plain(text: &str) -> bool {
    text::is_line(text) && text.trim() == text
}

fn is_handle(text: &str) -> bool {
    text.len() <= HANDLE_LEN_MAX
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_age_recipient(text: &str) -> bool {
    const BECH32: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    text.len() == AGE_RECIPIENT_LEN
        && text.strip_prefix("age1pq1").is_some_and(|data| data.chars().all(|c| BECH32.contains(c)))
}

impl CardPayload {
    /// Checks the payload and encodes it: the bytes that the root key signs.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PayloadFault> {
        self.check()?;
        Ok(codec::to_vec(self, BOUNDS)?)
    }

    /// Reads and checks a payload.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PayloadFault> {
        let payload: Self = codec::from_slice(bytes, BOUNDS)?;
        payload.check()?;
        Ok(payload)
    }

    /// The key of the root certificate.
    pub fn root_key(&self) -> Result<PublicKey, PayloadFault> {
        if self.root.len() > limits::CERTIFICATE_BYTES_MAX {
            return Err(PayloadFault::Root);
        }
        let (rest, certificate) = x509_parser::parse_x509_certificate(&self.root).map_err(|_| PayloadFault::Root)?;
        if !rest.is_empty() {
            return Err(PayloadFault::Root);
        }
        PublicKey::from_spki(certificate.public_key().raw).map_err(|_| PayloadFault::Root)
    }

    fn check(&self) -> Result<(), PayloadFault> {
        if self.v != CARD_FORMAT {
            return Err(PayloadFault::Version { given: self.v });
        }
        for (field, given, max) in [
            ("keys", self.keys.len(), limits::CARD_KEYS_MAX),
            ("contacts", self.contacts.len(), limits::CARD_CONTACTS_MAX),
            ("addresses", self.addresses.len(), limits::CARD_ADDRESSES_MAX),
        ] {
            if given > max {
                return Err(PayloadFault::TooMany { field, given, max });
            }
        }
        if !is_plain(&self.name) {
            return Err(PayloadFault::Text { field: "name" });
        }
        if !is_handle(&self.handle) {
            return Err(PayloadFault::Handle);
        }
        if !is_age_recipient(&self.age) {
            return Err(PayloadFault::AgeRecipient);
        }
        for contact in &self.contacts {
            let Contact { name, role, email, phone } = contact;
            if ![Some(name), Some(role), email.as_ref(), phone.as_ref()].into_iter().flatten().all(|t| is_plain(t)) {
                return Err(PayloadFault::Text { field: "contacts" });
            }
        }
        self.check_keys()
    }

    fn check_keys(&self) -> Result<(), PayloadFault> {
        let mut seen = BTreeSet::new();
        for entry in &self.keys {
            let key = entry.key.id();
            if !seen.insert(key) {
                return Err(PayloadFault::KeyTwice { key });
            }
            if entry.until.is_some_and(|until| until <= entry.from) {
                return Err(PayloadFault::Interval { key });
            }
        }
        let root = self.root_key()?;
        let listed = self.keys.iter().find(|k| k.key == root && k.purpose == Purpose::Root);
        if listed.is_some_and(|k| k.counts_at(self.issued)) { Ok(()) } else { Err(PayloadFault::RootUnlisted) }
    }
}
