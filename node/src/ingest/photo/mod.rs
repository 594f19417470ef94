//! Photographs and other files that come with evidence: what a file is, what it says of itself, and
//! the copies of it that may be shared.
//!
//! Called by the child process that parses what people bring; never by the process that holds keys.
//! Everything here is a function of bytes: no store, no network, no clock, no random source. It never
//! changes an original, and it never trusts one: every length, count and picture size is bounded
//! before memory is taken for it.
//!
//! - [`sniff`] tells the format by content, and [`disguised`] compares it with the file name.
//! - [`exif::read`] gives time, place, author, camera and the rest as checked text and numbers.
//! - [`derive::derive`] makes the stripped copy and the thumbnail.

pub mod derive;
pub mod exif;
mod gps;
mod layout;
mod locate;
mod media;
#[cfg(test)]
mod tests;
mod text;

pub use media::{Disguised, Media, SNIFF_BYTES, disguised, sniff};
