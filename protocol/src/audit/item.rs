//! What stands in an audit export, item by item. No item has a value of a record, nor what seals one.

use crate::{
    batch::Attestation,
    codec::{self, Bounds, CodecError},
    cose::SignatureBytes,
    feed::FeedKey,
    gate::Review,
    id::{Hash, LoggedDigest, OrgId, StoreId, UserDigest, UserId},
    limits,
    primitive::PublicKey,
    record::kind::Kind,
    time::UnixMillis,
    user::Role,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

pub(super) const ITEM: Bounds =
    Bounds { bytes_max: limits::AUDIT_ITEM_BYTES_MAX, items_max: limits::AUDIT_ITEM_ITEMS_MAX };

/// One item, in the order in which they stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Item {
    /// Who made it, of which store.
    Head(Head),
    /// The newest card of an organisation, rising by id.
    Card(ByteBuf),
    /// A person's key.
    Person(Person),
    /// A version of an agreement that every party signed.
    Agreement(ByteBuf),
    /// How a party stands to one.
    Standing(Stands),
    /// Events of the journal, in order.
    Events(Vec<ByteBuf>),
    /// The signed head of a batch of the maker's, in order.
    Batch(SignatureBytes),
    /// One epoch of the log.
    Log(LogStart),
    /// A head of it, with those cosignatures that may be shown, rising.
    LogHead(ByteBuf),
    /// Its intervals, in order.
    Leaves(Leaves),
    /// A signed event of the release gate, in the order in which they were kept.
    Gate(SignatureBytes),
    /// A recall of the maker's.
    Recall(SignatureBytes),
    /// What a holder answered to recalls.
    Answer(Answered),
    /// A feed that the maker sends.
    Feed(FeedKey),
    /// A run of it, in order.
    Run(SentRun),
    /// A countersignature of a run of it, in order.
    Receipt(SignatureBytes),
    /// The maker's signature over all of it.
    End(SignatureBytes),
}

impl Item {
    /// The item.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        codec::to_vec(self, ITEM)
    }
    /// Its name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Head(_) => "head",
            Self::Card(_) => "card",
            Self::Person(_) => "person",
            Self::Agreement(_) => "agreement",
            Self::Standing(_) => "standing",
            Self::Events(_) => "events",
            Self::Batch(_) => "batch",
            Self::Log(_) => "log",
            Self::LogHead(_) => "log-head",
            Self::Leaves(_) => "leaves",
            Self::Gate(_) => "gate",
            Self::Recall(_) => "recall",
            Self::Answer(_) => "answer",
            Self::Feed(_) => "feed",
            Self::Run(_) => "run",
            Self::Receipt(_) => "receipt",
            Self::End(_) => "end",
        }
    }
    /// Which part of the file it belongs to: parts do not fall, but where a log or a feed begins.
    pub(super) const fn rank(&self) -> u8 {
        match self {
            Self::Head(_) => 0,
            Self::Card(_) => 1,
            Self::Person(_) => 2,
            Self::Agreement(_) => 3,
            Self::Standing(_) => 4,
            Self::Events(_) => 5,
            Self::Batch(_) => 6,
            Self::Log(_) => 7,
            Self::LogHead(_) => 8,
            Self::Leaves(_) => 9,
            Self::Gate(_) => 10,
            Self::Recall(_) => 11,
            Self::Answer(_) => 12,
            Self::Feed(_) => 13,
            Self::Run(_) => 14,
            Self::Receipt(_) => 15,
            Self::End(_) => 16,
        }
    }
    /// Whether it may stand after an item of this rank.
    pub(super) fn may_follow(&self, before: Option<u8>) -> bool {
        let Some(before) = before else { return matches!(self, Self::Head(_)) };
        let rank = self.rank();
        match self {
            Self::Head(_) => false,
            Self::Log(_) => before <= 9,
            Self::LogHead(_) | Self::Leaves(_) => (7..=rank).contains(&before),
            Self::Feed(_) => before <= 15,
            Self::Run(_) | Self::Receipt(_) => (13..=rank).contains(&before),
            _ => before <= rank && before < 16,
        }
    }
}

/// Who made an export, of what, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Format.
    pub v: u64,
    /// The review state below which nothing is released, as the maker sets it now.
    pub gate: Review,
    /// When, by its clock.
    pub time: UnixMillis,
    /// Who.
    pub maker: OrgId,
    /// Of which of its stores.
    pub store: StoreId,
}

/// A certificate of a person without the name, by the maker's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// The person.
    pub id: UserId,
    /// The person's key.
    pub key: PublicKey,
    /// From when the certificate counts.
    pub from: UnixMillis,
    /// How the certificate is named.
    pub user: UserDigest,
    /// What the person may do.
    pub roles: Vec<Role>,
    /// Until when it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UnixMillis>,
    /// Since when the person does nothing any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<UnixMillis>,
}

impl Person {
    /// Whether what the person signs at this time counts.
    pub(super) fn counts(&self, at: UnixMillis) -> bool {
        self.from <= at && [self.until, self.disabled].into_iter().flatten().all(|end| at < end)
    }
}

/// The newest statement of a party about an agreement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stands {
    /// When it was known to the maker.
    pub at: UnixMillis,
    /// Whose.
    pub party: OrgId,
    /// As it was signed.
    pub notice: SignatureBytes,
}

/// One epoch of the log, and where in the journal it begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogStart {
    /// Leaves.
    pub size: u64,
    /// Events of the journal before its first leaf.
    pub count: u64,
    /// What names the log.
    pub origin: String,
}

/// Intervals, each with what makes its leaf again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaves {
    /// Those in which something happened, rising.
    pub busy: Vec<Busy>,
    /// The first leaf.
    pub first: u64,
    /// The seed of each.
    pub seeds: Vec<Hash>,
}

/// An interval in which something happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Busy {
    /// Its leaf.
    pub at: u64,
    /// The place in the journal after its last event.
    pub to: u64,
    /// The place of its first.
    pub from: u64,
    /// Events in between that stand in another leaf.
    pub gone: Vec<u64>,
    /// What stands here and was journaled elsewhere.
    pub late: Vec<LoggedDigest>,
}

/// A holder's signed answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answered {
    /// Whose.
    pub holder: OrgId,
    /// As they were signed.
    pub signed: SignatureBytes,
}

/// A signed run, and what is said of its entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentRun {
    /// As it was signed.
    pub run: SignatureBytes,
    /// Each entry in its order.
    pub entries: Vec<SentEntry>,
    /// One joint proof for each batch that attests a record in it.
    pub attested: Vec<Attestation>,
}

/// An entry of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentEntry {
    /// Its bytes, which its hash covers: the record's id and the release's hash. None of a run that was given back.
    pub entry: ByteBuf,
    /// Of a release: what was released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Released>,
}

/// What a release showed, and under which clause, by the maker's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Released {
    /// What the record is.
    pub of: Of,
    /// Which of the run's batches attests it, and its position there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<(u16, u32)>,
    /// Slots that it disclosed, rising: numbers, no values.
    pub slots: Vec<u8>,
    /// The clause, by its place in the agreement.
    pub clause: u16,
}

/// What a record is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Of {
    /// Header and root, which its id covers. Of a header without free text only.
    Body(ByteBuf),
    /// Its kind and originator, by the maker's word.
    Kind(Kind, OrgId),
    /// Nothing of it is held any more.
    Gone(OrgId),
}
