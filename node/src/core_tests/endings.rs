//! The end of an agreement: what was received under it is made unreadable, and its giver gets a receipt.

use super::*;
use crate::{
    check, recall,
    recall::{ending, hold},
    records::show,
    store::holdings::Holdings,
};

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

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
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
