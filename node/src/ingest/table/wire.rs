//! Rows on their way from the child that parses to the parent that keeps: cheap to write, checked when read.
//!
//! Numbers are least byte first, texts are their length and their bytes. A row is a byte of kind, its number, and
//! then: 0, cells (how many, where each ends, the text of all); 1, a tree; 2, a fault (column or empty, words). The
//! reader refuses whatever a sound child would not have written, because the child has read what people bring.

use super::{
    CELL_BYTES_MAX, COLUMNS_MAX, Columns, DEPTH_MAX, Node, ROW_BYTES_MAX, ROW_ENCODED_MAX, Row, RowCause, RowFault,
    TableError, legible, row::Cells,
};
use std::sync::Arc;

const FLAT: u8 = 0;
const TREE: u8 = 1;
const FAULT: u8 = 2;
/// Characters of a fault's words.
const WORDS_MAX: usize = 600;

fn put_size(out: &mut Vec<u8>, size: usize) {
    // Everything here is far smaller; a size that were not would be refused by the reader.
    out.extend_from_slice(&u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_size(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_node(out: &mut Vec<u8>, node: &Node) {
    match node {
        Node::Text(text) => {
            out.push(0);
            put_text(out, text);
        }
        Node::List(items) => {
            out.push(1);
            put_size(out, items.len());
            items.iter().for_each(|item| put_node(out, item));
        }
        Node::Object(members) => {
            out.push(2);
            put_size(out, members.len());
            for (name, value) in members {
                put_text(out, name);
                put_node(out, value);
            }
        }
    }
}

/// Columns, or that there are none: kind, count, names.
pub fn put_columns(out: &mut Vec<u8>, columns: Option<&Columns>) {
    match columns {
        None => out.push(0),
        Some(columns) => {
            out.push(if columns.names().is_empty() { 1 } else { 2 });
            put_size(out, columns.count());
            columns.names().iter().for_each(|name| put_text(out, name));
        }
    }
}

/// A row. One that is beyond the bounds of its parts becomes a fault.
pub fn put(out: &mut Vec<u8>, row: &Result<Row, RowFault>) {
    let start = out.len();
    match row {
        Ok(row) => {
            if let Err(cause) = put_row(out, row) {
                out.truncate(start);
                put_fault(out, &RowFault::of_row(row.number(), cause));
            } else if out.len() - start > ROW_ENCODED_MAX {
                out.truncate(start);
                put_fault(out, &RowFault::of_row(row.number(), RowCause::RowTooLong));
            }
        }
        Err(fault) => put_fault(out, fault),
    }
}

fn put_row(out: &mut Vec<u8>, row: &Row) -> Result<(), RowCause> {
    match &row.cells {
        Cells::Flat { text, ends, .. } => {
            if text.len() > ROW_BYTES_MAX {
                return Err(RowCause::RowTooLong);
            }
            out.push(FLAT);
            out.extend_from_slice(&row.number.to_le_bytes());
            put_size(out, ends.len());
            let mut start = 0;
            for end in ends {
                if (*end as usize).saturating_sub(start) > CELL_BYTES_MAX {
                    return Err(RowCause::CellTooLong);
                }
                start = *end as usize;
                out.extend_from_slice(&end.to_le_bytes());
            }
            put_text(out, text);
        }
        Cells::Tree(node) => {
            out.push(TREE);
            out.extend_from_slice(&row.number.to_le_bytes());
            put_node(out, node);
        }
    }
    Ok(())
}

fn put_fault(out: &mut Vec<u8>, fault: &RowFault) {
    out.push(FAULT);
    out.extend_from_slice(&fault.row.to_le_bytes());
    put_text(out, fault.column.as_deref().unwrap_or_default());
    put_text(out, &legible(&fault.cause.to_string(), WORDS_MAX));
}

/// What is left to read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }
    fn number(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*bytes))
    }
    fn size(&mut self) -> Option<usize> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        usize::try_from(u32::from_le_bytes(*bytes)).ok()
    }
    fn text(&mut self) -> Option<&'a str> {
        let bytes = self.size()?;
        std::str::from_utf8(self.take(bytes)?).ok().filter(|text| !text.contains('\0'))
    }
    fn node(&mut self, depth: usize) -> Option<Node> {
        let depth = depth.checked_sub(1)?;
        // Each turn of these loops uses up a byte at least, so a stated count reserves nothing.
        match self.byte()? {
            0 => Some(Node::Text(self.text()?.to_owned())),
            1 => {
                let count = self.size()?;
                let mut items = Vec::new();
                for _ in 0..count {
                    items.push(self.node(depth)?);
                }
                Some(Node::List(items))
            }
            2 => {
                let count = self.size()?;
                let mut members = Vec::new();
                for _ in 0..count {
                    let name = self.text()?.to_owned();
                    members.push((name, self.node(depth)?));
                }
                Some(Node::Object(members))
            }
            _ => None,
        }
    }
}

/// Reads columns; `None` outside is what is none, inside a table of trees.
pub fn columns(bytes: &[u8]) -> Option<Result<Option<Columns>, TableError>> {
    let mut rest = Rest(bytes);
    let kind = rest.byte()?;
    if kind == 0 {
        return rest.0.is_empty().then_some(Ok(None));
    }
    let count = rest.size()?;
    let read = match kind {
        1 => Ok(Columns::numbered(count)),
        2 => {
            let mut names = Vec::new();
            for _ in 0..count {
                names.push(rest.text()?);
            }
            Columns::named(names.into_iter())
        }
        _ => return None,
    };
    rest.0.is_empty().then_some(read.map(Some))
}

/// Reads the next row or fault, and says how many bytes it took.
pub fn row(bytes: &[u8], columns: Option<&Arc<Columns>>) -> Option<(Result<Row, RowFault>, usize)> {
    let mut rest = Rest(bytes);
    let kind = rest.byte()?;
    let number = rest.number()?;
    let row = match kind {
        FLAT => Ok(flat(&mut rest, number, columns?)?),
        // What an element says beside its members is one level more.
        TREE => Ok(Row::tree(number, rest.node(DEPTH_MAX + 2)?)),
        FAULT => {
            let column = Some(rest.text()?).filter(|column| !column.is_empty()).map(super::excerpt);
            let cause = RowCause::Told(legible(rest.text()?, WORDS_MAX));
            Err(RowFault { row: number, column, cause })
        }
        _ => return None,
    };
    Some((row, bytes.len() - rest.0.len()))
}

fn flat(rest: &mut Rest<'_>, number: u64, columns: &Arc<Columns>) -> Option<Row> {
    let count = rest.size().filter(|count| *count == columns.count() && *count <= COLUMNS_MAX)?;
    let (ends, _) = rest.take(count * 4)?.as_chunks();
    let ends: Vec<u32> = ends.iter().map(|end| u32::from_le_bytes(*end)).collect();
    let text = rest.text().filter(|text| text.len() <= ROW_BYTES_MAX)?;
    let mut start = 0;
    for end in &ends {
        let end = *end as usize;
        let cell = end.checked_sub(start)?;
        if cell > CELL_BYTES_MAX || !text.is_char_boundary(end) {
            return None;
        }
        start = end;
    }
    (start == text.len()).then(|| Row::flat(number, Arc::clone(columns), text.to_owned(), ends))
}

#[cfg(test)]
mod tests {
    use super::super::Column;
    use super::*;

    fn named() -> Arc<Columns> {
        Arc::new(Columns::named(["a", "b"].into_iter()).unwrap())
    }

    fn written(row: Result<Row, RowFault>) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, &row);
        out
    }

    #[test]
    fn rows_trees_faults_and_columns_come_back_as_they_went() {
        let columns = named();
        let flat = Row::flat(7, Arc::clone(&columns), "één=1".to_owned(), vec![5, 7]);
        let tree = Node::Object(vec![
            ("x".to_owned(), Node::List(vec![Node::Text("1".to_owned()), Node::Text(String::new())])),
            ("y".to_owned(), Node::Text("2".to_owned())),
        ]);
        let mut out = written(Ok(flat.clone()));
        out.extend(written(Ok(Row::tree(8, tree.clone()))));
        out.extend(written(Err(RowFault::in_column(9, "b", RowCause::Nul))));
        let (first, used) = row(&out, Some(&columns)).unwrap();
        let first = first.unwrap();
        assert_eq!((first.number(), first.content()), (7, flat.content()));
        assert_eq!(first.text(&Column::named("b")).unwrap(), Some("=1"));
        let (second, more) = row(&out[used..], Some(&columns)).unwrap();
        assert_eq!(second.unwrap().content(), Row::tree(8, tree).content());
        let (third, last) = row(&out[used + more..], None).unwrap();
        assert_eq!(third.unwrap_err().to_string(), "row 9, column `b`: holds a NUL byte");
        assert_eq!(used + more + last, out.len());

        for columns in [None, Some(&*named()), Some(&Columns::numbered(3))] {
            let mut out = Vec::new();
            put_columns(&mut out, columns);
            let back = super::columns(&out).unwrap().unwrap();
            assert_eq!(back.as_ref().map(Columns::count), columns.map(Columns::count));
            assert_eq!(back.as_ref().map(Columns::names), columns.map(Columns::names));
            out.push(0);
            assert!(super::columns(&out).is_none(), "columns_trailing_byte");
        }
    }

    #[test]
    fn what_a_sound_child_does_not_write_is_refused() {
        let columns = named();
        let good = written(Ok(Row::flat(7, Arc::clone(&columns), "ab".to_owned(), vec![1, 2])));
        assert!(row(&good, Some(&columns)).is_some());
        for end in 0..good.len() {
            assert!(row(&good[..end], Some(&columns)).is_none(), "row_cut_short at {end}");
        }
        let changed = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            row(&bytes, Some(&columns)).is_none()
        };
        assert!(changed(0, 3), "row_of_no_kind");
        assert!(changed(9, 1), "row_fewer_cells_than_columns");
        assert!(changed(13, 3), "row_ends_not_ascending");
        assert!(changed(17, 1), "row_text_beyond_the_last_cell");
        assert!(changed(25, 0), "row_nul");
        assert!(changed(25, 0xff), "row_not_utf8");
        assert!(row(&good, None).is_none(), "row_of_cells_in_a_table_of_trees");
        let deep = (0..=DEPTH_MAX + 2).fold(Node::Text(String::new()), |inner, _| Node::List(vec![inner]));
        assert!(row(&written(Ok(Row::tree(1, deep))), None).is_none(), "row_too_deep");
        let mut counted = vec![TREE];
        counted.extend(1_u64.to_le_bytes());
        counted.push(1);
        counted.extend(u32::MAX.to_le_bytes());
        assert!(row(&counted, None).is_none(), "row_count_reserves_nothing");
    }

    #[test]
    fn what_is_too_long_for_the_way_is_a_fault_of_its_row() {
        let columns = Arc::new(Columns::numbered(20));
        let cell = "x".repeat(CELL_BYTES_MAX);
        let ends: Vec<u32> = (1..=20).map(|n| n * CELL_BYTES_MAX as u32).collect();
        let (long, _) = row(&written(Ok(Row::flat(3, columns, cell.repeat(20), ends))), None).unwrap();
        assert_eq!(long.unwrap_err().to_string(), "row 3: longer than 1048576 bytes");
        let wide = Arc::new(Columns::numbered(1));
        let text = "x".repeat(CELL_BYTES_MAX + 1);
        let (wide, _) = row(&written(Ok(Row::flat(4, wide, text, vec![CELL_BYTES_MAX as u32 + 1]))), None).unwrap();
        assert_eq!(wide.unwrap_err().to_string(), "row 4: longer than 65536 bytes");
        let told = RowFault::of_row(5, RowCause::Json("\u{202e}\u{1b}[2J".to_owned()));
        let (told, _) = row(&written(Err(told)), None).unwrap();
        assert_eq!(told.unwrap_err().to_string(), "row 5: not a valid JSON value: \\u{202e}\\u{1b}[2J");
    }
}
