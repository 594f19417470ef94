//! The head file: the last acknowledged position, kept beside the engine, so that a ledger which lost
//! its tail is noticed when it is opened.
//!
//! ```text
//! offset 0 and 4096, a slot each: magic 8 | sequence u64 BE | digest 32 | SHA-256(label, 0x00, before) 32
//! ```
//!
//! A slot is written after the engine's sync and before the acknowledgement. It is synced only now and then and
//! when the store is closed; until then the same slot is written again, and the other one keeps the last
//! position that was synced. So a torn write spoils one slot, whatever a disk does with half a sector, and the
//! other still counts. (The two used to take turns with every write: after a power cut both could be torn, and
//! a store that had lost nothing did not open.)
//!
//! That is enough: a killed process loses nothing of it; after a power cut it may name an older
//! position, and never one that the engine did not sync before. What it must catch is damage to a
//! journal that was on disk, which an engine may take for the journal's end. Syncing it each time
//! would halve the rate of commits to narrow a gap that the partners' countersignatures close too.

use super::{Position, StoreError, chain, io_error};
use crate::{
    seal::label,
    secret::durable::{self, Existing},
};
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

const MAGIC: &[u8; 8] = b"entente\x01";
const SLOT_BYTES: usize = 8 + 8 + 32 + 32;
/// A slot each in a block of its own.
const SLOT_DISTANCE: u64 = 4_096;
/// Writes between two syncs.
const SYNC_EVERY: u64 = 256;

/// The open head file.
pub struct Head {
    file: File,
    /// The slot that is written until the next sync.
    slot: u64,
    /// Writes since the last sync.
    unsynced: u64,
}

impl Head {
    /// Writes the head of an empty ledger.
    pub fn create(path: &Path) -> Result<(), StoreError> {
        let mut bytes = encode(Position::default());
        bytes.resize(usize::try_from(SLOT_DISTANCE).unwrap_or_default() * 2, 0);
        durable::write(path, &bytes, Existing::Refuse).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => StoreError::Exists(path.to_owned()),
            _ => StoreError::engine("create the head file", error),
        })
    }
    /// Opens it and tells the last position that it knows.
    pub fn open(path: &Path) -> Result<(Self, Position), StoreError> {
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::Missing(path.to_owned()),
            _ => StoreError::engine("open the head file", error),
        })?;
        // What a killed process wrote is only in memory. It must last before the other slot is touched.
        file.sync_data().map_err(io_error("sync the head file"))?;
        let slots = [0, 1].map(|slot: u64| {
            let mut bytes = [0; SLOT_BYTES];
            let read = file.read_exact_at(&mut bytes, slot * SLOT_DISTANCE).ok();
            read.and_then(|()| decode(&bytes)).map(|position| (position, slot))
        });
        let newest = slots.into_iter().flatten().max_by_key(|(position, _)| position.sequence);
        let (position, slot) = newest.ok_or_else(|| damaged(path.to_owned()))?;
        Ok((Self { file, slot: 1 - slot, unsynced: 0 }, position))
    }
    /// Notes a position that the engine has synced.
    pub fn write(&mut self, position: Position) -> Result<(), StoreError> {
        let offset = self.slot * SLOT_DISTANCE;
        self.file.write_all_at(&encode(position), offset).map_err(io_error("write the head file"))?;
        self.unsynced += 1;
        if self.unsynced >= SYNC_EVERY { self.sync() } else { Ok(()) }
    }
    /// Puts what was written on disk; from then on the other slot is written.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(io_error("sync the head file"))?;
        if self.unsynced > 0 {
            (self.slot, self.unsynced) = (1 - self.slot, 0);
        }
        Ok(())
    }
}

fn damaged(path: PathBuf) -> StoreError {
    StoreError::engine("open the head file", format!("`{}` is damaged: restore it from a backup", path.display()))
}

fn encode(position: Position) -> Vec<u8> {
    let content = [MAGIC.as_slice(), &position.sequence.to_be_bytes(), &position.digest].concat();
    [content.as_slice(), &checksum(&content)].concat()
}

fn checksum(content: &[u8]) -> [u8; 32] {
    chain::finish(&[label::HEAD.as_bytes(), &[0], content])
}

fn decode(slot: &[u8; SLOT_BYTES]) -> Option<Position> {
    let (content, sum) = slot.split_last_chunk::<32>()?;
    let (magic, rest) = content.split_first_chunk::<8>()?;
    let (sequence, digest) = rest.split_first_chunk::<8>()?;
    let digest = <[u8; 32]>::try_from(digest).ok()?;
    (magic == MAGIC && checksum(content) == *sum).then(|| Position { sequence: u64::from_be_bytes(*sequence), digest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_slot_leaves_the_one_before() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("head");
        Head::create(&path)?;
        assert!(matches!(Head::create(&path), Err(StoreError::Exists(_))));
        let (mut head, position) = Head::open(&path)?;
        assert_eq!(position, Position::default());
        let first = position.next([1; 32]);
        let second = first.next([2; 32]);
        head.write(position)?;
        head.write(first)?;
        let synced = head.slot;
        head.sync()?;
        head.write(second)?;
        head.write(second)?;
        assert_ne!(head.slot, synced, "what was synced stays until the next sync");
        assert_eq!(Head::open(&path)?.1, second);
        head.file.write_all_at(&[0xff; 9], head.slot * SLOT_DISTANCE + 40)?;
        assert_eq!(Head::open(&path)?.1, first);
        head.file.write_all_at(&[0xff; 9], synced * SLOT_DISTANCE + 40)?;
        assert!(Head::open(&path).is_err());
        std::fs::remove_file(&path)?;
        assert!(matches!(Head::open(&path), Err(StoreError::Missing(_))));
        Ok(())
    }
}
