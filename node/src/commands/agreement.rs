//! `entente agreement`: what may go to whom. People sign the text that the signed bytes mean, and nothing else.

use super::{
    output::{Done, Failure, NOT_VERIFIED, note},
    plain, preview,
    reach::{Reach, Reached, absolute, free},
    show::{list, object, short, text, truth},
    table::{Look, Table, pairs},
};
use crate::{
    call::{Call, read_text},
    cli,
    error::Fault,
    secret::durable::{self, Existing},
};
use entente_protocol::agreement::Standing;
use entente_protocol::limits::AGREEMENT_BYTES_MAX;
use serde_json::Value as Json;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Carries out a command about agreements.
pub fn agreement(reach: &Reach, command: cli::Agreement) -> Result<Done, Failure> {
    let answer = match command {
        cli::Agreement::Check { file } => checked(reach.call(&Call::AgreementCheck(absolute(&file)?))?),
        cli::Agreement::Templates => {
            let value = reach.call(&Call::AgreementTemplates)?;
            let mut table = Table::new(&["template", "gives", "asks for a country"]);
            for row in value.as_array().into_iter().flatten() {
                table.row(["id", "about", "country"].map(|key| text(row, key)));
            }
            reach.output.listing(&value, &table, "there are none")?;
            return Ok(Done::Well);
        }
        cli::Agreement::New { template, with, country, output } => new(reach, template, with, country, &output)?,
        cli::Agreement::Simulate { version, shown } => return preview::simulate(reach, &version, &shown),
        cli::Agreement::Diff { old, new, shown } => return preview::diff(reach, [&old, &new], &shown),
        cli::Agreement::Prove { property, timeout } => {
            let answer = reach.call(&Call::AgreementProve { property, timeout_s: timeout })?;
            reach.output.answer(&answer, || object(&answer, reach.output.look))?;
            let holds = matches!(text(&answer, "answer").as_str(), "proved" | "nothing-in-force");
            return Ok(if holds { Done::Well } else { Done::No(NOT_VERIFIED) });
        }
        cli::Agreement::Sign { file, output, yes } => sign(reach, &file, output, yes)?,
        cli::Agreement::Add { file } => reach.call(&Call::AgreementAdd(absolute(&file)?))?,
        cli::Agreement::List => {
            let value = reach.call(&Call::AgreementList)?;
            let empty = "no agreements yet: draft one and check it, `entente agreement check FILE`";
            reach.output.listing(&value, &table(&value), empty)?;
            return Ok(Done::Well);
        }
        cli::Agreement::Show { agreement } => reach.call(&Call::AgreementShow(agreement))?,
        cli::Agreement::Accept { agreement, yes } => accept(reach, agreement, yes)?,
        cli::Agreement::Approve { agreement, by, yes } => approve(reach, agreement, by, yes)?,
        cli::Agreement::Drop { agreement, yes } => drop_proposal(reach, agreement, yes)?,
        cli::Agreement::Suspend { agreement } => set(&reach.node()?, agreement, Standing::Suspended)?,
        cli::Agreement::Resume { agreement } => set(&reach.node()?, agreement, Standing::Active)?,
        cli::Agreement::End { agreement, yes } => end(reach, agreement, yes)?,
        cli::Agreement::Erase { agreement, by, copies, yes } => {
            let answer = erase(reach, agreement, by, copies, yes)?;
            reach.output.answer(&answer, || object(&answer, reach.output.look))?;
            return Ok(Done::Well);
        }
    };
    reach.output.answer(&answer, || shown(&answer, reach.output.look))?;
    let missing: Vec<&str> = list(&answer, "signatories_missing").iter().filter_map(Json::as_str).collect();
    if !missing.is_empty() && !reach.output.json {
        note(&format!(
            "This organisation signs when {} approved: `entente agreement approve {} --by NAME`.",
            missing.join(" and "),
            text(&answer, "agreement").get(..8).unwrap_or_default()
        ));
    }
    Ok(Done::Well)
}

/// Writes a draft where people want it, and says what comes next.
fn new(
    reach: &Reach,
    template: String,
    partner: String,
    country: Option<String>,
    output: &Path,
) -> Result<Json, Failure> {
    let path = absolute(output)?;
    free(&path)?;
    let mut draft = reach.call(&Call::AgreementNew { template, partner, country })?;
    durable::write(&path, text(&draft, "text").as_bytes(), Existing::Refuse)
        .map_err(|e| Fault::input("write", format!("`{}` cannot be written: {e}", path.display())))?;
    if let Some(map) = draft.as_object_mut() {
        map.remove("text");
        map.insert("file".to_owned(), Json::String(path.display().to_string()));
    }
    if !reach.output.json {
        let path = path.display();
        note(&format!(
            "Change the text as you agree with your partner, then look at what it would give (`entente agreement \
             simulate {path}`) and sign it (`entente agreement sign {path}`)."
        ));
    }
    Ok(draft)
}

/// What a check answers. An id that was drawn for it alone is nobody's: signing draws another.
fn checked(mut answer: Json) -> Json {
    if truth(&answer, "id_at_signing")
        && let Some(map) = answer.as_object_mut()
    {
        map.retain(|key, _| !matches!(key.as_str(), "agreement" | "digest"));
        if let (Some(Json::String(id)), Some(Json::String(text))) = (map.remove("id"), map.get_mut("text")) {
            *text = text.replacen(&format!("id = \"{id}\"\n"), "", 1);
        }
    }
    answer
}

/// Shows the exact text, asks, signs.
fn sign(reach: &Reach, file: &Path, output: Option<PathBuf>, yes: bool) -> Result<Json, Failure> {
    let path = absolute(file)?;
    let output = absolute(&output.unwrap_or_else(|| path.with_extension("signed")))?;
    free(&output)?;
    let node = reach.node()?;
    let checked = node.call(&Call::AgreementCheck(path.clone()))?;
    let refused = list(&checked, "findings").iter().filter(|found| truth(found, "refused"));
    let refused: Vec<String> = refused.map(|found| format!("`{}`: {}", path.display(), text(found, "says"))).collect();
    if !refused.is_empty() {
        return Err(Fault::input("not-ready", refused.join("\n")).into());
    }
    consent(reach, &checked, yes)?;
    let to = output.clone();
    let signed = if is_signed_form(&path)? {
        node.call(&Call::AgreementSign { path, output })?
    } else {
        // A text without an id is given a fresh one each time it is read. What was shown names its own, and reads
        // back to the bytes that it was printed from: so that is what is signed.
        let exact = exact_text(&output, &text(&checked, "text"))?;
        let signed = node.call(&Call::AgreementSign { path: exact.clone(), output });
        // Only a copy of what the signed file holds.
        let _ = fs::remove_file(&exact);
        signed?
    };
    if text(&signed, "digest") != text(&checked, "digest") {
        let message = "the file was changed while it was being signed: what was signed is not what was shown; \
            end the agreement (`entente agreement end`) and sign again";
        return Err(Fault::input("changed", message).into());
    }
    written(signed, &to)
}

/// Writes the signed file where the node itself may not, as a service that sees little of the machine.
fn written(mut signed: Json, output: &Path) -> Result<Json, Failure> {
    let unwritten = signed.as_object_mut().and_then(|map| map.remove("unwritten"));
    if let Some(Json::String(file)) = unwritten {
        durable::write(output, file.as_bytes(), Existing::Refuse).map_err(|e| {
            let message = format!(
                "the agreement is signed, and kept here; its file `{}` cannot be written: {e}. Give the same command \
                 with another -o: nothing is signed twice",
                output.display()
            );
            Fault::input("write", message)
        })?;
    }
    Ok(signed)
}

/// Shows the exact text of the proposal, asks, signs that one and no other.
fn accept(reach: &Reach, agreement: String, yes: bool) -> Result<Json, Failure> {
    let node = reach.node()?;
    let proposal = proposed(&node, &agreement)?;
    consent(reach, &proposal, yes)?;
    // The digest goes along: a partner may send another proposal while this one is being read.
    Ok(node.call(&Call::AgreementAccept { agreement, digest: text(&proposal, "digest") })?)
}

/// Shows the exact text of the proposal, asks, and takes the word of one of our signatories for that one and no other.
fn approve(reach: &Reach, agreement: String, by: String, yes: bool) -> Result<Json, Failure> {
    let node = reach.node()?;
    let proposal = proposed(&node, &agreement)?;
    let approve = Call::AgreementApprove { agreement, digest: text(&proposal, "digest"), by };
    node.call(&Call::Would(Box::new(approve.clone())))?;
    consent(reach, &proposal, yes)?;
    Ok(node.call(&approve)?)
}

/// Says which proposal it is, asks, drops that one and no other.
fn drop_proposal(reach: &Reach, agreement: String, yes: bool) -> Result<Json, Failure> {
    let node = reach.node()?;
    let proposal = proposed(&node, &agreement)?;
    if !yes {
        note(&format!(
            "{}, version {}, with {}",
            text(&proposal, "title"),
            text(&proposal, "version"),
            text(&proposal, "parties")
        ));
    }
    reach.confirm(yes, "Drop this proposal?", "--yes")?;
    Ok(node.call(&Call::AgreementDrop { agreement, digest: text(&proposal, "digest") })?)
}

/// The proposal of an agreement, which may stand alone or over a version in force.
fn proposed(node: &Reached, agreement: &str) -> Result<Json, Fault> {
    let held = node.call(&Call::AgreementShow(agreement.to_owned()))?;
    let proposal = held.get("proposal").unwrap_or(&held);
    if text(proposal, "state") != "proposed" {
        let message = format!("agreement `{agreement}` has no proposal that waits: see `entente agreement list`");
        return Err(Fault::input("agreement", message));
    }
    Ok(proposal.clone())
}

fn erase(reach: &Reach, agreement: String, by: String, copies: Vec<String>, yes: bool) -> Result<Json, Failure> {
    let (node, shown) = (reach.node()?, Call::AgreementShow(agreement.clone()));
    let erase = Call::AgreementErase { agreement, by, copies };
    node.call(&Call::Would(Box::new(erase.clone())))?;
    if !yes {
        let held = node.call(&shown)?;
        note(&format!("{}, with {}: nothing opens it again.", text(&held, "title"), text(&held, "parties")));
    }
    reach.confirm(yes, "Erase everything that was received under this agreement?", "--yes")?;
    Ok(reach.watched(|progress| node.call_with(&erase, progress))?)
}

fn end(reach: &Reach, agreement: String, yes: bool) -> Result<Json, Failure> {
    let node = reach.node()?;
    if !yes {
        let held = node.call(&Call::AgreementShow(agreement.clone()))?;
        note(&format!("{}, with {}: to end it is final.", text(&held, "title"), text(&held, "parties")));
    }
    reach.confirm(yes, "End this agreement?", "--yes")?;
    Ok(set(&node, agreement, Standing::Ended)?)
}

fn set(node: &Reached, agreement: String, standing: Standing) -> Result<Json, Fault> {
    node.call(&Call::AgreementStanding { agreement, standing })
}

/// Prints what would be signed, and asks.
fn consent(reach: &Reach, agreement: &Json, yes: bool) -> Result<(), Failure> {
    // A program that has said yes gets the text in the answer, and the standard error for faults alone.
    if !(yes && reach.output.json) {
        note(&format!("This is what you sign:\n\n{}{}", text(agreement, "text"), revealed(agreement)));
    }
    reach.confirm(yes, "Sign this agreement for your organisation?", "--yes")
}

/// Whether a file carries signatures already, so that its id stands.
fn is_signed_form(path: &Path) -> Result<bool, Fault> {
    Ok(read_text(path, 2 * AGREEMENT_BYTES_MAX as u64)?.trim_start().starts_with("-----BEGIN"))
}

/// Writes the text that was shown beside the output.
fn exact_text(output: &Path, text: &str) -> Result<PathBuf, Fault> {
    let mut name = output.file_name().unwrap_or_default().to_owned();
    name.push(".text");
    let path = output.with_file_name(name);
    durable::write(&path, text.as_bytes(), Existing::Refuse).map_err(|e| {
        let what = match e.kind() {
            io::ErrorKind::AlreadyExists => {
                "is in the way: an interrupted `sign` leaves it; remove it, or name another -o".to_owned()
            }
            _ => format!("cannot be written: {e}"),
        };
        Fault::input("write", format!("`{}` {what}", path.display()))
    })?;
    Ok(path)
}

/// An agreement for people: facts, then the text.
fn shown(agreement: &Json, look: Look) -> String {
    if agreement.get("text").is_none() {
        return object(agreement, look);
    }
    let drawn = truth(agreement, "id_at_signing");
    let id = if drawn { "will be given at signing: the text has none".to_owned() } else { text(agreement, "id") };
    let facts = [
        ("id", id),
        ("title", text(agreement, "title")),
        ("version", text(agreement, "version")),
        ("state", text(agreement, "state")),
        ("parties", text(agreement, "parties")),
        ("signed by", text(agreement, "signed_by")),
        ("waits for", waits_for(agreement).unwrap_or_default()),
        ("valid", format!("{} to {}", text(agreement, "from"), text(agreement, "until"))),
        ("digest", text(agreement, "digest")),
        ("file", text(agreement, "file")),
    ];
    let mut out = pairs(facts.into_iter().filter(|(_, value)| !value.is_empty()), look);
    out.extend(list(agreement, "erased").iter().map(|row| format!("\n{}\n", erased(row))));
    out.push_str(&format!("\n{}{}", plain::lines(&text(agreement, "text")), revealed(agreement)));
    if let Some(proposal) = agreement.get("proposal") {
        out.push_str(&format!("\n{}\n\n{}", look.strong("A new version is proposed:"), shown(proposal, look)));
    }
    out
}

/// Who must act before every party has signed it; none where it waits for nobody.
pub(super) fn waits_for(agreement: &Json) -> Option<String> {
    let who = list(agreement, "waits_for");
    match (truth(agreement, "waits_for_us"), who) {
        (_, []) => None,
        (true, [_]) => Some("us".to_owned()),
        _ => Some(who.iter().map(super::show::brief).collect::<Vec<_>>().join(" and ")),
    }
}

/// That what came under an agreement is gone at its holder: our own deed, or a partner's signed receipt.
pub(super) fn erased(row: &Json) -> String {
    let [holder, by, at] = ["holder", "by", "at"].map(|key| plain::line(&text(row, key)));
    let holder = if holder == "own" { "this organisation".to_owned() } else { holder };
    let by = if by == holder { String::new() } else { format!(", by {by}") };
    let what = if truth(row, "done") { "has erased" } else { "is erasing" };
    let copies: Vec<String> = list(row, "copies").iter().map(|copy| plain::line(&super::show::brief(copy))).collect();
    let copies = match copies.as_slice() {
        [] => String::new(),
        some => format!("; copies that could still open it: {}", some.join(", ")),
    };
    format!("{holder} {what} what it received under it ({at}{by}){copies}")
}

/// What the clauses' conditions tell beside the fields that they disclose.
fn revealed(agreement: &Json) -> String {
    let lines = list(agreement, "reveals").iter().map(|reveal| {
        let [clause, kind, field] = ["clause", "kind", "field"].map(|key| text(reveal, key));
        format!("clause `{clause}`: whoever receives a record of kind `{kind}` learns something of `{field}`\n")
    });
    let (lines, mut out) = (lines.collect::<String>(), String::new());
    if !lines.is_empty() {
        out.push_str(&format!("\nConditions reveal what their clauses withhold:\n{lines}"));
    }
    let found = list(agreement, "findings").iter().map(|finding| {
        let clause = text(finding, "clause");
        let of = if clause.is_empty() { String::new() } else { format!("clause `{clause}`: ") };
        let refused = if truth(finding, "refused") { "cannot be signed so: " } else { "" };
        plain::lines(&format!("{refused}{of}{}\n", text(finding, "says")))
    });
    let found: String = found.collect();
    if !found.is_empty() {
        out.push_str(&format!("\nTo be looked at before anybody signs:\n{found}"));
    }
    out
}

fn table(agreements: &Json) -> Table {
    let mut table = Table::new(&["id", "version", "state", "parties", "signed by", "until", "title"]);
    for agreement in agreements.as_array().into_iter().flatten() {
        let joined = |key| list(agreement, key).iter().map(super::show::brief).collect::<Vec<_>>().join(" ");
        let state = text(agreement, "state");
        let state = waits_for(agreement).map_or(state.clone(), |who| format!("{state}, waits for {who}"));
        table.row([
            short(&text(agreement, "id")),
            text(agreement, "version"),
            state,
            joined("parties"),
            joined("signed_by"),
            text(agreement, "until"),
            text(agreement, "title"),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sample() -> Json {
        json!({ "id": "3f9a01c277", "title": "Field and panel", "version": 1, "state": "proposed",
            "parties": ["field", "panel"], "signed_by": ["panel"], "from": "2026-01-01", "until": "2027-01-01",
            "digest": "aa", "waits_for": ["field"], "waits_for_us": true, "text": "title = \"x\u{1b}[2J\"\n" })
    }

    #[test]
    fn what_waits_for_us_shows_in_the_list() {
        let text = table(&json!([sample()])).render(Look::default());
        assert!(text.contains("3f9a01c2  1        proposed, waits for us  field panel  panel"), "{text}");
    }

    #[test]
    fn who_is_waited_for_is_named_at_the_side_that_has_signed() {
        let mut value = sample();
        value["waits_for_us"] = json!(false);
        value["waits_for"] = json!(["panel", "state"]);
        let text = table(&json!([value])).render(Look::default());
        assert!(text.contains("proposed, waits for panel and state"), "{text}");
        assert!(shown(&value, Look::default()).contains("waits for  panel and state\n"));
        value["waits_for"] = json!([]);
        assert!(!shown(&value, Look::default()).contains("waits for"));
    }

    #[test]
    fn receipts_of_erasure_are_told_in_words() {
        let mut value = sample();
        value["erased"] = json!([
            { "holder": "panel", "by": "panel", "at": "2027-01-01", "done": true, "copies": [] },
            { "holder": "own", "by": "A. Diallo", "at": "2027-01-02", "done": false, "copies": ["a tape"] }]);
        let text = shown(&value, Look::default());
        assert!(text.contains("\npanel has erased what it received under it (2027-01-01)\n"), "{text}");
        let ours = "this organisation is erasing what it received under it (2027-01-02, by A. Diallo); copies that could still open it: a tape";
        assert!(text.contains(ours), "{text}");
    }

    #[test]
    fn an_id_that_was_drawn_for_a_check_is_not_shown() {
        let mut value = sample();
        value["text"] = json!("title = \"x\"\nid = \"3f9a01c277\"\nversion = 1\n");
        assert_eq!(checked(value.clone()), value, "an id that the text has is shown");
        value["id_at_signing"] = json!(true);
        let checked = checked(value);
        assert_eq!((checked.get("id"), checked.get("digest")), (None, None));
        let text = shown(&checked, Look::default());
        assert!(text.contains("will be given at signing") && !text.contains("3f9a01c277"), "{text}");
    }

    #[test]
    fn the_text_is_shown_in_full_and_harmless() {
        let mut value = sample();
        let proposal = sample();
        if let Some(map) = value.as_object_mut() {
            map.insert("state".to_owned(), json!("in-force"));
            map.insert("proposal".to_owned(), proposal);
        }
        let text = shown(&value, Look::default());
        assert_eq!(text.matches("title = \"x\\u{1b}[2J\"").count(), 2, "{text}");
        assert!(text.contains("A new version is proposed"));
    }

    #[test]
    fn a_file_that_the_node_may_not_write_is_written_here() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("signed");
        let answer = json!({ "digest": "aa", "unwritten": "-----BEGIN" });
        assert_eq!(written(answer.clone(), &path).map_err(|_| "refused")?, json!({ "digest": "aa" }));
        assert_eq!(fs::read_to_string(&path)?, "-----BEGIN");
        assert!(written(answer, &folder.path().join("no folder").join("signed")).is_err());
        Ok(())
    }

    #[test]
    fn the_form_of_a_file_is_told_by_its_beginning() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a");
        fs::write(&path, "\n-----BEGIN ENTENTE AGREEMENT-----\n")?;
        assert!(is_signed_form(&path)?);
        fs::write(&path, "language = 1\n")?;
        assert!(!is_signed_form(&path)?);
        let exact = exact_text(&folder.path().join("out.signed"), "language = 1\n")?;
        assert_eq!(exact, folder.path().join("out.signed.text"));
        assert!(exact_text(&folder.path().join("out.signed"), "x").is_err(), "a file of that name was replaced");
        Ok(())
    }
}
