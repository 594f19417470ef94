//! Keys that partners must know of before they are used: listed on the card first, used later. And what a crash left of a
//! change of keys: finished where the card lists the new key, and dropped where it does not.
//!
//! A handshake is judged by the card that a partner has. So the node's key, and certificates under a new root, take the
//! place of the old ones a while after the card that lists them. The card is the commit point of every change: key files
//! are written before it under another name, and renamed after it. Called when a home is opened and by its upkeep.

use super::{IdentityError, Keys, NEXT_ROOT_FILE, PURPOSES, file, own_card, pkcs8, read, write};
use crate::{
    config::Home,
    peer::issue,
    seal::hybrid::Identity,
    secret::{
        Secret,
        durable::{self, Existing},
        keyfile::{KeyFile, KeyFileError},
    },
};
use entente_protocol::{
    identity::{Card, Purpose, next_root},
    primitive::{PublicKey, SigningKey, SigningKeyError},
    time::{DAY_MS, UnixMillis},
};
use std::{fs, io, path::Path, sync::PoisonError};

/// Key file of the node key that comes next.
pub(crate) const NEXT_NODE: &str = "tls-next.age";
/// Its certificate.
pub(crate) const NEXT_NODE_CERTIFICATE: &str = "tls-next.der";
/// Certificate of the issuing key that comes next.
pub(crate) const NEXT_ISSUING_CERTIFICATE: &str = "issuing-next.der";
/// Key file of the root key after the next one, while the next one takes its place.
pub(crate) const AFTER_ROOT: &str = "root-after.age";
/// How long a key of certificates counts beside the one that comes next, if nobody says otherwise.
pub(crate) const OVERLAP_MS: u64 = 14 * DAY_MS;
/// How long it counts still when the next one is in use, for connections that are under way.
pub(crate) const GRACE_MS: u64 = DAY_MS;

/// Where a signing key lies before the card lists it.
pub(crate) fn next_file(name: &str) -> String {
    format!("{name}-next.age")
}

/// Where the issuing key's certificate under a root lies before it is shown.
pub(crate) fn issuing_under(root: &PublicKey) -> String {
    format!("issuing-{}.der", root.id().short())
}

/// The public half of a signing key's file, if it is there.
fn signing(path: &Path, node: &Identity) -> Result<Option<PublicKey>, IdentityError> {
    let seed = match KeyFile::read(path, node) {
        Ok(seed) => seed,
        Err(KeyFileError::Missing(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let seed: &[u8; 32] = seed.expose().as_slice().try_into().map_err(|_| SigningKeyError)?;
    Ok(Some(SigningKey::from_seed(seed)?.public().clone()))
}

/// The public half of a key of certificates, if its file is there.
fn certified(path: &Path, node: &Identity) -> Result<Option<PublicKey>, IdentityError> {
    match KeyFile::read(path, node) {
        Ok(key) => Ok(Some(PublicKey::from_spki(&issue::public_key(&pkcs8(&key))?)?)),
        Err(KeyFileError::Missing(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Puts a file in the place of another, which is gone then.
pub(crate) fn take_place(home: &Home, from: &str, to: &str) -> Result<(), IdentityError> {
    let (from, to) = (file(home, from), file(home, to));
    let done = fs::rename(&from, &to).and_then(|()| durable::sync_folder_of(&to));
    done.map_err(|cause| IdentityError::Io { path: from, cause })
}

pub(super) fn drop_file(home: &Home, name: &str) -> Result<(), IdentityError> {
    match fs::remove_file(file(home, name)) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(IdentityError::Io { path: file(home, name), cause })
        }
        _ => Ok(()),
    }
}

/// Finishes what was begun, or drops it: before any key is read.
pub(super) fn settle(home: &Home, node: &Identity) -> Result<(), IdentityError> {
    let card = own_card(home)?;
    for (name, purpose) in PURPOSES {
        let next = next_file(name);
        match signing(&file(home, &next), node)? {
            Some(key) if card.listed(purpose, key.id()).is_some() => take_place(home, &next, &format!("{name}.age"))?,
            Some(_) => drop_file(home, &next)?,
            None => {}
        }
    }
    if let Some(key) = certified(&file(home, &next_file("issuing")), node)? {
        match card.listed(Purpose::Issuing, key.id()) {
            Some(_) => issuing(home)?,
            None => {
                drop_file(home, &next_file("issuing"))?;
                drop_file(home, NEXT_ISSUING_CERTIFICATE)?;
            }
        }
    }
    match certified(&file(home, NEXT_NODE), node)? {
        Some(key) if card.listed(Purpose::Node, key.id()).is_none() => {
            drop_file(home, NEXT_NODE)?;
            drop_file(home, NEXT_NODE_CERTIFICATE)?;
        }
        // It has taken its place, and its certificate has not yet.
        None if file(home, NEXT_NODE_CERTIFICATE).exists() => take_place(home, NEXT_NODE_CERTIFICATE, "tls.der")?,
        _ => {}
    }
    root(home, &card, node)
}

/// The new issuing key and its certificate take their places; the node's certificate is then made anew.
pub(crate) fn issuing(home: &Home) -> Result<(), IdentityError> {
    if file(home, NEXT_ISSUING_CERTIFICATE).exists() {
        take_place(home, NEXT_ISSUING_CERTIFICATE, "issuing.der")?;
    }
    take_place(home, &next_file("issuing"), "issuing.age")
}

/// The new root key takes its place, where the card is signed by it.
pub(crate) fn root(home: &Home, card: &Card, node: &Identity) -> Result<(), IdentityError> {
    let Some(after) = certified(&file(home, AFTER_ROOT), node)? else { return Ok(()) };
    if card.payload().next_root != Some(next_root(&after)) {
        return drop_file(home, AFTER_ROOT);
    }
    if certified(&file(home, NEXT_ROOT_FILE), node)?.as_ref() == Some(card.root()) {
        write(file(home, "root.der"), &card.payload().root, Existing::Replace)?;
        take_place(home, NEXT_ROOT_FILE, "root.age")?;
    }
    take_place(home, AFTER_ROOT, NEXT_ROOT_FILE)
}

/// Lets keys take the place of those that end soon, or at once of all. Whether any did; connections made from then on show
/// them.
pub(super) fn turn(keys: &Keys, home: &Home, now: UnixMillis, at_once: bool) -> Result<bool, IdentityError> {
    let soon = now.plus(GRACE_MS);
    let ends = |purpose: Purpose, key: &PublicKey| {
        at_once || keys.card.listed(purpose, key.id()).is_some_and(|entry| !entry.counts_at(soon))
    };
    let mut turned = false;
    if let Some(next) = &*keys.next {
        let used = PublicKey::from_spki(&issue::public_key(&pkcs8(&keys.tls))?)?;
        if ends(Purpose::Node, &used) {
            let certificate = read(file(home, NEXT_NODE_CERTIFICATE))?;
            take_place(home, NEXT_NODE, "tls.age")?;
            take_place(home, NEXT_NODE_CERTIFICATE, "tls.der")?;
            keys.tls.replace(Secret::new(next.expose().clone()));
            keys.next.replace(None);
            show(keys, 0, certificate);
            turned = true;
        }
    }
    let under = issuing_under(keys.card.root());
    let former = keys.card.keys(Purpose::Root).filter(|entry| entry.key != *keys.card.root());
    if file(home, &under).exists() && former.into_iter().all(|entry| at_once || !entry.counts_at(soon)) {
        let certificate = read(file(home, &under))?;
        take_place(home, &under, "issuing.der")?;
        show(keys, 1, certificate);
        turned = true;
    }
    Ok(turned)
}

fn show(keys: &Keys, place: usize, certificate: Vec<u8>) {
    let mut chain = keys.chain.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(shown) = chain.get_mut(place) {
        *shown = certificate;
    }
}
