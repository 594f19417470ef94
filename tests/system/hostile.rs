//! Strangers at the listening socket of a running node: each is refused, the log names it, and partners are served.
//!
//! The strangers are made with quinn, rustls and rcgen, partly with a real partner's keys: they may change everything
//! but the lock itself.

use entente_node::secret::keyfile::KeyFile;
use entente_protocol::{id::OrgId, identity::chain};
use entente_tests::{Home, PATIENCE, Row, World};
use quinn::{ConnectionError, Endpoint, crypto::rustls::QuicClientConfig};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519,
    SanType,
};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{SupportedKxGroup, aws_lc_rs},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use std::{error::Error, fs, net::SocketAddr, sync::Arc, time::Duration};

type Outcome = Result<(), Box<dyn Error>>;
type Chain = Vec<CertificateDer<'static>>;

const EVERY_ITEM: &str = r#"
[[clause]]
name = "items"
from = "a"
to = ["b"]
onward = "never"
retention-days = 30
disclose.item = ["number", "eval", "type"]
"#;

/// An issuer of certificates, an organisation's id, and the key of its node.
struct Authority {
    org: OrgId,
    certificate: CertificateDer<'static>,
    key: KeyPair,
    node_key: KeyPair,
}

fn pair(pkcs8: &[u8]) -> Result<KeyPair, rcgen::Error> {
    KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(pkcs8), &PKCS_ED25519)
}

impl Authority {
    /// A partner's own issuing key, as its home has it.
    fn of(home: &Home) -> Result<Self, Box<dyn Error>> {
        let keys = home.folder().keys();
        let identity = home.unlock().open(&keys)?;
        let read = |name: &str| Ok::<_, Box<dyn Error>>(pair(KeyFile::read(&keys.join(name), &identity)?.expose())?);
        let (key, node_key) = (read("issuing.age")?, read("tls.age")?);
        let certificate = CertificateDer::from(fs::read(keys.join("issuing.der"))?);
        let card = entente_node::identity::own_card(&home.folder())?;
        Ok(Self { org: card.org(), certificate, key, node_key })
    }

    /// A root that nobody pinned.
    fn foreign(org: OrgId) -> Result<Self, Box<dyn Error>> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let mut params = CertificateParams::default();
        let now = time::OffsetDateTime::now_utc();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = (now - time::Duration::hours(1), now + time::Duration::days(9));
        let certificate = params.self_signed(&key)?.der().clone();
        Ok(Self { org, certificate, key, node_key: KeyPair::generate_for(&PKCS_ED25519)? })
    }

    /// A certificate of the node's key as the profile wants it, but for one change; and the key.
    fn node(&self, change: impl FnOnce(&mut CertificateParams)) -> Result<(Chain, Vec<u8>), Box<dyn Error>> {
        self.certify(&self.node_key, change)
    }

    /// The same of any key.
    fn certify(
        &self,
        key: &KeyPair,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Result<(Chain, Vec<u8>), Box<dyn Error>> {
        let mut params = CertificateParams::default();
        let now = time::OffsetDateTime::now_utc();
        (params.not_before, params.not_after) = (now - time::Duration::hours(1), now + time::Duration::days(9));
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = vec![names(self.org)?];
        change(&mut params);
        let issuer = Issuer::from_ca_cert_der(&self.certificate, &self.key)?;
        let node = params.signed_by(key, &issuer)?.der().clone();
        Ok((vec![node, self.certificate.clone()], key.serialize_der()))
    }
}

fn names(org: OrgId) -> Result<SanType, rcgen::Error> {
    Ok(SanType::URI(chain::uri(&org).try_into()?))
}

/// What a stranger brings.
struct Stranger {
    /// Certificates and the key of the first; none where empty.
    shows: (Chain, Vec<u8>),
    group: &'static dyn SupportedKxGroup,
    alpn: &'static [u8],
    /// Whether it offers TLS 1.2 in place of 1.3.
    older: bool,
}

const HYBRID: &dyn SupportedKxGroup = aws_lc_rs::kx_group::X25519MLKEM768;

impl Stranger {
    fn with(shows: (Chain, Vec<u8>)) -> Self {
        Self { shows, group: HYBRID, alpn: b"entente/1", older: false }
    }

    /// Connects, stays for a while, and says how it ended. `Ok` means that it was let in.
    fn visit(self, at: SocketAddr, stay: Duration) -> Result<Result<(), ConnectionError>, Box<dyn Error>> {
        let mut provider = aws_lc_rs::default_provider();
        provider.kx_groups = vec![self.group];
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TrustsAnybody));
        let (chain, key) = self.shows;
        let mut config = match chain.is_empty() {
            true => config.with_no_client_auth(),
            false => config.with_client_auth_cert(chain, PrivatePkcs8KeyDer::from(key).into())?,
        };
        config.alpn_protocols = vec![self.alpn.to_vec()];
        let quic = Arc::new(QuicClientConfig::try_from(config)?);
        let crypto: Arc<dyn quinn::crypto::ClientConfig> = if self.older { Arc::new(older::Older(quic)) } else { quic };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0)))?;
            let connecting = endpoint.connect_with(quinn::ClientConfig::new(crypto), at, "node.example")?;
            let connection = match connecting.await {
                Ok(connection) => connection,
                Err(refused) => return Ok(Err(refused)),
            };
            // TLS 1.3: who dials may have finished before it is refused. Who is let in hears nothing for a while.
            match tokio::time::timeout(stay, connection.closed()).await {
                Ok(ended) => Ok(Err(ended)),
                Err(_) => Ok(Ok(())),
            }
        })
    }
}

/// Story: somebody tries every wrong door while a partner is served. The node tells the stranger nothing, tells its
/// own people what was wrong, and goes on.
#[test]
fn each_stranger_is_refused_and_named_and_partners_are_served() -> Outcome {
    let (world, [mut a, mut b, c]) = World::of(21, ["a", "b", "c"]);
    a.pair(&b);
    a.pair(&c);
    let _agreed = a.agree(&b, EVERY_ITEM);
    let rows = world.rows("H", 12);
    a.import("rows.csv", &Row::table(&rows));
    a.start();
    let at = a.address();
    let (partner, other) = (Authority::of(&b)?, Authority::of(&c)?);
    let unknown = OrgId::from_bytes([7; 32]);
    let only = |purpose: ExtendedKeyUsagePurpose| partner.node(|p| p.extended_key_usages = vec![purpose]);
    let past = time::OffsetDateTime::now_utc() - time::Duration::minutes(1);
    let honest = || partner.node(|_| {});

    // Without this, the refusals could be for a reason of the rig's own.
    let let_in = Stranger::with(honest()?).visit(at, Duration::from_secs(2))?;
    assert!(let_in.is_ok(), "the rig gets in when it behaves: {let_in:?}: {}", a.log());
    a.logs(0, &["a partner is connected"]);

    let root = "does not end in its pinned root";
    let purpose = "an extended key usage other than";
    let cases: Vec<(&str, Stranger, String)> = vec![
        (
            "foreign root",
            Stranger::with(Authority::foreign(partner.org)?.node(|_| {})?),
            format!("{}` {root}", partner.org),
        ),
        ("expired", Stranger::with(partner.node(|p| p.not_after = past)?), "expired at".to_owned()),
        ("server only", Stranger::with(only(ExtendedKeyUsagePurpose::ServerAuth)?), purpose.to_owned()),
        ("client only", Stranger::with(only(ExtendedKeyUsagePurpose::ClientAuth)?), purpose.to_owned()),
        (
            "in a stranger's name",
            Stranger::with(partner.node(|p| p.subject_alt_names = names(unknown).into_iter().collect())?),
            format!("organisation `{unknown}` is not a partner"),
        ),
        (
            "in another partner's name",
            Stranger::with(partner.node(|p| p.subject_alt_names = names(other.org).into_iter().collect())?),
            format!("{}` {root}", other.org),
        ),
        (
            "another partner's issuer in this one's name",
            Stranger::with(other.node(|p| p.subject_alt_names = names(partner.org).into_iter().collect())?),
            format!("{}` {root}", partner.org),
        ),
        (
            "a key that the card does not list",
            Stranger::with(partner.certify(&KeyPair::generate_for(&PKCS_ED25519)?, |_| {})?),
            format!("`{}` uses a node key that its newest card does not list", partner.org),
        ),
        ("no certificate", Stranger::with((Vec::new(), Vec::new())), "error 116".to_owned()),
        ("another protocol", Stranger { alpn: b"h3", ..Stranger::with(honest()?) }, "error 120".to_owned()),
        (
            "no hybrid key exchange",
            Stranger { group: aws_lc_rs::kx_group::X25519, ..Stranger::with(honest()?) },
            "error 40".to_owned(),
        ),
        ("TLS 1.2", Stranger { older: true, ..Stranger::with(honest()?) }, "error 70".to_owned()),
    ];
    b.start();
    for ((name, stranger, says), row) in cases.into_iter().zip(&rows) {
        let before = a.log().len();
        let Err(told) = stranger.visit(at, PATIENCE)? else { return Err(format!("{name}: was let in").into()) };
        assert!(
            matches!(&told, ConnectionError::ConnectionClosed(close) if u64::from(close.error_code) >= 0x100),
            "{name}: refused by TLS: {told:?}"
        );
        let told = told.to_string();
        assert!(!["partner", "root", "organisation"].iter().any(|word| told.contains(word)), "{name}: told `{told}`");
        a.logs(before, &["an attempt to connect failed", "127.0.0.1", &says]);
        // The honest partner is served all the same.
        a.pass(&[&row.number]);
        a.sync(&b);
        assert!(b.received().iter().any(|r| r["number"] == row.number.as_str()), "{name}: the partner is not served");
    }
    assert_eq!(b.received().len(), 12);
    Ok(())
}

/// A client does not have to know whom it speaks to.
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
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

mod older {
    //! TLS 1.2 in a QUIC connection: no library offers it, so the greeting of TLS 1.3 is changed on its way.
    use quinn::{
        ConnectError, ConnectionId, Side,
        crypto::{
            ClientConfig, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, Session,
            rustls::QuicClientConfig,
        },
    };
    use quinn_proto::{TransportError, transport_parameters::TransportParameters};
    use std::{any::Any, sync::Arc};

    /// The extension that lists versions, with TLS 1.3 alone in it (RFC 8446, 4.2.1).
    const ONLY_13: [u8; 7] = [0x00, 0x2b, 0x00, 0x03, 0x02, 0x03, 0x04];

    pub struct Older(pub Arc<QuicClientConfig>);

    impl ClientConfig for Older {
        fn start_session(
            self: Arc<Self>,
            version: u32,
            name: &str,
            parameters: &TransportParameters,
        ) -> Result<Box<dyn Session>, ConnectError> {
            let inner = Arc::clone(&self.0).start_session(version, name, parameters)?;
            Ok(Box::new(Changed(inner)))
        }
    }

    struct Changed(Box<dyn Session>);

    impl Session for Changed {
        fn write_handshake(&mut self, out: &mut Vec<u8>) -> Option<Keys> {
            let keys = self.0.write_handshake(out);
            if let Some(at) = out.windows(ONLY_13.len()).position(|window| window == ONLY_13) {
                out[at + 6] = 0x03;
            }
            keys
        }
        fn initial_keys(&self, id: &ConnectionId, side: Side) -> Keys {
            self.0.initial_keys(id, side)
        }
        fn handshake_data(&self) -> Option<Box<dyn Any>> {
            self.0.handshake_data()
        }
        fn peer_identity(&self) -> Option<Box<dyn Any>> {
            self.0.peer_identity()
        }
        fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
            self.0.early_crypto()
        }
        fn early_data_accepted(&self) -> Option<bool> {
            self.0.early_data_accepted()
        }
        fn is_handshaking(&self) -> bool {
            self.0.is_handshaking()
        }
        fn read_handshake(&mut self, input: &[u8]) -> Result<bool, TransportError> {
            self.0.read_handshake(input)
        }
        fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
            self.0.transport_parameters()
        }
        fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
            self.0.next_1rtt_keys()
        }
        fn is_valid_retry(&self, id: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
            self.0.is_valid_retry(id, header, payload)
        }
        fn export_keying_material(
            &self,
            out: &mut [u8],
            label: &[u8],
            context: &[u8],
        ) -> Result<(), ExportKeyingMaterialError> {
            self.0.export_keying_material(out, label, context)
        }
    }
}
