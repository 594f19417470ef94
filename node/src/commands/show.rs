//! Reading the JSON of answers for people: a member as text, a value in few words.
//!
//! Answers come from our own node, but their content comes from anywhere: a missing or strange member is shown as
//! empty or as it is, and never fails a command.

use super::table::{Look, Table, pairs};
use serde_json::Value as Json;

/// A member as text; empty where it is absent or null.
pub fn text(value: &Json, key: &str) -> String {
    value.get(key).map(brief).unwrap_or_default()
}

/// Whether a member is true.
pub fn truth(value: &Json, key: &str) -> bool {
    value.get(key).and_then(Json::as_bool).unwrap_or_default()
}

/// A member that is a list; empty where it is absent.
pub fn list<'a>(value: &'a Json, key: &str) -> &'a [Json] {
    value.get(key).and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

/// The first eight digits of an id.
pub fn short(id: &str) -> String {
    id.chars().take(8).collect()
}

/// A value in few words.
pub fn brief(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::Bool(true) => "yes".to_owned(),
        Json::Bool(false) => "no".to_owned(),
        Json::Number(number) => number.to_string(),
        Json::String(text) => text.clone(),
        Json::Array(items) => items.iter().map(brief).collect::<Vec<_>>().join(", "),
        Json::Object(members) => {
            if let Some([lon, lat]) = members.get("geo").and_then(Json::as_array).map(Vec::as_slice) {
                return format!("{}, {}", degrees(lat), degrees(lon));
            }
            if let Some(raw) = members.get("raw").or_else(|| members.get("s1")) {
                let state = members.get("state").map(brief).unwrap_or_default();
                let raw = brief(raw);
                return if state.is_empty() || state == "ok" {
                    raw
                } else {
                    format!("{raw} ({state})").trim().to_owned()
                };
            }
            if let (Some(n), Some(unit)) = (members.get("n"), members.get("unit")) {
                return format!("{} {}", brief(n), brief(unit));
            }
            let each = members.iter().map(|(key, value)| format!("{key}: {}", brief(value)));
            each.collect::<Vec<_>>().join(", ")
        }
    }
}

/// A field in few words: a cell of the map is known by its name, and stands in degrees as every place does.
pub fn field(name: &str, value: &Json) -> String {
    match value.as_array().map(Vec::as_slice) {
        Some([lon @ Json::Number(_), lat @ Json::Number(_)]) if name.ends_with("-cell") => {
            format!("{}, {} (0.1° cell)", degrees(lat), degrees(lon))
        }
        _ => brief(value),
    }
}

/// Degrees of a coordinate in units of 1e-7 degree.
fn degrees(value: &Json) -> String {
    format!("{:.4}", value.as_i64().unwrap_or_default() as f64 / 1e7)
}

/// Any object: its plain members as pairs, then each list of objects as a table.
pub fn object(value: &Json, look: Look) -> String {
    let Some(members) = value.as_object() else { return brief(value) };
    let is_table = |v: &Json| v.as_array().is_some_and(|a| a.first().is_some_and(Json::is_object));
    let plain = members.iter().filter(|(_, v)| !is_table(v) && !v.is_null());
    let mut out = pairs(plain.map(|(key, v)| (words(key), brief(v))), look);
    for (key, rows) in members.iter().filter(|(_, v)| is_table(v)) {
        out.push_str(&format!("\n{}\n", look.strong(&words(key))));
        out.push_str(&rows_of(rows.as_array().map_or(&[], Vec::as_slice)).render(look));
    }
    out
}

/// Objects as a table, with the members of the first as columns, but for an `id` that only counts.
fn rows_of(rows: &[Json]) -> Table {
    let mut keys: Vec<&String> = Vec::new();
    for key in rows.iter().filter_map(Json::as_object).flat_map(serde_json::Map::keys) {
        if !keys.contains(&key) && keys.len() < 12 {
            keys.push(key);
        }
    }
    let headings: Vec<String> = keys.iter().map(|key| words(key)).collect();
    let mut table = Table::new(&headings.iter().map(String::as_str).collect::<Vec<_>>());
    for row in rows {
        table.row(keys.iter().map(|key| text(row, key)));
    }
    table
}

/// A key as words.
fn words(key: &str) -> String {
    super::plain::line(&key.replace(['_', '-'], " "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_in_few_words() {
        let check = |value: Json, expected: &str| assert_eq!(brief(&value), expected, "{value}");
        check(json!({ "raw": "ХР 4521", "s1": "ХР4521", "state": "ok" }), "ХР 4521");
        check(json!({ "raw": "19?3", "state": "partial" }), "19?3 (partial)");
        check(json!({ "geo": [185_500_000, 43_600_000], "precision": 10 }), "4.3600, 18.5500");
        assert_eq!(field("place-cell", &json!([146_000_000, 134_000_000])), "13.4000, 14.6000 (0.1° cell)");
        assert_eq!(field("hashes", &json!([1, 2])), "1, 2");
        check(json!({ "n": 40, "unit": "rounds" }), "40 rounds");
        check(json!(["a", 1, true]), "a, 1, yes");
        check(json!(null), "");
        check(json!({ "b": { "c": [] } }), "b: c: ");
    }

    #[test]
    fn objects_show_pairs_then_tables() {
        let value = json!({ "rows_read": 3, "refused": [{ "line": 33, "what": "no such day" }, { "line": 70, "column": "lat" }] });
        let text = object(&value, Look::default());
        assert!(text.contains("rows read  3\n"), "{text}");
        assert!(text.contains("no such day") && text.contains("lat") && text.contains("\nrefused\n"), "{text}");
    }
}
