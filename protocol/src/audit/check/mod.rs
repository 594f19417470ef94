//! What an export proves: read once to see that it is whole, and once to follow what it holds.
//!
//! In memory stand digests, ids and times, a few for each event, run and record; never an item longer than it is looked
//! at. What does not hold is noted with whose it is and where, and the rest is followed all the same.

mod coverage;
mod feeds;
mod gate;
mod journal;
mod kept;
mod log;

use super::{
    file::{AuditFault, Reader},
    item::{Head, Item},
    report::{Notes, Report, Test},
};
use crate::{
    cose::SignatureFault,
    custody::checkpoint::{Checkpoint, UnverifiedCheckpoint},
    id::{KeyId, OrgId},
    identity::{CardKey, Purpose},
    limits,
    package::{
        Confirmed, Name, Pins, Source,
        keys::{Parties, counts},
    },
    primitive::PublicKey,
    time::UnixMillis,
};

/// What every test needs to know.
struct Known {
    head: Head,
    parties: Parties,
    /// Everybody who may have witnessed.
    witnesses: log::Witnesses,
    /// Heads that the reader kept, of this log.
    kept: Vec<Checkpoint>,
}

impl Known {
    fn listed(&self, org: OrgId, purpose: Purpose, kid: KeyId) -> Option<&CardKey> {
        self.parties.listed(org, purpose, kid, Name::Manifest).ok().flatten()
    }
    /// A key that counts for what states this time.
    fn key(&self, org: OrgId, purpose: Purpose, kid: KeyId, at: UnixMillis) -> Option<PublicKey> {
        self.listed(org, purpose, kid).filter(|key| counts(key, at, None)).map(|key| key.key.clone())
    }
    fn maker(&self) -> OrgId {
        self.head.maker
    }
    /// Whether somebody has compared its card.
    fn is_compared(&self, org: OrgId) -> bool {
        self.parties.get(org).is_some_and(|known| known.confirmed != Confirmed::ByNobody)
    }
    /// What people call an organisation.
    fn name(&self, org: OrgId) -> String {
        self.parties.get(org).map_or_else(|| org.short(), |known| known.card.payload().handle.clone())
    }
}

/// What an export proves; `kept` are heads of the same log that its reader has from before. Refused where it is not what its
/// maker signed; a fault only where it could not be read.
pub fn verify<S: Source>(
    source: S,
    pins: &Pins,
    kept: &[UnverifiedCheckpoint],
    now: UnixMillis,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, AuditFault> {
    let total = source.len().saturating_mul(2);
    let (mut known, source) = whole(source, pins, now, &mut |done| progress(done, total))?;
    known.kept = kept::verified(&known, kept)?;
    let mut walk = Walk::new(known);
    let mut reader = Reader::new(source)?;
    while let Some(item) = reader.next_item()? {
        walk.handle_item(item);
        progress(total / 2 + reader.done(), total);
    }
    Ok(walk.finish())
}

/// Whether the file is what its maker signed.
fn whole<S: Source>(
    source: S,
    pins: &Pins,
    now: UnixMillis,
    progress: &mut dyn FnMut(u64),
) -> Result<(Known, S), AuditFault> {
    let mut reader = Reader::new(source)?;
    let Some(Item::Head(head)) = reader.next_item()? else { return Err(AuditFault::End) };
    let (mut parties, mut cards) = (Parties::default(), 0u32);
    while let Some(item) = reader.next_item()? {
        if let Item::Card(bytes) = &item {
            cards = cards.saturating_add(1);
            parties.push(Name::Card(cards), bytes)?;
        }
        progress(reader.done());
    }
    parties.pin(pins)?;
    let (signed, source) = reader.signed()?;
    let witnesses = log::Witnesses::of(&parties, head.maker);
    let known = Known { head, parties, witnesses, kept: Vec::new() };
    let kid = signed.signature.parse()?.kid();
    let key = known.key(known.maker(), Purpose::Runs, kid, known.head.time).ok_or(SignatureFault::Key)?;
    signed.verify(&key)?;
    if known.head.time > now.plus(limits::CLOCK_SKEW_MS_MAX) {
        return Err(AuditFault::Time);
    }
    Ok((known, source))
}

/// One walk over the items.
struct Walk {
    known: Known,
    notes: Notes,
    journal: journal::Events,
    logs: log::Logs,
    gate: gate::Events,
    recalls: coverage::Recalls,
    agreements: coverage::Agreements,
    feeds: feeds::Feeds,
}

impl Walk {
    fn new(known: Known) -> Self {
        let mut notes = Notes::default();
        for test in Test::ALL {
            notes.checks.entry(test).or_default();
        }
        Self {
            journal: journal::Events::new(known.head.store),
            notes,
            logs: log::Logs::new(&known.kept),
            gate: gate::Events::default(),
            recalls: coverage::Recalls::default(),
            agreements: coverage::Agreements::default(),
            feeds: feeds::Feeds::default(),
            known,
        }
    }

    fn handle_item(&mut self, item: Item) {
        let Self { known, notes, .. } = self;
        match item {
            Item::Head(_) | Item::Card(_) | Item::End(_) => {}
            Item::Person(person) => self.gate.person(person),
            Item::Agreement(bytes) => self.agreements.version(known, notes, &bytes),
            Item::Standing(stands) => self.agreements.standing(known, notes, &stands),
            Item::Events(events) => {
                for bytes in events {
                    self.journal.event(known, notes, &bytes);
                }
            }
            Item::Batch(head) => self.journal.batch(known, notes, &head),
            Item::Log(start) => self.logs.begin(known, notes, &self.journal, &start),
            Item::LogHead(note) => self.logs.head(known, notes, &note),
            Item::Leaves(leaves) => self.logs.leaves(known, notes, &self.journal, &leaves),
            Item::Gate(signed) => self.gate.event(known, notes, &signed),
            Item::Recall(signed) => self.recalls.recall(known, notes, &signed),
            Item::Answer(answered) => self.recalls.answer(known, notes, &answered),
            Item::Feed(feed) => self.feeds.begin(known, notes, feed),
            Item::Run(sent) => {
                let seen = self.feeds.run(known, notes, &mut self.journal, &sent);
                if let Some((feed, run)) = seen {
                    let (agreements, recalls) = (&mut self.agreements, &mut self.recalls);
                    let mut judge =
                        coverage::Judge { known, agreements, recalls, gate: &self.gate, journal: &self.journal };
                    judge.run(notes, &feed, &run, &sent);
                }
            }
            Item::Receipt(signed) => self.feeds.receipt(known, notes, &signed),
        }
    }

    fn finish(self) -> Report {
        let Self { known, mut notes, journal, mut logs, recalls, agreements, mut feeds, .. } = self;
        journal.finish(&known, &mut notes);
        let log::Told { intervals, witnesses, head } = logs.finish(&known, &mut notes, &journal);
        let feeds = feeds.finish(&known, &mut notes);
        recalls.finish(&known, &mut notes);
        Report {
            maker: known.head.maker,
            store: known.head.store,
            made: known.head.time,
            parties: known.parties.said(),
            events: journal.len(),
            intervals,
            witnesses,
            head,
            agreements: agreements.seen(),
            feeds,
            checks: notes.checks,
            findings: notes.findings,
            more: notes.more,
        }
    }
}
