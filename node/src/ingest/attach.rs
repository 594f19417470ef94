//! Photographs and other files that come with a table: an index of one folder, and which records they belong to.
//!
//! `import --attachments DIR` opens [`Attachments`] once, binds the [`PhotoRef`]s of every record, and at the end
//! lists what nothing named. Names from the table are looked up in the index and never become paths, so nothing
//! outside the folder is reached; symbolic links are not followed. No file is opened here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::table::excerpt;

/// Files of one folder, those in its folders included.
pub const FILES_MAX: usize = 200_000;
/// Depth of folders within the folder.
pub const DEPTH_MAX: usize = 16;
/// Names that one range may stand for.
pub const RANGE_MAX: u64 = 2_000;

/// How a row names its photographs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PhotoRef {
    /// A file's name, or its path within the folder; the ending may be left out.
    File(String),
    /// Numbered names from first to last: what stands before the digits, and both numbers as written.
    Range {
        /// Before the digits.
        prefix: String,
        /// The first number.
        first: u64,
        /// The last number.
        last: u64,
        /// Digits of a number, leading zeros included.
        width: usize,
    },
    /// Every file in the folder of this name.
    Folder(String),
}

impl PhotoRef {
    /// The range between two names such as `IMG_0012` and `IMG_0019`, or `IMG_0012` and `0019`.
    pub fn range(first: &str, last: &str) -> Option<Self> {
        let (prefix, low) = numbered(first.trim())?;
        let (last_prefix, high) = numbered(last.trim())?;
        if !(last_prefix.is_empty() || last_prefix == prefix) {
            return None;
        }
        let (first, last) = (low.parse().ok()?, high.parse().ok()?);
        let count = u64::checked_sub(last, first)?;
        let range = Self::Range { prefix: prefix.to_owned(), first, last, width: low.len() };
        (count < RANGE_MAX).then_some(range)
    }

    /// The range that one cell writes with a hyphen or dash between; a single name is a range of one.
    pub fn range_in(cell: &str) -> Option<Self> {
        let dashes = cell.char_indices().filter(|(_, c)| matches!(c, '-' | '\u{2013}' | '\u{2014}'));
        let splits = dashes.filter_map(|(at, c)| Some((cell.get(..at)?, cell.get(at + c.len_utf8()..)?)));
        // `A-12-A-19` has three hyphens; the one in the middle leaves two numbered names.
        let mut pairs = splits.filter(|(first, last)| {
            let prefixes = numbered(first.trim()).zip(numbered(last.trim()));
            prefixes.is_some_and(|((first, _), (last, _))| last.is_empty() || first == last)
        });
        match pairs.next() {
            Some((first, last)) => Self::range(first, last),
            None => Self::range(cell, cell),
        }
    }
}

impl fmt::Display for PhotoRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(name) => f.write_str(name),
            Self::Range { prefix, first, last, width } => write!(f, "{prefix}{first:0width$}-{last:0width$}"),
            Self::Folder(name) => write!(f, "{name}/"),
        }
    }
}

/// A name without its ending, cut before its last digits.
fn numbered(name: &str) -> Option<(&str, &str)> {
    let stem = match name.rsplit_once('.') {
        Some((stem, ending)) if !ending.is_empty() && !ending.bytes().all(|byte| byte.is_ascii_digit()) => stem,
        _ => name,
    };
    let prefix = stem.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = stem.strip_prefix(prefix)?;
    (!digits.is_empty() && digits.len() <= 18).then_some((prefix, digits))
}

/// The folder cannot be indexed.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The system refused.
    #[error("the folder of attachments cannot be read at `{0}`: {1}")]
    Read(String, #[source] io::Error),
    /// Beyond [`FILES_MAX`] or [`DEPTH_MAX`].
    #[error("the folder of attachments holds more than {FILES_MAX} files or {DEPTH_MAX} levels: import it in parts")]
    TooMany,
}

/// What a record's references lead to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// Files, each once, in the order named.
    pub files: Vec<PathBuf>,
    /// References, shortened, to which no file belongs.
    pub missing: Vec<String>,
    /// References, shortened, to which several files of different folders belong: none of them is taken.
    pub ambiguous: Vec<String>,
}

/// The files of one folder, and which of them a record has named.
#[derive(Debug)]
pub struct Attachments {
    root: PathBuf,
    /// Paths within the folder, in order.
    files: Vec<PathBuf>,
    used: Vec<bool>,
    /// Lower-case path, name and name without ending, each to the files that it may mean.
    by_name: BTreeMap<String, Vec<usize>>,
    /// Lower-case name of a folder to its files.
    by_folder: BTreeMap<String, Vec<usize>>,
    links: usize,
}

impl Attachments {
    /// Indexes a folder.
    pub fn open(root: &Path) -> Result<Self, AttachError> {
        Self::within(root, FILES_MAX)
    }

    fn within(root: &Path, files_max: usize) -> Result<Self, AttachError> {
        let mut found = Self {
            root: root.to_owned(),
            files: Vec::new(),
            used: Vec::new(),
            by_name: BTreeMap::new(),
            by_folder: BTreeMap::new(),
            links: 0,
        };
        found.walk(files_max)?;
        found.files.sort();
        found.used = vec![false; found.files.len()];
        found.index();
        Ok(found)
    }

    /// Every directory is visited once: links are not followed, and depth and count are bounded.
    fn walk(&mut self, files_max: usize) -> Result<(), AttachError> {
        let mut waiting = vec![(PathBuf::new(), 0)];
        while let Some((inner, depth)) = waiting.pop() {
            let place = self.root.join(&inner);
            let refused = |error| AttachError::Read(excerpt(&place.to_string_lossy()), error);
            for entry in std::fs::read_dir(&place).map_err(refused)? {
                let entry = entry.map_err(refused)?;
                let kind = entry.file_type().map_err(refused)?;
                let path = inner.join(entry.file_name());
                if kind.is_symlink() {
                    self.links += 1;
                } else if kind.is_dir() {
                    waiting.push((path, depth + 1));
                } else if kind.is_file() {
                    self.files.push(path);
                }
                if self.files.len() + waiting.len() > files_max || depth > DEPTH_MAX {
                    return Err(AttachError::TooMany);
                }
            }
        }
        Ok(())
    }

    fn index(&mut self) {
        for (index, path) in self.files.iter().enumerate() {
            let whole = key(&path.to_string_lossy());
            let name = path.file_name().map(|name| key(&name.to_string_lossy()));
            let stem = path.file_stem().map(|stem| key(&stem.to_string_lossy()));
            let names: BTreeSet<String> = [Some(whole), name, stem].into_iter().flatten().collect();
            for name in names {
                self.by_name.entry(name).or_default().push(index);
            }
            if let Some(folder) = path.parent().and_then(Path::file_name) {
                self.by_folder.entry(key(&folder.to_string_lossy())).or_default().push(index);
            }
        }
    }

    /// The files that a record names; they are no longer left over.
    pub fn bind(&mut self, refs: &[PhotoRef]) -> Bound {
        let mut bound = Bound::default();
        let mut taken = BTreeSet::new();
        for photo in refs {
            match photo {
                PhotoRef::File(name) => self.bind_name(name, &mut bound, &mut taken),
                PhotoRef::Range { prefix, first, last, width } => {
                    // At most RANGE_MAX names: `range` refuses more.
                    for number in (*first..=*last).take(RANGE_MAX as usize) {
                        self.bind_name(&format!("{prefix}{number:0width$}"), &mut bound, &mut taken);
                    }
                }
                PhotoRef::Folder(name) => match self.by_folder.get(&key(name)) {
                    None => bound.missing.push(excerpt(&photo.to_string())),
                    Some(inside) => {
                        for index in inside {
                            take(*index, &self.files, &mut self.used, &mut bound, &mut taken, &self.root);
                        }
                    }
                },
            }
        }
        bound
    }

    fn bind_name(&mut self, name: &str, bound: &mut Bound, taken: &mut BTreeSet<usize>) {
        match self.by_name.get(&key(name)).map(Vec::as_slice) {
            None | Some([]) => bound.missing.push(excerpt(name)),
            Some([index]) => take(*index, &self.files, &mut self.used, bound, taken, &self.root),
            Some(_) => bound.ambiguous.push(excerpt(name)),
        }
    }

    /// The files that no record has named, by their paths within the folder.
    pub fn leftovers(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().zip(&self.used).filter(|(_, used)| !**used).map(|(path, _)| path.as_path())
    }

    /// How many files there are.
    pub fn count(&self) -> usize {
        self.files.len()
    }

    /// Symbolic links that were passed over.
    pub fn links_skipped(&self) -> usize {
        self.links
    }
}

fn take(
    index: usize,
    files: &[PathBuf],
    used: &mut [bool],
    bound: &mut Bound,
    taken: &mut BTreeSet<usize>,
    root: &Path,
) {
    if let (Some(path), Some(used), true) = (files.get(index), used.get_mut(index), taken.insert(index)) {
        *used = true;
        bound.files.push(root.join(path));
    }
}

/// Case and the kind of slash do not matter: names come from other systems.
fn key(name: &str) -> String {
    name.trim().replace('\\', "/").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"x").unwrap();
        }
        folder
    }

    fn names(root: &Path, bound: &Bound) -> Vec<String> {
        bound.files.iter().map(|path| path.strip_prefix(root).unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn names_ranges_and_folders_bind_and_the_rest_is_left_over() {
        let dir =
            folder(&["IMG_0012.JPG", "IMG_0013.jpg", "a/one.jpg", "b/one.jpg", "EV-7/x.png", "EV-7/y.png", "z.jpg"]);
        let mut all = Attachments::open(dir.path()).unwrap();
        assert_eq!(all.count(), 7);
        let bound = all.bind(&[PhotoRef::File("img_0012.jpg".into()), PhotoRef::File("IMG_0012".into())]);
        assert_eq!(names(dir.path(), &bound), ["IMG_0012.JPG"], "once, though named twice");
        let bound = all.bind(&[PhotoRef::range_in("IMG_0012-IMG_0014").unwrap()]);
        assert_eq!(names(dir.path(), &bound), ["IMG_0012.JPG", "IMG_0013.jpg"]);
        assert_eq!(bound.missing, ["IMG_0014"]);
        let bound = all.bind(&[PhotoRef::File("one.jpg".into()), PhotoRef::File("a\\one.jpg".into())]);
        assert_eq!(bound.ambiguous, ["one.jpg"]);
        assert_eq!(names(dir.path(), &bound), ["a/one.jpg"]);
        let bound = all.bind(&[PhotoRef::Folder("ev-7".into()), PhotoRef::Folder("EV-8".into())]);
        assert_eq!(names(dir.path(), &bound), ["EV-7/x.png", "EV-7/y.png"]);
        assert_eq!(bound.missing, ["EV-8/"]);
        let left: Vec<_> = all.leftovers().collect();
        assert_eq!(left, [Path::new("b/one.jpg"), Path::new("z.jpg")]);
    }

    #[test]
    fn ranges_are_read_as_people_write_them() {
        let range =
            |first, last, prefix: &str, width| Some(PhotoRef::Range { prefix: prefix.to_owned(), first, last, width });
        assert_eq!(PhotoRef::range_in("IMG_0012.JPG - IMG_0019.JPG"), range(12, 19, "IMG_", 4));
        assert_eq!(PhotoRef::range_in("IMG_0012\u{2013}0019"), range(12, 19, "IMG_", 4));
        assert_eq!(PhotoRef::range_in("A-12-A-19"), range(12, 19, "A-", 2));
        assert_eq!(PhotoRef::range_in("7"), range(7, 7, "", 1));
        assert_eq!(PhotoRef::range_in("IMG_0019-IMG_0012"), None);
        assert_eq!(PhotoRef::range("A1", "B2"), None);
        assert_eq!(PhotoRef::range("1", "99999999"), None, "bounded");
    }

    #[test]
    fn a_folder_too_wide_or_too_deep_is_refused() {
        let dir = folder(&["a/1.jpg", "a/2.jpg", "b/3.jpg"]);
        assert!(Attachments::within(dir.path(), 3).is_ok());
        assert!(matches!(Attachments::within(dir.path(), 2), Err(AttachError::TooMany)));
        // Folders without a file count while they wait.
        let dir = folder(&["a/b/x"]);
        (0..4).for_each(|n| std::fs::create_dir(dir.path().join(n.to_string())).unwrap());
        assert!(matches!(Attachments::within(dir.path(), 3), Err(AttachError::TooMany)));
        let below = |depth: usize| "d/".repeat(depth) + "x.jpg";
        assert_eq!(Attachments::open(folder(&[&below(DEPTH_MAX)]).path()).unwrap().count(), 1);
        let deep = Attachments::open(folder(&[&below(DEPTH_MAX + 1)]).path());
        assert!(matches!(deep, Err(AttachError::TooMany)));
    }

    #[cfg(unix)]
    #[test]
    fn nothing_outside_the_folder_is_reached() {
        let outside = folder(&["secret.txt"]);
        let dir = folder(&["in.jpg"]);
        std::os::unix::fs::symlink(outside.path(), dir.path().join("away")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret.txt"), dir.path().join("secret.txt")).unwrap();
        let mut all = Attachments::open(dir.path()).unwrap();
        assert_eq!((all.count(), all.links_skipped()), (1, 2));
        let bound = all.bind(&[
            PhotoRef::File("../secret.txt".into()),
            PhotoRef::File("secret.txt".into()),
            PhotoRef::Folder("away".into()),
            PhotoRef::File("/etc/passwd".into()),
        ]);
        assert!(bound.files.is_empty());
        assert_eq!(bound.missing.len(), 4);
    }
}
