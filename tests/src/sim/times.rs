//! Time that runs out: versions begin and end, leases lock, what was kept long enough goes, and what came under an
//! agreement that is over is erased.
//!
//! I2 for it: nothing goes out of the days of the version that lets it go; nothing is read past a lease, whatever a node
//! was shown before. I1: nothing goes from a receiver before its time, or while a hold keeps it. I5, once everything has
//! settled: what was kept long enough is gone; what came under an agreement that obliges its parties to it is erased, and
//! its giver has the receipt.

use super::{
    Checked, Plan, Planted,
    cast::BEGIN,
    check::received,
    model::{Deal, Direction, Taken},
    terms::{ALWAYS, Besides, KEPT_DAYS},
    world::{Doing, World},
};
use entente_node::{
    node::Node,
    recall::{self, RecallError, ending},
    receive::lease,
    seal::keyring::Partition,
};
use entente_protocol::{
    id::RecordId,
    lease::NOTICE_LEASE,
    session::{Lane, Message},
    time::{DAY_MS, HOUR_MS, UnixMillis},
};

/// Hours of a lease that an agreement may name.
const LEASES: [Option<u32>; 4] = [None, Some(12), Some(48), Some(240)];
/// By as much may a node's latest time be ahead of its clock.
const AHEAD_MS: u64 = 2 * 600_000;

/// Whether what came under an agreement was erased at a node.
pub(super) fn is_erased(node: &Node, deal: &Deal) -> bool {
    node.holdings.keyring().is_erased(Partition::Agreement(deal.id))
}

impl World<'_> {
    /// First and last day of a version that is drafted now.
    pub(super) fn days(&mut self, n: usize) -> (String, String) {
        if !Plan::times(self.seed) {
            return (ALWAYS.0.to_owned(), ALWAYS.1.to_owned());
        }
        let now = self.now(n);
        let mut day = |most: usize| 1 + self.chance.below(most) as u64;
        let (first, last) = (day(6), day(40));
        let from = if self.chance.one_in(4) { now.plus(first * DAY_MS).date() } else { ALWAYS.0.to_owned() };
        let until = match self.chance.one_in(2) {
            true => now.plus((first + last) * DAY_MS).date(),
            false => ALWAYS.1.to_owned(),
        };
        (from, until)
    }

    /// What a new agreement says besides.
    pub(super) fn besides(&mut self) -> Besides {
        if !Plan::times(self.seed) {
            return Besides::default();
        }
        let lease_hours = self.chance.pick(&LEASES).copied().flatten();
        Besides { lease_hours, erases: self.chance.one_in(2) }
    }

    /// What a text says of it.
    pub(super) fn written(&self, besides: Besides) -> Besides {
        let endless = self.plan.planted == Some(Planted::EndlessLease);
        Besides { lease_hours: besides.lease_hours.filter(|_| !endless), ..besides }
    }

    /// The days that people agreed on, of those that a text says.
    pub(super) fn agreed(&self, (from, until): (UnixMillis, UnixMillis)) -> (UnixMillis, UnixMillis) {
        let late = self.plan.planted == Some(Planted::LateEnd);
        (from, if late { until.minus(30 * DAY_MS) } else { until })
    }

    /// About the time that clocks which are right show.
    pub(super) fn about_now(&self) -> UnixMillis {
        let latest = (0..self.machines.len()).map(|n| self.now(n)).max();
        latest.filter(|_| Plan::times(self.seed)).unwrap_or_else(|| BEGIN.plus(self.step * 1_000))
    }

    /// Hours or days go by for all; or people erase what came under an agreement that is over.
    pub(super) fn time_passes(&mut self, n: usize) -> Checked {
        if self.chance.one_in(6) {
            return self.erase(n);
        }
        let hours = match self.chance.below(8) {
            0 => 24 * KEPT_DAYS as usize + self.chance.below(24),
            1 | 2 => 24 * (1 + self.chance.below(12)),
            _ => 1 + self.chance.below(30),
        };
        self.say(|| format!("{hours} hours go by"));
        let ms = hours as u64 * HOUR_MS + self.chance.below(1_000) as u64;
        self.machines.iter().for_each(|machine| machine.disk.clock.advance(ms));
        self.tick()?;
        self.keep_up_all()
    }

    /// What each node does by itself now and then.
    fn keep_up_all(&mut self) -> Checked {
        for n in 0..self.machines.len() {
            let deaf = self.plan.planted == Some(Planted::DeafToTime);
            self.machines[n].kept_up = self.now(n);
            self.act(n, Doing::Other, |node| {
                node.tick()?;
                if !deaf {
                    recall::keep_up(node)?;
                }
                Ok(())
            })?;
            self.check_times(n)?;
        }
        Ok(())
    }

    /// Once everything has settled, what is due is done, and said.
    pub(super) fn keep_up_at_last(&mut self) -> Checked {
        if !Plan::times(self.seed) {
            return Ok(());
        }
        self.keep_up_all()?;
        self.settle_all()?;
        (0..self.machines.len()).try_for_each(|n| self.check_times_settled(n))
    }

    fn erase(&mut self, n: usize) -> Checked {
        let deals: Vec<usize> =
            (0..self.model.deals.len()).filter(|deal| self.model.deals[*deal].parties.contains(&n)).collect();
        let Some(deal) = self.chance.pick(&deals).map(|deal| self.model.deals[*deal].clone()) else { return Ok(()) };
        self.say(|| format!("{n}: people ask to erase what came under {:?}", deal.id));
        let id = deal.id.to_string();
        // Refused where it is not over, or where a hold keeps something: what stands afterwards is looked at.
        self.act(n, Doing::Other, |node| match ending::erase(node, &id, ("one of us", &[]), &mut |_| {}) {
            Ok(_)
            | Err(RecallError::Step(_) | RecallError::Followed | RecallError::Held(_) | RecallError::Asked(_)) => {
                Ok(())
            }
            Err(error) => Err(error.into()),
        })?;
        self.check_times(n)
    }

    /// Whether an agreement is over for a node: ended, or past the last day of what is in force there.
    pub(super) fn is_over(&self, n: usize, deal: &Deal) -> bool {
        let last = self.node(n).and_then(|node| {
            let rules = node.rules();
            let digest = rules.agreements.get(deal.id)?.in_force.as_ref()?.digest;
            Some(deal.version(digest)?.time.1)
        });
        self.ended(deal) || last.is_some_and(|last| last <= self.now(n))
    }

    /// Whether people of a node approved a version that takes the place of what is in force there.
    pub(super) fn follows(&self, n: usize, deal: &Deal) -> bool {
        let digest = self.node(n).and_then(|node| {
            let rules = node.rules();
            Some(rules.agreements.get(deal.id)?.in_force.as_ref()?.digest)
        });
        let number = digest.and_then(|digest| deal.version(digest)).map(|version| version.number);
        deal.versions.iter().any(|version| Some(version.number) > number && version.approved.contains(&n))
    }

    /// Whether what a node took at a time was kept as long as any clause says.
    pub(super) fn is_kept_long_enough(&self, n: usize, since: UnixMillis) -> bool {
        // Nothing goes but when a node looks after it.
        Plan::times(self.seed) && since.plus(KEPT_DAYS * DAY_MS) <= self.machines[n].kept_up
    }

    /// Whether the newest release of a record in a feed was kept long enough.
    pub(super) fn is_gone(&self, direction: Direction, record: RecordId) -> bool {
        let to = self.model.deals[direction.0].other(direction.1);
        self.newest(direction, record).is_some_and(|since| self.is_kept_long_enough(to, since))
    }

    fn newest(&self, direction: Direction, record: RecordId) -> Option<UnixMillis> {
        let seen = self.model.feeds.get(&direction)?;
        let of_it = |taken: &Taken| matches!(taken, Taken::Release(id, ..) if *id == record);
        let number = seen.taken.iter().rev().find(|(_, taken)| of_it(taken)).map(|(number, _)| *number)?;
        seen.since.get(&number).copied()
    }

    /// A message reaches a node: of a lease, or of a run, it is a meeting with who sent it.
    pub(super) fn note_met(&mut self, n: usize, from: usize, lane: Lane, content: &[u8]) {
        match Message::from_bytes(lane, content) {
            Ok(Message::Notice(notice)) if notice.kind == NOTICE_LEASE => self.note_met_at(n, from, self.now(n)),
            Ok(Message::Run(_)) => self.note_met_at(n, from, self.now(n)),
            _ => {}
        }
    }

    /// The same, at a time: what a bundle brings was met when it was made.
    pub(super) fn note_met_at(&mut self, n: usize, from: usize, now: UnixMillis) {
        for (place, deal) in self.model.deals.iter().enumerate() {
            if deal.parties.contains(&n) && deal.parties.contains(&from) {
                let met = self.model.met.entry((place, from)).or_default();
                *met = now.max(*met);
            }
        }
    }

    fn received_from(&self, direction: Direction) -> impl Iterator<Item = RecordId> {
        let seen = self.model.feeds.get(&direction);
        let taken = seen.into_iter().flat_map(|seen| {
            let took = |(number, taken): (&u64, &Taken)| match taken {
                Taken::Release(id, ..) if !seen.refused.contains(number) => Some(*id),
                _ => None,
            };
            seen.taken.iter().filter_map(took)
        });
        taken.collect::<Vec<_>>().into_iter()
    }

    /// I1 and I2 for what time does at a node.
    pub(super) fn check_times(&mut self, n: usize) -> Checked {
        let (mut locks, mut over) = (0, 0);
        let Some(node) = self.node(n) else { return Ok(()) };
        for (place, deal) in self.model.deals.iter().enumerate().filter(|(_, deal)| deal.parties.contains(&n)) {
            let from = deal.other(n);
            over += u64::from(self.is_over(n, deal) && !self.ended(deal));
            if is_erased(node, deal) {
                if !self.is_over(n, deal) {
                    return self
                        .broken(format!("I1: node {n} erased what came under {:?}, which is not over", deal.id));
                }
                if self.model.kept.iter().any(|kept| (kept.0, kept.1) == (n, place)) {
                    return self.broken(format!("I1: node {n} erased what a hold keeps, of {:?}", deal.id));
                }
                continue;
            }
            let locked = lease::locked(node, deal.id, self.org(from))?;
            locks += u64::from(locked.is_some());
            let leased = self.in_force(n, deal)?.and(deal.besides.lease_hours);
            let took = self.received_from((place, from)).next().is_some();
            if let (Some(hours), Some(met), true) = (leased, self.model.met.get(&(place, from)), took) {
                let past = met.plus(u64::from(hours) * HOUR_MS + AHEAD_MS) <= self.now(n);
                if past && locked.is_none() {
                    return self.broken(format!("I2: node {n} reads what {from} gave it, past the lease"));
                }
            }
        }
        (self.stats.locked, self.stats.expired) = (self.stats.locked + locks, self.stats.expired + over);
        Ok(())
    }

    /// I3 and I5 for it, once everything has settled.
    fn check_times_settled(&mut self, n: usize) -> Checked {
        let (mut erased, mut kept) = (0, 0);
        let Some(node) = self.node(n) else { return Ok(()) };
        for (place, deal) in self.model.deals.iter().enumerate().filter(|(_, deal)| deal.parties.contains(&n)) {
            let from = deal.other(n);
            let is_held = |record: &RecordId| self.model.kept.contains(&(n, place, *record));
            if is_erased(node, deal) {
                erased += 1;
                self.check_receipt(n, from, deal)?;
                continue;
            }
            // A hold keeps the whole partition, also where nothing of its record is left.
            let held = &self.model.facts[n].held;
            let mut given = self.received_from((place, from)).peekable();
            let over = self.ended(deal) || (self.is_over(n, deal) && !self.follows(n, deal));
            if deal.besides.erases && over && given.peek().is_some() && !given.any(|r| held.contains(&r)) {
                return self
                    .broken(format!("I5: node {n} has not erased what came under {:?}, which is over", deal.id));
            }
            for record in self.received_from((place, from)) {
                if self.is_gone((place, from), record) && !is_held(&record) {
                    kept += 1;
                    if received(node, deal.id, record)?.is_some_and(|held| !held.0.is_empty()) {
                        return self.broken(format!("I5: node {n} keeps {record:?} longer than it may"));
                    }
                }
            }
            let covers = |digest| deal.version(digest).is_some_and(|version| version.covers(self.now(n)));
            let meets = self.in_force(n, deal)?.is_some_and(covers) && self.may_share(n, deal);
            if meets && self.may_share(from, deal) && lease::locked(node, deal.id, self.org(from))?.is_some() {
                return self.broken(format!("I3: what {from} gave {n} stays locked, though they met"));
            }
        }
        (self.stats.erased, self.stats.kept) = (self.stats.erased + erased, self.stats.kept + kept);
        Ok(())
    }

    /// Whoever gave something that was erased was told.
    fn check_receipt(&self, n: usize, giver: usize, deal: &Deal) -> Checked {
        let Some(node) = self.node(giver) else { return Ok(()) };
        let receipts = ending::erasures(node, |row| row.agreement == deal.id)?;
        let handle = self.organisation(n).handle.as_str();
        if receipts.iter().any(|receipt| receipt["holder"].as_str() == Some(handle) && receipt["done"] == true) {
            return Ok(());
        }
        self.broken(format!("I5: {giver} has no receipt of what {n} erased"))
    }
}
