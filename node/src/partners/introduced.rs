//! Organisations that a partner introduced: whoever passes a record on shows its originator's card, and whoever answers for
//! another shows the other's.
//!
//! A card names its organisation by the digest of its root key, so that nobody can show another's in its place; that the
//! organisation is who it says to be, nobody here has confirmed. It is used to verify what came with it, and for nothing else:
//! no connection, no agreement. What a partner keeps back, such as a newer card that revokes a key, is not known here.

use super::{Book, Introduced, PartnerError};
use crate::{
    node::{self, Node},
    records::stored::{decode, encode},
    room,
    seal::keyring::Partition,
    store::{StoreError, holdings::Holdings, layout::Table, txn::Txn},
};
use entente_protocol::{
    id::{CardDigest, KeyId, OrgId},
    identity::{Card, Purpose, UnconfirmedCard},
    limits,
    primitive::PublicKey,
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;

/// An introduced organisation, as it lies in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IntroducedRow {
    by: OrgId,
    card: ByteBuf,
    digest: CardDigest,
}

/// Reads everybody who was introduced.
pub(super) fn load(holdings: &Holdings) -> Result<BTreeMap<OrgId, Introduced>, PartnerError> {
    let (mut all, mut after) = (BTreeMap::new(), None);
    loop {
        let page = holdings.list(Partition::Node, Table::Introduced, b"", after, 500)?;
        let Some((last, _)) = page.last() else { return Ok(all) };
        after = Some(*last);
        for (n, id) in &page {
            let org = OrgId::from_slice(id).ok_or(StoreError::Broken { at: *n })?;
            let Some(row) = holdings.get(Partition::Node, Table::Introduced, id)? else { continue };
            let row: IntroducedRow = decode("introduced organisation", &row)?;
            all.insert(org, Introduced { card: Card::from_store(&row.card, row.digest)?, by: row.by });
        }
    }
}

/// The cards that a message shows, where they are newer than what is known. A partner's serves to verify this message and is
/// not kept: its own card comes from itself.
pub struct Shown {
    cards: BTreeMap<OrgId, Card>,
}

impl Shown {
    /// Reads cards. One that does not verify, or is none of its organisation's known root, counts for nothing.
    pub fn read(book: &Book, own: OrgId, cards: &[ByteBuf]) -> Self {
        let mut shown = BTreeMap::new();
        for bytes in cards.iter().take(limits::CARDS_PER_MESSAGE_MAX) {
            let Ok(card) = UnconfirmedCard::from_bytes(bytes) else { continue };
            let digest = card.digest();
            let number = card.payload().number;
            let card = match book.card(card.payload().org) {
                Some(known) if number <= known.payload().number => continue,
                Some(known) => Card::verify_update(known, card),
                None => card.confirm(digest),
            };
            let Ok(card) = card else { continue };
            if card.org() != own {
                shown.insert(card.org(), card);
            }
        }
        Self { cards: shown }
    }

    /// The key of an organisation: by the card shown here, else by what is known of it.
    pub fn key(&self, book: &Book, org: OrgId, purpose: Purpose, id: KeyId, at: UnixMillis) -> Option<PublicKey> {
        match self.cards.get(&org) {
            Some(card) => card.key(purpose, id, at),
            None => book.others_key(org, purpose, id, at),
        }
    }

    /// The same, also of a key that counted at the time which a signature states.
    pub fn past_key(
        &self,
        book: &Book,
        org: OrgId,
        (purpose, id): (Purpose, KeyId),
        now: UnixMillis,
        stated: UnixMillis,
    ) -> Option<PublicKey> {
        Book::of_card(self.cards.get(&org).or_else(|| book.card(org))?, purpose, id, now, stated)
    }

    /// Whether what an organisation recorded may be taken of a partner: it is known, or the partner may still introduce one.
    pub fn takes(&self, book: &Book, by: OrgId, org: OrgId) -> bool {
        book.card(org).is_some() || count(book, by) < limits::INTRODUCED_PER_PARTNER_MAX
    }

    /// Keeps the cards of these organisations, within the transaction that keeps what they prove. Whether there is any: the
    /// rules are read again then.
    pub fn keep(
        &self,
        node: &Node,
        txn: &mut Txn<'_>,
        by: OrgId,
        of: impl Fn(OrgId) -> bool,
    ) -> Result<bool, StoreError> {
        let mut any = false;
        let book = node.book();
        let mut left = limits::INTRODUCED_PER_PARTNER_MAX.saturating_sub(count(&book, by));
        for (org, card) in self.cards.iter().filter(|(org, _)| of(**org) && book.get(**org).is_none()) {
            let known = book.introduced(*org);
            if known.is_none() && left == 0 {
                continue;
            }
            left -= usize::from(known.is_none());
            let row = IntroducedRow {
                by: known.map_or(by, |known| known.by),
                card: ByteBuf::from(card.bytes().to_vec()),
                digest: card.digest(),
            };
            let row = encode("introduced organisation", &row).map_err(|_| StoreError::Broken { at: 0 })?;
            room::fill(txn, by, row.len() as u64 + room::BESIDES_BYTES)?;
            txn.put(Partition::Node, Table::Introduced, org.as_bytes(), &row)?;
            if known.is_none() {
                txn.push(Partition::Node, Table::Introduced, b"", org.as_bytes())?;
            }
            node.journal(txn, "introduced", &[("organisation", org.to_string()), ("partner", by.to_string())])?;
            any = true;
        }
        if any {
            node::changed(txn)?;
        }
        Ok(any)
    }
}

fn count(book: &Book, by: OrgId) -> usize {
    book.1.values().filter(|known| known.by == by).count()
}
