//! Whether another organisation's record may go on: its originator's grant, and what the agreement says under which it came.
//!
//! The decider calls it on both sides: the holder before a release, and the receiver before it keeps anything. The strictest
//! of grant, upstream clause and the agreement's own clause counts.

use crate::{
    handling,
    question::{Interval, Question},
    reason::Reason,
};
use entente_protocol::{
    agreement::{Agreement, Onward},
    grant::Grant,
    id::OrgId,
    record::{Header, SlotSet},
};

/// What a grant lets go to a partner of one record that is not ours.
pub(crate) fn granted(question: &Question<'_>, agreement: &Agreement, own: OrgId) -> Result<SlotSet, Reason> {
    // Before the grant is missed: nobody is to ask for one that would let nothing go.
    not_red(question.header)?;
    let ground = question.onward.as_ref().ok_or(Reason::OnwardWithoutGrant)?;
    match ground.rule {
        Onward::Never => return Err(Reason::OnwardForbidden),
        Onward::To(orgs) if !orgs.contains(&question.partner) => return Err(Reason::OnwardForbidden),
        Onward::To(_) | Onward::WithGrant => {}
    }
    if ground.red {
        return Err(Reason::OnwardRed);
    }
    let slots = holds(ground.grant, question.header, (own, question.partner), agreement, question.now)?;
    // What locks here without contact locks there too.
    let locks = |hours: u32| agreement.lease_hours.is_some_and(|ours| ours <= hours);
    if ground.lease_hours.is_some_and(|hours| !locks(hours)) {
        return Err(Reason::OnwardLease);
    }
    if ground.attested { Ok(slots) } else { Err(Reason::OnwardAttestation) }
}

/// What a grant lets one organisation pass on to another of a record, under an agreement of the two.
pub(crate) fn holds(
    grant: &Grant,
    header: &Header,
    (from, to): (OrgId, OrgId),
    agreement: &Agreement,
    now: Interval,
) -> Result<SlotSet, Reason> {
    not_red(header)?;
    let names = (grant.originator, grant.from, grant.to) == (header.originator, from, to);
    if !names || !grant.scope.covers(header) || grant.is_refusal() {
        return Err(Reason::OnwardWithoutGrant);
    }
    if now.late >= grant.scope.until {
        return Err(Reason::GrantOver);
    }
    if !grant.scope.allows(&agreement.purposes) {
        return Err(Reason::GrantPurpose);
    }
    Ok(grant.scope.slots)
}

/// TLP:RED is for those to whom its originator gives it, and a grant does not change that.
fn not_red(header: &Header) -> Result<(), Reason> {
    if handling::is_red(&header.floor) { Err(Reason::OnwardRed) } else { Ok(()) }
}
