//! `first-sync`: everything released at one node is countersigned by another that has nothing yet.

use super::Group;
use crate::{
    bench::{Bench, per_second},
    input::{self, Format},
    measure::{Against, Figure, Goal, mib},
    process,
};
use anyhow::Result;
use std::{fs, path::Path, process::Command, time::Instant};

/// The group.
pub const GROUP: Group = Group {
    name: "first-sync",
    figures: &["first-sync", "first-sync-memory", "review", "release"],
    about: "everything released at one node is countersigned by an empty one",
    measure,
};

fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let records = bench.sizes.records;
    let amount = records as f64;
    let world = bench.folder("first-sync")?;
    let pair = bench.pair(&world.path().join("made"))?;
    let (file, map, _) = bench.table(world.path(), Format::Csv, records)?;
    pair.a.import(&file, &map, None, records)?;
    let [review, release] = pair.a.pass(true)?;

    let (mut times, mut peaks, mut notes) = (Vec::new(), Vec::new(), String::new());
    for _ in 0..bench.sizes.runs {
        let folder = bench.folder("run")?;
        let pair = pair.copy(folder.path())?;
        let a = pair.a.start()?;
        let busy = process::processor(a.pid())?;
        let begun = Instant::now();
        let b = pair.b.spawn()?;
        times.push(a.countersigned(records)?.duration_since(begun));
        let busy = [process::processor(a.pid())? - busy, process::processor(b.pid())?];
        let peak = [process::memory(a.pid())?.peak, process::memory(b.pid())?.peak];
        peaks.extend(peak.map(mib));
        let bytes = b.log.kept_bytes();
        notes = format!(
            "{records} records, {} bytes a release; from the start of the receiving node's process to the last \
             countersignature at the sender; in the last run {:.1} processor microseconds a record at the sender and \
             {:.1} at the receiver, peaks {:.0} and {:.0} MiB",
            bytes / records,
            1e6 * busy[0] / amount,
            1e6 * busy[1] / amount,
            mib(peak[0]),
            mib(peak[1])
        );
    }
    drop(pair);

    let files = world.path().join("files");
    write_files(&files, records)?;
    // What is still to be written of the files themselves is no part of a copy.
    drop(Command::new("sync").arg("-f").arg(&files).status());
    let plain = bench.rsync(&files, amount, false)?.map(|peer| peer.at_least(2.0));
    let synced = bench.rsync(&files, amount, true)?.map(|peer| peer.at_least(10.0));
    let bytes = process::content_bytes(&files)?;
    let write = bench.repeat(|| crate::limit::synced_write(bench.disk(), bytes))?;
    Ok(vec![
        Figure::new("first-sync", "records/s", per_second(amount, &times))
            .goal(Goal::AtLeast(25_000.0))
            .limit(Against::new("write of as many bytes, then fdatasync", per_second(amount, &write)))
            .peer(plain)
            .peer(synced)
            .note(notes),
        Figure::new("first-sync-memory", "MiB", peaks).note("peak resident memory of both nodes, of every run"),
        Figure::new("review", "records/s", per_second(amount, &[review])).note("`review --all-drafts`, the command"),
        Figure::new("release", "records/s", per_second(amount, &[release]))
            .note("`release --all-reviewed`, the command"),
    ])
}

/// The rows as files of their own, as people keep them without a node. A thousand to a folder.
fn write_files(folder: &Path, count: u64) -> Result<()> {
    for n in 0..count {
        let within = folder.join((n / 1_000).to_string());
        if n.is_multiple_of(1_000) {
            fs::create_dir_all(&within)?;
        }
        let mut text = input::row(n, "").join("\n");
        while text.len() < 1_024 {
            text.push('.');
        }
        fs::write(within.join(n.to_string()), text)?;
    }
    Ok(())
}
