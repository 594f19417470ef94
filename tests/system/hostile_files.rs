//! Files that were made to harm, or only saved wrongly, brought to a running node by the command that people use.
//!
//! The node is the parent of whatever reads them: after all of it the node has the memory and the descriptors it had
//! before, holds what it held before, and still answers. What shows that the reader cannot reach anything is beside
//! its code (`node/src/ingest/child/tests.rs`), because a probe in the program would be a hole in it.

use entente_tests::{Home, ended, output, said_by};
use flate2::{Compression, write::ZlibEncoder};
use serde_json::Value;
use std::{
    error::Error,
    fs,
    io::{Cursor, Write},
    path::Path,
    process::Output,
    time::{Duration, Instant},
};

type Outcome = Result<(), Box<dyn Error>>;

pub const HEADER: &str = "number,case,date,type,make,model,calibre,serial,marks,year,country_of_make,place,country,region,lat,\
                      lon,custody,recovered_from,collector,condition,notes,photos\n";

/// A row of the sample's columns, with what one of its cells and its photographs say.
pub fn row(number: &str, make: &str, photos: &str) -> String {
    format!(
        "{number},C-1,2026-02-03,pistol,{make},M1,9x19,SN {number},,1990,Croatia,Here,Chad,Lac,13.4,14.6,Court,cache,\
         Zebulon Quist,serviceable,,{photos}\n"
    )
}

pub fn table(rows: &[String]) -> Vec<u8> {
    [HEADER.as_bytes(), rows.concat().as_bytes()].concat()
}

/// A workbook whose parts are these; nothing else of it matters before they are looked at.
pub fn workbook(parts: &[(&str, &[u8])]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in parts {
        zip.start_file(*name, zip::write::SimpleFileOptions::default())?;
        zip.write_all(bytes)?;
    }
    Ok(zip.finish()?.into_inner())
}

/// The code and the message of a refusal.
pub fn refusal(output: &Output) -> (i32, String) {
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Files that the store's engine may have opened since, and keeps open whatever is read: a table that it wrote out.
const ENGINE_KEEPS: usize = 2;

/// Waits until a process has no more descriptors than before: the last connections are closed a moment after the answer.
pub fn settles(pid: u32, descriptors: usize) -> Result<u64, Box<dyn Error>> {
    let begun = Instant::now();
    loop {
        let (resident, open) = usage(pid)?;
        if open <= descriptors + ENGINE_KEEPS {
            return Ok(resident);
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "the node had {descriptors} descriptors, and has {open}");
        std::thread::yield_now();
    }
}

/// Resident memory and open descriptors of a process.
pub fn usage(pid: u32) -> Result<(u64, usize), Box<dyn Error>> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("VmRSS")?;
    let kib = resident.trim().trim_end_matches(" kB").parse::<u64>()?;
    Ok((kib, fs::read_dir(format!("/proc/{pid}/fd"))?.count()))
}

pub fn count(home: &Home) -> usize {
    home.json(&["search", "--limit", "10000"]).as_array().map_or(0, Vec::len)
}

/// Name of the defect, ending of the file, its content, words of the message.
type Case = (&'static str, &'static str, Vec<u8>, &'static str);

/// Files that are refused as a whole.
fn refused() -> Result<Vec<Case>, Box<dyn Error>> {
    let spaces = vec![b' '; 33 << 20];
    let zeros = vec![b'0'; 97 << 20];
    let noise: Vec<u8> = (0..4_096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    Ok(vec![
        ("table_empty", "csv", Vec::new(), "no first row to name the columns"),
        ("table_of_noise", "csv", noise.clone(), "the row that names the columns is bad"),
        ("table_utf16", "csv", b"\xff\xfen\0u\0m\0".to_vec(), "UTF-16"),
        ("table_latin1_header", "csv", b"num\xe9ro,b\n1,2\n".to_vec(), "save the file as UTF-8"),
        ("table_workbook_named_csv", "csv", workbook(&[("a", b"b")])?, "like a workbook"),
        ("table_ten_thousand_columns", "csv", vec![b','; 10_000], "more than 1024 columns"),
        ("table_columns_twice", "csv", b"number,number\n".to_vec(), "both named `number`"),
        ("table_other_columns", "csv", b"a,b\n1,2\n".to_vec(), "number"),
        ("table_of_no_format", "doc", b"a".to_vec(), "format"),
        ("workbook_empty", "xlsx", Vec::new(), "cannot be opened"),
        ("workbook_truncated", "xlsx", workbook(&[("xl/workbook.xml", &noise)])?[..200].to_vec(), "cannot be opened"),
        ("workbook_of_noise", "xlsx", noise, "cannot be opened"),
        ("workbook_bomb_of_texts", "xlsx", workbook(&[("xl/sharedStrings.xml", &spaces)])?, "bytes of shared text"),
        ("workbook_bomb_of_cells", "xlsx", workbook(&[("xl/worksheets/sheet1.xml", &zeros)])?, "bytes in one part"),
        ("xml_without_rows_named", "xml", b"<a/>".to_vec(), "element"),
    ])
}

/// Story: fifteen files that nobody should bring. Each is refused with whose fault it is and what to do, nothing of
/// it is kept, and the node that was asked is as before.
#[test]
fn files_made_to_harm_are_refused_and_leave_the_node_as_it_was() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut home = Home::init(folder.path(), "a");
    home.start();
    let pid = home.pid().ok_or("not running")?;
    fs::write(home.path("first.csv"), table(&[row("A-1", "Works", "")]))?;
    home.ok(&["import", &home.path("first.csv")]);
    let (before, held) = (usage(pid)?, count(&home));
    for (defect, ending, bytes, words) in refused()? {
        let path = home.path(&format!("{defect}.{ending}"));
        fs::write(&path, bytes)?;
        let begun = Instant::now();
        let (code, said) = refusal(&home.run(&["import", &path]));
        assert!(code == 2 && said.contains(words), "{defect}: {code}: {said}");
        assert!(!said.contains("panicked"), "{defect}: {said}");
        // Where the columns are not those of the mapping, the mapping is named.
        assert!(said.contains(defect) || said.contains("mapping"), "{defect}: {said}");
        assert!(begun.elapsed() < Duration::from_secs(60), "{defect} took {:?}", begun.elapsed());
    }
    for (defect, path, words) in [
        ("table_absent", home.path("nowhere.csv"), "No such file"),
        ("table_is_a_folder", folder.path().display().to_string() + "/a", "not a regular file"),
    ] {
        let (code, said) = refusal(&home.run(&["import", &path]));
        assert!(code == 2 && said.contains(words), "{defect}: {code}: {said}");
    }
    assert_eq!(count(&home), held);
    let after = settles(pid, before.1)?;
    assert!(after < before.0 + 48 * 1_024, "the node grew from {} to {after} KiB", before.0);
    Ok(())
}

/// Story: one file with a good row between each kind of bad one. The good ones are kept as they stand, formulas
/// among them; each bad one is named by line and column.
#[test]
fn bad_rows_are_named_and_the_good_ones_kept() -> Outcome {
    let folder = tempfile::tempdir()?;
    let home = Home::init(folder.path(), "a");
    let mut bytes = table(&[
        row("A-1", "Works", ""),
        "A-2,too,few\n".to_owned(),
        row("A-3", "=cmd|' /C calc'!A0", ""),
        row("A-4", "nul\0", ""),
        row("A-5", "turned \u{202e}round", ""),
        row("A-6", &"x".repeat(70_000), ""),
        row("A-7", &"y".repeat(1_100_000), ""),
    ]);
    bytes.extend_from_slice(b"A-8,caf\xe9\n");
    bytes.extend_from_slice(row("A-9", "Works", "").as_bytes());
    bytes.extend_from_slice(b"A-10,\"open\n");
    fs::write(home.path("mixed.csv"), bytes)?;
    let report = home.json(&["import", &home.path("mixed.csv")]);
    let bad: Vec<String> = report["bad"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|bad| {
            format!("{} {} {}", bad["row"], bad["column"].as_str().unwrap_or("-"), bad["why"].as_str().unwrap_or("-"))
        })
        .collect();
    let expected = [
        "3 - 3 cells where the table has 22 columns",
        "5 make holds a NUL byte",
        "6 make ",
        "7 make longer than 65536 bytes",
        "8 - longer than 1048576 bytes",
        "9 case not UTF-8 from byte 4 of the cell: save the file as UTF-8",
        "11 case a quote is opened and not closed",
    ];
    assert_eq!(bad.len(), expected.len(), "{bad:#?}");
    for (bad, expected) in bad.iter().zip(expected) {
        assert!(bad.starts_with(expected), "`{bad}` for `{expected}`");
    }
    let shown = home.json(&["record", "show", "A-3"]).to_string();
    assert!(shown.contains("=cmd|' /C calc'!A0"), "a formula is text: {shown}");
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    fs::write(home.path("deep.json"), deep)?;
    let output = home.run(&["--json", "import", &home.path("deep.json")]);
    assert_eq!(output.status.code(), Some(2), "nothing of it was kept");
    let report: Value = serde_json::from_slice(&output.stdout)?;
    assert!(report["bad"][0]["why"].as_str().is_some_and(|why| why.contains("nested deeper")), "json_deep: {report}");
    let items = home.json(&["search", "--kind", "item"]);
    assert_eq!(items.as_array().map_or(0, Vec::len), 3, "A-1, A-3 and A-9: {items}");
    Ok(())
}

/// A PNG of these chunks.
pub fn png(width: u32, height: u32, more: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend_from_slice(&[8, 0, 0, 0, 0]);
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], data: &[u8]| {
        bytes.extend_from_slice(&u32::try_from(data.len()).unwrap_or(0).to_be_bytes());
        let mut crc = flate2::Crc::new();
        crc.update(kind);
        crc.update(data);
        bytes.extend_from_slice(kind);
        bytes.extend_from_slice(data);
        bytes.extend_from_slice(&crc.sum().to_be_bytes());
    };
    chunk(b"IHDR", &header);
    more.iter().for_each(|(kind, data)| chunk(kind, data));
    chunk(b"IEND", &[]);
    bytes
}

/// So many zeros, packed.
pub fn packed(zeros: usize) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    let block = vec![0; 1 << 20];
    for _ in 0..zeros.div_ceil(1 << 20) {
        encoder.write_all(&block)?;
    }
    Ok(encoder.finish()?)
}

/// How many files a folder and those in it hold.
pub fn files_below(folder: &Path) -> Result<usize, Box<dyn Error>> {
    let mut count = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        count += if path.is_dir() { files_below(&path)? } else { 1 };
    }
    Ok(count)
}

/// Story: a folder of pictures, one of them good. Each of the others is kept as it is, gets no copy, and is named with
/// the reason; the good one has its two copies.
#[test]
fn pictures_made_to_harm_are_kept_without_a_copy() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut home = Home::init(folder.path(), "a");
    home.start();
    let pid = home.pid().ok_or("not running")?;
    let photos = folder.path().join("photos");
    fs::create_dir(&photos)?;
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../certs-example/evidence/photos/IMG_0001.jpg");
    let sound = fs::read(example)?;
    let gigabyte = packed(1 << 30)?;
    let text_bomb = [b"note\0\0".as_slice(), &gigabyte].concat();
    let files: [(&str, Vec<u8>, &str); 9] = [
        ("sound.jpg", sound.clone(), ""),
        ("picture_declared_huge.png", png(60_000, 60_000, &[(b"IDAT", packed(1 << 20)?)]), "larger than the limit"),
        (
            "picture_more_pixels_than_allowed.png",
            png(30_000, 30_000, &[(b"IDAT", gigabyte.clone())]),
            "larger than the limit",
        ),
        ("picture_of_a_gigabyte.png", png(100, 100, &[(b"IDAT", gigabyte)]), ""),
        ("picture_with_a_gigabyte_of_text.png", png(10, 10, &[(b"zTXt", text_bomb), (b"IDAT", packed(1)?)]), ""),
        ("picture_truncated.jpg", sound.get(..sound.len() / 3).unwrap_or_default().to_vec(), ""),
        ("picture_is_a_pdf.jpg", b"%PDF-1.7\nno picture".to_vec(), "PDF"),
        ("picture_empty.jpg", Vec::new(), "unknown"),
        ("picture_is_a_web_page.svg", b"<svg onload=alert(1)>".to_vec(), "no stripped copy"),
    ];
    let names: Vec<&str> = files.iter().map(|(name, _, _)| *name).collect();
    for (name, bytes, _) in &files {
        fs::write(photos.join(name), bytes)?;
    }
    std::os::unix::fs::symlink("/etc/passwd", photos.join("picture_link.jpg"))?;
    fs::write(
        home.path("rows.csv"),
        table(&[row("A-1", "Works", &names.join(";")), row("A-2", "Works", "picture_link.jpg")]),
    )?;
    let stored = files_below(&folder.path().join("a/store"))?;
    home.ok(&["import", &home.path("rows.csv"), "--attachments", &home.path("photos"), "--dry-run"]);
    assert_eq!(files_below(&folder.path().join("a/store"))?, stored, "a trial leaves nothing");
    let before = usage(pid)?;
    let report = home.json(&["import", &home.path("rows.csv"), "--attachments", &home.path("photos")]);
    let after = settles(pid, before.1)?;
    let notes: Vec<&str> = report["notes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, _, words) in files.iter().filter(|(_, _, words)| !words.is_empty()) {
        assert!(notes.iter().any(|note| note.contains(name) && note.contains(words)), "{name}: {notes:#?}");
    }
    assert!(!notes.iter().any(|note| note.contains("sound.jpg")), "{notes:#?}");
    assert!(report["missing"].to_string().contains("picture_link.jpg"), "{report}");
    let kept = home.json(&["search", "--kind", "attachment", "--limit", "1000"]);
    let numbers: Vec<&str> = kept.as_array().into_iter().flatten().filter_map(|r| r["number"].as_str()).collect();
    for place in 1..=files.len() {
        assert!(numbers.contains(&format!("A-1/{place:02}").as_str()), "{place}: {numbers:?}");
    }
    assert!(numbers.contains(&"A-1/01-copy") && numbers.contains(&"A-1/01-small"), "{numbers:?}");
    assert!(after < before.0 + 48 * 1_024, "the node grew from {} to {after} KiB", before.0);
    Ok(())
}

/// The processes that have this one as parent.
pub fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
    pids.filter(|pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rsplit(") ").next().unwrap_or_default();
        after_name.split(' ').nth(1) == Some(parent.to_string().as_str())
    })
    .collect()
}

/// Whether a process has this file open and is a reader already: before, it was a copy of its parent.
fn reads(pid: u32, path: &str) -> bool {
    let mut descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    command.contains("read-what-people-bring")
        && descriptors.any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == Path::new(path)))
}

/// Story: a machine short of memory kills the reader of a large picture. The picture is kept without copies; on a better
/// day the same import makes them, and adds nothing else.
#[test]
fn a_picture_whose_reader_was_killed_gets_its_copies_later() -> Outcome {
    let folder = tempfile::tempdir()?;
    let home = Home::init(folder.path(), "a");
    let photos = fs::canonicalize(folder.path())?.join("photos");
    fs::create_dir(&photos)?;
    let picture = photos.join("large.png").display().to_string();
    fs::write(&picture, png(6_000, 6_000, &[(b"IDAT", packed(6_001 * 6_000)?)]))?;
    let (rows, photos) = (home.file("rows.csv", ""), home.path("photos"));
    fs::write(&rows, table(&[row("A-1", "Works", "large.png")]))?;
    let import = ["--json", "import", &rows, "--attachments", &photos];
    let (place, key) = (home.path("a"), home.path("a.key"));
    let mut child = std::process::Command::new(entente_tests::entente())
        .args(["--home", &place, "--identity-file", &key])
        .args(import)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()?;
    let (begun, mut killed) = (Instant::now(), false);
    while !killed && begun.elapsed() < Duration::from_secs(60) && child.try_wait()?.is_none() {
        for pid in children(child.id()).into_iter().filter(|pid| reads(*pid, &picture)) {
            killed = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status()?.success();
        }
    }
    let report: Value = serde_json::from_slice(&said_by(child)?.stdout)?;
    assert!(killed && report["files"] == 1, "{report}");
    assert!(report["notes"].to_string().contains("reading it was stopped"), "{report}");
    let again = home.json(&import[1..]);
    assert!(again["files"].as_u64() >= Some(2) && again["notes"] == serde_json::json!([]), "{again}");
    let kept = home.json(&["search", "--kind", "attachment"]);
    let numbers: Vec<&str> = kept.as_array().into_iter().flatten().filter_map(|r| r["number"].as_str()).collect();
    assert!(["A-1/01", "A-1/01-copy", "A-1/01-small"].iter().all(|n| numbers.contains(n)), "{numbers:?}");
    let third = home.json(&import[1..]);
    assert_eq!((&third["added"], &third["amended"], &third["files"]), (&0.into(), &0.into(), &0.into()), "{third}");
    home.ok(&["check"]);
    Ok(())
}

/// What the kernel says of a reader while it reads: no new privileges, filtered, bounded, alone with its file.
fn check_reader(pid: u32, table: &str) -> Outcome {
    let read = |what: &str| fs::read_to_string(format!("/proc/{pid}/{what}"));
    let (status, limits) = (read("status")?, read("limits")?);
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map(|line| line.trim_start_matches(':').trim().to_owned())
    };
    assert_eq!(value("NoNewPrivs").as_deref(), Some("1"));
    assert_eq!(value("Seccomp").as_deref(), Some("2"));
    assert_eq!(value("Seccomp_filters").as_deref(), Some("2"), "both halves");
    assert_eq!(value("Threads").as_deref(), Some("1"));
    for (name, soft) in [
        ("Max address space", "1073741824"),
        ("Max cpu time", "3600"),
        ("Max file size", "0"),
        ("Max core file size", "0"),
        ("Max processes", "0"),
        ("Max open files", "16"),
    ] {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).ok_or(name)?;
        assert_eq!(line.split_whitespace().next(), Some(soft), "{name}");
    }
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        println!("skipped: what a reader has open: only root may look");
        return Ok(());
    };
    let open: Vec<String> = descriptors
        .flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok())
        .map(|target| target.display().to_string())
        .collect();
    // What this test was started with, a shell's leftovers for one, may have come down all the way; the filter does not
    // let it be used.
    let inherited: Vec<String> = fs::read_dir("/proc/self/fd")?
        .flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok())
        .map(|target| target.display().to_string())
        .collect();
    let foreign = open
        .iter()
        .filter(|o| !(o.starts_with("socket:") || *o == "/dev/null" || *o == table || inherited.contains(o)))
        .count();
    assert_eq!(foreign, 0, "{open:?}");
    assert!(open.iter().any(|o| o == table), "{open:?}");
    assert_eq!(read("environ")?, "MIMALLOC_ARENA_RESERVE=32768\0", "nothing of the node's environment");
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd"))?, Path::new("/"));
    Ok(())
}

/// Story: while a large table is imported, its reader is looked at from outside. Then the command is killed, and its
/// reader does not outlive it.
#[test]
fn a_reader_has_nothing_but_its_file() -> Outcome {
    let folder = tempfile::tempdir()?;
    let home = Home::init(folder.path(), "a");
    let path = fs::canonicalize(folder.path())?.join("large.csv").display().to_string();
    let rows: Vec<String> = (0..200_000).map(|n| row(&format!("A-{n}"), "Works", "")).collect();
    fs::write(&path, table(&rows))?;
    let mut import = std::process::Command::new(entente_tests::entente())
        .args(["--home", &home.path("a"), "--identity-file", &home.path("a.key"), "import", &path, "--dry-run"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .env("ENTENTE_SECRET_OF_A_TEST", "not for readers")
        .spawn()?;
    let begun = Instant::now();
    let mut seen = Err("no reader was seen".into());
    let mut reader = 0;
    // Until it has both limited itself and been given the file: from then on it only waits for its parent.
    while seen.is_err() && begun.elapsed() < Duration::from_secs(60) && import.try_wait()?.is_none() {
        for pid in children(import.id()).into_iter().filter(|pid| reads(*pid, &path)) {
            reader = pid;
            seen = check_reader(pid, &path);
        }
    }
    import.kill()?;
    ended(&mut import)?;
    seen?;
    let killed = Instant::now();
    while Path::new(&format!("/proc/{reader}/status")).exists()
        && !fs::read_to_string(format!("/proc/{reader}/status"))?.contains("State:\tZ")
    {
        assert!(killed.elapsed() < Duration::from_secs(10), "the reader outlives its parent");
        std::thread::yield_now();
    }
    Ok(())
}

/// What a reader has mapped when its memory is limited leaves room for the tables of its allocator: where that set as much
/// aside as the limit, one file in thirty was refused as too large, whatever its size.
#[test]
fn a_reader_is_limited_with_room_left() -> Outcome {
    let folder = tempfile::tempdir()?;
    let home = Home::init(folder.path(), "a");
    fs::write(home.path("rows.csv"), table(&[row("N-1", "Works", "")]))?;
    let log = home.path("strace.log");
    let (to, key) = (home.path("a"), home.path("a.key"));
    let mut traced = std::process::Command::new("strace");
    traced
        .args(["-f", "-qq", "-e", "trace=execve,mmap,munmap,prlimit64", "-o", &log])
        .arg(entente_tests::entente())
        .args(["--home", &to, "--identity-file", &key, "import", &home.path("rows.csv")])
        .env_clear();
    let Ok(ran) = output(&mut traced) else {
        println!("skipped: what a reader has mapped: strace is not at hand");
        return Ok(());
    };
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let log = fs::read_to_string(log)?;
    let of = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let limited = log.lines().find(|line| line.contains("RLIMIT_AS, {")).and_then(of).ok_or("nothing was limited")?;
    let own = log.lines().filter(|line| of(line).as_ref() == Some(&limited));
    let (mut mapped, mut limit) = (0u64, None);
    for line in own {
        if line.contains("execve(") {
            mapped = 0;
        } else if let Some((_, after)) = line.split_once("mmap(").filter(|_| !line.contains("MAP_FIXED")) {
            mapped += after.split(", ").nth(1).and_then(|length| length.parse::<u64>().ok()).unwrap_or_default();
        } else if let Some((_, after)) = line.split_once("munmap(") {
            let length = after.split(", ").nth(1).and_then(|length| length.split(')').next()?.parse::<u64>().ok());
            mapped = mapped.saturating_sub(length.unwrap_or_default());
        } else if let Some((_, after)) = line.split_once("RLIMIT_AS, {rlim_cur=") {
            let bytes = after.split([',', '}']).next().unwrap_or_default();
            limit = Some(bytes.split('*').filter_map(|factor| factor.parse::<u64>().ok()).product::<u64>());
            break;
        }
    }
    let limit = limit.ok_or("a limit")?;
    assert!(mapped > 0 && mapped < limit / 2, "{mapped} bytes are mapped of {limit}");
    Ok(())
}
