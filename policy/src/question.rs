//! The question that the decider answers: one record, one partner, one agreement, now.
//!
//! The node fills it in from its ledger; nothing here reads a clock or a store.

use crate::reason::Reason;
use entente_protocol::{
    agreement::Onward,
    grant::Grant,
    id::{AgreementId, GrantId, OrgId, RecordId},
    record::{Header, SlotSet},
    time::UnixMillis,
    value::Value,
};

/// What reviewers have said of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReviewState {
    /// Imported; nobody has looked at it.
    Draft,
    /// Looked at by one person.
    Reviewed,
    /// Verified.
    Verified,
    /// Found to be wrong. Always withheld, whatever the organisation asks for.
    Refuted,
    /// Asked back from everybody who holds it. Always withheld, for good.
    Recalled,
}

/// Where a record stands at the release gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    /// The record's review.
    pub review: ReviewState,
    /// What the organisation asks for, at least.
    pub required: ReviewState,
    /// Whether a person has released this record (an amendment needs its own release).
    pub released: bool,
}

/// Now, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// It is not earlier than this.
    pub early: UnixMillis,
    /// It is not later than this.
    pub late: UnixMillis,
    /// Whether a partner's signed time, or a named user, confirms it.
    pub confirmed: bool,
}

/// Now may not be known more roughly than this: one hour, in milliseconds.
pub const NOW_WIDTH_MS_MAX: u64 = 3_600_000;

impl Interval {
    /// Why nothing can be decided at such a time, if nothing can.
    pub fn fault(&self) -> Option<Reason> {
        if !self.confirmed {
            return Some(Reason::ClockUncertain);
        }
        let width = self.late.0.checked_sub(self.early.0);
        width.is_none_or(|width| width > NOW_WIDTH_MS_MAX).then_some(Reason::ClockTooWide)
    }
}

/// On what a record of another organisation would go on to a partner.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// How releases name the grant.
    pub id: GrantId,
    /// Its originator's newest word about it, verified.
    pub grant: &'a Grant,
    /// The onward rule of the clause under which it came.
    pub rule: &'a Onward,
    /// Whether that clause has it handled as TLP:RED.
    pub red: bool,
    /// The lease of the agreement under which it came, in hours.
    pub lease_hours: Option<u32>,
    /// Whether what attests it still counts.
    pub attested: bool,
}

/// May this record go to this partner under this agreement, and which fields of it?
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The record.
    pub record: RecordId,
    /// Its header.
    pub header: &'a Header,
    /// Its values by slot; asked only for what a policy reads.
    pub values: &'a dyn Fn(u8) -> Option<Value>,
    /// Slots that hold something.
    pub present: SlotSet,
    /// Where it stands at the release gate.
    pub gate: Gate,
    /// Reference slots, `supersedes` among them, whose every target was released to this partner under this agreement.
    pub referable: SlotSet,
    /// What lets it go on, where it is another organisation's.
    pub onward: Option<Ground<'a>>,
    /// Who would receive it.
    pub partner: OrgId,
    /// Under which agreement.
    pub agreement: AgreementId,
    /// Now.
    pub now: Interval,
}
