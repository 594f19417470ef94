//! A client that changes everything but the lock: each of its moves is refused, for the reason that is its own.

use super::*;
use crate::peer::tls;
use quinn::{ClientConfig, crypto::rustls::QuicClientConfig};
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};
use rustls::{
    SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    version::TLS13,
};
use rustls_pki_types::UnixTime;

/// What a hostile client may change: everything but the lock itself.
pub(super) struct Hostile {
    pub(super) chain: Vec<CertificateDer<'static>>,
    group: &'static dyn rustls::crypto::SupportedKxGroup,
    alpn: &'static [u8],
}

impl Hostile {
    /// One that breaks no rule of TLS.
    pub(super) fn certified(chain: Vec<CertificateDer<'static>>) -> Self {
        Self { chain, group: HYBRID, alpn: tls::ALPN }
    }

    /// What it dials with; the node key is `a`'s.
    pub(super) fn config(self, a: &Org) -> ClientConfig {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.kx_groups = vec![self.group];
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TrustsAnybody));
        let mut config = if self.chain.is_empty() {
            config.with_no_client_auth()
        } else {
            config.with_client_auth_cert(self.chain, a.node_key.clone_key().into()).unwrap()
        };
        config.alpn_protocols = vec![self.alpn.to_vec()];
        ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()))
    }
}

#[derive(Debug)]
struct TrustsAnybody;

impl ServerCertVerifier for TrustsAnybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// Lets a hostile client with `a`'s node key at `b`; what each of them got.
async fn hostile(a: &Org, b: &Org, moves: Hostile) -> (ConnectionError, Result<Link, ConnectError>) {
    let far = b.endpoint(&[(a.id, a.partner())], NOW);
    let config = moves.config(a);
    let client = quinn::Endpoint::client(ANY).unwrap();
    let connecting = client.connect_with(config, far.local_addr().unwrap(), "node.example").unwrap();
    let dial = async {
        match connecting.await {
            Ok(connection) => end(&connection).await,
            Err(error) => error,
        }
    };
    let answering = async {
        let link = answer(&far).await;
        if let Ok(link) = &link {
            link.connection.close(VarInt::from_u32(77), &[]);
        }
        link
    };
    tokio::join!(dial, answering)
}

const HYBRID: &dyn rustls::crypto::SupportedKxGroup = rustls::crypto::aws_lc_rs::kx_group::X25519MLKEM768;

#[tokio::test]
async fn the_hostile_client_gets_in_when_it_behaves() -> Fallible {
    // Without this, the refusals below could be for a reason of the rig's own.
    let (a, b) = (org("a"), org("b"));
    let (_, link) = hostile(&a, &b, Hostile::certified(a.chain())).await;
    assert_eq!(link?.peer, a.id);
    let chain = a.odd(|_| {});
    let (_, link) = hostile(&a, &b, Hostile::certified(chain)).await;
    assert_eq!(link?.peer, a.id);
    Ok(())
}

#[tokio::test]
async fn no_certificate_no_hybrid_or_another_protocol_is_refused() {
    let (a, b) = (org("a"), org("b"));
    let x25519 = rustls::crypto::aws_lc_rs::kx_group::X25519;
    for (moves, alert) in [
        (Hostile { chain: vec![], group: HYBRID, alpn: tls::ALPN }, rustls::AlertDescription::CertificateRequired),
        (Hostile { chain: a.chain(), group: x25519, alpn: tls::ALPN }, rustls::AlertDescription::HandshakeFailure),
        (Hostile { chain: a.chain(), group: HYBRID, alpn: b"h3" }, rustls::AlertDescription::NoApplicationProtocol),
    ] {
        let (told, link) = hostile(&a, &b, moves).await;
        assert!(link.is_err(), "{alert:?}: {link:?}");
        let ConnectionError::ConnectionClosed(close) = told else { panic!("{alert:?}: {told:?}") };
        assert_eq!(u64::from(close.error_code), 0x100 + u64::from(u8::from(alert)), "{alert:?}: {close:?}");
    }
}

#[tokio::test]
async fn certificates_outside_the_profile_are_refused() {
    let (a, b) = (org("a"), org("b"));
    let c = org("c").id;
    let wildcard = || SanType::DnsName("*.example".to_owned().try_into().unwrap());
    let cases: Vec<(&str, Vec<CertificateDer<'static>>, CertificateFault)> = vec![
        (
            "client_only",
            a.odd(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
            CertificateFault::Purpose,
        ),
        ("any_purpose", a.odd(|p| p.extended_key_usages.push(ExtendedKeyUsagePurpose::Any)), CertificateFault::Purpose),
        ("no_purpose", a.odd(|p| p.extended_key_usages.clear()), CertificateFault::Purpose),
        ("no_organisation", a.odd(|p| p.subject_alt_names.clear()), CertificateFault::Name),
        ("two_organisations", a.odd(|p| p.subject_alt_names.push(san(c))), CertificateFault::Name),
        ("wildcard", a.odd(|p| p.subject_alt_names.push(wildcard())), CertificateFault::Wildcard),
        ("no_authority", a.odd(|p| p.use_authority_key_identifier_extension = false), CertificateFault::KeyIdentifier),
        ("ca_as_node", a.odd(|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))), CertificateFault::Usage),
        ("signs_certificates", a.odd(|p| p.key_usages.push(KeyUsagePurpose::KeyCertSign)), CertificateFault::Usage),
        ("negative_serial", a.odd(|p| p.serial_number = Some(vec![0; 21].into())), CertificateFault::Serial),
    ];
    for (name, chain, fault) in cases {
        let (_, link) = hostile(&a, &b, Hostile::certified(chain)).await;
        let expected = Refusal::Chain(ChainFault::Certificate { at: 0, fault });
        assert!(matches!(&link, Err(ConnectError::Refused(r)) if *r == expected), "{name}: {link:?}");
    }
    // A certificate in another partner's name, properly issued by its own issuer.
    let chain = a.odd(|p| p.subject_alt_names = vec![san(c)]);
    let (_, link) = hostile(&a, &b, Hostile::certified(chain)).await;
    assert!(matches!(&link, Err(ConnectError::Refused(Refusal::Stranger(org))) if *org == c), "{link:?}");
}
