//! Kill -9: the writer is killed at any moment, and what it had acknowledged is there when the store is opened again.
//!
//! This tests that appends are whole and that nothing is acknowledged early. The page cache survives a killed process,
//! so it says nothing about the disk: `power` does.

use super::{Outcome, Rng, Site, replay, verify, work::READY};
use crate::said_by;
use entente_node::store::open::Backend;
use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const LANES: usize = 3;
/// Rounds on one store: it is opened with a longer past each time, and then begun anew.
const ROUNDS_OF_ONE: u64 = 25;
/// The writer is killed after at most so long.
const LIFE_MS: u64 = 200;

/// Kills a writer so many times; says what was seen.
///
/// # Errors
/// With the round's seed, if anything acknowledged is not there or anything else is half there.
pub fn rounds(worker: &Path, backend: Backend, rounds: u64, seed: u64) -> Outcome<String> {
    let begun = Instant::now();
    let (mut items, mut folder) = (0u64, tempfile::tempdir()?);
    let mut acknowledged = vec![None; LANES];
    for round in 0..rounds {
        if round % ROUNDS_OF_ONE == 0 {
            folder = tempfile::tempdir()?;
            Site::at(folder.path(), backend).create()?;
            acknowledged = vec![None; LANES];
        }
        let mut rng = Rng(seed.wrapping_add(round));
        let before: u64 = acknowledged.iter().flatten().sum();
        let killed = one(worker, &Site::at(folder.path(), backend), folder.path(), &mut rng, &mut acknowledged);
        killed.map_err(|e| {
            // The rounds before it made the store.
            let (first, rounds) = (seed + round - round % ROUNDS_OF_ONE, round % ROUNDS_OF_ONE + 1);
            let again = replay("nothing_acknowledged_is_lost_by_kill", ("ENTENTE_KILL_ROUNDS", rounds), first);
            format!("kill round with seed {}: {e}{again}", seed + round)
        })?;
        items += acknowledged.iter().flatten().sum::<u64>() - before;
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok(format!(
        "kill, {}: {rounds} rounds from seed {seed}, {items} items acknowledged, 0 lost, {seconds:.1} s",
        backend.name()
    ))
}

fn one(worker: &Path, site: &Site, folder: &Path, rng: &mut Rng, acknowledged: &mut [Option<u64>]) -> Outcome {
    let mut child = Command::new(worker)
        .args(["write".as_ref(), folder.as_os_str(), site.backend.name().as_ref(), "3".as_ref(), "0".as_ref()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut said = BufReader::new(child.stdout.take().ok_or("no pipe")?);
    let mut first = String::new();
    // Now and then it is killed while it still opens the store.
    if !rng.one_in(8) {
        said.read_line(&mut first)?;
    }
    thread::sleep(Duration::from_micros(rng.below(LIFE_MS * 1_000)));
    child.kill()?;
    // The acknowledgements are here, in the pipe, and not with the one who was killed.
    let output = said_by(child)?;
    if output.status.code().is_some() {
        return Err(format!("the writer ended by itself: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    acknowledge(&mut said, acknowledged)?;
    let holdings = site.open()?;
    verify(&holdings, acknowledged)?;
    // What was complete without being acknowledged counts from now on.
    for (lane, last) in (0u64..).zip(acknowledged.iter_mut()) {
        *last = super::last_of(&holdings, lane)?;
    }
    Ok(())
}

/// Reads acknowledgements: lines `lane number`, rising by one in each lane.
///
/// # Errors
/// Where a number is out of turn.
pub fn acknowledge(said: &mut dyn Read, acknowledged: &mut [Option<u64>]) -> Outcome {
    let mut text = String::new();
    said.read_to_string(&mut text)?;
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n') && !line.starts_with(READY)) {
        let (lane, n) = line.trim_end().split_once(' ').ok_or("an acknowledgement without a number")?;
        let n: u64 = n.parse()?;
        let last = acknowledged.get_mut(lane.parse::<usize>()?).ok_or("no such lane")?;
        if n != last.map_or(0, |last| last + 1) {
            return Err(format!("lane {lane}: {n} was acknowledged after {last:?}").into());
        }
        *last = Some(n);
    }
    Ok(())
}
