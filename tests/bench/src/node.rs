//! Homes and nodes under measurement: the real program in processes of its own, killed when they are dropped.
//!
//! The figures call this. What a node did and when is read from its log, line by line as it comes, so that
//! nothing is polled while it works.

use crate::{input, process};
use anyhow::{Context, Result, bail, ensure};
use entente_node::{
    call::{Call, Selection},
    config,
    control::client,
};
use serde_json::Value as Json;
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, Write as _},
    os::unix::{fs::OpenOptionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long anything may take before a figure is given up.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// One organisation's home. It is unlocked by an identity file, so that no passphrase is stretched in a figure.
#[derive(Debug, Clone)]
pub struct Home {
    program: PathBuf,
    folder: PathBuf,
    handle: String,
}

impl Home {
    /// Makes a home in a folder, on a port that the system chooses.
    pub fn init(program: &Path, folder: &Path, handle: &str, advertise: Option<&str>) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let home = Self { program: program.to_owned(), folder: folder.to_owned(), handle: handle.to_owned() };
        let mut args = vec!["init", "--name", handle, "--handle", handle, "--listen", "127.0.0.1:0"];
        let apart = home.beside("recovery-passphrase");
        if !apart.exists() {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&apart)?;
            file.write_all(b"six random words for the safe\n")?;
        }
        let apart = apart.display().to_string();
        args.extend(["--recovery-passphrase-file", &apart]);
        if let Some(address) = advertise {
            args.extend(["--advertise", address]);
        }
        home.ok(&args)?;
        Ok(home)
    }

    /// The same home in a copy of its folder.
    pub fn in_folder(&self, folder: &Path) -> Self {
        Self { folder: folder.to_owned(), ..self.clone() }
    }

    /// The home's own folder.
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.handle)
    }
    /// The file that unlocks it.
    pub fn key(&self) -> PathBuf {
        self.folder.join(format!("{}.key", self.handle))
    }
    /// A path beside the home.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
    /// Where the node listens.
    pub fn listens(&self) -> Result<String> {
        let settings: toml::Table = fs::read_to_string(self.path().join("entente.toml"))?.parse()?;
        let listen = settings.get("listen").and_then(toml::Value::as_str).context("no `listen` in the settings")?;
        Ok(listen.to_owned())
    }

    /// A command on this home.
    pub fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--home").arg(self.path()).arg("--identity-file").arg(self.key());
        command.args(args).env_clear().stdin(Stdio::null());
        command
    }

    /// Runs a command that must succeed.
    pub fn ok<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<process::Ran> {
        let ran = process::run(&mut self.command(args))?;
        let what: Vec<_> = args.iter().map(|a| a.as_ref().to_string_lossy()).collect();
        ensure!(ran.success, "{}: `{}`: {}", self.handle, what.join(" "), ran.error);
        Ok(ran)
    }

    /// Runs a command that must succeed, and reads its JSON.
    pub fn json<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Json> {
        let all: Vec<&OsStr> = std::iter::once(OsStr::new("--json")).chain(args.iter().map(AsRef::as_ref)).collect();
        Ok(serde_json::from_slice(&self.ok(&all)?.output)?)
    }

    /// Imports a file; every row must be taken.
    pub fn import(&self, file: &Path, map: &Path, attachments: Option<&Path>, rows: u64) -> Result<process::Ran> {
        let mut args: Vec<&OsStr> =
            vec!["--json".as_ref(), "import".as_ref(), file.as_ref(), "--map".as_ref(), map.as_ref()];
        if let Some(folder) = attachments {
            args.extend([OsStr::new("--attachments"), folder.as_ref()]);
        }
        let ran = self.ok(&args)?;
        let report: Json = serde_json::from_slice(&ran.output)?;
        let files = report["files"].as_u64().unwrap_or_default();
        let added = report["added"].as_u64().unwrap_or_default();
        ensure!(
            report["rows"].as_u64() == Some(rows) && added == rows + files && report["missing"] == Json::Array(vec![]),
            "the import left something out: {report}"
        );
        Ok(ran)
    }

    /// Passes every draft, and releases it where asked.
    pub fn pass(&self, release: bool) -> Result<[Duration; 2]> {
        let review = self.ok(&["review", "--all-drafts", "--state", "reviewed"])?.time;
        let release = if release { self.ok(&["release", "--all-reviewed"])?.time } else { Duration::ZERO };
        Ok([review, release])
    }

    /// Starts the node and waits until it answers.
    pub fn start(&self) -> Result<Running> {
        let running = self.spawn()?;
        running.ready()?;
        Ok(running)
    }

    /// Starts the node and does not wait.
    pub fn spawn(&self) -> Result<Running> {
        let mut command = self.command(&["--log", "info,entente_node=debug", "run"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let errors = child.stderr.take().context("no standard error")?;
        let log = Arc::new(Log::default());
        let seen = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                seen.take(line);
            }
            seen.end();
        });
        Ok(Running { home: self.clone(), child, log })
    }

    /// Bytes that the store takes on the disk: blocks, not lengths.
    pub fn store_bytes(&self) -> Result<u64> {
        process::disk_bytes(&self.path().join("store"))
    }
}

/// A node that runs. It is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    home: Home,
    child: Child,
    /// What it said so far.
    pub log: Arc<Log>,
}

impl Running {
    /// Waits until the control socket answers.
    fn ready(&self) -> Result<()> {
        let begun = Instant::now();
        let socket = self.home.path().join(config::Home::SOCKET);
        self.log.wait("serving", |_| true)?;
        while UnixStream::connect(&socket).is_err() {
            ensure!(begun.elapsed() < Duration::from_secs(60), "`{}` does not answer", self.home.handle);
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it through its control socket.
    pub fn call(&self, call: &Call) -> Result<Json> {
        let stream = client::connect(&config::Home::at(self.home.path()))?.context("the node does not run")?;
        client::call(stream, call, &mut |_| {}).map_err(|fault| anyhow::anyhow!("{}: {fault}", self.home.handle))
    }

    /// Releases everything that was passed.
    pub fn release(&self, records: Selection) -> Result<Json> {
        let outcome = self.call(&Call::Release(records))?;
        ensure!(outcome["refused"] == Json::Array(vec![]), "a release was refused: {outcome}");
        Ok(outcome)
    }

    /// Waits until it says that it keeps a feed up to this length; when it said so.
    pub fn kept(&self, length: u64) -> Result<Instant> {
        self.log.wait("a run is kept", |line| field(line, "length").is_some_and(|l| l >= length))
    }
    /// Waits until its partner has countersigned a feed up to this length.
    pub fn countersigned(&self, length: u64) -> Result<Instant> {
        self.log.wait("a run is countersigned", |line| field(line, "length").is_some_and(|l| l >= length))
    }

    /// Stops it as an operator would, and waits for its end.
    pub fn stop(mut self) -> Result<()> {
        self.ready()?;
        self.call(&Call::Stop)?;
        let begun = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(begun.elapsed() < Duration::from_secs(60), "`{}` does not stop", self.home.handle);
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The lines that a node wrote, each with the time at which it was read.
#[derive(Debug, Default)]
pub struct Log {
    /// The lock covers lines and end.
    lines: Mutex<(Vec<(Instant, String)>, bool)>,
    more: Condvar,
}

impl Log {
    fn take(&self, line: String) {
        let at = Instant::now();
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).0.push((at, line));
        self.more.notify_all();
    }
    fn end(&self) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.more.notify_all();
    }

    /// Waits for the first line with this message that `wanted` takes; when it was read.
    pub fn wait(&self, message: &str, wanted: impl FnMut(&str) -> bool) -> Result<Instant> {
        self.wait_for(PATIENCE, message, wanted)
    }

    /// The same, for so long.
    pub fn wait_for(&self, patience: Duration, message: &str, mut wanted: impl FnMut(&str) -> bool) -> Result<Instant> {
        let until = Instant::now() + patience;
        let mut next = 0;
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            while let Some((at, line)) = lines.0.get(next) {
                if line.contains(message) && wanted(line) {
                    return Ok(*at);
                }
                // What went wrong would otherwise be waited for until patience ends.
                ensure!(!line.contains(" ERROR "), "a node says: {line}");
                next += 1;
            }
            let last = || lines.0.last().map_or("nothing", |(_, line)| line.as_str());
            if lines.1 {
                bail!("the node ended before it said `{message}`; it said last: {}", last());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("the node did not say `{message}` in {patience:?}; it said last: {}", last());
            }
            lines = self.more.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// When the last line with this message was read.
    pub fn last(&self, message: &str) -> Option<Instant> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.0.iter().rev().find(|(_, line)| line.contains(message)).map(|(at, _)| *at)
    }

    /// The largest number of this name in lines with this message so far; 0 where there is none.
    pub fn most(&self, message: &str, name: &str) -> u64 {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let said = lines.0.iter().filter(|(_, line)| line.contains(message));
        said.filter_map(|(_, line)| field(line, name)).max().unwrap_or(0)
    }

    /// Bytes of the releases that came, each run counted once: after a reconnection one may come again.
    pub fn kept_bytes(&self) -> u64 {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = lines.0.iter().filter(|(_, line)| line.contains("a run is kept"));
        let by_length: BTreeMap<_, _> =
            runs.filter_map(|(_, line)| Some((field(line, "length")?, field(line, "bytes")?))).collect();
        by_length.values().sum()
    }
}

/// A number in a line of the log: `length=12`.
fn field(line: &str, name: &str) -> Option<u64> {
    let mut words = line.split_whitespace().filter_map(|word| word.split_once('='));
    words.find(|(key, _)| *key == name).and_then(|(_, value)| value.parse().ok())
}

/// Two homes that know each other and have the benchmark's agreement in force: `a` sends, `b` receives.
#[derive(Debug)]
pub struct Pair {
    /// The sender.
    pub a: Home,
    /// The receiver.
    pub b: Home,
}

/// Adds one organisation as a partner at another.
pub fn introduce(here: &Home, there: &Home) -> Result<()> {
    let card = there.beside(&format!("{}.card", there.handle));
    if !card.exists() {
        there.ok(&["identity".as_ref(), "card".as_ref(), "-o".as_ref(), card.as_os_str()])?;
    }
    let words = there.json(&["identity", "show"])?;
    let words = words["words"].as_str().context("no words")?.to_owned();
    here.ok(&["partner".as_ref(), "add".as_ref(), card.as_os_str(), "--confirm".as_ref(), words.as_ref()])?;
    Ok(())
}

impl Pair {
    /// Makes the two homes. `through` names addresses for partners in place of the ports that they listen on.
    pub fn make(program: &Path, folder: &Path, through: Option<[&str; 2]>) -> Result<Self> {
        let a = Home::init(program, folder, "a", through.map(|t| t[0]))?;
        let b = Home::init(program, folder, "b", through.map(|t| t[1]))?;
        for (here, there) in [(&a, &b), (&b, &a)] {
            introduce(here, there)?;
        }
        let (text, one, two) = (a.beside("agreement.toml"), a.beside("one"), a.beside("two"));
        fs::write(&text, input::AGREEMENT)?;
        let sign = |home: &Home, file: &Path, output: &Path| {
            let args: [&OsStr; 6] = [
                "agreement".as_ref(),
                "sign".as_ref(),
                file.as_ref(),
                "-o".as_ref(),
                output.as_ref(),
                "--yes".as_ref(),
            ];
            home.ok(&args)
        };
        sign(&a, &text, &one)?;
        sign(&b, &one, &two)?;
        a.ok(&["agreement".as_ref(), "add".as_ref(), two.as_os_str()])?;
        Ok(Self { a, b })
    }

    /// Both homes in a copy of their folder, as they stand now; no node may run on them.
    pub fn copy(&self, folder: &Path) -> Result<Self> {
        process::copy_tree(&self.a.folder, folder)?;
        Ok(Self { a: self.a.in_folder(folder), b: self.b.in_folder(folder) })
    }

    /// Starts both and waits until they have compared what each holds.
    pub fn start(&self) -> Result<[Running; 2]> {
        let (a, b) = (self.a.start()?, self.b.start()?);
        b.log.wait("heads were compared", |_| true)?;
        a.log.wait("heads were compared", |_| true)?;
        Ok([a, b])
    }
}
