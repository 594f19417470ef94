//! What can be wrong with a file and with a row of it.
//!
//! A [`TableError`] means that the file cannot be read at all; a [`RowFault`] names one row, and where it can the
//! column, and the others stand. Both are shown to the person who imports, so outside text is shortened and
//! control characters are escaped before it enters a message.

use std::fmt;

/// Characters of outside text that a message repeats.
const EXCERPT_CHARS_MAX: usize = 40;

/// Outside text as a message may show it between backticks: short, control and bidirectional characters escaped.
pub fn excerpt(text: &str) -> String {
    shown(text, EXCERPT_CHARS_MAX, |c| is_hidden(c) || c == '`')
}

/// A sentence that may repeat outside text: at most `chars_max` characters of it, escaped like an [`excerpt`].
pub fn legible(text: &str, chars_max: usize) -> String {
    shown(text, chars_max, is_hidden)
}

fn shown(text: &str, chars_max: usize, is_escaped: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len().min(4 * chars_max));
    let mut chars = text.chars();
    for c in chars.by_ref().take(chars_max) {
        if is_escaped(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    if chars.next().is_some() {
        shown.push_str("...");
    }
    shown
}

fn is_hidden(c: char) -> bool {
    c.is_control() || is_bidi_control(c)
}

/// Characters that turn the reading order round (Unicode UAX #9: embeddings, overrides, isolates).
pub(in crate::ingest) fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The file as a whole cannot be read. The person who imports is at fault, or the disk.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The system refused.
    #[error("the file cannot be read: {0}")]
    Read(#[source] std::io::Error),
    /// Any of the below, in the words of the child that read the file.
    #[error("{0}")]
    Told(String),
    /// Neither the mapping nor the ending tells the format.
    #[error("the format is not known from the file's ending: name it as `format` in the mapping's [source]")]
    UnknownFormat,
    /// Another encoding than UTF-8, or no text at all.
    #[error("the file starts like {found}, not like UTF-8 text: save it as UTF-8, or name its `format`")]
    NotUtf8 {
        /// What the first bytes look like.
        found: &'static str,
    },
    /// No row at all where one names the columns.
    #[error("the file has no first row to name the columns")]
    NoHeader,
    /// The row that names the columns is itself bad.
    #[error("the row that names the columns is bad: {0}")]
    Header(#[source] RowFault),
    /// Two columns of one name cannot be told apart.
    #[error("columns {first} and {second} are both named `{name}`: rename one, or set header = false and use numbers")]
    DuplicateColumn {
        /// The name, shortened.
        name: String,
        /// Number of the first, from 1.
        first: usize,
        /// Number of the second.
        second: usize,
    },
    /// The pointer leads nowhere, or not to an array.
    #[error("no array at the pointer `{pointer}`: {why}")]
    Pointer {
        /// As the mapping names it.
        pointer: String,
        /// What stands there.
        why: String,
    },
    /// XML without the names of the elements that are rows.
    #[error("name the repeated `element` of this XML file in the mapping's [source]")]
    NoElement,
    /// A workbook that cannot be opened.
    #[error("the workbook cannot be opened: {0}")]
    Workbook(String),
    /// A workbook without the sheet named.
    #[error("the workbook has no sheet `{0}`")]
    NoSheet(String),
    /// A workbook beyond a bound: nothing of it was unpacked.
    #[error("the workbook has {found} {what}, and {max} are read: split it, or save the sheet as CSV")]
    WorkbookTooLarge {
        /// What was counted.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// How many are allowed.
        max: u64,
    },
}

/// One row that is left out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFault {
    /// Line of CSV and JSON lines, row of a sheet, otherwise the number of the record; from 1.
    pub row: u64,
    /// Name or number of the column, where one is to blame.
    pub column: Option<String>,
    /// What is wrong.
    pub cause: RowCause,
}

impl RowFault {
    /// A fault of a whole row.
    pub fn of_row(row: u64, cause: RowCause) -> Self {
        Self { row, column: None, cause }
    }

    /// A fault in one column.
    pub fn in_column(row: u64, column: impl fmt::Display, cause: RowCause) -> Self {
        Self { row, column: Some(excerpt(&column.to_string())), cause }
    }

    /// Whether nothing after this row could be read.
    pub fn ends_file(&self) -> bool {
        matches!(self.cause, RowCause::Broken(_) | RowCause::Read(_))
    }
}

impl fmt::Display for RowFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.column {
            Some(column) => write!(f, "row {}, column `{column}`: {}", self.row, self.cause),
            None => write!(f, "row {}: {}", self.row, self.cause),
        }
    }
}

impl std::error::Error for RowFault {}

/// What is wrong with one row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowCause {
    /// More or fewer cells than the table has columns.
    #[error("{found} cells where the table has {expected} columns")]
    Ragged {
        /// Cells of this row.
        found: usize,
        /// Columns of the table.
        expected: usize,
    },
    /// Beyond [`super::COLUMNS_MAX`].
    #[error("more than {} columns", super::COLUMNS_MAX)]
    TooManyColumns,
    /// Beyond [`super::ROW_BYTES_MAX`].
    #[error("longer than {} bytes", super::ROW_BYTES_MAX)]
    RowTooLong,
    /// Beyond [`super::CELL_BYTES_MAX`].
    #[error("longer than {} bytes", super::CELL_BYTES_MAX)]
    CellTooLong,
    /// Beyond [`super::DEPTH_MAX`] or [`super::NODES_MAX`].
    #[error("nested deeper than {} or more than {} values", super::DEPTH_MAX, super::NODES_MAX)]
    TooComplex,
    /// A NUL.
    #[error("holds a NUL byte")]
    Nul,
    /// Not UTF-8 from this byte of the cell.
    #[error("not UTF-8 from byte {byte} of the cell: save the file as UTF-8")]
    NotUtf8 {
        /// From 1.
        byte: usize,
    },
    /// Text after a closing quote.
    #[error("text after a closing quote: a quote inside a quoted cell is written twice")]
    Quote,
    /// A quote that never closes.
    #[error("a quote is opened and not closed")]
    UnclosedQuote,
    /// JSON that does not parse, or a key twice; the parser's words.
    #[error("not a valid JSON value: {0}")]
    Json(String),
    /// XML of one row that cannot be used.
    #[error("{0}")]
    Xml(String),
    /// An error value in a sheet.
    #[error("the cell holds the error {0}")]
    CellError(String),
    /// Several values where one is meant.
    #[error("holds {0} values where one is meant: name `join` in the mapping, or one of them by number")]
    Several(usize),
    /// The slot must be filled and is not.
    #[error("empty, and `{slot}` of `{record}` must be filled")]
    Missing {
        /// Name of the record in the mapping.
        record: String,
        /// Name of the slot.
        slot: String,
    },
    /// A value that does not read as what the mapping says.
    #[error("`{text}` is not {expected}")]
    Unreadable {
        /// Shortened.
        text: String,
        /// Such as "a date as %d/%m/%Y".
        expected: String,
    },
    /// A value that a lookup table does not hold.
    #[error("`{text}` is not in the table `{table}`: add it to [lookup.{table}] of the mapping")]
    NotInTable {
        /// Shortened.
        text: String,
        /// Name of the table.
        table: String,
    },
    /// A control character where none may be.
    #[error("holds the control character U+{0:04X}")]
    Control(u32),
    /// The syntax is broken so that no next row can be found.
    #[error("cannot be read, and nothing after it was: {0}")]
    Broken(String),
    /// The system refused in mid-file.
    #[error("the file cannot be read on: {0}")]
    Read(String),
    /// Any of the above, in the words of the child that read the row.
    #[error("{0}")]
    Told(String),
}
