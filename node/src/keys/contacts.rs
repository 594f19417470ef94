//! Contacts on the card: whom partners call, in the order of succession.

use super::{BY_ITSELF, Opened, following, publish, signed, told};
use crate::{error::Fault, node::Node};
use entente_protocol::{identity::Contact, limits};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

/// A change of the contacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// One more, behind the others or at a place, counted from 1.
    Add {
        /// Whom.
        contact: Contact,
        /// Where.
        place: Option<usize>,
    },
    /// One less, by name.
    Retire(String),
    /// Another person in the place of one.
    Succeed {
        /// Who goes, by name.
        name: String,
        /// Who comes.
        contact: Contact,
    },
}

/// Contacts in their order.
pub fn list(node: &Node) -> Json {
    view(&node.keys.card.payload().contacts)
}

fn view(contacts: &[Contact]) -> Json {
    let one = |(at, contact): (usize, &Contact)| {
        json!({
            "id": (at + 1).to_string(),
            "name": contact.name,
            "role": contact.role,
            "email": contact.email,
            "phone": contact.phone,
        })
    };
    Json::Array(contacts.iter().enumerate().map(one).collect())
}

/// Changes them: a card with the next number.
pub fn change(node: &Node, change: &Change, dry_run: bool) -> Result<Json, Fault> {
    let mut contacts = node.keys.card.payload().contacts.clone();
    let place = |name: &str, contacts: &[Contact]| {
        contacts.iter().position(|contact| contact.name == name).ok_or_else(|| {
            let known: Vec<String> = contacts.iter().map(|contact| format!("`{}`", contact.name)).collect();
            let why = match known.as_slice() {
                [] => format!(
                    "the card lists nobody yet: put somebody on it first, `entente identity contact add \"{}\" --role ROLE`",
                    name.escape_debug()
                ),
                some => format!("the card lists no contact `{name}`, but {}: give the name as the card has it", some.join(", ")),
            };
            Fault::input("no-contact", why)
        })
    };
    let (what, who) = match change {
        Change::Add { contact, place } => {
            let at = place.map_or(contacts.len(), |place| place.saturating_sub(1).min(contacts.len()));
            contacts.insert(at, contact.clone());
            ("contact-add", contact.name.clone())
        }
        Change::Retire(name) => {
            contacts.remove(place(name, &contacts)?);
            ("contact-retire", name.clone())
        }
        Change::Succeed { name, contact } => {
            let at = place(name, &contacts)?;
            if let Some(held) = contacts.get_mut(at) {
                *held = contact.clone();
            }
            ("contact-succeed", format!("{name}, then {}", contact.name))
        }
    };
    if contacts.len() > limits::CARD_CONTACTS_MAX {
        let why = format!("a card lists {} contacts at most: retire one first", limits::CARD_CONTACTS_MAX);
        return Err(Fault::input("card-full", why));
    }
    let mut payload = following(node);
    payload.contacts = contacts;
    // Refused here as partners would.
    payload.to_bytes().map_err(|fault| Fault::input("contact", fault))?;
    let answer = json!({
        "contacts": view(&payload.contacts),
        "card": payload.number,
        "partners": told(node, BY_ITSELF),
        "done": !dry_run,
    });
    if !dry_run {
        let root = Opened::of(node)?.root(node)?;
        let card = signed(node, &payload, &root, false)?;
        publish(node, card, (what, &[("who", who)]))?;
    }
    Ok(answer)
}
