//! Whether every release was allowed: by a clause of an agreement in force, by people at the gate, and by no recall.

use super::{
    super::{
        item::{Answered, Of, Released, SentRun, Stands},
        report::AgreementSeen,
    },
    Known, Notes, Test,
    feeds::{feed_place, is_given_back},
    gate, journal,
};
use crate::{
    agreement::{Agreement, Duty, SignedAgreement, Standing, StandingNotice},
    cose::SignatureBytes,
    custody::proof::logged_batch,
    feed::{Entry, FeedKey, Run},
    id::{AgreementDigest, AgreementId, OrgId, RecallId, RecordId},
    identity::Purpose,
    limits,
    recall::{AnswerState, Answers, Recall},
    record::{Body, SlotSet, Tlp, kind::Kind},
    time::UnixMillis,
};
use std::{collections::BTreeMap, sync::Arc};

/// Versions that every party signed, and how the parties stand.
#[derive(Default)]
pub struct Agreements {
    versions: BTreeMap<AgreementDigest, Arc<Agreement>>,
    /// The newest word of each party.
    standings: BTreeMap<(AgreementId, OrgId), (StandingNotice, UnixMillis)>,
    seen: BTreeMap<AgreementId, AgreementSeen>,
    /// The newest version under which each feed released so far.
    newest: BTreeMap<(AgreementId, OrgId), u64>,
}

impl Agreements {
    /// A version.
    pub fn version(&mut self, known: &Known, notes: &mut Notes, bytes: &[u8]) {
        notes.looked(Test::Agreements);
        let key = |org, kid| known.listed(org, Purpose::Agreements, kid).map(|key| key.key.clone());
        match SignedAgreement::from_bytes(bytes).and_then(|signed| signed.complete(key)) {
            Ok(Some(version)) => {
                self.seen.entry(version.agreement.id).or_default().versions += 1;
                self.versions.insert(version.digest, Arc::new(version.agreement));
            }
            Ok(None) => {
                notes.wrong(Test::Agreements, known.maker(), "agreements", "a version that not every party signed");
            }
            Err(fault) => notes.wrong(Test::Agreements, known.maker(), "agreements", fault),
        }
    }

    /// How a party stands.
    pub fn standing(&mut self, known: &Known, notes: &mut Notes, stands: &Stands) {
        notes.looked(Test::Standing);
        let key = |kid| known.listed(stands.party, Purpose::Agreements, kid).map(|key| key.key.clone());
        match StandingNotice::verify(&stands.notice, stands.party, key) {
            Ok(notice) => {
                let known = self.standings.entry((notice.agreement, notice.party));
                let known = known.or_insert_with(|| (notice.clone(), stands.at));
                // Of two the later counts, but what has ended has ended (AGR-5).
                let over = |notice: &StandingNotice| (notice.standing == Standing::Ended, notice.counter);
                if over(&known.0) < over(&notice) {
                    *known = (notice, stands.at);
                }
            }
            Err(fault) => notes.wrong(Test::Standing, stands.party, "standing", fault),
        }
    }

    /// What was seen of each.
    pub fn seen(self) -> BTreeMap<AgreementId, AgreementSeen> {
        self.seen
    }

    /// Why nothing could be released under a version in this run, if so.
    fn bars(&mut self, feed: &FeedKey, run: &Run) -> Result<Arc<Agreement>, &'static str> {
        let version = self.versions.get(&run.version);
        let agreement = version.ok_or("the version that it came under is not shown, or not signed by every party")?;
        let newest = self.newest.entry((feed.agreement, feed.receiver)).or_default();
        let older = agreement.version < *newest;
        *newest = agreement.version.max(*newest);
        if agreement.id != feed.agreement {
            return Err("the version that it names is of another agreement");
        }
        if agreement.party(feed.sender).is_none() || agreement.party(feed.receiver).is_none() {
            return Err("sender and receiver are not both party to the agreement");
        }
        if run.time < agreement.from || run.time >= agreement.until {
            return Err("the agreement was not in force when it was signed");
        }
        if older {
            return Err("a later version was in force already");
        }
        Ok(agreement.clone())
    }

    /// A party by whose word nothing was to be released any more.
    fn stopped(&self, agreement: &Agreement, at: UnixMillis) -> Option<(OrgId, Standing)> {
        let mut of = agreement.parties.iter().filter_map(|party| self.standings.get(&(agreement.id, party.id)));
        let stops =
            |(notice, since): &&(StandingNotice, UnixMillis)| notice.standing != Standing::Active && *since < at;
        of.find(stops).map(|(notice, _)| (notice.party, notice.standing))
    }
}

/// Recalls of the maker's, who was shown what was recalled, and what they answered.
#[derive(Default)]
pub struct Recalls {
    by_record: BTreeMap<RecordId, (RecallId, UnixMillis)>,
    /// The latest of each.
    answers: BTreeMap<(RecallId, OrgId), (UnixMillis, AnswerState)>,
    asked: BTreeMap<(RecallId, OrgId), RecordId>,
}

impl Recalls {
    /// A recall.
    pub fn recall(&mut self, known: &Known, notes: &mut Notes, signed: &SignatureBytes) {
        notes.looked(Test::Recalls);
        match Recall::verify(signed, |org, kid, at| known.key(org, Purpose::Records, kid, at)) {
            Ok((id, recall)) if recall.originator == known.maker() => {
                let first = self.by_record.entry(recall.record).or_insert((id, recall.time));
                if recall.time < first.1 {
                    *first = (id, recall.time);
                }
            }
            Ok(_) => notes.wrong(Test::Recalls, known.maker(), "recalls", "a recall is not the maker's"),
            Err(fault) => notes.wrong(Test::Recalls, known.maker(), "recalls", fault),
        }
    }

    /// A holder's answers.
    pub fn answer(&mut self, known: &Known, notes: &mut Notes, answered: &Answered) {
        let key = |kid, at| known.key(answered.holder, Purpose::Runs, kid, at);
        match Answers::verify(&answered.signed, answered.holder, key) {
            Ok(answers) => {
                for answer in answers.answers {
                    let said = (answers.time, answer.state);
                    let kept = self.answers.entry((answer.recall, answered.holder)).or_insert(said);
                    if kept.0 <= said.0 {
                        *kept = said;
                    }
                }
            }
            Err(fault) => notes.wrong(Test::Recalls, answered.holder, "answers to recalls", fault),
        }
    }

    /// Who did not answer for good.
    pub fn finish(&self, known: &Known, notes: &mut Notes) {
        for ((recall, holder), record) in &self.asked {
            notes.looked(Test::Recalls);
            let place = format!("record {}", record.short());
            match self.answers.get(&(*recall, *holder)) {
                Some((_, state)) if state.is_final() => {}
                Some((_, state)) => {
                    let says = format!("{} answered its recall with `{}` so far", known.name(*holder), state.name());
                    notes.open(Test::Recalls, *holder, place, says);
                }
                None => {
                    let says = format!("{} has not answered its recall", known.name(*holder));
                    notes.open(Test::Recalls, *holder, place, says);
                }
            }
        }
    }
}

/// Judges what a run released.
pub struct Judge<'a> {
    pub known: &'a Known,
    pub agreements: &'a mut Agreements,
    pub recalls: &'a mut Recalls,
    pub gate: &'a gate::Events,
    pub journal: &'a journal::Events,
}

/// A record, as far as its export says what it is.
struct What {
    kind: Option<Kind>,
    originator: OrgId,
    red: bool,
}

impl Judge<'_> {
    /// Every release of a run.
    pub fn run(&mut self, notes: &mut Notes, feed: &FeedKey, run: &Run, sent: &SentRun) {
        let (known, place) = (self.known, feed_place(self.known, feed.receiver, feed.agreement));
        if is_given_back(sent) {
            return notes.open(
                Test::Clauses,
                known.maker(),
                place,
                "of a run that was given back the entries are not kept",
            );
        }
        let mut attested: BTreeMap<u16, (OrgId, Vec<(u32, RecordId)>)> = BTreeMap::new();
        let mut version: Option<Result<Arc<Agreement>, ()>> = None;
        for (number, entry) in (run.before.length..).zip(&sent.entries) {
            let place = format!("{place}, entry {number}");
            let record = match (Entry::from_bytes(&entry.entry), &entry.release) {
                (Ok(Entry::Release { record, .. }), Some(_)) => record,
                (Ok(Entry::Withdrawal { .. } | Entry::Refusal { .. }), None) => continue,
                _ => {
                    notes.wrong(Test::Clauses, known.maker(), place, "what is said of it is not what the entry is");
                    continue;
                }
            };
            let Some(released) = &entry.release else { continue };
            self.agreements.seen.entry(feed.agreement).or_default().releases += 1;
            if version.is_none() {
                version = Some(self.version(notes, feed, run, &place));
            }
            let Some(what) = self.what(notes, record, released, &place) else { continue };
            if let Some(Ok(agreement)) = &version {
                notes.looked(Test::Clauses);
                if let Some(why) = uncovered(agreement, feed, released, &what) {
                    notes.wrong(Test::Clauses, known.maker(), &place, why);
                }
            }
            self.gate(notes, feed, run, (record, what.originator), &place);
            match released.place {
                Some((batch, position)) => {
                    attested.entry(batch).or_insert((what.originator, Vec::new())).1.push((position, record));
                }
                None if what.originator == known.maker() => {
                    notes.wrong(Test::Batches, known.maker(), &place, "nothing is shown that attests it");
                }
                None => notes.open(Test::Batches, what.originator, &place, "what attests it is with its originator"),
            }
        }
        for (batch, (originator, records)) in attested {
            self.batch(notes, sent, batch, (originator, records), &place);
        }
    }

    fn version(&mut self, notes: &mut Notes, feed: &FeedKey, run: &Run, place: &str) -> Result<Arc<Agreement>, ()> {
        let maker = self.known.maker();
        notes.looked(Test::Agreements);
        let agreement = match self.agreements.bars(feed, run) {
            Ok(agreement) => agreement,
            Err(why) => {
                notes.wrong(Test::Agreements, maker, place, why);
                return Err(());
            }
        };
        notes.looked(Test::Standing);
        if let Some((party, standing)) = self.agreements.stopped(&agreement, run.time) {
            let state = if standing == Standing::Ended { "ended" } else { "suspended" };
            let says = format!("{} had {state} the agreement when it was signed", self.known.name(party));
            notes.wrong(Test::Standing, maker, place, says);
        }
        Ok(agreement)
    }

    /// What a record is. Its body gives its id, so nobody can say it is something else.
    fn what(&self, notes: &mut Notes, record: RecordId, released: &Released, place: &str) -> Option<What> {
        let maker = self.known.maker();
        match &released.of {
            Of::Body(bytes) => match Body::from_bytes(bytes) {
                Ok(body) if body.id() == record => {
                    let header = body.header();
                    let red = header.floor.tlp == Some(Tlp::Red);
                    Some(What { kind: Some(header.kind), originator: header.originator, red })
                }
                _ => {
                    notes.wrong(Test::Clauses, maker, place, "the header that is shown is not that of the record");
                    None
                }
            },
            Of::Kind(kind, originator) => {
                let says = "people wrote words into its header, which is not shown: its kind is by the maker's word";
                notes.open(Test::Clauses, maker, place, says);
                Some(What { kind: Some(*kind), originator: *originator, red: false })
            }
            Of::Gone(originator) => {
                notes.open(
                    Test::Clauses,
                    maker,
                    place,
                    "the record is not held any more, and nobody can say what it was",
                );
                Some(What { kind: None, originator: *originator, red: false })
            }
        }
    }

    fn gate(
        &mut self,
        notes: &mut Notes,
        feed: &FeedKey,
        run: &Run,
        (record, originator): (RecordId, OrgId),
        place: &str,
    ) {
        let known = self.known;
        if let Some((recall, since)) = self.recalls.by_record.get(&record) {
            self.recalls.asked.insert((*recall, feed.receiver), record);
            if *since < run.time {
                let says = format!("record {} left after it was recalled", record.short());
                notes.wrong(Test::Recalls, known.maker(), place, says);
            }
        }
        if originator != known.maker() {
            return;
        }
        notes.looked(Test::Gate);
        if let Some(why) = self.gate.bars(record, run.time, known.head.gate) {
            notes.wrong(Test::Gate, known.maker(), place, format!("record {}: {why}", record.short()));
        }
    }

    fn batch(
        &self,
        notes: &mut Notes,
        sent: &SentRun,
        batch: u16,
        (originator, mut records): (OrgId, Vec<(u32, RecordId)>),
        place: &str,
    ) {
        notes.looked(Test::Batches);
        records.sort_unstable();
        records.dedup();
        let Some(attestation) = sent.attested.get(usize::from(batch)) else {
            return notes.wrong(Test::Batches, originator, place, "the batch that attests a record is not shown");
        };
        let key = attestation.key().ok().and_then(|kid| self.known.listed(originator, Purpose::Records, kid));
        let Some(key) = key else {
            let says = "a batch is signed by a key that no card of its originator here lists";
            return if originator == self.known.maker() {
                notes.wrong(Test::Batches, originator, place, says);
            } else {
                notes.open(Test::Batches, originator, place, says);
            };
        };
        if let Err(fault) = attestation.verify(originator, &key.key, &records) {
            return notes.wrong(Test::Batches, originator, place, fault);
        }
        let is_logged = logged_batch(&attestation.head).is_ok_and(|stands| self.journal.has_batch(stands));
        if originator == self.known.maker() && !is_logged {
            notes.wrong(Test::Batches, originator, place, "the journal does not have the batch of a record");
        }
    }
}

/// Why the clause that is named does not cover a release, if it does not.
fn uncovered(agreement: &Agreement, feed: &FeedKey, released: &Released, what: &What) -> Option<String> {
    let Some(clause) = agreement.clauses.get(usize::from(released.clause)) else {
        return Some(format!("the agreement has no clause {}", released.clause));
    };
    let named = format!("clause {} (`{}`)", released.clause, clause.name);
    if clause.duty != Duty::Release || clause.from != feed.sender || !clause.to.contains(&feed.receiver) {
        return Some(format!("{named} lets nothing go from this sender to this receiver"));
    }
    if what.red && !clause.red {
        return Some(format!("{named} does not let records of TLP:RED go"));
    }
    let kind = what.kind?;
    let allowed = clause.disclose.iter().filter(|disclosed| disclosed.kind == kind);
    let allowed = allowed
        .fold(SlotSet::default(), |all, disclosed| disclosed.slots.iter().fold(all, |all, slot| all.with(*slot)));
    let rising = released.slots.iter().zip(released.slots.iter().skip(1)).all(|(one, next)| one < next);
    if !rising || released.slots.last().is_some_and(|last| usize::from(*last) >= limits::SLOTS) {
        return Some("its slots are not numbers of slots that rise".to_owned());
    }
    let shown: SlotSet = released.slots.iter().copied().collect();
    let beyond: Vec<String> = shown
        .without(allowed)
        .iter()
        .map(|slot| {
            kind.slot_number(slot).map_or_else(|| slot.to_string(), |slot| format!("{} ({})", slot.number, slot.name))
        })
        .collect();
    if allowed.is_empty() {
        return Some(format!("{named} discloses nothing of a record of kind {}", kind.name()));
    }
    (!beyond.is_empty())
        .then(|| format!("{named} does not disclose these slots of kind {}: {}", kind.name(), beyond.join(", ")))
}
