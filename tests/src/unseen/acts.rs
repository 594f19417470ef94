//! What people do in a world, through the node's own calls. An act that is not possible (a record that was not received yet,
//! an agreement that has ended) changes nothing, and is counted.

use super::{
    Planted,
    tale::{Act, Deal, NODE, OBSERVER, OTHER, Probe, SECOND, SEEN, Thing, WITH_SOURCE},
    view::By,
    world::World,
};
use crate::sim::{Broken, Checked};
use entente_node::{
    agreements,
    bundle::{self, ExportOptions, file},
    onward::{
        answering::{self, Narrowed},
        asking::{self, Wish},
    },
    partners::{self, PartnerState},
    recall::{asking as recalls, ending, hold},
    records::{
        gate,
        keep::{self, New},
    },
    seal::keyring::Partition,
    share::files,
};
use entente_protocol::{
    agreement::{Standing, StandingNotice},
    bundle::Part,
    codec::{self, Bounds},
    grant::{NOTICE_PASSED, NOTICE_REQUEST, Passed, PassedOn, Request, Scope, Told},
    id::{GrantId, LineId, Nonce, RecordId},
    identity::{Purpose, UnconfirmedCard},
    recall::{Act as Asks, NOTICE_RECALLS, Recall, Recalls},
    record::{Draft, HandlingFloor, Record, Reference, SlotSet, kind::Kind},
    session::Notice,
    time::UnixMillis,
    value::Value,
};
use std::{fmt::Write, fs::File};
use zeroize::Zeroizing;

type Done = Checked<bool>;

/// A day that does not come in any tale.
const NEVER_MS: u64 = 900 * 86_400_000;

/// Whether something was done; what people are refused is no finding.
fn done<T, E>(tried: Result<T, E>) -> Done {
    Ok(tried.is_ok())
}

impl World<'_> {
    /// Does it. Whether it was possible.
    pub(super) fn act(&mut self, act: &Act) -> Checked<bool> {
        let done = match act {
            Act::Keep(things) => self.keep(things),
            Act::Gate(things, to, release) => self.gate(things, *to, *release),
            Act::Recall(things, act) => self.recall(things, *act),
            Act::Hold(thing, place) => self.hold(*thing, *place),
            Act::Pair(a, b) => self.pair(*a, *b),
            Act::Sign(deal, variant) => self.sign(*deal, *variant),
            Act::Stand(deal, by, standing) => self.stand(*deal, *by, *standing),
            Act::Suspend(partner, away) => self.suspend(*partner, *away),
            Act::Grant { by, thing, to, yes } => self.grant(*by, *thing, *to, *yes),
            Act::Erase(deal) => self.erase(*deal),
            Act::Cut => {
                self.cut((NODE, OBSERVER));
                Ok(true)
            }
            Act::Stall => {
                self.stalled = !self.stalled;
                Ok(true)
            }
            Act::Slow => {
                self.slow = !self.slow;
                Ok(true)
            }
            Act::Fetch => return self.fetch_all(),
            Act::Bundle(one_way, again) => self.bundle(*one_way, *again),
            Act::Probe(probe) => self.probe(*probe),
            Act::Restart => {
                self.stop(NODE);
                return self.start(NODE).map(|()| true);
            }
        };
        done.map_err(|error| Broken(format!("{act:?}: {error}")))
    }

    fn thing(&self, n: usize) -> &Thing {
        &self.tale.things[n]
    }
    fn line(&self, n: usize) -> LineId {
        LineId::from_bytes(self.keyed("line", n))
    }

    /// The record of a thing, whether it is kept in this world or not.
    pub(super) fn record(&self, n: usize) -> Checked<Record> {
        let thing = self.thing(n);
        let (org, line) = (self.org(thing.owner), self.line(thing.line));
        let not_before = thing.never.then(|| crate::sim::cast::BEGIN.plus(NEVER_MS));
        let mut draft = Draft::new(thing.kind, org, line, HandlingFloor { not_before, ..HandlingFloor::default() });
        let reference = |line| Reference { originator: org, line }.to_value();
        let mut fields = vec![
            ("number", Value::text(self.number(n))),
            ("eval", Value::map([("inf4", Value::Int(2))])),
            ("note", Value::text(format!("for us only, {n}"))),
        ];
        match thing.kind {
            Kind::Item => {
                let condition = if thing.serviceable { "serviceable" } else { "damaged" };
                fields.extend([
                    ("type", Value::text("rifle")),
                    ("condition", Value::text(condition)),
                    ("calibre", Value::text("7.62x39")),
                ]);
                fields.extend(thing.of.map(|event| ("event", reference(self.line(event)))));
            }
            Kind::Event => fields.push(("etype", Value::text("seized"))),
            Kind::Party => fields.extend([("ptype", Value::text("company")), ("name", Value::text("Arms & Sons"))]),
            Kind::Link => {
                let at = self.line(thing.of.unwrap_or_default());
                fields.extend([("rel", Value::text("same-as")), ("from", reference(at)), ("to", reference(line))]);
            }
            _ => {
                let role = thing.file.map_or("stripped", |file| file.0);
                fields.extend([
                    ("of", reference(self.line(thing.of.unwrap_or_default()))),
                    ("role", Value::text(role)),
                    ("media", Value::text("image/jpeg")),
                    ("content", self.manifest(n)?),
                ]);
            }
        }
        // What no clause discloses is another thing, and more of it, where something is hidden.
        if self.with && thing.kind == Kind::Item {
            fields.extend([("family", Value::text("AK")), ("make-raw", Value::text("as it is stamped"))]);
        }
        if thing.red {
            fields.retain(|(name, _)| *name != "family");
            fields.push(("family", Value::text("secret")));
        }
        if let Some(before) = thing.amends {
            fields.push(("supersedes", Value::Bytes(self.record(before)?.id().as_bytes().to_vec())));
        }
        for (name, value) in fields {
            draft.set(name, value)?;
        }
        let (nonce, seed) = (Nonce::from_bytes(self.keyed("nonce", n)), Zeroizing::new(self.keyed("seed", n)));
        Ok(draft.commit(nonce, seed)?)
    }

    /// The evidence number: its own, or what the next of all kept records gets.
    fn number(&self, n: usize) -> String {
        match self.plan.counted {
            true => {
                let place = self.kept.iter().position(|kept| *kept == n).unwrap_or(self.kept.len());
                format!("N-{place:06}")
            }
            false => format!("N-{n:06}"),
        }
    }

    fn content(&self, n: usize) -> Vec<u8> {
        let bytes = self.thing(n).file.map_or(0, |file| file.1);
        // Files of one length are one file.
        vec![u8::try_from(bytes % 251).unwrap_or(0); bytes]
    }

    fn manifest(&self, n: usize) -> Checked<Value> {
        let mut manifest = entente_protocol::attachment::ManifestBuilder::new();
        manifest.update(&self.content(n))?;
        let manifest = manifest.finish();
        let (size, sha256, chunk_root) = (manifest.size, manifest.sha256, manifest.chunk_root);
        Ok(entente_protocol::attachment::Content { size, sha256, chunk_root }.to_value())
    }

    /// One batch of one organisation.
    fn keep(&mut self, things: &[usize]) -> Done {
        let mut records = Vec::new();
        for n in things {
            let (record, amends) = (self.record(*n)?, self.thing(*n).amends.is_some());
            records.push(New { record, amends, import: None });
            self.kept.push(*n);
        }
        let Some(owner) = things.first().map(|n| self.thing(*n).owner) else { return Ok(false) };
        let node = self.node(owner)?;
        let mut rows = Vec::new();
        for n in things.iter().filter(|n| self.thing(**n).file.is_some()) {
            rows.push(files::put(node, Partition::Own, &mut self.content(*n).as_slice())?);
        }
        let mut txn = node.holdings.begin();
        for row in &rows {
            files::keep(&mut txn, Partition::Own, row)?;
        }
        keep::add(node, &mut txn, records)?;
        txn.commit()?;
        Ok(true)
    }

    fn ids(&self, things: &[usize]) -> Checked<Vec<RecordId>> {
        things.iter().filter(|n| self.kept.contains(n)).map(|n| Ok(self.record(*n)?.id())).collect()
    }

    fn gate(&mut self, things: &[usize], to: gate::Review, release: bool) -> Done {
        let ids = self.ids(things)?;
        let Some(owner) = things.first().map(|n| self.thing(*n).owner) else { return Ok(false) };
        gate::review(self.node(owner)?, &ids, to)?;
        if !release {
            return Ok(!ids.is_empty());
        }
        // Planted: a session looks between two records of one release, where something hidden stands between them.
        if self.plan.planted == Some(Planted::RunCut) {
            for id in &ids {
                gate::release(self.node(owner)?, &[*id])?;
                if things.iter().any(|n| self.thing(*n).hidden) {
                    self.settle()?;
                }
            }
            return Ok(true);
        }
        let outcome = gate::release(self.node(owner)?, &ids)?;
        Ok(outcome.refused.is_empty() && !ids.is_empty())
    }

    fn recall(&mut self, things: &[usize], act: Asks) -> Done {
        let ids = self.ids(things)?;
        let Some(owner) = things.first().map(|n| self.thing(*n).owner) else { return Ok(false) };
        let node = self.node(owner)?;
        let Ok(proposed) = recalls::propose(node, &ids, act, ("it was wrong", "one of us"), &mut |_| {}) else {
            return Ok(false);
        };
        let number = proposed["id"].as_str().unwrap_or_default().parse()?;
        recalls::confirm(node, number, "another", &mut |_| {})?;
        Ok(true)
    }

    fn hold(&mut self, n: usize, place: bool) -> Done {
        let (node, id) = (self.node(NODE)?, self.record(n)?.id().to_string());
        done(match place {
            true => hold::place(node, &id, "a court asks for it", "one of us"),
            false => hold::lift(node, &id, "another"),
        })
    }

    fn pair(&mut self, a: usize, b: usize) -> Done {
        for (here, there) in [(a, b), (b, a)] {
            let card = &self.cast.organisations[there].card;
            let node = self.node(here)?;
            partners::add(node, UnconfirmedCard::from_bytes(card.bytes())?, &card.words().to_string())?;
            node.reload()?;
        }
        self.pairs.insert((a.min(b), a.max(b)));
        Ok(true)
    }

    fn suspend(&mut self, partner: usize, away: bool) -> Done {
        if !self.pairs.contains(&(NODE, partner)) {
            return Ok(false);
        }
        let state = if away { PartnerState::Suspended } else { PartnerState::Active };
        partners::set_state(self.node(NODE)?, self.org(partner), state)?;
        self.node(NODE)?.reload()?;
        Ok(true)
    }

    /// Both parties sign by file.
    fn sign(&mut self, deal: Deal, variant: usize) -> Done {
        let [first, other] = deal.parties;
        let id = self.agreement(deal);
        let before = {
            let rules = self.node(first)?.rules();
            let held = rules.agreements.get(id);
            held.and_then(|held| held.in_force.as_ref()).map(|in_force| in_force.digest)
        };
        let version = self.versions.get(&deal.number).copied().unwrap_or(0) + 1;
        let text = self.text(deal, variant, version, before.map(|digest| digest.to_string()));
        let path = |name: &str| self.cast.path(&format!("{}-{}-{}-{name}", self.seed, self.with, deal.number));
        let (draft, one, two) = (path("draft.toml"), path("one"), path("two"));
        std::fs::write(&draft, text)?;
        let (here, there) = (self.node(first)?, self.node(other)?);
        let signed = agreements::sign_file(here, &draft, &one)
            .and_then(|_| agreements::sign_file(there, &one, &two))
            .and_then(|_| agreements::add_file(here, &two));
        for left in [&draft, &one, &two] {
            drop(std::fs::remove_file(left));
        }
        if signed.is_ok() {
            self.versions.insert(deal.number, version);
        }
        done(signed)
    }

    /// What an agreement says. The observer's lets items in working order go, events and stripped files; the others more.
    fn text(&self, deal: Deal, variant: usize, version: u64, before: Option<String>) -> String {
        let handle = |n: usize| self.cast.organisations[n].handle.as_str();
        let [first, other] = deal.parties;
        let mut text = format!(
            "language = 1\nid = \"{}\"\ntitle = \"Number {}\"\nversion = {version}\nbasis = {{ text = \"letter\" }}\n\
             purposes = [\"tracing\"]\nfrom = \"2026-01-01\"\nuntil = \"2036-12-31\"\nnotice-days = 0\n",
            self.agreement(deal),
            deal.number
        );
        if let Some(hours) = self.tale.lease.filter(|_| deal == SEEN) {
            let _ = writeln!(text, "lease-hours = {hours}");
        }
        if let Some(before) = before {
            let _ = writeln!(text, "predecessor = \"{before}\"");
        }
        for n in [first, other] {
            let _ = write!(
                text,
                "[[party]]\nhandle = \"{0}\"\nname = \"{1}\"\nid = \"{2}\"\n",
                handle(n),
                handle(n).to_uppercase(),
                self.org(n)
            );
        }
        let amended = if variant == 0 { ", \"supersedes\"" } else { "" };
        let linked = if variant == 0 { ", \"event\", \"supersedes\"" } else { "" };
        // With others one side gives: it costs less, and they have nothing else to tell.
        let gives = [(1, first, other), (2, other, first)]
            .into_iter()
            .filter(|(n, ..)| deal == SEEN || (*n == 2) == (deal == WITH_SOURCE));
        for (n, from, to) in gives {
            let mut clause = |name: &str, rest: &str| {
                let _ = write!(
                    text,
                    "[[clause]]\nname = \"{name}-{n}\"\nfrom = \"{}\"\nto = [\"{}\"]\nonward = \"with-grant\"\n\
                     retention-days = 3000\n{rest}\n",
                    handle(from),
                    handle(to)
                );
            };
            let working = match deal == SEEN {
                true => "when = 'resource has condition && resource.condition == \"serviceable\"'\n",
                false => "",
            };
            // What the observer gave goes on under the first agreement alone, which both worlds have: it is told under which.
            if deal != SECOND {
                clause(
                    "items",
                    &format!("{working}disclose.item = [\"number\", \"eval\", \"type\", \"calibre\"{linked}]"),
                );
            }
            if deal == SEEN && n == 2 {
                continue;
            }
            clause("events", &format!("disclose.event = [\"number\", \"eval\", \"etype\"{amended}]"));
            clause(
                "files",
                "when = 'resource.role == \"stripped\"'\nfiles = [\"stripped\"]\n\
                 disclose.attachment = [\"number\", \"eval\", \"of\", \"role\", \"media\", \"content\"]",
            );
        }
        text
    }

    fn stand(&mut self, deal: Deal, by: usize, standing: Standing) -> Done {
        let node = self.node(deal.parties[by])?;
        done(agreements::state(node, &self.agreement(deal).to_string(), standing))
    }

    fn erase(&mut self, deal: Deal) -> Done {
        let id = self.agreement(deal).to_string();
        let mut erased = false;
        for n in deal.parties {
            erased |= ending::erase(self.node(n)?, &id, ("one of us", &[]), &mut |_| {}).is_ok();
        }
        Ok(erased)
    }

    /// Asked, heard, answered, and gone on.
    fn grant(&mut self, by: usize, n: usize, to: usize, yes: bool) -> Done {
        let (owner, record) = (self.thing(n).owner, self.record(n)?.id());
        let wish = Wish {
            to: self.cast.organisations[to].handle.clone(),
            every: None,
            fields: Vec::new(),
            purposes: Vec::new(),
            days: 20,
            until: None,
            reason: "the panel asks for it".to_owned(),
            by: "one of us".to_owned(),
        };
        if asking::ask(self.node(by)?, &[record], &wish).is_err() {
            return Ok(false);
        }
        self.settle()?;
        let asked = asking::list(self.node(owner)?)?;
        let number = asked
            .as_array()
            .into_iter()
            .flatten()
            .filter(|row| row["partner"] == self.cast.organisations[by].handle.as_str());
        let Some(number) = number.filter_map(|row| row["id"].as_str()?.parse().ok()).max() else { return Ok(false) };
        let narrowed = Narrowed::default();
        done(answering::answer(self.node(owner)?, number, yes.then_some(&narrowed), "another"))
    }

    /// A bundle is made for the observer, who opens it, and takes it.
    fn bundle(&mut self, one_way: bool, again: bool) -> Done {
        let output = self.cast.path(&format!("{}-{}.bundle", self.seed, self.with));
        let to = self.org(OBSERVER).to_string();
        let options = ExportOptions { to, output: output.clone(), one_way, again, ..ExportOptions::default() };
        if bundle::export(self.node(NODE)?, &options, &mut |_| {}).is_err() {
            return Ok(false);
        }
        let (from, to) = (&self.cast.organisations[NODE], &self.cast.organisations[OBSERVER]);
        let file = File::open(&output)?;
        let (mut reader, opening) = file::Reader::open(&file, &to.opens())?;
        let key = |kid| from.card.listed(Purpose::Runs, kid).map(|listed| listed.key.clone());
        let (header, mut opened) = file::verified(&opening, (from.org, to.org), key)?;
        self.observed.bundle(self.now, header.number, header.one_way);
        while !opened.has_ended() {
            match reader.part(&mut opened)? {
                Part::Message(lane, content) => self.observed.frame(self.now, By::Node, lane, &content),
                Part::File(head) => {
                    let reply = codec::to_vec(&head, Bounds::bytes(1 << 20))?;
                    self.observed.file(self.now, "of a bundle".to_owned(), &reply, Vec::new());
                }
                Part::Chunk(chunk) => self.observed.file(self.now, String::new(), &[], vec![chunk.len()]),
                Part::End => {}
            }
        }
        let taken = bundle::import(self.node(OBSERVER)?, &output, &mut |_| {});
        std::fs::remove_file(&output)?;
        done(taken)
    }

    /// What the observer's node says with what it was told by others: the same in both worlds.
    fn probe(&mut self, probe: Probe) -> Done {
        let (org, now) = (self.org(OBSERVER), self.now);
        let notice = match probe {
            Probe::Recall(n) => {
                let recall = Recall::new(Asks::Erase, org, self.record(n)?.id(), now);
                let (_, signed) = recall.sign(&self.node(OBSERVER)?.keys.records)?;
                Notice { kind: NOTICE_RECALLS, content: Recalls::own(vec![signed]).to_bytes()? }
            }
            Probe::Grant(line) => {
                let lines = vec![self.line(line)];
                let slots = SlotSet::EMPTY.with(0).with(8);
                let until = now.plus(NEVER_MS);
                let scope = Scope { kind: Kind::Item, lines, slots, purposes: Vec::new(), retention_days: 20, until };
                let request = Request { scope, to: self.org(OTHER), time: now, reason: "x".to_owned(), holder: org };
                let signed = request.sign(&self.node(OBSERVER)?.keys.runs)?;
                Notice { kind: NOTICE_REQUEST, content: signed.to_bytes()? }
            }
            Probe::Passed(n) => {
                let (grant, agreement) = (GrantId::from_bytes([7; 32]), self.agreement(super::tale::WITH_OTHER));
                let on = PassedOn { to: self.org(OTHER), gone: false, grant, record: self.record(n)?.id(), agreement };
                let passed = Passed { v: 1, time: now, holder: org, passed: vec![on] };
                let signed = passed.sign(&self.node(OBSERVER)?.keys.runs)?;
                Notice { kind: NOTICE_PASSED, content: Told { cards: Vec::new(), signed }.to_bytes()? }
            }
            Probe::Standings(deal, times) => return self.standings(deal, times),
        };
        self.observer_says(|session| Ok(session.send_notice(notice)?))
    }

    /// The observer states standings in an agreement to which it is no party.
    fn standings(&mut self, deal: Deal, times: u32) -> Done {
        for counter in 0..u64::from(times) {
            let (party, agreement) = (self.org(OBSERVER), self.agreement(deal));
            let time = UnixMillis(self.now.0 + counter);
            let notice = StandingNotice { time, party, counter, standing: Standing::Suspended, agreement };
            let signed = notice.sign(&self.node(OBSERVER)?.keys.agreements)?;
            if !self.observer_says(|session| Ok(session.send_standing(signed).map(drop)?))? {
                return Ok(false);
            }
            self.settle()?;
        }
        Ok(true)
    }
}
