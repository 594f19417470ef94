//! The keyring: every partition's keys, in one file outside all engines and data backups.
//!
//! The file is sealed to the node's identity, and a second copy to the recovery recipient. Each change
//! writes both anew, whole, before it returns: the recovery copy first, so that nothing is ever sealed
//! that a restore could not open. Losing both files loses the data; destroying a partition's keys is
//! how its data is erased. The keyring knows nothing of rows or blobs.

mod stored;

use super::{
    hybrid::{Identity, Recipient},
    label,
};
use crate::{
    latest::Latest,
    secret::{
        RandomError, Secret,
        durable::Existing,
        keyfile::{KeyFile, KeyFileError},
        random_secret,
    },
};
use entente_protocol::{
    id::AgreementId,
    primitive::{Prf, sha256},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
};

/// What is sealed under keys of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Partition {
    /// The organisation's own holdings.
    Own,
    /// Everything held under one agreement.
    Agreement(AgreementId),
    /// The node's own bookkeeping: partners, journal.
    Node,
}

impl Partition {
    fn to_bytes(self) -> Vec<u8> {
        match self {
            Self::Own => vec![0],
            Self::Agreement(id) => [&[1], id.as_bytes().as_slice()].concat(),
            Self::Node => vec![2],
        }
    }
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (0, []) => Some(Self::Own),
            (1, id) => AgreementId::from_slice(id).map(Self::Agreement),
            (2, []) => Some(Self::Node),
            _ => None,
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("own holdings"),
            Self::Agreement(id) => write!(f, "agreement {id}"),
            Self::Node => f.write_str("node"),
        }
    }
}

/// The keyring could not be read, or a change of it not be written.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The file could not be read or written.
    #[error("keyring: {0}")]
    File(#[from] KeyFileError),
    /// The file opened, but its content is not a keyring of a known format.
    #[error("keyring `{0}` has an unknown form: damaged, or written by a newer version")]
    Form(PathBuf),
    /// No randomness for new keys.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// There is no such partition, or its keys were destroyed.
    #[error("no keys for partition `{0}`: never made, or destroyed")]
    NoPartition(Partition),
    /// More partitions than a keyring takes.
    #[error("the keyring is full: {PARTITIONS_MAX} partitions")]
    Full,
}

/// Partitions of one keyring.
pub const PARTITIONS_MAX: usize = 20_000;
/// Keys of one partition, past ones included.
const KEYS_MAX: usize = 1_000;

/// One partition's keys. They cannot be printed, copied or serialised from outside this file.
pub struct PartitionKeys {
    numbers: Latest<Numbers>,
    index: SealingKey,
    blob: SealingKey,
    files: Latest<FileIdentities>,
}

/// The identities to which files are sealed: the newest, and former ones until nothing is sealed to them.
struct FileIdentities {
    newest: Identity,
    former: Vec<Identity>,
}

impl FileIdentities {
    fn copies(&self) -> Self {
        Self { newest: self.newest.copy(), former: self.former.iter().map(Identity::copy).collect() }
    }
    fn rotated(&self) -> Result<Self, RandomError> {
        let Self { newest, mut former } = self.copies();
        former.push(newest);
        Ok(Self { newest: Identity::generate()?, former })
    }
    fn retired(&self) -> Self {
        Self { newest: self.newest.copy(), former: Vec::new() }
    }
}

/// Sealing keys by number. Replaced in place, so that who reads while a key is added finds it.
struct Numbers {
    all: BTreeMap<u32, SealingKey>,
    newest: (u32, Prf),
}

impl Numbers {
    fn first() -> Result<Self, RandomError> {
        let first = SealingKey::new(random_secret()?);
        let newest = (1, first.key.clone());
        Ok(Self { all: BTreeMap::from([(1, first)]), newest })
    }
    fn copies(&self) -> impl Iterator<Item = (u32, SealingKey)> {
        self.all.iter().map(|(number, key)| (*number, key.copy()))
    }
    /// One more, under which everything is sealed from now on.
    fn rotated(&self) -> Result<Self, RandomError> {
        let mut all: BTreeMap<u32, SealingKey> = self.copies().collect();
        let number = self.newest.0.saturating_add(1);
        let next = SealingKey::new(random_secret()?);
        let newest = (number, next.key.clone());
        all.insert(number, next);
        Ok(Self { all, newest })
    }
    /// The newest alone.
    fn retired(&self) -> Self {
        let newest = self.newest.0;
        Self { all: self.copies().filter(|(number, _)| *number == newest).collect(), newest: self.newest.clone() }
    }
}

/// A key with its expanded form: expanding costs as much as using it twice.
struct SealingKey {
    bytes: Secret<[u8; 32]>,
    key: Prf,
}

impl SealingKey {
    fn new(bytes: Secret<[u8; 32]>) -> Self {
        let key = Prf::new(bytes.expose());
        Self { bytes, key }
    }
    fn copy(&self) -> Self {
        Self { bytes: Secret::new(*self.bytes.expose()), key: self.key.clone() }
    }
}

impl fmt::Debug for PartitionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartitionKeys({})", self.numbers.all.len())
    }
}

impl PartitionKeys {
    /// Draws the keys of a new partition; its first sealing key has number 1.
    pub fn generate() -> Result<Self, RandomError> {
        Ok(Self {
            numbers: Latest::new(Numbers::first()?),
            index: SealingKey::new(random_secret()?),
            blob: SealingKey::new(random_secret()?),
            files: Latest::new(FileIdentities { newest: Identity::generate()?, former: Vec::new() }),
        })
    }
    #[cfg(test)]
    pub(super) fn rotated(&self) -> Result<Self, RandomError> {
        Ok(self.with((self.numbers.rotated()?, self.files.rotated()?)))
    }
    /// The same under other keys, as it is written.
    fn with(&self, (numbers, files): (Numbers, FileIdentities)) -> Self {
        let (numbers, files) = (Latest::new(numbers), Latest::new(files));
        Self { numbers, index: self.index.copy(), blob: self.blob.copy(), files }
    }
    /// Number and key for sealing.
    pub(super) fn newest(&self) -> (u32, &Prf) {
        let Numbers { newest: (number, key), .. } = &*self.numbers;
        (*number, key)
    }
    /// The sealing key of a number.
    pub(super) fn numbered(&self, number: u32) -> Option<&Prf> {
        let numbers = &*self.numbers;
        match number == numbers.newest.0 {
            true => Some(&numbers.newest.1),
            false => numbers.all.get(&number).map(|key| &key.key),
        }
    }
    /// The number of the key that seals now.
    pub fn newest_number(&self) -> u32 {
        self.numbers.newest.0
    }
    /// Whether something may be sealed under an older key still.
    pub fn is_rotating(&self) -> bool {
        self.numbers.all.len() > 1 || !self.files.former.is_empty()
    }
    /// HMAC-SHA256(index key, label, 0x00, each part after its length as 4 bytes BE), for row keys and index tokens.
    pub fn token(&self, label: &str, parts: &[&[u8]]) -> [u8; 32] {
        tagged(&self.index.key, label, parts)
    }
    /// The name under which a blob is kept: says nothing of what it holds.
    pub fn blob_name(&self, logical: &[u8]) -> [u8; 32] {
        tagged(&self.blob.key, label::BLOB_NAME, &[logical])
    }
    /// The identity to which the partition's blobs are sealed from now on.
    pub fn identity(&self) -> &Identity {
        &self.files.newest
    }
    /// Those before it, to which some may be sealed still.
    pub fn former_identities(&self) -> &[Identity] {
        &self.files.former
    }
}

fn oldest(content: &Content) -> BTreeMap<Partition, u32> {
    let first = |keys: &PartitionKeys| keys.numbers.all.keys().next().copied().unwrap_or(u32::MAX);
    content.keys.iter().map(|(partition, keys)| (*partition, first(keys))).collect()
}

/// HMAC-SHA256(key, label, 0x00, each part after its length as 4 bytes BE).
fn tagged(key: &Prf, label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let length = |part: &[u8]| u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes();
    parts.iter().fold(key.begin(label), |output, part| output.with(&length(part)).with(part)).finish()
}

/// Where a keyring is kept.
struct Files {
    keyring: PathBuf,
    recovery: PathBuf,
    node: Recipient,
    recovery_recipient: Recipient,
}

/// What a keyring holds.
#[derive(Clone, Default)]
struct Content {
    keys: BTreeMap<Partition, Arc<PartitionKeys>>,
    /// Partitions whose keys were destroyed: they get no others.
    erased: BTreeSet<Partition>,
    /// How often keys were destroyed at the end of a rotation.
    retired: u64,
}

/// What a copy of the keyring opens.
pub struct Survey {
    /// Partitions, and the number of the oldest key of each.
    pub open: BTreeMap<Partition, u32>,
    /// Partitions whose keys were destroyed before the copy was made.
    pub erased: BTreeSet<Partition>,
}

/// All partitions' keys of one node.
pub struct Keyring {
    files: Option<Files>,
    content: RwLock<Content>,
    /// Held over a whole change, so that two changes do not write over each other.
    changing: Mutex<()>,
    /// Read while a copy is made of what the keys open; written while some of them are destroyed.
    copying: RwLock<()>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} partitions)", self.partitions().len())
    }
}

/// Name of the keyring's file in the folder of keys.
pub const KEYRING_FILE: &str = "keyring.age";
/// Name of its copy for the recovery recipient.
pub const KEYRING_RECOVERY_FILE: &str = "keyring.recovery.age";

impl Keyring {
    /// A keyring that is never written: for simulated nodes.
    pub fn in_memory() -> Self {
        Self { files: None, content: RwLock::default(), changing: Mutex::new(()), copying: RwLock::default() }
    }
    /// Writes the empty keyring of a new home into the folder `keys`; refuses where there is one.
    pub fn create(keys: &Path, node: &Identity, recovery: &Recipient) -> Result<Self, KeyringError> {
        let keyring = Self::at(keys, node, recovery, Content::default());
        keyring.write(&Content::default(), Existing::Refuse)?;
        Ok(keyring)
    }
    /// Opens the keyring in the folder `keys`.
    pub fn open(keys: &Path, node: &Identity, recovery: &Recipient) -> Result<Self, KeyringError> {
        let path = keys.join(KEYRING_FILE);
        let content = stored::read(&path, node)?;
        Ok(Self::at(keys, node, recovery, content))
    }
    /// Restores the keyring from its recovery copy and seals it to `node` anew. Refuses to replace one.
    pub fn recover(keys: &Path, copy: &Path, recovery: &Identity, node: &Identity) -> Result<Self, KeyringError> {
        let content = stored::read(copy, recovery)?;
        let keyring = Self::at(keys, node, &recovery.recipient(), content);
        if let Some(files) = &keyring.files {
            let bytes = stored::encode(&keyring.snapshot(), &files.keyring)?;
            KeyFile::write(&files.keyring, &[&files.node], bytes.expose(), Existing::Refuse)?;
            KeyFile::write(&files.recovery, &[&files.recovery_recipient], bytes.expose(), Existing::Replace)?;
        }
        Ok(keyring)
    }
    /// How many partitions a recovery copy holds keys for; nothing is written.
    pub fn read_copy(copy: &Path, recovery: &Identity) -> Result<usize, KeyringError> {
        Ok(stored::read(copy, recovery)?.keys.len())
    }
    /// What a recovery copy opens.
    pub fn survey_copy(copy: &Path, recovery: &Identity) -> Result<Survey, KeyringError> {
        let content = stored::read(copy, recovery)?;
        Ok(Survey { open: oldest(&content), erased: content.erased })
    }
    fn at(keys: &Path, node: &Identity, recovery: &Recipient, content: Content) -> Self {
        let files = Files {
            keyring: keys.join(KEYRING_FILE),
            recovery: keys.join(KEYRING_RECOVERY_FILE),
            node: node.recipient(),
            recovery_recipient: recovery.clone(),
        };
        Self { files: Some(files), content: RwLock::new(content), changing: Mutex::new(()), copying: RwLock::default() }
    }

    /// Makes keys for a partition that has none. When it returns, both files hold them.
    pub fn ensure_partition(&self, partition: Partition) -> Result<(), KeyringError> {
        if self.holds(partition) {
            return Ok(());
        }
        self.change(|content| {
            if content.keys.contains_key(&partition) {
                return Ok(());
            }
            if content.erased.contains(&partition) {
                return Err(KeyringError::NoPartition(partition));
            }
            if content.keys.len() + content.erased.len() >= PARTITIONS_MAX {
                return Err(KeyringError::Full);
            }
            content.keys.insert(partition, Arc::new(PartitionKeys::generate()?));
            Ok(())
        })
    }
    /// Gives a partition a new sealing key and a new identity for its files; what is sealed stays readable until it is
    /// sealed anew ([`Keyring::retire`]). No row may be on its way that was sealed before and is written after.
    pub fn rotate(&self, partition: Partition) -> Result<u32, KeyringError> {
        self.renumber(partition, 0, |keys| match keys.numbers.all.len().max(keys.files.former.len()) < KEYS_MAX {
            true => Ok((keys.numbers.rotated()?, keys.files.rotated()?)),
            false => Err(KeyringError::Full),
        })
    }
    /// Destroys the keys of a partition but for the newest: nothing is sealed under them any more. Not while a copy is
    /// made of what they open: whether it was done.
    pub fn retire(&self, partition: Partition) -> Result<bool, KeyringError> {
        let Ok(_alone) = self.copying.try_write() else { return Ok(false) };
        self.renumber(partition, 1, |keys| Ok((keys.numbers.retired(), keys.files.retired())))?;
        Ok(true)
    }
    /// Holds off [`Keyring::retire`] while a copy of what is sealed is made, until its keyring is beside it.
    pub fn copying(&self) -> RwLockReadGuard<'_, ()> {
        self.copying.read().unwrap_or_else(PoisonError::into_inner)
    }
    /// Differs after a rotation, and after the end of one: what was copied before is then not what lies here.
    pub fn rotations(&self) -> [u8; 32] {
        let rotated = self.snapshot().keys;
        let rotated = rotated.iter().filter(|(_, keys)| keys.newest_number() > 1);
        let parts: Vec<Vec<u8>> = rotated
            .map(|(partition, keys)| {
                [&partition.to_bytes()[..], &keys.newest_number().to_be_bytes(), &[u8::from(keys.is_rotating())]]
                    .concat()
            })
            .collect();
        sha256(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }
    /// The number of the oldest key of each partition: nothing is sealed under one before it.
    pub fn oldest(&self) -> BTreeMap<Partition, u32> {
        oldest(&self.snapshot())
    }
    /// How often keys were destroyed at the end of a rotation: what was copied before the last time may not open.
    pub fn retired(&self) -> u64 {
        self.snapshot().retired
    }
    /// Partitions of which something may be sealed under an older key.
    pub fn rotating(&self) -> Vec<Partition> {
        let content = self.snapshot();
        content.keys.iter().filter(|(_, keys)| keys.is_rotating()).map(|(partition, _)| *partition).collect()
    }
    /// Writes other sealing keys of a partition, and lets them count once they are durable.
    fn renumber(
        &self,
        partition: Partition,
        retired: u64,
        change: impl FnOnce(&PartitionKeys) -> Result<(Numbers, FileIdentities), KeyringError>,
    ) -> Result<u32, KeyringError> {
        let _changing: MutexGuard<'_, ()> = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut content = self.snapshot();
        let keys = content.keys.get(&partition).cloned().ok_or(KeyringError::NoPartition(partition))?;
        let (numbers, files) = change(&keys)?;
        let copy = Numbers { all: numbers.copies().collect(), newest: numbers.newest.clone() };
        content.keys.insert(partition, Arc::new(keys.with((copy, files.copies()))));
        content.retired = content.retired.saturating_add(retired);
        self.write(&content, Existing::Replace)?;
        self.content.write().unwrap_or_else(PoisonError::into_inner).retired = content.retired;
        keys.numbers.replace(numbers);
        keys.files.replace(files);
        Ok(keys.newest_number())
    }
    /// Erases a partition: its keys leave memory and both files, and it gets no others. Copies of the keyring elsewhere
    /// still open it.
    pub fn destroy_partition(&self, partition: Partition) -> Result<(), KeyringError> {
        self.change(|content| {
            content.keys.remove(&partition).ok_or(KeyringError::NoPartition(partition))?;
            content.erased.insert(partition);
            Ok(())
        })
    }
    /// Whether no partition's keys were ever destroyed.
    pub fn nothing_erased(&self) -> bool {
        self.content.read().unwrap_or_else(PoisonError::into_inner).erased.is_empty()
    }
    /// Whether the keys of a partition were destroyed.
    pub fn is_erased(&self, partition: Partition) -> bool {
        self.content.read().unwrap_or_else(PoisonError::into_inner).erased.contains(&partition)
    }

    /// Whether the partition has keys.
    pub fn holds(&self, partition: Partition) -> bool {
        self.content.read().unwrap_or_else(PoisonError::into_inner).keys.contains_key(&partition)
    }
    /// A partition's keys.
    pub fn keys(&self, partition: Partition) -> Result<Arc<PartitionKeys>, KeyringError> {
        let content = self.content.read().unwrap_or_else(PoisonError::into_inner);
        content.keys.get(&partition).cloned().ok_or(KeyringError::NoPartition(partition))
    }
    /// Who opens the two files: this node, and whoever has the recovery identity. None in memory.
    pub fn recipients(&self) -> Option<[&Recipient; 2]> {
        self.files.as_ref().map(|files| [&files.node, &files.recovery_recipient])
    }
    /// The recovery copy as it lies on the disk: whole, whenever it is read.
    pub fn recovery_copy(&self) -> Option<&Path> {
        self.files.as_ref().map(|files| files.recovery.as_path())
    }
    /// All partitions that have keys.
    pub fn partitions(&self) -> Vec<Partition> {
        self.snapshot().keys.into_keys().collect()
    }
    fn snapshot(&self) -> Content {
        self.content.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Applies a change to a copy, writes the copy, and only then lets it count.
    fn change<T>(&self, apply: impl FnOnce(&mut Content) -> Result<T, KeyringError>) -> Result<T, KeyringError> {
        let _changing: MutexGuard<'_, ()> = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut content = self.snapshot();
        let result = apply(&mut content)?;
        self.write(&content, Existing::Replace)?;
        *self.content.write().unwrap_or_else(PoisonError::into_inner) = content;
        Ok(result)
    }
    fn write(&self, content: &Content, existing: Existing) -> Result<(), KeyringError> {
        let Some(files) = &self.files else { return Ok(()) };
        let bytes = stored::encode(content, &files.keyring)?;
        KeyFile::write(&files.recovery, &[&files.recovery_recipient], bytes.expose(), existing)?;
        KeyFile::write(&files.keyring, &[&files.node], bytes.expose(), existing)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
