//! A bounded walk over the directories of a TIFF or EXIF block, before any library reads it.
//!
//! The EXIF library follows every directory pointer and keeps every entry. Directories may overlap:
//! 64 KiB of crafted bytes then become gigabytes of entries, or one value is copied thousands of
//! times. The walk follows the same pointers, counts, and takes no memory beyond its bound. It never
//! reads a value other than the first integer of an entry.

use thiserror::Error;

/// Directory entries of one block, all directories together. Cameras write about 60.
pub(super) const ENTRIES_MAX: usize = 4_096;
/// Directories that the first one may be chained to; the EXIF library reads no more.
const IMAGES_MAX: usize = 8;

/// What kind of directory an entry stands in; tag numbers have a meaning only within one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    Tiff,
    Exif,
    Gps,
    Interop,
}

/// One entry that belongs to the main image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub context: Context,
    pub tag: u16,
    /// Size of the value in bytes, as stated.
    pub bytes: u64,
    /// The first element, if it is an unsigned integer.
    pub first: Option<u32>,
}

/// What a block holds.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// Entries of the main image, in order.
    pub entries: Vec<Entry>,
    /// Directories in the main chain: pages of a TIFF, or the photograph and its thumbnail.
    pub images: usize,
    /// Whether something pointed past the end.
    pub truncated: bool,
}

/// Why a block is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum LayoutFault {
    #[error("no TIFF header")]
    Header,
    #[error("more than {ENTRIES_MAX} directory entries")]
    Entries,
}

/// Walks all directories that the EXIF library would.
pub(super) fn walk(block: &[u8]) -> Result<Layout, LayoutFault> {
    let big_endian = match block.get(..4) {
        Some(b"MM\0*") => true,
        Some(b"II*\0") => false,
        _ => return Err(LayoutFault::Header),
    };
    let mut walk = Walk { block, big_endian, layout: Layout::default(), seen: 0 };
    let mut next = walk.u32_at(4);
    while let Some(offset) = next
        && offset != 0
        && walk.layout.images < IMAGES_MAX
    {
        next = walk.directory(offset, Context::Tiff)?;
        walk.layout.images += 1;
        walk.layout.truncated |= next.is_none();
    }
    Ok(walk.layout)
}

struct Walk<'a> {
    block: &'a [u8],
    big_endian: bool,
    layout: Layout,
    /// Entries visited, whether kept or not.
    seen: usize,
}

impl Walk<'_> {
    /// Visits one directory and those that it points to, and gives the offset of the next one;
    /// nothing if the block ends before. Ends because every entry counts against the bound and no
    /// kind of directory points back to its own kind.
    fn directory(&mut self, offset: u32, context: Context) -> Result<Option<u32>, LayoutFault> {
        let Some(count) = self.u16_at(offset.into()) else { return Ok(None) };
        let first = u64::from(offset) + 2;
        for index in 0..u64::from(count) {
            self.seen += 1;
            if self.seen > ENTRIES_MAX {
                return Err(LayoutFault::Entries);
            }
            let Some(entry) = self.entry(first + 12 * index, context) else { return Ok(None) };
            let child = match (context, entry.tag) {
                (Context::Tiff, 0x8769) => Some(Context::Exif),
                (Context::Tiff, 0x8825) => Some(Context::Gps),
                (Context::Exif, 0xa005) => Some(Context::Interop),
                _ => None,
            };
            match (child, entry.first) {
                (Some(child), Some(offset)) => {
                    let end = self.directory(offset, child)?;
                    self.layout.truncated |= end.is_none();
                }
                (Some(_), None) => self.layout.truncated = true,
                // Later images, such as the camera's own thumbnail, are counted only.
                (None, _) if self.layout.images == 0 => self.layout.entries.push(entry),
                (None, _) => {}
            }
        }
        Ok(self.u32_at(first + 12 * u64::from(count)))
    }

    /// The entry at `at`: tag, type, count, and value or its offset (TIFF 6.0, section 2).
    fn entry(&self, at: u64, context: Context) -> Option<Entry> {
        let tag = self.u16_at(at)?;
        let kind = self.u16_at(at + 2)?;
        let count = self.u32_at(at + 4)?;
        let inline = self.u32_at(at + 8)?;
        let unit: u64 = match kind {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 11 => 4,
            5 | 10 | 12 => 8,
            _ => 0,
        };
        let bytes = unit * u64::from(count);
        let value_at = if bytes <= 4 { at + 8 } else { inline.into() };
        let first = match kind {
            _ if count == 0 => None,
            1 => self.u8_at(value_at).map(u32::from),
            3 => self.u16_at(value_at).map(u32::from),
            4 => self.u32_at(value_at),
            _ => None,
        };
        Some(Entry { context, tag, bytes, first })
    }

    fn u8_at(&self, at: u64) -> Option<u8> {
        self.block.get(usize::try_from(at).ok()?).copied()
    }

    fn u16_at(&self, at: u64) -> Option<u16> {
        let pair = [self.u8_at(at)?, self.u8_at(at + 1)?];
        Some(if self.big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) })
    }

    fn u32_at(&self, at: u64) -> Option<u32> {
        let (first, second) = (u32::from(self.u16_at(at)?), u32::from(self.u16_at(at + 2)?));
        Some(if self.big_endian { first << 16 | second } else { second << 16 | first })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_directories_stop_at_the_bound() {
        // Half a block of pointers, each to another offset of the other half, where every pair of
        // bytes reads as a directory of 0x1515 entries: quadratic in what the library would keep.
        let mut block = b"II*\0\x08\0\0\0".to_vec();
        let pointers: u16 = 2_700;
        block.extend(pointers.to_le_bytes());
        for index in 0..u32::from(pointers) {
            block.extend(0x8769_u16.to_le_bytes());
            block.extend(4_u16.to_le_bytes());
            block.extend(1_u32.to_le_bytes());
            block.extend((33_000 + index).to_le_bytes());
        }
        block.resize(65_000, 0x15);
        assert_eq!(walk(&block).unwrap_err(), LayoutFault::Entries);
    }

    #[test]
    fn directory_chained_to_itself_ends() {
        let block = b"MM\0*\0\0\0\x08\0\0\0\0\0\x08";
        let layout = walk(block).unwrap();
        assert_eq!(layout.images, IMAGES_MAX);
        assert!(layout.entries.is_empty());
    }

    #[test]
    fn cut_anywhere_is_truncated_and_no_panic() {
        let mut block = b"II*\0\x08\0\0\0\x01\0".to_vec();
        block.extend(b"\x25\x88\x04\0\x01\0\0\0\x1a\0\0\0\0\0\0\0");
        block.extend(b"\x01\0\x01\0\x02\0\x02\0\0\0N\0\0\0\0\0\0\0");
        assert!(!walk(&block).unwrap().truncated);
        for end in 8..block.len() {
            let layout = walk(&block[..end]).unwrap();
            assert!(layout.truncated, "cut at {end}");
        }
    }
}
