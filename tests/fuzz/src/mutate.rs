//! From inputs that are known to a new one: bytes, pieces, words of the formats, whole items, lines.
//!
//! The runner calls [`Mutator::next`]. Nothing here knows what a target expects.

use crate::{
    chance::Chance,
    tree::{self, Form, Item},
};

/// What stands in many formats, or at their edges.
const WORDS: &[&[u8]] = &[
    // CBOR heads: counts and lengths at their edges, indefinite ones, floats, null, tags.
    &[0x18, 0x17],
    &[0x18, 0xff],
    &[0x19, 0xff, 0xff],
    &[0x1a, 0xff, 0xff, 0xff, 0xff],
    &[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x1b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x5a, 0x7f, 0xff, 0xff, 0xff],
    &[0x9b, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00],
    &[0x9a, 0xff, 0xff, 0xff, 0xff],
    &[0xba, 0xff, 0xff, 0xff, 0xff],
    &[0x5f],
    &[0x9f],
    &[0xbf],
    &[0xff],
    &[0xf6],
    &[0xf9, 0x3c, 0x00],
    &[0xc0],
    &[0xd2],
    &[0x81],
    &[0xa1],
    &[0x80],
    &[0xa0],
    &[0x40],
    &[0x60],
    // DER: tags, lengths, object identifiers of algorithms and extensions.
    &[0x30, 0x80],
    &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
    &[0x03, 0x00],
    &[0x02, 0x00],
    &[0x05, 0x00],
    &[0x06, 0x03, 0x55, 0x1d, 0x11],
    &[0x06, 0x03, 0x55, 0x1d, 0x13],
    &[0x06, 0x03, 0x2b, 0x65, 0x70],
    &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01],
    // Numbers.
    &[0, 0, 0, 0],
    &[0xff, 0xff, 0xff, 0xff],
    &[0x7f, 0xff, 0xff, 0xff],
    &[0x80, 0, 0, 0],
    &[0, 0, 0, 0, 0, 0, 0, 0],
    // Text: ends of lines, quotes, controls, what is not UTF-8, what looks alike, what formats give a meaning to.
    b"\n",
    b"\r\n",
    b"\"",
    b"\"\"",
    b"'''",
    b"\"\"\"",
    b",",
    b"\t",
    b"\0",
    b"\x1b[2J",
    b"\\u0000",
    b"\\ud800",
    "\u{feff}".as_bytes(),
    "\u{202e}".as_bytes(),
    "\u{1f1e6}\u{301}".as_bytes(),
    "\u{130}".as_bytes(),
    &[0xc3],
    &[0xed, 0xa0, 0x80],
    b"[[",
    b"]]",
    b"{",
    b"}",
    b"[[[[[[[[[[[[[[[[",
    b"{\"a\":{\"a\":{\"a\":",
    b"<a>",
    b"</a>",
    b"<!DOCTYPE a [<!ENTITY b \"c\">]>",
    b"&b;",
    b"&#0;",
    b"<![CDATA[",
    b"<!--",
    b"1e999",
    b"-0",
    b"NaN",
    b"18446744073709551616",
    b"-9223372036854775808",
    b"9999-12-31",
    b"0000-00-00",
    b"=cmd|",
];

/// Makes inputs.
pub struct Mutator<'a> {
    chance: &'a mut Chance,
    form: Form,
    words: &'a [Vec<u8>],
    bytes_max: usize,
}

impl<'a> Mutator<'a> {
    /// `words` are a target's own, beside those that stand here.
    pub fn new(chance: &'a mut Chance, form: Form, words: &'a [Vec<u8>], bytes_max: usize) -> Self {
        Self { chance, form, words, bytes_max }
    }

    /// A new input from those in `corpus`, of which there is at least one.
    pub fn next(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        // The newest are what was reached last: every other input comes from the last quarter.
        let from = if self.chance.one_in(2) { corpus.len() - corpus.len().div_ceil(4) } else { 0 };
        let mut bytes = self.chance.pick(&corpus[from..]).cloned().unwrap_or_default();
        for _ in 0..1 + self.chance.short(6) {
            if self.chance.one_in(2) && self.structured(&mut bytes, corpus) {
                continue;
            }
            self.once(&mut bytes, corpus);
        }
        bytes.truncate(self.bytes_max);
        bytes
    }

    /// A change that keeps the structure; false if there is none.
    fn structured(&mut self, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) -> bool {
        if self.form == Form::Text {
            return self.lines(bytes, corpus);
        }
        let Some(mut items) = Item::read_all(self.form, bytes, 0) else { return false };
        let other = self.chance.pick(corpus).and_then(|other| Item::read_all(self.form, other, 0));
        tree::change(self.form, &mut items, &mut other.unwrap_or_default(), self.chance);
        bytes.clear();
        items.iter().for_each(|item| item.write(self.form, bytes));
        true
    }

    fn lines(&mut self, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) -> bool {
        let split =
            |bytes: &[u8]| -> Vec<Vec<u8>> { bytes.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect() };
        let mut lines = split(bytes);
        let at = self.chance.below(lines.len());
        let Some(line) = lines.get(at).cloned() else { return false };
        match self.chance.below(5) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, line),
            2 => {
                let other = self.chance.below(lines.len());
                lines.swap(at, other);
            }
            3 => {
                let others = self.chance.pick(corpus).map(|other| split(other)).unwrap_or_default();
                if let Some(other) = self.chance.pick(&others) {
                    lines.insert(at, other.clone());
                }
            }
            // Two words of a line change their places.
            _ => {
                let mut words: Vec<&[u8]> = line.split_inclusive(|b| b" ,=.\t<>:\"".contains(b)).collect();
                let (a, b) = (self.chance.below(words.len()), self.chance.below(words.len()));
                words.swap(a, b);
                lines[at] = words.concat();
            }
        }
        *bytes = lines.concat();
        true
    }

    fn once(&mut self, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.chance.below(bytes.len() + 1);
        let len = self.chance.short(bytes.len() - at);
        match self.chance.below(11) {
            0 | 1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << self.chance.below(8);
                }
            }
            2 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = byte.wrapping_add([1, 0xff, 0x10, 0x80][self.chance.below(4)]);
                }
            }
            3 => drop(bytes.drain(at..at + len)),
            4 => {
                let piece = bytes[at..at + len].to_vec();
                bytes.splice(at..at, piece);
            }
            5 | 6 => {
                let word = match self.words {
                    words @ [_, ..] if self.chance.one_in(2) => self.chance.pick(words).cloned(),
                    _ => self.chance.pick(WORDS).map(|word| word.to_vec()),
                };
                let word = word.unwrap_or_default();
                let end = if self.chance.one_in(2) { at } else { (at + word.len()).min(bytes.len()) };
                bytes.splice(at..end, word);
            }
            7 => {
                let other = self.chance.pick(corpus).cloned().unwrap_or_default();
                let from = self.chance.below(other.len() + 1);
                let piece = other[from..from + self.chance.short(other.len() - from)].to_vec();
                bytes.splice(at..at + len, piece);
            }
            8 => bytes.truncate(at),
            // Nestings and rows without end.
            9 => {
                let piece = bytes[at..at + len.min(16)].to_vec();
                let times = self.chance.short(self.bytes_max / piece.len().max(1));
                bytes.splice(at..at, piece.repeat(times));
            }
            _ => {
                let piece: Vec<u8> = (0..self.chance.short(16)).map(|_| self.chance.draw() as u8).collect();
                bytes.splice(at..at, piece);
            }
        }
        bytes.truncate(self.bytes_max);
    }
}
