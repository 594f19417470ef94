//! Rows of the files that people bring: CSV, XLSX, JSON lines, a JSON array, XML.
//!
//! A child process opens a [`Table`] and sends its rows on (`wire`, [`super::child`]); [`super::mapping`] says what
//! a row is. A bad row is a [`RowFault`]
//! with row and column, and the next row is read. Memory is flat for CSV, JSON and XML of any size; a workbook
//! is bounded before it is opened. Nothing here interprets a cell, and a formula is only text.

mod csv;
mod fault;
mod json;
mod lines;
mod row;
pub mod wire;
mod xlsx;
mod xml;

use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use fault::{RowCause, RowFault, TableError, excerpt, legible};
pub use row::{Column, Columns, Node, Row};

/// Bytes of one cell.
pub const CELL_BYTES_MAX: usize = 64 << 10;
/// Bytes of one row, all cells and quotes together.
pub const ROW_BYTES_MAX: usize = 1 << 20;
/// What is read past of one row that is too long to be taken. A file with more of that is no table: a disk's image, a
/// file with a hole, and reading on would only cost time.
pub(in crate::ingest) const PASSED_BYTES_MAX: u64 = 64 << 20;
/// Bytes of one row on its way from the child that read it: places and lengths beside the text.
pub(in crate::ingest) const ROW_ENCODED_MAX: usize = 2 * ROW_BYTES_MAX;
/// Columns of one row.
pub const COLUMNS_MAX: usize = 1_024;
/// Values (cells, lists, objects) of one JSON or XML row.
pub const NODES_MAX: usize = 16_384;
/// Nesting of one JSON or XML row.
pub const DEPTH_MAX: usize = 64;

/// How the rows of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// RFC 4180 with any one-byte delimiter.
    Csv,
    /// Office Open XML workbook, one sheet.
    Xlsx,
    /// One JSON value on each line.
    JsonLines,
    /// One JSON array at a pointer (RFC 6901).
    Json,
    /// XML in which some elements repeat.
    Xml,
}

impl Format {
    /// The format that a file name's ending stands for.
    pub fn of_path(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        Self::of_name(&ending)
    }

    /// The format of a name as mappings and file endings write it.
    pub fn of_name(name: &str) -> Option<Self> {
        match name {
            "csv" | "tsv" | "txt" => Some(Self::Csv),
            "xlsx" => Some(Self::Xlsx),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            "json" | "geojson" => Some(Self::Json),
            "xml" => Some(Self::Xml),
            _ => None,
        }
    }
}

/// How to read a file, as its mapping says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Absent: by the ending of the file name.
    pub format: Option<Format>,
    /// Whether the first row of CSV or XLSX names the columns.
    pub header: bool,
    /// Cells of every row; absent: as many as the first row has.
    pub columns: Option<usize>,
    /// Between cells of CSV; absent: a comma, or a tab for `.tsv`.
    pub delimiter: Option<u8>,
    /// Sheet of a workbook; absent: the first.
    pub sheet: Option<String>,
    /// Where a JSON array stands (RFC 6901); empty: the document itself.
    pub pointer: String,
    /// Names of the XML elements that are rows.
    pub elements: Vec<String>,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            format: None,
            header: true,
            columns: None,
            delimiter: None,
            sheet: None,
            pointer: String::new(),
            elements: Vec::new(),
        }
    }
}

/// The rows of one file, in order: an iterator of rows and of faults that stand for one row each.
///
/// After a fault whose [`RowFault::ends_file`] is true nothing follows.
pub struct Table {
    columns: Option<Arc<Columns>>,
    rows: Box<dyn Iterator<Item = Result<Row, RowFault>> + Send>,
}

impl Table {
    /// The columns of CSV and XLSX; `None` where rows are trees and each may differ.
    pub fn columns(&self) -> Option<&Columns> {
        self.columns.as_deref()
    }
}

impl Iterator for Table {
    type Item = Result<Row, RowFault>;
    fn next(&mut self) -> Option<Self::Item> {
        self.rows.next()
    }
}

/// Opens the file at `path`.
pub fn open(path: &Path, source: &Source) -> Result<Table, TableError> {
    read(File::open(path).map_err(TableError::Read)?, path, source)
}

/// Reads a file that is already open; `name` only serves to tell the format by its ending.
pub fn read(mut file: File, name: &Path, source: &Source) -> Result<Table, TableError> {
    let format = source.format.or_else(|| Format::of_path(name)).ok_or(TableError::UnknownFormat)?;
    if format == Format::Xlsx {
        let sheet = xlsx::read(file, source)?;
        return Ok(Table { columns: Some(sheet.columns), rows: Box::new(sheet.rows.into_iter()) });
    }
    skip_byte_order_mark(&mut file)?;
    let bytes = BufReader::with_capacity(256 << 10, file);
    let rows: Box<dyn Iterator<Item = Result<Row, RowFault>> + Send> = match format {
        Format::Csv | Format::Xlsx => {
            let tabs = name.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("tsv"));
            let rows = csv::Rows::open(bytes, source, if tabs { b'\t' } else { b',' })?;
            return Ok(Table { columns: Some(rows.columns()), rows: Box::new(rows) });
        }
        Format::JsonLines => Box::new(json::Lines::new(bytes)),
        Format::Json => Box::new(json::Array::open(bytes, &source.pointer)?),
        Format::Xml => Box::new(xml::Rows::open(bytes, &source.elements)?),
    };
    Ok(Table { columns: None, rows })
}

/// Steps over the UTF-8 mark, and refuses the UTF-16 and UTF-32 ones: everything read here is UTF-8.
fn skip_byte_order_mark(file: &mut File) -> Result<(), TableError> {
    let mut start = [0_u8; 4];
    let mut have = 0;
    while let Some(room) = start.get_mut(have..).filter(|room| !room.is_empty()) {
        match file.read(room).map_err(TableError::Read)? {
            0 => break,
            read => have += read,
        }
    }
    let mark = if start.starts_with(&[0xef, 0xbb, 0xbf]) { 3 } else { 0 };
    if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) || start == [0, 0, 0xfe, 0xff] {
        return Err(TableError::NotUtf8 { found: "UTF-16 or UTF-32" });
    }
    if start.starts_with(b"PK\x03\x04") || start.starts_with(&[0xd0, 0xcf, 0x11, 0xe0]) {
        return Err(TableError::NotUtf8 { found: "a workbook or archive" });
    }
    file.seek(std::io::SeekFrom::Start(mark)).map_err(TableError::Read)?;
    Ok(())
}
