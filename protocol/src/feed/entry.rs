//! What stands in a feed: releases, withdrawals and refusals; and a release as it travels.
//!
//! The node appends entries and keeps releases beside them. An entry never carries a field of a record: it names the
//! release by hash, so that a feed can be shown, proved and served without the bodies.

use crate::{
    clearance::Clearance,
    codec::{self, Bounds, CodecError},
    id::{AgreementDigest, EntryHash, GrantId, Hash, Nonce, RecordId},
    label, limits,
    primitive::labelled,
    record::{Opening, Redacted, SlotSet},
};
use serde::{Deserialize, Serialize};

/// Code of a withdrawal. There is one only: recall, expiry, changed rule and hidden successor look alike.
pub const WITHDRAWN: u16 = 1;

/// Code of a refusal. There is one only: why something was not taken stays with who did not take it.
pub const REFUSED: u16 = 1;

/// An entry with its salt, label, and the largest of its members.
const ENTRY_BYTES_MAX: usize = 160;

/// One entry of a feed.
///
/// Every entry is salted. Without a salt, whoever knows a record's id could test whether a hash that
/// it was shown (a neighbour in an inclusion path, an entry served as its hash alone) speaks of that record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Entry {
    /// A record, or further slots of one (a supplement), was released.
    Release {
        /// [`Release::hash`] of what travels.
        hash: Hash,
        /// Random.
        salt: Nonce,
        /// The record.
        record: RecordId,
    },
    /// Earlier releases of a record are undone.
    Withdrawal {
        /// [`WITHDRAWN`].
        code: u16,
        /// Random.
        salt: Nonce,
        /// The record.
        record: RecordId,
    },
    /// An entry of the partner's feed under this agreement was not taken.
    Refusal {
        /// [`REFUSED`].
        code: u16,
        /// Random.
        salt: Nonce,
        /// Number of the refused entry in the partner's feed.
        number: u64,
    },
}

impl Entry {
    /// The canonical bytes, which the entry hash covers.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        codec::to_vec(self, Bounds::bytes(ENTRY_BYTES_MAX))
    }

    /// Reads an entry. Another code than the one there is would tell something, and is refused.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let entry = codec::from_slice(bytes, Bounds::bytes(ENTRY_BYTES_MAX))?;
        match entry {
            Self::Withdrawal { code, .. } if code != WITHDRAWN => Err(CodecError::Shape),
            Self::Refusal { code, .. } if code != REFUSED => Err(CodecError::Shape),
            _ => Ok(entry),
        }
    }

    /// SHA-256(label, canonical bytes).
    pub fn hash_of(bytes: &[u8]) -> EntryHash {
        EntryHash::from_bytes(labelled(label::ENTRY_HASH, &[bytes]))
    }
}

#[derive(Serialize, Deserialize)]
struct WireOpening(u8, Nonce, #[serde(with = "serde_bytes")] Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRelease {
    #[serde(with = "serde_bytes")]
    body: Vec<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grant: Option<GrantId>,
    nodes: Vec<Hash>,
    clause: u16,
    version: AgreementDigest,
    openings: Vec<WireOpening>,
}

/// What travels of one record: the redacted record, and the clause and agreement version that cleared it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    redacted: Redacted,
    grant: Option<GrantId>,
    clause: u16,
    version: AgreementDigest,
}

/// A release that does not fit its clearance: a programming error on our side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseFault {
    /// The clearance speaks of another record.
    #[error("the clearance is for another record")]
    Record,
    /// A slot is open that was not cleared.
    #[error("a field is open that was not cleared")]
    Slots,
}

const RELEASE: Bounds = Bounds::bytes(limits::RELEASE_BYTES_MAX);

impl Release {
    /// A release of what was cleared. Cannot be made without the clearance that also opened the slots.
    pub fn new(redacted: Redacted, clearance: &Clearance) -> Result<Self, ReleaseFault> {
        let terms = clearance.terms();
        if RecordId::from_bytes(labelled(label::RECORD_ID, &[&redacted.body])) != terms.record {
            return Err(ReleaseFault::Record);
        }
        let open: SlotSet = redacted.openings.iter().map(|o| o.slot).collect();
        if !open.without(terms.slots).is_empty() {
            return Err(ReleaseFault::Slots);
        }
        Ok(Self { redacted, grant: terms.grant, clause: terms.clause, version: terms.version })
    }

    /// The canonical bytes that travel and that the hash covers.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        let Self { redacted, grant, clause, version } = self.clone();
        let Redacted { body, openings, nodes } = redacted;
        let openings = openings.into_iter().map(|o| WireOpening(o.slot, Nonce::from_bytes(o.salt), o.value)).collect();
        codec::to_vec(&WireRelease { body, grant, nodes, clause, version, openings }, RELEASE)
    }

    /// Reads a release. That it proves what it shows is checked by [`Verified`](crate::record::Verified).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let WireRelease { body, grant, nodes, clause, version, openings } = codec::from_slice(bytes, RELEASE)?;
        let openings = openings
            .into_iter()
            .map(|WireOpening(slot, salt, value)| Opening { slot, salt: *salt.as_bytes(), value })
            .collect();
        Ok(Self { redacted: Redacted { body, openings, nodes }, grant, clause, version })
    }

    /// SHA-256(label, canonical bytes): covers body, openings, nodes, grant, clause and version.
    pub fn hash(bytes: &[u8]) -> Hash {
        Hash::from_bytes(labelled(label::RELEASE_HASH, &[bytes]))
    }

    /// The hash that a release of these parts has, for whoever kept the parts and not the release.
    pub fn hash_again(
        redacted: Redacted,
        grant: Option<GrantId>,
        clause: u16,
        version: AgreementDigest,
    ) -> Result<Hash, CodecError> {
        Ok(Self::hash(&Self { redacted, grant, clause, version }.to_bytes()?))
    }

    /// The clause, by its place in the agreement.
    pub fn clause(&self) -> u16 {
        self.clause
    }

    /// The grant of its originator, where that is not who releases it.
    pub fn grant(&self) -> Option<GrantId> {
        self.grant
    }

    /// The agreement version under which it was cleared.
    pub fn version(&self) -> AgreementDigest {
        self.version
    }

    /// The redacted record.
    pub fn redacted(&self) -> &Redacted {
        &self.redacted
    }

    /// The redacted record, to verify it.
    pub fn into_redacted(self) -> Redacted {
        self.redacted
    }
}
