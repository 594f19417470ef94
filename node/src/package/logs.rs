//! What the own log proves of a package's batches: that each stood in it when partners had seen it.
//!
//! Of others' logs nothing goes: what partners prove of their runs is for us, and is not kept.

use crate::{
    custody::{self, CosignedRow},
    error::Fault,
    node::Node,
};
use entente_protocol::{
    batch::Head,
    cose::SignatureBytes,
    id::{LoggedDigest, OrgId},
    label, limits,
    package::parts::{LogPlace, LogProofs, Logged},
};
use std::collections::BTreeMap;

/// One checkpoint, and what stands under it.
pub struct LogPiece {
    /// The checkpoint with the cosignatures that may be shown.
    pub note: Vec<u8>,
    /// Places in the log.
    pub proofs: LogProofs,
    /// Whose cards it needs beside our own.
    pub witnesses: Vec<OrgId>,
}

/// Proofs of our own batches, each under the first head over it that somebody witnessed.
pub fn log_proofs(node: &Node, batches: &[SignatureBytes]) -> Result<Vec<LogPiece>, Fault> {
    let mut pieces: BTreeMap<Vec<u8>, LogPiece> = BTreeMap::new();
    for (n, head) in (1u32..).zip(batches) {
        if Head::danger_unverified(head).map_err(Fault::store)?.originator != node.keys.org {
            continue;
        }
        let payload = head.parse().map_err(Fault::store)?;
        let stands = LoggedDigest::of(label::SIGN_BATCH, payload.danger_unverified_payload());
        let Some((proof, row)) = custody::view::of_batch(node, stands)? else { continue };
        let key = row.note.to_vec();
        if pieces.len() >= limits::PACKAGE_LOGS_MAX && !pieces.contains_key(&key) {
            continue;
        }
        let Some(piece) = pieces.get_mut(&key) else {
            if let Some((note, witnesses)) = shown(node, &row) {
                let proofs = LogProofs::new(vec![LogPlace { of: Logged::Batch(n), proof }]);
                pieces.insert(key, LogPiece { note, proofs, witnesses });
            }
            continue;
        };
        if piece.proofs.places.len() < limits::PACKAGE_LOG_PROOFS_MAX {
            piece.proofs.places.push(LogPlace { of: Logged::Batch(n), proof });
        }
    }
    Ok(pieces.into_values().collect())
}

/// A head with the lines of those witnesses that agreed to be named (WIT-7), and whose cards are here. None without any:
/// by itself it says no more than its organisation does.
fn shown(node: &Node, row: &CosignedRow) -> Option<(Vec<u8>, Vec<OrgId>)> {
    let (book, mut note, mut witnesses) = (node.book(), row.note.to_vec(), Vec::new());
    for by in row.by.iter().filter(|by| by.named && book.card(by.org).is_some()) {
        note.extend_from_slice(by.line.trim_end().as_bytes());
        note.push(b'\n');
        witnesses.push(by.org);
    }
    (!witnesses.is_empty()).then_some((note, witnesses))
}
