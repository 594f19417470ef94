//! `entente kinds`: what can be recorded and named in agreements: kinds, their fields, what each holds and tells.
//!
//! From the table of kinds that records, agreements and mappings are checked against. It needs no home.

use super::{
    output::{Done, Failure},
    reach::Reach,
    show::{brief, list, text, truth},
    table::{Look, Table, pairs},
};
use crate::{cli, error::Fault};
use entente_protocol::record::{
    Shape,
    kind::{Fact, Kind, Rung, Slot},
};
use serde_json::{Value as Json, json};

/// Shows all kinds, or the fields of one.
pub fn kinds(reach: &Reach, args: &cli::Kinds) -> Result<Done, Failure> {
    let Some(name) = &args.kind else {
        let rows: Vec<Json> = Kind::ALL.into_iter().map(row).collect();
        let mut table = Table::new(&["kind", "fields", "what it records"]);
        for row in &rows {
            table.row(["kind", "fields", "means"].map(|key| text(row, key)));
        }
        reach.output.listing(&json!(rows), &table, "there are none")?;
        return Ok(Done::Well);
    };
    let kind = Kind::from_name(name).ok_or_else(|| {
        let known = Kind::ALL.map(Kind::name).join(", ");
        Fault::input("no-kind", format!("there is no kind `{}`: use one of {known}", name.escape_debug()))
    })?;
    let answer = whole(kind);
    reach.output.answer(&answer, || render(&answer, reach.output.look))?;
    Ok(Done::Well)
}

fn row(kind: Kind) -> Json {
    json!({ "id": kind.name(), "kind": kind.name(), "means": means(kind), "fields": kind.slots().count() })
}

fn whole(kind: Kind) -> Json {
    let fields: Vec<Json> = kind.slots().map(|slot| field(kind, slot)).collect();
    json!({ "id": kind.name(), "kind": kind.name(), "means": means(kind), "fields": fields })
}

/// One field. `tells` is the fact of its ladder, with its rung; `carries`, what it may tell beside what it states.
fn field(kind: Kind, slot: &Slot) -> Json {
    let codes = if let Shape::Code(codes) | Shape::Finding(codes) = slot.shape { codes } else { &[] };
    let from = slot.rung.and_then(|rung| kind.slot_number(rung.derived?.from)).map(|finer| finer.name);
    json!({
        "id": slot.name, "field": slot.name, "required": slot.required,
        "holds": slot.shape.expected(), "codes": codes,
        "tells": slot.rung.map(|rung| rung.fact.name()),
        "ladder": slot.rung.map(|rung| rung.ladder), "rung": slot.rung.map(|rung| rung.level),
        "finest": slot.rung.is_some_and(|rung| is_finest(kind, rung)),
        "computed_from": from,
        "carries": slot.carries.iter().map(Fact::name).collect::<Vec<_>>(),
        "personal": match (slot.personal, slot.personal_of_persons) {
            (true, _) => "always",
            (_, true) => "of-persons",
            _ => "no",
        },
    })
}

fn is_finest(kind: Kind, rung: Rung) -> bool {
    let same = kind.slots().filter_map(|slot| slot.rung).filter(|other| other.ladder == rung.ladder);
    same.map(|other| other.level).min() == Some(rung.level)
}

fn render(answer: &Json, look: Look) -> String {
    let mut out = pairs(["kind", "means"].map(|key| (key, text(answer, key))), look);
    let mut table = Table::new(&["field", "tells", "remarks", "holds"]);
    for field in list(answer, "fields") {
        table.row([text(field, "field"), tells(field), remarks(field), text(field, "holds")]);
    }
    out.push_str(&format!("\n{}", table.render(look)));
    out.push_str(
        "\nRung 0 of a ladder says most precisely what it tells, a higher one less. A record may lack every field that need not\n\
         be there. An agreement discloses fields by these names.\n",
    );
    out
}

fn tells(field: &Json) -> String {
    let rung = text(field, "rung");
    let own = if rung.is_empty() {
        String::new()
    } else {
        let (fact, ladder) = (text(field, "tells"), text(field, "ladder"));
        let which = if fact == ladder { String::new() } else { format!(" of `{ladder}`") };
        format!("{fact}{which}, rung {rung}")
    };
    let carries = list(field, "carries");
    let beside = match carries.len() {
        0 => String::new(),
        all if all == Fact::ALL.len() => "may tell anything".to_owned(),
        _ => format!("may tell {}", carries.iter().map(brief).collect::<Vec<_>>().join(", ")),
    };
    [own, beside].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

fn remarks(field: &Json) -> String {
    let personal = match text(field, "personal").as_str() {
        "always" => "personal data",
        "of-persons" => "personal data of a person",
        _ => "",
    };
    let required = if truth(field, "required") { "must be there" } else { "" };
    let from = text(field, "computed_from");
    let from = if from.is_empty() { from } else { format!("follows from `{from}`") };
    [required, personal, &from].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

/// What a kind records, in a few words.
const fn means(kind: Kind) -> &'static str {
    match kind {
        Kind::Item => "a weapon, a part or another single thing that was seen",
        Kind::Ammunition => "rounds of one calibre and lot that were seen together",
        Kind::Document => "a paper: a licence, an end-user certificate, an invoice, a packing list",
        Kind::Attachment => "a file: a photograph, a scan, with what is known of how it was made",
        Kind::Event => "that something was found, seized, handed over or seen: when and where",
        Kind::Party => "a person, company, force or group that plays a part",
        Kind::Transfer => "that goods went, or were to go, from somebody to somebody",
        Kind::DiversionCase => "how goods were diverted: from which transfer, when, where, by what methods",
        Kind::Account => "what a source or a witness told",
        Kind::Link => "that two records belong together, and how surely",
        Kind::TraceRequest => "a question to a state or maker: to whom was this delivered",
        Kind::TraceResponse => "the answer to it",
        Kind::PostDeliveryCheck => "a visit to see whether what was delivered is still where it belongs",
        Kind::RedFlag => "a warning about a transfer or a party",
        Kind::CustodyEvent => "that evidence went from one hand to another",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_explained_field_by_field() {
        for kind in Kind::ALL {
            let shown = render(&whole(kind), Look::default());
            for slot in kind.slots() {
                let row = shown.lines().find(|line| line.split_whitespace().next() == Some(slot.name));
                let row = row.unwrap_or_default();
                assert_eq!(row.contains("personal data"), slot.personal || slot.personal_of_persons, "{kind}: {row}");
                assert_eq!(row.contains(", rung "), slot.rung.is_some(), "{kind}: {row}");
                assert_eq!(row.contains("must be there"), slot.required, "{kind}: {row}");
            }
            assert!(!shown.contains("SPEC"), "{shown}");
        }
    }

    #[test]
    fn a_ladder_is_told_from_its_finest_rung() {
        let event = whole(Kind::Event);
        let field = |name: &str| list(&event, "fields").iter().find(|field| text(field, "field") == name).cloned();
        let cell = field("place-cell").unwrap_or_default();
        assert_eq!(
            (text(&cell, "tells"), text(&cell, "computed_from")),
            ("place".to_owned(), "place-point".to_owned())
        );
        assert!(!truth(&cell, "finest") && truth(&field("place-point").unwrap_or_default(), "finest"));
    }
}
