//! What is asked back, and what is held on to by law: what people do, and what must hold of it.
//!
//! I5 says it: once everything has settled, whoever was given a record that was asked back has marked it so, has deleted
//! it where that was asked and no hold keeps it, and has said so; nobody whom it reached was left out.

use super::{
    Checked,
    check::received,
    model::{Direction, Recorded},
    world::{Doing, World},
};
use entente_node::{
    node::Node,
    recall::{HolderRow, OURS, RecallRow, asking, hold, holders_scope},
    records::{gate::Review, stored::decode},
    seal::keyring::Partition,
    store::layout::Table,
};
use entente_protocol::{
    id::RecordId,
    recall::{Act, AnswerState},
    record::SlotSet,
};

/// Rows of one recall, and recalls of one node: no run makes as many.
const ROWS: usize = 10_000;
/// Records that are asked back at once.
const TOGETHER: usize = 3;

/// Every holder that a node asked, with what was asked.
fn asked_by(node: &Node) -> Checked<Vec<(Act, HolderRow)>> {
    let mut asked = Vec::new();
    for (number, row) in node.holdings.list(Partition::Own, Table::Recall, OURS, None, ROWS)? {
        let recall: RecallRow = decode("recall", &row)?;
        for (_, row) in node.holdings.list(Partition::Own, Table::Recall, &holders_scope(number), None, ROWS)? {
            asked.push((recall.act, decode("holder", &row)?));
        }
    }
    Ok(asked)
}

impl World<'_> {
    /// Asks some records back from whoever was given them, or more strictly than before. Now and then one that nobody was
    /// given; where there is nothing to ask back, something is given.
    pub(super) fn recall(&mut self, n: usize) -> Checked {
        let act = *self.chance.pick(&Act::ALL).unwrap_or(&Act::Withdraw);
        let any = self.chance.one_in(6);
        let known = &self.model.facts[n].recalled;
        let is_given = |id: &RecordId| self.model.feeds.iter().any(|(to, seen)| to.1 == n && seen.shown.contains(id));
        let is_fit = |r: &&Recorded| r.owner == n && known.get(&r.id).is_none_or(|before| *before < act);
        let fit = self.model.records.values().filter(is_fit).map(|r| r.id);
        let mut fit: Vec<RecordId> = fit.filter(|id| any || is_given(id)).collect();
        let wanted = 1 + self.chance.below(TOGETHER);
        while fit.len() > wanted {
            let gone = self.chance.below(fit.len());
            fit.swap_remove(gone);
        }
        if fit.is_empty() { self.give(n) } else { self.recall_as(n, fit, act) }
    }

    pub(super) fn give(&mut self, n: usize) -> Checked {
        let record = self.commit(n, None)?;
        if self.model.records.contains_key(&record) {
            self.review(n, record, Review::Verified)?;
            self.release(n, record)?;
        }
        let frames = self.chance.below(60);
        self.flow(frames)
    }

    /// The same, with what is asked.
    pub(super) fn recall_as(&mut self, n: usize, records: Vec<RecordId>, act: Act) -> Checked {
        let deaf = self.plan.deaf_to_recalls();
        self.act(n, Doing::Recall(records.clone(), act), |node| {
            if !deaf {
                let proposed = asking::propose(node, &records, act, ("it was wrong", "one of us"), &mut |_| {})?;
                let number = proposed["id"].as_str().unwrap_or_default().parse()?;
                asking::confirm(node, number, "another", &mut |_| {})?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Holds on to a received record, or lets go of it.
    pub(super) fn hold(&mut self, n: usize) -> Checked {
        let Some(node) = self.node(n) else { return Ok(()) };
        let mut there = Vec::new();
        for record in self.model.records.values().filter(|r| r.owner != n) {
            for deal in self.model.deals.iter().filter(|deal| deal.parties.contains(&n)) {
                if received(node, deal.id, record.id)?.is_some() {
                    there.push(record.id);
                }
            }
        }
        let Some(record) = self.chance.pick(&there).copied() else { return Ok(()) };
        self.hold_as(n, record, !self.model.facts[n].held.contains(&record))
    }

    /// The same, of a record.
    pub(super) fn hold_as(&mut self, n: usize, record: RecordId, place: bool) -> Checked {
        self.act(n, Doing::Hold(record, place), |node| {
            let id = record.to_string();
            match place {
                true => hold::place(node, &id, "a court asks for it", "one of us")?,
                false => hold::lift(node, &id, "another")?,
            };
            Ok(())
        })?;
        Ok(())
    }

    /// A hold was placed or lifted: what it keeps from now on.
    pub(super) fn note_hold(&mut self, n: usize, record: RecordId, placed: bool) -> Checked {
        let Some(node) = self.node(n) else { return Ok(()) };
        let mut kept = Vec::new();
        for (place, deal) in self.model.deals.iter().enumerate().filter(|(_, deal)| deal.parties.contains(&n)) {
            if received(node, deal.id, record)?.is_some_and(|held| !held.0.is_empty()) {
                kept.push((n, place, record));
            }
        }
        match placed {
            true => self.model.kept.extend(kept),
            false => self.model.kept.retain(|known| (known.0, known.2) != (n, record)),
        }
        Ok(())
    }

    /// I5 for what a node has answered: whoever asked was told that it is done, and it is. I1 for what a hold keeps.
    pub(super) fn check_recalls(&self, n: usize) -> Checked {
        for from in (0..self.machines.len()).filter(|from| *from != n) {
            let Some(sender) = self.node(from) else { continue };
            for (act, row) in asked_by(sender)? {
                if self.number_of(row.partner) == Some(n) && row.state == Some(AnswerState::Complied) {
                    self.check_done(n, row.record, act)?;
                }
            }
        }
        let Some(node) = self.node(n) else { return Ok(()) };
        for (_, place, record) in self.model.kept.iter().filter(|(holder, ..)| *holder == n) {
            if received(node, self.model.deals[*place].id, *record)?.is_none_or(|held| held.0.is_empty()) {
                return self.broken(format!("I1: node {n} deleted {record:?}, which a hold keeps"));
            }
        }
        Ok(())
    }

    fn check_done(&self, n: usize, record: RecordId, act: Act) -> Checked {
        let Some(node) = self.node(n) else { return Ok(()) };
        for (place, deal) in self.model.deals.iter().enumerate().filter(|(_, deal)| deal.parties.contains(&n)) {
            let Some((slots, _, withdrawn)) = received(node, deal.id, record)? else { continue };
            let kept = self.model.kept.contains(&(n, place, record));
            if !withdrawn || (act.deletes() && !slots.is_empty() && !kept) {
                let act = act.name();
                return self.broken(format!("I5: node {n} was asked to {act} {record:?} and holds {slots:?}"));
            }
        }
        Ok(())
    }

    /// I5, once everything has settled.
    pub(super) fn check_settled_recalls(&mut self, n: usize) -> Checked {
        let Some(node) = self.node(n) else { return Ok(()) };
        let asked = asked_by(node)?;
        self.stats.asked += asked.len() as u64;
        self.stats.on_hold += asked.iter().filter(|(_, row)| row.state == Some(AnswerState::LegalHold)).count() as u64;
        for (act, row) in &asked {
            let Some(holder) = self.number_of(row.partner) else { return self.broken("a holder nobody knows") };
            let held = self.model.facts[holder].held.contains(&row.record) || self.holds_onward(holder, row.record);
            match row.state {
                Some(AnswerState::LegalHold) if held => {}
                Some(state) if state.is_final() => self.check_done(holder, row.record, *act)?,
                None if self.waits_for_a_version(n, holder, row.record)? => {}
                state => {
                    let record = row.record;
                    return self.broken(format!("I5: after healing, {n} has {state:?} of {holder} about {record:?}"));
                }
            }
        }
        for (record, act) in &self.model.facts[n].recalled {
            let given = self.model.feeds.iter().filter(|(to, seen)| to.1 == n && seen.shown.contains(record));
            for ((place, _), _) in given {
                let holder = self.model.deals[*place].other(n);
                let is_it = |(said, row): &&(Act, HolderRow)| {
                    said == act && row.record == *record && row.partner == self.org(holder)
                };
                if asked.iter().find(is_it).is_none() {
                    return self.broken(format!("I5: nobody asked {holder} for {record:?}, which {n} gave it"));
                }
            }
        }
        Ok(())
    }

    /// Whether a run with a record that never arrived waits for people to agree on the next version: until they have, or
    /// have let it be, that its receiver does not hold the record is no answer for good.
    fn waits_for_a_version(&self, n: usize, holder: usize, record: RecordId) -> Checked<bool> {
        let Some(node) = self.node(holder) else { return Ok(false) };
        for (place, deal) in self.model.deals.iter().enumerate() {
            let shown = self.model.feeds.get(&(place, n)).is_some_and(|seen| seen.shown.contains(&record));
            if !shown || !deal.parties.contains(&holder) || received(node, deal.id, record)?.is_some() {
                continue;
            }
            if self.is_over(n, deal) && !self.ended(deal) && self.follows(n, deal) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether somebody to whom a holder passed a record on holds it by law: the holder's answer says that too.
    fn holds_onward(&self, holder: usize, record: RecordId) -> bool {
        let passed =
            self.model.feeds.iter().filter(|((_, from), seen)| *from == holder && seen.shown.contains(&record));
        passed
            .map(|((deal, _), _)| self.model.deals[*deal].other(holder))
            .any(|to| self.model.facts[to].held.contains(&record))
    }

    /// Whether what a receiver holds of a record is what it took, as far as the record was asked back since.
    pub(super) fn is_taken_back(&self, direction: Direction, record: RecordId, left: SlotSet, had: SlotSet) -> bool {
        let owner = self.model.records.get(&record).map_or(direction.1, |record| record.owner);
        let act = self.model.facts[owner].recalled.get(&record);
        act.is_some_and(|act| left == had || (act.deletes() && left.is_empty()))
    }
}
