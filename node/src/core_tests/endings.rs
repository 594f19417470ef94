//! The end of an agreement: what was received under it is made unreadable, and its giver gets a receipt.

use super::*;
use crate::{
    check, recall,
    recall::{ending, hold},
    records::show,
    share::{
        fetching::{self, Resting},
        files,
    },
    store::holdings::Holdings,
    testkit::Meeting,
};
use entente_protocol::attachment::ChunkList;

/// Every agreement obliges to erase at its end, which comes a year later for what was received.
fn obliged(text: String) -> String {
    text.replace("notice-days = 0", "notice-days = 0\nsurvival-days = 365\nobligations = [\"erase-at-end\"]")
}

fn whole(node: &Node) -> Outcome {
    let found = check::check(node, false, &mut |_| {})?;
    let wrong: Vec<_> = found.as_array().into_iter().flatten().filter(|row| row["ok"] == false).collect();
    if wrong.is_empty() { Ok(()) } else { Err(format!("{}: {wrong:#?}", node.config.handle).into()) }
}

/// What is stored of a partition can be opened.
fn opens(holdings: &Holdings, agreement: AgreementId) -> bool {
    holdings.count(Partition::Agreement(agreement), Table::Received, b"").is_ok()
}

pub(super) fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name()))?,
            false => drop(fs::copy(entry.path(), to.join(entry.file_name()))?),
        }
    }
    Ok(())
}

/// Story: an agreement ends, and a person has what came under it erased. Nothing of it is found, shown, or opened by the keys
/// that are left; its giver has a signed receipt that names every copy of the keyring which still could; a recall afterwards is answered.
/// A backup of the store that is put back does not bring it back.
#[test]
fn what_came_under_an_agreement_is_gone_when_it_was_erased() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.release("A-1")?;
    world.release("A-2")?;
    world.exchange()?;
    let (agreement, one) = (world.agreement()?, show::resolve_own(&world.a, "A-1")?);
    let given = agreement.to_string();
    let erase = |by: &str| ending::erase(&world.b, &given, (by, &["the tape of 1 March".to_owned()]), &mut |_| {});
    assert!(erase("M. Osei").is_err(), "it is in force");
    agreements::state(&world.a, &given, Standing::Ended)?;
    world.exchange()?;
    assert!(erase(" ").is_err());
    hold::place(&world.b, &one.to_string(), "Tribunal", "M. Osei")?;
    let refused = erase("M. Osei").err().ok_or("a court's record was erased")?;
    assert!(refused.to_string().contains("legal hold"), "{refused}");
    hold::lift(&world.b, &one.to_string(), "M. Osei")?;

    let World { folder, clock, a, b } = world;
    drop(b);
    let (store, backup) = (folder.path().join("b/store"), folder.path().join("backup"));
    copy(&store, &backup)?;
    let b = testkit::open(folder.path(), "b", Arc::clone(&clock))?;
    let world = World { folder, clock, a, b };

    ending::erase(&world.b, &given, ("M. Osei", &["the tape of 1 March".to_owned()]), &mut |_| {})?;
    assert!(!opens(&world.b.holdings, agreement));
    assert_eq!(testkit::received(&world.b)?, Vec::<String>::new());
    assert!(show::show(&world.b, &one.to_string()).is_err());
    assert_eq!(agreements::show(&world.b, &given)?["state"], "erased");
    whole(&world.b)?;
    world.exchange()?;
    let shown = agreements::show(&world.a, &given)?;
    let receipt = &shown["erased"][0];
    assert_eq!((receipt["holder"].as_str(), receipt["copies"][0].as_str()), (Some("b"), Some("the tape of 1 March")));
    assert!(receipt["copies"][1].as_str().is_some_and(|copy| copy.contains("keyring")), "{receipt}");
    whole(&world.a)?;
    // The same again: it is done, and said once.
    ending::erase(&world.b, &given, ("M. Osei", &[]), &mut |_| {})?;
    world.exchange()?;
    assert_eq!(agreements::show(&world.a, &given)?["erased"].as_array().map(Vec::len), Some(1));
    let number = recall_of(&world, one)?;
    world.exchange()?;
    assert_eq!(recall::holders::status(&world.a, number)?["answers"].to_string(), r#"{"not-held":1}"#);

    // A backup of the store, beside the keyring of today.
    let World { folder, clock, a, b } = world;
    drop(b);
    let store = folder.path().join("b/store");
    fs::remove_dir_all(&store)?;
    copy(&backup, &store)?;
    let b = testkit::open(folder.path(), "b", Arc::clone(&clock))?;
    assert!(!opens(&b.holdings, agreement));
    assert_eq!((testkit::received(&b)?, agreements::show(&b, &given)?["state"].as_str()), (Vec::new(), Some("erased")));
    let world = World { folder, clock, a, b };
    world.exchange()?;
    Ok(())
}

fn recall_of(world: &World, record: RecordId) -> Result<u64, Box<dyn std::error::Error>> {
    let act = entente_protocol::recall::Act::Erase;
    let proposed = recall::asking::propose(&world.a, &[record], act, ("x", "A. Diallo"), &mut |_| {})?;
    let number = proposed["id"].as_str().ok_or("id")?.parse()?;
    recall::asking::confirm(&world.a, number, "M. Osei", &mut |_| {})?;
    Ok(number)
}

/// Story: an agreement obliges its receivers to erase a year after its end. The node does it by itself, on that day and not
/// before, and not at the party that declined; a hold keeps it until it is lifted; and a stop in the midst of it is no end.
#[test]
fn an_agreement_that_obliges_to_it_is_erased_by_itself() -> Outcome {
    for declines in [false, true] {
        let world = World::strangers()?;
        let mut text = obliged(testkit::agreement("2036-12-31"));
        if declines {
            text = text.replace("name = \"B\"", "name = \"B\"\ndeclines = [\"erase-at-end\"]");
        }
        testkit::agree(
            world.folder.path(),
            &world.a,
            &world.b,
            &text.replace("retention-days = 30", "retention-days = 3000"),
        )?;
        world.exchange()?;
        world.release("A-1")?;
        world.exchange()?;
        let agreement = world.agreement()?;
        recall::keep_up(&world.b)?;
        agreements::state(&world.b, &agreement.to_string(), Standing::Ended)?;
        world.move_to(NOW.plus(364 * DAY))?;
        recall::keep_up(&world.b)?;
        assert!(opens(&world.b.holdings, agreement));
        world.move_to(NOW.plus(366 * DAY))?;
        world.exchange()?;
        if declines {
            recall::keep_up(&world.b)?;
            assert!(opens(&world.b.holdings, agreement), "a party that archives erased it");
            continue;
        }
        let record = show::resolve_own(&world.a, "A-1")?.to_string();
        hold::place(&world.b, &record, "Tribunal", "M. Osei")?;
        recall::keep_up(&world.b)?;
        assert!(opens(&world.b.holdings, agreement), "what a court holds was erased");
        hold::lift(&world.b, &record, "M. Osei")?;
        // Stopped between what was begun and what is left: the next start goes on before it serves.
        ending::begun_only(&world.b, agreement)?;
        assert!(opens(&world.b.holdings, agreement));
        let World { folder, clock, a, b } = world;
        drop(b);
        let b = testkit::open(folder.path(), "b", Arc::clone(&clock))?;
        assert!(!opens(&b.holdings, agreement));
        whole(&b)?;
        let world = World { folder, clock, a, b };
        world.exchange()?;
        assert_eq!(agreements::show(&world.a, &agreement.to_string())?["erased"][0]["holder"], "b");
    }
    Ok(())
}

/// Everything that is left of a partition: rows that its keys open, and files.
fn rows(node: &Node, agreement: AgreementId) -> Result<usize, Box<dyn std::error::Error>> {
    let mut count = 0;
    node.holdings.audit().each_row(None, &mut |seen| {
        count += usize::from(seen.opened.is_some_and(|(of, _)| of == Partition::Agreement(agreement)));
        Ok(())
    })?;
    Ok(count)
}

/// Story: photographs came, one of them by half, and some records were shown to be less. When all of it is erased no row, no
/// index row and no file of it lies in the store, and the other agreement's are all there.
#[test]
fn no_row_and_no_file_of_it_is_left() -> Outcome {
    let world = World::strangers()?;
    let text = testkit::agreement_with_files("2036-12-31");
    for title in ["Every item", "Once more"] {
        let text = text.replace("Every item", title);
        testkit::agree(world.folder.path(), &world.a, &world.b, &text)?;
        world.exchange()?;
    }
    let empty = world.b.holdings.check()?;
    world.release("A-1")?;
    world.release("A-2")?;
    let item = show::resolve_own(&world.a, "A-1")?;
    testkit::file(&world.a, item, "A-1/1", b"a photograph")?;
    testkit::file(&world.a, item, "A-1/2", &vec![9; 17 << 20])?;
    world.exchange()?;
    let World { folder, clock, a, b } = world;
    let (b, resting) = (Arc::new(b), Resting::default());
    for wanted in fetching::wanted(&b, a.keys.org, &resting)? {
        let row = files::find(&a, Partition::Own, wanted.content)?.ok_or("ours")?;
        let mut incoming = fetching::Incoming::new(Arc::clone(&b), wanted.clone());
        if row.size > 1_000 {
            (0..16).try_for_each(|n| incoming.chunk(n, &vec![9; limits::CHUNK_BYTES as usize]))?;
        } else {
            incoming.chunk(0, b"a photograph")?;
            incoming.finish(&ChunkList::verify(wanted.content, row.chunks)?)?;
        }
    }
    let b = Arc::into_inner(b).ok_or("nobody else has it")?;
    let world = World { folder, clock, a, b };
    let rules = world.b.rules();
    let both: Vec<AgreementId> = rules.agreements.iter().map(|held| held.id).collect();
    let [one, other] = both.as_slice() else { return Err("two agreements".into()) };
    let (kept, full) = (rows(&world.b, *other)?, world.b.holdings.check()?);
    assert!(rows(&world.b, *one)? > 10 && full.blobs >= empty.blobs + 2, "{} {full:?}", rows(&world.b, *one)?);
    agreements::state(&world.b, &one.to_string(), Standing::Ended)?;
    ending::erase(&world.b, &one.to_string(), ("M. Osei", &[]), &mut |_| {})?;
    let left = world.b.holdings.check()?;
    assert_eq!((rows(&world.b, *other)?, left.unopened), (kept, 0));
    // Index rows do not say whose they are: half of what came under both is gone.
    assert_eq!(left.tokens - empty.tokens, (full.tokens - empty.tokens) / 2, "{left:?} of {full:?}");
    assert_eq!(left.blobs - empty.blobs, (full.blobs - empty.blobs) / 2, "{left:?} of {full:?}");
    whole(&world.b)
}

/// Story: a partner says that it ended the agreement long ago, to have what others gave us erased before its time. What it says of
/// the time decides nothing.
#[test]
fn an_end_counts_from_the_day_on_which_it_was_heard() -> Outcome {
    let world = World::strangers()?;
    let text = obliged(testkit::agreement("2036-12-31")).replace("retention-days = 30", "retention-days = 3000");
    testkit::agree(world.folder.path(), &world.a, &world.b, &text)?;
    world.exchange()?;
    world.release("A-1")?;
    world.exchange()?;
    let agreement = world.agreement()?;
    for time in [UnixMillis(0), NOW.plus(3_650 * DAY)] {
        let notice = StandingNotice { time, party: world.a.keys.org, counter: 1, standing: Standing::Ended, agreement };
        let signed = notice.sign(&world.a.keys.agreements)?;
        agreements::receive_standing(&world.b, world.a.keys.org, &signed)?;
    }
    recall::keep_up(&world.b)?;
    assert!(opens(&world.b.holdings, agreement), "a partner's word on the time decides");
    world.move_to(NOW.plus(366 * DAY))?;
    world.exchange()?;
    recall::keep_up(&world.b)?;
    assert!(!opens(&world.b.holdings, agreement));
    Ok(())
}

/// Story: a party suspended an agreement and resumed it. An older copy of its store comes back, and its people end it, with a
/// lower counter than the partner knows. The end counts: the partner releases nothing more, does not take it up again, and what
/// came under it may be erased on both sides.
#[test]
fn an_end_counts_though_an_older_store_counts_lower() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.release("A-1")?;
    world.exchange()?;
    let (id, given) = (world.agreement()?, world.agreement()?.to_string());
    let World { folder, clock, a, b } = world;
    drop(b);
    let (store, older) = (folder.path().join("b/store"), folder.path().join("older"));
    copy(&store, &older)?;
    let b = testkit::open(folder.path(), "b", Arc::clone(&clock))?;
    for standing in [Standing::Suspended, Standing::Active] {
        agreements::state(&b, &given, standing)?;
    }
    testkit::exchange(&a, &b)?;
    drop(b);
    fs::remove_dir_all(&store)?;
    copy(&older, &store)?;
    let b = testkit::open(folder.path(), "b", Arc::clone(&clock))?;
    let world = World { folder, clock, a, b };
    agreements::state(&world.b, &given, Standing::Ended)?;
    world.release("A-2")?;
    world.exchange()?;
    assert_eq!(testkit::received(&world.b)?, ["A-1"]);
    assert!(world.a.rules().policy.passes(world.b.keys.org, id, world.a.interval()).is_err());
    for node in [&world.a, &world.b] {
        assert_eq!(agreements::show(node, &given)?["state"], "ended");
        assert!(agreements::state(node, &given, Standing::Active).is_err());
        ending::erase(node, &given, ("M. Osei", &[]), &mut |_| {})?;
        assert!(!opens(&node.holdings, id));
    }
    Ok(())
}

/// Story: a session is under way when all that came under its agreement is erased, and its partner goes on saying what it said.
/// Nothing fails, and the next session begins without it. A version that follows is refused, and stops nothing.
#[test]
fn an_erasure_in_the_midst_of_a_session_stops_nothing() -> Outcome {
    let world = World::strangers()?;
    let other = testkit::agreement("2036-12-31").replace("Every item", "Once more");
    testkit::agree(world.folder.path(), &world.a, &world.b, &other)?;
    testkit::agree(world.folder.path(), &world.a, &world.b, &testkit::agreement("2026-12-31"))?;
    world.exchange()?;
    world.release("A-1")?;
    world.exchange()?;
    let expiring = |node: &Node| {
        let rules = node.rules();
        let found = rules
            .agreements
            .iter()
            .find(|held| held.in_force.as_ref().is_some_and(|f| f.agreement.title == "Every item"));
        found.map(|held| (held.id, held.in_force.as_ref().map(|f| f.digest)))
    };
    let (agreement, digest) = expiring(&world.b).ok_or("held")?;
    let mut meeting = Meeting::of(&world.a, &world.b)?;
    meeting.settle()?;
    world.move_to(NOW.plus(60 * DAY))?;
    ending::erase(&world.b, &agreement.to_string(), ("M. Osei", &[]), &mut |_| {})?;
    // A run without bodies is taken at any time; this one is of a feed that was shown before.
    let record = show::resolve_own(&world.a, "A-1")?;
    gate::review(&world.a, &[record], Review::Refuted)?;
    let ended = meeting.settle();
    assert!(!matches!(ended, Err(ExchangeFault::Fatal(_))), "{ended:?}");
    drop(meeting);
    world.exchange()?;
    assert_eq!(world.b.holdings.failed(), None);
    let head = format!("version = 2\nid = \"{agreement}\"\npredecessor = \"{}\"", digest.ok_or("in force")?);
    let next = testkit::agreement("2036-12-31").replace("version = 1", &head);
    let refused = testkit::agree(world.folder.path(), &world.a, &world.b, &next).err().ok_or("it is taken up again")?;
    assert!(refused.to_string().contains("erased here"), "{refused}");
    world.exchange()?;
    assert_eq!(world.b.holdings.failed(), None);
    Ok(())
}

/// Story: an older copy of the keyring is put back after an erasure. Its keys are destroyed again before anything is served.
#[test]
fn an_older_keyring_brings_nothing_back() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.release("A-1")?;
    world.exchange()?;
    let agreement = world.agreement()?;
    agreements::state(&world.b, &agreement.to_string(), Standing::Ended)?;
    let World { folder, clock, a, b } = world;
    let keys = folder.path().join("b/keys");
    copy(&keys, &folder.path().join("older"))?;
    ending::erase(&b, &agreement.to_string(), ("M. Osei", &[]), &mut |_| {})?;
    drop(b);
    fs::remove_dir_all(&keys)?;
    copy(&folder.path().join("older"), &keys)?;
    let b = testkit::open(folder.path(), "b", Arc::clone(&clock))?;
    assert!(!opens(&b.holdings, agreement) && b.holdings.keyring().is_erased(Partition::Agreement(agreement)));
    drop(a);
    whole(&b)
}
