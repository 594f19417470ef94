//! The value of a slot: the part of CBOR that records use, as a tree.
//!
//! No floats, no null, no tags. Maps have text keys and are kept in canonical order, so that equal
//! values have equal bytes.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};
use std::{cmp::Ordering, fmt};

/// A value that a slot may hold.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// An integer; times are milliseconds, coordinates 1e-7 degree.
    Int(i64),
    /// True or false.
    Bool(bool),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list.
    Array(Vec<Value>),
    /// A map in canonical key order. Build it with [`Value::map`].
    Map(Vec<(String, Value)>),
}

/// Canonical order of text keys: shorter first, then bytewise (RFC 8949, 4.2.1, for text).
pub(crate) fn key_order(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.as_bytes().cmp(b.as_bytes()))
}

impl Value {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
    /// A map, sorted into canonical order; of repeated keys the last stays.
    pub fn map(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        let mut sorted: Vec<(String, Value)> = Vec::new();
        for (key, value) in entries {
            sorted.retain(|(k, _)| k != key);
            sorted.push((key.to_owned(), value));
        }
        sorted.sort_by(|a, b| key_order(&a.0, &b.0));
        Self::Map(sorted)
    }
    /// A map whose keys come from outside, sorted into canonical order; of repeated keys the last stays.
    pub fn text_map(entries: impl IntoIterator<Item = (String, Value)>) -> Self {
        let unique: std::collections::BTreeMap<String, Value> = entries.into_iter().collect();
        let mut sorted: Vec<(String, Value)> = unique.into_iter().collect();
        sorted.sort_by(|a, b| key_order(&a.0, &b.0));
        Self::Map(sorted)
    }
    /// Bytes that its encoding takes at most.
    pub fn encoded_bytes_max(&self) -> usize {
        // A head has at most nine bytes; of shorter content it has fewer.
        let head = |len: usize| {
            if len < 24 {
                1
            } else if len < 256 {
                2
            } else {
                9
            }
        };
        match self {
            Self::Int(_) => 9,
            Self::Bool(_) => 1,
            Self::Text(text) => head(text.len()) + text.len(),
            Self::Bytes(bytes) => head(bytes.len()) + bytes.len(),
            Self::Array(items) => head(items.len()) + items.iter().map(Self::encoded_bytes_max).sum::<usize>(),
            Self::Map(entries) => {
                let members =
                    entries.iter().map(|(key, value)| head(key.len()) + key.len() + value.encoded_bytes_max());
                head(entries.len()) + members.sum::<usize>()
            }
        }
    }
    /// The text, if it is text.
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
    /// The integer, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        if let Self::Int(int) = self { Some(*int) } else { None }
    }
    /// The bytes, if it is bytes.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }
    /// The elements, if it is a list.
    pub fn as_array(&self) -> Option<&[Value]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }
    /// The entries, if it is a map.
    pub fn as_map(&self) -> Option<&[(String, Value)]> {
        if let Self::Map(entries) = self { Some(entries) } else { None }
    }
    /// A member of a map.
    pub fn member(&self, key: &str) -> Option<&Value> {
        self.as_map()?.iter().find(|(k, _)| k == key).map(|(_, value)| value)
    }
}

impl fmt::Debug for Value {
    /// Evidence does not belong in logs: the form only, never the content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(_) => f.write_str("int"),
            Self::Bool(_) => f.write_str("bool"),
            Self::Text(t) => write!(f, "text[{}]", t.len()),
            Self::Bytes(b) => write!(f, "bytes[{}]", b.len()),
            Self::Array(items) => f.debug_list().entries(items).finish(),
            Self::Map(entries) => write!(f, "map[{}]", entries.len()),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(int) => s.serialize_i64(*int),
            Self::Bool(bool) => s.serialize_bool(*bool),
            Self::Text(text) => s.serialize_str(text),
            Self::Bytes(bytes) => s.serialize_bytes(bytes),
            Self::Array(items) => items.serialize(s),
            Self::Map(entries) => {
                let mut map = s.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

struct ValueVisitor;

impl<'de> de::Visitor<'de> for ValueVisitor {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer, bool, text, bytes, array, or map with text keys")
    }
    fn visit_i64<E: de::Error>(self, v: i64) -> Result<Value, E> {
        Ok(Value::Int(v))
    }
    fn visit_u64<E: de::Error>(self, v: u64) -> Result<Value, E> {
        i64::try_from(v).map(Value::Int).map_err(|_| E::custom("an integer beyond 63 bits"))
    }
    fn visit_bool<E: de::Error>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }
    fn visit_str<E: de::Error>(self, v: &str) -> Result<Value, E> {
        Ok(Value::Text(v.to_owned()))
    }
    fn visit_string<E: de::Error>(self, v: String) -> Result<Value, E> {
        Ok(Value::Text(v))
    }
    fn visit_bytes<E: de::Error>(self, v: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(v.to_vec()))
    }
    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }
    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Map(entries))
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(ValueVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Bounds, from_slice, to_vec};

    #[test]
    fn values_round_trip_and_maps_are_sorted() {
        let value = Value::map([
            ("state", Value::text("ok")),
            ("n", Value::Int(-7)),
            ("list", Value::Array(vec![Value::Bool(true), Value::Bytes(vec![1, 2])])),
        ]);
        let bytes = to_vec(&value, Bounds::bytes(256)).unwrap();
        assert_eq!(from_slice::<Value>(&bytes, Bounds::bytes(256)).unwrap(), value);
        assert_eq!(format!("{value:?}"), "map[3]");
    }
}
