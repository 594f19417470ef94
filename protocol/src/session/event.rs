//! What passes between a session and its shell: what it is made with, what it tells, what it refuses.
//!
//! The node's core matches on [`Event`] and handles [`SendError`]; nothing here has behaviour.

use super::{
    CloseCode,
    message::{AgreementLine, Heads, Hello, Notice},
};
use crate::{
    codec::CodecError,
    cose::SignatureBytes,
    error::PeerFault,
    feed::{Cursor, FeedKey, RunMessage},
    id::{Nonce, OrgId, StoreId},
};

/// Which side dialled. The session is the same on both; the driver opens the streams by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// We dialled.
    Dialer,
    /// The partner dialled.
    Acceptor,
}

/// What a session is about.
#[derive(Debug, Clone, Copy)]
pub struct SessionConfig {
    /// Which side dialled.
    pub role: Role,
    /// Our organisation.
    pub org: OrgId,
    /// Our store.
    pub store: StoreId,
    /// The organisation that the connection proved.
    pub peer: OrgId,
    /// Fresh and random.
    pub nonce: Nonce,
}

/// What happened, for the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The partner greeted.
    Ready(Hello),
    /// The agreements that the partner shares with us: answer with `offer_heads` (the first time).
    Agreements(Vec<AgreementLine>),
    /// The partner's heads. Compare them ([`Cursor::compare`]); offer a head for each feed of `sent`
    /// that we are ready to receive and did not offer yet.
    Heads(Heads),
    /// A run: [`RunMessage::verify`] it against what is held of the feed, store, then `send_receipt`.
    Run {
        /// Of this feed.
        feed: FeedKey,
        /// As it came.
        message: Box<RunMessage>,
    },
    /// A countersignature of the oldest run in flight: [`Receipt::verify`](crate::feed::Receipt::verify) it, then keep it.
    Receipt {
        /// Of this feed.
        feed: FeedKey,
        /// As it came.
        receipt: SignatureBytes,
    },
    /// An agreement with some signatures.
    Proposal(Vec<u8>),
    /// A signed standing: verify it; unless it is active, `withdraw_queued`.
    Standing(SignatureBytes),
    /// A card.
    Card(Vec<u8>),
    /// For another part of the node.
    Notice(Notice),
    /// Two histories of one feed. It is stopped in this session: keep both heads, tell people.
    Fork {
        /// Which feed.
        feed: FeedKey,
        /// What we have.
        ours: Cursor,
        /// What the partner has, at the same length.
        theirs: Cursor,
        /// The partner's signature over it: a run if it sends the feed, a receipt if it receives it.
        signed: Option<SignatureBytes>,
    },
    /// The session is over.
    Closed {
        /// Why.
        code: CloseCode,
        /// Whether the partner said so.
        by_peer: bool,
    },
}

/// A command that cannot be carried out now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The opening is not that far, or the session is over.
    #[error("the session does not take this now: wait for the event that asks for it")]
    NotReady,
    /// The partner has not shown its head of this feed in this session.
    #[error("the head of this feed was not shown in this session")]
    NotShown,
    /// The feed forked.
    #[error("the feed is stopped: two histories of it were shown")]
    Stopped,
    /// Wait for a receipt.
    #[error("the window is full: wait for a receipt")]
    WindowFull,
    /// The run does not begin where the last one ended.
    #[error("the run does not continue the feed, which goes on at {next}")]
    OutOfPlace {
        /// Where it goes on.
        next: u64,
    },
    /// A receipt that nobody waits for.
    #[error("no receipt is owed for this feed")]
    NotOwed,
    /// Too much waits to be sent.
    #[error("too much waits to be sent: try again later")]
    QueueFull,
    /// Beyond the bounds of the lane, or not ours to send: our own mistake.
    #[error("the message cannot be sent: {0}")]
    Message(PeerFault),
}

impl From<CodecError> for SendError {
    fn from(fault: CodecError) -> Self {
        Self::Message(fault.into())
    }
}
