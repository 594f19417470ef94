//! `entente recall` and `entente hold`: what is asked back, what partners asked back, and what is kept from deletion.

use super::{
    gate::query,
    output::{Done, Failure},
    reach::Reach,
    show::{list, object, short, text},
    table::{Look, Table, pairs},
};
use crate::{
    call::{Call, Recalled, Selection},
    cli::{self, Filter},
    error::Fault,
    recall::select::Common,
};
use serde_json::Value as Json;

/// Records of a proposal that people are shown.
const SHOWN: usize = 20;

/// `recall`.
pub fn recall(reach: &Reach, command: cli::Recall) -> Result<Done, Failure> {
    match command {
        cli::Recall::Propose(args) => {
            let cli::Propose { act, reason, by, .. } = &*args;
            let (act, reason, by) = ((*act).into(), reason.clone(), by.clone());
            let call = Call::RecallPropose { records: recalled(*args)?, act, reason, by };
            let answer = reach.call_watched(&call)?;
            reach.output.answer(&answer, || proposed(&answer, reach.output.look))?;
        }
        cli::Recall::Confirm { recall, by, yes } => {
            let (node, confirm) = (reach.node()?, Call::RecallConfirm { recall, by });
            let before = node.call(&Call::Would(Box::new(confirm.clone())))?;
            if !yes && !reach.output.json {
                reach.output.text(&proposed(&before, reach.output.look))?;
            }
            let question = format!(
                "Ask back {} record(s), to `{}`, from everybody who was shown them? This is for good.",
                text(&before, "records"),
                text(&before, "act")
            );
            reach.confirm(yes, &question, "--yes")?;
            let answer = reach.watched(|progress| node.call_with(&confirm, progress))?;
            reach.output.answer(&answer, || status(&answer, reach.output.look))?;
        }
        cli::Recall::Drop { recall, by } => {
            let answer = reach.call(&Call::RecallDrop { recall, by })?;
            reach.output.answer(&answer, || object(&answer, reach.output.look))?;
        }
        cli::Recall::Status { recall } => {
            let answer = reach.call(&Call::RecallStatus(recall))?;
            let look = reach.output.look;
            reach.output.answer(&answer, || match text(&answer, "state").as_str() {
                "proposed" => proposed(&answer, look),
                _ => status(&answer, look),
            })?;
        }
        cli::Recall::List { received: false } => {
            let answer = reach.call(&Call::RecallList)?;
            let mut table =
                Table::new(&["recall", "act", "state", "records", "not confirmed", "proposed by", "reason"]);
            for row in answer.as_array().into_iter().flatten() {
                let by = row.get("proposed").map(|named| text(named, "by")).unwrap_or_default();
                let [id, act, state, records, open, reason] =
                    ["id", "act", "state", "records", "open", "reason"].map(|key| text(row, key));
                table.row([id, act, state, records, open, by, reason]);
            }
            reach.output.listing(&answer, &table, "nothing was recalled: `entente recall propose`")?;
        }
        cli::Recall::List { received: true } => {
            let answer = reach.call(&Call::RecallsReceived)?;
            let mut table = Table::new(&["record", "partner", "act", "our answer", "at"]);
            for row in answer.as_array().into_iter().flatten() {
                table.row([
                    short(&text(row, "record")),
                    text(row, "partner"),
                    text(row, "act"),
                    text(row, "answer"),
                    text(row, "at"),
                ]);
            }
            reach.output.listing(&answer, &table, "no partner has asked anything back")?;
        }
    }
    Ok(Done::Well)
}

/// Exactly one way of naming records.
fn recalled(args: cli::Propose) -> Result<Recalled, Fault> {
    let cli::Propose { ids, event, place, collector, batch, filter, .. } = args;
    let mut ways = Vec::new();
    if !ids.is_empty() {
        ways.push(Recalled::Selected(Selection::Ids(ids)));
    }
    if filter != Filter::default() {
        ways.push(Recalled::Selected(Selection::Found(query(filter))));
    }
    let common = [
        event.map(Common::Event),
        place.map(Common::Place),
        collector.map(Common::Collector),
        batch.map(Common::Batch),
    ];
    ways.extend(common.into_iter().flatten().map(Recalled::With));
    match (ways.pop(), ways.is_empty()) {
        (Some(way), true) => Ok(way),
        (Some(_), false) => {
            Err(Fault::input("records", "give ids, or a query, or one thing in common, and not two of them"))
        }
        (None, _) => Err(Fault::input(
            "no-records",
            "which records? name them by id or evidence number, or give --event, --place, --collector, --batch, or a query",
        )),
    }
}

fn proposed(answer: &Json, look: Look) -> String {
    let mut out = pairs(
        [
            ("recall", text(answer, "id")),
            ("asks to", text(answer, "act")),
            ("reason", text(answer, "reason")),
            ("proposed by", answer.get("proposed").map(|who| text(who, "by")).unwrap_or_default()),
            ("records", text(answer, "records")),
            ("shown to nobody", text(answer, "shown_to_nobody")),
            ("recalled before", text(answer, "recalled_before")),
        ],
        look,
    );
    let mut kinds = Table::new(&["kind", "records"]);
    for (kind, records) in answer.get("kinds").and_then(Json::as_object).into_iter().flatten() {
        kinds.row([kind.clone(), records.to_string()]);
    }
    out.push('\n');
    out.push_str(&kinds.render(look));
    let mut holders = Table::new(&["would be asked", "records"]);
    for holder in list(answer, "holders") {
        holders.row([text(holder, "handle"), text(holder, "records")]);
    }
    if !holders.is_empty() {
        out.push('\n');
        out.push_str(&holders.render(look));
    }
    let mut records = Table::new(&["record", "kind", "number"]);
    for record in list(answer, "listed").iter().take(SHOWN) {
        records.row([short(&text(record, "id")), text(record, "kind"), text(record, "number")]);
    }
    out.push('\n');
    out.push_str(&records.render(look));
    let all = answer.get("records").and_then(Json::as_u64).unwrap_or_default();
    if all > SHOWN as u64 {
        out.push_str(&format!("and {} more: --json names them\n", all - SHOWN as u64));
    }
    out.push_str(&format!(
        "\nNobody was asked yet: another person confirms it, `entente recall confirm {} --by NAME`.\n",
        text(answer, "id")
    ));
    out
}

fn status(answer: &Json, look: Look) -> String {
    let by = |key: &str| answer.get(key).filter(|who| !who.is_null()).map_or_else(String::new, |who| text(who, "by"));
    let mut out = pairs(
        [
            ("recall", text(answer, "id")),
            ("asks to", text(answer, "act")),
            ("state", text(answer, "state")),
            ("records", text(answer, "records")),
            ("reason", text(answer, "reason")),
            ("proposed by", by("proposed")),
            ("confirmed by", by("confirmed")),
            ("not confirmed", text(answer, "open")),
        ],
        look,
    );
    let mut holders = Table::new(&["holder", "by the hand of", "answers", ""]);
    for holder in list(answer, "holders") {
        let states = holder.get("answers").and_then(Json::as_object);
        let states: Vec<String> = states.into_iter().flatten().map(|(state, n)| format!("{n} {state}")).collect();
        let removed = holder.get("removed").and_then(Json::as_bool).unwrap_or_default();
        let note = if removed { "removed as a partner: tell it by other means" } else { "" };
        holders.row([text(holder, "handle"), text(holder, "through"), states.join(", "), note.to_owned()]);
    }
    if !holders.is_empty() {
        out.push('\n');
        out.push_str(&holders.render(look));
    }
    let mut open = Table::new(&["record", "holder", "state", "since"]);
    for row in list(answer, "not_complied") {
        open.row([short(&text(row, "record")), text(row, "partner"), text(row, "state"), text(row, "answered")]);
    }
    if !open.is_empty() {
        out.push('\n');
        out.push_str(&open.render(look));
    }
    out
}

/// `hold`.
pub fn hold(reach: &Reach, command: cli::Hold) -> Result<Done, Failure> {
    let call = match command {
        cli::Hold::Place { record, reason, by } => Call::HoldPlace { record, reason, by },
        cli::Hold::Lift { record, by } => Call::HoldLift { record, by },
        cli::Hold::List => Call::HoldList,
    };
    let answer = reach.call(&call)?;
    let mut table = Table::new(&["record", "agreement", "placed by", "lifted by", "reason"]);
    for row in answer.as_array().into_iter().flatten() {
        let by = |key: &str| row.get(key).filter(|who| !who.is_null()).map_or_else(String::new, |who| text(who, "by"));
        table.row([
            short(&text(row, "record")),
            short(&text(row, "agreement")),
            by("placed"),
            by("lifted"),
            text(row, "reason"),
        ]);
    }
    reach.output.listing(&answer, &table, "nothing is held: `entente hold place`")?;
    Ok(Done::Well)
}
