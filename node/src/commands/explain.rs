//! `entente explain`: which fields of a record would leave to a partner, and why the others stay; or which came from it.

use super::{
    output::{Done, Failure},
    plain,
    reach::Reach,
    show::{list, text, truth},
    table::{Look, Table, pairs},
};
use crate::{call::Call, cli};
use serde_json::Value as Json;

/// Explains.
pub fn explain(reach: &Reach, args: cli::Explain) -> Result<Done, Failure> {
    let look = reach.output.look;
    if let Some(partner) = args.from {
        let value = reach.call(&Call::ExplainReceived { record: args.record, partner })?;
        reach.output.answer(&value, || received(&value, look))?;
        return Ok(Done::Well);
    }
    let value = reach.call(&Call::Explain { record: args.record, partner: args.to.unwrap_or_default() })?;
    reach.output.answer(&value, || render(&value, look))?;
    Ok(Done::Well)
}

fn render(value: &Json, look: Look) -> String {
    let keys = ["record", "number", "kind", "partner"];
    let mut out = pairs(keys.map(|key| (key, text(value, key))).into_iter().filter(|(_, v)| !v.is_empty()), look);
    for answer in list(value, "agreements") {
        let title = [text(answer, "title"), text(answer, "agreement")].into_iter().find(|t| !t.is_empty());
        let title = title.map_or_else(|| "no agreement".to_owned(), |t| plain::line(&t));
        out.push_str(&format!("\n{}\n", look.strong(&title)));
        let (verdict, because) = if truth(answer, "leaves") {
            let sent = if truth(answer, "sent") { ", and was sent" } else { "" };
            (look.good("leaves"), format!("under clause {}{sent}", text(answer, "clause")))
        } else {
            (look.bad("stays"), format!("{} ({})", text(answer, "why"), text(answer, "code")))
        };
        out.push_str(&format!("{verdict}: {}\n", plain::line(&because)));
        if let Some(grant) = answer.get("grant").filter(|grant| !grant.is_null()) {
            let [days, until] = ["retention_days", "until"].map(|key| plain::line(&text(grant, key)));
            out.push_str(&format!(
                "its originator's grant: held there for {days} days at most, and not after {until}\n"
            ));
        }
        let mut fields = Table::new(&["field", "leaves", "why"]);
        for field in list(answer, "fields") {
            fields.row(["field", "leaves", "why"].map(|key| text(field, key)));
        }
        if !fields.is_empty() {
            out.push_str(&fields.render(look));
        }
    }
    out
}

fn received(value: &Json, look: Look) -> String {
    let keys = [("record", "record"), ("number", "number"), ("kind", "kind"), ("recorded by", "originator")];
    let keys = keys.map(|(name, key)| (name, text(value, key)));
    let mut out = pairs(keys.into_iter().filter(|(_, v)| !v.is_empty()), look);
    for answer in list(value, "agreements") {
        out.push_str(&format!("\n{}\n", look.strong(&plain::line(&text(answer, "title")))));
        let how = [
            ("state", "state"),
            ("came", "at"),
            ("given by", "given_by"),
            ("under version", "version"),
            ("by clause", "clause"),
            ("kept for days", "retention_days"),
            ("kept until", "kept_until"),
        ];
        let how = how.map(|(name, key)| (name, text(answer, key)));
        out.push_str(&pairs(how.into_iter().filter(|(_, v)| !v.is_empty()), look));
        let (mut fields, mut unnamed) = (Table::new(&["field", "here", "why"]), Vec::new());
        for field in list(answer, "fields") {
            match text(field, "code").as_str() {
                "slot-not-named" => unnamed.push(text(field, "field")),
                _ => fields.row(["field", "here", "why"].map(|key| text(field, key))),
            }
        }
        if !fields.is_empty() {
            out.push_str(&fields.render(look));
        }
        if !unnamed.is_empty() {
            out.push_str(&format!("no clause in this direction names: {}\n", unnamed.join(", ")));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_leaves_and_what_stays_with_its_reason() {
        let value = json!({ "record": "ab", "kind": "item", "partner": "panel", "leaves": true, "agreements": [
            { "id": "01", "agreement": "01", "title": "Field and panel", "leaves": true, "clause": "items", "sent": false,
              "fields": [{ "field": "make", "leaves": true },
                         { "field": "serial", "leaves": false, "code": "not-named", "why": "no clause names it" }] },
            { "id": "02", "agreement": "02", "leaves": false, "code": "suspended", "why": "it is suspended", "fields": [] }] });
        let text = render(&value, Look::default());
        assert!(text.contains("leaves: under clause items\n"), "{text}");
        assert!(text.contains("serial  no      no clause names it"), "{text}");
        assert!(text.contains("stays: it is suspended (suspended)"), "{text}");
    }

    #[test]
    fn what_is_here_of_a_partners_record_and_what_nobody_named() {
        let value = json!({ "record": "ab", "kind": "item", "partner": "car", "agreements": [
            { "id": "01", "title": "Field and panel", "state": "received", "clause": "items", "given_by": "panel",
              "retention_days": 20, "kept_until": "2026-01-21T00:00:00Z", "fields": [
                { "field": "serial", "here": true },
                { "field": "year", "here": false, "code": "not-given", "why": "a clause names it" },
                { "field": "made-by", "here": false, "code": "slot-not-named", "why": "none does" }] }] });
        let text = received(&value, Look::default());
        assert!(text.contains("serial  yes") && text.contains("year    no    a clause names it"), "{text}");
        assert!(text.contains("kept for days  20\n") && text.contains("given by       panel\n"), "{text}");
        assert!(text.ends_with("no clause in this direction names: made-by\n"), "{text}");
    }
}
