//! Red lines: local rules that no agreement may cross. Each is a Cedar `forbid`, which wins over any permit.
//!
//! Written in TOML beside the node's configuration. A red line that cannot be evaluated holds, and so
//! does one that reads a field which the record lacks, unless its author asks for the field with `has`.

use crate::{
    compile::{self, Action},
    condition::{self, ConditionFault},
    text::{self, Entry, Faults, SourceError, Table},
};
use entente_protocol::{id::OrgId, record::kind::Kind};

/// Most red lines of one organisation.
const RED_LINES_MAX: usize = 256;

/// One red line. Checked: its condition fits every kind that it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedLine {
    pub(crate) name: String,
    pub(crate) action: Action,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) to: Vec<OrgId>,
    pub(crate) when: Option<String>,
}

impl RedLine {
    /// A red line against an action, on these kinds (none means all), towards these partners (none means all).
    pub fn new(
        name: &str,
        action: Action,
        kinds: &[Kind],
        to: &[OrgId],
        when: Option<&str>,
    ) -> Result<Self, ConditionFault> {
        let kinds = if kinds.is_empty() { Kind::ALL.to_vec() } else { kinds.to_vec() };
        let line = Self { name: name.to_owned(), action, kinds, to: to.to_vec(), when: when.map(str::to_owned) };
        for kind in &line.kinds {
            let (policy, _) = compile::forbid(0, &line, *kind)?;
            condition::validate(*kind, &policy)?;
        }
        Ok(line)
    }

    /// Reads the red lines of a text. `party` finds a partner by its handle; an id in hexadecimal does too.
    pub fn parse(source: &str, party: &dyn Fn(&str) -> Option<OrgId>) -> Result<Vec<Self>, SourceError> {
        let document = text::parse(source)?;
        let root = Table::root(source, &document);
        root.only(&["red-line"])?;
        let tables = root.tables("red-line")?;
        if tables.len() > RED_LINES_MAX {
            let entry = root.need("red-line", "")?;
            return Err(entry.refuse("too many red lines", format!("write at most {RED_LINES_MAX}")));
        }
        let (mut faults, mut lines) = (Faults::default(), Vec::<Self>::new());
        for table in &tables {
            let Some(line) = faults.take(one(table, party)) else { continue };
            if lines.iter().any(|known| known.name == line.name) {
                faults.note(table.need("name", "")?.refuse("the name stands twice", "give each its own"));
            }
            lines.push(line);
        }
        faults.or(Some(lines))
    }

    /// Its name, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it forbids.
    pub fn action(&self) -> Action {
        self.action
    }

    /// The kinds of record that it covers.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// The partners that it is about; none means all.
    pub fn to(&self) -> &[OrgId] {
        &self.to
    }

    /// Its condition; without one it always holds.
    pub fn when(&self) -> Option<&str> {
        self.when.as_deref()
    }

    /// Whether it concerns this action, kind and partner.
    pub(crate) fn concerns(&self, action: Action, kind: Kind, partner: OrgId) -> bool {
        self.action == action && self.kinds.contains(&kind) && (self.to.is_empty() || self.to.contains(&partner))
    }
}

fn one(table: &Table<'_>, party: &dyn Fn(&str) -> Option<OrgId>) -> Result<RedLine, SourceError> {
    table.only(&["name", "action", "kinds", "to", "when"])?;
    let name = table.need("name", "give the red line a name")?;
    let action = match table.find("action") {
        None => Action::Release,
        Some(entry) => Action::from_name(entry.text()?)
            .ok_or_else(|| entry.refuse("unknown action", "write \"release\" or \"accept\""))?,
    };
    let list = |key| table.find(key).map_or(Ok(Vec::new()), |entry: Entry<'_>| entry.list());
    let kind = |entry: &Entry<'_>| {
        Kind::from_name(entry.text()?).ok_or_else(|| {
            entry.refuse("no such kind of record", format!("use some of {}", Kind::ALL.map(Kind::name).join(", ")))
        })
    };
    let organisation = |entry: &Entry<'_>| {
        let text = entry.text()?;
        party(text)
            .or_else(|| text.parse().ok())
            .ok_or_else(|| entry.refuse(format!("`{text}` is no partner"), "write a partner's handle or id"))
    };
    let kinds: Vec<Kind> = list("kinds")?.iter().map(kind).collect::<Result<_, _>>()?;
    let to: Vec<OrgId> = list("to")?.iter().map(organisation).collect::<Result<_, _>>()?;
    let when = table.find("when");
    let text = when.as_ref().map(Entry::text).transpose()?;
    RedLine::new(name.text()?, action, &kinds, &to, text).map_err(|fault| {
        when.unwrap_or(name.clone())
            .refuse(fault.to_string(), "correct the red line; AGREEMENTS.md lists what it may read")
    })
}
