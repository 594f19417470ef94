//! Keys on disk: one age file for each key, sealed to hybrid recipients only.
//!
//! The first key of a home is the exception (`unlock`): a passphrase stands alone in its file.
//! Contents are bounded, wiped after use and never logged.

use super::{
    Secret,
    durable::{self, Existing},
};
use crate::{
    regular,
    seal::{
        hybrid::{Identity, Recipient},
        stream::{self, StreamError},
    },
};
use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
};
use zeroize::Zeroize;

/// The longest key file that is read: a keyring of several ten thousand partitions.
pub const KEY_FILE_BYTES_MAX: u64 = 32 << 20;

/// A key file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// There is no such file.
    #[error("key file `{0}` is missing")]
    Missing(PathBuf),
    /// There is one already, and it was not to be replaced.
    #[error("key file `{0}` exists already and was not replaced")]
    Exists(PathBuf),
    /// Longer than any key file of ours.
    #[error("key file `{0}` is longer than {KEY_FILE_BYTES_MAX} bytes: not one of ours")]
    TooLong(PathBuf),
    /// Sealing or opening failed.
    #[error("key file `{path}`: {cause}")]
    Stream {
        /// The file.
        path: PathBuf,
        /// What failed.
        cause: StreamError,
    },
    /// The disk failed.
    #[error("key file `{path}`: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What failed.
        cause: io::Error,
    },
}

/// Reads and writes key files.
pub struct KeyFile;

impl KeyFile {
    /// Seals `plaintext` to `recipients` and writes it durably with mode 0600.
    pub fn write(
        path: &Path,
        recipients: &[&Recipient],
        plaintext: &[u8],
        existing: Existing,
    ) -> Result<(), KeyFileError> {
        let stream_error = |cause| KeyFileError::Stream { path: path.to_owned(), cause };
        let mut sealed = Vec::with_capacity(plaintext.len() + 4_096);
        let mut writer = stream::seal(recipients, &mut sealed).map_err(stream_error)?;
        writer.write_all(plaintext).and_then(|()| writer.finish()).map_err(|e| stream_error(e.into()))?;
        write_sealed(path, &sealed, existing)
    }
    /// Opens a key file with the identity it was sealed to.
    pub fn read(path: &Path, identity: &Identity) -> Result<Secret<Vec<u8>>, KeyFileError> {
        read_with(path, &[identity as &dyn age::Identity])
    }
}

/// Writes bytes that are sealed already.
pub(super) fn write_sealed(path: &Path, sealed: &[u8], existing: Existing) -> Result<(), KeyFileError> {
    durable::write(path, sealed, existing).map_err(|cause| match cause.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists(path.to_owned()),
        _ => KeyFileError::Io { path: path.to_owned(), cause },
    })
}

/// Opens a key file with identities of any kind, passphrases among them.
pub(super) fn read_with(path: &Path, identities: &[&dyn age::Identity]) -> Result<Secret<Vec<u8>>, KeyFileError> {
    let io_error = |cause: io::Error| match cause.kind() {
        io::ErrorKind::NotFound => KeyFileError::Missing(path.to_owned()),
        _ => KeyFileError::Io { path: path.to_owned(), cause },
    };
    let stream_error = |cause| KeyFileError::Stream { path: path.to_owned(), cause };
    let file = regular::open(path).map_err(io_error)?;
    let length = file.metadata().map_err(io_error)?.len();
    if length > KEY_FILE_BYTES_MAX {
        return Err(KeyFileError::TooLong(path.to_owned()));
    }
    let mut reader = stream::open_with(identities, file.take(KEY_FILE_BYTES_MAX)).map_err(stream_error)?;
    // Room for all of it at once: a vector that grows would leave unwiped copies behind.
    let mut plaintext = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    match reader.read_to_end(&mut plaintext) {
        Ok(_) => Ok(Secret::new(plaintext)),
        Err(_) => {
            plaintext.zeroize();
            Err(stream_error(StreamError::Damaged))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_refusals() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("root.age");
        let identity = Identity::generate()?;
        let recipient = identity.recipient();
        KeyFile::write(&path, &[&recipient], b"a key", Existing::Refuse)?;
        assert_eq!(KeyFile::read(&path, &identity)?.expose(), b"a key");
        assert!(matches!(
            KeyFile::write(&path, &[&recipient], b"another", Existing::Refuse),
            Err(KeyFileError::Exists(_))
        ));
        let other = Identity::generate()?;
        assert!(matches!(KeyFile::read(&path, &other), Err(KeyFileError::Stream { cause: StreamError::WrongKey, .. })));
        let mut bytes = std::fs::read(&path)?;
        assert!(!bytes.windows(5).any(|window| window == b"a key"));
        bytes.pop();
        std::fs::write(&path, bytes)?;
        assert!(matches!(
            KeyFile::read(&path, &identity),
            Err(KeyFileError::Stream { cause: StreamError::Damaged, .. })
        ));
        assert!(matches!(KeyFile::read(&folder.path().join("none"), &identity), Err(KeyFileError::Missing(_))));
        Ok(())
    }
}
