//! Witnessing partners' logs: what was seen of each, and the judgement of what is shown next (WIT-1 on).
//!
//! What is accepted takes the place of the very head that it was compared with, in one append, and is durable before it
//! is cosigned. Two heads that cannot both be true are kept; nothing of that log is witnessed until people have decided.

use super::{
    CustodyError, owed,
    rows::{self, WatchRow},
    stored_head,
};
use crate::{
    node::Node,
    seal::keyring::Partition,
    store::{layout::Table, txn::Txn},
};
use entente_protocol::{
    custody::{
        checkpoint::{Checkpoint, UnverifiedCheckpoint},
        fork::ForkProof,
        message::{CosignedMessage, DeclinedCode, DeclinedMessage, LogMessage, OfferMessage, SeenMessage},
        witness::{Accepted, Declined, Offer, Step, Watch},
    },
    id::{Hash, OrgId, StoreId},
    identity::{Card, Purpose},
    primitive::PublicKey,
    time::{DAY_MS, UnixMillis},
};
use serde_bytes::ByteBuf;

/// What was seen of a store's log.
pub fn watch(node: &Node, org: OrgId, store: StoreId) -> Result<Watch, CustodyError> {
    let row = node.holdings.get(Partition::Node, Table::Log, &rows::watch(org, store))?;
    read(node, org, row)
}

fn read(node: &Node, org: OrgId, row: Option<Vec<u8>>) -> Result<Watch, CustodyError> {
    let WatchRow { fork, note, keys, .. } = WatchRow::read(row)?;
    let book = node.book();
    let listed = book.get(org).into_iter().flat_map(|partner| partner.card.keys(Purpose::Log)).map(|entry| &entry.key);
    let keys: Vec<PublicKey> = listed.chain(&keys).cloned().collect();
    match (fork, note) {
        (Some(fork), _) => {
            let fork = ForkProof::from_bytes(&fork, org, &keys);
            Ok(Watch::Forked(Box::new(fork.map_err(|_| CustodyError::Broken("a fork that is kept does not hold"))?)))
        }
        (None, Some(note)) => Ok(Watch::Seen(UnverifiedCheckpoint::from_bytes(&note)?.verify(org, &keys)?)),
        (None, None) => Ok(Watch::Unseen),
    }
}

/// Times of the day before at which a store's log began anew. A store is put back a few times, not every second.
const ANEW_A_DAY_MAX: usize = 8;

fn began_of_late(row: &WatchRow, now: UnixMillis) -> Vec<UnixMillis> {
    row.anew.iter().copied().filter(|at| at.plus(DAY_MS) > now).collect()
}

/// The keys that sign heads of an organisation now.
fn counting(card: &Card, now: UnixMillis) -> Vec<PublicKey> {
    card.keys(Purpose::Log).filter(|entry| entry.counts_at(now)).map(|entry| entry.key.clone()).collect()
}

/// Takes an offer that answers what was asked about a head from elsewhere: the partner's own head at that size. Whether it
/// was that and nothing else. Two roots are a fork, which is kept.
pub fn hear_compared(
    node: &Node,
    from: OrgId,
    message: &OfferMessage,
    asked: &Checkpoint,
) -> Result<bool, CustodyError> {
    let book = node.book();
    let Some(partner) = book.get(from) else { return Ok(false) };
    let keys = counting(&partner.card, node.interval().early);
    let Ok(Offer { held: Some(held), .. }) = message.verify(from, &keys) else { return Ok(false) };
    if (held.origin(), held.head().size) != (asked.origin(), asked.head().size) {
        return Ok(false);
    }
    if let Some(fork) = ForkProof::of(asked, &held) {
        let key = rows::watch(from, held.origin().store());
        node.log.compared(from);
        forked(node, node.holdings.begin(), (from, &key), &fork)?;
        return Ok(true);
    }
    node.log.compared(from);
    // Where it is the head that was witnessed too, it may be an offer that goes on from there.
    let seen = watch(node, from, held.origin().store())?;
    Ok(!matches!(seen, Watch::Seen(seen) if seen.head() == held.head()))
}

/// Judges an offer of a partner, and answers it. The answer may be sent when this returns.
pub fn hear_offer(
    node: &Node,
    from: OrgId,
    store: StoreId,
    message: &OfferMessage,
) -> Result<Option<LogMessage>, CustodyError> {
    let book = node.book();
    let Some(partner) = book.get(from) else { return Ok(None) };
    let now = node.interval();
    let keys = counting(&partner.card, now.early);
    let offer = match message.verify(from, &keys) {
        Ok(offer) if offer.new.origin().store() == store => offer,
        // What nobody of its organisation signed says nothing of its log.
        Ok(_) => return Ok(refused(message)),
        Err(fault) => {
            tracing::warn!(partner = %from, %fault, "a head of a partner's log was not taken");
            node.note_error(from, format!("a head of its log was not taken: {fault}"));
            return Ok(refused(message));
        }
    };
    let mut txn = node.holdings.begin();
    let key = rows::watch(from, store);
    let kept = txn.get(Partition::Node, Table::Log, &key)?;
    let mut anew = began_of_late(&WatchRow::read(kept.clone())?, now.early);
    let seen = read(node, from, kept)?;
    match seen.handle_offer(&offer, now.early) {
        Ok(accepted) => {
            if accepted.step() == Step::Anew && anew.len() >= ANEW_A_DAY_MAX {
                let why =
                    format!("its log began anew {ANEW_A_DAY_MAX} times in a day: it is not witnessed before tomorrow");
                node.note_error(from, why);
                return Ok(refused(message));
            }
            if accepted.step() != Step::Same {
                if !rows::know(&mut txn, from, store)? {
                    node.note_error(from, "it speaks of more stores than are witnessed".to_owned());
                    return Ok(refused(message));
                }
                if accepted.step() == Step::Anew {
                    anew.insert(0, now.early);
                }
                let row =
                    WatchRow { anew, note: Some(note(&offer.new)?), keys: vec![offer.new.key().clone()], fork: None };
                txn.put(Partition::Node, Table::Log, &key, &row.write()?)?;
                if accepted.step() == Step::Anew {
                    let about = [("partner", from.to_string()), ("origin", offer.new.origin().to_string())];
                    node.journal(&mut txn, "log-anew", &about)?;
                }
                txn.commit()?;
            } else {
                drop(txn);
            }
            if matches!(accepted.step(), Step::First | Step::Anew) {
                owed::begin_anew(node, from, *offer.new.origin())?;
            }
            if accepted.step() == Step::Anew {
                tracing::warn!(partner = %from.short(), "the partner's log began anew: it was restored from an older copy");
                let why = "its log began anew: it was restored from an older copy, and what it had logged since cannot be proved any more";
                node.note_error(from, why.to_owned());
            }
            cosigned(node, &accepted).map(Some)
        }
        Err(Declined::Fork(fork)) => {
            forked(node, txn, (from, &key), &fork)?;
            Ok(refused(message))
        }
        Err(declined) => {
            drop(txn);
            let seen = match (&declined, &seen) {
                (Declined::Stale { .. }, Watch::Seen(seen)) => Some(again(node, seen)?),
                _ => None,
            };
            let answer = DeclinedMessage::new(&offer.new, &declined, seen);
            if answer.code == DeclinedCode::Refused {
                node.note_error(from, format!("its log is not witnessed: {declined}"));
            }
            Ok(Some(LogMessage::Declined(answer)))
        }
    }
}

fn note(head: &Checkpoint) -> Result<ByteBuf, CustodyError> {
    Ok(ByteBuf::from(head.to_bytes().map_err(|_| CustodyError::Broken("a head has no note"))?))
}

fn refused(message: &OfferMessage) -> Option<LogMessage> {
    let offered = UnverifiedCheckpoint::from_bytes(&message.new).ok()?;
    let text = offered.note().danger_unverified_text().as_bytes();
    let digest = entente_protocol::primitive::labelled(entente_protocol::label::CHECKPOINT_DIGEST, &[text]);
    let checkpoint = Hash::from_bytes(digest);
    Some(LogMessage::Declined(DeclinedMessage { code: DeclinedCode::Refused, seen: None, checkpoint }))
}

fn cosigned(node: &Node, accepted: &Accepted) -> Result<LogMessage, CustodyError> {
    let cosignature = accepted.cosign(node.keys.org, node.clock.now(), &node.keys.witness);
    let cosignature = cosignature.map_err(|_| CustodyError::Broken("a head could not be cosigned"))?;
    let named = node.config.named_witness;
    Ok(LogMessage::Cosigned(CosignedMessage::new(accepted.checkpoint(), &cosignature, named)))
}

/// What was seen, cosigned again: it is the largest consistent head that we know.
fn again(node: &Node, seen: &Checkpoint) -> Result<Vec<u8>, CustodyError> {
    let same = Offer { held: Some(seen.clone()), new: seen.clone(), proof: Vec::new() };
    let accepted = Watch::Seen(seen.clone()).handle_offer(&same, node.clock.now().max(seen.time()));
    let accepted = accepted.map_err(|_| CustodyError::Broken("a head that was accepted does not go on from itself"))?;
    let now = node.clock.now().max(seen.time());
    let broken = |_| CustodyError::Broken("a head could not be cosigned");
    let cosignature = accepted.cosign(node.keys.org, now, &node.keys.witness).map_err(broken)?;
    seen.to_bytes_with(std::slice::from_ref(cosignature.line())).map_err(broken)
}

/// Keeps both heads, tells people, and witnesses nothing more.
fn forked(node: &Node, mut txn: Txn<'_>, (from, key): (OrgId, &[u8]), fork: &ForkProof) -> Result<(), CustodyError> {
    let kept = fork.to_bytes().map_err(|_| CustodyError::Broken("a fork could not be kept"))?;
    let head = fork.heads().0.origin();
    if !rows::know(&mut txn, head.org(), head.store())? {
        return Ok(());
    }
    let (first, second) = fork.heads();
    let keys = vec![first.key().clone(), second.key().clone()];
    let row = WatchRow { fork: Some(ByteBuf::from(kept)), keys, ..WatchRow::default() };
    txn.put(Partition::Node, Table::Log, key, &row.write()?)?;
    let about =
        [("partner", from.to_string()), ("first", first.digest().to_string()), ("second", second.digest().to_string())];
    node.journal(&mut txn, "log-forked", &about)?;
    txn.commit()?;
    tracing::error!(partner = %from, "the partner's log has two heads that cannot both be true");
    node.note_error(from, FORKED.to_owned());
    Ok(())
}

/// What people are told of a forked log.
pub const FORKED: &str = "its log has two signed heads that cannot both be true: what it says of its own past cannot be relied \
                          on. Both are kept (`entente log show`); nothing of its log is witnessed until `entente log forget`";

/// Tells a partner what was seen of its log.
pub fn tell_seen(node: &Node, from: OrgId, store: StoreId) -> Result<LogMessage, CustodyError> {
    let note = match watch(node, from, store)? {
        Watch::Seen(seen) => Some(ByteBuf::from(again(node, &seen)?)),
        Watch::Unseen | Watch::Forked(_) => None,
    };
    Ok(LogMessage::Seen(SeenMessage { note, store }))
}

/// Compares a head that came from elsewhere with what was seen. Whether it contradicts it; then both are kept.
pub fn compare(node: &Node, head: &Checkpoint) -> Result<bool, CustodyError> {
    let (org, store) = (head.origin().org(), head.origin().store());
    let key = rows::watch(org, store);
    let txn = node.holdings.begin();
    let fork = match read(node, org, txn.get(Partition::Node, Table::Log, &key)?)? {
        Watch::Seen(seen) => ForkProof::of(&seen, head),
        Watch::Unseen => None,
        Watch::Forked(_) => return Ok(true),
    };
    match fork {
        Some(fork) => {
            forked(node, txn, (org, &key), &fork)?;
            Ok(true)
        }
        None => {
            drop(txn);
            Ok(false)
        }
    }
}

/// Forgets a fork, or what was seen, of a partner's log, and waits no more for proofs that it refused or that show something
/// else: people have decided to begin again with it.
pub fn forget(node: &Node, org: OrgId, store: StoreId) -> Result<bool, CustodyError> {
    let key = rows::watch(org, store);
    let forgiven = owed::forgive(node, org, store)?;
    let mut txn = node.holdings.begin();
    if WatchRow::read(txn.get(Partition::Node, Table::Log, &key)?)? == WatchRow::default() {
        return Ok(forgiven > 0);
    }
    txn.put(Partition::Node, Table::Log, &key, &WatchRow::default().write()?)?;
    node.journal(&mut txn, "log-forgotten", &[("partner", org.to_string()), ("store", store.to_string())])?;
    txn.commit()?;
    owed::reload(node, org, store);
    Ok(true)
}

/// A head of a partner's log that was verified under the keys that its card lists.
pub fn verified(node: &Node, note: &[u8]) -> Result<Option<Checkpoint>, CustodyError> {
    let read = UnverifiedCheckpoint::from_bytes(note)?;
    let org = read.danger_unverified_origin().org();
    let book = node.book();
    let card = match book.get(org) {
        _ if org == node.keys.org => &node.keys.card,
        Some(partner) => &partner.card,
        None => return Ok(None),
    };
    Ok(Some(stored_head(note, card)?))
}
