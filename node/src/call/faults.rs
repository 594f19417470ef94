//! What the parts of the node refuse, as a fault of a call: whose it is, and a stable code.

use crate::{
    agreements::AgreementError,
    error::Fault,
    partners::PartnerError,
    records::{keep::KeepError, search::SearchError},
};

impl From<PartnerError> for Fault {
    fn from(error: PartnerError) -> Self {
        let code = match &error {
            PartnerError::Card(_) => "card-refused",
            PartnerError::Words => "words-differ",
            PartnerError::Own => "own-card",
            PartnerError::Handle(_) => "handle-taken",
            PartnerError::WasRemoved(_) => "was-removed",
            PartnerError::Unknown(_) | PartnerError::Ambiguous(_) => "no-partner",
            PartnerError::Often | PartnerError::Room(_) => "card-waits",
            PartnerError::Store(_) | PartnerError::Damage(_) => return Self::store(error),
        };
        Self::input(code, error)
    }
}

impl From<crate::records::stored::RowDamage> for Fault {
    fn from(damage: crate::records::stored::RowDamage) -> Self {
        Self::store(damage)
    }
}

impl From<KeepError> for Fault {
    fn from(error: KeepError) -> Self {
        match &error {
            KeepError::Draft { .. } => Self::input("draft-refused", error),
            KeepError::NoRecord(_) => Self::input("no-record", error),
            _ => Self::store(error),
        }
    }
}

impl From<SearchError> for Fault {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Keep(error) => error.into(),
            SearchError::Lease(error) => Self::store(error),
            other => Self::input("query", other),
        }
    }
}

impl From<AgreementError> for Fault {
    fn from(error: AgreementError) -> Self {
        if error.is_store() { Self::store(error) } else { Self::input("agreement", error) }
    }
}
