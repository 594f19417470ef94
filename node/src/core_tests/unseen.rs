//! What a partner learns of what it is not given: nothing by when runs end, by cut connections, or by files that stop.

use super::*;
use crate::{
    records::stored::decode,
    share::files::{self, Given},
};
use entente_protocol::{agreement::SignedAgreement, feed::Run, identity::UnconfirmedCard};

/// The runs of a feed, each with the number of its entries.
fn runs(world: &World) -> Result<Vec<u64>, Box<dyn std::error::Error>> {
    let feed = world.feed()?;
    while outbox::step(&world.a, &feed)?.more {}
    let rows = world.a.holdings.list(Partition::Own, Table::RunOut, feed.id().as_bytes(), None, 1_000)?;
    rows.into_iter().map(|(_, row)| Ok(Run::danger_unverified(&decode::<SentRun>("run", &row)?.run)?.count)).collect()
}

/// Story: of many records that people released, a clause covers a few, spread among them. The partner sees the runs that
/// it would see if there were only those few.
#[test]
fn runs_do_not_tell_how_many_records_were_looked_at() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let alone = World::new("2026-01-01", "2036-12-31")?;
    let no_partner = HandlingFloor { orcon: true, not_before: Some(NOW.plus(900 * DAY)), ..HandlingFloor::default() };
    for n in 0..100 {
        let floor = if n % 23 == 5 { HandlingFloor::default() } else { no_partner.clone() };
        let goes = floor == HandlingFloor::default();
        world.item(&format!("A-{n}"), floor)?;
        if goes {
            alone.item(&format!("A-{n}"), HandlingFloor::default())?;
        }
    }
    let seen = runs(&world)?;
    assert_eq!(seen, runs(&alone)?);
    assert_eq!(seen, [5]);
    world.exchange()?;
    assert_eq!(testkit::received(&world.b)?.len(), 5);
    Ok(())
}

/// Story: records are refuted, one of which a partner was shown. Only then its connection is looked at.
#[test]
fn who_was_not_shown_a_record_does_not_notice_that_it_is_refuted() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let later = HandlingFloor { not_before: Some(NOW.plus(900 * DAY)), ..HandlingFloor::default() };
    let (shown, unseen) = (world.item("A-1", HandlingFloor::default())?, world.item("A-2", later)?);
    world.exchange()?;
    let held = || world.a.held_back_from(world.b.keys.org);
    let before = (held(), world.a.held_back());
    gate::review(&world.a, &[unseen], Review::Refuted)?;
    assert_eq!((held(), world.a.held_back() > before.1), (before.0, true));
    gate::review(&world.a, &[shown], Review::Refuted)?;
    assert_eq!(held(), before.0 + 1);
    Ok(())
}

/// Story: while a partner fetches a file, something changes with others. It is decided again, and the file goes on.
#[test]
fn a_file_goes_on_whatever_changes_with_others() -> Outcome {
    let world = World::strangers()?;
    let text = testkit::agreement_with_files("2036-12-31");
    testkit::agree(world.folder.path(), &world.a, &world.b, &text)?;
    world.exchange()?;
    world.release("A-1")?;
    let of = crate::records::show::resolve_own(&world.a, "A-1")?;
    let (record, _) = testkit::file(&world.a, of, "A-1-P", &[7; 4_000])?;
    world.exchange()?;
    let feed = world.feed()?;
    let row = decide::released(&world.a, record, feed.id())?.ok_or("released")?;
    let given = || files::given(&world.a, &feed, row.number, files::content_slot());
    assert!(matches!(given()?, Given::File(..)));
    // Another command has changed the ledger; its rules are not read yet.
    let mut txn = world.a.holdings.begin();
    crate::node::changed(&mut txn)?;
    txn.commit()?;
    assert!(matches!(given()?, Given::File(..)));
    Ok(())
}

/// Story: a partner shows a record whole, and later less of it. What was countersigned first is still shown, and proved.
#[test]
fn what_was_disclosed_first_stays_though_less_is_disclosed_later() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.release("A-1")?;
    world.exchange()?;
    let show = || ask(&world.b, &Call::RecordShow("A-1".to_owned()));
    let serial = show()?["fields"]["serial"].clone();
    assert!(serial.is_object());
    world.next_version("2026-01-01", |text| text.replace("\"serial\", \"serial-prefix\", ", ""))?;
    world.exchange()?;
    world.exchange()?;
    let shown = show()?;
    assert_eq!(shown["fields"]["serial"], serde_json::Value::Null, "{shown}");
    assert_eq!(shown["earlier"][0]["fields"]["serial"], serial);
    let proof = ask(&world.b, &Call::RecordVerify("A-1".to_owned()))?;
    let earlier = proof["checks"].as_array().into_iter().flatten();
    let earlier =
        earlier.filter(|check| check["id"].as_str().is_some_and(|id| id.ends_with("of earlier disclosure 1")));
    assert_eq!((earlier.count(), &proof["ok"]), (3, &true.into()), "{proof}");
    Ok(())
}

/// Story: people approved the first version of an agreement that is not in force yet. A partner sends a second version that
/// follows it. What people approved stays.
#[test]
fn what_people_approved_is_not_replaced_by_its_successor() -> Outcome {
    let world = World::strangers()?;
    let path = |name: &str| world.folder.path().join(name);
    fs::write(path("one.toml"), testkit::agreement("2036-12-31"))?;
    ask(&world.a, &Call::AgreementSign { path: path("one.toml"), output: path("one") })?;
    let (id, first) = {
        let rules = world.a.rules();
        let held = rules.agreements.iter().next().ok_or("held")?;
        (held.id, held.proposal.as_ref().ok_or("proposal")?.digest())
    };
    let head = format!("version = 2\nid = \"{id}\"\npredecessor = \"{first}\"");
    fs::write(path("two.toml"), testkit::agreement("2036-12-31").replace("version = 1", &head))?;
    let drafted = ask(&world.b, &Call::AgreementSign { path: path("two.toml"), output: path("two") })?;
    let second = world.b.rules().agreements.iter().find_map(|held| held.proposal.clone()).ok_or("drafted")?;
    assert_eq!(drafted["digest"], second.digest().to_string());
    let taken = agreements::receive(&world.a, world.b.keys.org, &second.to_bytes()?)?;
    assert_eq!(taken, Received::GaveWay);
    let rules = world.a.rules();
    assert_eq!(
        rules.agreements.get(id).and_then(|held| held.proposal.as_ref()).map(SignedAgreement::digest),
        Some(first)
    );
    Ok(())
}

/// Story: cards come with a handle that is taken: the word for ourselves, our own, a partner's.
#[test]
fn a_handle_that_is_taken_is_refused() -> Outcome {
    let world = World::strangers()?;
    for handle in ["own", "a", "b"] {
        let folder = tempfile::tempdir()?;
        let other = testkit::node(folder.path(), handle, &world.clock)?;
        let card = UnconfirmedCard::from_bytes(other.keys.card.bytes())?;
        let refused = partners::add(&world.a, card, &other.keys.card.words().to_string());
        assert!(matches!(&refused, Err(partners::PartnerError::Handle(taken)) if taken == handle), "{refused:?}");
    }
    // The handle is free again once who had it was removed.
    partners::set_state(&world.a, world.b.keys.org, PartnerState::Removed)?;
    world.a.reload()?;
    let folder = tempfile::tempdir()?;
    let other = testkit::node(folder.path(), "b", &world.clock)?;
    let card = UnconfirmedCard::from_bytes(other.keys.card.bytes())?;
    partners::add(&world.a, card, &other.keys.card.words().to_string())?;
    world.a.reload()?;
    assert_eq!(world.a.book().find("b").map(|(org, _)| org)?, other.keys.org);
    Ok(())
}
