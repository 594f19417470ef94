//! Files that rows name: each becomes attachment records, the original and the copies that may be shared.
//!
//! The original keeps every byte and its metadata as fields; the stripped copy and the thumbnail are
//! attested like it, and derived from it. What a file says of itself and its copies come from a child process:
//! here a file is bytes that are sealed, in chunks, and nothing of it is parsed or held whole.

use super::{
    attach::{Attachments, PhotoRef},
    child::{
        ChildFault,
        picture::{Facts, Picture, Pictures},
    },
    import::{ImportError, ImportReport},
    photo::{self, Media},
    step::{Imported, Steps},
    table,
};
use crate::{
    node::Node,
    records::{
        index,
        keep::{self, KeepError},
        stored,
    },
    regular,
    seal::keyring::Partition,
    share::{
        ShareError,
        files::{self, FileRow},
    },
    store::StoreError,
};
use entente_protocol::{
    id::LineId,
    limits,
    primitive::sha256,
    record::{Draft, DraftError, HandlingFloor, Reference, kind::Kind},
    value::Value,
};
use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

/// Whose file it is.
pub(super) struct Owner<'a> {
    /// Identity of the record within its collection.
    pub key: [u8; 32],
    /// Its line.
    pub line: LineId,
    /// Its evidence number.
    pub number: &'a str,
    /// Handling floor of the collection.
    pub floor: &'a HandlingFloor,
}

/// Files of one import.
pub(super) struct Carrier {
    attachments: Option<Attachments>,
    pictures: Pictures,
    unbound: u64,
}

impl Carrier {
    pub fn new(attachments: Option<Attachments>, node: &Node) -> Self {
        Self { attachments, pictures: Pictures::new(node.reader.clone()), unbound: 0 }
    }

    /// Adds the files of one record to the import.
    pub fn carry(
        &mut self,
        steps: &mut Steps<'_>,
        owner: &Owner<'_>,
        refs: &[PhotoRef],
        report: &mut ImportReport,
    ) -> Result<(), ImportError> {
        let Some(attachments) = &mut self.attachments else {
            self.unbound += refs.len() as u64;
            return Ok(());
        };
        let bound = attachments.bind(refs);
        report.missing.extend(bound.missing.iter().map(|name| format!("{}: `{name}` is not there", owner.number)));
        let twice = bound.ambiguous.iter().map(|name| format!("{}: `{name}` is there more than once", owner.number));
        report.missing.extend(twice);
        for (place, path) in (1u32..).zip(&bound.files) {
            if let Err(error) = one(steps, &mut self.pictures, owner, place, path, report) {
                match error {
                    CarryError::Import(error) => return Err(error),
                    CarryError::Read(cause) => {
                        report.missing.push(format!("{}: `{}` cannot be read: {cause}", owner.number, name_of(path)));
                    }
                    CarryError::Child(fault) => {
                        return Err(ImportError::Child { path: path.display().to_string(), fault });
                    }
                }
            }
        }
        Ok(())
    }

    pub fn finish(self, report: &mut ImportReport) {
        if let Some(attachments) = &self.attachments {
            report.leftovers = attachments.leftovers().map(|path| path.display().to_string()).collect();
            if attachments.links_skipped() > 0 {
                report
                    .notes
                    .push(format!("{} symbolic links in the folder were not followed", attachments.links_skipped()));
            }
        }
        if self.unbound > 0 {
            report.notes.push(format!("rows name {} files: give their folder with --attachments", self.unbound));
        }
    }
}

enum CarryError {
    Import(ImportError),
    /// The file cannot be read.
    Read(io::Error),
    /// No file can be looked at on this machine.
    Child(ChildFault),
}

impl<E: Into<ImportError>> From<E> for CarryError {
    fn from(error: E) -> Self {
        Self::Import(error.into())
    }
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .map(|n| n.to_string_lossy().chars().filter(|c| !c.is_control()).take(200).collect())
        .unwrap_or_default()
}

/// Has a file looked at. A descriptor of its own for the child: the two would move each other's place in one.
fn begin(pictures: &mut Pictures, path: &Path, ours: &File) -> Result<Picture, CarryError> {
    let theirs = regular::open(path).map_err(CarryError::Read)?;
    let which = |file: &File| file.metadata().map(|m| (m.dev(), m.ino())).map_err(CarryError::Read);
    if which(ours)? != which(&theirs)? {
        return Err(CarryError::Read(io::Error::other("it was replaced while it was read")));
    }
    pictures.begin(&theirs).map_err(CarryError::Child)
}

fn too_large(what: &str) -> io::Error {
    let says = format!("it {what}, and at most {} are taken: split it", limits::ATTACHMENT_BYTES_MAX);
    io::Error::new(io::ErrorKind::FileTooLarge, says)
}

/// One file: its original, and its copies where they can be made.
fn one(
    steps: &mut Steps<'_>,
    pictures: &mut Pictures,
    owner: &Owner<'_>,
    place: u32,
    path: &Path,
    report: &mut ImportReport,
) -> Result<(), CarryError> {
    let node = steps.node();
    let mut file = regular::open(path).map_err(CarryError::Read)?;
    // Before a byte of it fills the disk.
    let bytes = file.metadata().map_err(CarryError::Read)?.len();
    if bytes > limits::ATTACHMENT_BYTES_MAX {
        return Err(CarryError::Read(too_large(&format!("has {bytes} bytes"))));
    }
    let name = name_of(path);
    let key = |role: &str| sha256(&[b"attachment", &owner.key, name.as_bytes(), role.as_bytes()]);
    let known = steps.known(&key("original"))?;
    // What this very import has in hand is not looked at again.
    let in_hand = ["original", "stripped", "thumbnail"].iter().any(|role| steps.is_in_hand(&key(role)));
    let unfinished = if in_hand { None } else { unfinished(node, &key)? };
    // A file that was never here is looked at while it is stored, and so is one whose reader was stopped; any other only
    // if it is another file now.
    let begun = if known.is_none() || unfinished.is_some() { Some(begin(pictures, path, &file)?) } else { None };
    let original = match files::put(node, Partition::Own, &mut file) {
        Err(ShareError::Store(StoreError::TooLarge { .. })) => return Err(CarryError::Read(too_large("grows"))),
        stored => stored.map_err(ImportError::from)?,
    };
    let held = known.filter(|k| k.digest == original.sha256);
    if held.is_some() && unfinished.is_none() {
        report.unchanged += 1;
        files::discard(node, Partition::Own, &original).map_err(ImportError::from)?;
        return Ok(());
    }
    let mut picture = match begun {
        Some(picture) => picture,
        None => begin(pictures, path, &file)?,
    };
    let mut note = |what: &dyn std::fmt::Display| report.notes.push(format!("{}: `{name}`: {what}", owner.number));
    let facts = match picture.facts() {
        Ok(Ok(facts)) => Some(facts),
        Ok(Err(cause)) => {
            files::discard(node, Partition::Own, &original).map_err(ImportError::from)?;
            return Err(CarryError::Read(io::Error::other(cause)));
        }
        Err(fault) if fault.is_setup() => return Err(CarryError::Child(fault)),
        Err(fault) => {
            note(&format_args!("kept as it is, without what it says of itself and without a copy: {fault}"));
            None
        }
    };
    let is_alive = facts.is_some();
    let facts = facts.unwrap_or_default();
    if let Some(disguised) = is_alive.then(|| photo::disguised(&name, facts.media)).flatten() {
        note(&format_args!("is {} by content, not {}", disguised.found, disguised.claimed));
    }
    facts.faults.iter().for_each(|fault| note(&table::legible(fault, 200)));
    let base = Base { node, owner, place, facts };
    let base = base.sound(&original, &name, &mut note);
    let held = held.zip(unfinished).map(|(held, media)| (held.line, media));
    // Of a file that is held its first copy may be here, if its reader was stopped over the second.
    let is_copied = held.is_some() && arrived(node, &key("stripped"))? > arrived(node, &key("original"))?;
    let of_original = base.original(steps, report, key("original"), original, &name, held)?;
    if is_alive {
        for role in ["stripped", "thumbnail"] {
            match copy(node, &mut picture)? {
                Err(why) => {
                    report.notes.push(format!("{}: `{name}`: {why}", owner.number));
                    break;
                }
                Ok((_, file)) if is_copied && role == "stripped" => {
                    report.unchanged += 1;
                    files::discard(node, Partition::Own, &file).map_err(ImportError::from)?;
                }
                Ok((media, file)) => {
                    base.add(steps, report, key(role), role, media, &file, "", Some(of_original))?;
                    steps.add_file(file);
                }
            }
        }
    }
    Ok(())
}

/// The format of a file that was kept without its copies, though copies are made of such files, or though nothing is
/// known of it: its reader may have been stopped. Nothing for one that is whole here, or that was never here.
fn unfinished(node: &Node, key: &impl Fn(&str) -> [u8; 32]) -> Result<Option<String>, ImportError> {
    // The copies come after their original, one after the other: the last tells of both. One that is older is a copy of
    // the file that stood there before.
    if arrived(node, &key("thumbnail"))? > arrived(node, &key("original"))? {
        return Ok(None);
    }
    let Some((_, row)) = keep::imported(node, &key("original"))? else { return Ok(None) };
    let slot = Kind::Attachment.slot("media").map(|slot| slot.number);
    let stated = row.values.iter().find(|(number, _)| Some(*number) == slot);
    let media = stated.map(|(_, bytes)| stored::value(bytes)).transpose()?;
    let Some(Value::Text(media)) = media else { return Ok(None) };
    let is_copied = Media::ALL.iter().any(|m| m.mime() == &*media && (m.has_copies() || *m == Media::Other));
    Ok(is_copied.then(|| media.to_string()))
}

/// The place of the newest record that an import made of a thing; places rise.
fn arrived(node: &Node, key: &[u8; 32]) -> Result<Option<u64>, ImportError> {
    Ok(node.holdings.newest(Partition::Own, index::IMPORT, key)?)
}

/// Stores the next copy, or says why there is none.
fn copy(node: &Node, picture: &mut Picture) -> Result<Result<(Media, FileRow), String>, ImportError> {
    let mut copy = match picture.copy() {
        Ok(Ok(copy)) => copy,
        Ok(Err(why)) => return Ok(Err(why)),
        Err(fault) => return Ok(Err(format!("kept as it is, without a copy: {fault}"))),
    };
    let media = copy.media;
    let file = store(node, &mut copy)?;
    match copy.fault() {
        None => Ok(Ok((media, file))),
        Some(fault) => {
            files::discard(node, Partition::Own, &file)?;
            Ok(Err(format!("kept as it is, without a copy: {fault}")))
        }
    }
}

fn store(node: &Node, reader: &mut dyn Read) -> Result<FileRow, ImportError> {
    Ok(files::put(node, Partition::Own, reader)?)
}

/// What the records of one file have in common.
struct Base<'a> {
    node: &'a Node,
    owner: &'a Owner<'a>,
    place: u32,
    facts: Facts,
}

impl Base<'_> {
    /// Without what the file says of itself, where a record cannot hold that: no child of ours says such things.
    fn sound(self, original: &FileRow, name: &str, note: &mut dyn FnMut(&dyn std::fmt::Display)) -> Self {
        let line = LineId::from_bytes([0; 16]);
        match self.draft(line, "original", self.facts.media, original, name, None, None) {
            Ok(_) => self,
            Err(fault) => {
                note(&format_args!("what it says of itself was left out: {fault}"));
                Self { facts: Facts { media: self.facts.media, ..Facts::default() }, ..self }
            }
        }
    }

    /// Keeps the original and gives its line. One that is held, as a file of the format given, stays as it is, unless its
    /// reader was stopped before it said anything.
    fn original(
        &self,
        steps: &mut Steps<'_>,
        report: &mut ImportReport,
        key: [u8; 32],
        file: FileRow,
        name: &str,
        held: Option<(LineId, String)>,
    ) -> Result<LineId, CarryError> {
        let media = self.facts.media;
        let Some((line, before)) = held else {
            let line = self.add(steps, report, key, "original", media, &file, name, None)?;
            steps.add_file(file);
            return Ok(line);
        };
        // The bytes are there already.
        files::discard(self.node, Partition::Own, &file).map_err(ImportError::from)?;
        if media == Media::Other || media.mime() == before {
            report.unchanged += 1;
            return Ok(line);
        }
        self.add(steps, report, key, "original", media, &file, name, None)
    }

    /// Adds one attachment record; an earlier one of the same identity is amended.
    #[expect(clippy::too_many_arguments, reason = "one record's particulars, named at each of three calls")]
    fn add(
        &self,
        steps: &mut Steps<'_>,
        report: &mut ImportReport,
        key: [u8; 32],
        role: &'static str,
        media: Media,
        file: &FileRow,
        name: &str,
        from: Option<LineId>,
    ) -> Result<LineId, CarryError> {
        let known = steps.known(&key)?;
        let line = match known {
            Some(known) => known.line,
            None => keep::new_line().map_err(KeepError::from)?,
        };
        let draft = self
            .draft(line, role, media, file, name, from, known)
            .map_err(|fault| KeepError::Draft { which: format!("{} file {}", self.owner.number, self.place), fault })?;
        let record = keep::commit(draft)?;
        report.files += 1;
        if known.is_some() {
            report.amended += 1;
        } else {
            report.added += 1;
        }
        steps.add(key, file.sha256, record, known.is_some())?;
        Ok(line)
    }

    #[expect(clippy::too_many_arguments, reason = "as for `add`, its only caller")]
    fn draft(
        &self,
        line: LineId,
        role: &'static str,
        media: Media,
        file: &FileRow,
        name: &str,
        from: Option<LineId>,
        known: Option<Imported>,
    ) -> Result<Draft, DraftError> {
        let ours = |line| Reference { originator: self.node.keys.org, line }.to_value();
        let mut draft = Draft::new(Kind::Attachment, self.node.keys.org, line, self.owner.floor.clone());
        let suffix = match role {
            "original" => "",
            "stripped" => "-copy",
            _ => "-small",
        };
        draft.set("number", Value::Text(format!("{}/{:02}{suffix}", self.owner.number, self.place)))?;
        draft.set("eval", Value::map([]))?;
        draft.set("of", ours(self.owner.line))?;
        draft.set("role", Value::text(role))?;
        draft.set("media", Value::text(media.mime()))?;
        draft.set("content", file.content().to_value())?;
        if let Some(from) = from {
            draft.set("derived-from", ours(from))?;
        }
        if let Some(known) = known {
            draft.set("supersedes", Value::Bytes(known.record.as_bytes().to_vec()))?;
        }
        // When and where it was taken are fields of every form, each withheld or coarsened by its own clause.
        if let Some((taken, clock)) = &self.facts.taken {
            draft.set("taken", Value::text(taken))?;
            draft.set("taken-clock", Value::text(clock.name()))?;
        }
        if let Some((lon, lat)) = self.facts.place {
            let geo = Value::Array(vec![Value::Int(lon.into()), Value::Int(lat.into())]);
            draft.set("place-point", Value::map([("geo", geo), ("prec", Value::Int(1))]))?;
        }
        if role == "original" {
            if let Some(author) = &self.facts.author {
                draft.set("author", Value::text(author))?;
            }
            if let Some(camera) = &self.facts.camera {
                draft.set("camera", Value::text(camera))?;
            }
            if !name.is_empty() {
                draft.set("name", Value::text(name))?;
            }
            if !self.facts.rest.is_empty() {
                let entries: Vec<(String, Value)> =
                    self.facts.rest.iter().map(|(k, v)| (k.clone(), Value::text(v))).collect();
                draft.set("exif", Value::text_map(entries))?;
            }
        }
        Ok(draft)
    }
}
