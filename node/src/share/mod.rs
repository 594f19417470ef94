//! Sharing: from the release log through policy and redaction to signed runs. Synchronous; no tokio.
//!
//! This is the only way out of a node. A feed is filled from two sources, both durable: the release
//! log, from where the feed stopped reading it, and the feed's own pending list (supplements, records
//! to decide again, refusals). Nothing is released here without a [`Clearance`](entente_protocol::clearance::Clearance).

pub mod bodies;
pub mod decide;
pub mod explain;
pub mod feeds;
pub mod fetching;
pub mod files;
pub mod lost;
pub mod outbox;
pub mod preview;
pub mod wishes;

use crate::{
    records::{keep::KeepError, stored::RowDamage},
    secret::RandomError,
    store::StoreError,
};
use entente_protocol::{attachment::AttachmentFault, batch::BatchError, codec::CodecError, feed::RunError};

/// Sharing could not go on: our own store or a programming error, never a partner's fault.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row does not read as written.
    #[error(transparent)]
    Damage(#[from] RowDamage),
    /// Records.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// A batch does not fit together any more.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A run could not be made.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A message could not be encoded.
    #[error("a message could not be encoded: {0}")]
    Codec(#[from] CodecError),
    /// A file that no record may carry.
    #[error(transparent)]
    File(#[from] AttachmentFault),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// Partners and agreements could not be read again.
    #[error("{0}")]
    Rules(String),
    /// A wish for a file.
    #[error(transparent)]
    Wish(#[from] wishes::WishError),
    /// A clearance did not fit its record.
    #[error("a clearance does not fit its record")]
    Clearance,
}

impl ShareError {
    /// Whether it comes of an agreement whose keys were destroyed: nothing is held there, and nothing failed.
    pub fn is_erased(&self) -> bool {
        match self {
            Self::Store(error) | Self::Keep(KeepError::Store(error)) | Self::Wish(wishes::WishError::Store(error)) => {
                error.is_erased()
            }
            _ => false,
        }
    }
}
