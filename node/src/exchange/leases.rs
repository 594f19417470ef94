//! Leases in one session: what we gave a partner is renewed in answer to its hello, and its word renews what it gave us.

use super::{Conversation, ExchangeFault, fatal};
use crate::{node::Node, onward::holding, partners::PartnerState, receive::lease, share::feeds};
use entente_protocol::{
    agreement::Standing,
    id::AgreementId,
    lease::{Lease, NOTICE_LEASE},
    session::{Notice, SendError, Session},
    time::{HOUR_MS, UnixMillis},
};
use std::collections::BTreeMap;

/// A lease is renewed when a quarter of it has passed in the same session.
const PARTS: u64 = 4;
/// When each lease was last renewed in this session.
pub(super) type Renewed = BTreeMap<AgreementId, UnixMillis>;

impl Conversation {
    /// Renews what we gave the partner, where nothing stands against it: whom we suspended goes on without.
    pub(super) fn renew_leases(&mut self, node: &Node, session: &mut Session) -> Result<(), ExchangeFault> {
        let Some(nonce) = self.peer_nonce else { return Ok(()) };
        let rules = node.rules();
        let active = rules.book.get(self.peer).is_some_and(|p| p.state == PartnerState::Active);
        let (now, looked) = (node.clock.now(), node.looked_at());
        for held in rules.agreements.with(self.peer).filter(|held| active && held.standing == Standing::Active) {
            let Some(agreement) = held.in_force.as_ref().map(|in_force| &in_force.agreement) else { continue };
            let gives = agreement.releasing(node.keys.org, self.peer).next().is_some();
            let Some(hours) = agreement.lease_hours.filter(|_| gives && held.binds(self.peer)) else { continue };
            // By the last look at the clock, not by this moment: what happens with others brings nothing forward.
            let is_due = |at: &UnixMillis| looked.0.abs_diff(at.0) >= u64::from(hours) * HOUR_MS / PARTS;
            if !self.renewed.get(&held.id).is_none_or(is_due) {
                continue;
            }
            // What came under a lease that is over here locks there too, once this one is over.
            if holding::is_locked(node, &feeds::outgoing(node, self.peer, held.id))? {
                continue;
            }
            let lease = Lease { v: 1, time: now, giver: node.keys.org, nonce, holder: self.peer, agreement: held.id };
            let signed = lease.sign(&node.keys.runs).and_then(|signed| signed.to_bytes());
            let content = signed.map_err(|e| fatal(&e.to_string()))?;
            match session.send_notice(Notice { kind: NOTICE_LEASE, content }) {
                Err(SendError::QueueFull) => return Ok(()),
                sent => sent?,
            }
            // The same clock as above: a moment ahead of the last look would be due again at once, and for ever.
            self.renewed.insert(held.id, looked);
        }
        Ok(())
    }

    /// Takes the partner's word for what it gave us.
    pub(super) fn leased(&self, node: &Node, session: &Session, notice: &Notice) -> Result<(), ExchangeFault> {
        if !lease::renew(node, self.peer, session.config().nonce, &notice.content)? {
            tracing::warn!(partner = %self.peer.short(), "a lease was not taken: it is for nothing that we hold, or no answer to us");
        }
        Ok(())
    }
}
