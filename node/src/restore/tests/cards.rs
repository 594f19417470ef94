//! Cards of ours that partners know and a home that was put back does not: shown, looked at, taken up.

use super::{NOW, Outcome, Story};
use crate::{
    call::Call,
    clock::Clock,
    identity::known,
    keys::{Ask, contacts::Change, rotate::How, take_up},
    node::Node,
    testkit::{self, ask},
};
use entente_protocol::{
    identity::{CardKey, CardPayload, Contact, Purpose, UnconfirmedCard},
    time::HOUR_MS,
};
use serde_json::json;
use std::fs;

/// Story: keys and a contact change after the backup, and the disk is gone. The partner does not take the card of the home that
/// is put back, which leaves out a key, and shows the one that it knows; people look at it and take it up, and put a key in
/// the place of the one that is lost. Then both share as before.
#[test]
fn a_card_from_after_the_backup_is_shown_by_a_partner_and_taken_up() -> Outcome {
    let story = Story::new()?;
    let root = story.folder.path();
    let (a, b) = (testkit::node(root, "a", &story.clock)?, testkit::node(root, "b", &story.clock)?);
    testkit::pair(&a, &b)?;
    testkit::agree(root, &a, &b, &testkit::agreement("2036-12-31"))?;
    let safe = story.recovery("a")?;
    testkit::release(root, &a, "A-1")?;
    testkit::exchange(&a, &b)?;
    story.back_up(&a, "backups", false)?;
    let contact = Contact { name: "M. Osei".to_owned(), role: "head".to_owned(), email: None, phone: None };
    let add = Ask::Contact { change: Change::Add { contact, place: None }, dry_run: false };
    let rotate =
        Ask::Rotate { purpose: Purpose::Records, how: How { dry_run: false, now: false, next_root_lost: false } };
    for ask in [add, rotate.clone()] {
        testkit::ask(&a, &Call::Keys(ask))?;
    }
    testkit::exchange(&a, &b)?;
    let known = |node: &Node| node.book().card(a.keys.org).map(|card| card.payload().number);
    assert_eq!(known(&b), Some(3));
    story.restore("backups", "r", &safe, None)?;
    let r = story.open("r")?;
    assert_eq!(r.keys.card.payload().number, 1_002, "cards that were made since have lower numbers");
    assert!(ask(&r, &Call::Keys(Ask::TakeUp { card: None, dry_run: false })).is_err(), "none was shown yet");
    testkit::exchange(&r, &b)?;
    assert_eq!(known(&b), Some(3), "a card that leaves a key out was taken");
    let trouble = r.keys.trouble(NOW).join("; ");
    assert!(trouble.contains("knows card 3 of ours") && trouble.contains("take-up"), "{trouble}");
    // It is there still after a start, and nothing follows from it by itself.
    drop(r);
    let r = story.open("r")?;
    assert_eq!(r.keys.trouble(NOW).join("; "), trouble);
    let would = ask(&r, &Call::Keys(Ask::TakeUp { card: None, dry_run: true }))?;
    assert_eq!((&would["known"], &would["contacts"], &would["done"]), (&3.into(), &json!(["M. Osei"]), &false.into()));
    assert_eq!(would["keys"].as_array().map(Vec::len), Some(2), "one that is new, and one that ends: {would}");
    let done = ask(&r, &Call::Keys(Ask::TakeUp { card: None, dry_run: false }))?;
    assert_eq!((&done["card"], &done["next"]), (&would["card"], &json!(["entente key rotate records"])));
    testkit::exchange(&r, &b)?;
    assert_eq!(known(&b), done["card"].as_u64());
    assert_eq!(r.keys.lacking(NOW.plus(HOUR_MS)), [Purpose::Records]);
    ask(&r, &Call::Keys(rotate))?;
    assert_eq!(r.keys.trouble(NOW), Vec::<String>::new());
    testkit::release(root, &r, "A-2")?;
    for _ in 0..3 {
        story.clock.set(story.clock.now().plus(HOUR_MS));
        for node in [&r, &b] {
            node.look();
        }
        testkit::exchange(&r, &b)?;
    }
    assert_eq!(testkit::received(&b)?, ["A-1", "A-2"]);
    assert_eq!(ask(&b, &Call::RecordVerify("A-2".to_owned()))?["ok"], true);
    Ok(())
}

/// A partner that shows a card of ours which says nothing else is not heard, and another organisation's is not kept.
#[test]
fn a_card_that_says_nothing_else_is_not_kept() -> Outcome {
    let story = Story::new()?;
    let root = story.folder.path();
    let (a, b) = (testkit::node(root, "a", &story.clock)?, testkit::node(root, "b", &story.clock)?);
    let read = |node: &Node| UnconfirmedCard::from_bytes(node.keys.card.bytes());
    let offered = |given| take_up::offered(&a, b.keys.org, given);
    assert!(!offered(read(&a)?)?);
    assert!(offered(read(&b)?).is_err());
    let path = story.path("b.card");
    fs::write(&path, b.keys.card.to_armour())?;
    let refused = ask(&a, &Call::Keys(Ask::TakeUp { card: Some(path), dry_run: false })).map(drop).unwrap_err();
    assert!(refused.message.contains("no earlier card of this home"), "{refused}");
    assert_eq!((a.keys.card.payload().number, a.keys.trouble(NOW)), (1, Vec::new()));
    // While keys change nobody waits; and what lies there damaged, or says what ours says, is none.
    let changing = a.changing_keys.lock().map_err(|_| "poisoned")?;
    assert!(!offered(read(&b)?)?);
    drop(changing);
    let path = a.home.keys().join("known.card");
    for text in ["damaged".to_owned(), a.keys.card.to_armour(), b.keys.card.to_armour()] {
        fs::write(&path, text)?;
        assert!(known::shown(&a.home, &a.keys.card).is_none());
    }
    drop(a);
    assert_eq!(story.open("a")?.keys.trouble(NOW), Vec::<String>::new());
    Ok(())
}

/// Story: the root is succeeded. A partner that has not heard of it says back the card under the root before, which is
/// passed over; a home that is put back from before that is shown one under a root that it does not have, and says so.
#[test]
fn a_card_of_another_root_is_not_taken_for_ours() -> Outcome {
    let story = Story::new()?;
    let a = testkit::node(story.folder.path(), "a", &story.clock)?;
    let safe = story.recovery("a")?;
    story.back_up(&a, "backups", false)?;
    let before = a.keys.card.bytes().to_vec();
    let how = How { dry_run: false, now: false, next_root_lost: false };
    ask(&a, &Call::Keys(Ask::Rotate { purpose: Purpose::Root, how }))?;
    let offered = |node: &Node, bytes: &[u8]| -> Result<bool, Box<dyn std::error::Error>> {
        Ok(take_up::offered(node, node.keys.org, UnconfirmedCard::from_bytes(bytes)?)?)
    };
    assert!(!offered(&a, &before)?);
    story.restore("backups", "r", &safe, None)?;
    let r = story.open("r")?;
    let refused = offered(&r, a.keys.card.bytes()).map(drop).unwrap_err().to_string();
    assert!(refused.contains("under a root key that is not here"), "{refused}");
    assert!(known::shown(&r.home, &r.keys.card).is_none());
    Ok(())
}

/// A card that somebody with our root key made, shown to a home that was not put back: people are told, and nothing follows
/// from it by itself. Contacts that were changed here stay.
#[test]
fn a_newer_card_of_ours_changes_nothing_by_itself() -> Outcome {
    let story = Story::new()?;
    let a = testkit::node(story.folder.path(), "a", &story.clock)?;
    let safe = story.recovery("a")?;
    story.back_up(&a, "backups", false)?;
    let contact = |name: &str| {
        let contact = Contact { name: name.to_owned(), role: "head".to_owned(), email: None, phone: None };
        Ask::Contact { change: Change::Add { contact, place: None }, dry_run: false }
    };
    ask(&a, &Call::Keys(contact("M. Osei")))?;
    let how = How { dry_run: false, now: false, next_root_lost: false };
    ask(&a, &Call::Keys(Ask::Rotate { purpose: Purpose::Runs, how }))?;
    let newer = a.keys.card.bytes().to_vec();
    story.clock.advance(5 * 60_000);
    story.restore("backups", "r", &safe, None)?;
    let r = story.open("r")?;
    assert_eq!(r.keys.card.payload().number, 1_007, "an older backup leaves more room");
    ask(&r, &Call::Keys(contact("A. Diallo")))?;
    let (card, runs) = (r.keys.card.bytes().to_vec(), r.keys.runs.public().clone());
    assert!(take_up::offered(&r, r.keys.org, UnconfirmedCard::from_bytes(&newer)?)?);
    assert_eq!((r.keys.card.bytes(), r.keys.runs.public()), (card.as_slice(), &runs));
    assert!(!take_up::offered(&r, r.keys.org, UnconfirmedCard::from_bytes(&newer)?)?, "it is there already");
    let would = ask(&r, &Call::Keys(Ask::TakeUp { card: None, dry_run: true }))?;
    assert_eq!(would["contacts"], json!(["A. Diallo"]), "{would}");
    // Damaged, the mark of a restore makes a gap and no card of a number that is known.
    fs::write(r.home.keys().join("card.after"), "?")?;
    assert_eq!(known::following(&r.home, 7), 1_008);
    Ok(())
}

/// Which cards of ours say something that the present one does not, and what follows from both.
#[test]
fn a_card_says_all_that_an_older_one_says_but_for_certificates_that_ended() -> Outcome {
    let story = Story::new()?;
    let a = testkit::node(story.folder.path(), "a", &story.clock)?;
    let known = a.keys.card.payload().clone();
    let own = CardPayload { number: known.number + 1, ..known.clone() };
    let without = |purpose: Purpose| {
        let keys = own.keys.iter().filter(|key| key.purpose != purpose).cloned().collect();
        CardPayload { keys, ..own.clone() }
    };
    let end = |of: Purpose, change: &dyn Fn(&mut CardKey)| {
        let mut card = known.clone();
        card.keys.iter_mut().filter(|key| key.purpose == of).for_each(change);
        card
    };
    assert!(known::covers(&known, &known) && known::covers(&own, &known) && !known::covers(&known, &own));
    for purpose in [Purpose::Issuing, Purpose::Node] {
        assert!(known::covers(&without(purpose), &known), "{purpose}");
        let revoked = end(purpose, &|key| key.revoked = Some(NOW));
        assert!(!known::covers(&own, &revoked) && !known::covers(&without(purpose), &revoked), "{purpose}");
    }
    // Who took a card of ours that was made behind an end refuses the end.
    let ended = end(Purpose::Records, &|key| key.until = Some(NOW));
    for (issued, late) in [(NOW.minus(1), false), (NOW, false), (NOW.plus(1), true)] {
        assert_eq!(known::ends_late(&CardPayload { issued, ..own.clone() }, &ended), late);
    }
    for purpose in [Purpose::Records, Purpose::Agreements, Purpose::Runs, Purpose::Log] {
        let ended = end(purpose, &|key| key.until = Some(NOW));
        assert!(!known::covers(&without(purpose), &known) && !known::covers(&own, &ended), "{purpose}");
        for (one, other) in [(&own, &ended), (&without(purpose), &ended), (&ended, &without(purpose))] {
            let both = known::merged(&a.home, one, other);
            let both = CardPayload { number: both.number + 1, ..both };
            assert!(known::covers(&both, one) && known::covers(&both, other), "{purpose}");
        }
    }
    Ok(())
}

/// Story: the node's key was rotated after the backup, and the disk is lost before the next one took its place. What lies in
/// the home is not what the card lists: that is said in each place, until another is put there.
#[test]
fn a_node_key_that_is_lost_is_named() -> Outcome {
    let story = Story::new()?;
    let a = testkit::node(story.folder.path(), "a", &story.clock)?;
    let safe = story.recovery("a")?;
    story.back_up(&a, "backups", false)?;
    let rotate = Ask::Rotate { purpose: Purpose::Node, how: How { dry_run: false, now: false, next_root_lost: false } };
    ask(&a, &Call::Keys(rotate.clone()))?;
    assert!(a.keys.lacking(NOW).is_empty(), "the one that waits is here");
    story.restore("backups", "r", &safe, None)?;
    let r = story.open("r")?;
    let path = story.path("a.card");
    fs::write(&path, a.keys.card.to_armour())?;
    let done = ask(&r, &Call::Keys(Ask::TakeUp { card: Some(path), dry_run: false }))?;
    assert_eq!(done["next"], json!(["entente key rotate node"]));
    assert!(r.keys.trouble(NOW).join("; ").contains("entente key rotate node"));
    let lost = |node: &Node| -> Result<usize, crate::error::Fault> {
        let keys = ask(node, &Call::Keys(Ask::List))?;
        let lost = keys.as_array().into_iter().flatten().filter(|row| row["state"] == "lost");
        Ok(lost.inspect(|row| assert!(row["private"].is_null() && row["purpose"] == "node", "{row}")).count())
    };
    assert_eq!(lost(&r)?, 1);
    ask(&r, &Call::Keys(rotate))?;
    assert_eq!((lost(&r)?, r.keys.trouble(NOW)), (0, Vec::new()));
    Ok(())
}
