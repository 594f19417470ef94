//! Stored rows of the log, and their keys.

use super::CustodyError;
use crate::{
    records::stored::{self, decode, encode},
    seal::keyring::Partition,
    secret,
    store::{StoreError, holdings::Holdings, layout::Table, txn::Txn},
};
use entente_protocol::{
    custody::{
        checkpoint::{CheckpointFault, Origin, UnverifiedCheckpoint},
        journal::JournalHead,
    },
    id::{Hash, JournalDigest, LoggedDigest, OrgId, StoreId},
    label,
    primitive::{PublicKey, labelled},
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use zeroize::Zeroizing;

/// The log that goes on.
pub const OWN: &[u8] = b"own";

fn of_epoch(what: &[u8], epoch: u32) -> Vec<u8> {
    [what, &epoch.to_be_bytes()].concat()
}

/// An earlier epoch, as it ended.
pub fn past(epoch: u32) -> Vec<u8> {
    of_epoch(b"past", epoch)
}
/// Intervals in which something happened.
pub fn busy(epoch: u32) -> Vec<u8> {
    of_epoch(b"busy", epoch)
}
/// Heads that others have witnessed.
pub fn cosigned(epoch: u32) -> Vec<u8> {
    of_epoch(b"cosigned", epoch)
}
/// What was seen of a partner's log.
pub fn watch(org: OrgId, store: StoreId) -> Vec<u8> {
    [b"watch".as_slice(), org.as_bytes(), store.as_bytes()].concat()
}
/// Evidence that a partner kept a run out of its log.
pub const UNLOGGED: &[u8] = b"unlogged";
/// Stores of partners of whose logs something is known, in order.
pub const STORES: &[u8] = b"stores";

/// The mark of one of them.
pub fn store(org: OrgId, store: StoreId) -> Vec<u8> {
    [b"store".as_slice(), org.as_bytes(), store.as_bytes()].concat()
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreRow {
    /// Whose.
    pub org: OrgId,
    /// Which.
    pub store: StoreId,
}

/// Stores of one partner: each was made by people, or said by a partner that invents them.
const STORES_OF_ONE_MAX: usize = 64;

/// Notes that something is known of the log of a partner's store. Whether there is room for one more of its stores.
pub fn know(txn: &mut Txn<'_>, org: OrgId, store: StoreId) -> Result<bool, CustodyError> {
    let key = self::store(org, store);
    if txn.get(Partition::Node, Table::Log, &key)?.is_some() {
        return Ok(true);
    }
    let mut of_one = 0;
    for at in 0..txn.count(Partition::Node, Table::Log, STORES)? {
        let row = txn.item(Partition::Node, Table::Log, STORES, at)?.ok_or(StoreError::Broken { at })?;
        of_one += usize::from(decode::<StoreRow>("store", &row)?.org == org);
    }
    if of_one >= STORES_OF_ONE_MAX {
        return Ok(false);
    }
    let row = encode("store", &StoreRow { org, store })?;
    txn.put(Partition::Node, Table::Log, &key, &row)?;
    txn.push(Partition::Node, Table::Log, STORES, &row)?;
    // So that a head that is gone is told from one that was never seen.
    txn.put(Partition::Node, Table::Log, &watch(org, store), &WatchRow::default().write()?)?;
    Ok(true)
}

/// Stores of partners of whose logs something is known.
pub fn stores(holdings: &Holdings) -> Result<Vec<StoreRow>, CustodyError> {
    let mut stores = Vec::new();
    stored::each(holdings, (Partition::Node, Table::Log, STORES), 0, &mut |_,
                                                                           row: StoreRow|
     -> Result<bool, CustodyError> {
        stores.push(row);
        Ok(true)
    })?;
    Ok(stores)
}

/// A tile.
pub fn tile(epoch: u32, level: u8, index: u64) -> Vec<u8> {
    [epoch.to_be_bytes().as_slice(), &[level], &index.to_be_bytes()].concat()
}

/// Something signed at a time whose interval is still to come by the clock that says so now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ahead {
    /// The leaf that will hold it.
    pub leaf: u64,
    /// What.
    pub digest: LoggedDigest,
}

/// One epoch of the own log.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogRow {
    /// Leaves.
    pub size: u64,
    pub ahead: Vec<Ahead>,
    /// Events of the journal that its leaves cover.
    pub count: u64,
    /// The journal there.
    pub digest: JournalDigest,
    origin: String,
    secret: ByteBuf,
}

impl LogRow {
    /// A log without leaves that covers nothing of the journal.
    pub fn begin(origin: Origin) -> Result<Self, CustodyError> {
        let start = entente_protocol::custody::journal::Journal::start(origin.store()).head();
        Self::from(origin, start)
    }
    /// A log without leaves that goes on from a place in the journal.
    pub fn from(origin: Origin, journal: JournalHead) -> Result<Self, CustodyError> {
        let secret = secret::random_secret::<32>()?;
        Ok(Self {
            size: 0,
            ahead: Vec::new(),
            count: journal.count,
            digest: journal.digest,
            origin: origin.to_string(),
            secret: ByteBuf::from(secret.expose().to_vec()),
        })
    }
    pub fn read(row: &[u8]) -> Result<Self, CustodyError> {
        Ok(decode("log", row)?)
    }
    pub fn write(&self) -> Result<Vec<u8>, CustodyError> {
        Ok(encode("log", self)?)
    }
    pub fn origin(&self) -> Result<Origin, CheckpointFault> {
        self.origin.parse()
    }
    pub fn secret(&self) -> Result<Zeroizing<[u8; 32]>, CustodyError> {
        let secret =
            self.secret.as_slice().try_into().map_err(|_| CustodyError::Broken("its secret is not 32 bytes"))?;
        Ok(Zeroizing::new(secret))
    }
}

/// An interval in which something happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BusyRow {
    /// Its leaf.
    pub at: u64,
    /// The place in the journal after its last event.
    pub to: u64,
    /// The place of its first.
    pub from: u64,
    /// Events in between that stand in another leaf: what is signed stands where its time says.
    pub gone: Vec<u64>,
    /// What is signed that stands here, and was journaled elsewhere.
    pub late: Vec<LoggedDigest>,
    /// The journal at its end.
    pub digest: JournalDigest,
}

impl BusyRow {
    pub fn read(row: &[u8]) -> Result<Self, CustodyError> {
        Ok(decode("interval", row)?)
    }
    pub fn write(&self) -> Result<Vec<u8>, CustodyError> {
        Ok(encode("interval", self)?)
    }
}

/// Who witnessed a head of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cosigner {
    /// When, by its clock.
    pub at: UnixMillis,
    /// Who.
    pub org: OrgId,
    /// Its line for the note.
    pub line: String,
    /// Whether others may be shown it.
    pub named: bool,
}

/// A head of ours that others have witnessed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CosignedRow {
    /// Who, in the order in which they did.
    pub by: Vec<Cosigner>,
    /// The head with our own signature, a note.
    pub note: ByteBuf,
    /// Leaves under it.
    pub size: u64,
}

impl CosignedRow {
    /// Reads a row.
    pub fn read(row: &[u8]) -> Result<Self, CustodyError> {
        Ok(decode("witnessed head", row)?)
    }
    /// The row.
    pub fn write(&self) -> Result<Vec<u8>, CustodyError> {
        Ok(encode("witnessed head", self)?)
    }
    /// How a batch head names it (CHK-4).
    pub fn checkpoint_digest(&self) -> Result<Hash, CustodyError> {
        let head = UnverifiedCheckpoint::from_bytes(&self.note)?;
        let text = head.note().danger_unverified_text().as_bytes();
        Ok(Hash::from_bytes(labelled(label::CHECKPOINT_DIGEST, &[text])))
    }
}

/// The last head that somebody witnessed, of an epoch.
pub fn last_cosigned(holdings: &Holdings, epoch: u32) -> Result<Option<CosignedRow>, CustodyError> {
    let last = holdings.last(Partition::Node, Table::Log, &cosigned(epoch))?;
    last.map(|(_, row)| CosignedRow::read(&row)).transpose()
}

/// What was seen of a partner's log: a head, or two that cannot both be true.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchRow {
    /// When its log began anew of late, the last first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anew: Vec<UnixMillis>,
    /// Two heads that cannot both be true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork: Option<ByteBuf>,
    /// Keys under which what stands here was verified: people may have taken a card since that lists others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<PublicKey>,
    /// The last head that was accepted, a note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<ByteBuf>,
}

impl WatchRow {
    /// Reads a row.
    pub fn read(row: Option<Vec<u8>>) -> Result<Self, CustodyError> {
        Ok(row.map(|row| decode("head of a partner's log", &row)).transpose()?.unwrap_or_default())
    }
    /// The row.
    pub fn write(&self) -> Result<Vec<u8>, CustodyError> {
        Ok(encode("head of a partner's log", self)?)
    }
}

/// Evidence that a partner kept a run out of its log (SPEC, `unlogged-run`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnloggedRow {
    /// When it was found.
    pub at: UnixMillis,
    /// Whose log.
    pub org: OrgId,
    /// The evidence.
    pub proof: ByteBuf,
}

impl UnloggedRow {
    /// The row.
    pub fn write(&self) -> Result<Vec<u8>, CustodyError> {
        Ok(encode("unlogged run", self)?)
    }
    /// Reads a row.
    pub fn read(row: &[u8]) -> Result<Self, CustodyError> {
        Ok(decode("unlogged run", row)?)
    }
}

/// The busy interval that `wanted` finds by comparing: rows rise both by leaf and by place in the journal.
pub fn find_busy(
    holdings: &Holdings,
    epoch: u32,
    wanted: impl Fn(&BusyRow) -> std::cmp::Ordering,
) -> Result<Option<BusyRow>, CustodyError> {
    let scope = busy(epoch);
    let (mut low, mut high) = (0, holdings.count(Partition::Node, Table::Log, &scope)?);
    while low < high {
        let middle = low + (high - low) / 2;
        let row = holdings.item(Partition::Node, Table::Log, &scope, middle)?;
        let row = BusyRow::read(&row.ok_or(StoreError::Broken { at: middle })?)?;
        match wanted(&row) {
            std::cmp::Ordering::Equal => return Ok(Some(row)),
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    Ok(None)
}
