//! Proof values: that a release was cleared, that a received record was accepted.
//!
//! Their bodies are private and each has one constructor, `assertion`, which only the decider in
//! `policy` calls (a test lists the call sites). Redaction and sending cannot be called without a
//! [`Clearance`]; storing what came in cannot be called without an [`Acceptance`].

use crate::{
    id::{AgreementDigest, AgreementId, GrantId, OrgId, RecordId},
    record::SlotSet,
    time::UnixMillis,
};

/// What was decided about one record and one partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The record.
    pub record: RecordId,
    /// Who may receive it.
    pub partner: OrgId,
    /// Under which agreement.
    pub agreement: AgreementId,
    /// Under which version of it.
    pub version: AgreementDigest,
    /// Under which clause, by its place in the agreement.
    pub clause: u16,
    /// Which slots may be disclosed.
    pub slots: SlotSet,
    /// Whether the file of an attachment record may be fetched.
    pub file: bool,
    /// The originator's grant that lets another organisation's record go on; none for one of ours.
    pub grant: Option<GrantId>,
    /// Until when the decision holds; decide anew after it.
    pub until: Option<UnixMillis>,
}

/// Proof that a release was cleared: record, partner, agreement version, clause and slots.
#[derive(Debug, PartialEq, Eq)]
pub struct Clearance(Terms);

impl Clearance {
    /// Only the decider in `policy` calls this, after every red line, clause and condition was evaluated.
    pub fn assertion(terms: Terms) -> Self {
        Self(terms)
    }
    /// What was cleared.
    pub fn terms(&self) -> &Terms {
        &self.0
    }
    /// The same clearance for exactly these slots; `None` if any of them was not cleared.
    pub fn narrowed(self, slots: SlotSet) -> Option<Self> {
        slots.without(self.0.slots).is_empty().then_some(Self(Terms { slots, ..self.0 }))
    }
}

/// Proof that a received record may be stored: it came from the partner, under an agreement in force that covers it.
#[derive(Debug, PartialEq, Eq)]
pub struct Acceptance {
    record: RecordId,
    from: OrgId,
    agreement: AgreementId,
}

impl Acceptance {
    /// Only the decider in `policy` calls this.
    pub fn assertion(record: RecordId, from: OrgId, agreement: AgreementId) -> Self {
        Self { record, from, agreement }
    }
    /// The record.
    pub fn record(&self) -> RecordId {
        self.record
    }
    /// Who sent it.
    pub fn from(&self) -> OrgId {
        self.from
    }
    /// Under which agreement.
    pub fn agreement(&self) -> AgreementId {
        self.agreement
    }
}
