//! Custody: the log of this store that partners witness, and what is known of theirs.
//!
//! Over the journal (`journal`) stands a log with one leaf for each interval since the log was created. [`grow`] makes the
//! leaves that are due, [`prove`] shows heads and proofs, [`witness`] judges what partners show, [`owed`] keeps which runs
//! of theirs are not proved yet, [`anew`] begins the log again after a restore. All of it is synchronous; the session
//! part stands in `exchange::log`. Format: SPEC, section 8.
//!
//! Rows, all under [`Table::Log`] in the node's partition:
//!
//! ```text
//! point "own"                       LogRow, the log that goes on
//! point "past" | epoch u32 BE       LogRow of an earlier epoch, as it ended
//! list  "busy" | epoch u32 BE       BusyRow, one for each interval in which something happened, rising
//! list  "cosigned" | epoch u32 BE   CosignedRow, heads that others have witnessed, rising
//! list  "stores"                    StoreRow, of whose logs something is known; point "store" | .. marks each
//! point "watch" | organisation | store   WatchRow, what was seen of a partner's log
//! list  "unlogged"                  UnloggedRow, evidence that a partner kept a run out of its log
//! ```

pub mod anew;
pub mod audit;
pub mod grow;
pub mod owed;
pub mod prove;
pub mod shown;
pub mod view;
pub mod witness;

mod rows;

pub use rows::{CosignedRow, Cosigner, UNLOGGED, UnloggedRow, WatchRow, stores, watch as watch_key};

use crate::{
    journal,
    records::stored::RowDamage,
    seal::keyring::Partition,
    secret::RandomError,
    share::ShareError,
    store::{StoreError, holdings::Holdings, layout::Table},
};
use entente_protocol::{
    custody::{
        checkpoint::{Checkpoint, CheckpointFault, Origin, UnverifiedCheckpoint},
        interval::Interval,
        tiles::TileError,
    },
    id::{Hash, OrgId, StoreId},
    time::UnixMillis,
};
use rows::LogRow;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// How long an interval lasts where the settings say nothing, in seconds.
pub const INTERVAL_S: u64 = 600;

/// The own log, or what is known of a partner's, cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CustodyError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row does not read as written.
    #[error(transparent)]
    Damage(#[from] RowDamage),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// A tile is gone or short.
    #[error("the log cannot be read: {0}")]
    Tiles(#[from] TileError<StoreError>),
    /// A head could not be signed or read.
    #[error("a head of the log: {0}")]
    Checkpoint(#[from] CheckpointFault),
    /// What stands in the log does not fit what is asked of it.
    #[error("the log does not hold together: {0}")]
    Broken(&'static str),
}

impl From<CustodyError> for ShareError {
    fn from(error: CustodyError) -> Self {
        match error {
            CustodyError::Store(error) | CustodyError::Tiles(TileError::Read(error)) => Self::Store(error),
            CustodyError::Damage(error) => Self::Damage(error),
            CustodyError::Random(error) => Self::Random(error),
            other => Self::Rules(other.to_string()),
        }
    }
}

impl From<CustodyError> for crate::error::Fault {
    fn from(error: CustodyError) -> Self {
        match error {
            CustodyError::Store(error) => error.into(),
            other => Self::store(other),
        }
    }
}

/// The log of this store, as it is kept in memory. All of it can be read again.
pub struct Log {
    row: Mutex<LogRow>,
    /// Before this time every interval has its leaf, in milliseconds: nothing more is signed of it.
    made: AtomicU64,
    /// The last head that somebody else witnessed.
    witnessed: Mutex<Option<Hash>>,
    /// One at a time makes leaves.
    growing: Mutex<()>,
    /// The interval that proofs were lately made from: several runs of one are asked for together.
    opened: Mutex<Option<(u32, u64, Arc<Interval>)>>,
    owed: Mutex<BTreeMap<(OrgId, StoreId), owed::Book>>,
    /// Heads of partners' logs that came from elsewhere, and that they are asked about when they are met.
    compared: Mutex<BTreeMap<OrgId, Checkpoint>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    /// Reads the log of a store, or begins it.
    pub fn open(holdings: &Holdings, org: OrgId, interval_s: u64, now: UnixMillis) -> Result<Self, CustodyError> {
        let row = match holdings.get(Partition::Node, Table::Log, rows::OWN)? {
            Some(row) => LogRow::read(&row)?,
            None => {
                let origin = Origin::new(org, holdings.store_id(), 0, now.0 / 1_000, interval_s);
                let row = LogRow::begin(origin.ok_or(CustodyError::Broken("no log can begin at this time"))?)?;
                let mut txn = holdings.begin();
                txn.put(Partition::Node, Table::Log, rows::OWN, &row.write()?)?;
                let about = [("origin", row.origin()?.to_string())];
                journal::add(holdings, &mut txn, now, ("log-begun", &about), None)?;
                txn.commit()?;
                row
            }
        };
        let origin = row.origin()?;
        let witnessed = match rows::last_cosigned(holdings, origin.epoch())? {
            Some(row) => Some(row.checkpoint_digest()?),
            None => None,
        };
        Ok(Self {
            made: AtomicU64::new(origin.begins(row.size).0),
            row: Mutex::new(row),
            witnessed: Mutex::new(witnessed),
            growing: Mutex::new(()),
            opened: Mutex::new(None),
            owed: Mutex::default(),
            compared: Mutex::default(),
        })
    }

    /// Whether something may still be signed at a time: its interval has no leaf yet.
    pub fn may_state(&self, time: UnixMillis) -> bool {
        time.0 >= self.made.load(Ordering::SeqCst)
    }
    /// The last head that somebody else witnessed, as a batch head names it (BAT-3).
    pub fn witnessed(&self) -> Option<Hash> {
        *locked(&self.witnessed)
    }
    /// What names the log, and how far it is.
    pub fn at(&self) -> Result<(Origin, u64), CustodyError> {
        let row = locked(&self.row);
        Ok((row.origin()?, row.size))
    }
    /// A head of a partner's log that it is to be asked about. The last one counts.
    pub fn compare(&self, head: Checkpoint) {
        locked(&self.compared).insert(head.origin().org(), head);
    }
    /// The head that a partner is to be asked about.
    pub fn to_compare(&self, org: OrgId) -> Option<Checkpoint> {
        locked(&self.compared).get(&org).cloned()
    }
    /// It has answered.
    pub fn compared(&self, org: OrgId) {
        locked(&self.compared).remove(&org);
    }
    fn row(&self) -> LogRow {
        locked(&self.row).clone()
    }
}

/// How long it is until the interval under way is over.
pub fn until_next(node: &crate::node::Node) -> std::time::Duration {
    let now = node.clock.now();
    let ends = node.log.at().ok().map(|(origin, _)| origin.begins(origin.leaf_at(now).map_or(0, |leaf| leaf + 1)).0);
    // A moment behind it, so that the clock is certainly past it; never so short that this spins.
    let wait = ends.map_or(1_000, |ends| ends.saturating_sub(now.0)).clamp(20, 60_000);
    std::time::Duration::from_millis(wait + 5)
}

/// Whether a head is one of our own log.
pub fn is_own(node: &crate::node::Node, note: &[u8]) -> bool {
    stored_head(note, &node.keys.card).is_ok()
}

/// Reads a head that lies in our own store, of whichever log key the card lists.
fn stored_head(note: &[u8], card: &entente_protocol::identity::Card) -> Result<Checkpoint, CheckpointFault> {
    let keys = card.keys(entente_protocol::identity::Purpose::Log).map(|entry| &entry.key);
    UnverifiedCheckpoint::from_bytes(note)?.verify(card.org(), keys)
}
