//! A model of a log for tests: leaves in memory, real signatures, and an operator who may rewrite.

use super::{
    checkpoint::{Checkpoint, Origin, TreeHead},
    witness::Offer,
};
use crate::{
    id::{Hash, OrgId, StoreId},
    merkle,
    primitive::SigningKey,
    time::UnixMillis,
};

/// When the model's logs begin, in seconds.
pub const CREATED_S: u64 = 1_780_000_000;
pub const INTERVAL_S: u64 = 600;

pub fn org(n: u8) -> OrgId {
    OrgId::from_bytes([n; 32])
}

/// The log key of organisation `n`; its witness key is that of `n + 100`.
pub fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32]).unwrap()
}

pub fn origin(n: u8) -> Origin {
    Origin::new(org(n), StoreId::from_bytes([n; 16]), 0, CREATED_S, INTERVAL_S).unwrap()
}

/// The beginning of interval `index`, in every model log.
pub fn begins(index: u64) -> UnixMillis {
    UnixMillis((CREATED_S + index * INTERVAL_S) * 1_000)
}

pub struct Model {
    pub origin: Origin,
    pub leaves: Vec<Hash>,
}

impl Model {
    pub fn new(n: u8, size: u64) -> Self {
        let leaves = (0..size).map(|at| merkle::leaf_hash(&at.to_be_bytes())).collect();
        Self { origin: origin(n), leaves }
    }
    /// The same log with leaf `at` rewritten.
    pub fn rewritten(mut self, at: usize) -> Self {
        self.leaves[at] = merkle::leaf_hash(b"rewritten");
        self
    }
    pub fn head(&self, size: u64) -> TreeHead {
        TreeHead { size, root: merkle::root(&self.leaves[..size as usize]) }
    }
    pub fn at(&self, size: u64) -> Checkpoint {
        Checkpoint::sign(self.origin, self.head(size), &key(self.origin.org().as_bytes()[0])).unwrap()
    }
    /// The offer of `new` to a witness that saw `held`; 0 where it saw nothing.
    pub fn offer(&self, held: u64, new: u64) -> Offer {
        let proof = merkle::prove_consistency(&self.leaves[..new as usize], held as usize).unwrap_or_default();
        Offer { held: (held > 0).then(|| self.at(held)), new: self.at(new), proof }
    }
}
