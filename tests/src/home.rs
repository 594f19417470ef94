//! One organisation's home and its node: the verbs of stories, each one or a few commands of the real program.
//!
//! Called by every story. A verb that cannot fail in good order panics with what the program said.

use crate::{
    PATIENCE, ended, entente, recovery_passphrase, run,
    search::{self, Secret},
};
use entente_node::{
    clock::SystemClock,
    config::{Config, Home as Folder},
    node::Node,
    secret::unlock::{Unlock, read_secret_file},
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    error::Error,
    fs::{self, OpenOptions},
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// One organisation's home, unlocked by an identity file, and its node when it runs.
pub struct Home {
    /// The folder of the story.
    folder: PathBuf,
    /// Its short name, and the name of its folder.
    pub handle: &'static str,
    running: Option<Child>,
    /// A command that enters the network of the node, before the node's own.
    enters: Vec<String>,
    traced: bool,
    /// Whether its node ever ran: then there is a log.
    logged: bool,
    /// What its commands said on their standard errors, if it is traced.
    said: Mutex<Vec<u8>>,
}

/// A version of an agreement that both have signed.
pub struct Agreed {
    /// Over all versions.
    pub id: String,
    /// 1, 2, ...
    pub version: u64,
    /// Of this version.
    pub digest: String,
}

/// What a command must leave as it was: counts and feeds of `status`, without sizes, times of day, and what changes as
/// partners come and go.
#[must_use]
pub fn kept(home: &Home) -> Value {
    let mut status = home.json(&["status"]);
    if let Some(map) = status.as_object_mut() {
        map.remove("store_bytes");
        // A running node journals its calls, so appends rise although nothing else does.
        map.remove("appends");
    }
    for partner in status["partners"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        partner.retain(|key, _| !["connected", "last_success", "last_error", "last_error_at"].contains(&key.as_str()));
        let feeds = partner.get_mut("feeds").and_then(Value::as_array_mut);
        feeds.into_iter().flatten().filter_map(Value::as_object_mut).for_each(|feed| drop(feed.remove("differs")));
    }
    status
}

impl Home {
    /// Makes a home on a port that the system chooses.
    #[must_use]
    pub fn init(folder: &Path, handle: &'static str) -> Self {
        Self::reached_at(folder, handle, "127.0.0.1:0", None)
    }

    /// Makes a home that listens on one address and tells partners another.
    #[must_use]
    pub fn reached_at(folder: &Path, handle: &'static str, listen: &str, advertise: Option<&str>) -> Self {
        let home = Self::at(folder, handle);
        let (name, apart) = (handle.to_uppercase(), home.recovery_passphrase());
        let mut args = vec!["init", "--name", &name, "--handle", handle, "--listen", listen];
        args.extend(["--recovery-passphrase-file", &apart]);
        args.extend(advertise.iter().flat_map(|address| ["--advertise", address]));
        home.ok(&args);
        home
    }

    /// The file with the passphrase of its recovery file.
    #[must_use]
    pub fn recovery_passphrase(&self) -> String {
        recovery_passphrase(&self.folder).display().to_string()
    }

    /// From now on the node runs in a network of its own, entered by this command; the other commands need none.
    pub fn enters(&mut self, command: &[String]) {
        self.enters = command.to_vec();
    }

    /// A home that is made otherwise.
    #[must_use]
    pub fn at(folder: &Path, handle: &'static str) -> Self {
        let traced = std::env::var_os("ENTENTE_TEST_TRACE").is_some();
        let said = Mutex::default();
        Self { folder: folder.to_owned(), handle, running: None, enters: Vec::new(), traced, logged: false, said }
    }

    /// A path in the story's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Writes a file into the story's folder and gives its path.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        assert!(fs::write(&path, text).is_ok(), "`{path}` cannot be written");
        path
    }

    /// Runs a command on this home.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Output {
        let (home, key) = (self.path(self.handle), self.path(&format!("{}.key", self.handle)));
        let all: Vec<&str> = ["--home", &home, "--identity-file", &key].iter().chain(args).copied().collect();
        let output = run(&all, &[]);
        if let (true, Ok(mut said)) = (self.traced, self.said.lock()) {
            said.extend(&output.stderr);
        }
        output
    }

    /// Has its node log everything. When the story is over, no secret of the home may stand in its log, nor in what its
    /// commands said on their standard errors.
    pub fn trace(&mut self) {
        self.traced = true;
    }

    /// Runs a command that must succeed.
    ///
    /// # Panics
    /// With what the command said, if it did not.
    pub fn ok(&self, args: &[&str]) {
        let output = self.run(args);
        assert!(output.status.success(), "{}: {args:?}: {}", self.handle, String::from_utf8_lossy(&output.stderr));
    }

    /// Runs a command that must be refused with this exit code and changes nothing; gives the one line of its fault.
    ///
    /// # Panics
    /// If it ends otherwise, or the home is not as it was.
    #[must_use]
    pub fn refused(&self, code: i32, args: &[&str]) -> Value {
        let before = kept(self);
        let all: Vec<&str> = std::iter::once("--json").chain(args.iter().copied()).collect();
        let output = self.run(&all);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{}: {args:?}: {said}", self.handle);
        assert!(output.stdout.is_empty(), "{}: {args:?}: an answer beside the fault", self.handle);
        assert_eq!(kept(self), before, "{}: {args:?}: refused, and yet something changed", self.handle);
        let fault: Value = said.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
        assert!(fault["error"]["message"].is_string(), "{}: {args:?}: {said}", self.handle);
        fault["error"].clone()
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

    /// Starts the node and waits until it answers. Its log goes to a file: see [`Home::log`].
    ///
    /// # Panics
    /// With its log, if it does not come up.
    pub fn start(&mut self) {
        let (home, key) = (self.path(self.handle), self.path(&format!("{}.key", self.handle)));
        let log = OpenOptions::new().create(true).append(true).open(self.path(&format!("{}.log", self.handle)));
        let mut words = self.enters.clone();
        words.push(entente().display().to_string());
        words.extend(["--home", &home, "--identity-file", &key, "run"].map(str::to_owned));
        let child = Command::new(&words[0])
            .args(&words[1..])
            .env_clear()
            .envs((!self.enters.is_empty()).then_some(("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")))
            .envs(self.traced.then_some(("ENTENTE_LOG", "trace")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.map_or_else(|_| Stdio::null(), Stdio::from))
            .spawn();
        self.running = child.ok();
        self.logged = true;
        let begun = Instant::now();
        let socket = PathBuf::from(home).join("control.sock");
        while UnixStream::connect(&socket).is_err() {
            let ended = self.running.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            assert!(!ended && begun.elapsed() < PATIENCE, "`{}` does not come up: {}", self.handle, self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The process, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Child::id)
    }

    /// Waits until the node has ended by itself; its exit code.
    ///
    /// # Errors
    /// If it does not run, or still runs after a minute.
    pub fn ended(&mut self) -> Result<Option<i32>, Box<dyn Error>> {
        let mut child = self.running.take().ok_or("the node does not run")?;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            if let Some(status) = child.try_wait()? {
                return Ok(status.code());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.running = Some(child);
        Err("the node goes on".into())
    }

    /// Kills the node as a power switch would end it: no signal that it could handle.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.running.take() {
            drop(child.kill());
            drop(ended(&mut child));
        }
    }

    /// Stops the node in good order.
    ///
    /// # Panics
    /// If it does not end by itself, and with success.
    pub fn stop(&mut self) {
        self.ok(&["stop"]);
        let ended = self.running.take().and_then(|mut child| ended(&mut child).ok());
        assert!(ended.is_some_and(|status| status.success()), "`{}` ends badly: {}", self.handle, self.log());
    }

    /// What the node has logged since the story began.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.path(&format!("{}.log", self.handle))).unwrap_or_default()
    }

    /// Waits until the log has a line with all of these, after its first `from` bytes.
    ///
    /// # Panics
    /// With what the log says instead.
    pub fn logs(&self, from: usize, says: &[&str]) {
        let begun = Instant::now();
        loop {
            let log = self.log();
            let new = log.get(from..).unwrap_or_default();
            if new.lines().any(|line| says.iter().all(|part| line.contains(part))) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(15), "`{}` does not log {says:?}: {new}", self.handle);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Where the node listens.
    ///
    /// # Panics
    /// If the settings cannot be read.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        match Config::load(&self.folder()) {
            Ok(config) => config.listen,
            Err(error) => panic!("{}: {error}", self.handle),
        }
    }

    /// The home's folder, as the node's library knows it.
    #[must_use]
    pub fn folder(&self) -> Folder {
        Folder::at(self.path(self.handle))
    }

    /// What unlocks it.
    #[must_use]
    pub fn unlock(&self) -> Unlock {
        Unlock::IdentityFile(self.path(&format!("{}.key", self.handle)).into())
    }

    /// Opens the home in this process, as an organisation can that wants to look at everything it holds. Only one
    /// process may have it open.
    ///
    /// # Panics
    /// If it cannot be opened.
    #[must_use]
    pub fn open(&self) -> Arc<Node> {
        match Node::open(self.folder(), &self.unlock(), Arc::new(SystemClock)) {
            Ok(node) => Arc::new(node),
            Err(error) => panic!("{}: {error}", self.handle),
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

    /// Agrees with another organisation on these clauses, signed by file; in force here, and there when it hears of it.
    #[must_use]
    pub fn agree(&self, other: &Self, clauses: &str) -> Agreed {
        self.sign(other, None, clauses)
    }

    /// Replaces an agreement's version by one with these clauses.
    #[must_use]
    pub fn amend(&self, other: &Self, before: &Agreed, clauses: &str) -> Agreed {
        self.sign(other, Some(before), clauses)
    }

    fn sign(&self, other: &Self, before: Option<&Agreed>, clauses: &str) -> Agreed {
        self.sign_text(other, before.map_or(1, |b| b.version + 1), &self.agreement_text(other, before, clauses))
    }

    /// As [`Home::agree`], with the whole text of the agreement given.
    #[must_use]
    pub fn sign_text(&self, other: &Self, version: u64, text: &str) -> Agreed {
        let name = |step: &str| format!("{}-{}-{version}.{step}", self.handle, other.handle);
        let (draft, one, two) = (self.file(&name("toml"), text), self.path(&name("one")), self.path(&name("two")));
        // A story may sign several; no file is written over another.
        for left in [&one, &two] {
            drop(fs::remove_file(left));
        }
        self.ok(&["agreement", "sign", &draft, "-o", &one, "--yes"]);
        other.ok(&["agreement", "sign", &one, "-o", &two, "--yes"]);
        let added = self.json(&["agreement", "add", &two]);
        let text = |key: &str| added[key].as_str().unwrap_or_default().to_owned();
        assert_eq!(added["complete"], true, "the first-named party approved before, so its node signs last");
        Agreed { id: text("id"), version, digest: text("digest") }
    }

    /// The text of an agreement between the two.
    #[must_use]
    pub fn agreement_text(&self, other: &Self, before: Option<&Agreed>, clauses: &str) -> String {
        let follows = before.map_or_else(
            || "version = 1".to_owned(),
            |b| format!("id = \"{}\"\nversion = {}\npredecessor = \"{}\"", b.id, b.version + 1, b.digest),
        );
        agreement_text([self.handle, other.handle], &follows, clauses)
    }

    /// Imports rows in the columns of the sample; every one must be taken.
    ///
    /// # Panics
    /// If one is not.
    pub fn import(&self, name: &str, rows: &str) {
        let report = self.json(&["import", &self.file(name, rows)]);
        assert_eq!(report["bad_rows"], 0, "{report}");
    }

    /// Reviews and releases records by evidence number.
    pub fn pass(&self, numbers: &[&str]) {
        let with = |head: &[&'static str], tail: &[&'static str]| -> Vec<String> {
            head.iter().chain(numbers).chain(tail).map(|s| (*s).to_owned()).collect()
        };
        for args in [with(&["review"], &["--state", "verified"]), with(&["release"], &[])] {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            self.ok(&args);
        }
    }

    /// Reviews and releases whatever is a draft.
    pub fn pass_all(&self) {
        self.ok(&["review", "--all-drafts", "--state", "verified"]);
        self.ok(&["release", "--all-reviewed"]);
    }

    /// One round with a partner that runs.
    pub fn sync(&self, partner: &Self) -> Value {
        self.json(&["sync", partner.handle])[0].clone()
    }

    /// Every record received, as `search` shows it.
    #[must_use]
    pub fn received(&self) -> Vec<Value> {
        let found = self.json(&["search", "--received", "--limit", "100000"]);
        found.as_array().cloned().unwrap_or_default()
    }

    /// Ids of every record received.
    #[must_use]
    pub fn received_ids(&self) -> BTreeSet<String> {
        self.received().iter().filter_map(|r| r["id"].as_str().map(str::to_owned)).collect()
    }

    /// What `status` says of the first feed with a partner.
    #[must_use]
    pub fn feed(&self, partner: &Self) -> Value {
        self.partner(partner)["feeds"][0].clone()
    }

    /// What `status` says of a partner.
    #[must_use]
    pub fn partner(&self, partner: &Self) -> Value {
        let status = self.json(&["status"]);
        let partners = status["partners"].as_array().cloned().unwrap_or_default();
        partners.into_iter().find(|p| p["handle"] == partner.handle).unwrap_or_default()
    }
}

/// The text of an agreement between two; `version` says which one of it, and what it follows.
#[must_use]
pub fn agreement_text(parties: [&str; 2], version: &str, clauses: &str) -> String {
    let party = |handle: &str| format!("[[party]]\nhandle = \"{handle}\"\nname = \"{}\"\n", handle.to_uppercase());
    format!(
        "language = 1\ntitle = \"{}\"\n{version}\nbasis = {{ text = \"letter\" }}\npurposes = [\"tracing\"]\n\
         from = \"2026-01-01\"\nuntil = \"2036-12-31\"\nnotice-days = 0\n{}{clauses}",
        parties.join(" and "),
        parties.map(party).concat(),
    )
}

/// A clause that lets these fields of every item go from `a` to `b`.
#[must_use]
pub fn items_clause(fields: &[&str]) -> String {
    format!(
        "[[clause]]\nname = \"items\"\nfrom = \"a\"\nto = [\"b\"]\nonward = \"never\"\nretention-days = 30\n\
         disclose.item = {fields:?}\n"
    )
}

impl Home {
    /// Names of the secrets of this home that stand in its log or in what its commands said: its identity, its keys, the
    /// passphrase of its recovery file.
    ///
    /// # Errors
    /// If the keys do not open or the log cannot be read: nothing was looked for then.
    pub fn betrayed(&self) -> Result<Vec<String>, Box<dyn Error>> {
        let mut said = self.said.lock().map_err(|_| "a story panicked")?.clone();
        if self.logged {
            said.extend(fs::read(self.path(&format!("{}.log", self.handle)))?);
        }
        // A stand-in for a home that somebody else made says nothing.
        if said.is_empty() {
            return Ok(Vec::new());
        }
        let identity = self.unlock().open(&self.folder().keys())?;
        let mut secrets = search::keys(&self.folder().keys(), &identity)?;
        if secrets.len() < KEYS_MIN {
            return Err(format!("`{}` has {} keys", self.handle, secrets.len()).into());
        }
        let passphrase = read_secret_file(Path::new(&self.recovery_passphrase()))?;
        secrets.push(Secret::bytes("the passphrase of the recovery file", passphrase.expose().as_bytes()));
        Ok(search::Search::new(&secrets).found(&said).into_iter().map(str::to_owned).collect())
    }
}

/// A home has more keys than this from its first day.
const KEYS_MIN: usize = 4;

/// Lines of its log that a home in a failed story shows.
const TOLD_LINES: usize = 40;

impl Drop for Home {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            // What a story that failed leaves of its nodes is gone with its folder.
            let log = self.log();
            let last = log.lines().count().saturating_sub(TOLD_LINES);
            let told: Vec<&str> = log.lines().skip(last).collect();
            eprintln!("the last that `{}` said:\n{}", self.handle, told.join("\n"));
        }
        if self.traced && !std::thread::panicking() {
            match self.betrayed() {
                Ok(betrayed) => assert!(betrayed.is_empty(), "`{}` tells its secrets: {betrayed:?}", self.handle),
                Err(error) => panic!("`{}`: its secrets could not be looked for: {error}", self.handle),
            }
        }
    }
}
