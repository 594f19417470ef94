//! Files that rows name: each becomes attachment records, the original and the copies that may be shared.
//!
//! The original keeps every byte and its metadata as fields; the stripped copy and the thumbnail are
//! made here, attested like it, and derived from it. A file is read in chunks; only pictures that are
//! within the limits are ever held in memory.

use super::{
    attach::{Attachments, PhotoRef},
    import::{ImportError, ImportReport, Imported, Step},
    photo::{self, Media, derive, exif},
};
use crate::{
    node::Node,
    records::keep::{self, KeepError},
    seal::keyring::Partition,
    share::files::{self, FileRow},
};
use entente_protocol::{
    id::LineId,
    primitive::sha256,
    record::{Draft, DraftError, HandlingFloor, Reference, kind::Kind},
    value::Value,
};
use std::{
    fs::File,
    io::{self, BufReader, Read, Seek},
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
    unbound: u64,
}

/// What of a picture's metadata belongs into records.
#[derive(Default)]
struct Facts {
    taken: Option<(String, &'static str)>,
    place: Option<Value>,
    author: Option<String>,
    camera: Option<String>,
    rest: Vec<(String, String)>,
}

impl Carrier {
    pub fn new(attachments: Option<Attachments>) -> Self {
        Self { attachments, unbound: 0 }
    }

    /// Adds the files of one record to the step.
    pub fn carry(
        &mut self,
        node: &Node,
        owner: &Owner<'_>,
        refs: &[PhotoRef],
        step: &mut Step,
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
            if let Err(error) = one(node, owner, place, path, step, report) {
                match error {
                    CarryError::Import(error) => return Err(error),
                    CarryError::Read(cause) => {
                        report.missing.push(format!("{}: `{}` cannot be read: {cause}", owner.number, name_of(path)));
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
    Read(io::Error),
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

/// One file: its original, and its copies where they can be made.
fn one(
    node: &Node,
    owner: &Owner<'_>,
    place: u32,
    path: &Path,
    step: &mut Step,
    report: &mut ImportReport,
) -> Result<(), CarryError> {
    let mut file = File::open(path).map_err(CarryError::Read)?;
    let mut prefix = Vec::new();
    (&mut file).take(photo::SNIFF_BYTES as u64).read_to_end(&mut prefix).map_err(CarryError::Read)?;
    let media = photo::sniff(&prefix);
    let name = name_of(path);
    if let Some(disguised) = photo::disguised(&name, media) {
        report
            .notes
            .push(format!("{}: `{name}` is {} by content, not {}", owner.number, disguised.found, disguised.claimed));
    }
    let key = |role: &str| sha256(&[b"attachment", &owner.key, name.as_bytes(), role.as_bytes()]);
    file.rewind().map_err(CarryError::Read)?;
    let original = store(node, &mut file)?;
    if step.known(node, &key("original"))?.is_some_and(|k| k.digest == original.sha256) {
        report.unchanged += 1;
        files::discard(node, Partition::Own, &original).map_err(ImportError::from)?;
        return Ok(());
    }
    file.rewind().map_err(CarryError::Read)?;
    let facts = facts(&mut file, owner, &name, report).map_err(CarryError::Read)?;
    let base = Base { node, owner, place, facts: &facts };
    let of_original = base.add(step, report, key("original"), "original", media, original, &name, None)?;
    file.rewind().map_err(CarryError::Read)?;
    match derive::derive(&mut file, &derive::Limits::default()) {
        Err(derive::NotDerived::Read(cause)) => return Err(CarryError::Read(cause)),
        Err(other) => report.notes.push(format!("{}: `{name}`: {other}", owner.number)),
        Ok(derived) => {
            let stripped = store(node, &mut derived.stripped.as_slice())?;
            let thumbnail = store(node, &mut derived.thumbnail.as_slice())?;
            let from = Some(of_original);
            base.add(step, report, key("stripped"), "stripped", derived.stripped_media, stripped, "", from)?;
            base.add(step, report, key("thumbnail"), "thumbnail", Media::Jpeg, thumbnail, "", from)?;
        }
    }
    Ok(())
}

fn store(node: &Node, reader: &mut dyn Read) -> Result<FileRow, ImportError> {
    Ok(files::put(node, Partition::Own, reader)?)
}

fn facts(file: &mut File, owner: &Owner<'_>, name: &str, report: &mut ImportReport) -> io::Result<Facts> {
    let exif = match exif::read(&mut BufReader::new(file)) {
        Ok(exif) => exif,
        Err(photo::exif::PhotoFault::Read(cause)) => return Err(cause),
    };
    for fault in &exif.faults {
        report.notes.push(format!("{}: `{name}`: {fault}", owner.number));
    }
    Ok(Facts {
        taken: exif.taken.as_ref().map(|t| (t.day().to_owned(), t.clock.name())),
        place: exif.place.as_ref().map(|p| {
            let geo = Value::Array(vec![Value::Int(i64::from(p.lon_e7)), Value::Int(i64::from(p.lat_e7))]);
            Value::map([("geo", geo), ("prec", Value::Int(1))])
        }),
        author: exif.author.clone(),
        camera: exif.camera(),
        rest: exif.rest.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
    })
}

/// What the records of one file have in common.
struct Base<'a> {
    node: &'a Node,
    owner: &'a Owner<'a>,
    place: u32,
    facts: &'a Facts,
}

impl Base<'_> {
    /// Adds one attachment record; an earlier one of the same identity is amended.
    #[expect(clippy::too_many_arguments, reason = "one record's particulars, named at each of three calls")]
    fn add(
        &self,
        step: &mut Step,
        report: &mut ImportReport,
        key: [u8; 32],
        role: &'static str,
        media: Media,
        file: FileRow,
        name: &str,
        from: Option<LineId>,
    ) -> Result<LineId, CarryError> {
        let known = step.known(self.node, &key)?;
        let line = match known {
            Some(known) => known.line,
            None => keep::new_line().map_err(KeepError::from)?,
        };
        let draft = self
            .draft(line, role, media, &file, name, from, known)
            .map_err(|fault| KeepError::Draft { which: format!("{} file {}", self.owner.number, self.place), fault })?;
        let record = keep::commit(draft)?;
        report.files += 1;
        if known.is_some() {
            report.amended += 1;
        } else {
            report.added += 1;
        }
        step.add(self.node, key, file.sha256, record, known.is_some())?;
        step.files.push(file);
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
            draft.set("taken-clock", Value::text(*clock))?;
        }
        if let Some(place) = &self.facts.place {
            draft.set("place-point", place.clone())?;
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
