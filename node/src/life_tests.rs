//! Stories of a node over years: the clock, cards, certificates and red lines, between two nodes without a network.
//!
//! What a process and a wire add is told in the system tests; here the clock can be moved.

use crate::{
    call::{Call, Selection},
    clock::ManualClock,
    error::Fault,
    exchange::ExchangeFault,
    identity::Keys,
    node::Node,
    partners::{self, PartnerError, PartnerState},
    share::{feeds, outbox},
    status,
    testkit::{self, ask},
};
use entente_protocol::{feed::FeedKey, identity::UnconfirmedCard, time::UnixMillis};
use serde_json::Value as Json;
use std::{fs, path::Path, sync::Arc};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const NOW: UnixMillis = UnixMillis(1_795_305_600_000);
const DAY: u64 = 86_400_000;
const YEAR: u64 = 365 * DAY;

struct World {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    a: Node,
    b: Node,
}

impl World {
    /// Two partners, and an agreement until a day.
    fn new(until: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let clock = Arc::new(ManualClock::at(NOW));
        let (a, b) = (testkit::node(folder.path(), "a", &clock)?, testkit::node(folder.path(), "b", &clock)?);
        testkit::pair(&a, &b)?;
        testkit::agree(folder.path(), &a, &b, &testkit::agreement(until))?;
        Ok(Self { folder, clock, a, b })
    }
    /// Ends both processes and starts them again.
    fn restart(self) -> Result<Self, Fault> {
        let Self { folder, clock, a, b } = self;
        drop((a, b));
        let open = |handle| testkit::open(folder.path(), handle, Arc::clone(&clock));
        let (a, b) = (open("a")?, open("b")?);
        Ok(Self { a, b, folder, clock })
    }
    fn release(&self, number: &str) -> Outcome {
        testkit::release(self.folder.path(), &self.a, number)
    }
    fn exchange(&self) -> Result<(), ExchangeFault> {
        testkit::exchange(&self.a, &self.b)
    }
    fn feed(&self) -> Result<FeedKey, &'static str> {
        let agreement = feeds::agreements_with(&self.a, self.b.keys.org).first().map(|(id, _, _)| *id).ok_or("none")?;
        Ok(feeds::outgoing(&self.a, self.b.keys.org, agreement))
    }
}

fn journal(node: &Node) -> Result<String, Fault> {
    Ok(crate::journal::texts(&node.holdings)?.concat())
}

fn edit(folder: &Path, handle: &str, change: impl FnOnce(String) -> String) -> Outcome {
    let path = folder.join(handle).join("entente.toml");
    Ok(fs::write(&path, change(fs::read_to_string(&path)?))?)
}

/// Story: an agreement ends in a week. A year later somebody sets the clock back to before its end, to have it honoured
/// again. Nothing goes, nothing comes, also after a restart; the release is not lost, and goes nowhere either once the
/// clock is mended, because the agreement has expired.
#[test]
fn a_clock_set_back_a_year_honours_no_expired_agreement() -> Outcome {
    let mut world = World::new("2026-11-30")?;
    world.release("A-1")?;
    world.exchange()?;
    assert_eq!(testkit::received(&world.b)?, ["A-1"]);
    world.clock.set(NOW.plus(YEAR));
    world = world.restart()?;
    let state = |node: &Node| Ok::<_, Fault>(ask(node, &Call::AgreementList)?[0]["state"].clone());
    assert_eq!(state(&world.a)?, "expired");

    world.clock.set(NOW);
    for _ in 0..2 {
        assert_eq!(state(&world.a)?, "expired", "what the clock once showed is the late end of now");
        let refused = world.exchange();
        assert!(matches!(&refused, Err(ExchangeFault::Clock(why)) if why.contains("clock lower")), "{refused:?}");
        let warned = status::status(&world.a)?["warnings"].to_string();
        assert!(warned.contains("once showed"), "{warned}");
        world = world.restart()?;
    }
    world.release("A-2")?;
    let feed = world.feed()?;
    assert!(outbox::step(&world.a, &feed)?.run.is_none(), "a run was made at a time that nobody knows");
    assert!(ask(&world.a, &Call::ClockLower { to: Some(NOW.plus(2 * YEAR)) }).is_err(), "that would raise it");

    world.clock.set(NOW.plus(YEAR + DAY));
    world.exchange()?;
    assert_eq!(testkit::received(&world.b)?, ["A-1"]);
    Ok(())
}

/// Story: a clock jumps a year ahead for a day, and is set right. Until a person says which time was wrong nothing
/// passes; then everything does, what was released meanwhile too, and the journal tells who said so.
#[test]
fn a_clock_that_jumped_ahead_waits_for_a_named_user() -> Outcome {
    let mut world = World::new("2036-12-31")?;
    world.release("A-1")?;
    world.exchange()?;
    world.clock.set(NOW.plus(YEAR));
    world = world.restart()?;
    world.clock.set(NOW.plus(DAY));
    world = world.restart()?;
    world.release("A-2")?;
    assert!(matches!(world.exchange(), Err(ExchangeFault::Clock(_))));
    for node in [&world.a, &world.b] {
        let shown = ask(node, &Call::ClockLower { to: None })?;
        assert_eq!(shown["decides"], true, "{shown}");
        let told = journal(node)?;
        assert!(told.contains("clock-lower") && told.contains(&node.keys.user.public().id().to_string()), "{told}");
    }
    world = world.restart()?;
    world.exchange()?;
    assert_eq!(testkit::received(&world.b)?, ["A-1", "A-2"]);
    Ok(())
}

/// Story: a partner's signed receipt confirms the time. No command lowers it, a restart keeps it, and only a mended
/// clock decides again.
#[test]
fn what_a_partner_signed_is_never_lowered() -> Outcome {
    let mut world = World::new("2036-12-31")?;
    world.clock.set(NOW.plus(YEAR));
    world.release("A-1")?;
    world.exchange()?;
    world.clock.set(NOW);
    for _ in 0..2 {
        for (node, other) in [(&world.a, "b"), (&world.b, "a")] {
            let shown = ask(node, &Call::ClockShow)?;
            assert_eq!((&shown["code"], &shown["confirmed_by"]), (&Json::from("clock-too-wide"), &Json::from(other)));
            let refused = ask(node, &Call::ClockLower { to: None });
            assert!(refused.is_err_and(|fault| fault.message.contains("never lowered")));
        }
        world = world.restart()?;
    }
    world.clock.set(NOW.plus(YEAR + 1));
    world.release("A-2")?;
    world.exchange()?;
    assert_eq!(testkit::received(&world.b)?, ["A-1", "A-2"]);
    Ok(())
}

/// Story: a run was sent and its receipt was lost. Before it is served again a red line forbids the record. Its body is
/// not served any more, and since the partner may hold it, it is withdrawn.
#[test]
fn what_a_red_line_forbids_is_withdrawn_though_its_receipt_was_lost() -> Outcome {
    let mut world = World::new("2036-12-31")?;
    world.release("A-1")?;
    world.release("A-2")?;
    let feed = world.feed()?;
    let sent = outbox::step(&world.a, &feed)?.run.ok_or("no run")?;
    assert_eq!((sent.end, sent.message.carried.len()), (2, 2));

    fs::write(
        world.folder.path().join("a/lines.toml"),
        "[[red-line]]\nname = \"not this one\"\nkinds = [\"item\"]\nwhen = 'resource.number == \"A-2\"'\n",
    )?;
    edit(world.folder.path(), "a", |text| format!("red-lines = \"lines.toml\"\n{text}"))?;
    world = world.restart()?;
    assert!(journal(&world.a)?.contains("own-rules"));
    let again = outbox::again(&world.a, &feed, 0)?.ok_or("no run")?;
    assert_eq!((again.end, again.message.carried.len()), (2, 1));
    let withdrawn = outbox::step(&world.a, &feed)?.run.ok_or("no withdrawal")?;
    assert_eq!((withdrawn.end, withdrawn.message.carried.len()), (3, 0));
    world.exchange()?;
    assert_eq!(testkit::received(&world.b)?, ["A-1"]);

    // The line is taken out again: what was withdrawn comes back.
    edit(world.folder.path(), "a", |text| text.replace("red-lines = \"lines.toml\"\n", ""))?;
    world = world.restart()?;
    world.exchange()?;
    assert_eq!(testkit::received(&world.b)?, ["A-1", "A-2"]);
    Ok(())
}

/// Story: a node moves. Its settings say another address; its card gets a higher number, and the partner follows it, but
/// goes on calling it by the name that people confirmed.
#[test]
fn a_newer_card_is_followed_and_takes_nobody_elses_name() -> Outcome {
    let mut world = World::new("2036-12-31")?;
    assert_eq!(world.b.keys.card.payload().number, 1);
    let old = world.b.keys.card.clone();
    edit(world.folder.path(), "b", |text| {
        let moved = text.replace("127.0.0.1:4433", "127.0.0.1:4999").replace("handle = \"b\"", "handle = \"panel\"");
        format!("advertise = [\"node.b.example:4434\"]\n{moved}")
    })?;
    world = world.restart()?;
    assert_eq!(world.b.keys.card.payload().number, 2);
    world.exchange()?;
    let shown = ask(&world.a, &Call::PartnerShow("b".to_owned()))?;
    assert_eq!((&shown["card"], &shown["addresses"][0]), (&Json::from(2), &Json::from("node.b.example:4434")));
    assert!(ask(&world.a, &Call::PartnerShow("panel".to_owned())).is_err());
    // Nothing has changed since: the number stays. The old card does not come back.
    world = world.restart()?;
    assert_eq!(world.b.keys.card.payload().number, 2);
    let older = partners::add(&world.a, UnconfirmedCard::from_bytes(old.bytes())?, &old.words().to_string());
    assert!(matches!(&older, Err(PartnerError::Card(fault)) if fault.to_string().contains("number `1`")), "{older:?}");
    Ok(())
}

/// Story: a partner is removed, and somebody resumes it. Its words are asked for again, and then it is back.
#[test]
fn a_removed_partner_needs_its_words_again() -> Outcome {
    let world = World::new("2036-12-31")?;
    let set = |state| ask(&world.a, &Call::PartnerState { partner: "b".to_owned(), state });
    set(PartnerState::Removed)?;
    for state in [PartnerState::Active, PartnerState::Suspended] {
        let refused = set(state);
        assert!(refused.is_err_and(|fault| fault.code == "was-removed" && fault.message.contains("partner add")));
    }
    assert!(matches!(world.exchange(), Err(ExchangeFault::Unknown)));
    let card = UnconfirmedCard::from_bytes(world.b.keys.card.bytes())?;
    partners::add(&world.a, card, &world.b.keys.card.words().to_string())?;
    world.a.reload()?;
    world.release("A-1")?;
    world.exchange()?;
    assert_eq!(testkit::received(&world.b)?, ["A-1"]);
    set(PartnerState::Suspended)?;
    set(PartnerState::Active)?;
    Ok(())
}

/// Story: a node runs for months. Its certificate is renewed when less than 30 days are left, without the root, under the
/// same key; where the issuing key is elsewhere people are told in time.
#[test]
fn certificates_are_renewed_in_time_without_the_root() -> Outcome {
    let mut world = World::new("2036-12-31")?;
    let keys = world.folder.path().join("a/keys");
    fs::rename(keys.join("root.age"), world.folder.path().join("root.age"))?;
    let first = world.a.keys.chain();
    let until = |keys: &Keys, at| keys.certificate_until(at).map(|t| (t.0 - NOW.0) / DAY);
    assert_eq!(until(&world.a.keys, NOW), Some(90));
    world.clock.set(NOW.plus(59 * DAY));
    assert!(!world.a.renew(false)?);
    assert_eq!(world.a.keys.chain(), first);
    // While it runs.
    let at = NOW.plus(61 * DAY);
    world.clock.set(at);
    assert!(world.a.renew(false)?);
    assert_eq!((until(&world.a.keys, at), world.a.keys.card.payload().number), (Some(151), 1));
    assert_ne!(world.a.keys.chain(), first);
    assert!(journal(&world.a)?.contains("certificate-renewed"));
    // When it starts, though the old one has ended; and it counts for partners.
    let at = NOW.plus(200 * DAY);
    world.clock.set(at);
    world = world.restart()?;
    assert_eq!(until(&world.a.keys, at), Some(290));
    // By hand.
    ask(&world.a, &Call::IdentityRenew)?;

    fs::remove_file(keys.join("issuing.age"))?;
    world = world.restart()?;
    let warned = |node: &Node| Ok::<_, Fault>(status::status(node)?["warnings"].to_string());
    assert!(!warned(&world.a)?.contains("certificate"));
    world.clock.set(NOW.plus(280 * DAY));
    assert!(!world.a.renew(false)?);
    assert!(warned(&world.a)?.contains("issuing.age"), "{}", warned(&world.a)?);
    assert!(ask(&world.a, &Call::IdentityRenew).is_err_and(|fault| fault.message.contains("issuing.age")));
    Ok(())
}

/// Story: the organisation asks for verification from now on. What was only reviewed is withdrawn, and goes again once verified.
#[test]
fn a_raised_gate_withdraws_what_it_would_not_let_go() -> Outcome {
    let mut world = World::new("2036-12-31")?;
    world.release("A-1")?;
    world.exchange()?;
    edit(world.folder.path(), "a", |text| text.replace("release-gate = \"reviewed\"", "release-gate = \"verified\""))?;
    world = world.restart()?;
    world.exchange()?;
    assert_eq!(testkit::received(&world.b)?, Vec::<String>::new());
    let verified =
        Call::Review { records: Selection::Ids(vec!["A-1".to_owned()]), state: crate::records::gate::Review::Verified };
    ask(&world.a, &verified)?;
    world.exchange()?;
    assert_eq!(testkit::received(&world.b)?, ["A-1"]);
    Ok(())
}
