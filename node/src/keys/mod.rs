//! Keys over time: every key of the organisation, its rotation, its revocation, and what follows for what it signed.
//!
//! Each change is one newer card: made here, checked as partners will check it, and written as the commit point, after
//! the journal told of it and after every new key file is durable under another name (`identity::overlap`). Partners get
//! it by the exchange of cards. The organisation's id is that of its first root, whatever is rotated. Private halves are
//! opened with what unlocked the home, for one command, and not kept. Called by `call` alone.

pub mod contacts;
pub mod keyring;
pub mod list;
pub mod revoke;
pub mod root;
pub mod rotate;
pub mod suspect;
pub mod take_up;
#[cfg(test)]
mod tests;
pub mod went;

use crate::{
    call::OnProgress,
    error::Fault,
    identity::{IdentityError, file, known},
    node::{self, Node},
    partners::PartnerState,
    seal::{
        hybrid::{Identity, Recipient},
        keyring::Partition,
    },
    secret::{
        Secret,
        durable::{self, Existing},
        keyfile::{KeyFile, KeyFileError},
        recovery,
        unlock::Unlock,
    },
    store::layout::Table,
};
use entente_protocol::{
    identity::{Card, CardFault, CardKey, CardPayload, Purpose, UnconfirmedCard},
    limits,
    primitive::SigningKey,
    time::{DAY_MS, UnixMillis},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::{fmt, path::PathBuf, sync::PoisonError};

/// How long keys of certificates that have ended stay listed: longer than any certificate of theirs counts.
const LISTED_MS: u64 = 120 * DAY_MS;

fn setup(why: impl fmt::Display) -> Fault {
    Fault::setup("keys", why)
}

impl From<IdentityError> for Fault {
    fn from(error: IdentityError) -> Self {
        setup(error)
    }
}

impl From<CardFault> for Fault {
    fn from(fault: CardFault) -> Self {
        Self::input("card-refused", format!("partners would refuse the card: {fault}"))
    }
}

/// What opens and seals key files, for one command.
pub struct Opened {
    identity: Identity,
    recovery: Recipient,
}

impl Opened {
    /// Asks again for what unlocked the home, or reads it.
    pub fn of(node: &Node) -> Result<Self, Fault> {
        let unlock = node.unlock.as_ref().ok_or_else(|| setup("the keys of this node were made elsewhere"))?;
        if node.is_served() && *unlock == Unlock::Prompt {
            let why = "the node runs and was unlocked at a terminal, so it cannot open its key files now: stop it \
                (`entente stop`), give this command again, and start it again";
            return Err(Fault::setup("needs-secret", why));
        }
        let identity = unlock.open(&node.home.keys()).map_err(|e| Fault::setup("unlock", e))?;
        let recovery = recovery::recipient(&node.home.keys()).map_err(|e| Fault::setup("recovery", e))?;
        Ok(Self { identity, recovery })
    }

    /// To whom key files are sealed.
    fn recipients(&self) -> [Recipient; 2] {
        [self.identity.recipient(), self.recovery.clone()]
    }

    /// Reads a key file that the command cannot do without.
    fn read(&self, node: &Node, name: &str) -> Result<Secret<Vec<u8>>, Fault> {
        KeyFile::read(&file(&node.home, name), &self.identity).map_err(|error| match error {
            KeyFileError::Missing(path) => setup(format!(
                "`{}` is not here: bring it from where it is kept, give the command again, and take it away again",
                path.display()
            )),
            other => setup(other),
        })
    }

    /// Writes a key file.
    fn write(&self, node: &Node, name: &str, content: &[u8]) -> Result<(), Fault> {
        let [own, recovery] = self.recipients();
        KeyFile::write(&file(&node.home, name), &[&own, &recovery], content, Existing::Replace).map_err(setup)
    }

    /// The root key, which signs cards.
    fn root(&self, node: &Node) -> Result<SigningKey, Fault> {
        SigningKey::from_pkcs8(self.read(node, "root.age")?.expose()).map_err(setup)
    }
}

/// What can be asked about keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Every key.
    List,
    /// Another key for a purpose.
    Rotate {
        /// Which.
        purpose: Purpose,
        /// How.
        how: rotate::How,
    },
    /// A key that is not to be trusted any more.
    Revoke(revoke::Revoked),
    /// Records of ours that are suspect, attested anew.
    Reattest {
        /// Who has looked at them.
        by: String,
        /// Say what would change, and change nothing.
        dry_run: bool,
    },
    /// Another sealing key for partitions.
    Keyring {
        /// Which.
        which: keyring::Which,
        /// Say what would change, and change nothing.
        dry_run: bool,
    },
    /// A card of ours that partners know and this home does not.
    TakeUp {
        /// Its file; the one that a partner showed where absent.
        card: Option<PathBuf>,
        /// Say what would change, and change nothing.
        dry_run: bool,
    },
    /// The contacts on the card.
    Contacts,
    /// A change of them.
    Contact {
        /// Which.
        change: contacts::Change,
        /// Say what would change, and change nothing.
        dry_run: bool,
    },
}

impl Ask {
    /// Its name, for the log.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::List => "key-list",
            Self::Rotate { .. } => "key-rotate",
            Self::Revoke(_) => "key-revoke",
            Self::Reattest { .. } => "key-reattest",
            Self::Keyring { .. } => "keyring-rotate",
            Self::TakeUp { .. } => "card-take-up",
            Self::Contacts => "contact-list",
            Self::Contact { .. } => "contact-change",
        }
    }
    /// Whether it leaves everything as it is.
    pub const fn only_reads(&self) -> bool {
        match self {
            Self::List | Self::Contacts => true,
            Self::Rotate { how, .. } => how.dry_run,
            Self::Revoke(asked) => asked.dry_run,
            Self::Reattest { dry_run, .. }
            | Self::Keyring { dry_run, .. }
            | Self::TakeUp { dry_run, .. }
            | Self::Contact { dry_run, .. } => *dry_run,
        }
    }
}

/// Carries it out.
pub fn answer(node: &Node, ask: &Ask, progress: OnProgress<'_>) -> Result<Json, Fault> {
    // One change at a time: each is made from the card that the one before left.
    let _one = node.changing_keys.lock().unwrap_or_else(PoisonError::into_inner);
    match ask {
        Ask::List => list::list(node),
        Ask::Rotate { purpose, how } => rotate::rotate(node, *purpose, *how),
        Ask::Revoke(asked) => revoke::revoke(node, asked),
        Ask::Reattest { by, dry_run } => revoke::reattest(node, by, *dry_run, progress),
        Ask::Keyring { which, dry_run } => keyring::rotate(node, which, *dry_run, progress),
        Ask::TakeUp { card, dry_run } => take_up::take_up(node, card.as_deref(), *dry_run),
        Ask::Contacts => Ok(contacts::list(node)),
        Ask::Contact { change, dry_run } => contacts::change(node, change, *dry_run),
    }
}

/// Renews certificates ([`Node::renew`]), and not while keys change or are copied.
pub fn renew(node: &Node, asked: bool) -> Result<bool, Fault> {
    let _one = node.changing_keys.lock().unwrap_or_else(PoisonError::into_inner);
    node.renew(asked)
}

/// An event of the journal: what, and about what.
type Event<'a> = (&'a str, &'a [(&'a str, String)]);

/// The card that follows the present one, not signed yet.
fn following(node: &Node) -> CardPayload {
    let mut payload = node.keys.card.payload().clone();
    payload.number = known::following(&node.home, payload.number);
    // A card of a clock that stood wrong is followed all the same: the number decides.
    payload.issued = node.clock.now().max(payload.issued);
    let old = payload.issued.minus(LISTED_MS);
    payload.keys.retain(|entry| {
        let certificate = matches!(entry.purpose, Purpose::Issuing | Purpose::Node);
        let withdrawn = entry.revoked.is_some() || entry.compromised.is_some();
        !certificate || withdrawn || entry.until.is_none_or(|until| until > old)
    });
    payload
}

/// Signs a card and checks it as every partner will. `by_voice`: partners are to compare its words, because it does not
/// follow from the card that they have.
fn signed(node: &Node, payload: &CardPayload, root: &SigningKey, by_voice: bool) -> Result<Card, Fault> {
    if payload.keys.len() > limits::CARD_KEYS_MAX {
        let why = format!("the card lists {} keys, and takes no more: a key is never unsaid", limits::CARD_KEYS_MAX);
        return Err(Fault::input("card-full", why));
    }
    match signed_after(&node.keys.card, payload, root) {
        Err(CardFault::OtherRoot) if by_voice => {
            let card = UnconfirmedCard::from_bytes(&payload.sign_with(root)?)?;
            let digest = card.digest();
            Ok(card.confirm(digest)?)
        }
        taken => Ok(taken?),
    }
}

/// Signs a card and checks it as whoever knows another one will.
fn signed_after(known: &Card, payload: &CardPayload, root: &SigningKey) -> Result<Card, CardFault> {
    Card::verify_update(known, UnconfirmedCard::from_bytes(&payload.sign_with(root)?)?)
}

/// Makes a card ours: journal first, then the file, which is the commit point, then what is in memory.
fn publish(node: &Node, card: Card, event: Event<'_>) -> Result<(), Fault> {
    publish_with(node, card, event, || Ok(()))
}

/// The same, with a key that signs from this card on: it is `in_use` before anything is decided again, so that nothing goes
/// under the key before it once the card says what that one is worth.
fn publish_with(
    node: &Node,
    card: Card,
    (what, about): Event<'_>,
    in_use: impl FnOnce() -> Result<(), Fault>,
) -> Result<(), Fault> {
    let own = node.keys.org.as_bytes().as_slice();
    let mut txn = node.holdings.begin();
    if txn.count(Partition::Node, Table::Card, own)? == 0 {
        txn.push(Partition::Node, Table::Card, own, node.keys.card.bytes())?;
    }
    txn.push(Partition::Node, Table::Card, own, card.bytes())?;
    let number = ("card", card.payload().number.to_string());
    let about: Vec<(&str, String)> = about.iter().cloned().chain([number]).collect();
    node.journal(&mut txn, what, &about)?;
    node::changed(&mut txn)?;
    txn.commit()?;
    let path = node.home.card();
    durable::write(&path, card.to_armour().as_bytes(), Existing::Replace)
        .map_err(|cause| IdentityError::Io { path, cause })?;
    node.keys.card.replace(card);
    let used = in_use();
    node.batches.forget();
    node.reload()?;
    used
}

/// The entry of our card for the key of a purpose that is in use.
fn current(node: &Node, purpose: Purpose) -> Result<CardKey, Fault> {
    let now = node.clock.now();
    let found = match purpose {
        Purpose::Root => node.keys.card.listed(Purpose::Root, node.keys.card.root().id()),
        _ => node.keys.card.current(purpose, now),
    };
    found.cloned().ok_or_else(|| {
        Fault::input("no-key", format!("the card lists no key for {purpose} that counts: see `entente key list`"))
    })
}

/// Whom a newer card reaches, and how.
fn told(node: &Node, how: &str) -> Json {
    let book = node.book();
    let partners = book.iter().filter(|(_, partner)| partner.state != PartnerState::Removed);
    Json::Array(
        partners
            .map(|(_, partner)| json!({ "id": partner.handle, "partner": partner.handle, "learns": how }))
            .collect(),
    )
}

/// By itself, as every newer card that follows from the one before.
const BY_ITSELF: &str = "by itself, when it is connected next or by the next bundle";
/// When nothing leads from the old card to the new one.
const BY_VOICE: &str = "by the new card, and its twelve words read out: `entente partner add CARD`";

/// From when a key counts that is listed now: partners' clocks may be behind.
fn from(now: UnixMillis) -> UnixMillis {
    now.minus(limits::CLOCK_SKEW_MS_MAX)
}

/// Until when a key counts that gives way now: what is being signed with it holds.
fn until(now: UnixMillis) -> UnixMillis {
    now.plus(limits::CLOCK_SKEW_MS_MAX)
}
