//! The command line as people type it: names, flags, help and examples, and the environment beside them.
//!
//! `main` parses with [`Cli::parse_from_args`]; `commands` carries out. Nothing here opens a file, a store or a
//! socket, and no secret is ever an argument: arguments stand in process lists and shell histories.

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, parser::ValueSource};
use std::{ffi::OsString, path::PathBuf};

const LIFE: &str = "\
The life of a record:
  bring in      import        a table of evidence and its photographs become drafts
  pass          review        somebody has looked at it, verified it, or shown it to be wrong
                release       a person lets it go; only then may an agreement send it
  agree         partner       exchange cards, compare twelve words by voice
                agreement     draft, check, sign: what may go to whom
                redline       what never leaves, whatever was signed
                kinds         what can be recorded: kinds, fields, what each tells
                explain       which fields of a record go to a partner, or came from it, and why
  exchange      run           serve partners until stopped
                sync          one round now
                bundle        the same without a network: a sealed file for a stick, or one way
                status        partners, feeds, what waits
                clock         what is known about the time, where nothing is decided for it
                key           rotate and revoke keys, and what follows for what they signed
                recover       another passphrase, when it or the keyring is lost
  people        user          who works here, with which role; each signs with an own key
  take back     recall        ask records back from whoever holds them, and see who has done it
                hold          what a court does not let go: not deleted, whoever asks for it
  keep          check         is everything that is stored still what was written
                backup        all of it on another disk, while the node runs
                restore       put that back, when the disk is lost
                doctor        what is well, what is not, what to do
  find, prove   search        own and received records
                record        show, verify, history, write out a file
                package       evidence with its proofs, in one file for whoever has no node
                verify        what such a file proves, by whom, since when; needs no home
                log           since when a record is known to exist; partners witness it
  be judged     audit         whether all that left was allowed: a file for an auditor, who sees no evidence

Make a home first (`entente init`), or look on first (`entente demo`).
Every command answers a program too: add --json.

Exit codes: 0 done; 1 unexpected; 2 input; 3 settings or home; 4 partner or the way to it; 5 store;
6 a record that does not verify, a property that is not proved.";

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
    /// Who you are, where the organisation has persons (`entente user`)
    #[arg(long, global = true, value_name = "NAME", env = "ENTENTE_USER", hide_env_values = true)]
    pub user: Option<String>,
    /// Your own passphrase, in the first line of this file; without one, it is asked for
    #[arg(long, global = true, value_name = "FILE", env = "ENTENTE_USER_PASSPHRASE_FILE", hide_env_values = true)]
    pub user_passphrase_file: Option<PathBuf>,
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
    #[command(
        after_help = "The home and its recovery file are opened by two secrets, and init asks for both: what is lost or \
        stolen with the one must not be lost or stolen with the other. A script names two files.\n\n\
        Example:\n  entente init --home ~/node --name \"Field Office\" --handle field \\\n      \
        --listen 0.0.0.0:4433 --advertise node.field.example:4433\n  \
        entente init --home ~/node --name \"Field Office\" --handle field --listen 0.0.0.0:4433 \\\n      \
        --passphrase-file pass --recovery-passphrase-file recovery-pass"
    )]
    Init(Init),
    /// The organisation's identity, and its card for partners
    #[command(subcommand, after_help = "Example:\n  entente identity card -o field.card")]
    Identity(Identity),
    /// Keys over time: list, rotate, revoke; attest anew what a lost key made suspect
    #[command(subcommand, after_help = "Example:\n  entente key list\n  entente key rotate records --dry-run")]
    Key(Key),
    /// The keys under which everything is stored: give partitions new ones
    #[command(subcommand, after_help = "Example:\n  entente keyring rotate --dry-run")]
    Keyring(Keyring),
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
        entente release --kind event --from 2026-01 --until 2026-03")]
    Release(Release),
    /// Find records, own and received
    #[command(after_help = "A serial is found in any spelling. Dates are days, months or years.\n\n\
        Example:\n  entente search --serial \"56 1234-567\"\n  entente search --kind event --country CF --from 2026-01 --received")]
    Search(Search),
    /// One record: show it, prove it, write out its file
    #[command(subcommand, after_help = "Example:\n  entente record verify CAR-2026-0001")]
    Record(Record),
    /// Put records with everything that proves them into one file, for whoever has no node: a court, an auditor
    #[command(
        after_help = "Each record goes with what proves who recorded it, through whose hands it went and where it stands now; \
        its photographs go with it. Own records must have been released; they can be shown in part, and the part is proved like \
        the whole. Whoever gets the file checks it with `entente verify`; it is not sealed, so it goes by a safe way.\n\n\
        Example:\n  entente package CAR-2026-0001 CAR-2026-0002 -o case-12.zip\n  \
        entente package CAR-2026-0001 --fields number,type,make,serial --no-files -o serial.zip\n  \
        entente package CAR-2026-0001 --as panel -o as-panel-sees-it.zip"
    )]
    Package(Package),
    /// Say what an evidence package proves, by whom and since when, and what it does not prove
    #[command(
        after_help = "It needs no home, no node and no network; nothing is unpacked. Whatever was changed in the file is named. \
        Cards in the package prove only that they belong together: compare the twelve words with each organisation, or give \
        the card that you have from it. Exit code 6 if a record does not hold or was taken back.\n\n\
        Example:\n  entente verify case-12.zip\n  entente verify case-12.zip --card car.card --json"
    )]
    Verify(Verify),
    /// Say which fields of a record would leave to a partner, under which clause, and why others stay
    #[command(
        after_help = "Example:\n  entente explain CAR-2026-0001 --to panel     what of ours would leave to it\n  entente explain EP-2026-0001 --from panel    what of theirs is here, and why the rest is not"
    )]
    Explain(Explain),
    /// What can be recorded and named in agreements: kinds of records, and the fields of one
    #[command(
        after_help = "It needs no home.\n\nExample:\n  entente kinds\n  entente kinds event\n  entente kinds item --json"
    )]
    Kinds(Kinds),
    /// Ask records back from whoever holds them, and see who has done it
    #[command(
        subcommand,
        after_help = "Example:\n  entente recall propose CAR-2026-0001 --act withdraw --reason \"serial misread\" --by \"A. Diallo\"\n  \
        entente recall confirm 1 --by \"M. Osei\"\n  entente recall status 1"
    )]
    Recall(Recall),
    /// Pass on what others recorded: ask for grants, answer, and see who holds what by whose hand
    #[command(
        subcommand,
        after_help = "Example:\n  entente onward ask CAR-2026-0001 --to panel --reason \"its request of 3 March\" --by \"A. Diallo\""
    )]
    Onward(Onward),
    /// Legal hold: what may not be deleted, whoever asks for it
    #[command(subcommand, after_help = "Example:\n  entente hold list")]
    Hold(Hold),
    /// The persons of this organisation: who they are, and what each may do
    #[command(
        subcommand,
        after_help = "Without persons a home is a single office: whoever opens it does everything, in the office's name. From the \
        first person on, which is an administrator, each names themself (--user NAME or ENTENTE_USER) and signs with a key \
        that only their own passphrase opens. Who collected a record does not review it; who reviewed it does not verify it.\n\n\
        Example:\n  entente user add \"M. Osei\" --role administrator\n  \
        entente user add \"A. Diallo\" --role collector --user \"M. Osei\"\n  entente user roles"
    )]
    User(User),
    /// The log that partners witness: show it, verify it, prove a record by it
    #[command(subcommand, after_help = "Example:\n  entente log show\n  entente log prove CAR-2026-0001")]
    Log(Log),
    /// For auditors: whether every release was in order, complete, consistent and allowed, without seeing any evidence
    #[command(
        subcommand,
        after_help = "Example:\n  entente audit export -o 2026-Q3.audit\n  entente audit report 2026-Q3.audit --html 2026-Q3.html"
    )]
    Audit(Audit),
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
    /// Exchange without a network: a sealed file for one partner, on a stick or through a one-way line
    #[command(
        subcommand,
        after_help = "Example:\n  entente bundle export --to panel -o /media/stick/panel-1.bundle\n  \
        entente bundle import /media/stick/field-1.bundle"
    )]
    Bundle(Bundle),
    /// Where the node stands: partners, feeds, what waits, sizes
    #[command(after_help = "Example:\n  entente status")]
    Status,
    /// Copy everything to another disk, while the node runs; list and verify what was copied
    #[command(
        args_conflicts_with_subcommands = true,
        subcommand_negates_reqs = true,
        after_help = "The first backup into a folder is full; later ones hold what is new since. Everything in it is sealed to \
        this node and to its recovery file; beside it stands the keyring, sealed to the recovery file alone. With the \
        folder, recovery.age and its passphrase everything can be put back (`entente restore`): keep those two elsewhere.\n\n\
        Example:\n  entente backup /media/disk/entente\n  entente backup list /media/disk/entente\n  \
        entente backup verify /media/disk/entente"
    )]
    Backup(Backup),
    /// Put a backup back into an empty folder, with the recovery file
    #[command(
        after_help = "Every archive is read and compared before anything is written; at the end the store is checked. The home \
        gets a new secret, asked for twice or named with --passphrase-file or --identity-file. Never run the \
        old home beside it. Then run `entente sync` with each partner, and `entente doctor`.\n\n\
        Example:\n  entente restore /media/disk/entente --home /var/lib/entente --recovery-file /media/safe/recovery.age --dry-run\n  \
        entente restore /media/disk/entente --home /var/lib/entente --recovery-file /media/safe/recovery.age"
    )]
    Restore(Restore),
    /// What is well, what is not, whose it is to mend, and what to do
    #[command(
        after_help = "Looks at settings, keys, store, files, clock, disk, backups and partners. It changes nothing, and works on \
        a running node, a stopped one, and a damaged one as far as that can be read. Exit code 5 where something is in \
        trouble.\n\nExample:\n  entente doctor\n  entente doctor --offline --json"
    )]
    Doctor(Doctor),
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

/// `kinds`.
#[derive(Debug, Args)]
pub struct Kinds {
    /// The kind whose fields are shown; without it, every kind
    pub kind: Option<String>,
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
    /// The passphrase of the recovery file, in the first line of this file; without it, it is asked for
    #[arg(long, value_name = "FILE", env = "ENTENTE_RECOVERY_PASSPHRASE_FILE", hide_env_values = true)]
    pub recovery_passphrase_file: Option<PathBuf>,
    /// Storage engine, for good; `sled` needs a build that has it, and OPERATING.md says why not to take it
    #[arg(long, value_name = "E", default_value = "fjall", value_parser = crate::store::open::ENGINES)]
    pub engine: String,
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

mod audit;
mod backup;
mod bundle;
mod evidence;
mod keeping;
mod keys;
mod onward;
mod package;
mod parties;
mod upkeep;
mod user;
pub use audit::{Audit, AuditExport, AuditReport, AuditVerify, Heads};
pub use backup::{Backup, BackupCommand, Doctor, Restore};
pub use bundle::{Bundle, Export};
pub use evidence::{Explain, Filter, Import, Record, Release, Review, ReviewState, Search};
pub use keeping::{Hold, Propose, Recall, RecallAct};
pub use keys::{Contact, Key, Keyring, Person};
pub use onward::{Ask, Onward};
pub use package::{Package, Verify};
pub use parties::{Agreement, Identity, Partner, Shown};
pub use upkeep::{Clock, Log, Recover, Redline};
pub use user::{AddUser, User};

#[cfg(test)]
mod tests;
