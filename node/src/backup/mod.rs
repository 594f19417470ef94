//! Backups: archives of all that a node holds, made while it runs, each but the first with only what is new.
//!
//! ```text
//! backup.json             which archives there are, and the digest of each (`manifest`); written last: the commit point
//! 0001-full.age           rows, blobs, settings, card, certificates and sealed key files (`archive`)
//! 0002-more.age           the same, less what 0001 has
//! 0002-rows.index, 0002-files.index     what the archives hold, for the next one (`index`)
//! keyring.recovery.age    the newest recovery form of the keyring
//! ```
//!
//! An archive is sealed to the node's identity and to the recovery identity, though nothing in it is in clear: the rows
//! and blobs are sealed already, the key files too. The keyring is never inside, and of it there is one copy, the newest:
//! what was erased since is not opened by an older one that lies beside it. It is written before the archive that needs it
//! counts. The rows are those after one append; of the files that they speak of each is there, for what lay in the vault
//! is copied before, and what came since after. Memory: one row, and the names of blobs.

pub mod archive;
pub mod index;
pub mod made;
pub mod manifest;
pub mod verify;

use crate::{
    call::{OnProgress, Progress},
    config::Home,
    error::Fault,
    node::Node,
    regular,
    seal::keyring::{KEYRING_FILE, KEYRING_RECOVERY_FILE, Partition},
    secret::{
        RandomError,
        durable::{self, Existing, TEMPORARY},
        keyfile::KEY_FILE_BYTES_MAX,
        unlock::NODE_KEY_FILE,
    },
    store::{BlobName, SCAN_ROWS_MAX, StoreError},
};
use archive::{Kind, Writer};
use entente_protocol::{id::AgreementId, time::UnixMillis};
use manifest::{Archive, Manifest};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Seek, SeekFrom},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

/// A backup could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The disk that the backup goes to.
    #[error("`{path}` cannot be written: {cause}; what was in the folder before is whole")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// A file of the backup, or one that goes into it.
    #[error("`{path}` cannot be read: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// A blob of ours.
    #[error("a file that the store holds cannot be read: {0}; `entente check` names it")]
    Blob(io::Error),
    /// A blob ended before its length.
    #[error("a file that the store holds ended too early; `entente check` names it")]
    Short,
    /// There is none.
    #[error("`{0}` holds no backup: there is no `backup.json` in it that names one")]
    None(PathBuf),
    /// Not what we wrote.
    #[error("`{0}` is damaged, or not a file of a backup: take another copy of it")]
    Damaged(PathBuf),
    /// Another number of bytes.
    #[error("`{path}` is cut short: {bytes} of {of} bytes are there; take another copy of it")]
    CutShort {
        /// The file.
        path: PathBuf,
        /// Bytes that are there.
        bytes: u64,
        /// Bytes that were written.
        of: u64,
    },
    /// Other bytes.
    #[error("`{0}` is not the file that `backup.json` names: it was changed, or is another backup's")]
    Changed(PathBuf),
    /// What is inside is not what is said of it.
    #[error("`{path}` does not belong here: {why}")]
    Swapped {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// Sealed to others.
    #[error("`{0}` is sealed to others: it is another organisation's, or this is not its recovery file")]
    Other(PathBuf),
    /// The folder has backups of something else.
    #[error("`{folder}` holds backups of {of}: name another folder")]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// Of what.
        of: String,
    },
    /// Another backup is being made into it.
    #[error("another backup into `{0}` is under way: wait for it")]
    Busy(PathBuf),
    /// Where nobody would look for it when the home is gone.
    #[error(
        "`{0}` lies in the home: what is lost with the home is no backup; name a folder elsewhere, on another disk"
    )]
    InHome(PathBuf),
    /// A node over a store in memory.
    #[error("this node keeps its keys in memory: there is nothing to back up")]
    InMemory,
    /// Our own store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row of ours.
    #[error(transparent)]
    Row(#[from] crate::records::stored::RowDamage),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl BackupError {
    fn at(path: &Path, cause: impl Into<io::Error>) -> Self {
        Self::Write { path: path.to_owned(), cause: cause.into() }
    }
    fn read(path: &Path, cause: io::Error) -> Self {
        Self::Read { path: path.to_owned(), cause }
    }
    /// What a sealed stream says of itself.
    fn broken(path: &Path, cause: io::Error) -> Self {
        match cause.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::Damaged(path.to_owned()),
            _ => Self::read(path, cause),
        }
    }
}

impl From<crate::seal::stream::StreamError> for io::Error {
    fn from(error: crate::seal::stream::StreamError) -> Self {
        match error {
            crate::seal::stream::StreamError::Io(error) => error,
            other => Self::other(other.to_string()),
        }
    }
}

impl From<BackupError> for Fault {
    fn from(error: BackupError) -> Self {
        match &error {
            BackupError::Store(_) | BackupError::Row(_) | BackupError::Blob(_) | BackupError::Short => {
                Self::store(error)
            }
            BackupError::Write { .. } | BackupError::Busy(_) | BackupError::Random(_) => Self::setup("backup", error),
            _ => Self::input("backup", error),
        }
    }
}

/// What an archive says of itself, sealed in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`manifest::FORMAT`].
    pub format: u32,
    /// Of which organisation.
    pub organisation: String,
    /// Of which store.
    pub store: String,
    /// Its number.
    pub number: u32,
    /// Whether it needs none before it.
    pub full: bool,
    /// SHA-256 of the archive before it, of one that is not full.
    pub before: Option<String>,
    /// When it was made.
    pub at: UnixMillis,
    /// Appends of the store.
    pub appends: u64,
    /// The digest over them.
    pub digest: String,
    /// Agreements under which something could be opened then.
    pub agreements: Vec<String>,
    /// The program that made it.
    pub program: String,
}

/// How many of each an archive holds: its last piece.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Files of the home.
    pub files: u64,
    /// Blobs in it.
    pub blobs: u64,
    /// Rows in it.
    pub rows: u64,
    /// Rows that it takes away.
    pub gone: u64,
    /// Blobs that there are.
    pub names: u64,
}

/// Makes an archive in a folder. With `full`, one that needs no other.
pub fn backup(node: &Node, folder: &Path, full: bool, progress: OnProgress<'_>) -> Result<Json, Fault> {
    Ok(make(node, folder, full, progress)?)
}

fn make(node: &Node, folder: &Path, full: bool, progress: OnProgress<'_>) -> Result<Json, BackupError> {
    let keyring = node.holdings.keyring();
    let (Some(recipients), Some(copy)) = (keyring.recipients(), keyring.recovery_copy()) else {
        return Err(BackupError::InMemory);
    };
    prepare(folder, &node.home)?;
    let _lock = lock(folder)?;
    let mut manifest = known(node, folder)?;
    sweep(folder, &manifest)?;
    let own = keyring.keys(Partition::Node).map_err(StoreError::from)?;
    let held = match manifest.archives.last().filter(|_| !full) {
        Some(last) => held(folder, last, own.identity()),
        None => None,
    };
    let (number, full) = (manifest.archives.last().map_or(1, |last| last.number.saturating_add(1)), held.is_none());
    let before = manifest.archives.last().filter(|_| !full).map(|last| last.sha256.clone());
    let (rows, known) = held.unwrap_or_else(|| (index::Rows::none(), BTreeSet::new()));

    let file = Archive::file_of(number, full);
    let [rows_path, files_path] = index::paths(folder, number);
    let mut copying = Copying {
        node,
        out: Writer::create(&folder.join(&file), &recipients)?,
        index: Writer::create(&rows_path, &[&own.identity().recipient()])?,
        counts: Counts::default(),
        known,
        seen: BTreeSet::new(),
        done: 0,
        total: crate::status::folder_bytes(&node.home.store()),
        progress,
    };
    let at = node.clock.now();
    let agreements: Vec<AgreementId> = agreements(node);
    // What lies in the vault first: what is removed while this runs is in the archive then.
    let mut header = Header {
        format: manifest::FORMAT,
        organisation: node.keys.org.to_string(),
        store: node.holdings.store_id().to_string(),
        number,
        full,
        before,
        at,
        appends: 0,
        digest: String::new(),
        agreements: agreements.iter().map(ToString::to_string).collect(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
    };
    copying.home_files()?;
    copying.blobs()?;
    let position = copying.rows(rows)?;
    // What rows speak of and the first look did not see.
    copying.blobs()?;
    (header.appends, header.digest) = (position.sequence, hex::encode(position.digest));
    let Copying { mut out, mut index, mut counts, known, seen, .. } = copying;
    for name in &seen {
        out.piece(Kind::Name, &name.0, &[])?;
    }
    counts.names = seen.len() as u64;
    out.piece(Kind::Header, &[], &json_of(&header)?)?;
    out.piece(Kind::End, &[], &json_of(&counts)?)?;
    index.piece(Kind::End, &[], &[])?;
    let mut names = Writer::create(&files_path, &[&own.identity().recipient()])?;
    index::write_names(&mut names, &known)?;
    let (out, index, names) = (out.finish()?, index.finish()?, names.finish()?);

    // The keys before what they open: newer than the rows in any case.
    let beside = folder.join(manifest::KEYRING);
    let bytes = regular::bytes(copy, KEY_FILE_BYTES_MAX).map_err(|e| BackupError::read(copy, e))?;
    durable::write(&beside, &bytes, Existing::Replace).map_err(|e| BackupError::at(&beside, e))?;
    let made = Archive {
        number,
        file,
        full,
        at,
        sha256: out.sha256_hex(),
        bytes: out.bytes,
        appends: position.sequence,
        rows: counts.rows,
        gone: counts.gone,
        blobs: counts.blobs,
    };
    out.publish()?;
    index.publish()?;
    names.publish()?;
    let earlier = manifest.archives.last().map(|last| last.number);
    manifest.archives.push(made.clone());
    manifest.write(folder)?;
    if let Some(earlier) = earlier {
        // They help nobody any more; the next backup sweeps what stays.
        let _ = index::remove(folder, earlier);
    }
    made::note(node, &made::Made::of(&made, folder, same_disk(folder, &node.home), agreements))?;
    let mut answer = verify::view(folder, &made, None);
    if let Some(members) = answer.as_object_mut() {
        members.insert("keyring".to_owned(), json!(beside.display().to_string()));
        members.insert("same_disk".to_owned(), json!(same_disk(folder, &node.home)));
    }
    Ok(answer)
}

/// Agreements whose keys there are.
pub fn agreements(node: &Node) -> Vec<AgreementId> {
    let of = |partition| match partition {
        Partition::Agreement(id) => Some(id),
        Partition::Own | Partition::Node => None,
    };
    node.holdings.keyring().partitions().into_iter().filter_map(of).collect()
}

/// What a piece says of an archive.
fn json_of(value: &impl Serialize) -> Result<Vec<u8>, BackupError> {
    serde_json::to_vec(value).map_err(|e| BackupError::Blob(io::Error::other(e)))
}

/// What one archive is made of, on its way.
struct Copying<'a> {
    node: &'a Node,
    out: Writer,
    index: Writer,
    counts: Counts,
    /// Blobs that the archives hold, this one among them.
    known: BTreeSet<BlobName>,
    /// Blobs that there are.
    seen: BTreeSet<BlobName>,
    done: u64,
    total: u64,
    progress: OnProgress<'a>,
}

impl Copying<'_> {
    /// Settings, card, red lines; of the folder of keys all but the keyring and what the passphrase alone opens.
    fn home_files(&mut self) -> Result<(), BackupError> {
        let home = &self.node.home;
        let mut paths = vec![home.config(), home.card()];
        paths.extend(files_below(&home.keys())?);
        let lines = self.node.config.red_lines.as_ref().map(|lines| home.path().join(lines));
        // What lies elsewhere is not part of the home.
        if let Some(lines) =
            lines.filter(|lines| fs::canonicalize(lines).is_ok_and(|real| real.starts_with(home.path())))
        {
            paths.extend(if lines.is_dir() { files_below(&lines)? } else { vec![lines] });
        }
        let left_out = [KEYRING_FILE, KEYRING_RECOVERY_FILE, NODE_KEY_FILE].map(|name| home.keys().join(name));
        for path in paths.iter().filter(|path| !left_out.contains(path)) {
            let bytes = regular::bytes(path, archive::FILE_BYTES_MAX).map_err(|e| BackupError::read(path, e))?;
            let name = path.strip_prefix(home.path()).unwrap_or(path).display().to_string();
            self.out.piece(Kind::File, name.as_bytes(), &bytes)?;
            self.counts.files += 1;
        }
        Ok(())
    }
    /// Blobs that no archive has yet.
    fn blobs(&mut self) -> Result<(), BackupError> {
        let mut after = None;
        loop {
            let page = self.node.holdings.blob_names(after, SCAN_ROWS_MAX)?;
            let Some(last) = page.last().copied() else { return Ok(()) };
            after = Some(last);
            for name in page {
                if !self.known.contains(&name) {
                    // Gone since it was listed: whoever removed it had no row of it any more.
                    let Some(mut blob) = self.node.holdings.blob_sealed(name)? else { continue };
                    let len = blob.seek(SeekFrom::End(0)).and_then(|len| blob.rewind().map(|()| len));
                    let len = len.map_err(BackupError::Blob)?;
                    self.out.stream(Kind::Blob, &name.0, len, &mut blob)?;
                    self.known.insert(name);
                    self.counts.blobs += 1;
                    self.step(len);
                }
                self.seen.insert(name);
            }
        }
    }
    /// All rows as they stand now, less those that the archives have so.
    fn rows(&mut self, mut before: index::Rows) -> Result<crate::store::Position, BackupError> {
        let frozen = self.node.holdings.freeze()?;
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = frozen.rows(after.as_deref(), 1_000)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, value) in page {
                while let Some((gone, _)) = before.peek().filter(|(earlier, _)| *earlier < key) {
                    self.out.piece(Kind::Gone, gone, &[])?;
                    self.counts.gone += 1;
                    before.advance()?;
                }
                let digest = index::digest_of(&value);
                let known = match before.peek() {
                    Some((earlier, known)) if *earlier == key => *known == digest && before.advance()?.is_some(),
                    _ => false,
                };
                if !known {
                    if before.peek().is_some_and(|(earlier, _)| *earlier == key) {
                        before.advance()?;
                    }
                    self.out.piece(Kind::Row, &key, &value)?;
                    self.counts.rows += 1;
                }
                self.index.piece(Kind::Row, &key, &digest)?;
                self.step((key.len() + value.len()) as u64);
            }
        }
        while let Some((gone, _)) = before.advance()? {
            self.out.piece(Kind::Gone, &gone, &[])?;
            self.counts.gone += 1;
        }
        Ok(frozen.position())
    }
    fn step(&mut self, bytes: u64) {
        let before = self.done;
        self.done = self.done.saturating_add(bytes);
        if before >> 20 != self.done >> 20 {
            (self.progress)(Progress { done: self.done >> 20, total: Some(self.total.max(self.done) >> 20) });
        }
    }
}

/// Files of a folder, in order; none of those below it, and none that is unfinished.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let failed = |e| BackupError::read(folder, e);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_file = entry.file_type().map_err(failed)?.is_file();
        if is_file && entry.path().extension().is_none_or(|ending| ending != TEMPORARY) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Makes the folder where there is none, outside the home.
fn prepare(folder: &Path, home: &Home) -> Result<(), BackupError> {
    let failed = |e| BackupError::at(folder, e);
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let within = |path: &Path| fs::canonicalize(path).map_err(|e| BackupError::read(path, e));
    if within(folder)?.starts_with(within(home.path())?) {
        return Err(BackupError::InHome(folder.to_owned()));
    }
    Ok(())
}

/// One backup at a time into a folder.
fn lock(folder: &Path) -> Result<File, BackupError> {
    let path = folder.join("backup.lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(|e| BackupError::at(&path, e))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => Err(BackupError::Busy(folder.to_owned())),
        // Some network disks know no locks.
        _ => Ok(file),
    }
}

/// What lies in the folder, which must be of this store.
fn known(node: &Node, folder: &Path) -> Result<Manifest, BackupError> {
    let (org, store) = (node.keys.org.to_string(), node.holdings.store_id().to_string());
    let manifest = Manifest::read(folder)?.unwrap_or_else(|| Manifest::new(node.keys.org, node.holdings.store_id()));
    let foreign = |of| Err(BackupError::Foreign { folder: folder.to_owned(), of });
    if manifest.organisation != org {
        return foreign(format!("another organisation, {}", manifest.organisation));
    }
    if manifest.store != store {
        return foreign(format!("another store of this organisation, {}", manifest.store));
    }
    Ok(manifest)
}

/// What the newest archive and those before it hold; nothing where that cannot be told, or one of them is not there.
fn held(
    folder: &Path,
    last: &Archive,
    identity: &crate::seal::hybrid::Identity,
) -> Option<(index::Rows, BTreeSet<BlobName>)> {
    let [rows, files] = index::paths(folder, last.number);
    let manifest = Manifest::read(folder).ok()??;
    let whole = |one: &Archive| fs::metadata(manifest::path(folder, one)).is_ok_and(|file| file.len() == one.bytes);
    if !manifest.chain(None)?.iter().all(whole) {
        tracing::warn!("an archive is missing or cut short: the next one is full");
        return None;
    }
    match (index::Rows::open(&rows, identity), index::names(&files, identity)) {
        (Ok(rows), Ok(names)) => Some((rows, names)),
        _ => {
            tracing::warn!("what the archives hold cannot be told: the next one is full");
            None
        }
    }
}

/// Removes what a killed backup left: unfinished files, and archives that never counted.
fn sweep(folder: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let failed = |e| BackupError::at(folder, e);
    let last = manifest.archives.last().map_or(0, |last| last.number);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let number = name.split_once('-').and_then(|(number, _)| number.parse::<u32>().ok());
        let ours = number.is_some() || name.starts_with(manifest::NAME) || name.starts_with(manifest::KEYRING);
        let unfinished = ours && name.ends_with(&format!(".{TEMPORARY}"));
        let index = name.ends_with(".index") && number.is_some_and(|number| number != last);
        let never = number.is_some_and(|number| {
            number > last && [true, false].iter().any(|full| name == Archive::file_of(number, *full))
        });
        if unfinished || index || never {
            fs::remove_file(&path).map_err(|e| BackupError::at(&path, e))?;
        }
    }
    Ok(())
}

/// Whether a folder lies on the disk of the home, with which it would be lost.
fn same_disk(folder: &Path, home: &Home) -> bool {
    let disk = |path: &Path| fs::metadata(path).map(|found| found.dev());
    matches!((disk(folder), disk(home.path())), (Ok(one), Ok(other)) if one == other)
}
