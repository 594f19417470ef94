//! How far each feed is, on both sides: shown, compared, and stopped where there are two histories.

use super::{Conversation, ExchangeFault, recalls, shares};
use crate::{
    custody::owed,
    node::Node,
    recall::holders,
    receive::{self, Countersigned, ReceiveError, quarantine},
    room,
    share::{ShareError, feeds},
};
use entente_protocol::{
    cose::SignatureBytes,
    error::PeerFault,
    feed::{Comparison, Cursor, FeedKey, Receipt, Run, RunFault},
    id::{AgreementDigest, AgreementId},
    identity::Purpose,
    session::{Heads, ReceivedHead, SentHead, Session},
};
use std::collections::BTreeSet;

impl Conversation {
    /// Shows our heads of every feed that was not shown yet.
    pub(super) fn offer_heads(&mut self, node: &Node, session: &mut Session) -> Result<(), ExchangeFault> {
        let Some(peer_store) = self.peer_store else { return Ok(()) };
        let (mut heads, mut shown) = (Heads::default(), Vec::new());
        for (agreement, digest, _) in feeds::agreements_with(node, self.peer) {
            // One that came into force since is named first, by `tell`.
            if !self.names(agreement) {
                continue;
            }
            let out = feeds::outgoing(node, self.peer, agreement);
            if feeds::stopped(node, &out)?.is_none() && !self.offered.contains(&out.id()) {
                shown.push(out.id());
                let row = feeds::out_row(node, &out, digest)?;
                let last = row.length.checked_sub(1);
                let run = match last {
                    Some(last) => feeds::run_at(node, &out, &row, last)?.map(|(_, run)| run.run),
                    None => None,
                };
                let acknowledged = row.countersigned.map_or(0, |c| c.length);
                heads.sent.push(SentHead { run, feed: out, head: row.cursor(), acknowledged });
            }
            let incoming = feeds::incoming(node, self.peer, peer_store, agreement);
            let open = shares(node, self.peer, agreement) && feeds::stopped(node, &incoming)?.is_none();
            if open && !self.offered.contains(&incoming.id()) {
                shown.push(incoming.id());
                let row = feeds::in_row(node, &incoming)?;
                heads.received.push(ReceivedHead { feed: incoming, head: row.cursor(), receipt: row.receipt });
            }
        }
        // Nothing new to show is said only in the opening, where the partner waits for it.
        if self.opened && heads.sent.is_empty() && heads.received.is_empty() {
            return Ok(());
        }
        heads.sent.sort_by_key(|h| h.feed);
        heads.received.sort_by_key(|h| h.feed);
        session.offer_heads(heads)?;
        self.offered.extend(shown);
        Ok(())
    }

    /// Compares what the partner holds of our feeds with what we sent. Only of feeds that there are: nothing is written
    /// about any other.
    pub(super) fn heads(
        &mut self,
        node: &Node,
        session: &mut Session,
        received: &[ReceivedHead],
    ) -> Result<(), ExchangeFault> {
        let agreements: BTreeSet<AgreementId> =
            feeds::agreements_with(node, self.peer).into_iter().map(|(agreement, _, _)| agreement).collect();
        for shown in received {
            let feed = shown.feed;
            if !agreements.contains(&feed.agreement) {
                // In force on one side only, as one that the last party has just signed.
                self.early.entry(feed.id()).or_insert_with(|| shown.clone());
                continue;
            }
            if feed != feeds::outgoing(node, self.peer, feed.agreement) {
                // Of a store or an epoch that is not the one we greeted with.
                return Err(PeerFault::Feed.into());
            }
            let zero = AgreementDigest::from_bytes([0; 32]);
            let row = feeds::out_row(node, &feed, zero)?;
            let mut failed = None;
            let comparison = row.cursor().compare(shown.head, |length| {
                feeds::digest_at(node, &feed, &row, length).unwrap_or_else(|error| {
                    failed = Some(error);
                    None
                })
            });
            if let Some(error) = failed {
                return Err(error.into());
            }
            if row.countersigned.is_some_and(|known| known.length > shown.head.length) {
                // An older copy of its store was put back, perhaps: what it did with our recalls since is undone with it.
                holders::ask_again(node, self.peer).map_err(recalls::failed)?;
            }
            match (comparison, &shown.receipt) {
                // With the countersignature it is kept and proved; it also shows how a copy that is too old was found.
                (_, Some(receipt)) => match receive::receipt(node, &feed, receipt, Countersigned::Before) {
                    Ok(_) => {}
                    Err(ReceiveError::Fork) => {
                        self.stopped(node, session, &feed)?;
                        self.behind = true;
                    }
                    Err(error) => return Err(error.into()),
                },
                (Comparison::Equal | Comparison::Behind(_), None) => {}
                (Comparison::Ahead(_) | Comparison::Fork, None) => {
                    session.stop(feed.id());
                    self.fork(node, &feed, row.cursor(), shown.head, None)?;
                }
            }
        }
        Ok(())
    }

    /// Says why a feed is stopped, where people look.
    pub(super) fn stopped(&self, node: &Node, session: &mut Session, feed: &FeedKey) -> Result<(), ExchangeFault> {
        session.stop(feed.id());
        if let Some(row) = feeds::stopped(node, feed)? {
            node.note_error(self.peer, row.why(feed, node.keys.org).to_owned());
        }
        Ok(())
    }

    /// A run that is known not to hold came again: its feed waits in this session, and every other goes on.
    pub(super) fn waits_for_people(&mut self, node: &Node, session: &mut Session, feed: FeedKey) {
        session.stop(feed.id());
        tracing::info!(partner = %feed.sender.short(), agreement = %feed.agreement, "a run that does not hold came again");
        node.note_error(self.peer, "a run of it does not hold, and waits: `entente status` names it".to_owned());
        // It was looked at in vain once more.
        self.replayed += 1;
        self.quarantined.insert(feed);
    }

    /// Whether a run that was left can be taken now: people said so, or something may pass and both sides hold one version.
    pub(super) fn can_go_on(&self, node: &Node) -> Result<bool, ExchangeFault> {
        let rules = node.rules();
        for feed in &self.quarantined {
            if quarantine::of(node, feed.agreement, feed.sender)?.is_none() {
                return Ok(true);
            }
        }
        for (feed, what) in &self.left {
            let version = rules.policy.agreement(feed.agreement).map(|governed| governed.in_force.digest);
            let same = version.is_some() && version == self.theirs.get(&feed.agreement).copied();
            let open = same && shares(node, self.peer, feed.agreement) && feeds::stopped(node, feed)?.is_none();
            let proved = *what == room::For::Word
                || owed::withheld(node, self.peer, feed.store).map_err(ShareError::from)?.is_none()
                    && !owed::is_full(node, self.peer, feed.store).map_err(ShareError::from)?;
            if open && proved && room::lacking(node, self.peer, *what).map_err(ShareError::from)?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The head that the partner signed: of a feed of ours with a receipt, of its own with a run.
    fn signed_head(&self, node: &Node, feed: &FeedKey, signed: &SignatureBytes) -> Result<Cursor, RunFault> {
        let (book, now) = (node.book(), node.clock.now());
        let key = |stated| move |kid| book.past_key(self.peer, Purpose::Runs, kid, now, stated);
        if feed.sender == node.keys.org {
            Ok(Receipt::verify(signed, feed, key(Receipt::danger_unverified(signed)?.time))?.held)
        } else {
            Ok(Run::verify(signed, feed, key(Run::danger_unverified(signed)?.time))?.end())
        }
    }

    /// Two histories were shown: both heads are kept, with what the partner signed for its own. What it did not sign
    /// proves nothing, and stops nothing: it breaks the rules.
    pub(super) fn fork(
        &self,
        node: &Node,
        feed: &FeedKey,
        ours: Cursor,
        theirs: Cursor,
        signed: Option<SignatureBytes>,
    ) -> Result<(), ExchangeFault> {
        let proof = signed.as_ref().ok_or(PeerFault::Feed)?;
        if self.signed_head(node, feed, proof).map_err(PeerFault::Run)? != theirs {
            return Err(PeerFault::Feed.into());
        }
        let our_proof = if feed.sender == node.keys.org {
            let row = feeds::out_row(node, feed, AgreementDigest::from_bytes([0; 32]))?;
            feeds::run_at(node, feed, &row, ours.length.saturating_sub(1))?.map(|(_, sent)| sent.run)
        } else {
            feeds::in_row(node, feed)?.receipt
        };
        let row = feeds::StoppedRow { at: node.clock.now(), ours, theirs, our_proof, their_proof: signed };
        feeds::stop(node, feed, &row)?;
        node.note_error(self.peer, row.why(feed, node.keys.org).to_owned());
        Ok(())
    }
}
