//! What every answer in JSON keeps: an array of objects is a listing, and each of its elements has an `id` of its own.
//!
//! Programs address what they were shown by it. What a record says, the object `fields`, is shown as it was recorded and
//! is no listing.

use serde_json::Value;
use std::collections::BTreeSet;

/// Where an answer breaks the rule, as paths with what is wrong.
#[must_use]
pub fn faults(answer: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    walk("$", answer, &mut faults);
    faults
}

/// How many listings with at least one element an answer has.
#[must_use]
pub fn count(answer: &Value) -> usize {
    match answer {
        Value::Array(items) => usize::from(items.iter().any(Value::is_object)) + items.iter().map(count).sum::<usize>(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

fn walk(path: &str, value: &Value, faults: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            let mut seen = BTreeSet::new();
            for (at, item) in items.iter().enumerate() {
                let path = format!("{path}[{at}]");
                if items.iter().any(Value::is_object) {
                    match item["id"].as_str() {
                        None | Some("") => faults.push(format!("{path} has no id: {item}")),
                        Some(id) if !seen.insert(id) => faults.push(format!("{path} has the id `{id}` of another")),
                        Some(_) => {}
                    }
                }
                walk(&path, item, faults);
            }
        }
        Value::Object(members) => {
            for (name, member) in members.iter().filter(|(name, member)| *name != "fields" || !member.is_object()) {
                walk(&format!("{path}.{name}"), member, faults);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_element_without_an_id_of_its_own_is_found_at_any_depth() {
        let check =
            |value: Value, wrong: usize| assert_eq!(faults(&value).len(), wrong, "{value}: {:?}", faults(&value));
        check(json!([{ "id": "a" }, { "id": "b", "in": [{ "id": "a" }] }]), 0);
        check(json!([{ "id": "a" }, { "id": "a" }]), 1);
        check(json!({ "x": { "y": [{ "z": 1 }, { "id": "" }, 7] } }), 3);
        check(json!({ "texts": ["a", "a"], "fields": { "marks": [{ "raw": "x" }] }, "more": [] }), 0);
        check(json!({ "fields": [{ "field": "x" }] }), 1);
    }
}
