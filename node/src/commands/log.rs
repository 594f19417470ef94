//! `entente log`: the witnessed log, and the journal under it.

use super::{
    output::{Done, Failure},
    reach::{Reach, absolute},
    show::{list, object, short, text},
    table::Table,
};
use crate::{
    call::Call,
    cli,
    custody::view::LogCall,
    error::Fault,
    secret::durable::{self, Existing},
};
use serde_json::Value as Json;
use std::path::Path;

/// Carries out a command about logs.
pub fn log(reach: &Reach, command: cli::Log) -> Result<Done, Failure> {
    let ask = |call| reach.call(&Call::Log(call));
    match command {
        cli::Log::Show => {
            let answer = ask(LogCall::Show)?;
            reach.output.answer(&answer, || shown(&answer, reach))?;
        }
        cli::Log::Verify => {
            let answer = reach.call_watched(&Call::Log(LogCall::Verify))?;
            reach.output.answer(&answer, || object(&answer, reach.output.look))?;
        }
        cli::Log::Witness { head } => {
            let head = std::path::absolute(&head).unwrap_or(head);
            let answer = ask(LogCall::Witness(head))?;
            reach.output.answer(&answer, || object(&answer, reach.output.look))?;
            if answer.get("contradicts").and_then(Json::as_bool) == Some(true) {
                return Ok(Done::No(1));
            }
        }
        cli::Log::Head { partner, out, force } => {
            let out = absolute(&out)?;
            unwritten(&out, force)?;
            let answer = ask(LogCall::Head(partner))?;
            keep(&out, &text(&answer, "head"), force)?;
            let mut told = answer;
            if let Some(told) = told.as_object_mut() {
                told.insert("file".to_owned(), out.display().to_string().into());
                if !reach.output.json {
                    told.remove("head");
                }
            }
            reach.output.answer(&told, || object(&told, reach.output.look))?;
        }
        cli::Log::Prove { record } => {
            let answer = ask(LogCall::Prove(record))?;
            reach.output.answer(&answer, || proved(&answer, reach))?;
        }
        cli::Log::Forget { partner, yes } => {
            let question =
                format!("Begin anew with the log of `{partner}`? What it showed before is not held against it.");
            reach.confirm(yes, &question, "--yes")?;
            let answer = ask(LogCall::Forget { partner })?;
            reach.output.answer(&answer, || object(&answer, reach.output.look))?;
        }
        cli::Log::Journal { after, limit } => {
            let answer = ask(LogCall::Journal { after, limit })?;
            let mut table = Table::new(&["event", "at", "kind", "what", "about"]);
            for row in answer.as_array().into_iter().flatten() {
                let said = list(row, "said");
                let what: Vec<String> = said.iter().map(|part| text(part, "what")).collect();
                let about: Vec<String> = said.iter().flat_map(about).collect();
                table.row([text(row, "id"), text(row, "at"), text(row, "kind"), what.join(", "), about.join(" ")]);
            }
            reach.output.listing(&answer, &table, "the journal has no event after that")?;
        }
    }
    Ok(Done::Well)
}

/// Refuses to write over what is there.
pub fn unwritten(path: &Path, force: bool) -> Result<(), Fault> {
    if !force && path.symlink_metadata().is_ok() { Err(crate::unfinished::exists(path)) } else { Ok(()) }
}

/// Writes a head out, whole or not at all.
pub fn keep(path: &Path, head: &str, force: bool) -> Result<(), Fault> {
    let existing = if force { Existing::Replace } else { Existing::Refuse };
    let failed = |e| Fault::input("write", format!("`{}` cannot be written: {e}", path.display()));
    durable::write(path, head.as_bytes(), existing).map_err(failed)
}

/// What one part of an event says, ids cut short.
fn about(part: &Json) -> Vec<String> {
    let said = part.get("about").and_then(Json::as_object).into_iter().flatten();
    said.map(|(name, value)| format!("{name}={}", short(value.as_str().unwrap_or_default()))).collect()
}

fn shown(answer: &Json, reach: &Reach) -> String {
    let mut own = answer.clone();
    if let Some(own) = own.as_object_mut() {
        own.remove("partners");
        own.remove("unlogged");
        let by = own.get("witnessed").map(witnesses).unwrap_or_default();
        own.insert("witnessed".to_owned(), by.into());
    }
    let mut table =
        Table::new(&["partner", "state", "until", "awaited", "refused", "unlogged", "lost", "nothing more is taken"]);
    for row in list(answer, "partners") {
        let until = row.get("head").map(|head| text(head, "until")).unwrap_or_default();
        let [partner, state, awaited, refused, unlogged, lost, withheld] =
            ["partner", "state", "awaited", "refused", "unlogged", "lost", "withheld"].map(|name| text(row, name));
        table.row([partner, state, until, awaited, refused, unlogged, lost, withheld]);
    }
    let partners = if table.is_empty() { String::new() } else { format!("\n{}", table.render(reach.output.look)) };
    format!("{}{partners}", object(&own, reach.output.look))
}

fn witnesses(witnessed: &Json) -> String {
    if witnessed.is_null() {
        return "by nobody yet".to_owned();
    }
    let by: Vec<String> =
        list(witnessed, "by").iter().map(|by| format!("{} at {}", text(by, "partner"), text(by, "at"))).collect();
    format!("until {} by {}", text(witnessed, "until"), by.join(", "))
}

fn proved(answer: &Json, reach: &Reach) -> String {
    let mut shown = answer.clone();
    if let Some(shown) = shown.as_object_mut() {
        shown.remove("proof");
        shown.remove("head");
        if shown.contains_key("by") {
            let by: Vec<String> = list(answer, "by").iter().map(|by| text(by, "partner")).collect();
            shown.insert("by".to_owned(), by.join(", ").into());
        }
    }
    object(&shown, reach.output.look)
}
