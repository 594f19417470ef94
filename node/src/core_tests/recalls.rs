//! What was shared is asked back: from everybody who was shown it, whatever became of the agreement, until each has answered.

use super::*;
use crate::{
    call::Recalled,
    check,
    recall::{self, asked, asking, hold, holders, select::Common},
    records::{search::Query, show},
    share::{
        fetching::{self, Resting},
        files::{self, FileRow},
    },
    testkit::Meeting,
};
use entente_protocol::{
    attachment::ChunkList,
    recall::{Act, Recall, Recalls},
};
use serde_json::Value as Json;
use std::io::Read as _;

use super::endings::copy;

type Any<T> = Result<T, Box<dyn std::error::Error>>;

impl World {
    fn id(&self, number: &str) -> Any<RecordId> {
        Ok(show::resolve_own(&self.a, number)?)
    }
    /// One person proposes, another confirms. The recall's number.
    fn recall(&self, records: &[RecordId], act: Act) -> Any<u64> {
        let proposed = asking::propose(&self.a, records, act, ("it was misread", "A. Diallo"), &mut |_| {})?;
        let number = proposed["id"].as_str().ok_or("id")?.parse()?;
        asking::confirm(&self.a, number, "M. Osei", &mut |_| {})?;
        Ok(number)
    }
    /// Answers of holders by state, and how many are still to come.
    fn answers(&self, number: u64) -> Any<(String, u64)> {
        let status = holders::status(&self.a, number)?;
        Ok((status["answers"].to_string(), status["open"].as_u64().ok_or("open")?))
    }
    /// The state of a record at `b`.
    fn state(&self, record: RecordId) -> Any<String> {
        let shown = show::show(&self.b, &record.to_string())?;
        Ok(shown["state"].as_str().ok_or("state")?.to_owned())
    }
    /// The serials by which `b` finds anything.
    fn found(&self, serial: &str) -> Any<usize> {
        let query = Query { serial: Some(serial.to_owned()), ..Query::default() };
        let found = ask(&self.b, &Call::Search(query))?;
        Ok(found["records"].as_array().ok_or("records")?.len())
    }
}

/// Everything that is stored at a node reads as it was written, and nothing is there of which nothing speaks.
fn is_whole(node: &Node) -> Outcome {
    let found = check::check(node, false, &mut |_| {})?;
    let wrong: Vec<&Json> = found.as_array().into_iter().flatten().filter(|row| row["ok"] == false).collect();
    if wrong.is_empty() { Ok(()) } else { Err(format!("{}: {wrong:#?}", node.config.handle).into()) }
}

/// Story: a serial was misread. One person proposes to take the record back, another confirms it; only then is the partner
/// asked, and it answers. The record goes to nobody again.
#[test]
fn a_recall_is_confirmed_by_a_second_person_and_answered() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.release("A-1")?;
    world.release("A-2")?;
    world.exchange()?;
    let (one, two) = (world.id("A-1")?, world.id("A-2")?);
    let proposed = asking::propose(&world.a, &[one], Act::Withdraw, ("misread", "A. Diallo"), &mut |_| {})?;
    assert_eq!((proposed["holders"][0]["handle"].as_str(), proposed["shown_to_nobody"].as_u64()), (Some("b"), Some(0)));
    for by in ["a. diallo ", " ", "two\nlines"] {
        assert!(asking::confirm(&world.a, 1, by, &mut |_| {}).is_err(), "`{by}` confirms");
    }
    world.exchange()?;
    assert_eq!(world.state(one)?, "received", "it was not confirmed");
    asking::confirm(&world.a, 1, "M. Osei", &mut |_| {})?;
    assert_eq!(world.answers(1)?, (r#"{"asked":1}"#.to_owned(), 1));
    world.exchange()?;
    assert_eq!((world.state(one)?, world.state(two)?), ("recalled".to_owned(), "received".to_owned()));
    assert_eq!(world.answers(1)?, (r#"{"complied":1}"#.to_owned(), 0));
    assert_eq!(asked::list(&world.b)?[0]["answer"], "complied");
    // What it said may be kept, and it is proved as before.
    assert_eq!(world.found("SN 1")?, 2);
    // Neither people nor a review let it go again.
    gate::review(&world.a, &[one], Review::Verified)?;
    assert_eq!(gate::release(&world.a, &[one])?.refused.len(), 1);
    world.exchange()?;
    assert_eq!(world.state(one)?, "recalled");
    let explained = ask(&world.a, &Call::Explain { record: "A-1".to_owned(), partner: "b".to_owned() })?;
    assert!(explained.to_string().contains("recalled"), "{explained}");
    // The same again: what was asked is not asked twice, and a stricter act is.
    assert!(asking::propose(&world.a, &[one], Act::Withdraw, ("x", "A. Diallo"), &mut |_| {}).is_err());
    let why = |field: &str| -> Result<(bool, String), crate::error::Fault> {
        let asked = Call::ExplainReceived { record: one.to_string(), partner: "a".to_owned() };
        let said = ask(&world.b, &asked)?;
        let fields = said["agreements"][0]["fields"].as_array().cloned().unwrap_or_default();
        let found = fields.into_iter().find(|f| f["field"] == field).unwrap_or_default();
        Ok((found["here"] == true, found["code"].as_str().unwrap_or_default().to_owned()))
    };
    // Of what is here and what is not, the holder is told why; what it cannot know is not told apart.
    assert_eq!(why("serial")?, (true, String::new()));
    assert_eq!(why("condition")?.1, "slot-not-named");
    let second = world.recall(&[one], Act::Erase)?;
    world.exchange()?;
    assert_eq!((world.answers(second)?.1, world.state(one)?), (0, "erased".to_owned()));
    assert_eq!(why("serial")?, (false, "erased".to_owned()));
    // Of our own it is said where it goes, not where it came from.
    let own = ask(&world.a, &Call::ExplainReceived { record: one.to_string(), partner: "b".to_owned() });
    assert!(own.is_err_and(|fault| fault.to_string().contains("`--to`")));
    is_whole(&world.a)?;
    is_whole(&world.b)
}

/// Story: a source is in danger. What was recalled to be erased is gone at the partner: fields, what it is found by, the
/// photograph; and another record of the same photograph keeps its own.
#[test]
fn what_is_to_be_erased_is_gone() -> Outcome {
    let world = World::strangers()?;
    let text = testkit::agreement_with_files("2036-12-31");
    testkit::agree(world.folder.path(), &world.a, &world.b, &text)?;
    world.exchange()?;
    world.release("A-1")?;
    let item = world.id("A-1")?;
    let (photo, row) = testkit::file(&world.a, item, "A-1/1", b"a photograph of the source")?;
    let (other, _) = testkit::file(&world.a, item, "A-1/2", b"a photograph of the source")?;
    let (alone, own) = testkit::file(&world.a, item, "A-1/3", &[7; 20_000])?;
    world.exchange()?;
    let World { folder, clock, a, b } = world;
    let b = Arc::new(b);
    bring(&a, &b)?;
    let b = Arc::into_inner(b).ok_or("nobody else has it")?;
    let world = World { folder, clock, a, b };
    let partition = Partition::Agreement(world.agreement()?);
    let b_has = |row: &FileRow| files::find(&world.b, partition, row.content());
    assert!(b_has(&row)?.is_some() && b_has(&own)?.is_some());
    let filled = room::filled(&world.b, world.a.keys.org)?;
    let first = world.recall(&[item, photo, alone], Act::Erase)?;
    world.exchange()?;
    assert_eq!(world.answers(first)?, (r#"{"complied":3}"#.to_owned(), 0));
    assert_eq!(world.found("SN 1")?, 0);
    assert!(b_has(&own)?.is_none(), "the photograph stays");
    assert!(b_has(&row)?.is_some(), "the photograph of another record is gone");
    assert!(room::filled(&world.b, world.a.keys.org)? < filled);
    for record in [item, photo, alone] {
        let shown = show::show(&world.b, &record.to_string())?;
        assert_eq!((shown["state"].as_str(), shown["fields"].to_string()), (Some("erased"), "{}".to_owned()));
        // That it was held, and who attested it, is still proved.
        let verified = show::verify(&world.b, &record.to_string())?;
        let checks = verified["checks"].as_array().ok_or("checks")?;
        let failed: Vec<&Json> = checks.iter().filter(|check| check["ok"] == false).collect();
        let [standing] = failed.as_slice() else { return Err(format!("{failed:?}").into()) };
        assert!(standing["says"].as_str().is_some_and(|says| says.contains("to be deleted")), "{standing}");
    }
    is_whole(&world.b)?;
    let last = world.recall(&[other], Act::Erase)?;
    world.exchange()?;
    assert_eq!(world.answers(last)?.1, 0);
    assert!(b_has(&row)?.is_none(), "nobody states it any more");
    is_whole(&world.a)?;
    is_whole(&world.b)
}

/// `b` fetches what `a` gave it leave to; all files are of one chunk.
fn bring(a: &Node, b: &Arc<Node>) -> Outcome {
    for wanted in fetching::wanted(b, a.keys.org, &Resting::default())? {
        let row = files::find(a, Partition::Own, wanted.content)?.ok_or("a file of ours")?;
        let mut bytes = Vec::new();
        files::open_at(a, Partition::Own, &row, 0)?.read_to_end(&mut bytes)?;
        let mut incoming = fetching::Incoming::new(Arc::clone(b), wanted.clone());
        incoming.chunk(0, &bytes)?;
        assert!(incoming.finish(&ChunkList::verify(wanted.content, row.chunks)?)?);
    }
    Ok(())
}

/// Story: a court has asked for a record, and its originator wants it erased. It is not used any more, it stays until the
/// hold is lifted, and the originator is told both.
#[test]
fn a_legal_hold_keeps_what_is_to_be_erased() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.release("A-1")?;
    world.exchange()?;
    let record = world.id("A-1")?;
    hold::place(&world.b, &record.to_string(), "Tribunal, case 12/2026", "M. Osei")?;
    assert!(hold::place(&world.b, &record.to_string(), "again", "M. Osei").is_err());
    let number = world.recall(&[record], Act::Erase)?;
    world.exchange()?;
    assert_eq!(world.answers(number)?, (r#"{"legal-hold":1}"#.to_owned(), 1));
    assert_eq!((world.state(record)?, world.found("SN 1")?), ("recalled".to_owned(), 1));
    is_whole(&world.b)?;
    hold::lift(&world.b, &record.to_string(), "M. Osei")?;
    assert!(hold::lift(&world.b, &record.to_string(), "M. Osei").is_err());
    assert_eq!((world.state(record)?, world.found("SN 1")?), ("erased".to_owned(), 0));
    world.exchange()?;
    assert_eq!(world.answers(number)?, (r#"{"complied":1}"#.to_owned(), 0));
    is_whole(&world.a)?;
    is_whole(&world.b)
}

/// Story: an agreement is suspended, then ended, and a partner is suspended. Recalls and their answers pass all the same;
/// nothing else does.
#[test]
fn recalls_pass_where_nothing_else_does() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    for number in ["A-1", "A-2", "A-3", "A-4"] {
        world.release(number)?;
    }
    world.exchange()?;
    let agreement = world.agreement()?.to_string();
    let mut recalled = Vec::new();
    for (record, standing) in [("A-1", Standing::Suspended), ("A-2", Standing::Ended)] {
        agreements::state(&world.a, &agreement, standing)?;
        world.exchange()?;
        recalled.push(world.recall(&[world.id(record)?], Act::Withdraw)?);
        world.exchange()?;
        assert_eq!(world.state(world.id(record)?)?, "recalled", "{standing:?}");
    }
    partners::set_state(&world.a, world.b.keys.org, PartnerState::Suspended)?;
    world.a.reload()?;
    recalled.push(world.recall(&[world.id("A-3")?], Act::Erase)?);
    world.exchange()?;
    for number in recalled {
        assert_eq!(world.answers(number)?.1, 0, "recall {number}");
    }
    // Nobody can be told who was removed: that stands in the list, and is not taken for done.
    partners::set_state(&world.a, world.b.keys.org, PartnerState::Removed)?;
    world.a.reload()?;
    let last = world.recall(&[world.id("A-4")?], Act::Erase)?;
    let status = holders::status(&world.a, last)?;
    assert_eq!((status["open"].as_u64(), status["holders"][0]["removed"].as_bool()), (Some(1), Some(true)));
    assert_eq!(status["not_complied"][0]["state"], "asked");
    Ok(())
}

/// Story: a hostile partner recalls what is not its own, signs as another, says the same a thousand times, and answers what it
/// was not asked. Nothing is taken back, and nothing counts.
#[test]
fn a_recall_counts_for_what_is_its_originators_own() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.release("A-1")?;
    world.release("A-2")?;
    world.exchange()?;
    let (record, other) = (world.id("A-1")?, world.id("A-2")?);
    let now = world.a.clock.now();
    let say_of = |record: RecordId, org: OrgId, key: &SigningKey| -> Any<Vec<u8>> {
        let signed = Recall::new(Act::Erase, org, record, now).sign(key)?.1;
        Ok(Recalls::own(vec![signed; 300]).to_bytes()?)
    };
    let say = |org: OrgId, key: &SigningKey| say_of(record, org, key);
    let (a, b) = (&world.a.keys, &world.b.keys);
    // To its own node: the record is ours, and nobody else's to erase.
    let answer = asked::take(&world.a, b.org, &say(b.org, &b.records)?)?;
    assert_eq!(
        entente_protocol::recall::Answers::verify(&answer, a.org, |_, _| Some(a.runs.public().clone()))?.answers.len(),
        1
    );
    assert!(keep::own(&world.a, record).is_ok() && gate::state(&world.a, record)?.recalled.is_none());
    // As if it were the originator.
    assert!(asked::take(&world.b, a.org, &say(a.org, &b.records)?).is_err());
    assert_eq!((world.state(record)?, world.state(other)?), ("received".to_owned(), "received".to_owned()));
    // The originator's own word is done, from whatever mouth; what is held is told to whom it concerns.
    let told = asked::take(&world.b, b.org, &say_of(other, a.org, &a.records)?)?;
    let told = entente_protocol::recall::Answers::verify(&told, b.org, |_, _| Some(b.runs.public().clone()))?;
    assert_eq!(told.answers[0].state, entente_protocol::recall::AnswerState::NotHeld);
    assert_eq!((world.state(record)?, world.state(other)?), ("received".to_owned(), "erased".to_owned()));
    assert!(asked::take(&world.b, a.org, b"\x80").is_err());
    assert!(asked::take(&world.b, a.org, b"no CBOR").is_err());
    // Its own word, from itself: taken once, answered each time.
    let own = say(a.org, &a.records)?;
    let before = world.b.holdings.head()?.sequence;
    let first = asked::take(&world.b, a.org, &own)?;
    let after = world.b.holdings.head()?.sequence;
    assert_eq!((world.state(record)?, after - before), ("erased".to_owned(), 1));
    asked::take(&world.b, a.org, &own)?;
    assert_eq!(world.b.holdings.head()?.sequence, after, "the same again is written again");
    // It was not asked by `a` in this way: the answer is to nothing that `a` knows.
    assert_eq!(holders::answered(&world.a, b.org, &first, world.a.clock.now())?, 0);
    Ok(())
}

/// Story: a run with the record was signed and is on its way when the record is recalled. The holder says that it holds
/// nothing, which is true and not the end: it is asked again until the run can bring nothing any more.
#[test]
fn what_is_on_its_way_is_asked_about_again() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.release("A-1")?;
    // Signed, and not sent.
    outbox::step(&world.a, &world.feed()?)?;
    let record = world.id("A-1")?;
    let number = world.recall(&[record], Act::Erase)?;
    let mut meeting = Meeting::of(&world.a, &world.b)?;
    meeting.settle()?;
    drop(meeting);
    world.exchange()?;
    world.exchange()?;
    assert_eq!(world.answers(number)?, (r#"{"not-held":1}"#.to_owned(), 0));
    assert!(show::show(&world.b, &record.to_string()).is_err(), "what was recalled arrived");
    is_whole(&world.a)?;
    is_whole(&world.b)
}

/// Story: the node is stopped right after a recall was confirmed. It goes on by itself, and each record is asked for once.
#[test]
fn a_recall_that_was_interrupted_goes_on() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.release("A-1")?;
    world.release("A-2")?;
    world.exchange()?;
    let records = [world.id("A-1")?, world.id("A-2")?];
    asking::propose(&world.a, &records, Act::Withdraw, ("misread", "A. Diallo"), &mut |_| {})?;
    asking::confirmed_only(&world.a, 1, "M. Osei")?;
    assert_eq!(world.answers(1)?, ("{}".to_owned(), 0));
    recall::keep_up(&world.a)?;
    recall::keep_up(&world.a)?;
    assert_eq!(world.answers(1)?, (r#"{"asked":2}"#.to_owned(), 2));
    world.exchange()?;
    assert_eq!(world.answers(1)?, (r#"{"complied":2}"#.to_owned(), 0));
    is_whole(&world.a)
}

/// Story: a clause gives records for thirty days. On the thirty-first they are gone, by themselves; what a court holds stays
/// until it is let go; what was released again begins anew; and a clock that is not known deletes nothing.
#[test]
fn what_was_given_for_a_time_is_deleted_when_it_is_over() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.release("A-1")?;
    world.release("A-2")?;
    world.exchange()?;
    let (gone, held) = (world.id("A-1")?, world.id("A-2")?);
    hold::place(&world.b, &held.to_string(), "Tribunal", "M. Osei")?;
    world.move_to(NOW.plus(29 * DAY))?;
    world.release("A-3")?;
    world.exchange()?;
    recall::keep_up(&world.b)?;
    assert_eq!((world.state(gone)?, world.found("SN 1")?), ("received".to_owned(), 3));
    world.move_to(NOW.plus(30 * DAY + 1))?;
    recall::keep_up(&world.b)?;
    assert_eq!((world.state(gone)?, world.state(held)?), ("erased".to_owned(), "expired".to_owned()));
    assert_eq!((world.state(world.id("A-3")?)?, world.found("SN 1")?), ("received".to_owned(), 2));
    is_whole(&world.b)?;
    hold::lift(&world.b, &held.to_string(), "M. Osei")?;
    assert_eq!((world.state(held)?, world.found("SN 1")?), ("erased".to_owned(), 1));
    // It does not come back by itself, and nothing is done twice.
    let before = world.b.holdings.head()?.sequence;
    recall::keep_up(&world.b)?;
    assert_eq!(world.b.holdings.head()?.sequence, before);
    is_whole(&world.b)
}

/// Story: two people recall one record twice while its holder is away, and a court holds it. Both recalls are answered for good
/// when the hold is lifted, whichever of them was read first.
#[test]
fn two_recalls_of_one_record_are_both_answered() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let mut recalled = Vec::new();
    for n in 0..6 {
        let number = format!("A-{n}");
        world.release(&number)?;
    }
    world.exchange()?;
    for n in 0..6 {
        let record = world.id(&format!("A-{n}"))?;
        hold::place(&world.b, &record.to_string(), "Tribunal", "M. Osei")?;
        // They come in one notice, and which is read first hangs on their ids.
        let acts = if n < 4 { [Act::Withdraw, Act::Erase] } else { [Act::Expire, Act::Erase] };
        recalled.push((record, [world.recall(&[record], acts[0])?, world.recall(&[record], acts[1])?]));
    }
    world.exchange()?;
    for (record, numbers) in recalled {
        assert_eq!(world.state(record)?, "recalled");
        assert_eq!(world.answers(numbers[1])?.0, r#"{"legal-hold":1}"#);
        hold::lift(&world.b, &record.to_string(), "M. Osei")?;
        assert_eq!(world.state(record)?, "erased", "what was to be erased is kept for ever");
        world.exchange()?;
        for number in numbers {
            assert_eq!(world.answers(number)?, (r#"{"complied":1}"#.to_owned(), 0));
        }
    }
    is_whole(&world.b)
}

/// Story: a photograph came, and its record was released again without leave to fetch it; of another one half had come. Both
/// records are erased: file, half a file, and the wish for the rest are gone, and what is still on the line is not kept.
#[test]
fn no_part_of_a_file_outlives_its_record() -> Outcome {
    let world = World::strangers()?;
    let text = testkit::agreement_with_files("2036-12-31");
    testkit::agree(world.folder.path(), &world.a, &world.b, &text)?;
    world.exchange()?;
    world.release("A-1")?;
    let item = world.id("A-1")?;
    let (shown_less, row) = testkit::file(&world.a, item, "A-1/1", b"a photograph")?;
    world.exchange()?;
    let World { folder, clock: _, a, b } = world;
    let b = Arc::new(b);
    bring(&a, &b)?;
    let (half, film) = testkit::file(&a, item, "A-1/2", &vec![9; 17 << 20])?;
    testkit::exchange(&a, &b)?;
    let wanted = fetching::wanted(&b, a.keys.org, &Resting::default())?.pop().ok_or("the film")?;
    let mut coming = fetching::Incoming::new(Arc::clone(&b), wanted.clone());
    for index in 0..16 {
        coming.chunk(index, &vec![9; limits::CHUNK_BYTES as usize])?;
    }
    let rules = a.rules();
    let held = rules.agreements.iter().next().ok_or("held")?;
    let in_force = held.in_force.as_ref().ok_or("in force")?;
    let head = format!("version = 2\nid = \"{}\"\npredecessor = \"{}\"", held.id, in_force.digest);
    let less = text.replace("version = 1", &head).replace("files = [\"stripped\"]\n", "").replace(
        "disclose.attachment = [\"number\", \"eval\", \"of\", \"role\", \"media\", \"content\"]",
        "disclose.attachment = [\"number\", \"eval\", \"of\", \"media\"]",
    );
    let partition = Partition::Agreement(held.id);
    testkit::agree(folder.path(), &a, &b, &less)?;
    testkit::exchange(&a, &b)?;
    testkit::exchange(&a, &b)?;
    let blobs = |node: &Node| -> Any<u64> { Ok(node.holdings.check()?.blobs) };
    assert!(files::find(&b, partition, row.content())?.is_some());
    let before = blobs(&b)?;
    let proposed = asking::propose(&a, &[shown_less, half], Act::Erase, ("x", "A. Diallo"), &mut |_| {})?;
    assert_eq!(proposed["listed"].as_array().map(Vec::len), Some(2));
    asking::confirm(&a, 1, "M. Osei", &mut |_| {})?;
    testkit::exchange(&a, &b)?;
    assert!(files::find(&b, partition, row.content())?.is_none(), "the file of a record that showed less since");
    // One segment of each: the whole photograph, and what had come of the film.
    assert_eq!(before - blobs(&b)?, 2);
    assert!(coming.chunk(16, &vec![9; limits::CHUNK_BYTES as usize]).is_ok());
    assert!(!coming.finish(&ChunkList::verify(wanted.content, film.chunks)?)?, "the film is kept");
    assert_eq!(before - blobs(&b)?, 2, "what came last stays");
    is_whole(&a)?;
    is_whole(&b)
}

/// Story: what a partner was shown is served again as its hash alone, for it may not go now. Recalled later, the record is
/// asked back from that partner all the same.
#[test]
fn who_was_once_shown_a_record_is_asked() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.release("A-1")?;
    let record = world.id("A-1")?;
    let feed = world.feed()?;
    outbox::step(&world.a, &feed)?;
    gate::review(&world.a, &[record], Review::Refuted)?;
    // Served again and closed: the row says that no slot is shown.
    outbox::again(&world.a, &feed, 0)?;
    let row = decide::released(&world.a, record, feed.id())?.ok_or("a row")?;
    assert!(!row.was_shown());
    let number = world.recall(&[record], Act::Erase)?;
    assert_eq!(world.answers(number)?.1, 1, "nobody is asked");
    Ok(())
}

/// Story: a holder has erased what was recalled, and an older copy of its store is put back. It shows less than it had
/// countersigned, so that it is asked again, and does it again.
#[test]
fn a_holder_that_went_back_in_time_is_asked_again() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.release("A-1")?;
    world.exchange()?;
    let record = world.id("A-1")?;
    let World { folder, clock, a, b } = world;
    drop(b);
    let (store, backup) = (folder.path().join("b/store"), folder.path().join("backup"));
    copy(&store, &backup)?;
    let b = testkit::open(folder.path(), "b", Arc::clone(&clock))?;
    let world = World { folder, clock, a, b };
    world.release("A-2")?;
    world.exchange()?;
    let number = world.recall(&[record], Act::Erase)?;
    world.exchange()?;
    assert_eq!((world.answers(number)?.1, world.state(record)?), (0, "erased".to_owned()));
    let World { folder, clock, a, b } = world;
    drop(b);
    fs::remove_dir_all(&store)?;
    copy(&backup, &store)?;
    let b = testkit::open(folder.path(), "b", Arc::clone(&clock))?;
    let world = World { folder, clock, a, b };
    assert_eq!(world.state(record)?, "received");
    world.move_to(NOW.plus(2 * 3_600_000))?;
    world.exchange()?;
    world.exchange()?;
    assert_eq!((world.answers(number)?.1, world.state(record)?), (0, "erased".to_owned()));
    is_whole(&world.a)
}

/// Story: a node starts with its clock years ahead. Nothing is deleted for good before a partner's clock agrees with it.
#[test]
fn a_clock_that_jumped_ahead_deletes_nothing() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.release("A-1")?;
    world.exchange()?;
    let record = world.id("A-1")?;
    world.move_to(NOW.plus(400 * DAY))?;
    recall::keep_up(&world.b)?;
    assert_eq!(world.state(record)?, "received");
    let World { folder, clock, a, b } = world;
    drop(b);
    let b = testkit::open(folder.path(), "b", Arc::clone(&clock))?;
    let world = World { folder, clock, a, b };
    recall::keep_up(&world.b)?;
    assert_eq!(world.state(record)?, "received");
    world.exchange()?;
    recall::keep_up(&world.b)?;
    assert_eq!(world.state(record)?, "erased");
    Ok(())
}

/// Story: what was deleted when its time was over is released again, and begins anew; what came from a partner's former store is
/// kept no longer than the rest.
#[test]
fn what_is_released_again_begins_anew() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.release("A-1")?;
    world.exchange()?;
    let record = world.id("A-1")?;
    world.move_to(NOW.plus(20 * DAY))?;
    world.exchange()?;
    world.move_to(NOW.plus(31 * DAY))?;
    recall::keep_up(&world.b)?;
    assert_eq!(world.state(record)?, "erased");
    world.next_version("2026-12-01", |text| text.replace("retention-days = 30", "retention-days = 60"))?;
    world.exchange()?;
    gate::review(&world.a, &[record], Review::Refuted)?;
    world.exchange()?;
    gate::review(&world.a, &[record], Review::Reviewed)?;
    world.exchange()?;
    assert_eq!((world.state(record)?, world.found("SN 1")?), ("received".to_owned(), 1));
    recall::keep_up(&world.b)?;
    assert_eq!(world.state(record)?, "received", "it is deleted by the days before");
    is_whole(&world.b)
}

/// Story: sharing is suspended, and what went before turns out to be wrong. No withdrawal goes; the review proposes a recall by
/// itself, which another person confirms, and the partner takes it back while sharing is still suspended. Of what is withdrawn
/// as usual nothing is proposed.
#[test]
fn what_is_refuted_while_nothing_passes_is_proposed_for_recall() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    for number in ["A-1", "A-2"] {
        world.release(number)?;
    }
    world.exchange()?;
    let refute = |number: &str| {
        let records = Selection::Ids(vec![number.to_owned()]);
        ask(&world.a, &Call::Review { records, state: Review::Refuted })
    };
    assert_eq!(refute("A-2")?.get("recalls"), None, "its withdrawal goes");
    world.exchange()?;
    let id = world.a.rules().agreements.iter().next().map(|held| held.id.to_string()).ok_or("an agreement")?;
    agreements::state(&world.a, &id, Standing::Suspended)?;
    let one = world.id("A-1")?;
    assert_eq!(refute("A-1")?["recalls"], serde_json::json!([1]));
    assert_eq!(refute("A-1")?.get("recalls"), None, "it is proposed already");
    world.exchange()?;
    assert_eq!(world.state(one)?, "received", "nobody has confirmed it");
    asking::confirm(&world.a, 1, "M. Osei", &mut |_| {})?;
    world.exchange()?;
    assert_eq!((world.state(one)?, world.answers(1)?.0), ("recalled".to_owned(), r#"{"complied":1}"#.to_owned()));
    assert_eq!(refute("A-1")?.get("recalls"), None, "it was recalled");
    Ok(())
}

/// Story: what was found at a place is asked back by the name of the place, which the event alone has.
#[test]
fn a_place_and_a_collector_bring_what_belongs_to_the_event() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.release("A-1")?;
    let proposed = |common: Common| -> Result<Vec<String>, Fault> {
        let call = Call::RecallPropose {
            records: Recalled::With(common),
            act: Act::Withdraw,
            reason: "in danger".to_owned(),
            by: "A. Diallo".to_owned(),
        };
        let answer = ask(&world.a, &call)?;
        let kinds = answer["kinds"].as_object().into_iter().flatten().map(|(kind, _)| kind.clone());
        Ok(kinds.collect())
    };
    for common in [Common::Place("here".to_owned()), Common::Place("LAC".to_owned()), Common::Collector("x".to_owned())]
    {
        let kinds = proposed(common.clone())?;
        assert!(kinds.contains(&"event".to_owned()) && kinds.contains(&"item".to_owned()), "{common:?}: {kinds:?}");
    }
    assert!(proposed(Common::Place("elsewhere".to_owned())).is_err());
    Ok(())
}

/// Story: a party archives, and the agreement says so: it declines to erase what is recalled. It takes the record back, keeps
/// what it said, and answers that it refuses, for good; lifting a hold deletes nothing either. The other party deletes.
#[test]
fn who_declined_to_erase_refuses_and_keeps() -> Outcome {
    for declines in [false, true] {
        let world = World::strangers()?;
        let mut text = testkit::agreement("2036-12-31")
            .replace("notice-days = 0", "notice-days = 0\nobligations = [\"erase-when-recalled\"]");
        if declines {
            text = text.replace("name = \"B\"", "name = \"B\"\ndeclines = [\"erase-when-recalled\"]");
        }
        testkit::agree(world.folder.path(), &world.a, &world.b, &text)?;
        world.release("A-1")?;
        world.release("A-2")?;
        world.exchange()?;
        let (one, two) = (world.id("A-1")?, world.id("A-2")?);
        hold::place(&world.b, &two.to_string(), "a court asks for it", "M. Osei")?;
        let number = world.recall(&[one, two], Act::Erase)?;
        world.exchange()?;
        hold::lift(&world.b, &two.to_string(), "M. Osei")?;
        world.exchange()?;
        let expected = if declines { r#"{"refused":2}"# } else { r#"{"complied":2}"# };
        assert_eq!(world.answers(number)?, (expected.to_owned(), 0));
        for record in [one, two] {
            let row = crate::records::view::received(&world.b, world.agreement()?, record)?.ok_or("a row")?;
            assert_eq!(row.openings.is_empty(), !declines);
            assert_eq!(world.state(record)?, if declines { "recalled" } else { "erased" });
        }
        is_whole(&world.b)?;
    }
    Ok(())
}
