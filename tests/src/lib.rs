//! The harness of the system tests: the program under test, and worlds of nodes made with it.
//!
//! Nothing here stands in for a part: tests drive the real program over real sockets and real files.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

/// The program under test, beside the test's own executable.
///
/// # Panics
/// With what to do, if it was not built: `cargo build -p entente-node` makes it, and the gate does so first.
#[must_use]
pub fn entente() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    let folder = test.ancestors().nth(2).map(PathBuf::from).unwrap_or_default();
    let program = folder.join("entente");
    assert!(program.exists(), "`{}` is missing: run `cargo build -p entente-node` first", program.display());
    program
}

/// Runs the program with an empty environment but for what it needs.
///
/// # Panics
/// If it cannot be started.
#[must_use]
pub fn run(args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(entente());
    command.args(args).env_clear().envs(environment.iter().copied());
    match command.output() {
        Ok(output) => output,
        Err(error) => panic!("the program cannot be started: {error}"),
    }
}
