//! What was said once and is said again, late, in another order or by another hand: it counts for no more than the first time.

use super::{
    onward::{Three, further},
    *,
};
use crate::{
    bundle::{self, ExportOptions},
    check,
    onward::{GOT, answering::Narrowed, holding},
    recall::{self, asked, retention},
    receive::{lease, quarantine},
    records::show,
};
use entente_protocol::recall::{Act, AnswerState, Answers, Recall, Recalls};
use serde_bytes::ByteBuf;
use serde_json::Value as Json;

const HOUR: u64 = 3_600_000;

/// Story: a home is lost, and a copy from before its first bundle is put back. It had no mark, as a home that never made a
/// bundle had none, and so it signed another history without asking. Now every home is made with a mark.
#[test]
fn a_home_from_before_its_first_bundle_asks_what_is_held() -> Outcome {
    let World { folder, clock, a, b } = World::new("2026-01-01", "2036-12-31")?;
    let (home, copy) = (a.home.path().to_path_buf(), folder.path().join("copy"));
    drop(a);
    assert!(std::process::Command::new("cp").arg("-r").arg(&home).arg(&copy).status()?.success());
    // A backup is made of everything but the mark.
    fs::remove_file(copy.join(bundle::mark::NAME))?;
    let a = testkit::open(folder.path(), "a", Arc::clone(&clock))?;
    let world = World { folder, clock, a, b };
    let bring = |world: &World, name: &str| -> Result<Json, Fault> {
        let output = world.folder.path().join(name);
        let options =
            ExportOptions { to: "b".to_owned(), output: output.clone(), one_way: true, ..ExportOptions::default() };
        ask(&world.a, &Call::BundleExport(options))?;
        ask(&world.b, &Call::BundleImport(output))
    };
    world.release("A-1")?;
    assert_eq!(bring(&world, "stick-1")?["records"], 1, "a new home is asked nothing");
    let World { folder, clock, a, b } = world;
    drop(a);
    fs::remove_dir_all(&home)?;
    fs::rename(&copy, &home)?;
    let a = testkit::open(folder.path(), "a", Arc::clone(&clock))?;
    let world = World { folder, clock, a, b };
    world.release("A-2")?;
    let Err(fault) = bring(&world, "stick-2") else { return Err("another history was signed".into()) };
    assert_eq!(fault.code, "restored", "{fault}");
    Ok(())
}

/// Story: a stick lay for almost as long as a lease lasts, and gave a whole lease from its coming: what was given before
/// could be read for twice as long. Now a lease counts from when the bundle was made.
#[test]
fn a_late_stick_gives_no_lease_from_its_coming() -> Outcome {
    let world = World::strangers()?;
    let text = testkit::agreement("2036-12-31").replace("notice-days = 0", "notice-days = 0\nlease-hours = 72");
    testkit::agree(world.folder.path(), &world.a, &world.b, &text)?;
    world.exchange()?;
    world.release("A-1")?;
    world.exchange()?;
    world.release("A-2")?;
    let output = world.folder.path().join("late");
    let options = ExportOptions { to: "b".to_owned(), output: output.clone(), ..ExportOptions::default() };
    ask(&world.a, &Call::BundleExport(options))?;
    world.clock.set(NOW.plus(71 * HOUR));
    assert_eq!(ask(&world.b, &Call::BundleImport(output))?["records"], 1);
    let until = lease::until(&world.b, world.agreement()?, world.a.keys.org)?;
    assert_eq!(until, Some(NOW.plus(72 * HOUR)));
    for number in ["A-1", "A-2"] {
        let id = show::resolve_own(&world.a, number)?.to_string();
        world.clock.set(NOW.plus(71 * HOUR));
        show::show(&world.b, &id)?;
        world.clock.set(NOW.plus(73 * HOUR));
        assert_eq!(show::show(&world.b, &id).map_err(|fault| fault.code), Err("locked".to_owned()), "{number}");
    }
    Ok(())
}

/// Story: a holder has two grants of 20 days, and names the one and the other in turn. Each time the receiver kept the
/// record for 20 more days. Now the newest counts, from when it first came.
#[test]
fn grants_in_turn_keep_a_record_no_longer_than_the_newest() -> Outcome {
    let world = Three::plain("\"with-grant\"")?;
    let one = world.release("A-1")?;
    world.meet()?;
    world.ask(&[one])?;
    world.meet()?;
    world.grant(0, Narrowed::default())?;
    world.clock.advance(1_000);
    world.grant(0, Narrowed::default())?;
    world.meet()?;
    let (b, c) = (&world.b, world.c.keys.org);
    let [older, newest] = [0, 1].map(|n| b.holdings.item(Partition::Own, Table::Grant, GOT, n));
    let (older, newest) = (older?.ok_or("older")?, newest?.ok_or("newest")?);
    // A hostile holder names whichever it likes: this one forgets the newer one, and remembers it again.
    let names = |row: &[u8]| -> Outcome {
        let mut txn = b.holdings.begin();
        txn.replace_item(Partition::Own, Table::Grant, GOT, 1, row)?;
        txn.push(Partition::Own, Table::RecordList, &holding::log(c), one.as_bytes())?;
        crate::node::changed(&mut txn)?;
        txn.commit()?;
        Ok(b.reload()?)
    };
    for turn in 0..4 {
        for _ in 0..15 {
            world.clock.advance(DAY);
            [&world.b, &world.c].into_iter().try_for_each(Node::tick)?;
            testkit::exchange(&world.b, &world.c)?;
            while retention::step(&world.c)? {}
        }
        assert_eq!(world.at_c(one)?.0 == "received", turn == 0, "after {} days", 15 * (turn + 1));
        names(if turn % 2 == 0 { &older } else { &newest })?;
        testkit::exchange(&world.b, &world.c)?;
    }
    Ok(())
}

/// Story: an originator told one partner that its key is in other hands, and not the holder of its records. What the holder
/// passed on by its grant was a fault there, and everything of the holder's own waited behind it. Now that entry is
/// refused, and the rest of the run is taken.
#[test]
fn an_originators_key_stops_no_feed_of_a_holder() -> Outcome {
    let world = Three::plain("\"with-grant\"")?;
    testkit::pair(&world.a, &world.c)?;
    let one = world.release("A-1")?;
    world.meet()?;
    let card = changed_card(world.folder.path(), &world.a, |card| {
        let records = card.keys.iter_mut().filter(|key| key.purpose == Purpose::Records);
        records.for_each(|key| key.compromised = Some(NOW.minus(DAY)));
    })?;
    assert!(partners::update(&world.c, world.a.keys.org, &card)?);
    world.c.reload()?;
    world.ask(&[one])?;
    testkit::exchange(&world.a, &world.b)?;
    world.grant(0, Narrowed::default())?;
    testkit::exchange(&world.a, &world.b)?;
    testkit::release(world.folder.path(), &world.b, "B-1")?;
    let own = show::resolve_own(&world.b, "B-1")?;
    testkit::exchange(&world.b, &world.c)?;
    assert_eq!((world.at_c(own)?.0.as_str(), world.at_c(one)?.0.as_str()), ("received", ""));
    let agreement = world.b.rules().agreements.with(world.c.keys.org).next().ok_or("one")?.id;
    assert!(quarantine::of(&world.c, agreement, world.b.keys.org)?.is_none());
    // It stays so, and the feed goes on.
    testkit::release(world.folder.path(), &world.b, "B-2")?;
    world.meet()?;
    let next = show::resolve_own(&world.b, "B-2")?;
    assert_eq!((world.at_c(next)?.0.as_str(), world.at_c(one)?.0.as_str()), ("received", ""));
    world.is_whole()
}

/// Story: a record was recalled, and its agreement erased at its end. Under a new agreement the same holder passed it on
/// again, and it was taken. Now the id of what was recalled outlives what was erased.
#[test]
fn what_was_recalled_and_erased_is_taken_by_no_other_hand() -> Outcome {
    let (world, one) = Three::passed_on()?;
    // The recall reaches the receiver, and a hostile holder does nothing about it itself.
    let recall = Recall::new(Act::Withdraw, world.a.keys.org, one, NOW).sign(&world.a.keys.records)?.1;
    let card = ByteBuf::from(world.a.keys.card.bytes().to_vec());
    let recalls = Recalls { cards: vec![card], recalls: vec![recall] };
    let answer = asked::take(&world.c, world.b.keys.org, &recalls.to_bytes()?)?;
    let answers = Answers::verify(&answer, world.c.keys.org, |_, _| Some(world.c.keys.runs.public().clone()))?;
    assert_eq!(answers.answers.first().map(|answer| answer.state), Some(AnswerState::Complied));
    let old = world.c.rules().agreements.iter().next().ok_or("one")?.id.to_string();
    agreements::state(&world.c, &old, Standing::Ended)?;
    world.meet()?;
    recall::ending::erase(&world.c, &old, ("M. Osei", &[]), &mut |_| {})?;
    let again = further(&testkit::agreement("2036-12-31")).replace("Every item", "Every item again");
    testkit::agree(world.folder.path(), &world.b, &world.c, &again)?;
    testkit::release(world.folder.path(), &world.b, "B-1")?;
    world.meet()?;
    let own = show::resolve_own(&world.b, "B-1")?;
    assert_eq!((world.at_c(own)?.0.as_str(), world.at_c(one)?.0.as_str()), ("received", ""));
    let found = check::check(&world.c, false, &mut |_| {})?;
    let wrong: Vec<&Json> = found.as_array().into_iter().flatten().filter(|row| row["ok"] == false).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}
