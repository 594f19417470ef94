//! Evidence packages by the real program: own records, whole and in part, and received ones; verified without a home by
//! `entente verify`, and by a second verifier that was written from SPEC alone.

use entente_tests::{Chance, Home, Row, World, entente, items_clause, output};
use serde_json::Value;
use std::{error::Error, fs, path::Path, process::Command};

type Outcome = Result<(), Box<dyn Error>>;

/// A Python with the library that the second verifiers need.
pub fn python() -> Option<String> {
    let named = std::env::var("ENTENTE_TEST_CRYPTOGRAPHY_PYTHON").ok();
    named.into_iter().chain(["python3".to_owned(), "/usr/bin/python3".to_owned()]).find(|python| {
        let script = "from cryptography.hazmat.primitives.asymmetric import ed25519";
        output(Command::new(python).args(["-c", script])).is_ok_and(|asked| asked.status.success())
    })
}

/// What `entente verify` says, in a process that knows no home.
fn verify(file: &str, cards: &[&str]) -> Result<(i32, Value), Box<dyn Error>> {
    let mut command = Command::new(entente());
    command.args(["--json", "verify", file]).env_remove("ENTENTE_HOME");
    for card in cards {
        command.args(["--card", card]);
    }
    let output = output(&mut command)?;
    let said = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
    Ok((output.status.code().unwrap_or(-1), serde_json::from_slice(said)?))
}

/// What the second verifier says.
fn second(python: &str, file: &str, cards: &[&str]) -> Result<(i32, Value), Box<dyn Error>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("verifier/verify.py");
    let mut command = Command::new(python);
    command.arg("-B").arg(script).arg(file);
    for card in cards {
        command.args(["--card", card]);
    }
    let output = output(&mut command)?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.is_empty(), "{said}");
    Ok((output.status.code().unwrap_or(-1), serde_json::from_slice(&output.stdout)?))
}

/// Both take it, and find the same records.
fn both(python: Option<&str>, file: &str, cards: &[&str]) -> Result<Value, Box<dyn Error>> {
    let (code, said) = verify(file, cards)?;
    assert_eq!((code, &said["ok"]), (0, &Value::Bool(true)), "{said}");
    if let Some(python) = python {
        let (code, other) = second(python, file, cards)?;
        assert_eq!((code, &other["ok"]), (0, &Value::Bool(true)), "{other}");
        let pairs =
            said["records"].as_array().into_iter().flatten().zip(other["records"].as_array().into_iter().flatten());
        for (a, b) in pairs {
            assert_eq!([&a["id"], &a["number"], &a["kind"]], [&b["id"], &b["number"], &b["kind"]]);
            assert_eq!((&a["since_by"], &a["file"]), (&b["since"]["how"], &b["file"]), "{a} {b}");
            assert_eq!(a["fields"].as_array().map(Vec::len), b["shown"].as_array().map(Vec::len));
        }
        assert_eq!(said["records"].as_array().map(Vec::len), other["records"].as_array().map(Vec::len));
    }
    Ok(said)
}

fn field_names(record: &Value) -> Vec<&str> {
    record["fields"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn package(home: &Home, name: &str, more: &[&str]) -> String {
    let path = home.path(name);
    let made = home.json(&[&["package", "-o", &path][..], more].concat());
    assert!(made["records"].as_u64() > Some(0), "{made}");
    path
}

/// Each is refused by both, and neither fails in another way.
fn refused(python: Option<&str>, folder: &Home, what: &str, bytes: &[u8]) -> Outcome {
    let path = folder.path("altered.zip");
    fs::write(&path, bytes)?;
    let (code, said) = verify(&path, &[])?;
    assert_eq!(code, 6, "{what}: {said}");
    assert!(said["refused"].as_str().is_some_and(|why| !why.is_empty()), "{what}: {said}");
    if let Some(python) = python {
        let (code, other) = second(python, &path, &[])?;
        assert_eq!((code, other["refused"].is_string()), (6, true), "{what}: {other}; the first said {said}");
    }
    Ok(())
}

/// Story: a court asks for what an organisation recorded, and for what it was given. It is given three files, and two
/// programs that have nothing in common read the same in them. Somebody changes them, in many ways; both refuse each.
#[test]
fn packages_of_own_and_received_records_are_verified_by_two_programs() -> Outcome {
    let python = python();
    if python.is_none() {
        println!("skipped: the second verifier of packages: no Python with `cryptography` is at hand");
    }
    let python = python.as_deref();
    let (world, [a, mut b]) = World::of(141, ["a", "b"]);
    let rows = world.rows("P", 3);
    a.import("rows.csv", &Row::table(&rows));
    let early = a.refused(2, &["package", "P-00001", "-o", &a.path("early.zip")]);
    assert!(early["message"].as_str().is_some_and(|says| says.contains("not released")), "{early}");
    a.pair(&b);
    let _ = a.agree(&b, &items_clause(&["number", "eval", "type", "make"]));
    a.pass_all();
    b.start();
    a.sync(&b);
    b.stop();
    let card = a.path("a-again.card");
    a.ok(&["identity", "card", "-o", &card]);

    let whole = both(python, &package(&a, "own.zip", &["P-00001", "P-00002"]), &[])?;
    assert_eq!(whole["compared"], false);
    let first = &whole["records"][0];
    assert!(field_names(first).contains(&"serial"), "{first}");
    let says = first["since"].as_str().unwrap_or_default();
    assert!(says.contains("own statement of time only") || says.contains("witnessed by"), "{first}");
    assert!(first["standing"].as_str().is_some_and(|says| says.contains("no withdrawal known")), "{first}");
    let part = package(&a, "part.zip", &["P-00001", "--fields", "number,make"]);
    let said = both(python, &part, &[&card])?;
    assert_eq!((field_names(&said["records"][0]), &said["compared"]), (vec!["number", "make"], &Value::Bool(true)));
    assert_eq!(said["records"][0]["id"], first["id"], "a part of a record is that record");
    let as_b = both(python, &package(&a, "as-b.zip", &["P-00001", "--as", "b"]), &[&card])?;
    assert_eq!(field_names(&as_b["records"][0]), ["number", "eval", "type", "make"]);
    for (name, hidden) in [("part.zip", true), ("as-b.zip", true), ("own.zip", false)] {
        let bytes = fs::read(a.path(name))?;
        let serial = rows[0].serial.as_bytes();
        let found = bytes.windows(serial.len()).any(|window| window == serial);
        assert_eq!(found, !hidden, "{name}");
    }
    let taken = b.json(&["package", "P-00001", "P-00003", "-o", &b.path("taken.zip")]);
    assert_eq!(taken["not_ours"][0]["records"], 2, "whoever makes it is told whose it is: {taken}");
    let received = both(python, &b.path("taken.zip"), &[&card])?;
    let record = &received["records"][0];
    assert_eq!(
        (&record["since_by"], &record["hands"][0]["to"]),
        (&"countersigned".into(), &received["maker"]),
        "{record}"
    );
    assert!(record["hands"][0]["received"].is_string() && record["id"] == first["id"], "{record}");
    let page = fs::read(b.path("taken.zip"))?;
    let page = String::from_utf8_lossy(&page).into_owned();
    let page = page.split("<!doctype html>").nth(1).and_then(|rest| rest.split("</html>").next()).ok_or("no page")?;
    assert!(
        page.contains("P-00003")
            && !page.contains("<script")
            && !page.contains("http://")
            && !page.contains("https://")
    );

    let words = a.json(&["identity", "show"])["words"].as_str().ok_or("words")?.to_owned();
    for (cards, begins) in
        [(&[][..], "not compared  the card of A, which made this file"), (&["--card", &card], "verified")]
    {
        let told =
            output(Command::new(entente()).args([&["verify", &part], cards].concat()).env_remove("ENTENTE_HOME"))?;
        let told = String::from_utf8(told.stdout)?;
        assert!(told.starts_with(begins) && told.contains(&words), "{told}");
    }

    altered(python, &b)?;
    // What its originator takes back is proved to be recorded, and said to be taken back.
    let proposed = a.json(&["recall", "propose", "P-00001", "--act", "withdraw", "--reason", "misread", "--by", "A"]);
    a.ok(&["recall", "confirm", proposed["id"].as_str().unwrap_or_default(), "--by", "B", "--yes"]);
    b.start();
    a.sync(&b);
    b.stop();
    for home in [&a, &b] {
        let (code, said) = verify(&package(home, "gone.zip", &["P-00001", "--force"]), &[])?;
        assert_eq!((code, &said["records"][0]["state"]), (6, &"recalled".into()), "{said}");
    }
    Ok(())
}

/// The container and its parts, changed by somebody who cannot sign.
fn altered(python: Option<&str>, b: &Home) -> Outcome {
    let good = fs::read(b.path("taken.zip"))?;
    let check = |what: &str, bytes: &[u8]| refused(python, b, what, bytes);
    let mut chance = Chance::new(17, "altered");
    for _ in 0..24 {
        let at = chance.below(good.len() as u64) as usize;
        let mut changed = good.clone();
        changed[at] ^= 1 << chance.below(8);
        check(&format!("byte {at}"), &changed)?;
    }
    check("cut short", &good[..good.len() - 1])?;
    check("half of it", &good[..good.len() / 2])?;
    check("nothing", &[])?;
    check("a byte behind", &[&good[..], b"\0"].concat())?;
    check("a program in front", &[b"#!/bin/sh\n", &good[..]].concat())?;
    check("twice", &[&good[..], &good[..]].concat())?;
    let other = fs::read(b.path("taken.zip"))?;
    let named = |from: &[u8], to: &[u8]| {
        let mut bytes = other.clone();
        while let Some(at) = bytes.windows(from.len()).position(|window| window == from) {
            bytes[at..at + from.len()].copy_from_slice(to);
        }
        bytes
    };
    check("a path", &named(b"records/00001.cbor", b"../../etc/shadow01"))?;
    check("a link's name", &named(b"cards/00001.cbor", b"cards/00001.link"))?;
    check("numbers that do not rise", &named(b"records/00002.cbor", b"records/00001.cbor"))?;
    check("reserved", &named(b"summary.html", b"history.cbor"))?;
    Ok(())
}

/// Bytes of a vector.
pub fn unhex(text: &str) -> Vec<u8> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    text.as_bytes().chunks_exact(2).filter_map(byte).collect()
}

/// The golden packages of this repository, read by the second verifier: it takes those that must be taken, and no other.
#[test]
fn the_second_verifier_reads_the_vectors_alike() -> Outcome {
    let Some(python) = python() else {
        println!("skipped: the vectors of packages, read a second time: no Python with `cryptography` is at hand");
        return Ok(());
    };
    let vectors: Value = serde_json::from_str(include_str!("../vectors/package.json"))?;
    let (folder, script) = (tempfile::tempdir()?, Path::new(env!("CARGO_MANIFEST_DIR")).join("verifier/verify.py"));
    let path = folder.path().join("vector.zip");
    let mut read = 0;
    for vector in vectors["vectors"].as_array().into_iter().flatten() {
        fs::write(&path, unhex(vector["input"].as_str().unwrap_or_default()))?;
        let now = ["--now", "1780096000000"];
        let said = output(Command::new(&python).arg("-B").arg(&script).arg(&path).args(now))?;
        let is_taken = vector["answer"].as_str().is_some_and(|answer| answer.starts_with("accepted"));
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        assert_eq!(said.status.code(), Some(if is_taken { 0 } else { 6 }), "{}: {text}", vector["name"]);
        read += 1;
    }
    assert!(read >= 10, "{read} vectors");
    Ok(())
}

/// What is no file, or no package, is told as what it is.
#[test]
fn what_cannot_be_looked_at_is_no_verdict() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("none.zip").display().to_string();
    let (code, said) = verify(&path, &[])?;
    assert_eq!((code, &said["error"]["code"]), (2, &"read".into()), "{said}");
    let (code, said) = verify(&folder.path().display().to_string(), &[])?;
    assert_eq!((code, &said["error"]["code"]), (2, &"read".into()), "{said}");
    fs::write(&path, "Dear colleague")?;
    let (code, said) = verify(&path, &[])?;
    assert_eq!((code, said["refused"].is_string()), (6, true), "{said}");
    let (code, said) = verify(&path, &[&path])?;
    assert_eq!((code, &said["error"]["code"]), (2, &"card".into()), "{said}");
    Ok(())
}
