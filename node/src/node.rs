//! An open node: keys, holdings, partners, policy. Read this third, after `main` and `run`.
//!
//! Everything here is synchronous; tokio begins in `run`. Changes to partners and agreements are
//! written to the store first and then read again from it, so what is in force is what is stored.

use crate::{
    agreements::{self, Agreements},
    clock::{Clock, mark::Marks},
    config::{Config, Gate, Home},
    error::Fault,
    identity::Keys,
    ingest::child::Program,
    partners::{Book, PartnerState},
    records::gate::Review,
    redlines,
    seal::keyring::{Keyring, Partition},
    secret::{recovery, unlock::Unlock},
    store::{StoreError, holdings::Holdings, layout::Table, open, txn::Txn},
};
use entente_policy::{Interval, PartnerState as InPolicy, PolicySet, RedLine};
use entente_protocol::{
    id::{AgreementId, OrgId},
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// What decides at one moment: partners, agreements and the policy compiled from them.
pub struct Rules {
    /// Partners.
    pub book: Arc<Book>,
    /// Agreements.
    pub agreements: Arc<Agreements>,
    /// The compiled set.
    pub policy: Arc<PolicySet>,
}

/// Key of the own rules' version in [`Table::Meta`].
const OWN_RULES: &[u8] = b"own rules";

/// Called after every commit that may have work for partners.
pub type Waker = Box<dyn Fn() + Send + Sync>;

/// An open node.
pub struct Node {
    /// Its folder.
    pub home: Home,
    /// Its settings.
    pub config: Config,
    /// The time, as this machine shows it.
    pub clock: Arc<dyn Clock>,
    /// How far time has certainly come.
    pub marks: Marks,
    /// Its keys.
    pub keys: Keys,
    /// What it holds.
    pub holdings: Arc<Holdings>,
    /// Which program reads what people bring: this one, unless the library runs inside another.
    pub reader: Program,
    /// Its own red lines, as they stood when it was opened.
    pub red_lines: Vec<redlines::Held>,
    /// Replaced as a whole, never changed in place.
    rules: RwLock<Arc<Rules>>,
    /// Rises with every change of the rules.
    generation: AtomicU64,
    /// How it went with each partner since the node was opened.
    health: Mutex<BTreeMap<OrgId, Health>>,
    waker: RwLock<Option<Waker>>,
}

/// How it went with one partner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Sessions under way. Where both sides dialled at once there are two for a moment, until one has ended.
    pub sessions: u32,
    /// When a run or receipt last went through.
    pub success: Option<UnixMillis>,
    /// What went wrong last, in words.
    pub error: Option<String>,
}

/// An event of the journal: what happened, with ids and counts, never contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// When.
    pub at: UnixMillis,
    /// What.
    pub what: String,
    /// About what.
    pub about: Vec<(String, String)>,
}

impl Health {
    /// Whether there is a connection.
    pub const fn connected(&self) -> bool {
        self.sessions > 0
    }
}

impl Node {
    /// Opens a home.
    pub fn open(home: Home, unlock: &Unlock, clock: Arc<dyn Clock>) -> Result<Self, Fault> {
        let config = Config::load(&home).map_err(|e| Fault::setup("config", e))?;
        let identity = unlock.open(&home.keys()).map_err(|e| Fault::setup("unlock", e))?;
        let keys = Keys::open(&home, &config, &identity, clock.now()).map_err(|e| Fault::setup("identity", e))?;
        let recipient = recovery::recipient(&home.keys()).map_err(|e| Fault::setup("recovery", e))?;
        let keyring = Keyring::open(&home.keys(), &identity, &recipient).map_err(|e| Fault::setup("keyring", e))?;
        let holdings = open::open(&home.store(), config.engine, Arc::new(keyring))?;
        Self::over(home, config, clock, keys, Arc::new(holdings))
    }

    /// Over parts that are open already.
    pub fn over(
        home: Home,
        config: Config,
        clock: Arc<dyn Clock>,
        keys: Keys,
        holdings: Arc<Holdings>,
    ) -> Result<Self, Fault> {
        let red_lines = redlines::load(&home, &config, &Book::load(&holdings)?);
        let red_lines = red_lines.map_err(|e| Fault::setup("red-lines", e))?;
        let rules = Arc::new(load(&holdings, keys.org, &red_lines)?);
        let node = Self {
            home,
            config,
            clock,
            marks: Marks::load(&holdings)?,
            keys,
            holdings,
            reader: Program::own(),
            red_lines,
            rules: RwLock::new(rules),
            generation: AtomicU64::new(1),
            health: Mutex::default(),
            waker: RwLock::new(None),
        };
        node.marks.observe(&node.holdings, node.clock.now())?;
        node.note_own_rules()?;
        Ok(node)
    }

    /// Now, as decisions take it.
    pub fn interval(&self) -> Interval {
        self.marks.interval(self.clock.now(), |org| self.counts(org))
    }

    /// Whether what an organisation signs about the time counts here.
    pub fn counts(&self, org: OrgId) -> bool {
        self.book().get(org).is_some_and(|partner| partner.state != PartnerState::Removed)
    }

    /// What this organisation decides by itself: red lines and the release gate. When it differs from what a feed was
    /// filled under, everything ever released in that feed is decided anew.
    pub fn own_rules(&self) -> Vec<u8> {
        let local = self.rules().policy.local_version();
        [local.as_bytes().as_slice(), &[self.required_review() as u8]].concat()
    }

    /// A change of the own rules is an event of the journal, though it was made in a file.
    fn note_own_rules(&self) -> Result<(), Fault> {
        let rules = self.own_rules();
        if self.holdings.get(Partition::Node, Table::Meta, OWN_RULES)?.as_ref() == Some(&rules) {
            return Ok(());
        }
        let mut txn = self.holdings.begin();
        txn.put(Partition::Node, Table::Meta, OWN_RULES, &rules)?;
        let about = [
            ("version", hex::encode(&rules)),
            ("red-lines", self.red_lines.len().to_string()),
            ("release-gate", self.required_review().name().to_owned()),
        ];
        self.journal(&mut txn, "own-rules", &about)?;
        txn.commit()?;
        Ok(())
    }

    /// Renews the node's certificate where little is left of it, or where it is `asked` for; journaled.
    pub fn renew(&self, asked: bool) -> Result<bool, Fault> {
        if !asked && self.interval().fault().is_some() {
            // A certificate of a wrong day is of use to nobody.
            return Ok(false);
        }
        let renewed = self.keys.renew(&self.home, self.clock.now(), asked).map_err(|e| Fault::setup("renew", e))?;
        if renewed {
            let mut txn = self.holdings.begin();
            let until = self.keys.certificate_until(self.clock.now()).map(|t| t.to_string()).unwrap_or_default();
            self.journal(&mut txn, "certificate-renewed", &[("until", until)])?;
            txn.commit()?;
        }
        Ok(renewed)
    }

    /// Reads partners and agreements again; called after every change of them.
    pub fn reload(&self) -> Result<(), Fault> {
        let rules = Arc::new(load(&self.holdings, self.keys.org, &self.red_lines)?);
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.wake();
        Ok(())
    }

    /// Rises with every change of partners and agreements.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// How it went with a partner.
    pub fn health(&self, partner: OrgId) -> Health {
        self.healths().get(&partner).cloned().unwrap_or_default()
    }
    /// A run or receipt went through.
    pub fn note_success(&self, partner: OrgId) {
        self.healths().entry(partner).or_default().success = Some(self.clock.now());
    }
    /// Something went wrong with a partner.
    pub fn note_error(&self, partner: OrgId, what: String) {
        self.healths().entry(partner).or_default().error = Some(what);
    }
    /// A session began, or ended.
    pub fn note_session(&self, partner: OrgId, began: bool) {
        let mut healths = self.healths();
        let sessions = &mut healths.entry(partner).or_default().sessions;
        *sessions = if began { sessions.saturating_add(1) } else { sessions.saturating_sub(1) };
    }
    fn healths(&self) -> std::sync::MutexGuard<'_, BTreeMap<OrgId, Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What decides now.
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Partners now.
    pub fn book(&self) -> Arc<Book> {
        Arc::clone(&self.rules().book)
    }

    /// Names who is woken after commits.
    pub fn on_commit(&self, waker: Waker) {
        *self.waker.write().unwrap_or_else(PoisonError::into_inner) = Some(waker);
    }

    /// Tells whoever serves partners that there may be work.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            waker();
        }
    }

    /// Least review state for release.
    pub fn required_review(&self) -> Review {
        match self.config.gate {
            Gate::Reviewed => Review::Reviewed,
            Gate::Verified => Review::Verified,
        }
    }

    /// Agreements under which something may have been received.
    pub fn partitions(&self) -> Vec<AgreementId> {
        self.rules().agreements.iter().filter(|a| a.in_force.is_some()).map(|a| a.id).collect()
    }

    /// A name for an organisation: `own`, a partner's handle, or the beginning of its id.
    pub fn handle_of(&self, org: OrgId) -> String {
        if org == self.keys.org {
            return "own".to_owned();
        }
        self.book().get(org).map_or_else(|| org.short(), |p| p.handle.clone())
    }

    /// Adds an event to the journal, within a transaction.
    pub fn journal(&self, txn: &mut Txn<'_>, what: &str, about: &[(&str, String)]) -> Result<(), StoreError> {
        let about = about.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let event = Event { at: self.clock.now(), what: what.to_owned(), about };
        let bytes = crate::records::stored::encode("event", &event).map_err(|_| StoreError::Broken { at: 0 })?;
        txn.journal(&bytes).map(|_| ())
    }

    /// The organisation's identity, for people and programs.
    pub fn identity_view(&self) -> Json {
        let payload = self.keys.card.payload();
        json!({
            "id": self.keys.org.to_string(),
            "name": payload.name,
            "handle": payload.handle,
            "card": payload.number,
            "words": self.keys.card.words().to_string(),
            "certificate_until": self.keys.certificate_until(self.clock.now()).map(|t| t.to_string()),
            "addresses": payload.addresses.iter().map(|a| a.as_str().to_owned()).collect::<Vec<_>>(),
            "store": self.holdings.store_id().to_string(),
            "home": self.home.path().display().to_string(),
        })
    }
}

fn load(holdings: &Holdings, own: OrgId, red_lines: &[redlines::Held]) -> Result<Rules, Fault> {
    let book = Book::load(holdings)?;
    let agreements = agreements::load(holdings, own, &book)?;
    let partners: BTreeMap<OrgId, InPolicy> = book
        .iter()
        .filter_map(|(org, partner)| match partner.state {
            PartnerState::Active => Some((*org, InPolicy::Active)),
            PartnerState::Suspended => Some((*org, InPolicy::Suspended)),
            PartnerState::Removed => None,
        })
        .collect();
    let lines: Vec<RedLine> = red_lines.iter().map(|held| held.line.clone()).collect();
    let policy = agreements.compile(own, partners, &lines)?;
    Ok(Rules { book: Arc::new(book), agreements: Arc::new(agreements), policy: Arc::new(policy) })
}
