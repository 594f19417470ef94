//! `entente agreement simulate` and `diff`: what would leave, before anybody signs.

use super::{
    output::{Done, Failure},
    reach::{Reach, absolute},
    show::{brief, list, short, text, truth},
    table::{Look, Table, pairs},
};
use crate::{agreements::Version, call::Call, cli, error::Fault, share::preview::Shown};
use serde_json::Value as Json;
use std::path::Path;

/// Simulates one version.
pub fn simulate(reach: &Reach, given: &str, shown: &cli::Shown) -> Result<Done, Failure> {
    let call = Call::AgreementSimulate { version: named(given)?, shown: how(shown) };
    let answer = reach.call_watched(&call)?;
    reach.output.answer(&answer, || simulated(&answer, reach.output.look))?;
    Ok(Done::Well)
}

/// Compares two.
pub fn diff(reach: &Reach, given: [&str; 2], shown: &cli::Shown) -> Result<Done, Failure> {
    let [old, new] = given.map(named);
    let call = Call::AgreementDiff { old: old?, new: new?, shown: how(shown) };
    let answer = reach.call_watched(&call)?;
    reach.output.answer(&answer, || differs(&answer, reach.output.look))?;
    Ok(Done::Well)
}

/// A file, or what may be the id of an agreement: hexadecimal digits, which the node looks up.
fn named(given: &str) -> Result<Version, Fault> {
    let id = given.split_once('/').map_or(given, |(id, _)| id);
    let is_id = id.len() >= 6 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    match is_id && !Path::new(given).exists() {
        true => Ok(Version::Held(given.to_owned())),
        false => Ok(Version::File(absolute(Path::new(given))?)),
    }
}

fn how(shown: &cli::Shown) -> Shown {
    Shown { as_released: shown.as_released, list: shown.list }
}

fn simulated(answer: &Json, look: Look) -> String {
    let assumed = match truth(answer, "as_released") {
        true => "every record counts as reviewed and released, but for those that were refuted",
        false => "records that nobody has released stay (see --as-released)",
    };
    let facts = [
        ("agreement", format!("{}, version {}", text(answer, "title"), text(answer, "version"))),
        ("as on", text(answer, "on")),
        ("our records", text(answer, "records")),
        ("assumed", assumed.to_owned()),
    ];
    let mut out = pairs(facts, look);
    let parties = list(answer, "parties");
    if text(answer, "records") == "0" {
        out.push_str("\nThere is no record here yet, so that nothing could leave: import some (drafts are enough), and ask with --as-released\n");
    } else if !truth(answer, "as_released") && parties.iter().all(|party| text(party, "leave") == "0") {
        out.push_str("\nNothing would leave: records that nobody has released stay. Add --as-released to see what the agreement would let go\n");
    }
    for party in parties {
        out.push_str(&heading(party, look));
        if let Some(waits) = party.get("waits").filter(|waits| !waits.is_null()) {
            out.push_str(&format!(
                "Nothing passes now, and what would leave waits: {}\n",
                super::plain::line(&text(waits, "why"))
            ));
        }
        out.push_str(&pairs(
            [
                ("would leave", text(party, "leave")),
                ("of others", format!("{} of them, by their grants", text(party, "leave_others"))),
                ("it sees now", format!("{} records by our hand, under any agreement", text(party, "held_now"))),
                ("it would see", text(party, "held_then")),
            ],
            look,
        ));
        let mut leave = Table::new(&["clause", "kind", "field", "records"]);
        for clause in list(party, "clauses") {
            leave.row([text(clause, "clause"), text(clause, "kind"), "(all)".to_owned(), text(clause, "records")]);
            for field in list(clause, "fields") {
                leave.row([String::new(), String::new(), text(field, "field"), text(field, "records")]);
            }
        }
        section(&mut out, "Would leave:", &leave, look);
        let mut stay = Table::new(&["records", "stay because", ""]);
        for reason in list(party, "withheld") {
            stay.row([text(reason, "records"), text(reason, "why"), text(reason, "red_line")]);
        }
        section(&mut out, "Records that stay:", &stay, look);
        let mut fields = Table::new(&["kind", "field", "records", "stays because"]);
        for field in list(party, "fields_withheld") {
            fields.row(["kind", "field", "records", "why"].map(|key| text(field, key)));
        }
        section(&mut out, "Fields that stay of records that leave:", &fields, look);
        let mut reveals = Table::new(&["clause", "kind", "field"]);
        for reveal in list(party, "reveals") {
            reveals.row(["clause", "kind", "field"].map(|key| text(reveal, key)));
        }
        section(&mut out, "Conditions tell something of what they withhold:", &reveals, look);
        let mut listed = Table::new(&["record", "number", "of", "kind", "clause", "fields"]);
        for record in list(party, "listed") {
            let id = short(&text(record, "id"));
            let row = ["number", "of", "kind", "clause"].map(|key| text(record, key));
            listed.row([id].into_iter().chain(row).chain([joined(record, "fields")]));
        }
        section(&mut out, &first_of(party, "leave"), &listed, look);
    }
    out
}

fn differs(answer: &Json, look: Look) -> String {
    let version = |key: &str| {
        let version = answer.get(key).unwrap_or(&Json::Null);
        format!("{}, version {}", text(version, "title"), text(version, "version"))
    };
    let facts = [
        ("old", version("old")),
        ("new", version("new")),
        ("as on", text(answer, "on")),
        ("our records", text(answer, "records")),
    ];
    let mut out = pairs(facts, look);
    if let Some(must) = answer.get("must_say").filter(|must| !must.is_null()) {
        out.push_str(&format!("\n{} {}:\n", look.bad("note:"), text(must, "says")));
        list(must, "write").iter().for_each(|line| out.push_str(&format!("  {}\n", brief(line))));
    }
    for party in list(answer, "parties") {
        out.push_str(&heading(party, look));
        out.push_str(&pairs(
            [
                ("records newly exposed", text(party, "exposed")),
                ("records withdrawn", text(party, "withdrawn")),
                ("records that show other fields", text(party, "changed")),
                ("leave under the old", text(party, "leave_old")),
                ("leave under the new", text(party, "leave_new")),
            ],
            look,
        ));
        let mut fields = Table::new(&["kind", "field", "newly exposed", "withdrawn"]);
        for field in list(party, "fields") {
            fields.row(["kind", "field", "gained", "lost"].map(|key| text(field, key)));
        }
        section(&mut out, "Fields, by the records that hold them:", &fields, look);
        let mut listed = Table::new(&["record", "number", "of", "kind", "", "exposes", "withdraws"]);
        for record in list(party, "listed") {
            let id = short(&text(record, "id"));
            let row = ["number", "of", "kind", "change"].map(|key| text(record, key));
            listed.row([id].into_iter().chain(row).chain(["gains", "loses"].map(|key| joined(record, key))));
        }
        section(&mut out, "The first of them (--list N):", &listed, look);
    }
    out
}

fn heading(party: &Json, look: Look) -> String {
    format!("\n{}\n", look.strong(&format!("To {}", super::plain::line(&text(party, "partner")))))
}

fn first_of(party: &Json, count: &str) -> String {
    format!("The first {} of {} (--list N):", list(party, "listed").len(), text(party, count))
}

fn section(out: &mut String, heading: &str, table: &Table, look: Look) {
    if !table.is_empty() {
        out.push_str(&format!("\n{heading}\n{}", table.render(look)));
    }
}

fn joined(record: &Json, key: &str) -> String {
    list(record, key).iter().filter_map(Json::as_str).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_id_is_told_from_a_file() -> Result<(), Fault> {
        assert_eq!(named("3f9a01")?, Version::Held("3f9a01".to_owned()));
        assert_eq!(named("3f9a01/2")?, Version::Held("3f9a01/2".to_owned()));
        assert!(matches!(named("panel.toml")?, Version::File(path) if path.is_absolute()));
        assert!(matches!(named("3f9a")?, Version::File(_)));
        Ok(())
    }

    #[test]
    fn what_would_leave_and_what_would_stay_is_told_for_each_party() {
        let answer = json!({ "title": "Panel", "version": 2, "on": "2026-01-01", "as_released": false, "records": 9,
            "parties": [{ "partner": "panel", "waits": { "code": "suspended", "why": "It is suspended." }, "leave": 3, "held_now": 1, "held_then": 4,
                "clauses": [{ "clause": "items", "kind": "item", "records": 3, "fields": [{ "field": "make", "records": 2 }] }],
                "withheld": [{ "records": 6, "why": "It is a draft.", "red_line": null }],
                "fields_withheld": [{ "kind": "item", "field": "serial", "records": 3, "why": "No clause names it." }],
                "reveals": [{ "clause": "items", "kind": "item", "field": "make-country" }],
                "listed": [{ "id": "0123456789ab", "number": "X-1", "of": "car", "kind": "item", "clause": "items", "fields": ["make"] }] }] });
        let shown = simulated(&answer, Look::default());
        for part in [
            "what would leave waits: It is suspended.",
            "would leave   3",
            "items   item  (all)  3",
            "6        It is a draft.",
            "item  serial  3",
            "make-country",
            "The first 1 of 3",
            "01234567  X-1     car  item  items   make",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }

    #[test]
    fn what_a_new_version_exposes_and_withdraws_is_told() {
        let answer = json!({ "old": { "title": "Panel", "version": 1 }, "new": { "title": "Panel", "version": 2 },
            "on": "2026-01-01", "records": 9, "parties": [{ "partner": "panel", "exposed": 2, "withdrawn": 1, "changed": 4,
                "leave_old": 5, "leave_new": 6, "fields": [{ "kind": "item", "field": "make", "gained": 4, "lost": 0 }],
                "listed": [{ "id": "0123456789ab", "number": "X-1", "kind": "item", "change": "exposed", "gains": ["make"],
                    "loses": [] }] }] });
        let shown = differs(&answer, Look::default());
        assert!(!shown.contains("note:"), "{shown}");
        for part in
            ["records newly exposed           2", "Panel, version 2", "item  make   4              0", "exposed  make"]
        {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }
}
