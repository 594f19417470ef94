//! Putting a backup back: into an empty folder, with the recovery identity, and only once all of it was found whole.
//!
//! ```text
//! restore.unfinished -> keys, store, card, red lines -> mark of the restore -> entente.toml
//! ```
//!
//! Everything is read twice: first to see that each archive is as it was written and follows the one before, which
//! changes nothing; then to write it. As with `init`, a home has settings or a mark, never both, and the commit point is
//! the rename that makes the one of the other. A killed attempt is begun anew by the next. The home gets a fresh identity,
//! as after `recover`. `bundles.count` is left out, so that no bundle is made before its receiver was asked.

pub mod mark;
#[cfg(test)]
mod tests;

use crate::{
    backup::{
        BackupError,
        archive::Kind,
        made::{self, Made},
        manifest::{self, Archive, Manifest},
        verify::{self, Inside},
    },
    call::{OnProgress, Progress},
    clock::Clock,
    config::{Config, Home, RawConfig},
    error::{Fault, unquoted},
    identity::known,
    init::Mark,
    journal,
    records::stored::encode,
    recover::{self, Recover},
    regular,
    seal::{
        hybrid::Identity,
        keyring::{KEYRING_RECOVERY_FILE, Keyring, Partition},
    },
    secret::{
        durable::{self, Existing},
        keyfile::KEY_FILE_BYTES_MAX,
        recovery,
    },
    store::{copy::Incoming, layout::Table, open},
};
use entente_protocol::id::{AgreementId, Hash};
use mark::Restored;
use serde_json::{Value as Json, json};
use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

/// The file that says that a folder is on its way to being a restored home.
pub const UNFINISHED: &str = "restore.unfinished";
/// Where the key files of the backup lie until they are under the new identity.
const OLD_KEYS: &str = "keys.restored";

/// What is put back, and how.
pub struct Restore<'a> {
    /// The folder of backups.
    pub folder: &'a Path,
    /// Which archive; the newest where absent.
    pub number: Option<u32>,
    /// The recovery form of the keyring; the one beside the archives where absent.
    pub keyring: Option<&'a Path>,
    /// What opens it, and how the home will be unlocked.
    pub how: Recover<'a>,
}

/// What was found whole.
struct Found {
    manifest: Manifest,
    chain: Vec<Archive>,
    last: Inside,
    /// Files of the home in the newest archive.
    files: BTreeMap<PathBuf, Vec<u8>>,
    keyring: PathBuf,
    opens: Vec<AgreementId>,
    config: Config,
    settings: String,
}

/// Puts a backup back. With `dry_run`, looks whether it can be, and writes nothing. The caller has the store checked.
pub fn restore(home: &Home, what: &Restore<'_>, clock: &dyn Clock, progress: OnProgress<'_>) -> Result<Json, Fault> {
    empty(home)?;
    let found = find(what, progress)?;
    let last = found.chain.last().ok_or_else(|| BackupError::None(what.folder.to_owned()))?;
    let mut answer = json!({
        "home": home.path().display().to_string(),
        "backup": last.number,
        "taken": last.at.to_string(),
        "organisation": found.manifest.organisation,
        "opens": found.opens.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "restored": false,
    });
    if what.how.dry_run {
        return Ok(answer);
    }
    let mut mark = Mark::take(home, UNFINISHED)?;
    sweep(home)?;
    let built = build(home, what, &found, last, clock, progress);
    let done = built.and_then(|()| {
        let text = recover::unlocked_by(&found.settings, what.how.unlock);
        mark.become_settings(&home.config(), text.as_bytes()).map_err(failed(&home.config()))
    });
    if let Err(fault) = done {
        // The fault counts, not what cannot be removed: the mark says what it is, and the next attempt begins anew.
        let _ = sweep(home);
        let _ = fs::remove_file(home.path().join(UNFINISHED));
        return Err(fault);
    }
    if let Some(members) = answer.as_object_mut() {
        members.insert("restored".to_owned(), json!(true));
    }
    Ok(answer)
}

fn failed(path: &Path) -> impl Fn(io::Error) -> Fault {
    let path = path.display().to_string();
    move |cause| Fault::setup("restore", format!("`{path}`: {cause}; nothing was restored"))
}

fn setup(error: impl std::fmt::Display) -> Fault {
    Fault::setup("restore", format!("{error}; nothing was restored"))
}

/// A folder that is absent, empty, or what a killed restore left.
fn empty(home: &Home) -> Result<(), Fault> {
    let path = home.path().display();
    let refused = |why: &str| Err(Fault::input("home-exists", format!("`{path}` {why}")));
    let entries = match fs::read_dir(home.path()) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect::<Vec<_>>(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed(home.path())(e)),
    };
    if home.exists() {
        return refused("is a home already: a backup is put back into an empty folder only; name another with --home");
    }
    if !entries.is_empty() && !entries.iter().any(|name| name == UNFINISHED) {
        return refused("is not empty: name a new folder with --home");
    }
    Ok(())
}

/// Removes everything but the mark: a folder that has it was empty when it was begun.
fn sweep(home: &Home) -> Result<(), Fault> {
    for entry in fs::read_dir(home.path()).map_err(failed(home.path()))? {
        let path = entry.map_err(failed(home.path()))?.path();
        if path.ends_with(UNFINISHED) {
            continue;
        }
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(failed(&path))?;
    }
    Ok(())
}

/// Reads all that is needed, to its last byte. Nothing is written.
fn find(what: &Restore<'_>, progress: OnProgress<'_>) -> Result<Found, Fault> {
    let recovery = what.how.recovery;
    let manifest = Manifest::expect(what.folder)?;
    let Some(chain) = manifest.chain(what.number) else {
        let numbers: Vec<String> = manifest.archives.iter().map(|one| one.number.to_string()).collect();
        let message = format!("there is no such archive with a full one before it: there are {}", numbers.join(", "));
        return Err(Fault::input("backup", message));
    };
    let chain = chain.to_vec();
    let mut steps = Steps::new(progress, chain.iter().map(|one| one.bytes).sum(), 3);
    let (mut before, mut last, mut files) = (None, None, BTreeMap::new());
    for archive in &chain {
        manifest::intact(what.folder, archive, &mut |bytes| steps.more(bytes))?;
        files.clear();
        let inside = verify::inside(what.folder, &manifest, archive, before, recovery, &mut |piece, reader| {
            if piece.kind == Kind::File {
                let path = relative(&piece.key).ok_or_else(|| reader.damaged())?;
                files.insert(path, reader.value()?);
            }
            Ok(())
        })?;
        steps.more(archive.bytes);
        before = Some(archive.sha256.as_str());
        last = Some(inside);
    }
    let last = last.ok_or_else(|| BackupError::None(what.folder.to_owned()))?;
    let beside = || manifest.archives.last().map(|last| manifest::keyring_of(what.folder, last));
    let keyring = what.keyring.map(Path::to_owned).or_else(beside);
    let keyring = keyring.unwrap_or_else(|| what.folder.join(manifest::KEYRING));
    let opens = opens(&keyring, recovery, (&manifest, &last))?;
    let name = PathBuf::from("entente.toml");
    let damaged = || BackupError::Damaged(what.folder.to_owned());
    let settings = files.remove(&name).and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(damaged)?;
    let raw: RawConfig = toml::from_str(&settings).map_err(|e| setup(unquoted(&settings, &e)))?;
    let config = Config::check(raw).map_err(setup)?;
    Ok(Found { manifest, chain, last, files, keyring, opens, config, settings })
}

/// A path below the home, of a file that a backup takes.
fn relative(key: &[u8]) -> Option<PathBuf> {
    let path = PathBuf::from(std::str::from_utf8(key).ok()?);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    (plain && path.components().next().is_some()).then_some(path)
}

/// The agreements that the keyring opens.
fn opens(
    keyring: &Path,
    recovery: &Identity,
    (manifest, last): (&Manifest, &Inside),
) -> Result<Vec<AgreementId>, Fault> {
    let survey = Keyring::survey_copy(keyring, recovery).map_err(|e| {
        setup(format!("the keyring of the backup does not open: {e}. It stands beside the archives, or where you keep it (--keyring FILE)"))
    })?;
    if let Some(why) = verify::lacks(&survey, &last.header) {
        let open =
            manifest.archives.iter().filter(|archive| !manifest.is_shut(archive)).map(|one| one.number.to_string());
        let open: Vec<String> = open.collect();
        let message = format!(
            "`{}` does not open the archive: {why}. Name another copy of the keyring with --keyring FILE, or another archive \
             with --number N: the newest copy opens {}",
            keyring.display(),
            open.join(", ")
        );
        return Err(setup(message));
    }
    let agreement = |partition| match partition {
        Partition::Agreement(id) => Some(id),
        Partition::Own | Partition::Node => None,
    };
    Ok(survey.open.into_keys().filter_map(agreement).collect())
}

/// Writes all of it below the mark.
fn build(
    home: &Home,
    what: &Restore<'_>,
    found: &Found,
    last: &Archive,
    clock: &dyn Clock,
    progress: OnProgress<'_>,
) -> Result<(), Fault> {
    let node = keys(home, what, found)?;
    let mut steps = Steps::new(progress, found.chain.iter().map(|one| one.bytes).sum(), 3);
    steps.done = steps.total / 3 * 2;
    let mut store = Incoming::create(&home.store(), found.config.engine)?;
    let mut before = None;
    for archive in &found.chain {
        verify::inside(what.folder, &found.manifest, archive, before, what.how.recovery, &mut |piece, reader| {
            match piece.kind {
                Kind::Row => {
                    let value = reader.value()?;
                    steps.more((piece.key.len() + value.len()) as u64);
                    store.row(piece.key.clone(), Some(value))?;
                }
                Kind::Gone => store.row(piece.key.clone(), None)?,
                Kind::Blob => {
                    let name = verify::name(&piece.key).ok_or_else(|| reader.damaged())?;
                    // What was removed since does not come back.
                    if found.last.names.contains(&name) {
                        store.blob(name, reader)?;
                    }
                    steps.more(piece.len);
                }
                _ => {}
            }
            Ok(())
        })?;
        // A row of the next archive may be one of this.
        store.flush()?;
        before = Some(archive.sha256.as_str());
    }
    store.finish()?;
    for (path, bytes) in found.files.iter().filter(|(path, _)| !path.starts_with("keys")) {
        let path = home.path().join(path);
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed(folder))?;
        }
        durable::write(&path, bytes, Existing::Refuse).map_err(failed(&path))?;
    }
    known::after(home, last.at, clock.now()).map_err(setup)?;
    note(home, what, found, last, &node, clock)
}

/// Puts the key files under a fresh identity, as `recover` does.
fn keys(home: &Home, what: &Restore<'_>, found: &Found) -> Result<Identity, Fault> {
    let old = home.path().join(OLD_KEYS);
    DirBuilder::new().mode(0o700).create(&old).map_err(failed(&old))?;
    for (path, bytes) in &found.files {
        let Ok(name) = path.strip_prefix("keys") else { continue };
        durable::write(&old.join(name), bytes, Existing::Refuse).map_err(failed(&old))?;
    }
    let copy = regular::bytes(&found.keyring, KEY_FILE_BYTES_MAX).map_err(failed(&found.keyring))?;
    durable::write(&old.join(KEYRING_RECOVERY_FILE), &copy, Existing::Refuse).map_err(failed(&old))?;
    if recovery::recipient(&old).is_ok_and(|own| own != what.how.recovery.recipient()) {
        return Err(setup("the recovery file is not that of this backup: each home has its own"));
    }
    let opened = recover::open_all(&old, what.how.recovery)?;
    let node = recover::stage(&home.keys(), &old, &opened, &what.how)?;
    fs::remove_dir_all(&old).map_err(failed(&old))?;
    Ok(node)
}

/// The mark of the restore, what is known of the backup, and an event of the journal.
fn note(
    home: &Home,
    what: &Restore<'_>,
    found: &Found,
    last: &Archive,
    node: &Identity,
    clock: &dyn Clock,
) -> Result<(), Fault> {
    let keyring = Keyring::open(&home.keys(), node, &what.how.recovery.recipient()).map_err(setup)?;
    let holdings = open::open(&home.store(), found.config.engine, Arc::new(keyring))?;
    let digest = hex::decode(&found.last.header.digest).ok().and_then(|bytes| Hash::from_slice(&bytes));
    let restored = Restored {
        at: clock.now(),
        number: last.number,
        taken: last.at,
        appends: last.appends,
        digest: digest.ok_or_else(|| BackupError::Damaged(what.folder.to_owned()))?,
        agreements: found.opens.clone(),
    };
    let about = [("backup", last.number.to_string()), ("taken", last.at.to_string())];
    let made = Made::of(last, what.folder, false, found.opens.clone());
    let mut txn = holdings.begin();
    mark::write(&mut txn, &restored).map_err(Fault::store)?;
    txn.put(Partition::Node, Table::Meta, made::KEY, &encode("backup", &made).map_err(Fault::store)?)?;
    journal::add(&holdings, &mut txn, clock.now(), ("restored", &about), None)?;
    txn.commit()?;
    Ok(())
}

/// How far it is: everything is read more than once.
struct Steps<'a> {
    progress: OnProgress<'a>,
    done: u64,
    total: u64,
}

impl<'a> Steps<'a> {
    fn new(progress: OnProgress<'a>, bytes: u64, times: u64) -> Self {
        Self { progress, done: 0, total: bytes.saturating_mul(times) }
    }
    fn more(&mut self, bytes: u64) {
        let before = self.done;
        self.done = self.done.saturating_add(bytes);
        if before >> 20 != self.done >> 20 {
            (self.progress)(Progress { done: self.done >> 20, total: Some(self.total.max(self.done) >> 20) });
        }
    }
}
