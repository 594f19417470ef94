//! The rows of the kind table: every slot of every kind. SPEC's table is printed from here.
//!
//! Slots that are usually present are numbered together, which halves the cost of the tree.
//! What misleads apart shares a slot: serial and its state, quantity and unit, place and precision.

use super::{
    kind::{
        Fact::{self, Device, Maker, Person},
        Kind, Rule, Slot,
    },
    shape::Shape::{
        Answers, Bool, Cell, Checks, Code, Content, Contest, Country, Digest, Edtf, Eval, Finding, Floor, Handling,
        Headstamp, Lines, Listings, LongText, Marks, Money, Month, Name, Pairs, Point, Points, Prefix, Quantity, Ref,
        Refs, Replies, RoleRefs, Serial, TextMap, Texts, Time, Uint, Uints, Year,
    },
};

/// Slots that every kind has.
pub(super) const COMMON: &[Slot] = &[
    Slot::new(0, "number", Name).required(),
    Slot::new(1, "eval", Eval).required(),
    Slot::new(2, "made-at", Time),
    Slot::new(3, "made-by", Name).personal().rung(Person, "made-by", 0),
    Slot::new(4, "handling", Handling),
    Slot::new(5, "supersedes", Digest),
    Slot::new(6, "note", LongText).anything(),
];

const ITEM_TYPES: &[&str] = &[
    "pistol",
    "revolver",
    "rifle",
    "carbine",
    "assault-rifle",
    "smg",
    "lmg",
    "gpmg",
    "hmg",
    "shotgun",
    "sniper-rifle",
    "amr",
    "grenade-launcher-ub",
    "grenade-launcher-hh",
    "agl",
    "recoilless",
    "rpg",
    "atgm-launcher",
    "manpads-launcher",
    "mortar",
    "craft-made",
    "converted",
    "replica",
    "part-receiver",
    "part-barrel",
    "part-slide",
    "part-bolt",
    "part-cylinder",
    "uav",
    "vehicle",
    "artillery",
    "mine",
    "grenade",
    "missile",
    "rocket",
    "tank",
    "afv",
    "aircraft",
    "helicopter",
    "ship",
    "radar",
    "other",
];

const CONDITIONS: &[&str] =
    &["serviceable", "unserviceable", "damaged", "destroyed", "deactivated", "incomplete", "unknown"];

const ITEM: &[Slot] = &[
    Slot::new(8, "type", Code(ITEM_TYPES)).required(),
    Slot::new(9, "condition", Code(CONDITIONS)),
    Slot::new(10, "make", Name).rung(Maker, "maker", 0),
    Slot::new(11, "make-country", Country).rung(Maker, "maker", 1),
    Slot::new(12, "model", Name).carries(&[Maker]),
    Slot::new(13, "calibre", Name),
    Slot::new(14, "serial", Serial).rung(Fact::Serial, "serial", 0),
    Slot::new(15, "serial-prefix", Prefix).derived(Fact::Serial, "serial", 1, 14, Rule::SerialPrefix),
    Slot::new(16, "serial-state", Code(SERIAL_STATES)).derived(Fact::Serial, "serial", 2, 14, Rule::SerialState),
    Slot::new(17, "event", Ref),
    Slot::new(18, "year", Edtf),
    Slot::new(19, "family", Name),
    Slot::new(20, "marks", Marks).carries(&[Fact::Serial, Maker]),
    Slot::new(21, "make-raw", Name).carries(&[Maker]),
    Slot::new(22, "calibre-raw", Name),
    Slot::new(23, "bore-um", Uint),
    Slot::new(24, "unroca", Name),
    Slot::new(25, "salw-line", Name),
    Slot::new(26, "ml", Name),
    Slot::new(27, "import-country", Country),
    Slot::new(28, "import-year", Edtf),
    Slot::new(29, "features", TextMap).anything(),
    Slot::new(30, "quantity", Quantity),
];

/// States of a serial (vocabulary: three different facts, none of which yields a key, and two that do).
pub(super) const SERIAL_STATES: &[&str] = &["ok", "partial", "UNK", "NONE", "OBL"];

const AMMUNITION: &[Slot] = &[
    Slot::new(8, "calibre", Name).required(),
    Slot::new(9, "quantity", Quantity).required(),
    Slot::new(10, "maker", Name).rung(Maker, "maker", 0),
    Slot::new(11, "maker-country", Country).rung(Maker, "maker", 1),
    Slot::new(12, "year", Edtf),
    Slot::new(13, "lot", Name).rung(Fact::Serial, "lot", 0),
    Slot::new(14, "lot-normalised", Name).carries(&[Fact::Serial]),
    Slot::new(15, "nature", Name),
    Slot::new(16, "case-metal", Name),
    Slot::new(17, "event", Ref),
    Slot::new(18, "headstamp", Headstamp).carries(&[Maker]),
    Slot::new(19, "packaging", Marks).carries(&[Fact::Serial, Maker]),
    Slot::new(20, "calibre-raw", Name),
];

const AUTHENTICITY: &[&str] = &["genuine", "forged", "altered", "fraudulently-obtained", "unverified"];
const DOCUMENT_TYPES: &[&str] = &[
    "export-licence",
    "import-licence",
    "euc",
    "contract",
    "invoice",
    "packing-list",
    "bill-of-lading",
    "air-waybill",
    "cmr",
    "cargo-manifest",
    "certificate-of-origin",
    "delivery-verification",
    "transit-permit",
    "overflight-clearance",
    "insurance",
    "inspection-certificate",
    "stock-ledger",
    "seizure-report",
    "un-report",
    "trace-letter",
    "news",
    "other",
];

const DOCUMENT: &[Slot] = &[
    Slot::new(8, "doctype", Code(DOCUMENT_TYPES)).required(),
    Slot::new(9, "docno", Name),
    Slot::new(10, "issuer", Ref),
    Slot::new(11, "issued", Edtf).rung(Fact::Time, "issued", 0),
    Slot::new(12, "issued-month", Month).derived(Fact::Time, "issued", 1, 11, Rule::Month),
    Slot::new(13, "issued-year", Year).derived(Fact::Time, "issued", 2, 11, Rule::Year),
    Slot::new(14, "expires", Edtf),
    Slot::new(15, "signatory", Name).personal().rung(Person, "signatory", 0),
    Slot::new(16, "lang", Name),
    Slot::new(17, "parties", RoleRefs),
    Slot::new(18, "authenticity", Code(AUTHENTICITY)),
    Slot::new(19, "lines", Lines).anything(),
    Slot::new(20, "shipment", TextMap).anything(),
    Slot::new(21, "value", Money),
    Slot::new(22, "event", Ref),
];

const ROLES: &[&str] = &["original", "stripped", "redacted", "thumbnail"];
const CLOCKS: &[&str] = &["camera", "gps", "stated"];

const ATTACHMENT: &[Slot] = &[
    Slot::new(8, "of", Ref).required(),
    Slot::new(9, "role", Code(ROLES)).required(),
    Slot::new(10, "media", Name).required(),
    Slot::new(11, "content", Content).required(),
    Slot::new(12, "derived-from", Ref),
    Slot::new(13, "view", Name),
    Slot::new(14, "mark", Uint),
    Slot::new(15, "taken", Edtf).rung(Fact::Time, "taken", 0),
    Slot::new(16, "taken-month", Month).derived(Fact::Time, "taken", 1, 15, Rule::Month),
    Slot::new(17, "taken-year", Year).derived(Fact::Time, "taken", 2, 15, Rule::Year),
    Slot::new(18, "taken-clock", Code(CLOCKS)),
    Slot::new(19, "place-point", Point).rung(Fact::Place, "place", 0),
    Slot::new(20, "place-cell", Cell).derived(Fact::Place, "place", 1, 19, Rule::Cell),
    Slot::new(21, "place-region", Name).rung(Fact::Place, "place", 2),
    Slot::new(22, "place-country", Country).rung(Fact::Place, "place", 3),
    Slot::new(23, "exif", TextMap).anything(),
    Slot::new(24, "author", Name).personal().rung(Person, "author", 0),
    Slot::new(25, "camera", Name).rung(Device, "camera", 0),
    Slot::new(26, "name", Name).anything(),
];

const EVENT_TYPES: &[&str] = &[
    "seized",
    "found",
    "surrendered",
    "captured",
    "observed",
    "inspection",
    "market",
    "border",
    "returned",
    "remnant",
];

const EVENT: &[Slot] = &[
    Slot::new(8, "etype", Code(EVENT_TYPES)).required(),
    Slot::new(9, "recovered", Edtf).rung(Fact::Time, "recovered", 0),
    Slot::new(10, "recovered-month", Month).derived(Fact::Time, "recovered", 1, 9, Rule::Month),
    Slot::new(11, "recovered-year", Year).derived(Fact::Time, "recovered", 2, 9, Rule::Year),
    Slot::new(12, "documented", Edtf).rung(Fact::Time, "documented", 0),
    Slot::new(13, "documented-month", Month).derived(Fact::Time, "documented", 1, 12, Rule::Month),
    Slot::new(14, "documented-year", Year).derived(Fact::Time, "documented", 2, 12, Rule::Year),
    Slot::new(15, "place-point", Point).rung(Fact::Place, "place", 0),
    Slot::new(16, "place-cell", Cell).derived(Fact::Place, "place", 1, 15, Rule::Cell),
    Slot::new(17, "place-region", Name).rung(Fact::Place, "place", 2),
    Slot::new(18, "place-country", Country).rung(Fact::Place, "place", 3),
    Slot::new(19, "place-name", TextMap).carries(&[Fact::Place]),
    Slot::new(20, "documented-by", Name).personal().rung(Person, "documented-by", 0),
    Slot::new(21, "access", Name).carries(&[Person]),
    Slot::new(22, "custody", Ref),
    Slot::new(23, "recovered-from", Ref),
    Slot::new(24, "context", LongText).anything(),
    Slot::new(25, "acquisition-claim", LongText).anything(),
    Slot::new(26, "case", Name),
];

const PARTY_TYPES: &[&str] =
    &["state-body", "force", "armed-group", "company", "broker", "carrier", "un-mission", "ngo", "person"];

const PARTY: &[Slot] = &[
    Slot::new(8, "ptype", Code(PARTY_TYPES)).required(),
    Slot::new(9, "name", Name).required().personal_of_persons(),
    Slot::new(10, "country", Country),
    Slot::new(11, "names", Pairs).personal_of_persons(),
    Slot::new(12, "aliases", Pairs).personal_of_persons(),
    Slot::new(13, "ids", Pairs).personal().carries(&[Person]),
    Slot::new(14, "addresses", Texts).personal_of_persons().carries(&[Fact::Place]),
    Slot::new(15, "poc", Bool),
    Slot::new(16, "lists", Listings),
    Slot::new(17, "related", RoleRefs),
    Slot::new(18, "comments", LongText).anything(),
    Slot::new(19, "website", Name).personal_of_persons(),
    Slot::new(20, "categories", Texts),
    Slot::new(21, "born", Edtf).personal().carries(&[Person]),
];

const TRANSFER_KINDS: &[&str] =
    &["export", "re-export", "retransfer", "transit", "brokered", "gift", "loan", "return", "capture", "theft", "loss"];
const AUTHORISED: &[&str] = &["yes", "no", "unknown"];

const TRANSFER: &[Slot] = &[
    Slot::new(8, "tkind", Code(TRANSFER_KINDS)).required(),
    Slot::new(9, "from", Ref),
    Slot::new(10, "to", Ref),
    Slot::new(11, "authorised", Code(AUTHORISED)).required(),
    Slot::new(12, "from-country", Country),
    Slot::new(13, "to-country", Country),
    Slot::new(14, "end-user", Ref),
    Slot::new(15, "broker", Ref),
    Slot::new(16, "licence", Name),
    Slot::new(17, "euc", Ref),
    Slot::new(18, "ordered", Edtf),
    Slot::new(19, "delivered", Edtf),
    Slot::new(20, "goods", LongText).anything(),
    Slot::new(21, "quantity", Quantity),
    Slot::new(22, "value", Money),
    Slot::new(23, "ml", Name),
    Slot::new(24, "via", Refs),
    Slot::new(25, "route", Points).carries(&[Fact::Place]),
    Slot::new(26, "broker-country", Country),
    Slot::new(27, "outcome", Name),
    Slot::new(28, "licences", Uint),
];

const FINDINGS: &[&str] = &["suspected", "probable", "established", "refuted"];

const DIVERSION_CASE: &[Slot] = &[
    Slot::new(8, "title", Name).required().anything(),
    Slot::new(9, "stage", Name).required(),
    Slot::new(10, "methods", Texts).required(),
    Slot::new(11, "finding", Finding(FINDINGS)).required(),
    Slot::new(12, "factors", Texts),
    Slot::new(13, "last-legal", Ref),
    Slot::new(14, "unauthorised", Ref),
    Slot::new(15, "when", Edtf).rung(Fact::Time, "when", 0),
    Slot::new(16, "when-month", Month).derived(Fact::Time, "when", 1, 15, Rule::Month),
    Slot::new(17, "when-year", Year).derived(Fact::Time, "when", 2, 15, Rule::Year),
    Slot::new(18, "place-point", Point).rung(Fact::Place, "place", 0),
    Slot::new(19, "place-cell", Cell).derived(Fact::Place, "place", 1, 18, Rule::Cell),
    Slot::new(20, "place-region", Name).rung(Fact::Place, "place", 2),
    Slot::new(21, "place-country", Country).rung(Fact::Place, "place", 3),
    Slot::new(22, "replies", Replies),
];

const ACCOUNT: &[Slot] = &[
    Slot::new(8, "title", Name).required().anything(),
    Slot::new(9, "lang", Name).required(),
    Slot::new(10, "text", LongText).required().anything(),
    Slot::new(11, "route", Points).carries(&[Fact::Place]),
    Slot::new(12, "public-version", Ref),
];

const LINK: &[Slot] =
    &[Slot::new(8, "rel", Name).required(), Slot::new(9, "from", Ref).required(), Slot::new(10, "to", Ref).required()];

const BASES: &[&str] = &["ITI", "UNSC", "EU-decision", "bilateral", "voluntary"];
const PRIORITIES: &[&str] = &["routine", "urgent"];

const TRACE_REQUEST: &[Slot] = &[
    Slot::new(8, "basis", Code(BASES)).required(),
    Slot::new(9, "case", Name).required(),
    Slot::new(10, "from", Name).required(),
    Slot::new(11, "to", Name).required(),
    Slot::new(12, "priority", Code(PRIORITIES)).required(),
    Slot::new(13, "illicit", Uints).required(),
    Slot::new(14, "circumstances", LongText).required().anything(),
    Slot::new(15, "items", Refs).required(),
    Slot::new(16, "use", LongText).required().anything(),
    Slot::new(17, "ask", Texts).required(),
    Slot::new(18, "justification", LongText).anything(),
    Slot::new(19, "conditions", Floor),
    Slot::new(20, "due", Edtf),
    Slot::new(21, "photos", Refs),
];

const TRACE_RESPONSE: &[Slot] = &[
    Slot::new(8, "request", Ref).required(),
    Slot::new(9, "status", Name).required(),
    Slot::new(10, "reason", Name),
    Slot::new(11, "until", Edtf),
    Slot::new(12, "need", Texts),
    Slot::new(13, "per-item", Answers).anything(),
    Slot::new(14, "conditions", Floor),
];

const ACCESS: &[&str] = &["full", "partial", "refused"];

const POST_DELIVERY_CHECK: &[Slot] = &[
    Slot::new(8, "request-ref", Name).required(),
    Slot::new(9, "requester", Name).required(),
    Slot::new(10, "on", Edtf).required().rung(Fact::Time, "on", 0),
    Slot::new(11, "on-month", Month).derived(Fact::Time, "on", 1, 10, Rule::Month),
    Slot::new(12, "on-year", Year).derived(Fact::Time, "on", 2, 10, Rule::Year),
    Slot::new(13, "place-point", Point).rung(Fact::Place, "place", 0),
    Slot::new(14, "place-cell", Cell).derived(Fact::Place, "place", 1, 13, Rule::Cell),
    Slot::new(15, "place-region", Name).rung(Fact::Place, "place", 2),
    Slot::new(16, "place-country", Country).rung(Fact::Place, "place", 3),
    Slot::new(17, "method", Name).required(),
    Slot::new(18, "access", Code(ACCESS)).required(),
    Slot::new(19, "expected", Quantity).required(),
    Slot::new(20, "finding", Name).required(),
    Slot::new(21, "licence", Name),
    Slot::new(22, "euc", Ref),
    Slot::new(23, "storage", Uint),
    Slot::new(24, "checked", Checks).carries(&[Fact::Serial]),
];

const RED_FLAG: &[Slot] = &[
    Slot::new(8, "code", Name).required(),
    Slot::new(9, "subject", Ref).required(),
    Slot::new(10, "severity", Uint).required(),
    Slot::new(11, "basis", Refs).required(),
    Slot::new(12, "first-seen", Edtf).required(),
    Slot::new(13, "review-by", Edtf).required(),
    Slot::new(14, "contested", Contest),
];

const CUSTODY_EVENT: &[Slot] = &[
    Slot::new(8, "evidence", Ref).required(),
    Slot::new(9, "code", Name).required(),
    Slot::new(10, "at", Time).required(),
    Slot::new(11, "by", Name).required().personal().rung(Person, "by", 0),
    Slot::new(12, "reason", LongText).required().anything(),
    Slot::new(13, "previous", Ref),
    Slot::new(14, "witness", Name).personal().rung(Person, "witness", 0),
    Slot::new(15, "from", Name).carries(&[Person]),
    Slot::new(16, "to", Name).carries(&[Person]),
    Slot::new(17, "place-point", Point).rung(Fact::Place, "place", 0),
    Slot::new(18, "place-cell", Cell).derived(Fact::Place, "place", 1, 17, Rule::Cell),
    Slot::new(19, "place-region", Name).rung(Fact::Place, "place", 2),
    Slot::new(20, "place-country", Country).rung(Fact::Place, "place", 3),
    Slot::new(21, "authority", Name),
    Slot::new(22, "seal", Name),
    Slot::new(23, "condition", LongText).anything(),
    Slot::new(24, "hash", Digest),
];

/// The slots that only this kind has.
pub(super) const fn own(kind: Kind) -> &'static [Slot] {
    match kind {
        Kind::Item => ITEM,
        Kind::Ammunition => AMMUNITION,
        Kind::Document => DOCUMENT,
        Kind::Attachment => ATTACHMENT,
        Kind::Event => EVENT,
        Kind::Party => PARTY,
        Kind::Transfer => TRANSFER,
        Kind::DiversionCase => DIVERSION_CASE,
        Kind::Account => ACCOUNT,
        Kind::Link => LINK,
        Kind::TraceRequest => TRACE_REQUEST,
        Kind::TraceResponse => TRACE_RESPONSE,
        Kind::PostDeliveryCheck => POST_DELIVERY_CHECK,
        Kind::RedFlag => RED_FLAG,
        Kind::CustodyEvent => CUSTODY_EVENT,
    }
}
