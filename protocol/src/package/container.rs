//! The container of a package: one zip of stored parts, in the one form in which it is written.
//!
//! Zip says many things twice and lets readers choose, which is how two programs see two contents in one file. So nothing
//! here is interpreted: the headers that the names, sizes and checksums must give are computed, and compared with what
//! stands there, byte for byte. Format: SPEC, PKG-1 on.

use super::name::Name;

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END64: u32 = 0x0606_4b50;
const LOCATOR64: u32 = 0x0706_4b50;
/// Dates of parts say nothing: 1 January 1980, the first that zip knows.
const DATE: u16 = 0x0021;
/// From here on a number stands in eight bytes elsewhere.
const WIDE: u64 = 0xffff_ffff;
/// Bytes of the last record of any zip without a comment.
pub const END_BYTES: usize = 22;
/// The same with the two records that a large one has before it.
pub const END64_BYTES: usize = END_BYTES + 20 + 56;
/// Bytes of a header in the directory before the name.
pub const CENTRAL_BYTES: usize = 46;

/// A part: what its headers are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: Name,
    /// Bytes.
    pub size: u64,
    /// CRC-32 of its content.
    pub crc: u32,
}

struct Bytes(Vec<u8>);

impl Bytes {
    fn u16(mut self, numbers: &[u16]) -> Self {
        numbers.iter().for_each(|number| self.0.extend_from_slice(&number.to_le_bytes()));
        self
    }
    fn u32(mut self, number: u32) -> Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }
    fn u64(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }
    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn len16(bytes: &[u8]) -> u16 {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX)
}

/// The extra field with what does not fit in four bytes; empty where all does.
fn wide(numbers: &[u64]) -> Vec<u8> {
    if numbers.is_empty() {
        return Vec::new();
    }
    let count = u16::try_from(numbers.len()).unwrap_or(u16::MAX);
    let head = Bytes(Vec::new()).u16(&[1, count.saturating_mul(8)]);
    numbers.iter().fold(head, |bytes, number| bytes.u64(*number)).0
}

const fn version(is_wide: bool) -> u16 {
    if is_wide { 45 } else { 20 }
}

impl Entry {
    /// What stands before its content.
    pub fn local_header(&self) -> Vec<u8> {
        let name = self.name.to_string();
        let extra = if self.size >= WIDE { wide(&[self.size, self.size]) } else { Vec::new() };
        let head = Bytes(Vec::with_capacity(80)).u32(LOCAL).u16(&[version(!extra.is_empty()), 0, 0, 0, DATE]);
        let sizes = head.u32(self.crc).u32(narrow(self.size)).u32(narrow(self.size));
        sizes.u16(&[len16(name.as_bytes()), len16(&extra)]).bytes(name.as_bytes()).bytes(&extra).0
    }
    /// What stands of it in the directory.
    pub fn central_header(&self, offset: u64) -> Vec<u8> {
        let name = self.name.to_string();
        let mut numbers = if self.size >= WIDE { vec![self.size, self.size] } else { Vec::new() };
        numbers.extend(Some(offset).filter(|offset| *offset >= WIDE));
        let extra = wide(&numbers);
        let version = version(!extra.is_empty());
        let head = Bytes(Vec::with_capacity(120)).u32(CENTRAL).u16(&[version, version, 0, 0, 0, DATE]);
        let sizes = head.u32(self.crc).u32(narrow(self.size)).u32(narrow(self.size));
        let names = sizes.u16(&[len16(name.as_bytes()), len16(&extra), 0, 0, 0]).u32(0).u32(narrow(offset));
        names.bytes(name.as_bytes()).bytes(&extra).0
    }
}

/// What stands after the directory.
pub fn end(count: u16, size: u64, offset: u64) -> Vec<u8> {
    let mut out = Bytes(Vec::with_capacity(END64_BYTES));
    if size >= WIDE || offset >= WIDE {
        let (count, at) = (u64::from(count), offset.saturating_add(size));
        out = out.u32(END64).u64(44).u16(&[45, 45]).u32(0).u32(0).u64(count).u64(count).u64(size).u64(offset);
        out = out.u32(LOCATOR64).u32(0).u64(at).u32(1);
    }
    out.u32(END).u16(&[0, 0, count, count]).u32(narrow(size)).u32(narrow(offset)).u16(&[0]).0
}

/// Numbers at places of a header; 0 where it is too short, which then differs from what is expected.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |number| u16::from_le_bytes(*number))
}
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |number| u32::from_le_bytes(*number))
}
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |number| u64::from_le_bytes(*number))
}

/// Where the directory is said to be: parts, bytes, offset. It is believed for nothing before all of it was compared.
pub(super) fn stated_end(tail: &[u8]) -> Option<(u16, u64, u64)> {
    let last = tail.get(tail.len().checked_sub(END_BYTES)?..)?;
    if u32_at(last, 0) != END {
        return None;
    }
    let (count, size, offset) = (u16_at(last, 10), u64::from(u32_at(last, 12)), u64::from(u32_at(last, 16)));
    if size < WIDE && offset < WIDE {
        return Some((count, size, offset));
    }
    let wide = tail.get(tail.len().checked_sub(END64_BYTES)?..)?;
    (u32_at(wide, 0) == END64).then(|| (count, u64_at(wide, 40), u64_at(wide, 48)))
}

/// A directory's header as it is stated: its length, name, and what the part would be. It is compared afterwards.
pub(super) struct Stated<'a> {
    pub len: usize,
    pub name: &'a [u8],
    pub size: u64,
    pub crc: u32,
}

pub(super) fn stated_entry(directory: &[u8]) -> Option<Stated<'_>> {
    if u32_at(directory, 0) != CENTRAL {
        return None;
    }
    let (name_len, extra_len) = (usize::from(u16_at(directory, 28)), usize::from(u16_at(directory, 30)));
    let len = CENTRAL_BYTES + name_len + extra_len + usize::from(u16_at(directory, 32));
    let name = directory.get(CENTRAL_BYTES..CENTRAL_BYTES + name_len)?;
    let extra = directory.get(CENTRAL_BYTES + name_len..len)?;
    let size = match u64::from(u32_at(directory, 24)) {
        WIDE => u64_at(extra, 4),
        size => size,
    };
    Some(Stated { len, name, size, crc: u32_at(directory, 16) })
}

/// What is wrong with a header that differs from what it must be, in words. `at` is where the flags stand.
pub(super) fn difference(given: &[u8], flags_at: usize) -> &'static str {
    let (flags, method) = (u16_at(given, flags_at), u16_at(given, flags_at + 2));
    if flags & 1 != 0 {
        return "it is marked as encrypted";
    }
    if flags & 8 != 0 {
        return "its sizes follow its content";
    }
    if method != 0 {
        return "it is compressed";
    }
    let is_central = flags_at == 8;
    if is_central && (u32_at(given, 38) >> 16) & 0xf000 == 0xa000 {
        return "it is a link";
    }
    if is_central && u16_at(given, 32) != 0 {
        return "it has a comment";
    }
    if u16_at(given, if is_central { 30 } else { 28 }) != 0 {
        return "it has an extra field that does not belong there";
    }
    "its name, size, place or checksum is not what it must be"
}

/// Tables of CRC-32 (ISO 3309, reflected, polynomial 0xedb88320), for eight bytes at once.
const TABLES: [[u32; 256]; 8] = tables();

#[expect(clippy::indexing_slicing, reason = "computed when it is compiled: an index out of range does not compile")]
const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0u32; 256]; 8];
    let mut n = 0;
    while n < 256 {
        let mut crc = n as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
            bit += 1;
        }
        tables[0][n] = crc;
        n += 1;
    }
    let mut row = 1;
    while row < 8 {
        let mut n = 0;
        while n < 256 {
            let before = tables[row - 1][n];
            tables[row][n] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            n += 1;
        }
        row += 1;
    }
    tables
}

/// CRC-32 of what streams by. It finds accidents; what proves the content is its SHA-256.
#[derive(Debug, Clone, Copy)]
pub struct Crc(u32);

impl Default for Crc {
    fn default() -> Self {
        Self(u32::MAX)
    }
}

impl Crc {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let [t0, t1, t2, t3, t4, t5, t6, t7] = &TABLES;
        let of = |table: &[u32; 256], byte: u8| table.get(usize::from(byte)).copied().unwrap_or_default();
        let mut crc = self.0;
        let (eights, rest) = bytes.as_chunks::<8>();
        for [a, b, c, d, e, f, g, h] in eights {
            let [w, x, y, z] = (crc ^ u32::from_le_bytes([*a, *b, *c, *d])).to_le_bytes();
            crc = of(t7, w) ^ of(t6, x) ^ of(t5, y) ^ of(t4, z) ^ of(t3, *e) ^ of(t2, *f) ^ of(t1, *g) ^ of(t0, *h);
        }
        for byte in rest {
            let [low, ..] = crc.to_le_bytes();
            crc = (crc >> 8) ^ of(t0, low ^ byte);
        }
        self.0 = crc;
    }
    /// The checksum.
    pub const fn finish(self) -> u32 {
        !self.0
    }
}

/// Puts parts together: for tests, and for whoever holds them all in memory.
pub fn pack(parts: &[(Name, &[u8])]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in parts {
        let mut crc = Crc::default();
        crc.update(content);
        let entry = Entry { name: *name, size: content.len() as u64, crc: crc.finish() };
        directory.extend(entry.central_header(out.len() as u64));
        out.extend(entry.local_header());
        out.extend_from_slice(content);
    }
    let (count, offset) = (u16::try_from(parts.len()).unwrap_or(u16::MAX), out.len() as u64);
    out.extend_from_slice(&directory);
    out.extend(end(count, directory.len() as u64, offset));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard_however_it_streams() {
        let crc = |bytes: &[u8], piece: usize| {
            let mut crc = Crc::default();
            bytes.chunks(piece).for_each(|part| crc.update(part));
            crc.finish()
        };
        assert_eq!(crc(b"123456789", 9), 0xcbf4_3926);
        assert_eq!(crc(b"", 1), 0);
        let bytes: Vec<u8> = (0..1_000u32).map(|n| (n * 31 % 251) as u8).collect();
        for piece in [1, 3, 7, 8, 9, 64, 1_000] {
            assert_eq!(crc(&bytes, piece), crc(&bytes, 1_000), "{piece}");
        }
    }

    #[test]
    fn large_numbers_stand_in_eight_bytes_and_small_ones_in_four() {
        let entry = |size| Entry { name: Name::Summary, size, crc: 7 };
        for (size, extra) in [(WIDE - 1, 0), (WIDE, 20), (1 << 32, 20)] {
            let local = entry(size).local_header();
            assert_eq!(local.len(), 30 + 12 + extra, "{size}");
            let central = entry(size).central_header(3);
            assert_eq!(central.len(), 46 + 12 + extra, "{size}");
            let stated = stated_entry(&central).unwrap();
            assert_eq!(
                (stated.size, stated.crc, stated.name, stated.len),
                (size, 7, &b"summary.html"[..], central.len())
            );
        }
        assert_eq!(entry(1).central_header(WIDE).len(), 46 + 12 + 12);
        assert_eq!(entry(WIDE).central_header(WIDE).len(), 46 + 12 + 28);
        for (size, offset, len) in [(9, WIDE - 1, 22), (9, WIDE, 98), (WIDE, 9, 98)] {
            let tail = end(3, size, offset);
            assert_eq!(tail.len(), len);
            assert_eq!(stated_end(&tail), Some((3, size, offset)));
        }
    }
}
