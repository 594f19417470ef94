//! A value of which a newer one can take the place while it is read: a key that is rotated, our own card.
//!
//! Whoever reads it sees the latest, without a lock and by reference; the ones before stay in memory until the node is
//! closed. So it is for what changes a few times in a year. Written by `keys` and by the keyring.

use std::{fmt, ops::Deref, sync::OnceLock};

/// The latest of several values.
pub struct Latest<T> {
    value: T,
    next: OnceLock<Box<Latest<T>>>,
}

impl<T> Latest<T> {
    /// The first.
    pub const fn new(value: T) -> Self {
        Self { value, next: OnceLock::new() }
    }

    /// Puts another in its place.
    pub fn replace(&self, value: T) {
        let mut link = Box::new(Self::new(value));
        // Ends: another one who came first made the list longer by one.
        while let Err(again) = self.last().next.set(link) {
            link = again;
        }
    }

    fn last(&self) -> &Self {
        let mut at = self;
        while let Some(next) = at.next.get() {
            at = next;
        }
        at
    }
}

impl<T> Deref for Latest<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.last().value
    }
}

impl<T> fmt::Debug for Latest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is held may be a key.
        f.write_str("Latest")
    }
}

#[cfg(test)]
mod tests {
    use super::Latest;

    #[test]
    fn what_was_read_stays_and_what_is_read_is_the_latest() {
        let value = Latest::new(1);
        let first: &i32 = &value;
        value.replace(2);
        value.replace(3);
        assert_eq!((*first, *value), (1, 3));
    }
}
