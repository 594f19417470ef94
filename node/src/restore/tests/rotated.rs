//! Backups beside rotations of partition keys: what the keyring that stands beside the archives opens, and what it does not.

use super::{Outcome, Story, is_whole, work};
use crate::{
    backup::{
        self,
        manifest::{self, Manifest},
        verify,
    },
    error::Fault,
    keys::keyring::go_on,
    node::Node,
    store::StoreError,
    testkit,
};
use serde_json::{Value as Json, json};
use std::fs;

/// Gives every partition new keys; rows and files are sealed anew behind.
fn rotate(node: &Node) -> Result<(), StoreError> {
    node.holdings.keyring().partitions().into_iter().try_for_each(|one| node.holdings.rotate_partition(one).map(drop))
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
    rotate(&a)?;
    story.back_up(&a, "backups", false)?;
    let opens = || -> Result<Vec<Json>, Fault> {
        let list = verify::list(&story.path("backups"))?;
        Ok(list.as_array().into_iter().flatten().map(|row| row["opens"].clone()).collect())
    };
    assert_eq!(opens()?, [json!(true), json!(true)]);
    while go_on(&a)? {}
    story.back_up(&a, "backups", true)?;
    assert_eq!(opens()?, [json!(false), json!(false), json!(true)]);
    let refused = story.restore("backups", "r", &safe, Some(1)).map(drop).unwrap_err();
    assert!(refused.message.contains("before the partition keys were rotated"), "{refused}");
    assert!(refused.message.contains("the newest copy opens 3"), "{refused}");
    assert!(!story.path("r").exists(), "something was made");
    assert!(story.restored(("backups", "r"), &safe, Some(1), true).is_err(), "a dry run knew better");
    let folder = story.path("backups");
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

/// Story: after a rotation a backup is cut off when the newer keyring stands beside the archives, and its own archive does
/// not count yet. What counts is opened by the keyring before, until the next backup counts.
#[test]
fn a_cut_between_keyring_and_manifest_leaves_what_counts_open() -> Outcome {
    let story = Story::new()?;
    let a = testkit::node(story.folder.path(), "a", &story.clock)?;
    work(&story, &a, "A-1")?;
    let safe = story.recovery("a")?;
    story.back_up(&a, "backups", false)?;
    rotate(&a)?;
    while go_on(&a)? {}
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
    assert!(is_whole(&cut)?);
    story.back_up(&a, "backups", false)?;
    assert!(!folder.join(manifest::KEYRING_BEFORE).exists());
    story.restore("backups", "whole", &safe, None)?;
    assert!(is_whole(&story.open("whole")?)?);
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
    rotate(&a)?;
    assert_eq!(is_full(&story.back_up(&a, "backups", false)?), Some(true));
    {
        let copying = a.holdings.keyring().copying();
        assert!(!go_on(&a)?);
        assert_eq!(a.holdings.keyring().rotating(), partitions, "keys were destroyed while a copy was made");
        drop(copying);
    }
    // Files are sealed anew, and the archive that goes on from the one before has them under the older keys.
    assert_eq!(is_full(&story.back_up(&a, "backups", false)?), Some(false));
    story.restore("backups", "during", &safe, None)?;
    assert!(!go_on(&a)?);
    assert!(a.holdings.keyring().rotating().is_empty());
    assert_eq!(is_full(&story.back_up(&a, "backups", false)?), Some(true));
    work(&story, &a, "A-2")?;
    assert_eq!(is_full(&story.back_up(&a, "backups", false)?), Some(false));
    story.restore("backups", "after", &safe, None)?;
    for handle in ["during", "after"] {
        assert!(is_whole(&story.open(handle)?)?, "{handle}");
    }
    Ok(())
}
