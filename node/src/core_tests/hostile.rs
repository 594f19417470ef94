//! What a partner that turned hostile cannot bring about: somebody else's withdrawal, a standstill, a full disk.

use super::*;
use entente_protocol::feed::{RunEntry, RunMessage, WITHDRAWN};
use entente_protocol::id::Nonce;

/// A run of these entries that a node signs for a feed of its own, where the feed stands.
fn signed(from: &Node, feed: &FeedKey, before: Cursor, entries: Vec<RunEntry>) -> Result<RunMessage, Box<dyn std::error::Error>> {
    let hashes: Vec<_> = entries.iter().map(RunEntry::hash).collect();
    let run = Run::over(feed.id(), before, &hashes, ZERO, NOW, None)?.sign(&from.keys.runs)?;
    Ok(RunMessage { run, carried: Vec::new(), entries, attestations: Vec::new() })
}

fn withdrawal(record: RecordId) -> Result<RunEntry, Box<dyn std::error::Error>> {
    let entry = Entry::Withdrawal { code: WITHDRAWN, salt: Nonce::from_bytes([3; 16]), record };
    Ok(RunEntry::Open(entry.to_bytes()?))
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
