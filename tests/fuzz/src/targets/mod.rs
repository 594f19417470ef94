//! The targets: one for each parser of outside bytes, and planted defects that the rig must find.
//!
//! `wire` has what stands on the wire without a signature, `signed` what is signed, `custody` what logs and their witnesses
//! say, `people` and `pictures` what people bring,
//! `home` what lies in a home or comes over its socket, `session` operations in a row, `planted` what shows that a defect
//! is found.

mod custody;
mod home;
mod people;
mod pictures;
mod planted;
mod session;
mod signed;
mod wire;

use crate::run::{Subject, Target, Verdict};
use crate::tree::Form;
use serde_json::Value as Json;

/// Every target.
pub const ALL: &[Target] = &[
    target("frame", "frames of a lane, split anywhere", Form::Raw, 64 << 10, wire::frame),
    target("message", "messages of a session on both lanes", Form::Cbor, 64 << 10, wire::message),
    target("fetch", "requests for files and their answers", Form::Cbor, 8 << 10, wire::fetch),
    target("chunks", "lists of chunks against what a record states, and chunks", Form::Cbor, 8 << 10, wire::chunks),
    target("record", "bodies of records", Form::Cbor, 8 << 10, wire::record),
    target("release", "releases, verified", Form::Cbor, 64 << 10, wire::release),
    target("value", "values of slots, against every shape", Form::Cbor, 16 << 10, wire::value),
    target("entry", "entries of feeds", Form::Cbor, 1 << 10, wire::entry),
    target("run", "run messages, verified", Form::Cbor, 64 << 10, signed::run),
    target("receipt", "receipts and proofs of one entry", Form::Cbor, 8 << 10, signed::receipt),
    target("attestation", "attestations of batches", Form::Cbor, 16 << 10, signed::attestation),
    target("card", "cards and successions", Form::Cbor, 40 << 10, signed::card),
    target("agreement", "agreements with their signatures, checked", Form::Cbor, 40 << 10, signed::agreement),
    target("standing", "standing notices", Form::Cbor, 2 << 10, signed::standing),
    target("recall", "recalls, answers, receipts of erasure", Form::Cbor, 4 << 10, signed::recalls),
    target("grant", "grants, requests, words of what was passed on, heard", Form::Cbor, 4 << 10, signed::grants),
    target("user", "certificates of persons, and calls that they signed", Form::Cbor, 4 << 10, signed::users),
    target("bundle", "openings and parts of bundles", Form::Cbor, 4 << 10, signed::bundles),
    target("package", "evidence packages, whole files and their parts", Form::Raw, 32 << 10, signed::packages),
    target("note", "signed notes, checkpoints, cosignatures", Form::Text, 16 << 10, custody::notes),
    target("log-message", "messages of logs and witnesses", Form::Cbor, 16 << 10, custody::messages),
    target("evidence", "forks, and runs that were kept out of a log", Form::Cbor, 16 << 10, custody::evidence),
    target("place", "leaves of a log, places of intervals, events", Form::Cbor, 8 << 10, custody::places),
    target("audit", "audit exports, whole files and what is in them", Form::Cbor, 32 << 10, custody::audits),
    target("certificate", "chains of certificates, at several times", Form::Der, 16 << 10, signed::certificate),
    target("agreement-text", "agreements as people write them", Form::Text, 16 << 10, people::agreement_text),
    target("redline-text", "red lines as people write them", Form::Text, 8 << 10, people::redline_text),
    target("mapping", "mappings of tables", Form::Text, 16 << 10, people::mapping),
    target("csv", "rows of CSV, mapped", Form::Text, 32 << 10, people::csv),
    target("json", "rows of JSON and of JSON lines", Form::Text, 16 << 10, people::json),
    target("xml", "rows of XML", Form::Text, 16 << 10, people::xml),
    target("workbook", "rows of workbooks whose parts are changed", Form::Text, 16 << 10, people::workbook),
    target("archive", "workbooks whose archive is changed", Form::Raw, 8 << 10, people::archive),
    target("rows", "rows as the child that parses hands them over", Form::Raw, 8 << 10, people::child_rows),
    target("exif", "what photographs say of themselves", Form::Raw, 16 << 10, pictures::exif),
    target("picture", "copies of pictures", Form::Raw, 16 << 10, pictures::picture),
    target("typed", "words, dates, addresses, serials, armour, calls", Form::Text, 4 << 10, people::typed),
    target("keys", "identities and recipients as people keep them", Form::Text, 4 << 10, home::keys),
    target("sealed", "sealed files: heads, stanzas, chunks", Form::Text, 8 << 10, home::sealed),
    target("recovery", "recovery files, sealed and in clear", Form::Text, 4 << 10, home::recovery),
    target("settings", "settings of a home", Form::Text, 8 << 10, home::settings),
    target("answer", "answers of a running node, as commands read them", Form::Text, 16 << 10, home::answer),
    target("session", "operations of a session against a model", Form::Raw, 400, session::session),
];

/// What the rig must find, each in another way.
pub const PLANTED: &[Target] = &[
    target("planted-panic", "an index out of range, behind three bytes", Form::Raw, 64, planted::panic),
    target("planted-property", "a second encoding, behind an item of CBOR", Form::Cbor, 256, planted::property),
    target("planted-forgery", "a signature that does not cover a member", Form::Cbor, 64 << 10, planted::forgery),
    target("planted-slow", "a loop that makes no progress", Form::Raw, 64, planted::slow),
    target("planted-memory", "room made for a count that was only stated", Form::Raw, 64, planted::memory),
    target("planted-stack", "a nesting without a bound", Form::Raw, 64 << 10, planted::stack),
];

/// Pictures and workbooks are held whole by their readers, within limits of their own.
const fn target(
    name: &'static str,
    about: &'static str,
    form: Form,
    bytes_max: usize,
    make: fn() -> Subject,
) -> Target {
    let memory_mib = match name.as_bytes() {
        b"picture" | b"workbook" | b"archive" => 384,
        _ => 64,
    };
    Target { name, about, form, bytes_max, memory_mib, make }
}

/// What decodes must encode to the same bytes.
fn same<E>(what: &str, input: &[u8], again: Result<Vec<u8>, E>) -> Verdict {
    match again {
        Ok(again) if again == input => Ok(()),
        Ok(_) => Err(format!("{what}: two encodings of one value")),
        Err(_) => Err(format!("{what}: decodes and does not encode")),
    }
}

fn holds(what: &str, holds: bool) -> Verdict {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

/// The inputs of a file of vectors.
fn vectors(file: &str) -> Vec<Json> {
    let file: Json = serde_json::from_str(file).unwrap_or_default();
    let vectors = file["vectors"].as_array().cloned().unwrap_or_default();
    vectors.into_iter().map(|vector| vector["input"].clone()).collect()
}

fn unhex(json: &Json) -> Vec<u8> {
    let text = json.as_str().unwrap_or_default().as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or_default();
    text.chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}
