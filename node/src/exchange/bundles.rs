//! A bundle as one side of a session: what is said ahead of its runs, and how what a partner says in one is taken.
//!
//! `bundle` calls this and brings runs and files itself, through the functions that the wire's come through. What is said
//! here is what a session says, in its order: agreements, heads, the card, standings and versions, recalls, answers. Leases
//! are not: each answers a hello that has just been said. Nothing that a session would answer is sent from here: receipts
//! and answers go with the next bundle back, out of the ledger.

use super::{Conversation, ExchangeFault, lines, own_notices, shares, versions};
use crate::{
    error::Fault,
    node::Node,
    onward::said,
    recall::{asked, ending, holders},
    share::{ShareError, feeds},
};
use entente_protocol::{
    agreement::AgreementFault,
    bundle::Header,
    codec::CodecError,
    cose::SignatureBytes,
    error::PeerFault,
    grant::{NOTICE_HEARD, heard_from_bytes, heard_to_bytes},
    id::{AgreementDigest, NoticeId, OrgId},
    limits,
    recall::{Answer, Answers, NOTICE_ANSWERS, NOTICE_ERASURE, NOTICE_RECALLS},
    session::{Event, Heads, Hello, Lane, Message, Notice, ReceivedHead, Role, Session, VERSIONS},
    time::UnixMillis,
};

/// Where messages go.
pub type Say<'a> = &'a mut dyn FnMut(&Message) -> Result<(), Fault>;

/// Says to a partner what a session says before its runs. `answers` are those to the recalls that it asked of us last, and
/// `heard` is what was heard of it about onward release.
pub fn say_all(
    node: &Node,
    peer: OrgId,
    (answers, heard): (&[Answer], &[NoticeId]),
    say: Say<'_>,
) -> Result<(), Fault> {
    let (rules, broken) = (node.rules(), |e: AgreementFault| Fault::store(e));
    let coded = |e: CodecError| Fault::store(e);
    say(&Message::Agreements(lines(node, peer)))?;
    say(&Message::Heads(received(node, peer).map_err(Fault::store)?))?;
    say(&Message::Card(node.keys.card.bytes().to_vec()))?;
    for held in rules.agreements.with(peer) {
        for notice in own_notices(node, held, peer) {
            say(&Message::Standing(notice.clone()))?;
        }
        for signed in versions(node, held, peer).map_err(broken)? {
            say(&Message::Proposal(signed.to_bytes().map_err(broken)?))?;
        }
    }
    for (_, receipt) in ending::to_say(node, peer)? {
        let content = receipt.to_bytes().map_err(coded)?;
        say(&Message::Notice(Notice { kind: NOTICE_ERASURE, content }))?;
    }
    let mut next = 0;
    loop {
        // Each turn goes on behind the place before it.
        let (recalls, after) = holders::to_say(node, peer, next)?;
        let Some(recalls) = recalls else { break };
        let content = recalls.to_bytes().map_err(coded)?;
        say(&Message::Notice(Notice { kind: NOTICE_RECALLS, content }))?;
        next = after;
    }
    for some in answers.chunks(limits::RECALLS_PER_NOTICE_MAX) {
        let content = asked::answers(node, some)?.to_bytes().map_err(coded)?;
        say(&Message::Notice(Notice { kind: NOTICE_ANSWERS, content }))?;
    }
    let mut next = 0;
    loop {
        let page = said::to_say(node, peer, next)?;
        let Some((after, _)) = page.last() else { break };
        next = *after;
        for (_, notice) in page {
            say(&Message::Notice(notice))?;
        }
    }
    for some in heard.chunks(limits::RECALLS_PER_NOTICE_MAX) {
        say(&Message::Notice(Notice { kind: NOTICE_HEARD, content: heard_to_bytes(some).map_err(coded)? }))?;
    }
    Ok(())
}

/// What we hold of a partner's feeds, with the last receipt of each. Where nothing may pass now, nothing is shown.
fn received(node: &Node, peer: OrgId) -> Result<Heads, ShareError> {
    let mut heads = Heads::default();
    for (agreement, _, _) in feeds::agreements_with(node, peer) {
        let Some(store) = feeds::known_store(node, peer, agreement)? else { continue };
        let feed = feeds::incoming(node, peer, store, agreement);
        let row = feeds::in_row(node, &feed)?;
        if row.receipt.is_some() && shares(node, peer, agreement) && feeds::stopped(node, &feed)?.is_none() {
            heads.received.push(ReceivedHead { feed, head: row.cursor(), receipt: row.receipt });
        }
    }
    heads.received.sort_by_key(|head| head.feed);
    Ok(heads)
}

/// What a partner says in one bundle, taken as in a session.
pub struct Taking {
    talk: Conversation,
    session: Session,
    /// When the bundle was made: a session compares the partner's clock with ours, and here that was then.
    at: UnixMillis,
    /// Our answers to what was asked.
    answers: Vec<Answer>,
    /// What was heard about onward release.
    heard: Vec<NoticeId>,
}

impl Taking {
    /// Begins with the header in place of a hello.
    pub fn open(node: &Node, header: &Header) -> Result<Self, ExchangeFault> {
        let (mut talk, mut session) = Conversation::open(node, header.from, Role::Acceptor)?;
        let Header { from: org, time, nonce, store, .. } = *header;
        let hello = Message::Hello(Hello { org, time, nonce, store, versions: VERSIONS.to_vec() });
        let hello = hello.to_bytes().map_err(PeerFault::from)?;
        session.handle_frame(Lane::Control, &hello, time)?;
        // Not the event of a greeting: what was written some time ago says nothing of the time now.
        while session.poll_event().is_some() {}
        talk.peer_store = Some(store);
        Ok(Self { talk, session, at: time, answers: Vec::new(), heard: Vec::new() })
    }

    /// Takes a message that is no run.
    pub fn message(&mut self, node: &Node, content: &[u8]) -> Result<(), ExchangeFault> {
        self.session.handle_frame(Lane::Control, content, self.at)?;
        while let Some(event) = self.session.poll_event() {
            let event = match event {
                Event::Heads(heads) => Event::Heads(without_old(node, heads)?),
                event => event,
            };
            self.talk.event(node, &mut self.session, event)?;
        }
        if self.session.is_closed() {
            // On a connection the rest would come in a later session; here it must not pass for taken.
            return Err(
                PeerFault::TooMany { what: "notices in an hour", max: limits::CHANGES_PER_HOUR_MAX as usize }.into()
            );
        }
        while let Some((_, said)) = self.session.poll_frame() {
            self.note(node, &said);
        }
        Ok(())
    }

    /// Of what a session would say, our answers are remembered for the next bundle back. What there are too many of is
    /// asked again.
    fn note(&mut self, node: &Node, said: &[u8]) {
        let content = match Message::from_bytes(Lane::Control, said) {
            Ok(Message::Notice(Notice { kind: NOTICE_ANSWERS, content })) => content,
            Ok(Message::Notice(Notice { kind: NOTICE_HEARD, content })) => {
                self.heard.extend(heard_from_bytes(&content).unwrap_or_default());
                self.heard.truncate(limits::BUNDLE_ANSWERS_MAX);
                return;
            }
            _ => return,
        };
        let own = |_, _| Some(node.keys.runs.public().clone());
        let signed = SignatureBytes::from_bytes(&content, limits::CONTROL_FRAME_BYTES_MAX);
        if let Some(Ok(said)) = signed.ok().map(|signed| Answers::verify(&signed, node.keys.org, own)) {
            self.answers.extend(said.answers);
            self.answers.truncate(limits::BUNDLE_ANSWERS_MAX);
        }
    }

    /// Heads under agreements that came into force with this bundle are compared last. Gives our answers to what was
    /// asked, and what was heard.
    pub fn end(mut self, node: &Node) -> Result<(Vec<Answer>, Vec<NoticeId>), ExchangeFault> {
        let early: Vec<ReceivedHead> = std::mem::take(&mut self.talk.early).into_values().collect();
        self.talk.heads(node, &mut self.session, &early)?;
        self.answers.sort_by_key(|answer| answer.recall);
        self.answers.dedup_by_key(|answer| answer.recall);
        Ok((self.answers, self.heard))
    }
}

/// A head below what is countersigned is that of a bundle that lay somewhere for a while: unlike on a connection, it does
/// not tell that an older copy of the partner's store was put back.
fn without_old(node: &Node, mut heads: Heads) -> Result<Heads, ShareError> {
    let mut kept = Vec::new();
    for shown in heads.received {
        let row = feeds::out_row(node, &shown.feed, AgreementDigest::from_bytes([0; 32]))?;
        if row.countersigned.is_none_or(|known| known.length <= shown.head.length) {
            kept.push(shown);
        }
    }
    heads.received = kept;
    Ok(heads)
}
