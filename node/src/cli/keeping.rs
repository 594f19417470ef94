//! Commands about what is asked back, and what is kept back from deletion.

use super::Filter;
use clap::{Args, Subcommand, ValueEnum};
use entente_protocol::recall::Act;

/// `recall`.
#[derive(Debug, Subcommand)]
pub enum Recall {
    /// Propose to ask records back: says whom it would reach, and asks nobody yet
    #[command(
        after_help = "Another person confirms it (`entente recall confirm`). What was recalled goes to nobody any more, for \
        good.\n\nExample:\n  entente recall propose CAR-2026-0001 --act withdraw --reason \"serial misread\" --by \"A. Diallo\"\n  \
        entente recall propose --event CAR-2026-E07 --act erase --reason \"the source is in danger\" --by \"A. Diallo\""
    )]
    Propose(Box<Propose>),
    /// Confirm a recall that another person proposed: every holder is asked, ahead of everything else
    #[command(after_help = "Example:\n  entente recall confirm 3 --by \"M. Osei\"")]
    Confirm {
        /// Number of the recall
        recall: u64,
        /// Who you are
        #[arg(long, value_name = "NAME")]
        by: String,
        /// Confirm it without being asked
        #[arg(long)]
        yes: bool,
    },
    /// Drop a recall that was not confirmed
    #[command(after_help = "Example:\n  entente recall drop 3 --by \"M. Osei\"")]
    Drop {
        /// Number of the recall
        recall: u64,
        /// Who you are
        #[arg(long, value_name = "NAME")]
        by: String,
    },
    /// Who has done what a recall asks, and who has not confirmed
    #[command(after_help = "Example:\n  entente recall status 3\n  entente recall status 3 --json")]
    Status {
        /// Number of the recall
        recall: u64,
    },
    /// Every recall of ours, or what partners asked of us
    #[command(after_help = "Example:\n  entente recall list\n  entente recall list --received")]
    List {
        /// What partners asked of us, and what we answered
        #[arg(long)]
        received: bool,
    },
}

/// `recall propose`.
#[derive(Debug, Args)]
pub struct Propose {
    /// Ids, their first eight digits or more, or evidence numbers
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// What is asked of holders
    #[arg(long)]
    pub act: RecallAct,
    /// Why, for our own people; it does not leave
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Who you are
    #[arg(long, value_name = "NAME")]
    pub by: String,
    /// An event, and everything that belongs to it
    #[arg(long, value_name = "ID", help_heading = "Which records")]
    pub event: Option<String>,
    /// Records of this place or region, by its name
    #[arg(long, value_name = "NAME", help_heading = "Which records")]
    pub place: Option<String>,
    /// Records that this person documented, made or photographed
    #[arg(long, value_name = "NAME", help_heading = "Which records")]
    pub collector: Option<String>,
    /// Records that were attested together with this one, as those of one import are
    #[arg(long, value_name = "ID", help_heading = "Which records")]
    pub batch: Option<String>,
    /// Or those that a query finds.
    #[command(flatten)]
    pub filter: Filter,
}

/// What is asked of holders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RecallAct {
    /// Another record takes its place: do not use this one any more
    Correct,
    /// Do not use it any more; it may be kept, to show what was relied on
    Withdraw,
    /// Its time is over: delete what it says
    Expire,
    /// Delete what it says
    Erase,
}

impl From<RecallAct> for Act {
    fn from(act: RecallAct) -> Self {
        match act {
            RecallAct::Correct => Self::Correct,
            RecallAct::Withdraw => Self::Withdraw,
            RecallAct::Expire => Self::Expire,
            RecallAct::Erase => Self::Erase,
        }
    }
}

/// `hold`.
#[derive(Debug, Subcommand)]
pub enum Hold {
    /// Keep what a received record says from being deleted, whoever asks for it
    #[command(
        after_help = "For a court, or a duty to keep. What was taken back is not used, held or not; who asked for its \
        deletion is answered that a legal hold keeps it.\n\nExample:\n  \
        entente hold place 3f9a01c2 --reason \"Tribunal, case 12/2026\" --by \"M. Osei\""
    )]
    Place {
        /// Id, its first eight digits or more, or evidence number
        record: String,
        /// By what: the court, the case, the law
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Who you are
        #[arg(long, value_name = "NAME")]
        by: String,
    },
    /// Lift a hold: what should have been deleted meanwhile is deleted
    #[command(after_help = "Example:\n  entente hold lift 3f9a01c2 --by \"M. Osei\"")]
    Lift {
        /// Id, its first eight digits or more, or evidence number
        record: String,
        /// Who you are
        #[arg(long, value_name = "NAME")]
        by: String,
    },
    /// Every hold
    #[command(after_help = "Example:\n  entente hold list")]
    List,
}
