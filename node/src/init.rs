//! Making a home: keys, certificates, card, keyring and an empty store. Nothing half-made stays behind.

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
    path::Path,
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

/// Makes a home. The folder must be absent or empty; on any fault it is left as it was.
pub fn init(home: &Home, init: &Init<'_>, clock: &dyn Clock) -> Result<Made, Fault> {
    let mut raw = init.config.clone();
    raw.listen = settled(&raw.listen)?;
    let config = Config::check(raw.clone()).map_err(|e| Fault::input("config", e))?;
    let existed = home.path().exists();
    if existed {
        let mut entries = fs::read_dir(home.path()).map_err(|e| Fault::setup("home", e))?;
        if entries.next().is_some() {
            let path = home.path().display();
            return Err(Fault::input("home-exists", format!("`{path}` is not empty: name a new folder with --home")));
        }
    }
    let chosen = init.unlock.choose().map_err(|e| Fault::setup("unlock", e))?;
    let apart = init.recovery.read(true).map_err(recovery_fault)?;
    chosen.apart_from(&apart).map_err(recovery_fault)?;
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

fn fill(
    home: &Home,
    config: &Config,
    init: &Init<'_>,
    (chosen, apart): (&Chosen, &Secret<String>),
    clock: &dyn Clock,
) -> Result<Made, Fault> {
    let setup = |e: &dyn std::fmt::Display| Fault::setup("home", format!("`{}`: {e}", home.path().display()));
    for folder in [home.path().to_owned(), home.keys(), home.store()] {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|e| setup(&e))?;
    }
    let node = chosen.create(&home.keys(), init.work_factor).map_err(|e| Fault::setup("unlock", e))?;
    let recovery = recovery::create(&home.recovery(), apart, init.work_factor, &home.keys()).map_err(recovery_fault)?;
    let org = identity::create(home, config, &node, &recovery, clock.now()).map_err(|e| Fault::setup("identity", e))?;
    let keyring = Keyring::create(&home.keys(), &node, &recovery).map_err(|e| Fault::setup("keyring", e))?;
    drop(open::create(&home.store(), config.engine, Arc::new(keyring))?);
    let text = toml::to_string(&init.config).map_err(|e| setup(&e))?;
    // Last: a home without settings is no home, so a crash before this leaves one that `init` refuses with a reason.
    durable::write(&home.config(), text.as_bytes(), Existing::Refuse).map_err(|e| setup(&e))?;
    let card = identity::own_card(home).map_err(|e| Fault::setup("identity", e))?;
    Ok(Made { org, words: card.words().to_string() })
}

/// Removes what a failed attempt left, and nothing that was there before.
fn clean(home: &Path, existed: bool) {
    if !existed {
        let _ = fs::remove_dir_all(home);
        return;
    }
    for entry in fs::read_dir(home).into_iter().flatten().flatten() {
        let path = entry.path();
        let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
    }
}
