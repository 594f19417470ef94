//! Feeds: the ordered releases of one agreement in one direction, signed in runs and countersigned.
//!
//! A feed is gapless and numbered from 0. The node's sharing and receiving parts call this; it never
//! decides what may be in a feed, never stores anything, and has no clock. Format: SPEC, FEED-1 on.
//!
//! Reading order: [`FeedKey`] (which feed), [`Entry`] and [`Release`] (what stands in it),
//! [`FeedDigest`](crate::id::FeedDigest) ([`digest`]), [`Cursor`] (how far somebody is), [`Run`] and [`RunMessage`]
//! (a signed stretch as it travels), [`Receipt`] (its countersignature).

mod cursor;
pub mod digest;
mod entry;
pub mod lost;
mod receipt;
mod run;
mod verify;

pub use cursor::{Comparison, Cursor};
pub use entry::{Entry, REFUSED, Release, ReleaseFault, WITHDRAWN};
pub use receipt::{EntryProof, Receipt};
pub use run::{Carried, RUN_ENTRY_OVERHEAD_BYTES, Run, RunEntry, RunError, RunFault, RunMessage};
pub use verify::{Held, ReceivedRun, VerifiedEntry, VerifiedRelease, VerifiedRun};

use crate::{
    id::{AgreementId, FeedId, OrgId, StoreId},
    label,
    primitive::labelled,
};
use serde::{Deserialize, Serialize};

/// What names a feed: who sends from which store to whom under which agreement, and the epoch.
///
/// A new epoch is opened when the sender's store turned out older than what was countersigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedKey {
    /// 0, 1, ...
    pub epoch: u32,
    /// The sender's store.
    pub store: StoreId,
    /// Who releases.
    pub sender: OrgId,
    /// Who receives.
    pub receiver: OrgId,
    /// Under which agreement.
    pub agreement: AgreementId,
}

impl FeedKey {
    /// The feed of the epoch before; `None` in epoch 0.
    pub fn previous(&self) -> Option<Self> {
        Some(Self { epoch: self.epoch.checked_sub(1)?, ..*self })
    }

    /// SHA-256(label, sender, store, agreement, receiver, epoch as 4 bytes): fixed widths, so nothing is ambiguous.
    pub fn id(&self) -> FeedId {
        FeedId::from_bytes(labelled(
            label::FEED_ID,
            &[
                self.sender.as_bytes(),
                self.store.as_bytes(),
                self.agreement.as_bytes(),
                self.receiver.as_bytes(),
                &self.epoch.to_be_bytes(),
            ],
        ))
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
