//! The simulated world: nodes over disks that fail, links between them, a model beside them.
//!
//! Here is what a world is made of, and how a node dies and comes back. What flows between nodes stands in `wire`,
//! what people do in `acts`, what may happen next in `steps`, what must hold in `check`.

use super::{
    Broken, Checked, Plan, Stats,
    bundles::Carried,
    cast::{BEGIN, Cast, Disk, Organisation},
    chance::Chance,
    model::{Deal, Direction, Estranged, Facts, Model, Recorded, Taken},
    wire::{Link, Taking},
};
use entente_node::{
    agreements::Held,
    node::Node,
    partners::PartnerState,
    recall::{self, hold},
    records::gate,
    share::feeds,
};
use entente_protocol::{
    agreement::{Standing, StandingNotice},
    codec::{self, Bounds},
    custody::journal::Journal,
    feed::{Cursor, FeedKey},
    id::{AgreementDigest, FeedId, OrgId, RecordId, StoreId},
    recall::Act,
    time::UnixMillis,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a node was about to do when it died.
#[derive(Debug, Clone)]
pub enum Doing {
    /// A person's act.
    Commit(Box<Recorded>),
    /// A person's act at the gate, and where the record then stands.
    Gate(RecordId, gate::Review, bool),
    /// A person's statement about an agreement.
    Standing(entente_protocol::id::AgreementId, Standing),
    /// Records are asked back.
    Recall(Vec<RecordId>, Act),
    /// A received record is held, or let go.
    Hold(RecordId, bool),
    /// A person's decision about a partner; none: active.
    Partner(usize, Option<Estranged>),
    /// Taking a run: entries, by number, and the length of the feed behind it.
    Taking(Direction, Vec<(u64, Taken)>, u64),
    /// Taking the runs of a bundle.
    Bundle(Vec<Taking>),
    /// Anything that changes no fact of its people.
    Other,
}

/// One organisation's machine.
pub struct Machine {
    /// What outlives the process.
    pub disk: Disk,
    /// The process, while it runs.
    pub node: Option<Node>,
    /// What was under way when it died.
    pub doing: Option<Doing>,
    /// When that began, by its own clock.
    pub since: UnixMillis,
    /// When it last looked after what time does, by its own clock.
    pub kept_up: UnixMillis,
    /// How far its lists were seen to have no gap, since it started.
    pub grown: Grown,
}

/// How far a store's lists were looked at: what stands before this place has no gap.
#[derive(Debug, Default)]
pub struct Grown {
    /// The journal up to its next event.
    pub(super) journal: Option<Journal>,
    /// The last run of each outgoing feed, and where it ends.
    pub(super) runs: BTreeMap<FeedId, (u64, Cursor)>,
}

/// The world.
pub struct World<'c> {
    pub(super) cast: &'c Cast,
    pub(super) plan: &'c Plan,
    pub(super) seed: u64,
    pub(super) chance: Chance,
    pub(super) machines: Vec<Machine>,
    pub(super) links: BTreeMap<u64, Link>,
    /// Bundles that were made, wherever they lie.
    pub(super) carried: Vec<Carried>,
    pub(super) model: Model,
    /// Pairs that are partners, smaller number first.
    pub(super) pairs: Vec<(usize, usize)>,
    /// Pairs that cannot reach each other.
    pub(super) apart: BTreeSet<(usize, usize)>,
    pub(super) feeds: BTreeMap<FeedId, Direction>,
    pub(super) step: u64,
    pub(super) numbers: u64,
    pub(super) stats: Stats,
    pub(super) log: Vec<String>,
}

impl<'c> World<'c> {
    /// Nodes with empty stores, some of them introduced to each other.
    pub(super) fn new(cast: &'c Cast, plan: &'c Plan, seed: u64) -> Checked<Self> {
        let mut chance = Chance::new(seed);
        let count = *chance.pick(&[3, 3, 3, 3, 4, 4, 5, 6, 7]).unwrap_or(&3);
        let mut machines = Vec::new();
        for organisation in cast.organisations.iter().take(count) {
            let store = StoreId::from_bytes(chance.bytes());
            let disk = match plan.on_files(seed) {
                // Each of the world's disks tears in its own way.
                true => Disk::on_files(cast, store, plan.planted, seed ^ (machines.len() as u64) << 56)
                    .map_err(|e| Broken(format!("no files: {e}")))?,
                false => Disk::new(cast, store, plan.planted).map_err(|e| Broken(format!("no folder: {e}")))?,
            };
            let node = Some(disk.start(organisation).map_err(|e| Broken(format!("no node: {e}")))?);
            machines.push(Machine { disk, node, doing: None, since: BEGIN, kept_up: BEGIN, grown: Grown::default() });
        }
        // A ring, so that everybody has somebody; of three nodes sometimes a line.
        let mut pairs: Vec<(usize, usize)> = (0..count).map(|n| (n, (n + 1) % count)).collect();
        pairs.iter_mut().filter(|(a, b)| a > b).for_each(|pair| *pair = (pair.1, pair.0));
        if chance.one_in(2) {
            pairs.pop();
        }
        // Where three agree, each of them knows the others.
        if Plan::three(seed) && !pairs.contains(&(0, 2)) {
            pairs.push((0, 2));
        }
        let model = Model { facts: vec![Facts::default(); count], ..Model::default() };
        Ok(Self {
            cast,
            plan,
            seed,
            chance,
            machines,
            links: BTreeMap::new(),
            carried: Vec::new(),
            model,
            pairs,
            apart: BTreeSet::new(),
            feeds: BTreeMap::new(),
            step: 0,
            numbers: 0,
            stats: Stats::default(),
            log: Vec::new(),
        })
    }

    /// Notes what happens, for who replays a seed.
    pub(super) fn say(&mut self, what: impl FnOnce() -> String) {
        if self.plan.log {
            let line = format!("{:4} {}", self.step, what());
            self.log.push(line);
        }
    }

    pub(super) fn organisation(&self, n: usize) -> &'c Organisation {
        &self.cast.organisations[n]
    }
    pub(super) fn org(&self, n: usize) -> OrgId {
        self.organisation(n).org
    }
    pub(super) fn number_of(&self, org: OrgId) -> Option<usize> {
        self.cast.organisations.iter().position(|o| o.org == org)
    }
    pub(super) fn node(&self, n: usize) -> Option<&Node> {
        self.machines[n].node.as_ref()
    }
    pub(super) fn now(&self, n: usize) -> UnixMillis {
        use entente_node::clock::Clock;
        self.machines[n].disk.clock.now()
    }
    pub(super) fn broken<T>(&self, what: impl Into<String>) -> Checked<T> {
        Err(Broken(what.into()))
    }

    /// The key of a feed.
    pub(super) fn feed(&self, direction: Direction) -> Option<FeedKey> {
        let (deal, from) = direction;
        let deal = &self.model.deals[deal];
        Some(feeds::outgoing(self.node(from)?, self.org(deal.other(from)), deal.id))
    }

    /// Power off: what is not on the disk is gone, and so are the connections.
    pub(super) fn crash(&mut self, n: usize, doing: Doing) {
        self.say(|| format!("{n} dies while {doing:?}"));
        self.stats.crashes += 1;
        self.machines[n].node = None;
        self.machines[n].grown = Grown::default();
        self.machines[n].doing = Some(doing);
        let torn = self.machines[n].disk.ledger.crash();
        self.stats.torn += u64::from(torn);
        self.links.retain(|_, link| !link.ends.contains(&n));
    }

    /// Starts the process, which takes up what it had not finished.
    fn power_on(&self, n: usize) -> Result<Node, Box<dyn std::error::Error>> {
        let node = self.machines[n].disk.start(self.organisation(n))?;
        recall::keep_up(&node)?;
        Ok(node)
    }

    /// Power on, and a look at whether everything is there that was acknowledged.
    pub(super) fn restart(&mut self, n: usize) -> Checked {
        if self.machines[n].node.is_some() {
            return Ok(());
        }
        self.say(|| format!("{n} starts"));
        self.machines[n].kept_up = self.now(n);
        let mut node = self.power_on(n);
        if node.is_err() && self.machines[n].disk.ledger.is_poisoned() {
            // The disk failed at what a start writes itself: the power goes and comes once more.
            self.stats.torn += u64::from(self.machines[n].disk.ledger.crash());
            node = self.power_on(n);
        }
        let node = node.map_err(|e| Broken(format!("I4: node {n} does not start after a crash: {e}")))?;
        let found = self.facts_of(&node)?;
        self.machines[n].node = Some(node);
        let doing = self.machines[n].doing.take();
        if found != self.model.facts[n] {
            let mut after = self.model.facts[n].clone();
            doing.iter().for_each(|doing| apply(&mut after, doing));
            if found != after {
                let known = &self.model.facts[n];
                return self
                    .broken(format!("I1: node {n} lost what its people were told is kept: {found:?}, not {known:?}"));
            }
            if let Some(doing) = &doing {
                self.record(n, doing)?;
            }
        }
        match doing {
            Some(Doing::Taking(direction, entries, end)) => self.note_taken(n, direction, &entries, end)?,
            Some(Doing::Bundle(runs)) => self.note_runs(n, &runs)?,
            _ => {}
        }
        self.check_receiver(n)
    }

    /// A fact of the people that a node has acknowledged.
    pub(super) fn record(&mut self, n: usize, doing: &Doing) -> Checked {
        apply(&mut self.model.facts[n], doing);
        if let Doing::Commit(record) = doing {
            self.model.records.insert(record.id, record.as_ref().clone());
        }
        if let Doing::Recall(records, _) = doing {
            self.stats.recalled += records.len() as u64;
        }
        if let Doing::Hold(record, placed) = doing {
            self.note_hold(n, *record, *placed)?;
        }
        self.note_fit();
        Ok(())
    }

    /// Remembers which records may leave at this step, as far as the gate goes.
    pub(super) fn note_fit(&mut self) {
        for record in self.model.records.values() {
            if self.model.passes(record) {
                self.model.fit.insert(record.id, self.step);
            }
        }
    }

    /// What a store says of the decisions of its people.
    fn facts_of(&self, node: &Node) -> Checked<Facts> {
        let mut facts = Facts::default();
        for id in gate::in_state(node, |_| true)? {
            let state = gate::state(node, id)?;
            facts.gate.insert(id, (state.review, state.released));
            facts.recalled.extend(state.recalled.map(|act| (id, act)));
        }
        for held in hold::list(node)?.as_array().into_iter().flatten().filter(|held| held["lifted"].is_null()) {
            facts.held.extend(held["record"].as_str().and_then(|id| id.parse::<RecordId>().ok()));
        }
        let rules = node.rules();
        for held in rules.agreements.iter() {
            if let Some(notice) = notice_of(held, node.keys.org) {
                facts.standing.insert(held.id, notice.standing);
            }
        }
        for (org, partner) in rules.book.iter() {
            let Some(number) = self.number_of(*org) else { return self.broken("a partner that nobody introduced") };
            match partner.state {
                PartnerState::Active => {}
                PartnerState::Suspended => drop(facts.partners.insert(number, Estranged::Suspended)),
                PartnerState::Removed => drop(facts.partners.insert(number, Estranged::Removed)),
            }
        }
        Ok(facts)
    }

    /// Which version a node holds in force, once it is certain that people on all sides approved it.
    pub(super) fn in_force(&self, n: usize, deal: &Deal) -> Checked<Option<AgreementDigest>> {
        let Some(node) = self.node(n) else { return Ok(None) };
        let rules = node.rules();
        let Some(in_force) = rules.agreements.get(deal.id).and_then(|held| held.in_force.as_ref()) else {
            return Ok(None);
        };
        match deal.version(in_force.digest) {
            Some(version) if deal.approved(version) => Ok(Some(in_force.digest)),
            _ => self.broken(format!("I2: node {n} holds a version in force that people did not approve on all sides")),
        }
    }

    /// Whether a node, for its own part and by what it was told, may share under an agreement with a partner.
    pub(super) fn may_share(&self, n: usize, deal: &Deal) -> bool {
        let own = self.model.facts[n].standing.get(&deal.id).copied().unwrap_or(Standing::Active);
        let told = |party: usize| {
            let rules = self.node(n)?.rules();
            notice_of(rules.agreements.get(deal.id)?, self.org(party)).map(|notice| notice.standing)
        };
        let others = deal.signers.iter().filter(|signer| **signer != n);
        own == Standing::Active
            && others.into_iter().all(|other| told(*other).unwrap_or(Standing::Active) == Standing::Active)
            && !self.model.facts[n].partners.contains_key(&deal.other(n))
    }
}

fn apply(facts: &mut Facts, doing: &Doing) {
    match doing {
        Doing::Commit(record) => drop(facts.gate.insert(record.id, (gate::Review::Draft, false))),
        Doing::Gate(record, review, released) => drop(facts.gate.insert(*record, (*review, *released))),
        Doing::Standing(agreement, standing) => drop(facts.standing.insert(*agreement, *standing)),
        Doing::Recall(records, act) => {
            for record in records {
                let known = facts.recalled.entry(*record).or_insert(*act);
                *known = (*known).max(*act);
            }
        }
        Doing::Hold(record, true) => drop(facts.held.insert(*record)),
        Doing::Hold(record, false) => drop(facts.held.remove(record)),
        Doing::Partner(partner, Some(estranged)) => drop(facts.partners.insert(*partner, *estranged)),
        Doing::Partner(partner, None) => drop(facts.partners.remove(partner)),
        Doing::Taking(..) | Doing::Bundle(_) | Doing::Other => {}
    }
}

/// A party's newest notice, as a node holds it.
fn notice_of(held: &Held, party: OrgId) -> Option<StandingNotice> {
    held.notices.iter().find_map(|signed| {
        let parsed = signed.parse().ok()?;
        let notice: StandingNotice =
            codec::from_slice(parsed.danger_unverified_payload(), Bounds::bytes(1 << 10)).ok()?;
        (notice.party == party).then_some(notice)
    })
}
