//! Search over what the node holds: our own records and those received, by index where one serves.

use super::{
    index,
    keep::{self, KeepError},
    stored,
    view::{self, Found, RecordView},
};
use crate::{
    ingest::serial,
    node::Node,
    receive::lease,
    seal::keyring::Partition,
    store::{StoreError, layout::Table},
};
use entente_protocol::{
    id::OrgId,
    record::{
        kind::{Fact, Kind},
        ladder::Edtf,
    },
    value::Value,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What is searched for. Every condition given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// A serial, in any spelling.
    #[serde(default)]
    pub serial: Option<String>,
    /// Evidence number.
    #[serde(default)]
    pub number: Option<String>,
    /// Kind.
    #[serde(default)]
    pub kind: Option<String>,
    /// Country code, of place, making, transfer or party.
    #[serde(default)]
    pub country: Option<String>,
    /// First day, as an EDTF date.
    #[serde(default)]
    pub from: Option<String>,
    /// Last day, as an EDTF date.
    #[serde(default)]
    pub until: Option<String>,
    /// Review state (our own), or `received`, `withdrawn`.
    #[serde(default)]
    pub state: Option<String>,
    /// Only records that we recorded, or only received ones.
    #[serde(default)]
    pub own: Option<bool>,
    /// At most so many.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Results {
    /// Records.
    pub records: Vec<RecordView>,
    /// Whether there are more than the limit.
    pub more: bool,
    /// What is held, and locked until its giver is met again: it was not looked through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locked: Vec<Locked>,
}

/// What a giver gave under an agreement, and whose lease has passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locked {
    /// The agreement.
    pub id: String,
    /// The giver's handle.
    pub partner: String,
    /// Since when.
    pub since: String,
}

/// A query that makes no sense: the caller's to mend.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// No such kind.
    #[error("there is no kind `{0}`: one of {all}", all = kinds())]
    Kind(String),
    /// Not a date.
    #[error("`{0}` is not a date: give 2024-03-15, 2024-03 or 2024")]
    Date(String),
    /// A span that ends before it begins.
    #[error("`{from}` is later than `{until}`, so nothing lies between them: exchange the two")]
    Span {
        /// First day.
        from: String,
        /// Last day.
        until: String,
    },
    /// A serial of which too little is known to look for it.
    #[error(
        "`{0}` is no whole serial, so nothing can be found by it: give one without `*`, `?` or words such as `UNK`"
    )]
    Serial(String),
    /// Not a country.
    #[error("`{0}` is not a country code: give two letters, such as CF")]
    Country(String),
    /// Where a lease stands could not be read: the store.
    #[error("{0}")]
    Lease(String),
    /// The store failed.
    #[error(transparent)]
    Keep(#[from] KeepError),
}

impl From<StoreError> for SearchError {
    fn from(error: StoreError) -> Self {
        Self::Keep(error.into())
    }
}

fn kinds() -> String {
    Kind::ALL.map(Kind::name).join(", ")
}

/// Records when `limit` is not given.
pub const LIMIT: usize = 1_000;
/// Rows read in one step.
const PAGE: usize = 500;

/// An index to look into.
enum Cut {
    /// Keys that lead to single records.
    Tokens(&'static str, Vec<Vec<u8>>),
    /// A value that many share.
    Facet(&'static str, Vec<u8>),
}

struct Checked {
    kind: Option<Kind>,
    country: Option<String>,
    serials: Vec<String>,
    number: Option<String>,
    span: Option<(u32, u32)>,
    state: Option<String>,
}

impl Checked {
    fn new(query: &Query) -> Result<Self, SearchError> {
        let kind =
            query.kind.as_deref().map(|name| Kind::from_name(name).ok_or_else(|| SearchError::Kind(name.to_owned())));
        let country = query.country.as_deref().map(|code| {
            let upper = code.to_ascii_uppercase();
            let fits = upper.len() == 2 && upper.bytes().all(|b| b.is_ascii_uppercase());
            fits.then_some(upper).ok_or_else(|| SearchError::Country(code.to_owned()))
        });
        let date = |text: &Option<String>| {
            text.as_deref()
                .map(|t| Edtf::parse(t).map(|e| e.span()).ok_or_else(|| SearchError::Date(t.to_owned())))
                .transpose()
        };
        let (from, until) = (date(&query.from)?, date(&query.until)?);
        if let (Some(first), Some(last)) = (from, until)
            && first.0 > last.1
        {
            let text = |given: &Option<String>| given.clone().unwrap_or_default();
            return Err(SearchError::Span { from: text(&query.from), until: text(&query.until) });
        }
        let serials = query.serial.as_deref().map(|raw| (raw, serial::keys(raw)));
        // Without a key there would be no condition, and every record would be found.
        if let Some((raw, _)) = serials.as_ref().filter(|(_, keys)| keys.is_empty()) {
            return Err(SearchError::Serial((*raw).to_owned()));
        }
        let span = (from.is_some() || until.is_some())
            .then(|| (from.map_or(0, |span| span.0), until.map_or(99_991_231, |span| span.1)));
        Ok(Self {
            kind: kind.transpose()?,
            country: country.transpose()?,
            serials: serials.map(|(_, keys)| keys).unwrap_or_default(),
            number: query.number.clone(),
            span,
            state: query.state.clone(),
        })
    }

    /// The index that cuts deepest; none means every record.
    fn index(&self) -> Option<Cut> {
        let bytes = |text: &String| text.clone().into_bytes();
        if !self.serials.is_empty() {
            return Some(Cut::Tokens("serial", self.serials.iter().map(bytes).collect()));
        }
        let number = self.number.as_ref().map(|number| Cut::Tokens("number", vec![bytes(number)]));
        number
            .or_else(|| self.country.as_ref().map(|country| Cut::Facet("country", bytes(country))))
            .or_else(|| self.kind.map(|kind| Cut::Facet("kind", kind.name().as_bytes().to_vec())))
    }

    fn matches(&self, kind: Kind, values: &[(u8, Value)]) -> bool {
        let has = |field: &str, key: &[u8]| {
            values.iter().filter_map(|(slot, value)| Some((kind.slot_number(*slot)?, value))).any(|(slot, value)| {
                index::terms(kind, slot, value).iter().any(|term| term.field == field && term.key == key)
            })
        };
        self.kind.is_none_or(|wanted| wanted == kind)
            && self.country.as_ref().is_none_or(|c| has("country", c.as_bytes()))
            && self.number.as_ref().is_none_or(|n| has("number", n.as_bytes()))
            && (self.serials.is_empty() || self.serials.iter().any(|s| has("serial", s.as_bytes())))
            && self.span.is_none_or(|span| dated(kind, values, span))
    }
}

/// Whether a date of a record may lie in a span. Of each ladder the finest rung that is there decides: the year beside a
/// day would overlap every span of that year.
fn dated(kind: Kind, values: &[(u8, Value)], (from, until): (u32, u32)) -> bool {
    let mut finest: BTreeMap<&str, (u8, (u32, u32))> = BTreeMap::new();
    for (slot, value) in values {
        let rung = kind.slot_number(*slot).and_then(|s| s.rung).filter(|rung| rung.fact == Fact::Time);
        let (Some(rung), Some(date)) = (rung, value.as_text().and_then(Edtf::parse)) else { continue };
        let here = (rung.level, date.span());
        finest.entry(rung.ladder).and_modify(|known| *known = here.min(*known)).or_insert(here);
    }
    finest.values().any(|(_, (first, last))| *first <= until && *last >= from)
}

/// Searches.
pub fn search(node: &Node, query: &Query) -> Result<Results, SearchError> {
    let checked = Checked::new(query)?;
    let limit = query.limit.unwrap_or(LIMIT).min(100_000);
    let mut results = Results { records: Vec::new(), more: false, locked: Vec::new() };
    let mut ids = BTreeSet::new();
    let own = std::iter::once(Partition::Own).filter(|_| query.own != Some(false));
    let others = node.partitions().into_iter().map(Partition::Agreement).filter(|_| query.own != Some(true));
    for partition in own.chain(others) {
        let mut seen = BTreeSet::new();
        let locked = locked(node, partition, &mut results.locked)?;
        each_candidate(node, partition, &checked, &mut |place| {
            if !seen.insert(place) {
                return Ok(true);
            }
            if let Some(mut view) = matching(node, (partition, &locked), place, &checked)? {
                if results.records.len() >= limit {
                    results.more = true;
                    return Ok(false);
                }
                // What came under two agreements is held twice, and may say more under the one than under the other.
                if !ids.insert(view.id.clone())
                    && let Some(agreement) = &view.agreement
                {
                    view.id = format!("{}@{agreement}", view.id);
                }
                results.records.push(view);
            }
            Ok(true)
        })?;
    }
    Ok(results)
}

/// Places that may match, in order of arrival, until `take` says stop. Ends because each page moves on.
fn each_candidate(
    node: &Node,
    partition: Partition,
    checked: &Checked,
    take: &mut dyn FnMut(u64) -> Result<bool, SearchError>,
) -> Result<(), SearchError> {
    match checked.index() {
        None => {
            let table = if partition == Partition::Own { Table::Record } else { Table::Received };
            for place in 0..node.holdings.count(partition, table, b"")? {
                if !take(place)? {
                    break;
                }
            }
        }
        Some(Cut::Facet(field, key)) => {
            index::each_sharing(&node.holdings, partition, field, &key, take)?;
        }
        Some(Cut::Tokens(field, keys)) => {
            for key in keys {
                let mut after = None;
                loop {
                    let page = node.holdings.find(partition, field, &key, after, PAGE)?;
                    let read = u64::try_from(page.len()).unwrap_or(0);
                    for place in page {
                        if !take(place)? {
                            return Ok(());
                        }
                    }
                    if read < PAGE as u64 {
                        break;
                    }
                    after = Some(after.map_or(read - 1, |n: u64| n + read));
                }
            }
        }
    }
    Ok(())
}

/// The givers whose records in a partition are locked; they are named in the answer.
fn locked(node: &Node, partition: Partition, told: &mut Vec<Locked>) -> Result<BTreeSet<OrgId>, SearchError> {
    let mut givers = BTreeSet::new();
    let Partition::Agreement(agreement) = partition else { return Ok(givers) };
    for (giver, _) in node.book().iter() {
        let since = lease::locked(node, agreement, *giver).map_err(|e| SearchError::Lease(e.to_string()))?;
        if let Some(since) = since {
            let (id, partner) = (agreement.to_string(), node.handle_of(*giver));
            told.push(Locked { id, partner, since: since.to_string() });
            givers.insert(*giver);
        }
    }
    Ok(givers)
}

fn matching(
    node: &Node,
    (partition, locked): (Partition, &BTreeSet<OrgId>),
    place: u64,
    checked: &Checked,
) -> Result<Option<RecordView>, SearchError> {
    let found = match partition {
        Partition::Agreement(agreement) => {
            let row = view::received_at(node, agreement, place)?;
            row.and_then(|row| Some((row.id()?, Found::Received(agreement, Box::new(row)))))
        }
        _ => keep::at(node, place)?.map(|(id, row)| (id, Found::Own(Box::new(row)))),
    };
    // An index leads to records that are there, and a record in the list reads as one.
    let (id, found) = found.ok_or(StoreError::Broken { at: place })?;
    let (kind, values) = match &found {
        Found::Own(row) => {
            let values = row.values.iter().map(|(slot, v)| Ok((*slot, stored::value(v)?)));
            (row.kind()?, values.collect::<Result<Vec<_>, KeepError>>()?)
        }
        Found::Received(_, row) => {
            let verified = row.verified().map_err(|_| StoreError::Broken { at: row.number })?;
            if row.giver().is_none_or(|giver| locked.contains(&giver)) {
                return Ok(None);
            }
            let values = verified.slots().iter().map(|s| (s.opening.slot, s.value.clone())).collect();
            (verified.header().kind, values)
        }
    };
    if !checked.matches(kind, &values) {
        return Ok(None);
    }
    let view = view::view(node, id, &found)?;
    Ok(checked.state.as_ref().is_none_or(|state| *state == view.state).then_some(view))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(slots: &[(&str, &str)]) -> Vec<(u8, Value)> {
        let number = |name: &str| Kind::Event.slot(name).map_or(63, |s| s.number);
        slots.iter().map(|(name, text)| (number(name), Value::text(*text))).collect()
    }

    #[test]
    fn of_each_ladder_the_finest_rung_decides() {
        let march = (20_260_320, 20_260_325);
        for (slots, within) in [
            (&[("recovered", "2026-03-22"), ("recovered-month", "2026-03"), ("recovered-year", "2026")][..], true),
            (&[("recovered-year", "2026"), ("recovered-month", "2026-02"), ("recovered", "2026-02-19")], false),
            (&[("recovered-month", "2026-02"), ("recovered-year", "2026")], false),
            (&[("recovered-month", "2026-03"), ("recovered-year", "2026")], true),
            (&[("recovered-year", "2026")], true),
            (&[("recovered", "2026-02-19"), ("documented", "2026-03-21")], true),
            (&[], false),
        ] {
            assert_eq!(dated(Kind::Event, &event(slots), march), within, "{slots:?}");
        }
    }

    #[test]
    fn what_names_nothing_is_refused_and_does_not_name_everything() {
        let refused = |query: Query| Checked::new(&query).err().map(|e| e.to_string()).unwrap_or_default();
        let text = |text: &str| Some(text.to_owned());
        let span = |from, until| Query { from: text(from), until: text(until), ..Query::default() };
        let says = refused(span("2026-03-25", "2026-03-20"));
        assert!(says.contains("`2026-03-25`") && says.contains("`2026-03-20`"), "{says}");
        for (from, until) in [("2026-03-25", "2026-03"), ("2026", "2026-01-05"), ("2026-03-25", "2026-03-25")] {
            assert_eq!(refused(span(from, until)), "");
        }
        for serial in ["", "UNK", "OBL"] {
            let says = refused(Query { serial: text(serial), ..Query::default() });
            assert!(says.contains("no whole serial"), "`{serial}`: {says}");
        }
    }
}
