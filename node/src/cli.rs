//! The command line as people type it: names, flags, help and examples, and the environment beside them.
//!
//! `main` parses with [`Cli::parse_from_args`]; `commands` carries out. Nothing here opens a file, a store or a
//! socket, and no secret is ever an argument: arguments stand in process lists and shell histories.

use clap::{
    ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, builder::PossibleValuesParser,
    parser::ValueSource,
};
use entente_protocol::record::kind::Kind;
use std::{ffi::OsString, path::PathBuf};

const LIFE: &str = "\
The life of a record:
  bring in      import        a table of evidence and its photographs become drafts
  pass          review        somebody has looked at it, verified it, or shown it to be wrong
                release       a person lets it go; only then may an agreement send it
  agree         partner       exchange cards, compare twelve words by voice
                agreement     draft, check, sign: what may go to whom
                redline       what never leaves, whatever was signed
                explain       which fields of a record would leave to a partner, and why
  exchange      run           serve partners until stopped
                sync          one round now
                status        partners, feeds, what waits
                clock         what is known about the time, where nothing is decided for it
                recover       another passphrase, when it or the keyring is lost
  keep          check         is everything that is stored still what was written
  find, prove   search        own and received records
                record        show, verify, write out a file

Make a home first (`entente init`), or look on first (`entente demo`).
Every command answers a program too: add --json.

Exit codes: 0 done; 1 unexpected; 2 input; 3 settings or home; 4 partner or the way to it; 5 store;
6 a record that does not verify.";

/// What was typed.
#[derive(Debug, Parser)]
#[command(
    name = "entente",
    version,
    about = "Evidence on diverted weapons, shared by agreement and by nothing else",
    after_help = LIFE,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// Flags that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Folder of the node
    #[arg(long, global = true, value_name = "DIR", env = "ENTENTE_HOME", hide_env_values = true)]
    pub home: Option<PathBuf>,
    /// Answer in JSON: listings as an array of objects with `id`, single things as an object
    #[arg(long, global = true)]
    pub json: bool,
    /// Unlock with this identity file; the settings may name one
    #[arg(long, global = true, value_name = "FILE")]
    pub identity_file: Option<PathBuf>,
    /// Unlock with the passphrase in the first line of this file; without one, it is asked for
    #[arg(long, global = true, value_name = "FILE", env = "ENTENTE_PASSPHRASE_FILE", hide_env_values = true)]
    pub passphrase_file: Option<PathBuf>,
    /// What to log to the standard error: error, warn, info, debug or trace [default: warn; for `run`: info]
    #[arg(long, global = true, value_name = "LEVEL", env = "ENTENTE_LOG", hide_env_values = true)]
    pub log: Option<String>,
    /// Whether `--home` was typed, and does not come from the environment.
    #[arg(skip)]
    pub home_typed: bool,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a home: keys, card, settings and an empty store
    #[command(after_help = "Example:\n  entente init --home ~/node --name \"Field Office\" --handle field \\\n      \
        --listen 0.0.0.0:4433 --advertise node.field.example:4433")]
    Init(Init),
    /// The organisation's identity, and its card for partners
    #[command(subcommand, after_help = "Example:\n  entente identity card -o field.card")]
    Identity(Identity),
    /// Partners: add one by its card, suspend, resume, remove
    #[command(subcommand, after_help = "Example:\n  entente partner add panel.card")]
    Partner(Partner),
    /// Agreements: what may go to whom
    #[command(
        subcommand,
        after_help = "Example:\n  entente agreement check panel.toml\n  entente agreement sign panel.toml -o panel.signed"
    )]
    Agreement(Agreement),
    /// Own red lines: what this organisation never does, whatever it signed
    #[command(subcommand, after_help = "Example:\n  entente redline check redlines/persons.toml")]
    Redline(Redline),
    /// Bring in a table of evidence with its photographs, as drafts
    #[command(
        after_help = "Rows that are refused are named with line and column; the others are kept. What is here already \
        is not imported twice.\n\nExample:\n  entente import mission.csv --attachments photos/ --dry-run\n  \
        entente import mission.csv --attachments photos/"
    )]
    Import(Import),
    /// Say that records were reviewed, verified or refuted
    #[command(
        after_help = "Records are named by id, by its first eight digits or by evidence number; or all at once.\n\n\
        Example:\n  entente review CAR-2026-0001 CAR-2026-0002 --state verified\n  \
        entente review --all-drafts --state reviewed\n  entente review --kind item --country CF --state reviewed"
    )]
    Review(Review),
    /// Release records: from here on agreements in force may send them
    #[command(after_help = "Example:\n  entente release CAR-2026-0001\n  entente release --all-reviewed\n  \
        entente release --kind item --from 2026-01 --until 2026-03")]
    Release(Release),
    /// Find records, own and received
    #[command(after_help = "A serial is found in any spelling. Dates are days, months or years.\n\n\
        Example:\n  entente search --serial \"56 1234-567\"\n  entente search --kind item --country CF --from 2026-01 --received")]
    Search(Search),
    /// One record: show it, prove it, write out its file
    #[command(subcommand, after_help = "Example:\n  entente record verify CAR-2026-0001")]
    Record(Record),
    /// Say which fields of a record would leave to a partner, under which clause, and why others stay
    #[command(after_help = "Example:\n  entente explain CAR-2026-0001 --to panel")]
    Explain(Explain),
    /// The time: what is known about it, and what to do where it is in doubt
    #[command(subcommand, after_help = "Example:\n  entente clock show")]
    Clock(Clock),
    /// Serve partners until stopped
    #[command(
        after_help = "Commands reach a running node by themselves: nothing else is needed than the same --home.\n\n\
        Example:\n  ENTENTE_PASSPHRASE_FILE=/etc/entente/passphrase entente run --home /var/lib/entente"
    )]
    Run,
    /// Give a home another passphrase or identity file, with its recovery file
    #[command(
        after_help = "For the day on which the passphrase, the identity file or keys/keyring.age is lost. The new secret is \
        asked for twice, or named with --passphrase-file or --identity-file (a new file). Organisation, keys, agreements \
        and records stay what they are. Stop the node first; nothing is changed before everything could be opened.\n\n\
        Example:\n  entente recover --recovery-file /media/safe/recovery.age --dry-run\n  \
        entente recover --recovery-file /media/safe/recovery.age"
    )]
    Recover(Recover),
    /// Exchange with one partner or all, once, now
    #[command(after_help = "Example:\n  entente sync panel")]
    Sync(Sync),
    /// Where the node stands: partners, feeds, what waits, sizes
    #[command(after_help = "Example:\n  entente status")]
    Status,
    /// Whether everything that is stored is still what was written
    #[command(
        after_help = "Reads everything: the order of all appends, every row, every record's proof, every feed, the \
        journal, every file. Names what is missing or damaged, and what to do. Exit code 5 if anything is.\n\n\
        Example:\n  entente check\n  entente check --sweep"
    )]
    Check(Check),
    /// Ask the running node to stop
    #[command(after_help = "Example:\n  entente stop")]
    Stop,
    /// A small federation on this machine: organisations, agreements and sample evidence
    #[command(
        after_help = "Without --home everything is made in a new temporary folder, which --once removes at the end. \
        ENTENTE_HOME is not used: a demo never touches a real home.\n\n\
        Example:\n  entente demo --once"
    )]
    Demo(Demo),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  entente completions bash > /etc/bash_completion.d/entente")]
    Completions(Completions),
    /// Print the manual page, or write one page for each command
    #[command(after_help = "Example:\n  entente man -o /usr/local/share/man/man1")]
    Man(Man),
}

/// `init`.
#[derive(Debug, Args)]
pub struct Init {
    /// The organisation's name, as partners will read it
    #[arg(long)]
    pub name: String,
    /// Its short name: a to z, 0 to 9 and -
    #[arg(long)]
    pub handle: String,
    /// Where to listen for partners, such as 0.0.0.0:4433
    #[arg(long, value_name = "ADDR")]
    pub listen: String,
    /// Where partners reach this node, such as node.field.example:4433; the listening address if absent
    #[arg(long, value_name = "ADDR")]
    pub advertise: Vec<String>,
    /// Storage engine, for good; `sled` needs a build that has it, and OPERATING.md says why not to take it
    #[arg(long, value_name = "E", default_value = "fjall", value_parser = crate::store::open::ENGINES)]
    pub engine: String,
}

/// `identity`.
#[derive(Debug, Subcommand)]
pub enum Identity {
    /// Name, id, addresses and the twelve words of the own card
    #[command(after_help = "Example:\n  entente identity show")]
    Show,
    /// The own card, to be sent to partners
    #[command(
        after_help = "The words are read out to the partner over the phone; they prove that the card was not changed on \
        its way. A card whose addresses or names the settings no longer say is made anew, with a higher number and other \
        words; partners who are connected get it by themselves.\n\nExample:\n  entente identity card -o field.card"
    )]
    Card {
        /// Write it to this file
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Renew the node's certificate now
    #[command(
        after_help = "A node does it by itself when less than 30 of its 90 days are left. Its key stays the same: partners \
        need no new card.\n\nExample:\n  entente identity renew"
    )]
    Renew,
}

/// `partner`.
#[derive(Debug, Subcommand)]
pub enum Partner {
    /// Add a partner by its card, or take a newer card of one
    #[command(
        after_help = "Call the partner at a number you know, let it read out its twelve words, and compare. Nothing is \
        trusted before.\n\nExample:\n  entente partner add panel.card\n  \
        entente partner add panel.card --confirm \"word word word word word word word word word word word word\""
    )]
    Add {
        /// The card
        file: PathBuf,
        /// The twelve words as the partner read them out; without them, they are shown and asked about
        #[arg(long, value_name = "WORDS")]
        confirm: Option<String>,
    },
    /// Every partner
    #[command(after_help = "Example:\n  entente partner list --json")]
    List,
    /// One partner
    #[command(after_help = "Example:\n  entente partner show panel")]
    Show {
        /// Handle, id or its beginning
        partner: String,
    },
    /// Release nothing more to a partner; recalls and receipts go on
    #[command(after_help = "Example:\n  entente partner suspend panel")]
    Suspend {
        /// Handle, id or its beginning
        partner: String,
    },
    /// Take up sharing again with a partner that was suspended
    #[command(after_help = "A partner that was removed needs its twelve words again: `entente partner add CARD`.\n\n\
        Example:\n  entente partner resume panel")]
    Resume {
        /// Handle, id or its beginning
        partner: String,
    },
    /// Close every connection with a partner; not even recalls reach it then
    #[command(after_help = "Example:\n  entente partner remove panel")]
    Remove {
        /// Handle, id or its beginning
        partner: String,
    },
}

/// `agreement`.
#[derive(Debug, Subcommand)]
pub enum Agreement {
    /// Check an agreement file; nothing is kept
    #[command(after_help = "Example:\n  entente agreement check panel.toml")]
    Check {
        /// Text, or signed so far
        file: PathBuf,
    },
    /// Sign an agreement: its exact text is shown first
    #[command(
        after_help = "Send the signed file to the other parties. The first-named party's signature is added last, by its \
        node, once the others have signed.\n\nExample:\n  entente agreement sign panel.toml -o panel.signed"
    )]
    Sign {
        /// Text, or signed so far
        file: PathBuf,
        /// Where to write the signed file [default: beside the file, ending in .signed]
        #[arg(short, long, value_name = "OUT")]
        output: Option<PathBuf>,
        /// Sign without asking
        #[arg(long)]
        yes: bool,
    },
    /// Take a signed file from another party; this signs nothing
    #[command(after_help = "Example:\n  entente agreement add panel.signed")]
    Add {
        /// The signed file
        file: PathBuf,
    },
    /// Every agreement
    #[command(after_help = "Example:\n  entente agreement list")]
    List,
    /// One agreement: the text that people sign, and who has signed
    #[command(after_help = "Example:\n  entente agreement show 3f9a01")]
    Show {
        /// Id or its first six digits or more
        agreement: String,
    },
    /// Sign a proposal that a partner's node sent: its exact text is shown first
    #[command(after_help = "Example:\n  entente agreement accept 3f9a01")]
    Accept {
        /// Id or its first six digits or more
        agreement: String,
        /// Sign without asking
        #[arg(long)]
        yes: bool,
    },
    /// Stop releases under an agreement until it is resumed
    #[command(after_help = "Example:\n  entente agreement suspend 3f9a01")]
    Suspend {
        /// Id or its first six digits or more
        agreement: String,
    },
    /// Take up an agreement again
    #[command(after_help = "Example:\n  entente agreement resume 3f9a01")]
    Resume {
        /// Id or its first six digits or more
        agreement: String,
    },
    /// End an agreement, for good
    #[command(after_help = "Example:\n  entente agreement end 3f9a01")]
    End {
        /// Id or its first six digits or more
        agreement: String,
        /// End it without asking
        #[arg(long)]
        yes: bool,
    },
}

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
    #[arg(long)]
    pub state: ReviewState,
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
    #[arg(long, value_name = "S", value_parser = ["draft", "reviewed", "verified", "refuted", "received", "withdrawn"])]
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
    #[arg(long, value_name = "PARTNER")]
    pub to: String,
}

/// `sync`.
#[derive(Debug, Args)]
pub struct Sync {
    /// Handle, id or its beginning; all partners if absent
    pub partner: Option<String>,
}

/// `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Remove files that no record speaks of; only while the node does not run
    #[arg(long)]
    pub sweep: bool,
}

/// `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Exchange, show, and end; without it the nodes go on until stopped
    #[arg(long)]
    pub once: bool,
    /// Import this table instead of the sample evidence
    #[arg(long, value_name = "FILE")]
    pub evidence: Option<PathBuf>,
}

/// `completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// `man`.
#[derive(Debug, Args)]
pub struct Man {
    /// Write a page for each command into this folder
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

impl Cli {
    /// Parses what was typed. The first argument is the program's name.
    pub fn parse_from_args(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches_from(args)?;
        let mut cli = Self::from_arg_matches(&matches)?;
        cli.global.home_typed = matches.value_source("home") == Some(ValueSource::CommandLine);
        Ok(cli)
    }
}

/// Whether the user has asked for no colours (<https://no-color.org>: set and not empty).
pub fn no_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Where the system keeps temporary folders.
pub fn temporary_folder() -> PathBuf {
    std::env::temp_dir()
}

mod upkeep;
pub use upkeep::{Clock, Recover, Redline};

#[cfg(test)]
mod tests;
