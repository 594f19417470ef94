//! What is said on a session's lanes: canonical CBOR, one map with the message's name as its key.
//!
//! The states read and write these; the bounds that hold for every message are checked here, what
//! may be said when is checked by the states. Format: SPEC, SES-1 on.

use super::CloseCode;
use crate::{
    codec::{self, Bounds, CodecError},
    cose::SignatureBytes,
    error::PeerFault,
    feed::{Cursor, FeedKey, Receipt, Run, RunMessage},
    id::{AgreementDigest, AgreementId, Nonce, OrgId, StoreId},
    limits,
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};

/// Versions of the session protocol that this crate speaks.
pub const VERSIONS: &[u16] = &[1];

/// One of the two streams of a session. Attachments have streams of their own ([`super::fetch`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Everything but runs; always ahead of them.
    Control,
    /// Runs.
    Records,
}

impl Lane {
    /// Bytes of one frame's content, padding included.
    pub const fn frame_bytes_max(self) -> usize {
        match self {
            Self::Control => limits::CONTROL_FRAME_BYTES_MAX,
            Self::Records => limits::FRAME_BYTES_MAX,
        }
    }

    pub(super) const fn bounds(self) -> Bounds {
        let items_max = match self {
            Self::Control => limits::CONTROL_ITEMS_MAX,
            Self::Records => limits::RUN_ITEMS_MAX,
        };
        Bounds { bytes_max: self.frame_bytes_max(), items_max }
    }
}

/// The first message of each side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// Who speaks: the organisation that the connection proved.
    pub org: OrgId,
    /// Its clock.
    pub time: UnixMillis,
    /// Fresh; a lease renewal answers it.
    pub nonce: Nonce,
    /// The store that it speaks for.
    pub store: StoreId,
    /// Versions of this protocol, rising.
    pub versions: Vec<u16>,
}

/// One agreement that both are party to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgreementLine {
    /// The agreement.
    pub id: AgreementId,
    /// The version that the speaker holds in force.
    pub version: AgreementDigest,
    /// The newest signed standing of each party that the speaker knows.
    pub standings: Vec<SignatureBytes>,
}

/// How far a feed is that the speaker sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentHead {
    /// The last run that was signed; absent while the feed is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<SignatureBytes>,
    /// Which feed.
    pub feed: FeedKey,
    /// Its length and digest.
    pub head: Cursor,
    /// The length that the speaker knows to be countersigned; above `head` where its store turned out older.
    pub acknowledged: u64,
}

/// How far a feed is that the speaker receives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceivedHead {
    /// Which feed.
    pub feed: FeedKey,
    /// What the speaker holds of it.
    pub head: Cursor,
    /// The last receipt that it signed; absent while it holds nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<SignatureBytes>,
}

/// The feeds between the two, in both directions, from the speaker's side. Each list rises by feed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heads {
    /// Feeds that the speaker sends.
    pub sent: Vec<SentHead>,
    /// Feeds that the speaker receives, and is ready to receive.
    pub received: Vec<ReceivedHead>,
}

/// Something for another part of the node: recalls, traces, proofs. The session does not look inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// Which part.
    pub kind: u16,
    /// Its message.
    #[serde(with = "serde_bytes")]
    pub content: Vec<u8>,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Message {
    /// First of all.
    Hello(Hello),
    /// Second; again when something changed.
    Agreements(Vec<AgreementLine>),
    /// Third; again for feeds that were not named before.
    Heads(Heads),
    /// A run, on the records lane.
    Run(Box<RunMessage>),
    /// The countersignature of a run.
    Receipt(SignatureBytes),
    /// An agreement with the signatures that it has so far.
    Proposal(#[serde(with = "serde_bytes")] Vec<u8>),
    /// A party's signed standing.
    Standing(SignatureBytes),
    /// A newer card of the speaker.
    Card(#[serde(with = "serde_bytes")] Vec<u8>),
    /// For another part of the node.
    Notice(Notice),
    /// Last of all.
    Close(CloseCode),
}

impl Message {
    /// The canonical bytes: the content of one frame on [`Self::lane`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        codec::to_vec(self, self.lane().bounds())
    }

    /// Reads the content of a frame and checks the bounds of lists.
    pub fn from_bytes(lane: Lane, bytes: &[u8]) -> Result<Self, PeerFault> {
        let message: Self = codec::from_slice(bytes, lane.bounds())?;
        if message.lane() != lane {
            return Err(PeerFault::Unexpected { message: message.name(), state: "a message of the other lane" });
        }
        match &message {
            Self::Hello(hello) => within("versions", hello.versions.len(), limits::VERSIONS_MAX)?,
            Self::Agreements(lines) => {
                within("agreements", lines.len(), limits::AGREEMENTS_PER_PARTNER_MAX)?;
                for line in lines {
                    within("standings", line.standings.len(), limits::AGREEMENT_PARTIES_MAX)?;
                }
                rising(lines.iter().map(|line| line.id))?;
            }
            Self::Heads(heads) => {
                within("feeds", heads.sent.len().max(heads.received.len()), limits::FEEDS_PER_PARTNER_MAX)?;
                rising(heads.sent.iter().map(|line| line.feed))?;
                rising(heads.received.iter().map(|line| line.feed))?;
            }
            Self::Run(run) => within("entries", run.entries.len(), limits::RUN_ENTRIES_MAX)?,
            Self::Proposal(bytes) => within("bytes of a proposal", bytes.len(), limits::AGREEMENT_BYTES_MAX)?,
            Self::Card(bytes) => within("bytes of a card", bytes.len(), limits::CARD_BYTES_MAX)?,
            Self::Receipt(_) | Self::Standing(_) | Self::Notice(_) | Self::Close(_) => {}
        }
        Ok(message)
    }

    /// The lane that it belongs to.
    pub fn lane(&self) -> Lane {
        if matches!(self, Self::Run(_)) { Lane::Records } else { Lane::Control }
    }

    /// Its name on the wire, for logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Agreements(_) => "agreements",
            Self::Heads(_) => "heads",
            Self::Run(_) => "run",
            Self::Receipt(_) => "receipt",
            Self::Proposal(_) => "proposal",
            Self::Standing(_) => "standing",
            Self::Card(_) => "card",
            Self::Notice(_) => "notice",
            Self::Close(_) => "close",
        }
    }
}

fn within(what: &'static str, given: usize, max: usize) -> Result<(), PeerFault> {
    if given > max { Err(PeerFault::TooMany { what, max }) } else { Ok(()) }
}

/// Lists rise strictly: nothing stands twice, and there is one order.
fn rising<T: Ord>(items: impl Iterator<Item = T>) -> Result<(), PeerFault> {
    if items.is_sorted_by(|a, b| a < b) { Ok(()) } else { Err(PeerFault::Message(CodecError::Shape)) }
}

impl SentHead {
    /// Whether it goes from `sender` to `receiver` and shows the signed run that it claims.
    pub(super) fn is_consistent(&self, sender: OrgId, receiver: OrgId) -> bool {
        let shown = match &self.run {
            None => self.head == Cursor::start(self.feed.id()),
            Some(run) => {
                Run::danger_unverified(run).is_ok_and(|run| run.feed == self.feed.id() && run.end() == self.head)
            }
        };
        shown && self.feed.sender == sender && self.feed.receiver == receiver
    }
}

impl ReceivedHead {
    /// Whether it goes from `sender` to `receiver` and shows the receipt that it claims.
    pub(super) fn is_consistent(&self, sender: OrgId, receiver: OrgId) -> bool {
        let shown = match &self.receipt {
            None => self.head == Cursor::start(self.feed.id()),
            Some(receipt) => {
                Receipt::danger_unverified(receipt).is_ok_and(|r| r.feed == self.feed.id() && r.held == self.head)
            }
        };
        shown && self.feed.sender == sender && self.feed.receiver == receiver
    }
}
