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
mod error;
pub(crate) mod folder;
pub mod index;
pub mod made;
pub mod manifest;
pub mod verify;

use crate::{
    call::{OnProgress, Progress},
    error::Fault,
    node::Node,
    regular,
    seal::keyring::{KEYRING_FILE, KEYRING_RECOVERY_FILE, Partition},
    secret::{
        durable::{self, Existing},
        keyfile::KEY_FILE_BYTES_MAX,
        unlock::NODE_KEY_FILE,
    },
    store::{BlobName, SCAN_ROWS_MAX, StoreError},
};
use archive::{Kind, Writer};
use entente_protocol::{id::AgreementId, time::UnixMillis};
pub use error::BackupError;
use manifest::Archive;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Seek, SeekFrom},
    path::Path,
    sync::PoisonError,
};

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
    /// The oldest key under which rows of each partition may be sealed.
    #[serde(default)]
    pub keys: BTreeMap<String, u32>,
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
    folder::prepare(folder, &node.home)?;
    let _lock = folder::lock(folder)?;
    let mut manifest = folder::known(node, folder)?;
    folder::sweep(folder, &manifest)?;
    // What is copied is opened by the keyring that is put beside it at the end.
    let _copying = keyring.copying();
    let rotations = keyring.rotations();
    let own = keyring.keys(Partition::Node).map_err(StoreError::from)?;
    let held = match manifest.archives.last().filter(|_| !full) {
        Some(last) => folder::held(folder, last, (own.identity(), &rotations)),
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
        keys: keyring.oldest().iter().map(|(partition, oldest)| (partition.to_string(), *oldest)).collect(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
    };
    {
        // No card beside the key files of another: a change of keys writes several.
        let _unchanged = node.changing_keys.lock().unwrap_or_else(PoisonError::into_inner);
        copying.home_files()?;
    }
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
    index::write_names(&mut names, &known, &rotations)?;
    let (out, index, names) = (out.finish()?, index.finish()?, names.finish()?);

    // The keys before what they open: newer than the rows in any case.
    let beside = folder.join(manifest::KEYRING);
    let bytes = regular::bytes(copy, KEY_FILE_BYTES_MAX).map_err(|e| BackupError::read(copy, e))?;
    folder::keep_keyring(folder, manifest.archives.last(), &bytes)?;
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
        keyring: Some(manifest::keyring_digest(&bytes)),
        retired: keyring.retired(),
    };
    out.publish()?;
    index.publish()?;
    names.publish()?;
    let earlier = manifest.archives.last().map(|last| last.number);
    manifest.archives.push(made.clone());
    manifest.write(folder)?;
    // From here on the newer keyring opens what counts; what it does not open was erased.
    folder::drop_keyring_before(folder, &made)?;
    if let Some(earlier) = earlier {
        // They help nobody any more; the next backup sweeps what stays.
        let _ = index::remove(folder, earlier);
    }
    made::note(node, &made::Made::of(&made, folder, folder::same_disk(folder, &node.home), agreements))?;
    let mut answer = verify::view(folder, &made, None);
    if let Some(members) = answer.as_object_mut() {
        members.insert("keyring".to_owned(), json!(beside.display().to_string()));
        members.insert("same_disk".to_owned(), json!(folder::same_disk(folder, &node.home)));
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
        paths.extend(folder::files_below(&home.keys())?);
        // Each opens by its person's passphrase alone. Without them nobody could act in a restored home.
        if home.users().exists() {
            paths.extend(folder::files_below(&home.users())?);
        }
        let lines = self.node.config.red_lines.as_ref().map(|lines| home.path().join(lines));
        // What lies elsewhere is not part of the home.
        if let Some(lines) =
            lines.filter(|lines| fs::canonicalize(lines).is_ok_and(|real| real.starts_with(home.path())))
        {
            paths.extend(if lines.is_dir() { folder::files_below(&lines)? } else { vec![lines] });
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
