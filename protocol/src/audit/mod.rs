//! Audit exports: everything by which an auditor judges the releases of a node, and nothing of what they say.
//!
//! One file, a sequence of CBOR items ([`item`]) that its maker signs at the end ([`mod@file`]). It holds commitments: the
//! journal, the log's intervals with their heads, signed runs with the hashes of their entries, receipts, agreements, the
//! events of the release gate, recalls and answers. No value of a field, no file and no certificate of a person. [`verify`]
//! reads it twice, first whether it is whole, then what it proves. It has no clock and touches no file: bytes come from a
//! [`Source`](crate::package::Source). Format: SPEC, AUD-1 on.

mod check;
pub mod file;
pub mod item;
mod report;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use check::verify;
pub use file::{AuditFault, Reader, Sealer};
pub use item::Item;
pub use report::{AgreementSeen, Area, Check, FeedSeen, Finding, Mark, Report, Test, WitnessSeen};
