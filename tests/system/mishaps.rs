//! People's mistakes and a machine's trouble: what the program says, with which exit code, and what is left behind.
//!
//! What needs a file system of its own makes one in a mount namespace of its own, as root only; elsewhere it says
//! `skipped:`. Nothing here touches the machine's clock, mounts or other processes.

use entente_node::{
    clock::{Clock, ManualClock, SystemClock},
    config::{Home as Folder, RawConfig},
    init::{self, Init},
    secret::{recovery::Passphrase, unlock::Unlock},
};
use entente_protocol::time::UnixMillis;
use entente_tests::{Home, ended, entente, output, run};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fs,
    io::Read as _,
    net::UdpSocket,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
    time::Instant,
};

type Outcome = Result<(), Box<dyn Error>>;

const HEADER: &str = "number,case,date,type,make,model,calibre,serial,marks,year,country_of_make,place,country,region,lat,\
                      lon,custody,recovered_from,collector,condition,notes,photos\n";

/// A table of items, ten to a case; the first of every hundred has a photograph.
fn rows(count: u32) -> String {
    let row = |n: u32| {
        let photo = if n.is_multiple_of(100) { "IMG_0001.jpg" } else { "" };
        format!(
            "A-{n:06},C-{},2026-02-03,pistol,Works,M1,9x19,SN {n:05},,1990,Croatia,Here,Chad,Lac,13.4,14.6,Court,cache,\
             Zebulon Quist,serviceable,,{photo}\n",
            n / 10
        )
    };
    std::iter::once(HEADER.to_owned()).chain((0..count).map(row)).collect()
}

fn said(output: &Output) -> (i32, String) {
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn check(what: &str, output: &Output, code: i32, words: &[&str]) {
    let (found, text) = said(output);
    assert_eq!(found, code, "{what}: {text}");
    for word in words {
        assert!(text.contains(word), "{what}: `{word}` in: {text}");
    }
    assert!(!text.contains("panicked"), "{what}: {text}");
}

/// Story: the wrong passphrase, and a file with it that everybody can read. Neither opens anything, and the right one
/// still does.
#[test]
fn a_wrong_passphrase_opens_nothing() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    for (name, phrase, mode) in [
        ("right", "six random words are enough here", 0o600),
        ("apart", "six other words for the safe", 0o600),
        ("wrong", "six random words are enough hero", 0o600),
        ("short", "short", 0o600),
        ("open", "six random words are enough here", 0o644),
    ] {
        fs::write(path(name), phrase)?;
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode))?;
    }
    let home = path("a");
    let with = |phrase: &str, args: &[&str]| {
        let file = path(phrase);
        run(&[&["--home", &home, "--passphrase-file", &file], args].concat(), &[])
    };
    let apart = path("apart");
    let init =
        ["init", "--name", "A", "--handle", "a", "--listen", "127.0.0.1:0", "--recovery-passphrase-file", &apart];
    check("short", &with("short", &init), 3, &["too short"]);
    assert!(!Path::new(&home).exists(), "nothing half-made stays");
    check("made", &with("right", &init), 0, &[]);
    check("wrong", &with("wrong", &["status"]), 3, &["wrong passphrase"]);
    check("absent", &with("absent", &["status"]), 3, &["absent"]);
    check("open", &with("open", &["status"]), 3, &["chmod 600"]);
    check("none", &run(&["--home", &home, "status"], &[]), 3, &["no passphrase"]);
    check("right", &with("right", &["status"]), 0, &[]);
    Ok(())
}

/// Story: a home is made by a script. Its recovery file was in clear beside an identity file, or opened with the very
/// passphrase of the home: whoever got at the one had both. It needs a passphrase of its own, or there is no home.
#[test]
fn the_recovery_file_has_a_secret_of_its_own() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    for (name, phrase) in
        [("pass", "six random words are enough here"), ("apart", "six other words for the safe"), ("short", "short")]
    {
        fs::write(path(name), format!("{phrase}\n"))?;
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o600))?;
    }
    let (home, pass, key, apart, short) = (path("a"), path("pass"), path("a.key"), path("apart"), path("short"));
    let init = |with: &[&str], environment: &[(&str, &str)]| {
        let all = ["--home", &home, "init", "--name", "A", "--handle", "a", "--listen", "127.0.0.1:0"];
        run(&[&all[..], with].concat(), environment)
    };
    let own = ["--recovery-passphrase-file", "ENTENTE_RECOVERY_PASSPHRASE_FILE", "of its own"];
    for with in [["--identity-file", &key], ["--passphrase-file", &pass]] {
        check("none", &init(&with, &[]), 2, &own);
        check(
            "short",
            &init(&[with[0], with[1], "--recovery-passphrase-file", &short], &[]),
            3,
            &["recovery", "too short"],
        );
    }
    let shared = init(&["--passphrase-file", &pass, "--recovery-passphrase-file", &pass], &[]);
    check("shared", &shared, 3, &["recovery file", "a passphrase of its own"]);
    assert!(!Path::new(&home).exists(), "nothing half-made stays");

    let environment = [("ENTENTE_RECOVERY_PASSPHRASE_FILE", apart.as_str())];
    check("made", &init(&["--identity-file", &key], &environment), 0, &[]);
    let sealed = fs::read(path("a/recovery.age"))?;
    assert!(sealed.starts_with(b"age-encryption.org/v1"), "the recovery file is in clear");
    fs::rename(path("a/recovery.age"), path("safe"))?;
    let (safe, new) = (path("safe"), path("new"));
    let recover =
        |with: &[&str]| run(&[&["--home", &home, "recover", "--recovery-file", &safe], with].concat(), &environment);
    check("shared again", &recover(&["--passphrase-file", &apart]), 3, &["a passphrase of its own"]);
    check("as it was", &run(&["--home", &home, "status"], &[]), 0, &[]);
    check("recovered", &recover(&["--identity-file", &new]), 0, &[]);
    check("opens", &run(&["--home", &home, "status"], &[]), 0, &[]);
    Ok(())
}

/// Story: the node runs, and somebody starts it again; then its port is taken by another program.
#[test]
fn a_home_and_a_port_have_one_owner() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut home = Home::init(folder.path(), "a");
    home.start();
    check("second process", &home.run(&["run"]), 3, &["already", "entente stop"]);
    home.ok(&["status"]);
    home.ok(&["stop"]);
    home.kill();
    let settings = fs::read_to_string(home.path("a/entente.toml"))?;
    let listen = settings.lines().find_map(|line| line.strip_prefix("listen = ")).ok_or("listen")?;
    let taken = UdpSocket::bind(listen.trim_matches('"'))?;
    check("port in use", &home.run(&["run"]), 3, &["cannot listen", listen.trim_matches('"')]);
    drop(taken);
    home.start();
    home.ok(&["status"]);
    Ok(())
}

/// Story: the clock was set back a year since the home was made: to the program, everything is from the future.
#[test]
fn a_clock_set_back_a_year_is_told_and_spoils_nothing() -> Outcome {
    let folder = tempfile::tempdir()?;
    let home = Home::at(folder.path(), "a");
    let config = RawConfig::new("A", "a", "127.0.0.1:0");
    let unlock = Unlock::IdentityFile(home.path("a.key").into());
    let in_a_year = ManualClock::at(UnixMillis(SystemClock.now().0 + 366 * 86_400_000));
    let recovery = Passphrase::File(entente_tests::recovery_passphrase(folder.path()));
    let how = Init { config, unlock: &unlock, recovery: &recovery, work_factor: 10 };
    init::init(&Folder::at(home.path("a")), &how, &in_a_year)?;
    // Records are kept whatever the clock says, and the node says why no partner can trust its certificate.
    fs::write(home.path("rows.csv"), rows(20))?;
    let report = home.json(&["import", &home.path("rows.csv")]);
    assert_eq!(report["bad_rows"], 0, "{report}");
    check("run", &home.run(&["run"]), 3, &["clock"]);
    home.ok(&["status"]);
    Ok(())
}

/// A shell script as root in a mount namespace of its own; nothing where that is not allowed.
fn in_namespace(script: &str, environment: &[(&str, &str)]) -> Option<Output> {
    let allowed = output(Command::new("unshare").args(["-m", "true"])).is_ok_and(|o| o.status.success());
    if !allowed {
        return None;
    }
    let script = format!("set -eu\nmount --make-rprivate /\n{script}");
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("ENTENTE", entente()).envs(environment.iter().copied());
    output(&mut command).ok()
}

/// Lines of `name=value` that a script printed.
fn printed(output: &Output) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

/// Story: the home lies on a disk that became read-only, and a file is to be written where nobody may write.
#[test]
fn a_read_only_folder_is_named() -> Outcome {
    let folder = tempfile::tempdir()?;
    let home = Home::init(folder.path(), "a");
    fs::write(home.path("rows.csv"), rows(10))?;
    home.ok(&["import", &home.path("rows.csv")]);
    let script = r#"
mkdir "$F/there"
mount --bind "$F/there" "$F/there"
mount -o remount,ro,bind "$F/there"
entente() { "$ENTENTE" --home "$F/a" --identity-file "$F/a.key" "$@"; }
for what in "card identity card -o $F/there/card" "import import $F/rows.csv" "status status"; do
    code=0
    set -- $what; name=$1; shift
    said=$(entente "$@" 2>&1 >/dev/null | tr '\n' ' '; exit 0)
    entente "$@" >/dev/null 2>&1 || code=$?
    echo "$name=$code $said"
    if [ "$name" = card ]; then
        mount --bind "$F/a" "$F/a"
        mount -o remount,ro,bind "$F/a"
    fi
done
"#;
    let Some(output) = in_namespace(script, &[("F", &folder.path().display().to_string())]) else {
        println!("skipped: a read-only folder: needs root and `unshare`");
        return Ok(());
    };
    assert!(output.status.success(), "{output:?}");
    let found = printed(&output);
    let card = found.get("card").ok_or("card")?;
    assert!(
        card.starts_with("2 ") && card.contains("Read-only file system") && card.contains("/there/card"),
        "{found:#?}"
    );
    for command in ["import", "status"] {
        let said = found.get(command).ok_or(command)?;
        assert!(said.starts_with("5 ") && said.contains("Read-only file system"), "{found:#?}");
    }
    // Writable again, everything is as before.
    assert_eq!(home.json(&["import", &home.path("rows.csv")])["added"], 0);
    Ok(())
}

/// Story: a stick has 64 KB, and a bundle does not fit. The export says so and leaves nothing on the stick; a larger stick
/// takes all of it, and what was signed for the small one is not lost.
#[test]
fn a_full_stick_leaves_no_half_bundle() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (a, b) = (Home::init(folder.path(), "a"), Home::init(folder.path(), "b"));
    a.pair(&b);
    let _agreed = a.agree(&b, &entente_tests::items_clause(&["number", "eval", "type", "make", "serial", "marks"]));
    a.ok(&["import", &a.file("rows.csv", &rows(400))]);
    a.pass_all();
    let script = r#"
mkdir "$F/stick"
mount -t tmpfs -o size=64k tmpfs "$F/stick"
entente() { "$ENTENTE" --json --home "$F/a" --identity-file "$F/a.key" "$@"; }
code=0
entente bundle export --to b -o "$F/stick/one" >/dev/null 2>"$F/said" || code=$?
echo "full=$code $(tr '\n' ' ' <"$F/said")"
echo "left=$(ls -A "$F/stick" | wc -l)"
mount -o remount,size=64m "$F/stick"
entente bundle export --to b -o "$F/stick/one" >/dev/null
cp "$F/stick/one" "$F/one"
umount "$F/stick"
"#;
    let Some(output) = in_namespace(script, &[("F", &folder.path().display().to_string())]) else {
        println!("skipped: a full stick: needs root and `unshare`");
        return Ok(());
    };
    let found = printed(&output);
    assert!(output.status.success(), "{found:#?}: {output:?}");
    let full = found.get("full").ok_or("full")?;
    assert!(full.starts_with("2 ") && full.contains("No space left on device") && full.contains("stick/one"), "{full}");
    assert_eq!(found.get("left").map(String::as_str), Some("0"));
    assert_eq!(b.json(&["bundle", "import", &b.path("one")])["records"], 400);
    Ok(())
}

/// Story: the disk has 16 MB, and a table does not fit. The import says so; what was kept is whole; with room it goes on
/// where it stopped, and ends with the same records as anywhere else.
#[test]
fn a_full_disk_stops_an_import_that_goes_on_later() -> Outcome {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("rows.csv"), rows(4_000))?;
    fs::write(folder.path().join("few.csv"), rows(50))?;
    fs::rename(entente_tests::recovery_passphrase(folder.path()), folder.path().join("apart"))?;
    let script = r#"
mkdir "$F/disk"
mount -t tmpfs -o size=16m tmpfs "$F/disk"
entente() { "$ENTENTE" --json --home "$F/disk/a" --identity-file "$F/disk/a.key" "$@"; }
entente init --name A --handle a --listen 127.0.0.1:0 --recovery-passphrase-file "$F/apart" >/dev/null
entente import "$F/few.csv" >/dev/null
dd if=/dev/zero of="$F/disk/other" bs=64k 2>/dev/null || true
truncate -s -1M "$F/disk/other"
code=0
entente import "$F/rows.csv" >/dev/null 2>"$F/said" || code=$?
echo "full=$code $(tr '\n' ' ' <"$F/said")"
rm "$F/disk/other"
mount -o remount,size=512m "$F/disk"
entente search --kind item --limit 100000 >"$F/held"
entente import "$F/rows.csv" >/dev/null
entente search --kind item --limit 100000 >"$F/all"
umount "$F/disk"
"#;
    let Some(output) = in_namespace(script, &[("F", &folder.path().display().to_string())]) else {
        println!("skipped: a full disk: needs root and `unshare`");
        return Ok(());
    };
    let found = printed(&output);
    assert!(output.status.success(), "{found:#?}: {output:?}");
    let full = found.get("full").ok_or("full")?;
    assert!(full.starts_with("5 ") && full.contains("No space left on device"), "{found:#?}");
    assert!(full.contains("\"blame\":\"store\""), "{found:#?}");
    // Where, and what to do; not how the program calls it inside.
    assert!(full.contains("the disk is full") && full.contains("disk/a/store"), "{found:#?}");
    assert!(!full.contains("StorageFull") && !full.contains("Os {") && !full.contains("FjallError"), "{found:#?}");
    let numbers = |name: &str| -> Result<(usize, usize), Box<dyn Error>> {
        let found: Value = serde_json::from_slice(&fs::read(folder.path().join(name))?)?;
        let records = found.as_array().ok_or("no records")?;
        let distinct: BTreeSet<&str> = records.iter().filter_map(|record| record["number"].as_str()).collect();
        Ok((records.len(), distinct.len()))
    };
    assert_eq!(numbers("held")?, (50, 50), "what was there stays, and no half of a step: {found:#?}");
    assert_eq!(numbers("all")?, (4_000, 4_000), "all of them, each once");
    Ok(())
}

/// Story: the disk that backups go to is full, whether at the first byte or at the last. The backup says which disk, what lay
/// there before is whole, and with room the next one is made.
#[test]
fn a_full_disk_stops_a_backup_and_leaves_the_one_before() -> Outcome {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("few.csv"), rows(50))?;
    fs::write(folder.path().join("rows.csv"), rows(4_000))?;
    fs::rename(entente_tests::recovery_passphrase(folder.path()), folder.path().join("apart"))?;
    let script = r#"
mkdir "$F/disk"
mount -t tmpfs -o size=64m tmpfs "$F/disk"
entente() { "$ENTENTE" --json --home "$F/a" --identity-file "$F/a.key" "$@"; }
entente init --name A --handle a --listen 127.0.0.1:0 --recovery-passphrase-file "$F/apart" >/dev/null
entente import "$F/few.csv" >/dev/null
entente backup "$F/disk/b" >/dev/null
entente import "$F/rows.csv" >/dev/null
for left in 0 4 64 512; do
    dd if=/dev/zero of="$F/disk/other" bs=64k 2>/dev/null || true
    truncate -s "-${left}K" "$F/disk/other"
    code=0
    entente backup "$F/disk/b" >/dev/null 2>"$F/said" || code=$?
    echo "full$left=$code $(tr '
' ' ' <"$F/said")"
    rm "$F/disk/other"
    code=0
    entente backup verify "$F/disk/b" --recovery-file "$F/a/recovery.age" --recovery-passphrase-file "$F/apart" >"$F/left" || code=$?
    echo "whole$left=$code "
done
entente backup "$F/disk/b" >/dev/null
entente backup verify "$F/disk/b" --recovery-file "$F/a/recovery.age" --recovery-passphrase-file "$F/apart" >"$F/all"
umount "$F/disk"
"#;
    let Some(output) = in_namespace(script, &[("F", &folder.path().display().to_string())]) else {
        println!("skipped: a full disk of backups: needs root and `unshare`");
        return Ok(());
    };
    let found = printed(&output);
    assert!(output.status.success(), "{found:#?}: {output:?}");
    for left in [0, 4, 64, 512] {
        let full = found.get(format!("full{left}").as_str()).ok_or("full")?;
        assert!(full.starts_with("3 ") && full.contains("No space left on device"), "{found:#?}");
        assert!(full.contains("disk/b") && full.contains("what was in the folder before is whole"), "{found:#?}");
        let whole = found.get(format!("whole{left}").as_str()).ok_or("whole")?;
        assert!(whole.starts_with("0 "), "{found:#?}");
    }
    let all: Value = serde_json::from_slice(&fs::read(folder.path().join("all"))?)?;
    let numbers: Vec<u64> = all.as_array().into_iter().flatten().filter_map(|row| row["number"].as_u64()).collect();
    assert_eq!(numbers, [1, 2], "{all}");
    Ok(())
}

/// Every record that a home holds: number to what its fields say, links and ids aside, which differ by home.
fn content(home: &Home) -> Result<BTreeMap<String, String>, Box<dyn Error>> {
    let found = home.json(&["search", "--limit", "100000"]);
    let mut all = BTreeMap::new();
    for record in found.as_array().ok_or("no records")? {
        let number = record["number"].as_str().ok_or("number")?.to_owned();
        let fields = record["fields"].as_object().cloned().unwrap_or_default();
        let plain: BTreeMap<&String, &Value> = fields
            .iter()
            .filter(|(name, _)| ["serial", "type", "make", "media", "role", "etype"].contains(&name.as_str()))
            .collect();
        let twice = all.insert(number.clone(), format!("{} {plain:?}", record["kind"]));
        assert!(twice.is_none(), "`{number}` is there twice");
    }
    Ok(all)
}

/// Story: an import is killed at any moment, and simply started again. It ends with the records of one that was left
/// alone, each of them once, photographs too.
#[test]
fn an_interrupted_import_goes_on() -> Outcome {
    let folder = tempfile::tempdir()?;
    let table = folder.path().join("rows.csv").display().to_string();
    let photos = folder.path().join("photos");
    fs::create_dir(&photos)?;
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../certs-example/evidence/photos/IMG_0001.jpg");
    fs::copy(example, photos.join("IMG_0001.jpg"))?;
    fs::write(&table, rows(4_600))?;
    let photos = photos.display().to_string();
    let import = ["import", &table, "--attachments", &photos];
    let whole = Home::init(folder.path(), "whole");
    let begun = Instant::now();
    let report = whole.json(&import);
    let took = begun.elapsed();
    let expected = content(&whole)?;
    assert!(expected.len() > 5_000, "more than one append: {report}");
    // Shares of the whole time, from a seed: the same in every run.
    let mut seed = 0x5eed_u64;
    for handle in ["one", "two", "three"] {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let share = f64::from((seed >> 40) as u32) / f64::from(1_u32 << 24);
        let home = Home::init(folder.path(), handle);
        let mut child = Command::new(entente())
            .args(["--home", &home.path(handle), "--identity-file", &home.path(&format!("{handle}.key"))])
            .args(import)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        // The moment is the test: there is no event to wait for.
        std::thread::sleep(took.mul_f64(share));
        child.kill()?;
        let ended = ended(&mut child)?;
        let mut text = String::new();
        child.stderr.take().ok_or("stderr")?.read_to_string(&mut text)?;
        assert!(!text.contains("panicked"), "{text}");
        let report = home.json(&import);
        assert_eq!(report["rows"], 4_600, "{handle}: killed at {share:.2} ({ended}): {report}");
        assert_eq!(content(&home)?, expected, "{handle}: killed at {share:.2} of {took:?} ({ended})");
    }
    assert_eq!(whole.json(&import)["added"], 0, "everything is there");
    Ok(())
}
