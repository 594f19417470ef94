//! Commands about the day on which the disk is gone: backup, restore, and what to look at before.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `backup`.
#[derive(Debug, Args)]
pub struct Backup {
    /// The folder of backups, on another disk; made where there is none
    #[arg(value_name = "DIR", required = true)]
    pub folder: Option<PathBuf>,
    /// Begin anew: an archive that needs no earlier one
    #[arg(long)]
    pub full: bool,
    /// Another command about backups.
    #[command(subcommand)]
    pub command: Option<BackupCommand>,
}

/// What else can be done with a folder of backups. No home is needed.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// The archives in a folder
    #[command(after_help = "Example:\n  entente backup list /media/disk/entente")]
    List {
        /// The folder of backups
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Whether the archives that a restore would need are there, whole and unchanged
    #[command(
        after_help = "Without a secret the digests of the files are compared. With the recovery file everything in them is \
        opened and read, as `restore` will. Exit code 5 if anything is wrong.\n\n\
        Example:\n  entente backup verify /media/disk/entente\n  \
        entente backup verify /media/disk/entente --recovery-file /media/safe/recovery.age"
    )]
    Verify {
        /// The folder of backups
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Open everything with this recovery file
        #[arg(long, value_name = "FILE")]
        recovery_file: Option<PathBuf>,
        /// The passphrase of the recovery file, in the first line of this file; without it, it is asked for
        #[arg(long, value_name = "FILE", env = "ENTENTE_RECOVERY_PASSPHRASE_FILE", hide_env_values = true)]
        recovery_passphrase_file: Option<PathBuf>,
    },
}

/// `restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// The folder of backups
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// The recovery file, from where it is locked away
    #[arg(long, value_name = "FILE")]
    pub recovery_file: PathBuf,
    /// The passphrase of the recovery file, in the first line of this file; without it, it is asked for
    #[arg(long, value_name = "FILE", env = "ENTENTE_RECOVERY_PASSPHRASE_FILE", hide_env_values = true)]
    pub recovery_passphrase_file: Option<PathBuf>,
    /// Put back the archive of this number [default: the newest]
    #[arg(long, value_name = "N")]
    pub number: Option<u32>,
    /// The recovery form of the keyring, where it is kept elsewhere [default: the one in the folder]
    #[arg(long, value_name = "FILE")]
    pub keyring: Option<PathBuf>,
    /// Say whether it would work, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Say nothing of partners and the way to them
    #[arg(long)]
    pub offline: bool,
}
