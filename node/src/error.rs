//! Faults as commands report them: whose they are, what is wrong, and the exit code.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Whose fault it is: the response differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Blame {
    /// What was typed, or a file that was named.
    Input,
    /// The settings or the state of the home.
    Setup,
    /// A partner, or the way to it.
    Partner,
    /// The store: nothing goes on before it was looked at.
    Store,
}

/// A fault: stable code, and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Whose it is.
    pub blame: Blame,
    /// Stable code, for programs.
    pub code: String,
    /// What is wrong, where, and what to do.
    pub message: String,
}

impl Fault {
    /// A fault of what was typed or named.
    pub fn input(code: &str, message: impl fmt::Display) -> Self {
        Self { blame: Blame::Input, code: code.to_owned(), message: message.to_string() }
    }
    /// A fault of settings or home.
    pub fn setup(code: &str, message: impl fmt::Display) -> Self {
        Self { blame: Blame::Setup, code: code.to_owned(), message: message.to_string() }
    }
    /// A fault of a partner or the way to it.
    pub fn partner(code: &str, message: impl fmt::Display) -> Self {
        Self { blame: Blame::Partner, code: code.to_owned(), message: message.to_string() }
    }
    /// A fault of the store.
    pub fn store(message: impl fmt::Display) -> Self {
        Self { blame: Blame::Store, code: "store".to_owned(), message: message.to_string() }
    }
    /// Exit code of the command.
    pub const fn exit_code(&self) -> u8 {
        match self.blame {
            Blame::Input => 2,
            Blame::Setup => 3,
            Blame::Partner => 4,
            Blame::Store => 5,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl From<crate::store::StoreError> for Fault {
    fn from(error: crate::store::StoreError) -> Self {
        Self::store(error)
    }
}

/// What is wrong with a TOML text, with its line and without quoting it: the file may be another than was meant, and the
/// line a passphrase.
pub fn unquoted(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(0, |span| span.start);
    let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
    format!("line {line}: {}", error.message().trim_end())
}
