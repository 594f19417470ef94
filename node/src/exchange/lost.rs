//! A feed that is behind what its receiver countersigned is taken up again: one run is asked for after the other.

use super::{Conversation, ExchangeFault, fatal};
use crate::{
    node::Node,
    share::lost::{self, Taken},
};
use entente_protocol::{
    feed::lost::{HeldRun, Lost, NOTICE_HELD, NOTICE_LOST},
    session::{CloseCode, Notice, SendError, Session},
};

impl Conversation {
    /// Asks for what this store does not have of what it sent.
    pub(super) fn ask_lost(&mut self, node: &Node, session: &mut Session) -> Result<(), ExchangeFault> {
        if !std::mem::take(&mut self.behind) {
            return Ok(());
        }
        for lost in lost::to_ask(node, self.peer)? {
            let content = lost.to_bytes().map_err(|e| fatal(&e.to_string()))?;
            match session.send_notice(Notice { kind: NOTICE_LOST, content }) {
                Err(SendError::QueueFull) => self.behind = true,
                sent => sent?,
            }
        }
        Ok(())
    }

    /// Answers a partner that lost the end of its feed; what cannot be answered is passed over.
    pub(super) fn tell_lost(
        &mut self,
        node: &Node,
        session: &mut Session,
        notice: &Notice,
    ) -> Result<(), ExchangeFault> {
        let (Ok(lost), Some(store)) = (Lost::from_bytes(&notice.content), self.peer_store) else { return Ok(()) };
        let Some(held) = lost::answer(node, self.peer, store, &lost)? else { return Ok(()) };
        // Looked up, each: who asks again and again pays for it.
        self.replayed += 1 + held.records.len() as u64 / 256;
        // One of so many records that they do not fit is taken without them: the run is what counts.
        let bare = || HeldRun { records: Vec::new(), ..held.clone() }.to_bytes();
        let content = held.to_bytes().or_else(|_| bare()).map_err(|e| fatal(&e.to_string()))?;
        match session.send_notice(Notice { kind: NOTICE_HELD, content }) {
            // It is asked again in the next session.
            Err(SendError::QueueFull) => Ok(()),
            sent => Ok(sent?),
        }
    }

    /// Takes a run of ours back.
    pub(super) fn take_lost(
        &mut self,
        node: &Node,
        session: &mut Session,
        notice: &Notice,
    ) -> Result<(), ExchangeFault> {
        let Ok(held) = HeldRun::from_bytes(&notice.content) else { return Ok(()) };
        match lost::take(node, self.peer, &held)? {
            Taken::More => self.behind = true,
            // A session shows each head once: the feed goes on in the next one.
            Taken::Done => session.close(CloseCode::BUSY),
            Taken::Nothing => {}
        }
        Ok(())
    }
}
