//! QUIC's Initial packets by hand (RFC 9000, section 17.2; RFC 9001, section 5): what a client says before it is anybody.
//!
//! Only as much as a stranger needs: Initial packets out; Retry, Initial and Close in. Lengths are those of the loopback.

use super::Fallible;
use entente_node::peer::tls::provider;
use rustls::{
    Side, SupportedCipherSuite,
    quic::{Keys, Version},
};

/// A client's first datagrams have at least this length (RFC 9000, section 14.1).
const DATAGRAM_BYTES: usize = 1_200;
const VERSION_1: [u8; 4] = [0, 0, 0, 1];
const TAG_BYTES: usize = 16;
/// Sampled for the header's protection, from four bytes after the packet number's begin.
const SAMPLE_BYTES: usize = 16;

/// Bytes of the handshake that fit one datagram, with a token beside them.
pub const CRYPTO_BYTES_MAX: usize = 900;

/// One end of a handshake that has not begun to be encrypted for anyone.
pub struct Initials {
    keys: Keys,
    destination: Vec<u8>,
    source: [u8; 8],
    token: Vec<u8>,
    number: u32,
}

/// What the node answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// It wants the address proved: say it again with what this carries.
    Retry,
    /// It goes on with the handshake.
    Goes,
    /// It closed the connection.
    Closed,
    /// Something else, or for somebody else.
    Other,
}

fn keys(destination: &[u8]) -> Fallible<Keys> {
    // The first packets are under AES-128 whatever is agreed on afterwards.
    let suites = provider().cipher_suites.clone();
    let aes = suites.into_iter().find(|s| s.suite() == rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    let suite = aes.as_ref().and_then(SupportedCipherSuite::tls13).ok_or("no AES-128")?;
    let quic = suite.quic.ok_or("no QUIC")?;
    Ok(Keys::initial(Version::V1, suite, quic, destination, Side::Client))
}

/// A number of two bytes (RFC 9000, section 16).
fn two_bytes(number: usize) -> [u8; 2] {
    (0x4000 | u16::try_from(number).unwrap_or(0x3fff)).to_be_bytes()
}

impl Initials {
    /// From a source to a destination that nobody has chosen yet.
    ///
    /// # Errors
    /// If TLS lacks the suite of the first packets.
    pub fn new(source: [u8; 8], destination: [u8; 8]) -> Fallible<Self> {
        let keys = keys(&destination)?;
        Ok(Self { keys, destination: destination.to_vec(), source, token: Vec::new(), number: 0 })
    }

    /// A datagram with bytes of the handshake at an offset.
    ///
    /// # Errors
    /// If they do not fit.
    pub fn crypto(&mut self, offset: usize, bytes: &[u8]) -> Fallible<Vec<u8>> {
        let mut frame = vec![0x06];
        frame.extend(two_bytes(offset));
        frame.extend(two_bytes(bytes.len()));
        frame.extend(bytes);
        self.packet(frame)
    }

    /// A datagram that only says that we are here.
    ///
    /// # Errors
    /// If it cannot be sealed.
    pub fn ping(&mut self) -> Fallible<Vec<u8>> {
        self.packet(vec![0x01])
    }

    fn packet(&mut self, mut payload: Vec<u8>) -> Fallible<Vec<u8>> {
        let mut header = vec![0xc3];
        header.extend(VERSION_1);
        for id in [self.destination.as_slice(), &self.source] {
            header.push(u8::try_from(id.len())?);
            header.extend(id);
        }
        header.extend(two_bytes(self.token.len()));
        header.extend(&self.token);
        // Two bytes of length, four of number.
        let room = DATAGRAM_BYTES.checked_sub(header.len() + 6 + TAG_BYTES).ok_or("no room")?;
        if payload.len() > room {
            return Err("the payload does not fit".into());
        }
        payload.resize(room, 0);
        header.extend(two_bytes(4 + room + TAG_BYTES));
        let at = header.len();
        header.extend(self.number.to_be_bytes());
        let tag = self.keys.local.packet.encrypt_in_place(u64::from(self.number), &header, &mut payload)?;
        let mut packet = [header, payload, tag.as_ref().to_vec()].concat();
        let sample = packet[at + 4..at + 4 + SAMPLE_BYTES].to_vec();
        let (first, rest) = packet.split_at_mut(1);
        self.keys.local.header.encrypt_in_place(&sample, &mut first[0], &mut rest[at - 1..at + 3])?;
        self.number += 1;
        Ok(packet)
    }

    /// Reads an answer; after [`Answer::Retry`] everything goes where that said.
    pub fn read(&mut self, datagram: &mut [u8]) -> Answer {
        self.try_read(datagram).unwrap_or(Answer::Other)
    }

    fn try_read(&mut self, datagram: &mut [u8]) -> Option<Answer> {
        let first = *datagram.first()?;
        if first & 0x80 == 0 || datagram.get(1..5)? != VERSION_1 {
            return None;
        }
        let mut at = 5;
        let mut id = |datagram: &[u8]| {
            let length = usize::from(*datagram.get(at)?);
            let id = datagram.get(at + 1..at + 1 + length)?.to_vec();
            at += 1 + length;
            Some(id)
        };
        let (to, from) = (id(datagram)?, id(datagram)?);
        if to != self.source {
            return None;
        }
        match first >> 4 & 3 {
            3 => {
                self.token = datagram.get(at..datagram.len().checked_sub(TAG_BYTES)?)?.to_vec();
                self.keys = keys(&from).ok()?;
                self.destination = from;
                Some(Answer::Retry)
            }
            0 => self.open(datagram, at),
            // Beyond its first packets the node goes on; what it says there is sealed for who finishes.
            _ => Some(Answer::Goes),
        }
    }

    /// Opens the node's Initial packet, whose token begins at `at`.
    fn open(&self, datagram: &mut [u8], mut at: usize) -> Option<Answer> {
        let token = number(datagram, &mut at)?;
        at += token;
        let length = number(datagram, &mut at)?;
        let end = at + length;
        let sample = datagram.get(at + 4..at + 4 + SAMPLE_BYTES)?.to_vec();
        let (first, rest) = datagram.split_at_mut(1);
        let field = rest.get_mut(at - 1..at + 3)?;
        self.keys.remote.header.decrypt_in_place(&sample, &mut first[0], field).ok()?;
        let width = usize::from(first[0] & 3) + 1;
        let begins = at + width;
        let packet_number = datagram.get(at..begins)?.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        let (header, rest) = datagram.split_at_mut(begins);
        let sealed = rest.get_mut(..end.checked_sub(begins)?)?;
        let opened = self.keys.remote.packet.decrypt_in_place(packet_number, header, sealed).ok()?;
        Some(if closes(opened) { Answer::Closed } else { Answer::Goes })
    }
}

/// A number of one to four bytes; longer ones do not come.
fn number(bytes: &[u8], at: &mut usize) -> Option<usize> {
    let first = *bytes.get(*at)?;
    let width = 1 << (first >> 6);
    let all = bytes.get(*at..*at + width)?;
    *at += width;
    Some(all.iter().skip(1).fold(usize::from(first & 0x3f), |n, byte| n << 8 | usize::from(*byte)))
}

/// Whether the frames of an Initial packet close the connection.
fn closes(frames: &[u8]) -> bool {
    let mut at = 0;
    while let Some(kind) = frames.get(at) {
        at += 1;
        let passed = match kind {
            // Padding and pings.
            0 | 1 => Some(()),
            // What is acknowledged: largest, delay, ranges, first range, then pairs.
            2 | 3 => acknowledged(frames, &mut at),
            6 => {
                let skipped = number(frames, &mut at).and(number(frames, &mut at));
                skipped.map(|length| at += length)
            }
            0x1c | 0x1d => return true,
            _ => None,
        };
        if passed.is_none() {
            return false;
        }
    }
    false
}

fn acknowledged(frames: &[u8], at: &mut usize) -> Option<()> {
    number(frames, at)?;
    number(frames, at)?;
    let ranges = number(frames, at)?;
    for _ in 0..1 + 2 * ranges {
        number(frames, at)?;
    }
    Some(())
}
