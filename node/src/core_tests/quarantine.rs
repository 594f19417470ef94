//! Runs that do not hold: their feed waits, and nothing else does.

use super::*;
use crate::{receive::quarantine, records::stored::encode, testkit::Meeting};
use entente_protocol::{feed::RunFault, session::CloseCode};

/// The first run of a feed as its sender signed it, and the same with an entry that names another record than its body
/// is: as a sender with a defect keeps it, and serves it again and again.
fn poison(from: &Node, feed: &FeedKey) -> Result<[SentRun; 2], Box<dyn std::error::Error>> {
    let good = feeds::run_at(from, feed, &feeds::out_row(from, feed, ZERO)?, 0)?.ok_or("a run")?.1;
    let run = Run::danger_unverified(&good.run)?;
    let mut bad = good.clone();
    let first = bad.entries.first_mut().ok_or("an entry")?;
    let Entry::Release { hash, salt, .. } = Entry::from_bytes(&first.bytes)? else { return Err("a release".into()) };
    let record = RecordId::from_bytes([9; 32]);
    first.bytes = serde_bytes::ByteBuf::from(Entry::Release { hash, salt, record }.to_bytes()?);
    let hashes: Vec<EntryHash> = bad.entries.iter().map(|entry| Entry::hash_of(&entry.bytes)).collect();
    bad.run = Run::over(feed.id(), run.before, &hashes, run.version, run.time, None)?.sign(&from.keys.runs)?;
    Ok([good, bad])
}

/// What a sender holds as the first run of a feed; those after it follow from it.
fn holds(from: &Node, feed: &FeedKey, first: &SentRun) -> Outcome {
    let mut row = feeds::out_row(from, feed, ZERO)?;
    let mut sent = vec![first.clone()];
    while let Some((_, next)) = feeds::run_at(from, feed, &row, sent.iter().map(|run| run.entries.len() as u64).sum())?
    {
        sent.push(next);
    }
    let mut txn = from.holdings.begin();
    let mut at = Cursor::start(feed.id());
    for (n, mut sent) in (0..).zip(sent) {
        let run = Run::danger_unverified(&sent.run)?;
        let hashes: Vec<EntryHash> = sent.entries.iter().map(|entry| Entry::hash_of(&entry.bytes)).collect();
        let run = Run::over(feed.id(), at, &hashes, run.version, run.time, None)?;
        (at, sent.run) = (run.end(), run.sign(&from.keys.runs)?);
        txn.replace_item(Partition::Own, Table::RunOut, feed.id().as_bytes(), n, &encode("run", &sent)?)?;
    }
    row.digest = at.digest;
    feeds::put_out(&mut txn, feed, &row)?;
    txn.commit()?;
    Ok(())
}

/// Events of this name, as they stand in the journal.
fn events(node: &Node, name: &str) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    Ok(crate::journal::texts(&node.holdings)?.into_iter().filter(|event| event.contains(name)).collect())
}

/// Three nodes: `a` and `c` share with `b`, `a` under two agreements.
struct Three {
    world: World,
    c: Node,
    /// From `a` to `b` under the one agreement and the other, and from `c`.
    feeds: [FeedKey; 3],
}

impl Three {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let world = World::new("2026-01-01", "2036-12-31")?;
        let folder = world.folder.path();
        let text = testkit::agreement("2036-12-31");
        testkit::agree(folder, &world.a, &world.b, &text.replace("Every item", "The same again"))?;
        let c = testkit::node(folder, "c", &world.clock)?;
        testkit::pair(&c, &world.b)?;
        let of_c = [("\"a\"", "\"c\""), ("\"A\"", "\"C\"")];
        let text = of_c.iter().fold(text, |text, (from, to)| text.replace(from, to));
        testkit::agree(folder, &c, &world.b, &text)?;
        world.exchange()?;
        testkit::exchange(&c, &world.b)?;
        let under = |node: &Node| -> Vec<FeedKey> {
            let rules = node.rules();
            rules.agreements.iter().map(|held| feeds::outgoing(node, world.b.keys.org, held.id)).collect()
        };
        let feeds = [under(&world.a), under(&c)].concat().try_into().map_err(|_| "three feeds")?;
        Ok(Self { world, c, feeds })
    }
    /// Another item of `a` and of `c` goes.
    fn release(&self, number: u32) -> Outcome {
        self.world.item(&format!("A-{number}"), HandlingFloor::default())?;
        testkit::release(self.world.folder.path(), &self.c, &format!("Z-{number}"))
    }
    /// Entries that `b` holds of each feed.
    fn held(&self) -> Result<[u64; 3], Box<dyn std::error::Error>> {
        let mut held = [0; 3];
        for (held, feed) in held.iter_mut().zip(&self.feeds) {
            *held = feeds::in_row(&self.world.b, feed)?.length;
        }
        Ok(held)
    }
    /// What `status` of `b` says of the feeds with `a`, by agreement.
    fn said(&self) -> Result<[String; 2], Box<dyn std::error::Error>> {
        let status = status::status(&self.world.b)?;
        let partners = status["partners"].as_array().ok_or("partners")?;
        let id = self.world.a.keys.org.to_string();
        let feeds = &partners.iter().find(|partner| partner["id"] == id.as_str()).ok_or("a")?["feeds"];
        let of = |feed: &FeedKey| {
            let of = feeds.as_array()?.iter().find(|row| row["agreement"] == feed.agreement.to_string().as_str())?;
            Some(of["quarantine"].as_str().unwrap_or_default().to_owned())
        };
        let [one, other, _] = &self.feeds;
        Ok([of(one).ok_or("its row")?, of(other).ok_or("its row")?])
    }
}

/// Story: the first run of one of three feeds names a record that is not the one it brings. It was served again on each
/// dial, and each time the connection was cut, with all that the same partner had to say under another agreement; nobody
/// was told which record it was. Now its sender is told once, its feed waits, also after a restart, and every other goes on.
#[test]
fn a_run_that_does_not_hold_keeps_out_nothing_else() -> Outcome {
    let mut three = Three::new()?;
    let poisoned = three.feeds[0];
    three.release(1)?;
    outbox::step(&three.world.a, &poisoned)?.run.ok_or("a run")?;
    let [good, bad] = poison(&three.world.a, &poisoned)?;
    holds(&three.world.a, &poisoned, &bad)?;
    let refused = three.world.exchange();
    assert!(
        matches!(refused, Err(ExchangeFault::Peer(PeerFault::Run(RunFault::Release { index: 0 })))),
        "its sender is told once: {refused:?}"
    );

    three.world.exchange()?;
    testkit::exchange(&three.c, &three.world.b)?;
    assert_eq!(three.held()?, [0, 1, 1]);
    // It comes again in every session: nothing is written about that.
    let head = three.world.b.holdings.head()?;
    three.world.exchange()?;
    assert_eq!(three.world.b.holdings.head()?, head);

    let root = Run::danger_unverified(&bad.run)?.root.to_string();
    let named = RecordId::from_bytes([9; 32]).to_string();
    let [said, other] = three.said()?;
    assert!(
        said.contains(&named) && said.contains(root.get(..16).unwrap_or("no root")) && said.contains("partner retry a"),
        "{said}"
    );
    assert!(said.contains("is not the one that was released") && other.is_empty(), "{said}; {other}");
    let event = events(&three.world.b, "quarantined")?;
    assert!(matches!(event.as_slice(), [one] if one.contains(&named) && one.contains(&root)), "{event:?}");

    let World { folder, clock, a, b } = three.world;
    drop(b);
    let b = testkit::open(folder.path(), "b", Arc::clone(&clock))?;
    three = Three { world: World { folder, clock, a, b }, ..three };
    three.release(2)?;
    three.world.exchange()?;
    testkit::exchange(&three.c, &three.world.b)?;
    assert_eq!(three.held()?, [0, 2, 2]);

    // People lift it, before anything is mended: a session under way begins anew, and its sender is told once more.
    let mut meeting = Meeting::of(&three.world.a, &three.world.b)?;
    meeting.settle()?;
    assert!(!meeting.sides[1].2.is_closed());
    let retry = |b: &Node| ask(b, &Call::PartnerRetry("a".to_owned()));
    assert_eq!(retry(&three.world.b)?["retried"].as_array().map(Vec::len), Some(1));
    meeting.settle()?;
    assert!(meeting.sides[1].2.is_closed());
    assert!(matches!(three.world.exchange(), Err(ExchangeFault::Peer(PeerFault::Run(_)))));
    three.world.exchange()?;

    // Mended, and lifted: it is taken, and nothing waits any more.
    holds(&three.world.a, &poisoned, &good)?;
    retry(&three.world.b)?;
    three.world.exchange()?;
    assert_eq!((three.held()?, three.said()?), ([2, 2, 2], Default::default()));
    assert_eq!(retry(&three.world.b).map_err(|fault| fault.code), Err("nothing-waits".to_owned()));
    Ok(())
}

/// Story: a run that holds comes in the place of one that did not, without anybody having said so. It is taken.
#[test]
fn a_run_that_holds_ends_the_quarantine_of_its_feed() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.item("A-1", HandlingFloor::default())?;
    let feed = world.feed()?;
    outbox::step(&world.a, &feed)?.run.ok_or("a run")?;
    let [good, bad] = poison(&world.a, &feed)?;
    holds(&world.a, &feed, &bad)?;
    assert!(world.exchange().is_err());
    holds(&world.a, &feed, &good)?;
    world.exchange()?;
    assert_eq!(testkit::received(&world.b)?, ["A-1"]);
    assert_eq!(quarantine::of(&world.b, feed.agreement, feed.sender)?, None);
    assert_eq!(events(&world.b, "quarantine-ended")?.len(), 1);
    Ok(())
}

/// Story: a partner signs one run after another that does not hold, in its own feed and in those of stores that it makes
/// up. There is one mark, it is written once an hour, its text is bounded, and its sender's share pays for it.
#[test]
fn what_does_not_hold_fills_no_store() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let feed = world.feed()?;
    let filled = room::filled(&world.b, feed.sender)?;
    let refused = |store: u8, salt: u8| -> Outcome {
        let feed = FeedKey { store: StoreId::from_bytes([store; 16]), ..feed };
        let message = hostile::signed(
            &world.a,
            &feed,
            Cursor::start(feed.id()),
            vec![entente_protocol::feed::RunEntry::Open(vec![salt; 20_000])],
        )?;
        let fault = receive::run(&world.b, &feed, &message);
        let Err(receive::ReceiveError::Run(fault)) = fault else { return Err(format!("{fault:?}").into()) };
        assert_eq!(ExchangeFault::Peer(PeerFault::Run(fault)).code(), CloseCode::RUN);
        Ok(())
    };
    refused(1, 1)?;
    let head = world.b.holdings.head()?;
    for other in 2..20 {
        refused(1, other)?;
        refused(other, 1)?;
    }
    assert_eq!(world.b.holdings.head()?, head, "something is written for each");
    assert_eq!(room::filled(&world.b, feed.sender)?, filled + room::BESIDES_BYTES);
    let mark = quarantine::of(&world.b, feed.agreement, feed.sender)?.ok_or("a mark")?;
    assert!(encode("quarantine", &mark)?.len() < 1_000);
    world.clock.advance(3_600_000);
    refused(2, 2)?;
    assert_eq!(events(&world.b, "quarantined")?.len(), 2);
    Ok(())
}
