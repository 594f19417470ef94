//! RFC 9162 hash trees: roots, inclusion and consistency, and their verification.
//!
//! For logs that grow: witnessed checkpoints now, and the shape of an attachment's chunk tree under
//! tags of its own. Records, batches and runs use fixed-depth trees instead ([`crate::tree`]).
//! Checked against the proofs of the transparency-dev library, most of which must fail.

use crate::{
    id::Hash,
    label::{TAG_LOG_LEAF, TAG_LOG_NODE},
    primitive::{sha256, tagged},
};

/// A proof that does not hold: the fault of whoever keeps the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofFault {
    /// A leaf outside the tree, or a tree that shrinks, or one that was empty.
    #[error("the proof is for sizes or places that do not fit each other")]
    Range,
    /// More or fewer hashes than the sizes need.
    #[error("the proof has too many or too few hashes")]
    Length,
    /// The hashes do not give the root.
    #[error("the proof does not give the root")]
    Root,
}

/// SHA-256(0x00, entry) (RFC 9162, section 2.1.1).
pub fn leaf_hash(entry: &[u8]) -> Hash {
    tagged(TAG_LOG_LEAF, &[entry])
}

fn node(tag: u8, left: Hash, right: Hash) -> Hash {
    tagged(tag, &[left.as_bytes(), right.as_bytes()])
}

/// The largest power of two below `len`, which is at least 2.
fn split(len: usize) -> usize {
    1 << (usize::BITS - 1 - len.saturating_sub(1).leading_zeros())
}

/// The root over leaf hashes (RFC 9162, section 2.1.1); over none, SHA-256 of nothing.
pub fn root(leaves: &[Hash]) -> Hash {
    root_tagged(TAG_LOG_NODE, leaves)
}

/// The same shape under another node tag. Ends because both halves are shorter.
pub(crate) fn root_tagged(tag: u8, leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::from_bytes(sha256(&[])),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node(tag, root_tagged(tag, left), root_tagged(tag, right))
        }
    }
}

/// A tree that grows leaf by leaf, of which only the roots of its full subtrees are held: one for each bit of its size.
#[derive(Debug, Clone, Default)]
pub struct Growing {
    // INVARIANT: heights fall.
    full: Vec<(u32, Hash)>,
}

impl Growing {
    /// One more leaf, by its hash.
    pub fn push(&mut self, leaf: Hash) {
        let (mut height, mut hash) = (0, leaf);
        while let Some((_, left)) = self.full.pop_if(|(beside, _)| *beside == height) {
            (height, hash) = (height + 1, node(TAG_LOG_NODE, left, hash));
        }
        self.full.push((height, hash));
    }
    /// The root over all leaves so far.
    pub fn root(&self) -> Hash {
        let mut right_to_left = self.full.iter().rev().map(|(_, hash)| *hash);
        let Some(last) = right_to_left.next() else { return root(&[]) };
        right_to_left.fold(last, |right, left| node(TAG_LOG_NODE, left, right))
    }
}

/// The path from a leaf to the root (RFC 9162, section 2.1.3.1), lowest first.
pub fn prove_inclusion(leaves: &[Hash], index: usize) -> Result<Vec<Hash>, ProofFault> {
    if index >= leaves.len() {
        return Err(ProofFault::Range);
    }
    if leaves.len() == 1 {
        return Ok(Vec::new());
    }
    let middle = split(leaves.len());
    let (left, right) = leaves.split_at(middle);
    let (mut path, beside) = match index.checked_sub(middle) {
        None => (prove_inclusion(left, index)?, right),
        Some(index) => (prove_inclusion(right, index)?, left),
    };
    path.push(root(beside));
    Ok(path)
}

/// What shows that the first `old` leaves are unchanged (RFC 9162, section 2.1.4.1).
pub fn prove_consistency(leaves: &[Hash], old: usize) -> Result<Vec<Hash>, ProofFault> {
    if old == 0 || old > leaves.len() {
        return Err(ProofFault::Range);
    }
    Ok(subproof(leaves, old, true))
}

/// SUBPROOF of the RFC; `known` says whether the verifier has this very subtree as the old root.
fn subproof(leaves: &[Hash], old: usize, known: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if known { Vec::new() } else { vec![root(leaves)] };
    }
    let middle = split(leaves.len());
    let (left, right) = leaves.split_at(middle);
    let (mut path, beside) =
        if old <= middle { (subproof(left, old, known), right) } else { (subproof(right, old - middle, false), left) };
    path.push(root(beside));
    path
}

/// Verifies that `leaf` is entry `index` of the log of `size` entries with this root (RFC 9162, section 2.1.3.2).
pub fn verify_inclusion(leaf: Hash, index: u64, size: u64, root: Hash, proof: &[Hash]) -> Result<(), ProofFault> {
    if index >= size {
        return Err(ProofFault::Range);
    }
    let (mut first, mut second) = (index, size - 1);
    let mut hash = leaf;
    for beside in proof {
        if second == 0 {
            return Err(ProofFault::Length);
        }
        if first & 1 == 1 || first == second {
            hash = node(TAG_LOG_NODE, *beside, hash);
            (first, second) = skip(first, second);
        } else {
            hash = node(TAG_LOG_NODE, hash, *beside);
        }
        (first, second) = (first >> 1, second >> 1);
    }
    match (second, hash == root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofFault::Root),
        _ => Err(ProofFault::Length),
    }
}

/// Drops the levels at which the node is a lone right edge. Ends because `first` loses a bit each time.
fn skip(mut first: u64, mut second: u64) -> (u64, u64) {
    while first & 1 == 0 && first != 0 {
        (first, second) = (first >> 1, second >> 1);
    }
    (first, second)
}

/// Verifies that the log of `size2` entries begins with the log of `size1` entries (RFC 9162, section 2.1.4.2).
///
/// An empty log proves nothing, so `size1` of 0 is refused, also with equal roots: whoever knows no
/// checkpoint yet takes the first one as it is and has nothing to verify.
pub fn verify_consistency(size1: u64, root1: Hash, size2: u64, root2: Hash, proof: &[Hash]) -> Result<(), ProofFault> {
    if size1 == 0 || size1 > size2 {
        return Err(ProofFault::Range);
    }
    if size1 == size2 {
        return match (proof, root1 == root2) {
            ([], true) => Ok(()),
            ([], false) => Err(ProofFault::Root),
            _ => Err(ProofFault::Length),
        };
    }
    let (start, rest) = match proof.split_first() {
        None => return Err(ProofFault::Length),
        Some(_) if size1.is_power_of_two() => (root1, proof),
        Some((start, rest)) => (*start, rest),
    };
    let ones = (size1 - 1).trailing_ones();
    let (mut first, mut second) = ((size1 - 1) >> ones, (size2 - 1) >> ones);
    let (mut old, mut new) = (start, start);
    for beside in rest {
        if second == 0 {
            return Err(ProofFault::Length);
        }
        if first & 1 == 1 || first == second {
            old = node(TAG_LOG_NODE, *beside, old);
            new = node(TAG_LOG_NODE, *beside, new);
            (first, second) = skip(first, second);
        } else {
            new = node(TAG_LOG_NODE, new, *beside);
        }
        (first, second) = (first >> 1, second >> 1);
    }
    match (second, old == root1 && new == root2) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofFault::Root),
        _ => Err(ProofFault::Length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(n: u64) -> Vec<Hash> {
        (0..n).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    #[test]
    fn every_leaf_of_every_small_log_is_proved_and_in_no_other_place() {
        for size in 1..=33u64 {
            let all = leaves(size);
            let root = root(&all);
            for index in 0..size {
                let leaf = all[index as usize];
                let proof = prove_inclusion(&all, index as usize).unwrap();
                assert_eq!(verify_inclusion(leaf, index, size, root, &proof), Ok(()), "{index} of {size}");
                for other in (0..size).filter(|other| *other != index) {
                    assert!(verify_inclusion(leaf, other, size, root, &proof).is_err());
                }
                for at in 0..proof.len() {
                    let mut changed = proof.clone();
                    changed[at] = leaf_hash(b"another");
                    assert_eq!(verify_inclusion(leaf, index, size, root, &changed), Err(ProofFault::Root));
                    assert!(verify_inclusion(leaf, index, size, root, &proof[..at]).is_err());
                }
                let longer = [proof, vec![root]].concat();
                assert_eq!(verify_inclusion(leaf, index, size, root, &longer), Err(ProofFault::Length));
            }
            assert_eq!(prove_inclusion(&all, size as usize), Err(ProofFault::Range));
            assert_eq!(verify_inclusion(all[0], size, size, root, &[]), Err(ProofFault::Range));
        }
    }

    #[test]
    fn every_prefix_of_every_small_log_is_consistent_and_no_fork_is() {
        for size in 1..=33u64 {
            let all = leaves(size);
            let root2 = root(&all);
            for old in 1..=size {
                let root1 = root(&all[..old as usize]);
                let proof = prove_consistency(&all, old as usize).unwrap();
                assert_eq!(verify_consistency(old, root1, size, root2, &proof), Ok(()), "{old} to {size}");
                // A log that changed one of its old entries.
                let mut forked = all.clone();
                forked[0] = leaf_hash(b"rewritten");
                let fork = root(&forked);
                let excuse = prove_consistency(&forked, old as usize).unwrap();
                assert!(verify_consistency(old, root1, size, fork, &excuse).is_err());
                assert!(verify_consistency(old, root1, size, fork, &proof).is_err());
                assert!(verify_consistency(old, root1, size, root2, &[proof, vec![root1]].concat()).is_err());
            }
            assert_eq!(prove_consistency(&all, 0), Err(ProofFault::Range));
            assert_eq!(verify_consistency(size + 1, root2, size, root2, &[]), Err(ProofFault::Range));
            assert_eq!(verify_consistency(0, root(&[]), size, root2, &[]), Err(ProofFault::Range));
        }
    }

    #[test]
    fn the_largest_sizes_end() {
        let hash = leaf_hash(b"x");
        let proof = vec![hash; 65];
        assert!(verify_inclusion(hash, u64::MAX - 1, u64::MAX, hash, &proof).is_err());
        assert!(verify_consistency(u64::MAX - 1, hash, u64::MAX, hash, &proof).is_err());
        assert!(verify_consistency(1, hash, u64::MAX, hash, &proof).is_err());
    }
}
