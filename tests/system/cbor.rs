//! A second opinion on canonical CBOR: the same bytes go to our scanner and to Python's `cbor2`, which decodes them and
//! encodes the value anew in canonical form. What the two do not agree on is a finding.
//!
//! The oracle takes bytes as we must (SPEC, ENC-1 to ENC-4): one item that `cbor2` decodes and encodes to the very same
//! bytes; of integers in 64 bits, bytes, text, lists, maps with text keys, true, false and tag 18; within depth and
//! number of items. Of these the types and the two bounds are the script's own code, for `cbor2` takes more: floats,
//! null, other simple values, all tags, keys of all types. The rest (heads, lengths, order and repetition of keys, UTF-8,
//! trailing bytes) is its judgement. The length of the whole is bounded before anything is read and is not compared here.

use entente_protocol::{
    codec::{Bounds, scan},
    limits,
};
use entente_tests::{Chance, output};
use serde_json::Value as Json;
use std::{collections::BTreeSet, error::Error, fs, path::Path, process::Command};

type Outcome = Result<(), Box<dyn Error>>;

const BOUNDS: Bounds = Bounds::bytes(1 << 20);
/// Generated values, and changes of each.
const VALUES: usize = 3_000;
const CHANGES: usize = 12;

/// Reads hexadecimal lines from a file and prints one character for each: `1` for what a reader must take.
const ORACLE: &str = r#"
import io, resource, sys
import cbor2

# A declared length of 2^40 must not take the machine's memory on its way to being refused.
resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))
DEPTH_MAX, ITEMS_MAX = int(sys.argv[2]), int(sys.argv[3])

class Outside(Exception):
    pass

def count(value, depth):
    """Items in a value of our types; raises where the type or the depth is not ours."""
    if type(value) in (bool, bytes, str):
        return 1
    if type(value) is int:
        if not -(1 << 64) <= value < 1 << 64:
            raise Outside
        return 1
    if depth == 0:
        raise Outside
    if type(value) is list:
        return 1 + sum(count(item, depth - 1) for item in value)
    if type(value) is dict:
        if any(type(key) is not str for key in value):
            raise Outside
        return 1 + sum(1 + count(item, depth - 1) for item in value.values())
    if type(value) is cbor2.CBORTag and value.tag == 18:
        return 1 + count(value.value, depth - 1)
    raise Outside

def taken(data):
    stream = io.BytesIO(data)
    try:
        value = cbor2.CBORDecoder(stream).decode()
        if stream.tell() != len(data) or count(value, DEPTH_MAX) > ITEMS_MAX:
            return False
        return cbor2.dumps(value, canonical=True) == data
    except Exception:
        return False

with open(sys.argv[1]) as lines:
    print("".join("1" if taken(bytes.fromhex(line)) else "0" for line in lines))
"#;

/// A Python that has `cbor2`; Debian's package belongs to Debian's own.
fn python() -> Option<&'static str> {
    ["python3", "/usr/bin/python3"].into_iter().find(|program| {
        output(Command::new(program).args(["-c", "import cbor2"])).is_ok_and(|output| output.status.success())
    })
}

fn head(major: u8, argument: u64, out: &mut Vec<u8>) {
    let major = major << 5;
    match argument {
        0..24 => out.push(major | argument as u8),
        24..0x100 => out.extend([major | 24, argument as u8]),
        0x100..0x1_0000 => {
            out.push(major | 25);
            out.extend((argument as u16).to_be_bytes());
        }
        0x1_0000..0x1_0000_0000 => {
            out.push(major | 26);
            out.extend((argument as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend(argument.to_be_bytes());
        }
    }
}

/// A number that is often at the edge of a head's width.
fn number(chance: &mut Chance) -> u64 {
    const EDGES: [u64; 11] =
        [0, 23, 24, 255, 256, 65_535, 65_536, u32::MAX as u64, u32::MAX as u64 + 1, i64::MAX as u64, u64::MAX];
    match chance.below(3) {
        0 => EDGES[chance.below(11) as usize],
        1 => chance.below(1_000),
        _ => chance.draw() >> chance.below(64),
    }
}

fn text(chance: &mut Chance) -> String {
    const LETTERS: [char; 8] = ['a', 'b', 'z', '0', 'é', 'ш', '漢', '🔫'];
    let len = match chance.below(8) {
        0 => 22 + chance.below(4),
        1 => 250 + chance.below(12),
        _ => chance.below(6),
    };
    (0..len).map(|_| LETTERS[chance.below(8) as usize]).collect()
}

/// A canonical value, made by an encoder of this test's own.
fn value(chance: &mut Chance, depth: usize, out: &mut Vec<u8>) {
    let choice = if depth == 0 { chance.below(5) } else { chance.below(9) };
    match choice {
        0 => head(0, number(chance), out),
        1 => head(1, number(chance), out),
        2 => {
            let len = if chance.below(16) == 0 { 250 + chance.below(12) } else { chance.below(30) };
            head(2, len, out);
            out.extend((0..len).map(|_| chance.draw() as u8));
        }
        3 => {
            let text = text(chance);
            head(3, text.len() as u64, out);
            out.extend(text.bytes());
        }
        4 => out.push(0xf4 | chance.below(2) as u8),
        5 => {
            out.push(0xd2);
            value(chance, depth - 1, out);
        }
        6 => {
            let len = if chance.below(12) == 0 { 22 + chance.below(4) } else { chance.below(4) };
            head(4, len, out);
            (0..len).for_each(|_| value(chance, depth - 1, out));
        }
        _ => {
            let keys: BTreeSet<(usize, String)> =
                (0..chance.below(6)).map(|_| text(chance)).map(|text| (text.len(), text)).collect();
            head(5, keys.len() as u64, out);
            for (len, key) in keys {
                head(3, len as u64, out);
                out.extend(key.bytes());
                value(chance, depth - 1, out);
            }
        }
    }
}

/// One change of the bytes, of a kind that a hostile or careless writer makes.
fn changed(chance: &mut Chance, bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let at = chance.below(bytes.len() as u64) as usize;
    match chance.below(9) {
        0 => out[at] ^= 1 << chance.below(8),
        1 => out[at] = chance.draw() as u8,
        2 => drop(out.remove(at)),
        3 => out.insert(at, chance.draw() as u8),
        4 => out.truncate(at),
        5 => out.push(chance.draw() as u8),
        6 => out.swap(at, chance.below(bytes.len() as u64) as usize),
        // A longer head than needed, or one without length, where a head may stand.
        7 => {
            let (major, info) = (bytes[at] & 0xe0, bytes[at] & 0x1f);
            let longer: &[u8] = match (info, chance.below(5)) {
                (_, 0) => &[major | 31],
                (0..24, 1) => &[major | 25, 0, info],
                (0..24, 2) => &[major | 26, 0, 0, 0, info],
                (0..24, 3) => &[major | 27, 0, 0, 0, 0, 0, 0, 0, info],
                (0..24, _) => &[major | 24, info],
                _ => &[major | 28],
            };
            out.splice(at..=at, longer.iter().copied());
        }
        // A piece that stands twice: repeated keys and members.
        _ => {
            let end = at + chance.below((bytes.len() - at).min(12) as u64 + 1) as usize;
            let piece = bytes[at..end].to_vec();
            out.splice(at..at, piece);
        }
    }
    out
}

/// What our fuzzing and other people's bugs have taught, and the edges of both bounds.
fn by_hand() -> Vec<Vec<u8>> {
    let nested = |head: &[u8], times: usize| [head.repeat(times), vec![0x00]].concat();
    let mut list = Vec::new();
    head(4, limits::CBOR_ITEMS_MAX as u64 - 1, &mut list);
    list.resize(list.len() + limits::CBOR_ITEMS_MAX - 1, 0);
    let mut longer = Vec::new();
    head(4, limits::CBOR_ITEMS_MAX as u64, &mut longer);
    longer.resize(longer.len() + limits::CBOR_ITEMS_MAX, 0);
    let mut all = vec![list, longer];
    for times in [1, limits::CBOR_DEPTH_MAX, limits::CBOR_DEPTH_MAX + 1, 40] {
        all.extend([&b"\x81"[..], b"\xa1\x61a", b"\xd2"].map(|head| nested(head, times)));
    }
    let texts: [&[u8]; 34] = [
        b"",
        b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff",
        // Big numbers under tags 2 and 3, short and long.
        b"\xc2\x41\x01",
        b"\xc2\x49\x01\x00\x00\x00\x00\x00\x00\x00\x00",
        b"\xc3\x49\x01\x00\x00\x00\x00\x00\x00\x00\x00",
        // Floats in their shortest form, infinite, not a number; null, undefined, simple values.
        b"\xf9\x3c\x00",
        b"\xfb\x3f\xf1\x99\x99\x99\x99\x99\x9a",
        b"\xf9\x7c\x00",
        b"\xf9\x7e\x00",
        b"\xf6",
        b"\xf7",
        b"\xf0",
        b"\xf8\xff",
        b"\xf8\x14",
        // Times, shared values, sets, self-described CBOR, tag 18 in a longer form.
        b"\xc1\x00",
        b"\xd8\x1c\x80",
        b"\xd8\x1d\x00",
        b"\xd9\x01\x02\x80",
        b"\xd9\xd9\xf7\x00",
        b"\xd8\x12\x00",
        // Texts: overlong, surrogates, beyond Unicode, cut off.
        b"\x62\xc0\xaf",
        b"\x63\xed\xa0\x80",
        b"\x64\xf4\x90\x80\x80",
        b"\x61\xc3",
        b"\x63\xef\xbf\xbf",
        // Keys: same text in two widths, order by length, order by bytes, bytes for text, a list, none.
        b"\xa2\x61a\x00\x78\x01a\x00",
        b"\xa2\x62aa\x00\x61b\x00",
        b"\xa2\x61b\x00\x62aa\x00",
        b"\xa2\x41a\x00\x61a\x00",
        b"\xa1\x80\x00",
        b"\xa1\xf6\x00",
        b"\xa2\x60\x00\x60\x00",
        // Lengths of the largest kind.
        b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff",
    ];
    all.extend(texts.map(<[u8]>::to_vec));
    all
}

/// Every text of hexadecimal digits in the vectors: what is really exchanged, sound and damaged.
fn from_vectors(json: &Json, out: &mut Vec<Vec<u8>>) {
    match json {
        Json::String(text) if text.len() % 2 == 0 && text.bytes().all(|b| b.is_ascii_hexdigit()) => {
            let digit = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
            out.extend((0..text.len()).step_by(2).map(digit).collect::<Option<Vec<u8>>>());
        }
        Json::Array(items) => items.iter().for_each(|item| from_vectors(item, out)),
        Json::Object(members) => members.values().for_each(|item| from_vectors(item, out)),
        _ => {}
    }
}

fn inputs() -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut all = by_hand();
    // All inputs of one and of two bytes.
    all.extend((0..=u8::MAX).map(|byte| vec![byte]));
    all.extend((0..=u16::MAX).map(|pair| pair.to_be_bytes().to_vec()));
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors"))? {
        from_vectors(&serde_json::from_str(&fs::read_to_string(entry?.path())?)?, &mut all);
    }
    let mut chance = Chance::new(1, "canonical values");
    let noise = |chance: &mut Chance| (0..3 + chance.below(10)).map(|_| chance.draw() as u8).collect();
    all.extend((0..20_000).map(|_| noise(&mut chance)).collect::<Vec<Vec<u8>>>());
    for _ in 0..VALUES {
        let mut sound = Vec::new();
        value(&mut chance, 5, &mut sound);
        for _ in 0..CHANGES {
            let mut bad = changed(&mut chance, &sound);
            if chance.below(4) == 0 && !bad.is_empty() {
                bad = changed(&mut chance, &bad);
            }
            all.push(bad);
        }
        all.push(sound);
    }
    Ok(all)
}

/// Inputs on which a scanner and the oracle's verdicts differ.
fn differences(inputs: &[Vec<u8>], verdicts: &str, takes: impl Fn(&[u8]) -> bool) -> Vec<String> {
    let differs = |(input, verdict): &(&Vec<u8>, u8)| takes(input) != (*verdict == b'1');
    let show = |(input, verdict): (&Vec<u8>, u8)| {
        let hex: String = input.iter().take(64).map(|byte| format!("{byte:02x}")).collect();
        format!(
            "{hex}: cbor2 {}, we {:?}",
            if verdict == b'1' { "takes it" } else { "refuses it" },
            scan(input, BOUNDS)
        )
    };
    inputs.iter().zip(verdicts.bytes()).filter(differs).map(show).collect()
}

#[test]
fn our_scanner_and_cbor2_take_the_same_bytes() -> Outcome {
    let Some(python) = python() else {
        println!("skipped: canonical CBOR against cbor2: no python3 with cbor2 is at hand");
        return Ok(());
    };
    let inputs = inputs()?;
    let folder = tempfile::tempdir()?;
    let (script, file) = (folder.path().join("oracle.py"), folder.path().join("inputs"));
    fs::write(&script, ORACLE)?;
    let mut lines = String::new();
    for input in &inputs {
        input.iter().for_each(|byte| lines.push_str(&format!("{byte:02x}")));
        lines.push('\n');
    }
    fs::write(&file, lines)?;
    let bounds = [limits::CBOR_DEPTH_MAX, limits::CBOR_ITEMS_MAX].map(|bound| bound.to_string());
    let output = output(Command::new(python).arg(&script).arg(&file).args(bounds))?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let verdicts = String::from_utf8(output.stdout)?;
    let verdicts = verdicts.trim();
    assert_eq!(verdicts.len(), inputs.len());
    let taken = verdicts.matches('1').count();
    println!("cbor2 takes {taken} of {} inputs", inputs.len());
    assert!(taken > VALUES && taken < inputs.len() / 2, "the inputs are one-sided");
    let found = differences(&inputs, verdicts, |input| scan(input, BOUNDS).is_ok());
    assert!(
        found.is_empty(),
        "{} of {} inputs:\n{}",
        found.len(),
        inputs.len(),
        found[..found.len().min(40)].join("\n")
    );
    // The comparison can fail: a scanner that forgets one rule is found out, whichever it is.
    for (forgotten, takes) in [
        ("nothing is refused", (|_| true) as fn(&[u8]) -> bool),
        ("nothing is taken", |_| false),
        ("trailing bytes", |input| {
            scan(input, BOUNDS).is_ok() || scan(&input[..input.len().saturating_sub(1)], BOUNDS).is_ok()
        }),
        ("items", |input| scan(input, Bounds { items_max: BOUNDS.items_max + 1, ..BOUNDS }).is_ok()),
    ] {
        assert!(!differences(&inputs, verdicts, takes).is_empty(), "{forgotten}");
    }
    Ok(())
}
