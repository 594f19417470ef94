//! A card of ours that partners know and this home does not: made after the backup from which the home was put back.
//!
//! A card is never unsaid (CARD-6), so after a restore the next card has a number well above those that may have been made
//! since ([`after`]), and where partners know of keys that the backup does not have, a card that says all that both say
//! ([`merged`]). Whose it is, people decide: whoever has a stolen root key makes cards too. Read by `renew` and `keys`.

use super::{IdentityError, file, read, write};
use crate::{config::Home, secret::durable::Existing};
use entente_protocol::{
    identity::{Card, CardFault, CardKey, CardPayload, Purpose, UnconfirmedCard},
    time::{HOUR_MS, UnixMillis},
};
use std::{fs, io};

/// The card that a partner showed, until a card of ours says what it says.
const KNOWN: &str = "known.card";
/// The number after which cards are numbered, in decimal.
const AFTER: &str = "card.after";
/// The card of the backup from which the home was put back.
const BEFORE: &str = "card.before";
/// Cards that may have been made since a backup, at the least.
const BEYOND: u64 = 1_000;

/// The number of the card that follows one.
pub fn following(home: &Home, number: u64) -> u64 {
    let after = match fs::read_to_string(file(home, AFTER)) {
        Ok(text) => text.trim().parse().ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(0),
        Err(_) => None,
    };
    // Damaged, it says that the home was put back once, and not which numbers were made since.
    number.max(after.unwrap_or_else(|| number.saturating_add(BEYOND))).saturating_add(1)
}

/// The home was put back from what was `taken` then, and its card may be older than what partners know: later ones have
/// higher numbers than any that was made since, also after another restore of the same backup.
pub fn after(home: &Home, taken: UnixMillis, now: UnixMillis) -> Result<(), IdentityError> {
    let card = super::own_card(home)?;
    let minutes = now.0.saturating_sub(taken.0) / (HOUR_MS / 60);
    let number = card.payload().number.saturating_add(BEYOND).saturating_add(minutes);
    write(file(home, BEFORE), card.to_armour().as_bytes(), Existing::Replace)?;
    write(file(home, AFTER), format!("{number}\n").as_bytes(), Existing::Replace)
}

/// A card that lies beside the keys, if there is one that reads.
fn lies(home: &Home, name: &str) -> Option<Card> {
    let text = String::from_utf8(read(file(home, name)).ok()?).ok()?;
    let card = UnconfirmedCard::from_armour(&text).ok()?;
    let digest = card.digest();
    card.confirm(digest).ok()
}

/// The card that a partner showed, if there is one that says something else than ours. It is ours by its root's signature
/// alone. One that cannot be read is none: a partner shows it again.
pub fn shown(home: &Home, own: &Card) -> Option<Card> {
    let card = of_ours(own, lies(home, KNOWN)?).ok()?;
    (!covers(own.payload(), card.payload())).then_some(card)
}

/// Keeps a card that a partner showed; an older one does not take the place of a newer one.
pub fn keep(home: &Home, own: &Card, given: UnconfirmedCard) -> Result<Option<Card>, IdentityError> {
    let digest = given.digest();
    let card = given.confirm(digest)?;
    // A partner that waits for the words of a card under our next root says back the one that it has.
    let former = card.root() != own.root() && own.listed(Purpose::Root, card.root().id()).is_some();
    // A number that nothing can follow would stay there for ever.
    if card.org() == own.org() && (former || card.payload().number > u64::MAX / 2) {
        return Ok(None);
    }
    let card = of_ours(own, card)?;
    let newer = shown(home, own).is_none_or(|before| before.payload().number < card.payload().number);
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

/// A card that is one of ours, under the root of the one that we have.
pub fn of_ours(own: &Card, given: Card) -> Result<Card, CardFault> {
    if given.org() != own.org() {
        return Err(CardFault::OtherOrganisation);
    }
    if given.root() == own.root() { Ok(given) } else { Err(CardFault::OtherRoot) }
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

/// What follows from both: every key of either, and of each the earliest end. The contacts are those of the known card, unless
/// somebody has changed ours since the home was put back. The caller gives it a number.
pub fn merged(home: &Home, own: &CardPayload, known: &CardPayload) -> CardPayload {
    let untouched = lies(home, BEFORE).is_some_and(|before| before.payload().contacts == own.contacts);
    let mut payload = own.clone();
    for key in &known.keys {
        match payload.keys.iter_mut().find(|ours| same(ours, key)) {
            Some(ours) => *ours = both(ours, key),
            None => payload.keys.push(key.clone()),
        }
    }
    if untouched {
        payload.contacts.clone_from(&known.contacts);
    }
    payload.issued = own.issued.max(known.issued);
    payload.number = own.number.max(known.number);
    payload
}

/// Whether a key ends before our card was made that says nothing of it: who took that card refuses the end (CARD-10).
pub fn ends_late(own: &CardPayload, next: &CardPayload) -> bool {
    let certificate = |key: &CardKey| matches!(key.purpose, Purpose::Issuing | Purpose::Node);
    let held = own.keys.iter().filter(|key| !certificate(key));
    held.filter_map(|ours| Some((ours, next.keys.iter().find(|key| same(ours, key))?))).any(|(ours, next)| {
        let new =
            |ours: Option<UnixMillis>, next: Option<UnixMillis>| next != ours && next.is_some_and(|at| at < own.issued);
        new(ours.until, next.until) || new(ours.revoked, next.revoked)
    })
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
