//! What must hold, after each step and at the end. A finding says which promise, which node, and what was found.
//!
//! I1: nothing acknowledged is lost. I2: nothing leaves that no agreement in force permits, no field beyond. I3: after
//! healing, feeds are equal on both sides within a bounded number of steps, and the receiver holds what is permitted
//! and nothing else. I4: sequences have no gap, the journal's chain is whole. I5: what was withdrawn is withdrawn
//! at the receiver.

use super::{
    Broken, Checked,
    model::{Direction, SUPERSEDES, Taken},
    times::is_erased,
    world::{Grown, World},
};
use entente_node::{
    journal,
    node::Node,
    receive,
    records::{stored::decode, view},
    seal::keyring::Partition,
    share::feeds::{self, SentRun},
    store::layout::Table,
};
use entente_protocol::{
    agreement::Standing,
    custody::journal::Journal,
    feed::{Cursor, Run},
    id::{AgreementDigest, AgreementId, RecordId, StoreId},
    record::SlotSet,
    time::UnixMillis,
};
use std::collections::BTreeMap;

/// A received record: slots, the entry that brought it, and whether it is withdrawn.
pub(super) type Held = (SlotSet, u64, bool);

pub(super) fn received(node: &Node, agreement: AgreementId, record: RecordId) -> Checked<Option<Held>> {
    let partition = Partition::Agreement(agreement);
    if !node.holdings.keyring().holds(partition) {
        return Ok(None);
    }
    let Some(row) = view::received(node, agreement, record)? else { return Ok(None) };
    let withdrawn = receive::withdrawn(node, agreement, record)?.is_some();
    Ok(Some((row.openings.iter().map(|(slot, _, _)| *slot).collect(), row.number, withdrawn)))
}

impl World<'_> {
    /// I2 for one entry that is put on the wire.
    pub(super) fn check_entry(&mut self, direction: Direction, entry: Taken, polled: (u64, UnixMillis)) -> Checked {
        let (place, from) = direction;
        let deal = self.model.deals[place].clone();
        if !self.may_share(from, &deal) {
            return self.broken(format!("I2: node {from} sends a run under what is suspended, ended or estranged"));
        }
        let Taken::Release(id, slots, version) = entry else { return Ok(()) };
        self.stats.releases += 1;
        self.say(|| format!("{from}: sends {id:?} {slots:?} in deal {place}"));
        let Some(record) = self.model.records.get(&id).cloned() else {
            return self.broken(format!("I2: node {from} releases a record that nobody knows"));
        };
        if self.in_force(from, &deal)? != Some(version) {
            return self.broken(format!("I2: node {from} releases under a version that is not in force there"));
        }
        let Some(in_force) = deal.version(version) else { return self.broken("I2: a version that nobody drafted") };
        // It was decided at some time since the lane was last empty.
        let (early, late) = (polled.1.min(self.now(from)), polled.1.max(self.now(from)));
        if late < in_force.time.0 || early >= in_force.time.1 {
            return self
                .broken(format!("I2: node {from} releases before the first day of its agreement or after the last"));
        }
        self.stats.of_three += u64::from(deal.signers.len() > 2);
        let permitted = deal.permits(in_force, from, record.kind).0.and(record.present);
        let beyond = slots.without(permitted);
        if !beyond.is_empty() {
            return self.broken(format!("I2: node {from} releases fields beyond its agreement: {beyond:?}"));
        }
        if record.owner != from {
            return self.check_goes_on(direction, &record, slots);
        }
        if self.model.fit.get(&id).is_none_or(|step| *step < polled.0) {
            return self.broken(format!("I2: node {from} releases a record that is not past the gate"));
        }
        if !self.model.covered(&deal, in_force, &record) {
            return self.broken(format!("I2: node {from} releases a record that no clause covers"));
        }
        let seen = self.model.feeds.entry(direction).or_default();
        let event = record.kind.slot("event").map(|slot| slot.number).filter(|slot| slots.contains(*slot));
        let names = event.and(record.event).filter(|line| *line != record.line);
        let amends = record.amends.filter(|_| slots.contains(SUPERSEDES));
        let early =
            names.is_some_and(|line| !seen.lines.contains(&line)) || amends.is_some_and(|id| !seen.shown.contains(&id));
        if early {
            return self
                .broken(format!("I2: node {from} names in {record:?} a record that the partner was never given"));
        }
        Ok(())
    }

    /// I1: what a sender has seen countersigned is at the receiver. I4: what it wrote since has no gap.
    pub(super) fn check_acknowledged(&mut self, n: usize) -> Checked {
        let Some(node) = self.node(n) else { return Ok(()) };
        let mut acknowledged = Vec::new();
        for (place, deal) in self.model.deals.iter().enumerate().filter(|(_, deal)| deal.parties.contains(&n)) {
            let feed = feeds::outgoing(node, self.org(deal.other(n)), deal.id);
            let zero = AgreementDigest::from_bytes([0; 32]);
            let row = feeds::out_row(node, &feed, zero)?;
            let length = row.countersigned.map_or(0, |cursor| cursor.length);
            let known = self.model.feeds.get(&(place, n)).map_or(0, |seen| seen.acknowledged);
            if length < known || row.length < length {
                return self.broken(format!("I1: node {n} forgot a receipt: {length} of {known}"));
            }
            acknowledged.push(((place, n), length));
        }
        for (direction, length) in acknowledged {
            self.model.feeds.entry(direction).or_default().acknowledged = length;
            self.check_has(direction, length)?;
        }
        self.check_grown(n)
    }

    fn check_has(&self, direction: Direction, length: u64) -> Checked {
        let to = self.model.deals[direction.0].other(direction.1);
        let Some(node) = self.node(to) else { return Ok(()) };
        let feed =
            feeds::incoming(node, self.org(direction.1), self.store_of(direction.1), self.model.deals[direction.0].id);
        let erased = is_erased(node, &self.model.deals[direction.0]);
        if length > 0 && !erased && feeds::in_row(node, &feed)?.length < length {
            return self.broken(format!("I1: node {to} has lost entries that it countersigned"));
        }
        Ok(())
    }

    pub(super) fn store_of(&self, n: usize) -> StoreId {
        self.machines[n].disk.store()
    }

    /// Whether a receiver keeps a record as this entry brought it.
    pub(super) fn holds(&self, node: &Node, direction: Direction, record: RecordId, number: u64) -> Checked<bool> {
        let held = received(node, self.model.deals[direction.0].id, record)?;
        Ok(held.is_some_and(|(_, by, _)| by >= number))
    }

    /// I1 for everything that a node has received.
    pub(super) fn check_receiver(&self, n: usize) -> Checked {
        for (direction, seen) in &self.model.feeds {
            if self.model.deals[direction.0].other(direction.1) == n {
                self.check_has(*direction, seen.acknowledged)?;
                self.check_held(*direction)?;
            }
        }
        self.check_recalls(n)
    }

    /// What a receiver took of one feed is what its store holds.
    fn check_held(&self, direction: Direction) -> Checked {
        let (deal, Some(seen)) = (&self.model.deals[direction.0], self.model.feeds.get(&direction)) else {
            return Ok(());
        };
        let to = deal.other(direction.1);
        let Some(node) = self.node(to) else { return Ok(()) };
        if is_erased(node, deal) {
            return Ok(());
        }
        let mut expected: BTreeMap<RecordId, Held> = BTreeMap::new();
        for (number, taken) in &seen.taken {
            match taken {
                Taken::Release(record, slots, _) if !seen.refused.contains(number) => {
                    expected.insert(*record, (*slots, *number, false));
                }
                Taken::Withdrawal(record) => drop(expected.get_mut(record).map(|held| held.2 = true)),
                Taken::Release(..) | Taken::Refusal(_) | Taken::Closed => {}
            }
        }
        for (record, held) in expected {
            let found = received(node, deal.id, record)?;
            let taken_back =
                |found: &Held| found.1 == held.1 && found.2 && self.is_taken_back(direction, record, found.0, held.0);
            let gone = || {
                let since = seen.since.get(&held.1).copied().unwrap_or_default();
                found.as_ref().is_none_or(|found| found.0.is_empty() || found.2) && self.is_kept_long_enough(to, since)
            };
            if found != Some(held) && !found.as_ref().is_some_and(taken_back) && !gone() {
                return self.broken(format!("I1: node {to} took {record:?} as {held:?} and holds {found:?}"));
            }
        }
        Ok(())
    }

    /// Everything, once the world has healed and nothing moves.
    pub(super) fn check_end(&mut self) -> Checked {
        for n in 0..self.machines.len() {
            self.check_store(n)?;
            self.check_acknowledged(n)?;
            self.check_receiver(n)?;
            self.check_settled_recalls(n)?;
        }
        for place in 0..self.model.deals.len() {
            for from in self.model.deals[place].parties {
                self.check_feed((place, from))?;
            }
        }
        Ok(())
    }

    /// I4, of what came since it was last looked at: the journal's events and the runs of each feed follow each other
    /// without a gap, and give the digests that the store goes on from.
    fn check_grown(&mut self, n: usize) -> Checked {
        let Some(node) = self.node(n) else { return Ok(()) };
        let Grown { journal: followed, runs } = &self.machines[n].grown;
        let mut followed = followed.unwrap_or_else(|| Journal::start(node.holdings.store_id()));
        for (number, event) in node.holdings.journal(followed.head().count.checked_sub(1), 10_000)? {
            if number != followed.head().count || followed.handle_event(event.bytes()).is_err() {
                return self.broken(format!("I4: the journal of node {n} breaks at {number}"));
            }
            if journal::said(&node.holdings, number, &event)?.iter().any(|part| part.what == "fork") {
                return self.broken(format!("I3: node {n} has written down a fork"));
            }
        }
        let mut runs = runs.clone();
        for deal in self.model.deals.iter().filter(|deal| deal.parties.contains(&n)) {
            let feed = feeds::outgoing(node, self.org(deal.other(n)), deal.id);
            let id = feed.id();
            let (last, mut cursor) = runs.get(&id).map_or((None, Cursor::start(id)), |(last, end)| (Some(*last), *end));
            for (place, row) in node.holdings.list(Partition::Own, Table::RunOut, id.as_bytes(), last, 10_000)? {
                let sent: SentRun = decode("run", &row)?;
                let run = Run::danger_unverified(&sent.run).map_err(|e| Broken(e.to_string()))?;
                if run.before != cursor || sent.first != cursor.length {
                    return self.broken(format!("I4: the runs of a feed break at {}", cursor.length));
                }
                cursor = run.end();
                runs.insert(id, (place, cursor));
            }
            if cursor != feeds::out_row(node, &feed, AgreementDigest::from_bytes([0; 32]))?.cursor() {
                return self.broken("I4: a feed does not end where its last run does");
            }
        }
        self.machines[n].grown = Grown { journal: Some(followed), runs };
        Ok(())
    }

    /// I4, of the whole store.
    fn check_store(&mut self, n: usize) -> Checked {
        let Some(node) = self.node(n) else { return self.broken("a node is down after healing") };
        let report = node.holdings.check().map_err(|e| Broken(format!("I4: node {n}: {e}")))?;
        if report.unopened > 0 {
            return self.broken(format!("I4: node {n} has rows that nothing opens"));
        }
        self.machines[n].grown = Grown::default();
        self.check_grown(n)
    }

    /// I3 and I5 for one feed.
    fn check_feed(&self, direction: Direction) -> Checked {
        let (deal, from) = (&self.model.deals[direction.0], direction.1);
        let to = deal.other(from);
        let (Some(sender), Some(receiver)) = (self.node(from), self.node(to)) else { return Ok(()) };
        let (Some(version), Some(feed)) = (self.in_force(from, deal)?, self.feed(direction)) else { return Ok(()) };
        let out = feeds::out_row(sender, &feed, version)?;
        let open = |n: &usize| self.model.facts[*n].standing.get(&deal.id).copied().unwrap_or(Standing::Active);
        let covers = deal.version(version).is_some_and(|version| version.covers(self.now(from)));
        if !covers || !deal.signers.iter().all(|signer| open(signer) == Standing::Active) || is_erased(receiver, deal) {
            return Ok(());
        }
        if self.in_force(to, deal)? != Some(version) {
            return self.broken(format!("I3: after healing, {from} and {to} hold different versions in force"));
        }
        let held = feeds::in_row(receiver, &feed)?;
        if out.cursor() != held.cursor() || out.countersigned.unwrap_or(out.cursor()) != out.cursor() {
            let shown = (out.length, out.countersigned.map(|c| c.length), held.length);
            return self.broken(format!("I3: after healing, the feed from {from} to {to} is not equal: {shown:?}"));
        }
        let Some(version) = deal.version(version) else { return Ok(()) };
        let empty = super::model::Seen::default();
        let seen = self.model.feeds.get(&direction).unwrap_or(&empty);
        for record in self.model.records.values().filter(|record| record.owner == from) {
            let expected = self.model.settled(deal, version, record, seen);
            let found = received(receiver, deal.id, record.id)?.filter(|held| !held.2).map(|held| held.0);
            let gone = || self.is_gone(direction, record.id);
            let right = match (expected, found) {
                (Some(_), found) if found.is_none_or(SlotSet::is_empty) && gone() => true,
                (Some((least, most)), Some(found)) => least.without(found).is_empty() && found.without(most).is_empty(),
                (None, None) => true,
                _ => false,
            };
            if !right {
                let promise = if expected.is_none() { "I5" } else { "I3" };
                return self.broken(format!(
                    "{promise}: after healing, {to} holds {found:?} of {record:?} from {from}, not {expected:?} ({version:?})"
                ));
            }
        }
        self.check_feed_onward(direction, version)
    }
}
