//! A partner that holds as many streams open as it is given, and fills as much of the node's windows as it may.
//!
//! Some streams stand still after their first byte, with one more every ten seconds, so that the node waits for them; the
//! others ask for a file that was never given and bring far more than the question, which lies in the node's buffers
//! until it comes to them. What ends is opened again.

use super::{
    Counts, Fallible, Member,
    member::{Stream, stream},
};
use entente_node::peer::Connection;
use entente_protocol::{codec::frame, id::FeedId, identity::Card, session::fetch::Request};
use quinn::VarInt;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::timeout};

/// Streams of each connection that stand still: as many as the node waits for at a time.
const STILL: usize = 16;
/// Bytes that a node takes from one connection before it reads any.
const WINDOW_BYTES: usize = 2 << 20;
/// Between two bytes of a stream that stands still.
const BYTE: Duration = Duration::from_secs(10);
/// How often what ended is opened again.
const AGAIN: Duration = Duration::from_secs(1);
/// A stream that is not opened by then is not given.
const GIVEN: Duration = Duration::from_millis(300);

/// One such partner.
pub struct Streams {
    /// Who.
    pub member: Member,
    /// The node.
    pub node: Card,
    /// Where it listens.
    pub address: SocketAddr,
    /// How many streams it wants at once, its two lanes among them.
    pub streams: usize,
}

impl Streams {
    /// Connects, and again whenever that ends.
    pub async fn work(self, counts: Arc<Counts>) {
        loop {
            counts.connections.ask();
            if self.visit(&counts).await.is_err() {
                counts.connections.refuse();
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn visit(&self, counts: &Arc<Counts>) -> Fallible<()> {
        let endpoint = self.member.endpoint(&self.node)?;
        let connection = endpoint.dial(self.node.org(), self.address).await?.connection;
        let _lanes = self.member.open(&connection).await?;
        let _held = (counts.connections.hold(), counts.streams.hold(), counts.streams.hold());
        let (mut still, mut full) = (JoinSet::new(), JoinSet::new());
        while connection.close_reason().is_none() {
            while still.try_join_next().is_some() {}
            while full.try_join_next().is_some() {}
            while still.len() + full.len() + 2 < self.streams {
                counts.streams.ask();
                let Ok(opened) = timeout(GIVEN, stream(&connection, 3)).await else {
                    counts.streams.refuse();
                    break;
                };
                let (stream, held) = (opened?, counts.streams.hold());
                if still.len() < STILL {
                    still.spawn(async move { (stand_still(stream).await.is_ok(), held) });
                } else {
                    let bytes = WINDOW_BYTES / (self.streams - STILL);
                    full.spawn(async move { (fill(stream, bytes).await.is_ok(), held) });
                }
            }
            drop(timeout(AGAIN, connection.closed()).await);
        }
        Ok(())
    }
}

/// A byte every ten seconds until the node has enough of it.
pub(super) async fn stand_still((mut send, mut receive): Stream) -> Fallible<()> {
    let bytes = async {
        // The lengths of a frame of 512 bytes: never complete before the node's patience ends.
        for byte in [0, 0, 2, 0, 0, 0, 2, 0].into_iter().cycle() {
            tokio::time::sleep(BYTE).await;
            send.write_all(&[byte]).await?;
        }
        Ok(())
    };
    // The node gives the stream up on both sides.
    tokio::select! {
        sent = bytes => sent,
        _ = receive.read_to_end(1 << 10) => Ok(()),
    }
}

/// A request for a file that was never given, with a tail. Returns when it is answered.
async fn fill((mut send, mut receive): Stream, bytes: usize) -> Fallible<()> {
    let request = Request { feed: FeedId::from_bytes([6; 32]), slot: 11, entry: 0, from_chunk: 0 };
    let mut content = frame::encode(&request.to_bytes()?, 512)?;
    content.resize(bytes.max(content.len()), 0);
    let sent = async { send.write_all(&content).await.is_ok() };
    let (_, answer) = tokio::join!(sent, receive.read_to_end(1 << 10));
    drop(send.reset(VarInt::from_u32(0)));
    answer?;
    Ok(())
}

/// Streams of one connection that each stand still, for who is slow and not many. Within a runtime.
pub(super) async fn trickle(connection: &Connection) -> Fallible<()> {
    stand_still(stream(connection, 3).await?).await
}
