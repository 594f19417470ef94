//! Strangers: they have no certificate, so a handshake is all that they can hold open.

use super::{
    Count, Fallible,
    packet::{Answer, CRYPTO_BYTES_MAX, Initials},
};
use entente_node::{peer::tls, secret};
use rustls::{
    ClientConfig, RootCertStore,
    quic::{ClientConnection, Version},
    version::TLS13,
};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::UdpSocket,
    time::{Instant, timeout_at},
};

/// Between two bytes of a handshake, and between two signs of life.
const BEAT: Duration = Duration::from_secs(1);
/// Who was sent away comes back after so long.
const AGAIN: Duration = Duration::from_secs(1);
/// Nothing is answered for so long: it is taken for a refusal.
const UNANSWERED: Duration = Duration::from_secs(3);

/// How a visit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visit {
    /// The node would not have it.
    Refused,
    /// It was kept for a while, and then closed.
    Closed,
}

/// One stranger.
#[derive(Debug, Clone, Copy)]
pub struct Stranger {
    /// Where it comes from.
    pub from: IpAddr,
    /// The node.
    pub node: SocketAddr,
    /// Whether it says its first words one byte at a time; otherwise it says them at once, and no more.
    pub byte_by_byte: bool,
}

impl Stranger {
    /// Comes again and again.
    pub async fn work(self, count: Arc<Count>) {
        loop {
            count.ask();
            if self.visit(&count).await.is_ok_and(|visit| visit == Visit::Refused) {
                count.refuse();
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Begins a handshake and stays within it, with a sign of life every second, until the node ends it.
    ///
    /// # Errors
    /// If the machine has no port left.
    pub async fn visit(self, count: &Arc<Count>) -> Fallible<Visit> {
        let socket = UdpSocket::bind((self.from, 0)).await?;
        socket.connect(self.node).await?;
        let source: [u8; 8] = secret::random()?;
        let mut initials = Initials::new(source, secret::random()?)?;
        let words = first_words(source)?;
        let mut said = self.say(&socket, &mut initials, &words, 0).await?;
        let (begun, mut held, mut beat) = (Instant::now(), None, Instant::now() + BEAT);
        let mut datagram = vec![0; 1 << 16];
        loop {
            match timeout_at(beat, socket.recv(&mut datagram)).await {
                Ok(length) => match initials.read(&mut datagram[..length?]) {
                    Answer::Retry => said = self.say(&socket, &mut initials, &words, 0).await?,
                    Answer::Goes if held.is_none() => held = Some(count.hold()),
                    Answer::Closed if held.is_some() => return Ok(Visit::Closed),
                    Answer::Closed => return Ok(Visit::Refused),
                    Answer::Goes | Answer::Other => {}
                },
                Err(_) if held.is_none() && begun.elapsed() > UNANSWERED => return Ok(Visit::Refused),
                // What is gone at the node is not always told: a handshake never takes this long.
                Err(_) if begun.elapsed() > 2 * HANDSHAKE => return Ok(Visit::Closed),
                Err(_) => {
                    beat = Instant::now() + BEAT;
                    if said < words.len() {
                        said = self.say(&socket, &mut initials, &words, said).await?;
                    } else {
                        socket.send(&initials.ping()?).await?;
                    }
                }
            }
        }
    }

    /// Says what comes next; how much is said then.
    async fn say(self, socket: &UdpSocket, initials: &mut Initials, words: &[u8], from: usize) -> Fallible<usize> {
        if self.byte_by_byte {
            socket.send(&initials.crypto(from, &words[from..=from])?).await?;
            return Ok(from + 1);
        }
        for (n, piece) in words.chunks(CRYPTO_BYTES_MAX).enumerate() {
            socket.send(&initials.crypto(n * CRYPTO_BYTES_MAX, piece)?).await?;
        }
        Ok(words.len())
    }
}

/// What the node gives a handshake.
const HANDSHAKE: Duration = Duration::from_millis(entente_node::peer::endpoint::HANDSHAKE_MS_MAX);

/// The hello of TLS, as an honest client says it.
fn first_words(source: [u8; 8]) -> Fallible<Vec<u8>> {
    let mut config = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![tls::ALPN.to_vec()];
    config.enable_sni = false;
    // The one transport parameter that must be there: initial_source_connection_id.
    let parameters = [[0x0f, 8].as_slice(), &source].concat();
    let mut connection = ClientConnection::new(Arc::new(config), Version::V1, "entente".try_into()?, parameters)?;
    let mut words = Vec::new();
    connection.write_hs(&mut words);
    Ok(words)
}
