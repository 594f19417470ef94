//! Programs that read answers: every listing of every command, over a home that holds something of everything.

use entente_tests::{Row, World, listing, run};
use serde_json::Value;
use std::{collections::BTreeSet, error::Error, fs};

type Outcome = Result<(), Box<dyn Error>>;

const CLAUSES: &str = r#"
[[clause]]
name = "items"
from = "a"
to = ["b"]
onward = "never"
retention-days = 30
when = 'resource.serial_state == "ok"'
disclose.item = ["number", "eval", "type", "make"]

[[clause]]
name = "back"
from = "b"
to = ["a"]
onward = "never"
retention-days = 30
disclose.item = ["number", "eval", "type"]
"#;

/// Commands that answer without a listing, or that other stories run: what they print is looked at there.
const ELSEWHERE: [&str; 48] = [
    "init",
    "identity-card",
    "identity-renew",
    "identity-take-up",
    "partner-show",
    "partner-suspend",
    "partner-resume",
    "partner-remove",
    "partner-retry",
    "agreement-approve",
    "agreement-drop",
    "agreement-suspend",
    "agreement-resume",
    "agreement-end",
    "clock-show",
    "clock-lower",
    "recover",
    "restore",
    "record-attachment",
    "record-history",
    "onward-ask",
    "onward-grant",
    "onward-refuse",
    "onward-list",
    "onward-holders",
    "user-add",
    "user-disable",
    "user-list",
    "user-passphrase",
    "user-role",
    "user-roles",
    "user-show",
    // In the stories of keys.
    "identity-contact-add",
    "identity-contact-list",
    "identity-contact-retire",
    "identity-contact-succeed",
    // In the stories of logs, which need intervals that end soon.
    "log-head",
    "log-witness",
    "log-forget",
    // In the story of an auditor, who needs a log that partners have witnessed.
    "audit-export",
    "audit-verify",
    "audit-report",
    "run",
    "stop",
    "demo",
    "completions",
    "man",
    "help",
];

/// Story: a program walks through whatever a node lists: each element of each listing has an `id` of its own, also within
/// what else is answered.
#[test]
fn each_element_of_each_listing_has_an_id_of_its_own() -> Outcome {
    let (world, [mut a, mut b]) = World::of(84, ["a", "b"]);
    a.pair(&b);
    let photos = a.path("photos");
    fs::create_dir(&photos)?;
    for name in ["paper.pdf", "stray.pdf", "other.pdf"] {
        fs::write(format!("{photos}/{name}"), format!("%PDF-1.4 {name}"))?;
    }
    let mut lines: Vec<String> = Row::table(&world.rows("L", 6)).lines().map(str::to_owned).collect();
    lines[1] = format!("{}paper.pdf", lines[1]);
    lines[2] = format!("{}absent.pdf", lines[2]);
    lines[4] = lines[4].replace("pistol", "catapult");
    lines[5] = lines[5].replace("pistol", "catapult");
    lines[6].push_str(",one,two");
    let rows = a.file("rows.csv", &(lines.join("\n") + "\n"));
    b.import("theirs.csv", &Row::table(&world.rows("M", 3)));
    b.pass_all();
    fs::create_dir(a.path("a/redlines"))?;
    let red = a.file(
        "a/redlines/one.toml",
        "[[red-line]]\nname = \"no rifles\"\nkinds = [\"item\"]\nwhen = 'resource.type == \"rifle\"'\n\n\
         [[red-line]]\nname = \"no parties\"\nkinds = [\"party\"]\nwhen = 'true'\n",
    );
    let settings = a.folder().config();
    fs::write(&settings, format!("red-lines = \"redlines\"\n{}", fs::read_to_string(&settings)?))?;
    // One in force, a second one over the same items, and a version of the first that waits for its signatures.
    let first = a.agree(&b, CLAUSES);
    let second = a.agreement_text(&b, None, CLAUSES).replace("a and b", "once more");
    let _second = a.sign_text(&b, 9, &second);
    let draft = a.file("next.toml", &a.agreement_text(&b, Some(&first), CLAUSES));

    let mut walked: BTreeSet<String> = BTreeSet::new();
    let mut walk = |home: &entente_tests::Home, least: usize, args: &[&str]| -> Value {
        let all: Vec<&str> = std::iter::once("--json").chain(args.iter().copied()).collect();
        let output = home.run(&all);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        assert!(!answer.is_null(), "{args:?}: {said}");
        assert_eq!(listing::faults(&answer), Vec::<String>::new(), "{args:?}: {answer:#}");
        assert!(listing::count(&answer) >= least, "{args:?} lists too little: {answer:#}");
        let words: Vec<&str> = args.iter().take_while(|word| !word.starts_with('-')).take(2).copied().collect();
        walked.extend((1..=words.len()).map(|n| words[..n].join("-")));
        answer
    };
    walk(&a, 1, &["import", &rows, "--attachments", &photos, "--dry-run"]);
    let report = walk(&a, 1, &["import", &rows, "--attachments", &photos]);
    let bad: Vec<&str> = report["bad"].as_array().into_iter().flatten().filter_map(|row| row["id"].as_str()).collect();
    assert_eq!(bad, ["5:type", "6:type", "7"], "{report}");
    let left: Vec<&str> = report["leftovers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    assert_eq!(left, ["other.pdf", "stray.pdf"], "files that no row names: {report}");
    walk(&a, 1, &["release", "L-00001", "L-00002", "L-00001"]);
    walk(&a, 0, &["review", "--all-drafts", "--state", "reviewed"]);
    walk(&a, 0, &["release", "L-00001"]);
    let bundle = a.path("b.bundle");
    walk(&a, 0, &["bundle", "export", "--to", "b", "-o", &bundle, "--one-way"]);
    walk(&b, 0, &["bundle", "import", &bundle]);
    walk(&a, 0, &["bundle", "show", "b"]);
    walk(&a, 1, &["agreement", "templates"]);
    walk(&a, 1, &["kinds"]);
    walk(&a, 1, &["kinds", "event"]);
    walk(&a, 0, &["agreement", "new", "panel", "--with", "b", "-o", &a.path("panel.toml")]);
    walk(&a, 1, &["agreement", "check", &draft]);
    walk(&a, 0, &["agreement", "prove", "never item.serial"]);
    walk(&a, 3, &["agreement", "simulate", &draft, "--as-released"]);
    walk(&a, 1, &["agreement", "diff", &first.id, &draft, "--as-released"]);
    walk(&a, 0, &["agreement", "sign", &draft, "-o", &a.path("next.signed"), "--yes"]);
    walk(&b, 0, &["agreement", "add", &a.path("next.signed")]);
    let listed = walk(&a, 1, &["agreement", "list"]);
    let first_id = first.id.clone();
    let proposal =
        listed.as_array().into_iter().flatten().find(|row| row["state"] == "proposed").ok_or("a proposal")?;
    assert_eq!((&proposal["agreement"], &proposal["id"]), (&first_id.clone().into(), &format!("{first_id}/2").into()));
    // What a listing names is taken as it stands.
    for row in listed.as_array().into_iter().flatten() {
        let shown = walk(&a, 0, &["agreement", "show", row["id"].as_str().ok_or("id")?]);
        assert_eq!(shown["agreement"], row["agreement"]);
    }
    walk(&a, 1, &["redline", "list"]);
    let backups = a.path("backups");
    walk(&a, 0, &["backup", &backups]);
    walk(&a, 1, &["backup", "list", &backups]);
    walk(&a, 1, &["backup", "verify", &backups]);
    walk(&a, 1, &["doctor"]);
    walk(&a, 1, &["redline", "check", &red]);
    walk(&a, 1, &["partner", "list"]);
    walk(&a, 1, &["explain", "L-00001", "--to", "b"]);
    walk(&a, 1, &["record", "verify", "L-00001"]);
    let shown = walk(&a, 2, &["record", "show", "L-00001"]);
    assert_eq!(shown["events"].as_array().map(Vec::len), Some(2), "{shown}");
    b.start();
    walk(&a, 1, &["sync"]);
    walk(&b, 0, &["agreement", "accept", &first.id, "--yes"]);
    walk(&a, 1, &["sync", "b"]);
    walk(&a, 2, &["status"]);
    walk(&b, 2, &["status"]);
    // The same record came under two agreements: each copy is named, and shown by its name.
    let received = walk(&a, 1, &["search", "--received", "--number", "M-00001"]);
    let copies = received.as_array().into_iter().flatten();
    let copies: Vec<(&str, &Value)> = copies.filter_map(|r| Some((r["id"].as_str()?, &r["agreement"]))).collect();
    assert_eq!(copies.len(), 2, "{received}");
    for (id, agreement) in copies {
        assert_eq!(&walk(&a, 0, &["record", "show", id])["agreement"], agreement);
        assert_eq!(walk(&a, 1, &["record", "verify", id])["ok"], true);
    }
    let told = walk(&a, 2, &["explain", "M-00001", "--from", "b"]);
    assert_eq!(told["agreements"].as_array().map(Vec::len), Some(2), "{told}");
    walk(&a, 1, &["check"]);
    walk(&a, 0, &["identity", "show"]);
    walk(&a, 0, &["partner", "card", "b"]);
    let keys = walk(&a, 1, &["key", "list"]);
    let records = keys.as_array().into_iter().flatten().find(|row| row["purpose"] == "records").ok_or("a key")?;
    walk(&a, 1, &["key", "rotate", "runs", "--dry-run"]);
    walk(&a, 1, &["key", "revoke", records["id"].as_str().ok_or("id")?, "--reason", "lost", "--dry-run"]);
    walk(&a, 1, &["key", "reattest", "--by", "A. Diallo", "--dry-run"]);
    walk(&a, 0, &["keyring", "rotate", "--dry-run"]);
    walk(&a, 0, &["partner", "add", &a.path("b.card"), "--confirm", &words(&b)]);
    a.start();
    walk(&a, 2, &["status"]);
    walk(&a, 1, &["sync", "b"]);
    let package = a.path("package.zip");
    walk(&a, 0, &["package", "M-00002", "L-00001", "-o", &package]);
    walk(&a, 2, &["verify", &package]);
    walk(&a, 1, &["log", "show"]);
    walk(&a, 1, &["log", "journal", "--limit", "1000"]);
    walk(&a, 0, &["log", "prove", "L-00001"]);
    walk(&a, 0, &["log", "verify"]);
    let by = ["--by", "A. Diallo"];
    let recall =
        |words: &[&'static str], by: [&'static str; 2]| -> Vec<&'static str> { [&["recall"], words, &by].concat() };
    let why = ["--act", "withdraw", "--reason", "misread"];
    walk(&a, 1, &recall(&[&["propose", "--batch", "L-00001"][..], &why].concat(), by));
    walk(&a, 0, &recall(&[&["propose", "L-00002"][..], &why].concat(), by));
    walk(&a, 1, &recall(&["confirm", "1", "--yes"], ["--by", "M. Osei"]));
    walk(&a, 0, &recall(&["drop", "2"], by));
    walk(&a, 1, &["sync", "b"]);
    walk(&a, 1, &["recall", "status", "1"]);
    walk(&a, 1, &["recall", "list"]);
    walk(&b, 1, &["recall", "list", "--received"]);
    walk(&a, 1, &[&["hold", "place", "M-00001", "--reason", "Tribunal"][..], &by].concat());
    walk(&a, 1, &["hold", "list"]);
    walk(&a, 1, &[&["hold", "lift", "M-00001"][..], &by].concat());
    a.ok(&["agreement", "end", &first.id, "--yes"]);
    walk(&a, 0, &[&["agreement", "erase", &first.id, "--yes"][..], &by].concat());
    walk(&a, 1, &["agreement", "show", &first.id]);
    walk(&a, 1, &["status"]);
    walk(&a, 1, &["search", "--received"]);
    walk(&a, 1, &["check"]);

    let pages = a.path("pages");
    assert!(run(&["man", "-o", &pages], &[]).status.success());
    let known: BTreeSet<&str> = walked.iter().map(String::as_str).chain(ELSEWHERE).collect();
    for entry in fs::read_dir(pages)? {
        let name = entry?.file_name().into_string().map_err(|_| "name")?;
        let Some(command) = name.strip_prefix("entente-").and_then(|n| n.strip_suffix(".1")) else { continue };
        let group = format!("{command}-");
        let is_told = known.iter().any(|known| *known == command || known.starts_with(&group));
        assert!(is_told, "`{command}` is new: walk through what it lists");
    }
    Ok(())
}

fn words(home: &entente_tests::Home) -> String {
    home.json(&["identity", "show"])["words"].as_str().unwrap_or_default().to_owned()
}
