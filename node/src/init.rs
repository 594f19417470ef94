//! Making a home: keys, certificates, card, keyring and an empty store. Nothing half-made stays behind.
//!
//! What a killed attempt leaves is known by the file `init.unfinished`, which comes first and goes last. The next
//! attempt begins anew over it: no such folder was ever a home, so nothing in it opens anything that anybody holds.

use crate::{
    clock::Clock,
    config::{Config, Home, RawConfig},
    error::Fault,
    identity,
    seal::keyring::Keyring,
    secret::{
        Secret,
        durable::{self, Existing},
        recovery::{self, Passphrase},
        unlock::{Chosen, Unlock, UnlockError},
    },
    store::open,
};
use entente_protocol::id::OrgId;
use std::{
    fs::{self, DirBuilder},
    net::{SocketAddr, UdpSocket},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
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
const UNFINISHED: &str = "init.unfinished";
/// What an attempt puts into a home, beside temporary files and the settings, which complete it.
const MADE: &[&str] = &[UNFINISHED, "keys", "store", "recovery.age", "organisation.card"];

/// Makes a home. The folder must be absent, empty, or what a killed attempt left; on any fault it is left as it was, or
/// empty.
pub fn init(home: &Home, init: &Init<'_>, clock: &dyn Clock) -> Result<Made, Fault> {
    let mut raw = init.config.clone();
    raw.listen = settled(&raw.listen)?;
    let config = Config::check(raw.clone()).map_err(|e| Fault::input("config", e))?;
    let existed = home.path().exists();
    let left = if existed { left_over(home)? } else { Vec::new() };
    let chosen = init.unlock.choose().map_err(|e| Fault::setup("unlock", e))?;
    let apart = init.recovery.read(true).map_err(recovery_fault)?;
    chosen.apart_from(&apart).map_err(recovery_fault)?;
    if !left.is_empty() {
        tracing::warn!(home = %home.path().display(), "an earlier attempt did not come to its end: it is begun anew");
        // The mark goes last: whatever ends this, the next attempt knows the rest by it.
        left.iter().for_each(|path| remove(path));
        remove(&home.path().join(UNFINISHED));
    }
    let made = fill(home, &config, &Init { config: raw, ..*init }, (&chosen, &apart), clock);
    if made.is_err() {
        clean(home.path(), existed);
    }
    made
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
        // Complete, whatever came between the settings and the mark.
        let _ = fs::remove_file(home.path().join(UNFINISHED));
        return refused(format!(
            "`{path}` is not empty: it is a home already, see `entente status`; name a new folder with --home"
        ));
    }
    let name = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let ours = |name: &String| MADE.contains(&name.as_str()) || name.ends_with(&format!(".{}", durable::TEMPORARY));
    let names: Vec<String> = entries.iter().map(name).collect();
    let foreign: Vec<String> = names.iter().filter(|name| !ours(name)).map(|name| format!("`{name}`")).collect();
    match (names.iter().any(|name| name.starts_with(UNFINISHED)), foreign.is_empty()) {
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

fn fill(
    home: &Home,
    config: &Config,
    init: &Init<'_>,
    (chosen, apart): (&Chosen, &Secret<String>),
    clock: &dyn Clock,
) -> Result<Made, Fault> {
    let setup = |e: &dyn std::fmt::Display| Fault::setup("home", format!("`{}`: {e}", home.path().display()));
    let folder = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| setup(&e));
    folder(home.path())?;
    let mark = home.path().join(UNFINISHED);
    durable::write(&mark, b"init has not come to its end: run it again\n", Existing::Refuse).map_err(|e| setup(&e))?;
    folder(&home.keys())?;
    folder(&home.store())?;
    let node = chosen.create(&home.keys(), init.work_factor).map_err(|e| Fault::setup("unlock", e))?;
    let recovery = recovery::create(&home.recovery(), apart, init.work_factor, &home.keys()).map_err(recovery_fault)?;
    let org = identity::create(home, config, &node, &recovery, clock.now()).map_err(|e| Fault::setup("identity", e))?;
    let keyring = Keyring::create(&home.keys(), &node, &recovery).map_err(|e| Fault::setup("keyring", e))?;
    drop(open::create(&home.store(), config.engine, Arc::new(keyring))?);
    let text = toml::to_string(&init.config).map_err(|e| setup(&e))?;
    // A home without settings is no home: with them it is complete, and the mark says nothing any more.
    durable::write(&home.config(), text.as_bytes(), Existing::Refuse).map_err(|e| setup(&e))?;
    let _ = fs::remove_file(&mark);
    let card = identity::own_card(home).map_err(|e| Fault::setup("identity", e))?;
    Ok(Made { org, words: card.words().to_string() })
}

/// Removes what a failed attempt left, and nothing that was there before.
fn clean(home: &Path, existed: bool) {
    if !existed {
        let _ = fs::remove_dir_all(home);
        return;
    }
    for entry in fs::read_dir(home).into_iter().flatten().flatten().filter(|entry| entry.file_name() != UNFINISHED) {
        remove(&entry.path());
    }
    remove(&home.join(UNFINISHED));
}

/// Removes a file or folder. What cannot be removed is found by whoever makes it again.
fn remove(path: &Path) {
    let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}
