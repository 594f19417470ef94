//! Which format a file has, told by its first bytes and never by its name.
//!
//! Called first for every attachment, so that a file is handled, and labelled for partners, as what
//! it is. It never reads more than the prefix it is given.

use serde::{Deserialize, Serialize};
use std::fmt;

use super::layout::{self, Context};

/// How much of a file's start [`sniff`] makes use of, in bytes.
pub const SNIFF_BYTES: usize = 4_096;

/// A format, as far as handling differs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Media {
    /// JPEG, in any of its wrappings.
    Jpeg,
    /// PNG, animated ones included.
    Png,
    /// WebP.
    Webp,
    /// TIFF that is no camera's raw format.
    Tiff,
    /// HEIF and its kin (HEIC, AVIF).
    Heic,
    /// PDF.
    Pdf,
    /// MP4 and QuickTime video.
    Mp4,
    /// What a camera's sensor recorded: DNG, CR2, CR3, NEF, ARW, RAF, ORF, RW2.
    Raw,
    /// Anything else.
    #[default]
    Other,
}

impl Media {
    /// All of them.
    pub const ALL: [Media; 9] = [
        Media::Jpeg,
        Media::Png,
        Media::Webp,
        Media::Tiff,
        Media::Heic,
        Media::Pdf,
        Media::Mp4,
        Media::Raw,
        Media::Other,
    ];

    /// Whether copies are made of pictures of this format, where nothing is wrong with the picture.
    pub const fn has_copies(self) -> bool {
        matches!(self, Media::Jpeg | Media::Png | Media::Webp | Media::Tiff)
    }

    /// The media type for the manifest (RFC 6838).
    pub fn mime(self) -> &'static str {
        match self {
            Media::Jpeg => "image/jpeg",
            Media::Png => "image/png",
            Media::Webp => "image/webp",
            Media::Tiff => "image/tiff",
            Media::Heic => "image/heif",
            Media::Pdf => "application/pdf",
            Media::Mp4 => "video/mp4",
            Media::Raw => "image/x-raw",
            Media::Other => "application/octet-stream",
        }
    }

    /// The extension that a neutral file name gets, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Media::Jpeg => "jpg",
            Media::Png => "png",
            Media::Webp => "webp",
            Media::Tiff => "tif",
            Media::Heic => "heic",
            Media::Pdf => "pdf",
            Media::Mp4 => "mp4",
            Media::Raw => "raw",
            Media::Other => "bin",
        }
    }

    /// The format that a file name claims; nothing if the extension is not one we know.
    pub fn claimed(name: &str) -> Option<Media> {
        let (_, extension) = name.rsplit_once('.')?;
        match extension.to_ascii_lowercase().as_str() {
            "jpg" | "jpeg" | "jpe" | "jfif" => Some(Media::Jpeg),
            "png" | "apng" => Some(Media::Png),
            "webp" => Some(Media::Webp),
            "tif" | "tiff" => Some(Media::Tiff),
            "heic" | "heif" | "hif" | "avif" => Some(Media::Heic),
            "pdf" => Some(Media::Pdf),
            "mp4" | "m4v" | "mov" | "qt" | "3gp" => Some(Media::Mp4),
            "dng" | "cr2" | "cr3" | "nef" | "nrw" | "arw" | "raf" | "orf" | "rw2" | "pef" | "raw" => Some(Media::Raw),
            _ => None,
        }
    }
}

impl fmt::Display for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Media::Jpeg => "JPEG",
            Media::Png => "PNG",
            Media::Webp => "WebP",
            Media::Tiff => "TIFF",
            Media::Heic => "HEIC",
            Media::Pdf => "PDF",
            Media::Mp4 => "video",
            Media::Raw => "camera raw",
            Media::Other => "unknown",
        })
    }
}

/// A file whose name says one thing and whose content another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name says {claimed} and the content is {found}: it is handled as {found}; check where it comes from")]
pub struct Disguised {
    /// What the extension says.
    pub claimed: Media,
    /// What the content is.
    pub found: Media,
}

/// Compares a file name with what [`sniff`] found. A name without a known extension claims nothing.
pub fn disguised(name: &str, found: Media) -> Option<Disguised> {
    let claimed = Media::claimed(name)?;
    (claimed != found).then_some(Disguised { claimed, found })
}

/// Tells the format by the file's first bytes; give [`SNIFF_BYTES`] of them, or the whole file if it
/// is shorter.
pub fn sniff(prefix: &[u8]) -> Media {
    if prefix.starts_with(b"\xff\xd8\xff") {
        return Media::Jpeg;
    }
    if prefix.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Media::Png;
    }
    if prefix.starts_with(b"RIFF") && prefix.get(8..12) == Some(b"WEBP") {
        return Media::Webp;
    }
    if prefix.starts_with(b"II*\0") || prefix.starts_with(b"MM\0*") {
        return if is_raw_tiff(prefix) { Media::Raw } else { Media::Tiff };
    }
    const RAW: [&[u8]; 5] = [b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0"];
    if RAW.iter().any(|magic| prefix.starts_with(magic)) {
        return Media::Raw;
    }
    match prefix.get(4..8) {
        Some(b"ftyp") => return sniff_brand(prefix.get(8..12).unwrap_or_default()),
        Some(b"moov" | b"mdat" | b"wide" | b"pnot") => return Media::Mp4,
        _ => {}
    }
    // Readers accept a PDF whose header stands anywhere in the first 1,024 bytes.
    let head = prefix.get(..1_024).unwrap_or(prefix);
    if head.windows(5).any(|window| window == b"%PDF-") {
        return Media::Pdf;
    }
    Media::Other
}

/// The major brand of an ISO base media file (ISO/IEC 14496-12, `ftyp`).
fn sniff_brand(brand: &[u8]) -> Media {
    match brand {
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1" | b"avif" | b"avis" => {
            Media::Heic
        }
        b"crx " => Media::Raw,
        _ => Media::Mp4,
    }
}

/// Whether a TIFF is a raw format: its first directory is then a small preview, and a copy made from
/// that would pass for the photograph.
fn is_raw_tiff(prefix: &[u8]) -> bool {
    const NEW_SUBFILE_TYPE: u16 = 0x00fe;
    const SUB_IFDS: u16 = 0x014a;
    const DNG_VERSION: u16 = 0xc612;
    if prefix.get(8..10) == Some(b"CR") {
        return true;
    }
    let Ok(layout) = layout::walk(prefix) else { return false };
    let find = |tag| layout.entries.iter().find(|entry| entry.context == Context::Tiff && entry.tag == tag);
    let reduced = find(NEW_SUBFILE_TYPE).is_some_and(|entry| entry.first == Some(1));
    find(DNG_VERSION).is_some() || (find(SUB_IFDS).is_some() && reduced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_content() {
        let cases: [(&[u8], Media); 13] = [
            (b"\xff\xd8\xff\xe0", Media::Jpeg),
            (b"\x89PNG\r\n\x1a\n", Media::Png),
            (b"RIFF\x00\x00\x00\x00WEBPVP8 ", Media::Webp),
            (b"RIFF\x00\x00\x00\x00WAVE", Media::Other),
            (b"II*\0\x08\0\0\0\0\0", Media::Tiff),
            (b"II*\0\x10\0\0\0CR\x02\0", Media::Raw),
            (b"FUJIFILMCCD-RAW 0201", Media::Raw),
            (b"\0\0\0\x18ftypheic", Media::Heic),
            (b"\0\0\0\x18ftypcrx ", Media::Raw),
            (b"\0\0\0\x18ftypmp42", Media::Mp4),
            (b"%PDF-1.7", Media::Pdf),
            (b"\n\n%PDF-1.4", Media::Pdf),
            (b"", Media::Other),
        ];
        for (bytes, media) in cases {
            assert_eq!(sniff(bytes), media, "{bytes:?}");
        }
    }

    #[test]
    fn raw_with_preview_first_is_no_tiff() {
        // Little endian, one directory: NewSubfileType = 1 and SubIFDs.
        let mut nef = b"II*\0\x08\0\0\0\x02\0".to_vec();
        nef.extend(b"\xfe\0\x04\0\x01\0\0\0\x01\0\0\0");
        nef.extend(b"\x4a\x01\x04\0\x01\0\0\0\0\0\0\0");
        nef.extend([0; 4]);
        assert_eq!(sniff(&nef), Media::Raw);
        // The same with a full-size first image is an ordinary TIFF.
        nef[18] = 0;
        assert_eq!(sniff(&nef), Media::Tiff);
    }

    #[test]
    fn pdf_renamed_jpg_is_found_out() {
        let fault = disguised("IMG_0007.JPG", sniff(b"%PDF-1.7\n")).unwrap();
        assert_eq!(fault, Disguised { claimed: Media::Jpeg, found: Media::Pdf });
        assert!(fault.to_string().contains("the name says JPEG and the content is PDF"));
        assert_eq!(disguised("IMG_0007.jpeg", Media::Jpeg), None);
        assert_eq!(disguised("notes", Media::Pdf), None);
    }
}
