//! Every bound on size, count, depth and skew of what others supply, in one file.
//!
//! Each bound has a test that hits it. Relations between bounds are `const` assertions, so that a
//! change which breaks one does not compile. Sizes are in bytes unless the name says otherwise.

/// Nesting depth of any CBOR item (arrays, maps and tags count one each).
pub const CBOR_DEPTH_MAX: usize = 16;
/// CBOR items in one small structure (record body, slot value, card, signed payload, list of chunks).
pub const CBOR_ITEMS_MAX: usize = 10_000;
/// CBOR items in an agreement, with or without its signatures.
pub const AGREEMENT_ITEMS_MAX: usize = 40_000;
/// CBOR items in a message on the control lane.
pub const CONTROL_ITEMS_MAX: usize = 20_000;
/// CBOR items in a run message: entries, attestations and bodies (bodies are byte strings).
pub const RUN_ITEMS_MAX: usize = 200_000;

/// One frame on a lane, header excluded.
pub const FRAME_BYTES_MAX: usize = 4 << 20;
/// A frame on the control lane.
pub const CONTROL_FRAME_BYTES_MAX: usize = 1 << 20;

/// Slots of a record kind (a tree of depth 6).
pub const SLOTS: usize = 64;
/// Depth of the slot tree.
pub const SLOT_TREE_DEPTH: u8 = 6;
/// Encoded value of one slot.
pub const SLOT_VALUE_BYTES_MAX: usize = 64 << 10;
/// A whole record: header and all slot values.
pub const RECORD_BYTES_MAX: usize = 256 << 10;
/// A clear header with root.
pub const RECORD_BODY_BYTES_MAX: usize = 4 << 10;
/// A release as it travels: body, disclosed slots and nodes.
pub const RELEASE_BYTES_MAX: usize = RECORD_BYTES_MAX + RECORD_BODY_BYTES_MAX + (8 << 10);
/// Text in one field that is an identifier, name or code.
pub const NAME_BYTES_MAX: usize = 512;
/// Items of a list in a slot.
pub const LIST_ITEMS_MAX: usize = 1_024;
/// Members of a text map in a slot.
pub const TEXT_MAP_MEMBERS_MAX: usize = 256;
/// Key of a text map in a slot.
pub const TEXT_MAP_KEY_BYTES_MAX: usize = 128;

/// Depth of the batch tree.
pub const BATCH_TREE_DEPTH: u8 = 16;
/// Records attested by one signature.
pub const BATCH_RECORDS_MAX: usize = 1 << 16;

/// Entries of one run.
pub const RUN_ENTRIES_MAX: usize = 4_096;
/// Depth of the tree over a run's entries.
pub const RUN_TREE_DEPTH: u8 = 12;
/// Encoded bodies that one run message carries.
pub const RUN_BODY_BYTES_MAX: usize = 3 << 20;
/// Runs sent and not yet countersigned, for each feed.
pub const RUNS_IN_FLIGHT_MAX: usize = 4;

/// Feeds that one list of heads may name.
pub const FEEDS_PER_PARTNER_MAX: usize = 256;
/// Protocol versions that a greeting may list.
pub const VERSIONS_MAX: usize = 8;
/// Bytes of control messages that wait to be sent to one partner.
pub const CONTROL_QUEUE_BYTES_MAX: usize = 4 << 20;
/// Bytes of runs that wait to be sent to one partner.
pub const RUN_QUEUE_BYTES_MAX: usize = 16 << 20;
/// Time that each opening message of a session may take, in milliseconds.
pub const OPENING_TIMEOUT_MS: u64 = 10_000;

/// Messages without a window, sessions (each counts several) and files that one partner may ask for at once.
pub const PARTNER_REQUESTS_BURST: u64 = 4_096;
/// How many of them it earns again in a second.
pub const PARTNER_REQUESTS_PER_S: u64 = 64;

/// A card with its signature.
pub const CARD_BYTES_MAX: usize = 32 << 10;
/// Keys listed by one card, past ones included.
pub const CARD_KEYS_MAX: usize = 64;
/// Addresses listed by one card.
pub const CARD_ADDRESSES_MAX: usize = 8;
/// Contacts listed by one card.
pub const CARD_CONTACTS_MAX: usize = 16;
/// Successions of root keys that lead to the present one.
pub const CARD_ROOTS_MAX: usize = 8;
/// One X.509 certificate.
pub const CERTIFICATE_BYTES_MAX: usize = 8 << 10;
/// Certificates of one chain.
pub const CHAIN_CERTIFICATES_MAX: usize = 4;
/// Names in one certificate's subject alternative name.
pub const CERTIFICATE_NAMES_MAX: usize = 16;

/// An agreement with all signatures.
pub const AGREEMENT_BYTES_MAX: usize = 256 << 10;
/// Parties of one agreement.
pub const AGREEMENT_PARTIES_MAX: usize = 16;
/// Clauses of one agreement.
pub const AGREEMENT_CLAUSES_MAX: usize = 256;
/// A clause's condition, as text.
pub const CONDITION_BYTES_MAX: usize = 4 << 10;
/// Agreements that two partners share.
pub const AGREEMENTS_PER_PARTNER_MAX: usize = 64;
/// Proposals of one partner that wait for people.
pub const PROPOSALS_PER_PARTNER_MAX: usize = 32;
/// Cards, proposals and notices of one partner that are looked at in an hour.
pub const CHANGES_PER_HOUR_MAX: u32 = 600;

/// Newer cards of one partner that are taken in an hour.
pub const CARDS_PER_HOUR_MAX: u32 = 12;

/// Recalls, or answers to them, in one notice.
pub const RECALLS_PER_NOTICE_MAX: usize = 512;
/// Lines that one grant names.
pub const GRANT_LINES_MAX: usize = 512;
/// Purposes that one grant names.
pub const GRANT_PURPOSES_MAX: usize = 16;
/// Records passed on, or taken back, that one notice names.
pub const PASSED_PER_NOTICE_MAX: usize = 512;
/// Cards of others that stand beside a run, or in a notice.
pub const CARDS_PER_MESSAGE_MAX: usize = 16;
/// Organisations that were introduced by one partner, and are known here by that alone.
pub const INTRODUCED_PER_PARTNER_MAX: usize = 64;
/// Grants, and requests for them, of one partner that are kept.
pub const GRANTS_PER_PARTNER_MAX: usize = 4_096;
/// Copies of a keyring that the receipt of an erasure names.
pub const KEYRING_COPIES_MAX: usize = 16;

/// First frame of a bundle: card and header.
pub const BUNDLE_OPENING_BYTES_MAX: usize = 64 << 10;
/// Any further frame of a bundle, header of the frame excluded: a message, what seals it, and the padding.
pub const BUNDLE_FRAME_BYTES_MAX: usize = FRAME_BYTES_MAX + (128 << 10);
/// Answers to the recalls of one bundle that go with the next one back; what is beyond is asked again.
pub const BUNDLE_ANSWERS_MAX: usize = 4_096;

/// Size of an attachment.
pub const ATTACHMENT_BYTES_MAX: u64 = 4 << 30;
/// Chunk of an attachment: the unit of verification and resumption.
pub const CHUNK_BYTES: u32 = 1 << 20;
/// Chunks of an attachment.
pub const CHUNKS_MAX: usize = 4_096;

/// A signed note with all its signatures.
pub const NOTE_BYTES_MAX: usize = 64 << 10;
/// Signatures of one note, unknown ones included.
pub const NOTE_SIGNATURES_MAX: usize = 64;
/// Name of a key in a note.
pub const NOTE_NAME_BYTES_MAX: usize = 255;
/// Leaves of a log.
pub const LOG_SIZE_MAX: u64 = 1 << 40;
/// Hashes of an inclusion or consistency proof.
pub const LOG_PROOF_HASHES_MAX: usize = 63;
/// Seconds of a log's interval.
pub const LOG_INTERVAL_S_MAX: u64 = 86_400;
/// Leaves that are put to a log at once.
pub const LOG_APPEND_MAX: usize = 1 << 16;
/// Depth of the tree over the events of an interval.
pub const INTERVAL_TREE_DEPTH: u8 = 31;
/// Events of an interval.
pub const INTERVAL_EVENTS_MAX: usize = 1 << 18;
/// Events of an interval that share a place.
pub const INTERVAL_PLACE_EVENTS_MAX: usize = 8;
/// Witnesses that are counted for one log.
pub const WITNESSES_MAX: usize = 48;
/// Parts of a journal's event: one for each partition that it touches.
pub const EVENT_PARTS_MAX: usize = 512;
/// One part of a journal's event.
pub const EVENT_PART_BYTES_MAX: usize = 64 << 10;
/// Statements in one part of a journal's event.
pub const EVENT_STATEMENTS_MAX: usize = 256;
/// Text of one statement in a part of a journal's event.
pub const EVENT_TEXT_BYTES_MAX: usize = 4 << 10;
/// Runs of one partner's store whose place in its log is not proved yet.
pub const OWED_RUNS_MAX: usize = 16_384;
/// Runs whose places in a log one message proves, or refuses to prove.
pub const PROOFS_PER_MESSAGE_MAX: usize = 256;

/// Records of one evidence package.
pub const PACKAGE_RECORDS_MAX: usize = 10_000;
/// Cards of one evidence package.
pub const PACKAGE_CARDS_MAX: usize = 48;
/// Logs of which one evidence package has parts.
pub const PACKAGE_LOGS_MAX: usize = 16;
/// Places in one log that an evidence package proves.
pub const PACKAGE_LOG_PROOFS_MAX: usize = 1_024;
/// Runs that one record of an evidence package names.
pub const PACKAGE_CARRIED_MAX: usize = 64;
/// The signed list of an evidence package's parts.
pub const PACKAGE_MANIFEST_BYTES_MAX: usize = 4 << 20;
/// CBOR items in that list.
pub const PACKAGE_MANIFEST_ITEMS_MAX: usize = 200_000;
/// One record of an evidence package, or the proofs from one log.
pub const PACKAGE_PART_BYTES_MAX: usize = 8 << 20;
/// The directory at the end of an evidence package.
pub const PACKAGE_DIRECTORY_BYTES_MAX: usize = 8 << 20;
/// The readable page of an evidence package.
pub const PACKAGE_SUMMARY_BYTES_MAX: usize = 64 << 20;

/// An audit export.
pub const AUDIT_BYTES_MAX: u64 = 1 << 31;
/// One item of an audit export: a run of the most entries fits.
pub const AUDIT_ITEM_BYTES_MAX: usize = 8 << 20;
/// CBOR items in one item of an audit export.
pub const AUDIT_ITEM_ITEMS_MAX: usize = 1 << 20;

/// Difference between a partner's stated time and ours that a session accepts, in milliseconds.
pub const CLOCK_SKEW_MS_MAX: u64 = 5 * 60 * 1_000;
/// Bytes of a person's certificate, without its signature.
pub const USER_BYTES_MAX: usize = 1 << 10;

const _: () = assert!(SLOTS == 1 << SLOT_TREE_DEPTH, "the slot tree has one leaf for each slot");
const _: () = assert!(BATCH_RECORDS_MAX == 1 << BATCH_TREE_DEPTH, "the batch tree has one leaf for each record");
const _: () = assert!(RUN_ENTRIES_MAX == 1 << RUN_TREE_DEPTH, "the run tree has one leaf for each entry");
const _: () = assert!(RUN_QUEUE_BYTES_MAX >= FRAME_BYTES_MAX, "any run can wait");
const _: () = assert!(FEEDS_PER_PARTNER_MAX >= 2 * AGREEMENTS_PER_PARTNER_MAX, "every agreement has its feeds");
const _: () = assert!(
    PARTNER_REQUESTS_BURST as usize > 2 * AGREEMENTS_PER_PARTNER_MAX * (AGREEMENT_PARTIES_MAX + 2),
    "an honest partner may tell all its agreements and standings twice in a row"
);
const _: () = assert!(
    // A head of a sent feed has 24 items at most, one of a received feed 22.
    FEEDS_PER_PARTNER_MAX * (24 + 22) + 16 <= CONTROL_ITEMS_MAX,
    "the longest two lists of heads fit one message"
);
const _: () = assert!(
    AGREEMENTS_PER_PARTNER_MAX * (7 + 2 * AGREEMENT_PARTIES_MAX) + 8 <= CONTROL_ITEMS_MAX,
    "the longest list of agreements fits one message"
);
const _: () = assert!(
    RUN_ENTRIES_MAX * (3 + 5 + 5 + 17) + 16 <= RUN_ITEMS_MAX,
    "a run of which every release is of another batch fits one message"
);
const _: () = assert!(RELEASE_BYTES_MAX < RUN_BODY_BYTES_MAX, "any single release fits a run");
const _: () = assert!(RUN_BODY_BYTES_MAX + (512 << 10) <= FRAME_BYTES_MAX, "a run with its proofs fits a frame");
const _: () = assert!(
    ATTACHMENT_BYTES_MAX <= CHUNKS_MAX as u64 * CHUNK_BYTES as u64,
    "the largest attachment has no more chunks than a manifest may list"
);
const _: () = assert!(CARD_BYTES_MAX < CONTROL_FRAME_BYTES_MAX && AGREEMENT_BYTES_MAX < CONTROL_FRAME_BYTES_MAX);
const _: () = assert!(LOG_SIZE_MAX <= 1 << LOG_PROOF_HASHES_MAX, "any log's proofs fit");
const _: () = assert!(WITNESSES_MAX < NOTE_SIGNATURES_MAX, "every witness fits one note beside the log");
const _: () = assert!(INTERVAL_TREE_DEPTH < 32, "places are 32-bit numbers");
const _: () = assert!(
    PROOFS_PER_MESSAGE_MAX
        * (INTERVAL_TREE_DEPTH as usize + INTERVAL_PLACE_EVENTS_MAX + LOG_PROOF_HASHES_MAX + 16)
        * 34
        <= CONTROL_FRAME_BYTES_MAX,
    "the longest list of proofs fits one message"
);
const _: () = assert!(
    // Each is an array of three; no more batches or runs than records are needed.
    4 * (4 * PACKAGE_RECORDS_MAX + PACKAGE_CARDS_MAX + 2 * PACKAGE_LOGS_MAX + 2) + 16 <= PACKAGE_MANIFEST_ITEMS_MAX,
    "the longest package has a list of its parts"
);
const _: () = assert!(
    4 * PACKAGE_RECORDS_MAX + PACKAGE_CARDS_MAX + 2 * PACKAGE_LOGS_MAX + 2 < 0xffff,
    "the parts of a package are counted in two bytes"
);
const _: () = assert!(PACKAGE_CARDS_MAX <= WITNESSES_MAX, "everybody in a package may have witnessed");
