//! Steps of an import: records that become one batch, one signature and one append.
//!
//! A step is written by a thread of its own while the next one is made, and steps are written in the order in which
//! they were cut. At most one waits, so memory is flat whatever the file's size.

use super::import::ImportError;
use crate::{
    node::Node,
    records::{keep, passing},
    seal::keyring::Partition,
    share::files::{self, FileRow, Kept},
    store::StoreError,
    users::Who,
};
use entente_protocol::{
    id::{Hash, LineId, OrgId, RecordId},
    record::Record,
};
use std::{
    collections::{HashMap, VecDeque},
    panic,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{Scope, ScopedJoinHandle},
};

/// Records of one step.
const STEP_RECORDS: usize = 2_500;
/// Steps that wait for the writer.
const WAITING_MAX: usize = 1;

const _: () = assert!(entente_protocol::limits::BATCH_RECORDS_MAX >= STEP_RECORDS, "one step is one batch");

/// What an import made of one thing, by its identity within the collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Imported {
    /// Its line.
    pub line: LineId,
    /// Digest of what it said.
    pub digest: Hash,
    /// Its newest record.
    pub record: RecordId,
}

/// Records and files on their way into one append.
#[derive(Default)]
struct Step {
    records: Vec<keep::New>,
    files: Vec<FileRow>,
}

impl Step {
    fn write(self, node: &Node, who: &Who) -> Result<(), ImportError> {
        let mut txn = node.holdings.begin();
        let mut discarded = Vec::new();
        for file in self.files {
            match files::keep(&mut txn, Partition::Own, &file)? {
                Kept::New => {}
                Kept::Already => discarded.push(file),
                Kept::Instead(before) => discarded.push(before),
            }
        }
        if let Some(batch) = keep::add(node, &mut txn, self.records)? {
            passing::note_importer(&mut txn, batch, who, node.clock.now())?;
        }
        txn.commit()?;
        for file in &discarded {
            files::discard(node, Partition::Own, file)?;
        }
        Ok(())
    }
}

/// The step that is being made, and what is known of those before it.
pub(super) struct Steps<'a> {
    node: &'a Node,
    making: Step,
    /// What the step that is being made speaks of.
    imported: HashMap<[u8; 32], Imported>,
    /// The same of steps that may not be in the store yet, oldest first.
    handed: VecDeque<HashMap<[u8; 32], Imported>>,
    /// Steps that have left `handed`.
    settled: u64,
    /// Steps that are in the store.
    written: &'a AtomicU64,
    /// None where nothing is to be kept.
    out: Option<SyncSender<Step>>,
}

/// The thread that writes.
pub(super) struct Writer<'scope>(Option<ScopedJoinHandle<'scope, Result<(), ImportError>>>);

impl<'a> Steps<'a> {
    /// Begins an import; nothing is kept in a dry run. `written` is zero.
    pub fn begin<'scope>(
        scope: &'scope Scope<'scope, 'a>,
        (node, who): (&'a Node, &'a Who),
        dry_run: bool,
        written: &'a AtomicU64,
    ) -> (Self, Writer<'scope>) {
        let (mut out, mut writer) = (None, None);
        if !dry_run {
            let (to_writer, steps) = sync_channel(WAITING_MAX);
            out = Some(to_writer);
            writer = Some(scope.spawn(move || write_all((node, who), &steps, written)));
        }
        let (imported, handed) = (HashMap::new(), VecDeque::new());
        (Self { node, making: Step::default(), imported, handed, settled: 0, written, out }, Writer(writer))
    }

    /// Whose import it is.
    pub const fn org(&self) -> OrgId {
        self.node.keys.org
    }

    /// The node that imports.
    pub const fn node(&self) -> &'a Node {
        self.node
    }

    /// Whether a step that may not be in the store yet speaks of an identity.
    pub fn is_in_hand(&self, key: &[u8; 32]) -> bool {
        self.imported.contains_key(key) || self.handed.iter().any(|step| step.contains_key(key))
    }

    /// What is known under an identity, with what this import adds.
    pub fn known(&mut self, key: &[u8; 32]) -> Result<Option<Imported>, ImportError> {
        while self.settled < self.written.load(Ordering::Acquire) && self.handed.pop_front().is_some() {
            self.settled += 1;
        }
        // The newest first.
        let steps = std::iter::once(&self.imported).chain(self.handed.iter().rev());
        if let Some(imported) = steps.filter_map(|step| step.get(key)).next() {
            return Ok(Some(*imported));
        }
        let Some((body, row)) = keep::imported(self.node, key)? else { return Ok(None) };
        let digest = row.import.unwrap_or(Hash::from_bytes([0; 32]));
        Ok(Some(Imported { line: body.header().line, digest, record: body.id() }))
    }

    /// Adds a record that was made of a thing.
    pub fn add(&mut self, key: [u8; 32], digest: Hash, record: Record, amends: bool) -> Result<(), ImportError> {
        // An amendment is counted after what it amends, which must be in an append before it.
        if amends && self.imported.contains_key(&key) {
            self.cut()?;
        }
        let line = record.header().line;
        self.imported.insert(key, Imported { line, digest, record: record.id() });
        self.making.records.push(keep::New { record, amends, import: Some((key, digest)) });
        Ok(())
    }

    /// Adds a file that a record of this step speaks of.
    pub fn add_file(&mut self, file: FileRow) {
        self.making.files.push(file);
    }

    /// Hands the step over if it is full.
    pub fn cut_if_full(&mut self) -> Result<(), ImportError> {
        if self.making.records.len() >= STEP_RECORDS { self.cut() } else { Ok(()) }
    }

    /// Hands the step over, whatever is in it.
    pub fn cut(&mut self) -> Result<(), ImportError> {
        let step = std::mem::take(&mut self.making);
        let imported = std::mem::take(&mut self.imported);
        let Some(out) = &self.out else {
            // The files were stored to be looked at; no row speaks of them.
            for file in &step.files {
                files::discard(self.node, Partition::Own, file)?;
            }
            return Ok(());
        };
        if step.records.is_empty() {
            return Ok(());
        }
        self.handed.push_back(imported);
        // The writer is gone only when it failed, and says why when it is waited for.
        out.send(step).map_err(|_| StoreError::Poisoned.into())
    }
}

impl Writer<'_> {
    /// Waits until every step that was handed over is durable. The steps must be dropped first.
    pub fn finish(self) -> Result<(), ImportError> {
        let Some(thread) = self.0 else { return Ok(()) };
        thread.join().unwrap_or_else(|cause| panic::resume_unwind(cause))
    }
}

/// Writes steps until no more come. Ends with the first one that cannot be written: those after it stand on it.
fn write_all((node, who): (&Node, &Who), steps: &Receiver<Step>, written: &AtomicU64) -> Result<(), ImportError> {
    for step in steps {
        step.write(node, who)?;
        written.fetch_add(1, Ordering::Release);
    }
    Ok(())
}
