//! Finds the EXIF block in a file, format by format, reading as little as possible.
//!
//! Called by [`exif`](super::exif) only. It never decodes a picture, and no block that it returns is
//! longer than its bound, whatever lengths the file states.

use std::io::{self, BufRead, Read};

use super::media::Media;

/// Longest EXIF block of a photograph, in bytes. In JPEG a block ends at 64 KiB; cameras that write
/// large maker notes into other formats stay far below this.
const BLOCK_BYTES_MAX: u64 = 1 << 20;
/// Longest TIFF or raw file that is read for its metadata, in bytes: there the file is the block.
const TIFF_BYTES_MAX: u64 = 64 << 20;
/// How far into a HEIF file the block is looked for, in bytes.
const HEIF_SCAN_BYTES_MAX: u64 = 64 << 20;
/// Header segments or chunks that are stepped over before giving up.
const SEGMENTS_MAX: usize = 4_096;

/// What was found.
pub(super) enum Found {
    /// The block, from its TIFF header on; it may have been cut at the bound.
    Block(Vec<u8>),
    /// The file has no EXIF.
    Nothing,
    /// The file breaks off, or its parts do not fit each other.
    Broken,
    /// The block is longer than we read.
    TooLong,
}

/// Looks for the EXIF block of a file of the given format, from the file's first byte.
///
/// # Errors
/// Only what the reader itself reports; a malformed file is [`Found::Broken`].
pub(super) fn locate(reader: &mut dyn BufRead, media: Media) -> io::Result<Found> {
    let found = match media {
        Media::Jpeg => in_jpeg(reader),
        Media::Png => in_png(reader),
        Media::Webp => in_webp(reader),
        Media::Heic => in_heif(reader),
        Media::Tiff | Media::Raw => whole(reader),
        Media::Pdf | Media::Mp4 | Media::Other => Ok(Found::Nothing),
    };
    match found {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Found::Broken),
        found => found,
    }
}

/// JPEG: the first APP1 segment labelled `Exif` before the picture data (EXIF 2.32, 4.7.2).
fn in_jpeg(reader: &mut dyn BufRead) -> io::Result<Found> {
    let _start: [u8; 2] = take(reader)?;
    for _ in 0..SEGMENTS_MAX {
        let [mut prefix, mut code]: [u8; 2] = take(reader)?;
        // Any number of 0xff may fill the space before a marker; each turn consumes one byte.
        while prefix == 0xff && code == 0xff {
            [code] = take(reader)?;
            prefix = 0xff;
        }
        if prefix != 0xff {
            return Ok(Found::Broken);
        }
        match code {
            // Start of scan, end of image: no header segment follows.
            0xda | 0xd9 => return Ok(Found::Nothing),
            // Markers without a length.
            0x01 | 0xd0..=0xd8 => continue,
            _ => {}
        }
        let Some(length) = u16::from_be_bytes(take(reader)?).checked_sub(2) else { return Ok(Found::Broken) };
        if code != 0xe1 || length < 6 {
            skip(reader, length.into())?;
            continue;
        }
        let segment = read_exactly(reader, length.into())?;
        if let Some(block) = segment.strip_prefix(b"Exif\0\0") {
            return Ok(Found::Block(block.to_vec()));
        }
    }
    Ok(Found::Broken)
}

/// PNG: the `eXIf` chunk, wherever it stands (PNG third edition, 11.3.4.5).
fn in_png(reader: &mut dyn BufRead) -> io::Result<Found> {
    let _signature: [u8; 8] = take(reader)?;
    for _ in 0..SEGMENTS_MAX * 16 {
        let length = u32::from_be_bytes(take(reader)?);
        match &take(reader)? {
            b"eXIf" => return block(reader, length.into()),
            b"IEND" => return Ok(Found::Nothing),
            _ => skip(reader, u64::from(length) + 4)?,
        }
    }
    Ok(Found::Broken)
}

/// WebP: the `EXIF` chunk of the RIFF container; some writers put the JPEG label before the block.
fn in_webp(reader: &mut dyn BufRead) -> io::Result<Found> {
    let _header: [u8; 12] = take(reader)?;
    for _ in 0..SEGMENTS_MAX {
        if reader.fill_buf()?.is_empty() {
            return Ok(Found::Nothing);
        }
        let name: [u8; 4] = take(reader)?;
        let length = u64::from(u32::from_le_bytes(take(reader)?));
        if &name != b"EXIF" {
            skip(reader, length + length % 2)?;
            continue;
        }
        return Ok(match block(reader, length)? {
            Found::Block(bytes) => Found::Block(bytes.strip_prefix(b"Exif\0\0").map(<[u8]>::to_vec).unwrap_or(bytes)),
            other => other,
        });
    }
    Ok(Found::Broken)
}

/// HEIF: the label and TIFF header that every camera writes before the block, wherever they stand.
///
/// Following the item tables would need a parser several times this size for the same bytes, and
/// nothing is decided by a place read here: originals of this format are never released stripped.
fn in_heif(reader: &mut dyn BufRead) -> io::Result<Found> {
    const LABELS: [&[u8; 10]; 2] = [b"Exif\0\0MM\0*", b"Exif\0\0II*\0"];
    let mut window = [0_u8; 10];
    for byte in reader.take(HEIF_SCAN_BYTES_MAX).bytes() {
        window.rotate_left(1);
        if let Some(last) = window.last_mut() {
            *last = byte?;
        }
        if LABELS.contains(&&window) {
            let mut bytes = window.split_at(6).1.to_vec();
            reader.take(128 << 10).read_to_end(&mut bytes)?;
            return Ok(Found::Block(bytes));
        }
    }
    Ok(Found::Nothing)
}

/// TIFF and what builds on it: the file is the block.
fn whole(reader: &mut dyn BufRead) -> io::Result<Found> {
    let mut bytes = Vec::new();
    reader.take(TIFF_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(if bytes.len() as u64 > TIFF_BYTES_MAX { Found::TooLong } else { Found::Block(bytes) })
}

/// A block of a stated length.
fn block(reader: &mut dyn BufRead, length: u64) -> io::Result<Found> {
    if length > BLOCK_BYTES_MAX {
        return Ok(Found::TooLong);
    }
    Ok(Found::Block(read_exactly(reader, length)?))
}

fn take<const N: usize>(reader: &mut dyn BufRead) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Reads into memory that grows with what is there, not with what is stated.
fn read_exactly(reader: &mut dyn BufRead, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(length).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

fn skip(reader: &mut dyn BufRead, length: u64) -> io::Result<()> {
    let skipped = io::copy(&mut reader.take(length), &mut io::sink())?;
    if skipped < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(mut bytes: &[u8], media: Media) -> Option<Vec<u8>> {
        match locate(&mut bytes, media).unwrap() {
            Found::Block(block) => Some(block),
            _ => None,
        }
    }

    #[test]
    fn block_is_found_in_every_container() {
        let jpeg = b"\xff\xd8\xff\xe0\0\x04ab\xff\xff\xe1\0\x0cExif\0\0MM\0*\xff\xda";
        assert_eq!(found(jpeg, Media::Jpeg).unwrap(), b"MM\0*");
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\x01tEXtxCRC_\0\0\0\x04eXIfII*\0CRC_";
        assert_eq!(found(png, Media::Png).unwrap(), b"II*\0");
        let webp = b"RIFF\0\0\0\0WEBPVP8 \x01\0\0\0x\0EXIF\x0a\0\0\0Exif\0\0II*\0";
        assert_eq!(found(webp, Media::Webp).unwrap(), b"II*\0");
        let heif = b"\0\0\0\x18ftypheic....mdat\0\0\0\x06Exif\0\0MM\0*\0\0\0\x08";
        assert_eq!(found(heif, Media::Heic).unwrap(), b"MM\0*\0\0\0\x08");
    }

    #[test]
    fn block_after_the_scan_starts_is_no_header() {
        let jpeg = b"\xff\xd8\xff\xda\0\x02\xff\xe1\0\x0cExif\0\0MM\0*";
        assert_eq!(found(jpeg, Media::Jpeg), None);
    }

    #[test]
    fn stated_length_beyond_the_file_is_broken() {
        let mut png: &[u8] = b"\x89PNG\r\n\x1a\n\0\x0f\0\0eXIfII*\0";
        assert!(matches!(locate(&mut png, Media::Png).unwrap(), Found::Broken));
        let mut png: &[u8] = b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffeXIfII*\0";
        assert!(matches!(locate(&mut png, Media::Png).unwrap(), Found::TooLong));
        let mut jpeg: &[u8] = b"\xff\xd8\xff\xe1\0\x01";
        assert!(matches!(locate(&mut jpeg, Media::Jpeg).unwrap(), Found::Broken));
    }
}
