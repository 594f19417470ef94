//! The hostile partner: a valid certificate, a card that the victim has pinned, and hands of its own on every byte.
//!
//! It brings a session honestly into a state and then says what a move tells it to. It never touches another
//! machine: everything is on the loopback.

use entente_node::{
    agreements::Held,
    clock::SystemClock,
    config::Home as Folder,
    node::Node,
    peer::{
        Clock, Connection,
        book::{Book, Partner, PartnerState, SharedBook},
        endpoint::{Endpoint, Settings},
        tls::Identity,
    },
    secret::unlock::Unlock,
    share::{feeds, outbox},
};
use entente_protocol::{
    agreement::{Standing, StandingNotice},
    codec::frame::{self, FrameReader},
    cose::SignatureBytes,
    custody::{
        checkpoint::{Checkpoint, Origin, TreeHead},
        message::{LogMessage, NOTICE_LOG, OfferMessage, OwedMessage, SeenMessage},
        witness::Offer,
    },
    feed::{Cursor, FeedKey, Receipt, Run, RunMessage},
    id::{AgreementDigest, AgreementId, Hash, LoggedDigest, Nonce, OrgId, RecallId, RecordId, StoreId},
    limits,
    primitive::{self, SigningKey},
    recall::{self, Act, Answer, AnswerState, Answers, Recall},
    session::{AgreementLine, Heads, Hello, Lane, Message, Notice, ReceivedHead, SentHead},
    time::UnixMillis,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::{error::Error, net::SocketAddr, path::Path, sync::Arc, time::Duration};

pub type Done<T = ()> = Result<T, Box<dyn Error>>;

/// How far a session is when a move begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    /// Connected, no lane open.
    Connected,
    /// Both lanes are open, nothing is said.
    Greeting,
    /// Greeted: our agreements are due.
    Agreements,
    /// Agreements are named: our heads are due.
    Heads,
    /// Everything may be said.
    Open,
}

/// The partner.
pub struct Hostile {
    pub node: Node,
    pub victim: OrgId,
    pub agreement: AgreementId,
    pub version: AgreementDigest,
    /// Our feed to the victim, and its feed to us.
    pub ours: FeedKey,
    pub theirs: FeedKey,
    /// A run that we made as honest partners do. It is sent only where it is refused.
    pub honest: RunMessage,
    /// A run for somebody else, under an agreement that lets more go, and that agreement's version.
    pub broad: Option<(RunMessage, AgreementDigest)>,
    /// Agreements with the victim that were not used yet.
    fresh: Vec<(AgreementId, AgreementDigest)>,
    store: StoreId,
    endpoint: Endpoint,
    address: SocketAddr,
}

/// One session.
pub struct Talk {
    pub connection: Connection,
    pub control: Option<(quinn::SendStream, quinn::RecvStream)>,
    pub records: Option<(quinn::SendStream, quinn::RecvStream)>,
    /// Streams that are open and on which nothing more comes.
    pub silent: Vec<(quinn::SendStream, quinn::RecvStream)>,
    /// What the victim showed of our feed.
    pub held: Option<Cursor>,
    /// Whether the victim was told what was seen of its log, before which it sends no run.
    told_seen: bool,
    control_reader: FrameReader,
    records_reader: FrameReader,
}

/// A message about a log.
pub fn log(message: &LogMessage) -> Done<Message> {
    Ok(Message::Notice(Notice { kind: NOTICE_LOG, content: message.to_bytes()? }))
}

fn now() -> UnixMillis {
    use entente_node::clock::Clock as _;
    SystemClock.now()
}

impl Hostile {
    /// Over the home of an organisation that was introduced to the victim. Within a runtime.
    pub fn new(home: &str, key: &str, victim: &str, store: StoreId) -> Done<Self> {
        let unlock = Unlock::IdentityFile(Path::new(key).to_owned());
        let node = Node::open(Folder::at(home), &unlock, Arc::new(SystemClock))?;
        let rules = node.rules();
        let (victim, partner) = rules.book.find(victim)?;
        let address = partner.card.payload().addresses.first().ok_or("no address")?.as_str().parse()?;
        let known = Partner::by_card(&partner.card, PartnerState::Active);
        let version = |held: &Held| Some((held.id, held.in_force.as_ref()?.digest));
        let mut fresh: Vec<_> = rules.agreements.with(victim).filter_map(version).collect();
        let chain = node.keys.chain().into_iter().map(CertificateDer::from).collect();
        let key = PrivatePkcs8KeyDer::from(node.keys.tls.expose().clone());
        let identity = Identity::new(node.keys.org, chain, key, now())?;
        let book = SharedBook::new(Book { partners: [(victim, known)].into() });
        let endpoint = Endpoint::bind("127.0.0.1:0".parse()?, identity, book, Clock::new(now), Settings::default())?;
        let other = rules.book.iter().find(|(org, _)| **org != victim).map(|(org, _)| *org);
        let broad = match other.and_then(|other| Some((other, version(rules.agreements.with(other).next()?)?))) {
            Some((other, (agreement, version))) => {
                let run = outbox::step(&node, &feeds::outgoing(&node, other, agreement))?.run;
                run.map(|run| (run.message, version))
            }
            None => None,
        };
        let (agreement, version) = fresh.pop().ok_or("no agreement")?;
        let (ours, theirs, honest) = Self::under(&node, victim, store, agreement)?;
        Ok(Self { honest, broad, victim, agreement, version, ours, theirs, fresh, store, endpoint, address, node })
    }

    /// The feeds under an agreement, and the run that an honest partner would send first.
    fn under(
        node: &Node,
        victim: OrgId,
        store: StoreId,
        agreement: AgreementId,
    ) -> Done<(FeedKey, FeedKey, RunMessage)> {
        let ours = feeds::outgoing(node, victim, agreement);
        let honest = outbox::step(node, &ours)?.run.ok_or("nothing to send")?.message;
        Ok((ours, feeds::incoming(node, victim, store, agreement), honest))
    }

    /// What the last move stopped stays stopped: goes on under an agreement that was not used yet.
    pub fn turn(&mut self) -> Done {
        (self.agreement, self.version) = self.fresh.pop().ok_or("no other agreement")?;
        (self.ours, self.theirs, self.honest) = Self::under(&self.node, self.victim, self.store, self.agreement)?;
        Ok(())
    }

    /// A session in a state, reached as honest partners reach it.
    pub async fn reach(&self, at: At) -> Done<Talk> {
        let link = self.endpoint.dial(self.victim, self.address).await?;
        let mut talk = Talk {
            connection: link.connection,
            control: None,
            records: None,
            silent: Vec::new(),
            held: None,
            told_seen: false,
            control_reader: FrameReader::new(limits::CONTROL_FRAME_BYTES_MAX),
            records_reader: FrameReader::new(limits::FRAME_BYTES_MAX),
        };
        if at >= At::Greeting {
            talk.control = Some(talk.stream(1).await?);
            talk.records = Some(talk.stream(2).await?);
        }
        if at >= At::Agreements {
            talk.say(&Message::Hello(self.hello())).await?;
        }
        if at >= At::Heads {
            talk.say(&Message::Agreements(self.lines())).await?;
        }
        if at >= At::Open {
            talk.say(&Message::Heads(self.heads())).await?;
            while talk.held.is_none() {
                if let Message::Heads(heads) = talk.hear(Lane::Control).await? {
                    talk.held = heads.received.iter().find(|h| h.feed == self.ours).map(|h| h.head);
                }
            }
        }
        Ok(talk)
    }

    pub fn hello(&self) -> Hello {
        Hello {
            org: self.node.keys.org,
            time: now(),
            nonce: Nonce::from_bytes([7; 16]),
            store: self.node.holdings.store_id(),
            versions: vec![1],
        }
    }

    pub fn lines(&self) -> Vec<AgreementLine> {
        vec![AgreementLine { id: self.agreement, version: self.version, standings: Vec::new() }]
    }

    /// Heads of feeds that are empty, as a partner after a fresh start shows them.
    pub fn heads(&self) -> Heads {
        Heads {
            sent: vec![SentHead { run: None, feed: self.ours, head: Cursor::start(self.ours.id()), acknowledged: 0 }],
            received: vec![ReceivedHead { feed: self.theirs, head: Cursor::start(self.theirs.id()), receipt: None }],
        }
    }

    /// The same run over other entries, signed by us, where the victim expects it.
    pub fn resign(&self, message: &mut RunMessage, held: Option<Cursor>, change: impl FnOnce(&mut Run)) -> Done {
        let held = held.ok_or("the victim showed no head")?;
        let hashes: Vec<_> = message.entries.iter().map(entente_protocol::feed::RunEntry::hash).collect();
        let mut run = Run::over(self.ours.id(), held, &hashes, self.version, now(), None)?;
        change(&mut run);
        message.run = run.sign(&self.node.keys.runs)?;
        Ok(())
    }

    /// A standing of the victim that the victim never stated.
    pub fn forged_standing(&self) -> Done<SignatureBytes> {
        let notice = StandingNotice {
            time: now(),
            party: self.victim,
            counter: 99,
            standing: Standing::Ended,
            agreement: self.agreement,
        };
        Ok(notice.sign(&self.node.keys.agreements)?)
    }

    /// Recalls of records that an organisation is said to have recorded, signed with our key.
    pub fn recalls(&self, originator: OrgId, many: usize) -> Done<Message> {
        let mut signed = Vec::with_capacity(many);
        for n in 0..many as u64 {
            let record = RecordId::from_bytes(primitive::sha256(&[&n.to_be_bytes()]));
            signed.push(Recall::new(Act::Erase, originator, record, now()).sign(&self.node.keys.records)?.1);
        }
        let content = recall::Recalls::own(signed).to_bytes()?;
        Ok(Message::Notice(Notice { kind: recall::NOTICE_RECALLS, content }))
    }

    /// A head of our log with so many leaves, signed by any key.
    pub fn head(&self, size: u64, key: &SigningKey) -> Done<Message> {
        let (origin, _) = self.node.log.at()?;
        let new = Checkpoint::sign(origin, TreeHead { size, root: Hash::from_bytes([7; 32]) }, key)?;
        log(&LogMessage::Offer(OfferMessage::new(&Offer { held: None, new, proof: Vec::new() })?))
    }

    /// A head of the victim's log that it never signed.
    pub fn seen(&self) -> Done<Message> {
        let (ours, store) = (self.node.log.at()?.0, self.theirs.store);
        let origin = Origin::new(self.victim, store, 0, ours.begins(0).0 / 1_000, 600).ok_or("an origin")?;
        let head =
            Checkpoint::sign(origin, TreeHead { size: 1, root: Hash::from_bytes([7; 32]) }, &self.node.keys.log)?;
        log(&LogMessage::Seen(SeenMessage { note: Some(head.to_bytes()?.into()), store }))
    }

    /// Asks the victim to prove runs that it never signed.
    pub fn owed(&self) -> Done<Message> {
        let runs = (0..limits::PROOFS_PER_MESSAGE_MAX as u64).map(|n| {
            let mut run = [7; 32];
            run[..8].copy_from_slice(&n.to_be_bytes());
            LoggedDigest::from_bytes(run)
        });
        log(&LogMessage::Owed(OwedMessage { runs: runs.collect(), store: self.theirs.store }))
    }

    /// Answers to recalls that nobody said.
    pub fn recall_answers(&self) -> Done<Message> {
        let answer = Answer { state: AnswerState::Complied, recall: RecallId::from_bytes([7; 32]) };
        let answers = Answers::new(self.node.keys.org, now(), vec![answer]).sign(&self.node.keys.runs)?;
        Ok(Message::Notice(Notice { kind: recall::NOTICE_ANSWERS, content: answers.to_bytes()? }))
    }

    /// A receipt of ours for a run of the victim, with one thing changed.
    pub fn receipt(&self, run: &Run, change: impl FnOnce(&mut Receipt)) -> Done<Message> {
        let mut receipt = Receipt::of(run, now());
        change(&mut receipt);
        Ok(Message::Receipt(receipt.sign(&self.node.keys.runs)?))
    }
}

impl Talk {
    /// Opens a stream that says what it carries.
    pub async fn stream(&self, carries: u8) -> Done<(quinn::SendStream, quinn::RecvStream)> {
        let mut stream = self.connection.open_bi().await?;
        stream.0.write_all(&[carries]).await?;
        Ok(stream)
    }

    /// Bytes, as they are. Once the victim has closed, nobody minds.
    pub async fn raw(&mut self, lane: Lane, bytes: &[u8]) -> Done {
        let stream = if lane == Lane::Control { &mut self.control } else { &mut self.records };
        let (send, _) = stream.as_mut().ok_or("the lane is not open")?;
        drop(send.write_all(bytes).await);
        Ok(())
    }

    /// A frame of any content.
    pub async fn frame(&mut self, lane: Lane, content: &[u8]) -> Done {
        let frame = frame::encode(content, 64 << 20)?;
        self.raw(lane, &frame).await
    }

    /// A message on its own lane.
    pub async fn say(&mut self, message: &Message) -> Done {
        self.frame(message.lane(), &message.to_bytes()?).await
    }

    /// The next message of a lane.
    pub async fn hear(&mut self, lane: Lane) -> Done<Message> {
        let (stream, reader) = match lane {
            Lane::Control => (&mut self.control, &mut self.control_reader),
            Lane::Records => (&mut self.records, &mut self.records_reader),
        };
        let (_, receive) = stream.as_mut().ok_or("the lane is not open")?;
        let mut byte = [0u8; 1];
        loop {
            // Byte by byte: nothing of the next frame is taken.
            tokio::time::timeout(Duration::from_secs(20), receive.read_exact(&mut byte)).await??;
            if let Some(content) = reader.take(&mut byte.as_slice())? {
                return Ok(Message::from_bytes(lane, &content)?);
            }
        }
    }

    /// Answers the victim, which asks what was seen of its log: nothing.
    async fn tell_seen(&mut self) -> Done {
        while !self.told_seen {
            let Message::Notice(notice) = self.hear(Lane::Control).await? else { continue };
            let asked = (notice.kind == NOTICE_LOG).then(|| LogMessage::from_bytes(&notice.content)).transpose()?;
            let Some(LogMessage::Ask(ask)) = asked else { continue };
            self.say(&log(&LogMessage::Seen(SeenMessage { note: None, store: ask.store }))?).await?;
            self.told_seen = true;
        }
        Ok(())
    }

    /// The next run of the victim.
    pub async fn hear_run(&mut self) -> Done<(RunMessage, Run)> {
        self.tell_seen().await?;
        match self.hear(Lane::Records).await? {
            Message::Run(message) => {
                let run = Run::danger_unverified(&message.run)?;
                Ok((*message, run))
            }
            other => Err(format!("`{}` on the records lane", other.name()).into()),
        }
    }

    /// The code with which the victim closes.
    pub async fn closed(&self) -> Done<u64> {
        match tokio::time::timeout(Duration::from_secs(25), self.connection.closed()).await? {
            quinn::ConnectionError::ApplicationClosed(close) => Ok(close.error_code.into_inner()),
            other => Err(format!("no close code: {other}").into()),
        }
    }

    /// What a request for a file comes to: the refusal's code, or none if the stream was cut off.
    pub async fn ask(&self, content: &[u8]) -> Done<Option<u16>> {
        use entente_protocol::session::fetch::Reply;
        let (mut send, mut receive) = self.stream(3).await?;
        send.write_all(&frame::encode(content, 64 << 20)?).await?;
        drop(send.finish());
        let Ok(answer) = receive.read_to_end(2 << 20).await else { return Ok(None) };
        let content = FrameReader::new(1 << 20).take(&mut answer.as_slice())?;
        match content.map(|bytes| Reply::from_bytes(&bytes)) {
            Some(Ok(Reply::Refused { code })) => Ok(Some(code)),
            Some(Ok(Reply::Header { .. })) => Err("a file is given that was never released".into()),
            _ => Ok(None),
        }
    }
}
