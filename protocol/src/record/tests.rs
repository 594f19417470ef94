//! Commit, redact, verify: through the real types, with every byte and every subset tried.

use super::{kind::Kind, *};
use crate::{
    clearance::{Clearance, Terms},
    codec::{self, Bounds},
    id::{AgreementDigest, AgreementId, Hash, LineId, Nonce, OrgId},
    label, limits,
    primitive::{Prf, tagged},
    time::UnixMillis,
    value::Value,
};
use proptest::prelude::*;
use std::collections::BTreeSet;
use zeroize::Zeroizing;

fn floor() -> HandlingFloor {
    HandlingFloor { tlp: Some(Tlp::Amber), orcon: true, ..HandlingFloor::default() }
}

fn draft(kind: Kind) -> Draft {
    let mut draft = Draft::new(kind, OrgId::from_bytes([1; 32]), LineId::from_bytes([2; 16]), floor());
    draft.set("number", Value::text("CAR-2026-0117")).unwrap();
    draft.set("eval", Value::map([("admiralty", Value::text("B2"))])).unwrap();
    draft
}

fn commit(draft: Draft, seed: u8) -> Record {
    draft.commit(Nonce::from_bytes([3; 16]), Zeroizing::new([seed; 32])).unwrap()
}

fn serial(s1: &str, state: &str) -> Value {
    Value::map([("s1", Value::text(s1)), ("norm", Value::Int(1)), ("state", Value::text(state))])
}

fn point(lon: i64, lat: i64) -> Value {
    Value::map([("geo", Value::Array(vec![Value::Int(lon), Value::Int(lat)])), ("prec", Value::Int(1))])
}

fn item() -> Draft {
    let mut draft = draft(Kind::Item);
    draft.set("type", Value::text("assault-rifle")).unwrap();
    draft.set("make", Value::text("ZASTAVA")).unwrap();
    draft.set("make-country", Value::text("RS")).unwrap();
    draft.set("serial", serial("TKO34908", "ok")).unwrap();
    draft.set("note", Value::text("found beneath the floor of the vehicle")).unwrap();
    draft
}

fn event() -> Draft {
    let mut draft = draft(Kind::Event);
    draft.set("etype", Value::text("seized")).unwrap();
    draft.set("recovered", Value::text("2024-03-15")).unwrap();
    draft.set("place-point", point(185_581_234, -43_712_345)).unwrap();
    draft
}

fn cleared(record: &Record, slots: SlotSet) -> Clearance {
    Clearance::assertion(Terms {
        record: record.id(),
        partner: OrgId::from_bytes([8; 32]),
        agreement: AgreementId::from_bytes([9; 16]),
        version: AgreementDigest::from_bytes([9; 32]),
        clause: 0,
        slots,
        file: false,
        grant: None,
        until: Some(UnixMillis(1)),
    })
}

fn redact(record: &Record, slots: SlotSet) -> Redacted {
    Redacted::new(record, &cleared(record, slots)).unwrap()
}

fn set(slots: &[u8]) -> SlotSet {
    slots.iter().copied().collect()
}

fn wire(redacted: &Redacted) -> Vec<u8> {
    let openings = redacted.openings.iter().flat_map(|o| [vec![o.slot], o.salt.to_vec(), o.value.clone()].concat());
    let nodes = redacted.nodes.iter().flat_map(|n| *n.as_bytes());
    redacted.body.iter().copied().chain(openings).chain(nodes).collect()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|w| w == needle)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_subset_verifies_and_shows_just_itself(bits in any::<u64>(), seed in any::<u8>()) {
        let record = commit(item(), seed);
        let asked = SlotSet::from_bits(bits);
        let verified = Verified::new(redact(&record, asked)).unwrap();
        prop_assert_eq!(verified.id(), record.id());
        prop_assert_eq!(verified.shown(), record.present().and(asked));
        for slot in verified.slots() {
            prop_assert_eq!(Some(slot.value.clone()), record.value(slot.opening.slot));
        }
    }

    #[test]
    fn what_is_shown_can_be_shown_less_of(bits in any::<u64>(), kept in any::<u64>()) {
        let record = commit(item(), 7);
        let verified = Verified::new(redact(&record, SlotSet::from_bits(bits))).unwrap();
        let keep = SlotSet::from_bits(kept);
        let less = verified.showing(keep);
        // The very proof that its originator would have given of these fields alone, and nothing of the others.
        prop_assert_eq!(&less, &redact(&record, SlotSet::from_bits(bits).and(keep)));
        prop_assert_eq!(Verified::new(less).unwrap().shown(), verified.shown().and(keep));
        let none = verified.showing(SlotSet::EMPTY);
        prop_assert_eq!((none.openings.len(), none.nodes.len()), (0, 1));
        prop_assert_eq!(Verified::new(none).unwrap().id(), record.id());
    }

    #[test]
    fn the_shape_of_a_proof_says_nothing_of_what_else_is_there(bits in any::<u64>()) {
        // Two records that share the shown slots; one has little else, the other much.
        let mut sparse = draft(Kind::Item);
        sparse.set("type", Value::text("pistol")).unwrap();
        let (sparse, dense) = (commit(sparse, 1), commit(item(), 2));
        let shown = sparse.present().and(SlotSet::from_bits(bits));
        let (a, b) = (redact(&sparse, shown), redact(&dense, shown));
        prop_assert_eq!(a.nodes.len(), b.nodes.len());
        prop_assert_eq!(a.body.len(), b.body.len());
    }
}

#[test]
fn every_changed_bit_of_a_release_is_refused() {
    let record = commit(item(), 5);
    let good = redact(&record, set(&[0, 6, 14]));
    let id = record.id();
    let refused = |changed: Redacted| Verified::new(changed).map_or(true, |v| v.id() != id);
    for bit in 0..8 {
        for at in 0..good.body.len() {
            let mut changed = good.clone();
            changed.body[at] ^= 1 << bit;
            assert!(refused(changed), "body {at}");
        }
        for (which, opening) in good.openings.iter().enumerate() {
            for at in 0..opening.value.len() {
                let mut changed = good.clone();
                changed.openings[which].value[at] ^= 1 << bit;
                assert_eq!(Verified::new(changed), Err(RecordFault::Root), "value {at}");
            }
            for at in 0..16 {
                let mut changed = good.clone();
                changed.openings[which].salt[at] ^= 1 << bit;
                assert_eq!(Verified::new(changed), Err(RecordFault::Root), "salt {at}");
            }
            let mut changed = good.clone();
            changed.openings[which].slot ^= 1 << bit;
            assert_eq!(Verified::new(changed), Err(RecordFault::Root), "slot");
        }
        for which in 0..good.nodes.len() {
            let mut node = *good.nodes[which].as_bytes();
            node[bit] ^= 1 << bit;
            let mut changed = good.clone();
            changed.nodes[which] = Hash::from_bytes(node);
            assert_eq!(Verified::new(changed), Err(RecordFault::Root), "node {which}");
        }
    }
}

#[test]
fn swapped_repeated_and_missing_parts_are_refused() {
    let record = commit(item(), 5);
    let good = redact(&record, set(&[0, 10, 11]));
    let refuse = |change: &dyn Fn(&mut Redacted)| {
        let mut changed = good.clone();
        change(&mut changed);
        assert_eq!(Verified::new(changed), Err(RecordFault::Root));
    };
    refuse(&|r| {
        let salt = r.openings[1].salt;
        r.openings[1].salt = r.openings[2].salt;
        r.openings[2].salt = salt;
    });
    refuse(&|r| {
        let value = r.openings[1].value.clone();
        r.openings[1].value = std::mem::replace(&mut r.openings[2].value, value);
    });
    refuse(&|r| r.openings.swap(1, 2));
    refuse(&|r| {
        let again = r.openings[2].clone();
        r.openings.push(again);
    });
    refuse(&|r| r.nodes.swap(0, 1));
    refuse(&|r| {
        r.nodes.pop();
    });
    refuse(&|r| r.nodes.push(Hash::from_bytes([0; 32])));
    refuse(&|r| {
        r.openings.pop();
    });
    // Openings of another record under this body.
    let other = redact(&commit(item(), 6), set(&[0, 10, 11]));
    refuse(&|r| r.openings.clone_from(&other.openings));
    refuse(&|r| r.nodes.clone_from(&other.nodes));
}

#[test]
fn what_is_withheld_does_not_stand_in_what_is_sent() {
    let record = commit(item(), 5);
    let sent = wire(&redact(&record, set(&[0, 8])));
    for secret in ["ZASTAVA", "TKO34908", "TKO", "beneath", "B2"] {
        assert!(contains(
            record.values().iter().flat_map(|v| v.1.clone()).collect::<Vec<_>>().as_slice(),
            secret.as_bytes()
        ));
        assert!(!contains(&sent, secret.as_bytes()), "{secret}");
    }
    assert!(contains(&sent, b"assault-rifle"));
    assert!(!contains(&sent, record.seed_to_seal()));
    // Leaves of withheld slots do not stand there either, so that guesses cannot be tried against them
    // one by one: a leaf alone in its subtree is sent, but only with its salt could a guess be checked.
    let twice = wire(&redact(&commit(item(), 6), set(&[0, 8])));
    assert_eq!(sent.len(), twice.len());
    // Nothing shown: body and root alone.
    let nothing = redact(&record, SlotSet::EMPTY);
    assert_eq!((nothing.openings.len(), nothing.nodes.len()), (0, 1));
    assert!(Verified::new(nothing).is_ok());
}

#[test]
fn debug_output_is_a_redaction() {
    let record = commit(item(), 5);
    let redacted = redact(&record, record.present());
    let verified = Verified::new(redacted.clone()).unwrap();
    let printed = format!("{record:?} {:?} {:?} {:?}", redacted.openings, verified.slots(), record.value(14));
    for secret in ["ZASTAVA", "TKO", "beneath", "assault-rifle"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[test]
fn salts_and_fillers_are_as_specified() {
    let redacted = redact(&commit(item(), 5), set(&[8]));
    let prf = Prf::new(&[5; 32]);
    assert_eq!(redacted.openings[0].salt, prf.output(label::SLOT_SALT, &[&[8]])[..16]);
    // No slot of an item lies in [32..64): one filler stands for the subtree, of level 5 and the second from the left.
    let filler = prf.output(label::SLOT_FILL, &[&[5], &1u32.to_be_bytes()]);
    assert_eq!(redacted.nodes[5], Hash::from_bytes(filler));
}

#[test]
fn salts_and_fillers_are_of_the_seed_alone() {
    let (a, b, c) = (commit(item(), 5), commit(item(), 5), commit(item(), 6));
    assert_eq!(a.id(), b.id());
    assert_ne!(a.id(), c.id());
    let salts: BTreeSet<[u8; 16]> = redact(&a, a.present()).openings.iter().map(|o| o.salt).collect();
    assert_eq!(salts.len(), a.values().len());
}

#[test]
fn a_clearance_for_another_record_opens_nothing() {
    let (mine, other) = (commit(item(), 5), commit(event(), 5));
    assert_eq!(Redacted::new(&mine, &cleared(&other, mine.present())), Err(WrongClearance));
}

#[test]
fn coarser_rungs_are_computed_at_commit() {
    let record = commit(event(), 5);
    assert_eq!(record.value(10), Some(Value::text("2024-03")));
    assert_eq!(record.value(11), Some(Value::text("2024")));
    assert_eq!(record.value(16), Some(Value::Array(vec![Value::Int(185_000_000), Value::Int(-44_000_000)])));
    let record = commit(item(), 5);
    assert_eq!(record.value(15), Some(Value::text("TKO")));
    assert_eq!(record.value(16), Some(Value::text("ok")));
    // A serial without a prefix has no prefix rung.
    let mut bare = item();
    bare.set("serial", serial("382", "partial")).unwrap();
    assert_eq!(commit(bare, 5).value(15), None);
    // A coarse date alone is a statement of its own.
    let mut vague = draft(Kind::Event);
    vague.set("etype", Value::text("found")).unwrap();
    vague.set("recovered-year", Value::text("2019")).unwrap();
    assert_eq!(commit(vague, 5).value(11), Some(Value::text("2019")));
    // A month without a day gives its year.
    let mut month = draft(Kind::Event);
    month.set("etype", Value::text("found")).unwrap();
    month.set("recovered-month", Value::text("2019-06")).unwrap();
    assert_eq!(commit(month, 5).value(11), Some(Value::text("2019")));
}

#[test]
fn a_rung_is_no_surer_and_no_finer_than_what_it_follows_from() {
    // Somewhere within 25 km: no cell, and none may be stated.
    let vague = |prec: i64| {
        let geo = Value::Array(vec![Value::Int(185_581_234), Value::Int(-43_712_345)]);
        Value::map([("geo", geo), ("prec", Value::Int(prec))])
    };
    let mut district = event();
    district.set("place-point", vague(3)).unwrap();
    district.set("recovered", Value::text("2024-03-15~")).unwrap();
    let record = commit(district.clone(), 5);
    assert_eq!(record.value(16), None);
    assert_eq!(record.value(10), Some(Value::text("2024-03~")));
    assert_eq!(record.value(11), Some(Value::text("2024~")));
    let cell = Value::Array(vec![Value::Int(185_000_000), Value::Int(-44_000_000)]);
    district.set("place-cell", cell).unwrap();
    let refused = district.commit(Nonce::from_bytes([3; 16]), Zeroizing::new([1; 32]));
    assert_eq!(refused.err(), Some(DraftError::Contradiction { coarse: "place-cell", fine: "place-point" }));
    // A day where only a month belongs is refused in a draft, and from others.
    let mut fine = draft(Kind::Event);
    assert!(matches!(fine.set("recovered-month", Value::text("2024-03-15")), Err(DraftError::Shape(_))));
    let liar = committed_by_a_liar(&commit(event(), 5), &[(10, Value::text("2024-03-15"))]);
    assert_eq!(Verified::new(redact(&liar, set(&[10]))), Err(RecordFault::Slot { slot: 10 }));
}

#[test]
fn a_record_and_a_release_are_bounded() {
    let part = || Value::text("n".repeat(limits::SLOT_VALUE_BYTES_MAX - 8));
    let mut large = draft(Kind::Event);
    large.set("etype", Value::text("found")).unwrap();
    for field in ["note", "context", "acquisition-claim"] {
        large.set(field, part()).unwrap();
    }
    assert!(large.clone().commit(Nonce::from_bytes([3; 16]), Zeroizing::new([1; 32])).is_ok());
    let half = part().as_text().unwrap().to_owned();
    large.set("place-name", Value::text_map([("x".to_owned(), Value::text(half))])).unwrap();
    let refused = large.commit(Nonce::from_bytes([3; 16]), Zeroizing::new([1; 32])).err();
    assert!(
        matches!(refused, Some(DraftError::TooLarge { field: "record", max: limits::RECORD_BYTES_MAX, .. })),
        "{refused:?}"
    );
    let mut release = redact(&commit(event(), 5), set(&[0]));
    release.openings[0].value = vec![0; limits::RECORD_BYTES_MAX + 1];
    assert_eq!(Verified::new(release), Err(RecordFault::TooLarge));
}

#[test]
fn only_the_originator_amends_within_a_line_and_a_kind() {
    let header = commit(item(), 5).header().clone();
    let other = |change: fn(&mut super::Header)| {
        let mut header = header.clone();
        change(&mut header);
        header
    };
    assert!(header.may_amend(&header));
    assert!(!header.may_amend(&other(|h| h.originator = OrgId::from_bytes([7; 32]))));
    assert!(!header.may_amend(&other(|h| h.line = LineId::from_bytes([7; 16]))));
    assert!(!header.may_amend(&other(|h| h.kind = Kind::Event)));
}

#[test]
fn rungs_that_contradict_are_refused_in_drafts() {
    let mut wrong = event();
    wrong.set("recovered-month", Value::text("2024-04")).unwrap();
    let refused = wrong.commit(Nonce::from_bytes([3; 16]), Zeroizing::new([1; 32]));
    assert_eq!(refused.err(), Some(DraftError::Contradiction { coarse: "recovered-month", fine: "recovered" }));
    let mut wrong = item();
    wrong.set("serial-state", Value::text("OBL")).unwrap();
    assert!(matches!(
        wrong.commit(Nonce::from_bytes([3; 16]), Zeroizing::new([1; 32])),
        Err(DraftError::Contradiction { .. })
    ));
}

/// A record as a dishonest originator might commit it, without the checks of a draft.
fn committed_by_a_liar(honest: &Record, changes: &[(u8, Value)]) -> Record {
    let mut values: Vec<(u8, Vec<u8>)> = honest.values().to_vec();
    for (slot, value) in changes {
        let bytes = codec::to_vec(value, Bounds::bytes(limits::SLOT_VALUE_BYTES_MAX)).unwrap();
        values.retain(|(number, _)| number != slot);
        values.push((*slot, bytes));
        values.sort_by_key(|(number, _)| *number);
    }
    Record::commit(honest.header().clone(), values, Zeroizing::new([7; 32])).unwrap()
}

#[test]
fn whoever_sees_two_rungs_checks_them() {
    let honest = commit(event(), 5);
    let check = |slot: u8, value: Value, shown: &[u8], fine: u8| {
        let liar = committed_by_a_liar(&honest, &[(slot, value)]);
        assert!(Verified::new(redact(&liar, set(&[slot]))).is_ok(), "one rung alone shows no contradiction");
        assert_eq!(Verified::new(redact(&liar, set(shown))), Err(RecordFault::Ladder { coarse: slot, fine }));
    };
    check(10, Value::text("2023-03"), &[9, 10], 9);
    check(11, Value::text("2023"), &[9, 11], 9);
    check(11, Value::text("2023"), &[10, 11], 10);
    check(16, Value::Array(vec![Value::Int(0), Value::Int(0)]), &[15, 16], 15);
    let all = Verified::new(redact(&honest, honest.present()));
    assert!(all.is_ok());
    let liar = committed_by_a_liar(&commit(item(), 5), &[(15, Value::text("XYZ"))]);
    assert_eq!(Verified::new(redact(&liar, set(&[14, 15]))), Err(RecordFault::Ladder { coarse: 15, fine: 14 }));
}

#[test]
fn values_that_do_not_fit_their_slot_are_refused_from_others_too() {
    let honest = commit(item(), 5);
    let refused = |slot: u8, value: Value| {
        let liar = committed_by_a_liar(&honest, &[(slot, value)]);
        Verified::new(redact(&liar, set(&[slot]))).err()
    };
    assert_eq!(refused(8, Value::text("death-ray")), Some(RecordFault::Slot { slot: 8 }));
    assert_eq!(refused(11, Value::text("Serbia")), Some(RecordFault::Slot { slot: 11 }));
    assert_eq!(refused(10, Value::text("a\u{202e}b")), Some(RecordFault::Slot { slot: 10 }));
    assert_eq!(refused(63, Value::Bool(true)), Some(RecordFault::Slot { slot: 63 }));
    assert_eq!(refused(7, Value::Bool(true)), Some(RecordFault::Slot { slot: 7 }));
    // A value that is not canonical, committed all the same.
    let mut values = honest.values().to_vec();
    values[0].1 = vec![0x78, 0x01, b'x'];
    let liar = Record::commit(honest.header().clone(), values, Zeroizing::new([7; 32])).unwrap();
    let fault = Verified::new(redact(&liar, set(&[0]))).err();
    assert_eq!(fault, Some(RecordFault::Value { slot: 0, fault: codec::CodecError::NotMinimal { at: 0 } }));
}

#[test]
fn drafts_are_checked_field_by_field() {
    let mut draft = draft(Kind::Item);
    assert!(matches!(draft.set("colour", Value::text("x")), Err(DraftError::UnknownField { .. })));
    assert!(matches!(draft.set("type", Value::text("x")), Err(DraftError::Shape(_))));
    assert!(matches!(draft.set_number(63, Value::text("x")), Err(DraftError::UnknownField { .. })));
    let missing = draft.clone().commit(Nonce::from_bytes([3; 16]), Zeroizing::new([1; 32]));
    assert_eq!(missing.err(), Some(DraftError::Missing { kind: Kind::Item, field: "type" }));
    draft.set("type", Value::text("pistol")).unwrap();
    draft.set("note", Value::text("n".repeat(limits::SLOT_VALUE_BYTES_MAX))).unwrap();
    let large = draft.clone().commit(Nonce::from_bytes([3; 16]), Zeroizing::new([1; 32]));
    assert!(matches!(large, Err(DraftError::TooLarge { field: "note", .. })));
    let mut codes = floor();
    codes.eu_hc = vec![3];
    draft.floor = codes;
    draft.set("note", Value::text("n")).unwrap();
    assert_eq!(draft.commit(Nonce::from_bytes([3; 16]), Zeroizing::new([1; 32])).err(), Some(DraftError::Floor));
}

#[test]
fn stored_parts_that_do_not_give_the_root_are_refused() {
    let record = commit(item(), 5);
    let (body, values) = (record.body().clone(), record.values().to_vec());
    let seed = |n: u8| Zeroizing::new([n; 32]);
    assert_eq!(Record::from_parts(body.clone(), values.clone(), seed(5)).map(|r| r.id()), Some(record.id()));
    assert!(Record::from_parts(body.clone(), values.clone(), seed(6)).is_none());
    assert!(Record::from_parts(body.clone(), values[1..].to_vec(), seed(5)).is_none());
    let mut swapped = values.clone();
    swapped.swap(0, 1);
    assert!(Record::from_parts(body.clone(), swapped, seed(5)).is_none());
    let mut outside = values.clone();
    outside.push((64, vec![0]));
    assert!(Record::from_parts(body.clone(), outside, seed(5)).is_none());
    let mut changed = values;
    changed[2].1[1] ^= 1;
    assert!(Record::from_parts(body, changed, seed(5)).is_none());
}

#[test]
fn bodies_have_one_encoding() {
    let record = commit(item(), 5);
    let bytes = record.body().bytes();
    let read = Body::from_bytes(bytes).unwrap();
    assert_eq!((read.bytes(), read.id()), (bytes, record.id()));
    assert_eq!(Body::new(read.header().clone(), read.root()).unwrap().bytes(), bytes);
    // An empty list where we would have left the member out.
    let floor = codec::to_vec(&floor(), Bounds::bytes(256)).unwrap();
    let at = bytes.windows(floor.len()).position(|w| w == floor).unwrap();
    let longer = [&[0xa3], &floor[1..floor.len() - 7], b"\x65eu-hc\x80", &floor[floor.len() - 7..]].concat();
    let padded = [&bytes[..at], &longer, &bytes[at + floor.len()..]].concat();
    assert!(codec::scan(&padded, Bounds::bytes(1_024)).is_ok(), "canonical as CBOR");
    assert!(Body::from_bytes(&padded).is_err(), "and not what we would have written");
}

#[test]
fn leaves_are_as_specified() {
    let record = commit(item(), 5);
    let redacted = redact(&record, set(&[8]));
    let opening = &redacted.openings[0];
    let leaf = tagged(label::TAG_SLOT_LEAF, &[&[8], &opening.salt, &opening.value]);
    // Six nodes beside one leaf, from the left; 8 = 0b001000.
    assert_eq!(redacted.nodes.len(), 6);
    let node = |l: Hash, r: Hash| tagged(label::TAG_SLOT_NODE, &[l.as_bytes(), r.as_bytes()]);
    let n = &redacted.nodes;
    // Walk order: [0..8), then within [8..16): 9, 10-11, 12-15; then [16..32), [32..64).
    let low = node(node(node(leaf, n[1]), n[2]), n[3]);
    let root = node(node(node(n[0], low), n[4]), n[5]);
    assert_eq!(root, record.body().root());
}
