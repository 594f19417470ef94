//! What the files of a home say by themselves: no key is used, and no home is too damaged for it.

use super::Findings;
use crate::{
    config::{Config, Home},
    error::Blame,
    identity,
    seal::keyring::{KEYRING_FILE, KEYRING_RECOVERY_FILE},
    secret::{recovery, unlock::NODE_KEY_FILE},
    status::folder_bytes,
    store::open as store,
};
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

/// Key files without which a home does nothing.
const KEYS: [&str; 6] = ["records.age", "agreements.age", "runs.age", "user.age", "tls.age", KEYRING_FILE];
/// Key files that may be kept elsewhere, and what is not done without them.
const ELSEWHERE: [(&str, &str); 2] =
    [("issuing.age", "the node's certificate is not renewed"), ("root.age", "no newer card is made")];
/// What every age file begins with.
const SEALED: &[u8] = b"age-encryption.org/v1";

/// Looks at the files. Of a home that is `open` what unlocked it is there, wherever that is.
pub fn files(home: &Home, open: bool, findings: &mut Findings) {
    let config = match Config::load(home) {
        Ok(config) => {
            findings.ok("settings", format!("`{}` reads", home.config().display()));
            Some(config)
        }
        Err(error) => {
            findings.trouble("settings", Blame::Setup, error, "Mend or put back `entente.toml`.");
            None
        }
    };
    keys(home, findings, open || config.as_ref().is_some_and(|config| config.identity_file.is_some()));
    match identity::own_card(home) {
        Ok(card) => findings.ok("card", format!("number {}", card.payload().number)),
        Err(error) => findings.trouble("card", Blame::Setup, error, "Put `organisation.card` back from a backup."),
    }
    let missing: Vec<String> = store::parts(&home.store())
        .iter()
        .filter(|part| !part.exists())
        .map(|part| part.display().to_string())
        .collect();
    if !missing.is_empty() {
        let says = format!("`{}` is missing", missing.join("`, `"));
        findings.trouble("store", Blame::Store, says, "Copy what is left aside, then restore a backup.");
    }
    if home.recovery().exists() {
        let says = "`recovery.age` still lies in the home: whoever takes the machine takes it too";
        findings.warn("recovery file", Blame::Setup, says, "Move `recovery.age` off this machine, into a safe.");
    } else {
        findings.ok("recovery file", "it is kept elsewhere");
    }
    disk(home, findings, config.as_ref().map_or(256 << 20, |config| config.free_bytes_min));
}

fn keys(home: &Home, findings: &mut Findings, unlocked: bool) {
    let folder = home.keys();
    let mut faults = 0;
    let mut trouble = |findings: &mut Findings, says: String, what: &str| {
        faults += 1;
        findings.trouble("keys", Blame::Setup, says, what);
    };
    let put_back = "Put the file back from a backup; with `keyring.recovery.age` in place, `entente recover` makes the keyring anew.";
    let names: Vec<&str> = KEYS.iter().copied().chain([KEYRING_RECOVERY_FILE]).collect();
    let node = (!unlocked && !folder.join(NODE_KEY_FILE).exists()).then_some(NODE_KEY_FILE);
    for name in names.into_iter().filter(|name| !folder.join(name).exists()).chain(node) {
        trouble(findings, format!("`keys/{name}` is missing"), put_back);
    }
    if let Err(error) = recovery::recipient(&folder) {
        trouble(findings, error.to_string(), "Put `keys/recovery.recipient` back from a backup.");
    }
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if !name.ends_with(".age") {
            continue;
        }
        let mode = entry.metadata().map_or(0, |found| found.permissions().mode());
        if mode & 0o077 != 0 {
            trouble(
                findings,
                format!("`keys/{name}` can be read by others"),
                "Run `chmod 600` on it, and `chmod 700` on `keys`.",
            );
        }
        if !is_sealed(&path) {
            trouble(findings, format!("`keys/{name}` is not sealed, or damaged"), put_back);
        }
    }
    for (name, without) in ELSEWHERE {
        if !folder.join(name).exists() {
            let says = format!("`keys/{name}` is not here: {without}");
            findings.warn(
                "keys",
                Blame::Setup,
                says,
                "Bring it when it is needed, if you keep it elsewhere on purpose.",
            );
        }
    }
    if faults == 0 {
        findings.ok("keys", "there, sealed, and for their owner alone");
    }
}

fn is_sealed(path: &Path) -> bool {
    crate::regular::bytes(path, crate::secret::keyfile::KEY_FILE_BYTES_MAX).is_ok_and(|bytes| bytes.starts_with(SEALED))
}

/// Free space, against what the store has grown to.
fn disk(home: &Home, findings: &mut Findings, min: u64) {
    let Ok(seen) = rustix::fs::statvfs(home.path()) else {
        findings.warn("disk", Blame::Store, "it does not say how full it is", "Look at the disk.");
        return;
    };
    let free = seen.f_bavail.saturating_mul(seen.f_frsize);
    let store = folder_bytes(&home.store());
    let says = format!("{} MiB are free, and the store has {} MiB", free >> 20, store >> 20);
    if free < min {
        findings.trouble("disk", Blame::Setup, says, "Make room: nothing more is taken from partners.");
    } else if free < (min * 4).max(store / 4) {
        findings.warn("disk", Blame::Setup, says, "Make room before the store has grown by a quarter.");
    } else {
        findings.ok("disk", says);
    }
}
