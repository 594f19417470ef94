//! `entente search` and `entente record`: finding, showing, proving, writing out.

use super::{
    gate,
    output::{Done, Failure, NOT_VERIFIED, note},
    reach::{Reach, absolute},
    show::{field, list, object, short, text, truth},
    table::{Look, Table, pairs},
};
use crate::{call::Call, cli, records::search::Query};
use serde_json::{Value as Json, json};

/// Fields that say most about a record in a listing, in this order.
const TELLING: &[&str] = &[
    "type",
    "make",
    "model",
    "calibre",
    "serial",
    "lot",
    "quantity",
    "name",
    "title",
    "role",
    "media-type",
    "date",
    "country",
    "place",
];
/// Of them, so many.
const TELLING_MAX: usize = 5;

/// Searches.
pub fn search(reach: &Reach, args: cli::Search) -> Result<Done, Failure> {
    let own = match (args.own, args.received) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    };
    let query = Query { state: args.state, own, limit: args.limit, ..gate::query(args.filter) };
    let found = reach.call(&Call::Search(query))?;
    let records = found.get("records").cloned().unwrap_or_else(|| json!([]));
    reach.output.listing(&records, &table(&records), "nothing found")?;
    // Held, and not looked through: `status` says it to programs.
    for locked in list(&found, "locked") {
        let [agreement, partner, since] = ["id", "partner", "since"].map(|key| text(locked, key));
        note(&format!(
            "what `{partner}` gave under agreement {} is locked since {since} until it is met again: `entente sync {partner}`",
            short(&agreement)
        ));
    }
    if truth(&found, "more") {
        let shown = records.as_array().map_or(0, Vec::len);
        note(&format!("there are more than these {shown}: narrow the search, or raise --limit"));
    }
    Ok(Done::Well)
}

/// Carries out a command about one record.
pub fn record(reach: &Reach, command: cli::Record) -> Result<Done, Failure> {
    let look = reach.output.look;
    match command {
        cli::Record::Show { id } => {
            let value = reach.call(&Call::RecordShow(id))?;
            reach.output.answer(&value, || shown(&value, look))?;
        }
        cli::Record::Verify { id } => {
            let value = reach.call(&Call::RecordVerify(id))?;
            reach.output.answer(&value, || proved(&value, look))?;
            if !truth(&value, "ok") {
                return Ok(Done::No(NOT_VERIFIED));
            }
        }
        cli::Record::History { id } => {
            let value = reach.call(&Call::RecordHistory(id))?;
            reach.output.answer(&value, || super::history::render(&value, look))?;
        }
        cli::Record::Attachment { id, output } => {
            let call = Call::RecordAttachment { record: id, output: absolute(&output)? };
            let value = reach.call_watched(&call)?;
            reach.output.answer(&value, || object(&value, look))?;
        }
    }
    Ok(Done::Well)
}

fn table(records: &Json) -> Table {
    let mut table = Table::new(&["id", "number", "kind", "from", "state", "says"]);
    for record in records.as_array().into_iter().flatten() {
        let state = text(record, "state");
        let state = if truth(record, "released") { format!("{state}, released") } else { state };
        let state = if text(record, "suspect").is_empty() { state } else { format!("{state}, suspect") };
        let fields = record.get("fields").unwrap_or(&Json::Null);
        let says: Vec<String> =
            TELLING.iter().map(|key| text(fields, key)).filter(|t| !t.is_empty()).take(TELLING_MAX).collect();
        table.row([
            short(&text(record, "id")),
            text(record, "number"),
            text(record, "kind"),
            text(record, "originator"),
            state,
            says.join(" · "),
        ]);
    }
    table
}

fn shown(record: &Json, look: Look) -> String {
    let keys = [
        "id",
        "line",
        "number",
        "kind",
        "originator",
        "given_by",
        "state",
        "suspect",
        "released",
        "superseded_by",
        "agreement",
        "retention_days",
        "kept_until",
        "floor",
    ];
    let facts = keys.map(|key| (key.replace('_', " "), text(record, key)));
    let mut out = pairs(facts.into_iter().filter(|(_, value)| !value.is_empty()), look);
    if let Some(told) = crate::records::history::eyes_told(&text(record, "eyes")) {
        out.push_str(&format!("{}\n", look.bad(told)));
    }
    if let Some(fields) = record.get("fields").and_then(Json::as_object) {
        out.push_str(&format!("\n{}\n", look.strong("fields")));
        out.push_str(&pairs(fields.iter().map(|(name, value)| (name, field(name, value))), look));
    }
    let mut links = Table::new(&["linked", "number", "kind", "by", "says"]);
    for link in list(record, "links") {
        let by = [("", text(link, "refers_by")), ("its ", text(link, "referred_by"))];
        let by: Vec<String> =
            by.into_iter().filter(|(_, by)| !by.is_empty()).map(|(whose, by)| format!("{whose}{by}")).collect();
        let cells = ["number", "kind"].map(|key| text(link, key));
        let cells = std::iter::once(short(&text(link, "id"))).chain(cells);
        let withdrawn = truth(link, "withdrawn").then(|| "withdrawn".to_owned());
        let says: Vec<String> =
            withdrawn.into_iter().chain([text(link, "caption")]).filter(|t| !t.is_empty()).collect();
        links.row(cells.chain([by.join(", "), says.join(" · ")]));
    }
    if !links.is_empty() {
        out.push_str(&format!("\n{}", links.render(look)));
    }
    if truth(record, "links_more") {
        out.push_str("there are more linked records than these\n");
    }
    let mut events = Table::new(&["when", "what", "user"]);
    for event in list(record, "events") {
        events.row(["at", "what", "user"].map(|key| text(event, key)));
    }
    if !events.is_empty() {
        out.push('\n');
        out.push_str(&events.render(look));
    }
    out
}

fn proved(value: &Json, look: Look) -> String {
    let verdict = if truth(value, "ok") { look.good("verified") } else { look.bad("does not verify") };
    let mut out = format!("{verdict}  {}\n\n", super::plain::line(&text(value, "id")));
    let mut checks = Table::new(&["check", "holds", "says"]);
    for check in list(value, "checks") {
        checks.row(["check", "ok", "says"].map(|key| text(check, key)));
    }
    out.push_str(&checks.render(look));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::view::RecordView;

    fn sample() -> Json {
        let fields =
            json!({ "type": "rifle", "make": "X\u{1b}]0;owned\u{7}", "serial": { "raw": "ХР 1", "state": "ok" } });
        json!(RecordView {
            id: "0123456789abcdef".to_owned(),
            line: "11".to_owned(),
            kind: "item".to_owned(),
            number: Some("CAR-1".to_owned()),
            originator: "own".to_owned(),
            state: "reviewed".to_owned(),
            suspect: None,
            released: true,
            superseded_by: None,
            agreement: None,
            floor: json!({ "orcon": false }),
            fields: fields.as_object().cloned().unwrap_or_default(),
        })
    }

    #[test]
    fn a_listing_says_what_tells_most() {
        let text = table(&json!([sample()])).render(Look::default());
        assert!(
            text.contains("01234567  CAR-1   item  own   reviewed, released  rifle · X\\u{1b}]0;owned\\u{7} · ХР 1"),
            "{text}"
        );
    }

    #[test]
    fn a_record_is_shown_with_fields_and_events() {
        let mut value = sample();
        if let Some(map) = value.as_object_mut() {
            let link = json!({ "id": "aabbccddee", "kind": "attachment", "number": "CAR-1-01", "caption": "original",
                "refers_by": [], "referred_by": ["of"] });
            map.insert("links".to_owned(), json!([link]));
            map.insert(
                "events".to_owned(),
                json!([{ "at": "2026-01-01T00:00:00Z", "what": "released", "user": "ab" }]),
            );
        }
        let text = shown(&value, Look::default());
        assert!(text.contains("aabbccdd  CAR-1-01  attachment  its of  original\n"), "{text}");
        assert!(text.contains("serial  ХР 1\n") && text.contains("2026-01-01T00:00:00Z  released  ab"), "{text}");
        assert!(!text.contains('\u{1b}') && !text.contains("superseded"), "{text}");
    }

    #[test]
    fn how_long_a_received_record_is_kept_is_shown() {
        let mut value = sample();
        if let Some(map) = value.as_object_mut() {
            map.insert("given_by".to_owned(), json!("panel"));
            map.insert("retention_days".to_owned(), json!(20));
            map.insert("kept_until".to_owned(), json!("2026-01-21T00:00:00Z"));
        }
        let text = shown(&value, Look::default());
        assert!(
            text.contains("retention days  20\n") && text.contains("kept until      2026-01-21T00:00:00Z\n"),
            "{text}"
        );
        assert!(text.contains("given by        panel\n"), "{text}");
    }

    #[test]
    fn a_failed_check_shows() {
        let value = json!({ "id": "ab", "ok": false, "checks": [{ "check": "run", "ok": false, "says": "no key" }] });
        let text = proved(&value, Look::default());
        assert!(text.starts_with("does not verify  ab") && text.contains("run    no     no key"), "{text}");
    }
}
