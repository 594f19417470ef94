//! Commands about evidence packages: making one, and verifying one that somebody brought.

use clap::Args;
use std::path::PathBuf;

/// `package`.
#[derive(Debug, Args)]
pub struct Package {
    /// Ids, their first eight digits or more, or evidence numbers
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<String>,
    /// Where to write it
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Show these fields only, where a record has them; see `entente kinds`
    #[arg(long, value_name = "FIELDS", value_delimiter = ',', conflicts_with = "as_partner")]
    pub fields: Vec<String>,
    /// Show what this partner would be given under the rules in force: handle, id or its beginning
    #[arg(long = "as", value_name = "PARTNER")]
    pub as_partner: Option<String>,
    /// Leave photographs and other files out
    #[arg(long)]
    pub no_files: bool,
    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,
}

/// `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The package
    pub file: PathBuf,
    /// The card of an organisation in it, from a source that you trust; may be given for each
    #[arg(long, value_name = "CARDFILE")]
    pub card: Vec<PathBuf>,
}
