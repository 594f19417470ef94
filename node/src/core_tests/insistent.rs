//! A partner that says something again and again, or says it for others: what that must not bring about.

use super::{
    onward::{Any, Three, further},
    *,
};
use crate::{
    bundle::ExportOptions,
    onward::{
        ASKED, GOT,
        answering::{self, Narrowed},
        asking::{self, AskedRow, Wish},
        passed,
    },
    recall::{self, asked, asking as recalls, holders, relay},
    records::{show, stored::decode},
    testkit::Meeting,
};
use entente_protocol::{
    grant::{Grant, NOTICE_GRANT, NOTICE_REQUEST, Passed, PassedOn, Request, Scope, Told},
    id::GrantId,
    recall::{Act, Answer, AnswerState, Answers, Recall, Recalls},
    record::SlotSet,
};
use serde_bytes::ByteBuf;

impl Three {
    /// An agreement of all three that names `c` as the one to whom records go on, for so many purposes.
    fn named(purposes: usize) -> Any<Self> {
        let world = Self::paired()?;
        testkit::pair(&world.a, &world.c)?;
        let folder = world.folder.path();
        testkit::agree(folder, &world.b, &world.c, &further(&testkit::agreement("2036-12-31")))?;
        let all: Vec<String> = (1..purposes).map(|n| format!(", \"purpose {n}\"")).collect();
        let text = testkit::agreement("2027-03-01")
            .replacen("[[clause]]", "[[party]]\nhandle = \"c\"\nname = \"C\"\n[[clause]]", 1)
            .replace("onward = \"never\"", "onward = [\"c\"]")
            .replace("[\"tracing\"]", &format!("[\"tracing\"{}]", all.concat()));
        let at = |name: &str| folder.join(name);
        fs::write(at("text"), text)?;
        for (node, from, to) in [(&world.a, "text", "1"), (&world.b, "1", "2"), (&world.c, "2", "3")] {
            ask(node, &Call::AgreementSign { path: at(from), output: at(to) })?;
        }
        ask(&world.a, &Call::AgreementAdd(at("3")))?;
        world.meet()?;
        Ok(world)
    }
    fn at_c_values(&self, record: RecordId) -> Any<usize> {
        let mut values = 0;
        for agreement in self.c.partitions() {
            values += crate::records::view::received(&self.c, agreement, record)?.map_or(0, |row| row.openings.len());
        }
        Ok(values)
    }
}

/// Story: a holder asks under an agreement that names the receiver, and that has more purposes than a grant can say. No grant
/// is made by itself; the session goes on, and people find the request.
#[test]
fn what_no_grant_can_say_is_left_to_people() -> Outcome {
    let world = Three::named(20)?;
    let record = world.release("A-1")?;
    world.meet()?;
    let line = keep::own(&world.a, record)?.header()?.header().line;
    let until = UnixMillis(NOW.0 + 30 * DAY);
    let slots = SlotSet::EMPTY.with(0);
    let scope = Scope { kind: Kind::Item, lines: vec![line], slots, purposes: vec![], retention_days: 30, until };
    let (to, holder) = (world.c.keys.org, world.b.keys.org);
    let request = Request { scope, to, time: NOW, reason: "x".to_owned(), holder };
    let mut meeting = Meeting::of(&world.b, &world.a)?;
    meeting.settle()?;
    let content = request.sign(&world.b.keys.runs)?.to_bytes()?;
    let (_, _, session) = meeting.sides.first_mut().ok_or("a side")?;
    session.send_notice(Notice { kind: NOTICE_REQUEST, content })?;
    meeting.settle()?;
    assert_eq!(asking::list(&world.a)?[0]["state"], "asked");
    Ok(())
}

/// Story: a holder has decided to pass a record on, and the run waits for its receiver, when the originator asks the record
/// back. What was recalled does not leave any more.
#[test]
fn a_recall_overtakes_what_waits_to_go_on() -> Outcome {
    let world = Three::plain("\"with-grant\"")?;
    let record = world.release("A-1")?;
    world.meet()?;
    world.ask(&[record])?;
    testkit::exchange(&world.a, &world.b)?;
    let mut meeting = Meeting::of(&world.b, &world.c)?;
    meeting.settle()?;
    world.grant(0, Narrowed::default())?;
    testkit::exchange(&world.a, &world.b)?;
    let (node, talk, session) = meeting.sides.first_mut().ok_or("a side")?;
    talk.pump(node, session)?;
    recalls::propose(&world.a, &[record], Act::Erase, ("in danger", "A. Diallo"), &mut |_| {})?;
    recalls::confirm(&world.a, 1, "M. Osei", &mut |_| {})?;
    testkit::exchange(&world.a, &world.b)?;
    meeting.settle()?;
    drop(meeting);
    assert_eq!(world.at_c_values(record)?, 0);
    world.meet()?;
    assert_eq!(world.at_c_values(record)?, 0);
    Ok(())
}

/// Story: under an agreement that names the receiver people gave less than was asked, or said no to the whole kind. Who asks
/// again is not given by itself what people kept back.
#[test]
fn what_people_answered_is_not_widened_by_asking_again() -> Outcome {
    let world = Three::named(1)?;
    let record = world.release("A-1")?;
    world.meet()?;
    world.ask(&[record])?;
    world.meet()?;
    assert!(world.at_c(record)?.1.len() > 1, "the agreement has answered");
    world.grant(0, Narrowed { fields: vec!["number".to_owned()], days: Some(2), until: None })?;
    world.meet()?;
    assert_eq!(world.at_c(record)?.1, ["number"]);
    asking::ask(&world.b, &[record], &Wish { reason: "again".to_owned(), ..world.wish() })?;
    world.meet()?;
    assert_eq!(world.at_c(record)?.1, ["number"]);

    let world = Three::named(1)?;
    let record = world.release("A-1")?;
    world.meet()?;
    let every = asking::Every { kind: "item".to_owned(), of: "a".to_owned() };
    let wish = Wish { every: Some(every), fields: vec!["number".to_owned()], ..world.wish() };
    asking::ask(&world.b, &[], &wish)?;
    world.meet()?;
    answering::answer(&world.a, 0, None, "M. Osei")?;
    world.meet()?;
    world.ask(&[record])?;
    world.meet()?;
    assert_eq!((world.at_c(record)?.0.as_str(), asking::list(&world.a)?[1]["state"].as_str()), ("", Some("asked")));
    Ok(())
}

/// Story: an originator signs recalls of one record without end, for its holder to say to a third. One of each act is passed
/// on, and each of them is answered with what the third said.
#[test]
fn one_record_is_recalled_once_for_each_act() -> Outcome {
    let (world, record) = Three::passed_on()?;
    let (a, c) = (world.a.keys.org, world.c.keys.org);
    let signed = |act: Act, n: u64| -> Any<SignatureBytes> {
        Ok(Recall::new(act, a, record, UnixMillis(NOW.0 - n)).sign(&world.a.keys.records)?.1)
    };
    for part in 0..2 {
        let mut all = vec![signed(Act::Erase, part)?];
        for n in 0..500 {
            all.push(signed(Act::Withdraw, part * 500 + n)?);
        }
        asked::take(&world.b, a, &Recalls::own(all).to_bytes()?)?;
    }
    assert_eq!(world.b.holdings.count(Partition::Own, Table::Recall, &recall::to_scope(c))?, 2);
    let state = |n: u64| -> Any<AnswerState> {
        let answer = asked::take(&world.b, a, &Recalls::own(vec![signed(Act::Withdraw, n)?]).to_bytes()?)?;
        let answers = Answers::verify(&answer, world.b.keys.org, |_, _| Some(world.b.keys.runs.public().clone()))?;
        Ok(answers.answers.first().ok_or("an answer")?.state)
    };
    assert_eq!((state(400)?, state(900)?), (AnswerState::Waiting, AnswerState::Waiting));
    testkit::exchange(&world.b, &world.c)?;
    assert_eq!((state(400)?, state(900)?), (AnswerState::Complied, AnswerState::Complied));
    Ok(())
}

/// Story: an originator says no, and no again. It is heard each time, kept once, and nothing is looked through anew.
#[test]
fn a_no_after_a_no_changes_nothing() -> Outcome {
    let (world, _) = Three::passed_on()?;
    let [a, b, c] = [&world.a, &world.b, &world.c].map(|node| node.keys.org);
    let row = world.b.holdings.item(Partition::Own, Table::Grant, ASKED, 0)?.ok_or("a request")?;
    let asked: AskedRow = decode("request", &row)?;
    let request = Request::kept(&asked.signed)?;
    let mut meeting = Meeting::of(&world.a, &world.b)?;
    meeting.settle()?;
    let before = world.b.holdings.count(Partition::Own, Table::Grant, GOT)?;
    for n in 1..20 {
        let scope = Scope { slots: SlotSet::EMPTY, ..request.scope.clone() };
        let no = Grant { scope, from: b, to: c, time: UnixMillis(NOW.0 + n), originator: a };
        let content = no.sign(&world.a.keys.records)?.1.to_bytes()?;
        let (_, _, session) = meeting.sides.first_mut().ok_or("a side")?;
        session.send_notice(Notice { kind: NOTICE_GRANT, content })?;
        meeting.settle()?;
    }
    assert_eq!(world.b.holdings.count(Partition::Own, Table::Grant, GOT)?, before + 1);
    Ok(())
}

/// Story: a hostile holder says of a thousand organisations that they hold a record. An honest one's word about it is kept.
#[test]
fn one_holders_words_leave_room_for_anothers() -> Outcome {
    let world = Three::plain("\"with-grant\"")?;
    testkit::pair(&world.a, &world.c)?;
    let record = world.release("A-1")?;
    world.meet()?;
    let word = |node: &Node, passed: Vec<PassedOn>| -> Any<Vec<u8>> {
        let signed = Passed { v: 1, time: NOW, holder: node.keys.org, passed }.sign(&node.keys.runs)?;
        Ok(Told { cards: Vec::new(), signed }.to_bytes()?)
    };
    let on = |to: u8, n: u16| {
        let mut agreement = [0; 16];
        agreement.iter_mut().zip(n.to_be_bytes()).for_each(|(to, byte)| *to = byte);
        let (agreement, grant) = (AgreementId::from_bytes(agreement), GrantId::from_bytes([9; 32]));
        PassedOn { to: OrgId::from_bytes([to; 32]), gone: false, grant, record, agreement }
    };
    for part in 0..2 {
        let all = (0..512).map(|n| on(5, part * 512 + n)).collect();
        passed::take(&world.a, world.b.keys.org, &word(&world.b, all)?)?;
    }
    let more = passed::take(&world.a, world.b.keys.org, &word(&world.b, vec![on(5, 9_999)])?);
    assert!(more.is_err_and(|error| error.to_string().contains("more than 1024")));
    passed::take(&world.a, world.c.keys.org, &word(&world.c, vec![on(6, 9)])?)?;
    let known = passed::holders_of(&world.a, record)?;
    assert!(known.iter().any(|row| row.on.to == OrgId::from_bytes([6; 32])));
    Ok(())
}

/// Story: a partner put an older copy of its store back, and is asked anew. Yesterday's stick with its answers is no answer.
#[test]
fn an_old_answer_settles_nothing_that_was_asked_anew() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.release("A-1")?;
    world.exchange()?;
    let id = show::resolve_own(&world.a, "A-1")?;
    recalls::propose(&world.a, &[id], Act::Erase, ("in danger", "A. Diallo"), &mut |_| {})?;
    recalls::confirm(&world.a, 1, "M. Osei", &mut |_| {})?;
    let brings = |from: &Node, to: &Node, name: &str| -> Outcome {
        let output = world.folder.path().join(name);
        let options =
            ExportOptions { to: to.config.handle.clone(), output: output.clone(), ..ExportOptions::default() };
        ask(from, &Call::BundleExport(options))?;
        ask(to, &Call::BundleImport(output))?;
        Ok(())
    };
    brings(&world.a, &world.b, "asks")?;
    world.clock.advance(60_000);
    brings(&world.b, &world.a, "answers")?;
    let b = world.b.keys.org;
    assert_eq!(holders::open_with(&world.a, b)?.1, 0);
    world.clock.advance(DAY);
    holders::ask_again(&world.a, b)?;
    world.clock.advance(60_000);
    ask(&world.a, &Call::BundleImport(world.folder.path().join("answers")))?;
    assert_eq!(holders::open_with(&world.a, b)?.1, 1);
    world.exchange()?;
    assert_eq!(holders::open_with(&world.a, b)?.1, 0);
    Ok(())
}

/// Story: a holder makes up organisations that are said to hold a record and never answer for good. It introduces so many and
/// no more.
#[test]
fn made_up_holders_are_bounded() -> Outcome {
    let (world, record) = Three::passed_on()?;
    recalls::propose(&world.a, &[record], Act::Erase, ("in danger", "A. Diallo"), &mut |_| {})?;
    recalls::confirm(&world.a, 1, "M. Osei", &mut |_| {})?;
    world.meet()?;
    let mut ids = Vec::new();
    for agreement in world.b.partitions() {
        let partition = Partition::Agreement(agreement);
        for (_, row) in world.b.holdings.list(partition, Table::Recall, recall::ASKED, None, 9)? {
            ids.push(decode::<recall::AskedRow>("recall", &row)?.recall);
        }
    }
    let b = world.b.keys.org;
    for n in 0..limits::INTRODUCED_PER_PARTNER_MAX + 3 {
        let one = testkit::node(world.folder.path(), &format!("p{n}"), &world.clock)?;
        let answers = ids.iter().map(|id| Answer { state: AnswerState::LegalHold, recall: *id }).collect();
        let signed = Answers::new(one.keys.org, NOW, answers).sign(&one.keys.runs)?;
        let told = Told { cards: vec![ByteBuf::from(one.keys.card.bytes().to_vec())], signed };
        relay::take(&world.a, b, &told.to_bytes()?)?;
    }
    let holders = holders::status(&world.a, 1)?["holders"].as_array().map_or(0, Vec::len);
    assert!((2..=2 + limits::INTRODUCED_PER_PARTNER_MAX).contains(&holders), "{holders}");
    Ok(())
}

/// Story: a stranger to the record brings its holder the originator's recall first. It is done, and when the originator brings
/// it itself, it is passed on to whoever was given the record.
#[test]
fn a_recall_that_another_brought_first_is_passed_on() -> Outcome {
    let (world, record) = Three::passed_on()?;
    let d = testkit::node(world.folder.path(), "d", &world.clock)?;
    testkit::pair(&world.b, &d)?;
    let signed = |act: Act, n: u64| -> Any<Vec<u8>> {
        let recall = Recall::new(act, world.a.keys.org, record, UnixMillis(NOW.0 - n));
        Ok(Recalls::own(vec![recall.sign(&world.a.keys.records)?.1]).to_bytes()?)
    };
    let queued = || world.b.holdings.count(Partition::Own, Table::Recall, &recall::to_scope(world.c.keys.org));
    asked::take(&world.b, d.keys.org, &signed(Act::Erase, 1)?)?;
    assert_eq!(queued()?, 0, "whoever it is, it is not theirs to say");
    for n in 1..20 {
        asked::take(&world.b, world.a.keys.org, &signed(Act::Withdraw, n)?)?;
    }
    asked::take(&world.b, world.a.keys.org, &signed(Act::Erase, 1)?)?;
    assert_eq!(queued()?, 2, "one of each act");
    testkit::exchange(&world.b, &world.c)?;
    assert_eq!(world.at_c_values(record)?, 0);
    world.is_whole()
}

/// Story: people said no to one record, then yes to every record of its kind, then no to that one again. The last word counts,
/// though it says what was said before; and a request that is made after a no has its answer too.
#[test]
fn a_no_counts_after_whatever_was_granted_since() -> Outcome {
    let (world, record) = Three::passed_on()?;
    answering::answer(&world.a, 0, None, "M. Osei")?;
    world.meet()?;
    assert_eq!(world.at_c(record)?.0, "withdrawn");
    let every = asking::Every { kind: "item".to_owned(), of: "a".to_owned() };
    let wish = Wish { every: Some(every), fields: vec!["number".to_owned()], ..world.wish() };
    asking::ask(&world.b, &[], &wish)?;
    world.meet()?;
    world.grant(1, Narrowed::default())?;
    world.meet()?;
    assert_eq!(world.at_c(record)?.0, "received");
    answering::answer(&world.a, 0, None, "M. Osei")?;
    world.meet()?;
    assert_eq!(world.at_c(record)?.0, "withdrawn");
    world.clock.advance(1_000);
    world.ask(&[record])?;
    world.meet()?;
    answering::answer(&world.a, 2, None, "M. Osei")?;
    world.meet()?;
    assert_eq!(asking::list(&world.b)?[2]["state"], "refused");
    world.is_whole()
}
