//! A partner on the wire: it has the keys of a real home, says what a story wants, and sees every byte that comes.
//!
//! Called by stories about hostile partners and about what a partner receives. The connection, the greeting and the
//! session are the product's own; what is sent afterwards is the story's.

use crate::{Home, PATIENCE};
use entente_node::{
    exchange::Conversation,
    node::Node,
    peer::{
        Clock, Connection,
        book::{Book, Partner, PartnerState, SharedBook},
        endpoint::{Endpoint, Settings},
        tls::Identity,
    },
};
use entente_protocol::{
    codec::frame::{self, FrameReader},
    id::OrgId,
    session::{CloseCode, Lane, Message, Role, Session},
};
use quinn::{ConnectionError, RecvStream, SendStream};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::{error::Error, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{runtime::Runtime, sync::mpsc, time::timeout};

type Fallible<T> = Result<T, Box<dyn Error>>;

/// What came over the wire.
#[derive(Debug, PartialEq, Eq)]
pub enum Wired {
    /// A frame's content.
    Frame(Lane, Vec<u8>),
    /// The connection ended, with a code where the other side gave one.
    Closed(Option<CloseCode>),
    /// Nothing, for as long as was waited.
    Silence,
}

/// One connection to a running node.
pub struct Wire {
    session: Session,
    conversation: Conversation,
    control: SendStream,
    records: SendStream,
    frames: mpsc::UnboundedReceiver<(Lane, Vec<u8>)>,
    connection: Connection,
    /// Every frame that came, in order.
    pub seen: Vec<(Lane, Vec<u8>)>,
    // Last: the tasks above end with it.
    _endpoint: Endpoint,
    runtime: Runtime,
}

impl Wire {
    /// Connects as the organisation whose home `node` is, and goes through the greeting until the session is open.
    ///
    /// # Errors
    /// If the other side does not let it in.
    pub fn dial(node: &Arc<Node>, to: &Home) -> Fallible<Self> {
        let (peer, partner) = node.book().find(to.handle).map(|(org, partner)| (org, partner.clone()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let known = Partner::by_card(&partner.card, PartnerState::Active);
        let endpoint = runtime.block_on(async { endpoint(node, peer, known) })?;
        let link = runtime.block_on(endpoint.dial(peer, to.address()))?;
        let connection = link.connection.clone();
        let (sender, frames) = mpsc::unbounded_channel();
        let (conversation, session) = Conversation::open(node, peer, Role::Dialer)?;
        let (control, from_control) = runtime.block_on(open(&connection, 1))?;
        let (records, from_records) = runtime.block_on(open(&connection, 2))?;
        runtime.spawn(read(from_control, Lane::Control, sender.clone()));
        runtime.spawn(read(from_records, Lane::Records, sender));
        let seen = Vec::new();
        let mut wire =
            Self { session, conversation, control, records, frames, connection, seen, _endpoint: endpoint, runtime };
        wire.talk(node, false, PATIENCE, Session::is_open)?;
        Ok(wire)
    }

    /// Talks as an honest node does, until `enough` or until nothing came for `quiet`; sends what is due if `pump`.
    ///
    /// # Errors
    /// If either side ends it.
    pub fn talk(
        &mut self,
        node: &Arc<Node>,
        pump: bool,
        quiet: Duration,
        enough: impl Fn(&Session) -> bool,
    ) -> Fallible<()> {
        loop {
            while let Some(event) = self.session.poll_event() {
                self.conversation.event(node, &mut self.session, event)?;
            }
            while pump && self.conversation.pump(node, &mut self.session)? {}
            while let Some((lane, content)) = self.session.poll_frame() {
                self.frame(lane, &content)?;
            }
            if enough(&self.session) {
                return Ok(());
            }
            match self.next(quiet) {
                Wired::Frame(lane, content) => self.session.handle_frame(lane, &content, node.clock.now())?,
                Wired::Silence => return Ok(()),
                Wired::Closed(code) => return Err(format!("the connection was closed: {code:?}").into()),
            }
        }
    }

    /// Sends a message as it is, whatever the session thinks of it.
    ///
    /// # Errors
    /// If the connection is gone.
    pub fn send(&mut self, message: &Message) -> Fallible<()> {
        self.frame(message.lane(), &message.to_bytes()?)
    }

    /// Sends a frame with this content.
    ///
    /// # Errors
    /// If the connection is gone.
    pub fn frame(&mut self, lane: Lane, content: &[u8]) -> Fallible<()> {
        let bytes = frame::encode(content, lane.frame_bytes_max())?;
        let stream = if lane == Lane::Control { &mut self.control } else { &mut self.records };
        Ok(self.runtime.block_on(stream.write_all(&bytes))?)
    }

    /// What comes next.
    pub fn next(&mut self, wait: Duration) -> Wired {
        let (frames, connection) = (&mut self.frames, &self.connection);
        let came = self.runtime.block_on(async {
            timeout(wait, async {
                match frames.recv().await {
                    Some((lane, content)) => Wired::Frame(lane, content),
                    None => Wired::Closed(code(&connection.closed().await)),
                }
            })
            .await
            .unwrap_or(Wired::Silence)
        });
        if let Wired::Frame(lane, content) = &came {
            self.seen.push((*lane, content.clone()));
        }
        came
    }

    /// Waits until the other side closes the connection; the messages that came before, and the code.
    ///
    /// # Panics
    /// If it goes on.
    pub fn closed(&mut self) -> (Vec<Message>, Option<CloseCode>) {
        let mut before = Vec::new();
        loop {
            match self.next(PATIENCE) {
                Wired::Frame(lane, content) => before.extend(Message::from_bytes(lane, &content)),
                Wired::Closed(code) => return (before, code),
                Wired::Silence => {
                    let names: Vec<&str> = before.iter().map(Message::name).collect();
                    panic!("the connection was not closed; what came: {names:?}")
                }
            }
        }
    }

    /// The session, to see how far it is.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }
}

fn endpoint(node: &Arc<Node>, peer: OrgId, known: Partner) -> Fallible<Endpoint> {
    let chain = node.keys.chain().into_iter().map(CertificateDer::from).collect();
    let key = PrivatePkcs8KeyDer::from(node.keys.tls.expose().clone());
    let identity = Identity::new(node.keys.org, chain, key, node.clock.now())?;
    let clock = Arc::clone(&node.clock);
    let book = SharedBook::new(Book { partners: [(peer, known)].into() });
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Ok(Endpoint::bind(any, identity, book, Clock::new(move || clock.now()), Settings::default())?)
}

/// A stream says with its first byte which lane it is.
async fn open(connection: &Connection, lane: u8) -> Fallible<(SendStream, RecvStream)> {
    let (mut send, receive) = connection.open_bi().await?;
    send.write_all(&[lane]).await?;
    Ok((send, receive))
}

async fn read(mut stream: RecvStream, lane: Lane, to: mpsc::UnboundedSender<(Lane, Vec<u8>)>) {
    let mut reader = FrameReader::new(lane.frame_bytes_max());
    while let Ok(Some(chunk)) = stream.read_chunk(64 << 10, true).await {
        let mut input = chunk.bytes.as_ref();
        while !input.is_empty() {
            match reader.take(&mut input) {
                Ok(Some(content)) => drop(to.send((lane, content))),
                Ok(None) => {}
                Err(_) => return,
            }
        }
    }
}

fn code(ended: &ConnectionError) -> Option<CloseCode> {
    match ended {
        ConnectionError::ApplicationClosed(close) => u32::try_from(close.error_code.into_inner()).ok().map(CloseCode),
        _ => None,
    }
}
