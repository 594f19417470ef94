//! Keys over time, through the program and over the wire: rotated while nodes run, stolen, attested anew.
//!
//! Stories in which weeks pass are told inside the node's crate: a process cannot be given another clock.

use entente_tests::{Home, items_clause};
use serde_json::Value;
use std::{error::Error, fs, path::Path};

type Outcome = Result<(), Box<dyn Error>>;

const FIELDS: &[&str] = &["number", "eval", "type", "serial", "serial-prefix", "serial-state"];

const HEADER: &str = "number,case,date,type,make,model,calibre,serial,marks,year,country_of_make,place,country,region,lat,lon,\
custody,recovered_from,collector,condition,notes,photos\n";

fn partners(folder: &Path) -> (Home, Home) {
    let (a, b) = (Home::init(folder, "a"), Home::init(folder, "b"));
    a.pair(&b);
    let _agreed = a.agree(&b, &items_clause(FIELDS));
    (a, b)
}

/// Brings one item in and lets it go.
fn release(home: &Home, number: &str) -> Outcome {
    let row =
        "C-1,2026-02-03,pistol,Works,M1,9x19,SN 1,,1990,Croatia,Here,Chad,Lac,13.4,14.6,Court,cache,X,serviceable,,";
    let table = home.path(&format!("{number}.csv"));
    fs::write(&table, format!("{HEADER}{number},{row}\n"))?;
    home.ok(&["import", &table]);
    home.ok(&["review", number, "--state", "reviewed"]);
    home.ok(&["release", number]);
    Ok(())
}

/// What a home received, and whether each is suspect.
fn received(home: &Home) -> Vec<(String, bool)> {
    let found = home.json(&["search", "--received"]);
    let one = |r: &Value| (r["number"].as_str().unwrap_or_default().to_owned(), r["suspect"].is_string());
    let mut all: Vec<_> = found.as_array().into_iter().flatten().map(one).collect();
    all.sort();
    all
}

fn key_of(home: &Home, purpose: &str) -> String {
    let keys = home.json(&["key", "list"]);
    let is = |row: &&Value| row["purpose"] == purpose && row["state"] == "in use";
    keys.as_array().into_iter().flatten().find(is).and_then(|row| row["id"].as_str()).unwrap_or_default().to_owned()
}

/// Story: an office rotates its keys while its node and its partner's run. Nobody does anything at the partner, and nothing
/// that was shared is doubted. A key that turns out stolen makes suspect what it signed, until somebody has looked at it.
#[test]
fn keys_are_rotated_and_revoked_while_nodes_run() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (mut a, mut b) = partners(folder.path());
    let id = a.json(&["identity", "show"])["id"].clone();
    a.start();
    b.start();
    release(&a, "A-1")?;
    a.ok(&["sync", "b"]);
    for purpose in ["runs", "agreements", "users", "log", "witness", "issuing", "node", "root"] {
        if purpose == "root" {
            // The node's key waits for its turn, and one change of certificates is made at a time.
            assert!(!a.run(&["key", "rotate", "root", "--dry-run"]).status.success());
            continue;
        }
        let before = a.json(&["identity", "show"])["card"].clone();
        let would = a.json(&["key", "rotate", purpose, "--dry-run"]);
        assert_eq!((&would["done"], &would["partners"][0]["partner"]), (&false.into(), &"b".into()), "{would}");
        assert_eq!(a.json(&["identity", "show"])["card"], before);
        let done = a.json(&["key", "rotate", purpose, "--yes"]);
        assert_eq!(done["done"], true, "{purpose}: {done}");
    }
    release(&a, "A-2")?;
    a.ok(&["sync", "b"]);
    assert_eq!(received(&b), [("A-1".to_owned(), false), ("A-2".to_owned(), false)]);
    for number in ["A-1", "A-2"] {
        assert_eq!(b.json(&["record", "verify", number])["ok"], true);
    }
    assert_eq!(a.json(&["identity", "show"])["id"], id);

    let stolen = key_of(&a, "records");
    let args = ["key", "revoke", &stolen, "--reason", "laptop stolen", "--since", "2020-01-01"];
    let would = a.json(&[&args[..], &["--dry-run"]].concat());
    // Each row of the table makes some more than the item.
    assert!(would["suspect_records"].as_u64().is_some_and(|count| count >= 2), "{would}");
    a.ok(&[&args[..], &["--yes"]].concat());
    a.ok(&["sync", "b"]);
    assert_eq!(received(&b), [("A-1".to_owned(), true), ("A-2".to_owned(), true)]);
    assert_ne!(key_of(&a, "records"), stolen);
    a.ok(&["key", "reattest", "--by", "A. Diallo", "--yes"]);
    a.ok(&["sync", "b"]);
    assert_eq!(received(&b), [("A-1".to_owned(), false), ("A-2".to_owned(), false)]);

    let rotated = b.json(&["keyring", "rotate", "--yes"]);
    assert_eq!(rotated["done"], true, "{rotated}");
    release(&a, "A-3")?;
    a.ok(&["sync", "b"]);
    assert_eq!(received(&b).len(), 3);
    a.ok(&["identity", "contact", "add", "A. Diallo", "--role", "head of section"]);
    assert_eq!(a.json(&["identity", "contact", "list"])[0]["name"], "A. Diallo");
    for home in [&a, &b] {
        home.ok(&["check"]);
    }
    Ok(())
}

/// Story: the head of section leaves, and her deputy sits at a new home, whose card lists nobody. Each attempt says what is
/// missing before anybody is asked; nothing changes before somebody has said yes to the card that was shown.
#[test]
fn whom_partners_call_is_succeeded_once_somebody_says_yes() -> Outcome {
    let folder = tempfile::tempdir()?;
    let a = Home::init(folder.path(), "a");
    let succeed = ["identity", "contact", "succeed", "A. Diallo", "--to", "M. Osei", "--role", "head of section"];
    let with = |more: &[&'static str]| [&succeed[..], more].concat();
    let names = || -> Vec<String> {
        let list = a.json(&["identity", "contact", "list"]);
        list.as_array().into_iter().flatten().filter_map(|c| c["name"].as_str().map(str::to_owned)).collect()
    };
    for more in [&[][..], &["--yes"], &["--dry-run"]] {
        let refused = a.refused(2, &with(more));
        assert_eq!(refused["code"], "no-contact", "{refused}");
        assert!(refused["message"].as_str().is_some_and(|m| m.contains("contact add \"A. Diallo\"")), "{refused}");
    }
    a.ok(&["identity", "contact", "add", "Amina Diallo", "--role", "head of section"]);
    let refused = a.refused(2, &succeed);
    assert!(refused["message"].as_str().is_some_and(|m| m.contains("`Amina Diallo`")), "{refused}");
    a.ok(&["identity", "contact", "retire", "Amina Diallo"]);
    a.ok(&["identity", "contact", "add", "A. Diallo", "--role", "head of section"]);
    let card = a.json(&["identity", "show"])["card"].clone();
    assert_eq!(a.refused(2, &succeed)["code"], "needs-consent");
    let would = a.json(&with(&["--dry-run"]));
    assert_eq!((&would["contacts"][0]["name"], &would["done"]), (&"M. Osei".into(), &false.into()), "{would}");
    assert_eq!((names(), a.json(&["identity", "show"])["card"].clone()), (vec!["A. Diallo".to_owned()], card));
    let done = a.json(&with(&["--yes"]));
    assert_eq!((names(), &done["done"]), (vec!["M. Osei".to_owned()], &true.into()));
    Ok(())
}
