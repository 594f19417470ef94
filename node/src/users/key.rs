//! A person's key on disk: a seed in an age file of its own, sealed to that person's passphrase and to nothing else.
//!
//! It lies in `users/` of the home, beside `keys/` and not in it: neither the node's identity nor the recovery identity
//! opens it, so neither a running node nor whoever recovers a home can sign in a person's name. Called by commands.

use crate::{
    config::Home,
    secret::{
        self, Secret,
        durable::Existing,
        unlock::{self, UnlockError},
    },
};
use entente_protocol::{id::UserId, primitive::SigningKey};
use std::{fs::DirBuilder, io, os::unix::fs::DirBuilderExt};

/// Draws a key and seals it. The file is there before anybody is certified: a key that is lost is worse than one too many.
pub fn create(
    home: &Home,
    id: UserId,
    passphrase: &Secret<String>,
    work_factor: u8,
) -> Result<SigningKey, UnlockError> {
    let seed = secret::random_secret::<32>()?;
    let key = super::signing_key(seed.expose()).map_err(|_| UnlockError::NotText(home.user(id)))?;
    let folder = home.users();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|cause| UnlockError::Io { path: folder.clone(), cause })?;
    unlock::seal_with_passphrase(&home.user(id), passphrase, seed.expose(), work_factor, Existing::Refuse)?;
    Ok(key)
}

/// Opens a person's key.
pub fn open(home: &Home, id: UserId, passphrase: &Secret<String>) -> Result<SigningKey, UnlockError> {
    let path = home.user(id);
    let seed = unlock::open_sealed(&path, passphrase)?;
    super::signing_key(seed.expose()).map_err(|_| UnlockError::NotText(path))
}

/// Seals it to another passphrase. The key stays what it is.
pub fn reseal(
    home: &Home,
    id: UserId,
    (old, new): (&Secret<String>, &Secret<String>),
    work_factor: u8,
) -> Result<(), UnlockError> {
    let path = home.user(id);
    let seed = unlock::open_sealed(&path, old)?;
    super::signing_key(seed.expose()).map_err(|_| UnlockError::NotText(path.clone()))?;
    unlock::seal_with_passphrase(&path, new, seed.expose(), work_factor, Existing::Replace)
}

/// Removes the key of a person who was not certified.
pub fn remove(home: &Home, id: UserId) -> io::Result<()> {
    std::fs::remove_file(home.user(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_with_its_persons_passphrase_only() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let (home, id) = (Home::at(folder.path()), UserId::from_bytes([7; 16]));
        let phrase = |text: &str| Secret::new(text.to_owned());
        let (mine, other) = (phrase("my own passphrase"), phrase("another passphrase"));
        assert!(matches!(create(&home, id, &phrase("short"), 2), Err(UnlockError::Short)));
        let made = create(&home, id, &mine, 2)?;
        assert_eq!(open(&home, id, &mine)?.public(), made.public());
        assert!(matches!(open(&home, id, &other), Err(UnlockError::WrongPassphrase)));
        assert!(create(&home, id, &mine, 2).is_err(), "no key is written over another");
        assert!(reseal(&home, id, (&other, &mine), 2).is_err());
        reseal(&home, id, (&mine, &other), 2)?;
        assert_eq!(open(&home, id, &other)?.public(), made.public());
        assert!(matches!(open(&home, id, &mine), Err(UnlockError::WrongPassphrase)));
        Ok(())
    }
}
