//! An evidence package of many records: made by the program, and verified as a library call, from a file that was just read.

use super::Group;
use crate::{
    bench::Bench,
    input::Format,
    limit,
    measure::{Against, Figure, Goal},
};
use anyhow::{Context as _, Result, ensure};
use entente_node::{
    clock::{Clock, SystemClock},
    package::read,
};
use std::{fs, time::Instant};

/// The group.
pub const GROUP: Group = Group {
    name: "package",
    figures: &["package", "package-make"],
    about: "an evidence package of 1,000 records: verified, and made",
    measure,
};

/// Records of the package.
const RECORDS: u64 = 1_000;

fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let records = bench.sizes.records.min(RECORDS);
    let world = bench.folder("package")?;
    let pair = bench.pair(world.path())?;
    let (file, map, _) = bench.table(world.path(), Format::Csv, records)?;
    pair.a.import(&file, &map, None, records)?;
    pair.a.pass(true)?;
    let found = pair.a.json(&["search", "--kind", "item", "--limit", &records.to_string()])?;
    let ids: Vec<String> =
        found.as_array().context("a listing")?.iter().filter_map(|row| Some(row["id"].as_str()?.to_owned())).collect();
    ensure!(ids.len() as u64 == records, "{} records were found", ids.len());
    let path = world.path().join("package.zip");
    let path_text = path.display().to_string();
    let make = [&["package".to_owned(), "--force".to_owned(), "-o".to_owned(), path_text][..], &ids].concat();
    let made = bench.repeat(|| {
        let begun = Instant::now();
        pair.a.json(&make)?;
        Ok(begun.elapsed().as_secs_f64())
    })?;
    let verified = bench.repeat(|| {
        let begun = Instant::now();
        let said = read::verify(&path, &[], SystemClock.now(), &mut |_| ())?;
        let time = begun.elapsed().as_secs_f64();
        let proved = said["records"].as_array().map_or(0, Vec::len) as u64;
        ensure!(said["ok"] == true && proved == records, "{proved} records hold");
        Ok(time)
    })?;
    let bytes = fs::metadata(&path)?.len();
    let hashing = bench.repeat(|| Ok(limit::sha256(bytes)?.as_secs_f64()))?;
    let limit = || Against::new("SHA-256 of as many bytes", hashing.clone());
    let about = format!("{records} records without files, {bytes} bytes; all fields shown, one batch");
    Ok(vec![
        Figure::new("package", "s", verified).goal(Goal::AtMost(1.0)).limit(limit()).note(about.clone()),
        Figure::new("package-make", "s", made)
            .limit(limit())
            .note(format!("{about}; by the command, which opens the node")),
    ])
}
