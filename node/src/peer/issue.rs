//! Issues an organisation's own certificates: root, issuing key, node. The profile is
//! `entente_protocol::identity::chain`'s, which reads back everything issued here.
//!
//! Called by the commands that create and renew identities. Times and serial numbers are arguments. It keeps
//! no key: whoever calls holds the PKCS #8 bytes and wipes them.

use crate::secret::Secret;
use entente_protocol::{
    id::OrgId,
    identity::chain::{self, CertificateFault},
    primitive::sha256,
    time::{DAY_MS, UnixMillis},
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData, SanType, SerialNumber,
    SubjectPublicKeyInfo,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

/// Days that a root certificate is valid; succession replaces it, renewal does not.
pub const ROOT_DAYS: u64 = 20 * 365;
/// Days that an issuing certificate is valid.
pub const ISSUING_DAYS: u64 = 5 * 365;
/// Days that a node certificate is valid.
pub const NODE_DAYS: u64 = 90;
/// Certificates are valid from a little earlier than they are made, for partners whose clocks run behind.
const BACKDATED_MS: u64 = 60 * 60 * 1_000;
/// Sixteen random bytes, drawn by the caller for each certificate; they become a positive serial number.
pub type Serial = [u8; 16];

/// A certificate that could not be issued: the caller's key, name or time is at fault.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// Not PKCS #8 of Ed25519, P-256 or P-384.
    #[error("a private key that is not PKCS #8 of Ed25519, P-256 or P-384")]
    Key,
    /// A DNS name that a certificate cannot carry.
    #[error("`{0}` is not a DNS name that a certificate can carry: use one without wildcard and in ASCII")]
    Name(String),
    /// A time outside the years that certificates know.
    #[error("the clock shows a time that no certificate can carry: set it first")]
    Time,
    /// The issuer's certificate could not be read, or is outside the profile at this time.
    #[error("the issuer's certificate cannot be used: {0}")]
    Issuer(CertificateFault),
    /// rcgen refused.
    #[error("the certificate could not be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// A new Ed25519 key as PKCS #8.
///
/// # Errors
/// [`IssueError::Make`] if there is no randomness.
pub fn generate() -> Result<Secret<Vec<u8>>, IssueError> {
    Ok(Secret::new(KeyPair::generate_for(&PKCS_ED25519)?.serialize_der()))
}

/// The id of the organisation whose *first* root key this is: SHA-256 of the DER SubjectPublicKeyInfo.
pub fn organisation(root_spki: &[u8]) -> OrgId {
    OrgId::from_bytes(sha256(&[root_spki]))
}

/// The DER SubjectPublicKeyInfo of a private key.
///
/// # Errors
/// [`IssueError::Key`] if the key is of another kind.
pub fn public_key(key: &PrivatePkcs8KeyDer<'_>) -> Result<Vec<u8>, IssueError> {
    Ok(pair(key)?.subject_public_key_info())
}

/// A self-signed root certificate.
///
/// # Errors
/// [`IssueError::Key`] or [`IssueError::Time`].
pub fn root(
    name: &str,
    key: &PrivatePkcs8KeyDer<'_>,
    serial: &Serial,
    now: UnixMillis,
) -> Result<CertificateDer<'static>, IssueError> {
    let mut params = params(name, serial, now, ROOT_DAYS)?;
    authority(&mut params, 1);
    Ok(params.self_signed(&pair(key)?)?.der().clone())
}

/// An issuing certificate, which renews node certificates without the root. `subject` is a DER
/// SubjectPublicKeyInfo, so that the issuing key need not be where the root key is.
///
/// # Errors
/// [`IssueError::Key`], [`IssueError::Time`], or [`IssueError::Issuer`] if the root cannot sign now.
pub fn issuing(
    name: &str,
    subject: &[u8],
    root: &CertificateDer<'_>,
    root_key: &PrivatePkcs8KeyDer<'_>,
    serial: &Serial,
    now: UnixMillis,
) -> Result<CertificateDer<'static>, IssueError> {
    chain::root(root, now).map_err(IssueError::Issuer)?;
    let mut params = params(name, serial, now, ISSUING_DAYS)?;
    authority(&mut params, 0);
    sign(&params, subject, root, root_key)
}

/// What a node certificate says beside its key.
#[derive(Debug, Clone, Copy)]
pub struct NodeNames<'a> {
    /// The organisation that the node acts for.
    pub org: OrgId,
    /// A name for people.
    pub common: &'a str,
    /// DNS names under which it may be found; nothing is decided by them.
    pub dns: &'a [String],
}

/// A node certificate for TLS in both directions.
///
/// # Errors
/// As [`issuing`], and [`IssueError::Name`].
pub fn node(
    names: NodeNames<'_>,
    subject: &[u8],
    issuing: &CertificateDer<'_>,
    issuing_key: &PrivatePkcs8KeyDer<'_>,
    serial: &Serial,
    now: UnixMillis,
) -> Result<CertificateDer<'static>, IssueError> {
    let mut params = params(names.common, serial, now, NODE_DAYS)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    params.subject_alt_names.push(SanType::URI(chain::uri(&names.org).try_into()?));
    for name in names.dns {
        let refused = || IssueError::Name(name.chars().take(80).collect());
        if name.contains('*') {
            return Err(refused());
        }
        params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into().map_err(|_| refused())?));
    }
    sign(&params, subject, issuing, issuing_key)
}

fn sign(
    params: &CertificateParams,
    subject: &[u8],
    issuer: &CertificateDer<'_>,
    issuer_key: &PrivatePkcs8KeyDer<'_>,
) -> Result<CertificateDer<'static>, IssueError> {
    let subject = SubjectPublicKeyInfo::from_der(subject).map_err(|_| IssueError::Key)?;
    let issuer = Issuer::from_ca_cert_der(issuer, pair(issuer_key)?)?;
    Ok(params.signed_by(&subject, &issuer)?.der().clone())
}

fn params(name: &str, serial: &Serial, now: UnixMillis, days: u64) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = moment(now.minus(BACKDATED_MS))?;
    params.not_after = moment(now.plus(days * DAY_MS))?;
    // A leading byte from 0x40 to 0x7f: positive, and never padded.
    let mut bytes = vec![0x40];
    bytes.extend_from_slice(serial);
    params.serial_number = Some(SerialNumber::from_slice(&bytes));
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn authority(params: &mut CertificateParams, below: u8) {
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
}

fn moment(at: UnixMillis) -> Result<OffsetDateTime, IssueError> {
    let seconds = i64::try_from(at.0 / 1_000).map_err(|_| IssueError::Time)?;
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| IssueError::Time)
}

fn pair(key: &PrivatePkcs8KeyDer<'_>) -> Result<KeyPair, IssueError> {
    // rcgen would also take RSA, which no partner accepts.
    [&PKCS_ED25519, &PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384]
        .into_iter()
        .find_map(|algorithm| KeyPair::from_pkcs8_der_and_sign_algo(key, algorithm).ok())
        .ok_or(IssueError::Key)
}
