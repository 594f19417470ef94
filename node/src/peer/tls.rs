//! TLS between nodes: one version, one key exchange, both sides certified, nothing resumed.
//!
//! Called by [`super::endpoint`]. The verifiers check our own profile first, then find the partner in the book,
//! and only then let webpki look for a path to that partner's pinned root, the only anchor there is.
//! No verifier here ever trusts a name server, a system store or a ticket.

use super::{
    Clock,
    book::{Book, Partner, PartnerState, SharedBook},
};
use entente_protocol::{
    id::OrgId,
    identity::chain::{self, CertificateFault, ChainFault, ClaimedIdentity},
    time::UnixMillis,
};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, ServerConfig,
    SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature},
    server::{
        NoServerSessionStorage,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::{CertifiedKey, SingleCertAndKey},
    time_provider::TimeProvider,
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use webpki::{EndEntityCert, KeyUsage, aws_lc_rs as algorithms};

/// The one application protocol.
pub const ALPN: &[u8] = b"entente/1";

/// What may sign: certificates by any of `all`, handshakes by the curve that the scheme names (RFC 8446, 4.2.3).
static SIGNATURES: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        algorithms::ED25519,
        algorithms::ECDSA_P256_SHA256,
        algorithms::ECDSA_P256_SHA384,
        algorithms::ECDSA_P384_SHA256,
        algorithms::ECDSA_P384_SHA384,
    ],
    mapping: &[
        (SignatureScheme::ED25519, &[algorithms::ED25519]),
        (SignatureScheme::ECDSA_NISTP256_SHA256, &[algorithms::ECDSA_P256_SHA256]),
        (SignatureScheme::ECDSA_NISTP384_SHA384, &[algorithms::ECDSA_P384_SHA384]),
    ],
};

/// Why a peer's certificates were refused. For our own log and operator; the peer learns only that it failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Outside our certificate profile.
    #[error("{0}")]
    Chain(#[from] ChainFault),
    /// Nobody we were introduced to.
    #[error("organisation `{0}` is not a partner: add its card first")]
    Stranger(OrgId),
    /// A partner whom we removed.
    #[error("partner `{0}` was removed")]
    Removed(OrgId),
    /// Another partner than the one dialled.
    #[error("the address of `{expected}` answered as `{found}`: its card may be out of date")]
    OtherOrganisation {
        /// Whom we dialled.
        expected: OrgId,
        /// Who answered.
        found: OrgId,
    },
    /// A key of the chain is revoked.
    #[error("partner `{0}` uses a key that its card revokes")]
    Revoked(OrgId),
    /// The node key is on no card of the partner that we know.
    #[error("partner `{0}` uses a node key that its newest card does not list: ask it for its card")]
    Unlisted(OrgId),
    /// The root that we pinned is outside our certificate profile, or not valid now.
    #[error("the root certificate of partner `{org}`: {fault}")]
    Root {
        /// Whose it is.
        org: OrgId,
        /// What is wrong.
        fault: CertificateFault,
    },
    /// No valid path to the root that we pinned.
    #[error("the chain of `{org}` does not end in its pinned root: {cause}")]
    Path {
        /// Who it claims to be.
        org: OrgId,
        /// What webpki found.
        cause: webpki::Error,
    },
}

/// The last refusal and how many there were; bounded by construction.
#[derive(Debug, Clone, Default)]
pub struct Refusals(Arc<Mutex<(u64, Option<Refusal>)>>);

impl Refusals {
    fn note(&self, refusal: Refusal) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = (state.0.saturating_add(1), Some(refusal));
    }
    /// How many handshakes were refused for their certificates.
    pub fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }
    /// Why the last one was.
    pub fn last(&self) -> Option<Refusal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}

/// Our own certificate and key cannot be used: our operator's to repair.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// No partner would accept it.
    #[error(
        "our own certificate chain cannot be used: {0}; is this machine's clock right? If it is, renew the certificate"
    )]
    Chain(#[from] ChainFault),
    /// It names somebody else.
    #[error("our own certificate names `{found}`, this node acts for `{own}`")]
    OtherOrganisation {
        /// Whom the node acts for.
        own: OrgId,
        /// Whom the certificate names.
        found: OrgId,
    },
    /// The key cannot be read, or is not the certificate's.
    #[error("our own node key cannot be used: {0}")]
    Key(Error),
}

/// What this node shows of itself. It cannot be printed.
pub struct Identity {
    org: OrgId,
    not_after: UnixMillis,
    certified: Arc<CertifiedKey>,
}

impl Identity {
    /// Takes a chain (node certificate first, then its issuers) and the node's key.
    ///
    /// # Errors
    /// If a partner would refuse it now: [`IdentityError`].
    pub fn new(
        org: OrgId,
        certificates: Vec<CertificateDer<'static>>,
        key: PrivatePkcs8KeyDer<'static>,
        now: UnixMillis,
    ) -> Result<Self, IdentityError> {
        let claimed = chain::claimed(&certificates, now)?;
        if claimed.org != org {
            return Err(IdentityError::OtherOrganisation { own: org, found: claimed.org });
        }
        let certified = CertifiedKey::from_der(certificates, key.into(), &provider()).map_err(IdentityError::Key)?;
        Ok(Self { org, not_after: claimed.not_after, certified: Arc::new(certified) })
    }
    /// Whether partners who have this card of ours take it now: its signatures, its root, the card's keys.
    ///
    /// # Errors
    /// What they would refuse it for.
    pub fn is_taken(&self, card: Partner, clock: Clock) -> Result<(), Refusal> {
        let book = SharedBook::new(Book { partners: BTreeMap::from([(self.org, card)]) });
        let trust = Trust { book, clock, refusals: Refusals::default() };
        for usage in [server_usage(), client_usage()] {
            partner(&trust, &self.certified.cert, Some(self.org), usage)?;
        }
        Ok(())
    }
    /// Whom the node acts for.
    pub fn org(&self) -> OrgId {
        self.org
    }
    /// When it must have been renewed.
    pub fn not_after(&self) -> UnixMillis {
        self.not_after
    }
}

/// What the verifiers ask: whom we know, what time it is, and where refusals are noted.
#[derive(Debug, Clone)]
pub struct Trust {
    /// Partners.
    pub book: SharedBook,
    /// Time.
    pub clock: Clock,
    /// Refusals.
    pub refusals: Refusals,
}

/// Primitives of every handshake: TLS 1.3 suites, and X25519MLKEM768 alone, without which recorded traffic
/// would open to a later quantum computer.
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519MLKEM768];
    provider.cipher_suites.retain(|suite| suite.tls13().is_some());
    provider.signature_verification_algorithms = SIGNATURES;
    Arc::new(provider)
}

/// How we answer: client certificates demanded, no tickets, no sessions kept, no early data.
///
/// # Errors
/// Only if the provider lacks what it was built with.
pub fn server_config(identity: &Identity, trust: Trust) -> Result<ServerConfig, Error> {
    let clock: Arc<dyn TimeProvider> = Arc::new(WallClock(trust.clock.clone()));
    let mut config = ServerConfig::builder_with_details(provider(), clock)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(Verifier { trust, expected: None }))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&identity.certified))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A resumed session would skip the verifiers: a removed partner would come back by ticket.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(config)
}

/// How we dial `expected`, and nobody else.
///
/// # Errors
/// Only if the provider lacks what it was built with.
pub fn client_config(identity: &Identity, trust: Trust, expected: OrgId) -> Result<ClientConfig, Error> {
    let clock: Arc<dyn TimeProvider> = Arc::new(WallClock(trust.clock.clone()));
    let mut config = ClientConfig::builder_with_details(provider(), clock)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { trust, expected: Some(expected) }))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&identity.certified))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    // Partners are known by their keys; a name in the clear would only tell onlookers whom we call.
    config.enable_sni = false;
    Ok(config)
}

/// Decides whether a chain belongs to a partner. Also used when a connection is up, on what TLS kept of it.
///
/// # Errors
/// The first [`Refusal`].
pub(super) fn partner(
    trust: &Trust,
    certificates: &[CertificateDer<'_>],
    expected: Option<OrgId>,
    usage: KeyUsage,
) -> Result<ClaimedIdentity, Refusal> {
    let now = trust.clock.now();
    let claimed = chain::claimed(certificates, now)?;
    let org = claimed.org;
    if let Some(expected) = expected.filter(|expected| *expected != org) {
        return Err(Refusal::OtherOrganisation { expected, found: org });
    }
    let book = trust.book.snapshot();
    let partner = book.partners.get(&org).ok_or(Refusal::Stranger(org))?;
    if partner.state == PartnerState::Removed {
        return Err(Refusal::Removed(org));
    }
    if claimed.keys.iter().any(|key| partner.revoked.contains(key)) {
        return Err(Refusal::Revoked(org));
    }
    // webpki takes an anchor as it is: that it may be one, and still is, is asked here.
    chain::root(&partner.root, now).map_err(|fault| Refusal::Root { org, fault })?;
    // Under its former root, which a partner that has the former card must be shown, the issuing key's certificate is as
    // good as the newest card: that lists the key, and is signed by the newest root.
    let listed = match (certificates, claimed.keys.as_slice()) {
        ([_, issuing], [_, key]) if partner.issues(*key, now) => Some(issuing),
        _ => None,
    };
    if claimed.ends_in_root && certificates.last() != Some(&partner.root) {
        let at = certificates.len() - 1;
        return Err(ChainFault::Certificate { at, fault: CertificateFault::KeyIdentifier }.into());
    }
    let anchored = path(certificates, &partner.root, now, usage);
    let anchored = match (anchored, listed) {
        (Err(_), Some(issuing)) => path(certificates.get(..1).unwrap_or_default(), issuing, now, usage),
        (anchored, _) => anchored,
    };
    anchored.map_err(|cause| Refusal::Path { org, cause })?;
    if !partner.lists(&claimed.keys, now) {
        return Err(Refusal::Unlisted(org));
    }
    Ok(claimed)
}

/// For a TLS server's chain. webpki lets the extension be absent, as in our certificate authorities; on the node
/// certificate our profile has already demanded it.
pub(super) fn server_usage() -> KeyUsage {
    KeyUsage::server_auth()
}

/// For a TLS client's chain.
pub(super) fn client_usage() -> KeyUsage {
    KeyUsage::client_auth()
}

fn path(
    certificates: &[CertificateDer<'_>],
    root: &CertificateDer<'_>,
    now: UnixMillis,
    usage: KeyUsage,
) -> Result<(), webpki::Error> {
    let (leaf, intermediates) = certificates.split_first().ok_or(webpki::Error::BadDer)?;
    let anchor = webpki::anchor_from_trusted_cert(root)?;
    let leaf = EndEntityCert::try_from(leaf)?;
    let time = UnixTime::since_unix_epoch(Duration::from_millis(now.0));
    // Revocation is by key, from the partner's newest card; there are no lists to pass.
    leaf.verify_for_usage(SIGNATURES.all, &[anchor], intermediates, time, usage, None, None)?;
    Ok(())
}

/// One verifier for both directions.
#[derive(Debug)]
struct Verifier {
    trust: Trust,
    /// Whom we dialled; absent when we answer.
    expected: Option<OrgId>,
}

impl Verifier {
    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: KeyUsage,
    ) -> Result<(), Error> {
        let certificates: Vec<_> = std::iter::once(leaf).chain(intermediates).cloned().collect();
        partner(&self.trust, &certificates, self.expected, usage).map(drop).map_err(|refusal| {
            tracing::warn!(%refusal, "a peer's certificates were refused");
            self.trust.refusals.note(refusal);
            // QUIC sends this text to the peer, so it is the same for every refusal.
            Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
        })
    }
    fn signature(
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &SIGNATURES)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, intermediates, server_usage())?;
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::signature(message, certificate, signature)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SIGNATURES.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        true
    }
    fn client_auth_mandatory(&self) -> bool {
        true
    }
    /// Empty: a list would tell any stranger who our partners are.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity, intermediates, client_usage())?;
        Ok(ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::signature(message, certificate, signature)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SIGNATURES.supported_schemes()
    }
}

/// The injected clock, as rustls asks for it.
#[derive(Debug)]
struct WallClock(Clock);

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.now().0)))
    }
}
