//! What is owed and what is proved: runs in their leaves, runs kept out, and the messages that carry the proofs.

use super::{checkpoint::*, interval::*, journal::Journal, message::*, owed::*, proof::*, testing::*, witness::*};
use crate::{
    codec::CodecError,
    cose::SignatureBytes,
    feed::testing as feeds,
    id::{Hash, LoggedDigest, StoreId},
    limits, merkle,
    primitive::{PublicKey, sha256},
    time::UnixMillis,
};
use serde_bytes::ByteBuf;

const SECRET: [u8; 32] = [3; 32];

/// A run of organisation 1's feed to 2, signed at this time.
pub(crate) fn run(at: UnixMillis) -> SignatureBytes {
    let mut sender = feeds::Sender::new(feeds::feed_key(1, 2, 7), 1);
    sender.release(0, &[0]);
    let before = sender.cursor(0);
    let made = crate::feed::Run::over(sender.key.id(), before, &sender.hashes(0..1), feeds::VERSION, at, None);
    made.unwrap().sign(&feeds::key(1)).unwrap()
}

/// A log of `size` leaves whose leaf `busy` holds these events; all others are idle.
pub(crate) struct Kept {
    pub model: Model,
    pub interval: Interval,
    busy: u64,
}

impl Kept {
    pub fn new(size: u64, busy: u64, events: &[LoggedDigest]) -> Self {
        let origin = origin(1);
        let journal = Journal::start(origin.store()).head();
        let made = |index: u64| {
            let events = if index == busy { events } else { &[] };
            Interval::new(events, journal, &seed(&SECRET, index)).unwrap()
        };
        let leaves = (0..size).map(|index| made(index).leaf().hash()).collect();
        Self { model: Model { origin, leaves }, interval: made(busy), busy }
    }
    pub fn prove(&self, event: LoggedDigest, size: u64) -> LeafProof {
        let leaves = &self.model.leaves[..size as usize];
        let path = merkle::prove_inclusion(leaves, self.busy as usize).unwrap();
        let proof = LeafProof::of_place(self.busy, &self.interval, event, path.clone());
        // Nobody opens the place of what is not there by mistake.
        let made = LeafProof::new(self.busy, &self.interval, event, path);
        assert_eq!(made, self.interval.holds(event).then(|| proof.clone()));
        proof
    }
}

fn digest(n: u32) -> LoggedDigest {
    LoggedDigest::from_bytes(sha256(&[&n.to_be_bytes()]))
}

#[test]
fn a_run_is_proved_under_the_checkpoint_and_nowhere_else() {
    let kept = Kept::new(9, 5, &[digest(1), digest(2)]);
    let proof = kept.prove(digest(1), 9);
    let checkpoint = kept.model.at(9);
    assert_eq!(proof.verify(&checkpoint, 5, digest(1)), Ok(Standing::Logged));
    assert_eq!(proof.verify(&checkpoint, 4, digest(1)), Err(LogProofFault::Leaf { given: 5, due: 4 }));
    assert!(proof.verify(&checkpoint, 5, digest(2)).is_err(), "another's place");
    assert!(proof.verify(&kept.model.at(8), 5, digest(1)).is_err());
    assert!(proof.verify(&Kept::new(9, 5, &[digest(2)]).model.at(9), 5, digest(1)).is_err());
    assert_eq!(kept.prove(digest(3), 9).verify(&checkpoint, 5, digest(3)), Ok(Standing::Unlogged));
}

#[test]
fn the_time_of_a_run_says_which_leaf_holds_it() {
    let mut owed = Owed::new(origin(1));
    let now = begins(100);
    let leaf = |owed: &mut Owed, n, at| owed.take(digest(n), at, now, false).map(|owed| owed.leaf);
    assert_eq!(leaf(&mut owed, 1, begins(0)), Ok(0));
    assert_eq!(leaf(&mut owed, 2, UnixMillis(begins(8).0 - 1)), Ok(7));
    assert_eq!(leaf(&mut owed, 3, begins(8)), Ok(8));
    assert_eq!(leaf(&mut owed, 4, UnixMillis(begins(0).0 - 1)), Err(OwedFault::BeforeLog));
    assert_eq!(leaf(&mut owed, 5, now.plus(limits::CLOCK_SKEW_MS_MAX)), Ok(100));
    assert_eq!(leaf(&mut owed, 6, now.plus(limits::CLOCK_SKEW_MS_MAX + 1)), Err(OwedFault::Future));
    assert_eq!(leaf(&mut owed, 7, UnixMillis(u64::MAX)), Err(OwedFault::Future));
    assert_eq!(owed.runs().count(), 4);
}

#[test]
fn no_further_run_is_taken_while_a_proof_is_owed() {
    let kept = Kept::new(9, 5, &[digest(1)]);
    let (checkpoint, proof) = (kept.model.at(9), kept.prove(digest(1), 9));
    let mut owed = Owed::new(origin(1));
    let came = begins(5).plus(20_000);
    let taken = owed.take(digest(1), begins(5).plus(10_000), came, false).unwrap();
    let due = came.plus(2 * INTERVAL_S * 1_000);
    assert_eq!(taken, OwedRun { leaf: 5, due: Some(due), state: OwedState::Awaited });
    assert_eq!(owed.take(digest(1), begins(6), begins(9), false), Ok(taken), "it is the same run, whenever it comes");
    let withheld = |runs, worst| Err(Withheld { runs, worst });
    assert_eq!(owed.permit(UnixMillis(due.0 - 1)), Ok(()));
    assert_eq!(owed.permit(due), withheld(1, OwedState::Awaited));
    // Somebody else's log, and a run that is not owed.
    let other = Model::new(2, 9).at(9);
    assert_eq!(owed.handle_proof(digest(1), &proof, &other), Err(LogProofFault::OtherLog));
    assert_eq!(owed.handle_proof(digest(2), &proof, &checkpoint), Ok(None));
    assert_eq!(owed.permit(due), withheld(1, OwedState::Awaited));
    assert_eq!(owed.handle_proof(digest(1), &proof, &checkpoint), Ok(Some(Standing::Logged)));
    assert_eq!(owed.permit(UnixMillis(u64::MAX)), Ok(()));
    // Stated in the next interval's leaf: a proof of this one does not do.
    owed.take(digest(1), begins(6), begins(6), false).unwrap();
    assert!(owed.handle_proof(digest(1), &proof, &checkpoint).is_err());
    // A refusal counts at once, whatever is due.
    assert!(owed.handle_refusal(digest(1)) && !owed.handle_refusal(digest(9)));
    assert_eq!(owed.permit(begins(6)), withheld(1, OwedState::Refused));
    // So does a place that was opened as something else, and no refusal makes less of it.
    owed.take(digest(3), begins(5), begins(6), false).unwrap();
    let elsewhere = kept.prove(digest(3), 9);
    assert_eq!(owed.handle_proof(digest(3), &elsewhere, &checkpoint), Ok(Some(Standing::Unlogged)));
    assert!(owed.handle_refusal(digest(3)));
    assert_eq!(owed.permit(begins(6)), withheld(2, OwedState::Unlogged));
}

#[test]
fn as_many_wait_as_are_kept() {
    let mut owed = Owed::new(origin(1));
    for n in 0..limits::OWED_RUNS_MAX as u32 {
        owed.take(digest(n), begins(5), begins(5), false).unwrap();
    }
    assert_eq!(owed.take(digest(u32::MAX), begins(5), begins(5), false), Err(OwedFault::TooMany));
    assert!(owed.take(digest(0), begins(5), begins(5), false).is_ok());
}

fn unlogged(kept: &Kept, at: UnixMillis) -> UnloggedRun {
    let signed = run(at);
    let proof = kept.prove(logged_run(&signed).unwrap(), 9);
    UnloggedRun::new(signed, feeds::feed_key(1, 2, 7), proof, &kept.model.at(9)).unwrap()
}

fn judge(evidence: &UnloggedRun) -> Result<(), UnloggedFault> {
    let log: [PublicKey; 1] = [key(1).public().clone()];
    evidence.verify(feeds::runs_key(org(1)), &log).map(|_| ())
}

#[test]
fn a_run_that_was_kept_out_is_shown_to_everybody() {
    let at = begins(5).plus(1);
    let out = Kept::new(9, 5, &[digest(1)]);
    let evidence = unlogged(&out, at);
    let bytes = evidence.to_bytes().unwrap();
    assert_eq!(UnloggedRun::from_bytes(&bytes), Ok(evidence.clone()));
    assert_eq!(judge(&evidence), Ok(()));
    // An honest sender is not blamed, nor one for another interval's leaf.
    let logged = Kept::new(9, 5, &[digest(1), logged_run(&run(at)).unwrap()]);
    assert_eq!(judge(&unlogged(&logged, at)), Err(UnloggedFault::Logged));
    let late = unlogged(&out, begins(6));
    assert_eq!(judge(&late), Err(UnloggedFault::Proof(LogProofFault::Leaf { given: 5, due: 6 })));
    assert_eq!(judge(&unlogged(&out, UnixMillis(5))), Err(UnloggedFault::BeforeLog));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let taken = UnloggedRun::from_bytes(&changed);
            assert!(taken.is_err() || taken.is_ok_and(|evidence| judge(&evidence).is_err()), "byte {at} bit {bit}");
        }
    }
    // Under the log of another store of the same organisation.
    let mut elsewhere = out;
    elsewhere.model.origin = Origin::new(org(1), StoreId::from_bytes([9; 16]), 0, CREATED_S, INTERVAL_S).unwrap();
    assert_eq!(judge(&unlogged(&elsewhere, at)), Err(UnloggedFault::Proof(LogProofFault::OtherLog)));
}

/// One message of each kind.
pub(crate) fn messages() -> Vec<LogMessage> {
    let kept = Kept::new(9, 5, &[digest(1), digest(2)]);
    let offer = kept.model.offer(4, 9);
    let accepted = Watch::Seen(kept.model.at(4)).handle_offer(&offer, begins(9)).unwrap();
    let cosignature = accepted.cosign(org(2), begins(9), &key(102)).unwrap();
    let seen = kept.model.at(9).to_bytes_with(&[cosignature.line().clone()]).unwrap();
    let mut runs = vec![digest(1), digest(2)];
    runs.sort();
    let proofs = runs.iter().map(|run| RunProof { run: *run, proof: kept.prove(*run, 9) }).collect();
    let stale = Declined::Stale { seen: 9, held: 4 };
    let store = kept.model.origin.store();
    vec![
        LogMessage::Offer(OfferMessage::new(&offer).unwrap()),
        LogMessage::Cosigned(CosignedMessage::new(&offer.new, &cosignature, true)),
        LogMessage::Declined(DeclinedMessage::new(&offer.new, &stale, Some(seen.clone()))),
        LogMessage::Declined(DeclinedMessage::new(&offer.new, &Declined::Suspended, None)),
        LogMessage::Proofs(ProofsMessage { proofs, checkpoint: offer.new.digest() }),
        LogMessage::Unproved(UnprovedMessage { runs: runs.clone(), store }),
        LogMessage::Owed(OwedMessage { runs, store }),
        LogMessage::Ask(AskMessage { store }),
        LogMessage::Seen(SeenMessage { note: None, store }),
        LogMessage::Seen(SeenMessage { note: Some(ByteBuf::from(seen.clone())), store }),
        LogMessage::Compare(CompareMessage { head: ByteBuf::from(seen) }),
    ]
}

#[test]
fn messages_come_back_and_are_bounded() {
    for message in messages() {
        let bytes = message.to_bytes().unwrap();
        assert_eq!(LogMessage::from_bytes(&bytes), Ok(message.clone()));
        for len in 0..bytes.len() {
            assert!(LogMessage::from_bytes(&bytes[..len]).is_err());
        }
        let wrong = |changed: LogMessage| assert_eq!(changed.to_bytes(), Err(CodecError::Shape), "{changed:?}");
        let long = ByteBuf::from(vec![b'x'; limits::NOTE_BYTES_MAX + 1]);
        let hash = Hash::from_bytes([1; 32]);
        match message {
            LogMessage::Offer(offer) => {
                wrong(LogMessage::Offer(OfferMessage { new: long.clone(), ..offer.clone() }));
                wrong(LogMessage::Offer(OfferMessage { held: Some(long), ..offer.clone() }));
                wrong(LogMessage::Offer(OfferMessage { proof: vec![hash; limits::LOG_PROOF_HASHES_MAX + 1], ..offer }));
            }
            LogMessage::Cosigned(cosigned) => {
                assert!(cosigned.named, "its witness agreed that others are shown it");
                for line in ["", "text", &format!("{}\n", cosigned.line), &cosigned.line.repeat(2)] {
                    wrong(LogMessage::Cosigned(CosignedMessage { line: line.to_owned(), ..cosigned.clone() }));
                }
            }
            LogMessage::Declined(declined) => {
                let early = DeclinedMessage {
                    code: DeclinedCode::Early,
                    seen: Some(ByteBuf::from(vec![1])),
                    ..declined.clone()
                };
                wrong(LogMessage::Declined(early));
                wrong(LogMessage::Declined(DeclinedMessage {
                    code: DeclinedCode::Stale,
                    seen: Some(long),
                    ..declined
                }));
            }
            LogMessage::Proofs(proofs) => {
                let with = |proofs: Vec<RunProof>| LogMessage::Proofs(ProofsMessage { proofs, checkpoint: hash });
                let one = proofs.proofs[0].clone();
                wrong(with(vec![]));
                wrong(with(vec![one.clone(); 2]));
                wrong(with(proofs.proofs.iter().rev().cloned().collect()));
                let numbered = |n: u32| {
                    let mut run = [0; 32];
                    run[..4].copy_from_slice(&n.to_be_bytes());
                    RunProof { run: LoggedDigest::from_bytes(run), ..one.clone() }
                };
                let many: Vec<_> = (0..=limits::PROOFS_PER_MESSAGE_MAX as u32).map(numbered).collect();
                assert!(with(many[1..].to_vec()).to_bytes().is_ok());
                wrong(with(many));
            }
            LogMessage::Unproved(unproved) => {
                let with = |runs| LogMessage::Unproved(UnprovedMessage { runs, store: unproved.store });
                wrong(with(vec![]));
                wrong(with(vec![digest(1); 2]));
                wrong(with(unproved.runs.iter().rev().copied().collect()));
            }
            LogMessage::Owed(owed) => {
                let with = |runs| LogMessage::Owed(OwedMessage { runs, store: owed.store });
                wrong(with(vec![]));
                wrong(with(vec![digest(1); 2]));
                wrong(with(owed.runs.iter().rev().copied().collect()));
            }
            LogMessage::Ask(_) => {}
            LogMessage::Seen(seen) => wrong(LogMessage::Seen(SeenMessage { note: Some(long), ..seen })),
            LogMessage::Compare(_) => wrong(LogMessage::Compare(CompareMessage { head: long })),
        }
    }
    let unknown = crate::codec::to_vec(
        &[("bye", 1)].into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        crate::codec::Bounds::bytes(64),
    );
    assert!(LogMessage::from_bytes(&unknown.unwrap()).is_err());
}

#[test]
fn every_changed_bit_of_a_message_is_refused_or_proves_nothing() {
    let kept = Kept::new(9, 5, &[digest(1), digest(2)]);
    let keys = [key(1).public().clone()];
    let checkpoint = kept.model.at(9);
    let holds = |message: &LogMessage| match message {
        LogMessage::Offer(offer) => offer
            .verify(org(1), &keys)
            .is_ok_and(|offer| Watch::Seen(kept.model.at(4)).handle_offer(&offer, begins(9)).is_ok()),
        LogMessage::Proofs(proofs) => {
            proofs.checkpoint == checkpoint.digest()
                && proofs.proofs.iter().all(|p| p.proof.verify(&checkpoint, 5, p.run) == Ok(Standing::Logged))
        }
        _ => false,
    };
    for message in messages().into_iter().filter(|m| matches!(m, LogMessage::Offer(_) | LogMessage::Proofs(_))) {
        assert!(holds(&message));
        let bytes = message.to_bytes().unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(!LogMessage::from_bytes(&changed).is_ok_and(|message| holds(&message)), "byte {at}");
        }
    }
}
