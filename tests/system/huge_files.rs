//! Files far larger than memory, and folders without end: refused in seconds, with the limit in the message.
//!
//! The files have holes, so that they take no room here; whoever reads them reads every byte of them.

use crate::hostile_files::{HEADER, count, files_below, refusal, row, settles, table, usage};
use entente_protocol::limits::ATTACHMENT_BYTES_MAX;
use entente_tests::Home;
use std::{
    error::Error,
    fs,
    path::Path,
    time::{Duration, Instant},
};

type Outcome = Result<(), Box<dyn Error>>;

const HUGE: u64 = 6 << 30;
/// Far more than it takes, on a busy machine; far less than reading all of it would.
const PATIENCE: Duration = Duration::from_secs(30);

/// A file that begins so, and is zeros from there on.
fn huge(path: &Path, begins: &[u8], bytes: u64) -> Outcome {
    fs::write(path, begins)?;
    Ok(fs::OpenOptions::new().write(true).open(path)?.set_len(bytes)?)
}

/// Story: somebody exports a table to a disk that fills up, and what is left is its first row and gigabytes of nothing;
/// then the same under other names. The row is kept, the rest is given up with its line and the reason, and a file that
/// has no row is refused. The node has the memory that it had before.
#[test]
fn a_table_with_a_hole_of_gigabytes_is_given_up() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut home = Home::init(folder.path(), "a");
    home.start();
    let pid = home.pid().ok_or("not running")?;
    let before = usage(pid)?;
    let path = folder.path().join("export.csv");
    huge(&path, &table(&[row("A-1", "Works", "")]), HUGE)?;
    let begun = Instant::now();
    let report = home.json(&["import", &home.path("export.csv")]);
    assert_eq!((&report["rows"], &report["bad_rows"], &report["bad"][0]["row"]), (&2.into(), &1.into(), &3.into()));
    let why = report["bad"][0]["why"].as_str().unwrap_or_default();
    assert!(why.contains("a line has more than 67108864 bytes"), "{why}");
    assert_eq!(home.json(&["search", "--kind", "item"]).as_array().map(Vec::len), Some(1));
    let held = count(&home);
    for (name, begins, words) in [
        ("no-row.csv", HEADER.trim_end().as_bytes(), "a line has more than 67108864 bytes"),
        ("lines.jsonl", b"", "a line has more than 67108864 bytes"),
        ("tree.xml", b"<a>", "element"),
        ("book.xlsx", b"PK\x03\x04", "the workbook has 6442450944 bytes, and 268435456 are read"),
    ] {
        huge(&folder.path().join(name), begins, HUGE)?;
        let output = home.run(&["--json", "import", &home.path(name)]);
        let (code, said) = refusal(&output);
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(code == 2 && said.contains(name), "{name}: {code}: {said}");
        assert!(said.contains(words) || report.contains(words), "{name}: {said} {report}");
    }
    assert!(begun.elapsed() < PATIENCE, "it took {:?}", begun.elapsed());
    assert_eq!(count(&home), held);
    let after = settles(pid, before.1)?;
    assert!(after < before.0 + 48 * 1_024, "the node grew from {} to {after} KiB", before.0);
    Ok(())
}

/// Story: a film beyond the limit lies among the photographs, named by the same row as a small file. The film is refused
/// by name, size and limit before any of it is stored; the row and the small file are kept.
#[test]
fn an_attachment_beyond_the_limit_is_refused_before_it_fills_the_disk() -> Outcome {
    let folder = tempfile::tempdir()?;
    let home = Home::init(folder.path(), "a");
    let photos = folder.path().join("photos");
    fs::create_dir(&photos)?;
    huge(&photos.join("film.mp4"), b"\0\0\0\x20ftypisom", ATTACHMENT_BYTES_MAX + 1)?;
    fs::write(photos.join("note.txt"), "two words")?;
    fs::write(home.path("rows.csv"), table(&[row("A-1", "Works", "film.mp4;note.txt")]))?;
    let begun = Instant::now();
    let report = home.json(&["import", &home.path("rows.csv"), "--attachments", &home.path("photos")]);
    assert_eq!((&report["bad_rows"], &report["files"]), (&0.into(), &1.into()), "{report}");
    let expected =
        "A-1: `film.mp4` cannot be read: it has 4294967297 bytes, and at most 4294967296 are taken: split it";
    assert_eq!(report["missing"], serde_json::json!([expected]));
    assert_eq!(files_below(&folder.path().join("a/store/blobs"))?, 1, "the small file alone is stored");
    assert!(begun.elapsed() < PATIENCE, "it took {:?}", begun.elapsed());
    home.ok(&["check"]);
    Ok(())
}

/// Story: the folder of attachments is a whole disk by mistake, with folders in folders. It is refused as such before a
/// row is taken; one level less is taken. Its width has a limit too: see `node/src/ingest/attach.rs`.
#[test]
fn a_folder_of_attachments_without_end_is_refused() -> Outcome {
    let folder = tempfile::tempdir()?;
    let home = Home::init(folder.path(), "a");
    fs::write(home.path("rows.csv"), table(&[row("A-1", "Works", "")]))?;
    let mut below = folder.path().join("photos");
    // Paths longer than what one call takes are reached step by step, as here.
    for _ in 0..17 {
        below.push("another folder within it");
    }
    fs::create_dir_all(&below)?;
    fs::write(below.join("x.txt"), "x")?;
    let (code, said) = refusal(&home.run(&["import", &home.path("rows.csv"), "--attachments", &home.path("photos")]));
    assert!(code == 2 && said.contains("more than 200000 files or 16 levels: import it in parts"), "{code}: {said}");
    assert_eq!(count(&home), 0);
    fs::remove_dir_all(&below)?;
    home.ok(&["import", &home.path("rows.csv"), "--attachments", &home.path("photos")]);
    Ok(())
}
