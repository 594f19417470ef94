//! The product's own ledger on files, and a disk below it that tears: of what no sync covers, a crash keeps everything,
//! nothing, or some of the bytes.
//!
//! `ledger` is quick and takes an append as one thing. Here an append is bytes in a journal of the engine's, and the
//! opening after a crash must find out where the last whole one ends, cut off what follows, and refuse nothing that is
//! well. The journals are followed by their length at the last sync, which is right as long as the engine only appends
//! to them and writes nothing to its tree: a world writes too little for that. What the power does to the tree, to names
//! and to the order of writes is for `durability/power.rs`, which sees every system call.

use super::{
    chance::Chance,
    ledger::{Failing, Failure, broken, due},
};
use entente_node::store::{
    Append, Ledger, Position, Row, SCAN_ROWS_MAX, SequenceRow, Snapshot, StoreError, fjall::FjallLedger, memory::Frozen,
};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What a disk writes at once.
const SECTOR: u64 = 512;
/// Syncs after which the engine's head file may have been synced too; from then on it is left as it is.
const HEAD_SYNCED_AFTER: u64 = 200;

/// What is known of the disk, and how it fails.
struct Medium {
    /// Bytes of each journal that a finished sync covers, by the file's number.
    synced: BTreeMap<u64, u64>,
    /// Appends to go, and how the next one then fails.
    armed: Option<(u32, Failure)>,
    /// The failure that whoever waits next will see.
    failing: Option<Failure>,
    poisoned: Option<Failure>,
    /// No sync succeeds any more.
    off: bool,
    /// Syncs since the power came.
    syncs: u64,
    /// The head file when the power came, all of it synced.
    head: Vec<u8>,
    chance: Chance,
}

/// The ledger. It outlives the node that uses it.
pub struct FileLedger {
    folder: tempfile::TempDir,
    /// None while the power is off.
    engine: Mutex<Option<FjallLedger>>,
    disk: Arc<Mutex<Medium>>,
}

impl FileLedger {
    /// An empty one in a folder of its own below `parent`; how it tears follows from the seed.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(parent: &Path, seed: u64) -> Result<Self, Box<dyn std::error::Error>> {
        let disk = Medium {
            synced: BTreeMap::new(),
            armed: None,
            failing: None,
            poisoned: None,
            off: false,
            syncs: 0,
            head: Vec::new(),
            chance: Chance::new(seed),
        };
        let folder = tempfile::tempdir_in(parent)?;
        let made = Self { folder, engine: Mutex::new(None), disk: Arc::new(Mutex::new(disk)) };
        FjallLedger::create(&made.journals(), &made.head_file())?;
        Ok(made)
    }
    fn journals(&self) -> PathBuf {
        self.folder.path().join("ledger")
    }
    fn head_file(&self) -> PathBuf {
        self.folder.path().join("head")
    }
    fn disk(&self) -> MutexGuard<'_, Medium> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn engine(&self) -> MutexGuard<'_, Option<FjallLedger>> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn ask<T>(&self, ask: impl FnOnce(&FjallLedger) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.is_poisoned() {
            return Err(StoreError::Poisoned);
        }
        self.engine().as_ref().map_or_else(|| Err(broken("work without power")), ask)
    }
    /// Leaves on the disk what the failure says. Whether anything is there in part.
    fn tear(&self, disk: &mut Medium) -> io::Result<bool> {
        let mut torn = false;
        for entry in fs::read_dir(self.journals())? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == "jnl") {
                let file = OpenOptions::new().read(true).write(true).open(&path)?;
                let found = file.metadata()?;
                let synced = disk.synced.get(&found.ino()).copied().unwrap_or(found.len());
                if synced < found.len() {
                    torn |= tear_journal(&file, synced, found.len(), disk.poisoned, &mut disk.chance)?;
                }
            }
        }
        if disk.syncs < HEAD_SYNCED_AFTER {
            tear_head(&self.head_file(), &disk.head, &mut disk.chance)?;
        }
        Ok(torn)
    }
}

/// Of the bytes behind `synced`, those stay that reached the disk.
fn tear_journal(file: &File, synced: u64, end: u64, failure: Option<Failure>, chance: &mut Chance) -> io::Result<bool> {
    let mut bytes = vec![0; usize::try_from(end - synced).unwrap_or_default()];
    file.read_exact_at(&mut bytes, synced)?;
    let written = bytes.clone();
    if failure != Some(Failure::Torn) {
        bytes.fill(0);
    } else if chance.one_in(2) {
        // The first part of it.
        let kept = chance.below(bytes.len());
        bytes[kept..].fill(0);
    } else {
        // Some of its sectors, in any order: the end may be there without the middle.
        let mut from = 0;
        while from < bytes.len() {
            let here = synced + from as u64;
            let step = ((SECTOR - here % SECTOR) as usize).min(bytes.len() - from);
            if chance.one_in(2) {
                bytes[from..from + step].fill(0);
            }
            from += step;
        }
    }
    let torn = bytes != written && bytes.iter().any(|byte| *byte != 0);
    file.write_all_at(&bytes, synced)?;
    // The length may have reached the disk or not.
    if chance.one_in(2) {
        let last = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        file.set_len(synced + last as u64)?;
    }
    Ok(torn)
}

/// The engine's head file is synced seldom: what was written since the power came may be there up to any byte.
fn tear_head(path: &Path, before: &[u8], chance: &mut Chance) -> io::Result<()> {
    let now = fs::read(path)?;
    let differ = |at: &usize| now.get(*at) != before.get(*at);
    let changed: Vec<usize> = (0..now.len().min(before.len())).filter(differ).collect();
    let (Some(first), Some(last)) = (changed.first(), changed.last()) else { return Ok(()) };
    let kept = first + chance.below(last - first + 2);
    let file = OpenOptions::new().write(true).open(path)?;
    file.write_all_at(&before[kept.min(last + 1)..=*last], kept as u64)
}

fn sync(disk: &Mutex<Medium>, file: &File) -> io::Result<()> {
    let mut disk = disk.lock().unwrap_or_else(PoisonError::into_inner);
    if disk.off {
        return Err(io::Error::other("the power is off"));
    }
    if matches!(disk.failing, None | Some(Failure::Persisted)) {
        let found = file.metadata()?;
        disk.synced.insert(found.ino(), found.len());
    }
    match disk.failing {
        Some(_) => Err(io::Error::other("the simulated disk failed")),
        None => Ok(()),
    }
}

impl Failing for FileLedger {
    fn power_on(&self) -> Result<(), StoreError> {
        let mut engine = self.engine();
        if engine.is_none() {
            let disk = Arc::clone(&self.disk);
            let opened =
                FjallLedger::open_with(&self.journals(), &self.head_file(), Arc::new(move |file| sync(&disk, file)))?;
            *engine = Some(opened);
            let head = fs::read(self.head_file()).map_err(|e| StoreError::engine("read the head file", e))?;
            (self.disk().head, self.disk().syncs) = (head, 0);
        }
        Ok(())
    }
    fn arm(&self, more: u32, failure: Failure) {
        self.disk().armed = Some((more, failure));
    }
    fn disarm(&self) {
        self.disk().armed = None;
    }
    fn is_poisoned(&self) -> bool {
        self.disk().poisoned.is_some()
    }
    fn crash(&self) -> bool {
        self.disk().off = true;
        // Its last sync fails: the power went first.
        drop(self.engine().take());
        let mut disk = self.disk();
        let torn = self.tear(&mut disk);
        (disk.armed, disk.failing, disk.poisoned, disk.off) = (None, None, None, false);
        // What cannot be torn does not open either, and that is a finding.
        torn.unwrap_or_default()
    }
    fn tears(&self) -> bool {
        true
    }
}

impl Ledger for FileLedger {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.ask(|engine| engine.get(key))
    }
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.ask(|engine| engine.scan(prefix, after, limit))
    }
    fn last(&self, prefix: &[u8]) -> Result<Option<Row>, StoreError> {
        self.ask(|engine| engine.last(prefix))
    }
    fn submit(&self, batch: Append) -> Result<Position, StoreError> {
        let failure = due(&mut self.disk().armed);
        if failure == Some(Failure::Refused) {
            self.disk().poisoned = failure;
            return Err(broken("append"));
        }
        let position = self.ask(|engine| engine.submit(batch))?;
        let mut disk = self.disk();
        disk.failing = disk.failing.or(failure);
        Ok(position)
    }
    fn wait(&self, position: Position) -> Result<(), StoreError> {
        let waited = self.ask(|engine| engine.wait(position));
        let mut disk = self.disk();
        disk.syncs += 1;
        if let Some(failure) = disk.failing.take() {
            disk.poisoned = Some(failure);
        }
        waited
    }
    fn head(&self) -> Result<Position, StoreError> {
        self.ask(Ledger::head)
    }
    fn sequence(&self, after: u64, limit: usize) -> Result<Vec<SequenceRow>, StoreError> {
        self.ask(|engine| engine.sequence(after, limit))
    }
    /// A copy: the engine itself goes and comes with the power.
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        self.ask(|engine| {
            let snapshot = engine.snapshot()?;
            let mut rows = BTreeMap::new();
            loop {
                let after = rows.last_key_value().map(|(key, _): (&Vec<u8>, &Vec<u8>)| key.clone());
                let page = snapshot.rows(after.as_deref(), SCAN_ROWS_MAX)?;
                if page.is_empty() {
                    return Ok(Box::new(Frozen { rows, position: snapshot.position() }) as Box<dyn Snapshot>);
                }
                rows.extend(page);
            }
        })
    }
}
