//! Sealing rows anew, under the newest key of their partition: a page at a time, while everything else goes on.
//!
//! A page is read, sealed and appended while no transaction is open, so nothing is written over; readers find a row under
//! the old key or under the new one, and the keyring has both until a whole walk has met nothing old. A crash leaves some
//! rows sealed anew and some not, and the walk begins again. Index tokens and row keys are made under other keys, which
//! are not rotated: a rotation moves no row.

use super::{
    Append, Expect, StoreError,
    holdings::Holdings,
    layout::{PLACE_BYTES, Table},
};
use crate::{
    seal::{
        keyring::{Partition, PartitionKeys},
        value,
    },
    secret,
};
use std::sync::{Arc, PoisonError};

/// Rows of a page.
const PAGE: usize = 500;

/// What one step of a walk did.
pub struct Resealed {
    /// Where the next one begins; none at the end.
    pub after: Option<Vec<u8>>,
    /// Rows that were looked at.
    pub seen: u64,
    /// Rows that were sealed anew.
    pub anew: u64,
}

impl Holdings {
    /// Gives a partition a new sealing key. What a transaction seals from now on is sealed under it.
    pub fn rotate_partition(&self, partition: Partition) -> Result<u32, StoreError> {
        let _no_transaction = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.ask(|| Ok(self.keyring().rotate(partition)?))
    }

    /// Seals the next page anew, where it is sealed under an older key.
    pub fn reseal(&self, after: Option<&[u8]>) -> Result<Resealed, StoreError> {
        let rotating = self.keyring().rotating();
        let keys = rotating.iter().map(|partition| self.keys(*partition)).collect::<Result<Vec<_>, _>>()?;
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = self.ask(|| self.ledger.scan(b"", after, PAGE))?;
        let mut done = Resealed { after: None, seen: rows.len() as u64, anew: 0 };
        if rows.len() == PAGE {
            done.after = rows.last().map(|(row, _)| row.clone());
        }
        let mut append = Append::default();
        for (row, sealed) in rows {
            if row.first() == Some(&(Table::Index as u8)) && sealed.len() == PLACE_BYTES {
                continue;
            }
            if let Some(new) = anew(&keys, &row, &sealed)? {
                append.expect.push((row.clone(), Expect::Equals(sealed)));
                append.puts.push((row, new));
            }
        }
        done.anew = append.puts.len() as u64;
        if append.puts.is_empty() {
            return Ok(done);
        }
        let position = self.ask(|| self.ledger.submit(append))?;
        drop(writer);
        self.wait(position)?;
        Ok(done)
    }
}

/// A row under the newest key of its partition, if it is one of these and sealed under an older key.
fn anew(keys: &[Arc<PartitionKeys>], row: &[u8], sealed: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(number) = value::key_number(sealed) else { return Ok(None) };
    for keys in keys.iter().filter(|keys| keys.newest_number() != number) {
        if let Ok(content) = value::open(keys, row, sealed.to_vec()) {
            let content = zeroize::Zeroizing::new(content);
            return Ok(Some(value::seal(keys, row, &content, &secret::random()?)?));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        seal::{hybrid::Identity, keyring::Keyring},
        store::open::{self, Backend},
    };
    use std::path::Path;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    const OWN: Partition = Partition::Own;

    fn number(n: u64) -> Vec<u8> {
        format!("value {n}").into_bytes()
    }

    fn every_row_reads(holdings: &Holdings, count: u64) -> Outcome {
        for n in 0..count {
            assert_eq!(holdings.item(OWN, Table::Record, b"", n)?, Some(number(n)), "{n}");
        }
        assert_eq!(holdings.first(OWN, "serial", b"A 1")?, Some(7));
        Ok(())
    }

    /// Rows sealed under another key than the newest of the partition.
    fn old(holdings: &Holdings) -> Result<usize, Box<dyn std::error::Error>> {
        let keys = holdings.keys(OWN)?;
        let mut count = 0;
        holdings.audit().each_row(None, &mut |seen| {
            let own = seen.opened.as_ref().is_some_and(|(partition, _)| *partition == OWN);
            count += usize::from(own && value::key_number(seen.value) != Some(keys.newest_number()));
            Ok(())
        })?;
        Ok(count)
    }

    /// Story: a partition gets a new key. The walk is killed after its first page, and begins again over the store that is
    /// opened anew; what is written meanwhile is under the new key; everything reads at any time, under the old key or the
    /// new one. When nothing is under the old one it is destroyed, and an older row that somebody puts back does not open.
    #[test]
    fn a_walk_that_is_killed_goes_on_over_every_engine() -> Outcome {
        for backend in [
            Backend::Fjall,
            Backend::Memory,
            #[cfg(feature = "sled")]
            Backend::Sled,
        ] {
            let folder = tempfile::tempdir()?;
            let (node, recovery) = (Identity::generate()?, Identity::generate()?.recipient());
            let data = folder.path().join("data");
            let on_disk = backend != Backend::Memory;
            let keyring = match on_disk {
                true => Keyring::create(folder.path(), &node, &recovery)?,
                false => Keyring::in_memory(),
            };
            let mut holdings = open::create(&data, backend, Arc::new(keyring))?;
            holdings.ensure_partition(OWN)?;
            let count = 3 * PAGE as u64;
            let mut txn = holdings.begin();
            for n in 0..count {
                txn.push(OWN, Table::Record, b"", &number(n))?;
            }
            txn.index(OWN, "serial", b"A 1", 7)?;
            txn.commit()?;
            assert_eq!(holdings.rotate_partition(OWN)?, 2);
            let before = old(&holdings)?;
            let first = holdings.reseal(None)?;
            assert!(first.anew > 0 && first.after.is_some());
            every_row_reads(&holdings, count)?;
            if on_disk {
                drop(holdings);
                let keyring = Keyring::open(folder.path(), &node, &recovery)?;
                holdings = open::open(&data, backend, Arc::new(keyring))?;
            }
            assert_eq!(holdings.keyring().rotating(), [OWN]);
            assert_eq!(old(&holdings)?, before - usize::try_from(first.anew)?);
            let mut txn = holdings.begin();
            txn.push(OWN, Table::Record, b"", &number(count))?;
            txn.commit()?;
            let mut after = None;
            loop {
                let step = holdings.reseal(after.as_deref())?;
                every_row_reads(&holdings, count + 1)?;
                after = step.after;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(old(&holdings)?, 0, "{backend:?}");
            holdings.keyring().retire(OWN)?;
            assert!(holdings.keyring().rotating().is_empty());
            every_row_reads(&holdings, count + 1)?;
            if on_disk {
                drop(holdings);
                let keyring = Keyring::open(folder.path(), &node, &recovery)?;
                let holdings = open::open(Path::new(&data), backend, Arc::new(keyring))?;
                every_row_reads(&holdings, count + 1)?;
            }
        }
        Ok(())
    }
}
