//! Backup and restore, over real stores: what comes back is what was there; what is not whole comes back not at all.

use super::{Restore, UNFINISHED, mark, restore};
use crate::{
    backup::{
        self,
        archive::Writer,
        manifest::{self, Manifest},
        verify,
    },
    call::Call,
    clock::{Clock, ManualClock},
    config::Home,
    error::Fault,
    identity::known,
    keys::{Ask, contacts::Change, rotate::How, take_up},
    node::Node,
    recover::Recover,
    seal::hybrid::Identity,
    secret::{recovery, unlock::Unlock},
    store::Row,
    testkit::{self, ask},
};
use entente_protocol::{
    identity::{CardKey, CardPayload, Contact, Purpose, UnconfirmedCard},
    time::{HOUR_MS, UnixMillis},
};
use serde_json::{Value as Json, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const NOW: UnixMillis = UnixMillis(1_795_305_600_000);

struct Story {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
}

impl Story {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        Ok(Self { folder: tempfile::tempdir()?, clock: Arc::new(ManualClock::at(NOW)) })
    }
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
    fn recovery(&self, handle: &str) -> Result<Identity, Box<dyn std::error::Error>> {
        let passphrase = testkit::recovery(self.folder.path(), handle).read(false)?;
        Ok(recovery::open(&self.path(handle).join("recovery.age"), Some(&passphrase))?)
    }
    /// Puts the backups in `from` back as the home `to`.
    fn restore(&self, from: &str, to: &str, recovery: &Identity, number: Option<u32>) -> Result<Json, Fault> {
        let unlock = Unlock::IdentityFile(self.path(&format!("{to}.key")));
        let how = Recover { recovery, passphrase: None, unlock: &unlock, work_factor: 2, dry_run: false };
        let folder = self.path(from);
        let what = Restore { folder: &folder, number, keyring: None, how };
        restore(&Home::at(self.path(to)), &what, &*self.clock, &mut |_| {})
    }
    fn open(&self, handle: &str) -> Result<Node, Fault> {
        testkit::open(self.folder.path(), handle, Arc::clone(&self.clock))
    }
    fn back_up(&self, node: &Node, to: &str, full: bool) -> Result<Json, Fault> {
        backup::backup(node, &self.path(to), full, &mut |_| {})
    }
}

/// While keys change no archive is begun: its card and its key files are of one moment.
#[test]
fn a_backup_waits_for_a_change_of_keys() -> Outcome {
    let story = Story::new()?;
    let node = testkit::node(story.folder.path(), "a", &story.clock)?;
    let changing = node.changing_keys.lock().map_err(|_| "poisoned")?;
    std::thread::scope(|scope| {
        let copying = scope.spawn(|| story.back_up(&node, "backups", true));
        std::thread::sleep(std::time::Duration::from_millis(500));
        let waits = !copying.is_finished();
        drop(changing);
        let made = copying.join().map_err(|_| "the copy ended")?;
        assert!(waits && made.is_ok(), "{made:?}");
        Ok(())
    })
}

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

/// Story: archives from before a rotation stay in the folder. Each way to look at one says that the keyring beside it does
/// not open it, before anything is written.
#[test]
fn an_archive_from_before_a_rotation_says_that_it_does_not_open() -> Outcome {
    let story = Story::new()?;
    let a = testkit::node(story.folder.path(), "a", &story.clock)?;
    work(&story, &a, "A-1")?;
    let safe = story.recovery("a")?;
    story.back_up(&a, "backups", false)?;
    for partition in a.holdings.keyring().partitions() {
        a.holdings.rotate_partition(partition)?;
    }
    story.back_up(&a, "backups", false)?;
    let opens = || -> Result<Vec<Json>, Fault> {
        let list = verify::list(&story.path("backups"))?;
        Ok(list.as_array().into_iter().flatten().map(|row| row["opens"].clone()).collect())
    };
    assert_eq!(opens()?, [json!(true), json!(true)]);
    while crate::keys::keyring::go_on(&a)? {}
    story.back_up(&a, "backups", true)?;
    assert_eq!(opens()?, [json!(false), json!(false), json!(true)]);
    let refused = story.restore("backups", "r", &safe, Some(1)).map(drop).unwrap_err();
    assert!(refused.message.contains("before the partition keys were rotated"), "{refused}");
    assert!(refused.message.contains("the newest copy opens 3"), "{refused}");
    assert!(!story.path("r").exists(), "something was made");
    let unlock = Unlock::IdentityFile(story.path("r.key"));
    let how = Recover { recovery: &safe, passphrase: None, unlock: &unlock, work_factor: 2, dry_run: true };
    let folder = story.path("backups");
    let dry = Restore { folder: &folder, number: Some(1), keyring: None, how };
    assert!(restore(&Home::at(story.path("r")), &dry, &*story.clock, &mut |_| {}).is_err(), "a dry run knew better");
    // An archive whose keys are gone, as the newest one: by another folder's keyring from after the rotation.
    let keyring = fs::read(folder.join(manifest::KEYRING))?;
    let mut manifest = Manifest::expect(&folder)?;
    manifest.archives.truncate(1);
    manifest.write(&folder)?;
    fs::write(folder.join(manifest::KEYRING), keyring)?;
    let looked = verify::verify(&folder, Some(&safe), &mut |_| {})?;
    let keyring = looked.as_array().and_then(|rows| rows.last()).ok_or("a keyring")?;
    assert_eq!((&keyring["id"], &keyring["ok"]), (&json!("keyring"), &json!(false)), "{looked}");
    Ok(())
}

fn rows(node: &Node) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Box<dyn std::error::Error>> {
    let (frozen, mut all) = (node.holdings.freeze()?, BTreeMap::new());
    loop {
        let after: Option<Vec<u8>> = all.last_key_value().map(|(key, _): (&Vec<u8>, &Vec<u8>)| key.clone());
        let page: Vec<Row> = frozen.rows(after.as_deref(), 7)?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// An item with a photograph, and whatever the import of it leaves.
fn work(story: &Story, node: &Node, number: &str) -> Outcome {
    testkit::release(story.folder.path(), node, number)?;
    let record = crate::records::keep::at(node, 0)?.ok_or("a record")?.0;
    testkit::file(node, record, &format!("{number}-P"), number.as_bytes())?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Outcome {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Story: after a rotation a backup is cut off when the newer keyring stands beside the archives, and its own archive does
/// not count yet. What counts is opened by the keyring before, until the next backup counts.
#[test]
fn a_cut_between_keyring_and_manifest_leaves_what_counts_open() -> Outcome {
    let story = Story::new()?;
    let a = testkit::node(story.folder.path(), "a", &story.clock)?;
    work(&story, &a, "A-1")?;
    let safe = story.recovery("a")?;
    story.back_up(&a, "backups", false)?;
    for partition in a.holdings.keyring().partitions() {
        a.holdings.rotate_partition(partition)?;
    }
    while crate::keys::keyring::go_on(&a)? {}
    assert!(a.holdings.keyring().rotating().is_empty());
    let folder = story.path("backups");
    let newer = fs::read(a.holdings.keyring().recovery_copy().ok_or("a copy")?)?;
    for _ in 0..2 {
        let known = Manifest::expect(&folder)?;
        backup::folder::keep_keyring(&folder, known.archives.last(), &newer)?;
        fs::write(folder.join(manifest::KEYRING), &newer)?;
    }
    story.restore("backups", "cut", &safe, None)?;
    let cut = story.open("cut")?;
    let found = ask(&cut, &Call::Check { sweep: false })?;
    assert!(found.as_array().ok_or("parts")?.iter().all(|part| part["ok"] == true), "{found}");
    story.back_up(&a, "backups", false)?;
    assert!(!folder.join(manifest::KEYRING_BEFORE).exists());
    story.restore("backups", "whole", &safe, None)?;
    let whole = ask(&story.open("whole")?, &Call::Check { sweep: false })?;
    assert!(whole.as_array().ok_or("parts")?.iter().all(|part| part["ok"] == true), "{whole}");
    Ok(())
}

/// Story: a node is backed up, its keys are rotated, and it is backed up again while files are sealed anew, and once more
/// after that. What lies in the archives is opened by the keyring beside them each time; a rotation does not end while a
/// copy is made.
#[test]
fn a_backup_after_a_rotation_has_what_its_keyring_opens() -> Outcome {
    let story = Story::new()?;
    let a = testkit::node(story.folder.path(), "a", &story.clock)?;
    work(&story, &a, "A-1")?;
    let safe = story.recovery("a")?;
    let is_full = |made: &Json| made["full"].as_bool();
    assert_eq!(is_full(&story.back_up(&a, "backups", false)?), Some(true));
    let partitions = a.holdings.keyring().partitions();
    for partition in &partitions {
        a.holdings.rotate_partition(*partition)?;
    }
    assert_eq!(is_full(&story.back_up(&a, "backups", false)?), Some(true));
    {
        let copying = a.holdings.keyring().copying();
        assert!(!crate::keys::keyring::go_on(&a)?);
        assert_eq!(a.holdings.keyring().rotating(), partitions, "keys were destroyed while a copy was made");
        drop(copying);
    }
    // Files are sealed anew, and the archive that goes on from the one before has them under the older keys.
    assert_eq!(is_full(&story.back_up(&a, "backups", false)?), Some(false));
    story.restore("backups", "during", &safe, None)?;
    assert!(!crate::keys::keyring::go_on(&a)?);
    assert!(a.holdings.keyring().rotating().is_empty());
    assert_eq!(is_full(&story.back_up(&a, "backups", false)?), Some(true));
    work(&story, &a, "A-2")?;
    assert_eq!(is_full(&story.back_up(&a, "backups", false)?), Some(false));
    story.restore("backups", "after", &safe, None)?;
    for handle in ["during", "after"] {
        let node = story.open(handle)?;
        let found = ask(&node, &Call::Check { sweep: false })?;
        assert!(found.as_array().ok_or("parts")?.iter().all(|part| part["ok"] == true), "{handle}: {found}");
    }
    Ok(())
}

/// Story: a node works, is backed up, works on (rows and a file go, others come), is backed up twice more, and its disk is
/// gone. What is put back is every row and file as it was, with not a row that had gone, under a fresh identity; and the
/// check finds nothing. An earlier archive gives what was there then.
#[test]
fn what_is_put_back_is_what_was_there() -> Outcome {
    let story = Story::new()?;
    let a = testkit::node(story.folder.path(), "a", &story.clock)?;
    work(&story, &a, "A-1")?;
    let first = rows(&a)?;
    let full = story.back_up(&a, "backups", false)?;
    assert_eq!((full["full"].as_bool(), full["number"].as_u64()), (Some(true), Some(1)));
    work(&story, &a, "A-2")?;
    let mut txn = a.holdings.begin();
    txn.put(crate::seal::keyring::Partition::Node, crate::store::layout::Table::Meta, b"gone later", b"1")?;
    txn.commit()?;
    let more = story.back_up(&a, "backups", false)?;
    assert_eq!((more["full"].as_bool(), more["number"].as_u64()), (Some(false), Some(2)));
    assert!(more["rows"].as_u64() < full["rows"].as_u64().map(|rows| rows * 3), "{more}");
    assert_eq!(more["files"].as_u64(), Some(1), "of two files one is known: {more}");
    let mut txn = a.holdings.begin();
    txn.delete(crate::seal::keyring::Partition::Node, crate::store::layout::Table::Meta, b"gone later")?;
    txn.commit()?;
    let before = rows(&a)?;
    let last = story.back_up(&a, "backups", false)?;
    assert_eq!(last["gone"].as_u64(), Some(1), "{last}");
    let id = a.keys.org;
    let recovery = story.recovery("a")?;
    drop(a);
    fs::remove_dir_all(story.path("a"))?;

    let done = story.restore("backups", "r", &recovery, None)?;
    assert_eq!(done["restored"], true);
    let r = story.open("r")?;
    assert_eq!(r.keys.org, id);
    let after = rows(&r)?;
    // The mark, what is known of the backup, and events of the journal came; nothing else differs.
    let differs: Vec<_> = before.iter().filter(|(key, value)| after.get(*key) != Some(value)).collect();
    assert!(differs.len() <= 3, "{} rows are others", differs.len());
    assert!(before.keys().all(|key| after.contains_key(key)), "a row is gone");
    let found = ask(&r, &Call::Check { sweep: false })?;
    assert!(found.as_array().ok_or("parts")?.iter().all(|part| part["ok"] == true), "{found}");
    let mark = mark::read(&r.holdings)?.ok_or("a mark")?;
    assert_eq!((mark.number, mark.at, mark.taken), (3, NOW, NOW));
    assert!(mark.position().sequence > 1);
    assert!(!r.home.path().join(crate::bundle::mark::NAME).exists(), "a bundle could be made unasked");
    drop(r);

    story.restore("backups", "old", &recovery, Some(1))?;
    let old = rows(&story.open("old")?)?;
    assert!(first.keys().all(|key| old.contains_key(key)) && old.len() < after.len());
    Ok(())
}

/// Story: files of the backup are missing, cut short, changed, swapped, another organisation's. Each is refused with its
/// name, and no home is made.
#[test]
fn what_is_not_whole_is_not_put_back() -> Outcome {
    let story = Story::new()?;
    let a = testkit::node(story.folder.path(), "a", &story.clock)?;
    let b = testkit::node(story.folder.path(), "b", &story.clock)?;
    for (node, to) in [(&a, "of-a"), (&b, "of-b")] {
        work(&story, node, "A-1")?;
        story.back_up(node, to, false)?;
        work(&story, node, "A-2")?;
        story.back_up(node, to, false)?;
    }
    let recovery = story.recovery("a")?;
    let (one, two) = ("0001-full.age", "0002-more.age");
    type Harm<'a> = &'a dyn Fn(&Path) -> Outcome;
    let cut = |name: &'static str| {
        move |at: &Path| {
            let bytes = fs::read(at.join(name))?;
            Ok(fs::write(at.join(name), &bytes[..bytes.len() - 40])?)
        }
    };
    let flip = |name: &'static str| {
        move |at: &Path| -> Outcome {
            let mut bytes = fs::read(at.join(name))?;
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            Ok(fs::write(at.join(name), bytes)?)
        }
    };
    // The digests are made to fit, as somebody would who can write the folder.
    let fitting = |at: &Path, of: &str, name: &str| -> Outcome {
        let mut manifest = Manifest::expect(at)?;
        let bytes = fs::read(at.join(name))?;
        for archive in manifest.archives.iter_mut().filter(|archive| archive.file == of) {
            archive.sha256 = hex::encode(entente_protocol::primitive::sha256(&[&bytes]));
            archive.bytes = bytes.len() as u64;
        }
        Ok(manifest.write(at)?)
    };
    let of_b = story.path("of-b");
    let foreign = |at: &Path| -> Outcome {
        fs::copy(of_b.join(two), at.join(two))?;
        fitting(at, two, two)
    };
    let swapped = |at: &Path| -> Outcome {
        fs::rename(at.join(one), at.join("x"))?;
        fs::rename(at.join(two), at.join(one))?;
        fs::rename(at.join("x"), at.join(two))?;
        fitting(at, one, one)?;
        fitting(at, two, two)
    };
    let left_out = |at: &Path| -> Outcome {
        let mut manifest = Manifest::expect(at)?;
        manifest.archives[1].full = true;
        manifest.archives[1].file = "0002-full.age".to_owned();
        fs::rename(at.join(two), at.join("0002-full.age"))?;
        Ok(manifest.write(at)?)
    };
    let forged = |at: &Path| -> Outcome {
        // Anybody can seal to a recipient: an archive without a header convinces nobody.
        let written = Writer::create(&at.join(two), &[&recovery.recipient()])?.finish()?;
        written.publish()?;
        fitting(at, two, two)
    };
    let harms: [(&str, Harm<'_>); 14] = [
        ("cannot be read", &|at| Ok(fs::remove_file(at.join(one))?)),
        ("cannot be read", &|at| Ok(fs::remove_file(at.join(two))?)),
        ("is cut short", &cut(one)),
        ("is cut short", &cut(two)),
        ("was changed", &flip(one)),
        ("was changed", &flip(two)),
        ("is sealed to others", &foreign),
        ("another archive than", &swapped),
        ("another archive than", &left_out),
        ("is damaged", &forged),
        ("holds no backup", &|at| Ok(fs::remove_file(at.join(manifest::NAME))?)),
        ("is damaged", &cut(manifest::NAME)),
        ("the keyring of the backup does not open", &|at| Ok(fs::remove_file(at.join(manifest::KEYRING))?)),
        ("the keyring of the backup does not open", &|at| {
            fs::copy(of_b.join(manifest::KEYRING), at.join(manifest::KEYRING))?;
            Ok(())
        }),
    ];
    for (n, (says, harm)) in harms.iter().enumerate() {
        let name = format!("harmed-{n}");
        copy(&story.path("of-a"), &story.path(&name))?;
        harm(&story.path(&name))?;
        let refused = story.restore(&name, "r", &recovery, None).map(drop).unwrap_err();
        assert!(refused.message.contains(says), "{n}: {refused}");
        assert!(!story.path("r").exists(), "{n}: something was made");
    }
    let other = story.recovery("b")?;
    let refused = story.restore("of-a", "r", &other, None).map(drop).unwrap_err();
    assert!(refused.message.contains("is sealed to others"), "{refused}");
    // Nothing was wrong with the backup itself.
    story.restore("of-a", "r", &recovery, None)?;
    // A home, and any folder that is not empty, is left as it is.
    let refused = story.restore("of-a", "r", &recovery, None).map(drop).unwrap_err();
    assert!(refused.message.contains("is a home already"), "{refused}");
    fs::create_dir(story.path("full"))?;
    fs::write(story.path("full").join("letter.odt"), "mine")?;
    let refused = story.restore("of-a", "full", &recovery, None).map(drop).unwrap_err();
    assert!(refused.message.contains("is not empty"), "{refused}");
    assert_eq!(fs::read_dir(story.path("full"))?.count(), 1);
    // Nor does one organisation's backup go among another's.
    let refused = story.back_up(&b, "of-a", false).map(drop).unwrap_err();
    assert!(refused.message.contains("holds backups of another organisation"), "{refused}");
    let inside = backup::backup(&a, &a.home.path().join("backups"), false, &mut |_| {}).map(drop).unwrap_err();
    assert!(inside.message.contains("lies in the home"), "{inside}");
    Ok(())
}

/// Story: the machine went off in the midst of a backup, and in the midst of a restore. What was left is begun anew.
#[test]
fn what_a_crash_left_is_begun_anew() -> Outcome {
    let story = Story::new()?;
    let a = testkit::node(story.folder.path(), "a", &story.clock)?;
    story.back_up(&a, "backups", false)?;
    let at = story.path("backups");
    let known = |name: &str| at.join(name).exists();
    fs::write(at.join("0002-more.age.0123456789abcdef.tmp"), "half")?;
    fs::write(at.join("0002-full.age"), "never named")?;
    fs::write(at.join("letter.tmp"), "somebody's")?;
    let again = story.back_up(&a, "backups", false)?;
    assert_eq!((again["number"].as_u64(), again["full"].as_bool()), (Some(2), Some(false)));
    assert!(!known("0002-more.age.0123456789abcdef.tmp") && !known("0002-full.age") && known("letter.tmp"));
    // Without what tells what the archives hold, the next one is full.
    fs::remove_file(at.join("0002-rows.index"))?;
    assert_eq!(story.back_up(&a, "backups", false)?["full"].as_bool(), Some(true));
    assert_eq!(story.back_up(&a, "backups", true)?["full"].as_bool(), Some(true));

    let recovery = story.recovery("a")?;
    drop(a);
    let home = story.path("r");
    fs::create_dir_all(home.join("store"))?;
    fs::create_dir_all(home.join("keys.restored"))?;
    fs::write(home.join(UNFINISHED), "")?;
    story.restore("backups", "r", &recovery, None)?;
    assert!(!home.join(UNFINISHED).exists() && !home.join("keys.restored").exists());
    drop(story.open("r")?);
    Ok(())
}

/// Story: an agreement is erased after a backup. A later backup into the same folder has a keyring without its keys: what is
/// put back, from the earlier archive too, opens nothing of it. With a copy of the older keyring it opens, and is told.
#[test]
fn what_was_erased_is_not_opened_by_a_later_keyring() -> Outcome {
    use crate::seal::keyring::Partition;
    use entente_protocol::id::AgreementId;
    let story = Story::new()?;
    let a = testkit::node(story.folder.path(), "a", &story.clock)?;
    let agreement = AgreementId::from_bytes([7; 16]);
    a.holdings.ensure_partition(Partition::Agreement(agreement))?;
    story.back_up(&a, "backups", false)?;
    let older = story.path("older.age");
    fs::copy(story.path("backups").join(manifest::KEYRING), &older)?;
    a.holdings.keyring().destroy_partition(Partition::Agreement(agreement))?;
    story.back_up(&a, "backups", false)?;
    let recovery = story.recovery("a")?;
    drop(a);
    for number in [Some(1), None] {
        let home = format!("r-{}", number.unwrap_or_default());
        let done = story.restore("backups", &home, &recovery, number)?;
        assert_eq!(done["opens"], serde_json::json!([]));
        assert!(story.open(&home)?.holdings.keyring().is_erased(Partition::Agreement(agreement)));
    }
    let unlock = Unlock::IdentityFile(story.path("o.key"));
    let how = Recover { recovery: &recovery, passphrase: None, unlock: &unlock, work_factor: 2, dry_run: false };
    let folder = story.path("backups");
    let what = Restore { folder: &folder, number: Some(1), keyring: Some(&older), how };
    let done = restore(&Home::at(story.path("o")), &what, &*story.clock, &mut |_| {})?;
    assert_eq!(done["opens"], serde_json::json!([agreement.to_string()]));
    assert_eq!(mark::read(&story.open("o")?.holdings)?.ok_or("mark")?.agreements, [agreement]);
    Ok(())
}
