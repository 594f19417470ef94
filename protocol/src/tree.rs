//! Hash trees of fixed depth with sparse leaves, and proofs for any set of leaves at once.
//!
//! Where nothing stands, the caller's filler stands: a pseudorandom value for each empty leaf and
//! for the top of each empty subtree, so that neither shape nor proof tells what else is committed.
//! Used for slots (depth 6), batches (depth 16), runs (depth 12), intervals of a log (depth 31).

use crate::{id::Hash, primitive::tagged};

/// Depth and node tag of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tree {
    /// Leaves are `1 << depth`.
    pub depth: u8,
    /// Tag of inner nodes.
    pub node_tag: u8,
}

/// A leaf by position.
pub type Leaf = (u32, Hash);

struct Builder<'a, F> {
    tree: Tree,
    filler: F,
    nodes: &'a mut Vec<Hash>,
}

impl<F: FnMut(u8, u32) -> Hash> Builder<'_, F> {
    /// Hash of the subtree at `level` (0 = leaf) and `index`. Ends because `level` falls.
    fn subtree(&mut self, level: u8, index: u32, leaves: &[Leaf], wanted: &[u32]) -> Hash {
        let hash = match (leaves, level) {
            ([], _) => (self.filler)(level, index),
            ([(_, leaf), ..], 0) => *leaf,
            _ => {
                let middle = ((index << 1) | 1) << (level - 1);
                let (left, right) = leaves.split_at(leaves.partition_point(|(at, _)| *at < middle));
                let (want_left, want_right) = wanted.split_at(wanted.partition_point(|at| *at < middle));
                if wanted.is_empty() {
                    let a = self.silent(level - 1, index << 1, left);
                    let b = self.silent(level - 1, (index << 1) | 1, right);
                    self.tree.node(a, b)
                } else {
                    let a = self.subtree(level - 1, index << 1, left, want_left);
                    let b = self.subtree(level - 1, (index << 1) | 1, right, want_right);
                    self.tree.node(a, b)
                }
            }
        };
        if wanted.is_empty() {
            self.nodes.push(hash);
        }
        hash
    }

    /// The same without recording proof nodes.
    fn silent(&mut self, level: u8, index: u32, leaves: &[Leaf]) -> Hash {
        match (leaves, level) {
            ([], _) => (self.filler)(level, index),
            ([(_, leaf), ..], 0) => *leaf,
            _ => {
                let middle = ((index << 1) | 1) << (level - 1);
                let (left, right) = leaves.split_at(leaves.partition_point(|(at, _)| *at < middle));
                let a = self.silent(level - 1, index << 1, left);
                let b = self.silent(level - 1, (index << 1) | 1, right);
                self.tree.node(a, b)
            }
        }
    }
}

impl Tree {
    /// Number of leaves.
    pub const fn width(self) -> u32 {
        1 << self.depth
    }

    fn node(self, left: Hash, right: Hash) -> Hash {
        tagged(self.node_tag, &[left.as_bytes(), right.as_bytes()])
    }

    /// The root over `leaves`, which are in rising order of position.
    pub fn root(self, leaves: &[Leaf], filler: impl FnMut(u8, u32) -> Hash) -> Hash {
        let mut none = Vec::new();
        Builder { tree: self, filler, nodes: &mut none }.silent(self.depth, 0, leaves)
    }

    /// The root, and the fewest nodes that give it back from the `wanted` leaves.
    ///
    /// `leaves` and `wanted` are in rising order; every wanted position holds a leaf. Nodes come in
    /// the order of a walk from left to right.
    pub fn prove(self, leaves: &[Leaf], wanted: &[u32], filler: impl FnMut(u8, u32) -> Hash) -> (Hash, Vec<Hash>) {
        let mut nodes = Vec::new();
        let root = Builder { tree: self, filler, nodes: &mut nodes }.subtree(self.depth, 0, leaves, wanted);
        (root, nodes)
    }

    /// The tree over `leaves`, which are in rising order of position, with its inner nodes kept.
    pub fn grow(self, leaves: Vec<Leaf>, mut filler: impl FnMut(u8, u32) -> Hash) -> Grown {
        let mut levels = Vec::with_capacity(usize::from(self.depth) + 1);
        levels.push(leaves);
        for level in 0..self.depth {
            let below = levels.last().map(Vec::as_slice).unwrap_or_default();
            let mut above: Vec<Leaf> = Vec::with_capacity(below.len());
            let mut rest = below.iter().copied().peekable();
            while let Some((index, hash)) = rest.next() {
                let beside = rest.next_if(|(next, _)| *next == index ^ 1);
                let beside = beside.map_or_else(|| filler(level, index ^ 1), |(_, hash)| hash);
                let (left, right) = if index & 1 == 0 { (hash, beside) } else { (beside, hash) };
                above.push((index >> 1, self.node(left, right)));
            }
            levels.push(above);
        }
        Grown { tree: self, levels }
    }

    /// The root over one node, which stands at `level` above or at leaf `at`, with what stands beside it on the way up,
    /// lowest first. `None` unless exactly the hashes needed are there.
    pub fn climb(self, level: u8, at: u32, node: Hash, beside: &[Hash]) -> Option<Hash> {
        let levels = level..self.depth;
        if level > self.depth || at >= self.width() || levels.len() != beside.len() {
            return None;
        }
        let step = |hash, (level, beside): (u8, &Hash)| {
            if at >> level & 1 == 0 { self.node(hash, *beside) } else { self.node(*beside, hash) }
        };
        Some(levels.zip(beside).fold(node, step))
    }

    /// The root that `disclosed` leaves and `nodes` give. `None` unless positions rise strictly, lie
    /// within the tree, and exactly the nodes needed are there.
    pub fn rebuild(self, disclosed: &[Leaf], nodes: &[Hash]) -> Option<Hash> {
        let rising = disclosed.windows(2).all(|w| matches!(w, [a, b] if a.0 < b.0));
        if !rising || disclosed.last().is_some_and(|(at, _)| *at >= self.width()) {
            return None;
        }
        let mut rest = nodes.iter();
        let root = self.rebuild_subtree(self.depth, 0, disclosed, &mut rest)?;
        rest.next().is_none().then_some(root)
    }

    fn rebuild_subtree(
        self,
        level: u8,
        index: u32,
        leaves: &[Leaf],
        nodes: &mut std::slice::Iter<'_, Hash>,
    ) -> Option<Hash> {
        match (leaves, level) {
            ([], _) => nodes.next().copied(),
            ([(_, leaf), ..], 0) => Some(*leaf),
            _ => {
                let middle = ((index << 1) | 1) << (level - 1);
                let (left, right) = leaves.split_at(leaves.partition_point(|(at, _)| *at < middle));
                let a = self.rebuild_subtree(level - 1, index << 1, left, nodes)?;
                let b = self.rebuild_subtree(level - 1, (index << 1) | 1, right, nodes)?;
                Some(self.node(a, b))
            }
        }
    }
}

/// A tree in memory, of which proofs are made without hashing what they do not show.
pub struct Grown {
    tree: Tree,
    /// By level, rising in index: the leaves first. What is not there is a filler.
    levels: Vec<Vec<Leaf>>,
}

impl Grown {
    /// The root.
    pub fn root(&self, mut filler: impl FnMut(u8, u32) -> Hash) -> Hash {
        self.node(self.tree.depth, 0, &mut filler)
    }

    /// The fewest nodes that give the root back from the `wanted` leaves, as [`Tree::prove`] has them.
    pub fn prove(&self, wanted: &[u32], mut filler: impl FnMut(u8, u32) -> Hash) -> Vec<Hash> {
        let mut nodes = Vec::new();
        self.walk(self.tree.depth, 0, wanted, &mut filler, &mut nodes);
        nodes
    }

    /// The level of the largest empty subtree around leaf `at`; 0 where only the leaf is empty, or nothing is.
    pub fn empty_above(&self, at: u32) -> u8 {
        (0..=self.tree.depth).rev().find(|level| self.kept(*level, at >> level).is_none()).unwrap_or(0)
    }

    /// What stands beside the node at `level` above leaf `at`, on the way to the root, lowest first.
    pub fn beside(&self, at: u32, level: u8, mut filler: impl FnMut(u8, u32) -> Hash) -> Vec<Hash> {
        (level..self.tree.depth).map(|level| self.node(level, at >> level ^ 1, &mut filler)).collect()
    }

    fn node(&self, level: u8, index: u32, filler: &mut impl FnMut(u8, u32) -> Hash) -> Hash {
        self.kept(level, index).unwrap_or_else(|| filler(level, index))
    }

    fn kept(&self, level: u8, index: u32) -> Option<Hash> {
        let kept = self.levels.get(usize::from(level))?;
        let place = kept.binary_search_by_key(&index, |(at, _)| *at).ok()?;
        kept.get(place).map(|(_, hash)| *hash)
    }

    /// Ends because `level` falls.
    fn walk(
        &self,
        level: u8,
        index: u32,
        wanted: &[u32],
        filler: &mut impl FnMut(u8, u32) -> Hash,
        nodes: &mut Vec<Hash>,
    ) {
        if wanted.is_empty() {
            nodes.push(self.node(level, index, filler));
        } else if level > 0 {
            let middle = ((index << 1) | 1) << (level - 1);
            let (left, right) = wanted.split_at(wanted.partition_point(|at| *at < middle));
            self.walk(level - 1, index << 1, left, filler, nodes);
            self.walk(level - 1, (index << 1) | 1, right, filler, nodes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitive::sha256;
    use proptest::prelude::*;

    const TREE: Tree = Tree { depth: 6, node_tag: 0x11 };

    fn filler(level: u8, index: u32) -> Hash {
        Hash::from_bytes(sha256(&[&[level], &index.to_be_bytes()]))
    }

    fn leaf(at: u32) -> Leaf {
        (at, Hash::from_bytes(sha256(&[b"leaf", &at.to_be_bytes()])))
    }

    proptest! {
        #[test]
        fn any_subset_gives_the_root_back(present in any::<u64>(), shown in any::<u64>()) {
            let leaves: Vec<Leaf> = (0..64).filter(|at| present >> at & 1 == 1).map(leaf).collect();
            let wanted: Vec<u32> = leaves.iter().map(|l| l.0).filter(|at| shown >> at & 1 == 1).collect();
            let disclosed: Vec<Leaf> = wanted.iter().copied().map(leaf).collect();
            let root = TREE.root(&leaves, filler);
            let (same, nodes) = TREE.prove(&leaves, &wanted, filler);
            prop_assert_eq!(root, same);
            let grown = TREE.grow(leaves.clone(), filler);
            prop_assert_eq!(grown.root(filler), root);
            prop_assert_eq!(&grown.prove(&wanted, filler), &nodes);
            prop_assert_eq!(TREE.rebuild(&disclosed, &nodes), Some(root));
            // The number of nodes depends on the shown positions only, never on what else is present.
            let (_, alone) = TREE.prove(&disclosed, &wanted, filler);
            prop_assert_eq!(alone.len(), nodes.len());
            // Any changed, missing or surplus node is noticed.
            for at in 0..nodes.len() {
                let mut changed = nodes.clone();
                changed[at] = leaf(99).1;
                prop_assert_ne!(TREE.rebuild(&disclosed, &changed), Some(root));
            }
            // One place alone, whether a leaf stands there or not.
            for at in 0..64 {
                let level = grown.empty_above(at);
                let node = if present >> at & 1 == 1 { leaf(at).1 } else { filler(level, at >> level) };
                let beside = grown.beside(at, level, filler);
                prop_assert_eq!(TREE.climb(level, at, node, &beside), Some(root));
                if level < 6 {
                    prop_assert_ne!(TREE.climb(level, at ^ (1 << level), node, &beside), Some(root));
                }
                prop_assert_eq!(TREE.climb(level, at, node, &[beside, vec![root]].concat()), None);
            }
            let more = [nodes.clone(), vec![root]].concat();
            prop_assert_eq!(TREE.rebuild(&disclosed, &more), None);
            if let Some((_, fewer)) = nodes.split_last() {
                prop_assert_eq!(TREE.rebuild(&disclosed, fewer), None);
            }
        }
    }

    #[test]
    fn positions_out_of_order_or_outside_are_refused() {
        let (_, nodes) = TREE.prove(&[leaf(1), leaf(2)], &[1, 2], filler);
        assert_eq!(TREE.rebuild(&[leaf(2), leaf(1)], &nodes), None);
        assert_eq!(TREE.rebuild(&[leaf(1), leaf(1)], &nodes), None);
        assert_eq!(TREE.rebuild(&[leaf(1), leaf(64)], &nodes), None);
    }
}
