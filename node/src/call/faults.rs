//! Whose fault it is where a call cannot be carried out.

use crate::{
    agreements::AgreementError,
    error::Fault,
    ingest::import::ImportError,
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

impl From<ImportError> for Fault {
    fn from(error: ImportError) -> Self {
        match &error {
            _ if error.is_store() => Self::store(error),
            ImportError::Child { fault, .. } if fault.is_setup() => Self::setup("reader", error),
            _ => Self::input("import", error),
        }
    }
}
