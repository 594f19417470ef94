//! Partners: organisations we have been introduced to. Nothing is trusted before the words were confirmed.

pub mod introduced;

use crate::{
    call,
    error::Fault,
    node::{self, Node},
    records::stored::{RowDamage, decode, encode},
    room::{self, For},
    seal::keyring::Partition,
    store::{StoreError, holdings::Holdings, layout::Table, txn::Txn},
};
use entente_protocol::{
    id::{CardDigest, KeyId, OrgId},
    identity::{Card, CardFault, Purpose, UnconfirmedCard, Words},
    limits,
    primitive::PublicKey,
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

/// Where a partner stands with us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartnerState {
    /// We share under the agreements in force.
    Active,
    /// No release; the control lane stays.
    Suspended,
    /// No connection at all.
    Removed,
}

impl PartnerState {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Removed => "removed",
        }
    }
}

/// A partner as it lies in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartnerRow {
    #[serde(with = "serde_bytes")]
    card: Vec<u8>,
    state: PartnerState,
    digest: CardDigest,
    /// Its handle as people confirmed it; a newer card that came over the wire does not change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    handle: Option<String>,
    confirmed: UnixMillis,
}

/// A partner.
#[derive(Debug, Clone)]
pub struct Partner {
    /// Its newest card.
    pub card: Card,
    /// Its short name, as people confirmed it with its words: no card that comes later by itself takes another's name.
    pub handle: String,
    /// Where it stands.
    pub state: PartnerState,
    /// When its words were confirmed.
    pub confirmed: UnixMillis,
}

/// An organisation that nobody here has confirmed: a partner showed its card with a record or an answer of it.
#[derive(Debug, Clone)]
pub struct Introduced {
    /// Its newest card that was shown.
    pub card: Card,
    /// Who showed it first.
    pub by: OrgId,
}

/// Every partner, by organisation, and who was introduced by one. A snapshot: changes make a new one.
#[derive(Debug, Default)]
pub struct Book(BTreeMap<OrgId, Partner>, BTreeMap<OrgId, Introduced>);

/// A partner could not be added or changed.
#[derive(Debug, thiserror::Error)]
pub enum PartnerError {
    /// The card is refused: the fault of whoever made or altered it.
    #[error("the card is refused: {0}; ask the partner for it again")]
    Card(#[from] CardFault),
    /// The words do not match.
    #[error("the words differ from the card's: do not add this partner, and ask it how it sent the card")]
    Words,
    /// Its own card.
    #[error("this is our own card: add it at the partner's node, and the partner's card here")]
    Own,
    /// Removing is undone by people who compare words, and by nothing less.
    #[error("`{0}` was removed: it needs its twelve words again, `entente partner add CARD`")]
    WasRemoved(String),
    /// Nobody of that name.
    #[error("there is no partner `{0}`: see `entente partner list`")]
    Unknown(String),
    /// The card's handle is ours, another partner's, or means ourselves.
    #[error("the card's handle `{0}` is taken here: ask the partner for a card with another `handle` in its settings")]
    Handle(String),
    /// Two partners share a handle.
    #[error("`{0}` names more than one partner: give the id")]
    Ambiguous(String),
    /// It makes cards faster than anybody does.
    #[error("so many newer cards came within an hour ({max}) that this one waits", max = limits::CARDS_PER_HOUR_MAX)]
    Often,
    /// The disk is full.
    #[error("{0}")]
    Room(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row does not read as written.
    #[error(transparent)]
    Damage(#[from] RowDamage),
}

impl PartnerError {
    /// Whether the store is at fault, and nobody outside.
    pub const fn is_store(&self) -> bool {
        matches!(self, Self::Store(_) | Self::Damage(_))
    }
}

/// What listings call this organisation itself.
pub const OWN: &str = "own";

impl Book {
    /// Reads every partner.
    pub fn load(holdings: &Holdings) -> Result<Self, PartnerError> {
        let mut book = BTreeMap::new();
        let mut after = None;
        loop {
            let page = holdings.list(Partition::Node, Table::PartnerList, b"", after, 500)?;
            let Some((last, _)) = page.last() else { return Ok(Self(book, introduced::load(holdings)?)) };
            after = Some(*last);
            for (n, id) in &page {
                let org = OrgId::from_slice(id).ok_or(StoreError::Broken { at: *n })?;
                let Some(row) = holdings.get(Partition::Node, Table::Partner, id)? else { continue };
                let row: PartnerRow = decode("partner", &row)?;
                let card = Card::from_store(&row.card, row.digest)?;
                let handle = row.handle.unwrap_or_else(|| card.payload().handle.clone());
                book.insert(org, Partner { card, handle, state: row.state, confirmed: row.confirmed });
            }
        }
    }

    /// Every partner that was not removed, and removed ones too.
    pub fn iter(&self) -> impl Iterator<Item = (&OrgId, &Partner)> {
        self.0.iter()
    }

    /// A partner.
    pub fn get(&self, org: OrgId) -> Option<&Partner> {
        self.0.get(&org)
    }

    /// A partner by handle, id, or beginning of its id.
    pub fn find(&self, given: &str) -> Result<(OrgId, &Partner), PartnerError> {
        let fits = |org: &OrgId, partner: &Partner| {
            partner.handle == given || (given.len() >= 8 && org.to_string().starts_with(given))
        };
        let found = || self.0.iter().filter(|(org, partner)| fits(org, partner));
        // Who was removed is found where nobody else is meant.
        let mut present = found().filter(|(_, partner)| partner.state != PartnerState::Removed).peekable();
        let mut found: Box<dyn Iterator<Item = _>> = match present.peek() {
            Some(_) => Box::new(present),
            None => Box::new(found()),
        };
        match (found.next(), found.next()) {
            (Some((org, partner)), None) => Ok((*org, partner)),
            (Some(_), Some(_)) => Err(PartnerError::Ambiguous(given.to_owned())),
            (None, _) => Err(PartnerError::Unknown(given.to_owned())),
        }
    }

    /// Who is known by a partner's word alone.
    pub fn introduced(&self, org: OrgId) -> Option<&Introduced> {
        self.1.get(&org).filter(|_| !self.0.contains_key(&org))
    }

    /// The newest card of an organisation, whoever confirmed it.
    pub fn card(&self, org: OrgId) -> Option<&Card> {
        self.get(org).map(|partner| &partner.card).or_else(|| Some(&self.introduced(org)?.card))
    }

    /// The key of whoever recorded or received something, for what others brought of it: also of an organisation that was
    /// only introduced. For a purpose, if it counts at `at`.
    pub fn others_key(&self, org: OrgId, purpose: Purpose, id: KeyId, at: UnixMillis) -> Option<PublicKey> {
        self.card(org)?.key(purpose, id, at)
    }

    /// A partner's key for a purpose, if it counts at `at`.
    pub fn key(&self, org: OrgId, purpose: Purpose, id: KeyId, at: UnixMillis) -> Option<PublicKey> {
        self.get(org)?.card.key(purpose, id, at)
    }

    /// A partner's key for a purpose, for what it signed before `now` and shows as its history: one that counts now, or
    /// one that counted when the signature says that it was made and is in nobody else's hands. A key that was retired
    /// in good order takes nothing back.
    pub fn past_key(
        &self,
        org: OrgId,
        purpose: Purpose,
        id: KeyId,
        now: UnixMillis,
        stated: UnixMillis,
    ) -> Option<PublicKey> {
        Self::of_card(&self.get(org)?.card, purpose, id, now, stated)
    }

    /// The same of an organisation that may be known by a partner's word alone.
    pub fn others_past_key(
        &self,
        org: OrgId,
        purpose: Purpose,
        id: KeyId,
        now: UnixMillis,
        stated: UnixMillis,
    ) -> Option<PublicKey> {
        Self::of_card(self.card(org)?, purpose, id, now, stated)
    }

    fn of_card(card: &Card, purpose: Purpose, id: KeyId, now: UnixMillis, stated: UnixMillis) -> Option<PublicKey> {
        let entry = card.listed(purpose, id)?;
        let counted = entry.compromised.is_none() && stated <= now && entry.counts_at(stated);
        (counted || entry.counts_at(now)).then(|| entry.key.clone())
    }
}

/// A view of a partner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartnerView {
    /// Organisation id.
    pub id: String,
    /// Short name.
    pub handle: String,
    /// Name.
    pub name: String,
    /// active, suspended or removed.
    pub state: String,
    /// Addresses of its node.
    pub addresses: Vec<String>,
    /// Number of its newest card.
    pub card: u64,
    /// When its words were confirmed.
    pub confirmed: String,
    /// The twelve words of its newest card.
    pub words: String,
}

impl PartnerView {
    /// The view of a partner.
    pub fn new(org: OrgId, partner: &Partner) -> Self {
        let payload = partner.card.payload();
        Self {
            id: org.to_string(),
            handle: partner.handle.clone(),
            name: payload.name.clone(),
            state: partner.state.name().to_owned(),
            addresses: payload.addresses.iter().map(|a| a.as_str().to_owned()).collect(),
            card: payload.number,
            confirmed: partner.confirmed.to_string(),
            words: partner.card.words().to_string(),
        }
    }
}

/// A partner's row, within the transaction that will write it: nothing else changes it meanwhile.
fn read(txn: &Txn<'_>, org: OrgId) -> Result<Option<PartnerRow>, PartnerError> {
    let row = txn.get(Partition::Node, Table::Partner, org.as_bytes())?;
    row.map(|row| Ok(decode("partner", &row)?)).transpose()
}

/// Provenance, red lines and commands name partners by handle: each means one organisation. Asked within the transaction
/// that adds the partner.
fn is_free(node: &Node, txn: &Txn<'_>, org: OrgId, handle: &str) -> Result<(), PartnerError> {
    let mut free = handle != OWN && handle != node.keys.card.payload().handle;
    for n in 0..txn.count(Partition::Node, Table::PartnerList, b"")? {
        let id = txn.item(Partition::Node, Table::PartnerList, b"", n)?.and_then(|id| OrgId::from_slice(&id));
        let Some(other) = id.filter(|id| *id != org) else { continue };
        let taken = |row: PartnerRow| row.state != PartnerState::Removed && row.handle.as_deref() == Some(handle);
        free &= !read(txn, other)?.is_some_and(taken);
    }
    if free { Ok(()) } else { Err(PartnerError::Handle(handle.to_owned())) }
}

/// Adds a partner whose words were confirmed, or takes a newer card of a known one.
pub fn add(node: &Node, card: UnconfirmedCard, words: &str) -> Result<OrgId, PartnerError> {
    if Words::parse(words).ok() != Some(card.words()) {
        return Err(PartnerError::Words);
    }
    let digest = card.digest();
    let card = card.confirm(digest)?;
    let org = card.org();
    if org == node.keys.org {
        return Err(PartnerError::Own);
    }
    let mut txn = node.holdings.begin();
    let known = read(&txn, org)?;
    is_free(node, &txn, org, &card.payload().handle)?;
    // Words are about a card. Who was suspended stays so until somebody resumes it; only who was removed begins anew.
    let state = match &known {
        Some(PartnerRow { state: PartnerState::Suspended, .. }) => PartnerState::Suspended,
        _ => PartnerState::Active,
    };
    if let Some(known) = &known {
        // What a newer card revokes stays revoked, also for who was removed.
        let (given, known) = (card.payload().number, Card::from_store(&known.card, known.digest)?.payload().number);
        if known > given {
            return Err(CardFault::NotNewer { given, known }.into());
        }
    }
    let handle = Some(card.payload().handle.clone());
    let row = PartnerRow { card: card.bytes().to_vec(), state, digest, handle, confirmed: node.clock.now() };
    txn.put(Partition::Node, Table::Partner, org.as_bytes(), &encode("partner", &row)?)?;
    txn.push(Partition::Node, Table::Card, org.as_bytes(), card.bytes())?;
    if known.is_none() {
        txn.push(Partition::Node, Table::PartnerList, b"", org.as_bytes())?;
    }
    node.journal(&mut txn, "partner-add", &[("partner", org.to_string())])?;
    node::changed(&mut txn)?;
    txn.commit()?;
    Ok(org)
}

/// The longest file of a card that is read.
const CARD_FILE_MAX: u64 = 64 << 10;

/// A card from a file that a person named, in its armour.
pub fn read_card(path: &Path) -> Result<UnconfirmedCard, Fault> {
    let text = call::read_text(path, CARD_FILE_MAX)?;
    UnconfirmedCard::from_armour(&text).map_err(|e| {
        let fault = Fault::from(PartnerError::Card(e));
        Fault { message: format!("`{}`: {}", path.display(), fault.message), ..fault }
    })
}

/// Takes a newer card that a partner's node sent: same organisation, same root, higher number. As all cards are kept, each
/// counts as filled by the partner, and so many are taken in an hour; what is not taken now comes again in a later session.
/// It is taken though the partner's share is full, because it may say that a key is in other hands.
pub fn update(node: &Node, org: OrgId, bytes: &[u8]) -> Result<bool, PartnerError> {
    let newer = UnconfirmedCard::from_bytes(bytes)?;
    let mut txn = node.holdings.begin();
    let Some(known) = read(&txn, org)? else { return Err(PartnerError::Unknown(org.to_string())) };
    let before = Card::from_store(&known.card, known.digest)?;
    let twice = newer.payload().number == before.payload().number && newer.digest() != before.digest();
    if newer.payload().number <= before.payload().number && !twice {
        return Ok(false);
    }
    let card = Card::verify_update(&before, newer)?;
    if !node.may_take_card(org) {
        return Err(PartnerError::Often);
    }
    if let Some(why) = room::disk(node, For::Word) {
        return Err(PartnerError::Room(why));
    }
    // Where the partner stands is not the card's to say.
    let handle = known.handle.or_else(|| Some(before.payload().handle.clone()));
    let row = PartnerRow { card: card.bytes().to_vec(), digest: card.digest(), handle, ..known };
    txn.put(Partition::Node, Table::Partner, org.as_bytes(), &encode("partner", &row)?)?;
    txn.push(Partition::Node, Table::Card, org.as_bytes(), card.bytes())?;
    room::fill(&mut txn, org, card.bytes().len() as u64 + room::BESIDES_BYTES)?;
    let number = card.payload().number.to_string();
    node.journal(&mut txn, "partner-card", &[("partner", org.to_string()), ("number", number)])?;
    node::changed(&mut txn)?;
    txn.commit()?;
    node.note_card(org);
    Ok(true)
}

/// Suspends, resumes or removes a partner. The caller cuts connections after.
///
/// A removed partner comes back only through [`add`]: while it was removed nobody heard which keys it revoked.
pub fn set_state(node: &Node, org: OrgId, state: PartnerState) -> Result<(), PartnerError> {
    let mut txn = node.holdings.begin();
    let Some(known) = read(&txn, org)? else { return Err(PartnerError::Unknown(org.to_string())) };
    if known.state == PartnerState::Removed && state != PartnerState::Removed {
        return Err(PartnerError::WasRemoved(node.handle_of(org)));
    }
    let row = PartnerRow { state, ..known };
    txn.put(Partition::Node, Table::Partner, org.as_bytes(), &encode("partner", &row)?)?;
    let event = match state {
        PartnerState::Active => "partner-resume",
        PartnerState::Suspended => "partner-suspend",
        PartnerState::Removed => "partner-remove",
    };
    node.journal(&mut txn, event, &[("partner", org.to_string())])?;
    node::changed(&mut txn)?;
    txn.commit()?;
    Ok(())
}
