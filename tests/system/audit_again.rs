//! Audit exports, read a second time by a program that was written from SPEC alone: the two say the same of honest exports, of
//! dishonest ones that their maker signed, and of whatever was changed since.

use crate::{audit::judged, packages};
use entente_protocol::{
    audit::{Item, Reader, Sealer, item::Leaves},
    id::Hash,
};
use entente_tests::{Home, output};
use serde_json::Value;
use std::{error::Error, fs, path::Path, process::Command};

type Outcome = Result<(), Box<dyn Error>>;

/// What a second reader says, which was written from SPEC alone: its exit code, and all of it.
fn second(python: &str, args: &[&str]) -> Result<(i32, Value), Box<dyn Error>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("verifier/audit.py");
    let output = output(Command::new(python).arg("-B").arg(script).args(args))?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.is_empty(), "{said}");
    Ok((output.status.code().unwrap_or(-1), serde_json::from_slice(&output.stdout)?))
}

/// What a dishonest maker does to its export before it signs it, and what is then found.
type Case = (&'static str, fn(&mut Vec<Item>) -> Option<()>, &'static str);

fn drop_last(items: &mut Vec<Item>, is: fn(&Item) -> bool) -> Option<()> {
    let at = items.iter().rposition(is)?;
    items.remove(at);
    Some(())
}

fn leaves(items: &mut [Item]) -> Option<&mut Leaves> {
    items.iter_mut().find_map(|item| if let Item::Leaves(leaves) = item { Some(leaves) } else { None })
}

const DISHONEST: [Case; 6] = [
    ("a run is left out", |items| drop_last(items, |item| matches!(item, Item::Run(_))), "is not shown"),
    ("a batch is left out", |items| drop_last(items, |item| matches!(item, Item::Batch(_))), "is not shown"),
    (
        "an event is left out",
        |items| {
            let events =
                items.iter_mut().find_map(|i| if let Item::Events(events) = i { Some(events) } else { None })?;
            events.remove(3);
            Some(())
        },
        "does not follow",
    ),
    (
        "an entry is another",
        |items| {
            let run = items.iter_mut().find_map(|i| if let Item::Run(run) = i { Some(run) } else { None })?;
            *run.entries.first_mut()?.entry.last_mut()? ^= 1;
            Some(())
        },
        "not those that were signed",
    ),
    (
        "an interval is another",
        |items| {
            *leaves(items)?.seeds.first_mut()? = Hash::from_bytes([9; 32]);
            Some(())
        },
        "is not what the journal gives",
    ),
    (
        "the newest intervals are left out",
        |items| {
            let leaves = leaves(items)?;
            leaves.seeds.truncate(2);
            leaves.busy.retain(|row| row.at < 2);
            Some(())
        },
        "at its end are missing",
    ),
];

/// Two programs that have nothing in common say the same of honest exports, of dishonest ones, and of ones that were changed.
pub fn second_reader(a: &mut Home, [honest, anew]: [&str; 2], head: &str) -> Outcome {
    let Some(python) = packages::python() else {
        println!("skipped: the second reader of audits: no Python with `cryptography` is at hand");
        return Ok(());
    };
    let (_, ours) = judged(&["verify", honest])?;
    let (code, said) = second(&python, &[honest, "--head", head])?;
    assert_eq!((code, &said["events"], &said["intervals"]), (0, &ours["events"], &ours["intervals"]), "{said:#}");
    let count = |key: &str| -> u64 {
        let feeds = ours["feeds"].as_array().into_iter().flatten();
        feeds.filter_map(|feed| feed[key].as_u64()).sum()
    };
    assert_eq!((&said["entries"], &said["countersigned"]), (&count("entries").into(), &count("acknowledged").into()));
    assert_eq!(second(&python, &[anew])?.0, 0, "nothing in it shows");
    let (code, said) = second(&python, &[anew, "--head", head])?;
    assert!(code == 6 && said["wrong"].to_string().contains("kept"), "{said}");

    let bytes = fs::read(honest)?;
    let (mut reader, mut items) = (Reader::new(bytes.as_slice())?, Vec::new());
    while let Some(item) = reader.next_item()? {
        items.push(item);
    }
    items.pop();
    a.stop();
    let node = a.open();
    let path = a.path("dishonest.audit");
    for (what, change, says) in DISHONEST {
        let mut items = items.clone();
        change(&mut items).ok_or(what)?;
        let (mut sealer, mut made) = (Sealer::default(), Vec::new());
        for item in &items {
            made.extend(sealer.item(item)?);
        }
        made.extend(sealer.end(&node.keys.runs)?);
        fs::write(&path, made)?;
        let (code, said) = second(&python, &[&path])?;
        assert!(code == 6 && said["wrong"].to_string().contains(says), "{what}: {said:#}");
        assert_eq!(judged(&["verify", &path])?.0, 6, "{what}");
    }
    for at in (0..bytes.len()).step_by(bytes.len() / 16 + 1) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        fs::write(&path, changed)?;
        assert_eq!((second(&python, &[&path])?.0, judged(&["verify", &path])?.0), (6, 6), "byte {at}");
    }
    Ok(())
}

/// The golden exports of this repository, read a second time: each is refused, found wrong or taken by both alike, but for
/// what the second reader does not look at.
#[test]
fn the_second_reader_reads_the_vectors_alike() -> Outcome {
    let Some(python) = packages::python() else {
        println!("skipped: the vectors of audits, read a second time: no Python with `cryptography` is at hand");
        return Ok(());
    };
    let vectors: Value = serde_json::from_str(include_str!("../vectors/audit.json"))?;
    let (folder, mut read) = (tempfile::tempdir()?, 0);
    let path = folder.path().join("vector.audit").display().to_string();
    for vector in vectors["vectors"].as_array().into_iter().flatten() {
        fs::write(&path, packages::unhex(vector["input"].as_str().unwrap_or_default()))?;
        let answer = vector["answer"].as_str().unwrap_or_default();
        let not_looked_at = ["wrong: ;", "wrong: clauses;", "wrong: release gate;"];
        let is_taken = answer.starts_with("accepted") && not_looked_at.iter().any(|part| answer.contains(part));
        let (code, said) = second(&python, &[&path, "--now", "1780096000000"])?;
        assert_eq!(code, if is_taken { 0 } else { 6 }, "{}: {said}", vector["name"]);
        assert_eq!(said["refused"].is_string(), !answer.starts_with("accepted"), "{}: {said}", vector["name"]);
        read += 1;
    }
    assert!(read >= 10, "{read} vectors");
    Ok(())
}
