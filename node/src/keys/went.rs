//! What went to partners under a records key that is in other hands, and that nothing here shows to have come before it was.
//!
//! A partner judges by when a record came to it: what it countersigned before that time is cleared there, and nothing else
//! is, whatever our store knows of its age. So of each feed the runs are looked through that the receiver did not
//! countersign before; and what went on by another's hand counts always, for nobody countersigned that to us. A batch as a
//! whole is suspect or not, so more may be marked than partners do, and never less. Called by `suspect` alone, and only where a key is in other hands.

use crate::{
    journal::LOGGED,
    node::Node,
    onward::{HELD, passed::HeldRow},
    records::{
        keep::{self, KeepError},
        stored::{self, decode},
    },
    seal::keyring::Partition,
    share::feeds::{self, OutRow, SentRun},
    store::{StoreError, layout::Table},
};
use entente_protocol::{
    batch::danger_unverified_head,
    cose::SignatureBytes,
    custody::proof::{logged_batch, logged_run},
    feed::{FeedKey, Receipt},
    id::{FeedId, KeyId, LoggedDigest, OrgId, RecordId},
    time::UnixMillis,
};
use std::collections::{BTreeMap, BTreeSet};

/// Records keys that are in other hands, each with since when.
pub type Stolen = BTreeMap<KeyId, UnixMillis>;
/// Batches of ours, each with a key under which something of it went.
pub type Went = BTreeSet<(u64, KeyId)>;

/// Receipts read in one step.
const PAGE: usize = 256;

/// Looks through every feed.
pub fn went(node: &Node, stolen: &Stolen) -> Result<Went, KeepError> {
    let mut look = Look { node, stolen, heads: BTreeMap::new(), went: Went::new() };
    if stolen.is_empty() || !look.any()? {
        return Ok(look.went);
    }
    let (rules, book) = (node.rules(), node.book());
    for agreement in rules.agreements.iter().map(|held| held.id) {
        for (partner, _) in book.iter() {
            look.feed(&feeds::outgoing(node, *partner, agreement))?;
        }
    }
    look.onward()?;
    Ok(look.went)
}

struct Look<'a> {
    node: &'a Node,
    stolen: &'a Stolen,
    /// By batch: those of its heads that a stolen key signed, with the place in the journal from which on another one is sent.
    heads: BTreeMap<u64, Vec<(KeyId, u64)>>,
    went: Went,
}

impl Look<'_> {
    /// Whether partners may have anything by a stolen key: once all of it is attested anew, no run is read.
    fn any(&self) -> Result<bool, KeepError> {
        for batch in 0..self.node.holdings.count(Partition::Own, Table::Batch, b"")? {
            for head in keep::batch_row(self.node, batch)?.heads() {
                let (key, _) = danger_unverified_head(head).map_err(|_| StoreError::Broken { at: batch })?;
                if self.stolen.contains_key(&key) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn feed(&mut self, feed: &FeedKey) -> Result<(), KeepError> {
        let Some(row) = self.row(feed)? else { return Ok(()) };
        let (id, earliest) = (feed.id(), self.stolen.values().min().copied().unwrap_or_default());
        let (mut after, mut from) = (None, 0);
        loop {
            let page = self.node.holdings.list(Partition::Own, Table::Receipt, id.as_bytes(), after, PAGE)?;
            for (n, bytes) in &page {
                after = Some(*n);
                let receipt = Receipt::danger_unverified(&SignatureBytes(bytes.clone()));
                let receipt = receipt.map_err(|_| StoreError::Broken { at: *n })?;
                // Each is looked at: a receiver's clock that was set back makes the times of receipts fall.
                if receipt.time >= earliest {
                    self.runs((id, row.runs), (from, receipt.held.length), Some(receipt.time))?;
                }
                from = from.max(receipt.held.length);
            }
            if page.len() < PAGE {
                break;
            }
        }
        self.runs((id, row.runs), (from, row.length), None)
    }

    /// The runs that hold entries from one number up to another, and when they were countersigned, if they were.
    fn runs(
        &mut self,
        (feed, count): (FeedId, u64),
        (from, to): (u64, u64),
        countersigned: Option<UnixMillis>,
    ) -> Result<(), KeepError> {
        if from >= to {
            return Ok(());
        }
        // Runs rise: the first that reaches beyond `from`. The distance halves each time.
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low + (high - low) / 2;
            let run = self.run(feed, middle)?;
            let end = run.first.saturating_add(run.entries.len() as u64);
            if end <= from { low = middle + 1 } else { high = middle }
        }
        for place in low..count {
            let run = self.run(feed, place)?;
            if run.first >= to {
                break;
            }
            let at = self.place_of(&run)?;
            for record in run.entries.iter().filter_map(|entry| entry.record) {
                self.record(record, countersigned, at)?;
            }
        }
        Ok(())
    }

    /// Where an outgoing feed stands, if it was ever used.
    fn row(&self, feed: &FeedKey) -> Result<Option<OutRow>, KeepError> {
        let row = self.node.holdings.get(Partition::Own, Table::Cursor, &feeds::out_key(feed))?;
        Ok(row.map(|row| decode("feed", &row)).transpose()?)
    }

    /// The place of a run in the journal. One that its receiver gave back is not there: it went before every head that is.
    fn place_of(&self, run: &SentRun) -> Result<u64, KeepError> {
        let logged = logged_run(&run.run).map_err(|_| StoreError::Broken { at: run.first })?;
        Ok(self.in_journal(logged)?.unwrap_or(0))
    }

    fn run(&self, feed: FeedId, place: u64) -> Result<SentRun, KeepError> {
        let bytes = self.node.holdings.item(Partition::Own, Table::RunOut, feed.as_bytes(), place)?;
        Ok(decode("run", &bytes.ok_or(StoreError::Broken { at: place })?)?)
    }

    /// What others said that they passed on: it came there some time later. Under which key is told by when it went to them.
    fn onward(&mut self) -> Result<(), KeepError> {
        let node = self.node;
        let mut by: BTreeMap<OrgId, BTreeMap<RecordId, Option<u64>>> = BTreeMap::new();
        stored::each(&node.holdings, (Partition::Own, Table::Grant, HELD), 0, &mut |_, row: HeldRow| {
            by.entry(row.by).or_default().insert(row.on.record, None);
            Ok::<_, KeepError>(true)
        })?;
        for (partner, mut records) in by {
            for agreement in node.rules().agreements.iter().map(|held| held.id) {
                let feed = feeds::outgoing(node, partner, agreement);
                let Some(row) = self.row(&feed)? else { continue };
                for place in 0..row.runs {
                    let run = self.run(feed.id(), place)?;
                    let at = self.place_of(&run)?;
                    for record in run.entries.iter().filter_map(|entry| entry.record) {
                        if let Some(first) = records.get_mut(&record) {
                            *first = Some(first.map_or(at, |first| first.min(at)));
                        }
                    }
                }
            }
            for (record, first) in records {
                self.record(record, None, first.unwrap_or(0))?;
            }
        }
        Ok(())
    }

    /// A record that went at a place in the journal.
    fn record(&mut self, record: RecordId, countersigned: Option<UnixMillis>, at: u64) -> Result<(), KeepError> {
        // Another's, or one that an older copy of the store lost.
        let Some(own) = keep::find_own(self.node, record)? else { return Ok(()) };
        if !self.heads.contains_key(&own.batch) {
            let heads = self.heads_of(own.batch)?;
            self.heads.insert(own.batch, heads);
        }
        for (key, until) in self.heads.get(&own.batch).into_iter().flatten() {
            let since = self.stolen.get(key).copied().unwrap_or_default();
            if at < *until && countersigned.is_none_or(|time| time >= since) {
                self.went.insert((own.batch, *key));
            }
        }
        Ok(())
    }

    fn heads_of(&self, batch: u64) -> Result<Vec<(KeyId, u64)>, KeepError> {
        let row = keep::batch_row(self.node, batch)?;
        let damaged = StoreError::Broken { at: batch };
        let mut heads = row.heads().peekable();
        let mut of_stolen = Vec::new();
        while let Some(head) = heads.next() {
            let Ok((key, _)) = danger_unverified_head(head) else { return Err(damaged.into()) };
            if !self.stolen.contains_key(&key) {
                continue;
            }
            // The run that is signed first under the next head stands behind it (`outbox`).
            let until = match heads.peek() {
                Some(next) => match logged_batch(next) {
                    Ok(logged) => self.in_journal(logged)?.unwrap_or(u64::MAX),
                    Err(_) => return Err(damaged.into()),
                },
                None => u64::MAX,
            };
            of_stolen.push((key, until));
        }
        Ok(of_stolen)
    }

    fn in_journal(&self, logged: LoggedDigest) -> Result<Option<u64>, StoreError> {
        self.node.holdings.first(Partition::Node, LOGGED, logged.as_bytes())
    }
}
