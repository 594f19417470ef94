//! What one session with one partner does: the synchronous core that the driver pumps.
//!
//! The driver knows nothing of records, the session nothing of stores; here they meet. Per partner it
//! remembers only what was said in the session under way; everything that matters is in the ledger.

pub mod bundles;
mod cards;
mod heads;
mod leases;
pub(crate) mod log;
mod lost;
mod onward;
mod recalls;

use crate::{
    agreements::{self, Held, Received},
    node::{
        Node,
        health::{Differs, Rival},
    },
    partners::PartnerState,
    receive::{self, Countersigned, ReceiveError, Taken},
    room::For,
    secret,
    share::{ShareError, feeds, outbox},
};
use entente_protocol::{
    agreement::{AgreementFault, SignedAgreement, Standing, StandingNotice},
    codec::{self, Bounds},
    cose::SignatureBytes,
    custody::{message::NOTICE_LOG, proof::logged_run},
    error::PeerFault,
    feed::{
        Carried, FeedKey,
        lost::{NOTICE_HELD, NOTICE_LOST},
    },
    grant::{NOTICE_HEARD, NOTICE_RELAYED, NOTICE_REQUEST},
    id::{AgreementDigest, AgreementId, FeedId, Nonce, OrgId, StoreId},
    lease::NOTICE_LEASE,
    primitive::sha256,
    session::{AgreementLine, CloseCode, Event, ReceivedHead, Role, SendError, Session, SessionConfig},
};
use std::collections::{BTreeMap, BTreeSet};

/// A session cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeFault {
    /// The partner broke the rules: close with a code and count it.
    #[error(transparent)]
    Peer(#[from] PeerFault),
    /// The partner is not, or no longer, known here.
    #[error("the partner is not known here")]
    Unknown,
    /// An agreement's keys were destroyed while the session went on: the next one begins without it.
    #[error("what came under an agreement was erased while the session went on")]
    Erased,
    /// We do not know the time, so nothing can be decided; in words for our own people.
    #[error("{0}")]
    Clock(String),
    /// Our own store: the node stops.
    #[error(transparent)]
    Fatal(ShareError),
    /// The session does not take a message: ours to mend.
    #[error("a message could not be queued: {0}")]
    Send(#[from] SendError),
}

impl ExchangeFault {
    /// The code that the partner is told.
    pub fn code(&self) -> CloseCode {
        match self {
            Self::Peer(fault) => fault.code(),
            Self::Unknown => CloseCode::REMOVED,
            Self::Erased => CloseCode::BUSY,
            Self::Fatal(_) | Self::Send(_) | Self::Clock(_) => CloseCode::INTERNAL,
        }
    }
}

impl From<ShareError> for ExchangeFault {
    fn from(error: ShareError) -> Self {
        if error.is_erased() { Self::Erased } else { Self::Fatal(error) }
    }
}

impl From<ReceiveError> for ExchangeFault {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Run(fault) => Self::Peer(PeerFault::Run(fault)),
            ReceiveError::Fork => Self::Peer(PeerFault::Receipt),
            // Answered where a run comes, which is the only place that it comes from.
            ReceiveError::Quarantined => Self::Peer(PeerFault::Feed),
            ReceiveError::Share(error) => error.into(),
        }
    }
}

/// What was said in one session.
pub struct Conversation {
    peer: OrgId,
    peer_store: Option<StoreId>,
    /// What its hello asks a lease to answer.
    peer_nonce: Option<Nonce>,
    renewed: leases::Renewed,
    /// Feeds whose head we have shown.
    offered: BTreeSet<FeedId>,
    /// Whether the opening is said.
    opened: bool,
    /// The rules that the partner was last told of.
    told: u64,
    /// The rules of which it was last told versions and standings.
    spoken: u64,
    /// How often what it was shown had been held back when the runs that wait were decided.
    held_back: u64,
    /// Agreements under which nothing goes now, as it was when we last looked.
    paused: BTreeSet<AgreementId>,
    /// What it was last told of agreements, if it was: no head under another may be shown.
    named: Option<Vec<AgreementLine>>,
    /// The versions that the partner holds in force.
    theirs: BTreeMap<AgreementId, AgreementDigest>,
    /// Heads of feeds of ours under agreements that are not in force here (yet): compared once they are.
    early: BTreeMap<FeedId, ReceivedHead>,
    /// Feeds of which a run came when nothing was taken, and what there must be room for: it waits at the partner.
    left: BTreeMap<FeedKey, For>,
    /// Feeds of which a run came that is known not to hold: they wait for people.
    quarantined: BTreeSet<FeedKey>,
    /// Whether a feed of ours was found to be behind what the partner holds, and it was not asked yet.
    behind: bool,
    /// Runs that came though they are held: who says them again makes us look for them.
    replayed: u64,
    /// Versions that both sides have, as far as this session has shown, with the SHA-256 of their signed form. Only what
    /// is held here stands in it, so it grows with our agreements and not with what a partner says.
    proposals: BTreeMap<AgreementDigest, [u8; 32]>,
    standings: BTreeSet<SignatureBytes>,
    recalls: recalls::Recalls,
    /// The place up to which the partner was told what it has not heard about onward release.
    onward: u64,
    /// Number of our card that the partner was told; none at first.
    card_told: Option<u64>,
    /// Whether the partner was shown a card of its own that it does not have.
    card_shown: bool,
    logs: log::Logs,
}

impl Conversation {
    /// Begins a session with a partner that the connection has proved.
    pub fn open(node: &Node, peer: OrgId, role: Role) -> Result<(Self, Session), ExchangeFault> {
        let book = node.book();
        if book.get(peer).is_none_or(|p| p.state == PartnerState::Removed) {
            return Err(ExchangeFault::Unknown);
        }
        clock(node)?;
        let nonce = Nonce::from_bytes(secret::random().map_err(ShareError::from)?);
        let config = SessionConfig { role, org: node.keys.org, store: node.holdings.store_id(), peer, nonce };
        let mut session = Session::new(config, node.clock.now())?;
        let mut conversation = Self {
            peer,
            peer_store: None,
            peer_nonce: None,
            renewed: leases::Renewed::new(),
            offered: BTreeSet::new(),
            opened: false,
            told: node.generation(),
            spoken: 0,
            held_back: node.held_back_from(peer),
            paused: BTreeSet::new(),
            named: None,
            theirs: BTreeMap::new(),
            early: BTreeMap::new(),
            left: BTreeMap::new(),
            quarantined: BTreeSet::new(),
            behind: false,
            replayed: 0,
            proposals: BTreeMap::new(),
            standings: BTreeSet::new(),
            recalls: recalls::Recalls::default(),
            onward: 0,
            card_told: None,
            card_shown: false,
            logs: log::Logs::default(),
        };
        conversation.name_agreements(node, &mut session)?;
        Ok((conversation, session))
    }

    /// How many runs came, since it was last asked, that are held already.
    pub const fn take_replayed(&mut self) -> u64 {
        std::mem::replace(&mut self.replayed, 0)
    }

    /// Proposals that are remembered.
    #[cfg(test)]
    pub fn proposals_known(&self) -> usize {
        self.proposals.len()
    }

    /// Takes an event of the session.
    pub fn event(&mut self, node: &Node, session: &mut Session, event: Event) -> Result<(), ExchangeFault> {
        match event {
            Event::Ready(hello) => {
                (self.peer_store, self.peer_nonce) = (Some(hello.store), Some(hello.nonce));
                self.greeted(node.clock.now(), hello.time);
                // A greeting whose clock differs from ours by more than minutes is none.
                node.believe(node.clock.now());
            }
            Event::Agreements(lines) => {
                self.theirs = lines.iter().map(|line| (line.id, line.version)).collect();
                self.compare(node);
                for line in &lines {
                    // What is said of another agreement has no place here, nor a second word of one party.
                    let mut parties = BTreeSet::new();
                    for signed in &line.standings {
                        let Some(notice) = stated(signed) else { continue };
                        let belongs = notice.agreement == line.id && parties.insert(notice.party);
                        if belongs && !self.standing(node, session, &notice, signed)? {
                            return Ok(());
                        }
                    }
                }
                self.offer_heads(node, session)?;
                self.opened = true;
            }
            Event::Heads(heads) => {
                self.heads(node, session, &heads.received)?;
                self.offer_heads(node, session)?;
                let (sent, received) = (heads.sent.len(), heads.received.len());
                tracing::debug!(partner = %self.peer.short(), sent, received, "heads were compared");
            }
            Event::Run { feed, message } => {
                // Refused now would be refused for good; the partner serves it again when the time is known.
                clock(node)?;
                let taken = match receive::run(node, &feed, &message) {
                    Err(ReceiveError::Fork) => return self.stopped(node, session, &feed),
                    Err(ReceiveError::Quarantined) => {
                        self.waits_for_people(node, session, feed);
                        return Ok(());
                    }
                    taken => taken?,
                };
                if taken.waits {
                    // Not taken, rather than taken and refused: once sharing goes on, it is served and decided again.
                    tracing::info!(partner = %feed.sender.short(), "a run waits at the partner: nothing of it can be judged now");
                    session.stop(feed.id());
                    let what = if message.carried.is_empty() { For::Word } else { For::Evidence };
                    self.left.insert(feed, what);
                    return Ok(());
                }
                let bytes: usize = message.carried.iter().map(|Carried(_, _, _, body)| body.len()).sum();
                let Taken { length, records, refused, held, .. } = taken;
                self.replayed += u64::from(held);
                tracing::debug!(partner = %feed.sender.short(), length, records, refused, bytes, "a run is kept");
                if let Some(receipt) = taken.receipt {
                    session.send_receipt(receipt)?;
                }
                node.note_success(self.peer);
                node.wake();
            }
            Event::Receipt { feed, receipt } => match receive::receipt(node, &feed, &receipt, Countersigned::Now) {
                Err(ReceiveError::Fork) => self.stopped(node, session, &feed)?,
                taken => {
                    let length = taken?;
                    tracing::debug!(partner = %feed.receiver.short(), length, "a run is countersigned");
                    node.note_success(self.peer);
                }
            },
            Event::Proposal(_) | Event::Card(_) if !node.may_change(self.peer) => {
                node.note_error(
                    self.peer,
                    "it sends more cards and proposals than are looked at in an hour".to_owned(),
                );
            }
            Event::Proposal(bytes) => {
                // A proposal that we cannot take is the business of people, not of the connection.
                let taken = agreements::receive(node, self.peer, &bytes);
                if !matches!(taken, Ok(Received::Known | Received::Passed)) {
                    node.note_change(self.peer);
                }
                // What a partner sent it need not be told, where it is what is held now. With fewer signatures than that it
                // has crossed what it was told: to be told again, whenever something changes here, would show that it does.
                if let (Ok(Received::Kept | Received::Known), Ok(signed)) =
                    (&taken, SignedAgreement::from_bytes(&bytes))
                    && node.rules().agreements.holds(&signed)
                {
                    self.proposals.insert(signed.digest(), sha256(&[&bytes]));
                }
                if matches!(taken, Ok(Received::GaveWay)) {
                    self.rival(node, &bytes);
                }
                if let Err(error) = taken {
                    store_fault(&error)?;
                    tracing::warn!(partner = %self.peer, %error, "a proposal was not taken");
                    node.note_error(self.peer, format!("a proposal was not taken: {error}"));
                }
            }
            Event::Standing(signed) => match stated(&signed) {
                Some(notice) => {
                    self.standing(node, session, &notice, &signed)?;
                }
                None => tracing::warn!(partner = %self.peer, "a notice was not taken: it is malformed"),
            },
            Event::Card(bytes) => self.hear_card(node, session, &bytes)?,
            Event::Notice(notice) if notice.kind == NOTICE_LEASE => self.leased(node, session, &notice)?,
            Event::Notice(notice) if notice.kind == NOTICE_LOG => self.hear_log(node, session, &notice)?,
            Event::Notice(notice) if (NOTICE_REQUEST..=NOTICE_RELAYED).contains(&notice.kind) => {
                // A notice of it costs as much as a proposal: so many are looked at.
                // What is not heard now is said again in a later session.
                if notice.kind != NOTICE_HEARD && !node.may_change(self.peer) {
                    return Ok(());
                }
                self.hear_onward(node, session, &notice)?;
            }
            Event::Notice(notice) if notice.kind == NOTICE_LOST => self.tell_lost(node, session, &notice)?,
            Event::Notice(notice) if notice.kind == NOTICE_HELD => self.take_lost(node, session, &notice)?,
            Event::Notice(notice) => self.notice(node, session, &notice)?,
            Event::Fork { feed, ours, theirs, signed } => {
                session.stop(feed.id());
                self.fork(node, &feed, ours, theirs, signed)?;
            }
            Event::Closed { code, by_peer } => {
                if code.blames_peer() {
                    let side = if by_peer { "the partner closed" } else { "closed" };
                    node.note_error(self.peer, format!("{side}: {}", code.name()));
                }
            }
        }
        Ok(())
    }

    /// Says what changed and fills the windows. Returns whether there is more to do at once.
    pub fn pump(&mut self, node: &Node, session: &mut Session) -> Result<bool, ExchangeFault> {
        let rules = node.rules();
        let Some(partner) = rules.book.get(self.peer).filter(|p| p.state != PartnerState::Removed) else {
            return Err(ExchangeFault::Unknown);
        };
        if !self.opened || !session.is_open() {
            return Ok(false);
        }
        self.tell(node, session)?;
        self.say_answers(node, session)?;
        self.say_recalls(node, session)?;
        self.say_onward(node, session)?;
        self.renew_leases(node, session)?;
        self.ask_lost(node, session)?;
        self.say_log(node, session)?;
        if !self.early.is_empty() {
            let early: Vec<ReceivedHead> = std::mem::take(&mut self.early).into_values().collect();
            self.heads(node, session, &early)?;
        }
        let held_back = node.held_back_from(self.peer);
        if self.held_back != held_back {
            for (agreement, _, _) in feeds::agreements_with(node, self.peer) {
                session.recall(agreement);
            }
            self.held_back = held_back;
        }
        if self.can_go_on(node)? {
            // A session shows each head once: what was left is served in the next one.
            session.close(CloseCode::BUSY);
            return Ok(false);
        }
        clock(node)?;
        let mut more = false;
        for (agreement, version, standing) in feeds::agreements_with(node, self.peer) {
            let feed = feeds::outgoing(node, self.peer, agreement);
            if partner.state == PartnerState::Suspended || standing != Standing::Active {
                // Once: it overtakes what is on its way too, and nothing new sets out.
                if self.paused.insert(agreement) {
                    session.recall(agreement);
                }
                continue;
            }
            self.paused.remove(&agreement);
            // A partner that waits for proofs takes nothing before them, and one that does not hold our version yet would
            // judge the run by another.
            if self.may_send() && self.theirs.get(&agreement) == Some(&version) {
                more |= self.fill(node, session, &feed)?;
            }
        }
        self.prove_sent(node, session)?;
        Ok(more)
    }

    /// Sends what is due of one feed, as far as its window goes. Whether there is more to do at once.
    fn fill(&mut self, node: &Node, session: &mut Session, feed: &FeedKey) -> Result<bool, ExchangeFault> {
        let id = feed.id();
        while session.window(id) > 0 {
            let Some(next) = session.next(id) else { return Ok(false) };
            // Whoever changes something wakes this session when it is in force.
            let Some(step) = next_run(node, feed, next.length)? else { return Ok(false) };
            match step.run {
                Some(run) => {
                    let logged = logged_run(&run.message.run).map_err(|e| fatal(&e.to_string()))?;
                    session.send_run(run.message)?;
                    self.owe(logged);
                }
                None => return Ok(step.more),
            }
        }
        Ok(false)
    }

    /// Names the agreements that the partner shares with us, where that differs from what it was told last: that
    /// something changed with others is not its business.
    fn name_agreements(&mut self, node: &Node, session: &mut Session) -> Result<(), ExchangeFault> {
        let lines = lines(node, self.peer);
        if self.named.as_ref() != Some(&lines) {
            session.offer_agreements(lines.clone())?;
            self.named = Some(lines);
        }
        Ok(())
    }

    /// Compares what the partner holds in force with what is held here, and names what differs.
    fn compare(&self, node: &Node) {
        let rules = node.rules();
        let mut differs = BTreeMap::new();
        let ours = rules.agreements.with(self.peer).filter(|held| held.binds(self.peer) && !held.erased);
        let ours: BTreeMap<AgreementId, (AgreementDigest, Standing)> =
            ours.filter_map(|held| Some((held.id, (held.in_force.as_ref()?.digest, held.standing)))).collect();
        for (id, (digest, standing)) in &ours {
            match self.theirs.get(id) {
                Some(theirs) if theirs != digest => drop(differs.insert(*id, Differs::Version(*theirs))),
                // What has ended may be erased there.
                None if *standing != Standing::Ended => drop(differs.insert(*id, Differs::Missing)),
                _ => {}
            }
        }
        let known =
            |id: &AgreementId| rules.agreements.get(*id).is_some_and(|held| held.erased) || ours.contains_key(id);
        differs.extend(self.theirs.keys().filter(|id| !known(id)).map(|id| (*id, Differs::Unknown)));
        node.note_differs(self.peer, differs);
    }

    /// Notes that the partner stands by another version than our people do, which only people can settle.
    fn rival(&self, node: &Node, bytes: &[u8]) {
        let Ok(theirs) = SignedAgreement::from_bytes(bytes) else { return };
        let Ok(agreement) = theirs.agreement() else { return };
        let rules = node.rules();
        if let Some(ours) = rules.agreements.get(agreement.id).and_then(|held| held.backed(node.keys.org)) {
            let rival = Rival { ours: ours.digest(), theirs: theirs.digest() };
            tracing::warn!(partner = %self.peer, agreement = %agreement.id, "the partner approved another version");
            node.note_rival(self.peer, agreement.id, rival);
        }
    }

    fn names(&self, agreement: AgreementId) -> bool {
        self.named.iter().flatten().any(|line| line.id == agreement)
    }

    /// Tells the partner what changed here since it was last told. Where the queue is full the rest is told when there is
    /// room again.
    fn tell(&mut self, node: &Node, session: &mut Session) -> Result<(), ExchangeFault> {
        match self.tell_all(node, session) {
            Err(ExchangeFault::Send(SendError::QueueFull)) => Ok(()),
            told => told,
        }
    }

    /// Standings first, they overtake all else. What is noted as told was taken by the queue.
    fn tell_all(&mut self, node: &Node, session: &mut Session) -> Result<(), ExchangeFault> {
        // Ahead of what is signed by a key that only it lists.
        let card = &*node.keys.card;
        if self.card_told != Some(card.payload().number) {
            session.send_card(card.bytes().to_vec())?;
            self.card_told = Some(card.payload().number);
        }
        let generation = node.generation();
        if self.spoken == generation {
            return Ok(());
        }
        if self.told != generation {
            // What waits was decided under the rules before: it is decided again when it is served.
            for (agreement, _, _) in feeds::agreements_with(node, self.peer) {
                session.withdraw_queued(agreement);
            }
        }
        let rules = node.rules();
        for held in rules.agreements.with(self.peer) {
            for notice in own_notices(node, held, self.peer) {
                if !self.standings.contains(notice) {
                    session.send_standing(notice.clone())?;
                    self.standings.insert(notice.clone());
                }
            }
            let broken = |e: AgreementFault| fatal(&e.to_string());
            for signed in versions(node, held, self.peer).map_err(broken)? {
                let bytes = signed.to_bytes().map_err(broken)?;
                let form = sha256(&[&bytes]);
                if self.proposals.get(&signed.digest()) != Some(&form) {
                    session.send_proposal(bytes)?;
                    self.proposals.insert(signed.digest(), form);
                }
            }
        }
        if self.told != generation {
            self.name_agreements(node, session)?;
            self.offer_heads(node, session)?;
            self.told = generation;
        }
        self.spoken = generation;
        Ok(())
    }

    /// Takes a notice that may be news. Whether the session goes on; `pump` drops what may not be sent any more.
    fn standing(
        &mut self,
        node: &Node,
        session: &mut Session,
        notice: &StandingNotice,
        signed: &SignatureBytes,
    ) -> Result<bool, ExchangeFault> {
        let rules = node.rules();
        // An agreement of others is as one that is not there: to count what is said of it would tell one from the other.
        let held = rules.agreements.with(self.peer).find(|held| held.id == notice.agreement);
        if held.is_none_or(|held| held.notices.contains(signed)) {
            return Ok(true);
        }
        if !node.may_change(self.peer) {
            // Not dropped, for it may be a suspension: it is said again in the next session.
            session.close(CloseCode::BUSY);
            return Ok(false);
        }
        let taken = agreements::receive_standing(node, notice.party, signed);
        if !matches!(taken, Ok(false)) {
            node.note_change(self.peer);
        }
        if let Err(error) = taken {
            store_fault(&error)?;
            tracing::warn!(partner = %self.peer, %error, "a notice was not taken");
        }
        Ok(true)
    }
}

/// The agreements that a partner shares with us.
fn lines(node: &Node, peer: OrgId) -> Vec<AgreementLine> {
    let rules = node.rules();
    rules
        .agreements
        .with(peer)
        // One that a partner is only proposed to join, or has left, is named to others.
        .filter(|held| held.binds(peer))
        .filter_map(|held| {
            let version = held.in_force.as_ref()?.digest;
            Some(AgreementLine { id: held.id, version, standings: held.notices.clone() })
        })
        .collect()
}

/// What we say of one agreement's standing.
fn own_notices<'a>(node: &Node, held: &'a Held, peer: OrgId) -> impl Iterator<Item = &'a SignatureBytes> {
    let (own, binds) = (node.keys.org, held.binds(peer));
    held.notices.iter().filter(move |notice| binds && stated(notice).is_some_and(|n| n.party == own))
}

/// The complete versions, then the one on its way, which follows them: a partner that has them takes no notice.
/// What others drafted is theirs to send, until people of ours stand behind it. Each goes to its own parties, whoever
/// is party to another version.
fn versions<'a>(node: &Node, held: &'a Held, peer: OrgId) -> Result<Vec<&'a SignedAgreement>, AgreementFault> {
    let mut all = Vec::new();
    for signed in held.signed.iter().chain(&held.next).chain(held.backed(node.keys.org)) {
        if signed.agreement()?.party(peer).is_some() {
            all.push(signed);
        }
    }
    Ok(all)
}

/// Whether something may pass under an agreement now.
fn shares(node: &Node, peer: OrgId, agreement: AgreementId) -> bool {
    node.rules().policy.passes(peer, agreement, node.interval()).is_ok()
}

/// The run of a feed that begins at an entry, signed before or now. None where what it was decided by has changed
/// meanwhile.
pub(crate) fn next_run(node: &Node, feed: &FeedKey, from: u64) -> Result<Option<outbox::Step>, ShareError> {
    // Before anything is read: a run that is served again is made without a transaction.
    let basis = node.basis();
    let row = feeds::out_row(node, feed, AgreementDigest::from_bytes([0; 32]))?;
    let step = if from < row.length {
        let run = outbox::again(node, feed, from)?;
        outbox::Step { more: run.is_some(), run }
    } else {
        outbox::step(node, feed)?
    };
    // A suspension, a refutation, or another version, overtakes what was decided before it: that is served and
    // decided again.
    Ok(basis.stands(node)?.then_some(step))
}

/// Without a known time there is no session: whatever came would be refused, and whatever is due would not go.
fn clock(node: &Node) -> Result<(), ExchangeFault> {
    crate::clock::say::trouble(node).map_or(Ok(()), |trouble| Err(ExchangeFault::Clock(trouble)))
}

/// What a standing notice says, and who it says that it is from; verified by whoever takes it.
fn stated(signed: &SignatureBytes) -> Option<StandingNotice> {
    let parsed = signed.parse().ok()?;
    codec::from_slice(parsed.danger_unverified_payload(), Bounds::bytes(1 << 10)).ok()
}

fn fatal(message: &str) -> ExchangeFault {
    tracing::error!(message, "the store failed");
    ExchangeFault::Fatal(ShareError::Store(crate::store::StoreError::Poisoned))
}

/// Passes on a fault of our own store; a partner's fault is handled where it happened.
fn store_fault(error: &agreements::AgreementError) -> Result<(), ExchangeFault> {
    if error.is_store() { Err(fatal(&error.to_string())) } else { Ok(()) }
}
