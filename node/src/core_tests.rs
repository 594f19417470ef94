//! Stories of what may never happen: false history, evidence lost, an agreement that binds at the wrong time, a stranger's
//! word that counts. Between real nodes without a network, at a clock that the test moves.

use crate::{
    agreements::{self, AgreementError},
    call::{Call, Selection},
    clock::ManualClock,
    error::Fault,
    exchange::{Conversation, ExchangeFault},
    node::Node,
    partners::{self, PartnerState},
    receive,
    records::{
        gate::{self, Review},
        keep::{self, New},
    },
    seal::keyring::Partition,
    secret::{keyfile::KeyFile, unlock::Unlock},
    share::{
        feeds::{self, SentRun},
        outbox,
    },
    status,
    store::layout::Table,
    testkit::{self, ask},
};
use entente_protocol::{
    agreement::{Standing, StandingNotice},
    feed::{Cursor, Entry, FeedKey, Receipt, Run},
    id::{AgreementDigest, AgreementId, Hash, OrgId, RecordId},
    identity::Armour,
    limits,
    primitive::SigningKey,
    record::{Draft, HandlingFloor, kind::Kind},
    session::{Lane, Message, Role},
    time::UnixMillis,
    value::Value,
};
use std::{fs, path::Path, sync::Arc, thread};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// 2026-11-22.
const NOW: UnixMillis = UnixMillis(1_795_305_600_000);
const DAY: u64 = 86_400_000;
const ZERO: AgreementDigest = AgreementDigest::from_bytes([0; 32]);

struct World {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    a: Node,
    b: Node,
}

impl World {
    /// Two partners, and the usual agreement with its first and last day.
    fn new(from: &str, until: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let world = Self::strangers()?;
        let text = testkit::agreement(until).replace("2026-01-01", from);
        testkit::agree(world.folder.path(), &world.a, &world.b, &text)?;
        // The last signature travels by itself.
        world.exchange()?;
        Ok(world)
    }
    /// Two partners without an agreement.
    fn strangers() -> Result<Self, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let clock = Arc::new(ManualClock::at(NOW));
        let (a, b) = (testkit::node(folder.path(), "a", &clock)?, testkit::node(folder.path(), "b", &clock)?);
        testkit::pair(&a, &b)?;
        Ok(Self { folder, clock, a, b })
    }
    fn release(&self, number: &str) -> Outcome {
        testkit::release(self.folder.path(), &self.a, number)
    }
    fn exchange(&self) -> Result<(), ExchangeFault> {
        testkit::exchange(&self.a, &self.b)
    }
    fn agreement(&self) -> Result<AgreementId, &'static str> {
        self.a.rules().agreements.iter().next().map(|held| held.id).ok_or("no agreement")
    }
    /// The feed from `a` to `b`.
    fn feed(&self) -> Result<FeedKey, &'static str> {
        Ok(feeds::outgoing(&self.a, self.b.keys.org, self.agreement()?))
    }
    fn move_to(&self, now: UnixMillis) -> Result<(), Fault> {
        self.clock.set(now);
        self.a.tick()?;
        self.b.tick()
    }
    /// Both sign the next version of the agreement.
    fn next_version(&self, from: &str, change: impl FnOnce(String) -> String) -> Outcome {
        let rules = self.a.rules();
        let held = rules.agreements.get(self.agreement()?).ok_or("held")?;
        let in_force = held.in_force.as_ref().ok_or("in force")?;
        let head = format!("version = 2\nid = \"{}\"\npredecessor = \"{}\"", held.id, in_force.digest);
        let text = testkit::agreement("2036-12-31").replace("version = 1", &head).replace("2026-01-01", from);
        testkit::agree(self.folder.path(), &self.a, &self.b, &change(text))
    }
    /// Keeps an item of `a` under a handling floor, and lets it go.
    fn item(&self, number: &str, floor: HandlingFloor) -> Result<RecordId, Box<dyn std::error::Error>> {
        let mut draft = Draft::new(Kind::Item, self.a.keys.org, keep::new_line()?, floor);
        let fields = [
            ("number", Value::text(number)),
            ("eval", Value::map([("inf4", Value::Int(2))])),
            ("type", Value::text("rifle")),
            ("made-by", Value::text("x")),
        ];
        for (name, value) in fields {
            draft.set(name, value)?;
        }
        let record = keep::commit(draft)?;
        let id = record.id();
        let mut txn = self.a.holdings.begin();
        keep::add(&self.a, &mut txn, &[New { record, amends: false, import: None }])?;
        txn.commit()?;
        gate::review(&self.a, &[id], Review::Reviewed)?;
        gate::release(&self.a, &[id])?;
        Ok(id)
    }
}

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

/// A card of the same organisation with the next number.
fn newer_card(folder: &Path, node: &Node) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let key = folder.join(format!("{}.key", node.config.handle));
    let identity = Unlock::IdentityFile(key).open(&node.home.keys())?;
    let root = KeyFile::read(&node.home.keys().join("root.age"), &identity)?;
    let mut payload = node.keys.card.payload().clone();
    payload.number += 1;
    Ok(payload.sign_with(&SigningKey::from_pkcs8(root.expose())?)?)
}

/// Story: a partner is removed, and its newer card is just coming in. The card changes nothing about the removal.
#[test]
fn a_card_that_comes_in_does_not_undo_a_removal() -> Outcome {
    let world = World::strangers()?;
    let org = world.b.keys.org;
    let card = newer_card(world.folder.path(), &world.b)?;
    partners::set_state(&world.a, org, PartnerState::Removed)?;
    // The rules were not read again yet: this is what a session under way still goes by.
    assert!(partners::update(&world.a, org, &card)?);
    world.a.reload()?;
    let book = world.a.book();
    let partner = book.get(org).ok_or("known")?;
    assert_eq!((partner.state, partner.card.payload().number), (PartnerState::Removed, 2));
    Ok(())
}

/// Story: who was suspended stays suspended, though its card is added once more.
#[test]
fn adding_a_card_again_does_not_resume_sharing() -> Outcome {
    let world = World::strangers()?;
    partners::set_state(&world.a, world.b.keys.org, PartnerState::Suspended)?;
    world.a.reload()?;
    testkit::pair(&world.a, &world.b)?;
    assert_eq!(world.a.book().get(world.b.keys.org).map(|p| p.state), Some(PartnerState::Suspended));
    Ok(())
}

fn notice(
    from: &Node,
    agreement: AgreementId,
    counter: u64,
    standing: Standing,
) -> Result<entente_protocol::cose::SignatureBytes, Box<dyn std::error::Error>> {
    let notice = StandingNotice { time: NOW, party: from.keys.org, counter, standing, agreement };
    Ok(notice.sign(&from.keys.agreements)?)
}

/// Story: a partner that is no party to an agreement states that it is ended. That counts for nothing. Of two
/// statements of a party with one number the stricter counts.
#[test]
fn who_is_no_party_cannot_end_an_agreement() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let c = testkit::node(world.folder.path(), "c", &world.clock)?;
    testkit::pair(&world.a, &c)?;
    let agreement = world.agreement()?;
    let standing = |node: &Node| node.rules().agreements.get(agreement).map(|held| held.standing);
    let ended = notice(&c, agreement, 7, Standing::Ended)?;
    let refused = agreements::receive_standing(&world.a, c.keys.org, &ended);
    assert!(matches!(refused, Err(AgreementError::NoParty(org)) if org == c.keys.org));
    assert_eq!(standing(&world.a), Some(Standing::Active));
    for (given, expected) in [
        (Standing::Active, Standing::Active),
        (Standing::Suspended, Standing::Suspended),
        (Standing::Active, Standing::Suspended),
    ] {
        agreements::receive_standing(&world.a, world.b.keys.org, &notice(&world.b, agreement, 3, given)?)?;
        assert_eq!(standing(&world.a), Some(expected));
    }
    Ok(())
}

/// Story: an agreement is signed in November and begins in January. What people release before then waits, and goes on
/// the first day.
#[test]
fn what_is_released_before_the_first_day_goes_on_it() -> Outcome {
    let world = World::new("2027-01-01", "2036-12-31")?;
    world.release("A-1")?;
    world.exchange()?;
    assert!(testkit::received(&world.b)?.is_empty());
    world.move_to(UnixMillis::from_date("2027-01-01").ok_or("date")?.plus(1))?;
    world.exchange()?;
    assert_eq!(testkit::received(&world.b)?, ["A-1"]);
    Ok(())
}

/// Story: the next version, which permits less, is signed weeks before its first day. Until then the one before
/// governs, and nothing is withdrawn; on that day it is.
#[test]
fn a_later_version_waits_for_its_first_day() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.release("A-1")?;
    world.exchange()?;
    let narrower = |text: String| {
        text.replace("disclose.item", "when = 'resource has type && resource.type == \"rifle\"'\ndisclose.item")
    };
    world.next_version("2027-01-01", narrower)?;
    world.exchange()?;
    world.release("A-2")?;
    world.exchange()?;
    assert_eq!(testkit::received(&world.b)?, ["A-1", "A-2"]);
    let states = ask(&world.a, &Call::AgreementList)?;
    assert_eq!((&states[0]["state"], &states[1]["state"]), (&"in-force".into(), &"not-yet".into()), "{states}");
    world.move_to(UnixMillis::from_date("2027-01-01").ok_or("date")?.plus(1))?;
    world.exchange()?;
    world.exchange()?;
    assert!(testkit::received(&world.b)?.is_empty(), "the new version covers no pistol");
    let states = ask(&world.a, &Call::AgreementList)?;
    assert_eq!((&states[0]["version"], &states[0]["state"]), (&2.into(), &"in-force".into()), "{states}");
    Ok(())
}

/// Story: a record may not go before a day, and must be destroyed on another. It goes on the one and is withdrawn on
/// the other, though nobody touches it.
#[test]
fn records_go_and_are_withdrawn_when_their_day_comes() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let floor = HandlingFloor {
        not_before: Some(NOW.plus(3 * DAY)),
        destroy_on: Some(NOW.plus(9 * DAY).date()),
        ..HandlingFloor::default()
    };
    world.item("A-1", floor)?;
    for (day, expected) in [(0, false), (2, false), (3, true), (8, true), (10, false), (400, false)] {
        world.move_to(NOW.plus(day * DAY))?;
        world.exchange()?;
        assert_eq!(!testkit::received(&world.b)?.is_empty(), expected, "day {day}");
    }
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

/// Story: two draft the next version at once, and people have approved their own. What the wire brings replaces neither.
#[test]
fn what_people_approved_is_not_replaced_by_a_rival() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let rules = world.a.rules();
    let held = rules.agreements.get(world.agreement()?).ok_or("held")?;
    let before = held.in_force.as_ref().ok_or("in force")?.digest;
    let mut digests = Vec::new();
    for (node, title) in [(&world.a, "One"), (&world.b, "Another")] {
        let head = format!("version = 2\nid = \"{}\"\npredecessor = \"{before}\"", held.id);
        let text = testkit::agreement("2036-12-31").replace("version = 1", &head).replace("Every item", title);
        let (path, output) = (world.folder.path().join("rival.toml"), world.folder.path().join("rival"));
        fs::write(&path, text)?;
        let signed = ask(node, &Call::AgreementSign { path, output })?;
        digests.push(signed["digest"].as_str().ok_or("digest")?.to_owned());
    }
    world.exchange()?;
    for (node, digest) in [(&world.a, &digests[0]), (&world.b, &digests[1])] {
        let rules = node.rules();
        let held = rules.agreements.get(held.id).ok_or("held")?;
        assert_eq!(held.proposal.as_ref().map(|p| p.digest().to_string()).as_ref(), Some(digest));
        assert!(held.approved);
    }
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
    assert!(matches!(receive::receipt(&world.a, &feed, &receipt), Err(receive::ReceiveError::Fork)));
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

/// Story: yesterday's copy of a store is put back. Its partner holds more of the feed than the copy knows. Nothing is
/// signed over it, and people are told at once what happened, by the node's status too.
#[test]
fn a_store_that_was_put_back_is_told_and_signs_nothing() -> Outcome {
    let mut world = World::new("2026-01-01", "2036-12-31")?;
    world.item("A-1", HandlingFloor::default())?;
    world.exchange()?;
    let folder = world.folder.path().to_owned();
    let open = |world: World, what: &dyn Fn() -> Outcome| -> Result<World, Box<dyn std::error::Error>> {
        let World { folder, clock, a, b } = world;
        drop(a);
        what()?;
        let a = testkit::open(folder.path(), "a", Arc::clone(&clock))?;
        Ok(World { a, b, folder, clock })
    };
    world = open(world, &|| copy(&folder.join("a"), &folder.join("copy")))?;
    world.item("A-2", HandlingFloor::default())?;
    world.exchange()?;
    world = open(world, &|| {
        fs::remove_dir_all(folder.join("a"))?;
        copy(&folder.join("copy"), &folder.join("a"))
    })?;
    world.item("A-3", HandlingFloor::default())?;
    world.exchange()?;
    let feed = world.feed()?;
    assert_eq!(feeds::out_row(&world.a, &feed, ZERO)?.length, 1, "something was signed over what the partner holds");
    let status = status::status(&world.a)?["partners"][0].clone();
    for said in [&status["last_error"], &status["feeds"][0]["stopped"]] {
        assert!(said.as_str().is_some_and(|said| said.contains("an older copy of the store was put back")), "{status}");
    }
    assert_eq!(testkit::received(&world.b)?, ["A-1", "A-2"]);
    Ok(())
}

/// Story: a partner's node floods ours with drafts of ever new agreements. So many are kept, and no more.
#[test]
fn a_partner_cannot_fill_the_list_with_drafts() -> Outcome {
    let world = World::strangers()?;
    let (path, output) = (world.folder.path().join("draft.toml"), world.folder.path().join("draft"));
    let mut refused = None;
    for n in 0..=limits::PROPOSALS_PER_PARTNER_MAX {
        fs::write(&path, testkit::agreement("2036-12-31").replace("Every item", &format!("Draft {n}")))?;
        ask(&world.b, &Call::AgreementSign { path: path.clone(), output: output.clone() })?;
        let bytes = Armour::AGREEMENT.open(&fs::read_to_string(&output)?)?;
        refused = agreements::receive(&world.a, world.b.keys.org, &bytes).err();
        assert_eq!(refused.is_some(), n == limits::PROPOSALS_PER_PARTNER_MAX, "{n}: {refused:?}");
    }
    assert!(matches!(refused, Some(AgreementError::TooMany { .. })));
    Ok(())
}

/// Story: a third party is proposed to join. It is told of the version that names it, and of nothing else: no version
/// that it is no party to, no standing.
#[test]
fn a_proposal_goes_to_its_own_parties() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let c = testkit::node(world.folder.path(), "c", &world.clock)?;
    testkit::pair(&world.a, &c)?;
    testkit::pair(&world.b, &c)?;
    let agreement = world.agreement()?;
    agreements::state(&world.a, &agreement.to_string(), Standing::Suspended)?;
    let before = world.a.rules().agreements.get(agreement).and_then(|h| h.in_force.clone()).ok_or("in force")?;
    let head = format!("version = 2\nid = \"{agreement}\"\npredecessor = \"{}\"", before.digest);
    let text = testkit::agreement("2036-12-31")
        .replace("version = 1", &head)
        .replace("[[clause]]", "[[party]]\nhandle = \"c\"\nname = \"C\"\n[[clause]]");
    let (path, output) = (world.folder.path().join("wider.toml"), world.folder.path().join("wider"));
    fs::write(&path, text)?;
    ask(&world.a, &Call::AgreementSign { path, output })?;
    testkit::exchange(&world.a, &c)?;
    let rules = c.rules();
    let held = rules.agreements.get(agreement).ok_or("told of the proposal")?;
    assert!(held.in_force.is_none() && held.notices.is_empty() && held.proposal.is_some());
    Ok(())
}

/// A row of the wrong organisation is no reason for a panic.
#[test]
fn selections_fail_where_they_do_not_fit() -> Outcome {
    let world = World::strangers()?;
    let nobody = OrgId::from_bytes([9; 32]);
    assert!(partners::set_state(&world.a, nobody, PartnerState::Removed).is_err());
    assert!(ask(&world.a, &Call::Release(Selection::Ids(vec!["A-9".to_owned()]))).is_err());
    Ok(())
}
