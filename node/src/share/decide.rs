//! Asking the policy about one record of ours: the question is filled in here and nowhere else.

use super::ShareError;
use crate::{
    node::Node,
    records::{
        gate::{self, Review},
        keep,
        stored::{self, OwnRow, ReleasedRow, decode, record_in_feed},
    },
    seal::keyring::Partition,
    store::layout::Table,
};
use entente_policy::{Gate, Interval, PolicySet, Question, ReviewState};
use entente_protocol::{
    feed::FeedKey,
    id::{FeedId, LineId, RecordId},
    record::{Body, Shape, SlotSet},
    value::Value,
};
use std::cell::OnceCell;

fn review_state(review: Review) -> ReviewState {
    match review {
        Review::Draft => ReviewState::Draft,
        Review::Reviewed => ReviewState::Reviewed,
        Review::Verified => ReviewState::Verified,
        Review::Refuted => ReviewState::Refuted,
    }
}

/// What was released of a record in a feed.
pub fn released(node: &Node, record: RecordId, feed: FeedId) -> Result<Option<ReleasedRow>, ShareError> {
    let row = node.holdings.get(Partition::Own, Table::Release, &record_in_feed(record, feed))?;
    row.map(|row| Ok(decode("release", &row)?)).transpose()
}

/// Whether any record of a line was released in a feed by an entry before `end`, withdrawn since or not.
pub fn line_released(node: &Node, line: LineId, feed: FeedId, end: u64) -> Result<bool, ShareError> {
    any_released(node, &keep::line(node, line)?, feed, end)
}

/// Whether any of these records was released in a feed by an entry before `end`, withdrawn since or not.
pub fn any_released(node: &Node, records: &[RecordId], feed: FeedId, end: u64) -> Result<bool, ShareError> {
    for record in records {
        if released(node, *record, feed)?.is_some_and(|row| row.was_shown() && row.number < end) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The slot that names what a record amends.
pub const SUPERSEDES: u8 = 5;

/// What is taken for granted when people ask what would be; nothing when something is to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Assumed {
    /// That every record was reviewed and released, but for those that people refuted.
    pub released: bool,
}

/// What the question about a record needs from the store; made once, asked for any feed.
pub struct Asked {
    /// The record.
    pub record: RecordId,
    /// Its row.
    pub row: OwnRow,
    /// Its header and root.
    pub body: Body,
    gate: Gate,
    assumed: Assumed,
    /// Looked up once.
    siblings: OnceCell<Vec<RecordId>>,
    amendments: OnceCell<Vec<Self>>,
}

impl Asked {
    /// Reads a record of ours and its gate state.
    pub fn load(node: &Node, record: RecordId) -> Result<Self, ShareError> {
        Self::load_as(node, record, Assumed::default())
    }

    /// The same, as if what is assumed were so.
    pub fn load_as(node: &Node, record: RecordId, assumed: Assumed) -> Result<Self, ShareError> {
        let row = keep::own(node, record)?;
        let body = row.header()?;
        let state = gate::state(node, record)?;
        let required = review_state(node.required_review());
        let review = match review_state(state.review) {
            _ if state.recalled.is_some() => ReviewState::Recalled,
            review if assumed.released && review < required => required,
            review => review,
        };
        let gate = Gate { review, required, released: state.released || assumed.released };
        Ok(Self { record, row, body, gate, assumed, siblings: OnceCell::new(), amendments: OnceCell::new() })
    }

    /// Slots that hold something.
    pub fn present(&self) -> SlotSet {
        self.row.values.iter().map(|(slot, _)| *slot).collect()
    }

    /// The value of a slot.
    pub fn value(&self, slot: u8) -> Option<Value> {
        let (_, bytes) = self.row.values.iter().find(|(number, _)| *number == slot)?;
        stored::value(bytes).ok()
    }

    /// The record that it amends.
    pub fn supersedes(&self) -> Option<RecordId> {
        self.value(SUPERSEDES).and_then(|v| RecordId::from_slice(v.as_bytes()?))
    }

    /// The other records of its line.
    pub fn siblings(&self, node: &Node) -> Result<&[RecordId], ShareError> {
        if let Some(known) = self.siblings.get() {
            return Ok(known);
        }
        let siblings = keep::siblings(node, self.record, self.body.header().line)?;
        Ok(self.siblings.get_or_init(|| siblings))
    }

    /// The amendments of this record that people released.
    pub fn amendments(&self, node: &Node) -> Result<&[Self], ShareError> {
        if let Some(known) = self.amendments.get() {
            return Ok(known);
        }
        let mut amendments = Vec::new();
        for record in self.siblings(node)? {
            let other = Self::load_as(node, *record, self.assumed)?;
            if other.gate.released && other.supersedes() == Some(self.record) {
                amendments.push(other);
            }
        }
        Ok(self.amendments.get_or_init(|| amendments))
    }

    /// Whether an amendment would go in a way that shows what it amends, if that was released.
    pub fn shows(&self, node: &Node, policy: &PolicySet, feed: &FeedKey) -> bool {
        self.shows_by(feed, node.interval(), |question| Some(policy.decide(question).ok()?.terms().slots))
    }

    /// The same, of slots that go by another answer than the policy's in force; none where the record stays.
    pub fn shows_by(&self, feed: &FeedKey, now: Interval, goes: impl FnOnce(&Question<'_>) -> Option<SlotSet>) -> bool {
        let slots = self.ask_at(feed, SlotSet::EMPTY.with(SUPERSEDES), now, goes);
        slots.is_some_and(|slots| slots.contains(SUPERSEDES))
    }

    /// Whether an amendment that people released, and that the partner would not see, hides this record too.
    pub fn hidden(&self, node: &Node, policy: &PolicySet, feed: &FeedKey) -> Result<bool, ShareError> {
        Ok(self.amendments(node)?.iter().any(|amendment| !amendment.shows(node, policy, feed)))
    }

    /// Reference slots whose every target was released in the feed by an entry before `end`.
    pub fn referable(&self, node: &Node, feed: FeedId, end: u64) -> Result<SlotSet, ShareError> {
        let shows =
            |before| Ok(released(node, before, feed)?.is_some_and(|r: ReleasedRow| r.shows() && r.number < end));
        self.referable_where(node, shows, |line| line_released(node, line, feed, end))
    }

    /// Reference slots whose every target the partner sees: `record` says it of what this one amends, `line` of a line.
    pub fn referable_where(
        &self,
        node: &Node,
        record: impl Fn(RecordId) -> Result<bool, ShareError>,
        line: impl Fn(LineId) -> Result<bool, ShareError>,
    ) -> Result<SlotSet, ShareError> {
        let mut set = SlotSet::EMPTY;
        for (number, _) in &self.row.values {
            let Some(slot) = self.body.header().kind.slot_number(*number) else { continue };
            if *number == SUPERSEDES {
                if self.supersedes().map(&record).transpose()?.unwrap_or(false) {
                    set = set.with(SUPERSEDES);
                }
            } else if slot.shape.refers() {
                let Some(value) = self.value(*number) else { continue };
                let mut all = true;
                for target in Shape::targets(slot.shape, &value) {
                    all = all && target.originator == node.keys.org && line(target.line)?;
                }
                if all {
                    set = set.with(*number);
                }
            }
        }
        Ok(set)
    }

    /// Asks a question about this record for a feed.
    pub fn ask<R>(
        &self,
        node: &Node,
        feed: &FeedKey,
        referable: SlotSet,
        answer: impl FnOnce(&Question<'_>) -> R,
    ) -> R {
        self.ask_at(feed, referable, node.interval(), answer)
    }

    /// The same at another time, for what would be.
    pub fn ask_at<R>(
        &self,
        feed: &FeedKey,
        referable: SlotSet,
        now: Interval,
        answer: impl FnOnce(&Question<'_>) -> R,
    ) -> R {
        let values = |slot| self.value(slot);
        answer(&Question {
            record: self.record,
            header: self.body.header(),
            values: &values,
            present: self.present(),
            gate: self.gate,
            referable,
            onward: None,
            partner: feed.receiver,
            agreement: feed.agreement,
            now,
        })
    }
}
