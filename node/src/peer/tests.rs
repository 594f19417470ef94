//! Handshakes over real QUIC on loopback: who gets in, and each way of not getting in.

mod certificates;
mod hostile;
mod limits;

use super::{
    Clock,
    book::{Book, Partner, PartnerState, SharedBook},
    endpoint::{ConnectError, Endpoint, Link, Settings},
    issue::{self, NodeNames},
    links::{Kept, Links},
    tls::{self, Identity, Refusal, Refusals, Trust},
};
use entente_protocol::{
    id::{KeyId, OrgId},
    identity::{
        CardKey, Purpose,
        chain::{CertificateFault, ChainFault},
    },
    primitive::{PublicKey, sha256},
    session::CloseCode,
    time::{DAY_MS, UnixMillis},
};
use quinn::{ConnectionError, VarInt};
use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519, PublicKeyData,
    SanType,
};
use rustls::{HandshakeKind, NamedGroup, quic};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

type Fallible = Result<(), Box<dyn std::error::Error>>;

/// 2026-11-22.
pub(super) const NOW: UnixMillis = UnixMillis(1_795_305_600_000);
/// A port of the system's choice on this machine.
const ANY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));

/// An organisation with its keys, as a test needs it: everything in one hand.
pub(super) struct Org {
    pub(super) id: OrgId,
    root: CertificateDer<'static>,
    issuing: CertificateDer<'static>,
    issuing_key: PrivatePkcs8KeyDer<'static>,
    node: CertificateDer<'static>,
    node_key: PrivatePkcs8KeyDer<'static>,
}

fn key() -> PrivatePkcs8KeyDer<'static> {
    KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_der().into()
}

/// A node key as a card lists it.
fn listed(key: &PrivatePkcs8KeyDer<'_>) -> (KeyId, CardKey) {
    let public = PublicKey::from_spki(&issue::public_key(key).unwrap()).unwrap();
    (public.id(), CardKey::new(Purpose::Node, public, NOW.minus(DAY_MS)))
}

pub(super) fn org(name: &str) -> Org {
    let (root_key, issuing_key, node_key) = (key(), key(), key());
    let root = issue::root(&format!("{name} root"), &root_key, &[1; 16], NOW).unwrap();
    let id = issue::organisation(&issue::public_key(&root_key).unwrap());
    let subject = issue::public_key(&issuing_key).unwrap();
    let issuing = issue::issuing(&format!("{name} issuing"), &subject, &root, &root_key, &[2; 16], NOW).unwrap();
    let dns = ["node.example".to_owned()];
    let names = NodeNames { org: id, common: name, dns: &dns };
    let subject = issue::public_key(&node_key).unwrap();
    let node = issue::node(names, &subject, &issuing, &issuing_key, &[3; 16], NOW).unwrap();
    Org { id, root, issuing, issuing_key, node, node_key }
}

impl Org {
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.node.clone(), self.issuing.clone()]
    }
    fn identity(&self) -> Identity {
        Identity::new(self.id, self.chain(), self.node_key.clone_key(), NOW).unwrap()
    }
    pub(super) fn partner(&self) -> Partner {
        Partner {
            root: self.root.clone(),
            state: PartnerState::Active,
            revoked: BTreeSet::new(),
            issuing: BTreeMap::new(),
            nodes: BTreeMap::from([listed(&self.node_key)]),
            addresses: vec![],
        }
    }
    /// A node at which `partners` are known.
    pub(super) fn endpoint(&self, partners: &[(OrgId, Partner)], now: UnixMillis) -> Endpoint {
        self.endpoint_with(partners, now, Settings::default())
    }
    fn endpoint_with(&self, partners: &[(OrgId, Partner)], now: UnixMillis, settings: Settings) -> Endpoint {
        let book = SharedBook::new(book(partners));
        Endpoint::bind(ANY, self.identity(), book, Clock::new(move || now), settings).unwrap()
    }
    /// A chain whose node certificate was changed before it was signed.
    fn odd(&self, change: impl FnOnce(&mut CertificateParams)) -> Vec<CertificateDer<'static>> {
        let mut params = CertificateParams::default();
        let at = time::OffsetDateTime::from_unix_timestamp((NOW.0 / 1_000).try_into().unwrap()).unwrap();
        params.not_before = at - time::Duration::hours(1);
        params.not_after = at + time::Duration::days(90);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = vec![san(self.id)];
        change(&mut params);
        let pair = |key: &PrivatePkcs8KeyDer<'_>| KeyPair::from_pkcs8_der_and_sign_algo(key, &PKCS_ED25519).unwrap();
        let issuer = Issuer::from_ca_cert_der(&self.issuing, pair(&self.issuing_key)).unwrap();
        let node = params.signed_by(&pair(&self.node_key), &issuer).unwrap();
        vec![node.der().clone(), self.issuing.clone()]
    }
}

fn san(org: OrgId) -> SanType {
    SanType::URI(entente_protocol::identity::chain::uri(&org).try_into().unwrap())
}

pub(super) fn book(partners: &[(OrgId, Partner)]) -> Book {
    Book { partners: partners.iter().cloned().collect() }
}

async fn answer(endpoint: &Endpoint) -> Result<Link, ConnectError> {
    endpoint.arrival().await.expect("open").admit().await
}

/// `dialer` dials `expected` at `answerer`; what each of them got.
async fn meet(
    dialer: &Endpoint,
    answerer: &Endpoint,
    expected: OrgId,
) -> (Result<Link, ConnectError>, Result<Link, ConnectError>) {
    let at = answerer.local_addr().unwrap();
    tokio::join!(dialer.dial(expected, at), answer(answerer))
}

/// Waits for a connection's end, but not for ever.
pub(super) async fn end(connection: &quinn::Connection) -> ConnectionError {
    tokio::time::timeout(Duration::from_secs(5), connection.closed()).await.expect("it ends")
}

#[tokio::test]
async fn both_sides_know_each_other() -> Fallible {
    let (a, b) = (org("a"), org("b"));
    let near = a.endpoint(&[(b.id, b.partner())], NOW);
    let far = b.endpoint(&[(a.id, a.partner())], NOW);
    let (dialed, answered) = meet(&near, &far, b.id).await;
    let (dialed, answered) = (dialed?, answered?);
    assert_eq!((dialed.peer, dialed.dialed, answered.peer, answered.dialed), (b.id, true, a.id, false));
    let (mut send, _receive) = dialed.connection.open_bi().await?;
    send.write_all(b"evidence").await?;
    send.finish()?;
    let (_send, mut receive) = answered.connection.accept_bi().await?;
    assert_eq!(receive.read_to_end(64).await?, b"evidence");
    assert_eq!(far.half_open(), 0);
    Ok(())
}

/// Drives a handshake in memory; both ends, for what quinn does not show.
fn shake(
    client: rustls::ClientConfig,
    server: rustls::ServerConfig,
) -> Result<(quic::ClientConnection, quic::ServerConnection), rustls::Error> {
    let name = ServerName::try_from("entente").unwrap();
    let mut client = quic::ClientConnection::new(Arc::new(client), quic::Version::V1, name, vec![])?;
    let mut server = quic::ServerConnection::new(Arc::new(server), quic::Version::V1, vec![])?;
    for _ in 0..4 {
        // One piece for each set of keys, as QUIC's packets keep them apart.
        loop {
            let mut piece = Vec::new();
            let keys = client.write_hs(&mut piece);
            server.read_hs(&piece)?;
            if keys.is_none() && piece.is_empty() {
                break;
            }
        }
        loop {
            let mut piece = Vec::new();
            let keys = server.write_hs(&mut piece);
            client.read_hs(&piece)?;
            if keys.is_none() && piece.is_empty() {
                break;
            }
        }
    }
    Ok((client, server))
}

fn trust(partners: &[(OrgId, Partner)]) -> Trust {
    Trust { book: SharedBook::new(book(partners)), clock: Clock::new(|| NOW), refusals: Refusals::default() }
}

#[test]
fn the_key_exchange_is_hybrid_and_nothing_is_resumed() -> Fallible {
    let (a, b) = (org("a"), org("b"));
    let (near, far) = (trust(&[(b.id, b.partner())]), trust(&[(a.id, a.partner())]));
    let client = tls::client_config(&a.identity(), near, b.id)?;
    let server = tls::server_config(&b.identity(), far)?;
    assert_eq!(server.send_tls13_tickets, 0);
    for _ in 0..2 {
        let (client, server) = shake(client.clone(), server.clone())?;
        assert!(!client.is_handshaking() && !server.is_handshaking());
        for group in [client.negotiated_key_exchange_group(), server.negotiated_key_exchange_group()] {
            assert_eq!(group.map(|group| group.name()), Some(NamedGroup::X25519MLKEM768));
        }
        assert_eq!(u16::from(NamedGroup::X25519MLKEM768), 0x11ec);
        assert_eq!(client.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(server.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(client.tls13_tickets_received(), 0);
        assert_eq!(client.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    }
    Ok(())
}

/// `dialer`'s certificates are refused by `answerer` for the reason that `is` accepts.
async fn refused_by_answerer(dialer: &Endpoint, answerer: &Endpoint, to: OrgId, is: impl Fn(&Refusal) -> bool) {
    let (dialed, answered) = meet(dialer, answerer, to).await;
    match answered {
        Err(ConnectError::Refused(refusal)) => assert!(is(&refusal), "{refusal:?}"),
        other => panic!("{other:?}"),
    }
    // TLS 1.3: the dialler may have finished first, and then learns of it, without a reason.
    if let Ok(link) = dialed {
        let told = end(&link.connection).await.to_string();
        assert!(!told.contains("partner") && !told.contains("root") && !told.contains("Issuer"), "{told}");
    }
}

#[tokio::test]
async fn wrong_partners_are_refused_by_the_answerer() {
    let (a, b, c) = (org("a"), org("b"), org("c"));
    let near = a.endpoint(&[(b.id, b.partner())], NOW);
    let key_id = |der: &PrivatePkcs8KeyDer<'_>| KeyId::from_bytes(sha256(&[&issue::public_key(der).unwrap()]));

    let other_root = Partner { root: c.root.clone(), ..a.partner() };
    let far = b.endpoint(&[(a.id, other_root)], NOW);
    refused_by_answerer(&near, &far, b.id, |r| matches!(r, Refusal::Path { org, .. } if *org == a.id)).await;
    assert_eq!(far.refusals().count(), 1);

    let far = b.endpoint(&[(c.id, c.partner())], NOW);
    refused_by_answerer(&near, &far, b.id, |r| *r == Refusal::Stranger(a.id)).await;

    let removed = Partner { state: PartnerState::Removed, ..a.partner() };
    let far = b.endpoint(&[(a.id, removed)], NOW);
    refused_by_answerer(&near, &far, b.id, |r| *r == Refusal::Removed(a.id)).await;

    for revoked in [key_id(&a.node_key), key_id(&a.issuing_key)] {
        let partner = Partner { revoked: BTreeSet::from([revoked]), ..a.partner() };
        let far = b.endpoint(&[(a.id, partner)], NOW);
        refused_by_answerer(&near, &far, b.id, |r| *r == Refusal::Revoked(a.id)).await;
    }

    // The newest card lists another node key, or this one until yesterday.
    let ended = |(id, key): (KeyId, CardKey)| (id, CardKey { until: Some(NOW), ..key });
    for nodes in [BTreeMap::new(), BTreeMap::from([listed(&c.node_key)]), BTreeMap::from([ended(listed(&a.node_key))])]
    {
        let far = b.endpoint(&[(a.id, Partner { nodes, ..a.partner() })], NOW);
        refused_by_answerer(&near, &far, b.id, |r| *r == Refusal::Unlisted(a.id)).await;
    }

    let later = NOW.plus((issue::NODE_DAYS + 1) * DAY_MS);
    let far = b.endpoint(&[(a.id, a.partner())], later);
    let expired = |r: &Refusal| {
        matches!(r, Refusal::Chain(ChainFault::Certificate { at: 0, fault: CertificateFault::Expired(_) }))
    };
    refused_by_answerer(&near, &far, b.id, expired).await;

    let far = b.endpoint(&[(a.id, a.partner())], NOW.minus(DAY_MS));
    let early = |r: &Refusal| {
        matches!(r, Refusal::Chain(ChainFault::Certificate { at: 0, fault: CertificateFault::NotYetValid(_) }))
    };
    refused_by_answerer(&near, &far, b.id, early).await;
}

#[tokio::test]
async fn wrong_partners_are_refused_by_the_dialer() {
    let (a, b, c) = (org("a"), org("b"), org("c"));
    let far = b.endpoint(&[(a.id, a.partner())], NOW);

    let near = a.endpoint(&[(b.id, b.partner()), (c.id, c.partner())], NOW);
    let (dialed, _) = meet(&near, &far, c.id).await;
    let other = Refusal::OtherOrganisation { expected: c.id, found: b.id };
    assert!(matches!(&dialed, Err(ConnectError::Refused(r)) if *r == other), "{dialed:?}");

    let near = a.endpoint(&[(b.id, Partner { root: c.root.clone(), ..b.partner() })], NOW);
    let (dialed, _) = meet(&near, &far, b.id).await;
    assert!(matches!(&dialed, Err(ConnectError::Refused(Refusal::Path { .. }))), "{dialed:?}");
}

#[tokio::test]
async fn a_partner_cannot_speak_for_another() {
    // `a` issues itself a certificate in `c`'s name; `b` knows both.
    let (a, b, c) = (org("a"), org("b"), org("c"));
    let far = trust(&[(a.id, a.partner()), (c.id, c.partner())]);
    let chain = a.odd(|p| p.subject_alt_names = vec![san(c.id)]);
    let refused = tls::partner(&far, &chain, None, tls::client_usage());
    assert!(matches!(refused, Err(Refusal::Path { org, .. }) if org == c.id), "{refused:?}");
    assert!(tls::partner(&far, &c.chain(), None, tls::client_usage()).is_ok());
    drop(b);
}

#[tokio::test]
async fn a_removed_partner_is_cut_at_once() -> Fallible {
    let removed = |partner| Partner { state: PartnerState::Removed, ..partner };
    cut_at_once(removed, Refusal::Removed).await
}

#[tokio::test]
async fn a_node_that_the_newest_card_does_not_list_is_cut_at_once() -> Fallible {
    cut_at_once(|partner| Partner { nodes: BTreeMap::new(), ..partner }, Refusal::Unlisted).await
}

#[tokio::test]
async fn a_node_whose_key_is_revoked_is_cut_at_once() -> Fallible {
    let revoked = |partner: Partner| Partner { revoked: partner.nodes.keys().copied().collect(), ..partner };
    cut_at_once(revoked, Refusal::Revoked).await
}

#[tokio::test]
async fn a_connection_is_cut_when_its_chain_expires() -> Fallible {
    let (a, b) = (org("a"), org("b"));
    let (near, far) = (a.endpoint(&[(b.id, b.partner())], NOW), b.endpoint(&[(a.id, a.partner())], NOW));
    let links = Links::new(b.id);
    let (dialed, answered) = meet(&near, &far, b.id).await;
    let (dialed, answered) = (dialed?, answered?);
    assert_eq!(links.keep(&answered), Kept::This);
    let last = NOW.plus(issue::NODE_DAYS * DAY_MS);
    assert!(links.review(&far.book().snapshot(), last).is_empty());
    assert_eq!(links.review(&far.book().snapshot(), last.plus(1_000)), vec![a.id]);
    assert!(matches!(end(&dialed.connection).await, ConnectionError::ApplicationClosed(_)));
    Ok(())
}

/// What the book says of a connected partner changes: the link is cut, the partner learns nothing and stays out.
async fn cut_at_once(change: impl Fn(Partner) -> Partner, refusal: impl Fn(OrgId) -> Refusal) -> Fallible {
    let (a, b) = (org("a"), org("b"));
    let near = a.endpoint(&[(b.id, b.partner())], NOW);
    let far = b.endpoint(&[(a.id, a.partner())], NOW);
    let links = Links::new(b.id);
    let (dialed, answered) = meet(&near, &far, b.id).await;
    let (dialed, answered) = (dialed?, answered?);
    assert_eq!(links.keep(&answered), Kept::This);
    assert!(links.review(&far.book().snapshot(), NOW).is_empty());
    far.book().replace(book(&[(a.id, change(a.partner()))]));
    assert_eq!(links.review(&far.book().snapshot(), NOW), vec![a.id]);
    match end(&dialed.connection).await {
        ConnectionError::ApplicationClosed(close) => {
            assert_eq!(close.error_code, VarInt::from_u32(CloseCode::REMOVED.0));
            assert!(close.reason.is_empty());
        }
        other => panic!("{other:?}"),
    }
    assert!(!links.connected(a.id));
    // And it does not come back.
    refused_by_answerer(&near, &far, b.id, |r| *r == refusal(a.id)).await;
    Ok(())
}

#[tokio::test]
async fn of_two_connections_both_sides_keep_the_same() -> Fallible {
    let (a, b) = (org("a"), org("b"));
    let (a, b) = if a.id < b.id { (a, b) } else { (b, a) };
    let near = a.endpoint(&[(b.id, b.partner())], NOW);
    let far = b.endpoint(&[(a.id, a.partner())], NOW);
    for smaller_first in [true, false] {
        let (by_a, at_b) = meet(&near, &far, b.id).await;
        let (by_b, at_a) = meet(&far, &near, a.id).await;
        let (by_a, at_b, by_b, at_a) = (by_a?, at_b?, by_b?, at_a?);
        let (of_a, of_b) = (Links::new(a.id), Links::new(b.id));
        // Each side sees the two in another order.
        let (first, second) =
            if smaller_first { ((&by_a, &by_b), (&at_a, &at_b)) } else { ((&at_a, &at_b), (&by_a, &by_b)) };
        of_a.keep(first.0);
        of_b.keep(first.1);
        of_a.keep(second.0);
        of_b.keep(second.1);
        for link in [&by_a, &at_b, &by_b, &at_a] {
            link.open.store(true, Ordering::SeqCst);
        }
        let kept = |links: &Links, peer| links.connection(peer).map(|connection| connection.stable_id());
        assert_eq!(kept(&of_a, b.id), Some(by_a.connection.stable_id()));
        assert_eq!(kept(&of_b, a.id), Some(at_b.connection.stable_id()));
        end(&by_b.connection).await;
        end(&at_a.connection).await;
        of_a.cut(b.id, CloseCode::DONE);
        end(&at_b.connection).await;
    }
    Ok(())
}

#[test]
fn our_own_certificate_is_held_to_the_same_rules() {
    let (a, b) = (org("a"), org("b"));
    let late = NOW.plus((issue::NODE_DAYS + 1) * DAY_MS);
    assert!(Identity::new(a.id, a.chain(), a.node_key.clone_key(), late).is_err());
    assert!(Identity::new(b.id, a.chain(), a.node_key.clone_key(), NOW).is_err());
    assert!(Identity::new(a.id, a.chain(), b.node_key.clone_key(), NOW).is_err());
    let rsa = PrivatePkcs8KeyDer::from(vec![0x30, 0x00]);
    assert!(issue::public_key(&rsa).is_err());
    let subject = KeyPair::generate().unwrap().subject_public_key_info();
    let dns = ["*.example".to_owned()];
    let names = NodeNames { org: a.id, common: "a", dns: &dns };
    assert!(issue::node(names, &subject, &a.issuing, &a.issuing_key, &[1; 16], NOW).is_err());
}
