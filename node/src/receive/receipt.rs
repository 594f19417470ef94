//! Receipts: what a partner countersigned of a feed of ours is compared with what we signed, and kept.

use super::{ReceiveError, stated};
use crate::{node::Node, seal::keyring::Partition, share::feeds, store::layout::Table};
use entente_protocol::{
    cose::SignatureBytes,
    feed::{FeedKey, Receipt, Run},
    id::AgreementDigest,
    identity::Purpose,
};

/// When a partner countersigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Countersigned {
    /// Just now, in answer to a run.
    Now,
    /// Before: it shows what it holds.
    Before,
}

/// Takes a partner's countersignature of a run of ours.
pub fn receipt(node: &Node, feed: &FeedKey, signed: &SignatureBytes, when: Countersigned) -> Result<u64, ReceiveError> {
    let book = node.book();
    let now = node.clock.now();
    let made = match when {
        Countersigned::Now => now,
        Countersigned::Before => Receipt::danger_unverified(signed)?.time,
    };
    let receipt = Receipt::verify(signed, feed, |kid| book.past_key(feed.receiver, Purpose::Runs, kid, now, made))?;
    let length = receipt.held.length;
    let mut txn = node.holdings.begin();
    let mut row = feeds::out_row_in(&txn, feed, AgreementDigest::from_bytes([0; 32]))?;
    let run = match feeds::run_at(node, feed, &row, length.saturating_sub(1))? {
        Some((_, sent)) => Some((Run::danger_unverified(&sent.run)?, sent.run)),
        None => None,
    };
    // With the digest alone, the receipt could speak of another tree over the same entries.
    if run.as_ref().is_none_or(|(run, _)| run.end() != receipt.held || run.root != receipt.root) {
        drop(txn);
        let stopped = feeds::StoppedRow {
            at: now,
            ours: row.cursor(),
            theirs: receipt.held,
            our_proof: run.map(|(_, signed)| signed),
            their_proof: Some(signed.clone()),
        };
        feeds::stop(node, feed, &stopped)?;
        return Err(ReceiveError::Fork);
    }
    if row.countersigned.is_none_or(|c| c.length < length) {
        row.countersigned = Some(receipt.held);
        row.at = Some(now);
        txn.push(Partition::Own, Table::Receipt, feed.id().as_bytes(), &signed.0)?;
        stated(node, &mut txn, feed.receiver, receipt.time)?;
        feeds::put_out(&mut txn, feed, &row)?;
        let about = [
            ("agreement", feed.agreement.to_string()),
            ("partner", feed.receiver.to_string()),
            ("entries", length.to_string()),
        ];
        node.journal(&mut txn, "receipt", &about)?;
        txn.commit()?;
    }
    Ok(length)
}
