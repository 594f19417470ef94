//! JSON rows: one value a line, or the elements of one array at a pointer (RFC 6901).
//!
//! Both stream: only one row is held. The array's elements are first cut by their brackets, then parsed one by
//! one, so a bad element is left out and the next one is read. Numbers keep their value but not their spelling.

use std::fmt;
use std::io::BufRead;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

use super::lines::{Line, LineReader};
use super::{
    CELL_BYTES_MAX, DEPTH_MAX, NODES_MAX, Node, PASSED_BYTES_MAX, ROW_BYTES_MAX, Row, RowCause, RowFault, TableError,
    excerpt,
};

/// Integers up to here are exact as JSON numbers everywhere (RFC 8259, section 6).
const EXACT_MAX: f64 = 9_007_199_254_740_991.0;

/// One JSON value on each line.
pub(super) struct Lines<R> {
    lines: LineReader<R>,
    buffer: Vec<u8>,
    line: u64,
    ended: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { lines: LineReader::new(reader), buffer: Vec::new(), line: 0, ended: false }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Row, RowFault>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            self.buffer.clear();
            self.line += 1;
            match self.lines.append(&mut self.buffer, ROW_BYTES_MAX) {
                Ok(Line::Appended) if self.buffer.trim_ascii().is_empty() => {}
                Ok(Line::Appended) => return Some(parse(&self.buffer, self.line)),
                Ok(Line::TooLong) => return Some(Err(RowFault::of_row(self.line, RowCause::RowTooLong))),
                Ok(Line::End) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    return Some(Err(RowFault::of_row(self.line, RowCause::Read(error.to_string()))));
                }
            }
        }
        None
    }
}

/// One row from its bytes.
fn parse(bytes: &[u8], number: u64) -> Result<Row, RowFault> {
    let mut budget = NODES_MAX;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let node = Build { budget: &mut budget, depth: DEPTH_MAX }
        .deserialize(&mut deserializer)
        .and_then(|node| deserializer.end().map(|()| node))
        .map_err(|error| {
            let text = error.to_string();
            let what = text.split(" at line ").next().unwrap_or_default().to_owned();
            RowFault::of_row(number, RowCause::Json(format!("{what}, at byte {}", error.column())))
        })?;
    match node {
        Node::Text(_) => {
            Err(RowFault::of_row(number, RowCause::Json("a row is an object or an array, not a bare value".to_owned())))
        }
        node => Ok(Row::tree(number, node)),
    }
}

/// Builds a [`Node`] within a budget of values and a depth.
struct Build<'b> {
    budget: &'b mut usize,
    depth: usize,
}

impl Build<'_> {
    fn spend<E: serde::de::Error>(&mut self) -> Result<(), E> {
        *self.budget = self.budget.checked_sub(1).ok_or_else(|| E::custom(RowCause::TooComplex))?;
        Ok(())
    }

    fn inner(&mut self) -> Option<Build<'_>> {
        Some(Build { depth: self.depth.checked_sub(1)?, budget: &mut *self.budget })
    }
}

impl<'de> DeserializeSeed<'de> for Build<'_> {
    type Value = Node;
    fn deserialize<D: serde::Deserializer<'de>>(mut self, deserializer: D) -> Result<Node, D::Error> {
        self.spend()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Build<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Text(String::new()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Node, E> {
        if value.abs() > EXACT_MAX {
            return Err(E::custom("a number too large to be kept exactly: write it as text"));
        }
        Ok(Node::Text(value.to_string()))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Node, E> {
        checked(value)?;
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) =
            seq.next_element_seed(self.inner().ok_or_else(|| A::Error::custom(RowCause::TooComplex))?)?
        {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Node, A::Error> {
        let mut members: Vec<(String, Node)> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            checked(&name)?;
            let inner = self.inner().ok_or_else(|| A::Error::custom(RowCause::TooComplex))?;
            members.push((name, map.next_value_seed(inner)?));
        }
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.array_windows().find(|[one, next]| one == next) {
            let [name, _] = twice;
            return Err(A::Error::custom(format_args!("the key `{}` stands twice", excerpt(name))));
        }
        Ok(Node::Object(members))
    }
}

fn checked<E: serde::de::Error>(text: &str) -> Result<(), E> {
    if text.len() > CELL_BYTES_MAX {
        return Err(E::custom(RowCause::CellTooLong));
    }
    if text.contains('\0') {
        return Err(E::custom(RowCause::Nul));
    }
    Ok(())
}

/// The elements of an array, cut out one after the other.
pub(super) struct Array<R> {
    bytes: Bytes<R>,
    buffer: Vec<u8>,
    number: u64,
    ended: bool,
}

impl<R: BufRead> Array<R> {
    /// Goes to the array at `pointer`; nothing before it is held.
    pub(super) fn open(reader: R, pointer: &str) -> Result<Self, TableError> {
        let wrong = |why: String| TableError::Pointer { pointer: excerpt(pointer), why };
        let mut bytes = Bytes { reader, left: u64::MAX };
        if !pointer.is_empty() && !pointer.starts_with('/') {
            return Err(wrong("a pointer starts with `/`".to_owned()));
        }
        for step in pointer.split('/').skip(1) {
            let step = step.replace("~1", "/").replace("~0", "~");
            bytes.enter(&step).map_err(|stop| wrong(stop.to_string()))?;
        }
        match bytes.next_visible() {
            Ok(Some(b'[')) => Ok(Self { bytes, buffer: Vec::new(), number: 0, ended: false }),
            Ok(_) => Err(wrong("something else stands there".to_owned())),
            Err(stop) => Err(wrong(stop.to_string())),
        }
    }

    fn element(&mut self) -> Result<Option<Result<Row, RowFault>>, Stop> {
        let first = match (self.bytes.next_visible()?, self.number) {
            (Some(b']'), _) => return Ok(None),
            (Some(b','), 1..) => self.bytes.next_visible()?,
            (first, 0) => first,
            _ => return Err(Stop::Syntax("a comma or the end of the array was expected")),
        };
        self.number += 1;
        self.buffer.clear();
        let first = first.ok_or(Stop::End)?;
        self.bytes.left = PASSED_BYTES_MAX;
        Ok(Some(match self.bytes.value(first, Some(&mut self.buffer))? {
            true => parse(&self.buffer, self.number),
            false => Err(RowFault::of_row(self.number, RowCause::RowTooLong)),
        }))
    }
}

impl<R: BufRead> Iterator for Array<R> {
    type Item = Result<Row, RowFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.element() {
            Ok(Some(row)) => return Some(row),
            Ok(None) => self.ended = true,
            Err(stop) => {
                self.ended = true;
                let cause = match stop {
                    Stop::Io(error) => RowCause::Read(error.to_string()),
                    other => RowCause::Broken(other.to_string()),
                };
                return Some(Err(RowFault::of_row(self.number.max(1), cause)));
            }
        }
        None
    }
}

/// Why the cutting cannot go on.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the file ends too early")]
    End,
    #[error("{0}")]
    Syntax(&'static str),
    #[error("there is no `{0}`")]
    Absent(String),
    #[error("a row has more than {PASSED_BYTES_MAX} bytes, as no table has: is this the right file?")]
    Endless,
}

/// A reader of JSON's outer structure: strings and brackets.
struct Bytes<R> {
    reader: R,
    /// What may still be read of this row, and of what stands between it and the next.
    left: u64,
}

impl<R: BufRead> Bytes<R> {
    fn peek(&mut self) -> Result<Option<u8>, Stop> {
        loop {
            match self.reader.fill_buf() {
                Ok(available) => return Ok(available.first().copied()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn next(&mut self) -> Result<Option<u8>, Stop> {
        let byte = self.peek()?;
        if byte.is_some() {
            self.left = self.left.checked_sub(1).ok_or(Stop::Endless)?;
            self.reader.consume(1);
        }
        Ok(byte)
    }

    /// The next byte that is not white space.
    fn next_visible(&mut self) -> Result<Option<u8>, Stop> {
        loop {
            match self.next()? {
                Some(b' ' | b'\t' | b'\r' | b'\n') => {}
                other => return Ok(other),
            }
        }
    }

    /// Reads the value that starts with `first`, into `out` if given; false if it was too long to keep.
    fn value(&mut self, first: u8, mut out: Option<&mut Vec<u8>>) -> Result<bool, Stop> {
        let mut kept = true;
        let mut keep = |byte| {
            if let Some(out) = out.as_deref_mut() {
                kept &= out.len() < ROW_BYTES_MAX;
                if kept {
                    out.push(byte);
                }
            }
        };
        let mut depth = 0_u64;
        let mut byte = first;
        loop {
            keep(byte);
            match byte {
                b'"' => self.string(&mut keep)?,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.checked_sub(1).ok_or(Stop::Syntax("a bracket closes nothing"))?,
                _ => {}
            }
            // A value ends with its bracket or quote, or before what separates it from the next.
            let bracketed = matches!(byte, b'"' | b'}' | b']');
            if depth == 0 && (bracketed || matches!(self.peek()?, None | Some(b',' | b']' | b'}'))) {
                return Ok(kept);
            }
            byte = self.next()?.ok_or(Stop::End)?;
        }
    }

    /// The rest of a string, with its closing quote.
    fn string(&mut self, keep: &mut impl FnMut(u8)) -> Result<(), Stop> {
        loop {
            let byte = self.next()?.ok_or(Stop::End)?;
            keep(byte);
            match byte {
                b'\\' => keep(self.next()?.ok_or(Stop::End)?),
                b'"' => return Ok(()),
                _ => {}
            }
        }
    }

    /// Steps to the member or element named `step`: what comes next is its value.
    fn enter(&mut self, step: &str) -> Result<(), Stop> {
        let absent = || Stop::Absent(excerpt(step));
        let is_object = match self.next_visible()? {
            Some(b'{') => true,
            Some(b'[') => false,
            _ => return Err(absent()),
        };
        let mut index = 0_usize;
        let mut key = Vec::new();
        loop {
            let mut first = self.next_visible()?.ok_or(Stop::End)?;
            if index > 0 && first == b',' {
                first = self.next_visible()?.ok_or(Stop::End)?;
            }
            if matches!(first, b'}' | b']') {
                return Err(absent());
            }
            let found = if is_object {
                key.clear();
                let whole = first == b'"' && self.value(first, Some(&mut key))?;
                if self.next_visible()? != Some(b':') {
                    return Err(Stop::Syntax("an object's member has no name"));
                }
                whole && serde_json::from_slice::<String>(&key).is_ok_and(|name| name == step)
            } else {
                false
            };
            if found {
                return Ok(());
            }
            let first = if is_object { self.next_visible()?.ok_or(Stop::End)? } else { first };
            self.value(first, None)?;
            index += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Column;
    use super::*;

    fn texts(rows: impl Iterator<Item = Result<Row, RowFault>>, path: &str) -> Vec<Result<Vec<String>, String>> {
        rows.map(|row| {
            row.map(|row| row.texts(&Column::named(path)).into_iter().map(str::to_owned).collect())
                .map_err(|fault| fault.to_string())
        })
        .collect()
    }

    #[test]
    fn lines_are_rows_and_bad_ones_are_named() {
        let input =
            b"{\"a\":{\"b\":[1,\"x\",2.5,null]}}\n\n{\"a\":}\n{\"a\":1,\"a\":2}\n7\n{\"a.b\":true}\n{\"a\":1e300}\n";
        let found = texts(Lines::new(&input[..]), "a.b");
        assert_eq!(found[0], Ok(vec!["1".to_owned(), "x".to_owned(), "2.5".to_owned()]));
        assert!(found[1].as_ref().is_err_and(|fault| fault.starts_with("row 3: not a valid JSON value")));
        assert!(found[2].as_ref().is_err_and(|fault| fault.contains("`a` stands twice")));
        assert!(found[3].as_ref().is_err_and(|fault| fault.starts_with("row 5")));
        assert_eq!(found[4], Ok(vec!["true".to_owned()]));
        assert!(found[5].as_ref().is_err_and(|fault| fault.contains("write it as text")));
        assert_eq!(found.len(), 6);
    }

    #[test]
    fn an_array_is_reached_by_pointer_and_a_bad_element_costs_itself() {
        let input =
            br#" {"skip":{"rows":[9]},"a/b":[0,{"rows":[ {"k":"]}\""} , {k:1}, {"k":[{"v":3},{"v":4}]} ],"x":1}]} "#;
        for capacity in 1..9 {
            let reader = std::io::BufReader::with_capacity(capacity, &input[..]);
            // RFC 6901 counts array elements from 0 and writes `/` as `~1`; here only names lead on.
            let array = Array::open(reader, "/a~1b");
            assert!(array.is_ok());
        }
        let input = br#"{"skip":{"rows":[9]},"in":{"rows":[ {"k":"]}\""} , {k:1}, {"k":[{"v":3},{"v":4}]} ],"x":1}}"#;
        for capacity in 1..9 {
            let reader = std::io::BufReader::with_capacity(capacity, &input[..]);
            let found = texts(Array::open(reader, "/in/rows").unwrap(), "k");
            assert_eq!(found[0], Ok(vec!["]}\"".to_owned()]));
            assert!(found[1].as_ref().is_err_and(|fault| fault.starts_with("row 2")));
            assert_eq!(found.len(), 3);
        }
        let found = texts(Array::open(&input[..], "/in/rows").unwrap(), "k.v");
        assert_eq!(found[2], Ok(vec!["3".to_owned(), "4".to_owned()]));
        let found = texts(Array::open(&input[..], "/in/rows").unwrap(), "k.2.v");
        assert_eq!(found[2], Ok(vec!["4".to_owned()]));
        for bad in ["/none", "/in/x", "in", "/in/rows/0"] {
            assert!(matches!(Array::open(&input[..], bad), Err(TableError::Pointer { .. })), "{bad}");
        }
    }

    #[test]
    fn a_broken_array_ends_with_a_fault_and_the_rows_before_stand() {
        let found: Vec<_> = Array::open(&b"[{\"a\":1}{\"a\":2}]"[..], "").unwrap().collect();
        assert!(found[0].is_ok());
        assert!(found[1].as_ref().is_err_and(RowFault::ends_file));
        assert_eq!(found.len(), 2);
        let found: Vec<_> = Array::open(&b"[{\"a\":1},{\"a\":"[..], "").unwrap().collect();
        assert!(found[1].as_ref().is_err_and(RowFault::ends_file));
    }

    #[test]
    fn rows_are_bounded() {
        let deep = format!("[{}{}]", "[".repeat(DEPTH_MAX + 1), "]".repeat(DEPTH_MAX + 1));
        let wide = format!("[[{}0]]", "0,".repeat(NODES_MAX));
        let long = format!("[\"{}\"]", "x".repeat(CELL_BYTES_MAX + 1));
        for input in [&deep, &wide, &format!("[{long}]")] {
            let found: Vec<_> = Array::open(input.as_bytes(), "").unwrap().collect();
            assert!(found[0].as_ref().is_err_and(|fault| matches!(fault.cause, RowCause::Json(_))));
        }
        let endless = Bytes { reader: &b"\"xxxxxxxx\""[..], left: 8 }.value(b'[', None);
        assert!(matches!(endless, Err(Stop::Endless)), "a row without an end is given up");
        let huge = format!("[[\"{}\"],[1]]", "x".repeat(ROW_BYTES_MAX));
        let found: Vec<_> = Array::open(huge.as_bytes(), "").unwrap().collect();
        assert!(found[0].as_ref().is_err_and(|fault| fault.cause == RowCause::RowTooLong));
        assert!(found[1].is_ok());
    }
}
