//! Stories of keys between two nodes without a network: every rotation while sharing goes on, a root that is succeeded, a
//! key in other hands.

use super::{Ask, contacts::Change, keyring::Which, revoke::Revoked, rotate::How};
use crate::{
    call::Call,
    clock::{Clock, ManualClock},
    error::Fault,
    exchange::ExchangeFault,
    identity::{NEXT_ROOT_FILE, PURPOSES, file, overlap},
    node::Node,
    partners::{self, PartnerError},
    peer::{self, book, tls},
    records::search::Query,
    testkit::{self, ask},
};
use entente_protocol::{
    id::KeyId,
    identity::{Card, CardFault, Contact, Purpose, UnconfirmedCard, chain},
    time::{DAY_MS, UnixMillis},
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde_json::{Value as Json, json};
use std::{fs, sync::Arc};

mod stolen;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const NOW: UnixMillis = UnixMillis(1_795_305_600_000);

struct World {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    a: Node,
    b: Node,
}

impl World {
    /// Two partners, and an agreement that lets every item go from `a` to `b`.
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let clock = Arc::new(ManualClock::at(NOW));
        let (a, b) = (testkit::node(folder.path(), "a", &clock)?, testkit::node(folder.path(), "b", &clock)?);
        testkit::pair(&a, &b)?;
        testkit::agree(folder.path(), &a, &b, &testkit::agreement("2036-12-31"))?;
        Ok(Self { folder, clock, a, b })
    }
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
        // What the first session proves of the log, the second one takes runs after.
        for node in [&self.a, &self.b] {
            node.look();
        }
        testkit::exchange(&self.a, &self.b)?;
        testkit::exchange(&self.a, &self.b)
    }
    /// What `b` holds of `a`, proved by what `b` knows now.
    fn proved(&self, number: &str) -> Result<bool, Fault> {
        Ok(ask(&self.b, &Call::RecordVerify(number.to_owned()))?["ok"] == true)
    }
    fn rotate(&self, purpose: Purpose, dry_run: bool) -> Result<Json, Fault> {
        ask(&self.a, &Call::Keys(Ask::Rotate { purpose, how: How { dry_run, now: false, next_root_lost: false } }))
    }
    fn revoke(&self, purpose: Purpose, since: Option<UnixMillis>, dry_run: bool) -> Result<Json, Fault> {
        let key = super::current(&self.a, purpose)?.key.id();
        self.revoke_key(key, since, dry_run)
    }
    fn revoke_key(&self, key: KeyId, since: Option<UnixMillis>, dry_run: bool) -> Result<Json, Fault> {
        let (key, reason) = (key.to_string(), "laptop stolen".to_owned());
        ask(&self.a, &Call::Keys(Ask::Revoke(Revoked { key, reason, since, dry_run, next_root_lost: false })))
    }
    fn reattest(&self) -> Result<Json, Fault> {
        ask(&self.a, &Call::Keys(Ask::Reattest { by: "A. Diallo".to_owned(), dry_run: false }))
    }
    fn list(&self) -> Result<Vec<(String, String)>, Fault> {
        let rows = ask(&self.a, &Call::Keys(Ask::List))?;
        let text = |row: &Json, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        Ok(rows.as_array().into_iter().flatten().map(|row| (text(row, "purpose"), text(row, "state"))).collect())
    }
}

fn journal(node: &Node) -> Result<String, Fault> {
    Ok(crate::journal::texts(&node.holdings)?.join("\n"))
}

fn checked(node: &Node) -> Outcome {
    let parts = ask(node, &Call::Check { sweep: false })?;
    let wrong: Vec<&Json> = parts.as_array().into_iter().flatten().filter(|part| part["ok"] != true).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    Ok(())
}

fn states(node: &Node) -> Result<Vec<(String, bool)>, Fault> {
    let found = ask(node, &Call::Search(Query::default()))?;
    let rows = found.get("records").or(Some(&found)).and_then(Json::as_array).cloned().unwrap_or_default();
    Ok(rows.iter().map(|r| (r["number"].as_str().unwrap_or_default().to_owned(), r["suspect"].is_string())).collect())
}

fn suspects(node: &Node) -> Result<Vec<String>, Fault> {
    let mut all: Vec<String> =
        states(node)?.into_iter().filter(|(_, suspect)| *suspect).map(|(number, _)| number).collect();
    all.sort();
    Ok(all)
}

/// Story: an office rotates every signing key, one after another, with sharing going on and restarts between. Nothing that
/// was signed before is doubted, the organisation stays the one that it was, and the old private halves are gone.
#[test]
fn every_signing_key_is_rotated_while_sharing_goes_on() -> Outcome {
    let mut world = World::new()?;
    let org = world.a.keys.org;
    world.release("A-0")?;
    // Released before, and not sent yet: attested anew as it goes.
    world.exchange()?;
    let mut numbers = vec!["A-0".to_owned()];
    for (at, (name, purpose)) in PURPOSES.into_iter().enumerate() {
        world.release(&format!("A-{at}-before"))?;
        let (card, sealed) =
            (world.a.keys.card.payload().number, fs::read(file(&world.a.home, &format!("{name}.age")))?);
        let would = world.rotate(purpose, true)?;
        assert_eq!((&would["done"], &would["partners"][0]["partner"]), (&json!(false), &json!("b")), "{would}");
        assert_eq!(world.a.keys.card.payload().number, card, "a dry run changes nothing");
        let done = world.rotate(purpose, false)?;
        assert_eq!((&done["done"], world.a.keys.card.payload().number), (&json!(true), card + 1));
        assert_ne!(done["old"], done["new"]);
        assert_ne!(fs::read(file(&world.a.home, &format!("{name}.age")))?, sealed);
        world.release(&format!("A-{at}-after"))?;
        world.clock.advance(DAY_MS);
        if at % 2 == 0 {
            world = world.restart()?;
        }
        world.exchange()?;
        numbers.extend([format!("A-{at}-before"), format!("A-{at}-after")]);
        let mut held = testkit::received(&world.b)?;
        held.sort();
        numbers.sort();
        assert_eq!(held, numbers, "{purpose}");
        for number in &numbers {
            assert!(world.proved(number)?, "{number} after {purpose}");
            assert_eq!(ask(&world.a, &Call::RecordVerify(number.clone()))?["ok"], true);
        }
        assert_eq!(world.b.book().get(org).map(|p| p.card.payload().number), Some(card + 1));
        let told = journal(&world.a)?;
        assert!(told.contains("key-rotate") && told.contains(purpose.name()), "{told}");
    }
    assert_eq!(world.a.keys.org, org);
    checked(&world.a)?;
    checked(&world.b)?;
    Ok(())
}

/// Whether a partner with a card takes the chain that a node shows: as handshakes judge it, without a network.
fn taken(card: &Card, node: &Node) -> Result<bool, Box<dyn std::error::Error>> {
    let partner = book::Partner::by_card(card, book::PartnerState::Active);
    let chain = node.keys.chain().into_iter().map(CertificateDer::from).collect();
    let key = PrivatePkcs8KeyDer::from(node.keys.tls.expose().clone());
    let now = node.clock.now();
    let shown = tls::Identity::new(node.keys.org, chain, key, now)?;
    Ok(shown.is_taken(partner, peer::Clock::new(move || now)).is_ok())
}

/// Story: the node's own key is rotated. Partners with the old card connect for two weeks more, then the new key is shown.
#[test]
fn the_nodes_key_gives_way_after_partners_had_time_to_learn() -> Outcome {
    let mut world = World::new()?;
    let first = world.a.keys.card.clone();
    let chain = world.a.keys.chain();
    world.rotate(Purpose::Node, false)?;
    assert!(world.rotate(Purpose::Issuing, false).is_err_and(|fault| fault.code == "in-overlap"));
    assert_eq!(world.a.keys.chain(), chain, "the old one is shown");
    let second = world.a.keys.card.clone();
    assert!(taken(&first, &world.a)? && taken(&second, &world.a)?);
    world.exchange()?;
    world = world.restart()?;
    assert_eq!(world.a.keys.chain(), chain);
    world.clock.advance(overlap::OVERLAP_MS + 1);
    assert!(world.a.renew(false)?);
    assert_ne!(world.a.keys.chain(), chain);
    assert!(taken(&second, &world.a)? && !taken(&first, &world.a)?);
    world = world.restart()?;
    assert!(taken(&second, &world.a)?);
    world.rotate(Purpose::Issuing, false)?;
    assert!(taken(&second, &world.a)? && taken(&world.a.keys.card, &world.a)?);
    world.clock.advance(2 * DAY_MS);
    assert!(chain::claimed(&world.a.keys.chain(), world.clock.now()).is_ok());
    Ok(())
}

/// Story: every key is rotated on the day on which the office was set up, minutes after each other. The list says of each
/// since when it is there, and of what waits when it turns; until then no other key of certificates is rotated, nor is it
/// said that one would be.
#[test]
fn each_key_is_listed_with_its_own_time_and_what_waits_with_its_turn() -> Outcome {
    let mut world = World::new()?;
    let minutes = |n: u64| NOW.plus(n * 60_000);
    world.clock.advance(60_000);
    world.rotate(Purpose::Runs, false)?;
    world.clock.advance(60_000);
    world.rotate(Purpose::Issuing, false)?;
    world.clock.advance(60_000);
    world.rotate(Purpose::Node, false)?;
    world = world.restart()?;
    let rows = |world: &World| -> Result<Vec<(String, String, String, Json)>, Fault> {
        let rows = ask(&world.a, &Call::Keys(Ask::List))?;
        let text = |row: &Json, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let one = |row: &Json| (text(row, "purpose"), text(row, "state"), text(row, "from"), row["turns"].clone());
        Ok(rows.as_array().into_iter().flatten().map(one).collect())
    };
    let row = |purpose: Purpose, state: &str, from: UnixMillis, turns: Option<UnixMillis>| {
        let turns = turns.map_or(Json::Null, |at| json!(at.to_string()));
        (purpose.name().to_owned(), state.to_owned(), from.to_string(), turns)
    };
    let turn = minutes(3).plus(overlap::OVERLAP_MS);
    let told = rows(&world)?;
    for expected in [
        row(Purpose::Records, "in use", NOW, None),
        row(Purpose::Runs, "in use", minutes(1), None),
        row(Purpose::Issuing, "in use", minutes(2), None),
        row(Purpose::Node, "in use", NOW, None),
        row(Purpose::Node, "waits", minutes(3), Some(turn)),
    ] {
        assert!(told.contains(&expected), "{expected:?}: {told:?}");
    }
    for purpose in [Purpose::Node, Purpose::Issuing, Purpose::Root] {
        for dry_run in [true, false] {
            let refused = world.rotate(purpose, dry_run).err().ok_or("rotated")?;
            let says = refused.message.contains(&format!("at {turn},"));
            assert!(refused.code == "in-overlap" && says, "{purpose} {dry_run}: {refused:?}");
        }
    }
    world.clock.advance(overlap::OVERLAP_MS);
    assert!(world.a.renew(false)?, "it turns when it was said to");
    assert!(rows(&world)?.contains(&row(Purpose::Node, "in use", minutes(3), None)));

    world.clock.advance(2 * DAY_MS);
    let now = world.clock.now();
    world.rotate(Purpose::Root, false)?;
    let told = rows(&world)?;
    let turn = Some(now.plus(overlap::OVERLAP_MS));
    for expected in [row(Purpose::Root, "in use", now, turn), row(Purpose::Issuing, "in use", minutes(2), turn)] {
        assert!(told.contains(&expected), "{expected:?}: {told:?}");
    }
    Ok(())
}

/// Story: the root is succeeded by the key that the card committed to. Partners take it by themselves, and who has not yet
/// connects as before while the overlap lasts. The id stays. Then the next root is lost, and partners compare words again.
#[test]
fn a_root_is_succeeded_by_itself_or_by_voice() -> Outcome {
    let mut world = World::new()?;
    let (org, first) = (world.a.keys.org, world.a.keys.card.clone());
    world.release("A-1")?;
    world.exchange()?;
    let would = world.rotate(Purpose::Root, true)?;
    assert!(would["partners"][0]["learns"].as_str().is_some_and(|how| how.contains("itself")), "{would}");
    world.rotate(Purpose::Root, false)?;
    assert_eq!((world.a.keys.org, world.a.keys.card.payload().succession.len()), (org, 1));
    assert!(taken(&first, &world.a)? && taken(&world.a.keys.card, &world.a)?);
    world = world.restart()?;
    world.release("A-2")?;
    world.exchange()?;
    let known = world.b.book().get(org).ok_or("known")?.card.clone();
    assert_eq!((known.root(), known.org()), (world.a.keys.card.root(), org));
    assert!(world.proved("A-1")? && world.proved("A-2")?);
    // The overlap ends: the chain leads to the new root, and the first card still lists the issuing key.
    world.clock.advance(overlap::OVERLAP_MS + 1);
    assert!(world.a.renew(false)?);
    assert!(taken(&first, &world.a)? && taken(&world.a.keys.card, &world.a)?);
    world.exchange()?;

    world.clock.advance(2 * DAY_MS);
    // Kept elsewhere, or another in its place: it is not taken for lost until somebody says so.
    let (next, card) = (file(&world.a.home, NEXT_ROOT_FILE), world.a.keys.card.digest());
    fs::write(&next, fs::read(file(&world.a.home, "root.age"))?)?;
    for _ in 0..2 {
        for dry_run in [true, false] {
            assert!(world.rotate(Purpose::Root, dry_run).is_err_and(|fault| fault.code == "next-root"));
            assert!(world.revoke(Purpose::Root, None, dry_run).is_err_and(|fault| fault.code == "next-root"));
        }
        let _ = fs::remove_file(&next);
    }
    assert!(world.a.keys.card.digest() == card && !next.exists());
    let lost = |dry_run, purpose| {
        ask(&world.a, &Call::Keys(Ask::Rotate { purpose, how: How { dry_run, now: false, next_root_lost: true } }))
    };
    assert!(lost(true, Purpose::Runs).is_err_and(|fault| fault.code == "next-root"));
    let would = lost(true, Purpose::Root)?;
    assert!(would["partners"][0]["learns"].as_str().is_some_and(|how| how.contains("words")), "{would}");
    let done = lost(false, Purpose::Root)?;
    assert!(done["partners"][0]["learns"].as_str().is_some_and(|how| how.contains("words")), "{done}");
    world.release("A-3")?;
    world.exchange()?;
    let told = ask(&world.b, &Call::Status)?.to_string();
    assert!(told.contains("confirm it by voice"), "{told}");
    let card = UnconfirmedCard::from_bytes(world.a.keys.card.bytes())?;
    partners::add(&world.b, card, done["words"].as_str().ok_or("words")?)?;
    world.b.reload()?;
    world.exchange()?;
    assert_eq!(testkit::received(&world.b)?.len(), 3);
    // Once more: a card leads over three roots, and the fourth begins where the third committed.
    world = world.restart()?;
    world.clock.advance(overlap::OVERLAP_MS + 2 * DAY_MS);
    world.a.renew(false)?;
    world.rotate(Purpose::Root, false)?;
    world.exchange()?;
    assert_eq!(world.b.book().get(org).ok_or("known")?.card.root(), world.a.keys.card.root());
    Ok(())
}

/// Story: the runs key is lost. Another signs from then on, what the old one signs is refused, and sharing goes on.
#[test]
fn what_a_revoked_key_signs_is_refused_and_sharing_goes_on() -> Outcome {
    for since in [None, Some(NOW.plus(DAY_MS / 2))] {
        let world = World::new()?;
        world.release("A-1")?;
        world.exchange()?;
        world.clock.advance(DAY_MS);
        let old = super::current(&world.a, Purpose::Runs)?.key.id();
        let revoked = world.revoke(Purpose::Runs, since, false)?;
        assert_eq!(revoked["replaced"], true);
        world.release("A-2")?;
        world.exchange()?;
        world.exchange()?;
        assert_eq!(testkit::received(&world.b)?.len(), 2);
        let book = world.b.book();
        assert!(book.key(world.a.keys.org, Purpose::Runs, old, world.clock.now()).is_none());
        assert!(world.proved("A-1")? && world.proved("A-2")?);
    }
    Ok(())
}

/// Story: the records key was stolen on Wednesday, and it is noticed on Friday. What partners countersigned on Tuesday stays
/// as it was; what was attested since is suspect here and there, and goes to nobody. Somebody looks at it and attests it
/// anew: it goes again with the new proof, and nobody doubts it any more.
#[test]
fn what_a_stolen_key_signed_is_suspect_until_it_is_attested_anew() -> Outcome {
    let mut world = World::new()?;
    world.release("A-tuesday")?;
    world.exchange()?;
    world.clock.advance(2 * DAY_MS);
    world.release("A-thursday")?;
    world.exchange()?;
    world.release("A-waits")?;
    world.clock.advance(DAY_MS);
    let stolen = NOW.plus(DAY_MS);
    let would = world.revoke(Purpose::Records, Some(stolen), true)?;
    assert_eq!(would["suspect_records"], 2, "{would}");
    assert!(suspects(&world.a)?.is_empty() && suspects(&world.b)?.is_empty());
    world.revoke(Purpose::Records, Some(stolen), false)?;
    let expected = ["A-thursday", "A-waits"].map(str::to_owned);
    assert_eq!(suspects(&world.a)?, expected);
    world.exchange()?;
    world = world.restart()?;
    world.release("A-friday")?;
    world.exchange()?;
    assert_eq!(suspects(&world.a)?, expected);
    assert_eq!(suspects(&world.b)?, ["A-thursday"]);
    let mut held = testkit::received(&world.b)?;
    held.sort();
    assert_eq!(held, ["A-friday", "A-thursday", "A-tuesday"], "what is suspect goes to nobody");
    assert!(world.proved("A-tuesday")? && world.proved("A-friday")? && !world.proved("A-thursday")?);
    assert_eq!(ask(&world.a, &Call::RecordVerify("A-waits".to_owned()))?["ok"], false);
    let explain = |world: &World| {
        ask(&world.a, &Call::Explain { record: "A-waits".to_owned(), partner: "b".to_owned() })
            .map(|told| told["agreements"][0].clone())
    };
    let stays = explain(&world)?;
    assert_eq!((&stays["leaves"], &stays["code"]), (&json!(false), &json!("suspect")), "{stays}");
    assert!(world.list()?.contains(&("records".to_owned(), "compromised".to_owned())));

    let by = || "A. Diallo".to_owned();
    let would = ask(&world.a, &Call::Keys(Ask::Reattest { by: by(), dry_run: true }))?;
    assert_eq!((&would["records"], suspects(&world.a)?.len()), (&json!(2), 2));
    ask(&world.a, &Call::Keys(Ask::Reattest { by: by(), dry_run: false }))?;
    assert!(suspects(&world.a)?.is_empty());
    assert_eq!(explain(&world)?["leaves"], true);
    world.exchange()?;
    assert!(suspects(&world.b)?.is_empty());
    let mut held = testkit::received(&world.b)?;
    held.sort();
    assert_eq!(held, ["A-friday", "A-thursday", "A-tuesday", "A-waits"]);
    for number in &held {
        assert!(world.proved(number)?, "{number}");
    }
    let told = journal(&world.a)?;
    assert!(told.contains("key-revoke") && told.contains("laptop stolen") && told.contains("key-reattest"), "{told}");
    for node in [&world.a, &world.b] {
        checked(node)?;
    }
    Ok(())
}

/// Story: a crash comes between any two steps of a rotation. The card says which key counts, and what does not fit it goes.
#[test]
fn what_a_crash_left_of_a_rotation_is_finished_or_dropped() -> Outcome {
    let mut world = World::new()?;
    let opened = super::Opened::of(&world.a)?;
    // Before the card: a key file that no card lists.
    opened.write(&world.a, &overlap::next_file("records"), &[7; 32])?;
    opened.write(&world.a, overlap::AFTER_ROOT, crate::peer::issue::generate()?.expose())?;
    let before = world.a.keys.records.public().clone();
    world = world.restart()?;
    assert_eq!(world.a.keys.records.public(), &before);
    assert!(!file(&world.a.home, &overlap::next_file("records")).exists());
    assert!(!file(&world.a.home, overlap::AFTER_ROOT).exists());
    // After it: the card lists the new key, and the file has not taken its place.
    let old = fs::read(file(&world.a.home, "records.age"))?;
    world.rotate(Purpose::Records, false)?;
    let new = world.a.keys.records.public().clone();
    fs::rename(file(&world.a.home, "records.age"), file(&world.a.home, &overlap::next_file("records")))?;
    fs::write(file(&world.a.home, "records.age"), old)?;
    world = world.restart()?;
    assert_eq!(world.a.keys.records.public(), &new);
    // The root: its file and the one after it have not taken their places.
    let old = fs::read(file(&world.a.home, "root.age"))?;
    world.rotate(Purpose::Root, false)?;
    fs::rename(file(&world.a.home, NEXT_ROOT_FILE), file(&world.a.home, overlap::AFTER_ROOT))?;
    fs::rename(file(&world.a.home, "root.age"), file(&world.a.home, NEXT_ROOT_FILE))?;
    fs::write(file(&world.a.home, "root.age"), old)?;
    world = world.restart()?;
    world.rotate(Purpose::Runs, false)?;
    world.release("A-1")?;
    world.exchange()?;
    assert_eq!(testkit::received(&world.b)?, ["A-1"]);
    Ok(())
}

/// Two cards of one number, both signed by the root: somebody else has it, or an older copy was put back. People are told.
#[test]
fn two_cards_of_one_number_are_told_to_people() -> Outcome {
    let world = World::new()?;
    let person = |name: &str| Contact { name: name.to_owned(), role: "head".to_owned(), email: None, phone: None };
    let add = |name| Ask::Contact { change: Change::Add { contact: person(name), place: None }, dry_run: false };
    let first = fs::read(world.a.home.card())?;
    ask(&world.a, &Call::Keys(add("A. Diallo")))?;
    world.exchange()?;
    fs::write(world.a.home.card(), first)?;
    let world = world.restart()?;
    ask(&world.a, &Call::Keys(add("M. Osei")))?;
    let refused = partners::update(&world.b, world.a.keys.org, world.a.keys.card.bytes());
    assert!(matches!(refused, Err(PartnerError::Card(CardFault::Twice { number: 2 }))), "{refused:?}");
    Ok(())
}

/// Story: partition keys are rotated while records come and go. A stop in the middle is gone on with by the running node,
/// and the journal tells of it.
#[test]
fn partitions_get_new_keys_while_sharing_goes_on() -> Outcome {
    let mut world = World::new()?;
    world.release("A-1")?;
    world.exchange()?;
    let rotate = |node: &Node, which, dry_run| ask(node, &Call::Keys(Ask::Keyring { which, dry_run }));
    let would = rotate(&world.b, Which::All, true)?;
    assert_eq!(would["partitions"].as_array().map(Vec::len), Some(3), "{would}");
    assert!(super::keyring::view(&world.b).is_none());
    rotate(&world.b, Which::All, false)?;
    assert!(world.b.holdings.keyring().rotating().is_empty());
    let agreement = world.b.partitions().first().ok_or("one")?.to_string();
    rotate(&world.b, Which::Agreement(agreement), false)?;
    // Stopped at once: a running node goes on.
    world.b.holdings.rotate_partition(crate::seal::keyring::Partition::Own)?;
    assert!(super::keyring::view(&world.b).is_some());
    world = world.restart()?;
    world.release("A-2")?;
    world.exchange()?;
    while super::keyring::go_on(&world.b)? {}
    assert!(super::keyring::view(&world.b).is_none());
    world = world.restart()?;
    assert_eq!(testkit::received(&world.b)?.len(), 2);
    checked(&world.b)?;
    let told = journal(&world.b)?;
    assert!(told.contains("keyring-rotate") && told.contains("keyring-retire"), "{told}");
    Ok(())
}

#[test]
fn contacts_are_added_retired_and_succeeded() -> Outcome {
    let world = World::new()?;
    let person = |name: &str| Contact { name: name.to_owned(), role: "head".to_owned(), email: None, phone: None };
    let change = |change, dry_run| ask(&world.a, &Call::Keys(Ask::Contact { change, dry_run }));
    let names = || -> Result<Vec<String>, Fault> {
        let all = ask(&world.a, &Call::Keys(Ask::Contacts))?;
        Ok(all.as_array().into_iter().flatten().filter_map(|c| c["name"].as_str().map(str::to_owned)).collect())
    };
    change(Change::Add { contact: person("A"), place: None }, false)?;
    change(Change::Add { contact: person("B"), place: Some(1) }, false)?;
    change(Change::Retire("A".to_owned()), true)?;
    assert_eq!(names()?, ["B", "A"]);
    change(Change::Succeed { name: "B".to_owned(), contact: person("C") }, false)?;
    change(Change::Retire("A".to_owned()), false)?;
    assert_eq!(names()?, ["C"]);
    assert!(change(Change::Retire("A".to_owned()), false).is_err());
    assert!(change(Change::Add { contact: person("two\nlines"), place: None }, false).is_err());
    world.exchange()?;
    let card = world.b.book().get(world.a.keys.org).ok_or("known")?.card.clone();
    assert_eq!(card.payload().contacts, [person("C")]);
    Ok(())
}

#[test]
fn a_key_is_named_by_its_id_and_revoked_once() -> Outcome {
    let world = World::new()?;
    let id = super::current(&world.a, Purpose::Agreements)?.key.id().to_string();
    let revoke = |key: &str, since| {
        let asked =
            Revoked { key: key.to_owned(), reason: "lost".to_owned(), since, dry_run: false, next_root_lost: false };
        ask(&world.a, &Call::Keys(Ask::Revoke(asked)))
    };
    assert!(revoke("00", None).is_err() && revoke(&"0".repeat(64), None).is_err());
    assert!(revoke(&id, Some(NOW.plus(1))).is_err(), "still to come");
    revoke(&id.chars().take(8).collect::<String>(), None)?;
    assert!(revoke(&id, None).is_err_and(|fault| fault.code == "revoked"));
    revoke(&id, Some(NOW.minus(5)))?;
    revoke(&id, Some(NOW.minus(9)))?;
    assert!(revoke(&id, Some(NOW.minus(8))).is_err(), "later than what was said");
    Ok(())
}
