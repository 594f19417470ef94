//! A partner that is slow: within the handshake's aftermath, within a frame, within a file, or silent and still there.

use super::{Counts, Fallible, Member, member, streams};
use entente_node::peer::Connection;
use entente_protocol::identity::Card;
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// Between two bytes, and between two connections of one that was closed.
const PAUSE: Duration = Duration::from_secs(10);

/// One such partner.
pub struct Slow {
    /// Who. Several may be the same one: then the node keeps one connection of them.
    pub member: Arc<Member>,
    /// The node.
    pub node: Card,
    /// Where it listens.
    pub address: SocketAddr,
    /// Which of the four ways of being slow, counted round.
    pub way: usize,
}

impl Slow {
    /// Connects, and again some time after that ended.
    pub async fn work(self, counts: Arc<Counts>) {
        loop {
            counts.connections.ask();
            if self.visit(&counts).await.is_err() {
                counts.connections.refuse();
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn visit(&self, counts: &Arc<Counts>) -> Fallible<()> {
        let endpoint = self.member.endpoint(&self.node)?;
        let connection = endpoint.dial(self.node.org(), self.address).await?.connection;
        let _held = counts.connections.hold();
        tokio::select! {
            // However it ends, it was kept.
            _ = self.linger(&connection) => {}
            _ = connection.closed() => {}
        }
        // Said here, or an endpoint that is dropped would leave the node to find out by silence.
        connection.close(0u32.into(), &[]);
        Ok(())
    }

    async fn linger(&self, connection: &Connection) -> Fallible<()> {
        match self.way % 4 {
            // No lane at all.
            0 => drop(connection.closed().await),
            // A frame on the control lane, a byte every ten seconds.
            1 => {
                let lanes = [member::stream(connection, 1).await?, member::stream(connection, 2).await?];
                let [control, _records] = lanes;
                streams::stand_still(control).await?;
            }
            // An open session, silent, kept by keep-alives: nothing against the protocol.
            2 => {
                let _lanes = self.member.open(connection).await?;
                connection.closed().await;
            }
            // An open session with the request for a file, a byte every ten seconds.
            _ => {
                let _lanes = self.member.open(connection).await?;
                loop {
                    streams::trickle(connection).await?;
                }
            }
        }
        Ok(())
    }
}
