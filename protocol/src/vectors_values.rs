//! Golden vectors of what records hold: dates, values of slots, manifests of files. See the head of `vectors.rs`. Tests
//! only.

use crate::{
    attachment::ManifestBuilder,
    codec::{self, Bounds},
    feed::testing::org,
    limits,
    record::{
        Reference,
        kind::{Kind, Rule},
        ladder::Edtf,
    },
    value::Value,
    vectors::{ACCEPTED, Vector, check, unhex},
};
use serde_json::{Value as Json, json};

const SLOT: Bounds = Bounds::bytes(limits::SLOT_VALUE_BYTES_MAX);

#[test]
fn dates() {
    let good = [
        "2024",
        "2024-03",
        "2024-03-15",
        "2024-02-29",
        "201X",
        "20XX",
        "2004-XX",
        "2004-07-XX",
        "2004-XX-XX",
        "2004-22",
        "2024?",
        "2024-03~",
        "2024-03-15%",
        "2014-06/2014-09",
        "2014-06-01?/2014-06-09~",
        "1985-04/..",
        "../1985-04",
        "2004/2004-03",
        "201X/2014",
    ];
    let bad = [
        "",
        "24",
        "2023-02-29",
        "2023-13",
        "2X14",
        "2XXX",
        "XXXX",
        "2004-1X",
        "2004-9X",
        "2004-07-9X",
        "2004-XX-15",
        "201X-22",
        "201X-05",
        "2014-09/2014-06",
        "2014-06-09/2014-06-01",
        "../..",
        "2024-22-01",
        "2024-03-15T10:00",
        "2024??",
        "-2024",
    ];
    let vectors: Vec<Vector> = good
        .iter()
        .map(|text| ("date_valid", json!(text), ACCEPTED))
        .chain(bad.iter().map(|text| ("date_invalid", json!(text), "refused")))
        .collect();
    let judge = |input: &Json| match Edtf::parse(input.as_str().unwrap()) {
        None => "refused".to_owned(),
        Some(edtf) => {
            let (first, last) = edtf.span();
            let of = |rung: Option<String>| rung.unwrap_or_else(|| "none".to_owned());
            format!("accepted: {first} to {last}, month {}, year {}", of(edtf.month()), of(edtf.year()))
        }
    };
    let about = "Dates (SPEC 5): the span as YYYYMMDD, with 0 and 99991231 for open ends, and the rungs that follow.";
    check("date.json", include_str!("../../tests/vectors/date.json"), about, vectors, judge);
}

#[test]
fn values() {
    let text = |t: &str| Value::text(t);
    let reference = Reference { originator: org(1), line: crate::id::LineId::from_bytes([2; 16]) }.to_value();
    let floor = |codes: &[i64]| {
        let codes = Value::Array(codes.iter().map(|n| Value::Int(*n)).collect());
        Value::map([("orcon", Value::Bool(true)), ("eu-hc", codes)])
    };
    let answer = Value::Array(vec![Value::map([("item", reference.clone()), ("result", text("exported"))])]);
    let check_of = |seen: &str| Value::Array(vec![Value::map([("s1", text("TKO1")), ("seen", text(seen))])]);
    let many = |n: usize| Value::Array(vec![text("x"); n]);
    let map = |n: usize| Value::text_map((0..n).map(|at| (format!("k{at}"), text("v"))));
    let cases: Vec<(&'static str, Kind, &str, Value, &'static str)> = vec![
        ("name_valid", Kind::Item, "make", text("ZASTAVA"), ACCEPTED),
        ("name_with_line_feed", Kind::Item, "make", text("ZAS\nTAVA"), "refused"),
        ("name_with_tab", Kind::Item, "make", text("ZAS\tTAVA"), "refused"),
        ("name_with_zero_width_space", Kind::Item, "make", text("ZAS\u{200b}TAVA"), "refused"),
        ("name_with_joiner", Kind::Item, "make", text("می\u{200c}خواهم"), ACCEPTED),
        ("name_too_long", Kind::Item, "make", text(&"x".repeat(513)), "refused"),
        ("long_text_with_line_feed", Kind::Item, "note", text("a\n\tb"), ACCEPTED),
        ("long_text_with_carriage_return", Kind::Item, "note", text("a\rb"), "refused"),
        ("long_text_with_line_separator", Kind::Item, "note", text("a\u{2028}b"), "refused"),
        ("country_of_any_two_capitals", Kind::Item, "make-country", text("QQ"), ACCEPTED),
        ("country_in_small_letters", Kind::Item, "make-country", text("rs"), "refused"),
        ("month_valid", Kind::Event, "recovered-month", text("2024-03~"), ACCEPTED),
        ("month_that_holds_a_day", Kind::Event, "recovered-month", text("2024-03-15"), "refused"),
        ("month_that_holds_an_interval", Kind::Event, "recovered-month", text("2024-03-01/2024-03-02"), "refused"),
        ("year_valid", Kind::Event, "recovered-year", text("2024"), ACCEPTED),
        ("year_that_holds_a_month", Kind::Event, "recovered-year", text("2024-03"), "refused"),
        ("year_not_known", Kind::Event, "recovered-year", text("202X"), "refused"),
        ("prefix_valid", Kind::Item, "serial-prefix", text("TKO"), ACCEPTED),
        ("prefix_that_holds_a_serial", Kind::Item, "serial-prefix", text("TKO34908"), "refused"),
        ("list_longest", Kind::DiversionCase, "methods", many(1_024), ACCEPTED),
        ("list_too_long", Kind::DiversionCase, "methods", many(1_025), "refused"),
        ("list_empty", Kind::DiversionCase, "methods", many(0), "refused"),
        ("text_map_longest", Kind::Document, "shipment", map(256), ACCEPTED),
        ("text_map_too_long", Kind::Document, "shipment", map(257), "refused"),
        ("conditions_valid", Kind::TraceRequest, "conditions", floor(&[1, 2]), ACCEPTED),
        ("conditions_h3_without_its_text", Kind::TraceRequest, "conditions", floor(&[3]), "refused"),
        ("conditions_codes_out_of_order", Kind::TraceRequest, "conditions", floor(&[2, 1]), "refused"),
        ("answers_valid", Kind::TraceResponse, "per-item", answer, ACCEPTED),
        ("answers_without_item", Kind::TraceResponse, "per-item", map(1), "refused"),
        ("checks_valid", Kind::PostDeliveryCheck, "checked", check_of("absent"), ACCEPTED),
        ("checks_of_unknown_outcome", Kind::PostDeliveryCheck, "checked", check_of("perhaps"), "refused"),
        ("slot_that_does_not_exist", Kind::Item, "colour", text("x"), "refused"),
    ];
    let vectors = cases
        .into_iter()
        .map(|(name, kind, slot, value, expected)| {
            let value = hex::encode(codec::to_vec(&value, SLOT).unwrap());
            (name, json!({ "kind": kind.name(), "slot": slot, "value": value }), expected)
        })
        .collect();
    let judge = |input: &Json| {
        let kind = Kind::from_name(input["kind"].as_str().unwrap()).unwrap();
        let value: Value = codec::from_slice(&unhex(&input["value"]), SLOT).unwrap();
        let fits = kind.slot(input["slot"].as_str().unwrap()).is_some_and(|slot| slot.shape.fits(&value));
        if fits { ACCEPTED } else { "refused" }.to_owned()
    };
    let about = "Values of slots (SPEC 4) as hexadecimal CBOR.";
    check("value.json", include_str!("../../tests/vectors/value.json"), about, vectors, judge);
}

#[test]
fn ladders() {
    let point = |lon: i64, lat: i64, prec: i64, radius: Option<i64>| {
        let geo = ("geo", Value::Array(vec![Value::Int(lon), Value::Int(lat)]));
        Value::map([geo, ("prec", Value::Int(prec))].into_iter().chain(radius.map(|m| ("radius-m", Value::Int(m)))))
    };
    let serial =
        |s1: &str| Value::map([("s1", Value::text(s1)), ("norm", Value::Int(1)), ("state", Value::text("ok"))]);
    let unread = || Value::map([("norm", Value::Int(1)), ("state", Value::text("OBL"))]);
    let (cell, prefix, state) = (Rule::Cell, Rule::SerialPrefix, Rule::SerialState);
    let cases: Vec<(&'static str, Rule, Value, &'static str)> = vec![
        ("cell_of_a_point", cell, point(185_581_234, 43_712_345, 1, None), "[185000000,43000000]"),
        ("cell_of_its_own_corner", cell, point(185_000_000, 43_000_000, 1, None), "[185000000,43000000]"),
        ("cell_west_and_south_rounds_down", cell, point(-1, -1, 1, None), "[-1000000,-1000000]"),
        ("cell_of_the_last_corner", cell, point(1_800_000_000, 900_000_000, 1, None), "[1800000000,900000000]"),
        ("cell_at_the_largest_radius", cell, point(1, 1, 1, Some(5_000)), "[0,0]"),
        ("cell_beyond_the_largest_radius", cell, point(1, 1, 1, Some(5_001)), "none"),
        ("cell_of_a_point_that_is_not_exact", cell, point(1, 1, 2, None), "none"),
        ("prefix_of_a_serial", prefix, serial("TKO34908"), "\"TKO\""),
        ("prefix_keeps_digits_before_a_letter", prefix, serial("A12B34"), "\"A12B\""),
        ("prefix_keeps_what_stands_between", prefix, serial("AB-12/34"), "\"AB-12/\""),
        ("prefix_of_digits_alone", prefix, serial("34908"), "none"),
        ("prefix_of_letters_alone", prefix, serial("ABC"), "none"),
        ("prefix_digits_of_another_script_are_none", prefix, serial("AB١٢"), "none"),
        ("prefix_of_a_serial_that_was_not_read", prefix, unread(), "none"),
        ("state_of_a_serial_that_was_not_read", state, unread(), "\"OBL\""),
    ];
    let vectors = cases
        .into_iter()
        .map(|(name, rule, finer, expected)| {
            let finer = hex::encode(codec::to_vec(&finer, SLOT).unwrap());
            (name, json!({ "rule": rule.name(), "finer": finer }), expected)
        })
        .collect();
    let judge = |input: &Json| {
        let finer: Value = codec::from_slice(&unhex(&input["finer"]), SLOT).unwrap();
        let rules = [Rule::Cell, Rule::SerialPrefix, Rule::SerialState];
        let rule = rules.into_iter().find(|rule| input["rule"] == rule.name()).unwrap();
        match rule.apply(&finer) {
            None => "none".to_owned(),
            Some(Value::Text(text)) => json!(text).to_string(),
            Some(coarser) => {
                let pair: Vec<i64> = coarser.as_array().unwrap().iter().map(|n| n.as_int().unwrap()).collect();
                json!(pair).to_string()
            }
        }
    };
    let about = "Coarser rungs (SPEC 5) of points and serials, which are hexadecimal CBOR: the value of the coarser slot, \
                 or none where the slot must be absent. Months and years are in date.json.";
    check("ladder.json", include_str!("../../tests/vectors/ladder.json"), about, vectors, judge);
}

#[test]
fn attachments() {
    let chunk = u64::from(limits::CHUNK_BYTES);
    let vectors = [0, 1, chunk, chunk + 1, 3 * chunk, 5 * chunk - 1]
        .into_iter()
        .map(|size| ("attachment_of_size", json!({ "byte": "ab", "size": size }), "chunks"))
        .collect();
    let judge = |input: &Json| {
        let mut builder = ManifestBuilder::new();
        let size = usize::try_from(input["size"].as_u64().unwrap()).unwrap();
        builder.update(&vec![unhex(&input["byte"])[0]; size]).unwrap();
        let made = builder.finish();
        format!("{} chunks, sha256 {}, chunk-root {}", made.chunks.len(), made.sha256, made.chunk_root)
    };
    let about = "Manifests (SPEC 7) of files that are one byte repeated.";
    check("attachment.json", include_str!("../../tests/vectors/attachment.json"), about, vectors, judge);
}
