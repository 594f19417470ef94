//! `entente verify`: what a package proves, by whom, since when, and what it does not prove.
//!
//! It needs no home, no node and no network.

use super::{
    output::{Done, Failure, NOT_VERIFIED},
    plain,
    reach::{Reach, absolute},
    show::{list, short, text, truth},
    table::{Look, Table},
};
use crate::{
    cli,
    clock::{Clock, SystemClock},
    package::read,
};
use serde_json::Value as Json;

/// Records that are told one by one; of more the rest is counted, and all are in the JSON.
const TOLD_MAX: usize = 100;

/// Verifies a package.
pub fn verify(reach: &Reach, args: &cli::Verify) -> Result<Done, Failure> {
    let cards = args.card.iter().map(|path| absolute(path)).collect::<Result<Vec<_>, _>>()?;
    let answer = reach.watched(|progress| read::verify(&absolute(&args.file)?, &cards, SystemClock.now(), progress))?;
    reach.output.answer(&answer, || said(&answer, reach.output.look))?;
    Ok(if truth(&answer, "ok") { Done::Well } else { Done::No(NOT_VERIFIED) })
}

/// What stands above a verdict: whose card nobody has compared, of those on whose word all of it rests.
pub fn beware(answer: &Json, look: Look) -> String {
    let unknown = |row: &&Json| !truth(row, "compared") && (is(row, "maker") || is(row, "originator"));
    let mut rows: Vec<&Json> = list(answer, "organisations").iter().filter(unknown).collect();
    rows.sort_by_key(|row| !is(row, "maker"));
    if rows.is_empty() {
        return String::new();
    }
    let whose = |row: &&Json| {
        let did = if is(row, "maker") { "made this file" } else { "recorded some of it" };
        format!("of {}, which {did}", plain::line(&text(row, "name")))
    };
    let whose = rows.iter().map(whose).collect::<Vec<_>>().join(", ");
    format!(
        "{}  the card {whose}: it is known from this file alone, and anybody can write such a file in any name. Compare the words \
         below with the organisation, by a way that you trust, or give its card with --card\n\n",
        look.bad("not compared")
    )
}

/// Whose cards are here, what they are here, the words of each and whether somebody has compared them.
pub fn organisations(answer: &Json, look: Look) -> String {
    let mut rows: Vec<&Json> = list(answer, "organisations").iter().collect();
    rows.sort_by_key(|row| !is(row, "maker"));
    let mut whose = Table::new(&["organisation", "is", "words of its card", "compared"]);
    for row in rows {
        whose.row(["name", "is", "words", "says"].map(|key| text(row, key)));
    }
    format!("\n{}", whose.render(look))
}

fn is(row: &Json, what: &str) -> bool {
    list(row, "is").iter().any(|is| is == what)
}

fn said(answer: &Json, look: Look) -> String {
    let refused = text(answer, "refused");
    if !refused.is_empty() {
        let why = plain::line(&refused);
        return format!("{}  {why}\n\nNothing in this file is proved by it.\n", look.bad("refused"));
    }
    let records = list(answer, "records");
    let (total, good) = (records.len(), records.iter().filter(|record| truth(record, "ok")).count());
    let verdict = match (truth(answer, "ok"), good) {
        (true, _) => look.good("verified"),
        (false, 0) => look.bad("not verified"),
        (false, _) => look.bad("verified in part"),
    };
    let (maker, made) = (plain::line(&text(answer, "maker")), text(answer, "made"));
    let mut out = beware(answer, look);
    out.push_str(&format!(
        "{verdict}  {good} of {total} record(s) hold; nothing in the file was changed since {maker} made it at {made}\n"
    ));
    for record in records.iter().take(TOLD_MAX) {
        one(&mut out, record, look);
    }
    if total > TOLD_MAX {
        let rest = records.iter().skip(TOLD_MAX);
        let bad: Vec<String> = rest.filter(|r| !truth(r, "ok")).map(|r| short(&text(r, "id"))).collect();
        out.push_str(&format!("\nand {} more: add --json for each", total - TOLD_MAX));
        if !bad.is_empty() {
            out.push_str(&format!("; of them these do not hold: {}", bad.join(", ")));
        }
        out.push('\n');
    }
    out.push_str(&organisations(answer, look));
    out.push_str(&unproved(answer));
    out
}

fn one(out: &mut String, record: &Json, look: Look) {
    let mark = if truth(record, "ok") { look.good("holds") } else { look.bad("does not hold") };
    let number = text(record, "number");
    let number = if number.is_empty() { short(&text(record, "id")) } else { number };
    let line = |name: &str, says: &str| format!("  {name:<12}{}\n", plain::line(says));
    out.push_str(&format!("\n{mark}  {} ({})\n", plain::line(&number), plain::line(&text(record, "kind"))));
    out.push_str(&line(
        "recorded by",
        &format!("{}, attested {}", text(record, "originator"), text(record, "attested")),
    ));
    out.push_str(&line("existed", &text(record, "since")));
    for hand in list(record, "hands") {
        let [from, to, sent, received] = ["from", "to", "sent", "received"].map(|key| text(hand, key));
        let received =
            if received.is_empty() { "not countersigned".to_owned() } else { format!("countersigned {received}") };
        out.push_str(&line("went", &format!("from {from} to {to}, sent {sent}, {received}")));
    }
    let fields: Vec<String> = list(record, "fields").iter().filter_map(|f| f.as_str().map(str::to_owned)).collect();
    let fields = if fields.is_empty() { "none".to_owned() } else { fields.join(", ") };
    out.push_str(&line("shown", &fields));
    match text(record, "file").as_str() {
        "here" => out.push_str(&line("file", "in the package, and the one that the record states")),
        "left out" => out.push_str(&line("file", "stated by the record, not in the package")),
        _ => {}
    }
    out.push_str(&line("standing", &text(record, "standing")));
    for doubt in list(record, "doubts") {
        out.push_str(&line("doubt", doubt.as_str().unwrap_or_default()));
    }
}

/// What a reader might take for proved.
fn unproved(answer: &Json) -> String {
    let mut out = "\nNot proved:\n".to_owned();
    if !truth(answer, "compared") {
        out.push_str(
            "  that a card is the organisation's, where nobody has compared its words: ask the organisation, by a way that you \
             trust, or give its card with --card\n",
        );
    }
    let by_itself = list(answer, "records").iter().any(|record| text(record, "since_by") == "stated");
    if by_itself {
        out.push_str("  since when a record exists, where only its originator says so\n");
    }
    out.push_str(
        "  what happened after the times under `standing`: ask the originator\n  \
         that what a record says is true, and what it says in fields that are not shown\n",
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_verdict_says_what_is_not_proved_too() {
        let refused = said(&json!({ "ok": false, "refused": "`records/00001.cbor` was changed" }), Look::default());
        assert!(refused.starts_with("refused  `records/00001.cbor` was changed"), "{refused}");
        let record = json!({ "id": "aabbccddee", "ok": true, "number": "T-1\u{1b}[2J", "kind": "item", "since_by": "stated",
            "since": "2026, by the originator's own statement of time only", "fields": ["number"], "standing": "s" });
        let party = |compared| {
            json!({ "id": "ab", "name": "Panel", "is": ["maker"], "words": "a b c", "compared": compared,
                "says": "nobody has compared these words" })
        };
        let mut answer = json!({ "ok": true, "maker": "Panel", "made": "2026", "compared": false, "records": [record],
            "organisations": [party(false)] });
        let text = said(&answer, Look::default());
        for part in ["verified  1 of 1", "statement of time only", "nobody has compared", "Not proved:", "--card"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains('\u{1b}'), "{text}");
        // What nobody compared stands above the verdict; of a card that somebody did nothing does.
        assert!(text.starts_with("not compared  the card of Panel, which made this file"), "{text}");
        answer["organisations"] = json!([party(true)]);
        assert!(said(&answer, Look::default()).starts_with("verified"));
    }
}
