//! Heads that a reader kept: a log that goes on from them holds, and one that was made anew, cut or begun again does not.

use super::*;
use crate::custody::{
    checkpoint::{Checkpoint, CheckpointFault, Origin, TreeHead, UnverifiedCheckpoint},
    event::EventKind,
};

/// A head of the sample's log over so many of its intervals, as its keeper signed it at the time.
fn head(sample: &Sample, size: u64, change: impl Fn(Origin) -> Origin) -> Vec<u8> {
    let mut then = Sample::new();
    then.leaves = sample.leaves.clone();
    then.events = sample.events.clone();
    then.leaves.seeds.truncate(size as usize);
    let origin = change(sample.log.origin.parse().unwrap());
    let root = then.root();
    Checkpoint::sign(origin, TreeHead { size, root }, &key(ORIGINATOR, 4)).unwrap().to_bytes().unwrap()
}

fn same(origin: Origin) -> Origin {
    origin
}

fn of(epoch: u32, created_s: u64) -> Origin {
    Origin::new(org(ORIGINATOR), feed().store, epoch, created_s, 600).unwrap()
}

fn found_of(report: &Report, mark: Mark) -> Vec<String> {
    found(report, mark).into_iter().filter(|says| says.starts_with("kept heads: ")).collect()
}

#[test]
fn a_log_that_goes_on_from_a_kept_head_holds() {
    let sample = Sample::new();
    let notes = [head(&sample, 4, same), head(&sample, SIZE, same), head(&sample, 1, same)];
    let report = with_heads(&notes, &sample.bytes()).unwrap();
    assert!(report.is_good(), "{:#?}", report.findings);
    assert_eq!((report.checks[&Test::Kept].checked, report.checks[&Test::Kept].open), (3, 0));
    // What to keep for the next time is the last head that holds.
    assert_eq!(report.head.as_deref(), Some(sample.notes[0].as_slice()));
    let without = with_heads(&[report.head.unwrap()], &sample.bytes()).unwrap();
    assert!(without.is_good() && without.checks[&Test::Kept].checked == 1);
}

#[test]
fn a_log_that_does_not_go_on_from_a_kept_head_is_named() {
    let first = Sample::new();
    let kept = head(&first, 4, same);
    // Everything in it fits together: only whoever kept something can tell.
    let mut anew = Sample::new();
    anew.journaled(|n, kind, logged| (if n == 0 { EventKind::Import } else { kind }, logged));
    assert!(verified(&anew.bytes()).unwrap().is_good());
    let report = with_heads(&[kept], &anew.bytes()).unwrap();
    let told = found_of(&report, Mark::Wrong);
    assert!(!report.is_good() && told.len() == 1 && told[0].contains("history was made anew"), "{told:?}");
    assert!(told[0].contains("your head of 4 intervals"), "{told:?}");

    let mut later = Sample::new();
    let end = of(0, testing::CREATED_S).begins(12);
    later.head.time = UnixMillis(end.0 + 600_000 + limits::CLOCK_SKEW_MS_MAX);
    let longer = |change: fn(Origin) -> Origin| {
        let origin = change(later.log.origin.parse().unwrap());
        let root = Hash::from_bytes([5; 32]);
        Checkpoint::sign(origin, TreeHead { size: 12, root }, &key(ORIGINATOR, 4)).unwrap().to_bytes().unwrap()
    };
    let cases: [(Vec<u8>, &str); 3] = [
        (longer(same), "shown with 10 intervals alone"),
        (longer(|_| of(1, testing::CREATED_S)), "nothing is shown of the log"),
        (head(&first, 4, |_| of(0, testing::CREATED_S - 600)), "began at another time"),
    ];
    let bytes = later.bytes();
    for (note, says) in cases {
        let report = super::super::verify(
            bytes.as_slice(),
            &Pins::default(),
            &[UnverifiedCheckpoint::from_bytes(&note).unwrap()],
            later.head.time,
            &mut |_, _| (),
        );
        let told = found_of(&report.unwrap(), Mark::Wrong);
        assert!(told.len() == 1 && told[0].contains(says), "{says}: {told:?}");
    }
    // One that may be younger than the export accuses nobody, and proves nothing.
    let mut early = Sample::new();
    early.head.time = UnixMillis(end.0 + 1);
    let report = super::super::verify(
        early.bytes().as_slice(),
        &Pins::default(),
        &[UnverifiedCheckpoint::from_bytes(&longer(same)).unwrap()],
        end.plus(9),
        &mut |_, _| (),
    )
    .unwrap();
    assert!(report.is_good() && found_of(&report, Mark::Open).len() == 1, "{:#?}", report.findings);
}

#[test]
fn a_head_that_is_not_of_this_log_is_no_verdict() {
    let sample = Sample::new();
    let bytes = sample.bytes();
    let root = Hash::from_bytes([5; 32]);
    let signed = |origin: Origin, by: u8, n: u8| {
        Checkpoint::sign(origin, TreeHead { size: 4, root }, &key(by, n)).unwrap().to_bytes().unwrap()
    };
    let origin = of(0, testing::CREATED_S);
    let forged = with_heads(&[signed(origin, ORIGINATOR, 9)], &bytes).unwrap_err();
    assert!(matches!(forged, AuditFault::Head(CheckpointFault::Note(_))), "{forged}");
    let others = Origin::new(org(RECEIVER), feed().store, 0, testing::CREATED_S, 600).unwrap();
    let stranger = with_heads(&[signed(others, RECEIVER, 4)], &bytes).unwrap_err();
    assert_eq!(stranger, AuditFault::Head(CheckpointFault::Organisation));
    let store = crate::id::StoreId::from_bytes([9; 16]);
    let another = Origin::new(org(ORIGINATOR), store, 0, testing::CREATED_S, 600).unwrap();
    let fault = with_heads(&[signed(another, ORIGINATOR, 4)], &bytes).unwrap_err();
    assert!(matches!(fault, AuditFault::OtherLog { given, .. } if given == store), "{fault}");
}
