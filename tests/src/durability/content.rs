//! What files contain, in blocks and sectors: copied with its holes, torn as a disk tears it, changed by one byte.

use super::{Outcome, Rng};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

/// What a disk writes at once.
const SECTOR: u64 = 512;
const BLOCK: u64 = 4_096;

/// A file's content; blocks of zeros are not kept.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    pub(super) length: u64,
    blocks: BTreeMap<u64, Arc<[u8; BLOCK as usize]>>,
}

impl Content {
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let bytes = fs::read(path)?;
        let mut content = Self { length: bytes.len() as u64, ..Self::default() };
        for (at, block) in (0u64..).zip(bytes.chunks(BLOCK as usize)) {
            if block.iter().any(|byte| *byte != 0) {
                let mut whole = [0; BLOCK as usize];
                whole.iter_mut().zip(block).for_each(|(to, from)| *to = *from);
                content.blocks.insert(at, Arc::new(whole));
            }
        }
        Ok(content)
    }
    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) {
        let (mut at, mut rest) = (at, bytes);
        while !rest.is_empty() {
            let within = (at % BLOCK) as usize;
            let step = rest.len().min(BLOCK as usize - within);
            let (now, later) = rest.split_at(step);
            let block = self.blocks.entry(at / BLOCK).or_insert_with(|| Arc::new([0; BLOCK as usize]));
            Arc::make_mut(block)[within..within + step].copy_from_slice(now);
            (at, rest) = (at + step as u64, later);
        }
        self.length = self.length.max(at);
    }
    pub(super) fn set_length(&mut self, length: u64) {
        if length < self.length {
            self.blocks.split_off(&length.div_ceil(BLOCK));
            if let Some(block) = self.blocks.get_mut(&(length / BLOCK)) {
                Arc::make_mut(block)[(length % BLOCK) as usize..].fill(0);
            }
        }
        self.length = length;
    }
    pub(super) fn save(&self, path: &Path) -> io::Result<()> {
        let file = File::create(path)?;
        file.set_len(self.length)?;
        for (at, block) in &self.blocks {
            let length = self.length.saturating_sub(at * BLOCK).min(BLOCK);
            file.write_all_at(&block[..length as usize], at * BLOCK)?;
        }
        Ok(())
    }
}

/// Writes some of the sectors; with `within`, cuts one of them somewhere in its middle.
pub(super) fn torn(content: &mut Content, at: u64, bytes: &[u8], within: bool, rng: &mut Rng) {
    let mut from = 0usize;
    while from < bytes.len() {
        let here = at + from as u64;
        let step = ((SECTOR - here % SECTOR) as usize).min(bytes.len() - from);
        let sector = &bytes[from..from + step];
        match rng.below(if within { 3 } else { 2 }) {
            0 => {}
            1 => content.write(here, sector),
            _ => content.write(here, &sector[..rng.below(step as u64) as usize]),
        }
        from += step;
    }
}

/// Copies a folder of files; holes stay holes.
///
/// # Errors
/// If something cannot be read or written.
pub fn copy(from: &Path, to: &Path) -> Outcome {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().ok_or("a name")?);
        match path.is_dir() {
            true => copy(&path, &target)?,
            false => Content::read(&path)?.save(&target)?,
        }
    }
    Ok(())
}

/// Changes one byte of a file.
///
/// # Errors
/// If it cannot be read or written.
pub fn flip(path: &Path, at: u64, by: u8) -> Outcome {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut byte = [0; 1];
    file.read_exact_at(&mut byte, at)?;
    byte[0] ^= by;
    Ok(file.write_all_at(&byte, at)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torn_writes_keep_some_sectors() {
        let mut content = Content::default();
        torn(&mut content, 100, &[7; 4_096], false, &mut Rng(1));
        let kept: usize = content.blocks.values().map(|b| b.iter().filter(|byte| **byte == 7).count()).sum();
        assert!(kept > 0 && kept < 4_096, "{kept}");
        content.set_length(150);
        assert!(content.blocks.len() <= 1 && content.length == 150);
    }
}
