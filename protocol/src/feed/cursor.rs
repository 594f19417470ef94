//! How far somebody is in a feed, and what two such statements mean beside each other.
//!
//! The node compares its own feed with what a partner shows. Nothing here acknowledges or
//! un-acknowledges anything: a lower cursor only says from where to serve again.

use super::digest;
use crate::id::{FeedDigest, FeedId};
use serde::{Deserialize, Serialize};

/// A length and the running digest there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// Running digest after `length` entries.
    pub digest: FeedDigest,
    /// Entries so far.
    pub length: u64,
}

/// What a partner's cursor means beside our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// The same feed, as far as both have it.
    Equal,
    /// The partner lacks this many entries: serve them again from its length.
    Behind(u64),
    /// The partner has this many entries that we do not: our store is older than what was sent.
    Ahead(u64),
    /// One length, two digests: stop this feed, keep both heads, tell people.
    Fork,
}

impl Cursor {
    /// The cursor of a feed without entries.
    pub fn start(feed: FeedId) -> Self {
        Self { digest: digest::start(feed), length: 0 }
    }

    /// Compares our cursor with a partner's.
    ///
    /// `digest_at` gives our own digest at a lower length. `None` from it counts as a fork: a length
    /// at which we never stood cannot have been shown in good faith.
    pub fn compare(self, theirs: Self, digest_at: impl FnOnce(u64) -> Option<FeedDigest>) -> Comparison {
        match theirs.length.checked_sub(self.length) {
            Some(0) if theirs.digest == self.digest => Comparison::Equal,
            Some(0) => Comparison::Fork,
            Some(ahead) => Comparison::Ahead(ahead),
            None if digest_at(theirs.length) == Some(theirs.digest) => Comparison::Behind(self.length - theirs.length),
            None => Comparison::Fork,
        }
    }
}
