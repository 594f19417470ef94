//! `entente audit`: an export of commitments for auditors, and what it proves. Only `export` needs a home.

use super::{
    log::{keep as keep_head, unwritten},
    output::{Done, Failure, NOT_VERIFIED, note},
    plain,
    reach::{Reach, absolute},
    show::{list, text, truth},
    table::{Look, Table, pairs},
    verify::{beware, organisations},
};
use crate::{
    audit::{Options, page, read},
    call::Call,
    cli,
    clock::{Clock, SystemClock},
    error::Fault,
    secret::durable::{self, Existing},
};
use serde_json::Value as Json;
use std::path::{Path, PathBuf};

/// Findings that are told one by one; all that were kept are in the JSON and on the page.
const TOLD_MAX: usize = 100;

/// Carries out a command of auditors.
pub fn audit(reach: &Reach, command: cli::Audit) -> Result<Done, Failure> {
    match command {
        cli::Audit::Export(args) => {
            let options = Options { output: absolute(&args.output)?, force: args.force };
            let answer = reach.call_watched(&Call::AuditExport(options))?;
            reach.output.answer(&answer, || made(&answer, reach.output.look))?;
            Ok(Done::Well)
        }
        cli::Audit::Verify(args) => {
            let answer = look(reach, &args.file, &args.card, &args.heads)?;
            reach.output.answer(&answer, || said(&answer, reach.output.look))?;
            Ok(done(&answer))
        }
        cli::Audit::Report(args) => {
            let Some(html) = &args.html else {
                if !reach.output.json {
                    let message = "say where the page goes: --html FILE; or --json for programs";
                    return Err(Fault::input("html", message).into());
                }
                let answer = look(reach, &args.file, &args.card, &args.heads)?;
                reach.output.answer(&answer, String::new)?;
                return Ok(done(&answer));
            };
            let html = absolute(html)?;
            let existing = if args.force { Existing::Replace } else { Existing::Refuse };
            if !args.force && html.symlink_metadata().is_ok() {
                return Err(crate::unfinished::exists(&html).into());
            }
            let answer = look(reach, &args.file, &args.card, &args.heads)?;
            durable::write(&html, page::html(&answer).as_bytes(), existing)
                .map_err(|e| Fault::input("write", format!("`{}` cannot be written: {e}", html.display())))?;
            reach.output.answer(&answer, || {
                let look = reach.output.look;
                format!("{}{}\n\nthe page is `{}`\n", beware(&answer, look), verdict(&answer, look), html.display())
            })?;
            Ok(done(&answer))
        }
    }
}

fn look(reach: &Reach, file: &Path, cards: &[PathBuf], heads: &cli::Heads) -> Result<Json, Failure> {
    let paths = |paths: &[PathBuf]| paths.iter().map(|path| absolute(path)).collect::<Result<Vec<_>, _>>();
    let (cards, kept, file) = (paths(cards)?, paths(&heads.head)?, absolute(file)?);
    let keep = heads.keep_head.as_deref().map(absolute).transpose()?;
    if let Some(keep) = &keep {
        unwritten(keep, false)?;
    }
    let answer = reach.watched(|progress| read::verify(&file, &cards, &kept, SystemClock.now(), progress))?;
    if let Some(path) = &keep {
        // Of what does not hold nothing is worth keeping: it would take the place of what shows it.
        match answer.get("head").and_then(Json::as_str).filter(|_| truth(&answer, "ok")) {
            Some(head) => keep_head(path, head, false)?,
            None => note("no head was kept: the audit does not hold, or no head of the log is in it"),
        }
    }
    Ok(answer)
}

fn done(answer: &Json) -> Done {
    if truth(answer, "ok") { Done::Well } else { Done::No(NOT_VERIFIED) }
}

fn made(answer: &Json, look: Look) -> String {
    let names = ["file", "bytes", "events", "feeds", "runs", "made"];
    let mut out = pairs(names.map(|key| (key, text(answer, key))), look);
    out.push_str(&format!(
        "\nNo word of a record is in it. Whoever gets it checks it with `entente audit verify FILE`, and your card by these \
         words, read out by you:\n  {}\n",
        plain::line(&text(answer, "words"))
    ));
    out
}

fn verdict(answer: &Json, look: Look) -> String {
    let refused = text(answer, "refused");
    if !refused.is_empty() {
        return format!("{}  {}", look.bad("refused"), plain::line(&refused));
    }
    let verdict = if truth(answer, "ok") { look.good("holds") } else { look.bad("does not hold") };
    let [maker, made, events] = ["maker", "made", "events"].map(|key| plain::line(&text(answer, key)));
    format!("{verdict}  the releases of {maker} until {made}, over {events} event(s) of its journal")
}

fn said(answer: &Json, look: Look) -> String {
    let mut out = format!("{}{}\n", beware(answer, look), verdict(answer, look));
    if !text(answer, "refused").is_empty() {
        out.push_str("\nNothing in this file is proved by it.\n");
        return out;
    }
    let mut table = Table::new(&["area", "test", "checked", "result"]);
    for check in list(answer, "checks") {
        let (wrong, open) = (text(check, "wrong"), text(check, "open"));
        let result = match (truth(check, "ok"), open.as_str()) {
            (false, _) => format!("{wrong} do not hold"),
            (true, "0") => "ok".to_owned(),
            (true, _) => format!("ok, {open} open"),
        };
        table.row([text(check, "area"), text(check, "says"), text(check, "checked"), result]);
    }
    out.push_str(&format!("\n{}", table.render(look)));
    let findings = list(answer, "findings");
    for finding in findings.iter().take(TOLD_MAX) {
        let state = text(finding, "state");
        let state = if truth(finding, "ok") { state } else { look.bad(&state) };
        let [area, whose, place, says] = ["area", "whose", "where", "says"].map(|key| plain::line(&text(finding, key)));
        out.push_str(&format!("\n{state}  {area}, {whose}: {place}\n  {says}\n"));
    }
    if findings.len() > TOLD_MAX {
        out.push_str(&format!("\nand {} more: add --json for each\n", findings.len() - TOLD_MAX));
    }
    out.push_str(&organisations(answer, look));
    out.push_str("\nNot proved:\n");
    if !truth(answer, "compared") {
        out.push_str(
            "  that a card is the organisation's, where nobody has compared its words: give its card with --card\n",
        );
    }
    if !list(answer, "checks").iter().any(|check| text(check, "id") == "kept heads" && text(check, "checked") != "0") {
        out.push_str(
            "  that history was not made anew since an earlier audit: give a head that you kept, or got from a witness, with --head\n",
        );
    }
    for says in list(answer, "not_proved").iter().filter_map(Json::as_str) {
        out.push_str(&format!("  {says}\n"));
    }
    out
}
