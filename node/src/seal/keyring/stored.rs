//! The keyring as it is written: read strictly, every secret wiped when dropped.

use super::{
    Content, FileIdentities, KEYS_MAX, KeyringError, Numbers, PARTITIONS_MAX, Partition, PartitionKeys, SealingKey,
};
use crate::{
    latest::Latest,
    seal::hybrid::Identity,
    secret::{
        Secret,
        keyfile::{KEY_FILE_BYTES_MAX, KeyFile},
    },
};
use entente_protocol::codec::{self, Bounds};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::{collections::BTreeMap, path::Path, sync::Arc};
use zeroize::{Zeroize, ZeroizeOnDrop};

const BOUNDS: Bounds = Bounds { bytes_max: KEY_FILE_BYTES_MAX as usize, items_max: 4_000_000 };

/// The keyring as it is written. Fields stand in canonical order; every secret in it is wiped when dropped.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    /// Ids of partitions whose keys were destroyed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    erased: Vec<ByteBuf>,
    format: u8,
    #[serde(default, skip_serializing_if = "is_none")]
    retired: u64,
    partitions: Vec<StoredPartition>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_none(count: &u64) -> bool {
    *count == 0
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former: Vec<StoredFormer>,
    #[serde(with = "serde_bytes")]
    identity: Vec<u8>,
}

/// An identity to which files may be sealed still.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct StoredFormer {
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

pub(super) fn encode(content: &Content, path: &Path) -> Result<Secret<Vec<u8>>, KeyringError> {
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
        former: keys
            .files
            .former
            .iter()
            .map(|former| StoredFormer { identity: former.seed().expose().to_vec() })
            .collect(),
        identity: keys.files.newest.seed().expose().to_vec(),
    });
    let erased = content.erased.iter().map(|partition| ByteBuf::from(partition.to_bytes())).collect();
    let stored = Stored { erased, format: 1, retired: content.retired, partitions: partitions.collect() };
    codec::to_vec(&stored, BOUNDS).map(Secret::new).map_err(|_| KeyringError::Form(path.to_owned()))
}

pub(super) fn read(path: &Path, identity: &Identity) -> Result<Content, KeyringError> {
    let plaintext = KeyFile::read(path, identity)?;
    let form = || KeyringError::Form(path.to_owned());
    let stored: Stored = codec::from_slice(plaintext.expose(), BOUNDS).map_err(|_| form())?;
    if stored.format != 1 || stored.partitions.len() + stored.erased.len() > PARTITIONS_MAX {
        return Err(form());
    }
    let keys =
        stored.partitions.iter().map(|partition| decode(partition).ok_or_else(form)).collect::<Result<_, _>>()?;
    let erased = stored.erased.iter().map(|id| Partition::from_bytes(id).ok_or_else(form)).collect::<Result<_, _>>()?;
    Ok(Content { keys, erased, retired: stored.retired })
}

fn decode(stored: &StoredPartition) -> Option<(Partition, Arc<PartitionKeys>)> {
    let seed = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).ok().map(Secret::new);
    if stored.keys.len() > KEYS_MAX || stored.former.len() > KEYS_MAX {
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
        files: Latest::new(FileIdentities {
            newest: Identity::from_seed(seed(&stored.identity)?),
            former: stored
                .former
                .iter()
                .map(|former| seed(&former.identity).map(Identity::from_seed))
                .collect::<Option<_>>()?,
        }),
    };
    Some((Partition::from_bytes(&stored.id)?, Arc::new(keys)))
}
