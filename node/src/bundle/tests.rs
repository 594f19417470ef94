//! Stories of bundles between real nodes without a network, at a clock that the test moves: what a sender that breaks the
//! rules may bring, and what a recipient's key alone is good for.

use super::{
    ExportOptions,
    file::{Reader, Writer},
};
use crate::{
    call::Call,
    clock::{Clock, ManualClock},
    error::Fault,
    exchange::bundles,
    node::Node,
    partners::{self, PartnerState},
    seal::hybrid::Recipient,
    secret::{keyfile::KeyFile, unlock::Unlock},
    share::feeds,
    testkit::{self, ask},
};
use entente_protocol::{
    bundle::{Header, Opening, Part},
    feed::{Cursor, Run, RunEntry, RunMessage},
    id::{AgreementDigest, EntryHash, FeedId, Nonce},
    identity::{CardKey, Purpose},
    limits,
    primitive::{SigningKey, sha256},
    session::{Lane, Message},
    time::UnixMillis,
};
use serde_json::Value as Json;
use std::{
    error::Error,
    fs::{self, File},
    path::PathBuf,
    sync::Arc,
};

type Outcome = Result<(), Box<dyn Error>>;

/// 2026-11-22.
const NOW: UnixMillis = UnixMillis(1_795_305_600_000);
const HOUR: u64 = 3_600_000;

struct World {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    a: Node,
    b: Node,
}

impl World {
    /// Two that agreed, by bundles alone.
    fn new(text: &str) -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let clock = Arc::new(ManualClock::at(NOW));
        let (a, b) = (testkit::node(folder.path(), "a", &clock)?, testkit::node(folder.path(), "b", &clock)?);
        testkit::pair(&a, &b)?;
        testkit::agree(folder.path(), &a, &b, text)?;
        Ok(Self { folder, clock, a, b })
    }
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.bundle"))
    }
    fn export(&self, name: &str, change: impl FnOnce(&mut ExportOptions)) -> Result<Json, Fault> {
        let mut options = ExportOptions { to: "b".to_owned(), output: self.path(name), ..ExportOptions::default() };
        change(&mut options);
        ask(&self.a, &Call::BundleExport(options))
    }
    fn import(&self, name: &str) -> Result<Json, Fault> {
        ask(&self.b, &Call::BundleImport(self.path(name)))
    }
    fn release(&self, number: &str) -> Outcome {
        testkit::release(self.folder.path(), &self.a, number)
    }
    fn header(&self) -> Header {
        Header {
            v: 1,
            to: self.b.keys.org,
            from: self.a.keys.org,
            time: self.clock.now(),
            nonce: Nonce::from_bytes([7; 16]),
            store: self.a.holdings.store_id(),
            number: 99,
            one_way: false,
        }
    }
    /// A bundle that somebody puts together by hand.
    fn forge(&self, name: &str, header: &Header, key: &SigningKey, parts: &[Part]) -> Outcome {
        self.forge_under(name, self.a.keys.card.bytes(), header, key, parts)
    }
    fn forge_under(&self, name: &str, card: &[u8], header: &Header, key: &SigningKey, parts: &[Part]) -> Outcome {
        let recipient: Recipient = self.b.keys.card.payload().age.parse()?;
        let mut bundle = Writer::create(&self.path(name), &recipient, header, (card, key))?;
        for part in parts {
            bundle.part(part)?;
        }
        bundle.publish(true)?;
        Ok(())
    }
    /// The parts of a bundle, its end left out.
    fn parts(&self, name: &str) -> Result<Vec<Part>, Box<dyn Error>> {
        let file = File::open(self.path(name))?;
        let (mut reader, opening): (_, Opening) = Reader::open(&file, self.b.keys.bundles.as_ref().ok_or("a key")?)?;
        let (_, mut opened) = super::import::open(&self.b, &opening)?;
        let mut parts = Vec::new();
        while !opened.has_ended() {
            parts.push(reader.part(&mut opened)?);
        }
        parts.pop();
        Ok(parts)
    }
    fn held(&self) -> Result<Vec<String>, Fault> {
        testkit::received(&self.b)
    }
}

fn refused(answer: Result<Json, Fault>, code: &str) -> Result<Fault, Box<dyn Error>> {
    let fault = answer.err().ok_or("it was taken")?;
    assert_eq!(fault.code, code, "{fault}");
    Ok(fault)
}

/// Story: whoever reads a card can seal a file to its owner. It is signed by nobody whom the owner knows, says a false time
/// or another sender, or is made of the parts of true bundles: nothing of it is kept.
#[test]
fn a_bundle_that_its_sender_did_not_make_is_refused() -> Outcome {
    let world = World::new(&testkit::agreement("2036-12-31"))?;
    world.release("A-1")?;
    world.export("one", |_| {})?;
    let parts = world.parts("one")?;
    let (key, stranger) = (&world.a.keys.runs, SigningKey::from_seed(&[5; 32])?);
    let head = world.b.holdings.head()?.sequence;

    world.forge("forged", &world.header(), &stranger, &parts)?;
    refused(world.import("forged"), "bundle")?;
    let header = Header { from: world.b.keys.org, ..world.header() };
    world.forge("own", &header, key, &parts)?;
    refused(world.import("own"), "no-partner")?;
    let header = Header { to: world.a.keys.org, ..world.header() };
    world.forge("other", &header, key, &parts)?;
    let fault = refused(world.import("other"), "not-for-us")?;
    assert!(fault.message.contains(&world.a.keys.org.to_string()), "{fault}");
    let header = Header { time: NOW.plus(HOUR), ..world.header() };
    world.forge("early", &header, key, &parts)?;
    refused(world.import("early"), "clock")?;
    // A file's chunks without their file, and messages behind it.
    let loose = [parts.clone(), vec![Part::Chunk(vec![1])]].concat();
    world.forge("loose", &world.header(), key, &loose)?;
    refused(world.import("loose"), "bundle")?;
    // In the sender's own node they would open nothing either.
    refused(ask(&world.a, &Call::BundleImport(world.path("one"))), "not-for-us")?;
    assert_eq!(world.b.holdings.head()?.sequence, head, "something of it was kept");
    partners::set_state(&world.b, world.a.keys.org, PartnerState::Removed)?;
    world.b.reload()?;
    let fault = refused(world.import("one"), "no-partner")?;
    assert!(fault.message.contains("was removed"), "{fault}");
    Ok(())
}

/// Story: the sender has a new key for runs since the receiver last heard from it. The card that names it is in the bundle;
/// a card of anybody else, or an older one, makes no key count.
#[test]
fn a_key_that_only_the_newest_card_names_counts() -> Outcome {
    let world = World::new(&testkit::agreement("2036-12-31"))?;
    world.release("A-1")?;
    world.export("one", |_| {})?;
    let parts = world.parts("one")?;
    let key = SigningKey::from_seed(&[5; 32])?;
    let a = &world.a;
    let secret = Unlock::IdentityFile(world.folder.path().join("a.key")).open(&a.home.keys())?;
    let root = KeyFile::read(&a.home.keys().join("root.age"), &secret)?;
    let mut payload = a.keys.card.payload().clone();
    payload.number += 1;
    payload.keys.push(CardKey::new(Purpose::Runs, key.public().clone(), NOW));
    let card = payload.sign_with(&SigningKey::from_pkcs8(root.expose())?)?;
    for other in [a.keys.card.bytes(), world.b.keys.card.bytes(), b"no card"] {
        world.forge_under("other", other, &world.header(), &key, &parts)?;
        refused(world.import("other"), "bundle")?;
    }
    let parts = [parts, vec![Part::Message(Lane::Control, Message::Card(card.clone()).to_bytes()?)]].concat();
    world.forge_under("newer", &card, &world.header(), &key, &parts)?;
    assert_eq!(world.import("newer")?["records"], 1);
    assert_eq!(world.b.book().get(a.keys.org).map(|known| known.card.payload().number), Some(payload.number));
    Ok(())
}

/// Story: a partner's own node puts together what breaks the rules. What stands before it was taken as over the wire, and
/// the rest is not.
#[test]
fn what_breaks_the_rules_ends_the_import() -> Outcome {
    let world = World::new(&testkit::agreement("2036-12-31"))?;
    world.release("A-1")?;
    world.export("one", |_| {})?;
    let parts = world.parts("one")?;
    let key = &world.a.keys.runs;
    let runs = |part: &Part| matches!(part, Part::Message(Lane::Records, _));
    let run = parts.iter().find(|part| runs(part)).ok_or("a run")?.clone();
    // Heads before agreements; a run on the lane of words.
    let mut swapped = parts.clone();
    swapped.swap(0, 1);
    let Part::Message(_, bytes) = run.clone() else { return Err("a run".into()) };
    for (name, parts) in [("swapped", swapped), ("lane", vec![Part::Message(Lane::Control, bytes)])] {
        world.forge(name, &world.header(), key, &parts)?;
        refused(world.import(name), "bundle")?;
    }
    assert!(world.held()?.is_empty());
    // A run of another store than the header names has no feed here.
    let header = Header { store: world.b.holdings.store_id(), ..world.header() };
    let left = world.forge("store", &header, key, &parts).and_then(|()| Ok(world.import("store")?))?;
    assert_eq!((&left["left"][0]["code"], &left["records"]), (&"no-agreement".into(), &0.into()), "{left}");
    // Runs of feeds that are none: so many are named as left, and no more.
    let strays = (0..=limits::FEEDS_PER_PARTNER_MAX as u64).map(|n| {
        let (feed, hash) = (FeedId::from_bytes(sha256(&[&n.to_be_bytes()])), EntryHash::from_bytes([1; 32]));
        let version = AgreementDigest::from_bytes([2; 32]);
        let run = Run::over(feed, Cursor::start(feed), &[hash], version, NOW, None)?.sign(key)?;
        let entries = vec![RunEntry::Hash(hash)];
        let message =
            Message::Run(Box::new(RunMessage { run, onward: None, carried: vec![], entries, attestations: vec![] }));
        Ok(Part::Message(Lane::Records, message.to_bytes()?))
    });
    let mut strays = strays.collect::<Result<Vec<Part>, Box<dyn Error>>>()?;
    world.forge("strays", &world.header(), key, &strays)?;
    let fault = refused(world.import("strays"), "bundle")?;
    assert!(fault.message.contains("256 feeds"), "{fault}");
    strays.pop();
    world.forge("strays", &world.header(), key, &strays)?;
    assert_eq!(world.import("strays")?["left"].as_array().map(Vec::len), Some(limits::FEEDS_PER_PARTNER_MAX));
    // The same twice is one.
    let twice = [parts, vec![run]].concat();
    world.forge("twice", &world.header(), key, &twice)?;
    let done = world.import("twice")?;
    assert_eq!((&done["records"], &done["runs_held"]), (&1.into(), &1.into()), "{done}");
    Ok(())
}

/// Story: the sender suspends, its clock stands wrong, or the receiver suspends: as over the wire nothing goes or is taken,
/// nothing is refused, and the same bundle is taken once that is over.
#[test]
fn while_nothing_may_pass_a_bundle_waits() -> Outcome {
    let world = World::new(&testkit::agreement("2036-12-31"))?;
    world.release("A-1")?;
    world.export("first", |_| {})?;
    let org = world.a.keys.org;
    partners::set_state(&world.b, org, PartnerState::Suspended)?;
    world.b.reload()?;
    let waits = world.import("first")?;
    assert_eq!((&waits["left"][0]["code"], &waits["records"]), (&"partner-suspended".into(), &0.into()), "{waits}");
    partners::set_state(&world.b, org, PartnerState::Active)?;
    world.b.reload()?;
    assert_eq!(world.import("first")?["records"], 1);

    partners::set_state(&world.a, world.b.keys.org, PartnerState::Suspended)?;
    world.a.reload()?;
    world.release("A-2")?;
    let paused = world.export("second", |_| {})?;
    assert_eq!((&paused["entries"], &paused["left_out"][0]["code"]), (&0.into(), &"partner-suspended".into()));
    assert_eq!(world.import("second")?["new"], false);
    partners::set_state(&world.a, world.b.keys.org, PartnerState::Active)?;
    world.a.reload()?;
    world.export("third", |_| {})?;
    assert_eq!(world.import("third")?["records"], 1);
    Ok(())
}

/// Story: an agreement names a lease. One way it is refused, at the sender and, should a sender do it all the same, at the
/// receiver; in a bundle that is older than the lease nothing of it is taken either.
#[test]
fn an_agreement_with_a_lease_does_not_go_one_way() -> Outcome {
    let text = testkit::agreement("2036-12-31").replace("notice-days = 0", "notice-days = 0\nlease-hours = 48");
    let world = World::new(&text)?;
    world.release("A-1")?;
    let fault = refused(world.export("one-way", |options| options.one_way = true), "lease")?;
    assert!(fault.message.contains("--one-way"), "{fault}");
    assert!(!world.path("one-way").exists());
    world.export("both-ways", |_| {})?;
    let header = Header { one_way: true, ..world.header() };
    world.forge("hostile", &header, &world.a.keys.runs, &world.parts("both-ways")?)?;
    let left = world.import("hostile")?;
    assert_eq!((&left["left"][0]["code"], &left["records"]), (&"lease".into(), &0.into()), "{left}");
    world.clock.set(NOW.plus(49 * HOUR));
    let left = world.import("both-ways")?;
    assert_eq!((&left["left"][0]["code"], &left["records"]), (&"lease".into(), &0.into()), "{left}");
    world.export("young", |options| options.again = true)?;
    assert_eq!(world.import("young")?["records"], 1);
    Ok(())
}

/// Story: an older copy of the sender's store is put back. It knows nothing of the last bundle, and would sign other entries
/// in its place: before it makes another one it is told what the partner holds.
#[test]
fn after_a_restore_the_partner_is_asked_what_it_holds() -> Outcome {
    let World { folder, clock, a, b } = World::new(&testkit::agreement("2036-12-31"))?;
    let (store, copy) = (a.home.store(), folder.path().join("copy"));
    let world = |a: Node, b: Node, folder, clock| World { folder, clock, a, b };
    let mut now = world(a, b, folder, clock);
    now.release("A-1")?;
    now.export("one", |options| options.one_way = true)?;
    now.import("one")?;
    // The copy knows of the first bundle; then a second one goes.
    let World { folder, clock, a, b } = now;
    drop(a);
    let copied = std::process::Command::new("cp").arg("-r").arg(&store).arg(&copy).status()?;
    assert!(copied.success());
    let a = testkit::open(folder.path(), "a", Arc::clone(&clock))?;
    now = world(a, b, folder, clock);
    now.release("A-2")?;
    now.export("two", |options| options.one_way = true)?;
    let World { folder, clock, a, b } = now;
    drop(a);
    fs::remove_dir_all(&store)?;
    fs::rename(&copy, &store)?;
    let a = testkit::open(folder.path(), "a", Arc::clone(&clock))?;
    now = world(a, b, folder, clock);

    now.release("A-3")?;
    let fault = refused(now.export("three", |options| options.one_way = true), "restored")?;
    assert!(fault.message.contains("entente bundle show"), "{fault}");
    let line = |world: &World| -> Result<String, Fault> {
        let shown = ask(&world.b, &Call::BundleShow("a".to_owned()))?;
        Ok(shown["feeds"][0]["held"].as_str().unwrap_or_default().to_owned())
    };
    // The second bundle did not arrive: the partner holds what the copy knows.
    let held = line(&now)?;
    let agreement = held.split(':').next().unwrap_or_default().to_owned();
    for wrong in [format!("{agreement}:1:0123456789abcdef"), format!("{agreement}:0:0123456789abcdef")] {
        refused(now.export("wrong", |options| options.held = vec![wrong]), "behind")?;
    }
    refused(now.export("wrong", |options| options.held = vec![format!("{agreement}:x")]), "held")?;
    let after = now.export("three", |options| (options.one_way, options.held) = (true, vec![held]))?;
    assert_eq!((&after["entries"], &after["number"]), (&1.into(), &2.into()), "{after}");
    assert_eq!(now.import("three")?["records"], 1);
    // Asked once.
    now.release("A-4")?;
    now.export("four", |options| options.one_way = true)?;
    assert_eq!(now.import("four")?["records"], 1);
    assert_eq!(now.held()?, ["A-1", "A-3", "A-4"]);
    // The second of before was made over another history.
    let fork = now.import("two")?;
    assert_eq!(fork["left"][0]["code"], "fork", "{fork}");
    Ok(())
}

/// Story: a file goes with its record, and comes once; one that is too large for the stick is named, and the next stick
/// brings what found no room.
#[test]
fn files_go_with_their_records() -> Outcome {
    let world = World::new(&testkit::agreement_with_files("2036-12-31"))?;
    world.release("A-1")?;
    let item = crate::records::show::resolve_own(&world.a, "A-1")?;
    let contents: [Vec<u8>; 3] = [b"small".to_vec(), vec![7; 3 << 20], vec![8; (1 << 20) + 5]];
    let mut rows = Vec::new();
    for (number, content) in contents.iter().enumerate() {
        rows.push(testkit::file(&world.a, item, &format!("A-1/{number}"), content)?);
    }
    world.export("none", |options| options.without_files = true)?;
    let came = world.import("none")?;
    assert_eq!((&came["records"], &came["files"]), (&4.into(), &0.into()), "{came}");
    let first = world.export("first", |options| options.max_bytes = Some(2_000_000))?;
    assert_eq!((&first["files"], &first["more"]), (&2.into(), &false.into()), "{first}");
    assert_eq!(first["too_large"][0]["id"], rows[1].0.to_string(), "{first}");
    assert!(fs::metadata(world.path("first"))?.len() <= 2_000_000);
    assert_eq!(world.import("first")?["files"], 2);
    assert_eq!(world.import("first")?["files"], 0, "they are here");
    let rest = world.export("rest", |options| options.again = true)?;
    assert_eq!(rest["files"], 3, "{rest}");
    assert_eq!(world.import("rest")?["files"], 1);
    for ((_, row), content) in rows.iter().zip(&contents) {
        let (agreement, _, _) = *feeds::agreements_with(&world.b, world.a.keys.org).first().ok_or("agreed")?;
        let partition = crate::seal::keyring::Partition::Agreement(agreement);
        let found = crate::share::files::find(&world.b, partition, row.content())?.ok_or("the file is not here")?;
        let mut read = Vec::new();
        std::io::Read::read_to_end(&mut crate::share::files::open_at(&world.b, partition, &found, 0)?, &mut read)?;
        assert!(read == *content);
    }
    // Another file under the name of one: it is not kept, and all else is.
    let world = World::new(&testkit::agreement_with_files("2036-12-31"))?;
    world.release("A-1")?;
    let item = crate::records::show::resolve_own(&world.a, "A-1")?;
    testkit::file(&world.a, item, "A-1/0", b"a photograph")?;
    world.export("true", |_| {})?;
    let mut parts = world.parts("true")?;
    if let Some(Part::Chunk(chunk)) = parts.last_mut() {
        chunk.reverse();
    }
    world.forge("false", &world.header(), &world.a.keys.runs, &parts)?;
    let came = world.import("false")?;
    assert_eq!((&came["files"], &came["files_refused"], &came["records"]), (&0.into(), &1.into(), &2.into()), "{came}");
    assert_eq!(world.import("true")?["files"], 1);
    Ok(())
}

/// Story: a bundle that lay somewhere for weeks comes after newer ones. It takes back nothing that is known since.
#[test]
fn an_old_bundle_undoes_nothing() -> Outcome {
    let world = World::new(&testkit::agreement("2036-12-31"))?;
    let back = |world: &World, name: &str| -> Result<Json, Fault> {
        let options = ExportOptions { to: "a".to_owned(), output: world.path(name), ..ExportOptions::default() };
        ask(&world.b, &Call::BundleExport(options))
    };
    let home = |world: &World, name: &str| ask(&world.a, &Call::BundleImport(world.path(name)));
    for (number, out, receipt) in [("A-1", "one", "receipt one"), ("A-2", "two", "receipt two")] {
        world.release(number)?;
        world.export(out, |_| {})?;
        world.import(out)?;
        back(&world, receipt)?;
    }
    assert_eq!(home(&world, "receipt two")?["acknowledged"], 2);
    let head = world.a.holdings.journal(None, 1_000)?.len();
    let old = home(&world, "receipt one")?;
    assert_eq!((&old["acknowledged"], &old["new"]), (&0.into(), &false.into()), "{old}");
    // One event, of the import: nothing is asked again, and nothing stopped.
    assert_eq!(world.a.holdings.journal(None, 1_000)?.len(), head + 1);
    let old = world.import("one")?;
    assert_eq!((&old["new"], &old["runs_held"]), (&false.into(), &1.into()), "{old}");
    Ok(())
}

/// Everything that is said ahead of the runs is what a session takes, in its order.
#[test]
fn what_is_said_first_is_in_the_order_of_a_session() -> Outcome {
    let world = World::new(&testkit::agreement("2036-12-31"))?;
    let mut said = Vec::new();
    bundles::say_all(&world.a, world.b.keys.org, (&[], &[]), &mut |message: &Message| {
        said.push(message.name());
        Ok(())
    })?;
    assert_eq!(said, ["agreements", "heads", "card", "proposal"]);
    Ok(())
}
