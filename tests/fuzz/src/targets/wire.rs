//! What stands on the wire or in a feed and is not signed itself.

use super::{holds, same, unhex, vectors, words};
use crate::run::{Notes, Subject, Verdict};
use entente_protocol::{
    attachment::{ChunkList, Content, Manifest, ManifestBuilder},
    codec::{
        self, Bounds,
        frame::{self, FrameFault, FrameReader},
    },
    feed::{Entry, Release, RunMessage},
    id::{FeedId, Hash},
    limits,
    record::{Body, Verified, kind::Kind},
    session::{
        Lane, Message,
        fetch::{Reply, Request},
    },
    value::Value,
};
use std::collections::BTreeMap;

pub const RUN: Bounds = Bounds { bytes_max: limits::FRAME_BYTES_MAX, items_max: limits::RUN_ITEMS_MAX };

/// Every frame, and where the reader stands at the end.
fn frames(max: usize, pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Result<bool, FrameFault>) {
    let (mut reader, mut frames) = (FrameReader::new(max), Vec::new());
    for piece in pieces {
        let mut rest = *piece;
        loop {
            match reader.take(&mut rest) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(fault) => return (frames, Err(fault)),
            }
        }
    }
    (frames, Ok(reader.is_between_frames()))
}

pub fn frame() -> Subject {
    let mut seeds: Vec<Vec<u8>> = vectors(include_str!("../../../vectors/frame.json")).iter().map(unhex).collect();
    seeds.push(seeds.concat());
    let judge = |input: &[u8], notes: &mut Notes| -> Verdict {
        for max in [64, limits::FRAME_BYTES_MAX] {
            let whole = frames(max, &[input]);
            let bytes: Vec<&[u8]> = input.chunks(1).collect();
            let split = input.split_at(input.len() / 3);
            holds("frames differ with where they are split", whole == frames(max, &bytes))?;
            holds("frames differ with where they are split", whole == frames(max, &[split.0, split.1]))?;
            let (frames, end) = whole;
            let mut again = Vec::new();
            for frame in &frames {
                again.extend(frame::encode(frame, max).map_err(|fault| format!("not written again: {fault}"))?);
            }
            holds("a frame has two forms", input.starts_with(&again))?;
            holds("bytes are left between frames", end != Ok(true) || again.len() == input.len())?;
            notes.size("frames", frames.len());
            notes.result("frame", &end);
        }
        Ok(())
    };
    Subject { seeds, words: Vec::new(), judge: Box::new(judge) }
}

pub fn message() -> Subject {
    let seeds = vectors(include_str!("../../../vectors/message.json"));
    let judge = |input: &[u8], notes: &mut Notes| -> Verdict {
        let read = [Lane::Control, Lane::Records].map(|lane| Message::from_bytes(lane, input));
        holds("one message on both lanes", read.iter().filter(|read| read.is_ok()).count() < 2)?;
        for (lane, read) in [Lane::Control, Lane::Records].into_iter().zip(read) {
            notes.result("message", &read);
            if let Ok(message) = read {
                notes.note(message.name());
                holds("a message is not of its lane", message.lane() == lane)?;
                same("message", input, message.to_bytes())?;
            }
        }
        Ok(())
    };
    let names = ["hello", "agreements", "heads", "run", "receipt", "proposal", "standing", "card", "notice", "close"];
    Subject {
        seeds: seeds.iter().map(|input| unhex(&input["message"])).collect(),
        words: words(&names),
        judge: Box::new(judge),
    }
}

pub fn fetch() -> Subject {
    let request = Request { feed: FeedId::from_bytes([1; 32]), slot: 11, entry: 70_000, from_chunk: 4_095 };
    let header = |size, count| Reply::Header { size, chunks: vec![Hash::from_bytes([2; 32]); count] };
    let replies = [header(0, 1), header(1 << 20, 1), header((1 << 20) + 1, 2), Reply::Refused { code: 1 }];
    let mut seeds: Vec<Vec<u8>> = replies.iter().filter_map(|reply| reply.to_bytes().ok()).collect();
    seeds.extend(request.to_bytes().ok());
    let judge = |input: &[u8], notes: &mut Notes| -> Verdict {
        let (request, reply) = (Request::from_bytes(input), Reply::from_bytes(input));
        notes.result("request", &request);
        notes.result("reply", &reply);
        if let Ok(request) = request {
            same("request", input, request.to_bytes())?;
        }
        if let Ok(reply) = reply {
            if let Reply::Header { chunks, .. } = &reply {
                notes.size("chunks", chunks.len());
            }
            same("reply", input, reply.to_bytes())?;
        }
        Ok(())
    };
    Subject { seeds, words: words(&["header", "refused", "chunks", "size", "code"]), judge: Box::new(judge) }
}

/// Files that records state: empty, short, of one chunk exactly, and of three. What they are made of is the place.
fn files() -> Vec<(Manifest, Vec<Vec<u8>>)> {
    let chunk = usize::try_from(limits::CHUNK_BYTES).unwrap_or_default();
    let made = (0_u8..).zip([0, 5, chunk, 2 * chunk + 1]).filter_map(|(place, size)| {
        let bytes = vec![place; size];
        let mut builder = ManifestBuilder::new();
        builder.update(&bytes).ok()?;
        Some((builder.finish(), bytes.chunks(chunk).map(<[u8]>::to_vec).collect()))
    });
    made.collect()
}

pub fn chunks() -> Subject {
    let files = files();
    let header = |(manifest, _): &(Manifest, Vec<Vec<u8>>)| {
        Reply::Header { size: manifest.size, chunks: manifest.chunks.clone() }.to_bytes().ok()
    };
    let mut seeds: Vec<Vec<u8>> = files.iter().filter_map(header).collect();
    // As a chunk, the input is the whole of the second file.
    seeds.push(vec![1; 5]);
    let judge = move |input: &[u8], notes: &mut Notes| -> Verdict {
        for (manifest, data) in &files {
            let own = ChunkList::verify(manifest.content(), manifest.chunks.clone());
            let own = own.map_err(|fault| format!("a file's own list is refused: {fault}"))?;
            for index in [0, 1, 2, 3, u32::MAX] {
                let place = usize::try_from(index).unwrap_or(usize::MAX);
                // A file without a byte has one chunk, and that is empty.
                let true_chunk =
                    data.get(place).map(Vec::as_slice).or((manifest.size == 0 && index == 0).then_some(&[]));
                let taken = own.verify_chunk(index, input);
                notes.result("chunk", &taken);
                holds("another chunk is taken, or the true one is not", taken.is_ok() == (true_chunk == Some(input)))?;
            }
            let Ok(Reply::Header { size, chunks }) = Reply::from_bytes(input) else { continue };
            let is_own = chunks == manifest.chunks;
            let list = ChunkList::verify(manifest.content(), chunks.clone());
            notes.result("list", &list);
            holds("another list is taken, or the true one is not", list.is_ok() == is_own)?;
            // A record that states another size commits to the same list at most, and never to more chunks than it has.
            let stated = Content { size, ..manifest.content() };
            let Ok(list) = ChunkList::verify(stated, chunks) else { continue };
            holds("a root stands for two lists", is_own)?;
            holds("a list of another length", list.chunks().len() == stated.chunk_count())?;
            holds("a list states another file", list.content() == stated)?;
        }
        Ok(())
    };
    Subject { seeds, words: words(&["header", "chunks", "size"]), judge: Box::new(judge) }
}

pub fn record() -> Subject {
    let judge = |input: &[u8], notes: &mut Notes| -> Verdict {
        let body = Body::from_bytes(input);
        notes.result("record", &body);
        let Ok(body) = body else { return Ok(()) };
        notes.note(body.header().kind);
        notes.note(format_args!("{:?}", body.header().floor.tlp));
        holds("a record does not keep its bytes", body.bytes() == input)?;
        same("record", input, Body::new(body.header().clone(), body.root()).map(|again| again.bytes().to_vec()))
    };
    let seeds = vectors(include_str!("../../../vectors/record.json")).iter().map(unhex).collect();
    let words = words(&["hc3", "tlp", "class", "eu-hc", "orcon", "destroy-on", "not-before", "RED", "AMBER+STRICT"]);
    Subject { seeds, words, judge: Box::new(judge) }
}

/// The bodies that our own runs carry.
fn releases() -> Vec<Vec<u8>> {
    let runs = vectors(include_str!("../../../vectors/run.json"));
    let messages = runs.iter().filter_map(|run| codec::from_slice::<RunMessage>(&unhex(&run["message"]), RUN).ok());
    let mut seeds: Vec<Vec<u8>> = messages.flat_map(|message| message.carried).map(|carried| carried.3).collect();
    seeds.sort();
    seeds.dedup();
    seeds
}

pub fn release() -> Subject {
    let seeds = releases();
    // What the originator committed to, by record and slot. No change may show another value under its id.
    let mut committed = BTreeMap::new();
    for seed in &seeds {
        let verified = Release::from_bytes(seed).ok().and_then(|release| Verified::new(release.into_redacted()).ok());
        for slot in verified.iter().flat_map(Verified::slots) {
            let id = verified.as_ref().map(Verified::id);
            committed.insert((id, slot.opening.slot), slot.opening.value.clone());
        }
    }
    let judge = move |input: &[u8], notes: &mut Notes| -> Verdict {
        let release = Release::from_bytes(input);
        notes.result("release", &release);
        let Ok(release) = release else { return Ok(()) };
        same("release", input, release.to_bytes())?;
        let verified = Verified::new(release.into_redacted());
        notes.result("verified", &verified);
        let Ok(verified) = verified else { return Ok(()) };
        notes.size("slots", verified.slots().len());
        for slot in verified.slots() {
            if let Some(value) = committed.get(&(Some(verified.id()), slot.opening.slot)) {
                holds("another value under a record's id", *value == slot.opening.value)?;
            }
        }
        Ok(())
    };
    Subject { seeds, words: Vec::new(), judge: Box::new(judge) }
}

pub fn value() -> Subject {
    const BOUNDS: Bounds = Bounds::bytes(limits::SLOT_VALUE_BYTES_MAX);
    let judge = |input: &[u8], notes: &mut Notes| -> Verdict {
        let value = codec::from_slice::<Value>(input, BOUNDS);
        notes.result("value", &value);
        let Ok(value) = value else { return Ok(()) };
        for kind in Kind::ALL {
            for slot in kind.slots().filter(|slot| slot.shape.fits(&value)) {
                notes.note(slot.name);
                notes.size("targets", slot.shape.targets(&value).len());
            }
        }
        same("value", input, codec::to_vec(&value, BOUNDS))
    };
    let seeds = vectors(include_str!("../../../vectors/value.json"));
    let words =
        words(&["geo", "lat", "lon", "norm", "state", "s1", "record", "2026-03", "2026-03-15/2026-04~", "XXXX"]);
    Subject { seeds: seeds.iter().map(|input| unhex(&input["value"])).collect(), words, judge: Box::new(judge) }
}

pub fn entry() -> Subject {
    let judge = |input: &[u8], notes: &mut Notes| -> Verdict {
        let entry = Entry::from_bytes(input);
        notes.result("entry", &entry);
        match entry {
            Ok(entry) => same("entry", input, entry.to_bytes()),
            Err(_) => Ok(()),
        }
    };
    let feeds = vectors(include_str!("../../../vectors/feed.json"));
    let entries = feeds.iter().flat_map(|feed| feed["entries"].as_array().cloned().unwrap_or_default());
    let seeds = entries.map(|entry| unhex(&entry)).collect();
    Subject { seeds, words: words(&["release", "withdrawal", "refusal", "code", "salt"]), judge: Box::new(judge) }
}
