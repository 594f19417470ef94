//! Settings as they stand in `entente.toml`. Unknown keys are refused.

use serde::{Deserialize, Serialize};

/// What was typed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawConfig {
    /// The organisation's name.
    pub name: String,
    /// Its short name.
    pub handle: String,
    /// Address to listen on, such as `0.0.0.0:4433` or `127.0.0.1:0`.
    pub listen: String,
    /// Addresses that the card gives to partners; the listening address where absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advertise: Vec<String>,
    /// Storage engine.
    #[serde(default = "fjall")]
    pub engine: String,
    /// Least review state for release: `reviewed` or `verified`.
    #[serde(default = "reviewed")]
    pub release_gate: String,
    /// File or folder of the organisation's own red lines, from the home.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub red_lines: Option<String>,
    /// The program of the solver for `agreement prove`, where it is not `cvc5` on the PATH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub solver: Option<String>,
    /// Identity file that unlocks the home, if it is not unlocked by a passphrase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_file: Option<String>,
    /// Most that one partner may fill here, in GiB: records and files together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner_gib_max: Option<u64>,
    /// Free space of the disk, in MiB, below which nothing more is taken from partners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_mib_min: Option<u64>,
    /// How long an interval of the log lasts, in seconds; fixed when the log begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_interval: Option<u64>,
    /// Whether others may be shown that we witnessed a partner's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named_witness: Option<bool>,
    /// Taken and not yet read, in MiB, for each connection: raised on both sides for a long fat line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_mib: Option<u32>,
    /// How records pass the gate. A table: last, as TOML wants it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<RawGate>,
}

/// How records pass the gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawGate {
    /// How many persons see a record: `two`, or `one`.
    #[serde(default = "two")]
    pub eyes: String,
    /// The stages of the review in their order, where the usual states are not enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stage: Vec<RawStage>,
}

/// A stage of the review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawStage {
    /// What people call it.
    pub name: String,
    /// The role that takes it.
    pub role: String,
    /// The state at the gate that a record has after it: `draft`, `reviewed` or `verified`.
    pub state: String,
}

fn two() -> String {
    "two".to_owned()
}

impl RawConfig {
    /// Settings that say only what has no safe answer of its own.
    pub fn new(name: impl Into<String>, handle: impl Into<String>, listen: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            handle: handle.into(),
            listen: listen.into(),
            advertise: Vec::new(),
            engine: fjall(),
            release_gate: reviewed(),
            red_lines: None,
            solver: None,
            identity_file: None,
            partner_gib_max: None,
            free_mib_min: None,
            log_interval: None,
            named_witness: None,
            window_mib: None,
            gate: None,
        }
    }
}

fn fjall() -> String {
    "fjall".to_owned()
}

fn reviewed() -> String {
    "reviewed".to_owned()
}
