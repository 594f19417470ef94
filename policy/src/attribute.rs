//! What conditions and red lines may read: typed attributes of a record, made from the kind table.
//!
//! `compile` resolves names here and the decider loads only what its policies read. The Cedar schema
//! is printed from this table and stands beside the crate as `schema.cedarschema`; a test compares
//! the two. Free text, references, places and files are not readable.

use cedar_policy::{EntityId, EntityTypeName, EntityUid, RestrictedExpression, Schema};
use entente_protocol::{
    id::OrgId,
    record::{
        Header, Shape,
        kind::{Kind, Slot},
        ladder::Edtf,
    },
    value::Value,
};
use std::{collections::BTreeMap, fmt::Write, str::FromStr, sync::LazyLock};

/// The Cedar schema that agreements and red lines are validated against, strictly.
pub const SCHEMA: &str = include_str!("../schema.cedarschema");

/// Where an attribute comes from and how it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Originator,
    Orcon,
    Tlp,
    Class,
    /// Europol's handling codes of the floor, none among them: whoever states no code states that.
    EuHc,
    Slot(u8, Reading),
}

/// How a slot's value becomes an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    Text,
    Long,
    Bool,
    Texts,
    Longs,
    /// The finding, without whether it is contested.
    Finding,
    /// First possible day of an EDTF date, as the number `YYYYMMDD`.
    FirstDay,
    /// Last possible day of an EDTF date, as the number `YYYYMMDD`.
    LastDay,
    /// A text that the value has under a name.
    TextOf(&'static str),
    /// A number that the value has under a name.
    LongOf(&'static str),
}

/// One readable attribute of a kind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Attribute {
    pub(crate) name: String,
    pub(crate) origin: Origin,
}

/// The value of an attribute. No Debug: it is evidence.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Given {
    Organisation(OrgId),
    Bool(bool),
    Long(i64),
    Text(String),
    Texts(Vec<String>),
    Longs(Vec<i64>),
}

impl Attribute {
    /// The slot that it is read from, if it is not from the header.
    pub(crate) fn slot(&self) -> Option<u8> {
        if let Origin::Slot(slot, _) = self.origin { Some(slot) } else { None }
    }

    /// Whether the record has the slot exactly where it has this: not of a part that a value may lack.
    pub(crate) fn tells_presence(&self) -> bool {
        !matches!(self.origin, Origin::Slot(_, Reading::TextOf(_) | Reading::LongOf(_)))
    }

    /// What shape the slot has that it is read from, if it is not from the header.
    pub(crate) fn shape(&self, kind: Kind) -> Option<Shape> {
        kind.slot_number(self.slot()?).map(|slot| slot.shape)
    }

    pub(crate) fn cedar_type(&self) -> &'static str {
        match self.origin {
            Origin::Originator => "Organisation",
            Origin::Orcon | Origin::Slot(_, Reading::Bool) => "Bool",
            Origin::Tlp | Origin::Class | Origin::Slot(_, Reading::Text | Reading::Finding | Reading::TextOf(_)) => {
                "String"
            }
            Origin::Slot(_, Reading::Long | Reading::FirstDay | Reading::LastDay | Reading::LongOf(_)) => "Long",
            Origin::Slot(_, Reading::Texts) => "Set<String>",
            Origin::EuHc | Origin::Slot(_, Reading::Longs) => "Set<Long>",
        }
    }

    /// Its value in one record; `None` where the record does not state it.
    pub(crate) fn load(&self, header: &Header, values: &dyn Fn(u8) -> Option<Value>) -> Option<Given> {
        match self.origin {
            Origin::Originator => Some(Given::Organisation(header.originator)),
            Origin::Orcon => Some(Given::Bool(header.floor.orcon)),
            Origin::Tlp => header.floor.tlp.map(|tlp| Given::Text(tlp.name().to_owned())),
            Origin::Class => header.floor.class.clone().map(Given::Text),
            Origin::EuHc => Some(Given::Longs(header.floor.eu_hc.iter().copied().map(i64::from).collect())),
            Origin::Slot(slot, reading) => reading.read(values(slot)?),
        }
    }
}

impl Reading {
    fn read(self, value: Value) -> Option<Given> {
        let text = |v: &Value| v.as_text().map(str::to_owned);
        match self {
            // Taken, not copied: most of what conditions read is text.
            Self::Text => {
                if let Value::Text(text) = value {
                    Some(Given::Text(text))
                } else {
                    None
                }
            }
            Self::Long => value.as_int().map(Given::Long),
            Self::Bool => {
                if let Value::Bool(b) = value {
                    Some(Given::Bool(b))
                } else {
                    None
                }
            }
            Self::Texts => value.as_array()?.iter().map(text).collect::<Option<_>>().map(Given::Texts),
            Self::Longs => value.as_array()?.iter().map(Value::as_int).collect::<Option<_>>().map(Given::Longs),
            Self::Finding => value.member("finding").and_then(text).map(Given::Text),
            Self::FirstDay => Some(Given::Long(Edtf::parse(value.as_text()?)?.span().0.into())),
            Self::LastDay => Some(Given::Long(Edtf::parse(value.as_text()?)?.span().1.into())),
            Self::TextOf(name) => value.member(name).and_then(text).map(Given::Text),
            Self::LongOf(name) => value.member(name)?.as_int().map(Given::Long),
        }
    }
}

impl Given {
    /// As Cedar takes it.
    pub(crate) fn expression(self) -> Option<RestrictedExpression> {
        Some(match self {
            Self::Organisation(org) => RestrictedExpression::new_entity_uid(organisation(org)?),
            Self::Bool(b) => RestrictedExpression::new_bool(b),
            Self::Long(n) => RestrictedExpression::new_long(n),
            Self::Text(t) => RestrictedExpression::new_string(t),
            Self::Texts(ts) => RestrictedExpression::new_set(ts.into_iter().map(RestrictedExpression::new_string)),
            Self::Longs(ns) => RestrictedExpression::new_set(ns.into_iter().map(RestrictedExpression::new_long)),
        })
    }

    /// Appends a tag, a length and the bytes, so that no two lists of values read alike.
    pub(crate) fn mark(&self, out: &mut Vec<u8>) {
        let mut part = |tag: u8, bytes: &[u8]| {
            out.push(tag);
            out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
            out.extend_from_slice(bytes);
        };
        match self {
            Self::Organisation(org) => part(1, org.as_bytes()),
            Self::Bool(b) => part(2, &[u8::from(*b)]),
            Self::Long(n) => part(3, &n.to_be_bytes()),
            Self::Text(t) => part(4, t.as_bytes()),
            Self::Texts(ts) => {
                part(5, &(ts.len() as u64).to_be_bytes());
                ts.iter().for_each(|t| part(4, t.as_bytes()));
            }
            Self::Longs(ns) => {
                part(6, &(ns.len() as u64).to_be_bytes());
                ns.iter().for_each(|n| part(3, &n.to_be_bytes()));
            }
        }
    }
}

/// An organisation as Cedar names it.
pub(crate) fn organisation(org: OrgId) -> Option<EntityUid> {
    let name = EntityTypeName::from_str("Organisation").ok()?;
    Some(EntityUid::from_type_name_and_id(name, EntityId::new(org.to_string())))
}

/// The record that is decided about, as Cedar names it. Its id says nothing, so no policy can depend on it.
pub(crate) fn record(kind: Kind) -> Option<EntityUid> {
    let name = EntityTypeName::from_str(&type_name(kind)).ok()?;
    Some(EntityUid::from_type_name_and_id(name, EntityId::new("record")))
}

/// `diversion-case` as Cedar's type `DiversionCase`.
pub(crate) fn type_name(kind: Kind) -> String {
    let mut name = String::new();
    for word in kind.name().split('-') {
        let mut chars = word.chars();
        name.extend(chars.next().map(|c| c.to_ascii_uppercase()));
        name.push_str(chars.as_str());
    }
    name
}

/// The attributes of a kind.
pub(crate) fn attributes(kind: Kind) -> &'static [Attribute] {
    static TABLE: LazyLock<BTreeMap<Kind, Vec<Attribute>>> =
        LazyLock::new(|| Kind::ALL.into_iter().map(|kind| (kind, list(kind))).collect());
    TABLE.get(&kind).map_or(&[], Vec::as_slice)
}

/// An attribute of a kind by its name.
pub(crate) fn attribute(kind: Kind, name: &str) -> Option<&'static Attribute> {
    attributes(kind).iter().find(|a| a.name == name)
}

fn list(kind: Kind) -> Vec<Attribute> {
    let header = [
        ("originator", Origin::Originator),
        ("orcon", Origin::Orcon),
        ("tlp", Origin::Tlp),
        ("class", Origin::Class),
        ("eu_hc", Origin::EuHc),
    ];
    let mut all: Vec<Attribute> =
        header.into_iter().map(|(name, origin)| Attribute { name: name.to_owned(), origin }).collect();
    kind.slots().for_each(|slot| all.extend(of_slot(slot)));
    all
}

fn of_slot(slot: &Slot) -> Vec<Attribute> {
    let name = slot.name.replace('-', "_");
    let one = |reading| vec![Attribute { name: name.clone(), origin: Origin::Slot(slot.number, reading) }];
    match slot.shape {
        Shape::Name | Shape::Prefix | Shape::Code(_) | Shape::Country => one(Reading::Text),
        Shape::Time | Shape::Uint => one(Reading::Long),
        Shape::Bool => one(Reading::Bool),
        Shape::Texts => one(Reading::Texts),
        Shape::Uints => one(Reading::Longs),
        Shape::Finding(_) => one(Reading::Finding),
        // The scales have names of their own, whatever the slot is called.
        Shape::Eval => [
            ("src4", Reading::TextOf("src4")),
            ("inf4", Reading::LongOf("inf4")),
            ("admiralty", Reading::TextOf("admiralty")),
        ]
        .into_iter()
        .map(|(name, reading)| Attribute { name: name.to_owned(), origin: Origin::Slot(slot.number, reading) })
        .collect(),
        Shape::Edtf | Shape::Month | Shape::Year => {
            [("", Reading::Text), ("_first", Reading::FirstDay), ("_last", Reading::LastDay)]
                .into_iter()
                .map(|(end, reading)| Attribute {
                    name: format!("{name}{end}"),
                    origin: Origin::Slot(slot.number, reading),
                })
                .collect()
        }
        _ => Vec::new(),
    }
}

/// The Cedar schema as the kind table gives it. How a shape is read belongs to the agreement language: who changes
/// that raises its version, and the table's digest, which agreements pin, stays. Every attribute is optional: policies ask for what they read.
pub fn schema_text() -> String {
    let mut out = String::from(
        "// Printed from the kind table. Conditions of agreements and red lines are validated against it, strictly.\n\
         // The principal is the partner; the resource is one record, whose type is its kind.\n\nentity Organisation;\n",
    );
    for kind in Kind::ALL {
        let _ = writeln!(out, "\nentity {} = {{", type_name(kind));
        for attribute in attributes(kind) {
            let _ = writeln!(out, "  {}?: {},", attribute.name, attribute.cedar_type());
        }
        out.push_str("};\n");
    }
    let kinds: Vec<String> = Kind::ALL.into_iter().map(type_name).collect();
    for (action, why) in [("release", "one of our records, to a partner"), ("accept", "a record that a partner sent")] {
        let _ = writeln!(out, "\n// {why}\naction {action} appliesTo {{");
        let _ = writeln!(out, "  principal: Organisation,\n  resource: [{}],\n}};", kinds.join(", "));
    }
    out
}

/// The schema, parsed once.
pub(crate) fn schema() -> Option<&'static Schema> {
    static PARSED: LazyLock<Option<Schema>> =
        LazyLock::new(|| Schema::from_cedarschema_str(SCHEMA).ok().map(|(schema, _warnings)| schema));
    PARSED.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_schema_beside_the_crate_is_the_kind_table() {
        assert!(SCHEMA == schema_text(), "schema.cedarschema is stale; it should read:\n{}", schema_text());
        assert!(schema().is_some());
    }

    #[test]
    fn attribute_names_are_apart() {
        for kind in Kind::ALL {
            let names: BTreeSet<&str> = attributes(kind).iter().map(|a| a.name.as_str()).collect();
            assert_eq!(names.len(), attributes(kind).len(), "{kind}");
        }
    }

    #[test]
    fn lists_of_values_that_differ_are_marked_apart() {
        let mark = |given: &[Given]| {
            let mut out = Vec::new();
            given.iter().for_each(|g| g.mark(&mut out));
            out
        };
        let text = |t: &str| Given::Text(t.to_owned());
        assert_ne!(mark(&[text("ab"), text("c")]), mark(&[text("a"), text("bc")]));
        assert_ne!(
            mark(&[Given::Texts(vec!["a".to_owned()]), text("b")]),
            mark(&[Given::Texts(vec!["a".to_owned(), "b".to_owned()])])
        );
        assert_ne!(mark(&[Given::Long(1)]), mark(&[Given::Bool(true)]));
    }
}
