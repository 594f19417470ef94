//! Sealing: what turns evidence into bytes that a disk may hold, and back.
//!
//! Only `store` and `secret` call in here, and nothing else in the node uses `age` or an AEAD for
//! data at rest. Nothing here knows what a record is, and no error carries content.

pub mod hybrid;
pub mod keyring;
pub mod label;
pub mod stream;
pub mod value;

#[cfg(test)]
mod testkit;
