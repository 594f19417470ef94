//! What a small office meets in its first weeks: half a pairing, the same draft twice, a home that was not finished.

use entente_tests::{Home, Row, World, ended, entente, recovery_passphrase, run, until};
use serde_json::Value;
use std::{
    error::Error,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

type Outcome = Result<(), Box<dyn Error>>;

pub const HEADER: &str = "number,case,date,type,make,model,calibre,serial,marks,year,country_of_make,place,country,region,lat,\
                      lon,custody,recovered_from,collector,condition,notes,photos";

pub fn row(number: &str, more: &str) -> String {
    format!(
        "{number},C-1,2026-02-03,pistol,Works,M1,9x19,SN {number},,1990,Croatia,Here,Chad,Lac,13.4,14.6,Court,cache,X,\
         serviceable,,{more}"
    )
}

pub fn message(fault: &Value) -> &str {
    fault["message"].as_str().unwrap_or_default()
}

/// What a command that must be refused says to a person.
fn refusal(home: &Home, args: &[&str], code: i32) -> String {
    let output = home.run(args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    said
}

fn add(home: &Home, other: &Home) {
    let card = other.path(&format!("{}.card", other.handle));
    other.ok(&["identity", "card", "-o", &card]);
    let words = other.json(&["identity", "show"])["words"].as_str().unwrap_or_default().to_owned();
    home.ok(&["partner", "add", &card, "--confirm", &words]);
}

/// Story: one office has added the other, which has not added it yet. The one who waits is told that it is known to
/// nobody there, and what to ask for; not that nobody answers. When the other has added it, the trouble is over, and both
/// times stay to be read.
#[test]
fn a_partner_who_has_not_added_us_is_told_from_one_who_is_off() -> Outcome {
    let (_world, [mut a, mut b]) = World::of(85, ["a", "b"]);
    add(&a, &b);
    let off = a.refused(4, &["sync", "b"]);
    assert!(message(&off).contains("`b`") && !message(&off).contains("certificate"), "{off}");
    b.start();
    let refused = a.refused(4, &["sync", "b"]);
    for part in ["`b`", "refuses this node's certificate", "added your newest card", "partner add"] {
        assert!(message(&refused).contains(part), "`{part}`: {refused}");
    }
    assert_eq!(a.json(&["status"])["running"], false);
    a.start();
    until("the node is refused", || {
        a.partner(&b)["trouble"].as_str().is_some_and(|why| why.contains("refuses this node's certificate"))
    });
    let status = a.run(&["status"]);
    let shown = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(shown.contains("refuses this node's certificate"), "{shown}");

    add(&b, &a);
    a.sync(&b);
    let partner = a.partner(&b);
    assert!(partner["last_success"].is_string() && partner["trouble"].is_null(), "{partner}");
    let status = a.json(&["status"]);
    assert_eq!(status["running"], true);
    let shown = String::from_utf8_lossy(&a.run(&["status"]).stdout).into_owned();
    assert!(!shown.contains("refuses") && shown.contains("running"), "{shown}");
    Ok(())
}

/// Story: what happened before the last exchange is no trouble any more, and what the last exchange was is known after
/// the node has ended, too.
#[test]
fn the_last_success_is_known_after_the_exchange() -> Outcome {
    let (world, [a, mut b]) = World::of(86, ["a", "b"]);
    a.pair(&b);
    let _agreed = a.agree(&b, &entente_tests::items_clause(&["number", "eval", "type"]));
    a.import("rows.csv", &Row::table(&world.rows("S", 2)));
    a.pass(&["S-00001"]);
    assert!(a.partner(&b)["last_success"].is_null());
    let _off = a.refused(4, &["sync", "b"]);
    b.start();
    a.sync(&b);
    for (home, other) in [(&a, &b), (&b, &a)] {
        let partner = home.partner(other);
        assert!(partner["last_success"].as_str().is_some_and(|at| at.starts_with("20")), "{partner}");
        assert!(partner["trouble"].is_null(), "{partner}");
    }
    Ok(())
}

/// Story: somebody signs a draft, is interrupted, and signs it again. It is one agreement all the same, and no file is
/// written over another.
#[test]
fn a_draft_that_is_signed_twice_is_one_agreement() -> Outcome {
    let (_world, [a, b]) = World::of(87, ["a", "b"]);
    a.pair(&b);
    let clauses = entente_tests::items_clause(&["number", "eval", "type"]);
    let draft = a.file("draft.toml", &a.agreement_text(&b, None, &clauses));
    let [one, two] = ["one.signed", "two.signed"].map(|name| a.path(name));
    let first = a.json(&["agreement", "sign", &draft, "-o", &one, "--yes"]);
    let again = a.json(&["agreement", "sign", &draft, "-o", &two, "--yes"]);
    assert_eq!((&first["id"], &first["digest"]), (&again["id"], &again["digest"]));
    assert_eq!(a.json(&["agreement", "list"]).as_array().map(Vec::len), Some(1));
    assert_eq!(fs::read(&one)?, fs::read(&two)?);
    // The same words, typed at the other side, are the same agreement too, once it knows of it.
    b.ok(&["agreement", "add", &one]);
    let theirs = b.json(&["agreement", "sign", &draft, "-o", &b.path("theirs.signed"), "--yes"]);
    assert_eq!(theirs["id"], first["id"]);
    // Other words are another one.
    let other = a.file("other.toml", &a.agreement_text(&b, None, &clauses.replace("= 30", "= 31")));
    let other = a.json(&["agreement", "sign", &other, "-o", &a.path("three.signed"), "--yes"]);
    assert_ne!(other["id"], first["id"]);
    // One that has ended is not taken up again.
    a.ok(&["agreement", "end", first["id"].as_str().ok_or("id")?, "--yes"]);
    Ok(())
}

/// Story: an output is named that exists. Whatever writes refuses, says so, and leaves the file and the home as they were.
#[test]
fn no_file_is_written_over_another() -> Outcome {
    let (_world, [a, b]) = World::of(88, ["a", "b"]);
    a.pair(&b);
    let photos = a.path("photos");
    fs::create_dir(&photos)?;
    fs::write(format!("{photos}/paper.pdf"), "%PDF-1.4 paper")?;
    let rows = a.file("rows.csv", &format!("{HEADER}\n{}\n", row("A-1", "paper.pdf")));
    a.ok(&["import", &rows, "--attachments", &photos]);
    let files = a.json(&["search", "--kind", "attachment"]);
    let file = files[0]["id"].as_str().ok_or("the file's record")?.to_owned();
    let draft =
        a.file("draft.toml", &a.agreement_text(&b, None, &entente_tests::items_clause(&["number", "eval", "type"])));
    let taken = a.file("taken", "the only copy");
    let beside = a.file("draft.signed", "the only copy");
    for args in [
        &["record", "attachment", &file, "-o", &taken][..],
        &["identity", "card", "-o", &taken],
        &["agreement", "sign", &draft, "-o", &taken, "--yes"],
        &["agreement", "sign", &draft, "--yes"],
    ] {
        let fault = a.refused(2, args);
        assert_eq!(fault["code"], "exists", "{args:?}: {fault}");
        assert!(message(&fault).contains("exists already"), "{args:?}: {fault}");
    }
    assert_eq!(
        (fs::read_to_string(&taken)?, fs::read_to_string(beside)?),
        ("the only copy".into(), "the only copy".into())
    );
    assert_eq!(a.json(&["agreement", "list"]), serde_json::json!([]), "it was signed all the same");
    a.ok(&["record", "attachment", &file, "-o", &a.path("free.pdf")]);
    assert_eq!(fs::read_to_string(a.path("free.pdf"))?, "%PDF-1.4 paper");
    Ok(())
}

/// Story: the draft is sent instead of the signed file. It is not taken, and it is said what to do.
#[test]
fn a_draft_is_not_added() {
    let (_world, [a, b]) = World::of(89, ["a", "b"]);
    a.pair(&b);
    let draft =
        a.file("draft.toml", &a.agreement_text(&b, None, &entente_tests::items_clause(&["number", "eval", "type"])));
    let fault = a.refused(2, &["agreement", "add", &draft]);
    for part in ["draft.toml", "nobody has signed", "entente agreement sign"] {
        assert!(message(&fault).contains(part), "`{part}`: {fault}");
    }
    assert_eq!(a.json(&["agreement", "list"]), serde_json::json!([]));
}

/// Story: a draft, red lines and a mapping each have several faults. Each is refused once, with all of them by line, so
/// that they are corrected in one go.
#[test]
fn every_fault_of_a_text_is_told_at_once() {
    let (_world, [a, b]) = World::of(95, ["a", "b"]);
    a.pair(&b);
    let text = a.agreement_text(&b, None, &entente_tests::items_clause(&["number", "eval", "typ"]));
    let text = text.replace("notice-days = 0", "notice-dais = 0").replace("\"never\"", "\"seldom\"");
    let draft = a.file("draft.toml", &text);
    let lines = a.file(
        "lines.toml",
        "[[red-line]]\nname = \"one\"\nkinds = [\"itme\"]\n[[red-line]]\nname = \"two\"\nwen = 'true'\n",
    );
    let map = a.file(
        "map.toml",
        "name = \"m\"\n[[record]]\nname = \"i\"\nkind = \"item\"\n[record.default]\neval = { inf4 = 2 }\n[record.fields]\n\
         number = { column = \"n\" }\ntype = { value = \"pistl\" }\nserial = { column = \"s\", lookup = \"own\" }\n",
    );
    let table = a.file("t.csv", "n,s\n1,2\n");
    let told: [(&[&str], &[&str]); 3] = [
        (&["agreement", "check", &draft], &["notice-dais", "seldom", "`typ`"]),
        (&["redline", "check", &lines], &["line 3", "line 6, key `red-line[2].wen`"]),
        (&["import", &table, "--map", &map], &["line 9", "line 10", "[lookup.own]"]),
    ];
    for (args, parts) in told {
        let fault = a.refused(2, args);
        for part in parts {
            assert!(message(&fault).contains(part), "{args:?}: `{part}`: {fault}");
        }
        assert!(message(&fault).lines().count() >= 2, "{args:?}: {fault}");
    }
}

/// Story: somebody looks at an item and wants its event and its photographs; and at the event, and wants its items.
#[test]
fn from_an_item_one_finds_its_event_and_its_photographs() -> Outcome {
    let (_world, [a]) = World::of(92, ["a"]);
    let photos = a.path("photos");
    fs::create_dir(&photos)?;
    fs::write(format!("{photos}/paper.pdf"), "%PDF-1.4 paper")?;
    let rows = [row("A-1", "paper.pdf"), row("A-2", "")].join("\n");
    let rows = a.file("rows.csv", &format!("{HEADER}\n{rows}\n"));
    a.ok(&["import", &rows, "--attachments", &photos]);
    let links = |number: &str| a.json(&["record", "show", number])["links"].as_array().cloned().unwrap_or_default();
    let find =
        |links: &[Value], kind: &str| links.iter().find(|link| link["kind"] == kind).cloned().unwrap_or_default();
    let item = links("A-1");
    let event = find(&item, "event");
    assert_eq!((&event["number"], event["refers_by"].as_array().map(Vec::len)), (&"C-1".into(), Some(1)), "{item:?}");
    let photo = find(&item, "attachment");
    assert!(photo["caption"].as_str().is_some_and(|says| says.contains("original")), "{item:?}");
    assert_eq!(photo["referred_by"], serde_json::json!(["of"]));
    // Each way back.
    let id = photo["id"].as_str().ok_or("id")?;
    assert_eq!(find(&links(id), "item")["number"], "A-1");
    let of_event = links("C-1");
    let items: Vec<&Value> = of_event.iter().filter(|link| link["kind"] == "item").collect();
    assert_eq!(items.len(), 2, "{of_event:?}");
    assert_eq!(of_event.iter().filter(|link| link["kind"] == "party").count(), 2, "{of_event:?}");
    // A corrected item stands once, as it is now.
    let mended = a.file("mended.csv", &format!("{HEADER}\n{}\n", row("A-2", "").replace("M1", "M2")));
    a.ok(&["import", &mended]);
    let items: Vec<Value> = links("C-1").into_iter().filter(|link| link["kind"] == "item").collect();
    assert!(
        items.len() == 2 && items.iter().any(|i| i["caption"].as_str().is_some_and(|c| c.contains("M2"))),
        "{items:?}"
    );
    let shown = a.run(&["record", "show", "A-1"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("C-1") && shown.contains("attachment"), "{shown}");
    Ok(())
}

/// Story: people release when nothing waits. They are told, and a script sees it by the exit code.
#[test]
fn a_release_of_nothing_says_so() {
    let (world, [a]) = World::of(93, ["a"]);
    let nothing = |args: &[&str]| {
        let said = refusal(&a, args, 2);
        assert!(said.contains("nothing was released"), "{args:?}: {said}");
    };
    nothing(&["release", "--all-reviewed"]);
    a.import("rows.csv", &Row::table(&world.rows("R", 1)));
    nothing(&["release", "--all-reviewed"]);
    nothing(&["release", "--kind", "transfer"]);
    a.pass_all();
    nothing(&["release", "--all-reviewed"]);
    // What is named and was released before is where it should be.
    a.ok(&["release", "R-00001"]);
}

/// The words of an init in a folder of its own.
fn init_words(home: &str, key: &str, apart: &str) -> Vec<String> {
    let words = [
        "--home",
        home,
        "--identity-file",
        key,
        "init",
        "--name",
        "N",
        "--handle",
        "n",
        "--listen",
        "127.0.0.1:0",
        "--recovery-passphrase-file",
        apart,
    ];
    words.map(str::to_owned).into()
}

fn run_words(words: &[String]) -> std::process::Output {
    run(&words.iter().map(String::as_str).collect::<Vec<_>>(), &[])
}

/// Story: the machine goes off while a home is made. Whatever stood there by then, the same command makes the home; and
/// a folder in which something else lies is left alone.
#[test]
fn an_init_that_was_killed_is_repeated() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let apart = recovery_passphrase(folder.path()).display().to_string();
    // What an attempt makes, in its order. The recovery file takes its time: a kill at what comes before it is midway.
    let states = [
        ("init.unfinished", true),
        ("keys", true),
        ("store", true),
        ("recovery.age", false),
        ("store/engine", false),
        ("organisation.card", false),
        ("entente.toml", false),
    ];
    for (n, (state, midway)) in states.into_iter().enumerate() {
        let (home, key) = (path(&format!("n{n}")), path(&format!("n{n}.key")));
        let at = |name: &str| Path::new(&home).join(name);
        let words = init_words(&home, &key, &apart);
        let mut child =
            Command::new(entente()).args(&words).env_clear().stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let begun = Instant::now();
        while !at(state).exists() {
            assert!(begun.elapsed() < Duration::from_secs(60), "`{state}` did not come about");
            std::thread::sleep(Duration::from_micros(100));
        }
        drop(child.kill());
        ended(&mut child)?;
        let complete = at("entente.toml").exists();
        assert!(!(midway && complete), "{state}: the kill came too late");
        assert_eq!(at("init.unfinished").exists(), !complete, "{state}: a mark or settings, never both");
        let whole = at("organisation.card").exists() && at("store/engine").exists();
        let again = run_words(&words);
        let said = String::from_utf8_lossy(&again.stderr).into_owned();
        match (complete, whole) {
            (true, _) => {
                assert!(again.status.code() == Some(2) && said.contains("it is a home already"), "{state}: {said}")
            }
            // In the very last moment it looks like a home, and nobody's home is removed.
            (false, true) => {
                assert!(again.status.code() == Some(2) && said.contains("settings are missing"), "{state}: {said}");
                continue;
            }
            (false, false) => assert!(again.status.success(), "{state}: {said}"),
        }
        assert!(!at("init.unfinished").exists(), "{state}: the mark stays");
        let status = run(&["--home", &home, "--identity-file", &key, "--json", "status"], &[]);
        assert!(status.status.success(), "{state}: {}", String::from_utf8_lossy(&status.stderr));
    }

    // Settings and a mark, by hand: a home. The mark goes, whoever comes first; with the settings away all stays.
    let (home, key) = (path("n0"), path("n0.key"));
    let (mark, settings) = (Path::new(&home).join("init.unfinished"), Path::new(&home).join("entente.toml"));
    let words = init_words(&home, &key, &apart);
    let status = || run(&["--home", &home, "--identity-file", &key, "--json", "status"], &[]).status.success();
    fs::write(&mark, "")?;
    assert!(status() && !mark.exists(), "the mark outlives the opening");
    for (away, says) in [(false, "it is a home already"), (true, "settings are missing")] {
        fs::write(&mark, "")?;
        if away {
            fs::rename(&settings, path("away.toml"))?;
        }
        let refused = run_words(&words);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(2) && said.contains(says), "{said}");
        assert_eq!(mark.exists(), away);
    }
    fs::rename(path("away.toml"), &settings)?;
    assert!(status() && !mark.exists(), "nothing was removed but the mark");

    // Each point by hand: what a kill leaves is a beginning of what a whole one makes.
    let left = ["init.unfinished", "keys", "store", "recovery.age", "bundles.count", "organisation.card"];
    for n in 1..=left.len() {
        let home = path(&format!("left{n}"));
        fs::create_dir(&home)?;
        for name in &left[..n] {
            match name.contains('.') {
                true => fs::write(format!("{home}/{name}"), "half")?,
                false => fs::create_dir(format!("{home}/{name}"))?,
            }
        }
        fs::write(format!("{home}/recovery.age.0011223344556677.tmp"), "")?;
        let words = init_words(&home, &path(&format!("left{n}.key")), &apart);
        let again = run_words(&words);
        assert!(again.status.success(), "{n}: {}", String::from_utf8_lossy(&again.stderr));
    }
    // Without the mark, or with something beside it, nothing is touched.
    for (name, names, says) in [
        ("foreign", &["init.unfinished", "keys", "letter.odt"][..], "`letter.odt`"),
        ("unmarked", &["keys", "store"], "not empty"),
    ] {
        let home = path(name);
        fs::create_dir(&home)?;
        names.iter().try_for_each(|name| fs::write(format!("{home}/{name}"), "mine"))?;
        let refused = run_words(&init_words(&home, &path(&format!("{name}.key")), &apart));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(2) && said.contains(says), "{name}: {said}");
        for file in names {
            assert_eq!(fs::read_to_string(format!("{home}/{file}"))?, "mine");
        }
    }
    Ok(())
}

/// Story: a record that partners hold turns out to be wrong. People refute it: it is withdrawn, is not released again, and
/// its event is told; and `status` says what the store takes.
#[test]
fn what_is_refuted_is_taken_back() {
    let (world, [mut a, mut b]) = World::of(96, ["a", "b"]);
    a.pair(&b);
    let _agreed = a.agree(&b, &entente_tests::items_clause(&["number", "eval", "serial"]));
    a.import("rows.csv", &Row::table(&world.rows("W", 2)));
    a.start();
    b.start();
    a.pass(&["W-00001", "W-00002"]);
    until("both arrive", || b.received().len() == 2);
    a.ok(&["review", "W-00001", "--state", "refuted"]);
    let withdrawn = || b.received().iter().filter(|r| r["state"] == "withdrawn").count();
    until("it is withdrawn", || withdrawn() == 1);
    let said = refusal(&a, &["release", "W-00001"], 2);
    assert!(said.contains("refuted"), "{said}");
    let shown = a.json(&["record", "show", "W-00001"]);
    let events: Vec<&str> =
        shown["events"].as_array().into_iter().flatten().filter_map(|e| e["what"].as_str()).collect();
    assert_eq!((events, &shown["state"]), (vec!["verified", "released", "refuted"], &"refuted".into()));
    assert!(a.json(&["status"])["store_bytes"].as_u64() > Some(10_000));

    // A query that names many lifts no refutation, and lowers nothing; one that fits nothing says so.
    let report = a.json(&["review", "--kind", "item", "--state", "reviewed"]);
    assert_eq!((&report["changed"], &report["stay"]), (&0.into(), &2.into()), "{report}");
    let state = |number: &str| a.json(&["record", "show", number])["state"].clone();
    assert_eq!((state("W-00001"), state("W-00002")), ("refuted".into(), "verified".into()));
    let said = refusal(&a, &["review", "--number", "W-99999", "--state", "refuted"], 2);
    assert!(said.contains("no record fits"), "{said}");
    assert_eq!(withdrawn(), 1);
    // What another recorded is theirs to review; the answer says whose.
    let said = refusal(&b, &["review", "W-00002", "--state", "refuted"], 2);
    assert!(said.contains("recorded by `a`"), "{said}");
}

/// Story: somebody moves the settings of a home away. Neither a command nor `init` sends them towards a new identity.
#[test]
fn a_home_without_its_settings_is_a_home() -> Outcome {
    let (_world, [a]) = World::of(97, ["a"]);
    let config = a.folder().config();
    let whole = fs::read(&config)?;
    fs::remove_file(&config)?;
    let apart = a.recovery_passphrase();
    let init =
        ["init", "--name", "A", "--handle", "a", "--listen", "127.0.0.1:0", "--recovery-passphrase-file", &apart];
    for args in [&["status"][..], &init] {
        let output = a.run(args);
        let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
        assert!(!output.status.success() && said.contains("put them back"), "{args:?}: {said}");
    }
    fs::write(&config, whole)?;
    a.ok(&["status"]);
    Ok(())
}
