//! Fuzzing: `entente-fuzz [TARGET...] [--seconds 10] [--seed 1] [--jobs 2] [--folder DIR]`, or `--list`.
//!
//! Runs every target, or the named ones, each in a process of its own, and ends with success if none found anything.
//! An input that shows something is left in the folder; `--once TARGET --case FILE` judges it again. The gate runs it
//! shortly and `tests/long.sh fuzz` for long; `README.md` beside it says what it can and cannot find.

mod chance;
mod fleet;
mod mutate;
mod run;
mod targets;
mod tree;

use entente_protocol::time::UnixMillis;
use run::{Order, Target};
use std::{
    env,
    path::PathBuf,
    process::ExitCode,
    thread,
    time::{Duration, SystemTime},
};

struct Options {
    plan: fleet::Plan,
    targets: Vec<&'static Target>,
    work: Option<&'static Target>,
    once: Option<&'static Target>,
    case: PathBuf,
    list: bool,
}

fn named(name: &str) -> Result<&'static Target, String> {
    let all = targets::ALL.iter().chain(targets::PLANTED);
    all.into_iter().find(|target| target.name == name).ok_or_else(|| format!("`{name}` is no target: see --list"))
}

fn options() -> Result<Options, String> {
    let beside = env::current_exe().ok().and_then(|program| Some(program.parent()?.join("fuzz")));
    let jobs = thread::available_parallelism().map_or(1, usize::from);
    let mut options = Options {
        plan: fleet::Plan { seconds: 10, seed: 1, jobs, folder: beside.unwrap_or_else(|| PathBuf::from("fuzz")) },
        targets: Vec::new(),
        work: None,
        once: None,
        case: PathBuf::new(),
        list: false,
    };
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("`{arg}` needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|error| format!("`{text}`: {error}"));
        match arg.as_str() {
            "--seconds" => options.plan.seconds = value().and_then(number)?,
            "--seed" => options.plan.seed = value().and_then(number)?,
            "--jobs" => options.plan.jobs = value()?.parse().map_err(|error| format!("--jobs: {error}"))?,
            "--folder" => options.plan.folder = value()?.into(),
            "--work" => options.work = Some(named(&value()?)?),
            "--once" => options.once = Some(named(&value()?)?),
            "--case" => options.case = value()?.into(),
            "--list" => options.list = true,
            option if option.starts_with('-') => return Err(format!("`{option}` is no option")),
            name => options.targets.push(named(name)?),
        }
    }
    if options.targets.is_empty() {
        options.targets.extend(targets::ALL);
    }
    Ok(options)
}

fn today() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or_default()).date()
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("entente-fuzz: {error}");
            return ExitCode::from(2);
        }
    };
    if let Some(target) = options.work {
        let time = Duration::from_secs(options.plan.seconds);
        run::work(target, &Order { time, seed: options.plan.seed, case: &options.case });
    }
    if let Some(target) = options.once {
        run::once(target, &options.case);
    }
    if options.list {
        targets::ALL.iter().for_each(|target| println!("{:<16} {}", target.name, target.about));
        return ExitCode::SUCCESS;
    }
    let (count, plan) = (options.targets.len(), &options.plan);
    println!("{count} targets, {} s each, seed {}", plan.seconds, plan.seed);
    match fleet::run(&options.targets, plan) {
        Ok(sum) => {
            let found = if sum.findings.is_empty() { "nothing".to_owned() } else { sum.findings.join("; ") };
            let minutes = count as u64 * plan.seconds / 60;
            // A row for the list in README.md.
            println!("| {} | {count} targets | {minutes} min | {} | {} | {found} |", today(), plan.seed, sum.cases);
            if sum.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("entente-fuzz: {error}");
            ExitCode::from(2)
        }
    }
}
