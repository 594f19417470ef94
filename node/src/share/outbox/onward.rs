//! What becomes of another organisation's record in a feed: it goes on by its originator's grant, or not, or no more.

use super::*;
use crate::onward::holding::{self, Holding};
use entente_protocol::id::GrantId;

impl Draft<'_> {
    /// Decides one record of another for this feed. What is not held any more, or was taken back from us, is taken back.
    pub(super) fn consider_onward(&mut self, record: RecordId) -> Result<(), ShareError> {
        let before = self.known(record)?;
        let held = holding::held(self.node, self.rules, record, self.feed.receiver)?;
        let cleared = match &held {
            Some(held) => {
                let referable = self.referable_onward(held)?;
                let at = (referable, self.now);
                held.ask(self.rules, &self.feed, at, |question| self.rules.policy.decide(question)).ok()
            }
            None => None,
        };
        match (held, cleared) {
            (Some(held), Some(clearance)) => {
                let terms = *clearance.terms();
                let same = |b: ReleasedRow| {
                    !b.withdrawn && b.set() == terms.slots && b.version == terms.version && b.grant == terms.grant
                };
                if !before.is_some_and(same) {
                    self.release_onward(&held, &clearance, before)?;
                    let until = terms.until.filter(|until| *until < self.until);
                    self.due.extend(until.map(|at| DueRow { at, onward: true, record }));
                }
                Ok(())
            }
            (held, _) => {
                let Some(row) = before.filter(|row| !row.withdrawn) else { return Ok(()) };
                self.withdraw(record)?;
                let originator = match held {
                    Some(held) => Some(held.verified.header().originator),
                    None => row.grant.and_then(|grant| self.rules.grants.originator(grant)),
                };
                if let (Some(originator), Some(grant)) = (originator, row.grant) {
                    self.pass(originator, record, grant, true);
                }
                Ok(())
            }
        }
    }

    fn pass(&mut self, originator: OrgId, record: RecordId, grant: GrantId, gone: bool) {
        let FeedKey { receiver, agreement, .. } = self.feed;
        self.passed.push((originator, PassedOn { to: receiver, gone, grant, record, agreement }));
    }

    /// Reference slots that may be disclosed, with what this very run releases.
    fn referable_onward(&self, held: &Holding) -> Result<SlotSet, ShareError> {
        let shows = |record| -> Result<bool, ShareError> { Ok(self.known(record)?.is_some_and(|row| row.was_shown())) };
        held.referable_where(
            |before| Ok(self.known(before)?.is_some_and(|row| row.shows())),
            |target| {
                for record in holding::of_line(self.node, held.agreement, target)? {
                    if shows(record)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            },
        )
    }

    fn release_onward(
        &mut self,
        held: &Holding,
        clearance: &Clearance,
        before: Option<ReleasedRow>,
    ) -> Result<(), ShareError> {
        let terms = *clearance.terms();
        let Some(got) = held.grant(self.rules, &self.feed).filter(|got| Some(got.id) == terms.grant) else {
            return Err(ShareError::Clearance);
        };
        let hash = self.bodies.add_onward(self.entries.len(), held, clearance, (self.rules, got))?;
        let number = self.first + self.entries.len() as u64;
        let salt = Nonce::from_bytes(secret::random()?);
        self.add(Entry::Release { hash, salt, record: terms.record }, Some(&terms))?;
        self.released.insert(terms.record, ReleasedRow::new(&terms, number));
        self.pass(held.verified.header().originator, terms.record, got.id, false);
        if before.is_none_or(|row| !row.was_shown()) {
            self.referrers_onward(held)?;
        }
        Ok(())
    }

    /// What refers to a line that was not known to the partner before is decided again.
    fn referrers_onward(&mut self, held: &Holding) -> Result<(), ShareError> {
        let line = held.verified.header().line;
        let places = self.node.holdings.find(held.partition(), index::REF, line.as_bytes(), None, usize::MAX)?;
        for place in places {
            let row = crate::records::view::received_at(self.node, held.agreement, place)?;
            let Some(id) = row.and_then(|row| row.id()) else { continue };
            if self.known(id)?.is_some_and(|row| !row.withdrawn) {
                self.again.push(Pending::Onward(id));
            }
        }
        Ok(())
    }
}
