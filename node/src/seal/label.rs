//! Labels of every derivation at rest, in one file.
//!
//! INVARIANT: no two are equal (a test compares them), and each is followed by a zero byte where it
//! is hashed, so that an output made for one purpose means nothing for another. Those of the
//! formats that travel stand in the protocol crate.

/// Key of one sealed value, from the partition's key.
pub const VALUE_KEY: &str = "entente/1 rest value key";
/// Row key of a single value.
pub const ROW_POINT: &str = "entente/1 rest row point";
/// Common part of the row keys of a list.
pub const ROW_LIST: &str = "entente/1 rest row list";
/// Row key of a list's counter.
pub const ROW_COUNTER: &str = "entente/1 rest row counter";
/// Row key of one index token.
pub const ROW_INDEX: &str = "entente/1 rest row index";
/// Check value of a place that an index token leads to.
pub const ROW_PLACE: &str = "entente/1 rest row place";
/// Name of a blob.
pub const BLOB_NAME: &str = "entente/1 rest blob name";
/// The digest of one append.
pub const APPEND: &str = "entente/1 rest append";
/// The running digest over all appends.
pub const SEQUENCE: &str = "entente/1 rest sequence";
/// The running digest over the journal's events.
pub const JOURNAL: &str = "entente/1 rest journal";
/// The checksum in the head file.
pub const HEAD: &str = "entente/1 rest head file";

#[cfg(test)]
mod tests {
    use super::*;
    use entente_protocol::label::LABELS;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_labels_are_equal() {
        let ours = [
            VALUE_KEY,
            ROW_POINT,
            ROW_LIST,
            ROW_COUNTER,
            ROW_INDEX,
            ROW_PLACE,
            BLOB_NAME,
            APPEND,
            SEQUENCE,
            JOURNAL,
            HEAD,
        ];
        let all: BTreeSet<&str> = ours.into_iter().chain(LABELS.iter().map(|label| label.text())).collect();
        assert_eq!(all.len(), ours.len() + LABELS.len());
    }
}
