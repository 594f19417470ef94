//! What a doctor is told, it says: with whose it is and what to do, on a well home, a neglected one, and a broken one.

use super::{damaged, doctor};
use crate::{
    backup,
    call::Call,
    clock::ManualClock,
    config::Home,
    error::Fault,
    keys::{Ask, revoke::Revoked, rotate::How},
    testkit,
};
use entente_protocol::{
    identity::Purpose,
    time::{DAY_MS, UnixMillis},
};
use serde_json::Value as Json;
use std::{fs, os::unix::fs::PermissionsExt, sync::Arc};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const NOW: UnixMillis = UnixMillis(1_795_305_600_000);

fn level(found: &Json, part: &str) -> String {
    let rows = found.as_array().into_iter().flatten();
    let of = |row: &&Json| row["part"] == part;
    let all: Vec<&str> = rows.filter(of).filter_map(|row| row["level"].as_str()).collect();
    let worst = ["trouble", "warning", "ok"].into_iter().find(|level| all.contains(level));
    worst.unwrap_or("nothing").to_owned()
}

/// Story: a home is new, then backed up, then neglected for a month, then a key file is left open to everybody.
#[test]
fn a_home_that_is_neglected_is_told_so() -> Outcome {
    let folder = tempfile::tempdir()?;
    let clock = Arc::new(ManualClock::at(NOW));
    let (a, b) = (testkit::node(folder.path(), "a", &clock)?, testkit::node(folder.path(), "b", &clock)?);
    let found = doctor(&a, false)?;
    for (part, is) in [
        ("keys", "ok"),
        ("store", "ok"),
        ("files", "ok"),
        ("clock", "ok"),
        ("backup", "warning"),
        ("last check", "warning"),
        ("recovery file", "warning"),
        ("partner b", "nothing"),
    ] {
        assert_eq!(level(&found, part), is, "{part}: {found}");
    }
    assert!(found.as_array().ok_or("rows")?.iter().all(|row| row["ok"] == true));
    for row in found.as_array().ok_or("rows")?.iter().filter(|row| row["level"] != "ok") {
        assert!(row["do"].as_str().is_some_and(|says| says.ends_with('.')) && row["whose"].is_string(), "{row}");
    }
    backup::backup(&a, &folder.path().join("backups"), false, &mut |_| {})?;
    testkit::ask(&a, &crate::call::Call::Check { sweep: false })?;
    fs::remove_file(a.home.recovery())?;
    let found = doctor(&a, true)?;
    assert_eq!((level(&found, "last check"), level(&found, "recovery file")), ("ok".to_owned(), "ok".to_owned()));
    // On the disk of the home it would be lost with it.
    assert_eq!(level(&found, "backup"), "warning");
    // Keys of an agreement that no copy has, and the days.
    testkit::pair(&a, &b)?;
    testkit::agree(folder.path(), &a, &b, &testkit::agreement("2036-12-31"))?;
    testkit::exchange(&a, &b)?;
    clock.advance(30 * DAY_MS);
    // A partner's key that gives way to another ends in good order.
    let how = How { dry_run: false, now: false, next_root_lost: false };
    testkit::ask(&b, &Call::Keys(Ask::Rotate { purpose: Purpose::Node, how }))?;
    testkit::exchange(&a, &b)?;
    assert!(a.book().card(b.keys.org).is_some_and(|card| card.payload().number == 2));
    let found = doctor(&a, false)?.to_string();
    assert!(!found.contains("a key on its card ends"), "{found}");
    assert!(found.contains("the keys of 1 agreements are in no copy") && found.contains("30 days old"), "{found}");
    assert!(found.contains("it was not met yet") || found.contains("it was last met"), "{found}");
    // What a copy from before does not have, and what a stolen key leaves to look at.
    assert!(!found.contains("keys or contacts were changed"), "{found}");
    testkit::release(folder.path(), &a, "A-1")?;
    let key = a.keys.records.public().id().to_string();
    let revoked = Revoked { key, reason: "stolen".to_owned(), since: Some(NOW), dry_run: false, next_root_lost: false };
    testkit::ask(&a, &Call::Keys(Ask::Revoke(revoked)))?;
    let found = doctor(&a, false)?.to_string();
    assert!(
        found.contains("keys or contacts were changed") && found.contains("records of ours are suspect"),
        "{found}"
    );
    testkit::ask(&a, &Call::Keys(Ask::Reattest { by: "M. Osei".to_owned(), dry_run: false }))?;
    assert!(!doctor(&a, false)?.to_string().contains("are suspect"));
    fs::set_permissions(a.home.keys().join("runs.age"), fs::Permissions::from_mode(0o644))?;
    let found = doctor(&a, true)?;
    assert_eq!(level(&found, "keys"), "trouble");
    assert!(found.as_array().ok_or("rows")?.iter().any(|row| row["ok"] == false));
    Ok(())
}

/// Story: of a home nearly everything is gone, piece by piece. It is always told, and nothing panics.
#[test]
fn a_broken_home_gets_what_can_be_said() -> Outcome {
    let folder = tempfile::tempdir()?;
    let home = testkit::init(folder.path(), "a", NOW)?;
    let why = Fault::setup("keyring", "it does not open");
    let harms: [(&str, &str); 6] = [
        ("keys", "keys/runs.age"),
        ("keys", "keys/recovery.recipient"),
        ("store", "store/engine"),
        ("card", "organisation.card"),
        ("settings", "entente.toml"),
        ("keys", "keys"),
    ];
    for (part, gone) in harms {
        let path = home.path().join(gone);
        if path.is_dir() {
            fs::remove_dir_all(&path)?
        } else {
            fs::remove_file(&path)?
        }
        let found = damaged(&home, &why);
        assert_eq!(level(&found, part), "trouble", "{gone}: {found}");
        assert_eq!(level(&found, "opening"), "trouble");
    }
    fs::write(home.config(), [0xff, 0xfe])?;
    fs::create_dir(home.keys())?;
    fs::write(home.keys().join("runs.age"), "not sealed")?;
    assert!(damaged(&home, &why).to_string().contains("not sealed"));
    assert!(damaged(&Home::at(folder.path().join("nowhere")), &why).to_string().contains("opening"));
    Ok(())
}
