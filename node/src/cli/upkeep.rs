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

/// `log`.
#[derive(Debug, Subcommand)]
pub enum Log {
    /// The own log, who witnessed it last, and what is known of partners' logs
    #[command(
        after_help = "Everything that this node does is written to its journal; over it stands a log with one leaf for each \
        interval, that says nothing to others but how long it is. Partners sign its heads, so that nobody, not even this \
        node's operator, can change or date back what it holds. What a partner sends must be in that partner's log: \
        `awaited` is how many of its runs it has still to prove.\n\nExample:\n  entente log show"
    )]
    Show,
    /// Make every leaf again from the journal, and hold every head that was witnessed against it
    #[command(after_help = "Example:\n  entente log verify")]
    Verify,
    /// Write out the newest head of the own log that was witnessed, or the one that was seen of a partner's log
    #[command(
        after_help = "A head is a small text file: how long the log is, and what it holds until then, signed by whoever keeps it. \
        Whoever has one can tell later whether the log went on from it: `entente audit verify FILE --head HEAD`, or \
        `entente log witness HEAD` on a node. An auditor takes one of each visit along, and asks a partner for another.\n\n\
        Example:\n  entente log head -o 2026-Q3.head\n  entente log head car -o car-as-we-saw-it.head"
    )]
    Head {
        /// A partner, whose log this node has witnessed: handle or id
        partner: Option<String>,
        /// Where to write it
        #[arg(short, long, value_name = "FILE")]
        out: PathBuf,
        /// Replace the file if it exists
        #[arg(long)]
        force: bool,
    },
    /// Compare a head of somebody's log that came from elsewhere with what was seen of it
    #[command(
        after_help = "A head is a small text file, such as one from `entente log head` or an evidence package. Two heads of one log that cannot both \
        be true are kept as evidence, and nothing of that log is witnessed any more until `entente log forget`.\n\n\
        Example:\n  entente log witness head.txt"
    )]
    Witness {
        /// The file
        head: PathBuf,
    },
    /// Since when a record of ours is known to exist, and by whom that was witnessed
    #[command(after_help = "Example:\n  entente log prove CAR-2026-0001\n  entente log prove CAR-2026-0001 --json")]
    Prove {
        /// The record: id, its beginning, or evidence number
        record: String,
    },
    /// Begin anew with a partner's log, after people have found out why it contradicted itself
    #[command(after_help = "Example:\n  entente log forget panel")]
    Forget {
        /// Handle or id
        partner: String,
        /// Forget it without asking
        #[arg(long)]
        yes: bool,
    },
    /// Events of the journal, oldest first
    #[command(after_help = "Example:\n  entente log journal\n  entente log journal --after 500 --limit 100 --json")]
    Journal {
        /// Only what came after this event
        #[arg(long, value_name = "NUMBER")]
        after: Option<u64>,
        /// At most so many
        #[arg(long, value_name = "COUNT", default_value_t = 200)]
        limit: u64,
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
