//! fjall's lists of tables, held against their checksums before fjall reads them. Called by `fjall` when a ledger is
//! opened; it changes nothing.
//!
//! Each keyspace has a file `v<N>` that lists its tables, and a file `current` that names it, with a checksum that fjall
//! writes and does not read (lsm-tree, `version/recovery.rs`). One changed byte there makes a table be taken for older
//! than it is, or left out: rows come back as they were before, all of them consistent, while the sequence, which lies
//! in another keyspace, knows of no gap. So a list that is not as it was written refuses.
//!
//! ```text
//! current    version u64 | XXH3-128 over v<version> u128 | kind of checksum u8 (0)      little-endian
//! ```

use crate::store::{StoreError, io_error};
use std::{fs, path::Path};
use xxhash_rust::xxh3::xxh3_128;

/// Folder of the keyspaces within a database.
const KEYSPACES: &str = "keyspaces";
const CURRENT: &str = "current";

/// Checks the list of tables of every keyspace.
pub fn check(database: &Path) -> Result<(), StoreError> {
    let folder = database.join(KEYSPACES);
    for entry in fs::read_dir(&folder).map_err(io_error("read the keyspaces"))? {
        let keyspace = entry.map_err(io_error("read the keyspaces"))?.path();
        if keyspace.is_dir() {
            check_one(&keyspace)?;
        }
    }
    Ok(())
}

fn check_one(keyspace: &Path) -> Result<(), StoreError> {
    let current = keyspace.join(CURRENT);
    // A keyspace whose making was cut off by a crash holds nothing yet; fjall makes it anew, or refuses.
    if !current.exists() {
        return Ok(());
    }
    let bytes = fs::read(&current).map_err(io_error("read the list of tables"))?;
    let fields = bytes.split_first_chunk::<8>().and_then(|(version, rest)| {
        let (checksum, rest) = rest.split_first_chunk::<16>()?;
        (rest == [0]).then(|| (u64::from_le_bytes(*version), u128::from_le_bytes(*checksum)))
    });
    let (version, checksum) = fields.ok_or_else(|| StoreError::Damaged(current.clone()))?;
    let list = keyspace.join(format!("v{version}"));
    let listed = fs::read(&list).map_err(|_| StoreError::Damaged(list.clone()))?;
    if xxh3_128(&listed) == checksum { Ok(()) } else { Err(StoreError::Damaged(list)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Story: a byte of a keyspace's list of tables was changed on the disk. fjall opened, and the newest rows of two
    /// lists were gone, with nothing to show it. Now every changed byte of the list and of what names it refuses.
    #[test]
    fn a_changed_list_of_tables_refuses() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let database = folder.path().join("ledger");
        {
            let database = ::fjall::Database::builder(&database).open()?;
            let rows = database.keyspace("rows", ::fjall::KeyspaceCreateOptions::default)?;
            rows.insert(b"key", b"value")?;
            rows.rotate_memtable_and_wait()?;
        }
        check(&database)?;
        let mut changed = 0;
        for entry in fs::read_dir(database.join(KEYSPACES))? {
            let keyspace = entry?.path();
            let current = fs::read(keyspace.join(CURRENT))?;
            let version = u64::from_le_bytes(current[..8].try_into()?);
            for name in [CURRENT.to_owned(), format!("v{version}")] {
                let path = keyspace.join(name);
                let bytes = fs::read(&path)?;
                for at in 0..bytes.len() {
                    let mut other = bytes.clone();
                    other[at] ^= 0x40;
                    fs::write(&path, &other)?;
                    assert!(check(&database).is_err(), "{}: byte {at}", path.display());
                    changed += 1;
                }
                fs::write(&path, &bytes)?;
            }
        }
        assert!(changed > 100, "{changed}");
        Ok(check(&database)?)
    }
}
