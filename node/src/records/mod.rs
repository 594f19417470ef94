//! The organisation's records: kept, gated, found and shown. Synchronous over [`Holdings`](crate::store).

pub mod gate;
pub mod history;
pub mod index;
pub mod keep;
pub mod links;
pub mod passing;
pub mod search;
pub mod show;
pub mod stored;
pub mod view;
