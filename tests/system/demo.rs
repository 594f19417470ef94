//! The example federation, as a newcomer runs it: four processes, real sockets, real files.

use entente_node::{clock::SystemClock, config::Home as Folder, node::Node, secret::unlock::Unlock};
use entente_tests::{
    PATIENCE, Row, World, entente, listing, output, run,
    search::{self, Search, Secret},
    until, within,
};
use serde_json::Value;
use std::{
    error::Error,
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

/// What the demo shows of the sample evidence, in its order.
const CHECKS: [&str; 25] = [
    "pairing",
    "wrong-words",
    "agreements",
    "import-again",
    "import",
    "drafts-stay",
    "delivered-to-panel",
    "delivered-to-maker",
    "delivered-to-host",
    "delivered-from-panel",
    "delivered-from-maker",
    "condition",
    "coarse",
    "explained",
    "preview",
    "proof",
    "photograph",
    "amendments",
    "amendment-waits",
    "amendment-follows",
    "no-agreement",
    "introduced-only",
    "onward",
    "recall",
    "end",
];

/// Story: a newcomer types one command, and every claim that the program makes is checked by it.
#[test]
fn the_demo_holds_every_check_and_leaves_four_homes() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let home = folder.path().join("federation");
    let shown = home.to_str().ok_or("path")?;
    let output = run(&["--home", shown, "--json", "demo", "--once"], &[]);
    let said = String::from_utf8(output.stdout)?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = said.lines().last().ok_or_else(|| format!("nothing was printed: {errors}"))?;
    let outcome: Value = serde_json::from_str(last)?;
    assert_eq!(listing::faults(&outcome), Vec::<String>::new());
    let failed: Vec<&Value> =
        outcome["checks"].as_array().ok_or("no checks")?.iter().filter(|c| c["ok"] != Value::Bool(true)).collect();
    assert!(failed.is_empty() && outcome["ok"] == Value::Bool(true), "{failed:#?}\n{errors}");
    assert!(output.status.success());

    let checks = outcome["checks"].as_array().ok_or("no checks")?;
    let told: Vec<&str> = checks.iter().filter_map(|check| check["name"].as_str()).collect();
    assert_eq!(told, CHECKS);

    let organisations = outcome["organisations"].as_array().ok_or("no organisations")?;
    assert_eq!(organisations.len(), 4);
    let of = |handle: &str, key: &str| {
        let found = organisations.iter().find(|organisation| organisation["handle"] == handle);
        found.and_then(|organisation| organisation[key].as_u64()).unwrap_or_default()
    };
    assert!(of("car", "records_own") > 200 && of("car", "withheld") > 0, "{organisations:#?}");
    assert!(of("panel", "records_received") > of("maker", "records_received"), "{organisations:#?}");
    // Its agreement has ended, and what came under it is erased.
    assert!(of("maker", "records_received") > 0 && of("host", "records_received") == 0, "{organisations:#?}");
    for organisation in organisations {
        let handle = organisation["handle"].as_str().ok_or("no handle")?;
        for key in ["records_own", "records_received", "withheld"] {
            assert!(organisation[key].is_u64(), "{handle}: {key}");
        }
        // The homes stay, and the passphrase file opens each of them without a node running.
        let passphrase = home.join("passphrase");
        let environment = [("ENTENTE_PASSPHRASE_FILE", passphrase.to_str().ok_or("path")?)];
        let at = home.join(handle);
        let status = run(&["--home", at.to_str().ok_or("path")?, "--json", "status"], &environment);
        let status: Value = serde_json::from_slice(&status.stdout)?;
        assert_eq!(status["handle"], organisation["handle"]);
        assert_eq!(status["records_own"], organisation["records_own"]);
    }
    for organisation in organisations {
        nothing_in_clear(&home, organisation["handle"].as_str().unwrap_or_default())?;
    }
    // No place, author or camera of a photograph lies in clear in any home.
    let author = "Obs-07";
    for (path, bytes) in search::files(&home)? {
        if !Path::new(&path).starts_with(home.join("sample")) {
            assert!(!bytes.windows(author.len()).any(|w| w == author.as_bytes()), "`{author}` is in {path}");
        }
    }
    Ok(())
}

/// Takes every value of every record that an organisation holds, and finds none in its store.
fn nothing_in_clear(federation: &Path, handle: &str) -> Result<(), Box<dyn Error>> {
    let (folder, unlock) = (Folder::at(federation.join(handle)), federation.join("passphrase"));
    // What was erased is looked for by what its giver knows of it.
    let whose = if handle == "host" { "car" } else { handle };
    let node = Node::open(Folder::at(federation.join(whose)), &Unlock::PassphraseFile(unlock), Arc::new(SystemClock))?;
    let secrets: Vec<Secret> = search::values(&node)?.iter().map(|value| Secret::value(value)).collect();
    drop(node);
    let forms = secrets.iter().map(|secret| secret.forms().len()).sum::<usize>();
    let least = if whose == "car" { 1_000 } else { 20 };
    assert!(secrets.len() > least && forms > 15 * secrets.len(), "{handle}: {} values, {forms} forms", secrets.len());
    let search = Search::new(&secrets);
    for (path, bytes) in search::files(&folder.store())? {
        let found = &search.found(&bytes) | &search.found_in_name(&path);
        assert!(found.is_empty(), "{handle}: in clear in {path}: {found:?}");
    }
    // The search finds each form of what is there.
    let planted = folder.store().join("planted");
    for form in secrets[secrets.len() / 2].forms() {
        fs::write(&planted, [b"before", form.as_slice(), b"after"].concat())?;
        let files = search::files(&folder.store())?;
        let found = files.iter().filter(|(_, bytes)| !search.found(bytes).is_empty()).count();
        assert_eq!(found, 1, "{handle}: {form:?} is not found");
    }
    fs::remove_file(&planted).map_err(|error| format!("{}: {error}", planted.display()).into())
}

/// Story: a newcomer brings a table of their own, seven rows of which nothing was made in the maker's state. Every check
/// holds of it; a table that cannot be read is named before any node is made.
#[test]
fn the_demo_holds_with_a_small_table_of_ones_own() -> Result<(), Box<dyn Error>> {
    let (world, []) = World::of(77, []);
    let path = |name: &str| world.folder().join(name).display().to_string();
    let (own, unread, columns, none) = (path("own.csv"), path("absent.csv"), path("columns.csv"), path("none.csv"));
    let table = Row::table(&world.rows("OWN", 7)).replace("Croatia", "Serbia");
    fs::write(&own, &table)?;
    fs::write(&columns, "colour,weight\nred,3\n")?;
    fs::write(&none, table.replace("2026-02-03", "2026-02-30"))?;
    let home = path("federation");
    for file in [&unread, &columns, &none] {
        let output = run(&["--home", &home, "--json", "demo", "--once", "--evidence", file], &[]);
        let fault: Value = serde_json::from_slice(&output.stderr)?;
        assert_eq!((output.status.code(), &fault["error"]["blame"]), (Some(2), &"input".into()), "{fault}");
        let says = fault["error"]["message"].as_str().unwrap_or_default();
        assert!(says.contains(file.as_str()) || file == &columns && says.contains("column"), "{fault}");
        assert!(!Path::new(&home).exists(), "{file}: nodes were made for it");
    }
    let output = run(&["--home", &home, "--json", "demo", "--once", "--evidence", &own], &[]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let outcome: Value = serde_json::from_slice(&output.stdout)?;
    let checks = outcome["checks"].as_array().ok_or("no checks")?;
    let failed: Vec<&Value> = checks.iter().filter(|c| c["ok"] != Value::Bool(true)).collect();
    assert!(failed.is_empty() && output.status.success(), "{failed:#?}\n{errors}");
    assert!(checks.iter().any(|c| c["name"] == "proof") && checks.iter().any(|c| c["name"] == "explained"));
    Ok(())
}

/// Types what the demo says that a newcomer can type.
fn look_around(said: &Path) -> Result<(), Box<dyn Error>> {
    let said = fs::read_to_string(said)?;
    let passphrase = said.lines().find_map(|line| line.trim().strip_prefix("export ENTENTE_PASSPHRASE_FILE="));
    let environment = [("ENTENTE_PASSPHRASE_FILE", passphrase.ok_or("no passphrase is named")?)];
    let lines: Vec<&str> = said.lines().filter(|line| line.contains(" --home ")).collect();
    assert_eq!(lines.len(), 3, "{said}");
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let output = output(Command::new(words[0]).args(&words[1..]).env_clear().envs(environment))?;
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && answer.lines().count() > 2, "{line}: {answer}");
    }
    Ok(())
}

/// Processes whose command line names a path, zombies left out.
fn processes_at(path: &str) -> Vec<u32> {
    let folders = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = folders.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| {
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(path)
    })
    .collect()
}

/// Story: a supervisor, or a shell that is closed, ends the demo's own process and no other: while it waits, and in the
/// midst of its story. Its four nodes end with it.
#[test]
fn a_signal_to_the_demo_alone_ends_its_nodes() -> Result<(), Box<dyn Error>> {
    for (signal, once, at, code) in [
        ("-TERM", false, "Ctrl-C ends them.", 0),
        ("-INT", false, "Ctrl-C ends them.", 0),
        ("-TERM", true, "3. Three agreements", 2),
        ("-INT", true, "1. Four nodes come up", 2),
    ] {
        let folder = tempfile::tempdir()?;
        let (home, said) = (folder.path().join("federation"), folder.path().join("said"));
        let shown = home.to_str().ok_or("path")?;
        let args: &[&str] = if once { &["demo", "--once"] } else { &["demo"] };
        let mut demo = Command::new(entente())
            .args([&["--home", shown], args].concat())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(fs::File::create(&said)?)
            .stderr(Stdio::null())
            .spawn()?;
        within(3 * PATIENCE, "the story comes so far", || {
            let nodes = processes_at(shown).len() > 1;
            nodes && fs::read_to_string(&said).is_ok_and(|said| said.contains(at))
        });
        if code == 0 {
            look_around(&said)?;
        }
        assert!(Command::new("kill").args([signal, &demo.id().to_string()]).status()?.success());
        let mut ended = None;
        until("the demo ends", || {
            ended = demo.try_wait().ok().flatten();
            ended.is_some()
        });
        let left = processes_at(shown);
        for id in &left {
            drop(Command::new("kill").args(["-KILL", &id.to_string()]).status());
        }
        assert!(left.is_empty(), "{signal} {at}: {left:?} go on without the demo");
        assert_eq!(ended.and_then(|status| status.code()), Some(code), "{signal} {at}");
    }
    Ok(())
}
