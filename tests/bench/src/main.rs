//! The benchmark of whole nodes: the real program in processes of its own, real QUIC, real files with syncs.
//!
//! `README.md` beside this says what each figure means. What limits a figure, and what people use instead, is
//! measured in the same run on the same disk; what is not installed is said to be absent.

mod bench;
mod figures;
mod input;
mod limit;
mod measure;
mod node;
mod parts;
mod process;
mod quic;
mod relay;
mod ssh;

use anyhow::{Context, Result, bail, ensure};
use bench::{Bench, Sizes};
use clap::Parser;
use figures::{GROUPS, Group};
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Instant, SystemTime},
};

const AFTER: &str = "\
Figures come in groups that share what they measure: naming one of a group measures the group and prints what was
named. Without names, all are measured.

What is measured is the program `entente` beside this one, of the same build. Build both, then run:
  cargo build --release -p entente-node -p entente-bench
  cargo run --release -p entente-bench -- import first-sync
A program that is older than the sources is refused: it would be measured in place of what you have changed.

rsync over ssh is measured where `rsync`, `ssh`, `sshd` and `ssh-keygen` are installed. The server is started by this
program, with keys of its own, on 127.0.0.1. As root, sshd wants the folder /run/sshd.

A goal that is missed prints MISSED (with --json: \"ok\": false), and the exit code is 0 all the same; --strict makes it 1.
Goals are for the full sizes, a release build, and two cores that do nothing else.";

#[derive(Debug, Parser)]
#[command(name = "entente-bench", about = "Measures whole nodes, and what limits them", after_help = AFTER, max_term_width = 116)]
struct Options {
    /// Groups or figures, as --list names them [default: all]
    names: Vec<String>,
    /// Print the names, and measure nothing
    #[arg(long)]
    list: bool,
    /// One object a line
    #[arg(long)]
    json: bool,
    /// A table in Markdown, as the README has it
    #[arg(long, conflicts_with = "json")]
    table: bool,
    /// Records of an import; all other sizes shrink with it [default: 100000]
    #[arg(long, value_name = "N", conflicts_with = "scale")]
    records: Option<u64>,
    /// All sizes, as a part of the full ones
    #[arg(long, value_name = "F", default_value_t = 1.0)]
    scale: f64,
    /// Runs of which the median is taken, where one does not hold many measurements
    #[arg(long, value_name = "N", default_value_t = 3)]
    runs: usize,
    /// Folder in which homes and files are made, on the disk that is to be measured [default: the system's]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Measure this program, however old it is
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Exit with 1 where a goal was missed
    #[arg(long)]
    strict: bool,
    /// The other end of the bare QUIC stream: writes its certificate here.
    #[arg(long, value_name = "FILE", hide = true)]
    quic_server: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<ExitCode> {
    if options.list {
        for group in GROUPS {
            println!("{:20} {}", group.name, group.about);
            group.figures.iter().filter(|name| **name != group.name).for_each(|name| println!("  {name}"));
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(certificate) = &options.quic_server {
        quic::serve(certificate)?;
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = choose(&options.names)?;
    ensure!(options.runs > 0 && options.scale > 0.0, "--runs and --scale must be more than 0");
    let program = match &options.program {
        Some(program) => program.canonicalize().with_context(|| format!("`{}`", program.display()))?,
        None => beside()?,
    };
    let scale = options.records.map_or(options.scale, |records| records as f64 / 100_000.0);
    let sizes = Sizes::scaled(scale, options.runs);
    let dir = options.dir.clone().unwrap_or_else(std::env::temp_dir);
    let bench = Bench::new(program, sizes, &dir)?;
    let build = if cfg!(debug_assertions) { "a DEV build" } else { "a release build" };
    let full = if sizes.is_full() { "the full sizes" } else { "reduced sizes" };
    eprintln!("measuring `{}`, {build}, {full}, below `{}`", bench.program.display(), bench.disk().display());
    if cfg!(debug_assertions) || !sizes.is_full() {
        eprintln!("goals are for a release build and the full sizes: hold nothing here against them");
    }
    let mut missed = false;
    if options.table {
        println!("{}", measure::Figure::TABLE);
    }
    for (group, names) in chosen {
        let begun = Instant::now();
        let figures = (group.measure)(&bench).with_context(|| format!("the group `{}`", group.name))?;
        for figure in figures.iter().filter(|figure| names.contains(&figure.name)) {
            missed |= figure.ok() == Some(false);
            match (options.json, options.table) {
                (true, _) => println!("{}", figure.json()),
                (_, true) => println!("{}", figure.row()),
                _ => print!("{}", figure.text()),
            }
        }
        io::stdout().flush()?;
        eprintln!("({}: {:.0} s)", group.name, begun.elapsed().as_secs_f64());
    }
    Ok(ExitCode::from(u8::from(missed && options.strict)))
}

/// The groups to measure, each with the figures to print.
fn choose(names: &[String]) -> Result<Vec<(&'static Group, Vec<&'static str>)>> {
    for name in names {
        let known = GROUPS.iter().any(|group| group.name == name || group.figures.contains(&name.as_str()));
        ensure!(known, "there is no figure `{name}`: --list names them");
    }
    let wanted = |group: &Group, figure: &str| names.is_empty() || names.iter().any(|n| n == group.name || n == figure);
    let chosen = GROUPS
        .iter()
        .map(|group| (group, group.figures.iter().copied().filter(|figure| wanted(group, figure)).collect::<Vec<_>>()));
    Ok(chosen.filter(|(_, figures)| !figures.is_empty()).collect())
}

/// The program beside this one, unless it is older than the sources that it is made of.
fn beside() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let program = own.parent().context("no folder")?.join("entente");
    let how =
        if cfg!(debug_assertions) { "cargo build -p entente-node" } else { "cargo build --release -p entente-node" };
    ensure!(program.exists(), "`{}` is missing: run `{how}` first, or name it with --program", program.display());
    let built = fs::metadata(&program)?.modified()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for sources in ["protocol/src", "policy/src", "node/src"] {
        if let Some(newer) = newer(&root.join(sources), built)? {
            bail!(
                "`{}` is older than `{}`: run `{how}` first, or name the program with --program",
                program.display(),
                newer.display()
            );
        }
    }
    Ok(program)
}

/// A file below a folder that changed after `built`. Where the sources are not at hand, none.
fn newer(folder: &Path, built: SystemTime) -> Result<Option<PathBuf>> {
    if !folder.exists() {
        return Ok(None);
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = if entry.file_type()?.is_dir() {
            newer(&entry.path(), built)?
        } else {
            (entry.metadata()?.modified()? > built).then(|| entry.path())
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}
