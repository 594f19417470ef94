//! A mark outside the store that counts bundles: where it knows of more than the store does, an older copy was put back.
//!
//! Over a connection a partner shows what it countersigned before anything is signed. A bundle asks nobody: a store that was
//! put back would sign another history over what went in bundles since, and the partner would stop the feed for good. So
//! `export` asks for what the partner's people see there. The file holds a number and nothing else; backups leave it out.
//! `init` writes it, so that a home without one was moved or put back, however old the copy is.

use crate::{
    config::Home,
    error::Fault,
    secret::durable::{self, Existing},
};
use std::{fs, io, path::PathBuf};

/// Its name in the home.
pub const NAME: &str = "bundles.count";

fn path(home: &Home) -> PathBuf {
    home.path().join(NAME)
}

/// Bundles that were made in this home, as the mark knows.
pub fn read(home: &Home) -> Result<Option<u64>, Fault> {
    let path = path(home);
    match fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse() {
            Ok(count) => Ok(Some(count)),
            Err(_) => Err(Fault::setup("mark", format!("`{}` holds no number: remove it", path.display()))),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Fault::setup("mark", format!("`{}` cannot be read: {e}", path.display()))),
    }
}

/// Notes that so many were made.
pub fn write(home: &Home, count: u64) -> Result<(), Fault> {
    let path = path(home);
    let written = durable::write(&path, format!("{count}\n").as_bytes(), Existing::Replace);
    written.map_err(|e| Fault::setup("mark", format!("`{}` cannot be written: {e}", path.display())))
}
