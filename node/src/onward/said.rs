//! What is still to be said to a partner about onward release, until it says that it has heard it.
//!
//! `exchange` says it, oldest first, anew in each session; whoever hears it keeps it and then says so. What cannot be
//! taken is not said to be heard, and is no fault of the connection.

use super::{ASKED, GIVEN, OnwardError, PASSED, RELAYED, answering, asking, grants, passed, to_scope};
use crate::{
    node::Node,
    recall::relay,
    records::stored::{decode, encode},
    seal::keyring::Partition,
    share::ShareError,
    store::{StoreError, layout::Table, txn::Txn},
};
use entente_protocol::{
    cose::SignatureBytes,
    grant::{NOTICE_GRANT, NOTICE_PASSED, NOTICE_RELAYED, NOTICE_REQUEST, heard_from_bytes, notice_id},
    id::{NoticeId, OrgId},
    limits,
    session::Notice,
};
use serde::{Deserialize, Serialize};

/// What is said, by its place in the list of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Say {
    /// A request of ours.
    Request(u64),
    /// A grant of ours.
    Grant(u64),
    /// Our word of what we passed on.
    Passed(u64),
    /// An onward holder's answers to recalls.
    Relayed(u64),
}

/// The key under which what a partner heard is found in its list.
pub fn heard_key(partner: OrgId, id: NoticeId) -> Vec<u8> {
    [b"heard".as_slice(), partner.as_bytes(), id.as_bytes()].concat()
}

/// Has something said to a partner, within the append that makes it.
pub fn push(txn: &mut Txn<'_>, partner: OrgId, say: Say, signed: &SignatureBytes) -> Result<(), ShareError> {
    let place = txn.push(Partition::Own, Table::Grant, &to_scope(partner), &encode("to be said", &say)?)?;
    txn.put(Partition::Own, Table::Grant, &heard_key(partner, notice_id(signed)), &place.to_be_bytes())?;
    Ok(())
}

/// How far what is to be said to a partner goes.
pub fn end(node: &Node, partner: OrgId) -> Result<u64, StoreError> {
    node.holdings.count(Partition::Own, Table::Grant, &to_scope(partner))
}

/// What is to be said to a partner from a place of its list on, with the place after each; a page of it.
pub fn to_say(node: &Node, partner: OrgId, from: u64) -> Result<Vec<(u64, Notice)>, OnwardError> {
    let page = node.holdings.list(Partition::Own, Table::Grant, &to_scope(partner), from.checked_sub(1), 16)?;
    let mut all = Vec::with_capacity(page.len());
    for (place, bytes) in page {
        all.push((place + 1, notice(node, decode("to be said", &bytes)?)?));
    }
    Ok(all)
}

fn row<T: serde::de::DeserializeOwned>(node: &Node, scope: &[u8], at: u64) -> Result<T, OnwardError> {
    let row = node.holdings.item(Partition::Own, Table::Grant, scope, at)?;
    Ok(decode("to be said", &row.ok_or(StoreError::Broken { at })?)?)
}

fn notice(node: &Node, say: Say) -> Result<Notice, OnwardError> {
    let malformed = |e: entente_protocol::codec::CodecError| OnwardError::Share(e.into());
    let (kind, content) = match say {
        Say::Request(at) => {
            (NOTICE_REQUEST, row::<asking::AskedRow>(node, ASKED, at)?.signed.to_bytes().map_err(malformed)?)
        }
        Say::Grant(at) => {
            (NOTICE_GRANT, row::<answering::GivenRow>(node, GIVEN, at)?.signed.to_bytes().map_err(malformed)?)
        }
        Say::Passed(at) => {
            let signed = row::<passed::PassedRow>(node, PASSED, at)?.signed;
            (NOTICE_PASSED, passed::told(node, &signed)?.to_bytes().map_err(malformed)?)
        }
        Say::Relayed(at) => {
            let row = row::<relay::RelayedRow>(node, RELAYED, at)?;
            (NOTICE_RELAYED, row.told().to_bytes().map_err(malformed)?)
        }
    };
    Ok(Notice { kind, content })
}

/// What became of a notice.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// As what it is said to be heard.
    pub id: NoticeId,
    /// Whether the rules changed with it.
    pub rules: bool,
    /// Whether it brought answers of others that were not known.
    pub answers: bool,
}

/// Takes a notice of a partner.
pub fn take(node: &Node, from: OrgId, notice: &Notice) -> Result<Taken, OnwardError> {
    let taken = |signed: &SignatureBytes| Taken { id: notice_id(signed), rules: false, answers: false };
    let signed = || {
        let signed = SignatureBytes::from_bytes(&notice.content, limits::CONTROL_FRAME_BYTES_MAX);
        signed.map_err(|fault| OnwardError::Partner(fault.to_string()))
    };
    match notice.kind {
        NOTICE_REQUEST => {
            let signed = signed()?;
            answering::take(node, from, &signed)?;
            Ok(taken(&signed))
        }
        NOTICE_GRANT => {
            let signed = signed()?;
            let rules = grants::take(node, from, &signed)?;
            Ok(Taken { rules, ..taken(&signed) })
        }
        NOTICE_PASSED => Ok(taken(&passed::take(node, from, &notice.content)?)),
        _ => {
            let (signed, answers) = relay::take(node, from, &notice.content)?;
            Ok(Taken { answers, ..taken(&signed) })
        }
    }
}

/// A partner says what it has heard: it is not said again.
pub fn heard(node: &Node, partner: OrgId, content: &[u8]) -> Result<(), OnwardError> {
    let ids = heard_from_bytes(content).map_err(|fault| OnwardError::Partner(fault.to_string()))?;
    let now = node.clock.now();
    let mut txn = node.holdings.begin();
    let (scope, mut any) = (to_scope(partner), false);
    for id in ids {
        let key = heard_key(partner, id);
        let at = txn.get(Partition::Own, Table::Grant, &key)?.and_then(|at| <[u8; 8]>::try_from(at).ok());
        let Some(at) = at.map(u64::from_be_bytes) else { continue };
        let Some(say) = txn.item(Partition::Own, Table::Grant, &scope, at)? else { continue };
        match decode("to be said", &say)? {
            Say::Request(place) => {
                note(node, &mut txn, (ASKED, place), |row: &mut asking::AskedRow| row.heard = Some(now))?
            }
            Say::Grant(place) => {
                note(node, &mut txn, (GIVEN, place), |row: &mut answering::GivenRow| row.heard = Some(now))?
            }
            Say::Passed(place) => {
                note(node, &mut txn, (PASSED, place), |row: &mut passed::PassedRow| row.heard = Some(now))?;
            }
            Say::Relayed(place) => {
                note(node, &mut txn, (RELAYED, place), |row: &mut relay::RelayedRow| row.heard = Some(now))?;
            }
        }
        txn.remove_item(Partition::Own, Table::Grant, &scope, at)?;
        txn.delete(Partition::Own, Table::Grant, &key)?;
        any = true;
    }
    if any {
        txn.commit()?;
    }
    Ok(())
}

fn note<T: Serialize + serde::de::DeserializeOwned>(
    node: &Node,
    txn: &mut Txn<'_>,
    (scope, at): (&[u8], u64),
    change: impl FnOnce(&mut T),
) -> Result<(), OnwardError> {
    let mut said: T = row(node, scope, at)?;
    change(&mut said);
    Ok(txn.replace_item(Partition::Own, Table::Grant, scope, at, &encode("to be said", &said)?)?)
}
