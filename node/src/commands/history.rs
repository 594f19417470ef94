//! `entente record history`: the steps of one record as people read them.

use super::{
    show::{list, short, text},
    table::{Look, Table, pairs},
};
use crate::records::history::eyes_told;
use serde_json::Value as Json;

/// The steps as a table, and what is to be known above it.
pub fn render(history: &Json, look: Look) -> String {
    let keys = ["id", "number", "kind", "originator", "state"];
    let mut out = pairs(keys.map(|key| (key, text(history, key))).into_iter().filter(|(_, v)| !v.is_empty()), look);
    if let Some(told) = eyes_told(&text(history, "eyes")) {
        out.push_str(&format!("{}\n", look.bad(told)));
    }
    let not_verified = text(history, "not_verified");
    if !matches!(not_verified.as_str(), "" | "0") {
        let told = format!("{not_verified} of these steps cannot be verified: see why below");
        out.push_str(&format!("{}\n", look.bad(&told)));
    }
    let mut steps = Table::new(&["at", "what", "who", "key", "holds", "says"]);
    for step in list(history, "steps") {
        let person = step.get("person").filter(|person| person.is_object());
        let who = person
            .map_or_else(|| text(step, "who"), |person| format!("{} ({})", text(person, "name"), text(step, "who")));
        let holds = match step.get("verified") {
            Some(Json::Bool(true)) => "yes",
            Some(Json::Bool(false)) => "NO",
            _ => "unsigned",
        };
        let why = text(step, "why_not");
        let says = if why.is_empty() { text(step, "says") } else { format!("{why}; {}", text(step, "says")) };
        steps.row([text(step, "at"), text(step, "what"), who, short(&text(step, "key")), holds.to_owned(), says]);
    }
    out.push('\n');
    out.push_str(&steps.render(look));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_does_not_verify_and_who_was_alone_stand_above() {
        let history = json!({
            "id": "ab", "eyes": "one", "not_verified": 1,
            "steps": [
                { "at": "2026", "what": "reviewed", "who": "own", "person": { "name": "A. Diallo" }, "verified": true,
                  "key": "0123456789", "says": "event 1" },
                { "at": "2027", "what": "received", "who": "panel", "verified": false, "why_not": "no key", "says": "x" },
                { "at": "2028", "what": "hold placed", "who": "own", "verified": null, "says": "a court" },
            ],
        });
        let text = render(&history, Look::default());
        assert!(text.contains("SINGLE REVIEWER") && text.contains("1 of these steps cannot be verified"), "{text}");
        assert!(text.contains("reviewed     A. Diallo (own)  01234567  yes"), "{text}");
        assert!(text.contains("NO        no key; x") && text.contains("unsigned  a court"), "{text}");
    }
}
