//! Stories of onward release between whole nodes: asked, granted, passed on, listed, recalled; and the photograph with it.

use entente_tests::{Home, Row, World, listing, until};
use serde_json::Value;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const FIELDS: &str = r#"["number", "eval", "type", "serial", "serial-prefix", "serial-state"]"#;

fn clause(from: &str, to: &str, onward: &str) -> String {
    format!(
        "[[clause]]\nname = \"items\"\nfrom = \"{from}\"\nto = [\"{to}\"]\nonward = \"{onward}\"\nretention-days = 30\n\
         disclose.item = {FIELDS}\n"
    )
}

/// An originator, a holder and a third party. The first and the last never meet.
fn three(seed: u64) -> (World, [Home; 3]) {
    let (world, [mut a, mut b, mut c]) = World::of(seed, ["a", "b", "c"]);
    a.pair(&b);
    b.pair(&c);
    let _first = a.agree(&b, &clause("a", "b", "with-grant"));
    let _second = b.agree(&c, &clause("b", "c", "never"));
    a.import("rows.csv", &Row::table(&world.rows("O", 3)));
    a.pass_all();
    a.start();
    b.start();
    c.start();
    a.sync(&b);
    until("the holder has it", || b.received().len() == 3);
    (world, [a, b, c])
}

/// What a listing answers, each element with an id of its own.
fn listed(home: &Home, args: &[&str]) -> Vec<Value> {
    let answer = home.json(args);
    assert_eq!(listing::faults(&answer), Vec::<String>::new(), "{answer:#}");
    answer.as_array().cloned().unwrap_or_default()
}

fn state(home: &Home, number: &str) -> Value {
    let held = home.received().into_iter().find(|record| record["number"] == number);
    held.map(|record| record["state"].clone()).unwrap_or_default()
}

const ASK: [&str; 8] =
    ["--to", "c", "--field", "number,serial", "--reason", "their request of 3 March", "--by", "A. Diallo"];

/// Story: a panel shows a weapon to a licensing authority. The people of whoever recorded it are asked and let two fields go
/// on; the authority proves them; a recall is done by the two of them, and the originator has both signatures.
#[test]
fn a_record_goes_on_with_a_grant_and_comes_back_with_a_recall() -> Outcome {
    let (_world, [a, b, c]) = three(120);
    assert_eq!(b.refused(2, &[&["onward", "ask", "nothing"][..], &ASK].concat())["code"], "no-record");
    let asked = listed(&b, &[&["onward", "ask", "O-00001"][..], &ASK].concat());
    assert_eq!((&asked[0]["partner"], &asked[0]["days"]), (&"a".into(), &365.into()));
    until("the originator is asked", || listed(&a, &["onward", "list"]).len() == 1);
    assert_eq!(c.received().len(), 0, "nothing goes before the answer");
    assert_eq!(a.refused(2, &["onward", "grant", "7", "--by", "M. Osei", "--yes"])["code"], "no-request");
    let wider = ["onward", "grant", "0", "--field", "type", "--by", "M. Osei", "--yes"];
    assert!(a.refused(2, &wider)["message"].as_str().is_some_and(|why| why.contains("not asked for")));
    a.ok(&["onward", "grant", "0", "--days", "20", "--by", "M. Osei", "--yes"]);
    until("it goes on", || state(&c, "O-00001") == "received");
    let record = c.received()[0].clone();
    let fields: Vec<String> =
        record["fields"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    assert_eq!(
        (fields, &record["originator"]),
        (vec!["number".to_owned(), "serial".to_owned()], &"a (introduced by b)".into())
    );
    assert_eq!(c.json(&["record", "verify", "O-00001"])["ok"], true);
    // The grant's twenty days are fewer than the clause's: they count, and both sides say so.
    let shown = c.json(&["record", "show", "O-00001"]);
    assert_eq!((&shown["given_by"], &shown["retention_days"]), (&"b".into(), &20.into()), "{shown}");
    let told = c.json(&["explain", "O-00001", "--from", "b"])["agreements"][0].clone();
    assert_eq!((&told["retention_days"], &told["kept_until"]), (&20.into(), &shown["kept_until"]), "{told}");
    let goes = b.json(&["explain", "O-00001", "--to", "c"])["agreements"][0].clone();
    assert_eq!(goes["grant"]["retention_days"], 20, "{goes}");
    until("the originator knows who holds it", || listed(&a, &["onward", "holders", "O-00001"]).len() == 1);
    let held = listed(&a, &["onward", "holders"]);
    assert_eq!((&held[0]["by"], &held[0]["granted"], &held[0]["state"]), (&"b".into(), &true.into(), &"holds".into()));

    let why = ["--act", "erase", "--reason", "the source is in danger", "--by", "A. Diallo"];
    a.ok(&[&["recall", "propose", "O-00001"][..], &why].concat());
    a.ok(&["recall", "confirm", "1", "--by", "M. Osei", "--yes"]);
    until("everybody has answered", || a.json(&["recall", "status", "1"])["open"] == 0);
    let status = a.json(&["recall", "status", "1"]);
    assert_eq!((listing::faults(&status), &status["answers"]["complied"]), (Vec::new(), &2.into()), "{status:#}");
    assert_eq!((state(&b, "O-00001"), c.received()[0]["state"].clone()), (Value::Null, "erased".into()));
    for home in [&a, &b, &c] {
        home.ok(&["check"]);
    }
    Ok(())
}

/// Story: a grant is taken back while the third party is off. When it comes back it hears of it, and the originator of that.
#[test]
fn a_grant_taken_back_reaches_who_was_away() -> Outcome {
    let (_world, [a, mut b, mut c]) = three(121);
    b.ok(&[&["onward", "ask", "O-00002", "O-00003"][..], &ASK].concat());
    until("the originator is asked", || listed(&a, &["onward", "list"]).len() == 1);
    a.ok(&["onward", "grant", "0", "--by", "M. Osei", "--yes"]);
    until("they go on", || c.received().len() == 2);
    c.stop();
    a.ok(&["onward", "refuse", "0", "--by", "M. Osei"]);
    until("the holder hears it", || listed(&b, &["onward", "list"])[0]["state"] == "refused");
    b.stop();
    c.start();
    b.start();
    until("they are taken back", || c.received().iter().all(|record| record["state"] == "withdrawn"));
    until("the originator hears it", || {
        listed(&a, &["onward", "holders"]).iter().all(|holder| holder["state"] == "taken-back")
    });
    assert_eq!(state(&b, "O-00002"), "received", "what the holder was given stands");
    Ok(())
}
