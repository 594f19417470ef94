//! Records as people and programs see them: views carry text and JSON, never domain types.

use super::{gate, index, keep, stored};
use crate::{
    keys::suspect,
    node::Node,
    receive::TakenBack,
    seal::keyring::Partition,
    store::{StoreError, layout::Table},
};
use entente_protocol::{
    id::{AgreementId, RecordId},
    record::{
        Header, SlotSet,
        kind::{Kind, Slot},
    },
    value::Value,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

/// Where a record of ours or a received one stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordView {
    /// Record id.
    pub id: String,
    /// Line id: the record with its amendments.
    pub line: String,
    /// Kind.
    pub kind: String,
    /// Evidence number, where it was shown.
    pub number: Option<String>,
    /// `own`, or the handle of the partner who recorded it.
    pub originator: String,
    /// For our own: draft, reviewed, verified, refuted or recalled. For received ones: received, withdrawn, recalled,
    /// expired (and held by law), erased.
    pub state: String,
    /// Since when the key that attested it may be in other hands, where nothing shows that the record is older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspect: Option<String>,
    /// Whether a person has released it (our own).
    pub released: bool,
    /// The record that amends it, if any is held.
    pub superseded_by: Option<String>,
    /// Agreement under which it was received.
    pub agreement: Option<String>,
    /// Handling floor.
    pub floor: Json,
    /// Fields by name.
    pub fields: Map<String, Json>,
}

/// A record that was found, ours or received.
pub enum Found {
    /// Ours.
    Own(Box<stored::OwnRow>),
    /// Received under an agreement.
    Received(AgreementId, Box<stored::ReceivedRow>),
}

/// A value as JSON: bytes as hexadecimal, references as `originator/line`.
pub fn json_of(value: &Value) -> Json {
    match value {
        Value::Int(int) => json!(int),
        Value::Bool(bool) => json!(bool),
        Value::Text(text) => json!(text),
        Value::Bytes(bytes) => json!(hex::encode(bytes)),
        Value::Array(items) => Json::Array(items.iter().map(json_of).collect()),
        Value::Map(entries) => Json::Object(entries.iter().map(|(k, v)| (k.clone(), json_of(v))).collect()),
    }
}

/// A value of a slot in words, for tables and summaries.
pub fn text_of(slot: &Slot, value: &Value) -> String {
    use entente_protocol::record::Shape;
    let degrees = |v: &Value| format!("{:.4}", v.as_int().unwrap_or_default() as f64 / 1e7);
    let pair = |v: &Value| match v.as_array() {
        Some([lon, lat]) => format!("{}, {}", degrees(lat), degrees(lon)),
        _ => String::new(),
    };
    match (slot.shape, value) {
        (Shape::Point, v) => v.member("geo").map(pair).unwrap_or_default(),
        (Shape::Cell, v) => format!("{} (0.1° cell)", pair(v)),
        (Shape::Serial, v) => {
            let part = |key: &str| v.member(key).and_then(Value::as_text).unwrap_or_default().to_owned();
            let shown = if part("raw").is_empty() { part("s1") } else { part("raw") };
            if shown.is_empty() { part("state") } else { format!("{shown} ({})", part("state")) }
        }
        (Shape::Quantity, v) => format!(
            "{} {}",
            v.member("n").and_then(Value::as_int).unwrap_or_default(),
            v.member("unit").and_then(Value::as_text).unwrap_or_default()
        ),
        (Shape::Content, v) => match v.as_array() {
            Some([size, ..]) => format!("{} bytes", size.as_int().unwrap_or_default()),
            _ => String::new(),
        },
        (Shape::Ref, v) => entente_protocol::record::Reference::from_value(v)
            .map(|r| format!("line {}", r.line.short()))
            .unwrap_or_default(),
        (Shape::Time, Value::Int(ms)) => {
            entente_protocol::time::UnixMillis(u64::try_from(*ms).unwrap_or_default()).to_string()
        }
        (_, v) => words_of(v),
    }
}

/// Any other value in words: what people read is no JSON.
fn words_of(value: &Value) -> String {
    match value {
        Value::Int(int) => int.to_string(),
        Value::Bool(is) => if *is { "yes" } else { "no" }.to_owned(),
        Value::Text(text) => text.clone(),
        Value::Bytes(bytes) => hex::encode(bytes),
        Value::Array(items) => items.iter().map(words_of).collect::<Vec<_>>().join(", "),
        Value::Map(entries) => {
            entries.iter().map(|(name, said)| format!("{name}: {}", words_of(said))).collect::<Vec<_>>().join(", ")
        }
    }
}

/// Finds a record among our own and in every agreement's partition.
pub fn find(node: &Node, id: RecordId) -> Result<Option<Found>, keep::KeepError> {
    if let Some(row) = keep::find_own(node, id)? {
        return Ok(Some(Found::Own(Box::new(row))));
    }
    for agreement in node.partitions() {
        if let Some(row) = received(node, agreement, id)? {
            return Ok(Some(Found::Received(agreement, Box::new(row))));
        }
    }
    Ok(None)
}

/// A record received under one agreement.
pub fn received(
    node: &Node,
    agreement: AgreementId,
    id: RecordId,
) -> Result<Option<stored::ReceivedRow>, keep::KeepError> {
    let place = node.holdings.first(Partition::Agreement(agreement), index::ID, id.as_bytes())?;
    match place {
        Some(place) => received_at(node, agreement, place),
        None => Ok(None),
    }
}

/// The record at a place of an agreement's list; none beyond the last.
pub fn received_at(
    node: &Node,
    agreement: AgreementId,
    place: u64,
) -> Result<Option<stored::ReceivedRow>, keep::KeepError> {
    let row = node.holdings.item(Partition::Agreement(agreement), Table::Received, b"", place)?;
    row.map(|row| Ok(stored::decode("received record", &row)?)).transpose()
}

/// The newest record of a line, if it is not this one.
fn newer(node: &Node, found: &Found, header: &Header, id: RecordId) -> Result<Option<String>, keep::KeepError> {
    let line = index::line(header.originator, header.line);
    let partition = match found {
        Found::Own(_) => Partition::Own,
        Found::Received(agreement, _) => Partition::Agreement(*agreement),
    };
    // Most lines have one record, which is this one.
    if node.holdings.find(partition, index::LINE, &line, Some(0), 1)?.is_empty() {
        return Ok(None);
    }
    let newest = match found {
        Found::Own(_) => keep::newest(node, header.line)?,
        Found::Received(agreement, _) => {
            match node.holdings.newest(Partition::Agreement(*agreement), index::LINE, &line)? {
                Some(place) => received_at(node, *agreement, place)?.and_then(|row| row.id()),
                None => None,
            }
        }
    };
    Ok(newest.filter(|newest| *newest != id).map(|newest| newest.to_string()))
}

fn fields<'a>(kind: Kind, values: impl Iterator<Item = (u8, Value)> + 'a) -> Map<String, Json> {
    values.filter_map(|(slot, value)| Some((kind.slot_number(slot)?.name.to_owned(), json_of(&value)))).collect()
}

fn floor_of(header: &Header) -> Json {
    let floor = &header.floor;
    let mut out = Map::new();
    out.insert("orcon".to_owned(), json!(floor.orcon));
    if let Some(tlp) = floor.tlp {
        out.insert("tlp".to_owned(), json!(tlp.name()));
    }
    if let Some(class) = &floor.class {
        out.insert("class".to_owned(), json!(class));
    }
    if !floor.eu_hc.is_empty() {
        out.insert("eu-hc".to_owned(), json!(floor.eu_hc));
    }
    if let Some(time) = floor.not_before {
        out.insert("not-before".to_owned(), json!(time.to_string()));
    }
    if let Some(date) = &floor.destroy_on {
        out.insert("destroy-on".to_owned(), json!(date));
    }
    Json::Object(out)
}

/// The view of a found record.
pub fn view(node: &Node, id: RecordId, found: &Found) -> Result<RecordView, keep::KeepError> {
    match found {
        Found::Own(row) => {
            let body = row.header()?;
            let header = body.header();
            let gate = gate::state(node, id)?;
            let values: Vec<(u8, Value)> = row
                .values
                .iter()
                .map(|(slot, v)| Ok((*slot, stored::value(v)?)))
                .collect::<Result<_, keep::KeepError>>()?;
            Ok(RecordView {
                id: id.to_string(),
                line: header.line.to_string(),
                kind: header.kind.to_string(),
                number: values.iter().find(|(s, _)| *s == 0).and_then(|(_, v)| v.as_text().map(str::to_owned)),
                originator: "own".to_owned(),
                state: if gate.recalled.is_some() { "recalled" } else { gate.review.name() }.to_owned(),
                suspect: suspect::own(node, row.batch)?.map(|since| since.to_string()),
                released: gate.released,
                superseded_by: newer(node, found, header, id)?,
                agreement: None,
                floor: floor_of(header),
                fields: fields(header.kind, values.into_iter()),
            })
        }
        Found::Received(agreement, row) => {
            let verified = row.verified().map_err(|_| StoreError::Broken { at: row.number })?;
            let header = verified.header();
            let withdrawn = crate::receive::withdrawn(node, *agreement, id)?;
            let state = match withdrawn.map(|row| row.by) {
                None => "received",
                // What it said is deleted, or was to be.
                Some(_) if verified.slots().is_empty() => "erased",
                Some(None) => "withdrawn",
                Some(Some(TakenBack::Recalled(_))) => "recalled",
                Some(Some(TakenBack::Expired)) => "expired",
            };
            Ok(RecordView {
                id: id.to_string(),
                line: header.line.to_string(),
                kind: header.kind.to_string(),
                number: verified.value(0).and_then(|v| v.as_text().map(str::to_owned)),
                originator: node.handle_of(header.originator),
                state: state.to_owned(),
                suspect: suspect::received(node, *agreement, row)?.map(|since| since.to_string()),
                released: false,
                superseded_by: newer(node, found, header, id)?,
                agreement: Some(agreement.to_string()),
                floor: floor_of(header),
                fields: fields(header.kind, verified.slots().iter().map(|s| (s.opening.slot, s.value.clone()))),
            })
        }
    }
}

/// Which slots of a found record hold something.
pub fn present(found: &Found) -> SlotSet {
    match found {
        Found::Own(row) => row.values.iter().map(|(slot, _)| *slot).collect(),
        Found::Received(_, row) => row.openings.iter().map(|(slot, _, _)| *slot).collect(),
    }
}
