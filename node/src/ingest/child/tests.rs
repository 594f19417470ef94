//! The child from both sides. The test program itself is the child: one test of this file, called by its exact name
//! with the socket as standard input, lives the child's life, or that of a child which misbehaves. Probes that would
//! be an attack surface in the program that ships are compiled for tests only, behind the very same limits.

use super::{frame::Tag, picture::Pictures, table::OpenFault, *};
use crate::{
    call::Call,
    clock::ManualClock,
    ingest::{
        import::{ImportOptions, ImportReport, import as import_file},
        photo::Media,
        table::{self as in_process, Column, Source},
    },
    testkit,
    users::Who,
};
use entente_protocol::time::UnixMillis;
use std::{
    fs,
    io::{Seek as _, Write as _},
    net::TcpStream,
    path::Path,
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// The columns of the sample evidence.
const HEADER: &str = "number,case,date,type,make,model,calibre,serial,marks,year,country_of_make,place,country,region,lat,\
                      lon,custody,recovered_from,collector,condition,notes,photos";

/// A child that is one test of this file.
pub(super) fn harness(test: &str) -> Program {
    let exact = format!("ingest::child::tests::{test}");
    let arguments = ["--test-threads=1", "--nocapture", "--exact", &exact].map(OsString::from).to_vec();
    Program { path: "/proc/self/exe".into(), arguments, patience: PATIENCE }
}

/// A child that does something else on the way.
pub(super) fn misbehaving(how: &str) -> Program {
    let mut program = harness("as_another_child");
    program.arguments.push(how.into());
    Program { patience: Duration::from_secs(30), ..program }
}

/// The last two arguments, if the standard input is a parent's socket.
fn called_as() -> Option<(String, Task)> {
    rustix::net::sockopt::socket_type(io::stdin()).ok()?;
    let arguments: Vec<String> = std::env::args().collect();
    let [.., how, task] = arguments.as_slice() else { return None };
    Some((how.clone(), Task::named(OsStr::new(task))?))
}

#[test]
fn as_child() {
    if let Some((_, task)) = called_as() {
        serve::serve(task);
        std::process::exit(0);
    }
}

#[test]
fn as_another_child() {
    if let Some((how, task)) = called_as() {
        let channel = io::stdin().as_fd().try_clone_to_owned().unwrap();
        misbehave(&how, task, &mut File::from(channel));
        std::process::exit(0);
    }
}

fn misbehave(how: &str, task: Task, channel: &mut File) {
    match how {
        "is silent" => return,
        "is not limited" => return frame::write(channel, Tag::NotLimited, b"no seccomp\x1b[2J").unwrap(),
        "dies of some" => return dies_of_some(task, channel),
        "is killed over pictures" if task == Task::Picture => {}
        "is killed over pictures" => return assert!(serve::serve(task).is_some()),
        "is behind Landlock only" => return behind_landlock(channel),
        _ => {}
    }
    // A probe whose name starts with `free` does the same without limits, to show that only they prevent it.
    let probe = how.strip_prefix("free: ");
    // Stands for whatever else a parent was started with.
    let inherited = File::open("/etc/passwd").unwrap();
    if probe.is_none() {
        jail::limit(task, channel).unwrap();
    }
    frame::write(channel, Tag::Ready, &[frame::VERSION, jail::LANDLOCK_WHOLE]).unwrap();
    let (_, mut file) = serve::receive(channel).unwrap();
    match probe.unwrap_or(how) {
        "aborts" | "is killed over pictures" => std::process::abort(),
        "panics" => panic!("as any parser may"),
        "grows" => drop(std::hint::black_box(vec![1_u8; 3 << 30])),
        "hangs" => loop {
            std::thread::park();
        },
        "drips" => {
            // A byte now and then: each read comes to something, the frame never does.
            channel.write_all(&[0, 0, 0x10, 0, Tag::Rows as u8]).unwrap();
            while channel.write_all(&[1]).is_ok() {
                (0..1_000_000).for_each(|_| std::hint::spin_loop());
            }
        }
        "floods" => channel.write_all(&[0xff, 0xff, 0xff, 0x7f, Tag::Rows as u8]).unwrap(),
        "lies" => {
            frame::write(channel, Tag::Columns, &[0]).unwrap();
            return frame::write(channel, Tag::Rows, b"\x01these are no rows").unwrap();
        }
        "opens" => drop(File::open("/etc/passwd")),
        "creates" => drop(File::create("/tmp/entente-probe-of-the-reader")),
        "connects" => drop(TcpStream::connect("127.0.0.1:9")),
        "asks by Unix socket" => drop(UnixStream::connect("/run/systemd/notify")),
        "executes" => drop(Command::new("/bin/true").exec()),
        "forks" => drop(Command::new("/bin/true").status()),
        "starts a thread" => drop(std::thread::Builder::new().spawn(|| {})),
        "signals" => drop(rustix::process::test_kill_process(rustix::process::Pid::INIT)),
        "looks around" => assert!(fs::metadata("/etc/passwd").is_ok() == probe.is_some()),
        "reads another descriptor" => {
            let read = rustix::io::read(&inherited, &mut [0; 1]);
            assert!(read.is_ok() == probe.is_some());
        }
        "writes its input" => assert!(file.write_all(b"x").is_err(), "it was opened to be read"),
        other => panic!("no such probe: {other}"),
    }
    file.rewind().unwrap();
    frame::write(channel, Tag::End, b"").unwrap();
}

/// The second lock by itself: without the filter, what does Landlock leave within reach?
fn behind_landlock(channel: &mut File) {
    let level = jail::landlock().unwrap();
    frame::write(channel, Tag::Ready, &[frame::VERSION, level]).unwrap();
    let _ = serve::receive(channel).unwrap();
    let answer = match (level, File::open("/etc/passwd").is_ok() || fs::read_dir("/").is_ok()) {
        (jail::LANDLOCK_NONE, _) => Tag::Refused,
        (_, true) => Tag::Rows,
        (_, false) => Tag::End,
    };
    frame::write(channel, answer, b"").unwrap();
}

#[test]
fn landlock_alone_keeps_files_out_of_reach() {
    match outcome(&misbehaving("is behind Landlock only")) {
        Ok(Tag::End) => {}
        Ok(Tag::Refused) => println!("skipped: Landlock: this kernel has none"),
        other => panic!("{other:?}"),
    }
}

/// A sound child, but for files that start with three letters: they stand for a hole in a parser.
fn dies_of_some(task: Task, channel: &mut File) {
    jail::limit(task, channel).unwrap();
    frame::write(channel, Tag::Ready, &[frame::VERSION, jail::LANDLOCK_WHOLE]).unwrap();
    let (_, mut file) = serve::receive(channel).unwrap();
    let mut start = [0; 3];
    let _ = file.read_exact(&mut start);
    file.rewind().unwrap();
    match &start {
        b"DIE" => std::process::abort(),
        b"OWN" => drop(File::open("/etc/passwd")),
        b"LIE" => {
            let facts = picture::Facts { author: Some("x".repeat(1 << 20)), ..picture::Facts::default() };
            frame::write(channel, Tag::Facts, &serde_json::to_vec(&facts).unwrap()).unwrap();
            frame::write(channel, Tag::Copy, b"\"Jpeg\"").unwrap();
            frame::write(channel, Tag::Data, b"half a copy").unwrap();
        }
        _ => drop(serve::picture(channel, file)),
    }
}

fn some_file() -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"a,b\n1,2\n").unwrap();
    file.rewind().unwrap();
    file
}

/// What becomes of one question to a child.
fn outcome(program: &Program) -> Result<Tag, ChildFault> {
    let mut child = Child::start(program, Task::Table)?;
    child.ask(b"", &some_file())?;
    child.receive().map(|(tag, _)| tag)
}

#[test]
fn what_an_attacker_would_do_ends_the_child_at_once() {
    for probe in
        ["opens", "creates", "connects", "asks by Unix socket", "executes", "forks", "starts a thread", "signals"]
    {
        let stopped = outcome(&misbehaving(probe)).map_err(|fault| fault.to_string());
        assert!(
            stopped.as_ref().is_err_and(|why| why.contains("reach for what no reader needs")),
            "a child that {probe}: {stopped:?}"
        );
        // Without the limits it would have come to its end, or been replaced by another program.
        let free = outcome(&misbehaving(&format!("free: {probe}")));
        match (probe, free) {
            ("executes", Err(ChildFault::Died(_))) | (_, Ok(Tag::End)) => {}
            (_, other) => panic!("unlimited, a child that {probe}: {other:?}"),
        }
    }
    assert!(
        !Path::new("/tmp/entente-probe-of-the-reader").exists()
            || fs::remove_file("/tmp/entente-probe-of-the-reader").is_ok()
    );
}

#[test]
fn what_is_merely_not_needed_is_refused() {
    for probe in ["looks around", "reads another descriptor"] {
        assert!(matches!(outcome(&misbehaving(probe)), Ok(Tag::End)), "{probe}");
        assert!(matches!(outcome(&misbehaving(&format!("free: {probe}"))), Ok(Tag::End)), "{probe}");
    }
}

#[test]
fn a_child_that_fails_is_told_by_how() {
    let patient = |how: &str| outcome(&misbehaving(how)).map_err(|fault| (fault.is_setup(), fault.to_string()));
    let hasty = |how: &str| {
        let hasty = Program { patience: Duration::from_millis(1_500), ..misbehaving(how) };
        outcome(&hasty).map_err(|fault| (fault.is_setup(), fault.to_string()))
    };
    for (found, is_setup, words) in [
        (patient("is silent"), true, "does not answer"),
        (patient("is not limited"), true, "nothing was read: no seccomp\\u{1b}[2J"),
        (patient("aborts"), false, "takes more memory"),
        (patient("grows"), false, "takes more memory"),
        (patient("panics"), false, "please report this"),
        (hasty("hangs"), false, "nothing came of it for 1 seconds"),
        (hasty("drips"), false, "nothing came of it for 1 seconds"),
        (patient("floods"), false, "what is no answer"),
    ] {
        let (setup, said) = found.expect_err(words);
        assert!(setup == is_setup && said.contains(words), "`{words}`: {setup}: {said}");
    }
    let absent = Program::at("/nowhere/entente".into());
    assert!(outcome(&absent).is_err_and(|fault| fault.is_setup() && fault.to_string().contains("cannot be started")));
    let another = Program::at("/bin/true".into());
    assert!(matches!(outcome(&another), Err(ChildFault::Silent)));
}

#[test]
fn rows_that_are_none_end_the_table() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("x.csv");
    fs::write(&path, "a\n1\n")?;
    let mut rows = table::open(&misbehaving("lies"), &path, &Source::default())?;
    assert!(matches!(rows.next(), Some(Err(ChildFault::Broken(_)))));
    assert!(rows.next().is_none());
    Ok(())
}

/// Every reader gives the same rows, faults and refusals through a child as without one.
#[test]
fn rows_through_a_child_are_the_rows() -> Outcome {
    let folder = tempfile::tempdir()?;
    let wide = format!("{}\n", ",".repeat(10_000));
    let xml = Source { elements: vec!["r".to_owned()], ..Source::default() };
    let pointed = Source { pointer: "/rows".to_owned(), ..Source::default() };
    let many = (0..50_000).map(|n| format!("{n},x{n},\n")).collect::<String>();
    let cases: [(&str, Vec<u8>, &Source); 13] = [
        ("plain.csv", format!("a,b,c\n{many}").into_bytes(), &Source::default()),
        ("bad.csv", b"a,b\n1\n=cmd,\xe2\x80\xae\n\0,1\ncaf\xe9,1\n\"x\n".to_vec(), &Source::default()),
        ("tabs.tsv", b"a\tb\n1\t2\n".to_vec(), &Source::default()),
        ("wide.csv", wide.into_bytes(), &Source { header: false, ..Source::default() }),
        ("empty.csv", Vec::new(), &Source::default()),
        ("wide16.csv", b"\xff\xfea\0,\0".to_vec(), &Source::default()),
        ("twice.csv", b"a,a\n".to_vec(), &Source::default()),
        ("lines.jsonl", b"{\"a\":[1,{\"b\":null}]}\n{\"a\":\n[]\n".to_vec(), &Source::default()),
        ("array.json", b"{\"rows\":[{\"a\":1},{\"a\":1,\"a\":2},{\"a\":3}".to_vec(), &pointed),
        ("tree.xml", b"<x><r k='1'>t</r><r><y>2</y></r><r>&unknown;</r></x>".to_vec(), &xml),
        ("doctype.xml", b"<!DOCTYPE x [<!ENTITY a 'b'>]><x><r/></x>".to_vec(), &xml),
        ("none.xlsx", b"PK\x03\x04 and no more".to_vec(), &Source::default()),
        ("what", b"a\n1\n".to_vec(), &Source::default()),
    ];
    for (name, bytes, source) in cases {
        let path = folder.path().join(name);
        fs::write(&path, bytes)?;
        let here = in_process::open(&path, source);
        let there = table::open(&Program::own(), &path, source);
        let (here, there) = match (here, there) {
            (Err(here), Err(OpenFault::Table(there))) => {
                assert_eq!(here.to_string(), there.to_string(), "{name}");
                continue;
            }
            (here, there) => (here?, there?),
        };
        assert_eq!(here.columns().map(|c| c.names().to_vec()), there.columns().map(|c| c.names().to_vec()), "{name}");
        assert_eq!(here.columns().map(|c| c.count()), there.columns().map(|c| c.count()), "{name}");
        let told = |row: Result<in_process::Row, in_process::RowFault>| match row {
            Ok(row) => {
                Ok((row.number(), row.content(), row.text(&Column::named("a")).ok().flatten().map(str::to_owned)))
            }
            Err(fault) => Err(fault.to_string()),
        };
        let here: Vec<_> = here.map(told).collect();
        let there: Vec<_> = there.map(|row| told(row.unwrap())).collect();
        assert_eq!(here, there, "{name}");
        assert!(!here.is_empty(), "{name}");
    }
    Ok(())
}

/// Story: the reader of a picture was killed before it said anything. The same import again reads the picture anew: its
/// copies come, and what it says of itself amends the original; the third time there is nothing left to do.
#[test]
fn a_picture_whose_reader_was_killed_is_read_again() -> Outcome {
    let folder = tempfile::tempdir()?;
    let clock = std::sync::Arc::new(ManualClock::at(UnixMillis(1_795_305_600_000)));
    let mut node = testkit::node(folder.path(), "a", &clock)?;
    let photos = folder.path().join("photos");
    fs::create_dir(&photos)?;
    let picture = photos.join("p.png");
    image::RgbImage::new(400, 300).save(&picture)?;
    let path = folder.path().join("rows.csv");
    let row =
        "A-1,C-1,2026-02-03,pistol,Works,M1,9x19,SN 1,,1990,Croatia,Here,Chad,Lac,13.4,14.6,Court,cache,Q,good,,p.png";
    fs::write(&path, format!("{HEADER}\n{row}\n"))?;
    let options = ImportOptions { path, map: None, attachments: Some(photos), dry_run: false };
    let mut import = |program: Program, dry_run: bool| -> Result<ImportReport, Box<dyn std::error::Error>> {
        node.reader = program;
        Ok(import_file(&node, &ImportOptions { dry_run, ..options.clone() }, &Who::Office, &mut |_| {})?)
    };
    let first = import(misbehaving("is killed over pictures"), false)?;
    assert_eq!(first.bad_rows, 0, "{first:?}");
    assert!(first.files == 1 && first.notes.concat().contains("without a copy"), "{first:?}");
    let still = import(misbehaving("is killed over pictures"), false)?;
    assert_eq!((still.added, still.amended, still.files), (0, 0, 0), "{still:?}");
    import(Program::own(), true)?;
    let second = import(Program::own(), false)?;
    assert_eq!((second.added, second.amended, second.notes.len()), (2, 1, 0), "{second:?}");
    let third = import(Program::own(), false)?;
    assert_eq!((third.added, third.amended, third.files), (0, 0, 0), "{third:?}");
    // Another picture in its place is killed over too: the copies of the one before are none of it.
    image::RgbImage::new(200, 600).save(&picture)?;
    let other = import(misbehaving("is killed over pictures"), false)?;
    assert_eq!((other.added, other.amended), (0, 1), "{other:?}");
    let whole = import(Program::own(), false)?;
    assert_eq!((whole.added, whole.amended), (0, 3), "{whole:?}");
    let again = import(Program::own(), false)?;
    assert_eq!((again.added, again.amended, again.files), (0, 0, 0), "{again:?}");
    // Every file that a record speaks of is whole, and no other is left.
    let checked = testkit::ask(&node, &Call::Check { sweep: false })?;
    assert!(checked.as_array().is_some_and(|parts| parts.iter().all(|part| part["ok"] == true)), "{checked}");
    Ok(())
}

/// A picture takes its own child down and no other; what is half a copy says so.
#[test]
fn a_picture_harms_itself_only() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("x.png");
    image::RgbImage::new(400, 300).save(&path)?;
    let sound = fs::read(&path)?;
    let mut pictures = Pictures::new(misbehaving("dies of some"));
    for (bytes, facts, copies) in [
        (sound.as_slice(), "", ""),
        (b"DIE", "takes more memory", ""),
        (b"OWN", "reach for what no reader needs", ""),
        (&sound, "", ""),
        (b"LIE", "", "please report"),
        (b"%PDF-1.7", "", "PDF files get no stripped copy"),
        (&sound, "", ""),
    ] {
        fs::write(&path, bytes)?;
        let mut picture = pictures.begin(&File::open(&path)?)?;
        let seen = match picture.facts() {
            Ok(seen) => seen?,
            Err(fault) => {
                assert!(!facts.is_empty() && fault.to_string().contains(facts), "{bytes:?}: {fault}");
                continue;
            }
        };
        assert_eq!(facts, "");
        let mut taken = Vec::new();
        let why = match picture.copy()? {
            Err(why) => why,
            Ok(mut copy) => {
                assert_eq!(copy.media == Media::Png, copies.is_empty());
                copy.read_to_end(&mut taken)?;
                copy.fault().map(|fault| fault.to_string()).unwrap_or_default()
            }
        };
        assert!(why.contains(copies) && why.is_empty() == copies.is_empty(), "`{why}` for `{copies}`");
        if copies.is_empty() {
            assert_eq!(seen.media, Media::Png);
            let again = image::load_from_memory(&taken)?;
            assert_eq!((again.width(), again.height()), (400, 300));
            let mut small = Vec::new();
            picture.copy()??.read_to_end(&mut small)?;
            assert_eq!(image::load_from_memory(&small)?.width(), 320);
        }
    }
    Ok(())
}

/// How many rows there are is told from what is read, before the end is reached; of a workbook it is not.
#[test]
fn a_long_table_tells_how_long_it_is() -> Outcome {
    const ROWS: u64 = 60_000;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("long.csv");
    let rows: String = (0..ROWS).map(|n| format!("L-{n:06},{}\n", "x".repeat(40))).collect();
    fs::write(&path, format!("number,note\n{rows}"))?;
    let mut table = super::table::open(&harness("as_child"), &path, &Source::default())?;
    let mut extent = table.extent();
    let (mut done, mut told) = (0, Vec::new());
    while let Some(row) = table.next().transpose()? {
        row?;
        done += 1;
        told.extend(extent.rows(done).filter(|_| done % 1_000 == 0));
    }
    assert_eq!(done, ROWS);
    // The child is some way ahead, so they are told a little low; never below what is done.
    assert!(told.len() > 30, "{}", told.len());
    let (first, last) = (told[told.len() / 2], told[told.len() - 1]);
    assert!((ROWS * 7 / 10..=ROWS).contains(&first) && (ROWS * 9 / 10..=ROWS).contains(&last), "{told:?}");
    Ok(())
}
