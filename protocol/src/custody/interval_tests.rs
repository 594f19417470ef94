//! Intervals: every event of one is proved, none that is not in it, and the leaf tells nobody how many there are.

use super::{
    interval::*,
    journal::{Journal, JournalHead},
};
use crate::{
    id::{Hash, LoggedDigest, StoreId},
    label, limits,
    primitive::{Prf, labelled, sha256, tagged},
};
use proptest::prelude::*;
use std::collections::BTreeSet;

const SEED: [u8; 32] = [5; 32];

fn event(n: u32) -> LoggedDigest {
    LoggedDigest::from_bytes(sha256(&[b"event", &n.to_be_bytes()]))
}

fn journal() -> JournalHead {
    Journal::start(StoreId::from_bytes([1; 16])).head()
}

fn interval(events: &[LoggedDigest]) -> Interval {
    Interval::new(events, journal(), &SEED).unwrap()
}

/// A digest with these first four bytes and this last one.
fn placed(first: u32, last: u8) -> LoggedDigest {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&first.to_be_bytes());
    bytes[31] = last;
    LoggedDigest::from_bytes(bytes)
}

#[test]
fn what_is_logged_is_proved_and_what_is_not_is_proved_not_to_be() {
    for count in [0, 1, 2, 3, 10, 300] {
        let events: Vec<_> = (0..count).map(event).collect();
        let interval = interval(&events);
        let leaf = IntervalLeaf::from_bytes(interval.leaf().bytes()).unwrap();
        for n in 0..count + 5 {
            let opening = interval.open(event(n));
            let expected = if n < count { Standing::Logged } else { Standing::Unlogged };
            assert_eq!(opening.verify(&leaf, event(n)), Ok(expected), "{n} of {count}");
            // Nobody's opening is another's.
            assert!(opening.verify(&leaf, event(n + 1_000)) != Ok(Standing::Logged));
        }
        assert!(leaf.commits_to(&interval.journal()));
    }
}

#[test]
fn events_at_one_place_are_shown_together() {
    let together: Vec<_> = (0..4).map(|last| placed(0xabcd_ef00, last)).collect();
    // The 32nd bit is not of the place: this one stands there too.
    let also = placed(0xabcd_ef01, 0);
    let beside = placed(0xabcd_ef02, 0);
    let interval = interval(&[together.clone(), vec![also, beside]].concat());
    let leaf = interval.leaf();
    for digest in together.iter().chain([&also]) {
        let opening = interval.open(*digest);
        assert_eq!(opening.verify(leaf, *digest), Ok(Standing::Logged));
        assert!(matches!(&opening.shown, Shown::Events { digests, .. } if digests.len() == 5));
        // The same opening proves of another digest at that place that it is not there.
        assert_eq!(opening.verify(leaf, placed(0xabcd_ef00, 99)), Ok(Standing::Unlogged));
        assert_eq!(opening.verify(leaf, beside), Err(IntervalFault::Place));
    }
    assert!(matches!(interval.open(beside).shown, Shown::Events { digests, .. } if digests == [beside]));
    let crowd: Vec<_> = (0..=limits::INTERVAL_PLACE_EVENTS_MAX as u8).map(|last| placed(7, last)).collect();
    let made = |events: &[_]| Interval::new(events, journal(), &SEED).err();
    assert_eq!(made(&crowd), Some(IntervalError::Crowded));
    assert_eq!(made(&crowd[1..]), None);
    let twice = Interval::new(&[event(1), event(2), event(1)], journal(), &SEED).unwrap();
    let once = Interval::new(&[event(2), event(1)], journal(), &SEED).unwrap();
    assert_eq!(twice.leaf(), once.leaf());
    let given = limits::INTERVAL_EVENTS_MAX + 1;
    let many: Vec<_> = (0..given as u32).map(event).collect();
    assert_eq!(made(&many), Some(IntervalError::TooMany { given }));
}

#[test]
fn an_idle_interval_looks_like_a_busy_one() {
    let journals: Vec<_> = (0..3).map(|count| JournalHead { count, ..journal() }).collect();
    let mut seen = BTreeSet::new();
    for (index, count) in [(0, 0), (1, 0), (2, 1), (3, 1_000)] {
        let events: Vec<_> = (0..count).map(event).collect();
        let made = Interval::new(&events, journals[index % 3], &seed(&[9; 32], index as u64)).unwrap();
        assert_eq!(made.leaf().bytes().len(), interval(&[]).leaf().bytes().len());
        // Nothing of a leaf stands in another, though nothing happened in between.
        let bytes = made.leaf().bytes();
        assert!(bytes.windows(32).filter(|part| part.iter().any(|b| *b > 0x7f)).all(|part| seen.insert(part.to_vec())));
        // A logged event's path has one length, whatever else is there.
        if let Some(first) = events.first() {
            assert_eq!(made.open(*first).nodes.len(), usize::from(limits::INTERVAL_TREE_DEPTH));
        }
    }
}

#[test]
fn salts_and_hashes_are_as_specified() {
    let secret = [9; 32];
    let derived = Prf::new(&secret).output(label::INTERVAL_SEED, &[&7u64.to_be_bytes()]);
    assert_eq!(*seed(&secret, 7), derived);
    let payload = LoggedDigest::of(label::SIGN_RUN, b"payload");
    assert_eq!(payload.as_bytes(), &labelled(label::LOGGED, &[b"entente/1 sign run\0payload"]));
    let prf = Prf::new(&SEED);
    let salt = |level: u8, index: u32| prf.output(label::INTERVAL_SALT, &[&[level], &index.to_be_bytes()]);
    let empty =
        |level: u8, index: u32| labelled(label::INTERVAL_EMPTY, &[&[level], &index.to_be_bytes(), &salt(level, index)]);
    // One event at the place 1: everything beside it is empty.
    let only = placed(3, 0);
    let mut hash = tagged(label::TAG_INTERVAL_LEAF, &[&salt(0, 1), only.as_bytes()]);
    for level in 0..31 {
        let beside = Hash::from_bytes(empty(level, if level == 0 { 0 } else { 1 }));
        let pair = if level == 0 { [beside, hash] } else { [hash, beside] };
        hash = tagged(label::TAG_INTERVAL_NODE, &[pair[0].as_bytes(), pair[1].as_bytes()]);
    }
    let made = interval(&[only]);
    let bytes = made.leaf().bytes();
    assert_eq!(&bytes[..4], b"\xa3\x61v\x01");
    assert!(bytes.windows(32).any(|part| part == hash.as_bytes()));
    let head = journal();
    let opened = [&prf.output(label::INTERVAL_JOURNAL_SALT, &[]), [0; 8].as_slice(), head.digest.as_bytes()];
    assert!(bytes.ends_with(&labelled(label::INTERVAL_JOURNAL, &opened)));
    // An interval without events is one empty subtree.
    let idle = interval(&[]);
    assert!(idle.leaf().bytes().windows(32).any(|part| part == empty(31, 0)));
    assert!(matches!(idle.open(only).shown, Shown::Empty { level: 31, .. }));
}

#[test]
fn every_changed_bit_of_an_opening_is_refused() {
    let made = interval(&[event(1), event(2), event(3)]);
    let leaf = made.leaf();
    let bounds = crate::codec::Bounds::bytes(1 << 12);
    for asked in [event(2), event(77)] {
        let bytes = crate::codec::to_vec(&made.open(asked), bounds).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let taken = crate::codec::from_slice::<Opening>(&changed, bounds);
                assert!(taken.is_err() || taken.is_ok_and(|opening| opening.verify(leaf, asked).is_err()), "{at}");
            }
        }
    }
    for at in 0..leaf.bytes().len() {
        let mut changed = leaf.bytes().to_vec();
        changed[at] ^= 1;
        let taken = IntervalLeaf::from_bytes(&changed);
        let holds = |leaf: IntervalLeaf| leaf.hash() == made.leaf().hash();
        assert!(taken.is_err() || taken.is_ok_and(|leaf| !holds(leaf)));
    }
}

#[test]
fn hostile_openings_are_refused() {
    let made = interval(&[event(1)]);
    let good = made.open(event(1));
    let check = |change: &dyn Fn(&mut Opening)| {
        let mut opening = good.clone();
        change(&mut opening);
        assert!(opening.verify(made.leaf(), event(1)).is_err(), "{opening:?}");
    };
    let salt = Hash::from_bytes([0; 32]);
    check(&|o| o.shown = Shown::Empty { salt, level: 0 });
    check(&|o| o.shown = Shown::Empty { salt, level: 31 });
    check(&|o| o.shown = Shown::Empty { salt, level: 32 });
    check(&|o| o.shown = Shown::Empty { salt, level: 255 });
    check(&|o| o.shown = Shown::Events { salt, digests: vec![] });
    check(&|o| o.shown = Shown::Events { salt, digests: vec![event(1); 2] });
    check(&|o| o.shown = Shown::Events { salt, digests: vec![event(1); 10_000] });
    check(&|o| o.nodes.truncate(30));
    check(&|o| o.nodes.push(salt));
    check(&|o| o.nodes = vec![salt; 10_000]);
    check(&|o| o.nodes.clear());
}

/// Prints what an interval of a thousand events costs to make, and each of its openings to make and to verify.
#[test]
fn a_busy_interval_is_opened_in_a_moment() {
    let events: Vec<_> = (0..1_000).map(event).collect();
    let begun = clock();
    let made = interval(&events);
    let grown = begun.elapsed();
    let begun = clock();
    let openings: Vec<_> = events.iter().map(|event| made.open(*event)).collect();
    let opened = begun.elapsed();
    let begun = clock();
    for (event, opening) in events.iter().zip(&openings) {
        assert_eq!(opening.verify(made.leaf(), *event), Ok(Standing::Logged));
    }
    let verified = begun.elapsed();
    println!(
        "1000 events: {grown:?} to make; one of them: {:?} to open, {:?} to verify",
        opened / 1_000,
        verified / 1_000
    );
}

#[expect(clippy::disallowed_methods, reason = "a measurement in a test; nothing is decided by it")]
fn clock() -> std::time::Instant {
    std::time::Instant::now()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_events_open_as_what_they_are(there in prop::collection::btree_set(any::<[u8; 32]>(), 0..40), near in any::<u32>()) {
        let events: Vec<_> = there.iter().map(|bytes| LoggedDigest::from_bytes(*bytes)).collect();
        let made = interval(&events);
        for digest in &events {
            prop_assert_eq!(made.open(*digest).verify(made.leaf(), *digest), Ok(Standing::Logged));
        }
        let absent = placed(near, 1);
        prop_assert_eq!(made.open(absent).verify(made.leaf(), absent), Ok(Standing::Unlogged));
    }
}
