//! What a slot may hold: shapes as data, and the check of a value against its shape.

use super::{header::HandlingFloor, ladder, tables::SERIAL_STATES};
use crate::{
    codec::{self, Bounds},
    id::{LineId, OrgId},
    limits, text,
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
    Month,
    Year,
    Prefix,
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
    Floor,
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
    Answers,
    Checks,
    Replies,
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
    value.as_text().is_some_and(text::is_line)
}

fn long(value: &Value) -> bool {
    value.as_text().is_some_and(text::is_prose)
}

fn uint(value: &Value) -> bool {
    value.as_int().is_some_and(|n| n >= 0)
}

fn list(value: &Value, of: impl Fn(&Value) -> bool) -> bool {
    value
        .as_array()
        .is_some_and(|items| !items.is_empty() && items.len() <= limits::LIST_ITEMS_MAX && items.iter().all(of))
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

fn month(value: &Value) -> bool {
    value.as_text().is_some_and(ladder::is_month)
}

fn year(value: &Value) -> bool {
    value.as_text().is_some_and(ladder::is_year)
}

/// A prefix ends in no digit: a whole serial nearly always does.
fn prefix(value: &Value) -> bool {
    name(value) && value.as_text().is_some_and(|t| !t.ends_with(|c: char| c.is_ascii_digit()))
}

fn boolean(value: &Value) -> bool {
    matches!(value, Value::Bool(_))
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
            && entries.len() <= limits::TEXT_MAP_MEMBERS_MAX
            && entries.iter().all(|(k, v)| k.len() <= limits::TEXT_MAP_KEY_BYTES_MAX && text::is_line(k) && long(v))
    })
}

fn quantity(value: &Value) -> bool {
    members(value, &[("n", true, uint), ("est", false, boolean), ("unit", true, name)])
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

/// A handling floor as it stands in a header, for conditions that somebody asks to be kept.
fn floor(value: &Value) -> bool {
    let bytes = codec::to_vec(value, Bounds::bytes(limits::RECORD_BODY_BYTES_MAX));
    let floor =
        bytes.and_then(|b| codec::from_slice::<HandlingFloor>(&b, Bounds::bytes(limits::RECORD_BODY_BYTES_MAX)));
    floor.is_ok_and(|floor| floor.is_well_formed())
}

fn answer(value: &Value) -> bool {
    members(
        value,
        &[
            ("item", true, reference),
            ("legs", false, |v| list(v, reference)),
            ("made", false, edtf),
            ("text", false, long),
            ("result", true, name),
            ("last-holder", false, reference),
        ],
    )
}

const SEEN: &[&str] = &["present", "absent", "substituted", "destroyed-proof", "not-shown"];

fn checked(value: &Value) -> bool {
    members(value, &[("s1", false, name), ("item", false, reference), ("seen", true, |v| one_of(v, SEEN))])
}

fn reply(value: &Value) -> bool {
    members(value, &[("sent", true, uint), ("asked", true, reference), ("answer", false, reference)])
}

impl Shape {
    /// Its name in SPEC, which the schema digest covers: a shape that takes something else gets another name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Name => "Name",
            Self::LongText => "LongText",
            Self::Code(_) => "Code",
            Self::Country => "Country",
            Self::Edtf => "Edtf",
            Self::Month => "Month",
            Self::Year => "Year",
            Self::Prefix => "Prefix",
            Self::Time => "Time",
            Self::Uint => "Uint",
            Self::Uints => "Uints",
            Self::Bool => "Bool",
            Self::Digest => "Digest",
            Self::Ref => "Ref",
            Self::Refs => "Refs",
            Self::RoleRefs => "RoleRefs",
            Self::Texts => "Texts",
            Self::Pairs => "Pairs",
            Self::TextMap => "TextMap",
            Self::Eval => "Eval",
            Self::Handling => "Handling",
            Self::Floor => "Floor",
            Self::Quantity => "Quantity",
            Self::Money => "Money",
            Self::Serial => "Serial",
            Self::Marks => "Marks",
            Self::Headstamp => "Headstamp",
            Self::Point => "Point",
            Self::Points => "Points",
            Self::Cell => "Cell",
            Self::Content => "Content",
            Self::Lines => "Lines",
            Self::Listings => "Listings",
            Self::Finding(_) => "Finding",
            Self::Contest => "Contest",
            Self::Answers => "Answers",
            Self::Checks => "Checks",
            Self::Replies => "Replies",
        }
    }

    /// The codes that it takes, where it lists them.
    pub const fn codes(self) -> &'static [&'static str] {
        match self {
            Self::Code(codes) | Self::Finding(codes) => codes,
            _ => &[],
        }
    }

    /// What the shape takes, for people.
    pub fn expected(self) -> String {
        match self {
            Self::Name => format!("text of 1 to {} bytes without control characters", limits::NAME_BYTES_MAX),
            Self::LongText => "text without control characters".to_owned(),
            Self::Code(codes) => format!("one of {}", codes.join(", ")),
            Self::Country => "a country code of two capital letters (ISO 3166-1, or withdrawn ISO 3166-3)".to_owned(),
            Self::Edtf => "a date in EDTF, such as 2024-03-15, 2024-03, 2024 or 2024~".to_owned(),
            Self::Month => "a month such as 2024-03 or 2024-03~".to_owned(),
            Self::Year => "a year such as 2024 or 2024?".to_owned(),
            Self::Prefix => "the beginning of a serial, up to its last digits and without them".to_owned(),
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
            Self::Uints => "whole numbers from 0".to_owned(),
            Self::Refs => "references to lines".to_owned(),
            Self::RoleRefs => "references to lines, each with its role".to_owned(),
            Self::Texts => "a list of texts".to_owned(),
            Self::Pairs => "a list of pairs of texts".to_owned(),
            Self::TextMap => "texts, each with a name".to_owned(),
            Self::Eval => {
                "the evaluation: source (A, B, C or X), information (1 to 4), or an Admiralty grade".to_owned()
            }
            Self::Handling => "how it is handled: action, purposes, marks, day of review, whom it may go to".to_owned(),
            Self::Floor => "a handling floor, as that of a record".to_owned(),
            Self::Money => "an amount in minor units with its ISO 4217 code".to_owned(),
            Self::Marks => "marks as they stand, each with its state and method".to_owned(),
            Self::Headstamp => "headstamps as they stand, each with its place from 1 to 12 o'clock".to_owned(),
            Self::Points => "a list of points, as a point".to_owned(),
            Self::Content => "the size of a file and what proves it".to_owned(),
            Self::Lines => "lines of a table, each of named texts".to_owned(),
            Self::Listings => "listings, each with its list, number and day".to_owned(),
            Self::Contest => "whether it is contested, and the reply".to_owned(),
            Self::Answers => "answers, each to one item".to_owned(),
            Self::Checks => {
                "checks, each of one item: present, absent, substituted, destroyed-proof or not-shown".to_owned()
            }
            Self::Replies => "replies, each to what was asked".to_owned(),
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
            Self::Month => month(value),
            Self::Year => year(value),
            Self::Prefix => prefix(value),
            Self::Time | Self::Uint => uint(value),
            Self::Uints => list(value, uint),
            Self::Bool => boolean(value),
            Self::Digest => digest(value),
            Self::Ref => reference(value),
            Self::Refs => list(value, reference),
            Self::RoleRefs => list(value, |v| tuple(v, &[name, reference])),
            Self::Texts => list(value, name),
            Self::Pairs => list(value, |v| tuple(v, &[name, name])),
            Self::TextMap => text_map(value),
            Self::Eval => eval(value),
            Self::Handling => handling(value),
            Self::Floor => floor(value),
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
                    && members(value, &[("finding", true, name), ("contested", true, boolean)])
            }
            Self::Contest => members(value, &[("reply", false, reference), ("contested", true, boolean)]),
            Self::Answers => list(value, answer),
            Self::Checks => list(value, checked),
            Self::Replies => list(value, reply),
        }
    }
}

impl Shape {
    /// Whether values may hold references, which are disclosed only where all their targets were.
    pub const fn refers(self) -> bool {
        matches!(
            self,
            Self::Ref | Self::Refs | Self::RoleRefs | Self::Contest | Self::Answers | Self::Checks | Self::Replies
        )
    }

    /// The lines that a value of this shape refers to.
    pub fn targets(self, value: &Value) -> Vec<Reference> {
        let items = value.as_array().unwrap_or_default();
        let members = |names: &[&str]| -> Vec<Reference> {
            let found = items.iter().flat_map(|item| names.iter().filter_map(|name| item.member(name)));
            found.filter_map(Reference::from_value).collect()
        };
        match self {
            Self::Ref => Reference::from_value(value).into_iter().collect(),
            Self::Refs => items.iter().filter_map(Reference::from_value).collect(),
            Self::RoleRefs => {
                items.iter().filter_map(|pair| pair.as_array()?.get(1)).filter_map(Reference::from_value).collect()
            }
            Self::Contest => value.member("reply").and_then(Reference::from_value).into_iter().collect(),
            Self::Answers => {
                let legs = items.iter().filter_map(|item| item.member("legs")?.as_array()).flatten();
                let mut all = members(&["item", "last-holder"]);
                all.extend(legs.filter_map(Reference::from_value));
                all
            }
            Self::Checks => members(&["item"]),
            Self::Replies => members(&["asked", "answer"]),
            _ => Vec::new(),
        }
    }
}
