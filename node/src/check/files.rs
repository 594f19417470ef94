//! Checks files: every segment that a row names is there, every chunk is what the record states, and the whole has the
//! SHA-256 under which it is kept; and finds the blobs that no row names.

use super::Report;
use crate::{
    node::Node,
    records::stored::decode,
    seal::keyring::Partition,
    share::{
        fetching::part_of,
        files::{FileRow, SEGMENT_CHUNKS, segment_name},
    },
    store::{BlobName, StoreError, check::Audit, layout::Table},
};
use entente_protocol::{
    attachment::ChunkList,
    id::{Hash, Nonce},
    limits,
    primitive::Sha256Stream,
};
use std::{
    collections::BTreeSet,
    io::{self, Read},
};

/// Blobs held against the rows in one walk over them: 8 MiB of names.
const NAMES_MAX: usize = 1 << 18;
/// Stray files that are named.
const STRAYS_MAX: usize = 1_000;
const CHUNK: u64 = limits::CHUNK_BYTES as u64;

/// Looks at one file: its partition, the name and number of its segments, its row if it is whole, and the row's key.
type VisitFile<'a> = &'a mut dyn FnMut(Partition, Nonce, u64, Option<FileRow>, &[u8]) -> Result<(), StoreError>;

/// Calls `visit` for each file and each part of one, with its segments.
fn each_file(audit: &Audit, visit: VisitFile<'_>) -> Result<(), StoreError> {
    audit.each_row(Some(Table::Attachment), &mut |seen| {
        // Rows that do not open are findings of another part.
        let Some((partition, content)) = seen.opened else { return Ok(()) };
        if let Ok(file) = decode::<FileRow>("file", &content) {
            visit(partition, file.id, file.segments(), Some(file), seen.row)
        } else if let Some((id, segments)) = part_of(&content) {
            visit(partition, id, segments, None, seen.row)
        } else {
            visit(partition, Nonce::from_bytes([0; 16]), 0, None, seen.row)
        }
    })
}

/// Counts files, and names those of which a segment is not there.
pub fn absent(node: &Node) -> Result<(u64, Vec<String>), StoreError> {
    let (mut count, mut absent) = (0, Vec::new());
    each_file(&node.holdings.audit(), &mut |partition, id, segments, file, row| {
        count += 1;
        for segment in 0..segments {
            if !node.holdings.blob_exists(partition, &segment_name(id, segment))? {
                absent.push(file.as_ref().map_or_else(|| hex::encode(row), |file| file.sha256.to_string()));
                break;
            }
        }
        Ok(())
    })?;
    Ok((count, absent))
}

/// Reads every file through.
pub fn every(audit: &Audit, report: &mut Report<'_>) -> Result<(), StoreError> {
    each_file(audit, &mut |partition, id, segments, file, row| {
        report.expect(1);
        report.step(1);
        let name = match &file {
            Some(file) => file.sha256.to_string(),
            None if segments == 0 => hex::encode(row),
            None => format!("part {}", hex::encode(id.as_bytes())),
        };
        let (mut whole, mut read) = (Sha256Stream::default(), 0);
        let sha256 = file.as_ref().map(|file| file.sha256);
        let list = match file {
            Some(file) => match ChunkList::verify(file.content(), file.chunks) {
                Ok(list) => Some(list),
                Err(fault) => {
                    report.damaged(&name, fault);
                    return Ok(());
                }
            },
            None => None,
        };
        for segment in 0..segments {
            let blob = audit.blob_name(partition, &segment_name(id, segment))?;
            let reader = match audit.blob(partition, &segment_name(id, segment)) {
                Ok(reader) => reader,
                Err(StoreError::NoBlob(_)) => {
                    report.missing(&name, format!("blob {blob}, its segment {segment}, is gone"));
                    continue;
                }
                Err(error) => {
                    report.damaged(&name, format!("blob {blob}, its segment {segment}: {error}"));
                    continue;
                }
            };
            match segment_holds(reader, segment, list.as_ref(), &mut whole) {
                Ok(()) => read += 1,
                Err(why) => report.damaged(&name, format!("blob {blob}, its segment {segment}: {why}")),
            }
        }
        let digest = Hash::from_bytes(whole.finish());
        if read == segments && sha256.is_some_and(|sha256| sha256 != digest) {
            report.damaged(&name, "the whole file has another SHA-256 than the one under which it is kept");
        }
        Ok(())
    })
}

/// Reads a segment through; age proves every byte, the list proves that they are the record's.
fn segment_holds(
    mut reader: impl Read,
    segment: u64,
    list: Option<&ChunkList>,
    whole: &mut Sha256Stream,
) -> Result<(), String> {
    let Some(list) = list else { return io::copy(&mut reader, &mut io::sink()).map(|_| ()).map_err(|e| e.to_string()) };
    let mut chunk = Vec::with_capacity(limits::CHUNK_BYTES as usize);
    let chunks = list.chunks().len() as u64;
    let first = segment * SEGMENT_CHUNKS;
    for index in first..chunks.min(first + SEGMENT_CHUNKS) {
        chunk.clear();
        (&mut reader).take(CHUNK).read_to_end(&mut chunk).map_err(|e| e.to_string())?;
        let index = u32::try_from(index).map_err(|e| e.to_string())?;
        list.verify_chunk(index, &chunk).map_err(|e| e.to_string())?;
        whole.update(&chunk);
    }
    match io::copy(&mut reader, &mut io::sink()) {
        Ok(0) => Ok(()),
        Ok(more) => Err(format!("{more} bytes too many")),
        Err(error) => Err(error.to_string()),
    }
}

/// Names the files that are no blobs, and the blobs of which no row speaks; they do no harm. With `sweep` they are removed.
pub fn unnamed(audit: &Audit, report: &mut Report<'_>, sweep: bool) -> Result<(), StoreError> {
    for stray in audit.strays(STRAYS_MAX)? {
        report.step(1);
        let what = "nothing, or move it away: this program did not put it there, and `--sweep` leaves it";
        report.note(true, stray, "stray", "it has not the name of a blob", what);
    }
    let mut after: Option<BlobName> = None;
    loop {
        let mut names = BTreeSet::new();
        // A bounded part of the names at a time, and for each one walk over the rows: memory stays flat.
        while names.len() < NAMES_MAX {
            let page = audit.blobs(after, NAMES_MAX - names.len())?;
            let Some(last) = page.last() else { break };
            after = Some(*last);
            names.extend(page);
        }
        if names.is_empty() {
            return Ok(());
        }
        report.expect(names.len() as u64);
        report.step(names.len() as u64);
        each_file(audit, &mut |partition, id, segments, _, _| {
            for segment in 0..segments {
                names.remove(&audit.blob_name(partition, &segment_name(id, segment))?);
            }
            Ok(())
        })?;
        for name in names {
            if sweep {
                audit.sweep(name)?;
                report.note(true, name, "swept", "no row spoke of it", "nothing");
            } else {
                let what = "nothing, or remove it: stop the node and run `entente check --sweep`";
                report.note(true, name, "unnamed", "no row speaks of it", what);
            }
        }
    }
}
