//! What is said and answered about recalls in one session.
//!
//! Our recalls go ahead of all that waits, a few notices at a time; each notice that comes is done, then answered. What
//! cannot be verified is no fault of the connection: it is noted for people, and nothing is answered.

use super::{Conversation, ExchangeFault, fatal};
use crate::{
    node::Node,
    recall::{RecallError, asked, ending, holders},
};
use entente_protocol::{
    id::AgreementId,
    limits,
    recall::{NOTICE_ANSWERS, NOTICE_ERASURE, NOTICE_RECALLS},
    session::{Notice, SendError, Session},
    time::{HOUR_MS, UnixMillis},
};
use std::collections::BTreeSet;

/// Notices that are said and not answered. More would fill the partner's time for one of us.
const UNANSWERED_MAX: u32 = 4;
/// How long an answer keeps further notices back.
const PATIENCE_MS: u64 = 60_000;
/// What was not answered for good is asked again after so long.
const AGAIN_MS: u64 = HOUR_MS;

/// What was said of recalls in one session.
#[derive(Debug, Default)]
pub(super) struct Recalls {
    /// The place in the partner's list from which nothing was said yet.
    next: u64,
    /// When the list was begun.
    began: UnixMillis,
    /// Notices that are not answered.
    unanswered: u32,
    /// When the last was said.
    said: UnixMillis,
    /// How often there was news of recalls when the list was last said to its end.
    told: Option<u64>,
    /// Agreements of which the partner was told that we erased what came under them.
    erased: BTreeSet<AgreementId>,
}

impl Conversation {
    /// Says what the partner is still to be asked. Where the queue is full, the rest is said when there is room.
    pub(super) fn say_recalls(&mut self, node: &Node, session: &mut Session) -> Result<(), ExchangeFault> {
        let (now, news) = (node.clock.now(), node.recalls());
        if self.recalls.told != Some(news) {
            for (agreement, receipt) in ending::to_say(node, self.peer).map_err(failed)? {
                if self.recalls.erased.contains(&agreement) {
                    continue;
                }
                let content = receipt.to_bytes().map_err(|e| fatal(&e.to_string()))?;
                match session.send_notice(Notice { kind: NOTICE_ERASURE, content }) {
                    Err(SendError::QueueFull) => return Ok(()),
                    sent => sent?,
                }
                self.recalls.erased.insert(agreement);
            }
        }
        // By the last look at the clock: what happens with others brings nothing forward.
        if node.looked_at().0.saturating_sub(self.recalls.began.0) >= AGAIN_MS {
            let erased = std::mem::take(&mut self.recalls.erased);
            self.recalls = Recalls { began: now, erased, ..Recalls::default() };
        }
        // What is not answered by now may never be, and keeps nothing behind it back.
        if now.0.saturating_sub(self.recalls.said.0) >= PATIENCE_MS {
            self.recalls.unanswered = 0;
        }
        while self.recalls.told != Some(news) && self.recalls.unanswered < UNANSWERED_MAX {
            let (say, next) = holders::to_say(node, self.peer, self.recalls.next).map_err(failed)?;
            let Some(say) = say else {
                (self.recalls.next, self.recalls.told) = (next, Some(news));
                return Ok(());
            };
            let content = say.to_bytes().map_err(|e| fatal(&e.to_string()))?;
            match session.send_notice(Notice { kind: NOTICE_RECALLS, content }) {
                Err(SendError::QueueFull) => return Ok(()),
                sent => sent?,
            }
            (self.recalls.next, self.recalls.said) = (next, now);
            self.recalls.unanswered += 1;
        }
        Ok(())
    }

    /// Says what a partner was answered otherwise before: a hold was lifted since. Where the queue is full, it asks again.
    pub(super) fn say_answers(&mut self, node: &Node, session: &mut Session) -> Result<(), ExchangeFault> {
        let given = node.take_answers(self.peer);
        for some in given.chunks(limits::RECALLS_PER_NOTICE_MAX) {
            let content = asked::answers(node, some).map_err(failed)?.to_bytes().map_err(|e| fatal(&e.to_string()))?;
            match session.send_notice(Notice { kind: NOTICE_ANSWERS, content }) {
                Err(SendError::QueueFull) => return Ok(()),
                sent => sent?,
            }
        }
        Ok(())
    }

    /// What was not answered for good is asked again at once.
    pub(super) fn ask_recalls_again(&mut self) {
        (self.recalls.next, self.recalls.told) = (0, None);
    }

    /// Takes a notice of a partner. A kind that is not known is passed over.
    pub(super) fn notice(&mut self, node: &Node, session: &mut Session, notice: &Notice) -> Result<(), ExchangeFault> {
        let done = match notice.kind {
            NOTICE_RECALLS => asked::take(node, self.peer, &notice.content).map(|answer| {
                node.wake();
                Some(answer)
            }),
            NOTICE_ANSWERS => {
                self.recalls.unanswered = self.recalls.unanswered.saturating_sub(1);
                holders::heard(node, self.peer, &notice.content, self.recalls.began).map(|_| None)
            }
            NOTICE_ERASURE => ending::received(node, self.peer, &notice.content).map(|_| None),
            _ => Ok(None),
        };
        match done {
            Ok(Some(answer)) => {
                let content = answer.to_bytes().map_err(|e| fatal(&e.to_string()))?;
                match session.send_notice(Notice { kind: NOTICE_ANSWERS, content }) {
                    // It is asked again, and answered then.
                    Err(SendError::QueueFull) => Ok(()),
                    sent => Ok(sent?),
                }
            }
            Ok(None) => Ok(()),
            Err(RecallError::Partner(why) | RecallError::Asked(why)) => {
                tracing::warn!(partner = %self.peer.short(), why, "a notice about recalls was not taken");
                node.note_error(self.peer, format!("a notice about recalls was not taken: {why}"));
                Ok(())
            }
            Err(error) => Err(failed(error)),
        }
    }
}

/// A fault of our own store, unless an agreement was erased in the midst of it.
pub(super) fn failed(error: RecallError) -> ExchangeFault {
    match error {
        RecallError::Share(error) => error.into(),
        other => fatal(&other.to_string()),
    }
}
