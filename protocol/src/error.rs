//! Faults of a peer: what it did against the protocol, and the code with which it is closed.
//!
//! The session returns these and the node logs and counts them. The peer is told the code and
//! nothing else: a fault's text is for our own people.

use crate::{
    codec::{CodecError, frame::FrameFault},
    feed::RunFault,
    session::CloseCode,
};

/// What a peer did against the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerFault {
    /// A frame that is too long or not padded as agreed.
    #[error("the peer's frame is refused: {0}")]
    Frame(#[from] FrameFault),
    /// A message that is not canonical, not known, or beyond its bounds.
    #[error("the peer's message is malformed: {0}")]
    Message(#[from] CodecError),
    /// A message that has no place in the state of the session, or not on this lane.
    #[error("the peer sent `{message}` while `{state}` was expected")]
    Unexpected {
        /// What came.
        message: &'static str,
        /// What was expected.
        state: &'static str,
    },
    /// The identity stated differs from the one that the connection proved.
    #[error("the peer states another identity than its certificate")]
    Identity,
    /// No version in common.
    #[error("the peer speaks no version that we speak")]
    Version,
    /// Its clock is too far from ours.
    #[error("the peer's clock differs from ours by {by_ms} ms: check both clocks")]
    ClockSkew {
        /// Milliseconds between the two.
        by_ms: u64,
    },
    /// It did not say what was due in time.
    #[error("the peer did not send `{state}` in time")]
    Timeout {
        /// What was expected.
        state: &'static str,
    },
    /// More of something than it may list.
    #[error("the peer listed more than {max} {what}")]
    TooMany {
        /// What it listed.
        what: &'static str,
        /// How many it may list.
        max: usize,
    },
    /// It named a feed that is not between the two of us, or not in this direction, or was never opened.
    #[error("the peer named a feed that is not open in this direction")]
    Feed,
    /// More runs than it may send before one is countersigned.
    #[error("the peer sent more runs than its window")]
    Window,
    /// A receipt for a run that was not sent.
    #[error("the peer sent a receipt for a run that it was not sent")]
    Receipt,
    /// A run that does not hold.
    #[error(transparent)]
    Run(#[from] RunFault),
}

impl PeerFault {
    /// The code that the peer is told.
    pub fn code(&self) -> CloseCode {
        match self {
            Self::Frame(_) => CloseCode::FRAME,
            Self::Message(_) => CloseCode::MESSAGE,
            Self::Unexpected { .. } => CloseCode::UNEXPECTED,
            Self::Identity => CloseCode::IDENTITY,
            Self::Version => CloseCode::VERSION,
            Self::ClockSkew { .. } => CloseCode::CLOCK,
            Self::Timeout { .. } => CloseCode::TIMEOUT,
            Self::TooMany { .. } | Self::Window => CloseCode::LIMIT,
            Self::Feed => CloseCode::FEED,
            Self::Receipt => CloseCode::RECEIPT,
            Self::Run(_) => CloseCode::RUN,
        }
    }
}
