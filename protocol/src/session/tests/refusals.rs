//! What a partner may not say: identity, bounds, feeds of others, receipts and runs that do not belong.

use super::{
    model::{NOW, Node, connect, weather},
    order::{hand, hello, peer_heads, session},
};
use crate::{
    codec::CodecError,
    cose::SignatureBytes,
    error::PeerFault,
    feed::{
        Cursor, FeedKey, Receipt, Run,
        testing::{Sender, feed_key, key, org},
    },
    id::{AgreementId, FeedDigest},
    limits,
    session::{AgreementLine, Event, Heads, Hello, Lane, Message, ReceivedHead, SendError, SentHead, pair::Side},
    time::UnixMillis,
};

#[test]
fn a_greeting_must_fit_the_connection_the_clock_and_the_version() {
    let refuse = |change: fn(&mut Hello), expected: PeerFault| {
        let mut changed = hello();
        change(&mut changed);
        assert_eq!(hand(&mut session(0), &Message::Hello(changed)), Err(expected));
    };
    refuse(|h| h.org = org(3), PeerFault::Identity);
    refuse(|h| h.org = org(1), PeerFault::Identity);
    refuse(|h| h.versions = vec![2, 3], PeerFault::Version);
    refuse(|h| h.versions = vec![], PeerFault::Version);
    refuse(|h| h.versions = vec![1, 1], PeerFault::Message(CodecError::Shape));
    refuse(|h| h.versions = (1..10).collect(), PeerFault::TooMany { what: "versions", max: 8 });
    let skew = limits::CLOCK_SKEW_MS_MAX;
    refuse(|h| h.time = NOW.plus(limits::CLOCK_SKEW_MS_MAX + 1), PeerFault::ClockSkew { by_ms: skew + 1 });
    refuse(|h| h.time = NOW.minus(limits::CLOCK_SKEW_MS_MAX + 1), PeerFault::ClockSkew { by_ms: skew + 1 });
    let edge = Hello { time: NOW.plus(skew), versions: vec![1, 7], ..hello() };
    assert_eq!(hand(&mut session(0), &Message::Hello(edge)), Ok(()));
}

#[test]
fn lists_and_messages_are_bounded() {
    let line = |n: u8, standings: usize| AgreementLine {
        id: AgreementId::from_bytes([n; 16]),
        standings: vec![SignatureBytes(vec![]); standings],
        ..Node::agreements()[0].clone()
    };
    let agreements = |lines: Vec<AgreementLine>| hand(&mut session(1), &Message::Agreements(lines));
    assert_eq!(agreements((0..64).map(|n| line(n, 16)).collect()), Ok(()));
    let many = agreements((0..65).map(|n| line(n, 0)).collect());
    assert_eq!(many, Err(PeerFault::TooMany { what: "agreements", max: 64 }));
    assert_eq!(agreements(vec![line(1, 17)]), Err(PeerFault::TooMany { what: "standings", max: 16 }));
    assert_eq!(agreements(vec![line(2, 0), line(1, 0)]), Err(PeerFault::Message(CodecError::Shape)));
    assert_eq!(agreements(vec![line(1, 0), line(1, 0)]), Err(PeerFault::Message(CodecError::Shape)));
    let mut heads = peer_heads();
    heads.received = vec![heads.received[0].clone(); 257];
    let many = hand(&mut session(2), &Message::Heads(heads));
    assert_eq!(many, Err(PeerFault::TooMany { what: "feeds", max: 256 }));
    let long = |message: Message| hand(&mut session(3), &message);
    assert!(long(Message::Proposal(vec![0; limits::AGREEMENT_BYTES_MAX])).is_ok());
    assert!(long(Message::Proposal(vec![0; limits::AGREEMENT_BYTES_MAX + 1])).is_err());
    assert!(long(Message::Card(vec![0; limits::CARD_BYTES_MAX + 1])).is_err());
    for lane in [Lane::Control, Lane::Records] {
        let max = lane.frame_bytes_max();
        let refused = session(3).handle_frame(lane, &vec![0; max + 1], NOW);
        assert_eq!(refused, Err(PeerFault::Message(CodecError::TooLong { len: max + 1, max })));
    }
}

#[test]
fn items_are_bounded_before_anything_is_built() {
    let array = |items: usize| {
        let count = u32::try_from(items - 1).unwrap().to_be_bytes();
        let head = if items <= 0x1_0000 { [&[0x99], &count[2..]].concat() } else { [&[0x9a], &count[..]].concat() };
        [head, vec![0; items - 1]].concat()
    };
    for (lane, max) in [(Lane::Control, limits::CONTROL_ITEMS_MAX), (Lane::Records, limits::RUN_ITEMS_MAX)] {
        let many = session(3).handle_frame(lane, &array(max + 1), NOW);
        assert_eq!(many, Err(PeerFault::Message(CodecError::TooManyItems { at: 0 })));
        assert_eq!(session(3).handle_frame(lane, &array(max), NOW), Err(PeerFault::Message(CodecError::Shape)));
    }
}

#[test]
fn the_longest_heads_fit_one_message() {
    let heads = peer_heads();
    let feed = |epoch: usize| FeedKey { epoch: u32::try_from(epoch).unwrap(), ..feed_key(2, 1, 9) };
    let receipt = Receipt::of(&Run::danger_unverified(heads.sent[0].run.as_ref().unwrap()).unwrap(), NOW).sign(&key(2));
    let shown = ReceivedHead { receipt: Some(receipt.unwrap()), ..heads.received[0].clone() };
    let all = 0..limits::FEEDS_PER_PARTNER_MAX;
    let longest = Heads {
        sent: all.clone().map(|n| SentHead { feed: feed(n), ..heads.sent[0].clone() }).collect(),
        received: all.map(|n| ReceivedHead { feed: feed(n), ..shown.clone() }).collect(),
    };
    let bytes = Message::Heads(longest.clone()).to_bytes().unwrap();
    assert_eq!(Message::from_bytes(Lane::Control, &bytes), Ok(Message::Heads(longest)));
}

#[test]
fn malformed_and_unknown_messages_are_refused() {
    let shape = Err(PeerFault::Message(CodecError::Shape));
    let number = session(3).handle_frame(Lane::Control, &[0xa1, 0x00, 0x01], NOW);
    assert_eq!(number, Err(PeerFault::Message(CodecError::KeyType { at: 1 })));
    let cases: [(&str, &[u8]); 3] = [
        ("unknown name", &[0xa1, 0x65, b'h', b'o', b'l', b'l', b'a', 0x01]),
        ("two messages", &[0xa2, 0x64, b'c', b'a', b'r', b'd', 0x40, 0x65, b'c', b'l', b'o', b's', b'e', 0x00]),
        ("no map", &[0x65, b'c', b'l', b'o', b's', b'e']),
    ];
    for (name, bytes) in cases {
        assert_eq!(session(3).handle_frame(Lane::Control, bytes, NOW), shape, "{name}");
    }
    let bytes = Message::Hello(hello()).to_bytes().unwrap();
    for at in 0..bytes.len() {
        assert!(session(0).handle_frame(Lane::Control, &bytes[..at], NOW).is_err());
    }
}

#[test]
fn heads_name_feeds_between_the_two_under_agreements_that_were_named() {
    let refuse = |change: fn(&mut Heads)| {
        let mut heads = peer_heads();
        change(&mut heads);
        assert_eq!(hand(&mut session(2), &Message::Heads(heads)), Err(PeerFault::Feed));
    };
    let empty = |feed| ReceivedHead { feed, head: Cursor::start(feed.id()), receipt: None };
    assert_eq!(hand(&mut session(2), &Message::Heads(peer_heads())), Ok(()));
    refuse(|h| h.sent = Node::new(3, 1, 2).heads().sent);
    refuse(|h| h.sent = Node::new(1, 2, 2).heads().sent);
    refuse(|h| h.sent = Node::new(2, 3, 2).heads().sent);
    let received = [feed_key(2, 1, 9), feed_key(1, 3, 9), feed_key(1, 2, 8)];
    for feed in received {
        let heads = Heads { sent: vec![], received: vec![empty(feed)] };
        assert_eq!(hand(&mut session(2), &Message::Heads(heads)), Err(PeerFault::Feed));
    }
    // A head that shows no signature, or a signature over something else.
    refuse(|h| h.received[0].head.length = 1);
    refuse(|h| h.received[0].head.digest = FeedDigest::from_bytes([0; 32]));
    refuse(|h| h.sent[0].head.length += 1);
    refuse(|h| h.received[0].receipt = h.sent[0].run.clone());
    // Our own side does not say it either.
    let refused = session(2).offer_heads(peer_heads());
    assert_eq!(refused, Err(SendError::Message(PeerFault::Feed)));
}

#[test]
fn runs_of_another_agreement_direction_or_store_are_refused() {
    let other = |key| {
        let mut sender = Sender::new(key, 2);
        sender.release(0, &[8]);
        hand(&mut session(3), &Message::Run(Box::new(sender.run(0..1))))
    };
    assert_eq!(other(feed_key(2, 1, 9)), Ok(()));
    assert_eq!(other(feed_key(2, 1, 8)), Err(PeerFault::Feed));
    assert_eq!(other(feed_key(1, 2, 9)), Err(PeerFault::Feed), "our own feed sent back");
    assert_eq!(other(feed_key(2, 3, 9)), Err(PeerFault::Feed));
    assert_eq!(other(feed_key(3, 1, 9)), Err(PeerFault::Feed));
    let epoch = FeedKey { epoch: 1, ..feed_key(2, 1, 9) };
    assert_eq!(other(epoch), Err(PeerFault::Feed));
}

#[test]
fn more_runs_than_the_window_are_refused() {
    let mut peer = Node::new(2, 1, 12);
    let mut session = session(3);
    for run in peer.runs.drain(..4) {
        assert_eq!(hand(&mut session, &Message::Run(Box::new(run))), Ok(()));
    }
    // One receipt makes room for one run.
    let run = Run::danger_unverified(&Node::new(2, 1, 12).runs[0].run).unwrap();
    session.send_receipt(Receipt::of(&run, NOW).sign(&key(1)).unwrap()).unwrap();
    assert_eq!(hand(&mut session, &Message::Run(Box::new(peer.runs.remove(0)))), Ok(()));
    assert_eq!(hand(&mut session, &Message::Run(Box::new(peer.runs.remove(0)))), Err(PeerFault::Window));
}

#[test]
fn receipts_are_owed_once() {
    let run = Run::danger_unverified(&Node::new(2, 1, 2).runs[0].run).unwrap();
    let receipt = Receipt::of(&run, NOW).sign(&key(1)).unwrap();
    let mut session = session(3);
    assert_eq!(session.send_receipt(receipt.clone()), Err(SendError::NotOwed));
    hand(&mut session, &Message::Run(Box::new(Node::new(2, 1, 2).runs[0].clone()))).unwrap();
    assert_eq!(session.send_receipt(receipt.clone()), Ok(()));
    assert_eq!(session.send_receipt(receipt), Err(SendError::NotOwed));
}

#[test]
fn a_receipt_must_be_for_the_oldest_run_in_flight() {
    let node = Node::new(1, 2, 4);
    let runs: Vec<Run> = node.runs.iter().map(|m| Run::danger_unverified(&m.run).unwrap()).collect();
    let give_after = |frames: usize, receipt: Receipt| {
        let mut session = session(3);
        for run in &node.runs {
            session.send_run(run.clone()).unwrap();
        }
        std::iter::repeat_with(|| session.poll_lane(Lane::Control)).find(Option::is_none);
        (0..frames.min(node.runs.len())).for_each(|_| drop(session.poll_lane(Lane::Records)));
        let result = hand(&mut session, &Message::Receipt(receipt.sign(&key(2)).unwrap()));
        let events: Vec<Event> = std::iter::from_fn(|| session.poll_event()).collect();
        (result, events, session.window(node.feed()))
    };
    let give = |receipt| give_after(usize::MAX, receipt);
    let good = Receipt::of(&runs[0], UnixMillis(9));
    let (taken, events, window) = give(good);
    assert_eq!((taken, window), (Ok(()), 3));
    assert!(matches!(events[..], [Event::Receipt { .. }]));
    assert_eq!(give(Receipt::of(&runs[1], NOW)).0, Err(PeerFault::Receipt));
    assert_eq!(give(Receipt { root: runs[1].root, ..good }).0, Err(PeerFault::Receipt));
    assert_eq!(give(Receipt { feed: feed_key(2, 1, 9).id(), ..good }).0, Err(PeerFault::Feed));
    // Nor for one that still waits here: a receipt of an earlier session says nothing of this one.
    assert_eq!((give_after(0, good).0, give_after(1, good).0), (Err(PeerFault::Receipt), Ok(())));
    // The same length with another digest is a fork, not a slip: the feed stops and the receipt is kept.
    let held = Cursor { digest: FeedDigest::from_bytes([0; 32]), ..good.held };
    let (forked, events, window) = give(Receipt { held, ..good });
    assert_eq!((forked, window), (Ok(()), 0));
    assert!(matches!(&events[..], [Event::Fork { theirs, signed: Some(_), .. }] if *theirs == held));
}

#[test]
fn what_waits_is_bounded() {
    let (mut left, mut right) = (Node::new(1, 2, 0), Node::new(2, 1, 0));
    let (mut pair, _) = connect(&mut left, &mut right, weather(1));
    let session = pair.session(Side::Left);
    let full = std::iter::repeat_with(|| session.send_proposal(vec![0; limits::AGREEMENT_BYTES_MAX]))
        .take(1 + limits::CONTROL_QUEUE_BYTES_MAX / limits::AGREEMENT_BYTES_MAX)
        .find(Result::is_err);
    assert_eq!(full, Some(Err(SendError::QueueFull)));
    session.poll_frame().unwrap();
    session.poll_frame().unwrap();
    assert_eq!(session.send_proposal(vec![0; limits::AGREEMENT_BYTES_MAX]), Ok(()));
}

#[test]
fn feeds_are_bounded_over_all_lists_of_heads() {
    let mut session = session(3);
    let named = |from: u32, count: u32| {
        let feeds = (from..from + count).map(|epoch| FeedKey { epoch, ..feed_key(1, 2, 9) });
        let line = |feed: FeedKey| ReceivedHead { feed, head: Cursor::start(feed.id()), receipt: None };
        Message::Heads(Heads { sent: vec![], received: feeds.map(line).collect() })
    };
    // The opening named two.
    assert_eq!(hand(&mut session, &named(1, 255)), Ok(()));
    assert_eq!(hand(&mut session, &named(256, 255)), Ok(()));
    assert_eq!(hand(&mut session, &named(1, 255)), Ok(()));
    assert_eq!(hand(&mut session, &named(511, 1)), Err(PeerFault::TooMany { what: "feeds", max: 512 }));
}
