//! Remembered verdicts of the policy engine.
//!
//! A verdict is a function of the slice and of the attributes that its policies read, and of nothing
//! else, so that is the key. Time, gate, handling floor and standing are compared anew at every
//! decision, which is cheap, and so nothing remembered can outlive a time bound. The memo belongs to
//! one immutable policy set and goes with it. Keys are digests: no evidence stays in memory for it.

use crate::{attribute::Given, compile::Verdict};
use entente_protocol::{label, primitive::labelled};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// Verdicts kept at most; when full, all are forgotten.
const VERDICTS_MAX: usize = 16_384;

/// What a verdict depends on, as a digest.
pub(crate) type Key = [u8; 32];

/// The key of a verdict: the slice and what its policies read.
pub(crate) fn key(slice: u32, given: &[Option<Given>]) -> Key {
    let mut bytes = Vec::with_capacity(256);
    for value in given {
        match value {
            None => bytes.push(0),
            Some(value) => value.mark(&mut bytes),
        }
    }
    labelled(label::POLICY_MEMO, &[&slice.to_be_bytes(), &bytes])
}

/// A bounded memory of verdicts.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    /// The lock covers the map only; it is never held while a policy is evaluated.
    verdicts: Mutex<HashMap<Key, Verdict>>,
}

impl Memo {
    /// The verdict for a key, from memory or else from `judge`.
    pub(crate) fn verdict(&self, key: Key, judge: impl FnOnce() -> Verdict) -> Verdict {
        // A poisoned map is still a map of true verdicts: entries are written whole.
        let kept = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(verdict) = kept {
            return verdict;
        }
        let verdict = judge();
        let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        if verdicts.len() >= VERDICTS_MAX {
            verdicts.clear();
        }
        verdicts.insert(key, verdict.clone());
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_bounded_and_asks_once() {
        let memo = Memo::default();
        let at = |n: usize| key(0, &[Some(Given::Long(i64::try_from(n).unwrap()))]);
        for n in 0..VERDICTS_MAX + 10 {
            memo.verdict(at(n), || Verdict::RedLine(n));
        }
        assert!(memo.verdicts.lock().unwrap().len() <= VERDICTS_MAX);
        let again = memo.verdict(at(VERDICTS_MAX + 5), || panic!("asked twice"));
        assert_eq!(again, Verdict::RedLine(VERDICTS_MAX + 5));
    }

    #[test]
    fn an_absent_value_is_no_value_and_slices_are_apart() {
        let text = || Some(Given::Text(String::new()));
        assert_ne!(key(0, &[None, text()]), key(0, &[text(), None]));
        assert_ne!(key(0, &[text()]), key(1, &[text()]));
    }
}
