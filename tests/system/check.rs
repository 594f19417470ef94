//! What a disk does to a home: `entente check` names what is missing or damaged, a running node whose ledger fails stops.

use entente_tests::{Home, Row, World, durability::trace, ended, items_clause, until};
use serde_json::Value;
use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
};

type Outcome = Result<(), Box<dyn Error>>;

const ROWS: &str = "number,case,date,type,make,model,calibre,serial,marks,year,country_of_make,place,country,region,lat,lon,\
    custody,recovered_from,collector,condition,notes,photos\n\
    A-1,C-1,2026-02-03,pistol,Works,M1,9x19,SN 1,,1990,Croatia,Here,Chad,Lac,13.4,14.6,Court,cache,Quist,good,,scan.pdf\n\
    A-2,C-1,2026-02-03,rifle,Works,M2,7.62x39,SN 2,,1991,Croatia,Here,Chad,Lac,13.4,14.6,Court,cache,Quist,good,,\n";

/// Every file of the vault.
fn blobs(home: &Home) -> Vec<PathBuf> {
    let folder = PathBuf::from(home.path(home.handle)).join("store/blobs");
    let fans = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = fans.filter(|path| path.is_dir()).flat_map(|path| fs::read_dir(path).unwrap());
    files.map(|entry| entry.unwrap().path()).collect()
}

/// What a check finds, with its exit code.
fn check(home: &Home, args: &[&str]) -> Result<(Vec<Value>, Option<i32>), Box<dyn Error>> {
    let all: Vec<&str> = ["--json", "check"].iter().chain(args).copied().collect();
    let output = home.run(&all);
    let found: Value = serde_json::from_slice(&output.stdout)
        .map_err(|e| format!("{e}: {}", String::from_utf8_lossy(&output.stderr)))?;
    Ok((found.as_array().cloned().unwrap_or_default(), output.status.code()))
}

fn stated(found: &[Value], state: &str) -> usize {
    found.iter().filter(|entry| entry["state"] == state).count()
}

/// Story: a photograph's file is lost, then another is changed by one byte, then a stray one lies in the vault.
#[test]
fn check_names_what_is_missing_damaged_or_stray() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut home = Home::init(folder.path(), "a");
    fs::create_dir(home.path("files"))?;
    fs::write(home.path("files/scan.pdf"), [b"%PDF-1.4\n".as_slice(), &[7; 300_000]].concat())?;
    fs::write(home.path("rows.csv"), ROWS)?;
    home.ok(&["import", &home.path("rows.csv"), "--attachments", &home.path("files")]);
    home.ok(&["review", "--all-drafts", "--state", "reviewed"]);
    let (found, code) = check(&home, &[])?;
    assert_eq!(code, Some(0), "{found:#?}");
    assert!(found.iter().all(|entry| entry["ok"] == true && entry["id"].is_string()), "{found:#?}");
    let checked = |part: &str| found.iter().find(|e| e["id"] == part).and_then(|e| e["checked"].as_u64());
    assert!(checked("own records") >= Some(2) && checked("files") >= Some(1), "{found:#?}");

    let blob = blobs(&home).pop().ok_or("no blob")?;
    let whole = fs::read(&blob)?;
    fs::remove_file(&blob)?;
    let (found, code) = check(&home, &[])?;
    assert_eq!((code, stated(&found, "missing")), (Some(5), 1), "{found:#?}");
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    fs::write(&blob, &changed)?;
    let (found, code) = check(&home, &[])?;
    assert_eq!((code, stated(&found, "damaged")), (Some(5), 1), "{found:#?}");
    let what = found.iter().find(|entry| entry["state"] == "damaged").ok_or("no finding")?;
    assert!(what["do"].as_str().is_some_and(|what| what.contains("backup")), "{what}");

    // A stray blob does no harm, and is swept only while nobody else may be about to name it.
    fs::write(&blob, &whole)?;
    let stray = Path::new(&blob).with_file_name("ab".repeat(32));
    fs::write(&stray, b"stray")?;
    let fan = PathBuf::from(home.path("a")).join("store/blobs/ab");
    fs::create_dir_all(&fan)?;
    fs::rename(&stray, fan.join("ab".repeat(32)))?;
    let (found, code) = check(&home, &[])?;
    assert_eq!((code, stated(&found, "unnamed")), (Some(0), 1), "{found:#?}");
    home.start();
    let (found, code) = check(&home, &[])?;
    assert_eq!((code, stated(&found, "unnamed")), (Some(0), 1), "by the running node: {found:#?}");
    assert_eq!(home.run(&["check", "--sweep"]).status.code(), Some(2));
    home.kill();
    let (found, code) = check(&home, &["--sweep"])?;
    assert_eq!((code, stated(&found, "swept")), (Some(0), 1), "{found:#?}");
    assert!(!fan.join("ab".repeat(32)).exists() && blob.exists());

    // What is no blob is named, wherever it lies, and is not ours to remove.
    let vault = PathBuf::from(home.path("a")).join("store/blobs");
    fs::create_dir_all(&fan)?;
    let strays = ["readme.txt", "ab/scan.pdf", "ab/short", "unfinished/left", &format!("ab/{}", "AB".repeat(32))];
    let elsewhere = format!("ab/{}", "cd".repeat(32));
    let strays: Vec<&str> = strays.into_iter().chain([elsewhere.as_str()]).collect();
    for stray in &strays {
        fs::write(vault.join(stray), b"stray")?;
    }
    for args in [[].as_slice(), &["--sweep"]] {
        let (found, code) = check(&home, args)?;
        assert_eq!((code, stated(&found, "stray")), (Some(0), strays.len()), "{found:#?}");
        let named = |stray: &&str| found.iter().any(|entry| entry["id"] == **stray);
        assert!(strays.iter().all(named), "{found:#?}");
    }
    assert!(strays.iter().all(|stray| vault.join(stray).exists()));
    Ok(())
}

/// Story: a running node is asked for a file that is gone from the disk. It says so with exit code 5, and serves on: a
/// partner that asks for that file must not be able to stop it.
#[test]
fn a_file_that_is_gone_is_told_and_stops_nothing() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut home = Home::init(folder.path(), "a");
    fs::create_dir(home.path("files"))?;
    fs::write(home.path("files/scan.pdf"), b"%PDF-1.4\n")?;
    fs::write(home.path("rows.csv"), ROWS)?;
    home.ok(&["import", &home.path("rows.csv"), "--attachments", &home.path("files")]);
    let attachments = home.json(&["search", "--kind", "attachment"]);
    let id = attachments[0]["id"].as_str().ok_or("an attachment")?.to_owned();
    for blob in blobs(&home) {
        fs::remove_file(blob)?;
    }
    home.start();
    let asked = home.run(&["record", "attachment", &id, "-o", &home.path("out.pdf")]);
    assert_eq!(asked.status.code(), Some(5), "{}", String::from_utf8_lossy(&asked.stderr));
    assert!(!fs::exists(home.path("out.pdf"))?, "nothing half-written is left");
    assert_eq!(home.json(&["search", "--kind", "attachment"])[0]["id"], attachments[0]["id"]);
    assert_eq!(home.run(&["check"]).status.code(), Some(5), "and it is named by a check");
    Ok(())
}

/// A program that makes every sync of a running node fail. It ends when it is dropped.
struct SyncsFail(Child);

impl SyncsFail {
    /// None where the machine lets nobody look into another process.
    fn of(home: &Home) -> Result<Option<Self>, Box<dyn Error>> {
        let pid = home.pid().ok_or("the node does not run")?.to_string();
        let fail = "inject=fsync,fdatasync:error=EIO";
        let says = home.path("strace.log");
        let child = Command::new("strace")
            .args(["-f", "-p", &pid, "-e", "trace=fsync,fdatasync", "-e", fail, "-o", "/dev/null"])
            .stderr(fs::File::create(&says)?)
            .spawn()?;
        let said = |what: &str| fs::read_to_string(&says).is_ok_and(|said| said.contains(what));
        until("it is attached, or may not be", || said("attached") || said("not permitted"));
        Ok((!said("not permitted")).then_some(Self(child)))
    }
}

impl Drop for SyncsFail {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(ended(&mut self.0));
    }
}

/// Story: the disk of a running node fails while records come in, then while people work. The node acknowledges nothing
/// that is not durable, says what failed, and ends; once the disk is well again, everything is there, once.
#[test]
fn a_ledger_that_fails_stops_a_running_node() -> Outcome {
    if !trace::is_here() {
        println!("skipped: a failing disk under a running node: strace is not at hand");
        return Ok(());
    }
    let (world, [mut a, mut b]) = World::of(81, ["a", "b"]);
    a.pair(&b);
    let _agreed = a.agree(&b, &items_clause(&["number", "eval", "serial"]));
    let rows = world.rows("F", 20);
    a.import("rows.csv", &Row::table(&rows));
    let numbers: Vec<&str> = rows.iter().map(|row| row.number.as_str()).collect();
    a.start();
    b.start();
    a.pass(&numbers[..10]);
    until("the first ten are acknowledged", || a.feed(&b)["acknowledged"] == 10);

    let Some(fails) = SyncsFail::of(&b)? else {
        println!("skipped: a failing disk under a running node: this machine does not let strace attach");
        return Ok(());
    };
    a.pass(&numbers[10..]);
    assert_eq!(b.ended()?, Some(5), "{}", b.log());
    drop(fails);
    assert!(b.log().contains("I/O error") || b.log().contains("Input/output"), "{}", b.log());
    assert_eq!(a.feed(&b)["acknowledged"], 10, "what is not durable is not acknowledged");
    b.start();
    until("the others arrive", || a.feed(&b)["acknowledged"] == 20);
    assert_eq!((b.received_ids().len(), b.received().len()), (20, 20));

    let fails = SyncsFail::of(&a)?.ok_or("it attached to the other")?;
    let more = a.file("more.csv", &Row::table(&world.rows("G", 3)));
    let asked = a.run(&["import", &more]);
    assert_eq!(asked.status.code(), Some(5), "{}", String::from_utf8_lossy(&asked.stderr));
    assert_eq!(a.ended()?, Some(5), "{}", a.log());
    drop(fails);
    a.ok(&["check"]);
    // What was written and not confirmed may be there, and counts as nothing said it would.
    let items = || a.json(&["search", "--own", "--kind", "item"]).as_array().map_or(0, Vec::len);
    assert!(matches!(items(), 20 | 23), "all of it or nothing: {}", items());
    a.ok(&["import", &more]);
    assert_eq!(items(), 23);
    Ok(())
}
