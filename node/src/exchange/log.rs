//! What is said about logs in one session: ours is witnessed by the partner and proves its runs, and the partner's by us.
//!
//! After each start nothing is offered before the partner has shown what it saw. What waits for room in the queue is said
//! at the next turn: each step is noted only when it was taken.

use super::{Conversation, ExchangeFault, fatal};
use crate::{
    custody::{CustodyError, anew, grow, owed, prove, witness},
    node::Node,
};
use entente_protocol::{
    custody::{
        checkpoint::{Checkpoint, UnverifiedCheckpoint},
        cosignature::Cosignature,
        message::{
            AskMessage, CompareMessage, CosignedMessage, DeclinedCode, DeclinedMessage, LogMessage, NOTICE_LOG,
            OfferMessage, OwedMessage, ProofsMessage, RunProof, UnprovedMessage,
        },
        note::SignatureLine,
    },
    id::{Hash, LoggedDigest},
    identity::Purpose,
    limits,
    session::{Notice, SendError, Session},
    time::UnixMillis,
};
use std::collections::{BTreeMap, BTreeSet};

/// Runs that wait for their proofs in one session; the partner asks for what is beyond it in the next.
const WAITING_MAX: usize = limits::OWED_RUNS_MAX;
/// Proofs in one message: each is a few kilobytes.
const PROOFS_MAX: usize = 64;

/// What was said in one session.
#[derive(Default)]
pub(super) struct Logs {
    /// Whether the partner was asked what it saw.
    asked: bool,
    /// What it saw last, once it has said so.
    seen: Option<Option<Checkpoint>>,
    /// The size that was offered and not answered.
    offered: Option<Checkpoint>,
    /// Whether an offer was answered.
    answered: bool,
    /// A partner that does not witness is not asked again in this session; one that is early, later.
    resting: Option<UnixMillis>,
    /// How far the partner's clock was behind ours at its greeting, in milliseconds.
    behind_ms: u64,
    /// Runs of ours that the partner waits for proofs of, with the leaf that holds each, once it was looked at.
    to_prove: BTreeMap<LoggedDigest, Option<u64>>,
    /// Runs of ours that it will not be shown: they are not in the log that goes on.
    unproved: BTreeSet<LoggedDigest>,
    /// Up to which of the partner's runs it was told that proofs are waited for.
    reminded: Option<LoggedDigest>,
    reminded_all: bool,
    /// Whether the partner was told what we saw of its log: it compares nothing beyond that.
    told: bool,
    /// The head from elsewhere that the partner was asked about.
    asked_about: Option<Hash>,
}

fn failed(error: CustodyError) -> ExchangeFault {
    fatal(&error.to_string())
}

/// What finds no room is said at the next turn.
fn or_later(said: Result<(), ExchangeFault>) -> Result<(), ExchangeFault> {
    match said {
        Err(ExchangeFault::Send(SendError::QueueFull)) => Ok(()),
        said => said,
    }
}

impl Conversation {
    /// The partner greeted: how far its clock is behind ours.
    pub(super) fn greeted(&mut self, now: UnixMillis, theirs: UnixMillis) {
        self.logs.behind_ms = now.0.saturating_sub(theirs.0);
    }

    /// Whether runs may go: the partner has shown what it saw of our log, and has been shown what it then waits for.
    pub(super) fn may_send(&self) -> bool {
        self.logs.seen.is_some() && (self.logs.answered || self.logs.offered.is_none())
    }

    /// A run was sent: its proof is owed.
    pub(super) fn owe(&mut self, run: LoggedDigest) {
        if self.logs.to_prove.len() < WAITING_MAX {
            self.logs.to_prove.entry(run).or_default();
        }
    }

    /// Says what is due about logs, also to a partner that is suspended: what is proved takes nothing along.
    pub(super) fn say_log(&mut self, node: &Node, session: &mut Session) -> Result<(), ExchangeFault> {
        or_later(self.say_log_all(node, session))
    }

    /// Proves what was sent in this turn, where the log has it already: if it waited for whatever wakes the session next,
    /// the partner would see when that happens.
    pub(super) fn prove_sent(&mut self, node: &Node, session: &mut Session) -> Result<(), ExchangeFault> {
        or_later(self.prove_runs(node, session))
    }

    fn say_log_all(&mut self, node: &Node, session: &mut Session) -> Result<(), ExchangeFault> {
        if !self.logs.asked {
            say(session, &LogMessage::Ask(AskMessage { store: node.holdings.store_id() }))?;
            self.logs.asked = true;
        }
        self.remind(node, session)?;
        self.ask_about(node, session)?;
        self.offer_log(node, session)?;
        self.prove_runs(node, session)
    }

    /// Tells the partner which of its runs wait for their proofs.
    fn remind(&mut self, node: &Node, session: &mut Session) -> Result<(), ExchangeFault> {
        let Some(store) = self.peer_store.filter(|_| !self.logs.reminded_all) else { return Ok(()) };
        loop {
            let page = limits::PROOFS_PER_MESSAGE_MAX;
            let runs = owed::waiting(node, self.peer, store, self.logs.reminded, page).map_err(failed)?;
            let Some(last) = runs.last().copied() else {
                self.logs.reminded_all = true;
                return Ok(());
            };
            say(session, &LogMessage::Owed(OwedMessage { runs, store }))?;
            self.logs.reminded = Some(last);
        }
    }

    /// Asks about a head of the partner's log that came from elsewhere.
    fn ask_about(&mut self, node: &Node, session: &mut Session) -> Result<(), ExchangeFault> {
        let Some(head) = node
            .log
            .to_compare(self.peer)
            .filter(|head| self.logs.told && self.logs.asked_about != Some(head.digest()))
        else {
            return Ok(());
        };
        let note = head.to_bytes().map_err(|e| fatal(&e.to_string()))?;
        say(session, &LogMessage::Compare(CompareMessage { head: note.into() }))?;
        self.logs.asked_about = Some(head.digest());
        Ok(())
    }

    /// Offers the head that is due by the earlier of both clocks.
    fn offer_log(&mut self, node: &Node, session: &mut Session) -> Result<(), ExchangeFault> {
        let Some(seen) = self.logs.seen.clone() else { return Ok(()) };
        let looked = node.looked_at();
        if self.logs.offered.is_some() || self.logs.resting.is_some_and(|until| looked < until) {
            return Ok(());
        }
        let (origin, made) = node.log.at().map_err(failed)?;
        let due = origin.size_at(UnixMillis(looked.0.saturating_sub(self.logs.behind_ms)));
        let known = seen.as_ref().filter(|seen| *seen.origin() == origin).map_or(0, |seen| seen.head().size);
        if due == 0 || due <= known {
            return Ok(());
        }
        if due > made {
            grow::grow(node, due).map_err(failed)?;
        }
        let offer = prove::offer(node, seen.as_ref(), due).map_err(failed)?;
        let message = OfferMessage::new(&offer).map_err(|e| fatal(&e.to_string()))?;
        say(session, &LogMessage::Offer(message))?;
        self.logs.offered = Some(offer.new);
        Ok(())
    }

    /// Proves the runs that stand under the head which the partner witnessed last.
    fn prove_runs(&mut self, node: &Node, session: &mut Session) -> Result<(), ExchangeFault> {
        let Some(Some(head)) = self.logs.seen.clone() else { return Ok(()) };
        let (origin, _) = node.log.at().map_err(failed)?;
        if *head.origin() != origin {
            return Ok(());
        }
        let mut proofs = Vec::new();
        // What stands in the interval under way, or later, waits for the next head.
        let is_due = |leaf: &Option<u64>| leaf.is_none_or(|leaf| leaf < head.head().size);
        let due: Vec<LoggedDigest> =
            self.logs.to_prove.iter().filter(|(_, leaf)| is_due(leaf)).map(|(run, _)| *run).collect();
        for run in due {
            let Some(signed) = prove::signed_in(node, run).map_err(failed)? else {
                self.unprovable(run);
                continue;
            };
            let leaf = origin.leaf_at(signed.1.at());
            if !is_due(&leaf) {
                self.logs.to_prove.insert(run, leaf);
                continue;
            }
            if !prove::is_for(node, &signed, self.peer).map_err(failed)? {
                self.unprovable(run);
                continue;
            }
            let Some(place) = prove::place(node, &signed).map_err(failed)? else {
                self.unprovable(run);
                continue;
            };
            if let Some(proof) = prove::proof(node, &place, run, head.head().size).map_err(failed)? {
                proofs.push(RunProof { run, proof });
            }
            if proofs.len() == PROOFS_MAX {
                self.say_proofs(session, &head, std::mem::take(&mut proofs))?;
            }
        }
        if !proofs.is_empty() {
            self.say_proofs(session, &head, proofs)?;
        }
        while let Some(last) = self.logs.unproved.iter().take(limits::PROOFS_PER_MESSAGE_MAX).next_back().copied() {
            let runs: Vec<LoggedDigest> = self.logs.unproved.range(..=last).copied().collect();
            say(session, &LogMessage::Unproved(UnprovedMessage { runs, store: node.holdings.store_id() }))?;
            self.logs.unproved.retain(|run| *run > last);
        }
        Ok(())
    }

    fn unprovable(&mut self, run: LoggedDigest) {
        self.logs.to_prove.remove(&run);
        // Beyond that it asks again in the next session.
        if self.logs.unproved.len() < WAITING_MAX {
            self.logs.unproved.insert(run);
        }
    }

    fn say_proofs(
        &mut self,
        session: &mut Session,
        head: &Checkpoint,
        proofs: Vec<RunProof>,
    ) -> Result<(), ExchangeFault> {
        let runs: Vec<LoggedDigest> = proofs.iter().map(|one| one.run).collect();
        say(session, &LogMessage::Proofs(ProofsMessage { proofs, checkpoint: head.digest() }))?;
        for run in runs {
            self.logs.to_prove.remove(&run);
        }
        Ok(())
    }

    /// Takes what the partner says about logs.
    pub(super) fn hear_log(
        &mut self,
        node: &Node,
        session: &mut Session,
        notice: &Notice,
    ) -> Result<(), ExchangeFault> {
        let Ok(message) = LogMessage::from_bytes(&notice.content) else {
            tracing::warn!(partner = %self.peer, "what a partner says about logs is malformed");
            node.note_error(self.peer, "what it says about logs is malformed".to_owned());
            return Ok(());
        };
        let Some(store) = self.peer_store else { return Ok(()) };
        match message {
            LogMessage::Ask(ask) if ask.store == store => {
                let seen = witness::tell_seen(node, self.peer, store).map_err(failed)?;
                answer(session, &seen)?;
                self.logs.told = true;
            }
            LogMessage::Seen(seen) if seen.store == node.holdings.store_id() => {
                self.saw(node, seen.note.as_deref().map(Vec::as_slice))?;
            }
            LogMessage::Offer(offer) => {
                if let Some(asked) = node.log.to_compare(self.peer)
                    && witness::hear_compared(node, self.peer, &offer, &asked).map_err(failed)?
                {
                    // It goes on from that head, which is not the one that was witnessed: an offer of its own follows.
                    return Ok(());
                }
                if let Some(said) = witness::hear_offer(node, self.peer, store, &offer).map_err(failed)? {
                    answer(session, &said)?;
                }
            }
            LogMessage::Cosigned(cosigned) => self.cosigned(node, &cosigned)?,
            LogMessage::Declined(declined) => self.declined(node, &declined)?,
            LogMessage::Proofs(proofs) => {
                owed::hear_proofs(node, self.peer, store, &proofs).map_err(failed)?;
            }
            LogMessage::Unproved(unproved) if unproved.store == store => {
                owed::hear_unproved(node, self.peer, &unproved).map_err(failed)?;
            }
            LogMessage::Owed(owed) if owed.store == node.holdings.store_id() => {
                owed.runs.into_iter().for_each(|run| self.owe(run));
            }
            LogMessage::Compare(compare) => {
                if !node.may_change(self.peer) {
                    return Ok(());
                }
                node.note_change(self.peer);
                let seen = self.logs.seen.clone().flatten();
                if let Some(offer) = compared(node, &compare.head, seen.as_ref()).map_err(failed)? {
                    answer(session, &LogMessage::Offer(offer))?;
                }
            }
            // Of another store than the ones that speak here.
            LogMessage::Ask(_) | LogMessage::Seen(_) | LogMessage::Unproved(_) | LogMessage::Owed(_) => {}
        }
        Ok(())
    }

    /// The partner shows what it saw of our log. Where that is more than we have, or something else, this store was
    /// restored from an older copy, and its log begins anew.
    fn saw(&mut self, node: &Node, note: Option<&[u8]>) -> Result<(), ExchangeFault> {
        let Some(note) = note else {
            self.logs.seen = Some(None);
            return Ok(());
        };
        let keys = node.keys.card.keys(Purpose::Log).map(|entry| &entry.key);
        let seen = UnverifiedCheckpoint::from_bytes(note).and_then(|head| head.verify(node.keys.org, keys));
        let Ok(seen) = seen else {
            tracing::warn!(partner = %self.peer, "what a partner says it saw of our log was not signed by us");
            node.note_error(self.peer, "what it says it saw of our log was not signed by us".to_owned());
            return Ok(());
        };
        let (origin, made) = node.log.at().map_err(failed)?;
        if seen.origin().store() != origin.store() {
            return Ok(());
        }
        let size = seen.head().size;
        let is_ours = match (*seen.origin() == origin, size <= made) {
            (true, true) => prove::root(node, size).map_err(failed)? == seen.head().root,
            (true, false) => false,
            // An earlier epoch is one that we have ended; a later one was begun by a copy that is gone.
            (false, _) => seen.origin().epoch() < origin.epoch(),
        };
        if !is_ours {
            if let Some(why) = forged(node, &seen) {
                node.note_error(self.peer, format!("it shows a head of our log that we do not know, {why}"));
                self.logs.seen = Some(None);
                return Ok(());
            }
            anew::begin(node, Some(&seen)).map_err(failed)?;
        }
        self.logs.seen = Some(Some(seen));
        Ok(())
    }

    fn cosigned(&mut self, node: &Node, message: &CosignedMessage) -> Result<(), ExchangeFault> {
        let Some(offered) = self.logs.offered.take_if(|offered| offered.digest() == message.checkpoint) else {
            return Ok(());
        };
        let book = node.book();
        let Some(partner) = book.get(self.peer) else { return Ok(()) };
        let now = node.clock.now();
        let keys: Vec<_> =
            partner.card.keys(Purpose::Witness).filter(|entry| entry.counts_at(now)).map(|entry| &entry.key).collect();
        let line = SignatureLine::parse(&message.line);
        let verified = line.map(|line| Cosignature::verify(&line, &offered, self.peer, keys, now));
        let Some(Ok(cosignature)) = verified else {
            node.note_error(self.peer, "its cosignature of our log does not hold".to_owned());
            (self.logs.answered, self.logs.resting) = (true, Some(UnixMillis(u64::MAX)));
            return Ok(());
        };
        self.logs.answered = true;
        prove::keep_cosigned(node, &offered, &cosignature, message.named).map_err(failed)?;
        self.logs.seen = Some(Some(offered));
        Ok(())
    }

    fn declined(&mut self, node: &Node, message: &DeclinedMessage) -> Result<(), ExchangeFault> {
        if self.logs.offered.take_if(|offered| offered.digest() == message.checkpoint).is_none() {
            return Ok(());
        }
        self.logs.answered = true;
        let interval = node.log.at().map_err(failed)?.0.interval_ms();
        match message.code {
            DeclinedCode::Stale => {
                // Once more in this session; a partner that goes on so is asked no more.
                let again = self.logs.resting.is_none();
                self.logs.resting = Some(if again { node.looked_at() } else { UnixMillis(u64::MAX) });
                self.saw(node, message.seen.as_deref().map(Vec::as_slice))?;
            }
            DeclinedCode::Early => {
                self.logs.behind_ms = self.logs.behind_ms.saturating_add(interval.min(60_000));
                self.logs.resting = Some(node.looked_at().plus(interval.min(60_000)));
            }
            DeclinedCode::Refused => {
                self.logs.resting = Some(UnixMillis(u64::MAX));
                node.note_error(self.peer, "it does not witness our log: ask its people why".to_owned());
            }
        }
        Ok(())
    }
}

/// Epochs that a copy of this store which is gone can have begun since.
const EPOCHS_AHEAD_MAX: u32 = 64;

/// Why a head of our log that we do not have is not from an older copy of this store: our log does not begin anew for it.
fn forged(node: &Node, seen: &Checkpoint) -> Option<&'static str> {
    let stolen = node.keys.card.listed(Purpose::Log, seen.key().id()).is_none_or(|entry| entry.compromised.is_some());
    let epoch = node.log.at().map_or(0, |(origin, _)| origin.epoch());
    let checks = [
        (stolen, "signed by a key of ours that is in other hands"),
        (seen.time() > node.clock.now().plus(limits::CLOCK_SKEW_MS_MAX), "of a time that has not come"),
        (seen.origin().epoch() > epoch.saturating_add(EPOCHS_AHEAD_MAX), "of an epoch far ahead"),
    ];
    checks.into_iter().find(|(is, _)| *is).map(|(_, why)| why)
}

/// Our own head at the size of one that somebody holds, and the one that the partner saw last, with what leads from one to
/// the other. A later one would show when others were here.
pub(crate) fn compared(
    node: &Node,
    head: &[u8],
    seen: Option<&Checkpoint>,
) -> Result<Option<OfferMessage>, CustodyError> {
    let Ok(asked) = UnverifiedCheckpoint::from_bytes(head) else { return Ok(None) };
    let keys = node.keys.card.keys(Purpose::Log).map(|entry| &entry.key);
    let Ok(asked) = asked.verify(node.keys.org, keys) else { return Ok(None) };
    let (origin, _) = node.log.at()?;
    let seen = seen.filter(|seen| *seen.origin() == origin).map_or(0, |seen| seen.head().size);
    if *asked.origin() != origin || asked.head().size > seen {
        return Ok(None);
    }
    let offer = prove::offer(node, Some(&asked), seen)?;
    Ok(OfferMessage::new(&offer).ok())
}

fn notice(message: &LogMessage) -> Result<Notice, ExchangeFault> {
    let content = message.to_bytes().map_err(|e| fatal(&e.to_string()))?;
    Ok(Notice { kind: NOTICE_LOG, content })
}

fn say(session: &mut Session, message: &LogMessage) -> Result<(), ExchangeFault> {
    Ok(session.send_notice(notice(message)?)?)
}

/// An answer for which there is no room is not given: it is asked for again in the next session.
fn answer(session: &mut Session, message: &LogMessage) -> Result<(), ExchangeFault> {
    match session.send_notice(notice(message)?) {
        Err(SendError::QueueFull) => Ok(()),
        sent => Ok(sent?),
    }
}
