//! Rotation of every key but the root: a new one is drawn, the card lists both, and the old private half is destroyed.
//!
//! A signing key gives way at once: partners are told the card ahead of what the new key signs. The node's own key gives way
//! after the overlap, because a handshake comes before any card. What the old key signed stays proved by its entry on the
//! card (CARD-5); batches of ours that a partner has not seen are attested anew as they are sent (`records::keep`).

use super::{
    BY_ITSELF, Opened, current, following, from, list::Turns, publish, publish_with, setup, signed, told, until,
};
use crate::{
    error::Fault,
    identity::{
        PURPOSES, file,
        overlap::{self, GRACE_MS, NEXT_ISSUING_CERTIFICATE, NEXT_NODE, NEXT_NODE_CERTIFICATE, OVERLAP_MS},
        pkcs8, write,
    },
    node::Node,
    peer::issue,
    secret::{self, Secret, durable::Existing},
};
use entente_protocol::{
    identity::{Card, CardKey, CardPayload, Purpose},
    primitive::{PublicKey, SigningKey},
    time::UnixMillis,
};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

/// How a key is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct How {
    /// Say what would change, and change nothing.
    pub dry_run: bool,
    /// Without an overlap: partners who have not heard of the new key are refused, or refuse, until they have its card.
    pub now: bool,
    /// The next root is lost for good: another is drawn, and partners compare words.
    pub next_root_lost: bool,
}

/// What becomes of the entry of the key that gives way.
pub(super) type End<'a> = &'a dyn Fn(&mut CardKey);

/// Rotates the key of a purpose.
pub fn rotate(node: &Node, purpose: Purpose, how: How) -> Result<Json, Fault> {
    if purpose == Purpose::Root {
        return super::root::rotate(node, how);
    }
    super::root::only_of_root(purpose, how.next_root_lost)?;
    let old = current(node, purpose)?;
    let now = node.clock.now();
    if matches!(purpose, Purpose::Node | Purpose::Issuing) && !how.now {
        pending(node, false)?;
    }
    let late = purpose == Purpose::Node && !how.now;
    let ends = if late { now.plus(OVERLAP_MS + GRACE_MS) } else { until(now) };
    let mut answer = json!({
        "purpose": purpose.name(),
        "old": old.key.id().to_string(),
        "new": Json::Null,
        "old_counts_until": ends.to_string(),
        "in_use_from": if late { now.plus(OVERLAP_MS) } else { now }.to_string(),
        "card": following(node).number,
        "partners": told(node, BY_ITSELF),
        "done": false,
    });
    if how.dry_run {
        return Ok(answer);
    }
    let end = |entry: &mut CardKey| entry.until = Some(entry.until.map_or(ends, |known| known.min(ends)));
    let about = [("purpose", purpose.name().to_owned()), ("old", old.key.id().to_string())];
    let new = replace(node, purpose, &old, how.now, (&end, "key-rotate", &about))?;
    if let Some(members) = answer.as_object_mut() {
        members.insert("new".to_owned(), json!(new.id().to_string()));
        members.insert("done".to_owned(), json!(true));
    }
    Ok(answer)
}

/// Puts a new key in the place of one. `end` says what the card makes of the old one.
pub(super) fn replace(
    node: &Node,
    purpose: Purpose,
    old: &CardKey,
    at_once: bool,
    (end, what, about): (End<'_>, &str, &[(&str, String)]),
) -> Result<PublicKey, Fault> {
    let opened = Opened::of(node)?;
    let root = opened.root(node)?;
    let change = |new: &PublicKey| -> Result<Card, Fault> {
        let mut payload = following(node);
        list(&mut payload, purpose, old, new, node.clock.now(), end);
        signed(node, &payload, &root, false)
    };
    let event = |new: &PublicKey| {
        let new = ("new", new.id().to_string());
        about.iter().cloned().chain([new]).collect::<Vec<_>>()
    };
    match purpose {
        Purpose::Node => {
            pending(node, at_once)?;
            let key = issue::generate().map_err(setup)?;
            let new = public(&key)?;
            let certificate = leaf(node, &key)?;
            let card = change(&new)?;
            opened.write(node, NEXT_NODE, key.expose())?;
            write(file(&node.home, NEXT_NODE_CERTIFICATE), &certificate, Existing::Replace)?;
            publish(node, card, (what, &event(&new)))?;
            node.keys.wait_for(key);
            if at_once {
                node.renew(false)?;
            }
            Ok(new)
        }
        Purpose::Issuing => {
            pending(node, at_once)?;
            let key = issue::generate().map_err(setup)?;
            let new = public(&key)?;
            let root_key = opened.read(node, "root.age")?;
            let under = CertificateDer::from(node.keys.card.payload().root.clone());
            let (name, serial) = (&node.keys.card.payload().name, secret::random().map_err(setup)?);
            let now = node.clock.now();
            let certificate =
                issue::issuing(name, &new.spki(), &under, &pkcs8(&root_key), &serial, now).map_err(setup)?;
            let card = change(&new)?;
            opened.write(node, &overlap::next_file("issuing"), key.expose())?;
            write(file(&node.home, NEXT_ISSUING_CERTIFICATE), &certificate, Existing::Replace)?;
            publish(node, card, (what, &event(&new)))?;
            overlap::issuing(&node.home)?;
            node.keys.issue_with(key);
            node.renew(true)?;
            Ok(new)
        }
        _ => {
            let name = PURPOSES.iter().find(|(_, of)| *of == purpose).map(|(name, _)| *name);
            let name = name.ok_or_else(|| Fault::input("no-key", format!("there is no key for {purpose} here")))?;
            let seed = secret::random_secret::<32>().map_err(setup)?;
            let key = SigningKey::from_seed(seed.expose()).map_err(setup)?;
            let new = key.public().clone();
            let card = change(&new)?;
            opened.write(node, &overlap::next_file(name), seed.expose())?;
            publish_with(node, card, (what, &event(&new)), || {
                node.keys.sign_with(purpose, key);
                // The old private half is gone from here on.
                Ok(overlap::take_place(&node.home, &overlap::next_file(name), &format!("{name}.age"))?)
            })?;
            Ok(new)
        }
    }
}

/// The card lists the new key, and what became of the old one.
pub(super) fn list(
    payload: &mut CardPayload,
    purpose: Purpose,
    old: &CardKey,
    new: &PublicKey,
    now: UnixMillis,
    end: End<'_>,
) {
    payload.keys.iter_mut().filter(|entry| entry.key == old.key).for_each(end);
    // Not earlier than the one before it, also where that one was made minutes ago: of two, the last listed is in use.
    let begins = from(now).max(old.from);
    payload.keys.push(CardKey::new(purpose, new.clone(), begins));
}

/// One change of certificates at a time: the next begins when partners had the time to learn of this one. Where it cannot
/// wait for them, what waits takes its place now.
pub(super) fn pending(node: &Node, at_once: bool) -> Result<(), Fault> {
    let under = overlap::issuing_under(node.keys.card.root());
    if [NEXT_NODE, under.as_str()].iter().any(|name| file(&node.home, name).exists()) {
        if at_once {
            node.keys.turn_now(&node.home, node.clock.now())?;
            return Ok(());
        }
        let when = Turns::of(node).last().map(|at| format!(" at {at}")).unwrap_or_default();
        let why = format!(
            "another key of certificates is about to change{when}, and partners need time to learn of it: rotate this \
             one after that, and see `entente key list`"
        );
        return Err(Fault::input("in-overlap", why));
    }
    Ok(())
}

fn public(key: &Secret<Vec<u8>>) -> Result<PublicKey, Fault> {
    PublicKey::from_spki(&issue::public_key(&pkcs8(key)).map_err(setup)?).map_err(setup)
}

/// A certificate for a node key, by the issuing key in use.
fn leaf(node: &Node, key: &Secret<Vec<u8>>) -> Result<Vec<u8>, Fault> {
    Ok(node.keys.certify(&node.home, &issue::public_key(&pkcs8(key)).map_err(setup)?, node.clock.now())?)
}
