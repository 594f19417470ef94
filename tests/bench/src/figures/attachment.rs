//! `attachment` and `attachments-small`: files from the store of one node, sealed, into the store of another, sealed.
//!
//! Files are released as originals, under a clause that gives all that an original tells. They are of no known
//! format, so that no copy without metadata is made of them.

use super::Group;
use crate::{
    bench::{Bench, per_second},
    input::{self, Format},
    limit,
    measure::{Against, Figure, Goal, mib},
    node::{Home, Running},
    process, quic, ssh,
};
use anyhow::{Result, ensure};
use entente_node::call::Selection;
use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

/// One large file.
pub const LARGE: Group = Group {
    name: "attachment",
    figures: &["attachment", "attachment-memory"],
    about: "one large file: from its release to its being sealed and durable at the partner",
    measure: large,
};

/// Many small files.
pub const SMALL: Group = Group {
    name: "attachments-small",
    figures: &["attachments-small", "attachments-small-memory"],
    about: "many small files, the same way",
    measure: small,
};

const MEMORY_MIB_MAX: f64 = 100e6 / 1_048_576.0;

/// MB, as figures count them.
fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Makes `count` files and imports a row for each at `home`; they are passed, and not released.
pub fn import_files(bench: &Bench, home: &Home, folder: &Path, count: u64, bytes: u64) -> Result<()> {
    fs::create_dir_all(folder)?;
    let name = |n: u64| format!("file-{n:05}.bin");
    for n in 0..count {
        input::write_blob(&folder.join(name(n)), bytes, n)?;
    }
    let table = home.beside("files.csv");
    input::write_rows(&table, Format::Csv, (0..count).map(|n| input::row(n, &name(n))))?;
    let map = bench.map(&home.beside(""), Format::Csv)?;
    home.import(&table, &map, Some(folder), count)?;
    home.pass(false)?;
    Ok(())
}

/// The numbers of a row's item and of its file.
pub fn with_file(row: u64) -> Selection {
    let number = input::number(row);
    Selection::Ids(vec![format!("{number}/01"), number])
}

/// Waits until a node has so many whole files.
fn files_kept(node: &Running, count: u64) -> Result<Instant> {
    let mut seen = 0;
    node.log.wait("a file is kept", |_| {
        seen += 1;
        seen == count
    })
}

fn memory(name: &'static str, nodes: [&Running; 2]) -> Result<Figure> {
    let peaks = [process::memory(nodes[0].pid())?.peak, process::memory(nodes[1].pid())?.peak].map(mib);
    Ok(Figure::new(name, "MiB", vec![peaks[0].max(peaks[1])]).goal(Goal::AtMost(MEMORY_MIB_MAX)).note(format!(
        "peak resident memory: {:.0} at the sender, {:.0} at the receiver; the larger counts",
        peaks[0], peaks[1]
    )))
}

fn large(bench: &Bench) -> Result<Vec<Figure>> {
    let (bytes, runs) = (bench.sizes.file_bytes, bench.sizes.runs as u64);
    let world = bench.folder("attachment")?;
    let pair = bench.pair(world.path())?;
    // A file for each run: the same one is never fetched twice.
    let files = world.path().join("files");
    import_files(bench, &pair.a, &files, runs, bytes)?;
    for n in 1..runs {
        fs::remove_file(files.join(format!("file-{n:05}.bin")))?;
    }
    let [a, b] = pair.start()?;
    let mut times = Vec::new();
    for n in 0..runs {
        let begun = Instant::now();
        a.release(with_file(n))?;
        times.push(files_kept(&b, n + 1)?.duration_since(begun));
    }
    let memory = memory("attachment-memory", [&a, &b])?;
    drop((a, b));

    let per = |times: &[Duration]| per_second(mb(bytes), times);
    let quic = bench.repeat(|| quic::measure(world.path(), bytes))?;
    let sealing = bench.repeat(|| limit::sealing(bytes))?;
    let write = bench.repeat(|| limit::synced_write(bench.disk(), bytes))?;
    let figure = Figure::new("attachment", "MB/s", per(&times))
        .limit(Against::new("bare QUIC, one stream, the node's settings, two processes", per(&quic)))
        .limit(Against::new("our sealing, an age stream to one hybrid recipient, one core", per(&sealing)))
        .limit(Against::new("write, then fdatasync", per(&write)))
        .of_the_slowest_limit(0.7)
        .peer(bench.rsync(&files, mb(bytes), false)?)
        .peer(bench.rsync(&files, mb(bytes), true)?.map(|peer| peer.at_least(0.75)))
        .peer(
            age(bench, world.path(), &files.join("file-00000.bin"))?
                .map(|times| Against::new("age, file to file", per(&times))),
        )
        .note(format!(
            "an original of {bytes} bytes, imported before; from the release call at the sender to the line of the \
             receiver's log that follows the file's last durable append; both nodes live and idle before"
        ));
    Ok(vec![figure, memory])
}

fn small(bench: &Bench) -> Result<Vec<Figure>> {
    let (count, bytes) = (bench.sizes.files, bench.sizes.small_bytes);
    let world = bench.folder("attachments-small")?;
    let made = bench.pair(&world.path().join("made"))?;
    let files = world.path().join("files");
    import_files(bench, &made.a, &files, count, bytes)?;
    let (mut times, mut peak) = (Vec::new(), None);
    for _ in 0..bench.sizes.runs {
        let folder = bench.folder("run")?;
        let [a, b] = made.copy(folder.path())?.start()?;
        let begun = Instant::now();
        a.release(Selection::AllReviewed)?;
        times.push(files_kept(&b, count)?.duration_since(begun));
        peak = Some(memory("attachments-small-memory", [&a, &b])?);
    }
    let all = mb(count * bytes);
    let write = bench.repeat(|| limit::synced_write(bench.disk(), count * bytes))?;
    let figure = Figure::new("attachments-small", "MB/s", per_second(all, &times))
        .limit(Against::new("write of as many bytes to one file, then fdatasync", per_second(all, &write)))
        .peer(bench.rsync(&files, all, false)?)
        .peer(bench.rsync(&files, all, true)?.map(|peer| peer.at_least(1.0)))
        .note(format!(
            "{count} originals of {bytes} bytes, imported before, released at once; their items come with them"
        ));
    Ok(std::iter::once(figure).chain(peak).collect())
}

/// The age program, sealing a file to an X25519 recipient; nothing is synced.
fn age(bench: &Bench, folder: &Path, file: &Path) -> Result<std::result::Result<Vec<Duration>, String>> {
    let (Some(age), Some(keygen)) = (ssh::program("age"), ssh::program("age-keygen")) else {
        return Ok(Err("age (no `age`)".to_owned()));
    };
    let key = folder.join("age.key");
    ensure!(process::run(Command::new(keygen).arg("-o").arg(&key))?.success, "age-keygen made no key");
    let sealed = folder.join("file.age");
    let times = bench.repeat(|| {
        let ran = process::run(Command::new(&age).args(["-e", "-i"]).arg(&key).arg("-o").arg(&sealed).arg(file))?;
        ensure!(ran.success, "age failed: {}", ran.error);
        fs::remove_file(&sealed)?;
        Ok(ran.time)
    })?;
    Ok(Ok(times))
}
