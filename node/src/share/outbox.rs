//! The outbox: fills feeds with what was decided, and signs runs. The one choke point for what leaves.
//!
//! One call makes at most one run, in one append: entries, run, cursors, what was released, journal.
//! A crash before the append leaves no trace; after it, the run is served again until countersigned.
//! Everything that decides is read while the transaction is open, so no two runs begin at one place, and
//! what was decided still stands when it is signed.

mod again;
mod deciding;
mod onward;

pub use again::again;

use super::{
    ShareError,
    bodies::Bodies,
    decide::{self, Asked, SUPERSEDES},
    feeds::{self, DueRow, OutRow, Pending, SentEntry, SentRun},
};
use crate::{
    keys::suspect,
    node::{Node, Rules},
    onward::{holding, passed},
    records::{
        gate::RELEASE_LOG,
        index, keep,
        stored::{ReleasedRow, decode, encode, record_in_feed},
    },
    seal::keyring::Partition,
    secret,
    store::{StoreError, layout::Table, txn::Txn},
};
use entente_policy::{Interval, Reason};
use entente_protocol::{
    clearance::{Clearance, Terms},
    custody::proof::logged_run,
    feed::{Entry, FeedKey, RUN_ENTRY_OVERHEAD_BYTES, Run, RunMessage, WITHDRAWN},
    grant::PassedOn,
    id::{EntryHash, LineId, Nonce, OrgId, RecordId},
    limits,
    record::SlotSet,
    time::UnixMillis,
};
use serde_bytes::ByteBuf;
use std::collections::{BTreeMap, BTreeSet};

/// Records that one step looks at and does not send. With as many that go, and fill a run, it is how long one call may keep
/// others from writing.
/// Few in this crate's own tests, so that their stories meet it.
const DECIDED_MAX: usize = if cfg!(test) { 16 } else { limits::RUN_ENTRIES_MAX };
/// A grant with as many lines and purposes as it takes, at the most.
const GRANT_BYTES: usize = 33 << 10;
/// Referring records read at a time when a line is first released.
const PAGE: usize = 1_000;

/// A run that is durable and may be sent.
pub struct Prepared {
    /// The run.
    pub message: RunMessage,
    /// Entries of the feed after it.
    pub end: u64,
}

/// What one step did.
#[derive(Default)]
pub struct Step {
    /// A run to send, if there was anything to say.
    pub run: Option<Prepared>,
    /// Whether there is more to decide.
    pub more: bool,
}

/// A run being put together.
struct Draft<'a> {
    node: &'a Node,
    rules: &'a Rules,
    feed: FeedKey,
    bodies: Bodies<'a>,
    entries: Vec<SentEntry>,
    hashes: Vec<EntryHash>,
    /// What is released by this run, over what the store says.
    released: BTreeMap<RecordId, ReleasedRow>,
    lines: BTreeSet<LineId>,
    /// Records that refer to a line first released here, to be decided again.
    again: Vec<Pending>,
    /// Those of them that do not follow from what goes in this run.
    alone: Vec<Pending>,
    /// What entries of this run come from, and what leans on them.
    goes: Vec<Pending>,
    /// Records of others that go on in this run, or are taken back, and whose they are.
    passed: Vec<(OrgId, PassedOn)>,
    /// Whether the one under decision gave nothing because an entry of this run has done it already.
    leans: bool,
    /// Records to be decided again at a time.
    due: Vec<DueRow>,
    /// Those whose time has come, by day and place in its list.
    taken: Vec<(u64, u64)>,
    first: u64,
    now: Interval,
    /// When the agreement ends, for all of its records at once.
    until: UnixMillis,
}

/// Fills a feed with what is due and signs one run. Nothing, where partners or agreements have changed in the ledger and
/// the rules were not read again yet: whoever reads them wakes the sessions.
pub fn step(node: &Node, feed: &FeedKey) -> Result<Step, ShareError> {
    suspect::prepare(node)?;
    let txn = node.holdings.begin();
    let rules = node.rules();
    let now = node.interval();
    // While nothing may pass nothing is decided: what is taken from the log as withheld is never looked at again.
    if !rules.stand_in(&txn)?
        || rules.policy.passes(feed.receiver, feed.agreement, now).is_err()
        || feeds::stopped(node, feed)?.is_some()
    {
        return Ok(Step::default());
    }
    let held = rules.agreements.get(feed.agreement);
    let Some(in_force) = held.and_then(|held| held.in_force.as_ref()) else { return Ok(Step::default()) };
    let before = feeds::out_row_in(&txn, feed, in_force.digest)?;
    let mut row = before.clone();
    if row.due == 0 {
        row.due = now.early.days();
    }
    let own_rules = node.own_rules();
    if !row.is_under(in_force.digest, &own_rules) {
        // A new version, another red line or gate: everything ever released is decided anew, from the beginning of the log.
        (row.version, row.rules) = (in_force.digest, Some(ByteBuf::from(own_rules)));
        (row.filled, row.onward) = (0, 0);
    }
    if rules.upstream != [0; 32] && row.upstream.as_ref().is_none_or(|known| known != rules.upstream.as_slice()) {
        // An agreement under which others gave us something has ended, was erased, or says another thing.
        (row.upstream, row.onward) = (Some(ByteBuf::from(rules.upstream)), 0);
    }
    let mut draft = Draft {
        node,
        rules: &rules,
        feed: *feed,
        bodies: Bodies::new(node),
        entries: Vec::new(),
        hashes: Vec::new(),
        released: BTreeMap::new(),
        lines: BTreeSet::new(),
        again: Vec::new(),
        alone: Vec::new(),
        goes: Vec::new(),
        passed: Vec::new(),
        leans: false,
        due: Vec::new(),
        taken: Vec::new(),
        first: row.length,
        now,
        until: in_force.agreement.until,
    };
    let filled = draft.fill(&mut row)?;
    if row == before && draft.taken.is_empty() {
        return Ok(Step::default());
    }
    let waits = if filled == Filled::LookedEnough { draft.park() } else { Vec::new() };
    let more = filled != Filled::All;
    commit(txn, draft, waits, before.pending, row, more)
}

/// Why a step took no more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Filled {
    /// The run is full.
    RunFull,
    /// It has looked at enough that does not go.
    LookedEnough,
    /// There are records to be decided once more.
    Again,
    /// There was no more.
    All,
}

impl Draft<'_> {
    /// Signs nothing of what was decided: it goes with what comes next, and is decided again then.
    ///
    /// A run that ended here would tell how many records were looked at for it, and by that how many the partner is not
    /// given: runs end where they are full, or where there is no more. What waits, a withdrawal too, waits at the longest
    /// until the log has been looked through, step after step without a pause.
    fn park(&mut self) -> Vec<Pending> {
        let waits = std::mem::take(&mut self.goes);
        let records: BTreeSet<RecordId> = waits.iter().filter_map(Pending::record).collect();
        // It is told again when it is decided again.
        self.due.retain(|due| !records.contains(&due.record));
        self.entries.clear();
        self.hashes.clear();
        self.released.clear();
        self.lines.clear();
        self.passed.clear();
        // The rest follows when what waits is decided again.
        self.again = std::mem::take(&mut self.alone);
        self.bodies = Bodies::new(self.node);
        waits
    }

    /// Takes one that waited or stands in the log.
    fn take(&mut self, pending: Pending) -> Result<(), ShareError> {
        let (before, again) = (self.entries.len(), self.again.len());
        match pending {
            Pending::Record(record) => self.consider(record)?,
            Pending::Onward(record) => self.consider_onward(record)?,
            Pending::Refusal { code, number } => {
                let salt = Nonce::from_bytes(secret::random()?);
                self.add(Entry::Refusal { code, salt, number }, None)?;
            }
        }
        let leans = std::mem::take(&mut self.leans);
        if self.entries.len() > before || leans {
            self.goes.push(pending);
        } else {
            self.alone.extend(self.again.iter().skip(again).cloned());
        }
        Ok(())
    }

    /// Whether it has looked at enough that does not go.
    fn is_enough(&self, decided: usize) -> bool {
        decided.saturating_sub(self.goes.len()) >= DECIDED_MAX
    }

    fn is_full(&self) -> bool {
        // Room for the largest release, and for two withdrawals that may go with it.
        let room = limits::RELEASE_BYTES_MAX + 3 * RUN_ENTRY_OVERHEAD_BYTES;
        let beside = if self.rules.grants.is_empty() { 0 } else { limits::CARD_BYTES_MAX + GRANT_BYTES };
        let room = room + beside;
        let used = self.bodies.bytes() + self.entries.len() * RUN_ENTRY_OVERHEAD_BYTES;
        self.bodies.is_full()
            || self.entries.len() + 3 > limits::RUN_ENTRIES_MAX
            || used + room > limits::RUN_BODY_BYTES_MAX
    }

    /// Takes what waits and what the log holds until the run is full.
    fn fill(&mut self, row: &mut OutRow) -> Result<Filled, ShareError> {
        let feed = self.feed.id();
        let mut decided = 0;
        let after = |next: u64| next.checked_sub(1);
        loop {
            let page =
                self.node.holdings.list(Partition::Own, Table::Pending, feed.as_bytes(), after(row.pending), 256)?;
            for (n, bytes) in &page {
                if let Some(filled) = self.ends(decided) {
                    return Ok(filled);
                }
                decided += 1;
                self.take(decode("pending", bytes)?)?;
                row.pending = n + 1;
            }
            if page.len() < 256 {
                break;
            }
        }
        if let Some(filled) = self.fill_due(row, &mut decided)? {
            return Ok(filled);
        }
        loop {
            let page =
                self.node.holdings.list(Partition::Own, Table::RecordList, RELEASE_LOG, after(row.filled), 512)?;
            for (n, id) in &page {
                if let Some(filled) = self.ends(decided) {
                    return Ok(filled);
                }
                decided += 1;
                let record = RecordId::from_slice(id).ok_or(StoreError::Broken { at: *n })?;
                self.take(Pending::Record(record))?;
                row.filled = n + 1;
            }
            if page.len() < 512 {
                break;
            }
        }
        let log = holding::log(self.feed.receiver);
        loop {
            let page = self.node.holdings.list(Partition::Own, Table::RecordList, &log, after(row.onward), 512)?;
            for (n, id) in &page {
                if let Some(filled) = self.ends(decided) {
                    return Ok(filled);
                }
                decided += 1;
                let record = RecordId::from_slice(id).ok_or(StoreError::Broken { at: *n })?;
                self.take(Pending::Onward(record))?;
                row.onward = n + 1;
            }
            if page.len() < 512 {
                return Ok(if self.again.is_empty() { Filled::All } else { Filled::Again });
            }
        }
    }

    fn ends(&self, decided: usize) -> Option<Filled> {
        match (self.is_full(), self.is_enough(decided)) {
            (true, _) => Some(Filled::RunFull),
            (false, true) => Some(Filled::LookedEnough),
            (false, false) => None,
        }
    }

    /// Decides again what waited for a time that has come, day by day. Says why it took no more, if so.
    fn fill_due(&mut self, row: &mut OutRow, decided: &mut usize) -> Result<Option<Filled>, ShareError> {
        // What time makes due goes when the node looks at the clock: a partner does not see by it when something else woke us.
        let until = self.now.early.min(self.node.looked_at());
        let today = until.days();
        while row.due <= today {
            let (scope, mut after) = (feeds::due_scope(self.feed.id(), row.due), None);
            loop {
                let page = self.node.holdings.list(Partition::Own, Table::Pending, &scope, after, 256)?;
                for (n, bytes) in &page {
                    if let Some(filled) = self.ends(*decided) {
                        return Ok(Some(filled));
                    }
                    let DueRow { at, onward, record } = decode("due record", bytes)?;
                    if at <= until {
                        *decided += 1;
                        self.take(if onward { Pending::Onward(record) } else { Pending::Record(record) })?;
                        self.taken.push((row.due, *n));
                    }
                    after = Some(*n);
                }
                if page.len() < 256 {
                    break;
                }
            }
            // A day that is over has nothing left; today's list is looked at until its end.
            if row.due == today {
                break;
            }
            row.due += 1;
            *decided += 1;
        }
        Ok(None)
    }
}

/// One append: the run, what it released, where the feed stands, and the journal's event. `taken_from` is where the
/// pending list was read from, `waits` what goes with what comes next instead.
fn commit(
    mut txn: Txn<'_>,
    draft: Draft<'_>,
    waits: Vec<Pending>,
    taken_from: u64,
    mut row: OutRow,
    more: bool,
) -> Result<Step, ShareError> {
    let Draft { node, feed, bodies, entries, hashes, released, again, passed, due, taken, .. } = draft;
    let id = feed.id();
    for (day, place) in taken {
        txn.remove_item(Partition::Own, Table::Pending, &feeds::due_scope(id, day), place)?;
    }
    for waiting in due {
        let scope = feeds::due_scope(id, waiting.at.days().max(row.due));
        txn.push(Partition::Own, Table::Pending, &scope, &encode("due record", &waiting)?)?;
    }
    for place in taken_from..row.pending {
        txn.remove_item(Partition::Own, Table::Pending, id.as_bytes(), place)?;
    }
    let more = more || !again.is_empty();
    for waiting in waits.into_iter().chain(again) {
        txn.push(Partition::Own, Table::Pending, id.as_bytes(), &encode("pending", &waiting)?)?;
    }
    let (mut run, mut heads) = (None, None);
    if !hashes.is_empty() {
        let now = node.clock.now();
        if !node.log.may_state(now) {
            // A clock that was set back: the log has said already that nothing more happened then.
            return Ok(Step { run: None, more: false });
        }
        let signed = Run::over(id, row.cursor(), &hashes, row.version, now, None)?;
        let signature = signed.sign(&node.keys.runs)?;
        let sent = SentRun { run: signature.clone(), first: row.length, entries, version: row.version };
        txn.push(Partition::Own, Table::RunOut, id.as_bytes(), &encode("run", &sent)?)?;
        for (record, state) in &released {
            txn.put(Partition::Own, Table::Release, &record_in_feed(*record, id), &encode("release", state)?)?;
        }
        let end = signed.end();
        (row.runs, row.length, row.digest) = (row.runs + 1, end.length, end.digest);
        let about = [
            ("agreement", feed.agreement.to_string()),
            ("partner", feed.receiver.to_string()),
            ("entries", hashes.len().to_string()),
            ("run", hex::encode(signed.root.as_bytes())),
        ];
        run = Some(Prepared { message: bodies.into_message(signature.clone(), &sent)?, end: end.length });
        // Ahead of the run's event: what stands before a head in the journal did not go under it (`keys::went`).
        heads = Some(keep::keep_heads(node, &mut txn)?);
        // INVARIANT: a run of our own making reads.
        let logged = logged_run(&signature).map_err(|_| StoreError::Broken { at: row.length })?;
        node.journal_signed(&mut txn, signed.time, ("run-signed", &about), logged)?;
        // With the release, not after it: whoever is asked who holds what knows of all that went.
        passed::note(node, &mut txn, passed)?;
    }
    feeds::put_out(&mut txn, &feed, &row)?;
    txn.commit()?;
    if let Some(heads) = heads {
        heads.done(node);
    }
    Ok(Step { run, more })
}
