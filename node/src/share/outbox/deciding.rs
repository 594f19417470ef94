//! What becomes of one record in a feed: released, supplemented, withdrawn, or nothing; and what follows for others.

use super::*;
use crate::keys::suspect;

impl Draft<'_> {
    pub(super) fn known(&self, record: RecordId) -> Result<Option<ReleasedRow>, ShareError> {
        match self.released.get(&record) {
            Some(row) => Ok(Some(*row)),
            None => decide::released(self.node, record, self.feed.id()),
        }
    }

    /// Decides one record for this feed: release, supplement, withdrawal, or nothing.
    pub(super) fn consider(&mut self, record: RecordId) -> Result<(), ShareError> {
        let asked = Asked::load(self.node, record)?;
        // It neither goes nor is taken back: whoever attests it anew has it decided again (`keys::revoke`).
        if suspect::own(self.node, asked.row.batch)?.is_some() {
            return Ok(());
        }
        let before = self.known(record)?;
        let referable = self.referable(&asked)?;
        let policy = &self.rules.policy;
        let hidden = asked.hidden(self.node, policy, &self.feed)?;
        match asked.ask(self.node, &self.feed, referable, |question| policy.decide(question)) {
            Ok(clearance) if !hidden => {
                let terms = *clearance.terms();
                let new = before.is_none_or(|b| b.withdrawn || b.set() != terms.slots || b.version != terms.version);
                if new {
                    self.release(&asked, &clearance, &terms, before)?;
                    self.wait_for(record, terms.until.filter(|until| *until < self.until));
                }
                for amendment in asked.amendments(self.node)? {
                    // It went without naming this record, which could not be named then.
                    if self.known(amendment.record)?.is_some_and(|r| !r.withdrawn && !r.set().contains(SUPERSEDES)) {
                        self.again.push(Pending::Record(amendment.record));
                    }
                }
                let shown = terms.slots.contains(SUPERSEDES);
                if !shown && asked.shows(self.node, policy, &self.feed) && self.revives(&asked)? {
                    return Ok(());
                }
                self.supersede(&asked, shown)
            }
            decided => {
                if decided.is_err_and(|withheld| withheld.reason == Reason::NotBefore) {
                    self.wait_for(record, asked.body.header().floor.not_before);
                }
                if before.is_some_and(|b| !b.withdrawn) {
                    self.withdraw(record)?;
                }
                // Refuting or withholding an amendment says nothing about what it amends, unless people released it.
                if crate::records::gate::state(self.node, record)?.released {
                    self.supersede(&asked, false)?;
                }
                Ok(())
            }
        }
    }

    /// Remembers that a decision holds until a time, and no longer.
    fn wait_for(&mut self, record: RecordId, at: Option<UnixMillis>) {
        self.due.extend(at.map(|at| DueRow { at, onward: false, record }));
    }

    /// What an amendment would show as its predecessor may go again, if only other amendments hid it: it is decided
    /// next, and then the amendment once more. Says whether there is one to decide.
    fn revives(&mut self, amendment: &Asked) -> Result<bool, ShareError> {
        let Some(before) = amendment.supersedes() else { return Ok(false) };
        let asked = Asked::load(self.node, before)?;
        if asked.hidden(self.node, &self.rules.policy, &self.feed)? {
            return Ok(false);
        }
        let decided = asked.ask(self.node, &self.feed, SlotSet::EMPTY, |question| self.rules.policy.decide(question));
        if decided.is_ok() {
            self.again.push(Pending::Record(before));
        }
        Ok(decided.is_ok())
    }

    /// Reference slots that may be disclosed, with what this very run releases.
    fn referable(&self, asked: &Asked) -> Result<SlotSet, ShareError> {
        let record = |before| Ok(self.known(before)?.is_some_and(|row| row.shows()));
        let line = |line| {
            let goes = self.lines.contains(&line);
            Ok(goes || decide::line_released(self.node, line, self.feed.id(), u64::MAX)?)
        };
        asked.referable_where(self.node, record, line)
    }

    /// `before` is what was released of it before.
    fn release(
        &mut self,
        asked: &Asked,
        clearance: &Clearance,
        terms: &Terms,
        before: Option<ReleasedRow>,
    ) -> Result<(), ShareError> {
        let hash = self.bodies.add(self.entries.len(), asked, clearance)?;
        let number = self.first + self.entries.len() as u64;
        let salt = Nonce::from_bytes(secret::random()?);
        let entry = Entry::Release { hash, salt, record: asked.record };
        self.add(entry, Some(terms))?;
        self.released.insert(asked.record, ReleasedRow::new(terms, number));
        let line = asked.body.header().line;
        if self.lines.insert(line)
            && !before.is_some_and(|row| row.was_shown())
            && !decide::any_released(self.node, asked.siblings(self.node)?, self.feed.id(), u64::MAX)?
        {
            self.referrers(line)?;
        }
        Ok(())
    }

    /// What refers to a line that was not known to the partner before is decided again.
    fn referrers(&mut self, line: LineId) -> Result<(), ShareError> {
        let mut after: Option<u64> = None;
        loop {
            let page = self.node.holdings.find(Partition::Own, index::REF, line.as_bytes(), after, PAGE)?;
            for place in &page {
                let Some((id, _)) = keep::at(self.node, *place)? else { continue };
                if self.known(id)?.is_some_and(|r| !r.withdrawn) {
                    self.again.push(Pending::Record(id));
                }
            }
            if page.len() < PAGE {
                return Ok(());
            }
            after = Some(after.map_or(0, |last| last + 1) + PAGE as u64 - 1);
        }
    }

    pub(super) fn withdraw(&mut self, record: RecordId) -> Result<(), ShareError> {
        if let Some(row) = self.known(record)?.filter(|row| !row.withdrawn) {
            let salt = Nonce::from_bytes(secret::random()?);
            self.add(Entry::Withdrawal { code: WITHDRAWN, salt, record }, None)?;
            self.released.insert(record, ReleasedRow { withdrawn: true, ..row });
        } else if self.released.contains_key(&record) {
            self.leans = true;
        }
        Ok(())
    }

    /// What a record amends is withdrawn, unless the partner sees that it was amended.
    fn supersede(&mut self, asked: &Asked, shown: bool) -> Result<(), ShareError> {
        match asked.supersedes() {
            Some(before) if !shown => self.withdraw(before),
            _ => Ok(()),
        }
    }

    pub(super) fn add(&mut self, entry: Entry, terms: Option<&Terms>) -> Result<(), ShareError> {
        let bytes = entry.to_bytes()?;
        self.hashes.push(Entry::hash_of(&bytes));
        self.entries.push(SentEntry {
            bytes: ByteBuf::from(bytes),
            slots: terms.map_or(0, |t| t.slots.bits()),
            clause: terms.map_or(0, |t| t.clause),
            record: terms.map(|t| t.record),
        });
        Ok(())
    }
}
