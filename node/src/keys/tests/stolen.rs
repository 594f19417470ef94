//! Stories of keys in other hands: which keys are replaced and when, and that both sides mark the same records whatever was
//! sent under which key.

use super::*;
use crate::{
    audit,
    keys::{current, revoke},
    package::{Options, Show, read},
    records::{
        keep::{self, Batches},
        stored::{BatchRow, encode},
    },
    seal::keyring::Partition,
    store::{StoreError, layout::Table},
};
use entente_protocol::batch::danger_unverified_head;

fn signer(head: &entente_protocol::cose::SignatureBytes) -> Option<KeyId> {
    danger_unverified_head(head).ok().map(|(key, _)| key)
}

/// Story: what waits goes under the key of today from the moment of the rotation, and the node knows afterwards under which
/// keys it sent what: when the second key turns out to be stolen, the office marks what its partner marks.
#[test]
fn own_heads_of_every_key_are_known() -> Outcome {
    let mut world = World::new()?;
    world.release("A-early")?;
    world.exchange()?;
    world.clock.advance(2 * DAY_MS);
    world.release("A-late")?;
    let first = world.a.keys.records.public().id();
    // Remembered under the key that gives way, which counts for minutes still.
    assert_eq!(signer(keep::batch_to_send(&world.a, 1)?.head()), Some(first));
    let cached = keep::batch_to_send(&world.a, 1)?;
    world.clock.advance(1_000);
    world.rotate(Purpose::Records, false)?;
    let second = world.a.keys.records.public().id();
    assert_ne!(first, second);
    assert_eq!(signer(keep::batch_to_send(&world.a, 1)?.head()), Some(second));
    drop(cached);
    world.exchange()?;
    world = world.restart()?;
    // The early one is given again, under the second key.
    revoke::again(&world.a, &keep::batch_row(&world.a, 0)?.records)?;
    world.exchange()?;
    for place in [0, 1] {
        let row = keep::batch_row(&world.a, place)?;
        assert_eq!(row.sent.iter().map(signer).collect::<Vec<_>>(), [Some(second)], "{place}");
        assert_eq!(signer(row.newest()), Some(first));
    }
    world.clock.advance(DAY_MS);
    world.revoke(Purpose::Records, Some(NOW.plus(DAY_MS)), false)?;
    world.exchange()?;
    // Both batches went under it, with whatever else stands in them.
    let marked = suspects(&world.a)?;
    assert!(["A-early", "A-late"].iter().all(|number| marked.iter().any(|m| m == number)), "{marked:?}");
    // What was countersigned on the first day stays proved, though its sender gave it again since.
    assert_eq!(suspects(&world.b)?, ["A-late"]);
    assert!(!world.proved("A-late")? && world.proved("A-early")?);
    let packaged = |number: &str| -> Result<Json, Fault> {
        let (output, show) = (world.folder.path().join(format!("{number}.zip")), Show::All);
        let records = vec![number.to_owned()];
        let options = Options { records, output: output.clone(), show, without_files: false, force: false };
        ask(&world.b, &Call::PackageMake(options))?;
        read::verify(&output, &[], world.b.clock.now(), &mut |_| {})
    };
    let (early, late) = (packaged("A-early")?, packaged("A-late")?);
    assert!(early["ok"] == true && late["ok"] == false, "{early} {late}");
    world.reattest()?;
    assert!(suspects(&world.a)?.is_empty());
    world.exchange()?;
    assert!(suspects(&world.b)?.is_empty() && world.proved("A-early")? && world.proved("A-late")?);
    for node in [&world.a, &world.b] {
        checked(node)?;
    }
    Ok(())
}

/// Story: the program ends when a batch has its new head, before partners' feeds know of it. The next start tells them.
#[test]
fn what_was_attested_anew_goes_after_a_crash() -> Outcome {
    let mut world = World::new()?;
    world.release("A-1")?;
    world.exchange()?;
    world.release("A-2")?;
    world.clock.advance(DAY_MS);
    world.revoke(Purpose::Records, Some(NOW), false)?;
    world.exchange()?;
    assert_eq!((testkit::received(&world.b)?.len(), suspects(&world.b)?), (1, vec!["A-1".to_owned()]));
    for place in [0, 1] {
        let row = keep::batch_row(&world.a, place)?;
        let (_, head) = keep::attested_anew(&world.a, &row)?;
        let mut txn = world.a.holdings.begin();
        let row = encode("batch", &BatchRow { again: Some(head), due: true, ..row })?;
        txn.replace_item(Partition::Own, Table::Batch, b"", place, &row)?;
        txn.commit()?;
    }
    world.a.batches.forget();
    // A session takes nothing of it yet, and loses nothing.
    world.exchange()?;
    assert_eq!(testkit::received(&world.b)?.len(), 1);
    world = world.restart()?;
    world.exchange()?;
    assert_eq!(testkit::received(&world.b)?.len(), 2);
    assert!(suspects(&world.b)?.is_empty() && world.proved("A-1")? && world.proved("A-2")?);
    assert!(!keep::batch_row(&world.a, 0)?.due);
    Ok(())
}

/// Revoking a key that has given way already changes its entry, and draws no other: also while it counts beside its successor.
#[test]
fn a_key_that_has_given_way_is_revoked_and_not_replaced() -> Outcome {
    let world = World::new()?;
    for purpose in [Purpose::Records, Purpose::Runs, Purpose::Root] {
        let old = current(&world.a, purpose)?.key.id();
        world.rotate(purpose, false)?;
        let new = current(&world.a, purpose)?.key.id();
        let done = world.revoke_key(old, Some(NOW), false)?;
        assert_eq!((&done["replaced"], &done["new"]), (&json!(false), &Json::Null), "{purpose} {done}");
        assert_eq!(current(&world.a, purpose)?.key.id(), new, "{purpose}");
        let entry = world.a.keys.card.listed(purpose, old).cloned().ok_or("listed")?;
        assert!(entry.revoked.is_some() && entry.compromised == Some(NOW));
    }
    world.release("A-1")?;
    world.exchange()?;
    assert_eq!(testkit::received(&world.b)?, ["A-1"]);
    Ok(())
}

/// A stolen key is not kept for two weeks because another is about to change: what waits takes its place, and gives way too.
#[test]
fn a_key_of_certificates_is_revoked_during_an_overlap() -> Outcome {
    for purpose in [Purpose::Node, Purpose::Issuing, Purpose::Root] {
        for overlap in [Purpose::Node, Purpose::Root] {
            let mut world = World::new()?;
            world.rotate(overlap, false)?;
            assert!(world.rotate(Purpose::Issuing, false).is_err_and(|fault| fault.code == "in-overlap"));
            let before = world.a.keys.chain();
            let stolen = current(&world.a, purpose)?.key.id();
            let done = world.revoke(purpose, Some(NOW), false)?;
            assert_eq!(done["replaced"], true, "{purpose} while {overlap} changes: {done}");
            assert_ne!(current(&world.a, purpose)?.key.id(), stolen);
            assert!(world.a.keys.chain() != before && taken(&world.a.keys.card, &world.a)?, "{purpose} {overlap}");
            world = world.restart()?;
            assert!(taken(&world.a.keys.card, &world.a)?, "{purpose} {overlap} after a restart");
            world.rotate(Purpose::Runs, false)?;
        }
    }
    // The node's key that is shown until the overlap ends: its successor is there already.
    let world = World::new()?;
    let (shown, before) = (current(&world.a, Purpose::Node)?.key.id(), world.a.keys.chain());
    world.rotate(Purpose::Node, false)?;
    assert_eq!(world.a.keys.chain(), before);
    assert_eq!(world.revoke_key(shown, Some(NOW), false)?["replaced"], false);
    assert!(world.a.keys.chain() != before && taken(&world.a.keys.card, &world.a)?);
    Ok(())
}

/// Story: a find of Monday is reviewed on Monday; the key that attested it turns out to be stolen, and it is attested anew on
/// Thursday, and again on Saturday. Its history still begins on Monday, and tells each head that was signed over it.
#[test]
fn a_history_begins_with_the_first_head_and_tells_the_later_ones() -> Outcome {
    let mut world = World::new()?;
    world.release("A-1")?;
    world.exchange()?;
    let mut keys = vec![current(&world.a, Purpose::Records)?.key.id().to_string()];
    for _ in 0..2 {
        world.clock.advance(3 * DAY_MS);
        world.revoke(Purpose::Records, Some(NOW), false)?;
        world.reattest()?;
        keys.push(current(&world.a, Purpose::Records)?.key.id().to_string());
        world.exchange()?;
    }
    world = world.restart()?;
    let history = ask(&world.a, &Call::RecordHistory("A-1".to_owned()))?;
    let steps: Vec<(String, UnixMillis, Option<String>)> = history["steps"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|step| {
            let text = |key: &str| step[key].as_str().map(str::to_owned);
            Some((text("what")?, crate::clock::say::parse(&text("at")?)?, text("key")))
        })
        .collect();
    let at = |what: &str| steps.iter().filter(|(said, ..)| said == what).map(|(_, at, _)| *at).collect::<Vec<_>>();
    assert_eq!((at("brought in"), at("attested")), (vec![NOW], vec![NOW]), "{history}");
    assert_eq!(at("attested anew"), [NOW.plus(3 * DAY_MS), NOW.plus(6 * DAY_MS)], "{history}");
    let attested = steps.iter().filter(|(what, ..)| what.starts_with("attested")).map(|(.., key)| key.clone());
    assert_eq!(attested.collect::<Vec<_>>(), keys.into_iter().map(Some).collect::<Vec<_>>());
    let order: Vec<UnixMillis> = steps.iter().map(|(_, at, _)| *at).collect();
    assert!(order.is_sorted(), "{history}");
    assert_eq!(history["not_verified"], 0, "{history}");
    Ok(())
}

/// Story: a find is attested on Monday, when nobody is connected. The key is stolen on Tuesday; the find goes out on
/// Wednesday. Its partner cannot know that it is older than the theft, for whoever has the key states what time they like;
/// so the office marks what its partner marks. What was countersigned on Monday stays as it was, with both, and what nobody
/// was sent goes under the next key.
#[test]
fn what_went_after_the_theft_is_suspect_on_both_sides() -> Outcome {
    let mut world = World::new()?;
    world.release("A-countersigned")?;
    world.exchange()?;
    world.release("A-late")?;
    world.clock.advance(2 * DAY_MS);
    world.exchange()?;
    world.release("A-since")?;
    world.clock.advance(DAY_MS);
    let stolen = NOW.plus(DAY_MS);
    let would = world.revoke(Purpose::Records, Some(stolen), true)?;
    assert_eq!(would["suspect_records"], 2, "{would}");
    world.revoke(Purpose::Records, Some(stolen), false)?;
    world.exchange()?;
    assert_eq!(suspects(&world.b)?, ["A-late"]);
    assert_eq!(suspects(&world.a)?, ["A-late", "A-since"]);
    assert_eq!(ask(&world.a, &Call::RecordVerify("A-late".to_owned()))?["ok"], false);
    world = world.restart()?;
    assert_eq!(suspects(&world.a)?, ["A-late", "A-since"]);
    let marked = ask(&world.a, &Call::Keys(Ask::List))?;
    let marked = marked.as_array().into_iter().flatten().filter_map(|row| row["suspect_records"].as_u64()).sum::<u64>();
    assert_eq!(marked, 2);
    assert_eq!(world.reattest()?["records"], 2);
    world.exchange()?;
    assert!(suspects(&world.a)?.is_empty() && suspects(&world.b)?.is_empty());
    for number in ["A-countersigned", "A-late", "A-since"] {
        assert!(world.proved(number)?, "{number}");
    }
    for node in [&world.a, &world.b] {
        checked(node)?;
    }
    Ok(())
}

/// Story: finds are attested before the theft and sent only when another key has taken the place of the stolen one. They
/// went under that one, so neither side doubts them, however often it is looked.
#[test]
fn what_goes_under_the_next_key_is_not_suspect() -> Outcome {
    let mut world = World::new()?;
    world.release("A-1")?;
    world.clock.advance(2 * DAY_MS);
    world.revoke(Purpose::Records, Some(NOW.plus(DAY_MS)), false)?;
    assert!(suspects(&world.a)?.is_empty());
    world.exchange()?;
    for _ in 0..2 {
        assert!(suspects(&world.a)?.is_empty() && suspects(&world.b)?.is_empty());
        assert!(world.proved("A-1")?);
        world = world.restart()?;
    }
    Ok(())
}

/// Story: a run was signed and served, and the line broke before its receipt. Whether the partner holds it nobody here can
/// say, so it is suspect until somebody has looked at it; then it goes.
#[test]
fn what_may_have_arrived_is_suspect_too() -> Outcome {
    let world = World::new()?;
    world.exchange()?;
    world.release("A-1")?;
    let agreement = world.a.rules().agreements.iter().next().ok_or("an agreement")?.id;
    let feed = crate::share::feeds::outgoing(&world.a, world.b.keys.org, agreement);
    world.clock.advance(2 * DAY_MS);
    let sent = crate::share::outbox::step(&world.a, &feed)?.run.ok_or("a run")?;
    let lost = crate::receive::run(&world.b, &feed, &sent.message)?.receipt;
    assert_eq!((lost.is_some(), testkit::received(&world.b)?), (true, vec!["A-1".to_owned()]));
    world.revoke(Purpose::Records, Some(NOW.plus(DAY_MS)), false)?;
    // With whatever else its batch holds, sent or not.
    let marks = |world: &World| suspects(&world.a).map(|marked| marked.contains(&"A-1".to_owned()));
    assert!(marks(&world)?);
    world.exchange()?;
    assert_eq!((marks(&world)?, suspects(&world.b)?), (true, vec!["A-1".to_owned()]));
    world.reattest()?;
    world.exchange()?;
    assert!(suspects(&world.a)?.is_empty() && suspects(&world.b)?.is_empty() && world.proved("A-1")?);
    Ok(())
}

/// Story: two keys in a row turn out to be stolen, and what they signed is attested anew twice, all within the moment in which
/// it was recorded. Each head stands in the journal by itself: the check finds them, and an auditor is shown all three.
#[test]
fn heads_of_one_moment_are_told_apart() -> Outcome {
    let world = World::new()?;
    world.release("A-1")?;
    for _ in 0..2 {
        world.revoke(Purpose::Records, Some(NOW), false)?;
        world.reattest()?;
    }
    let row = keep::batch_row(&world.a, 0)?;
    assert_eq!((row.between.len(), row.sent.len()), (1, 0));
    let stated =
        row.signed().map(|head| danger_unverified_head(head).map(|(_, at)| at)).collect::<Result<Vec<_>, _>>()?;
    assert_eq!(stated, [NOW, NOW.plus(1), NOW.plus(2)], "first, between, again");
    world.exchange()?;
    assert!(suspects(&world.a)?.is_empty() && suspects(&world.b)?.is_empty() && world.proved("A-1")?);
    for node in [&world.a, &world.b] {
        checked(node)?;
    }
    // With the leaves that its intervals have by now.
    for _ in 0..3 {
        world.clock.advance(crate::custody::INTERVAL_S * 1_000);
        world.a.tick()?;
        world.b.tick()?;
        world.exchange()?;
    }
    let output = world.folder.path().join("of.audit");
    ask(&world.a, &Call::AuditExport(audit::Options { output: output.clone(), force: false }))?;
    let report = audit::read::verify(&output, &[], &[], world.clock.now(), &mut |_| {})?;
    assert_eq!(report["ok"], true, "{report}");
    checked(&world.a)
}

/// What was being found out when it was to be forgotten is not kept.
#[test]
fn an_answer_from_before_is_not_remembered() -> Outcome {
    let batches = Batches::default();
    let before = batches.suspect(0, || {
        batches.forget_suspect();
        Ok::<_, StoreError>(None)
    });
    assert_eq!(before?, None);
    assert_eq!(batches.suspect(0, || Ok::<_, StoreError>(Some(NOW)))?, Some(NOW));
    batches.forget_one(0);
    assert_eq!(batches.suspect(0, || Ok::<_, StoreError>(None))?, None);
    Ok(())
}
