//! The processes of several targets, a few at a time, and what comes of them.
//!
//! `main` calls it. It judges nothing itself: a process that ends badly has left its input in a file.

use crate::run::{FOUND, Target};
use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// What all targets are run with.
pub struct Plan {
    /// Seconds for each.
    pub seconds: u64,
    /// Where chance begins.
    pub seed: u64,
    /// How many at a time.
    pub jobs: usize,
    /// Where inputs are left that show something.
    pub folder: PathBuf,
}

/// What came of all.
#[derive(Default)]
pub struct Sum {
    /// Inputs judged.
    pub cases: u64,
    /// One line for each target that found something.
    pub findings: Vec<String>,
}

/// Runs the targets and prints a line for each.
pub fn run(targets: &[&Target], plan: &Plan) -> std::io::Result<Sum> {
    fs::create_dir_all(&plan.folder)?;
    let program = std::env::current_exe()?;
    let (next, sum) = (AtomicUsize::new(0), Mutex::new(Sum::default()));
    thread::scope(|scope| {
        for _ in 0..plan.jobs.clamp(1, targets.len().max(1)) {
            scope.spawn(|| {
                while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let case = plan.folder.join(format!("{}-{}.case", target.name, plan.seed));
                    let told = Command::new(&program)
                        .args(["--work", target.name, "--seconds", &plan.seconds.to_string()])
                        .args(["--seed", &plan.seed.to_string()])
                        .arg("--case")
                        .arg(&case)
                        .env_remove("RUST_BACKTRACE")
                        .output()
                        .map_or_else(|error| Err(error.to_string()), |output| heard(&output));
                    let Ok(mut sum) = sum.lock() else { return };
                    tell(target, plan, &case, told, &mut sum);
                }
            });
        }
    });
    Ok(sum.into_inner().unwrap_or_default())
}

/// What a process did, or what it found.
fn heard(output: &Output) -> Result<(u64, String), String> {
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said.lines().last().unwrap_or_default();
    match output.status.code() {
        Some(0) => {
            let mut numbers = line.split(' ');
            let cases = numbers.next().and_then(|n| n.parse().ok()).unwrap_or(0);
            let (kept, outcomes) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
            Ok((cases, format!("{cases} inputs, {kept} kept for {outcomes} outcomes")))
        }
        Some(FOUND) => Err(line.trim_start_matches("found: ").to_owned()),
        _ => {
            let errors = String::from_utf8_lossy(&output.stderr);
            let signal = output.status.signal().map_or_else(String::new, |signal| format!("signal {signal}, "));
            let why: String = errors.lines().collect::<Vec<_>>().join(" ").chars().take(300).collect();
            Err(format!("the process ended: {signal}{why}"))
        }
    }
}

fn tell(target: &Target, plan: &Plan, case: &Path, told: Result<(u64, String), String>, sum: &mut Sum) {
    match told {
        Ok((cases, line)) => {
            println!("{}: {line}", target.name);
            drop(fs::remove_file(case));
            sum.cases += cases;
        }
        Err(why) => {
            println!("{}: FOUND: {why}", target.name);
            println!("    again: entente-fuzz --once {} --case {}", target.name, case.display());
            println!("    or:    entente-fuzz {} --seconds {} --seed {}", target.name, plan.seconds, plan.seed);
            sum.findings.push(format!("{}: {why}", target.name));
        }
    }
}
