//! By whose hand a record came: what that lets nobody do, and what it must not keep anybody from.

use super::{
    onward::{Any, Three, further},
    *,
};
use crate::{
    bundle::ExportOptions,
    onward::{
        answering::{self, Narrowed},
        asking::{self, Every, Wish},
        passed,
    },
    recall::{asking as recalls, ending, holders},
    records::show,
};
use entente_protocol::{id::OrgId, recall::Act};

impl Three {
    /// Also `a` and `c` share, and `c` gives to `b`; `a` lets everything go on both ways.
    fn ring() -> Any<Self> {
        let world = Self::paired()?;
        testkit::pair(&world.a, &world.c)?;
        let text = testkit::agreement("2036-12-31").replace("onward = \"never\"", "onward = \"with-grant\"");
        let back = text.split_once("[[clause]]").map(|(_, clause)| format!("[[clause]]{clause}")).ok_or("a clause")?;
        let back =
            back.replace("\"items\"", "\"back\"").replace("from = \"a\"\nto = [\"b\"]", "from = \"b\"\nto = [\"a\"]");
        let to_c = text.replace("\"b\"", "\"c\"").replace("\"B\"", "\"C\"");
        testkit::agree(world.folder.path(), &world.a, &world.b, &text)?;
        testkit::agree(world.folder.path(), &world.a, &world.c, &to_c)?;
        testkit::agree(world.folder.path(), &world.b, &world.c, &further(&(text + &back)))?;
        Ok(world)
    }
    fn meet_all(&self) -> Outcome {
        for _ in 0..3 {
            self.meet()?;
            testkit::exchange(&self.a, &self.c)?;
        }
        Ok(())
    }
    /// The givers of what a node holds of a record and was not taken back.
    fn live(&self, node: &Node, record: RecordId) -> Any<Vec<OrgId>> {
        let mut givers = Vec::new();
        for agreement in node.partitions() {
            let row = crate::records::view::received(node, agreement, record)?;
            let back = receive::withdrawn(node, agreement, record)?.is_some();
            givers.extend(row.filter(|row| !back && !row.openings.is_empty()).and_then(|row| row.giver()));
        }
        givers.sort_unstable();
        Ok(givers)
    }
}

/// Story: a clause lets its records go on by a grant, and has them handled as TLP:RED. No grant is to be asked for.
#[test]
fn what_is_handled_as_red_goes_no_further() -> Outcome {
    let world = Three::plain("\"with-grant\"\nhandling = { tlp = \"RED\" }")?;
    let one = world.release("A-1")?;
    world.meet()?;
    let said = world.ask(&[one]).err().map(|fault| fault.to_string()).unwrap_or_default();
    assert!(said.contains("is TLP:RED") && said.contains("goes no further"), "{said}");
    Ok(())
}

/// Story: two partners hold a record of one originator, and each may pass it on to the other. Both do. When its originator
/// takes it back from both, none of the two is the other's reason to hold it on.
#[test]
fn two_that_passed_it_on_to_each_other_both_let_go_of_it() -> Outcome {
    let world = Three::ring()?;
    let record = world.release("A-1")?;
    world.meet_all()?;
    for (holder, to) in [(&world.b, "c"), (&world.c, "b")] {
        asking::ask(holder, &[record], &Wish { to: to.to_owned(), ..world.wish() })?;
    }
    world.meet_all()?;
    for request in 0..2 {
        world.grant(request, Narrowed::default())?;
    }
    world.meet_all()?;
    let [a, b, c] = [&world.a, &world.b, &world.c].map(|node| node.keys.org);
    let both = |one: OrgId, two: OrgId| if one < two { vec![one, two] } else { vec![two, one] };
    assert_eq!((world.live(&world.b, record)?, world.live(&world.c, record)?), (both(a, c), both(a, b)));

    ask(&world.a, &Call::Review { records: Selection::Ids(vec!["A-1".to_owned()]), state: Review::Refuted })?;
    // The two meet before, between and after each of them hears it.
    world.meet_all()?;
    assert_eq!((world.live(&world.b, record)?, world.live(&world.c, record)?), (vec![], vec![]));
    Ok(())
}

/// Story: what came by another's hand is asked to go on further. It is said that it does not, whatever anybody granted.
#[test]
fn what_came_by_anothers_hand_goes_no_further() -> Outcome {
    let (world, record) = Three::passed_on()?;
    let clock = Arc::clone(&world.clock);
    let d = testkit::node(world.folder.path(), "d", &clock)?;
    testkit::pair(&world.c, &d)?;
    let fault: Fault = asking::ask(&world.c, &[record], &Wish { to: "d".to_owned(), ..world.wish() })
        .err()
        .ok_or("it was asked")?
        .into();
    assert!(fault.message.contains("goes no further"), "{fault}");
    Ok(())
}

/// Story: a holder passes a record on in a bundle that is lost, to a third that has never met its originator. The recall is
/// passed on with the originator's card, so that the third can say that it holds nothing; the list of who has not confirmed
/// ends.
#[test]
fn a_recall_that_came_before_its_record_is_answered() -> Outcome {
    let world = Three::plain("\"with-grant\"")?;
    let record = world.release("A-1")?;
    testkit::exchange(&world.a, &world.b)?;
    world.ask(&[record])?;
    testkit::exchange(&world.a, &world.b)?;
    world.grant(0, Narrowed::default())?;
    testkit::exchange(&world.a, &world.b)?;
    let output = world.folder.path().join("lost.bundle");
    ask(&world.b, &Call::BundleExport(ExportOptions { to: "c".to_owned(), output, ..ExportOptions::default() }))?;
    testkit::exchange(&world.a, &world.b)?;
    assert_eq!(passed::list(&world.a, None)?[0]["state"], "holds", "as far as anybody knows");
    let proposed = recalls::propose(&world.a, &[record], Act::Erase, ("it was wrong", "one of us"), &mut |_| {})?;
    let number = proposed["id"].as_str().ok_or("a number")?.parse()?;
    recalls::confirm(&world.a, number, "another", &mut |_| {})?;
    world.meet()?;
    // Asked again, once the run that would have brought it has come.
    world.clock.advance(3_700_000);
    world.meet()?;
    let status = holders::status(&world.a, number)?;
    assert_eq!((&status["open"], status["holders"].as_array().map(Vec::len)), (&0.into(), Some(2)), "{status:#}");
    assert!(show::show(&world.c, &record.to_string()).is_err());
    assert!(world.c.book().card(world.a.keys.org).is_none(), "of what it never held nothing is kept");
    Ok(())
}

/// Story: what came under a lease was passed on under a lease, beside records of the holder's own. While its originator is
/// not met the holder's word for both ends, and what went on locks; once that agreement has ended, or what came under it is
/// erased, it keeps nobody from the holder's own records.
#[test]
fn a_lease_that_is_over_for_good_locks_nothing_of_others() -> Outcome {
    let leased = testkit::agreement("2036-12-31")
        .replace("notice-days = 0", "notice-days = 0\nlease-hours = 48\nobligations = [\"erase-at-end\"]");
    for erased in [false, true] {
        let world = Three::new("\"with-grant\"", &leased, &leased.replace("48", "24"))?;
        let one = world.release("A-1")?;
        testkit::release(world.folder.path(), &world.b, "B-1")?;
        let own = show::resolve_own(&world.b, "B-1")?;
        world.meet()?;
        world.let_on(one)?;
        let read = |record: RecordId| show::show(&world.c, &record.to_string()).map_err(|fault| fault.code);
        assert!(read(one).is_ok() && read(own).is_ok());
        // Three days in which the holder meets its receiver alone.
        for _ in 0..3 {
            world.clock.advance(25 * 3_600_000);
            testkit::exchange(&world.b, &world.c)?;
        }
        assert_eq!(read(one).err(), Some("locked".to_owned()), "its originator was not met");
        let agreement = world.b.rules().agreements.with(world.a.keys.org).next().map(|held| held.id).ok_or("it")?;
        agreements::state(&world.a, &agreement.to_string(), Standing::Ended)?;
        testkit::exchange(&world.a, &world.b)?;
        if erased {
            ending::erase(&world.b, &agreement.to_string(), ("M. Osei", &[]), &mut |_| {})?;
        }
        for _ in 0..3 {
            world.clock.advance(25 * 3_600_000);
            testkit::exchange(&world.b, &world.c)?;
        }
        assert!(read(own).is_ok(), "{:?}", read(own));
        world.is_whole()?;
        assert_eq!(show::show(&world.c, &one.to_string())?["state"], "withdrawn");
    }
    Ok(())
}

/// Story: a panel has a mandate for every item of an originator. The holder asks for the kind as a whole; the originator's
/// people let two fields go on. Items that were given before go, and those that come later; then a no takes all of them back,
/// and single ones do not get round it by an agreement.
#[test]
fn every_record_of_a_kind_may_be_asked_for() -> Outcome {
    let world = Three::plain("\"with-grant\"")?;
    let first = world.release("A-1")?;
    world.meet()?;
    let wish = |kind: &str, of: &str| Wish {
        every: Some(Every { kind: kind.to_owned(), of: of.to_owned() }),
        fields: vec!["number".to_owned(), "serial".to_owned()],
        ..world.wish()
    };
    for (wish, expected) in [
        (wish("item", "c"), "own"),
        (wish("rifle", "a"), "no kind"),
        (wish("event", "a"), "no agreement in force"),
        (Wish { fields: Vec::new(), ..wish("item", "a") }, "name the fields"),
    ] {
        let why = asking::ask(&world.b, &[], &wish).err().ok_or("it was asked")?.to_string();
        assert!(why.contains(expected), "{expected}: {why}");
    }
    let asked = asking::ask(&world.b, &[], &wish("item", "a"))?;
    assert_eq!((&asked[0]["kind"], &asked[0]["lines"]), (&"item".into(), &0.into()));
    world.meet()?;
    world.grant(0, Narrowed::default())?;
    world.meet()?;
    let second = world.release("A-2")?;
    world.meet()?;
    for record in [first, second] {
        assert_eq!(world.at_c(record)?, ("received".to_owned(), vec!["number".to_owned(), "serial".to_owned()]));
    }
    assert_eq!(asking::list(&world.b)?[0]["state"], "granted");
    answering::answer(&world.a, 0, None, "M. Osei")?;
    world.meet()?;
    assert_eq!((world.at_c(first)?.0, world.at_c(second)?.0), ("withdrawn".to_owned(), "withdrawn".to_owned()));
    Ok(())
}

/// Story: a third party declines to erase what is recalled, in its agreement with the holder. The originator signed neither
/// that nor a word of it: what it asks to be erased is erased. What the holder itself gave is kept.
#[test]
fn who_signed_nothing_of_it_is_not_refused_an_erasure() -> Outcome {
    let text = testkit::agreement("2036-12-31");
    let declining = text
        .replace("notice-days = 0", "notice-days = 0\nobligations = [\"erase-when-recalled\"]")
        .replace("name = \"B\"", "name = \"B\"\ndeclines = [\"erase-when-recalled\"]");
    let world = Three::new("\"with-grant\"", &text, &declining)?;
    let passed_on = world.release("A-1")?;
    testkit::release(world.folder.path(), &world.b, "B-1")?;
    let given = show::resolve_own(&world.b, "B-1")?;
    world.meet()?;
    world.let_on(passed_on)?;
    for (node, record, answers) in [(&world.a, passed_on, r#"{"complied":2}"#), (&world.b, given, r#"{"refused":1}"#)] {
        recalls::propose(node, &[record], Act::Erase, ("in danger", "A. Diallo"), &mut |_| {})?;
        recalls::confirm(node, 1, "M. Osei", &mut |_| {})?;
        world.meet()?;
        assert_eq!(holders::status(node, 1)?["answers"].to_string(), answers);
    }
    assert_eq!(world.at_c(passed_on)?, ("erased".to_owned(), Vec::new()));
    assert_eq!(world.at_c(given)?.0, "recalled");
    world.is_whole()
}
