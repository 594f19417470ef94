//! The simulated world, as far as the gate has time for it; and bugs put in, so that it can be seen to find them.

use entente_tests::sim::{Plan, Planted, acts, cast::Cast, run_all, stories};
use std::thread;

/// Seeds of the gate. The long run goes on from here.
const SEEDS: u64 = 1_000;

fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Story: whatever people do, whatever disks, links and clocks do, nothing acknowledged is lost, nothing leaves that
/// is not permitted, and once everything heals both sides hold the same.
#[test]
fn a_thousand_worlds_keep_every_promise() {
    match run_all(&Plan::default(), 0..SEEDS, threads()) {
        Ok(stats) => {
            println!("{stats}");
            assert!(stats.seeds == SEEDS && stats.releases > SEEDS && stats.crashes > SEEDS, "{stats}");
            assert!(stats.on_files > 0 && stats.torn > stats.on_files / 2, "{stats}");
            assert!(stats.passed_on > SEEDS / 10 && stats.brought > SEEDS / 10, "{stats}");
            assert!(stats.recalled > SEEDS / 2 && stats.asked > SEEDS / 2, "{stats}");
            assert!(stats.on_hold > SEEDS / 20 && stats.answers > SEEDS / 5, "{stats}");
        }
        Err(finding) => panic!("{finding}"),
    }
}

/// Each of these is a way to be wrong that the world must notice: a store that loses what was waited for, a field that
/// leaves beyond the agreement, a node that goes on sharing under what its people suspended, a store that writes what is
/// one act in two, a store whose journal has a gap, a node that never asks back, or that lets go on what its people refused.
#[test]
fn planted_bugs_are_found() {
    for (name, planted) in Planted::ALL {
        let usual = Plan { planted: Some(planted), ..Plan::default() };
        let plan = if planted == Planted::HalvedAppend { Plan { files_one_in: 1, ..usual } } else { usual };
        // Only where time runs out.
        let timely = matches!(planted, Planted::DeafToTime | Planted::EndlessLease | Planted::LateEnd);
        let finding = match timely {
            true => (0..SEEDS).filter(|seed| Plan::times(*seed)).find_map(|s| run_all(&plan, s..s + 1, 1).err()),
            false => run_all(&plan, 0..200, threads()).err(),
        }
        .unwrap_or_else(|| panic!("{name} is not found"));
        // A node whose journal lost half an append sees it by itself, where it goes on before the world looks.
        let seen = (planted == Planted::HalvedAppend).then_some("the ledger's sequence breaks at");
        // A node that is deaf shares on, or has forgotten what its people stated when it starts again.
        let promises: &[&str] = match planted {
            Planted::ForgetfulStore => &["I1"],
            Planted::ExtraField => &["I2"],
            Planted::DeafToStandings => &["I1", "I2"],
            Planted::HalvedAppend => &["I1", "I4"],
            Planted::GappedJournal => &["I4: the journal"],
            // It goes on giving, never asks, or has forgotten when it starts again.
            Planted::DeafToRecalls => &["I1", "I2", "I5"],
            Planted::DeafToRefusals => &["I3"],
            Planted::DeafToTime => &["I5"],
            Planted::EndlessLease | Planted::LateEnd => &["I2"],
        };
        let promised = promises.iter().any(|promise| finding.what.starts_with(promise));
        assert!(promised || seen.is_some_and(|seen| finding.what.contains(seen)), "{name}: {finding}");
        assert!(finding.to_string().contains("--seeds"), "{finding}");
    }
}

/// Story: a store that writes an append in two is well as long as a crash takes all or nothing of what was not synced.
/// Only a torn write keeps the first half without the second.
#[test]
fn half_an_append_is_found_by_torn_writes_alone() {
    let plan = |files_one_in| Plan { planted: Some(Planted::HalvedAppend), files_one_in, ..Plan::default() };
    let whole = run_all(&plan(0), 0..50, threads());
    assert!(whole.is_ok_and(|stats| stats.crashes > 50 && stats.torn == 0));
    let finding = run_all(&plan(1), 0..50, threads()).expect_err("half an append");
    assert!(finding.to_string().ends_with("--files-one-in 1 --planted halved-append --log"), "{finding}");
}

/// What the world has found so far stays mended.
#[test]
fn stories_of_what_was_found() {
    let cast = Cast::new().expect("a cast");
    let broken: Vec<String> =
        stories::STORIES.iter().filter_map(|story| stories::tell(&cast, story).err()).map(|b| b.to_string()).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Story: an event was released, an item that names it, and later an amendment of the event, each in a run of its own, and
/// none arrived. The event was refuted. When the runs were served again it went as its hash, and the item still named its
/// line, because the amendment, which was to come in a later run, counted as given. What a later run releases does not.
#[test]
fn a_run_served_again_does_not_name_what_only_a_later_run_gives() {
    assert!(run_all(&Plan::default(), 3286..3287, 1).is_ok_and(|stats| stats.seeds == 1));
}

/// Story: two runs were taken over a connection that was already lost to their sender, after the receiver had shown its
/// head in the next session. Both were served again, and the first was answered with the receipt of the second, which
/// its sender refused. A run that is held is answered with a receipt of its own.
#[test]
fn each_run_that_is_held_already_is_answered_with_its_own_receipt() {
    assert!(run_all(&Plan::default(), 10_680..10_681, 1).is_ok_and(|stats| stats.seeds == 1));
}

#[test]
fn the_model_knows_the_kinds() {
    assert!(acts::supersedes_is_where_expected());
}
