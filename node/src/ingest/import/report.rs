//! What an import says it did. Made by `import`, shown by the command line and kept by nobody.

use serde::{Deserialize, Serialize};

/// A row that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRow {
    /// `row`, or `row:column` where a column is to blame.
    pub id: String,
    /// Line or record number, from 1.
    pub row: u64,
    /// The column to blame, where one is.
    pub column: Option<String>,
    /// What is wrong.
    pub why: String,
}

impl BadRow {
    /// A row that was left out, and why.
    pub fn new(row: u64, column: Option<String>, why: String) -> Self {
        let id = column.as_ref().map_or_else(|| row.to_string(), |column| format!("{row}:{column}"));
        Self { id, row, column, why }
    }
}

/// What an import did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportReport {
    /// Rows read.
    pub rows: u64,
    /// Rows left out.
    pub bad_rows: u64,
    /// Rows whose records were all there already.
    pub repeated_rows: u64,
    /// New records.
    pub added: u64,
    /// Records amended.
    pub amended: u64,
    /// Records that were there already.
    pub unchanged: u64,
    /// Attachment records among the new ones.
    pub files: u64,
    /// Whether the mapping names key columns.
    pub has_keys: bool,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// The rows left out, at most a thousand of them.
    pub bad: Vec<BadRow>,
    /// Photographs that rows name and the folder lacks or has twice.
    pub missing: Vec<String>,
    /// Files of the folder that no row names.
    pub leftovers: Vec<String>,
    /// What to know beside: files without a copy for sharing, metadata that was unusable.
    pub notes: Vec<String>,
}
