//! The suite that every ledger engine passes: one meaning of success for all of them.
//!
//! A [`Subject`] is an engine with a way to let its next sync fail and, where it has a disk, a way to
//! open it again. Only tests use this.

use super::{Append, Expect, Ledger, Position, StoreError, SyncFile, chain, fjall::FjallLedger, memory::MemoryLedger};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

type Outcome = Result<(), Box<dyn std::error::Error>>;
type Open = Box<dyn Fn() -> Result<Arc<dyn Ledger>, StoreError>>;

struct Subject {
    ledger: Option<Arc<dyn Ledger>>,
    break_next_sync: Box<dyn Fn()>,
    reopen: Option<Open>,
    _folder: Option<tempfile::TempDir>,
}

impl Subject {
    fn ledger(&self) -> &Arc<dyn Ledger> {
        self.ledger.as_ref().unwrap()
    }
    /// Closes and opens again; false where there is nothing to open.
    fn reopen(&mut self) -> Result<bool, StoreError> {
        let Some(reopen) = &self.reopen else { return Ok(false) };
        self.ledger = None;
        self.ledger = Some(reopen()?);
        Ok(true)
    }
}

fn memory() -> Subject {
    let ledger = Arc::new(MemoryLedger::new(|key| key.starts_with(b"fixed")));
    let breaks = Arc::clone(&ledger);
    Subject {
        ledger: Some(ledger),
        break_next_sync: Box::new(move || breaks.break_next_sync()),
        reopen: None,
        _folder: None,
    }
}

fn fjall() -> Subject {
    on_disk(FjallLedger::create, |ledger, head, sync| Ok(Arc::new(FjallLedger::open_with(ledger, head, sync)?)))
}

#[cfg(feature = "sled")]
fn sled() -> Subject {
    use super::sled::SledLedger;
    on_disk(SledLedger::create, |ledger, head, sync| Ok(Arc::new(SledLedger::open_with(ledger, head, sync)?)))
}

type Create = fn(&Path, &Path) -> Result<(), StoreError>;
type OpenWith = fn(&Path, &Path, SyncFile) -> Result<Arc<dyn Ledger>, StoreError>;

fn on_disk(create: Create, open_with: OpenWith) -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let (ledger, head) = (folder.path().join("ledger"), folder.path().join("head"));
    create(&ledger, &head).unwrap();
    let broken = Arc::new(AtomicBool::new(false));
    let breaks = Arc::clone(&broken);
    let sync: SyncFile = Arc::new(move |file: &File| match broken.swap(false, Ordering::SeqCst) {
        true => Err(std::io::Error::other("broken for a test")),
        false => file.sync_data(),
    });
    let open: Open = Box::new(move || open_with(&ledger, &head, Arc::clone(&sync)));
    Subject {
        ledger: Some(open().unwrap()),
        break_next_sync: Box::new(move || breaks.store(true, Ordering::SeqCst)),
        reopen: Some(open),
        _folder: Some(folder),
    }
}

fn put(key: &str, value: &str) -> Append {
    Append { puts: vec![(key.into(), value.into())], ..Append::default() }
}

fn verify_sequence(ledger: &dyn Ledger) -> Result<u64, StoreError> {
    let mut position = Position::default();
    for row in ledger.sequence(0, 10_000)? {
        position = chain::follows(position, &row)?;
    }
    assert_eq!(position, ledger.head()?);
    Ok(position.sequence)
}

fn all_or_nothing(mut subject: Subject) -> Outcome {
    let ledger = subject.ledger();
    ledger.append(put("a", "1"))?;
    let refused = [
        ("a", Expect::Absent),
        ("b", Expect::Present),
        ("a", Expect::Equals(b"2".to_vec())),
        ("b", Expect::Equals(Vec::new())),
    ];
    for (key, expect) in refused {
        let batch = Append {
            puts: vec![(b"c".to_vec(), b"3".to_vec())],
            deletes: vec![b"a".to_vec()],
            expect: vec![(b"a".to_vec(), Expect::Present), (key.into(), expect)],
        };
        assert!(matches!(ledger.append(batch), Err(StoreError::Conflict { .. })));
    }
    assert_eq!((ledger.get(b"a")?, ledger.get(b"c")?), (Some(b"1".to_vec()), None));
    assert_eq!(ledger.head()?.sequence, 1);
    let batch = Append {
        puts: vec![(b"c".to_vec(), b"3".to_vec())],
        deletes: vec![b"a".to_vec(), b"never there".to_vec()],
        expect: vec![(b"a".to_vec(), Expect::Equals(b"1".to_vec())), (b"b".to_vec(), Expect::Absent)],
    };
    let position = ledger.append(batch)?;
    assert_eq!(position.sequence, 2);
    let long = Append { puts: vec![(vec![1; 257], Vec::new())], ..Append::default() };
    assert!(matches!(ledger.append(long), Err(StoreError::TooLarge { .. })));
    assert!(matches!(ledger.append(put("", "")), Err(StoreError::TooLarge { .. })));
    if subject.reopen()? {
        let ledger = subject.ledger();
        assert_eq!((ledger.get(b"a")?, ledger.get(b"c")?), (None, Some(b"3".to_vec())));
        assert_eq!(ledger.head()?, position);
        assert_eq!(ledger.append(put("d", "4"))?.sequence, 3);
        verify_sequence(&**ledger)?;
    }
    Ok(())
}

fn scans_are_ordered_and_bounded(subject: Subject) -> Outcome {
    let ledger = subject.ledger();
    for key in ["b2", "a", "b", "b1", "c", "b\u{7f}"] {
        ledger.append(put(key, key))?;
    }
    let keys = |prefix: &str, after: Option<&str>, limit| -> Result<Vec<String>, StoreError> {
        let rows = ledger.scan(prefix.as_bytes(), after.map(str::as_bytes), limit)?;
        Ok(rows.into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect())
    };
    assert_eq!(keys("b", None, 10)?, ["b", "b1", "b2", "b\u{7f}"]);
    assert_eq!(keys("b", Some("b1"), 1)?, ["b2"]);
    assert_eq!(keys("b", Some("a"), 2)?, ["b", "b1"]);
    assert_eq!(keys("b", Some("c"), 2)?, [""; 0]);
    assert_eq!(keys("", None, 10)?.len(), 6);
    assert_eq!(keys("b", None, 0)?, [""; 0]);
    assert_eq!(ledger.last(b"b")?.map(|(key, _)| key), Some("b\u{7f}".into()));
    assert_eq!(ledger.last(b"x")?, None);
    Ok(())
}

fn threads_share_one_order(mut subject: Subject) -> Outcome {
    let ledger = subject.ledger();
    let wins = AtomicUsize::new(0);
    let mut numbers: Vec<u64> = thread::scope(|scope| {
        let threads = (0..8).map(|thread| {
            let wins = &wins;
            scope.spawn(move || {
                let race = Append { expect: vec![(b"race".to_vec(), Expect::Absent)], ..put("race", "won") };
                let won = ledger.append(race).is_ok();
                wins.fetch_add(usize::from(won), Ordering::SeqCst);
                let append = |n| ledger.append(put(&format!("{thread} {n}"), "value")).unwrap().sequence;
                (0..25).map(append).collect::<Vec<_>>()
            })
        });
        threads.collect::<Vec<_>>().into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(wins.into_inner(), 1);
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 200);
    assert_eq!(verify_sequence(&**ledger)?, 201);
    if subject.reopen()? {
        assert_eq!(verify_sequence(&**subject.ledger())?, 201);
        assert_eq!(subject.ledger().scan(b"", None, 1_000)?.len(), 201);
    }
    Ok(())
}

fn refuses_after_a_failure(mut subject: Subject) -> Outcome {
    subject.ledger().append(put("before", "1"))?;
    (subject.break_next_sync)();
    let ledger = subject.ledger();
    assert!(matches!(ledger.append(put("during", "2")), Err(StoreError::Engine { .. })));
    assert!(matches!(ledger.append(put("after", "3")), Err(StoreError::Poisoned)));
    assert!(matches!(ledger.get(b"before"), Err(StoreError::Poisoned)));
    assert!(matches!(ledger.scan(b"", None, 1), Err(StoreError::Poisoned)));
    assert!(matches!(ledger.head(), Err(StoreError::Poisoned)));
    if subject.reopen()? {
        let ledger = subject.ledger();
        assert_eq!(ledger.get(b"before")?, Some(b"1".to_vec()));
        ledger.append(put("after", "3"))?;
        verify_sequence(&**ledger)?;
    }
    Ok(())
}

/// Whoever reads while others append sees an append whole or not at all: a count is there with what it counts.
fn no_reader_sees_half_an_append(subject: &Subject) -> Outcome {
    const ROWS: u32 = 300;
    let ledger = subject.ledger();
    let done = AtomicBool::new(false);
    let last = |n: u32| format!("item {n} {}", ROWS - 1).into_bytes();
    let (looked, half) = thread::scope(|scope| -> Result<(u64, u64), StoreError> {
        let reader = scope.spawn(|| -> Result<(u64, u64), StoreError> {
            let (mut looked, mut half) = (0, 0);
            while !done.load(Ordering::SeqCst) {
                let Some(count) = ledger.get(b"count")? else { continue };
                let count = <[u8; 4]>::try_from(count).map_or(0, u32::from_be_bytes);
                half += u64::from(ledger.get(&last(count))?.is_none());
                looked += 1;
            }
            Ok((looked, half))
        });
        let written = (1..=40u32).try_for_each(|n| {
            let mut puts = vec![(b"count".to_vec(), n.to_be_bytes().to_vec())];
            puts.extend((0..ROWS).map(|row| (format!("item {n} {row}").into_bytes(), b"1".to_vec())));
            ledger.submit(Append { puts, ..Append::default() }).map(drop)
        });
        done.store(true, Ordering::SeqCst);
        written?;
        // A reader that panicked has seen nothing.
        reader.join().unwrap_or(Ok((0, 0)))
    })?;
    assert!(looked > 0, "nobody read while it was written");
    assert_eq!(half, 0, "an append was seen in part, of {looked} looks");
    Ok(())
}

/// Two that write into one ledger would harm it: who comes second is told so, not that something is damaged.
fn one_at_a_time(subject: &Subject) -> Outcome {
    if let Some(open) = &subject.reopen {
        assert!(matches!(open(), Err(StoreError::InUse(_))));
    }
    Ok(())
}

/// What is read from a snapshot is what stood there when it was taken, whatever is appended meanwhile.
fn snapshots_stand_still(subject: &Subject) -> Outcome {
    let ledger = subject.ledger();
    for n in 0..50 {
        ledger.append(put(&format!("row {n:02}"), "before"))?;
    }
    let (taken, begun) = (std::sync::Barrier::new(2), std::sync::mpsc::channel());
    let (tell, told) = begun;
    thread::scope(|scope| -> Outcome {
        let taken = &taken;
        // An engine may let it wait until the snapshot is gone.
        let writer = scope.spawn(move || {
            taken.wait();
            let _ = tell.send(());
            ledger.append(Append { deletes: vec![b"row 07".to_vec()], ..put("row 03", "after") })
        });
        {
            let snapshot = ledger.snapshot()?;
            taken.wait();
            told.recv()?;
            thread::sleep(std::time::Duration::from_millis(50));
            assert_eq!(snapshot.position().sequence, 50);
            let (mut rows, mut after): (Vec<super::Row>, Option<Vec<u8>>) = (Vec::new(), None);
            loop {
                let page = snapshot.rows(after.as_deref(), 7)?;
                let Some((last, _)) = page.last() else { break };
                after = Some(last.clone());
                rows.extend(page);
            }
            assert_eq!(rows.len(), 50);
            assert!(rows.iter().is_sorted() && rows.iter().all(|(_, value)| value == b"before"));
        }
        writer.join().map_err(|_| "panic")??;
        Ok(())
    })?;
    assert_eq!((ledger.get(b"row 03")?, ledger.get(b"row 07")?), (Some(b"after".to_vec()), None));
    assert_eq!(ledger.snapshot()?.position(), ledger.head()?);
    Ok(())
}

/// Runs all of it.
fn conforms(make: fn() -> Subject) -> Outcome {
    one_at_a_time(&make())?;
    no_reader_sees_half_an_append(&make())?;
    snapshots_stand_still(&make())?;
    all_or_nothing(make())?;
    scans_are_ordered_and_bounded(make())?;
    threads_share_one_order(make())?;
    refuses_after_a_failure(make())
}

#[test]
fn memory_conforms() -> Outcome {
    conforms(memory)
}

#[test]
fn fjall_conforms() -> Outcome {
    conforms(fjall)
}

#[cfg(feature = "sled")]
#[test]
fn sled_conforms() -> Outcome {
    conforms(sled)
}

/// sled takes a truncated file for an empty store and opens without a word.
#[cfg(feature = "sled")]
#[test]
fn sled_with_a_truncated_file_is_not_taken_for_an_empty_one() -> Outcome {
    use super::sled::SledLedger;
    let folder = tempfile::tempdir()?;
    let (ledger, head) = (folder.path().join("ledger"), folder.path().join("head"));
    SledLedger::create(&ledger, &head)?;
    let opened = SledLedger::open(&ledger, &head)?;
    for n in 0..20 {
        opened.append(put(&format!("row {n}"), &"v".repeat(200)))?;
    }
    drop(opened);
    File::options().write(true).open(ledger.join("db"))?.set_len(0)?;
    assert!(SledLedger::open(&ledger, &head).is_err());
    fs::remove_file(ledger.join("db"))?;
    assert!(matches!(SledLedger::open(&ledger, &head), Err(StoreError::Missing(_))));
    Ok(())
}

#[test]
fn memory_complains_when_what_never_changes_does() -> Outcome {
    let subject = memory();
    subject.ledger().append(put("fixed", "1"))?;
    assert!(matches!(subject.ledger().append(put("fixed", "2")), Err(StoreError::Immutable { .. })));
    let twice = Append { deletes: vec![b"a".to_vec()], ..put("a", "1") };
    assert!(matches!(subject.ledger().append(twice), Err(StoreError::Immutable { .. })));
    Ok(())
}

fn journals(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|ending| ending == "jnl")).collect()
}

/// Story: a power cut kept the end of an append that nobody had acknowledged, and lost a sector in its middle. fjall
/// found a wrong checksum and did not open, though nothing that counted was lost. Now the torn end is cut off.
#[test]
fn fjall_opens_after_a_power_cut_tore_the_last_append() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (ledger, head) = (folder.path().join("ledger"), folder.path().join("head"));
    FjallLedger::create(&ledger, &head)?;
    let opened = FjallLedger::open(&ledger, &head)?;
    opened.append(put("kept", &"v".repeat(200)))?;
    let known = fs::read(&head)?;
    opened.append(put("torn", &"w".repeat(4_000)))?;
    drop(opened);
    // The head file as it was before: the second append was not acknowledged.
    fs::write(&head, known)?;
    let journal = journals(&ledger).pop().unwrap();
    let bytes = fs::read(&journal)?;
    let at = bytes.windows(64).position(|window| window == [b'w'; 64]).unwrap() as u64;
    File::options().write(true).open(&journal)?.write_all_at(&[0; 512], at + 512)?;
    let opened = FjallLedger::open(&ledger, &head)?;
    assert_eq!((opened.head()?.sequence, opened.get(b"torn")?), (1, None));
    assert!(opened.get(b"kept")?.is_some());
    assert_eq!(opened.append(put("next", "1"))?.sequence, 2);
    Ok(())
}

/// Story: one byte of an acknowledged append was changed, and fjall, which took it for a torn end, cut off everything
/// behind it while it was being opened. Now the store refuses, and the journal is as it was, to be saved from.
#[test]
fn fjall_with_a_changed_byte_refuses_and_cuts_nothing_off() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (ledger, head) = (folder.path().join("ledger"), folder.path().join("head"));
    FjallLedger::create(&ledger, &head)?;
    let opened = FjallLedger::open(&ledger, &head)?;
    for n in 0..20 {
        opened.append(put(&format!("row {n:02}"), &"v".repeat(200)))?;
    }
    drop(opened);
    let journal = journals(&ledger).pop().unwrap();
    let mut bytes = fs::read(&journal)?;
    let key = bytes.windows(6).position(|window| window == b"row 05").unwrap();
    // The length of the key: what follows cannot be read any more.
    bytes[key - 9] ^= 0x40;
    fs::write(&journal, &bytes)?;
    for _ in 0..2 {
        let refused = FjallLedger::open(&ledger, &head).err();
        assert!(matches!(refused, Some(StoreError::LostTail { found: 5, known: 20 })), "{refused:?}");
        assert!(fs::read(&journal)? == bytes, "the journal was changed");
    }
    bytes[key - 9] ^= 0x40;
    fs::write(&journal, &bytes)?;
    assert_eq!(FjallLedger::open(&ledger, &head)?.head()?.sequence, 20);
    Ok(())
}

/// fjall takes a truncated journal for a shorter one and opens without a word.
#[test]
fn fjall_with_a_truncated_journal_is_not_taken_for_a_shorter_one() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (ledger, head) = (folder.path().join("ledger"), folder.path().join("head"));
    FjallLedger::create(&ledger, &head)?;
    assert!(matches!(FjallLedger::create(&ledger, &head), Err(StoreError::Exists(_))));
    let opened = FjallLedger::open(&ledger, &head)?;
    for n in 0..20 {
        opened.append(put(&format!("row {n}"), &"v".repeat(200)))?;
    }
    drop(opened);
    let journal = journals(&ledger).pop().unwrap();
    let bytes = fs::read(&journal)?;
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    File::options().write(true).open(&journal)?.set_len(end as u64 - 700)?;
    let reopened = FjallLedger::open(&ledger, &head).err();
    assert!(matches!(reopened, Some(StoreError::LostTail { known: 20, .. })), "{reopened:?}");
    fs::remove_file(&journal)?;
    assert!(matches!(FjallLedger::open(&ledger, &head), Err(StoreError::Missing(_))));
    Ok(())
}

/// While one sync runs, others submit; the next sync makes all of them durable together.
#[test]
fn fjall_appends_share_a_sync() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (path, head) = (folder.path().join("ledger"), folder.path().join("head"));
    FjallLedger::create(&path, &head)?;
    /// Syncs so far, and whether they are held.
    type Gate = (Mutex<(usize, bool)>, Condvar);
    let gate: Arc<Gate> = Arc::new((Mutex::new((0, false)), Condvar::new()));
    let held = Arc::clone(&gate);
    let sync: SyncFile = Arc::new(move |file: &File| {
        let (state, changed) = &*held;
        let mut state = state.lock().unwrap();
        state.0 += 1;
        changed.notify_all();
        while state.1 {
            state = changed.wait(state).unwrap();
        }
        file.sync_data()
    });
    let ledger = FjallLedger::open_with(&path, &head, sync)?;
    assert_eq!(journals(&path).len(), 1, "the journal is where the leader looks for it");
    let (state, changed) = &*gate;
    *state.lock().unwrap() = (0, true);
    thread::scope(|scope| -> Outcome {
        let first = scope.spawn(|| ledger.append(put("first", "1")));
        let mut count = state.lock().unwrap();
        while count.0 == 0 {
            count = changed.wait(count).unwrap();
        }
        drop(count);
        let submitted = (0..8).map(|n| ledger.submit(put(&format!("next {n}"), "2"))).collect::<Result<Vec<_>, _>>()?;
        state.lock().unwrap().1 = false;
        changed.notify_all();
        first.join().unwrap()?;
        let ledger = &ledger;
        let waits = submitted.into_iter().map(|position| scope.spawn(move || ledger.wait(position)));
        for wait in waits.collect::<Vec<_>>() {
            wait.join().unwrap()?;
        }
        Ok(())
    })?;
    assert_eq!(state.lock().unwrap().0, 2);
    Ok(())
}
