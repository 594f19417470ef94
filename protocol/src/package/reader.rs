//! The parts of a package, read in place: from a slice, or from whatever gives bytes at an offset.
//!
//! Nothing is written anywhere and nothing is held but the directory and the part that is asked for. Before a part is
//! given, every byte of the container around all of them has been compared with what it must be.

use super::{
    PackageFault,
    container::{self, Crc, Entry},
    name::Name,
};
use crate::{id::Hash, limits, primitive::Sha256Stream};

/// Bytes that could not be read: the fault of the disk, not of the package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// Where a package stands.
pub trait Source {
    /// Bytes in all.
    fn len(&self) -> u64;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Fills the buffer from an offset on; fails where there are not as many bytes.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), Unreadable>;
}

impl Source for &[u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), Unreadable> {
        let from = usize::try_from(offset).ok();
        let found = from.and_then(|from| self.get(from..from.checked_add(buffer.len())?));
        buffer.copy_from_slice(found.ok_or_else(|| Unreadable("it ends before".to_owned()))?);
        Ok(())
    }
}

/// Bytes that are hashed at once.
const STEP: usize = 64 << 10;
/// Only for the fault: what stands there may be of any length.
const SHOWN_NAME_MAX: usize = 64;

/// A part, and where its content begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its headers.
    pub entry: Entry,
    offset: u64,
}

/// A package whose container is in its one form. Nothing is known yet of what it holds.
#[derive(Debug)]
pub struct Archive<S> {
    source: S,
    places: Vec<Place>,
}

fn taken(source: &mut impl Source, offset: u64, len: u64, max: usize) -> Result<Vec<u8>, PackageFault> {
    let len = usize::try_from(len).ok().filter(|len| *len <= max).ok_or(PackageFault::TooLarge)?;
    let mut bytes = vec![0; len];
    source.read_at(offset, &mut bytes)?;
    Ok(bytes)
}

impl<S: Source> Archive<S> {
    /// Compares the container with what its names, sizes and checksums must give.
    pub fn open(mut source: S) -> Result<Self, PackageFault> {
        let total = source.len();
        let tail = taken(
            &mut source,
            total.saturating_sub(container::END64_BYTES as u64),
            total.min(98),
            container::END64_BYTES,
        )?;
        let (count, size, start) = container::stated_end(&tail).ok_or(PackageFault::End)?;
        let after = start.checked_add(size).filter(|after| *after < total).ok_or(PackageFault::End)?;
        let expected = container::end(count, size, start);
        if total - after != expected.len() as u64 || !tail.ends_with(&expected) {
            return Err(PackageFault::End);
        }
        let directory = taken(&mut source, start, size, limits::PACKAGE_DIRECTORY_BYTES_MAX)?;
        let (mut rest, mut offset) = (directory.as_slice(), 0u64);
        let mut places: Vec<Place> = Vec::new();
        // Ends: each turn takes a header of 46 bytes or more off what is left.
        while !rest.is_empty() {
            let stated = container::stated_entry(rest).ok_or(PackageFault::Directory)?;
            let name = in_order(places.last().map(|place| place.entry.name), stated.name)?;
            let entry = Entry { name, size: stated.size, crc: stated.crc };
            let (given, behind) = rest.split_at_checked(stated.len).ok_or(PackageFault::Directory)?;
            if given != entry.central_header(offset) {
                return Err(PackageFault::Header { name, why: container::difference(given, 8) });
            }
            if entry.size > name.bytes_max() {
                return Err(PackageFault::TooLong { name });
            }
            let header = entry.local_header();
            let content = offset.checked_add(header.len() as u64).ok_or(PackageFault::Directory)?;
            let end = content.checked_add(entry.size).filter(|end| *end <= start).ok_or(PackageFault::Directory)?;
            let found = taken(&mut source, offset, header.len() as u64, 1 << 10)?;
            if found != header {
                return Err(PackageFault::Header { name, why: container::difference(&found, 6) });
            }
            places.push(Place { entry, offset: content });
            (rest, offset) = (behind, end);
        }
        let last = places.last().map(|place| place.entry.name);
        if last != Some(Name::Manifest) {
            return Err(PackageFault::Missing { name: Name::Manifest });
        }
        if offset != start || places.len() != usize::from(count) {
            return Err(PackageFault::Directory);
        }
        Ok(Self { source, places })
    }

    /// The parts, in their order.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// The content of a small part. Its checksum holds; that it is the part that was signed is for the caller to compare.
    pub fn content(&mut self, place: Place) -> Result<(Vec<u8>, Hash), PackageFault> {
        let max = usize::try_from(place.entry.name.bytes_max()).unwrap_or(usize::MAX);
        let bytes = taken(&mut self.source, place.offset, place.entry.size, max)?;
        let (mut crc, mut digest) = (Crc::default(), Sha256Stream::default());
        crc.update(&bytes);
        digest.update(&bytes);
        if crc.finish() != place.entry.crc {
            return Err(PackageFault::Content { name: place.entry.name });
        }
        Ok((bytes, Hash::from_bytes(digest.finish())))
    }

    /// The digest of a part that is not held in memory.
    pub fn digest(&mut self, place: Place, progress: &mut dyn FnMut(u64)) -> Result<Hash, PackageFault> {
        let (mut crc, mut digest) = (Crc::default(), Sha256Stream::default());
        let (mut offset, mut left) = (place.offset, place.entry.size);
        let mut buffer = vec![0u8; STEP];
        // Ends: each turn takes bytes off what is left.
        while left > 0 {
            let step = usize::try_from(left).unwrap_or(STEP).min(STEP);
            let part = buffer.get_mut(..step).unwrap_or_default();
            self.source.read_at(offset, part)?;
            crc.update(part);
            digest.update(part);
            progress(step as u64);
            (offset, left) = (offset + step as u64, left - step as u64);
        }
        if crc.finish() != place.entry.crc {
            return Err(PackageFault::Content { name: place.entry.name });
        }
        Ok(Hash::from_bytes(digest.finish()))
    }
}

/// The name of the next part, where it may be that.
fn in_order(before: Option<Name>, given: &[u8]) -> Result<Name, PackageFault> {
    let name = std::str::from_utf8(given).ok().and_then(|name| name.parse::<Name>().ok()).ok_or_else(|| {
        let shown = given.get(..given.len().min(SHOWN_NAME_MAX)).unwrap_or_default();
        PackageFault::Name { given: String::from_utf8_lossy(shown).escape_debug().to_string() }
    })?;
    if name == Name::History {
        return Err(PackageFault::Later { name });
    }
    match before {
        None if name.may_begin() => Ok(name),
        Some(before) if before == name => Err(PackageFault::Twice { name }),
        Some(before) if before.may_precede(name) => Ok(name),
        _ => Err(PackageFault::Order { name }),
    }
}
