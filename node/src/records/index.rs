//! What records are found by: tokens that lead to one record, and facets that many share.
//!
//! A serial, a number, a reference has a token of its own in the store's index: one look finds it. A
//! kind, a country, a month is shared by thousands: those stand together in one row for each append, so
//! that a record costs a byte for each and a search over a million reads some hundred rows.
//! Nothing here decides what is shown; it only leads to places, which the caller reads and checks.

use super::{
    keep::KeepError,
    stored::{decode, encode},
};
use crate::{
    seal::keyring::Partition,
    store::{StoreError, holdings::Holdings, layout::Table, txn::Txn},
};
use entente_protocol::{
    id::{LineId, OrgId},
    record::{
        Shape,
        kind::{Kind, Slot},
    },
    value::Value,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::{BTreeMap, BTreeSet};

/// Field of the token of a record's id.
pub const ID: &str = "id";
/// Field of the token of a line ([`line()`]); one occurrence for each of its records.
pub const LINE: &str = "line";
/// Field of the tokens of the lines that a record refers to.
pub const REF: &str = "ref";
/// Field of the token of what an import took a record from.
pub const IMPORT: &str = "import";
/// Facet rows read in one step.
const PAGE: usize = 64;

/// The key of a line: it is the originator's own, so another organisation's records never join it.
pub fn line(originator: OrgId, line: LineId) -> [u8; 48] {
    let mut key = [0; 48];
    for (to, from) in key.iter_mut().zip(originator.as_bytes().iter().chain(line.as_bytes())) {
        *to = *from;
    }
    key
}

/// One thing that a record is found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// Which index.
    pub field: &'static str,
    /// The value's key in it.
    pub key: Vec<u8>,
    /// Whether it is a facet.
    pub shared: bool,
}

fn token(field: &'static str, key: impl Into<Vec<u8>>) -> Term {
    Term { field, key: key.into(), shared: false }
}

fn facet(field: &'static str, key: impl Into<Vec<u8>>) -> Term {
    Term { field, key: key.into(), shared: true }
}

/// Whether a slot is found by its value; asked before its bytes are read.
pub fn indexed(slot: &Slot) -> bool {
    slot.shape.refers()
        || matches!(
            slot.name,
            "number"
                | "serial"
                | "name"
                | "make-country"
                | "place-country"
                | "country"
                | "maker-country"
                | "import-country"
                | "from-country"
                | "to-country"
                | "recovered-month"
                | "taken-month"
                | "issued-month"
                | "when-month"
                | "on-month"
        )
}

/// What a slot's value is found by.
pub fn terms(kind: Kind, slot: &Slot, value: &Value) -> Vec<Term> {
    let text = |make: fn(&'static str, String) -> Term, field: &'static str| {
        value.as_text().map(|t| make(field, t.to_owned())).into_iter().collect::<Vec<_>>()
    };
    match (kind, slot.name) {
        (_, "number") => text(token, "number"),
        (_, "serial") => {
            let forms = ["s1", "s2", "s3"].into_iter();
            let mut keys: Vec<&str> = forms.filter_map(|form| value.member(form)?.as_text()).collect();
            keys.sort_unstable();
            keys.dedup();
            keys.into_iter().map(|key| token("serial", key)).collect()
        }
        (
            _,
            "make-country" | "place-country" | "country" | "maker-country" | "import-country" | "from-country"
            | "to-country",
        ) => text(facet, "country"),
        (_, "recovered-month" | "taken-month" | "issued-month" | "when-month" | "on-month") => text(facet, "month"),
        (Kind::Party, "name") => value.as_text().map(|t| token("name", t.to_lowercase())).into_iter().collect(),
        _ if matches!(slot.shape, Shape::Ref) || slot.shape.refers() => {
            slot.shape.targets(value).into_iter().map(|r| token(REF, r.line.as_bytes().to_vec())).collect()
        }
        _ => Vec::new(),
    }
}

/// Places that share a value, as differences from the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Shared(String, ByteBuf, Vec<u64>);

/// Rising places as differences.
fn stepped(places: Vec<u64>) -> Vec<u64> {
    let mut before = 0;
    places.into_iter().map(|place| place - std::mem::replace(&mut before, place)).collect()
}

/// The places of differences.
fn placed(steps: &[u64]) -> impl Iterator<Item = u64> {
    steps.iter().scan(0u64, |place, step| {
        *place = place.saturating_add(*step);
        Some(*place)
    })
}

/// The facets of one append.
#[derive(Debug, Default)]
pub struct Facets(BTreeMap<&'static str, BTreeMap<Vec<u8>, Vec<u64>>>);

impl Facets {
    /// The record at `place` is of this kind. Places rise from call to call.
    pub fn kind(&mut self, kind: Kind, place: u64) {
        self.add("kind", kind.name().as_bytes(), place);
    }

    /// The record at `place` is found by this term: as a facet here, or as a token in the transaction.
    pub fn term(&mut self, txn: &mut Txn<'_>, partition: Partition, term: Term, place: u64) -> Result<(), StoreError> {
        match term.shared {
            true => self.add(term.field, &term.key, place),
            false => txn.index(partition, term.field, &term.key, place)?,
        }
        Ok(())
    }

    fn add(&mut self, field: &'static str, key: &[u8], place: u64) {
        let keys = self.0.entry(field).or_default();
        match keys.get_mut(key) {
            None => drop(keys.insert(key.to_vec(), vec![place])),
            Some(places) if places.last() != Some(&place) => places.push(place),
            Some(_) => {}
        }
    }

    /// Adds the append's one row to its transaction.
    pub fn write(self, txn: &mut Txn<'_>, partition: Partition) -> Result<(), KeepError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let shared: Vec<Shared> = self
            .0
            .into_iter()
            .flat_map(|(field, keys)| keys.into_iter().map(move |(key, places)| (field, key, places)))
            .map(|(field, key, mut places)| {
                // A supplement may speak of a place before one that was added: order first, then differences.
                places.sort_unstable();
                places.dedup();
                Shared(field.to_owned(), ByteBuf::from(key), stepped(places))
            })
            .collect();
        txn.push(partition, Table::Facet, b"", &encode("facets", &shared)?)?;
        Ok(())
    }
}

/// Whether a row of facets reads as written.
pub fn is_facets(row: &[u8]) -> bool {
    decode::<Vec<Shared>>("facets", row).is_ok()
}

/// Places of records that share a value, rising within each append, until `take` says stop.
/// Returns whether it came to the end, which it does because each page moves on.
pub fn each_sharing<E: From<KeepError>>(
    holdings: &Holdings,
    partition: Partition,
    field: &str,
    key: &[u8],
    take: &mut dyn FnMut(u64) -> Result<bool, E>,
) -> Result<bool, E> {
    let mut after = None;
    loop {
        let page = holdings.list(partition, Table::Facet, b"", after, PAGE).map_err(KeepError::from)?;
        let Some((last, _)) = page.last() else { return Ok(true) };
        after = Some(*last);
        for (_, row) in &page {
            let shared: Vec<Shared> = decode("facets", row).map_err(KeepError::from)?;
            let found = shared.into_iter().filter(|Shared(name, value, _)| name == field && value.as_slice() == key);
            for Shared(_, _, steps) in found {
                for place in placed(&steps) {
                    if !take(place)? {
                        return Ok(false);
                    }
                }
            }
        }
    }
}

/// Takes places out of what records share, but for their kind, which the header of what stays says as well.
pub fn forget(
    txn: &mut Txn<'_>,
    holdings: &Holdings,
    partition: Partition,
    places: &BTreeSet<u64>,
) -> Result<(), KeepError> {
    let mut after = None;
    loop {
        let page = holdings.list(partition, Table::Facet, b"", after, PAGE)?;
        for (n, row) in &page {
            after = Some(*n);
            let shared: Vec<Shared> = decode("facets", row)?;
            let mut changed = false;
            let mut kept = Vec::with_capacity(shared.len());
            for Shared(field, key, steps) in shared {
                let mut all: Vec<u64> = placed(&steps).collect();
                let before = all.len();
                if field != "kind" {
                    all.retain(|place| !places.contains(place));
                }
                changed |= all.len() != before;
                if !all.is_empty() {
                    kept.push(Shared(field, key, stepped(all)));
                }
            }
            if changed {
                txn.replace_item(partition, Table::Facet, b"", *n, &encode("facets", &kept)?)?;
            }
        }
        if page.len() < PAGE {
            return Ok(());
        }
    }
}
