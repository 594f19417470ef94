//! Reading TOML that people write, so that every error names line, key, what is wrong and what to do.
//!
//! `source` and `redline` call it. An unknown key refuses; nothing is guessed.

use entente_protocol::{limits, time::UnixMillis};
use std::fmt;
use toml::de::{DeTable, DeValue};

/// A text that is refused: the fault of whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceError {
    /// Line, from 1.
    pub line: usize,
    /// The key, with the tables that lead to it.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub fix: String,
    /// What else is wrong in the same text, further down.
    pub more: Box<[SourceError]>,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if !self.key.is_empty() {
            write!(f, ", key `{}`", self.key)?;
        }
        write!(f, ": {}; {}", self.what, self.fix)?;
        self.more.iter().try_for_each(|fault| write!(f, "\n{fault}"))
    }
}

impl std::error::Error for SourceError {}

/// What is wrong with a key that is not there.
const MISSING: &str = "missing";

/// The faults of one text, collected so that whoever wrote it corrects all of them at once.
#[derive(Default)]
pub(crate) struct Faults(Vec<SourceError>);

impl Faults {
    /// The value, or nothing where a fault was noted.
    pub(crate) fn take<T>(&mut self, read: Result<T, SourceError>) -> Option<T> {
        read.map_err(|fault| self.note(fault)).ok()
    }
    pub(crate) fn note(&mut self, mut fault: SourceError) {
        let more = std::mem::take(&mut fault.more);
        self.0.push(fault);
        self.0.extend(more.into_vec());
    }
    /// The value where nothing is wrong; else every fault in the order of the text, and after them what is not in it.
    pub(crate) fn or<T>(mut self, value: Option<T>) -> Result<T, SourceError> {
        self.0.sort_by_key(|fault| (fault.what == MISSING, fault.line));
        self.0.dedup();
        let mut faults = self.0.into_iter();
        match (faults.next(), value) {
            (None, Some(value)) => Ok(value),
            (Some(first), _) => Err(SourceError { more: faults.collect(), ..first }),
            (None, None) => Err(SourceError {
                line: 1,
                key: String::new(),
                what: "the text says too little".to_owned(),
                fix: "correct it".to_owned(),
                more: Box::default(),
            }),
        }
    }
}

/// The line in which a byte stands.
pub(crate) fn line_of(source: &str, at: usize) -> usize {
    source.bytes().take(at).filter(|b| *b == b'\n').count() + 1
}

/// Parses a whole text, bounded.
pub(crate) fn parse(source: &str) -> Result<DeTable<'_>, SourceError> {
    let refuse = |line, what: String, fix: &str| SourceError {
        line,
        key: String::new(),
        what,
        fix: fix.to_owned(),
        more: Box::default(),
    };
    if source.len() > limits::AGREEMENT_BYTES_MAX {
        let what = format!("the text has {} bytes", source.len());
        return Err(refuse(1, what, &format!("at most {} are read", limits::AGREEMENT_BYTES_MAX)));
    }
    DeTable::parse(source).map(toml::Spanned::into_inner).map_err(|fault| {
        let line = line_of(source, fault.span().map_or(0, |span| span.start));
        refuse(line, format!("this is not TOML: {}", fault.message()), "correct it")
    })
}

/// A table of the text, with the way to it.
#[derive(Clone)]
pub(crate) struct Table<'a> {
    source: &'a str,
    path: String,
    table: &'a DeTable<'a>,
    at: usize,
}

/// A value of the text, with the way to it.
#[derive(Clone)]
pub(crate) struct Entry<'a> {
    source: &'a str,
    path: String,
    value: &'a DeValue<'a>,
    at: usize,
}

impl<'a> Table<'a> {
    pub(crate) fn root(source: &'a str, table: &'a DeTable<'a>) -> Self {
        Self { source, path: String::new(), table, at: 0 }
    }

    fn path_to(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Refuses keys that are not among these.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), SourceError> {
        let mut faults = Faults::default();
        for key in self.table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            faults.note(SourceError {
                line: line_of(self.source, key.span().start),
                key: self.path_to(key.get_ref()),
                what: "unknown key".to_owned(),
                fix: format!("use one of {}", known.join(", ")),
                more: Box::default(),
            });
        }
        faults.or(Some(()))
    }

    /// The value of a key, if it is there.
    pub(crate) fn find(&self, key: &str) -> Option<Entry<'a>> {
        let (found, value) = self.table.iter().find(|(k, _)| k.get_ref() == key)?;
        Some(Entry { source: self.source, path: self.path_to(key), value: value.get_ref(), at: found.span().start })
    }

    /// The value of a key that must be there.
    pub(crate) fn need(&self, key: &str, fix: &str) -> Result<Entry<'a>, SourceError> {
        self.find(key).ok_or_else(|| SourceError {
            line: line_of(self.source, self.at),
            key: self.path_to(key),
            what: MISSING.to_owned(),
            fix: fix.to_owned(),
            more: Box::default(),
        })
    }

    /// Every key with its value, in the order of the text.
    pub(crate) fn entries(&self) -> Vec<(&'a str, Entry<'a>)> {
        let mut all: Vec<(&'a str, Entry<'a>)> =
            self.table.iter().filter_map(|(k, _)| Some((k.get_ref().as_ref(), self.find(k.get_ref())?))).collect();
        all.sort_by_key(|(_, entry)| entry.at);
        all
    }

    /// The tables of a list `[[key]]`, none if it is not there.
    pub(crate) fn tables(&self, key: &str) -> Result<Vec<Table<'a>>, SourceError> {
        let Some(entry) = self.find(key) else { return Ok(Vec::new()) };
        entry.list()?.into_iter().map(|item| item.table()).collect()
    }

    /// Where a dotted key below this table stands: the nearest that is there.
    pub(crate) fn line_below(&self, key: &str) -> usize {
        let (first, rest) = key.split_once('.').unwrap_or((key, ""));
        match self.find(first) {
            Some(entry) => match (entry.table(), rest.is_empty()) {
                (Ok(table), false) => table.line_below(rest),
                _ => line_of(self.source, entry.at),
            },
            None => line_of(self.source, self.at),
        }
    }

    /// The way to this table.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

impl<'a> Entry<'a> {
    /// An error about this value.
    pub(crate) fn refuse(&self, what: impl Into<String>, fix: impl Into<String>) -> SourceError {
        SourceError {
            line: line_of(self.source, self.at),
            key: self.path.clone(),
            what: what.into(),
            fix: fix.into(),
            more: Box::default(),
        }
    }

    fn expected(&self, form: &str) -> SourceError {
        self.refuse(format!("this is a {}", self.value.type_str()), format!("write {form}"))
    }

    pub(crate) fn text(&self) -> Result<&'a str, SourceError> {
        self.value.as_str().ok_or_else(|| self.expected("text in quotes"))
    }

    pub(crate) fn truth(&self) -> Result<bool, SourceError> {
        self.value.as_bool().ok_or_else(|| self.expected("true or false"))
    }

    /// A whole number within `least..=most`.
    pub(crate) fn number(&self, least: u64, most: u64) -> Result<u64, SourceError> {
        let form = format!("a whole number from {least} to {most}");
        let given = self.value.as_integer().ok_or_else(|| self.expected(&form))?;
        u64::from_str_radix(given.as_str(), given.radix())
            .ok()
            .filter(|n| (least..=most).contains(n))
            .ok_or_else(|| self.refuse(format!("`{given}` is out of range"), format!("write {form}")))
    }

    /// A number of days, hours or answers: from 1, bounded.
    pub(crate) fn count(&self) -> Result<u32, SourceError> {
        self.number(1, u64::from(crate::check::COUNT_MAX)).map(|n| u32::try_from(n).unwrap_or(u32::MAX))
    }

    /// A calendar day, as text or as a TOML date: its start.
    pub(crate) fn day(&self) -> Result<UnixMillis, SourceError> {
        let text = match self.value {
            DeValue::Datetime(date) => date.to_string(),
            _ => self.text()?.to_owned(),
        };
        UnixMillis::from_date(&text)
            .ok_or_else(|| self.refuse(format!("`{text}` is not a day"), "write it as 2026-01-31"))
    }

    /// Something that a person typed in a form with its own parser, such as an id.
    pub(crate) fn parsed<T: std::str::FromStr>(&self) -> Result<T, SourceError>
    where
        T::Err: fmt::Display,
    {
        self.text()?.trim().parse().map_err(|fault: T::Err| self.refuse(fault.to_string(), "correct it"))
    }

    pub(crate) fn list(&self) -> Result<Vec<Entry<'a>>, SourceError> {
        let items = self.value.as_array().ok_or_else(|| self.expected("a list in brackets"))?;
        Ok(items
            .iter()
            .enumerate()
            .map(|(n, item)| Entry {
                source: self.source,
                path: format!("{}[{}]", self.path, n + 1),
                value: item.get_ref(),
                at: item.span().start,
            })
            .collect())
    }

    /// A list of texts.
    pub(crate) fn texts(&self) -> Result<Vec<String>, SourceError> {
        self.list()?.iter().map(|item| item.text().map(str::to_owned)).collect()
    }

    pub(crate) fn table(&self) -> Result<Table<'a>, SourceError> {
        let table = self.value.as_table().ok_or_else(|| self.expected("a table"))?;
        Ok(Table { source: self.source, path: self.path.clone(), table, at: self.at })
    }
}
