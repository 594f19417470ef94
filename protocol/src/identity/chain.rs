//! From a certificate chain to the organisation that it claims, with `now` given.
//!
//! Called by the node before webpki, which accepts more than our profile (RFC 5280, narrowed). Nothing
//! here verifies a signature: what comes out is a claim until webpki has built a path to the pinned root.

use crate::{
    id::{KeyId, OrgId},
    limits::{CERTIFICATE_BYTES_MAX, CERTIFICATE_NAMES_MAX, CHAIN_CERTIFICATES_MAX},
    primitive::{PublicKey, sha256},
    time::UnixMillis,
};
use x509_parser::{
    certificate::X509Certificate,
    extensions::{ExtendedKeyUsage, GeneralName, KeyUsage, ParsedExtension, SubjectAlternativeName},
    prelude::FromDer,
    x509::{AlgorithmIdentifier, X509Version},
};

/// What a subject alternative name starts with that names an organisation.
const URI_PREFIX: &str = "entente:";
/// Bytes of a serial number (RFC 5280, section 4.1.2.2).
const SERIAL_BYTES_MAX: usize = 20;

/// OID contents (RFC 8410; RFC 5758): id-Ed25519, ecdsa-with-SHA256, ecdsa-with-SHA384.
const SIGNATURE_OIDS: [&[u8]; 3] = [
    &[0x2b, 0x65, 0x70],
    &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02],
    &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03],
];
/// DER SubjectPublicKeyInfo up to the point of a P-384 key (RFC 5480).
const SPKI_P384: &[u8] = &[
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x22, 0x03, 0x62, 0x00,
];

/// What one certificate does that our profile does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// Larger than the limit; not parsed.
    #[error("larger than {CERTIFICATE_BYTES_MAX} bytes")]
    Size,
    /// Not one X.509 version 3 certificate, or bytes after it.
    #[error("not a well-formed X.509 version 3 certificate")]
    Encoding,
    /// Signed with something else than Ed25519, ECDSA with SHA-256 or ECDSA with SHA-384.
    #[error("an algorithm other than Ed25519 and ECDSA with SHA-256 or SHA-384")]
    Algorithm,
    /// A key of another kind, or one under which signatures prove nothing.
    #[error("a key other than a sound Ed25519, P-256 or P-384 key")]
    Key,
    /// The serial number is not positive or not 1 to 20 bytes.
    #[error("a serial number that is not positive and at most {SERIAL_BYTES_MAX} bytes")]
    Serial,
    /// An extension stands twice, is not readable, or is critical and not one of ours.
    #[error("an extension that is repeated, unreadable, or critical and unknown")]
    Extension,
    /// The subject's or the issuer's key identifier is missing.
    #[error("no subject or authority key identifier")]
    KeyIdentifier,
    /// A CA without keyCertSign and cRLSign, or a node certificate that may sign certificates.
    #[error("basic constraints or key usage that do not fit its place in the chain")]
    Usage,
    /// A node certificate must be for both TLS client and TLS server, and for nothing else.
    #[error("an extended key usage other than client and server authentication")]
    Purpose,
    /// The names do not hold exactly one `URI:entente:<organisation id>`, or hold another kind of name.
    #[error("names that do not hold exactly one `entente:` organisation id")]
    Name,
    /// A DNS name with a wildcard.
    #[error("a wildcard name")]
    Wildcard,
    /// Not valid yet.
    #[error("not valid before {0}")]
    NotYetValid(UnixMillis),
    /// No longer valid.
    #[error("expired at {0}; the partner must renew it")]
    Expired(UnixMillis),
    /// More certificates below it than its path length allows.
    #[error("a path longer than a certificate authority allows")]
    Depth,
}

/// What a chain does that our profile does not allow: the fault is the partner's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// No certificate, or more than the limit.
    #[error("a chain of {0} certificates, expected 1 to {CHAIN_CERTIFICATES_MAX}")]
    Length(usize),
    /// One certificate is at fault; the leaf is number 0.
    #[error("certificate {at} of the chain: {fault}")]
    Certificate {
        /// Its place, leaf first.
        at: usize,
        /// What is wrong.
        fault: CertificateFault,
    },
    /// A certificate was not issued by the one that follows it.
    #[error("certificate {at} of the chain was not issued by the next one")]
    Order {
        /// Its place, leaf first.
        at: usize,
    },
}

/// Whom a chain claims to speak for. A claim only, until its signatures are verified up to a pinned root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedIdentity {
    /// The organisation in the node certificate's subject alternative name.
    pub org: OrgId,
    /// Every key of the chain, the node's first: none of them may be revoked.
    pub keys: Vec<KeyId>,
    /// When the first certificate of the chain expires.
    pub not_after: UnixMillis,
    /// Whether the last certificate states no authority. Only a root may: it must then be the pinned one itself.
    pub ends_in_root: bool,
}

/// What a root certificate says of itself. Its signature is not verified here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedRoot {
    /// The organisation whose *first* root this would be: SHA-256 of the SubjectPublicKeyInfo.
    pub org: OrgId,
    /// DER SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
    /// When it expires.
    pub not_after: UnixMillis,
}

/// Checks a chain against our profile and reads the organisation out of it.
///
/// `chain` is DER, the node certificate first, each followed by its issuer; the root may be left out.
///
/// # Errors
/// The first [`ChainFault`] met. No error tells the peer more than that the handshake failed.
pub fn claimed<C: AsRef<[u8]>>(chain: &[C], now: UnixMillis) -> Result<ClaimedIdentity, ChainFault> {
    if chain.is_empty() || chain.len() > CHAIN_CERTIFICATES_MAX {
        return Err(ChainFault::Length(chain.len()));
    }
    let mut certificates = Vec::with_capacity(chain.len());
    for (at, der) in chain.iter().enumerate() {
        let checked = if at == 0 { Checked::leaf(der.as_ref(), now) } else { Checked::ca(der.as_ref(), now, at - 1) };
        certificates.push(checked.map_err(|fault| ChainFault::Certificate { at, fault })?);
    }
    for (at, (below, above)) in certificates.iter().zip(certificates.iter().skip(1)).enumerate() {
        if !below.names_as_issuer(above) {
            return Err(ChainFault::Order { at });
        }
    }
    let name = ChainFault::Certificate { at: 0, fault: CertificateFault::Name };
    Ok(ClaimedIdentity {
        org: certificates.first().and_then(|leaf| leaf.org).ok_or(name)?,
        keys: certificates.iter().map(|c| KeyId::from_bytes(sha256(&[c.spki()]))).collect(),
        not_after: certificates.iter().map(|c| c.not_after).min().ok_or(name)?,
        ends_in_root: certificates.last().is_some_and(|c| c.authority_key.is_none()),
    })
}

/// Checks a root certificate against our profile, as a card carries it.
///
/// # Errors
/// The [`CertificateFault`] found; a certificate whose issuer is not itself is one of [`CertificateFault::Usage`].
pub fn root(der: &[u8], now: UnixMillis) -> Result<ClaimedRoot, CertificateFault> {
    let checked = Checked::ca(der, now, 0)?;
    if checked.certificate.issuer().as_raw() != checked.certificate.subject().as_raw() {
        return Err(CertificateFault::Usage);
    }
    let spki = checked.spki().to_vec();
    Ok(ClaimedRoot { org: OrgId::from_bytes(sha256(&[&spki])), spki, not_after: checked.not_after })
}

/// One certificate that keeps to the profile.
struct Checked<'a> {
    certificate: X509Certificate<'a>,
    org: Option<OrgId>,
    subject_key: Vec<u8>,
    authority_key: Option<Vec<u8>>,
    not_after: UnixMillis,
}

/// The extensions that the profile knows; each at most once.
#[derive(Default)]
struct Extensions<'a> {
    subject_key: Option<&'a [u8]>,
    authority_key: Option<&'a [u8]>,
    ca: Option<Option<u32>>,
    key_usage: Option<&'a KeyUsage>,
    purpose: Option<&'a ExtendedKeyUsage<'a>>,
    names: Option<&'a SubjectAlternativeName<'a>>,
}

impl<'a> Checked<'a> {
    fn leaf(der: &'a [u8], now: UnixMillis) -> Result<Self, CertificateFault> {
        let (certificate, not_after) = parse(der, now)?;
        let extensions = Extensions::of(&certificate)?;
        let usage = extensions.key_usage.ok_or(CertificateFault::Usage)?;
        if extensions.ca.is_some() || !usage.digital_signature() || usage.key_cert_sign() || usage.crl_sign() {
            return Err(CertificateFault::Usage);
        }
        let purpose = extensions.purpose.ok_or(CertificateFault::Purpose)?;
        let other = purpose.any
            || purpose.code_signing
            || purpose.email_protection
            || purpose.time_stamping
            || purpose.ocsp_signing
            || !purpose.other.is_empty();
        if other || !purpose.client_auth || !purpose.server_auth {
            return Err(CertificateFault::Purpose);
        }
        let org = organisation(extensions.names.ok_or(CertificateFault::Name)?)?;
        let subject_key = extensions.subject_key.ok_or(CertificateFault::KeyIdentifier)?.to_vec();
        let authority_key = Some(extensions.authority_key.ok_or(CertificateFault::KeyIdentifier)?.to_vec());
        Ok(Self { org: Some(org), subject_key, authority_key, not_after, certificate })
    }

    /// `below` is the number of CA certificates between this one and the leaf.
    fn ca(der: &'a [u8], now: UnixMillis, below: usize) -> Result<Self, CertificateFault> {
        let (certificate, not_after) = parse(der, now)?;
        let extensions = Extensions::of(&certificate)?;
        let path_length = extensions.ca.ok_or(CertificateFault::Usage)?;
        let usage = extensions.key_usage.ok_or(CertificateFault::Usage)?;
        if !usage.key_cert_sign() || !usage.crl_sign() {
            return Err(CertificateFault::Usage);
        }
        if path_length.is_some_and(|most| usize::try_from(most).is_ok_and(|most| below > most)) {
            return Err(CertificateFault::Depth);
        }
        let subject_key = extensions.subject_key.ok_or(CertificateFault::KeyIdentifier)?.to_vec();
        let authority_key = extensions.authority_key.map(<[u8]>::to_vec);
        // RFC 5280, section 4.2.1.1: only a self-signed certificate may leave it out.
        if authority_key.is_none() && certificate.issuer().as_raw() != certificate.subject().as_raw() {
            return Err(CertificateFault::KeyIdentifier);
        }
        Ok(Self { org: None, subject_key, authority_key, not_after, certificate })
    }

    fn spki(&self) -> &[u8] {
        self.certificate.public_key().raw
    }

    fn names_as_issuer(&self, above: &Self) -> bool {
        self.certificate.issuer().as_raw() == above.certificate.subject().as_raw()
            && self.authority_key.as_ref() == Some(&above.subject_key)
    }
}

impl<'a> Extensions<'a> {
    fn of(certificate: &'a X509Certificate<'_>) -> Result<Self, CertificateFault> {
        let mut seen = Vec::new();
        let mut known = Self::default();
        for extension in certificate.iter_extensions() {
            if seen.contains(&&extension.oid) {
                return Err(CertificateFault::Extension);
            }
            seen.push(&extension.oid);
            match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => known.subject_key = Some(id.0),
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    known.authority_key = id.key_identifier.as_ref().map(|id| id.0);
                }
                ParsedExtension::BasicConstraints(basic) if basic.ca => known.ca = Some(basic.path_len_constraint),
                ParsedExtension::BasicConstraints(_) => {}
                ParsedExtension::KeyUsage(usage) => known.key_usage = Some(usage),
                ParsedExtension::ExtendedKeyUsage(purpose) => known.purpose = Some(purpose),
                ParsedExtension::SubjectAlternativeName(names) => known.names = Some(names),
                ParsedExtension::ParseError { .. } => return Err(CertificateFault::Extension),
                _ if extension.critical => return Err(CertificateFault::Extension),
                _ => {}
            }
        }
        Ok(known)
    }
}

/// What holds for every certificate, whatever its place.
fn parse(der: &[u8], now: UnixMillis) -> Result<(X509Certificate<'_>, UnixMillis), CertificateFault> {
    if der.len() > CERTIFICATE_BYTES_MAX {
        return Err(CertificateFault::Size);
    }
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| CertificateFault::Encoding)?;
    let tbs = &certificate.tbs_certificate;
    if !rest.is_empty() || tbs.version != X509Version::V3 || tbs.issuer_uid.is_some() || tbs.subject_uid.is_some() {
        return Err(CertificateFault::Encoding);
    }
    if tbs.signature != certificate.signature_algorithm || !known_algorithm(&tbs.signature) {
        return Err(CertificateFault::Algorithm);
    }
    let spki = certificate.public_key().raw;
    let p384 = spki.strip_prefix(SPKI_P384).is_some_and(|point| point.len() == 97 && point.first() == Some(&4));
    if !p384 && PublicKey::from_spki(spki).is_err() {
        return Err(CertificateFault::Key);
    }
    serial(certificate.raw_serial())?;
    let not_before = moment(tbs.validity.not_before.timestamp())?;
    // A certificate is valid through the whole of its last second.
    let not_after = moment(tbs.validity.not_after.timestamp())?.plus(999);
    if now < not_before {
        return Err(CertificateFault::NotYetValid(not_before));
    }
    if now > not_after {
        return Err(CertificateFault::Expired(not_after));
    }
    Ok((certificate, not_after))
}

fn known_algorithm(algorithm: &AlgorithmIdentifier<'_>) -> bool {
    algorithm.parameters.is_none() && SIGNATURE_OIDS.contains(&algorithm.algorithm.as_bytes())
}

/// DER INTEGER contents: positive, without padding, 1 to 20 bytes.
fn serial(bytes: &[u8]) -> Result<(), CertificateFault> {
    let padded = bytes.first() == Some(&0) && bytes.get(1).is_none_or(|second| *second < 0x80);
    let negative = bytes.first().is_none_or(|first| *first >= 0x80);
    if padded || negative || bytes.len() > SERIAL_BYTES_MAX { Err(CertificateFault::Serial) } else { Ok(()) }
}

fn moment(seconds: i64) -> Result<UnixMillis, CertificateFault> {
    let seconds = u64::try_from(seconds).map_err(|_| CertificateFault::Encoding)?;
    Ok(UnixMillis(seconds.saturating_mul(1_000)))
}

/// The one organisation that the names hold. DNS names and addresses may stand beside it: they decide nothing.
fn organisation(names: &SubjectAlternativeName<'_>) -> Result<OrgId, CertificateFault> {
    if names.general_names.len() > CERTIFICATE_NAMES_MAX {
        return Err(CertificateFault::Name);
    }
    let mut org = None;
    for name in &names.general_names {
        match name {
            GeneralName::URI(uri) => {
                let id = uri.strip_prefix(URI_PREFIX).and_then(|hex| {
                    let id = hex.parse::<OrgId>().ok()?;
                    // One spelling: lower case, no space around it.
                    (id.to_string() == hex).then_some(id)
                });
                if org.replace(id.ok_or(CertificateFault::Name)?).is_some() {
                    return Err(CertificateFault::Name);
                }
            }
            GeneralName::DNSName(name) if name.contains('*') => return Err(CertificateFault::Wildcard),
            GeneralName::DNSName(_) | GeneralName::IPAddress(_) => {}
            _ => return Err(CertificateFault::Name),
        }
    }
    org.ok_or(CertificateFault::Name)
}

/// The name that a node certificate carries for an organisation.
pub fn uri(org: &OrgId) -> String {
    format!("{URI_PREFIX}{org}")
}

#[cfg(test)]
mod tests {
    use super::*;

    // Whole chains are tested where they can be issued, in the node's `peer`.

    #[test]
    fn serials_are_positive_short_and_unpadded() {
        for good in [&[1][..], &[0x7f; 20], &[0, 0x80]] {
            assert_eq!(serial(good), Ok(()), "{good:02x?}");
        }
        for bad in [&[][..], &[0], &[0x80], &[0, 1], &[0, 0], &[1; 21]] {
            assert_eq!(serial(bad), Err(CertificateFault::Serial), "{bad:02x?}");
        }
    }

    #[test]
    fn chains_without_end_or_sense_are_refused_before_they_are_parsed() {
        let now = UnixMillis(0);
        assert_eq!(claimed::<Vec<u8>>(&[], now), Err(ChainFault::Length(0)));
        assert_eq!(claimed(&vec![vec![0u8; 10]; 5], now), Err(ChainFault::Length(5)));
        let size = ChainFault::Certificate { at: 0, fault: CertificateFault::Size };
        assert_eq!(claimed(&[vec![0x30; CERTIFICATE_BYTES_MAX + 1]], now), Err(size));
        let encoding = ChainFault::Certificate { at: 0, fault: CertificateFault::Encoding };
        assert_eq!(claimed(&[vec![0x30; 64]], now), Err(encoding));
    }

    #[test]
    fn exactly_one_organisation_in_one_spelling() {
        let org = OrgId::from_bytes([0xab; 32]);
        let (own, other) = (uri(&org), uri(&OrgId::from_bytes([1; 32])));
        let upper = own.to_uppercase().replace("ENTENTE", "entente");
        let check = |names: Vec<GeneralName<'_>>| organisation(&SubjectAlternativeName { general_names: names });
        assert_eq!(check(vec![GeneralName::DNSName("node.example"), GeneralName::URI(&own)]), Ok(org));
        assert_eq!(check(vec![GeneralName::DNSName("node.example")]), Err(CertificateFault::Name));
        assert_eq!(check(vec![GeneralName::URI(&own), GeneralName::URI(&other)]), Err(CertificateFault::Name));
        assert_eq!(check(vec![GeneralName::URI(&own), GeneralName::URI(&own)]), Err(CertificateFault::Name));
        assert_eq!(check(vec![GeneralName::URI(&upper)]), Err(CertificateFault::Name));
        assert_eq!(check(vec![GeneralName::URI("entente:")]), Err(CertificateFault::Name));
        assert_eq!(check(vec![GeneralName::URI(&own), GeneralName::URI("https://x")]), Err(CertificateFault::Name));
        assert_eq!(
            check(vec![GeneralName::URI(&own), GeneralName::DNSName("*.example")]),
            Err(CertificateFault::Wildcard)
        );
        assert_eq!(check(vec![GeneralName::URI(&own); CERTIFICATE_NAMES_MAX + 1]), Err(CertificateFault::Name));
    }
}
