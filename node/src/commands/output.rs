//! What commands print and where: answers to the standard output, all else to the standard error.
//!
//! A reader that goes away (`entente search | head`) is no fault. Nothing here is printed that did not go
//! through [`plain`].

use super::{
    plain,
    table::{Look, Table},
};
use crate::{cli, error::Fault};
use dialoguer::console::Term;
use serde::Serialize;
use serde_json::{Value as Json, json};
use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

/// Exit code where a record does not verify.
pub const NOT_VERIFIED: u8 = 6;
/// Exit code of what was not foreseen.
const UNEXPECTED: u8 = 1;

/// Why a command ends early.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A fault with its blame.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The answer could not be written.
    #[error("the answer cannot be written: {0}")]
    Output(#[from] io::Error),
}

/// How a command that did its work ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// All is well.
    Well,
    /// It answered, and the answer is no.
    No(u8),
}

impl From<Done> for ExitCode {
    fn from(done: Done) -> Self {
        match done {
            Done::Well => Self::SUCCESS,
            Done::No(code) => Self::from(code),
        }
    }
}

/// What the answer goes to.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// Whether a program reads.
    pub json: bool,
    /// How tables are drawn.
    pub look: Look,
}

impl Output {
    /// The standard output as it is.
    pub fn standard(json: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let width = Term::stdout().size_checked().map(|(_, columns)| usize::from(columns)).filter(|_| terminal);
        Self { json, look: Look { colour: terminal && !cli::no_colour(), width } }
    }

    /// Prints text that went through [`plain`].
    pub fn text(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            out.write_all(b"\n")?;
        }
        Ok(out.flush()?)
    }
    /// Prints JSON.
    pub fn json(&self, value: &Json) -> Result<(), Failure> {
        self.text(&plain::json(value))
    }
    /// Prints JSON to a program, and to people what `text` makes.
    pub fn answer(&self, value: &Json, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json { self.json(value) } else { self.text(&text()) }
    }
    /// Prints a listing: the array to a program, a table to people, or a sentence where it is empty.
    pub fn listing(&self, value: &Json, table: &Table, empty: &str) -> Result<(), Failure> {
        if self.json {
            return self.json(value);
        }
        if table.is_empty() {
            note(empty);
            return Ok(());
        }
        self.text(&table.render(self.look))
    }
}

/// Says something beside the answer. Where the standard error is closed, nobody is told, and nothing fails.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", plain::lines(text));
}

/// What to do about a fault, where its sentence does not say it.
fn help(fault: &Fault) -> Option<&'static str> {
    match fault.code.as_str() {
        "unlock" => Some(
            "unlock with --passphrase-file FILE, ENTENTE_PASSPHRASE_FILE or --identity-file FILE, \
             or type the passphrase at a terminal",
        ),
        "store" => Some(
            "nothing half-written was kept: is another process using this home, is the disk full? \
             If not, copy the home before anything else; see OPERATING.md, \"When something is wrong\"",
        ),
        "words-differ" => Some("call the partner at a number that you know and compare again, word by word"),
        "listen" => Some("another program may use this port: change `listen` in entente.toml"),
        _ => None,
    }
}

#[derive(Serialize)]
struct Blamed<'a> {
    error: &'a Fault,
}

/// A fault as it is printed.
fn render_fault(fault: &Fault, json: bool, look: Look) -> String {
    if json {
        return plain::json_line(&json!(Blamed { error: fault }));
    }
    let mut out = format!("{} {}", look.bad("error:"), plain::lines(&fault.message).replace('\n', "\n  "));
    if let Some(help) = help(fault) {
        out.push_str(&format!("\n  {} {help}", look.strong("help:")));
    }
    out
}

/// Prints a fault to the standard error; returns the exit code.
pub fn report(failure: &Failure, json: bool) -> ExitCode {
    let look = Look { colour: io::stderr().is_terminal() && !cli::no_colour(), width: None };
    let (fault, code) = match failure {
        Failure::Fault(fault) => (fault.clone(), fault.exit_code()),
        // Whoever read has enough: nothing is wrong.
        Failure::Output(e) if e.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
        Failure::Output(_) => (Fault::setup("output", failure), UNEXPECTED),
    };
    let _ = writeln!(io::stderr().lock(), "{}", render_fault(&fault, json, look));
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_for_people_teach() {
        let text = render_fault(&Fault::input("words-differ", "the words differ"), false, Look::default());
        assert!(text.starts_with("error: the words differ\n  help: call the partner"), "{text}");
        let hostile = render_fault(&Fault::input("x", "`\u{1b}[2J`\nb"), false, Look::default());
        assert_eq!(hostile, "error: `\\u{1b}[2J`\n  b");
    }

    #[test]
    fn faults_for_programs_are_one_line() -> Result<(), serde_json::Error> {
        let text = render_fault(&Fault::store("a\nb \u{9b}"), true, Look::default());
        assert_eq!(text.lines().count(), 1);
        let value: Json = serde_json::from_str(&text)?;
        assert_eq!(value, json!({ "error": { "blame": "store", "code": "store", "message": "a\nb \u{9b}" } }));
        Ok(())
    }

    #[test]
    fn a_reader_that_went_away_is_no_fault() {
        let code = |kind: io::ErrorKind| report(&Failure::Output(kind.into()), true);
        assert_eq!(code(io::ErrorKind::BrokenPipe), ExitCode::SUCCESS);
        assert_eq!(code(io::ErrorKind::StorageFull), ExitCode::from(1));
    }
}
