//! What a partner that turned hostile cannot bring about: somebody else's withdrawal, a standstill, a full disk.

use super::*;
use entente_protocol::feed::{RunEntry, RunMessage, WITHDRAWN};
use entente_protocol::id::Nonce;

/// A run of these entries that a node signs for a feed of its own, where the feed stands.
pub(super) fn signed(
    from: &Node,
    feed: &FeedKey,
    before: Cursor,
    entries: Vec<RunEntry>,
) -> Result<RunMessage, Box<dyn std::error::Error>> {
    let hashes: Vec<_> = entries.iter().map(RunEntry::hash).collect();
    let run = Run::over(feed.id(), before, &hashes, ZERO, NOW, None)?.sign(&from.keys.runs)?;
    Ok(RunMessage { run, onward: None, carried: Vec::new(), entries, attestations: Vec::new() })
}

pub(super) fn withdrawal(record: RecordId) -> Result<RunEntry, Box<dyn std::error::Error>> {
    let entry = Entry::Withdrawal { code: WITHDRAWN, salt: Nonce::from_bytes([3; 16]), record };
    Ok(RunEntry::Open(entry.to_bytes()?))
}

/// Story: a record says that it amends one of another line. Who holds that one refuses the entry, and keeps what it has.
#[test]
fn what_amends_a_record_of_another_line_is_refused() -> Outcome {
    let world = World::strangers()?;
    let text = testkit::agreement("2036-12-31").replace("\"eval\",", "\"eval\", \"supersedes\",");
    testkit::agree(world.folder.path(), &world.a, &world.b, &text)?;
    let first = world.item("A-1", HandlingFloor::default())?;
    world.exchange()?;
    assert_eq!(testkit::received(&world.b)?, ["A-1"]);
    // The same amendment within the line is taken, which shows that the refusal is for the line.
    let line = keep::own(&world.a, first)?.header()?.header().line;
    let mut taken = Vec::new();
    for (number, line) in [("A-2", keep::new_line()?), ("A-3", line)] {
        let mut draft = Draft::new(Kind::Item, world.a.keys.org, line, HandlingFloor::default());
        draft.set("supersedes", Value::Bytes(first.as_bytes().to_vec()))?;
        world.goes(draft, number, false)?;
        world.exchange()?;
        taken.push(testkit::received(&world.b)?.contains(&number.to_owned()));
    }
    assert_eq!(taken, [false, true]);
    Ok(())
}

/// Story: three share under one agreement. One of them signs a withdrawal of what another released, and of something
/// that nobody holds. Neither shows as withdrawn; when its originator withdraws it, it does.
#[test]
fn nobody_withdraws_what_another_recorded() -> Outcome {
    let world = World::strangers()?;
    let c = testkit::node(world.folder.path(), "c", &world.clock)?;
    testkit::pair(&world.a, &c)?;
    testkit::pair(&world.b, &c)?;
    let text = testkit::agreement("2036-12-31")
        .replace("to = [\"b\"]", "to = [\"b\", \"c\"]")
        .replace("[[clause]]", "[[party]]\nhandle = \"c\"\nname = \"C\"\n[[clause]]");
    let path = |name: &str| world.folder.path().join(name);
    fs::write(path("three.toml"), text)?;
    for (node, from, to) in [(&world.a, "three.toml", "one"), (&world.b, "one", "two"), (&c, "two", "three")] {
        ask(node, &Call::AgreementSign { path: path(from), output: path(to) })?;
    }
    ask(&world.a, &Call::AgreementAdd(path("three")))?;
    let record = world.item("A-1", HandlingFloor::default())?;
    for _ in 0..2 {
        world.exchange()?;
        testkit::exchange(&world.a, &c)?;
        testkit::exchange(&world.b, &c)?;
    }
    assert_eq!(testkit::received(&world.b)?, ["A-1"]);

    let feed = feeds::outgoing(&c, world.b.keys.org, world.agreement()?);
    let nothing = withdrawal(RecordId::from_bytes([9; 32]))?;
    let message = signed(&c, &feed, feeds::out_row(&c, &feed, ZERO)?.cursor(), vec![withdrawal(record)?, nothing])?;
    assert!(receive::run(&world.b, &feed, &message)?.receipt.is_some(), "the run itself is in order");
    assert_eq!(testkit::received(&world.b)?, ["A-1"], "withdrawn by another party");
    assert!(receive::withdrawn(&world.b, feed.agreement, RecordId::from_bytes([9; 32]))?.is_none());

    gate::review(&world.a, &[record], Review::Refuted)?;
    world.exchange()?;
    assert!(testkit::received(&world.b)?.is_empty());
    let row = receive::withdrawn(&world.b, feed.agreement, record)?.ok_or("withdrawn")?;
    assert_eq!(row.feed, Some(world.feed()?.id()));
    Ok(())
}

/// Two conversations in the middle of a session, of which only the control lane moves.
struct Talks<'a> {
    sides: [(&'a Node, Conversation, Session); 2],
}

impl<'a> Talks<'a> {
    fn open(world: &'a World) -> Result<Self, Box<dyn std::error::Error>> {
        let side = |own: &'a Node, other: &Node, role| {
            Conversation::open(own, other.keys.org, role).map(|(talk, session)| (own, talk, session))
        };
        let sides = [side(&world.a, &world.b, Role::Dialer)?, side(&world.b, &world.a, Role::Acceptor)?];
        let mut talks = Self { sides };
        talks.settle()?;
        Ok(talks)
    }
    /// Until nobody says anything on the control lane. Returns how many messages of `a` went.
    fn settle(&mut self) -> Result<usize, Box<dyn std::error::Error>> {
        let mut said = 0;
        loop {
            let mut frames = Vec::new();
            for (place, (node, talk, session)) in self.sides.iter_mut().enumerate() {
                while let Some(event) = session.poll_event() {
                    talk.event(node, session, event)?;
                }
                talk.pump(node, session)?;
                while let Some(content) = session.poll_lane(Lane::Control) {
                    frames.push((place, content));
                }
            }
            if frames.is_empty() {
                return Ok(said);
            }
            for (place, content) in frames {
                said += usize::from(place == 0);
                let (node, _, session) = &mut self.sides[1 - place];
                session.handle_frame(Lane::Control, &content, node.clock.now())?;
            }
        }
    }
    /// Something happens in the session of `a`.
    fn happens(&mut self, event: Event) -> Result<(), ExchangeFault> {
        let (node, talk, session) = &mut self.sides[0];
        talk.event(node, session, event)
    }
    fn session(&mut self) -> &mut Session {
        &mut self.sides[0].2
    }
    fn pump(&mut self) -> Result<bool, ExchangeFault> {
        let (node, talk, session) = &mut self.sides[0];
        talk.pump(node, session)
    }
}

/// Story: a suspension is in the ledger, and the thread that wrote it has not read the rules again yet. Nothing is signed,
/// taken or served again under the rules before it.
#[test]
fn a_suspension_counts_from_its_append_on() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.item("A-1", HandlingFloor::default())?;
    let feed = world.feed()?;
    let sent = outbox::step(&world.a, &feed)?.run.ok_or("a run")?;
    partners::set_state(&world.b, world.a.keys.org, PartnerState::Suspended)?;
    assert!(receive::run(&world.b, &feed, &sent.message)?.waits, "taken from a partner that is suspended");
    partners::set_state(&world.b, world.a.keys.org, PartnerState::Active)?;
    world.b.reload()?;

    world.item("A-2", HandlingFloor::default())?;
    let basis = world.a.basis();
    let mut talks = Talks::open(&world)?;
    while talks.session().poll_lane(Lane::Records).is_some() {}
    assert!(basis.stands(&world.a)?);
    partners::set_state(&world.a, world.b.keys.org, PartnerState::Suspended)?;
    assert!(!basis.stands(&world.a)?);
    drop(talks);
    let mut talks = Talks::open(&world)?;
    assert!(talks.session().poll_lane(Lane::Records).is_none(), "served again to a partner that is suspended");
    drop(talks);
    world.item("A-3", HandlingFloor::default())?;
    let before = feeds::out_row(&world.a, &feed, ZERO)?.length;
    assert!(outbox::step(&world.a, &feed)?.run.is_none(), "signed for a partner that is suspended");
    assert_eq!(feeds::out_row(&world.a, &feed, ZERO)?.length, before);
    Ok(())
}

/// Story: a record went, and was withdrawn; another was hidden by a correction that does not go. The partner puts an old
/// copy back and shows the beginning again. It is served its own history, and neither body.
#[test]
fn what_was_withdrawn_or_hidden_is_not_served_again() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let floor = |day| HandlingFloor { destroy_on: day, ..HandlingFloor::default() };
    let (gone, hidden) = (world.item("A-1", floor(None))?, world.item("A-2", floor(None))?);
    let feed = world.feed()?;
    assert_eq!(outbox::step(&world.a, &feed)?.run.ok_or("a run")?.message.carried.len(), 2);
    // A correction that is under a stricter floor, and so never goes.
    let closed = HandlingFloor { not_before: Some(NOW.plus(900 * DAY)), ..HandlingFloor::default() };
    world.amendment(hidden, "A-2", closed)?;
    assert_eq!(outbox::again(&world.a, &feed, 0)?.ok_or("again")?.message.carried.len(), 1, "the hidden one goes");
    gate::review(&world.a, &[gone], Review::Refuted)?;
    while outbox::step(&world.a, &feed)?.more {}
    // It is good again, and the partner has not been told so yet.
    gate::review(&world.a, &[gone], Review::Verified)?;
    assert!(outbox::again(&world.a, &feed, 0)?.ok_or("again")?.message.carried.is_empty(), "what was withdrawn goes");
    Ok(())
}

/// Story: a partner shows the beginning of its feed again and again. What it is served costs no append, nothing is
/// forgotten of what went since, and the list of what waits does not grow.
#[test]
fn an_old_head_shown_again_and_again_changes_nothing() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let feed = world.feed()?;
    let record = world.item("A-1", HandlingFloor::default())?;
    outbox::step(&world.a, &feed)?.run.ok_or("released")?;
    gate::review(&world.a, &[record], Review::Refuted)?;
    while outbox::step(&world.a, &feed)?.more {}
    gate::review(&world.a, &[record], Review::Verified)?;
    while outbox::step(&world.a, &feed)?.more {}
    let released = decide::released(&world.a, record, feed.id())?.ok_or("released again")?;
    assert!(released.shows() && released.number == 2);
    gate::review(&world.a, &[record], Review::Refuted)?;
    let head = world.a.holdings.head()?.sequence;
    for _ in 0..5 {
        assert!(outbox::again(&world.a, &feed, 0)?.ok_or("served")?.message.carried.is_empty());
    }
    assert_eq!(world.a.holdings.head()?.sequence, head, "an old head costs appends");
    assert_eq!(decide::released(&world.a, record, feed.id())?, Some(released), "a later release is forgotten");
    for _ in 0..5 {
        assert!(outbox::again(&world.a, &feed, 2)?.ok_or("served")?.message.carried.is_empty());
    }
    assert_eq!(world.a.holdings.head()?.sequence, head + 1, "closed once, and then known to be");
    while outbox::step(&world.a, &feed)?.more {}
    let waiting = world.a.holdings.list(Partition::Own, Table::Pending, feed.id().as_bytes(), None, 10)?;
    assert!(waiting.is_empty(), "what was taken from the list stays in it");
    Ok(())
}

fn notice(
    from: &Node,
    agreement: AgreementId,
    counter: u64,
    standing: Standing,
) -> Result<SignatureBytes, Box<dyn std::error::Error>> {
    let notice = StandingNotice { time: NOW, party: from.keys.org, counter, standing, agreement };
    Ok(notice.sign(&from.keys.agreements)?)
}

fn events(node: &Node, what: &str) -> Result<usize, Box<dyn std::error::Error>> {
    Ok(crate::journal::texts(&node.holdings)?.iter().filter(|event| event.contains(what)).count())
}

/// Story: a partner changes its mind as often as a list of agreements has room for, in each of many lists. Each list
/// counts as one change, and in an hour there are so many and no more. What is known already counts for nothing.
#[test]
fn standings_in_lists_of_agreements_are_counted_too() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let agreement = world.agreement()?;
    let version = world.b.rules().agreements.get(agreement).and_then(|h| h.in_force.clone()).ok_or("held")?.digest;
    let list = |counters: std::ops::Range<u64>| {
        let standing = |n: u64| if n.is_multiple_of(2) { Standing::Active } else { Standing::Suspended };
        let standings = counters.map(|n| notice(&world.b, agreement, n, standing(n))).collect::<Result<_, _>>()?;
        Ok::<_, Box<dyn std::error::Error>>(Event::Agreements(vec![AgreementLine {
            id: agreement,
            version,
            standings,
        }]))
    };
    let mut talks = Talks::open(&world)?;
    talks.happens(list(1..17)?)?;
    assert_eq!(events(&world.a, "agreement-standing")?, 1, "a second word of one party");
    let foreign = AgreementLine { id: AgreementId::from_bytes([7; 16]), version, standings: vec![] };
    let Event::Agreements(mut lines) = list(20..21)? else { return Err("lines".into()) };
    lines[0] = AgreementLine { standings: lines[0].standings.clone(), ..foreign };
    talks.happens(Event::Agreements(lines))?;
    assert_eq!(events(&world.a, "agreement-standing")?, 1, "said of another agreement");
    // Said again and again, as in each session: that is no news.
    for _ in 0..3 {
        talks.happens(list(1..2)?)?;
    }
    for _ in 2..limits::CHANGES_PER_HOUR_MAX {
        world.a.note_change(world.b.keys.org);
    }
    talks.happens(list(30..31)?)?;
    assert!(!talks.session().is_closed());
    assert_eq!(events(&world.a, "agreement-standing")?, 2);
    talks.happens(list(31..32)?)?;
    assert!(talks.session().is_closed(), "it is said again later");
    assert_eq!(events(&world.a, "agreement-standing")?, 2);
    Ok(())
}

/// Story: yesterday's copy of a store is put back, from before its organisation ended an agreement. The partner still has
/// the notice, and shows it: what was ended stays ended.
#[test]
fn our_own_end_is_known_again_from_a_partner() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let agreement = world.agreement()?;
    agreements::receive_standing(&world.b, world.a.keys.org, &notice(&world.a, agreement, 1, Standing::Ended)?)?;
    let standing = |node: &Node| node.rules().agreements.get(agreement).map(|held| held.standing);
    assert_eq!(standing(&world.a), Some(Standing::Active));
    world.exchange()?;
    assert_eq!(standing(&world.a), Some(Standing::Ended));
    Ok(())
}

/// Story: an honest partner's line breaks every few seconds for a day. It says all that it knows each time, nothing of
/// it is news, and it is not locked out.
#[test]
fn who_says_what_is_known_is_not_locked_out() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    agreements::state(&world.a, &world.agreement()?.to_string(), Standing::Suspended)?;
    world.exchange()?;
    // The agreement and the suspension were news.
    for _ in 3..limits::CHANGES_PER_HOUR_MAX {
        world.b.note_change(world.a.keys.org);
    }
    world.clock.advance(1);
    for _ in 0..3 {
        world.exchange()?;
    }
    agreements::state(&world.a, &world.agreement()?.to_string(), Standing::Active)?;
    world.exchange()?;
    let standing = world.b.rules().agreements.get(world.agreement()?).map(|held| held.standing);
    assert_eq!(standing, Some(Standing::Active), "the budget was used up by what was known");
    Ok(())
}

/// Story: a partner does not read, and what we have to tell it does not fit the queue. The session goes on, and the rest
/// is told when there is room.
#[test]
fn what_does_not_fit_the_queue_is_told_later() -> Outcome {
    let world = World::strangers()?;
    let mut talks = Talks::open(&world)?;
    for _ in 0..8 {
        talks.session().send_notice(Notice { kind: 1, content: vec![0; 500_000] })?;
    }
    let (path, output) = (world.folder.path().join("draft.toml"), world.folder.path().join("draft"));
    fs::write(&path, testkit::agreement("2036-12-31"))?;
    ask(&world.a, &Call::AgreementSign { path, output })?;
    talks.pump()?;
    assert!(world.b.rules().agreements.iter().next().is_none());
    talks.settle()?;
    assert!(world.b.rules().agreements.iter().next().is_some(), "told when there was room");
    Ok(())
}

/// Story: one partner drafts one agreement after another that names us and a third. The third hears of none of them from
/// us, and its own draft is taken. What our people drop stays dropped; what they approve is sent on.
#[test]
fn drafts_of_one_partner_do_not_come_between_us_and_another() -> Outcome {
    let world = World::strangers()?;
    let c = testkit::node(world.folder.path(), "c", &world.clock)?;
    testkit::pair(&world.a, &c)?;
    testkit::pair(&world.b, &c)?;
    let three =
        testkit::agreement("2036-12-31").replace("[[clause]]", "[[party]]\nhandle = \"c\"\nname = \"C\"\n[[clause]]");
    let (path, output) = (world.folder.path().join("draft.toml"), world.folder.path().join("draft"));
    let draft = |by: &Node, text: &str| -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        fs::write(&path, text)?;
        ask(by, &Call::AgreementSign { path: path.clone(), output: output.clone() })?;
        let signed = fs::read_to_string(&output)?;
        fs::remove_file(&output)?;
        Ok(Armour::AGREEMENT.open(&signed)?)
    };
    let mut last = Vec::new();
    for n in 0..limits::PROPOSALS_PER_PARTNER_MAX {
        last = draft(&world.b, &three.replace("Every item", &format!("Draft {n}")))?;
        agreements::receive(&world.a, world.b.keys.org, &last)?;
    }
    testkit::exchange(&world.a, &c)?;
    assert_eq!(c.rules().agreements.iter().count(), 0, "what a partner drafted was sent on");
    let own = draft(&c, &three.replace("Every item", "Of the third"))?;
    assert_eq!(agreements::receive(&world.a, c.keys.org, &own)?, Received::Kept);

    let (dropped, kept) = (SignedAgreement::from_bytes(&last)?, SignedAgreement::from_bytes(&own)?);
    let id = dropped.agreement()?.id.to_string();
    let drop = |digest: String| ask(&world.a, &Call::AgreementDrop { agreement: id.clone(), digest });
    assert!(drop(kept.digest().to_string()).is_err(), "another one than was read");
    drop(dropped.digest().to_string())?;
    assert_eq!(agreements::receive(&world.a, world.b.keys.org, &last)?, Received::Dropped);
    assert!(ask(&world.a, &Call::AgreementShow(id.clone())).is_err());
    // There is room for another one of the same partner, and no more.
    let more = draft(&world.b, &three.replace("Every item", "One more"))?;
    assert_eq!(agreements::receive(&world.a, world.b.keys.org, &more)?, Received::Kept);

    let agreement = kept.agreement()?.id.to_string();
    ask(&world.a, &Call::AgreementAccept { agreement: agreement.clone(), digest: kept.digest().to_string() })?;
    testkit::exchange(&world.a, &world.b)?;
    assert!(world.b.rules().agreements.get(kept.agreement()?.id).is_some(), "what our people approved is sent on");
    Ok(())
}

/// Story: a partner sends proposals that cannot be taken, each of them readable. The session remembers none.
#[test]
fn what_is_not_taken_is_not_remembered() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let held = world.a.rules().agreements.iter().next().and_then(|h| h.in_force.clone()).ok_or("in force")?;
    let mut talks = Talks::open(&world)?;
    let known = talks.sides[0].1.proposals_known();
    for n in 0..20 {
        let id = AgreementId::from_bytes([n; 16]);
        let foreign = Agreement { id, schema: Hash::from_bytes([1; 32]), ..held.agreement.clone() };
        talks.happens(Event::Proposal(SignedAgreement::unsigned(&foreign)?.to_bytes()?))?;
    }
    assert_eq!(talks.sides[0].1.proposals_known(), known);
    Ok(())
}

/// Story: a partner shows another history of our feed, with a signature that is nobody's. It is closed, and the feed goes
/// on: anybody could have written that.
#[test]
fn what_nobody_signed_stops_no_feed() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.item("A-1", HandlingFloor::default())?;
    world.exchange()?;
    let (feed, mut talks) = (world.feed()?, Talks::open(&world)?);
    let ours = feeds::out_row(&world.a, &feed, ZERO)?.cursor();
    let other = Run::over(feed.id(), Cursor::start(feed.id()), &[EntryHash::from_bytes([7; 32])], ZERO, NOW, None)?;
    let theirs = other.end();
    let fork = |signed| Event::Fork { feed, ours, theirs, signed };
    let forged = Receipt::of(&other, NOW).sign(&world.b.keys.records)?;
    for signed in [None, Some(forged)] {
        assert!(matches!(talks.happens(fork(signed)), Err(ExchangeFault::Peer(_))));
    }
    assert!(feeds::stopped(&world.a, &feed)?.is_none());
    // Of the partner's own feed a run counts, and a receipt does not.
    let incoming = FeedKey { sender: world.b.keys.org, receiver: world.a.keys.org, ..feed };
    let receipt = Receipt::of(&other, NOW).sign(&world.b.keys.runs)?;
    let wrong = Event::Fork { feed: incoming, ours, theirs, signed: Some(receipt.clone()) };
    assert!(matches!(talks.happens(wrong), Err(ExchangeFault::Peer(_))));
    talks.happens(fork(Some(receipt)))?;
    assert!(feeds::stopped(&world.a, &feed)?.is_some(), "what it signed does");
    Ok(())
}

/// Story: a partner shows heads of feeds that never were: of other stores, of later epochs, under agreements that we do
/// not have. Nothing is written, and people are not alarmed.
#[test]
fn heads_of_invented_feeds_write_nothing() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let (feed, mut talks) = (world.feed()?, Talks::open(&world)?);
    let before = world.a.holdings.head()?.sequence;
    let store = StoreId::from_bytes([9; 16]);
    let agreement = AgreementId::from_bytes([9; 16]);
    for (invented, faulty) in [
        (FeedKey { store, ..feed }, true),
        (FeedKey { epoch: 3, ..feed }, true),
        // One that is in force on one side only is nobody's fault.
        (FeedKey { agreement, ..feed }, false),
    ] {
        let run =
            Run::over(invented.id(), Cursor::start(invented.id()), &[EntryHash::from_bytes([7; 32])], ZERO, NOW, None)?;
        let receipt = Some(Receipt::of(&run, NOW).sign(&world.b.keys.runs)?);
        let heads = Heads { sent: vec![], received: vec![ReceivedHead { feed: invented, head: run.end(), receipt }] };
        let taken = talks.happens(Event::Heads(heads));
        assert_eq!(matches!(taken, Err(ExchangeFault::Peer(PeerFault::Feed))), faulty, "{taken:?}");
    }
    talks.pump()?;
    assert_eq!(world.a.holdings.head()?.sequence, before, "something was written");
    assert!(world.a.health(world.b.keys.org).error.is_none());
    Ok(())
}

/// Story: we draft, sign, suspend and resume an agreement with somebody else. A partner's line stays silent.
#[test]
fn what_changes_with_others_is_not_told() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let c = testkit::node(world.folder.path(), "c", &world.clock)?;
    let (agreement, mut talks) = (world.agreement()?, Talks::open(&world)?);
    testkit::pair(&world.a, &c)?;
    let text = testkit::agreement("2036-12-31").replace("\"b\"", "\"c\"").replace("Every item", "With another");
    testkit::agree(world.folder.path(), &world.a, &c, &text)?;
    assert_eq!(talks.settle()?, 0, "a change with somebody else is told");
    agreements::state(&world.a, &agreement.to_string(), Standing::Suspended)?;
    assert_ne!(talks.settle()?, 0);
    Ok(())
}

/// Story: a run was handed to the line, and the line is slow, when its agreement is suspended; another when its record is
/// refuted. The driver is told to throw away what is on its way.
#[test]
fn what_is_on_its_way_is_recalled() -> Outcome {
    for refutes in [true, false] {
        let world = World::new("2026-01-01", "2036-12-31")?;
        let record = world.item("A-1", HandlingFloor::default())?;
        let mut talks = Talks::open(&world)?;
        assert!(talks.session().poll_lane(Lane::Records).is_some(), "handed on");
        assert_eq!(talks.session().poll_recall(), None);
        if refutes {
            gate::review(&world.a, &[record], Review::Verified)?;
            talks.pump()?;
            assert_eq!(talks.session().poll_recall(), None, "what is raised goes on");
            gate::review(&world.a, &[record], Review::Refuted)?;
        } else {
            agreements::state(&world.a, &world.agreement()?.to_string(), Standing::Suspended)?;
        }
        talks.pump()?;
        assert_eq!(talks.session().poll_recall(), Some(true));
        talks.pump()?;
        assert_eq!(talks.session().poll_recall(), None, "told once");
    }
    Ok(())
}
