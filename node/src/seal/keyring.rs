//! The keyring: every partition's keys, in one file outside all engines and data backups.
//!
//! The file is sealed to the node's identity, and a second copy to the recovery recipient. Each change
//! writes both anew, whole, before it returns: the recovery copy first, so that nothing is ever sealed
//! that a restore could not open. Losing both files loses the data; destroying a partition's keys is
//! how its data is erased. The keyring knows nothing of rows or blobs.

use super::{
    hybrid::{Identity, Recipient},
    label,
};
use crate::{
    latest::Latest,
    secret::{
        RandomError, Secret,
        durable::Existing,
        keyfile::{KEY_FILE_BYTES_MAX, KeyFile, KeyFileError},
        random_secret,
    },
};
use entente_protocol::{
    codec::{self, Bounds},
    id::AgreementId,
    primitive::Prf,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};
use zeroize::{Zeroize, ZeroizeOnDrop};

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
    identity: Identity,
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
            identity: Identity::generate()?,
        })
    }
    #[cfg(test)]
    pub(super) fn rotated(&self) -> Result<Self, RandomError> {
        Ok(self.with(self.numbers.rotated()?))
    }
    /// The same under other sealing keys, as it is written.
    fn with(&self, numbers: Numbers) -> Self {
        let identity = Identity::from_seed(Secret::new(*self.identity.seed().expose()));
        Self { numbers: Latest::new(numbers), index: self.index.copy(), blob: self.blob.copy(), identity }
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
        self.numbers.all.len() > 1
    }
    /// HMAC-SHA256(index key, label, 0x00, each part after its length as 4 bytes BE), for row keys and index tokens.
    pub fn token(&self, label: &str, parts: &[&[u8]]) -> [u8; 32] {
        tagged(&self.index.key, label, parts)
    }
    /// The name under which a blob is kept: says nothing of what it holds.
    pub fn blob_name(&self, logical: &[u8]) -> [u8; 32] {
        tagged(&self.blob.key, label::BLOB_NAME, &[logical])
    }
    /// The identity to which the partition's blobs are sealed.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
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
}

/// All partitions' keys of one node.
pub struct Keyring {
    files: Option<Files>,
    content: RwLock<Content>,
    /// Held over a whole change, so that two changes do not write over each other.
    changing: Mutex<()>,
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
        Self { files: None, content: RwLock::default(), changing: Mutex::new(()) }
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
        let content = read(&path, node)?;
        Ok(Self::at(keys, node, recovery, content))
    }
    /// Restores the keyring from its recovery copy and seals it to `node` anew. Refuses to replace one.
    pub fn recover(keys: &Path, copy: &Path, recovery: &Identity, node: &Identity) -> Result<Self, KeyringError> {
        let content = read(copy, recovery)?;
        let keyring = Self::at(keys, node, &recovery.recipient(), content);
        if let Some(files) = &keyring.files {
            let bytes = encode(&keyring.snapshot(), &files.keyring)?;
            KeyFile::write(&files.keyring, &[&files.node], bytes.expose(), Existing::Refuse)?;
            KeyFile::write(&files.recovery, &[&files.recovery_recipient], bytes.expose(), Existing::Replace)?;
        }
        Ok(keyring)
    }
    /// How many partitions a recovery copy holds keys for; nothing is written.
    pub fn read_copy(copy: &Path, recovery: &Identity) -> Result<usize, KeyringError> {
        Ok(read(copy, recovery)?.keys.len())
    }
    /// The partitions that a recovery copy opens, and those whose keys were destroyed before it was made.
    pub fn survey_copy(copy: &Path, recovery: &Identity) -> Result<(Vec<Partition>, Vec<Partition>), KeyringError> {
        let content = read(copy, recovery)?;
        Ok((content.keys.into_keys().collect(), content.erased.into_iter().collect()))
    }
    fn at(keys: &Path, node: &Identity, recovery: &Recipient, content: Content) -> Self {
        let files = Files {
            keyring: keys.join(KEYRING_FILE),
            recovery: keys.join(KEYRING_RECOVERY_FILE),
            node: node.recipient(),
            recovery_recipient: recovery.clone(),
        };
        Self { files: Some(files), content: RwLock::new(content), changing: Mutex::new(()) }
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
    /// Gives a partition a new sealing key; what is sealed stays readable until it is sealed anew ([`Keyring::retire`]).
    /// No row may be on its way that was sealed before and is written after.
    pub fn rotate(&self, partition: Partition) -> Result<u32, KeyringError> {
        self.renumber(partition, |numbers| match numbers.all.len() < KEYS_MAX {
            true => Ok(numbers.rotated()?),
            false => Err(KeyringError::Full),
        })
    }
    /// Destroys the sealing keys of a partition but for the newest: nothing is sealed under them any more.
    pub fn retire(&self, partition: Partition) -> Result<u32, KeyringError> {
        self.renumber(partition, |numbers| Ok(numbers.retired()))
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
        change: impl FnOnce(&Numbers) -> Result<Numbers, KeyringError>,
    ) -> Result<u32, KeyringError> {
        let _changing: MutexGuard<'_, ()> = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut content = self.snapshot();
        let keys = content.keys.get(&partition).cloned().ok_or(KeyringError::NoPartition(partition))?;
        let numbers = change(&keys.numbers)?;
        let copy = Numbers { all: numbers.copies().collect(), newest: numbers.newest.clone() };
        content.keys.insert(partition, Arc::new(keys.with(copy)));
        self.write(&content, Existing::Replace)?;
        keys.numbers.replace(numbers);
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
        let bytes = encode(content, &files.keyring)?;
        KeyFile::write(&files.recovery, &[&files.recovery_recipient], bytes.expose(), existing)?;
        KeyFile::write(&files.keyring, &[&files.node], bytes.expose(), existing)?;
        Ok(())
    }
}

const BOUNDS: Bounds = Bounds { bytes_max: KEY_FILE_BYTES_MAX as usize, items_max: 4_000_000 };

/// The keyring as it is written. Fields stand in canonical order; every secret in it is wiped when dropped.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    /// Ids of partitions whose keys were destroyed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    erased: Vec<ByteBuf>,
    format: u8,
    partitions: Vec<StoredPartition>,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct StoredPartition {
    #[serde(with = "serde_bytes")]
    id: Vec<u8>,
    #[serde(with = "serde_bytes")]
    blob: Vec<u8>,
    keys: Vec<StoredKey>,
    #[serde(with = "serde_bytes")]
    index: Vec<u8>,
    #[serde(with = "serde_bytes")]
    identity: Vec<u8>,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct StoredKey {
    #[serde(with = "serde_bytes")]
    key: Vec<u8>,
    number: u32,
}

fn encode(content: &Content, path: &Path) -> Result<Secret<Vec<u8>>, KeyringError> {
    let partitions = content.keys.iter().map(|(partition, keys)| StoredPartition {
        id: partition.to_bytes(),
        blob: keys.blob.bytes.expose().to_vec(),
        keys: keys
            .numbers
            .all
            .iter()
            .map(|(number, key)| StoredKey { key: key.bytes.expose().to_vec(), number: *number })
            .collect(),
        index: keys.index.bytes.expose().to_vec(),
        identity: keys.identity.seed().expose().to_vec(),
    });
    let erased = content.erased.iter().map(|partition| ByteBuf::from(partition.to_bytes())).collect();
    let stored = Stored { erased, format: 1, partitions: partitions.collect() };
    codec::to_vec(&stored, BOUNDS).map(Secret::new).map_err(|_| KeyringError::Form(path.to_owned()))
}

fn read(path: &Path, identity: &Identity) -> Result<Content, KeyringError> {
    let plaintext = KeyFile::read(path, identity)?;
    let form = || KeyringError::Form(path.to_owned());
    let stored: Stored = codec::from_slice(plaintext.expose(), BOUNDS).map_err(|_| form())?;
    if stored.format != 1 || stored.partitions.len() + stored.erased.len() > PARTITIONS_MAX {
        return Err(form());
    }
    let keys =
        stored.partitions.iter().map(|partition| decode(partition).ok_or_else(form)).collect::<Result<_, _>>()?;
    let erased = stored.erased.iter().map(|id| Partition::from_bytes(id).ok_or_else(form)).collect::<Result<_, _>>()?;
    Ok(Content { keys, erased })
}

fn decode(stored: &StoredPartition) -> Option<(Partition, Arc<PartitionKeys>)> {
    let seed = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).ok().map(Secret::new);
    if stored.keys.len() > KEYS_MAX {
        return None;
    }
    let numbered: BTreeMap<u32, SealingKey> = stored
        .keys
        .iter()
        .map(|key| seed(&key.key).map(|bytes| (key.number, SealingKey::new(bytes))))
        .collect::<Option<_>>()?;
    let newest = numbered.last_key_value().map(|(number, key)| (*number, key.key.clone()))?;
    let keys = PartitionKeys {
        numbers: Latest::new(Numbers { all: numbered, newest }),
        index: SealingKey::new(seed(&stored.index)?),
        blob: SealingKey::new(seed(&stored.blob)?),
        identity: Identity::from_seed(seed(&stored.identity)?),
    };
    Some((Partition::from_bytes(&stored.id)?, Arc::new(keys)))
}

#[cfg(test)]
mod tests;
