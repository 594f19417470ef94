//! `entente key` and `entente identity contact`: keys over time, and the people on the card.

use super::{
    output::{Done, Failure, note},
    reach::{Reach, absolute},
    show::{list, object, short, text},
    table::{Look, Table},
};
use crate::{
    call::Call,
    cli,
    clock::say,
    error::Fault,
    keys::{Ask, contacts::Change, keyring::Which, revoke::Revoked, rotate::How},
};
use entente_protocol::identity::{Contact, Purpose};
use serde_json::Value as Json;
use std::path::Path;

/// Carries out a command about keys.
pub fn key(reach: &Reach, command: cli::Key) -> Result<Done, Failure> {
    match command {
        cli::Key::List => {
            let value = reach.call(&Call::Keys(Ask::List))?;
            reach.output.listing(&value, &keys(&value), "no keys")?;
            Ok(Done::Well)
        }
        cli::Key::Rotate { which, dry_run, now, next_root_lost, yes } => {
            let purpose = which.purpose();
            let ask = |dry_run| Ask::Rotate { purpose, how: How { dry_run, now, next_root_lost } };
            let question = match purpose {
                Purpose::Root => "Put the next root key in the place of this one, and destroy this one?",
                _ => "Put a new key in the place of this one, and destroy this one?",
            };
            change(reach, &ask, (dry_run, yes), question)
        }
        cli::Key::Revoke { key, reason, since, dry_run, next_root_lost, yes } => {
            let since = since.map(|text| time(&text)).transpose()?;
            let ask = |dry_run| {
                Ask::Revoke(Revoked { key: key.clone(), reason: reason.clone(), since, dry_run, next_root_lost })
            };
            change(reach, &ask, (dry_run, yes), "Revoke this key, for good, and tell every partner?")
        }
        cli::Key::Reattest { by, dry_run, yes } => {
            let ask = |dry_run| Ask::Reattest { by: by.clone(), dry_run };
            change(reach, &ask, (dry_run, yes), "Have you looked at these records, and are they yours as they stand?")
        }
    }
}

/// Carries out a command about partition keys.
pub fn keyring(reach: &Reach, command: cli::Keyring) -> Result<Done, Failure> {
    let cli::Keyring::Rotate { partition, dry_run, yes } = command;
    let which = match partition.as_str() {
        "all" => Which::All,
        "own" => Which::Own,
        "node" => Which::Node,
        _ => Which::Agreement(partition),
    };
    let ask = |dry_run| Ask::Keyring { which: which.clone(), dry_run };
    change(reach, &ask, (dry_run, yes), "Give these partitions new keys, and seal everything in them anew?")
}

/// Takes up a card of ours that is not here.
pub fn take_up(reach: &Reach, card: Option<&Path>, how: (bool, bool)) -> Result<Done, Failure> {
    let card = card.map(absolute).transpose()?;
    let ask = |dry_run| Ask::TakeUp { card: card.clone(), dry_run };
    change(reach, &ask, how, "Did you make this card, and shall the next one say what it says?")
}

/// Says what would change, asks, and changes it.
fn change(
    reach: &Reach,
    ask: &dyn Fn(bool) -> Ask,
    (dry_run, yes): (bool, bool),
    question: &str,
) -> Result<Done, Failure> {
    let node = reach.node()?;
    let answer = if dry_run {
        node.call(&Call::Keys(ask(true)))?
    } else {
        if !yes {
            let would = node.call(&Call::Keys(ask(true)))?;
            // A note shows what steers a terminal as text.
            note(&object(&would, Look { colour: false, ..reach.output.look }));
        }
        reach.confirm(yes, question, "--yes")?;
        node.call(&Call::Keys(ask(false)))?
    };
    reach.output.answer(&answer, || object(&answer, reach.output.look))?;
    Ok(Done::Well)
}

fn time(text: &str) -> Result<entente_protocol::time::UnixMillis, Fault> {
    say::parse(text).ok_or_else(|| {
        let form = "write a day as 2026-11-28, or a time in UTC as 2026-11-28T09:00:00Z";
        Fault::input("time", format!("`{text}` is no time: {form}"))
    })
}

fn keys(value: &Json) -> Table {
    let mut table =
        Table::new(&["id", "purpose", "state", "from", "turns", "until", "private half", "suspect records"]);
    for row in value.as_array().into_iter().flatten() {
        let ends: Vec<String> =
            ["until", "revoked"].iter().map(|key| text(row, key)).filter(|t| !t.is_empty()).collect();
        let since = text(row, "compromised_since");
        let state = if since.is_empty() { text(row, "state") } else { format!("compromised since {since}") };
        let suspect = Some(text(row, "suspect_records")).filter(|count| count != "0").unwrap_or_default();
        let ends = ends.into_iter().min().unwrap_or_default();
        table.row([
            short(&text(row, "id")),
            text(row, "purpose"),
            state,
            text(row, "from"),
            text(row, "turns"),
            ends,
            text(row, "private"),
            suspect,
        ]);
    }
    table
}

/// Carries out a command about the people on the card.
pub fn contact(reach: &Reach, command: cli::Contact) -> Result<Done, Failure> {
    let contact = |name: String, person: cli::Person| Contact {
        name,
        role: person.role,
        email: person.email,
        phone: person.phone,
    };
    let (change, dry_run) = match command {
        cli::Contact::List => {
            let value = reach.call(&Call::Keys(Ask::Contacts))?;
            reach.output.listing(
                &value,
                &people(value.as_array().map_or(&[], Vec::as_slice)),
                "nobody is on the card yet",
            )?;
            return Ok(Done::Well);
        }
        cli::Contact::Add { name, person, place, dry_run } => {
            (Change::Add { contact: contact(name, person), place }, dry_run)
        }
        cli::Contact::Retire { name, dry_run } => (Change::Retire(name), dry_run),
        cli::Contact::Succeed { name, to, person, dry_run, yes } => {
            return succeed(reach, Change::Succeed { name, contact: contact(to, person) }, (dry_run, yes));
        }
    };
    let answer = reach.call(&Call::Keys(Ask::Contact { change, dry_run }))?;
    reach.output.answer(&answer, || people(list(&answer, "contacts")).render(reach.output.look))?;
    Ok(Done::Well)
}

/// Shows the card's people as they would be, asks, and changes them: partners call whoever stands there when all else fails.
fn succeed(reach: &Reach, change: Change, (dry_run, yes): (bool, bool)) -> Result<Done, Failure> {
    let node = reach.node()?;
    let ask = |dry_run| Call::Keys(Ask::Contact { change: change.clone(), dry_run });
    let shown = |answer: &Json| people(list(answer, "contacts")).render(reach.output.look);
    if !dry_run {
        let would = node.call(&ask(true))?;
        if !yes {
            note(&shown(&would));
        }
        reach.confirm(yes, "Make a card with these people on it, and tell every partner?", "--yes")?;
    }
    let answer = node.call(&ask(dry_run))?;
    reach.output.answer(&answer, || shown(&answer))?;
    Ok(Done::Well)
}

fn people(rows: &[Json]) -> Table {
    let mut table = Table::new(&["id", "name", "role", "phone", "email"]);
    for row in rows {
        table.row(["id", "name", "role", "phone", "email"].map(|key| text(row, key)));
    }
    table
}
