//! What `store-worker` does: it writes items to a store until it is told enough or is killed, and says what counted.
//!
//! The harnesses start it; what it prints is the acknowledgement, one line `lane number` in one write for each item.

use super::{OWN, Outcome, Site, blob, content, key, last_of, said};
use entente_node::store::{holdings::Holdings, layout::Table, open::Backend, txn::Entry};
use entente_protocol::{custody::event::EventKind, time::UnixMillis};
use std::{
    io::Write,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// Said before the first item, once the store is open.
pub const READY: &str = "ready";

/// Carries out what the arguments say: `open FOLDER ENGINE`, `write FOLDER ENGINE LANES COUNT` (0: until killed), or
/// `measure FOLDER ENGINE LANES COUNT`.
///
/// # Errors
/// With what went wrong; nothing was acknowledged then that did not count.
pub fn main(args: &[String]) -> Outcome {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let site = |folder: &str, engine: &str| {
        Ok::<_, String>(Site::at(Path::new(folder), Backend::named(engine).ok_or("no such engine")?))
    };
    match words.as_slice() {
        ["open", folder, engine] => drop(site(folder, engine)?.open()?),
        ["write", folder, engine, lanes, count] => {
            let holdings = Arc::new(site(folder, engine)?.open()?);
            say(&format!("{READY}\n"))?;
            write(&holdings, lanes.parse()?, count.parse()?, true)?;
        }
        // Acknowledges what is not durable yet: shows that the harness of power cuts can fail.
        ["lie", folder, engine, lanes, count] => {
            let holdings = Arc::new(site(folder, engine)?.open()?);
            write(&holdings, lanes.parse()?, count.parse()?, false)?;
        }
        ["measure", folder, engine, lanes, count] => measure(&site(folder, engine)?, lanes.parse()?, count.parse()?)?,
        _ => {
            return Err(
                "open FOLDER ENGINE | write FOLDER ENGINE LANES COUNT | measure FOLDER ENGINE LANES COUNT".into()
            );
        }
    }
    Ok(())
}

/// Writes one item: its blob first, then everything else in one append.
fn item(holdings: &Holdings, lane: u64, n: u64, honest: bool) -> Outcome {
    let (key, scope) = (key(lane, n), lane.to_be_bytes());
    if let Some(blob) = blob(lane, n) {
        holdings.blob_put(OWN, &key, &mut blob.as_slice())?;
    }
    let mut txn = holdings.begin();
    txn.put_new(OWN, Table::Record, &key, &content(lane, n))?;
    txn.push(OWN, Table::RecordList, &scope, &key)?;
    txn.index(OWN, "lane", &scope, n)?;
    txn.journal(&Entry { kind: EventKind::Import, at: UnixMillis(n), parts: &[(OWN, said(lane, n))], logged: None })?;
    txn.put(OWN, Table::Cursor, &scope, &n.to_be_bytes())?;
    txn.put(OWN, Table::Agreement, &key, b"passing")?;
    if let Some(before) = n.checked_sub(1) {
        txn.delete(OWN, Table::Agreement, &super::key(lane, before))?;
    }
    let position = txn.submit()?;
    if honest {
        holdings.wait(position)?;
    }
    Ok(())
}

/// A line goes out at its end, in one write.
fn say(line: &str) -> Outcome {
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.flush()?;
    Ok(())
}

fn write(holdings: &Arc<Holdings>, lanes: u64, count: u64, honest: bool) -> Outcome {
    let threads: Vec<_> = (0..lanes)
        .map(|lane| {
            let holdings = Arc::clone(holdings);
            thread::spawn(move || -> Result<(), String> {
                let last = last_of(&holdings, lane).map_err(|e| e.to_string())?;
                let first = last.map_or(0, |n| n + 1);
                let end = if count == 0 { u64::MAX } else { first + count };
                for n in first..end {
                    item(&holdings, lane, n, honest).map_err(|e| e.to_string())?;
                    say(&format!("{lane} {n}\n")).map_err(|e| e.to_string())?;
                }
                Ok(())
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a lane panicked")??;
    }
    Ok(())
}

/// Says how long single durable appends take, and how many records a second come out of it.
fn measure(site: &Site, lanes: u64, count: u64) -> Outcome {
    site.create()?;
    let holdings = Arc::new(site.open()?);
    let begun = Instant::now();
    let threads: Vec<_> = (0..lanes)
        .map(|lane| {
            let holdings = Arc::clone(&holdings);
            thread::spawn(move || -> Result<Vec<Duration>, String> {
                let mut times = Vec::new();
                for n in 0..count {
                    let begun = Instant::now();
                    let mut txn = holdings.begin();
                    let value = vec![7; 1_000];
                    txn.put(OWN, Table::Record, &key(lane, n), &value).map_err(|e| e.to_string())?;
                    txn.commit().map_err(|e| e.to_string())?;
                    times.push(begun.elapsed());
                }
                Ok(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for thread in threads {
        times.extend(thread.join().map_err(|_| "a lane panicked")??);
    }
    let seconds = begun.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default().as_micros();
    let rate = times.len() as f64 / seconds;
    say(&format!(
        "{} {lanes} lanes, {} appends of 1,000 bytes: {rate:.0}/s, median {} us, p99 {} us\n",
        site.backend.name(),
        times.len(),
        at(50),
        at(99)
    ))?;
    Ok(())
}
