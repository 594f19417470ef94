//! Recovery: for the day on which the passphrase, the identity file or `keyring.age` is lost.
//!
//! The recovery identity opens the second copy of the keyring and every key file, for all of them are sealed to it too.
//! A fresh node identity takes the place of the lost one; organisation, keys and agreements stay what they were, so that
//! partners notice nothing but a newer card. Called by `entente recover` alone, on a node that does not run.
//!
//! The commit point is one exchange of two folders: everything is written and synced beside the keys first, and before
//! the exchange nothing has changed. A crash leaves the old keys or the new ones; what it leaves beside them is swept by
//! the next attempt.

use crate::{
    clock::Clock,
    config::{Config, Home},
    error::Fault,
    identity::{BUNDLES_FILE, Keys},
    journal,
    seal::{
        hybrid::Identity,
        keyring::{KEYRING_FILE, KEYRING_RECOVERY_FILE, Keyring},
    },
    secret::{
        Secret,
        durable::{self, Existing, TEMPORARY},
        keyfile::KeyFile,
        recovery,
        unlock::{NODE_KEY_FILE, Unlock},
    },
    store::open,
};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value as Json, json};
use std::{
    fmt,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where the new keys are put together, beside the old ones.
const STAGING: &str = "keys.recovering";

/// What to recover with, and to what.
pub struct Recover<'a> {
    /// The recovery identity, as `recovery.age` holds it.
    pub recovery: &'a Identity,
    /// What opened it, if it was sealed: nothing that may unlock the home.
    pub passphrase: Option<&'a Secret<String>>,
    /// How the home will be unlocked from now on.
    pub unlock: &'a Unlock,
    /// scrypt work factor; the strong default except in tests.
    pub work_factor: u8,
    /// Only look whether it would work.
    pub dry_run: bool,
}

/// A key file that was opened.
pub(crate) struct Opened {
    /// Its name.
    pub(crate) name: String,
    content: Secret<Vec<u8>>,
}

/// Puts a home under a fresh identity. With `dry_run`, opens everything and writes nothing.
pub fn recover(home: &Home, how: &Recover<'_>, clock: &dyn Clock) -> Result<Json, Fault> {
    let config = Config::load(home).map_err(|e| Fault::setup("config", e))?;
    let keys = home.keys();
    if recovery::recipient(&keys).is_ok_and(|own| own != how.recovery.recipient()) {
        let message = format!("the recovery file is not that of `{}`: each home has its own", home.path().display());
        return Err(Fault::input("recovery", message));
    }
    let copy = keys.join(KEYRING_RECOVERY_FILE);
    let partitions = Keyring::read_copy(&copy, how.recovery).map_err(|e| Fault::setup("recovery", e))?;
    let opened = open_all(&keys, how.recovery)?;
    let mut answer = json!({
        "home": home.path().display().to_string(),
        "partitions": partitions,
        "keys": opened.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(),
        "recovered": false,
    });
    if how.dry_run {
        return Ok(answer);
    }
    let staging = home.path().join(STAGING);
    let staged = stage(&staging, &keys, &opened, how);
    let done = staged.and_then(|node| {
        tell(home, &staging, &node, how, clock)?;
        exchange(&staging, &keys)?;
        Ok(node)
    });
    // The unfinished new keys, or the old ones: either way nobody needs them any more.
    sweep(&staging)?;
    let node = done?;
    settings(home, &config, how.unlock)?;
    // Proves that they fit each other, and makes the card that names the new recipient of bundles.
    let keys = Keys::open(home, &config, &node, clock.now()).map_err(|e| Fault::setup("identity", e))?;
    if let Some(members) = answer.as_object_mut() {
        members.insert("recovered".to_owned(), json!(true));
        members.insert("id".to_owned(), json!(keys.org.to_string()));
        members.insert("card".to_owned(), json!(keys.card.payload().number));
    }
    Ok(answer)
}

fn failed(path: &Path) -> impl Fn(io::Error) -> Fault {
    let path = path.display().to_string();
    move |cause| setup(&format!("`{path}`: {cause}"))
}

fn setup(message: &dyn fmt::Display) -> Fault {
    Fault::setup("recovery", message)
}

/// Files of the folder of keys, by name, without what is unfinished.
fn names(keys: &Path) -> Result<Vec<String>, Fault> {
    let mut names = Vec::new();
    for entry in fs::read_dir(keys).map_err(failed(keys))? {
        let name = entry.map_err(failed(keys))?.file_name().to_string_lossy().into_owned();
        if !name.ends_with(&format!(".{TEMPORARY}")) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Opens every key file with the recovery identity. One that does not open stops all: it would be lost. What bundles are
/// sealed to is not kept: whoever has the old secret could read on, so a new one is drawn, and the card names it.
pub(crate) fn open_all(keys: &Path, recovery: &Identity) -> Result<Vec<Opened>, Fault> {
    let sealed = |name: &String| {
        name.ends_with(".age")
            && ![KEYRING_FILE, KEYRING_RECOVERY_FILE, NODE_KEY_FILE, BUNDLES_FILE].contains(&name.as_str())
    };
    let open = |name: String| {
        let content = KeyFile::read(&keys.join(&name), recovery).map_err(|e| setup(&e))?;
        Ok(Opened { name, content })
    };
    names(keys)?.into_iter().filter(sealed).map(open).collect()
}

/// Writes the whole new folder of keys beside the old one.
pub(crate) fn stage(staging: &Path, keys: &Path, opened: &[Opened], how: &Recover<'_>) -> Result<Identity, Fault> {
    sweep(staging)?;
    DirBuilder::new().mode(0o700).create(staging).map_err(failed(staging))?;
    let chosen = how.unlock.choose().map_err(|e| Fault::setup("unlock", e))?;
    how.passphrase.map_or(Ok(()), |passphrase| chosen.apart_from(passphrase)).map_err(|e| setup(&e))?;
    let node = chosen.create(staging, how.work_factor).map_err(|e| Fault::setup("unlock", e))?;
    Keyring::recover(staging, &keys.join(KEYRING_RECOVERY_FILE), how.recovery, &node).map_err(|e| setup(&e))?;
    let recipients = [&node.recipient(), &how.recovery.recipient()];
    for key in opened {
        KeyFile::write(&staging.join(&key.name), &recipients, key.content.expose(), Existing::Refuse)
            .map_err(|e| setup(&e))?;
    }
    // Certificates, and whatever else is not sealed.
    for name in names(keys)?.into_iter().filter(|name| !name.ends_with(".age")) {
        let bytes = fs::read(keys.join(&name)).map_err(failed(&keys.join(&name)))?;
        durable::write(&staging.join(&name), &bytes, Existing::Refuse).map_err(failed(&staging.join(&name)))?;
    }
    Ok(node)
}

/// The journal tells of it before it counts: a recovery that nobody can see in the journal would be worse than an
/// event of one that a crash cut short.
fn tell(home: &Home, staging: &Path, node: &Identity, how: &Recover<'_>, clock: &dyn Clock) -> Result<(), Fault> {
    let keyring = Keyring::open(staging, node, &how.recovery.recipient()).map_err(|e| setup(&e))?;
    let engine = Config::load(home).map_err(|e| Fault::setup("config", e))?.engine;
    let holdings = open::open(&home.store(), engine, Arc::new(keyring))?;
    let about = [("identity", node.recipient().to_string().chars().take(24).collect())];
    let mut txn = holdings.begin();
    journal::add(&holdings, &mut txn, clock.now(), ("recover", &about), None)?;
    txn.commit()?;
    Ok(())
}

/// The commit point: the two folders change places at one instant.
fn exchange(staging: &Path, keys: &Path) -> Result<(), Fault> {
    durable::sync_folder_of(&staging.join(KEYRING_FILE)).map_err(failed(staging))?;
    renameat_with(CWD, staging, CWD, keys, RenameFlags::EXCHANGE).map_err(|e| failed(keys)(e.into()))?;
    durable::sync_folder_of(keys).map_err(failed(keys))
}

fn sweep(staging: &Path) -> Result<(), Fault> {
    match fs::remove_dir_all(staging) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed(staging)(e)),
        _ => Ok(()),
    }
}

/// Settings that name the lost identity file name the new one, or none.
fn settings(home: &Home, config: &Config, unlock: &Unlock) -> Result<(), Fault> {
    if config.identity_file.as_ref() == identity_file(unlock) {
        return Ok(());
    }
    let path = home.config();
    let text = fs::read_to_string(&path).map_err(failed(&path))?;
    durable::write(&path, unlocked_by(&text, unlock).as_bytes(), Existing::Replace).map_err(failed(&path))
}

const fn identity_file(unlock: &Unlock) -> Option<&PathBuf> {
    match unlock {
        Unlock::IdentityFile(path) => Some(path),
        Unlock::PassphraseFile(_) | Unlock::Prompt => None,
    }
}

/// The text of settings, with the identity file that unlocks the home now, or none.
pub(crate) fn unlocked_by(text: &str, unlock: &Unlock) -> String {
    let named = |line: &&str| line.split_once('=').is_some_and(|(key, _)| key.trim() == "identity-file");
    let mut lines: Vec<String> = text.lines().filter(|line| !named(line)).map(str::to_owned).collect();
    if let Some(new) = identity_file(unlock) {
        // Above everything, for the settings might end in a table one day.
        lines.insert(0, format!("identity-file = {}", toml::Value::from(new.display().to_string())));
    }
    format!("{}\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::ManualClock,
        init::{self, Init},
        node::Node,
        secret::recovery::Passphrase,
        testkit,
    };
    use entente_protocol::time::UnixMillis;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn secret(folder: &Path, name: &str, text: &str) -> Result<PathBuf, io::Error> {
        let path = folder.join(name);
        durable::write(&path, text.as_bytes(), Existing::Refuse)?;
        Ok(path)
    }

    /// Story: the passphrase is lost, and with it `keyring.age`. The recovery file opens the home to another passphrase;
    /// organisation, store and certificate are those of before, the lost passphrase opens nothing, and it is in the journal.
    #[test]
    fn a_lost_passphrase_is_replaced_and_nothing_else_changes() -> Outcome {
        let folder = tempfile::tempdir()?;
        let (lost, safe, new) = (
            secret(folder.path(), "lost", "a passphrase that is lost\n")?,
            secret(folder.path(), "safe", "a passphrase from the safe\n")?,
            secret(folder.path(), "new", "another long passphrase\n")?,
        );
        let home = Home::at(folder.path().join("home"));
        let clock = ManualClock::at(UnixMillis(1_795_305_600_000));
        let (before, safe) = (Unlock::PassphraseFile(lost), Passphrase::File(safe));
        let config = testkit::settings("a");
        init::init(&home, &Init { config, unlock: &before, recovery: &safe, work_factor: 2 }, &clock)?;
        let clock = Arc::new(clock);
        let node = Node::open(home.clone(), &before, clock.clone())?;
        let (org, store, chain) = (node.keys.org, node.holdings.store_id(), node.keys.chain());
        drop(node);
        fs::remove_file(home.keys().join(KEYRING_FILE))?;
        assert!(Node::open(home.clone(), &before, clock.clone()).is_err());

        let passphrase = safe.read(false)?;
        let identity = recovery::open(&home.recovery(), Some(&passphrase))?;
        let unlock = Unlock::PassphraseFile(new);
        let how = Recover {
            recovery: &identity,
            passphrase: Some(&passphrase),
            unlock: &unlock,
            work_factor: 2,
            dry_run: true,
        };
        let files = || names(&home.keys());
        let untouched = files()?;
        let would = recover(&home, &how, &*clock)?;
        assert_eq!((files()?, &would["recovered"], &would["partitions"]), (untouched, &json!(false), &json!(2)));
        assert_eq!(would["keys"].as_array().map(Vec::len), Some(10), "{would}");

        let other = Identity::generate()?;
        let foreign = recover(&home, &Recover { recovery: &other, ..how }, &*clock);
        assert!(foreign.is_err_and(|fault| fault.message.contains("each home has its own")));

        let same = Unlock::PassphraseFile(folder.path().join("safe"));
        let shared = recover(&home, &Recover { unlock: &same, dry_run: false, ..how }, &*clock);
        assert!(shared.is_err_and(|fault| fault.message.contains("a passphrase of its own")));

        let done = recover(&home, &Recover { dry_run: false, ..how }, &*clock)?;
        assert_eq!((&done["recovered"], &done["card"]), (&json!(true), &json!(2)));
        assert!(!home.path().join(STAGING).exists());
        assert!(Node::open(home.clone(), &before, clock.clone()).is_err(), "the lost passphrase opens it");
        let node = Node::open(home.clone(), &unlock, clock.clone())?;
        assert_eq!((node.keys.org, node.holdings.store_id(), node.keys.chain()), (org, store, chain));
        let said = journal::texts(&node.holdings)?;
        assert!(said.iter().any(|event| event.starts_with("recover ")));
        // The recovery file opens what it opened before, once more.
        drop(node);
        recover(&home, &Recover { dry_run: true, ..how }, &*clock)?;
        Ok(())
    }

    /// A crash leaves the old keys or the new ones: what an attempt left half-made is swept, and changes nothing.
    #[test]
    fn what_a_crash_left_is_swept() -> Outcome {
        let folder = tempfile::tempdir()?;
        let home = testkit::init(folder.path(), "a", UnixMillis(1_795_305_600_000))?;
        let clock = ManualClock::at(UnixMillis(1_795_305_600_000));
        let staging = home.path().join(STAGING);
        fs::create_dir(&staging)?;
        fs::write(staging.join(KEYRING_FILE), "half")?;
        drop(testkit::open(folder.path(), "a", Arc::new(ManualClock::at(UnixMillis(1_795_305_600_000))))?);
        let passphrase = testkit::recovery(folder.path(), "a").read(false)?;
        let identity = recovery::open(&home.recovery(), Some(&passphrase))?;
        let new = folder.path().join("new.key");
        let unlock = Unlock::IdentityFile(new.clone());
        let how = Recover {
            recovery: &identity,
            passphrase: Some(&passphrase),
            unlock: &unlock,
            work_factor: 2,
            dry_run: false,
        };
        recover(&home, &how, &clock)?;
        assert!(!staging.exists());
        // The settings name the new file, so the home opens by itself.
        let config = Config::load(&home)?;
        assert_eq!(config.identity_file, Some(new));
        Ok(())
    }
}
