//! What may happen next: one step draws one thing. Then the world heals, and everything must settle.

use super::{
    Checked, Stats,
    ledger::Failure,
    model::Estranged,
    wire::Fate,
    world::{Doing, World},
};
use entente_node::records::gate::Review;
use entente_protocol::{agreement::Standing, id::RecordId};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Frames that may be needed until nothing moves after healing.
const SETTLE_FRAMES_MAX: u64 = 5_000;
/// Rounds of connecting and delivering after healing.
const SETTLE_ROUNDS_MAX: usize = 30;
/// A clock that is wrong is wrong by up to this many milliseconds; twice the half of it is beyond what a session takes.
const SKEW_MS: usize = 600_000;
/// Where people ask records back, one step in so many is about that.
const RECALL_ONE_IN: usize = 8;
/// Where people pass on what others recorded, one step in so many is about that.
const ONWARD_ONE_IN: usize = 6;
/// Where people carry bundles, one step in so many is about that.
const BUNDLE_ONE_IN: usize = 6;
/// Where time runs out, one step in so many is about that.
const TIMES_ONE_IN: usize = 6;
/// After this time a node asks again what was not answered for good.
const ASK_AGAIN_MS: u64 = 3_700_000;

impl World<'_> {
    /// One whole run: beginning, steps, healing.
    pub(super) fn run(mut self) -> Result<Stats, Box<(super::Broken, Self)>> {
        // A panic is a finding like another: it must end with the seed that shows it again.
        let told = catch_unwind(AssertUnwindSafe(|| self.story())).unwrap_or_else(|panic| {
            let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            self.broken(format!("panics: {}", said.unwrap_or("without a word")))
        });
        match told {
            Ok(()) => Ok(self.stats),
            Err(broken) => Err(Box::new((broken, self))),
        }
    }

    fn story(&mut self) -> Checked {
        self.begin()?;
        for _ in 0..self.plan.steps {
            self.step += 1;
            self.note_fit();
            self.any()?;
        }
        self.step += 1;
        self.note_fit();
        self.heal()?;
        self.settle_all()?;
        self.bring_late()?;
        self.ask_once_more()?;
        self.keep_up_at_last()?;
        self.check_end()?;
        (self.stats.seeds, self.stats.on_files) = (1, u64::from(self.plan.on_files(self.seed)));
        Ok(())
    }

    /// Introductions, and a first agreement between each pair; some stay unsigned.
    fn begin(&mut self) -> Checked {
        let pairs = self.pairs.clone();
        for (a, b) in pairs {
            self.introduce(a, b)?;
            let deal = self.new_deal(a, b);
            let first = self.model.deals[deal].parties[self.chance.below(2)];
            self.propose(first, deal)?;
            self.connect(a, b)?;
            self.flow(200)?;
            if !self.chance.one_in(8) {
                self.accept(self.model.deals[deal].other(first), deal)?;
                self.flow(200)?;
            }
        }
        if super::Plan::three(self.seed) {
            let deal = self.new_deal_of_three([0, 1, 2]);
            self.propose(0, deal)?;
            self.flow(200)?;
            for n in [1, 2] {
                self.accept(n, deal)?;
                self.flow(200)?;
            }
        }
        Ok(())
    }

    /// Delivers up to so many frames, as they come.
    pub(super) fn flow(&mut self, frames: usize) -> Checked {
        for _ in 0..frames {
            let Some((id, wire)) = self.some_frame() else { return Ok(()) };
            self.deliver(id, wire, Fate::Arrives)?;
        }
        Ok(())
    }

    fn some_frame(&mut self) -> Option<(u64, usize)> {
        let busy: Vec<(u64, usize)> = self
            .links
            .iter()
            .flat_map(|(id, link)| (0..4).filter(|wire| !link.wires[*wire].is_empty()).map(|wire| (*id, wire)))
            .collect();
        self.chance.pick(&busy).copied()
    }

    /// One thing happens.
    fn any(&mut self) -> Checked {
        let n = self.chance.below(self.machines.len());
        if super::Plan::recalls(self.seed) && self.chance.one_in(RECALL_ONE_IN) {
            return if self.chance.one_in(3) { self.hold(n) } else { self.recall(n) };
        }
        if super::Plan::onward(self.seed) && self.chance.one_in(ONWARD_ONE_IN) {
            return self.onward(n);
        }
        if super::Plan::bundles(self.seed) && self.chance.one_in(BUNDLE_ONE_IN) {
            return self.bundle(n);
        }
        if super::Plan::times(self.seed) && self.chance.one_in(TIMES_ONE_IN) {
            return self.time_passes(n);
        }
        match self.chance.below(100) {
            0..30 => {
                let frames = 1 + self.chance.below(8);
                self.flow(frames)
            }
            30..42 => self.commit(n, None).map(drop),
            42..54 => self.gate(n),
            54..58 => self.amend(n),
            58..61 => self.refute(n),
            61..66 => self.agreements(n),
            66..71 => self.standings(n),
            71..74 => self.partners(n),
            74..81 => self.dial(),
            81..91 => self.weather(n),
            91..95 => self.disk(n),
            95..97 => self.time(n),
            _ => self.tamper(),
        }
    }

    fn own(&mut self, n: usize, wanted: impl Fn(&(Review, bool)) -> bool) -> Option<RecordId> {
        let fit: Vec<RecordId> =
            self.model.facts[n].gate.iter().filter(|(_, state)| wanted(state)).map(|(id, _)| *id).collect();
        self.chance.pick(&fit).copied()
    }

    /// A review or a release; mostly both, so that records move.
    fn gate(&mut self, n: usize) -> Checked {
        if let Some(record) = self.own(n, |state| state.0 == Review::Draft).filter(|_| self.chance.one_in(2)) {
            let to = if self.chance.one_in(3) { Review::Verified } else { Review::Reviewed };
            self.review(n, record, to)?;
            return if self.chance.one_in(4) { Ok(()) } else { self.release(n, record) };
        }
        match self.own(n, |_| true) {
            Some(record) if self.chance.one_in(5) => {
                let to =
                    *self.chance.pick(&[Review::Draft, Review::Reviewed, Review::Verified]).unwrap_or(&Review::Draft);
                self.review(n, record, to)
            }
            Some(record) => self.release(n, record),
            None => self.commit(n, None).map(drop),
        }
    }

    /// An amendment of a record that amends none itself.
    fn amend(&mut self, n: usize) -> Checked {
        let plain: Vec<RecordId> =
            self.model.records.values().filter(|r| r.owner == n && r.amends.is_none()).map(|r| r.id).collect();
        match self.chance.pick(&plain).copied() {
            Some(record) => self.commit(n, Some(record)).map(drop),
            None => Ok(()),
        }
    }

    fn refute(&mut self, n: usize) -> Checked {
        match self.own(n, |state| state.1) {
            Some(record) => self.review(n, record, Review::Refuted),
            None => Ok(()),
        }
    }

    fn agreements(&mut self, n: usize) -> Checked {
        let deals: Vec<usize> =
            (0..self.model.deals.len()).filter(|deal| self.model.deals[*deal].parties.contains(&n)).collect();
        let Some(deal) = self.chance.pick(&deals).copied() else { return Ok(()) };
        let partner = self.model.deals[deal].other(n);
        match self.chance.below(10) {
            0..4 => self.accept(n, deal),
            5 if super::Plan::three(self.seed) && self.chance.one_in(2) => {
                let deal = self.new_deal_of_three([0, 1, 2]);
                self.propose(n.min(2), deal)
            }
            4 if deals.len() < 4
                && !self.model.facts[n].partners.contains_key(&partner)
                && self.node(n).is_some()
                && self.node(partner).is_some() =>
            {
                let deal = self.new_deal(n, partner);
                self.propose(n, deal)
            }
            _ => self.propose(n, deal),
        }
    }

    fn standings(&mut self, n: usize) -> Checked {
        let deal = self.chance.below(self.model.deals.len());
        let standing = match self.chance.below(12) {
            0 => Standing::Ended,
            1..7 => Standing::Suspended,
            _ => Standing::Active,
        };
        self.stand(n, deal, standing)
    }

    fn partners(&mut self, n: usize) -> Checked {
        let known: Vec<usize> = self
            .pairs
            .iter()
            .filter_map(|(a, b)| {
                if *a == n {
                    Some(*b)
                } else if *b == n {
                    Some(*a)
                } else {
                    None
                }
            })
            .collect();
        let Some(partner) = self.chance.pick(&known).copied() else { return Ok(()) };
        let to = match (self.model.facts[n].partners.contains_key(&partner), self.chance.below(5)) {
            (true, 1..5) => None,
            (_, 0) => Some(Estranged::Removed),
            _ => Some(Estranged::Suspended),
        };
        self.partner(n, partner, to)
    }

    fn dial(&mut self) -> Checked {
        match self.chance.pick(&self.pairs.clone()).copied() {
            Some((a, b)) if self.chance.one_in(2) => self.connect(a, b),
            Some((a, b)) => self.connect(b, a),
            None => Ok(()),
        }
    }

    /// Cuts, partitions and stalls, and their ends; nodes that are down come up.
    fn weather(&mut self, n: usize) -> Checked {
        let pair = self.chance.pick(&self.pairs.clone()).copied().unwrap_or_default();
        match self.chance.below(10) {
            0 => {
                self.say(|| format!("{pair:?} are apart"));
                self.apart.insert(pair);
                self.cut(pair);
            }
            1..4 => drop(self.apart.remove(&pair)),
            4 => self.cut(pair),
            5 | 6 => {
                let (end, ids) = (self.chance.below(2), self.links.keys().copied().collect::<Vec<_>>());
                let Some(id) = self.chance.pick(&ids).copied() else { return Ok(()) };
                if let Some(link) = self.links.get_mut(&id) {
                    link.stalled[end] = !link.stalled[end];
                }
                return self.settle(id, end);
            }
            _ => {
                let down: Vec<usize> = (0..self.machines.len()).filter(|n| self.machines[*n].node.is_none()).collect();
                let n = self.chance.pick(&down).copied().unwrap_or(n);
                return self.restart(n);
            }
        }
        Ok(())
    }

    pub(super) fn cut(&mut self, pair: (usize, usize)) {
        self.say(|| format!("{pair:?}: cut"));
        self.links.retain(|_, link| link.ends != [pair.0, pair.1] && link.ends != [pair.1, pair.0]);
    }

    /// A crash now, or a disk that fails at one of the next appends.
    fn disk(&mut self, n: usize) -> Checked {
        if self.chance.one_in(3) {
            if self.node(n).is_some() {
                self.crash(n, Doing::Other);
            }
            return if self.chance.one_in(2) { self.restart(n) } else { Ok(()) };
        }
        // What the ledger can do beside: to be torn, most often where it can.
        let failures =
            [Failure::Refused, Failure::Persisted, Failure::Lost, Failure::Torn, Failure::Torn, Failure::Torn];
        let failures = if self.machines[n].disk.ledger.tears() { &failures[..] } else { &failures[..3] };
        let failure = *self.chance.pick(failures).unwrap_or(&Failure::Lost);
        let more = u32::try_from(self.chance.below(4)).unwrap_or(0);
        self.say(|| format!("{n}: the disk will fail ({failure:?}) after {more} appends"));
        self.machines[n].disk.ledger.arm(more, failure);
        Ok(())
    }

    /// Time passes for all, or one clock goes wrong.
    fn time(&mut self, n: usize) -> Checked {
        if self.chance.one_in(3) {
            let now = self.about_now();
            let wrong = self.chance.below(2 * SKEW_MS) as u64;
            self.machines[n].disk.clock.set(now.plus(wrong).minus(SKEW_MS as u64));
        } else {
            let ms = self.chance.below(15_000) as u64;
            self.machines.iter().for_each(|machine| machine.disk.clock.advance(ms));
        }
        self.tick()
    }

    fn tamper(&mut self) -> Checked {
        let fate = *self.chance.pick(&[Fate::Lost, Fate::Twice, Fate::Overtaken]).unwrap_or(&Fate::Lost);
        match self.some_frame() {
            Some((id, wire)) => self.deliver(id, wire, fate),
            None => Ok(()),
        }
    }

    /// Ends every fault: disks, clocks, partitions, estrangements and suspensions. What was ended stays ended.
    pub(super) fn heal(&mut self) -> Checked {
        self.say(|| "healing".to_owned());
        self.apart.clear();
        let latest = (0..self.machines.len()).map(|n| self.now(n)).max().unwrap_or(super::cast::BEGIN);
        for n in 0..self.machines.len() {
            self.machines[n].disk.clock.set(latest);
            if self.machines[n].node.is_some() && self.chance.one_in(3) {
                self.crash(n, Doing::Other);
            }
            self.machines[n].disk.ledger.disarm();
            self.restart(n)?;
        }
        // A link that a node still has may be one that nobody reads any more.
        self.links.clear();
        for n in 0..self.machines.len() {
            let estranged: Vec<usize> = self.model.facts[n].partners.keys().copied().collect();
            estranged.into_iter().try_for_each(|partner| self.partner(n, partner, None))?;
            for deal in 0..self.model.deals.len() {
                let suspended =
                    self.model.facts[n].standing.get(&self.model.deals[deal].id) == Some(&Standing::Suspended);
                if suspended {
                    self.stand(n, deal, Standing::Active)?;
                }
            }
        }
        Ok(())
    }

    /// What a partner was asked before the record had reached it is asked again, in the next session and each hour.
    pub(super) fn ask_once_more(&mut self) -> Checked {
        if self.model.facts.iter().all(|facts| facts.recalled.is_empty()) {
            return Ok(());
        }
        self.links.clear();
        self.machines.iter().for_each(|machine| machine.disk.clock.advance(ASK_AGAIN_MS));
        self.settle_all()
    }

    /// Connects everybody and delivers until nothing moves.
    pub(super) fn settle_all(&mut self) -> Checked {
        let begun = self.stats.frames;
        for _ in 0..SETTLE_ROUNDS_MAX {
            let mut moved = false;
            for (a, b) in self.pairs.clone() {
                if !self.links.values().any(|link| link.is_whole() && (link.ends == [a, b] || link.ends == [b, a])) {
                    self.connect(a, b)?;
                    moved = true;
                }
            }
            while let Some((id, wire)) = self.some_frame() {
                moved = true;
                self.deliver(id, wire, Fate::Arrives)?;
                if self.stats.frames - begun > SETTLE_FRAMES_MAX {
                    return self.broken("I3: after healing, frames are sent without end");
                }
            }
            if !moved {
                self.stats.settling = self.stats.settling.max(self.stats.frames - begun);
                return Ok(());
            }
        }
        self.broken("I3: after healing, sessions end and begin without end")
    }
}
