//! Draws tales from seeds.
//!
//! INVARIANT: what is hidden here is hidden under every version of the agreement that a tale signs: a draft, an item in
//! no working order, a kind or a form of a file that no clause names, a red line, a time that does not come.

use super::tale::{
    Act, BESIDE, LATE, NODE, OBSERVED_ON, OBSERVER, OTHER, Probe, SECOND, SEEN, SOURCE, Step, Tale, Thing, WITH_LATE,
    WITH_OTHER, WITH_SOURCE,
};
use crate::sim::chance::Chance;
use entente_node::records::gate::Review;
use entente_protocol::{agreement::Standing, recall::Act as Asks, record::kind::Kind};

const HOUR_MS: usize = 3_600_000;

/// Draws tales.
pub struct Teller {
    chance: Chance,
    tale: Tale,
    lines: usize,
    /// Hidden acts that were drawn, so that each kind has its turn.
    turn: usize,
    second: Option<Standing>,
    /// What the observer gave goes on to others: of what becomes of it there its originator is told, so nothing hidden may.
    goes_on: bool,
    /// Others are suspended where something is hidden: what the observer lets go on to them would wait, and it may see that.
    apart: bool,
    late: bool,
}

impl Teller {
    /// The tale of a seed.
    #[must_use]
    pub fn tell(seed: u64, acts: usize) -> Tale {
        let mut chance = Chance::new(seed);
        let (others, lease) = (chance.one_in(2), chance.one_in(3).then_some(8));
        let turn = chance.below(1_000);
        let tale = Tale { others, lease, ..Tale::default() };
        let mut teller = Self { chance, tale, lines: 0, turn, second: None, goes_on: false, apart: false, late: false };
        teller.begin();
        for _ in 0..acts {
            match teller.chance.below(5) {
                0 | 1 => teller.seen(),
                _ => teller.unseen(),
            }
        }
        // Everything that waits arrives, and is looked at once more.
        teller.both(Act::Restart);
        teller.both(Act::Fetch);
        if teller.chance.one_in(3) {
            teller.both(Act::Stand(SEEN, 0, Standing::Ended));
            teller.unseen();
            teller.both(Act::Erase(SEEN));
            teller.both(Act::Cut);
        }
        teller.tale
    }

    fn begin(&mut self) {
        self.both(Act::Pair(NODE, OBSERVER));
        for (a, b) in [(NODE, OTHER), (NODE, SOURCE), (OTHER, SOURCE)] {
            self.with_others(Act::Pair(a, b));
        }
        self.both(Act::Sign(SEEN, 0));
        for deal in [WITH_OTHER, WITH_SOURCE, BESIDE] {
            self.with_others(Act::Sign(deal, 0));
        }
        if self.tale.others {
            self.both(Act::Pair(OBSERVER, OTHER));
            self.both(Act::Sign(OBSERVED_ON, 0));
        }
        for owner in [NODE, SOURCE] {
            let thing = self.hidden_thing(owner);
            self.pass("what others are given", vec![thing]);
        }
        let thing = self.visible_thing();
        self.both(Act::Keep(vec![thing]));
        self.both(Act::Gate(vec![thing], Review::Reviewed, true));
    }

    fn pause(&mut self) -> u64 {
        let ms = match self.chance.below(12) {
            0 => HOUR_MS + self.chance.below(HOUR_MS),
            1 => self.chance.below(9 * HOUR_MS),
            _ => self.chance.below(20_000),
        };
        ms as u64
    }
    fn step(&mut self, what: &'static str, without: Option<Act>, with: Option<Act>) {
        let wait_ms = self.pause();
        self.tale.steps.push(Step { wait_ms, without, with, what });
    }
    fn both(&mut self, act: Act) {
        self.step("", Some(act.clone()), Some(act));
    }
    fn hide(&mut self, what: &'static str, act: Act) {
        self.step(what, None, Some(act));
    }
    fn with_others(&mut self, act: Act) {
        if self.tale.others { self.both(act) } else { self.hide("a partner and an agreement", act) }
    }

    fn line(&mut self) -> usize {
        self.lines += 1;
        self.lines
    }
    fn add(&mut self, thing: Thing) -> usize {
        self.tale.things.push(thing);
        self.tale.things.len() - 1
    }
    fn plain(&mut self, owner: usize, kind: Kind, hidden: bool) -> Thing {
        let line = self.line();
        let (of, file) = (None, None);
        Thing {
            owner,
            kind,
            line,
            amends: None,
            of,
            serviceable: true,
            never: false,
            red: false,
            file,
            hidden,
            gone: false,
        }
    }
    fn some(&mut self, wanted: impl Fn(&Thing) -> bool) -> Option<usize> {
        let fit: Vec<usize> = (0..self.tale.things.len()).filter(|n| wanted(&self.tale.things[*n])).collect();
        self.chance.pick(&fit).copied()
    }
    fn line_of(&mut self, wanted: impl Fn(&Thing) -> bool) -> Option<usize> {
        self.some(wanted).map(|n| self.tale.things[n].line)
    }

    /// A record of the node that the observer is given.
    fn visible_thing(&mut self) -> usize {
        let (kind, nowhere) = (
            *self.chance.pick(&[Kind::Item, Kind::Item, Kind::Event, Kind::Attachment]).unwrap_or(&Kind::Item),
            self.chance.one_in(6),
        );
        let mut thing = self.plain(NODE, kind, false);
        thing.of = match kind {
            _ if nowhere => Some(self.line()),
            // What it refers to may be hidden, or not be there at all: then nothing says so.
            Kind::Item => {
                self.line_of(|t| t.owner == NODE && t.kind == Kind::Event).filter(|_| !thing.line.is_multiple_of(3))
            }
            Kind::Attachment => self.line_of(|t| t.owner == NODE && t.kind == Kind::Item).or(Some(thing.line)),
            _ => None,
        };
        let large = self.chance.one_in(40);
        thing.file = (kind == Kind::Attachment)
            .then(|| ("stripped", if large { (1 << 20) + 17 } else { 1 + self.chance.below(3_000) }));
        self.add(thing)
    }

    /// A record that the observer is not given, whatever people decide at the gate.
    fn hidden_thing(&mut self, owner: usize) -> usize {
        let kinds = [Kind::Item, Kind::Event, Kind::Attachment, Kind::Party, Kind::Link, Kind::Item];
        // Of others the node is given items.
        let kind = if owner == NODE { *self.chance.pick(&kinds).unwrap_or(&Kind::Item) } else { Kind::Item };
        let mut thing = self.plain(owner, kind, true);
        thing.of = match kind {
            Kind::Item => self.line_of(|t| t.owner == owner && t.kind == Kind::Event),
            Kind::Attachment | Kind::Link => {
                self.line_of(|t| t.owner == owner && t.kind == Kind::Item).or(Some(thing.line))
            }
            _ => None,
        };
        match kind {
            Kind::Item if self.chance.one_in(3) => thing.never = true,
            Kind::Item if owner == NODE && self.chance.one_in(3) => thing.red = true,
            Kind::Item => thing.serviceable = owner != NODE,
            Kind::Event => thing.never = true,
            Kind::Attachment if self.chance.one_in(3) => {
                thing.never = true;
                thing.file = Some(("stripped", 1 + self.chance.below(3_000)));
            }
            // The same bytes as a file that is given, now and then.
            Kind::Attachment => {
                let given = self.some(|t| t.file.is_some_and(|f| f.0 == "stripped") && !t.hidden);
                let bytes = given.and_then(|n| self.tale.things[n].file).map_or(77, |file| file.1);
                thing.file = Some(("original", bytes));
            }
            _ => {}
        }
        self.add(thing)
    }

    /// Hidden records are kept, reviewed and released.
    fn pass(&mut self, what: &'static str, things: Vec<usize>) {
        self.hide(what, Act::Keep(things.clone()));
        self.hide(what, Act::Gate(things, Review::Verified, true));
    }

    /// What both see.
    fn seen(&mut self) {
        let visible = |t: &Thing| t.owner == NODE && !t.hidden && !t.gone;
        match self.chance.below(28) {
            // Only where both worlds have others: what goes on there is seen by its originator.
            23..26 if self.tale.others && !self.apart => {
                let by = if self.chance.one_in(2) { OBSERVER } else { NODE };
                let owner = OBSERVER + NODE - by;
                let fit = |t: &Thing| t.owner == owner && !t.hidden && !t.gone && t.kind == Kind::Item;
                let Some(thing) = self.some(fit).or_else(|| (owner == OBSERVER).then(|| self.of_the_observer())) else {
                    return;
                };
                let yes = !self.chance.one_in(4);
                self.both(Act::Grant { by, thing, to: OTHER, yes });
                self.goes_on |= owner == OBSERVER;
                if owner == OBSERVER && self.chance.one_in(2) {
                    self.both(Act::Recall(vec![thing], Asks::Erase));
                }
            }
            21 | 22 => {
                let (one_way, again) = (self.chance.one_in(4), self.chance.one_in(4));
                self.both(Act::Bundle(one_way, again));
            }
            20 | 26 | 27 => self.closed_on_its_way(),
            0..7 => self.give(),
            7 | 8 => {
                let Some(before) = self.some(|t| visible(t) && t.amends.is_none() && t.kind != Kind::Attachment) else {
                    return;
                };
                let amendment = Thing { amends: Some(before), ..self.tale.things[before].clone() };
                let amendment = self.add(amendment);
                self.both(Act::Keep(vec![amendment]));
                self.both(Act::Gate(vec![amendment], Review::Reviewed, true));
            }
            9 => {
                let Some(thing) = self.some(visible) else { return };
                let to =
                    *self.chance.pick(&[Review::Refuted, Review::Verified, Review::Draft]).unwrap_or(&Review::Refuted);
                self.both(Act::Gate(vec![thing], to, false));
            }
            10 => self.withdraw_for_a_reason(),
            11 => {
                let Some(thing) = self.some(visible) else { return };
                let act = *self.chance.pick(&Asks::ALL).unwrap_or(&Asks::Withdraw);
                self.both(Act::Recall(vec![thing], act));
            }
            12 => {
                self.of_the_observer();
            }
            13 => {
                let Some(thing) = self.some(|t| t.owner == OBSERVER) else { return };
                self.both(Act::Recall(vec![thing], Asks::Erase));
            }
            14 => self.both(Act::Cut),
            15 => {
                let act = if self.chance.one_in(2) { Act::Stall } else { Act::Slow };
                self.both(act.clone());
                for _ in 0..1 + self.chance.below(3) {
                    if self.chance.one_in(2) { self.give() } else { self.unseen() }
                }
                if self.chance.one_in(3) {
                    self.both(Act::Cut);
                }
                self.both(act);
            }
            16 => {
                let variant = self.chance.below(2);
                self.both(Act::Sign(SEEN, variant));
            }
            17 => {
                let by = self.chance.below(2);
                self.both(Act::Stand(SEEN, by, Standing::Suspended));
                // A file is kept back, and may come later.
                self.both(Act::Fetch);
                self.unseen();
                self.both(Act::Stand(SEEN, by, Standing::Active));
            }
            18 => self.both(Act::Restart),
            _ => self.both(Act::Fetch),
        }
    }

    /// The observer gives a record.
    fn of_the_observer(&mut self) -> usize {
        let thing = self.plain(OBSERVER, Kind::Item, false);
        let thing = self.add(thing);
        self.both(Act::Keep(vec![thing]));
        self.both(Act::Gate(vec![thing], Review::Reviewed, true));
        thing
    }

    /// Records are kept, some hidden ones in the same batch, and go.
    fn give(&mut self) {
        let given: Vec<usize> = (0..1 + self.chance.below(3)).map(|_| self.visible_thing()).collect();
        let mut all = given.clone();
        for _ in 0..self.chance.below(3) {
            let hidden = self.hidden_thing(NODE);
            let at = self.chance.below(all.len() + 1);
            all.insert(at, hidden);
        }
        self.step("hidden in one batch with others", Some(Act::Keep(given.clone())), Some(Act::Keep(all.clone())));
        // The hidden ones go through the gate with the others, or stay drafts.
        let drafts = self.chance.one_in(3);
        let gate = |things: Vec<usize>| Some(Act::Gate(things, Review::Reviewed, true));
        self.step("released together", gate(given.clone()), gate(if drafts { given } else { all }));
        if self.chance.one_in(3) {
            self.both(Act::Fetch);
        }
    }

    /// A record is released and refuted before it leaves: an item in one world, a file in the other. Its entry goes as its
    /// hash, which says nothing of what it was; nor does the answer to a request for its file.
    fn closed_on_its_way(&mut self) {
        let what = "closed on its way";
        let plain = |teller: &mut Self, kind| Thing { hidden: true, gone: true, ..teller.plain(NODE, kind, true) };
        let (item, mut file) = (plain(self, Kind::Item), plain(self, Kind::Attachment));
        (file.file, file.of) = (Some(("stripped", 500)), Some(self.line()));
        let (item, file) = (self.add(item), self.add(file));
        self.both(Act::Stall);
        self.step(what, Some(Act::Keep(vec![item])), Some(Act::Keep(vec![file])));
        for (to, goes) in [(Review::Reviewed, true), (Review::Refuted, false)] {
            self.step(what, Some(Act::Gate(vec![item], to, goes)), Some(Act::Gate(vec![file], to, goes)));
        }
        // Between the two it would be given: it is on its way, and nothing keeps it back.
        self.both(Act::Fetch);
        self.both(Act::Stall);
        self.both(Act::Fetch);
    }

    /// A record is withdrawn: because it is refuted, or because a hidden amendment takes its place.
    fn withdraw_for_a_reason(&mut self) {
        let superseded: Vec<usize> = self.tale.things.iter().filter_map(|t| t.amends).collect();
        let last = self.tale.things.len();
        let fit = (0..last).filter(|n| {
            let thing = &self.tale.things[*n];
            thing.owner == NODE
                && !thing.hidden
                && thing.kind == Kind::Item
                && thing.amends.is_none()
                && !superseded.contains(n)
        });
        let fit: Vec<usize> = fit.collect();
        let Some(before) = self.chance.pick(&fit).copied() else { return };
        let amendment =
            Thing { amends: Some(before), hidden: true, serviceable: false, ..self.tale.things[before].clone() };
        let amendment = self.add(amendment);
        self.tale.things[before].gone = true;
        self.hide("a hidden successor", Act::Keep(vec![amendment]));
        let refuted = Act::Gate(vec![before], Review::Refuted, false);
        self.step("a hidden successor", Some(refuted), Some(Act::Gate(vec![amendment], Review::Reviewed, true)));
    }

    /// What one world alone has.
    fn unseen(&mut self) {
        self.turn += 1;
        let hidden = |t: &Thing| t.owner == NODE && t.hidden && !t.gone;
        match self.turn % 17 {
            0 => {
                let drafts: Vec<usize> = (0..1 + self.chance.below(3)).map(|_| self.hidden_thing(NODE)).collect();
                self.hide("drafts", Act::Keep(drafts));
            }
            1 | 2 => {
                let things: Vec<usize> = (0..1 + self.chance.below(4)).map(|_| self.hidden_thing(NODE)).collect();
                self.pass("released to others", things);
            }
            3 => {
                let Some(thing) = self.some(hidden) else { return };
                self.hide("refuted", Act::Gate(vec![thing], Review::Refuted, false));
            }
            4 => {
                let Some(thing) = self.some(hidden) else { return };
                let act = *self.chance.pick(&Asks::ALL).unwrap_or(&Asks::Erase);
                self.hide("recalled", Act::Recall(vec![thing], act));
            }
            5 => {
                let Some(before) = self.some(|t| hidden(t) && t.amends.is_none() && t.kind == Kind::Item) else {
                    return;
                };
                let amendment = Thing { amends: Some(before), ..self.tale.things[before].clone() };
                let amendment = self.add(amendment);
                self.pass("amended", vec![amendment]);
            }
            6 => {
                let Some(before) = self.some(|t| t.owner == NODE && !t.hidden && t.kind != Kind::Attachment) else {
                    return;
                };
                let amendment = Thing { amends: Some(before), hidden: true, ..self.tale.things[before].clone() };
                let amendment = self.add(amendment);
                self.hide("a draft that amends what is seen", Act::Keep(vec![amendment]));
                let to =
                    *self.chance.pick(&[Review::Reviewed, Review::Refuted, Review::Draft]).unwrap_or(&Review::Draft);
                self.hide("a draft that amends what is seen", Act::Gate(vec![amendment], to, false));
            }
            7 => self.second(),
            8 => {
                let Some(thing) = self.some(|t| t.owner == SOURCE) else { return };
                let yes = !self.chance.one_in(4);
                self.hide("passed on by the node", Act::Grant { by: NODE, thing, to: OTHER, yes });
            }
            9 => {
                let Some(thing) = self.some(|t| t.owner == NODE && t.kind == Kind::Item) else { return };
                let yes = !self.chance.one_in(4);
                self.hide("passed on by another", Act::Grant { by: OTHER, thing, to: SOURCE, yes });
            }
            10 => {
                let thing = self.hidden_thing(SOURCE);
                self.pass("received from others", vec![thing]);
            }
            11 => {
                let Some(thing) = self.some(|t| t.owner == SOURCE) else { return };
                let place = !self.chance.one_in(3);
                self.hide("held by law", Act::Hold(thing, place));
            }
            12 => {
                let Some(thing) = self.some(|t| t.owner == SOURCE) else { return };
                let act = *self.chance.pick(&Asks::ALL).unwrap_or(&Asks::Erase);
                self.hide("asked back by others", Act::Recall(vec![thing], act));
            }
            13 => {
                let partner = if self.chance.one_in(2) && !self.goes_on { OTHER } else { SOURCE };
                self.hide("others suspended", Act::Suspend(partner, true));
                self.apart = true;
                self.seen();
                self.apart = false;
                self.hide("others suspended", Act::Suspend(partner, false));
            }
            14 if !self.goes_on => {
                let variant = self.chance.below(2);
                self.hide("another version for others", Act::Sign(WITH_OTHER, variant));
            }
            15 if !self.late => {
                self.late = true;
                self.hide("a partner and an agreement", Act::Pair(NODE, LATE));
                self.hide("a partner and an agreement", Act::Sign(WITH_LATE, 0));
            }
            _ => self.probe(),
        }
    }

    /// A second agreement with others lives and dies.
    fn second(&mut self) {
        let what = "a second agreement with others";
        let act = match self.second {
            None => Act::Sign(SECOND, 0),
            Some(Standing::Active) => Act::Stand(SECOND, 0, Standing::Suspended),
            Some(Standing::Suspended) => Act::Stand(SECOND, 1, Standing::Ended),
            Some(Standing::Ended) => Act::Erase(SECOND),
        };
        self.second = match self.second {
            None => Some(Standing::Active),
            Some(Standing::Active) => Some(Standing::Suspended),
            _ => Some(Standing::Ended),
        };
        self.hide(what, act);
    }

    /// The observer was told by others what to look for.
    fn probe(&mut self) {
        let hidden = self.some(|t| t.hidden && t.owner == NODE && !t.gone);
        let Some(thing) = hidden else { return };
        let probe = match self.chance.below(4) {
            0 => Probe::Recall(thing),
            1 => Probe::Grant(self.tale.things[thing].line),
            2 => Probe::Passed(thing),
            _ => Probe::Standings(if self.chance.one_in(2) { SECOND } else { WITH_OTHER }, 2),
        };
        self.both(Act::Probe(probe));
    }
}
