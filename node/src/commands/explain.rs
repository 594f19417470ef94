//! `entente explain`: which fields of a record would leave to a partner, and why the others stay.

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
    let value = reach.call(&Call::Explain { record: args.record, partner: args.to })?;
    reach.output.answer(&value, || render(&value, reach.output.look))?;
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
}
