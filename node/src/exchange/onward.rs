//! What is said and heard about onward release in one session: requests, grants, what was passed on, answers of others.

use super::{Conversation, ExchangeFault, fatal};
use crate::{
    node::Node,
    onward::{OnwardError, said},
};
use entente_protocol::{
    grant::{NOTICE_HEARD, heard_to_bytes},
    session::{Notice, SendError, Session},
};

impl Conversation {
    /// Says what the partner has not heard yet. Where the queue is full, the rest is said when there is room.
    pub(super) fn say_onward(&mut self, node: &Node, session: &mut Session) -> Result<(), ExchangeFault> {
        let end = said::end(node, self.peer).map_err(|e| failed(e.into()))?;
        while self.onward < end {
            let page = said::to_say(node, self.peer, self.onward).map_err(failed)?;
            if page.is_empty() {
                self.onward = end;
            }
            for (next, notice) in page {
                match session.send_notice(notice) {
                    Err(SendError::QueueFull) => return Ok(()),
                    sent => sent?,
                }
                self.onward = next;
            }
        }
        Ok(())
    }

    /// Takes a notice about onward release, and says that it was heard once it is kept.
    pub(super) fn hear_onward(
        &mut self,
        node: &Node,
        session: &mut Session,
        notice: &Notice,
    ) -> Result<(), ExchangeFault> {
        if notice.kind == NOTICE_HEARD {
            return told(self, node, said::heard(node, self.peer, &notice.content));
        }
        let said::Taken { id, rules, answers } = match said::take(node, self.peer, notice) {
            Ok(taken) => taken,
            Err(error) => {
                node.note_change(self.peer);
                return told(self, node, Err(error));
            }
        };
        if rules {
            node.reload().map_err(|e| fatal(&e.message))?;
            crate::onward::grants::go_on(node).map_err(failed)?;
        }
        if answers {
            // Whoever passed it on may have more to say by now than that it waits.
            self.ask_recalls_again();
        }
        node.wake();
        let content = heard_to_bytes(&[id]).map_err(|e| fatal(&e.to_string()))?;
        match session.send_notice(Notice { kind: NOTICE_HEARD, content }) {
            // It is said again in the next session, and heard then.
            Err(SendError::QueueFull) => Ok(()),
            sent => Ok(sent?),
        }
    }
}

/// What cannot be taken is no fault of the connection, nor of our store: it is noted for people.
fn told(conversation: &Conversation, node: &Node, taken: Result<(), OnwardError>) -> Result<(), ExchangeFault> {
    match taken {
        Err(OnwardError::Partner(why) | OnwardError::Asked(why)) => {
            tracing::warn!(partner = %conversation.peer.short(), why, "a notice about onward release was not taken");
            node.note_error(conversation.peer, format!("a notice about onward release was not taken: {why}"));
            Ok(())
        }
        taken => taken.map_err(failed),
    }
}

/// A fault of our own store, unless an agreement was erased in the midst of it.
fn failed(error: OnwardError) -> ExchangeFault {
    match error {
        OnwardError::Share(error) => error.into(),
        other => fatal(&other.to_string()),
    }
}
