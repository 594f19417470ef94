//! The control socket: how commands reach a running node. One code path stands behind both ways.
//!
//! One call a connection: a line of JSON each way, progress lines between. The socket lies in the home
//! with mode 0600, and the peer's user id is checked beside it.

pub mod client;
pub mod server;

use crate::{
    call::{Call, Progress},
    error::Fault,
};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::{
    fs::File,
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

/// Longest line of a call.
pub const CALL_BYTES_MAX: usize = 1 << 20;
/// Longest line of an answer.
pub const ANSWER_BYTES_MAX: usize = 256 << 20;

/// What a command sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The call.
    pub call: Call,
    /// A person's signature over it, in hexadecimal, where there are persons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What comes back, line by line; the last is not progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// How far it is.
    Progress(Progress),
    /// Done.
    Ok(Json),
    /// Not done.
    Fault(Fault),
}

/// A path by which a socket in a folder can be bound or reached however long the folder's name is.
///
/// Unix sockets take about 100 bytes of path. The folder stays open for as long as this lives.
pub struct SocketPath {
    _folder: File,
    path: PathBuf,
}

impl SocketPath {
    /// A socket of this name in a folder.
    pub fn new(folder: &Path, name: &str) -> io::Result<Self> {
        let open = File::open(folder)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd())).join(name);
        Ok(Self { _folder: open, path })
    }
    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
