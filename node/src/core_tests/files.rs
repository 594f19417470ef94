//! What becomes of files on their way, and how much a partner may fill.

use super::*;
use crate::{room, share::fetching};

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
    let blobs = || -> usize {
        let fans = fs::read_dir(folder.path().join("b/store/blobs")).into_iter().flatten().flatten();
        fans.filter(|fan| fan.file_name() != "unfinished")
            .map(|fan| fs::read_dir(fan.path()).into_iter().flatten().count())
            .sum()
    };
    assert_eq!(blobs(), 1, "a segment has come");
    gate::review(&a, &[film], Review::Refuted)?;
    testkit::exchange(&a, &b)?;
    assert!(fetching::wanted(&b, a.keys.org, &resting)?.is_empty());
    assert_eq!(blobs(), 0, "what came of the film stays for ever");
    assert!(crate::check::check(&b, false, &mut |_| {}).is_ok());
    drop(clock);
    Ok(())
}
