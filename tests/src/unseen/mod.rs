//! Existence hiding, by difference: one tale is told in two worlds that differ only in what a partner may not see, and
//! what the partner observes is compared.
//!
//! A [`tale`] is drawn from a seed. Two [`world`]s of real nodes live through it, with the same clock, keys and lines:
//! one without, one with what is hidden. All that the partner observes goes through one type, [`view::Observed`], which
//! masks what SPEC lists (SHOW-2) and compares the rest. Where the two differ, that which is hidden showed.
//!
//! Reading order: [`tale`], [`view`], [`world`], [`acts`], [`teller`].

pub mod acts;
pub mod cbor;
pub mod tale;
pub mod teller;
pub mod view;
pub mod world;

use crate::{
    seeds,
    sim::{Broken, cast::Cast},
};
use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
};
use tale::Tale;
use teller::Teller;
use view::Exempt;
use world::World;

/// The test that tells the tales.
const TEST: &str = "unseen::two_worlds_that_differ_in_what_is_hidden_look_the_same";

/// A leak that is put in, so that the test can be seen to find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// A message without content follows what is hidden.
    Message,
    /// A run ends where something hidden was looked at.
    RunCut,
    /// A file is refused with another code where more is kept.
    RefusalCode,
    /// Evidence numbers count what is hidden.
    Numbers,
    /// A session ends when another agreement or partner is suspended.
    Close,
}

impl Planted {
    /// Each with its name.
    pub const ALL: [(&'static str, Self); 5] = [
        ("message", Self::Message),
        ("run-cut", Self::RunCut),
        ("refusal-code", Self::RefusalCode),
        ("numbers", Self::Numbers),
        ("close", Self::Close),
    ];
}

/// How tales are told.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What people do in one, about.
    pub acts: usize,
    /// What is put in.
    pub planted: Option<Planted>,
    /// What may differ.
    pub exempt: Option<Exempt>,
    /// Whether evidence numbers are drawn from one counter.
    pub counted: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self { acts: 24, planted: None, exempt: None, counted: false }
    }
}

/// What the worlds of some seeds had.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Pairs of worlds.
    pub seeds: u64,
    /// What the partner observed.
    pub observed: u64,
    /// Hidden acts, by what they were: done, and not possible.
    pub hidden: BTreeMap<&'static str, (u64, u64)>,
    /// Acts that both saw: done, and not possible.
    pub seen: (u64, u64),
    /// Frames between others, where something is hidden.
    pub beside: u64,
    /// What the partner was told, by words of the message.
    pub told: BTreeMap<&'static str, u64>,
}

/// Words that messages of each kind have: all of them are to be seen.
const WORDS: [&str; 22] = [
    view::ONE_WAY,
    view::BOTH_WAYS,
    "hello: {",
    "heads: {",
    "run: {",
    "release: {",
    "withdrawal: {",
    "receipt: [",
    "proposal: ",
    "standing: ",
    "kind: 1,",
    "kind: 2,",
    "kind: 3,",
    "kind: 4,",
    "kind: 5,",
    "kind: 6,",
    "kind: 7,",
    "kind: 8,",
    "kind: 9,",
    "kind: 10,",
    "header: {",
    "refused: {code: 2}",
];

impl Stats {
    fn of(without: &World<'_>, with: &World<'_>) -> Self {
        let told = WORDS.iter().map(|words| (*words, without.observed.says(words))).collect();
        let (observed, counts) = (without.observed.len() as u64, with.counts.clone());
        Self { seeds: 1, observed, hidden: counts.hidden, seen: counts.seen, beside: counts.beside, told }
    }
    fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.observed += other.observed;
        self.beside += other.beside;
        self.seen = (self.seen.0 + other.seen.0, self.seen.1 + other.seen.1);
        for (what, (done, not)) in &other.hidden {
            let known = self.hidden.entry(what).or_default();
            *known = (known.0 + done, known.1 + not);
        }
        for (words, times) in &other.told {
            *self.told.entry(words).or_default() += times;
        }
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seeds, observed, hidden, seen, beside, .. } = self;
        let done: u64 = hidden.values().map(|(done, _)| done).sum();
        write!(
            f,
            "{seeds} pairs of worlds with {observed} observations: {done} hidden acts, {} seen ({} not possible), \
             {beside} frames between others",
            seen.0, seen.1
        )
    }
}

/// A pair of worlds that the partner can tell apart.
#[derive(Debug)]
pub struct Finding {
    /// Its seed.
    pub seed: u64,
    /// What shows.
    pub what: String,
    /// The tale.
    pub tale: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, what, .. } = self;
        write!(
            f,
            "seed {seed}: {what}\n  replay: ENTENTE_SEED={seed} ENTENTE_PAIRS=1 cargo test --workspace --test system -- {TEST} --nocapture"
        )
    }
}

/// One tale in its two worlds.
///
/// # Errors
/// What shows.
pub fn compare(cast: &Cast, plan: &Plan, (seed, tale): (u64, &Tale)) -> Result<Stats, Broken> {
    let told = |with| -> Result<World<'_>, Broken> {
        let mut world = World::new(cast, plan, (seed, tale), with)?;
        world.run().map_err(|broken| Broken(format!("with {with}: {}", broken.0)))?;
        Ok(world)
    };
    let (without, with) = (told(false)?, told(true)?);
    match without.observed.difference(&with.observed) {
        Some(difference) => Err(Broken(difference)),
        None => Ok(Stats::of(&without, &with)),
    }
}

/// One pair of worlds.
///
/// # Errors
/// What shows.
pub fn run(cast: &Cast, plan: &Plan, seed: u64) -> Result<Stats, Box<Finding>> {
    let tale = Teller::tell(seed, plan.acts);
    let told = catch_unwind(AssertUnwindSafe(|| compare(cast, plan, (seed, &tale))));
    let told = told.unwrap_or_else(|_| Err(Broken("it panics".to_owned())));
    told.map_err(|broken| Box::new(Finding { seed, what: broken.0, tale: format!("{tale:#?}") }))
}

/// Pairs of a range of seeds, on so many threads; ends at the first finding.
///
/// # Errors
/// What shows.
pub fn run_all(plan: &Plan, seeds: Range<u64>, threads: usize) -> Result<Stats, Box<Finding>> {
    let cast = Cast::new().map_err(|error| {
        Box::new(Finding { seed: seeds.start, what: format!("no cast: {error}"), tale: String::new() })
    })?;
    seeds::over(&seeds, threads, |seed| run(&cast, plan, seed), Stats::add)
}
