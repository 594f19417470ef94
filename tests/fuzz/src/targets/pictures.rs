//! What people bring: photographs, what they say of themselves, and their copies.

use super::holds;
use crate::run::{Notes, Subject, Verdict};
use entente_node::ingest::photo::{derive, disguised, exif, sniff};
use entente_protocol::record::ladder::Edtf;
use std::io::Cursor;

const PHOTO: &[u8] = include_bytes!("../../../../certs-example/evidence/photos/IMG_0001.jpg");

/// Segments of a photograph before its pixels, a TIFF, and what has no metadata.
fn exif_seeds() -> Vec<Vec<u8>> {
    let at = PHOTO.windows(6).position(|window| window == b"Exif\0\0");
    let tiff = at.and_then(|at| PHOTO.get(at + 6..at + 2_048)).unwrap_or_default().to_vec();
    let head = PHOTO.get(..8 << 10).unwrap_or_default().to_vec();
    let png = [b"\x89PNG\r\n\x1a\n\0\0\0\x04eXIfMM\0*\0\0\0\0".as_slice()].concat();
    vec![
        head,
        tiff,
        png,
        b"RIFF\x10\0\0\0WEBPEXIF\x04\0\0\0II*\0".to_vec(),
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".to_vec(),
    ]
}

fn exif_holds(exif: &exif::Exif, notes: &mut Notes) -> Verdict {
    let texts =
        [&exif.author, &exif.make, &exif.model, &exif.serial, &exif.description, &exif.software, &exif.gps_time];
    let rest = exif.rest.iter().flat_map(|(name, text)| [name, text]);
    for text in texts.into_iter().flatten().chain(rest) {
        holds("a control character in metadata", !text.chars().any(char::is_control))?;
    }
    let bytes: usize = exif.rest.iter().map(|(name, text)| name.len() + text.len()).sum();
    holds("more metadata than is taken", exif.rest.len() <= exif::REST_MAX && bytes <= exif::REST_BYTES_MAX)?;
    if let Some(taken) = &exif.taken {
        holds("a day that is none", Edtf::parse(taken.day()).is_some())?;
        notes.note(taken.clock.name());
    }
    if let Some(place) = &exif.place {
        let within = place.lat_e7.unsigned_abs() <= 900_000_000 && place.lon_e7.unsigned_abs() <= 1_800_000_000;
        holds("a place that is not on this planet", within)?;
        notes.note("place");
    }
    holds("an orientation that is none", exif.orientation.is_none_or(|turn| (1..=8).contains(&turn)))?;
    for name in exif.rest.keys() {
        notes.note(name);
    }
    exif.faults.iter().for_each(|fault| notes.note(fault));
    Ok(())
}

pub fn exif() -> Subject {
    let judge = |input: &[u8], notes: &mut Notes| -> Verdict {
        let media = sniff(input);
        notes.note(media);
        for name in ["a.jpg", "a.pdf", "a"] {
            notes.note(disguised(name, media).is_some());
        }
        let read =
            exif::read(&mut Cursor::new(input)).map_err(|fault| format!("memory that cannot be read: {fault}"))?;
        exif_holds(&read, notes)
    };
    let words = vec![
        b"Exif\0\0".to_vec(),
        b"II*\0\x08\0\0\0".to_vec(),
        b"MM\0*\0\0\0\x08".to_vec(),
        vec![0x88, 0x25],
        vec![0xff, 0xe1],
        vec![0, 5],
        vec![0, 10],
    ];
    Subject { seeds: exif_seeds(), words, judge: Box::new(judge) }
}

/// Limits at which a picture is decoded in milliseconds.
const SMALL: derive::Limits =
    derive::Limits { file_bytes: 64 << 10, side: 512, pixels: 1 << 16, memory_bytes: 16 << 20 };

pub fn picture() -> Subject {
    let large = derive::Limits::default();
    let copies = derive::derive(&mut Cursor::new(PHOTO), &large).ok();
    let mut seeds: Vec<Vec<u8>> = copies.into_iter().map(|copies| copies.thumbnail).collect();
    seeds.extend([PNG.to_vec(), TIFF.to_vec(), WEBP.to_vec()]);
    let judge = |input: &[u8], notes: &mut Notes| -> Verdict {
        let derived = derive::derive(&mut Cursor::new(input), &SMALL);
        match &derived {
            // The words are the decoder's, and quote what they find.
            Err(derive::NotDerived::Damaged(why)) => {
                notes.note(format_args!("{:?} {}", sniff(input), why.split_inclusive(' ').take(6).collect::<String>()));
            }
            derived => notes.result("derived", derived),
        }
        let Ok(derived) = derived else { return Ok(()) };
        let within = u64::from(derived.width) * u64::from(derived.height) <= SMALL.pixels;
        holds("a picture beyond its limits", within && derived.width > 0 && derived.height > 0)?;
        for copy in [&derived.stripped, &derived.thumbnail] {
            let exif = exif::read(&mut Cursor::new(copy)).map_err(|fault| fault.to_string())?;
            holds("a copy with metadata", exif.is_empty())?;
        }
        holds("a copy of another format", sniff(&derived.stripped) == derived.stripped_media)
    };
    Subject {
        seeds,
        words: vec![b"IHDR".to_vec(), b"IDAT".to_vec(), b"VP8L".to_vec(), vec![0xff, 0xda], vec![0xff, 0xc2]],
        judge: Box::new(judge),
    }
}

/// One grey pixel as PNG.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0\x3a\x7e\x9b\x55\0\0\0\x0aIDAT\x08\xd7\x63\x68\0\0\0\x82\0\x81\xdd\x43\x6a\xf4\0\0\0\0IEND\xae\x42\x60\x82";
/// One grey pixel as TIFF: eight entries, the pixel behind them.
const TIFF: &[u8] = b"II*\0\x08\0\0\0\x08\0\
    \0\x01\x03\0\x01\0\0\0\x01\0\0\0\x01\x01\x03\0\x01\0\0\0\x01\0\0\0\x02\x01\x03\0\x01\0\0\0\x08\0\0\0\x03\x01\x03\0\x01\0\0\0\x01\0\0\0\
    \x06\x01\x03\0\x01\0\0\0\x01\0\0\0\x11\x01\x04\0\x01\0\0\0\x6e\0\0\0\x16\x01\x03\0\x01\0\0\0\x01\0\0\0\x17\x01\x04\0\x01\0\0\0\x01\0\0\0\0\0\0\0\x80";
/// One pixel as lossless WebP.
const WEBP: &[u8] = b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\0\0\0\x10\x07\x10\x11\x11\x88\x88\xfe\x07\0";
