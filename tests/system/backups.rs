//! The drill: a node is backed up while it runs, its disk is lost, and with the recovery file alone it comes back and goes
//! on with its partner; an old backup, a wrong passphrase, and a kill at any moment.

use entente_tests::{Home, ended, entente, items_clause, persons_passphrase, recovery_passphrase, run, until};
use serde_json::Value;
use std::{
    error::Error,
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

type Outcome = Result<(), Box<dyn Error>>;

const FIELDS: &[&str] = &["number", "eval", "type", "serial", "serial-prefix", "serial-state"];
const HEAD: &str = "number,case,date,type,make,model,calibre,serial,marks,year,country_of_make,place,country,region,lat,lon,\
custody,recovered_from,collector,condition,notes,photos\n";

fn item(home: &Home, n: u32) {
    let row = format!(
        "A-{n},C-1,2026-02-03,pistol,Works,M1,9x19,SN {n},,1990,Croatia,Here,Chad,Lac,13.4,14.6,Court,cache,X,serviceable,,\n"
    );
    home.import(&format!("rows-{n}.csv"), &format!("{HEAD}{row}"));
    home.pass(&[&format!("A-{n}")]);
}

fn numbers(home: &Home) -> Vec<String> {
    let mut all: Vec<String> =
        home.received().iter().map(|r| r["number"].as_str().unwrap_or_default().to_owned()).collect();
    all.sort();
    all
}

/// Both run, and have an agreement in force.
fn partners(folder: &Path) -> Result<(Home, Home), Box<dyn Error>> {
    let (mut a, mut b) = (Home::init(folder, "a"), Home::init(folder, "b"));
    // As OPERATING says: off the machine at once.
    fs::rename(a.path("a/recovery.age"), a.path("safe.age"))?;
    a.pair(&b);
    let _agreed = a.agree(&b, &items_clause(FIELDS));
    a.start();
    b.start();
    Ok((a, b))
}

/// The disk of `a` is lost, and what unlocked it.
fn lose(a: &mut Home) -> Outcome {
    a.kill();
    fs::remove_dir_all(a.path("a"))?;
    Ok(fs::remove_file(a.path("a.key"))?)
}

fn restore(a: &Home, more: &[&str]) -> Value {
    let (backups, safe, apart) = (a.path("backups"), a.path("safe.age"), a.recovery_passphrase());
    let args = ["restore", &backups, "--recovery-file", &safe, "--recovery-passphrase-file", &apart];
    let done = a.json(&[&args, more].concat());
    assert_eq!((&done["restored"], &done["whole"]), (&Value::Bool(true), &Value::Bool(true)), "{done}");
    done
}

/// Meets the partner until the two have one history again.
fn meet(a: &Home, b: &Home) {
    until("the feed goes on", || {
        let _ = a.run(&["sync", b.handle]);
        let feed = a.feed(b);
        feed["stopped"].is_null() && feed["sent"] == feed["acknowledged"] && feed["sent"] == b.feed(a)["received"]
    });
}

fn findings(home: &Home, part: &str) -> Vec<String> {
    let output = home.run(&["--json", "doctor"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let rows = found.as_array().cloned().unwrap_or_default();
    rows.iter()
        .filter(|row| row["part"] == part)
        .map(|row| row["says"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// Story: the drill. Two backups while the node runs; one record more, which the partner has countersigned; the disk is
/// gone. Everything up to the backup is back, the feed goes on behind what the partner holds, what was lost is told, and
/// both sides' stores are whole.
#[test]
fn a_lost_disk_is_put_back_and_the_node_goes_on() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (mut a, mut b) = partners(folder.path())?;
    let backups = a.path("backups");
    item(&a, 1);
    let _ = a.sync(&b);
    let full = a.json(&["backup", &backups]);
    item(&a, 2);
    let _ = a.sync(&b);
    let more = a.json(&["backup", &backups]);
    assert_eq!((&full["full"], &more["full"], &more["number"]), (&true.into(), &false.into(), &2.into()));
    item(&a, 3);
    let _ = a.sync(&b);
    assert_eq!(a.json(&["backup", "list", &backups]).as_array().map(Vec::len), Some(2));
    a.ok(&["backup", "verify", &backups]);
    let before = a.json(&["identity", "show"])["id"].clone();

    lose(&mut a)?;
    restore(&a, &[]);
    assert_eq!(a.json(&["identity", "show"])["id"], before);
    a.start();
    meet(&a, &b);
    item(&a, 4);
    meet(&a, &b);
    assert_eq!(numbers(&b), ["A-1", "A-2", "A-3", "A-4"]);
    assert_eq!(
        a.json(&["search", "--kind", "item"]).as_array().map(Vec::len),
        Some(3),
        "all but what came after the backup"
    );
    let told = findings(&a, "partner b").join("; ");
    assert!(told.contains("it holds 1 records of ours"), "{told}");
    assert!(findings(&a, "restore").iter().any(|says| says.contains("put back on")));
    a.ok(&["backup", &backups]);
    a.stop();
    b.stop();
    a.ok(&["check"]);
    b.ok(&["check"]);
    Ok(())
}

/// Story: the newest archive is damaged, so an old one is put back. The partner holds three runs that it does not know: they
/// come back one after the other, and the feed goes on. The older home was not restored with a wrong passphrase.
#[test]
fn an_old_backup_is_put_back_and_nothing_forks() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (mut a, b) = partners(folder.path())?;
    let backups = a.path("backups");
    a.ok(&["backup", &backups]);
    for n in 1..=3 {
        item(&a, n);
        let _ = a.sync(&b);
    }
    a.ok(&["backup", &backups]);
    let cut = a.path("backups/0002-more.age");
    let bytes = fs::read(&cut)?;
    fs::write(&cut, &bytes[..bytes.len() / 2])?;
    assert_eq!(a.run(&["backup", "verify", &backups]).status.code(), Some(5));
    lose(&mut a)?;
    let (safe, apart) = (a.path("safe.age"), a.recovery_passphrase());
    let refused = |passphrase: &str, says: &str| {
        let args = ["restore", &backups, "--recovery-file", &safe, "--recovery-passphrase-file", passphrase];
        let output = a.run(&args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(says), "{said}");
        assert!(!Path::new(&a.path("a")).exists(), "something was made");
    };
    refused(&apart, "cut short");
    let wrong = a.path("wrong");
    fs::copy(&apart, &wrong)?;
    fs::write(&wrong, "six other words for the safe\n")?;
    refused(&wrong, "wrong passphrase");
    restore(&a, &["--number", "1"]);
    a.start();
    item(&a, 4);
    meet(&a, &b);
    meet(&a, &b);
    assert_eq!(numbers(&b), ["A-1", "A-2", "A-3", "A-4"]);
    assert!(findings(&a, "partner b").join("; ").contains("it holds 3 records of ours"));
    a.ok(&["check"]);
    b.ok(&["check"]);
    Ok(())
}

/// Story: a key is rotated after the last backup, and the disk is lost. The partner shows the card that it knows; people take
/// it up at a running node, put a key in the place of the lost one, and share again.
#[test]
fn a_key_that_was_rotated_after_the_backup_is_told_by_a_partner() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (mut a, b) = partners(folder.path())?;
    item(&a, 1);
    let _ = a.sync(&b);
    a.ok(&["backup", &a.path("backups")]);
    a.ok(&["key", "rotate", "records", "--yes"]);
    let number = |of: &Home, partner: &str| of.json(&["partner", "show", partner])["card"].as_u64();
    until("the card is told", || number(&b, "a") == Some(2));
    lose(&mut a)?;
    restore(&a, &[]);
    a.start();
    until("the partner shows the card", || {
        let _ = a.run(&["sync", "b"]);
        findings(&a, "identity").iter().any(|says| says.contains("knows card 2 of ours"))
    });
    b.ok(&["partner", "card", "a", "-o", &b.path("of-a.card")]);
    let of_file = a.json(&["identity", "take-up", "--card", &b.path("of-a.card"), "--dry-run"]);
    let would = a.json(&["identity", "take-up", "--dry-run"]);
    assert_eq!((&would["known"], &would), (&2.into(), &of_file));
    let done = a.json(&["identity", "take-up", "--yes"]);
    assert_eq!((&done["done"], &done["next"][0]), (&true.into(), &"entente key rotate records".into()), "{done}");
    a.ok(&["key", "rotate", "records", "--yes"]);
    let card = done["card"].as_u64().map(|card| card + 1);
    until("the card that says both is told", || number(&b, "a") == card);
    assert!(findings(&a, "identity").iter().all(|says| !says.contains("knows card")));
    item(&a, 2);
    meet(&a, &b);
    assert_eq!(numbers(&b), ["A-1", "A-2"]);
    assert_eq!(b.json(&["record", "verify", "A-2"])["ok"], true);
    Ok(())
}

/// Story: an office of persons, each with a key of their own. What is put back is checked without any of them, and each acts
/// there as before with their own passphrase.
#[test]
fn persons_act_in_a_home_that_was_put_back() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (mut a, b) = partners(folder.path())?;
    let phrase = persons_passphrase(folder.path(), "osei");
    a.ok(&["user", "add", "Osei", "--role", "administrator", "--role", "reviewer", "--new-passphrase-file", &phrase]);
    a.ok(&["backup", &a.path("backups")]);
    lose(&mut a)?;
    let (safe, apart) = (a.path("safe.age"), a.recovery_passphrase());
    let output =
        a.run(&["restore", &a.path("backups"), "--recovery-file", &safe, "--recovery-passphrase-file", &apart]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("next: see that the old home runs nowhere"), "{said}");
    assert_eq!(a.refused(2, &["search"])["code"], "needs-user");
    let as_osei = ["--user", "Osei", "--user-passphrase-file", &phrase];
    let listed = a.json(&[&as_osei[..], &["user", "list"]].concat());
    assert_eq!(listed[0]["name"], "Osei", "{listed}");
    a.start();
    let _ = b.run(&["sync", "a"]);
    a.ok(&[&as_osei[..], &["search"]].concat());
    Ok(())
}

/// Begins the program and kills it after a while, as a power switch would.
fn killed_after(args: &[&str], wait: Duration) -> Outcome {
    let mut child = Command::new(entente())
        .args(args)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    thread::sleep(wait);
    let _ = child.kill();
    ended(&mut child)?;
    Ok(())
}

/// Story: the machine goes off during a backup, and during a restore, at whatever moment. The folder of backups is whole
/// each time, a home is there or not, and the next attempt succeeds.
#[test]
fn a_kill_leaves_no_half_backup_and_no_half_home() -> Outcome {
    let folder = tempfile::tempdir()?;
    let a = Home::init(folder.path(), "a");
    item(&a, 1);
    let (home, key, backups) = (a.path("a"), a.path("a.key"), a.path("backups"));
    for n in 0..8 {
        killed_after(
            &["--home", &home, "--identity-file", &key, "backup", &backups],
            Duration::from_millis(8 * n + 10),
        )?;
        let verified = run(&["backup", "verify", &backups], &[]);
        let none = String::from_utf8_lossy(&verified.stderr).contains("holds no backup");
        assert!(verified.status.success() || none, "{n}: {}", String::from_utf8_lossy(&verified.stdout));
    }
    a.ok(&["backup", &backups]);
    a.ok(&["check"]);
    let (safe, apart) = (a.path("a/recovery.age"), recovery_passphrase(folder.path()).display().to_string());
    let (to, new) = (a.path("r"), a.path("r.key"));
    let args = [
        "--home",
        &to,
        "--identity-file",
        &new,
        "restore",
        &backups,
        "--recovery-file",
        &safe,
        "--recovery-passphrase-file",
        &apart,
    ];
    let took = {
        let begun = std::time::Instant::now();
        assert!(run(&args, &[]).status.success());
        begun.elapsed()
    };
    fs::remove_dir_all(&to)?;
    for n in 0..8u32 {
        killed_after(&args, took * (n + 4) / 12)?;
        let home = Path::new(&to);
        if home.join("entente.toml").exists() {
            // It had come to its end.
            assert!(run(&["--home", &to, "--identity-file", &new, "check"], &[]).status.success(), "{n}");
            fs::remove_dir_all(home)?;
        } else {
            assert_eq!(run(&["--home", &to, "status"], &[]).status.code(), Some(3), "{n}: half a home");
        }
    }
    let done = run(&args, &[]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}
