//! Two organisations through the command line: files passed by hand, real processes, real sockets.

use entente_tests::{
    Home, Row, World,
    search::{self, Secret},
};
use std::{collections::BTreeSet, error::Error, path::Path};

type Outcome = Result<(), Box<dyn Error>>;

/// Every field of an item which needs no naming.
const EVERY_ITEM: &str = r#"
[[clause]]
name = "items"
from = "a"
to = ["b"]
onward = "never"
retention-days = 30
disclose.item = ["number", "eval", "type", "serial", "serial-prefix", "serial-state"]
"#;

fn numbers(home: &Home) -> BTreeSet<String> {
    home.received().iter().filter_map(|r| r["number"].as_str().map(str::to_owned)).collect()
}

/// Story: 400 rows are imported under an agreement that permits all. None leaves. Three are approved:
/// exactly those three arrive, and stay, although the receiver is killed and started again.
#[test]
fn nothing_leaves_before_people_released_it() -> Outcome {
    let (world, [a, mut b]) = World::traced(1, ["a", "b"]);
    a.pair(&b);
    let agreed = a.agree(&b, EVERY_ITEM);
    assert_eq!(a.json(&["agreement", "show", &agreed.id])["state"], "in-force");
    let rows = world.rows("A", 400);
    a.import("rows.csv", &Row::table(&rows));
    b.start();
    a.sync(&b);
    assert!(numbers(&b).is_empty());

    let three = ["A-00007", "A-00200", "A-00399"];
    let review: Vec<&str> = ["review"].iter().chain(&three).chain(&["--state", "reviewed"]).copied().collect();
    a.ok(&review);
    a.sync(&b);
    assert!(numbers(&b).is_empty(), "reviewed is not released");
    a.ok(&["release", "A-00007", "A-00200", "A-00399"]);
    a.sync(&b);
    let expected: BTreeSet<String> = three.iter().map(|n| (*n).to_owned()).collect();
    assert_eq!(numbers(&b), expected);

    // What was acknowledged is there after the receiver died, and is not sent twice.
    b.kill();
    b.start();
    assert_eq!(numbers(&b), expected);
    let round = a.sync(&b);
    assert_eq!((&round["sent"], &round["acknowledged"]), (&3.into(), &3.into()));
    let proof = b.json(&["record", "verify", "A-00200"]);
    assert_eq!(proof["ok"], true, "{proof}");

    // What no clause named is nowhere at the receiver: neither on the screen nor on the disk. And nothing lies in clear
    // on either.
    let shown = b.json(&["record", "show", "A-00200"]);
    let fields: BTreeSet<&str> = shown["fields"].as_object().ok_or("fields")?.keys().map(String::as_str).collect();
    assert_eq!(fields, BTreeSet::from(["eval", "number", "serial", "serial-prefix", "serial-state", "type"]));
    b.kill();
    let secrets = [&rows[199].collector, &rows[199].serial, &rows[199].number].map(|text| Secret::text(text));
    for home in [&a, &b] {
        for (path, bytes) in search::files(Path::new(&home.path(home.handle)))? {
            assert_eq!(search::leaked(&secrets, &[bytes]), None, "in clear in {path}");
        }
    }
    Ok(())
}

/// Story: a partner is removed. Nothing reaches it any more, whatever is released.
#[test]
fn a_removed_partner_gets_nothing_more() {
    let (world, [a, mut b]) = World::traced(2, ["a", "b"]);
    a.pair(&b);
    let _agreed = a.agree(&b, EVERY_ITEM);
    a.import("rows.csv", &Row::table(&world.rows("A", 40)));
    b.start();
    a.ok(&["partner", "remove", "b", "--yes"]);
    a.pass(&["A-00001"]);
    let fault = a.refused(4, &["sync", "b"]);
    assert_eq!((&fault["blame"], &fault["code"]), (&"partner".into(), &"removed".into()));
    assert!(numbers(&b).is_empty());
}
