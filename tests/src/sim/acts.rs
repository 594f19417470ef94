//! What people do in the world: records, the gate, agreements, partners. Each act goes through the node's own calls.
//!
//! What a node acknowledged becomes a fact of the model. An act during which the disk failed may have happened or
//! not: the node dies, and its store tells at the next start.

use super::{
    Broken, Checked,
    model::{Deal, Estranged, Recorded, SUPERSEDES, Version},
    terms::{self, ALWAYS, Both, Text},
    world::{Doing, World},
};
use entente_node::{
    agreements,
    node::Node,
    partners::{self, PartnerState},
    records::{
        gate::{self, Review},
        keep,
    },
};
use entente_protocol::{
    agreement::Standing,
    id::{AgreementDigest, AgreementId, LineId, Nonce, RecordId},
    identity::UnconfirmedCard,
    record::{Draft, HandlingFloor, Record, Shape, SlotSet, kind::Kind},
    value::Value,
};
use std::collections::BTreeSet;
use zeroize::Zeroizing;

type Done<T> = Result<T, Box<dyn std::error::Error>>;

/// A reference as a slot holds it.
fn reference(org: entente_protocol::id::OrgId, line: LineId) -> Value {
    Value::Array(vec![Value::Bytes(org.as_bytes().to_vec()), Value::Bytes(line.as_bytes().to_vec())])
}

impl World<'_> {
    /// Lets a node do something. A failed disk ends the node; any other failure is a finding.
    pub(super) fn act<T>(&mut self, n: usize, doing: Doing, act: impl FnOnce(&Node) -> Done<T>) -> Checked<Option<T>> {
        let Some(node) = self.machines[n].node.as_ref() else { return Ok(None) };
        let done = act(node);
        if self.machines[n].disk.ledger.is_poisoned() {
            self.crash(n, doing);
            return Ok(None);
        }
        match done {
            Ok(done) => {
                self.say(|| format!("{n}: {doing:?}"));
                self.stats.acts += 1;
                self.record(n, &doing)?;
                self.wake(n)?;
                Ok(Some(done))
            }
            Err(error) => self.broken(format!("node {n} refuses an act of its people ({doing:?}): {error}")),
        }
    }

    /// A new record, or an amendment of one.
    pub(super) fn commit(&mut self, n: usize, amends: Option<RecordId>) -> Checked<RecordId> {
        let before = amends.and_then(|id| self.model.records.get(&id).cloned());
        let kind =
            before.as_ref().map_or_else(|| if self.chance.one_in(3) { Kind::Event } else { Kind::Item }, |b| b.kind);
        let line = before.as_ref().map_or_else(|| LineId::from_bytes(self.chance.bytes()), |b| b.line);
        let events: Vec<LineId> =
            self.model.records.values().filter(|r| r.owner == n && r.kind == Kind::Event).map(|r| r.line).collect();
        let event = match &before {
            Some(before) => before.event,
            None => events.get(self.chance.below(events.len() + 1)).copied().filter(|_| kind == Kind::Item),
        };
        let serviceable = self.chance.one_in(2);
        let record = self.draft(n, kind, line, event, serviceable, amends)?;
        let recorded =
            Recorded { id: record.id(), owner: n, kind, line, present: record.present(), serviceable, event, amends };
        self.keep(n, record, recorded)
    }

    /// An event, and an item that names it.
    pub(super) fn event_and_item(&mut self, n: usize) -> Checked<(RecordId, RecordId)> {
        let lines = [LineId::from_bytes(self.chance.bytes()), LineId::from_bytes(self.chance.bytes())];
        let mut kept = Vec::new();
        for (kind, line, event) in [(Kind::Event, lines[0], None), (Kind::Item, lines[1], Some(lines[0]))] {
            let record = self.draft(n, kind, line, event, true, None)?;
            let (id, present) = (record.id(), record.present());
            let recorded = Recorded { id, owner: n, kind, line, present, serviceable: true, event, amends: None };
            kept.push(self.keep(n, record, recorded)?);
        }
        Ok((kept[0], kept[1]))
    }

    fn keep(&mut self, n: usize, record: Record, recorded: Recorded) -> Checked<RecordId> {
        let (id, amends) = (recorded.id, recorded.amends.is_some());
        self.act(n, Doing::Commit(Box::new(recorded)), |node| {
            let mut txn = node.holdings.begin();
            let new = keep::New { record, amends, import: None };
            keep::add(node, &mut txn, vec![new])?;
            txn.commit()?;
            Ok(())
        })?;
        Ok(id)
    }

    fn draft(
        &mut self,
        n: usize,
        kind: Kind,
        line: LineId,
        event: Option<LineId>,
        serviceable: bool,
        amends: Option<RecordId>,
    ) -> Checked<Record> {
        self.numbers += 1;
        let org = self.org(n);
        let mut draft = Draft::new(kind, org, line, HandlingFloor::default());
        let number = format!("N-{}", self.numbers);
        let mut fields = vec![
            ("number", Value::text(number)),
            ("eval", Value::map([("inf4", Value::Int(2))])),
            ("made-by", Value::text("somebody")),
            ("note", Value::text("for us only")),
        ];
        match kind {
            Kind::Event => fields.extend([("etype", Value::text("seized")), ("case", Value::text("C-1"))]),
            _ => fields.extend([
                ("type", Value::text("rifle")),
                ("condition", Value::text(if serviceable { "serviceable" } else { "damaged" })),
                ("calibre", Value::text("7.62x39")),
                ("year", Value::text("1990")),
                ("family", Value::text("AK")),
            ]),
        }
        fields.extend(event.map(|line| ("event", reference(org, line))));
        fields.extend(amends.map(|id| ("supersedes", Value::Bytes(id.as_bytes().to_vec()))));
        for (name, value) in fields {
            draft.set(name, value).map_err(|e| Broken(format!("a draft of the world is refused: {e}")))?;
        }
        let (nonce, seed) = (Nonce::from_bytes(self.chance.bytes()), Zeroizing::new(self.chance.bytes()));
        draft.commit(nonce, seed).map_err(|e| Broken(format!("a draft of the world is refused: {e}")))
    }

    /// Sets a review state.
    pub(super) fn review(&mut self, n: usize, record: RecordId, to: Review) -> Checked {
        let released = self.model.facts[n].gate.get(&record).is_some_and(|(_, released)| *released);
        self.act(n, Doing::Gate(record, to, released), |node| Ok(gate::review(node, &[record], to)?))?;
        Ok(())
    }

    /// Releases a record that a review has passed; of any other the node must refuse it.
    pub(super) fn release(&mut self, n: usize, record: RecordId) -> Checked {
        let Some((review, released)) = self.model.facts[n].gate.get(&record).copied() else { return Ok(()) };
        let recalled = self.model.facts[n].recalled.contains_key(&record);
        let may = matches!(review, Review::Reviewed | Review::Verified) && !recalled;
        let doing = Doing::Gate(record, review, released || may);
        let outcome = self.act(n, doing, |node| Ok(gate::release(node, &[record])?))?;
        match outcome {
            Some(outcome) if outcome.refused.is_empty() != may => self.broken(format!(
                "I2: node {n}: the gate is open to `{}` (asked back: {recalled}): {}",
                review.name(),
                outcome.refused.is_empty()
            )),
            _ => Ok(()),
        }
    }

    /// Drafts the next version of an agreement, or the first one of a new agreement, at one of its parties.
    pub(super) fn propose(&mut self, n: usize, deal: usize) -> Checked {
        let among = terms::among(super::Plan::onward(self.seed));
        let signers = self.model.deals.get(deal).map_or(0, |deal| deal.signers.len());
        let gives: Vec<usize> = (0..signers).map(|_| *self.chance.pick(among).unwrap_or(&0)).collect();
        let (from, until) = self.days(n);
        self.propose_for(n, deal, &gives, (&from, &until))
    }

    /// The same between two, with what it says.
    pub(super) fn propose_as(&mut self, n: usize, deal: usize, both: Both) -> Checked {
        self.propose_for(n, deal, &both, ALWAYS)
    }

    fn propose_for(&mut self, n: usize, deal: usize, gives: &[usize], days: (&str, &str)) -> Checked {
        let Some(known) = self.model.deals.get(deal).cloned() else { return Ok(()) };
        let waits = self.node(n).is_none_or(|node| {
            node.rules().agreements.get(known.id).is_some_and(|held| held.proposal.is_some() || held.erased)
        });
        if waits || self.ended(&known) {
            return Ok(());
        }
        let current = self.in_force(n, &known)?;
        let number = current.and_then(|digest| known.version(digest)).map_or(1, |version| version.number + 1);
        let parties = known.signers.iter().map(|party| (self.organisation(*party).handle.as_str(), self.org(*party)));
        let text = Text {
            id: known.id,
            version: (number, current),
            days,
            parties: parties.collect(),
            gives,
            besides: self.written(known.besides),
            extra: self.plan.leaks(),
            onward: super::Plan::onward(self.seed),
        };
        let text = text.write();
        let (digest, time) = terms::read(&text, known.id)?;
        let time = self.agreed(time);
        let path = self.cast.path(&format!("{}-{deal}-{}.toml", self.seed, known.versions.len()));
        std::fs::write(&path, text)?;
        let output = path.with_extension("agreement");
        let version = Version { digest, number, gives: gives.to_vec(), approved: BTreeSet::new(), time };
        for deal in self.model.deals.iter_mut().filter(|deal| deal.id == known.id && deal.version(digest).is_none()) {
            deal.versions.push(version.clone());
        }
        // From now on it may be kept, whatever the disk does; two that draft the same agree.
        self.approve(n, known.id, digest);
        self.say(|| {
            format!("{n}: drafts version {number} of deal {deal} {:?} {gives:?} {days:?}: {digest}", known.signers)
        });
        let signed = self.act(n, Doing::Other, |node| Ok(agreements::sign_file(node, &path, &output)?));
        drop((std::fs::remove_file(&path), std::fs::remove_file(&output)));
        signed.map(drop)
    }

    /// Approves what the partner proposed, if it has arrived.
    pub(super) fn accept(&mut self, n: usize, deal: usize) -> Checked {
        let Some(known) = self.model.deals.get(deal).cloned() else { return Ok(()) };
        let Some(node) = self.node(n) else { return Ok(()) };
        let rules = node.rules();
        let held = rules.agreements.get(known.id);
        let Some(proposal) = held.and_then(|held| held.proposal.as_ref()) else { return Ok(()) };
        let digest = proposal.digest();
        let erased = held.is_some_and(|held| held.erased);
        // What is over is not signed.
        let over = proposal.agreement()?.until <= self.now(n);
        let signs = |version: &Version| !version.approved.contains(&n) && !over;
        if !known.version(digest).is_some_and(signs) || self.ended(&known) || erased {
            return Ok(());
        }
        self.approve(n, known.id, digest);
        self.say(|| format!("{n}: accepts a version of deal {deal} {:?}: {digest}", known.signers));
        let (id, digest) = (known.id.to_string(), digest.to_string());
        self.act(n, Doing::Other, |node| Ok(agreements::accept(node, &id, &digest)?))?;
        Ok(())
    }

    fn approve(&mut self, n: usize, id: AgreementId, digest: AgreementDigest) {
        let deals = self.model.deals.iter_mut().filter(|deal| deal.id == id);
        let versions = deals.flat_map(|deal| &mut deal.versions).filter(|version| version.digest == digest);
        versions.for_each(|version| version.approved.extend([n]));
    }

    /// Whether a party has ended an agreement.
    pub(super) fn ended(&self, deal: &Deal) -> bool {
        deal.signers.iter().any(|party| self.model.facts[*party].standing.get(&deal.id) == Some(&Standing::Ended))
    }

    /// States a standing.
    pub(super) fn stand(&mut self, n: usize, deal: usize, standing: Standing) -> Checked {
        let Some(known) = self.model.deals.get(deal).cloned() else { return Ok(()) };
        let own = self.model.facts[n].standing.get(&known.id).copied();
        // What it has heard to be ended it states nothing more about.
        let goes_on = |node: &Node| {
            let rules = node.rules();
            rules.agreements.get(known.id).is_some_and(|held| held.standing != Standing::Ended && !held.erased)
        };
        if !self.node(n).is_some_and(goes_on)
            || own == Some(Standing::Ended)
            || own.unwrap_or(Standing::Active) == standing
        {
            return Ok(());
        }
        let (id, deaf) = (known.id.to_string(), self.plan.deaf());
        self.act(n, Doing::Standing(known.id, standing), |node| {
            if !deaf {
                agreements::state(node, &id, standing)?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Suspends, resumes, removes a partner, or takes it in again.
    pub(super) fn partner(&mut self, n: usize, partner: usize, to: Option<Estranged>) -> Checked {
        let before = self.model.facts[n].partners.get(&partner).copied();
        if before == to {
            return Ok(());
        }
        let (org, card) = (self.org(partner), self.organisation(partner).card.clone());
        let state = match to {
            None => PartnerState::Active,
            Some(Estranged::Suspended) => PartnerState::Suspended,
            Some(Estranged::Removed) => PartnerState::Removed,
        };
        self.act(n, Doing::Partner(partner, to), |node| {
            if before == Some(Estranged::Removed) {
                let words = card.words().to_string();
                partners::add(node, UnconfirmedCard::from_bytes(card.bytes())?, &words)?;
            }
            if before != Some(Estranged::Removed) || to.is_some() {
                partners::set_state(node, org, state)?;
            }
            Ok(node.reload()?)
        })?;
        Ok(())
    }

    /// Introduces two organisations to each other.
    pub(super) fn introduce(&mut self, a: usize, b: usize) -> Checked {
        for (here, there) in [(a, b), (b, a)] {
            let card = self.organisation(there).card.clone();
            self.act(here, Doing::Other, |node| {
                let words = card.words().to_string();
                partners::add(node, UnconfirmedCard::from_bytes(card.bytes())?, &words)?;
                Ok(node.reload()?)
            })?;
        }
        Ok(())
    }

    /// A new agreement between two, without a version yet.
    pub(super) fn new_deal(&mut self, a: usize, b: usize) -> usize {
        let parties = if self.chance.one_in(2) { [a, b] } else { [b, a] };
        let id = AgreementId::from_bytes(self.chance.bytes());
        let besides = self.besides();
        self.add_deal(Deal { id, parties, signers: parties.to_vec(), besides, versions: Vec::new() })
    }

    /// A new agreement between three, without a version yet: the first of what each two of them share.
    pub(super) fn new_deal_of_three(&mut self, signers: [usize; 3]) -> usize {
        let id = AgreementId::from_bytes(self.chance.bytes());
        let besides = self.besides();
        let [a, b, c] = signers;
        let pairs = [[a, b], [b, c], [a, c]];
        let deals = pairs.map(|parties| {
            self.add_deal(Deal { id, parties, signers: signers.to_vec(), besides, versions: Vec::new() })
        });
        deals[0]
    }

    fn add_deal(&mut self, known: Deal) -> usize {
        let (deal, parties) = (self.model.deals.len(), known.parties);
        self.model.deals.push(known);
        for from in parties {
            if let Some(feed) = self.feed((deal, from)) {
                self.feeds.insert(feed.id(), (deal, from));
            }
        }
        deal
    }
}

/// Whether a kind has the slot that names what a record amends, where the model expects it.
#[must_use]
pub fn supersedes_is_where_expected() -> bool {
    [Kind::Item, Kind::Event].iter().all(|kind| {
        kind.slot("supersedes").is_some_and(|slot| slot.number == SUPERSEDES && slot.shape == Shape::Digest)
            && SlotSet::EMPTY.with(SUPERSEDES).contains(5)
    })
}
