//! `suspend` and `remove`: how long a sender goes on sending after somebody said stop, under full load.
//!
//! All traffic passes a relay of ours, which notes when the last datagram with load left the sender.

use super::Group;
use crate::{
    bench::Bench,
    figures::attachment::{import_files, with_file},
    input::Format,
    measure::{Figure, Goal},
    node::{Pair, Running},
    relay::Relay,
};
use anyhow::Result;
use entente_node::{call::Call, partners::PartnerState};
use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// The group.
pub const GROUP: Group = Group {
    name: "suspend",
    figures: &["suspend", "suspend-file", "remove"],
    about: "from `partner suspend` or `remove` to the last byte that is sent, under full load",
    measure,
};

/// After so long without load the last datagram was the last; shorter where sizes are reduced.
const QUIET: Duration = Duration::from_secs(2);
const QUIET_REDUCED: Duration = Duration::from_millis(400);
/// Who goes on for so long does not stop.
const STOPS: Duration = Duration::from_secs(60);

/// What is being sent when somebody says stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    /// So many records, all released.
    Feed(u64),
    /// A file of so many bytes.
    File(u64),
}

/// Two homes whose traffic passes relays of ours.
pub struct Wired {
    /// The homes, as they were made.
    pub made: Pair,
    /// The relay in front of each.
    pub relays: [Relay; 2],
}

impl Wired {
    /// Makes both.
    pub fn make(program: &Path, folder: &Path) -> Result<Self> {
        let relays = [Relay::open()?, Relay::open()?];
        let addresses = relays.each_ref().map(|relay| relay.address.to_string());
        let made = Pair::make(program, folder, Some(addresses.each_ref().map(String::as_str)))?;
        relays[0].leads_to(&made.a.listens()?)?;
        relays[1].leads_to(&made.b.listens()?)?;
        Ok(Self { made, relays })
    }

    /// Bytes from `a` to `b` so far, and when the last datagram with load passed: whoever dialled.
    fn sent(&self) -> (u64, Option<Instant>) {
        let ways = [self.relays[0].passed()[1], self.relays[1].passed()[0]];
        (ways[0].bytes + ways[1].bytes, ways[0].load().max(ways[1].load()))
    }
}

fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let world = bench.folder("suspend")?;
    // A fifth: the load must only last longer than it takes to say stop.
    let records = (bench.sizes.records / 5).max(10);
    let wired = Wired::make(&bench.program, &world.path().join("made"))?;
    let [feed, files] = [wired.made.copy(&world.path().join("feed"))?, wired.made.copy(&world.path().join("file"))?];
    let (file, map, _) = bench.table(world.path(), Format::Csv, records)?;
    feed.a.import(&file, &map, None, records)?;
    feed.a.pass(true)?;
    import_files(bench, &files.a, &world.path().join("files"), 1, bench.sizes.file_bytes)?;

    let trials = |made: &Pair, load, state| bench.repeat(|| trial(bench, &wired, made, load, state));
    let file = Load::File(bench.sizes.file_bytes);
    Ok(vec![
        figure("suspend", Load::Feed(records), &trials(&feed, Load::Feed(records), PartnerState::Suspended)?),
        figure("suspend-file", file, &trials(&files, file, PartnerState::Suspended)?),
        figure("remove", Load::Feed(records), &trials(&feed, Load::Feed(records), PartnerState::Removed)?),
    ])
}

/// How one trial went.
struct Stopped {
    seconds: f64,
    /// Why it does not count.
    void: Option<&'static str>,
}

fn trial(bench: &Bench, wired: &Wired, made: &Pair, load: Load, state: PartnerState) -> Result<Stopped> {
    let folder = bench.folder("run")?;
    let pair = made.copy(folder.path())?;
    let [a, b] = if let Load::File(_) = load { pair.start()? } else { [pair.a.start()?, pair.b.spawn()?] };
    let before = wired.sent().0;
    match load {
        Load::Feed(records) => drop(b.kept(records / 10)?),
        Load::File(bytes) => {
            a.release(with_file(0))?;
            let begun = Instant::now();
            while wired.sent().0 - before < bytes / 10 && begun.elapsed() < STOPS {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
    let said = Instant::now();
    a.call(&Call::PartnerState { partner: "b".to_owned(), state })?;
    let mut void = None;
    let quiet = if bench.sizes.is_full() { QUIET } else { QUIET_REDUCED };
    let last = loop {
        let last = wired.sent().1.map_or(said, |last| last.max(said));
        if last.elapsed() > quiet {
            break last;
        }
        if said.elapsed() > STOPS {
            void = Some("it went on for a minute, and was not waited for any longer");
            break last;
        }
        thread::sleep(Duration::from_millis(10));
    };
    // However little it was: a release that arrives afterwards was sent.
    let last = b.log.last("a run is kept").map_or(last, |kept| kept.max(last));
    if all_came(&b, load) {
        void = void.or(Some("everything had been sent before it could stop"));
    }
    Ok(Stopped { seconds: last.duration_since(said).as_secs_f64(), void })
}

/// Whether the load was over.
fn all_came(receiver: &Running, load: Load) -> bool {
    let (said, reached) = match load {
        Load::Feed(records) => (receiver.log.most("a run is kept", "length"), records),
        Load::File(bytes) => (receiver.log.most("a file is kept", "bytes"), bytes),
    };
    said >= reached
}

fn figure(name: &'static str, load: Load, trials: &[Stopped]) -> Figure {
    let load = match load {
        Load::Feed(records) => format!("{records} released records on their way"),
        Load::File(bytes) => format!("a file of {bytes} bytes on its way"),
    };
    // Removing cuts the connection, and counts what was handed to the line before.
    let goal = if name == "remove" { 1.0 } else { 0.1 };
    let figure = Figure::new(name, "s", trials.iter().map(|t| t.seconds).collect()).goal(Goal::AtMost(goal)).note(
        format!("{load}; from the call at the control socket to the last datagram with load that the sender sent"),
    );
    match trials.iter().find_map(|trial| trial.void) {
        Some(why) => Figure { void: true, ..figure }.note(format!("does not count: {why}")),
        None => figure,
    }
}
