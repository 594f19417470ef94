//! Taking up a card of ours that partners know and this home does not: what was done to keys and contacts after the backup.
//!
//! A partner that is shown an older card of ours answers with the newest that it knows (CARD-13). It is kept, and people
//! are told; the card that says all that both say is made only when they ask for it, for a stolen root key signs cards too.

use super::{BY_ITSELF, Opened, following, publish, signed_after, told};
use crate::{
    error::Fault,
    identity::{IdentityError, known},
    node::Node,
    partners::read_card,
};
use entente_protocol::{
    id::OrgId,
    identity::{CardFault, UnconfirmedCard},
};
use serde_json::{Value as Json, json};
use std::{path::Path, sync::TryLockError};

/// Who took a card of ours since refuses an end that lies before that.
const BY_WHAT_THEY_KNOW: &str = "by itself where it knows the card that is taken up; where it took one from this home since the \
                                 restore, by the new card, and its twelve words read out: `entente partner add CARD`";

/// Keeps a card of ours that a partner showed. Whether it says something that ours does not.
pub fn offered(node: &Node, from: OrgId, given: UnconfirmedCard) -> Result<bool, Fault> {
    // A change of keys may take long, and no session waits for it: the partner shows it again in the next one.
    let _one = match node.changing_keys.try_lock() {
        Ok(one) => one,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return Ok(false),
    };
    let kept = known::keep(&node.home, &node.keys.card, given).map_err(|error| match error {
        IdentityError::Card(CardFault::OtherRoot) => Fault::input(
            "card",
            "it is under a root key that is not here: if you succeeded the root after the backup, restore a later archive; if \
             you did not, somebody else has your root key: call your partners",
        ),
        other => other.into(),
    });
    let Some(card) = kept? else { return Ok(false) };
    let number = card.payload().number;
    node.keys.show(&card);
    let mut txn = node.holdings.begin();
    node.journal(&mut txn, "card-shown", &[("partner", from.to_string()), ("card", number.to_string())])?;
    txn.commit()?;
    tracing::warn!(partner = %from, number, "a partner knows a card of ours that is not here: see `entente status`");
    Ok(true)
}

/// Makes the card that says what a known one and ours say. Without `given`, the one that a partner showed.
pub fn take_up(node: &Node, given: Option<&Path>, dry_run: bool) -> Result<Json, Fault> {
    let known = match given {
        Some(path) => {
            let given = read_card(path)?;
            let digest = given.digest();
            Some(known::of_ours(&node.keys.card, given.confirm(digest)?).map_err(refused)?)
        }
        None => known::shown(&node.home, &node.keys.card),
    };
    let known = known.ok_or_else(|| {
        Fault::input("no-card", "no partner has shown a card of ours that is not here: name one with --card FILE")
    })?;
    let own = node.keys.card.payload();
    if known::covers(own, known.payload()) {
        if !dry_run {
            known::drop_shown(&node.home)?;
            node.keys.show_none();
        }
        let why = format!("our card {} says already what card {} says", own.number, known.payload().number);
        return Err(Fault::input("no-card", why));
    }
    let mut payload = known::merged(&node.home, &following(node), known.payload());
    payload.number = known::following(&node.home, own.number.max(known.payload().number));
    let keys: Vec<Json> = payload
        .keys
        .iter()
        .filter(|key| !own.keys.contains(key))
        .map(|key| {
            json!({
                "id": key.key.id().to_string(),
                "purpose": key.purpose.name(),
                "from": key.from.to_string(),
                "until": key.until.map(|at| at.to_string()),
                "revoked": key.revoked.map(|at| at.to_string()),
                "compromised_since": key.compromised.map(|at| at.to_string()),
            })
        })
        .collect();
    let mut answer = json!({
        "known": known.payload().number,
        "made": known.payload().issued.to_string(),
        "keys": keys,
        "contacts": payload.contacts.iter().map(|contact| &contact.name).collect::<Vec<_>>(),
        "card": payload.number,
        "partners": told(node, if known::ends_late(own, &payload) { BY_WHAT_THEY_KNOW } else { BY_ITSELF }),
        "next": [],
        "done": false,
    });
    if dry_run {
        return Ok(answer);
    }
    let root = Opened::of(node)?.root(node)?;
    let card = signed_after(&known, &payload, &root)?;
    publish(node, card, ("card-take-up", &[("known", known.payload().number.to_string())]))?;
    known::drop_shown(&node.home)?;
    node.keys.show_none();
    if let Some(members) = answer.as_object_mut() {
        members.insert("next".to_owned(), json!(lacking(node)));
        members.insert("done".to_owned(), json!(true));
    }
    Ok(answer)
}

/// Commands that put a key of ours in the place of one that the card lists and that is not here.
fn lacking(node: &Node) -> Vec<String> {
    let now = node.clock.now();
    node.keys.lacking(now).into_iter().map(|purpose| format!("entente key rotate {}", purpose.name())).collect()
}

fn refused(fault: CardFault) -> Fault {
    Fault::input("card", format!("it is no earlier card of this home: {fault}"))
}
