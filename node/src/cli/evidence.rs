//! Commands about evidence: bringing it in, passing it, finding it, proving it.

use clap::{ArgAction, Args, Subcommand, ValueEnum, builder::PossibleValuesParser};
use entente_protocol::record::kind::Kind;
use std::path::PathBuf;

/// `import`.
#[derive(Debug, Args)]
pub struct Import {
    /// The table: CSV, XLSX, JSON or XML
    pub file: PathBuf,
    /// How columns become fields; without one, the usual column names are known
    #[arg(long, value_name = "MAP.toml")]
    pub map: Option<PathBuf>,
    /// Folder of the files that the table names
    #[arg(long, value_name = "DIR")]
    pub attachments: Option<PathBuf>,
    /// Say what would be imported, and keep nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Conditions that name records by what they say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Which records")]
pub struct Filter {
    /// A serial, in any spelling
    #[arg(long, value_name = "S")]
    pub serial: Option<String>,
    /// Kind of record
    #[arg(long, value_name = "K", value_parser = PossibleValuesParser::new(Kind::ALL.map(Kind::name)))]
    pub kind: Option<String>,
    /// Country of place, making, transfer or party: two letters
    #[arg(long, value_name = "C")]
    pub country: Option<String>,
    /// First day, month or year
    #[arg(long, value_name = "D")]
    pub from: Option<String>,
    /// Last day, month or year
    #[arg(long, value_name = "D")]
    pub until: Option<String>,
    /// Evidence number
    #[arg(long, value_name = "N")]
    pub number: Option<String>,
}

/// `review`.
#[derive(Debug, Args)]
pub struct Review {
    /// Ids, their first eight digits or more, or evidence numbers
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// What was found
    #[arg(long, required_unless_present = "stage", conflicts_with = "stage")]
    pub state: Option<ReviewState>,
    /// The stage of the review that was passed, where the settings name stages
    #[arg(long, value_name = "STAGE")]
    pub stage: Option<String>,
    /// Every draft
    #[arg(long)]
    pub all_drafts: bool,
    /// Or those that a query finds.
    #[command(flatten)]
    pub filter: Filter,
}

/// What a review found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReviewState {
    /// Somebody has looked at it
    Reviewed,
    /// Somebody has verified it against the evidence
    Verified,
    /// Shown to be wrong: never released, and withdrawn where it was
    Refuted,
}

/// `release`.
#[derive(Debug, Args)]
pub struct Release {
    /// Ids, their first eight digits or more, or evidence numbers
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// Every record that a review has passed and that was not released yet
    #[arg(long)]
    pub all_reviewed: bool,
    /// Or those that a query finds.
    #[command(flatten)]
    pub filter: Filter,
}

/// `search`.
#[derive(Debug, Args)]
pub struct Search {
    /// Conditions; every one given must hold.
    #[command(flatten)]
    pub filter: Filter,
    /// Where it stands
    #[arg(long, value_name = "S", value_parser = ["draft", "reviewed", "verified", "refuted", "recalled", "received", "withdrawn", "expired", "erased"])]
    pub state: Option<String>,
    /// Only records that this organisation recorded
    #[arg(long, conflicts_with = "received", action = ArgAction::SetTrue)]
    pub own: bool,
    /// Only records received from partners
    #[arg(long)]
    pub received: bool,
    /// At most so many [default: 1000]
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

/// `record`.
#[derive(Debug, Subcommand)]
pub enum Record {
    /// Every field that is held, and what happened to it
    #[command(after_help = "Example:\n  entente record show CAR-2026-0001")]
    Show {
        /// Id, its first eight digits or more, or evidence number
        id: String,
    },
    /// Prove it: its fields, who recorded it, who released it, and whether it was withdrawn
    #[command(after_help = "Exit code 6 if it does not verify.\n\nExample:\n  entente record verify CAR-2026-0001")]
    Verify {
        /// Id, its first eight digits or more, or evidence number
        id: String,
    },
    /// What happened to it, step by step: who did it, and whether their signature holds
    #[command(
        after_help = "Collected, brought in, attested, reviewed, verified, released, received, amended, disputed, recalled: each step \
        in order, with the organisation or person who took it. What cannot be checked is said to be so.\n\n\
        Example:\n  entente record history CAR-2026-0001"
    )]
    History {
        /// Id, its first eight digits or more, or evidence number
        id: String,
    },
    /// Write out the file of a record of kind `attachment`, verified on the way
    #[command(after_help = "Example:\n  entente record attachment 3f9a01c2 -o photo.jpg")]
    Attachment {
        /// Id, its first eight digits or more, or evidence number
        id: String,
        /// A new file
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
}

/// `explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// Id, its first eight digits or more, or evidence number
    pub record: String,
    /// The partner: handle, id or its beginning
    #[arg(long, value_name = "PARTNER", required_unless_present = "from")]
    pub to: Option<String>,
    /// The partner who recorded it, for a record that was received: what of it is here, and why the rest is not
    #[arg(long, value_name = "PARTNER", conflicts_with = "to")]
    pub from: Option<String>,
}
