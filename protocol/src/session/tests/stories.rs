//! What two nodes go through together: sharing, cuts, older stores, forks, suspensions.

use super::model::{NOW, Node, connect, converged, weather};
use crate::{
    agreement::{Standing, StandingNotice},
    feed::{
        Run,
        testing::{Sender, feed_key, key, org},
    },
    id::AgreementId,
    session::{
        CloseCode, Event, Lane, Message, Notice, Role, SendError,
        pair::{Outcome, Pair, Shell, Side, Weather},
    },
    time::UnixMillis,
};
use std::collections::BTreeSet;

fn names(pair: &Pair) -> Vec<&'static str> {
    pair.log().iter().map(|s| Message::from_bytes(s.lane, &s.content).unwrap().name()).collect()
}

#[test]
fn both_directions_arrive_whatever_overtakes_what() {
    for seed in 1..40 {
        let (mut left, mut right) = (Node::new(1, 2, 11), Node::new(2, 1, 3));
        let (_, outcome) = connect(&mut left, &mut right, weather(seed));
        assert_eq!(outcome, Outcome::Quiet, "seed {seed}");
        assert!(converged(&left, &right) && converged(&right, &left), "seed {seed}");
    }
}

#[test]
fn equal_feeds_cost_one_round_trip() {
    let (mut left, mut right) = (Node::new(1, 2, 4), Node::new(2, 1, 2));
    connect(&mut left, &mut right, weather(1));
    assert!(converged(&left, &right) && converged(&right, &left));
    let (pair, outcome) = connect(&mut left, &mut right, weather(2));
    assert_eq!(outcome, Outcome::Quiet);
    let mut said = names(&pair);
    said.sort_unstable();
    assert_eq!(said, ["agreements", "agreements", "heads", "heads", "hello", "hello"]);
}

#[test]
fn cut_after_every_frame_loses_nothing_and_applies_nothing_twice() {
    let frames = {
        let (mut left, mut right) = (Node::new(1, 2, 5), Node::new(2, 1, 3));
        connect(&mut left, &mut right, weather(1)).0.delivered()
    };
    for seed in 1..6 {
        for first in 0..=frames {
            let (mut left, mut right) = (Node::new(1, 2, 5), Node::new(2, 1, 3));
            // Cut twice, at different places, then leave it alone.
            for cut in [first, frames - first] {
                let cut = Weather { cut_after: Some(cut), ..weather(seed) };
                let (_, outcome) = connect(&mut left, &mut right, cut);
                assert!(matches!(outcome, Outcome::Cut | Outcome::Quiet));
                for (from, to) in [(&left, &right), (&right, &left)] {
                    let held = to.held.get(&from.feed()).map_or(0, |h| h.cursor.length);
                    assert!(from.acknowledged <= held, "acknowledged and not held: seed {seed}, cut {first}");
                }
            }
            let (_, outcome) = connect(&mut left, &mut right, weather(seed));
            assert_eq!(outcome, Outcome::Quiet);
            assert!(converged(&left, &right) && converged(&right, &left), "seed {seed}, cut {first}");
        }
    }
}

#[test]
fn a_frame_that_comes_twice_is_never_applied_twice() {
    let (mut left, mut right) = (Node::new(1, 2, 5), Node::new(2, 1, 3));
    let frames = connect(&mut left, &mut right, weather(1)).0.delivered();
    for repeat in 0..frames {
        let (mut left, mut right) = (Node::new(1, 2, 5), Node::new(2, 1, 3));
        let twice = Weather { repeat: Some(repeat), ..weather(1) };
        // Either harmless or a fault; what is held is a prefix in any case.
        connect(&mut left, &mut right, twice);
        for (from, to) in [(&left, &right), (&right, &left)] {
            let applied = to.held.get(&from.feed()).map_or(&[][..], |h| &h.applied);
            assert!(from.sender.hashes(0..from.sender.entries.len()).starts_with(applied), "repeat {repeat}");
        }
        let (_, outcome) = connect(&mut left, &mut right, weather(1));
        assert_eq!(outcome, Outcome::Quiet);
        assert!(converged(&left, &right) && converged(&right, &left), "repeat {repeat}");
    }
}

/// With which code a connection ends that lost one frame (`None` if it stays open), and what that was.
fn lose(left: &mut Node, right: &mut Node, weather: Weather) -> Option<(String, Option<CloseCode>)> {
    let mut pair = Pair::new(left.opening(Role::Dialer), right.opening(Role::Acceptor), NOW, weather);
    let mut more = true;
    loop {
        let outcome = pair.run(left, right);
        let lost = pair.lost()?.clone();
        let name = Message::from_bytes(lost.lane, &lost.content).unwrap().name().to_owned();
        let found = match outcome {
            Outcome::Fault(_, fault) => Some(fault.code()),
            _ => [&*left, &*right].into_iter().find_map(|node| match node.closed {
                Some(Event::Closed { code, .. }) => Some(code),
                _ => None,
            }),
        };
        let found = found.or_else(|| pair.wait().map(|(_, fault)| fault.code()));
        if found.is_some() || !more {
            return Some((name, found));
        }
        // Nothing came after it that could have shown the hole: so something comes now, in both feeds.
        more = false;
        left.release_more();
        right.release_more();
    }
}

/// Two nodes that meet for the first time, or again with more to say.
fn nodes(again: bool) -> (Node, Node) {
    let (mut left, mut right) = (Node::new(1, 2, 7), Node::new(2, 1, 5));
    if again {
        connect(&mut left, &mut right, weather(1));
        for node in [&mut left, &mut right] {
            (0..3).for_each(|_| node.release_more());
        }
    }
    (left, right)
}

/// QUIC's streams lose no single frame, so one that is missing is the other side's doing. Whatever it was, no feed goes
/// on with a hole: the first thing that no longer fits, or that is due and does not come, ends the session with its code,
/// and the next connection brings all. A list of heads may be followed by another, so what only the lost one named stands
/// still until then.
#[test]
fn a_frame_that_is_lost_leaves_no_hole_and_comes_with_the_next_connection() {
    let mut endings = BTreeSet::new();
    for (again, seed) in [false, true].into_iter().flat_map(|again| (1..10).map(move |seed| (again, seed))) {
        for lost in 0.. {
            let (mut left, mut right) = nodes(again);
            let Some(ending) = lose(&mut left, &mut right, Weather { lose: Some(lost), ..weather(seed) }) else {
                break;
            };
            let (name, code) = &ending;
            let which = format!("{name}, again {again}, seed {seed}, frame {lost}: {code:?}");
            let expected: &[Option<CloseCode>] = match name.as_str() {
                "hello" | "agreements" => &[Some(CloseCode::UNEXPECTED), Some(CloseCode::TIMEOUT)],
                "heads" => &[Some(CloseCode::TIMEOUT), None],
                "run" => &[Some(CloseCode::RUN), Some(CloseCode::RECEIPT)],
                "receipt" => &[Some(CloseCode::RECEIPT)],
                _ => &[],
            };
            assert!(expected.contains(code), "{which}");
            let applied = |from: &Node, to: &Node| to.held.get(&from.feed()).map_or(vec![], |h| h.applied.clone());
            for (from, to) in [(&left, &right), (&right, &left)] {
                let (sent, applied) = (from.sender.hashes(0..from.sender.entries.len()), applied(from, to));
                assert!(sent.starts_with(&applied), "a hole: {which}");
                assert!(from.acknowledged <= applied.len() as u64, "acknowledged and not held: {which}");
            }
            if code.is_none() {
                assert!(applied(&left, &right).is_empty() || applied(&right, &left).is_empty(), "{which}");
            }
            endings.insert(ending);
            (left.closed, right.closed) = (None, None);
            let (_, outcome) = connect(&mut left, &mut right, weather(seed));
            assert_eq!(outcome, Outcome::Quiet, "{lost}");
            assert!(converged(&left, &right) && converged(&right, &left), "again {again}, seed {seed}, frame {lost}");
        }
    }
    // Each kind of frame was lost, and each ending seen.
    let seen: BTreeSet<&str> = endings.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(seen, BTreeSet::from(["agreements", "heads", "hello", "receipt", "run"]), "{endings:?}");
    let codes: BTreeSet<CloseCode> = endings.iter().filter_map(|(_, code)| *code).collect();
    let all = [CloseCode::UNEXPECTED, CloseCode::TIMEOUT, CloseCode::RECEIPT, CloseCode::RUN];
    assert_eq!(codes, BTreeSet::from(all), "{endings:?}");
}

#[test]
fn a_lower_cursor_is_served_again_and_un_acknowledges_nothing() {
    let (mut left, mut right) = (Node::new(1, 2, 6), Node::new(2, 1, 0));
    connect(&mut left, &mut right, weather(1));
    assert!(converged(&left, &right));
    // The receiver comes back from a backup that holds one run.
    let held = right.held.get_mut(&left.feed()).unwrap();
    (held.cursor, held.applied) = (left.sender.cursor(2), left.sender.hashes(0..2));
    held.receipts.truncate(1);
    let mut acknowledged = vec![];
    let mut pair = Pair::new(left.opening(Role::Dialer), right.opening(Role::Acceptor), NOW, weather(3));
    struct Watch<'a>(&'a mut Node, &'a mut Vec<u64>);
    impl Shell for Watch<'_> {
        fn event(&mut self, session: &mut crate::session::Session, event: Event, now: UnixMillis) {
            self.0.event(session, event, now);
            self.1.push(self.0.acknowledged);
        }
        fn pump(&mut self, session: &mut crate::session::Session, now: UnixMillis) {
            self.0.pump(session, now);
        }
    }
    let outcome = pair.run(&mut Watch(&mut left, &mut acknowledged), &mut right);
    assert_eq!(outcome, Outcome::Quiet);
    assert!(acknowledged.iter().all(|length| *length == 6), "{acknowledged:?}");
    assert!(converged(&left, &right));
    assert_eq!(names(&pair).iter().filter(|n| **n == "run").count(), 2);
}

#[test]
fn a_sender_whose_store_is_older_sends_nothing() {
    let (mut left, mut right) = (Node::new(1, 2, 6), Node::new(2, 1, 0));
    connect(&mut left, &mut right, weather(1));
    left.runs.truncate(1);
    let (pair, outcome) = connect(&mut left, &mut right, weather(1));
    assert_eq!(outcome, Outcome::Quiet);
    assert!(!names(&pair).contains(&"run"));
    assert_eq!(right.held[&left.feed()].cursor.length, 6);
}

/// Two nodes whose feed from left to right has two histories after the first run.
fn forked() -> (Node, Node) {
    let (mut left, mut right) = (Node::new(1, 2, 4), Node::new(2, 1, 0));
    connect(&mut left, &mut right, weather(1));
    let mut other = Sender::new(feed_key(1, 2, 9), 4);
    [0, 1, 3, 2].into_iter().for_each(|at| other.release(at, &[8]));
    left.runs = vec![other.run(0..2), other.run(2..4)];
    left.sender = other;
    (left, right)
}

#[test]
fn two_digests_at_one_length_stop_the_feed_on_both_sides() {
    let (mut left, mut right) = forked();
    let held = right.held[&left.feed()].cursor;
    let mut pair = Pair::new(left.opening(Role::Dialer), right.opening(Role::Acceptor), NOW, weather(1));
    assert_eq!(pair.run(&mut left, &mut right), Outcome::Quiet);
    assert_eq!((left.forks, right.forks), (1, 1));
    assert_eq!(right.held[&left.feed()].cursor, held);
    assert!(!names(&pair).contains(&"run"));
    let refused = pair.session(Side::Left).send_run(left.runs[1].clone());
    assert_eq!(refused, Err(SendError::Stopped));
}

#[test]
fn a_fork_below_the_head_is_found_by_comparing() {
    let (mut left, mut right) = forked();
    let mut longer = Sender::new(feed_key(1, 2, 9), 6);
    [0, 1, 3, 2, 4, 5].into_iter().for_each(|at| longer.release(at, &[8]));
    left.runs = vec![longer.run(0..2), longer.run(2..4), longer.run(4..6)];
    left.sender = longer;
    let (pair, outcome) = connect(&mut left, &mut right, weather(1));
    assert_eq!(outcome, Outcome::Quiet);
    assert!(!names(&pair).contains(&"run"));
}

#[test]
fn a_suspension_overtakes_everything_queued() {
    let (mut left, mut right) = (Node::new(1, 2, 6), Node::new(2, 1, 0));
    let mut pair = Pair::new(left.opening(Role::Dialer), right.opening(Role::Acceptor), NOW, weather(1));
    left.runs.clear();
    assert_eq!(pair.run(&mut left, &mut right), Outcome::Quiet);
    let left_full = Node::new(1, 2, 6);
    let session = pair.session(Side::Left);
    for run in &left_full.runs {
        session.send_run(run.clone()).unwrap();
    }
    session.send_card(vec![1]).unwrap();
    let (lane, first) = session.poll_frame().unwrap();
    assert_eq!((lane, Message::from_bytes(lane, &first).unwrap().name()), (Lane::Control, "card"));
    assert_eq!(session.poll_frame().unwrap().0, Lane::Records);
    session.send_proposal(vec![2]).unwrap();
    let notice = StandingNotice {
        time: NOW,
        party: org(1),
        counter: 1,
        standing: Standing::Suspended,
        agreement: AgreementId::from_bytes([9; 16]),
    };
    assert_eq!(session.send_standing(notice.sign(&key(1)).unwrap()), Ok(2));
    let rest: Vec<&str> = std::iter::from_fn(|| session.poll_frame())
        .map(|(lane, bytes)| Message::from_bytes(lane, &bytes).unwrap().name())
        .collect();
    assert_eq!(rest, ["standing", "proposal"]);
    // The feed goes on where the last run that was sent ended.
    assert_eq!(session.next(left_full.feed()), Some(left_full.sender.cursor(2)));
    assert_eq!(session.window(left_full.feed()), 3);
    // Another agreement's runs, and an active standing, leave the queue alone.
    session.send_run(left_full.runs[1].clone()).unwrap();
    assert_eq!(session.withdraw_queued(AgreementId::from_bytes([8; 16])), 0);
    let active = StandingNotice { standing: Standing::Active, counter: 2, ..notice };
    assert_eq!(session.send_standing(active.sign(&key(1)).unwrap()), Ok(0));
}

/// A run waits in the transport when its agreement is suspended: the driver is told, once, to throw it away.
#[test]
fn what_was_handed_on_is_recalled() {
    let (mut left, mut right) = (Node::new(1, 2, 6), Node::new(2, 1, 0));
    let mut pair = Pair::new(left.opening(Role::Dialer), right.opening(Role::Acceptor), NOW, weather(1));
    left.runs.clear();
    assert_eq!(pair.run(&mut left, &mut right), Outcome::Quiet);
    let runs = Node::new(1, 2, 6).runs;
    let session = pair.session(Side::Left);
    let (agreement, other) = (AgreementId::from_bytes([9; 16]), AgreementId::from_bytes([8; 16]));
    session.send_run(runs[0].clone()).unwrap();
    assert_eq!((session.recall(agreement), session.poll_recall()), (1, Some(false)), "nothing had left");
    session.send_run(runs[0].clone()).unwrap();
    assert_eq!(session.poll_frame().unwrap().0, Lane::Records);
    assert_eq!((session.recall(other), session.poll_recall()), (0, Some(false)), "of another agreement");
    assert_eq!((session.recall(agreement), session.poll_recall()), (0, Some(true)));
    assert_eq!(session.poll_recall(), None);
}

#[test]
fn the_window_bounds_what_is_in_flight() {
    let (mut left, mut right) = (Node::new(1, 2, 12), Node::new(2, 1, 0));
    let runs = std::mem::take(&mut left.runs);
    let mut pair = Pair::new(left.opening(Role::Dialer), right.opening(Role::Acceptor), NOW, weather(1));
    pair.run(&mut left, &mut right);
    let session = pair.session(Side::Left);
    assert_eq!(session.send_run(runs[1].clone()), Err(SendError::OutOfPlace { next: 0 }));
    for run in runs.iter().take(4) {
        session.send_run(run.clone()).unwrap();
    }
    assert_eq!(session.window(left.feed()), 0);
    assert_eq!(session.send_run(runs[4].clone()), Err(SendError::WindowFull));
    left.runs = runs;
    assert_eq!(pair.run(&mut left, &mut right), Outcome::Quiet);
    assert!(converged(&left, &right));
}

#[test]
fn no_run_before_the_partner_has_shown_its_head() {
    let left = Node::new(1, 2, 2);
    let mut session = left.session(Role::Dialer);
    assert_eq!(session.send_run(left.runs[0].clone()), Err(SendError::NotReady));
    // A partner that does not accept the feed never shows a head of it.
    let (mut left, mut right) = (Node::new(1, 2, 2), Node::new(2, 1, 0));
    right.accepts.clear();
    let mut pair = Pair::new(left.opening(Role::Dialer), right.opening(Role::Acceptor), NOW, weather(1));
    assert_eq!(pair.run(&mut left, &mut right), Outcome::Quiet);
    assert_eq!(pair.session(Side::Left).send_run(left.runs[0].clone()), Err(SendError::NotShown));
    assert!(!names(&pair).contains(&"run"));
}

#[test]
fn the_other_messages_arrive_and_closing_is_told() {
    let (mut left, mut right) = (Node::new(1, 2, 0), Node::new(2, 1, 0));
    let mut pair = Pair::new(left.opening(Role::Dialer), right.opening(Role::Acceptor), NOW, weather(1));
    pair.run(&mut left, &mut right);
    let session = pair.session(Side::Left);
    session.send_notice(Notice { kind: 3, content: vec![4] }).unwrap();
    session.send_card(vec![1]).unwrap();
    session.send_proposal(vec![2]).unwrap();
    assert_eq!(pair.run(&mut left, &mut right), Outcome::Quiet);
    assert_eq!(right.seen, ["notice", "card", "proposal"]);
    pair.session(Side::Left).close(CloseCode::SHUTDOWN);
    assert_eq!(pair.run(&mut left, &mut right), Outcome::Quiet);
    assert_eq!(left.closed, Some(Event::Closed { code: CloseCode::SHUTDOWN, by_peer: false }));
    assert_eq!(right.closed, Some(Event::Closed { code: CloseCode::SHUTDOWN, by_peer: true }));
    assert!(pair.session(Side::Right).is_closed());
    assert_eq!(pair.session(Side::Right).send_card(vec![]), Err(SendError::NotReady));
}

#[test]
fn a_run_from_an_earlier_session_is_known_and_not_applied() {
    let (mut left, mut right) = (Node::new(1, 2, 2), Node::new(2, 1, 0));
    let (first, _) = connect(&mut left, &mut right, weather(1));
    let replayed = first.log().iter().find(|s| s.lane == Lane::Records).unwrap().clone();
    let (mut second, _) = connect(&mut left, &mut right, weather(1));
    second.session(Side::Right).handle_frame(Lane::Records, &replayed.content, NOW).unwrap();
    assert_eq!(second.run(&mut left, &mut right), Outcome::Quiet);
    assert_eq!(right.seen, ["held"]);
    assert_eq!(right.held[&left.feed()].applied.len(), 2);
}

#[test]
fn a_forged_run_closes_with_its_code_and_nothing_is_kept() {
    let (mut left, mut right) = (Node::new(1, 2, 2), Node::new(2, 1, 0));
    let run = Run::danger_unverified(&left.runs[0].run).unwrap();
    left.runs[0].run = run.sign(&key(3)).unwrap();
    let (_, outcome) = connect(&mut left, &mut right, weather(1));
    assert_eq!(outcome, Outcome::Quiet);
    assert_eq!(right.held[&left.feed()].applied.len(), 0);
    assert_eq!(right.closed, Some(Event::Closed { code: CloseCode::RUN, by_peer: false }));
    assert_eq!(left.closed, Some(Event::Closed { code: CloseCode::RUN, by_peer: true }));
    assert_eq!(left.acknowledged, 0);
}
