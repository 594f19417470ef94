//! Whether a version is ready: what keeps people from signing it, and what its text must say to be the next version.
//!
//! `check` and `diff` tell it; `sign`, `accept` and `approve` refuse by it. What partners signed already is not judged here:
//! it comes as it is.

use super::{AgreementError, sign::Named, template};
use crate::node::Node;
use entente_policy::Interval;
use entente_protocol::{agreement::Agreement, time::DAY_MS};
use serde_json::{Value as Json, json};

/// What keeps a version from being signed.
pub(super) struct Hindrance {
    /// Stable.
    pub code: &'static str,
    /// Where in the text.
    pub key: &'static str,
    what: String,
    fix: &'static str,
}

impl Hindrance {
    /// In words, with the line of the text where there is one.
    pub fn says(&self, line: Option<usize>) -> String {
        let line = line.map(|line| format!("line {line}, ")).unwrap_or_default();
        format!("{line}key `{}`: {}; {}", self.key, self.what, self.fix)
    }
}

/// Whether its last day is over for certain.
pub(super) fn is_over(agreement: &Agreement, now: Interval) -> bool {
    agreement.until <= now.early
}

/// What keeps a version from being signed at this time.
pub(super) fn hindrances(agreement: &Agreement, now: Interval) -> Vec<Hindrance> {
    let mut found = Vec::new();
    if template::is_placeholder(&agreement.basis.text) {
        found.push(Hindrance {
            code: "basis-placeholder",
            key: "basis.text",
            what: format!("`{}` is what the template says, and no text that anything rests on", agreement.basis.text),
            fix: "cite the text with its date, as \"Exchange of letters of 12 November 2025\"",
        });
    }
    if is_over(agreement, now) {
        found.push(Hindrance {
            code: "over",
            key: "until",
            what: format!(
                "its last day, {}, is over: nothing could leave under it",
                agreement.until.minus(DAY_MS).date()
            ),
            fix: "write a last day that is to come",
        });
    }
    found
}

/// Refuses a version that is not ready, before a person of ours stands behind it.
pub(super) fn may_sign(node: &Node, agreement: &Agreement) -> Result<(), AgreementError> {
    let found: Vec<String> = hindrances(agreement, node.interval()).iter().map(|found| found.says(None)).collect();
    if found.is_empty() { Ok(()) } else { Err(AgreementError::NotReady(found.join("\n"))) }
}

/// What a text must say to take the place of an agreement that is held; none where it says so, where it is held itself,
/// and where people compare two agreements.
///
/// A text without an id is signed as another agreement, and then both are in force. Whoever compares it with the old one
/// hardly ever means that.
pub fn must_say(node: &Node, old: &Named, new: &Named) -> Result<Option<Json>, AgreementError> {
    let rules = node.rules();
    let (terms, digest) = (&new.version.agreement, new.version.digest);
    let Some(held) = rules.agreements.get(old.version.agreement.id).filter(|_| new.is_text) else { return Ok(None) };
    let beside = terms.id != held.id;
    let known = held.signed.iter().chain(&held.next).chain(&held.proposal).any(|version| version.digest() == digest);
    if known || (beside && rules.agreements.get(terms.id).is_some()) {
        return Ok(None);
    }
    let (version, predecessor) = match held.newest() {
        Some(newest) => (newest.agreement()?.version + 1, Some(newest.digest())),
        None => (1, None),
    };
    if !beside && terms.version == version && terms.predecessor == predecessor {
        return Ok(None);
    }
    let says = if beside {
        "as it stands, the new text is signed as another agreement: it is in force beside the old one, and nothing of that is \
         taken back. It is compared here as if it took the old one's place; for that, write in it"
    } else {
        "as it stands, the new text is not signed: it does not follow the newest version that every party signed. For that, \
         write in it"
    };
    let mut write = vec![format!("id = \"{}\"", held.id), format!("version = {version}")];
    write.extend(predecessor.map(|digest| format!("predecessor = \"{digest}\"")));
    Ok(Some(json!({
        "beside": beside, "says": says, "write": write, "id": held.id.to_string(), "version": version,
        "predecessor": predecessor.map(|digest| digest.to_string()),
    })))
}
