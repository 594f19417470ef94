//! What is signed at the release gate: reviews, and the event that lets records go.
//!
//! The node makes and judges them; an auditor is shown them, for they name records and people's keys and nothing else.

use crate::{
    id::{RecordId, UserDigest},
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};

/// A record's review state. Rising, but for refuted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Review {
    /// As imported.
    Draft,
    /// Somebody has looked at it.
    Reviewed,
    /// Somebody has verified it against the evidence.
    Verified,
    /// Shown to be wrong: never released, and withdrawn where it was.
    Refuted,
}

impl Review {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Reviewed => "reviewed",
            Self::Verified => "verified",
            Self::Refuted => "refuted",
        }
    }
    /// Where a record stands that was here and took a stage of the review, which leads to `state`.
    #[must_use]
    pub fn staged(self, state: Self) -> Self {
        // What was refuted begins anew.
        let known = if self == Self::Refuted { Self::Draft } else { self };
        known.max(state)
    }
}

/// What a user signs when reviewing or releasing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateEvent {
    /// When.
    pub at: UnixMillis,
    /// The certificate of the person who signs; absent where the office does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserDigest>,
    /// The stage that was taken, where there are stages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// The review state set, or absent for a release event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Review>,
    /// The records.
    pub records: Vec<RecordId>,
}
