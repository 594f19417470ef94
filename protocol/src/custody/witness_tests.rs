//! Checkpoints, witnesses and forks: honest logs, and operators who rewrite, shrink, back-date and show two faces.

use super::{
    checkpoint::*,
    cosignature::*,
    fork::*,
    note::{Note, NoteFault, SignatureLine},
    testing::*,
    witness::*,
};
use crate::{
    id::{Hash, StoreId},
    limits, merkle,
    merkle::ProofFault,
    primitive::PublicKey,
    time::UnixMillis,
};
use proptest::prelude::*;

const LATE: UnixMillis = UnixMillis(u64::MAX);

fn read(bytes: &[u8], n: u8) -> Result<Checkpoint, CheckpointFault> {
    UnverifiedCheckpoint::from_bytes(bytes)?.verify(org(n), [key(n).public()])
}

#[test]
fn an_origin_has_one_form() {
    let text = origin(1).to_string();
    assert_eq!(text, format!("entente/1/log/{}/{}/0/1780000000/600", "01".repeat(32), "01".repeat(16)));
    assert_eq!(text.parse(), Ok(origin(1)));
    let with = |from: &str, to: &str| text.replacen(from, to, 1);
    for wrong in [
        String::new(),
        with("entente/1", "entente/2"),
        with("/600", "/0"),
        with("/0/178", "/00/178"),
        with("/0/178", "/4294967296/178"),
        with("/0/178", "/178"),
        with("/600", "/0600"),
        with("/600", "/+600"),
        with("/600", "/86401"),
        with("/600", ""),
        with("/600", "/600/"),
        with("/600", "/600 "),
        with("/178", "/9999999999178"),
        with("/01", "/O1"),
        text.to_uppercase(),
        with(&"01".repeat(32), &"AB".repeat(32)),
    ] {
        assert_eq!(wrong.parse::<Origin>(), Err(CheckpointFault::Origin), "{wrong}");
    }
    assert_eq!(Origin::new(org(1), StoreId::from_bytes([1; 16]), 0, 0, limits::LOG_INTERVAL_S_MAX + 1), None);
}

#[test]
fn size_tells_the_time_and_nothing_else_does() {
    let origin = origin(1);
    assert_eq!(origin.begins(0), UnixMillis(CREATED_S * 1_000));
    assert_eq!(origin.begins(3), begins(3));
    assert_eq!(Model::new(1, 5).at(5).time(), begins(5));
    let before = UnixMillis(begins(0).0 - 1);
    assert_eq!((origin.leaf_at(before), origin.size_at(before)), (None, 0));
    assert_eq!((origin.leaf_at(begins(0)), origin.size_at(begins(0))), (Some(0), 0));
    let last = UnixMillis(begins(1).0 - 1);
    assert_eq!((origin.leaf_at(last), origin.size_at(last)), (Some(0), 0));
    assert_eq!((origin.leaf_at(begins(1)), origin.size_at(begins(1))), (Some(1), 1));
    assert_eq!(origin.begins(u64::MAX), UnixMillis(u64::MAX));
    assert!(origin.size_at(LATE) <= limits::LOG_SIZE_MAX);
}

#[test]
fn every_changed_byte_of_a_checkpoint_is_refused() {
    let checkpoint = Model::new(1, 5).at(5);
    let bytes = checkpoint.to_bytes().unwrap();
    assert_eq!(read(&bytes, 1), Ok(checkpoint));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            assert!(read(&changed, 1).is_err(), "byte {at} bit {bit}");
        }
        assert!(read(&bytes[..at], 1).is_err());
    }
}

#[test]
fn a_checkpoint_is_its_own_organisations() {
    let bytes = Model::new(1, 5).at(5).to_bytes().unwrap();
    let verify = |n, keys: &[PublicKey]| UnverifiedCheckpoint::from_bytes(&bytes).unwrap().verify(org(n), keys);
    let (own, other) = (key(1).public().clone(), key(2).public().clone());
    assert!(verify(1, &[other.clone(), own.clone()]).is_ok());
    assert_eq!(verify(2, &[own]), Err(CheckpointFault::Organisation));
    assert_eq!(verify(1, &[other]), Err(NoteFault::Unsigned.into()));
    assert_eq!(verify(1, &[]), Err(NoteFault::Unsigned.into()));
}

#[test]
fn sizes_that_no_log_has_are_refused() {
    let root = Hash::from_bytes([7; 32]);
    let sign = |size| Checkpoint::sign(origin(1), TreeHead { size, root }, &key(1)).err();
    assert_eq!(sign(1), None);
    assert_eq!(sign(0), Some(CheckpointFault::Size));
    // 600 seconds times this is in the year 36000: there is no such time.
    assert_eq!(sign(1 << 39), Some(CheckpointFault::Size));
    assert_eq!(sign(u64::MAX), Some(CheckpointFault::Size));
    let text = |size: &str, more: &str| {
        let text = Model::new(1, 1).at(1).text().replacen("\n1\n", &format!("\n{size}\n"), 1) + more;
        let line = SignatureLine::sign(&text, super::note::KeyName::new(&origin(1).to_string()).unwrap(), &key(1));
        read(Note::new(text, vec![line.unwrap()]).unwrap().to_string().as_bytes(), 1).err()
    };
    assert_eq!(text("1", ""), None);
    for form in ["01", "+1", "-1", "1 ", "", "18446744073709551616", "0x1"] {
        assert_eq!(text(form, ""), Some(CheckpointFault::Form), "{form}");
    }
    for size in ["0", "18446744073709551615"] {
        assert_eq!(text(size, ""), Some(CheckpointFault::Size), "{size}");
    }
    // Signed, and with a line that might say more than the size does.
    assert_eq!(text("1", "extension\n"), Some(CheckpointFault::Form));
}

/// What a witness with this memory says of an offer.
fn judge(seen: Option<Checkpoint>, offer: &Offer) -> Result<Step, Declined> {
    let watch = seen.map_or(Watch::Unseen, Watch::Seen);
    watch.handle_offer(offer, LATE).map(|accepted| accepted.step())
}

#[test]
fn a_log_that_goes_on_is_witnessed() {
    let log = Model::new(1, 40);
    assert_eq!(judge(None, &log.offer(0, 7)), Ok(Step::First));
    assert_eq!(judge(Some(log.at(7)), &log.offer(7, 7)), Ok(Step::Same));
    for new in 8..=40 {
        assert_eq!(judge(Some(log.at(7)), &log.offer(7, new)), Ok(Step::Grown));
    }
}

#[test]
fn what_does_not_begin_at_what_was_seen_is_declined() {
    let log = Model::new(1, 20);
    let stale = |seen, held| Err(Declined::Stale { seen, held });
    assert_eq!(judge(Some(log.at(9)), &log.offer(0, 20)), stale(9, 0));
    assert_eq!(judge(Some(log.at(9)), &log.offer(8, 20)), stale(9, 8));
    assert_eq!(judge(Some(log.at(9)), &log.offer(10, 20)), stale(9, 10));
    assert_eq!(judge(None, &log.offer(3, 20)), stale(0, 3));
    // An older copy of the log, put back: it shows less than was seen.
    assert_eq!(judge(Some(log.at(9)), &log.offer(5, 7)), stale(9, 5));
    assert_eq!(judge(Some(log.at(9)), &log.offer(0, 5)), stale(9, 0));
    let shrinks = Offer { held: Some(log.at(9)), new: log.at(5), proof: vec![] };
    assert_eq!(judge(Some(log.at(9)), &shrinks), Err(Declined::Shrinks { held: 9, new: 5 }));
}

#[test]
fn proofs_that_do_not_hold_are_declined() {
    let log = Model::new(1, 20);
    let good = log.offer(9, 20);
    let with = |proof: Vec<Hash>| judge(Some(log.at(9)), &Offer { proof, ..good.clone() });
    for at in 0..good.proof.len() {
        for bit in 0..256usize {
            let mut proof = good.proof.clone();
            let mut bytes = *proof[at].as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            proof[at] = Hash::from_bytes(bytes);
            assert_eq!(with(proof), Err(Declined::Proof(ProofFault::Root)));
        }
        assert!(with(good.proof[..at].to_vec()).is_err());
    }
    let many = vec![good.proof[0]; limits::LOG_PROOF_HASHES_MAX + 1];
    assert_eq!(with(many.clone()), Err(Declined::Proof(ProofFault::Length)));
    let first = Offer { held: None, ..good.clone() };
    assert_eq!(judge(None, &first), Err(Declined::Proof(ProofFault::Length)), "nothing to prove from nothing");
    let same = Offer { proof: many, ..log.offer(9, 9) };
    assert_eq!(judge(Some(log.at(9)), &same), Err(Declined::Proof(ProofFault::Length)));
}

#[test]
fn a_time_to_come_is_not_witnessed() {
    let log = Model::new(1, 6);
    let watch = Watch::Unseen;
    let early = UnixMillis(begins(6).0 - 1);
    assert_eq!(watch.handle_offer(&log.offer(0, 6), early), Err(Declined::Future { time: begins(6) }));
    assert!(watch.handle_offer(&log.offer(0, 6), begins(6)).is_ok());
}

fn fork(result: Result<Step, Declined>) -> ForkProof {
    match result {
        Err(Declined::Fork(proof)) => *proof,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rewritten_log_contradicts_itself() {
    let log = Model::new(1, 20);
    let rewritten = Model::new(1, 20).rewritten(4);
    let keys = [key(1).public().clone()];
    // Another root at the size that was seen, another held head, and both at once.
    for offer in [rewritten.offer(0, 9), rewritten.offer(9, 20), rewritten.offer(9, 9)] {
        let proof = fork(judge(Some(log.at(9)), &offer));
        assert_eq!((proof.fork(), proof.heads().0), (Fork::Roots, &log.at(9)));
        let shown = proof.to_bytes().unwrap();
        assert_eq!(ForkProof::from_bytes(&shown, org(1), &keys).unwrap(), proof, "whoever has the card can check it");
    }
    // What was rewritten comes after what the witness saw: it goes on from there, and nobody was told otherwise.
    assert_eq!(judge(Some(log.at(4)), &rewritten.offer(4, 20)), Ok(Step::Grown));
    // The log shows the head that was seen, and goes on from another: there is no proof from one to the other.
    let two_faced = Offer { held: Some(log.at(9)), ..rewritten.offer(9, 20) };
    assert_eq!(judge(Some(log.at(9)), &two_faced), Err(Declined::Proof(ProofFault::Root)));
    let watch = Watch::Forked(Box::new(fork(judge(Some(log.at(9)), &rewritten.offer(9, 20)))));
    assert_eq!(watch.handle_offer(&log.offer(9, 20), LATE), Err(Declined::Suspended));
}

#[test]
fn a_store_has_one_log() {
    let log = Model::new(1, 9);
    let other = |created_s, interval_s| {
        let origin = Origin::new(org(1), log.origin.store(), 0, created_s, interval_s).unwrap();
        Model { origin, leaves: log.leaves.clone() }
    };
    for second in [other(CREATED_S, 1), other(CREATED_S + 1, INTERVAL_S)] {
        assert_eq!(fork(judge(Some(log.at(9)), &second.offer(0, 9))).fork(), Fork::Origins);
        assert_eq!(fork(judge(None, &Offer { held: Some(second.at(3)), ..log.offer(3, 9) })).fork(), Fork::Origins);
    }
    // Another store, and another organisation: no fork, and no mixture.
    let elsewhere = Origin::new(org(1), StoreId::from_bytes([9; 16]), 0, CREATED_S, INTERVAL_S).unwrap();
    let elsewhere = Model { origin: elsewhere, leaves: log.leaves.clone() };
    assert_eq!(judge(Some(log.at(9)), &elsewhere.offer(0, 9)), Err(Declined::OtherLog));
    assert_eq!(judge(Some(log.at(9)), &Model::new(2, 9).offer(0, 9)), Err(Declined::OtherLog));
}

/// A store was restored from an older copy. What its log signed since then is lost, and nobody can make it again; its next
/// epoch says so to each witness, by the head that this one saw.
#[test]
fn an_older_copy_begins_anew_and_owns_up_to_what_was_seen() {
    let log = Model::new(1, 20);
    let anew = |epoch, created_s| {
        let origin = Origin::new(org(1), log.origin.store(), epoch, created_s, INTERVAL_S).unwrap();
        Model { origin, leaves: Model::new(1, 5).rewritten(0).leaves }
    };
    let after = CREATED_S + 9 * INTERVAL_S;
    let next = anew(1, after);
    let offer = |held: Option<Checkpoint>, log: &Model| Offer { held, ..log.offer(0, 3) };
    let stale = |seen, held| Err(Declined::Stale { seen, held });
    assert_eq!(judge(Some(log.at(9)), &offer(Some(log.at(9)), &next)), Ok(Step::Anew));
    assert_eq!(judge(Some(log.at(9)), &offer(Some(log.at(9)), &anew(7, after))), Ok(Step::Anew), "it missed some");
    assert_eq!(judge(None, &offer(None, &next)), Ok(Step::First));
    // It does not own up to what was seen, or to all of it.
    assert_eq!(judge(Some(log.at(9)), &offer(None, &next)), stale(9, 0));
    assert_eq!(judge(Some(log.at(9)), &offer(Some(log.at(8)), &next)), stale(9, 8));
    assert_eq!(judge(None, &offer(Some(log.at(9)), &next)), stale(0, 9));
    // The earlier epoch does not come back, nor is a head of it one of the later.
    assert_eq!(judge(Some(next.at(3)), &log.offer(3, 3)), stale(3, 3));
    assert_eq!(judge(Some(next.at(3)), &Offer { held: Some(log.at(3)), ..next.offer(3, 4) }), stale(3, 3));
    let proved = Offer { held: Some(log.at(9)), ..next.offer(2, 3) };
    assert_eq!(judge(Some(log.at(9)), &proved), stale(9, 9), "nothing is proved from one to the other");
    // It was begun before it ended: so one of the two is not true of that time.
    let overlap = anew(1, after - 1);
    let proof = fork(judge(Some(log.at(9)), &offer(Some(log.at(9)), &overlap)));
    assert_eq!(proof.fork(), Fork::Epochs);
    assert_eq!(ForkProof::of(&overlap.at(1), &log.at(9)).map(|proof| proof.fork()), Some(Fork::Epochs));
    assert_eq!(ForkProof::of(&next.at(1), &log.at(9)), None);
}

#[test]
fn two_heads_that_can_both_be_true_are_no_fork() {
    let log = Model::new(1, 20);
    let rewritten = Model::new(1, 20).rewritten(0);
    assert_eq!(ForkProof::of(&log.at(9), &log.at(9)), None);
    assert_eq!(ForkProof::of(&log.at(9), &rewritten.at(10)), None, "different sizes say nothing by themselves");
    assert_eq!(ForkProof::of(&log.at(9), &Model::new(2, 9).at(9)), None);
    let proof = ForkProof::of(&log.at(9), &rewritten.at(9)).unwrap().to_bytes().unwrap();
    let keys = [key(1).public().clone()];
    assert!(ForkProof::from_bytes(&proof, org(2), &keys).is_err());
    assert!(ForkProof::from_bytes(&proof, org(1), &[key(2).public().clone()]).is_err());
    for at in 0..proof.len() {
        let mut changed = proof.clone();
        changed[at] ^= 1;
        assert!(ForkProof::from_bytes(&changed, org(1), &keys).is_err(), "byte {at}");
        assert!(ForkProof::from_bytes(&proof[..at], org(1), &keys).is_err());
    }
}

/// C2SP tlog-witness: check N, store N+K, store N would take the witness back. Offers are judged at once, and each head
/// stored only where the watch is still the one that judged it.
#[test]
fn offers_judged_at_once_never_take_a_witness_back() {
    let log = Model::new(1, 80);
    for seed in 0..64u64 {
        let mut watch = Watch::Seen(log.at(1));
        let mut waiting: Vec<(Watch, Accepted)> = Vec::new();
        let (mut last, mut state) = (1, seed);
        for round in 0..200u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(round | 1);
            if state >> 63 == 0 {
                let new = (last + state % 5).min(80);
                if let Ok(accepted) = watch.handle_offer(&log.offer(last, new), LATE) {
                    waiting.push((watch.clone(), accepted));
                }
            } else if !waiting.is_empty() {
                let (judged_by, accepted) = waiting.swap_remove((state >> 8) as usize % waiting.len());
                if judged_by == watch {
                    let size = accepted.checkpoint().head().size;
                    assert!(size >= last, "{size} after {last}");
                    last = size;
                    watch = Watch::Seen(accepted.checkpoint().clone());
                }
            }
        }
        assert!(last > 1, "seed {seed}");
    }
}

/// The checkpoint of `log` at `size`, cosigned by these organisations at these times.
fn cosigned(log: &Model, size: u64, by: &[(u8, UnixMillis)]) -> Vec<u8> {
    let cosign = |(n, at): &(u8, UnixMillis)| {
        let accepted = Watch::Unseen.handle_offer(&log.offer(0, size), LATE).unwrap();
        accepted.cosign(org(*n), *at, &key(*n + 100)).unwrap().line().clone()
    };
    let lines: Vec<SignatureLine> = by.iter().map(cosign).collect();
    log.at(size).to_bytes_with(&lines).unwrap()
}

fn witness_keys(n: u8) -> (crate::id::OrgId, Vec<PublicKey>) {
    (org(n), vec![key(n + 100).public().clone()])
}

fn witnessed(note: &[u8], quorum: &Quorum, now: UnixMillis) -> Result<Witnessed, WitnessFault> {
    let unverified = UnverifiedCheckpoint::from_bytes(note).map_err(|_| NoteFault::Form)?;
    let checkpoint = unverified.verify(org(1), [key(1).public()]).map_err(|_| NoteFault::Unsigned)?;
    quorum.verify(&checkpoint, &unverified, now)
}

#[test]
fn a_quorum_counts_organisations() {
    let log = Model::new(1, 6);
    let later = |s: u64| begins(6).plus(s * 1_000);
    let two = Quorum::new(org(1), &[witness_keys(2), witness_keys(3), witness_keys(4)], 2).unwrap();
    let check = |by: &[(u8, UnixMillis)], expected: Result<u64, WitnessFault>| {
        let found = witnessed(&cosigned(&log, 6, by), &two, later(100));
        assert_eq!(found.map(|w| w.since().0), expected.map(|s| later(s).0));
    };
    let few = |given| Err(WitnessFault::TooFew { given, needed: 2 });
    check(&[(2, later(1)), (3, later(2))], Ok(2));
    check(&[(4, later(9)), (2, later(1)), (3, later(2))], Ok(2));
    check(&[], few(0));
    check(&[(2, later(1))], few(1));
    // RUSTSEC-2020-0024: one witness as often as it likes is one witness.
    check(&[(2, later(1)), (2, later(2)), (2, later(3))], few(1));
    check(&[(2, later(1)), (9, later(2))], few(1));
    // The log's own organisation is none, whatever it signs.
    check(&[(2, later(1)), (1, later(1))], few(1));
    let soon = WitnessFault::Time { witness: org(2) };
    check(&[(2, UnixMillis(begins(6).0 - 1_000)), (3, later(2))], Err(soon.clone()));
    check(&[(2, later(100).plus(limits::CLOCK_SKEW_MS_MAX + 1_000)), (3, later(2))], Err(soon));
}

#[test]
fn two_names_for_one_key_are_no_quorum() {
    let keys = |n: u8, seed: u8| (org(n), vec![key(seed).public().clone()]);
    let refused = |witnesses: &[_], needed| Quorum::new(org(1), witnesses, needed).err();
    assert_eq!(refused(&[keys(2, 102), keys(3, 103)], 2), None);
    assert_eq!(refused(&[keys(2, 102), keys(3, 102)], 2), Some(QuorumError::Twice { witness: org(3) }));
    assert_eq!(refused(&[keys(2, 102), keys(2, 103)], 2), Some(QuorumError::Twice { witness: org(2) }));
    assert_eq!(refused(&[keys(2, 102), keys(1, 101)], 1), Some(QuorumError::Own));
    for needed in [0, 3] {
        assert_eq!(refused(&[keys(2, 102), keys(3, 103)], needed), Some(QuorumError::Needed));
    }
    let many: Vec<_> = (2..).take(limits::WITNESSES_MAX + 1).map(|n| keys(n, n)).collect();
    assert_eq!(refused(&many, 1), Some(QuorumError::Needed));
    assert_eq!(refused(&many[..limits::WITNESSES_MAX], 1), None);
}

#[test]
fn every_changed_byte_of_a_cosigned_checkpoint_is_refused() {
    let log = Model::new(1, 6);
    let note = cosigned(&log, 6, &[(2, begins(6)), (3, begins(6))]);
    let both = Quorum::new(org(1), &[witness_keys(2), witness_keys(3)], 2).unwrap();
    assert_eq!(witnessed(&note, &both, begins(7)).unwrap().by().len(), 2);
    for at in 0..note.len() {
        for bit in 0..8 {
            let mut changed = note.clone();
            changed[at] ^= 1 << bit;
            assert!(witnessed(&changed, &both, begins(7)).is_err(), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn a_cosignature_is_of_one_checkpoint_and_one_witness() {
    let log = Model::new(1, 7);
    let accepted = Watch::Unseen.handle_offer(&log.offer(0, 6), LATE).unwrap();
    let made = accepted.cosign(org(2), begins(6).plus(1_999), &key(102)).unwrap();
    assert_eq!(made.time(), begins(6).plus(1_000), "whole seconds");
    let verify =
        |size, n, seed: u8| Cosignature::verify(made.line(), &log.at(size), org(n), [key(seed).public()], begins(7));
    assert_eq!(verify(6, 2, 102), Ok(made.clone()));
    assert_eq!(verify(7, 2, 102), Err(WitnessFault::Note(NoteFault::Invalid { name: made.line().name().clone() })));
    assert_eq!(verify(6, 3, 102), Err(WitnessFault::Note(NoteFault::Unsigned)));
    assert_eq!(verify(6, 2, 103), Err(WitnessFault::Note(NoteFault::Unsigned)));
    let line = log.at(6).to_bytes().unwrap();
    let own = Note::from_bytes(&line).unwrap().lines()[0].clone();
    assert!(Cosignature::verify(&own, &log.at(6), org(1), [key(1).public()], begins(7)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever a log offers, a witness that accepted it holds a prefix of it.
    #[test]
    fn what_is_witnessed_is_one_history(sizes in prop::collection::vec((1u64..24, 1u64..24, 0usize..24, any::<bool>()), 1..12)) {
        let mut watch = Watch::Unseen;
        let mut accepted_leaves: Vec<Hash> = Vec::new();
        for (held, new, at, rewrite) in sizes {
            let log = if rewrite { Model::new(1, 24).rewritten(at) } else { Model::new(1, 24) };
            let held = if matches!(watch, Watch::Unseen) { 0 } else { held };
            match watch.handle_offer(&log.offer(held.min(new), new), LATE) {
                Ok(accepted) => {
                    let size = accepted.checkpoint().head().size as usize;
                    prop_assert!(size >= accepted_leaves.len());
                    prop_assert_eq!(&log.leaves[..accepted_leaves.len()], accepted_leaves.as_slice());
                    accepted_leaves = log.leaves[..size].to_vec();
                    prop_assert_eq!(accepted.checkpoint().head().root, merkle::root(&accepted_leaves));
                    watch = Watch::Seen(accepted.checkpoint().clone());
                }
                Err(Declined::Fork(proof)) => prop_assert_eq!(proof.fork(), Fork::Roots),
                Err(_) => {}
            }
        }
    }
}
