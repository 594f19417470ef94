//! The witnessed log: what it costs an append, a proof among ten million leaves, and how soon partners have cosigned.

use super::Group;
use crate::{
    bench::Bench,
    measure::{Against, Figure, Goal},
    node::{Home, introduce},
    parts,
};
use anyhow::{Context as _, Result, ensure};
use entente_node::{
    call::Call,
    clock::SystemClock,
    config,
    custody::view::LogCall,
    node::Node,
    records::keep::{self, New},
    secret::unlock::Unlock,
};
use entente_protocol::{
    custody::{
        checkpoint::{Checkpoint, Origin, TreeHead},
        interval::{Interval, Standing, seed},
        journal::Journal,
        proof::LeafProof,
        tiles::{self, Log, Tile},
    },
    id::{Hash, LoggedDigest, OrgId, StoreId},
    label, limits,
    primitive::SigningKey,
    record::Draft,
    time::UnixMillis,
};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs::OpenOptions,
    hint::black_box,
    io::Write as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// The group.
pub const GROUP: Group = Group {
    name: "log",
    figures: &["append-custody", "log-prove", "log-verify", "cosign"],
    about: "the witnessed log: appends with and without it, one proof among ten million, cosigning by two partners",
    measure,
};

/// Records of one append, as an import has them.
const STEP: usize = 2_500;
/// Leaves of the log for one record of an import: ten million at full size.
const LEAVES: u64 = 100;
/// Events in the interval that is opened.
const EVENTS: u32 = 1_000;
/// Proofs of one run.
const PROOFS: u32 = 200;

fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = vec![append(bench)?];
    figures.extend(proofs(bench)?);
    figures.push(cosign(bench)?);
    Ok(figures)
}

/// The same appends with and without the journal, each on a store of its own, in turns.
fn append(bench: &Bench) -> Result<Figure> {
    let world = bench.folder("append")?;
    let open = |name: &str| -> Result<Node> {
        let pair = bench.pair(&world.path().join(name))?;
        let unlock = Unlock::IdentityFile(pair.a.key());
        Node::open(config::Home::at(pair.a.path()), &unlock, Arc::new(SystemClock)).map_err(|e| anyhow::anyhow!("{e}"))
    };
    let (with, without) = (open("with")?, open("without")?);
    without.holdings.danger_without_journal();
    let count = STEP.min(usize::try_from(bench.sizes.records)?);
    let drafts = parts::drafts(bench, count as u64, with.keys.org)?;
    let once = |node: &Node| -> Result<f64> {
        let record = |draft: &Draft| Ok(New { record: parts::commit(draft.clone())?, amends: false, import: None });
        let new = drafts.iter().map(record).collect::<Result<Vec<_>>>()?;
        let begun = Instant::now();
        let mut txn = node.holdings.begin();
        keep::add(node, &mut txn, new)?;
        txn.commit()?;
        Ok(begun.elapsed().as_secs_f64() * 1e3)
    };
    // Neither has the first turn always, and each is warm.
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for turn in 0..2 * bench.sizes.runs + 1 {
        let (first, second) = if turn % 2 == 0 {
            (once(&with)?, once(&without)?)
        } else {
            let second = once(&without)?;
            (once(&with)?, second)
        };
        if turn > 0 {
            a.push(first);
            b.push(second);
        }
    }
    let beside = Against { goal: Some(Goal::AtMost(1.1)), ..Against::new("the same without journal and log", b) };
    let note = format!("one append of {count} records: attested, sealed, indexed, durable; in turns with the other");
    Ok(Figure::new("append-custody", "ms", a).limit(beside).note(note))
}

fn digest(n: u32) -> LoggedDigest {
    LoggedDigest::of(label::SIGN_RUN, &n.to_be_bytes())
}

/// One run among the events of one interval, proved in a log of ten million leaves whose tiles are in memory.
fn proofs(bench: &Bench) -> Result<[Figure; 2]> {
    let size = bench.sizes.records * LEAVES;
    let key = SigningKey::from_seed(&[1; 32])?;
    let (org, store) = (OrgId::from_bytes([1; 32]), StoreId::from_bytes([1; 16]));
    let origin = Origin::new(org, store, 0, 1_700_000_000, 1).context("an origin")?;
    let events: Vec<LoggedDigest> = (0..EVENTS).map(digest).collect();
    let index = size / 3;
    let interval = Interval::new(&events, Journal::start(store).head(), &seed(&[2; 32], index))?;
    let mut kept: BTreeMap<(u8, u64), Vec<Hash>> = BTreeMap::new();
    let mut at = 0;
    while at < size {
        let end = size.min(at + limits::LOG_APPEND_MAX as u64);
        let leaf = |n: u64| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            if n == index { interval.leaf().hash() } else { Hash::from_bytes(bytes) }
        };
        let leaves: Vec<Hash> = (at..end).map(leaf).collect();
        let read =
            |tile: Tile| Ok::<_, Infallible>(kept.get(&(tile.level(), tile.index())).cloned().unwrap_or_default());
        for (tile, hashes) in tiles::append(at, &leaves, read)? {
            kept.insert((tile.level(), tile.index()), hashes);
        }
        at = end;
    }
    let log = || {
        Log::new(size, |tile: Tile| {
            Ok::<_, Infallible>(kept.get(&(tile.level(), tile.index())).cloned().unwrap_or_default())
        })
    };
    let root = log()?.root(size)?;
    let head = Checkpoint::sign(origin, TreeHead { size, root }, &key)?;
    let prove = |n: u32| -> Result<LeafProof> {
        let path = log()?.prove_inclusion(index, size)?;
        LeafProof::new(index, &interval, digest(n), path).context("it does not stand there")
    };
    let each = |all: &mut dyn FnMut(u32) -> Result<()>| -> Result<Vec<f64>> {
        bench.repeat(|| {
            let begun = Instant::now();
            (0..PROOFS).try_for_each(&mut *all)?;
            Ok(begun.elapsed().as_secs_f64() * 1e6 / f64::from(PROOFS))
        })
    };
    let made = each(&mut |n| {
        black_box(prove(n)?);
        Ok(())
    })?;
    let all = (0..PROOFS).map(prove).collect::<Result<Vec<_>>>()?;
    let verified = each(&mut |n| {
        let proof = all.get(n as usize).context("a proof")?;
        ensure!(proof.verify(&head, index, digest(n))? == Standing::Logged, "it is not logged");
        Ok(())
    })?;
    let note =
        format!("one of {EVENTS} events of one interval, in a log of {size} leaves; tiles in memory, none remembered");
    Ok([
        Figure::new("log-prove", "us", made).goal(Goal::AtMost(1_000.0)).note(note),
        Figure::new("log-verify", "us", verified)
            .goal(Goal::AtMost(100.0))
            .note("the same, under a head that was verified"),
    ])
}

/// Three live nodes with intervals of a second: from the end of an interval until both others have cosigned a head that
/// reaches it, as the node says when it is asked.
fn cosign(bench: &Bench) -> Result<Figure> {
    let world = bench.folder("cosign")?;
    let homes = ["a", "b", "c"].map(|handle| home(&bench.program, world.path(), handle));
    let [a, b, c] = homes;
    let (a, b, c) = (a?, b?, c?);
    for other in [&b, &c] {
        introduce(&a, other)?;
        introduce(other, &a)?;
    }
    let (running, _b, _c) = (a.start()?, b.start()?, c.start()?);
    let mut times = Vec::new();
    let (mut last, begun) = (None, Instant::now());
    while times.len() < 2 * bench.sizes.runs + 1 {
        ensure!(begun.elapsed() < Duration::from_secs(60), "two partners do not cosign");
        let shown = running.call(&Call::Log(LogCall::Show))?;
        let seen = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis() as u64;
        let witnessed = &shown["witnessed"];
        let both = witnessed["by"].as_array().is_some_and(|by| by.len() == 2);
        let size = witnessed["size"].as_u64();
        if both && size != last {
            let origin: Origin = shown["origin"].as_str().context("an origin")?.parse()?;
            let UnixMillis(due) = origin.begins(size.context("a size")?);
            if last.is_some() {
                times.push(seen.saturating_sub(due) as f64 / 1e3);
            }
            last = size;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let note =
        "from the end of an interval until both others have cosigned a head that reaches it; three nodes on loopback";
    Ok(Figure::new("cosign", "s", times).goal(Goal::AtMost(1.0)).note(note))
}

fn home(program: &Path, folder: &Path, handle: &str) -> Result<Home> {
    let home = Home::init(program, folder, handle, None)?;
    let mut settings = OpenOptions::new().append(true).open(home.path().join("entente.toml"))?;
    settings.write_all(b"log-interval = 1\n")?;
    Ok(home)
}
