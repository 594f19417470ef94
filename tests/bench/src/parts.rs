//! The program's parts, called as a library: for what a figure needs to know of one record, and for the `step-` figures.

use crate::{bench::Bench, input::Format};
use anyhow::Result;
use entente_node::ingest::{mapping::Mapping, table};
use entente_policy::{Gate, Interval, PolicySet, Question, ReviewState};
use entente_protocol::{
    clearance::Clearance,
    id::{AgreementId, LineId, Nonce, OrgId},
    record::{Draft, Record, SlotSet},
    time::UnixMillis,
};
use std::fs;
use zeroize::Zeroizing;

/// Drafts of the first rows, as an import would make them for an organisation.
pub fn drafts(bench: &Bench, rows: u64, org: OrgId) -> Result<Vec<Draft>> {
    let folder = bench.folder("drafts")?;
    let (file, map, _) = bench.table(folder.path(), Format::Csv, rows)?;
    let mapping = Mapping::parse(&fs::read_to_string(map)?)?;
    let mut drafts = Vec::new();
    for (n, row) in (0u64..).zip(table::open(&file, mapping.source())?) {
        for record in mapping.map(&row?)?.records {
            let mut line = [0; 16];
            line[..8].copy_from_slice(&n.to_be_bytes());
            let mut draft = Draft::new(record.kind, org, LineId::from_bytes(line), mapping.floor().clone());
            for (slot, value) in record.fields {
                draft.set_number(slot, value)?;
            }
            drafts.push(draft);
        }
    }
    Ok(drafts)
}

/// The same draft with these fields alone.
pub fn only(draft: &Draft, fields: &[&str]) -> Result<Draft> {
    let mut few = Draft::new(draft.kind, draft.originator, draft.line, draft.floor.clone());
    for slot in fields.iter().filter_map(|name| draft.kind.slot(name)) {
        if let Some(value) = draft.value(slot.number) {
            few.set_number(slot.number, value.clone())?;
        }
    }
    Ok(few)
}

/// Commits a draft. Nonce and seed are the same each time: nothing here is evidence.
pub fn commit(draft: Draft) -> Result<Record> {
    Ok(draft.commit(Nonce::from_bytes([1; 16]), Zeroizing::new([2; 32]))?)
}

/// Bytes of a record's plaintext at the median: its header and root, and the canonical values of its fields.
pub fn plaintext_bytes(bench: &Bench) -> Result<f64> {
    let mut sizes = Vec::new();
    for draft in drafts(bench, 1_000, OrgId::from_bytes([7; 32]))? {
        let record = commit(draft)?;
        let values: usize = record.values().iter().map(|(_, value)| value.len()).sum();
        sizes.push((record.body().bytes().len() + values) as f64);
    }
    Ok(crate::measure::median(&sizes))
}

/// Asks a policy about a released record, as an outbox does.
pub fn decide(
    policy: &PolicySet,
    record: &Record,
    (partner, agreement): (OrgId, AgreementId),
    now: UnixMillis,
) -> Result<Clearance> {
    let values = |slot| record.value(slot);
    let question = Question {
        record: record.id(),
        header: record.header(),
        values: &values,
        present: record.present(),
        gate: Gate { review: ReviewState::Reviewed, required: ReviewState::Reviewed, released: true },
        referable: SlotSet::EMPTY,
        onward: None,
        partner,
        agreement,
        now: Interval { early: now, late: now, confirmed: true },
    };
    policy.decide(&question).map_err(|withheld| anyhow::anyhow!("withheld: {withheld:?}"))
}
