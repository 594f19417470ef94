//! `import`: a table becomes records that are durable, sealed, indexed and attested.

use super::Group;
use crate::{
    bench::{Bench, per_second},
    input::Format,
    limit,
    measure::{Against, Figure, Goal, median, mib},
    node::Home,
};
use anyhow::Result;

/// The group.
pub const GROUP: Group = Group {
    name: "import",
    figures: &["import-csv", "import-jsonl", "import-xml", "import-memory"],
    about: "rows of a table become durable, sealed, indexed, attested drafts",
    measure,
};

fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let rows = bench.sizes.records;
    let mut figures = Vec::new();
    let mut peaks = Vec::new();
    let names = ["import-csv", "import-jsonl", "import-xml"];
    for (name, format) in names.into_iter().zip([Format::Csv, Format::JsonLines, Format::Xml]) {
        let folder = bench.folder("import")?;
        let (file, map, bytes) = bench.table(folder.path(), format, rows)?;
        let runs = bench.repeat(|| {
            let home = bench.folder("home")?;
            Home::init(&bench.program, home.path(), "a", None)?.import(&file, &map, None, rows)
        })?;
        peaks.extend(runs.iter().map(|ran| mib(ran.peak)));
        let times: Vec<_> = runs.iter().map(|ran| ran.time).collect();
        let write = bench.repeat(|| limit::synced_write(bench.disk(), bytes))?;
        let digest = bench.repeat(|| limit::sha256(bytes))?;
        let per = |times| per_second(rows as f64, times);
        figures.push(
            Figure::new(name, "rows/s", per(&times))
                .goal(Goal::AtLeast(30_000.0))
                .limit(Against::new("write of as many bytes, then fdatasync", per(&write)))
                .limit(Against::new("SHA-256 of as many bytes", per(&digest)))
                .note(format!(
                    "{rows} rows, {bytes} bytes; the whole command, from its start to its end; {:.1} processor \
                     microseconds a row",
                    median(&runs.iter().map(|ran| 1e6 * ran.processor / rows as f64).collect::<Vec<_>>())
                )),
        );
    }
    figures.push(
        Figure::new("import-memory", "MiB", peaks)
            .goal(Goal::AtMost(300e6 / f64::from(1 << 20)))
            .note("peak resident memory of the importing command, of every format and run"),
    );
    Ok(figures)
}
