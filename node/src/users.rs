//! Persons of this organisation: who they are, what they may do, and that they asked for what is done.
//!
//! A home without persons is a single office: its users key signs. From the first person on each call is a person's, and
//! comes here before anything is carried out ([`acts`]). The node knows certificates and never holds a person's key:
//! that lies in the home, sealed to the person's own passphrase, and is opened beside the node (`key`, `sign`).

pub mod acts;
mod calls;
pub mod key;
pub mod sign;
#[cfg(test)]
mod tests;

pub use calls::{UserCall, call};

use crate::{
    error::Fault,
    node::Node,
    records::stored::{self, RowDamage},
    seal::keyring::Partition,
    store::{StoreError, layout::Table},
};
use entente_policy::roles::{Eyes, Person};
use entente_protocol::{
    cose::SignatureBytes,
    id::{Nonce, UserDigest},
    identity::Purpose,
    primitive::{PublicKey, SigningKey, SigningKeyError},
    time::UnixMillis,
    user::{Role, UserCertificate},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Persons could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row does not read as written.
    #[error(transparent)]
    Damage(#[from] RowDamage),
}

impl From<UserError> for Fault {
    fn from(error: UserError) -> Self {
        Self::store(error)
    }
}

/// A certificate as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserRow {
    /// The signed certificate.
    pub signed: SignatureBytes,
}

/// A certificate of a person, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// How it is named.
    pub digest: UserDigest,
    /// What it says.
    pub certificate: UserCertificate,
}

impl Held {
    /// The person, as the policy takes it.
    pub fn person(&self) -> Person<'_> {
        Person { id: self.certificate.id, roles: &self.certificate.roles }
    }
    /// The person's name.
    pub fn name(&self) -> &str {
        &self.certificate.name
    }
}

/// Who asks for what is done.
#[derive(Debug, Clone)]
pub enum Who {
    /// Nobody in particular: a home without persons, or this program itself.
    Office,
    /// A person, by the certificate of now, and the act that was signed.
    Person(Box<Held>, SignatureBytes),
}

impl Who {
    /// The person, if it is one.
    pub fn held(&self) -> Option<&Held> {
        match self {
            Self::Office => None,
            Self::Person(held, _) => Some(held),
        }
    }
}

/// Nonces that wait to be answered: more than persons ask at one time.
const WAITING_MAX: usize = 64;

/// Nonces that the node drew for acts, the newest last. In memory only: a start forgets them, and a person asks again.
#[derive(Default)]
pub struct Waiting(Mutex<VecDeque<Nonce>>);

impl Waiting {
    fn nonces(&self) -> MutexGuard<'_, VecDeque<Nonce>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn put(&self, nonce: Nonce) {
        let mut nonces = self.nonces();
        if nonces.len() >= WAITING_MAX {
            nonces.pop_front();
        }
        nonces.push_back(nonce);
    }
    /// Whether it was drawn here, and not taken yet.
    fn take(&self, nonce: &Nonce) -> bool {
        let mut nonces = self.nonces();
        let found = nonces.iter().position(|known| known == nonce);
        found.is_some_and(|at| nonces.remove(at).is_some())
    }
}

/// Every certificate, oldest first. One that does not verify is left out here, and is a finding of `check`.
pub fn all(node: &Node) -> Result<Vec<Held>, UserError> {
    let mut held = Vec::new();
    let list = (Partition::Node, Table::UserList, b"".as_slice());
    stored::each(&node.holdings, list, 0, &mut |_, row: UserRow| -> Result<bool, UserError> {
        held.extend(verified(node, &row).ok());
        Ok(true)
    })?;
    Ok(held)
}

/// A certificate, as the reward for verifying it.
pub fn verified(node: &Node, row: &UserRow) -> Result<Held, String> {
    let key = |kid| node.keys.card.listed(Purpose::Users, kid).map(|entry| entry.key.clone());
    let read = UserCertificate::verify(&row.signed, node.keys.org, key);
    read.map(|(digest, certificate)| Held { digest, certificate }).map_err(|e| e.to_string())
}

/// Whether there are persons: from the first one on nothing is done in the office's name.
pub fn any(node: &Node) -> Result<bool, UserError> {
    Ok(node.holdings.count(Partition::Node, Table::UserList, b"")? > 0)
}

/// The newest certificate of each person, in the order of their coming.
pub fn now(node: &Node) -> Result<Vec<Held>, UserError> {
    let mut newest: Vec<Held> = Vec::new();
    for held in all(node)? {
        match newest.iter_mut().find(|known| known.certificate.id == held.certificate.id) {
            Some(known) if known.certificate.number < held.certificate.number => *known = held,
            Some(_) => {}
            None => newest.push(held),
        }
    }
    Ok(newest)
}

/// A person by name, id or the first eight digits of it.
pub fn find(node: &Node, given: &str) -> Result<Held, Fault> {
    let persons = now(node)?;
    let id = |held: &&Held| {
        let id = held.certificate.id.to_string();
        id == given || (given.len() >= 8 && id.starts_with(&given.to_ascii_lowercase()))
    };
    let by_name = persons.iter().find(|held| held.name() == given);
    by_name.or_else(|| persons.iter().find(id)).cloned().ok_or_else(|| {
        Fault::input("no-user", format!("there is no person `{given}` here: `entente user list` names them"))
    })
}

/// The key that made a signature of a person, if the certificate that it names counted at the time that it states.
pub fn key_at(held: &[Held], digest: UserDigest, at: UnixMillis) -> Result<(&Held, PublicKey), String> {
    let held =
        held.iter().find(|held| held.digest == digest).ok_or("no certificate of a person here is of this digest")?;
    if held.certificate.counts(at) {
        Ok((held, held.certificate.key.clone()))
    } else {
        Err("its signer's certificate did not count at that time".to_owned())
    }
}

/// How many persons see a record here, as it is shown.
pub fn eyes(node: &Node) -> Result<&'static str, UserError> {
    Ok(match (any(node)?, node.config.eyes) {
        (false, _) => "office",
        (true, Eyes::One) => "one",
        (true, Eyes::Two) => "two",
    })
}

/// What `status` says where not two persons see a record.
pub fn warning(node: &Node) -> Option<String> {
    match eyes(node) {
        Ok("one") => Some(
            "single-reviewer mode: one person may collect, review and verify the same record (`[gate] eyes = \"one\"` in \
             entente.toml)"
                .to_owned(),
        ),
        _ => None,
    }
}

/// A person's key from its seed.
pub fn signing_key(seed: &[u8]) -> Result<SigningKey, SigningKeyError> {
    let seed: &[u8; 32] = seed.try_into().map_err(|_| SigningKeyError)?;
    SigningKey::from_seed(seed)
}

/// Roles from their names.
pub fn roles(names: &[String]) -> Result<Vec<Role>, Fault> {
    let role = |name: &String| {
        let known = Role::ALL.map(Role::name).join("`, `");
        Role::from_name(name).ok_or_else(|| Fault::input("role", format!("`{name}` is no role: one of `{known}`")))
    };
    names.iter().map(role).collect()
}
