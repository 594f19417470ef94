//! The inside of the child: limit itself, say so, take one file, answer, end.
//!
//! The conversation: `Ready` (or `NotLimited`, and the end); the parent's `Request` with the file; then for a table
//! `Columns`, any number of `Rows`, `End`, or `Refused`; for a picture `Facts`, then two times `Copy`, `Data`... and
//! `End`, or `Refused` where no copy can be made. Any other file, key or setting is out of reach here by design, and
//! out of reach by [`super::jail`] whatever a file does to this code.

use super::{
    Task,
    frame::{self, Tag},
    jail,
    picture::Facts,
    table::Request,
};
use crate::ingest::{
    photo::{self, Media, derive, exif},
    table::{self, wire},
};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use std::{
    fs::File,
    io::{self, BufReader, IoSliceMut, Read as _, Seek as _},
    mem::MaybeUninit,
    os::fd::AsFd as _,
    path::PathBuf,
    process::ExitCode,
};

/// The life of a child. Nothing if the standard input is no socket: then a person typed this, and no child is meant.
pub(super) fn serve(task: Task) -> Option<ExitCode> {
    let channel = io::stdin().as_fd().try_clone_to_owned().ok()?;
    rustix::net::sockopt::socket_type(&channel).ok()?;
    // A parent that is gone wants no answer, so a failure to write needs no words.
    let answered = converse(task, &mut File::from(channel));
    Some(if answered.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn converse(task: Task, channel: &mut File) -> io::Result<()> {
    match jail::limit(task, channel) {
        Ok(landlock) => frame::write(channel, Tag::Ready, &[frame::VERSION, landlock])?,
        Err(error) => return frame::write(channel, Tag::NotLimited, error.to_string().as_bytes()),
    }
    let (request, file) = receive(channel)?;
    match task {
        Task::Table => rows(channel, &serde_json::from_slice(&request)?, file),
        Task::Picture => picture(channel, file),
    }
}

/// The parent's request, and the file that came with its first byte.
pub(super) fn receive(channel: &mut File) -> io::Result<(Vec<u8>, File)> {
    let mut message = vec![0; 64 << 10];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut room = [IoSliceMut::new(&mut message)];
    let received = rustix::net::recvmsg(&*channel, &mut room, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let file = control.drain().find_map(|part| match part {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    message.truncate(received.bytes);
    let (Some(file), Some((Tag::Request, bytes))) = (file, frame::header(&message)) else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    let mut request = message.split_off(frame::HEADER_BYTES);
    let missing = bytes.saturating_sub(request.len()) as u64;
    channel.take(missing).read_to_end(&mut request)?;
    Ok((request, File::from(file)))
}

fn rows(channel: &mut File, request: &Request, file: File) -> io::Result<()> {
    let name = PathBuf::from("table").with_extension(&request.ending);
    let table = match table::read(file, &name, &request.source) {
        Ok(table) => table,
        Err(fault) => return frame::write(channel, Tag::Refused, fault.to_string().as_bytes()),
    };
    let mut columns = Vec::new();
    wire::put_columns(&mut columns, table.columns());
    if columns.len() > frame::FRAME_BYTES_MAX {
        return frame::write(channel, Tag::Refused, b"the row that names the columns is too long");
    }
    frame::write(channel, Tag::Columns, &columns)?;
    let mut batch = Vec::with_capacity(2 * frame::BATCH_BYTES);
    for row in table {
        wire::put(&mut batch, &row);
        if batch.len() >= frame::BATCH_BYTES {
            frame::write(channel, Tag::Rows, &batch)?;
            batch.clear();
        }
    }
    if !batch.is_empty() {
        frame::write(channel, Tag::Rows, &batch)?;
    }
    frame::write(channel, Tag::End, b"")
}

pub(super) fn picture(channel: &mut File, mut file: File) -> io::Result<()> {
    let facts = match look(&mut file) {
        Ok(facts) => facts,
        Err(fault) => return frame::write(channel, Tag::Refused, fault.to_string().as_bytes()),
    };
    frame::write(channel, Tag::Facts, &serde_json::to_vec(&facts)?)?;
    file.rewind()?;
    match derive::derive(&mut file, &derive::Limits::default()) {
        Err(none) => frame::write(channel, Tag::Refused, none.to_string().as_bytes()),
        Ok(derived) => {
            copy(channel, derived.stripped_media, &derived.stripped)?;
            copy(channel, Media::Jpeg, &derived.thumbnail)
        }
    }
}

/// What a file is, and what it says of itself.
fn look(file: &mut File) -> io::Result<Facts> {
    let mut prefix = Vec::new();
    (&mut *file).take(photo::SNIFF_BYTES as u64).read_to_end(&mut prefix)?;
    file.rewind()?;
    let exif = match exif::read(&mut BufReader::new(file)) {
        Ok(exif) => exif,
        Err(exif::PhotoFault::Read(cause)) => return Err(cause),
    };
    Ok(Facts {
        media: photo::sniff(&prefix),
        taken: exif.taken.as_ref().map(|taken| (taken.day().to_owned(), taken.clock)),
        place: exif.place.map(|place| (place.lon_e7, place.lat_e7)),
        camera: exif.camera(),
        author: exif.author,
        rest: exif.rest.into_iter().collect(),
        faults: exif.faults.iter().map(ToString::to_string).collect(),
    })
}

fn copy(channel: &mut File, media: Media, bytes: &[u8]) -> io::Result<()> {
    frame::write(channel, Tag::Copy, &serde_json::to_vec(&media)?)?;
    for part in bytes.chunks(frame::DATA_BYTES) {
        frame::write(channel, Tag::Data, part)?;
    }
    frame::write(channel, Tag::End, b"")
}
