//! What comes in from people: rows of files, and what each row is.
//!
//! `import` calls in here, in a child process that holds no key. The order is [`table`] (bytes to rows),
//! [`mapping`] (a row to the records it stands for), [`attach`] (photographs to the records that name them).
//! Nothing here writes to a store, draws randomness, reads a clock or signs: the output stops at mapped records.

pub mod attach;
pub mod calibre;
pub mod country;
pub mod mapping;
pub mod serial;
pub mod table;
