//! Agreements that are missing, change, pause or end a partner: what leaves before, and what after.

use entente_tests::{Agreed, Home, Row, World, search, search::Secret, until};
use serde_json::Value;
use std::{collections::BTreeSet, error::Error, time::Duration};

type Outcome = Result<(), Box<dyn Error>>;

/// One clause about items.
fn items(condition: &str, fields: &[&str]) -> String {
    format!(
        "\n[[clause]]\nname = \"items\"\nfrom = \"a\"\nto = [\"b\"]\nonward = \"never\"\nretention-days = 30\n\
         {condition}\ndisclose.item = {fields:?}\n"
    )
}

const WIDE: [&str; 7] = ["number", "eval", "type", "make", "make-country", "serial", "serial-state"];
const NARROW: [&str; 4] = ["number", "eval", "type", "make-country"];
const MADE_IN_CROATIA: &str = "when = 'resource.make_country == \"HR\"'";

/// What `home` holds of an evidence number: the names of its fields, and its state.
fn held(home: &Home, number: &str) -> (BTreeSet<String>, String) {
    let found = home.json(&["search", "--received", "--number", number]);
    let names = found[0]["fields"].as_object().into_iter().flatten().map(|(name, _)| name.clone());
    (names.collect(), found[0]["state"].as_str().unwrap_or_default().to_owned())
}

fn named(fields: &[&str]) -> BTreeSet<String> {
    fields.iter().map(|f| (*f).to_owned()).collect()
}

/// Whether a log tells of a refusal; the most talkative level counts them too, and says where there was none.
fn refuses(log: &str) -> bool {
    log.lines().any(|line| line.contains("refused") && !line.contains("refused=0"))
}

/// Story: two organisations know each other and have agreed nothing. Nothing leaves, and the reason is given.
#[test]
fn without_an_agreement_nothing_leaves() {
    let (world, [a, mut b]) = World::traced(41, ["a", "b"]);
    a.pair(&b);
    a.import("rows.csv", &Row::table(&world.rows("N", 20)));
    a.pass_all();
    b.start();
    let round = a.sync(&b);
    assert_eq!((&round["sent"], &round["received"]), (&0.into(), &0.into()));
    assert!(b.received().is_empty());
    let why = a.json(&["explain", "N-00001", "--to", "b"]);
    assert_eq!((&why["leaves"], &why["agreements"][0]["code"]), (&false.into(), &"no-agreement".into()));

    // Signed by one side only, it is no agreement either.
    let draft = a.file("draft.toml", &a.agreement_text(&b, None, &items("", &WIDE)));
    a.ok(&["agreement", "sign", &draft, "--yes"]);
    a.sync(&b);
    assert!(b.received().is_empty());
    assert_eq!(b.json(&["agreement", "list"])[0]["waits_for_us"], true, "the proposal travels by itself");
    // Each side names the same one: who has done its part is not waited for.
    for (home, us, says) in [(&a, false, "waits for b"), (&b, true, "waits for us")] {
        let row = home.json(&["agreement", "list"])[0].clone();
        assert_eq!((&row["waits_for"], &row["waits_for_us"]), (&serde_json::json!(["b"]), &us.into()), "{row}");
        let id = row["agreement"].as_str().unwrap_or_default();
        for args in [&["agreement", "list"][..], &["agreement", "show", id], &["status"]] {
            let told = String::from_utf8_lossy(&home.run(args).stdout).into_owned();
            let said = if args[0] == "agreement" && args[1] == "show" {
                says.replace("for ", "for  ")
            } else {
                says.to_owned()
            };
            assert!(told.contains(&said), "{args:?}: {told}");
        }
    }
}

/// Story: a draft is checked whose text has no id, whose legal basis is still the template's, and whose last day is over. What
/// would not be signed so is said with its line, and an id that signing would not use is not shown.
#[test]
fn what_is_not_ready_is_told_before_anybody_signs() {
    let (_world, [a, b]) = World::of(48, ["a", "b"]);
    a.pair(&b);
    let good = a.agreement_text(&b, None, &items("", &NARROW));
    let draft =
        a.file("draft.toml", &good.replace("letter", "Note (put its date here)").replace("2036-12-31", "2026-02-01"));
    let checked = a.json(&["agreement", "check", &draft]);
    let refused: Vec<&str> = checked["findings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|finding| finding["refused"] == true)
        .filter_map(|finding| finding["code"].as_str())
        .collect();
    assert_eq!(refused, ["basis-placeholder", "over"], "{checked}");
    assert_eq!(
        (&checked["id_at_signing"], &checked["id"], &checked["digest"]),
        (&true.into(), &Value::Null, &Value::Null)
    );
    let told = String::from_utf8_lossy(&a.run(&["agreement", "check", &draft]).stdout).into_owned();
    for part in ["will be given at signing", "cannot be signed so: line 4, key `basis.text`", "line 7, key `until`"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(told.split("[[party]]").next().is_some_and(|head| !head.contains("\nid = ")), "{told}");
    let fault = a.refused(2, &["agreement", "sign", &draft, "--yes"]);
    assert_eq!(fault["code"], "not-ready", "{fault}");
    // Signed, the same text has its id, and a check says it.
    let good = a.file("good.toml", &good);
    let signed = a.json(&["agreement", "sign", &good, "--yes"]);
    let checked = a.json(&["agreement", "check", &good]);
    assert_eq!((&checked["id_at_signing"], &checked["id"]), (&false.into(), &signed["id"]), "{checked}");
}

/// Story: an agreement ends, and its receiver erases what came under it. The giver reads that where it looks: with the
/// agreement, in the status, and when the receipt comes on a stick.
#[test]
fn a_receipt_of_erasure_is_told_where_it_arrives() {
    let (_world, [a, b]) = World::of(49, ["a", "b"]);
    a.pair(&b);
    let agreed = a.agree(&b, &items("", &NARROW));
    let stick = |from: &Home, to: &Home, name: &str| {
        from.ok(&["bundle", "export", "--to", to.handle, "-o", &from.path(name)]);
        String::from_utf8_lossy(&to.run(&["bundle", "import", &to.path(name)]).stdout).into_owned()
    };
    stick(&a, &b, "to-b.bundle");
    b.ok(&["agreement", "end", &agreed.id, "--yes"]);
    b.ok(&["agreement", "erase", &agreed.id, "--by", "A. Diallo", "--yes"]);
    let came = stick(&b, &a, "to-a.bundle");
    let says = "b has erased what it received under it";
    assert!(came.contains(says), "{came}");
    for args in [&["agreement", "show", &agreed.id][..], &["status"]] {
        let told = String::from_utf8_lossy(&a.run(args).stdout).into_owned();
        assert!(told.contains(says), "{args:?}: {told}");
    }
    assert_eq!(a.json(&["status"])["erasures"][0]["holder"], "b");
    let own = String::from_utf8_lossy(&b.run(&["agreement", "show", &agreed.id]).stdout).into_owned();
    assert!(own.contains("this organisation has erased") && own.contains("by A. Diallo"), "{own}");
}

/// Story: a condition reads a field that its clause withholds. Whoever signs is told so first, in words and as JSON, and
/// reads the last day as it stands in the text.
#[test]
fn what_a_condition_reveals_is_said_before_it_is_signed() {
    let (_world, [a, b]) = World::of(46, ["a", "b"]);
    a.pair(&b);
    let withheld = "when = 'resource.serial_state == \"ok\"'";
    let draft = a.file("draft.toml", &a.agreement_text(&b, None, &items(withheld, &NARROW)));
    let checked = a.json(&["agreement", "check", &draft]);
    assert_eq!(checked["reveals"][0]["clause"], "items", "{checked}");
    assert_eq!(
        (&checked["reveals"][0]["field"], &checked["reveals"][0]["kind"]),
        (&"serial-state".into(), &"item".into())
    );
    assert_eq!(checked["until"], "2036-12-31");
    let told = String::from_utf8_lossy(&a.run(&["agreement", "check", &draft]).stdout).into_owned();
    assert!(
        told.contains("clause `items`: whoever receives a record of kind `item` learns something of `serial-state`"),
        "{told}"
    );
    // What the clause discloses is no secret that its condition could tell.
    let open = a.file("open.toml", &a.agreement_text(&b, None, &items(withheld, &WIDE)));
    assert_eq!(a.json(&["agreement", "check", &open])["reveals"], serde_json::json!([]));
}

/// Story: a version narrows to fewer fields and to weapons of one country. What was given before is given anew with
/// fewer fields, or withdrawn; what is released now has the new fields only. A version widens again: everything comes
/// with what is permitted now. Every time it takes one round, and nothing is refused on the way.
#[test]
fn a_new_version_governs_what_was_given_before() -> Outcome {
    let (world, [a, mut b]) = World::of(42, ["a", "b"]);
    a.pair(&b);
    let mut rows = world.rows("V", 5);
    rows[2].country_of_make = "Serbia".to_owned();
    a.import("rows.csv", &Row::table(&rows));
    let first = a.agree(&b, &items("", &WIDE));
    a.pass(&["V-00001", "V-00002", "V-00003"]);
    b.start();
    a.sync(&b);
    for row in &rows[..3] {
        assert_eq!(held(&b, &row.number), (named(&WIDE), "received".to_owned()));
    }

    let narrow = a.amend(&b, &first, &items(MADE_IN_CROATIA, &NARROW));
    a.pass(&["V-00004"]);
    a.sync(&b);
    for row in [&rows[0], &rows[1], &rows[3]] {
        assert_eq!(held(&b, &row.number), (named(&NARROW), "received".to_owned()));
        assert_eq!(b.json(&["search", "--serial", &row.serial]), Value::Array(Vec::new()));
        assert_eq!(b.json(&["record", "verify", &row.number])["ok"], true);
    }
    assert_eq!(held(&b, "V-00003").1, "withdrawn", "not made in Croatia");
    let proof = b.run(&["--json", "record", "verify", "V-00003"]);
    assert_eq!(proof.status.code(), Some(6), "a withdrawn record does not verify: {proof:?}");
    assert!(String::from_utf8(proof.stdout)?.contains("withdrawn by its originator"));
    b.stop();
    let rows_in_clear = search::held(&b.open())?;
    let secrets: Vec<Secret> = [0, 1, 3, 4].map(|n: usize| Secret::text(&rows[n].serial)).into();
    assert_eq!(search::leaked(&secrets, &rows_in_clear), None, "what is given no more is kept no more");
    b.start();

    // Both ways several times: in each round, the new version and the first run under it travel together.
    let mut version: Agreed = narrow;
    for fields in [&WIDE[..], &NARROW, &WIDE, &NARROW, &WIDE] {
        version = a.amend(&b, &version, &items("", fields));
        a.sync(&b);
        for row in &rows[..4] {
            assert_eq!(held(&b, &row.number), (named(fields), "received".to_owned()), "version {}", version.version);
        }
    }
    assert!(!refuses(&b.log()), "{}", b.log());
    assert!(!b.json(&["search", "--serial", &rows[0].serial])[0].is_null(), "what came again is found again");
    assert_eq!(held(&b, "V-00005").1, "", "never released");
    Ok(())
}

/// Story: a partner is suspended while both run. Nothing more is released to it and nothing taken from it; the
/// connection stays, and agreements and notices pass. It is resumed: what waited arrives, on both sides.
#[test]
fn a_suspended_partner_keeps_the_control_lane_and_resumes() {
    let (world, [mut a, mut b]) = World::of(43, ["a", "b"]);
    a.pair(&b);
    let back = items("", &NARROW).replace("\"a\"", "\"x\"").replace("\"b\"", "\"a\"").replace("\"x\"", "\"b\"");
    let back = back.replace("\"items\"", "\"back\"");
    let agreed = a.agree(&b, &(items("", &NARROW) + &back));
    a.import("rows.csv", &Row::table(&world.rows("S", 3)));
    b.import("back.csv", &Row::table(&world.rows("T", 3)));
    a.start();
    b.start();
    a.pass(&["S-00001"]);
    b.pass(&["T-00001"]);
    a.sync(&b);
    b.sync(&a);
    assert_eq!((a.received().len(), b.received().len()), (1, 1));

    // Both dialled when they started: a connection may be replaced at any time, and who is suspended by then is not
    // asked for anything over the new one.
    let ended = |home: &Home| home.log().matches("a session ended").count();
    let before = ended(&b);
    a.ok(&["partner", "suspend", "b"]);
    a.pass(&["S-00002"]);
    b.pass(&["T-00002"]);
    until("the partner sends what it may", || b.feed(&a)["sent"] == 2 || ended(&b) > before);
    let begun = std::time::Instant::now();
    let round = a.sync(&b);
    assert!(begun.elapsed() < Duration::from_secs(30), "a round with a suspended partner ends");
    assert_eq!((&round["sent"], &round["acknowledged"]), (&1.into(), &1.into()));
    let why = a.json(&["explain", "S-00002", "--to", "b"]);
    assert_eq!(why["agreements"][0]["code"], "partner-suspended");
    // Notices and proposals pass while nothing is released.
    let standing = |home: &Home| home.json(&["agreement", "show", &agreed.id])["state"].clone();
    a.ok(&["agreement", "suspend", &agreed.id]);
    until("the notice arrives", || standing(&b) == "suspended");
    a.ok(&["agreement", "resume", &agreed.id]);
    until("the notice of resumption arrives", || standing(&b) == "in-force");
    let other = a.file("other.toml", &a.agreement_text(&b, None, &items("", &["number", "type"])));
    a.ok(&["agreement", "sign", &other, "--yes"]);
    until("the proposal arrives", || b.json(&["agreement", "list"]).as_array().is_some_and(|all| all.len() == 2));
    until("they are connected", || a.partner(&b)["connected"] == true);
    assert_eq!((a.received().len(), b.received().len()), (1, 1));
    assert_eq!(b.feed(&a)["acknowledged"], 1, "what is not taken is not acknowledged");

    a.ok(&["partner", "resume", "b"]);
    until("what waited here arrives there", || b.received().len() == 2);
    until("what waited there arrives here", || a.received().len() == 2 && b.feed(&a)["acknowledged"] == 2);
    assert!(!refuses(&a.log()), "{}", a.log());
}

/// Seconds since midnight of the last line of a log that says something.
fn said_at(log: &str, what: &str) -> Option<f64> {
    let line = log.lines().rfind(|line| line.contains(what))?;
    let clock = line.split_once('T')?.1.split_once('Z')?.0;
    clock.split(':').try_fold(0.0, |sum, part| Some(sum * 60.0 + part.parse::<f64>().ok()?))
}

/// Story: a partner is removed while both run and are connected. It is cut within a second, comes back and is refused,
/// and gets nothing more.
#[test]
fn a_removed_partner_is_cut_within_a_second() -> Outcome {
    let (world, [mut a, mut b]) = World::of(44, ["a", "b"]);
    a.pair(&b);
    let _agreed = a.agree(&b, &items("", &NARROW));
    a.import("rows.csv", &Row::table(&world.rows("R", 2)));
    a.start();
    b.start();
    a.pass(&["R-00001"]);
    a.sync(&b);
    until("they are connected", || b.partner(&a)["connected"] == true);
    assert_eq!(b.received().len(), 1);

    a.ok(&["partner", "remove", "b", "--yes"]);
    until("the partner notices", || b.partner(&a)["connected"] == false);
    let (cut, ended) = (said_at(&a.log(), "was cut off"), said_at(&b.log(), "32 (removed)"));
    let (cut, ended) = (cut.ok_or_else(|| a.log())?, ended.ok_or_else(|| b.log())?);
    // Two processes: which of them writes its line first is open.
    assert!((ended - cut).abs() < 1.0, "cut at {cut}, ended at {ended}");
    assert!(b.partner(&a)["last_error"].as_str().is_some_and(|e| e.contains("removed")), "{}", b.partner(&a));

    a.pass(&["R-00002"]);
    until("it comes back and is refused", || a.log().contains("was removed"));
    let fault = a.refused(4, &["sync", "b"]);
    assert_eq!((&fault["blame"], &fault["code"]), (&"partner".into(), &"removed".into()));
    assert_eq!(b.received().len(), 1);
    Ok(())
}
