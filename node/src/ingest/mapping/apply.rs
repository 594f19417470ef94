//! One row by its mapping: keys, records, links, photographs.
//!
//! The first thing that is wrong leaves the whole row out: half a row would be a false statement.

use serde::{Serialize, Serializer, ser::SerializeSeq};
use std::sync::Arc;

use entente_protocol::codec::{self, Bounds};
use entente_protocol::primitive::sha256;
use entente_protocol::value::Value;
use entente_protocol::{limits, record::Shape};

use super::{
    FieldRule, Fill, MappedRecord, MappedRow, Mapping, PhotoRule, Piece, Precision, RecordKey, RecordRule, RowKey,
    Take, TextRule, convert, date,
};
use crate::ingest::attach::PhotoRef;
use crate::ingest::table::{Column, Row, RowCause, RowFault, excerpt};

/// Photographs that one row may name.
const PHOTOS_MAX: usize = 1_024;

impl Mapping {
    /// What a row stands for.
    pub fn map(&self, row: &Row) -> Result<MappedRow, RowFault> {
        let key = self.row_key(row)?;
        let mut records: Vec<MappedRecord> = Vec::with_capacity(self.records.len());
        for rule in &self.records {
            if rule.applies(row) {
                let record = self.record(rule, row, key, &records)?;
                records.push(record);
            }
        }
        Ok(MappedRow { number: row.number(), key, records })
    }

    fn row_key(&self, row: &Row) -> Result<RowKey, RowFault> {
        let Some(columns) = &self.keys else {
            return Ok(RowKey(sha256(&[b"entente row content\0", self.name.as_bytes(), b"\0", &row.content()])));
        };
        let values = values(row, columns);
        if let (None, Some(column)) = (&values, columns.first()) {
            let cause = RowCause::Missing { record: "the row".to_owned(), slot: "key".to_owned() };
            return Err(RowFault::in_column(row.number(), column, cause));
        }
        let values = values.unwrap_or_default();
        Ok(RowKey(sha256(&[b"entente row key\0", self.name.as_bytes(), b"\0", &values])))
    }

    fn record(
        &self,
        rule: &RecordRule,
        row: &Row,
        row_key: RowKey,
        before: &[MappedRecord],
    ) -> Result<MappedRecord, RowFault> {
        let mut fields = Vec::with_capacity(rule.fields.len());
        for field in &rule.fields {
            match fill(field, row, row_key)?.or_else(|| field.default.clone()) {
                Some(value) => fields.push((field.slot.number, value)),
                None if field.slot.required => {
                    let cause = RowCause::Missing { record: rule.name.to_string(), slot: field.slot.name.to_owned() };
                    return Err(match column_of(&field.from) {
                        Some(column) => RowFault::in_column(row.number(), column, cause),
                        None => RowFault::of_row(row.number(), cause),
                    });
                }
                None => {}
            }
        }
        let mut links = Vec::with_capacity(rule.links.len());
        for link in &rule.links {
            if before.iter().any(|record| record.name == link.target) {
                links.push((link.slot, Arc::clone(&link.target)));
            } else if link.required {
                let cause = RowCause::Missing { record: rule.name.to_string(), slot: link.slot_name.to_owned() };
                return Err(RowFault::of_row(row.number(), cause));
            }
        }
        let photos = photos(rule, row)?;
        let number = fields.iter().find(|(slot, _)| *slot == 0).and_then(|(_, value)| value.as_text());
        let number = number.unwrap_or_default().to_owned();
        let own = if rule.key.is_empty() { None } else { values(row, &rule.key) };
        let parts: [&[u8]; 6] = match &own {
            Some(values) => {
                [b"entente record key\0", self.name.as_bytes(), b"\0", rule.name.as_bytes(), b"\0own\0", values]
            }
            None => {
                [b"entente record key\0", self.name.as_bytes(), b"\0", rule.name.as_bytes(), b"\0row\0", &row_key.0]
            }
        };
        let key = RecordKey(sha256(&parts));
        let mut record = MappedRecord {
            name: Arc::clone(&rule.name),
            kind: rule.kind,
            number,
            fields,
            links,
            photos,
            key,
            digest: [0; 32],
        };
        record.digest = digest(&record).ok_or_else(|| RowFault::of_row(row.number(), RowCause::RowTooLong))?;
        Ok(record)
    }
}

impl RecordRule {
    fn applies(&self, row: &Row) -> bool {
        let Some(when) = &self.when else { return true };
        let found = row.texts(&when.column);
        let among = |codes: &[String]| found.iter().any(|text| codes.iter().any(|code| code == text));
        !found.is_empty() && (when.equals.is_empty() || among(&when.equals)) && !among(&when.except)
    }
}

/// The values of columns, each with its length; `None` if all are empty.
fn values(row: &Row, columns: &[Column]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut any = false;
    for column in columns {
        let texts = row.texts(column);
        any |= !texts.is_empty();
        bytes.extend_from_slice(&(texts.len() as u64).to_be_bytes());
        for text in texts {
            bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    any.then_some(bytes)
}

/// What a record says as one list, which is digested but never built: numbers and values of its fields, `true`, slots
/// and targets of its links, `true`, its photographs.
struct Said<'a>(&'a MappedRecord);

impl Serialize for Said<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let MappedRecord { kind, fields, links, photos, .. } = self.0;
        let mut all = s.serialize_seq(Some(3 + 2 * (fields.len() + links.len()) + photos.len()))?;
        all.serialize_element(kind.name())?;
        for (slot, value) in fields {
            all.serialize_element(slot)?;
            all.serialize_element(value)?;
        }
        all.serialize_element(&true)?;
        for (slot, target) in links {
            all.serialize_element(slot)?;
            all.serialize_element(&**target)?;
        }
        all.serialize_element(&true)?;
        for photo in photos {
            all.serialize_element(&photo.to_string())?;
        }
        all.end()
    }
}

fn digest(record: &MappedRecord) -> Option<[u8; 32]> {
    let len = record.fields.iter().map(|(_, value)| 3 + value.encoded_bytes_max()).sum::<usize>() + 64;
    let bytes = codec::to_vec_of(len, &Said(record), Bounds::bytes(2 * limits::RECORD_BYTES_MAX)).ok()?;
    Some(sha256(&[&bytes]))
}

fn column_of(from: &Fill) -> Option<&Column> {
    match from {
        Fill::Text(TextRule { take: Take::Columns(columns), .. }) => columns.first(),
        Fill::Text(TextRule { take: Take::Template(pieces), .. }) => pieces.iter().find_map(|piece| match piece {
            Piece::Column(column) => Some(column),
            Piece::Text(_) | Piece::RowKey => None,
        }),
        Fill::Point { lat, .. } => Some(lat),
        Fill::Pairs { list, .. } => Some(list),
        Fill::Map(columns) => columns.values().next(),
        Fill::Listing { columns, .. } => columns.first(),
        Fill::Constant(_) => None,
    }
}

/// The value of one slot, or none where the row has nothing for it.
fn fill(field: &FieldRule, row: &Row, row_key: RowKey) -> Result<Option<Value>, RowFault> {
    let shape = field.slot.shape;
    let blame = |cause| match column_of(&field.from) {
        Some(column) => RowFault::in_column(row.number(), column, cause),
        None => RowFault::of_row(row.number(), cause),
    };
    match &field.from {
        Fill::Constant(value) => Ok(Some(value.clone())),
        Fill::Text(rule) => match &rule.take {
            Take::Columns(columns) => {
                let mut texts = Vec::with_capacity(columns.len());
                columns.iter().for_each(|column| row.each(column, &mut |text| texts.push(text)));
                convert::from_texts(shape, rule, &texts).map_err(blame)
            }
            Take::Template(pieces) => match template(pieces, row, row_key)? {
                Some(text) => convert::from_texts(shape, rule, &[text.as_str()]).map_err(blame),
                None => Ok(None),
            },
        },
        Fill::Point { lat, lon, precision, radius_m } => point(row, lat, lon, precision, radius_m.as_ref()),
        Fill::Pairs { list, inner } => {
            let mut items = Vec::new();
            for pair in row.grouped(list, inner) {
                let [first, Some(second)] = pair.as_slice() else { continue };
                convert::readable(second).map_err(blame)?;
                let line = |text| Value::Text(convert::one_line(shape, text).into_owned());
                items.push(Value::Array(vec![line(first.unwrap_or("unknown")), line(second)]));
            }
            some_list(shape, items).map_err(blame)
        }
        Fill::Map(columns) => {
            let mut members = Vec::with_capacity(columns.len());
            for (name, column) in columns {
                let texts = row.texts(column);
                if texts.is_empty() {
                    continue;
                }
                let text = texts.join("; ");
                convert::readable(&text).map_err(|cause| RowFault::in_column(row.number(), column, cause))?;
                members.push((name.clone(), Value::Text(text)));
            }
            if members.is_empty() {
                return Ok(None);
            }
            convert::fitting(shape, convert::text_keyed(members), String::new).map(Some).map_err(blame)
        }
        Fill::Listing { columns: [list, number, listed], parse } => {
            let (Some(list), Some(number), Some(on)) = (row.text(list)?, row.text(number)?, row.text(listed)?) else {
                return Ok(None);
            };
            let date = date::edtf(on, parse).ok_or_else(|| {
                let cause = RowCause::Unreadable { text: excerpt(on), expected: "a date".to_owned() };
                RowFault::in_column(row.number(), listed, cause)
            })?;
            let line = |text| Value::Text(convert::one_line(shape, text).into_owned());
            let item = Value::Array(vec![line(list), line(number), Value::Text(date)]);
            some_list(shape, vec![item]).map_err(blame)
        }
    }
}

fn some_list(shape: Shape, items: Vec<Value>) -> Result<Option<Value>, RowCause> {
    if items.is_empty() {
        return Ok(None);
    }
    convert::fitting(shape, Value::Array(items), String::new).map(Some)
}

/// A template's text; none if it names columns and every one of them is empty.
fn template(pieces: &[Piece], row: &Row, row_key: RowKey) -> Result<Option<String>, RowFault> {
    let mut out = String::new();
    let (mut named, mut filled) = (false, false);
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Column(column) => {
                named = true;
                if let Some(text) = row.text(column)? {
                    filled = true;
                    out.push_str(text);
                }
            }
            Piece::RowKey => row_key.0.iter().take(5).for_each(|byte| out.push_str(&format!("{byte:02x}"))),
        }
    }
    let trimmed = out.trim();
    Ok(if trimmed.is_empty() || (named && !filled) { None } else { Some(trimmed.to_owned()) })
}

fn point(
    row: &Row,
    lat: &Column,
    lon: &Column,
    precision: &Precision,
    radius_m: Option<&Column>,
) -> Result<Option<Value>, RowFault> {
    let (south_north, west_east) = match (row.text(lat)?, row.text(lon)?) {
        (None, None) => return Ok(None),
        (Some(south_north), Some(west_east)) => (south_north, west_east),
        (have, _) => {
            let empty = if have.is_none() { lat } else { lon };
            let cause = RowCause::Missing { record: "a point".to_owned(), slot: "lat and lon".to_owned() };
            return Err(RowFault::in_column(row.number(), empty, cause));
        }
    };
    let in_column = |column: &Column| {
        let name = column.to_string();
        move |cause| RowFault::in_column(row.number(), name, cause)
    };
    let south_north = convert::degrees(south_north, 900_000_000).map_err(in_column(lat))?;
    let west_east = convert::degrees(west_east, 1_800_000_000).map_err(in_column(lon))?;
    let number = |column: &Column, most: i64, expected: &str| -> Result<Option<i64>, RowFault> {
        let Some(text) = row.text(column)? else { return Ok(None) };
        let read = text.parse::<i64>().ok().filter(|number| (0..=most).contains(number));
        let cause = || RowCause::Unreadable { text: excerpt(text), expected: expected.to_owned() };
        read.map(Some).ok_or_else(|| RowFault::in_column(row.number(), column, cause()))
    };
    let prec = match precision {
        Precision::Fixed(fixed) => *fixed,
        // A point whose precision nobody stated is taken as a country: the least that it can say.
        Precision::Column(column) => number(column, 7, "a precision from 1 to 7")?.unwrap_or(6),
    };
    let geo = Value::Array(vec![Value::Int(west_east), Value::Int(south_north)]);
    let mut members = vec![("geo", geo), ("prec", Value::Int(prec))];
    if let Some(column) = radius_m
        && let Some(metres) = number(column, 40_000_000, "a radius in metres")?
    {
        members.push(("radius-m", Value::Int(metres)));
    }
    convert::fitting(Shape::Point, Value::map(members), || prec.to_string()).map(Some).map_err(in_column(lat))
}

fn photos(rule: &RecordRule, row: &Row) -> Result<Vec<PhotoRef>, RowFault> {
    let (column, refs) = match &rule.photos {
        None => return Ok(Vec::new()),
        Some(PhotoRule::Names { column, separator }) => {
            let mut names = Vec::new();
            for text in row.texts(column) {
                match separator {
                    Some(separator) => names.extend(text.split(separator.as_str())),
                    None => names.push(text),
                }
            }
            let names = names.into_iter().map(str::trim).filter(|name| !name.is_empty());
            (column, names.map(|name| PhotoRef::File(name.to_owned())).collect::<Vec<_>>())
        }
        Some(PhotoRule::Folder(column)) => {
            (column, row.text(column)?.into_iter().map(|name| PhotoRef::Folder(name.to_owned())).collect())
        }
        Some(PhotoRule::Range(columns)) => {
            let Some(column) = columns.first() else { return Ok(Vec::new()) };
            let texts = columns.iter().map(|column| row.text(column)).collect::<Result<Vec<_>, _>>()?;
            let range = match texts.as_slice() {
                [Some(first), Some(last)] => PhotoRef::range(first, last),
                [Some(one)] | [Some(one), None] => PhotoRef::range_in(one),
                [None] | [None, None] => return Ok(Vec::new()),
                _ => None,
            };
            let text = texts.iter().flatten().copied().collect::<Vec<_>>().join("-");
            let expected = "a range of numbered names, such as IMG_0012-IMG_0019".to_owned();
            let range = range.ok_or_else(|| {
                RowFault::in_column(row.number(), column, RowCause::Unreadable { text: excerpt(&text), expected })
            })?;
            (column, vec![range])
        }
    };
    if refs.len() > PHOTOS_MAX {
        return Err(RowFault::in_column(row.number(), column, RowCause::Several(refs.len())));
    }
    Ok(refs)
}
