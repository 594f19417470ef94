//! What agreements of the world say: a few variants of one clause, as text for people and as a table for the model.
//!
//! The text goes through the real parser, checker and policy. The table is the second opinion, read by nobody else.

use super::Checked;
use entente_policy::source::{self, Drafting};
use entente_protocol::{
    id::{AgreementDigest, AgreementId, OrgId},
    record::{SlotSet, kind::Kind},
};
use std::fmt::Write;

/// One variant of what a party gives.
#[derive(Debug)]
pub struct Terms {
    /// Fields of an item; none: items stay.
    pub item: &'static [&'static str],
    /// Fields of an event.
    pub event: &'static [&'static str],
    /// Whether only items in working order go.
    pub serviceable: bool,
}

/// The variants. A version of an agreement has one for each direction.
pub const VARIANTS: &[Terms] = &[
    Terms { item: &["number", "eval", "type", "calibre"], event: &["number", "eval", "etype"], serviceable: false },
    Terms {
        item: &["number", "eval", "type", "calibre", "year", "event", "supersedes"],
        event: &["number", "eval", "etype", "supersedes"],
        serviceable: false,
    },
    Terms { item: &["number", "eval", "type", "family", "event"], event: &[], serviceable: true },
    Terms { item: &["number", "type", "supersedes"], event: &["number", "case", "supersedes"], serviceable: true },
    Terms { item: &[], event: &["number", "etype"], serviceable: false },
];

/// From which variants people choose. Where things are to go on, mostly what lets an item go whatever it says.
#[must_use]
pub const fn among(onward: bool) -> &'static [usize] {
    if onward { &[0, 0, 0, 1, 1, 1, 2, 3, 4] } else { &[0, 1, 2, 3, 4] }
}

/// The condition of variants that have one.
const SERVICEABLE: &str = "resource has condition && resource.condition == \"serviceable\"";

impl Terms {
    /// The fields of a kind that may go.
    #[must_use]
    pub fn slots(&self, kind: Kind) -> SlotSet {
        let names = if kind == Kind::Item { self.item } else { self.event };
        names.iter().filter_map(|name| kind.slot(name)).map(|slot| slot.number).collect()
    }
}

/// Variants of one version, by direction: what the first-named gives, and what the other gives.
pub type Both = [usize; 2];

/// The digest of a text's canonical form.
///
/// # Errors
/// If the text is refused: a mistake in this file.
pub fn digest(text: &str, id: AgreementId) -> Checked<AgreementDigest> {
    let drafted = source::parse(text, &Drafting { id, party: &|_| None })?;
    Ok(drafted.agreement.digest()?)
}

/// The text of a version. `extra` lets one more field of an item go than the table says: a planted bug.
/// `onward`: what is given may go on with a grant.
#[must_use]
pub fn text(
    id: AgreementId,
    version: u64,
    before: Option<AgreementDigest>,
    parties: [(&str, OrgId); 2],
    both: Both,
    (extra, onward): (bool, bool),
) -> String {
    let mut text = format!(
        "language = 1\nid = \"{id}\"\ntitle = \"Between {} and {}\"\nversion = {version}\nbasis = {{ text = \"letter\" }}\n\
         purposes = [\"tracing\"]\nfrom = \"2026-01-01\"\nuntil = \"2036-12-31\"\nnotice-days = 0\n",
        parties[0].0, parties[1].0
    );
    if let Some(before) = before {
        let _ = writeln!(text, "predecessor = \"{before}\"");
    }
    for (handle, org) in parties {
        let name = handle.to_uppercase();
        let _ = write!(text, "[[party]]\nhandle = \"{handle}\"\nname = \"{name}\"\nid = \"{org}\"\n");
    }
    for (giver, taker, variant) in [(0, 1, both[0]), (1, 0, both[1])] {
        clauses(&mut text, [parties[giver].0, parties[taker].0], &VARIANTS[variant], (extra, onward));
    }
    text
}

fn clauses(text: &mut String, [from, to]: [&str; 2], terms: &Terms, (extra, onward): (bool, bool)) {
    let onward = if onward { "with-grant" } else { "never" };
    let list = |names: &[&str]| names.iter().map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(", ");
    for (kind, names, condition) in [("item", terms.item, terms.serviceable), ("event", terms.event, false)] {
        if names.is_empty() {
            continue;
        }
        let mut names = names.to_vec();
        if extra && kind == "item" && !names.contains(&"family") {
            names.push("family");
        }
        let _ = write!(
            text,
            "[[clause]]\nname = \"{kind}s-from-{from}\"\nfrom = \"{from}\"\nto = [\"{to}\"]\nonward = \"{onward}\"\n\
             retention-days = 30\ndisclose.{kind} = [{}]\n",
            list(&names)
        );
        if condition {
            let _ = writeln!(text, "when = '{SERVICEABLE}'");
        }
    }
}
