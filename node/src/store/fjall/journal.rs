//! fjall's journals, read before fjall reads them. Called by `fjall` when a ledger is opened; it knows journals only.
//!
//! fjall takes some ends of a journal for torn ones and cuts them off, and refuses others. Both are wrong here. A power
//! cut may keep the end of the last append and lose its middle: fjall then finds a wrong checksum and does not open,
//! although nothing that was acknowledged is lost. And a byte that was changed in the middle may look like a torn end:
//! fjall then cuts off all that follows, acknowledged or not, before anybody could save it. So:
//!
//! - in the newest journal, what follows the last whole append is cut off if nothing of it can have been acknowledged;
//! - in any other case of damage the store refuses, and nothing is changed.
//!
//! ```text
//! batch    start, items, end                    all numbers little-endian
//! start    0x01 | items u32 | seqno u64
//! item     0x02 | type u8 | compression u8 (0) | keyspace u64 | key length u16 | length u32 | length u32 | key | value
//! clear    0x04 | keyspace u64
//! end      0x03 | XXH3-64 over the items as they stand u64 | "FJL" 0x03
//! ```
//!
//! Behind the last batch stand zeros: a journal is allocated at once. fjall is pinned exactly, so the form does not
//! change unseen; a test reads a journal that it wrote.

use crate::store::{StoreError, chain, io_error};
use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::Path,
};
use xxhash_rust::xxh3::Xxh3;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: &[u8; 4] = b"FJL\x03";
const BUFFER_BYTES: usize = 256 << 10;

/// What stands in a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    /// Bytes of the whole batches at its beginning.
    pub whole: u64,
    /// The last append of those, by its sequence number.
    pub last: Option<u64>,
    /// Whether anything but zeros follows.
    pub more: bool,
}

/// Reads a journal to its end or to the first batch that is not whole.
pub fn read(path: &Path) -> io::Result<Found> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut journal = Journal { input: BufReader::with_capacity(BUFFER_BYTES, file), at: 0, length };
    let mut found = Found::default();
    loop {
        match journal.batch() {
            Ok(Some(last)) => {
                found.whole = journal.at;
                found.last = last.or(found.last);
            }
            Ok(None) => break,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
    }
    found.more = journal.is_followed(found.whole)?;
    Ok(found)
}

/// Makes journals such that fjall reads what was acknowledged, or refuses. `paths` rise; `known` is the last append that
/// the head file names.
pub fn mend(paths: &[&Path], known: u64) -> Result<(), StoreError> {
    let Some((newest, sealed)) = paths.split_last() else { return Ok(()) };
    let mut last = None;
    for path in sealed {
        let found = read(path).map_err(io_error("read a journal"))?;
        if found.more {
            let damage = format!("`{}` is damaged behind byte {}: restore a backup", path.display(), found.whole);
            return Err(StoreError::engine("open the ledger", damage));
        }
        last = found.last.or(last);
    }
    let found = read(newest).map_err(io_error("read a journal"))?;
    if !found.more {
        return Ok(());
    }
    // Where no journal names an append, the tree may hold it, and the check of the tail tells.
    if let Some(last) = found.last.or(last)
        && last < known
    {
        return Err(StoreError::LostTail { found: last, known });
    }
    tracing::warn!(journal = %newest.display(), at = found.whole, "the end of the journal is torn: nothing acknowledged stands there, and it is cut off");
    let cut = || {
        let file = OpenOptions::new().write(true).open(newest)?;
        file.set_len(found.whole)?;
        file.sync_all()
    };
    cut().map_err(io_error("cut off a torn end of the journal"))
}

struct Journal {
    input: BufReader<File>,
    at: u64,
    length: u64,
}

impl Journal {
    /// One batch: the append that it carries if it is one of ours. `None` where no whole batch stands.
    fn batch(&mut self) -> io::Result<Option<Option<u64>>> {
        let mut sum = Xxh3::new();
        if self.take::<1>()? != [START] {
            return Ok(None);
        }
        let count = u32::from_le_bytes(self.take()?);
        self.take::<8>()?;
        let mut last = None;
        for _ in 0..count {
            let [tag] = self.take()?;
            sum.update(&[tag]);
            match tag {
                ITEM => last = self.item(&mut sum)?,
                CLEAR => sum.update(&self.take::<8>()?),
                _ => return Ok(None),
            }
        }
        let whole = self.take::<1>()? == [END] && u64::from_le_bytes(self.take()?) == sum.digest();
        Ok((whole && &self.take::<4>()? == TRAILER).then_some(last))
    }
    /// One item; the sequence number if it is a row of the sequence, which ends every append.
    fn item(&mut self, sum: &mut Xxh3) -> io::Result<Option<u64>> {
        let kind: [u8; 2] = self.take()?;
        let keyspace: [u8; 8] = self.take()?;
        let key_length: [u8; 2] = self.take()?;
        let lengths: [u8; 8] = self.take()?;
        for part in [kind.as_slice(), &keyspace, &key_length, &lengths] {
            sum.update(part);
        }
        let [a, b, c, d, ..] = lengths;
        let key = self.take_bytes(u64::from(u16::from_le_bytes(key_length)))?;
        let value = self.take_bytes(u64::from(u32::from_le_bytes([a, b, c, d])))?;
        sum.update(&key);
        sum.update(&value);
        Ok(chain::decode(&key, &value).map(|row| row.position.sequence))
    }
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }
    /// No more than the file holds is ever asked for, whatever a length says.
    fn take_bytes(&mut self, count: u64) -> io::Result<Vec<u8>> {
        if count > self.length.saturating_sub(self.at) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; usize::try_from(count).unwrap_or_default()];
        self.input.read_exact(&mut bytes)?;
        self.at += count;
        Ok(bytes)
    }
    /// Whether anything but zeros stands behind `from`. Most of what is behind was never written and is skipped.
    fn is_followed(&mut self, from: u64) -> io::Result<bool> {
        let (mut at, zeros) = (from, vec![0u8; BUFFER_BYTES]);
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        // Ends: each turn reads bytes or is the last.
        loop {
            at = match rustix::fs::seek(self.input.get_ref(), rustix::fs::SeekFrom::Data(at)) {
                Ok(data) => data,
                Err(rustix::io::Errno::NXIO) => return Ok(false),
                // A file system that does not know its holes: all of it is read.
                Err(_) => at,
            };
            self.input.seek(SeekFrom::Start(at))?;
            buffer.clear();
            let read = (&mut self.input).take(BUFFER_BYTES as u64).read_to_end(&mut buffer)?;
            if zeros.get(..read) != Some(buffer.as_slice()) {
                return Ok(true);
            }
            if read == 0 {
                return Ok(false);
            }
            at += read as u64;
        }
    }
}
