//! Batches: every proof verifies, nothing else does, and neither head nor proof tells the size.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const ORIGINATOR: OrgId = OrgId::from_bytes([7; 32]);

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

fn records(count: u32) -> Vec<RecordId> {
    (0..count).map(|n| RecordId::from_bytes(crate::primitive::sha256(&[&n.to_be_bytes()]))).collect()
}

fn attest(records: &[RecordId], secret: u8) -> Batch {
    Batch::attest(records, &[secret; 32], ORIGINATOR, UnixMillis(1_000), None, &key(1)).unwrap()
}

fn placed(batch: &Batch, records: &[RecordId]) -> Vec<(u32, RecordId)> {
    let positions = batch.positions();
    let mut out: Vec<_> = records.iter().map(|r| (positions[r], *r)).collect();
    out.sort_unstable();
    out
}

fn prove(batch: &Batch, shown: &[(u32, RecordId)]) -> Attestation {
    batch.prove(&shown.iter().map(|(position, _)| *position).collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_records_of_a_batch_are_proved_together(count in 1u32..40, pick in any::<u64>(), secret in any::<u8>()) {
        let all = records(count);
        let batch = attest(&all, secret);
        let wanted: Vec<RecordId> =
            all.iter().enumerate().filter(|(at, _)| pick >> at & 1 == 1).map(|(_, r)| *r).collect();
        let shown = placed(&batch, &wanted);
        let proof = prove(&batch, &shown);
        let head = proof.verify(ORIGINATOR, key(1).public(), &shown).unwrap();
        prop_assert_eq!(head.id, batch.id());
        prop_assert_eq!((head.originator, head.time, head.checkpoint), (ORIGINATOR, UnixMillis(1_000), None));
        // The same records alone in a batch need as many nodes: a proof does not tell what else was attested.
        let alone: Vec<Leaf> = shown.iter().map(|(position, record)| leaf(*position, *record)).collect();
        let positions: Vec<u32> = shown.iter().map(|s| s.0).collect();
        let (_, nodes) = TREE.prove(&alone, &positions, filler(&Prf::new(&[1; 32])));
        prop_assert_eq!(nodes.len(), proof.nodes.len());
    }
}

#[test]
fn one_record_of_a_thousand_carries_sixteen_hashes_and_no_size() {
    for count in [1, 2, 1_000, 5_000] {
        let all = records(count);
        let batch = attest(&all, 3);
        let shown = placed(&batch, &all[..1]);
        let proof = prove(&batch, &shown);
        assert_eq!(proof.nodes.len(), 16);
        assert_eq!(proof.head.0.len(), attest(&records(1), 9).head().0.len(), "{count}: no size in the head");
        assert!(proof.verify(ORIGINATOR, key(1).public(), &shown).is_ok());
    }
}

#[test]
fn a_full_batch_is_attested_and_one_more_is_refused() {
    let mut all = records(65_536);
    let batch = attest(&all, 3);
    let places: BTreeSet<u32> = batch.positions().into_values().collect();
    assert_eq!(places.len(), 65_536);
    let shown = placed(&batch, &all[..3]);
    assert!(prove(&batch, &shown).verify(ORIGINATOR, key(1).public(), &shown).is_ok());
    all.push(RecordId::from_bytes([0; 32]));
    let refused = Batch::attest(&all, &[3; 32], ORIGINATOR, UnixMillis(1), None, &key(1)).err();
    assert_eq!(refused, Some(BatchError::TooMany { given: 65_537 }));
    let twice = Batch::attest(&[all[0], all[0]], &[3; 32], ORIGINATOR, UnixMillis(1), None, &key(1)).err();
    assert_eq!(twice, Some(BatchError::Repeated));
}

#[test]
fn positions_and_fillers_are_as_specified() {
    let all = records(20);
    let prf = crate::primitive::Prf::new(&[3; 32]);
    let mut places = Vec::new();
    for counter in 0..2u64 {
        for pair in prf.output(label::BATCH_POSITION, &[&counter.to_be_bytes()]).chunks(2) {
            let place = u32::from(pair[0]) << 8 | u32::from(pair[1]);
            if !places.contains(&place) {
                places.push(place);
            }
        }
    }
    let positions = attest(&all, 3).positions();
    assert!(all.iter().zip(&places).all(|(record, place)| positions[record] == *place));
    // Alone in its batch, a record has a filler beside it on each level; a proof gives them from the left.
    let alone = attest(&all[..1], 3);
    let mut beside: Vec<(u8, u32)> = (0..16).map(|level| (level, (places[0] >> level) ^ 1)).collect();
    beside.sort_by_key(|(level, index)| index << level);
    let filler = |(level, index): (u8, u32)| prf.output(label::BATCH_FILL, &[&[level], &index.to_be_bytes()]);
    let expected: Vec<Hash> = beside.into_iter().map(|place| Hash::from_bytes(filler(place))).collect();
    assert_eq!(prove(&alone, &placed(&alone, &all[..1])).nodes, expected);
}

#[test]
fn positions_depend_on_the_secret_and_spread() {
    let all = records(64);
    let (a, b) = (attest(&all, 1).positions(), attest(&all, 2).positions());
    assert!(all.iter().filter(|r| a[*r] == b[*r]).count() < 4);
    // Neither the order of the records nor a corner of the tree: about half lie in the upper half.
    let upper = all.iter().filter(|r| a[*r] >= 32_768).count();
    assert!((16..=48).contains(&upper), "{upper}");
    let rising = all.windows(2).filter(|w| a[&w[0]] < a[&w[1]]).count();
    assert!((16..=48).contains(&rising), "{rising}");
    // A second batch of the same records under another secret has another root and other nodes.
    assert_ne!(attest(&all, 1).id(), attest(&all, 2).id());
}

#[test]
fn every_other_record_place_key_and_originator_is_refused() {
    let all = records(20);
    let batch = attest(&all, 3);
    let shown = placed(&batch, &all[4..7]);
    let proof = prove(&batch, &shown);
    let check = |proof: &Attestation, shown: &[(u32, RecordId)]| proof.verify(ORIGINATOR, key(1).public(), shown).err();
    assert_eq!(check(&proof, &shown), None);
    let refused = Some(AttestationFault::Root);
    let mut forged = shown.clone();
    forged[1].1 = RecordId::from_bytes([9; 32]);
    assert_eq!(check(&proof, &forged), refused);
    let mut moved = shown.clone();
    moved[1].0 += 1;
    assert_eq!(check(&proof, &moved), refused);
    let mut swapped = shown.clone();
    (swapped[0].1, swapped[1].1) = (swapped[1].1, swapped[0].1);
    assert_eq!(check(&proof, &swapped), refused);
    assert_eq!(check(&proof, &shown[1..]), refused);
    assert_eq!(check(&proof, &[shown[1], shown[0], shown[2]]), refused);
    assert_eq!(check(&proof, &[(65_536, all[0])]), refused);
    for at in 0..proof.nodes.len() {
        let mut changed = proof.clone();
        changed.nodes[at] = Hash::from_bytes([9; 32]);
        assert_eq!(check(&changed, &shown), refused);
        changed.nodes.remove(at);
        assert_eq!(check(&changed, &shown), refused);
    }
    let mut longer = proof.clone();
    longer.nodes.push(Hash::from_bytes([0; 32]));
    assert_eq!(check(&longer, &shown), refused);
    longer.nodes.resize(PROOF_NODES_MAX + 1, Hash::from_bytes([0; 32]));
    assert_eq!(check(&longer, &shown), Some(AttestationFault::TooLong));
    // Another batch's head over this proof.
    let other = Attestation { head: attest(&all, 4).head().clone(), ..proof.clone() };
    assert_eq!(check(&other, &shown), refused);
    let stranger = OrgId::from_bytes([8; 32]);
    assert_eq!(proof.verify(stranger, key(1).public(), &shown).err(), Some(AttestationFault::Originator));
    let wrong_key = proof.verify(ORIGINATOR, key(2).public(), &shown).err();
    assert_eq!(wrong_key, Some(AttestationFault::Signature(SignatureFault::Key)));
}

#[test]
fn every_changed_byte_of_the_head_is_refused() {
    let all = records(2);
    let batch = attest(&all, 3);
    let shown = placed(&batch, &all);
    let proof = prove(&batch, &shown);
    for at in 0..proof.head.0.len() {
        let mut changed = proof.clone();
        changed.head.0[at] ^= 1;
        assert!(changed.verify(ORIGINATOR, key(1).public(), &shown).is_err(), "byte {at}");
    }
}

#[test]
fn a_batch_comes_back_from_what_was_kept_and_from_nothing_else() {
    let all = records(9);
    let batch = attest(&all, 3);
    let head = || batch.head().clone();
    let again = Batch::from_parts(&all, &[3; 32], head()).unwrap();
    let shown = placed(&batch, &all[2..4]);
    assert_eq!(prove(&again, &shown), prove(&batch, &shown));
    assert_eq!((again.id(), again.positions()), (batch.id(), batch.positions()));
    let refused = |records: &[RecordId], secret: u8| Batch::from_parts(records, &[secret; 32], head()).err();
    assert_eq!(refused(&all, 4), Some(BatchError::Parts));
    assert_eq!(refused(&all[1..], 3), Some(BatchError::Parts));
    let mut reordered = all.clone();
    reordered.swap(0, 1);
    assert_eq!(refused(&reordered, 3), Some(BatchError::Parts));
    let garbage = Batch::from_parts(&all, &[3; 32], SignatureBytes(vec![0xd2])).err();
    assert_eq!(garbage, Some(BatchError::Codec(CodecError::Shape)));
}

/// A holder received records of one batch in three runs, and shows some of them to another: one proof, as its originator
/// would have made it.
#[test]
fn proofs_of_one_batch_are_joined_and_narrowed() {
    let ids = records(40);
    let batch = attest(&ids, 9);
    let part = |of: &[RecordId]| {
        let shown = placed(&batch, of);
        (prove(&batch, &shown), shown)
    };
    let parts = [part(&ids[0..5]), part(&ids[5..6]), part(&ids[3..17])];
    let borrowed: Vec<(&[(u32, RecordId)], &Attestation)> =
        parts.iter().map(|(proof, shown)| (shown.as_slice(), proof)).collect();
    for shown in [&ids[..1], &ids[4..6], &ids[0..17], &ids[16..17]] {
        let shown = placed(&batch, shown);
        let wanted: Vec<u32> = shown.iter().map(|(position, _)| *position).collect();
        let joined = Attestation::joined(&borrowed, &wanted).unwrap();
        assert_eq!(joined, prove(&batch, &shown));
        assert!(joined.verify(ORIGINATOR, key(1).public(), &shown).is_ok());
    }
    let strange = [(borrowed[0].0, borrowed[1].1)];
    assert_eq!(Attestation::joined(&strange, &[borrowed[0].0[0].0]), None, "nodes of other records");
    assert_eq!(Attestation::joined(&[], &[]), None);
}
