//! Canaries: secrets and evidence that stand nowhere else, and every place that is searched for them afterwards.
//!
//! | where | secrets | evidence |
//! | --- | --- | --- |
//! | logs at TRACE, panics, cores | never | never |
//! | errors of commands | never | never, but for the name, line and column that people typed or must correct |
//! | standard output of `search`, `record`, `explain` | never | yes: that is what they are for |
//! | the home, temporary folders, names of files and sockets | never in clear | never in clear |
//! | arguments and environment of processes | never | never; they name files |
//!
//! A secret is a passphrase, an identity, and whatever the files in `keys/` hold once they are opened. It is looked for
//! as bytes, in hexadecimal and in Base64; evidence as text and in hexadecimal. Both sides of a partnership are searched,
//! the one that sends evidence and the one that receives it.

use entente_node::secret::unlock;
use entente_tests::{
    Row, World, agreement_text, ended, entente, output,
    search::{self, Search, Secret},
    until,
};
use serde_json::Value;
use std::{
    error::Error,
    fs,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

type Outcome = Result<(), Box<dyn Error>>;
/// What was read, and where.
type Places = Vec<(String, Vec<u8>)>;

const PASSPHRASE: &str = "canary of Zanzibar sings brightly at 4711";
const WRONG: &str = "canary of Timbuktu sings brightly at 4712";
const BROKEN_SECRET: &str = "zqxcanaryinidentity";
const CLAUSES: &str = r#"
[[clause]]
name = "all"
from = "a"
to = ["b"]
onward = "never"
retention-days = 30
files = ["stripped"]
disclose.item = ["number", "eval", "type", "make-country", "model", "make", "serial", "serial-prefix", "serial-state", "event"]
disclose.event = ["number", "eval", "etype", "recovered-month", "place-country"]
disclose.attachment = ["number", "eval", "role", "media", "of", "content"]
"#;

/// A home, everything of it at TRACE, with a folder of its own for what is temporary.
struct Canary {
    folder: PathBuf,
    handle: &'static str,
    /// What unlocks it: the option, and the file.
    unlock: [String; 2],
    /// What every command said where it may not say everything: its standard error.
    said: Vec<u8>,
}

impl Canary {
    /// Makes a home. With a passphrase it is unlocked by that, without by an identity file.
    fn new(folder: &Path, handle: &'static str, passphrase: Option<&str>) -> Result<Self, Box<dyn Error>> {
        for name in ["tmp", "cwd"] {
            fs::create_dir_all(folder.join(format!("{handle}-{name}")))?;
        }
        let unlock = if passphrase.is_some() { ["--passphrase-file", "phrase"] } else { ["--identity-file", "key"] };
        let unlock = [unlock[0].to_owned(), folder.join(format!("{handle}-{}", unlock[1])).display().to_string()];
        let mut canary = Self { folder: folder.to_owned(), handle, unlock, said: Vec::new() };
        if let Some(passphrase) = passphrase {
            private(&canary.own("phrase"), passphrase)?;
        }
        private(&canary.own("apart"), &format!("canary of {handle} rests apart at 4713"))?;
        let (name, apart) = (handle.to_uppercase(), canary.own("apart").display().to_string());
        let init = ["init", "--name", &name, "--handle", handle, "--listen", "127.0.0.1:0"];
        canary.ok(&[init.as_slice(), &["--recovery-passphrase-file", &apart]].concat())?;
        Ok(canary)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn own(&self, what: &str) -> PathBuf {
        self.path(&format!("{}-{what}", self.handle))
    }

    fn command(&self, unlock: &[&str], args: &[&str]) -> Command {
        let mut command = Command::new(entente());
        command
            .arg("--home")
            .arg(self.path(self.handle))
            .args(unlock)
            .args(args)
            .env_clear()
            .env("TMPDIR", self.own("tmp"))
            .env("ENTENTE_LOG", "trace")
            .env("RUST_BACKTRACE", "full")
            .current_dir(self.own("cwd"));
        command
    }

    /// Runs a command with what unlocks the home; keeps what it said on its standard error.
    fn run(&mut self, args: &[&str]) -> Result<Output, Box<dyn Error>> {
        let unlock = self.unlock.clone();
        self.with(&unlock.each_ref().map(String::as_str), args)
    }

    fn with(&mut self, unlock: &[&str], args: &[&str]) -> Result<Output, Box<dyn Error>> {
        let output = output(&mut self.command(unlock, args))?;
        self.said.extend(&output.stderr);
        Ok(output)
    }

    fn ok(&mut self, args: &[&str]) -> Result<String, Box<dyn Error>> {
        let output = self.run(args)?;
        let error = last_line(&output);
        assert!(output.status.success(), "{}: {args:?}: {error}", self.handle);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A command that must fail, and of whose answer nothing may tell.
    fn fails(&mut self, unlock: &[&str], args: &[&str], code: i32) -> Outcome {
        let output = self.with(unlock, args)?;
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", last_line(&output));
        self.said.extend(&output.stdout);
        Ok(())
    }

    fn start(&mut self) -> Result<Child, Box<dyn Error>> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.own("log"))?;
        let program = self.command(&self.unlock.each_ref().map(String::as_str), &["run"]);
        // Images of crashed processes are allowed where the node starts: it forbids them itself.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "ulimit -c unlimited 2>/dev/null; exec \"$0\" \"$@\""]).arg(program.get_program());
        command.args(program.get_args()).env_clear().current_dir(self.own("cwd"));
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let socket = self.path(self.handle).join("control.sock");
        until("the node answers", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
        Ok(child)
    }

    /// Ends the node as a fault in it would, with an image of its memory where that is allowed; then starts it again.
    fn crash(&mut self, mut node: Child) -> Result<Child, Box<dyn Error>> {
        assert!(Command::new("/bin/sh").args(["-c", &format!("kill -ABRT {}", node.id())]).status()?.success());
        ended(&mut node)?;
        self.start()
    }

    /// Every record received.
    fn received(&mut self) -> Result<Vec<Value>, Box<dyn Error>> {
        Ok(serde_json::from_str(&self.ok(&["--json", "search", "--received", "--limit", "1000"])?)?)
    }

    /// Arguments and environment of a process, as everybody with this user's rights reads them.
    fn shown(child: &Child) -> Result<Vec<u8>, Box<dyn Error>> {
        let of = |what: &str| fs::read(format!("/proc/{}/{what}", child.id()));
        Ok([of("cmdline")?, of("environ")?, of("comm")?].concat())
    }

    /// Everything that no key was needed to read: what was said, the logs, the home with all names, temporary folders.
    fn everything(&self) -> Result<Places, Box<dyn Error>> {
        let mut all = vec![(format!("{}: standard error", self.handle), self.said.clone())];
        all.push((format!("{}: log", self.handle), fs::read(self.own("log"))?));
        for folder in [self.path(self.handle), self.own("tmp"), self.own("cwd")] {
            all.extend(search::files(&folder)?);
            all.push((format!("names in {}", folder.display()), names(&folder)?));
        }
        Ok(all)
    }

    /// Every secret of the home: its passphrases, its identities, and what its key files hold.
    fn secrets(&self) -> Result<Vec<Secret>, Box<dyn Error>> {
        let home = self.path(self.handle);
        let (keys, apart) = (home.join("keys"), unlock::read_secret_file(&self.own("apart"))?);
        let recovery = unlock::open_with_passphrase(&home.join("recovery.age"), &apart)?;
        let mut secrets = vec![
            Secret::bytes("passphrase of the recovery file", apart.expose().as_bytes()),
            Secret::bytes("recovery identity", recovery.to_text().expose().as_bytes()),
            Secret::bytes("recovery seed", recovery.seed().expose()),
        ];
        let file = Path::new(&self.unlock[1]);
        let identity = if self.unlock[0] == "--identity-file" {
            unlock::read_identity_file(file)?
        } else {
            let phrase = unlock::read_secret_file(file)?;
            secrets.push(Secret::bytes("passphrase", phrase.expose().as_bytes()));
            unlock::open_with_passphrase(&keys.join(unlock::NODE_KEY_FILE), &phrase)?
        };
        secrets.push(Secret::bytes("seed of the identity", identity.seed().expose()));
        secrets.extend(search::keys(&keys, &identity)?);
        assert!(secrets.len() > 10, "{}: keys are found: {}", self.handle, secrets.len());
        Ok(secrets)
    }
}

fn last_line(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned()
}

/// Paths of everything below a folder, sockets and links too.
fn names(folder: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    let (mut open, mut names) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            names.extend(entry.file_name().as_encoded_bytes());
            names.push(b'\n');
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            }
        }
    }
    Ok(names)
}

/// Where something is that must not be, if anything is.
fn leaks(secrets: &[Secret], places: &[(String, Vec<u8>)]) -> Vec<String> {
    let search = Search::new(secrets);
    let named = |(place, bytes): &(String, Vec<u8>)| {
        search.found(bytes).into_iter().map(|what| format!("{what} in {place}")).collect::<Vec<_>>()
    };
    places.iter().flat_map(named).collect()
}

fn private(path: &Path, text: &str) -> Outcome {
    let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

/// Evidence whose every value stands nowhere else.
fn evidence(world: &World) -> (Vec<Row>, Vec<Secret>) {
    let mut rows = world.rows("ZQX", 12);
    for row in &mut rows {
        row.serial = row.serial.replace("QX ", "ZQX9");
    }
    let mut secrets = Vec::new();
    for row in &rows {
        for text in [&row.serial, &row.make, &row.place, &row.collector, &row.custody, &row.note, &row.marks, &row.case]
        {
            secrets.push(Secret::text(text));
        }
        for degrees in [&row.point.0, &row.point.1] {
            secrets.push(Secret::text(degrees));
        }
    }
    (rows, secrets)
}

/// What a photograph of the samples tells, and the bytes of its pixels.
fn photograph(folder: &Path) -> Result<Vec<Secret>, Box<dyn Error>> {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../certs-example/evidence/photos/IMG_0001.jpg");
    let bytes = fs::read(sample)?;
    fs::create_dir_all(folder)?;
    fs::write(folder.join("zqxphotograph.jpg"), &bytes)?;
    let texts = ["Observer Seven", "FieldCam X4 2.1", "overall, right side", "zqxphotograph"];
    let mut secrets: Vec<Secret> = texts.iter().map(|text| Secret::text(text)).collect();
    for at in [bytes.len() / 2, bytes.len() * 3 / 4] {
        secrets.push(Secret::bytes("pixels", bytes.get(at..at + 24).ok_or("a photograph of no bytes")?));
    }
    Ok(secrets)
}

/// Story: an organisation works for a day at the most talkative log level: it imports evidence with a photograph, has
/// it reviewed and released, shares it, is killed in the middle, and makes every mistake there is. Its partner is as
/// talkative, crashes too, and looks at what it got. Then somebody reads all that both left behind without a key.
#[test]
fn no_secret_and_no_evidence_is_left_where_it_can_be_read() -> Outcome {
    let (world, []) = World::of(71, []);
    let folder = world.folder();
    let (mut car, mut panel) = (Canary::new(folder, "a", Some(PASSPHRASE))?, Canary::new(folder, "b", None)?);
    private(&car.path("wrong"), WRONG)?;
    private(&car.path("broken"), &format!("AGE-SECRET-KEY-PQ-1{}\n", BROKEN_SECRET.to_uppercase()))?;
    let (rows, mut canaries) = evidence(&world);
    let photos = folder.join("photos");
    canaries.extend(photograph(&photos)?);
    let mut forbidden = [car.secrets()?, panel.secrets()?].concat();
    pair(&mut car, &mut panel)?;
    agree(&mut car, &mut panel)?;

    // A photograph with the first row.
    fs::write(car.path("rows.csv"), photo_of_first(&Row::table(&rows)))?;
    let (rows_path, photos_path) = (car.path("rows.csv").display().to_string(), photos.display().to_string());
    let report = car.ok(&["--json", "import", &rows_path, "--attachments", &photos_path])?;
    assert!(report.contains("\"files\":3") || report.contains("\"files\": 3"), "{report}");
    car.ok(&["review", "--all-drafts", "--state", "verified"])?;
    car.ok(&["release", "--all-reviewed"])?;

    mistakes(&mut car, &rows)?;

    let mut receiving = panel.start()?;
    let mut node = car.start()?;
    let mut shown = [Canary::shown(&node)?, Canary::shown(&receiving)?].concat();
    let limits = fs::read_to_string(format!("/proc/{}/limits", node.id()))?;
    let core: Vec<&str> =
        limits.lines().find(|l| l.starts_with("Max core")).unwrap_or_default().split_whitespace().collect();
    assert!(matches!(core[..], [.., "0" | "1", "0" | "1", "bytes"]), "no image of its memory is left: {core:?}");
    car.ok(&["sync", "b"])?;
    // A crash that leaves an image of the memory where it may, on both sides, then one as when the power goes.
    node = car.crash(node)?;
    receiving = panel.crash(receiving)?;
    shown.extend(Canary::shown(&node)?);
    node.kill()?;
    ended(&mut node)?;
    let mut node = car.start()?;
    car.ok(&["sync", "b"])?;
    let answers = work(&mut car, &rows)?;
    for canary in &canaries[..1] {
        assert!(canary.is_in(answers.as_bytes()), "`search` shows what it is asked for");
    }
    until("the panel holds the items and the copy", || {
        let status = panel.ok(&["--json", "status"]).unwrap_or_default();
        let status: Value = serde_json::from_str(&status).unwrap_or_default();
        status["files_waiting"] == 0 && panel.received().is_ok_and(|records| records.len() > rows.len())
    });
    let seen = receipt(&mut panel, &rows, &mut canaries)?;
    for (side, node) in [(&mut car, &mut node), (&mut panel, &mut receiving)] {
        side.ok(&["stop"])?;
        assert!(ended(node)?.success());
        side.ok(&["check"])?;
    }

    let mut places = [car.everything()?, panel.everything()?].concat();
    places.push(("arguments and environment".to_owned(), shown));
    for log in ["a: log", "b: log"] {
        let traced = places.iter().find(|(place, _)| place == log).map_or(0, |(_, log)| log.len());
        assert!(traced > 20_000, "{log} says everything: {traced} bytes");
        let trace = [("quinn", 10), ("entente_node", 10)].map(|(name, least)| (name, least, count(&places, log, name)));
        assert!(trace.iter().all(|(_, least, found)| found >= least), "{log}: {trace:?}");
    }

    forbidden.extend([car.secrets()?, panel.secrets()?].concat());
    forbidden.push(Secret::bytes("the wrong passphrase", WRONG.as_bytes()));
    forbidden.push(Secret::bytes("a broken identity", BROKEN_SECRET.to_uppercase().as_bytes()));
    // Answers show evidence and never secrets.
    let found =
        leaks(&forbidden, &[places.clone(), vec![("answers".to_owned(), (answers + &seen).into_bytes())]].concat());
    assert!(found.is_empty(), "secrets: {found:#?}");
    let found = leaks(&canaries, &places);
    assert!(found.is_empty(), "evidence: {found:#?}");
    planted(&car, &forbidden, &canaries)?;
    planted(&panel, &forbidden, &canaries)
}

/// The search itself: whatever is put where it must not be is found, in each form.
fn planted(side: &Canary, secrets: &[Secret], canaries: &[Secret]) -> Outcome {
    let hexadecimal = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let phrase = fs::read(side.own("apart"))?;
    let leak = side.own("tmp").join("leak");
    for bytes in [phrase.clone(), hexadecimal(&phrase).into_bytes(), search::base64(&phrase).into_bytes()] {
        fs::write(&leak, [b"DEBUG ".as_slice(), &bytes, b"\n"].concat())?;
        let found = leaks(secrets, &side.everything()?);
        assert!(found.iter().any(|leak| leak.contains("passphrase") && leak.contains("leak")), "{found:?}");
    }
    fs::remove_file(&leak)?;
    // A name alone is enough.
    fs::write(side.own("tmp").join("zqxphotograph.tmp"), b"")?;
    let found = leaks(canaries, &side.everything()?);
    assert!(found.iter().any(|leak| leak.contains("zqxphotograph in names")), "{found:?}");
    Ok(())
}

fn count(places: &[(String, Vec<u8>)], log: &str, word: &str) -> usize {
    let logs = places.iter().filter(|(place, _)| place == log);
    logs.map(|(_, log)| String::from_utf8_lossy(log).matches(word).count()).sum()
}

/// The first row names its photograph.
fn photo_of_first(table: &str) -> String {
    let mut lines: Vec<String> = table.lines().map(str::to_owned).collect();
    if let Some(first) = lines.get_mut(1) {
        first.push_str("zqxphotograph.jpg");
    }
    lines.join("\n") + "\n"
}

fn pair(car: &mut Canary, panel: &mut Canary) -> Outcome {
    let mut known = Vec::new();
    for side in [&mut *car, &mut *panel] {
        let card = side.own("card").display().to_string();
        side.ok(&["identity", "card", "-o", &card])?;
        let shown: Value = serde_json::from_str(&side.ok(&["--json", "identity", "show"])?)?;
        known.push((card, shown["words"].as_str().ok_or("words")?.to_owned()));
    }
    for (side, (card, words)) in [panel, car].into_iter().zip(&known) {
        side.ok(&["partner", "add", card, "--confirm", words])?;
    }
    Ok(())
}

fn agree(car: &mut Canary, panel: &mut Canary) -> Outcome {
    let paths = ["draft.toml", "one", "two"].map(|name| car.path(name).display().to_string());
    fs::write(&paths[0], agreement_text([car.handle, panel.handle], "version = 1", CLAUSES))?;
    car.ok(&["agreement", "sign", &paths[0], "-o", &paths[1], "--yes"])?;
    panel.ok(&["agreement", "sign", &paths[1], "-o", &paths[2], "--yes"])?;
    car.ok(&["agreement", "add", &paths[2]])?;
    Ok(())
}

/// Whatever can be typed wrongly, with the answer that it must get.
fn mistakes(car: &mut Canary, rows: &[Row]) -> Outcome {
    let path = |car: &Canary, name: &str| car.path(name).display().to_string();
    let (wrong, broken, phrase) = (path(car, "wrong"), path(car, "broken"), car.own("phrase").display().to_string());
    let right = ["--passphrase-file", phrase.as_str()];
    car.fails(&["--passphrase-file", &wrong], &["status"], 3)?;
    car.fails(&["--identity-file", &broken], &["status"], 3)?;
    // A file that holds evidence, given as the passphrase, the identity, the card, the agreement, the mapping.
    fs::set_permissions(car.path("rows.csv"), fs::Permissions::from_mode(0o600))?;
    let table = path(car, "rows.csv");
    car.fails(&["--passphrase-file", &table], &["status"], 3)?;
    car.fails(&["--identity-file", &table], &["status"], 3)?;
    car.fails(&right, &["agreement", "check", &phrase], 2)?;
    car.fails(&right, &["partner", "add", &table, "--confirm", "a"], 2)?;
    car.fails(&right, &["import", &table, "--map", &phrase], 2)?;
    // A table in which every row is bad: cells must not be repeated beyond what has to be corrected.
    let bad: String = Row::table(rows).replace("2026-02-03", "31 Brumaire").replace("13.4", "913.4");
    fs::write(car.path("bad.csv"), bad)?;
    let bad = path(car, "bad.csv");
    let output = car.run(&["import", &bad])?;
    assert!(
        !output.status.success() || String::from_utf8_lossy(&output.stdout).contains("12"),
        "{}",
        last_line(&output)
    );
    car.fails(&right, &["record", "show", "ffffffff"], 2)?;
    car.fails(&right, &["release", "no-such-number"], 2)?;
    car.fails(&right, &["explain", &rows[0].number, "--to", "nobody"], 2)?;
    car.fails(&right, &["no-such-command"], 2)?;
    Ok(())
}

/// What people do with a running node; everything that it answered.
fn work(car: &mut Canary, rows: &[Row]) -> Result<String, Box<dyn Error>> {
    let mut answers = String::new();
    for args in [
        vec!["search", "--serial", &rows[0].serial],
        vec!["--json", "search", "--own", "--limit", "1000"],
        vec!["record", "show", &rows[0].number],
        vec!["record", "verify", &rows[0].number],
        vec!["explain", &rows[0].number, "--to", "b"],
        vec!["status"],
        vec!["check"],
        vec!["partner", "list"],
        vec!["agreement", "list"],
        vec!["clock", "show"],
        vec!["identity", "show"],
        vec!["completions", "bash"],
    ] {
        answers.push_str(&car.ok(&args)?);
    }
    Ok(answers)
}

/// What people do with what a partner sent; everything that the node answered. The copy that it got is a canary too.
fn receipt(panel: &mut Canary, rows: &[Row], canaries: &mut Vec<Secret>) -> Result<String, Box<dyn Error>> {
    let records = panel.received()?;
    let mut answers = String::new();
    for record in &records {
        let id = record["id"].as_str().ok_or("id")?;
        if record["fields"]["role"] == "stripped" {
            let copy = panel.path("copy");
            answers.push_str(&panel.ok(&["record", "attachment", id, "-o", &copy.display().to_string()])?);
            let bytes = fs::read(copy)?;
            canaries.push(Secret::bytes(
                "pixels of the copy",
                bytes.get(bytes.len() / 2..).ok_or("no bytes")?[..24].as_ref(),
            ));
        }
        answers.push_str(&panel.ok(&["record", "show", id])?);
    }
    assert!(answers.contains(&rows[0].serial), "`record show` shows what was received");
    for args in [
        vec!["search", "--serial", &rows[0].serial],
        vec!["record", "verify", records[0]["id"].as_str().ok_or("id")?],
        vec!["status"],
        vec!["check"],
        vec!["partner", "list"],
        vec!["agreement", "list"],
    ] {
        answers.push_str(&panel.ok(&args)?);
    }
    panel.fails(&[], &["explain", "ffffffff", "--to", "nobody"], 2)?;
    panel.fails(&[], &["record", "show", "ffffffff"], 2)?;
    Ok(answers)
}
