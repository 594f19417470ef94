//! Canonical CBOR as text, with what two worlds may differ in masked: SPEC, SHOW-2.
//!
//! [`view`](super::view) calls it for every message. It reads any message, so that what a later feature says is compared
//! whole from its first day: only values under the names of the list are masked.

use std::collections::BTreeMap;

/// The names of SHOW-2 whose values are masked where they are byte strings: what is random, and what is computed from it.
/// `node` is an element of `nodes`, `heard` one of a notice of kind 8, `signature` the last of a COSE_Sign1; the names of
/// `IN_LOGS` are masked in notices of kind 10 only.
pub const MASKED: [&str; 22] = [
    "salt",
    "nonce",
    "hash",
    "record",
    "root",
    "digest",
    "after",
    "before",
    "node",
    "position",
    "recall",
    "grant",
    "checkpoint",
    "heard",
    "signature",
    "proof",
    "path",
    "digests",
    "run",
    "runs",
    "events",
    "journal",
];
/// Those of them that are masked in what is said about logs, and nowhere else.
const IN_LOGS: [&str; 7] = ["proof", "path", "digests", "run", "runs", "events", "journal"];
/// The slot in which a record names the one that it amends.
const SUPERSEDES: u64 = 5;
/// The notice that names what was heard.
const HEARD: u64 = 8;
/// The notice that is about logs.
const LOG: u64 = 10;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cbor {
    /// An integer from 0 on.
    Uint(u64),
    /// A negative one, as it is written.
    Nint(u64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Text.
    Text(String),
    /// A list.
    Array(Vec<Self>),
    /// A map, in the order in which it came.
    Map(Vec<(Self, Self)>),
    /// A tag.
    Tag(u64, Box<Self>),
    /// A simple value.
    Simple(u64),
}

/// Reads one value that takes all of the bytes.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Cbor> {
    let mut rest = bytes;
    let value = item(&mut rest, 0)?;
    rest.is_empty().then_some(value)
}

fn item(rest: &mut &[u8], depth: usize) -> Option<Cbor> {
    let (first, tail) = rest.split_first()?;
    *rest = tail;
    let (major, short) = (first >> 5, first & 0x1f);
    let width = match short {
        0..24 => 0,
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => return None,
    };
    let (head, tail) = rest.split_at_checked(width)?;
    *rest = tail;
    let number = if width == 0 { u64::from(short) } else { head.iter().fold(0, |n, b| n << 8 | u64::from(*b)) };
    let mut take = |count: u64| {
        let (taken, tail) = rest.split_at_checked(usize::try_from(count).ok()?)?;
        *rest = tail;
        Some(taken.to_vec())
    };
    if depth > 32 {
        return None;
    }
    Some(match major {
        0 => Cbor::Uint(number),
        1 => Cbor::Nint(number),
        2 => Cbor::Bytes(take(number)?),
        3 => Cbor::Text(String::from_utf8(take(number)?).ok()?),
        4 => Cbor::Array((0..number).map(|_| item(rest, depth + 1)).collect::<Option<_>>()?),
        5 => Cbor::Map(
            (0..number).map(|_| Some((item(rest, depth + 1)?, item(rest, depth + 1)?))).collect::<Option<_>>()?,
        ),
        6 => Cbor::Tag(number, Box::new(item(rest, depth + 1)?)),
        _ => Cbor::Simple(number),
    })
}

/// A member of a map.
fn member<'a>(value: &'a Cbor, wanted: &str) -> Option<&'a Cbor> {
    let Cbor::Map(members) = value else { return None };
    members.iter().find(|(key, _)| matches!(key, Cbor::Text(text) if text == wanted)).map(|(_, value)| value)
}

/// The leaf of one proof of a run.
fn leaf_of(item: &Cbor) -> Option<u64> {
    match member(member(item, "proof")?, "index")? {
        Cbor::Uint(index) => Some(*index),
        _ => None,
    }
}

/// The run that is proved.
fn run_of(item: &Cbor) -> Option<Vec<u8>> {
    match member(item, "run")? {
        Cbor::Bytes(run) => Some(run.clone()),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Names for masked values, in the order in which they were first seen: two views are equal where one renaming makes
/// them equal, so that whether two values are the same is compared though neither value is.
#[derive(Debug, Default)]
pub struct Masks {
    seen: BTreeMap<Vec<u8>, usize>,
    /// Whether evidence numbers are masked too.
    numbers: bool,
    /// Whether what is read is about logs.
    log: bool,
    /// The leaves that runs were proved to be in, by the runs' digests.
    leaves: BTreeMap<Vec<u8>, u64>,
}

impl Masks {
    /// No name yet.
    #[must_use]
    pub fn new(numbers: bool) -> Self {
        Self { numbers, ..Self::default() }
    }

    fn name(&mut self, bytes: &[u8]) -> String {
        let next = self.seen.len();
        let n = *self.seen.entry(bytes.to_vec()).or_insert(next);
        format!("<{} bytes, no. {n}>", bytes.len())
    }

    /// A value as text; `key` is what stands before it.
    pub fn text(&mut self, key: &str, value: &Cbor) -> String {
        match value {
            Cbor::Uint(_) if key == "position" => "<position>".to_owned(),
            Cbor::Uint(n) => n.to_string(),
            Cbor::Nint(n) => format!("-1-{n}"),
            Cbor::Text(text) if self.log && text.starts_with("\u{2014} ") => self.note(text),
            Cbor::Text(text) => format!("{text:?}"),
            Cbor::Tag(tag, inner) => format!("{tag}({})", self.text(key, inner)),
            Cbor::Simple(n) => format!("simple {n}"),
            Cbor::Bytes(run) if self.log && key == "run" => self.run(run),
            // In the opening of a run, so as random as which run it is.
            Cbor::Bytes(bytes) if self.log && ["salt", "digests"].contains(&key) => format!("<{} bytes>", bytes.len()),
            Cbor::Bytes(bytes) if MASKED.contains(&key) && (self.log || !IN_LOGS.contains(&key)) => self.name(bytes),
            Cbor::Bytes(bytes) => self.bytes(key, bytes),
            Cbor::Array(items) => self.list(key, items),
            Cbor::Map(members) => self.map(members),
        }
    }

    /// A run in what is said of a log. Which of the runs of one leaf it is follows from their digests, which are masked.
    fn run(&mut self, run: &[u8]) -> String {
        self.leaves
            .get(run)
            .map_or_else(|| "<a run of no leaf yet>".to_owned(), |leaf| format!("<a run of leaf {leaf}>"))
    }

    /// Bytes that hold a value themselves are read on.
    fn bytes(&mut self, key: &str, bytes: &[u8]) -> String {
        if let Some(note) = str::from_utf8(bytes).ok().filter(|text| self.log && text.starts_with("entente/1/log/")) {
            return self.note(note);
        }
        match read(bytes) {
            Some(inner @ (Cbor::Array(_) | Cbor::Map(_) | Cbor::Tag(..))) => format!("<<{}>>", self.text(key, &inner)),
            _ => format!("h'{}'", hex(bytes)),
        }
    }

    /// A head of a log: its root and its signatures are masked.
    fn note(&mut self, note: &str) -> String {
        let told = |(n, line): (usize, &str)| match (n, line.rsplit_once(' ')) {
            (2, _) => self.name(line.as_bytes()),
            (_, Some((name, signature))) => format!("{name} {}", self.name(signature.as_bytes())),
            _ => line.to_owned(),
        };
        note.lines().enumerate().map(told).collect::<Vec<_>>().join("; ")
    }

    fn map(&mut self, members: &[(Cbor, Cbor)]) -> String {
        let names: Vec<&str> =
            members.iter().map(|(key, _)| if let Cbor::Text(text) = key { text.as_str() } else { "" }).collect();
        let is =
            |kind| members.iter().any(|(key, value)| *key == Cbor::Text("kind".into()) && *value == Cbor::Uint(kind));
        let (heard, log) = (is(HEARD), is(LOG));
        let told: Vec<String> = members
            .iter()
            .zip(&names)
            .map(|((key, value), name)| match (*name, value) {
                // How many there are follows from the positions, which `view` has checked.
                ("nodes", _) if names == ["head", "nodes"] => "nodes: <as the positions ask>".to_owned(),
                // Which of them two runs of one interval share follows from their digests, which are masked.
                ("nodes", Cbor::Array(nodes)) if self.log && names == ["nodes", "shown"] => {
                    format!("nodes: <{}>", nodes.len())
                }
                ("content", Cbor::Bytes(content)) if log => {
                    self.log = true;
                    let told = format!("content: {}", self.bytes("", content));
                    self.log = false;
                    told
                }
                ("content", Cbor::Bytes(content)) if heard => {
                    let inner = read(content).unwrap_or(Cbor::Simple(0));
                    format!("content: {}", self.text("heard", &inner))
                }
                ("", _) => format!("{}: {}", self.text("", key), self.text("", value)),
                (name, value) => format!("{name}: {}", self.text(name, value)),
            })
            .collect();
        format!("{{{}}}", told.join(", "))
    }

    fn list(&mut self, key: &str, items: &[Cbor]) -> String {
        let parts: Vec<String> = match (key, items) {
            (_, [Cbor::Bytes(protected), Cbor::Map(_), Cbor::Bytes(payload), Cbor::Bytes(signature)])
                if signature.len() == 64 =>
            {
                let head = format!("h'{}'", hex(protected));
                vec![head, self.bytes("", payload), self.text("signature", &Cbor::Bytes(signature.clone()))]
            }
            ("nodes", _) => items.iter().map(|node| self.text("node", node)).collect(),
            ("carried", [Cbor::Uint(_), ..]) => self.tuple(&["entry", "attestation", "position", "release"], items),
            ("openings", [Cbor::Uint(slot), salt, Cbor::Bytes(value)]) => {
                let salt = self.text("salt", salt);
                vec![slot.to_string(), salt, self.opened(*slot, value)]
            }
            // In the order of runs' digests, which are masked: compared in the order of their leaves.
            ("proofs", [Cbor::Map(_), ..]) if self.log => {
                let mut items = items.to_vec();
                items.sort_by_key(leaf_of);
                self.leaves.extend(items.iter().filter_map(|item| Some((run_of(item)?, leaf_of(item)?))));
                items.iter().map(|item| self.text("logged", item)).collect()
            }
            // In the order of digests that are masked.
            ("runs", [Cbor::Bytes(_), ..]) if self.log => {
                let mut told: Vec<String> = items.iter().map(|run| self.text("run", run)).collect();
                told.sort();
                told
            }
            // In the order of ids, which are computed from what is random: what they are is compared, as a whole.
            ("answers", [Cbor::Map(_), ..]) => {
                let mut items = items.to_vec();
                items.sort_by_key(|item| format!("{item:?}").split("recall").next().map(str::to_owned));
                items.iter().map(|item| self.text("answer", item)).collect()
            }
            _ => items.iter().map(|item| self.text(key, item)).collect(),
        };
        format!("[{}]", parts.join(", "))
    }

    fn tuple(&mut self, names: &[&str], items: &[Cbor]) -> Vec<String> {
        items.iter().zip(names).map(|(item, name)| self.text(name, item)).collect()
    }

    /// A disclosed value is compared as it is; the id of a record that it names is renamed as everywhere.
    fn opened(&mut self, slot: u64, value: &[u8]) -> String {
        match read(value) {
            Some(Cbor::Bytes(id)) if slot == SUPERSEDES => self.name(&id),
            Some(Cbor::Text(number)) if slot == 0 && self.numbers => format!("<number of {} bytes>", number.len()),
            Some(value) => format!("{value:?}"),
            None => format!("h'{}'", hex(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(members: &[(&str, Cbor)]) -> Cbor {
        Cbor::Map(members.iter().map(|(key, value)| (Cbor::Text((*key).to_owned()), value.clone())).collect())
    }

    #[test]
    fn what_is_not_on_the_list_is_compared_as_it_is() {
        let mut masks = Masks::default();
        let bytes = |byte| Cbor::Bytes(vec![byte; 32]);
        let shown = masks.text("", &map(&[("line", bytes(1)), ("record", bytes(1)), ("later", bytes(2))]));
        assert_eq!(
            shown,
            format!("{{line: h'{}', record: <32 bytes, no. 0>, later: h'{}'}}", "01".repeat(32), "02".repeat(32))
        );
    }

    #[test]
    fn masked_values_are_renamed_alike() {
        let pair = |a, b| {
            Cbor::Array(vec![map(&[("root", Cbor::Bytes(vec![a; 32]))]), map(&[("hash", Cbor::Bytes(vec![b; 32]))])])
        };
        let told = |value: &Cbor| Masks::default().text("", value);
        assert_eq!(told(&pair(1, 2)), told(&pair(3, 4)));
        assert_ne!(told(&pair(1, 2)), told(&pair(3, 3)));
    }

    #[test]
    fn what_is_no_canonical_value_is_read_by_nobody() {
        assert_eq!(read(&[0x82, 1]), None);
        assert_eq!(read(&[0x01, 0x02]), None);
        assert_eq!(read(&[0x82, 1, 0x41, 9]), Some(Cbor::Array(vec![Cbor::Uint(1), Cbor::Bytes(vec![9])])));
    }
}
