//! Tiles of a log (C2SP tlog-tiles): where its hashes are kept, and proofs made from them.
//!
//! Whoever keeps a log puts leaves to it ([`append`]) and proves from what is kept ([`Log`]): O(log n) hashes, and
//! two tiles at most for each of the log's levels. Tiles are derived: whoever has the leaves can make them again. This
//! never stores one; the caller's reader is trusted for what it gives, as the signed root shows what it was.

use crate::{id::Hash, limits, merkle};
use std::{collections::BTreeMap, fmt};

/// Levels of the tree that one tile spans.
pub const TILE_HEIGHT: u8 = 8;
/// Hashes of a full tile.
pub const TILE_WIDTH: u16 = 1 << TILE_HEIGHT;
/// The highest level that any log of ours has.
const LEVEL_MAX: u8 = 5;
/// Tiles that a log remembers while proofs are made from it: 512 KiB.
const TILES_KEPT: usize = 64;

const _: () = assert!(limits::LOG_SIZE_MAX <= 1 << (8 * LEVEL_MAX), "a log has no tile above the highest level");

/// One tile: a stretch of consecutive hashes of subtrees of one height.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    level: u8,
    index: u64,
    width: u16,
}

/// Tiles that cannot be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileError<E> {
    /// A leaf or size that the log does not have, or more leaves than it takes.
    #[error("the log has no such leaf or size, or would have more leaves than it takes")]
    Range,
    /// The reader gave fewer hashes than the log's size says.
    #[error("the tile `{tile}` is not whole: make the tiles again from the leaves")]
    Short {
        /// Which.
        tile: Tile,
    },
    /// The reader failed.
    #[error("a tile cannot be read: {0}")]
    Read(E),
}

impl Tile {
    /// The tile with this level and index as a log of `size` leaves has it; `None` where it has none.
    pub fn of(level: u8, index: u64, size: u64) -> Option<Self> {
        let hashes = size.checked_shr(u32::from(TILE_HEIGHT) * u32::from(level)).filter(|_| level <= LEVEL_MAX)?;
        let before = index.checked_mul(u64::from(TILE_WIDTH))?;
        let width = hashes.checked_sub(before)?.min(u64::from(TILE_WIDTH));
        let width = u16::try_from(width).ok().filter(|width| *width > 0)?;
        Some(Self { level, index, width })
    }

    /// Its level: 0 has hashes of leaves, each higher one those of full tiles below.
    pub fn level(&self) -> u8 {
        self.level
    }
    /// Its place within the level.
    pub fn index(&self) -> u64 {
        self.index
    }
    /// Its hashes: 1 to 256.
    pub fn width(&self) -> u16 {
        self.width
    }
    /// Whether it never changes again.
    pub fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }
}

impl fmt::Display for Tile {
    /// The path of C2SP tlog-tiles: `tile/<L>/<N>[.p/<W>]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/", self.level)?;
        let digits = self.index.to_string();
        let groups = digits.len().div_ceil(3);
        let digits = format!("{:0>1$}", digits, 3 * groups);
        for (at, digit) in digits.chars().enumerate() {
            match at % 3 {
                0 if at + 3 < digits.len() => write!(f, "{}x{digit}", if at > 0 { "/" } else { "" })?,
                0 if at > 0 => write!(f, "/{digit}")?,
                _ => write!(f, "{digit}")?,
            }
        }
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

/// A tile with its hashes.
pub type Filled = (Tile, Vec<Hash>);

/// The tiles that change when `leaves` (hashes) are put to a log of `size`: whole, the lowest level first.
///
/// Tiles that are named anew are kept before the new size is signed. A partial tile may go when one that holds it is kept.
pub fn append<E>(
    size: u64,
    leaves: &[Hash],
    mut read: impl FnMut(Tile) -> Result<Vec<Hash>, E>,
) -> Result<Vec<Filled>, TileError<E>> {
    let grown = size.checked_add(leaves.len() as u64).filter(|grown| *grown <= limits::LOG_SIZE_MAX);
    if grown.is_none() || leaves.len() > limits::LOG_APPEND_MAX {
        return Err(TileError::Range);
    }
    let (mut changed, mut fresh) = (Vec::new(), leaves.to_vec());
    for level in 0..=LEVEL_MAX {
        if fresh.is_empty() {
            break;
        }
        let there = size >> (TILE_HEIGHT * level);
        let first = there / u64::from(TILE_WIDTH);
        let mut hashes = match Tile::of(level, first, size) {
            Some(tile) => whole(tile, read(tile))?,
            None => Vec::new(),
        };
        hashes.append(&mut fresh);
        for (index, part) in (first..).zip(hashes.chunks(usize::from(TILE_WIDTH))) {
            // At most 256: the length of the chunk.
            let tile = Tile { level, index, width: u16::try_from(part.len()).unwrap_or(TILE_WIDTH) };
            if tile.is_full() {
                fresh.push(merkle::root(part));
            }
            changed.push((tile, part.to_vec()));
        }
    }
    Ok(changed)
}

/// What a reader gave for a tile, cut to its width: a reader may give a later, longer form of it.
fn whole<E>(tile: Tile, read: Result<Vec<Hash>, E>) -> Result<Vec<Hash>, TileError<E>> {
    let mut hashes = read.map_err(TileError::Read)?;
    hashes.truncate(usize::from(tile.width));
    if hashes.len() == usize::from(tile.width) { Ok(hashes) } else { Err(TileError::Short { tile }) }
}

/// A log of some size, of which roots and proofs are computed from its tiles.
pub struct Log<F> {
    size: u64,
    read: F,
    kept: BTreeMap<Tile, Vec<Hash>>,
}

impl<E, F: FnMut(Tile) -> Result<Vec<Hash>, E>> Log<F> {
    /// A log of `size` leaves whose tiles `read` gives.
    pub fn new(size: u64, read: F) -> Result<Self, TileError<E>> {
        if size > limits::LOG_SIZE_MAX {
            return Err(TileError::Range);
        }
        Ok(Self { size, read, kept: BTreeMap::new() })
    }

    /// The root as it was, or is, at `size` (RFC 9162, section 2.1.1).
    pub fn root(&mut self, size: u64) -> Result<Hash, TileError<E>> {
        match size {
            0 => Ok(merkle::root(&[])),
            size if size <= self.size => self.range(0, size),
            _ => Err(TileError::Range),
        }
    }

    /// The hash of one leaf.
    pub fn leaf(&mut self, index: u64) -> Result<Hash, TileError<E>> {
        if index < self.size { self.subtree(0, index) } else { Err(TileError::Range) }
    }

    /// The path from leaf `index` to the root at `size`, lowest first (RFC 9162, section 2.1.3.1).
    pub fn prove_inclusion(&mut self, index: u64, size: u64) -> Result<Vec<Hash>, TileError<E>> {
        if index >= size || size > self.size {
            return Err(TileError::Range);
        }
        let (mut start, mut end) = (0, size);
        let mut path = Vec::new();
        // Ends because each half is shorter.
        while end - start > 1 {
            let middle = start + split(end - start);
            let beside = if index < middle { (middle, end) } else { (start, middle) };
            path.push(self.range(beside.0, beside.1)?);
            (start, end) = if index < middle { (start, middle) } else { (middle, end) };
        }
        path.reverse();
        Ok(path)
    }

    /// What shows that the log at `size` begins with the log at `old` (RFC 9162, section 2.1.4.1).
    pub fn prove_consistency(&mut self, old: u64, size: u64) -> Result<Vec<Hash>, TileError<E>> {
        if old == 0 || old > size || size > self.size {
            return Err(TileError::Range);
        }
        let (mut start, mut end) = (0, size);
        let mut path = Vec::new();
        // SUBPROOF of the RFC. Ends because each half is shorter, and of one leaf `old` is the end.
        while end != old {
            let middle = start + split(end - start);
            let beside = if old <= middle { (middle, end) } else { (start, middle) };
            path.push(self.range(beside.0, beside.1)?);
            (start, end) = if old <= middle { (start, middle) } else { (middle, end) };
        }
        // A verifier knows this subtree already where it is the whole old log.
        if start > 0 {
            path.push(self.range(start, end)?);
        }
        path.reverse();
        Ok(path)
    }

    /// The hash over leaves `start` to `end`, as the tree has it. Ends because both halves are shorter.
    fn range(&mut self, start: u64, end: u64) -> Result<Hash, TileError<E>> {
        let len = end - start;
        if len.is_power_of_two() {
            // INVARIANT: the tree splits at powers of two, so `start` is a multiple of `len`.
            return self.subtree(len.trailing_zeros(), start / len);
        }
        let middle = start + split(len);
        let (left, right) = (self.range(start, middle)?, self.range(middle, end)?);
        Ok(merkle::root(&[left, right]))
    }

    /// The hash of the full subtree of this height and place, from the one tile that has it.
    fn subtree(&mut self, height: u32, index: u64) -> Result<Hash, TileError<E>> {
        let level = u8::try_from(height / u32::from(TILE_HEIGHT)).map_err(|_| TileError::Range)?;
        let within = height % u32::from(TILE_HEIGHT);
        let first = index << within;
        let tile = Tile::of(level, first / u64::from(TILE_WIDTH), self.size).ok_or(TileError::Range)?;
        let from = usize::try_from(first % u64::from(TILE_WIDTH)).map_err(|_| TileError::Range)?;
        let hashes = self.tile(tile)?;
        let part = hashes.get(from..from + (1 << within)).ok_or(TileError::Short { tile })?;
        Ok(merkle::root(part))
    }

    fn tile(&mut self, tile: Tile) -> Result<&[Hash], TileError<E>> {
        if !self.kept.contains_key(&tile) {
            let hashes = whole(tile, (self.read)(tile))?;
            if self.kept.len() >= TILES_KEPT {
                self.kept.clear();
            }
            self.kept.insert(tile, hashes);
        }
        Ok(self.kept.get(&tile).map(Vec::as_slice).unwrap_or_default())
    }
}

/// The largest power of two below `len`, which is at least 2.
fn split(len: u64) -> u64 {
    1 << (u64::BITS - 1 - len.saturating_sub(1).leading_zeros())
}
