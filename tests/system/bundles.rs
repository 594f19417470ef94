//! Organisations that never connect: everything passes in files, on sticks that come late, twice, in the wrong order or
//! not at all, or over a line that goes one way.

use entente_node::journal;
use entente_tests::{Home, Row, World, ended, entente, items_clause, search, search::Secret};
use serde_json::Value;
use std::{
    error::Error,
    fs,
    process::{Command, Stdio},
    time::Duration,
};

type Outcome = Result<(), Box<dyn Error>>;

const FIELDS: [&str; 5] = ["number", "eval", "type", "make", "serial"];

/// Exports to a partner into a file of the story's folder.
fn export(home: &Home, to: &str, name: &str, more: &[&str]) -> Value {
    let path = home.path(name);
    home.json(&[&["bundle", "export", "--to", to, "-o", &path][..], more].concat())
}

/// Imports a file of the story's folder, of which everything must be taken.
fn import(home: &Home, name: &str) -> Value {
    home.json(&["bundle", "import", &home.path(name)])
}

/// Imports one of which something is left: the answer, after exit code 4.
fn import_in_part(home: &Home, name: &str) -> Value {
    let output = home.run(&["--json", "bundle", "import", &home.path(name)]);
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_default()
}

/// Two that agreed by bundles alone.
fn agreed(seed: u64) -> (World, [Home; 2]) {
    let (world, [a, b]) = World::of(seed, ["a", "b"]);
    a.pair(&b);
    let draft = a.file("draft.toml", &a.agreement_text(&b, None, &items_clause(&FIELDS)));
    a.ok(&["agreement", "sign", &draft, "--yes"]);
    export(&a, "b", "proposal", &[]);
    assert_eq!(import(&b, "proposal")["agreements"], 1);
    let waits = b.json(&["agreement", "list"])[0].clone();
    assert_eq!(waits["waits_for_us"], true, "{waits}");
    b.ok(&["agreement", "accept", text(&waits, "id"), "--yes"]);
    export(&b, "a", "signed", &[]);
    assert_eq!(import(&a, "signed")["agreements"], 1);
    assert_eq!(a.json(&["agreement", "list"])[0]["state"], "in-force");
    (world, [a, b])
}

/// Story: two organisations have no line between them. An agreement is proposed, signed and comes into force by sticks;
/// records come and are proved, their receipts go back, one is asked back and the answer comes. One of them serves others
/// meanwhile. On the sticks there is nothing to read.
#[test]
fn two_that_never_connect_agree_share_acknowledge_and_take_back() -> Outcome {
    let (world, [a, mut b]) = agreed(131);
    let rows = world.rows("B", 5);
    a.import("rows.csv", &Row::table(&rows));
    a.pass_all();
    b.start();
    let gone = export(&a, "b", "records", &[]);
    assert_eq!(
        (&gone["entries"], &gone["more"], &gone["one_way"]),
        (&5.into(), &false.into(), &false.into()),
        "{gone}"
    );
    assert_eq!(a.feed(&b)["acknowledged"], 0);
    let came = import(&b, "records");
    assert_eq!((&came["records"], &came["refused"], &came["new"]), (&5.into(), &0.into(), &true.into()), "{came}");
    assert_eq!(b.received().len(), 5);
    assert_eq!(b.json(&["record", "verify", "B-00003"])["ok"], true);
    export(&b, "a", "receipts", &[]);
    assert_eq!(import(&a, "receipts")["acknowledged"], 5);
    assert_eq!(a.feed(&b)["acknowledged"], 5);

    let by = |name| ["--by", name];
    let why = ["B-00002", "--act", "erase", "--reason", "a source is in danger"];
    let proposed = a.json(&[&["recall", "propose"][..], &why, &by("A. Diallo")].concat());
    a.ok(&[&["recall", "confirm", text(&proposed, "id"), "--yes"][..], &by("M. Osei")].concat());
    export(&a, "b", "recall", &[]);
    assert_eq!(import(&b, "recall")["recalls_taken"], 1);
    assert_eq!(b.received().iter().filter(|row| row["state"] == "erased").count(), 1);
    assert_eq!(a.json(&["recall", "status", text(&proposed, "id")])["open"], 1, "it was not answered yet");
    export(&b, "a", "answer", &[]);
    assert_eq!(import(&a, "answer")["recalls_answered"], 1);
    let status = a.json(&["recall", "status", text(&proposed, "id")]);
    assert_eq!((&status["open"], &status["answers"]["complied"]), (&0.into(), &1.into()), "{status}");

    // The agreement is suspended, and the notice goes by stick too.
    let id = text(&a.json(&["agreement", "list"])[0], "id").to_owned();
    a.ok(&["agreement", "suspend", &id]);
    export(&a, "b", "notice", &[]);
    import(&b, "notice");
    assert_eq!(b.json(&["agreement", "show", &id])["state"], "suspended");
    let events = |home: &Home| {
        let said = journal::texts(&home.open().holdings).unwrap_or_default();
        said.iter().filter(|event| event.contains("bundle-exported") || event.contains("bundle-imported")).count()
    };
    b.stop();
    assert_eq!((events(&a), events(&b)), (7, 7));
    let secrets: Vec<Secret> = rows.iter().map(|row| Secret::text(&row.serial)).collect();
    for name in ["proposal", "signed", "records", "receipts", "recall", "answer", "notice"] {
        let bytes = fs::read(a.path(name))?;
        assert!(bytes.starts_with(b"age-encryption.org/v1\n-> mlkem768x25519 "), "{name}");
        assert_eq!(search::leaked(&secrets, &[bytes]), None, "{name}");
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(a.path(name))?.permissions());
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    Ok(())
}

/// Runs of two records each that no bundle has brought yet, in one export after another; then all of them on small sticks.
fn sticks(world: &World, a: &Home, count: u32) -> usize {
    a.import("rows.csv", &Row::table(&world.rows("S", 2 * count)));
    for n in 0..count {
        a.pass(&[&format!("S-{:05}", 2 * n + 1), &format!("S-{:05}", 2 * n + 2)]);
        export(a, "b", &format!("lost-{n}"), &[]);
    }
    let one = fs::metadata(a.path("lost-0")).map_or(0, |about| about.len());
    let max = (one + one / 8).to_string();
    let mut again = vec!["--max-size", &max, "--again"];
    for n in 1.. {
        let name = format!("stick-{n}");
        let gone = export(a, "b", &name, &again);
        again.truncate(2);
        assert!(fs::metadata(a.path(&name)).is_ok_and(|about| about.len() <= one + one / 8), "{gone}");
        if gone["more"] == false {
            return n;
        }
    }
    0
}

/// Story: what is to go needs several small sticks, and the first ones got lost. They come in the wrong order and twice: one
/// that comes too early says which comes first, and keeps nothing of what would leave a gap; in the end everything is here
/// once.
#[test]
fn many_sticks_in_any_order_bring_everything_once() -> Outcome {
    let (world, [a, b]) = agreed(132);
    let count = sticks(&world, &a, 4);
    assert!(count >= 3, "{count} sticks");
    let early = import_in_part(&b, "stick-3");
    let says = text(&early["missing"][0], "says").to_owned();
    assert_eq!((&early["records"], &early["missing"][0]["from"]), (&0.into(), &0.into()), "{early}");
    assert!(says.contains("import bundles ") && says.contains("are not here"), "{says}");
    assert!(b.received().is_empty());
    let told = String::from_utf8_lossy(&b.run(&["bundle", "import", &b.path("stick-3")]).stdout).into_owned();
    assert!(told.contains("are not here") && told.contains("missing"), "{told}");
    let first = import(&b, "stick-1");
    assert!(first["records"].as_u64() >= Some(2), "{first}");
    let held = b.received().len();
    let early = import_in_part(&b, "stick-3");
    assert!(text(&early["missing"][0], "says").contains(" of `a` first"), "{early}");
    assert_eq!(b.received().len(), held);
    let replayed = import(&b, "stick-1");
    assert_eq!((&replayed["new"], &replayed["records"]), (&false.into(), &0.into()), "{replayed}");
    for n in 2..=count {
        import(&b, &format!("stick-{n}"));
    }
    // The lost ones turn up: nothing of them is new.
    assert_eq!(import(&b, "lost-0")["new"], false);
    assert_eq!(b.received().len(), 8);
    assert_eq!(b.received_ids().len(), 8);
    export(&b, "a", "receipts", &[]);
    assert_eq!(import(&a, "receipts")["acknowledged"], 8);
    assert_eq!(export(&a, "b", "after", &["--again"])["entries"], 0, "what is acknowledged goes no more");

    // A stick that holds not even one run is refused, and leaves no file.
    a.import("more.csv", &Row::table(&world.rows("T", 3)));
    a.pass_all();
    let small = a.path("small");
    let output = a.run(&["--json", "bundle", "export", "--to", "b", "-o", &small, "--max-size", "4kB"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("--max-size"), "{said}");
    assert!(fs::metadata(&small).is_err());
    // Nor is one written over, unless that is asked for.
    let taken = a.path("after");
    let before = fs::read(&taken)?;
    let output = a.run(&["--json", "bundle", "export", "--to", "b", "-o", &taken]);
    assert!(output.status.code() == Some(2) && String::from_utf8_lossy(&output.stderr).contains("--force"));
    assert!(fs::read(&taken)? == before);
    assert_eq!(export(&a, "b", "after", &["--force"])["entries"], 3);
    assert_eq!(import(&b, "after")["records"], 3);
    let left: Vec<String> = fs::read_dir(world.folder())?
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .filter(|name| name.ends_with(".tmp"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
    Ok(())
}

/// Story: on its way a bundle was changed in one byte, cut short, lengthened, or taken to another organisation. It is
/// refused with a reason, and the home is as it was.
#[test]
fn what_was_altered_cut_or_misdirected_is_refused() -> Outcome {
    let (world, [a, b]) = agreed(133);
    a.import("rows.csv", &Row::table(&world.rows("F", 40)));
    a.pass_all();
    export(&a, "b", "good", &[]);
    let good = fs::read(a.path("good"))?;
    let bad = a.path("bad");
    let refused = |bytes: &[u8], what: &str| -> Outcome {
        fs::write(&bad, bytes)?;
        let fault = b.refused(2, &["bundle", "import", &bad]);
        assert!(["damaged", "not-for-us"].contains(&text(&fault, "code")), "{what}: {fault}");
        assert!(text(&fault, "message").contains("bad"), "{what}: {fault}");
        Ok(())
    };
    let step = (good.len() / 16).max(1);
    let places = [0, 1, 21, 22, 40, 200, 1_500, good.len() - 1].into_iter().chain((2_000..good.len()).step_by(step));
    for at in places {
        let mut changed = good.clone();
        changed[at] ^= 0x10;
        refused(&changed, &format!("byte {at} changed"))?;
    }
    for length in [0, 1, 100, 1_800, good.len() / 2, good.len() - 17, good.len() - 1] {
        refused(&good[..length], &format!("cut at {length}"))?;
    }
    refused(&[&good[..], b"x"].concat(), "lengthened")?;
    refused(&[&good[..], &good[..]].concat(), "twice in one file")?;
    refused(b"number,case\n", "a table")?;
    let fault = a.refused(2, &["bundle", "import", &a.path("good")]);
    assert!(text(&fault, "message").contains("another organisation"), "{fault}");
    assert!(text(&b.refused(2, &["bundle", "import", &b.path("absent")]), "message").contains("absent"));
    let c = Home::init(world.folder(), "c");
    let fault = c.refused(2, &["bundle", "import", &a.path("good")]);
    assert!(text(&fault, "message").contains("another organisation"), "{fault}");
    // Known on one side only.
    let card = b.path("b.card");
    let words = b.json(&["identity", "show"])["words"].as_str().unwrap_or_default().to_owned();
    c.ok(&["partner", "add", &card, "--confirm", &words]);
    export(&c, "b", "stranger", &[]);
    let fault = b.refused(4, &["bundle", "import", &b.path("stranger")]);
    assert!(text(&fault, "message").contains("no partner here"), "{fault}");
    let gone = a.refused(2, &["bundle", "export", "--to", "z", "-o", &a.path("z")]);
    assert!(text(&gone, "message").contains("`z`"), "{gone}");
    a.ok(&["partner", "remove", "b", "--yes"]);
    let gone = a.refused(4, &["bundle", "export", "--to", "b", "-o", &a.path("z")]);
    assert!(text(&gone, "message").contains("removed"), "{gone}");
    assert_eq!(import(&b, "good")["records"], 40, "what is good is still taken");
    Ok(())
}

/// Story: the line goes one way. Each bundle goes on where the last one ended, nothing is acknowledged and nothing waits for
/// it; what got lost goes once more. What names a lease does not go.
#[test]
fn one_way_nothing_is_acknowledged_and_no_lease_goes() {
    let (world, [a, b]) = agreed(134);
    a.import("rows.csv", &Row::table(&world.rows("O", 6)));
    for (n, name) in [(1, "way-1"), (3, "way-2"), (5, "way-3")] {
        a.pass(&[&format!("O-{n:05}"), &format!("O-{:05}", n + 1)]);
        let gone = export(&a, "b", name, &["--one-way"]);
        assert_eq!((&gone["entries"], &gone["one_way"]), (&2.into(), &true.into()), "{gone}");
    }
    assert_eq!(import(&b, "way-1")["records"], 2);
    assert_eq!(import_in_part(&b, "way-3")["records"], 0, "the second got lost");
    assert_eq!(a.feed(&b)["acknowledged"], 0);
    let gone = export(&a, "b", "once-more", &["--one-way", "--again"]);
    assert_eq!(gone["entries"], 6, "{gone}");
    let came = import(&b, "once-more");
    assert_eq!(
        (&came["records"], &came["runs_held"], &came["one_way"]),
        (&4.into(), &1.into(), &true.into()),
        "{came}"
    );
    assert_eq!(b.received().len(), 6);
    let told = String::from_utf8_lossy(&b.run(&["bundle", "import", &b.path("once-more")]).stdout).into_owned();
    assert!(told.contains("Nothing in it is new"), "{told}");
    assert_eq!(a.feed(&b)["acknowledged"], 0, "nothing came back");

    // Beside it one with a lease: it stays, and is named; alone it is refused.
    let leased = a.agreement_text(&b, None, &items_clause(&["number", "eval", "type"]));
    let leased = leased.replace("notice-days = 0", "notice-days = 0\nlease-hours = 48").replace("a and b", "leased");
    let leased = a.sign_text(&b, 7, &leased);
    let gone = export(&a, "b", "beside", &["--one-way"]);
    let left = gone["left_out"].as_array().cloned().unwrap_or_default();
    assert_eq!((left.len(), text(&left[0], "id"), text(&left[0], "code")), (1, leased.id.as_str(), "lease"), "{gone}");
    let text_of = |home: &Home, args: &[&str]| String::from_utf8_lossy(&home.run(args).stdout).into_owned();
    let path = a.path("told");
    let told = text_of(&a, &["bundle", "export", "--to", "b", "-o", &path, "--one-way"]);
    assert!(told.contains("names a lease") && told.contains("Nothing comes back"), "{told}");
    // Both ways it goes.
    assert_eq!(export(&a, "b", "both", &[])["entries"], 6);
    assert_eq!(import(&b, "both")["records"], 6);
    let shown = b.json(&["bundle", "show", "a"]);
    assert_eq!(shown["feeds"].as_array().map(Vec::len), Some(2), "{shown}");
}

/// Story: the machine is switched off while a bundle is being written, again and again. Under its name there is a whole
/// bundle or none, and the next one brings what is missing.
#[test]
fn a_bundle_that_is_cut_off_leaves_no_half_file() -> Outcome {
    let (world, [a, b]) = agreed(135);
    a.import("rows.csv", &Row::table(&world.rows("K", 600)));
    a.pass_all();
    let (mut whole, mut cut) = (0, 0);
    let killed = |home: &Home, args: &[&str], after: u64| -> Outcome {
        let (folder, key) = (home.path(home.handle), home.path(&format!("{}.key", home.handle)));
        let mut child = Command::new(entente())
            .args(["--home", &folder, "--identity-file", &key, "bundle"])
            .args(args)
            .env_clear()
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        std::thread::sleep(Duration::from_millis(after));
        child.kill()?;
        ended(&mut child)?;
        Ok(())
    };
    for round in 0..14u64 {
        let name = format!("cut-{round}");
        let path = a.path(&name);
        killed(&a, &["export", "--to", "b", "--again", "-o", &path], 40 + 35 * round)?;
        if fs::metadata(&path).is_ok() {
            whole += 1;
            import(&b, &name);
        } else {
            cut += 1;
        }
    }
    println!("{whole} whole, {cut} cut off");
    assert!(cut > 0, "none was cut off");
    // So is what takes it: each run is taken whole or not at all, and the rest when it is imported again.
    a.import("more.csv", &Row::table(&world.rows("L", 600)));
    a.pass_all();
    export(&a, "b", "last", &["--again"]);
    for round in 0..6 {
        killed(&b, &["import", &b.path("last")], 60 + 60 * round)?;
    }
    import(&b, "last");
    assert_eq!(b.received().len(), 1_200);
    let check = a.run(&["--json", "check"]);
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    Ok(())
}
