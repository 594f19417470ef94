//! What a photograph says of itself: time, place, author, camera, and the rest as bounded text.
//!
//! Called for every attachment at import. All of it is a claim by whoever wrote the file: it is
//! validated and kept apart from the original, never believed. A malformed block is a noted fault and
//! never an error, for a photograph with broken metadata is evidence all the same.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::io::{self, BufRead, Read};

use entente_protocol::limits;
use exif::{Context, Field, In, Rational, Reader, Tag, Value};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use super::gps::Place;
use super::locate::{self, Found};
use super::media::{Media, SNIFF_BYTES, sniff};
use super::text::{self, Clean};
use super::{gps, layout};

/// Entries kept in [`Exif::rest`].
pub const REST_MAX: usize = 128;
/// Names and text of [`Exif::rest`] together, in bytes: they stand in one slot of a record.
pub const REST_BYTES_MAX: usize = 48 << 10;
const _: () =
    assert!(REST_BYTES_MAX + 8 * REST_MAX < limits::SLOT_VALUE_BYTES_MAX, "the rest fits a slot when encoded");
/// Longest value that is looked at, in bytes.
const VALUE_BYTES_MAX: u64 = 64 << 10;
/// All values together, in bytes: the EXIF library keeps a copy of each that was asked for.
const VALUES_BYTES_MAX: u64 = 1 << 20;

/// Windows writes these five as UTF-16; the EXIF standard does not know them.
const XP: [(u16, &str); 5] =
    [(0x9c9b, "XPTitle"), (0x9c9c, "XPComment"), (0x9c9d, "XPAuthor"), (0x9c9e, "XPKeywords"), (0x9c9f, "XPSubject")];
/// The camera's serial number where DNG keeps it.
const DNG_SERIAL: Tag = Tag(Context::Tiff, 0xc62f);

/// The metadata of one file. Text has no control or direction characters; names of people, cameras
/// and programs have at most [`limits::NAME_BYTES_MAX`] bytes, other text 1 KiB.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Exif {
    /// When the picture was taken, by the best clock there is.
    pub taken: Option<Taken>,
    /// Satellite time as EDTF in UTC, whichever clock `taken` is from: the two often differ.
    pub gps_time: Option<String>,
    /// Where it was taken.
    pub place: Option<Place>,
    /// The photographer (Artist, else what Windows or the camera's owner entered).
    pub author: Option<String>,
    /// The camera's maker.
    pub make: Option<String>,
    /// The camera's model.
    pub model: Option<String>,
    /// The camera's serial number: it ties photographs to one person's camera.
    pub serial: Option<String>,
    /// The caption (ImageDescription, else a comment).
    pub description: Option<String>,
    /// The program that wrote the file; an editor's name here means that it was edited.
    pub software: Option<String>,
    /// How to turn the pixels, 1 to 8 (EXIF 2.32, tag 0x0112).
    pub orientation: Option<u8>,
    /// Every other tag of the standard by its name, at most [`REST_MAX`] and [`REST_BYTES_MAX`].
    pub rest: BTreeMap<String, String>,
    /// What was wrong, each at most once.
    pub faults: Vec<ExifFault>,
}

/// A date and time, and the clock it comes from.
#[derive(Clone, PartialEq, Eq)]
pub struct Taken {
    /// Local time without a zone from a camera (`2014-09-21T16:00:56`), UTC from a satellite (`...Z`).
    pub edtf: String,
    /// Whose clock.
    pub clock: Clock,
}

/// Where a time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Clock {
    /// The camera's own: set by hand, zone unknown.
    Camera,
    /// Satellites, in UTC.
    Gps,
}

impl Taken {
    /// The day, as the EDTF that a record's `taken` slot holds: `2014-09-21`.
    pub fn day(&self) -> &str {
        self.edtf.split('T').next().unwrap_or(&self.edtf)
    }
}

impl Clock {
    /// The word in an attachment record.
    pub fn name(self) -> &'static str {
        match self {
            Clock::Camera => "camera",
            Clock::Gps => "gps",
        }
    }
}

/// Metadata that was left out, and why. For the person who imports: the file itself is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ExifFault {
    /// The block cannot be parsed, or only in part.
    #[error("the metadata is damaged: what could be read is kept")]
    Damaged,
    /// The block, or a value in it, is larger than any camera writes.
    #[error("the metadata is too large: what goes beyond the bound is left out")]
    TooLarge,
    /// There are coordinates, and they are none.
    #[error("the place is unusable (`0/0`, out of range or incomplete): give the place by hand")]
    Place,
    /// There is a time, and it is none.
    #[error("the time is not a date of the calendar: give the time by hand")]
    Time,
}

/// Why a file's metadata could not be looked at.
#[derive(Debug, Error)]
pub enum PhotoFault {
    /// The reader failed; the disk's fault, not the file's.
    #[error("cannot read the file: {0}")]
    Read(#[from] io::Error),
}

/// Reads the metadata of a file, from its first byte. The format is told by content; a file without
/// EXIF, or of a format that has none, gives an empty [`Exif`].
///
/// # Errors
/// Only when reading fails. What is wrong with the file is in [`Exif::faults`].
pub fn read(reader: &mut dyn BufRead) -> Result<Exif, PhotoFault> {
    let mut prefix = Vec::new();
    (&mut *reader).take(SNIFF_BYTES as u64).read_to_end(&mut prefix)?;
    let media = sniff(&prefix);
    let mut whole = prefix.as_slice().chain(reader);
    Ok(match locate::locate(&mut whole, media)? {
        Found::Nothing => Exif::default(),
        Found::Block(block) => from_block(block, media),
        Found::Broken => Exif { faults: vec![ExifFault::Damaged], ..Exif::default() },
        Found::TooLong => Exif { faults: vec![ExifFault::TooLarge], ..Exif::default() },
    })
}

/// Whether a file that [`sniff`] tells to be a TIFF has further pages after the first.
pub(super) fn has_pages(file: &[u8]) -> bool {
    layout::walk(file).is_ok_and(|layout| layout.images > 1)
}

fn from_block(block: Vec<u8>, media: Media) -> Exif {
    let mut exif = Exif::default();
    let layout = match layout::walk(&block) {
        Ok(layout) => layout,
        Err(layout::LayoutFault::Header) => return Exif { faults: vec![ExifFault::Damaged], ..exif },
        Err(layout::LayoutFault::Entries) => return Exif { faults: vec![ExifFault::TooLarge], ..exif },
    };
    if layout.truncated && media != Media::Heic {
        exif.note(ExifFault::Damaged);
    }
    let parsed = Reader::new().continue_on_error(true).read_raw(block).or_else(|error| {
        error.distill_partial_result(|errors| {
            if !errors.iter().all(is_harmless) {
                exif.note(ExifFault::Damaged);
            }
        })
    });
    let Ok(parsed) = parsed else {
        exif.note(ExifFault::Damaged);
        return exif;
    };
    let fields = affordable(&layout, &parsed, &mut exif);
    exif.fill_camera(&fields);
    exif.fill_time_and_place(&fields);
    exif.fill_rest(&fields);
    exif
}

/// Widespread writers leave out the end mark of the inner directories; nothing is lost by it.
fn is_harmless(error: &exif::Error) -> bool {
    matches!(error, exif::Error::InvalidFormat("Unexpected next IFD"))
}

/// The main image's values by tag, those aside that are too large to look at.
fn affordable<'a>(layout: &layout::Layout, parsed: &'a exif::Exif, exif: &mut Exif) -> Fields<'a> {
    // The library answers for the last of several entries with one tag: count the largest.
    let mut sizes = BTreeMap::new();
    for entry in &layout.entries {
        let context = match entry.context {
            layout::Context::Tiff => Context::Tiff,
            layout::Context::Exif => Context::Exif,
            layout::Context::Gps => Context::Gps,
            layout::Context::Interop => Context::Interop,
        };
        let key = (entry.context as u8, entry.tag);
        let size = sizes.entry(key).or_insert((Tag(context, entry.tag), 0_u64));
        size.1 = size.1.max(entry.bytes);
    }
    let mut fields = Fields(Vec::new());
    let mut total = 0_u64;
    for (tag, bytes) in sizes.into_values() {
        if is_layout(tag) {
            continue;
        }
        if bytes > VALUE_BYTES_MAX || total + bytes > VALUES_BYTES_MAX {
            exif.note(ExifFault::TooLarge);
            continue;
        }
        total += bytes;
        fields.0.extend(parsed.get_field(tag, In::PRIMARY));
    }
    fields
}

/// Tags that describe the file or hold a maker's private data, not the photograph. Some are long.
fn is_layout(tag: Tag) -> bool {
    const NUMBERS: [u16; 8] = [0x0111, 0x0117, 0x0144, 0x0145, 0x014a, 0x02bc, 0x83bb, 0x8773];
    tag == Tag::MakerNote
        || (tag.context() == Context::Tiff && (NUMBERS.contains(&tag.number()) || tag.number() == 0x8649))
}

struct Fields<'a>(Vec<&'a Field>);

impl Fields<'_> {
    fn value(&self, tag: Tag) -> Option<&Value> {
        self.0.iter().find(|field| field.tag == tag).map(|field| &field.value)
    }

    fn text(&self, tag: Tag) -> Option<String> {
        text_of(tag, self.value(tag)?)
    }

    /// The first string of an ASCII value.
    fn ascii(&self, tag: Tag) -> Option<&[u8]> {
        match self.value(tag)? {
            Value::Ascii(strings) => strings.first().map(Vec::as_slice),
            _ => None,
        }
    }

    fn rationals(&self, tag: Tag) -> Option<&[Rational]> {
        match self.value(tag)? {
            Value::Rational(values) => Some(values),
            _ => None,
        }
    }
}

impl Exif {
    /// Maker, model and serial number in one line, for the `camera` slot; nothing if none is stated.
    pub fn camera(&self) -> Option<String> {
        let parts: Vec<&str> =
            [&self.make, &self.model, &self.serial].into_iter().flatten().map(String::as_str).collect();
        let line = parts.join(" ");
        (!line.is_empty()).then(|| text::cut(&line, limits::NAME_BYTES_MAX).to_owned())
    }

    /// Whether nothing was found and nothing was wrong.
    pub fn is_empty(&self) -> bool {
        *self == Exif::default()
    }

    fn note(&mut self, fault: ExifFault) {
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    fn fill_camera(&mut self, fields: &Fields<'_>) {
        let first = |tags: &[Tag]| tags.iter().find_map(|tag| fields.text(*tag));
        let name = |tags: &[Tag]| first(tags).map(|text| text::cut(&text, limits::NAME_BYTES_MAX).to_owned());
        let xp = |number| Tag(Context::Tiff, number);
        self.author = name(&[Tag::Artist, xp(0x9c9d), Tag::CameraOwnerName]);
        self.make = name(&[Tag::Make]);
        self.model = name(&[Tag::Model]);
        self.serial = name(&[Tag::BodySerialNumber, DNG_SERIAL]);
        self.description = first(&[Tag::ImageDescription, Tag::UserComment, xp(0x9c9b), xp(0x9c9c)]);
        self.software = name(&[Tag::Software]);
        self.orientation = fields
            .value(Tag::Orientation)
            .and_then(|value| value.get_uint(0))
            .and_then(|number| u8::try_from(number).ok())
            .filter(|number| (1..=8).contains(number));
    }

    /// The original time wins over the digitised one; the time of the last edit is none of them.
    fn fill_time_and_place(&mut self, fields: &Fields<'_>) {
        let camera = [Tag::DateTimeOriginal, Tag::DateTimeDigitized].into_iter().find_map(|tag| {
            let stated = fields.ascii(tag).filter(|text| !is_blank_time(text))?;
            let time = gps::local_time(stated);
            if time.is_none() {
                self.note(ExifFault::Time);
            }
            time
        });
        if let (Some(date), Some(time)) = (fields.ascii(Tag::GPSDateStamp), fields.rationals(Tag::GPSTimeStamp)) {
            self.gps_time = gps::instant(date, time);
            if self.gps_time.is_none() && !is_blank_time(date) {
                self.note(ExifFault::Time);
            }
        }
        self.taken = match (camera, &self.gps_time) {
            (Some(edtf), _) => Some(Taken { edtf, clock: Clock::Camera }),
            (None, Some(edtf)) => Some(Taken { edtf: edtf.clone(), clock: Clock::Gps }),
            (None, None) => None,
        };
        let latitude = fields.value(Tag::GPSLatitude);
        let longitude = fields.value(Tag::GPSLongitude);
        if latitude.is_none() && longitude.is_none() {
            return;
        }
        self.place = gps::place(
            fields.rationals(Tag::GPSLatitude).unwrap_or_default(),
            fields.ascii(Tag::GPSLatitudeRef).unwrap_or_default(),
            fields.rationals(Tag::GPSLongitude).unwrap_or_default(),
            fields.ascii(Tag::GPSLongitudeRef).unwrap_or_default(),
        );
        if self.place.is_none() {
            self.note(ExifFault::Place);
        }
    }

    fn fill_rest(&mut self, fields: &Fields<'_>) {
        let mut bytes = 0;
        for field in &fields.0 {
            let name = match XP.iter().find(|(number, _)| field.tag == Tag(Context::Tiff, *number)) {
                Some((_, name)) => (*name).to_owned(),
                None if field.tag.description().is_some() => field.tag.to_string(),
                None => continue,
            };
            let Some(text) = text_of(field.tag, &field.value).filter(|_| !has_own_field(field.tag)) else { continue };
            bytes += name.len() + text.len();
            if self.rest.len() == REST_MAX || bytes > REST_BYTES_MAX {
                self.note(ExifFault::TooLarge);
                return;
            }
            self.rest.insert(name, text);
        }
    }
}

/// Tags whose value stands in a field of [`Exif`].
fn has_own_field(tag: Tag) -> bool {
    [
        Tag::Artist,
        Tag::Make,
        Tag::Model,
        Tag::BodySerialNumber,
        Tag::ImageDescription,
        Tag::Software,
        Tag::Orientation,
        Tag::DateTimeOriginal,
        Tag::GPSLatitude,
        Tag::GPSLatitudeRef,
        Tag::GPSLongitude,
        Tag::GPSLongitudeRef,
        Tag::GPSDateStamp,
        Tag::GPSTimeStamp,
    ]
    .contains(&tag)
}

/// Cameras whose clock was never set write spaces or zeros; that is no time, and no fault either.
fn is_blank_time(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, b' ' | b':' | b'0'))
}

/// A value as people read it; nothing for one without text.
fn text_of(tag: Tag, value: &Value) -> Option<String> {
    match value {
        Value::Ascii(strings) => text::from_bytes(&strings.join(&b' ')),
        Value::Byte(bytes) if XP.iter().any(|(number, _)| tag == Tag(Context::Tiff, *number)) => {
            text::from_utf16(bytes, false)
        }
        // Eight bytes name the character set (EXIF 2.32, 4.6.5, UserComment).
        Value::Undefined(bytes, _) if tag == Tag::UserComment => match bytes.split_at_checked(8)? {
            (b"UNICODE\0", comment) => text::from_utf16(comment, comment.first() == Some(&0)),
            (b"ASCII\0\0\0" | b"\0\0\0\0\0\0\0\0", comment) => text::from_bytes(comment),
            _ => None,
        },
        Value::Unknown(..) => None,
        _ => {
            let mut clean = Clean::default();
            // The writer fails once it is full: what fitted is what we keep.
            let _full = write!(clean, "{}", value.display_as(tag));
            clean.finish()
        }
    }
}

impl fmt::Debug for Exif {
    /// Counts only: what a photograph says of people and places does not belong in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exif")
            .field("taken", &self.taken.is_some())
            .field("place", &self.place.is_some())
            .field("rest", &self.rest.len())
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}
