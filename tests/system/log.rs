//! Stories of the witnessed log between whole nodes: heads are cosigned while they run, records are proved by them, and a
//! head that contradicts what was seen is evidence.

use entente_tests::{Home, Row, World, items_clause, listing, until};
use serde_json::Value;
use std::{error::Error, fs, io::Write};

type Outcome = Result<(), Box<dyn Error>>;

const FIELDS: [&str; 3] = ["number", "eval", "type"];

/// Intervals of a second, and witnesses that may be named, before anything of the home was opened.
fn quick(home: &Home) -> Outcome {
    let settings = home.path(&format!("{}/entente.toml", home.handle));
    let mut file = fs::OpenOptions::new().append(true).open(settings)?;
    Ok(file.write_all(b"log-interval = 1\nnamed-witness = true\n")?)
}

fn by(witnessed: &Value) -> Vec<&str> {
    witnessed["by"].as_array().into_iter().flatten().filter_map(|by| by["partner"].as_str()).collect()
}

/// Story: three partners run. Each one's log is witnessed by the others within seconds; what one sends is proved to be in
/// its log; a record is proved to have existed; and the log is made again from the journal, and holds.
#[test]
fn partners_witness_each_other_and_records_are_proved() -> Outcome {
    let (world, [mut a, mut b, mut c]) = World::of(190, ["a", "b", "c"]);
    for home in [&a, &b, &c] {
        quick(home)?;
    }
    a.pair(&b);
    a.pair(&c);
    let _agreed = a.agree(&b, &items_clause(&FIELDS));
    a.import("rows.csv", &Row::table(&world.rows("L", 3)));
    assert_eq!(a.json(&["log", "prove", "L-00001"])["proved"], false);
    a.pass_all();
    a.start();
    b.start();
    c.start();
    a.sync(&b);
    until("the records came", || b.received().len() == 3);
    until("both others witness", || {
        let shown = a.json(&["log", "show"]);
        let mut by = by(&shown["witnessed"]).iter().map(|by| (*by).to_owned()).collect::<Vec<_>>();
        by.sort();
        by == ["b", "c"]
    });
    until("the record is proved", || a.json(&["log", "prove", "L-00001"])["proved"] == true);
    let proof = a.json(&["log", "prove", "L-00001"]);
    assert!(proof["leaf"].as_u64() < proof["size"].as_u64(), "{proof}");
    // The runs that came are in the sender's log, by its own proof.
    until("nothing is owed", || {
        let shown = b.json(&["log", "show"]);
        let partners = shown["partners"].as_array().cloned().unwrap_or_default();
        partners.iter().any(|row| row["partner"] == "a" && row["state"] == "witnessed" && row["awaited"] == 0)
    });
    let verified = a.json(&["log", "verify"]);
    assert_eq!(verified["holds"], true, "{verified}");
    assert!(verified["witnessed_heads"].as_u64() > Some(0), "{verified}");
    let events = a.json(&["log", "journal", "--limit", "5000"]);
    assert_eq!(listing::faults(&events), Vec::<String>::new(), "{events:#}");
    let kinds: Vec<&str> = events.as_array().into_iter().flatten().filter_map(|event| event["kind"].as_str()).collect();
    for kind in ["batch", "run-sent", "review", "release", "partner", "agreement", "receipt"] {
        assert!(kinds.contains(&kind), "no event of kind {kind}: {kinds:?}");
    }
    // A head of the log, brought by hand, contradicts nothing; one of nobody is refused; one of another log too.
    let head = proof["head"].as_str().ok_or("a head")?;
    let path = b.file("head.txt", head);
    assert_eq!(b.json(&["log", "witness", &path])["contradicts"], false);
    let changed = b.file("changed.txt", &head.replacen("/1\n", "/2\n", 1));
    assert_eq!(b.refused(2, &["log", "witness", &changed])["code"], "head");
    assert_eq!(c.refused(2, &["log", "witness", &c.file("none.txt", "nothing")])["code"], "head");
    a.stop();
    let checked = a.json(&["check"]);
    assert!(checked.as_array().is_some_and(|parts| parts.iter().all(|part| part["ok"] == true)), "{checked:#}");
    // What is shown to people.
    let said = String::from_utf8(a.run(&["log", "show"]).stdout)?;
    assert!(said.contains("witnessed") && said.contains("until"), "{said}");
    Ok(())
}

/// Story: a node is away for longer than two intervals after it sent, and comes again. Its proofs come first, and what it
/// has then is taken.
#[test]
fn a_node_that_was_away_proves_first_and_sends_then() -> Outcome {
    let (world, [mut a, mut b]) = World::of(191, ["a", "b"]);
    quick(&a)?;
    quick(&b)?;
    a.pair(&b);
    let _agreed = a.agree(&b, &items_clause(&FIELDS));
    let rows = world.rows("L", 4);
    a.import("rows.csv", &Row::table(&rows[..2]));
    a.pass_all();
    b.start();
    a.start();
    a.sync(&b);
    until("the records came", || b.received().len() == 2);
    a.kill();
    a.import("more.csv", &Row::table(&rows[2..]));
    a.pass_all();
    std::thread::sleep(std::time::Duration::from_secs(4));
    a.start();
    a.sync(&b);
    until("the rest came", || b.received().len() == 4);
    until("nothing is owed", || {
        let shown = b.json(&["log", "show"]);
        shown["partners"].as_array().is_some_and(|all| all.iter().all(|row| row["awaited"] == 0))
    });
    Ok(())
}
