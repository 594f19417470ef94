//! The organisation's own identity: its key files, certificates and card.
//!
//! Every private key lies in an age file of its own in `keys/`, sealed to the node's identity and to the recovery
//! identity: an organisation that lost its passphrase stays the organisation that signed its agreements. The
//! root key is read only to make cards ([`renew`]); the rest stays open with the node, the issuing key among them, so
//! that a certificate is renewed without anybody's help.

use crate::{
    config::{Config, Home},
    latest::Latest,
    peer::issue,
    seal::hybrid::{Identity, Recipient},
    secret::{
        self, RandomError, Secret,
        durable::{self, Existing},
        keyfile::{KeyFile, KeyFileError},
        recovery,
    },
};
use entente_protocol::{
    id::OrgId,
    identity::{Address, CARD_FORMAT, Card, CardFault, CardKey, CardPayload, Purpose, UnconfirmedCard, next_root},
    primitive::{KeyError, PublicKey, SigningKey, SigningKeyError},
    time::UnixMillis,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use std::{
    fs, io,
    path::PathBuf,
    sync::{PoisonError, RwLock},
};

pub mod known;
pub mod overlap;
pub mod renew;

/// The organisation's identity could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A key file.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// A key file that holds something else.
    #[error("a key file in `keys` does not hold a key: restore it from a backup")]
    Key(#[from] SigningKeyError),
    /// A certificate or card file.
    #[error("`{path}`: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What failed.
        cause: io::Error,
    },
    /// The own card.
    #[error("our own card is refused: {0}")]
    Card(#[from] CardFault),
    /// An address that no card may list.
    #[error("`{0}` cannot stand on a card: give host:port, such as 192.0.2.7:4433")]
    Address(String),
    /// A key of ours that no card may list.
    #[error("a key of ours is refused: {0}")]
    Public(#[from] KeyError),
    /// A certificate could not be made.
    #[error("a certificate could not be made: {0}")]
    Issue(#[from] issue::IssueError),
    /// Nothing to renew with.
    #[error("`{0}`, which issues certificates, is not here: bring it, and try again")]
    NoIssuingKey(PathBuf),
    /// The recovery identity, to which every key file is sealed too.
    #[error("{0}")]
    Recovery(String),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// The keys that an open node uses.
pub struct Keys {
    /// The organisation.
    pub org: OrgId,
    /// Attests records.
    pub records: Latest<SigningKey>,
    /// Signs agreements and standing notices.
    pub agreements: Latest<SigningKey>,
    /// Signs runs and receipts.
    pub runs: Latest<SigningKey>,
    /// The first user's key: signs reviews and release events.
    pub user: Latest<SigningKey>,
    /// Signs the heads of our log.
    pub log: Latest<SigningKey>,
    /// Cosigns the heads of others' logs.
    pub witness: Latest<SigningKey>,
    /// TLS: PKCS #8 of the node key.
    pub tls: Latest<Secret<Vec<u8>>>,
    /// The node key that takes its place, once partners had the time to learn of it.
    next: Latest<Option<Secret<Vec<u8>>>>,
    /// TLS: node certificate, then the issuing one. Replaced as a whole by renewal.
    chain: RwLock<Vec<Vec<u8>>>,
    /// PKCS #8 of the issuing key, unless it is kept elsewhere.
    issuing: Latest<Option<Secret<Vec<u8>>>>,
    /// What bundles for us are sealed to, and nothing else: the node's own identity opens every key file, and is not kept.
    /// None where the keys were made elsewhere.
    pub bundles: Option<Identity>,
    /// The own card.
    pub card: Latest<Card>,
    /// Why the card is not as the settings say, if it is not.
    card_trouble: Option<renew::Trouble>,
    /// Number and time of a card of ours that a partner showed and that is not here.
    shown: Latest<Option<(u64, UnixMillis)>>,
}

/// Key files that hold the seed of a signing key, and what each is for.
pub(crate) const PURPOSES: [(&str, Purpose); 6] = [
    ("records", Purpose::Records),
    ("agreements", Purpose::Agreements),
    ("runs", Purpose::Runs),
    ("user", Purpose::Users),
    ("log", Purpose::Log),
    ("witness", Purpose::Witness),
];

/// The key file of the identity to which bundles for us are sealed.
pub const BUNDLES_FILE: &str = "bundles.age";

pub(crate) fn file(home: &Home, name: &str) -> PathBuf {
    home.keys().join(name)
}

pub(crate) fn write(path: PathBuf, bytes: &[u8], existing: Existing) -> Result<(), IdentityError> {
    durable::write(&path, bytes, existing).map_err(|cause| IdentityError::Io { path, cause })
}

fn read(path: PathBuf) -> Result<Vec<u8>, IdentityError> {
    fs::read(&path).map_err(|cause| IdentityError::Io { path, cause })
}

/// Makes root, issuing, node and signing keys, certificates and the first card of a new home.
pub fn create(
    home: &Home,
    config: &Config,
    node: &Identity,
    recovery: &Recipient,
    now: UnixMillis,
) -> Result<OrgId, IdentityError> {
    let recipient = node.recipient();
    let recipients = [&recipient, recovery];
    let (root_key, issuing_key, node_key) = (issue::generate()?, issue::generate()?, issue::generate()?);
    let (root_pkcs8, issuing_pkcs8) = (pkcs8(&root_key), pkcs8(&issuing_key));
    let root = issue::root(&config.name, &root_pkcs8, &secret::random()?, now)?;
    let org = issue::organisation(&issue::public_key(&root_pkcs8)?);
    let issuing_spki = issue::public_key(&issuing_pkcs8)?;
    let issuing = issue::issuing(&config.name, &issuing_spki, &root, &root_pkcs8, &secret::random()?, now)?;
    let names = issue::NodeNames { org, common: &config.name, dns: &[] };
    let node_spki = issue::public_key(&pkcs8(&node_key))?;
    let leaf = issue::node(names, &node_spki, &issuing, &issuing_pkcs8, &secret::random()?, now)?;
    let mut keys = Vec::new();
    for (name, purpose, key, certificate) in [
        ("root", Purpose::Root, &root_key, &root),
        ("issuing", Purpose::Issuing, &issuing_key, &issuing),
        ("tls", Purpose::Node, &node_key, &leaf),
    ] {
        KeyFile::write(&file(home, &format!("{name}.age")), &recipients, key.expose(), Existing::Refuse)?;
        write(file(home, &format!("{name}.der")), certificate, Existing::Refuse)?;
        let spki = issue::public_key(&pkcs8(key))?;
        keys.push(CardKey::new(purpose, PublicKey::from_spki(&spki)?, now));
    }
    for (name, purpose) in PURPOSES {
        let seed = secret::random_secret::<32>()?;
        let key = SigningKey::from_seed(seed.expose())?;
        KeyFile::write(&file(home, &format!("{name}.age")), &recipients, seed.expose(), Existing::Refuse)?;
        keys.push(CardKey::new(purpose, key.public().clone(), now));
    }
    let next = draw_next_root(home, &recipients)?;
    let bundles = make_bundles(home, &recipients)?;
    let payload = CardPayload {
        v: CARD_FORMAT,
        age: bundles.recipient().to_string(),
        org,
        keys,
        name: config.name.clone(),
        root: root.to_vec(),
        handle: config.handle.clone(),
        issued: now,
        number: 1,
        contacts: Vec::new(),
        addresses: addresses(config)?,
        next_root: Some(next_root(&next)),
        succession: Vec::new(),
    };
    write_card(home, &payload, &SigningKey::from_pkcs8(root_key.expose())?, Existing::Refuse)?;
    Ok(org)
}

/// Key file of the root key that follows the present one: the card commits to it. It may be kept elsewhere.
pub const NEXT_ROOT_FILE: &str = "root-next.age";

/// Draws the root key that will follow.
pub(crate) fn draw_next_root(home: &Home, recipients: &[&Recipient]) -> Result<PublicKey, IdentityError> {
    let key = issue::generate()?;
    KeyFile::write(&file(home, NEXT_ROOT_FILE), recipients, key.expose(), Existing::Replace)?;
    Ok(PublicKey::from_spki(&issue::public_key(&pkcs8(&key))?)?)
}

/// Draws the identity to which bundles for us are sealed.
fn make_bundles(home: &Home, recipients: &[&Recipient]) -> Result<Identity, IdentityError> {
    let identity = Identity::generate()?;
    KeyFile::write(&file(home, BUNDLES_FILE), recipients, identity.seed().expose(), Existing::Refuse)?;
    Ok(identity)
}

/// Reads it; a home of an earlier version, or one that was put under another secret, gets a new one.
fn bundles(home: &Home, node: &Identity) -> Result<Identity, IdentityError> {
    match KeyFile::read(&file(home, BUNDLES_FILE), node) {
        Ok(seed) => {
            let seed: [u8; 32] = seed.expose().as_slice().try_into().map_err(|_| SigningKeyError)?;
            Ok(Identity::from_seed(Secret::new(seed)))
        }
        Err(KeyFileError::Missing(_)) => {
            let recovery = recovery::recipient(&home.keys()).map_err(|e| IdentityError::Recovery(e.to_string()))?;
            make_bundles(home, &[&node.recipient(), &recovery])
        }
        Err(error) => Err(error.into()),
    }
}

/// Draws a signing key where there is none.
fn ensure(home: &Home, node: &Identity, name: &str) -> Result<(), IdentityError> {
    let path = file(home, &format!("{name}.age"));
    if path.exists() {
        return Ok(());
    }
    let recovery = recovery::recipient(&home.keys()).map_err(|e| IdentityError::Recovery(e.to_string()))?;
    let seed = secret::random_secret::<32>()?;
    Ok(KeyFile::write(&path, &[&node.recipient(), &recovery], seed.expose(), Existing::Refuse)?)
}

pub(crate) fn pkcs8(key: &Secret<Vec<u8>>) -> PrivatePkcs8KeyDer<'_> {
    PrivatePkcs8KeyDer::from(key.expose().as_slice())
}

fn addresses(config: &Config) -> Result<Vec<Address>, IdentityError> {
    // An address of every interface is none that a partner could dial: then only `advertise` tells one.
    let listed = match (config.advertise.is_empty(), config.listen.ip().is_unspecified()) {
        (false, _) => config.advertise.clone(),
        (true, false) if config.listen.port() != 0 => vec![config.listen.to_string()],
        (true, _) => Vec::new(),
    };
    listed.into_iter().map(|text| text.parse::<Address>().map_err(|_| IdentityError::Address(text))).collect()
}

fn write_card(home: &Home, payload: &CardPayload, root: &SigningKey, existing: Existing) -> Result<(), IdentityError> {
    let signed = payload.sign_with(root)?;
    let unconfirmed = UnconfirmedCard::from_bytes(&signed)?;
    let digest = unconfirmed.digest();
    let card = unconfirmed.confirm(digest)?;
    write(home.card(), card.to_armour().as_bytes(), existing)
}

/// Reads the own card. It lies in our own folder: its root's signature is enough.
pub fn own_card(home: &Home) -> Result<Card, IdentityError> {
    let text = String::from_utf8(read(home.card())?)
        .map_err(|e| IdentityError::Io { path: home.card(), cause: io::Error::other(e) })?;
    let card = UnconfirmedCard::from_armour(&text)?;
    let digest = card.digest();
    Ok(card.confirm(digest)?)
}

impl Keys {
    /// Keys that were made elsewhere, in the order records, agreements, runs, user, log, witness, and no certificate: a
    /// node over them decides and signs, and has no place on a network.
    pub fn offline(card: Card, [records, agreements, runs, user, log, witness]: [SigningKey; 6]) -> Self {
        Self {
            org: card.payload().org,
            records: Latest::new(records),
            agreements: Latest::new(agreements),
            runs: Latest::new(runs),
            user: Latest::new(user),
            log: Latest::new(log),
            witness: Latest::new(witness),
            tls: Latest::new(Secret::new(Vec::new())),
            next: Latest::new(None),
            chain: RwLock::new(Vec::new()),
            issuing: Latest::new(None),
            bundles: None,
            card: Latest::new(card),
            card_trouble: None,
            shown: Latest::new(None),
        }
    }

    /// Opens every key that a running node needs; renews card and certificate where that is due and can be done.
    pub fn open(home: &Home, config: &Config, node: &Identity, now: UnixMillis) -> Result<Self, IdentityError> {
        overlap::settle(home, node)?;
        let key = |name: &str| -> Result<Latest<SigningKey>, IdentityError> {
            let seed = KeyFile::read(&file(home, &format!("{name}.age")), node)?;
            let seed: &[u8; 32] = seed.expose().as_slice().try_into().map_err(|_| SigningKeyError)?;
            Ok(Latest::new(SigningKey::from_seed(seed)?))
        };
        let there = |name: &str| match KeyFile::read(&file(home, name), node) {
            Ok(key) => Ok(Some(key)),
            Err(KeyFileError::Missing(_)) => Ok(None),
            Err(error) => Err(IdentityError::from(error)),
        };
        let (issuing, next) = (there("issuing.age")?, there(overlap::NEXT_NODE)?);
        let bundles = bundles(home, node)?;
        // A home of an earlier version has none of these yet.
        for name in ["log", "witness"] {
            ensure(home, node, name)?;
        }
        let (log, witness) = (key("log")?, key("witness")?);
        let fresh = [(Purpose::Log, log.public().clone()), (Purpose::Witness, witness.public().clone())];
        let (card, card_trouble) = renew::card(home, config, (node, &bundles), &fresh, now)?;
        let shown = known::shown(home, &card);
        let keys = Self {
            org: card.org(),
            records: key("records")?,
            agreements: key("agreements")?,
            runs: key("runs")?,
            user: key("user")?,
            log,
            witness,
            tls: Latest::new(KeyFile::read(&file(home, "tls.age"), node)?),
            next: Latest::new(next),
            chain: RwLock::new(vec![read(file(home, "tls.der"))?, read(file(home, "issuing.der"))?]),
            issuing: Latest::new(issuing),
            bundles: Some(bundles),
            card: Latest::new(card),
            card_trouble,
            shown: Latest::new(shown.map(|card| (card.payload().number, card.payload().issued))),
        };
        if let Err(error) = keys.renew(home, now, false) {
            // The old certificate may still count, and `status` says when it does not.
            tracing::warn!(%error, "the node's certificate could not be renewed");
        }
        Ok(keys)
    }

    /// Another key signs for a purpose from now on.
    pub(crate) fn sign_with(&self, purpose: Purpose, key: SigningKey) {
        match purpose {
            Purpose::Records => self.records.replace(key),
            Purpose::Agreements => self.agreements.replace(key),
            Purpose::Runs => self.runs.replace(key),
            Purpose::Users => self.user.replace(key),
            Purpose::Log => self.log.replace(key),
            Purpose::Witness => self.witness.replace(key),
            Purpose::Root | Purpose::Issuing | Purpose::Node => {}
        }
    }

    /// A node key that takes the place of the one in use when that one ends.
    pub(crate) fn wait_for(&self, key: Secret<Vec<u8>>) {
        self.next.replace(Some(key));
    }

    /// Another key issues certificates from now on.
    pub(crate) fn issue_with(&self, key: Secret<Vec<u8>>) {
        self.issuing.replace(Some(key));
    }

    /// The certificates that partners are shown: the node's, then the issuing one.
    pub fn chain(&self) -> Vec<Vec<u8>> {
        self.chain.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
