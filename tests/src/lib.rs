//! The harness of the system tests: the program under test, and worlds of nodes made with it.
//!
//! [`World`] makes a folder and its homes; [`Home`] has the verbs of a story; [`Wire`] is a partner that does on the
//! wire what a story wants; [`load`] is many partners and strangers at once; [`relay`] is a bad line between
//! two homes; [`terminal`] is one that a person sits at; [`search`] looks for what must not be there, and [`listing`] for
//! what every answer must have. [`sim`] and [`unseen`] are worlds made from seeds, in one process. Beside these nothing
//! here stands in for a part: tests drive the real program over real sockets and real files.

pub mod durability;
mod home;
pub mod listing;
pub mod load;
mod processes;
mod random;
pub mod relay;
pub mod search;
mod seeds;
pub mod sim;
pub mod terminal;
pub mod unseen;
mod wire;
mod world;

pub use home::{Agreed, Home, agreement_text, items_clause, kept};
pub use processes::{ended, output, said_by};
pub use wire::{Wire, Wired};
pub use world::{Chance, Row, World};

use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

/// How long a story waits for something that must come.
pub const PATIENCE: Duration = Duration::from_secs(60);

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
    match output(&mut command) {
        Ok(output) => output,
        Err(error) => panic!("the program cannot be started: {error}"),
    }
}

/// A file in a story's folder with the passphrase of the recovery files of its homes.
#[must_use]
pub fn recovery_passphrase(folder: &Path) -> PathBuf {
    secret_file(folder, "recovery-passphrase", "six random words for the safe\n")
}

/// A file in a story's folder with a person's passphrase.
#[must_use]
pub fn persons_passphrase(folder: &Path, name: &str) -> String {
    secret_file(folder, &format!("{name}.phrase"), &format!("the words of {name} alone\n")).display().to_string()
}

/// A file that nobody else reads, made where it is not there.
fn secret_file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    if let Ok(mut file) = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        drop(file.write_all(text.as_bytes()));
    }
    path
}

/// Waits until something holds that other processes bring about, and says how long it took.
///
/// # Panics
/// With `what`, if it does not hold within [`PATIENCE`].
pub fn until(what: &str, holds: impl FnMut() -> bool) -> Duration {
    within(PATIENCE, what, holds)
}

/// As [`until`], for what takes longer.
///
/// # Panics
/// With `what`, if it does not hold within `patience`.
pub fn within(patience: Duration, what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < patience, "this did not come about: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    begun.elapsed()
}
