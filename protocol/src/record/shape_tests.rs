//! Shapes at their edges: text, bounds of lists, coarse slots that hold something finer, references within values.

use super::{Shape, kind::Kind};
use crate::{
    id::{LineId, OrgId},
    limits,
    record::Reference,
    value::Value,
};

fn text(t: &str) -> Value {
    Value::text(t)
}

fn reference(n: u8) -> Value {
    Reference { originator: OrgId::from_bytes([1; 32]), line: LineId::from_bytes([n; 16]) }.to_value()
}

fn lines(targets: &[Reference]) -> Vec<u8> {
    targets.iter().map(|t| t.line.as_bytes()[0]).collect()
}

#[test]
fn names_are_one_line_and_nothing_is_invisible() {
    for bad in ["a\nb", "a\tb", "a\u{200b}b", "a\u{202e}b", "a\u{feff}", "", &"x".repeat(limits::NAME_BYTES_MAX + 1)] {
        assert!(!Shape::Name.fits(&text(bad)), "{bad:?}");
    }
    assert!(Shape::Name.fits(&text(&"x".repeat(limits::NAME_BYTES_MAX))));
    assert!(Shape::LongText.fits(&text("first line\n\tsecond")));
    assert!(!Shape::LongText.fits(&text("a\u{2028}b")) && !Shape::LongText.fits(&text("a\rb")));
}

#[test]
fn lists_and_maps_are_bounded() {
    let list = |n: usize| Value::Array(vec![Value::Int(1); n]);
    assert!(Shape::Uints.fits(&list(limits::LIST_ITEMS_MAX)));
    assert!(!Shape::Uints.fits(&list(limits::LIST_ITEMS_MAX + 1)) && !Shape::Uints.fits(&list(0)));
    let map = |n: usize| Value::text_map((0..n).map(|at| (format!("k{at}"), text("v"))));
    assert!(Shape::TextMap.fits(&map(limits::TEXT_MAP_MEMBERS_MAX)));
    assert!(!Shape::TextMap.fits(&map(limits::TEXT_MAP_MEMBERS_MAX + 1)) && !Shape::TextMap.fits(&map(0)));
    let key = |n: usize| Value::text_map([("k".repeat(n), text("v"))]);
    assert!(Shape::TextMap.fits(&key(limits::TEXT_MAP_KEY_BYTES_MAX)));
    assert!(!Shape::TextMap.fits(&key(limits::TEXT_MAP_KEY_BYTES_MAX + 1)) && !Shape::TextMap.fits(&key(0)));
    assert!(!Shape::TextMap.fits(&Value::text_map([("a\nb".to_owned(), text("v"))])));
}

#[test]
fn a_coarse_slot_holds_nothing_finer() {
    let event = |name: &str, value: &str| Kind::Event.slot(name).unwrap().shape.fits(&text(value));
    assert!(event("recovered-month", "2024-03") && event("recovered-year", "2024~"));
    assert!(!event("recovered-month", "2024-03-15") && !event("recovered-year", "2024-03"));
    assert!(!event("recovered-month", "2024-03-01/2024-03-02") && !event("recovered-month", "2024"));
    let prefix = Kind::Item.slot("serial-prefix").unwrap().shape;
    assert!(prefix.fits(&text("TKO")) && prefix.fits(&text("A1B")));
    assert!(!prefix.fits(&text("TKO34908")) && !prefix.fits(&text("TKO3")));
}

#[test]
fn conditions_are_a_handling_floor() {
    let conditions = Kind::TraceRequest.slot("conditions").unwrap().shape;
    // The answer of vocabulary 13: H1 and H2, originator control.
    let codes = Value::Array(vec![Value::Int(1), Value::Int(2)]);
    let floor = [("orcon", Value::Bool(true)), ("eu-hc", codes), ("tlp", text("AMBER"))];
    assert!(conditions.fits(&Value::map(floor.clone())));
    let with = |name: &'static str, value: Value| Value::map(floor.clone().into_iter().chain([(name, value)]));
    assert!(!conditions.fits(&with("eu-hc", Value::Array(vec![Value::Int(3)]))), "H3 needs its text");
    assert!(!conditions.fits(&with("tlp", text("PURPLE"))));
    assert!(!conditions.fits(&with("else", text("x"))));
    assert!(!conditions.fits(&Value::map([("tlp", text("RED"))])), "originator control is said, yes or no");
    assert!(!conditions.fits(&text("H1")));
}

#[test]
fn every_reference_within_a_value_is_found() {
    let answer = [
        ("item", reference(1)),
        ("legs", Value::Array(vec![reference(2), reference(3)])),
        ("made", text("2009")),
        ("result", text("exported")),
        ("last-holder", reference(4)),
    ];
    let per_item = Value::Array(vec![Value::map(answer.clone())]);
    assert!(Shape::Answers.fits(&per_item));
    assert_eq!(lines(&Shape::Answers.targets(&per_item)), [1, 4, 2, 3]);
    assert!(!Shape::Answers.fits(&Value::Array(vec![Value::map(answer[..4].iter().skip(1).cloned())])));
    let checked = Value::Array(vec![
        Value::map([("item", reference(5)), ("seen", text("present"))]),
        Value::map([("s1", text("TKO1")), ("seen", text("absent"))]),
    ]);
    assert!(Shape::Checks.fits(&checked) && Shape::Checks.refers());
    assert_eq!(lines(&Shape::Checks.targets(&checked)), [5]);
    assert!(!Shape::Checks.fits(&Value::Array(vec![Value::map([("seen", text("perhaps"))])])));
    let reply = Value::map([("asked", reference(6)), ("sent", Value::Int(1)), ("answer", reference(7))]);
    let replies = Value::Array(vec![reply]);
    assert!(Shape::Replies.fits(&replies));
    assert_eq!(lines(&Shape::Replies.targets(&replies)), [6, 7]);
    let contest = Value::map([("contested", Value::Bool(true)), ("reply", reference(8))]);
    assert!(Shape::Contest.refers() && Shape::Contest.fits(&contest));
    assert_eq!(lines(&Shape::Contest.targets(&contest)), [8]);
    assert!(Shape::Contest.targets(&Value::map([("contested", Value::Bool(false))])).is_empty());
}

#[test]
fn whatever_may_hold_a_reference_says_so() {
    let values = [
        Value::map([("contested", Value::Bool(true)), ("reply", reference(8))]),
        Value::Array(vec![Value::map([("asked", reference(6)), ("sent", Value::Int(1))])]),
        Value::Array(vec![Value::map([("item", reference(5)), ("seen", text("present"))])]),
        Value::Array(vec![Value::map([("item", reference(1)), ("result", text("x"))])]),
        Value::Array(vec![Value::Array(vec![text("r"), reference(1)])]),
        Value::Array(vec![reference(1)]),
        reference(1),
    ];
    for kind in Kind::ALL {
        for slot in kind.slots() {
            let holds = values.iter().any(|v| slot.shape.fits(v));
            assert_eq!(slot.shape.refers(), holds, "{kind}.{}", slot.name);
            let found = values.iter().any(|v| slot.shape.fits(v) && !slot.shape.targets(v).is_empty());
            assert_eq!(found, holds, "{kind}.{}", slot.name);
        }
    }
}
