//! Records: one statement of evidence each, as fields in 64 numbered slots under one commitment.
//!
//! The states a record goes through are types: [`Draft`] (fields, not yet committed) ->
//! [`Record`] (committed: header, root and openings, for the originator's eyes) -> [`Redacted`]
//! (what a recipient gets under a clearance) -> [`Verified`] (what a recipient has proved).

mod draft;
mod header;
pub mod kind;
pub mod ladder;
mod redact;
mod schema;
mod shape;
#[cfg(test)]
mod shape_tests;
mod slots;
mod tables;
#[cfg(test)]
mod tests;
mod verify;

pub use draft::{Draft, DraftError};
pub use header::{Body, HandlingFloor, Header, Tlp};
pub use redact::{Redacted, WrongClearance};
pub use schema::{schema, schema_digest};
pub use shape::{Reference, Shape, ShapeError};
pub use slots::{Opening, Record, SlotSet, Values};
pub use verify::{DisclosedSlot, RecordFault, Verified};
