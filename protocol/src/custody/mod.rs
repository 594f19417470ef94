//! Custody: the private journal, the log of intervals over it, and what partners witness of that log.
//!
//! The node writes and shows, its partners judge; this module computes both sides. It never stores anything, never
//! speaks, and has no clock: what must be durable before something is said stands in the documentation of the value
//! that permits it. Format: SPEC, LOG-1 on.
//!
//! Reading order: [`tiles`] (how a log is kept, and proofs made from it), [`note`] and [`checkpoint`] (its signed
//! heads), [`witness`], [`cosignature`] and [`fork`] (what partners say of them), [`event`] and [`journal`] (what happened),
//! [`interval`] (a leaf of the log), [`proof`] and [`owed`] (that runs are in it), [`message`] (what both sides say).

pub mod checkpoint;
pub mod cosignature;
pub mod event;
pub mod fork;
pub mod interval;
pub mod journal;
pub mod message;
pub mod note;
pub mod owed;
pub mod proof;
pub mod tiles;
pub mod witness;

#[cfg(test)]
mod interval_tests;
#[cfg(test)]
mod journal_tests;
#[cfg(test)]
mod note_tests;
#[cfg(test)]
pub(crate) mod proof_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tiles_tests;
#[cfg(test)]
mod witness_tests;
