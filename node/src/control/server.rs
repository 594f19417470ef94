//! The running node's side of the control socket.

use super::{CALL_BYTES_MAX, Reply, Request, SocketPath};
use crate::{
    call::{self, Call, Progress},
    config::Home,
    error::Fault,
    node::Node,
    peer::stop::Stop,
    users::UserCall,
};
use std::{fs, io, os::unix::fs::PermissionsExt, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc},
    task::JoinSet,
};

/// Calls carried out at one time; more wait.
const CALLS_MAX: usize = 16;
/// How long calls under way may take to end when the node stops.
const ENDING: Duration = Duration::from_secs(60);

/// What only a running node can do.
pub trait Live: Send + Sync + 'static {
    /// One round with a partner or all; returns when their feeds are equal or the time is up.
    fn sync(&self, partner: Option<String>) -> impl Future<Output = Result<serde_json::Value, Fault>> + Send;
    /// Begins to stop.
    fn stop(&self);
    /// Partners whose state changed are cut or told; called after every call that changes something.
    fn changed(&self);
}

/// Binds the socket; a socket left behind by a dead node is replaced, for the store's lock is ours.
pub fn bind(home: &Home) -> Result<UnixListener, Fault> {
    let refuse = |e: io::Error| Fault::setup("socket", format!("the control socket cannot be made: {e}"));
    let path = SocketPath::new(home.path(), Home::SOCKET).map_err(refuse)?;
    match fs::remove_file(path.path()) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(refuse(e)),
        _ => {}
    }
    let listener = UnixListener::bind(path.path()).map_err(refuse)?;
    fs::set_permissions(path.path(), fs::Permissions::from_mode(0o600)).map_err(refuse)?;
    Ok(listener)
}

/// Serves calls until the signal to stop; then takes no more, and waits for the answers of those under way.
pub async fn serve<L: Live>(listener: UnixListener, node: Arc<Node>, live: Arc<L>, mut stop: Stop) {
    let permits = Arc::new(Semaphore::new(CALLS_MAX));
    let mut calls = JoinSet::new();
    loop {
        let accepted = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            biased;
            () = stop.requested() => break,
            accepted = accepted => accepted,
        };
        while calls.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let (node, live) = (Arc::clone(&node), Arc::clone(&live));
                calls.spawn(async move {
                    if let Err(e) = one(stream, node, live).await {
                        tracing::debug!(error = %e, "a call on the control socket ended early");
                    }
                    drop(permit);
                });
            }
            Err(e) => {
                tracing::warn!(error = %e, "the control socket failed to accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    let answered = async { while calls.join_next().await.is_some() {} };
    if tokio::time::timeout(ENDING, answered).await.is_err() {
        tracing::warn!("calls on the control socket did not end in time: what they have committed stays");
    }
}

async fn one<L: Live>(stream: UnixStream, node: Arc<Node>, live: Arc<L>) -> io::Result<()> {
    let ours = rustix::process::getuid().as_raw();
    if stream.peer_cred()?.uid() != ours {
        tracing::warn!("a call by another user was refused");
        return Ok(());
    }
    let (read, mut write) = stream.into_split();
    let mut line = Vec::new();
    let mut reader = BufReader::new(read.take(CALL_BYTES_MAX as u64));
    reader.read_until(b'\n', &mut line).await?;
    let reply = match serde_json::from_slice::<Request>(&line) {
        Err(e) => Reply::Fault(Fault::input("call", format!("a call that this node does not know: {e}"))),
        Ok(Request { call: Call::Stop, .. }) => {
            live.stop();
            Reply::Ok(serde_json::json!({ "stopping": true }))
        }
        Ok(Request { call: Call::Sync { partner }, .. }) => match live.sync(partner).await {
            Ok(answer) => Reply::Ok(answer),
            Err(fault) => Reply::Fault(fault),
        },
        // The home's own secret has not been shown: commands open the home themselves for it.
        Ok(Request { call: Call::User(UserCall::Add { office: true, .. }), .. }) => Reply::Fault(Fault::input(
            "running",
            "the office adds an administrator only while the node does not run: `entente stop`",
        )),
        // A file may be here whose record is about to be written: only whoever holds the whole store may sweep.
        Ok(Request { call: Call::Check { sweep: true }, .. }) => {
            Reply::Fault(Fault::input("running", "files are swept only while the node does not run: `entente stop`"))
        }
        Ok(Request { call, by }) => {
            tracing::debug!(call = call.name(), "a call on the control socket");
            let changes = !call.only_reads();
            let (sender, mut progress) = mpsc::channel::<Progress>(8);
            let work = tokio::task::spawn_blocking(move || {
                let mut last = None;
                call::answer_by(&node, &call, by.as_deref(), &mut |at| {
                    // Progress is a courtesy: when the reader is slow, it is dropped.
                    if last != Some(at.done) && sender.try_send(at).is_ok() {
                        last = Some(at.done);
                    }
                })
            });
            while let Some(at) = progress.recv().await {
                send(&mut write, &Reply::Progress(at)).await?;
            }
            let done = work.await;
            if changes {
                live.changed();
            }
            match done {
                Ok(Ok(answer)) => Reply::Ok(answer),
                Ok(Err(fault)) => Reply::Fault(fault),
                Err(_) => Reply::Fault(Fault::store("the call failed inside the node: see its log")),
            }
        }
    };
    send(&mut write, &reply).await
}

async fn send(write: &mut (impl AsyncWriteExt + Unpin), reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply).map_err(io::Error::other)?;
    line.push(b'\n');
    write.write_all(&line).await
}
