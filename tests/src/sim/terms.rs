//! What agreements of the world say: a few variants of one clause, as text for people and as a table for the model.
//!
//! The text goes through the real parser, checker and policy. The table is the second opinion, read by nobody else.

use super::Checked;
use entente_policy::source::{self, Drafting};
use entente_protocol::{
    id::{AgreementDigest, AgreementId, OrgId},
    record::{SlotSet, kind::Kind},
    time::UnixMillis,
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

/// Variants of a version between two: what the first-named gives, and what the other gives.
pub type Both = [usize; 2];

/// What an agreement says besides its clauses; the same in each of its versions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Besides {
    /// Hours of its lease.
    pub lease_hours: Option<u32>,
    /// Whether what came under it is erased at its end.
    pub erases: bool,
}

/// What a text comes to: the digest of its canonical form, and from when to when it is in force.
///
/// # Errors
/// If the text is refused: a mistake in this file.
pub fn read(text: &str, id: AgreementId) -> Checked<(AgreementDigest, (UnixMillis, UnixMillis))> {
    let drafted = source::parse(text, &Drafting { id, party: &|_| None })?;
    Ok((drafted.agreement.digest()?, (drafted.agreement.from, drafted.agreement.until)))
}

/// Days for which a receiver keeps what it was given.
pub const KEPT_DAYS: u64 = 30;
/// The days of a version, where time is not what is looked at.
pub const ALWAYS: (&str, &str) = ("2026-01-01", "2036-12-31");

/// A version to be written.
pub struct Text<'t> {
    /// Of which agreement.
    pub id: AgreementId,
    /// Its number, and the version that it follows.
    pub version: (u64, Option<AgreementDigest>),
    /// First and last day.
    pub days: (&'t str, &'t str),
    /// Handles and ids of its parties.
    pub parties: Vec<(&'t str, OrgId)>,
    /// What each of them gives: a variant.
    pub gives: &'t [usize],
    /// What it says besides.
    pub besides: Besides,
    /// Whether one more field of an item may go than the table says: a planted bug.
    pub extra: bool,
    /// Whether what is given may go on with a grant.
    pub onward: bool,
}

impl Text<'_> {
    /// As people would write it.
    #[must_use]
    pub fn write(&self) -> String {
        let Self { id, version: (number, before), days: (from, until), .. } = self;
        let names: Vec<&str> = self.parties.iter().map(|(handle, _)| *handle).collect();
        let mut text = format!(
            "language = 1\nid = \"{id}\"\ntitle = \"Between {}\"\nversion = {number}\nbasis = {{ text = \"letter\" }}\n\
             purposes = [\"tracing\"]\nfrom = \"{from}\"\nuntil = \"{until}\"\nnotice-days = 0\n",
            names.join(" and ")
        );
        if let Some(before) = before {
            let _ = writeln!(text, "predecessor = \"{before}\"");
        }
        if let Some(hours) = self.besides.lease_hours {
            let _ = writeln!(text, "lease-hours = {hours}");
        }
        if self.besides.erases {
            let _ = writeln!(text, "obligations = [\"erase-at-end\"]");
        }
        for (handle, org) in &self.parties {
            let name = handle.to_uppercase();
            let _ = write!(text, "[[party]]\nhandle = \"{handle}\"\nname = \"{name}\"\nid = \"{org}\"\n");
        }
        for (giver, variant) in names.iter().zip(self.gives) {
            let takers: Vec<&str> = names.iter().filter(|name| *name != giver).copied().collect();
            self.clauses(&mut text, (giver, &takers), &VARIANTS[*variant]);
        }
        text
    }

    fn clauses(&self, text: &mut String, (from, to): (&str, &[&str]), terms: &Terms) {
        let onward = if self.onward { "with-grant" } else { "never" };
        let list = |names: &[&str]| names.iter().map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(", ");
        for (kind, names, condition) in [("item", terms.item, terms.serviceable), ("event", terms.event, false)] {
            if names.is_empty() {
                continue;
            }
            let mut names = names.to_vec();
            if self.extra && kind == "item" && !names.contains(&"family") {
                names.push("family");
            }
            let _ = write!(
                text,
                "[[clause]]\nname = \"{kind}s-from-{from}\"\nfrom = \"{from}\"\nto = [{}]\nonward = \"{onward}\"\n\
                 retention-days = {KEPT_DAYS}\ndisclose.{kind} = [{}]\n",
                list(to),
                list(&names)
            );
            if condition {
                let _ = writeln!(text, "when = '{SERVICEABLE}'");
            }
        }
    }
}
