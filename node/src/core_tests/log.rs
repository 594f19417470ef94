//! Stories of the witnessed log: heads are cosigned, runs are proved, and whoever rewrites, forks or restores is seen.

use super::*;
use crate::{
    clock::Clock,
    custody::{
        anew, grow,
        owed::{self, Noted},
        prove, witness,
    },
    journal,
    restore::mark,
};
use entente_protocol::custody::{
    checkpoint::{Checkpoint, TreeHead},
    message::{CosignedMessage, DeclinedCode, LogMessage, OfferMessage, ProofsMessage, RunProof},
    proof::{UnloggedRun, logged_run},
    witness::{Offer, Watch},
};

const INTERVAL: u64 = crate::custody::INTERVAL_S * 1_000;

fn later(world: &World, ms: u64) -> Outcome {
    world.move_to(world.clock.now().plus(ms))?;
    Ok(())
}

/// What `b` has seen of the log of `a`.
fn seen(world: &World) -> Result<Option<Checkpoint>, Box<dyn std::error::Error>> {
    Ok(owed::head_of(&world.b, world.a.keys.org, world.a.holdings.store_id())?)
}

fn waiting(world: &World) -> Result<usize, Box<dyn std::error::Error>> {
    Ok(owed::owed_rows(&world.b.holdings, world.a.keys.org, world.a.holdings.store_id())?.len())
}

fn said(node: &Node, what: &str) -> Result<usize, Box<dyn std::error::Error>> {
    Ok(journal::texts(&node.holdings)?.iter().filter(|event| event.starts_with(what)).count())
}

/// Story: records are released, and a partner takes them. Two intervals later their runs are proved, and both logs are
/// witnessed by the other side.
#[test]
fn runs_are_proved_and_heads_are_witnessed() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.release("A 1")?;
    world.exchange()?;
    assert_eq!((waiting(&world)?, seen(&world)?), (1, None), "no interval is over yet");
    later(&world, INTERVAL)?;
    world.exchange()?;
    let head = seen(&world)?.ok_or("a head")?;
    assert_eq!((head.head().size, waiting(&world)?), (1, 0));
    assert_eq!(head, prove::head(&world.a, 1)?);
    let cosigned = prove::last_cosigned(&world.a)?.ok_or("a cosignature")?;
    assert_eq!(cosigned.by.iter().map(|by| by.org).collect::<Vec<_>>(), [world.b.keys.org]);
    assert_eq!(world.a.log.witnessed(), Some(head.digest()));
    assert!(prove::last_cosigned(&world.b)?.is_some(), "and the other way round");
    // What is attested from now on names the head; what nothing happened in has its leaf all the same.
    later(&world, 5 * INTERVAL)?;
    world.release("A 2")?;
    world.exchange()?;
    assert_eq!((seen(&world)?.ok_or("a head")?.head().size, waiting(&world)?), (6, 1));
    later(&world, INTERVAL)?;
    world.exchange()?;
    assert_eq!((seen(&world)?.ok_or("a head")?.head().size, waiting(&world)?), (7, 0));
    assert!(
        crate::check::check(&world.a, false, &mut |_| {})?
            .as_array()
            .is_some_and(|all| all.iter().all(|p| p["ok"] == true))
    );
    Ok(())
}

/// Story: a partner sends runs and says nothing more of its log. After two intervals nothing more of it is taken, people
/// are told, and once it has proved them all goes on.
#[test]
fn nothing_more_is_taken_while_proofs_are_overdue() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    later(&world, INTERVAL)?;
    world.release("A 1")?;
    world.exchange()?;
    let (org, store) = (world.a.keys.org, world.a.holdings.store_id());
    later(&world, 3 * INTERVAL)?;
    assert!(owed::withheld(&world.b, org, store)?.is_some_and(|why| why.contains("owes proofs")));
    world.release("A 2")?;
    let step = outbox::step(&world.a, &world.feed()?)?.run.ok_or("a run")?;
    let taken = receive::run(&world.b, &world.feed()?, &step.message)?;
    assert!(taken.waits && taken.receipt.is_none());
    assert!(status::status(&world.b)?.to_string().contains("owes proofs"));
    world.exchange()?;
    world.exchange()?;
    assert_eq!(owed::withheld(&world.b, org, store)?, None);
    assert_eq!(waiting(&world)?, 1, "the second run was taken, and is owed in its turn");
    Ok(())
}

fn answer(world: &World, offer: &Offer) -> Result<Option<LogMessage>, Box<dyn std::error::Error>> {
    let message = OfferMessage::new(offer)?;
    Ok(witness::hear_offer(&world.b, world.a.keys.org, world.a.holdings.store_id(), &message)?)
}

/// Attack: the operator rewrites an interval, and shows the new history under the same head's size. The witness keeps both
/// heads, tells its people, takes nothing more as witness, and forgets only when people say so.
#[test]
fn a_rewritten_log_is_found_and_kept() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    later(&world, 4 * INTERVAL)?;
    world.exchange()?;
    let (origin, _) = world.a.log.at()?;
    let held = Checkpoint::sign(origin, TreeHead { size: 4, root: Hash::from_bytes([6; 32]) }, &world.a.keys.log)?;
    let new = Checkpoint::sign(origin, TreeHead { size: 5, root: Hash::from_bytes([7; 32]) }, &world.a.keys.log)?;
    later(&world, INTERVAL)?;
    let offer = Offer { held: Some(held), new, proof: Vec::new() };
    let Some(LogMessage::Declined(declined)) = answer(&world, &offer)? else { return Err("declined".into()) };
    assert_eq!(declined.code, DeclinedCode::Refused);
    let (org, store) = (world.a.keys.org, world.a.holdings.store_id());
    assert!(matches!(witness::watch(&world.b, org, store)?, Watch::Forked(_)));
    assert_eq!(said(&world.b, "log-forked")?, 1);
    assert!(status::status(&world.b)?.to_string().contains("two signed heads"));
    // The honest history is not witnessed any more either: which one is honest, people find out.
    world.exchange()?;
    assert!(matches!(witness::watch(&world.b, org, store)?, Watch::Forked(_)));
    assert!(witness::forget(&world.b, org, store)?);
    world.exchange()?;
    assert!(matches!(witness::watch(&world.b, org, store)?, Watch::Seen(_)));
    Ok(())
}

/// Attack: two histories are shown to two partners, at sizes that never meet. Either head, shown to the other partner,
/// contradicts what it saw, or the log has to sign its own head at that size.
#[test]
fn two_heads_of_one_size_contradict_each_other_wherever_they_come_from() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    later(&world, 4 * INTERVAL)?;
    world.exchange()?;
    let (origin, _) = world.a.log.at()?;
    let other = Checkpoint::sign(origin, TreeHead { size: 4, root: Hash::from_bytes([6; 32]) }, &world.a.keys.log)?;
    assert!(!witness::compare(&world.b, &prove::head(&world.a, 4)?)?);
    assert!(!witness::compare(&world.b, &prove::head(&world.a, 3)?)?, "an older one is no contradiction");
    assert!(witness::compare(&world.b, &other)?);
    Ok(())
}

/// Attack: the same, at a size that this partner never saw. The log is asked for its own head at that size, when it is met:
/// it signs the fork, and an honest one signs the same.
#[test]
fn a_head_from_elsewhere_is_asked_about() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    later(&world, 4 * INTERVAL)?;
    world.exchange()?;
    let (org, store) = (world.a.keys.org, world.a.holdings.store_id());
    let (origin, _) = world.a.log.at()?;
    let honest = prove::head(&world.a, 3)?;
    assert!(!witness::compare(&world.b, &honest)?);
    world.b.log.compare(honest);
    world.exchange()?;
    assert_eq!(world.b.log.to_compare(org), None, "it has answered");
    assert!(matches!(witness::watch(&world.b, org, store)?, Watch::Seen(_)));
    let other = Checkpoint::sign(origin, TreeHead { size: 3, root: Hash::from_bytes([6; 32]) }, &world.a.keys.log)?;
    assert!(!witness::compare(&world.b, &other)?, "of another size than the one that was seen");
    world.b.log.compare(other);
    world.exchange()?;
    assert!(matches!(witness::watch(&world.b, org, store)?, Watch::Forked(_)));
    Ok(())
}

/// Story: a store is put back from a backup, and no partner has seen more of its log than it has. Its log begins anew all the
/// same, once: what the partners hold besides, it does not know.
#[test]
fn a_log_begins_anew_by_the_mark_of_a_restore_alone() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    later(&world, 2 * INTERVAL)?;
    world.exchange()?;
    anew::after_restore(&world.a)?;
    assert_eq!(world.a.log.at()?.0.epoch(), 0, "it was never put back");
    let at = world.clock.now();
    let mut txn = world.a.holdings.begin();
    let (digest, agreements) = (Hash::from_bytes([1; 32]), Vec::new());
    mark::write(&mut txn, &mark::Restored { at, taken: at, digest, number: 1, appends: 1, agreements })?;
    txn.commit()?;
    for _ in 0..2 {
        anew::after_restore(&world.a)?;
        assert_eq!(world.a.log.at()?.0.epoch(), 1);
    }
    assert!(!world.a.log.may_state(at), "what was stated before it was put back is of the earlier epoch");
    later(&world, 2 * INTERVAL)?;
    world.exchange()?;
    assert_eq!(seen(&world)?.ok_or("a head")?.origin().epoch(), 1);
    Ok(())
}

/// Attack: a head that speaks of a time to come, one of another organisation's key, and one that shrinks.
#[test]
fn what_cannot_be_true_is_not_witnessed() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    later(&world, 4 * INTERVAL)?;
    world.exchange()?;
    let (origin, _) = world.a.log.at()?;
    let of = |size, key: &SigningKey| Checkpoint::sign(origin, TreeHead { size, root: Hash::from_bytes([7; 32]) }, key);
    let offer = |new| Offer { held: None, new, proof: Vec::new() };
    let code = |said: Option<LogMessage>| match said {
        Some(LogMessage::Declined(declined)) => Some(declined.code),
        _ => None,
    };
    assert_eq!(code(answer(&world, &offer(of(9, &world.a.keys.log)?))?), Some(DeclinedCode::Early));
    assert_eq!(code(answer(&world, &offer(of(4, &world.b.keys.log)?))?), Some(DeclinedCode::Refused));
    let shrunk = Offer { held: Some(prove::head(&world.a, 3)?), new: prove::head(&world.a, 2)?, proof: Vec::new() };
    assert_eq!(code(answer(&world, &shrunk)?), Some(DeclinedCode::Refused));
    assert_eq!(seen(&world)?.ok_or("a head")?.head().size, 4);
    Ok(())
}

/// Story: a store is restored from a copy that is older than what its partner saw. It signs nothing that contradicts that:
/// its log begins anew, says so, and names the very head that was seen.
#[test]
fn a_restored_log_begins_anew_and_says_so() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    later(&world, 2 * INTERVAL)?;
    world.release("A 1")?;
    world.exchange()?;
    // As a copy would have it that was made before: the log that `b` saw is longer than the one that is kept.
    let (org, store) = (world.a.keys.org, world.a.holdings.store_id());
    later(&world, INTERVAL / 2)?;
    let before = seen(&world)?.ok_or("a head")?;
    anew::begin(&world.a, Some(&before))?;
    assert_eq!(world.a.log.at()?.0.epoch(), 1);
    later(&world, 2 * INTERVAL)?;
    world.exchange()?;
    let after = seen(&world)?.ok_or("a head")?;
    assert_eq!((after.origin().epoch(), said(&world.b, "log-anew")?), (1, 1));
    assert_eq!(owed::withheld(&world.b, org, store)?, None, "what was lost withholds nothing");
    world.release("A 2")?;
    world.exchange()?;
    later(&world, INTERVAL)?;
    world.exchange()?;
    let rows = owed::owed_rows(&world.b.holdings, org, store)?;
    assert!(rows.iter().all(|(_, row)| row.state == owed::State::Lost), "{rows:?}");
    assert_eq!(rows.len(), 1, "the first run is lost, the second proved");
    Ok(())
}

/// A run of `a` that its operator signs by hand, and never writes down. `b` takes it.
fn sent_aside(world: &World, at: UnixMillis) -> Result<SignatureBytes, Box<dyn std::error::Error>> {
    let feed = world.feed()?;
    let hash = EntryHash::from_bytes([1; 32]);
    let run = Run::over(feed.id(), feeds::in_row(&world.b, &feed)?.cursor(), &[hash], ZERO, at, None)?;
    let signed = run.sign(&world.a.keys.runs)?;
    let mut txn = world.b.holdings.begin();
    let noted = owed::note(&world.b, &mut txn, (&feed, &signed, true), (at, world.b.clock.now(), false))?;
    assert!(matches!(noted, Noted::Owed(..)), "{noted:?}");
    txn.commit()?;
    owed::took(&world.b, &feed, noted)?;
    Ok(signed)
}

/// Attack: the operator drops a release from the log. Its partner has the run, asks for its proof, and is refused: it
/// says so, and takes nothing more.
#[test]
fn a_release_that_was_dropped_from_the_log_is_refused_its_proof() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    later(&world, INTERVAL)?;
    world.exchange()?;
    let logged = logged_run(&sent_aside(&world, world.clock.now())?)?;
    assert_eq!(prove::signed_in(&world.a, logged)?, None);
    later(&world, INTERVAL)?;
    world.exchange()?;
    let (org, store) = (world.a.keys.org, world.a.holdings.store_id());
    assert!(owed::withheld(&world.b, org, store)?.is_some(), "by the receiver of the run");
    assert_eq!(said(&world.b, "proof-refused")?, 1);
    assert!(status::status(&world.b)?.to_string().contains("will not prove"));
    Ok(())
}

/// Attack: the operator opens the run's place as what it is, empty. That is evidence which everybody can check.
#[test]
fn a_release_that_was_dropped_and_is_opened_as_nothing_is_evidence() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    later(&world, INTERVAL)?;
    world.exchange()?;
    let signed = sent_aside(&world, world.clock.now())?;
    let logged = logged_run(&signed)?;
    // Something that is logged in the same interval, whose proof becomes that of the empty place.
    world.item("A 9", HandlingFloor::default())?;
    later(&world, INTERVAL)?;
    world.exchange()?;
    let (org, store) = (world.a.keys.org, world.a.holdings.store_id());
    let head = seen(&world)?.ok_or("a head")?;
    let (n, event) = world
        .a
        .holdings
        .journal(None, 10_000)?
        .into_iter()
        .rfind(|(_, e)| e.is_signed() && e.at() < head.time())
        .ok_or("a batch")?;
    let place = prove::place(&world.a, &(n, event.clone()))?.ok_or("its place")?;
    let honest = prove::proof(&world.a, &place, event.logged(), head.head().size)?.ok_or("a proof")?;
    let opened = honest.danger_opened_at(&place.interval, logged);
    // What was refused before is shown to be missing now.
    let message = ProofsMessage { proofs: vec![RunProof { run: logged, proof: opened }], checkpoint: head.digest() };
    owed::hear_proofs(&world.b, org, store, &message)?;
    assert_eq!(said(&world.b, "run-unlogged")?, 1);
    let rows = world.b.holdings.list(Partition::Node, Table::Log, crate::custody::UNLOGGED, None, 10)?;
    let evidence = crate::custody::UnloggedRow::read(&rows[0].1)?;
    let keys: Vec<_> = world.a.keys.card.keys(Purpose::Log).map(|entry| entry.key.clone()).collect();
    let runs = |kid| world.a.keys.card.listed(Purpose::Runs, kid).map(|entry| entry.key.clone());
    let (run, _) = UnloggedRun::from_bytes(&evidence.proof)?.verify(runs, &keys)?;
    assert_eq!(run.time, UnixMillis(world.clock.now().0 - INTERVAL));
    assert!(owed::withheld(&world.b, org, store)?.is_some_and(|why| why.contains("not in its log")));
    Ok(())
}

/// Attack: the operator dates a release back, into an interval whose leaf its partner has cosigned already. No proof can be
/// made for it any more; nor does the node itself sign such a time.
#[test]
fn a_release_that_is_dated_back_is_never_proved() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let early = world.clock.now();
    later(&world, 3 * INTERVAL)?;
    world.exchange()?;
    assert!(!world.a.log.may_state(early));
    sent_aside(&world, early)?;
    later(&world, 3 * INTERVAL)?;
    world.exchange()?;
    let (org, store) = (world.a.keys.org, world.a.holdings.store_id());
    assert!(owed::withheld(&world.b, org, store)?.is_some(), "by the receiver of the run");
    Ok(())
}

/// Story: the clock jumps a year ahead, something is signed, and the clock is set right. The log goes on at the right time.
#[test]
fn a_clock_that_jumped_ahead_does_not_stop_the_log() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let right = world.clock.now();
    world.clock.set(right.plus(365 * DAY));
    world.item("A 1", HandlingFloor::default())?;
    world.clock.set(right.plus(INTERVAL));
    world.item("A 2", HandlingFloor::default())?;
    assert_eq!(grow::grow(&world.a, 2)?, 2);
    world.clock.set(right.plus(2 * INTERVAL));
    assert!(world.a.log.may_state(world.clock.now()));
    assert!(!world.a.log.may_state(right), "what is over stays over");
    let texts = journal::texts(&world.a.holdings)?;
    assert!(texts.iter().any(|event| event.starts_with("batch")));
    Ok(())
}

/// A cosignature that somebody else made, or of another head, does not count.
#[test]
fn a_forged_cosignature_is_not_kept() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    later(&world, 2 * INTERVAL)?;
    grow::grow(&world.a, 2)?;
    let offer = Offer { held: None, new: prove::head(&world.a, 2)?, proof: Vec::new() };
    let accepted = Watch::Unseen.handle_offer(&offer, world.clock.now())?;
    let forged = accepted.cosign(world.b.keys.org, world.clock.now(), &world.a.keys.witness)?;
    let message = CosignedMessage::new(&offer.new, &forged, true);
    let line = entente_protocol::custody::note::SignatureLine::parse(&message.line).ok_or("a line")?;
    let keys: Vec<_> = world.b.keys.card.keys(Purpose::Witness).map(|entry| &entry.key).collect();
    let verified = entente_protocol::custody::cosignature::Cosignature::verify(
        &line,
        &offer.new,
        world.b.keys.org,
        keys,
        world.clock.now(),
    );
    assert!(verified.is_err());
    Ok(())
}
