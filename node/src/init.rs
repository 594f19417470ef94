//! Making a home: keys, certificates, card, keyring and an empty store. Nothing half-made stays behind.
//!
//! ```text
//! init.unfinished -> keys, recovery.age, store, bundles.count, organisation.card -> entente.toml
//! ```
//!
//! What a killed attempt leaves is known by the file `init.unfinished`. It comes first, is locked for as long as the
//! attempt runs, and is at the end filled with the settings and given their name: so a home has settings or a mark, never
//! both, and the commit point is that one rename. The next attempt begins anew over what a killed one left. Keys with a
//! whole store and a card are never removed, mark or no mark: a home whose settings were lost would look the same.

use crate::{
    bundle,
    clock::Clock,
    config::{Config, Home, RawConfig},
    error::Fault,
    identity, restore,
    seal::keyring::Keyring,
    secret::{
        Secret, durable,
        recovery::{self, Passphrase},
        unlock::{Chosen, Unlock, UnlockError},
    },
    store::open,
};
use entente_protocol::id::OrgId;
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Seek, Write},
    net::{SocketAddr, UdpSocket},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

/// What a new home is made with.
pub struct Init<'a> {
    /// Settings.
    pub config: RawConfig,
    /// How it will be unlocked.
    pub unlock: &'a Unlock,
    /// What opens its recovery file: another secret.
    pub recovery: &'a Passphrase,
    /// scrypt work factor; the strong default except in tests and the demo.
    pub work_factor: u8,
}

/// What was made.
pub struct Made {
    /// The organisation.
    pub org: OrgId,
    /// The twelve words of its card.
    pub words: String,
}

/// The file that says that a folder is on its way to being a home.
pub(crate) const UNFINISHED: &str = "init.unfinished";
const NOT_YET: &[u8] = b"init has not come to its end: run it again\n";
const CARD: &str = "organisation.card";
/// What an attempt puts into a home, beside its mark, temporary files and the settings, which complete it. In the order
/// in which it is removed: without its card nothing is taken for a home.
const MADE: &[&str] = &[CARD, bundle::mark::NAME, "recovery.age", "store", "keys"];

/// Makes a home. The folder must be absent, empty, or what a killed attempt left; on any fault it is left as it was, or
/// empty.
pub fn init(home: &Home, init: &Init<'_>, clock: &dyn Clock) -> Result<Made, Fault> {
    let mut raw = init.config.clone();
    raw.listen = settled(&raw.listen)?;
    let config = Config::check(raw.clone()).map_err(|e| Fault::input("config", e))?;
    let existed = home.path().exists();
    if existed && !home.path().join(UNFINISHED).exists() {
        // A folder that is refused is not marked.
        left_over(home)?;
    }
    let mut mark = Mark::take(home, UNFINISHED)?;
    // What stands now, nobody else is making.
    let left = left_over(home)?;
    let made = begin(home, &config, &Init { config: raw, ..*init }, &mut mark, &left, clock);
    if made.is_err() {
        clean(home.path(), existed);
    }
    made
}

/// Removes the mark of an attempt from a home, which has settings and so is complete. Whoever opens a home calls this: a
/// mark that stayed would offer the home's keys to the next `init` once the settings are moved away.
pub fn settle(home: &Home) -> Result<(), Fault> {
    for mark in [UNFINISHED, restore::UNFINISHED].map(|name| home.path().join(name)) {
        // Looked for first: on a disk that may not be written even what is absent cannot be removed.
        let removed = match fs::symlink_metadata(&mark) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            _ => fs::remove_file(&mark).and_then(|()| durable::sync_folder_of(&mark)),
        };
        let fault = |e| format!("`{}`: {e}: remove it, the home is complete", mark.display());
        removed.map_err(|e| Fault::setup("home", fault(e)))?;
    }
    Ok(())
}

fn begin(
    home: &Home,
    config: &Config,
    init: &Init<'_>,
    mark: &mut Mark,
    left: &[PathBuf],
    clock: &dyn Clock,
) -> Result<Made, Fault> {
    let chosen = init.unlock.choose().map_err(|e| Fault::setup("unlock", e))?;
    let apart = init.recovery.read(true).map_err(recovery_fault)?;
    chosen.apart_from(&apart).map_err(recovery_fault)?;
    if !left.is_empty() {
        tracing::warn!(home = %home.path().display(), "an earlier attempt did not come to its end: it is begun anew");
        left.iter().for_each(|path| remove(path));
    }
    fill(home, config, init, (&chosen, &apart), mark, clock)
}

/// The mark of an attempt that runs: locked until this is dropped, and by the system until the process ends.
pub(crate) struct Mark {
    file: File,
    path: PathBuf,
}

/// How often, and after how long, a mark that is held is asked for again: a process that begins a child holds its locks
/// until that child has become its program.
const ASKED_AGAIN: u32 = 10;
const ASKED_AFTER: Duration = Duration::from_millis(20);

impl Mark {
    /// Makes the folder and its mark, or takes the one that a killed attempt left.
    pub(crate) fn take(home: &Home, name: &str) -> Result<Self, Fault> {
        let fault = |e: io::Error| Fault::setup("home", format!("`{}`: {e}", home.path().display()));
        DirBuilder::new().recursive(true).mode(0o700).create(home.path()).map_err(fault)?;
        for _ in 0..ASKED_AGAIN {
            if let Some(mark) = Self::try_take(home, name).map_err(fault)? {
                return Ok(mark);
            }
            thread::sleep(ASKED_AFTER);
        }
        let what = name.split('.').next().unwrap_or(name);
        let why =
            format!("another {what} is under way in `{}`: wait for it, or name a new folder", home.path().display());
        Err(Fault::input("home-exists", why))
    }

    /// Nothing where another attempt has it, or ended with it just now.
    fn try_take(home: &Home, name: &str) -> io::Result<Option<Self>> {
        let path = home.path().join(name);
        let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = opened?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            other => other?,
        }
        // The name may have gone from this file between opening and locking: a lock on a file without it says nothing.
        let named = fs::metadata(&path).ok().map(|named| (named.dev(), named.ino()));
        let ours = file.metadata()?;
        if named != Some((ours.dev(), ours.ino())) {
            return Ok(None);
        }
        if ours.len() == 0 {
            write_over(&mut file, NOT_YET)?;
            durable::sync_folder_of(&path)?;
        }
        Ok(Some(Self { file, path }))
    }

    /// Becomes the settings. Before this there is no home, after it there is one.
    pub(crate) fn become_settings(&mut self, config: &Path, settings: &[u8]) -> io::Result<()> {
        if config.exists() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        write_over(&mut self.file, settings)?;
        fs::rename(&self.path, config)?;
        durable::sync_folder_of(config).inspect_err(|_| {
            // A fault is no home: what is then removed is known by the mark again. The error counts, not this.
            let _ = fs::rename(config, &self.path);
        })
    }
}

fn write_over(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Port 0 asks the system for a free port once; it then stays, because the card tells it to partners.
fn settled(listen: &str) -> Result<String, Fault> {
    match listen.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => {
            let free = UdpSocket::bind(address).and_then(|socket| socket.local_addr());
            let free = free.map_err(|e| Fault::input("listen", format!("`{listen}` cannot be listened on: {e}")))?;
            Ok(free.to_string())
        }
        _ => Ok(listen.to_owned()),
    }
}

fn recovery_fault(error: UnlockError) -> Fault {
    Fault::setup("recovery", format!("the recovery file cannot be made: {error}"))
}

/// What a killed attempt left in a folder, but for its mark; nothing where the folder is empty. A home, or anything that
/// no attempt made, is refused.
fn left_over(home: &Home) -> Result<Vec<PathBuf>, Fault> {
    let path = home.path().display();
    let refused = |why: String| Err(Fault::input("home-exists", why));
    let entries = fs::read_dir(home.path()).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.map_err(|e| Fault::setup("home", format!("`{path}`: {e}")))?;
    if home.config().exists() {
        settle(home)?;
        return refused(format!(
            "`{path}` is not empty: it is a home already, see `entente status`; name a new folder with --home"
        ));
    }
    // An attempt that is killed in its last moment leaves this too; it costs that one a look, and the other its keys.
    if home.path().join(CARD).exists() && open::parts(&home.store()).iter().all(|part| part.exists()) {
        return refused(format!(
            "`{path}` holds keys, a whole store and a card, and no `entente.toml`: a home whose settings are missing; \
             put them back. Where it was never used, remove the folder and run init again"
        ));
    }
    let names: Vec<String> = entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let foreign = names.iter().filter(|name| *name != UNFINISHED && !is_made(name));
    let foreign: Vec<String> = foreign.map(|name| format!("`{name}`")).collect();
    match (names.iter().any(|name| name == UNFINISHED), foreign.is_empty()) {
        _ if names.is_empty() => {}
        (true, true) => {}
        (true, false) => {
            let foreign = foreign.join(", ");
            return refused(format!(
                "`{path}` holds what an interrupted init left, and {foreign} beside it: move that away, then run init again"
            ));
        }
        (false, _) => return refused(format!("`{path}` is not empty: name a new folder with --home")),
    }
    Ok(entries.iter().map(fs::DirEntry::path).filter(|path| !path.ends_with(UNFINISHED)).collect())
}

/// Whether an attempt makes something of this name before there are settings.
fn is_made(name: &str) -> bool {
    MADE.contains(&name) || name.ends_with(&format!(".{}", durable::TEMPORARY))
}

fn fill(
    home: &Home,
    config: &Config,
    init: &Init<'_>,
    (chosen, apart): (&Chosen, &Secret<String>),
    mark: &mut Mark,
    clock: &dyn Clock,
) -> Result<Made, Fault> {
    let setup = |e: &dyn std::fmt::Display| Fault::setup("home", format!("`{}`: {e}", home.path().display()));
    let folder = |path: &Path| DirBuilder::new().mode(0o700).create(path).map_err(|e| setup(&e));
    let identity = |e| Fault::setup("identity", e);
    folder(&home.keys())?;
    folder(&home.store())?;
    let node = chosen.create(&home.keys(), init.work_factor).map_err(|e| Fault::setup("unlock", e))?;
    let recovery = recovery::create(&home.recovery(), apart, init.work_factor, &home.keys()).map_err(recovery_fault)?;
    let keyring = Keyring::create(&home.keys(), &node, &recovery).map_err(|e| Fault::setup("keyring", e))?;
    drop(open::create(&home.store(), config.engine, Arc::new(keyring))?);
    // A home without a mark was moved or put back: a new one has made no bundle.
    bundle::mark::write(home, 0)?;
    // The card is last, because with it and a store nothing is removed any more.
    let org = identity::create(home, config, &node, &recovery, clock.now()).map_err(identity)?;
    let words = identity::own_card(home).map_err(identity)?.words().to_string();
    let text = toml::to_string(&init.config).map_err(|e| setup(&e))?;
    mark.become_settings(&home.config(), text.as_bytes()).map_err(|e| setup(&e))?;
    Ok(Made { org, words })
}

/// Removes what a failed attempt made, and nothing else. The mark goes last: whatever ends this, the next attempt knows
/// the rest by it.
fn clean(home: &Path, existed: bool) {
    let entries = fs::read_dir(home).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let temporary: Vec<_> = entries.filter(|name| is_made(&name.to_string_lossy())).collect();
    MADE.iter().for_each(|name| remove(&home.join(name)));
    temporary.iter().for_each(|name| remove(&home.join(name)));
    remove(&home.join(UNFINISHED));
    if !existed {
        // Where anything else came into it, it stays.
        let _ = fs::remove_dir(home);
    }
}

/// Removes a file or folder. What cannot be removed is found by whoever makes it again.
fn remove(path: &Path) {
    let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::ManualClock, testkit};
    use entente_protocol::time::UnixMillis;
    use std::error::Error;

    type Fallible = Result<(), Box<dyn Error>>;

    fn now() -> UnixMillis {
        UnixMillis::from_date("2026-06-01").unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = entries.collect();
        names.sort();
        names
    }

    /// Story: the machine went off after the settings were written and before the mark was gone. Months later somebody
    /// moves the settings away to edit them, and runs `init`: keys and store were taken for what a killed attempt left.
    /// Now no mark outlives the settings, and a whole store beside a card is not removed, whatever mark lies there.
    #[test]
    fn a_mark_that_stayed_costs_no_home_its_keys() -> Fallible {
        let folder = tempfile::tempdir()?;
        let home = testkit::init(folder.path(), "a", now())?;
        let mark = home.path().join(UNFINISHED);
        let whole = [bundle::mark::NAME, "entente.toml", "keys", "organisation.card", "recovery.age", "store"];
        assert_eq!(names(home.path()), whole);
        // Opening a home, and an `init` that is refused, remove it.
        fs::write(&mark, NOT_YET)?;
        drop(testkit::open(folder.path(), "a", Arc::new(ManualClock::at(now())))?);
        assert!(!mark.exists(), "the mark outlives the opening");
        fs::write(&mark, NOT_YET)?;
        let refused = testkit::init(folder.path(), "a", now()).map(drop).unwrap_err();
        assert!(refused.message.contains("it is a home already"), "{refused}");
        assert!(!mark.exists(), "the mark outlives the refusal");
        // And with the settings away nothing is removed.
        let away = folder.path().join("away.toml");
        fs::rename(home.config(), &away)?;
        fs::write(&mark, NOT_YET)?;
        let keys = names(&home.keys());
        let refused = testkit::init(folder.path(), "a", now()).map(drop).unwrap_err();
        assert_eq!((refused.exit_code(), refused.code.as_str()), (2, "home-exists"));
        assert!(refused.message.contains("whose settings are missing; put them back"), "{refused}");
        assert_eq!(names(&home.keys()), keys);
        fs::rename(&away, home.config())?;
        testkit::open(folder.path(), "a", Arc::new(ManualClock::at(now())))?;
        assert_eq!(names(home.path()).into_iter().filter(|name| name == UNFINISHED).count(), 0);
        Ok(())
    }

    /// Story: a script begins `init` twice. The second took what the first was making for the rest of a killed attempt,
    /// and removed it under its hands.
    #[test]
    fn an_attempt_that_runs_is_not_taken_for_a_killed_one() -> Fallible {
        let folder = tempfile::tempdir()?;
        let home = Home::at(folder.path().join("a"));
        let first = Mark::take(&home, UNFINISHED)?;
        fs::create_dir(home.keys())?;
        fs::write(home.keys().join("node.age"), "being made")?;
        let refused = testkit::init(folder.path(), "a", now()).map(drop).unwrap_err();
        assert_eq!((refused.exit_code(), refused.code.as_str()), (2, "home-exists"));
        assert!(refused.message.contains("another init is under way"), "{refused}");
        assert_eq!(fs::read_to_string(home.keys().join("node.age"))?, "being made");
        // Once it has ended, however it did, what it left is begun anew.
        drop(first);
        testkit::init(folder.path(), "a", now())?;
        Ok(())
    }

    /// A fault leaves nothing of its own, and everything of others.
    #[test]
    fn a_failed_attempt_removes_what_it_made_and_nothing_else() -> Fallible {
        struct Meddling(PathBuf, ManualClock);
        impl Clock for Meddling {
            fn now(&self) -> UnixMillis {
                fs::write(self.0.join("letter.odt"), "mine").unwrap();
                fs::write(self.0.join("entente.toml"), "mine").unwrap();
                self.1.now()
            }
        }
        let folder = tempfile::tempdir()?;
        let home = Home::at(folder.path().join("a"));
        let safe = folder.path().join("a.recovery");
        durable::write(&safe, b"six random words for the safe\n", durable::Existing::Refuse)?;
        let unlock = Unlock::IdentityFile(folder.path().join("a.key"));
        let recovery = testkit::recovery(folder.path(), "a");
        let how = Init { config: testkit::settings("a"), unlock: &unlock, recovery: &recovery, work_factor: 2 };
        let clock = Meddling(home.path().to_owned(), ManualClock::at(now()));
        let fault = init(&home, &how, &clock).map(drop).unwrap_err();
        assert_eq!(fault.code, "home", "{fault}");
        assert_eq!(names(home.path()), ["entente.toml", "letter.odt"]);
        assert_eq!(fs::read_to_string(home.config())?, "mine");
        Ok(())
    }
}
