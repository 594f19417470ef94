//! An auditor's view with the real program: who may do what in the role, what an export proves to whoever has no home, and
//! that no word of any record, no name of a person, no file and no source is in it.

use entente_tests::{
    Home, Row, World, entente, items_clause, listing, output,
    search::{Search, Secret},
    until,
};
use serde_json::Value;
use std::{error::Error, fs, io::Write, os::unix::fs::PermissionsExt, path::Path, process::Command};

type Outcome = Result<(), Box<dyn Error>>;

/// Where people's names, a source and names of files stand nowhere else.
const PERSONS: [&str; 4] = ["Zqxadministrator", "Zqxcollector", "Zqxverifier", "Zqxauditor"];

/// A person of a home, with that one's passphrase in a file that nobody else reads.
struct Person(Vec<String>);

impl Person {
    fn add(home: &Home, by: Option<&Self>, name: &str, roles: &[&str]) -> Result<Self, Box<dyn Error>> {
        let phrase = home.path(&format!("{name}.phrase"));
        fs::write(&phrase, format!("the words of {name} alone\n"))?;
        fs::set_permissions(&phrase, fs::Permissions::from_mode(0o600))?;
        let mut args: Vec<&str> = by.map(|by| by.0.iter().map(String::as_str).collect()).unwrap_or_default();
        args.extend(["user", "add", name, "--new-passphrase-file", &phrase]);
        args.extend(roles.iter().flat_map(|role| ["--role", role]));
        home.ok(&args);
        Ok(Self(vec!["--user".to_owned(), name.to_owned(), "--user-passphrase-file".to_owned(), phrase]))
    }
    fn args<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        self.0.iter().map(String::as_str).chain(args.iter().copied()).collect()
    }
    fn json(&self, home: &Home, args: &[&str]) -> Value {
        home.json(&self.args(args))
    }
    fn refused(&self, home: &Home, args: &[&str]) -> Value {
        home.refused(2, &self.args(args))["code"].clone()
    }
}

/// A command in a process that knows no home: its exit code, and what it said.
fn outside(args: &[&str]) -> Result<(i32, String), Box<dyn Error>> {
    let output = output(Command::new(entente()).args(args).env_remove("ENTENTE_HOME"))?;
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    Ok((output.status.code().unwrap_or(-1), String::from_utf8(said)?))
}

/// What the program says of an export, outside any home.
pub fn judged(args: &[&str]) -> Result<(i32, Value), Box<dyn Error>> {
    let (code, said) = outside(&[&["--json", "audit"], args].concat())?;
    Ok((code, serde_json::from_str(&said)?))
}

fn quick(home: &Home) -> Outcome {
    let settings = home.path(&format!("{}/entente.toml", home.handle));
    let mut file = fs::OpenOptions::new().append(true).open(settings)?;
    Ok(file.write_all(b"log-interval = 1\nnamed-witness = true\n")?)
}

/// Evidence whose every value stands nowhere else, a photograph's name, and the people.
fn canaries(rows: &[Row]) -> Vec<Secret> {
    let mut secrets: Vec<Secret> = PERSONS.iter().map(|name| Secret::text(name)).collect();
    for row in rows {
        let said = [
            &row.number,
            &row.serial,
            &row.make,
            &row.place,
            &row.collector,
            &row.custody,
            &row.note,
            &row.marks,
            &row.case,
        ];
        secrets.extend(said.map(|text| Secret::text(text)));
        secrets.extend([&row.point.0, &row.point.1].map(|degrees| Secret::text(degrees)));
    }
    secrets.extend(["zqxpaper", "zqxrows", "zqxreason"].map(Secret::text));
    secrets
}

fn leaks(secrets: &[Secret], files: &[&str]) -> Result<Vec<String>, Box<dyn Error>> {
    let (search, mut found) = (Search::new(secrets), Vec::new());
    for file in files {
        found.extend(search.found(&fs::read(file)?).into_iter().map(|what| format!("{what} in {file}")));
    }
    Ok(found)
}

/// Story: an organisation shares evidence with two partners for a day, recalls some of it, and an auditor comes. The auditor
/// sees no record, exports what there is to judge, takes it home, and finds that everything holds. A page of it is printed.
/// Nothing in any of these files says what the evidence is, or who worked on it.
#[test]
fn an_auditor_judges_every_release_and_sees_no_evidence() -> Outcome {
    let (world, [mut a, mut b, mut c]) = World::of(171, ["a", "b", "c"]);
    for home in [&a, &b, &c] {
        quick(home)?;
    }
    a.pair(&b);
    a.pair(&c);
    let fields = items_clause(&["number", "eval", "type", "serial", "serial-prefix", "serial-state", "make"]);
    let _first = a.agree(&b, &fields);
    let mut rows = world.rows("ZQX", 6);
    for row in &mut rows {
        row.serial = row.serial.replace("QX ", "ZQX9");
    }
    let secrets = canaries(&rows);
    let admin = Person::add(&a, None, PERSONS[0], &["administrator"])?;
    let collector = Person::add(&a, Some(&admin), PERSONS[1], &["collector", "contact"])?;
    let verifier = Person::add(&a, Some(&admin), PERSONS[2], &["reviewer", "verifier", "contact"])?;
    let auditor = Person::add(&a, Some(&admin), PERSONS[3], &["auditor"])?;
    let photos = a.path("photos");
    fs::create_dir(&photos)?;
    fs::write(format!("{photos}/zqxpaper.pdf"), "%PDF-1.4 of a day")?;
    let mut lines: Vec<String> = Row::table(&rows).lines().map(str::to_owned).collect();
    lines[1].push_str("zqxpaper.pdf");
    let table = a.file("zqxrows.csv", &(lines.join("\n") + "\n"));
    for home in [&mut a, &mut b, &mut c] {
        home.start();
    }
    collector.json(&a, &["import", &table, "--attachments", &photos]);
    verifier.json(&a, &["review", "--all-drafts", "--state", "verified"]);
    verifier.json(&a, &["release", "--all-reviewed"]);
    a.sync(&b);
    until("the records came", || b.received().len() >= 6);
    let first = rows[0].number.as_str();
    verifier.json(
        &a,
        &["recall", "propose", first, "--act", "withdraw", "--reason", "zqxreason of a day", "--by", PERSONS[2]],
    );
    collector.json(&a, &["recall", "confirm", "1", "--by", PERSONS[1], "--yes"]);
    a.sync(&b);
    until("the log is witnessed beyond what left", || {
        let shown = auditor.json(&a, &["log", "show"]);
        shown["witnessed"]["size"].as_u64() > Some(3)
    });
    std::thread::sleep(std::time::Duration::from_secs(3));

    // Both directions of the role.
    let file = a.path("day.audit");
    for args in [
        &["search"][..],
        &["record", "show", first],
        &["record", "history", first],
        &["explain", first, "--to", "b"],
        &["recall", "list"],
        &["partner", "list"],
        &["package", first, "-o", &a.path("p.zip")],
        &["review", first, "--state", "verified"],
    ] {
        assert_eq!(auditor.refused(&a, args), "not-permitted", "{args:?}");
    }
    for person in [&collector, &verifier] {
        assert_eq!(person.refused(&a, &["audit", "export", "-o", &file]), "not-permitted");
    }
    assert_eq!(a.refused(2, &["audit", "export", "-o", &file])["code"], "needs-user");
    let made = auditor.json(&a, &["audit", "export", "-o", &file]);
    assert!(made["runs"].as_u64() >= Some(2) && made["events"].as_u64() > Some(10), "{made}");
    assert_eq!(auditor.refused(&a, &["audit", "export", "-o", &file]), "exists");
    auditor.json(&a, &["audit", "export", "-o", &file, "--force"]);
    let journal = a.path("journal.json");
    fs::write(&journal, auditor.json(&a, &["log", "journal", "--limit", "5000"]).to_string())?;

    let (code, said) = judged(&["verify", &file])?;
    assert_eq!((code, &said["ok"]), (0, &Value::Bool(true)), "{said:#}");
    assert_eq!(listing::faults(&said), Vec::<String>::new(), "{said:#}");
    assert_eq!(said["compared"], false);
    let to_b = said["feeds"].as_array().into_iter().flatten().find(|feed| feed["to"] == "B").ok_or("a feed to B")?;
    assert!(to_b["releases"].as_u64() >= Some(6) && to_b["withdrawals"].as_u64() == Some(1), "{said:#}");
    let checks = said["checks"].as_array().ok_or("checks")?;
    assert!(checks.iter().all(|check| check["wrong"] == 0), "{said:#}");
    // Whoever made it could have invented those whose cards nobody compared.
    let witnesses = said["witnesses"].as_array().ok_or("witnesses")?;
    assert!(said["witnessed_until"].is_null() && witnesses.iter().all(|seen| seen["compared"] == false), "{said:#}");
    let (card, of_b) = (a.path("a.card"), a.path("b.card"));
    let (code, named) = judged(&["verify", &file, "--card", &card, "--card", &of_b])?;
    assert!(named["witnessed_until"].is_string() && named["ok"] == true, "{named:#}");
    assert!(named["witnesses"].to_string().contains("\"compared\":true"), "{named:#}");
    assert!(code == 0 && named["organisations"].to_string().contains("\"confirmed\":true"), "{named}");

    let (page, printed) = (a.path("day.html"), a.path("day.json"));
    let (code, told) = outside(&["audit", "report", &file, "--html", &page])?;
    assert!(code == 0 && told.contains("holds") && told.contains("day.html"), "{told}");
    let html = fs::read_to_string(&page)?;
    assert!(
        html.starts_with("<!doctype html>") && html.contains("agreement coverage") && html.contains("@media print")
    );
    assert!(!["<script", "http:", "https:", "src="].iter().any(|never| html.contains(never)), "{html}");
    let (code, report) = judged(&["report", &file])?;
    assert_eq!((code, &report["checks"]), (0, &said["checks"]));
    fs::write(&printed, report.to_string())?;
    let (_, told) = outside(&["audit", "verify", &file])?;
    assert!(told.contains("custody") && told.contains("Not proved"), "{told}");
    fs::write(a.path("told"), &told)?;
    cards_are_told(&a, &file, (&card, &of_b))?;

    let found = leaks(&secrets, &[&file, &page, &printed, &journal, &a.path("told")])?;
    assert!(found.is_empty(), "{found:#?}");
    // The search itself finds them where they are.
    assert!(!leaks(&secrets, &[&table])?.is_empty());
    for home in [&mut a, &mut b, &mut c] {
        home.stop();
    }
    let checked = auditor.json(&a, &["check"]);
    assert!(checked.as_array().is_some_and(|parts| parts.iter().all(|part| part["ok"] == true)), "{checked:#}");
    // Beside a node that does not run, too.
    auditor.json(&a, &["audit", "export", "-o", &file, "--force"]);
    assert_eq!(judged(&["verify", &file])?.0, 0);
    bad_input(&a, &file, &page)
}

/// Whose card nobody compared stands above the verdict, and each card is told with its words and what became of it.
fn cards_are_told(a: &Home, file: &str, (card, of_b): (&str, &str)) -> Outcome {
    let words = a.json(&["identity", "show"])["words"].as_str().ok_or("words")?.to_owned();
    let (_, told) = outside(&["audit", "verify", file])?;
    assert!(told.starts_with("not compared  the card of A, which made this file"), "{told}");
    assert!(told.contains(&words) && told.contains("\nholds  "), "{told}");
    let (_, told) = outside(&["audit", "verify", file, "--card", card])?;
    assert!(told.starts_with("holds  ") && told.contains(&words), "{told}");
    let of = |told: &str, name: &str| {
        let row =
            told.lines().find(|line| line.starts_with(&format!("{name} ")) && line.contains("maker") == (name == "A"));
        row.unwrap_or_default().to_owned()
    };
    assert!(of(&told, "A").contains("it is the card that you gave"), "{told}");
    assert!(of(&told, "B").contains("nobody has compared") && of(&told, "B").contains("receiver, witness"), "{told}");
    let (_, both) = judged(&["verify", file, "--card", card, "--card", of_b])?;
    let compared: Vec<(&str, bool)> = both["organisations"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| (row["name"].as_str().unwrap_or_default(), row["compared"] == true))
        .collect();
    for (name, is) in [("A", true), ("B", true), ("C", false)] {
        assert!(compared.contains(&(name, is)), "{both:#}");
    }
    assert_eq!(both["compared"], false, "the overall word is of every card");
    // On paper, too.
    let (page, again) = (a.path("cards.html"), ["audit", "report", file, "--html"]);
    let (_, told) = outside(&[&again[..], &[&page]].concat())?;
    assert!(told.starts_with("not compared") && fs::read_to_string(&page)?.contains("Not compared"), "{told}");
    let (_, told) = outside(&[&again[..], &[&page, "--force", "--card", card]].concat())?;
    assert!(told.starts_with("holds") && !fs::read_to_string(&page)?.contains("Not compared"), "{told}");
    Ok(())
}

/// A whole folder, as a copy of a disk has it.
fn copy(from: &Path, to: &Path) -> Outcome {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_dir() => copy(&entry.path(), &to.join(entry.file_name()))?,
            kind if kind.is_file() => drop(fs::copy(entry.path(), to.join(entry.file_name()))?),
            _ => {}
        }
    }
    Ok(())
}

fn until_witnessed(home: &Home, size: u64) {
    until("the log is witnessed", || home.json(&["log", "show"])["witnessed"]["size"].as_u64() > Some(size));
}

/// Story: an auditor takes a head of the log home, and asks the partner for another. Then the organisation puts an old copy of
/// its store back, says nothing to that partner, and goes on as if the days between had never been; a third organisation, which
/// saw nothing, witnesses the log that it makes anew. Everything in its next export fits together: only the heads tell.
#[test]
fn history_that_was_made_anew_shows_against_a_kept_head() -> Outcome {
    let (world, [mut a, mut b, mut c]) = World::of(173, ["a", "b", "c"]);
    for home in [&a, &b, &c] {
        quick(home)?;
    }
    a.pair(&b);
    a.pair(&c);
    let _agreed = a.agree(&b, &items_clause(&["number", "eval", "type"]));
    assert_eq!(a.refused(2, &["log", "head", "-o", &a.path("none.head")])["code"], "no-head");
    assert_eq!(b.refused(2, &["log", "head", "a", "-o", &b.path("none.head")])["code"], "no-head");
    let (home, copied) = (a.path("a"), a.path("a-of-monday"));
    copy(Path::new(&home), Path::new(&copied))?;
    a.import("rows.csv", &Row::table(&world.rows("H", 2)));
    a.pass_all();
    a.start();
    b.start();
    a.sync(&b);
    until("the records came", || b.received().len() == 2);
    until_witnessed(&a, 3);
    let [own, theirs] = [a.path("own.head"), b.path("theirs.head")];
    let kept = a.json(&["log", "head", "-o", &own]);
    assert!(kept["of"] == "own" && kept["size"].as_u64() > Some(3), "{kept}");
    assert_eq!(a.refused(2, &["log", "head", "-o", &own])["code"], "exists");
    a.ok(&["log", "head", "-o", &own, "--force"]);
    let seen = b.json(&["log", "head", "a", "--out", &theirs]);
    assert_eq!((&seen["of"], &seen["origin"]), (&"a".into(), &kept["origin"]));
    assert_eq!(c.refused(2, &["log", "head", "a", "-o", &c.path("none.head")])["code"], "no-head");
    let said = String::from_utf8(a.run(&["log", "head", "-o", &own, "--force"]).stdout)?;
    assert!(said.contains("own.head") && said.contains("until"), "{said}");

    let (file, first) = (a.path("first.audit"), a.path("first.head"));
    a.ok(&["audit", "export", "-o", &file]);
    let (code, said) = judged(&["verify", &file, "--head", &own, "--head", &theirs, "--keep-head", &first])?;
    assert_eq!(code, 0, "{said:#}");
    let asked = |said: &Value| {
        let checks = said["checks"].as_array().into_iter().flatten();
        checks.filter(|check| check["id"] == "kept heads").map(|check| check["checked"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(asked(&said), [Value::from(2)]);
    assert_eq!(fs::read_to_string(&first)?, said["head"].as_str().ok_or("head")?);
    let (code, told) = outside(&["audit", "verify", &file, "--keep-head", &first])?;
    assert!(code == 2 && told.contains("first.head"), "a head that was kept is not written over: {told}");
    let (_, told) = outside(&["audit", "verify", &file])?;
    assert!(told.contains("give a head that you kept"), "{told}");

    // The copy of Monday takes its place.
    let size = kept["size"].as_u64().ok_or("size")?.max(seen["size"].as_u64().unwrap_or_default());
    a.stop();
    b.stop();
    fs::rename(&home, a.path("a-of-friday"))?;
    fs::rename(&copied, &home)?;
    c.start();
    a.start();
    until_witnessed(&a, size + 1);
    a.import("other.csv", &Row::table(&world.rows("K", 1)));
    let last = a.json(&["log", "show"])["witnessed"]["size"].as_u64().unwrap_or_default();
    until_witnessed(&a, last + 1);
    let anew = a.path("anew.audit");
    a.ok(&["audit", "export", "-o", &anew]);
    let (code, said) = judged(&["verify", &anew])?;
    assert_eq!(code, 0, "nothing in it shows: {said:#}");
    for head in [&own, &theirs, &first] {
        let (code, said) = judged(&["verify", &anew, "--head", head])?;
        let says = said["findings"].to_string();
        assert!(code == 6 && says.contains("history was made anew") && says.contains("kept heads"), "{says}");
    }
    let lost = a.path("lost.head");
    let (code, told) = outside(&["audit", "verify", &anew, "--head", &own, "--keep-head", &lost])?;
    assert!(code == 6 && told.contains("history was made anew") && told.contains("does not hold"), "{told}");
    assert!(!Path::new(&lost).exists(), "what does not hold is not kept");
    // What is no head of this log says nothing of it.
    for (given, says) in [(&file, "first.audit"), (&c_head(&c, &a)?, "another organisation's log")] {
        let (code, said) = judged(&["verify", &anew, "--head", given])?;
        assert!(code == 2 && said["error"]["code"] == "head" && said.to_string().contains(says), "{said}");
    }
    crate::audit_again::second_reader(&mut a, [&file, &anew], &own)
}

/// A head of another log.
fn c_head(c: &Home, a: &Home) -> Result<String, Box<dyn Error>> {
    let path = a.path("of-c.head");
    until("its log is seen", || a.run(&["log", "head", "c", "-o", &path, "--force"]).status.success());
    assert!(c.json(&["log", "show"])["size"].as_u64() > Some(0));
    Ok(path)
}

/// Whatever is wrong with a file is said, with an exit code that tells whose it is.
fn bad_input(home: &Home, file: &str, page: &str) -> Outcome {
    // A card of somebody who has nothing to do with it.
    let (_other, [nobody]) = World::of(172, ["n"]);
    let stranger = nobody.path("stranger.card");
    nobody.ok(&["identity", "card", "-o", &stranger]);
    let good = fs::read(file)?;
    let mut changed = good.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    let whole = |name: &str, bytes: &[u8]| -> Result<String, Box<dyn Error>> {
        let path = home.path(name);
        fs::write(&path, bytes)?;
        Ok(path)
    };
    for (name, bytes) in [
        ("changed.audit", changed.as_slice()),
        ("cut.audit", &good[..good.len() - 7]),
        ("empty.audit", b""),
        ("table.audit", b"number,case\n1,2\n"),
        ("longer.audit", &[good.as_slice(), b"\x00"].concat()),
    ] {
        let path = whole(name, bytes)?;
        let (code, said) = judged(&["verify", &path])?;
        assert_eq!((code, &said["ok"]), (6, &Value::Bool(false)), "{name}: {said}");
        assert!(said["refused"].as_str().is_some_and(|why| why.len() > 20), "{name}: {said}");
        let (code, told) = outside(&["audit", "verify", &path])?;
        assert!(code == 6 && told.contains("refused") && told.contains("Nothing in this file is proved"), "{told}");
    }
    // A page of what is refused says so, and nothing else.
    let refused = home.path("refused.html");
    let (code, _) = outside(&["audit", "report", &home.path("changed.audit"), "--html", &refused])?;
    assert!(code == 6 && fs::read_to_string(&refused)?.contains("Refused"));
    let absent = home.path("absent.audit");
    for (args, says) in [
        (vec!["audit", "verify", absent.as_str()], "absent.audit"),
        (vec!["audit", "report", file, "--html", page], "--force"),
        (vec!["audit", "report", file], "--html FILE"),
        (vec!["audit", "verify", file, "--card", file], "day.audit"),
        (vec!["audit", "verify", file, "--card", &stranger], "of which nothing is in this audit"),
        (vec!["audit", "verify"], "--help"),
    ] {
        let (code, said) = outside(&args)?;
        assert!(code == 2 && said.contains(says), "{args:?}: {code}: {said}");
    }
    let folder = Path::new(file).parent().ok_or("a folder")?.display().to_string();
    assert_eq!(outside(&["audit", "verify", &folder])?.0, 2);
    Ok(())
}
