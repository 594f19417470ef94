//! The organisations of the simulated world: keys from fixed seeds, made once and shared by every run.
//!
//! Each run makes nodes of them anew, over empty stores. The keys are known to everybody who reads this
//! file, so nothing outside a simulation may trust them.

use super::{
    Planted,
    files::FileLedger,
    ledger::{Buggy, Failing, FaultyLedger},
};
use entente_node::{
    bundle::mark,
    clock::{Clock, ManualClock},
    config::{Config, Gate, Home},
    identity::Keys,
    node::Node,
    peer::issue,
    seal::{hybrid::Identity, keyring::Keyring},
    secret::Secret,
    store::{Ledger, Vault, memory::MemoryVault, open},
};
use entente_protocol::{
    id::{OrgId, StoreId},
    identity::{CARD_FORMAT, Card, CardKey, CardPayload, Purpose, UnconfirmedCard},
    primitive::SigningKey,
    time::UnixMillis,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use std::{
    error::Error,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
};
use tempfile::TempDir;

/// Organisations at most.
pub const ORGANISATIONS: usize = 7;
/// When the cards were made: some months after the agreements of the world begin.
pub const MADE: UnixMillis = UnixMillis(1_780_000_000_000);
/// When a run begins: far enough behind for every clock that is wrong.
pub const BEGIN: UnixMillis = UnixMillis(1_780_100_000_000);

type Fallible<T> = Result<T, Box<dyn Error>>;

/// One organisation.
pub struct Organisation {
    /// Its id.
    pub org: OrgId,
    /// Its short name.
    pub handle: String,
    /// Its card.
    pub card: Card,
    number: u8,
}

/// All of them, and a folder for the files that people hand about.
pub struct Cast {
    /// By number.
    pub organisations: Vec<Organisation>,
    folder: TempDir,
}

/// RFC 8410: an Ed25519 private key as PKCS #8.
fn pkcs8(seed: &[u8; 32]) -> Vec<u8> {
    let head = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    [head.as_slice(), seed].concat()
}

fn seed(number: u8, purpose: Purpose) -> [u8; 32] {
    let mut seed = [0x5a; 32];
    (seed[0], seed[1]) = (number, purpose as u8);
    seed
}

fn key(number: u8, purpose: Purpose) -> Fallible<SigningKey> {
    Ok(SigningKey::from_seed(&seed(number, purpose))?)
}

fn opens(number: u8) -> Identity {
    Identity::from_seed(Secret::new([number; 32]))
}

impl Organisation {
    fn new(number: u8) -> Fallible<Self> {
        let (root_seed, handle) = (pkcs8(&seed(number, Purpose::Root)), format!("org-{number}"));
        let root_der = PrivatePkcs8KeyDer::from(root_seed.as_slice());
        let root = issue::root(&handle, &root_der, &[number + 1; 16], MADE)?;
        let org = issue::organisation(&issue::public_key(&root_der)?);
        let listed =
            |purpose| Ok::<_, Box<dyn Error>>(CardKey::new(purpose, key(number, purpose)?.public().clone(), MADE));
        let purposes = [
            Purpose::Root,
            Purpose::Records,
            Purpose::Agreements,
            Purpose::Runs,
            Purpose::Users,
            Purpose::Log,
            Purpose::Witness,
        ];
        let payload = CardPayload {
            v: CARD_FORMAT,
            age: opens(number).recipient().to_string(),
            org,
            keys: purposes.into_iter().map(listed).collect::<Result<_, _>>()?,
            name: handle.to_uppercase(),
            root: root.to_vec(),
            handle: handle.clone(),
            issued: MADE,
            number: 1,
            contacts: Vec::new(),
            addresses: Vec::new(),
            next_root: None,
            succession: Vec::new(),
        };
        let unconfirmed = UnconfirmedCard::from_bytes(&payload.sign_with(&key(number, Purpose::Root)?)?)?;
        let digest = unconfirmed.digest();
        Ok(Self { org, handle, card: unconfirmed.confirm(digest)?, number })
    }

    fn keys(&self) -> Fallible<Keys> {
        let keys = [
            key(self.number, Purpose::Records)?,
            key(self.number, Purpose::Agreements)?,
            key(self.number, Purpose::Runs)?,
            key(self.number, Purpose::Users)?,
            key(self.number, Purpose::Log)?,
            key(self.number, Purpose::Witness)?,
        ];
        let mut keys = Keys::offline(self.card.clone(), keys);
        keys.bundles = Some(self.opens());
        Ok(keys)
    }

    /// What opens bundles for it.
    pub(crate) fn opens(&self) -> Identity {
        opens(self.number)
    }
}

impl Cast {
    /// Makes the organisations.
    ///
    /// # Errors
    /// If a key or certificate cannot be made: a mistake in this file.
    pub fn new() -> Fallible<Self> {
        let organisations = (0..).take(ORGANISATIONS).map(Organisation::new).collect::<Result<_, _>>()?;
        // In memory where the system has such a folder: files are handed about often.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Ok(Self { organisations, folder: folder? })
    }

    /// A path for a file of one run.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// What of a node outlives its process.
pub struct Disk {
    /// Rows.
    pub ledger: Arc<dyn Failing>,
    vault: Arc<MemoryVault>,
    keyring: Arc<Keyring>,
    store: StoreId,
    /// The node's folder, and that of its people.
    home: TempDir,
    /// The machine's clock.
    pub clock: Arc<ManualClock>,
    /// The file of its people's red lines, if they have any.
    pub red_lines: Option<PathBuf>,
    planted: Option<Planted>,
}

impl Disk {
    /// An empty one in memory.
    ///
    /// # Errors
    /// If there is no folder for it.
    pub fn new(cast: &Cast, store: StoreId, planted: Option<Planted>) -> Fallible<Self> {
        let forgets = planted == Some(Planted::ForgetfulStore);
        Self::over(cast, Arc::new(FaultyLedger::new(forgets)), store, planted)
    }

    /// An empty one whose rows are in files, and which tears as the seed says.
    ///
    /// # Errors
    /// If the files cannot be made.
    pub fn on_files(cast: &Cast, store: StoreId, planted: Option<Planted>, seed: u64) -> Fallible<Self> {
        Self::over(cast, Arc::new(FileLedger::create(cast.folder.path(), seed)?), store, planted)
    }

    fn over(cast: &Cast, ledger: Arc<dyn Failing>, store: StoreId, planted: Option<Planted>) -> Fallible<Self> {
        let home = tempfile::tempdir_in(cast.folder.path())?;
        // As `init` does.
        mark::write(&Home::at(home.path().to_owned()), 0)?;
        Ok(Self {
            ledger,
            home,
            vault: Arc::default(),
            keyring: Arc::new(Keyring::in_memory()),
            store,
            clock: Arc::new(ManualClock::at(BEGIN)),
            red_lines: None,
            planted,
        })
    }

    /// Its folder.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Its store's id.
    #[must_use]
    pub fn store(&self) -> StoreId {
        self.store
    }

    /// Starts a process over it, the first one with an empty store.
    ///
    /// # Errors
    /// If the store does not open: that is a finding.
    pub fn start(&self, organisation: &Organisation) -> Fallible<Node> {
        self.ledger.power_on()?;
        let ledger: Arc<dyn Ledger> = match self.planted {
            Some(Planted::HalvedAppend) => Arc::new(Buggy::Halved(Arc::clone(&self.ledger))),
            Some(Planted::GappedJournal) => Arc::new(Buggy::Gapped(Arc::clone(&self.ledger), AtomicU64::new(0))),
            _ => Arc::clone(&self.ledger) as Arc<dyn Ledger>,
        };
        let vault = Arc::clone(&self.vault) as Arc<dyn Vault>;
        let keyring = Arc::clone(&self.keyring);
        let holdings = match self.ledger.head()?.sequence {
            0 => open::create_over(ledger, vault, keyring, self.store)?,
            _ => open::open_over(ledger, vault, keyring)?,
        };
        let config = Config {
            name: organisation.handle.to_uppercase(),
            handle: organisation.handle.clone(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            advertise: Vec::new(),
            engine: entente_node::store::open::Backend::Memory,
            eyes: entente_policy::roles::Eyes::Two,
            stages: Vec::new(),
            gate: Gate::Reviewed,
            identity_file: None,
            partner_bytes_max: u64::MAX,
            free_bytes_min: 0,
            log_interval_s: entente_node::custody::INTERVAL_S,
            named_witness: true,
            window_bytes: 2 << 20,
            red_lines: self.red_lines.clone(),
            solver: None,
        };
        let home = Home::at(self.home.path().to_owned());
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        Ok(Node::over(home, config, clock, organisation.keys()?, Arc::new(holdings))?)
    }
}
