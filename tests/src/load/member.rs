//! A partner without a home: its keys, its certificates and its card in one hand, and a session that it opens honestly.
//!
//! The node under test adds its card as it adds any other. What it does with an open session is up to who holds it.

use super::Fallible;
use entente_node::{
    clock::{Clock as _, SystemClock},
    peer::{
        Clock, Connection,
        book::{Book, Partner, PartnerState, SharedBook},
        endpoint::{Endpoint, Settings},
        issue,
        tls::Identity,
    },
    seal::hybrid,
    secret::{self, Secret},
};
use entente_protocol::{
    codec::frame,
    id::{Nonce, OrgId, StoreId},
    identity::{CARD_FORMAT, Card, CardKey, CardPayload, Purpose, UnconfirmedCard},
    primitive::{PublicKey, SigningKey},
    session::{Heads, Hello, Lane, Message},
    time::UnixMillis,
};
use quinn::{RecvStream, SendStream};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::net::SocketAddr;

/// A stream, both ways.
pub type Stream = (SendStream, RecvStream);

/// One partner.
pub struct Member {
    /// What the node adds.
    pub card: Card,
    chain: Vec<CertificateDer<'static>>,
    node_key: Secret<Vec<u8>>,
}

fn now() -> UnixMillis {
    SystemClock.now()
}

fn der(key: &Secret<Vec<u8>>) -> PrivatePkcs8KeyDer<'_> {
    PrivatePkcs8KeyDer::from(key.expose().as_slice())
}

impl Member {
    /// Makes its keys, certificates and card.
    ///
    /// # Errors
    /// If a key cannot be made.
    pub fn new(handle: &str) -> Fallible<Self> {
        let now = now();
        let [root_key, issuing_key, node_key] = [issue::generate()?, issue::generate()?, issue::generate()?];
        let root = issue::root(handle, &der(&root_key), &secret::random()?, now)?;
        let org = issue::organisation(&issue::public_key(&der(&root_key))?);
        let spki = issue::public_key(&der(&issuing_key))?;
        let issuing = issue::issuing(handle, &spki, &root, &der(&root_key), &secret::random()?, now)?;
        let names = issue::NodeNames { org, common: handle, dns: &[] };
        let spki = issue::public_key(&der(&node_key))?;
        let node = issue::node(names, &spki, &issuing, &der(&issuing_key), &secret::random()?, now)?;
        let mut keys = Vec::new();
        for (purpose, key) in [(Purpose::Root, &root_key), (Purpose::Issuing, &issuing_key), (Purpose::Node, &node_key)]
        {
            keys.push(CardKey::new(purpose, PublicKey::from_spki(&issue::public_key(&der(key))?)?, now));
        }
        for purpose in
            [Purpose::Records, Purpose::Agreements, Purpose::Runs, Purpose::Users, Purpose::Log, Purpose::Witness]
        {
            let key = SigningKey::from_seed(&secret::random()?)?;
            keys.push(CardKey::new(purpose, key.public().clone(), now));
        }
        let payload = CardPayload {
            v: CARD_FORMAT,
            age: hybrid::Identity::generate()?.recipient().to_string(),
            org,
            keys,
            name: handle.to_uppercase(),
            root: root.to_vec(),
            handle: handle.to_owned(),
            issued: now,
            number: 1,
            contacts: Vec::new(),
            addresses: Vec::new(),
            next_root: None,
            succession: Vec::new(),
        };
        let signed = payload.sign_with(&SigningKey::from_pkcs8(root_key.expose())?)?;
        let card = UnconfirmedCard::from_bytes(&signed)?;
        let digest = card.digest();
        Ok(Self { card: card.confirm(digest)?, chain: vec![node, issuing], node_key })
    }

    /// Who it is.
    #[must_use]
    pub fn org(&self) -> OrgId {
        self.card.org()
    }

    /// Its end of connections to a node with this card. Within a runtime.
    ///
    /// # Errors
    /// If no port is left.
    pub fn endpoint(&self, node: &Card) -> Fallible<Endpoint> {
        let key = der(&self.node_key).clone_key();
        let identity = Identity::new(self.org(), self.chain.clone(), key, now())?;
        let known = Partner::by_card(node, PartnerState::Active);
        let book = SharedBook::new(Book { partners: [(node.org(), known)].into() });
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(Endpoint::bind(any, identity, book, Clock::new(now), Settings::default())?)
    }

    /// Opens both lanes and says all that is due before a session is open. It has no agreement, so nothing is shared.
    ///
    /// # Errors
    /// If the node ends it.
    pub async fn open(&self, connection: &Connection) -> Fallible<[Stream; 2]> {
        let mut lanes = [stream(connection, 1).await?, stream(connection, 2).await?];
        let hello = Hello {
            org: self.org(),
            time: now(),
            nonce: Nonce::from_bytes(secret::random()?),
            store: StoreId::from_bytes(secret::random()?),
            versions: vec![1],
        };
        let heads = Heads { sent: Vec::new(), received: Vec::new() };
        for message in [Message::Hello(hello), Message::Agreements(Vec::new()), Message::Heads(heads)] {
            let frame = frame::encode(&message.to_bytes()?, Lane::Control.frame_bytes_max())?;
            lanes[0].0.write_all(&frame).await?;
        }
        Ok(lanes)
    }
}

/// A stream that says with its first byte what it carries.
///
/// # Errors
/// If the connection is gone.
pub async fn stream(connection: &Connection, carries: u8) -> Fallible<Stream> {
    let mut stream = connection.open_bi().await?;
    stream.0.write_all(&[carries]).await?;
    Ok(stream)
}
