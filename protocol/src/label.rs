//! Every domain-separation label, tree tag and signature context, in one file.
//!
//! INVARIANT: no two labels are equal (a test compares them); a label is hashed with a zero byte
//! after it, so bytes signed or hashed for one purpose mean nothing for another.

/// Tag of a log's leaf (RFC 9162): SHA-256(tag, entry).
pub const TAG_LOG_LEAF: u8 = 0x00;
/// Tag of a log's node (RFC 9162).
pub const TAG_LOG_NODE: u8 = 0x01;
/// Tag of a slot tree leaf: SHA-256(tag, slot, salt, value).
pub const TAG_SLOT_LEAF: u8 = 0x10;
/// Tag of a slot tree node.
pub const TAG_SLOT_NODE: u8 = 0x11;
/// Tag of a batch tree leaf: SHA-256(tag, record id).
pub const TAG_BATCH_LEAF: u8 = 0x20;
/// Tag of a batch tree node.
pub const TAG_BATCH_NODE: u8 = 0x21;
/// Tag of a run tree leaf: SHA-256(tag, entry hash).
pub const TAG_RUN_LEAF: u8 = 0x30;
/// Tag of a run tree node.
pub const TAG_RUN_NODE: u8 = 0x31;
/// Tag of an attachment chunk: SHA-256(tag, chunk index as 4 bytes, chunk).
pub const TAG_CHUNK_LEAF: u8 = 0x40;
/// Tag of a chunk tree node.
pub const TAG_CHUNK_NODE: u8 = 0x41;
/// Tag of an interval tree leaf: SHA-256(tag, salt, digests).
pub const TAG_INTERVAL_LEAF: u8 = 0x50;
/// Tag of an interval tree node.
pub const TAG_INTERVAL_NODE: u8 = 0x51;

/// A label that is hashed before what it describes, followed by a zero byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label(pub(crate) &'static str);

impl Label {
    /// The label's text.
    pub const fn text(self) -> &'static str {
        self.0
    }
}

/// A signature context: the external_aad of the COSE structure (RFC 9052, section 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context(pub(crate) &'static str);

impl Context {
    /// The context's text.
    pub const fn text(self) -> &'static str {
        self.0
    }
}

macro_rules! table {
    ($all:ident: $kind:ident { $($(#[$doc:meta])* $name:ident = $text:literal;)* }) => {
        $($(#[$doc])* pub const $name: $kind = $kind($text);)*
        /// All of them, for the test that keeps them apart.
        pub const $all: &[$kind] = &[$($name),*];
    };
}

table!(LABELS: Label {
    /// Record id over body.
    RECORD_ID = "entente/1 record id";
    /// Salts and fillers of a record's slot tree, from its seed.
    SLOT_SALT = "entente/1 slot salt";
    /// Fillers of a record's slot tree.
    SLOT_FILL = "entente/1 slot fill";
    /// Positions in a batch, from the batch secret.
    BATCH_POSITION = "entente/1 batch position";
    /// Fillers of a batch tree.
    BATCH_FILL = "entente/1 batch fill";
    /// Batch id over the head's payload.
    BATCH_ID = "entente/1 batch id";
    /// Agreement version over its canonical body.
    AGREEMENT_DIGEST = "entente/1 agreement digest";
    /// Digest of the signatures that precede the first party's.
    AGREEMENT_PRIOR = "entente/1 agreement prior signatures";
    /// Digest of the kind table that an agreement pins.
    SCHEMA_DIGEST = "entente/1 schema digest";
    /// Version of everything that decisions depend on: agreements and their states, red lines, partners, schema.
    POLICY_SET = "entente/1 policy set";
    /// Version of what an organisation decides by itself, within that set: red lines, accreditation, schema.
    POLICY_LOCAL = "entente/1 policy local";
    /// Key of a remembered decision.
    POLICY_MEMO = "entente/1 policy memo";
    /// Card digest over its payload.
    CARD_DIGEST = "entente/1 card digest";
    /// Commitment to the next root key.
    NEXT_ROOT = "entente/1 next root";
    /// Feed id.
    FEED_ID = "entente/1 feed id";
    /// First running digest of a feed.
    FEED_START = "entente/1 feed start";
    /// Running digest, one step.
    FEED_STEP = "entente/1 feed step";
    /// Entry hash.
    ENTRY_HASH = "entente/1 entry hash";
    /// Release hash, over the release as it travels.
    RELEASE_HASH = "entente/1 release hash";
    /// Fillers of a run tree.
    RUN_FILL = "entente/1 run fill";
    /// Recall id over the recall's payload.
    RECALL_ID = "entente/1 recall id";
    /// Grant id over the grant's payload.
    GRANT_ID = "entente/1 grant id";
    /// How a signed notice is named by who heard it, over its signature.
    NOTICE_ID = "entente/1 notice id";
    /// Bundle id over the header's payload.
    BUNDLE_ID = "entente/1 bundle id";
    /// Digest of what one part of a bundle carries.
    BUNDLE_PART = "entente/1 bundle part";
    /// How a checkpoint is named by what knew it, over the note's text.
    CHECKPOINT_DIGEST = "entente/1 checkpoint digest";
    /// Seed of an interval, from the log's secret.
    INTERVAL_SEED = "entente/1 interval seed";
    /// Salts of an interval's tree, from its seed.
    INTERVAL_SALT = "entente/1 interval salt";
    /// An empty place of an interval's tree, or an empty subtree.
    INTERVAL_EMPTY = "entente/1 interval empty";
    /// Salt of what an interval's leaf says of the journal, from the interval's seed.
    INTERVAL_JOURNAL_SALT = "entente/1 interval journal salt";
    /// What an interval's leaf says of the journal.
    INTERVAL_JOURNAL = "entente/1 interval journal";
    /// Digest under which something signed stands in an interval's tree.
    LOGGED = "entente/1 logged";
    /// First digest of a journal.
    JOURNAL_START = "entente/1 journal start";
    /// Digest of a journal's event.
    JOURNAL_EVENT = "entente/1 journal event";
    /// Digest of one part of a journal's event.
    EVENT_PART = "entente/1 event part";
    /// How a person's certificate is named, over its payload.
    USER_DIGEST = "entente/1 user certificate";
    /// Digest of a call that a person asks of the node.
    USER_CALL = "entente/1 user call";
});

table!(CONTEXTS: Context {
    /// Signature of a batch head by a records key.
    SIGN_BATCH = "entente/1 sign batch head";
    /// Signature of a card by the root key.
    SIGN_CARD = "entente/1 sign card";
    /// Signature of a root key over the key that succeeds it.
    SIGN_SUCCESSION = "entente/1 sign succession";
    /// Signature of an agreement by a party's agreements key.
    SIGN_AGREEMENT = "entente/1 sign agreement";
    /// Signature of an agreement's counted state by a party's agreements key.
    SIGN_AGREEMENT_STATE = "entente/1 sign agreement state";
    /// Signature of a run by the sender's runs key.
    SIGN_RUN = "entente/1 sign run";
    /// Countersignature of a run by the receiver's runs key.
    SIGN_RECEIPT = "entente/1 sign receipt";
    /// Signature of a recall by the originator's records key.
    SIGN_RECALL = "entente/1 sign recall";
    /// Signature of a holder's answers to recalls by its runs key.
    SIGN_RECALL_ANSWER = "entente/1 sign recall answer";
    /// Signature of a grant to release onward by the originator's records key.
    SIGN_GRANT = "entente/1 sign grant";
    /// Signature of a request for a grant by the holder's runs key.
    SIGN_GRANT_REQUEST = "entente/1 sign grant request";
    /// Signature of what was passed on by the holder's runs key.
    SIGN_PASSED = "entente/1 sign passed";
    /// Signature of the receipt of an erased partition by the holder's runs key.
    SIGN_ERASURE = "entente/1 sign erasure";
    /// Signature of a lease by its giver's runs key.
    SIGN_LEASE = "entente/1 sign lease";
    /// Signature of a bundle's header by the sender's runs key.
    SIGN_BUNDLE = "entente/1 sign bundle";
    /// Signature of one part of a bundle by the same key.
    SIGN_BUNDLE_PART = "entente/1 sign bundle part";
    /// Signature of an evidence package by its maker's runs key.
    SIGN_PACKAGE = "entente/1 sign package";
    /// Signature of an audit export by its maker's runs key.
    SIGN_AUDIT = "entente/1 sign audit";
    /// Signature of a review by a user's key.
    SIGN_REVIEW = "entente/1 sign review";
    /// Signature of a release event by a user's key.
    SIGN_RELEASE_EVENT = "entente/1 sign release event";
    /// Signature of a person's certificate by the organisation's users key.
    SIGN_USER = "entente/1 sign user";
    /// Signature of what a person brought in, by that person's key.
    SIGN_IMPORT = "entente/1 sign import";
    /// Signature of a call by a person's key.
    SIGN_ACT = "entente/1 sign act";
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_contexts_are_apart() {
        let texts: Vec<&str> = LABELS.iter().map(|l| l.0).chain(CONTEXTS.iter().map(|c| c.0)).collect();
        for (i, a) in texts.iter().enumerate() {
            for (j, b) in texts.iter().enumerate() {
                // Labels end in a zero byte where they are hashed, so a prefix is no collision there;
                // equality is.
                assert!(i == j || a != b, "{a} stands twice");
            }
            assert!(a.is_ascii() && !a.contains('\0'));
        }
    }

    #[test]
    fn tags_are_apart() {
        let tags = [
            TAG_LOG_LEAF,
            TAG_LOG_NODE,
            TAG_SLOT_LEAF,
            TAG_SLOT_NODE,
            TAG_BATCH_LEAF,
            TAG_BATCH_NODE,
            TAG_RUN_LEAF,
            TAG_RUN_NODE,
            TAG_CHUNK_LEAF,
            TAG_CHUNK_NODE,
            TAG_INTERVAL_LEAF,
            TAG_INTERVAL_NODE,
        ];
        let unique: std::collections::BTreeSet<_> = tags.iter().collect();
        assert_eq!(unique.len(), tags.len());
    }
}
