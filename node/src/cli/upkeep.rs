//! Commands by which a node is kept in order: its own rules, its clock, its keys.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `redline`.
#[derive(Debug, Subcommand)]
pub enum Redline {
    /// Check a file or folder of red lines; nothing is kept
    #[command(
        after_help = "A red line forbids, and wins over every clause of every agreement. It holds once the settings name its \
        file or folder (`red-lines = \"redlines\"` in entente.toml) and the node was started again; what was sent and is \
        now forbidden is then withdrawn. A partner is named by its handle or, better, by its id.\n\n\
        Example:\n  entente redline check redlines/persons.toml\n\n\
        A file:\n  [[red-line]]\n  name = \"no natural persons\"\n  kinds = [\"party\"]\n  \
        when = 'resource.ptype == \"person\"'"
    )]
    Check {
        /// The file, or a folder of files that end in .toml
        file: PathBuf,
    },
    /// The red lines that hold
    #[command(after_help = "Example:\n  entente redline list")]
    List,
}

/// `clock`.
#[derive(Debug, Subcommand)]
pub enum Clock {
    /// What this machine's clock shows, what partners have confirmed, and whether decisions go by it
    #[command(
        after_help = "Partners sign the time in runs and receipts. A clock more than an hour behind the latest of them \
        decides nothing until it is mended, so that no agreement that has expired counts again.\n\n\
        Example:\n  entente clock show"
    )]
    Show,
    /// Say that a later time, which this clock once showed, was wrong
    #[command(
        after_help = "A clock that jumped ahead and was set right looks like one that was set back: nothing is released \
        until a person says which it is. Compare with another clock first. What a partner has signed is never lowered. \
        It is written to the journal.\n\nExample:\n  entente clock lower --to now\n  \
        entente clock lower --to 2026-11-28T09:00:00Z --yes"
    )]
    Lower {
        /// The right time: `now`, a day, or a time in UTC such as 2026-11-28T09:00:00Z
        #[arg(long, value_name = "TIME")]
        to: String,
        /// Lower it without asking
        #[arg(long)]
        yes: bool,
    },
}

/// `recover`.
#[derive(Debug, Args)]
pub struct Recover {
    /// The recovery file, from where it is locked away
    #[arg(long, value_name = "FILE")]
    pub recovery_file: PathBuf,
    /// The passphrase of the recovery file, in the first line of this file; without it, it is asked for
    #[arg(long, value_name = "FILE", env = "ENTENTE_RECOVERY_PASSPHRASE_FILE", hide_env_values = true)]
    pub recovery_passphrase_file: Option<PathBuf>,
    /// Say whether it would work, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}
