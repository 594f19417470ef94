//! Files that a partner sends are held and not read: no parser sees one unless a person brings it with `import`.
//!
//! That no code between the wire and the vault names a parser is a rule of `tidy`; here a running node is watched.

use crate::hostile_files::{children, packed, png, row, table, usage, workbook};
use entente_tests::{World, until};
use std::{error::Error, fs};

type Outcome = Result<(), Box<dyn Error>>;

const CLAUSES: &str = r#"
[[clause]]
name = "all"
from = "a"
to = ["b"]
onward = "never"
retention-days = 30
files = ["original"]
personal = [{ kind = "attachment", slot = "author", purpose = "tracing", retention-days = 30 }]
disclose.item = ["number", "eval", "type"]
disclose.attachment = ["number", "eval", "of", "role", "media", "content", "taken", "place-point", "author", "camera"]
"#;
/// Pixels of the picture, a byte each, and bytes of the workbook's sheet.
const SIDE: u32 = 16_000;
const SHEET_BYTES: usize = 128 << 20;
/// What a node may take for two files of a megabyte, whatever they unpack to.
const GROWTH_KIB_MAX: u64 = 64 << 10;

/// A number of `/proc/PID/stat`, by its place in proc(5).
fn stat(pid: u32, place: usize) -> Result<u64, Box<dyn Error>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the process may hold anything; what follows it are the third place and those after.
    let (_, rest) = stat.rsplit_once(") ").ok_or("no name")?;
    Ok(rest.split(' ').nth(place - 3).ok_or("no such place")?.parse()?)
}

/// Page faults of all children that have ended: one that ran for a moment leaves them, whoever looked away.
fn left_by_children(pid: u32) -> Result<u64, Box<dyn Error>> {
    Ok(stat(pid, 11)? + stat(pid, 13)?)
}

/// The most memory that a process ever had.
fn peak_kib(pid: u32) -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("VmHWM")?;
    Ok(peak.trim().trim_end_matches(" kB").parse()?)
}

/// Story: a partner sends two originals, a picture of 256 megapixels and a workbook whose sheet has 128 MiB, each of them
/// a megabyte or less as it is. The receiver has them byte for byte, shows their records, writes them out and checks its
/// home; at no time does it start a reader, and its memory does not know what they unpack to.
#[test]
fn a_bomb_that_a_partner_sends_is_held_and_not_read() -> Outcome {
    let (world, [mut sender, mut receiver]) = World::of(72, ["a", "b"]);
    sender.pair(&receiver);
    let _agreed = sender.agree(&receiver, CLAUSES);
    let pixels = usize::try_from(SIDE)? * usize::try_from(SIDE + 1)?;
    let bombs = [
        ("bomb.png", png(SIDE, SIDE, &[(b"IDAT", packed(pixels)?)])),
        ("bomb.xlsx", workbook(&[("xl/worksheets/sheet1.xml", &vec![b'0'; SHEET_BYTES])])?),
    ];
    let photos = world.folder().join("photos");
    fs::create_dir(&photos)?;
    for (name, bytes) in &bombs {
        assert!(bytes.len() < 2 << 20, "{name} has {} bytes", bytes.len());
        fs::write(photos.join(name), bytes)?;
    }
    fs::write(sender.path("rows.csv"), table(&[row("A-1", "Works", "bomb.png;bomb.xlsx")]))?;

    sender.start();
    receiver.start();
    let (ours, theirs) = (sender.pid().ok_or("not running")?, receiver.pid().ok_or("not running")?);
    assert_eq!(left_by_children(ours)?, 0);
    let report = sender.json(&["import", &sender.path("rows.csv"), "--attachments", &sender.path("photos")]);
    assert_eq!(report["files"], 2, "{report}");
    assert!(left_by_children(ours)? > 0, "readers of what people bring are seen by what they leave");
    sender.pass_all();

    let (before, mut readers) = (peak_kib(theirs)?, Vec::new());
    sender.sync(&receiver);
    until("the receiver has both files", || {
        readers.extend(children(theirs));
        let held = receiver.received().iter().filter(|record| record["kind"] == "attachment").count();
        held == bombs.len() && receiver.json(&["status"])["files_waiting"] == 0
    });
    let mut held = Vec::new();
    for (place, record) in receiver.received().iter().filter(|record| record["kind"] == "attachment").enumerate() {
        let id = record["id"].as_str().ok_or("no record")?;
        receiver.ok(&["record", "show", id]);
        receiver.ok(&["record", "verify", id]);
        let path = receiver.path(&format!("out-{place}"));
        let written = receiver.json(&["record", "attachment", id, "-o", &path]);
        assert_eq!((&written["verified"], &record["fields"]["role"]), (&true.into(), &"original".into()), "{written}");
        held.push(fs::read(path)?);
        readers.extend(children(theirs));
    }
    for (name, bytes) in &bombs {
        assert!(held.contains(bytes), "{name} is not what was sent");
    }
    receiver.ok(&["check"]);
    assert_eq!(readers, Vec::<u32>::new(), "the receiver started a process");
    assert_eq!(left_by_children(theirs)?, 0, "the receiver started a process");
    let after = peak_kib(theirs)?;
    assert!(
        after < before + GROWTH_KIB_MAX,
        "the receiver grew from {before} to {after} KiB, now {:?}",
        usage(theirs)?
    );
    Ok(())
}
