//! Events of the journal: what an organisation did or had done to it, one for each batch, run, review, recall and so on.
//!
//! An event that touches several partitions commits to one salted part for each. The event itself has hashes only; what a
//! part says is kept sealed under the part's own partition, so that when the partition is erased the journal stays whole
//! and nobody can open what it said. Events never leave their organisation but to its auditors.

use crate::{
    codec::{self, Bounds, CodecError},
    id::{AgreementId, Hash, JournalDigest, LoggedDigest, Nonce},
    label, limits,
    primitive::labelled,
    text,
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};

const EVENT: Bounds = Bounds::bytes(limits::EVENT_PARTS_MAX * 34 + 256);
const PART: Bounds = Bounds::bytes(limits::EVENT_PART_BYTES_MAX);

/// What kind of thing an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// Records were attested.
    Batch,
    /// A run was signed.
    RunSent,
    /// A run was taken.
    RunReceived,
    /// A partner countersigned a run.
    Receipt,
    /// A person reviewed records.
    Review,
    /// A person released records.
    Release,
    /// A record was recalled, or an answer to a recall given or heard.
    Recall,
    /// A grant was asked for, given, passed on or used.
    Grant,
    /// An agreement, or a party's standing, changed.
    Agreement,
    /// A named user looked at what is held.
    Access,
    /// A named user took something out.
    Export,
    /// Something was brought in.
    Import,
    /// A partner was added, changed, suspended or removed.
    Partner,
    /// A person's account or role changed.
    User,
    /// A key or card was made, changed or ended.
    Key,
    /// What was held was deleted, or a partition erased.
    Erasure,
    /// A hold was placed or lifted.
    Hold,
    /// The clock was set, jumped, or was confirmed.
    Clock,
    /// A checkpoint was made or witnessed, a proof given, refused or missed, a fork found.
    Custody,
    /// What this organisation decides by itself changed: settings, red lines.
    Settings,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Batch,
        Self::RunSent,
        Self::RunReceived,
        Self::Receipt,
        Self::Review,
        Self::Release,
        Self::Recall,
        Self::Grant,
        Self::Agreement,
        Self::Access,
        Self::Export,
        Self::Import,
        Self::Partner,
        Self::User,
        Self::Key,
        Self::Erasure,
        Self::Hold,
        Self::Clock,
        Self::Custody,
        Self::Settings,
    ];
    /// Its name, as the event has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::RunSent => "run-sent",
            Self::RunReceived => "run-received",
            Self::Receipt => "receipt",
            Self::Review => "review",
            Self::Release => "release",
            Self::Recall => "recall",
            Self::Grant => "grant",
            Self::Agreement => "agreement",
            Self::Access => "access",
            Self::Export => "export",
            Self::Import => "import",
            Self::Partner => "partner",
            Self::User => "user",
            Self::Key => "key",
            Self::Erasure => "erasure",
            Self::Hold => "hold",
            Self::Clock => "clock",
            Self::Custody => "custody",
            Self::Settings => "settings",
        }
    }
}

/// Under which partition a part's opening is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartOf {
    /// The node's own: partners, keys, settings.
    Node,
    /// The organisation's own holdings.
    Own,
    /// Everything held under one agreement.
    Agreement(AgreementId),
}

/// What an event says of one partition, with the salt that hides it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventPart {
    /// Which partition.
    #[serde(rename = "in")]
    pub part_of: PartOf,
    /// Random, so that nobody can test a guess against the hash.
    pub salt: Nonce,
    /// What happened, by the name that the node gives it.
    pub what: String,
    /// Names and what stands under each, in their order.
    pub about: Vec<(String, String)>,
}

impl EventPart {
    /// What is sealed under the partition.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        self.check()?;
        codec::to_vec(self, PART)
    }
    fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let part: Self = codec::from_slice(bytes, PART)?;
        part.check()?;
        Ok(part)
    }
    fn hash(bytes: &[u8]) -> Hash {
        Hash::from_bytes(labelled(label::EVENT_PART, &[bytes]))
    }
    fn check(&self) -> Result<(), CodecError> {
        let is_text = |text: &String| text.len() <= limits::EVENT_TEXT_BYTES_MAX && text::misleading(text).is_none();
        let fits = text::is_line(&self.what)
            && self.about.len() <= limits::EVENT_STATEMENTS_MAX
            && self.about.iter().all(|(name, stands)| text::is_line(name) && is_text(stands));
        if fits { Ok(()) } else { Err(CodecError::Shape) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireEvent {
    v: u64,
    at: UnixMillis,
    kind: EventKind,
    parts: Vec<Hash>,
    before: JournalDigest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    logged: Option<LoggedDigest>,
}

/// An event as the journal has it. That it is the journal's is known only where the chain was followed to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    bytes: Vec<u8>,
    wire: WireEvent,
}

impl Event {
    /// An event after `before`. `logged` is of the run or batch head that was signed in it, if one was.
    pub(super) fn new(
        kind: EventKind,
        at: UnixMillis,
        before: JournalDigest,
        parts: &[EventPart],
        logged: Option<LoggedDigest>,
    ) -> Result<Self, CodecError> {
        if parts.len() > limits::EVENT_PARTS_MAX {
            return Err(CodecError::Shape);
        }
        let hash = |part: &EventPart| part.to_bytes().map(|bytes| EventPart::hash(&bytes));
        let parts = parts.iter().map(hash).collect::<Result<_, _>>()?;
        let wire = WireEvent { v: 1, at, kind, parts, before, logged };
        Ok(Self { bytes: codec::to_vec(&wire, EVENT)?, wire })
    }

    /// Reads an event as it was kept. Nothing says that the journal has it at its place: whoever must know follows the
    /// chain ([`Journal::handle_event`](super::journal::Journal::handle_event)).
    pub fn danger_unchained(bytes: &[u8]) -> Result<Self, CodecError> {
        Self::from_bytes(bytes)
    }
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let wire: WireEvent = codec::from_slice(bytes, EVENT)?;
        let fits = wire.v == 1 && wire.parts.len() <= limits::EVENT_PARTS_MAX;
        if fits { Ok(Self { bytes: bytes.to_vec(), wire }) } else { Err(CodecError::Shape) }
    }

    /// The event, to be kept.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
    /// The journal up to here: SHA-256 over label and event.
    pub fn digest(&self) -> JournalDigest {
        JournalDigest::from_bytes(labelled(label::JOURNAL_EVENT, &[&self.bytes]))
    }
    /// Under what the event stands in its interval: the run or batch head that was signed in it, or the event itself.
    pub fn logged(&self) -> LoggedDigest {
        self.wire.logged.unwrap_or_else(|| LoggedDigest::from_bytes(*self.digest().as_bytes()))
    }
    /// Whether a run or a batch head was signed in it.
    pub fn is_signed(&self) -> bool {
        self.wire.logged.is_some()
    }
    /// The journal before it.
    pub fn before(&self) -> JournalDigest {
        self.wire.before
    }
    /// When, by the clock of its organisation.
    pub fn at(&self) -> UnixMillis {
        self.wire.at
    }
    /// What kind of thing it is.
    pub fn kind(&self) -> EventKind {
        self.wire.kind
    }
    /// How many parts it has.
    pub fn parts(&self) -> usize {
        self.wire.parts.len()
    }
    /// What one of its parts says, as the reward for showing that it is one: its place, and the part.
    pub fn open(&self, part: &[u8]) -> Option<(usize, EventPart)> {
        let hash = EventPart::hash(part);
        let place = self.wire.parts.iter().position(|known| *known == hash)?;
        Some((place, EventPart::from_bytes(part).ok()?))
    }
}
