//! One row: cells by name or number, or a tree whose values are addressed by path.
//!
//! Readers of this folder build rows; the mapping asks them for text. A row never interprets a value: every leaf
//! is text as it stood in the file. Two allocations hold a flat row, however many cells it has.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::{RowCause, RowFault, TableError, excerpt};

/// The columns of a CSV file or sheet.
#[derive(Debug)]
pub struct Columns {
    names: Vec<String>,
    by_name: HashMap<String, usize>,
    count: usize,
}

impl Columns {
    /// From the row that names them. Names are trimmed; a column without a name is reached by number.
    pub fn named<'a>(cells: impl Iterator<Item = &'a str>) -> Result<Self, TableError> {
        let names: Vec<String> = cells.map(|cell| cell.trim().to_owned()).collect();
        let mut by_name = HashMap::with_capacity(names.len());
        for (index, name) in names.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            if let Some(first) = by_name.insert(name.clone(), index) {
                return Err(TableError::DuplicateColumn { name: excerpt(name), first: first + 1, second: index + 1 });
            }
        }
        Ok(Self { count: names.len(), names, by_name })
    }

    /// Columns that have only numbers.
    pub fn numbered(count: usize) -> Self {
        Self { names: Vec::new(), by_name: HashMap::new(), count }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The names in order, where the file gives them.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether a mapping that names `column` can be used with this table.
    pub fn has(&self, column: &Column) -> bool {
        self.index(column).is_some()
    }

    /// What messages call the column at `index` (from 0): its name, or its number from 1.
    pub fn label(&self, index: usize) -> String {
        self.names.get(index).filter(|name| !name.is_empty()).cloned().unwrap_or_else(|| (index + 1).to_string())
    }

    fn index(&self, column: &Column) -> Option<usize> {
        match column {
            Column::Number(number) => number.checked_sub(1).filter(|index| *index < self.count),
            Column::Name { whole, .. } => self.by_name.get(whole).copied(),
        }
    }
}

/// How a mapping names a column: a number from 1, a name, or a path into a tree (`country.iso2`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// From 1.
    Number(usize),
    /// A name; in trees also the steps of a path.
    Name {
        /// As written.
        whole: String,
        /// Split at the points.
        steps: Vec<String>,
    },
}

impl Column {
    /// A column named as in a mapping.
    pub fn named(name: &str) -> Self {
        Self::Name { whole: name.to_owned(), steps: name.split('.').map(str::to_owned).collect() }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name { whole, .. } => f.write_str(whole),
        }
    }
}

/// A value of a JSON or XML row. Leaves are text as it stood in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A leaf; JSON `null` is the empty text.
    Text(String),
    /// Values in order: a JSON array, or XML elements of one name.
    List(Vec<Node>),
    /// Named values in order of the file, each name once.
    Object(Vec<(String, Node)>),
}

#[derive(Debug, Clone)]
pub(super) enum Cells {
    Flat { columns: Arc<Columns>, text: String, ends: Vec<u32> },
    Tree(Node),
}

/// One row of a table.
#[derive(Debug, Clone)]
pub struct Row {
    pub(super) number: u64,
    pub(super) cells: Cells,
}

impl Row {
    /// A row of cells: `text` is all of them together, `ends` where each of them ends.
    pub(super) fn flat(number: u64, columns: Arc<Columns>, text: String, ends: Vec<u32>) -> Self {
        Self { number, cells: Cells::Flat { columns, text, ends } }
    }

    /// A row that is a tree.
    pub(super) fn tree(number: u64, node: Node) -> Self {
        Self { number, cells: Cells::Tree(node) }
    }

    /// Line, sheet row or record number, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The one value of a column, trimmed; `None` where it is absent or empty.
    pub fn text(&self, column: &Column) -> Result<Option<&str>, RowFault> {
        let mut found = None;
        let mut count = 0_usize;
        self.each(column, &mut |text| {
            found = found.or(Some(text));
            count += 1;
        });
        if count > 1 {
            return Err(RowFault::in_column(self.number, column, RowCause::Several(count)));
        }
        Ok(found)
    }

    /// Every value of a column, trimmed, empty ones left out.
    pub fn texts(&self, column: &Column) -> Vec<&str> {
        let mut all = Vec::new();
        self.each(column, &mut |text| all.push(text));
        all
    }

    /// The parts of a list column, so that the columns of one part stay together: for each element of the list
    /// at `list`, the value at `inner` within it (empty where absent).
    pub fn grouped<'a>(&'a self, list: &Column, inner: &[Column]) -> Vec<Vec<Option<&'a str>>> {
        let Cells::Tree(root) = &self.cells else { return Vec::new() };
        let mut nodes = Vec::new();
        walk(root, list, &mut |node| nodes.push(node));
        nodes
            .into_iter()
            .map(|node| {
                inner
                    .iter()
                    .map(|column| {
                        let mut first = None;
                        walk(node, column, &mut |leaf| leaves(leaf, &mut |text| first = first.or(Some(text))));
                        first
                    })
                    .collect()
            })
            .collect()
    }

    /// The bytes that two rows share exactly when their content is the same, in the order of the file.
    pub fn content(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        match &self.cells {
            Cells::Flat { text, ends, .. } => {
                let mut start = 0;
                for end in ends {
                    put(&mut bytes, b't', text.get(start..*end as usize).unwrap_or_default().as_bytes());
                    start = *end as usize;
                }
            }
            Cells::Tree(root) => put_node(&mut bytes, root),
        }
        bytes
    }

    pub(in crate::ingest) fn each<'a>(&'a self, column: &Column, visit: &mut dyn FnMut(&'a str)) {
        match &self.cells {
            Cells::Flat { columns, text, ends } => {
                let Some(index) = columns.index(column) else { return };
                let start = index.checked_sub(1).and_then(|before| ends.get(before)).map_or(0, |end| *end as usize);
                let cell = ends.get(index).and_then(|end| text.get(start..*end as usize)).unwrap_or_default().trim();
                if !cell.is_empty() {
                    visit(cell);
                }
            }
            Cells::Tree(root) => walk(root, column, &mut |node| leaves(node, visit)),
        }
    }
}

fn leaves<'a>(node: &'a Node, visit: &mut dyn FnMut(&'a str)) {
    match node {
        Node::Text(text) => {
            let text = text.trim();
            if !text.is_empty() {
                visit(text);
            }
        }
        Node::List(items) => items.iter().for_each(|item| leaves(item, visit)),
        Node::Object(_) => {}
    }
}

fn walk<'a>(root: &'a Node, column: &Column, visit: &mut dyn FnMut(&'a Node)) {
    match column {
        Column::Number(number) => {
            if let Node::List(items) = root
                && let Some(item) = number.checked_sub(1).and_then(|index| items.get(index))
            {
                visit(item);
            }
        }
        Column::Name { whole, steps } => match member(root, whole) {
            Some(node) => each_element(node, visit),
            None => descend(root, steps, visit),
        },
    }
}

/// A list stands for each of its elements; the depth of a tree is bounded when it is read.
fn each_element<'a>(node: &'a Node, visit: &mut dyn FnMut(&'a Node)) {
    match node {
        Node::List(items) => items.iter().for_each(|item| each_element(item, visit)),
        other => visit(other),
    }
}

fn descend<'a>(node: &'a Node, steps: &[String], visit: &mut dyn FnMut(&'a Node)) {
    let Some((step, rest)) = steps.split_first() else { return each_element(node, visit) };
    match node {
        Node::Text(_) => {}
        Node::Object(_) => {
            if let Some(inner) = member(node, step) {
                descend(inner, rest, visit);
            }
        }
        Node::List(items) => match step.parse::<usize>() {
            Ok(number) => {
                if let Some(item) = number.checked_sub(1).and_then(|index| items.get(index)) {
                    descend(item, rest, visit);
                }
            }
            Err(_) => items.iter().for_each(|item| descend(item, steps, visit)),
        },
    }
}

fn member<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    let Node::Object(members) = node else { return None };
    members.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

fn put(bytes: &mut Vec<u8>, tag: u8, part: &[u8]) {
    bytes.push(tag);
    bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
    bytes.extend_from_slice(part);
}

fn put_node(bytes: &mut Vec<u8>, node: &Node) {
    match node {
        Node::Text(text) => put(bytes, b't', text.as_bytes()),
        Node::List(items) => {
            put(bytes, b'l', &(items.len() as u64).to_be_bytes());
            items.iter().for_each(|item| put_node(bytes, item));
        }
        Node::Object(members) => {
            put(bytes, b'o', &(members.len() as u64).to_be_bytes());
            for (name, value) in members {
                put(bytes, b'n', name.as_bytes());
                put_node(bytes, value);
            }
        }
    }
}
