//! What a hostile partner says of logs, and what an older copy leaves behind: nothing stops, nothing grows without end.

use super::*;
use crate::{
    clock::Clock,
    custody::{
        INTERVAL_S, WatchRow, anew, grow,
        owed::{self, Noted, State},
        prove, watch_key, witness,
    },
    exchange::log::compared,
};
use entente_protocol::custody::{
    checkpoint::{Checkpoint, Origin, TreeHead},
    message::{LogMessage, OfferMessage},
    witness::{Offer, Watch},
};
use entente_protocol::primitive::PublicKey;
use serde_bytes::ByteBuf;

const INTERVAL: u64 = INTERVAL_S * 1_000;

fn later(world: &World, ms: u64) -> Outcome {
    world.move_to(world.clock.now().plus(ms))?;
    Ok(())
}

fn signed(origin: Origin, size: u64, key: &SigningKey) -> Result<Checkpoint, Box<dyn std::error::Error>> {
    Ok(Checkpoint::sign(origin, TreeHead { size, root: Hash::from_bytes([9; 32]) }, key)?)
}

/// Has `b` believe that it saw a head of the log of `a`.
fn believed(world: &World, head: &Checkpoint, keys: Vec<PublicKey>) -> Outcome {
    let row = WatchRow { note: Some(ByteBuf::from(head.to_bytes()?)), keys, ..WatchRow::default() };
    let mut txn = world.b.holdings.begin();
    let key = watch_key(world.a.keys.org, world.a.holdings.store_id());
    txn.put(Partition::Node, Table::Log, &key, &row.write()?)?;
    txn.commit()?;
    owed::reload(&world.b, world.a.keys.org, world.a.holdings.store_id());
    Ok(())
}

/// Story: a run is signed while its receiver is away, the store is put back from a backup that has the run, and its log
/// begins anew. The run can never be signed again: it is taken, shown as lost, and what follows it passes.
#[test]
fn a_run_from_before_the_log_began_anew_is_taken_and_is_lost() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    later(&world, 2 * INTERVAL)?;
    world.exchange()?;
    let (org, store) = (world.a.keys.org, world.a.holdings.store_id());
    world.release("A 1")?;
    outbox::step(&world.a, &world.feed()?)?.run.ok_or("a run")?;
    later(&world, INTERVAL / 2)?;
    let before = owed::head_of(&world.b, org, store)?.ok_or("a head")?;
    anew::begin(&world.a, Some(&before))?;
    later(&world, 3 * INTERVAL)?;
    for _ in 0..3 {
        world.exchange()?;
    }
    let rows = owed::owed_rows(&world.b.holdings, org, store)?;
    assert_eq!(rows.iter().map(|(_, row)| row.state).collect::<Vec<_>>(), [State::Lost]);
    assert_eq!(owed::withheld(&world.b, org, store)?, None);
    world.release("A 2")?;
    world.exchange()?;
    assert_eq!(owed::owed_rows(&world.b.holdings, org, store)?.len(), 2, "the second run is taken and owed");
    Ok(())
}

/// A log of the first epoch holds nothing from before it: such a run is dated back, and is not taken. What only withdraws is.
#[test]
fn what_is_dated_before_the_log_waits_unless_it_only_withdraws() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    later(&world, 2 * INTERVAL)?;
    world.exchange()?;
    let (feed, at) = (world.feed()?, UnixMillis(1_000));
    let hash = EntryHash::from_bytes([1; 32]);
    let run = Run::over(feed.id(), feeds::in_row(&world.b, &feed)?.cursor(), &[hash], ZERO, at, None)?;
    let run = run.sign(&world.a.keys.runs)?;
    let note = |carries| -> Result<Noted, Box<dyn std::error::Error>> {
        let mut txn = world.b.holdings.begin();
        Ok(owed::note(&world.b, &mut txn, (&feed, &run, carries), (at, world.b.clock.now(), false))?)
    };
    assert!(matches!(note(true)?, Noted::Waits));
    assert!(matches!(note(false)?, Noted::Free));
    Ok(())
}

/// Story: people take a card that does not list the key of the head which was seen. What was seen stays, and stops nothing.
#[test]
fn a_card_without_the_key_of_what_was_seen_stops_nothing() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    later(&world, 2 * INTERVAL)?;
    world.exchange()?;
    let (former, (origin, _)) = (&world.b.keys.log, world.a.log.at()?);
    let head = signed(origin, 2, former)?;
    believed(&world, &head, vec![former.public().clone()])?;
    let (org, store) = (world.a.keys.org, world.a.holdings.store_id());
    assert!(matches!(witness::watch(&world.b, org, store)?, Watch::Seen(seen) if seen == head));
    world.release("A 1")?;
    world.exchange()?;
    Ok(())
}

/// Attack: a log begins anew again and again. Some of it is taken in a day, and no more of it is kept.
#[test]
fn a_log_that_begins_anew_without_end_is_not_followed() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    later(&world, 6 * INTERVAL)?;
    world.exchange()?;
    let (org, store) = (world.a.keys.org, world.a.holdings.store_id());
    let (mut held, mut taken) = (owed::head_of(&world.b, org, store)?.ok_or("a head")?, 0);
    later(&world, INTERVAL)?;
    for epoch in 1..40_u32 {
        let origin = Origin::new(org, store, epoch, held.time().0 / 1_000 + 1, 1).ok_or("an origin")?;
        let new = signed(origin, 1, &world.a.keys.log)?;
        let offer = OfferMessage::new(&Offer { held: Some(held.clone()), new: new.clone(), proof: Vec::new() })?;
        match witness::hear_offer(&world.b, org, store, &offer)? {
            Some(LogMessage::Cosigned(_)) => (held, taken) = (new, taken + 1),
            _ => break,
        }
    }
    assert_eq!(taken, 8);
    assert!(status::status(&world.b)?.to_string().contains("began anew 8 times"));
    Ok(())
}

/// Attack: a partner invents stores. What is kept of them has an end.
#[test]
fn stores_that_a_partner_invents_are_not_kept_without_end() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let org = world.a.keys.org;
    let (mut cosigned, now) = (0, world.clock.now().0 / 1_000);
    later(&world, 2_000)?;
    for n in 0..100_u8 {
        let store = StoreId::from_bytes([n + 1; 16]);
        let new = signed(Origin::new(org, store, 0, now, 1).ok_or("an origin")?, 1, &world.a.keys.log)?;
        let offer = OfferMessage::new(&Offer { held: None, new, proof: Vec::new() })?;
        let said = witness::hear_offer(&world.b, org, store, &offer)?;
        cosigned += usize::from(matches!(said, Some(LogMessage::Cosigned(_))));
    }
    assert!((32..=64).contains(&cosigned), "{cosigned}");
    Ok(())
}

/// Attack: a partner says that it saw our log at an epoch, or a time, that no copy of ours can have reached. Our log does not
/// follow, people are told, and sharing goes on.
#[test]
fn our_log_does_not_begin_anew_for_what_no_copy_can_have_signed() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    later(&world, 2 * INTERVAL)?;
    world.exchange()?;
    let (org, store) = (world.a.keys.org, world.a.holdings.store_id());
    let now = world.clock.now().0 / 1_000;
    for (epoch, created) in [(u32::MAX, now - 60), (1, now + 10_000_000)] {
        let origin = Origin::new(org, store, epoch, created, 1).ok_or("an origin")?;
        believed(&world, &signed(origin, 1, &world.a.keys.log)?, Vec::new())?;
        world.exchange()?;
        assert_eq!(world.a.log.at()?.0.epoch(), 0, "{epoch} {created}");
        let status = status::status(&world.a)?;
        assert!(status.to_string().contains("our log"), "{status}");
    }
    Ok(())
}

/// SHOW-1: a head that a partner asks about is answered by what that partner saw itself, not by how far others had us go.
#[test]
fn what_is_compared_shows_no_more_than_was_seen() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    later(&world, 3 * INTERVAL)?;
    world.exchange()?;
    let (asked, seen) = (prove::head(&world.a, 2)?, prove::head(&world.a, 3)?);
    later(&world, 5 * INTERVAL)?;
    grow::grow(&world.a, 8)?;
    let keys = [world.a.keys.log.public().clone()];
    let offer = compared(&world.a, &asked.to_bytes()?, Some(&seen))?.ok_or("an answer")?;
    let offer = offer.verify(world.a.keys.org, &keys)?;
    assert_eq!(offer.new.head().size, 3);
    assert!(compared(&world.a, &prove::head(&world.a, 5)?.to_bytes()?, Some(&seen))?.is_none());
    assert!(compared(&world.a, &asked.to_bytes()?, None)?.is_none());
    Ok(())
}
