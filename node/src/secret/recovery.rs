//! The recovery key: a second hybrid identity that opens the keyring's second copy and every key file.
//!
//! It is made once, at init, and kept away from this machine; the home holds its recipient only.
//! Nothing but `entente recover` ever reads it.

use super::{
    Secret,
    durable::{self, Existing},
    keyfile::KeyFileError,
    unlock::{self, UnlockError},
};
use crate::seal::hybrid::{Identity, Recipient};
use std::{
    fs,
    io::{self, Read},
    path::Path,
};

/// Name of the file in the folder of keys that holds the recovery recipient.
pub const RECOVERY_RECIPIENT_FILE: &str = "recovery.recipient";

/// What every age file begins with.
const AGE_HEADER: &[u8; 21] = b"age-encryption.org/v1";

/// How the recovery identity is written.
pub enum Protect<'a> {
    /// Sealed to a passphrase alone, with this scrypt work factor.
    Passphrase(&'a Secret<String>, u8),
    /// In clear: for who puts it in a safe or on a device of its own.
    Clear,
}

/// Makes the recovery identity, writes it to `file`, and its recipient into the folder of keys.
pub fn create(file: &Path, protect: &Protect<'_>, keys: &Path) -> Result<Recipient, UnlockError> {
    let recipient = match protect {
        Protect::Clear => unlock::write_identity_file(file)?.recipient(),
        Protect::Passphrase(passphrase, work_factor) => {
            let identity = Identity::generate()?;
            unlock::write_with_passphrase(file, passphrase, &identity, *work_factor, Existing::Refuse)?;
            identity.recipient()
        }
    };
    let path = keys.join(RECOVERY_RECIPIENT_FILE);
    durable::write(&path, format!("{recipient}\n").as_bytes(), Existing::Refuse).map_err(|cause| {
        match cause.kind() {
            io::ErrorKind::AlreadyExists => UnlockError::KeyFile(KeyFileError::Exists(path)),
            _ => UnlockError::Io { path, cause },
        }
    })?;
    Ok(recipient)
}

/// The recovery recipient of a home.
pub fn recipient(keys: &Path) -> Result<Recipient, UnlockError> {
    let path = keys.join(RECOVERY_RECIPIENT_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => text.parse().map_err(|cause| UnlockError::Identity { path, cause }),
        Err(cause) => Err(UnlockError::Io { path, cause }),
    }
}

/// Opens a recovery identity, sealed to a passphrase or in clear.
pub fn open(file: &Path, passphrase: Option<&Secret<String>>) -> Result<Identity, UnlockError> {
    match passphrase {
        Some(passphrase) => unlock::open_with_passphrase(file, passphrase),
        None => unlock::read_identity_file(file),
    }
}

/// Whether a recovery file is sealed to a passphrase.
pub fn is_sealed(file: &Path) -> Result<bool, UnlockError> {
    let mut start = [0; AGE_HEADER.len()];
    let io_error = |cause| UnlockError::Io { path: file.to_owned(), cause };
    match fs::File::open(file).map_err(io_error)?.read_exact(&mut start) {
        Ok(()) => Ok(start == *AGE_HEADER),
        Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(cause) => Err(io_error(cause)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_open_to_the_recipient_that_the_home_holds() -> Result<(), Box<dyn std::error::Error>> {
        let passphrase = Secret::new("six words that nobody would guess".to_owned());
        for protect in [Protect::Clear, Protect::Passphrase(&passphrase, 2)] {
            let keys = tempfile::tempdir()?;
            let file = keys.path().join("recovery.age");
            let made = create(&file, &protect, keys.path())?;
            assert_eq!(recipient(keys.path())?, made);
            let given = matches!(protect, Protect::Passphrase(..)).then_some(&passphrase);
            assert_eq!(open(&file, given)?.recipient(), made);
            assert_eq!(is_sealed(&file)?, given.is_some());
        }
        Ok(())
    }
}
