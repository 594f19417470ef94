//! Sessions: what two nodes say to each other over one connection, without IO.
//!
//! The node's driver pumps a [`Session`]: frames in, events out, commands in, frames out. A session
//! knows nothing of QUIC, storage, keys or policy. Format, order and close codes: SPEC, SES-1 on.
//!
//! ```text
//! Hello  ->  Agreements  ->  Heads  ->  open: runs, receipts, standings, proposals, cards, notices
//! ```
//!
//! Equal feeds cost one round trip: when the heads agree, nothing else is said.

mod close;
mod event;
pub mod fetch;
mod machine;
mod message;
mod opening;
pub mod pair;
mod receiving;
mod sharing;

pub use close::CloseCode;
pub use event::{Event, Role, SendError, SessionConfig};
pub use machine::Session;
pub use message::{AgreementLine, Heads, Hello, Lane, Message, Notice, ReceivedHead, SentHead, VERSIONS};

#[cfg(test)]
mod tests;
