//! From what was typed to what rows are read by. Every refusal names line and key.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use entente_protocol::record::kind::{Kind, Slot};
use entente_protocol::value::Value;
use toml::Spanned;

use super::raw::{self, NumberOrColumn, OneOrMany};
use super::{
    FieldRule, Fill, LinkRule, Lookup, Mapping, MappingError, PhotoRule, Piece, Precision, RECORDS_MAX, RecordRule,
    Take, TextRule, WhenRule, convert, date,
};
use crate::ingest::table::{self, Column, Format, excerpt};

/// Where in the file a check stands.
struct Place<'t> {
    text: &'t str,
    span: Range<usize>,
    key: String,
}

impl<'t> Place<'t> {
    fn new<T>(text: &'t str, spanned: &Spanned<T>, key: String) -> Self {
        Self { text, span: spanned.span(), key }
    }

    fn wrong(&self, why: impl Into<String>) -> MappingError {
        let before = self.text.get(..self.span.start).unwrap_or_default();
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        MappingError::Key { line, key: excerpt(&self.key), why: why.into() }
    }
}

/// Checks a mapping; `text` serves to tell lines.
pub(super) fn check(text: &str, raw: raw::Mapping) -> Result<Mapping, MappingError> {
    let place = Place::new(text, &raw.name, "name".to_owned());
    let name = raw.name.into_inner();
    if name.trim().is_empty() || name.len() > 128 {
        return Err(place.wrong("a name of 1 to 128 bytes is needed: it is part of every record's identity"));
    }
    let source = source(text, raw.source)?;
    let keys = match raw.keys {
        None => None,
        Some(keys) if keys.columns.get_ref().is_empty() => {
            let place = Place::new(text, &keys.columns, "keys.columns".to_owned());
            return Err(place.wrong("name at least one column, or leave [keys] out"));
        }
        Some(keys) => Some(keys.columns.into_inner().into_iter().map(column).collect()),
    };
    let context = Context {
        text,
        lookups: &raw.lookup,
        defaults: &raw.default,
        faults: RefCell::default(),
        refused: RefCell::default(),
    };
    if raw.record.is_empty() {
        return Err(place.wrong("a mapping needs at least one [[record]]"));
    }
    let mut records: Vec<RecordRule> = Vec::new();
    for record in raw.record {
        let place = Place::new(text, &record, format!("record.{}", record.get_ref().name));
        if records.len() >= RECORDS_MAX {
            return Err(place.wrong(format!("more than {RECORDS_MAX} records of one row")));
        }
        let name = record.get_ref().name.clone();
        match context.keep(context.record(record.into_inner(), &place, &records)) {
            Some(rule) => records.push(rule),
            None => drop(context.refused.borrow_mut().insert(name)),
        }
    }
    let faults = context.faults.into_inner();
    if !faults.is_empty() {
        return Err(MappingError::all(faults));
    }
    for (slot, value) in &raw.default {
        if !records.iter().any(|record| record.kind.slot(slot).is_some()) {
            return Err(Place::new(text, value, format!("default.{slot}"))
                .wrong("no record here has this field: correct its name, or take it out"));
        }
    }
    Ok(Mapping { text: text.to_owned(), name, source, keys, floor: raw.floor.unwrap_or_default(), records })
}

fn column(raw: raw::Column) -> Column {
    match raw {
        raw::Column::Number(number) => Column::Number(number),
        raw::Column::Name(name) => Column::named(&name),
    }
}

fn source(text: &str, raw: raw::Source) -> Result<table::Source, MappingError> {
    let mut source = table::Source { header: raw.header.unwrap_or(true), sheet: raw.sheet, ..Default::default() };
    if let Some(name) = raw.format {
        let place = Place::new(text, &name, "source.format".to_owned());
        let known = Format::of_name(name.get_ref());
        source.format = Some(known.ok_or_else(|| place.wrong("one of csv, xlsx, jsonl, json, xml"))?);
    }
    if let Some(delimiter) = raw.delimiter {
        let place = Place::new(text, &delimiter, "source.delimiter".to_owned());
        source.delimiter = match delimiter.get_ref().as_bytes() {
            [byte] if !matches!(byte, b'"' | b'\n' | b'\r' | 0) => Some(*byte),
            _ => return Err(place.wrong("one character, such as \";\" or \"\\t\"")),
        };
    }
    source.columns = raw.columns;
    source.pointer = raw.pointer.unwrap_or_default();
    source.elements = raw.element.map(OneOrMany::into_vec).unwrap_or_default();
    Ok(source)
}

/// What every record is checked against.
struct Context<'t> {
    /// What is wrong so far: whoever wrote the mapping corrects all of it at once.
    faults: RefCell<Vec<MappingError>>,
    /// Names of records that are at fault.
    refused: RefCell<BTreeSet<String>>,
    text: &'t str,
    lookups: &'t BTreeMap<String, BTreeMap<String, String>>,
    defaults: &'t BTreeMap<String, Spanned<toml::Value>>,
}

impl Context<'_> {
    /// The value, or nothing where a fault was noted.
    fn keep<T>(&self, checked: Result<T, MappingError>) -> Option<T> {
        checked.map_err(|fault| self.faults.borrow_mut().push(fault)).ok()
    }

    fn record(&self, raw: raw::Record, place: &Place<'_>, before: &[RecordRule]) -> Result<RecordRule, MappingError> {
        let kind = Kind::from_name(&raw.kind).ok_or_else(|| {
            let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
            place.wrong(format!("`{}` is no kind; write one of {}", excerpt(&raw.kind), kinds.join(", ")))
        })?;
        if raw.name.is_empty() || before.iter().any(|record| *record.name == *raw.name) {
            return Err(place.wrong("every record needs a name of its own"));
        }
        let mut fields: BTreeMap<u8, FieldRule> = BTreeMap::new();
        // What was typed wrongly is not missing as well, nor is what a misspelt name was meant to be.
        let before_fields = self.faults.borrow().len();
        let mut typed: BTreeSet<u8> = BTreeSet::new();
        for (name, field) in raw.fields {
            let place = Place::new(self.text, &field, format!("{}.fields.{name}", place.key));
            let Some(slot) = self.keep(own_slot(kind, &name, &place)) else { continue };
            typed.insert(slot.number);
            if let Some(rule) = self.keep(self.field(slot, field.into_inner(), &place)) {
                fields.insert(slot.number, rule);
            }
        }
        let shared = self.defaults.iter().filter(|(name, _)| kind.slot(name).is_some());
        for (name, value) in raw.default.iter().chain(shared) {
            let place = Place::new(self.text, value, format!("{}.default.{name}", place.key));
            let Some(slot) = self.keep(own_slot(kind, name, &place)) else { continue };
            typed.insert(slot.number);
            let Some(value) = self.keep(constant(slot, value.get_ref(), &place)) else { continue };
            match fields.get_mut(&slot.number) {
                Some(rule) => rule.default = rule.default.take().or(Some(value)),
                None => {
                    fields.insert(slot.number, FieldRule { slot, from: Fill::Constant(value), default: None });
                }
            }
        }
        typed.extend(raw.link.keys().filter_map(|name| kind.slot(name)).map(|slot| slot.number));
        let links = self.links(kind, raw.link, place, before);
        let sound = self.faults.borrow().len() == before_fields;
        for slot in kind.slots().filter(|slot| sound && slot.required && !typed.contains(&slot.number)) {
            let what = format!("`{}` must be filled: give it under fields, default or link", slot.name);
            self.faults.borrow_mut().push(place.wrong(what));
        }
        let when = raw.when.map(|when| WhenRule {
            column: column(when.column),
            equals: when.equals.map(OneOrMany::into_vec).unwrap_or_default(),
            except: when.except.map(OneOrMany::into_vec).unwrap_or_default(),
        });
        Ok(RecordRule {
            name: Arc::from(raw.name),
            kind,
            key: raw.key.unwrap_or_default().into_iter().map(column).collect(),
            when,
            fields: fields.into_values().collect(),
            links,
            photos: raw.photos.and_then(|photos| self.keep(self.photos(photos, place))),
        })
    }

    fn links(
        &self,
        kind: Kind,
        raw: BTreeMap<String, Spanned<String>>,
        place: &Place<'_>,
        before: &[RecordRule],
    ) -> Vec<LinkRule> {
        let mut links = Vec::new();
        for (name, target) in raw {
            let place = Place::new(self.text, &target, format!("{}.link.{name}", place.key));
            links.extend(self.keep(self.link(kind, &name, target.get_ref(), &place, before)).flatten());
        }
        links.sort_by_key(|link| link.slot);
        links
    }

    /// A link; none where its target stands above and is itself at fault, which is said there.
    fn link(
        &self,
        kind: Kind,
        name: &str,
        target: &str,
        place: &Place<'_>,
        before: &[RecordRule],
    ) -> Result<Option<LinkRule>, MappingError> {
        let slot = own_slot(kind, name, place)?;
        if !slot.shape.refers() {
            return Err(place.wrong("this field does not refer to a record: fill it under fields"));
        }
        match before.iter().find(|record| *record.name == *target) {
            Some(record) => Ok(Some(LinkRule {
                slot: slot.number,
                slot_name: slot.name,
                required: slot.required,
                target: Arc::clone(&record.name),
            })),
            None if self.refused.borrow().contains(target) => Ok(None),
            None => Err(place.wrong("no record of this name stands above: put the whole first")),
        }
    }

    fn photos(&self, raw: Spanned<raw::Photos>, place: &Place<'_>) -> Result<PhotoRule, MappingError> {
        let place = Place::new(self.text, &raw, format!("{}.photos", place.key));
        match raw.into_inner() {
            raw::Photos { column: Some(name), separator, range: None, folder: None } => {
                Ok(PhotoRule::Names { column: column(name), separator })
            }
            raw::Photos { column: None, separator: None, range: Some(range), folder: None } => {
                let columns: Vec<Column> = range.into_vec().into_iter().map(column).collect();
                match columns.len() {
                    1 | 2 => Ok(PhotoRule::Range(columns)),
                    _ => Err(place.wrong("a range is one column, or the columns of its first and last name")),
                }
            }
            raw::Photos { column: None, separator: None, range: None, folder: Some(folder) } => {
                Ok(PhotoRule::Folder(column(folder)))
            }
            _ => Err(place.wrong("one of column (with separator), range or folder")),
        }
    }

    fn field(&self, slot: &'static Slot, raw: raw::Field, place: &Place<'_>) -> Result<FieldRule, MappingError> {
        let patterns = raw.parse.clone().map(OneOrMany::into_vec).unwrap_or_default();
        if let Some(bad) = patterns.iter().find(|pattern| !date::is_pattern(pattern)) {
            return Err(place.wrong(format!("`{}` is no date pattern: %Y, %m, %d, %b and %* are known", excerpt(bad))));
        }
        let default = match &raw.default {
            None => None,
            Some(text) => Some(constant(slot, &toml::Value::String(text.clone()), place)?),
        };
        let from = match raw {
            raw::Field { value: Some(value), column: None, template: None, .. } => {
                Fill::Constant(constant(slot, &value, place)?)
            }
            raw::Field { lat: Some(lat), lon: Some(lon), precision, radius_m, .. } => Fill::Point {
                lat: column(lat),
                lon: column(lon),
                precision: match precision {
                    Some(NumberOrColumn::Number(fixed @ 1..=7)) => Precision::Fixed(fixed),
                    Some(NumberOrColumn::Column { column: name }) => Precision::Column(column(name)),
                    _ => return Err(place.wrong("a point needs its precision: 1 (exact) to 7, or a column of it")),
                },
                radius_m: radius_m.map(column),
            },
            raw::Field { list: Some(list), first: Some(first), second: Some(second), .. } => {
                Fill::Pairs { list: column(list), inner: [column(first), column(second)] }
            }
            raw::Field { map: Some(map), .. } => {
                Fill::Map(map.into_iter().map(|(key, name)| (key, column(name))).collect())
            }
            raw::Field { listing: Some(columns), .. } => {
                Fill::Listing { columns: columns.map(column), parse: patterns }
            }
            raw => Fill::Text(self.text_rule(raw, patterns, place)?),
        };
        if !convert::can_fill(slot.shape, &from) {
            return Err(place.wrong(format!("the field holds {}, which cannot be read so", slot.shape.expected())));
        }
        Ok(FieldRule { slot, from, default })
    }

    fn text_rule(&self, raw: raw::Field, parse: Vec<String>, place: &Place<'_>) -> Result<TextRule, MappingError> {
        let take = match (raw.column, raw.template) {
            (Some(columns), None) => Take::Columns(columns.into_vec().into_iter().map(column).collect()),
            (None, Some(template)) => Take::Template(pieces(&template).ok_or_else(|| place.wrong("`{` without `}`"))?),
            _ => return Err(place.wrong("name one of column, value or template")),
        };
        let mut lookup = Vec::new();
        for name in raw.lookup.map(OneOrMany::into_vec).unwrap_or_default() {
            let own = self.lookups.get(&name).map(|table| {
                table.iter().map(|(from, to)| (from.trim().to_lowercase(), to.clone())).collect::<BTreeMap<_, _>>()
            });
            let shipped = match name.as_str() {
                "country" => Some(Lookup::Country),
                "calibre" => Some(Lookup::Calibre),
                _ => None,
            };
            match (own, shipped) {
                (Some(table), None) => lookup.push(Lookup::Own { name, table }),
                // A table of this name adds to the shipped one and wins over it; only what neither knows is its `*`.
                (Some(mut table), Some(shipped)) => {
                    let rest = table.remove_entry("*");
                    lookup.extend([Lookup::Own { name: name.clone(), table }, shipped]);
                    lookup.extend(rest.map(|rest| Lookup::Own { name, table: BTreeMap::from([rest]) }));
                }
                (None, Some(shipped)) => lookup.push(shipped),
                (None, None) => {
                    return Err(place.wrong(format!("there is no [lookup.{}] in this mapping", excerpt(&name))));
                }
            }
        }
        let skip_several = match raw.several.as_deref() {
            None => false,
            Some("skip") => true,
            Some(_) => return Err(place.wrong("several takes only \"skip\"")),
        };
        let decimal = match raw.decimal.as_deref() {
            None => None,
            Some(".") => Some('.'),
            Some(",") => Some(','),
            Some(_) => return Err(place.wrong("decimal takes `.` or `,`")),
        };
        Ok(TextRule {
            take,
            join: raw.join,
            separator: raw.separator.filter(|separator| !separator.is_empty()),
            lookup,
            skip_several,
            parse,
            tag: raw.tag,
            unit: raw.unit,
            estimate: raw.estimate.unwrap_or(false),
            currency: raw.currency,
            decimal,
            mark: raw.mark,
        })
    }
}

fn own_slot(kind: Kind, name: &str, place: &Place<'_>) -> Result<&'static Slot, MappingError> {
    let slot = kind.slot(name).ok_or_else(|| {
        let names: Vec<&str> = kind.slots().map(|slot| slot.name).collect();
        place.wrong(format!(
            "`{kind}` has no field of this name; name one of {}: `entente kinds {kind}` says what each holds",
            names.join(", ")
        ))
    })?;
    if slot.rung.is_some_and(|rung| rung.derived.is_some()) {
        return Err(place.wrong("this rung is computed from a finer field: fill that one"));
    }
    Ok(slot)
}

fn constant(slot: &Slot, value: &toml::Value, place: &Place<'_>) -> Result<Value, MappingError> {
    let converted = convert::constant(slot.shape, value);
    converted.ok_or_else(|| place.wrong(format!("the field holds {}", slot.shape.expected())))
}

/// Cuts `EV-{case}-{3}` into its pieces.
fn pieces(template: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, tail) = after.split_once('}')?;
        pieces.push(Piece::Text(before.to_owned()));
        pieces.push(match (name, name.parse::<usize>()) {
            ("#key", _) => Piece::RowKey,
            (_, Ok(number)) => Piece::Column(Column::Number(number)),
            (name, Err(_)) => Piece::Column(Column::named(name)),
        });
        rest = tail;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    Some(pieces)
}
