//! What bounds a figure from outside, measured in the same run: the disk, the digest, the sealing.
//!
//! Each function does one thing and returns how long it took. None of them touches the program.

use crate::input::Sequence;
use anyhow::Result;
use entente_node::seal::{hybrid::Identity, stream};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
    sync::LazyLock,
    time::{Duration, Instant},
};

const BLOCK: usize = 1 << 20;

/// Made before anything is timed.
fn block() -> &'static [u8] {
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut random = Sequence::new(0xb10c);
        (0..BLOCK / 8).flat_map(|_| random.number().to_le_bytes()).collect()
    });
    &BYTES
}

/// Gives `bytes` bytes to `take`, a block at a time.
fn in_blocks(block: &[u8], bytes: u64, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut left = bytes;
    while left > 0 {
        let length = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        take(&block[..length])?;
        left -= length as u64;
    }
    Ok(())
}

/// Writes so many bytes to one new file in `folder`, in order, then fdatasync.
pub fn synced_write(folder: &Path, bytes: u64) -> Result<Duration> {
    let path = folder.join("synced-write");
    let block = block();
    let begun = Instant::now();
    let mut file = File::create(&path)?;
    in_blocks(block, bytes, |block| file.write_all(block))?;
    file.sync_data()?;
    let time = begun.elapsed();
    fs::remove_file(path)?;
    Ok(time)
}

/// SHA-256 of so many bytes, on one core.
pub fn sha256(bytes: u64) -> Result<Duration> {
    let block = block();
    let begun = Instant::now();
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    in_blocks(block, bytes, |block| {
        digest.update(block);
        Ok(())
    })?;
    std::hint::black_box(digest.finish());
    Ok(begun.elapsed())
}

/// Our own sealing of so many bytes, an age stream to one hybrid recipient, written nowhere; on one core.
pub fn sealing(bytes: u64) -> Result<Duration> {
    let recipient = Identity::generate()?.recipient();
    let block = block();
    let begun = Instant::now();
    let mut out = stream::seal(&[&recipient], io::sink())?;
    in_blocks(block, bytes, |block| out.write_all(block))?;
    out.finish()?;
    Ok(begun.elapsed())
}

/// Appends of 1 KB to one file, each with fdatasync; the time of each.
pub fn appends(folder: &Path, count: u64) -> Result<Vec<Duration>> {
    let path = folder.join("appends");
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    let block = block();
    let mut times = Vec::new();
    for _ in 0..count {
        let begun = Instant::now();
        file.write_all(&block[..1_024])?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    fs::remove_file(path)?;
    Ok(times)
}
