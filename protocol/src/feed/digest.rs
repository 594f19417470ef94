//! The running digest over a feed's entries: two feeds with one digest at one length are the same feed.
//!
//! Whoever signs, compares or stores a feed calls this. It holds no state but the digest itself.

use crate::{
    id::{EntryHash, FeedDigest, FeedId},
    label,
    primitive::labelled,
};

/// The digest of a feed without entries: SHA-256(label, feed id).
pub fn start(feed: FeedId) -> FeedDigest {
    FeedDigest::from_bytes(labelled(label::FEED_START, &[feed.as_bytes()]))
}

/// The digest after one more entry: SHA-256(label, digest before, entry hash).
pub fn step(before: FeedDigest, entry: EntryHash) -> FeedDigest {
    FeedDigest::from_bytes(labelled(label::FEED_STEP, &[before.as_bytes(), entry.as_bytes()]))
}

/// The digest after several more entries, in their order.
pub fn steps(before: FeedDigest, entries: impl IntoIterator<Item = EntryHash>) -> FeedDigest {
    entries.into_iter().fold(before, step)
}
