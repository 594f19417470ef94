//! Record and wire formats of `entente`: bytes, proofs and state machines.
//!
//! This crate computes. It never reads a clock, file, socket, environment or random source:
//! `now`, salts and seeds are arguments. It knows nothing of QUIC, storage or policy.
//! `SPEC.md` beside this crate is the normative text; section numbers in the code refer to it.
//!
//! Reading order: [`limits`], [`id`], [`label`] (every tag and signature context), [`codec`],
//! [`record`] (the life of a record), [`batch`], [`agreement`], [`feed`], [`session`], [`recall`], [`grant`], [`custody`],
//! [`bundle`], [`package`], [`user`], [`gate`], [`audit`].

pub mod agreement;
pub mod attachment;
pub mod audit;
pub mod batch;
pub mod bundle;
pub mod clearance;
pub mod codec;
pub mod cose;
pub mod custody;
pub mod error;
pub mod feed;
pub mod gate;
pub mod grant;
pub mod id;
pub mod identity;
pub mod label;
pub mod lease;
pub mod limits;
pub mod merkle;
pub mod package;
pub mod primitive;
pub mod recall;
pub mod record;
pub mod session;
#[cfg(test)]
mod spec;
#[cfg(test)]
mod suites;
pub mod text;
pub mod time;
pub mod tree;
pub mod user;
pub mod value;
#[cfg(test)]
mod vectors;
#[cfg(test)]
mod vectors_audit;
#[cfg(test)]
mod vectors_bundle;
#[cfg(test)]
mod vectors_cards;
#[cfg(test)]
mod vectors_custody;
#[cfg(test)]
mod vectors_onward;
#[cfg(test)]
mod vectors_package;
#[cfg(test)]
mod vectors_users;
#[cfg(test)]
mod vectors_values;
#[cfg(test)]
mod vectors_wire;
