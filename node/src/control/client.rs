//! The command's side of the control socket.

use super::{ANSWER_BYTES_MAX, Reply, Request, SocketPath};
use crate::{
    call::{Call, OnProgress},
    config::Home,
    error::Fault,
};
use serde_json::Value as Json;
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
};

/// A connection to a running node, or none where no node runs on this home.
pub fn connect(home: &Home) -> Result<Option<UnixStream>, Fault> {
    if !home.path().join(Home::SOCKET).exists() {
        return Ok(None);
    }
    let path = SocketPath::new(home.path(), Home::SOCKET).map_err(|e| Fault::setup("home", e))?;
    match UnixStream::connect(path.path()) {
        Ok(stream) => Ok(Some(stream)),
        // Left behind by a node that was killed: the store's lock decides who may open it.
        Err(e) if matches!(e.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => Ok(None),
        Err(e) => Err(Fault::setup("socket", format!("the node's control socket cannot be reached: {e}"))),
    }
}

/// Sends a call of nobody in particular and waits for its answer.
pub fn call(stream: UnixStream, call: &Call, progress: OnProgress<'_>) -> Result<Json, Fault> {
    call_by(stream, call, None, progress)
}

/// Sends a call, `by` being a person's signature over it, and waits for its answer.
pub fn call_by(stream: UnixStream, call: &Call, by: Option<String>, progress: OnProgress<'_>) -> Result<Json, Fault> {
    let broken = |e: io::Error| Fault::setup("socket", format!("the node went away: {e}"));
    let mut line = serde_json::to_vec(&Request { call: call.clone(), by }).map_err(|e| Fault::input("call", e))?;
    line.push(b'\n');
    (&stream).write_all(&line).map_err(broken)?;
    let mut reader = BufReader::new(&stream);
    loop {
        let mut line = Vec::new();
        let read = (&mut reader).take(ANSWER_BYTES_MAX as u64).read_until(b'\n', &mut line).map_err(broken)?;
        if read == 0 {
            return Err(broken(io::ErrorKind::UnexpectedEof.into()));
        }
        match serde_json::from_slice(&line).map_err(|e| Fault::setup("socket", e))? {
            Reply::Progress(at) => progress(at),
            Reply::Ok(answer) => return Ok(answer),
            Reply::Fault(fault) => return Err(fault),
        }
    }
}
