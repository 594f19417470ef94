//! Feeds: one history, signed once, kept with its evidence, and nothing in it that was taken back in time.

use super::*;
use crate::records::search;

/// Every signed run of a feed, in order.
fn runs(node: &Node, feed: &FeedKey) -> Result<Vec<(SentRun, Run)>, Box<dyn std::error::Error>> {
    let rows = node.holdings.list(Partition::Own, Table::RunOut, feed.id().as_bytes(), None, 1_000)?;
    rows.into_iter()
        .map(|(_, row)| {
            let sent: SentRun = crate::records::stored::decode("run", &row)?;
            let run = Run::danger_unverified(&sent.run)?;
            Ok((sent, run))
        })
        .collect()
}

fn entries(sent: &SentRun) -> Vec<Entry> {
    sent.entries.iter().filter_map(|entry| Entry::from_bytes(&entry.bytes).ok()).collect()
}

/// Story: several threads fill one feed at the same moment, as two sessions with one partner would. One history comes
/// of it: each run begins where the one before ended, and nothing is sent twice.
#[test]
fn threads_that_fill_one_feed_sign_one_history() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let feed = world.feed()?;
    for n in 0..8 {
        world.item(&format!("A-{n}"), HandlingFloor::default())?;
        thread::scope(|scope| {
            let steps: Vec<_> = (0..4).map(|_| scope.spawn(|| outbox::step(&world.a, &feed).map(drop))).collect();
            steps.into_iter().try_for_each(|step| step.join().map_err(|_| "panic")?.map_err(|_| "a step failed"))
        })?;
    }
    let mut cursor = Cursor::start(feed.id());
    let runs = runs(&world.a, &feed)?;
    for (_, run) in &runs {
        assert_eq!(run.before, cursor, "two runs begin at one place");
        cursor = run.end();
    }
    assert_eq!((cursor.length, runs.len()), (8, 8));
    Ok(())
}

/// Story: one run reaches a node on two connections at once. It is kept once, and both are told so.
#[test]
fn a_run_that_comes_twice_at_once_is_kept_once() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let feed = world.feed()?;
    for n in 0..8u64 {
        world.item(&format!("A-{n}"), HandlingFloor::default())?;
        let message = outbox::step(&world.a, &feed)?.run.ok_or("a run")?.message;
        let receipts = thread::scope(|scope| {
            let taken: Vec<_> = (0..4).map(|_| scope.spawn(|| receive::run(&world.b, &feed, &message))).collect();
            taken.into_iter().map(|taken| taken.join().map_err(|_| "panic")).collect::<Result<Vec<_>, _>>()
        })?;
        for taken in receipts {
            assert!(taken?.receipt.is_some());
        }
        let partition = Partition::Agreement(feed.agreement);
        assert_eq!(world.b.holdings.count(partition, Table::RunIn, feed.id().as_bytes())?, n + 1);
    }
    assert_eq!(testkit::received(&world.b)?.len(), 8);
    Ok(())
}

/// Story: a record is refuted after its run was signed, and while it is not known whether the partner took it. The run
/// goes as its hash, and the withdrawal follows.
#[test]
fn a_withdrawal_follows_what_was_closed() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let record = world.item("A-1", HandlingFloor::default())?;
    let feed = world.feed()?;
    assert!(outbox::step(&world.a, &feed)?.run.is_some());
    gate::review(&world.a, &[record], Review::Refuted)?;
    let again = outbox::again(&world.a, &feed, 0)?.ok_or("served again")?;
    assert!(again.message.carried.is_empty());
    while outbox::step(&world.a, &feed)?.more {}
    let last = runs(&world.a, &feed)?.pop().ok_or("runs")?.0;
    assert!(entries(&last).iter().any(|e| matches!(e, Entry::Withdrawal { record: r, .. } if *r == record)));
    Ok(())
}

/// Story: an item and its photograph wait in a run that never arrived, and the item is refuted: its withdrawal is signed.
/// Served again, the photograph does not go with a word of an item that the partner was never given.
#[test]
fn a_line_of_which_nothing_was_given_is_not_named() -> Outcome {
    let world = World::strangers()?;
    testkit::agree(world.folder.path(), &world.a, &world.b, &testkit::agreement_with_files("2036-12-31"))?;
    world.exchange()?;
    let item = world.item("A-1", HandlingFloor::default())?;
    testkit::file(&world.a, item, "A-1-P", b"a photograph")?;
    let feed = world.feed()?;
    assert_eq!(outbox::step(&world.a, &feed)?.run.ok_or("a run")?.message.carried.len(), 2);
    gate::review(&world.a, &[item], Review::Refuted)?;
    while outbox::step(&world.a, &feed)?.more {}
    let again = outbox::again(&world.a, &feed, 0)?.ok_or("served again")?;
    assert!(again.message.carried.is_empty(), "what names the item goes");
    // It goes by itself, without that word.
    world.exchange()?;
    let query = search::Query { number: Some("A-1-P".to_owned()), ..search::Query::default() };
    let found = search::search(&world.b, &query)?.records;
    assert!(matches!(found.as_slice(), [photograph] if !photograph.fields.contains_key("of")), "{found:?}");
    Ok(())
}

/// Story: a run waits for room on the line when its record is refuted. What goes then is its hash, and no body.
#[test]
fn what_is_refuted_while_it_waits_does_not_go() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let record = world.item("A-1", HandlingFloor::default())?;
    let (mut talk, mut session) = Conversation::open(&world.a, world.b.keys.org, Role::Dialer)?;
    let (mut far, mut far_session) = Conversation::open(&world.b, world.a.keys.org, Role::Acceptor)?;
    // Only the control lane moves.
    let mut moved = true;
    while moved {
        moved = false;
        for (node, talk, session) in [(&world.a, &mut talk, &mut session), (&world.b, &mut far, &mut far_session)] {
            while let Some(event) = session.poll_event() {
                talk.event(node, session, event)?;
            }
            talk.pump(node, session)?;
        }
        while let Some(content) = session.poll_lane(Lane::Control) {
            far_session.handle_frame(Lane::Control, &content, NOW)?;
            moved = true;
        }
        while let Some(content) = far_session.poll_lane(Lane::Control) {
            session.handle_frame(Lane::Control, &content, NOW)?;
            moved = true;
        }
    }
    gate::review(&world.a, &[record], Review::Refuted)?;
    talk.pump(&world.a, &mut session)?;
    let frame = session.poll_lane(Lane::Records).ok_or("a run waits")?;
    let Message::Run(message) = Message::from_bytes(Lane::Records, &frame)? else { return Err("a run".into()) };
    assert!(message.carried.is_empty(), "a refuted record goes");
    Ok(())
}

/// Story: a run arrives while its receiver has suspended the sender, and one after the agreement expired there. Nothing
/// is taken and nothing refused, so nothing is lost: later it is taken whole.
#[test]
fn what_comes_while_nothing_may_pass_waits() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.item("A-1", HandlingFloor::default())?;
    let feed = world.feed()?;
    let message = outbox::step(&world.a, &feed)?.run.ok_or("a run")?.message;
    let stand = |state| {
        partners::set_state(&world.b, world.a.keys.org, state).map_err(|e| e.to_string())?;
        world.b.reload().map_err(|e| e.message)
    };
    stand(PartnerState::Suspended)?;
    let taken = receive::run(&world.b, &feed, &message)?;
    assert_eq!((taken.waits, taken.receipt, taken.refused), (true, None, 0));
    stand(PartnerState::Active)?;
    let taken = receive::run(&world.b, &feed, &message)?;
    assert_eq!((taken.waits, taken.records, taken.refused), (false, 1, 0));
    // A version that the receiver does not hold yet is none to judge by.
    world.item("A-2", HandlingFloor::default())?;
    let message = outbox::step(&world.a, &feed)?.run.ok_or("a run")?.message;
    world.next_version("2026-01-02", |text| text)?;
    let complete = world.a.rules().agreements.get(feed.agreement).and_then(|h| h.signed.clone()).ok_or("signed")?;
    agreements::receive(&world.b, world.a.keys.org, &complete.to_bytes()?)?;
    assert!(receive::run(&world.b, &feed, &message)?.waits, "it was cleared under another version");
    world.exchange()?;
    world.exchange()?;
    assert_eq!(testkit::received(&world.b)?, ["A-1", "A-2"]);
    // Last, for a clock that goes back is not believed again.
    world.item("A-3", HandlingFloor::default())?;
    let message = outbox::step(&world.a, &feed)?.run.ok_or("a run")?.message;
    world.clock.set(UnixMillis::from_date("2037-01-02").ok_or("date")?);
    assert!(receive::run(&world.b, &feed, &message)?.waits, "the agreement has expired");
    Ok(())
}

/// Story: a partner countersigns another tree over the same entries. Both signatures are kept, and the feed stands still.
#[test]
fn a_receipt_over_another_tree_stops_the_feed_with_its_evidence() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.item("A-1", HandlingFloor::default())?;
    let feed = world.feed()?;
    outbox::step(&world.a, &feed)?.run.ok_or("a run")?;
    let (sent, run) = runs(&world.a, &feed)?.pop().ok_or("a run")?;
    let receipt = Receipt { root: Hash::from_bytes([9; 32]), ..Receipt::of(&run, NOW) }.sign(&world.b.keys.runs)?;
    assert!(matches!(
        receive::receipt(&world.a, &feed, &receipt, Countersigned::Now),
        Err(receive::ReceiveError::Fork)
    ));
    let stopped = feeds::stopped(&world.a, &feed)?.ok_or("stopped")?;
    assert_eq!((stopped.our_proof, stopped.their_proof), (Some(sent.run), Some(receipt)));
    world.item("A-2", HandlingFloor::default())?;
    assert!(outbox::step(&world.a, &feed)?.run.is_none(), "a stopped feed goes on");
    assert!(feeds::out_row(&world.a, &feed, ZERO)?.countersigned.is_none());
    Ok(())
}

/// Story: a partner signs two histories of its feed. What it signed is kept beside what was held, and no more is taken.
#[test]
fn another_history_of_a_feed_is_kept_as_evidence() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.item("A-1", HandlingFloor::default())?;
    world.exchange()?;
    let feed = world.feed()?;
    let (sent, run) = runs(&world.a, &feed)?.pop().ok_or("a run")?;
    let other = Run::over(
        feed.id(),
        run.before,
        &[entente_protocol::id::EntryHash::from_bytes([7; 32])],
        run.version,
        NOW,
        None,
    )?;
    let signed = other.sign(&world.a.keys.runs)?;
    let message = entente_protocol::feed::RunMessage {
        run: signed.clone(),
        onward: None,
        carried: Vec::new(),
        entries: Vec::new(),
        attestations: Vec::new(),
    };
    assert!(matches!(receive::run(&world.b, &feed, &message), Err(receive::ReceiveError::Fork)));
    let stopped = feeds::stopped(&world.b, &feed)?.ok_or("stopped")?;
    assert_eq!((stopped.our_proof, stopped.their_proof), (Some(sent.run), Some(signed)));
    world.item("A-2", HandlingFloor::default())?;
    world.exchange()?;
    assert_eq!(testkit::received(&world.b)?, ["A-1"]);
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Outcome {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Puts yesterday's copy of a store back, after more was sent.
fn put_back(mut world: World, since: &dyn Fn(&World) -> Outcome) -> Result<World, Box<dyn std::error::Error>> {
    let folder = world.folder.path().to_owned();
    let open = |world: World, what: &dyn Fn() -> Outcome| -> Result<World, Box<dyn std::error::Error>> {
        let World { folder, clock, a, b } = world;
        drop(a);
        what()?;
        let a = testkit::open(folder.path(), "a", Arc::clone(&clock))?;
        Ok(World { a, b, folder, clock })
    };
    world = open(world, &|| copy(&folder.join("a"), &folder.join("copy")))?;
    since(&world)?;
    open(world, &|| {
        fs::remove_dir_all(folder.join("a"))?;
        copy(&folder.join("copy"), &folder.join("a"))
    })
}

fn journaled(node: &Node, what: &str) -> Result<usize, Box<dyn std::error::Error>> {
    Ok(crate::journal::texts(&node.holdings)?.iter().filter(|event| event.contains(what)).count())
}

/// Story: yesterday's copy of a store is put back. Its partner holds more of the feed than the copy knows. Nothing is
/// signed over it, and people are told at once; the runs are taken back from the partner, and the feed goes on behind them:
/// one history. What was recorded since is named as lost, and what was withdrawn since stays withdrawn.
#[test]
fn a_store_that_was_put_back_is_told_and_takes_up_its_feed() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let first = world.item("A-1", HandlingFloor::default())?;
    let second = world.item("A-2", HandlingFloor::default())?;
    world.exchange()?;
    let world = put_back(world, &|world| {
        for number in ["A-3", "A-4"] {
            world.item(number, HandlingFloor::default())?;
            world.exchange()?;
        }
        gate::review(&world.a, &[second], Review::Refuted)?;
        Ok(world.exchange()?)
    })?;
    world.item("A-5", HandlingFloor::default())?;
    let feed = world.feed()?;
    let before = feeds::out_row(&world.a, &feed, ZERO)?.cursor();
    world.exchange()?;
    assert_eq!((journaled(&world.a, "feed-behind")?, journaled(&world.a, "feed-caught-up")?), (1, 1));
    let row = feeds::out_row(&world.a, &feed, ZERO)?;
    assert!(row.length > before.length && feeds::stopped(&world.a, &feed)?.is_none());
    world.exchange()?;
    let row = feeds::out_row(&world.a, &feed, ZERO)?;
    assert_eq!(row.countersigned, Some(row.cursor()), "it does not go on");
    let incoming = feeds::incoming(&world.b, world.a.keys.org, world.a.holdings.store_id(), feed.agreement);
    assert_eq!(feeds::in_row(&world.b, &incoming)?.cursor(), row.cursor(), "two histories");
    assert!(feeds::stopped(&world.b, &incoming)?.is_none());
    let lost = crate::share::lost::of(&world.a, &feed)?;
    assert_eq!((lost.count, lost.records.len()), (2, 2));
    assert_eq!(status::status(&world.a)?["partners"][0]["feeds"][0]["lost"], 2);
    // What the copy does not know to be refuted is not given again by itself: the partner was told that it is withdrawn.
    let released = |record| crate::share::decide::released(&world.a, record, feed.id());
    assert!(released(first)?.is_some_and(|row| row.shows()) && released(second)?.is_some_and(|row| row.withdrawn));
    for node in [&world.a, &world.b] {
        let found = ask(node, &Call::Check { sweep: false })?;
        assert!(found.as_array().ok_or("parts")?.iter().all(|part| part["ok"] == true), "{found}");
    }
    Ok(())
}

/// Story: the copy signed a run of its own before it met its partner, over what the partner holds: two histories. Nothing
/// is taken back and nothing goes on; both signatures are kept.
#[test]
fn a_store_that_signed_over_what_was_lost_stays_stopped() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.item("A-1", HandlingFloor::default())?;
    world.exchange()?;
    let world = put_back(world, &|world| {
        for number in ["A-2", "A-3"] {
            world.item(number, HandlingFloor::default())?;
            world.exchange()?;
        }
        Ok(())
    })?;
    let feed = world.feed()?;
    world.item("A-4", HandlingFloor::default())?;
    outbox::step(&world.a, &feed)?.run.ok_or("signed without having met anybody")?;
    for _ in 0..3 {
        world.exchange()?;
    }
    assert!(feeds::stopped(&world.a, &feed)?.is_some());
    assert_eq!(feeds::out_row(&world.a, &feed, ZERO)?.length, 2, "it goes on");
    assert_eq!(journaled(&world.a, "feed-caught-up")?, 0);
    assert_eq!(testkit::received(&world.b)?, ["A-1", "A-2", "A-3"]);
    Ok(())
}

/// Story: an agreement was suspended after the copy was made. The partner knows the word, and says it: the copy, which
/// would release, is suspended again before anything goes.
#[test]
fn a_word_that_was_said_after_the_copy_comes_back() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.item("A-1", HandlingFloor::default())?;
    world.exchange()?;
    let id = world.agreement()?;
    let world = put_back(world, &|world| {
        let suspend = Call::AgreementStanding { agreement: id.to_string(), standing: Standing::Suspended };
        ask(&world.a, &suspend)?;
        Ok(world.exchange()?)
    })?;
    world.item("A-2", HandlingFloor::default())?;
    world.exchange()?;
    let standing = world.a.rules().agreements.get(id).map(|held| held.standing);
    assert_eq!(standing, Some(Standing::Suspended));
    assert_eq!(testkit::received(&world.b)?, ["A-1"]);
    Ok(())
}

/// Story: a partner signs another history of what was taken long ago, well below what is held now. That is two histories
/// too: both signatures are kept. The same run once more is none.
#[test]
fn another_history_below_the_head_is_a_fork_too() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let feed = world.feed()?;
    for number in ["A-1", "A-2", "A-3"] {
        world.item(number, HandlingFloor::default())?;
        world.exchange()?;
    }
    let (sent, run) = runs(&world.a, &feed)?.into_iter().nth(1).ok_or("three")?;
    let again = entente_protocol::feed::RunMessage {
        run: sent.run.clone(),
        onward: None,
        carried: Vec::new(),
        entries: Vec::new(),
        attestations: Vec::new(),
    };
    assert!(receive::run(&world.b, &feed, &again)?.receipt.is_some(), "known, and said so");
    let other = Run::over(feed.id(), run.before, &[EntryHash::from_bytes([7; 32])], run.version, NOW, None)?;
    let other = entente_protocol::feed::RunMessage { run: other.sign(&world.a.keys.runs)?, ..again };
    assert!(matches!(receive::run(&world.b, &feed, &other), Err(receive::ReceiveError::Fork)));
    let stopped = feeds::stopped(&world.b, &feed)?.ok_or("stopped")?;
    assert_eq!((stopped.our_proof, stopped.their_proof), (Some(sent.run), Some(other.run)));
    Ok(())
}

/// A card whose runs key has another end, taken by a partner.
fn runs_key_ends(world: &World, org: &Node, at: &Node, change: fn(&mut CardKey)) -> Outcome {
    keys_end(world, (org, &[Purpose::Runs]), at, change)
}

/// A card of which keys have another end, taken by a partner.
fn keys_end(world: &World, (org, of): (&Node, &[Purpose]), at: &Node, change: impl Fn(&mut CardKey)) -> Outcome {
    let card = changed_card(world.folder.path(), org, |payload| {
        payload.keys.iter_mut().filter(|entry| of.contains(&entry.purpose)).for_each(change);
    })?;
    assert!(partners::update(at, org.keys.org, &card)?);
    Ok(at.reload()?)
}

/// Story: a partner retires its runs key in good order. What it countersigned under that key is still shown, and ends no
/// session; under it nothing new is countersigned.
#[test]
fn what_was_countersigned_under_a_former_key_is_still_shown() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.item("A-1", HandlingFloor::default())?;
    world.exchange()?;
    runs_key_ends(&world, &world.b, &world.a, |entry| entry.until = Some(NOW.plus(DAY)))?;
    world.move_to(NOW.plus(2 * DAY))?;
    world.exchange()?;
    let feed = world.feed()?;
    let (_, run) = runs(&world.a, &feed)?.pop().ok_or("a run")?;
    let late = Receipt::of(&run, NOW.plus(2 * DAY)).sign(&world.b.keys.runs)?;
    assert!(receive::receipt(&world.a, &feed, &late, Countersigned::Now).is_err());
    let backdated = Receipt::of(&run, NOW).sign(&world.b.keys.runs)?;
    assert!(receive::receipt(&world.a, &feed, &backdated, Countersigned::Now).is_err());
    Ok(())
}

/// Story: a run was signed and not countersigned when its signer retired the key. It is served again, and taken.
#[test]
fn what_was_signed_under_a_former_key_is_still_taken() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.item("A-1", HandlingFloor::default())?;
    let feed = world.feed()?;
    let message = outbox::step(&world.a, &feed)?.run.ok_or("signed")?.message;
    runs_key_ends(&world, &world.a, &world.b, |entry| entry.until = Some(NOW.plus(DAY)))?;
    world.move_to(NOW.plus(2 * DAY))?;
    assert_eq!(receive::run(&world.b, &feed, &message)?.records, 1);
    Ok(())
}

/// Story: the same, but the key is in other hands.
#[test]
fn a_key_in_other_hands_counts_for_nothing() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.item("A-1", HandlingFloor::default())?;
    let feed = world.feed()?;
    let message = outbox::step(&world.a, &feed)?.run.ok_or("signed")?.message;
    runs_key_ends(&world, &world.a, &world.b, |entry| entry.compromised = Some(NOW.plus(DAY)))?;
    world.move_to(NOW.plus(2 * DAY))?;
    assert!(receive::run(&world.b, &feed, &message).is_err());
    Ok(())
}

/// Story: an originator ends its records key, retired in good order or lost. What its partner countersigned before that day
/// stays proved; what came on that day or later is not.
#[test]
fn what_was_countersigned_before_a_key_ended_stays_proved() -> Outcome {
    type End = fn(&mut CardKey, UnixMillis);
    let ends: [End; 3] = [
        |entry, at| entry.until = Some(at),
        |entry, at| entry.revoked = Some(at),
        |entry, at| entry.compromised = Some(at),
    ];
    for (end, holds) in ends.iter().flat_map(|end| [(end, true), (end, false)]) {
        let world = World::new("2026-01-01", "2036-12-31")?;
        world.item("A-1", HandlingFloor::default())?;
        world.move_to(NOW.plus(if holds { 0 } else { 2 * DAY }))?;
        world.exchange()?;
        let verify = || ask(&world.b, &Call::RecordVerify("A-1".to_owned()));
        assert_eq!(verify()?["ok"], true);
        // It is told afterwards.
        let ended = |entry: &mut CardKey| end(entry, NOW.plus(DAY));
        keys_end(&world, (&world.a, &[Purpose::Records, Purpose::Runs]), &world.b, ended)?;
        world.move_to(NOW.plus(3 * DAY))?;
        let proof = verify()?;
        assert_eq!(proof["ok"], holds, "{proof}");
    }
    Ok(())
}

/// Story: two partners with nothing new meet again. What is said goes in flights: everything that a side can say before it
/// hears more. After one there and one back the dialler has compared all feeds.
#[test]
fn a_partner_that_comes_back_knows_after_one_round_trip() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.item("A-1", HandlingFloor::default())?;
    world.exchange()?;
    let (a, b) = (&world.a, &world.b);
    let (mut near, mut dialler) = Conversation::open(a, b.keys.org, Role::Dialer)?;
    let (mut far, mut answerer) = Conversation::open(b, a.keys.org, Role::Acceptor)?;
    let flight = |session: &mut Session| -> Vec<_> { std::iter::from_fn(|| session.poll_frame()).collect() };
    let hear = |node: &Node, talk: &mut Conversation, session: &mut Session, frames: Vec<(Lane, Vec<u8>)>| -> Outcome {
        for (lane, frame) in frames {
            session.handle_frame(lane, &frame, NOW)?;
            while let Some(event) = session.poll_event() {
                talk.event(node, session, event)?;
            }
        }
        Ok(())
    };
    // The answerer's first flight leaves when the dialler's arrives, and has its answer behind it.
    let there = flight(&mut dialler);
    hear(b, &mut far, &mut answerer, there)?;
    let back = flight(&mut answerer);
    hear(a, &mut near, &mut dialler, back)?;
    assert!(dialler.is_open(), "heads of both are there");
    Ok(())
}
