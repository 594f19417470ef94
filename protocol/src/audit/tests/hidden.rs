//! What a maker hides is found: a run under another name, one that nobody gave back, witnesses that nobody knows.

use super::*;
use crate::{custody::event::EventKind, identity::Purpose};

/// The event of the run, under another kind.
fn as_kind(sample: &mut Sample, kind: EventKind) {
    sample.journaled(|n, was, logged| (if n == 4 { kind } else { was }, logged));
}

#[test]
fn a_run_hides_under_no_other_name() {
    judged(&[
        wrong(
            "a run is journaled as a batch",
            |s| {
                as_kind(s, EventKind::Batch);
                s.run.run = SignatureBytes(vec![0]);
            },
            "runs",
            "event 4: a batch was signed here, and is not shown",
        ),
        wrong(
            "a run is shown as a batch",
            |s| {
                as_kind(s, EventKind::Batch);
                s.batches.push(s.run.run.clone());
                s.run.run = SignatureBytes(vec![0]);
            },
            "runs",
            "event 4: a batch was signed here, and is not shown",
        ),
        wrong(
            "a run is journaled as something that signs nothing",
            |s| as_kind(s, EventKind::Custody),
            "journal",
            "event 4: something was signed in it, and its kind, `custody`, signs nothing",
        ),
        wrong("a run is shown under a batch", |s| as_kind(s, EventKind::Batch), "runs", "under another kind, `batch`"),
        wrong(
            "a run is journaled twice",
            |s| {
                let stands = s.run_stands();
                s.journaled(|n, kind, logged| if n == 0 { (EventKind::RunSent, Some(stands)) } else { (kind, logged) });
            },
            "journal",
            "event 4: what was signed in it was signed in event 0 already",
        ),
        wrong(
            "a batch is journaled as a run",
            |s| s.journaled(|n, kind, logged| (if n == 1 { EventKind::RunSent } else { kind }, logged)),
            "runs",
            "batch 0: the journal does not have it as a batch",
        ),
        wrong("a batch is not shown", |s| s.batches.clear(), "runs", "event 1: a batch was signed here"),
        wrong("a batch is in no journal", |s| s.batches.push(testing::other_head()), "runs", "batch 1: the journal"),
        wrong("a batch is none", |s| s.batches.push(SignatureBytes(vec![0])), "runs", "batch 1: it does not read"),
        wrong("a batch is another's", |s| s.batches.push(stolen_head()), "runs", "batch 1: "),
    ]);
}

/// The run, said to have come back from its receiver: its entries are not shown.
fn given_back(sample: &mut Sample) {
    for entry in &mut sample.run.entries {
        (entry.entry, entry.release) = (ByteBuf::new(), None);
    }
    sample.run.attested.clear();
}

#[test]
fn only_what_the_journal_lost_was_given_back() {
    judged(&[
        wrong(
            "a run is said to be given back",
            given_back,
            "runs",
            "event 4 of the journal has it, so that nobody gave",
        ),
        open(
            "a run was given back",
            |s| {
                s.journaled(|n, kind, logged| if n == 4 { (EventKind::Import, None) } else { (kind, logged) });
                given_back(s);
            },
            "runs",
            "its receiver gave it back",
        ),
    ]);
}

/// A head in the maker's name, by a key that is not the one it names.
fn stolen_head() -> SignatureBytes {
    let mut head = testing::other_head();
    let last = head.0.len() - 1;
    head.0[last] ^= 1;
    head
}

/// Whom nobody compared, whoever made the export can have invented.
#[test]
fn only_witnesses_that_somebody_compared_prove_something() {
    let bytes = Sample::new().bytes();
    let seen = |report: &Report| match report.witnesses.as_slice() {
        [seen] => (seen.org, seen.is_compared, report.witnessed() == Some(seen.until)),
        _ => panic!("{report:?}"),
    };
    assert_eq!(seen(&pinned(&[WITNESS], &bytes).unwrap()), (org(WITNESS), true, true));
    for compared in [&[][..], &[ORIGINATOR, RECEIVER]] {
        let report = pinned(compared, &bytes).unwrap();
        assert_eq!(seen(&report), (org(WITNESS), false, false));
        assert!(report.is_good() && report.witnessed().is_none());
        let open = found(&report, Mark::Open);
        let [one] = open.as_slice() else { panic!("{open:?}") };
        assert!(one.contains("witnessed: log: 6 event(s)") && one.contains("invented"), "{one}");
    }
}

/// However many cards of strangers stand before the witness's.
#[test]
fn no_number_of_cards_drops_a_witness() {
    let mut sample = Sample::new();
    sample.cards.extend((60..=240).map(|seed| (seed, payload(seed))));
    let before = sample.cards.iter().filter(|(_, card)| card.org < org(WITNESS)).count();
    assert!(before > limits::WITNESSES_MAX, "{before}");
    let report = pinned(&[WITNESS], &sample.bytes()).unwrap();
    assert!(report.witnessed().is_some() && report.findings.is_empty(), "{:#?}", report.findings);
}

#[test]
fn a_witness_key_on_two_cards_counts_for_nobody() {
    let mut sample = Sample::new();
    for key_of in sample.cards[1].1.keys.iter_mut().filter(|key| key.purpose == Purpose::Witness) {
        key_of.key = key(WITNESS, 5).public().clone();
    }
    let report = pinned(&[WITNESS], &sample.bytes()).unwrap();
    assert!(report.is_good() && report.witnesses.is_empty() && report.witnessed().is_none(), "{report:#?}");
    let of = |seed| report.findings.iter().any(|one| one.whose == org(seed) && one.says.contains("another card too"));
    assert!(of(RECEIVER) && of(WITNESS) && !of(ORIGINATOR), "{:#?}", report.findings);
    assert!(found(&report, Mark::Open).iter().any(|said| said.contains("under no head")), "{:#?}", report.findings);
}
