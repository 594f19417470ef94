//! Signed notes (C2SP signed-note): a text and lines of signatures under it.
//!
//! Checkpoints travel as notes, so that tools of others read them too. A note is read strictly: what is taken is
//! written again as the same bytes. It is believed for nothing before [`Note::verify`]; lines of unknown keys are passed
//! over, a line of a known key that does not verify refuses the whole.

use crate::{
    limits,
    primitive::{Algorithm, PublicKey, SigningKey, sha256},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::fmt;

/// What begins a line of a signature.
const DASH: &str = "\u{2014} ";

/// A note that is refused: the fault of whoever made it, or of its sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteFault {
    /// More bytes than a note takes.
    #[error("a note of {given} bytes where at most {max} are taken", max = limits::NOTE_BYTES_MAX)]
    TooLong {
        /// Bytes given.
        given: usize,
    },
    /// More signatures than a note takes.
    #[error("a note with more than {max} signatures", max = limits::NOTE_SIGNATURES_MAX)]
    TooMany,
    /// Not text, or with control characters.
    #[error("a note that is not UTF-8, or has control characters")]
    Text,
    /// Not a text, an empty line and signatures.
    #[error("a note is a text, an empty line and at least one line of a signature")]
    Form,
    /// A line that is no signature.
    #[error("line {at} of the note's signatures is none")]
    Line {
        /// Which, from 1.
        at: usize,
    },
    /// A name that no key may have.
    #[error("a key's name is 1 to {max} bytes without white space and plus", max = limits::NOTE_NAME_BYTES_MAX)]
    Name,
    /// A line of a known key does not verify.
    #[error("the signature of `{name}` does not verify")]
    Invalid {
        /// Whose.
        name: KeyName,
    },
    /// No line of a known key.
    #[error("the note is signed by no key that is expected")]
    Unsigned,
}

/// The name of a key in a note: not empty, without white space and plus.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// A name.
    pub fn new(name: &str) -> Result<Self, NoteFault> {
        let fits = (1..=limits::NOTE_NAME_BYTES_MAX).contains(&name.len());
        if fits && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+') {
            Ok(Self(name.to_owned()))
        } else {
            Err(NoteFault::Name)
        }
    }
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Four bytes that find a key among those with one name. They prove nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NoteKeyId([u8; 4]);

/// What a key signs, by the byte that C2SP signed-note assigns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureType {
    /// Ed25519 over the text.
    Ed25519,
    /// Ed25519 over a checkpoint and a time (C2SP tlog-cosignature).
    Cosignature,
}

impl SignatureType {
    const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::Cosignature => 0x04,
        }
    }
}

/// A key that is expected under notes: name, purpose, Ed25519 key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    name: KeyName,
    kind: SignatureType,
    key: PublicKey,
    id: NoteKeyId,
}

impl Verifier {
    /// A key under a name; `None` for a key that is not Ed25519: no other signs notes.
    pub fn new(name: KeyName, kind: SignatureType, key: &PublicKey) -> Option<Self> {
        let digest = sha256(&[name.0.as_bytes(), b"\n", &[kind.byte()], key.as_bytes()]);
        let id = NoteKeyId(*digest.first_chunk()?);
        (key.algorithm() == Algorithm::Ed25519).then(|| Self { name, kind, key: key.clone(), id })
    }

    /// Reads a verifier key (`vkey`) as tools of others write it: name, key id and key, joined by plus.
    pub fn from_vkey(vkey: &str) -> Option<Self> {
        let (name, rest) = vkey.split_once('+')?;
        let (_, key) = rest.split_once('+')?;
        let (kind, key) = STANDARD.decode(key).ok().and_then(|key| Some((*key.first()?, key.get(1..)?.to_vec())))?;
        let kind = [SignatureType::Ed25519, SignatureType::Cosignature].into_iter().find(|k| k.byte() == kind)?;
        let verifier = Self::new(KeyName::new(name).ok()?, kind, &PublicKey::from_bytes(&key).ok()?)?;
        (verifier.vkey() == vkey).then_some(verifier)
    }

    /// The verifier key, for tools of others.
    pub fn vkey(&self) -> String {
        let key = STANDARD.encode([&[self.kind.byte()], self.key.as_bytes()].concat());
        format!("{}+{}+{key}", self.name, crate::id::hex(&self.id.0))
    }

    /// Its name.
    pub fn name(&self) -> &KeyName {
        &self.name
    }
    /// The key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }
    /// Whether a line claims to be of this key.
    pub fn made(&self, line: &SignatureLine) -> bool {
        line.name == self.name && line.id == self.id
    }

    /// What a line of this key states beside the text: of a cosignature its time in seconds. `None` if it does not verify.
    fn verify(&self, text: &str, line: &SignatureLine) -> Option<Signed> {
        let (time_s, signature) = match self.kind {
            SignatureType::Ed25519 => (None, line.signature.as_slice()),
            SignatureType::Cosignature => {
                let (time, signature) = line.signature.split_first_chunk::<8>()?;
                // C2SP: the time does not exceed 2^63 - 1.
                (Some(i64::try_from(u64::from_be_bytes(*time)).ok()?.unsigned_abs()), signature)
            }
        };
        let message = time_s.map_or_else(|| text.to_owned(), |time_s| cosigned(text, time_s));
        self.key.verifies(message.as_bytes(), signature).then_some(Signed { time_s })
    }
}

/// What verified under one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed {
    /// Of a cosignature: when it was made, in seconds since 1970.
    pub time_s: Option<u64>,
}

/// What a cosigner signs (C2SP tlog-cosignature): header, time, and the note's text.
fn cosigned(text: &str, time_s: u64) -> String {
    format!("cosignature/v1\ntime {time_s}\n{text}")
}

/// One line of a signature, as it was read. Nothing is known of it but its form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignatureLine {
    name: KeyName,
    id: NoteKeyId,
    signature: Vec<u8>,
}

impl SignatureLine {
    /// Signs a note's text. Only checkpoints are: see NOTE-4.
    pub(crate) fn sign(text: &str, name: KeyName, key: &SigningKey) -> Option<Self> {
        let Verifier { name, id, .. } = Verifier::new(name, SignatureType::Ed25519, key.public())?;
        Some(Self { name, id, signature: key.sign(text.as_bytes()) })
    }

    /// Cosigns a checkpoint's text at a time.
    pub(crate) fn cosign(text: &str, time_s: u64, name: KeyName, key: &SigningKey) -> Option<Self> {
        let Verifier { name, id, .. } = Verifier::new(name, SignatureType::Cosignature, key.public())?;
        let signature = key.sign(cosigned(text, time_s).as_bytes());
        Some(Self { name, id, signature: [time_s.to_be_bytes().as_slice(), &signature].concat() })
    }

    /// Reads a line, with or without its line feed.
    pub fn parse(line: &str) -> Option<Self> {
        let line = line.strip_suffix('\n').unwrap_or(line);
        let (name, encoded) = line.strip_prefix(DASH)?.split_once(' ')?;
        let bytes = STANDARD.decode(encoded).ok()?;
        let (id, signature) = bytes.split_first_chunk::<4>()?;
        let name = KeyName::new(name).ok()?;
        (!signature.is_empty()).then(|| Self { name, id: NoteKeyId(*id), signature: signature.to_vec() })
    }

    /// The name that it claims.
    pub fn name(&self) -> &KeyName {
        &self.name
    }
}

impl fmt::Display for SignatureLine {
    /// The line, without its line feed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signature = STANDARD.encode([self.id.0.as_slice(), &self.signature].concat());
        write!(f, "{DASH}{} {signature}", self.name)
    }
}

/// A note as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    lines: Vec<SignatureLine>,
}

impl Note {
    /// A note of parts; refuses what [`Note::from_bytes`] would refuse.
    pub fn new(text: String, lines: Vec<SignatureLine>) -> Result<Self, NoteFault> {
        let note = Self { text, lines };
        let same = Self::from_bytes(note.to_string().as_bytes())?;
        if same == note { Ok(note) } else { Err(NoteFault::Form) }
    }

    /// Reads a note.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NoteFault> {
        if bytes.len() > limits::NOTE_BYTES_MAX {
            return Err(NoteFault::TooLong { given: bytes.len() });
        }
        let whole = std::str::from_utf8(bytes).map_err(|_| NoteFault::Text)?;
        if whole.bytes().any(|b| b < 0x20 && b != b'\n') {
            return Err(NoteFault::Text);
        }
        // The last empty line: neither a signature's line nor its end is one.
        let (text, signatures) = whole.rsplit_once("\n\n").ok_or(NoteFault::Form)?;
        let signatures = signatures.strip_suffix('\n').ok_or(NoteFault::Form)?;
        if signatures.split('\n').count() > limits::NOTE_SIGNATURES_MAX {
            return Err(NoteFault::TooMany);
        }
        let read = |(at, line)| SignatureLine::parse(line).ok_or(NoteFault::Line { at });
        let lines = (1..).zip(signatures.split('\n')).map(read).collect::<Result<_, _>>()?;
        Ok(Self { text: format!("{text}\n"), lines })
    }

    /// What the known keys signed: for each that did, its place among `known`. Each counts once, however many lines it
    /// has. Refused where a line of a known key does not verify, or there is none.
    pub fn verify(&self, known: &[Verifier]) -> Result<Vec<(usize, Signed)>, NoteFault> {
        let mut found: Vec<(usize, Signed)> = Vec::new();
        for line in &self.lines {
            // More than one where an id was made to collide: then the line is of the one under which it verifies.
            let mut claimed = (0..).zip(known).filter(|(_, verifier)| verifier.made(line)).peekable();
            if claimed.peek().is_none() {
                continue;
            }
            let holds = claimed.find_map(|(place, verifier)| Some((place, verifier.verify(&self.text, line)?)));
            let (place, signed) = holds.ok_or_else(|| NoteFault::Invalid { name: line.name.clone() })?;
            match found.iter_mut().find(|(other, _)| *other == place) {
                // Of several cosignatures of one key the earliest says most.
                Some((_, before)) => before.time_s = before.time_s.min(signed.time_s),
                None => found.push((place, signed)),
            }
        }
        if found.is_empty() { Err(NoteFault::Unsigned) } else { Ok(found) }
    }

    /// The text, with its last line feed. Believed for nothing before the note is verified.
    pub fn danger_unverified_text(&self) -> &str {
        &self.text
    }
    /// Its lines of signatures, known and unknown.
    pub fn lines(&self) -> &[SignatureLine] {
        &self.lines
    }
}

impl fmt::Display for Note {
    /// The note as it travels.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
