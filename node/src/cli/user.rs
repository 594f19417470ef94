//! Commands about the persons of the organisation.

use clap::{Args, Subcommand, builder::PossibleValuesParser};
use entente_protocol::user::Role;
use std::path::PathBuf;

fn roles() -> PossibleValuesParser {
    PossibleValuesParser::new(Role::ALL.map(Role::name))
}

/// `user`.
#[derive(Debug, Subcommand)]
pub enum User {
    /// Add a person: draws a key, seals it to the person's own passphrase, and certifies it
    #[command(
        after_help = "The new person types the passphrase, and nobody else: it opens the key with which that one signs. The \
        first person must be an administrator; from then on everybody who acts names themself with --user.\n\n\
        Example:\n  entente user add \"M. Osei\" --role administrator\n  \
        entente user add \"A. Diallo\" --role collector --role contact --until 2027-01-01 --user \"M. Osei\""
    )]
    Add(AddUser),
    /// Every person, and what each may do
    #[command(after_help = "Example:\n  entente user list")]
    List,
    /// One person: roles, key, certificate
    #[command(after_help = "Example:\n  entente user show \"A. Diallo\"")]
    Show {
        /// Name, or id
        person: String,
    },
    /// What each role permits, and which rules stand above roles; it needs no home
    #[command(after_help = "Example:\n  entente user roles\n  entente user roles --json")]
    Roles,
    /// Give and take roles
    #[command(after_help = "Example:\n  entente user role \"A. Diallo\" --add reviewer --remove collector")]
    Role {
        /// Name, or id
        person: String,
        /// A role to give
        #[arg(long, value_name = "ROLE", value_parser = roles(), required_unless_present = "remove")]
        add: Vec<String>,
        /// A role to take
        #[arg(long, value_name = "ROLE", value_parser = roles())]
        remove: Vec<String>,
    },
    /// Let a person do nothing here any more, for good; what that one signed stays
    #[command(after_help = "Example:\n  entente user disable \"A. Diallo\"")]
    Disable {
        /// Name, or id
        person: String,
        /// Disable without asking
        #[arg(long)]
        yes: bool,
    },
    /// Seal your own key to another passphrase; the key stays what it is
    #[command(
        after_help = "The old passphrase is asked for, or named with --user-passphrase-file; the new one is asked for twice, or \
        named with --new-passphrase-file. Whoever forgot theirs is disabled, and added anew: nobody can open that key.\n\n\
        Example:\n  entente user passphrase --user \"A. Diallo\""
    )]
    Passphrase {
        /// The new passphrase, in the first line of this file; without it, it is asked for
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
    },
}

/// `user add`.
#[derive(Debug, Args)]
pub struct AddUser {
    /// The person's name, for people of this organisation; it leaves this node nowhere
    pub name: String,
    /// What the person may do; several are several
    #[arg(long, value_name = "ROLE", value_parser = roles(), required = true)]
    pub role: Vec<String>,
    /// The last day on which the person acts here
    #[arg(long, value_name = "DAY")]
    pub until: Option<String>,
    /// The new person's passphrase, in the first line of this file; without it, it is asked for
    #[arg(long, value_name = "FILE")]
    pub new_passphrase_file: Option<PathBuf>,
    /// Add an administrator in the office's name, where no other can act any more; only while the node does not run
    #[arg(long)]
    pub danger_office: bool,
    /// Say what would happen, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}
