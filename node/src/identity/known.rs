//! A card of ours that partners know and this home does not: made after the backup from which the home was put back.
//!
//! A card is never unsaid (CARD-6), so after a restore the next card has a number well above those that may have been made
//! since ([`after`]), and where partners know of keys that the backup does not have, a card that says all that both say
//! ([`merged`]). Whose it is, people decide: whoever has a stolen root key makes cards too. Read by `renew` and `keys`.

use super::{IdentityError, file, read, write};
use crate::{config::Home, secret::durable::Existing};
use entente_protocol::{
    identity::{Card, CardFault, CardKey, CardPayload, Purpose, UnconfirmedCard},
    time::UnixMillis,
};
use std::{fs, io};

/// The card that a partner showed, until a card of ours says what it says.
const KNOWN: &str = "known.card";
/// The number after which cards are numbered, in decimal.
const AFTER: &str = "card.after";
/// Cards that may have been made since a backup.
const BEYOND: u64 = 1_000;

/// The number of the card that follows one.
pub fn following(home: &Home, number: u64) -> u64 {
    let after = fs::read_to_string(file(home, AFTER)).ok().and_then(|text| text.trim().parse().ok());
    number.max(after.unwrap_or(0)).saturating_add(1)
}

/// The home was put back, and its card may be older than what partners know: later ones have higher numbers than any that
/// was made since.
pub fn after(home: &Home) -> Result<(), IdentityError> {
    let number = super::own_card(home)?.payload().number.saturating_add(BEYOND);
    write(file(home, AFTER), format!("{number}\n").as_bytes(), Existing::Replace)
}

/// The card that a partner showed, if there is one. It is ours by its root's signature alone.
pub fn shown(home: &Home) -> Result<Option<Card>, IdentityError> {
    let path = file(home, KNOWN);
    let text = match read(path.clone()) {
        Ok(bytes) => String::from_utf8(bytes).map_err(|e| IdentityError::Io { path, cause: io::Error::other(e) })?,
        Err(IdentityError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let card = UnconfirmedCard::from_armour(&text)?;
    let digest = card.digest();
    Ok(Some(card.confirm(digest)?))
}

/// Keeps a card that a partner showed; an older one does not take the place of a newer one.
pub fn keep(home: &Home, own: &Card, given: UnconfirmedCard) -> Result<Option<Card>, IdentityError> {
    let card = of_ours(own, given)?;
    let before = shown(home).ok().flatten();
    let newer = before.is_none_or(|before| before.payload().number < card.payload().number);
    if !newer || covers(own.payload(), card.payload()) {
        return Ok(None);
    }
    write(file(home, KNOWN), card.to_armour().as_bytes(), Existing::Replace)?;
    Ok(Some(card))
}

/// Nobody needs it any more.
pub fn drop_shown(home: &Home) -> Result<(), IdentityError> {
    super::overlap::drop_file(home, KNOWN)
}

/// Whether a card is one of ours under the root of the one that we have.
pub fn of_ours(own: &Card, given: UnconfirmedCard) -> Result<Card, CardFault> {
    if given.payload().org != own.org() {
        return Err(CardFault::OtherOrganisation);
    }
    let digest = given.digest();
    let card = given.confirm(digest)?;
    if card.root() == own.root() { Ok(card) } else { Err(CardFault::OtherRoot) }
}

/// Whether our card says of every key what another says, and is the newer one, or the same. Keys of certificates that have
/// ended are not listed for ever, unless they are not to be trusted (CARD-6, CARD-10).
pub fn covers(own: &CardPayload, known: &CardPayload) -> bool {
    let said = |key: &CardKey| match own.keys.iter().find(|ours| same(ours, key)) {
        Some(ours) => ends(ours) == ends(&both(ours, key)),
        None => {
            let certificate = matches!(key.purpose, Purpose::Root | Purpose::Issuing | Purpose::Node);
            certificate && key.revoked.is_none() && key.compromised.is_none()
        }
    };
    own == known || own.number > known.number && known.keys.iter().all(said)
}

/// What follows from both: every key of either, and of each the earliest end. What people say of themselves is as the
/// newer one has it, which partners know. The caller gives it a number.
pub fn merged(own: &CardPayload, known: &CardPayload) -> CardPayload {
    let mut payload = own.clone();
    for key in &known.keys {
        match payload.keys.iter_mut().find(|ours| same(ours, key)) {
            Some(ours) => *ours = both(ours, key),
            None => payload.keys.push(key.clone()),
        }
    }
    payload.contacts.clone_from(&known.contacts);
    payload.issued = own.issued.max(known.issued);
    payload.number = own.number.max(known.number);
    payload
}

fn same(one: &CardKey, other: &CardKey) -> bool {
    one.key == other.key && one.purpose == other.purpose
}

fn ends(key: &CardKey) -> [Option<UnixMillis>; 4] {
    [Some(key.from), key.until, key.revoked, key.compromised]
}

fn both(one: &CardKey, other: &CardKey) -> CardKey {
    let earliest = |one: Option<UnixMillis>, other: Option<UnixMillis>| one.into_iter().chain(other).min();
    CardKey {
        from: one.from.min(other.from),
        until: earliest(one.until, other.until),
        revoked: earliest(one.revoked, other.revoked),
        compromised: earliest(one.compromised, other.compromised),
        ..one.clone()
    }
}
