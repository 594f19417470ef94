//! The example federation: four organisations on this machine, from fresh keys to proved evidence.
//!
//! It tells what it does as it does it, checks every claim it makes, and exits with success only if
//! every check held. Nothing is prepared: nodes, keys, agreements and exchanges are the real ones.

mod children;
mod evidence;
mod federation;
mod story;

use crate::{
    clock::{Clock, SystemClock},
    error::Fault,
    ingest::{
        child::Program,
        import::{self, ImportOptions},
    },
    run,
};
use children::Children;
use serde_json::{Value as Json, json};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

/// How the demo runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoOptions {
    /// End after the story, with success only if every check held.
    pub once: bool,
    /// Print one JSON object at the end instead of the story.
    pub json: bool,
    /// Where the homes go; a new folder among the temporary ones where absent.
    pub home: Option<PathBuf>,
    /// A file of the user's own, in the columns of the sample, instead of the field mission's.
    pub evidence: Option<PathBuf>,
}

/// One claim, and whether it held.
pub struct Check {
    name: &'static str,
    says: String,
    ok: bool,
}

/// What is said and what was checked.
pub struct Teller {
    quiet: bool,
    checks: Vec<Check>,
}

impl Teller {
    /// A heading.
    fn chapter(&self, title: &str) {
        self.say("");
        self.say(title);
    }
    /// A line.
    fn say(&self, text: &str) {
        if !self.quiet {
            // Where nobody reads, there is nothing to say.
            let _ = writeln!(std::io::stdout(), "{text}");
        }
    }
    /// A claim.
    fn check(&mut self, name: &'static str, ok: bool, says: impl Into<String>) {
        let says = says.into();
        self.say(&format!("  {} {says}", if ok { "[ok]  " } else { "[FAIL]" }));
        self.checks.push(Check { name, says, ok });
    }
}

/// What the demo comes to, as one JSON object.
fn outcome(organisations: &[Json], checks: &[Check]) -> Json {
    let listed: Vec<Json> =
        checks.iter().map(|c| json!({ "id": c.name, "name": c.name, "ok": c.ok, "says": c.says })).collect();
    json!({ "organisations": organisations, "checks": listed, "ok": checks.iter().all(|c| c.ok) })
}

/// A folder of its own among the temporary ones.
fn fresh_folder() -> PathBuf {
    let now = SystemClock.now().0;
    crate::cli::temporary_folder().join(format!("entente-demo-{}-{now}", std::process::id()))
}

/// Runs the demo. True if every check held.
pub fn demo(options: DemoOptions) -> Result<bool, Fault> {
    let own_folder = options.home.is_none();
    let folder = options.home.clone().unwrap_or_else(fresh_folder);
    let empty = fs::read_dir(&folder).map_or(true, |mut entries| entries.next().is_none());
    if !empty {
        let message = format!("`{}` is not empty: name a new folder with --home", folder.display());
        return Err(Fault::input("home-exists", message));
    }
    options.evidence.as_deref().map_or(Ok(()), check_evidence)?;
    let children = Children::default();
    let heard = children.clone();
    run::when_signalled(move || heard.stop())?;
    let result = tell(&options, &folder, &children);
    if own_folder && options.once {
        let _ = fs::remove_dir_all(&folder);
    }
    match result {
        // Whatever failed, it did because the nodes were ended.
        Err(_) if children.is_stopped() => {
            Err(Fault::input("interrupted", "the demo was asked to end: its nodes are stopped"))
        }
        result => result,
    }
}

/// Whether a file of the user's own can be told a story of, before anything is made for it.
fn check_evidence(path: &Path) -> Result<(), Fault> {
    let options = ImportOptions { path: path.to_owned(), map: None, attachments: None, dry_run: true };
    let report = import::look(&Program::own(), &options)?;
    if report.rows > report.bad_rows {
        return Ok(());
    }
    let why =
        report.bad.first().map_or_else(|| "it has none".to_owned(), |bad| format!("row {}: {}", bad.row, bad.why));
    Err(Fault::input("no-rows", format!("no row of `{}` can be taken: {why}", path.display())))
}

fn tell(options: &DemoOptions, folder: &Path, children: &Children) -> Result<bool, Fault> {
    let mut teller = Teller { quiet: options.json, checks: Vec::new() };
    let (federation, organisations) = story::tell(&mut teller, folder, options.evidence.as_deref(), children)?;
    let ok = teller.checks.iter().all(|c| c.ok);
    if options.json {
        let _ = writeln!(std::io::stdout(), "{}", outcome(&organisations, &teller.checks));
    } else {
        let held = teller.checks.iter().filter(|c| c.ok).count();
        teller.say("");
        teller.say(&format!("{held} of {} checks held.", teller.checks.len()));
    }
    if !options.once {
        let shown = folder.display();
        // As it was started: after `cargo run` no `entente` stands on the path.
        let program = std::env::current_exe().map_or_else(|_| "entente".to_owned(), |path| path.display().to_string());
        teller.say("");
        teller.say("The four nodes keep running. Look around from another terminal:");
        teller.say(&format!("  export ENTENTE_PASSPHRASE_FILE={shown}/passphrase"));
        teller.say(&format!("  {program} --home {shown}/car status"));
        teller.say(&format!("  {program} --home {shown}/panel search --country TD"));
        if options.evidence.is_none() {
            teller.say(&format!("  {program} --home {shown}/car explain CAR-2026-0001 --to panel"));
        }
        teller.say("Ctrl-C ends them.");
        federation.wait();
    }
    drop(federation);
    Ok(ok)
}
