//! Sealing rows and files anew, under the newest keys of their partition: a page at a time, while everything else goes on.
//!
//! A page is read, sealed and appended while no transaction is open, so nothing is written over; readers find a row under
//! the old key or under the new one, and the keyring has both until a whole walk has met nothing old. A crash leaves some
//! rows sealed anew and some not, and the walk begins again. Index tokens, row keys and names of files are made under other
//! keys, which are not rotated: a rotation moves no row and renames no file.
//!
//! A file is written anew beside itself and takes its own place; whoever reads it reads on in the one before.

use super::{
    Append, BlobName, Expect, StoreError,
    holdings::Holdings,
    io_error,
    layout::{PLACE_BYTES, Table},
};
use crate::{
    seal::{
        keyring::{Partition, PartitionKeys},
        stream::{self, StreamError},
        value,
    },
    secret,
};
use std::{
    io,
    sync::{Arc, PoisonError},
};

/// Rows of a page.
const PAGE: usize = 500;
/// Files that are looked at in one step, and of these, at most, those sealed anew: each has up to 16 MiB.
const FILES: usize = 500;
const FILES_ANEW: u64 = 4;

/// What one step of a walk did.
pub struct Resealed {
    /// Where the next one begins; none at the end.
    pub after: Option<Vec<u8>>,
    /// Rows that were looked at.
    pub seen: u64,
    /// Rows that were sealed anew.
    pub anew: u64,
}

/// What one step of a walk over files did.
#[derive(Default)]
pub struct ResealedFiles {
    /// Where the next one begins; none at the end.
    pub after: Option<BlobName>,
    /// Files that were looked at: pieces of at most 16 MiB.
    pub seen: u64,
    /// Files that were sealed anew.
    pub anew: u64,
    /// Files that cannot be read to their end, and so stay as they are.
    pub damaged: u64,
}

/// What became of one file.
enum File {
    /// It is not sealed under an older key, or nobody knows under which.
    Other,
    Anew,
    Damaged,
}

impl Holdings {
    /// Gives a partition a new sealing key. What a transaction seals from now on is sealed under it.
    pub fn rotate_partition(&self, partition: Partition) -> Result<u32, StoreError> {
        let _no_transaction = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.ask(|| Ok(self.keyring().rotate(partition)?))?;
        self.writing.rotated();
        Ok(number)
    }
    /// Destroys the keys of a partition but for the newest, once a whole walk has met nothing under them
    /// ([`Keyring::retire`](crate::seal::keyring::Keyring::retire)): whether it was done. What the walk met may stand in an
    /// append that the disk does not have yet: without it, a power cut would leave rows that nothing opens.
    pub fn retire_partition(&self, partition: Partition) -> Result<bool, StoreError> {
        self.wait(self.head()?)?;
        self.ask(|| Ok(self.keyring().retire(partition)?))
    }
    /// Whether a file is being written that may be sealed under an older key when it is done.
    pub fn is_written_behind(&self) -> bool {
        self.writing.is_behind()
    }

    /// Seals the next files anew, where they are sealed to a former identity of their partition.
    pub fn reseal_files(&self, after: Option<BlobName>) -> Result<ResealedFiles, StoreError> {
        let rotating = self.keyring().rotating();
        let keys = rotating.iter().map(|partition| self.keys(*partition)).collect::<Result<Vec<_>, _>>()?;
        let names = self.ask(|| self.vault().list(after, FILES))?;
        let mut done = ResealedFiles { after: names.last().copied(), ..ResealedFiles::default() };
        for name in names {
            done.seen += 1;
            match self.reseal_file(&keys, name)? {
                File::Other => {}
                File::Anew => done.anew += 1,
                File::Damaged => done.damaged += 1,
            }
            if done.anew >= FILES_ANEW {
                done.after = Some(name);
                break;
            }
        }
        Ok(done)
    }

    fn reseal_file(&self, keys: &[Arc<PartitionKeys>], name: BlobName) -> Result<File, StoreError> {
        for keys in keys.iter().filter(|keys| !keys.former_identities().is_empty()) {
            let Some(sealed) = self.ask(|| self.vault().open(name))? else { return Ok(File::Other) };
            let mut content = match stream::open_any(keys.former_identities().iter(), sealed) {
                Ok(content) => content,
                Err(StreamError::Io(error)) => return self.ask(|| Err(StoreError::engine("read a blob", error))),
                Err(_) => continue,
            };
            let mut anew = stream::seal(&[&keys.identity().recipient()], self.vault_writer()?)?;
            if let Err(error) = io::copy(&mut content, &mut anew) {
                // What cannot be written is the store's failure, which it keeps; what does not read is one file.
                self.ask(|| Ok(()))?;
                tracing::warn!(%error, file = %name, "a file cannot be read to its end, and stays sealed under an older key");
                return Ok(File::Damaged);
            }
            let anew = anew.finish().map_err(io_error("finish a blob"))?.inner;
            let _placing = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
            return match self.ask(|| self.vault().exists(name))? {
                true => self.ask(|| anew.replace(name)).map(|()| File::Anew),
                // Removed meanwhile.
                false => Ok(File::Other),
            };
        }
        Ok(File::Other)
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
        store::{
            Ledger, Position, Row, SequenceRow, Snapshot, layout,
            memory::{MemoryLedger, MemoryVault},
            open::{self, Backend},
        },
    };
    use entente_protocol::id::StoreId;
    use std::{
        io::{Read as _, Seek as _, Write as _},
        path::Path,
        sync::Mutex,
    };

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
            assert!(holdings.keyring().retire(OWN)?);
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

    /// A ledger that answers once with what a row was before, and of which a disk has nothing after a position.
    struct Late {
        ledger: MemoryLedger,
        stale: Mutex<Option<Vec<u8>>>,
        durable: Mutex<Option<Position>>,
    }

    impl Late {
        fn new() -> Self {
            let (stale, durable) = (Mutex::default(), Mutex::default());
            Self { ledger: MemoryLedger::new(layout::immutable), stale, durable }
        }
    }

    impl Ledger for Late {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            match self.stale.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(stale) => Ok(Some(stale)),
                None => self.ledger.get(key),
            }
        }
        fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
            let mut rows = self.ledger.scan(prefix, after, limit)?;
            if let (Some(stale), Some(first)) =
                (self.stale.lock().unwrap_or_else(PoisonError::into_inner).take(), rows.first_mut())
            {
                first.1 = stale;
            }
            Ok(rows)
        }
        fn last(&self, prefix: &[u8]) -> Result<Option<Row>, StoreError> {
            self.ledger.last(prefix)
        }
        fn submit(&self, batch: Append) -> Result<Position, StoreError> {
            self.ledger.submit(batch)
        }
        fn wait(&self, position: Position) -> Result<(), StoreError> {
            match *self.durable.lock().unwrap_or_else(PoisonError::into_inner) {
                Some(durable) if position.sequence > durable.sequence => {
                    Err(StoreError::engine("sync", "the power is cut"))
                }
                _ => self.ledger.wait(position),
            }
        }
        fn head(&self) -> Result<Position, StoreError> {
            self.ledger.head()
        }
        fn sequence(&self, after: u64, limit: usize) -> Result<Vec<SequenceRow>, StoreError> {
            self.ledger.sequence(after, limit)
        }
        fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
            self.ledger.snapshot()
        }
    }

    /// Whoever fetched a row just before the key that sealed it was destroyed reads it again, and the store goes on.
    #[test]
    fn a_row_that_was_fetched_before_its_key_was_destroyed_is_read_again() -> Outcome {
        let late = Arc::new(Late::new());
        let (ledger, vault) = (Arc::clone(&late), Arc::new(MemoryVault::default()));
        let keyring = Arc::new(Keyring::in_memory());
        let holdings = open::create_over(ledger, vault, keyring, StoreId::from_bytes([7; 16]))?;
        let mut txn = holdings.begin();
        txn.push(OWN, Table::Record, b"", &number(0))?;
        txn.commit()?;
        let keys = holdings.keys(OWN)?;
        let list = layout::list(&keys, Table::Record, b"");
        let sealed = late.ledger.get(&layout::item(&list, 0))?.ok_or("a row")?;
        holdings.rotate_partition(OWN)?;
        assert!(holdings.reseal(None)?.anew > 0);
        assert!(holdings.keyring().retire(OWN)?);
        let fetched = || *late.stale.lock().unwrap_or_else(PoisonError::into_inner) = Some(sealed.clone());
        fetched();
        assert_eq!(holdings.item(OWN, Table::Record, b"", 0)?, Some(number(0)));
        fetched();
        assert_eq!(holdings.list(OWN, Table::Record, b"", None, 9)?, [(0, number(0))]);
        assert_eq!(holdings.failed(), None);
        Ok(())
    }

    /// Story: another thread has appended rows under the new key, and the disk does not have them yet, when the walk finds that
    /// nothing is under the older one. It is destroyed only when the disk has them: where that never comes, it stays.
    #[test]
    fn a_key_goes_when_the_disk_has_what_was_sealed_anew() -> Outcome {
        let late = Arc::new(Late::new());
        let (ledger, vault) = (Arc::clone(&late), Arc::new(MemoryVault::default()));
        let holdings = open::create_over(ledger, vault, Arc::new(Keyring::in_memory()), StoreId::from_bytes([7; 16]))?;
        let mut txn = holdings.begin();
        txn.push(OWN, Table::Record, b"", &number(0))?;
        txn.commit()?;
        for power_is_cut in [false, true] {
            holdings.rotate_partition(OWN)?;
            assert!(holdings.reseal(None)?.anew > 0);
            let durable = holdings.head()?;
            let mut txn = holdings.begin();
            txn.push(OWN, Table::Record, b"", &number(1))?;
            assert!(txn.submit()?.sequence > durable.sequence);
            *late.durable.lock().unwrap_or_else(PoisonError::into_inner) = power_is_cut.then_some(durable);
            assert_eq!(holdings.retire_partition(OWN).ok(), (!power_is_cut).then_some(true));
            assert_eq!(holdings.keyring().rotating().is_empty(), !power_is_cut);
        }
        Ok(())
    }

    fn content(holdings: &Holdings, name: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let mut content = Vec::new();
        holdings.blob_open(OWN, name)?.read_to_end(&mut content)?;
        Ok(content)
    }

    fn walk(holdings: &Holdings) -> Result<(u64, u64), Box<dyn std::error::Error>> {
        let (mut after, mut anew, mut damaged) = (None, 0, 0);
        loop {
            let step = holdings.reseal_files(after)?;
            (anew, damaged, after) = (anew + step.anew, damaged + step.damaged, step.after);
            if after.is_none() {
                return Ok((anew, damaged));
            }
        }
    }

    /// Story: files lie in a partition that gets a new key; one is being written meanwhile, one is being read, one was
    /// damaged before. All that reads is sealed anew under its own name, the one that was being written in the next walk,
    /// and whoever has the keys of before opens none of it.
    #[test]
    fn files_are_sealed_anew_and_who_has_the_older_key_opens_none() -> Outcome {
        let folder = tempfile::tempdir()?;
        let (node, recovery) = (Identity::generate()?, Identity::generate()?.recipient());
        let data = folder.path().join("data");
        let keyring = Arc::new(Keyring::create(folder.path(), &node, &recovery)?);
        let holdings = open::create(&data, Backend::Fjall, keyring)?;
        holdings.ensure_partition(OWN)?;
        let names: Vec<Vec<u8>> = (0..7_u8).map(|n| vec![n]).collect();
        for name in &names {
            holdings.blob_put(OWN, name, &mut &name.repeat(100_000)[..])?;
        }
        let stolen = Keyring::open(folder.path(), &node, &recovery)?.keys(OWN)?;
        let mut damaged = std::fs::OpenOptions::new().write(true).open(path_of(&data, &holdings, &names[6])?)?;
        damaged.seek(std::io::SeekFrom::End(-40))?;
        damaged.write_all(b"another")?;
        let mut reading = holdings.blob_open(OWN, &names[0])?;
        let mut writing = holdings.blob_writer(OWN)?;
        holdings.rotate_partition(OWN)?;
        assert!(holdings.is_written_behind());
        assert_eq!(walk(&holdings)?, (6, 1));
        assert_eq!(walk(&holdings)?, (0, 1));
        for name in &names[..6] {
            assert_eq!(content(&holdings, name)?, name.repeat(100_000));
            let sealed = std::fs::File::open(path_of(&data, &holdings, name)?)?;
            assert!(matches!(stream::open(stolen.identity(), sealed), Err(StreamError::WrongKey)));
        }
        let mut begun = Vec::new();
        reading.read_to_end(&mut begun)?;
        assert_eq!(begun, names[0].repeat(100_000));
        writing.write_all(b"begun before")?;
        writing.commit(b"late")?;
        assert!(!holdings.is_written_behind());
        assert_eq!(content(&holdings, b"late")?, b"begun before");
        assert_eq!(walk(&holdings)?, (1, 1));
        holdings.blob_remove(OWN, &names[6])?;
        assert_eq!(walk(&holdings)?, (0, 0));
        assert!(holdings.keyring().retire(OWN)?);
        assert_eq!(content(&holdings, b"late")?, b"begun before");
        drop(holdings);
        let holdings = open::open(&data, Backend::Fjall, Arc::new(Keyring::open(folder.path(), &node, &recovery)?))?;
        assert_eq!(content(&holdings, &names[3])?, names[3].repeat(100_000));
        Ok(())
    }

    fn path_of(
        data: &Path,
        holdings: &Holdings,
        name: &[u8],
    ) -> Result<std::path::PathBuf, Box<dyn std::error::Error>> {
        let digits = holdings.blob_name(OWN, name)?.to_string();
        Ok(data.join("blobs").join(digits.get(..2).ok_or("digits")?).join(&digits))
    }
}
