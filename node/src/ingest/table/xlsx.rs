//! Rows of one sheet of a workbook (Office Open XML).
//!
//! The library that reads workbooks has no bound of its own and believes the counts that a file states, so every
//! part is unpacked once into nothing first: what is too large, or lies about its size, is refused before a byte of
//! it is held. Cells are the values that the workbook last calculated; formulas are not looked at.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek as _};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use calamine::{DataRef, ExcelDateTime, Reader as _, Xlsx};
use quick_xml::events::Event;
use zip::ZipArchive;

use super::{CELL_BYTES_MAX, COLUMNS_MAX, Columns, Row, RowCause, RowFault, Source, TableError};

/// Parts of a workbook.
const PARTS_MAX: u64 = 4_096;
/// Unpacked bytes of one part.
const PART_BYTES_MAX: u64 = 96 << 20;
/// Unpacked bytes of the table of shared texts, which is held whole.
const SHARED_BYTES_MAX: u64 = 32 << 20;
/// Unpacked bytes of all parts.
const WORKBOOK_BYTES_MAX: u64 = 256 << 20;
/// Cells that are not empty.
const CELLS_MAX: u64 = 2_000_000;
/// Text of all cells.
const TEXT_BYTES_MAX: u64 = 64 << 20;

/// The sheet, read whole within the bounds above.
pub(super) struct Sheet {
    pub(super) columns: Arc<Columns>,
    pub(super) rows: Vec<Result<Row, RowFault>>,
}

/// Reads the sheet that `source` names, or the first.
pub(super) fn read(file: File, source: &Source) -> Result<Sheet, TableError> {
    // The library counts without bounds in references that no program writes, such as a column of ten letters, and
    // overflow panics. Whoever brought the file is told so, and not that this program failed.
    let read = panic::catch_unwind(AssertUnwindSafe(|| sheet(file, source)));
    read.unwrap_or_else(|_| Err(TableError::Workbook("a part of it is not as workbooks are".to_owned())))
}

fn sheet(mut file: File, source: &Source) -> Result<Sheet, TableError> {
    check_sizes(&file)?;
    file.rewind().map_err(TableError::Read)?;
    let mut workbook: Xlsx<_> = Xlsx::new(BufReader::new(file)).map_err(unusable)?;
    let names = workbook.sheet_names();
    let name = match &source.sheet {
        Some(wanted) => {
            names.into_iter().find(|name| name == wanted).ok_or_else(|| TableError::NoSheet(wanted.clone()))?
        }
        None => names.into_iter().next().ok_or_else(|| TableError::Workbook("it has no sheet".to_owned()))?,
    };
    let raw = cells(&mut workbook, &name)?;
    table(raw, source)
}

fn unusable(error: impl std::fmt::Display) -> TableError {
    TableError::Workbook(super::excerpt(&error.to_string()))
}

fn within(what: &'static str, found: u64, max: u64) -> Result<(), TableError> {
    if found > max { Err(TableError::WorkbookTooLarge { what, found, max }) } else { Ok(()) }
}

/// Refuses a workbook that states, or turns out, to be too large. First by what its directory states, then by
/// unpacking, since the directory may lie.
fn check_sizes(file: &File) -> Result<(), TableError> {
    // What unpacks to so much is not larger itself, and the directory is looked for from the file's end to its beginning.
    // The reader may not ask for a file's size, only go to its end.
    let bytes = (&mut &*file).seek(io::SeekFrom::End(0)).map_err(TableError::Read)?;
    within("bytes", bytes, WORKBOOK_BYTES_MAX)?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(unusable)?;
    within("parts", archive.len() as u64, PARTS_MAX)?;
    let mut stated = 0_u64;
    for index in 0..archive.len() {
        let part = archive.by_index_raw(index).map_err(unusable)?;
        stated = stated.saturating_add(part.size());
    }
    within("bytes unpacked", stated, WORKBOOK_BYTES_MAX)?;
    let mut total = 0_u64;
    for index in 0..archive.len() {
        let part = archive.by_index(index).map_err(unusable)?;
        let is_shared = part.name().map_err(unusable)?.to_ascii_lowercase().ends_with("sharedstrings.xml");
        let (max, what) =
            if is_shared { (SHARED_BYTES_MAX, "bytes of shared text") } else { (PART_BYTES_MAX, "bytes in one part") };
        within(what, part.size(), max)?;
        let mut bounded = BufReader::new(part.take(max + 1));
        if is_shared {
            check_shared_count(&mut bounded)?;
        }
        io::copy(&mut bounded, &mut io::sink()).map_err(unusable)?;
        let unpacked = max + 1 - bounded.into_inner().limit();
        within(what, unpacked, max)?;
        total += unpacked;
        within("bytes unpacked", total, WORKBOOK_BYTES_MAX)?;
    }
    Ok(())
}

/// The library reserves room for as many shared texts as the part states.
fn check_shared_count(part: impl BufRead) -> Result<(), TableError> {
    let mut reader = quick_xml::Reader::from_reader(part);
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        match reader.read_event_into(&mut buffer).map_err(unusable)? {
            Event::Start(start) | Event::Empty(start) => {
                for attribute in start.attributes() {
                    let attribute = attribute.map_err(unusable)?;
                    if attribute.key.local_name().as_ref() == "uniqueCount" {
                        let count = attribute.value.trim().parse().unwrap_or(u64::MAX);
                        within("shared texts", count, CELLS_MAX)?;
                    }
                }
                return Ok(());
            }
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

/// The cells of one row of the sheet that are not empty, as `(column from 0, text)`.
struct RawRow {
    number: u64,
    cells: Vec<(usize, String)>,
    fault: Option<(usize, RowCause)>,
}

fn cells<R: Read + io::Seek>(workbook: &mut Xlsx<R>, sheet: &str) -> Result<Vec<RawRow>, TableError> {
    let mut reader = workbook.worksheet_cells_reader(sheet).map_err(unusable)?;
    let mut rows: Vec<RawRow> = Vec::new();
    let (mut count, mut bytes) = (0_u64, 0_u64);
    while let Some(cell) = reader.next_cell().map_err(unusable)? {
        let (row, column) = cell.get_position();
        let (number, column) = (u64::from(row) + 1, column as usize);
        let text = match text(cell.get_value()) {
            Ok(text) if text.is_empty() => continue,
            text => text,
        };
        if rows.last().is_none_or(|last| last.number != number) {
            rows.push(RawRow { number, cells: Vec::new(), fault: None });
        }
        let Some(last) = rows.last_mut() else { continue };
        count += 1;
        within("cells", count, CELLS_MAX)?;
        match text {
            _ if column >= COLUMNS_MAX => last.fault = Some((column, RowCause::TooManyColumns)),
            Ok(text) if text.len() > CELL_BYTES_MAX => last.fault = Some((column, RowCause::CellTooLong)),
            Ok(text) if text.contains('\0') => last.fault = Some((column, RowCause::Nul)),
            Ok(text) => {
                bytes += text.len() as u64;
                within("bytes of text", bytes, TEXT_BYTES_MAX)?;
                last.cells.push((column, text));
            }
            Err(cause) => last.fault = Some((column, cause)),
        }
    }
    Ok(rows)
}

/// A cell as text, dates as ISO 8601.
fn text(value: &DataRef<'_>) -> Result<String, RowCause> {
    Ok(match value {
        DataRef::Empty => String::new(),
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) => number.to_string(),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.clone(),
        DataRef::SharedString(text) => (*text).to_owned(),
        DataRef::Bool(value) => value.to_string(),
        DataRef::DateTime(moment) => iso(moment),
        DataRef::Error(error) => return Err(RowCause::CellError(error.to_string())),
    })
}

fn iso(moment: &ExcelDateTime) -> String {
    if moment.is_duration() {
        return moment.as_f64().to_string();
    }
    let (year, month, day, hour, minute, second, _) = moment.to_ymd_hms_milli();
    let date = format!("{year:04}-{month:02}-{day:02}");
    let time = format!("{hour:02}:{minute:02}:{second:02}");
    match () {
        () if moment.as_f64() < 1.0 => time,
        () if (hour, minute, second) == (0, 0, 0) => date,
        () => format!("{date}T{time}"),
    }
}

/// Rows of equal width. A workbook does not write trailing empty cells, so a short row is filled up.
fn table(raw: Vec<RawRow>, source: &Source) -> Result<Sheet, TableError> {
    let mut raw = raw.into_iter().peekable();
    let columns = if source.header {
        let header = raw.next().ok_or(TableError::NoHeader)?;
        if let Some((column, cause)) = header.fault {
            return Err(TableError::Header(RowFault::in_column(header.number, column + 1, cause)));
        }
        let mut names = vec![String::new(); header.cells.iter().map(|(column, _)| column + 1).max().unwrap_or(0)];
        for (column, text) in header.cells {
            if let Some(name) = names.get_mut(column) {
                *name = text;
            }
        }
        Columns::named(names.iter().map(String::as_str))?
    } else {
        let all: Vec<RawRow> = raw.collect();
        let widest = all.iter().flat_map(|row| row.cells.iter().map(|(column, _)| column + 1)).max().unwrap_or(0);
        raw = all.into_iter().peekable();
        Columns::numbered(source.columns.unwrap_or(widest))
    };
    let columns = Arc::new(columns);
    let rows = raw.map(|row| finish(row, &columns)).collect();
    Ok(Sheet { columns, rows })
}

fn finish(mut row: RawRow, columns: &Arc<Columns>) -> Result<Row, RowFault> {
    if let Some((column, cause)) = row.fault {
        return Err(RowFault::in_column(row.number, columns.label(column), cause));
    }
    row.cells.sort_by_key(|(column, _)| *column);
    let expected = columns.count();
    if let Some((last, _)) = row.cells.last().filter(|(column, _)| *column >= expected) {
        return Err(RowFault::of_row(row.number, RowCause::Ragged { found: last + 1, expected }));
    }
    let mut text = String::new();
    let mut ends = Vec::with_capacity(expected);
    let mut cells = row.cells.into_iter().peekable();
    for column in 0..expected {
        while let Some((_, cell)) = cells.next_if(|(at, _)| *at == column) {
            text.push_str(&cell);
        }
        ends.push(u32::try_from(text.len()).unwrap_or(u32::MAX));
    }
    Ok(Row::flat(row.number, Arc::clone(columns), text, ends))
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::super::Column;
    use super::*;

    /// A workbook of one sheet, written by hand.
    fn workbook(sheet: &str, shared: &str) -> File {
        let mut zip = zip::ZipWriter::new(tempfile::tempfile().unwrap());
        let options = zip::write::SimpleFileOptions::default();
        let mut part = |name: &str, text: &str| {
            zip.start_file(name, options).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        };
        let rels = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
        part(
            "_rels/.rels",
            &format!(
                "<Relationships><Relationship Id=\"r1\" Type=\"{rels}/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>"
            ),
        );
        part(
            "xl/workbook.xml",
            &format!(
                "<workbook xmlns:r=\"{rels}\"><sheets><sheet name=\"One\" sheetId=\"1\" r:id=\"r1\"/></sheets></workbook>"
            ),
        );
        part(
            "xl/_rels/workbook.xml.rels",
            &format!(
                "<Relationships><Relationship Id=\"r1\" Type=\"{rels}/worksheet\" Target=\"worksheets/sheet1.xml\"/></Relationships>"
            ),
        );
        part(
            "xl/styles.xml",
            "<styleSheet><cellXfs count=\"2\"><xf numFmtId=\"0\"/><xf numFmtId=\"14\"/></cellXfs></styleSheet>",
        );
        part("xl/sharedStrings.xml", shared);
        part("xl/worksheets/sheet1.xml", &format!("<worksheet><sheetData>{sheet}</sheetData></worksheet>"));
        let mut file = zip.finish().unwrap();
        file.rewind().unwrap();
        file
    }

    const SHARED: &str = "<sst uniqueCount=\"3\"><si><t>number</t></si><si><t>when</t></si><si><t>made</t></si></sst>";
    const HEADER: &str = "<row r=\"1\"><c r=\"A1\" t=\"s\"><v>0</v></c><c r=\"B1\" t=\"s\"><v>1</v></c><c r=\"C1\" t=\"s\"><v>2</v></c></row>";

    #[test]
    fn cells_are_text_and_formulas_their_last_value() {
        let sheet = format!(
            "{HEADER}<row r=\"3\"><c r=\"A3\"><v>1234567</v></c><c r=\"B3\" s=\"1\"><v>45943</v></c>\
             <c r=\"C3\" t=\"str\"><f>1+1</f><v>two</v></c></row>\
             <row r=\"4\"><c r=\"C4\"><v>1.5</v></c></row>\
             <row r=\"5\"><c r=\"A5\" t=\"e\"><v>#N/A</v></c></row>\
             <row r=\"6\"><c r=\"D6\"><v>1</v></c></row>"
        );
        let sheet = read(workbook(&sheet, SHARED), &Source::default()).unwrap();
        let text = |row: usize, name: &str| {
            sheet.rows[row].as_ref().unwrap().text(&Column::named(name)).unwrap().map(str::to_owned)
        };
        assert_eq!(sheet.rows[0].as_ref().unwrap().number(), 3);
        assert_eq!(text(0, "number").as_deref(), Some("1234567"));
        assert_eq!(text(0, "when").as_deref(), Some("2025-10-13"));
        assert_eq!(text(0, "made").as_deref(), Some("two"));
        assert_eq!((text(1, "number"), text(1, "made").as_deref()), (None, Some("1.5")));
        assert_eq!(
            sheet.rows[2].as_ref().unwrap_err().to_string(),
            "row 5, column `number`: the cell holds the error #N/A"
        );
        assert!(matches!(sheet.rows[3], Err(RowFault { row: 6, cause: RowCause::Ragged { .. }, .. })));
    }

    #[test]
    fn a_stated_count_reserves_nothing() {
        let refused = read(workbook(HEADER, "<sst uniqueCount=\"18446744073709551615\"></sst>"), &Source::default());
        assert!(matches!(refused, Err(TableError::WorkbookTooLarge { what: "shared texts", .. })));
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_held() {
        let refused = read(workbook(HEADER, &" ".repeat((SHARED_BYTES_MAX + 1) as usize)), &Source::default());
        assert!(matches!(refused, Err(TableError::WorkbookTooLarge { what: "bytes of shared text", .. })));
    }

    #[test]
    fn a_far_cell_costs_its_row() {
        let sheet = format!("{HEADER}<row r=\"1048576\"><c r=\"XFD1048576\"><v>1</v></c></row>");
        let sheet = read(workbook(&sheet, SHARED), &Source::default()).unwrap();
        assert!(matches!(sheet.rows[0], Err(RowFault { cause: RowCause::TooManyColumns, .. })));
        assert_eq!(sheet.rows.len(), 1);
    }

    /// Story: a mutation of a sheet brought the library to a multiplication that overflows, in the part that reads
    /// references. The child ended, and whoever had brought the file was asked to report a fault of this program.
    #[test]
    fn a_reference_that_no_program_writes_is_the_fault_of_the_file() {
        for sheet in [
            "<row r=\"1\"><c r=\"AAAAAAAAAA1\"><v>1</v></c></row>",
            "<row r=\"99999999999\"><c r=\"A99999999999\"><v>1</v></c></row>",
        ] {
            let refused = read(workbook(sheet, SHARED), &Source::default());
            assert!(matches!(refused, Err(TableError::Workbook(_))), "{sheet}: {:?}", refused.err());
        }
    }

    #[test]
    fn a_sheet_that_is_not_there_is_named() {
        let source = Source { sheet: Some("Two".to_owned()), ..Source::default() };
        assert!(matches!(read(workbook(HEADER, SHARED), &source), Err(TableError::NoSheet(name)) if name == "Two"));
    }
}
