//! Tiles against the plain trees of `merkle.rs`, which are slow and obvious, and at ten million leaves.

use super::tiles::*;
use crate::{id::Hash, limits, merkle};
use proptest::prelude::*;
use std::{collections::BTreeMap, convert::Infallible, time::Duration};

/// Tiles in memory. It polices: a full tile is never written again, and nothing is read that was not written.
#[derive(Default)]
struct Kept(BTreeMap<(u8, u64), Vec<Hash>>);

impl Kept {
    fn read(&self) -> impl FnMut(Tile) -> Result<Vec<Hash>, Infallible> + '_ {
        |tile| Ok(self.0.get(&(tile.level(), tile.index())).cloned().unwrap_or_default())
    }
    fn grow(&mut self, size: u64, leaves: &[Hash]) {
        for (tile, hashes) in append(size, leaves, self.read()).unwrap() {
            assert_eq!(hashes.len(), usize::from(tile.width()));
            let before = self.0.insert((tile.level(), tile.index()), hashes.clone()).unwrap_or_default();
            assert!(before.len() < hashes.len() && hashes.starts_with(&before), "{tile} only grows");
        }
    }
}

fn leaves(range: std::ops::Range<u64>) -> Vec<Hash> {
    range.map(|n| merkle::leaf_hash(&n.to_be_bytes())).collect()
}

/// Everything that a log of `size` can prove of these places, against the plain tree.
fn check(kept: &Kept, all: &[Hash], size: u64, index: u64, old: u64) {
    let prefix = &all[..size as usize];
    let mut log = Log::new(all.len() as u64, kept.read()).unwrap();
    let root = log.root(size).unwrap();
    assert_eq!(root, merkle::root(prefix), "{size}");
    if index < size {
        let path = log.prove_inclusion(index, size).unwrap();
        assert_eq!(path, merkle::prove_inclusion(prefix, index as usize).unwrap(), "{index} of {size}");
        assert_eq!(merkle::verify_inclusion(log.leaf(index).unwrap(), index, size, root, &path), Ok(()));
    } else {
        assert_eq!(log.prove_inclusion(index, size), Err(TileError::Range));
    }
    if (1..=size).contains(&old) {
        let path = log.prove_consistency(old, size).unwrap();
        assert_eq!(path, merkle::prove_consistency(prefix, old as usize).unwrap(), "{old} to {size}");
        assert_eq!(merkle::verify_consistency(old, log.root(old).unwrap(), size, root, &path), Ok(()));
    } else {
        assert_eq!(log.prove_consistency(old, size), Err(TileError::Range));
    }
}

#[test]
fn tiles_prove_what_the_plain_tree_proves() {
    let all = leaves(0..1_100);
    let mut kept = Kept::default();
    let mut size = 0;
    // 1, 2, 3, ... at once: every boundary of a tile is crossed and met.
    for step in 1.. {
        let next = (size + step).min(all.len() as u64);
        kept.grow(size, &all[size as usize..next as usize]);
        size = next;
        if size == all.len() as u64 {
            break;
        }
    }
    for size in [0, 1, 2, 255, 256, 257, 511, 512, 513, 767, 768, 1_023, 1_024, 1_099, 1_100] {
        for at in [0, 1, 127, 128, 254, 255, 256, 257, 300, 511, 512, 767, 768, 1_023, 1_024, 1_098, 1_099, 1_100] {
            check(&kept, &all, size, at, at);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_growth_gives_the_plain_tree(steps in prop::collection::vec(0u64..700, 1..8), at in any::<u64>(), old in any::<u64>()) {
        let total: u64 = steps.iter().sum();
        let all = leaves(0..total);
        let (mut kept, mut size) = (Kept::default(), 0);
        for step in steps {
            kept.grow(size, &all[size as usize..(size + step) as usize]);
            size += step;
        }
        check(&kept, &all, total, at % (total + 1), old % (total + 1));
        check(&kept, &all, old % (total + 1), at % (total + 1), at % (total + 1));
    }
}

#[test]
fn a_tile_that_is_not_there_is_an_error_and_no_proof() {
    let all = leaves(0..600);
    let mut kept = Kept::default();
    kept.grow(0, &all);
    let lost = kept.0.remove(&(0, 1)).unwrap();
    let mut log = Log::new(600, kept.read()).unwrap();
    assert!(
        matches!(log.prove_inclusion(300, 600), Err(TileError::Short { tile }) if tile.to_string() == "tile/0/001")
    );
    assert!(log.root(600).is_ok(), "what does not need it goes on");
    drop(log);
    kept.0.insert((0, 1), lost[..255].to_vec());
    assert!(matches!(Log::new(600, kept.read()).unwrap().leaf(511), Err(TileError::Short { .. })));
    assert_eq!(append(600, &[], |_| Err("disk")), Ok(vec![]));
    assert_eq!(append(600, &all[..1], |_| Err("disk")), Err(TileError::Read("disk")));
    let many = vec![all[0]; limits::LOG_APPEND_MAX + 1];
    assert_eq!(append(0, &many, |_| Err("unused")), Err(TileError::Range));
    assert_eq!(append(limits::LOG_SIZE_MAX, &all[..1], |_| Err("unused")), Err(TileError::Range));
    assert!(Log::new(limits::LOG_SIZE_MAX + 1, |_| Err::<Vec<Hash>, _>("unused")).is_err());
}

#[test]
fn paths_are_those_of_the_specification() {
    // C2SP tlog-tiles: index 1234067, and a tree of 70,000 leaves.
    let path = |level, index, size| Tile::of(level, index, size).map(|tile| tile.to_string());
    assert_eq!(path(0, 1_234_067, limits::LOG_SIZE_MAX).as_deref(), Some("tile/0/x001/x234/067"));
    assert_eq!(path(0, 272, 70_000).as_deref(), Some("tile/0/272"));
    assert_eq!(path(0, 273, 70_000).as_deref(), Some("tile/0/273.p/112"));
    assert_eq!(path(0, 274, 70_000), None);
    assert_eq!(path(1, 0, 70_000).as_deref(), Some("tile/1/000"));
    assert_eq!(path(1, 1, 70_000).as_deref(), Some("tile/1/001.p/17"));
    assert_eq!(path(2, 0, 70_000).as_deref(), Some("tile/2/000.p/1"));
    assert_eq!(path(1, 0, 256).as_deref(), Some("tile/1/000.p/1"));
    assert_eq!(path(0, 1_000, 1_000_000).as_deref(), Some("tile/0/x001/000"));
    assert_eq!(path(6, 0, limits::LOG_SIZE_MAX), None);
    assert_eq!(path(0, u64::MAX, limits::LOG_SIZE_MAX), None);
}

/// One log of ten million leaves; prints what a proof costs. Its leaves come again after 65,536, so that nobody has to
/// hash or hold them all; a proof is no shorter for it.
#[test]
fn one_of_ten_million_is_proved_in_a_moment() {
    const SIZE: u64 = 10_000_000;
    let block = leaves(0..1 << 16);
    let level1: Vec<Hash> = block.chunks(256).map(merkle::root).collect();
    let level2 = vec![merkle::root(&level1); 256];
    let read = |tile: Tile| -> Result<Vec<Hash>, Infallible> {
        let at = usize::try_from(tile.index() % 256).unwrap() * 256;
        Ok(match tile.level() {
            0 => block[at..at + 256].to_vec(),
            1 => level1.clone(),
            _ => level2.clone(),
        })
    };
    let root = Log::new(SIZE, read).unwrap().root(SIZE).unwrap();
    let rounds = 200;
    let (mut made, mut verified, mut longest) = (Duration::ZERO, Duration::ZERO, 0);
    for round in 0..rounds {
        let index = round * 49_999 % SIZE;
        let begun = clock();
        let path = Log::new(SIZE, read).unwrap().prove_inclusion(index, SIZE).unwrap();
        made += begun.elapsed();
        let begun = clock();
        let holds = merkle::verify_inclusion(block[(index % (1 << 16)) as usize], index, SIZE, root, &path);
        verified += begun.elapsed();
        assert_eq!(holds, Ok(()));
        longest = longest.max(path.len());
    }
    let each = |total: Duration| total / rounds as u32;
    println!("one of {SIZE}: {:?} to make, {:?} to verify, {longest} hashes", each(made), each(verified));
    assert_eq!(longest, 24);
}

#[expect(clippy::disallowed_methods, reason = "a measurement in a test; nothing is decided by it")]
fn clock() -> std::time::Instant {
    std::time::Instant::now()
}
