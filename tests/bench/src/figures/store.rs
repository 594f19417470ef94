//! What a large store costs: opening it, looking a serial up, its disk and its memory, a sync with nothing new.
//!
//! One store is made for all of them: imported at one node, released, received by another.

use super::{Group, suspend::Wired};
use crate::{
    bench::Bench,
    input::{self, Format, Sequence},
    measure::{Against, Figure, Goal, mib, ms, p99},
    node::{Home, Pair, Running},
    parts, process,
};
use anyhow::{Result, ensure};
use entente_node::{call::Call, records::search::Query};
use std::{
    fs,
    time::{Duration, Instant},
};

/// The group.
pub const GROUP: Group = Group {
    name: "store",
    figures: &[
        "import-large",
        "import-large-memory",
        "open",
        "serial",
        "serial-p99",
        "disk-own",
        "disk-received",
        "memory-idle",
        "memory-full",
        "sync-nothing",
        "sync-nothing-trips",
        "sync-nothing-command",
    ],
    about: "a large store: opening, serial look-up, disk, memory, a sync with nothing new",
    measure,
};

/// Of each direction, while round trips are counted.
const DELAY: Duration = Duration::from_millis(50);

fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let records = bench.sizes.store;
    let world = bench.folder("store")?;
    let pair = bench.pair(world.path())?;
    let (file, map, _) = bench.table(world.path(), Format::Csv, records)?;
    let import = pair.a.import(&file, &map, None, records)?;
    fs::remove_file(file)?;
    let own = pair.a.store_bytes()?;
    pair.a.pass(true)?;
    let released = pair.a.store_bytes()?;

    let (a, b) = (pair.a.start()?, pair.b.start()?);
    a.countersigned(records)?;
    let came = b.log.kept_bytes();
    a.stop()?;
    b.stop()?;
    let received = pair.b.store_bytes()?;
    let plain = parts::plaintext_bytes(bench)?;

    let empty_folder = bench.folder("empty")?;
    let empty = Home::init(&bench.program, empty_folder.path(), "e", None)?;
    let mut figures = vec![
        Figure::new("import-large", "rows/s", vec![records as f64 / import.time.as_secs_f64()])
            .note(format!("{records} rows of CSV into an empty store: whether an import slows down as it goes")),
        Figure::new("import-large-memory", "MiB", vec![mib(import.peak)])
            .goal(Goal::AtMost(300e6 / f64::from(1 << 20)))
            .note("peak resident memory of the same command: whether it grows with the file"),
        open(bench, &pair.a, &empty)?,
    ];
    let a = pair.a.start()?;
    figures.extend(serial(bench, &a)?);
    let of = |bytes: u64| bytes as f64 / records as f64;
    figures.push(
        Figure::new("disk-own", "times the plaintext", vec![of(own) / plain]).goal(Goal::AtMost(1.4)).note(format!(
            "{records} records: {:.0} bytes of blocks for each, of {plain:.0} bytes of header and field values; imported, \
             index included; {:.0} after review and release",
            of(own),
            of(released)
        )),
    );
    figures.push(
        Figure::new("disk-received", "times the release", vec![received as f64 / came as f64])
            .goal(Goal::AtMost(1.3))
            .note(format!("{:.0} bytes of blocks for each record, of {:.0} that came", of(received), of(came))),
    );
    let (idle, full) = (empty.start()?, process::memory(a.pid())?);
    let idle = process::memory(idle.pid())?;
    let note = |now: u64| format!("peak resident memory; {:.0} MiB when it was looked at", mib(now));
    figures.push(Figure::new("memory-idle", "MiB", vec![mib(idle.peak)]).goal(Goal::AtMost(50.0)).note(note(idle.now)));
    figures.push(
        Figure::new("memory-full", "MiB", vec![mib(full.peak)])
            .goal(Goal::AtMost(250.0))
            .note(format!("{} with {records} records, after the look-ups", note(full.now))),
    );
    figures.extend(sync_nothing(bench, &pair, a)?);
    Ok(figures)
}

/// From the start of the node's process to its saying that it serves.
fn open(bench: &Bench, full: &Home, empty: &Home) -> Result<Figure> {
    let once = |home: &Home| {
        let begun = Instant::now();
        let node = home.spawn()?;
        let time = node.log.wait("serving", |_| true)?.duration_since(begun);
        node.stop()?;
        Ok(time.as_secs_f64())
    };
    let runs = bench.repeat(|| once(full))?;
    let limit = bench.repeat(|| once(empty))?;
    Ok(Figure::new("open", "s", runs)
        .goal(Goal::AtMost(0.5))
        .limit(Against::new("the same with an empty store", limit))
        .note(format!(
            "{} records; from the start of the process to `serving`, unlocking by an identity file included",
            bench.sizes.store
        )))
}

fn serial(bench: &Bench, node: &Running) -> Result<[Figure; 2]> {
    let mut random = Sequence::new(0x5e41a1);
    let (mut times, mut empty) = (Vec::new(), Vec::new());
    for _ in 0..bench.sizes.lookups {
        let serial = Some(input::serial(random.number() % bench.sizes.store));
        let call = Call::Search(Query { serial, ..Query::default() });
        let begun = Instant::now();
        let found = node.call(&call)?;
        times.push(ms(begun.elapsed()));
        ensure!(found["records"].as_array().is_some_and(|r| r.len() == 1), "a serial was not found: {found}");
        let begun = Instant::now();
        node.call(&Call::Identity)?;
        empty.push(ms(begun.elapsed()));
    }
    let slow = (p99(&times), p99(&empty));
    let name = "a call that looks nothing up";
    let about = format!("{} look-ups of random serials among {} records", bench.sizes.lookups, bench.sizes.store);
    Ok([
        Figure::new("serial", "ms", times)
            .goal(Goal::AtMost(0.2))
            .limit(Against::new(name, empty))
            .note(format!("{about}, at a running node through its control socket, a connection each")),
        Figure::new("serial-p99", "ms", vec![slow.0]).limit(Against::new(name, vec![slow.1])).note(about),
    ])
}

/// A partner comes back and nothing is new. `a` runs already.
fn sync_nothing(bench: &Bench, pair: &Pair, a: Running) -> Result<Vec<Figure>> {
    let exchange = bench.repeat(|| exchange(&pair.b))?;
    let b = pair.b.start()?;
    b.log.wait("heads were compared", |_| true)?;
    let command = bench.repeat(|| Ok(ms(pair.a.ok(&["sync", "b"])?.time)))?;
    drop((a, b));

    // Round trips do not depend on the size of the store.
    let folder = bench.folder("trips")?;
    let wired = Wired::make(&bench.program, folder.path())?;
    let small = &wired.made;
    let sender = small.a.start()?;
    // The first meeting says more: agreements and stores.
    self::exchange(&small.b)?;
    let near = bench.repeat(|| self::exchange(&small.b))?;
    wired.relays.iter().for_each(|relay| relay.delay(DELAY));
    let far = bench.repeat(|| self::exchange(&small.b))?;
    drop(sender);
    let trip = ms(2 * DELAY);
    let trips = near.iter().zip(&far).map(|(near, far)| (far - near) / trip).collect();
    Ok(vec![
        Figure::new("sync-nothing", "ms", exchange).goal(Goal::AtMost(20.0)).note(format!(
            "{} records on both sides and nothing new; from the finished handshake of a partner that comes back to its \
             having compared both sides' heads",
            bench.sizes.store
        )),
        Figure::new("sync-nothing-trips", "round trips", trips)
            .goal(Goal::AtMost(1.1))
            .note(format!("of the same exchange, by what it takes longer when every datagram is {DELAY:?} under way")),
        Figure::new("sync-nothing-command", "ms", command).note(
            "the whole command `entente sync b` at a running, connected node, which waits to see that nothing moves",
        ),
    ])
}

/// Starts the receiver anew; milliseconds from its handshake to its having compared heads.
fn exchange(home: &Home) -> Result<f64> {
    let node = home.spawn()?;
    let connected = node.log.wait("a partner is connected", |_| true)?;
    let compared = node.log.wait("heads were compared", |_| true)?;
    node.stop()?;
    Ok(ms(compared.saturating_duration_since(connected)))
}
