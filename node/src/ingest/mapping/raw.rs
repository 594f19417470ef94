//! A mapping as it was typed: TOML, unknown keys refused. [`super::check`] turns it into what rows are read by.

use std::collections::BTreeMap;

use entente_protocol::record::HandlingFloor;
use serde::Deserialize;
use toml::Spanned;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mapping {
    pub(super) name: Spanned<String>,
    #[serde(default, rename = "about")]
    _about: String,
    #[serde(default)]
    pub(super) source: Source,
    pub(super) keys: Option<Keys>,
    pub(super) floor: Option<HandlingFloor>,
    #[serde(default)]
    pub(super) lookup: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) default: BTreeMap<String, Spanned<toml::Value>>,
    pub(super) record: Vec<Spanned<Record>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    pub(super) format: Option<Spanned<String>>,
    pub(super) header: Option<bool>,
    pub(super) columns: Option<usize>,
    pub(super) delimiter: Option<Spanned<String>>,
    pub(super) sheet: Option<String>,
    pub(super) pointer: Option<String>,
    pub(super) element: Option<OneOrMany<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    pub(super) columns: Spanned<Vec<Column>>,
}

/// A column by name (or path) or by number from 1.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Column {
    Number(usize),
    Name(String),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    pub(super) fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) key: Option<Vec<Column>>,
    pub(super) when: Option<When>,
    #[serde(default)]
    pub(super) fields: BTreeMap<String, Spanned<Field>>,
    #[serde(default)]
    pub(super) default: BTreeMap<String, Spanned<toml::Value>>,
    #[serde(default)]
    pub(super) link: BTreeMap<String, Spanned<String>>,
    pub(super) photos: Option<Spanned<Photos>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct When {
    pub(super) column: Column,
    pub(super) equals: Option<OneOrMany<String>>,
    pub(super) except: Option<OneOrMany<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Photos {
    pub(super) column: Option<Column>,
    pub(super) separator: Option<String>,
    pub(super) range: Option<OneOrMany<Column>>,
    pub(super) folder: Option<Column>,
}

/// Where the value of one slot comes from.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Field {
    pub(super) column: Option<OneOrMany<Column>>,
    pub(super) value: Option<toml::Value>,
    pub(super) template: Option<String>,
    pub(super) default: Option<String>,
    pub(super) parse: Option<OneOrMany<String>>,
    pub(super) lookup: Option<OneOrMany<String>>,
    /// `skip`: a cell of several values fills nothing.
    pub(super) several: Option<String>,
    pub(super) join: Option<String>,
    pub(super) separator: Option<String>,
    /// First of each pair, for slots of pairs.
    pub(super) tag: Option<String>,
    /// The list whose elements are pairs, with the columns of both halves inside it.
    pub(super) list: Option<Column>,
    pub(super) first: Option<Column>,
    pub(super) second: Option<Column>,
    /// Points.
    pub(super) lat: Option<Column>,
    pub(super) lon: Option<Column>,
    pub(super) precision: Option<NumberOrColumn>,
    pub(super) radius_m: Option<Column>,
    /// Quantities.
    pub(super) unit: Option<String>,
    pub(super) estimate: Option<bool>,
    /// Sums of money.
    pub(super) currency: Option<String>,
    /// The decimal mark of numbers, where a file keeps to one.
    pub(super) decimal: Option<String>,
    /// Markings.
    pub(super) mark: Option<String>,
    /// Maps of text.
    pub(super) map: Option<BTreeMap<String, Column>>,
    /// List, reference number and date of a listing.
    pub(super) listing: Option<[Column; 3]>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum NumberOrColumn {
    Number(i64),
    Column { column: Column },
}
