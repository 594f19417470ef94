//! From what was typed to what rows are read by. Every refusal names line and key.

use std::collections::BTreeMap;
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
    let context = Context { text, lookups: &raw.lookup, defaults: &raw.default };
    let mut records: Vec<RecordRule> = Vec::new();
    for record in raw.record {
        let place = Place::new(text, &record, format!("record.{}", record.get_ref().name));
        if records.len() >= RECORDS_MAX {
            return Err(place.wrong(format!("more than {RECORDS_MAX} records of one row")));
        }
        let rule = context.record(record.into_inner(), &place, &records)?;
        records.push(rule);
    }
    if records.is_empty() {
        return Err(place.wrong("a mapping needs at least one [[record]]"));
    }
    for (slot, value) in &raw.default {
        if !records.iter().any(|record| record.kind.slot(slot).is_some()) {
            return Err(Place::new(text, value, format!("default.{slot}")).wrong("no record here has this slot"));
        }
    }
    Ok(Mapping { name, source, keys, floor: raw.floor.unwrap_or_default(), records })
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
    text: &'t str,
    lookups: &'t BTreeMap<String, BTreeMap<String, String>>,
    defaults: &'t BTreeMap<String, Spanned<toml::Value>>,
}

impl Context<'_> {
    fn record(&self, raw: raw::Record, place: &Place<'_>, before: &[RecordRule]) -> Result<RecordRule, MappingError> {
        let kind = Kind::from_name(&raw.kind).ok_or_else(|| {
            let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
            place.wrong(format!("`{}` is no kind; kinds are {}", excerpt(&raw.kind), kinds.join(", ")))
        })?;
        if raw.name.is_empty() || before.iter().any(|record| *record.name == *raw.name) {
            return Err(place.wrong("every record needs a name of its own"));
        }
        let mut fields: BTreeMap<u8, FieldRule> = BTreeMap::new();
        for (name, field) in raw.fields {
            let place = Place::new(self.text, &field, format!("{}.fields.{name}", place.key));
            let slot = own_slot(kind, &name, &place)?;
            fields.insert(slot.number, self.field(slot, field.into_inner(), &place)?);
        }
        let shared = self.defaults.iter().filter(|(name, _)| kind.slot(name).is_some());
        for (name, value) in raw.default.iter().chain(shared) {
            let place = Place::new(self.text, value, format!("{}.default.{name}", place.key));
            let slot = own_slot(kind, name, &place)?;
            let value = constant(slot, value.get_ref(), &place)?;
            match fields.get_mut(&slot.number) {
                Some(rule) => rule.default = rule.default.take().or(Some(value)),
                None => {
                    fields.insert(slot.number, FieldRule { slot, from: Fill::Constant(value), default: None });
                }
            }
        }
        let links = self.links(kind, raw.link, place, before)?;
        // What `import` itself fills in for the files of a row is not asked of the mapping.
        let missing = kind.slots().find(|slot| {
            slot.required && !fields.contains_key(&slot.number) && !links.iter().any(|link| link.slot == slot.number)
        });
        if let Some(slot) = missing {
            return Err(place.wrong(format!("`{}` must be filled: give it under fields, default or link", slot.name)));
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
            photos: raw.photos.map(|photos| self.photos(photos, place)).transpose()?,
        })
    }

    fn links(
        &self,
        kind: Kind,
        raw: BTreeMap<String, Spanned<String>>,
        place: &Place<'_>,
        before: &[RecordRule],
    ) -> Result<Vec<LinkRule>, MappingError> {
        let mut links = Vec::new();
        for (name, target) in raw {
            let place = Place::new(self.text, &target, format!("{}.link.{name}", place.key));
            let slot = own_slot(kind, &name, &place)?;
            if !slot.shape.refers() {
                return Err(place.wrong("this slot does not refer to a record"));
            }
            let record = before.iter().find(|record| *record.name == **target.get_ref());
            let record =
                record.ok_or_else(|| place.wrong("no record of this name stands above: put the whole first"))?;
            links.push(LinkRule {
                slot: slot.number,
                slot_name: slot.name,
                required: slot.required,
                target: Arc::clone(&record.name),
            });
        }
        links.sort_by_key(|link| link.slot);
        Ok(links)
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
            return Err(place.wrong(format!("the slot holds {}, which cannot be read so", slot.shape.expected())));
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
            lookup.push(match (name.as_str(), self.lookups.get(&name)) {
                (_, Some(table)) => {
                    let table = table.iter().map(|(from, to)| (from.trim().to_lowercase(), to.clone())).collect();
                    Lookup::Own { name, table }
                }
                ("country", None) => Lookup::Country,
                ("calibre", None) => Lookup::Calibre,
                _ => return Err(place.wrong(format!("there is no [lookup.{}] in this mapping", excerpt(&name)))),
            });
        }
        let skip_several = match raw.several.as_deref() {
            None => false,
            Some("skip") => true,
            Some(_) => return Err(place.wrong("several takes only \"skip\"")),
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
            mark: raw.mark,
        })
    }
}

fn own_slot(kind: Kind, name: &str, place: &Place<'_>) -> Result<&'static Slot, MappingError> {
    let slot = kind.slot(name).ok_or_else(|| {
        let names: Vec<&str> = kind.slots().map(|slot| slot.name).collect();
        place.wrong(format!("`{kind}` has no slot of this name; it has {}", names.join(", ")))
    })?;
    if slot.rung.is_some_and(|rung| rung.derived.is_some()) {
        return Err(place.wrong("this rung is computed from a finer slot: fill that one"));
    }
    Ok(slot)
}

fn constant(slot: &Slot, value: &toml::Value, place: &Place<'_>) -> Result<Value, MappingError> {
    let converted = convert::constant(slot.shape, value);
    converted.ok_or_else(|| place.wrong(format!("the slot holds {}", slot.shape.expected())))
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
