//! What a sender that lost the end of its feed asks, and what its receiver answers: the runs that the sender signed itself.
//!
//! Both travel as notices. Nothing here is signed by whoever says it: the question is for what the asker gave, and what
//! counts of the answer is the asker's own signature. Format: SPEC, FEED-22.

use super::Run;
use crate::{
    codec::{self, Bounds, CodecError},
    cose::SignatureBytes,
    id::{FeedId, RecordId},
    limits,
};
use serde::{Deserialize, Serialize};

/// Kind of the notice that asks.
pub const NOTICE_LOST: u16 = 20;
/// Kind of the notice that answers.
pub const NOTICE_HELD: u16 = 21;

const LOST: Bounds = Bounds::bytes(256);
const HELD: Bounds = Bounds { bytes_max: limits::CONTROL_FRAME_BYTES_MAX - 4_096, items_max: 70_000 };

/// A sender asks its receiver for the run of its own that begins at an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lost {
    /// Format.
    pub v: u64,
    /// Of which feed.
    pub feed: FeedId,
    /// Number of its first entry: as many the sender has.
    pub length: u64,
}

/// The run, and what the receiver holds of the records in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldRun {
    /// Format.
    pub v: u64,
    /// As the sender signed it.
    pub run: SignatureBytes,
    /// Of which feed.
    pub feed: FeedId,
    /// Rising by number, each within the run.
    pub records: Vec<HeldRecord>,
}

/// What a receiver holds of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldRecord {
    /// Slots that it was shown and still has.
    pub slots: u64,
    /// The clause under which it came.
    pub clause: u16,
    /// The entry that is the last word about it.
    pub number: u64,
    /// Which.
    pub record: RecordId,
    /// Whether that entry took it back.
    pub withdrawn: bool,
}

impl Lost {
    /// As the content of a notice.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        codec::to_vec(self, LOST)
    }
    /// From the content of a notice.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let lost: Self = codec::from_slice(bytes, LOST)?;
        if lost.v == 1 { Ok(lost) } else { Err(CodecError::Shape) }
    }
}

impl HeldRun {
    /// As the content of a notice.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        codec::to_vec(self, HELD)
    }
    /// From the content of a notice. The signature is for whoever takes it to verify.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let held: Self = codec::from_slice(bytes, HELD)?;
        let run = Run::danger_unverified(&held.run).map_err(|_| CodecError::Shape)?;
        let within =
            |one: &HeldRecord| one.number.checked_sub(run.before.length).is_some_and(|place| place < run.count);
        let rises = held.records.is_sorted_by(|one, next| one.number < next.number);
        if held.v == 1 && run.feed == held.feed && rises && held.records.iter().all(within) {
            Ok(held)
        } else {
            Err(CodecError::Shape)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        feed::{
            Cursor,
            testing::{VERSION, feed_key},
        },
        id::EntryHash,
        primitive::SigningKey,
        time::UnixMillis,
    };

    #[test]
    fn what_was_lost_is_named_within_its_run() -> Result<(), Box<dyn std::error::Error>> {
        let feed = feed_key(1, 2, 9).id();
        let lost = Lost { v: 1, feed, length: 7 };
        assert_eq!(Lost::from_bytes(&lost.to_bytes()?)?, lost);
        assert!(Lost::from_bytes(&Lost { v: 2, ..lost }.to_bytes()?).is_err());
        let hashes = [EntryHash::from_bytes([1; 32]), EntryHash::from_bytes([2; 32])];
        let run = Run::over(feed, Cursor { length: 7, ..Cursor::start(feed) }, &hashes, VERSION, UnixMillis(1), None)?;
        let run = run.sign(&SigningKey::from_seed(&[3; 32])?)?;
        let record = |number| HeldRecord {
            slots: 5,
            clause: 0,
            number,
            record: RecordId::from_bytes([4; 32]),
            withdrawn: false,
        };
        let held = |records: &[u64]| HeldRun {
            v: 1,
            run: run.clone(),
            feed,
            records: records.iter().map(|n| record(*n)).collect(),
        };
        for right in [&[][..], &[7], &[7, 8]] {
            assert_eq!(HeldRun::from_bytes(&held(right).to_bytes()?)?, held(right));
        }
        for wrong in [&[6][..], &[9], &[8, 7], &[7, 7]] {
            assert!(HeldRun::from_bytes(&held(wrong).to_bytes()?).is_err(), "{wrong:?}");
        }
        let other = HeldRun { feed: feed_key(1, 2, 8).id(), ..held(&[]) };
        assert!(HeldRun::from_bytes(&other.to_bytes()?).is_err());
        Ok(())
    }
}
