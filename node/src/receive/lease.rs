//! Leases: what was received under an agreement that names one locks when its giver was not met for so long.
//!
//! Locked is not gone: it is sealed as before, its recalls and deletions are carried out, and the next meeting with its
//! giver unlocks it. The latest time that was ever shown here counts, so that a clock moved backwards unlocks nothing;
//! one moved ahead locks too early, and the next meeting mends it.

use super::ReceiveError;
use crate::{
    error::Fault,
    node::Node,
    records::stored::{decode, encode},
    seal::keyring::Partition,
    share::{ShareError, feeds},
    store::layout::Table,
};
use entente_protocol::{
    cose::SignatureBytes,
    id::{AgreementId, Nonce, OrgId},
    identity::Purpose,
    lease::Lease,
    time::{HOUR_MS, UnixMillis},
};
use serde::{Deserialize, Serialize};

/// The newest lease of a giver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseRow {
    /// When it came, by the latest time that was shown here.
    pub at: UnixMillis,
    /// As it came.
    pub signed: SignatureBytes,
}

/// The key of the newest lease of a giver.
pub fn key(giver: OrgId) -> Vec<u8> {
    [b"lease".as_slice(), giver.as_bytes()].concat()
}

/// The time that leases are measured by: it never goes back.
fn now(node: &Node) -> UnixMillis {
    node.clock.now().max(node.marks.seen())
}

/// Hours for which what comes under an agreement may be read without meeting its giver.
fn hours(node: &Node, agreement: AgreementId) -> Option<u32> {
    node.rules().agreements.get(agreement)?.in_force.as_ref()?.agreement.lease_hours
}

/// When what a giver gave under an agreement locks, or locked; never where the agreement names no lease.
pub fn until(node: &Node, agreement: AgreementId, giver: OrgId) -> Result<Option<UnixMillis>, ShareError> {
    let Some(hours) = hours(node, agreement) else { return Ok(None) };
    let partition = Partition::Agreement(agreement);
    let row = node.holdings.get(partition, Table::Cursor, &key(giver))?;
    let leased = row.map(|row| decode::<LeaseRow>("lease", &row)).transpose()?.map(|row| row.at);
    // A run that came is a meeting too: before the first lease there is that one.
    let came = match feeds::known_store(node, giver, agreement)? {
        Some(store) => feeds::in_row(node, &feeds::incoming(node, giver, store, agreement))?.at,
        None => None,
    };
    Ok(leased.max(came).map(|met| met.plus(u64::from(hours) * HOUR_MS)))
}

/// Since when what a giver gave under an agreement is locked, if it is.
pub fn locked(node: &Node, agreement: AgreementId, giver: OrgId) -> Result<Option<UnixMillis>, ShareError> {
    Ok(until(node, agreement, giver)?.filter(|until| *until <= now(node)))
}

/// Why a record is not shown, where it is locked.
pub fn shown(node: &Node, agreement: AgreementId, giver: OrgId) -> Result<(), Fault> {
    match locked(node, agreement, giver).map_err(Fault::store)? {
        None => Ok(()),
        Some(since) => {
            let giver = node.handle_of(giver);
            Err(Fault::partner(
                "locked",
                format!(
                    "it is held, and locked since {since} until `{giver}` is met again: that is the lease of its agreement. \
                     Reach it: `entente sync {giver}`"
                ),
            ))
        }
    }
}

/// Takes a giver's word, which must answer the nonce of the session under way. Whether it is one that counts.
pub fn renew(node: &Node, giver: OrgId, nonce: Nonce, content: &[u8]) -> Result<bool, ReceiveError> {
    let signed = SignatureBytes::from_bytes(content, 1 << 10);
    let time = node.clock.now();
    let key_of = |kid| node.book().key(giver, Purpose::Runs, kid, time);
    let lease = signed.as_ref().ok().map(|signed| Lease::verify(signed, (giver, node.keys.org, nonce), key_of));
    let (Ok(signed), Some(Ok(lease))) = (signed, lease) else { return Ok(false) };
    let partition = Partition::Agreement(lease.agreement);
    let binds = node.partitions().contains(&lease.agreement)
        && node.rules().agreements.get(lease.agreement).is_some_and(|held| held.binds(giver));
    if !binds || hours(node, lease.agreement).is_none() {
        return Ok(false);
    }
    let row = LeaseRow { at: now(node), signed };
    let mut txn = node.holdings.begin();
    txn.put(partition, Table::Cursor, &key(giver), &encode("lease", &row)?)?;
    txn.commit()?;
    Ok(true)
}
