//! An open node: keys, holdings, partners, policy. Read this third, after `main` and `run`.
//!
//! Everything here is synchronous; tokio begins in `run`. Changes to partners and agreements are
//! written to the store first and then read again from it, so what is in force is what is stored.

pub mod health;
mod rules;

pub use health::Health;
pub use rules::{Basis, CHANGES, Rules, changed};

use crate::{
    clock::{Clock, mark::Marks},
    config::{Config, Gate, Home},
    custody,
    error::Fault,
    identity::Keys,
    ingest::child::Program,
    init,
    keys::keyring::Walk,
    partners::{Book, PartnerState},
    recall::ending,
    records::{gate::Review, keep::Batches},
    redlines,
    seal::keyring::{Keyring, Partition},
    secret::{recovery, unlock::Unlock},
    store::{StoreError, holdings::Holdings, layout::Table, open},
    users::Waiting,
};
use entente_policy::{Interval, roles::Roles};
use entente_protocol::{
    id::{AgreementId, Hash, OrgId},
    limits,
    recall::Answer,
    time::{DAY_MS, HOUR_MS, UnixMillis},
};
use serde_json::{Value as Json, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// Key of the own rules' version in [`Table::Meta`].
pub(crate) const OWN_RULES: &[u8] = b"own rules";

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
    /// How it was unlocked, so that its key files can be opened again; none over keys that were made elsewhere.
    pub unlock: Option<Unlock>,
    /// What it holds.
    pub holdings: Arc<Holdings>,
    /// Which program reads what people bring: this one, unless the library runs inside another.
    pub reader: Program,
    /// The log that partners witness, and what is known of theirs.
    pub log: custody::Log,
    /// Batches that proofs were lately made of.
    pub batches: Batches,
    /// Its own red lines, as they stood when it was opened.
    pub red_lines: Vec<redlines::Held>,
    /// What persons may do.
    pub roles: Roles,
    /// Nonces that wait for a person's act.
    pub waiting: Waiting,
    /// Replaced as a whole, never changed in place.
    rules: RwLock<Arc<Rules>>,
    /// Held from reading the store until what was read is in force: an older reading never replaces a newer one.
    loading: Mutex<()>,
    /// Rises with every change of the rules.
    generation: AtomicU64,
    /// Rises when a record that people had released is to be held back. INVARIANT: a decision stands only while this is as
    /// it was before; a record that was shown to nobody yet may be the one decided, so the counts by partner do not serve.
    held_back: AtomicU64,
    /// The same for each partner that was shown such a record: its connection alone is looked at.
    held_from: Mutex<BTreeMap<OrgId, u64>>,
    /// Rises when there are recalls to be said that were not there before.
    recalls: AtomicU64,
    /// Answers that are others since a hold was lifted, for who asked: said at once where there is a session. In memory
    /// only, because the next one asks again.
    answers: Mutex<BTreeMap<OrgId, Vec<Answer>>>,
    /// How far rows are sealed anew.
    pub resealing: Walk,
    /// Held over a change of keys, from the card that it is made from to the one that it made.
    pub changing_keys: Mutex<()>,
    /// Held over an erasure, from its first file to its receipt.
    pub erasing: Mutex<()>,
    /// Up to when the clock is believed where something is deleted for good, in milliseconds.
    believed: AtomicU64,
    /// Changes that each partner sent in the hour under way, and when that began.
    changes: Hourly,
    /// The same of newer cards that were taken: each is kept for ever.
    cards: Hourly,
    /// How it went with each partner since the node was opened.
    health: Mutex<BTreeMap<OrgId, Health>>,
    /// Files that could not be read as they were written. In memory only: a start tries them again.
    damaged: Mutex<BTreeSet<Hash>>,
    /// When it was last looked at what the time of day changes, in milliseconds.
    looked: AtomicU64,
    waker: RwLock<Option<Waker>>,
}

/// How long after a time that is known the clock is believed.
const BELIEVED_MS: u64 = 31 * DAY_MS;

/// What each partner did in the hour under way, and when that began.
type Hourly = Mutex<BTreeMap<OrgId, (UnixMillis, u32)>>;

impl Node {
    /// Opens a home.
    pub fn open(home: Home, unlock: &Unlock, clock: Arc<dyn Clock>) -> Result<Self, Fault> {
        let config = Config::load(&home).map_err(|e| Fault::setup("config", e))?;
        init::settle(&home)?;
        // Before any key is read: a process that ends just now may write the keyring until it lets go.
        let lock = open::lock(&home.store()).map_err(|e| in_store(&home, e))?;
        let identity = unlock.open(&home.keys()).map_err(|e| Fault::setup("unlock", e))?;
        let keys = Keys::open(&home, &config, &identity, clock.now()).map_err(|e| Fault::setup("identity", e))?;
        let recipient = recovery::recipient(&home.keys()).map_err(|e| Fault::setup("recovery", e))?;
        let keyring = Keyring::open(&home.keys(), &identity, &recipient).map_err(|e| Fault::setup("keyring", e))?;
        let holdings = open::open_locked(&home.store(), lock, config.engine, Arc::new(keyring));
        let holdings = holdings.map_err(|e| in_store(&home, e))?;
        let node = Self::over(home, config, clock, keys, Arc::new(holdings))?;
        Ok(Self { unlock: Some(unlock.clone()), ..node })
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
        let rules = Arc::new(rules::load(&holdings, keys.org, &red_lines, clock.now())?);
        let log = custody::Log::open(&holdings, keys.org, config.log_interval_s, clock.now())?;
        let node = Self {
            home,
            config,
            looked: AtomicU64::new(clock.now().0),
            clock,
            marks: Marks::load(&holdings)?,
            keys,
            unlock: None,
            holdings,
            log,
            reader: Program::own(),
            batches: Batches::default(),
            red_lines,
            roles: Roles::built_in().map_err(|e| Fault::setup("roles", e))?,
            waiting: Waiting::default(),
            rules: RwLock::new(rules),
            loading: Mutex::new(()),
            generation: AtomicU64::new(1),
            held_back: AtomicU64::new(0),
            held_from: Mutex::default(),
            recalls: AtomicU64::new(0),
            answers: Mutex::default(),
            resealing: Walk::default(),
            changing_keys: Mutex::new(()),
            erasing: Mutex::new(()),
            believed: AtomicU64::new(0),
            changes: Mutex::default(),
            cards: Mutex::default(),
            health: Mutex::default(),
            damaged: Mutex::default(),
            waker: RwLock::new(None),
        };
        node.believe(node.marks.seen());
        node.marks.observe(&node.holdings, node.clock.now())?;
        node.note_own_rules()?;
        custody::anew::after_restore(&node)?;
        // What was erased stays erased, whatever store is found: before anything is served.
        ending::settle(&node)?;
        crate::keys::revoke::finish(&node)?;
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
        self.replace(|| rules::load(&self.holdings, self.keys.org, &self.red_lines, self.clock.now()))
    }

    fn replace(&self, load: impl FnOnce() -> Result<Rules, Fault>) -> Result<(), Fault> {
        {
            let _one = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
            let rules = Arc::new(load()?);
            *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
            self.generation.fetch_add(1, Ordering::SeqCst);
        }
        self.wake();
        Ok(())
    }

    /// Time went on: what begins or ends by itself does so. Called now and then while the node runs.
    pub fn tick(&self) -> Result<(), Fault> {
        let now = self.look();
        if self.rules().until.is_some_and(|until| until <= now) { self.reload() } else { Ok(()) }
    }

    /// Looks at the clock.
    pub fn look(&self) -> UnixMillis {
        let now = self.clock.now();
        self.looked.store(now.0, Ordering::SeqCst);
        now
    }

    /// When time was last looked at. What it makes due for a partner goes by this: else an act that is none of its business
    /// would bring it forward, and tell that there was one.
    pub fn looked_at(&self) -> UnixMillis {
        UnixMillis(self.looked.load(Ordering::SeqCst))
    }

    /// Whether another change that a partner sends is looked at: so many are in an hour, and no more.
    pub fn may_change(&self, partner: OrgId) -> bool {
        self.count(&self.changes, partner, 0) < limits::CHANGES_PER_HOUR_MAX
    }

    /// Whether another card of a partner is taken in this hour.
    pub fn may_take_card(&self, partner: OrgId) -> bool {
        self.count(&self.cards, partner, 0) < limits::CARDS_PER_HOUR_MAX
    }

    /// A newer card of a partner was taken.
    pub fn note_card(&self, partner: OrgId) {
        self.count(&self.cards, partner, 1);
    }

    /// Something that a partner sent changed something here, or was refused. What is known here already costs nothing:
    /// an honest partner says all that it knows in each session.
    pub fn note_change(&self, partner: OrgId) {
        self.count(&self.changes, partner, 1);
    }

    fn count(&self, hourly: &Hourly, partner: OrgId, more: u32) -> u32 {
        let now = self.clock.now();
        let mut counts = hourly.lock().unwrap_or_else(PoisonError::into_inner);
        let (began, count) = counts.entry(partner).or_insert((now, 0));
        if now.0.abs_diff(began.0) >= HOUR_MS {
            (*began, *count) = (now, 0);
        }
        *count = count.saturating_add(more);
        *count
    }

    /// Rises with every change of partners and agreements.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Records that people had released are held back: what waits to be sent to these partners is decided again. Others
    /// are not to notice.
    pub fn hold_back(&self, from: BTreeSet<OrgId>) {
        self.held_back.fetch_add(1, Ordering::SeqCst);
        let mut held = self.held_from.lock().unwrap_or_else(PoisonError::into_inner);
        for partner in from {
            *held.entry(partner).or_insert(0) += 1;
        }
    }

    /// Whether something may be deleted for good because its time is over. A clock that jumped ahead looks like any other:
    /// one that shows more than a month after what it last showed is believed once a partner's agrees with it.
    pub fn may_delete(&self) -> bool {
        self.interval().fault().is_none() && self.clock.now().0 <= self.believed.load(Ordering::SeqCst)
    }

    /// This was the time: a partner's clock, or this one before it was last stopped, said so.
    pub fn believe(&self, at: UnixMillis) {
        self.believed.fetch_max(at.plus(BELIEVED_MS).0, Ordering::SeqCst);
    }

    /// There are recalls to be said that were not there before.
    pub fn note_recalls(&self) {
        self.recalls.fetch_add(1, Ordering::SeqCst);
    }

    /// Rises when there are recalls to be said that were not there before.
    pub fn recalls(&self) -> u64 {
        self.recalls.load(Ordering::SeqCst)
    }

    /// An answer to a partner's recall is another than it was told.
    pub fn note_answer(&self, partner: OrgId, answer: Answer) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).entry(partner).or_default().push(answer);
    }

    /// Takes the answers that are to be told to a partner.
    pub fn take_answers(&self, partner: OrgId) -> Vec<Answer> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).remove(&partner).unwrap_or_default()
    }

    /// Rises when a record that people had released is to be held back.
    pub fn held_back(&self) -> u64 {
        self.held_back.load(Ordering::SeqCst)
    }

    /// Rises when a record that this partner was shown is to be held back.
    pub fn held_back_from(&self, partner: OrgId) -> u64 {
        self.held_from.lock().unwrap_or_else(PoisonError::into_inner).get(&partner).copied().unwrap_or_default()
    }

    /// What decides now.
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What decisions are built on now.
    pub fn basis(&self) -> Basis {
        Basis::of(self)
    }

    /// Reads the rules again, where the ledger knows of a change that these do not know.
    pub fn catch_up(&self, known: &Rules) -> Result<(), Fault> {
        let changes = rules::changes(&self.holdings)?;
        if changes == known.changes || self.rules().changes == changes { Ok(()) } else { self.reload() }
    }

    /// Partners now.
    pub fn book(&self) -> Arc<Book> {
        Arc::clone(&self.rules().book)
    }

    /// Names who is woken after commits.
    pub fn on_commit(&self, waker: Waker) {
        *self.waker.write().unwrap_or_else(PoisonError::into_inner) = Some(waker);
    }

    /// Whether partners are served.
    pub fn is_served(&self) -> bool {
        self.waker.read().unwrap_or_else(PoisonError::into_inner).is_some()
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
        self.rules().agreements.iter().filter(|a| a.in_force.is_some() && !a.erased).map(|a| a.id).collect()
    }

    /// A name for an organisation: `own`, a partner's handle, or the beginning of its id.
    pub fn handle_of(&self, org: OrgId) -> String {
        if org == self.keys.org {
            return crate::partners::OWN.to_owned();
        }
        let book = self.book();
        match (book.get(org), book.introduced(org)) {
            (Some(partner), _) => partner.handle.clone(),
            // Nobody here has compared its words: its name is what a partner says.
            (None, Some(known)) => {
                let by = book.get(known.by).map_or_else(|| known.by.short(), |partner| partner.handle.clone());
                format!("{} (introduced by {by})", known.card.payload().handle)
            }
            (None, None) => org.short(),
        }
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

/// A store that does not open, and where it lies.
fn in_store(home: &Home, error: StoreError) -> Fault {
    match error {
        StoreError::Engine { .. } => Fault::store(format!("`{}`: {error}", home.store().display())),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::ManualClock, partners, testkit};
    use std::{sync::mpsc, thread, time::Duration};

    const NOW: UnixMillis = UnixMillis(1_795_305_600_000);

    /// A thread read the store before a partner was suspended, and is slow. What it read must not replace what the
    /// suspension brought into force.
    #[test]
    fn an_older_reading_of_the_rules_never_replaces_a_newer_one() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let clock = Arc::new(ManualClock::at(NOW));
        let (a, b) = (testkit::node(folder.path(), "a", &clock)?, testkit::node(folder.path(), "b", &clock)?);
        testkit::pair(&a, &b)?;
        let (read, has_read) = mpsc::channel();
        let (go, may_go) = mpsc::channel::<()>();
        let (done, is_done) = mpsc::channel();
        thread::scope(|scope| -> Result<(), Box<dyn std::error::Error>> {
            let a = &a;
            let slow = scope.spawn(move || {
                a.replace(|| {
                    let rules = rules::load(&a.holdings, a.keys.org, &a.red_lines, NOW);
                    read.send(()).map_err(|e| Fault::setup("test", e))?;
                    may_go.recv().map_err(|e| Fault::setup("test", e))?;
                    rules
                })
            });
            has_read.recv()?;
            partners::set_state(a, b.keys.org, PartnerState::Suspended)?;
            scope.spawn(move || done.send(a.reload()));
            // Only where nothing holds it back does the second reading come first.
            drop(is_done.recv_timeout(Duration::from_millis(300)));
            go.send(())?;
            slow.join().map_err(|_| "panic")??;
            Ok(())
        })?;
        assert_eq!(a.book().get(b.keys.org).map(|p| p.state), Some(PartnerState::Suspended));
        Ok(())
    }

    #[test]
    fn a_partner_changes_things_so_often_in_an_hour_and_no_more() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let clock = Arc::new(ManualClock::at(NOW));
        let a = testkit::node(folder.path(), "a", &clock)?;
        let (b, c) = (OrgId::from_bytes([2; 32]), OrgId::from_bytes([3; 32]));
        for _ in 0..limits::CHANGES_PER_HOUR_MAX {
            assert!(a.may_change(b));
            a.note_change(b);
        }
        assert!(!a.may_change(b) && a.may_change(c));
        clock.advance(HOUR_MS);
        assert!(a.may_change(b));
        Ok(())
    }
}
