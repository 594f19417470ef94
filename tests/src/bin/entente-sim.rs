//! Runs the simulated world over a range of seeds: `entente-sim --seeds 0..1000 [--threads 2] [--files-one-in 4]
//! [--all [--one-in N]] [--log] [--planted NAME]`.
//!
//! It ends at the first finding, or with `--all` tells every one. The long run calls it part by part, and a finding
//! names the command that replays it. `--one-in 11` tries those worlds alone in which time runs out, and so on. It touches nothing outside its own memory but a temporary folder.

use entente_tests::sim::{Plan, Planted, Stats, cast::Cast, run, run_all};
use std::{env, ops::Range, process::ExitCode, thread, time::Instant};

fn range(text: &str) -> Option<Range<u64>> {
    let (from, to) = text.split_once("..")?;
    Some(from.parse().ok()?..to.parse().ok()?)
}

fn options() -> Result<(Plan, Range<u64>, usize, Option<u64>), String> {
    let (mut plan, mut seeds, mut all, mut one_in) = (Plan::default(), 0..1_000, false, 1);
    let mut threads = thread::available_parallelism().map_or(1, usize::from);
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("`{arg}` needs a value"));
        match arg.as_str() {
            "--seeds" => seeds = value().and_then(|v| range(&v).ok_or_else(|| format!("`{v}` is not FROM..TO")))?,
            "--threads" => threads = value()?.parse().map_err(|e| format!("--threads: {e}"))?,
            "--steps" => plan.steps = value()?.parse().map_err(|e| format!("--steps: {e}"))?,
            "--files-one-in" => {
                plan.files_one_in = value()?.parse().map_err(|e| format!("--files-one-in: {e}"))?;
            }
            "--log" => plan.log = true,
            "--all" => all = true,
            "--one-in" => one_in = value()?.parse().map_err(|e| format!("--one-in: {e}"))?,
            "--planted" => {
                let name = value()?;
                let found = Planted::ALL.iter().find(|(known, _)| *known == name).map(|(_, planted)| *planted);
                plan.planted = Some(found.ok_or_else(|| format!("`{name}` is nothing to plant"))?);
            }
            other => {
                return Err(format!("`{other}` is no option"));
            }
        }
    }
    if one_in != 1 && !all {
        return Err("`--one-in` goes with `--all`".to_owned());
    }
    Ok((plan, seeds, threads, all.then_some(one_in)))
}

/// Every finding of a range, of the last of each `one_in` seeds, on one thread.
fn every(plan: &Plan, seeds: Range<u64>, one_in: u64) -> ExitCode {
    let Ok(cast) = Cast::new() else { return ExitCode::FAILURE };
    let (mut findings, mut sum) = (0, Stats::default());
    for seed in seeds.filter(|seed| seed % one_in.max(1) == one_in.saturating_sub(1)) {
        match run(&cast, plan, seed) {
            Ok(stats) => sum.add(&stats),
            Err(finding) => {
                findings += 1;
                println!("{finding}");
            }
        }
    }
    println!("{findings} findings; without them {sum}");
    if findings == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn main() -> ExitCode {
    let (plan, seeds, threads, all) = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("entente-sim: {error}");
            return ExitCode::from(2);
        }
    };
    let begun = Instant::now();
    if let Some(one_in) = all {
        return every(&plan, seeds, one_in);
    }
    match run_all(&plan, seeds.clone(), threads) {
        Ok(stats) => {
            println!("simulation, {}..{}: {stats}, {} s", seeds.start, seeds.end, begun.elapsed().as_secs());
            ExitCode::SUCCESS
        }
        Err(finding) => {
            finding.log.iter().for_each(|line| println!("{line}"));
            println!("{finding}");
            ExitCode::FAILURE
        }
    }
}
