//! The harnesses that try to lose what was acknowledged: kill, power cut, flipped bytes, truncated files, failing calls.
//!
//! A small program, `store-worker`, writes to a store as a node does (`work`), and says on its standard output what
//! was acknowledged; a harness hits it, opens what is left and holds it against what was said. What an item contains
//! follows from its number, so nothing has to be remembered but the numbers. Every round follows from its seed, which is
//! printed when it fails. `system/durability.rs` runs short forms; `long.sh` says how many rounds the long ones take.

pub mod content;
pub mod damage;
pub mod disk;
pub mod faulty;
pub mod kill;
pub mod power;
pub mod trace;
pub mod work;

use crate::random::split_mix;
use entente_node::{
    seal::{
        hybrid::Identity,
        keyring::{Keyring, Partition},
    },
    secret::Secret,
    store::{
        StoreError,
        holdings::Holdings,
        layout::Table,
        open::{self, Backend},
    },
};
use entente_protocol::{
    custody::{
        event::{EventPart, PartOf},
        journal::Journal,
    },
    id::Nonce,
};
use std::{
    error::Error,
    fmt, fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What a step of a harness answers.
pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Bytes that the engine keeps in memory before it writes them to its tree: small, so that the tree is written often.
const MEMTABLE_BYTES: u64 = 192 << 10;

/// A number that a long run sets in the environment.
#[must_use]
pub fn knob(name: &str, short: u64) -> u64 {
    std::env::var(name).ok().and_then(|given| given.parse().ok()).unwrap_or(short)
}

/// The command that shows a failure again, as a line of its own.
#[must_use]
pub fn replay(test: &str, (knob, rounds): (&str, u64), seed: u64) -> String {
    let features = if cfg!(feature = "sled") { " --features sled" } else { "" };
    format!(
        "\n  replay: env ENTENTE_SEED={seed} {knob}={rounds} cargo test --workspace --locked --test system{features} \
         -- --exact durability::{test} --nocapture"
    )
}

/// Random numbers that follow from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Rng(pub u64);

impl Rng {
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        split_mix(&mut self.0)
    }
    /// A number below `below`, which is not 0.
    pub fn below(&mut self, below: u64) -> u64 {
        self.draw() % below.max(1)
    }
    /// Whether it hits, one time in `times`.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// A store with keys of its own, as the harnesses use it.
pub struct Site {
    folder: PathBuf,
    /// Which engine.
    pub backend: Backend,
}

impl Site {
    /// A store below a folder.
    #[must_use]
    pub fn at(folder: &Path, backend: Backend) -> Self {
        Self { folder: folder.to_owned(), backend }
    }
    /// The folder of the store itself.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }
    fn identities() -> (Identity, Identity) {
        let identity = |seed| Identity::from_seed(Secret::new([seed; 32]));
        (identity(1), identity(2))
    }
    /// Makes the store and its keys, and closes it.
    ///
    /// # Errors
    /// Where the store cannot be made.
    pub fn create(&self) -> Outcome {
        fs::create_dir_all(&self.folder)?;
        let (node, recovery) = Self::identities();
        let keyring = Arc::new(Keyring::create(&self.folder, &node, &recovery.recipient())?);
        drop(open::create_with(&self.data(), self.backend, keyring, MEMTABLE_BYTES)?);
        Ok(())
    }
    /// The keys.
    ///
    /// # Errors
    /// Where they do not open.
    pub fn keyring(&self) -> Result<Arc<Keyring>, StoreError> {
        let (node, recovery) = Self::identities();
        Ok(Arc::new(Keyring::open(&self.folder, &node, &recovery.recipient())?))
    }
    /// Opens the store.
    ///
    /// # Errors
    /// Where it refuses.
    pub fn open(&self) -> Result<Holdings, StoreError> {
        open::open(&self.data(), self.backend, self.keyring()?)
    }
}

/// One item: lane and number.
#[must_use]
pub fn key(lane: u64, n: u64) -> Vec<u8> {
    [lane.to_be_bytes(), n.to_be_bytes()].concat()
}

/// What the journal says of an item.
fn said(lane: u64, n: u64) -> EventPart {
    let salt = Nonce::from_bytes([0; 16]);
    let about = vec![(lane.to_string(), n.to_string())];
    EventPart { part_of: PartOf::Own, salt, what: "item".to_owned(), about }
}

fn random(lane: u64, n: u64, what: u64) -> Rng {
    Rng((lane << 48) ^ (n << 8) ^ what)
}

fn bytes(rng: &mut Rng, length: u64) -> Vec<u8> {
    let words = (0..length.div_ceil(8)).flat_map(|_| rng.draw().to_le_bytes());
    words.take(usize::try_from(length).unwrap_or_default()).collect()
}

/// What the row of an item holds: mostly small, now and then large.
#[must_use]
pub fn content(lane: u64, n: u64) -> Vec<u8> {
    let mut rng = random(lane, n, 1);
    let length = if rng.one_in(12) { rng.below(30_000) } else { 20 + rng.below(1_500) };
    bytes(&mut rng, length)
}

/// What the blob of an item holds; most items have none.
#[must_use]
pub fn blob(lane: u64, n: u64) -> Option<Vec<u8>> {
    let mut rng = random(lane, n, 2);
    rng.one_in(9).then(|| {
        let length = rng.below(180_000);
        bytes(&mut rng, length)
    })
}

const OWN: Partition = Partition::Own;

/// The last item of a lane that the store holds.
///
/// # Errors
/// Where it cannot be read.
pub fn last_of(holdings: &Holdings, lane: u64) -> Result<Option<u64>, StoreError> {
    let row = holdings.get(OWN, Table::Cursor, &lane.to_be_bytes())?;
    Ok(row.and_then(|row| row.try_into().ok()).map(u64::from_be_bytes))
}

/// Holds a store against what was acknowledged of each lane: all of that is there and whole; of the rest, at most one
/// item a lane, and that one whole too.
///
/// # Errors
/// Says what is lost, half or wrong.
pub fn verify(holdings: &Holdings, acknowledged: &[Option<u64>]) -> Outcome {
    let mut events = 0;
    for (lane, acknowledged) in (0u64..).zip(acknowledged) {
        let last = last_of(holdings, lane)?;
        if last < *acknowledged {
            return Err(
                format!("lane {lane}: {acknowledged:?} was acknowledged, and the store ends at {last:?}").into()
            );
        }
        let items = last.map_or(0, |last| last + 1);
        if items > acknowledged.map_or(0, |n| n + 1) + 1 {
            return Err(format!("lane {lane}: {items} items, but only {acknowledged:?} was acknowledged").into());
        }
        for n in 0..items {
            whole(holdings, lane, n, n + 1 == items).map_err(|error| match error.is::<Told>() {
                true => error,
                false => format!("lane {lane}, item {n}: {error}").into(),
            })?;
        }
        let after = holdings.get(OWN, Table::Record, &key(lane, items))?;
        let listed = holdings.item(OWN, Table::RecordList, &lane.to_be_bytes(), items)?;
        let found = holdings.find(OWN, "lane", &lane.to_be_bytes(), items.checked_sub(1), 1)?;
        if after.is_some() || listed.is_some() || !found.is_empty() {
            return Err(format!("lane {lane}: half of item {items} is there").into());
        }
        events += items;
    }
    journal(holdings, acknowledged.len(), events)?;
    let report = holdings.check()?;
    if report.unopened > 0 || report.opened + report.tokens != report.rows {
        return Err(format!("{} rows do not open", report.unopened).into());
    }
    Ok(())
}

/// A blob that the store does not give. It says so, goes on with the others, and has told nothing wrong.
#[derive(Debug)]
struct Told(String);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a blob is not given: {}", self.0)
    }
}

impl Error for Told {}

fn whole(holdings: &Holdings, lane: u64, n: u64, newest: bool) -> Outcome {
    let key = key(lane, n);
    let same = |what: &str, found: Option<Vec<u8>>, expected: &[u8]| match found {
        Some(found) if found == expected => Ok(()),
        Some(_) => Err(format!("WRONG: its {what} is not what was written")),
        None => Err(format!("its {what} is missing")),
    };
    same("row", holdings.get(OWN, Table::Record, &key)?, &content(lane, n))?;
    same("place in the list", holdings.item(OWN, Table::RecordList, &lane.to_be_bytes(), n)?, &key)?;
    let found = holdings.find(OWN, "lane", &lane.to_be_bytes(), n.checked_sub(1), 1)?;
    if found != [n] {
        return Err(format!("its index row leads to {found:?}").into());
    }
    // Written with the item and removed with the next one.
    let passing = holdings.get(OWN, Table::Agreement, &key)?;
    if passing.is_some() != newest {
        return Err(format!("its passing row is there: {}, newest: {newest}", passing.is_some()).into());
    }
    if let Some(expected) = blob(lane, n) {
        let mut found = Vec::new();
        let opened = holdings.blob_open(OWN, &key).map_err(|e| Told(e.to_string()))?;
        { opened }.read_to_end(&mut found).map_err(|e| Told(e.to_string()))?;
        same("blob", Some(found), &expected)?;
    }
    Ok(())
}

/// The journal names every item once, in the order of its lane, and its chain holds.
fn journal(holdings: &Holdings, lanes: usize, events: u64) -> Outcome {
    let (mut after, mut next, mut seen) = (None, vec![0u64; lanes], 0u64);
    let mut chain = Journal::start(holdings.store_id());
    loop {
        let page = holdings.journal(after, 1_000)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        for (n, event) in page {
            if n != seen || chain.handle_event(event.bytes()).is_err() {
                return Err(format!("event {n} of the journal does not follow").into());
            }
            seen += 1;
            let part = holdings.journal_part(n, &event, OWN)?.ok_or("an event without a part")?;
            let place = (0u64..).zip(next.iter_mut()).find(|(lane, next)| part == said(*lane, **next));
            let (_, next) = place.ok_or_else(|| format!("event {n} of the journal names an item out of turn"))?;
            *next += 1;
        }
    }
    if seen == events { Ok(()) } else { Err(format!("{seen} events in the journal for {events} items").into()) }
}
