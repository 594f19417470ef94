//! What becomes of files on their way, and how much a partner may fill.

use super::{
    hostile::{signed, withdrawal},
    *,
};
use crate::share::{
    fetching,
    files::{self, FileRow},
    wishes,
};
use entente_protocol::{
    attachment::{ChunkList, ManifestBuilder},
    feed::RunMessage,
    id::Nonce,
};

impl World {
    /// Ends the receiver, changes its settings, and starts it again.
    fn with_settings(self, settings: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let Self { folder, clock, a, b } = self;
        drop(b);
        let path = folder.path().join("b/entente.toml");
        let kept: String =
            fs::read_to_string(&path)?.lines().filter(|l| !l.contains("-m")).map(|l| format!("{l}\n")).collect();
        fs::write(&path, format!("{settings}\n{kept}"))?;
        let b = testkit::open(folder.path(), "b", Arc::clone(&clock))?;
        Ok(Self { a, b, folder, clock })
    }
    fn told(&self) -> Result<String, Fault> {
        Ok(status::status(&self.b)?.to_string())
    }
}

/// Story: a partner sends until its share of the disk is full, and another time the disk itself is. What it has more waits
/// with it, also files; what it takes back is heard. People are told, and when there is room it comes by itself.
#[test]
fn what_finds_no_room_waits_at_its_sender() -> Outcome {
    let mut world = World::new("2026-01-01", "2036-12-31")?;
    let record = world.item("A-1", HandlingFloor::default())?;
    world.exchange()?;
    let filled = room::filled(&world.b, world.a.keys.org)?;
    assert!(filled > 0, "nothing is counted");
    for (settings, told) in
        [("partner-gib-max = 0", "partner-gib-max"), ("free-mib-min = 1000000000000", "MiB of the disk are free")]
    {
        world = world.with_settings(settings)?;
        let number = format!("A-{told}");
        world.item(&number, HandlingFloor::default())?;
        world.exchange()?;
        assert!(!testkit::received(&world.b)?.contains(&number), "{settings}");
        assert_eq!(room::filled(&world.b, world.a.keys.org)?, filled);
        assert!(world.told()?.contains(told), "{}", world.told()?);
    }
    gate::review(&world.a, &[record], Review::Refuted)?;
    world = world.with_settings("")?;
    world.exchange()?;
    world.exchange()?;
    assert_eq!(testkit::received(&world.b)?.len(), 2);
    assert!(room::filled(&world.b, world.a.keys.org)? > filled);
    Ok(())
}

/// Story: half of a long film had come when it was withdrawn. The wish goes, and so does what came of the film.
#[test]
fn the_part_of_a_file_goes_with_its_wish() -> Outcome {
    let world = World::strangers()?;
    testkit::agree(world.folder.path(), &world.a, &world.b, &testkit::agreement_with_files("2036-12-31"))?;
    world.exchange()?;
    let item = world.item("A-1", HandlingFloor::default())?;
    let (film, _) = testkit::file(&world.a, item, "A-1/01", b"the beginning of a film")?;
    world.exchange()?;
    world.exchange()?;
    let World { folder, clock, a, b } = world;
    let (b, resting) = (Arc::new(b), fetching::Resting::default());
    let wanted = fetching::wanted(&b, a.keys.org, &resting)?.pop().ok_or("a wish")?;
    let mut incoming = fetching::Incoming::new(Arc::clone(&b), wanted);
    for index in 0..17 {
        incoming.chunk(index, &vec![7; limits::CHUNK_BYTES as usize])?;
    }
    drop(incoming);
    assert_eq!(blobs(folder.path(), "b"), 1, "a segment has come");
    gate::review(&a, &[film], Review::Refuted)?;
    testkit::exchange(&a, &b)?;
    assert!(fetching::wanted(&b, a.keys.org, &resting)?.is_empty());
    assert_eq!(blobs(folder.path(), "b"), 0, "what came of the film stays for ever");
    assert!(crate::check::check(&b, false, &mut |_| {}).is_ok());
    drop(clock);
    Ok(())
}

/// Story: a partner released one record and takes it back, again and again, as often as a run has entries, in run after
/// run. Once is enough: what is said again is not written, each run is counted as filled, and a disk that is full is left
/// alone.
#[test]
fn what_is_withdrawn_already_is_not_written_again() -> Outcome {
    let mut world = World::new("2026-01-01", "2036-12-31")?;
    let record = world.item("A-1", HandlingFloor::default())?;
    world.exchange()?;
    let feed = world.feed()?;
    let mut cursor = feeds::out_row(&world.a, &feed, ZERO)?.cursor();
    let mut next = |a: &Node| -> Result<RunMessage, Box<dyn std::error::Error>> {
        let entries = (0..limits::RUN_ENTRIES_MAX).map(|_| withdrawal(record)).collect::<Result<_, _>>()?;
        let message = signed(a, &feed, cursor, entries)?;
        cursor = Run::danger_unverified(&message.run)?.end();
        Ok(message)
    };
    let runs = |b: &Node| -> Result<Vec<receive::RunInRow>, Box<dyn std::error::Error>> {
        let partition = Partition::Agreement(feed.agreement);
        let rows = b.holdings.list(partition, Table::RunIn, feed.id().as_bytes(), None, 100)?;
        rows.iter().map(|(_, row)| Ok(crate::records::stored::decode("run", row)?)).collect()
    };
    assert!(receive::run(&world.b, &feed, &next(&world.a)?)?.receipt.is_some());
    let at = receive::withdrawn(&world.b, feed.agreement, record)?.ok_or("withdrawn")?;
    let mut filled = room::filled(&world.b, world.a.keys.org)?;
    for _ in 0..8 {
        world.clock.advance(1_000);
        assert!(receive::run(&world.b, &feed, &next(&world.a)?)?.receipt.is_some(), "the run itself is in order");
        let now = room::filled(&world.b, world.a.keys.org)?;
        assert!((1..4_096).contains(&(now - filled)), "{} bytes more", now - filled);
        filled = now;
    }
    assert_eq!(receive::withdrawn(&world.b, feed.agreement, record)?, Some(at), "written again");
    let withdrew: usize = runs(&world.b)?.iter().map(|run| run.withdrew.len()).sum();
    assert_eq!(withdrew, 1, "listed again");
    assert!(crate::check::check(&world.b, false, &mut |_| {}).is_ok());

    // The share is full, and then the reserve is touched: a withdrawal is heard. It is not when the share is far exceeded,
    // or a quarter of the reserve is left.
    let free = rustix::fs::statvfs(world.b.home.path())?;
    let free = free.f_bavail * free.f_frsize;
    let head = |b: &Node| Ok::<_, crate::store::StoreError>(b.holdings.head()?.sequence);
    for (share, reserve, heard) in
        [(filled, 0, true), (u64::MAX, 2 * free, true), (u64::MAX, 8 * free, false), (0, 0, true)]
    {
        (world.b.config.partner_bytes_max, world.b.config.free_bytes_min) = (share, reserve);
        let (message, before) = (next(&world.a)?, head(&world.b)?);
        let taken = receive::run(&world.b, &feed, &message)?;
        assert_eq!((taken.waits, head(&world.b)? > before), (!heard, heard), "share {share}, reserve {reserve}");
        if !heard {
            (world.b.config.partner_bytes_max, world.b.config.free_bytes_min) = (u64::MAX, 0);
            receive::run(&world.b, &feed, &message)?;
        }
    }
    let mut txn = world.b.holdings.begin();
    room::fill(&mut txn, feed.sender, 65 << 20)?;
    txn.commit()?;
    (world.b.config.partner_bytes_max, world.b.config.free_bytes_min) = (filled, 0);
    let before = head(&world.b)?;
    assert!(receive::run(&world.b, &feed, &next(&world.a)?)?.waits, "far beyond its share");
    assert_eq!(head(&world.b)?, before);
    Ok(())
}

/// Story: a partner withdraws and releases the record of a film again and again, before anybody has fetched it. There is
/// one wish, of its last release; a wish for another partner's file is in another list.
#[test]
fn a_record_has_one_wish_however_often_it_is_released() -> Outcome {
    let world = World::strangers()?;
    testkit::agree(world.folder.path(), &world.a, &world.b, &testkit::agreement_with_files("2036-12-31"))?;
    world.exchange()?;
    let item = world.item("A-1", HandlingFloor::default())?;
    let (film, _) = testkit::file(&world.a, item, "A-1/01", b"a film")?;
    let (partition, a) = (Partition::Agreement(world.agreement()?), world.a.keys.org);
    let list = |org| world.b.holdings.list(partition, Table::Wanted, &wishes::scope(org), None, 10);
    let mut last = None;
    for _ in 0..4 {
        world.exchange()?;
        world.exchange()?;
        let wished = list(a)?;
        assert_eq!(wished.len(), 1, "wished for more than once");
        assert_ne!(last.replace(wished.clone()), Some(wished), "it asks under a release that was withdrawn");
        gate::review(&world.a, &[film], Review::Refuted)?;
        world.exchange()?;
        gate::review(&world.a, &[film], Review::Verified)?;
    }
    world.exchange()?;
    assert!(list(world.b.keys.org)?.is_empty());
    assert_eq!(status::status(&world.b)?["files_waiting"], 1);
    let resting = fetching::Resting::default();
    assert_eq!(fetching::waiting(&world.b, world.b.keys.org, &resting)?, 0);
    assert_eq!(fetching::waiting(&world.b, a, &resting)?, 1);
    Ok(())
}

/// What a partner states of a file of so many chunks that it need not have: the root is of no list.
fn stated(chunks: u64, sha256: Hash) -> FileRow {
    let (id, root) = (Nonce::from_bytes([9; 16]), Hash::from_bytes([9; 32]));
    FileRow { id, root, size: chunks << 20, chunks: Vec::new(), sha256 }
}

/// Story: a partner releases one long film after another, and breaks off each just before its last megabyte. What is kept
/// of them counts, so it fills no more than its share; what it withdraws is given back.
#[test]
fn films_that_never_come_whole_are_counted() -> Outcome {
    let mut world = World::strangers()?;
    testkit::agree(world.folder.path(), &world.a, &world.b, &testkit::agreement_with_files("2036-12-31"))?;
    world.exchange()?;
    let item = world.item("A-1", HandlingFloor::default())?;
    let mut films = Vec::new();
    for n in 0..4u8 {
        let row = stated(17, Hash::from_bytes([n; 32]));
        films.push(testkit::record_of_file(&world.a, item, &format!("A-1/0{n}"), &row)?);
    }
    world.exchange()?;
    world.exchange()?;
    let (a, share) = (world.a.keys.org, 40 << 20);
    world.b.config.partner_bytes_max = share;
    let World { folder: _folder, a: sender, b, .. } = world;
    let (b, resting) = (Arc::new(b), fetching::Resting::default());
    let before = room::filled(&b, a)?;
    let mut kept = 0;
    for _ in 0..4 {
        for wanted in fetching::wanted(&b, a, &resting)? {
            let mut incoming = fetching::Incoming::new(Arc::clone(&b), wanted);
            // What is here is passed over.
            let begin = incoming.request().ok_or("goes on")?.from_chunk;
            for index in begin..16 {
                incoming.chunk(index, &vec![7; limits::CHUNK_BYTES as usize])?;
                kept += 1u64 << 20;
            }
        }
        assert_eq!(room::filled(&b, a)?, before + kept, "what is kept of a film does not count");
        assert!(before + kept <= share, "it fills {kept} bytes");
    }
    assert_eq!(kept, 32 << 20, "two of them find room");
    gate::review(&sender, &films, Review::Refuted)?;
    testkit::exchange(&sender, &b)?;
    let told = room::filled(&b, a)?;
    assert!(fetching::wanted(&b, a, &resting)?.is_empty());
    assert_eq!(room::filled(&b, a)?, told - kept, "what went is not given back");
    Ok(())
}

/// What a record states of a file, and its chunks.
type Film = (FileRow, Vec<Vec<u8>>);

fn film(id: u8, content: &[u8]) -> Result<Film, Box<dyn std::error::Error>> {
    let mut manifest = ManifestBuilder::new();
    manifest.update(content)?;
    let chunks = content.chunks(limits::CHUNK_BYTES as usize).map(<[u8]>::to_vec).collect();
    Ok((FileRow::new(Nonce::from_bytes([id; 16]), &manifest.finish()), chunks))
}

/// Brings what waits with a sender: `chunks` from the one that is asked for, and then it is whole.
fn bring(b: &Arc<Node>, sender: OrgId, row: &FileRow, chunks: &[Vec<u8>]) -> Result<bool, Box<dyn std::error::Error>> {
    let wanted = fetching::wanted(b, sender, &fetching::Resting::default())?;
    let [wanted] = wanted.as_slice() else { return Err(format!("{} wishes", wanted.len()).into()) };
    let list = ChunkList::verify(wanted.content, row.chunks.clone())?;
    let mut incoming = fetching::Incoming::new(Arc::clone(b), wanted.clone());
    let begin = incoming.request().ok_or("goes on")?.from_chunk;
    for (index, chunk) in (0u32..).zip(chunks).skip(begin as usize) {
        list.verify_chunk(index, chunk)?;
        incoming.chunk(index, chunk)?;
    }
    Ok(incoming.finish(&list)?)
}

fn blobs(folder: &Path, handle: &str) -> usize {
    let fans = fs::read_dir(folder.join(handle).join("store/blobs")).into_iter().flatten().flatten();
    fans.filter(|fan| fan.file_name() != "unfinished")
        .map(|fan| fs::read_dir(fan.path()).into_iter().flatten().count())
        .sum()
}

/// Story: two share one agreement with us. One has heard which film the other will release, and releases a record that
/// states its SHA-256, with the list of chunks of another film. That one is not kept, whole or resumed, people are told,
/// and the true one comes; when it is here, neither it nor a third false one stands in its place.
#[test]
fn a_false_film_keeps_no_true_one_out() -> Outcome {
    let folder = tempfile::tempdir()?;
    let clock = Arc::new(ManualClock::at(NOW));
    let node = |handle| testkit::node(folder.path(), handle, &clock);
    let (a, b, c) = (node("a")?, node("b")?, node("c")?);
    for (one, other) in [(&a, &b), (&a, &c), (&b, &c)] {
        testkit::pair(one, other)?;
    }
    let text = testkit::agreement_with_files("2036-12-31");
    let clauses = text.split("[[clause]]").skip(1).map(|clause| {
        let (own, others) = (format!("[[clause]]{clause}"), clause.replace("from = \"a\"", "from = \"c\""));
        let name = |from: &str, to: &str| others.replace(from, to);
        own + "[[clause]]" + &name("name = \"", "name = \"c-")
    });
    let head = text.split("[[clause]]").next().ok_or("head")?;
    let text = format!("{head}[[party]]\nhandle = \"c\"\nname = \"C\"\n{}", clauses.collect::<String>());
    let path = |name: &str| folder.path().join(name);
    fs::write(path("three.toml"), text)?;
    for (node, from, to) in [(&a, "three.toml", "one"), (&c, "one", "two"), (&b, "two", "three")] {
        ask(node, &Call::AgreementSign { path: path(from), output: path(to) })?;
    }
    ask(&a, &Call::AgreementAdd(path("three")))?;

    // 17 megabytes: a segment and a chunk.
    let (truth, chunks) = film(1, &[7; 17 << 20])?;
    let (other, false_chunks) = film(2, &[8; 17 << 20])?;
    let lie = FileRow { sha256: truth.sha256, ..other };
    let item = |node: &Node, number: &str| -> Result<RecordId, Box<dyn std::error::Error>> {
        testkit::release(folder.path(), node, number)?;
        Ok(crate::records::show::resolve_own(node, number)?)
    };
    let (of_a, of_c) = (item(&a, "A-1")?, item(&c, "C-9")?);
    let lies = [("A-1/01", &lie), ("A-1/02", &lie)].map(|(number, row)| (number, row.clone()));
    let settle = || -> Outcome {
        for _ in 0..3 {
            testkit::exchange(&a, &b)?;
            testkit::exchange(&c, &b)?;
            testkit::exchange(&a, &c)?;
        }
        Ok(())
    };
    settle()?;
    let false_record = testkit::record_of_file(&a, of_a, lies[0].0, &lies[0].1)?;
    settle()?;
    let b = Arc::new(b);
    let settle = || -> Outcome {
        for _ in 0..2 {
            testkit::exchange(&a, &b)?;
            testkit::exchange(&c, &b)?;
        }
        Ok(())
    };
    // It breaks off after a segment, which is kept; the end comes later.
    let wanted = fetching::wanted(&b, a.keys.org, &fetching::Resting::default())?.pop().ok_or("a wish")?;
    let mut incoming = fetching::Incoming::new(Arc::clone(&b), wanted);
    for (index, chunk) in (0u32..16).zip(&false_chunks) {
        incoming.chunk(index, chunk)?;
    }
    drop(incoming);
    let filled = room::filled(&b, a.keys.org)?;
    assert!(!bring(&b, a.keys.org, &lie, &false_chunks)?, "a false film is kept");
    let told = |b: &Node| -> Result<usize, Box<dyn std::error::Error>> {
        Ok(crate::journal::texts(&b.holdings)?.iter().filter(|event| event.contains("file-refused")).count())
    };
    assert_eq!((blobs(folder.path(), "b"), told(&b)?), (0, 1));
    assert_eq!(room::filled(&b, a.keys.org)?, filled - files::SEGMENT_BYTES, "what went is not given back");
    assert!(status::status(&b)?.to_string().contains("not what the record states"));
    // It may release it as often as it likes.
    gate::review(&a, &[false_record], Review::Refuted)?;
    settle()?;
    gate::review(&a, &[false_record], Review::Verified)?;
    settle()?;
    assert!(fetching::wanted(&b, a.keys.org, &fetching::Resting::default())?.is_empty(), "it is wished for again");

    testkit::record_of_file(&c, of_c, "C-9/01", &truth)?;
    settle()?;
    assert!(bring(&b, c.keys.org, &truth, &chunks)?, "the true film does not come");
    testkit::record_of_file(&a, of_a, lies[1].0, &lies[1].1)?;
    settle()?;
    assert!(!bring(&b, a.keys.org, &lie, &false_chunks)?, "another film of the same digest is taken for it");
    let partition = Partition::Agreement(b.rules().agreements.iter().next().ok_or("agreement")?.id);
    let kept = files::find(&b, partition, truth.content())?.ok_or("the true film is gone")?;
    assert_eq!(files::digest(&b, partition, &kept)?, truth.sha256);
    assert_eq!(blobs(folder.path(), "b"), 2);
    let checked = crate::check::check(&b, false, &mut |_| {})?.to_string();
    assert!(!checked.contains("\"ok\":false"), "{checked}");

    // A store of before, that took a false one: a check says so, and the true one takes its place.
    let mut txn = b.holdings.begin();
    let forged = FileRow { id: kept.id, sha256: Hash::from_bytes([5; 32]), ..kept };
    files::keep(&mut txn, partition, &forged)?;
    txn.commit()?;
    let checked = crate::check::check(&b, false, &mut |_| {})?.to_string();
    assert!(checked.contains("another SHA-256"), "{checked}");
    Ok(())
}

/// Story: a card is pulled out while a film is read from it. What was stored of the film is no file, and does not stay.
#[test]
fn what_was_stored_of_a_file_that_breaks_off_goes() -> Outcome {
    struct PulledOut;
    impl std::io::Read for PulledOut {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the card was pulled out"))
        }
    }
    let world = World::strangers()?;
    let before = blobs(world.folder.path(), "a");
    let mut film = std::io::Read::chain(std::io::Cursor::new(vec![7; 17 << 20]), PulledOut);
    assert!(files::put(&world.a, Partition::Own, &mut film).is_err());
    assert_eq!(blobs(world.folder.path(), "a"), before);
    Ok(())
}

/// Story: a film broke off, and what had come of it rotted on the disk. It does not come to an end that way: it is brought
/// once more, from its beginning.
#[test]
fn a_part_that_rotted_is_brought_again() -> Outcome {
    let world = World::strangers()?;
    testkit::agree(world.folder.path(), &world.a, &world.b, &testkit::agreement_with_files("2036-12-31"))?;
    world.exchange()?;
    let item = world.item("A-1", HandlingFloor::default())?;
    let (row, chunks) = film(1, &[7; 17 << 20])?;
    testkit::record_of_file(&world.a, item, "A-1/01", &row)?;
    world.exchange()?;
    world.exchange()?;
    let World { folder, a, b, .. } = world;
    let (b, a) = (Arc::new(b), a.keys.org);
    let filled = room::filled(&b, a)?;
    let wanted = fetching::wanted(&b, a, &fetching::Resting::default())?.pop().ok_or("a wish")?;
    let mut incoming = fetching::Incoming::new(Arc::clone(&b), wanted);
    for (index, chunk) in (0u32..16).zip(&chunks) {
        incoming.chunk(index, chunk)?;
    }
    drop(incoming);
    let fans = fs::read_dir(folder.path().join("b/store/blobs"))?.flatten();
    let mut blobs = fans.filter_map(|fan| fs::read_dir(fan.path()).ok()?.flatten().next());
    let blob = blobs.next().ok_or("a segment")?.path();
    let mut bytes = fs::read(&blob)?;
    *bytes.last_mut().ok_or("empty")? ^= 1;
    fs::write(&blob, bytes)?;
    assert!(bring(&b, a, &row, &chunks).is_err(), "what rotted is kept");
    assert_eq!((b.holdings.failed(), room::filled(&b, a)?), (None, filled));
    assert!(bring(&b, a, &row, &chunks)?);
    assert_eq!(room::filled(&b, a)?, filled + row.size);
    Ok(())
}
