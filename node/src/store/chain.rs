//! The sequence of appends: gapless numbers and a digest that runs over all of them.
//!
//! Every engine uses this, so that a lost tail shows whatever the engine does about it.

use super::{Append, Ledger, SCAN_ROWS_MAX, SequenceRow, StoreError};
use crate::seal::label;
use ring::digest;

/// Where a ledger stands: the number of the last append, and the digest over all appends up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Number of the append; the first has 1, an empty ledger stands at 0.
    pub sequence: u64,
    /// Running digest; zero for an empty ledger.
    pub digest: [u8; 32],
}

impl Position {
    /// The position after one more append of this digest:
    /// SHA-256(label, 0x00, sequence as 8 bytes BE, previous digest, append digest).
    pub fn next(&self, append: [u8; 32]) -> Self {
        let sequence = self.sequence + 1;
        let digest = finish(&[label::SEQUENCE.as_bytes(), &[0], &sequence.to_be_bytes(), &self.digest, &append]);
        Self { sequence, digest }
    }
}

/// Digest of an append: SHA-256(label, 0x00, for each put 0x01 and both lengths and both parts, for each
/// deletion 0x02 and length and key), lengths as 4 bytes BE.
pub fn digest_of(batch: &Append) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(label::APPEND.as_bytes());
    context.update(&[0]);
    for (key, value) in &batch.puts {
        let mut head = [1u8; 9];
        for (to, from) in head.iter_mut().skip(1).zip(length(key).into_iter().chain(length(value))) {
            *to = from;
        }
        context.update(&head);
        context.update(key);
        context.update(value);
    }
    for key in &batch.deletes {
        context.update(&[2]);
        context.update(&length(key));
        context.update(key);
    }
    bytes(context)
}

/// Lengths are far below 4 GiB: appends are bounded.
fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes()
}

/// SHA-256 over the parts.
pub(super) fn finish(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    bytes(context)
}

fn bytes(context: digest::Context) -> [u8; 32] {
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    out
}

/// A sequence row's value: append digest, then running digest.
pub fn encode(row: &SequenceRow) -> Vec<u8> {
    [row.append, row.position.digest].concat()
}

/// Reads a sequence row.
pub fn decode(key: &[u8], value: &[u8]) -> Option<SequenceRow> {
    let sequence = u64::from_be_bytes(key.try_into().ok()?);
    let (append, rest) = value.split_first_chunk::<32>()?;
    let digest = <[u8; 32]>::try_from(rest).ok()?;
    Some(SequenceRow { position: Position { sequence, digest }, append: *append })
}

/// Checks that `row` follows from `before`.
pub fn follows(before: Position, row: &SequenceRow) -> Result<Position, StoreError> {
    match before.next(row.append) == row.position {
        true => Ok(row.position),
        false => Err(StoreError::Broken { at: before.sequence + 1 }),
    }
}

/// Walks from a position that is known to have been acknowledged to the last one `found` in the ledger, and
/// returns the end. Every engine on disk calls it when it is opened.
pub fn verify_tail(ledger: &dyn Ledger, known: Position, found: Position) -> Result<Position, StoreError> {
    if found.sequence < known.sequence {
        return Err(StoreError::LostTail { found: found.sequence, known: known.sequence });
    }
    if known.sequence > 0 {
        let at = ledger.sequence(known.sequence - 1, 1)?;
        if at.first().map(|row| row.position) != Some(known) {
            return Err(StoreError::Broken { at: known.sequence });
        }
    }
    let mut position = known;
    while position.sequence < found.sequence {
        let rows = ledger.sequence(position.sequence, SCAN_ROWS_MAX)?;
        if rows.is_empty() {
            return Err(StoreError::Broken { at: position.sequence + 1 });
        }
        for row in &rows {
            position = follows(position, row)?;
        }
    }
    Ok(position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_append_does_changes_its_digest() {
        let put = |key: &str, value: &str| (key.as_bytes().to_vec(), value.as_bytes().to_vec());
        let batches = [
            Append::default(),
            Append { puts: vec![put("ab", "c")], ..Append::default() },
            Append { puts: vec![put("a", "bc")], ..Append::default() },
            Append { deletes: vec![b"ab".to_vec()], ..Append::default() },
            Append { puts: vec![put("ab", "c")], deletes: vec![b"ab".to_vec()], ..Append::default() },
        ];
        let digests: std::collections::BTreeSet<_> = batches.iter().map(digest_of).collect();
        assert_eq!(digests.len(), batches.len());
    }

    #[test]
    fn a_row_that_does_not_follow_is_named() {
        let first = Position::default().next([1; 32]);
        let second = SequenceRow { position: first.next([2; 32]), append: [2; 32] };
        assert_eq!(decode(&2u64.to_be_bytes(), &encode(&second)), Some(second));
        assert_eq!(follows(first, &second).ok(), Some(second.position));
        assert!(matches!(follows(Position::default(), &second), Err(StoreError::Broken { at: 1 })));
    }
}
