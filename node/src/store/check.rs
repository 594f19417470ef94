//! Reading a whole store once, to tell whether it is still what was written.
//!
//! `doctor` and the tests call it. It changes nothing and repairs nothing: what is damaged is counted
//! and named by its row.

use super::{
    Position, SCAN_ROWS_MAX, StoreError, chain,
    holdings::Holdings,
    layout::{PLACE_BYTES, Table},
};
use crate::seal::value;

/// Rows that are named in a report; the others are counted.
const NAMED_MAX: usize = 100;

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The end of the sequence, every step of which follows from the one before.
    pub head: Position,
    /// Rows read.
    pub rows: u64,
    /// Rows that opened under the keys of some partition.
    pub opened: u64,
    /// Index rows: they lead to places and hold nothing to open.
    pub tokens: u64,
    /// Rows that no key opens: damaged, or of a partition whose keys were destroyed.
    pub unopened: u64,
    /// The first of those, in hexadecimal.
    pub named: Vec<String>,
    /// Blobs in the vault.
    pub blobs: u64,
}

impl Holdings {
    /// Walks the sequence from its beginning, every row, and the names of the blobs.
    pub fn check(&self) -> Result<Report, StoreError> {
        let mut report = Report { head: self.check_sequence()?, ..Report::default() };
        self.check_rows(&mut report)?;
        let mut after = None;
        loop {
            let names = self.vault().list(after, SCAN_ROWS_MAX)?;
            report.blobs += names.len() as u64;
            match names.last() {
                Some(last) => after = Some(*last),
                None => return Ok(report),
            }
        }
    }
    fn check_sequence(&self) -> Result<Position, StoreError> {
        let head = self.ledger.head()?;
        let mut position = Position::default();
        while position.sequence < head.sequence {
            let rows = self.ledger.sequence(position.sequence, SCAN_ROWS_MAX)?;
            if rows.is_empty() {
                return Err(StoreError::Broken { at: position.sequence + 1 });
            }
            for row in &rows {
                position = chain::follows(position, row)?;
            }
        }
        Ok(position)
    }
    fn check_rows(&self, report: &mut Report) -> Result<(), StoreError> {
        let partitions = self.keyring().partitions();
        let mut keys = partitions.into_iter().map(|partition| self.keys(partition)).collect::<Result<Vec<_>, _>>()?;
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = self.ledger.scan(b"", after.as_deref(), SCAN_ROWS_MAX)?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            after = Some(last.clone());
            for (row, sealed) in rows {
                report.rows += 1;
                if row.first() == Some(&(Table::Index as u8)) && sealed.len() == PLACE_BYTES {
                    report.tokens += 1;
                    continue;
                }
                // Neighbours are often of one partition: what opened the last row is tried first.
                match keys.iter().position(|keys| value::open(keys, &row, sealed.clone()).is_ok()) {
                    Some(place) => {
                        report.opened += 1;
                        keys.swap(0, place);
                    }
                    None => {
                        report.unopened += 1;
                        if report.named.len() < NAMED_MAX {
                            report.named.push(hex::encode(&row));
                        }
                    }
                }
            }
        }
    }
}
