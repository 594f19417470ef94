//! The rows of a file, as a child reads them: the only way by which `import` comes to rows.
//!
//! The child parses ahead while the parent maps, commits and seals: two processors work on one import, and what lies
//! between them is one frame here and what a socket holds. Every row is checked again as it comes in.

use super::{Child, ChildFault, Program, Task, frame::Tag, legible};
use crate::{
    ingest::table::{Columns, Format, Row, RowFault, Source, TableError, wire},
    regular,
};
use serde::{Deserialize, Serialize};
use std::{fs::File, io::Seek as _, path::Path, sync::Arc};

/// What the child is asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// Of the file's name, which is all that the child learns of it.
    pub ending: String,
    pub source: Source,
}

/// A file could not be opened as a table.
#[derive(Debug, thiserror::Error)]
pub enum OpenFault {
    /// The file is at fault, in words of whoever parsed it.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Nobody could parse it.
    #[error(transparent)]
    Child(#[from] ChildFault),
}

/// The rows of one file, and faults that stand for one row each. After a [`ChildFault`] nothing follows.
pub struct Rows {
    child: Child,
    columns: Option<Arc<Columns>>,
    /// How far the rows in the child's buffer are used up.
    at: usize,
    is_ended: bool,
    extent: Extent,
}

/// How far a file is read, and how long it is.
#[derive(Default)]
pub struct Extent {
    file: Option<(File, u64)>,
    /// What was told last.
    rows: Option<u64>,
}

impl Extent {
    /// How many rows the file has, going by what the first `done` of them took. None where that cannot be told: a workbook
    /// is not read from its beginning to its end, and others may be read to the end before their first row comes.
    pub fn rows(&mut self, done: u64) -> Option<u64> {
        // The child reads through the same open file: its place is ours.
        let read = self.file.as_mut().and_then(|(file, bytes)| Some((file.stream_position().ok()?, *bytes)));
        let now = read.filter(|(read, bytes)| (1..*bytes).contains(read)).and_then(|(read, bytes)| {
            let all = u128::from(done) * u128::from(bytes) / u128::from(read);
            u64::try_from(all).ok()
        });
        self.rows = now.or(self.rows).map(|rows| rows.max(done));
        self.rows
    }
}

/// Opens the file at `path` and has its first row read.
pub fn open(program: &Program, path: &Path, source: &Source) -> Result<Rows, OpenFault> {
    let file = regular::open(path).map_err(TableError::Read)?;
    let ending = path.extension().map(|ending| ending.to_string_lossy().into_owned()).unwrap_or_default();
    let is_workbook = ending.eq_ignore_ascii_case("xlsx") || source.format == Some(Format::Xlsx);
    let request = Request { ending, source: source.clone() };
    let request = serde_json::to_vec(&request).map_err(|error| TableError::Told(error.to_string()))?;
    let mut child = Child::start(program, Task::Table)?;
    child.ask(&request, &file)?;
    let broken = OpenFault::Child(ChildFault::Broken("its columns are none"));
    let columns = match child.receive()? {
        (Tag::Columns, payload) => wire::columns(payload).ok_or(broken)??.map(Arc::new),
        (Tag::Refused, why) => return Err(TableError::Told(legible(&String::from_utf8_lossy(why))).into()),
        _ => return Err(broken),
    };
    child.buffer.clear();
    let bytes = file.metadata().map(|file| file.len()).ok().filter(|_| !is_workbook);
    Ok(Rows {
        child,
        columns,
        at: 0,
        is_ended: false,
        extent: Extent { file: bytes.map(|bytes| (file, bytes)), rows: None },
    })
}

impl Rows {
    /// The columns of CSV and XLSX; `None` where rows are trees and each may differ.
    pub fn columns(&self) -> Option<&Columns> {
        self.columns.as_deref()
    }

    /// How far it is read. To be taken once, by whoever tells people.
    pub fn extent(&mut self) -> Extent {
        std::mem::take(&mut self.extent)
    }

    fn take(&mut self) -> Result<Option<Result<Row, RowFault>>, ChildFault> {
        if self.at >= self.child.buffer.len() {
            self.at = 0;
            match self.child.receive()? {
                (Tag::Rows, [_, ..]) => {}
                (Tag::End, []) => return Ok(None),
                _ => return Err(ChildFault::Broken("its rows are none")),
            }
        }
        let rest = self.child.buffer.get(self.at..).unwrap_or_default();
        let (row, used) =
            wire::row(rest, self.columns.as_ref()).ok_or(ChildFault::Broken("one of its rows is none"))?;
        self.at += used;
        Ok(Some(row))
    }
}

impl Iterator for Rows {
    type Item = Result<Result<Row, RowFault>, ChildFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_ended {
            return None;
        }
        let next = self.take().transpose();
        self.is_ended = !matches!(next, Some(Ok(_)));
        next
    }
}
