//! What people are told by the real program: the way out stands in the message, and no trouble outlives its cause.

use entente_tests::{Home, Row, World, items_clause, run, until};
use std::{error::Error, fs, os::unix::fs::PermissionsExt, thread, time::Duration};

type Outcome = Result<(), Box<dyn Error>>;

/// What a command says to people that must be refused with this exit code.
fn refusal(home: &Home, args: &[&str], code: i32) -> String {
    let output = home.run(args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    said
}

fn told(home: &Home, args: &[&str]) -> String {
    let output = home.run(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Story: a node dials a partner at an address where nobody answers, and while it waits the partner calls by itself. For as
/// long as they were connected, `status` and `doctor` went on to show that the address does not answer.
#[test]
fn a_call_in_vain_is_no_trouble_once_the_partner_has_come() -> Outcome {
    let (world, []) = World::of(174, []);
    let mut a = Home::init(world.folder(), "a");
    let mut b = Home::reached_at(world.folder(), "b", "127.0.0.1:0", Some("127.0.0.1:9"));
    a.start();
    a.pair(&b);
    let dialled = || a.partner(&b)["trouble"].as_str().is_some_and(|why| why.contains("127.0.0.1:9"));
    until("the first call was in vain", dialled);
    // The next one is under way.
    thread::sleep(Duration::from_secs(4));
    b.start();
    until("they are connected", || a.partner(&b)["connected"] == true);
    // Longer than a call takes that began before.
    for _ in 0..13 {
        let partner = a.partner(&b);
        assert!(partner["connected"] == true && partner["trouble"].is_null(), "{partner}");
        thread::sleep(Duration::from_secs(1));
    }
    assert!(!told(&a, &["doctor"]).contains("127.0.0.1:9"));
    b.stop();
    Ok(())
}

/// Story: whoever was given a record asks for what only its originator can answer, reads where it was collected, and lets go
/// what was refuted.
#[test]
fn messages_about_records_say_whose_it_is_and_what_to_run() -> Outcome {
    let (world, [a, mut b]) = World::of(175, ["a", "b"]);
    a.pair(&b);
    let clause = items_clause(&["number", "eval", "type", "event"])
        + "disclose.event = [\"number\", \"eval\", \"etype\", \"place-cell\"]\n";
    let text = a.file("draft.toml", &a.agreement_text(&b, None, &clause));
    let simulated = told(&a, &["agreement", "simulate", &text]);
    assert!(simulated.contains("no record here yet") && simulated.contains("--as-released"), "{simulated}");
    let _agreed = a.agree(&b, &clause);
    a.import("rows.csv", &Row::table(&world.rows("T", 2)));
    let simulated = told(&a, &["agreement", "simulate", &text]);
    assert!(simulated.contains("Nothing would leave") && simulated.contains("Add --as-released"), "{simulated}");
    assert!(!told(&a, &["agreement", "simulate", &text, "--as-released"]).contains("Nothing would leave"));

    let draft = refusal(&a, &["release", "T-00001"], 2);
    assert!(draft.contains("review it first, `entente review ID --state reviewed`"), "{draft}");
    a.ok(&["review", "T-00002", "--state", "refuted"]);
    let refuted = refusal(&a, &["release", "T-00002"], 2);
    assert!(refuted.contains("it was refuted") && refuted.contains("a correction is imported"), "{refuted}");
    assert!(!refuted.contains("review it first"), "{refuted}");

    a.pass_all();
    b.start();
    a.sync(&b);
    b.stop();
    let theirs = refusal(&b, &["log", "prove", "T-00001"], 2);
    for part in ["recorded by `a`", "the log of `a`", "`entente record verify T-00001`", "entente package T-00001 -o"] {
        assert!(theirs.contains(part), "`{part}`: {theirs}");
    }
    let events = b.json(&["search", "--received", "--kind", "event"]);
    let event = events[0]["id"].as_str().ok_or("an event")?;
    for args in [["record", "history", event], ["record", "history", "T-00001"], ["record", "show", event]] {
        let said = told(&b, &args);
        assert!(!said.contains('[') && !said.contains('{'), "{args:?}: {said}");
        assert!(args[2] != event || said.contains("(0.1° cell)"), "{args:?}: {said}");
    }
    Ok(())
}

/// Story: one office is made, and its people meet what the program says about secrets, about a home that is in use, and about
/// who they are.
#[test]
fn messages_about_secrets_and_persons_say_what_to_name() -> Outcome {
    let (world, [a]) = World::of(176, ["a"]);
    assert!(told(&a, &["status"]).contains("a single office"));
    let needed = refusal(&a, &["user", "add", "M. Osei", "--role", "administrator"], 3);
    assert!(needed.contains("--new-passphrase-file FILE"), "{needed}");
    let open = a.open();
    let used = refusal(&a, &["status"], 5);
    assert!(used.contains("just starting") && used.contains("Wait a few seconds"), "{used}");
    drop(open);

    let (home, folder, apart) = (a.path("new"), world.folder().display().to_string(), a.recovery_passphrase());
    let init = ["--home", &home, "init", "--name", "N", "--handle", "n", "--listen", "127.0.0.1:0"];
    let secrets = ["--passphrase-file", &folder, "--recovery-passphrase-file", &apart];
    let output = run(&[&init[..], &secrets].concat(), &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("is a folder") && !said.contains("chmod"), "{said}");

    let phrase = a.file("osei.phrase", "the words of Osei alone\n");
    fs::set_permissions(&phrase, fs::Permissions::from_mode(0o600))?;
    a.ok(&["user", "add", "M. Osei", "--role", "administrator", "--new-passphrase-file", &phrase]);
    assert!(told(&a, &["status"]).contains("under their own name; a record needs two of them"));
    let nameless = refusal(&a, &["--user", "M. Osei", "search"], 3);
    assert!(nameless.contains("--user-passphrase-file FILE"), "{nameless}");
    nobody_is_needed(&a)
}

/// What OPERATING.md says needs no person, and what it does not name.
fn nobody_is_needed(a: &Home) -> Outcome {
    let text = include_str!("../../node/OPERATING.md");
    let sentence =
        text.split("Nobody is needed for ").nth(1).and_then(|rest| rest.split(". ").next()).ok_or("a sentence")?;
    let named: Vec<&str> = sentence.split('`').skip(1).step_by(2).collect();
    let (card, folder) = (a.path("own.card"), a.path("copies"));
    let commands: [(&str, &[&str]); 7] = [
        ("status", &["status"]),
        ("doctor", &["doctor", "--offline"]),
        ("identity show", &["identity", "show"]),
        ("identity card", &["identity", "card", "-o", &card]),
        ("clock show", &["clock", "show"]),
        ("backup", &["backup", &folder]),
        ("sync", &["sync"]),
    ];
    for (name, args) in commands {
        assert!(named.contains(&name), "`{name}` is not among {named:?}");
        let said = String::from_utf8_lossy(&a.run(args).stderr).into_owned();
        assert!(!said.contains("--user"), "{args:?}: {said}");
    }
    for args in
        [&["search"][..], &["log", "show"], &["check"], &["partner", "list"], &["key", "list"], &["agreement", "list"]]
    {
        let said = refusal(a, args, 2);
        assert!(said.contains("--user NAME") && !named.contains(&args.join(" ").as_str()), "{args:?}: {said}");
    }
    Ok(())
}
