//! Journals: followed event by event, opened part by part, and no change of any kind goes unseen.

use super::{event::*, journal::*};
use crate::{
    id::{AgreementId, LoggedDigest, Nonce, StoreId},
    label, limits,
    time::UnixMillis,
};
use proptest::prelude::*;

const STORE: StoreId = StoreId::from_bytes([1; 16]);

fn part(part_of: PartOf, n: u8) -> EventPart {
    EventPart {
        part_of,
        salt: Nonce::from_bytes([n; 16]),
        what: "run-signed".to_owned(),
        about: vec![("entries".to_owned(), n.to_string()), ("feed".to_owned(), "abc".to_owned())],
    }
}

/// A journal of five events, the third over two agreements.
fn sample() -> (Vec<Event>, Vec<EventPart>) {
    let mut journal = Journal::start(STORE);
    let two = vec![
        part(PartOf::Agreement(AgreementId::from_bytes([7; 16])), 1),
        part(PartOf::Agreement(AgreementId::from_bytes([8; 16])), 2),
    ];
    let run = LoggedDigest::of(label::SIGN_RUN, b"run");
    let events = vec![
        journal.append(EventKind::Key, UnixMillis(10), &[part(PartOf::Node, 3)], None),
        journal.append(EventKind::Batch, UnixMillis(20), &[part(PartOf::Own, 4)], None),
        journal.append(EventKind::RunSent, UnixMillis(30), &two, Some(run)),
        journal.append(EventKind::Clock, UnixMillis(5), &[], None),
        journal.append(EventKind::Access, UnixMillis(40), &[part(PartOf::Own, 5)], None),
    ];
    (events.into_iter().collect::<Result<_, _>>().unwrap(), two)
}

fn follow(events: &[Vec<u8>]) -> Result<JournalHead, JournalFault> {
    let mut journal = Journal::start(STORE);
    events.iter().try_for_each(|bytes| journal.handle_event(bytes).map(|_| ()))?;
    Ok(journal.head())
}

fn bytes(events: &[Event]) -> Vec<Vec<u8>> {
    events.iter().map(|event| event.bytes().to_vec()).collect()
}

#[test]
fn a_journal_is_followed_from_its_store() {
    let (events, _) = sample();
    let last = events.last().unwrap();
    assert_eq!(follow(&bytes(&events)), Ok(JournalHead { count: 5, digest: last.digest() }));
    let mut goes_on = Journal::after(5, last);
    assert_eq!(goes_on.head(), follow(&bytes(&events)).unwrap());
    let next = goes_on.append(EventKind::Review, UnixMillis(50), &[], None).unwrap();
    assert_eq!(next.before(), last.digest());
    let mut other = Journal::start(StoreId::from_bytes([2; 16]));
    let first = JournalFault { at: 0, cause: EventFault::Chain };
    assert_eq!(other.handle_event(events[0].bytes()), Err(first), "another store's");
}

#[test]
fn every_change_of_a_journal_is_named() {
    let whole = bytes(&sample().0);
    let check = |changed: Vec<Vec<u8>>, at: u64| assert_eq!(follow(&changed).unwrap_err().at, at);
    for at in 0..whole.len() - 1 {
        let mut dropped = whole.clone();
        dropped.remove(at);
        check(dropped, at as u64);
        let mut swapped = whole.clone();
        swapped.swap(at, at + 1);
        check(swapped, at as u64);
        let mut twice = whole.clone();
        twice.insert(at, whole[at].clone());
        check(twice, at as u64 + 1);
        for byte in 0..whole[at].len() {
            let mut changed = whole.clone();
            changed[at][byte] ^= 1;
            // What an event says of itself is fixed by the next one that names it.
            let fault = follow(&changed).unwrap_err();
            assert!(fault.at == at as u64 || fault.at == at as u64 + 1, "event {at} byte {byte}");
        }
    }
    // A lost end is seen only beside a head: an interval's leaf has one.
    assert_ne!(follow(&whole[..4]).unwrap(), follow(&whole).unwrap());
}

#[test]
fn a_clock_that_jumps_takes_no_later_event_with_it() {
    let (events, _) = sample();
    assert_eq!(events[3].at(), UnixMillis(5), "an event states what the clock showed");
    let leaf_at = |at: UnixMillis| at.0 / 10;
    let leaves = |times: &[u64], first| {
        let times: Vec<UnixMillis> = times.iter().copied().map(UnixMillis).collect();
        intervals(&times, first, leaf_at)
    };
    assert_eq!(leaves(&[12, 19, 20, 35], 1), [1, 1, 2, 3]);
    assert_eq!(leaves(&[12, 9_999, 21, 35], 1), [1, 2, 2, 3], "ahead, and set back");
    assert_eq!(leaves(&[25, 12, 31], 1), [1, 1, 3]);
    assert_eq!(leaves(&[5, 5, 41], 3), [3, 3, 4], "of an interval whose leaf is made: the first that is not");
    assert_eq!(leaves(&[12, 9_999], 1), [1, 999], "until it is set back it stands where it says");
    assert_eq!(leaves(&[], 7), [] as [u64; 0]);
}

#[test]
fn one_part_is_opened_and_tells_nothing_of_the_others() {
    let (events, two) = sample();
    let run = &events[2];
    for (place, part) in two.iter().enumerate() {
        assert_eq!(run.open(&part.to_bytes().unwrap()), Some((place, part.clone())));
    }
    let first = two[0].to_bytes().unwrap();
    for at in 0..first.len() {
        let mut changed = first.clone();
        changed[at] ^= 1;
        assert_eq!(run.open(&changed), None);
    }
    assert_eq!(events[1].open(&first), None, "a part of another event");
    // A guess at what a part says, with another salt.
    let guessed = EventPart { salt: Nonce::from_bytes([9; 16]), ..two[0].clone() };
    assert_eq!(run.open(&guessed.to_bytes().unwrap()), None);
    // What is left when the openings are gone: as many hashes as there were partitions.
    assert_eq!(run.parts(), 2);
    assert!(!run.bytes().windows(7).any(|part| part == [7; 7]), "no agreement stands in the event");
}

#[test]
fn what_was_signed_stands_under_its_own_digest() {
    let (events, _) = sample();
    assert_eq!(events[2].logged(), LoggedDigest::of(label::SIGN_RUN, b"run"));
    assert_eq!(events[1].logged().as_bytes(), events[1].digest().as_bytes());
}

#[test]
fn events_are_bounded() {
    let mut journal = Journal::start(STORE);
    let parts = |n: usize| vec![part(PartOf::Own, 1); n];
    let full = journal.append(EventKind::RunSent, UnixMillis(1), &parts(limits::EVENT_PARTS_MAX), None).unwrap();
    assert!(Event::from_bytes(full.bytes()).is_ok());
    let more = limits::EVENT_PARTS_MAX + 1;
    assert!(journal.append(EventKind::RunSent, UnixMillis(1), &parts(more), None).is_err());
    let about =
        |n: usize, text: &str| EventPart { about: vec![("a".to_owned(), text.to_owned()); n], ..part(PartOf::Own, 1) };
    assert!(about(limits::EVENT_STATEMENTS_MAX, "x").to_bytes().is_ok());
    assert!(about(limits::EVENT_STATEMENTS_MAX + 1, "x").to_bytes().is_err());
    assert!(about(1, &"x".repeat(limits::EVENT_TEXT_BYTES_MAX)).to_bytes().is_ok());
    assert!(about(1, &"x".repeat(limits::EVENT_TEXT_BYTES_MAX + 1)).to_bytes().is_err());
    assert!(about(1, "turned \u{202e}").to_bytes().is_err());
    assert!(about(limits::EVENT_STATEMENTS_MAX, &"x".repeat(limits::EVENT_TEXT_BYTES_MAX)).to_bytes().is_err());
    let nameless = EventPart { what: String::new(), ..part(PartOf::Own, 1) };
    assert!(nameless.to_bytes().is_err());
}

#[test]
fn names_are_those_of_the_wire() {
    let bounds = crate::codec::Bounds::bytes(64);
    for kind in EventKind::ALL {
        assert_eq!(crate::codec::to_vec(&kind, bounds), crate::codec::to_vec(&kind.name(), bounds));
    }
}

proptest! {
    #[test]
    fn no_bytes_are_taken_that_were_not_written(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Journal::start(STORE).handle_event(&bytes).is_err());
        let (events, _) = sample();
        prop_assert_eq!(events[0].open(&bytes), None);
    }
}
