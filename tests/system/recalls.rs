//! Evidence that is asked back: by one person and another, from everybody who was shown it, until each has answered.

use entente_tests::{Home, World, search, until};
use serde_json::Value;
use std::{collections::BTreeSet, error::Error, path::Path};

type Outcome = Result<(), Box<dyn Error>>;

const CLAUSES: &str = r#"
[[clause]]
name = "cases"
from = "a"
to = ["b"]
onward = "never"
retention-days = 365
disclose.event = ["number", "eval", "etype", "recovered-month", "place-region", "place-country", "supersedes"]
disclose.item = ["number", "eval", "type", "make", "serial", "serial-state", "event", "supersedes"]

[[clause]]
name = "photographs"
from = "a"
to = ["b"]
onward = "never"
retention-days = 365
files = ["stripped"]
disclose.attachment = ["number", "eval", "of", "role", "media", "content"]
"#;

fn sample(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../certs-example").join(name).display().to_string()
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_default()
}

/// Ids of what a home holds of others, in a state.
fn in_state(home: &Home, state: &str) -> BTreeSet<String> {
    home.received().iter().filter(|row| row["state"] == state).map(|row| text(row, "id").to_owned()).collect()
}

/// Story: the source of a case is in danger. The whole case is asked back: one partner serves and has it gone within a
/// moment, though its agreement was ended; the other is switched off, stands in the list, and answers when it is back. Why it is asked
/// back stays with whoever asks, and nothing of what was said is left at either.
#[test]
fn a_case_that_is_asked_back_is_gone_at_every_holder() -> Outcome {
    let (_world, [mut a, mut b, mut c]) = World::of(97, ["a", "b", "c"]);
    a.pair(&b);
    a.pair(&c);
    a.ok(&["import", &sample("evidence/field-mission-2026.csv"), "--attachments", &sample("evidence/photos")]);
    a.pass_all();
    let ended = a.agree(&b, CLAUSES);
    let _ = a.agree(&c, &CLAUSES.replace("[\"b\"]", "[\"c\"]"));
    for home in [&mut a, &mut b, &mut c] {
        home.start();
    }
    a.sync(&b);
    a.sync(&c);
    let files = |home: &Home| home.json(&["status"])["files_waiting"].clone();
    until("the photographs come", || files(&b) == 0 && files(&c) == 0);
    let whole = in_state(&b, "received");
    assert_eq!(in_state(&c, "received"), whole);

    // A case of which a photograph was taken, and everything that belongs to it.
    let photograph = b.received().into_iter().find(|row| row["kind"] == "attachment").ok_or("a photograph")?;
    let event = {
        let shown = a.json(&["record", "show", text(&photograph, "id")]);
        let links = shown["links"].as_array().ok_or("links")?;
        let item = links.iter().find(|link| link["kind"] == "item").ok_or("the photograph of a thing")?;
        let shown = a.json(&["record", "show", text(item, "id")]);
        let links = shown["links"].as_array().ok_or("links")?;
        let event = links.iter().find(|link| link["kind"] == "event").ok_or("the thing of a case")?;
        text(event, "id").to_owned()
    };
    c.stop();
    a.ok(&["agreement", "end", &ended.id, "--yes"]);
    let why = "the tailor on the corner is in danger";
    let by = |name| ["--by", name];
    let proposed = a.json(
        &[&["recall", "propose", "--event", &event, "--act", "erase", "--reason", why][..], &by("A. Diallo")].concat(),
    );
    let (number, records) = (text(&proposed, "id").to_owned(), proposed["records"].as_u64().ok_or("records")?);
    assert!(records > 2 && proposed["holders"].as_array().is_some_and(|all| all.len() == 2), "{proposed}");
    assert_eq!(in_state(&b, "received"), whole, "it was not confirmed");
    let confirm = |name| [&["recall", "confirm", &number, "--yes"][..], &by(name)].concat();
    let refused = a.refused(2, &confirm("a. diallo"));
    assert!(text(&refused, "message").contains("another person"), "{refused}");
    a.ok(&confirm("M. Osei"));

    until("the partner that serves has it gone", || !in_state(&b, "erased").is_empty());
    let status = || a.json(&["recall", "status", &number]);
    let of = |status: &Value, handle: &str| {
        let holders = status["holders"].as_array().into_iter().flatten();
        holders.clone().find(|holder| holder["handle"] == handle).map(|holder| holder["answers"].to_string())
    };
    until("its answers come", || of(&status(), "b").is_some_and(|answers| !answers.contains("asked")));
    let now = status();
    let gone = in_state(&b, "erased");
    assert_eq!(of(&now, "b"), Some(format!("{{\"complied\":{}}}", gone.len())), "{now}");
    assert_eq!(of(&now, "c"), Some(format!("{{\"asked\":{}}}", gone.len())), "{now}");
    assert_eq!(
        (now["open"].as_u64(), now["not_complied"].as_array().map(Vec::len)),
        (Some(gone.len() as u64), Some(gone.len()))
    );
    assert_eq!(a.json(&["recall", "list"])[0]["open"], gone.len() as u64);
    let told = String::from_utf8_lossy(&a.run(&["status"]).stdout).into_owned();
    assert!(told.contains("c has not confirmed the recall"), "{told}");
    assert_eq!(in_state(&b, "received"), &whole - &gone);

    c.start();
    a.sync(&c);
    until("the other answers when it is back", || status()["open"] == 0);
    assert_eq!((in_state(&c, "erased"), in_state(&c, "received")), (gone.clone(), &whole - &gone));
    let received = c.json(&["recall", "list", "--received"]);
    assert!(
        received
            .as_array()
            .is_some_and(|all| all.len() == gone.len() && all.iter().all(|row| row["answer"] == "complied"))
    );

    // What the case said, and what it was photographed as, is nowhere.
    let photograph = text(&photograph, "id");
    assert!(gone.contains(photograph));
    let refused = b.refused(2, &["record", "attachment", photograph, "-o", &b.path("photo.jpg")]);
    assert!(text(&refused, "message").contains("file"), "{refused}");
    let case = a.json(&["record", "show", &event]);
    let number = text(&case, "number").to_owned();
    for home in [&mut b, &mut c] {
        home.stop();
        let whole = home.json(&["check"]);
        assert!(whole.as_array().is_some_and(|all| all.iter().all(|row| row["ok"] == true)), "{whole}");
        let node = home.open();
        let values = search::values(&node)?;
        assert!(!values.is_empty() && !values.contains(&number), "the case's number is still held");
        let held = search::held(&node)?;
        for secret in [search::Secret::text(why), search::Secret::text(&number)] {
            assert_eq!(search::leaked(std::slice::from_ref(&secret), &held), None);
            assert_eq!(search::leaked(&[secret], &[home.log().into_bytes()]), None);
        }
    }
    Ok(())
}

/// Story: somebody confirms what they proposed themselves, confirms a recall a second time, or gives no name. Each is told at
/// once: nobody reads a plan, and says yes, for what is then refused.
#[test]
fn what_cannot_be_is_refused_before_anybody_is_asked() -> Outcome {
    let (world, [a, b]) = World::of(101, ["a", "b"]);
    a.pair(&b);
    let agreed = a.agree(&b, CLAUSES);
    a.import("rows.csv", &entente_tests::Row::table(&world.rows("W", 2)));
    a.pass(&["W-00001"]);
    let by = |args: &[&'static str], name| [args, &["--by", name]].concat();
    let _ = a.json(&by(&["recall", "propose", "W-00001", "--act", "withdraw", "--reason", "misread"], "A. Diallo"));
    // No terminal is there to ask at: who is asked hears of that.
    let confirm = ["recall", "confirm", "1"];
    assert_eq!(a.refused(2, &by(&confirm, "A. Diallo"))["code"], "same-person");
    assert_eq!(a.refused(2, &by(&confirm, " "))["code"], "recall");
    assert_eq!(a.refused(2, &by(&["recall", "confirm", "7"], "M. Osei"))["code"], "no-recall");
    assert_eq!(a.refused(2, &by(&confirm, "M. Osei"))["code"], "needs-consent");
    a.ok(&by(&["recall", "confirm", "1", "--yes"], "M. Osei"));
    let at = text(&a.json(&["recall", "status", "1"])["confirmed"], "at").to_owned();
    for again in [&confirm[..], &["recall", "confirm", "1", "--yes"]] {
        let refused = a.refused(2, &by(again, "J. Costa"));
        let message = text(&refused, "message");
        assert_eq!(refused["code"], "confirmed", "{message}");
        assert!(message.contains(&format!("by M. Osei on {at}")) && message.contains("`entente recall status 1`"));
    }
    let id = agreed.id.as_str();
    let erase = |name| a.refused(2, &["agreement", "erase", id, "--by", name]);
    assert_eq!(erase("M. Osei")["code"], "not-over");
    a.ok(&["agreement", "end", id, "--yes"]);
    assert_eq!((&erase(" ")["code"], &erase("M. Osei")["code"]), (&"recall".into(), &"needs-consent".into()));
    Ok(())
}
