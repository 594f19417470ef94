//! A card's way to trust: parsed and self-consistent ([`UnconfirmedCard`]), then confirmed ([`Card`]).
//!
//! A card signed by the root that it brings proves that its parts belong together, and nothing about
//! who made it. Only the digest that two people compared over the telephone, or an earlier card of
//! the same organisation, makes it a [`Card`], and only a [`Card`] hands out keys.

use super::{
    armour::{Armour, ArmourFault},
    payload::{CardKey, CardPayload, PayloadFault, Purpose, next_root},
    succession::first_root,
    words::Words,
};
use crate::{
    cose::{self, SignatureBytes, SignatureFault},
    id::{CardDigest, KeyId, OrgId},
    label, limits,
    primitive::{PublicKey, SigningKey, labelled},
    time::UnixMillis,
};

/// A card that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CardFault {
    /// The text around it.
    #[error(transparent)]
    Armour(#[from] ArmourFault),
    /// What it says is not well-formed.
    #[error(transparent)]
    Payload(#[from] PayloadFault),
    /// Its signature.
    #[error("the card is not signed by its own root: {0}")]
    Signature(#[from] SignatureFault),
    /// The organisation's id is not that of the root.
    #[error("the card claims an organisation that its root key is not")]
    Organisation,
    /// The signatures from root to root do not lead to this one.
    #[error("the card's succession does not lead from the first root to the present one")]
    Succession,
    /// Not the card that people confirmed.
    #[error("this is not the card that was confirmed: compare the twelve words again")]
    Unconfirmed,
    /// A card of another organisation where an update was expected.
    #[error("the card is of another organisation: pair with it anew")]
    OtherOrganisation,
    /// Another root than the one that we know.
    #[error("the card has another root than before: confirm it by voice again")]
    OtherRoot,
    /// It unsays a key of the one that we know (CARD-6).
    #[error(
        "the card leaves out key `{key}`, or says that it counts from later on: what it signed would be proved no more"
    )]
    Unsaid {
        /// The key.
        key: KeyId,
    },
    /// It takes back that a key has ended, or ends it before the known card was made.
    #[error(
        "the card has another end for key `{key}` than before: an end that was stated stays, and none is in the past"
    )]
    End {
        /// The key.
        key: KeyId,
    },
    /// Under the same root it commits to another next root than the one that we know.
    #[error(
        "the card names another next root than before under the same root: somebody else may have the root key; ask the \
         partner by voice"
    )]
    NextRoot,
    /// It says that it is older than the one that we know.
    #[error("the card says that it was made at `{given}`, before the one that is known, of `{known}`")]
    Backdated {
        /// When it says that it was made.
        given: UnixMillis,
        /// When the known one was.
        known: UnixMillis,
    },
    /// Another card of the number that we know.
    #[error(
        "there are two cards of number `{number}`: ask the partner, by voice, which is its own, and for a newer one"
    )]
    Twice {
        /// The number.
        number: u64,
    },
    /// Not newer than the one that we know.
    #[error("the card has number `{given}`, and number `{known}` is known: ask for the newest")]
    NotNewer {
        /// Its number.
        given: u64,
        /// The number known.
        known: u64,
    },
}

impl CardPayload {
    /// Signs the card with an Ed25519 root key: an array of one COSE_Sign1, as it is exchanged.
    pub fn sign_with(&self, root: &SigningKey) -> Result<Vec<u8>, CardFault> {
        let payload = self.to_bytes()?;
        signed_by_root(&SignatureBytes(cose::sign(label::SIGN_CARD, root, &payload)))
    }

    /// The bytes that a root key kept elsewhere signs; give the result to [`CardPayload::assemble`].
    pub fn to_be_signed(&self) -> Result<Vec<u8>, CardFault> {
        let root = self.root_key()?;
        Ok(cose::to_be_signed(label::SIGN_CARD, root.algorithm(), root.id(), &self.to_bytes()?))
    }

    /// Puts a signature made elsewhere (64 bytes: Ed25519, or r and s of ES256) to the card.
    pub fn assemble(&self, signature: &[u8]) -> Result<Vec<u8>, CardFault> {
        let root = self.root_key()?;
        signed_by_root(&SignatureBytes(cose::assemble(root.algorithm(), root.id(), &self.to_bytes()?, signature)))
    }
}

/// Nothing leaves that a partner would refuse: another key, a damaged signature.
fn signed_by_root(signature: &SignatureBytes) -> Result<Vec<u8>, CardFault> {
    let bytes = signature.to_bytes().map_err(SignatureFault::Form)?;
    UnconfirmedCard::from_bytes(&bytes)?;
    Ok(bytes)
}

/// A card whose parts fit and whose own root signed it. Nothing says yet who made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnconfirmedCard {
    payload: CardPayload,
    root: PublicKey,
    digest: CardDigest,
    bytes: Vec<u8>,
}

impl UnconfirmedCard {
    /// Reads a card as people exchange it: in its armour.
    pub fn from_armour(text: &str) -> Result<Self, CardFault> {
        Self::from_bytes(&Armour::CARD.open(text)?)
    }

    /// Reads a card: form, root, signature, and that the root is the organisation it claims.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CardFault> {
        let signature = SignatureBytes::from_bytes(bytes, limits::CARD_BYTES_MAX).map_err(SignatureFault::Form)?;
        let signed = signature.parse()?;
        let payload = CardPayload::from_bytes(signed.danger_unverified_payload())?;
        let root = payload.root_key()?;
        let digest = CardDigest::from_bytes(labelled(label::CARD_DIGEST, &[signed.verify(label::SIGN_CARD, &root)?]));
        if payload.org.as_bytes() != first_root(&payload.succession, &root)?.id().as_bytes() {
            return Err(CardFault::Organisation);
        }
        Ok(Self { payload, root, digest, bytes: bytes.to_vec() })
    }

    /// Trusts the card: `confirmed` is the digest whose words people compared, or that we stored then.
    pub fn confirm(self, confirmed: CardDigest) -> Result<Card, CardFault> {
        if confirmed == self.digest { Ok(Card::new(self)) } else { Err(CardFault::Unconfirmed) }
    }

    /// What it says, to be shown before it is confirmed.
    pub fn payload(&self) -> &CardPayload {
        &self.payload
    }
    /// Digest of what it says.
    pub fn digest(&self) -> CardDigest {
        self.digest
    }
    /// The twelve words to compare over the telephone.
    pub fn words(&self) -> Words {
        Words::of(self.digest)
    }
    /// The card as it came.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A card that we trust: the only source of an organisation's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    inner: UnconfirmedCard,
    /// Ids of the listed keys, in their order.
    ids: Vec<KeyId>,
}

impl Card {
    fn new(inner: UnconfirmedCard) -> Self {
        let ids = inner.payload.keys.iter().map(|k| k.key.id()).collect();
        Self { inner, ids }
    }

    /// Reads a card that was confirmed before, by the digest stored then.
    pub fn from_store(bytes: &[u8], confirmed: CardDigest) -> Result<Self, CardFault> {
        UnconfirmedCard::from_bytes(bytes)?.confirm(confirmed)
    }

    /// Takes a newer card of the same organisation. The newest decides.
    ///
    /// Its root is the one that we know, or that one's signed successor, and then the one to which the
    /// known card committed: neither a stolen old root nor a stolen new one is enough. Nor does a stolen root commit to
    /// another one: under one root the commitment stays.
    pub fn verify_update(previous: &Self, newer: UnconfirmedCard) -> Result<Self, CardFault> {
        if newer.payload.org != previous.org() {
            return Err(CardFault::OtherOrganisation);
        }
        if newer.root != previous.inner.root && !succeeds(previous, &newer) {
            return Err(CardFault::OtherRoot);
        }
        let (known, given) = (previous.payload().number, newer.payload.number);
        if given == known && newer.digest != previous.digest() {
            return Err(CardFault::Twice { number: given });
        }
        if given <= known {
            return Err(CardFault::NotNewer { given, known });
        }
        // Who has the root cannot make the next one his own: what was committed to is kept until it is used.
        let committed = previous.payload().next_root;
        if newer.root == previous.inner.root && committed.is_some() && newer.payload.next_root != committed {
            return Err(CardFault::NextRoot);
        }
        let (known, given) = (previous.payload().issued, newer.payload.issued);
        if given < known {
            return Err(CardFault::Backdated { given, known });
        }
        previous.payload().keys.iter().try_for_each(|key| stands(key, known, &newer))?;
        Ok(Self::new(newer))
    }

    /// The key with this id, if it is listed for this purpose and counts at `at`.
    ///
    /// `at` is when the signature is *proved* to have existed (a witnessed checkpoint or countersigned
    /// run that covers it), not the time that it states; without a proof it is now.
    pub fn key(&self, purpose: Purpose, id: KeyId, at: UnixMillis) -> Option<PublicKey> {
        self.listed(purpose, id).filter(|entry| entry.counts_at(at)).map(|entry| entry.key.clone())
    }

    /// The key to expect of this organisation at `at`: of those that count, the one that began last.
    pub fn current(&self, purpose: Purpose, at: UnixMillis) -> Option<&CardKey> {
        self.keys(purpose).filter(|entry| entry.counts_at(at)).max_by_key(|entry| entry.from)
    }

    /// The entry of a key, whether it counts or not.
    pub fn listed(&self, purpose: Purpose, id: KeyId) -> Option<&CardKey> {
        let (_, entry) = self.ids.iter().zip(&self.payload().keys).find(|(listed, _)| **listed == id)?;
        (entry.purpose == purpose).then_some(entry)
    }

    /// Every key of a purpose, former ones included.
    pub fn keys(&self, purpose: Purpose) -> impl Iterator<Item = &CardKey> {
        self.payload().keys.iter().filter(move |entry| entry.purpose == purpose)
    }

    /// Keys that were revoked or are in other hands: no connection under them is taken.
    pub fn withdrawn(&self) -> impl Iterator<Item = KeyId> {
        let entries = self.ids.iter().zip(&self.payload().keys);
        entries.filter(|(_, entry)| entry.revoked.is_some() || entry.compromised.is_some()).map(|(id, _)| *id)
    }

    /// The organisation.
    pub fn org(&self) -> OrgId {
        self.inner.payload.org
    }
    /// What it says.
    pub fn payload(&self) -> &CardPayload {
        &self.inner.payload
    }
    /// The root key.
    pub fn root(&self) -> &PublicKey {
        &self.inner.root
    }
    /// Digest of what it says.
    pub fn digest(&self) -> CardDigest {
        self.inner.digest
    }
    /// Its twelve words.
    pub fn words(&self) -> Words {
        self.inner.words()
    }
    /// The card as it came.
    pub fn bytes(&self) -> &[u8] {
        &self.inner.bytes
    }
    /// The card in its armour, to be given to partners.
    pub fn to_armour(&self) -> String {
        Armour::CARD.close(&self.inner.bytes)
    }
}

/// What a newer card may make of a key that the known one lists (CARD-6, CARD-10).
///
/// Evidence is proved by the keys of its day: they end, and are never unsaid. Keys of certificates prove who is at the other
/// end of a connection, and nothing afterwards: they come and go, but for those that were revoked, which never come back.
fn stands(known: &CardKey, issued: UnixMillis, newer: &UnconfirmedCard) -> Result<(), CardFault> {
    let key = known.key.id();
    let certificate = matches!(known.purpose, Purpose::Root | Purpose::Issuing | Purpose::Node);
    let withdrawn = known.revoked.is_some() || known.compromised.is_some();
    let Some(kept) = newer.payload.keys.iter().find(|kept| kept.key == known.key) else {
        return if certificate && !withdrawn { Ok(()) } else { Err(CardFault::Unsaid { key }) };
    };
    if kept.purpose != known.purpose || (!certificate && kept.from > known.from) {
        return Err(CardFault::Unsaid { key });
    }
    // What was signed while a card listed the key as good is taken back by `compromised` alone, which says why.
    let ends = |was: Option<UnixMillis>, is: Option<UnixMillis>, past: bool| match (was, is) {
        (None, None) => true,
        (Some(_), None) => false,
        (None, Some(is)) => past || is >= issued,
        (Some(was), Some(is)) => is == was || (is < was && (past || is >= issued)),
    };
    let holds = ends(known.until, kept.until, certificate)
        && ends(known.revoked, kept.revoked, certificate)
        && ends(known.compromised, kept.compromised, true);
    if holds { Ok(()) } else { Err(CardFault::End { key }) }
}

/// One step on from the known card's root, to the key that it committed to. That the last step leads to
/// the newer card's root was checked when that card was read.
fn succeeds(previous: &Card, newer: &UnconfirmedCard) -> bool {
    let before = newer.payload.succession.split_last().map(|(_, before)| before);
    previous.payload().next_root == Some(next_root(&newer.root))
        && before
            .and_then(|steps| first_root(steps, previous.root()).ok())
            .is_some_and(|first| first.id().as_bytes() == previous.org().as_bytes())
}

#[cfg(test)]
#[path = "card_tests.rs"]
mod tests;
