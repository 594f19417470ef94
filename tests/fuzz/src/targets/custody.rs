//! What a log says of itself and its witnesses of it: notes, messages, places of intervals, events, evidence.

use super::{holds, same, unhex, vectors, words};
use crate::run::{Notes, Subject, Verdict};
use entente_protocol::{
    audit::{self, Reader, Sealer},
    codec::{self, Bounds},
    cose::SignatureBytes,
    custody::{
        checkpoint::{CheckpointFault, UnverifiedCheckpoint},
        cosignature::Quorum,
        fork::ForkProof,
        interval::{Interval, IntervalLeaf, Opening, Standing, seed},
        journal::Journal,
        message::{
            AskMessage, CompareMessage, LogMessage, OfferMessage, OwedMessage, ProofsMessage, RunProof, SeenMessage,
            UnprovedMessage,
        },
        note::{KeyName, Note, SignatureType, Verifier},
        proof::{LeafProof, UnloggedRun},
    },
    id::{Hash, LoggedDigest, OrgId, StoreId},
    package::Pins,
    primitive::{PublicKey, SigningKey},
    time::UnixMillis,
};
use std::collections::HashSet;

const BOUNDS: Bounds = Bounds::bytes(64 << 10);
/// When the cosigned checkpoints of the vectors are looked at.
const NOW: UnixMillis = UnixMillis(1_780_006_000_000);

fn org(n: u8) -> OrgId {
    OrgId::from_bytes([n; 32])
}

/// Keys of the vectors: that of a log has a seed of 01, those of witnesses 66 to 68.
fn keys(seed: u8) -> Vec<PublicKey> {
    SigningKey::from_seed(&[seed; 32]).ok().map(|key| key.public().clone()).into_iter().collect()
}

/// The notes of a file of vectors.
fn texts(file: &str) -> Vec<Vec<u8>> {
    vectors(file).iter().filter_map(|input| Some(input.as_str()?.as_bytes().to_vec())).collect()
}

fn checkpoint_notes() -> Vec<Vec<u8>> {
    let files = [include_str!("../../../vectors/checkpoint.json"), include_str!("../../../vectors/witness.json")];
    files.into_iter().flat_map(texts).collect()
}

/// The texts that the log's key of the vectors signed.
fn signed_texts() -> HashSet<String> {
    let verified = |note: Vec<u8>| {
        let read = UnverifiedCheckpoint::from_bytes(&note).ok()?;
        Some(read.verify(org(1), &keys(1)).ok()?.text())
    };
    checkpoint_notes().into_iter().filter_map(verified).collect()
}

pub fn notes() -> Subject {
    let mut seeds = texts(include_str!("../../../vectors/note.json"));
    let known = |name: &str, key: &PublicKey| Verifier::new(KeyName::new(name).ok()?, SignatureType::Ed25519, key);
    let known: Vec<Verifier> = keys(1).iter().filter_map(|key| known("a.example", key)).collect();
    let signed = |note: &Vec<u8>| {
        let note = Note::from_bytes(note).ok()?;
        note.verify(&known).ok().map(|_| note.danger_unverified_text().to_owned())
    };
    let checkpoints = signed_texts();
    seeds.extend(checkpoint_notes());
    let genuine: HashSet<String> = seeds.iter().filter_map(signed).collect();
    let judge = move |input: &[u8], notes: &mut Notes| -> Verdict {
        let note = Note::from_bytes(input);
        notes.result("note", &note);
        let Ok(note) = note else { return Ok(()) };
        same("note", input, Ok::<_, ()>(note.to_string().into_bytes()))?;
        let verified = note.verify(&known);
        notes.result("verified", &verified);
        if verified.is_ok() {
            holds("a note verifies that nobody signed", genuine.contains(note.danger_unverified_text()))?;
        }
        let read = UnverifiedCheckpoint::from_bytes(input);
        notes.result("checkpoint", &read);
        let Ok(read) = read else { return Ok(()) };
        let checkpoint = read.verify(org(1), &keys(1));
        notes.result("signed", &checkpoint);
        let Ok(checkpoint) = checkpoint else { return Ok(()) };
        holds("a checkpoint verifies that nobody signed", checkpoints.contains(&checkpoint.text()))?;
        let witnesses = [2, 3, 4].map(|n| (org(n), keys(n + 100)));
        let quorum = Quorum::new(org(1), &witnesses, 2).map_err(|error| error.to_string())?;
        let witnessed = quorum.verify(&checkpoint, &read, NOW);
        notes.result("witnessed", &witnessed);
        if let Ok(witnessed) = witnessed {
            holds("fewer witnesses than are asked for", witnessed.by().len() >= 2)?;
            holds(
                "a witness from the time to come",
                witnessed.since() <= NOW && witnessed.since() >= checkpoint.time(),
            )?;
        }
        Ok(())
    };
    Subject { seeds, words: words(&["entente/1/log/", "\u{2014} ", "\n\n", "/600", "=\n"]), judge: Box::new(judge) }
}

/// Digests of the interval that the vectors open.
fn logged() -> Vec<LoggedDigest> {
    let inputs = vectors(include_str!("../../../vectors/interval.json"));
    let digests: HashSet<LoggedDigest> =
        inputs.iter().filter_map(|input| input["digest"].as_str()?.parse().ok()).collect();
    let mut digests: Vec<LoggedDigest> = digests.into_iter().collect();
    digests.sort_unstable();
    digests
}

/// An interval with all but the last of these, a proof of the first, and what it is under.
fn interval(digests: &[LoggedDigest]) -> Option<(Interval, LeafProof)> {
    let journal = Journal::start(StoreId::from_bytes([1; 16])).head();
    let (_, there) = digests.split_last()?;
    let made = Interval::new(there, journal, &seed(&[0x88; 32], 5)).ok()?;
    let proof = LeafProof::new(5, &made, *there.first()?, vec![Hash::from_bytes([1; 32]); 4])?;
    Some((made, proof))
}

pub fn messages() -> Subject {
    let digests = logged();
    let checkpoint = Hash::from_bytes([2; 32]);
    let notes = checkpoint_notes();
    let mut all: Vec<LogMessage> = Vec::new();
    if let [new, held, ..] = notes.as_slice() {
        let proof = vec![checkpoint; 3];
        all.push(LogMessage::Offer(OfferMessage { new: new.clone().into(), held: None, proof: Vec::new() }));
        all.push(LogMessage::Offer(OfferMessage { new: new.clone().into(), held: Some(held.clone().into()), proof }));
    }
    if let (Some((_, proof)), Some(run)) = (interval(&digests), digests.first()) {
        let proofs = vec![RunProof { run: *run, proof }];
        all.push(LogMessage::Proofs(ProofsMessage { proofs, checkpoint }));
    }
    let store = StoreId::from_bytes([1; 16]);
    all.push(LogMessage::Unproved(UnprovedMessage { runs: digests.clone(), store }));
    all.push(LogMessage::Owed(OwedMessage { runs: digests, store }));
    all.push(LogMessage::Ask(AskMessage { store }));
    if let Some(head) = notes.first() {
        all.push(LogMessage::Seen(SeenMessage { note: Some(head.clone().into()), store }));
        all.push(LogMessage::Compare(CompareMessage { head: head.clone().into() }));
    }
    let seeds: Vec<Vec<u8>> = all.iter().filter_map(|message| message.to_bytes().ok()).collect();
    let genuine = signed_texts();
    let judge = move |input: &[u8], notes: &mut Notes| -> Verdict {
        let message = LogMessage::from_bytes(input);
        notes.result("message", &message);
        let Ok(message) = message else { return Ok(()) };
        same("message", input, message.to_bytes())?;
        let LogMessage::Offer(offer) = message else { return Ok(()) };
        let offer: Result<_, CheckpointFault> = offer.verify(org(1), &keys(1));
        notes.result("offer", &offer);
        let Ok(offer) = offer else { return Ok(()) };
        let heads = offer.held.iter().chain([&offer.new]).all(|head| genuine.contains(&head.text()));
        holds("an offer of a head that nobody signed", heads)
    };
    Subject { seeds, words: words(&["offer", "proofs", "unproved", "cosigned", "declined"]), judge: Box::new(judge) }
}

/// Evidence of a run that was kept out, and of two histories: only what was signed is any.
pub fn evidence() -> Subject {
    let inputs = vectors(include_str!("../../../vectors/custody.json"));
    let mut seeds: Vec<Vec<u8>> = inputs.iter().map(unhex).collect();
    let read = |seed: &Vec<u8>| UnloggedRun::from_bytes(seed).ok();
    let runs = |id| keys(1).into_iter().find(|key| key.id() == id);
    let out: HashSet<SignatureBytes> =
        seeds.iter().filter_map(read).filter(|e| e.verify(runs, &keys(1)).is_ok()).map(|e| e.run().clone()).collect();
    let verified = |note: Vec<u8>| UnverifiedCheckpoint::from_bytes(&note).ok()?.verify(org(1), &keys(1)).ok();
    let heads: Vec<_> = checkpoint_notes().into_iter().filter_map(verified).collect();
    let forks = heads.iter().flat_map(|one| heads.iter().filter_map(|two| ForkProof::of(one, two)));
    seeds.extend(forks.take(2).filter_map(|fork| fork.to_bytes().ok()));
    let genuine = signed_texts();
    let judge = move |input: &[u8], notes: &mut Notes| -> Verdict {
        let fork = ForkProof::from_bytes(input, org(1), &keys(1));
        notes.result("fork", &fork);
        if let Ok(fork) = fork {
            let (one, two) = fork.heads();
            holds("a head that nobody signed", genuine.contains(&one.text()) && genuine.contains(&two.text()))?;
        }
        let unlogged = UnloggedRun::from_bytes(input);
        notes.result("unlogged", &unlogged);
        let Ok(unlogged) = unlogged else { return Ok(()) };
        same("unlogged", input, unlogged.to_bytes())?;
        let verified = unlogged.verify(runs, &keys(1));
        notes.result("verified", &verified);
        holds("somebody is convicted of what nobody signed", verified.is_err() || out.contains(unlogged.run()))
    };
    Subject { seeds, words: words(&["run", "feed", "proof", "checkpoint", "events", "empty"]), judge: Box::new(judge) }
}

/// Leaves, places and events: a place opens in one way only.
pub fn places() -> Subject {
    let inputs = vectors(include_str!("../../../vectors/interval.json"));
    let journals = vectors(include_str!("../../../vectors/journal.json"));
    let mut seeds: Vec<Vec<u8>> =
        inputs.iter().flat_map(|input| [unhex(&input["leaf"]), unhex(&input["opening"])]).collect();
    let events = journals.iter().flat_map(|input| input["events"].as_array().cloned().unwrap_or_default());
    seeds.extend(events.map(|event| unhex(&event)));
    let digests = logged();
    let made = interval(&digests);
    if let Some((made, _)) = &made {
        let opened = digests.iter().filter_map(|digest| codec::to_vec(&made.open(*digest), BOUNDS).ok());
        seeds.extend(opened);
    }
    let judge = move |input: &[u8], notes: &mut Notes| -> Verdict {
        let leaf = IntervalLeaf::from_bytes(input);
        notes.result("leaf", &leaf);
        if let Ok(leaf) = leaf {
            holds("a leaf in two encodings", leaf.bytes() == input)?;
        }
        let event = Journal::start(StoreId::from_bytes([1; 16])).handle_event(input);
        notes.result("event", &event);
        if let Ok(event) = event {
            holds("an event in two encodings", event.bytes() == input)?;
        }
        let opening = codec::from_slice::<Opening>(input, BOUNDS);
        notes.result("opening", &opening);
        let (Ok(opening), Some((made, _))) = (opening, &made) else { return Ok(()) };
        same("opening", input, codec::to_vec(&opening, BOUNDS))?;
        for digest in &digests {
            let standing = opening.verify(made.leaf(), *digest);
            notes.result("place", &standing);
            let truth = if made.holds(*digest) { Standing::Logged } else { Standing::Unlogged };
            holds("a place opens as what it is not", standing.is_err() || standing == Ok(truth))?;
        }
        Ok(())
    };
    Subject { seeds, words: words(&["events", "empty", "salt", "digests", "level", "nodes"]), judge: Box::new(judge) }
}

/// When the audit exports of the vectors are read.
const READ: UnixMillis = UnixMillis(1_780_096_000_000);

/// What an export holds is bound by one signature. Behind it everything is judged too: whatever can be read is signed anew,
/// as a dishonest maker would.
pub fn audits() -> Subject {
    let seeds: Vec<Vec<u8>> = vectors(include_str!("../../../vectors/audit.json")).iter().map(unhex).collect();
    let verified = |bytes: &[u8]| audit::verify(bytes, &Pins::default(), &[], READ, &mut |_, _| ());
    let genuine: HashSet<Vec<u8>> = seeds.iter().filter(|seed| verified(seed).is_ok()).cloned().collect();
    let maker = SigningKey::from_seed(&[13; 32]);
    let judge = move |input: &[u8], notes: &mut Notes| -> Verdict {
        let export = verified(input);
        notes.result("export", &export);
        holds("an export verifies that nobody signed", export.is_err() || genuine.contains(input))?;
        let (Ok(mut reader), Ok(maker)) = (Reader::new(input), &maker) else { return Ok(()) };
        let (mut sealer, mut again) = (Sealer::default(), Vec::new());
        while let Ok(Some(item)) = reader.next_item() {
            if item.name() == "end" {
                break;
            }
            again.extend(sealer.item(&item).map_err(|error| error.to_string())?);
        }
        holds("an item in two encodings", input.starts_with(&again))?;
        again.extend(sealer.end(maker).map_err(|error| error.to_string())?);
        let judged = verified(&again);
        notes.result("judged", &judged);
        for finding in judged.iter().flat_map(|report| &report.findings) {
            notes.note(format_args!("{} {:?}", finding.test.name(), finding.mark));
        }
        Ok(())
    };
    let names =
        ["head", "card", "events", "log-head", "leaves", "gate", "standing", "recall", "answer", "gone", "late"];
    Subject { seeds, words: words(&names), judge: Box::new(judge) }
}
