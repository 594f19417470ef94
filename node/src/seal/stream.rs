//! Sealed streams: age files to hybrid recipients, written and read without holding them in memory.
//!
//! Blobs, key files and the keyring pass through here. A reader can seek, so that a transfer
//! resumes at any chunk; age's own 64 KiB chunks are authenticated one by one.

use super::hybrid::{Identity, Recipient};
pub use age::stream::{StreamReader, StreamWriter};
use std::io::{self, BufRead, BufReader, Read, Write};

/// A stream could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// No recipient was given.
    #[error("a file must be sealed to at least one recipient")]
    NoRecipient,
    /// The file is sealed to others.
    #[error("sealed to another key than the one given")]
    WrongKey,
    /// The file is not an age file, or was changed.
    #[error("not a sealed file, or damaged: restore it from a backup")]
    Damaged,
    /// Reading or writing failed.
    #[error("sealed stream: {0}")]
    Io(#[from] io::Error),
}

/// Starts a sealed stream to `recipients`. Nothing can be opened until `finish` was called on it.
pub fn seal<W: Write>(recipients: &[&Recipient], output: W) -> Result<StreamWriter<W>, StreamError> {
    let recipients = recipients.iter().map(|recipient| *recipient as &dyn age::Recipient);
    let encryptor = age::Encryptor::with_recipients(recipients).map_err(|error| match error {
        age::EncryptError::MissingRecipients => StreamError::NoRecipient,
        age::EncryptError::Io(error) => StreamError::Io(error),
        other => StreamError::Io(io::Error::other(other.to_string())),
    })?;
    Ok(encryptor.wrap_output(output)?)
}

/// Opens a sealed stream. Bytes are released only after their chunk was authenticated.
pub fn open<R: Read>(identity: &Identity, input: R) -> Result<StreamReader<BufReader<R>>, StreamError> {
    open_with(&[identity as &dyn age::Identity], input)
}

/// As [`open`], by whichever of some identities it is sealed to.
pub fn open_any<'a, R: Read>(
    identities: impl Iterator<Item = &'a Identity>,
    input: R,
) -> Result<StreamReader<BufReader<R>>, StreamError> {
    let identities: Vec<_> = identities.map(|identity| identity as &dyn age::Identity).collect();
    open_with(&identities, input)
}

/// As [`open`], with any identities that age knows.
pub(crate) fn open_with<R: Read>(
    identities: &[&dyn age::Identity],
    input: R,
) -> Result<StreamReader<BufReader<R>>, StreamError> {
    let mut input = BufReader::with_capacity(READ_BUFFER_BYTES, input);
    let beginning = input.fill_buf()?;
    // age reads a header to its end, wherever that is, and parses it anew at each line.
    let is_full = beginning.len() == READ_BUFFER_BYTES;
    if !is_strict(beginning).unwrap_or(!is_full) {
        return Err(StreamError::Damaged);
    }
    let decryptor = age::Decryptor::new_buffered(input).map_err(blame)?;
    decryptor.decrypt(identities.iter().copied()).map_err(blame)
}

/// One age chunk with its tag; no header is longer: one with a hybrid recipient has less than 2 KiB.
const READ_BUFFER_BYTES: usize = (64 << 10) + 16;

/// Whether every stanza of a header ends in a short line, as the format demands; none where the header's end is not in sight.
/// The age crate also takes two older forms without one; nobody we exchange files with writes them, and one form is enough.
fn is_strict(beginning: &[u8]) -> Option<bool> {
    let mut in_body = false;
    for line in beginning.split(|byte| *byte == b'\n') {
        match line {
            [b'-', b'-', b'-', ..] => return Some(!in_body),
            [b'-', b'>', ..] if in_body => return Some(false),
            [b'-', b'>', ..] => in_body = true,
            _ => in_body &= line.len() >= STANZA_LINE_BYTES,
        }
    }
    None
}

/// Characters of a full line of a stanza's body.
const STANZA_LINE_BYTES: usize = 64;

pub(super) fn blame(error: age::DecryptError) -> StreamError {
    match error {
        age::DecryptError::NoMatchingKeys => StreamError::WrongKey,
        age::DecryptError::DecryptionFailed | age::DecryptError::KeyDecryptionFailed => StreamError::WrongKey,
        age::DecryptError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => StreamError::Io(error),
        _ => StreamError::Damaged,
    }
}
