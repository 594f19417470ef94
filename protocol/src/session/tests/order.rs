//! Messages out of order: for each state, what is taken and what is refused.

use super::model::{Held, NOW, Node};
use crate::{
    cose::SignatureBytes,
    error::PeerFault,
    feed::{
        Receipt, Run,
        testing::{feed_key, key, org},
    },
    id::{Nonce, StoreId},
    session::{
        CloseCode, Event, Heads, Hello, Lane, Message, Notice, ReceivedHead, Role, SendError, SentHead, Session,
    },
    time::UnixMillis,
};

pub fn hello() -> Hello {
    let (store, nonce) = (StoreId::from_bytes([2; 16]), Nonce::from_bytes([3; 16]));
    Hello { org: org(2), time: NOW, nonce, store, versions: vec![1] }
}

pub fn hand(session: &mut Session, message: &Message) -> Result<(), PeerFault> {
    session.handle_frame(message.lane(), &message.to_bytes().unwrap(), NOW)
}

fn drain(session: &mut Session) -> Vec<Event> {
    std::iter::from_fn(|| session.poll_event()).collect()
}

/// What organisation 2 says to organisation 1: both have a feed of two entries, of which nothing was sent.
pub fn peer_heads() -> Heads {
    let peer = Node::new(2, 1, 2);
    let mut heads = peer.heads();
    let feed = feed_key(1, 2, 9);
    heads.received = vec![ReceivedHead { feed, head: Held::none(feed).cursor, receipt: None }];
    heads
}

/// A session of organisation 1 with organisation 2 that has taken so many messages of the opening,
/// and said what it could.
pub fn session(taken: usize) -> Session {
    let node = Node::new(1, 2, 2);
    let mut session = node.session(Role::Acceptor);
    session.offer_agreements(Node::agreements()).unwrap();
    let opening = [Message::Hello(hello()), Message::Agreements(Node::agreements()), Message::Heads(peer_heads())];
    for (at, message) in opening.iter().enumerate().take(taken) {
        hand(&mut session, message).unwrap();
        if at == 1 {
            let feed = feed_key(2, 1, 9);
            let mut heads = node.heads();
            heads.received = vec![ReceivedHead { feed, head: Held::none(feed).cursor, receipt: None }];
            session.offer_heads(heads).unwrap();
        }
    }
    drain(&mut session);
    session
}

fn all() -> Vec<Message> {
    let peer = Node::new(2, 1, 2);
    let own = Run::danger_unverified(&Node::new(1, 2, 2).runs[0].run).unwrap();
    vec![
        Message::Hello(hello()),
        Message::Agreements(Node::agreements()),
        Message::Heads(peer_heads()),
        Message::Run(Box::new(peer.runs[0].clone())),
        Message::Receipt(Receipt::of(&own, NOW).sign(&key(2)).unwrap()),
        Message::Proposal(vec![1]),
        Message::Standing(SignatureBytes(vec![1])),
        Message::Card(vec![1]),
        Message::Notice(Notice { kind: 1, content: vec![] }),
        Message::Close(CloseCode::DONE),
    ]
}

#[test]
fn each_state_takes_its_messages_and_no_others() {
    // y: taken; n: out of order; f: names a feed that was not shown; r: a receipt for nothing sent.
    // In the order of `all`. A run may overtake the partner's heads (other lane), never ours.
    let table = [(0, "ynnfnnnnny"), (1, "nynfnnnnny"), (2, "nnyynnnnny"), (3, "nyyyryyyyy")];
    for (taken, row) in table {
        for (message, expected) in all().iter().zip(row.chars()) {
            let mut session = session(taken);
            let given = match hand(&mut session, message) {
                Ok(()) => 'y',
                Err(PeerFault::Unexpected { .. }) => 'n',
                Err(PeerFault::Feed) => 'f',
                Err(PeerFault::Receipt) => 'r',
                Err(other) => panic!("{other}"),
            };
            assert_eq!(given, expected, "`{}` after {taken} messages", message.name());
            let closed = drain(&mut session).iter().any(|e| matches!(e, Event::Closed { .. }));
            let over = given != 'y' || message.name() == "close";
            assert_eq!((closed, session.is_closed()), (over, over));
        }
    }
}

/// Story: a sequence of operations offered the agreements twice before the heads, and the session took both. The partner
/// expects heads after agreements, and would have closed the session for it.
#[test]
fn agreements_are_named_again_only_after_our_heads() {
    let again = |taken| session(taken).offer_agreements(Node::agreements());
    assert_eq!((again(0), again(1), again(2)), (Err(SendError::NotReady), Err(SendError::NotReady), Ok(())));
}

/// Half a round trip is not spent on waiting for a hello: the connection has proved who is there.
#[test]
fn agreements_follow_the_hello_at_once() {
    let mut session = Node::new(1, 2, 2).session(Role::Dialer);
    session.offer_agreements(Node::agreements()).unwrap();
    let said: Vec<_> = std::iter::from_fn(|| session.poll_frame())
        .map(|(lane, bytes)| Message::from_bytes(lane, &bytes).unwrap().name())
        .collect();
    assert_eq!(said, ["hello", "agreements"]);
    assert_eq!(session.offer_heads(Node::new(1, 2, 2).heads()), Err(SendError::NotReady));
}

#[test]
fn a_message_on_the_wrong_lane_is_refused() {
    for message in all() {
        let other = if message.lane() == Lane::Control { Lane::Records } else { Lane::Control };
        let refused = session(3).handle_frame(other, &message.to_bytes().unwrap(), NOW);
        assert!(matches!(refused, Err(PeerFault::Unexpected { .. })), "{}", message.name());
    }
}

#[test]
fn after_a_fault_the_code_is_all_that_is_left_to_say() {
    let mut session = session(0);
    let fault = hand(&mut session, &Message::Card(vec![])).unwrap_err();
    let (lane, bytes) = session.poll_frame().unwrap();
    assert_eq!(Message::from_bytes(lane, &bytes), Ok(Message::Close(fault.code())));
    assert_eq!(session.poll_frame(), None);
    assert_eq!(session.poll_timeout(), None);
    // What still arrives is not read; a second fault is not told.
    assert_eq!(hand(&mut session, &Message::Hello(hello())), Ok(()));
    session.fail(&PeerFault::Window);
    assert_eq!(drain(&mut session), [Event::Closed { code: CloseCode::UNEXPECTED, by_peer: false }]);
}

#[test]
fn what_is_due_and_does_not_come_closes_the_session() {
    for (taken, state) in [(0, "hello"), (1, "agreements"), (2, "heads")] {
        let mut session = session(taken);
        let due = session.poll_timeout().unwrap();
        assert_eq!(due, NOW.plus(10_000));
        assert_eq!(session.handle_timeout(UnixMillis(due.0 - 1)), Ok(()));
        assert_eq!(session.handle_timeout(due), Err(PeerFault::Timeout { state }));
        assert!(session.is_closed());
    }
    assert_eq!(session(3).poll_timeout(), None);
}

#[test]
fn a_sent_head_without_its_signature_is_refused() {
    let mut heads = peer_heads();
    heads.sent = vec![SentHead { run: None, ..heads.sent[0].clone() }];
    assert_eq!(hand(&mut session(2), &Message::Heads(heads)), Err(PeerFault::Feed));
}
