//! What a row is: a mapping makes of one row the records that it stands for, with links between them.
//!
//! `import` reads a [`Mapping`] from TOML (`certs-example/maps/README.md` describes it), opens the table with
//! [`Mapping::source`], and asks [`Mapping::map`] for each row. A mapping never creates a line or a record: it hands
//! over [`MappedRecord`]s, each with an identity that stays when the row is corrected and a digest that does not.

mod apply;
mod check;
mod convert;
mod date;
mod raw;

use std::collections::BTreeMap;
use std::sync::Arc;

use entente_protocol::record::HandlingFloor;
use entente_protocol::record::kind::Kind;
use entente_protocol::value::Value;

use super::attach::PhotoRef;
use super::table::{Column, Columns, Source, excerpt};
use crate::error::unquoted;

/// Bytes of a mapping file.
pub const MAPPING_BYTES_MAX: usize = 1 << 20;
/// Records that one row may stand for.
pub const RECORDS_MAX: usize = 64;

/// A mapping that cannot be used: the fault of whoever wrote it, or of the file it is used with.
#[derive(Debug, thiserror::Error)]
pub enum MappingError {
    /// Not TOML, or an unknown key; the text names line and reason.
    #[error("the mapping does not read: {0}")]
    Toml(String),
    /// Beyond [`MAPPING_BYTES_MAX`].
    #[error("the mapping has {0} bytes, and {max} are read", max = MAPPING_BYTES_MAX)]
    TooLarge(usize),
    /// A key that says something impossible.
    #[error("line {line}, `{key}`: {why}")]
    Key {
        /// From 1.
        line: usize,
        /// Such as `record.event.fields.recovered`.
        key: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// Several things at once, each with its line.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<MappingError>),
    /// Columns that the file does not have.
    #[error(
        "{places}: the file to import has no such column; correct the mapping there, or import a file that has it. The file \
         has {have}"
    )]
    NoColumn {
        /// Line and name of each, as the mapping has it.
        places: String,
        /// The columns there are, shortened.
        have: String,
    },
}

/// A checked mapping.
#[derive(Debug)]
pub struct Mapping {
    /// As it was typed, to tell the line of a column that a file lacks.
    text: String,
    name: String,
    source: Source,
    keys: Option<Vec<Column>>,
    floor: HandlingFloor,
    records: Vec<RecordRule>,
}

/// What identifies a row in its file: the values of the key columns, or the whole content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey([u8; 32]);

/// What identifies a record among all that imports with this mapping made: it stays when the row is corrected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey([u8; 32]);

impl RowKey {
    /// The digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl RecordKey {
    /// The digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What one row stands for.
#[derive(Debug, Clone)]
pub struct MappedRow {
    /// Line, sheet row or record number, from 1.
    pub number: u64,
    /// Identity of the row.
    pub key: RowKey,
    /// Its records, each after those that it links to.
    pub records: Vec<MappedRecord>,
}

/// One record that a row stands for.
#[derive(Debug, Clone)]
pub struct MappedRecord {
    /// The mapping's name for it, to which links of the same row point.
    pub name: Arc<str>,
    /// Its kind.
    pub kind: Kind,
    /// The organisation's evidence number (also in slot 0).
    pub number: String,
    /// Slot numbers, rising, and values that fit them.
    pub fields: Vec<(u8, Value)>,
    /// Slots that refer to another record of this row, by its name; that record stands earlier in the row.
    pub links: Vec<(u8, Arc<str>)>,
    /// The photographs that belong to it.
    pub photos: Vec<PhotoRef>,
    /// The same for the same thing: of the record's own key, or of the row's.
    pub key: RecordKey,
    /// Changes exactly when kind, fields, links or photographs do.
    pub digest: [u8; 32],
}

impl Mapping {
    /// Reads and checks a mapping.
    pub fn parse(text: &str) -> Result<Self, MappingError> {
        if text.len() > MAPPING_BYTES_MAX {
            return Err(MappingError::TooLarge(text.len()));
        }
        check::check(text, read(text)?)
    }

    /// The mapping's name. It is part of every identity: two files of one name are the same collection.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How to read the file.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Whether rows have key columns. Without, a row is its content: a corrected row is a new one.
    pub fn has_keys(&self) -> bool {
        self.keys.is_some()
    }

    /// The handling floor of everything imported with this mapping.
    pub fn floor(&self) -> &HandlingFloor {
        &self.floor
    }

    /// Refuses a table that lacks a column which the mapping names. Trees have no fixed columns.
    pub fn check_columns(&self, columns: Option<&Columns>) -> Result<(), MappingError> {
        let Some(columns) = columns else { return Ok(()) };
        let lacking = self.columns().into_iter().filter(|column| !columns.has(column));
        let lacking: Vec<String> = lacking.map(|column| self.place_of(&column.to_string())).collect();
        if lacking.is_empty() {
            return Ok(());
        }
        let have = match columns.names() {
            [] => format!("{} columns without names", columns.count()),
            names => names.iter().map(|name| excerpt(name)).take(40).collect::<Vec<_>>().join(", "),
        };
        Err(MappingError::NoColumn { places: lacking.join("; "), have })
    }

    /// A column with the first line that names it, in quotes or in a template; a column by its number has no such line.
    fn place_of(&self, column: &str) -> String {
        let wanted = column.trim().to_lowercase();
        let named = |line: &str| {
            let line = line.trim().to_lowercase();
            // These name no column.
            let other = ["#", "kind", "name", "format"].iter().any(|key| line.starts_with(key));
            !other && line.split(['"', '\'', '{', '}']).any(|part| part.trim() == wanted)
        };
        match (1..).zip(self.text.lines()).find(|(_, line)| named(line)) {
            Some((line, _)) => format!("line {line}, `{}`", excerpt(column)),
            None => format!("`{}`", excerpt(column)),
        }
    }

    /// Every column that it names, once.
    fn columns(&self) -> Vec<&Column> {
        let mut named: Vec<&Column> = self.keys.iter().flatten().collect();
        self.records.iter().for_each(|record| record.columns(&mut named));
        let mut once: Vec<&Column> = Vec::with_capacity(named.len());
        for column in named {
            if !once.contains(&column) {
                once.push(column);
            }
        }
        once
    }

    /// The columns that it names, for people.
    pub fn column_names(&self) -> String {
        self.columns().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

/// Unknown keys that are told at once.
const UNKNOWN_MAX: usize = 20;

/// Reads what was typed. Unknown keys are the usual mistake, and all of them are told: the line of each is left out, and
/// the rest read again, for as long as the rest is TOML.
fn read(text: &str) -> Result<raw::Mapping, MappingError> {
    let (mut rest, mut faults) = (text.to_owned(), Vec::new());
    loop {
        let error = match toml::from_str(&rest) {
            Ok(raw) if faults.is_empty() => return Ok(raw),
            Ok(_) => break,
            Err(error) => error,
        };
        faults.push(MappingError::Toml(unquoted(text, &error)));
        let line = error.span().filter(|_| error.message().starts_with("unknown field")).and_then(|span| {
            let before = rest.get(..span.start)?.rfind('\n').map_or(0, |at| at + 1);
            let after = rest.get(span.start..)?.find('\n').map_or(rest.len(), |at| span.start + at);
            Some(before..after)
        });
        let Some(line) = line.filter(|line| !line.is_empty() && faults.len() < UNKNOWN_MAX) else { break };
        // As many bytes as before, so that lines and places stay what they are.
        rest.replace_range(line.clone(), &" ".repeat(line.len()));
        if rest.parse::<toml::Table>().is_err() {
            break;
        }
    }
    Err(MappingError::all(faults))
}

impl MappingError {
    /// One fault, or several as one, in the order of the text.
    fn all(mut faults: Vec<Self>) -> Self {
        let line = |fault: &Self| if let Self::Key { line, .. } = fault { *line } else { 0 };
        faults.sort_by_key(line);
        match faults.len() {
            1 => faults.swap_remove(0),
            _ => Self::Several(faults),
        }
    }
}

/// The checked rule for one record.
#[derive(Debug)]
struct RecordRule {
    name: Arc<str>,
    kind: Kind,
    key: Vec<Column>,
    when: Option<WhenRule>,
    fields: Vec<FieldRule>,
    links: Vec<LinkRule>,
    photos: Option<PhotoRule>,
}

/// A record is made where the column holds something, one of `equals` if there are any, and none of `except`.
#[derive(Debug)]
struct WhenRule {
    column: Column,
    equals: Vec<String>,
    except: Vec<String>,
}

#[derive(Debug)]
struct LinkRule {
    slot: u8,
    slot_name: &'static str,
    required: bool,
    target: Arc<str>,
}

/// The checked rule for one slot.
#[derive(Debug)]
struct FieldRule {
    slot: &'static entente_protocol::record::kind::Slot,
    from: Fill,
    /// What stands where the row has nothing.
    default: Option<Value>,
}

/// Where a value comes from.
#[derive(Debug)]
enum Fill {
    Constant(Value),
    Text(TextRule),
    Point { lat: Column, lon: Column, precision: Precision, radius_m: Option<Column> },
    Pairs { list: Column, inner: [Column; 2] },
    Map(BTreeMap<String, Column>),
    Listing { columns: [Column; 3], parse: Vec<String> },
}

#[derive(Debug)]
enum Precision {
    Fixed(i64),
    Column(Column),
}

/// Text of the row on its way to a value.
#[derive(Debug)]
struct TextRule {
    take: Take,
    join: Option<String>,
    separator: Option<String>,
    lookup: Vec<Lookup>,
    /// A cell of several values fills nothing, where one is meant.
    skip_several: bool,
    parse: Vec<String>,
    tag: Option<String>,
    unit: Option<String>,
    estimate: bool,
    currency: Option<String>,
    /// `.` or `,`, where it is known.
    decimal: Option<char>,
    mark: Option<String>,
}

#[derive(Debug)]
enum Take {
    Columns(Vec<Column>),
    Template(Vec<Piece>),
}

/// A piece of a template.
#[derive(Debug)]
enum Piece {
    Text(String),
    Column(Column),
    /// The start of the row's own key, in hex.
    RowKey,
}

#[derive(Debug)]
enum Lookup {
    Country,
    Calibre,
    /// Keys in lower case.
    Own {
        name: String,
        table: BTreeMap<String, String>,
    },
}

#[derive(Debug)]
enum PhotoRule {
    Names { column: Column, separator: Option<String> },
    Range(Vec<Column>),
    Folder(Column),
}

impl RecordRule {
    fn columns<'a>(&'a self, all: &mut Vec<&'a Column>) {
        all.extend(&self.key);
        all.extend(self.when.iter().map(|when| &when.column));
        for field in &self.fields {
            match &field.from {
                Fill::Constant(_) => {}
                Fill::Text(rule) => match &rule.take {
                    Take::Columns(columns) => all.extend(columns),
                    Take::Template(pieces) => all.extend(pieces.iter().filter_map(|piece| match piece {
                        Piece::Column(column) => Some(column),
                        Piece::Text(_) | Piece::RowKey => None,
                    })),
                },
                Fill::Point { lat, lon, precision, radius_m } => {
                    all.extend([lat, lon]);
                    all.extend(radius_m);
                    if let Precision::Column(column) = precision {
                        all.push(column);
                    }
                }
                Fill::Pairs { list, .. } => all.push(list),
                Fill::Map(columns) => all.extend(columns.values()),
                Fill::Listing { columns, .. } => all.extend(columns),
            }
        }
        match &self.photos {
            None => {}
            Some(PhotoRule::Names { column, .. } | PhotoRule::Folder(column)) => all.push(column),
            Some(PhotoRule::Range(columns)) => all.extend(columns),
        }
    }
}

#[cfg(test)]
mod tests;
