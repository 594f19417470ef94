//! What a slot may hold: shapes as data, and the check of a value against its shape.

use super::{ladder, tables::SERIAL_STATES};
use crate::{
    id::{LineId, OrgId},
    limits,
    value::Value,
};

/// The form of a slot's value. CDDL for each stands in SPEC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "SPEC gives the CDDL of each under the same name")]
pub enum Shape {
    Name,
    LongText,
    Code(&'static [&'static str]),
    Country,
    Edtf,
    Time,
    Uint,
    Uints,
    Bool,
    Digest,
    Ref,
    Refs,
    RoleRefs,
    Texts,
    Pairs,
    TextMap,
    Eval,
    Handling,
    Quantity,
    Money,
    Serial,
    Marks,
    Headstamp,
    Point,
    Points,
    Cell,
    Content,
    Lines,
    Listings,
    Finding(&'static [&'static str]),
    Contest,
}

/// A value that does not fit its slot: the fault of whoever wrote the record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{slot}` does not fit: expected {expected}")]
pub struct ShapeError {
    /// The slot's name.
    pub slot: &'static str,
    /// What it takes.
    pub expected: String,
}

/// A reference from part to whole: originator and line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// Who recorded the target.
    pub originator: OrgId,
    /// The target's line.
    pub line: LineId,
}

impl Reference {
    /// As a slot's value.
    pub fn to_value(self) -> Value {
        Value::Array(vec![
            Value::Bytes(self.originator.as_bytes().to_vec()),
            Value::Bytes(self.line.as_bytes().to_vec()),
        ])
    }
    /// From a slot's value.
    pub fn from_value(value: &Value) -> Option<Self> {
        let [originator, line] = value.as_array()? else { return None };
        Some(Self {
            originator: OrgId::from_slice(originator.as_bytes()?)?,
            line: LineId::from_slice(line.as_bytes()?)?,
        })
    }
}

fn name(value: &Value) -> bool {
    value.as_text().is_some_and(|t| !t.is_empty() && t.len() <= limits::NAME_BYTES_MAX && !t.chars().any(forbidden))
}

/// Control characters and bidirectional overrides never stand in evidence text: they mislead readers and terminals.
pub(super) fn forbidden(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn long(value: &Value) -> bool {
    value.as_text().is_some_and(|t| !t.is_empty() && !t.chars().any(forbidden))
}

fn uint(value: &Value) -> bool {
    value.as_int().is_some_and(|n| n >= 0)
}

fn list(value: &Value, of: impl Fn(&Value) -> bool) -> bool {
    value.as_array().is_some_and(|items| !items.is_empty() && items.len() <= 1_024 && items.iter().all(of))
}

fn tuple(value: &Value, of: &[fn(&Value) -> bool]) -> bool {
    value
        .as_array()
        .is_some_and(|items| items.len() == of.len() && items.iter().zip(of).all(|(item, check)| check(item)))
}

fn country(value: &Value) -> bool {
    value.as_text().is_some_and(|t| t.len() == 2 && t.bytes().all(|b| b.is_ascii_uppercase()))
}

fn edtf(value: &Value) -> bool {
    value.as_text().is_some_and(|t| ladder::Edtf::parse(t).is_some())
}

fn digest(value: &Value) -> bool {
    value.as_bytes().is_some_and(|b| b.len() == 32)
}

fn reference(value: &Value) -> bool {
    Reference::from_value(value).is_some()
}

fn one_of(value: &Value, codes: &[&str]) -> bool {
    value.as_text().is_some_and(|t| codes.contains(&t))
}

fn longitude_latitude(value: &Value) -> bool {
    let Some([lon, lat]) = value.as_array() else { return false };
    let within = |v: &Value, most: i64| v.as_int().is_some_and(|n| (-most..=most).contains(&n));
    within(lon, 1_800_000_000) && within(lat, 900_000_000)
}

type Member = (&'static str, bool, fn(&Value) -> bool);

/// A map with exactly these members; the bool says whether a member must be there.
fn members(value: &Value, of: &[Member]) -> bool {
    let Some(entries) = value.as_map() else { return false };
    entries.iter().all(|(key, v)| of.iter().any(|(name, _, check)| name == key && check(v)))
        && of.iter().all(|(name, required, _)| !required || entries.iter().any(|(key, _)| key == name))
}

fn text_map(value: &Value) -> bool {
    value.as_map().is_some_and(|entries| {
        !entries.is_empty()
            && entries.len() <= 256
            && entries.iter().all(|(k, v)| !k.is_empty() && k.len() <= 128 && !k.chars().any(forbidden) && long(v))
    })
}

fn quantity(value: &Value) -> bool {
    members(value, &[("n", true, uint), ("est", false, |v| matches!(v, Value::Bool(_))), ("unit", true, name)])
}

fn serial(value: &Value) -> bool {
    members(
        value,
        &[
            ("s1", false, name),
            ("s2", false, name),
            ("s3", false, name),
            ("raw", false, name),
            ("norm", true, uint),
            ("state", true, |v| one_of(v, SERIAL_STATES)),
        ],
    )
}

const MARK_STATES: &[&str] = &["legible", "partial", "obliterated", "overstamped", "restored", "absent"];

fn mark(value: &Value) -> bool {
    members(
        value,
        &[
            ("pos", false, name),
            ("raw", true, name),
            ("conf", false, uint),
            ("mkind", true, name),
            ("state", true, |v| one_of(v, MARK_STATES)),
            ("method", false, name),
            ("script", false, name),
            ("obliteration", false, name),
        ],
    )
}

fn point(value: &Value) -> bool {
    members(
        value,
        &[
            ("geo", true, longitude_latitude),
            ("prec", true, |v| v.as_int().is_some_and(|n| (1..=7).contains(&n))),
            ("radius-m", false, uint),
        ],
    )
}

fn content(value: &Value) -> bool {
    tuple(
        value,
        &[
            |v| v.as_int().is_some_and(|n| n >= 0 && n.unsigned_abs() <= limits::ATTACHMENT_BYTES_MAX),
            digest,
            |v| v.as_int() == Some(i64::from(limits::CHUNK_BYTES)),
            digest,
        ],
    )
}

fn eval(value: &Value) -> bool {
    members(
        value,
        &[
            ("inf4", false, |v| v.as_int().is_some_and(|n| (1..=4).contains(&n))),
            ("src4", false, |v| one_of(v, &["A", "B", "C", "X"])),
            ("admiralty", false, |v| {
                v.as_text().is_some_and(
                    |t| matches!(t.as_bytes(), [s, i] if (b'A'..=b'F').contains(s) && (b'1'..=b'6').contains(i)),
                )
            }),
        ],
    )
}

fn handling(value: &Value) -> bool {
    let texts = |v: &Value| list(v, name);
    members(
        value,
        &[
            ("action", false, name),
            ("purpose", false, texts),
            ("marks-raw", false, texts),
            ("review-on", false, edtf),
            ("release-to", false, texts),
        ],
    )
}

impl Shape {
    /// What the shape takes, for people.
    pub fn expected(self) -> String {
        match self {
            Self::Name => format!("text of 1 to {} bytes without control characters", limits::NAME_BYTES_MAX),
            Self::LongText => "text without control characters".to_owned(),
            Self::Code(codes) => format!("one of {}", codes.join(", ")),
            Self::Country => "a country code of two capital letters (ISO 3166-1, or withdrawn ISO 3166-3)".to_owned(),
            Self::Edtf => "a date in EDTF, such as 2024-03-15, 2024-03, 2024 or 2024~".to_owned(),
            Self::Time => "a time in milliseconds since 1970 UTC".to_owned(),
            Self::Uint => "a whole number from 0".to_owned(),
            Self::Bool => "true or false".to_owned(),
            Self::Digest => "32 bytes".to_owned(),
            Self::Ref => "a reference to a line".to_owned(),
            Self::Quantity => "a number with its unit".to_owned(),
            Self::Serial => "a serial with its state".to_owned(),
            Self::Point => "longitude and latitude in 1e-7 degree with a precision from 1 to 7".to_owned(),
            Self::Cell => "the south-west corner of a cell of 0.1 degree".to_owned(),
            Self::Finding(codes) => format!("a finding ({}) and whether it is contested", codes.join(", ")),
            other => format!("the form that SPEC gives for {other:?}"),
        }
    }

    /// Whether a value has this shape.
    pub fn fits(self, value: &Value) -> bool {
        match self {
            Self::Name => name(value),
            Self::LongText => long(value),
            Self::Code(codes) => one_of(value, codes),
            Self::Country => country(value),
            Self::Edtf => edtf(value),
            Self::Time | Self::Uint => uint(value),
            Self::Uints => list(value, uint),
            Self::Bool => matches!(value, Value::Bool(_)),
            Self::Digest => digest(value),
            Self::Ref => reference(value),
            Self::Refs => list(value, reference),
            Self::RoleRefs => list(value, |v| tuple(v, &[name, reference])),
            Self::Texts => list(value, name),
            Self::Pairs => list(value, |v| tuple(v, &[name, name])),
            Self::TextMap => text_map(value),
            Self::Eval => eval(value),
            Self::Handling => handling(value),
            Self::Quantity => quantity(value),
            Self::Money => tuple(value, &[uint, name]),
            Self::Serial => serial(value),
            Self::Marks => list(value, mark),
            Self::Headstamp => list(value, |v| {
                members(
                    v,
                    &[("raw", true, name), ("clock", true, |c| c.as_int().is_some_and(|n| (1..=12).contains(&n)))],
                )
            }),
            Self::Point => point(value),
            Self::Points => list(value, point),
            Self::Cell => {
                longitude_latitude(value)
                    && value
                        .as_array()
                        .is_some_and(|a| a.iter().all(|v| v.as_int().is_some_and(|n| n % ladder::CELL == 0)))
            }
            Self::Content => content(value),
            Self::Lines => list(value, text_map),
            Self::Listings => list(value, |v| tuple(v, &[name, name, edtf])),
            Self::Finding(codes) => {
                value.member("finding").is_some_and(|v| one_of(v, codes))
                    && members(value, &[("finding", true, name), ("contested", true, |v| matches!(v, Value::Bool(_)))])
            }
            Self::Contest => {
                members(value, &[("reply", false, reference), ("contested", true, |v| matches!(v, Value::Bool(_)))])
            }
        }
    }
}

impl Shape {
    /// Whether values are references, which are disclosed only where their targets were.
    pub const fn refers(self) -> bool {
        matches!(self, Self::Ref | Self::Refs | Self::RoleRefs)
    }

    /// The lines that a value of this shape refers to.
    pub fn targets(self, value: &Value) -> Vec<Reference> {
        let items = value.as_array().unwrap_or_default();
        match self {
            Self::Ref => Reference::from_value(value).into_iter().collect(),
            Self::Refs => items.iter().filter_map(Reference::from_value).collect(),
            Self::RoleRefs => {
                items.iter().filter_map(|pair| pair.as_array()?.get(1)).filter_map(Reference::from_value).collect()
            }
            _ => Vec::new(),
        }
    }
}
