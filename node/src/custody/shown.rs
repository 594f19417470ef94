//! The own log for auditors: what makes each interval again, and each head with everybody who witnessed it and agreed to be
//! named (WIT-7).
//!
//! The seed of an interval opens that interval alone: the log's secret never leaves.

use super::{
    CustodyError, audit,
    rows::{self, BusyRow, CosignedRow, Cosigner, LogRow},
};
use crate::{error::Fault, node::Node, records::stored, seal::keyring::Partition, store::layout::Table};
use entente_protocol::{
    audit::item::{Busy, Leaves, LogStart},
    custody::interval::seed,
    id::{Hash, OrgId},
};
use std::collections::BTreeSet;

/// Intervals of one item.
const LEAVES: u64 = 4_096;

/// One epoch, as it stood when this was made.
pub struct Epoch {
    row: LogRow,
    /// What is said of it first.
    pub start: LogStart,
}

/// Each epoch, rising.
pub fn epochs(node: &Node) -> Result<Vec<Epoch>, CustodyError> {
    let mut all = Vec::new();
    for (_, row) in audit::epochs(node)? {
        let origin = row.origin()?;
        let first = node.holdings.item(Partition::Node, Table::Log, &rows::busy(origin.epoch()), 0)?;
        let count = match first {
            Some(first) => BusyRow::read(&first)?.from,
            None => row.count,
        };
        all.push((
            origin.epoch(),
            Epoch { start: LogStart { size: row.size, count, origin: origin.to_string() }, row },
        ));
    }
    all.sort_by_key(|(epoch, _)| *epoch);
    Ok(all.into_iter().map(|(_, epoch)| epoch).collect())
}

/// Everybody who ever witnessed the log and may be named.
pub fn witnesses(node: &Node) -> Result<BTreeSet<OrgId>, Fault> {
    let mut orgs = BTreeSet::new();
    for epoch in epochs(node)? {
        epoch.each_head(node, &mut |row| {
            orgs.extend(named(&row).map(|by| by.org));
            Ok(())
        })?;
    }
    Ok(orgs)
}

/// Who witnessed a head and agreed that others are shown it.
fn named(row: &CosignedRow) -> impl Iterator<Item = &Cosigner> {
    row.by.iter().filter(|by| by.named)
}

/// A head as others may be shown it: with the lines of those who agreed to be named.
pub fn note(row: &CosignedRow) -> Vec<u8> {
    let mut note = row.note.to_vec();
    for by in named(row) {
        note.extend_from_slice(by.line.trim_end().as_bytes());
        note.push(b'\n');
    }
    note
}

impl Epoch {
    fn each_head(&self, node: &Node, take: &mut dyn FnMut(CosignedRow) -> Result<(), Fault>) -> Result<(), Fault> {
        let scope = rows::cosigned(self.row.origin().map_err(CustodyError::from)?.epoch());
        let mut after = None;
        loop {
            let page = node.holdings.list(Partition::Node, Table::Log, &scope, after, 256)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(*last);
            for (_, row) in page {
                let row = CosignedRow::read(&row)?;
                if row.size <= self.start.size {
                    take(row)?;
                }
            }
        }
    }

    /// Each head that others witnessed, with the lines of those who may be named.
    pub fn heads(&self, node: &Node, take: &mut dyn FnMut(Vec<u8>) -> Result<(), Fault>) -> Result<(), Fault> {
        self.each_head(node, &mut |row| take(note(&row)))
    }

    /// Each interval, many at a time.
    pub fn leaves(&self, node: &Node, take: &mut dyn FnMut(Leaves) -> Result<(), Fault>) -> Result<(), Fault> {
        let secret = self.row.secret()?;
        let epoch = self.row.origin().map_err(CustodyError::from)?.epoch();
        let mut leaves = Leaves { busy: Vec::new(), first: 0, seeds: Vec::new() };
        let fill = |leaves: &mut Leaves, end: u64| {
            let next = leaves.first + leaves.seeds.len() as u64;
            leaves.seeds.extend((next..end).map(|index| Hash::from_bytes(*seed(&secret, index))));
        };
        let list = (Partition::Node, Table::Log, rows::busy(epoch));
        stored::each(&node.holdings, (list.0, list.1, &list.2), 0, &mut |_, row: BusyRow| -> Result<bool, Fault> {
            while row.at >= leaves.first + LEAVES {
                let end = leaves.first + LEAVES;
                fill(&mut leaves, end);
                take(std::mem::replace(&mut leaves, Leaves { busy: Vec::new(), first: end, seeds: Vec::new() }))?;
            }
            if row.at < self.start.size {
                let BusyRow { at, to, from, gone, late, .. } = row;
                leaves.busy.push(Busy { at, to, from, gone, late });
            }
            Ok(row.at < self.start.size)
        })?;
        // Ends: the beginning rises to the size.
        while leaves.first < self.start.size {
            let end = self.start.size.min(leaves.first + LEAVES);
            fill(&mut leaves, end);
            take(std::mem::replace(&mut leaves, Leaves { busy: Vec::new(), first: end, seeds: Vec::new() }))?;
        }
        Ok(())
    }
}
