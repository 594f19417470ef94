//! Rotation of the root: the old root signs that the new one follows, and the new one signs the card (CARD-6).
//!
//! The new root is the key to which the card has committed, so a partner that has that card takes the next one by itself.
//! That key may be kept elsewhere, and is brought for this. Only where people say that it is lost is another drawn, and
//! partners compare twelve words again. The issuing key and the node's stay: until the
//! overlap ends the node shows the issuing key's certificate under the old root, which partners with the old card verify,
//! and partners with the new one take because the card lists the issuing key (CERT-5).

use super::{BY_ITSELF, BY_VOICE, Opened, current, following, publish, rotate::How, setup, signed, told, until};
use crate::{
    error::Fault,
    identity::{
        NEXT_ROOT_FILE, file,
        overlap::{self, AFTER_ROOT, GRACE_MS, OVERLAP_MS},
        pkcs8, write,
    },
    node::Node,
    peer::issue,
    secret::{self, Secret, durable::Existing},
};
use entente_protocol::{
    identity::{CardKey, Purpose, next_root, succession_step},
    limits,
    primitive::{PublicKey, SigningKey},
};
use rustls_pki_types::CertificateDer;
use serde_json::{Value as Json, json};

/// Rotates the root key.
pub fn rotate(node: &Node, how: How) -> Result<Json, Fault> {
    let now = node.clock.now();
    let ends = if how.now { until(now) } else { now.plus(OVERLAP_MS + GRACE_MS) };
    let end = |entry: &mut CardKey| entry.until = Some(ends);
    replace(node, how, (&end, "key-rotate", &[]))
}

/// Puts the next root in the place of the present one.
pub(super) fn replace(
    node: &Node,
    how: How,
    (end, what, about): (super::rotate::End<'_>, &str, &[(&str, String)]),
) -> Result<Json, Fault> {
    let old = current(node, Purpose::Root)?;
    if !how.now {
        super::rotate::pending(node, false)?;
    }
    let card = node.keys.card.payload();
    if card.succession.len() >= limits::CARD_ROOTS_MAX {
        let why = format!("a card leads over {} roots at most: a new organisation begins", limits::CARD_ROOTS_MAX);
        return Err(Fault::input("card-full", why));
    }
    let opened = Opened::of(node)?;
    let committed = committed(node, &opened, how.next_root_lost)?;
    let matches = committed.is_some();
    let mut answer = json!({
        "purpose": "root",
        "old": old.key.id().to_string(),
        "new": Json::Null,
        "organisation": node.keys.org.to_string(),
        "card": following(node).number,
        "partners": told(node, if matches { BY_ITSELF } else { BY_VOICE }),
        "done": false,
    });
    if how.dry_run {
        return Ok(answer);
    }
    let old_root = opened.root(node)?;
    super::rotate::pending(node, true)?;
    let now = node.clock.now();
    let pkcs = match committed {
        Some(pkcs) => pkcs,
        None => {
            // What the card commits to is lost, or it commits to nothing: another, which partners confirm by voice.
            let pkcs = issue::generate().map_err(setup)?;
            opened.write(node, NEXT_ROOT_FILE, pkcs.expose())?;
            pkcs
        }
    };
    let new = SigningKey::from_pkcs8(pkcs.expose()).map_err(setup)?;
    let after = issue::generate().map_err(setup)?;
    opened.write(node, AFTER_ROOT, after.expose())?;
    let after = PublicKey::from_spki(&issue::public_key(&pkcs8(&after)).map_err(setup)?).map_err(setup)?;
    let name = card.name.clone();
    let certificate = issue::root(&name, &pkcs8(&pkcs), &secret::random().map_err(setup)?, now).map_err(setup)?;
    // The same issuing key under the new root, to be shown once the overlap is over.
    let issuing = current(node, Purpose::Issuing)?;
    let under: CertificateDer<'_> = certificate.clone();
    let serial = secret::random().map_err(setup)?;
    let below = issue::issuing(&name, &issuing.key.spki(), &under, &pkcs8(&pkcs), &serial, now).map_err(setup)?;
    write(file(&node.home, &overlap::issuing_under(new.public())), &below, Existing::Replace)?;

    let mut payload = following(node);
    super::rotate::list(&mut payload, Purpose::Root, &old, new.public(), now, end);
    payload.root = certificate.to_vec();
    payload.next_root = Some(next_root(&after));
    payload.succession.push(succession_step(&old_root, new.public())?);
    let card = signed(node, &payload, &new, !matches)?;
    let (number, words) = (card.payload().number, card.words().to_string());
    let event =
        [("purpose", "root".to_owned()), ("old", old.key.id().to_string()), ("new", new.public().id().to_string())];
    let about: Vec<(&str, String)> = event.into_iter().chain(about.iter().cloned()).collect();
    publish(node, card, (what, &about))?;
    // The old root key is gone from here on.
    overlap::root(&node.home, &node.keys.card, &opened.identity)?;
    if how.now {
        node.keys.turn_now(&node.home, node.clock.now())?;
    }
    node.renew(false)?;
    if let Some(members) = answer.as_object_mut() {
        members.insert("new".to_owned(), json!(new.public().id().to_string()));
        members.insert("card".to_owned(), json!(number));
        members.insert("words".to_owned(), json!(words));
        members.insert("partners".to_owned(), told(node, if matches { BY_ITSELF } else { BY_VOICE }));
        members.insert("done".to_owned(), json!(true));
    }
    Ok(answer)
}

/// The key to which the card commits, from its file; none where the card commits to nothing, or people say that it is lost.
fn committed(node: &Node, opened: &Opened, lost: bool) -> Result<Option<Secret<Vec<u8>>>, Fault> {
    let Some(commitment) = node.keys.card.payload().next_root.filter(|_| !lost) else { return Ok(None) };
    let path = file(&node.home, NEXT_ROOT_FILE);
    let bring = "bring it from where it is kept, give the command again, and take what is left there away again. Only if it is \
        lost for good: `--next-root-lost`, after which every partner compares words";
    if !path.exists() {
        let why = format!("the next root key `{}`, to which the card commits, is not here: {bring}", path.display());
        return Err(Fault::setup("next-root", why));
    }
    let pkcs = opened.read(node, NEXT_ROOT_FILE)?;
    let key = SigningKey::from_pkcs8(pkcs.expose()).map_err(setup)?;
    if next_root(key.public()) != commitment {
        let why = format!("`{}` is another key than the one to which the card commits: {bring}", path.display());
        return Err(Fault::setup("next-root", why));
    }
    Ok(Some(pkcs))
}

/// What is said of the next root is said with the root.
pub(super) fn only_of_root(purpose: Purpose, lost: bool) -> Result<(), Fault> {
    match lost && purpose != Purpose::Root {
        true => Err(Fault::input("next-root", "`--next-root-lost` is for the root key: leave it out")),
        false => Ok(()),
    }
}
