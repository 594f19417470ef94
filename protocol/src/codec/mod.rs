//! Canonical CBOR (RFC 8949, section 4.2.1), bounded: one encoding for each value.
//!
//! [`scan`] walks the bytes before anything is decoded and refuses what we would not have written;
//! only then does cbor4ii decode. Structures are maps with text keys whose fields are declared in
//! canonical order; [`to_vec`] scans its own output, so a field declared out of order cannot leave.

pub mod frame;
mod scan;

pub use scan::{Bounds, CodecError, scan, scan_first};

use serde::{Serialize, de::DeserializeOwned};

/// Encodes a value and checks that the result is canonical and within bounds.
pub fn to_vec<T: Serialize>(value: &T, bounds: Bounds) -> Result<Vec<u8>, CodecError> {
    to_vec_of(0, value, bounds)
}

/// The same where it is known how many bytes there will be at most, or nearly: room for them is made at once.
pub fn to_vec_of<T: Serialize>(len: usize, value: &T, bounds: Bounds) -> Result<Vec<u8>, CodecError> {
    let room = Vec::with_capacity(len.min(bounds.bytes_max));
    let bytes = cbor4ii::serde::to_vec(room, value).map_err(|_| CodecError::Encode)?;
    scan(&bytes, bounds)?;
    Ok(bytes)
}

/// Decodes exactly one canonical value; trailing bytes, unknown keys and other encodings are refused.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8], bounds: Bounds) -> Result<T, CodecError> {
    scan(bytes, bounds)?;
    cbor4ii::serde::from_slice(bytes).map_err(|_| CodecError::Shape)
}
