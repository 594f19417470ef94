//! Commands about passing on what others recorded.

use clap::{Args, Subcommand};

/// `onward`.
#[derive(Debug, Subcommand)]
pub enum Onward {
    /// Ask the originators of received records whether they may go on to a partner; nothing goes before they say so
    #[command(
        after_help = "The originator's people answer (`entente onward grant` or `refuse` there), unless the clause under which \
        the records came names the partner: then it has answered. What goes on is told to the originator.\n\n\
        Example:\n  entente onward ask CAR-2026-0001 --to panel --field number,type,serial --days 90 \\\n    \
        --reason \"the panel's request of 3 March\" --by \"A. Diallo\"\n  \
        entente onward ask --every item --of car --to panel --field number,type --reason \"the panel's mandate\" --by \"A. Diallo\""
    )]
    Ask(Box<Ask>),
    /// What we asked, and what partners ask of us
    #[command(after_help = "Example:\n  entente onward list")]
    List,
    /// Let a partner pass records of ours on, as it asked or less
    #[command(
        after_help = "The newest answer counts: another grant replaces it, and `entente onward refuse` takes it back.\n\n\
        Example:\n  entente onward grant 2 --by \"M. Osei\"\n  entente onward grant 2 --field number,type --days 30 --by \"M. Osei\""
    )]
    Grant {
        /// Number of the request
        request: u64,
        /// Only these fields of those that were asked for
        #[arg(long, value_name = "FIELD", value_delimiter = ',')]
        field: Vec<String>,
        /// The receiver keeps it for so many days at most
        #[arg(long, value_name = "N")]
        days: Option<u32>,
        /// It may go, and be held, until this day
        #[arg(long, value_name = "DATE")]
        until: Option<String>,
        /// Who you are
        #[arg(long, value_name = "NAME")]
        by: String,
        /// Grant it without being asked
        #[arg(long)]
        yes: bool,
    },
    /// Say no to a request, or take a grant back: what went on by it is taken back too
    #[command(after_help = "Example:\n  entente onward refuse 2 --by \"M. Osei\"")]
    Refuse {
        /// Number of the request
        request: u64,
        /// Who you are
        #[arg(long, value_name = "NAME")]
        by: String,
    },
    /// Who holds records of ours by another's hand, under which agreement and grant
    #[command(after_help = "Example:\n  entente onward holders\n  entente onward holders CAR-2026-0001")]
    Holders {
        /// Id, its beginning, or evidence number; all records if absent
        record: Option<String>,
    },
}

/// `onward ask`.
#[derive(Debug, Args)]
pub struct Ask {
    /// Ids, their first eight digits or more, or evidence numbers
    #[arg(value_name = "ID", required_unless_present = "every", conflicts_with = "every")]
    pub ids: Vec<String>,
    /// Not these records, but every record of a kind that the originator has recorded, now and later
    #[arg(long, value_name = "KIND", requires = "of", requires = "field")]
    pub every: Option<String>,
    /// Whose records, with --every: handle, id or its beginning
    #[arg(long, value_name = "PARTNER", requires = "every")]
    pub of: Option<String>,
    /// Who would receive them: handle, id or its beginning
    #[arg(long, value_name = "PARTNER")]
    pub to: String,
    /// Only these fields; all that we were given if absent
    #[arg(long, value_name = "FIELD", value_delimiter = ',')]
    pub field: Vec<String>,
    /// For which purpose; those of our agreements with the partner if absent
    #[arg(long, value_name = "TEXT")]
    pub purpose: Vec<String>,
    /// The receiver keeps it for so many days
    #[arg(long, value_name = "N", default_value_t = 365)]
    pub days: u32,
    /// It may go, and be held, until this day; a year from now if absent
    #[arg(long, value_name = "DATE")]
    pub until: Option<String>,
    /// Why: the originator's people read it
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Who you are
    #[arg(long, value_name = "NAME")]
    pub by: String,
}
