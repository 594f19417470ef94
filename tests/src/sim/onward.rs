//! What goes on from a holder to a third: what people ask and answer, and what must hold of it.
//!
//! I2 for it: nothing goes on that its originator's people never granted for this way and these fields, that the holder was
//! never given, or that no clause of the second agreement lets go. I3 and I5, once everything has settled: the third
//! party holds what the newest answer lets it, of what the holder still holds; and the originator was told who holds it.

use super::{
    Checked,
    check::received,
    model::{Deal, Direction, Recorded, SUPERSEDES, Version},
    world::{Doing, World},
};
use entente_node::{
    node::Node,
    onward::{
        ASKS,
        answering::{self, AsksRow, Narrowed},
        asking::{self, Wish},
        holding, passed,
    },
    records::stored::decode,
    seal::keyring::Partition,
    store::layout::Table,
};
use entente_protocol::{
    grant::Request,
    id::{LineId, OrgId, RecordId},
    record::SlotSet,
};
use std::collections::BTreeMap;

/// Requests of one node: no run makes as many.
const ROWS: usize = 10_000;
/// Frames that a part of the way is given.
const FRAMES: usize = 80;

/// Who recorded it, who holds it, who would receive it, and the line.
pub type Way = (usize, usize, usize, LineId);

/// What people have answered.
#[derive(Debug, Default)]
pub struct Answers {
    /// Every field that was ever granted on a way.
    pub ever: BTreeMap<Way, SlotSet>,
    /// What the newest answer grants; none where its node died over it.
    pub now: BTreeMap<Way, Option<SlotSet>>,
}

fn requests(node: &Node) -> Checked<Vec<(u64, OrgId, Request)>> {
    let rows = node.holdings.list(Partition::Own, Table::Grant, ASKS, None, ROWS)?;
    let read = |(n, row): (u64, Vec<u8>)| {
        let row: AsksRow = decode("request", &row)?;
        Ok((n, row.from, Request::kept(&row.signed)?))
    };
    rows.into_iter().map(read).collect()
}

impl World<'_> {
    /// Somebody asks whether what it holds may go on, or answers who asked; where there is nothing, something is given.
    pub(super) fn onward(&mut self, n: usize) -> Checked {
        let done = match self.chance.below(5) {
            0..2 => self.ask_onward(n)?,
            2..4 => self.answer_onward(n)?,
            _ => return self.all_the_way(n),
        };
        if !done {
            return self.give(n);
        }
        let frames = self.chance.below(60);
        self.flow(frames)
    }

    /// Something is given, who holds it asks, who recorded it answers, and it goes on: as far as the world lets it.
    fn all_the_way(&mut self, n: usize) -> Checked {
        let partners = self.model.deals.iter().filter(|deal| deal.parties.contains(&n)).map(|deal| deal.other(n));
        let mut partners: Vec<usize> = partners.collect();
        partners.dedup();
        let Some(from) = self.chance.pick(&partners).copied() else { return Ok(()) };
        self.connect(from, n)?;
        self.give(from)?;
        self.flow(FRAMES)?;
        self.ask_onward(n)?;
        self.flow(FRAMES)?;
        self.answer_onward(from)?;
        self.flow(FRAMES)?;
        partners.retain(|to| *to != from);
        let Some(to) = self.chance.pick(&partners).copied() else { return Ok(()) };
        self.connect(n, to)?;
        self.flow(FRAMES)
    }

    fn ask_onward(&mut self, n: usize) -> Checked<bool> {
        let Some(node) = self.node(n) else { return Ok(true) };
        let rules = node.rules();
        let estranged = &self.model.facts[n].partners;
        let mut ways = Vec::new();
        // What came by a third party is its recorder's, whom only a partner can ask.
        let known = |r: &&Recorded| rules.book.get(self.org(r.owner)).is_some() && !estranged.contains_key(&r.owner);
        for record in self.model.records.values().filter(|r| r.owner != n).filter(known) {
            for deal in self.model.deals.iter().filter(|deal| deal.parties.contains(&n)) {
                let to = deal.other(n);
                let org = self.org(to);
                let held = holding::held(node, &rules, record.id, org)?.is_some_and(|held| held.may_go_to(org));
                if held && to != record.owner && !estranged.contains_key(&to) {
                    ways.push((record.id, to));
                }
            }
        }
        let Some((record, to)) = self.chance.pick(&ways).copied() else { return Ok(false) };
        let wish = Wish {
            to: self.org(to).to_string(),
            every: None,
            fields: Vec::new(),
            purposes: vec!["tracing".to_owned()],
            days: 30,
            until: None,
            reason: "they ask for it".to_owned(),
            by: "one of us".to_owned(),
        };
        self.say(|| format!("{n}: asks whether {record:?} may go on to {to}"));
        self.act(n, Doing::Other, |node| Ok(asking::ask(node, &[record], &wish)?))?;
        Ok(true)
    }

    fn answer_onward(&mut self, n: usize) -> Checked<bool> {
        let Some(node) = self.node(n) else { return Ok(true) };
        let asked = requests(node)?;
        let Some((number, from, request)) = self.chance.pick(&asked).cloned() else { return Ok(false) };
        let [Some(from), Some(to)] = [from, request.to].map(|org| self.number_of(org)) else { return Ok(false) };
        let Some(line) = request.scope.lines.first().copied() else { return Ok(false) };
        let (yes, few) = (!self.chance.one_in(3), self.chance.one_in(3) && request.scope.slots.contains(0));
        let slots = match (yes, few) {
            (false, _) => SlotSet::EMPTY,
            (true, true) => SlotSet::EMPTY.with(0),
            (true, false) => request.scope.slots,
        };
        let way = (n, from, to, line);
        let ever = self.model.onward.ever.entry(way).or_default();
        *ever = slots.iter().fold(*ever, SlotSet::with);
        self.say(|| format!("{n}: grants {slots:?} of {line:?} from {from} to {to}"));
        let fields = if few { vec!["number".to_owned()] } else { Vec::new() };
        let narrowed = yes.then(|| Narrowed { fields, ..Narrowed::default() });
        let deaf = narrowed.is_none() && self.plan.deaf_to_refusals();
        let done = self.act(n, Doing::Other, |node| {
            if !deaf {
                answering::answer(node, number, narrowed.as_ref(), "another")?;
            }
            Ok(())
        })?;
        self.model.onward.now.insert(way, done.map(|()| slots));
        self.stats.answers += 1;
        Ok(true)
    }

    /// I2 for one entry of another's record that is put on the wire.
    pub(super) fn check_goes_on(&mut self, direction: Direction, record: &Recorded, slots: SlotSet) -> Checked {
        let (place, from) = direction;
        let deal = &self.model.deals[place];
        let to = deal.other(from);
        let way = (record.owner, from, to, record.line);
        let granted = self.model.onward.ever.get(&way).copied().unwrap_or_default();
        let id = record.id;
        if !slots.without(granted).is_empty() {
            return self
                .broken(format!("I2: node {from} passes {slots:?} of {id:?} on to {to}, and {granted:?} was granted"));
        }
        let of_owner = |seen: &&Direction| seen.1 == record.owner && self.model.deals[seen.0].parties.contains(&from);
        if !self.model.feeds.iter().filter(|(d, _)| of_owner(d)).any(|(_, seen)| seen.shown.contains(&id)) {
            return self.broken(format!("I2: node {from} passes {id:?} on, which it was never given"));
        }
        self.stats.passed_on += 1;
        Ok(())
    }

    /// What a third party should hold of a record by a holder's hand: none, or these fields; or it is not certain.
    fn settled_onward(
        &self,
        (deal, version, from): (&Deal, &Version, usize),
        record: &Recorded,
    ) -> Checked<Option<Option<SlotSet>>> {
        let way = (record.owner, from, deal.other(from), record.line);
        let Some(holder) = self.node(from) else { return Ok(None) };
        let granted = match self.model.onward.now.get(&way) {
            None => return Ok(Some(None)),
            Some(None) => return Ok(None),
            Some(Some(granted)) => *granted,
        };
        if granted == SlotSet::EMPTY {
            return Ok(Some(None));
        }
        let (permitted, serviceable) = deal.permits(version, from, record.kind);
        // What an agreement gave that has ended stays where it is, and what went on by it.
        let ways: Vec<&Deal> = self
            .model
            .deals
            .iter()
            .filter(|up| up.parties.contains(&from) && up.parties.contains(&record.owner))
            .collect();
        if ways.iter().any(|up| self.ended(up)) {
            return Ok(None);
        }
        let mut held = Vec::new();
        for up in ways {
            held.extend(received(holder, up.id, record.id)?.filter(|held| !held.2 && !held.0.is_empty()));
        }
        // Of several the first speaks, which is not said here; a condition reads a field that nobody is given.
        match held.as_slice() {
            [] => Ok(Some(None)),
            _ if serviceable => Ok(Some(None)),
            [(slots, ..)] => {
                let names = [super::model::EVENT, SUPERSEDES].into_iter().fold(SlotSet::EMPTY, SlotSet::with);
                let goes = granted.and(permitted).and(*slots).without(names);
                Ok(if goes.is_empty() { None } else { Some(Some(goes)) })
            }
            _ => Ok(None),
        }
    }

    /// I3 and I5 of what went on in a feed, once everything has settled.
    pub(super) fn check_feed_onward(&self, direction: Direction, version: &Version) -> Checked {
        let (deal, from) = (&self.model.deals[direction.0], direction.1);
        let to = deal.other(from);
        let (Some(receiver), true) = (self.node(to), super::Plan::onward(self.seed)) else { return Ok(()) };
        for record in self.model.records.values().filter(|record| record.owner != from && record.owner != to) {
            let Some(expected) = self.settled_onward((deal, version, from), record)? else { continue };
            let found = received(receiver, deal.id, record.id)?.filter(|held| !held.2).map(|held| held.0);
            let names = [super::model::EVENT, SUPERSEDES].into_iter().fold(SlotSet::EMPTY, SlotSet::with);
            if found.map(|slots| slots.without(names)) != expected {
                return self.broken(format!(
                    "I3: after healing, {to} holds {found:?} of {record:?} by the hand of {from}, not {expected:?}"
                ));
            }
            if found.is_some() {
                self.check_told(record.owner, record.id, to)?;
            }
        }
        Ok(())
    }

    /// The originator was told who holds what of its own.
    fn check_told(&self, owner: usize, record: RecordId, to: usize) -> Checked {
        let Some(node) = self.node(owner) else { return Ok(()) };
        let known = passed::holders_of(node, record)?;
        if known.iter().any(|held| held.on.to == self.org(to) && !held.on.gone && held.granted) {
            return Ok(());
        }
        self.broken(format!("I3: after healing, {owner} does not know that {to} holds {record:?}"))
    }
}
