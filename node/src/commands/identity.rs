//! `entente identity`: who this node is, and its card.

use super::{
    output::{Done, Failure},
    plain,
    reach::{Reach, absolute, free},
    show::{object, text},
    table::pairs,
};
use crate::{
    call::Call,
    cli,
    error::Fault,
    secret::durable::{self, Existing},
};
use serde_json::json;
use std::path::Path;

/// Shows the identity or writes the card.
pub fn identity(reach: &Reach, command: cli::Identity) -> Result<Done, Failure> {
    match command {
        cli::Identity::Show => {
            let value = reach.call(&Call::Identity)?;
            reach.output.answer(&value, || object(&value, reach.output.look))?;
        }
        cli::Identity::Contact(command) => return super::keys::contact(reach, command),
        cli::Identity::Renew => {
            let value = reach.call(&Call::IdentityRenew)?;
            reach.output.answer(&value, || object(&value, reach.output.look))?;
        }
        cli::Identity::TakeUp { card, dry_run, yes } => {
            return super::keys::take_up(reach, card.as_deref(), (dry_run, yes));
        }
        cli::Identity::Card { output } => return card(reach, &Call::Card, output.as_deref()),
    }
    Ok(Done::Well)
}

/// Shows a card, or writes it to a file.
pub fn card(reach: &Reach, call: &Call, output: Option<&Path>) -> Result<Done, Failure> {
    let Some(path) = output else {
        let value = reach.call(call)?;
        // The armour alone, so that it can be piped into a file or a message.
        reach.output.answer(&value, || plain::lines(&text(&value, "card")))?;
        return Ok(Done::Well);
    };
    let path = absolute(path)?;
    free(&path)?;
    let value = reach.call(call)?;
    durable::write(&path, text(&value, "card").as_bytes(), Existing::Refuse)
        .map_err(|e| Fault::input("write", format!("`{}` cannot be written: {e}", path.display())))?;
    let written = json!({ "file": path.display().to_string(), "words": text(&value, "words") });
    reach.output.answer(&written, || {
        pairs([("card", text(&written, "file")), ("words", text(&value, "words"))], reach.output.look)
    })?;
    Ok(Done::Well)
}
