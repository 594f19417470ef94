//! What an attachment says of itself and its copies, as a child makes them: the only way by which `carry` gets them.
//!
//! Each file has a child of its own, so a picture that takes its child over or down harms no other. The next child is
//! started while one is at work, so nothing waits for it. Copies stream through here into the store and are never
//! held whole.

use super::{Child, ChildFault, Program, Task, frame::Tag, legible};
use crate::ingest::photo::{Media, derive, exif::Clock};
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io::{self, Read},
};

/// Bytes of one copy: every pixel that is allowed, not compressed at all, and room for headers.
const COPY_BYTES_MAX: u64 = 3 * derive::PIXELS_MAX + (1 << 20);

/// What an attachment is, and what it says of itself. All of it is a claim; records check it once more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Its format, by content.
    pub media: Media,
    /// The day when it was taken, and by whose clock.
    pub taken: Option<(String, Clock)>,
    /// Longitude and latitude in 1e-7 degree.
    pub place: Option<(i32, i32)>,
    /// The photographer.
    pub author: Option<String>,
    /// Maker, model, serial number.
    pub camera: Option<String>,
    /// Everything else, by the standard's names.
    pub rest: Vec<(String, String)>,
    /// What was wrong with the metadata.
    pub faults: Vec<String>,
}

/// What a child says where it has no answer: whose fault, in words for people.
pub type Told<T> = Result<T, String>;

/// The children of one import's attachments.
pub struct Pictures {
    program: Program,
    spare: Option<Child>,
}

impl Pictures {
    /// None is started before the first attachment.
    pub fn new(program: Program) -> Self {
        Self { program, spare: None }
    }

    /// Has a file looked at. It must be a descriptor of its own: child and parent would move each other's place in it.
    pub fn begin(&mut self, file: &File) -> Result<Picture, ChildFault> {
        let spare = self.spare.take().and_then(|mut child| child.ask(b"", file).is_ok().then_some(child));
        let child = match spare {
            Some(child) => child,
            None => {
                let mut child = Child::start(&self.program, Task::Picture)?;
                child.ask(b"", file)?;
                child
            }
        };
        // Where none can be started now, the next file says so.
        self.spare = Child::start(&self.program, Task::Picture).ok();
        Ok(Picture { child })
    }
}

/// One file at work.
pub struct Picture {
    child: Child,
}

impl Picture {
    /// What it says of itself; comes first.
    pub fn facts(&mut self) -> Result<Told<Facts>, ChildFault> {
        match self.child.receive()? {
            (Tag::Facts, payload) => match serde_json::from_slice::<Facts>(payload) {
                Ok(facts) => Ok(Ok(facts)),
                Err(_) => Err(ChildFault::Broken("what it says of itself is not readable")),
            },
            (Tag::Refused, why) => Ok(Err(legible(&String::from_utf8_lossy(why)))),
            _ => Err(ChildFault::Broken("it says nothing of itself")),
        }
    }

    /// The next copy, to be read to its end: first the stripped one, then the thumbnail.
    pub fn copy(&mut self) -> Result<Told<Copy<'_>>, ChildFault> {
        let media = match self.child.receive()? {
            (Tag::Copy, payload) => serde_json::from_slice(payload).ok(),
            (Tag::Refused, why) => return Ok(Err(legible(&String::from_utf8_lossy(why)))),
            _ => None,
        };
        // Nothing else is encoded here, whatever the child says.
        let media = media.filter(|media| matches!(media, Media::Jpeg | Media::Png));
        let media = media.ok_or(ChildFault::Broken("its copy is none"))?;
        self.child.buffer.clear();
        Ok(Ok(Copy { child: &mut self.child, media, at: 0, bytes: 0, is_ended: false, fault: None }))
    }
}

/// The bytes of one copy. Whoever has read them must ask for the [`Copy::fault`]: a child that died ends them early.
pub struct Copy<'a> {
    child: &'a mut Child,
    /// Its format.
    pub media: Media,
    at: usize,
    bytes: u64,
    is_ended: bool,
    fault: Option<ChildFault>,
}

impl Copy<'_> {
    /// Why the bytes are not the whole copy.
    pub fn fault(self) -> Option<ChildFault> {
        self.fault
    }

    fn more(&mut self) -> Result<bool, ChildFault> {
        let more = match self.child.receive()? {
            (Tag::Data, data @ [_, ..]) => data.len() as u64,
            (Tag::End, []) => return Ok(false),
            _ => return Err(ChildFault::Broken("its copy is none")),
        };
        self.at = 0;
        self.bytes += more;
        if self.bytes > COPY_BYTES_MAX {
            return Err(ChildFault::Broken("its copy is larger than any picture"));
        }
        Ok(true)
    }
}

impl Read for Copy<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.child.buffer.len() && !self.is_ended {
            match self.more() {
                Ok(more) => self.is_ended = !more,
                Err(fault) => {
                    self.is_ended = true;
                    self.child.buffer.clear();
                    self.fault = Some(fault);
                }
            }
        }
        let mut rest = self.child.buffer.get(self.at..).unwrap_or_default();
        let read = rest.read(out)?;
        self.at += read;
        Ok(read)
    }
}
