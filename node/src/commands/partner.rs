//! `entente partner`: who we share with. Adding one compares twelve words; nothing is trusted before.

use super::{
    output::{Done, Failure, note},
    plain,
    reach::{Reach, Reached, absolute},
    show::{list, object, short, text, truth},
    table::Table,
};
use crate::{call::Call, cli, error::Fault, partners::PartnerState};
use serde_json::Value as Json;
use std::path::Path;

/// Carries out a command about partners.
pub fn partner(reach: &Reach, command: cli::Partner) -> Result<Done, Failure> {
    let answer = match command {
        cli::Partner::Add { file, confirm } => add(reach, &file, confirm)?,
        cli::Partner::List => {
            let value = reach.call(&Call::PartnerList)?;
            let empty = "no partners yet: add one by its card, `entente partner add FILE`";
            reach.output.listing(&value, &table(&value), empty)?;
            return Ok(Done::Well);
        }
        cli::Partner::Show { partner } => reach.call(&Call::PartnerShow(partner))?,
        cli::Partner::Card { partner, output } => {
            return super::identity::card(reach, &Call::PartnerCard(partner), output.as_deref());
        }
        cli::Partner::Suspend { partner } => set(reach, partner, PartnerState::Suspended)?,
        cli::Partner::Resume { partner } => set(reach, partner, PartnerState::Active)?,
        cli::Partner::Retry { partner } => reach.call(&Call::PartnerRetry(partner))?,
        cli::Partner::Remove { partner, yes } => remove(reach, partner, yes)?,
    };
    reach.output.answer(&answer, || object(&answer, reach.output.look))?;
    Ok(Done::Well)
}

fn set(reach: &Reach, partner: String, state: PartnerState) -> Result<Json, Fault> {
    reach.call(&Call::PartnerState { partner, state })
}

/// Says whom, and what it means; asks.
fn remove(reach: &Reach, partner: String, yes: bool) -> Result<Json, Failure> {
    let node = reach.node()?;
    if !yes {
        let held = node.call(&Call::PartnerShow(partner.clone()))?;
        note(&format!(
            "{} ({}): every connection is closed, and not even recalls reach it then. Only its twelve words bring it \
             back. To stop releases for a while: `entente partner suspend`.",
            text(&held, "name"),
            text(&held, "handle")
        ));
    }
    reach.confirm(yes, "Remove this partner?", "--yes")?;
    Ok(node.call(&Call::PartnerState { partner, state: PartnerState::Removed })?)
}

fn add(reach: &Reach, file: &Path, confirm: Option<String>) -> Result<Json, Failure> {
    let path = absolute(file)?;
    let node = reach.node()?;
    let words = match confirm {
        Some(words) => words,
        None => compare(reach, &node, &path)?,
    };
    // The words go along: if the file has changed since it was shown, they no longer fit.
    Ok(node.call(&Call::PartnerAdd { path, words })?)
}

/// Shows what a card says and asks whether the partner read out the same words.
fn compare(reach: &Reach, node: &Reached, path: &Path) -> Result<String, Failure> {
    let card = node.call(&Call::PartnerRead(path.to_owned()))?;
    let words = text(&card, "words");
    if !super::at_terminal() {
        let message = "a partner is added only after a person has compared the card's twelve words by voice, \
            and there is no terminal to ask at: add --confirm \"word word ...\" with the words that the partner read out";
        return Err(Fault::input("needs-confirmation", message).into());
    }
    note(&numbered(&card, &words));
    reach.confirm(false, "Did the partner read out these twelve words, in this order?", "--confirm WORDS")?;
    Ok(words)
}

fn numbered(card: &Json, words: &str) -> String {
    let (name, handle, id) = (text(card, "name"), text(card, "handle"), text(card, "id"));
    let mut out = format!("{} ({}), id {}\n", plain::line(&name), plain::line(&handle), plain::line(&id));
    if truth(card, "known") {
        out.push_str("This partner is known here: the card would replace the one that we have.\n");
    }
    out.push_str("\nCall the partner at a number that you know. It reads out the words of its own card:\n\n");
    let words: Vec<&str> = words.split_whitespace().collect();
    for (row, four) in words.chunks(4).enumerate() {
        for (at, word) in four.iter().enumerate() {
            out.push_str(&format!("  {:>2} {word:<10}", row * 4 + at + 1));
        }
        out.push('\n');
    }
    out
}

fn table(partners: &Json) -> Table {
    let mut table = Table::new(&["id", "handle", "state", "name", "addresses"]);
    for partner in partners.as_array().into_iter().flatten() {
        let addresses: Vec<String> = list(partner, "addresses").iter().map(super::show::brief).collect();
        let cells = ["handle", "state", "name"].map(|key| text(partner, key));
        table.row(std::iter::once(short(&text(partner, "id"))).chain(cells).chain([addresses.join(" ")]));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table::Look;
    use serde_json::json;

    #[test]
    fn words_are_numbered_to_be_read_out() {
        let words = "a b c d e f g h i j k zoo";
        let text = numbered(&json!({ "name": "P\u{1b}[1m", "handle": "p", "id": "00", "known": true }), words);
        assert!(text.contains(" 1 a") && text.contains("12 zoo") && text.contains("would replace"), "{text}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn partners_are_listed() {
        let text = table(&json!([{ "id": "0123456789", "handle": "panel", "state": "active", "name": "Panel",
            "addresses": ["a:1", "b:2"] }]))
        .render(Look::default());
        assert!(text.contains("01234567  panel   active  Panel  a:1 b:2"), "{text}");
    }
}
