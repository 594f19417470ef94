//! CSV (RFC 4180, any one-byte delimiter), streamed and bounded.
//!
//! A reader of our own, because it must hold at most one row whatever the input: a quote that never closes would
//! otherwise take the rest of the file into one cell. When a quoted cell turns out malformed, the line on which the
//! row began is reported, and the next line is read as a row of its own, so one stray quote costs one row.

use std::io::BufRead;
use std::sync::Arc;

use super::lines::{Line, LineReader};
use super::{CELL_BYTES_MAX, COLUMNS_MAX, Columns, ROW_BYTES_MAX, Row, RowCause, RowFault, Source, TableError};

/// The rows of a CSV file.
pub(super) struct Rows<R> {
    records: Records<R>,
    columns: Arc<Columns>,
    first: Option<Result<Record, RowFault>>,
}

impl<R: BufRead> Rows<R> {
    /// Reads the first row: it names the columns, or tells how many there are.
    pub(super) fn open(reader: R, source: &Source, delimiter: u8) -> Result<Self, TableError> {
        let mut records = Records::new(reader, source.delimiter.unwrap_or(delimiter));
        if source.header {
            let header = records.next().ok_or(TableError::NoHeader)?.map_err(TableError::Header)?;
            let columns = Arc::new(Columns::named(header.cells())?);
            return Ok(Self { records, columns, first: None });
        }
        let first = records.next();
        let found = match &first {
            Some(Ok(record)) => record.ends.len(),
            _ => 0,
        };
        let columns = Arc::new(Columns::numbered(source.columns.unwrap_or(found)));
        Ok(Self { records, columns, first })
    }

    pub(super) fn columns(&self) -> Arc<Columns> {
        Arc::clone(&self.columns)
    }
}

impl<R: BufRead> Iterator for Rows<R> {
    type Item = Result<Row, RowFault>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = match self.first.take().or_else(|| self.records.next())? {
            Ok(record) => record,
            Err(mut fault) => {
                let index = fault.column.as_ref().and_then(|column| column.parse::<usize>().ok());
                fault.column = index.map(|number| self.columns.label(number.saturating_sub(1)));
                return Some(Err(fault));
            }
        };
        let (found, expected) = (record.ends.len(), self.columns.count());
        if found != expected {
            return Some(Err(RowFault::of_row(record.line, RowCause::Ragged { found, expected })));
        }
        Some(Ok(Row::flat(record.line, self.columns(), record.text, record.ends)))
    }
}

/// One row before it is known how many columns there are.
struct Record {
    line: u64,
    text: String,
    ends: Vec<u32>,
}

impl Record {
    fn cells(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.text.get(start as usize..*end as usize).unwrap_or_default())
    }
}

/// Cuts bytes into records. `buffer` from `at` on holds whole lines not yet used.
struct Records<R> {
    lines: LineReader<R>,
    delimiter: u8,
    buffer: Vec<u8>,
    at: usize,
    line: u64,
    /// A line too long to hold, met while a quote was open; it follows what is in the buffer.
    too_long: bool,
    ended: bool,
    cells_before: usize,
}

/// How the bytes of one record ended.
enum Cut {
    /// After so many bytes, of which so many newlines.
    Done { bytes: usize, newlines: u64 },
    /// Malformed quoting: only the first line is given up.
    Malformed { column: usize, cause: RowCause },
}

impl<R: BufRead> Records<R> {
    fn new(reader: R, delimiter: u8) -> Self {
        let lines = LineReader::new(reader);
        Self { lines, delimiter, buffer: Vec::new(), at: 0, line: 1, too_long: false, ended: false, cells_before: 16 }
    }

    fn next(&mut self) -> Option<Result<Record, RowFault>> {
        // Every turn uses up at least one line, or ends.
        loop {
            if self.at >= self.buffer.len() {
                self.buffer.clear();
                self.at = 0;
                match self.more() {
                    Ok(Line::Appended) => {}
                    Ok(Line::TooLong) => {
                        self.too_long = false;
                        self.line += 1;
                        return Some(Err(RowFault::of_row(self.line - 1, RowCause::RowTooLong)));
                    }
                    Ok(Line::End) => return None,
                    Err(fault) => return Some(Err(fault)),
                }
            }
            if let Some(blank) = self.blank_line() {
                self.at += blank;
                self.line += 1;
                continue;
            }
            return Some(self.record());
        }
    }

    /// Appends the next line to the buffer.
    fn more(&mut self) -> Result<Line, RowFault> {
        if self.too_long {
            return Ok(Line::TooLong);
        }
        if self.ended {
            return Ok(Line::End);
        }
        // What is used up is let go, so that lines held after a stray quote never pile up.
        if self.at > ROW_BYTES_MAX {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        let read = self.lines.append(&mut self.buffer, ROW_BYTES_MAX);
        let line = read.map_err(|error| {
            self.ended = true;
            RowFault::of_row(self.line, RowCause::Read(error.to_string()))
        })?;
        self.ended = line == Line::End;
        self.too_long = line == Line::TooLong;
        Ok(line)
    }

    /// The length of an empty line at `at`.
    fn blank_line(&self) -> Option<usize> {
        match self.buffer.get(self.at..)? {
            [b'\n', ..] => Some(1),
            [b'\r', b'\n', ..] => Some(2),
            _ => None,
        }
    }

    fn record(&mut self) -> Result<Record, RowFault> {
        let line = self.line;
        let mut cells = Cells::with_capacity(self.cells_before);
        match self.cut(&mut cells)? {
            Cut::Done { bytes, newlines } => {
                self.at += bytes;
                self.line += newlines;
            }
            Cut::Malformed { column, cause } => {
                let rest = self.buffer.get(self.at..).unwrap_or_default();
                self.at += rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
                self.line += 1;
                return Err(RowFault::in_column(line, column, cause));
            }
        }
        self.cells_before = cells.ends.len();
        cells.check(line)
    }

    /// Walks the bytes of one record, reading on while a quote is open.
    fn cut(&mut self, cells: &mut Cells) -> Result<Cut, RowFault> {
        let mut used = 0;
        let mut newlines = 0;
        loop {
            let rest = self.buffer.get(self.at + used..).unwrap_or_default();
            if rest.first() != Some(&b'"') {
                let end = rest.iter().position(|byte| *byte == self.delimiter || *byte == b'\n');
                let cell = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
                let stop = end.and_then(|at| rest.get(at)).copied();
                let ends_row = stop != Some(self.delimiter);
                let cell = if ends_row { cell.strip_suffix(b"\r").unwrap_or(cell) } else { cell };
                cells.text.extend_from_slice(cell);
                used += end.map_or(rest.len(), |at| at + 1);
                cells.end_cell();
                if ends_row {
                    newlines += u64::from(stop.is_some());
                    return Ok(Cut::Done { bytes: used, newlines });
                }
                continue;
            }
            used += 1;
            if let Some(cause) = self.quoted(cells, &mut used, &mut newlines)? {
                return Ok(Cut::Malformed { column: cells.count + 1, cause });
            }
            cells.end_cell();
            let rest = self.buffer.get(self.at + used..).unwrap_or_default();
            let (step, ends_row) = match rest {
                [] => (0, true),
                [b'\n', ..] => (1, true),
                [b'\r'] => (1, true),
                [b'\r', b'\n', ..] => (2, true),
                [byte, ..] if *byte == self.delimiter => (1, false),
                _ => return Ok(Cut::Malformed { column: cells.count, cause: RowCause::Quote }),
            };
            used += step;
            if ends_row {
                newlines += u64::from(!rest.is_empty());
                return Ok(Cut::Done { bytes: used, newlines });
            }
        }
    }

    /// The inside of a quoted cell, up to and with its closing quote.
    fn quoted(
        &mut self,
        cells: &mut Cells,
        used: &mut usize,
        newlines: &mut u64,
    ) -> Result<Option<RowCause>, RowFault> {
        loop {
            let rest = self.buffer.get(self.at + *used..).unwrap_or_default();
            let quote = rest.iter().position(|byte| *byte == b'"');
            let inside = rest.get(..quote.unwrap_or(rest.len())).unwrap_or_default();
            cells.text.extend_from_slice(inside);
            *newlines += inside.iter().filter(|byte| **byte == b'\n').count() as u64;
            *used += inside.len();
            if quote.is_some() {
                *used += 1;
                if self.buffer.get(self.at + *used) != Some(&b'"') {
                    return Ok(None);
                }
                cells.text.push(b'"');
                *used += 1;
                continue;
            }
            if *used > ROW_BYTES_MAX || self.more()? != Line::Appended {
                return Ok(Some(RowCause::UnclosedQuote));
            }
        }
    }
}

/// The cells of a record as bytes, before anything is known of their encoding.
struct Cells {
    text: Vec<u8>,
    ends: Vec<u32>,
    count: usize,
}

impl Cells {
    fn with_capacity(cells: usize) -> Self {
        Self { text: Vec::with_capacity(cells * 12), ends: Vec::with_capacity(cells), count: 0 }
    }

    fn end_cell(&mut self) {
        self.count += 1;
        if self.count <= COLUMNS_MAX {
            self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
        }
    }

    /// Refuses what a cell may not hold, naming the column by number.
    fn check(self, line: u64) -> Result<Record, RowFault> {
        if self.count > COLUMNS_MAX {
            return Err(RowFault::of_row(line, RowCause::TooManyColumns));
        }
        let mut start = 0;
        for (index, end) in self.ends.iter().enumerate() {
            let end = *end as usize;
            let cell = self.text.get(start..end).unwrap_or_default();
            start = end;
            let fault = |cause| Err(RowFault::in_column(line, index + 1, cause));
            if cell.len() > CELL_BYTES_MAX {
                return fault(RowCause::CellTooLong);
            }
            if cell.contains(&0) {
                return fault(RowCause::Nul);
            }
            if let Err(error) = std::str::from_utf8(cell) {
                return fault(RowCause::NotUtf8 { byte: error.valid_up_to() + 1 });
            }
        }
        // Every cell is UTF-8, so all of them together are.
        let text = String::from_utf8(self.text).map_err(|error| {
            RowFault::of_row(line, RowCause::NotUtf8 { byte: error.utf8_error().valid_up_to() + 1 })
        })?;
        Ok(Record { line, text, ends: self.ends })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Column;
    use super::*;

    fn rows(input: &[u8], source: &Source) -> Vec<Result<Vec<String>, String>> {
        let rows = Rows::open(std::io::BufReader::with_capacity(3, input), source, b',').unwrap();
        let count = rows.columns.count();
        rows.map(|row| {
            row.map(|row| {
                let cell = |number| row.text(&Column::Number(number)).unwrap().unwrap_or_default().to_owned();
                (1..=count).map(cell).collect()
            })
            .map_err(|fault| fault.to_string())
        })
        .collect()
    }

    fn ok(cells: &[&str]) -> Result<Vec<String>, String> {
        Ok(cells.iter().map(|cell| (*cell).to_owned()).collect())
    }

    #[test]
    fn quotes_newlines_and_crlf() {
        let found = rows(b"a,b\r\n\"x, \"\"y\"\"\",2\r\n\r\n\"two\nlines\",4\n5,6 \"inch\"", &Source::default());
        assert_eq!(found, [ok(&["x, \"y\"", "2"]), ok(&["two\nlines", "4"]), ok(&["5", "6 \"inch\""])]);
    }

    #[test]
    fn a_stray_quote_costs_one_row() {
        let found = rows(b"a,b\n1,\"open\n3,4\n5,6\n", &Source::default());
        assert_eq!(
            found,
            [Err("row 2, column `b`: a quote is opened and not closed".to_owned()), ok(&["3", "4"]), ok(&["5", "6"])]
        );
        let found = rows(b"a,b\n1,\"open\n3,\"4\"\n5,6\n", &Source::default());
        assert!(found[0].as_ref().is_err_and(|fault| fault.starts_with("row 2, column `b`: text after")));
        assert_eq!(found[1..], [ok(&["3", "4"]), ok(&["5", "6"])]);
    }

    #[test]
    fn an_open_quote_does_not_take_the_file_into_memory() {
        let mut input = b"a,b\n1,\"open\n".to_vec();
        for _ in 0..200_000 {
            input.extend_from_slice(b"3,4444444\n");
        }
        let rows = Rows::open(&input[..], &Source::default(), b',').unwrap();
        let (good, bad): (Vec<_>, Vec<_>) = rows.partition(Result::is_ok);
        assert_eq!((good.len(), bad.len()), (200_000, 1));
    }

    #[test]
    fn bad_rows_are_named_and_the_next_is_read() {
        let mut input = b"a,b\n1\n1,2,3\nx,\0\nx,caf\xe9\n1,".to_vec();
        input.extend(std::iter::repeat_n(b'z', CELL_BYTES_MAX + 1));
        input.extend_from_slice(b"\n");
        input.extend(std::iter::repeat_n(b'z', ROW_BYTES_MAX + 1));
        input.extend_from_slice(b"\n");
        input.extend(std::iter::repeat_n(b',', COLUMNS_MAX));
        input.extend_from_slice(b"\nlast,=1+1\n");
        let found = rows(&input, &Source::default());
        let expected = [
            "row 2: 1 cells where the table has 2 columns",
            "row 3: 3 cells where the table has 2 columns",
            "row 4, column `b`: holds a NUL byte",
            "row 5, column `b`: not UTF-8 from byte 4 of the cell: save the file as UTF-8",
            "row 6, column `b`: longer than 65536 bytes",
            "row 7: longer than 1048576 bytes",
            "row 8: more than 1024 columns",
        ];
        for (index, fault) in expected.iter().enumerate() {
            assert_eq!(found[index], Err((*fault).to_owned()));
        }
        assert_eq!(found[expected.len()], ok(&["last", "=1+1"]));
    }

    #[test]
    fn a_long_line_inside_an_open_quote_is_reported_after_the_lines_before_it() {
        let mut input = b"a,b\n1,\"open\n3,4\n".to_vec();
        input.extend(std::iter::repeat_n(b'z', ROW_BYTES_MAX + 1));
        input.extend_from_slice(b"\n5,6\n");
        let found = rows(&input, &Source::default());
        assert!(found[0].is_err());
        assert_eq!(found[1], ok(&["3", "4"]));
        assert_eq!(found[2], Err("row 4: longer than 1048576 bytes".to_owned()));
        assert_eq!(found[3], ok(&["5", "6"]));
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn columns_twice_are_refused_and_numbers_serve_without_a_header() {
        let refused = Rows::open(&b"a,b, a \n"[..], &Source::default(), b',');
        assert!(matches!(refused, Err(TableError::DuplicateColumn { first: 1, second: 3, .. })));
        let source = Source { header: false, delimiter: Some(b';'), ..Source::default() };
        assert_eq!(rows(b"1;2\n3;4\n", &source), [ok(&["1", "2"]), ok(&["3", "4"])]);
        let source = Source { header: false, columns: Some(3), ..Source::default() };
        let found = rows(b"1,2\n3,4,5\n", &source);
        assert!(found[0].is_err());
        assert_eq!(found[1], ok(&["3", "4", "5"]));
    }
}
