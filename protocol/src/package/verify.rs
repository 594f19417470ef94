//! Verifying a package: every part, in its order, each signature once.
//!
//! What was changed refuses the whole, and is named. A key that did not count is a doubt of the records that rest on it,
//! and the others are proved all the same.

use super::{
    PackageFault,
    keys::{self, Parties, Pins},
    name::{Ending, LogPart, Name},
    parts::{Carried, LogProofs, Logged, Manifest, Part, SentRun, SignedManifest},
    reader::{Archive, Place, Source},
    report::{Confirmed, FileState, Hand, LogSeen, Proved, Report, Since},
};
use crate::{
    attachment::Content,
    batch::{AttestationFault, Head},
    codec::CodecError,
    cose::{SignatureBytes, SignatureFault},
    custody::{
        checkpoint::{Checkpoint, UnverifiedCheckpoint},
        cosignature::{Quorum, WitnessFault},
        interval::Standing as LogStanding,
        proof::logged_run,
    },
    feed::{Entry, FeedKey, Receipt, Run, RunFault},
    id::{Hash, KeyId, LoggedDigest, OrgId, RecordId},
    identity::{CardKey, Purpose},
    label, limits,
    record::{Verified, kind::Kind},
    time::UnixMillis,
};
use std::collections::{BTreeMap, BTreeSet};

const KEY_DOUBT: &str = "the key that attested it does not count for it: it had ended, was revoked or was in other hands, \
                         and nobody whose card was compared proves that the record is older than that";

/// Verifies a package at `now`. `progress` is told how many bytes of how many have been read.
pub fn verify<S: Source>(
    source: S,
    pins: &Pins,
    now: UnixMillis,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, PackageFault> {
    let total = source.len();
    let mut archive = Archive::open(source)?;
    let places = archive.places().to_vec();
    let (last, before) = places.split_last().ok_or(PackageFault::End)?;
    let (bytes, _) = archive.content(*last)?;
    let signed = SignedManifest::from_bytes(&bytes).map_err(|fault| codec(Name::Manifest, fault))?;
    let claimed = signed.danger_unverified().map_err(PackageFault::Signature)?;
    let (parties, digests) = cards(&mut archive, before, pins)?;
    let manifest = signed_by(&parties, &signed, claimed.maker)?;
    not_after(Name::Manifest, manifest.time, now)?;
    listed(&manifest, before)?;
    let mut pass = Pass { parties, made: manifest.time, ..Pass::default() };
    let mut done = 0u64;
    for (at, (place, listed)) in before.iter().zip(&manifest.parts).enumerate() {
        let name = place.entry.name;
        let digest = match name {
            Name::Card(_) => digests.get(at).copied().ok_or(PackageFault::Directory)?,
            Name::File(n, ending) => {
                let digest = archive.digest(*place, &mut |step| {
                    done += step;
                    progress(done, total);
                })?;
                if digest == listed.2 {
                    pass.file(n, ending, (place.entry.size, digest))?;
                }
                digest
            }
            Name::Summary => archive.digest(*place, &mut |step| done += step)?,
            _ => {
                let (bytes, digest) = archive.content(*place)?;
                // Before anything of it is looked at: what was changed is said to be changed.
                if digest == listed.2 {
                    pass.part(name, &bytes)?;
                }
                done += place.entry.size;
                progress(done, total);
                digest
            }
        };
        if digest != listed.2 {
            return Err(PackageFault::Content { name });
        }
    }
    pass.finish(manifest.maker)
}

fn codec(name: Name, fault: CodecError) -> PackageFault {
    PackageFault::Codec { name, fault }
}

fn not_after(name: Name, time: UnixMillis, limit: UnixMillis) -> Result<(), PackageFault> {
    let after = limit.plus(limits::CLOCK_SKEW_MS_MAX);
    if time > after { Err(PackageFault::Time { name, time, after }) } else { Ok(()) }
}

/// Cards come first: whose keys count must be known before anything else can be.
fn cards<S: Source>(
    archive: &mut Archive<S>,
    places: &[Place],
    pins: &Pins,
) -> Result<(Parties, Vec<Hash>), PackageFault> {
    let (mut parties, mut digests) = (Parties::default(), Vec::new());
    for place in places.iter().filter(|place| matches!(place.entry.name, Name::Card(_))) {
        let (bytes, digest) = archive.content(*place)?;
        parties.push(place.entry.name, &bytes)?;
        digests.push(digest);
    }
    parties.pin(pins)?;
    Ok((parties, digests))
}

/// The list, as the reward for verifying that its maker signed it.
fn signed_by(parties: &Parties, signed: &SignedManifest, maker: OrgId) -> Result<Manifest, PackageFault> {
    let kid = signed.parse().map_err(PackageFault::Signature)?.kid();
    let key = parties.listed(maker, Purpose::Runs, kid, Name::Manifest)?;
    let key = key.ok_or(PackageFault::Signature(SignatureFault::Key))?;
    let manifest = signed.verify(&key.key).map_err(PackageFault::Signature)?;
    if keys::counts(key, manifest.time, None) { Ok(manifest) } else { Err(PackageFault::Key) }
}

fn listed(manifest: &Manifest, places: &[Place]) -> Result<(), PackageFault> {
    for (at, place) in places.iter().enumerate() {
        let name = place.entry.name;
        let same = |listed: &super::parts::Listed| listed.0 == name.to_string() && listed.1 == place.entry.size;
        if !manifest.parts.get(at).is_some_and(same) {
            return Err(PackageFault::Unlisted { name });
        }
    }
    if manifest.parts.len() == places.len() { Ok(()) } else { Err(PackageFault::Unlisted { name: Name::Manifest }) }
}

/// When a log with it was witnessed, and by whom.
type Witnesses = BTreeMap<OrgId, UnixMillis>;

struct BatchSeen {
    head: Head,
    key: CardKey,
    event: LoggedDigest,
    witnessed: Witnesses,
    is_needed: bool,
}

struct RunSeen {
    run: Run,
    feed: FeedKey,
    event: LoggedDigest,
    /// Whether the sender's key counts.
    counts: bool,
    /// When the receiver countersigned, where its key counts.
    received: Option<UnixMillis>,
    witnessed: Witnesses,
    is_needed: bool,
}

/// One walk over the parts.
#[derive(Default)]
struct Pass {
    parties: Parties,
    made: UnixMillis,
    batches: Vec<BatchSeen>,
    runs: Vec<RunSeen>,
    /// The checkpoint whose proofs come next.
    checkpoint: Option<(Checkpoint, Witnesses)>,
    logs: Vec<LogSeen>,
    records: Vec<Proved>,
    ids: BTreeSet<RecordId>,
    /// Files that records state.
    files: BTreeMap<u32, (Content, Ending)>,
    file_bytes: u64,
    files_here: u64,
}

fn place_of(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX).wrapping_sub(1)
}

impl Pass {
    fn part(&mut self, name: Name, bytes: &[u8]) -> Result<(), PackageFault> {
        match name {
            Name::Batch(_) => self.batch(name, bytes),
            Name::Run(_) => self.run(name, bytes),
            Name::Log(_, LogPart::Note) => self.note(name, bytes),
            Name::Log(_, LogPart::Proofs) => self.log(name, bytes),
            Name::Record(n) => self.record(n, bytes),
            // The others are not read here; a reserved one is refused when the file is opened.
            Name::Card(_) | Name::File(..) | Name::History | Name::Summary | Name::Manifest => Ok(()),
        }
    }

    fn key(&self, org: OrgId, purpose: Purpose, kid: KeyId, name: Name) -> Result<Option<CardKey>, PackageFault> {
        Ok(self.parties.listed(org, purpose, kid, name)?.cloned())
    }

    fn batch(&mut self, name: Name, bytes: &[u8]) -> Result<(), PackageFault> {
        let fails = |fault: AttestationFault| PackageFault::Attestation { name, fault };
        let max = usize::try_from(name.bytes_max()).unwrap_or_default();
        let signed = SignatureBytes::from_bytes(bytes, max).map_err(|fault| codec(name, fault))?;
        let claimed = Head::danger_unverified(&signed).map_err(fails)?;
        let key = self.key(claimed.originator, Purpose::Records, claimed.key, name)?;
        let key = key.ok_or(fails(SignatureFault::Key.into()))?;
        let head = Head::verify(&signed, claimed.originator, &key.key).map_err(fails)?;
        not_after(name, head.time, self.made)?;
        let parsed = signed.parse().map_err(|fault| fails(fault.into()))?;
        let event = LoggedDigest::of(label::SIGN_BATCH, parsed.danger_unverified_payload());
        self.batches.push(BatchSeen { head, key, event, witnessed: BTreeMap::new(), is_needed: false });
        Ok(())
    }

    fn run(&mut self, name: Name, bytes: &[u8]) -> Result<(), PackageFault> {
        let fails = |fault: RunFault| PackageFault::Run { name, fault };
        let part = SentRun::from_bytes(bytes).map_err(|fault| codec(name, fault))?;
        let SentRun { run: signed, feed, receipt, .. } = part;
        let event = logged_run(&signed).map_err(fails)?;
        let kid = signed.parse().map_err(|fault| fails(fault.into()))?.kid();
        let sender = self.key(feed.sender, Purpose::Runs, kid, name)?.ok_or(fails(SignatureFault::Key.into()))?;
        let run = Run::verify(&signed, &feed, |_| Some(sender.key.clone())).map_err(fails)?;
        not_after(name, run.time, self.made)?;
        let mut received = None;
        if let Some(signed) = receipt {
            let kid = signed.parse().map_err(|fault| fails(fault.into()))?.kid();
            let key = self.key(feed.receiver, Purpose::Runs, kid, name)?.ok_or(fails(SignatureFault::Key.into()))?;
            let receipt = Receipt::verify(&signed, &feed, |_| Some(key.key.clone())).map_err(fails)?;
            if !receipt.is_of(&run) {
                return Err(fails(RunFault::Entries));
            }
            not_after(name, receipt.time, self.made)?;
            received = keys::counts(&key, receipt.time, None).then_some(receipt.time);
        }
        let proved = received.filter(|_| self.is_confirmed(feed.receiver));
        let counts = keys::counts(&sender, run.time, proved);
        let witnessed = BTreeMap::new();
        self.runs.push(RunSeen { run, feed, event, counts, received, witnessed, is_needed: false });
        Ok(())
    }

    fn note(&mut self, name: Name, bytes: &[u8]) -> Result<(), PackageFault> {
        let fails = |fault| PackageFault::Checkpoint { name, fault };
        let note = UnverifiedCheckpoint::from_bytes(bytes).map_err(fails)?;
        let org = note.danger_unverified_origin().org();
        let keys = self.parties.keys(org, Purpose::Log, name)?;
        let checkpoint = note.verify(org, keys.iter().map(|entry| &entry.key)).map_err(fails)?;
        not_after(name, checkpoint.time(), self.made)?;
        let key = keys.iter().find(|entry| entry.key == *checkpoint.key());
        let mut by = self.witnesses(name, &note, &checkpoint)?;
        let earliest = by.iter().filter(|(org, _)| self.is_confirmed(**org)).map(|(_, at)| *at).min();
        if !key.is_some_and(|key| keys::counts(key, checkpoint.time(), earliest)) {
            // What a key signs that somebody else has proves nothing, whoever saw it.
            by.clear();
        }
        self.checkpoint = Some((checkpoint, by));
        Ok(())
    }

    /// Who cosigned a checkpoint with a key that counted then.
    fn witnesses(
        &self,
        name: Name,
        note: &UnverifiedCheckpoint,
        checkpoint: &Checkpoint,
    ) -> Result<Witnesses, PackageFault> {
        let org = checkpoint.origin().org();
        let (others, _) = self.parties.witnesses(org);
        // INVARIANT: no key stands twice, the log's own organisation is left out, and a package has few cards. So only one
        // without any witness makes none.
        let Ok(quorum) = Quorum::new(org, &others, 1) else { return Ok(BTreeMap::new()) };
        let mut by = match quorum.verify(checkpoint, note, self.made) {
            Ok(witnessed) => witnessed.by().clone(),
            Err(WitnessFault::TooFew { .. }) => BTreeMap::new(),
            Err(fault) => return Err(PackageFault::Witness { name, fault }),
        };
        let counts = |org: OrgId, at: UnixMillis| {
            let keys = self.parties.keys(org, Purpose::Witness, name).unwrap_or_default();
            // Which of its keys it was, the note's form does not say: all of them must be its own then.
            keys.iter().all(|key| key.compromised.is_none()) && keys.iter().any(|key| key.counts_at(at))
        };
        by.retain(|org, at| counts(*org, *at));
        Ok(by)
    }

    fn log(&mut self, name: Name, bytes: &[u8]) -> Result<(), PackageFault> {
        let proofs = LogProofs::from_bytes(bytes).map_err(|fault| codec(name, fault))?;
        let fits = |why| PackageFault::Parts { name, why };
        let (checkpoint, by) = self.checkpoint.take().ok_or(fits("there is no checkpoint before it"))?;
        if proofs.places.is_empty() || proofs.places.len() > limits::PACKAGE_LOG_PROOFS_MAX {
            return Err(fits("it proves nothing, or too much"));
        }
        let origin = checkpoint.origin();
        for place in &proofs.places {
            let (event, time, witnessed, is_its_own) = match place.of {
                Logged::Batch(n) => {
                    let batch =
                        self.batches.get_mut(place_of(n)).ok_or(fits("it speaks of a batch that is not there"))?;
                    let own = batch.head.originator == origin.org();
                    (batch.event, batch.head.time, &mut batch.witnessed, own)
                }
                Logged::Run(n) => {
                    let run = self.runs.get_mut(place_of(n)).ok_or(fits("it speaks of a run that is not there"))?;
                    let own = (run.feed.sender, run.feed.store) == (origin.org(), origin.store());
                    (run.event, run.run.time, &mut run.witnessed, own)
                }
            };
            if !is_its_own {
                return Err(fits("it is of another log than that of whoever signed"));
            }
            let stated = origin.leaf_at(time);
            let due = match place.of {
                // A batch that was attested while the clock was wrong, or before the log began anew, stands later (JRN-3).
                Logged::Batch(_) => stated.unwrap_or(0).max(place.proof.index()),
                Logged::Run(_) => stated.ok_or(fits("it speaks of a time before the log was created"))?,
            };
            let standing = place.proof.verify(&checkpoint, due, event);
            match standing.map_err(|fault| PackageFault::Log { name, fault })? {
                LogStanding::Logged => witnessed.extend(by.iter().map(|(org, at)| (*org, *at))),
                LogStanding::Unlogged => return Err(fits("the log holds something else in that place")),
            }
        }
        let (org, until, places) = (origin.org(), checkpoint.time(), proofs.places.len());
        let (_, doubled) = self.parties.witnesses(org);
        self.logs.push(LogSeen { org, until, by, doubled, places });
        Ok(())
    }

    fn record(&mut self, n: u32, bytes: &[u8]) -> Result<(), PackageFault> {
        let name = Name::Record(n);
        let fits = |why| PackageFault::Parts { name, why };
        let part = Part::from_bytes(bytes).map_err(|fault| codec(name, fault))?;
        let record = Verified::new(part.redacted()).map_err(|fault| PackageFault::Record { name, fault })?;
        let (id, header) = (record.id(), record.header().clone());
        if !self.ids.insert(id) {
            return Err(fits("the same record stands twice"));
        }
        let batch = self.batches.get_mut(place_of(part.batch)).ok_or(fits("its batch is not there"))?;
        batch.is_needed = true;
        if batch.head.originator != header.originator {
            return Err(PackageFault::Attestation { name, fault: AttestationFault::Originator });
        }
        let proof = batch.head.proves(&[(u32::from(part.position), id)], &part.above);
        proof.map_err(|fault| PackageFault::Attestation { name, fault })?;
        not_after(name, part.standing.at, self.made)?;
        let hands = self.hands(name, id, &part.runs)?;
        let batch = self.batches.get(place_of(part.batch)).ok_or(fits("its batch is not there"))?;
        let (since, proved) = self.since(header.originator, batch, &part.runs);
        let doubts = if keys::counts(&batch.key, batch.head.time, proved) { vec![] } else { vec![KEY_DOUBT] };
        let attested = batch.head.time;
        let file = self.stated_file(n, &record);
        self.records.push(Proved {
            place: n,
            id,
            line: header.line,
            kind: header.kind,
            number: record.value(0).and_then(|value| value.as_text().map(str::to_owned)),
            originator: header.originator,
            attested,
            since,
            hands,
            shown: record.shown(),
            file,
            standing: part.standing,
            doubts,
        });
        Ok(())
    }

    /// Through whose hands it went: each run's entry names this record, and stands in the run.
    fn hands(&mut self, name: Name, id: RecordId, carried: &[Carried]) -> Result<Vec<Hand>, PackageFault> {
        let fits = |why| PackageFault::Parts { name, why };
        let rise = |pair: &[Carried]| matches!(pair, [a, b] if (a.run, a.index) < (b.run, b.index));
        if carried.len() > limits::PACKAGE_CARRIED_MAX || !carried.windows(2).all(rise) {
            return Err(fits("its runs do not rise"));
        }
        let mut hands = Vec::with_capacity(carried.len());
        for one in carried {
            let seen = self.runs.get_mut(place_of(one.run)).ok_or(fits("a run that carried it is not there"))?;
            seen.is_needed = true;
            match Entry::from_bytes(&one.entry).map_err(|fault| codec(name, fault))? {
                Entry::Release { record, .. } if record == id => {}
                _ => return Err(fits("the entry of a run is not its release")),
            }
            let proof = seen.run.proves(Entry::hash_of(&one.entry), one.index, &one.nodes);
            proof.map_err(|fault| PackageFault::Run { name, fault })?;
            if seen.counts {
                let (from, to) = (seen.feed.sender, seen.feed.receiver);
                hands.push(Hand { from, to, sent: seen.run.time, received: seen.received });
            }
        }
        Ok(hands)
    }

    fn is_confirmed(&self, org: OrgId) -> bool {
        self.parties.iter().any(|(other, known)| *other == org && known.confirmed != Confirmed::ByNobody)
    }

    /// The earliest word of somebody else; and the earliest by which a key that ended counts: of a countersignature or a
    /// witness, and only where somebody has compared that organisation's card.
    fn since(&self, originator: OrgId, batch: &BatchSeen, carried: &[Carried]) -> (Since, Option<UnixMillis>) {
        let mut all: Vec<Since> = Vec::new();
        let witnessed = |by: &Witnesses| {
            let others = by.iter().filter(|(org, _)| **org != originator);
            others.map(|(org, at)| Since::Witnessed { at: *at, by: vec![*org] }).collect::<Vec<_>>()
        };
        all.extend(witnessed(&batch.witnessed));
        for seen in carried.iter().filter_map(|one| self.runs.get(place_of(one.run))) {
            all.extend(witnessed(&seen.witnessed));
            let FeedKey { sender, receiver, .. } = seen.feed;
            if let Some(at) = seen.received.filter(|_| receiver != originator) {
                all.push(Since::Countersigned { at, by: receiver });
            }
            if seen.counts && sender != originator {
                all.push(Since::Sent { at: seen.run.time, by: sender });
            }
        }
        let trusted = |since: &&Since| match since {
            Since::Witnessed { by, .. } => by.iter().all(|org| self.is_confirmed(*org)),
            Since::Countersigned { by, .. } => self.is_confirmed(*by),
            Since::Sent { .. } | Since::Stated { .. } => false,
        };
        let proved = all.iter().filter(trusted).map(Since::at).min();
        let stated = Since::Stated { at: batch.head.time };
        (all.into_iter().min_by_key(Since::at).unwrap_or(stated), proved)
    }

    /// Notes the file that a record states.
    fn stated_file(&mut self, n: u32, record: &Verified) -> FileState {
        let value = |name| Kind::Attachment.slot(name).and_then(|slot| record.value(slot.number));
        let content = value("content").filter(|_| record.header().kind == Kind::Attachment);
        let Some(content) = content.and_then(Content::from_value) else { return FileState::None };
        self.files.insert(n, (content, Ending::of_media(value("media").and_then(|media| media.as_text()))));
        FileState::LeftOut
    }

    fn file(&mut self, n: u32, ending: Ending, (size, digest): (u64, Hash)) -> Result<(), PackageFault> {
        let name = Name::File(n, ending);
        let stated = self.files.get(&n).ok_or(PackageFault::Parts { name, why: "no record states such a file" })?;
        if stated.1 != ending {
            return Err(PackageFault::Parts { name, why: "its ending is not that of what its record states" });
        }
        if (stated.0.size, stated.0.sha256) != (size, digest) {
            return Err(PackageFault::Parts { name, why: "it is not the file that its record states" });
        }
        if let Some(record) = self.records.get_mut(place_of(n)) {
            record.file = FileState::Here;
        }
        (self.files_here, self.file_bytes) = (self.files_here + 1, self.file_bytes + size);
        Ok(())
    }

    fn finish(self, maker: OrgId) -> Result<Report, PackageFault> {
        let first = |unneeded: Option<usize>| unneeded.and_then(|at| u32::try_from(at + 1).ok());
        let batch = first(self.batches.iter().position(|batch| !batch.is_needed)).map(Name::Batch);
        let run = first(self.runs.iter().position(|run| !run.is_needed)).map(Name::Run);
        if let Some(name) = batch.or(run) {
            return Err(PackageFault::Parts { name, why: "no record needs it" });
        }
        if self.records.is_empty() {
            return Err(PackageFault::Missing { name: Name::Record(1) });
        }
        Ok(Report {
            maker,
            made: self.made,
            parties: self.parties.said(),
            records: self.records,
            files: self.files_here,
            file_bytes: self.file_bytes,
            logs: self.logs,
        })
    }
}
