//! `commit-to-partner`: one release, from the call to its being durable at a partner that is connected.

use super::Group;
use crate::{
    bench::Bench,
    input::{self, Format},
    limit,
    measure::{Against, Figure, Goal, ms, p99},
};
use anyhow::Result;
use entente_node::call::Selection;
use std::time::Instant;

/// The group.
pub const GROUP: Group = Group {
    name: "commit-to-partner",
    figures: &["commit-to-partner", "commit-to-partner-p99"],
    about: "one release, from the call to its being durable at a connected partner",
    measure,
};

/// Durable appends on the way, one after another: the release here, the run here, the run there.
const APPENDS: f64 = 3.0;

fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let commits = bench.sizes.commits;
    let world = bench.folder("commit")?;
    let pair = bench.pair(world.path())?;
    let (file, map, _) = bench.table(world.path(), Format::Csv, commits)?;
    pair.a.import(&file, &map, None, commits)?;
    pair.a.pass(false)?;
    let [a, b] = pair.start()?;
    let mut times = Vec::new();
    for n in 0..commits {
        let begun = Instant::now();
        a.release(Selection::Ids(vec![input::number(n)]))?;
        times.push(ms(b.kept(n + 1)?.duration_since(begun)));
        // Idle again: the countersignature is back before the next one begins.
        a.countersigned(n + 1)?;
    }
    let appends: Vec<f64> = limit::appends(bench.disk(), commits)?.into_iter().map(|t| APPENDS * ms(t)).collect();
    let about = format!(
        "{commits} releases, one after another, both nodes live and idle; from the call at the control socket to the \
         line of the partner's log that follows its durable append"
    );
    let name = "three appends of 1 KB with fdatasync";
    let slow = (p99(&times), p99(&appends));
    Ok(vec![
        Figure::new("commit-to-partner", "ms", times)
            .goal(Goal::AtMost(3.0))
            .limit(Against::new(name, appends))
            .note(about),
        Figure::new("commit-to-partner-p99", "ms", vec![slow.0])
            .goal(Goal::AtMost(10.0))
            .limit(Against::new(format!("{name}, p99 of one"), vec![slow.1]))
            .note("99 of 100 of the same releases took no longer"),
    ])
}
