//! Feeds through the real thing: every refusal begins with a run that is accepted.

use super::{testing::*, *};
use crate::{
    batch::{AttestationFault, Batch},
    clearance::{Clearance, Terms},
    codec::{self, Bounds, CodecError},
    cose::{SignatureBytes, SignatureFault},
    grant::{Beside, Grant, Scope},
    id::{AgreementDigest, EntryHash, FeedDigest, GrantId, Hash, KeyId, Nonce},
    limits,
    record::{Redacted, SlotSet, kind::Kind},
    time::UnixMillis,
};

const BOUNDS: Bounds = Bounds { bytes_max: limits::FRAME_BYTES_MAX, items_max: limits::RUN_ITEMS_MAX };

/// Three releases, a withdrawal and a supplement.
fn sender() -> Sender {
    let mut sender = Sender::new(feed_key(1, 2, 9), 4);
    sender.release(0, &[8]);
    sender.release(1, &[8, 10, 12]);
    sender.release(2, &[]);
    sender.withdraw(0);
    sender.release(1, &[8]);
    sender
}

fn next(received: Result<ReceivedRun, RunFault>) -> VerifiedRun {
    match received {
        Ok(ReceivedRun::Next(run)) => *run,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_run_arrives_and_every_entry_is_proved() {
    let sender = sender();
    let message = sender.run(0..5);
    let bytes = codec::to_vec(&message, BOUNDS).unwrap();
    let read: RunMessage = codec::from_slice(&bytes, BOUNDS).unwrap();
    assert_eq!(read, message);
    let run = next(verify(&read, &sender.key, sender.cursor(0)));
    assert_eq!(run.run().end(), sender.cursor(5));
    let VerifiedEntry::Release(release) = &run.entries()[1].1 else { panic!() };
    assert_eq!(release.record.shown().iter().collect::<Vec<_>>(), [8, 10, 12]);
    assert_eq!(run.heads()[release.attestation].as_ref().unwrap().originator, org(1));
    assert!(matches!(run.entries()[3].1, VerifiedEntry::Withdrawal { record } if record == sender.records[0].id()));
}

#[test]
fn an_entry_served_as_its_hash_keeps_digest_and_root() {
    let mut sender = sender();
    let open = next(verify(&sender.run(0..5), &sender.key, sender.cursor(0)));
    sender.entries[0].closed = true;
    let message = sender.run(0..5);
    assert_eq!(message.carried.len(), 3);
    let closed = next(verify(&message, &sender.key, sender.cursor(0)));
    assert_eq!(closed.run().root, open.run().root);
    assert_eq!(closed.entries()[0].1, VerifiedEntry::Closed);
}

#[test]
fn a_run_of_another_feed_is_refused() {
    let sender = sender();
    let message = sender.run(0..5);
    let refused = |feed: FeedKey| {
        let held = Held { feed: Cursor::start(feed.id()), prior: None };
        assert_eq!(message.verify(&feed, held, runs_key(org(1)), records_key), Err(RunFault::Feed));
    };
    refused(feed_key(1, 2, 8));
    refused(feed_key(2, 1, 9));
    refused(feed_key(1, 3, 9));
    refused(FeedKey { store: StoreId::from_bytes([5; 16]), ..sender.key });
    refused(FeedKey { epoch: 1, ..sender.key });
    let forged =
        message.verify(&sender.key, Held { feed: sender.cursor(0), prior: None }, runs_key(org(3)), records_key);
    assert_eq!(forged, Err(RunFault::Signature(SignatureFault::Key)));
}

#[test]
fn gap_overlap_replay_and_fork() {
    let sender = sender();
    let held = |message: &RunMessage, cursor| verify(message, &sender.key, cursor);
    assert_eq!(held(&sender.run(2..4), sender.cursor(1)), Err(RunFault::Place { first: 2, expected: 1 }));
    assert_eq!(held(&sender.run(0..4), sender.cursor(2)), Err(RunFault::Place { first: 0, expected: 2 }));
    assert!(matches!(held(&sender.run(0..2), sender.cursor(2)), Ok(ReceivedRun::Held(_))));
    assert!(matches!(held(&sender.run(0..2), sender.cursor(4)), Ok(ReceivedRun::Held(_))));
    let other = Cursor { length: 2, digest: FeedDigest::from_bytes([0; 32]) };
    assert!(matches!(held(&sender.run(0..2), other), Ok(ReceivedRun::Fork(_))));
    assert!(matches!(held(&sender.run(2..4), other), Ok(ReceivedRun::Fork(_))));
}

#[test]
fn what_was_not_signed_is_refused() {
    let sender = sender();
    let refuse = |change: fn(&mut RunMessage), expected: fn(&RunFault) -> bool| {
        let mut message = sender.run(0..5);
        change(&mut message);
        let fault = verify(&message, &sender.key, sender.cursor(0)).unwrap_err();
        assert!(expected(&fault), "{fault:?}");
    };
    refuse(|m| drop(m.entries.pop()), |f| *f == RunFault::Entries);
    refuse(|m| m.entries.swap(0, 1), |f| *f == RunFault::Entries);
    refuse(|m| m.entries[0] = RunEntry::Hash(EntryHash::from_bytes([1; 32])), |f| *f == RunFault::Entries);
    // A body is missing, stands twice, stands out of order, or beside a withdrawal or a hash.
    refuse(|m| drop(m.carried.remove(1)), |f| *f == RunFault::Carried { index: 1 });
    refuse(|m| m.carried.insert(0, m.carried[0].clone()), |f| *f == RunFault::Carried { index: 1 });
    refuse(|m| m.carried.swap(0, 1), |f| *f == RunFault::Carried { index: 0 });
    refuse(|m| m.carried.insert(3, Carried(3, 0, 0, vec![])), |f| *f == RunFault::Carried { index: 3 });
    refuse(|m| m.entries[0] = RunEntry::Hash(m.entries[0].hash()), |f| *f == RunFault::Carried { index: 0 });
    refuse(|m| m.carried.push(Carried(9, 0, 0, vec![])), |f| *f == RunFault::Carried { index: 9 });
    // Another body, another place in the batch, another attestation.
    refuse(|m| m.carried[1].3 = m.carried[0].3.clone(), |f| *f == RunFault::Release { index: 1 });
    refuse(|m| *m.carried[1].3.last_mut().unwrap() ^= 1, |f| *f == RunFault::Release { index: 1 });
    refuse(|m| m.carried[1].2 ^= 1, |f| matches!(f, RunFault::Attestation { index: 0, .. }));
    refuse(|m| m.carried[1].1 = 1, |f| *f == RunFault::Carried { index: 1 });
    refuse(|m| m.attestations.clear(), |f| *f == RunFault::Carried { index: 0 });
    refuse(|m| m.attestations.push(m.attestations[0].clone()), |f| *f == RunFault::Surplus { index: 1 });
    refuse(|m| m.attestations[0].nodes.truncate(1), |f| matches!(f, RunFault::Attestation { index: 0, .. }));
    assert!(verify(&sender.run(0..5), &sender.key, sender.cursor(0)).is_ok());
}

#[test]
fn every_changed_bit_of_a_run_message_is_refused() {
    let sender = sender();
    let bytes = codec::to_vec(&sender.run(0..2), BOUNDS).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        let accepted = codec::from_slice::<RunMessage>(&changed, BOUNDS)
            .is_ok_and(|m| matches!(verify(&m, &sender.key, sender.cursor(0)), Ok(ReceivedRun::Next(_))));
        assert!(!accepted, "byte {at}");
    }
}

#[test]
fn bodies_are_bounded() {
    let sender = sender();
    let long = vec![0; limits::RELEASE_BYTES_MAX + 1];
    let refused = CodecError::TooLong { len: long.len(), max: limits::RELEASE_BYTES_MAX };
    assert_eq!(Release::from_bytes(&long), Err(refused));
    let mut message = sender.run(0..5);
    let many = limits::RUN_BODY_BYTES_MAX / limits::RELEASE_BYTES_MAX + 1;
    message.carried = (0..many).map(|_| Carried(0, 0, 0, vec![0; limits::RELEASE_BYTES_MAX])).collect();
    assert_eq!(verify(&message, &sender.key, sender.cursor(0)), Err(RunFault::TooLarge));
    let hashes = vec![EntryHash::from_bytes([1; 32]); limits::RUN_ENTRIES_MAX + 1];
    let over = |n: usize| Run::over(sender.key.id(), sender.cursor(0), &hashes[..n], VERSION, UnixMillis(1), None);
    assert_eq!(over(0), Err(RunError::Count { given: 0 }));
    assert!(over(hashes.len() - 1).is_ok());
    assert_eq!(over(hashes.len()), Err(RunError::Count { given: hashes.len() }));
}

#[test]
fn the_stated_overhead_covers_the_worst_proof() {
    let entry = Entry::Release {
        hash: Hash::from_bytes([0; 32]),
        salt: Nonce::from_bytes([0; 16]),
        record: record(org(1), 1).id(),
    };
    let entry = RunEntry::Open(entry.to_bytes().unwrap());
    // A record alone in its batch needs every one of the 16 nodes.
    let mut sender = Sender::new(feed_key(1, 2, 9), 1);
    sender.release(0, &[8]);
    let message = sender.run(0..1);
    assert_eq!(message.attestations[0].nodes.len(), usize::from(limits::BATCH_TREE_DEPTH));
    let beside = codec::to_vec(&message.attestations[0], BOUNDS).unwrap().len()
        + codec::to_vec(&entry, BOUNDS).unwrap().len()
        + codec::to_vec(&Carried(u16::MAX, u16::MAX, u16::MAX, vec![0; 70_000]), BOUNDS).unwrap().len()
        - 70_000;
    // The head may also carry a checkpoint's digest.
    assert!(beside + 48 <= RUN_ENTRY_OVERHEAD_BYTES, "{beside}");
}

#[test]
fn a_later_epoch_names_what_was_countersigned_before() {
    let feed = FeedKey { epoch: 1, ..feed_key(1, 2, 9) };
    let hashes = [EntryHash::from_bytes([1; 32])];
    let signed = |feed: FeedKey, before: Cursor, prior: Option<Cursor>| {
        let run = Run::over(feed.id(), before, &hashes, VERSION, UnixMillis(1), prior).unwrap();
        Run::verify(&run.sign(&key(1)).unwrap(), &feed, runs_key(org(1))).map(|r| r == run)
    };
    let prior = Cursor { length: 12, digest: FeedDigest::from_bytes([3; 32]) };
    let start = Cursor::start(feed.id());
    assert_eq!(signed(feed, start, Some(prior)), Ok(true));
    assert_eq!(signed(feed, start, None), Err(RunFault::Prior));
    let later = Cursor { length: 1, ..start };
    assert_eq!(signed(feed, later, None), Ok(true));
    assert_eq!(signed(feed, later, Some(prior)), Err(RunFault::Prior));
    assert_eq!(signed(FeedKey { epoch: 0, ..feed }, start, Some(prior)), Err(RunFault::Prior));
}

/// A run of one withdrawal, as the sender of a later epoch signs it.
fn first_of_epoch(feed: FeedKey, prior: Cursor) -> RunMessage {
    let salt = Nonce::from_bytes([4; 16]);
    let entry = Entry::Withdrawal { code: WITHDRAWN, salt, record: record(org(1), 1).id() }.to_bytes().unwrap();
    let hashes = [Entry::hash_of(&entry)];
    let run = Run::over(feed.id(), Cursor::start(feed.id()), &hashes, VERSION, UnixMillis(1), Some(prior)).unwrap();
    RunMessage {
        run: run.sign(&key(1)).unwrap(),
        onward: None,
        carried: vec![],
        entries: vec![RunEntry::Open(entry)],
        attestations: vec![],
    }
}

#[test]
fn a_later_epoch_that_names_another_past_is_a_fork() {
    let sender = sender();
    let feed = FeedKey { epoch: 1, ..sender.key };
    assert_eq!((feed.previous(), sender.key.previous()), (Some(sender.key), None));
    let take = |named: Cursor, held: Cursor| {
        let held = Held { feed: Cursor::start(feed.id()), prior: Some(held) };
        first_of_epoch(feed, named).verify(&feed, held, runs_key(org(1)), records_key)
    };
    assert!(matches!(take(sender.cursor(5), sender.cursor(5)), Ok(ReceivedRun::Next(_))));
    assert!(matches!(take(sender.cursor(0), sender.cursor(0)), Ok(ReceivedRun::Next(_))));
    // Shorter than what we countersigned: the sender forgets. Longer or other: it invents.
    for (named, held) in [(3, 5), (5, 3), (0, 5)] {
        assert!(matches!(take(sender.cursor(named), sender.cursor(held)), Ok(ReceivedRun::Fork(_))), "{named} {held}");
    }
    let other = Cursor { length: 5, digest: FeedDigest::from_bytes([3; 32]) };
    assert!(matches!(take(other, sender.cursor(5)), Ok(ReceivedRun::Fork(_))));
}

#[test]
fn withdrawals_and_refusals_have_one_code_and_say_no_more() {
    let salt = Nonce::from_bytes([1; 16]);
    let record = record(org(1), 1).id();
    let read = |entry: Entry| Entry::from_bytes(&entry.to_bytes().unwrap());
    let withdrawal = |code| Entry::Withdrawal { code, salt, record };
    let refusal = |code| Entry::Refusal { code, salt, number: 7 };
    assert_eq!(read(withdrawal(WITHDRAWN)), Ok(withdrawal(WITHDRAWN)));
    assert_eq!(read(refusal(REFUSED)), Ok(refusal(REFUSED)));
    for code in [0, 2, u16::MAX] {
        assert_eq!(read(withdrawal(code)), Err(CodecError::Shape));
        assert_eq!(read(refusal(code)), Err(CodecError::Shape));
    }
}

#[test]
fn records_of_a_former_key_are_attested_anew() {
    // The originator's records key has ended: its batches are no longer taken, the same records in a new batch are.
    let mut sender = sender();
    let ended = key(101);
    let present = |org: OrgId, kid| records_key(org, kid).filter(|k| *k != *ended.public());
    let later = key(150);
    let present = |of: OrgId, kid: KeyId| {
        present(of, kid).or_else(|| Some(later.public().clone()).filter(|k| of == org(1) && k.id() == kid))
    };
    let held = Held { feed: sender.cursor(0), prior: None };
    let take = |sender: &Sender| sender.run(0..5).verify(&sender.key, held, runs_key(org(1)), present);
    let refused = take(&sender).unwrap_err();
    assert_eq!(refused, RunFault::Attestation { index: 0, fault: AttestationFault::Signature(SignatureFault::Key) });
    let ids: Vec<_> = sender.records.iter().map(crate::record::Record::id).collect();
    sender.batch = Batch::attest(&ids, &[8; 32], org(1), UnixMillis(90), None, &later).unwrap();
    assert!(matches!(take(&sender), Ok(ReceivedRun::Next(_))));
}

#[test]
fn one_entry_is_proved_alone_and_a_second_tree_is_not_covered() {
    let sender = sender();
    let message = sender.run(0..5);
    let run = Run::verify(&message.run, &sender.key, runs_key(org(1))).unwrap();
    let hashes = sender.hashes(0..5);
    let receipt = Receipt::of(&run, UnixMillis(9)).sign(&key(2)).unwrap();
    let proof = EntryProof {
        run: message.run.clone(),
        entry: hashes[2],
        index: 2,
        nodes: run.prove(&hashes, 2),
        receipt: Some(receipt.clone()),
    };
    let check = |p: &EntryProof| p.verify(&sender.key, runs_key(org(1)), runs_key(org(2)));
    let read = EntryProof::from_bytes(&proof.to_bytes().unwrap()).unwrap();
    assert_eq!(check(&read).unwrap().1.map(|r| r.held), Some(sender.cursor(5)));
    assert_eq!(check(&EntryProof { index: 3, ..proof.clone() }), Err(RunFault::Entries));
    assert_eq!(check(&EntryProof { entry: hashes[1], ..proof.clone() }), Err(RunFault::Entries));
    // A sender that signs another tree under the same digests: the receipt names the root.
    let mut lie = Run { root: Hash::from_bytes([0; 32]), ..run.clone() };
    let invented = EntryHash::from_bytes([0xee; 32]);
    let tree = [hashes[0], hashes[1], invented, hashes[3], hashes[4]];
    lie.root = super::run::root(run.feed, 0, &tree);
    let lying = EntryProof {
        run: lie.sign(&key(1)).unwrap(),
        entry: invented,
        index: 2,
        nodes: lie.prove(&tree, 2),
        receipt: None,
    };
    assert!(check(&lying).is_ok(), "the sender's own statement stands");
    assert_eq!(check(&EntryProof { receipt: Some(receipt), ..lying }), Err(RunFault::Entries));
}

#[test]
fn receipts_bind_feed_and_key() {
    let sender = sender();
    let run = Run::danger_unverified(&sender.run(0..5).run).unwrap();
    let signed = Receipt::of(&run, UnixMillis(9)).sign(&key(2)).unwrap();
    assert_eq!(Receipt::verify(&signed, &sender.key, runs_key(org(2))), Ok(Receipt::of(&run, UnixMillis(9))));
    assert_eq!(Receipt::verify(&signed, &feed_key(1, 2, 8), runs_key(org(2))), Err(RunFault::Feed));
    assert!(Receipt::verify(&signed, &sender.key, runs_key(org(1))).is_err());
    // A run is no receipt and a receipt is no run, whatever the key.
    assert!(Run::verify(&signed, &sender.key, runs_key(org(2))).is_err());
    assert!(Receipt::verify(&sender.run(0..5).run, &sender.key, runs_key(org(1))).is_err());
}

#[test]
fn cursors_compare() {
    let sender = sender();
    let at = |length: u64| Some(sender.cursor(usize::try_from(length).unwrap()).digest);
    let ours = sender.cursor(3);
    assert_eq!(ours.compare(sender.cursor(3), at), Comparison::Equal);
    assert_eq!(ours.compare(sender.cursor(1), at), Comparison::Behind(2));
    assert_eq!(ours.compare(sender.cursor(5), at), Comparison::Ahead(2));
    let other = |length| Cursor { length, digest: FeedDigest::from_bytes([0; 32]) };
    assert_eq!(ours.compare(other(3), at), Comparison::Fork);
    assert_eq!(ours.compare(other(1), at), Comparison::Fork);
    assert_eq!(ours.compare(sender.cursor(1), |_| None), Comparison::Fork);
}

/// Whoever knows a record cannot tell whether a hash speaks of it.
#[test]
fn an_entry_has_a_salt_and_its_hash_depends_on_it() {
    let salted = |n: u8| {
        let salt = Nonce::from_bytes([n; 16]);
        Entry::Withdrawal { code: WITHDRAWN, salt, record: record(org(1), 1).id() }.to_bytes().unwrap()
    };
    let bytes = salted(1);
    assert_ne!(Entry::hash_of(&bytes), Entry::hash_of(&salted(2)));
    // Without its salt, or with a shorter one, it is no entry.
    let at = bytes.windows(5).position(|w| w == b"\x64salt").unwrap();
    let (before, after) = (bytes[..at].to_vec(), &bytes[at + 5 + 17..]);
    let mut fewer = before.clone();
    *fewer.iter_mut().find(|byte| **byte == 0xa3).unwrap() = 0xa2;
    assert_eq!(Entry::from_bytes(&[&fewer, after].concat()), Err(CodecError::Shape));
    let shorter = [&before, &bytes[at..at + 5], &[0x4f], &[1; 15], after].concat();
    assert_eq!(Entry::from_bytes(&shorter), Err(CodecError::Shape));
}

#[test]
fn a_release_is_bound_to_its_clearance_and_has_one_encoding() {
    let feed = feed_key(1, 2, 9);
    let (one, two) = (record(org(1), 1), record(org(1), 2));
    let bytes = release(&one, &feed, &[8, 10]).to_bytes().unwrap();
    let read = Release::from_bytes(&bytes).unwrap();
    assert_eq!(read.to_bytes().unwrap(), bytes);
    let terms = |record: &crate::record::Record, slots: &[u8]| {
        crate::clearance::Clearance::assertion(crate::clearance::Terms {
            record: record.id(),
            partner: org(2),
            agreement: feed.agreement,
            version: AgreementDigest::from_bytes([1; 32]),
            clause: 3,
            slots: slots.iter().copied().collect(),
            file: false,
            grant: None,
            until: None,
        })
    };
    assert_eq!(Release::new(read.redacted().clone(), &terms(&two, &[8, 10])), Err(ReleaseFault::Record));
    assert_eq!(Release::new(read.redacted().clone(), &terms(&one, &[8])), Err(ReleaseFault::Slots));
    assert_eq!(Release::new(read.redacted().clone(), &terms(&one, &[8, 10])).map(|r| r.clause()), Ok(3));
    // A fourth member of an opening, and a release as an array, are not what we would have written.
    let opening = bytes.windows(2).rposition(|w| w == [0x83, 10]).unwrap();
    let mut longer = bytes.clone();
    longer[opening] = 0x84;
    longer.push(0);
    assert_eq!(Release::from_bytes(&longer), Err(CodecError::Shape));
}

/// A holder passes on what organisation 7 recorded: the run is taken with the originator's grant beside it, and with
/// nothing more, less or other.
#[test]
fn grants_beside_a_run_are_needed_and_verify() {
    let feed = feed_key(1, 2, 3);
    let others = record(org(7), 1);
    let signer = key(107);
    let batch = Batch::attest(&[others.id()], &[9; 32], org(7), UnixMillis(5), None, &signer).unwrap();
    let grant = |to: u8| {
        let scope = Scope {
            kind: Kind::Item,
            lines: Vec::new(),
            slots: [0, 8].into_iter().collect(),
            purposes: Vec::new(),
            retention_days: 3,
            until: UnixMillis(900),
        };
        Grant { scope, from: org(1), to: org(to), time: UnixMillis(6), originator: org(7) }.sign(&signer).unwrap()
    };
    let (id, signed) = grant(2);
    let message = |named: Option<GrantId>, grants: Vec<SignatureBytes>| {
        let clearance = Clearance::assertion(Terms {
            record: others.id(),
            partner: feed.receiver,
            agreement: feed.agreement,
            version: VERSION,
            clause: 0,
            slots: [0, 8].into_iter().collect::<SlotSet>(),
            file: false,
            grant: named,
            until: None,
        });
        let release = Release::new(Redacted::new(&others, &clearance).unwrap(), &clearance).unwrap();
        let body = release.to_bytes().unwrap();
        assert_eq!(Release::from_bytes(&body).unwrap().grant(), named);
        let salt = Nonce::from_bytes([4; 16]);
        let entry = Entry::Release { hash: Release::hash(&body), salt, record: others.id() }.to_bytes().unwrap();
        let hashes = [Entry::hash_of(&entry)];
        let run = Run::over(feed.id(), Cursor::start(feed.id()), &hashes, VERSION, UnixMillis(7), None).unwrap();
        let position = batch.positions()[&others.id()];
        RunMessage {
            run: run.sign(&key(1)).unwrap(),
            onward: Some(Beside { cards: vec![], grants }),
            carried: vec![Carried(0, 0, u16::try_from(position).unwrap(), body)],
            entries: vec![RunEntry::Open(entry)],
            attestations: vec![batch.prove(&[position])],
        }
    };
    let taken = |message: &RunMessage| verify(message, &feed, Cursor::start(feed.id()));
    let named = |message: &RunMessage| {
        let Ok(ReceivedRun::Next(run)) = taken(message) else { panic!("it holds") };
        let VerifiedEntry::Release(release) = &run.entries()[0].1 else { panic!("a release") };
        release.grant.as_ref().map(|(named, grant)| (*named, grant.to))
    };
    assert_eq!(named(&message(Some(id), vec![signed.clone()])), Some((id, org(2))));
    // Whether an organisation may pass on without one is the policy's to say, and it says no.
    assert_eq!(named(&message(None, vec![])), None);
    let refused = |message: &RunMessage| taken(message).unwrap_err();
    assert!(matches!(refused(&message(None, vec![signed.clone()])), RunFault::Grant { index: 0, .. }), "not needed");
    assert_eq!(refused(&message(Some(id), vec![])), RunFault::Release { index: 0 }, "not there");
    let twice = message(Some(id), vec![signed.clone(), signed.clone()]);
    assert!(matches!(refused(&twice), RunFault::Grant { index: 1, .. }), "twice");
    assert_eq!(refused(&message(Some(id), vec![grant(3).1])), RunFault::Release { index: 0 }, "another");
    let mut forged = signed;
    if let Some(last) = forged.0.last_mut() {
        *last ^= 1;
    }
    assert!(matches!(refused(&message(Some(id), vec![forged])), RunFault::Grant { index: 0, .. }), "forged");
    // Under a key that does not count the entry is refused, and not the run: its sender may know no better.
    let unknown = message(Some(id), vec![grant(2).1]).verify(
        &feed,
        Held { feed: Cursor::start(feed.id()), prior: None },
        |kid| Some(key(1).public().clone()).filter(|key| key.id() == kid),
        |_, _| None,
    );
    let Ok(ReceivedRun::Next(run)) = unknown else { panic!("{unknown:?}") };
    assert!(matches!(run.entries()[0].1, VerifiedEntry::Unproved { record, .. } if record == others.id()));
    let mut many = message(Some(id), vec![grant(2).1]);
    let cards = vec![serde_bytes::ByteBuf::new(); limits::CARDS_PER_MESSAGE_MAX + 1];
    many.onward = many.onward.map(|beside| Beside { cards, ..beside });
    assert_eq!(refused(&many), RunFault::TooLarge);
}
