//! Whose keys count: the cards in a package, and those that people brought to compare.
//!
//! A card in a package proves that its parts belong together, and not who made it. So the report says of each whether
//! somebody has compared it, and what is said in the name of one that nobody has is only as good as that.

use super::{
    PackageFault,
    name::Name,
    report::{Confirmed, Party},
};
use crate::{
    id::{KeyId, OrgId},
    identity::{Card, CardKey, Purpose, UnconfirmedCard},
    primitive::PublicKey,
    time::UnixMillis,
};
use std::collections::{BTreeMap, BTreeSet};

/// Cards that people trust already, from their own files: one of each organisation.
#[derive(Debug, Clone, Default)]
pub struct Pins(Vec<UnconfirmedCard>);

impl Pins {
    /// A further card, whose words somebody has compared.
    pub fn push(&mut self, card: UnconfirmedCard) {
        self.0.push(card);
    }
}

/// An organisation in a package.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub card: Card,
    pub confirmed: Confirmed,
}

/// A card as it says itself.
fn by_itself(card: &UnconfirmedCard) -> Option<Card> {
    card.clone().confirm(card.digest()).ok()
}

/// Every organisation that has a card in the package.
#[derive(Debug, Default)]
pub(crate) struct Parties(BTreeMap<OrgId, Known>);

impl Parties {
    /// Takes the next card. They rise by organisation.
    pub fn push(&mut self, name: Name, bytes: &[u8]) -> Result<(), PackageFault> {
        let read = UnconfirmedCard::from_bytes(bytes).map_err(|fault| PackageFault::Card { name, fault })?;
        let org = read.payload().org;
        if self.0.last_key_value().is_some_and(|(before, _)| *before >= org) {
            return Err(PackageFault::Cards { name });
        }
        let card = by_itself(&read).ok_or(PackageFault::Cards { name })?;
        self.0.insert(org, Known { card, confirmed: Confirmed::ByNobody });
        Ok(())
    }

    /// Compares with the cards that people trust. The newer of two counts: it decides what is revoked.
    pub fn pin(&mut self, pins: &Pins) -> Result<(), PackageFault> {
        for pin in &pins.0 {
            let org = pin.payload().org;
            let known = self.0.get_mut(&org).ok_or(PackageFault::NoSuchParty { org })?;
            let Some(trusted) = by_itself(pin) else { continue };
            let same = trusted.digest() == known.card.digest();
            // Two cards of one number: whose keys count nobody can tell (CARD-6).
            if !same && trusted.payload().number <= known.card.payload().number {
                let inside = UnconfirmedCard::from_bytes(known.card.bytes());
                let newer = inside.and_then(|inside| Card::verify_update(&trusted, inside));
                known.card = newer.map_err(|fault| PackageFault::Pin { org, fault })?;
                known.confirmed = Confirmed::BySuccession;
            } else {
                known.confirmed = if same { Confirmed::ByCard } else { Confirmed::ByNewerCard };
                known.card = trusted;
            }
        }
        Ok(())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&OrgId, &Known)> {
        self.0.iter()
    }
    pub fn get(&self, org: OrgId) -> Option<&Known> {
        self.0.get(&org)
    }

    /// Each, as it is told to people.
    pub fn said(&self) -> Vec<Party> {
        let party = |(org, known): (&OrgId, &Known)| {
            let payload = known.card.payload();
            Party {
                org: *org,
                name: payload.name.clone(),
                handle: payload.handle.clone(),
                number: payload.number,
                words: known.card.words(),
                confirmed: known.confirmed,
            }
        };
        self.0.iter().map(party).collect()
    }

    fn known(&self, org: OrgId, name: Name) -> Result<&Known, PackageFault> {
        self.0.get(&org).ok_or(PackageFault::NoCard { org, name })
    }

    /// The entry of a key on its organisation's card, whether it counts or not. `None` where it is not listed.
    pub fn listed(
        &self,
        org: OrgId,
        purpose: Purpose,
        kid: KeyId,
        name: Name,
    ) -> Result<Option<&CardKey>, PackageFault> {
        Ok(self.known(org, name)?.card.listed(purpose, kid))
    }

    /// Every key of a purpose that an organisation has, or had.
    pub fn keys(&self, org: OrgId, purpose: Purpose, name: Name) -> Result<Vec<&CardKey>, PackageFault> {
        Ok(self.known(org, name)?.card.keys(purpose).collect())
    }

    /// Every other organisation that may have witnessed this one's log, with the keys that it alone lists. And whose card
    /// lists one that stands on another card too: whose it is nobody can tell, so that it counts for none of them (WIT-6).
    pub fn witnesses(&self, log: OrgId) -> (Vec<(OrgId, Vec<PublicKey>)>, BTreeSet<OrgId>) {
        let mut listed: BTreeMap<&[u8], Vec<OrgId>> = BTreeMap::new();
        for (org, known) in &self.0 {
            for entry in known.card.keys(Purpose::Witness) {
                listed.entry(entry.key.as_bytes()).or_default().push(*org);
            }
        }
        let is_once = |key: &PublicKey| listed.get(key.as_bytes()).is_some_and(|by| by.len() == 1);
        let keys = |known: &Known| {
            let keys = known.card.keys(Purpose::Witness).map(|entry| &entry.key);
            keys.filter(|key| is_once(key)).cloned().collect::<Vec<_>>()
        };
        let others = self.0.iter().filter(|(other, _)| **other != log);
        let witnesses =
            others.map(|(other, known)| (*other, keys(known))).filter(|(_, keys)| !keys.is_empty()).collect();
        (witnesses, listed.values().filter(|by| by.len() > 1).flatten().copied().collect())
    }
}

/// Whether what somebody signed counts under a key: where others prove that it existed at a time at which the key counted,
/// always; else by the time that it states itself, as long as nobody else has the key (PKG-9).
pub(crate) fn counts(key: &CardKey, stated: UnixMillis, proved: Option<UnixMillis>) -> bool {
    let in_order = key.compromised.is_none() && key.counts_at(stated);
    in_order || proved.is_some_and(|at| key.counts_at(at))
}
