//! A node over its life, through the program: its own red lines, a new address, a lost secret, a removed partner.
//!
//! Stories in which the clock moves are told inside the node's crate: a process cannot be given another clock.

use entente_tests::{Home, items_clause, recovery_passphrase};
use serde_json::Value;
use std::{error::Error, fs, os::unix::fs::OpenOptionsExt, path::Path};

type Outcome = Result<(), Box<dyn Error>>;

const FIELDS: &[&str] = &["number", "eval", "type", "serial", "serial-prefix", "serial-state"];

const ROWS: &str = "number,case,date,type,make,model,calibre,serial,marks,year,country_of_make,place,country,region,lat,lon,\
custody,recovered_from,collector,condition,notes,photos\n\
A-1,C-1,2026-02-03,pistol,Works,M1,9x19,SN 1,,1990,Croatia,Here,Chad,Lac,13.4,14.6,Court,cache,X,serviceable,,\n\
A-2,C-1,2026-02-03,rifle,Works,M1,9x19,SN 2,,1990,Croatia,Here,Chad,Lac,13.4,14.6,Court,cache,X,serviceable,,\n";

/// Two partners with an agreement in force, and two items that were let go.
fn partners(folder: &Path) -> Result<(Home, Home), Box<dyn Error>> {
    let (a, b) = (Home::init(folder, "a"), Home::init(folder, "b"));
    a.pair(&b);
    let _agreed = a.agree(&b, &items_clause(FIELDS));
    fs::write(a.path("rows.csv"), ROWS)?;
    a.ok(&["import", &a.path("rows.csv")]);
    a.ok(&["review", "A-1", "A-2", "--state", "reviewed"]);
    a.ok(&["release", "A-1", "A-2"]);
    Ok((a, b))
}

/// What a home received, as `number state`.
fn received(home: &Home) -> Vec<String> {
    let found = home.json(&["search", "--received"]);
    let records = found.as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |r: &Value, key: &str| r[key].as_str().unwrap_or_default().to_owned();
    let mut all: Vec<String> =
        records.iter().map(|r| format!("{} {}", text(r, "number"), text(r, "state")).trim().to_owned()).collect();
    all.sort();
    all
}

/// Writes into a home's settings, above what is there.
fn set(home: &Home, line: &str) -> Outcome {
    let path = format!("{}/entente.toml", home.path(home.handle));
    let text = fs::read_to_string(&path)?;
    let key = line.split('=').next().unwrap_or_default();
    let kept: Vec<&str> = text.lines().filter(|l| !l.starts_with(key)).collect();
    Ok(fs::write(&path, format!("{line}\n{}\n", kept.join("\n")))?)
}

/// Runs a command that must be refused with an exit code, and returns what it said.
fn refused(home: &Home, args: &[&str], code: i32) -> String {
    let output = home.run(args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    said
}

/// Story: two items were sent. Then the organisation writes a red line against one of them. A line with a mistake stops
/// the node with file and line; the corrected one withdraws what was sent, and `explain` names it.
#[test]
fn a_red_line_withdraws_what_was_sent() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (a, mut b) = partners(folder.path())?;
    b.start();
    a.ok(&["sync", "b"]);
    assert_eq!(received(&b), ["A-1 received", "A-2 received"]);

    let lines = a.path("a/redlines");
    fs::create_dir(&lines)?;
    let file = format!("{lines}/rifles.toml");
    let line = "[[red-line]]\nname = \"no rifles\"\nkinds = [\"item\"]\nwhen = 'resource.number == \"A-2\"'\n";
    fs::write(&file, line.replace("number", "nummer"))?;
    let said = refused(&a, &["status"], 3);
    assert!(said.contains("redlines") && said.contains("red-lines ="), "a folder that nobody reads: {said}");
    set(&a, "red-lines = \"redlines\"")?;
    let said = refused(&a, &["sync", "b"], 3);
    assert!(said.contains("rifles.toml") && said.contains("line 4") && said.contains("nummer"), "{said}");
    fs::write(&file, line)?;
    a.ok(&["redline", "check", &file]);
    assert_eq!(a.json(&["redline", "list"])[0]["id"], "no rifles");

    let explained = a.json(&["explain", "A-2", "--to", "b"]);
    let answer = &explained["agreements"][0];
    assert_eq!((&answer["code"], &answer["red_line"]), (&"red-line".into(), &"no rifles".into()), "{explained}");
    let shown = a.run(&["explain", "A-2", "--to", "b"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("`no rifles`"));
    a.ok(&["sync", "b"]);
    assert_eq!(received(&b), ["A-1 received", "A-2 withdrawn"]);
    Ok(())
}

/// Story: a partner's node moves to another port. It issues a newer card; the partner learns of it in the next session,
/// which the moved node dials, and from then on dials the new address itself.
#[test]
fn a_partner_that_moved_is_found_again() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (mut a, mut b) = partners(folder.path())?;
    a.start();
    let free = std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
    set(&b, &format!("listen = \"{free}\""))?;
    b.ok(&["sync", "a"]);
    let shown = a.json(&["partner", "show", "b"]);
    assert_eq!((&shown["card"], &shown["addresses"][0]), (&2.into(), &free.to_string().into()), "{shown}");
    // Only `a` dials now: `b` knows no address of it that answers.
    a.kill();
    b.start();
    a.ok(&["sync", "b"]);
    assert_eq!(received(&b), ["A-1 received", "A-2 received"]);
    Ok(())
}

/// Story: a certificate is renewed by hand while the node runs, and partners go on as before.
#[test]
fn a_renewed_certificate_serves_without_a_restart() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (a, mut b) = partners(folder.path())?;
    b.start();
    let certificate = || fs::read(b.path("b/keys/tls.der"));
    let before = certificate()?;
    b.ok(&["identity", "renew"]);
    assert_ne!(certificate()?, before);
    a.ok(&["sync", "b"]);
    assert_eq!(received(&b), ["A-1 received", "A-2 received"]);
    Ok(())
}

/// Story: the identity file of a home is lost. With the recovery file it gets another one: it finds its records, signs
/// with its keys, and its partner takes it for what it was.
#[test]
fn a_home_whose_secret_is_lost_serves_again() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (a, mut b) = partners(folder.path())?;
    let id = a.json(&["identity", "show"])["id"].clone();
    fs::rename(a.path("a/recovery.age"), a.path("safe"))?;
    fs::remove_file(a.path("a.key"))?;
    let _ = refused(&a, &["status"], 3);
    let (safe, new) = (a.path("safe"), a.path("new.key"));
    let apart = recovery_passphrase(folder.path()).display().to_string();
    let apart = [("ENTENTE_RECOVERY_PASSPHRASE_FILE", apart.as_str())];
    let recover = |more: &[&str]| {
        let all = ["--home", &a.path("a"), "--identity-file", &new, "--json", "recover", "--recovery-file", &safe];
        entente_tests::run(&[&all[..], more].concat(), &apart)
    };
    let dry: Value = serde_json::from_slice(&recover(&["--dry-run"]).stdout)?;
    assert_eq!((&dry["recovered"], Path::new(&new).exists()), (&false.into(), false), "{dry}");
    let done = recover(&[]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    fs::rename(&new, a.path("a.key"))?;
    assert_eq!(a.json(&["identity", "show"])["id"], id);
    b.start();
    a.ok(&["sync", "b"]);
    assert_eq!(received(&b), ["A-1 received", "A-2 received"]);
    let shown = b.json(&["partner", "show", "a"]);
    assert_eq!(shown["card"], 2, "the card names the new recipient of bundles: {shown}");
    // A passphrase that is too short changes nothing.
    let short = a.path("short");
    let mut options = fs::OpenOptions::new();
    std::io::Write::write_all(&mut options.write(true).create_new(true).mode(0o600).open(&short)?, b"short\n")?;
    let home = a.path("a");
    let all = ["--home", &home, "--passphrase-file", &short, "recover", "--recovery-file", &safe];
    assert_eq!(entente_tests::run(&all, &apart).status.code(), Some(3));
    assert!(a.json(&["status"])["records_own"].as_u64().is_some_and(|n| n > 0));
    Ok(())
}

/// Story: a removed partner is resumed: it needs its words again, and with them it is back. The clock of a node that
/// never stood wrong decides, and there is nothing to lower.
#[test]
fn a_removed_partner_comes_back_by_its_words_alone() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (a, mut b) = partners(folder.path())?;
    b.start();
    a.ok(&["partner", "remove", "b", "--yes"]);
    let said = refused(&a, &["partner", "resume", "b"], 2);
    assert!(said.contains("partner add"), "{said}");
    let words = b.json(&["identity", "show"])["words"].as_str().unwrap_or_default().to_owned();
    a.ok(&["partner", "add", &a.path("b.card"), "--confirm", &words]);
    a.ok(&["sync", "b"]);
    assert_eq!(received(&b), ["A-1 received", "A-2 received"]);

    let clock = a.json(&["clock", "show"]);
    assert_eq!((&clock["decides"], &clock["confirmed_by"]), (&true.into(), &"b".into()), "{clock}");
    let said = refused(&a, &["clock", "lower", "--to", "2026-01-01", "--yes"], 2);
    assert!(said.contains("never lowered"), "{said}");
    let said = refused(&a, &["clock", "lower", "--to", "yesterday", "--yes"], 2);
    assert!(said.contains("write `now`"), "{said}");
    Ok(())
}
