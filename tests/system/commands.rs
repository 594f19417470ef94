//! Wrong commands and bad input: the exit code says whose fault, the message says where and what to do, and the home is
//! as it was before.

use entente_tests::{Home, Row, World, run};
use serde_json::Value;
use std::{error::Error, fs, os::unix::fs::PermissionsExt, process::Command};

type Outcome = Result<(), Box<dyn Error>>;

const HEADER: &str = "number,case,date,type,make,model,calibre,serial,marks,year,country_of_make,place,country,region,lat,\
                      lon,custody,recovered_from,collector,condition,notes,photos\n";

const CLAUSE: &str = r#"
[[clause]]
name = "items"
from = "a"
to = ["b"]
onward = "never"
retention-days = 30
disclose.item = ["number", "eval", "type"]
"#;

/// A refusal: exit code, blame, and what the message must say.
fn check(home: &Home, code: i32, blame: &str, args: &[&str], says: &[&str]) {
    let fault = home.refused(code, args);
    let message = fault["message"].as_str().unwrap_or_default();
    assert_eq!(fault["blame"], blame, "{args:?}: {message}");
    assert!(fault["code"].as_str().is_some_and(|code| !code.is_empty()), "{args:?}: {fault}");
    for part in says {
        assert!(message.contains(part), "{args:?}: `{part}` is missing in: {message}");
    }
}

/// Story: somebody at the keyboard names what is not there, or files that are not what they should be.
#[test]
fn what_is_typed_wrongly_is_refused_with_a_remedy_and_changes_nothing() -> Outcome {
    let (world, [a, b]) = World::of(71, ["a", "b"]);
    a.pair(&b);
    let agreed = a.agree(&b, CLAUSE);
    a.import("rows.csv", &Row::table(&world.rows("W", 20)));
    a.pass(&["W-00001"]);
    let id = agreed.id.as_str();
    let (absent, good) = (a.path("absent"), a.path("rows.csv"));
    let card = b.path("b.card");
    let other_words = a.json(&["identity", "show"])["words"].as_str().unwrap_or_default().to_owned();
    let map = a.file("map.toml", "name = \"m\"\n[[record]]\nname = \"item\"\nkind = \"item\"\nfeilds = 1\n");
    let base = "name = \"m\"\n[[record]]\nname = \"item\"\nkind = \"item\"\n[record.default]\neval = {}\n[record.fields]\n\
                number = { column = \"number\" }\ntype = { column = \"Sort\" }\n";
    let no_column = a.file("no-column.toml", base);
    let no_kind = a.file("no-kind.toml", &base.replace("kind = \"item\"", "kind = \"gun\""));
    let no_field = a.file("no-field.toml", &base.replace("type = ", "sort = "));
    let columns = a.file("columns.csv", "colour,weight\nred,3\n");
    let binary = a.path("binary.csv");
    fs::write(&binary, [0xff, 0xfe, 0x00, 0x01])?;
    let torn = a.file("torn.signed", "-----BEGIN ENTENTE AGREEMENT-----\nnot base64\n");
    let no_term = a.agreement_text(&b, Some(&agreed), &CLAUSE.replace("retention-days = 30\n", ""));
    let no_term = a.file("no-term.toml", &no_term);
    let jump = a.agreement_text(&b, Some(&agreed), CLAUSE).replace("version = 2", "version = 7");
    let jump = a.file("jump.toml", &jump);
    let stranger =
        a.agreement_text(&b, None, CLAUSE).replace("handle = \"b\"", "handle = \"z\"").replace("[\"b\"]", "[\"z\"]");
    let stranger = a.file("stranger.toml", &stranger);
    let unready =
        a.agreement_text(&b, None, CLAUSE).replace("\"letter\"", "\"Exchange of letters (put its date here)\"");
    let unready = a.file("unready.toml", &unready.replace("2036-12-31", "2026-01-31"));
    let exists = a.file("exists.jpg", "x");

    let input: [(&[&str], &[&str]); 31] = [
        (&["record", "show", "W-09999"], &["`W-09999`", "entente search"]),
        (&["record", "attachment", "W-00001", "-o", &exists], &["`W-00001`", "attachment"]),
        (&["review", "W-09999", "--state", "verified"], &["`W-09999`"]),
        (&["release", "W-00002", "W-09999"], &["`W-09999`"]),
        (&["review", "--state", "verified"], &["--all-drafts"]),
        (&["search", "--from", "yesterday"], &["`yesterday`", "2024-03"]),
        (&["search", "--from", "2026-03-25", "--until", "2026-03-20"], &["`2026-03-25`", "later", "`2026-03-20`"]),
        (&["release", "--from", "2026-04", "--until", "2026-03"], &["`2026-04`", "later"]),
        (&["release", "--serial", "UNK"], &["`UNK`", "no whole serial"]),
        (&["search", "--country", "Chad"], &["`Chad`", "two letters"]),
        (&["explain", "W-00001", "--to", "z"], &["`z`", "entente partner list"]),
        (&["partner", "add", &card, "--confirm", &other_words], &["words differ"]),
        (&["partner", "add", &columns, "--confirm", "x"], &["columns.csv", "card", "again"]),
        (&["partner", "suspend", "z"], &["`z`", "entente partner list"]),
        (&["import", &absent], &["absent"]),
        (&["import", &columns], &["column"]),
        (&["import", &binary], &["binary.csv"]),
        (&["import", &columns, "--map", &map], &["map.toml", "line 5", "feilds"]),
        (
            &["import", &good, "--map", &no_column],
            &["no-column.toml", "line 9, `Sort`", "import a file that has it", "serial"],
        ),
        (&["import", &good, "--map", &no_kind], &["no-kind.toml", "line 2", "`gun`", "write one of item, ammunition"]),
        (&["import", &good, "--map", &no_field], &["no-field.toml", "line 9", "fields.sort", "entente kinds item"]),
        (&["kinds", "gun"], &["`gun`", "use one of item, ammunition"]),
        (&["recall", "status", "0"], &["entente recall list"]),
        (&["import", &good, "--attachments", &absent], &["absent"]),
        (&["agreement", "check", &absent], &["absent"]),
        (&["agreement", "add", &torn], &["torn.signed"]),
        (&["agreement", "sign", &no_term, "--yes"], &["no-term.toml", "line ", "retention-days"]),
        (&["agreement", "sign", &jump, "--yes"], &["7"]),
        (&["agreement", "sign", &stranger, "--yes"], &["`z`"]),
        (
            &["agreement", "sign", &unready, "--yes"],
            &["unready.toml`: line 4, key `basis.text`", "cite the text", "line 7, key `until`", "2026-01-31"],
        ),
        (&["agreement", "accept", id, "--yes"], &[id]),
    ];
    for (args, says) in input {
        check(&a, 2, "input", args, says);
    }
    for usage in
        [&["reveiw", "--all-drafts"][..], &["release", "--everything"], &["review", "W-00001", "--state", "good"]]
    {
        check(&a, 2, "input", usage, &[]);
    }
    // What may not be released yet is listed, and the exit code tells that nothing was.
    let early = a.run(&["--json", "release", "W-00002"]);
    let listed: serde_json::Value = serde_json::from_slice(&early.stdout)?;
    assert!(listed["refused"][0]["why"].as_str().is_some_and(|why| why.contains("draft")), "{listed}");
    assert!(early.status.code() == Some(2) && String::from_utf8_lossy(&early.stderr).contains("not-reviewed"));
    // Nothing at a terminal can be asked here, so consent must be given by a flag.
    check(&a, 2, "input", &["agreement", "end", id], &["--yes"]);
    assert_eq!(fs::read_to_string(exists)?, "x");
    Ok(())
}

/// Story: a row is corrected before anybody looked at it. What goes through the gate as a whole is the correction; the
/// version before it stays a draft, and goes only if somebody names it.
#[test]
fn what_was_corrected_before_its_release_stays_behind() {
    let (world, [a]) = World::of(75, ["a"]);
    let mut rows = world.rows("C", 4);
    a.import("rows.csv", &Row::table(&rows));
    rows[1].marks = "anchor 9911".to_owned();
    a.import("mended.csv", &Row::table(&rows));
    let items = |query: &[&str]| -> Vec<(String, String)> {
        let found = a.json(&[&["search", "--kind", "item"], query].concat());
        let found = found.as_array().cloned().unwrap_or_default();
        found.iter().map(|r| (r["number"].to_string(), r["id"].to_string())).collect()
    };
    assert_eq!(items(&[]).len(), 5);
    a.pass_all();
    let drafts = items(&["--state", "draft"]);
    assert!(drafts.len() == 1 && drafts[0].0.contains("C-00002"), "{drafts:?}");
    let released = items(&["--state", "verified"]);
    assert_eq!(released.len(), 4, "{released:?}");
    assert!(released.iter().any(|(number, id)| number.contains("C-00002") && *id != drafts[0].1));
}

/// Story: one row in a table is bad, in each way. It is named by line and column; its neighbours are kept.
#[test]
fn bad_rows_are_named_and_their_neighbours_kept() {
    let (world, [a]) = World::of(72, ["a"]);
    let rows = world.rows("X", 8);
    let table = Row::table(&rows);
    let mut lines: Vec<String> = table.lines().map(str::to_owned).collect();
    lines[2] = lines[2].replace("2026-02-03", "2026-02-30");
    lines[4] = lines[4].replace(&format!(",{},", rows[0].point.0), ",95.5,");
    lines[6] = lines[6].replace("pistol", "catapult");
    lines[7].push_str(",one,two");
    let file = a.file("bad.csv", &(lines.join("\n") + "\n"));
    let trial = a.json(&["import", &file, "--dry-run"]);
    assert_eq!((&trial["bad_rows"], &a.json(&["status"])["records_own"]), (&4.into(), &0.into()), "{trial}");
    let report = a.json(&["import", &file]);
    let named: Vec<(u64, &str)> = report["bad"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|bad| (bad["row"].as_u64().unwrap_or_default(), bad["column"].as_str().unwrap_or("(row)")))
        .collect();
    assert_eq!(named, [(3, "date"), (5, "lat"), (7, "type"), (8, "(row)")], "{report}");
    let kept = a.json(&["search", "--own", "--kind", "item"]);
    assert_eq!(kept.as_array().map(Vec::len), Some(4));
    let again = a.json(&["import", &file]);
    assert_eq!((&again["added"], &again["repeated_rows"]), (&0.into(), &4.into()), "the same file again adds nothing");
}

/// Story: every row of a table is bad. The report names them, and the exit code says that nothing was kept; where one
/// row is kept, or was before, it does not.
#[test]
fn an_import_that_keeps_nothing_fails() -> Outcome {
    let (world, [a]) = World::of(76, ["a"]);
    let good = Row::table(&world.rows("V", 2));
    let bad = good.replace("2026-02-03", "2026-02-30");
    let half: String =
        good.lines().chain(bad.lines().skip(2)).map(|line| line.replace("V-00002", "V-00003") + "\n").collect();
    let (good, bad, half) = (a.file("good.csv", &good), a.file("bad.csv", &bad), a.file("half.csv", &half));
    for args in [&["--json", "import", &bad][..], &["--json", "import", &bad, "--dry-run"]] {
        let output = a.run(args);
        let (report, fault): (Value, Value) =
            (serde_json::from_slice(&output.stdout)?, serde_json::from_slice(&output.stderr)?);
        assert_eq!((output.status.code(), &report["bad_rows"]), (Some(2), &2.into()), "{report}");
        assert_eq!((&fault["error"]["blame"], &fault["error"]["code"]), (&"input".into(), &"no-rows".into()));
        assert!(fault["error"]["message"].as_str().is_some_and(|m| m.contains(&bad)), "{fault}");
    }
    assert_eq!(a.json(&["status"])["records_own"], 0);
    a.ok(&["import", &good]);
    for _ in 0..2 {
        let report = a.json(&["import", &half]);
        assert_eq!(report["bad_rows"], 1, "{report}");
    }
    Ok(())
}

/// Story: the home, its secret, the partner or the store is at fault: each has its own exit code.
#[test]
fn each_fault_has_the_exit_code_of_whose_it_is() -> Outcome {
    let (world, [mut a, b]) = World::of(73, ["a", "b"]);
    a.pair(&b);
    let _agreed = a.agree(&b, CLAUSE);
    a.import("rows.csv", &Row::table(&world.rows("Y", 3)));
    let home = a.path("a");
    let told = |args: &[&str]| -> Result<(Option<i32>, Value), Box<dyn Error>> {
        let output = run(&[&["--json"], args].concat(), &[]);
        let said = String::from_utf8(output.stderr)?;
        Ok((
            output.status.code(),
            serde_json::from_str::<Value>(said.lines().last().ok_or("silent")?)?["error"].clone(),
        ))
    };
    let says = |fault: &Value, part: &str| fault["message"].as_str().is_some_and(|m| m.contains(part));

    let nowhere = a.path("nowhere");
    let (code, fault) = told(&["--home", &nowhere, "status"])?;
    assert!(code == Some(3) && fault["blame"] == "setup" && says(&fault, "entente init"), "{code:?} {fault}");
    let other_key = b.path("b.key");
    let (code, fault) = told(&["--home", &home, "--identity-file", &other_key, "status"])?;
    assert!(code == Some(3) && fault["blame"] == "setup", "{code:?} {fault}");
    let open_key = a.path("open.key");
    fs::copy(a.path("a.key"), &open_key)?;
    fs::set_permissions(&open_key, fs::Permissions::from_mode(0o644))?;
    let (code, fault) = told(&["--home", &home, "--identity-file", &open_key, "status"])?;
    assert!(code == Some(3) && says(&fault, "chmod 600"), "{code:?} {fault}");
    let (code, fault) = told(&[
        "--home",
        &home,
        "init",
        "--name",
        "A",
        "--handle",
        "a",
        "--listen",
        "127.0.0.1:0",
        "--identity-file",
        &open_key,
        "--recovery-passphrase-file",
        &a.recovery_passphrase(),
    ])?;
    assert!(code == Some(2) && says(&fault, "not empty"), "{code:?} {fault}");
    let settings = fs::read_to_string(a.folder().config())?;
    fs::write(a.folder().config(), format!("lisen = \"x\"\n{settings}"))?;
    let key = a.path("a.key");
    let (code, fault) = told(&["--home", &home, "--identity-file", &key, "status"])?;
    assert!(code == Some(3) && says(&fault, "lisen"), "{code:?} {fault}");
    fs::write(a.folder().config(), settings)?;

    // A partner that does not answer.
    check(&a, 4, "partner", &["sync", "b"], &["`b`", "cannot be reached"]);
    // Another process has the store.
    a.start();
    fs::remove_file(a.folder().path().join("control.sock"))?;
    let (code, fault) = told(&["--home", &home, "--identity-file", &key, "status"])?;
    assert!(code == Some(5) && fault["blame"] == "store", "{code:?} {fault}");
    a.kill();
    assert_eq!(a.json(&["status"])["records_own"], 6, "three items, their case, its custodian and holder");
    Ok(())
}

/// Story: records are named by what they say. Each flag finds exactly what it names, and a review or a release that is
/// given the same flags passes exactly that.
#[test]
fn a_query_passes_exactly_what_it_names() {
    let given = [
        ("2026-03-19", "Croatia", "Chad"),
        ("2026-03-20", "Serbia", "Chad"),
        ("2026-03-25", "Croatia", "Niger"),
        ("2026-03-26", "Serbia", "Niger"),
        ("2025-03-22", "Serbia", "Niger"),
    ];
    let table: String = (1..).zip(given).fold(HEADER.to_owned(), |table, (n, (day, made, found))| {
        let rest = "Lac,13.4,14.6,Court,cache,X,serviceable,,";
        table + &format!("Q-{n},K-{n},{day},pistol,Works,M1,9x19,AB 100{n},,1990,{made},Here,{found},{rest}\n")
    });
    let queries: [(&[&str], &[&str]); 9] = [
        (&["--kind", "event", "--from", "2026-03-20", "--until", "2026-03-25"], &["K-2", "K-3"]),
        (&["--from", "2026-03-25"], &["K-3", "K-4"]),
        (&["--until", "2026-03-19"], &["K-1", "K-5"]),
        (&["--from", "2026-03", "--until", "2026-03"], &["K-1", "K-2", "K-3", "K-4"]),
        (&["--serial", "ab1002"], &["Q-2"]),
        (&["--kind", "party"], &["PARTY-Court", "PARTY-cache"]),
        (&["--country", "HR"], &["Q-1", "Q-3"]),
        (&["--country", "TD", "--until", "2026-03-19"], &["K-1"]),
        (&["--number", "Q-4"], &["Q-4"]),
    ];
    let (_world, [a]) = World::of(74, ["a"]);
    a.import("rows.csv", &table);
    let numbers = |args: &[&str]| -> Vec<String> {
        let found = a.json(&[&["search"], args].concat());
        let numbers = found.as_array().into_iter().flatten().filter_map(|r| r["number"].as_str().map(str::to_owned));
        let mut numbers: Vec<String> = numbers.collect();
        numbers.sort();
        numbers
    };
    for (query, named) in queries {
        assert_eq!(numbers(query), named, "{query:?}");
        // Every record is reviewed, then only what is named is verified and released.
        a.ok(&["review", "--all-drafts", "--state", "reviewed"]);
        let verified = a.json(&[&["review", "--state", "verified"], query].concat());
        assert_eq!(numbers(&["--state", "verified"]), named, "review {query:?}: {verified}");
        let released = a.json(&[&["release"], query].concat());
        let count = |outcome: &Value| ["changed", "unchanged"].map(|key| outcome[key].as_u64().unwrap_or(99));
        assert_eq!(count(&released).iter().sum::<u64>(), named.len() as u64, "release {query:?}: {released}");
        // A query lowers nothing: for the next one each is named.
        a.ok(&[&["review", "--state", "reviewed"], named].concat());
    }
}

/// Story: what is named is no file that ends: a device, and a pipe that nobody writes to. It is refused at once, by its
/// name, wherever a file is asked for.
#[test]
fn what_has_no_end_is_not_read() -> Outcome {
    let (world, [a, b]) = World::of(75, ["a", "b"]);
    a.pair(&b);
    let rows = a.file("rows.csv", &Row::table(&world.rows("Z", 1)));
    let pipe = a.path("pipe.csv");
    assert!(Command::new("mkfifo").arg(&pipe).status()?.success());
    for endless in ["/dev/zero", &pipe] {
        let named = format!("`{endless}`");
        for args in [
            &["partner", "add", endless, "--confirm", "x"][..],
            &["import", endless],
            &["import", &rows, "--map", endless],
            &["agreement", "check", endless],
            &["agreement", "sign", endless, "--yes"],
            &["agreement", "add", endless],
            &["redline", "check", endless],
        ] {
            check(&a, 2, "input", args, &[&named, "not a regular file"]);
        }
    }
    Ok(())
}

/// Story: what is named is not there, whatever it is. It is named back, and the message says where to look or what to do.
#[test]
fn what_is_not_there_is_named_with_what_to_do() {
    let (_world, [a]) = World::of(77, ["a"]);
    let (no, file) = ("nobody-9", a.path("absent.toml"));
    let list = ["entente search", "entente partner list", "entente agreement list", "is its name right"];
    let [records, partners, agreements, files] = list;
    let named: [(&[&str], &str); 24] = [
        (&["record", "show", no], records),
        (&["record", "verify", no], records),
        (&["record", "attachment", no, "-o", "/tmp/x"], records),
        (&["review", no, "--state", "verified"], records),
        (&["release", no], records),
        (&["explain", no, "--to", no], records),
        (&["partner", "show", no], partners),
        (&["partner", "suspend", no], partners),
        (&["partner", "resume", no], partners),
        (&["partner", "remove", no, "--yes"], partners),
        (&["sync", no], partners),
        (&["agreement", "show", no], agreements),
        (&["agreement", "accept", no, "--yes"], agreements),
        (&["agreement", "drop", no, "--yes"], agreements),
        (&["agreement", "suspend", no], agreements),
        (&["agreement", "resume", no], agreements),
        (&["agreement", "end", no, "--yes"], agreements),
        (&["partner", "add", &file, "--confirm", "x"], files),
        (&["agreement", "check", &file], files),
        (&["agreement", "sign", &file, "--yes"], files),
        (&["agreement", "add", &file], files),
        (&["redline", "check", &file], files),
        (&["import", &file], files),
        (&["import", &a.file("rows.csv", HEADER), "--map", &file], files),
    ];
    for (args, remedy) in named {
        let name = if remedy == files { file.as_str() } else { no };
        check(&a, 2, "input", args, &[&format!("`{name}`"), remedy]);
    }
}

/// Story: a byte of a node's own certificate rots, and of the card that a partner sent. Neither is used: the message names
/// the folder or file, and a certificate is made anew by one command.
#[test]
fn a_certificate_or_card_of_which_a_byte_changed_is_named() -> Outcome {
    let (_world, [mut a, b]) = World::of(72, ["a", "b"]);
    b.ok(&["identity", "card", "-o", &b.path("b.card")]);
    let card = fs::read_to_string(b.path("b.card"))?;
    let words = b.json(&["identity", "show"])["words"].as_str().unwrap_or_default().to_owned();
    let middle = card.len() / 2;
    let other = if card.as_bytes()[middle] == b'A' { "B" } else { "A" };
    for (name, text) in [
        ("changed.card", format!("{}{other}{}", &card[..middle], &card[middle + 1..])),
        ("cut.card", card[..middle].to_owned()),
    ] {
        let file = a.file(name, &text);
        check(&a, 2, "input", &["partner", "add", &file, "--confirm", &words], &[name]);
    }
    let path = a.folder().keys().join("tls.der");
    let whole = fs::read(&path)?;
    // In the public key, behind the second Ed25519 of the certificate, and in the signature. One that cannot even be read,
    // as with a name that is no name any more, is made anew when the node starts.
    let ed25519 = [0x2b, 0x65, 0x70];
    let key = (0..whole.len()).filter(|at| whole[*at..].starts_with(&ed25519)).nth(1).ok_or("a key")?;
    for at in [key + 12, whole.len() - 10] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&path, &changed)?;
        let output = a.run(&["--json", "run"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(["certificate", "identity renew"].iter().all(|part| said.contains(part)), "{said}");
    }
    a.ok(&["identity", "renew"]);
    a.start();
    assert_eq!(a.json(&["status"])["handle"], "a");
    a.stop();
    // The name in it is no name any more: it is made anew, and that is told.
    let mut unreadable = fs::read(&path)?;
    let name = (0..unreadable.len()).find(|at| unreadable[*at..].starts_with(b"entente:")).ok_or("a name")?;
    unreadable[name] = b'E';
    fs::write(&path, &unreadable)?;
    let from = a.log().len();
    a.start();
    a.logs(from, &["tls.der", "did not count, and was made anew"]);
    assert_ne!(fs::read(&path)?, unreadable);
    a.stop();
    Ok(())
}
