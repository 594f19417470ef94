//! What people wait for before they sign: a simulation over everything that is held, and what differs between two versions.

use super::Group;
use crate::{
    bench::Bench,
    input::Format,
    measure::{Against, Figure, Goal},
};
use anyhow::{Context as _, Result, ensure};
use entente_node::{agreements::Version, call::Call, share::preview::Shown};
use std::time::Instant;

/// The group.
pub const GROUP: Group = Group {
    name: "preview",
    figures: &["simulate", "diff"],
    about: "what would leave under an agreement, of everything that is held",
    measure,
};

/// Everything counts as reviewed and released, so that every record is decided to its end; none is listed.
const SHOWN: Shown = Shown { as_released: true, list: 0 };

fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let records = bench.sizes.records;
    let world = bench.folder("preview")?;
    let pair = bench.pair(world.path())?;
    let (file, map, _) = bench.table(world.path(), Format::Csv, records)?;
    pair.a.import(&file, &map, None, records)?;
    let node = pair.a.start()?;
    let agreements = node.call(&Call::AgreementList)?;
    let id = agreements[0]["id"].as_str().context("an agreement")?.to_owned();
    let version = || Version::Held(id.clone());
    let timed = |call: &Call| {
        let begun = Instant::now();
        let answer = node.call(call)?;
        Ok::<_, anyhow::Error>((begun.elapsed().as_secs_f64(), answer))
    };
    let simulate = bench.repeat(|| {
        let (time, answer) = timed(&Call::AgreementSimulate { version: version(), shown: SHOWN })?;
        ensure!(answer["parties"][0]["leave"].as_u64() == Some(records), "not everything would leave: {answer}");
        Ok(time)
    })?;
    let diff = bench.repeat(|| {
        let (time, answer) = timed(&Call::AgreementDiff { old: version(), new: version(), shown: SHOWN })?;
        ensure!(answer["parties"][0]["changed"].as_u64() == Some(0), "a version differs from itself: {answer}");
        Ok(time)
    })?;
    let empty = bench.repeat(|| Ok(timed(&Call::Identity)?.0))?;
    let about = format!("{records} records, all of which would leave; at a running node through its control socket");
    let limit = || Against::new("a call that looks at no record", empty.clone());
    Ok(vec![
        Figure::new("simulate", "s", simulate).goal(Goal::AtMost(5.0)).limit(limit()).note(about.clone()),
        Figure::new("diff", "s", diff).goal(Goal::AtMost(10.0)).limit(limit()).note(format!("{about}; two versions")),
    ])
}
