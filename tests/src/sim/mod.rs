//! A simulated world: three to seven nodes in one process, with real stores' contracts, real sessions and real policy,
//! over disks, links, clocks and people that do whatever chance says. One seed is one run, repeatable.
//!
//! The nodes are the product: `Conversation`, `Session`, outbox, receiving, gate, agreements. What is simulated is the
//! disk below the ledger, the connection between sessions, the clock, and the people. One world in so many has the
//! product's own ledger on files, whose last write a crash tears ([`files`]). A [`model`] of what may go where stands
//! beside; [`check`] holds the two against each other.
//!
//! Reading order: this file, [`model`], [`steps`], [`check`]. What was run, and when: `README.md` beside it.

pub mod acts;
pub mod bundles;
pub mod cast;
pub mod chance;
pub mod check;
pub mod files;
pub mod ledger;
pub mod model;
pub mod onward;
pub mod recalls;
pub mod steps;
pub mod stories;
pub mod terms;
pub mod times;
pub mod wire;
pub mod world;

use crate::seeds;
use cast::Cast;
use std::{fmt, ops::Range};
use world::World;

/// A promise that was broken, in words.
#[derive(Debug)]
pub struct Broken(pub String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Broken {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// What a step comes to.
pub type Checked<T = ()> = Result<T, Broken>;

/// A bug that is put in, so that the simulator can be seen to find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// The store loses its last append at a crash, though it was waited for.
    ForgetfulStore,
    /// A field goes that the agreement, as the model has it, does not name.
    ExtraField,
    /// The node does not hear of the standing that its people state.
    DeafToStandings,
    /// The store writes an append in two, so that a torn write may keep half of it.
    HalvedAppend,
    /// The store leaves an event of the journal out of an append, now and then.
    GappedJournal,
    /// The node does not hear of what its people ask back.
    DeafToRecalls,
    /// The node does not hear that its people let something go on no more.
    DeafToRefusals,
    /// The node looks after nothing that is over.
    DeafToTime,
    /// An agreement has no lease, though people agreed on one.
    EndlessLease,
    /// A version ends a month later than people agreed.
    LateEnd,
}

impl Planted {
    /// Each with its name.
    pub const ALL: [(&'static str, Self); 10] = [
        ("forgetful-store", Self::ForgetfulStore),
        ("extra-field", Self::ExtraField),
        ("deaf-to-standings", Self::DeafToStandings),
        ("halved-append", Self::HalvedAppend),
        ("gapped-journal", Self::GappedJournal),
        ("deaf-to-recalls", Self::DeafToRecalls),
        ("deaf-to-refusals", Self::DeafToRefusals),
        ("deaf-to-time", Self::DeafToTime),
        ("endless-lease", Self::EndlessLease),
        ("late-end", Self::LateEnd),
    ];
}

/// How runs are made.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Steps of one run, before healing.
    pub steps: u64,
    /// What is put in.
    pub planted: Option<Planted>,
    /// Whether every step is noted.
    pub log: bool,
    /// One world in so many has its rows in files; 0: none.
    pub files_one_in: u64,
}

/// A world on files takes some times as long as one in memory.
const FILES_ONE_IN: u64 = 4;
/// In the other worlds the same things happen as before there were recalls: what was found in them is found again.
const RECALLS_ONE_IN: u64 = 3;
/// And as before anything went on.
const ONWARD_ONE_IN: u64 = 5;
/// And as before there were bundles.
const BUNDLES_ONE_IN: u64 = 7;
/// And as before time ran out on anything.
const TIMES_ONE_IN: u64 = 11;
/// And as before there were three to an agreement.
const THREE_ONE_IN: u64 = 13;

impl Default for Plan {
    fn default() -> Self {
        Self { steps: 120, planted: None, log: false, files_one_in: FILES_ONE_IN }
    }
}

impl Plan {
    /// Whether the world of a seed has its rows in files.
    fn on_files(&self, seed: u64) -> bool {
        self.files_one_in > 0 && seed % self.files_one_in == self.files_one_in - 1
    }
    /// Whether people of the world of a seed ask records back, and hold on to some.
    fn recalls(seed: u64) -> bool {
        seed % RECALLS_ONE_IN == RECALLS_ONE_IN - 1
    }
    /// Whether people of the world of a seed pass on what others recorded.
    fn onward(seed: u64) -> bool {
        seed % ONWARD_ONE_IN == ONWARD_ONE_IN - 1
    }
    /// Whether people of the world of a seed carry bundles about.
    fn bundles(seed: u64) -> bool {
        seed % BUNDLES_ONE_IN == BUNDLES_ONE_IN - 1
    }
    /// Whether in the world of a seed versions begin and end, leases run out, and what was kept long enough goes. Nothing
    /// goes on there: what may is worked out without the time.
    #[must_use]
    pub fn times(seed: u64) -> bool {
        seed % TIMES_ONE_IN == TIMES_ONE_IN - 1 && !Self::onward(seed)
    }
    /// Whether three are party to one agreement in the world of a seed.
    fn three(seed: u64) -> bool {
        seed % THREE_ONE_IN == THREE_ONE_IN - 1 && !Self::onward(seed)
    }
    /// What the command line needs to make the same worlds.
    fn options(&self) -> String {
        let mut options = String::new();
        let usual = Self::default();
        if self.steps != usual.steps {
            options += &format!(" --steps {}", self.steps);
        }
        if self.files_one_in != usual.files_one_in {
            options += &format!(" --files-one-in {}", self.files_one_in);
        }
        if let Some((name, _)) = Planted::ALL.iter().find(|(_, planted)| Some(*planted) == self.planted) {
            options += &format!(" --planted {name}");
        }
        options
    }
    fn leaks(&self) -> bool {
        self.planted == Some(Planted::ExtraField)
    }
    fn deaf(&self) -> bool {
        self.planted == Some(Planted::DeafToStandings)
    }
    fn deaf_to_recalls(&self) -> bool {
        self.planted == Some(Planted::DeafToRecalls)
    }
    fn deaf_to_refusals(&self) -> bool {
        self.planted == Some(Planted::DeafToRefusals)
    }
}

/// What happened in runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Runs without a finding.
    pub seeds: u64,
    /// Acts of people that were acknowledged.
    pub acts: u64,
    /// Sessions.
    pub sessions: u64,
    /// Frames delivered.
    pub frames: u64,
    /// Runs put on a wire.
    pub runs: u64,
    /// Releases in them.
    pub releases: u64,
    /// Records of others in them.
    pub passed_on: u64,
    /// Answers to who asked to pass something on.
    pub answers: u64,
    /// Bundles that were made.
    pub bundles: u64,
    /// Times that one was taken where it belongs.
    pub brought: u64,
    /// Records that were asked back.
    pub recalled: u64,
    /// Holders who were asked, a record each.
    pub asked: u64,
    /// Of them, those that hold on by law at the end.
    pub on_hold: u64,
    /// Releases that a receiver refused, rightly.
    pub refused: u64,
    /// Crashes.
    pub crashes: u64,
    /// Of them, those that left a write on disk in part.
    pub torn: u64,
    /// Releases under an agreement of three.
    pub of_three: u64,
    /// Times that a version was over for a node.
    pub expired: u64,
    /// Times that what a partner gave was locked.
    pub locked: u64,
    /// Records that were kept long enough.
    pub kept: u64,
    /// Partitions that were erased.
    pub erased: u64,
    /// Worlds with their rows in files.
    pub on_files: u64,
    /// The most frames that one world needed to settle.
    pub settling: u64,
}

impl Stats {
    /// Adds what happened in other runs.
    pub fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.acts += other.acts;
        self.sessions += other.sessions;
        self.frames += other.frames;
        self.runs += other.runs;
        self.releases += other.releases;
        self.passed_on += other.passed_on;
        self.answers += other.answers;
        self.bundles += other.bundles;
        self.brought += other.brought;
        self.recalled += other.recalled;
        self.asked += other.asked;
        self.on_hold += other.on_hold;
        self.refused += other.refused;
        self.crashes += other.crashes;
        self.torn += other.torn;
        self.of_three += other.of_three;
        self.expired += other.expired;
        self.locked += other.locked;
        self.kept += other.kept;
        self.erased += other.erased;
        self.on_files += other.on_files;
        self.settling = self.settling.max(other.settling);
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} seeds, {} of them on files: {} acts, {} crashes, {} of them with a torn write, {} sessions, {} frames, {} runs with {} releases ({} refused, {} passed on by {} answers), {} bundles taken {} times, {} records asked back of {} holders ({} on hold), \
             {} releases among three, {} ends of a version, {} locks, {} records kept long enough, {} partitions erased; \
             at most {} frames to settle",
            self.seeds,
            self.on_files,
            self.acts,
            self.crashes,
            self.torn,
            self.sessions,
            self.frames,
            self.runs,
            self.releases,
            self.refused,
            self.passed_on,
            self.answers,
            self.bundles,
            self.brought,
            self.recalled,
            self.asked,
            self.on_hold,
            self.of_three,
            self.expired,
            self.locked,
            self.kept,
            self.erased,
            self.settling
        )
    }
}

/// A run that found something.
#[derive(Debug)]
pub struct Finding {
    /// Its seed.
    pub seed: u64,
    /// The step at which it was found.
    pub step: u64,
    /// What.
    pub what: String,
    /// Every step, if the plan asked for it.
    pub log: Vec<String>,
    /// What the plan has that is not usual, as options.
    pub options: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, step, what, options, .. } = self;
        write!(
            f,
            "seed {seed}, step {step}: {what}\n  replay: cargo run -p entente-tests --bin entente-sim -- --seeds {seed}..{}{options} --log",
            seed + 1
        )
    }
}

/// One run.
///
/// # Errors
/// What was found.
pub fn run(cast: &Cast, plan: &Plan, seed: u64) -> Result<Stats, Box<Finding>> {
    let failed =
        |step, broken: Broken, log| Box::new(Finding { seed, step, what: broken.0, log, options: plan.options() });
    let world = World::new(cast, plan, seed).map_err(|broken| failed(0, broken, Vec::new()))?;
    world.run().map_err(|found| {
        let (broken, world) = *found;
        failed(world.step, broken, world.log)
    })
}

/// Runs of a range of seeds, on so many threads; ends at the first finding.
///
/// # Errors
/// What was found.
pub fn run_all(plan: &Plan, seeds: Range<u64>, threads: usize) -> Result<Stats, Box<Finding>> {
    let cast = Cast::new().map_err(|error| {
        let what = format!("no cast: {error}");
        Box::new(Finding { seed: seeds.start, step: 0, what, log: Vec::new(), options: plan.options() })
    })?;
    seeds::over(&seeds, threads, |seed| run(&cast, plan, seed), Stats::add)
}
