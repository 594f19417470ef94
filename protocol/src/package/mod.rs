//! Evidence packages: records with everything that proves them, in one file that is verified without a node, a network
//! or anybody's word.
//!
//! A node makes one with [`container`] and [`parts`]; whoever is given it verifies it with [`verify()`], and reads the
//! [`Report`]: what is proved, by whom, since when, and what is not. The file is read in place and never unpacked. This
//! has no clock and touches no file: now is an argument, bytes come from a [`Source`]. Format: SPEC, PKG-1 on.
//!
//! Reading order: [`name`] (which parts there are), [`container`] (how they stand in one file), [`parts`] (what is in them),
//! `reader` (the container, byte for byte), `keys` (whose keys count), `verify`, `report`.

pub mod container;
mod fault;
pub(crate) mod keys;
pub mod name;
pub mod parts;
mod reader;
mod report;
mod verify;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use fault::PackageFault;
pub use keys::Pins;
pub use name::Name;
pub use reader::{Archive, Source, Unreadable};
pub use report::{Confirmed, FileState, Hand, LogSeen, Party, Proved, Report, Since};
pub use verify::verify;
