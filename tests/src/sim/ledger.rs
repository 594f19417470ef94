//! A ledger in memory with a disk below it that fails on command, and that forgets at a crash what was not waited for.
//!
//! Between two crashes it is what `Ledger` promises. A failed append may have reached the disk or not; until the crash
//! everything is then refused. An append is one thing here and is never half there: `files` has the disk that tears.

use entente_node::store::{
    Append, Ledger, Position, Row, SCAN_ROWS_MAX, SequenceRow, Snapshot, StoreError, chain,
    layout::{self, Table},
    memory::Frozen,
    scan_start,
};
use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// How an append fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Before anything was written.
    Refused,
    /// While waiting for the disk, which has it all the same.
    Persisted,
    /// While waiting for the disk, which does not have it.
    Lost,
    /// While waiting for the disk, which has some of its bytes. Where there are none: lost.
    Torn,
}

/// A ledger that outlives its node, over a disk that fails on command.
pub trait Failing: Ledger {
    /// The power is there: a process may begin.
    ///
    /// # Errors
    /// If what the disk holds does not open.
    fn power_on(&self) -> Result<(), StoreError>;
    /// Lets the append after `more` others fail.
    fn arm(&self, more: u32, failure: Failure);
    /// Lets nothing fail that has not failed yet.
    fn disarm(&self);
    /// Whether an append failed since the last crash.
    fn is_poisoned(&self) -> bool;
    /// Power off: what was not waited for is gone, or what its failure says is left of it. Whether a write was torn.
    fn crash(&self) -> bool;
    /// Whether it can tear.
    fn tears(&self) -> bool;
}

/// One append that is not known to be on the disk: how to take it back.
struct Undo {
    rows: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    head: Position,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    sequence: Vec<SequenceRow>,
    head: Position,
    /// Oldest first.
    open: Vec<Undo>,
    /// Appends to go, and how the next one then fails.
    armed: Option<(u32, Failure)>,
    /// The failure that whoever waits next will see.
    failing: Option<Failure>,
    poisoned: bool,
    /// What a failed wait left on the disk: appends, counted from the oldest open one.
    kept: usize,
    /// The planted bug: appends that were waited for and that a crash takes all the same.
    forgets: bool,
    last: Option<Undo>,
}

/// The ledger. It outlives the node that uses it.
#[derive(Default)]
pub struct FaultyLedger(Mutex<State>);

impl FaultyLedger {
    /// An empty one. With `forgets` it breaks its contract: a crash takes the last append, though it was waited for.
    #[must_use]
    pub fn new(forgets: bool) -> Self {
        Self(Mutex::new(State { forgets, ..State::default() }))
    }
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn healthy(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state();
        if state.poisoned { Err(StoreError::Poisoned) } else { Ok(state) }
    }
}

impl State {
    fn take_back(&mut self, undo: Undo) {
        for (key, before) in undo.rows.into_iter().rev() {
            match before {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
        self.sequence.pop();
        self.head = undo.head;
    }
}

/// The failure that is due at this append; of those that are armed, one append fewer is to go.
pub(super) fn due(armed: &mut Option<(u32, Failure)>) -> Option<Failure> {
    let (more, failure) = (*armed)?;
    *armed = more.checked_sub(1).map(|less| (less, failure));
    (more == 0).then_some(failure)
}

pub(super) fn broken(doing: &'static str) -> StoreError {
    StoreError::engine(doing, "the simulated disk failed")
}

impl Failing for FaultyLedger {
    fn power_on(&self) -> Result<(), StoreError> {
        Ok(())
    }
    fn arm(&self, more: u32, failure: Failure) {
        self.state().armed = Some((more, failure));
    }
    fn disarm(&self) {
        self.state().armed = None;
    }
    fn is_poisoned(&self) -> bool {
        self.state().poisoned
    }
    fn crash(&self) -> bool {
        let mut state = self.state();
        let kept = state.kept;
        let open = std::mem::take(&mut state.open);
        let none = open.len() <= kept;
        for undo in open.into_iter().skip(kept).rev() {
            state.take_back(undo);
        }
        if let Some(undo) = state.last.take().filter(|_| none && state.forgets) {
            state.take_back(undo);
        }
        (state.armed, state.failing, state.poisoned, state.kept) = (None, None, false, 0);
        false
    }
    fn tears(&self) -> bool {
        false
    }
}

impl Ledger for FaultyLedger {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.healthy()?.rows.get(key).cloned())
    }
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        let state = self.healthy()?;
        let from = scan_start(prefix, after);
        let rows = state.rows.range::<[u8], _>((from, Bound::Unbounded));
        let rows = rows.take_while(|(key, _)| key.starts_with(prefix)).take(limit.min(SCAN_ROWS_MAX));
        Ok(rows.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
    fn last(&self, prefix: &[u8]) -> Result<Option<Row>, StoreError> {
        let state = self.healthy()?;
        let rows = state.rows.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
        Ok(rows.take_while(|(key, _)| key.starts_with(prefix)).last().map(|(key, value)| (key.clone(), value.clone())))
    }
    fn submit(&self, batch: Append) -> Result<Position, StoreError> {
        let mut state = self.healthy()?;
        let failure = due(&mut state.armed);
        if failure == Some(Failure::Refused) {
            state.poisoned = true;
            return Err(broken("append"));
        }
        for (key, expect) in &batch.expect {
            if !expect.holds(state.rows.get(key).map(Vec::as_slice)) {
                return Err(StoreError::Conflict { row: key.iter().map(|b| format!("{b:02x}")).collect() });
            }
        }
        let changes = |key: &Vec<u8>| layout::immutable(key) && state.rows.contains_key(key);
        if let Some(key) = batch.puts.iter().map(|(key, _)| key).chain(&batch.deletes).find(|key| changes(key)) {
            return Err(StoreError::Immutable { row: key.iter().map(|b| format!("{b:02x}")).collect() });
        }
        let append = chain::digest_of(&batch);
        let position = state.head.next(append);
        let mut undo = Undo { rows: Vec::new(), head: state.head };
        for (key, value) in batch.puts {
            let before = state.rows.insert(key.clone(), value);
            undo.rows.push((key, before));
        }
        for key in batch.deletes {
            let before = state.rows.remove(&key);
            undo.rows.push((key, before));
        }
        state.sequence.push(SequenceRow { position, append });
        state.head = position;
        state.open.push(undo);
        state.failing = state.failing.or(failure);
        Ok(position)
    }
    fn wait(&self, _position: Position) -> Result<(), StoreError> {
        let mut state = self.healthy()?;
        if let Some(failure) = state.failing.take() {
            state.poisoned = true;
            state.kept = if failure == Failure::Persisted { state.open.len() } else { 0 };
            return Err(broken("sync"));
        }
        if let Some(last) = state.open.pop() {
            state.last = Some(last);
        }
        state.open.clear();
        Ok(())
    }
    fn head(&self) -> Result<Position, StoreError> {
        Ok(self.healthy()?.head)
    }
    fn sequence(&self, after: u64, limit: usize) -> Result<Vec<SequenceRow>, StoreError> {
        let state = self.healthy()?;
        let skip = usize::try_from(after).unwrap_or(usize::MAX);
        Ok(state.sequence.iter().skip(skip).take(limit.min(SCAN_ROWS_MAX)).copied().collect())
    }
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        let state = self.healthy()?;
        Ok(Box::new(Frozen { rows: state.rows.clone(), position: state.head }))
    }
}

/// A bug that is planted between a node and its disk.
pub enum Buggy {
    /// An append goes to the disk in two, of which a crash may keep the first alone.
    Halved(Arc<dyn Failing>),
    /// An event of the journal is left out, once in so many appends.
    Gapped(Arc<dyn Failing>, AtomicU64),
}

/// See [`Buggy::Gapped`].
const GAP_ONE_IN: u64 = 16;

impl Buggy {
    fn disk(&self) -> &dyn Failing {
        match self {
            Self::Halved(disk) | Self::Gapped(disk, _) => disk.as_ref(),
        }
    }
}

impl Ledger for Buggy {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.disk().get(key)
    }
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.disk().scan(prefix, after, limit)
    }
    fn last(&self, prefix: &[u8]) -> Result<Option<Row>, StoreError> {
        self.disk().last(prefix)
    }
    fn submit(&self, batch: Append) -> Result<Position, StoreError> {
        let Append { mut puts, deletes, expect } = batch;
        if let Self::Gapped(disk, appends) = self {
            if appends.fetch_add(1, Ordering::Relaxed) % GAP_ONE_IN == GAP_ONE_IN - 1 {
                puts.retain(|(row, _)| row.first() != Some(&(Table::Journal as u8)));
            }
            return disk.submit(Append { puts, deletes, expect });
        }
        let rest = puts.split_off(puts.len() / 2);
        if puts.is_empty() {
            return self.disk().submit(Append { puts: rest, deletes, expect });
        }
        self.disk().submit(Append { puts, deletes: Vec::new(), expect })?;
        self.disk().submit(Append { puts: rest, deletes, expect: Vec::new() })
    }
    fn wait(&self, position: Position) -> Result<(), StoreError> {
        self.disk().wait(position)
    }
    fn head(&self) -> Result<Position, StoreError> {
        self.disk().head()
    }
    fn sequence(&self, after: u64, limit: usize) -> Result<Vec<SequenceRow>, StoreError> {
        self.disk().sequence(after, limit)
    }
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        self.disk().snapshot()
    }
}
