//! What comes in from people: rows of files, and what each row is.
//!
//! The order is [`table`] (bytes to rows), `mapping` (a row to the records it stands for), [`photo`]
//! (files that come with them), `import` (what is new is committed, attested and kept). Only `import`
//! writes to a store; the rest are functions of bytes.

pub mod photo;
pub mod table;
