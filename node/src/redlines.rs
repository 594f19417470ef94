//! The organisation's own red lines, read from the files that the settings name.
//!
//! `node` loads them when a home is opened, and `redline check` reads any other file in the same way. What cannot be
//! taken whole is refused with file and line: a red line that is left out in silence would let evidence go.

use crate::{
    call::read_text,
    config::{Config, Home},
    node::Node,
    partners::Book,
    regular,
};
use entente_policy::{RedLine, SourceError};
use entente_protocol::{limits, record::kind::Kind};
use serde_json::{Value as Json, json};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Files of one folder.
const FILES_MAX: usize = 64;

/// A red line and the file that it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The file.
    pub file: PathBuf,
    /// The red line.
    pub line: RedLine,
}

/// Red lines that are refused: whoever wrote them has to correct them.
#[derive(Debug, thiserror::Error)]
pub enum RedLineError {
    /// A text.
    #[error("`{path}`: {fault}")]
    Source {
        /// The file.
        path: PathBuf,
        /// Line, key, reason and what to do.
        fault: SourceError,
    },
    /// A file that cannot be read.
    #[error("{0}")]
    File(String),
    /// The folder, or what the settings name.
    #[error("red lines `{path}` cannot be read: {cause}; correct `red-lines` in entente.toml, or put the file there")]
    Io {
        /// What was named.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// A file that might hold red lines which nobody would read.
    #[error("`{0}` does not end in `.toml`: rename it, or move it out of the folder of red lines")]
    Name(PathBuf),
    /// More files than are read.
    #[error("`{0}` holds more than {FILES_MAX} files: put several red lines into one")]
    TooMany(PathBuf),
    /// One name for two.
    #[error("red line `{name}` stands in `{first}` and in `{second}`: give each a name of its own")]
    Twice {
        /// The name.
        name: String,
        /// Where it stands first.
        first: PathBuf,
        /// Where it stands again.
        second: PathBuf,
    },
    /// The usual folder is there, and the settings do not name it.
    #[error(
        "`{0}` is there, and the settings do not name it, so it would not hold: \
         add `red-lines = \"redlines\"` to entente.toml, or move it away"
    )]
    Unnamed(PathBuf),
}

/// The red lines of a home, as its settings name them.
pub fn load(home: &Home, config: &Config, book: &Book) -> Result<Vec<Held>, RedLineError> {
    match &config.red_lines {
        Some(path) => read(&home.path().join(path), book),
        None if home.red_lines().exists() => Err(RedLineError::Unnamed(home.red_lines())),
        None => Ok(Vec::new()),
    }
}

/// Reads a file, or every file of a folder, in the order of their names.
pub fn read(path: &Path, book: &Book) -> Result<Vec<Held>, RedLineError> {
    let mut lines: Vec<Held> = Vec::new();
    for file in files(path)? {
        let text = read_text(&file, limits::AGREEMENT_BYTES_MAX as u64).map_err(|e| RedLineError::File(e.message))?;
        let party = |handle: &str| book.find(handle).ok().map(|(org, _)| org);
        let parsed =
            RedLine::parse(&text, &party).map_err(|fault| RedLineError::Source { path: file.clone(), fault })?;
        for line in parsed {
            if let Some(first) = lines.iter().find(|held| held.line.name() == line.name()) {
                let (name, first) = (line.name().to_owned(), first.file.clone());
                return Err(RedLineError::Twice { name, first, second: file });
            }
            lines.push(Held { file: file.clone(), line });
        }
    }
    Ok(lines)
}

fn files(path: &Path) -> Result<Vec<PathBuf>, RedLineError> {
    let failed = |cause| RedLineError::Io { path: path.to_owned(), cause: regular::plainly(cause) };
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (name, file) = (entry.file_name(), entry.path());
        // What an editor leaves beside a file begins with a dot.
        if name.to_string_lossy().starts_with('.') {
            continue;
        }
        if file.extension().is_none_or(|ending| ending != "toml") {
            return Err(RedLineError::Name(file));
        }
        files.push(file);
        if files.len() > FILES_MAX {
            return Err(RedLineError::TooMany(path.to_owned()));
        }
    }
    files.sort();
    Ok(files)
}

/// Red lines for people and programs.
pub fn view(node: &Node, lines: &[Held]) -> Json {
    let one = |held: &Held| {
        let line = &held.line;
        let kinds: Vec<&str> = match line.kinds().len() == Kind::ALL.len() {
            true => vec!["all"],
            false => line.kinds().iter().map(|kind| kind.name()).collect(),
        };
        let to: Vec<String> = match line.to() {
            [] => vec!["all".to_owned()],
            some => some.iter().map(|org| node.handle_of(*org)).collect(),
        };
        json!({
            "id": line.name(),
            "forbids": line.action().name(),
            "kinds": kinds,
            "to": to,
            "when": line.when(),
            "file": held.file.display().to_string(),
        })
    };
    Json::Array(lines.iter().map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str =
        "[[red-line]]\nname = \"no persons\"\nkinds = [\"party\"]\nwhen = 'resource.ptype == \"person\"'\n";

    fn refused(path: &Path, expected: &[&str]) {
        let said = read(path, &Book::default()).map(|lines| lines.len()).map_err(|e| e.to_string());
        let Err(said) = said else { panic!("{expected:?}: it was taken") };
        assert!(expected.iter().all(|part| said.contains(part)), "{said}: {expected:?}");
    }

    #[test]
    fn a_folder_is_read_whole_or_refused_with_file_and_line() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path();
        fs::write(path.join("a.toml"), ONE)?;
        fs::write(path.join(".a.toml.swp"), "what an editor leaves")?;
        assert_eq!(read(path, &Book::default())?.len(), 1);
        assert_eq!(read(&path.join("a.toml"), &Book::default())?.len(), 1);

        fs::write(path.join("b.toml"), ONE)?;
        refused(path, &["no persons", "a.toml", "b.toml"]);
        fs::write(path.join("b.toml"), format!("\n{}", ONE.replace("persons", "ships").replace("ptype", "typ")))?;
        refused(path, &["b.toml", "line 5", "when", "no field `typ`"]);
        fs::write(path.join("b.toml"), ONE.replace("persons", "ships").replace("kinds", "to = [\"nobody\"]\nkinds"))?;
        refused(path, &["b.toml", "line 3", "`nobody` is no partner"]);
        fs::write(path.join("b.toml"), ONE.replace("persons", "ships").replace("kinds", "kind"))?;
        refused(path, &["b.toml", "line 3", "unknown key"]);
        fs::remove_file(path.join("b.toml"))?;
        fs::write(path.join("c.tml"), ONE)?;
        refused(path, &["c.tml", "`.toml`"]);
        refused(&path.join("none"), &["none", "red-lines"]);
        Ok(())
    }
}
