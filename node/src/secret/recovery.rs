//! The recovery key: a second hybrid identity that opens the keyring's second copy and every key file.
//!
//! It is made once, at init, sealed to a passphrase of its own, and kept away from this machine; the home holds its
//! recipient only. A file in clear, as `init` wrote beside an identity file once, still opens.
//! Nothing but `entente recover` ever reads it.

use super::{
    Secret,
    durable::{self, Existing},
    keyfile::KeyFileError,
    unlock::{self, UnlockError},
};
use crate::{
    regular,
    seal::hybrid::{Identity, Recipient},
};
use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Name of the file in the folder of keys that holds the recovery recipient.
pub const RECOVERY_RECIPIENT_FILE: &str = "recovery.recipient";

/// What every age file begins with.
const AGE_HEADER: &[u8; 21] = b"age-encryption.org/v1";

/// Where the passphrase of the recovery file comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passphrase {
    /// Ask at the terminal.
    Prompt,
    /// The first line of a file.
    File(PathBuf),
}

impl Passphrase {
    /// Reads or asks for it; a new one is asked for twice.
    pub fn read(&self, new: bool) -> Result<Secret<String>, UnlockError> {
        match self {
            Self::File(path) => unlock::read_secret_file(path),
            Self::Prompt => {
                unlock::ask("passphrase of the recovery file", new.then_some("once more"), "--recovery-passphrase-file")
            }
        }
    }
}

/// Makes the recovery identity, seals it to a passphrase alone in `file`, and writes its recipient into the folder of
/// keys. `work_factor` is [`unlock::WORK_FACTOR`] except in tests and the demo.
pub fn create(
    file: &Path,
    passphrase: &Secret<String>,
    work_factor: u8,
    keys: &Path,
) -> Result<Recipient, UnlockError> {
    let identity = Identity::generate()?;
    unlock::write_with_passphrase(file, passphrase, &identity, work_factor, Existing::Refuse)?;
    let recipient = identity.recipient();
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
    match regular::open(file).map_err(io_error)?.read_exact(&mut start) {
        Ok(()) => Ok(start == *AGE_HEADER),
        Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(cause) => Err(io_error(cause)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_open_and_the_home_holds_the_recipient() -> Result<(), Box<dyn std::error::Error>> {
        let passphrase = Secret::new("six words that nobody would guess".to_owned());
        let keys = tempfile::tempdir()?;
        let (file, clear) = (keys.path().join("recovery.age"), keys.path().join("clear"));
        let made = create(&file, &passphrase, 2, keys.path())?;
        assert_eq!(recipient(keys.path())?, made);
        assert!(is_sealed(&file)?);
        assert_eq!(open(&file, Some(&passphrase))?.recipient(), made);
        let made = unlock::write_identity_file(&clear)?.recipient();
        assert!(!is_sealed(&clear)?);
        assert_eq!(open(&clear, None)?.recipient(), made);
        Ok(())
    }
}
