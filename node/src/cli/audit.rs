//! Commands of auditors: an export of commitments, and what it proves.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `audit`.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Write everything by which releases can be judged, and nothing of what records say, into one signed file
    #[command(
        after_help = "The file holds the journal's events, the log with its heads, every signed run with the ids of records and the \
        numbers of the fields that left, receipts, agreements, the release gate's events and recalls. No value of a field, no \
        file and no person's name but those on cards and agreements. An auditor needs no other role for it.\n\n\
        Example:\n  entente audit export -o 2026-Q3.audit\n  entente audit export -o 2026-Q3.audit --user \"I. Costa\""
    )]
    Export(AuditExport),
    /// Say whether order, completeness, consistency and agreement coverage of an export hold
    #[command(
        after_help = "It needs no home, no node and no network. Exit code 6 if something does not hold. What is open (a run not yet \
        countersigned, an interval not yet witnessed) is told and is no finding. Of each card it is told whether it is one that you \
        gave or known from the file alone; whose maker nobody compared can have been made by anybody. Whether \
        history was made anew since an earlier audit shows only against a head of then: give it with --head.\n\n\
        Example:\n  entente audit verify 2026-Q3.audit --card car.card --keep-head 2026-Q3.head\n  \
        entente audit verify 2026-Q4.audit --card car.card --head 2026-Q3.head --json"
    )]
    Verify(AuditVerify),
    /// The same as a page to print, or as JSON
    #[command(
        after_help = "It needs no home. The page has no script and fetches nothing. Exit code 6 if something does not hold: the page \
        is written all the same.\n\n\
        Example:\n  entente audit report 2026-Q3.audit --card car.card --html 2026-Q3.html\n  entente audit report 2026-Q3.audit --json"
    )]
    Report(AuditReport),
}

/// `audit export`.
#[derive(Debug, Args)]
pub struct AuditExport {
    /// Where to write it
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,
}

/// `audit verify`.
#[derive(Debug, Args)]
pub struct AuditVerify {
    /// The export
    pub file: PathBuf,
    /// The card of an organisation in it, from a source that you trust; may be given for each
    #[arg(long, value_name = "CARDFILE")]
    pub card: Vec<PathBuf>,
    /// Heads from before.
    #[command(flatten)]
    pub heads: Heads,
}

/// Heads of the log from before.
#[derive(Debug, Args)]
pub struct Heads {
    /// A head of this log that you kept from an earlier audit, or got from a witness; may be given several times
    #[arg(long, value_name = "HEADFILE")]
    pub head: Vec<PathBuf>,
    /// Write the last head of the log in it that holds to this new file: keep it for the next audit
    #[arg(long, value_name = "FILE")]
    pub keep_head: Option<PathBuf>,
}

/// `audit report`.
#[derive(Debug, Args)]
pub struct AuditReport {
    /// The export
    pub file: PathBuf,
    /// Where to write the page; with --json it may be left out
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// The card of an organisation in it, from a source that you trust; may be given for each
    #[arg(long, value_name = "CARDFILE")]
    pub card: Vec<PathBuf>,
    /// Heads from before.
    #[command(flatten)]
    pub heads: Heads,
    /// Replace the page if it exists
    #[arg(long)]
    pub force: bool,
}
