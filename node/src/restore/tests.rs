//! Backup and restore, over real stores: what comes back is what was there; what is not whole comes back not at all.

use super::{Restore, UNFINISHED, mark, restore};
use crate::{
    backup::{
        self,
        archive::Writer,
        manifest::{self, Manifest},
    },
    call::Call,
    clock::ManualClock,
    config::Home,
    error::Fault,
    node::Node,
    recover::Recover,
    seal::hybrid::Identity,
    secret::{recovery, unlock::Unlock},
    store::Row,
    testkit::{self, ask},
};
use entente_protocol::time::UnixMillis;
use serde_json::Value as Json;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

mod cards;
mod rotated;

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
        self.restored((from, to), recovery, number, false)
    }
    fn restored(
        &self,
        (from, to): (&str, &str),
        recovery: &Identity,
        number: Option<u32>,
        dry_run: bool,
    ) -> Result<Json, Fault> {
        let unlock = Unlock::IdentityFile(self.path(&format!("{to}.key")));
        let how = Recover { recovery, passphrase: None, unlock: &unlock, work_factor: 2, dry_run };
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

/// Whether a check finds nothing.
fn is_whole(node: &Node) -> Result<bool, Fault> {
    let found = ask(node, &Call::Check { sweep: false })?;
    Ok(found.as_array().is_some_and(|parts| parts.iter().all(|part| part["ok"] == true)))
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
    assert!(is_whole(&r)?);
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
