//! What comes in from people: rows of files, and what each row is.
//!
//! The order is [`table`] (bytes to rows), [`mapping`] (a row to the records it stands for), [`attach`] and [`photo`]
//! (files that come with them), [`import`] (what is new is committed, attested and kept). Only `import` and `carry`
//! write to a store; the rest are functions of bytes. `table` and `photo` run in a process of their own, [`child`],
//! which has no keys: the parent parses nothing that people bring but mappings.

pub mod attach;
pub mod calibre;
mod carry;
pub mod child;
pub mod import;
pub mod mapping;
pub mod photo;
pub mod serial;
mod step;
pub mod table;
