//! The harness of the system tests: the program under test, and worlds of nodes made with it.
//!
//! Nothing here stands in for a part: tests drive the real program over real sockets and real files.

pub mod sim;

use serde_json::Value;
use std::{
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
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

/// One organisation's home, unlocked by an identity file, and its node when it runs.
pub struct Home {
    /// The folder of the story.
    folder: PathBuf,
    /// Its short name, and the name of its folder.
    pub handle: &'static str,
    running: Option<Child>,
}

impl Home {
    /// Makes a home on a port that the system chooses.
    #[must_use]
    pub fn init(folder: &Path, handle: &'static str) -> Self {
        let home = Self { folder: folder.to_owned(), handle, running: None };
        home.ok(&["init", "--name", &handle.to_uppercase(), "--handle", handle, "--listen", "127.0.0.1:0"]);
        home
    }

    /// A path in the story's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Runs a command on this home.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Output {
        let (home, key) = (self.path(self.handle), self.path(&format!("{}.key", self.handle)));
        let all: Vec<&str> = ["--home", &home, "--identity-file", &key].iter().chain(args).copied().collect();
        run(&all, &[])
    }

    /// Runs a command that must succeed.
    ///
    /// # Panics
    /// With what the command said, if it did not.
    pub fn ok(&self, args: &[&str]) {
        let output = self.run(args);
        assert!(output.status.success(), "{}: {args:?}: {}", self.handle, String::from_utf8_lossy(&output.stderr));
    }

    /// Runs a command that must succeed, and reads its JSON.
    ///
    /// # Panics
    /// With what the command said, if it did not.
    #[must_use]
    pub fn json(&self, args: &[&str]) -> Value {
        let all: Vec<&str> = std::iter::once("--json").chain(args.iter().copied()).collect();
        let output = self.run(&all);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {args:?}: {said}", self.handle);
        match serde_json::from_slice(&output.stdout) {
            Ok(json) => json,
            Err(error) => panic!("{}: {args:?}: {error}: {said}", self.handle),
        }
    }

    /// Starts the node and waits until it answers.
    ///
    /// # Panics
    /// If it does not come up within a minute.
    pub fn start(&mut self) {
        let (home, key) = (self.path(self.handle), self.path(&format!("{}.key", self.handle)));
        let child = Command::new(entente())
            .args(["--home", &home, "--identity-file", &key, "run"])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.running = child.ok();
        let begun = Instant::now();
        let socket = PathBuf::from(home).join("control.sock");
        while UnixStream::connect(&socket).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(60), "`{}` does not come up", self.handle);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills the node as a power switch would end it: no signal that it could handle.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.running.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Introduces two organisations to each other, as two people do who read the words aloud.
    pub fn pair(&self, other: &Self) {
        for (here, there) in [(self, other), (other, self)] {
            let card = there.path(&format!("{}.card", there.handle));
            if !Path::new(&card).exists() {
                there.ok(&["identity", "card", "-o", &card]);
            }
            let words = there.json(&["identity", "show"])["words"].as_str().unwrap_or_default().to_owned();
            here.ok(&["partner", "add", &card, "--confirm", &words]);
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.kill();
    }
}
