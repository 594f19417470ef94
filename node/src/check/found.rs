//! Checks that records are found: by id, by line, and by each field that an index leads from.

use super::{Report, each_item};
use crate::{
    records::index,
    seal::keyring::Partition,
    store::{StoreError, check::Audit, layout::Table},
};
use entente_protocol::{id::RecordId, record::kind::Kind, value::Value};

/// A record's partition, id and place.
pub type At = (Partition, RecordId, u64);

/// One look after another, before it cannot be told whether an index leads to a record.
const LOOKS_MAX: u64 = 1_000;

/// A record is found by this.
pub fn found(audit: &Audit, report: &mut Report<'_>, at: At, by: (&'static str, &[u8])) -> Result<(), StoreError> {
    let (partition, id, place) = at;
    match report.readable(id, leads(audit, partition, by, place))? {
        Some(Leads::Here) => {}
        Some(Leads::Nowhere) => report.missing(id, format!("it is not found by its `{}`", by.0)),
        Some(Leads::Untold) => report.untold = true,
        None => {}
    }
    Ok(())
}

/// Where an index leads from a value.
enum Leads {
    Here,
    Nowhere,
    /// Too many share the value.
    Untold,
}

/// Whether an index leads to a place. Occurrences stand in the order of places, but for what was disclosed later. Those
/// that lead there are spoken of.
fn leads(audit: &Audit, partition: Partition, (field, key): (&str, &[u8]), place: u64) -> Result<Leads, StoreError> {
    let nth = |n| audit.nth(partition, field, key, n);
    let before = |n| nth(n).map(|found| found.is_some_and(|found| found < place));
    let (mut low, mut high) = (0u64, 1u64);
    while before(high - 1)? {
        (low, high) = (high, high.saturating_mul(2));
    }
    while low < high {
        let middle = low + (high - low) / 2;
        match before(middle)? {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    if nth(low)? == Some(place) {
        audit.speak_nth(partition, field, key, low)?;
        return Ok(Leads::Here);
    }
    Ok(match every_one(audit, partition, (field, key), place)? {
        (true, _) => Leads::Here,
        (false, true) => Leads::Nowhere,
        (false, false) => Leads::Untold,
    })
}

/// The same, by looking at each occurrence: whether one leads there, and whether that was all of them.
fn every_one(
    audit: &Audit,
    partition: Partition,
    (field, key): (&str, &[u8]),
    place: u64,
) -> Result<(bool, bool), StoreError> {
    let mut here = false;
    for n in 0..LOOKS_MAX {
        match audit.nth(partition, field, key, n)? {
            Some(found) if found == place => {
                audit.speak_nth(partition, field, key, n)?;
                here = true;
            }
            Some(_) => {}
            None => return Ok((here, true)),
        }
    }
    Ok((here, false))
}

/// Speaks of what a record was found by before less of it was disclosed, and of what was written again since.
pub fn found_before(
    audit: &Audit,
    report: &mut Report<'_>,
    (partition, id, place): At,
    kind: Kind,
    fields: impl Iterator<Item = (u8, Value)>,
) -> Result<(), StoreError> {
    for (number, value) in fields {
        let Some(slot) = kind.slot_number(number).filter(|slot| index::indexed(slot)) else { continue };
        for term in index::terms(kind, slot, &value).into_iter().filter(|term| !term.shared) {
            let led = every_one(audit, partition, (term.field, &term.key), place);
            if let Some((_, false)) = report.readable(id, led)? {
                report.untold = true;
            }
        }
    }
    Ok(())
}

/// A record is found by each field that an index row of its own leads from.
pub fn by_fields(
    audit: &Audit,
    report: &mut Report<'_>,
    at: At,
    kind: Kind,
    fields: impl Iterator<Item = (u8, Value)>,
) -> Result<(), StoreError> {
    for (number, value) in fields {
        let Some(slot) = kind.slot_number(number).filter(|slot| index::indexed(slot)) else { continue };
        for term in index::terms(kind, slot, &value).into_iter().filter(|term| !term.shared) {
            found(audit, report, at, (term.field, &term.key))?;
        }
    }
    Ok(())
}

/// What records share is written once for each append.
pub fn facets(audit: &Audit, report: &mut Report<'_>, partition: Partition) -> Result<(), StoreError> {
    each_item(audit, report, (partition, Table::Facet, b""), "what records share", &mut |report, n, row| {
        if !index::is_facets(&row) {
            report.damaged(format!("what records share, {n}"), "it does not read as written");
        }
        Ok(())
    })
}
