//! The whole path over files: real photographs where they are at hand, and pictures made here with
//! everything planted in them that must not survive.

use std::path::PathBuf;

use image::{DynamicImage, ImageEncoder, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};

use super::derive::{Derived, Limits, NotDerived, THUMBNAIL_SIDE, derive};
use super::exif::{self, Clock, Exif, ExifFault, Place};
use super::{Media, sniff};

const PLACE_TEXT: &str = "11.8461 N 13.1571 E Sambatown";
const AUTHOR: &str = "Observer Nine";
const MAKE: &str = "Cameraworks";
const SERIAL: &str = "CW-7750123";
/// Pieces of metadata that no copy may hold, besides those of the file at hand.
const MARKERS: [&[u8]; 8] =
    [b"Exif", b"http://ns.adobe.com", b"Photoshop", b"ICC_PROFILE", b"8BIM", b"II*\0", b"MM\0*", b"<x:xmpmeta"];

fn read(file: &[u8]) -> Exif {
    let mut file = file;
    exif::read(&mut file).unwrap()
}

fn copies(file: &[u8]) -> Result<Derived, NotDerived> {
    derive(&mut &*file, &Limits::default())
}

// --- pictures made here ---

/// A little-endian EXIF block with place, author, camera and times, orientation as given.
fn block(orientation: u16) -> Vec<u8> {
    let ascii = |tag: u16, text: &str| (tag, 2_u16, [text.as_bytes(), b"\0"].concat());
    let rationals = |tag: u16, values: [(u32, u32); 3]| {
        (tag, 5_u16, values.iter().flat_map(|(n, d)| [n.to_le_bytes(), d.to_le_bytes()].concat()).collect::<Vec<u8>>())
    };
    let camera = vec![ascii(0x9003, "2026:02:14 09:31:07"), ascii(0xa431, SERIAL)];
    let gps = vec![
        ascii(1, "N"),
        rationals(2, [(11, 1), (50, 1), (4_596, 100)]),
        ascii(3, "E"),
        rationals(4, [(13, 1), (9, 1), (2_556, 100)]),
        rationals(7, [(8, 1), (31, 1), (9, 1)]),
        ascii(0x1d, "2026:02:14"),
    ];
    let main = vec![
        ascii(0x010e, PLACE_TEXT),
        ascii(0x010f, MAKE),
        (0x0112, 3, orientation.to_le_bytes().to_vec()),
        ascii(0x013b, AUTHOR),
    ];
    let size = |entries: usize| 2 + 12 * entries + 4;
    let (camera_at, gps_at) = (8 + size(main.len() + 2), 8 + size(main.len() + 2) + size(camera.len()));
    let mut values_at = gps_at + size(gps.len());
    let mut out = b"II*\0\x08\0\0\0".to_vec();
    let mut values = Vec::new();
    let pointer = |tag: u16, at: usize| (tag, 4_u16, (at as u32).to_le_bytes().to_vec());
    let mut main = main;
    main.extend([pointer(0x8769, camera_at), pointer(0x8825, gps_at)]);
    for directory in [main, camera, gps] {
        out.extend((directory.len() as u16).to_le_bytes());
        for (tag, kind, value) in directory {
            let unit = match kind {
                3 => 2,
                4 => 4,
                5 => 8,
                _ => 1,
            };
            out.extend(tag.to_le_bytes());
            out.extend(kind.to_le_bytes());
            out.extend(((value.len() / unit) as u32).to_le_bytes());
            if value.len() <= 4 {
                let mut inline = value;
                inline.resize(4, 0);
                out.extend(inline);
            } else {
                out.extend((values_at as u32).to_le_bytes());
                values_at += value.len();
                values.extend(value);
            }
        }
        out.extend([0; 4]);
    }
    out.extend(values);
    out
}

/// Four quarters of different grey, so that a turn shows.
fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let quarter = u8::from(x >= width / 2) + 2 * u8::from(y >= height / 2);
        Rgb([40 + quarter * 60; 3])
    })
}

fn segment(code: u8, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u16 + 2).to_be_bytes();
    [&[0xff, code], length.as_slice(), content].concat()
}

/// A JPEG with EXIF, XMP, IPTC, a colour profile, a comment and bytes after its end.
fn loaded_jpeg(width: u32, height: u32, orientation: u16) -> Vec<u8> {
    let mut plain = std::io::Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(picture(width, height)).write_to(&mut plain, ImageFormat::Jpeg).unwrap();
    let plain = plain.into_inner();
    let planted = [
        segment(0xe1, &[b"Exif\0\0".as_slice(), &block(orientation)].concat()),
        segment(0xe1, format!("http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>{AUTHOR} {PLACE_TEXT}</x:xmpmeta>").as_bytes()),
        segment(0xed, format!("Photoshop 3.0\08BIM\x04\x04{AUTHOR}").as_bytes()),
        segment(0xe2, format!("ICC_PROFILE\0\x01\x01{MAKE} profile").as_bytes()),
        segment(0xfe, format!("comment by {AUTHOR}").as_bytes()),
    ]
    .concat();
    let tail = format!("trailing {SERIAL} {PLACE_TEXT}");
    [&plain[..2], &planted, &plain[2..], tail.as_bytes()].concat()
}

/// Looks from first byte to first byte: comparing every window takes minutes over real photographs.
fn contains(bytes: &[u8], part: &[u8]) -> bool {
    let Some((first, rest)) = part.split_first() else { return true };
    let mut left = bytes;
    while let Some(at) = left.iter().position(|byte| byte == first) {
        left = &left[at + 1..];
        if left.starts_with(rest) {
            return true;
        }
    }
    false
}

/// The parts of a JPEG that are allowed in a copy: a bare JFIF header, one frame, tables, one scan,
/// and nothing after its end.
fn check_jpeg_is_bare(bytes: &[u8]) {
    let mut at = 2;
    loop {
        let [0xff, code, high, low] = bytes[at..at + 4] else { panic!("no marker at {at}") };
        let length = usize::from(u16::from_be_bytes([high, low]));
        match code {
            0xe0 => assert_eq!(length, 16, "JFIF header without a thumbnail"),
            0xc0 | 0xc4 | 0xdb => {}
            0xda => break,
            other => panic!("segment {other:#x} in a copy"),
        }
        at += 2 + length;
    }
    let end = bytes[at..].windows(2).position(|pair| pair == b"\xff\xd9").unwrap();
    assert_eq!(at + end + 2, bytes.len(), "bytes after the end of the picture");
}

/// PNG chunks allowed in a copy.
fn check_png_is_bare(bytes: &[u8]) {
    let mut at = 8;
    while at < bytes.len() {
        let length = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let name = &bytes[at + 4..at + 8];
        assert!([b"IHDR".as_slice(), b"IDAT", b"IEND"].contains(&name), "chunk {name:?} in a copy");
        at += 12 + length;
    }
    assert_eq!(at, bytes.len());
}

/// That neither copy holds anything of what the original says.
fn check_nothing_survives(name: &str, original: &[u8], derived: &Derived) {
    let exif = read(original);
    let mut parts: Vec<Vec<u8>> = MARKERS.iter().map(|marker| marker.to_vec()).collect();
    let texts = [&exif.author, &exif.make, &exif.model, &exif.serial, &exif.description, &exif.software];
    parts.extend(texts.into_iter().flatten().filter(|text| text.len() >= 4).map(|text| text.as_bytes().to_vec()));
    for angle in exif.place.iter().flat_map(|place| [place.lat_e7.abs(), place.lon_e7.abs()]) {
        parts.push(format!("{}.{:04}", angle / 10_000_000, angle / 1_000 % 10_000).into_bytes());
    }
    parts.extend(gps_rationals(original));
    for (copy, bytes) in [("stripped copy", &derived.stripped), ("thumbnail", &derived.thumbnail)] {
        for part in &parts {
            assert!(!contains(bytes, part), "{name}: {copy} holds {:?}", String::from_utf8_lossy(part));
        }
        assert!(read(bytes).is_empty(), "{name}: {copy} has metadata");
    }
    check_jpeg_is_bare(&derived.thumbnail);
    match derived.stripped_media {
        Media::Jpeg => check_jpeg_is_bare(&derived.stripped),
        _ => check_png_is_bare(&derived.stripped),
    }
}

/// The coordinates' rationals as they stand in the file, 24 bytes each.
fn gps_rationals(original: &[u8]) -> Vec<Vec<u8>> {
    let parsed = exif_library(original);
    let tags = [::exif::Tag::GPSLatitude, ::exif::Tag::GPSLongitude];
    let values = tags.iter().filter_map(|tag| parsed.as_ref()?.get_field(*tag, ::exif::In::PRIMARY));
    let mut parts = Vec::new();
    for field in values {
        let ::exif::Value::Rational(numbers) = &field.value else { continue };
        let both = numbers.iter().flat_map(|value| [value.num, value.denom]);
        // Zeros say nothing, and stand in any file.
        if both.clone().all(|number| number == 0) {
            continue;
        }
        parts.push(both.clone().flat_map(u32::to_be_bytes).collect());
        parts.push(both.flat_map(u32::to_le_bytes).collect());
    }
    parts
}

fn exif_library(original: &[u8]) -> Option<::exif::Exif> {
    ::exif::Reader::new().read_from_container(&mut std::io::Cursor::new(original)).ok()
}

#[test]
fn made_block_is_read_in_full() {
    let exif = read(&loaded_jpeg(64, 48, 6));
    assert_eq!(exif.faults, []);
    assert_eq!(exif.place, Some(Place { lon_e7: 131_571_000, lat_e7: 118_461_000 }));
    let taken = exif.taken.clone().unwrap();
    assert_eq!((taken.edtf.as_str(), taken.clock), ("2026-02-14T09:31:07", Clock::Camera));
    assert_eq!(taken.day(), "2026-02-14");
    assert_eq!(exif.gps_time.as_deref(), Some("2026-02-14T08:31:09Z"));
    assert_eq!(exif.camera().unwrap(), format!("{MAKE} {SERIAL}"));
    let texts = [exif.author, exif.make, exif.serial, exif.description];
    assert_eq!(texts.map(Option::unwrap), [AUTHOR, MAKE, SERIAL, PLACE_TEXT]);
    assert_eq!(exif.orientation, Some(6));
    assert!(exif.rest.is_empty());
}

#[test]
fn planted_metadata_is_in_the_original_and_in_no_copy() {
    let original = loaded_jpeg(900, 600, 1);
    for planted in [AUTHOR, MAKE, SERIAL, PLACE_TEXT] {
        assert!(contains(&original, planted.as_bytes()), "{planted} was not planted");
    }
    assert_eq!(gps_rationals(&original).len(), 4);
    let derived = copies(&original).unwrap();
    check_nothing_survives("made here", &original, &derived);
    assert_eq!((derived.width, derived.height), (900, 600));
    let thumbnail = image::load_from_memory(&derived.thumbnail).unwrap();
    assert_eq!((thumbnail.width(), thumbnail.height()), (THUMBNAIL_SIDE, 213));
}

#[test]
fn orientation_is_applied_to_the_pixels() {
    // Orientation 6: held upright with the camera's top to the right; turned a quarter clockwise.
    let derived = copies(&loaded_jpeg(640, 480, 6)).unwrap();
    assert_eq!((derived.width, derived.height), (480, 640));
    for bytes in [&derived.stripped, &derived.thumbnail] {
        let image = image::load_from_memory(bytes).unwrap().into_rgb8();
        let (width, height) = image.dimensions();
        assert!(height > width);
        let grey = |x, y| i32::from(image.get_pixel(x, y).0[0]);
        let corners = [grey(8, 8), grey(width - 8, 8), grey(8, height - 8), grey(width - 8, height - 8)];
        // Bottom left comes to the top left.
        for (found, expected) in corners.iter().zip([160, 40, 220, 100]) {
            assert!((found - expected).abs() <= 4, "{corners:?}");
        }
    }
}

#[test]
fn png_stays_png_and_transparency_becomes_white() {
    let image = RgbaImage::from_fn(40, 30, |x, _| if x < 20 { Rgba([200, 10, 10, 0]) } else { Rgba([0, 0, 0, 255]) });
    let mut file = Vec::new();
    let mut encoder = image::codecs::png::PngEncoder::new(&mut file);
    encoder.set_exif_metadata(block(1)).unwrap();
    encoder.write_image(&image, 40, 30, image::ExtendedColorType::Rgba8).unwrap();
    assert_eq!(read(&file).author.as_deref(), Some(AUTHOR));
    let derived = copies(&file).unwrap();
    assert_eq!(derived.stripped_media, Media::Png);
    check_nothing_survives("png", &file, &derived);
    let copy = image::load_from_memory(&derived.stripped).unwrap();
    assert_eq!(copy.color(), image::ColorType::Rgb8);
    assert_eq!(copy.into_rgb8().get_pixel(3, 3).0, [255; 3]);
}

#[test]
fn webp_and_tiff_are_encoded_anew() {
    for (format, media, stripped) in
        [(ImageFormat::WebP, Media::Webp, Media::Jpeg), (ImageFormat::Tiff, Media::Tiff, Media::Png)]
    {
        let mut file = std::io::Cursor::new(Vec::new());
        DynamicImage::ImageRgb8(picture(50, 40)).write_to(&mut file, format).unwrap();
        let file = file.into_inner();
        assert_eq!(sniff(&file), media);
        let derived = copies(&file).unwrap();
        assert_eq!((derived.stripped_media, derived.width, derived.height), (stripped, 50, 40));
        check_nothing_survives("converted", &file, &derived);
    }
}

#[test]
fn what_is_not_encoded_here_is_kept_with_the_reason() {
    let reason = |file: &[u8]| copies(file).unwrap_err();
    assert!(matches!(reason(b"%PDF-1.7"), NotDerived::Format(Media::Pdf)));
    assert!(matches!(reason(b"\0\0\0\x18ftypheic"), NotDerived::Format(Media::Heic)));
    assert!(matches!(reason(b""), NotDerived::Format(Media::Other)));
    assert!(matches!(reason(b"\xff\xd8\xff\xe0 no picture"), NotDerived::Damaged(_)));
    // Two empty directories in a row: a TIFF of two pages.
    let pages = b"II*\0\x08\0\0\0\0\0\x0e\0\0\0\0\0\0\0\0\0";
    assert!(matches!(reason(pages), NotDerived::Pages));
}

#[test]
fn limits_hold_before_pixels_are_decoded() {
    let file = loaded_jpeg(64, 48, 1);
    let with = |limits: Limits| derive(&mut file.as_slice(), &limits);
    let limits = Limits::default();
    let unit = |result: Result<Derived, NotDerived>| match result {
        Err(NotDerived::TooLarge { unit, .. }) => unit,
        other => panic!("{other:?}"),
    };
    assert_eq!(unit(with(Limits { file_bytes: file.len() as u64 - 1, ..limits })), "bytes");
    assert_eq!(unit(with(Limits { side: 63, ..limits })), "pixels a side");
    assert_eq!(unit(with(Limits { pixels: 64 * 48 - 1, ..limits })), "pixels");
    assert_eq!(unit(with(Limits { memory_bytes: 64 * 48 * 3 - 1, ..limits })), "bytes of memory");
    let just = Limits { file_bytes: file.len() as u64, side: 64, pixels: 64 * 48, ..limits };
    assert!(with(just).is_ok());

    // A PNG header that claims 60,000 x 60,000 pixels, and holds none.
    let mut bomb = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    bomb.extend(60_000_u32.to_be_bytes());
    bomb.extend(60_000_u32.to_be_bytes());
    bomb.extend(b"\x08\x02\0\0\0\xc9\x54\xfe\x2d");
    assert!(copies(&bomb).is_err());
}

#[test]
fn broken_places_and_times_are_noted_and_left_out() {
    let good = loaded_jpeg(16, 16, 1);
    let latitude: Vec<u8> = [11_u32, 1, 50, 1, 4_596, 100].iter().flat_map(|n| n.to_le_bytes()).collect();
    let replace = |from: &[u8], to: &[u8]| {
        let at = good.windows(from.len()).position(|window| window == from).unwrap();
        let mut file = good.clone();
        file[at..at + to.len()].copy_from_slice(to);
        read(&file)
    };
    let zeros = replace(&latitude, &[0; 24]);
    assert_eq!((zeros.place, zeros.faults.as_slice()), (None, [ExifFault::Place].as_slice()));
    let beyond = replace(&latitude, &91_u32.to_le_bytes());
    assert_eq!((beyond.place, beyond.faults.as_slice()), (None, [ExifFault::Place].as_slice()));
    // The clock is broken, the satellites' is not.
    let time = replace(b"2026:02:14 09", b"2026:02:30 09");
    assert_eq!(time.faults, [ExifFault::Time]);
    assert_eq!(time.taken.unwrap().clock, Clock::Gps);
    let blank = replace(b"2026:02:14 09:31:07", b"0000:00:00 00:00:00");
    assert_eq!(blank.faults, []);
}

#[test]
fn hostile_blocks_neither_panic_nor_pass_bounds() {
    let original = loaded_jpeg(16, 16, 1);
    let start = original.windows(6).position(|window| window == b"Exif\0\0").unwrap() + 6;
    let end = start + block(1).len();
    // A seeded generator (xorshift), so that a failure can be run again.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut damaged = 0;
    for _ in 0..4_000 {
        let mut file = original.clone();
        for _ in 0..1 + next() % 6 {
            let at = start + (next() % (end - start) as u64) as usize;
            file[at] = if next() % 2 == 0 { [0, 1, 0x7f, 0xff][(next() % 4) as usize] } else { next() as u8 };
        }
        check_bounds(&read(&file), &mut damaged);
    }
    for cut in 0..original.len() {
        check_bounds(&read(&original[..cut]), &mut damaged);
    }
    assert!(damaged > 100, "the damage done here does not reach the reader: {damaged}");
}

fn check_bounds(exif: &Exif, damaged: &mut usize) {
    *damaged += usize::from(!exif.faults.is_empty());
    assert!(exif.rest.len() <= exif::REST_MAX);
    let texts = [&exif.author, &exif.make, &exif.model, &exif.serial, &exif.description, &exif.software];
    for text in texts.into_iter().flatten().chain(exif.rest.values()) {
        assert!(text.len() <= 1_024 && !text.chars().any(char::is_control));
    }
}

#[test]
fn values_that_add_up_beyond_the_bound_are_left_out() {
    // One value of 60,000 bytes named by 29 tags: 1.7 MB asked for, 1 MiB given.
    let mut block = b"II*\0\x08\0\0\0".to_vec();
    let tags: Vec<u16> =
        [0x0100..0x0107, 0x010d..0x0110, 0x0115..0x011b, 0x0131..0x013e].into_iter().flatten().collect();
    block.extend((tags.len() as u16).to_le_bytes());
    let value_at = 8 + 2 + 12 * tags.len() as u32 + 4;
    for tag in &tags {
        block.extend(tag.to_le_bytes());
        block.extend(2_u16.to_le_bytes());
        block.extend(60_000_u32.to_le_bytes());
        block.extend(value_at.to_le_bytes());
    }
    block.extend([0; 4]);
    block.extend([b'x'; 60_000]);
    let jpeg = [b"\xff\xd8".as_slice(), &segment(0xe1, &[b"Exif\0\0", block.as_slice()].concat())].concat();
    let exif = read(&jpeg);
    assert_eq!(exif.faults, [ExifFault::TooLarge]);
    assert_eq!(exif.description.unwrap().len(), 1_024);
}

// --- the sample evidence ---

#[test]
fn sample_photographs_say_what_their_readme_says() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../certs-example/evidence/photos");
    let file = |name: &str| std::fs::read(folder.join(name)).unwrap();
    for number in 1..=11 {
        let name = format!("IMG_{number:04}.jpg");
        let bytes = file(&name);
        let exif = read(&bytes);
        assert!(exif.taken.is_some() && exif.author.is_some() && exif.serial.is_some(), "{name}");
        let (placed, faults) = match number {
            5 => (false, [ExifFault::Place].as_slice()),
            10 => (false, [].as_slice()),
            _ => (true, [].as_slice()),
        };
        assert_eq!((exif.place.is_some(), exif.faults.as_slice()), (placed, faults), "{name}");
        check_nothing_survives(&name, &bytes, &copies(&bytes).unwrap());
    }
    let first = read(&file("IMG_0001.jpg"));
    assert_eq!(first.taken.unwrap().edtf, "2026-01-05T09:12:44");
    assert_eq!(first.place, Some(Place { lon_e7: 146_335_500, lat_e7: 134_071_200 }));
    let label = file("IMG_0012.png");
    assert!(read(&label).is_empty());
    check_nothing_survives("IMG_0012.png", &label, &copies(&label).unwrap());
}

// --- real photographs ---

/// The folder of real photographs, if the environment names one.
fn real_photographs() -> Option<Vec<(String, Vec<u8>)>> {
    let Some(root) = std::env::var_os("ENTENTE_TEST_DATA") else {
        println!("skipped: ENTENTE_TEST_DATA is not set");
        return None;
    };
    let folder = PathBuf::from(root).join("data/photos");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    assert!(files.len() >= 14);
    Some(files)
}

#[test]
fn real_photographs_leave_nothing_behind() {
    for (name, bytes) in real_photographs().unwrap_or_default() {
        let derived = copies(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        check_nothing_survives(&name, &bytes, &derived);
        let thumbnail = image::load_from_memory(&derived.thumbnail).unwrap();
        assert!(thumbnail.width().max(thumbnail.height()) <= THUMBNAIL_SIDE, "{name}");
        let copy = image::load_from_memory(&derived.stripped).unwrap();
        assert_eq!((copy.width(), copy.height()), (derived.width, derived.height), "{name}");
    }
}

#[test]
fn real_photographs_are_read_as_they_are() {
    let Some(files) = real_photographs() else { return };
    let exif = |name: &str| read(&files.iter().find(|(found, _)| found == name).unwrap().1);

    let fuji = exif("fuji_s1pro_1.jpg");
    assert_eq!(fuji.place, Some(Place { lon_e7: -19_141_667, lat_e7: 549_896_667 }));
    assert_eq!(fuji.author.as_deref(), Some("Ian Britton"));
    assert_eq!(fuji.software.as_deref(), Some("Adobe Photoshop 7.0"));
    let taken = fuji.taken.unwrap();
    assert_eq!((taken.edtf.as_str(), taken.clock), ("2002-07-13T15:58:28", Clock::Camera));

    let sony = exif("sony_dsc_hx5v_2.jpg");
    assert_eq!(sony.gps_time.as_deref(), Some("2010-05-15T15:12:07Z"), "two hours from the camera's clock");
    assert_eq!(sony.taken.unwrap().edtf, "2010-05-15T17:12:05");

    let nikon = exif("nikon_d5000.jpg");
    assert_eq!((nikon.place, nikon.faults.as_slice()), (None, [ExifFault::Place].as_slice()), "seconds of 0/0");

    let army = exif("long_description_us_army_afghanistan.jpg");
    assert_eq!(army.author.as_deref(), Some("SSG KYLE DAVIS"));
    assert!(army.description.unwrap().starts_with("Operation Mountain Viper"));

    assert_eq!(exif("jolla.jpg").place, None);
    assert_eq!(exif("jolla.jpg").faults, []);
    assert_eq!(exif("olympus_fe230.jpg").description.as_deref(), Some("OLYMPUS DIGITAL CAMERA"));
    let placed = files.iter().filter(|(_, bytes)| read(bytes).place.is_some()).count();
    assert_eq!(placed, 11);
}
