//! CBOR and DER as trees, so that a mutation can add, drop or exchange whole items and every length around them fits.
//!
//! The mutations call it. It reads leniently and writes what it was told to, and knows no schema. Strings of bytes
//! that hold further items are taken apart too, which is how a mutation gets behind a signature or into an extension.

use crate::chance::Chance;

/// Nesting that is taken apart; deeper content stays bytes.
const DEPTH_MAX: usize = 24;

/// How the items of a target's inputs are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// RFC 8949.
    Cbor,
    /// X.690.
    Der,
    /// Text of lines and words.
    Text,
    /// Nothing that is known here.
    Raw,
}

/// One item.
#[derive(Clone)]
pub enum Item {
    /// Head or tag, and content that is not taken apart.
    Leaf { head: Head, content: Vec<u8> },
    /// Head or tag, and items.
    Node { head: Head, items: Vec<Item> },
}

/// What stands before the content.
#[derive(Clone, Copy)]
pub struct Head {
    /// Major type (CBOR) or identifier (DER).
    tag: u8,
    /// The argument of a CBOR item whose content does not give it: integers, tags, simple values.
    argument: u64,
    /// Added to the length that is written, so that it lies.
    off: i64,
    /// Written longer than needed.
    long: bool,
}

impl Head {
    fn new(tag: u8, argument: u64) -> Self {
        Self { tag, argument, off: 0, long: false }
    }
}

impl Item {
    /// Every item in `bytes`, one after the other; nothing if they do not come out even.
    pub fn read_all(form: Form, bytes: &[u8], depth: usize) -> Option<Vec<Item>> {
        if bytes.is_empty() || depth > DEPTH_MAX {
            return None;
        }
        let (mut rest, mut items) = (bytes, Vec::new());
        while !rest.is_empty() {
            let (item, after) = match form {
                Form::Cbor => Self::cbor(rest, depth)?,
                Form::Der => Self::der(rest, depth)?,
                Form::Text | Form::Raw => return None,
            };
            items.push(item);
            rest = after;
        }
        Some(items)
    }

    fn cbor(bytes: &[u8], depth: usize) -> Option<(Self, &[u8])> {
        if depth > DEPTH_MAX {
            return None;
        }
        let (first, rest) = bytes.split_first()?;
        let (tag, info) = (first >> 5, first & 31);
        let width = match info {
            0..=23 => 0,
            24..=27 => 1 << (info - 24),
            _ => return None,
        };
        let (wide, mut rest) = rest.split_at_checked(width)?;
        let argument = if width == 0 { u64::from(info) } else { wide.iter().fold(0, |n, b| (n << 8) | u64::from(*b)) };
        let head = Head::new(tag, argument);
        match tag {
            2 | 3 => {
                let (content, rest) = rest.split_at_checked(usize::try_from(argument).ok()?)?;
                // A byte or two are read as an item too easily.
                let inner = (tag == 2 && content.len() > 8).then(|| Self::read_all(Form::Cbor, content, depth + 1));
                let item = match inner.flatten() {
                    Some(items) => Item::Node { head, items },
                    None => Item::Leaf { head, content: content.to_vec() },
                };
                Some((item, rest))
            }
            4..=6 => {
                let count = argument.checked_mul(if tag == 5 { 2 } else { 1 })?;
                let count = if tag == 6 { 1 } else { count };
                let mut items = Vec::new();
                for _ in 0..count {
                    let (item, after) = Self::cbor(rest, depth + 1)?;
                    items.push(item);
                    rest = after;
                }
                Some((Item::Node { head, items }, rest))
            }
            _ => Some((Item::Leaf { head, content: Vec::new() }, rest)),
        }
    }

    fn der(bytes: &[u8], depth: usize) -> Option<(Self, &[u8])> {
        let (tag, rest) = bytes.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            0x81..=0x83 => {
                let (wide, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (wide.iter().fold(0, |n, b| (n << 8) | usize::from(*b)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        let head = Head::new(*tag, 0);
        // Constructed, or a string that may hold an extension.
        let inner = (tag & 0x20 != 0 || *tag == 0x04).then(|| Self::read_all(Form::Der, content, depth + 1)).flatten();
        let item = match inner {
            Some(items) => Item::Node { head, items },
            None => Item::Leaf { head, content: content.to_vec() },
        };
        Some((item, rest))
    }

    /// Writes it.
    pub fn write(&self, form: Form, out: &mut Vec<u8>) {
        let (head, content) = match self {
            Item::Leaf { head, content } => (head, content.clone()),
            Item::Node { head, items } => {
                let mut content = Vec::new();
                items.iter().for_each(|item| item.write(form, &mut content));
                (head, content)
            }
        };
        let count = match (self, form, head.tag) {
            (Item::Node { items, .. }, Form::Cbor, 4) => items.len(),
            (Item::Node { items, .. }, Form::Cbor, 5) => items.len() / 2,
            _ => content.len(),
        };
        let argument = match (form, head.tag) {
            (Form::Cbor, 2..=5) | (Form::Der, _) => (count as u64).wrapping_add_signed(head.off),
            _ => head.argument.wrapping_add_signed(head.off),
        };
        if form == Form::Cbor {
            cbor_head(head, argument, out)
        } else {
            der_head(head, argument, out)
        }
        out.extend_from_slice(&content);
    }

    fn head(&mut self) -> &mut Head {
        match self {
            Item::Leaf { head, .. } | Item::Node { head, .. } => head,
        }
    }

    /// How many items it is, with those inside.
    fn count(&self) -> usize {
        match self {
            Item::Leaf { .. } => 1,
            Item::Node { items, .. } => 1 + items.iter().map(Item::count).sum::<usize>(),
        }
    }

    /// The item at a place, counted from the front.
    fn at(&mut self, place: usize) -> Option<&mut Item> {
        let Some(mut left) = place.checked_sub(1) else { return Some(self) };
        let Item::Node { items, .. } = self else { return None };
        for item in items {
            let count = item.count();
            if left < count {
                return item.at(left);
            }
            left -= count;
        }
        None
    }
}

fn cbor_head(head: &Head, argument: u64, out: &mut Vec<u8>) {
    let needed = match argument {
        0..=23 => 0,
        24..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 3,
        _ => 4,
    };
    let wide = argument.to_be_bytes();
    match if head.long { (needed + 1).min(4) } else { needed } {
        0 => out.push(head.tag << 5 | wide[7]),
        width => {
            out.push(head.tag << 5 | (23 + width));
            out.extend_from_slice(&wide[8 - (1 << (width - 1))..]);
        }
    }
}

fn der_head(head: &Head, length: u64, out: &mut Vec<u8>) {
    out.push(head.tag);
    let wide = length.to_be_bytes();
    match (length, head.long) {
        (0..=0x7f, false) => out.push(wide[7]),
        (0..=0xff, _) => out.extend([0x81, wide[7]]),
        (0..=0xffff, _) => out.extend([0x82, wide[6], wide[7]]),
        _ => out.extend([0x83, wide[5], wide[6], wide[7]]),
    }
}

/// Changes one item of a tree. `other` is where items are taken from.
pub fn change(form: Form, items: &mut [Item], other: &mut [Item], chance: &mut Chance) {
    let Some(from) = items.len().checked_sub(1) else { return };
    let root = &mut items[chance.below(from + 1)];
    let place = chance.below(root.count());
    let taken = match other {
        [] => None,
        other => {
            let root = &mut other[chance.below(other.len())];
            let place = chance.below(root.count());
            root.at(place).cloned()
        }
    };
    let Some(item) = root.at(place) else { return };
    match (chance.below(9), &mut *item) {
        (0, Item::Node { items, .. }) if !items.is_empty() => drop(items.remove(chance.below(items.len()))),
        (1, Item::Node { items, .. }) if !items.is_empty() => {
            let copy = items[chance.below(items.len())].clone();
            items.insert(chance.below(items.len() + 1), copy);
        }
        (2, Item::Node { items, .. }) if items.len() > 1 => {
            let (a, b) = (chance.below(items.len()), chance.below(items.len()));
            items.swap(a, b);
        }
        (3, Item::Node { items, .. }) => items.extend(taken),
        (4, item) => item.head().off = [-1, 1, 1 << 16, 1 << 31, i64::MAX][chance.below(5)],
        (5, item) => item.head().long = true,
        (6, item) => {
            let head = item.head();
            head.tag =
                if form == Form::Cbor { head.tag ^ (1 << chance.below(3)) } else { head.tag ^ (1 << chance.below(8)) };
        }
        (7, item) => {
            if let Some(taken) = taken {
                *item = taken;
            }
        }
        (_, Item::Leaf { head, content }) => {
            head.argument = match chance.below(4) {
                0 => head.argument.wrapping_add(1),
                1 => head.argument.wrapping_sub(1),
                2 => chance.draw() >> chance.below(64),
                _ => 0,
            };
            match chance.below(4) {
                0 => content.truncate(chance.below(content.len() + 1)),
                1 => content.extend(std::iter::repeat_n(b'a', chance.short(70_000))),
                _ => {
                    let at = chance.below(content.len());
                    if let Some(byte) = content.get_mut(at) {
                        *byte ^= 1 << chance.below(8);
                    }
                }
            }
        }
        // Deeper, by wrapping it.
        (_, item) => {
            let head = Head::new(if form == Form::Cbor { 4 } else { 0x30 }, 0);
            *item = Item::Node { head, items: vec![item.clone()] };
        }
    }
}
