//! A simulated world: three to seven nodes in one process, with real stores' contracts, real sessions and real policy,
//! over disks, links, clocks and people that do whatever chance says. One seed is one run, repeatable.
//!
//! The nodes are the product: `Conversation`, `Session`, outbox, receiving, gate, agreements. What is simulated is the
//! disk below the ledger, the connection between sessions, the clock, and the people. A [`model`] of what may go
//! where stands beside; [`check`] holds the two against each other.
//!
//! Reading order: this file, [`model`], [`steps`], [`check`]. What was run, and when: `README.md` beside it.

pub mod acts;
pub mod cast;
pub mod chance;
pub mod check;
pub mod ledger;
pub mod model;
pub mod steps;
pub mod stories;
pub mod terms;
pub mod wire;
pub mod world;

use cast::Cast;
use std::{
    fmt,
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};
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
}

impl Planted {
    /// Each with its name.
    pub const ALL: [(&'static str, Self); 3] = [
        ("forgetful-store", Self::ForgetfulStore),
        ("extra-field", Self::ExtraField),
        ("deaf-to-standings", Self::DeafToStandings),
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
}

impl Default for Plan {
    fn default() -> Self {
        Self { steps: 120, planted: None, log: false }
    }
}

impl Plan {
    fn forgets(&self) -> bool {
        self.planted == Some(Planted::ForgetfulStore)
    }
    fn leaks(&self) -> bool {
        self.planted == Some(Planted::ExtraField)
    }
    fn deaf(&self) -> bool {
        self.planted == Some(Planted::DeafToStandings)
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
    /// Releases that a receiver refused, rightly.
    pub refused: u64,
    /// Crashes.
    pub crashes: u64,
    /// The most frames that one world needed to settle.
    pub settling: u64,
}

impl Stats {
    fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.acts += other.acts;
        self.sessions += other.sessions;
        self.frames += other.frames;
        self.runs += other.runs;
        self.releases += other.releases;
        self.refused += other.refused;
        self.crashes += other.crashes;
        self.settling = self.settling.max(other.settling);
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} seeds: {} acts, {} crashes, {} sessions, {} frames, {} runs with {} releases ({} refused); \
             at most {} frames to settle",
            self.seeds,
            self.acts,
            self.crashes,
            self.sessions,
            self.frames,
            self.runs,
            self.releases,
            self.refused,
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
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, step, what, .. } = self;
        write!(
            f,
            "seed {seed}, step {step}: {what}\n  replay: cargo run -p entente-tests --bin entente-sim -- --seeds {seed}..{} --log",
            seed + 1
        )
    }
}

/// One run.
///
/// # Errors
/// What was found.
pub fn run(cast: &Cast, plan: &Plan, seed: u64) -> Result<Stats, Box<Finding>> {
    let failed = |step, broken: Broken, log| Box::new(Finding { seed, step, what: broken.0, log });
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
        Box::new(Finding { seed: seeds.start, step: 0, what: format!("no cast: {error}"), log: Vec::new() })
    })?;
    let (next, sum) = (AtomicU64::new(seeds.start), Mutex::new((Stats::default(), None::<Box<Finding>>)));
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let ran = run(&cast, plan, seed);
                    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                    match ran {
                        Ok(stats) => sum.0.add(&stats),
                        Err(finding) => {
                            next.store(seeds.end, Ordering::Relaxed);
                            if sum.1.as_ref().is_none_or(|known| known.seed > finding.seed) {
                                sum.1 = Some(finding);
                            }
                        }
                    }
                }
            });
        }
    });
    let (stats, finding) = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    finding.map_or(Ok(stats), Err)
}
