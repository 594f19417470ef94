//! What is well with a node, what is not, whose it is to mend, and what to do: one sentence for each.
//!
//! `entente doctor` asks a running node through its socket, or opens the home; where that does not open, it says what can
//! be said of the files alone (`home`). Nothing is changed, and nothing is read through that `check` reads: it takes
//! seconds. A part that cannot be looked at is a finding itself.

pub mod checked;
mod held;
pub mod home;
mod log;
mod partners;
#[cfg(test)]
mod tests;

use crate::{
    error::{Blame, Fault},
    node::Node,
};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing to do.
    Ok,
    /// To be seen to, before it is trouble.
    Warning,
    /// Something does not work, or may be lost.
    Trouble,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Trouble => "trouble",
        }
    }
}

/// What was found, in order.
#[derive(Default)]
pub struct Findings {
    rows: Vec<Json>,
    given: BTreeMap<String, u32>,
}

impl Findings {
    /// All is well with a part.
    pub fn ok(&mut self, part: &str, says: impl ToString) {
        self.add(part, Level::Ok, None, says, "");
    }
    /// Something to see to; `what` is one sentence that says what to do.
    pub fn warn(&mut self, part: &str, whose: Blame, says: impl ToString, what: &str) {
        self.add(part, Level::Warning, Some(whose), says, what);
    }
    /// Something that does not work.
    pub fn trouble(&mut self, part: &str, whose: Blame, says: impl ToString, what: &str) {
        self.add(part, Level::Trouble, Some(whose), says, what);
    }
    /// The answer.
    pub fn into_json(self) -> Json {
        Json::Array(self.rows)
    }
    /// Whether a part was found to be less than well.
    pub fn has_fault(&self, part: &str) -> bool {
        self.rows.iter().any(|row| row["part"] == part && row["level"] != Level::Ok.name())
    }
    fn add(&mut self, part: &str, level: Level, whose: Option<Blame>, says: impl ToString, what: &str) {
        let times = self.given.entry(part.to_owned()).or_default();
        *times += 1;
        let id = if *times == 1 { part.to_owned() } else { format!("{part} ({times})") };
        self.rows.push(json!({
            "id": id,
            "part": part,
            "level": level.name(),
            "ok": level != Level::Trouble,
            "whose": whose.map(whose_words),
            "says": says.to_string(),
            "do": what,
        }));
    }
}

const fn whose_words(blame: Blame) -> &'static str {
    match blame {
        Blame::Input => "whoever typed it",
        Blame::Setup => "whoever runs this node",
        Blame::Partner => "the partner",
        Blame::Store => "the disk or the store",
    }
}

/// Looks at an open node.
pub fn doctor(node: &Node, offline: bool) -> Result<Json, Fault> {
    let mut findings = Findings::default();
    home::files(&node.home, true, &mut findings);
    held::every(node, &mut findings);
    log::every(node, &mut findings);
    if !offline {
        partners::every(node, &mut findings);
    }
    Ok(findings.into_json())
}

/// Looks at a home that does not open: `why` says so.
pub fn damaged(home: &crate::config::Home, why: &Fault) -> Json {
    let mut findings = Findings::default();
    home::files(home, false, &mut findings);
    let what = match why.code.as_str() {
        "unlock" => "Give the right secret; if it is lost, use the recovery file (`entente recover`).",
        "config" => "Mend `entente.toml`, or restore a backup.",
        "keyring" => "Put `keys/` back from a backup, or run `entente recover` with the recovery file.",
        _ => "Copy the whole home aside, then restore a backup into an empty folder (`entente restore`).",
    };
    findings.trouble("opening", why.blame, &why.message, what);
    findings.into_json()
}
