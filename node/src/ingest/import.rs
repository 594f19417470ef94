//! Importing a file: rows become drafts, drafts become committed and attested records, all as drafts of the gate.
//!
//! Memory is flat: rows are taken in steps (`step`), and each step is one batch, one signature and one
//! append. Reading, making records and writing go on side by side, each in the file's order.
//! The same file again adds nothing; a corrected row amends exactly what it changed.

mod report;

pub use report::{BadRow, ImportReport};

use super::{
    attach::{AttachError, Attachments},
    carry::{self, Carrier},
    child::{
        ChildFault, Program,
        table::{self, OpenFault, Rows},
    },
    mapping::{MappedRecord, MappedRow, Mapping, MappingError},
    step::Steps,
    table::{RowFault, TableError},
};
use crate::{
    call::{OnProgress, Progress},
    error::Fault as Told,
    node::Node,
    records::{
        keep::{self, KeepError},
        stored::RowDamage,
    },
    regular,
    share::ShareError,
    store::StoreError,
    users::Who,
};
use entente_protocol::{
    id::{Hash, LineId},
    record::{Draft, Reference},
    value::Value,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::AtomicU64,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

/// Rows that are read and mapped before they are handed on together.
const CHUNK_ROWS: usize = 128;
/// Chunks of rows that wait.
const CHUNKS_WAITING_MAX: usize = 4;
/// Faults that are listed; more are counted.
const LISTED_MAX: usize = 1_000;
/// The mapping that is used where none is named: the columns of the sample evidence.
const SAMPLE_MAPPING: &str = include_str!("../../../certs-example/maps/sample.toml");

/// What to import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportOptions {
    /// The file.
    pub path: PathBuf,
    /// The mapping; the sample's columns where absent.
    pub map: Option<PathBuf>,
    /// Folder of photographs and other files.
    pub attachments: Option<PathBuf>,
    /// Whether to say what would happen, and change nothing.
    pub dry_run: bool,
}

/// A file could not be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file as a whole.
    #[error("`{path}`: {fault}")]
    Table {
        /// The file.
        path: String,
        /// What is wrong.
        fault: TableError,
    },
    /// The process in which a file is read: it could not be started, or did not come to the file's end.
    #[error("`{path}`: {fault}")]
    Child {
        /// The file.
        path: String,
        /// What happened.
        fault: ChildFault,
    },
    /// The mapping.
    #[error("`{path}`: {fault}")]
    Mapping {
        /// The mapping file.
        path: String,
        /// What is wrong.
        fault: MappingError,
    },
    /// No mapping was named, and the file is not the sample's.
    #[error("{}", begin(path, have, known))]
    Columns {
        /// The file.
        path: String,
        /// Its columns.
        have: String,
        /// Those of the sample.
        known: String,
    },
    /// A file that was named.
    #[error("`{path}` cannot be read: {cause}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        cause: io::Error,
    },
    /// The folder of attachments.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// Our own store.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// Our own store.
    #[error(transparent)]
    Share(#[from] ShareError),
}

impl ImportError {
    /// Whether the store is at fault, and nobody outside.
    pub const fn is_store(&self) -> bool {
        matches!(self, Self::Keep(_) | Self::Share(_))
    }
}

impl From<ImportError> for Told {
    fn from(error: ImportError) -> Self {
        match &error {
            _ if error.is_store() => Self::store(error),
            ImportError::Child { fault, .. } if fault.is_setup() => Self::setup("reader", error),
            _ => Self::input("import", error),
        }
    }
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        Self::Keep(error.into())
    }
}

impl From<RowDamage> for ImportError {
    fn from(error: RowDamage) -> Self {
        Self::Keep(error.into())
    }
}

/// Which row of this import first spoke of a thing, so that two rows that contradict each other are told
/// apart from a corrected file. Beyond the bound the later row counts as a correction. Of a key, which is a digest, 12 bytes
/// are kept: two of a million are alike with a chance of 2^-57, and then a good row would be reported as a bad one.
#[derive(Default)]
struct Seen(HashMap<[u8; 12], u32>);

impl Seen {
    const MAX: usize = 1_000_000;

    fn note(&mut self, key: &[u8; 32], row: u64) {
        if let Ok(row) = u32::try_from(row)
            && self.0.len() < Self::MAX
        {
            self.0.entry(Self::short(key)).or_insert(row);
        }
    }

    fn first(&self, key: &[u8; 32]) -> Option<u64> {
        self.0.get(&Self::short(key)).map(|row| u64::from(*row))
    }

    fn short(key: &[u8; 32]) -> [u8; 12] {
        key.first_chunk().copied().unwrap_or_default()
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// What whoever brings a table of its own must know to begin.
fn begin(path: &str, have: &str, known: &str) -> String {
    // Office programs of half the world separate cells by semicolons: the file then seems to have one column.
    let semicolons = !have.contains(", ") && have.contains(';');
    let source = if semicolons { "[source]\ndelimiter = \";\"\n" } else { "" };
    let beginning = BEGINNING.replacen("[keys]", &format!("{source}[keys]"), 1);
    format!(
        "`{path}` has other columns than the sample evidence, and no mapping says what they mean. It has: {have}\n\
         Without --map these are expected: {known}\n\
         Write a mapping, a text file that says which column fills which field, and give it with --map. To begin, put \
         your own columns where the dots are:\n\n{beginning}\n\
         certs-example/maps/README.md explains every key; sample.toml, oryx.toml and crime-guns.toml beside it are whole \
         mappings to copy from. Try it with --dry-run: nothing is kept then"
    )
}

/// The least mapping that brings in items.
const BEGINNING: &str = "name = \"my list\"\n[keys]\ncolumns = [\"...\"]\n[default]\neval = { src4 = \"B\", inf4 = 2 }\n\
    [[record]]\nname = \"item\"\nkind = \"item\"\n[record.fields]\nnumber = { column = \"...\" }\n\
    type = { column = \"...\" }\nserial = { column = \"...\", default = \"UNK\" }\n";

fn load_mapping(options: &ImportOptions) -> Result<Mapping, ImportError> {
    let (path, text) = match &options.map {
        None => ("the sample's mapping; name another with --map".to_owned(), SAMPLE_MAPPING.to_owned()),
        Some(path) => {
            let text = regular::text(path, super::mapping::MAPPING_BYTES_MAX as u64);
            (shown(path), text.map_err(|cause| ImportError::Io { path: shown(path), cause })?)
        }
    };
    Mapping::parse(&text).map_err(|fault| ImportError::Mapping { path, fault })
}

/// The mapping, and the rows of a file whose columns it knows.
fn open(reader: &Program, options: &ImportOptions) -> Result<(Mapping, Rows), ImportError> {
    let mapping = load_mapping(options)?;
    let rows = table::open(reader, &options.path, mapping.source()).map_err(|fault| match fault {
        OpenFault::Table(fault) => ImportError::Table { path: shown(&options.path), fault },
        OpenFault::Child(fault) => ImportError::Child { path: shown(&options.path), fault },
    })?;
    match (mapping.check_columns(rows.columns()), &options.map) {
        (Ok(()), _) => Ok((mapping, rows)),
        (Err(MappingError::NoColumn { have, .. }), None) => {
            Err(ImportError::Columns { path: shown(&options.path), have, known: mapping.column_names() })
        }
        (Err(fault), map) => {
            let path = map.as_deref().map_or_else(|| "the sample's mapping".to_owned(), shown);
            Err(ImportError::Mapping { path, fault })
        }
    }
}

/// Reads a file to its end and maps its rows, without a node that would take them: rows, and those left out.
pub fn look(reader: &Program, options: &ImportOptions) -> Result<ImportReport, ImportError> {
    let (mapping, rows) = open(reader, options)?;
    let mut report = ImportReport { has_keys: mapping.has_keys(), dry_run: true, ..ImportReport::default() };
    for row in rows {
        let row = row.map_err(|fault| ImportError::Child { path: shown(&options.path), fault })?;
        report.rows += 1;
        if let Err(fault) = row.and_then(|row| mapping.map(&row)) {
            bad(&mut report, fault.row, fault.column.clone(), fault.cause.to_string());
        }
    }
    Ok(report)
}

/// Imports a file. `who` brings it in.
pub fn import(
    node: &Node,
    options: &ImportOptions,
    who: &Who,
    progress: OnProgress<'_>,
) -> Result<ImportReport, ImportError> {
    let (mapping, mut rows) = open(&node.reader, options)?;
    let mut extent = rows.extent();
    let attachments = options.attachments.as_deref().map(Attachments::open).transpose()?;
    let mut report = ImportReport { has_keys: mapping.has_keys(), dry_run: options.dry_run, ..ImportReport::default() };
    let mut carrier = Carrier::new(attachments, node);
    let written = AtomicU64::new(0);
    // Three threads beside the child that parses: rows are mapped, records are made, steps are written.
    thread::scope(|scope| {
        let (mut steps, writer) = Steps::begin(scope, (node, who), options.dry_run, &written);
        let (out, chunks) = sync_channel(CHUNKS_WAITING_MAX);
        let mapping = &mapping;
        scope.spawn(move || map_all(rows, mapping, &out));
        let mut tell = |rows| progress(Progress { done: rows, total: extent.rows(rows) });
        let taken = take_all(mapping, chunks, &mut steps, &mut carrier, &mut report, &mut tell);
        // What was read well is kept, whatever ended the reading: the same file, mended, adds only the rest.
        let cut = steps.cut();
        drop(steps);
        writer.finish()?;
        cut?;
        taken.map_err(|stopped| match stopped {
            Stopped::Child(fault) => ImportError::Child { path: shown(&options.path), fault },
            Stopped::Import(error) => error,
        })
    })?;
    carrier.finish(&mut report);
    progress(Progress { done: report.rows, total: Some(report.rows) });
    node.wake();
    Ok(report)
}

/// What a row stands for, or why it stands for nothing.
type Mapped = Result<MappedRow, RowFault>;

/// Why no more rows are taken.
enum Stopped {
    Child(ChildFault),
    Import(ImportError),
}

/// Reads and maps rows until there are no more, or nobody takes them.
fn map_all(rows: Rows, mapping: &Mapping, out: &SyncSender<Result<Vec<Mapped>, ChildFault>>) {
    let mut chunk = Vec::with_capacity(CHUNK_ROWS);
    for row in rows {
        match row {
            Ok(row) => chunk.push(row.and_then(|row| mapping.map(&row))),
            Err(fault) => {
                let _ = out.send(Ok(chunk)).and_then(|()| out.send(Err(fault)));
                return;
            }
        }
        if chunk.len() == CHUNK_ROWS
            && out.send(Ok(std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK_ROWS)))).is_err()
        {
            return;
        }
    }
    let _ = out.send(Ok(chunk));
}

/// Makes records of rows.
fn take_all(
    mapping: &Mapping,
    chunks: Receiver<Result<Vec<Mapped>, ChildFault>>,
    steps: &mut Steps<'_>,
    carrier: &mut Carrier,
    report: &mut ImportReport,
    tell: &mut dyn FnMut(u64),
) -> Result<(), Stopped> {
    let mut seen = Seen::default();
    for chunk in chunks {
        for row in chunk.map_err(Stopped::Child)? {
            report.rows += 1;
            match row {
                Err(fault) => bad(report, fault.row, fault.column.clone(), fault.cause.to_string()),
                Ok(mapped) => {
                    take(mapping, mapped, steps, &mut seen, carrier, report).map_err(Stopped::Import)?;
                }
            }
            steps.cut_if_full().map_err(Stopped::Import)?;
            if report.rows.is_multiple_of(500) {
                tell(report.rows);
            }
        }
    }
    Ok(())
}

fn bad(report: &mut ImportReport, row: u64, column: Option<String>, why: String) {
    report.bad_rows += 1;
    if report.bad.len() < LISTED_MAX {
        report.bad.push(BadRow::new(row, column, why));
    }
}

/// A record of one row, decided but not yet committed.
struct Planned {
    key: [u8; 32],
    digest: Hash,
    draft: Option<Draft>,
    line: LineId,
    amends: bool,
    number: String,
}

/// Takes one row whole, or leaves it out whole.
fn take(
    mapping: &Mapping,
    mut row: MappedRow,
    steps: &mut Steps<'_>,
    seen: &mut Seen,
    carrier: &mut Carrier,
    report: &mut ImportReport,
) -> Result<(), ImportError> {
    let mut lines: BTreeMap<Arc<str>, LineId> = BTreeMap::new();
    let mut planned = Vec::with_capacity(row.records.len());
    for record in &mut row.records {
        match plan(mapping, record, steps, &lines)? {
            Ok(plan) => {
                let first = seen.first(&plan.key).filter(|_| plan.amends);
                if let Some(first) = first {
                    let why = format!("row {first} of this file says otherwise of the same `{}`", record.name);
                    bad(report, row.number, None, why);
                    return Ok(());
                }
                lines.insert(Arc::clone(&record.name), plan.line);
                planned.push(plan);
            }
            Err((field, why)) => {
                bad(report, row.number, field, why);
                return Ok(());
            }
        }
    }
    let mut committed = Vec::with_capacity(planned.len());
    for plan in &mut planned {
        if let Some(draft) = plan.draft.take() {
            match keep::commit(draft) {
                Ok(record) => committed.push(Some(record)),
                Err(KeepError::Draft { fault, .. }) => {
                    bad(report, row.number, None, fault.to_string());
                    return Ok(());
                }
                Err(other) => return Err(other.into()),
            }
        } else {
            committed.push(None);
        }
    }
    for plan in &planned {
        seen.note(&plan.key, row.number);
    }
    let changed = committed.iter().any(Option::is_some);
    report.repeated_rows += u64::from(!changed);
    for (plan, record) in planned.iter().zip(committed) {
        match record {
            None => report.unchanged += 1,
            Some(record) => {
                if plan.amends {
                    report.amended += 1;
                } else {
                    report.added += 1;
                }
                steps.add(plan.key, plan.digest, record, plan.amends)?;
            }
        }
    }
    for (plan, record) in planned.iter().zip(&row.records) {
        if !record.photos.is_empty() {
            let to = carry::Owner { key: plan.key, line: plan.line, number: &plan.number, floor: mapping.floor() };
            carrier.carry(steps, &to, &record.photos, report)?;
        }
    }
    Ok(())
}

type Fault = (Option<String>, String);

/// What to do about one record: nothing, a new line, or an amendment.
fn plan(
    mapping: &Mapping,
    record: &mut MappedRecord,
    steps: &mut Steps<'_>,
    lines: &BTreeMap<Arc<str>, LineId>,
) -> Result<Result<Planned, Fault>, ImportError> {
    let key = *record.key.as_bytes();
    let digest = Hash::from_bytes(record.digest);
    let known = steps.known(&key)?;
    let own = steps.org();
    if let Some(known) = known.filter(|k| k.digest == digest) {
        let number = record.number.clone();
        return Ok(Ok(Planned { key, digest: known.digest, draft: None, line: known.line, amends: false, number }));
    }
    let line = match known {
        Some(known) => known.line,
        None => keep::new_line().map_err(KeepError::from)?,
    };
    let mut draft = Draft::new(record.kind, own, line, mapping.floor().clone());
    for (slot, value) in std::mem::take(&mut record.fields) {
        if let Err(fault) = draft.set_number(slot, value) {
            let field = record.kind.slot_number(slot).map(|s| s.name.to_owned());
            return Ok(Err((field, fault.to_string())));
        }
    }
    for (slot, target) in &record.links {
        let Some(target) = lines.get(target) else { continue };
        let reference = Reference { originator: own, line: *target };
        if let Err(fault) = draft.set_number(*slot, reference.to_value()) {
            return Ok(Err((None, fault.to_string())));
        }
    }
    if let Some(known) = known {
        let before = Value::Bytes(known.record.as_bytes().to_vec());
        if let Err(fault) = draft.set("supersedes", before) {
            return Ok(Err((None, fault.to_string())));
        }
    }
    Ok(Ok(Planned { key, digest, draft: Some(draft), line, amends: known.is_some(), number: record.number.clone() }))
}
