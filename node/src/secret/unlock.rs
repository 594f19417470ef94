//! Unlocking a home: from a passphrase or an identity file to the node's own hybrid identity.
//!
//! `keys/node.age` holds that identity, sealed to the passphrase alone. Who unlocks by an identity
//! file needs no such file: what is given is the node's identity. All other keys are sealed to it.

use super::{
    RandomError, Secret,
    durable::Existing,
    keyfile::{self, KeyFileError},
};
use crate::seal::hybrid::{Identity, ParseError};
use age::secrecy::SecretString;
use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use zeroize::Zeroize;

/// Name of the first key file in the folder of keys.
pub const NODE_KEY_FILE: &str = "node.age";
/// scrypt work factor (log2 N) of new files: about a second and 256 MiB.
pub const WORK_FACTOR: u8 = 18;
/// The greatest work factor that is opened; a file that asks for more is not ours.
const WORK_FACTOR_MAX: u8 = 22;
/// Characters of the shortest passphrase that is taken for a new home.
pub const PASSPHRASE_CHARS_MIN: usize = 12;
/// Bytes of the longest passphrase or identity file.
const SECRET_FILE_BYTES_MAX: u64 = 8 << 10;

/// Where the secret comes from that unlocks a home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unlock {
    /// Ask at the terminal.
    Prompt,
    /// The first line of a file, for services.
    PassphraseFile(PathBuf),
    /// A file that holds the node's identity itself, as `AGE-SECRET-KEY-PQ-1...`.
    IdentityFile(PathBuf),
}

/// What a new home will be unlocked by: chosen, and used for nothing yet.
#[derive(Debug)]
pub enum Chosen {
    /// This passphrase.
    Passphrase(Secret<String>),
    /// This file, which is written where it does not exist.
    IdentityFile(PathBuf),
}

/// A home could not be unlocked or locked for the first time.
#[derive(Debug, thiserror::Error)]
pub enum UnlockError {
    /// Nothing could be asked.
    #[error("no {what}: not at a terminal; name a file with it, {flag} FILE")]
    Terminal {
        /// What was to be asked for.
        what: String,
        /// What names a file with it.
        flag: &'static str,
    },
    /// A folder in the place of a file.
    #[error("`{0}` is a folder: name the file in it that holds the secret")]
    Folder(PathBuf),
    /// Too short for a new home.
    #[error("the passphrase is too short: at least {PASSPHRASE_CHARS_MIN} characters, better six random words")]
    Short,
    /// One secret for the home and for its recovery file.
    #[error(
        "the recovery file would open with the secret that unlocks the home: give it a passphrase of its own, \
         for what is lost or stolen with the one must not be lost or stolen with the other"
    )]
    Shared,
    /// It opens nothing.
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// Others may read the file.
    #[error("`{0}` can be read by every user: run `chmod 600` on it and consider its content known")]
    Exposed(PathBuf),
    /// Longer than any passphrase or identity, or not text.
    #[error("`{0}` is not a passphrase or identity file")]
    NotText(PathBuf),
    /// What was given or opened is no identity.
    #[error("`{path}`: {cause}")]
    Identity {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: ParseError,
    },
    /// The file could not be read.
    #[error("`{path}`: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What failed.
        cause: io::Error,
    },
    /// The key file could not be read or written.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl Unlock {
    /// Opens the identity of the home whose key folder is `keys`.
    pub fn open(&self, keys: &Path) -> Result<Identity, UnlockError> {
        let path = keys.join(NODE_KEY_FILE);
        match self {
            Self::IdentityFile(path) => read_identity_file(path),
            Self::PassphraseFile(file) => open_with_passphrase(&path, &read_secret_file(file)?),
            Self::Prompt => open_with_passphrase(&path, &ask("passphrase", None, HOME_FLAG)?),
        }
    }
    /// Reads or asks for the secret of a new home.
    pub fn choose(&self) -> Result<Chosen, UnlockError> {
        Ok(match self {
            Self::IdentityFile(path) => Chosen::IdentityFile(path.clone()),
            Self::PassphraseFile(file) => Chosen::Passphrase(read_secret_file(file)?),
            Self::Prompt => Chosen::Passphrase(ask("new passphrase", Some("once more"), HOME_FLAG)?),
        })
    }
}

impl Chosen {
    /// Makes the identity of a new home. `work_factor` is [`WORK_FACTOR`] except in tests.
    ///
    /// With an identity file that exists, that identity is used; where it does not, one is written.
    pub fn create(&self, keys: &Path, work_factor: u8) -> Result<Identity, UnlockError> {
        match self {
            Self::IdentityFile(path) if path.exists() => read_identity_file(path),
            Self::IdentityFile(path) => write_identity_file(path),
            Self::Passphrase(passphrase) => {
                let identity = Identity::generate()?;
                let path = keys.join(NODE_KEY_FILE);
                write_with_passphrase(&path, passphrase, &identity, work_factor, Existing::Refuse)?;
                Ok(identity)
            }
        }
    }

    /// Refuses a passphrase of the recovery file that unlocks the home too.
    pub fn apart_from(&self, recovery: &Secret<String>) -> Result<(), UnlockError> {
        let shared = |secret: &Secret<String>| secret.expose().trim() == recovery.expose().trim();
        let shared = match self {
            Self::Passphrase(passphrase) => shared(passphrase),
            // One that is still to be written is random.
            Self::IdentityFile(path) => path.exists() && shared(&read_identity_file(path)?.to_text()),
        };
        if shared { Err(UnlockError::Shared) } else { Ok(()) }
    }
}

/// Seals an identity to a passphrase alone.
pub fn write_with_passphrase(
    path: &Path,
    passphrase: &Secret<String>,
    identity: &Identity,
    work_factor: u8,
    existing: Existing,
) -> Result<(), UnlockError> {
    seal_with_passphrase(path, passphrase, identity.to_text().expose().as_bytes(), work_factor, existing)
}

/// Seals a secret to a passphrase alone.
pub fn seal_with_passphrase(
    path: &Path,
    passphrase: &Secret<String>,
    plaintext: &[u8],
    work_factor: u8,
    existing: Existing,
) -> Result<(), UnlockError> {
    if passphrase.expose().chars().count() < PASSPHRASE_CHARS_MIN {
        return Err(UnlockError::Short);
    }
    let io_error = |cause: io::Error| UnlockError::Io { path: path.to_owned(), cause };
    let mut recipient = age::scrypt::Recipient::new(SecretString::from(passphrase.expose().as_str()));
    recipient.set_work_factor(work_factor.clamp(1, WORK_FACTOR_MAX));
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient))
        .map_err(|error| io_error(io::Error::other(error.to_string())))?;
    let mut sealed = Vec::new();
    let mut writer = encryptor.wrap_output(&mut sealed).map_err(io_error)?;
    writer.write_all(plaintext).and_then(|()| writer.finish()).map_err(io_error)?;
    Ok(keyfile::write_sealed(path, &sealed, existing)?)
}

/// Opens an identity that is sealed to a passphrase.
pub fn open_with_passphrase(path: &Path, passphrase: &Secret<String>) -> Result<Identity, UnlockError> {
    let plaintext = open_sealed(path, passphrase)?;
    let text = std::str::from_utf8(plaintext.expose()).map_err(|_| UnlockError::NotText(path.to_owned()))?;
    Identity::from_text(text).map_err(|cause| UnlockError::Identity { path: path.to_owned(), cause })
}

/// Opens a secret that is sealed to a passphrase.
pub fn open_sealed(path: &Path, passphrase: &Secret<String>) -> Result<Secret<Vec<u8>>, UnlockError> {
    let mut scrypt = age::scrypt::Identity::new(SecretString::from(passphrase.expose().as_str()));
    scrypt.set_max_work_factor(WORK_FACTOR_MAX);
    keyfile::read_with(path, &[&scrypt as &dyn age::Identity]).map_err(|error| match error {
        KeyFileError::Stream { cause: crate::seal::stream::StreamError::WrongKey, .. } => UnlockError::WrongPassphrase,
        other => other.into(),
    })
}

/// Reads a file of one identity; lines that begin with `#` are comments.
pub fn read_identity_file(path: &Path) -> Result<Identity, UnlockError> {
    let text = read_text(path)?;
    let line = text.expose().lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    Identity::from_text(line.unwrap_or_default())
        .map_err(|cause| UnlockError::Identity { path: path.to_owned(), cause })
}

/// Writes a new identity in clear, for who keeps it on a device or under a service manager's protection.
pub fn write_identity_file(path: &Path) -> Result<Identity, UnlockError> {
    let identity = Identity::generate()?;
    let mut text = Secret::new(format!("{}\n", identity.to_text().expose()));
    keyfile::write_sealed(path, text.expose().as_bytes(), Existing::Refuse)?;
    text.0.zeroize();
    Ok(identity)
}

/// The first line of a file, as a passphrase.
pub fn read_secret_file(path: &Path) -> Result<Secret<String>, UnlockError> {
    let text = read_text(path)?;
    Ok(Secret::new(text.expose().lines().next().unwrap_or_default().to_owned()))
}

fn read_text(path: &Path) -> Result<Secret<String>, UnlockError> {
    let io_error = |cause: io::Error| UnlockError::Io { path: path.to_owned(), cause };
    let file = File::open(path).map_err(io_error)?;
    let metadata = file.metadata().map_err(io_error)?;
    if metadata.is_dir() {
        return Err(UnlockError::Folder(path.to_owned()));
    }
    if metadata.permissions().mode() & 0o004 != 0 {
        return Err(UnlockError::Exposed(path.to_owned()));
    }
    if metadata.len() > SECRET_FILE_BYTES_MAX {
        return Err(UnlockError::NotText(path.to_owned()));
    }
    let mut text = Secret::new(String::with_capacity(SECRET_FILE_BYTES_MAX as usize));
    file.take(SECRET_FILE_BYTES_MAX).read_to_string(&mut text.0).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => UnlockError::NotText(path.to_owned()),
        _ => io_error(error),
    })?;
    Ok(text)
}

/// What names a file with the passphrase of a home.
const HOME_FLAG: &str = "--passphrase-file";

/// Asks at the terminal without echo; with `again`, twice. `flag` is what a script gives instead.
pub fn ask(what: &str, again: Option<&str>, flag: &'static str) -> Result<Secret<String>, UnlockError> {
    let prompt = dialoguer::Password::new().with_prompt(what);
    let prompt = match again {
        Some(again) => prompt.with_confirmation(again, "the two differ"),
        None => prompt,
    };
    prompt.interact().map(Secret::new).map_err(|_| UnlockError::Terminal { what: what.to_owned(), flag })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::OpenOptionsExt};

    fn secret_file(path: &Path, text: &str) -> io::Result<()> {
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
    }

    #[test]
    fn a_home_opens_with_its_passphrase_only() -> Result<(), Box<dyn std::error::Error>> {
        let home = tempfile::tempdir()?;
        let right = home.path().join("right");
        let wrong = home.path().join("wrong");
        let short = home.path().join("short");
        secret_file(&right, "correct horse battery\n")?;
        secret_file(&wrong, "correct horse butter\n")?;
        secret_file(&short, "horse\n")?;
        assert!(matches!(Unlock::PassphraseFile(short).choose()?.create(home.path(), 2), Err(UnlockError::Short)));
        let made = Unlock::PassphraseFile(right.clone()).choose()?.create(home.path(), 2)?;
        let opened = Unlock::PassphraseFile(right.clone()).open(home.path())?;
        assert_eq!(made.recipient(), opened.recipient());
        assert!(matches!(Unlock::PassphraseFile(wrong).open(home.path()), Err(UnlockError::WrongPassphrase)));
        assert!(matches!(
            Unlock::PassphraseFile(right.clone()).choose()?.create(home.path(), 2),
            Err(UnlockError::KeyFile(KeyFileError::Exists(_)))
        ));
        fs::set_permissions(&right, fs::Permissions::from_mode(0o644))?;
        assert!(matches!(Unlock::PassphraseFile(right).open(home.path()), Err(UnlockError::Exposed(_))));
        Ok(())
    }

    #[test]
    fn an_identity_file_is_the_identity() -> Result<(), Box<dyn std::error::Error>> {
        let home = tempfile::tempdir()?;
        let unlock = Unlock::IdentityFile(home.path().join("identity"));
        let chosen = unlock.choose()?;
        let made = chosen.create(home.path(), 2)?;
        assert_eq!(chosen.create(home.path(), 2)?.recipient(), made.recipient());
        assert_eq!(unlock.open(home.path())?.recipient(), made.recipient());
        assert!(matches!(chosen.apart_from(&made.to_text()), Err(UnlockError::Shared)));
        chosen.apart_from(&Secret::new("six words that nobody would guess".to_owned()))?;
        Ok(())
    }
}
