//! The example organisations of `certs-example`: made again from fixed seeds and compared byte for byte, and read as
//! partners and their own nodes would read them.
//!
//! The private keys are derived here, in memory, from a text that everybody can read; nothing writes them. With
//! `ENTENTE_BLESS=1` the files are written anew.

use entente_node::{
    config::{Config, Home},
    identity::own_card,
    peer::{
        Clock,
        book::{Book, Partner, PartnerState, SharedBook},
        issue::{self, NodeNames, Serial},
        tls::{self, Identity, Refusals, Trust},
    },
    seal::hybrid,
    secret::Secret,
};
use entente_policy::source::{self, Drafting};
use entente_protocol::{
    id::{AgreementId, OrgId},
    identity::{
        Address, CARD_FORMAT, Card, CardKey, CardPayload, Purpose, UnconfirmedCard,
        chain::{self, CertificateFault, ChainFault},
    },
    primitive::{PublicKey, SigningKey, sha256},
    time::{DAY_MS, UnixMillis},
};
use rustls::quic;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

type Outcome = Result<(), Box<dyn Error>>;

/// As in the demo and in the agreements.
const HANDLES: [&str; 4] = ["car", "panel", "maker", "host"];
/// When the examples were made: 2026-02-01.
const MADE: UnixMillis = UnixMillis(1_769_904_000_000);
/// A day on which all of them are good.
const NOW: UnixMillis = UnixMillis(MADE.0 + 30 * DAY_MS);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../certs-example")
}

fn home(handle: &str) -> Home {
    Home::at(root().join("organisations").join(handle))
}

fn blessing() -> bool {
    std::env::var_os("ENTENTE_BLESS").is_some()
}

/// The seed of one key of one organisation: as public as this line.
fn seed(handle: &str, what: &str) -> [u8; 32] {
    sha256(&[b"entente certs-example", b"\0", handle.as_bytes(), b"\0", what.as_bytes()])
}

/// PKCS #8 of an Ed25519 key (RFC 8410, section 7).
fn pkcs8(seed: [u8; 32]) -> PrivatePkcs8KeyDer<'static> {
    const HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    [HEAD.as_slice(), &seed].concat().into()
}

fn serial(handle: &str, what: &str) -> Serial {
    let digest = sha256(&[b"serial number", b"\0", handle.as_bytes(), b"\0", what.as_bytes()]);
    std::array::from_fn(|at| digest[at])
}

/// An example organisation, made from its seeds as `entente init` makes one from randomness.
struct Made {
    org: OrgId,
    root: CertificateDer<'static>,
    issuing: CertificateDer<'static>,
    node: CertificateDer<'static>,
    node_key: PrivatePkcs8KeyDer<'static>,
    card: Card,
}

impl Made {
    fn new(handle: &str) -> Result<Self, Box<dyn Error>> {
        let config = Config::load(&home(handle))?;
        let [root_key, issuing_key, node_key] = ["root", "issuing", "node"].map(|what| pkcs8(seed(handle, what)));
        let spki = |key: &PrivatePkcs8KeyDer<'_>| issue::public_key(key);
        let root = issue::root(&config.name, &root_key, &serial(handle, "root"), MADE)?;
        let org = issue::organisation(&spki(&root_key)?);
        let number = serial(handle, "issuing");
        let issuing = issue::issuing(&config.name, &spki(&issuing_key)?, &root, &root_key, &number, MADE)?;
        let names = NodeNames { org, common: &config.name, dns: &[] };
        let node = issue::node(names, &spki(&node_key)?, &issuing, &issuing_key, &serial(handle, "node"), MADE)?;
        let mut keys = Vec::new();
        for (purpose, what) in [
            (Purpose::Root, "root"),
            (Purpose::Issuing, "issuing"),
            (Purpose::Node, "node"),
            (Purpose::Records, "records"),
            (Purpose::Agreements, "agreements"),
            (Purpose::Runs, "runs"),
            (Purpose::Users, "user"),
        ] {
            keys.push(CardKey::new(purpose, PublicKey::from_spki(&spki(&pkcs8(seed(handle, what)))?)?, MADE));
        }
        let addresses = config.advertise.iter().map(|text| text.parse::<Address>()).collect::<Result<_, _>>();
        let payload = CardPayload {
            v: CARD_FORMAT,
            age: hybrid::Identity::from_seed(Secret::new(seed(handle, "age"))).recipient().to_string(),
            org,
            keys,
            name: config.name.clone(),
            root: root.to_vec(),
            handle: config.handle.clone(),
            issued: MADE,
            number: 1,
            contacts: Vec::new(),
            addresses: addresses.map_err(|_| "an address of the settings")?,
            next_root: None,
            succession: Vec::new(),
        };
        let card = UnconfirmedCard::from_bytes(&payload.sign_with(&SigningKey::from_seed(&seed(handle, "root"))?)?)?;
        let digest = card.digest();
        Ok(Self { org, root, issuing, node, node_key, card: card.confirm(digest)? })
    }

    /// Every file that is made, by its path in the home.
    fn files(&self) -> [(&'static str, Vec<u8>); 4] {
        [
            ("organisation.card", self.card.to_armour().into_bytes()),
            ("keys/root.der", self.root.to_vec()),
            ("keys/issuing.der", self.issuing.to_vec()),
            ("keys/tls.der", self.node.to_vec()),
        ]
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.node.clone(), self.issuing.clone()]
    }

    /// What partners hold of it once they have confirmed its card.
    fn partner(&self) -> Partner {
        Partner {
            root: CertificateDer::from(self.card.payload().root.clone()),
            state: PartnerState::Active,
            revoked: BTreeSet::new(),
            issuing: BTreeMap::new(),
            nodes: self.card.keys(Purpose::Node).map(|entry| (entry.key.id(), entry.clone())).collect(),
            addresses: Vec::new(),
        }
    }

    fn trust(partner: &Self, now: UnixMillis) -> Trust {
        let book = Book { partners: BTreeMap::from([(partner.org, partner.partner())]) };
        Trust { book: SharedBook::new(book), clock: Clock::new(move || now), refusals: Refusals::default() }
    }
}

/// Dials: whether both sides take each other's certificates at `now`.
fn meet(dialer: &Made, answerer: &Made, now: UnixMillis) -> Outcome {
    // Each node looks at its own certificate first; here only the partner's judgement is asked.
    let identity = |of: &Made| Identity::new(of.org, of.chain(), of.node_key.clone_key(), NOW);
    let client = tls::client_config(&identity(dialer)?, Made::trust(answerer, now), answerer.org)?;
    let server = tls::server_config(&identity(answerer)?, Made::trust(dialer, now))?;
    let name = ServerName::try_from("entente")?;
    let mut client = quic::ClientConnection::new(Arc::new(client), quic::Version::V1, name, vec![])?;
    let mut server = quic::ServerConnection::new(Arc::new(server), quic::Version::V1, vec![])?;
    for _ in 0..4 {
        let mut piece = Vec::new();
        // One piece for each set of keys, as QUIC's packets keep them apart.
        while client.write_hs(&mut piece).is_some() || !piece.is_empty() {
            server.read_hs(&std::mem::take(&mut piece))?;
        }
        while server.write_hs(&mut piece).is_some() || !piece.is_empty() {
            client.read_hs(&std::mem::take(&mut piece))?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(())
}

/// The table of the README: what people compare by voice.
fn words() -> Result<String, Box<dyn Error>> {
    let mut table = "| handle | words | organisation id |\n| --- | --- | --- |\n".to_owned();
    for handle in HANDLES {
        let card = own_card(&home(handle))?;
        table.push_str(&format!("| {handle} | {} | `{}` |\n", card.words(), card.org()));
    }
    Ok(table)
}

/// Every file below a folder.
fn walk(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(walk(&path)?) } else { found.push(path) }
    }
    found.sort();
    Ok(found)
}

#[test]
fn cards_and_certificates_are_made_again_byte_for_byte() -> Outcome {
    for handle in HANDLES {
        let made = Made::new(handle)?;
        let folder = home(handle).path().to_owned();
        for (path, bytes) in made.files() {
            let path = folder.join(path);
            if blessing() {
                fs::create_dir_all(path.parent().unwrap_or(&folder))?;
                fs::write(&path, &bytes)?;
            }
            assert!(fs::read(&path)? == bytes, "{}: see the head of example.rs", path.display());
        }
        // And nothing else: a file that nobody makes is one that nobody looks at.
        let mut expected: Vec<PathBuf> = made.files().iter().map(|(path, _)| folder.join(path)).collect();
        expected.push(home(handle).config());
        expected.sort();
        assert_eq!(walk(&folder)?, expected);
    }
    let readme = root().join("README.md");
    let text = fs::read_to_string(&readme)?;
    let (before, rest) = text.split_once("<!-- begin: words -->\n").ok_or("no table of words")?;
    let (stands, after) = rest.split_once("<!-- end: words -->").ok_or("no end of the table of words")?;
    let made = words()?;
    if blessing() {
        fs::write(&readme, format!("{before}<!-- begin: words -->\n{made}<!-- end: words -->{after}"))?;
    } else {
        assert_eq!(stands, made, "README.md: see the head of example.rs");
    }
    Ok(())
}

#[test]
fn each_card_is_what_its_settings_and_the_readme_say() -> Outcome {
    let readme = fs::read_to_string(root().join("README.md"))?;
    let mut orgs = BTreeSet::new();
    for handle in HANDLES {
        let config = Config::load(&home(handle))?;
        let text = fs::read_to_string(home(handle).card())?;
        let card = UnconfirmedCard::from_armour(&text)?;
        let told = format!("| {handle} | {} | `{}` |", card.words(), card.payload().org);
        assert!(readme.contains(&told), "{told}");
        // Confirmed by its own words, and by no others.
        let digest = card.digest();
        let other = entente_protocol::id::CardDigest::from_bytes([0; 32]);
        assert!(UnconfirmedCard::from_armour(&text)?.confirm(other).is_err());
        let card = card.confirm(digest)?;
        let payload = card.payload();
        assert_eq!((payload.handle.as_str(), &payload.name), (handle, &config.name));
        assert_eq!(config.handle, handle);
        let addresses: Vec<String> = payload.addresses.iter().map(|a| a.as_str().to_owned()).collect();
        assert_eq!(addresses, config.advertise);
        // Its keys count from the day on which they were made, and not before.
        assert!(payload.keys.iter().all(|key| key.counts_at(NOW) && !key.counts_at(MADE.minus(1))));
        assert!(orgs.insert(card.org()), "{handle} is another's card");
        // A single changed character is another card, or none.
        let at = text.len() / 2;
        let swapped = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
        let changed = [&text[..at], swapped, &text[at + 1..]].concat();
        assert!(UnconfirmedCard::from_armour(&changed).is_err(), "{handle}");
    }
    Ok(())
}

#[test]
fn each_certificate_is_good_while_it_is_valid_and_at_no_other_time() -> Outcome {
    for handle in HANDLES {
        let card = own_card(&home(handle))?;
        let read = |name: &str| fs::read(home(handle).keys().join(name));
        let (root, issuing, node) = (read("root.der")?, read("issuing.der")?, read("tls.der")?);
        assert_eq!(card.payload().root, root, "{handle}");
        let claimed = chain::root(&root, NOW)?;
        assert_eq!(claimed.org, card.org(), "{handle}");
        let whole = [&node, &issuing, &root];
        for chain in [&whole[..2], &whole[..]] {
            let identity = chain::claimed(chain, NOW)?;
            assert_eq!(identity.org, card.org(), "{handle}");
            let [node, issuing] = [Purpose::Node, Purpose::Issuing].map(|p| card.current(p, NOW).map(|k| k.key.id()));
            assert_eq!((identity.keys.first().copied(), identity.keys.get(1).copied()), (node, issuing), "{handle}");
        }
        let early = MADE.minus(DAY_MS);
        let late = |days: u64| MADE.plus((days + 1) * DAY_MS);
        let fault = |chain: &[&Vec<u8>], now| match chain::claimed(chain, now) {
            Err(ChainFault::Certificate { at, fault }) => Ok((at, fault)),
            other => Err(format!("{handle}: {other:?}")),
        };
        assert!(matches!(fault(&whole, early)?, (0, CertificateFault::NotYetValid(_))));
        assert!(matches!(fault(&whole, late(issue::NODE_DAYS))?, (0, CertificateFault::Expired(_))));
        assert!(matches!(chain::root(&root, early), Err(CertificateFault::NotYetValid(_))));
        assert!(matches!(chain::root(&root, late(issue::ROOT_DAYS)), Err(CertificateFault::Expired(_))));
        // The issuing certificate is no node's.
        assert!(chain::claimed(&whole[1..], NOW).is_err(), "{handle}");
    }
    Ok(())
}

#[test]
fn each_two_organisations_would_let_each_other_in() -> Outcome {
    let made = HANDLES.map(Made::new).into_iter().collect::<Result<Vec<_>, _>>()?;
    for (at, dialer) in made.iter().enumerate() {
        let answerer = &made[(at + 1) % made.len()];
        meet(dialer, answerer, NOW)?;
        for wrong in [MADE.minus(DAY_MS), MADE.plus((issue::NODE_DAYS + 1) * DAY_MS)] {
            assert!(meet(dialer, answerer, wrong).is_err(), "{} at {wrong}", HANDLES[at]);
        }
    }
    // The settings alone do not make a partner: another organisation's root is none of this one's.
    let mixed = Made { root: made[1].root.clone(), card: made[1].card.clone(), ..Made::new(HANDLES[0])? };
    assert!(meet(&mixed, &made[2], NOW).is_err());
    Ok(())
}

#[test]
fn agreements_name_these_organisations_and_no_others() -> Outcome {
    let mut orgs = BTreeMap::new();
    for handle in HANDLES {
        let card = own_card(&home(handle))?;
        orgs.insert(handle, (card.org(), card.payload().name.clone()));
    }
    let mut named = BTreeSet::new();
    for path in walk(&root().join("agreements"))? {
        let party = |handle: &str| orgs.get(handle).map(|(org, _)| *org);
        let drafting = Drafting { id: AgreementId::from_bytes([1; 16]), party: &party };
        let checked = source::parse(&fs::read_to_string(&path)?, &drafting)
            .map_err(|fault| format!("{}: {fault}", path.display()))?;
        for party in checked.agreement.parties {
            let known = orgs.get(party.handle.as_str()).ok_or_else(|| format!("`{}` is nobody", party.handle))?;
            assert_eq!((party.id, &party.name), (known.0, &known.1), "{}", path.display());
            named.insert(party.handle);
        }
    }
    assert_eq!(named, HANDLES.map(str::to_owned).into());
    Ok(())
}

/// Where a text that may stand for a secret is found in a file.
fn secrets_in(bytes: &[u8], seeds: &[[u8; 32]]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes).to_uppercase();
    let mut found = vec![["PRIVATE", " KEY-----"].concat(), ["AGE-SECRET", "-KEY"].concat()];
    found.retain(|needle| text.contains(needle.as_str()));
    for seed in seeds {
        let hex: String = seed.iter().map(|byte| format!("{byte:02X}")).collect();
        if text.contains(&hex) || bytes.windows(32).any(|window| window == seed) {
            found.push("a seed".to_owned());
        }
    }
    found
}

#[test]
fn no_file_there_holds_a_secret() -> Outcome {
    const NAMES: [&str; 8] = ["root", "issuing", "node", "records", "agreements", "runs", "user", "age"];
    let seeds: Vec<[u8; 32]> = HANDLES.iter().flat_map(|handle| NAMES.map(|what| seed(handle, what))).collect();
    let files = walk(&root())?;
    assert!(files.len() > 30, "{}", files.len());
    for path in files {
        let found = secrets_in(&fs::read(&path)?, &seeds);
        assert!(found.is_empty(), "{}: {found:?}", path.display());
    }
    // The search finds what it is for.
    let [pem, age] = [["-----BEGIN PRIVATE", " KEY-----"].concat(), ["age-secret", "-key-1qq"].concat()];
    for bad in [pem.as_bytes(), age.as_bytes(), pkcs8(seeds[0]).secret_pkcs8_der()] {
        assert_eq!(secrets_in(bad, &seeds).len(), 1);
    }
    Ok(())
}
