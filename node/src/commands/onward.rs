//! `entente onward`: passing on what others recorded, asked for, granted, and who holds what by whose hand.

use super::{
    output::{Done, Failure},
    reach::Reach,
    show::{list, short, text},
    table::{Look, Table, pairs},
};
use crate::{
    call::Call,
    cli,
    error::Fault,
    onward::{
        answering::Narrowed,
        asking::{Every, Wish},
    },
};
use serde_json::Value as Json;

/// `onward`.
pub fn onward(reach: &Reach, command: cli::Onward) -> Result<Done, Failure> {
    match command {
        cli::Onward::Ask(args) => {
            let cli::Ask { ids, every, of, to, field, purpose, days, until, reason, by } = *args;
            let every = every.zip(of).map(|(kind, of)| Every { kind, of });
            let wish = Wish { to, every, fields: field, purposes: purpose, days, until, reason, by };
            let answer = reach.call(&Call::OnwardAsk { records: ids, wish })?;
            let none = "nothing was asked";
            reach.output.listing(&answer, &requests(&answer), none)?;
        }
        cli::Onward::List => {
            let answer = reach.call(&Call::OnwardList)?;
            let none = "nobody was asked to let anything go on: `entente onward ask`";
            reach.output.listing(&answer, &requests(&answer), none)?;
        }
        cli::Onward::Grant { request, field, days, until, by, yes } => {
            let narrowed = Some(Narrowed { fields: field, days, until });
            let (node, grant) = (reach.node()?, Call::OnwardAnswer { request, narrowed, by });
            let known = node.call(&Call::OnwardList)?;
            let number = request.to_string();
            let asked = known.as_array().into_iter().flatten().find(|row| text(row, "id") == number);
            let none =
                || Fault::input("no-request", format!("there is no request {request}: see `entente onward list`"));
            let asked = asked.ok_or_else(none)?;
            node.call(&Call::Would(Box::new(grant.clone())))?;
            if !yes && !reach.output.json {
                reach.output.text(&request_view(asked, reach.output.look))?;
            }
            let question = format!(
                "Let `{}` pass this on to `{}`? It is told to us, and can be taken back.",
                text(asked, "partner"),
                text(asked, "to")
            );
            reach.confirm(yes, &question, "--yes")?;
            let answer = node.call(&grant)?;
            reach.output.answer(&answer, || request_view(&answer, reach.output.look))?;
        }
        cli::Onward::Refuse { request, by } => {
            let answer = reach.call(&Call::OnwardAnswer { request, narrowed: None, by })?;
            reach.output.answer(&answer, || request_view(&answer, reach.output.look))?;
        }
        cli::Onward::Holders { record } => {
            let answer = reach.call(&Call::OnwardHolders(record))?;
            let mut table = Table::new(&["record", "number", "holder", "by", "agreement", "state", "granted"]);
            for row in answer.as_array().into_iter().flatten() {
                let granted = if row.get("granted").and_then(Json::as_bool) == Some(true) { "yes" } else { "NO" };
                table.row([
                    short(&text(row, "record")),
                    text(row, "number"),
                    text(row, "holder"),
                    text(row, "by"),
                    short(&text(row, "agreement")),
                    text(row, "state"),
                    granted.to_owned(),
                ]);
            }
            reach.output.listing(
                &answer,
                &table,
                "nobody holds records of ours by another's hand, as far as we were told",
            )?;
        }
    }
    Ok(Done::Well)
}

fn requests(answer: &Json) -> Table {
    let mut table =
        Table::new(&["request", "partner", "to", "kind", "records", "fields", "days", "until", "state", "reason"]);
    for row in answer.as_array().into_iter().flatten() {
        let fields: Vec<&str> = list(row, "fields").iter().filter_map(Json::as_str).collect();
        let [id, partner, to, kind, days, until, state, reason] =
            ["id", "partner", "to", "kind", "days", "until", "state", "reason"].map(|key| text(row, key));
        table.row([id, partner, to, kind, records(row), fields.join(", "), days, until, state, reason]);
    }
    table
}

/// The numbers of the records that a request is about, and how many are not named.
fn records(row: &Json) -> String {
    let mut named: Vec<&str> = list(row, "records").iter().filter_map(Json::as_str).collect();
    let all = row.get("lines").and_then(Json::as_u64).unwrap_or_default();
    let more = format!("and {} more", all.saturating_sub(named.len() as u64));
    match (all, named.len() as u64 == all) {
        (0, _) => "every one".to_owned(),
        (_, true) => named.join(", "),
        (_, false) => {
            named.push(&more);
            named.join(", ")
        }
    }
}

fn request_view(row: &Json, look: Look) -> String {
    let fields: Vec<&str> = list(row, "fields").iter().filter_map(Json::as_str).collect();
    let purposes: Vec<&str> = list(row, "purposes").iter().filter_map(Json::as_str).collect();
    pairs(
        [
            ("request", text(row, "id")),
            ("asked by", text(row, "partner")),
            ("would go to", text(row, "to")),
            ("kind", text(row, "kind")),
            ("records", records(row)),
            ("fields", fields.join(", ")),
            ("purposes", purposes.join(", ")),
            ("kept for days", text(row, "days")),
            ("until", text(row, "until")),
            ("reason", text(row, "reason")),
            ("state", text(row, "state")),
        ],
        look,
    )
}
