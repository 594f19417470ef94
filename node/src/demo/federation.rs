//! Four organisations, each a child process of this program with a home of its own.
//!
//! The demo speaks to them as commands do, through their control sockets. Children are ended by id
//! when the federation is dropped, and before that at a signal (`children`).

use super::children::Children;
use crate::{
    call::{Call, Progress},
    clock::SystemClock,
    config::{Home, RawConfig},
    control::client,
    error::Fault,
    init::{self, Init},
    secret::{self, recovery::Passphrase, unlock::Unlock},
};
use serde_json::Value as Json;
use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// scrypt work factor of the demo's homes: its passphrase is random and long.
const WORK_FACTOR: u8 = 14;
/// How long a node may take to come up, and a step to be done.
const PATIENCE: Duration = Duration::from_secs(120);

/// One organisation of the demo.
pub struct Member {
    /// Its short name.
    pub handle: &'static str,
    /// Its home.
    pub home: Home,
    /// Its place among the children, once it was started.
    child: Option<usize>,
}

/// All of them.
pub struct Federation {
    folder: PathBuf,
    children: Children,
    /// The members.
    pub members: Vec<Member>,
}

pub(super) fn failed(what: &str, error: impl std::fmt::Display) -> Fault {
    Fault::setup("demo", format!("{what}: {error}"))
}

impl Federation {
    /// Makes homes, keys and a passphrase below a folder, and starts the nodes.
    pub fn start(folder: &Path, names: &[(&'static str, &str)], children: Children) -> Result<Self, Fault> {
        fs::create_dir_all(folder).map_err(|e| failed("the demo's folder cannot be made", e))?;
        let (passphrase, apart) = (folder.join("passphrase"), folder.join("recovery-passphrase"));
        write_passphrase(&passphrase)?;
        write_passphrase(&apart)?;
        let (unlock, recovery) = (Unlock::PassphraseFile(passphrase), Passphrase::File(apart));
        let mut federation = Self { folder: folder.to_owned(), children, members: Vec::new() };
        for (handle, name) in names {
            let home = Home::at(folder.join(handle));
            let mut config = RawConfig::new(*name, *handle, "127.0.0.1:0");
            (config.log_interval, config.named_witness) = (Some(1), Some(true));
            let how = Init { config, unlock: &unlock, recovery: &recovery, work_factor: WORK_FACTOR };
            init::init(&home, &how, &SystemClock)?;
            federation.members.push(Member { handle, home, child: None });
        }
        for place in 0..federation.members.len() {
            federation.spawn(place)?;
        }
        Ok(federation)
    }

    fn spawn(&mut self, place: usize) -> Result<(), Fault> {
        let folder = self.folder.clone();
        let Some(member) = self.members.get_mut(place) else { return Ok(()) };
        let program = std::env::current_exe().map_err(|e| failed("this program cannot be found", e))?;
        let log = fs::File::create(folder.join(format!("{}.log", member.handle)))
            .map_err(|e| failed("a log cannot be written", e))?;
        let mut command = Command::new(program);
        command
            .arg("--home")
            .arg(member.home.path())
            .arg("run")
            .env("ENTENTE_PASSPHRASE_FILE", folder.join("passphrase"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = self.children.start(&mut command)?;
        member.child = Some(child);
        let started = Instant::now();
        loop {
            if client::connect(&member.home)?.is_some() {
                return Ok(());
            }
            if let Some(status) = self.children.ended(child) {
                let log = folder.join(format!("{}.log", member.handle));
                let log = fs::read_to_string(log).unwrap_or_default();
                return Err(failed("a node ended at once", format!("{status}: {log}")));
            }
            if started.elapsed() > PATIENCE {
                return Err(failed("a node did not come up", member.handle));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// A member by handle.
    pub fn member(&self, handle: &str) -> Result<&Member, Fault> {
        self.members.iter().find(|m| m.handle == handle).ok_or_else(|| failed("no such member", handle))
    }

    /// Asks a member's node.
    pub fn ask(&self, handle: &str, call: &Call) -> Result<Json, Fault> {
        self.ask_showing(handle, call, &mut |_| {})
    }

    /// Asks a member's node and is told how far it is.
    pub fn ask_showing(&self, handle: &str, call: &Call, progress: &mut dyn FnMut(Progress)) -> Result<Json, Fault> {
        let member = self.member(handle)?;
        let stream = client::connect(&member.home)?;
        let stream = stream.ok_or_else(|| failed("a node is not running", handle))?;
        client::call(stream, call, progress)
    }

    /// Asks again and again until the answer satisfies; the last answer where patience ends.
    pub fn until(&self, handle: &str, call: &Call, enough: impl Fn(&Json) -> bool) -> Result<(bool, Json), Fault> {
        let started = Instant::now();
        loop {
            let answer = self.ask(handle, call)?;
            if enough(&answer) {
                return Ok((true, answer));
            }
            if started.elapsed() > PATIENCE {
                return Ok((false, answer));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the demo is asked to end, or until a node has ended.
    pub fn wait(&self) {
        let started = self.members.iter().filter_map(|member| member.child);
        while !self.children.is_stopped() && !started.clone().any(|child| self.children.ended(child).is_some()) {
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Federation {
    fn drop(&mut self) {
        for member in &mut self.members {
            if let Ok(Some(stream)) = client::connect(&member.home) {
                let _ = client::call(stream, &Call::Stop, &mut |_| {});
            }
            let Some(child) = member.child.take() else { continue };
            let started = Instant::now();
            while self.children.ended(child).is_none() {
                if started.elapsed() > Duration::from_secs(10) {
                    self.children.kill(child);
                    break;
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

fn write_passphrase(path: &Path) -> Result<(), Fault> {
    let random = secret::random::<20>().map_err(|e| failed("no randomness", e))?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| failed("the passphrase file cannot be written", format!("`{}`: {e}", path.display())))?;
    writeln!(file, "{}", hex::encode(random)).map_err(|e| failed("the passphrase file cannot be written", e))
}
