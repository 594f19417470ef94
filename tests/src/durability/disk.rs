//! What a disk may hold after a power cut: a model of files and names that forgets what was not synced.
//!
//! It follows a recorded process (`trace`). At any moment it makes an image: of everything that no finished sync
//! covers, each write is kept, dropped or torn, and each change of names is kept or dropped, as a seed says. A sync of
//! a file promises its content and length; only a sync of its folder promises its name. That is less than many file
//! systems give, and it is what POSIX gives.

use super::{
    Outcome, Rng,
    content::{Content, torn},
    trace::Event,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

#[derive(Debug, Clone)]
enum Change {
    Write(u64, Arc<[u8]>),
    Length(u64),
}

#[derive(Debug, Default)]
struct Inode {
    folder: bool,
    /// What a finished sync covers.
    durable: Content,
    /// What is only in memory, in order, with the moment of each.
    pending: Vec<(usize, Change)>,
    length: u64,
    /// Names in it now, if it is a folder.
    now: BTreeMap<String, usize>,
    /// Names in it that a finished sync covers.
    names: BTreeMap<String, usize>,
}

/// A change of one or two names of one folder that is only in memory.
#[derive(Debug, Clone)]
struct Naming {
    moment: usize,
    folder: usize,
    sets: Vec<(String, Option<usize>)>,
}

#[derive(Debug, Clone, Copy)]
struct Handle {
    inode: usize,
    at: u64,
    append: bool,
}

/// The disk under a process, while its trace is followed.
pub struct Disk {
    root: PathBuf,
    inodes: Vec<Inode>,
    namings: Vec<Naming>,
    handles: Vec<Handle>,
    fds: HashMap<i64, usize>,
    syncs: HashMap<usize, usize>,
    moment: usize,
    /// What was written to the standard output so far.
    pub said: Vec<u8>,
}

/// How an image treats what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Nothing of it is there.
    Dropped,
    /// All of it is there, but for the last write, which is torn.
    Kept,
    /// The first part of it, in the order of time.
    Prefix,
    /// Some of it, in any order, writes torn by sector.
    Torn,
    /// As that, and writes are torn within sectors too.
    Shredded,
}

/// All styles.
pub const STYLES: [Style; 5] = [Style::Dropped, Style::Kept, Style::Prefix, Style::Torn, Style::Shredded];

impl Disk {
    /// A disk that holds what a folder holds, all of it synced. The folder's path is as the process will say it.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn of(root: &Path) -> Outcome<Self> {
        let mut disk = Self {
            root: root.to_owned(),
            inodes: Vec::new(),
            namings: Vec::new(),
            handles: Vec::new(),
            fds: HashMap::new(),
            syncs: HashMap::new(),
            moment: 0,
            said: Vec::new(),
        };
        disk.load(root)?;
        Ok(disk)
    }
    fn load(&mut self, path: &Path) -> Outcome<usize> {
        let number = self.inodes.len();
        self.inodes.push(Inode::default());
        if !path.is_dir() {
            let content = Content::read(path)?;
            self.inodes[number] = Inode { length: content.length, durable: content, ..Inode::default() };
            return Ok(number);
        }
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(path)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).ok_or("a name")?.to_owned();
            names.insert(name, self.load(&path)?);
        }
        self.inodes[number] = Inode { folder: true, now: names.clone(), names, ..Inode::default() };
        Ok(number)
    }
    /// Folder and name of a path below the root; none for others.
    fn place(&self, path: &Path) -> Option<(usize, String)> {
        let relative = path.strip_prefix(&self.root).ok()?;
        let name = relative.file_name()?.to_str()?.to_owned();
        let mut folder = 0;
        for part in relative.parent()?.components() {
            folder = *self.inodes[folder].now.get(part.as_os_str().to_str()?)?;
        }
        Some((folder, name))
    }
    fn find(&self, path: &Path) -> Option<usize> {
        if path == self.root {
            return Some(0);
        }
        let (folder, name) = self.place(path)?;
        self.inodes[folder].now.get(&name).copied()
    }
    fn name(&mut self, folder: usize, sets: Vec<(String, Option<usize>)>) {
        for (name, inode) in &sets {
            match inode {
                Some(inode) => self.inodes[folder].now.insert(name.clone(), *inode),
                None => self.inodes[folder].now.remove(name),
            };
        }
        self.namings.push(Naming { moment: self.moment, folder, sets });
    }
    fn made(&mut self, folder: bool) -> usize {
        self.inodes.push(Inode { folder, ..Inode::default() });
        self.inodes.len() - 1
    }
    fn change(&mut self, inode: usize, change: Change) {
        let moment = self.moment;
        let inode = &mut self.inodes[inode];
        inode.length = match &change {
            Change::Write(at, bytes) => inode.length.max(at + bytes.len() as u64),
            Change::Length(length) => *length,
        };
        inode.pending.push((moment, change));
    }
    /// Lets one more thing happen.
    ///
    /// # Errors
    /// If it does not fit what happened before.
    pub fn follow(&mut self, event: &Event) -> Outcome {
        self.moment += 1;
        match event {
            Event::Open { path, fd, flags } => self.open(path, *fd, flags),
            Event::Dup(from, to) => {
                if let Some(handle) = self.fds.get(from).copied() {
                    self.fds.insert(*to, handle);
                }
            }
            Event::Close(fd) => drop(self.fds.remove(fd)),
            Event::Write { fd: 1, bytes, .. } => self.said.extend_from_slice(bytes),
            Event::Write { fd, bytes, at } => {
                let Some(handle) = self.fds.get(fd).copied() else { return Ok(()) };
                let Handle { inode, at: stands, append } = self.handles[handle];
                let begin = at.unwrap_or(if append { self.inodes[inode].length } else { stands });
                if at.is_none() {
                    self.handles[handle].at = begin + bytes.len() as u64;
                }
                self.change(inode, Change::Write(begin, Arc::clone(bytes)));
            }
            Event::Seek(fd, at) => {
                if let Some(handle) = self.fds.get(fd) {
                    self.handles[*handle].at = *at;
                }
            }
            Event::Length(fd, length) => {
                if let Some(handle) = self.fds.get(fd) {
                    self.change(self.handles[*handle].inode, Change::Length(*length));
                }
            }
            Event::Link(from, to) => self.link(from, to, false)?,
            Event::Rename(from, to) => self.link(from, to, true)?,
            Event::Unlink(path) => {
                if let Some((folder, name)) = self.place(path) {
                    self.name(folder, vec![(name, None)]);
                }
            }
            Event::Folder(path) => {
                if let Some((folder, name)) = self.place(path) {
                    let made = self.made(true);
                    self.name(folder, vec![(name, Some(made))]);
                }
            }
            Event::SyncBegun(_, sync) => drop(self.syncs.insert(*sync, self.moment)),
            Event::SyncDone(fd, sync) => {
                let until = self.syncs.remove(sync).ok_or("a sync that never began")?;
                if let Some(handle) = self.fds.get(fd) {
                    self.sync(self.handles[*handle].inode, until);
                }
            }
        }
        Ok(())
    }
    fn open(&mut self, path: &Path, fd: i64, flags: &str) {
        self.fds.remove(&fd);
        let inode = match self.find(path) {
            Some(inode) => inode,
            None => {
                let Some((folder, name)) = self.place(path).filter(|_| flags.contains("O_CREAT")) else { return };
                let made = self.made(false);
                self.name(folder, vec![(name, Some(made))]);
                made
            }
        };
        if flags.contains("O_TRUNC") && self.inodes[inode].length > 0 {
            self.change(inode, Change::Length(0));
        }
        self.fds.insert(fd, self.handles.len());
        self.handles.push(Handle { inode, at: 0, append: flags.contains("O_APPEND") });
    }
    fn link(&mut self, from: &Path, to: &Path, moved: bool) -> Outcome {
        let Some(inode) = self.find(from) else { return Ok(()) };
        let (old, new) = (self.place(from).ok_or("a name")?, self.place(to).ok_or("a name")?);
        if !moved {
            self.name(new.0, vec![(new.1, Some(inode))]);
        } else if old.0 == new.0 {
            // One step within one folder: both or neither.
            self.name(new.0, vec![(new.1, Some(inode)), (old.1, None)]);
        } else {
            self.name(new.0, vec![(new.1, Some(inode))]);
            self.name(old.0, vec![(old.1, None)]);
        }
        Ok(())
    }
    /// Everything about a file or folder up to a moment is on disk.
    fn sync(&mut self, number: usize, until: usize) {
        let inode = &mut self.inodes[number];
        let still = inode.pending.iter().position(|(moment, _)| *moment > until).unwrap_or(inode.pending.len());
        for (_, change) in inode.pending.drain(..still) {
            match change {
                Change::Write(at, bytes) => inode.durable.write(at, &bytes),
                Change::Length(length) => inode.durable.set_length(length),
            }
        }
        let mut later = Vec::new();
        for naming in self.namings.drain(..) {
            if naming.folder != number || naming.moment > until {
                later.push(naming);
                continue;
            }
            apply(&mut self.inodes[number].names, &naming);
        }
        self.namings = later;
    }
    /// How many moments there are of which something was not synced.
    fn unsynced(&self) -> Vec<usize> {
        let writes = self.inodes.iter().flat_map(|inode| inode.pending.iter().map(|(moment, _)| *moment));
        let moments: BTreeSet<usize> = writes.chain(self.namings.iter().map(|naming| naming.moment)).collect();
        moments.into_iter().collect()
    }

    /// Writes into a new folder what the disk may hold if the power goes now.
    ///
    /// # Errors
    /// If the image cannot be written.
    pub fn image(&self, to: &Path, style: Style, rng: &mut Rng) -> Outcome {
        let unsynced = self.unsynced();
        let last = unsynced.last().copied().unwrap_or_default();
        let cut = match style {
            Style::Prefix => unsynced.get(rng.below(unsynced.len() as u64 + 1) as usize).copied().unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        let mut fate = |moment: usize| match style {
            Style::Dropped => Fate::Dropped,
            Style::Kept if moment == last => Fate::Torn,
            Style::Kept => Fate::Kept,
            Style::Prefix if moment < cut => Fate::Kept,
            Style::Prefix if moment == cut => Fate::Torn,
            Style::Prefix => Fate::Dropped,
            Style::Torn | Style::Shredded => match rng.below(5) {
                0 | 1 => Fate::Kept,
                2 => Fate::Dropped,
                _ => Fate::Torn,
            },
        };
        let mut names: HashMap<usize, BTreeMap<String, usize>> = HashMap::new();
        for naming in &self.namings {
            // A name changes or does not; there is no half of it.
            if fate(naming.moment) == Fate::Kept {
                let known = names.entry(naming.folder).or_insert_with(|| self.inodes[naming.folder].names.clone());
                apply(known, naming);
            }
        }
        let mut contents: HashMap<usize, Content> = HashMap::new();
        let mut tear = Rng(last as u64 ^ 0x7ea2);
        for (number, inode) in self.inodes.iter().enumerate().filter(|(_, inode)| !inode.pending.is_empty()) {
            let mut content = inode.durable.clone();
            for (moment, change) in &inode.pending {
                match (fate(*moment), change) {
                    (Fate::Dropped, _) => {}
                    (Fate::Kept | Fate::Torn, Change::Length(length)) => content.set_length(*length),
                    (Fate::Kept, Change::Write(at, bytes)) => content.write(*at, bytes),
                    (Fate::Torn, Change::Write(at, bytes)) => {
                        torn(&mut content, *at, bytes, style == Style::Shredded, &mut tear);
                    }
                }
            }
            contents.insert(number, content);
        }
        fs::create_dir(to)?;
        self.save(0, to, &names, &contents)
    }
    fn save(
        &self,
        folder: usize,
        to: &Path,
        names: &HashMap<usize, BTreeMap<String, usize>>,
        contents: &HashMap<usize, Content>,
    ) -> Outcome {
        for (name, number) in names.get(&folder).unwrap_or(&self.inodes[folder].names) {
            let (path, inode) = (to.join(name), &self.inodes[*number]);
            if inode.folder {
                fs::create_dir(&path)?;
                self.save(*number, &path, names, contents)?;
            } else {
                contents.get(number).unwrap_or(&inode.durable).save(&path)?;
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Dropped,
    Torn,
}

fn apply(names: &mut BTreeMap<String, usize>, naming: &Naming) {
    for (name, inode) in &naming.sets {
        match inode {
            Some(inode) => names.insert(name.clone(), *inode),
            None => names.remove(name),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_lasts_by_a_sync_of_the_file_and_its_name_by_one_of_the_folder() -> Outcome {
        let base = tempfile::tempdir()?;
        let root = base.path().join("root");
        fs::create_dir(&root)?;
        let run = |events: &[Event], style: Style| -> Outcome<Option<Vec<u8>>> {
            let mut disk = Disk::of(&root)?;
            for event in events {
                disk.follow(event)?;
            }
            let to = root.with_extension("image");
            disk.image(&to, style, &mut Rng(3))?;
            let found = fs::read(to.join("file")).ok();
            fs::remove_dir_all(&to)?;
            Ok(found)
        };
        let open = |path: PathBuf, fd, flags: &str| Event::Open { path, fd, flags: flags.to_owned() };
        let write = |bytes: &[u8]| Event::Write { fd: 5, bytes: bytes.into(), at: None };
        let mut events = vec![open(root.join("file"), 5, "O_CREAT|O_WRONLY"), write(b"one")];
        assert_eq!(run(&events, Style::Dropped)?, None);
        events.extend([Event::SyncBegun(5, 1), write(b"two"), Event::SyncDone(5, 1)]);
        assert_eq!(run(&events, Style::Dropped)?, None, "no sync of the folder");
        events.extend([open(root.clone(), 6, "O_RDONLY"), Event::SyncBegun(6, 2), Event::SyncDone(6, 2)]);
        assert_eq!(run(&events, Style::Dropped)?, Some(b"one".to_vec()), "what came after the sync began");
        events.push(Event::Rename(root.join("file"), root.join("other")));
        assert_eq!(run(&events, Style::Dropped)?, Some(b"one".to_vec()));
        assert_eq!(run(&events, Style::Kept)?, Some(b"onetwo".to_vec()), "a torn change of names is none");
        Ok(())
    }
}
