//! Two organisations through the command line: files passed by hand, real processes, real sockets.

use entente_tests::Home;
use std::{collections::BTreeSet, error::Error, fs, path::Path};

type Outcome = Result<(), Box<dyn Error>>;

/// An agreement that permits every field which needs no naming, of every item.
const EVERY_ITEM: &str = r#"
language = 1
title = "Every item"
version = 1
basis = { text = "letter" }
purposes = ["tracing"]
from = "2026-01-01"
until = "2036-12-31"
notice-days = 0
[[party]]
handle = "a"
name = "A"
[[party]]
handle = "b"
name = "B"
[[clause]]
name = "items"
from = "a"
to = ["b"]
onward = "never"
retention-days = 30
disclose.item = ["number", "eval", "type", "serial", "serial-prefix", "serial-state"]
"#;

/// 400 rows in the columns of the sample.
fn rows() -> String {
    let header = "number,case,date,type,make,model,calibre,serial,marks,year,country_of_make,place,country,region,lat,lon,\
                  custody,recovered_from,collector,condition,notes,photos\n";
    let row = |n: u32| {
        format!(
            "A-{n:04},C-{},2026-02-03,pistol,Works,M1,9x19,SN {n:05},,1990,Croatia,Here,Chad,Lac,13.4,14.6,Court,cache,\
             Zebulon Quist,serviceable,,\n",
            n / 10
        )
    };
    std::iter::once(header.to_owned()).chain((1..=400).map(row)).collect()
}

/// Signs by file, in the order that the first-named party signs last.
fn agree(a: &Home, b: &Home) -> Outcome {
    fs::write(a.path("agreement.toml"), EVERY_ITEM)?;
    a.ok(&["agreement", "sign", &a.path("agreement.toml"), "-o", &a.path("one"), "--yes"]);
    b.ok(&["agreement", "sign", &a.path("one"), "-o", &a.path("two"), "--yes"]);
    a.ok(&["agreement", "add", &a.path("two")]);
    let listed = a.json(&["agreement", "list"]);
    assert_eq!(listed[0]["state"], "in-force", "the first-named party approved before, so its node signs last");
    Ok(())
}

fn numbers(home: &Home) -> BTreeSet<String> {
    let found = home.json(&["search", "--received"]);
    let records = found.as_array().map(Vec::as_slice).unwrap_or_default();
    records.iter().filter_map(|r| r["number"].as_str().map(str::to_owned)).collect()
}

/// Story: 400 rows are imported under an agreement that permits all. None leaves. Three are approved:
/// exactly those three arrive, and stay, although the receiver is killed and started again.
#[test]
fn nothing_leaves_before_people_released_it() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (a, mut b) = (Home::init(folder.path(), "a"), Home::init(folder.path(), "b"));
    a.pair(&b);
    agree(&a, &b)?;
    fs::write(a.path("rows.csv"), rows())?;
    let report = a.json(&["import", &a.path("rows.csv")]);
    assert_eq!((&report["rows"], &report["bad_rows"]), (&400.into(), &0.into()), "{report}");
    b.start();
    a.ok(&["sync", "b"]);
    assert!(numbers(&b).is_empty());

    let three = ["A-0007", "A-0200", "A-0399"];
    let review: Vec<&str> = ["review"].iter().chain(&three).chain(&["--state", "reviewed"]).copied().collect();
    a.ok(&review);
    a.ok(&["sync", "b"]);
    assert!(numbers(&b).is_empty(), "reviewed is not released");
    a.ok(&["release", "A-0007", "A-0200", "A-0399"]);
    a.ok(&["sync", "b"]);
    let expected: BTreeSet<String> = three.iter().map(|n| (*n).to_owned()).collect();
    assert_eq!(numbers(&b), expected);

    // What was acknowledged is there after the receiver died, and is not sent twice.
    b.kill();
    b.start();
    assert_eq!(numbers(&b), expected);
    let round = a.json(&["sync", "b"]);
    assert_eq!((&round[0]["sent"], &round[0]["acknowledged"]), (&3.into(), &3.into()));
    let proof = b.json(&["record", "verify", "A-0200"]);
    assert_eq!(proof["ok"], true, "{proof}");

    // What no clause named is nowhere at the receiver: neither on the screen nor on the disk.
    let shown = b.json(&["record", "show", "A-0200"]);
    let fields: BTreeSet<&str> = shown["fields"].as_object().ok_or("fields")?.keys().map(String::as_str).collect();
    assert_eq!(fields, BTreeSet::from(["eval", "number", "serial", "serial-prefix", "serial-state", "type"]));
    b.kill();
    for secret in ["Zebulon Quist", "SN 00200", "A-0200"] {
        assert_eq!(find(Path::new(&a.path("b")), secret)?, None, "`{secret}` lies in clear at the receiver");
        assert_eq!(find(Path::new(&a.path("a")), secret)?, None, "`{secret}` lies in clear at the sender");
    }
    Ok(())
}

/// Story: a partner is removed. Nothing reaches it any more, whatever is released.
#[test]
fn a_removed_partner_gets_nothing_more() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (a, mut b) = (Home::init(folder.path(), "a"), Home::init(folder.path(), "b"));
    a.pair(&b);
    agree(&a, &b)?;
    fs::write(a.path("rows.csv"), rows())?;
    a.ok(&["import", &a.path("rows.csv")]);
    b.start();
    a.ok(&["partner", "remove", "b"]);
    a.ok(&["review", "A-0001", "--state", "verified"]);
    a.ok(&["release", "A-0001"]);
    let refused = a.run(&["sync", "b"]);
    assert_eq!(refused.status.code(), Some(4), "{}", String::from_utf8_lossy(&refused.stderr));
    assert!(numbers(&b).is_empty());
    Ok(())
}

/// The first file below a folder that holds a text, raw or in hexadecimal.
fn find(folder: &Path, text: &str) -> Result<Option<String>, Box<dyn Error>> {
    let hexadecimal: String = text.bytes().map(|b| format!("{b:02x}")).collect();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                let bytes = fs::read(entry.path())?;
                let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|w| w == needle);
                if holds(text.as_bytes()) || holds(hexadecimal.as_bytes()) {
                    return Ok(Some(entry.path().display().to_string()));
                }
            }
        }
    }
    Ok(None)
}
