//! Cards in a session: a partner's newer one, and ours where the partner knows one that is not here.

use super::{Conversation, ExchangeFault, fatal};
use crate::{error::Blame, keys::take_up, node::Node, partners};
use entente_protocol::{identity::UnconfirmedCard, session::Session};

impl Conversation {
    /// Hears a card.
    pub(super) fn hear_card(&mut self, node: &Node, session: &mut Session, bytes: &[u8]) -> Result<(), ExchangeFault> {
        let given = UnconfirmedCard::from_bytes(bytes).ok();
        let org = given.as_ref().map(|given| given.payload().org);
        if let Some(given) = given.filter(|_| org == Some(node.keys.org)) {
            return self.shown(node, given);
        }
        match partners::update(node, self.peer, bytes) {
            Ok(true) => {
                node.note_change(self.peer);
                return node.reload().map_err(|e| fatal(&e.message));
            }
            Ok(false) => {}
            Err(error) if error.is_store() => return Err(fatal(&error.to_string())),
            Err(error) => {
                node.note_change(self.peer);
                tracing::warn!(partner = %self.peer, %error, "a card was not taken");
                node.note_error(self.peer, format!("a card was not taken: {error}"));
            }
        }
        if org == Some(self.peer) {
            self.show_known(node, session, bytes);
        }
        Ok(())
    }

    /// A partner that says an older card than we know was put back from a backup: it is shown the one that we know, once.
    fn show_known(&mut self, node: &Node, session: &mut Session, said: &[u8]) {
        let book = node.book();
        let known = book.card(self.peer).filter(|known| known.bytes() != said && !self.card_shown);
        let Some(known) = known else { return };
        // Where it finds no room now, it is said in the next session.
        self.card_shown = session.send_card(known.bytes().to_vec()).is_ok();
    }

    /// The partner knows a card of ours that is not here.
    fn shown(&mut self, node: &Node, given: UnconfirmedCard) -> Result<(), ExchangeFault> {
        node.note_change(self.peer);
        if let Err(fault) = take_up::offered(node, self.peer, given) {
            if fault.blame == Blame::Store {
                return Err(fatal(&fault.message));
            }
            tracing::warn!(partner = %self.peer, fault = fault.message, "a card of ours was shown, and not kept");
            node.note_error(self.peer, format!("it knows a card of ours that was not kept: {}", fault.message));
        }
        Ok(())
    }
}
