//! The home folder and its settings: what was typed (`raw`), and what was checked (`load`).

mod load;
mod raw;

pub use load::{Config, ConfigError, Gate, Stage};
pub use raw::{RawConfig, RawGate, RawStage};

use entente_protocol::id::UserId;
use std::path::{Path, PathBuf};

/// A home: one folder with everything of one organisation's node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// A home at a path, which need not exist yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }
    /// Settings.
    pub fn config(&self) -> PathBuf {
        self.0.join("entente.toml")
    }
    /// Key files, sealed, and certificates.
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }
    /// Ledger and vault.
    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }
    /// The organisation's own card.
    pub fn card(&self) -> PathBuf {
        self.0.join("organisation.card")
    }
    /// The usual folder of red lines.
    pub fn red_lines(&self) -> PathBuf {
        self.0.join("redlines")
    }
    /// The recovery identity, to be moved off this machine.
    pub fn recovery(&self) -> PathBuf {
        self.0.join("recovery.age")
    }
    /// The keys of persons, each sealed to that person's own passphrase.
    pub fn users(&self) -> PathBuf {
        self.0.join("users")
    }
    /// The key of one person.
    pub fn user(&self, id: UserId) -> PathBuf {
        self.users().join(format!("{id}.age"))
    }
    /// Name of the control socket in the home.
    pub const SOCKET: &str = "control.sock";
    /// Whether somebody has made a home here.
    pub fn exists(&self) -> bool {
        self.config().exists()
    }
}
