//! Onward release: what another organisation recorded goes on to a third only with its signed grant.
//!
//! A holder's people ask ([`asking`]), the originator's people answer ([`answering`]), or its agreement has for them; both keep what
//! was asked and said. The outbox asks [`holding`] what may go; what went is told to the originator in the same append
//! ([`passed`]), so that it can always say who holds what of its own. `exchange` says and takes the notices ([`said`]).

pub mod answering;
pub mod asking;
pub mod grants;
pub mod holding;
pub mod passed;
pub mod said;

use crate::{
    error::Fault,
    node::Node,
    records::{
        keep::KeepError,
        stored::{self, RowDamage},
    },
    seal::keyring::Partition,
    share::ShareError,
    store::{StoreError, layout::Table},
};
use entente_protocol::{grant::GrantFault, id::OrgId};
use serde::de::DeserializeOwned;

/// Something about onward release could not be done.
#[derive(Debug, thiserror::Error)]
pub enum OnwardError {
    /// What people asked for cannot be done: theirs to mend.
    #[error("{0}")]
    Asked(String),
    /// What a person named could not be found, or not read.
    #[error("{0}")]
    Named(Fault),
    /// A partner's message is none of ours: its fault.
    #[error("{0}")]
    Partner(String),
    /// The store.
    #[error(transparent)]
    Share(#[from] ShareError),
}

impl From<StoreError> for OnwardError {
    fn from(error: StoreError) -> Self {
        Self::Share(error.into())
    }
}

impl From<RowDamage> for OnwardError {
    fn from(error: RowDamage) -> Self {
        Self::Share(error.into())
    }
}

impl From<KeepError> for OnwardError {
    fn from(error: KeepError) -> Self {
        Self::Share(error.into())
    }
}

impl From<Fault> for OnwardError {
    fn from(fault: Fault) -> Self {
        Self::Named(fault)
    }
}

impl OnwardError {
    /// A partner's statement that does not hold.
    pub fn of_partner(fault: &GrantFault) -> Self {
        Self::Partner(fault.to_string())
    }
    /// A statement of ours that cannot be made.
    pub fn of_ours(fault: &GrantFault) -> Self {
        Self::Asked(format!("it cannot be said so: {fault}"))
    }
}

impl From<OnwardError> for Fault {
    fn from(error: OnwardError) -> Self {
        match error {
            OnwardError::Named(fault) => fault,
            OnwardError::Asked(_) => Self::input("onward", error),
            OnwardError::Partner(_) => Self::partner("onward", error.to_string()),
            OnwardError::Share(_) => Self::store(error),
        }
    }
}

/// Goes through a list of rows until `take` says that it is enough.
fn each<T: DeserializeOwned>(
    node: &Node,
    scope: &[u8],
    take: &mut dyn FnMut(u64, T) -> Result<bool, OnwardError>,
) -> Result<(), OnwardError> {
    stored::each(&node.holdings, (Partition::Own, Table::Grant, scope), 0, take)
}

/// Scope of the list of grants that came for us.
pub const GOT: &[u8] = b"got";
/// Scope of the list of grants that we gave.
pub const GIVEN: &[u8] = b"given";
/// Scope of the list of what we asked.
pub const ASKED: &[u8] = b"asked";
/// Scope of the list of what partners ask of us.
pub const ASKS: &[u8] = b"asks";
/// Scope of the list of our words of what we passed on.
pub const PASSED: &[u8] = b"passed";
/// Scope of the list of who holds what of ours by another's hand.
pub const HELD: &[u8] = b"held";
/// Scope of the list of answers of onward holders that are brought to originators.
pub const RELAYED: &[u8] = b"relayed";

/// Scope of what is still to be said to a partner: where it stands.
pub fn to_scope(partner: OrgId) -> Vec<u8> {
    [b"to".as_slice(), partner.as_bytes()].concat()
}
