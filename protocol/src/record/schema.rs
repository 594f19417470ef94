//! The kind table as canonical bytes, and their digest, which agreements pin (SPEC, REC-11).
//!
//! Agreements are checked against it. Nothing of the program's own names for things is in it: a second
//! implementation writes the same bytes from the tables of SPEC.

use super::kind::{Fact, Kind, Rung, Slot};
use crate::{
    codec::{self, Bounds},
    id::Hash,
    label,
    primitive::labelled,
};
use serde::Serialize;
use std::sync::LazyLock;

const BOUNDS: Bounds = Bounds::bytes(64 << 10);

#[derive(Serialize)]
struct WireKind {
    kind: Kind,
    slots: Vec<WireSlot>,
}

#[derive(Serialize)]
struct WireSlot {
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rung: Option<WireRung>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    codes: &'static [&'static str],
    shape: &'static str,
    number: u8,
    carries: Vec<&'static str>,
    personal: &'static str,
    required: bool,
}

#[derive(Serialize)]
struct WireRung {
    fact: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'static str>,
    level: u8,
    ladder: &'static str,
}

fn row(slot: &Slot) -> WireSlot {
    let personal = match (slot.personal, slot.personal_of_persons) {
        (true, _) => "always",
        (false, true) => "of-persons",
        (false, false) => "never",
    };
    WireSlot {
        name: slot.name,
        rung: slot.rung.map(|Rung { fact, ladder, level, derived }| WireRung {
            fact: fact.name(),
            from: derived.map(|d| d.from),
            rule: derived.map(|d| d.rule.name()),
            level,
            ladder,
        }),
        codes: slot.shape.codes(),
        shape: slot.shape.name(),
        number: slot.number,
        carries: slot.carries.iter().map(Fact::name).collect(),
        personal,
        required: slot.required,
    }
}

/// The kind table as one canonical item.
pub fn schema() -> Vec<u8> {
    let kinds: Vec<WireKind> =
        Kind::ALL.into_iter().map(|kind| WireKind { kind, slots: kind.slots().map(row).collect() }).collect();
    // A constant: a test reads it back, and another compares its digest with SPEC's.
    codec::to_vec(&kinds, BOUNDS).unwrap_or_default()
}

/// SHA-256(label, [`schema`]).
pub fn schema_digest() -> Hash {
    static DIGEST: LazyLock<Hash> = LazyLock::new(|| Hash::from_bytes(labelled(label::SCHEMA_DIGEST, &[&schema()])));
    *DIGEST
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    #[test]
    fn every_row_stands_in_the_schema() {
        let table: Value = codec::from_slice(&schema(), BOUNDS).unwrap();
        let kinds = table.as_array().unwrap();
        assert_eq!(kinds.len(), Kind::ALL.len());
        for (kind, written) in Kind::ALL.into_iter().zip(kinds) {
            assert_eq!(written.member("kind").and_then(Value::as_text), Some(kind.name()));
            assert_eq!(written.member("slots").and_then(Value::as_array).unwrap().len(), kind.slots().count());
        }
        let item = |name: &str| {
            let slots = kinds[0].member("slots").and_then(Value::as_array).unwrap();
            slots.iter().find(|s| s.member("name").and_then(Value::as_text) == Some(name)).unwrap().clone()
        };
        let text = |t: &str| Some(Value::text(t));
        let prefix = item("serial-prefix");
        assert_eq!((prefix.member("shape").cloned(), prefix.member("codes")), (text("Prefix"), None));
        let rung = prefix.member("rung").unwrap();
        assert_eq!(
            (rung.member("rule").cloned(), rung.member("from").cloned()),
            (text("SerialPrefix"), Some(Value::Int(14)))
        );
        assert_eq!(item("condition").member("codes").and_then(Value::as_array).map(<[_]>::len), Some(7));
        assert_eq!(item("made-by").member("personal").cloned(), text("always"));
        assert_eq!(item("make").member("personal").cloned(), text("never"));
    }
}
