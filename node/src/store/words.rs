//! What a failure of the disk or of an engine says to people: what happened, whose it is to mend, what to do.
//!
//! `StoreError` passes every cause through here. Engines print the names of their types, which tell an operator
//! nothing; where the system's own error is among the causes, it is that which is told.

use std::{error::Error, io};

/// The cause in words. What has no error of the system below it is taken as it is: our own words, or an engine's that
/// its own file has translated.
pub fn of(cause: Box<dyn Error + Send + Sync>) -> Box<dyn Error + Send + Sync> {
    let mut next: Option<&(dyn Error + 'static)> = Some(cause.as_ref());
    // Ends: causes are finite.
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>().filter(|io| io.get_ref().is_none()) {
            return told(io).into();
        }
        next = error.source();
    }
    cause
}

/// An error of the system, with what to do about it.
fn told(error: &io::Error) -> String {
    let what = match error.kind() {
        io::ErrorKind::StorageFull => "the disk is full, make room and start again",
        io::ErrorKind::QuotaExceeded => "this user may store no more there, raise its quota and start again",
        io::ErrorKind::ReadOnlyFilesystem => "it may not be written, see the system's log for whether the disk failed",
        io::ErrorKind::PermissionDenied => "the home belongs to the user who runs the node, use that one",
        _ if error.raw_os_error() == Some(IO_ERROR) => "the disk failed, copy the whole home before anything else",
        _ => return error.to_string(),
    };
    format!("{error}: {what}")
}

/// `EIO`: the disk did not read or write what it should.
const IO_ERROR: i32 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;

    /// Story: a disk ran full, and the operator read `FjallError: Io(Os { code: 28, kind: StorageFull, ... })`.
    #[test]
    fn no_type_names_and_what_to_do() {
        let full = || io::Error::from_raw_os_error(28);
        for (error, says) in [
            (StoreError::engine("write what is new", full()), "make room"),
            (crate::store::fjall::engine("append")(::fjall::Error::Io(full())), "make room"),
            (StoreError::engine("sync the ledger", io::Error::from_raw_os_error(IO_ERROR)), "copy the whole home"),
            (StoreError::engine("open the ledger", io::Error::from_raw_os_error(30)), "system's log"),
        ] {
            let said = error.to_string();
            assert!(said.contains(says) && said.contains("(os error "), "{said}");
            for name in ["Fjall", "Lsm", "Io(", "Os {", "kind:", "Error"] {
                assert!(!said.contains(name), "`{name}`: {said}");
            }
        }
        let ours = StoreError::engine("open the head file", "`head` is damaged: restore it from a backup");
        assert!(ours.to_string().ends_with("`head` is damaged: restore it from a backup"), "{ours}");
    }
}
