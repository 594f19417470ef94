//! Secrets in memory: wiped when dropped, shown nowhere; and the node's one source of randomness.
//!
//! Everything that holds a key or a passphrase holds it in a [`Secret`]. Nothing here reads the
//! environment or decides where a home is: paths are arguments.

pub mod durable;
pub mod keyfile;
pub mod recovery;
pub mod unlock;

use ring::rand::{SecureRandom, SystemRandom};
use rustix::process::{Resource, Rlimit};
use std::fmt;
use zeroize::Zeroize;

/// A value that is wiped when dropped and that cannot be printed, cloned, compared or serialised.
///
/// It stands in a box, so that moving it leaves no copy behind.
pub struct Secret<T: Zeroize>(Box<T>);

impl<T: Zeroize> Secret<T> {
    /// Takes a secret. The caller wipes any copy of its own.
    pub fn new(value: T) -> Self {
        Self(Box::new(value))
    }
    /// The secret itself, for the function that uses it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The system gave no randomness. Nothing can be sealed or signed until it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no randomness: check /dev/urandom and the getrandom call")]
pub struct RandomError;

/// `N` bytes of the system's randomness.
pub fn random<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0u8; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// Fills `bytes` with the system's randomness: one call for many small values.
pub fn fill(bytes: &mut [u8]) -> Result<(), RandomError> {
    SystemRandom::new().fill(bytes).map_err(|_| RandomError)
}

/// Has the system write no image of this process's memory when it ends badly: there would be every key in it.
///
/// A limit of one byte, because Linux asks it alone also where a program such as systemd-coredump would take the image
/// (core(5)); where no image may be written already, that stays.
pub fn leave_no_core() {
    let limit = rustix::process::getrlimit(Resource::Core);
    if limit.current == Some(0) && limit.maximum == Some(0) {
        return;
    }
    if rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(1), maximum: Some(1) }).is_err() {
        tracing::warn!("a crash may leave an image of this program's memory: set the limit of core files to 0");
    }
}

/// `N` bytes of the system's randomness that are wiped after use.
pub fn random_secret<const N: usize>() -> Result<Secret<[u8; N]>, RandomError> {
    let mut secret = Secret::new([0u8; N]);
    fill(secret.0.as_mut_slice())?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_nothing_and_randomness_varies() -> Result<(), RandomError> {
        let secret = Secret::new("tell nobody".to_owned());
        assert_eq!(format!("{secret:?}"), "Secret");
        assert_ne!(random::<32>()?, random::<32>()?);
        assert_ne!(random_secret::<32>()?.expose(), &[0; 32]);
        Ok(())
    }
}
