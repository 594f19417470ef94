//! The copies of a picture that may be shared where the original may not: the stripped copy and the
//! thumbnail.
//!
//! Called for every attachment at import, in the child process. Both copies are encoded anew from
//! pixels: whatever the file carried beside them (EXIF, XMP, IPTC, colour profiles, comments, the
//! camera's own thumbnail, further frames, bytes after the end, colour under transparent pixels) has
//! no way into them. Nothing is ever cut out of an original in place. What cannot be encoded here is
//! kept as it is, with the reason.

use std::fmt;
use std::io::{self, Cursor, Read};

use image::codecs::jpeg::JpegEncoder;
use image::metadata::Orientation;
use image::{
    DynamicImage, GenericImageView, ImageDecoder, ImageFormat, ImageReader, Limits as DecodeLimits, Rgb, RgbImage,
};
use thiserror::Error;

use super::exif;
use super::media::{Media, sniff};

/// Longer side of a thumbnail, in pixels.
pub const THUMBNAIL_SIDE: u32 = 320;
/// Pixels of a picture of which copies are made.
pub const PIXELS_MAX: u64 = 64 << 20;
/// JPEG quality of a stripped copy: stamped marks stay readable at twice the size.
const STRIPPED_QUALITY: u8 = 90;
/// JPEG quality of a thumbnail.
const THUMBNAIL_QUALITY: u8 = 80;

/// What a picture may cost. Checked before memory is taken for pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Size of the file, in bytes.
    pub file_bytes: u64,
    /// Width, and height, in pixels.
    pub side: u32,
    /// Width times height.
    pub pixels: u64,
    /// Memory for decoding, in bytes; the file itself and the encoded copies come on top.
    pub memory_bytes: u64,
}

impl Default for Limits {
    /// 64 MiB, 32,768 pixels a side, 64 megapixels, 256 MiB: above what cameras in the field give.
    fn default() -> Self {
        Limits { file_bytes: 64 << 20, side: 32_768, pixels: PIXELS_MAX, memory_bytes: 256 << 20 }
    }
}

/// The copies of one picture.
#[derive(Clone, PartialEq, Eq)]
pub struct Derived {
    /// Encoded anew in full size, upright, without metadata.
    pub stripped: Vec<u8>,
    /// Format of `stripped`: JPEG for JPEG and WebP, PNG for PNG and TIFF.
    pub stripped_media: Media,
    /// A JPEG of at most [`THUMBNAIL_SIDE`] pixels a side.
    pub thumbnail: Vec<u8>,
    /// Width of the stripped copy, in pixels.
    pub width: u32,
    /// Height of the stripped copy, in pixels.
    pub height: u32,
}

impl fmt::Debug for Derived {
    /// Sizes only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Derived({} x {}, {} + {} bytes)", self.width, self.height, self.stripped.len(), self.thumbnail.len())
    }
}

/// Why a file has no stripped copy. It is kept as it is, and never released where its metadata may
/// not go.
#[derive(Debug, Error)]
pub enum NotDerived {
    /// A format that is not encoded here.
    #[error("{0} files get no stripped copy: make a JPEG or PNG of it to share it without metadata")]
    Format(Media),
    /// A TIFF of several pages: a copy of the first would pass for the whole.
    #[error("a TIFF of several pages gets no stripped copy: save each page by itself")]
    Pages,
    /// Beyond the limits given.
    #[error("the picture is larger than the limit of {limit} {unit}: no stripped copy; make a smaller one to share it")]
    TooLarge {
        /// The limit that it exceeds.
        limit: u64,
        /// What the limit counts.
        unit: &'static str,
    },
    /// The pixels cannot be decoded. The cause is the decoder's own message, without control characters.
    #[error("the picture is damaged: {0}")]
    Damaged(String),
    /// The reader failed; the disk's fault, not the file's.
    #[error("cannot read the file: {0}")]
    Read(#[from] io::Error),
}

/// Makes the stripped copy and the thumbnail of a file, read from its first byte.
///
/// The orientation that EXIF states is applied to the pixels, transparency is laid on white, and
/// 16-bit samples become 8-bit. Of an animation the first frame is taken.
///
/// # Errors
/// [`NotDerived`] says why there is no copy; only [`NotDerived::Read`] is worth another try.
pub fn derive(reader: &mut dyn Read, limits: &Limits) -> Result<Derived, NotDerived> {
    let mut file = Vec::new();
    reader.take(limits.file_bytes.saturating_add(1)).read_to_end(&mut file)?;
    if file.len() as u64 > limits.file_bytes {
        return Err(NotDerived::TooLarge { limit: limits.file_bytes, unit: "bytes" });
    }
    let media = sniff(&file);
    let format = match media {
        Media::Jpeg => ImageFormat::Jpeg,
        Media::Png => ImageFormat::Png,
        Media::Webp => ImageFormat::WebP,
        Media::Tiff if exif::has_pages(&file) => return Err(NotDerived::Pages),
        Media::Tiff => ImageFormat::Tiff,
        Media::Heic | Media::Pdf | Media::Mp4 | Media::Raw | Media::Other => return Err(NotDerived::Format(media)),
    };
    let turn = turn(&file)?;
    let image = flatten(decode(file, format, limits)?);
    let mut thumbnail = small(&image);
    thumbnail.apply_orientation(turn);
    let thumbnail = thumbnail.into_rgb8();
    let turned = Turned { image: &image, turn };
    let (width, height) = turned.dimensions();
    let (stripped, stripped_media) = match media {
        Media::Jpeg | Media::Webp => (jpeg(&turned, STRIPPED_QUALITY)?, Media::Jpeg),
        _ => (png(image, turn)?, Media::Png),
    };
    Ok(Derived { stripped, stripped_media, thumbnail: jpeg(&thumbnail, THUMBNAIL_QUALITY)?, width, height })
}

/// What EXIF says of how the camera was held; upright where it says nothing.
fn turn(file: &[u8]) -> Result<Orientation, NotDerived> {
    let mut file = file;
    let exif = exif::read(&mut file).map_err(|exif::PhotoFault::Read(error)| error)?;
    Ok(exif.orientation.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms))
}

/// Decodes within the limits: sizes stand in the header and are checked before any pixel is.
fn decode(file: Vec<u8>, format: ImageFormat, limits: &Limits) -> Result<DynamicImage, NotDerived> {
    let memory = NotDerived::TooLarge { limit: limits.memory_bytes, unit: "bytes of memory" };
    let progressive = format == ImageFormat::Jpeg && is_progressive(&file);
    let mut allowed = DecodeLimits::no_limits();
    allowed.max_image_width = Some(limits.side);
    allowed.max_image_height = Some(limits.side);
    allowed.max_alloc = Some(limits.memory_bytes);
    let mut reader = ImageReader::with_format(Cursor::new(file), format);
    reader.limits(allowed.clone());
    let mut decoder = reader.into_decoder().map_err(|error| refused(error, limits))?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits.pixels {
        return Err(NotDerived::TooLarge { limit: limits.pixels, unit: "pixels" });
    }
    // The decoder keeps the coefficients of a progressive JPEG, two bytes for each of up to four
    // components, and does not count them.
    let coefficients = if progressive { pixels * 8 } else { 0 };
    let wanted = decoder.total_bytes().saturating_add(coefficients);
    if wanted > limits.memory_bytes {
        return Err(memory);
    }
    allowed.max_alloc = Some(limits.memory_bytes - wanted);
    decoder.set_limits(allowed).map_err(|error| refused(error, limits))?;
    DynamicImage::from_decoder(decoder).map_err(|error| refused(error, limits))
}

/// Whether the frame header of a JPEG announces progressive coding (ITU-T T.81, table B.1).
fn is_progressive(file: &[u8]) -> bool {
    let mut at = 2_usize;
    // Each turn moves on by at least two bytes.
    while let Some([0xff, code, high, low]) = file.get(at..at.saturating_add(4)) {
        match code {
            0xc2 | 0xc6 | 0xca | 0xce => return true,
            0xda | 0xd9 => return false,
            0xff => at += 1,
            _ => at += 2 + usize::from(u16::from_be_bytes([*high, *low])),
        }
    }
    false
}

fn refused(error: image::ImageError, limits: &Limits) -> NotDerived {
    match error {
        image::ImageError::Limits(cause) => match cause.kind() {
            image::error::LimitErrorKind::DimensionError => {
                NotDerived::TooLarge { limit: limits.side.into(), unit: "pixels a side" }
            }
            _ => NotDerived::TooLarge { limit: limits.memory_bytes, unit: "bytes of memory" },
        },
        image::ImageError::IoError(error) if error.kind() != io::ErrorKind::UnexpectedEof => NotDerived::Read(error),
        // The text may quote the file.
        error => NotDerived::Damaged(super::text::from_bytes(error.to_string().as_bytes()).unwrap_or_default()),
    }
}

/// Eight-bit colour on white: what lies under transparency is not what people saw.
fn flatten(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let image = image.into_rgba8();
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [red, green, blue, alpha] = image.get_pixel(x, y).0;
        let on_white = |value: u8| {
            let mixed = u16::from(value) * u16::from(alpha) + 255 * (255 - u16::from(alpha));
            u8::try_from(mixed / 255).unwrap_or(u8::MAX)
        };
        Rgb([on_white(red), on_white(green), on_white(blue)])
    })
}

/// Scaled down to the thumbnail's size; never up.
fn small(image: &RgbImage) -> DynamicImage {
    let long = image.width().max(image.height()).max(1);
    if long <= THUMBNAIL_SIDE {
        return DynamicImage::ImageRgb8(image.clone());
    }
    let scaled = |side: u32| {
        let side = u64::from(side) * u64::from(THUMBNAIL_SIDE) / u64::from(long);
        u32::try_from(side).unwrap_or(THUMBNAIL_SIDE).max(1)
    };
    DynamicImage::ImageRgb8(image::imageops::thumbnail(image, scaled(image.width()), scaled(image.height())))
}

/// A picture seen turned, without a second copy of its pixels.
struct Turned<'a> {
    image: &'a RgbImage,
    turn: Orientation,
}

impl GenericImageView for Turned<'_> {
    type Pixel = Rgb<u8>;

    fn dimensions(&self) -> (u32, u32) {
        let (width, height) = self.image.dimensions();
        match self.turn {
            Orientation::NoTransforms
            | Orientation::Rotate180
            | Orientation::FlipHorizontal
            | Orientation::FlipVertical => (width, height),
            Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH => (height, width),
        }
    }

    fn get_pixel(&self, x: u32, y: u32) -> Rgb<u8> {
        // Mirrored coordinates of the picture before the turn; in range while x and y are.
        let mirror_x = |x: u32| self.image.width().saturating_sub(1).saturating_sub(x);
        let mirror_y = |y: u32| self.image.height().saturating_sub(1).saturating_sub(y);
        let (x, y) = match self.turn {
            Orientation::NoTransforms => (x, y),
            Orientation::FlipHorizontal => (mirror_x(x), y),
            Orientation::Rotate180 => (mirror_x(x), mirror_y(y)),
            Orientation::FlipVertical => (x, mirror_y(y)),
            Orientation::Rotate90FlipH => (y, x),
            Orientation::Rotate90 => (y, mirror_y(x)),
            Orientation::Rotate270FlipH => (mirror_x(y), mirror_y(x)),
            Orientation::Rotate270 => (mirror_x(y), x),
        };
        *self.image.get_pixel(x, y)
    }
}

fn jpeg<I: GenericImageView<Pixel = Rgb<u8>>>(image: &I, quality: u8) -> Result<Vec<u8>, NotDerived> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(image).map_err(encoder)?;
    Ok(bytes)
}

fn png(image: RgbImage, turn: Orientation) -> Result<Vec<u8>, NotDerived> {
    let mut image = DynamicImage::ImageRgb8(image);
    image.apply_orientation(turn);
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).map_err(encoder)?;
    Ok(bytes.into_inner())
}

fn encoder(error: image::ImageError) -> NotDerived {
    NotDerived::Damaged(format!("cannot encode the copy: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turned_view_is_what_the_library_turns() {
        let image = RgbImage::from_fn(5, 3, |x, y| Rgb([x as u8 * 10, y as u8 * 10, 7]));
        for number in 1..=8 {
            let turn = Orientation::from_exif(number).unwrap();
            let mut expected = DynamicImage::ImageRgb8(image.clone());
            expected.apply_orientation(turn);
            let turned = Turned { image: &image, turn };
            assert_eq!(turned.dimensions(), expected.dimensions(), "orientation {number}");
            for (x, y, pixel) in expected.into_rgb8().enumerate_pixels() {
                assert_eq!(turned.get_pixel(x, y), *pixel, "orientation {number} at {x}, {y}");
            }
        }
    }

    #[test]
    fn progressive_is_told_from_baseline() {
        assert!(is_progressive(b"\xff\xd8\xff\xe0\0\x04ab\xff\xc2\0\x11"));
        assert!(!is_progressive(b"\xff\xd8\xff\xe0\0\x04ab\xff\xc0\0\x11"));
        assert!(!is_progressive(b"\xff\xd8\xff\xda\0\x02\xff\xc2\0\0"));
    }
}
